/**
 * What usage costs, semantics.md section 4: F(n) is the price of n units of one run, and a report that moves a run from n
 * to n' costs F(n') − F(n), so that no split of the usage changes the sum. lua/include/price.lua is the same arithmetic.
 *
 * Money is rounded once, on the cumulative total, up. A rate is kept as num/den micros a tick, reduced; with num · den
 * below 2^53 the script's doubles compute q·num + ⌈r·num/den⌉ (k = q·den + r ticks) exactly.
 */
import { createHash } from 'node:crypto'
import { exactLimit, lineLimit, type Micros, type Units, type UnitType } from '../units.js'
import type { CompiledRate } from './program.js'

/** A rate as its catalog writes it: `amount` micros per `per` units, billed in steps of `step`, after `first` units at once. */
export interface RateTerms {
  readonly name: string
  readonly unit: UnitType
  /** More than 0. */
  readonly amount: Micros
  /** 1 to the line limit of the unit. */
  readonly per: Units
  /** 1 to the line limit of the unit. */
  readonly step: Units
  /** Billed as soon as anything is used; 0 for none. */
  readonly first: Units
}

/** A rate that cannot be computed exactly is refused with the reason and what to write instead. */
export type RateOutcome = { readonly rate: CompiledRate } | { readonly problem: string; readonly hint: string }

/** Compiles a rate, or says why its prices could leave the exact range of a double. */
export function compileRate(terms: RateTerms): RateOutcome {
  const tick = gcd(terms.step, terms.first === 0n ? terms.step : terms.first)
  const divisor = gcd(terms.amount * tick, terms.per)
  const num = (terms.amount * tick) / divisor
  const den = terms.per / divisor
  if (num * den >= exactLimit) {
    return {
      problem: `${tick} ${terms.unit} cost ${num}/${den} micros, too fine to be exact`,
      hint: 'use a larger step',
    }
  }
  const { name, step, first } = terms
  const rate = { id: shortHash([terms.unit, num, den, step, first, tick].join(' ')), name, num, den, step, first, tick }
  const limit = lineLimit[terms.unit] as Units
  const dearest = [true, false].map(opening => priceOf(limit, rate, opening)).find(price => price >= exactLimit)
  if (dearest !== undefined) {
    const problem = `the largest line (${limit} ${terms.unit}) would cost ${dearest} micros, which reaches 2^53`
    return { problem, hint: 'write a lower price, or the price of more units in `per`' }
  }
  return { rate }
}

/**
 * F(n): what the first `used` units of a run cost in all.
 *
 * @param opening true for the first rate that is used on a line: only there `first` is billed
 */
export const priceOf = (used: Units, rate: CompiledRate, opening: boolean): Micros =>
  ceilDiv((billable(used, rate, opening) / rate.tick) * rate.num, rate.den) as Micros

/**
 * How many units more than `used` cost at most `funds` more: up to the end of the last step that is affordable. The rest
 * of a started step is paid for and counts. Not bounded by the line limit.
 */
export function unitsFor(used: Units, funds: Micros, rate: CompiledRate, opening: boolean): Units {
  const affordable = (((priceOf(used, rate, opening) + funds) * rate.den) / rate.num) * rate.tick
  const first = opening ? rate.first : 0n
  if (affordable < first) return 0n as Units
  return (first + ((affordable - first) / rate.step) * rate.step - used) as Units
}

/** `first` at once, above it whole steps, rounded up. */
function billable(used: Units, rate: CompiledRate, opening: boolean): bigint {
  const first = opening ? rate.first : 0n
  if (used === 0n) return 0n
  return used <= first ? first : first + ceilDiv(used - first, rate.step) * rate.step
}

/** Identifies content: twelve hexadecimal digits of its SHA-256. */
export const shortHash = (content: string): string => createHash('sha256').update(content).digest('hex').slice(0, 12)

const ceilDiv = (dividend: bigint, divisor: bigint): bigint => (dividend + divisor - 1n) / divisor

const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b))
