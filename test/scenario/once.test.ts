/** Exactly once over real sockets, with two daemons on one store: F06, F07 b and c, F13, and whatever else can arrive twice or late. */
import t, { type Test } from 'tap'
import { HEADER_OCTETS } from '../../src/diameter/header.js'
import type { AvpItem } from '../../src/diameter/tree.js'
import { ccrAvps } from '../../src/simulator/ccr.js'
import { linesOf, MiB, startScenario, Talk, type Subject } from '../support/scenario.js'

const scenario = await startScenario(t)
const other = await scenario.another()
const ask = { requested: {} }
const exhausted = (mib: bigint): object => ({ used: [{ octets: mib * MiB, reason: 3 }] })
const used = (mib: bigint): object => ({ used: [{ octets: mib * MiB }] })
const final = (mib: bigint): object => ({ ...used(mib), reason: 2 })
const open = [{ ratingGroup: 10, ...ask }]

/** F01 up to step 2: balance 10.00, held 0.10. The gateway is connected to both daemons. */
async function aSession(t: Test): Promise<{ alice: Subject; session: Talk }> {
  const alice = await scenario.subject(t)
  const gateway = await scenario.gateway(t, { daemons: [scenario.daemon, other] })
  const session = new Talk(gateway, [alice.id])
  t.equal((await session.initial(open)).resultCode, 2001)
  await alice.is(t, { bal: '10.00', res: '0.10' }, 'the session is open')
  return { alice, session }
}

/** The same message over a connection of the session's gateway, once more. */
const update = (session: Talk, number: number, services: readonly object[]): AvpItem[] =>
  ccrAvps(session.gateway, session.input('update', number, services))

for (const [name, nodes] of [
  ['F06: a CCR-U whose answer was lost comes again over another connection', [0, 1]],
  ['F06b: the copy with the T bit comes first', [1, 0]],
] as const) {
  t.test(name, async t => {
    const { alice, session } = await aSession(t)
    const avps = update(session, 1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
    const endToEnd = session.gateway.nextEndToEnd()
    const answers = []
    for (const node of nodes) {
      const hopByHop = node === 0 ? 11 : 92
      session.over(session.gateway.connections[node]!)
      const answer = await session.askAvps(avps, { hopByHop, endToEnd, retransmitted: node === 1 })
      t.same([answer.resultCode, answer.header.hopByHop, answer.header.endToEnd], [2001, hopByHop, endToEnd])
      await alice.is(t, { bal: '9.90', res: '0.10' }, 'debited once')
      answers.push(answer)
    }
    t.same(
      answers[0]!.octets.subarray(HEADER_OCTETS),
      answers[1]!.octets.subarray(HEADER_OCTETS),
      'the bodies are equal',
    )
  })
}

t.test('F06c: both copies are in flight together', async t => {
  const { alice, session } = await aSession(t)
  const avps = update(session, 1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
  const answers = await Promise.all(
    session.gateway.connections.map(async (connection, i) =>
      new Talk(session.gateway, [alice.id], { sessionId: session.id })
        .over(connection)
        .askAvps(avps, { endToEnd: 4711, retransmitted: i === 1 }),
    ),
  )
  t.same(
    answers.map(({ octets }) => octets.subarray(HEADER_OCTETS).toString('hex')),
    Array(2).fill(answers[0]!.octets.subarray(HEADER_OCTETS).toString('hex')),
  )
  await alice.is(t, { bal: '9.90', res: '0.10' }, 'debited once')
})

t.test('F07a, BASE-081, BASE-082: a restarted gateway has lost its sessions, and only then', async t => {
  const alice = await scenario.subject(t)
  const originHost = 'pgw7a.example.net'
  const gateway = await scenario.gateway(t, { originHost, originStateId: 100 })
  const session = new Talk(gateway, [alice.id])
  t.equal((await session.initial(open)).resultCode, 2001)
  await gateway.connections[0]!.disconnect()

  for (const originStateId of [undefined, 0, 99, 100]) {
    const back = await scenario.gateway(t, { originHost, ...(originStateId === undefined ? {} : { originStateId }) })
    await back.connections[0]!.disconnect()
  }
  await alice.is(t, { bal: '10.00', res: '0.10' }, 'the same, a smaller or no Origin-State-Id says nothing')

  const restarted = await scenario.gateway(t, { originHost, originStateId: 200 })
  for (let tries = 0; (await alice.openSessions()) > 0 && tries < 500; tries++) await new Promise(setImmediate)
  await alice.is(t, { bal: '10.00', res: '0.00' }, 'what it held went back')
  const late = await new Talk(restarted, [alice.id], { sessionId: session.id }).terminate(2, [
    { ratingGroup: 10, ...final(2n) },
  ])
  t.equal(late.resultCode, 5002)
  await alice.is(t, { bal: '9.98', res: '0.00' }, 'charged late')
})

t.test('F07b: a restarted daemon goes on with the session', async t => {
  const before = await scenario.another()
  const alice = await scenario.subject(t)
  const gateway = await scenario.gateway(t, { daemons: [before] })
  const state = gateway.connections[0]!.cea!.number('Origin-State-Id')
  const session = new Talk(gateway, [alice.id])
  await session.initial(open)
  await before.stop(0)
  await gateway.connections[0]?.closed

  const after = await scenario.another()
  const connection = await gateway.connect(after.addresses.diameter[0]!)
  t.equal(connection.cea!.number('Origin-State-Id'), state, 'Origin-State-Id is the same: nothing was forgotten')
  const answer = await session.terminate(2, [{ ratingGroup: 10, ...final(2n) }])
  t.equal(answer.resultCode, 2001)
  await alice.is(t, { bal: '9.98', res: '0.00' }, 'charged')
})

t.test('F07c: a silent session ends, and what it reports later is charged late', async t => {
  const { alice, session } = await aSession(t)
  const { clock } = scenario
  clock.shift(2 * 3_600_000 - 60_000)
  t.equal(await alice.sweep(session.id, clock), 'early', 'CC-009: it lives until twice Validity-Time')
  clock.shift(120_000)
  t.equal(await alice.sweep(session.id, clock), 'silent')
  await alice.is(t, { bal: '10.00', res: '0.00' }, 'nothing was charged')
  t.equal(await alice.openSessions(), 0)

  for (const copy of ['first', 'again']) {
    const late = await session.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(2n) }])
    t.equal(late.resultCode, 5002, copy)
    await alice.is(t, { bal: '9.98', res: '0.00' }, `${copy}: charged late, once; no grant`)
  }
  t.equal((await session.terminate(2)).resultCode, 5002, 'and the session stays ended')
})

t.test('F13: the other node gives the answer that the dead one could not send', async t => {
  const dying = await scenario.another()
  const alice = await scenario.subject(t)
  const gateway = await scenario.gateway(t, { daemons: [dying, scenario.daemon] })
  const session = new Talk(gateway, [alice.id])
  const first = await session.initial(open)
  t.equal(first.number('CC-Session-Failover'), 1)
  await session.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])

  // Step 1: node 1 commits and dies. The test heard its answer, to compare; the gateway acts as if it had not.
  const ccr = session.input('update', 2, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
  const [toDying, toOther] = [gateway.connections[0]!, gateway.connections[1]!]
  const reference = await session.ask(ccr)
  await alice.is(t, { bal: '9.80', res: '0.10' }, 'step 1')
  toDying.abort()
  await dying.stop(0)
  await toDying.closed

  // Steps 2 and 3: what gateways do by themselves: the same request, with the T bit.
  session.over(toOther)
  const again = await session.askAvps(ccrAvps(gateway, ccr), {
    endToEnd: reference.header.endToEnd,
    retransmitted: true,
  })
  t.same(again.octets.subarray(HEADER_OCTETS), reference.octets.subarray(HEADER_OCTETS), 'the same CCA')
  await alice.is(t, { bal: '9.80', res: '0.10' }, 'step 3')

  const next = await session.update(3, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
  t.equal(next.resultCode, 2001)
  await alice.is(t, { bal: '9.70', res: '0.10' }, 'step 4')
})

t.test('F13b: node 1 never saw it; the gateway fails over by itself and there is one debit', async t => {
  const dying = await scenario.another()
  const alice = await scenario.subject(t)
  const gateway = await scenario.gateway(t, { daemons: [dying, scenario.daemon] })
  const session = new Talk(gateway, [alice.id])
  await session.initial(open)
  gateway.connections[0]!.abort()
  const answer = await gateway.ask(session.input('update', 1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }]))
  t.equal(answer.resultCode, 2001)
  await alice.is(t, { bal: '9.90', res: '0.10' }, 'one debit')
})

t.test('CC-024: a CCR-I that comes twice opens one session', async t => {
  const { alice, session } = await aSession(t)
  const again = await session.askAvps(ccrAvps(session.gateway, session.input('initial', 0, open)), {
    retransmitted: true,
  })
  t.same(linesOf(again), [{ ratingGroup: 10, code: 2001, octets: 10n * MiB, validity: 3600 }])
  await alice.is(t, { bal: '10.00', res: '0.10' }, 'one reservation')
})

t.test('a CCR-U with the T bit whose first copy never came is new', async t => {
  const { alice, session } = await aSession(t)
  const avps = update(session, 1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
  t.equal((await session.askAvps(avps, { retransmitted: true })).resultCode, 2001)
  await alice.is(t, { bal: '9.90', res: '0.10' }, 'charged')
})

t.test('CC-023: a number that comes again with other content gets its first answer', async t => {
  const { alice, session } = await aSession(t)
  const first = await session.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
  const second = await session.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(90n) }])
  t.same(second.octets.subarray(HEADER_OCTETS), first.octets.subarray(HEADER_OCTETS))
  await alice.is(t, { bal: '9.90', res: '0.10' }, 'charged for the first only')
  t.equal((await alice.entries()).length, 3, 'created, opened, reported')
})

t.test('CC-021, CC-022: numbers with a gap, and out of order', async t => {
  const { alice, session } = await aSession(t)
  t.equal((await session.update(5, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])).resultCode, 2001)
  await alice.is(t, { bal: '9.90', res: '0.10' }, '0, then 5')
  const late = await session.update(3, [{ ratingGroup: 10, requested: { octets: 5n * MiB }, ...exhausted(4n) }])
  t.same(linesOf(late), [{ ratingGroup: 10, code: 2001, octets: 10n * MiB, validity: 3600 }], "answered with 5's grant")
  await alice.is(t, { bal: '9.86', res: '0.10' }, 'both debited, reserved once')
  await session.update(3, [{ ratingGroup: 10, requested: { octets: 5n * MiB }, ...exhausted(4n) }])
  await alice.is(t, { bal: '9.86', res: '0.10' }, 'and the late one only once')
})

t.test('five CCR-U in flight at once are each applied once', async t => {
  const { alice, session } = await aSession(t)
  const send = (): Promise<unknown[]> =>
    Promise.all(
      [1, 2, 3, 4, 5].map(async number => {
        const answer = await session.update(number, [{ ratingGroup: 10, ...ask, ...exhausted(2n) }])
        return [answer.number('CC-Request-Number'), answer.resultCode, linesOf(answer)[0]?.octets]
      }),
    )
  const expected = [1, 2, 3, 4, 5].map(number => [number, 2001, 10n * MiB])
  t.same(await send(), expected)
  await alice.is(t, { bal: '9.90', res: '0.10' }, '5 × 2 MiB')
  t.same(await send(), expected, 'and all five again')
  await alice.is(t, { bal: '9.90', res: '0.10' }, 'unchanged')
})

t.test('a CCR-T overtakes a CCR-U, both come twice', async t => {
  const { alice, session } = await aSession(t)
  for (const copy of ['first', 'again']) {
    t.equal((await session.terminate(2, [{ ratingGroup: 10, ...final(3n) }])).resultCode, 2001, copy)
    await alice.is(t, { bal: '9.97', res: '0.00' }, `${copy}: CCR-T`)
  }
  for (const copy of ['first', 'again']) {
    t.equal((await session.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])).resultCode, 5002, copy)
    await alice.is(t, { bal: '9.87', res: '0.00' }, `${copy}: late CCR-U, charged once`)
  }
  t.equal(await alice.openSessions(), 0)
})

t.test('CC-010, CC-011: a session never seen is unknown, and nothing is charged', async t => {
  const alice = await scenario.subject(t)
  const gateway = await scenario.gateway(t)
  for (const [named, who] of [
    ['with a Subscription-Id', [alice.id]],
    ['without', []],
  ] as const) {
    const session = new Talk(gateway, who)
    t.equal(
      (await session.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])).resultCode,
      5002,
      `CCR-U ${named}`,
    )
    t.equal((await session.terminate(1, [{ ratingGroup: 10, ...final(10n) }])).resultCode, 5002, `CCR-T ${named}`)
  }
  await alice.is(t, { bal: '10.00', res: '0.00' }, 'unchanged')
  const noted = (await alice.entries()).filter(({ outcome }) => outcome === 'unknown')
  t.same(
    noted.map(({ lines, posts }) => [lines, posts]),
    Array(2).fill([[{ line: '10', unrated: Number(10n * MiB) }], []]),
    'the ledger notes the usage where the account is known',
  )
})

t.test('CC-012: a session belongs to no connection', async t => {
  const { alice, session } = await aSession(t)
  session.over(session.gateway.connections[1]!)
  t.equal((await session.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])).resultCode, 2001)
  session.over(session.gateway.connections[0]!)
  t.equal((await session.terminate(2, [{ ratingGroup: 10, ...final(1n) }])).resultCode, 2001)
  await alice.is(t, { bal: '9.89', res: '0.00' }, 'one session')
})

t.test('all answers', t => {
  scenario.checkAnswers(t)
  t.end()
})
