/**
 * Fees of offers: which period is paid for and when it ends, what a part of it costs, and what an account in another currency pays
 * (semantics.md section 8, renewal). Times come in; nothing here knows what time it is.
 */
import type { Micros, Millis, Units } from '../units.js'
import { calendarPeriodAt, instantAfter, type Period } from './calendar.js'
import type { Catalog, Fee } from './catalog.js'
import { askedOf, exchangeAt } from './exchange.js'

/** What is or was paid for. */
export interface PaidPeriod extends Period {
  /** The whole period of the calendar that it is the rest of; the same where it is whole. */
  readonly whole: Period
  /** Where the periods of a subscription are counted from, and its number from there, from 0. */
  readonly anchor: Millis
  readonly index: number
}

/** Where a subscription stands: the period that it has, and how its periods were counted when it got it. */
export interface Standing {
  readonly end: Millis
  readonly anchor: Millis
  readonly index: number
  /** As `countingOf` has it. */
  readonly counting: string
}

/** How a fee counts its periods, as one word: `30d`, `month`, `calendar-month`. Undefined: it is paid once. */
export function countingOf({ every, align }: Fee): string | undefined {
  if (!every) return undefined
  if (every.kind === 'rolling') return `${every.every}ms`
  return align === 'calendar' ? `calendar-${every.kind}` : every.kind
}

/** The period that begins with a purchase. Undefined: the fee is paid once, for good. */
export function firstPeriod(fee: Fee, timezone: string, at: Millis): PaidPeriod | undefined {
  const { every, align } = fee
  if (!every) return undefined
  if (align === 'calendar' && every.kind !== 'rolling') {
    const whole = calendarPeriodAt(every.kind, timezone, at)
    return { start: at, end: whole.end, whole, anchor: at, index: 0 }
  }
  return anchored(fee, timezone, at, 0)
}

/**
 * The period after the one that a subscription has. Boundaries are counted from the anchor, so that none drifts: 31 Jan, 28 Feb, 31 Mar.
 * A fee that now counts otherwise begins to count anew where the last period ended.
 *
 * @param reach skips periods that end at this time or before
 */
export function nextPeriod(fee: Fee, timezone: string, standing: Standing, reach = -Infinity): PaidPeriod | undefined {
  const { every, align } = fee
  if (!every) return undefined
  if (align === 'calendar' && every.kind !== 'rolling') {
    const at = Math.max(standing.end, reach)
    const whole = calendarPeriodAt(every.kind, timezone, at)
    const start = Math.max(standing.end, whole.start)
    return { start, end: whole.end, whole, anchor: standing.anchor, index: standing.index + 1 }
  }
  const same = standing.counting === countingOf(fee)
  const anchor = same ? standing.anchor : standing.end
  let index = same ? standing.index + 1 : 0
  let period = anchored(fee, timezone, anchor, index)
  if (period.end <= reach) {
    // No period is longer than the first by more than a tenth, so that this never jumps too far.
    index += Math.max(0, Math.floor((reach - period.start) / ((period.end - period.start) * 1.11)) - 1)
    for (period = anchored(fee, timezone, anchor, index); period.end <= reach;)
      period = anchored(fee, timezone, anchor, ++index)
  }
  return period
}

/** The whole period that a subscription is in, where its fee counts as before. Undefined: it does not. */
export function presentPeriod(fee: Fee, timezone: string, standing: Standing, at: Millis): PaidPeriod | undefined {
  if (standing.counting !== countingOf(fee) || at >= standing.end) return undefined
  if (fee.align === 'calendar') return firstPeriod(fee, timezone, at)
  const { whole, end, ...counted } = anchored(fee, timezone, standing.anchor, standing.index)
  return { ...counted, start: at, end, whole }
}

function anchored({ every }: Fee, timezone: string, anchor: Millis, index: number): PaidPeriod {
  const bound = (count: number): Millis =>
    every!.kind === 'rolling' ? anchor + count * every!.every : instantAfter(every!.kind, count, timezone, anchor)
  const whole = { start: bound(index), end: bound(index + 1) }
  return { ...whole, whole, anchor, index }
}

/**
 * What the part of a period costs: exactly its share, rounded down, in favour of who pays. What is given back for the rest of a
 * period is what was paid less what its used part costs, so that it is rounded in favour of the same.
 */
export const costOfPart = (amount: Micros, part: Millis, whole: Millis): Micros =>
  part >= whole ? amount : (((amount * BigInt(Math.max(0, part))) / BigInt(whole)) as Micros)

/** What is given back of the fee of a period that ends early. */
export const restOf = (paid: Micros, { start, end }: Period, at: Millis): Micros =>
  at >= end ? (0n as Micros) : ((paid - costOfPart(paid, at - start, end - start)) as Micros)

/** Of what is granted for a whole period, what belongs to a part of it: rounded up. */
export const unitsOfPart = (amount: Units, part: Millis, whole: Millis): Units =>
  part >= whole ? amount : (((amount * BigInt(part) + BigInt(whole) - 1n) / BigInt(whole)) as Units)

/** Fee and setup as an account pays them at a time, converted where it has another currency; `refused`: why they cannot be. */
export function feeIn(
  catalog: Catalog,
  fee: Fee,
  currency: string,
  at: Millis,
): { readonly amount: Micros; readonly setup: Micros } | { readonly refused: string } {
  const { exchange, missing } = exchangeAt(catalog, currency, at)
  if (missing !== undefined && fee.amount + fee.setup > 0n) return { refused: missing }
  if (!exchange) return { amount: fee.amount, setup: fee.setup }
  return { amount: askedOf(fee.amount, exchange), setup: askedOf(fee.setup, exchange) }
}
