/**
 * Every kind of answer and refusal that ocsd sends, judged by tshark: nothing malformed, nothing unknown to its dictionary, no
 * complaint, each answer belongs to a request, and tshark reads the same AVPs as we do. tshark-flows.test.ts has the flows.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FLAG } from '../../src/diameter/header.js'
import { decodeTree, encodeTree, type AvpItem, type AvpTree } from '../../src/diameter/tree.js'
import { startTestDaemon, type TestDaemonParts } from '../support/daemon.js'
import { aCer, aDpr, aDwr, checkEverythingReceived, RawClient, type Received } from '../support/raw-client.js'
import { SkippingClock } from '../support/skipping-clock.js'
import { toolOrNotRun } from '../support/tools.js'
import { judged, judgeServers } from '../support/tshark.js'
import { dictionary } from '../support/vectors.js'
import { listenIn, type Wire } from '../support/wire.js'

const context = { data: '32251@3gpp.org', voice: '32260@3gpp.org', sms: '32274@3gpp.org' } as const
const suspended = '491701000009'
const empty = '491701000008'
const poor = '491701000007'
const rich = '491701000001'
const bundled = '491701000004'
/** Longer than Twinit and its jitter. */
const idleMs = 35_000

interface CcrParts {
  readonly type?: 1 | 2 | 3 | 4
  readonly number?: number
  readonly session?: string
  readonly service?: string
  /** MSISDN. */
  readonly of?: string | undefined
  readonly realm?: string
  readonly flags?: number
  readonly application?: number
  readonly more?: AvpItem[]
}

const identity = (msisdn: string): AvpItem => [
  'Subscription-Id',
  [
    ['Subscription-Id-Type', 0],
    ['Subscription-Id-Data', msisdn],
  ],
]
const ask: AvpItem = ['Requested-Service-Unit', []]
const used = (...avps: AvpItem[]): AvpItem => ['Used-Service-Unit', avps]
const mscc = (ratingGroup: number | undefined, ...avps: AvpItem[]): AvpItem => [
  'Multiple-Services-Credit-Control',
  ratingGroup === undefined ? avps : [['Rating-Group', ratingGroup], ...avps],
]

let identifier = 1000
const ids = (): { hopByHop: number; endToEnd: number } => ({ hopByHop: ++identifier, endToEnd: identifier })

function ccr(parts: CcrParts): Buffer {
  const { type = 1, number = 0, session = `pgw1.example.net;${identifier + 1};1`, service = context.data } = parts
  const { realm = 'localdomain', flags = FLAG.REQUEST | FLAG.PROXIABLE, application = 4, more = [] } = parts
  return encodeTree(dictionary, {
    command: 'CCR',
    ...{ flags, applicationId: application, ...ids() },
    avps: [
      ['Session-Id', session],
      ['Origin-Host', 'pgw1.example.net'],
      ['Origin-Realm', 'example.net'],
      ['Destination-Realm', realm],
      ['Auth-Application-Id', application],
      ['Service-Context-Id', service],
      ['CC-Request-Type', type],
      ['CC-Request-Number', number],
      ...(parts.of === undefined ? [] : [identity(parts.of)]),
      ...more,
    ],
  })
}

/** An initial request that asks for these services. */
const asks = (of: string | undefined, ...more: AvpItem[]): Buffer => ccr({ of, more })

interface Row {
  readonly name: string
  readonly send: Buffer
  /** See `said`. */
  readonly expect: string
}

const session = (name: string): string => `pgw1.example.net;${name}`

/** Answers to CCRs and to what is none, over one connection, in order. */
const requests: Row[] = [
  // Grants.
  {
    name: 'octets, paid, free and denied',
    send: ccr({ session: session('a'), of: rich, more: [mscc(10, ask), mscc(30, ask), mscc(40, ask)] }),
    expect: '2001; 10: 2001 CC-Total-Octets 10000000 threshold; 30: 2001 CC-Total-Octets 100000000; 40: 4010',
  },
  {
    name: 'a report and the next grant, with what an agent adds',
    send: ccr({
      ...{ session: session('a'), type: 2, number: 1 },
      more: [
        mscc(10, ask, used(['CC-Total-Octets', 5_000_000])),
        [
          'Proxy-Info',
          [
            ['Proxy-Host', 'dra.example.net'],
            ['Proxy-State', 'state'],
          ],
        ],
      ],
    }),
    expect: '2001; 10: 2001 CC-Total-Octets 10000000 threshold',
  },
  {
    name: 'a repeated request, T bit set',
    send: ccr({
      ...{ session: session('a'), type: 2, number: 1 },
      flags: FLAG.REQUEST | FLAG.PROXIABLE | FLAG.RETRANSMITTED,
      more: [mscc(10, ask, used(['CC-Total-Octets', 5_000_000]))],
    }),
    expect: '2001; 10: 2001 CC-Total-Octets 10000000 threshold',
  },
  {
    name: 'the end',
    send: ccr({ session: session('a'), type: 3, number: 2, more: [mscc(10, used(['CC-Total-Octets', 1]))] }),
    expect: '2001; 10: 2001',
  },
  {
    name: 'services by identifier, and without a group',
    send: asks(rich, mscc(10, ask, ['Service-Identifier', 1], ['Service-Identifier', 2]), mscc(undefined, ask)),
    expect: '2001; 10/1,2: 2001 CC-Total-Octets 10000000 threshold; -: 2001 CC-Total-Octets 10000000 threshold',
  },
  {
    name: 'seconds',
    send: ccr({ of: rich, service: context.voice, more: [mscc(1, ask)] }),
    expect: '2001; 1: 2001 CC-Time 60',
  },
  {
    name: 'events',
    send: ccr({ of: rich, service: context.sms, more: [mscc(undefined, ask)] }),
    expect: '2001; -: 2001 CC-Service-Specific-Units 1',
  },
  { name: 'a bucket', send: asks(bundled, mscc(10, ask)), expect: '2001; 10: 2001 CC-Total-Octets 10000000 threshold' },
  { name: 'units without MSCC', send: asks(rich, ask), expect: '2001; command: 2001 CC-Total-Octets 10000000' },
  { name: 'nothing asked', send: asks(rich), expect: '2001' },
  { name: 'the last units', send: asks(poor, mscc(10, ask)), expect: '2001; 10: 2001 CC-Total-Octets 5000000 final' },
  // Refusals.
  { name: 'no money', send: asks(empty, mscc(10, ask)), expect: '4012' },
  {
    name: 'no money, and something free',
    send: asks(empty, mscc(10, ask), mscc(30, ask)),
    expect: '2001; 10: 4012; 30: 2001 CC-Total-Octets 100000000',
  },
  { name: 'denied by the offer', send: asks(rich, mscc(40, ask)), expect: '4010' },
  { name: 'suspended', send: asks(suspended, mscc(10, ask)), expect: '4010' },
  { name: 'unknown subscriber', send: asks('15550000000', mscc(10, ask)), expect: '5030' },
  { name: 'no subscriber', send: asks(undefined, mscc(10, ask)), expect: '5005 Subscription-Id' },
  {
    name: 'two subscribers',
    send: asks(rich, identity(bundled), mscc(10, ask)),
    expect: '5007 Subscription-Id Subscription-Id',
  },
  {
    name: 'a group that no rule has',
    send: asks(rich, mscc(99, ask)),
    expect: '5031 Multiple-Services-Credit-Control',
  },
  {
    name: 'a group that no rule has, beside one that has',
    send: asks(rich, mscc(30, ask), mscc(99, ask)),
    expect: '2001 Multiple-Services-Credit-Control; 30: 2001 CC-Total-Octets 100000000; 99: 5031',
  },
  {
    name: 'a context that the catalog lacks',
    send: ccr({ of: rich, service: 'x@example.net', more: [mscc(10, ask)] }),
    expect: '5031 Service-Context-Id',
  },
  {
    name: 'a session that never was',
    send: ccr({ type: 2, number: 1, of: rich, more: [mscc(10, ask)] }),
    expect: '5002',
  },
  {
    name: 'an open session',
    send: ccr({ session: session('b'), of: rich, more: [mscc(30, ask)] }),
    expect: '2001; 30: 2001 CC-Total-Octets 100000000',
  },
  {
    name: 'the session of another',
    send: ccr({ session: session('b'), type: 2, number: 1, of: bundled, more: [mscc(30, ask)] }),
    expect: '5004 Subscription-Id',
  },
  {
    name: 'more usage than a line may carry',
    send: ccr({ session: session('b'), type: 2, number: 2, more: [mscc(30, used(['CC-Total-Octets', 2n ** 60n]))] }),
    expect: '5004 Used-Service-Unit',
  },
  {
    name: 'more usage than an AVP can say',
    send: ccr({
      ...{ session: session('b'), type: 2, number: 3 },
      more: [mscc(30, used(['CC-Total-Octets', 2n ** 64n - 1n]), used(['CC-Total-Octets', 2n ** 64n - 1n]))],
    }),
    expect: '5004 Used-Service-Unit',
  },
  // Malformed.
  {
    name: 'a mandatory AVP of a vendor, unknown here',
    send: asks(rich, mscc(10, ask, ['20403:2011', Buffer.from([0, 0, 0, 1]), 0xc0])),
    expect: '5001 Multiple-Services-Credit-Control',
  },
  {
    name: 'a mandatory AVP of the IETF, unknown here',
    send: asks(rich, ['408:0', Buffer.from([0, 0, 0, 1]), 0x40], mscc(10, ask)),
    expect: '5001 Origin-AAA-Protocol',
  },
  {
    name: 'no such request type',
    send: ccr({ type: 9 as 1, of: rich, more: [mscc(10, ask)] }),
    expect: '5004 CC-Request-Type',
  },
  {
    name: 'no UTF-8',
    send: asks(undefined, [
      'Subscription-Id',
      [
        ['Subscription-Id-Type', 0],
        ['Subscription-Id-Data', Buffer.from([0xff, 0xfe])],
      ],
    ]),
    expect: '5004 Subscription-Id',
  },
  {
    name: 'another application in the AVP than in the header',
    send: encodeTree(dictionary, {
      ...{ command: 'CCR', ...ids() },
      avps: [
        ['Session-Id', session('c')],
        ['Auth-Application-Id', 5],
      ],
    }),
    expect: '5004 Auth-Application-Id',
  },
  {
    name: 'a sub-session',
    send: asks(rich, ['CC-Sub-Session-Id', 1n], mscc(10, ask)),
    expect: '5004 CC-Sub-Session-Id',
  },
  {
    name: 'half a subscriber',
    send: asks(undefined, ['Subscription-Id', [['Subscription-Id-Data', rich]]], mscc(10, ask)),
    expect: '5005 Subscription-Id',
  },
  {
    name: 'a request that is nearly empty',
    send: encodeTree(dictionary, { command: 'CCR', ...ids(), avps: [['Session-Id', session('c')]] }),
    expect: '5005 Origin-Host',
  },
  {
    name: 'units beside MSCC',
    send: asks(rich, ask, mscc(10, ask)),
    expect: '5007 Requested-Service-Unit Multiple-Services-Credit-Control',
  },
  { name: 'an AVP of answers', send: asks(rich, ['Validity-Time', 1], mscc(10, ask)), expect: '5008 Validity-Time' },
  {
    name: 'twice the number',
    send: asks(rich, ['CC-Request-Number', 1], mscc(10, ask)),
    expect: '5009 CC-Request-Number',
  },
  {
    name: 'a group number of two octets',
    send: asks(rich, mscc(undefined, ['Rating-Group', Buffer.from([0, 1])])),
    expect: '5014 Multiple-Services-Credit-Control',
  },
  {
    name: 'an AVP longer than the message',
    send: tooLong(asks(rich, mscc(10, ask))),
    expect: '5014 Multiple-Services-Credit-Control',
  },
  {
    name: 'groups in groups in groups',
    send: asks(
      rich,
      Array.from({ length: 20 }).reduce<AvpItem>(inner => mscc(10, inner), ask),
    ),
    expect: '5012',
  },
  // Not for us.
  {
    name: 'a command of accounting',
    send: encodeTree(dictionary, { command: 'CCR', ...ids(), avps: [['Session-Id', session('c')]] }).fill(0x0f, 7, 8),
    expect: '3001',
  },
  {
    name: 'a command of servers',
    send: encodeTree(dictionary, {
      ...{ command: 'RAR', applicationId: 4, ...ids() },
      avps: [
        ['Session-Id', session('c')],
        ['Origin-Host', 'pgw1.example.net'],
        ['Origin-Realm', 'example.net'],
        ['Destination-Realm', 'localdomain'],
        ['Destination-Host', 'ocs.localdomain'],
        ['Auth-Application-Id', 4],
        ['Re-Auth-Request-Type', 0],
      ],
    }),
    expect: '3001',
  },
  { name: 'another host', send: asks(rich, ['Destination-Host', 'ocs2.localdomain']), expect: '3002' },
  { name: 'another realm', send: ccr({ of: rich, realm: 'example.org' }), expect: '3003' },
  { name: 'a loop', send: asks(rich, ['Route-Record', 'ocs.localdomain']), expect: '3005' },
  { name: 'another application', send: ccr({ of: rich, application: 5 }), expect: '3007' },
  {
    name: 'a request that says it is an error',
    send: ccr({ of: rich, flags: FLAG.REQUEST | FLAG.ERROR }),
    expect: '3008',
  },
  { name: 'another version', send: asks(rich, mscc(10, ask)).fill(2, 0, 1), expect: '5011' },
  // The base protocol.
  { name: 'a watchdog', send: aDwr(8), expect: '2001' },
  {
    name: 'a watchdog of nobody',
    send: encodeTree(dictionary, { command: 'DWR', ...ids(), avps: [['Origin-Realm', 'example.net']] }),
    expect: '5005 Origin-Host',
  },
  { name: 'capabilities again', send: aCer(), expect: '5012' },
  {
    name: 'a good-bye without its cause',
    send: encodeTree(dictionary, {
      ...{ command: 'DPR', ...ids() },
      avps: [
        ['Origin-Host', 'pgw1.example.net'],
        ['Origin-Realm', 'example.net'],
      ],
    }),
    expect: '5005 Disconnect-Cause',
  },
  { name: 'a good-bye', send: aDpr(0), expect: '2001' },
]

/** CERs that are refused, each on a connection of its own. */
const capabilities: Row[] = [
  { name: 'no common application', send: aCer({ more: [['Auth-Application-Id', 16_777_238]] }), expect: '5010' },
  {
    name: 'no common security',
    send: aCer({
      more: [
        ['Auth-Application-Id', 4],
        ['Inband-Security-Id', 1],
      ],
    }),
    expect: '5017',
  },
  {
    name: 'no address',
    send: encodeTree(dictionary, {
      ...{ command: 'CER', ...ids() },
      avps: [
        ['Origin-Host', 'pgw1.example.net'],
        ['Origin-Realm', 'example.net'],
        ['Vendor-Id', 0],
        ['Product-Name', 'x'],
      ],
    }),
    expect: '5005 Host-IP-Address',
  },
  {
    name: 'an application that is none',
    send: aCer({ more: [['Vendor-Specific-Application-Id', [['Vendor-Id', 10_415]]]] }),
    expect: '5005 Auth-Application-Id Acct-Application-Id',
  },
  {
    name: 'an application that is two',
    send: aCer({
      more: [
        [
          'Vendor-Specific-Application-Id',
          [
            ['Vendor-Id', 10_415],
            ['Auth-Application-Id', 4],
            ['Acct-Application-Id', 4],
          ],
        ],
      ],
    }),
    expect: '5009 Auth-Application-Id Acct-Application-Id',
  },
  { name: 'the E bit', send: aCer().fill(FLAG.REQUEST | FLAG.ERROR, 4, 5), expect: '3008' },
]

t.test('tshark finds nothing wrong with what ocsd sends', async t => {
  const tshark = toolOrNotRun(t, 'tshark', 'tshark')
  if (tshark === undefined) return
  const wires: Wire[] = []

  await t.test('answers', async t => {
    const { client, wire } = await connected(t, { change: { 'holdBudget: 7s': 'holdBudget: 2s' } })
    wires.push(wire)
    for (const row of requests) t.equal(said(await client.ask(row.send)), row.expect, row.name)
  })

  await t.test('refused CERs', async t => {
    const { client, wire, port } = await connected(t)
    wires.push(wire)
    for (const row of [...capabilities, { name: 'a second connection of one peer', send: aCer(), expect: '3010' }]) {
      const other = await RawClient.open(t, { port })
      t.equal(said(await other.ask(row.send)), row.expect, row.name)
      await other.closed
    }
    t.equal(client.unread, 0)
  })

  await t.test('what the peer table and the catalog refuse', async t => {
    const { client, wire, port } = await connected(t, {
      change: { "identity: '*'": 'identity: pgw1.example.net' },
      changeCatalog: {
        'ratingGroup: 40, deny: true': 'ratingGroup: 40, deny: 5003',
        'ratingGroup: 30, free: true': 'ratingGroup: 30, free: 4011',
        // What its own cases expect goes along.
        "balance: '0.00', result: granted": "balance: '0.00', result: 4011",
        'result: 4010': 'result: 5003',
      },
    })
    wires.push(wire)
    const stranger = await RawClient.open(t, { port })
    t.equal(said(await stranger.ask(aCer({ originHost: 'pgw2.example.net' }))), '3010', 'an unknown peer')
    const services = await client.ask(asks(rich, mscc(10, ask), mscc(30, ask), mscc(40, ask)))
    t.equal(said(services), '2001; 10: 2001 CC-Total-Octets 10000000 threshold; 30: 4011; 40: 5003')
  })

  await t.test('a store that does not answer', async t => {
    const { client, wire, folder } = await connected(t, { change: { 'holdBudget: 7s': 'holdBudget: 2s' } })
    wires.push(wire)
    const store = storeProcess(folder)
    process.kill(store, 'SIGSTOP')
    try {
      t.equal(said(await client.ask(asks(rich, mscc(10, ask)))), '3004')
    } finally {
      process.kill(store, 'SIGCONT')
    }
  })

  await t.test('requests of its own', async t => {
    const clock = new SkippingClock()
    const { client, wire, stop } = await connected(t, { clock })
    wires.push(wire)
    clock.skip(idleMs)
    const watchdog = await client.next()
    t.equal(watchdog.header.commandCode, 280)
    client.answer(watchdog)
    const stopped = stop()
    const goodbye = await client.next()
    t.equal(goodbye.header.commandCode, 282)
    client.answer(goodbye)
    await stopped
  })

  await t.test('the judgement', async t => {
    const sent = (await judgeServers(t, tshark, wires)).length
    t.ok(sent > requests.length + capabilities.length, `${sent} messages were judged`)
    checkEverythingReceived(t)
  })

  await t.test('the judge is not blind', async t => {
    const dwa: AvpItem[] = [
      ['Result-Code', 2001],
      ['Origin-Host', 'ocs.localdomain'],
      ['Origin-Realm', 'localdomain'],
    ]
    const message = (...avps: AvpItem[]): Buffer =>
      encodeTree(dictionary, { command: 'DWA', hopByHop: 7, endToEnd: 7, avps: [...dwa, ...avps] })
    const bad: [string, Buffer][] = [
      ['an unknown AVP', message(['9999:0', Buffer.from('x')])],
      ['an unknown vendor', message(['1:99999', Buffer.from('x')])],
      ['a number of three octets', message(['Origin-State-Id', Buffer.from('abc')])],
      ['padding that is not zero', lastOctet(message(['Error-Message', 'x']), 1)],
      ['an AVP without data', message(['Error-Message', ''])],
      ['an AVP longer than the message', tooLong(message(['Error-Message', 'xyz']))],
    ]
    const good = message()
    const frames = await judged(t, tshark, [
      { connection: 0, from: 'client', octets: aDwr(7) },
      ...[good, ...bad.map(([, octets]) => octets)].map(octets => ({ connection: 0, from: 'server' as const, octets })),
    ])
    t.strictSame(frames[1]!.faults, [], 'nothing is wrong')
    bad.forEach(([name], i) => t.not(frames[i + 2]!.faults.length, 0, name))
  })
})

async function connected(
  t: Test,
  parts: TestDaemonParts = {},
): Promise<{ client: RawClient; wire: Wire; port: number; folder: string; stop: () => Promise<void> }> {
  const { daemon, port, folder } = await startTestDaemon(t, parts)
  const wire = await listenIn(t, port)
  const client = await RawClient.peer(t, { port: wire.port })
  return { client, wire, port: wire.port, folder, stop: () => daemon.stop(1000) }
}

/** The embedded store's redis-server. */
function storeProcess(folder: string): number {
  const data = join(folder, 'data')
  const file = readdirSync(data, { recursive: true }).find(name => String(name).endsWith('redis.pid'))
  return Number(readFileSync(join(data, String(file)), 'utf8'))
}

function lastOctet(message: Buffer, value: number): Buffer {
  message[message.length - 1] = value
  return message
}

/** Makes the last AVP one octet longer than the message is. */
function tooLong(message: Buffer): Buffer {
  const { avps } = decodeTree(dictionary, message)
  const last = encodeTree(dictionary, { command: 'DWA', hopByHop: 0, endToEnd: 0, avps: avps.slice(-1) })
  const at = message.length - (last.length - 20)
  message.writeUIntBE(message.length - at + 1, at + 5, 3)
  return message
}

/**
 * What an answer says, in short: Result-Code, what Failed-AVP holds; then for each MSCC (or `command`) the line and its
 * Result-Code, unit, amount, whether they are the last units and whether there is a threshold.
 */
function said(answer: Received): string {
  const tree = answer.avps
  const failed = group(tree, 'Failed-AVP').map(({ name }) => (name === '408:0' ? 'Origin-AAA-Protocol' : name))
  const parts = [[code(tree), ...failed].join(' ')]
  for (const { name, value } of tree) {
    if (name === 'Granted-Service-Unit') parts.push(`command: ${grant(tree)}`)
    if (name !== 'Multiple-Services-Credit-Control') continue
    const avps = value as AvpTree[]
    const values = (wanted: string): string =>
      avps
        .filter(avp => avp.name === wanted)
        .map(avp => textOf(avp.value))
        .join(',')
    const [ratingGroup, identifiers] = [values('Rating-Group') || '-', values('Service-Identifier')]
    const threshold = avps.some(avp => avp.name.endsWith('-Quota-Threshold')) ? ' threshold' : ''
    parts.push(`${ratingGroup}${identifiers && `/${identifiers}`}: ${grant(avps)}${threshold}`)
  }
  return parts.join('; ')
}

function grant(avps: readonly AvpTree[]): string {
  const units = group(avps, 'Granted-Service-Unit').map(({ name, value }) => `${name} ${textOf(value)}`)
  const final = group(avps, 'Final-Unit-Indication').length > 0 ? ['final'] : []
  return [code(avps), ...units, ...final].join(' ')
}

const group = (avps: readonly AvpTree[], name: string): AvpTree[] =>
  (avps.find(avp => avp.name === name)?.value ?? []) as AvpTree[]
const code = (avps: readonly AvpTree[]): string => textOf(avps.find(({ name }) => name === 'Result-Code')?.value)

/** Of a number or a text. */
const textOf = (value: AvpTree['value'] | undefined): string => (typeof value === 'object' ? '' : String(value))
