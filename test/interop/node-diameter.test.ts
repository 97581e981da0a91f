/**
 * The npm package `diameter` as a Gy client: what people write first when they try a charging system from Node.
 *
 * Its limits, and what we do about them here:
 * - One request at a time. Of several answers in one read it takes only the first.
 * - 64-bit values are Long objects; a plain number must fit in 32 bits.
 * - `createRequest` puts a Session-Id into every request, base ones too, and leaves the P bit clear. Both are sent as they are.
 * - An AVP that its dictionary lacks ends the message with an error, whatever the M bit: so `errors` below also says that it
 *   knows every AVP we send.
 * - It answers no DWR and says no DPR by itself.
 */
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { Micros } from '../../src/units.js'
import { startTestDaemon } from '../support/daemon.js'
import { SkippingClock } from '../support/skipping-clock.js'

type Value = string | number | Long | Avp[]
type Avp = [name: string, value: Value]

interface Message {
  command: string
  readonly header: { readonly flags: { readonly proxiable: boolean; readonly error: boolean } }
  body: Avp[]
}

interface Connection {
  createRequest(application: string, command: string, sessionId?: string): Message
  sendRequest(request: Message, timeoutMs: number): Promise<Message>
}

interface Long {
  readonly low: number
  readonly high: number
}

const require = createRequire(import.meta.url)
const diameter = require('diameter') as {
  createConnection(
    options: { host: string; port: number },
    connected: () => void,
  ): Socket & {
    readonly diameterConnection: Connection
  }
}
const LongType = createRequire(require.resolve('diameter'))('long') as new (low: number, high: number) => Long

const base = 'Diameter Common Messages'
const creditControl = 'Diameter Credit Control Application'
const sessionId = 'node.example.net;1;1'
const subscriber = '491701000002'
/** Longer than Twinit and its jitter. */
const idleMs = 35_000
const timeoutMs = 10_000

const long = (value: bigint): Long => new LongType(Number(BigInt.asIntN(32, value)), Number(value >> 32n))
const wide = (value: Value | undefined): bigint =>
  value instanceof LongType ? (BigInt(value.high) << 32n) | BigInt.asUintN(32, BigInt(value.low)) : -1n

const all = (avps: readonly Avp[], name: string): Value[] =>
  avps.filter(([each]) => each === name).map(([, value]) => value)
const one = (avps: readonly Avp[], name: string): Value | undefined => all(avps, name)[0]
const group = (avps: readonly Avp[], name: string): Avp[] => (one(avps, name) ?? []) as Avp[]

class Client {
  readonly errors: Error[] = []
  readonly requests: { message: Message; response: Message; callback: (response: Message) => void }[] = []
  private arrived: (() => void) | undefined

  private constructor(
    private readonly socket: Socket,
    private readonly connection: Connection,
  ) {
    socket.on('error', error => this.errors.push(error))
    socket.on('diameterMessage', (event: Client['requests'][number]) => {
      this.requests.push(event)
      this.arrived?.()
    })
  }

  static connect(t: Test, port: number): Promise<Client> {
    return new Promise(resolve => {
      const socket = diameter.createConnection({ host: '127.0.0.1', port }, () =>
        resolve(new Client(socket, socket.diameterConnection)),
      )
      t.teardown(() => socket.destroy())
    })
  }

  ask(application: string, command: string, session: string | undefined, avps: Avp[]): Promise<Message> {
    const request = this.connection.createRequest(application, command, session)
    request.body = [...request.body, ['Origin-Host', 'node.example.net'], ['Origin-Realm', 'example.net'], ...avps]
    return this.connection.sendRequest(request, timeoutMs)
  }

  ccr(type: string, number: number, avps: Avp[]): Promise<Message> {
    return this.ask(creditControl, 'Credit-Control', sessionId, [
      ['Destination-Realm', 'localdomain'],
      ['Auth-Application-Id', 'Diameter Credit Control'],
      ['Service-Context-Id', '32251@3gpp.org'],
      ['CC-Request-Type', type],
      ['CC-Request-Number', number],
      ...avps,
    ])
  }

  /** The next request of the daemon. */
  async request(): Promise<Client['requests'][number]> {
    while (this.requests.length === 0) await new Promise<void>(resolve => (this.arrived = resolve))
    return this.requests.shift()!
  }

  get ended(): Promise<void> {
    return new Promise(resolve => this.socket.once('close', () => resolve()))
  }
}

const mscc = (...avps: Avp[]): Avp => ['Multiple-Services-Credit-Control', [['Rating-Group', 10], ...avps]]
const used = (octets: bigint): Avp => ['Used-Service-Unit', [['CC-Total-Octets', long(octets)]]]

t.test('node-diameter is granted, charged, watched, and told good-bye', async t => {
  const clock = new SkippingClock()
  const daemon = await startTestDaemon(t, {
    clock,
    changeCatalog: { 'size: 10MB, min: 100kB, max: 100MB': 'size: 5GB, min: 100kB, max: 5GB' },
  })
  // 5 GB cost 50.00: with that, the grants do not fit in 32 bits.
  const account = (await daemon.daemon.accounts.find({ type: 'msisdn', value: subscriber }))!.account
  await daemon.daemon.accounts.recharge({
    ...{ account: account.id, amount: 195_000_000n as Micros, currency: 'EUR' },
    ...{ channel: 'test', reference: '1', actor: 'test' },
  })
  const client = await Client.connect(t, daemon.port)

  const cea = await client.ask(base, 'Capabilities-Exchange', undefined, [
    ['Host-IP-Address', '127.0.0.1'],
    ['Vendor-Id', 0],
    ['Product-Name', 'node-diameter'],
    ['Auth-Application-Id', 'Diameter Credit Control'],
  ])
  t.equal(one(cea.body, 'Result-Code'), 'DIAMETER_SUCCESS', 'the CEA')
  t.strictSame(
    ['Origin-Host', 'Origin-Realm', 'Host-IP-Address', 'Product-Name'].map(name => one(cea.body, name)),
    ['ocs.localdomain', 'localdomain', '127.0.0.1', 'ocsd'],
  )

  const initial = await client.ccr('INITIAL_REQUEST', 0, [
    [
      'Subscription-Id',
      [
        ['Subscription-Id-Type', 'END_USER_E164'],
        ['Subscription-Id-Data', subscriber],
      ],
    ],
    mscc(['Requested-Service-Unit', []]),
  ])
  const update = await client.ccr('UPDATE_REQUEST', 1, [mscc(['Requested-Service-Unit', []], used(4_500_000_000n))])
  for (const [answer, type, number] of [
    [initial, 'INITIAL_REQUEST', 0],
    [update, 'UPDATE_REQUEST', 1],
  ] as const) {
    const { body, header } = answer
    t.strictSame(
      [
        ...['Session-Id', 'Result-Code', 'CC-Request-Type', 'CC-Request-Number'].map(name => one(body, name)),
        ...[header.flags.proxiable, header.flags.error],
      ],
      [sessionId, 'DIAMETER_SUCCESS', type, number, false, false],
    )
    const service = group(body, 'Multiple-Services-Credit-Control')
    t.equal(wide(one(group(service, 'Granted-Service-Unit'), 'CC-Total-Octets')), 5_000_000_000n, 'granted 5 GB')
    t.strictSame(
      ['Rating-Group', 'Result-Code', 'Validity-Time', 'Volume-Quota-Threshold'].map(name => one(service, name)),
      [10, 'DIAMETER_SUCCESS', 3600, 1_000_000_000],
    )
  }

  const last = await client.ccr('TERMINATION_REQUEST', 2, [
    ['Termination-Cause', 'DIAMETER_LOGOUT'],
    mscc(used(200_000_000n)),
  ])
  t.equal(one(last.body, 'Result-Code'), 'DIAMETER_SUCCESS', 'the end')
  // 4.7 GB at 0.01 for 1 MB.
  t.strictSame(await daemon.money(subscriber), { money: 200_000_000n - 47_000_000n, held: 0n })

  const refused = await client.ccr('UPDATE_REQUEST', 3, [mscc(['Requested-Service-Unit', []])])
  t.strictSame(one(refused.body, 'Result-Code'), 'DIAMETER_UNKNOWN_SESSION_ID', 'the session has ended')
  t.type(one(refused.body, 'Error-Message'), 'string', 'and a refusal says why')

  // The daemon's own requests.
  clock.skip(idleMs)
  for (const [command, act] of [
    ['Device-Watchdog', () => undefined],
    ['Disconnect-Peer', () => void daemon.daemon.stop(0)],
  ] as const) {
    act()
    const { message, response, callback } = await client.request()
    t.equal(message.command, command)
    response.body = [
      ['Result-Code', 'DIAMETER_SUCCESS'],
      ['Origin-Host', 'node.example.net'],
      ['Origin-Realm', 'example.net'],
    ]
    if (command === 'Disconnect-Peer') t.equal(one(message.body, 'Disconnect-Cause'), 'REBOOTING')
    const { ended } = client
    callback(response)
    if (command === 'Disconnect-Peer') await ended
  }
  t.strictSame(client.errors, [])
})
