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
  private readonly listeners: ((message: unknown, from: string) => void)[] = []
  private timer: Timer | undefined
  private closed = false

  constructor(private readonly options: NodesOptions) {
    const { config, address, log, clock } = options
    this.redis = new Redis({ ...connectionOptions(config, address), autoResubscribe: false })
    this.redis.on('error', (error: Error) => log.debug({ event: 'nodes_error', err: error.message }))
    this.redis.on('ready', () => {
      this.redis.subscribe(channel).catch((error: unknown) => {
        if (!this.closed) log.warn({ event: 'nodes_deaf', err: error }, `the store lets nobody hear ${channel}`)
      })
    })
    this.redis.on('message', (_: string, text: string) => this.hear(text))
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
    this.listeners.push(listener)
  }

  /** Says something to all others that are there. False when the store did not take it. */
  async tell(message: object): Promise<boolean> {
    const { store, id } = this.options
    try {
      await store.call('publish', store.deadlineIn(patienceMs), redis =>
        redis.publish(channel, JSON.stringify({ from: id, message })),
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

  private hear(text: string): void {
    let said: { readonly from?: unknown; readonly message?: unknown } | null
    try {
      said = JSON.parse(text) as typeof said
    } catch {
      this.options.log.debug({ event: 'nodes_garbage' })
      return
    }
    if (typeof said?.from !== 'string' || said.from === this.options.id) return
    for (const listener of this.listeners) listener(said.message, said.from)
  }
}
