/** CC-110 to 125: tariff changes inside a grant, and money. */
import type { Test } from 'tap'
import { ccrAvps, type ServiceInput, type UsedUnits } from '../../src/simulator/ccr.js'
import type { Avps, Message } from '../../src/simulator/message.js'
import type { AvpItem } from '../../src/diameter/tree.js'
import { failedAvps, linesOf, MiB, type Talk } from '../support/scenario.js'
import { hour, minute, row, second, startOcs, type Ocs } from './harness.js'
import { checkRecorded } from './recorder.js'

const voice = { serviceContextId: '32260@3gpp.org' }
const ask = { ratingGroup: 10, requested: {} }
const call = { ratingGroup: 100, requested: {} }

/** Account A on `tariff`, ten minutes before midnight UTC, when all becomes twice as dear. */
async function beforeMidnight(t: Test, originHost?: string): Promise<{ ocs: Ocs; talk: Talk; midnight: number }> {
  const ocs = await startOcs(t, { account: { offer: 'tariff' } })
  ocs.clock.skip(11 * hour + 50 * minute)
  const midnight = Math.ceil(ocs.clock.now() / (24 * hour)) * 24 * hour
  return { ocs, midnight, talk: ocs.talk(await ocs.gateway(t, originHost === undefined ? {} : { originHost })) }
}

/** Over midnight: connections that nobody answered meanwhile are made again. */
async function later(ocs: Ocs, { gateway }: Talk, ms: number): Promise<void> {
  if (ms < minute) {
    ocs.clock.skip(ms)
    return
  }
  const closed = gateway.connections.map(({ closed }) => closed)
  for (const connection of gateway.connections) connection.abort()
  await Promise.all(closed)
  ocs.clock.skip(ms)
  await gateway.connect({ host: '127.0.0.1', port: ocs.port })
}

const msccOf = (answer: Message): Avps => answer.groups('Multiple-Services-Credit-Control')[0]!
/** Tariff-Time-Change of the grant, ms. */
const changeOf = (answer: Message): number | undefined => {
  const seconds = msccOf(answer).group('Granted-Service-Unit')?.number('Tariff-Time-Change')
  return seconds === undefined ? undefined : seconds * second
}
const line = (used: readonly UsedUnits[], more: Partial<ServiceInput> = {}): ServiceInput => ({ ...ask, used, ...more })

row('CC-110', 'Tariff-Time-Change is the moment of the switch, where it lies inside the validity', async t => {
  const { ocs, talk, midnight } = await beforeMidnight(t)
  t.equal(changeOf(await talk.initial([ask])), midnight)
  const noon = await startOcs(t, { account: { offer: 'tariff' } })
  const early = noon.talk(await noon.gateway(t))
  t.equal(changeOf(await early.initial([ask])), undefined, 'twelve hours before, with a validity of one')
  t.ok(ocs)
})

row('CC-111', 'a single quota is reserved at the dearer of the two tariffs', async t => {
  const { ocs, talk } = await beforeMidnight(t)
  t.equal(linesOf(await talk.initial([ask]))[0]!.octets, 20n * MiB)
  await ocs.a.is(t, { bal: '10.00', res: '0.40' }, '20 MiB at 0.02')
})

row('CC-112', 'usage before, after and over the switch comes with Tariff-Change-Usage and is priced so', async t => {
  const { ocs, talk } = await beforeMidnight(t)
  await talk.initial([ask])
  await later(ocs, talk, 20 * minute)
  const split = [
    { octets: 7n * MiB, side: 'before' as const },
    { octets: 3n * MiB, side: 'after' as const },
  ]
  const answer = await talk.update(1, [line(split)])
  t.equal(changeOf(answer), undefined, 'the switch is over')
  await ocs.a.is(t, { bal: '9.87' }, '0.07 and 0.06')
})

row('CC-113', 'without Tariff-Change-Usage, received before the switch: the old price', async t => {
  const { ocs, talk } = await beforeMidnight(t)
  await talk.initial([ask])
  await later(ocs, talk, 5 * second)
  await talk.update(1, [line([{ octets: 2n * MiB }])])
  await ocs.a.is(t, { bal: '9.98' }, 'old')
})

row(
  'CC-114',
  'indeterminate usage, and unsplit usage received after the switch, is rated at the cheaper price',
  async t => {
    const { ocs, talk } = await beforeMidnight(t)
    await talk.initial([ask])
    await later(ocs, talk, 20 * minute)
    await talk.update(1, [line([{ octets: 1n * MiB, side: 'indeterminate' }])])
    await ocs.a.is(t, { bal: '9.99' }, 'the old price is the cheaper')
    const { ocs: other, talk: unsplit } = await beforeMidnight(t)
    await unsplit.initial([ask])
    await later(other, unsplit, 20 * minute)
    await unsplit.update(1, [line([{ octets: 1n * MiB }])])
    await other.a.is(t, { bal: '9.99' }, 'unsplit: the same')
  },
)

row('CC-115', 'one MSCC for each line: no dual quota with Tariff-Change-Usage is sent', async t => {
  const { talk } = await beforeMidnight(t)
  const answer = await talk.initial([ask])
  t.equal(answer.groups('Multiple-Services-Credit-Control').length, 1)
  t.equal(msccOf(answer).group('Granted-Service-Unit')!.number('Tariff-Change-Usage'), undefined)
  t.equal(msccOf(answer).number('Tariff-Change-Usage'), undefined)
})

row('CC-116', 'a call over midnight is split by the clock: 300 s at each price', async t => {
  const { ocs, talk, midnight } = await beforeMidnight(t)
  const answer = await talk.initial([call], voice)
  t.ok(changeOf(answer), '3GPP allows Tariff-Time-Change there, too')
  await later(ocs, talk, 15 * minute)
  const eventTimestamp = midnight / second + 300
  await talk.update(1, [{ ...call, used: [{ seconds: 600 }] }], { ...voice, eventTimestamp })
  await ocs.a.is(t, { bal: '9.10' }, '300 x 0.001 + 300 x 0.002')
})

row('CC-117', 'a profile may have the validity end at the switch, some earlier than others', async t => {
  const { ocs, talk, midnight } = await beforeMidnight(t, 'pgwvalid.example.net')
  const ends = new Set<number>()
  for (let i = 0; i < 8; i++) {
    const session = ocs.talk(talk.gateway)
    const answer = await session.initial([{ ...ask, requested: { octets: 1n * MiB } }])
    t.equal(changeOf(answer), undefined, 'no Tariff-Time-Change')
    const validity = msccOf(answer).number('Validity-Time')!
    const end = ocs.clock.now() + validity * second
    t.ok(end <= midnight && end >= midnight - 2 * minute, `${validity} s reach the switch or nearly so`)
    ends.add(validity)
    ocs.clock.skip(second)
  }
  t.ok(ends.size > 1, 'not all at one moment')
})

row(
  'CC-118',
  'Termination-Cause DIAMETER_BAD_ANSWER is accepted and counted, for whoever did not understand',
  async t => {
    const { ocs, talk } = await beforeMidnight(t)
    await talk.initial([ask])
    const answer = await talk.terminate(1, [], { terminationCause: 3 })
    t.equal(answer.resultCode, 2001)
    await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'released')
    t.equal(
      await ocs.metric('ocs_ccr_oddities_total', 'bad_answer'),
      1,
      'an operator sees which peer needs another profile',
    )
  },
)

/** CC-Money of a request as AVPs, with any digits and exponent. */
const moneyAvp = (digits: bigint, exponent: number | undefined, currency?: number): AvpItem => [
  'CC-Money',
  [
    ['Unit-Value', [['Value-Digits', digits], ...(exponent === undefined ? [] : [['Exponent', exponent] as const])]],
    ...(currency === undefined ? [] : [['Currency-Code', currency] as const]),
  ],
]

const shop = { serviceContextId: 'value@example.net' }

/** A CCR-U that reports money as it is given. */
async function reportMoney(talk: Talk, number: number, money: AvpItem): Promise<Message> {
  const avps = ccrAvps(talk.gateway, talk.input('update', number, [], shop))
  return talk.askAvps([
    ...avps,
    [
      'Multiple-Services-Credit-Control',
      [
        ['Used-Service-Unit', [money]],
        ['Rating-Group', 50],
      ],
    ],
  ])
}

async function shopping(t: Test): Promise<{ ocs: Ocs; talk: Talk }> {
  const ocs = await startOcs(t, { account: { offer: 'shop', money: '500.00' } })
  const talk = ocs.talk(await ocs.gateway(t))
  t.equal((await talk.initial([{ ratingGroup: 50, requested: {} }], shop)).resultCode, 2001)
  return { ocs, talk }
}

row('CC-120', 'Unit-Value is Value-Digits x 10^Exponent, exactly; no Exponent is 0', async t => {
  const { ocs, talk } = await shopping(t)
  const rows: readonly (readonly [bigint, number | undefined, string])[] = [
    [23n, -1, '497.70'],
    [5n, -2, '497.65'],
    [1n, 2, '397.65'],
    [3n, undefined, '394.65'],
  ]
  for (const [i, [digits, exponent, left]] of rows.entries()) {
    const answer = await reportMoney(talk, i + 1, moneyAvp(digits, exponent))
    t.equal(answer.resultCode, 2001)
    await ocs.a.is(t, { bal: left }, `${digits} x 10^${exponent}`)
  }
})

row('CC-121', 'Value-Digits is read as 64 bits without loss', async t => {
  const { talk } = await shopping(t)
  // 2^53 + 1 and the ends of the type are no sums of money here, and come back in Failed-AVP to the last digit.
  for (const [i, digits] of [9_007_199_254_740_993n, -(2n ** 63n), 2n ** 63n - 1n].entries()) {
    const answer = await reportMoney(talk, i + 1, moneyAvp(digits, 0))
    t.equal(answer.resultCode, 5004)
    t.ok(
      failedAvps(answer).some(avp => avp.endsWith(`Value-Digits=${digits}`)),
      `${digits}`,
    )
  }
})

row('CC-122', 'money of another currency than the account cannot be rated', async t => {
  const ocs = await startOcs(t, { account: { offer: 'shop', money: '500.00' } })
  const talk = ocs.talk(await ocs.gateway(t))
  const dollars = { ratingGroup: 50, requested: { money: 1_000_000n, currency: 840 } }
  t.equal((await talk.initial([dollars], shop)).resultCode, 5031)
  await ocs.a.is(t, { bal: '500.00', res: '0.00' }, 'untouched')
})

row(
  'CC-123',
  'CC-Money is sent with Currency-Code; received without one it is in the currency of the account',
  async t => {
    const { ocs, talk } = await shopping(t)
    const session = ocs.talk(talk.gateway)
    const answer = await session.initial([{ ratingGroup: 50, requested: { money: 2_000_000n } }], shop)
    const money = msccOf(answer).group('Granted-Service-Unit')!.group('CC-Money')!
    t.equal(money.number('Currency-Code'), 978)
    await reportMoney(talk, 1, moneyAvp(100n, -2))
    await ocs.a.is(t, { bal: '499.00' }, '1.00 EUR')
  },
)

/** Cost-Information in micros. */
function costOf(answer: Message): bigint | undefined {
  const cost = answer.group('Cost-Information')
  const value = cost?.group('Unit-Value')
  if (!value) return undefined
  return value.bigint('Value-Digits')! * 10n ** BigInt(6 + (value.number('Exponent') ?? 0))
}

row('CC-124', 'Cost-Information is the cost so far in an update, and the total at the end', async t => {
  const ocs = await startOcs(t, { account: { offer: 'informed' } })
  const talk = ocs.talk(await ocs.gateway(t), { serviceContextId: '32251@informed.example.net' })
  t.equal(costOf(await talk.initial([ask])), 0n, 'nothing yet, though 0.10 is reserved')
  t.equal(costOf(await talk.update(1, [line([{ octets: 10n * MiB }])])), 100_000n, 'without what is reserved')
  const end = await talk.terminate(2, [{ ratingGroup: 10, used: [{ octets: 3n * MiB }] }])
  t.equal(costOf(end), 130_000n, 'F01')
  t.equal(end.group('Cost-Information')!.number('Currency-Code'), 978)
})

row('CC-125', 'exponents outside -18 to 18 are refused with 5004, at once', async t => {
  const { ocs, talk } = await shopping(t)
  for (const [i, exponent] of [2_000_000_000, -2_000_000_000, 19, -19].entries())
    t.equal((await reportMoney(talk, i + 1, moneyAvp(1n, exponent))).resultCode, 5004, `${exponent}`)
  await ocs.a.is(t, { bal: '500.00' }, 'nothing is debited')
})

checkRecorded()
