/**
 * Prices of a catalog for accounts in other currencies (scope S48): by a dated table, and nothing else converts. Each amount of
 * money of a rate is converted once, and the rate is compiled from that: sums and rounding are those of any other rate.
 */
import { exactLimit, formatMoney, type Micros, type Millis, type Units } from '../units.js'
import type { Catalog, Counter, ExchangeRate, Grant, Rate, RateTerms } from './catalog.js'
import { compileRate, type RateOutcome, type RateProblem } from './price.js'

/** How prices become those of an account. */
export interface Exchange {
  readonly currency: string
  /** As ExchangeRate has it. */
  readonly rate: bigint
  /** `USD 0.92`: for the ledger. */
  readonly text: string
}

/** What holds in [since, until), ms. Neither `exchange` nor `missing`: the account has the catalog's currency. */
export interface ExchangeState {
  readonly exchange: Exchange | undefined
  /** Why nothing can be rated. */
  readonly missing: string | undefined
  readonly since: Millis
  readonly until: Millis
}

/** Decimals of an exchange rate. */
export const exchangeDecimals = 10
const one = 10n ** BigInt(exchangeDecimals)

const whole = 9

/** `0.92`, at most ten decimals. Undefined when the text is none. */
export function parseExchangeRate(text: string): bigint | undefined {
  const match = new RegExp(`^(\\d{1,${whole}})(?:\\.(\\d{1,${exchangeDecimals}}))?$`).exec(text)
  return match ? BigInt(match[1]! + (match[2] ?? '').padEnd(exchangeDecimals, '0')) : undefined
}

export const exchangeRatePattern = new RegExp(`^\\d{1,${whole}}(\\.\\d{1,${exchangeDecimals}})?$`)

/** `0.92`: at least two decimals. */
export function formatExchangeRate(rate: bigint): string {
  const fraction = (rate % one).toString().padStart(exchangeDecimals, '0')
  return `${rate / one}.${fraction.slice(0, 2)}${fraction.slice(2).replace(/0+$/, '')}`
}

export const exchangeOf = (currency: string, { rate }: Pick<ExchangeRate, 'rate'>): Exchange => ({
  ...{ currency, rate },
  text: `${currency} ${formatExchangeRate(rate)}`,
})

/** What applies to an account of a currency at a time. */
export function exchangeAt(catalog: Catalog, currency: string, at: Millis): ExchangeState {
  const [always, never] = [-Infinity, Infinity]
  if (currency === catalog.currency) return { exchange: undefined, missing: undefined, since: always, until: never }
  const none = `no exchange rate ${currency} at any time`
  const rates = catalog.exchange.get(currency)
  const [first] = rates ?? []
  if (!rates || !first) return { exchange: undefined, missing: none, since: always, until: never }
  let index = rates.length - 1
  while (index >= 0 && rates[index]!.from > at) index--
  const until = rates[index + 1]?.from ?? never
  const found = rates[index]
  if (found) return { exchange: exchangeOf(currency, found), missing: undefined, since: found.from, until }
  const missing = `${none} before ${new Date(first.from).toISOString()}`
  return { exchange: undefined, missing, since: always, until }
}

/** Whether accounts may be made in this currency. */
export const accepts = (catalog: Catalog, currency: string): boolean =>
  currency === catalog.currency || catalog.exchange.has(currency)

/** What is asked of an account: rounded up to a multiple of `unit` micros. */
const asked = (amount: bigint, { rate }: Exchange, unit = 1n): Micros => {
  const divisor = rate * unit
  return (((amount * one + divisor - 1n) / divisor) * unit) as Micros
}

/** A fee as an account in another currency pays it. */
export const askedOf = (amount: Micros, exchange: Exchange): Micros => asked(amount, exchange)

/** What an account gets, or is held to: rounded down. */
const given = <T extends bigint>(amount: T, { rate }: Exchange, unit = 1n): T =>
  (((amount * one) / (rate * unit)) * unit) as T

/** What an account in another currency gets, or is held to. */
export const givenOf = (amount: Micros, exchange: Exchange): Micros => given(amount, exchange)

/** A rate as an account in another currency pays it. */
export function exchangedRate({ terms }: Pick<Rate, 'terms'>, exchange: Exchange): RateOutcome {
  const converted = exchangedTerms(terms, exchange)
  const { minimum, setup, cap } = converted
  const large = (['setup', 'minimum', 'cap'] as const).find(
    key => ({ setup, minimum, cap: cap?.amount ?? 0n })[key] >= exactLimit,
  )
  if (large !== undefined) return tooLarge(large)
  return compileRate(converted)
}

const tooLarge = (key: RateProblem['key']): RateProblem => ({
  ...{ problem: `the ${key} reaches 2^53 micros`, hint: 'write a lower one', key },
})

/**
 * Setup, minimum and prices are rounded up, to the decimals that the rate is rounded to where it is said that they are; a cap is
 * rounded down, but not below what a session costs at least.
 *
 * *Ours:* the share of a value stays what it is, as value and cost are in one currency, and so do its steps; its tiers end at converted
 * values.
 */
function exchangedTerms(terms: RateTerms, exchange: Exchange): RateTerms {
  const unit = 10n ** BigInt(6 - terms.decimals)
  const setup = asked(terms.setup, exchange, unit)
  const minimum = asked(terms.minimum, exchange, unit)
  return {
    ...terms,
    ...{ setup, minimum },
    tiers: terms.unit === 'money' ? sharesOf(terms, exchange, unit) : pricesOf(terms, exchange, unit),
    cap: terms.cap && { ...terms.cap, amount: largest(given(terms.cap.amount, exchange, unit), setup, minimum) },
    first: terms.unit === 'money' ? asUnits(asked(terms.first, exchange, terms.step)) : terms.first,
  }
}

type Tiers = RateTerms['tiers']

/** A price may be dearer by so small a part of it to be exact where it must be. */
const exactShare = 1_000n

function pricesOf({ tiers, step, mode, counter }: RateTerms, exchange: Exchange, unit: bigint): Tiers {
  let from = 0n
  return tiers.map(({ upTo, amount, per }) => {
    const needs = (size: bigint): bigint => (per * unit) / gcd(size, per * unit)
    // What price.ts asks for: full graduated tiers, and on a counter steps, that cost whole rounding units.
    let multiple = counter === undefined ? 1n : needs(step)
    if (mode === 'graduated' && upTo !== undefined) {
      multiple = lcm(multiple, needs(upTo - from))
      from = upTo
    }
    const price = asked(amount, exchange)
    // A coarser one is left to the check, which says so.
    return { upTo, per, amount: multiple * exactShare <= price ? asked(amount, exchange, multiple) : price }
  })
}

function sharesOf({ tiers, step, mode }: RateTerms, exchange: Exchange, unit: bigint): Tiers {
  let from = 0n
  return tiers.map(({ upTo, amount, per }) => {
    if (upTo === undefined) return { upTo, amount, per }
    const even = mode === 'graduated' ? lcm((per * unit) / gcd(amount, per * unit), step) : step
    const end = from + ((given(upTo, exchange) - from) / even) * even
    if (mode === 'graduated') from = end
    return { upTo: end as Units, amount, per }
  })
}

/** A counter as it counts what such accounts are charged. */
export const exchangedCounter = (counter: Counter, exchange: Exchange): Counter =>
  counter.unit === 'money' && counter.limit !== undefined
    ? { ...counter, limit: given(counter.limit, exchange) }
    : counter

/** Where a counter of the catalog ends at a time for accounts of a currency; undefined: nowhere. */
export function limitIn(catalog: Catalog, name: string, currency: string, at: Millis): bigint | undefined {
  const counter = catalog.counters.get(name)
  const { exchange } = exchangeAt(catalog, currency, at)
  return (counter && exchange ? exchangedCounter(counter, exchange) : counter)?.limit
}

/** What is granted of money. */
export function exchangedGrant(grant: Grant, exchange: Exchange): Grant {
  const { amount, warn, rollover } = grant
  return {
    ...grant,
    amount: given(amount, exchange),
    warn: [...new Set(warn.map(level => given(level, exchange)))],
    rollover: rollover && { ...rollover, min: given(rollover.min, exchange), max: given(rollover.max, exchange) },
  }
}

/** Why an amount of money is none that can be counted once it is converted; undefined: it can. */
export function amountProblem(before: bigint, amount: bigint): string | undefined {
  if (amount >= exactLimit) return `${formatMoney(before)} becomes more than can be counted`
  return amount === 0n && before > 0n ? `${formatMoney(before)} becomes nothing` : undefined
}

const asUnits = (amount: bigint): Units => amount as Units

const largest = (...amounts: readonly Micros[]): Micros => amounts.reduce((most, each) => (each > most ? each : most))

const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b))

const lcm = (a: bigint, b: bigint): bigint => (a / gcd(a, b)) * b
