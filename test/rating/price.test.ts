import fc from 'fast-check'
import t from 'tap'
import { compileRate, priceOf, unitsFor, type RateTerms } from '../../src/rating/price.js'
import type { CompiledRate } from '../../src/rating/program.js'
import { lineLimit, micros, units, unitTypes, type UnitType } from '../../src/units.js'

const seed = process.env['SEED']
const parameters = { numRuns: 2_000, ...(seed === undefined ? {} : { seed: Number(seed) }) }

const kB = 1_000n
const MB = 1_000_000n
const MiB = 2n ** 20n
const TiB = 2n ** 40n

interface Written {
  unit: UnitType
  amount: bigint
  per: bigint
  step: bigint
  first?: bigint
}

const terms = ({ unit, amount, per, step, first = 0n }: Written): RateTerms => ({
  name: 'rate',
  unit,
  amount: micros(amount),
  per: units(per),
  step: units(step),
  first: units(first),
})

function compiled(written: Written): CompiledRate {
  const outcome = compileRate(terms(written))
  if ('rate' in outcome) return outcome.rate
  throw new Error(outcome.problem)
}

/** What each report of a session costs, one after the other, beginning at `from` units. */
function costs(rate: CompiledRate, reports: readonly bigint[], from = 0n): bigint[] {
  let used = from
  return reports.map(report => {
    const before = priceOf(units(used), rate, true)
    used += report
    return priceOf(units(used), rate, true) - before
  })
}

const payg = compiled({ unit: 'octets', amount: 10_000n, per: MB, step: 100n * kB })
const voice = compiled({ unit: 'seconds', amount: 60_000n, per: 60n, step: 1n, first: 30n })
const voice3060 = compiled({ unit: 'seconds', amount: 60_000n, per: 60n, step: 60n, first: 30n })
const dear = compiled({ unit: 'octets', amount: 20_000n, per: MB, step: 100n * kB })

t.test('reports cost what the worked examples of semantics.md section 12 say', t => {
  const table = [
    { example: '1, split', rate: payg, reports: [250n * kB, 30n * kB, 20n * kB], expect: [3_000n, 0n, 0n] },
    { example: '1, in one', rate: payg, reports: [300n * kB], expect: [3_000n] },
    { example: '2, first 30 s', rate: voice, reports: [20n, 25n], expect: [30_000n, 15_000n] },
    { example: '2, no answer', rate: voice, reports: [0n], expect: [0n] },
    { example: '2, 30/60', rate: voice3060, reports: [31n], expect: [90_000n] },
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

t.test('funds reach to the end of the last step they pay for', t => {
  const table = [
    { what: 'example 5, 3,500 micros', rate: payg, used: 0n, funds: 3_500n, expect: 300n * kB },
    { what: 'example 5, the paid rest of a step', rate: payg, used: 250n * kB, funds: 500n, expect: 50n * kB },
    { what: 'example 5, at the step', rate: payg, used: 300n * kB, funds: 500n, expect: 0n },
    { what: 'example 18, 0.02 EUR and a limit of 0.05', rate: payg, used: 0n, funds: 70_000n, expect: 7n * MB },
    { what: 'no funds', rate: payg, used: 0n, funds: 0n, expect: 0n },
    { what: 'less than the first 30 s', rate: voice, used: 0n, funds: 29_999n, expect: 0n },
    { what: 'exactly the first 30 s', rate: voice, used: 0n, funds: 30_000n, expect: 30n },
    { what: 'within the first 30 s', rate: voice, used: 10n, funds: 0n, expect: 20n },
    { what: 'the first 30 s and a half step of 60', rate: voice3060, used: 0n, funds: 60_000n, expect: 30n },
  ]
  for (const { what, rate, used, funds, expect } of table) {
    t.equal(unitsFor(units(used), micros(funds), rate, true), expect, what)
  }
  t.end()
})

t.test('`first` is billed by the opening rate of a line only', t => {
  t.equal(priceOf(units(1), voice, true), 30_000n)
  t.equal(priceOf(units(1), voice, false), 1_000n)
  t.equal(priceOf(units(31), voice3060, false), 60_000n)
  t.equal(unitsFor(units(0), micros(5_000), voice, false), 5n)
  t.end()
})

t.test('a rate that would leave the exact range is refused, a larger step mends it (example 19)', t => {
  const perTiB = { unit: 'octets' as const, amount: 9_990_000n, per: TiB }
  t.match(compileRate(terms({ ...perTiB, step: 1n })), {
    problem: /624375\/68719476736 micros/,
    hint: 'use a larger step',
  })
  const rate = compiled({ ...perTiB, step: MiB })
  t.same([rate.num, rate.den], [624_375n, 65_536n])
  t.equal(priceOf(units(3n * TiB + 1n), rate, true), 29_970_010n)
  t.end()
})

t.test('a rate whose largest line costs 2^53 micros is refused', t => {
  const most = { unit: 'events' as const, per: 1n, step: 1n }
  const limit = 2n ** 53n / lineLimit.events
  t.ok('rate' in compileRate(terms({ ...most, amount: limit })))
  t.match(compileRate(terms({ ...most, amount: limit + 1n })), {
    problem: /100000000 events.*2\^53/,
    hint: /lower price/,
  })
  t.end()
})

t.test('a rate is known by its content, not by its name or by how it is written', t => {
  const written = { unit: 'octets' as const, amount: 10_000n, per: MB, step: 100n * kB }
  const same = compileRate({ ...terms({ ...written, amount: 20_000n, per: 2n * MB }), name: 'other' })
  t.ok('rate' in same && same.rate.id === payg.id)
  for (const change of [{ amount: 10_001n }, { step: 200n * kB }, { first: 100n * kB }]) {
    t.not(compiled({ ...written, ...change }).id, payg.id)
  }
  t.not(
    compiled({ unit: 'seconds', amount: 1n, per: 1n, step: 1n }).id,
    compiled({ unit: 'events', amount: 1n, per: 1n, step: 1n }).id,
  )
  t.end()
})

const upTo = (most: bigint): fc.Arbitrary<bigint> =>
  fc.oneof(
    fc.bigInt(1n, most < 100n ? most : 100n),
    fc.bigInt(1n, most < 10n ** 6n ? most : 10n ** 6n),
    fc.bigInt(1n, most),
  )

/** Rates that the catalog check lets pass, with units that one line may carry. */
const ratesAndUse = fc
  .constantFrom(...unitTypes)
  .chain(unit => {
    const most = lineLimit[unit]
    const first = fc.oneof(fc.constant(0n), upTo(10_000n))
    return fc.record({
      written: fc.record({
        unit: fc.constant(unit),
        amount: upTo(10n ** 9n),
        per: upTo(most),
        step: upTo(10n ** 8n),
        first,
      }),
      reports: fc.array(fc.oneof(fc.constant(0n), upTo(most / 20n)), { maxLength: 12 }),
      funds: fc.oneof(fc.constant(0n), upTo(10n ** 12n)),
      opening: fc.boolean(),
    })
  })
  .filter(({ written }) => 'rate' in compileRate(terms(written)))

const sum = (amounts: readonly bigint[]): bigint => amounts.reduce((total, amount) => total + amount, 0n)

t.test('property: any split of the same usage costs the same', t => {
  fc.assert(
    fc.property(ratesAndUse, ({ written, reports }) => {
      const rate = compiled(written)
      const each = costs(rate, reports)
      return sum(each) === sum(costs(rate, [sum(reports)])) && each.every(cost => cost >= 0n)
    }),
    parameters,
  )
  t.end()
})

t.test('property: the price is amount / per of the billed units, rounded up once', t => {
  fc.assert(
    fc.property(ratesAndUse, ({ written, reports, opening }) => {
      const used = sum(reports)
      const first = opening ? written.first : 0n
      let billed = 0n
      if (used > 0n)
        billed = used <= first ? first : first + ((used - first + written.step - 1n) / written.step) * written.step
      const price = priceOf(units(used), compiled(written), opening)
      return price * written.per >= billed * written.amount && (price - 1n) * written.per < billed * written.amount
    }),
    parameters,
  )
  t.end()
})

t.test('property: what funds reach is affordable, and one unit more is not', t => {
  fc.assert(
    fc.property(ratesAndUse, ({ written, reports, funds, opening }) => {
      const rate = compiled(written)
      const used = sum(reports)
      const more = unitsFor(units(used), micros(funds), rate, opening)
      const cost = (extra: bigint): bigint =>
        priceOf(units(used + extra), rate, opening) - priceOf(units(used), rate, opening)
      return more >= 0n && cost(more) <= funds && cost(more + 1n) > funds
    }),
    parameters,
  )
  t.end()
})

t.test('property: doubles compute the same price as integers, by q·num + ⌈r·num/den⌉', t => {
  fc.assert(
    fc.property(ratesAndUse, ({ written, reports }) => {
      const rate = compiled(written)
      const [num, den, step, first, tick] = [rate.num, rate.den, rate.step, rate.first, rate.tick].map(Number)
      const used = Number(sum(reports))
      let ticks = 0
      if (used > 0) ticks = (used <= first! ? first! : first! + Math.ceil((used - first!) / step!) * step!) / tick!
      const rest = ticks % den!
      const price = ((ticks - rest) / den!) * num! + Math.ceil((rest * num!) / den!)
      return BigInt(price) === priceOf(units(used), rate, true)
    }),
    parameters,
  )
  t.end()
})
