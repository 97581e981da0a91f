/**
 * All consumers of the journal that a daemon has by its configuration: the ledger's files, the states of accounts, and charging data
 * records where they are asked for.
 */
import type { Logger } from 'pino'
import type { Journal } from '../balance/journal.js'
import type { Leases } from '../balance/leases.js'
import type { Clock } from '../clock.js'
import type { CdrConfig, JournalConfig } from '../config/config.js'
import { cdrConsumer, cdrFormats, CdrWriter, type Manifest } from './cdr-files.js'
import { JournalConsumer, type ConsumerMetrics, type Sink } from './consumer.js'
import { StateWriter, type ReadLines } from './states.js'
import { LedgerWriter } from './writer.js'

/** Name in the store of whoever listens for automatic recharges. */
const fallingConsumer = 'falling'

export interface ConsumersOptions {
  readonly config: { readonly journal: JournalConfig; readonly cdr: CdrConfig }
  /** Origin-Host of the daemon, for the records. */
  readonly nodeId: string
  readonly journal: Journal
  readonly leases: Leases
  readonly accountLines: ReadLines
  /** Hears what falls, where automatic recharges can be made; undefined: nobody listens. */
  readonly falling: Sink | undefined
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: ConsumerMetrics
  readonly cdrMetrics: Omit<ConsumerMetrics, 'trimmed'> & { closed(manifest: Manifest): void }
}

export class Consumers {
  readonly ledger: LedgerWriter
  private readonly all: readonly { readonly key: string; readonly consumer: JournalConsumer }[]
  private readonly cdrs: readonly CdrWriter[]

  constructor(private readonly options: ConsumersOptions) {
    const { config, journal, leases, clock, log, metrics, cdrMetrics, nodeId, accountLines } = options
    const { keepMs, rotateOctets, directory, states } = config.journal
    // What leaves the stream, and fails, is counted in one place, whoever did it.
    const trimmed = (entries: number): void => metrics.trimmed(entries)
    const stateMetrics = { written: () => undefined, trimmed, writeError: () => metrics.writeError() }
    const common = { journal, leases, keepMs, clock, log }
    this.ledger = new LedgerWriter({ ...common, directory, rotateOctets, metrics })
    const state = new StateWriter({ ...common, directory: states, rotateOctets, accountLines, metrics: stateMetrics })
    const { formats, kinds, ...cdr } = config.cdr
    this.cdrs = formats.map(
      format =>
        new CdrWriter({
          ...{
            ...common,
            ...cdr,
            format,
            nodeId,
            kinds: new Set(kinds),
            metrics: {
              written: (...of) => cdrMetrics.written(...of),
              trimmed,
              writeError: () => cdrMetrics.writeError(),
            },
          },
          closed: manifest => cdrMetrics.closed(manifest),
        }),
    )
    const { falling } = options
    const others = falling
      ? [
          new JournalConsumer({
            ...{ ...common, name: fallingConsumer, what: 'automatic recharges', sink: falling, directory: 'the store' },
            metrics: stateMetrics,
          }),
        ]
      : []
    this.all = [
      { key: 'journal.directory', consumer: this.ledger },
      { key: 'journal.states', consumer: state },
      ...this.cdrs.map(consumer => ({ key: 'cdr.directory', consumer })),
      ...others.map(consumer => ({ key: 'payments', consumer })),
    ]
  }

  /**
   * Looks at what earlier runs left, and forgets consumers that are switched off: they would keep every entry in the store.
   *
   * @throws Error that names the key of the configuration whose folder cannot be used
   */
  async open(): Promise<void> {
    for (const { key, consumer } of this.all) {
      await consumer.open().catch((error: unknown) => {
        throw new Error(`${key}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
      })
    }
    const { journal, log, config } = this.options
    const known = await journal.consumers()
    if (!this.options.falling && known.has(fallingConsumer)) await journal.forget(fallingConsumer)
    for (const format of cdrFormats) {
      const name = cdrConsumer(format)
      if (config.cdr.formats.includes(format) || !known.has(name)) continue
      await journal.forget(name)
      log.warn(
        { event: 'cdr_forgotten', format },
        `charging data records as ${format} were written before and are switched off now: entries no longer wait for them, and switched on again they begin with what is in the store then`,
      )
    }
  }

  start(): void {
    for (const { consumer } of this.all) consumer.start()
  }

  /** An entry was appended to this partition. */
  hint(partition: number): void {
    for (const { consumer } of this.all) consumer.hint(partition)
  }

  /** Entries that wait in the store for charging data records, about. */
  get cdrBacklog(): number {
    return Math.max(0, ...this.cdrs.map(({ backlog }) => backlog.entries))
  }

  async stop(): Promise<void> {
    await Promise.all(this.all.map(({ consumer }) => consumer.stop()))
  }
}
