/**
 * Where falling money is told of: `thresholds` and `lowBalance` of the catalog, for accounts of one currency.
 */
import type { Millis } from '../units.js'
import type { Catalog } from './catalog.js'
import { exchangeAt, givenOf } from './exchange.js'

/**
 * Micros of the currency, and percents of the last recharge. Amounts of `thresholds` are converted where the account has another
 * currency; those of `lowBalance` are what gateways are told by, and stand as they are.
 */
export function moneyLevels(
  catalog: Catalog,
  currency: string,
  at: Millis,
): { readonly amounts: readonly number[]; readonly percents: readonly number[] } {
  const { thresholds, lowBalance } = catalog
  const { exchange, missing } = exchangeAt(catalog, currency, at)
  const amounts =
    missing === undefined ? thresholds.amounts.map(each => (exchange ? givenOf(each, exchange) : each)) : []
  return { amounts: [...amounts, ...lowBalance].map(Number), percents: thresholds.percents }
}
