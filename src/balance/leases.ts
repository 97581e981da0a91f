/**
 * Partitions shared out among daemons: who reads which journal and sweeps which due list for the moment (design: ledger).
 *
 * A lease only saves work. Whatever is done under it is safe to be done twice, so a lease that was lost unnoticed, or renewed
 * a moment too late, costs time and never correctness; nothing here needs a script.
 */
import type { Logger } from 'pino'
import type { Clock, Timer } from '../clock.js'
import { daemonsKey, leaseKey } from './keys.js'
import { inPipeline, pieces } from './pipeline.js'
import type { Store } from './store.js'

/** Who works under leases and must know when they come and go. */
export interface LeaseListener {
  gained?(partitions: readonly number[]): void
  /** Awaited before the partitions are given to another daemon of our own will. */
  releasing?(partitions: readonly number[]): Promise<void>
  /** Ours no more: released, or taken by another while we were away. */
  lost?(partitions: readonly number[]): void
}

export interface LeaseOptions {
  /** A connection of its own for work in the background. */
  readonly store: Store
  readonly partitions: number
  /** Of this daemon among all on this store. Stable over restarts, it gets its leases back at once; else when they run out. */
  readonly id: string
  readonly clock: Clock
  readonly log: Logger
  /** How long a lease lasts when its daemon dies, default 10 s. It is renewed three times as often. */
  readonly ttlMs?: number
}

const commandsOfOnePipeline = 256

export class Leases {
  private readonly mine = new Set<number>()
  private readonly listeners: LeaseListener[] = []
  private readonly keys: readonly string[]
  private readonly ttlMs: number
  private timer: Timer | undefined
  private running: Promise<void> | undefined
  private stopped = false

  constructor(private readonly options: LeaseOptions) {
    this.ttlMs = options.ttlMs ?? 10_000
    this.keys = Array.from({ length: options.partitions }, (_, partition) => leaseKey(partition))
  }

  /** The partitions that are ours, as far as we know. */
  get owned(): ReadonlySet<number> {
    return this.mine
  }

  listen(listener: LeaseListener): void {
    this.listeners.push(listener)
  }

  /** Takes what is free and goes on renewing. A daemon alone has all partitions when this resolves. */
  async start(): Promise<void> {
    await this.turn()
  }

  /** Gives everything back, so that others need not wait. */
  async stop(): Promise<void> {
    this.stopped = true
    this.timer?.cancel()
    await this.running
    const { store, id } = this.options
    try {
      await this.release([...this.mine])
      await store.call('leases', this.deadline(), redis => redis.zrem(daemonsKey, id))
    } catch (error) {
      this.options.log.debug({ event: 'lease_release', err: error })
    }
  }

  /**
   * One round: sign of life, renew, give up more than our share, take what is free up to our share.
   *
   * @throws BalanceUnavailableError
   */
  async round(): Promise<void> {
    const { store, id, clock } = this.options
    const now = store.storeTime(clock.now())
    const [, , daemons, owners] = (await store.call('leases', this.deadline(), redis =>
      inPipeline(redis, pipeline => {
        pipeline.zadd(daemonsKey, now, id)
        pipeline.zremrangebyscore(daemonsKey, '-inf', now - this.ttlMs)
        pipeline.zcard(daemonsKey)
        pipeline.mget(...this.keys)
      }),
    )) as [number, number, number, (string | null)[]]
    const share = Math.ceil(this.keys.length / Math.max(1, daemons))
    const kept: number[] = []
    const free: number[] = []
    const lost: number[] = []
    owners.forEach((owner, partition) => {
      if (owner === id) kept.push(partition)
      else if (owner === null) free.push(partition)
      if (owner !== id && this.mine.delete(partition)) lost.push(partition)
    })
    if (lost.length > 0) this.tell(listener => listener.lost?.(lost))
    const gained = kept.filter(partition => !this.mine.has(partition)) // of our life before a restart
    for (const partition of gained) this.mine.add(partition)

    await this.renew(kept)
    const surplus = kept.slice(share)
    if (surplus.length > 0) await this.release(surplus)
    gained.push(...(await this.take(free, share - kept.length)))
    const still = gained.filter(partition => this.mine.has(partition))
    if (still.length > 0) this.tell(listener => listener.gained?.(still))
  }

  private async renew(partitions: readonly number[]): Promise<void> {
    for (const some of pieces(partitions, commandsOfOnePipeline)) {
      await this.options.store.call('leases', this.deadline(), redis =>
        inPipeline(redis, pipeline => some.forEach(p => pipeline.pexpire(this.keys[p]!, this.ttlMs))),
      )
    }
  }

  /** Up to `most` of the free ones, from a place of our own, so that daemons that start together do not race for each. */
  private async take(free: readonly number[], most: number): Promise<number[]> {
    if (most <= 0 || free.length === 0) return []
    const start = Math.floor(Math.random() * free.length)
    const wanted = [...free.slice(start), ...free.slice(0, start)].slice(0, most)
    const taken: number[] = []
    for (const some of pieces(wanted, commandsOfOnePipeline)) {
      const replies = await this.options.store.call('leases', this.deadline(), redis =>
        inPipeline(redis, pipeline => {
          for (const p of some) {
            pipeline.set(this.keys[p]!, this.options.id, 'PX', this.ttlMs, 'NX')
            pipeline.get(this.keys[p]!) // a repeat after a lost reply finds its own
          }
        }),
      )
      for (const [i, partition] of some.entries()) {
        if (replies[2 * i + 1] !== this.options.id) continue
        taken.push(partition)
        this.mine.add(partition)
      }
    }
    return taken
  }

  private async release(partitions: readonly number[]): Promise<void> {
    for (const listener of this.listeners) await listener.releasing?.(partitions)
    for (const partition of partitions) this.mine.delete(partition)
    this.tell(listener => listener.lost?.(partitions))
    for (const some of pieces(partitions, commandsOfOnePipeline)) {
      const { store, id } = this.options
      const owners = await store.call('leases', this.deadline(), redis => redis.mget(...some.map(p => this.keys[p]!)))
      const ours = some.filter((_, i) => owners[i] === id).map(p => this.keys[p]!)
      if (ours.length > 0) await store.call('leases', this.deadline(), redis => redis.del(...ours))
    }
  }

  private async turn(): Promise<void> {
    this.running = this.round().catch((error: unknown) => {
      // The store says so itself, and loudly; leases wait until it is back.
      this.options.log.debug({ event: 'lease_round', err: error })
    })
    await this.running
    if (this.stopped) return
    const { clock } = this.options
    this.timer = clock.setTimeout(() => void this.turn(), this.ttlMs / 3)
  }

  private tell(what: (listener: LeaseListener) => void): void {
    for (const listener of this.listeners) what(listener)
  }

  private deadline(): number {
    return this.options.clock.monotonic() + Math.min(5000, this.ttlMs)
  }
}
