/**
 * Random catalogs, accounts and commands for test/balance/model.test.ts and exactness.test.ts: the same program as plain objects for the
 * model, and as text for the script.
 */
import fc from 'fast-check'
import type { UsedUnits } from '../../src/balance/balance.js'
import type { NewBucket } from '../../src/balance/types.js'
import { hash32 } from '../../src/balance/keys.js'
import type { Rate, RateTerms } from '../../src/rating/catalog.js'
import { compileRate, formatRate } from '../../src/rating/price.js'
import { lineLimit, micros, units, type UnitType } from '../../src/units.js'
import type { ModelBucket, ModelCounter, ModelDraw, ModelProgram } from './model.js'
import { gcd, type ModelRate } from './model-price.js'

/** As the model has it, and as the script reads it. */
export interface GeneratedRate extends ModelRate {
  readonly unit: UnitType
  readonly compiled: Rate
}

export interface GeneratedProgram extends ModelProgram {
  readonly text: string
}

export const often = <T>(value: T, weight: number): { arbitrary: fc.Arbitrary<T>; weight: number } => ({
  arbitrary: fc.constant(value),
  weight,
})

// Rates.

const steps: Record<UnitType, readonly bigint[]> = {
  octets: [1n, 10n, 1000n, 100_000n, 1_000_000n, 2n ** 20n],
  seconds: [1n, 1n, 6n, 30n, 60n],
  events: [1n, 1n, 5n],
  money: [1n, 100n, 1_000_000n],
}
const amounts = [1n, 3n, 7n, 90n, 1000n, 10_000n, 20_000n, 60_000n, 1_000_000n]

/** Without setup, tiers and the like about as often as with them. */
const rareMoney = fc.oneof(often(0n, 5), { arbitrary: fc.constantFrom(1n, 1000n, 50_000n, 123_457n), weight: 1 })

/** Terms of a rate that the catalog's check accepts. */
export function ratesOf(
  unit: UnitType,
  counter?: string,
  modes: readonly RateTerms['mode'][] = ['graduated'],
): fc.Arbitrary<GeneratedRate> {
  return fc
    .record({
      step: fc.constantFrom(...steps[unit]),
      pers: fc.constantFrom(1n, 1n, 2n, 3n, 10n),
      tiers: fc.array(fc.record({ amount: fc.constantFrom(...amounts), wide: fc.bigInt(1n, 40n) }), {
        minLength: 1,
        maxLength: 4,
      }),
      mode: fc.constantFrom(...modes),
      firsts: fc.oneof(often(0n, 3), { arbitrary: fc.constantFrom(1n, 2n, 7n), weight: 1 }),
      oddFirst: fc.boolean(),
      setup: rareMoney,
      minimum: rareMoney,
      cap: fc.option(
        fc.record({
          amount: fc.constantFrom(50_000n, 123_457n, 2_000_000n),
          then: fc.constantFrom('free' as const),
        }),
        { freq: 5 },
      ),
      round: fc.oneof(often('up' as const, 4), often('down' as const, 1), often('nearest' as const, 1)),
      decimals: fc.oneof(often(6, 4), often(4, 1), often(2, 1)),
    })
    .map(({ step, pers, tiers, firsts, oddFirst, setup, minimum, cap, decimals, ...rest }) => {
      const per = step * pers
      const multiple = 10n ** BigInt(6 - decimals)
      let upTo = 0n
      // A full tier costs whole multiples: by its bound, or by its amount.
      const wide =
        multiple /
        gcd(
          multiple,
          tiers.reduce((all, { amount }) => gcd(all, amount), 0n),
        )
      return {
        ...rest,
        name: 'r',
        unit,
        tiers: tiers.map((tier, i) => {
          upTo += tier.wide * per * wide
          return { upTo: i < tiers.length - 1 ? units(upTo) : undefined, amount: micros(tier.amount), per: units(per) }
        }),
        step: units(step),
        // The tiers of a counter begin where its other rates' steps do.
        first: units(oddFirst && counter === undefined ? firsts : firsts * step),
        setup: micros(setup),
        minimum: micros(minimum),
        cap: cap ? { ...cap, amount: micros(cap.amount) } : undefined,
        decimals,
        counter,
      }
    })
    .map(terms => aRate(terms))
    .filter(rate => rate !== undefined)
}

/** A rate of both sides; undefined when the check refuses it. */
export function aRate(terms: RateTerms): GeneratedRate | undefined {
  const outcome = compileRate(terms)
  if (!('rate' in outcome)) return undefined
  const { unit, tiers, mode, step, first, setup, minimum, cap, round, decimals, counter } = terms
  const multiple = 10n ** BigInt(6 - decimals)
  const { rate } = outcome
  return { id: rate.id, compiled: rate, unit, tiers, mode, step, first, setup, minimum, cap, round, multiple, counter }
}

// Programs.

export type ProgramParts = Partial<Omit<GeneratedProgram, 'id' | 'text' | 'rate' | 'quota'>> & {
  readonly unit: UnitType
  readonly rate?: GeneratedRate | undefined
  readonly quota?: Partial<ModelProgram['quota']>
}

const codes = { pay: 0, free: 0, deny: 4010, unrated: 0 }

export function aProgram(parts: ProgramParts): GeneratedProgram {
  const { unit, kind = 'pay', validity = 600, before = [], after = [], money = [], rate, code = codes[kind] } = parts
  const quota = { size: lineLimit[unit], min: 0n, max: lineLimit[unit], ...parts.quota }
  let { counters = [] } = parts
  if (rate?.counter !== undefined && !counters.some(({ what, name }) => what === 'tiers' && name === rate.counter))
    counters = [
      { name: rate.counter, what: 'tiers', then: 'tell', per: 'account', limit: undefined, steps: [] },
      ...counters,
    ]
  const draws = (list: readonly ModelDraw[]): string =>
    list.map(({ name, each, takes }) => (each === 1n && takes === 1n ? name : `${name}~${each}~${takes}`)).join(',') ||
    '-'
  const formatted = rate ? formatRate(rate.compiled) : { rate: '-', tiers: '-' }
  const rest = [
    unit,
    'service',
    'rule#1',
    validity,
    `${validity},0,terminate`,
    `${quota.size},${quota.min},${quota.max},0`,
    draws(before),
    formatted.rate,
    formatted.tiers,
    draws(after),
    money.join(',') || '-',
    counters
      .map(({ name, what, then, per, limit, steps }) =>
        [name, what[0], then[0], per[0], limit ?? '-', steps.join('.') || '-'].join(','),
      )
      .join(';') || '-',
    code,
  ].join(' ')
  const id = hash32(kind + rest).toString(36)
  return { kind, id, unit, validity, quota, before, after, money, rate, counters, code, text: `${kind} ${id} ${rest}` }
}

/** What programs of one history are made of: the same buckets and counters for all of them. */
export interface GeneratedCatalog {
  /** By place of a line: its key, and what may apply to it. */
  readonly lines: readonly { readonly key: string; readonly programs: readonly GeneratedProgram[] }[]
  readonly rates: ReadonlyMap<string, ModelRate>
  /** Length of the counters' periods, ms; 0: they never end. */
  readonly periods: ReadonlyMap<string, number>
  readonly lowBalance: readonly bigint[]
}

const each1 = (name: string): ModelDraw => ({ name, each: 1n, takes: 1n })
const bucketsOf: Record<UnitType, readonly (readonly ModelDraw[])[]> = {
  octets: [
    [each1('data'), { name: 'data', each: 1000n, takes: 1000n }, { name: 'data', each: 100_000n, takes: 100_000n }],
    [each1('extra'), { name: 'extra', each: 3n, takes: 7n }],
    [
      { name: 'points', each: 1_000_000n, takes: 1n },
      { name: 'points', each: 10n, takes: 3n },
    ],
  ],
  seconds: [[each1('minutes'), { name: 'minutes', each: 60n, takes: 60n }], [{ name: 'points', each: 60n, takes: 2n }]],
  events: [[each1('texts')], [{ name: 'points', each: 1n, takes: 5n }]],
  money: [[{ name: 'points', each: 1000n, takes: 1n }]],
}
export const moneyBuckets = ['bonus', 'gift']
const lineKeys: readonly { readonly key: string; readonly unit: UnitType }[] = [
  { key: '10', unit: 'octets' },
  { key: '20', unit: 'octets' },
  { key: '10/1,2', unit: 'seconds' },
  { key: '-', unit: 'events' },
  { key: '30', unit: 'money' },
]
const unitsInUse = ['octets', 'seconds', 'events', 'money'] as const

const sizes: Record<UnitType, readonly bigint[]> = {
  octets: [1n, 999n, 300_000n, 20_000_000n, lineLimit.octets],
  seconds: [1n, 45n, 300n, lineLimit.seconds],
  events: [1n, 5n, lineLimit.events],
  money: [1_000_000n, lineLimit.money],
}

const limits: Record<UnitType, readonly bigint[]> = {
  octets: [50n, 700_000n, 30_000_000n],
  seconds: [45n, 3000n],
  events: [3n, 40n],
  money: [3000n, 70_000n, 1_000_000n],
}

const counterOf = (unit: UnitType, name: string, what: ModelCounter['what']): fc.Arbitrary<ModelCounter> =>
  fc
    .record({
      then: fc.constantFrom('stop' as const, 'free' as const, 'tell' as const),
      per: fc.constantFrom('account' as const, 'subscriber' as const),
      limit: fc.option(fc.constantFrom(...limits[unit]), { freq: 6, nil: undefined }),
      steps: fc.constantFrom([], [50, 80, 100], [100], [33]),
    })
    // A counter of tiers has no limit, and one without a limit tells of nothing.
    .map(({ limit, steps, then, per }) =>
      what === 'tiers' || limit === undefined
        ? { name, what, per, then: 'stop', limit: undefined, steps: [] }
        : { name, what, per, then, limit, steps },
    )

const subset = <T>(list: readonly T[]): fc.Arbitrary<T[]> => fc.subarray([...list])

/** Counters of a history: of used units by unit, of money, and of the tiers of octets and seconds. */
const counterSet = fc.record({
  octets: counterOf('octets', 'u-octets', 'used'),
  seconds: counterOf('seconds', 'u-seconds', 'used'),
  events: counterOf('events', 'u-events', 'used'),
  money: counterOf('money', 'm-day', 'money'),
  money2: counterOf('money', 'm-month', 'money'),
  tOctets: counterOf('octets', 't-octets', 'tiers'),
  tSeconds: counterOf('seconds', 't-seconds', 'tiers'),
})

interface Kit {
  readonly counters: typeof counterSet extends fc.Arbitrary<infer C> ? C : never
  readonly draws: Record<UnitType, ModelDraw[]>
  readonly rates: Record<UnitType, GeneratedRate[]>
}

const kit: fc.Arbitrary<Kit> = fc.record({
  counters: counterSet,
  draws: fc.record(
    Object.fromEntries(
      unitsInUse.map(unit => [unit, fc.tuple(...bucketsOf[unit].map(variants => fc.constantFrom(...variants)))]),
    ) as Record<UnitType, fc.Arbitrary<ModelDraw[]>>,
  ),
  rates: fc.record({
    octets: fc.tuple(ratesOf('octets'), ratesOf('octets'), ratesOf('octets', 't-octets')),
    seconds: fc.tuple(
      ratesOf('seconds'),
      ratesOf('seconds', undefined, ['graduated', 'volume']),
      ratesOf('seconds', 't-seconds'),
    ),
    events: fc.tuple(ratesOf('events')),
    money: fc.tuple(ratesOf('money')),
  }),
})

function programsOf(unit: UnitType, { counters, draws, rates }: Kit): fc.Arbitrary<GeneratedProgram> {
  const used = unit === 'money' ? [] : [counters[unit]]
  return fc
    .record({
      kind: fc.oneof(
        often('pay' as const, 12),
        often('free' as const, 1),
        often('deny' as const, 1),
        often('unrated' as const, 1),
      ),
      code: fc.constantFrom(0, 0, 1),
      validity: fc.constantFrom(60, 600, 3600),
      rate: fc.option(fc.constantFrom(...rates[unit]), { freq: 6, nil: undefined }),
      places: fc.tuple(...draws[unit].map(() => fc.constantFrom('before', 'before', 'after', 'no'))),
      money: subset(moneyBuckets),
      counters: fc.oneof(often([], 2), { arbitrary: subset([...used, counters.money, counters.money2]), weight: 2 }),
      size: fc.constantFrom(...sizes[unit], lineLimit[unit], lineLimit[unit]),
      min: fc.constantFrom(0n, 0n, 1n, sizes[unit][1]!),
    })
    .map(({ kind, code, validity, rate, places, money, counters: moved, size, min }) => {
      if (kind !== 'pay') {
        const codes = { free: code && 4011, deny: code ? 5003 : 4010, unrated: 0 }
        return aProgram({ unit, kind, code: codes[kind], validity, quota: { max: size } })
      }
      const tiers = rate?.counter === undefined ? [] : [unit === 'octets' ? counters.tOctets : counters.tSeconds]
      const drawn = (place: string): ModelDraw[] => draws[unit].filter((_, i) => places[i] === place)
      return aProgram({
        unit,
        validity,
        rate,
        before: drawn('before'),
        after: drawn('after'),
        money: rate ? money : [],
        counters: [...tiers, ...moneyCounters(moved, rate)],
        quota: { size, min: min < size ? min : size },
      })
    })
}

/**
 * Not generated: credits of whole volume on a money counter, and a line that one money counter stops where another makes it free.
 */
function moneyCounters(moved: readonly ModelCounter[], rate: GeneratedRate | undefined): readonly ModelCounter[] {
  const first = moved.find(({ what }) => what === 'money')
  return moved.filter(
    ({ what, then }) => what !== 'money' || (rate?.mode !== 'volume' && (then === first?.then || then === 'tell')),
  )
}

export const catalog: fc.Arbitrary<GeneratedCatalog> = kit.chain(kit =>
  fc
    .record({
      programs: fc.record(
        Object.fromEntries(
          unitsInUse.map(unit => [unit, fc.array(programsOf(unit, kit), { minLength: 1, maxLength: 5 })]),
        ) as Record<UnitType, fc.Arbitrary<GeneratedProgram[]>>,
      ),
      periods: fc.array(fc.constantFrom(0, 600_000, 3_600_000, 86_400_000), { minLength: 7, maxLength: 7 }),
      lowBalance: fc.constantFrom<bigint[]>([], [1000n], [1_000_000n, 20_000n, 0n]),
    })
    .map(({ programs, periods, lowBalance }) => ({
      lines: lineKeys.map(({ key, unit }) => ({ key, programs: programs[unit] })),
      rates: new Map(Object.values(kit.rates).flatMap(list => list.map(rate => [rate.id, rate]))),
      periods: new Map(Object.values(kit.counters).map(({ name }, i) => [name, periods[i]!])),
      lowBalance,
    })),
)

// Accounts.

export interface GeneratedBucket extends Omit<ModelBucket, 'id' | 'from' | 'ends' | 'gone'> {
  /** After the start, ms; 0: none. */
  readonly fromIn: number
  readonly endsIn: number
}

const bucketUnits: Record<string, NewBucket['unit']> = {
  data: 'octets',
  extra: 'octets',
  points: 'units',
  minutes: 'seconds',
  texts: 'events',
  bonus: 'money',
  gift: 'money',
}

const bucket: fc.Arbitrary<GeneratedBucket> = fc
  .record({
    name: fc.constantFrom('data', 'data', 'extra', 'points', 'minutes', 'texts', 'bonus', 'gift'),
    amount: fc.constantFrom(1n, 45n, 3000n, 300_000n, 5_000_000n, 10n ** 14n),
    priority: fc.integer({ min: 1, max: 3 }),
    endsIn: fc.constantFrom(0, 0, 60_000, 1_900_000, 5_000_000),
    fromIn: fc.constantFrom(0, 0, 0, 0, 60_000, 1_000_000),
    // Longer than clocks of gateways may differ, and than the grants' switches are ahead.
    life: fc.constantFrom(0, 0, 0, 950_000, 1_900_000),
    paid: fc.boolean(),
    blocker: fc.oneof(often(false, 9), often(true, 1)),
    warn: fc.constantFrom<bigint[]>([], [], [0n], [1_000_000n, 100_000n, 2000n]),
  })
  .map(each => ({
    ...each,
    money: moneyBuckets.includes(each.name),
    life: each.endsIn === 0 ? each.life : 0,
    // Bounds that Redis and the catalog's check keep.
    amount: moneyBuckets.includes(each.name) && each.amount > 10n ** 9n ? 10n ** 9n : each.amount,
  }))

export const account = fc.record({
  money: fc.constantFrom(0n, 3500n, 20_000n, 300_000n, 5_000_000n, 2n ** 52n - 10n ** 10n),
  credit: fc.oneof(often(0n, 3), often(50_000n, 1), often(1_000_000n, 1)),
  buckets: fc.array(bucket, { maxLength: 6 }),
})
export type GeneratedAccount = typeof account extends fc.Arbitrary<infer A> ? A : never

export const newBucket = (
  { name, amount, priority, paid, blocker, warn }: GeneratedBucket,
  { from, ends, life }: ModelBucket,
): NewBucket => ({
  name,
  unit: bucketUnits[name]!,
  amount: units(amount),
  priority,
  until: ends || undefined,
  origin: 'test',
  from: from || undefined,
  life: life || undefined,
  paid,
  blocker,
  warn: warn.map(level => units(level)),
})

// Commands.

export const amount = fc.oneof(
  often(0n, 2),
  { arbitrary: fc.bigInt(1n, 70n), weight: 3 },
  { arbitrary: fc.bigInt(1n, 400_000n), weight: 4 },
  { arbitrary: fc.bigInt(1n, 20_000_000n), weight: 2 },
  {
    arbitrary: fc.constantFrom(
      100_000n,
      1_000_000n,
      99_999_999n,
      999_999_999n,
      10n ** 14n - 1n,
      10n ** 14n,
      5n * 10n ** 13n,
    ),
    weight: 1,
  },
)
const used: fc.Arbitrary<UsedUnits> = fc.oneof(
  { arbitrary: amount.map(unsplit => ({ unsplit, before: 0n, after: 0n, indeterminate: 0n })), weight: 4 },
  {
    arbitrary: fc.record({
      unsplit: fc.oneof(often(0n, 2), { arbitrary: amount, weight: 1 }),
      before: amount,
      after: amount,
      indeterminate: fc.oneof(often(0n, 1), { arbitrary: amount, weight: 1 }),
    }),
    weight: 1,
  },
)
const pick = fc.nat(20)
const line = fc.record({
  kind: fc.oneof(often(0, 5), often(1, 3), often(2, 3), often(3, 1), often(4, 1)),
  program: fc.oneof(often(0, 4), { arbitrary: pick, weight: 5 }),
  used,
  asked: fc.option(fc.oneof({ arbitrary: amount, weight: 4 }, often('any' as const, 1)), { freq: 5, nil: undefined }),
  threshold: fc.oneof(often(false, 5), often(true, 1)),
  next: fc.option(fc.record({ inMs: fc.constantFrom(1, 1000, 30_000, 600_000), program: pick }), {
    freq: 3,
    nil: undefined,
  }),
  prev: fc.option(fc.record({ agoMs: fc.constantFrom(0, 1000, 20_500, 600_000), program: pick }), {
    freq: 2,
    nil: undefined,
  }),
})
export type GeneratedLine = typeof line extends fc.Arbitrary<infer L> ? L : never

export const sessionCount = 6
const session = fc.nat(sessionCount - 1)
export const accountCount = 2
const charge = fc.record({
  do: fc.constant('charge' as const),
  session,
  type: fc.oneof(often('next' as const, 14), often('T' as const, 2), often('I' as const, 1)),
  number: fc.oneof(
    often('next' as const, 12),
    often('repeat' as const, 3),
    often('other content' as const, 1),
    often('gap' as const, 1),
    often('fill' as const, 2),
  ),
  back: fc.nat(7),
  lines: fc.uniqueArray(line, { selector: ({ kind }) => kind, maxLength: 4 }),
  past: fc.oneof(often(false, 14), often(true, 1)),
  moved: fc.oneof(often(false, 40), often(true, 1)),
  otherSubscriber: fc.oneof(often(false, 40), often(true, 1)),
  atOffset: fc.oneof(often(0, 4), { arbitrary: fc.integer({ min: -290_000, max: 290_000 }), weight: 1 }),
  limits: fc.oneof(often('default' as const, 8), often(undefined, 1), often(60_000n, 1)),
})
export const command = fc.oneof(
  { arbitrary: charge, weight: 24 },
  {
    arbitrary: fc.record({
      do: fc.constant('recharge' as const),
      account: fc.nat(accountCount - 1),
      amount: fc.constantFrom(1n, 3000n, 50_000n, 1_000_000n, 2n ** 52n),
      reference: fc.nat(8),
    }),
    weight: 3,
  },
  {
    arbitrary: fc.record({
      do: fc.constant('status' as const),
      account: fc.nat(accountCount - 1),
      status: fc.constantFrom('suspended' as const, 'active' as const, 'active' as const, 'active' as const),
    }),
    weight: 1,
  },
  {
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(1, 1000, 61_000, 121_000, 700_000, 1_300_000, 3_700_000, 7_300_000),
    }),
    weight: 4,
  },
  {
    arbitrary: fc.record({ do: fc.constant('sweep' as const), skewed: fc.oneof(often(false, 8), often(true, 1)) }),
    weight: 4,
  },
  { arbitrary: fc.record({ do: fc.constant('expire' as const), session }), weight: 1 },
  { arbitrary: fc.record({ do: fc.constant('release' as const), session }), weight: 1 },
  { arbitrary: fc.record({ do: fc.constant('forget' as const), session }), weight: 2 },
)
export type Command = typeof command extends fc.Arbitrary<infer C> ? C : never

export const history = fc.tuple(
  catalog,
  fc.tuple(account, account),
  fc.array(command, { minLength: 1, maxLength: 60, size: 'max' }),
)
