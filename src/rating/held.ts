/**
 * What accounts hold that a new catalog lacks: removing it would leave their subscriptions without rules, and their buckets without
 * anybody who may draw on them.
 */
import type { Catalog } from './catalog.js'

/** How many subscriptions and buckets of each name all accounts have. */
export interface Held {
  readonly offers: ReadonlyMap<string, number>
  readonly buckets: ReadonlyMap<string, number>
}

/** A fault for each offer and bucket that is gone and still held, with how many hold it. */
export function missingHeld(catalog: Catalog, held: Held): string[] {
  const missing = (of: ReadonlyMap<string, number>, known: ReadonlyMap<string, unknown>): [string, number][] =>
    [...of].filter(([name]) => !known.has(name)).sort(([a], [b]) => (a < b ? -1 : 1))
  return [
    ...missing(held.offers, catalog.offers).map(
      ([name, n]) =>
        `offers.${name}: the catalog no longer has this offer, but ${n} ${n === 1 ? 'subscription has' : 'subscriptions have'} it; ` +
        'put it back, with `sold: { until: … }` to end its sale',
    ),
    ...missing(held.buckets, catalog.buckets).map(
      ([name, n]) =>
        `bucket ${name}: no offer of the catalog grants it any more, but accounts have ${n} of them; ` +
        'put a grant of it back until they have ended',
    ),
  ]
}
