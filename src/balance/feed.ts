/**
 * The feed of events and what belongs to it in Redis, all in one slot but the watches, which are beside the accounts: one stream, and
 * how far each partition's journal has been made into events (design: ledger).
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import { isAfter, streamStart, timeOf } from './journal.js'
import { consumersKey, feedKey, feedPositionsKey, watchesKey } from './keys.js'
import { inPipeline, pieces } from './pipeline.js'
import type { Store } from './store.js'

/** Events of one partition's entries after `from` up to `to`, in their order. */
export interface Publication {
  /** Number of the partition, or a word for what is of none. */
  readonly partition: number | string
  readonly from: string
  readonly to: string
  /** JSON. */
  readonly events: readonly string[]
}

export interface FeedItem {
  /** Stream id: the cursor of whoever has read up to here. */
  readonly cursor: string
  /** JSON of the event. */
  readonly text: string
}

export type FeedPage =
  /** `items` may be none; `more`: as many came as were asked for. */
  | { readonly status: 'read'; readonly items: readonly FeedItem[]; readonly more: boolean }
  /** Events after the cursor have left the feed. */
  | { readonly status: 'expired'; readonly oldest: string }

export interface FeedState {
  readonly events: number
  /** Cursor of the newest event; of none: of the newest that went, or the begin. */
  readonly newest: string
  /** Cursor from which all events that are kept follow. */
  readonly oldest: string
  /** When the oldest event was published, by the store's clock; undefined: there is none. */
  readonly oldestAt: Millis | undefined
}

/** What is kept of an account for later entries: a text of the consumer's; undefined forgets it. */
export type WatchTexts = ReadonlyMap<string, string | undefined>

const trimmedField = 'trimmed'
const trimmedAtOnce = 1000

export class Feed {
  constructor(
    /** For work in the background. */
    private readonly store: Store,
    private readonly clock: Clock,
    /** How long one call may wait for the store, ms. */
    private readonly patienceMs = 5000,
  ) {}

  /** Up to which entry each partition's events are in the feed. @throws BalanceUnavailableError */
  async positions(partitions: readonly (number | string)[]): Promise<string[]> {
    if (partitions.length === 0) return []
    const found = await this.store.call('feed', this.deadline(), redis =>
      redis.hmget(feedPositionsKey, ...partitions.map(String)),
    )
    return found.map(each => each ?? streamStart)
  }

  /**
   * Appends the events of those whose partition still stands at `from`; may be repeated.
   *
   * @returns for each, up to where the feed has its partition now: `to`, or where somebody else brought it
   * @throws BalanceUnavailableError
   */
  async publish(publications: readonly Publication[]): Promise<string[]> {
    const args = publications.flatMap(({ partition, from, to, events }) => [
      ...[String(partition), from, to, String(events.length)],
      ...events,
    ])
    const reply = await this.store.call('publish-events', this.deadline(), redis =>
      redis.publishEvents(feedKey, feedPositionsKey, ...args),
    )
    return reply.split(' ').map((word, i) => (word === 'done' ? publications[i]!.to : word))
  }

  /**
   * Events after a cursor.
   *
   * @param after undefined: from the oldest that is kept
   * @throws BalanceUnavailableError
   */
  async read(after: string | undefined, limit: number): Promise<FeedPage> {
    const [trimmed, items] = (await this.store.call('feed', this.deadline(), redis =>
      inPipeline(redis, pipeline => {
        pipeline.hget(feedPositionsKey, trimmedField)
        pipeline.xrange(feedKey, after === undefined ? '-' : `(${after}`, '+', 'COUNT', limit)
      }),
    )) as [string | null, [string, string[]][]]
    if (after !== undefined && trimmed !== null && isAfter(trimmed, after))
      return { status: 'expired', oldest: trimmed }
    return {
      status: 'read',
      items: items.map(([cursor, fields]) => ({ cursor, text: fields[1] ?? '{}' })),
      more: items.length === limit,
    }
  }

  async state(): Promise<FeedState> {
    const [trimmed, events, [first], [last]] = (await this.store.call('feed', this.deadline(), redis =>
      inPipeline(redis, pipeline => {
        pipeline.hget(feedPositionsKey, trimmedField)
        pipeline.xlen(feedKey)
        pipeline.xrange(feedKey, '-', '+', 'COUNT', 1)
        pipeline.xrevrange(feedKey, '+', '-', 'COUNT', 1)
      }),
    )) as [string | null, number, [string][], [string][]]
    const oldest = trimmed ?? streamStart
    return { events, newest: last?.[0] ?? oldest, oldest, oldestAt: first && timeOf(first[0]) }
  }

  /** Lets go what is older than `keepMs`, or more than `most`; gives how many went. */
  async trim(keepMs: number, most: number): Promise<number> {
    for (let removed = 0; ;) {
      // By the machine's clock: ids of the stream are of the store's.
      const oldest = `${Math.max(0, this.store.storeTime(Date.now()) - keepMs)}-0`
      const gone = Number(
        await this.store.call('trim-feed', this.deadline(), redis =>
          redis.trimFeed(feedKey, feedPositionsKey, oldest, String(most), String(trimmedAtOnce)),
        ),
      )
      removed += gone
      if (gone < trimmedAtOnce) return removed
    }
  }

  /** What is remembered of accounts of a partition; undefined: nothing. */
  async watches(partition: number, accounts: readonly string[]): Promise<(string | undefined)[]> {
    const found: (string | undefined)[] = []
    for (const some of pieces(accounts, 500)) {
      const texts = await this.store.call('watches', this.deadline(), redis =>
        redis.hmget(watchesKey(partition), ...some),
      )
      found.push(...texts.map(each => each ?? undefined))
    }
    return found
  }

  /** Remembers, and moves the consumer of the partition's journal on. False: somebody else is further, and nothing was done. */
  async note(partition: number, consumer: string, position: string, watches: WatchTexts): Promise<boolean> {
    const pairs = [...watches].flatMap(([account, text]) => [account, text ?? ''])
    const reply = await this.store.call('note-watches', this.deadline(), redis =>
      redis.noteWatches(watchesKey(partition), consumersKey(partition), consumer, position, ...pairs),
    )
    return reply === 'noted'
  }

  private deadline(): number {
    return this.clock.monotonic() + this.patienceMs
  }
}
