import fc from 'fast-check'
import t from 'tap'
import { roundings, type Rate, type RateTerms, type Rounding } from '../../src/rating/catalog.js'
import {
  billable,
  boundedPrice,
  compileRate,
  dearestGrowth,
  describePrice,
  describeRate,
  formatRate,
  priceOf,
  tierPrice,
  unitsFor,
  type Standing,
} from '../../src/rating/price.js'
import { formatAmount, lineLimit, micros, units, unitTypes, type UnitType } from '../../src/units.js'
import { seed } from '../support/seed.js'

const parameters = { numRuns: 2_000, seed }

const kB = 1_000n
const MB = 1_000_000n
const GB = 1_000_000_000n
const MiB = 2n ** 20n
const TiB = 2n ** 40n

interface Tier {
  upTo?: bigint
  amount: bigint
  per?: bigint
}

interface Written {
  unit?: UnitType
  /** Of the only tier. */
  amount?: bigint
  per?: bigint
  tiers?: readonly Tier[]
  mode?: 'graduated' | 'volume'
  step?: bigint
  first?: bigint
  setup?: bigint
  minimum?: bigint
  cap?: bigint
  capThen?: 'free' | 'stop'
  round?: Rounding
  decimals?: number
  counter?: string
}

function terms(written: Written): RateTerms {
  const { unit = 'octets', amount = 0n, per = 1n, mode = 'graduated', step = 1n, first = 0n } = written
  const { setup = 0n, minimum = 0n, cap, capThen = 'free', round = 'up', decimals = 6, counter } = written
  const tiers = (written.tiers ?? [{ amount }]).map(tier => ({
    upTo: tier.upTo === undefined ? undefined : units(tier.upTo),
    amount: micros(tier.amount),
    per: units(tier.per ?? per),
  }))
  return {
    name: 'rate',
    unit,
    tiers,
    mode,
    step: units(step),
    first: units(first),
    setup: micros(setup),
    minimum: micros(minimum),
    cap: cap === undefined ? undefined : { amount: micros(cap), then: capThen },
    round,
    decimals,
    counter,
  }
}

function compiled(written: Written): Rate {
  const outcome = compileRate(terms(written))
  if ('rate' in outcome) return outcome.rate
  throw new Error(`${outcome.problem}; ${outcome.hint}`)
}

/** What each report of a session costs, one after the other, beginning at `from` units. */
function costs(rate: Rate, reports: readonly bigint[], { from = 0n, opening = true } = {}): bigint[] {
  let used = from
  return reports.map(report => {
    const before = priceOf(units(used), rate, opening)
    used += report
    return priceOf(units(used), rate, opening) - before
  })
}

/** A counter and the runs of the sessions that share it. */
class Counter {
  private readonly runs = new Map<string, { n: bigint; raw: bigint }>()

  constructor(
    readonly rate: Rate,
    public value: bigint,
  ) {}

  report(session: string, used: bigint, opening = true): bigint {
    const run = this.runs.get(session) ?? { n: 0n, raw: 0n }
    const [n, rate] = [run.n + used, this.rate]
    const d = billable(units(n), rate, opening) - billable(units(run.n), rate, opening)
    const raw = run.raw + tierPrice(this.value + d, rate) - tierPrice(this.value, rate)
    const price = (units: bigint, sum: bigint): bigint => (units === 0n ? 0n : boundedPrice(sum, rate, opening))
    this.value += d
    this.runs.set(session, { n, raw })
    return price(n, raw) - price(run.n, run.raw)
  }
}

const payg = compiled({ amount: 10_000n, per: MB, step: 100n * kB })
const voice = compiled({ unit: 'seconds', amount: 60_000n, per: 60n, first: 30n })
const voice3060 = compiled({ unit: 'seconds', amount: 60_000n, per: 60n, step: 60n, first: 30n })
const withSetup = compiled({ unit: 'seconds', amount: 100_000n, per: 60n, step: 60n, setup: 50_000n })
const dear = compiled({ amount: 20_000n, per: MB, step: 100n * kB })
const session = { step: MB, per: MB, tiers: [{ upTo: GB, amount: 20_000n }, { amount: 5_000n }] }
const falling = { ...session, counter: 'month' }
const rising = { ...falling, tiers: [{ upTo: GB, amount: 5_000n }, { amount: 20_000n }] }

t.test('reports cost what the worked examples of semantics.md section 12 say', t => {
  const table = [
    { example: '1, split', rate: payg, reports: [250n * kB, 30n * kB, 20n * kB], expect: [3_000n, 0n, 0n] },
    { example: '1, in one', rate: payg, reports: [300n * kB], expect: [3_000n] },
    { example: '2, first 30 s', rate: voice, reports: [20n, 25n], expect: [30_000n, 15_000n] },
    { example: '2, no answer', rate: voice, reports: [0n], expect: [0n] },
    { example: '2, 30/60', rate: voice3060, reports: [31n], expect: [90_000n] },
    { example: '3', rate: withSetup, reports: [10n, 50n, 1n], expect: [150_000n, 0n, 100_000n] },
    {
      example: '4, above the bucket',
      rate: payg,
      reports: [750n * kB, 40n * kB, 20n * kB],
      expect: [8_000n, 0n, 1_000n],
    },
    { example: '5', rate: payg, reports: [250n * kB, 50n * kB], expect: [3_000n, 0n] },
    { example: '6', rate: payg, reports: [420n * kB], expect: [5_000n] },
    { example: '11', rate: payg, reports: [250n * kB, 80n * kB], expect: [3_000n, 1_000n] },
    { example: '13', rate: payg, reports: [700n * kB, 500n * kB], expect: [7_000n, 5_000n] },
    { example: '15, old', rate: payg, reports: [1_050n * kB, 260n * kB], expect: [11_000n, 3_000n] },
    { example: '15, new', rate: dear, reports: [260n * kB], expect: [6_000n] },
  ]
  for (const { example, rate, reports, expect } of table) t.same(costs(rate, reports), expect, `example ${example}`)
  t.end()
})

t.test('sessions that share a counter pay its tiers in the order of their reports (examples 7, 8, 9)', t => {
  const table = [
    { example: '7', rate: compiled(falling), holds: [125_000n, 125_000n], charges: [125_000n, 50_000n] },
    { example: '8', rate: compiled(rising), holds: [125_000n, 200_000n], charges: [125_000n, 200_000n] },
  ]
  for (const { example, rate, holds, charges } of table) {
    const at = 995n * MB
    t.same(
      [dearestGrowth(rate, at, 0n, 10n * MB), dearestGrowth(rate, at, 10n * MB, 10n * MB)],
      holds,
      `${example}: holds`,
    )
    for (const order of [
      ['S1', 'S2'],
      ['S2', 'S1'],
    ]) {
      const counter = new Counter(rate, at)
      const paid = order.map(session => counter.report(session, 10n * MB))
      t.same(paid, charges, `${example}: ${order.join(' before ')}`)
      t.equal(paid[0]! + paid[1]!, tierPrice(1_015n * MB, rate) - tierPrice(at, rate), `${example}: the sum`)
    }
  }
  const volume = new Counter(compiled({ ...falling, mode: 'volume' }), 0n)
  t.equal(volume.report('S1', 1_000n * MB), 20_000_000n, '9: up to the bound')
  t.equal(volume.report('S1', MB), -14_995_000n, '9: the next MB')
  const other = new Counter(compiled({ ...falling, mode: 'volume' }), 1_000n * MB)
  t.equal(other.report('S2', MB), -14_995_000n, '9: the next MB, as the first report of another session')
  t.end()
})

t.test('bands inside a session, minimum, cap and rounding are parts of one price', t => {
  const bands = {
    unit: 'seconds' as const,
    per: 60n,
    step: 60n,
    tiers: [{ upTo: 180n, amount: 90_000n }, { amount: 60_000n }],
  }
  const third = { unit: 'events' as const, amount: 10_000n, per: 3n }
  const table = [
    { what: 'bands', rate: compiled(bands), reports: [100n, 100n, 60n], expect: [180_000n, 150_000n, 60_000n] },
    { what: 'a band that is free', rate: compiled({ ...bands, tiers: [{ upTo: 60n, amount: 0n }, { amount: 60_000n }] }), reports: [60n, 1n], expect: [0n, 60_000n] },
    { what: 'volume inside a session', rate: compiled({ ...bands, mode: 'volume' }), reports: [180n, 1n], expect: [270_000n, -30_000n] },
    { what: 'a minimum', rate: compiled({ unit: 'seconds', amount: 1_000n, minimum: 5_000n }), reports: [1n, 3n, 3n], expect: [5_000n, 0n, 2_000n] },
    { what: 'setup counts for the minimum', rate: compiled({ unit: 'seconds', amount: 1_000n, setup: 4_000n, minimum: 5_000n }), reports: [1n, 1n], expect: [5_000n, 1_000n] },
    { what: 'a cap', rate: compiled({ unit: 'seconds', amount: 1_000n, setup: 500n, cap: 3_000n }), reports: [2n, 2n, 9n], expect: [2_500n, 500n, 0n] },
    { what: 'a cap that stops, overrun', rate: compiled({ unit: 'seconds', amount: 1_000n, cap: 3_000n, capThen: 'stop' }), reports: [5n], expect: [3_000n] },
    { what: 'up, to the cent', rate: compiled({ ...third, decimals: 2 }), reports: [1n, 1n, 1n, 1n], expect: [10_000n, 0n, 0n, 10_000n] },
    { what: 'down, to the cent', rate: compiled({ ...third, decimals: 2, round: 'down' }), reports: [1n, 1n, 1n, 1n], expect: [0n, 0n, 10_000n, 0n] },
    { what: 'to the nearest cent', rate: compiled({ ...third, decimals: 2, round: 'nearest' }), reports: [1n, 1n, 1n, 1n], expect: [0n, 10_000n, 0n, 0n] },
    { what: 'half a cent goes up', rate: compiled({ ...third, per: 2n, decimals: 2, round: 'nearest' }), reports: [1n, 1n, 1n], expect: [10_000n, 0n, 10_000n] },
    { what: '2.5 % of a value', rate: compiled({ unit: 'money', amount: 25_000n, per: MB }), reports: [19_990_000n], expect: [499_750n] },
  ] // prettier-ignore
  for (const { what, rate, reports, expect } of table) t.same(costs(rate, reports), expect, what)
  t.end()
})

t.test('funds reach to the end of the last step they pay for', t => {
  const perSecond = { unit: 'seconds' as const, amount: 1_000n }
  const volume = compiled({ ...session, mode: 'volume' })
  const table = [
    { what: 'example 5, 3,500 micros', rate: payg, used: 0n, funds: 3_500n, expect: 300n * kB },
    { what: 'example 5, the paid rest of a step', rate: payg, used: 250n * kB, funds: 500n, expect: 50n * kB },
    { what: 'example 5, at the step', rate: payg, used: 300n * kB, funds: 500n, expect: 0n },
    { what: 'example 18, 0.02 EUR and a limit of 0.05', rate: payg, used: 0n, funds: 70_000n, expect: 7n * MB },
    { what: 'no funds', rate: payg, used: 0n, funds: 0n, expect: 0n },
    { what: 'no more than asked for', rate: payg, used: 0n, funds: 70_000n, most: 10n, expect: 10n },
    { what: 'less than the first 30 s', rate: voice, used: 0n, funds: 29_999n, expect: 0n },
    { what: 'exactly the first 30 s', rate: voice, used: 0n, funds: 30_000n, expect: 30n },
    { what: 'within the first 30 s', rate: voice, used: 10n, funds: 0n, expect: 20n },
    { what: 'the first 30 s and a half step of 60', rate: voice3060, used: 0n, funds: 60_000n, expect: 30n },
    { what: 'less than setup and a step', rate: withSetup, used: 0n, funds: 149_999n, expect: 0n },
    { what: 'setup and a step', rate: withSetup, used: 0n, funds: 150_000n, expect: 60n },
    { what: 'less than the minimum', rate: compiled({ ...perSecond, minimum: 5_000n }), used: 0n, funds: 4_999n, expect: 0n },
    { what: 'what the minimum has paid', rate: compiled({ ...perSecond, minimum: 5_000n }), used: 1n, funds: 0n, expect: 4n },
    { what: 'to the line limit, where the cap is affordable', rate: compiled({ ...perSecond, cap: 3_000n }), used: 1n, funds: 2_000n, expect: 999_999_999n },
    { what: 'not to the cap', rate: compiled({ ...perSecond, cap: 3_000n }), used: 1n, funds: 1_999n, expect: 1n },
    { what: 'to a cap that stops', rate: compiled({ ...perSecond, cap: 3_000n, capThen: 'stop' as const }), used: 1n, funds: 9_000n, expect: 2n },
    { what: 'at a cap that stops', rate: compiled({ ...perSecond, step: 2n, cap: 3_000n, capThen: 'stop' as const }), used: 3n, funds: 9_000n, expect: 0n },
    { what: 'to the line limit, where it is free', rate: compiled({ unit: 'seconds' }), used: 5n, funds: 0n, expect: 999_999_995n },
    { what: 'volume: far, where the cheaper tier is affordable', rate: volume, used: 0n, funds: 6_000_000n, expect: 1_200n * MB },
    { what: 'volume: within the dearer tier, when no more is asked for', rate: volume, used: 0n, funds: 6_000_000n, most: 950n * MB, expect: 300n * MB },
  ] // prettier-ignore
  for (const { what, rate, used, funds, most, expect } of table) {
    t.equal(unitsFor(units(used), micros(funds), rate, true, most), expect, what)
  }
  t.end()
})

t.test('setup, minimum and `first` are billed by the opening rate of a line only', t => {
  t.equal(priceOf(units(1), voice, true), 30_000n)
  t.equal(priceOf(units(1), voice, false), 1_000n)
  t.equal(priceOf(units(31), voice3060, false), 60_000n)
  t.equal(priceOf(units(1), withSetup, false), 100_000n)
  t.equal(priceOf(units(1), compiled({ unit: 'seconds', amount: 1_000n, minimum: 5_000n }), false), 1_000n)
  t.equal(unitsFor(units(0), micros(5_000), voice, false), 5n)
  t.equal(unitsFor(units(0), micros(100_000), withSetup, false), 60n)
  t.end()
})

t.test('what cannot be computed exactly is refused, with what to write instead', t => {
  const perTiB = { amount: 9_990_000n, per: TiB }
  const most = 2n ** 53n / lineLimit.events
  const table = [
    { what: 'a step that is too fine (example 19)', written: perTiB, problem: /^1 octets cost 624375\/68719476736 micros, too fine to be exact$/, hint: /^use a larger step, like 1KiB$/, key: 'tiers' },
    { what: 'too fine for the nearest only', written: { unit: 'events', amount: 1n, per: 2n ** 52n - 1n, round: 'nearest' }, problem: /too fine/, hint: 'use a larger step, like 10', key: 'tiers' },
    { what: 'too fine at each step', written: { amount: 10n ** 7n, per: 2n ** 31n - 1n }, problem: /10000000\/2147483647 micros, too fine/, hint: /^use a larger step$/, key: 'tiers' },
    { what: 'a line that reaches 2^53', written: { unit: 'events', amount: most + 1n }, problem: /100000000 events.*2\^53/, hint: /lower price/, key: 'tiers' },
    { what: 'setup counts for it', written: { unit: 'events', amount: most, setup: 2n ** 53n - most * lineLimit.events }, problem: /reaches 2\^53/, hint: /lower price/, key: 'tiers' },
    { what: 'the dearer tier of volume mode', written: { unit: 'events', mode: 'volume', tiers: [{ upTo: lineLimit.events - 1n, amount: most * 2n }, { amount: 1n }] }, problem: /^99999999 events would cost .* 2\^53/, hint: /lower price/, key: 'tiers' },
    { what: 'a bound beyond all counters', written: { tiers: [{ upTo: 2n ** 53n, amount: 0n }, { amount: 0n }] }, problem: /^tier 1 ends at 9007199254740992 octets.* 2\^53$/, hint: /end earlier/, key: 'tiers' },
    { what: 'a bound within a step', written: { ...session, step: 300n * MB }, problem: 'tier 1 ends at 1 GB, which is no multiple of the step 300 MB', hint: 'write upTo: 900MB or 1200MB, or a step that fits', key: 'tiers' },
    { what: 'a first within a step, with tiers', written: { ...session, first: 1_500n * kB }, problem: /^the first 1.5 MB are no multiple of the step 1 MB/, hint: 'write first: 1MB or 2MB', key: 'first' },
    { what: 'the same with a counter', written: { unit: 'seconds', amount: 1_000n, step: 60n, first: 30n, counter: 'c' }, problem: /^the first 30 s are no multiple of the step 1 min/, hint: 'write first: 1m', key: 'first' },
    { what: 'a full tier that costs a fraction', written: { per: 3n * MB, step: MB, tiers: [{ upTo: GB, amount: 10n }, { amount: 5n }] }, problem: 'tier 1 costs 0.003333333… when it is full (1 GB at 0.00001 per 3 MB), which is no whole multiple of 0.000001', hint: 'write upTo: 999MB or 1002MB, or another price', key: 'tiers' },
    { what: 'a full tier that costs half a cent', written: { unit: 'seconds', decimals: 2, per: 60n, tiers: [{ upTo: 90n, amount: 10_000n }, { amount: 10_000n }] }, problem: /^tier 1 costs 0.015 when it is full \(90 s at 0.01 per 1 min\).*multiple of 0.01$/, hint: 'write upTo: 1m or 2m, or another price', key: 'tiers' },
    { what: 'a step on a counter that costs a fraction', written: { amount: 1n, per: 3n, unit: 'events', counter: 'c' }, problem: /^tier 1 makes a step of 1 event at 0.000001 per 3 events cost 0.000000333…, which is/, hint: 'write step: 3, or another price', key: 'tiers' },
    { what: 'tiers that do not ascend', written: { tiers: [{ upTo: 5n, amount: 1n }, { upTo: 5n, amount: 1n }, { amount: 1n }] }, problem: /^tier 2 ends at 5 B, not above the 5 B/, hint: /ascending/, key: 'tiers' },
    { what: 'a last tier with an end', written: { tiers: [{ upTo: 5n, amount: 1n }] }, problem: /^tier 1 ends at 5 B, and no tier follows/, hint: /leave out its upTo/, key: 'tiers' },
    { what: 'a tier without an end before others', written: { tiers: [{ amount: 1n }, { amount: 1n }] }, problem: /^tier 1 has no upTo/, hint: /where it ends/, key: 'tiers' },
    { what: 'setup below the rounding', written: { amount: 10_000n, decimals: 2, setup: 5_000n }, problem: 'the setup 0.005 has more decimals than the 2 that prices are rounded to', hint: "write setup: '0.01', or decimals: 3", key: 'setup' },
    { what: 'a minimum below the rounding', written: { amount: 10_000n, decimals: 2, minimum: 15_000n }, problem: /^the minimum 0.015 has/, hint: "write minimum: '0.01' or '0.02', or decimals: 3", key: 'minimum' },
    { what: 'a cap below the setup', written: { amount: 1n, setup: 20_000n, cap: 10_000n }, problem: 'the cap 0.01 is below the setup 0.02', hint: /cap of 0.02 at least/, key: 'cap' },
    { what: 'a cap below the minimum', written: { amount: 1n, setup: 1n, minimum: 20_000n, cap: 10_000n }, problem: 'the cap 0.01 is below the minimum 0.02', hint: /lower minimum/, key: 'cap' },
    { what: 'a cap of nothing', written: { amount: 1n, cap: 0n }, problem: /makes all free/, hint: /rule with free/, key: 'cap' },
  ] as const // prettier-ignore
  for (const { what, written, problem, hint, key } of table) {
    t.match(compileRate(terms(written)), { problem, hint, key }, what)
  }
  t.ok('rate' in compileRate(terms({ unit: 'events', amount: most })), 'just below 2^53')
  const rate = compiled({ ...perTiB, step: MiB })
  t.same([rate.tiers[0]!.num, rate.tiers[0]!.den], [624_375n, 65_536n], 'example 19: the larger step mends it')
  t.equal(priceOf(units(3n * TiB + 1n), rate, true), 29_970_010n)
  t.end()
})

t.test('what a hint says to write is then accepted', t => {
  const graduated = { per: 3n * MB, step: MB, tiers: [{ upTo: GB, amount: 10n }, { amount: 6n }] }
  const table: Written[] = [
    { amount: 9_990_000n, per: TiB, step: 1_024n },
    { ...graduated, tiers: [{ upTo: 999n * MB, amount: 10n }, { amount: 6n }] },
    { ...graduated, tiers: [{ upTo: 1_002n * MB, amount: 10n }, { amount: 6n }] },
    { amount: 1n, per: 3n, step: 3n, unit: 'events', counter: 'c' },
    { unit: 'events', amount: 10_000n, decimals: 3, setup: 5_000n },
    { unit: 'events', amount: 1n, per: 2n ** 52n - 1n, round: 'nearest', step: 10n },
  ]
  for (const written of table) t.ok('rate' in compileRate(terms(written)))
  t.end()
})

t.test('a rate is known by its content, not by its name or by how it is written', t => {
  const written = { amount: 10_000n, per: MB, step: 100n * kB }
  const same = compileRate({ ...terms({ ...written, amount: 20_000n, per: 2n * MB }), name: 'other' })
  t.ok('rate' in same && same.rate.id === payg.id)
  const changes: Written[] = [
    { amount: 10_001n },
    { step: 200n * kB },
    { first: 100n * kB },
    { setup: 1n },
    { minimum: 1n },
    { cap: 1n },
    { cap: 1n, capThen: 'stop' },
    { round: 'down' },
    { round: 'nearest' },
    { decimals: 3 },
    { counter: 'month' },
    { counter: 'year' },
    { mode: 'volume' },
    { tiers: [{ upTo: MB, amount: 10_000n }, { amount: 1n }] },
    { unit: 'money' },
  ]
  const ids = new Set([payg.id, ...changes.map(change => compiled({ ...written, ...change }).id)])
  t.equal(ids.size, changes.length + 1)
  t.end()
})

t.test('a program carries a rate as program.ts says', t => {
  t.same(formatRate(payg), { rate: `${payg.id},0,100000,100000,0,0,-,f,1,u,-,g`, tiers: '0,0,0,1000,1' })
  const all = compiled({ ...falling, first: 2n * MB, setup: 50_000n, minimum: 60_000n, cap: 70_000n, capThen: 'stop', round: 'nearest', decimals: 5 }) // prettier-ignore
  t.same(formatRate(all), {
    rate: `${all.id},2000000,1000000,1000000,50000,60000,70000,s,10,n,month,g`,
    tiers: '0,1000000000,0,2000,1;1000000000,0,20000000,500,1',
  })
  const volume = compiled({ ...falling, mode: 'volume', round: 'down' })
  t.same(formatRate(volume), {
    rate: `${volume.id},0,1000000,1000000,0,0,-,f,1,d,month,v`,
    tiers: '0,1000000000,0,20000,1;0,0,0,5000,1',
  })
  t.match(payg.id, /^[0-9a-f]{12}$/)
  t.end()
})

t.test('amounts, rates and prices can be said in words', t => {
  const amounts = [
    ['octets', 100n * kB, '100 kB'], ['octets', MiB, '1 MiB'], ['octets', 1_050n * kB, '1.05 MB'], ['octets', 1_001n * MB, '1001 MB'], ['octets', 999n, '999 B'], ['octets', 0n, '0 B'],
    ['octets', 1_234_567n, '1.234567 MB'], ['octets', 10n ** 14n, '100 TB'], ['octets', -5n * GB, '-5 GB'], ['octets', 1_536n, '1.5 KiB'],
    ['seconds', 30n, '30 s'], ['seconds', 60n, '1 min'], ['seconds', 90n, '90 s'], ['seconds', 7_200n, '2 h'], ['seconds', 86_400n, '1 d'],
    ['events', 1n, '1 event'], ['events', 2n, '2 events'], ['units', 3n, '3 units'], ['money', 2_500_000n, '2.50'],
  ] as const // prettier-ignore
  for (const [unit, amount, expect] of amounts) t.equal(formatAmount(unit, amount), expect)
  const rates: [Rate, string][] = [
    [payg, '0.01 per 1 MB in steps of 100 kB'],
    [voice, '0.06 per 1 min, first 30 s'],
    [withSetup, '0.10 per 1 min in steps of 1 min, setup 0.05'],
    [compiled(falling), '0.02 per 1 MB up to 1 GB, then 0.005 per 1 MB in steps of 1 MB, tiers on the counter month'],
    [compiled({ unit: 'events', amount: 90_000n }), '0.09 each'],
    [compiled({ unit: 'money', amount: 25_000n, per: MB }), '2.5 % of the value'],
    [compiled({ unit: 'money', amount: 10n, per: 100n }), '10 % of the value'],
    [
      compiled({ unit: 'seconds', amount: 10_000n, minimum: 50_000n, cap: 90_000n, decimals: 2, round: 'nearest' }),
      '0.01 per 1 s, at least 0.05, at most 0.09 a session, then free, rounded to the nearest 0.01',
    ],
    [
      compiled({ ...session, mode: 'volume' }),
      '0.02 per 1 MB up to 1 GB, then 0.005 per 1 MB in steps of 1 MB, all at the price of the tier reached',
    ],
  ]
  for (const [rate, expect] of rates) t.equal(describeRate(rate), expect)

  const third = compiled({ unit: 'seconds', amount: 10_000n, per: 60n, decimals: 3 })
  const said: [string, string][] = [
    [describePrice(units(250n * kB), units(0), payg), '250 kB are 300 kB in steps of 100 kB: 300 kB at 0.01 per 1 MB = 0.003'],
    [describePrice(units(30n * kB), units(250n * kB), payg), '280 kB are 300 kB in steps of 100 kB: 300 kB at 0.01 per 1 MB = 0.003; less 0.003 for the 250 kB before = 0.00'],
    [describePrice(units(20), units(0), voice), '20 s are 30 s (first 30 s, then in steps of 1 s): 30 s at 0.06 per 1 min = 0.03'],
    [describePrice(units(61), units(0), withSetup), '61 s are 2 min in steps of 1 min: 2 min at 0.10 per 1 min = 0.20, setup 0.05, costs 0.25'],
    [describePrice(units(1), units(0), withSetup, { opening: false }), '1 s is 1 min in steps of 1 min: 1 min at 0.10 per 1 min = 0.10'],
    [describePrice(units(20), units(0), third), '20 s: 20 s at 0.01 per 1 min = 0.003333333…, rounded up to 0.001 = 0.004'],
    [describePrice(units(0), units(0), withSetup), '0 s: 0.00'],
    [describePrice(units(1), units(0), compiled({ unit: 'events', amount: 1_000n, minimum: 5_000n })), '1 event: 1 event at 0.001 each = 0.001, at least 0.005, costs 0.005'],
    [describePrice(units(9), units(1), compiled({ unit: 'events', amount: 1_000n, cap: 3_000n })), '10 events: 10 events at 0.001 each = 0.01, at most 0.003 a session, costs 0.003; less 0.001 for the 1 event before = 0.002'],
    [describePrice(units(1_001n * MB), units(0), compiled(session)), '1001 MB: 1 GB at 0.02 per 1 MB + 1 MB at 0.005 per 1 MB = 20.005'],
    [
      describePrice(units(10n * MB), units(0), compiled(falling), { standing: { counted: 995n * MB, raw: 0n } }),
      '10 MB; the counter month goes from 995 MB to 1005 MB: 5 MB at 0.02 per 1 MB + 5 MB at 0.005 per 1 MB = 0.125',
    ],
    [
      describePrice(units(MB), units(GB), compiled({ ...falling, mode: 'volume' }), { standing: { counted: GB, raw: 20_000_000n } }),
      '1001 MB; the counter month goes from 1 GB to 1001 MB: 1001 MB at 0.005 per 1 MB = 5.005 − (1 GB at 0.02 per 1 MB = 20.00) = -14.995',
    ],
    [
      describePrice(units(MB), units(MB), compiled({ ...falling, minimum: 30_000n }), { standing: { counted: MB, raw: 20_000n } }),
      "2 MB; the counter month goes from 1 MB to 2 MB: 1 MB at 0.02 per 1 MB = 0.02; the run's 0.04; less 0.03 before = 0.01",
    ],
  ] // prettier-ignore
  for (const [words, expect] of said) t.equal(words, expect)
  t.end()
})

const upTo = (most: bigint): fc.Arbitrary<bigint> =>
  fc.oneof(
    fc.bigInt(1n, most < 100n ? most : 100n),
    fc.bigInt(1n, most < 10n ** 6n ? most : 10n ** 6n),
    fc.bigInt(1n, most),
  )

interface Scale {
  readonly unit: UnitType
  readonly step: fc.Arbitrary<bigint>
  readonly steps: fc.Arbitrary<bigint>
  readonly amount: fc.Arbitrary<bigint>
  readonly per: fc.Arbitrary<bigint>
  readonly fee: fc.Arbitrary<bigint>
}

/** Rates that the check lets pass: every shape of them; the last tier's price is any, the others' and those on a counter are whole a step. */
function rates({ unit, step, steps, amount, per, fee }: Scale): fc.Arbitrary<Rate> {
  const feeOrNone = fc.oneof(fc.constant(0n), fee)
  return fc
    .record({
      step,
      sizes: fc.array(steps, { maxLength: 3 }),
      wholes: fc.array(fc.oneof(fc.constant(0n), amount), { minLength: 4, maxLength: 4 }),
      last: fc.record({ amount: fc.oneof(amount, fc.constant(0n)), per }),
      firstSteps: fc.oneof(fc.constant(0n), fc.bigInt(1n, 4n)),
      oddFirst: step,
      mode: fc.constantFrom('graduated' as const, 'volume' as const),
      setup: feeOrNone,
      minimum: feeOrNone,
      cap: fc.option(fee, { nil: undefined }),
      capThen: fc.constantFrom('free' as const, 'stop' as const),
      round: fc.constantFrom(...roundings),
      decimals: fc.constantFrom(6, 6, 5, 4),
      counter: fc.constantFrom(undefined, undefined, 'month'),
    })
    .map(({ step, sizes, wholes, last, firstSteps, oddFirst, decimals, counter, ...rest }) => {
      const whole = 10n ** BigInt(6 - decimals)
      let end = 0n
      const tiers: Tier[] = sizes.map((size, index) => ({
        upTo: (end += size * step),
        amount: wholes[index]! * whole,
        per: step,
      }))
      tiers.push(counter === undefined ? last : { amount: wholes[3]! * whole, per: step })
      const first = tiers.length === 1 && counter === undefined && firstSteps > 2n ? oddFirst : firstSteps * step
      const { setup, minimum, cap, ...others } = rest
      const bounds = {
        setup: setup * whole,
        minimum: minimum * whole,
        ...(cap === undefined ? {} : { cap: cap * whole }),
      }
      return compileRate(
        terms({
          unit,
          step,
          tiers,
          first,
          decimals,
          ...(counter === undefined ? {} : { counter }),
          ...bounds,
          ...others,
        }),
      )
    })
    .filter(outcome => 'rate' in outcome)
    .map(outcome => outcome.rate)
}

/** As large as the check lets them be. */
const largeRates = fc.constantFrom(...unitTypes).chain(unit =>
  rates({
    unit,
    step: upTo(10n ** 8n < lineLimit[unit] ? 10n ** 8n : lineLimit[unit]),
    steps: upTo(10n ** 6n),
    amount: upTo(10n ** 9n),
    per: upTo(lineLimit[unit]),
    fee: upTo(10n ** 9n),
  }),
)

/** So small that a search over all units is quick, and that each rounding and bound shows. */
const smallRates = rates({
  unit: 'events',
  step: fc.bigInt(1n, 5n),
  steps: fc.bigInt(1n, 6n),
  amount: fc.bigInt(1n, 20n),
  per: fc.bigInt(1n, 30n),
  fee: fc.bigInt(1n, 60n),
})

const reportsOf = (unit: UnitType): fc.Arbitrary<bigint[]> =>
  fc.array(fc.oneof(fc.constant(0n), upTo(lineLimit[unit] / 20n)), { maxLength: 12 })

const withReports = largeRates.chain(rate =>
  fc.record({ rate: fc.constant(rate), reports: reportsOf(rate.unit), opening: fc.boolean() }),
)

const sum = (amounts: readonly bigint[]): bigint => amounts.reduce((total, amount) => total + amount, 0n)

/** F as the words of semantics.md say it, with fractions, from what was written. */
function priceFromTerms({ terms }: Rate, used: bigint, opening: boolean): bigint {
  if (used === 0n) return 0n
  const first = opening ? terms.first : 0n
  const over = used > first ? used - first : 0n
  const billed = first + (over / terms.step + (over % terms.step === 0n ? 0n : 1n)) * terms.step
  const sum = tierSum(terms, billed)
  const price = opening ? sum + terms.setup : sum
  const least = opening && price < terms.minimum ? terms.minimum : price
  return terms.cap && terms.cap.amount < least ? terms.cap.amount : least
}

function tierSum({ tiers, mode, round, decimals }: RateTerms, billed: bigint): bigint {
  const divisor = tiers.reduce((product, { per }) => product * per, 1n)
  const inTier = tiers.map(({ upTo }, index) => {
    const below = index === 0 ? 0n : tiers[index - 1]!.upTo!
    const end = upTo === undefined || upTo > billed ? billed : upTo
    return end > below ? end - below : 0n
  })
  const reached = inTier.findLastIndex(each => each > 0n)
  const exact = tiers.reduce((total, { amount, per }, index) => {
    const counted = mode === 'graduated' ? inTier[index]! : index === reached ? billed : 0n
    return total + counted * amount * (divisor / per)
  }, 0n)
  // exact/divisor micros, rounded to a multiple of `unit`.
  const unit = 10n ** BigInt(6 - decimals)
  const whole = exact / (divisor * unit)
  const rest = exact - whole * divisor * unit
  const up = round === 'up' ? rest > 0n : round === 'nearest' && 2n * rest >= divisor * unit
  return (whole + (up ? 1n : 0n)) * unit
}

t.test('property: the price is what the terms say, computed with fractions and rounded once', t => {
  fc.assert(
    fc.property(withReports, ({ rate, reports, opening }) => {
      const used = sum(reports)
      return priceOf(units(used), rate, opening) === priceFromTerms(rate, used, opening)
    }),
    parameters,
  )
  fc.assert(
    fc.property(smallRates, fc.boolean(), fc.bigInt(0n, 150n), (rate, opening, used) => {
      return priceOf(units(used), rate, opening) === priceFromTerms(rate, used, opening)
    }),
    parameters,
  )
  t.end()
})

t.test('property: any split of the same usage costs the same', t => {
  fc.assert(
    fc.property(withReports, ({ rate, reports, opening }) => {
      const each = costs(rate, reports, { opening })
      const rises = rate.mode === 'volume' || each.every(cost => cost >= 0n)
      return rises && sum(each) === sum(costs(rate, [sum(reports)], { opening }))
    }),
    parameters,
  )
  t.end()
})

t.test('property: reports of sessions on one counter sum up to its tiers, in any order', t => {
  const onCounter = largeRates.filter(({ counter, cap, minimum }) => counter !== undefined && !cap && minimum === 0n)
  const reports = fc.array(fc.tuple(fc.constantFrom('S1', 'S2', 'S3'), upTo(10n ** 6n)), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(onCounter, reports, upTo(10n ** 9n), (rate, reports, start) => {
      const counter = new Counter(rate, start)
      const total = sum(reports.map(([session, used]) => counter.report(session, used)))
      const setups = BigInt(new Set(reports.map(([session]) => session)).size) * rate.setup
      return total === tierPrice(counter.value, rate) - tierPrice(start, rate) + setups
    }),
    { ...parameters, numRuns: 500 },
  )
  t.end()
})

const uncapped = (rate: Rate, n: bigint, opening: boolean): bigint =>
  priceOf(units(n), { ...rate, cap: undefined }, opening)

t.test('property: funds reach as far as a search over all units says', t => {
  const most = 150n
  fc.assert(
    fc.property(
      smallRates,
      fc.boolean(),
      fc.bigInt(0n, 60n),
      fc.oneof(fc.constant(0n), fc.bigInt(0n, 300n), fc.bigInt(0n, 20_000n)),
      (rate, opening, used, funds) => {
        const before = priceOf(units(used), rate, opening)
        const affordable = (n: bigint): boolean => {
          const price = priceOf(units(n), rate, opening)
          const stopped = rate.cap?.then === 'stop' && uncapped(rate, n, opening) > rate.cap.amount
          return price - before <= funds && (n === 0n || !stopped)
        }
        let reached = 0n
        for (let more = 1n; more <= most; more++) if (affordable(used + more)) reached = more
        return unitsFor(units(used), micros(funds), rate, opening, most) === reached
      },
    ),
    { ...parameters, numRuns: 5_000 },
  )
  t.end()
})

t.test('property: on a counter, funds and holds are what a search over all positions says', t => {
  const onCounter = smallRates.filter(({ counter, cap }) => counter !== undefined && cap?.then !== 'stop')
  const amounts = fc.record({
    used: fc.bigInt(0n, 20n),
    start: fc.bigInt(0n, 90n),
    others: fc.bigInt(0n, 40n),
    funds: fc.bigInt(0n, 20_000n),
    held: fc.bigInt(1n, 15n),
  })
  fc.assert(
    fc.property(onCounter, fc.boolean(), amounts, (rate, opening, { used, start, others, funds, held }) => {
      const counter = new Counter(rate, start)
      counter.report('S', used, opening)
      const standing: Standing = {
        counted: counter.value,
        raw: tierPrice(counter.value, rate) - tierPrice(start, rate),
      }
      const before = used === 0n ? 0n : boundedPrice(standing.raw, rate, opening)
      const growth = (more: bigint, at: bigint): bigint => {
        const d = billable(units(used + more), rate, opening) - billable(units(used), rate, opening)
        return tierPrice(at + d, rate) - tierPrice(at, rate)
      }
      let reached = 0n
      for (let more = 1n; more <= 100n; more++) {
        if (boundedPrice(standing.raw + growth(more, counter.value), rate, opening) - before <= funds) reached = more
      }
      if (unitsFor(units(used), micros(funds), rate, opening, 100n, standing) !== reached) return false

      const d = rate.step * held
      let dearest = tierPrice(counter.value + d, rate) - tierPrice(counter.value, rate)
      for (let p = counter.value; p <= counter.value + others; p++) {
        const cost = tierPrice(p + d, rate) - tierPrice(p, rate)
        if (cost > dearest) dearest = cost
      }
      return dearestGrowth(rate, counter.value, others, d) === dearest
    }),
    parameters,
  )
  t.end()
})

t.test('property: doubles compute the same price, and nothing on the way reaches 2^53', t => {
  const exact = (value: number): number => {
    if (!Number.isSafeInteger(value)) throw new Error(`${value} is not exact`)
    return value
  }
  fc.assert(
    fc.property(withReports, fc.boolean(), ({ rate, reports, opening }, largest) => {
      const used = largest ? lineLimit[rate.unit] : sum(reports)
      if (used === 0n) return true
      const billed = exact(Number(billable(units(used), rate, opening)))
      const reached = rate.tiers.find(({ upTo }) => upTo === undefined || billed <= Number(upTo))!
      const [from, base, num, den] = [reached.from, reached.base, reached.num, reached.den].map(value =>
        exact(Number(value)),
      )
      const ticks = exact((billed - from!) / Number(rate.tick))
      const whole = Math.floor(ticks / den!)
      const rest = exact(exact(ticks - exact(whole * den!)) * num!)
      const part = {
        up: () => Math.ceil(rest / den!),
        down: () => Math.floor(rest / den!),
        nearest: () => Math.floor(exact(exact(2 * rest) + den!) / exact(2 * den!)),
      }[rate.round]()
      const price = exact(base! + exact(exact(exact(whole * num!) + part) * Number(rate.roundUnit)))
      exact(price + Number(rate.setup))
      return BigInt(price) === tierPrice(BigInt(billed), rate)
    }),
    parameters,
  )
  t.end()
})

t.test('a tick that another rate on the counter has started counts whole', t => {
  const rate = compiled(falling)
  t.equal(tierPrice(1n, rate), 20_000n)
  t.equal(tierPrice(GB + 1n, rate), 20_005_000n)
  t.equal(tierPrice(3n * MB + 1n, rate) - tierPrice(MB + 1n, rate), 40_000n)
  t.end()
})
