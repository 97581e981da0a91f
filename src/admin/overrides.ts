/**
 * Overrides and opt-ins as people write them, checked against the catalog in use: what it does not know, or what could not be
 * charged exactly, is refused here and never reaches an account.
 */
import { durationHint, formatDuration, formatSize, hintForSize, parseDuration, parseSize } from '../config/quantity.js'
import type { BucketUnit, Override, OverrideKind } from '../balance/types.js'
import type { Catalog, Counter, Rate } from '../rating/catalog.js'
import { formatMoney, parseMoney, type Micros, type Millis } from '../units.js'
import { Problem } from './problem.js'

export interface OverrideBody {
  readonly kind: OverrideKind
  readonly target: string
  readonly value: string
  readonly subscriber?: string
  readonly from?: string
  readonly until?: string
  readonly reason: string
  readonly actor?: string
}

/** What judging an override needs. */
export interface OverrideJudge {
  readonly tariff: () => Catalog
  /** Why a rate could not be charged exactly at this price; undefined when it can. */
  readonly priceProblem: (rate: string, price: Micros, currency: string) => string | undefined
  /** Of the account, and of money that is written. */
  readonly currency: string
  /** A local date or time of the catalog's time zone, ms. */
  readonly localTime: (text: string) => Millis | undefined
}

/** More would not stay exact in sums. */
const mostAmount = 2n ** 52n

/**
 * An override as it is stored.
 *
 * @throws Problem that says what to write instead
 */
export function readOverride(
  body: OverrideBody,
  id: string,
  actor: string,
  now: Millis,
  judge: OverrideJudge,
): Override {
  const { kind, target, value, subscriber, reason } = body
  const from = timeOf('from', body.from, judge)
  const until = timeOf('until', body.until, judge)
  if (until !== undefined && until <= now) throw invalid(`until: ${body.until!} is over`)
  if (from !== undefined && until !== undefined && until <= from) throw invalid('until is not after from')
  if (subscriber !== undefined && kind !== 'limit') {
    throw invalid(`subscriber: a ${kind} is of the whole account; only a limit can be of one subscriber`)
  }
  return {
    id,
    kind,
    target,
    value: valueOf(kind, target, value, subscriber, judge),
    ...(subscriber !== undefined && { subscriber }),
    ...(from !== undefined && { from }),
    ...(until !== undefined && { until }),
    reason,
    actor,
  }
}

function valueOf(
  kind: OverrideKind,
  target: string,
  value: string,
  subscriber: string | undefined,
  judge: OverrideJudge,
): string {
  const catalog = judge.tariff()
  switch (kind) {
    case 'price':
      return priceOf(known(catalog.rates, 'rate', target), value, judge)
    case 'rate': {
      const rate = known(catalog.rates, 'rate', target)
      const instead = known(catalog.rates, 'rate', value)
      if (instead === rate) throw invalid(`value: ${value} is the rate that it would replace`)
      if (instead.unit !== rate.unit) {
        throw invalid(
          `value: rate ${value} is for ${instead.unit}, rate ${target} for ${rate.unit}: name one for ${rate.unit}`,
        )
      }
      return value
    }
    case 'grant':
      return String(amountOf(known(catalog.buckets, 'bucket', target).unit, value, 'positive'))
    case 'life': {
      known(catalog.buckets, 'bucket', target)
      if (value === 'never') return value
      const life = parseDuration(value)
      if (life === undefined || life === 0)
        throw invalid(`value: ${shown(value)} is no duration; ${durationHint}, or never`)
      return String(life)
    }
    case 'limit': {
      const counter = known(catalog.counters, 'counter', target)
      if (counter.tiers && counter.limit === undefined) {
        throw invalid(
          `target: the tiers of a rate stand on counter ${target}; it has no limit. Add a counter with one to the catalog`,
        )
      }
      if (subscriber !== undefined) mustBeOfSubscribers(counter)
      return value === 'none' ? value : String(amountOf(counter.unit, value, 'zero'))
    }
  }
}

function priceOf(rate: Rate, value: string, judge: OverrideJudge): string {
  const { name, terms } = rate
  if (terms.unit === 'money')
    throw invalid(`target: rate ${name} is a percentage; override it by another rate (kind rate)`)
  if (terms.tiers.length !== 1) {
    throw invalid(`target: rate ${name} has ${terms.tiers.length} tiers; override it by another rate (kind rate)`)
  }
  const price = parseMoney(value)
  if (price === undefined || price < 0n) throw invalid(`value: ${shown(value)} is not an amount like 0.01`)
  const problem = judge.priceProblem(name, price, judge.currency)
  if (problem !== undefined) throw invalid(`value: at ${value}, ${problem}`)
  return String(price)
}

function amountOf(unit: BucketUnit, value: string, least: 'zero' | 'positive'): bigint {
  const amount = parsed(unit, value)
  if (amount === undefined) throw invalid(`value: ${shown(value)} is no amount of ${unit}; ${hintFor(unit, value)}`)
  if (amount === 0n && least === 'positive') throw invalid('value: must be more than 0')
  if (amount > mostAmount) throw invalid(`value: ${value} is more than can be counted`)
  return amount
}

function parsed(unit: BucketUnit, value: string): bigint | undefined {
  switch (unit) {
    case 'octets':
      return parseSize(value)
    case 'seconds': {
      const ms = parseDuration(value)
      return ms === undefined || ms % 1000 !== 0 ? undefined : BigInt(ms / 1000)
    }
    case 'money': {
      const amount = parseMoney(value)
      return amount === undefined || amount < 0n ? undefined : amount
    }
    case 'events':
    case 'units':
      return /^\d{1,15}$/.test(value) ? BigInt(value) : undefined
  }
}

function hintFor(unit: BucketUnit, value: string): string {
  switch (unit) {
    case 'octets':
      return hintForSize(value)
    case 'seconds':
      return 'write a time in whole seconds like 90s, 60m or 10h'
    case 'money':
      return 'write an amount like 5.00'
    case 'events':
    case 'units':
      return 'write a whole number'
  }
}

/** The value of an override as it may be written again. */
export function writtenValue({ kind, target, value }: Override, catalog: Catalog): string {
  if (!/^\d+$/.test(value)) return value
  switch (kind) {
    case 'price':
      return formatMoney(BigInt(value))
    case 'life':
      return formatDuration(Number(value))
    case 'grant':
      return writtenAmount(catalog.buckets.get(target)?.unit, BigInt(value))
    case 'limit':
      return writtenAmount(catalog.counters.get(target)?.unit, BigInt(value))
    case 'rate':
      return value
  }
}

/** @param unit undefined: the catalog no longer knows what it counts */
function writtenAmount(unit: BucketUnit | undefined, amount: bigint): string {
  switch (unit) {
    case 'octets':
      return formatSize(amount)
    case 'seconds':
      return formatDuration(Number(amount) * 1000)
    case 'money':
      return formatMoney(amount)
    default:
      return String(amount)
  }
}

/**
 * The counter that an account may opt out of.
 *
 * @throws Problem
 */
export function optInCounter(catalog: Catalog, name: string): Counter {
  const counter = known(catalog.counters, 'counter', name)
  if (!counter.optIn) {
    throw invalid(
      `counter: nobody may go on beyond the limit of ${name}; give it \`optIn: true\` in the catalog to allow that`,
    )
  }
  return counter
}

export function mustBeOfSubscribers({ name, per }: Counter): void {
  if (per === 'account') throw invalid(`subscriber: counter ${name} is of the whole account; leave the subscriber out`)
}

/**
 * A time as people write it: ISO 8601 with a zone, or a date or time of the catalog's time zone.
 *
 * @throws Problem
 */
export function timeOf(
  key: string,
  text: string | undefined,
  { tariff, localTime }: Pick<OverrideJudge, 'tariff' | 'localTime'>,
): Millis | undefined {
  if (text === undefined) return undefined
  const zoned = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/.test(text)
  const time = zoned ? Date.parse(text) : localTime(text)
  if (time === undefined || Number.isNaN(time)) {
    throw invalid(
      `${key}: ${shown(text)} is no time; write 2026-12-24 or 2026-12-24T18:00 (of ${tariff().timezone}), or with a zone like Z`,
    )
  }
  return time
}

function known<T>(all: ReadonlyMap<string, T>, what: string, name: string): T {
  const found = all.get(name)
  if (found !== undefined) return found
  const names = [...all.keys()]
  const has =
    names.length === 0
      ? `it has no ${what}s`
      : `it has ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`
  throw new Problem('unknown-target', `the catalog has no ${what} ${shown(name)}; ${has}`)
}

const invalid = (detail: string): Problem => new Problem('invalid-request', detail)
const shown = (text: string): string => JSON.stringify(text.slice(0, 70))
