/**
 * The ledger's first consumer: writes every journal entry to the ledger's files (design: ledger), then lets it leave the stream.
 *
 * Order is everything: octets to the file, fdatasync, then the position. Killed in between, the next start finds in its own
 * files what was written and reads on from there. A write or an fsync that failed is never tried again on the same file: it is
 * cut back to what is known to be safe, and a new one is filled from the stream, which still has it. Charging never waits for
 * any of this.
 */
import { join } from 'node:path'
import type { Logger } from 'pino'
import { isAfter, streamStart, type Journal, type Lag } from '../balance/journal.js'
import type { LeaseListener, Leases } from '../balance/leases.js'
import type { Clock, Timer } from '../clock.js'
import type { Millis } from '../units.js'
import { fileName, lastIdsOf, prepareFolder, systemFiles, type LedgerFile, type LedgerFiles } from './files.js'

/** What is counted; telemetry implements it. */
export interface LedgerMetrics {
  /** So many entries are in a file and fsynced; Unix ms. */
  written(entries: number, octets: number, now: Millis): void
  /** So many left the stream. */
  trimmed(entries: number): void
  /** A write or an fsync failed. */
  writeError(): void
}

export interface LedgerWriterOptions {
  /** On a connection for work in the background. */
  readonly journal: Journal
  /** The partitions to read. */
  readonly leases: Pick<Leases, 'owned' | 'listen'>
  /** Folder of this daemon alone. */
  readonly directory: string
  readonly rotateOctets: number
  /** Entries stay in the stream this long at least. */
  readonly keepMs: number
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: LedgerMetrics
  readonly files?: LedgerFiles
  /** After a hint, so that many entries share one fdatasync; default 50 ms. */
  readonly gatherMs?: number
  /** Between two looks at all partitions, default 3 s. */
  readonly slowMs?: number
  /** Between two acknowledgements, default 1 s. What is not acknowledged is found in the files at the next start. */
  readonly acknowledgeMs?: number
  /** One write and fdatasync for about so many octets at most, default 1 MiB. */
  readonly flushOctets?: number
}

/** Name of this consumer in the store. */
export const ledgerConsumer = 'ledger'

const unacknowledgedMost = 8 << 20 // octets written ahead of the positions in the store
const tailOctets = 4 * unacknowledgedMost // so these are surely among the last so many
const logEveryMs = 60_000
const backOffMs = { first: 500, most: 30_000 }

export class LedgerWriter implements LeaseListener {
  /** Entries that wait in the store, about, and how far behind the oldest is, ms; found in the slow round. */
  backlog: Lag = { entries: 0, ms: 0 }
  private readonly files: LedgerFiles
  private readonly gatherMs: number
  private readonly slowMs: number
  private readonly acknowledgeMs: number
  private readonly flushOctets: number
  private readonly started: Date
  private readonly heads: readonly string[]
  /** Up to where each partition is fsynced in files, ours or (at a lease's begin) another's. */
  private readonly positions = new Map<number, string>()
  /** Partitions whose position was read since their lease began. */
  private readonly known = new Set<number>()
  private readonly hinted = new Set<number>()
  private readonly unacknowledged = new Set<number>()
  private readonly trimmable = new Set<number>()
  private file: { readonly handle: LedgerFile; readonly path: string; size: number } | undefined
  private fileNumber = 0
  private ahead = 0 // octets written since the last acknowledgement
  private acknowledgedAt = 0
  private trimmedAt = 0
  private failures = 0
  private blockedUntil = 0
  private saidAt: number | undefined
  private queue: Promise<unknown> = Promise.resolve()
  private working = false
  private gathering: Timer | undefined
  private slow: Timer | undefined
  private stopped = false

  constructor(private readonly options: LedgerWriterOptions) {
    this.files = options.files ?? systemFiles
    this.gatherMs = options.gatherMs ?? 50
    this.slowMs = options.slowMs ?? 3000
    this.acknowledgeMs = options.acknowledgeMs ?? 1000
    this.flushOctets = options.flushOctets ?? 1 << 20
    this.started = new Date(options.clock.now())
    this.heads = Array.from({ length: options.journal.partitions }, (_, p) => `{"partition":${p},"id":"`)
    options.leases.listen(this)
  }

  /**
   * Looks at what earlier runs left in the folder: cuts torn lines, notes what is written.
   *
   * @throws the system's error when the folder cannot be made, read or written
   */
  async open(): Promise<void> {
    const { directory } = this.options
    await prepareFolder(directory)
    for (const [partition, id] of await lastIdsOf(directory, tailOctets)) this.positions.set(partition, id)
  }

  /** Begins to read by itself. */
  start(): void {
    this.slowRound()
  }

  /** An entry was appended to this partition: it is read soon. */
  hint(partition: number): void {
    this.hinted.add(partition)
    if (this.gathering === undefined && !this.working) this.gather()
  }

  /**
   * Everything of all owned partitions to the disk, positions stored. Stops early when the disk or the store fails, or at `deadline`
   * (monotonic ms).
   */
  flush(deadline = Infinity): Promise<void> {
    return this.inTurn(async () => {
      let partitions: Iterable<number> = [...this.options.leases.owned]
      for (;;) {
        const behind = await this.copy(partitions)
        if (behind.size === 0 || this.options.clock.monotonic() >= deadline) break
        partitions = behind
      }
      await this.acknowledge()
    })
  }

  /** Reads until nothing is left or `patienceMs` is over, then closes the file. */
  async stop(patienceMs = 5000): Promise<void> {
    this.stopped = true
    this.gathering?.cancel()
    this.slow?.cancel()
    try {
      await this.flush(this.options.clock.monotonic() + patienceMs)
    } catch (error) {
      this.say(error, 'the rest stays in the store and is written after the next start')
    }
    await this.inTurn(() => this.closeFile())
  }

  gained(): void {
    if (this.slow !== undefined) this.slowRound()
  }

  /** The next owner goes on from our position. */
  async releasing(): Promise<void> {
    await this.inTurn(() => this.acknowledge()).catch(() => undefined) // costs it a repeat, no more
  }

  lost(partitions: readonly number[]): void {
    for (const partition of partitions) {
      this.known.delete(partition)
      this.unacknowledged.delete(partition)
      this.trimmable.delete(partition)
    }
  }

  /** Everything that touches the file or a position, one after the other. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.queue.then(work)
    this.queue = done.catch(() => undefined)
    return done
  }

  private gather(): void {
    if (this.stopped) return
    const { clock } = this.options
    this.gathering = clock.setTimeout(
      () => {
        this.gathering = undefined
        void this.work([...this.hinted])
      },
      Math.max(this.gatherMs, this.blockedUntil - clock.monotonic()),
    )
  }

  private slowRound(): void {
    this.slow?.cancel()
    if (this.stopped) return
    const { clock, leases } = this.options
    this.slow = clock.setTimeout(() => this.slowRound(), this.slowMs)
    if (clock.monotonic() >= this.blockedUntil) void this.work([...leases.owned], true)
    else void this.measure()
  }

  private async work(partitions: readonly number[], all = false): Promise<void> {
    this.working = true
    try {
      await this.inTurn(async () => {
        for (const partition of partitions) this.hinted.delete(partition)
        const owned = partitions.filter(partition => this.options.leases.owned.has(partition))
        for (const partition of await this.copy(owned)) this.hinted.add(partition)
        await this.acknowledgeWhenDue()
        if (all) await this.trimWhenDue()
      })
      if (all) await this.measure()
    } catch (error) {
      for (const partition of partitions) this.hinted.add(partition)
      this.blocked(error)
    } finally {
      this.working = false
      if (this.hinted.size > 0 && this.gathering === undefined) this.gather()
    }
  }

  /** Copies what is new; gives the partitions that have more. */
  private async copy(partitions: Iterable<number>): Promise<Set<number>> {
    const { journal, metrics, clock } = this.options
    if (this.ahead >= unacknowledgedMost) await this.acknowledge() // or the tail that a start looks at grows too long
    const list = [...partitions]
    await this.learn(list.filter(partition => !this.known.has(partition)))
    const behind = new Set<number>()
    let text = ''
    let entries = 0
    let next = new Map<number, string>()
    const commit = async (): Promise<void> => {
      if (entries === 0) return
      const [octets, count, reached] = [Buffer.from(text), entries, next]
      text = ''
      entries = 0
      next = new Map()
      await this.append(octets)
      for (const [partition, id] of reached) {
        this.positions.set(partition, id)
        this.unacknowledged.add(partition)
      }
      metrics.written(count, octets.length, clock.now())
    }
    try {
      for await (const slices of journal.read(list.map(p => [p, this.positions.get(p) ?? streamStart]))) {
        for (const { partition, entries: fresh, more } of slices) {
          const head = this.heads[partition]!
          for (const entry of fresh) text += `${head}${entry.id}",${entry.text.slice(1)}\n`
          entries += fresh.length
          next.set(partition, fresh.at(-1)!.id)
          if (more) behind.add(partition)
          if (text.length >= this.flushOctets) await commit()
        }
      }
    } finally {
      await commit() // what was read before the store failed, too
    }
    this.failures = 0
    return behind
  }

  /** Where to go on in partitions that are new to us: the furthest of what the store knows and what is in our files. */
  private async learn(partitions: readonly number[]): Promise<void> {
    if (partitions.length === 0) return
    for (const [partition, stored] of await this.options.journal.register(ledgerConsumer, partitions)) {
      const own = this.positions.get(partition)
      if (own === undefined || isAfter(stored, own)) this.positions.set(partition, stored)
      else if (own !== stored) this.unacknowledged.add(partition)
      this.known.add(partition)
      this.trimmable.add(partition)
    }
  }

  /** To the file, and on the disk when it resolves. What failed leaves nothing behind in the file that counts. */
  private async append(octets: Buffer): Promise<void> {
    const { directory, metrics, rotateOctets } = this.options
    let where: 'write' | 'sync' = 'write'
    try {
      if (!this.file) {
        const path = join(directory, fileName(this.started, ++this.fileNumber))
        this.file = { handle: await this.files.create(path), path, size: 0 }
      }
      await this.file.handle.write(octets, this.file.size)
      where = 'sync'
      await this.file.handle.sync()
    } catch (error) {
      metrics.writeError()
      await this.abandonFile()
      throw new WriteError(where, directory, { cause: error })
    }
    this.file.size += octets.length
    this.ahead += octets.length
    if (this.file.size >= rotateOctets) await this.closeFile()
  }

  private async closeFile(): Promise<void> {
    const file = this.file
    this.file = undefined
    await file?.handle.close()
  }

  /** Cut back to what is safe. Even that may fail: readers know a torn last line, and an entry that comes twice. */
  private async abandonFile(): Promise<void> {
    const file = this.file
    this.file = undefined
    if (!file) return
    await file.handle.truncate(file.size).catch(() => undefined)
    await file.handle.close().catch(() => undefined)
    if (file.size === 0) await this.files.remove(file.path).catch(() => undefined)
  }

  private async acknowledgeWhenDue(): Promise<void> {
    const due = this.acknowledgedAt + this.acknowledgeMs <= this.options.clock.monotonic()
    if (due || this.ahead >= unacknowledgedMost) await this.acknowledge()
  }

  private async acknowledge(): Promise<void> {
    const partitions = [...this.unacknowledged]
    if (partitions.length > 0) {
      await this.options.journal.acknowledge(
        ledgerConsumer,
        new Map(partitions.map(partition => [partition, this.positions.get(partition)!])),
      )
    }
    for (const partition of partitions) {
      this.unacknowledged.delete(partition)
      this.trimmable.add(partition)
    }
    this.ahead = 0
    this.acknowledgedAt = this.options.clock.monotonic()
  }

  /** Trims now what every consumer has and is old enough; gives how many entries went. */
  trim(): Promise<number> {
    return this.inTurn(async () => {
      const { journal, keepMs, clock, metrics } = this.options
      const partitions = [...this.trimmable]
      const { removed, young } = await journal.trim(partitions, keepMs)
      for (const partition of partitions) this.trimmable.delete(partition)
      for (const partition of young) this.trimmable.add(partition)
      this.trimmedAt = clock.monotonic()
      metrics.trimmed(removed)
      return removed
    })
  }

  private async trimWhenDue(): Promise<void> {
    const { clock, keepMs } = this.options
    const every = Math.min(30_000, Math.max(1000, keepMs / 10))
    // Not awaited: it takes its own turn after this one.
    if (this.trimmedAt + every <= clock.monotonic()) void this.trim().catch((error: unknown) => this.blocked(error))
    await Promise.resolve()
  }

  private async measure(): Promise<void> {
    const { journal, leases } = this.options
    const behind = [...(this.failures > 0 ? leases.owned : this.hinted)].filter(p => leases.owned.has(p))
    this.backlog = await journal
      .lag(new Map(behind.map(partition => [partition, this.positions.get(partition) ?? streamStart])))
      .catch(() => this.backlog)
  }

  /** Waits longer after each failure; entries wait in the stream. */
  private blocked(error: unknown): void {
    const { clock } = this.options
    this.failures++
    this.blockedUntil =
      clock.monotonic() + Math.min(backOffMs.most, backOffMs.first * 2 ** Math.min(10, this.failures - 1))
    this.say(error, 'charging goes on, entries wait in the store')
  }

  private say(error: unknown, consequence: string): void {
    const { clock, log, directory } = this.options
    const now = clock.monotonic()
    if (this.saidAt !== undefined && now < this.saidAt + logEveryMs) return
    this.saidAt = now
    const text = error instanceof Error ? error.message : String(error)
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : ''
    log.error({ event: 'ledger_error', directory }, `the ledger is not written (${text}${cause}); ${consequence}`)
  }
}

class WriteError extends Error {
  constructor(where: 'write' | 'sync', directory: string, options: ErrorOptions) {
    super(`${where === 'write' ? 'writing to' : 'fsync in'} ${directory} failed`, options)
  }
}
