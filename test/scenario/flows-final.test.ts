/**
 * Final units over real sockets: reference flow F03 with its variants, restriction, per service and per offer, in both forms; and
 * F12, one credit for two rating groups. Balances after every step.
 */
import t, { type Test } from 'tap'
import type { UsedUnits } from '../../src/simulator/ccr.js'
import { Avps, type Message } from '../../src/simulator/message.js'
import { linesOf, MiB, startScenario, Talk } from '../support/scenario.js'

const scenario = await startScenario(t)
const gateway = await scenario.gateway(t)
const ask = { requested: {} }
const used = (octets: bigint, reason?: number): readonly UsedUnits[] => [
  { octets, ...(reason !== undefined && { reason }) },
]
const EXHAUSTED = 3
const POOL_EXHAUSTED = 8

/** Names and values of a group, deep: `Final-Unit-Action=1 Redirect-Server{Redirect-Address-Type=2 …}`. */
function inWords(avps: Avps | undefined): string | undefined {
  return avps?.list
    .map(({ name, value }) => {
      if (Array.isArray(value)) return `${name}{${inWords(new Avps(value))}}`
      return `${name}=${Buffer.isBuffer(value) ? value.toString('hex') : String(value)}`
    })
    .join(' ')
}

const msccOf = (answer: Message, i = 0): Avps => answer.groups('Multiple-Services-Credit-Control')[i]!
const finalUnits = (answer: Message): string | undefined => inWords(msccOf(answer).group('Final-Unit-Indication'))
const toTopup =
  'Final-Unit-Action=1 Redirect-Server{Redirect-Address-Type=2 Redirect-Server-Address=http://topup.example/}'

t.test('F03: redirected at the last units, it goes on after a recharge', async t => {
  const subject = await scenario.subject(t, { offer: 'flows-redirect', money: '0.05' })
  const talk = new Talk(gateway, [subject.id])
  const first = await talk.initial([{ ratingGroup: 10, ...ask }])
  t.same(linesOf(first), [{ ratingGroup: 10, code: 2001, octets: 5n * MiB, validity: 900, final: 1 }])
  t.equal(finalUnits(first), toTopup)
  await subject.is(t, { bal: '0.05', res: '0.05' }, 'all of it is held')

  const redirected = await talk.update(1, [{ ratingGroup: 10, used: used(5n * MiB, EXHAUSTED) }])
  t.same(linesOf(redirected), [{ ratingGroup: 10, code: 2001, validity: 300 }], 'nothing more, but when to ask again')
  await subject.is(t, { bal: '0.00', res: '0.00' }, 'charged')
  t.equal(await subject.openSessions(), 1)

  await subject.recharge('5.00')
  const lifted = await talk.update(2, [{ ratingGroup: 10, ...ask }])
  t.same(
    linesOf(lifted),
    [{ ratingGroup: 10, code: 2001, octets: 10n * MiB, validity: 900 }],
    'no indication: it is lifted',
  )
  await subject.is(t, { bal: '5.00', res: '0.10' }, 'as any session')
})

t.test('F03b: no recharge, and the gateway asks again', async t => {
  const subject = await scenario.subject(t, { offer: 'flows-redirect', money: '0.05' })
  const talk = new Talk(gateway, [subject.id])
  await talk.initial([{ ratingGroup: 10, ...ask }])
  await talk.update(1, [{ ratingGroup: 10, used: used(5n * MiB, EXHAUSTED) }])
  const refused = await talk.update(2, [{ ratingGroup: 10, ...ask }])
  t.equal(refused.resultCode, 2001)
  t.same(linesOf(refused), [{ ratingGroup: 10, code: 4012 }])
  t.equal(await subject.openSessions(), 1, 'a recharge can still help')

  const patient = await scenario.subject(t, { offer: 'flows-redirect-on', money: '0.05' })
  const other = new Talk(gateway, [patient.id])
  await other.initial([{ ratingGroup: 10, ...ask }])
  await other.update(1, [{ ratingGroup: 10, used: used(5n * MiB, EXHAUSTED) }])
  for (const number of [2, 3]) {
    const again = await other.update(number, [{ ratingGroup: 10, ...ask }])
    t.same(
      linesOf(again),
      [{ ratingGroup: 10, code: 2001, octets: 0n, validity: 300, final: 1 }],
      'repeat: it stays so',
    )
    t.match(finalUnits(again), 'Redirect-Address-Type=1 Redirect-Server-Address=2001:db8::1', 'to an IPv6 address')
  }
})

t.test('F03c: redirected from the first moment', async t => {
  const subject = await scenario.subject(t, { offer: 'flows-redirect', money: '0.00' })
  const talk = new Talk(gateway, [subject.id])
  const answer = await talk.initial([{ ratingGroup: 10, ...ask }])
  t.equal(answer.resultCode, 2001)
  t.same(linesOf(answer), [{ ratingGroup: 10, code: 2001, validity: 300, final: 1 }], 'no Granted-Service-Unit')
  t.equal(finalUnits(answer), toTopup)
  await subject.is(t, { bal: '0.00', res: '0.00' }, 'nothing is held')
  t.equal(await subject.openSessions(), 1)
  scenario.clock.offsetMs += 400_000
  t.equal(await subject.sweep(talk.id, scenario.clock), 'early', 'it outlives the time until it asks again')
})

t.test('funds that another session took: restricted at once, with a grant of nothing', async t => {
  const subject = await scenario.subject(t, { offer: 'flows-redirect', money: '0.20' })
  const talk = new Talk(gateway, [subject.id])
  const other = new Talk(gateway, [subject.id])
  await talk.initial([{ ratingGroup: 10, ...ask }])
  const last = await other.initial([{ ratingGroup: 10, ...ask }])
  t.equal(linesOf(last)[0]!.final, 1, 'the second has the last units')
  const answer = await talk.update(1, [{ ratingGroup: 10, used: used(10n * MiB, EXHAUSTED), ...ask }])
  t.same(linesOf(answer), [{ ratingGroup: 10, code: 2001, octets: 0n, validity: 300, final: 1 }])
  t.equal(finalUnits(answer), toTopup)
})

t.test('an offer says it for all services, and for one of them', async t => {
  const subject = await scenario.subject(t, { offer: 'flows-redirect-on', money: '0.01' })
  const voice = new Talk(gateway, [subject.id], { serviceContextId: '32260@3gpp.org' })
  const call = await voice.initial([{ ratingGroup: 100, ...ask }])
  t.equal(finalUnits(call), 'Final-Unit-Action=0', 'a call ends')
  await voice.terminate(1)
  const data = new Talk(gateway, [subject.id])
  t.match(finalUnits(await data.initial([{ ratingGroup: 10, ...ask }])), 'Final-Unit-Action=1', 'data is redirected')
})

t.test('RESTRICT_ACCESS names what still passes', async t => {
  const subject = await scenario.subject(t, { offer: 'flows-restrict', money: '0.02' })
  const talk = new Talk(gateway, [subject.id])
  const answer = await talk.initial([{ ratingGroup: 10, ...ask }])
  t.equal(
    finalUnits(answer),
    'Final-Unit-Action=2 Restriction-Filter-Rule=permit out ip from 198.51.100.0/24 to any Filter-Id=walled-garden',
  )
})

/** S of RFC 8506 section 5.1.2: what the lines of an answer are worth in the pool. */
function poolOf(answer: Message): { pool: (number | undefined)[]; sum: number } {
  const lines = answer.groups('Multiple-Services-Credit-Control').map(mscc => {
    const reference = mscc.group('G-S-U-Pool-Reference')
    const value = reference?.group('Unit-Value')
    const multiplier = Number(value?.bigint('Value-Digits') ?? 0n) * 10 ** (value?.number('Exponent') ?? 0)
    const granted = Number(mscc.group('Granted-Service-Unit')?.bigint('CC-Total-Octets') ?? 0n)
    return { id: reference?.number('G-S-U-Pool-Identifier'), units: granted * multiplier }
  })
  return { pool: lines.map(({ id }) => id), sum: lines.reduce((sum, { units }) => sum + units, 0) }
}

t.test('F12: two rating groups share one credit', async t => {
  const subject = await scenario.subject(t, { offer: 'flows-pool' })
  const talk = new Talk(gateway, [subject.id])
  const both = [
    { ratingGroup: 10, requested: { octets: 3_000_000n } },
    { ratingGroup: 20, requested: { octets: 2_000_000n } },
  ]
  const first = await talk.initial(both)
  t.same(poolOf(first), { pool: [1, 1], sum: 8_000_000 })
  t.equal(
    inWords(msccOf(first, 1).group('G-S-U-Pool-Reference')),
    'G-S-U-Pool-Identifier=1 CC-Unit-Type=2 Unit-Value{Value-Digits=25 Exponent=-1}',
  )
  await subject.is(t, { bal: '10.00', res: '0.08' }, 'one hold')
  const second = await talk.update(1, [
    { ...both[0]!, used: used(5_000_000n, POOL_EXHAUSTED) },
    { ...both[1]!, used: used(1_200_000n, POOL_EXHAUSTED) },
  ])
  t.same(poolOf(second), { pool: [1, 1], sum: 8_000_000 }, 'a fresh pool')
  await subject.is(t, { bal: '9.92', res: '0.08', debt: '0.00' }, 'more than its own grant is paid by the pool')
  await talk.terminate(2)
  await subject.is(t, { bal: '9.92', res: '0.00' }, 'and all goes back')
})

t.test('F12: with nothing but the pool, each pays from it; a member that leaves takes out what it used', async t => {
  const poor = await scenario.subject(t, { offer: 'flows-pool', money: '0.08' })
  const talk = new Talk(gateway, [poor.id])
  const both = [
    { ratingGroup: 10, requested: { octets: 3_000_000n } },
    { ratingGroup: 20, requested: { octets: 2_000_000n } },
  ]
  await talk.initial(both)
  await poor.is(t, { bal: '0.08', res: '0.08' }, 'all is held')
  await talk.update(1, [{ ratingGroup: 10, used: used(5_000_000n, POOL_EXHAUSTED) }])
  await poor.is(t, { bal: '0.03', res: '0.03', debt: '0.00' }, 'rating group 20 keeps what is left')
  await talk.terminate(2, [{ ratingGroup: 20, used: used(1_200_000n) }])
  await poor.is(t, { bal: '0.00', res: '0.00', debt: '0.00' }, 'no debt: the pool paid')

  const subject = await scenario.subject(t, { offer: 'flows-pool' })
  const leaving = new Talk(gateway, [subject.id])
  await leaving.initial([...both, { ratingGroup: 11, requested: { octets: 1n * MiB } }])
  await subject.is(t, { bal: '10.00', res: '0.09' }, 'a third group has a hold of its own')
  await leaving.update(1, [{ ratingGroup: 20, used: used(400_000n), reason: 2 }])
  await subject.is(t, { bal: '9.99', res: '0.08' }, '1,000,000 pool units less: 7,000,000 and the third group')
  await leaving.update(2, [{ ratingGroup: 10, used: used(7_000_000n, POOL_EXHAUSTED) }])
  await subject.is(t, { bal: '9.92', res: '0.01', debt: '0.00' }, 'the other one used all of it')
})

t.test('answers are whole', (t: Test) => {
  scenario.checkAnswers(t)
  t.end()
})
