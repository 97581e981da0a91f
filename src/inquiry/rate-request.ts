/** Usage as people describe it, read against a catalog: units as they write them, times as its time zone shows them. */
import type { QuotedAccount, QuotedUse } from '../charging/quote.js'
import { durationHint, hintForSize, parseDuration, parseSize } from '../config/quantity.js'
import { meant } from '../config/yaml.js'
import { localInstant } from '../rating/calendar.js'
import { ratTypes, type Catalog } from '../rating/catalog.js'
import { accepts } from '../rating/exchange.js'
import { formatAmount, lineLimit, micros, parseMoney, type Millis, type UnitType } from '../units.js'

/** As it is written; `amount` with its unit: 5MB, 90s, 3, 12.50. */
export interface UseWords {
  readonly service: string
  readonly amount: string
  readonly at?: string | undefined
  /** Volume is used evenly over so long. */
  readonly over?: string | undefined
  readonly ratingGroup?: number | undefined
  readonly serviceIdentifiers?: readonly number[] | undefined
  readonly plmn?: string | undefined
  readonly called?: string | undefined
  readonly apn?: string | undefined
  /** Name or number. */
  readonly rat?: string | undefined
}

/** An account that is only described. */
export interface AccountWords {
  readonly offers: readonly string[]
  /** Default: the catalog's. */
  readonly currency?: string | undefined
  /** Default 100.00. */
  readonly balance?: string | undefined
  readonly creditLimit?: string | undefined
  readonly attributes?: Readonly<Record<string, string>> | undefined
  readonly subscriberAttributes?: Readonly<Record<string, string>> | undefined
}

/** What is wrong with a request, and what to write instead. */
export class RequestProblem extends Error {
  override readonly name = 'RequestProblem'
}

const defaultBalance = '100.00'

/** @throws RequestProblem */
export function readUse(catalog: Catalog, words: UseWords, now: Millis): QuotedUse {
  const service = catalog.services.get(words.service)
  if (!service) throw unknown('service', words.service, catalog.services.keys())
  const { unit } = service
  const at = words.at === undefined ? now : readTime(words.at, catalog.timezone)
  if (at === undefined)
    throw new RequestProblem(
      `at: \`${words.at!}\` is not a time; write 2026-12-24, 2026-12-24T18:00 (${catalog.timezone}) or 2026-12-24T17:00Z`,
    )
  const { plmn, called, apn, rat } = words
  if (plmn !== undefined && !/^\d{5,6}$/.test(plmn))
    throw new RequestProblem(`plmn: \`${plmn}\` is not MCC and MNC; write five or six digits like 26201`)
  const number = called?.replace(/^\+/, '')
  if (number !== undefined && !/^\d{1,32}$/.test(number))
    throw new RequestProblem(`called: \`${called!}\` is not a number; write its digits, like 4930123456`)
  return {
    service: service.name,
    ratingGroup: words.ratingGroup,
    serviceIdentifiers: words.serviceIdentifiers ?? [],
    amount: readAmount(unit, words.amount),
    at,
    over: readOver(unit, words.over),
    facts: { plmn, called: number, apn, rat: rat === undefined ? undefined : readRat(rat), direction: undefined },
  }
}

/** @throws RequestProblem */
export function readAccount(catalog: Catalog, words: AccountWords): QuotedAccount {
  for (const offer of words.offers) if (!catalog.offers.has(offer)) throw unknown('offer', offer, catalog.offers.keys())
  const money = (key: string, text: string): ReturnType<typeof micros> => {
    const amount = parseMoney(text)
    if (amount === undefined || amount < 0n)
      throw new RequestProblem(`${key}: \`${text}\` is not an amount of money; write it like 5.00`)
    return amount
  }
  const { currency = catalog.currency } = words
  if (!accepts(catalog, currency)) {
    const known = [catalog.currency, ...catalog.exchange.keys()]
    throw new RequestProblem(`currency: the catalog has no exchange rate \`${currency}\`; known: ${known.join(', ')}`)
  }
  return {
    offers: words.offers,
    currency,
    balance: money('balance', words.balance ?? defaultBalance),
    creditLimit: money('creditLimit', words.creditLimit ?? '0.00'),
    attributes: new Map(Object.entries(words.attributes ?? {})),
    subscriberAttributes: new Map(Object.entries(words.subscriberAttributes ?? {})),
    buckets: new Map(),
    counters: new Map(),
  }
}

const zoned = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/

/** A date or time as this zone shows it, or with a zone of its own; undefined when it is none. */
export function readTime(text: string, timezone: string): Millis | undefined {
  if (!zoned.test(text)) return localInstant(text, timezone)
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : at
}

function unknown(kind: string, name: string, known: Iterable<string>): RequestProblem {
  const names = [...known]
  const hint = meant(name, names) ?? `known: ${names.slice(0, 12).join(', ')}`
  return new RequestProblem(`${kind}: the catalog has no ${kind} \`${name}\`; ${hint}`)
}

const examples: Record<UnitType, (text: string) => string> = {
  octets: hintForSize,
  seconds: text => (/^\d+$/.test(text) ? `write ${text}s` : durationHint),
  events: () => 'write a whole number, like 3',
  money: () => 'write a decimal, like 12.50',
}

function readAmount(unit: UnitType, text: string): bigint {
  const amount = parseAmount(unit, text)
  if (amount === undefined)
    throw new RequestProblem(`amount: \`${text}\` is not an amount of ${unit}; ${examples[unit](text)}`)
  if (amount <= 0n) throw new RequestProblem(`amount: \`${text}\` is nothing; ${examples[unit](text)}`)
  if (amount > lineLimit[unit])
    throw new RequestProblem(
      `amount: \`${text}\` is above the ${formatAmount(unit, lineLimit[unit])} that one line may carry`,
    )
  return amount
}

function parseAmount(unit: UnitType, text: string): bigint | undefined {
  switch (unit) {
    case 'octets':
      return parseSize(text)
    case 'seconds': {
      const ms = parseDuration(text)
      return ms === undefined || ms % 1_000 !== 0 ? undefined : BigInt(ms / 1_000)
    }
    case 'events':
      return /^\d{1,15}$/.test(text) ? BigInt(text) : undefined
    case 'money':
      return parseMoney(text)
  }
}

function readOver(unit: UnitType, text: string | undefined): Millis {
  if (text === undefined) return 0
  if (unit !== 'octets') throw new RequestProblem('over: it is for volume only; leave it out')
  const ms = parseDuration(text)
  if (ms === undefined) throw new RequestProblem(`over: \`${text}\` is not a duration; ${durationHint}`)
  return ms
}

function readRat(text: string): string {
  if (/^\d{1,3}$/.test(text) && Number(text) <= 255) return String(Number(text))
  const found = Object.entries(ratTypes).find(([, name]) => name === text.toLowerCase())
  if (found) return found[0]
  throw new RequestProblem(
    `rat: there is no radio technology \`${text}\`; write its number, or one of ${Object.values(ratTypes).join(', ')}`,
  )
}
