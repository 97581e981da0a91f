/**
 * What every consumer of the journal does (design: ledger): reads the partitions that this daemon has leases for, hands their entries
 * to a sink that makes them safe, and then stores how far it is, so that they may leave the stream.
 *
 * Order is everything: octets to the file, fdatasync, then the position. Killed in between, the next start finds in its own
 * files what was written and reads on from there. What a sink could not make safe is not tried again on the same file: the sink
 * cuts back to what is known to be safe, and a new one is filled from the stream, which still has it. Charging never waits for
 * any of this.
 */
import type { Logger } from 'pino'
import { isAfter, streamStart, type Journal, type Lag } from '../balance/journal.js'
import type { LeaseListener, Leases } from '../balance/leases.js'
import type { Clock, Timer } from '../clock.js'
import type { Millis } from '../units.js'

/** What is counted; telemetry implements it. */
export interface ConsumerMetrics {
  /** So many entries are in a file and fsynced; Unix ms. */
  written(entries: number, octets: number, now: Millis): void
  /** So many left the stream. */
  trimmed(entries: number): void
  /** A write or an fsync failed. */
  writeError(): void
}

/** An entry with its place in the journal. */
export interface PlacedEntry {
  readonly partition: number
  readonly id: string
  readonly text: string
}

/** Where entries go. Calls come one after the other. */
export interface Sink {
  /** Looks at what earlier runs left, and mends it; gives the last id of each partition that is surely written there. */
  open(): Promise<ReadonlyMap<number, string>>
  /**
   * All of them, in this order, on the disk when it resolves. What failed leaves nothing behind that counts.
   *
   * @returns octets written
   */
  write(entries: readonly PlacedEntry[]): Promise<number>
  /** Now and then, also when there is nothing to write. */
  look?(): Promise<void>
  close(): Promise<void>
}

/** A sink could not make entries safe: they stay in the stream. */
export class WriteError extends Error {
  constructor(where: 'write' | 'sync', directory: string, options: ErrorOptions) {
    super(`${where === 'write' ? 'writing to' : 'fsync in'} ${directory} failed`, options)
  }
}

export interface ConsumerOptions {
  /** Of this consumer in the store. */
  readonly name: string
  /** What it writes, for the log: `the ledger`. */
  readonly what: string
  /** On a connection for work in the background. */
  readonly journal: Journal
  /** The partitions to read. */
  readonly leases: Pick<Leases, 'owned' | 'listen'>
  readonly sink: Sink
  /** Folder of this daemon alone. */
  readonly directory: string
  /** Entries stay in the stream this long at least. */
  readonly keepMs: number
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: ConsumerMetrics
  /** After a hint, so that many entries share one fdatasync; default 50 ms. */
  readonly gatherMs?: number
  /** Between two looks at all partitions, default 3 s. */
  readonly slowMs?: number
  /** Between two acknowledgements, default 1 s. What is not acknowledged is found in the files at the next start. */
  readonly acknowledgeMs?: number
  /** One write and fdatasync for about so many octets at most, default 1 MiB. */
  readonly flushOctets?: number
}

/** Octets written ahead of the positions in the store, at most: these are surely among the last `tailOctets` of the files. */
const unacknowledgedMost = 8 << 20
export const tailOctets = 4 * unacknowledgedMost
const logEveryMs = 60_000
const backOffMs = { first: 500, most: 30_000 }

export class JournalConsumer implements LeaseListener {
  /** Entries that wait in the store, about, and how far behind the oldest is, ms; found in the slow round. */
  backlog: Lag = { entries: 0, ms: 0 }
  private readonly gatherMs: number
  private readonly slowMs: number
  private readonly acknowledgeMs: number
  private readonly flushOctets: number
  /** Up to where each partition is fsynced in files, ours or (at a lease's begin) another's. */
  private readonly positions = new Map<number, string>()
  /** Partitions whose position was read since their lease began. */
  private readonly known = new Set<number>()
  private readonly hinted = new Set<number>()
  /** On their way to another daemon: not read any more, so that it finds all of our files acknowledged. */
  private readonly leaving = new Set<number>()
  private readonly unacknowledged = new Set<number>()
  private readonly trimmable = new Set<number>()
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

  constructor(private readonly options: ConsumerOptions) {
    this.gatherMs = options.gatherMs ?? 50
    this.slowMs = options.slowMs ?? 3000
    this.acknowledgeMs = options.acknowledgeMs ?? 1000
    this.flushOctets = options.flushOctets ?? 1 << 20
    options.leases.listen(this)
  }

  /**
   * Looks at what earlier runs left in the folder: cuts torn lines, notes what is written.
   *
   * @throws the system's error when the folder cannot be made, read or written
   */
  async open(): Promise<void> {
    for (const [partition, id] of await this.options.sink.open()) this.positions.set(partition, id)
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
      let partitions: Iterable<number> = [...this.options.leases.owned].filter(each => !this.leaving.has(each))
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
    await this.inTurn(() => this.options.sink.close())
  }

  gained(): void {
    if (this.slow !== undefined) this.slowRound()
  }

  /** The next owner goes on from our position. */
  async releasing(partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) this.leaving.add(partition)
    await this.inTurn(() => this.acknowledge()).catch(() => undefined) // costs it a repeat, no more
  }

  lost(partitions: readonly number[]): void {
    for (const partition of partitions) {
      this.known.delete(partition)
      this.leaving.delete(partition)
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
        const owned = partitions.filter(
          partition => this.options.leases.owned.has(partition) && !this.leaving.has(partition),
        )
        for (const partition of await this.copy(owned)) this.hinted.add(partition)
        await this.acknowledgeWhenDue()
        if (all) await this.options.sink.look?.()
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
    const { journal, metrics, clock, sink } = this.options
    if (this.ahead >= unacknowledgedMost) await this.acknowledge() // or the tail that a start looks at grows too long
    const list = [...partitions]
    await this.learn(list.filter(partition => !this.known.has(partition)))
    const behind = new Set<number>()
    let batch: PlacedEntry[] = []
    let size = 0
    let next = new Map<number, string>()
    const commit = async (): Promise<void> => {
      if (batch.length === 0) return
      const [entries, reached] = [batch, next]
      batch = []
      size = 0
      next = new Map()
      const octets = await sink.write(entries).catch((error: unknown) => {
        metrics.writeError()
        throw error
      })
      this.ahead += octets
      for (const [partition, id] of reached) {
        this.positions.set(partition, id)
        this.unacknowledged.add(partition)
      }
      metrics.written(entries.length, octets, clock.now())
    }
    try {
      for await (const slices of journal.read(list.map(p => [p, this.positions.get(p) ?? streamStart]))) {
        for (const { partition, entries: fresh, more } of slices) {
          for (const { id, text } of fresh) {
            batch.push({ partition, id, text })
            size += text.length
          }
          next.set(partition, fresh.at(-1)!.id)
          if (more) behind.add(partition)
          if (size >= this.flushOctets) await commit()
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
    for (const [partition, stored] of await this.options.journal.register(this.options.name, partitions)) {
      const own = this.positions.get(partition)
      if (own === undefined || isAfter(stored, own)) this.positions.set(partition, stored)
      else if (own !== stored) this.unacknowledged.add(partition)
      this.known.add(partition)
      this.trimmable.add(partition)
    }
  }

  private async acknowledgeWhenDue(): Promise<void> {
    const due = this.acknowledgedAt + this.acknowledgeMs <= this.options.clock.monotonic()
    if (due || this.ahead >= unacknowledgedMost) await this.acknowledge()
  }

  private async acknowledge(): Promise<void> {
    const partitions = [...this.unacknowledged]
    if (partitions.length > 0) {
      await this.options.journal.acknowledge(
        this.options.name,
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
    const { clock, log, directory, name, what } = this.options
    const now = clock.monotonic()
    if (this.saidAt !== undefined && now < this.saidAt + logEveryMs) return
    this.saidAt = now
    const text = error instanceof Error ? error.message : String(error)
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : ''
    log.error({ event: `${name}_error`, directory }, `${what} is not written (${text}${cause}); ${consequence}`)
  }
}
