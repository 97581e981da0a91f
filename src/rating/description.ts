/**
 * Reading what a charging program means (`Program.description`, written by compile-program.ts), also when the catalog that it came from
 * is no longer there (semantics.md section 11, scope N1).
 */
import type { Rate, RateTerms } from './catalog.js'
import type { ProgramDescription } from './compile-program.js'
import { compileRate } from './price.js'

/** Undefined when the text is no description of ours. */
export function readDescription(text: string): ProgramDescription | undefined {
  try {
    const description = JSON.parse(text) as Partial<ProgramDescription> | null
    return Array.isArray(description?.rules) ? (description as ProgramDescription) : undefined
  } catch {
    return undefined
  }
}

/** The terms of a rate for its description: JSON, amounts as digits. */
export const termsText = ({ terms }: Pick<Rate, 'terms'>): Readonly<Record<string, unknown>> =>
  JSON.parse(
    JSON.stringify(terms, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
  ) as Record<string, unknown>

/** The rate that a program was made with, to do its sums; undefined without one, or where its content cannot be had again. */
export function rateOf({ rate }: ProgramDescription): Rate | undefined {
  if (!rate) return undefined
  const outcome = compileRate(readTerms(rate.terms))
  return 'rate' in outcome && outcome.rate.id === rate.id ? outcome.rate : undefined
}

const amountKeys = new Set(['upTo', 'amount', 'per', 'step', 'first', 'setup', 'minimum'])

function readTerms(terms: Readonly<Record<string, unknown>>): RateTerms {
  const read = JSON.parse(JSON.stringify(terms), (key, value: unknown) =>
    amountKeys.has(key) && typeof value === 'string' ? BigInt(value) : value,
  ) as RateTerms
  return {
    ...read,
    cap: read.cap,
    counter: read.counter,
    tiers: read.tiers.map(({ upTo, amount, per }) => ({ upTo, amount, per })),
  }
}
