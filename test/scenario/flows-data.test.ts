/** Reference flows of data sessions over real sockets: F01, F02, F05, F14, F15, balances after every step. */
import t from 'tap'
import { failedAvps, lineOf, linesOf, MiB, startScenario, Talk } from '../support/scenario.js'

const scenario = await startScenario(t)
const gateway = await scenario.gateway(t)
const ask = { requested: {} }
const granted = (ratingGroup: number, mib: bigint, more = {}): object => ({
  ratingGroup,
  code: 2001,
  octets: mib * MiB,
  validity: 3600,
  ...more,
})
/** Used units in MiB, with the reason in its place. */
const exhausted = (mib: bigint): object => ({ used: [{ octets: mib * MiB, reason: 3 }] })
const final = (mib: bigint): object => ({ used: [{ octets: mib * MiB }], reason: 2 })

t.test('F01: a session is granted, used, and billed to the MiB', async t => {
  const alice = await scenario.subject(t, { money: '10.00' })
  const session = new Talk(gateway, [alice.id])

  const first = await session.initial([{ ratingGroup: 10, ...ask }])
  t.equal(first.resultCode, 2001)
  t.same(linesOf(first), [granted(10, 10n)])
  t.equal(first.number('CC-Session-Failover'), 1, '418')
  t.equal(first.number('Credit-Control-Failure-Handling'), 0, '427')
  t.equal(first.text('Session-Id'), session.id)
  await alice.is(t, { bal: '10.00', res: '0.10' }, 'step 2')

  const second = await session.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
  t.same(linesOf(second), [granted(10, 10n)])
  t.equal(second.number('CC-Session-Failover'), undefined, 'only CCA-I has it')
  await alice.is(t, { bal: '9.90', res: '0.10' }, 'step 4')

  const last = await session.terminate(2, [{ ratingGroup: 10, ...final(3n) }])
  t.equal(last.resultCode, 2001)
  t.same([last.number('CC-Request-Type'), last.number('CC-Request-Number')], [3, 2])
  t.same(
    linesOf(last).filter(line => line.octets !== undefined),
    [],
    'no grants',
  )
  await alice.is(t, { bal: '9.87', res: '0.00', debt: '0.00' }, 'step 6')
  t.equal(await alice.openSessions(), 0, 'session gone')
})

t.test('F02: two rating groups, one exhausted, then the other; the session lives', async t => {
  const bob = await scenario.subject(t, { money: '0.30', offer: 'flows-none' })
  const session = new Talk(gateway, [bob.id])

  const first = await session.initial([
    { ratingGroup: 10, ...ask },
    { ratingGroup: 20, ...ask },
  ])
  t.same(linesOf(first), [granted(10, 10n), granted(20, 10n)], 'policy none: no indication')
  await bob.is(t, { bal: '0.30', res: '0.30' }, 'step 2')

  const second = await session.update(1, [{ ratingGroup: 20, ...ask, ...exhausted(10n) }])
  t.equal(second.resultCode, 2001, 'the command succeeds')
  t.same(linesOf(second), [{ ratingGroup: 20, code: 4012 }])
  await bob.is(t, { bal: '0.10', res: '0.10' }, 'step 4: rating group 10 untouched')

  const third = await session.update(2, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
  t.same([third.resultCode, linesOf(third)], [2001, [{ ratingGroup: 10, code: 4012 }]])
  await bob.is(t, { bal: '0.00', res: '0.00' }, 'step 6')
  t.equal(await bob.openSessions(), 1)

  t.equal((await session.terminate(3)).resultCode, 2001)
  t.equal(await bob.openSessions(), 0, 'session gone')
})

t.test('F05: the last units come with TERMINATE, their report ends the service', async t => {
  const carol = await scenario.subject(t, { money: '0.03' })
  const session = new Talk(gateway, [carol.id])

  const first = await session.initial([{ ratingGroup: 10, ...ask }])
  t.same(linesOf(first), [granted(10, 3n, { final: 0 })])
  const indication = first.groups('Multiple-Services-Credit-Control')[0]!.group('Final-Unit-Indication')!
  t.equal(indication.list.length, 1, 'CC-071: nothing else in the group')
  await carol.is(t, { bal: '0.03', res: '0.03' }, 'step 2')

  const second = await session.update(1, [{ ratingGroup: 10, ...final(3n) }])
  t.same([second.resultCode, linesOf(second)], [2001, [{ ratingGroup: 10, code: 2001 }]], 'no grant')
  await carol.is(t, { bal: '0.00', res: '0.00' }, 'step 4')

  t.equal((await session.terminate(2)).resultCode, 2001)
  t.equal(await carol.openSessions(), 0, 'session gone')
})

t.test('F14: later requests need no Subscription-Id, and must not name somebody else', async t => {
  const dave = await scenario.subject(t)
  const erin = await scenario.subject(t)
  const session = new Talk(gateway, [dave.id])
  await session.initial([{ ratingGroup: 10, ...ask }])

  const nobody = { subscriptionIds: [] }
  const second = await session.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }], nobody)
  t.same(linesOf(second), [granted(10, 10n)])
  await dave.is(t, { bal: '9.90', res: '0.10' }, 'account taken from the session')

  const other = await session.update(2, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }], {
    subscriptionIds: [erin.id],
  })
  t.equal(other.resultCode, 5004)
  t.same(failedAvps(other), [
    'Subscription-Id/Subscription-Id-Type=0',
    `Subscription-Id/Subscription-Id-Data=${erin.account}`,
  ])
  await dave.is(t, { bal: '9.90', res: '0.10' }, 'unchanged')
  await erin.is(t, { bal: '10.00', res: '0.00' }, 'unchanged')

  const last = await session.terminate(2, [{ ratingGroup: 10, ...final(1n) }], nobody)
  t.equal(last.resultCode, 2001, 'the refused number is still new')
  await dave.is(t, { bal: '9.89', res: '0.00' }, 'and billed')

  const anonymous = await new Talk(gateway, []).initial([{ ratingGroup: 10, ...ask }])
  t.same([anonymous.resultCode, failedAvps(anonymous)], [5005, ['Subscription-Id=']])
})

t.test('F15: four sessions share 0.25 EUR', async t => {
  const frank = await scenario.subject(t, { money: '0.25' })
  const [s1, s2, s3, s4] = Array.from({ length: 4 }, () => new Talk(gateway, [frank.id])) as [Talk, Talk, Talk, Talk]
  const open = [{ ratingGroup: 10, ...ask }]

  t.same(linesOf(await s1.initial(open)), [granted(10, 10n)])
  await frank.is(t, { bal: '0.25', res: '0.10' }, 'step 1')
  t.same(linesOf(await s2.initial(open)), [granted(10, 10n)])
  await frank.is(t, { bal: '0.25', res: '0.20' }, 'step 2')
  t.same(linesOf(await s3.initial(open)), [granted(10, 5n, { final: 0 })])
  await frank.is(t, { bal: '0.25', res: '0.25' }, 'step 3')
  const refused = await s4.initial(open)
  t.same([refused.resultCode, linesOf(refused)], [4012, []])
  t.equal(await frank.openSessions(), 3, 'step 4: no session')
  await frank.is(t, { bal: '0.25', res: '0.25' }, 'step 4')

  const fifth = await s1.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
  t.same([fifth.resultCode, linesOf(fifth)], [2001, [{ ratingGroup: 10, code: 4012 }]])
  await frank.is(t, { bal: '0.15', res: '0.15' }, 'step 5')
  t.equal((await s2.terminate(1, [{ ratingGroup: 10, ...final(2n) }])).resultCode, 2001)
  await frank.is(t, { bal: '0.13', res: '0.05' }, 'step 6')
  const seventh = await s1.update(2, [{ ratingGroup: 10, ...ask }])
  t.same(linesOf(seventh), [granted(10, 8n, { final: 0 })])
  await frank.is(t, { bal: '0.13', res: '0.13' }, 'step 7')
})

t.test('F15: at the same instant, never more than 0.25 EUR is reserved', async t => {
  const grace = await scenario.subject(t, { money: '0.25' })
  const talks = Array.from({ length: 4 }, () => new Talk(gateway, [grace.id]))
  const answers = await Promise.all(talks.map(talk => talk.initial([{ ratingGroup: 10, ...ask }])))
  const sizes = answers.map(answer => (answer.resultCode === 4012 ? 0n : linesOf(answer)[0]!.octets! / MiB))
  t.same(
    sizes.sort((a, b) => Number(b - a)),
    [10n, 10n, 5n, 0n],
  )
  await grace.is(t, { bal: '0.25', res: '0.25' }, 'after all')
})

t.test('CC-060: of a hundred parallel sessions three fit, and 97 are refused', async t => {
  const heidi = await scenario.subject(t, { money: '0.30' })
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => new Talk(gateway, [heidi.id]).initial([{ ratingGroup: 10, ...ask }])),
  )
  t.equal(answers.filter(({ resultCode }) => resultCode === 2001).length, 3)
  t.equal(answers.filter(({ resultCode }) => resultCode === 4012).length, 97)
  await heidi.is(t, { bal: '0.30', res: '0.30' }, 'all of it')
})

t.test('F11, as far as it goes: a call by seconds, units at command level or in an MSCC', async t => {
  for (const commandLevel of [false, true]) {
    const ivan = await scenario.subject(t, { money: '0.42' })
    const call = new Talk(gateway, [ivan.id], { serviceContextId: '32260@3gpp.org' })
    const say = (service: object): { services: object[]; units?: object } =>
      commandLevel ? { services: [], units: service } : { services: [{ ratingGroup: 100, ...service }] }
    const line = (message: Awaited<ReturnType<Talk['initial']>>): object | undefined =>
      commandLevel ? lineOf(message) : linesOf(message)[0]

    const first = await call.initial([], say({ requested: { seconds: 60 } }))
    if (commandLevel) {
      t.equal(first.resultCode, 5031, 'this catalog has no rule for calls without a Rating-Group')
      continue
    }
    t.match(line(first), { code: 2001, seconds: 60, validity: 3600 })
    await ivan.is(t, { bal: '0.42', res: '0.06' }, 'step 2')
    const second = await call.update(1, [], say({ requested: { seconds: 60 }, used: [{ seconds: 50, reason: 0 }] }))
    t.match(line(second), { code: 2001, seconds: 60 })
    t.equal((await call.terminate(2, [], say({ used: [{ seconds: 35 }], reason: 2 }))).resultCode, 2001)
    await ivan.is(t, { bal: '0.335', res: '0.00' }, 'step 6: 85 s')
  }
})

t.test('F11b: a call that nobody answered costs nothing', async t => {
  const judy = await scenario.subject(t, { money: '0.42' })
  const call = new Talk(gateway, [judy.id], { serviceContextId: '32260@3gpp.org' })
  await call.initial([{ ratingGroup: 100, requested: { seconds: 60 } }])
  await call.terminate(1, [])
  await judy.is(t, { bal: '0.42', res: '0.00' }, 'all back')
})

t.test('all answers', t => {
  scenario.checkAnswers(t)
  t.end()
})
