/** What `ocsd --check` tells: every fault and warning of the configuration and its catalog, or that both are well. */
import { loadConfig } from '../config/load.js'
import { formatFault } from '../config/yaml.js'
import { loadCatalog } from './load.js'

export interface CheckReport {
  /** False when the daemon would refuse to start. */
  readonly ok: boolean
  readonly lines: readonly string[]
}

/** Loads configuration and catalog as the daemon would, and changes nothing. */
export function checkConfiguration(file: string, environment = process.env): CheckReport {
  const configured = loadConfig(file, environment)
  if ('faults' in configured)
    return { ok: false, lines: [...configured.faults.map(formatFault), faultCount(configured)] }
  const outcome = loadCatalog(configured.config.catalog)
  const warnings = outcome.warnings.map(each => `warning: ${formatFault(each)}`)
  if ('faults' in outcome)
    return { ok: false, lines: [...outcome.faults.map(formatFault), ...warnings, faultCount(outcome)] }
  const { version, currency, services, rates, offers } = outcome.catalog
  const found = `${services.size} services, ${rates.size} rates, ${offers.size} offers`
  return { ok: true, lines: [...warnings, `ok: configuration, and catalog ${version} (${currency}): ${found}`] }
}

const faultCount = ({ faults }: { readonly faults: readonly unknown[] }): string =>
  faults.length === 1 ? '1 fault: the daemon would not start' : `${faults.length} faults: the daemon would not start`
