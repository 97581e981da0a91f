/**
 * Scapy's Diameter layer as a Gy client: a dictionary and a codec in Python. A session with its RAR, and an event with its refund.
 *
 * Debian 12 has, of what speaks Diameter: erlang-diameter and freediameter (other tests here), wireshark, which judges; in Python
 * no stack, but python3-scapy, which reads and writes messages; and kamailio-ims-modules, whose Ro client asks only for
 * SIP calls that a proxy around it handles: not tried.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { MiB, startScenario, type Subject } from '../support/scenario.js'
import { toolOrNotRun } from '../support/tools.js'

type Value = number | string | { readonly hex: string } | readonly Avp[]
type Avp = readonly [name: string, value: Value]

interface Came {
  readonly command: number
  readonly request: boolean
  readonly avps: readonly Avp[]
}

const script = fileURLToPath(new URL('../support/scapy/gy_client.py', import.meta.url))
const origin: readonly Avp[] = [
  ['Origin-Host', 'scapy.example.net'],
  ['Origin-Realm', 'example.net'],
]
const mib = Number(MiB)
const [CER, RAR, CCR, DPR] = [257, 258, 272, 282]

class Scapy {
  private readonly lines: AsyncIterator<string>
  private sessions = 0

  private constructor(
    private readonly tell: (line: string) => void,
    reader: Interface,
  ) {
    this.lines = reader[Symbol.asyncIterator]()
  }

  static start(t: Test, python: string, tool: string, port: number): Scapy {
    const PYTHONPATH = join(tool, '../../lib/python3/dist-packages')
    const child = spawn(python, [script, String(port)], {
      env: { ...process.env, PYTHONPATH },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    child.stdin.on('error', () => undefined) // it has ended: told by what it says
    t.teardown(() => child.kill('SIGKILL'))
    return new Scapy(line => child.stdin.write(`${line}\n`), createInterface(child.stdout))
  }

  async ask(command: number, application: number, avps: readonly Avp[]): Promise<Came> {
    this.tell(JSON.stringify({ command, application, avps }))
    return this.next()
  }

  /** The next request of the server; it is answered. */
  async wait(): Promise<Came> {
    this.tell(JSON.stringify({ wait: true }))
    return this.next()
  }

  nextSessionId(): string {
    return `scapy.example.net;1;${++this.sessions}`
  }

  ccr(sessionId: string, service: string, type: number, number: number, more: readonly Avp[]): Promise<Came> {
    return this.ask(CCR, 4, [
      ['Session-Id', sessionId],
      ...origin,
      ['Destination-Realm', 'charging.example.net'],
      ['Auth-Application-Id', 4],
      ['Service-Context-Id', service],
      ['CC-Request-Type', type],
      ['CC-Request-Number', number],
      ...more,
    ])
  }

  private async next(): Promise<Came> {
    const line = await this.lines.next()
    if (line.done === true) throw new Error('Scapy has ended')
    return JSON.parse(line.value) as Came
  }
}

const of = ({ account }: Subject): Avp => [
  'Subscription-Id',
  [
    ['Subscription-Id-Type', 0],
    ['Subscription-Id-Data', account],
  ],
]
const mscc = (...avps: readonly Avp[]): Avp => ['Multiple-Services-Credit-Control', avps]
const used = (octets: number): Avp => ['Used-Service-Unit', [['CC-Total-Octets', octets]]]
const ask: Avp = ['Requested-Service-Unit', []]
const valueOf = (avps: readonly Avp[], ...path: readonly string[]): Value | undefined =>
  path.reduce<Value | undefined>(
    (value, name) => (Array.isArray(value) ? (value as Avp[]).find(avp => avp[0] === name)?.[1] : undefined),
    avps,
  )

t.test('Scapy is granted, redirected, asked by RAR, granted again; and its event is given back', async t => {
  const tool = toolOrNotRun(t, 'scapy3', 'python3-scapy')
  const python = toolOrNotRun(t, 'python3', 'python3')
  if (tool === undefined || python === undefined) return
  const scenario = await startScenario(t)
  const scapy = Scapy.start(t, python, tool, scenario.daemon.addresses.diameter[0]!.port)
  const cea = await scapy.ask(CER, 0, [
    ...origin,
    ['Host-IP-Address', '127.0.0.1'],
    ['Vendor-Id', 0],
    ['Product-Name', 'scapy'],
    ['Auth-Application-Id', 4],
  ])
  t.equal(valueOf(cea.avps, 'Result-Code'), 2001)
  t.equal(valueOf(cea.avps, 'Origin-Host'), 'ocs1.charging.example.net')

  const subject = await scenario.subject(t, { money: '0.05', offer: 'flows-redirect' })
  const [session, data] = [scapy.nextSessionId(), '32251@3gpp.org']
  const first = await scapy.ccr(session, data, 1, 0, [of(subject), mscc(['Rating-Group', 10], ask)])
  t.same(
    valueOf(first.avps, 'Multiple-Services-Credit-Control'),
    [
      ['Granted-Service-Unit', [['CC-Total-Octets', 5 * mib]]],
      ['Rating-Group', 10],
      ['Validity-Time', 900],
      [
        'Final-Unit-Indication',
        [
          ['Final-Unit-Action', 1],
          [
            'Redirect-Server',
            [
              ['Redirect-Address-Type', 2],
              ['Redirect-Server-Address', 'http://topup.example/'],
            ],
          ],
        ],
      ],
      ['Result-Code', 2001],
    ],
    'it reads every AVP by name',
  )
  const redirected = await scapy.ccr(session, data, 2, 1, [mscc(['Rating-Group', 10], used(5 * mib))])
  t.equal(valueOf(redirected.avps, 'Result-Code'), 2001)
  await subject.recharge('1.00')
  const rar = await scapy.wait()
  t.same(
    [rar.command, rar.request, valueOf(rar.avps, 'Session-Id'), valueOf(rar.avps, 'Rating-Group')],
    [RAR, true, session, 10],
  )
  const on = await scapy.ccr(session, data, 2, 2, [mscc(['Rating-Group', 10], ask)])
  t.equal(valueOf(on.avps, 'Multiple-Services-Credit-Control', 'Granted-Service-Unit', 'CC-Total-Octets'), 10 * mib)
  const end: Avp[] = [['Termination-Cause', 1], mscc(['Rating-Group', 10], used(3 * mib))]
  t.equal(valueOf((await scapy.ccr(session, data, 3, 3, end)).avps, 'Result-Code'), 2001)
  await subject.is(t, { bal: '0.97', res: '0.00' }, 'its balance')

  const other = await scenario.subject(t, { money: '1.00' })
  const sms: Avp[] = [
    ['Service-Identifier', 1],
    ['Requested-Service-Unit', [['CC-Service-Specific-Units', 1]]],
  ]
  const event = (action: number, ...more: Avp[]): Promise<Came> =>
    scapy.ccr(scapy.nextSessionId(), '32274@3gpp.org', 4, 0, [
      of(other),
      ['Requested-Action', action],
      mscc(...sms, ...more),
    ])
  const debit = await event(0)
  await other.is(t, { bal: '0.91' }, 'debited')
  const reference = valueOf(debit.avps, 'Multiple-Services-Credit-Control', 'Refund-Information')!
  t.equal(valueOf((await event(1, ['Refund-Information', reference])).avps, 'Result-Code'), 2001)
  await other.is(t, { bal: '1.00', res: '0.00' }, 'given back')

  const dpa = await scapy.ask(DPR, 0, [...origin, ['Disconnect-Cause', 0]])
  t.equal(valueOf(dpa.avps, 'Result-Code'), 2001)
})
