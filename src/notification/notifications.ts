/**
 * Events from the ledger to other systems, put together: the publisher that fills the feed, what reads and trims it, and a delivery
 * for each webhook.
 */
import type { Logger } from 'pino'
import { Feed, type FeedPage, type FeedState } from '../balance/feed.js'
import type { Journal } from '../balance/journal.js'
import type { Leases } from '../balance/leases.js'
import type { Store } from '../balance/store.js'
import { Webhooks, type WebhookCounts } from '../balance/webhooks.js'
import type { Clock, Timer } from '../clock.js'
import type { NotificationsConfig, WebhookConfig } from '../config/config.js'
import { Delivery, takes, type DeadLetter, type DeliveryMetrics } from './delivery.js'
import { eventTypeNames } from './event-types.js'
import { lonelyEvent, type MoneyLevels } from './events.js'
import { Publisher, type PublisherMetrics } from './publisher.js'
import { Sender, type AttemptResult } from './sender.js'

/** What is counted and read at a scrape; telemetry implements it. */
export interface NotificationMetrics extends PublisherMetrics, DeliveryMetrics {
  /** Found now and then. */
  measured(feed: FeedState, webhooks: readonly WebhookStatus[], dead: number): void
}

export interface NotificationOptions {
  readonly config: NotificationsConfig
  /** On a connection for work in the background. */
  readonly store: Store
  readonly journal: Journal
  readonly leases: Pick<Leases, 'owned' | 'listen'>
  /** Where falling money leaves an event, by currency. */
  readonly levels: (currency: string) => MoneyLevels
  /** Of this daemon among all on this store. */
  readonly id: string
  /** Of the machine: back-off and leases do not follow business time. */
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: NotificationMetrics
}

export interface WebhookStatus {
  readonly name: string
  readonly paused: boolean
  /** Some daemon delivers. */
  readonly delivering: boolean
  /** Events that wait for another try, and accounts that they are of. */
  readonly parked: number
  readonly replay: number
  /** Age of the oldest event of the feed that is not looked at yet; 0: none. */
  readonly behindMs: number
}

export interface DeadItem extends DeadLetter {
  readonly id: string
}

export interface DeadFilter {
  readonly ids?: readonly string[] | undefined
  readonly webhook?: string | undefined
  readonly account?: string | undefined
}

const measureMs = 5_000
const trimMs = 30_000
const watchMs = 250
/** Dead events are kept as long as the feed; a filter looks at so many at once. */
const deadAtOnce = 500

export class Notifications {
  private readonly feed: Feed
  private readonly webhooks: Webhooks
  private readonly sender: Sender
  private readonly publisher: Publisher
  private readonly deliveries: readonly Delivery[]
  private readonly waiters = new Set<() => void>()
  private watch: Timer | undefined
  private newest: string | undefined
  private timer: Timer | undefined
  private trimmedAt = -Infinity
  private stopped = false

  constructor(private readonly options: NotificationOptions) {
    const { config, store, journal, leases, levels, id, clock, log, metrics } = options
    this.feed = new Feed(store, clock)
    this.webhooks = new Webhooks(store, clock)
    this.sender = new Sender(clock, Math.max(1, ...config.webhooks.map(({ parallel }) => parallel)))
    this.publisher = new Publisher({
      ...{ journal, feed: this.feed, leases, levels, usage: config.usage, clock, log, metrics },
      told: () => this.tell(),
    })
    this.deliveries = config.webhooks.map(
      webhook =>
        new Delivery({
          ...{ webhook, feed: this.feed, webhooks: this.webhooks, owner: id, clock, log, metrics },
          send: (target, eventId, body) => this.sender.send(target, eventId, body),
        }),
    )
  }

  /** Webhooks that name a type that there is not: nothing would ever come. */
  static faults({ webhooks }: NotificationsConfig): string[] {
    return webhooks.flatMap(({ name, types }) =>
      types
        .filter(type => !eventTypeNames.some(known => takes({ types: [type] }, known)))
        .map(type => `notifications.webhooks: ${name}: there is no type of event ${type}; ocsctl notifications types`),
    )
  }

  async start(): Promise<void> {
    // A new webhook begins with what comes from now on: so before anything is published.
    for (const delivery of this.deliveries) await delivery.look()
    for (const delivery of this.deliveries) delivery.start()
    this.publisher.start()
    this.measure()
  }

  /** An entry was appended to this partition. */
  hint(partition: number): void {
    this.publisher.hint(partition)
  }

  /** Another catalog is in force. */
  catalogPublished(version: string): void {
    this.publisher.catalogPublished(version).catch((error: unknown) => {
      this.options.log.warn({ event: 'catalog_event', err: error }, 'that a catalog was published is not told')
    })
  }

  async stop(): Promise<void> {
    this.stopped = true
    this.timer?.cancel()
    this.watch?.cancel()
    for (const wake of [...this.waiters]) wake()
    await this.publisher.stop()
    await Promise.all(this.deliveries.map(delivery => delivery.stop()))
    this.sender.close()
  }

  state(): Promise<FeedState> {
    return this.feed.state()
  }

  /** A page of the feed; with nothing to give, it waits so long for something. */
  async read(after: string | undefined, limit: number, waitMs: number): Promise<FeedPage> {
    const { clock } = this.options
    const until = clock.monotonic() + waitMs
    for (;;) {
      const page = await this.feed.read(after, limit)
      const left = until - clock.monotonic()
      if (page.status === 'expired' || page.items.length > 0 || left <= 0 || this.stopped) return page
      await this.somethingNew(left)
    }
  }

  get webhookTerms(): readonly WebhookConfig[] {
    return this.options.config.webhooks
  }

  async webhookStatus(): Promise<WebhookStatus[]> {
    const names = this.deliveries.map(({ name }) => name)
    if (names.length === 0) return []
    const counts = await this.webhooks.counts(names)
    const behind = await Promise.all(counts.map(each => this.behindMs(each)))
    return counts.map(({ paused, owner, parkedFields, replay }, i) => ({
      ...{ name: names[i]!, paused, delivering: owner !== undefined, parked: parkedFields, replay },
      behindMs: behind[i]!,
    }))
  }

  async pause(webhook: string, paused: boolean): Promise<void> {
    await this.webhooks.pause(webhook, paused)
    for (const delivery of this.deliveries) if (delivery.name === webhook) delivery.hint()
  }

  /** One event to a webhook, at once and past all others; paused or not. */
  ping(webhook: WebhookConfig): Promise<AttemptResult> {
    const now = Date.now()
    const event = lonelyEvent('webhook.ping', `ping-${now}`, now, {})
    return this.sender.send(webhook, event.id, JSON.stringify(event))
  }

  /** @param after id of the last one of the page before */
  async dead(
    filter: DeadFilter,
    after: string | undefined,
    limit: number,
  ): Promise<{ items: DeadItem[]; more: boolean }> {
    const items: DeadItem[] = []
    for (let from = after; ;) {
      const found = await this.webhooks.dead(from, deadAtOnce)
      for (const { id, text } of found) {
        const letter = JSON.parse(text) as DeadLetter
        if (!isMeant(id, letter, filter)) continue
        items.push({ id, ...letter })
        if (items.length === limit) return { items, more: true }
      }
      if (found.length < deadAtOnce) return { items, more: false }
      from = found.at(-1)!.id
    }
  }

  /** Delivers them again, the oldest first; gives how many. Those of webhooks that are gone stay. */
  async replay(filter: DeadFilter): Promise<number> {
    const known = new Set(this.deliveries.map(({ name }) => name))
    let replayed = 0
    for (let after: string | undefined; ;) {
      const { items, more } = await this.dead(filter, after, deadAtOnce)
      const meant = items.filter(({ webhook }) => known.has(webhook))
      await this.webhooks.replay(meant)
      replayed += meant.length
      after = items.at(-1)?.id
      if (!more) break
    }
    for (const delivery of this.deliveries) delivery.hint()
    return replayed
  }

  private tell(): void {
    for (const delivery of this.deliveries) delivery.hint()
    for (const wake of [...this.waiters]) wake()
  }

  private async behindMs({ cursor }: WebhookCounts): Promise<number> {
    if (cursor === undefined) return 0
    const page = await this.feed.read(cursor, 1)
    const next = page.status === 'read' ? page.items[0]?.cursor : page.oldest
    return next === undefined ? 0 : Math.max(0, Date.now() - Number(next.split('-')[0]))
  }

  /** Until an event comes, of this daemon or another, or the time is over. */
  private somethingNew(ms: number): Promise<void> {
    const { clock } = this.options
    return new Promise(resolve => {
      const wake = (): void => {
        timer.cancel()
        this.waiters.delete(wake)
        resolve()
      }
      const timer = clock.setTimeout(wake, ms)
      this.waiters.add(wake)
      this.watch ??= clock.setTimeout(() => void this.lookForOthers(), watchMs)
    })
  }

  /** What other daemons published shows in the feed alone: one look for all who wait. */
  private async lookForOthers(): Promise<void> {
    const newest = await this.feed.state().then(
      state => state.newest,
      () => this.newest,
    )
    if (newest !== this.newest) for (const wake of [...this.waiters]) wake()
    this.newest = newest
    const { clock } = this.options
    const again = this.waiters.size > 0 && !this.stopped
    this.watch = again ? clock.setTimeout(() => void this.lookForOthers(), watchMs) : undefined
  }

  private measure(): void {
    if (this.stopped) return
    void this.measureOnce()
      .catch(() => undefined) // the store says so itself
      .finally(() => {
        if (!this.stopped) this.timer = this.options.clock.setTimeout(() => this.measure(), measureMs)
      })
  }

  private async measureOnce(): Promise<void> {
    const { clock, config, metrics } = this.options
    if (clock.monotonic() >= this.trimmedAt + trimMs) {
      this.trimmedAt = clock.monotonic()
      await this.feed.trim(config.keepMs, config.mostEvents)
      await this.webhooks.trimDead(config.keepMs)
    }
    metrics.measured(await this.feed.state(), await this.webhookStatus(), await this.webhooks.deadCount())
  }
}

const isMeant = (id: string, letter: DeadLetter, { ids, webhook, account }: DeadFilter): boolean =>
  (ids === undefined || ids.includes(id)) &&
  (webhook === undefined || letter.webhook === webhook) &&
  (account === undefined || letter.account === account)
