/** Rates of the catalog: from their keys to terms, which price.ts compiles, or says why it cannot. */
import { fault, type Value } from '../config/yaml.js'
import { micros, units, type Micros, type Units, type UnitType } from '../units.js'
import type { Rate, RateTerms } from './catalog.js'
import type { RateGroup, TierGroup } from './catalog-shape.js'
import { readAmount } from './load-amount.js'
import { refer, type Draft } from './load-draft.js'
import { compileRate } from './price.js'
import type { Item, Row } from './schema.js'

type Tier = RateTerms['tiers'][number]

/** One major unit, micros: what a percentage is taken of. */
const wholeValue = units(1_000_000)

/** One event, and a millionth of a value, are what can be billed at all; volume and time have no such natural size. */
const natural: Record<UnitType, { readonly per?: Units; readonly step?: Units }> = {
  octets: {},
  seconds: {},
  events: { per: units(1), step: units(1) },
  money: { per: wholeValue, step: units(1) },
}

export function readRate(draft: Draft, { name, is }: Row<RateGroup>): Rate | undefined {
  const unit = is?.is.unit
  if (!is || !unit) return undefined
  const before = is.here.source.faults.length
  const sizeOf = (key: 'per' | 'step'): Units | undefined => {
    const written = is.at[key]
    if (written) return readAmount(written, unit)
    return natural[unit][key] ?? fault(is.here, `${is.here.path} lacks \`${key}\``, `add \`${key}:\` in ${unit}`)
  }
  const step = sizeOf('step')
  const tiers = readTiers(is, unit, sizeOf)
  const first = is.at.first ? readAmount(is.at.first, unit) : units(0)
  const counter = is.is.counter
  if (is.at.counter && counter !== undefined) citeCounter(draft, is.at.counter, counter, { name, unit })
  if (is.at.mode && !is.at.tiers)
    fault(is.at.mode, `${is.here.path}.mode has no use without tiers`, 'write `tiers:`, or remove it')
  const { round = 'up', decimals = 6, mode = 'graduated', setup, minimum, cap } = is.is
  const failed = (Object.keys(is.at) as (keyof typeof is.at)[]).some(key => is.is[key] === undefined)
  if (!tiers || step === undefined || first === undefined || failed || is.here.source.faults.length > before)
    return undefined
  const outcome = compileRate({
    ...{ name, unit, tiers, mode, step, first, round, decimals, counter },
    setup: setup ?? micros(0),
    minimum: minimum ?? micros(0),
    cap: capOf(cap),
  })
  if ('rate' in outcome) return outcome.rate
  const { key, tier, problem, hint } = outcome
  const tierAt = tier === undefined ? undefined : is.is.tiers?.[tier]?.is
  // A price too fine is mended at the step.
  const place = tierAt ? tierAt.here : (is.at[key] ?? is.at.step ?? is.at.price ?? is.here)
  return fault(place, `${is.here.path}: ${problem}`, hint)
}

/** Above it a session goes on free, unless it is said. */
function capOf(cap: RateGroup['is']['cap']): RateTerms['cap'] {
  if (!cap) return undefined
  if ('plain' in cap) return { amount: cap.plain, then: 'free' }
  const { amount, then = 'free' } = cap.long.is
  return amount === undefined ? undefined : { amount, then }
}

const priceKeys = ['price', 'tiers', 'percent'] as const

function readTiers(
  { here, at, is }: RateGroup,
  unit: UnitType,
  sizeOf: (key: 'per') => Units | undefined,
): Tier[] | undefined {
  const written = priceKeys.filter(key => at[key])
  if (written.length !== 1) {
    if (written.length === 0) return fault(here, `${here.path} lacks \`price\``, 'add `price:`, `tiers:` or `percent:`')
    return fault(here, `${here.path} has ${written.join(' and ')}`, `write exactly one of ${priceKeys.join(', ')}`)
  }
  if (at.percent) {
    if (at.per) fault(at.per, `${at.per.path} has no use with percent`, 'remove it')
    const amount = shareOf(at.percent, is.percent, unit)
    return amount === undefined ? undefined : [{ upTo: undefined, amount, per: wholeValue }]
  }
  if (at.price) {
    const per = sizeOf('per')
    // A price of a started session alone is a price, too.
    if (is.price === 0n && !is.setup && !is.minimum)
      return fault(at.price, `${at.price.path} is 0`, 'write `free: true` in the rule instead of a rate')
    return is.price === undefined || per === undefined ? undefined : [{ upTo: undefined, amount: is.price, per }]
  }
  const tiers = is.tiers?.map(item => readTier(item, unit, at.per)) ?? []
  if (tiers.some(tier => tier === undefined) || tiers.length === 0) return undefined
  if (tiers.every(tier => tier!.amount === 0n) && !is.setup && !is.minimum)
    return fault(at.tiers!, `${at.tiers!.path} cost nothing`, 'write `free: true` in the rule instead of a rate')
  return tiers as Tier[]
}

/** `ratePer` is the place of the rate's `per`, which holds for tiers that have none. */
function readTier({ is: tier }: Item<TierGroup>, unit: UnitType, ratePer: Value | undefined): Tier | undefined {
  const { here, at, is } = tier
  const upTo = at.upTo && readAmount(at.upTo, unit)
  if (at.upTo && upTo === undefined) return undefined
  if (at.price && at.percent) return fault(here, `${here.path} has price and percent`, 'write exactly one of them')
  if (at.percent) {
    const amount = shareOf(at.percent, is.percent, unit)
    return amount === undefined ? undefined : { upTo, amount, per: wholeValue }
  }
  if (!at.price) return fault(here, `${here.path} lacks \`price\``, 'add `price:`')
  const place = at.per ?? ratePer
  const per = place ? readAmount(place, unit) : natural[unit].per
  if (!place && per === undefined) return fault(here, `${here.path} lacks \`per\``, `add \`per:\` in ${unit}`)
  return is.price === undefined || per === undefined ? undefined : { upTo, amount: is.price, per }
}

/** Micros of one major unit. */
function shareOf(at: Value, share: bigint | undefined, unit: UnitType): Micros | undefined {
  if (unit === 'money' || share === undefined) return share as Micros | undefined
  return fault(at, `${at.path}: a share can be taken of a value, not of ${unit}`, 'write a price, or `unit: money`')
}

interface Citing {
  readonly name: string
  readonly unit: UnitType
}

function citeCounter(draft: Draft, at: Value, counter: string, { name, unit }: Citing): void {
  if (!refer(draft.counters, at, counter)) return
  const known = draft.counters.items.get(counter)
  if (!known) return
  known.rates.push(name)
  if (known.unit !== unit) {
    const message = `the counter \`${counter}\` counts ${known.unit}, but the rate \`${name}\` ${unit}`
    fault(at, message, `use a counter of ${unit}`)
  }
}
