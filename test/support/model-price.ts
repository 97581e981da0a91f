/**
 * Prices as section 4 of the semantics says them, on exact fractions, with no closed form and no program text: what the model of
 * test/support/model.ts charges by. What is affordable is searched, not computed.
 */

/** `amount` micros for `per` units, up to `upTo` billed units (absent: no end). */
export interface ModelTier {
  readonly upTo: bigint | undefined
  readonly amount: bigint
  readonly per: bigint
}

export interface ModelRate {
  /** Of its content: a run belongs to it. */
  readonly id: string
  readonly tiers: readonly ModelTier[]
  readonly mode: 'graduated' | 'volume'
  /** Units that are billed whole, after `first` units at once. */
  readonly step: bigint
  readonly first: bigint
  readonly setup: bigint
  readonly minimum: bigint
  readonly cap: { readonly amount: bigint; readonly then: 'free' | 'stop' } | undefined
  readonly round: 'up' | 'down' | 'nearest'
  /** Micros that prices are multiples of. */
  readonly multiple: bigint
  readonly counter: string | undefined
}

/** What a rate has carried of a line: units, and the sum of its tiers' prices before setup, minimum and cap. */
export interface ModelRun {
  readonly n: bigint
  readonly raw: bigint
}

/** A run that goes on by some units. */
export interface Move extends ModelRun {
  /** Units that the counter moves by. */
  readonly billed: bigint
  readonly cost: bigint
  /** F before the cap. */
  readonly uncapped: bigint
}

export const min = (...all: bigint[]): bigint => all.reduce((a, b) => (a < b ? a : b))
export const max = (...all: bigint[]): bigint => all.reduce((a, b) => (a > b ? a : b))
export const ceilDiv = (a: bigint, b: bigint): bigint => -floorDiv(-a, b)
/** Of a positive divisor, towards minus infinity. */
export const floorDiv = (a: bigint, b: bigint): bigint => (a >= 0n ? a / b : -((-a + b - 1n) / b))

/** T(x): each tier's units at its price, or all at the price of the tier reached, rounded once. */
export function tiersPrice(rate: ModelRate, x: bigint): bigint {
  let [sum, over, from] = [0n, 1n, 0n]
  for (const { upTo, amount, per } of rate.tiers) {
    const reached = upTo === undefined || x <= upTo
    const units = rate.mode === 'volume' ? (reached ? x : 0n) : (reached ? x : upTo) - from
    sum = sum * per + units * amount * over
    over *= per
    if (reached) break
    from = upTo
  }
  const by = over * rate.multiple
  switch (rate.round) {
    case 'up':
      return ceilDiv(sum, by) * rate.multiple
    case 'down':
      return floorDiv(sum, by) * rate.multiple
    case 'nearest':
      return floorDiv(2n * sum + by, 2n * by) * rate.multiple
  }
}

export function billable(rate: ModelRate, n: bigint, opens: boolean): bigint {
  const first = opens ? rate.first : 0n
  if (n === 0n) return 0n
  return n <= first ? first : first + ceilDiv(n - first, rate.step) * rate.step
}

/**
 * F of a run whose tiers cost `raw`. Setup and minimum are the opening run's. No minimum is not a minimum of 0: volume tiers may credit a
 * run's first report (worked example 9).
 */
function priced(rate: ModelRate, opens: boolean, { n, raw }: ModelRun): { capped: bigint; uncapped: bigint } {
  if (n === 0n) return { capped: 0n, uncapped: 0n }
  const sum = opens ? rate.setup + raw : raw
  const uncapped = opens && rate.minimum > 0n ? max(rate.minimum, sum) : sum
  return { capped: rate.cap ? min(rate.cap.amount, uncapped) : uncapped, uncapped }
}

/** What a run costs in all. Its setup and first units are its own when it opens the line. */
export const priceOfRun = (rate: ModelRate, opens: boolean, run: ModelRun): bigint => priced(rate, opens, run).capped

/** F(n) of a rate without a counter, or of one whose counter is at 0 and nobody else's. */
export const costOf = (rate: ModelRate, n: bigint, opens: boolean): bigint =>
  priceOfRun(rate, opens, { n, raw: tiersPrice(rate, billable(rate, n, opens)) })

/**
 * `units` more of a run.
 *
 * @param at where the counter stands, in billed units; without a counter the tiers stand on the run itself
 * @param others billed units that others hold on the counter: the dearest of what they may leave it at is taken
 */
export function move(rate: ModelRate, opens: boolean, run: ModelRun, units: bigint, at: bigint, others = 0n): Move {
  const n = run.n + units
  const before = billable(rate, run.n, opens)
  const billed = billable(rate, n, opens) - before
  const from = rate.counter === undefined ? before : at
  const step = (p: bigint): bigint => tiersPrice(rate, p + billed) - tiersPrice(rate, p)
  const added = others === 0n ? step(from) : max(...places(rate, from, others, billed).map(step))
  const moved = { n, raw: run.raw + added }
  const { capped, uncapped } = priced(rate, opens, moved)
  return { ...moved, billed, cost: capped - priceOfRun(rate, opens, run), uncapped }
}

/**
 * Where T(p + d) − T(p) may be largest for at ≤ p ≤ at + others. Between two places where p or p + d enters a tier it changes
 * evenly, but for its rounding, which repeats itself: so the largest is near such a place, or near an end.
 */
function places(rate: ModelRate, at: bigint, others: bigint, billed: bigint): bigint[] {
  const tick = gcd(rate.step, rate.first)
  const span = rate.tiers
    .map(({ amount, per }) => (per * rate.multiple) / gcd(amount * tick, per * rate.multiple))
    .reduce(lcm, 1n)
  const bounds = rate.tiers.flatMap(({ upTo }) => (upTo === undefined ? [] : [upTo, upTo - billed]))
  const found = new Set<bigint>()
  for (const place of [at, at + others, ...bounds]) {
    const aligned = at + floorDiv(place - at, tick) * tick
    for (let p = aligned - span * tick; p <= aligned + span * tick; p += tick) {
      if (p >= at && p <= at + others) found.add(p)
    }
  }
  return [...found]
}

/** Places on the way of a run, in units after it, between which its price does not fall: volume tiers may at their bounds. */
export function bends(rate: ModelRate, opens: boolean, run: ModelRun, most: bigint, at: bigint): bigint[] {
  if (rate.mode !== 'volume') return []
  const start = billable(rate, run.n, opens)
  return rate.tiers.flatMap(({ upTo }) => {
    if (upTo === undefined) return []
    const from = rate.counter === undefined ? start : at
    const last = largest(most, units => from + billable(rate, run.n + units, opens) - start <= upTo)
    return [last]
  })
}

/** The largest number up to `most` that fits, when nothing above one that does not fit does: by search. 0 always fits. */
export function largest(most: bigint, fits: (n: bigint) => boolean): bigint {
  let [low, high] = [0n, max(0n, most)]
  while (low < high) {
    const middle = (low + high + 1n) / 2n
    if (fits(middle)) low = middle
    else high = middle - 1n
  }
  return low
}

/** The same where it may fit again after one of the `bends`: the largest of all. */
export function largestOfAll(most: bigint, bends: readonly bigint[], fits: (n: bigint) => boolean): bigint {
  let high = max(0n, most)
  for (const bend of [...bends].sort((a, b) => (a < b ? 1 : -1))) {
    if (bend < high && fits(bend + 1n)) return bend + 1n + largest(high - bend - 1n, n => fits(bend + 1n + n))
    high = min(high, bend)
  }
  return largest(high, fits)
}

export const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b))
const lcm = (a: bigint, b: bigint): bigint => (a / gcd(a, b)) * b
