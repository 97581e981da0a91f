/** The simulated gateway: what it does with grants, against a whole daemon. */
import t from 'tap'
import { VirtualClock } from '../../src/clock.js'
import { Gateway } from '../../src/simulator/gateway.js'
import { GatewaySession } from '../../src/simulator/session.js'
import { linesOf, MiB, startScenario } from '../support/scenario.js'
import { dictionary } from '../support/vectors.js'

const scenario = await startScenario(t)

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
