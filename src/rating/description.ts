/**
 * What a charging program means, kept beside its id (`Program.description`): whoever explains an entry of the ledger reads it,
 * also when the catalog has changed since (semantics.md section 11, scope N1).
 */
import type { UnitType } from '../units.js'
import type { Counter, Rate, RateTerms } from './catalog.js'
import { compileRate, describeRate } from './price.js'

/** JSON; amounts as digits. */
export interface ProgramDescription {
  readonly kind: 'pay' | 'free' | 'deny' | 'unrated'
  readonly service: string
  readonly unit: UnitType
  /** Result-Code of a refusal, 0 for none. */
  readonly code: number
  /** In the order in which the walk found them. */
  readonly rules: readonly {
    readonly offer: string
    readonly position: number
    /** `file:line`. */
    readonly place: string
  }[]
  readonly buckets: readonly string[]
  readonly afterRate: readonly string[]
  readonly money: readonly string[]
  readonly rate?: {
    readonly name: string
    /** In words. */
    readonly price: string
    readonly terms: Readonly<Record<string, unknown>>
    /** Why it is not what the rule names: `override of data-payg`. */
    readonly because?: string
  }
  readonly counters: readonly {
    readonly name: string
    readonly unit: UnitType
    readonly per: 'subscriber' | 'account'
    readonly then: 'stop' | 'free' | 'tell'
    readonly tiers: boolean
    readonly limit?: string
  }[]
}

export interface DescribedParts extends Omit<ProgramDescription, 'rate' | 'counters'> {
  readonly rate: Rate | undefined
  /** Why the rate is another one than the rule names. */
  readonly because?: string | undefined
  readonly counters: readonly Counter[]
}

/** `Program.description` of a program made of these. */
export function describeProgram({ rate, because, counters, ...parts }: DescribedParts): string {
  const { kind, service, unit, code, rules, buckets, afterRate, money } = parts
  const description: ProgramDescription = {
    ...{ kind, service, unit, code, rules, buckets, afterRate, money },
    ...(rate && {
      rate: {
        name: rate.name,
        price: describeRate(rate),
        terms: JSON.parse(JSON.stringify(rate.terms, digits)) as Record<string, unknown>,
        ...(because !== undefined && { because }),
      },
    }),
    counters: counters.map(({ name, unit: counted, per, then, tiers, limit }) => ({
      ...{ name, unit: counted, per, then, tiers },
      ...(limit !== undefined && { limit: String(limit) }),
    })),
  }
  return JSON.stringify(description)
}

const digits = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value)

/** Undefined when the text is no description of ours. */
export function readDescription(text: string): ProgramDescription | undefined {
  try {
    const description = JSON.parse(text) as Partial<ProgramDescription> | null
    return Array.isArray(description?.rules) ? (description as ProgramDescription) : undefined
  } catch {
    return undefined
  }
}

/** The rate as it was when the program was made; undefined without one. */
export function rateOf({ rate }: ProgramDescription): Rate | undefined {
  if (!rate) return undefined
  const outcome = compileRate(termsOf(rate.terms))
  return 'rate' in outcome ? outcome.rate : undefined
}

const amountKeys = new Set(['upTo', 'amount', 'per', 'step', 'first', 'setup', 'minimum'])

function termsOf(terms: Readonly<Record<string, unknown>>): RateTerms {
  const revived = JSON.parse(JSON.stringify(terms), (key, value: unknown) =>
    amountKeys.has(key) && typeof value === 'string' ? BigInt(value) : value,
  ) as RateTerms
  return {
    ...revived,
    cap: revived.cap,
    counter: revived.counter,
    tiers: revived.tiers.map(tier => ({ ...tier, upTo: tier.upTo })),
  }
}
