/** The simulated gateway: both ways of writing a CCR, and what it does with grants, against a whole daemon. */
import t from 'tap'
import { VirtualClock } from '../../src/clock.js'
import { Writer } from '../../src/diameter/writer.js'
import { ccrAvps, encodeCcr, writeCcr, type CcrInput } from '../../src/simulator/ccr.js'
import { Gateway } from '../../src/simulator/gateway.js'
import { GatewaySession } from '../../src/simulator/session.js'
import { linesOf, MiB, startScenario } from '../support/scenario.js'
import { dictionary } from '../support/vectors.js'

const scenario = await startScenario(t)

t.test('the fast way writes the same octets as the plain one', t => {
  const node = { originHost: 'pgw1.example.net', originRealm: 'example.net', destinationRealm: 'charging.example.net' }
  const ccr: CcrInput = {
    type: 'update',
    number: 7,
    sessionId: 'pgw1.example.net;1;2',
    serviceContextId: '32251@3gpp.org',
    subscriptionIds: [
      ['imsi', '234150999999999'],
      ['e164', '447700900123'],
    ],
    destinationHost: 'ocs1.charging.example.net',
    eventTimestamp: 1_768_478_400,
    terminationCause: 1,
    multipleServicesIndicator: 1,
    services: [
      { ratingGroup: 10, serviceIdentifiers: [1, 2], requested: {}, used: [{ octets: 2n ** 40n, reason: 3 }] },
      { requested: { seconds: 60 }, used: [{ inputOctets: 1n, outputOctets: 2n, seconds: 3, events: 4n }], reason: 2 },
    ],
    units: { requested: { events: 1n } },
  }
  for (const retransmitted of [false, true]) {
    const identifiers = { hopByHop: 0xfedcba98, endToEnd: 0x89abcdef, retransmitted }
    const writer = new Writer()
    writeCcr(writer, node, ccr, identifiers)
    t.equal(
      writer.take().toString('hex'),
      encodeCcr(dictionary, ccrAvps(node, ccr), identifiers).toString('hex'),
      `T ${retransmitted}`,
    )
  }
  t.end()
})

/** A gateway whose timers only the test moves. */
let gateways = 1

async function aGateway(clock: VirtualClock): Promise<Gateway> {
  const gateway = new Gateway({
    dictionary,
    clock,
    originHost: `pgw${++gateways}.example.net`,
    originRealm: 'example.net',
    destinationRealm: 'charging.example.net',
  })
  await gateway.connect(scenario.daemon.addresses.diameter[0]!)
  t.teardown(() => gateway.connections.forEach(connection => connection.abort()))
  return gateway
}

t.test('it uses what is granted, reports it, stops at the final units, and asks again', async t => {
  const alice = await scenario.subject(t, { money: '0.25' })
  const gateway = await aGateway(new VirtualClock())
  const told: [string, number][] = []
  const session = new GatewaySession({
    gateway,
    serviceContextId: '32251@3gpp.org',
    unit: 'octets',
    subscriptionIds: [alice.id],
    onExchange: ({ request, answer }) => void told.push([request.type, linesOf(answer)[0]?.code ?? 0]),
  })
  t.equal(await session.open([10]), true)
  t.equal(await session.use(10, 3n * MiB), 3n * MiB, 'within the grant nothing is said')
  t.equal(told.length, 1)
  t.equal(await session.use(10, 100n * MiB), 22n * MiB, 'no more passes than is paid for')
  await alice.is(t, { bal: '0.00', res: '0.00', debt: '0.00' }, 'to the last MiB')
  t.equal(session.lineOf(10).state, 'blocked')
  t.equal(await session.askAgain(10), false)
  await alice.recharge('1.00')
  t.equal(await session.askAgain(10), true)
  await session.use(10, MiB)
  await session.end()
  await alice.is(t, { bal: '0.99', res: '0.00' }, 'ended')
  t.same(
    told.map(([type, code]) => `${type} ${code}`),
    ['initial 2001', 'update 2001', 'update 2001', 'update 2001', 'update 4012', 'update 2001', 'terminate 2001'],
  )
  await gateway.disconnect()
})

t.test('it reports when Validity-Time is over', async t => {
  const alice = await scenario.subject(t)
  const clock = new VirtualClock(Date.now())
  const gateway = await aGateway(clock)
  let reported: () => void = () => undefined
  const exchange = (): Promise<void> => new Promise(resolve => (reported = resolve))
  const session = new GatewaySession({
    gateway,
    serviceContextId: '32251@3gpp.org',
    unit: 'octets',
    subscriptionIds: [alice.id],
    onExchange: () => reported(),
  })
  await session.open([10])
  await session.use(10, 2n * MiB)
  const next = exchange()
  clock.advance(3_600_000)
  await next
  await alice.is(t, { bal: '9.98', res: '0.10' }, 'used units are charged, and there is a new grant')
  t.equal(session.lineOf(10).state, 'open')
  session.close()
})

t.test('a refused session is ended, and nothing passes', async t => {
  const poor = await scenario.subject(t, { money: '0.00' })
  const gateway = await aGateway(new VirtualClock())
  const session = new GatewaySession({
    ...{ gateway, serviceContextId: '32251@3gpp.org', unit: 'octets', subscriptionIds: [poor.id] },
  })
  t.equal(await session.open([10]), false)
  t.equal(await session.use(10, MiB), 0n)
  t.same([session.state, session.lineOf(10).resultCode], ['ended', 4012])
})
