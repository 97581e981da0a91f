/**
 * How far each webhook's deliveries have come, in Redis: its cursor in the feed, accounts whose events wait for another try, what is to
 * be delivered again by command, and the events that nobody took. One daemon delivers for a webhook at a time, under a lease that
 * every change renews and is refused without.
 */
import type { Clock } from '../clock.js'
import { deadEventsKey, webhookKey, webhookLeaseKey, webhookParkedKey, webhookReplayKey } from './keys.js'
import { inPipeline, pieces } from './pipeline.js'
import type { RedisWithScripts } from './scripts.js'
import type { Store } from './store.js'

export interface WebhookState {
  /** All events up to it are delivered, parked or dead; undefined: it has not begun. */
  readonly cursor: string | undefined
  readonly paused: boolean
  /** Fields of the parked accounts and events, see notification/webhooks.ts. */
  readonly parked: ReadonlyMap<string, string>
}

/** What an operator changes while somebody delivers. */
export interface WebhookOrders {
  readonly paused: boolean
  /** JSON of events to be delivered again, the oldest first; at most as many as were asked for. */
  readonly replay: readonly string[]
}

export interface WebhookChanges {
  readonly cursor: string | undefined
  /** Events taken from the front of the replay list. */
  readonly replayed: number
  readonly set: ReadonlyMap<string, string>
  readonly gone: readonly string[]
  /** JSON of events that nobody took. */
  readonly buried: readonly string[]
}

export interface DeadEvent {
  readonly id: string
  /** JSON as it was buried. */
  readonly text: string
}

export interface WebhookCounts {
  readonly cursor: string | undefined
  readonly paused: boolean
  /** Who delivers for the moment. */
  readonly owner: string | undefined
  /** Events that wait for another try, their accounts counted, too. */
  readonly parkedFields: number
  readonly replay: number
}

const setsAtOnce = 2000

export class Webhooks {
  constructor(
    /** For work in the background. */
    private readonly store: Store,
    private readonly clock: Clock,
    /** How long one call may wait for the store, ms. */
    private readonly patienceMs = 5000,
  ) {}

  /** Takes the lease when it is free, or renews it; false: somebody else has it. @throws BalanceUnavailableError */
  async take(name: string, owner: string, leaseMs: number): Promise<boolean> {
    const holder = await this.call(async redis => {
      await redis.set(webhookLeaseKey(name), owner, 'PX', leaseMs, 'NX')
      return redis.get(webhookLeaseKey(name))
    })
    if (holder !== owner) return false
    return (await this.change(name, owner, leaseMs, noChanges)) === 'noted'
  }

  /** Gives the lease back, so that another daemon need not wait. */
  async release(name: string, owner: string): Promise<void> {
    const holder = await this.call(redis => redis.get(webhookLeaseKey(name)))
    if (holder === owner) await this.call(redis => redis.del(webhookLeaseKey(name)))
  }

  async state(name: string): Promise<WebhookState> {
    const [[cursor, paused], parked] = (await this.call(redis =>
      inPipeline(redis, pipeline => {
        pipeline.hmget(webhookKey(name), 'cursor', 'paused')
        pipeline.hgetall(webhookParkedKey(name))
      }),
    )) as [[string | null, string | null], Record<string, string>]
    return { cursor: cursor ?? undefined, paused: paused === '1', parked: new Map(Object.entries(parked)) }
  }

  async orders(name: string, most: number): Promise<WebhookOrders> {
    const [paused, replay] = (await this.call(redis =>
      inPipeline(redis, pipeline => {
        pipeline.hget(webhookKey(name), 'paused')
        pipeline.lrange(webhookReplayKey(name), 0, most - 1)
      }),
    )) as [string | null, string[]]
    return { paused: paused === '1', replay }
  }

  /** All of it, or nothing where somebody else has the lease. Only the last of a repeat counts: an event may be buried twice. */
  async change(name: string, owner: string, leaseMs: number, changes: WebhookChanges): Promise<'noted' | 'lost'> {
    const sets = [...changes.set].flat()
    // What makes the cursor true goes before it.
    for (const some of pieces(sets, 2 * setsAtOnce)) {
      if (sets.length <= 2 * setsAtOnce) break
      const only = { ...noChanges, set: new Map(pairsOf(some)) }
      if ((await this.note(name, owner, leaseMs, only)) === 'lost') return 'lost'
    }
    const rest = sets.length <= 2 * setsAtOnce ? changes : { ...changes, set: new Map<string, string>() }
    return this.note(name, owner, leaseMs, rest)
  }

  async pause(name: string, paused: boolean): Promise<void> {
    await this.call(redis => redis.hset(webhookKey(name), 'paused', paused ? '1' : '0'))
  }

  async counts(names: readonly string[]): Promise<WebhookCounts[]> {
    const replies = await this.call(redis =>
      inPipeline(redis, pipeline => {
        for (const name of names) {
          pipeline.hmget(webhookKey(name), 'cursor', 'paused')
          pipeline.get(webhookLeaseKey(name))
          pipeline.hlen(webhookParkedKey(name))
          pipeline.llen(webhookReplayKey(name))
        }
      }),
    )
    return names.map((_, i) => {
      const [cursor, paused] = replies[4 * i] as [string | null, string | null]
      return {
        cursor: cursor ?? undefined,
        paused: paused === '1',
        owner: (replies[4 * i + 1] as string | null) ?? undefined,
        parkedFields: replies[4 * i + 2] as number,
        replay: replies[4 * i + 3] as number,
      }
    })
  }

  /** Dead events, the oldest first. */
  async dead(after: string | undefined, limit: number): Promise<DeadEvent[]> {
    const items = await this.call(redis =>
      redis.xrange(deadEventsKey, after === undefined ? '-' : `(${after}`, '+', 'COUNT', limit),
    )
    return items.map(([id, fields]) => ({ id, text: fields[1] ?? '{}' }))
  }

  deadCount(): Promise<number> {
    return this.call(redis => redis.xlen(deadEventsKey))
  }

  /** To be delivered again, and dead no more. A repeat after a lost reply may deliver twice, which is allowed. */
  async replay(
    dead: readonly { readonly id: string; readonly webhook: string; readonly event: string }[],
  ): Promise<void> {
    for (const some of pieces(dead, 100)) {
      await this.call(async redis => {
        const transaction = redis.multi()
        for (const { id, webhook, event } of some) {
          transaction.rpush(webhookReplayKey(webhook), event)
          transaction.xdel(deadEventsKey, id)
        }
        await transaction.exec()
      })
    }
  }

  /** Lets dead events go that are older than `keepMs`. */
  async trimDead(keepMs: number): Promise<number> {
    const oldest = Math.max(0, this.store.storeTime(Date.now()) - keepMs)
    return this.call(redis => redis.xtrim(deadEventsKey, 'MINID', `${oldest}-0`))
  }

  private note(name: string, owner: string, leaseMs: number, changes: WebhookChanges): Promise<'noted' | 'lost'> {
    const { cursor = '', replayed, set, gone, buried } = changes
    return this.call(async redis => {
      const reply = await redis.noteWebhook(
        ...[webhookLeaseKey(name), webhookKey(name), webhookParkedKey(name), webhookReplayKey(name), deadEventsKey],
        ...[owner, String(leaseMs), cursor, String(replayed)],
        ...[String(set.size), String(gone.length), String(buried.length)],
        ...[...set].flat(),
        ...gone,
        ...buried,
      )
      return reply as 'noted' | 'lost'
    })
  }

  private call<T>(send: (redis: RedisWithScripts) => Promise<T>): Promise<T> {
    return this.store.call('webhooks', this.clock.monotonic() + this.patienceMs, send)
  }
}

export const noChanges: WebhookChanges = { cursor: undefined, replayed: 0, set: new Map(), gone: [], buried: [] }

function* pairsOf(flat: readonly string[]): Generator<[string, string]> {
  for (let i = 0; i < flat.length; i += 2) yield [flat[i]!, flat[i + 1]!]
}
