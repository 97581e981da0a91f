/**
 * What `ocsd --check` tells: every fault and warning of the configuration and its catalog, and the cases beside the tariff that
 * fail, or that all is well. No daemon is needed: the cases are played on a store that lives only so long.
 */
import type { Logger } from 'pino'
import { Balance } from '../balance/balance.js'
import { Store } from '../balance/store.js'
import { systemClock } from '../clock.js'
import { Quotes } from '../charging/quote.js'
import type { ChargingConfig, Config } from '../config/config.js'
import { loadConfig } from '../config/load.js'
import { formatFault } from '../config/yaml.js'
import { loadCatalog } from '../rating/load.js'
import { startScratchStore } from '../store/scratch.js'
import { judgeCatalog, type Judgement } from './judge.js'

export interface CheckReport {
  /** False when the daemon would refuse to start. */
  readonly ok: boolean
  readonly lines: readonly string[]
}

export interface CheckOptions {
  readonly log: Logger
  readonly environment?: NodeJS.ProcessEnv
  /** What else a start would refuse, a line each. */
  readonly further?: (config: Config) => readonly string[]
  /** Starts the store that plays the cases; undefined where there is no redis-server. */
  readonly startStore?: typeof startScratchStore
}

const firstAnswerMs = 10_000

/**
 * Loads configuration and catalog as the daemon would, and changes nothing. What accounts hold of the catalog only a running daemon
 * can say: `ocsctl catalog check`.
 */
export async function checkConfiguration(file: string, options: CheckOptions): Promise<CheckReport> {
  const configured = loadConfig(file, options.environment ?? process.env)
  if ('faults' in configured)
    return { ok: false, lines: [...configured.faults.map(formatFault), faultCount(configured)] }
  const { config } = configured
  const further = options.further?.(config) ?? []
  if (further.length > 0) return { ok: false, lines: [...further, faultCount({ faults: further })] }
  const outcome = loadCatalog(config.catalog)
  const tests = 'catalog' in outcome ? outcome.catalog.tests.length : 0
  const judge = (quotes: Quotes | undefined): Promise<Judgement> => judgeCatalog(outcome, { quotes })
  let judgement: Judgement
  try {
    judgement = await (tests === 0 ? judge(undefined) : withQuotes(config.charging, options, judge))
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error)
    return { ok: false, lines: [`tests: ${tests} could not be run: ${what}`, 'the daemon would not start'] }
  }
  const warnings = judgement.warnings.map(each => `warning: ${each}`)
  if ('faults' in judgement) return { ok: false, lines: [...judgement.faults, ...warnings, faultCount(judgement)] }
  const { version, currency, services, rates, offers } = judgement.catalog
  const found = `${services.size} services, ${rates.size} rates, ${offers.size} offers, ${tests} tests`
  return { ok: true, lines: [...warnings, `ok: configuration, and catalog ${version} (${currency}): ${found}`] }
}

const faultCount = ({ faults }: { readonly faults: readonly unknown[] }): string =>
  faults.length === 1 ? '1 fault: the daemon would not start' : `${faults.length} faults: the daemon would not start`

/** Hands in what plays cases, on a store of its own. */
async function withQuotes<T>(
  config: ChargingConfig,
  { log, startStore = startScratchStore }: CheckOptions,
  work: (quotes: Quotes | undefined) => Promise<T>,
): Promise<T> {
  const scratch = await startStore()
  if (!scratch) return work(undefined)
  const clock = systemClock
  const store = new Store({
    config: { kind: 'embedded', durability: 'memory', partitions: 1 },
    address: { socket: scratch.socket },
    log,
    metrics: { call: () => undefined, error: () => undefined, retry: () => undefined, up: () => undefined },
    clock,
  })
  try {
    await store.open(firstAnswerMs)
    return await work(new Quotes(new Balance(store, 1, config, clock), config, clock))
  } finally {
    await store.close()
    await scratch.stop()
  }
}
