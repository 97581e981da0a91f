/**
 * The daemons of one store speak to each other: a channel of the store, on a connection of its own. What is said here only hurries:
 * who was not there to hear it loses nothing, as all that matters stands in the store.
 */
import { Redis } from 'ioredis'
import type { Logger } from 'pino'
import type { Clock, Timer } from '../clock.js'
import type { StoreConfig } from '../config/config.js'
import { connectionOptions, type Store, type StoreAddress } from './store.js'

export interface NodesOptions {
  readonly config: StoreConfig
  readonly address: StoreAddress
  /** Says things on it: a connection that hears cannot. */
  readonly store: Store
  /** Of this daemon. */
  readonly id: string
  readonly clock: Clock
  readonly log: Logger
}

const channel = 'ocs:nodes'
/** A connection that only hears would not notice that the other side is gone. */
const pingEveryMs = 5000
const patienceMs = 1000

export class Nodes {
  private readonly redis: Redis
  /** By channel. */
  private readonly listeners = new Map<string, ((message: unknown, from: string) => void)[]>([[channel, []]])
  private timer: Timer | undefined
  private closed = false

  constructor(private readonly options: NodesOptions) {
    const { config, address, log, clock } = options
    this.redis = new Redis({ ...connectionOptions(config, address), autoResubscribe: false })
    this.redis.on('error', (error: Error) => log.debug({ event: 'nodes_error', err: error.message }))
    this.redis.on('ready', () => {
      for (const each of this.listeners.keys()) this.subscribe(each)
    })
    this.redis.on('message', (from: string, text: string) => this.hear(from, text))
    this.redis.on('end', () => {
      if (!this.closed) clock.setTimeout(() => this.connect(), 100)
    })
  }

  /** Connects, and stays connected; waits for nothing. */
  start(): void {
    this.connect()
    this.ping()
  }

  /** What other daemons say; never what this one said itself. */
  listen(listener: (message: unknown, from: string) => void): void {
    this.listenTo(channel, listener)
  }

  /**
   * The same on a channel of its own.
   *
   * @returns ends it
   */
  listenTo(at: string, listener: (message: unknown, from: string) => void): () => void {
    const there = this.listeners.get(at)
    this.listeners.set(at, [...(there ?? []), listener])
    if (!there && this.redis.status === 'ready') this.subscribe(at)
    return () => {
      const left = (this.listeners.get(at) ?? []).filter(each => each !== listener)
      if (left.length > 0 || at === channel) {
        this.listeners.set(at, left)
        return
      }
      this.listeners.delete(at)
      if (this.redis.status === 'ready') this.redis.unsubscribe(at).catch(() => undefined)
    }
  }

  /** Says something to all others that are there. False when the store did not take it. */
  tell(message: object): Promise<boolean> {
    return this.tellAt(channel, message)
  }

  /** The same on a channel of its own. */
  async tellAt(at: string, message: object): Promise<boolean> {
    const { store, id } = this.options
    try {
      await store.call('publish', store.deadlineIn(patienceMs), redis =>
        redis.publish(at, JSON.stringify({ from: id, message })),
      )
      return true
    } catch (error) {
      this.options.log.debug({ event: 'nodes_tell', err: error })
      return false
    }
  }

  stop(): void {
    this.closed = true
    this.timer?.cancel()
    this.redis.disconnect()
  }

  private connect(): void {
    if (!this.closed) this.redis.connect().catch(() => undefined)
  }

  private ping(): void {
    this.timer = this.options.clock.setTimeout(() => {
      // One that is not answered ends the connection, which is then made again.
      if (this.redis.status === 'ready') this.redis.ping().catch(() => undefined)
      this.ping()
    }, pingEveryMs)
  }

  private subscribe(at: string): void {
    this.redis.subscribe(at).catch((error: unknown) => {
      if (!this.closed) this.options.log.warn({ event: 'nodes_deaf', err: error }, `the store lets nobody hear ${at}`)
    })
  }

  private hear(at: string, text: string): void {
    let said: { readonly from?: unknown; readonly message?: unknown } | null
    try {
      said = JSON.parse(text) as typeof said
    } catch {
      this.options.log.debug({ event: 'nodes_garbage' })
      return
    }
    if (typeof said?.from !== 'string' || said.from === this.options.id) return
    for (const listener of this.listeners.get(at) ?? []) listener(said.message, said.from)
  }
}
