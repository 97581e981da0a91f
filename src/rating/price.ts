/**
 * What usage costs, semantics.md section 4: F(n) is the price of n units of one run, and a report that moves a run from n
 * to n' costs F(n') − F(n), so that no split of the usage changes the sum. lua/include/price.lua is the same arithmetic.
 *
 * Money is rounded once, on the sum of the tiers. A tier is kept as num/den rounding units a tick, reduced. What passes the
 * check here stays below 2^53 at each step of it, so that the script's doubles compute q·num + round(r·num/den)
 * (k = q·den + r ticks) exactly.
 */
import { createHash } from 'node:crypto'
import { formatDuration, formatSize } from '../config/quantity.js'
import { exactLimit, formatAmount, formatMoney, lineLimit, type Micros, type Units, type UnitType } from '../units.js'
import type { Rate, RateTerms } from './catalog.js'
import type { CompiledRate, CompiledTier } from './program.js'

/** A rate that cannot be computed exactly, with what to write instead. */
export interface RateProblem {
  readonly problem: string
  readonly hint: string
  /** What of the terms is wrong, and the index of the tier. */
  readonly key: 'tiers' | 'step' | 'first' | 'setup' | 'minimum' | 'cap'
  readonly tier?: number
}

export type RateOutcome = { readonly rate: Rate } | RateProblem

/**
 * Where a run stands. Without a counter both follow from its units; with one, other sessions move the counter meanwhile.
 */
export interface Standing {
  /** What the tiers have counted: value of the counter, or the billed units of the run. */
  readonly counted: bigint
  /** Sum of T(N + d) − T(N) of the run so far, micros: what it costs without setup, minimum and cap. */
  readonly raw: bigint
}

/** Compiles a rate, or says why its prices would not be exact. */
export function compileRate(terms: RateTerms): RateOutcome {
  const outcome = compile(terms)
  if ('rate' in outcome || outcome.hint !== largerStep) return outcome
  const step = niceSteps[terms.unit].find(
    each => each > terms.step && 'rate' in compile({ ...terms, step: each as Units }),
  )
  return step === undefined ? outcome : { ...outcome, hint: `${largerStep}, like ${written(terms.unit, step)}` }
}

/**
 * F(n): what the first `used` units of a run cost in all.
 *
 * @param opening true for the first rate that is used on a line: only there setup, minimum and first are billed
 */
export const priceOf = (used: Units, rate: CompiledRate, opening: boolean): Micros =>
  used === 0n ? (0n as Micros) : boundedPrice(tierPrice(billable(used, rate, opening), rate), rate, opening)

/**
 * T(x): what x counted units cost in all. A tick that is started counts whole.
 *
 * *Ours:* in `volume` mode it falls where a cheaper tier begins, and a run that goes over the bound costs less than nothing.
 */
export function tierPrice(counted: bigint, rate: CompiledRate): Micros {
  if (counted === 0n) return 0n as Micros
  const tier = rate.tiers.find(({ upTo }) => upTo === undefined || counted <= upTo)!
  const ticks = ceilDiv(counted - tier.from, rate.tick)
  return (tier.base + rate.roundUnit * rounded(ticks * tier.num, tier.den, rate.round)) as Micros
}

/** F of a run that has used something, of what its tiers cost. */
export function boundedPrice(raw: bigint, rate: CompiledRate, opening: boolean): Micros {
  const sum = opening ? raw + rate.setup : raw
  // No minimum is not a minimum of 0: volume tiers on a counter credit the first report, too.
  const least = opening && rate.minimum > sum && rate.minimum > 0n ? rate.minimum : sum
  return (rate.cap && least > rate.cap.amount ? rate.cap.amount : least) as Micros
}

/** `first` at once, above it whole steps, rounded up. */
export function billable(used: Units, rate: CompiledRate, opening: boolean): Units {
  const first = opening ? rate.first : 0n
  if (used === 0n) return used
  return (used <= first ? first : first + ceilDiv(used - first, rate.step) * rate.step) as Units
}

/**
 * The most units more than `used` that cost at most `funds` more: up to the end of the last step that is affordable. The
 * rest of a started step is paid for and counts. A cap that stops ends it where the tiers reach the cap.
 *
 * In `volume` mode the price falls at a bound: more units may be affordable where fewer are not.
 *
 * @param most bounds the result; by default what is left of the line limit
 * @param standing of a run whose tiers stand on a counter
 */
export function unitsFor(
  used: Units,
  funds: Micros,
  rate: Rate,
  opening: boolean,
  most: bigint = lineLimit[rate.unit] - used,
  standing: Standing = standingOf(used, rate, opening),
): Units {
  if (most <= 0n) return 0n as Units
  const reach = (used === 0n ? 0n : boundedPrice(standing.raw, rate, opening)) + funds
  if (rate.cap?.then === 'free' && reach >= rate.cap.amount) return most as Units
  if (used === 0n && opening && reach < rate.minimum) return 0n as Units
  const ceiling = rate.cap && rate.cap.amount < reach ? rate.cap.amount : reach
  const budget = ceiling - (opening ? rate.setup : 0n) - standing.raw + tierPrice(standing.counted, rate)
  const billed = billable(used, rate, opening)
  const grown = largestGrowth(
    rate,
    standing.counted,
    budget,
    billable((used + most) as Units, rate, opening) - billed,
    {
      first: used === 0n && opening ? rate.first : 0n,
    },
  )
  if (grown === undefined) return 0n as Units
  const reached = billed + grown
  return (reached > used + most ? most : reached - used) as Units
}

/** Where a run without a counter stands. */
const standingOf = (used: Units, rate: CompiledRate, opening: boolean): Standing => {
  const counted = billable(used, rate, opening)
  return { counted, raw: tierPrice(counted, rate) }
}

/**
 * The largest d ≤ most that is billable from here with T(counted + d) ≤ budget. Tiers from the dearest position down: one
 * division each. Undefined: not even 0, as after an overrun of a cap that stops.
 */
function largestGrowth(
  rate: CompiledRate,
  counted: bigint,
  budget: bigint,
  most: bigint,
  { first }: { readonly first: bigint },
): bigint | undefined {
  for (const [index, tier] of [...rate.tiers.entries()].reverse()) {
    const below = index === 0 ? 0n : rate.tiers[index - 1]!.upTo!
    const end = tier.upTo === undefined || tier.upTo > counted + most ? counted + most : tier.upTo
    const ticks = affordableTicks(rate, tier, budget)
    const reached = ticks === undefined ? end : smaller(end, tier.from + ticks * rate.tick)
    if (reached < counted || reached <= below) continue
    const room = reached - counted
    const grown = room < first ? 0n : first + ((room - first) / rate.step) * rate.step
    if (grown > 0n) return grown
  }
  return tierPrice(counted, rate) <= budget ? 0n : undefined
}

/** The most ticks k of a tier with base + unit · round(k·num/den) ≤ budget; undefined: any. Below 0: none. */
function affordableTicks(rate: CompiledRate, { base, num, den }: CompiledTier, budget: bigint): bigint | undefined {
  if (budget < base) return -1n
  if (num === 0n) return undefined
  const whole = (budget - base) / rate.roundUnit
  if (rate.round === 'up') return (whole * den) / num
  if (rate.round === 'down') return ceilDiv((whole + 1n) * den, num) - 1n
  return ceilDiv((2n * whole + 1n) * den, 2n * num) - 1n
}

/**
 * The largest T(p + d) − T(p) with counted ≤ p ≤ counted + others: what d units may cost while other sessions hold `others`
 * units of the counter. Between two positions where p or p + d comes to a bound, it only rises or only falls.
 */
export function dearestGrowth(rate: CompiledRate, counted: bigint, others: bigint, d: bigint): bigint {
  const bounds = rate.tiers.flatMap(({ upTo }) => (upTo === undefined ? [] : [upTo, upTo - d]))
  const turns = bounds.flatMap(bound => [bound, bound + 1n])
  const places = [counted, counted + others, ...turns].filter(p => p >= counted && p <= counted + others)
  return places
    .map(p => tierPrice(p + d, rate) - tierPrice(p, rate))
    .reduce((most, growth) => (growth > most ? growth : most))
}

/** The fields `rate` and `tiers` of a program's text, see program.ts. */
export function formatRate(rate: CompiledRate): { readonly rate: string; readonly tiers: string } {
  return { rate: `${rate.id},${contentOf(rate)}`, tiers: tiersOf(rate) }
}

function contentOf(rate: Omit<CompiledRate, 'id'>): string {
  const { first, step, tick, setup, minimum, cap, roundUnit, round, counter, mode } = rate
  const letters = { then: cap?.then === 'stop' ? 's' : 'f', round: round[0], mode: mode[0] }
  const amounts = [first, step, tick, setup, minimum, cap?.amount ?? '-']
  return [...amounts, letters.then, roundUnit, letters.round, counter ?? '-', letters.mode].join(',')
}

const tiersOf = ({ tiers }: Pick<CompiledRate, 'tiers'>): string =>
  tiers.map(({ from, upTo, base, num, den }) => [from, upTo ?? 0n, base, num, den].join(',')).join(';')

/** A rate in words: `0.01 per 1 MB in steps of 100 kB, setup 0.05, at most 2.00 a session, then free`. */
export function describeRate({ terms }: Pick<Rate, 'terms'>): string {
  const { unit, tiers, mode, step, first, setup, minimum, cap, round, decimals, counter } = terms
  const prices = tiers.map(({ upTo, amount, per }) => {
    return priceInWords(unit, amount, per) + (upTo === undefined ? '' : ` up to ${formatAmount(unit, upTo)}`)
  })
  const words = [prices.join(', then ') + (step > 1n ? ` in steps of ${formatAmount(unit, step)}` : '')]
  if (mode === 'volume') words.push('all at the price of the tier reached')
  if (counter !== undefined) words.push(`tiers on the counter ${counter}`)
  if (first > 0n) words.push(`first ${formatAmount(unit, first)}`)
  if (setup > 0n) words.push(`setup ${formatMoney(setup)}`)
  if (minimum > 0n) words.push(`at least ${formatMoney(minimum)}`)
  if (cap) words.push(`at most ${formatMoney(cap.amount)} a session, then ${cap.then}`)
  if (round !== 'up' || decimals < 6) words.push(roundingInWords(round, 10n ** BigInt(6 - decimals)))
  return words.join(', ')
}

/**
 * The arithmetic of one report in words: `280 kB are 300 kB in steps of 100 kB: 300 kB at 0.01 per 1 MB = 0.003; less 0.003
 * for the 250 kB before = 0.00`.
 *
 * @param n units reported
 * @param from units of the run before
 * @param situation `standing` before the report, of a run whose tiers stand on a counter
 */
export function describePrice(
  n: Units,
  from: Units,
  rate: Rate,
  { opening = true, standing }: { readonly opening?: boolean; readonly standing?: Standing } = {},
): string {
  const to = (from + n) as Units
  const { unit } = rate.terms
  const [billedBefore, billed] = [billable(from, rate, opening), billable(to, rate, opening)]
  const inSteps =
    billed === to ? '' : ` ${to === 1n ? 'is' : 'are'} ${formatAmount(unit, billed)} ${grid(rate, opening)}`
  const head = `${formatAmount(unit, to)}${inSteps}`
  if (rate.counter !== undefined && standing) {
    const { counted, raw } = standing
    const after = counted + billed - billedBefore
    const growth = tierPrice(after, rate) - tierPrice(counted, rate)
    const moved = `the counter ${rate.counter} goes from ${formatAmount(unit, counted)} to ${formatAmount(unit, after)}`
    const grown = `${head}; ${moved}: ${growthInWords(counted, after, rate)} = ${formatMoney(growth)}`
    const run = raw + growth
    const before = from === 0n ? 0n : boundedPrice(raw, rate, opening)
    const total = to === 0n ? 0n : boundedPrice(run, rate, opening)
    if (from === 0n) return `${grown}${boundsInWords(growth, total, rate, opening && n > 0n)}`
    if (total - before === growth) return grown
    const bounds = `the run's ${formatMoney(run)}${boundsInWords(run, total, rate, opening)}`
    return `${grown}; ${bounds}; less ${formatMoney(before)} before = ${formatMoney(total - before)}`
  }
  const [before, total] = [priceOf(from, rate, opening), priceOf(to, rate, opening)]
  const raw = tierPrice(billed, rate)
  const sum = `${head}: ${tiersInWords(billed, rate)}${boundsInWords(raw, total, rate, opening && to > 0n)}`
  if (from === 0n) return sum
  return `${sum}; less ${formatMoney(before)} for the ${formatAmount(unit, from)} before = ${formatMoney(total - before)}`
}

function grid(rate: Rate, opening: boolean): string {
  const steps = `in steps of ${formatAmount(rate.terms.unit, rate.step)}`
  return opening && rate.first > 0n ? `(first ${formatAmount(rate.terms.unit, rate.first)}, then ${steps})` : steps
}

/** T(x), tier by tier, as it is summed and rounded. */
function tiersInWords(counted: bigint, rate: Rate): string {
  if (counted === 0n) return '0.00'
  const { unit } = rate.terms
  const reached = rate.tiers.findIndex(({ upTo }) => upTo === undefined || counted <= upTo)
  const parts = rate.tiers.slice(0, reached + 1).flatMap((tier, index) => {
    if (rate.mode === 'volume' && index < reached) return []
    const { amount, per } = rate.terms.tiers[index]!
    const units = (index < reached ? tier.upTo! : counted) - tier.from
    return [`${formatAmount(unit, units)} at ${priceInWords(unit, amount, per)}`]
  })
  const { from, base, num, den } = rate.tiers[reached]!
  const exact = base * den + ceilDiv(counted - from, rate.tick) * num * rate.roundUnit
  const price = tierPrice(counted, rate)
  if (exact === price * den) return `${parts.join(' + ')} = ${formatMoney(price)}`
  return `${parts.join(' + ')} = ${exactInWords(exact, den)}, ${roundingInWords(rate.round, rate.roundUnit)} = ${formatMoney(price)}`
}

/** T(after) − T(counted): the tiers between them, or in `volume` mode both as wholes. */
function growthInWords(counted: bigint, after: bigint, rate: Rate): string {
  if (after === counted) return 'nothing more'
  if (rate.mode === 'volume') {
    const before = counted === 0n ? '' : ` − (${tiersInWords(counted, rate)})`
    return `${tiersInWords(after, rate)}${before}`
  }
  const { unit } = rate.terms
  const parts = rate.tiers.flatMap((tier, index) => {
    const low = tier.from > counted ? tier.from : counted
    const high = tier.upTo === undefined || tier.upTo > after ? after : tier.upTo
    const { amount, per } = rate.terms.tiers[index]!
    return high > low ? [`${formatAmount(unit, high - low)} at ${priceInWords(unit, amount, per)}`] : []
  })
  return parts.join(' + ')
}

/** What setup, minimum and cap make of the tiers' sum; nothing where they change nothing. */
function boundsInWords(raw: bigint, total: bigint, rate: Rate, opens: boolean): string {
  const words: string[] = []
  if (opens && rate.setup > 0n) words.push(`setup ${formatMoney(rate.setup)}`)
  const sum = raw + (opens ? rate.setup : 0n)
  if (opens && rate.minimum > sum) words.push(`at least ${formatMoney(rate.minimum)}`)
  if (rate.cap && total < sum) words.push(`at most ${formatMoney(rate.cap.amount)} a session`)
  return words.length === 0 && total === sum ? '' : `, ${[...words, `costs ${formatMoney(total)}`].join(', ')}`
}

/** `0.01 per 1 MB`; of values, a percentage where it is a short one. */
export function priceInWords(unit: UnitType, amount: bigint, per: bigint): string {
  if (unit === 'money' && (amount * 100n * 1_000_000n) % per === 0n) {
    return `${formatMoney((amount * 100n * 1_000_000n) / per).replace(/\.?0+$/, '')} % of the value`
  }
  return unit === 'events' && per === 1n
    ? `${formatMoney(amount)} each`
    : `${formatMoney(amount)} per ${formatAmount(unit, per)}`
}

const roundingInWords = (round: CompiledRate['round'], roundUnit: bigint): string =>
  `rounded ${round === 'nearest' ? 'to the nearest' : `${round} to`} ${formatMoney(roundUnit)}`

/** A fraction of micros with nine decimals, and dots where that is not all of it. */
function exactInWords(dividend: bigint, divisor: bigint): string {
  const billionths = (dividend * 1_000n) / divisor
  const digits = billionths.toString().padStart(10, '0')
  const rest = (dividend * 1_000n) % divisor === 0n ? '' : '…'
  const fraction = rest === '' ? digits.slice(-9).replace(/0{1,7}$/, '') : digits.slice(-9)
  return `${digits.slice(0, -9)}.${fraction}${rest}`
}

/** Identifies content: twelve hexadecimal digits of its SHA-256. */
export const shortHash = (content: string): string => createHash('sha256').update(content).digest('hex').slice(0, 12)

const largerStep = 'use a larger step'

/** Steps that a hint may name, ascending. */
const niceSteps: Record<UnitType, readonly bigint[]> = {
  octets: [10n ** 3n, 2n ** 10n, 10n ** 4n, 10n ** 5n, 100n * 2n ** 10n, 10n ** 6n, 2n ** 20n, 10n ** 7n, 10n ** 8n, 10n ** 9n, 2n ** 30n],
  seconds: [6n, 10n, 30n, 60n, 600n, 3_600n],
  events: [10n, 100n, 1_000n],
  money: [10n, 100n, 1_000n, 10_000n, 1_000_000n],
} // prettier-ignore

function compile(terms: RateTerms): RateOutcome {
  const { name, unit, mode, step, first, setup, minimum, cap, round, counter } = terms
  const roundUnit = 10n ** BigInt(6 - terms.decimals)
  const tick = gcd(step, first)
  const wrong = wrongShape(terms) ?? wrongAmount(terms, roundUnit) ?? unevenTier(terms, roundUnit)
  if (wrong) return wrong

  const tiers: CompiledTier[] = []
  let [from, base] = [0n, 0n]
  for (const [index, { upTo, amount, per }] of terms.tiers.entries()) {
    const divisor = gcd(amount * tick, per * roundUnit)
    const [num, den] = [(amount * tick) / divisor, (per * roundUnit) / divisor]
    // To the nearest, the script computes 2·r·num + den.
    if ((round === 'nearest' ? (2n * num + 1n) * den : num * den) >= exactLimit) {
      const problem = `${tick} ${unit} cost ${num}/${den} ${roundUnit === 1n ? 'micros' : `times ${formatMoney(roundUnit)}`}, too fine to be exact`
      return { problem, hint: largerStep, key: 'tiers', tier: index }
    }
    tiers.push({ from, upTo, base, num, den })
    if (mode === 'volume' || upTo === undefined) continue
    base += ((((upTo - from) / tick) * num) / den) * roundUnit
    from = upTo
  }
  const parts = { name, step, first, tick, setup, minimum, cap, roundUnit, round, counter, mode, tiers }
  const id = shortHash(`${unit} ${contentOf(parts)} ${tiersOf(parts)}`)
  const rate: Rate = { id, ...parts, unit, terms }
  return tooDear(rate) ?? { rate }
}

/** Tiers must ascend, and steps must not straddle their bounds. */
function wrongShape({ unit, tiers, step, first, counter }: RateTerms): RateProblem | undefined {
  if (first % step !== 0n && (tiers.length > 1 || counter !== undefined)) {
    const problem = `the first ${formatAmount(unit, first)} are no multiple of the step ${formatAmount(unit, step)}, which tiers need`
    return { problem, hint: `write ${nearMultiples('first', unit, first, step)}`, key: 'first' }
  }
  let from = 0n
  for (const [index, { upTo }] of tiers.entries()) {
    const last = index === tiers.length - 1
    if (upTo === undefined) {
      if (last) return undefined
      return tierProblem(index, 'has no upTo, and more tiers follow', 'write where it ends, or leave the others out')
    }
    const end = formatAmount(unit, upTo)
    if (last)
      return tierProblem(index, `ends at ${end}, and no tier follows`, 'leave out its upTo, or write a tier after it')
    if (upTo <= from) {
      const start = from === 0n ? 'where it begins' : `not above the ${formatAmount(unit, from)} of the one before`
      return tierProblem(index, `ends at ${end}, ${start}`, 'write the tiers in ascending order')
    }
    if (upTo % step !== 0n) {
      const what = `ends at ${end}, which is no multiple of the step ${formatAmount(unit, step)}`
      return tierProblem(index, what, `write ${nearMultiples('upTo', unit, upTo, step)}, or a step that fits`)
    }
    from = upTo
  }
  return undefined
}

/** Setup, minimum and cap are parts of a price, so that they are whole rounding units, too. */
function wrongAmount({ setup, minimum, cap, decimals }: RateTerms, roundUnit: bigint): RateProblem | undefined {
  const amounts = [
    ['setup', setup],
    ['minimum', minimum],
    ['cap', cap?.amount ?? 0n],
  ] as const
  for (const [key, amount] of amounts) {
    if (amount % roundUnit === 0n) continue
    const more = amountDecimals(amount)
    const problem = `the ${key} ${formatMoney(amount)} has more decimals than the ${decimals} that prices are rounded to`
    return { problem, hint: `write ${nearMultiples(key, 'money', amount, roundUnit)}, or decimals: ${more}`, key }
  }
  if (!cap) return undefined
  const [key, least] = minimum > setup ? (['minimum', minimum] as const) : (['setup', setup] as const)
  if (cap.amount >= least && cap.amount > 0n) return undefined
  const problem =
    cap.amount === 0n
      ? 'a cap of 0.00 makes all free'
      : `the cap ${formatMoney(cap.amount)} is below the ${key} ${formatMoney(least)}`
  const hint =
    cap.amount === 0n
      ? 'write a cap above 0, or a rule with free'
      : `write a cap of ${formatMoney(least)} at least, or a lower ${key}`
  return { problem, hint, key: 'cap' }
}

/**
 * A full graduated tier costs whole rounding units, so that only the last one rounds. On a counter each step does: sessions
 * move it from anywhere, and none of them may pay another's rounding.
 */
function unevenTier(terms: RateTerms, roundUnit: bigint): RateProblem | undefined {
  const { unit, tiers, mode, step, counter } = terms
  let from = 0n
  for (const [index, { upTo, amount, per }] of tiers.entries()) {
    // The fewest units that cost whole rounding units, and are whole steps.
    const even = lcm((per * roundUnit) / gcd(amount, per * roundUnit), step)
    const price = `at ${priceInWords(unit, amount, per)}`
    const costs = `, which is no whole multiple of ${formatMoney(roundUnit)}`
    if (counter !== undefined && even !== step) {
      const cost = exactInWords(amount * step, per)
      const what = `makes a step of ${formatAmount(unit, step)} ${price} cost ${cost}${costs}; on a counter each step must cost one`
      const hint =
        even <= lineLimit[unit] ? `write step: ${written(unit, even)}, or another price` : 'write another price'
      return tierProblem(index, what, hint)
    }
    if (mode === 'volume' || upTo === undefined) continue
    const size = upTo - from
    if (size % even !== 0n) {
      const what = `costs ${exactInWords(amount * size, per)} when it is full (${formatAmount(unit, size)} ${price})${costs}`
      const ends = [from + (size / even) * even, from + (size / even + 1n) * even].filter(
        end => end > from && end <= lineLimit[unit],
      )
      const hint =
        ends.length === 0
          ? 'write another price'
          : `write upTo: ${ends.map(end => written(unit, end)).join(' or ')}, or another price`
      return tierProblem(index, what, hint)
    }
    from = upTo
  }
  return undefined
}

/** Bounds of tiers, the cost of the largest line, and in volume mode of each tier's end, stay exact. */
function tooDear(rate: Rate): RateProblem | undefined {
  const { unit } = rate
  const limit = lineLimit[unit]
  for (const [index, { upTo, base }] of rate.tiers.entries()) {
    if ((upTo ?? 0n) < exactLimit && base < exactLimit) continue
    const what = upTo === undefined || upTo < exactLimit ? `begins at ${formatMoney(base)}` : `ends at ${upTo} ${unit}`
    return tierProblem(index, `${what}, which reaches 2^53`, 'write tiers that end earlier')
  }
  const ends =
    rate.mode === 'volume' ? rate.tiers.flatMap(({ upTo }) => (upTo !== undefined && upTo < limit ? [upTo] : [])) : []
  for (const end of [...ends, limit]) {
    for (const opening of [true, false]) {
      const raw = tierPrice(billable(end as Units, rate, opening), rate)
      const cost = raw + (opening ? rate.setup : 0n)
      if (cost < exactLimit) continue
      const problem =
        end === limit
          ? `the largest line (${limit} ${unit}) would cost ${cost} micros, which reaches 2^53`
          : `${end} ${unit} would cost ${cost} micros, which reaches 2^53`
      return { problem, hint: 'write a lower price, or the price of more units in `per`', key: 'tiers' }
    }
  }
  return undefined
}

const tierProblem = (index: number, what: string, hint: string): RateProblem => ({
  problem: `tier ${index + 1} ${what}`,
  hint,
  key: 'tiers',
  tier: index,
})

/** `upTo: 999MB or 1002MB`: the multiples next to an amount. */
function nearMultiples(key: string, unit: UnitType, amount: bigint, of: bigint): string {
  const below = (amount / of) * of
  const near = [below, below + of].filter(each => each > 0n && each <= lineLimit[unit])
  return `${key}: ${near.map(each => written(unit, each)).join(' or ')}`
}

/** As the catalog's YAML writes it. */
function written(unit: UnitType, amount: bigint): string {
  if (unit === 'octets') return formatSize(amount)
  if (unit === 'seconds') return formatDuration(Number(amount) * 1_000)
  return unit === 'money' ? `'${formatMoney(amount)}'` : String(amount)
}

const amountDecimals = (amount: bigint): number =>
  amount.toString().padStart(6, '0').slice(-6).replace(/0+$/, '').length

/** k·num/den by the rate's rule; half goes up. Not for negative ones: there are none. */
function rounded(dividend: bigint, divisor: bigint, round: CompiledRate['round']): bigint {
  if (round === 'up') return ceilDiv(dividend, divisor)
  return round === 'down' ? dividend / divisor : (2n * dividend + divisor) / (2n * divisor)
}

const ceilDiv = (dividend: bigint, divisor: bigint): bigint => (dividend + divisor - 1n) / divisor

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b)

const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b))

const lcm = (a: bigint, b: bigint): bigint => (a / gcd(a, b)) * b
