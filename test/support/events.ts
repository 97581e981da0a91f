/**
 * The feed beside the journal that it was made of, for tests: what is in it, and what must be.
 */
import { pino } from 'pino'
import type { Test } from 'tap'
import { Feed } from '../../src/balance/feed.js'
import { Journal, streamStart } from '../../src/balance/journal.js'
import type { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import type { WebhookConfig } from '../../src/config/config.js'
import {
  eventsOf,
  noWatch,
  readEntry,
  type FeedEvent,
  type MoneyLevels,
  type Watch,
} from '../../src/notification/events.js'
import { Notifications } from '../../src/notification/notifications.js'
import { Publisher, type PublisherOptions } from '../../src/notification/publisher.js'
import { NotificationCounts } from '../../src/telemetry/notification-counts.js'
import { allPartitions } from './ledger.js'
import { partitions } from './store.js'

export const levels: MoneyLevels = { amounts: [5_000_000, 1_000_000], percents: [10] }

/** Does nothing by itself: tests call `flush`. */
export function aPublisher(t: Test, store: Store, options: Partial<PublisherOptions> = {}): Publisher {
  const publisher = new Publisher({
    journal: new Journal(store, partitions, systemClock),
    feed: new Feed(store, systemClock),
    leases: allPartitions,
    levels: () => levels,
    usage: true,
    clock: systemClock,
    log: pino({ level: 'silent' }),
    metrics: { published: () => undefined },
    ...options,
  })
  t.teardown(() => publisher.stop())
  return publisher
}

/** Everything in the feed, in its order. */
export async function feedOf(store: Store): Promise<FeedEvent[]> {
  const feed = new Feed(store, systemClock)
  const events: FeedEvent[] = []
  for (let after: string | undefined; ;) {
    const page = await feed.read(after, 500)
    if (page.status !== 'read') throw new Error('the feed was trimmed')
    events.push(...page.items.map(({ text }) => JSON.parse(text) as FeedEvent))
    after = page.items.at(-1)?.cursor
    if (!page.more) return events
  }
}

/** What the journal says must be in it, by partition. */
export async function expectedOf(store: Store, at: MoneyLevels = levels): Promise<FeedEvent[][]> {
  const journal = new Journal(store, partitions, systemClock)
  const all: FeedEvent[][] = []
  for (let partition = 0; partition < partitions; partition++) {
    const watches = new Map<string, Watch>()
    const events: FeedEvent[] = []
    for (let after = streamStart, more = true; more;) {
      more = false
      for await (const [slice] of journal.read([[partition, after]])) {
        for (const { id, text } of slice!.entries) {
          const entry = readEntry(text)!
          const found = eventsOf(entry, `${partition}-${id}`, watches.get(entry.account) ?? noWatch, at, true)
          watches.set(entry.account, found.watch)
          events.push(...found.events)
          after = id
        }
        more = slice!.more
      }
    }
    all.push(events)
  }
  return all
}

/** Whether the feed is what the journal says: each event once, and those of a partition in order. */
export async function isExact(t: Test, store: Store, at: MoneyLevels = levels): Promise<void> {
  const expected = await expectedOf(store, at)
  const found = (await feedOf(store)).filter(({ account }) => account !== undefined) // not the catalog
  const byPartition = expected.map((_, partition) => found.filter(({ id }) => id.startsWith(`${partition}-`)))
  t.equal(found.length, expected.flat().length, 'as many as there must be')
  t.same(
    byPartition.map(events => events.map(({ id, type }) => `${id} ${type}`)),
    expected.map(events => events.map(({ id, type }) => `${id} ${type}`)),
    'those of the journal, in its order',
  )
  t.same(byPartition, JSON.parse(JSON.stringify(expected)), 'with what they say')
}

/** All parts over a store, not started: `webhooks` as they are configured. */
export function aNotifications(t: Test, store: Store, webhooks: readonly WebhookConfig[] = []): Notifications {
  const notifications = new Notifications({
    config: { keepMs: 86_400_000, mostEvents: 1_000_000, usage: true, webhooks },
    ...{ store, journal: new Journal(store, partitions, systemClock), leases: allPartitions, levels: () => levels },
    ...{ id: 'test', clock: systemClock, log: pino({ level: 'silent' }) },
    metrics: new NotificationCounts(),
  })
  t.teardown(() => notifications.stop())
  return notifications
}
