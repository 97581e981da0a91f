/**
 * What the simulated gateway does with all that a server may tell it in a session: against a server that says it, with a
 * clock that the test moves.
 */
import t, { type Test } from 'tap'
import { VirtualClock } from '../../src/clock.js'
import type { Answer, IncomingRequest } from '../../src/diameter/application.js'
import { FLAG } from '../../src/diameter/header.js'
import { encodeAvp, encodeTree, type AvpItem } from '../../src/diameter/tree.js'
import { Gateway, type GatewayConnection } from '../../src/simulator/gateway.js'
import { Message } from '../../src/simulator/message.js'
import { GatewaySession, type SessionOptions } from '../../src/simulator/session.js'
import { cca, identity, realm, startServer, StubApplication } from '../support/diameter-server.js'
import { dictionary } from '../support/vectors.js'

const noon = Date.UTC(2026, 0, 15, 12)
const at = noon / 1000

/** What is answered to one request: AVPs at command level, and those of the MSCC of each rating group. */
interface Said {
  readonly command?: readonly AvpItem[]
  readonly groups?: Readonly<Record<number, readonly AvpItem[]>>
}

const octets = (amount: number): AvpItem => ['Granted-Service-Unit', [['CC-Total-Octets', amount]]]
const seconds = (amount: number): AvpItem => ['Granted-Service-Unit', [['CC-Time', amount]]]
const redirect: AvpItem = [
  'Final-Unit-Indication',
  [
    ['Final-Unit-Action', 'REDIRECT'],
    [
      'Redirect-Server',
      [
        ['Redirect-Address-Type', 'URL'],
        ['Redirect-Server-Address', 'http://portal.example/'],
      ],
    ],
  ],
]
const terminate: AvpItem = ['Final-Unit-Indication', [['Final-Unit-Action', 'TERMINATE']]]

interface Told {
  readonly session: GatewaySession
  readonly clock: VirtualClock
  readonly gateway: Gateway
  readonly connection: GatewayConnection
  /** What the server got. */
  readonly requests: readonly Message[]
  /** Resolves when it has got so many. */
  readonly got: (count: number) => Promise<void>
}

/** A session with a server that says this, in order; then only 2001. */
async function told(t: Test, says: readonly Said[], options: Partial<SessionOptions> = {}): Promise<Told> {
  const requests: Message[] = []
  const waiting: { count: number; done: () => void }[] = []
  const application = new StubApplication((request: IncomingRequest) => {
    const message = new Message(dictionary, request.octets)
    const { command = [], groups = {} } = says[requests.length] ?? {}
    requests.push(message)
    setImmediate(() => waiting.filter(({ count }) => count <= requests.length).forEach(({ done }) => done()))
    const plain = cca(request)
    return Promise.resolve({
      resultCode: 2001,
      write: writer => {
        plain.write(writer)
        for (const mscc of message.groups('Multiple-Services-Credit-Control')) {
          const group = mscc.number('Rating-Group')!
          const content: AvpItem[] = [['Rating-Group', group], ['Result-Code', 2001], ...(groups[group] ?? [])]
          writer.ready(encodeAvp(dictionary, 'Multiple-Services-Credit-Control', content))
        }
        for (const item of command) writer.ready(encodeAvp(dictionary, ...(item as [string, never])))
      },
    })
  })
  const clock = new VirtualClock(noon)
  const { port } = await startServer(t, { application })
  const gateway = new Gateway({
    ...{ dictionary, clock, originHost: 'pgw1.example.net', originRealm: 'example.net', destinationRealm: realm },
  })
  const connection = await gateway.connect({ host: '127.0.0.1', port })
  t.teardown(() => connection.abort())
  const session = new GatewaySession({
    ...{ gateway, serviceContextId: '32251@3gpp.org', unit: 'octets', subscriptionIds: [['e164', '491701']] },
    ...options,
  })
  const got = async (count: number): Promise<void> => {
    if (requests.length < count) await new Promise<void>(done => waiting.push({ count, done }))
    // The answer has come when a watchdog request behind it is answered.
    await connection.ask(connection.own('DWR', []))
  }
  return { session, clock, gateway, connection, requests, got }
}

/** `10 RSU USU 5 r3`: what a request asks and reports, units as they are. */
function said(request: Message | undefined): string {
  return (request?.groups('Multiple-Services-Credit-Control') ?? [])
    .map(mscc => {
      const used = mscc.groups('Used-Service-Unit').map(usu => {
        const reason = usu.number('Reporting-Reason')
        const amount = usu.bigint('CC-Total-Octets') ?? usu.bigint('CC-Time') ?? '-'
        return ` USU ${amount}${reason === undefined ? '' : ` r${reason}`}`
      })
      const reason = mscc.number('Reporting-Reason')
      const asks = mscc.group('Requested-Service-Unit') ? ' RSU' : ''
      return `${mscc.number('Rating-Group')!}${asks}${used.join('')}${reason === undefined ? '' : ` reason ${reason}`}`
    })
    .join('; ')
}

t.test('redirected, it asks for nothing, and asks again when Validity-Time is over', async t => {
  const { session, clock, requests, got } = await told(t, [
    { groups: { 10: [octets(5), ['Validity-Time', 900], redirect] } },
    { groups: { 10: [['Validity-Time', 300]] } },
    { groups: { 10: [octets(10), ['Validity-Time', 900]] } },
  ])
  await session.open([10])
  t.equal(await session.use(10, 8n), 5n, 'only the final units pass')
  t.equal(said(requests[1]), '10 USU 5 r3', 'no Requested-Service-Unit')
  const line = session.lineOf(10)
  t.match(line, { state: 'redirected', finalUnit: { to: 'http://portal.example/' } })
  t.equal(await session.use(10, 1n), 0n)
  clock.advance(299_999)
  t.equal(requests.length, 2)
  clock.advance(1)
  await got(3)
  t.equal(said(requests[2]), '10 RSU', 'no usage while redirected')
  t.equal(line.state, 'open')
  t.equal(await session.use(10, 1n), 1n)
})

t.test('redirected at once without a grant, restricted with filters', async t => {
  const filters: AvpItem[] = [
    ['Final-Unit-Action', 'RESTRICT_ACCESS'],
    ['Restriction-Filter-Rule', 'permit in ip from any to 192.0.2.1/32'],
    ['Filter-Id', 'walled-garden'],
  ]
  const { session, requests } = await told(t, [
    { groups: { 10: [redirect, ['Validity-Time', 300]], 20: [['Final-Unit-Indication', filters], octets(5)] } },
  ])
  await session.open([10, 20])
  t.equal(session.lineOf(10).state, 'redirected')
  t.equal(await session.use(20, 9n), 5n)
  t.equal(session.lineOf(20).state, 'restricted')
  t.same(session.lineOf(20).finalUnit?.filters, ['permit in ip from any to 192.0.2.1/32', 'walled-garden'])
  t.equal(said(requests[1]), '20 USU 5 r3')
})

t.test('a Re-Auth-Request is answered 2002, and a CCR-U follows: with usage where some passes', async t => {
  const { session, connection, requests, got, clock } = await told(t, [
    { groups: { 10: [redirect, ['Validity-Time', 300]], 20: [octets(100)] } },
    { groups: { 10: [octets(10)], 20: [octets(10)] } },
    { groups: { 10: [octets(10)] } },
  ])
  await session.open([10, 20])
  await session.use(20, 7n)
  const answers: Message[] = []
  const rar = async (more: readonly AvpItem[]): Promise<void> => {
    const trace = encodeTree(dictionary, {
      ...{ command: 'RAR', hopByHop: 1, endToEnd: 1 },
      avps: [['Session-Id', session.id], ['Re-Auth-Request-Type', 0], ...more],
    })
    answers.push(new Message(dictionary, await reactionTo(session, connection, trace)))
    clock.advance(0)
  }
  await rar([])
  await got(2)
  t.equal(said(requests[1]), '10 RSU; 20 RSU USU 7 reason 7')
  await rar([['Rating-Group', 10]])
  await got(3)
  t.equal(said(requests[2]), '10 RSU USU 0 reason 7', 'one group only')
  t.same(
    answers.map(each => each.resultCode),
    [2002, 2002],
  )
})

t.test('an Abort-Session-Request ends the session with a CCR-T', async t => {
  const { session, connection, requests, got, clock } = await told(t, [{ groups: { 10: [octets(100)] } }])
  await session.open([10])
  await session.use(10, 7n)
  const asr = encodeTree(dictionary, {
    ...{ command: 'ASR', hopByHop: 1, endToEnd: 1 },
    avps: [['Session-Id', session.id]],
  })
  t.equal(new Message(dictionary, await reactionTo(session, connection, asr)).resultCode, 2001)
  clock.advance(0)
  await got(2)
  t.same([requests[1]!.number('CC-Request-Type'), requests[1]!.number('Termination-Cause')], [3, 4])
  t.equal(said(requests[1]), '10 USU 7 reason 2')
  t.equal(session.state, 'ended')
  t.equal(new Message(dictionary, await reactionTo(session, connection, asr)).resultCode, 5002, 'now it is unknown')
})

/** What the gateway sends when this comes. */
async function reactionTo(session: GatewaySession, connection: GatewayConnection, octets: Buffer): Promise<Buffer> {
  const gateway = (session as unknown as { options: SessionOptions }).options.gateway
  const reaction = await gateway.attendants.get(session.id)?.(new Message(dictionary, octets), connection)
  const code =
    reaction === undefined ? 5002 : Array.isArray(reaction) ? 2001 : (reaction as { resultCode: number }).resultCode
  return encodeTree(dictionary, { command: 'RAA', hopByHop: 1, endToEnd: 1, avps: [['Result-Code', code]] })
}

t.test('members of a pool use it together, and report together when it is empty (F12)', async t => {
  const pool = (digits: number, exponent: number): AvpItem => [
    'G-S-U-Pool-Reference',
    [
      ['G-S-U-Pool-Identifier', 1],
      ['CC-Unit-Type', 'TOTAL-OCTETS'],
      [
        'Unit-Value',
        [
          ['Value-Digits', digits],
          ['Exponent', exponent],
        ],
      ],
    ],
  ]
  const grants = { 10: [octets(3_000_000), pool(1, 0)], 20: [octets(2_000_000), pool(25, -1)], 30: [octets(5)] }
  const { session, requests } = await told(t, [{ groups: grants }, { groups: grants }, { groups: grants }])
  await session.open([10, 20, 30])
  await session.use(20, 1_200_000n)
  t.equal(await session.use(10, 4_999_999n), 4_999_999n, 'more than its own grant')
  t.equal(requests.length, 1)
  await session.use(10, 1n)
  t.equal(said(requests[1]), '10 RSU USU 5000000 r8; 20 RSU USU 1200000 r8', 'all members, nobody else')
  await session.use(10, 4_000_000n)
  await session.report(session.lineOf(10), 4)
  t.equal(said(requests[2]), '10 RSU USU 4000000 reason 4', 'one may report alone')
  await session.use(20, 2_800_000n)
  t.equal(
    said(requests[3]),
    '10 RSU USU 0 r8; 20 RSU USU 2800000 r8',
    'what it took beyond its own is missing: S = 7,000,000',
  )
})

t.test('a change is reported when it is armed; armed is what the last Trigger said', async t => {
  const trigger = (...types: number[]): AvpItem => ['Trigger', types.map(type => ['Trigger-Type', type] as const)]
  const { session, requests } = await told(
    t,
    [
      { groups: { 10: [octets(100), trigger(4)], 20: [octets(100), trigger()] } },
      { groups: { 10: [octets(100)] } },
      { groups: { 10: [octets(100), trigger(3, 4)] } },
      { groups: { 10: [octets(100), trigger()] } },
    ],
    { information: { rat: 6, plmn: '26201' } },
  )
  await session.open([10, 20])
  await session.use(10, 4n)
  await session.changeTo({ rat: 6, plmn: '20801' })
  t.equal(requests.length, 1, 'a place was not asked for')
  await session.changeTo({ rat: 1, plmn: '20801' })
  t.equal(said(requests[1]), '10 RSU USU 4 reason 6', 'only the group that has it armed')
  t.same(triggersSaid(requests[1]!), [4])
  await session.changeTo({ rat: 6, plmn: '20801' })
  t.equal(requests.length, 3, 'no Trigger keeps it armed')
  await session.changeTo({ rat: 1, plmn: '26201' })
  t.same(triggersSaid(requests[3]!), [3, 4], 'two at once')
  await session.changeTo({ rat: 6, plmn: '20801' })
  t.equal(requests.length, 4, 'an empty one disarms all')
})

const triggersSaid = (request: Message): unknown[] =>
  request
    .groups('Multiple-Services-Credit-Control')[0]!
    .group('Trigger')!
    .all('Trigger-Type')
    .map(({ value }) => value)

t.test('quota that nobody uses for Quota-Holding-Time is given back, and asked for when traffic comes', async t => {
  const { session, clock, requests, got } = await told(t, [
    { groups: { 10: [octets(100), ['Quota-Holding-Time', 60]] } },
    {},
    { groups: { 10: [octets(100), ['Quota-Holding-Time', 0]] } },
  ])
  await session.open([10])
  clock.advance(50_000)
  await session.use(10, 4n)
  clock.advance(59_999)
  t.equal(requests.length, 1, 'traffic began it anew')
  clock.advance(1)
  await got(2)
  t.equal(said(requests[1]), '10 USU 4 reason 1')
  t.equal(session.lineOf(10).state, 'idle')
  t.equal(await session.use(10, 3n), 3n)
  t.equal(said(requests[2]), '10 RSU')
  clock.advance(3_600_000)
  t.equal(requests.length, 3, '0 switches it off')
})

t.test('time is counted as Quota-Consumption-Time and envelopes say (V:C19)', async t => {
  const { session, clock, requests, got } = await told(
    t,
    [
      {
        groups: {
          10: [seconds(1800), ['Quota-Consumption-Time', 30], ['Envelope-Reporting', 2], ['Validity-Time', 3600]],
        },
      },
    ],
    { unit: 'seconds' },
  )
  await session.open([10])
  for (let second = 0; second <= 170; second += 10) {
    await session.packets(10, 1000n)
    clock.advance(10_000)
  }
  clock.advance(420_000) // 12:10
  await session.packets(10, 7n)
  clock.advance(70_000)
  t.equal(await session.packets(10, 1n), true, 'another envelope: 70 s of silence ended that one')
  clock.advance(3600_000 - 10 * 60_000 - 70_000)
  await got(2)
  t.equal(said(requests[1]), '10 RSU USU 260 reason 4', '200 + 30 + 30 s')
  const envelopes = requests[1]!
    .groups('Multiple-Services-Credit-Control')[0]!
    .groups('Envelope')
    .map(each => [
      each.number('Envelope-Start-Time')! - at,
      each.number('Envelope-End-Time')! - at,
      each.bigint('CC-Total-Octets'),
    ])
  t.same(envelopes, [
    [0, 200, 18_000n],
    [600, 630, 7n],
    [670, 700, 1n],
  ])
})

t.test('time that is used up without more packets is reported when it is', async t => {
  const { session, clock, requests, got } = await told(
    t,
    [{ groups: { 10: [seconds(20), ['Time-Quota-Threshold', 5]] } }, { groups: { 10: [seconds(20), terminate] } }],
    { unit: 'seconds' },
  )
  await session.open([10])
  await session.packets(10, 1n)
  clock.advance(15_000)
  await got(2)
  t.equal(said(requests[1]), '10 RSU USU 15 r0')
  clock.advance(20_000)
  await got(3)
  t.equal(said(requests[2]), '10 USU 20 reason 2')
  t.equal(session.lineOf(10).state, 'blocked')
})

t.test('a gateway without MSCC has its units at command level, and ends at the last', async t => {
  const { session, requests } = await told(t, [{ command: [octets(10)] }, { command: [octets(3), terminate] }], {
    commandLevel: true,
  })
  await session.open([undefined])
  t.equal(await session.use(undefined, 20n), 13n)
  t.same(
    requests.map(each => each.all('Multiple-Services-Credit-Control').length),
    [0, 0, 0],
  )
  t.ok(requests[0]!.group('Requested-Service-Unit'))
  t.equal(requests[1]!.group('Used-Service-Unit')!.bigint('CC-Total-Octets'), 10n)
  t.same(
    [requests[2]!.number('CC-Request-Type'), requests[2]!.group('Used-Service-Unit')!.bigint('CC-Total-Octets')],
    [3, 3n],
  )
  t.equal(session.state, 'ended')
})

/** A gateway with two servers: `first` is the one whose answers a test decides. */
async function twoServers(
  t: Test,
  first: (request: IncomingRequest) => ReturnType<StubApplication['answer']>,
): Promise<{ gateway: Gateway; clock: VirtualClock; atSecond: Message[] }> {
  const atSecond: Message[] = []
  const clock = new VirtualClock(noon)
  const one = await startServer(t, { application: new StubApplication(first) })
  const two = await startServer(t, {
    application: new StubApplication(request => {
      atSecond.push(new Message(dictionary, Buffer.from(request.octets)))
      return Promise.resolve(cca(request))
    }),
  })
  const gateway = new Gateway({
    ...{ dictionary, clock, originHost: 'pgw1.example.net', originRealm: 'example.net', destinationRealm: realm },
  })
  for (const { port } of [one, two]) await gateway.connect({ host: '127.0.0.1', port })
  t.teardown(() => gateway.connections.forEach(connection => connection.abort()))
  return { gateway, clock, atSecond }
}

t.test('CC-Session-Failover and Credit-Control-Failure-Handling decide what happens when a server is lost', async t => {
  const table = [
    { failover: 0, handling: 0, state: 'ended', moved: 0, why: 'F13c: it stays, and ends' },
    { failover: 1, handling: 0, state: 'open', moved: 1, why: 'it moves' },
    { failover: 0, handling: 1, state: 'uncharged', moved: 0, why: 'CONTINUE: all passes' },
  ]
  for (const { failover, handling, state, moved, why } of table) {
    let requests = 0
    const { gateway, atSecond } = await twoServers(t, request => {
      requests++
      if (requests > 1) {
        gateway.connections[0]!.abort()
        return Promise.resolve(undefined)
      }
      const plain = cca(request)
      return Promise.resolve({
        resultCode: 2001,
        write: writer => {
          plain.write(writer)
          const content: AvpItem[] = [['Rating-Group', 10], ['Result-Code', 2001], octets(10)]
          writer.ready(encodeAvp(dictionary, 'Multiple-Services-Credit-Control', content))
          writer.ready(encodeAvp(dictionary, 'CC-Session-Failover', failover))
          writer.ready(encodeAvp(dictionary, 'Credit-Control-Failure-Handling', handling))
        },
      })
    })
    const session = new GatewaySession({
      ...{ gateway, serviceContextId: '32251@3gpp.org', unit: 'octets', subscriptionIds: [['e164', '491701']] },
    })
    await session.open([10])
    await session.use(10, 10n).catch(() => undefined)
    t.same([session.state, atSecond.length], [state, moved], why)
    if (moved > 0) t.ok((atSecond[0]!.header.flags & FLAG.RETRANSMITTED) !== 0, 'T bit')
    if (state === 'uncharged') t.equal(await session.use(10, 1_000n), 1_000n)
  }
})

function tooBusy(request: IncomingRequest): Answer {
  const sessionId = new Message(dictionary, request.octets).text('Session-Id')!
  return {
    resultCode: 3004,
    write: writer => {
      writer.text(263, sessionId)
      writer.u32(268, 3004)
      writer.text(264, identity)
      writer.text(296, realm)
    },
  }
}

t.test('a server that is too busy sends it to the next one, same identifier, without T bit (F17)', async t => {
  const asked: Message[] = []
  const { gateway, atSecond } = await twoServers(t, request => {
    asked.push(new Message(dictionary, Buffer.from(request.octets)))
    return Promise.resolve(tooBusy(request))
  })
  const session = new GatewaySession({
    ...{ gateway, serviceContextId: '32251@3gpp.org', unit: 'octets', subscriptionIds: [['e164', '491701']] },
  })
  t.equal(await session.open([10]), true)
  t.equal(atSecond[0]!.header.endToEnd, asked[0]!.header.endToEnd)
  t.equal(atSecond[0]!.header.flags & FLAG.RETRANSMITTED, 0)
})

t.test('a server that says nothing within Tx is left for the next one unless TERMINATE holds', async t => {
  for (const handling of ['terminate', 'retry-and-terminate'] as const) {
    const { gateway, clock, atSecond } = await twoServers(t, () => {
      setImmediate(() => clock.advance(10_000))
      return Promise.resolve(undefined)
    })
    const session = new GatewaySession({
      ...{ gateway, serviceContextId: '32251@3gpp.org', unit: 'octets', subscriptionIds: [['e164', '491701']] },
      failureHandling: handling,
    })
    if (handling === 'terminate') await t.rejects(session.open([10]), { name: 'NoAnswerError' })
    else t.equal(await session.open([10]), true)
    t.same([session.state, atSecond.length], handling === 'terminate' ? ['ended', 0] : ['open', 1])
  }
})
