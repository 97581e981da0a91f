import type { Fault } from '../config/yaml.js'
import type { Counter } from './catalog.js'
import type { Draft } from './load-draft.js'
import type { DraftOffer } from './load-offers.js'
export function warnings(
  _draft: Draft,
  _offers: readonly DraftOffer[],
  _counters: ReadonlyMap<string, Counter>,
): Fault[] {
  return []
}
