/**
 * A consumer of the journal: turns its entries into events and appends them to the feed, each once, whatever dies or is done twice
 * (design: ledger). The feed knows up to which entry it has each partition, in the same slot as itself; what is remembered of
 * accounts is written with our position in the journal, so that it is always that of one and the same entry.
 */
import type { Logger } from 'pino'
import type { Feed, Publication } from '../balance/feed.js'
import {
  isAfter,
  streamStart,
  type Journal,
  type JournalEntry,
  type JournalSlice,
  type Lag,
} from '../balance/journal.js'
import type { LeaseListener, Leases } from '../balance/leases.js'
import type { Clock, Timer } from '../clock.js'
import type { EventType } from './event-types.js'
import {
  eventsOf,
  lonelyEvent,
  needsWatch,
  noWatch,
  readEntry,
  type Entry,
  type MoneyLevels,
  type Watch,
} from './events.js'

/** What is counted; telemetry implements it. */
export interface PublisherMetrics {
  published(type: EventType): void
}

export interface PublisherOptions {
  readonly journal: Journal
  readonly feed: Feed
  readonly leases: Pick<Leases, 'owned' | 'listen'>
  /** Where falling money leaves an event, by currency. */
  readonly levels: (currency: string) => MoneyLevels
  /** Whether usage that was charged is an event, too. */
  readonly usage: boolean
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: PublisherMetrics
  /** There is something new in the feed. */
  readonly told?: () => void
  /** After a hint, so that many entries share one round trip; default 50 ms. */
  readonly gatherMs?: number
  /** Between two looks at all partitions, default 1 s. */
  readonly slowMs?: number
}

/** Name of this consumer in the store. */
export const eventsConsumer = 'events'

const catalogPartition = 'catalog'
const noLevels: MoneyLevels = { amounts: [], percents: [] }
/** Entries of one call to the feed. */
const entriesAtOnce = 256
const logEveryMs = 60_000
const backOffMs = { first: 500, most: 10_000 }

interface Position {
  /** Up to where accounts are remembered and the journal may forget. */
  readonly read: string
  /** Up to where the events are in the feed; never before `read`. */
  readonly published: string
}

export class Publisher implements LeaseListener {
  /** Entries that wait, about, and for how long, ms. */
  backlog: Lag = { entries: 0, ms: 0 }
  private readonly positions = new Map<number, Position>()
  private readonly hinted = new Set<number>()
  private queue: Promise<unknown> = Promise.resolve()
  private timer: Timer | undefined
  private slow: Timer | undefined
  private failures = 0
  private blockedUntil = 0
  private saidAt: number | undefined
  private stopped = false

  constructor(private readonly options: PublisherOptions) {
    options.leases.listen(this)
  }

  /** Begins to read by itself. */
  start(): void {
    this.slowRound()
  }

  /** An entry was appended to this partition: it is read soon. */
  hint(partition: number): void {
    this.hinted.add(partition)
    if (this.stopped || this.timer !== undefined) return
    const { clock, gatherMs = 50 } = this.options
    this.timer = clock.setTimeout(
      () => {
        this.timer = undefined
        void this.work([...this.hinted])
      },
      Math.max(gatherMs, this.blockedUntil - clock.monotonic()),
    )
  }

  /** Everything of all owned partitions into the feed. @throws BalanceUnavailableError */
  flush(): Promise<void> {
    return this.inTurn(async () => {
      let partitions: readonly number[] = [...this.options.leases.owned]
      while (partitions.length > 0) partitions = await this.copy(partitions)
    })
  }

  /** Another catalog is in force. Once for a version, however many daemons say so. */
  async catalogPublished(version: string): Promise<void> {
    const { feed, clock, metrics, told } = this.options
    const [from] = await feed.positions([catalogPartition])
    if (from === version) return
    const now = clock.now()
    const event = lonelyEvent('catalog.published', `${catalogPartition}-${version}-${now}`, now, { version })
    const partition = { partition: catalogPartition, from: from!, to: version, events: [JSON.stringify(event)] }
    await feed.publish([partition])
    metrics.published('catalog.published')
    told?.()
  }

  async stop(): Promise<void> {
    this.stopped = true
    this.timer?.cancel()
    this.slow?.cancel()
    await this.flush().catch(() => undefined) // what is not read yet is read after the next start
  }

  gained(): void {
    if (this.slow !== undefined) this.slowRound()
  }

  lost(partitions: readonly number[]): void {
    for (const partition of partitions) this.positions.delete(partition)
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.queue.then(work)
    this.queue = done.catch(() => undefined)
    return done
  }

  private slowRound(): void {
    this.slow?.cancel()
    if (this.stopped) return
    const { clock, leases, slowMs = 1000 } = this.options
    this.slow = clock.setTimeout(() => this.slowRound(), slowMs)
    if (clock.monotonic() >= this.blockedUntil) void this.work([...leases.owned], true)
  }

  private async work(partitions: readonly number[], all = false): Promise<void> {
    const { clock, leases, journal } = this.options
    try {
      await this.inTurn(async () => {
        for (const partition of partitions) this.hinted.delete(partition)
        const behind = await this.copy(partitions.filter(partition => leases.owned.has(partition)))
        for (const partition of behind) this.hint(partition)
        if (!all) return
        const waiting = behind.map(p => [p, this.positions.get(p)?.published ?? streamStart] as const)
        this.backlog = await journal.lag(new Map(waiting))
      })
      this.failures = 0
    } catch (error) {
      this.failures++
      this.blockedUntil =
        clock.monotonic() + Math.min(backOffMs.most, backOffMs.first * 2 ** Math.min(6, this.failures - 1))
      this.say(error)
      for (const partition of partitions) this.hint(partition)
    }
  }

  /** Publishes what is new; gives the partitions that have more. */
  private async copy(partitions: readonly number[]): Promise<number[]> {
    await this.learn(partitions.filter(partition => !this.positions.has(partition)))
    const behind = new Set<number>()
    const from = partitions.flatMap(partition => {
      const position = this.positions.get(partition)
      return position ? [[partition, position.read] as const] : []
    })
    for await (const slices of this.options.journal.read(from)) {
      for (const { partition, more } of slices) if (more) behind.add(partition)
      let waiting: readonly JournalSlice[] = slices
      while (waiting.length > 0) {
        const some = atOnce(waiting)
        const stopped = await this.publish(some.now)
        for (const partition of stopped) behind.add(partition)
        waiting = some.later.filter(({ partition }) => !stopped.has(partition))
      }
    }
    return [...behind]
  }

  private async learn(partitions: readonly number[]): Promise<void> {
    if (partitions.length === 0) return
    const { journal, feed } = this.options
    const read = await journal.register(eventsConsumer, partitions)
    const published = await feed.positions(partitions)
    partitions.forEach((partition, i) => {
      const at = read.get(partition) ?? streamStart
      this.positions.set(partition, { read: at, published: isAfter(published[i]!, at) ? published[i]! : at })
    })
  }

  /** Gives the partitions that somebody else has taken over or brought further: they are looked at anew. */
  private async publish(slices: readonly JournalSlice[]): Promise<Set<number>> {
    const { feed, metrics, told, leases } = this.options
    const known = slices.flatMap(slice => {
      const position = this.positions.get(slice.partition) // none: lost meanwhile
      return position ? [{ slice, position }] : []
    })
    const batches = await Promise.all(known.map(({ slice, position }) => this.batchOf(slice, position)))
    const stopped = new Set<number>()
    const fresh = batches.filter(({ publication: { from, to } }) => from !== to)
    const reached = fresh.length === 0 ? [] : await feed.publish(fresh.map(({ publication }) => publication))
    fresh.forEach(({ publication, types }, i) => {
      if (reached[i] !== publication.to) stopped.add(publication.partition as number)
      else for (const type of types) metrics.published(type)
    })
    if (fresh.some(({ types }) => types.length > 0)) told?.()
    await Promise.all(
      batches.map(async ({ publication, last, watches }) => {
        const partition = publication.partition as number
        if (stopped.has(partition)) return
        if (!(await feed.note(partition, eventsConsumer, last, watches))) stopped.add(partition)
        else if (leases.owned.has(partition)) this.positions.set(partition, { read: last, published: publication.to })
      }),
    )
    for (const partition of stopped) this.positions.delete(partition)
    return stopped
  }

  private async batchOf({ partition, entries }: JournalSlice, { published }: Position): Promise<Batch> {
    const { feed, usage } = this.options
    const read = entries.map(entry => this.readable(partition, entry))
    const asked = new Set(
      read.flatMap(entry => (entry && needsWatch(entry, this.levelsOf(entry)) ? [entry.account] : [])),
    )
    const watches = new Map<string, Watch>()
    const accounts = [...asked]
    const texts = accounts.length === 0 ? [] : await feed.watches(partition, accounts)
    accounts.forEach((account, i) => watches.set(account, readWatch(texts[i])))
    const before = new Map(watches)
    const events: string[] = []
    const types: EventType[] = []
    read.forEach((entry, i) => {
      if (!entry) return
      const { id } = entries[i]!
      const watch = watches.get(entry.account) ?? noWatch
      const levels = this.levelsOf(entry)
      const found = eventsOf(entry, `${partition}-${id}`, watch, levels, usage)
      // What only levels in percent need is not begun without any.
      const base = levels.percents.length > 0 || watch.base > 0 ? found.watch.base : 0
      if (asked.has(entry.account)) watches.set(entry.account, { ...found.watch, base })
      if (!isAfter(id, published)) return // it is in the feed; read again for what it leaves
      for (const event of found.events) {
        events.push(JSON.stringify(event))
        types.push(event.type)
      }
    })
    const last = entries.at(-1)!.id
    const changed = [...watches].filter(([account, watch]) => textOfWatch(watch) !== textOfWatch(before.get(account)!))
    const to = isAfter(last, published) ? last : published
    return {
      publication: { partition, from: published, to, events },
      types,
      last,
      watches: new Map(changed.map(([account, watch]) => [account, textOfWatch(watch)])),
    }
  }

  /** An entry that nobody can read is a defect: it is told, and the others go on. */
  private readable(partition: number, { id, text }: JournalEntry): Entry | undefined {
    try {
      return readEntry(text)
    } catch (error) {
      this.options.log.error({ event: 'event_entry', partition, entry: id, err: error }, 'a ledger entry is no JSON')
      return undefined
    }
  }

  private levelsOf({ posts }: Entry): MoneyLevels {
    const main = posts.find(([name]) => name === 'main')
    return main ? this.options.levels(main[1]) : noLevels
  }

  private say(error: unknown): void {
    const { clock, log } = this.options
    const now = clock.monotonic()
    if (this.saidAt !== undefined && now < this.saidAt + logEveryMs) return
    this.saidAt = now
    log.error(
      { event: 'events_blocked', err: error },
      'events are not published; charging goes on, entries wait in the store',
    )
  }
}

interface Batch {
  readonly publication: Publication
  readonly types: readonly EventType[]
  /** Id of the last entry. */
  readonly last: string
  readonly watches: ReadonlyMap<string, string | undefined>
}

/** So many entries of each partition as one call may take. */
function atOnce(slices: readonly JournalSlice[]): { now: readonly JournalSlice[]; later: readonly JournalSlice[] } {
  const now: JournalSlice[] = []
  const later: JournalSlice[] = []
  let left = entriesAtOnce
  for (const { partition, entries, more } of slices) {
    if (left > 0) now.push({ partition, entries: entries.slice(0, left), more })
    if (entries.length > left) later.push({ partition, entries: entries.slice(Math.max(0, left)), more })
    left -= Math.min(left, entries.length)
  }
  return { now, later }
}

/** `<base> <refused>`; nothing to remember is no text. */
const textOfWatch = ({ base, refused }: Watch): string | undefined =>
  base === 0 && !refused ? undefined : `${base} ${refused ? 1 : 0}`

function readWatch(text: string | undefined): Watch {
  if (text === undefined) return noWatch
  const [base, refused] = text.split(' ')
  return { base: Number(base), refused: refused === '1' }
}
