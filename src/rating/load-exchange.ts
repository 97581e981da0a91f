/** Exchange rates of the catalog: dates that ascend, and prices that stay exact once they are converted. */
import { currencyNumber } from '../currency.js'
import { fault, type Value } from '../config/yaml.js'
import type { Counter, ExchangeRate } from './catalog.js'
import type { ExchangeGroup } from './catalog-shape.js'
import {
  amountProblem,
  exchangedCounter,
  exchangedGrant,
  exchangedRate,
  exchangeOf,
  type Exchange,
} from './exchange.js'
import { instantOf } from './load-calendars.js'
import { definedOf, type Draft } from './load-draft.js'
import type { DraftOffer } from './load-offers.js'
import type { Item, Row } from './schema.js'

/** Whose amounts of money are converted. */
export interface Priced {
  readonly draft: Draft
  readonly counters: ReadonlyMap<string, Counter>
  readonly offers: readonly DraftOffer[]
}

export function readExchange(
  rows: readonly Row<Item<ExchangeGroup>[]>[],
  currency: string | undefined,
  priced: Priced,
): Map<string, readonly ExchangeRate[]> {
  const table = new Map<string, readonly ExchangeRate[]>()
  for (const { name, key, is } of rows) {
    checkCode(key, name, currency)
    table.set(name, readRates(is ?? [], name, priced))
  }
  return table
}

function checkCode(at: Value, code: string, own: string | undefined): void {
  if (code === own) fault(at, `${code} is the currency of the catalog itself`, 'remove it: it needs no exchange rate')
  else if (currencyNumber(code) === undefined) {
    const upper = code.toUpperCase()
    const hint = currencyNumber(upper) === undefined ? 'write its code of ISO 4217, like USD' : `write ${upper}`
    fault(at, `there is no currency \`${code}\``, hint)
  }
}

function readRates(items: readonly Item<ExchangeGroup>[], currency: string, priced: Priced): ExchangeRate[] {
  const rates: ExchangeRate[] = []
  for (const { is: group } of items) {
    const { at, is } = group
    const from = instantOf(at.from, is.from, priced.draft.timezone)
    if (from === undefined || is.rate === undefined) continue
    const before = rates.at(-1)
    if (before && from <= before.from)
      fault(at.from!, `${at.from!.path} is not after the one before`, 'write the rates in the order of their dates')
    if (is.rate === 0n) fault(at.rate!, `${at.rate!.path} is 0`, `write what 1 ${currency} is worth, like "0.92"`)
    else checkPrices(at.rate!, exchangeOf(currency, { rate: is.rate }), priced)
    rates.push({ from, rate: is.rate })
  }
  return rates
}

/** Tells the first rate, limit or grant that cannot be in this currency: others fail for the same reason. */
function checkPrices(at: Value, exchange: Exchange, priced: Priced): void {
  const problem = rateProblem(exchange, priced) ?? amountsProblem(exchange, priced)
  if (problem === undefined) return
  const hint = problem.hint === undefined ? 'check the exchange rate' : `${problem.hint}, or check the exchange rate`
  fault(at, `${at.path}: in ${exchange.currency} ${problem.what}`, hint)
}

interface PriceProblem {
  readonly what: string
  readonly hint?: string
}

function rateProblem(exchange: Exchange, { draft }: Priced): PriceProblem | undefined {
  for (const [name, rate] of definedOf(draft.rates)) {
    const outcome = exchangedRate(rate, exchange)
    if ('rate' in outcome) continue
    const { problem, hint, tier } = outcome
    // A step that makes one price exact would be a large one: converted prices are rounded to what a coarser step needs.
    const onCounter = tier !== undefined && rate.counter !== undefined
    return {
      what: `the rate \`${name}\` cannot be charged: ${problem}`,
      hint: onCounter ? 'use a larger step' : hint,
    }
  }
  return undefined
}

function amountsProblem(exchange: Exchange, { draft, counters, offers }: Priced): PriceProblem | undefined {
  const amounts: [what: string, before: bigint, after: bigint][] = []
  for (const counter of counters.values()) {
    const { name, unit, limit } = counter
    if (unit === 'money' && limit !== undefined)
      amounts.push([`the limit of the counter \`${name}\``, limit, exchangedCounter(counter, exchange).limit!])
  }
  for (const { offer } of offers)
    for (const grant of offer.grants) {
      if (draft.buckets.items.get(grant.bucket)?.unit !== 'money') continue
      const { amount, rollover } = exchangedGrant(grant, exchange)
      amounts.push([`the grant of \`${grant.bucket}\``, grant.amount, amount])
      if (rollover) amounts.push([`the rollover of \`${grant.bucket}\``, grant.rollover!.max, rollover.max])
    }
  for (const [what, before, after] of amounts) {
    const problem = amountProblem(before, after)
    if (problem !== undefined) return { what: `${what} ${problem}` }
  }
  return undefined
}
