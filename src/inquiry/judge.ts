/**
 * May this catalog be taken into use? Its own faults, the cases beside it, what accounts hold that it lacks; and what an operator
 * should look at before: warnings, and prices that jump (scope N3, N13).
 */
import type { Census } from '../balance/types.js'
import type { Quotes } from '../charging/quote.js'
import { runTariffTests } from '../charging/tariff-tests.js'
import { formatFault } from '../config/yaml.js'
import type { Catalog } from '../rating/catalog.js'
import { priceJumps } from '../rating/diff.js'
import { missingHeld } from '../rating/held.js'
import type { CatalogOutcome } from '../rating/load.js'

/** Percent; a price that changes by more is told. */
export const defaultJump = 20

export type Judgement =
  | { readonly catalog: Catalog; readonly warnings: readonly string[] }
  | { readonly faults: readonly string[]; readonly warnings: readonly string[] }

export interface Judges {
  /** Plays the cases; undefined: nothing here can, and a warning says so. */
  readonly quotes: Quotes | undefined
  /** What accounts hold; undefined: nobody knows here. */
  readonly census?: Census
  /** The catalog in use, and by how many percent a price may differ from it without being told. */
  readonly running?: { readonly catalog: Catalog; readonly jump: number }
}

/**
 * All that speaks against a catalog that was read, and all that an operator should know.
 *
 * @throws BalanceUnavailableError when the store that plays the cases does not answer
 */
export async function judgeCatalog(outcome: CatalogOutcome, { quotes, census, running }: Judges): Promise<Judgement> {
  const warnings = outcome.warnings.map(formatFault)
  if ('faults' in outcome) return { faults: outcome.faults.map(formatFault), warnings }
  const { catalog } = outcome
  const faults = census ? missingHeld(catalog, census) : []
  if (quotes) faults.push(...(await runTariffTests(catalog, quotes)).map(formatFault))
  else if (catalog.tests.length > 0)
    warnings.push(`tests: ${catalog.tests.length} not run, no redis-server here (install redis-server)`)
  if (running) warnings.push(...priceJumps(running.catalog, catalog, running.jump))
  return faults.length > 0 ? { faults, warnings } : { catalog, warnings }
}
