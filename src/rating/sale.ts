/** Whether an offer is sold to somebody at a time: its `sold` and `eligible`. */
import type { Millis } from '../units.js'
import type { Catalog } from './catalog.js'

/** Why it is not, in words; undefined: it is. The catalog must have the offer. */
export function whyNotSold(
  catalog: Catalog,
  offer: string,
  attributes: Readonly<Record<string, string>>,
  now: Millis,
): string | undefined {
  const { sold, eligible } = catalog.offers.get(offer)!
  if (sold.from !== undefined && now < sold.from) {
    return `offer ${offer} is sold from ${new Date(sold.from).toISOString()}`
  }
  if (sold.until !== undefined && now >= sold.until) {
    return `offer ${offer} was sold until ${new Date(sold.until).toISOString()}`
  }
  for (const [name, values] of eligible) {
    const has = attributes[name]
    if (has !== undefined && values.has(has)) continue
    const is = has === undefined ? 'it has none' : `it has ${has}`
    return `offer ${offer} is for accounts with attribute ${name} ${[...values].join(' or ')}; ${is}`
  }
  return undefined
}
