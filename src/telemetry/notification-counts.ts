/** What is counted of events, the feed and webhooks. */
import type { FeedState } from '../balance/feed.js'
import type { DeliveryMetrics } from '../notification/delivery.js'
import type { NotificationMetrics, WebhookStatus } from '../notification/notifications.js'
import { Family } from './counts.js'

type Result = Parameters<DeliveryMetrics['attempted']>[1]

export class NotificationCounts implements NotificationMetrics {
  private readonly events = new Map<string, number>()
  private readonly attempts = new Map<string, Map<Result, number>>()
  private readonly dead = new Map<string, number>()
  private readonly gaps = new Map<string, number>()
  private feed: FeedState | undefined
  private webhooks: readonly WebhookStatus[] = []
  private deadNow = 0

  published(type: string): void {
    more(this.events, type)
  }

  attempted(webhook: string, result: Result): void {
    let counts = this.attempts.get(webhook)
    if (!counts) this.attempts.set(webhook, (counts = new Map<Result, number>()))
    more(counts, result)
  }

  buried(webhook: string): void {
    more(this.dead, webhook)
  }

  missed(webhook: string): void {
    more(this.gaps, webhook)
  }

  measured(feed: FeedState, webhooks: readonly WebhookStatus[], dead: number): void {
    this.feed = feed
    this.webhooks = webhooks
    this.deadNow = dead
  }

  families(): Family[] {
    const byName = (counts: ReadonlyMap<string, number>, label: string) => () =>
      Array.from(counts, ([name, value]) => ({ labels: { [label]: name }, value }))
    const ofWebhooks = (value: (webhook: WebhookStatus) => number) => () =>
      this.webhooks.map(webhook => ({ labels: { webhook: webhook.name }, value: value(webhook) }))
    const ofFeed = (value: (feed: FeedState) => number) => () =>
      this.feed ? [{ labels: {}, value: value(this.feed) }] : []
    return [
      new Family('ocs_events_published_total', 'Events appended to the feed, by type.', 'counter', byName(this.events, 'type')), // prettier-ignore
      new Family(
        'ocs_events_feed_length',
        'Events in the feed.',
        'gauge',
        ofFeed(({ events }) => events),
      ),
      new Family('ocs_events_feed_oldest_age_seconds', 'Age of the oldest event in the feed.', 'gauge', ofFeed(({ oldestAt }) => (oldestAt === undefined ? 0 : Math.max(0, (Date.now() - oldestAt) / 1000)))), // prettier-ignore
      new Family('ocs_webhook_attempts_total', 'Attempts at webhooks, by what came of them.', 'counter', () =>
        Array.from(this.attempts, ([webhook, counts]) =>
          Array.from(counts, ([result, value]) => ({ labels: { webhook, result }, value })),
        ).flat(),
      ),
      new Family('ocs_webhook_oldest_undelivered_age_seconds', 'Age of the oldest event that a webhook has not got past.', 'gauge', ofWebhooks(({ behindMs }) => behindMs / 1000)), // prettier-ignore
      new Family('ocs_webhook_parked', 'Events that wait for another try, and the accounts that they are of.', 'gauge', ofWebhooks(({ parked }) => parked)), // prettier-ignore
      new Family('ocs_webhook_paused', '1: nothing is sent, by command.', 'gauge', ofWebhooks(({ paused }) => (paused ? 1 : 0))), // prettier-ignore
      new Family('ocs_webhook_dead_total', 'Events that were given up.', 'counter', byName(this.dead, 'webhook')),
      new Family('ocs_webhook_missed_total', 'Times that events left the feed before they were delivered.', 'counter', byName(this.gaps, 'webhook')), // prettier-ignore
      new Family('ocs_webhook_dead_letters', 'Events in the list of those that were given up.', 'gauge', () => [
        { labels: {}, value: this.deadNow },
      ]),
    ]
  }
}

const more = <K>(counts: Map<K, number>, key: K): void => void counts.set(key, (counts.get(key) ?? 0) + 1)
