/**
 * The connection to Redis and the one place that retries. Every script knows its request, so a call whose outcome is not
 * known is sent again as it is, until its deadline; ioredis itself never sends anything twice (settings below).
 *
 * "Timed out" means unknown, never "not done".
 */
import { randomUUID } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import { isIP } from 'node:net'
import { Redis, type RedisOptions } from 'ioredis'
import type { Logger } from 'pino'
import type { Clock, Timer } from '../clock.js'
import type { StoreConfig } from '../config/config.js'
import type { Millis } from '../units.js'
import { storeKey } from './keys.js'
import { defineScripts, loadScripts, type RedisWithScripts } from './scripts.js'

/** The store could not be asked, or did not answer, until the deadline. What was sent may have been done all the same. */
export class BalanceUnavailableError extends Error {
  override readonly name = 'BalanceUnavailableError'
}

/** The store refused what we sent: a defect of ours, or of its data. Sending it again would not help. */
export class StoreDefectError extends Error {
  override readonly name = 'StoreDefectError'
}

/** What is counted; telemetry implements it. */
export interface StoreMetrics {
  call(script: string, seconds: number): void
  error(errorClass: StoreErrorClass): void
  retry(): void
  up(up: boolean): void
}
export type StoreErrorClass = 'offline' | 'timeout' | 'moved' | 'busy' | 'full' | 'defect'

/** Where the embedded store listens; the other kinds are in the configuration. */
export interface StoreAddress {
  readonly socket?: string
}

const commandTimeoutMs = 1000

/** Of the lines of accounts and sessions (lua/include): another one cannot be read. */
const layout = '3'

type ClientOptions = Omit<RedisOptions, 'replyMapping'>

/** Rule by rule in the README's operations section; a test reads them back. */
export const clientOptions: ClientOptions = {
  autoResendUnfulfilledCommands: false, // it would charge twice what has no key
  maxRetriesPerRequest: 0, // with the line above: calls in flight fail at once instead of never
  enableOfflineQueue: false, // we wait for `ready` ourselves, with a deadline
  commandTimeout: commandTimeoutMs,
  socketTimeout: 1000, // leaves a frozen master, which commandTimeout does not
  connectTimeout: 1000,
  sentinelCommandTimeout: 1000, // passes a frozen Sentinel over, which connectTimeout does not
  keepAlive: 5000,
  retryStrategy: () => 25 + Math.random() * 475,
  enableReadyCheck: true,
  disableClientInfo: true,
  failoverDetector: false, // it can end a client for good during a failover
  reconnectOnError: error => (error.message.startsWith('READONLY') ? 1 : false),
  protocol: 2,
  lazyConnect: true,
}

/**
 * ioredis listens for one error of a socket. A TLS handshake that is given up at its time-out may tell another one afterwards, which nobody
 * hears then, and an error that nobody hears ends the process.
 */
function hearLateErrors(redis: Redis): void {
  const { connector } = redis as unknown as { connector: { connect(...args: unknown[]): Promise<EventEmitter> } }
  const connect = connector.connect.bind(connector)
  connector.connect = async (...args) => {
    const stream = await connect(...args)
    stream.on('error', () => undefined)
    return stream
  }
}

/** How the store must be set for what the configuration promises, and why it is not; empty when all is well. */
export interface StoreCheck {
  readonly refusals: readonly string[]
  readonly warnings: readonly string[]
}

/** Both clocks are read in whole milliseconds, and a timer may ring one early. */
const wholeMs = 3
const offsetIntervalMs = 10_000

export class Store {
  readonly redis: RedisWithScripts
  /** Redis time less our clock's, ms; undefined until it was measured. */
  offset: number | undefined
  private offsetError = 0
  private closed = false
  private downSince: number | undefined = -Infinity // until it was usable for the first time
  private offsetTimer: Timer | undefined
  private readonly waiting = new Set<() => void>()

  constructor(
    private readonly options: {
      readonly config: StoreConfig
      readonly address: StoreAddress
      readonly log: Logger
      readonly metrics: StoreMetrics
      readonly clock: Clock
    },
  ) {
    const { log, metrics } = options
    const scripts = loadScripts()
    for (const { name, sha } of scripts.values()) log.debug({ event: 'script', script: name, sha })
    this.redis = defineScripts(new Redis(connectionOptions(options.config, options.address)), scripts)
    hearLateErrors(this.redis)
    this.redis.on('error', (error: Error) => log.debug({ event: 'store_error', err: error.message }))
    this.redis.on('ready', () => {
      metrics.up(true)
      void this.measureOffset()
    })
    this.redis.on('close', () => {
      metrics.up(false)
      this.downSince ??= options.clock.monotonic()
    })
    this.redis.on('end', () => {
      if (this.closed) return
      // An end that nobody asked for is a fault: connect again.
      metrics.error('offline')
      options.clock.setTimeout(() => {
        if (!this.closed) this.redis.connect().catch(() => undefined)
      }, 100)
    })
  }

  /** Connects and measures the clocks. Rejects when there is nothing there within `patienceMs`. */
  async open(patienceMs: number): Promise<void> {
    this.redis.connect().catch(() => undefined)
    const deadline = this.options.clock.monotonic() + patienceMs
    while (!this.ready) {
      if (!(await this.whenReady(deadline))) throw new BalanceUnavailableError('the store does not answer')
    }
  }

  /** For how long it has not been usable, ms; 0 when it is. */
  get downMs(): number {
    return this.downSince === undefined ? 0 : Math.max(1, this.options.clock.monotonic() - this.downSince)
  }

  get ready(): boolean {
    return this.redis.status === 'ready' && this.offset !== undefined
  }

  /**
   * A moment of our clock (ms since 1970) as the store's clock shows it, at the earliest: after a deadline that we told
   * somebody is over, nothing may be held, so what the measurement leaves open is taken off.
   */
  storeTime(at: Millis): Millis {
    return Math.floor(at + (this.offset ?? 0) - this.offsetError) - wholeMs
  }

  /** This moment and `ms`, by the clock that `call` compares with. */
  deadlineIn(ms: number): number {
    return this.options.clock.monotonic() + ms
  }

  /** Something small that can wait; not at all once the store is closed. */
  later(work: () => void, ms: number): Timer {
    return this.options.clock.setTimeout(() => {
      if (!this.closed) work()
    }, ms)
  }

  async close(): Promise<void> {
    this.closed = true
    this.offsetTimer?.cancel()
    for (const wake of this.waiting) wake()
    this.redis.disconnect()
    await Promise.resolve()
  }

  /**
   * Runs one idempotent call until it answers or `deadline` (monotonic ms) is over.
   *
   * @throws BalanceUnavailableError when the deadline passed; StoreDefectError when the store refused for good
   */
  async call<T>(script: string, deadline: number, send: (redis: RedisWithScripts) => Promise<T>): Promise<T> {
    const { clock, metrics } = this.options
    const started = clock.monotonic()
    for (let pause = 25; ; pause = Math.min(pause * 2, 400)) {
      if (!this.ready && !(await this.whenReady(deadline))) {
        throw new BalanceUnavailableError(`the store did not answer ${script} in time`)
      }
      try {
        this.writeTogether()
        const left = deadline - clock.monotonic()
        const reply = await (left < commandTimeoutMs ? this.within(left, send(this.redis)) : send(this.redis))
        metrics.call(script, (clock.monotonic() - started) / 1000)
        return reply
      } catch (error) {
        const errorClass = classify(error)
        metrics.error(errorClass)
        if (errorClass === 'defect') throw new StoreDefectError(`${script}: ${messageOf(error)}`, { cause: error })
        const wait = Math.random() * pause
        if (clock.monotonic() + wait >= deadline) {
          throw new BalanceUnavailableError(`the store did not answer ${script} in time`, { cause: error })
        }
        await this.pause(wait)
        metrics.retry()
      }
    }
  }

  private epoch: string | undefined

  /** Checks that the store is what the configuration promises, and that it was made for as many partitions. */
  async check(deadline: number): Promise<StoreCheck> {
    const { config } = this.options
    const settings = await this.call('config', deadline, redis => configGet(redis))
    const refusals = weaknesses(config, settings)
    const warnings: string[] = []
    if (settings.size === 0) {
      warnings.push('the store does not tell its settings (CONFIG GET): its durability is taken on trust')
    }
    const listpack = Number(settings.get('hash-max-listpack-value') ?? 256)
    if (listpack < 128) {
      warnings.push(
        `hash-max-listpack-value is ${listpack}: set it to 256, or accounts take two to three times the memory`,
      )
    }
    const [partitions, epoch, known] = await this.call('hget', deadline, async redis => {
      // First of all: a daemon that starts beside us on a new store finds the layout as soon as it finds the rest.
      if ((await redis.hexists(storeKey, 'partitions')) === 0) await redis.hsetnx(storeKey, 'layout', layout)
      await redis.hsetnx(storeKey, 'partitions', config.partitions)
      await redis.hsetnx(storeKey, 'epoch', randomUUID())
      return redis.hmget(storeKey, 'partitions', 'epoch', 'layout')
    })
    if (known !== layout) {
      refusals.push(
        `the store's accounts were written in layout ${known ?? '1'}, and this version reads layout ${layout}: start with an empty store, or with the version that wrote it`,
      )
    }
    if (partitions !== String(config.partitions)) {
      refusals.push(
        `store.partitions is ${config.partitions}, but this store was started with ${partitions}: it cannot change; set partitions: ${partitions}`,
      )
    }
    this.epoch = epoch ?? undefined
    return { refusals, warnings }
  }

  /**
   * Has the store write its append-only file anew, so that what was deleted is no longer in it. Where the store does not let us, that is
   * its operator's to do.
   */
  async rewriteFile(): Promise<void> {
    await this.redis.bgrewriteaof().catch(() => undefined)
  }

  /** Whether the store still is the one that was checked, and keeps what it promised then. */
  async state(deadline: number): Promise<{ readonly emptied: boolean; readonly refusals: readonly string[] }> {
    const settings = await this.call('config', deadline, redis => configGet(redis))
    const epoch = await this.call('hget', deadline, redis => redis.hget(storeKey, 'epoch'))
    return { emptied: epoch !== this.epoch, refusals: weaknesses(this.options.config, settings) }
  }

  /** What one turn of the event loop sends leaves as one write instead of one a command. */
  private writeTogether(): void {
    const { stream } = this.redis
    if (stream.writableCorked > 0) return
    stream.cork()
    process.nextTick(() => stream.uncork())
  }

  /** ioredis would wait for its own timeout, past the deadline. What was sent may be done all the same. */
  private within<T>(ms: number, call: Promise<T>): Promise<T> {
    const { clock } = this.options
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => reject(new Error('timed out at the deadline')), ms)
      call.then(resolve, reject).finally(() => clock.clearTimeout(timer))
    })
  }

  /** Resolves true when the connection is usable, false at the deadline. */
  private whenReady(deadline: number): Promise<boolean> {
    const { clock } = this.options
    if (this.closed) return Promise.resolve(false)
    return new Promise(resolve => {
      const done = (result: boolean): void => {
        clock.clearTimeout(timer)
        this.waiting.delete(wake)
        resolve(result)
      }
      const wake = (): void => {
        if (this.ready) done(true)
        else if (this.closed) done(false)
      }
      const timer = clock.setTimeout(() => done(this.ready), Math.max(0, deadline - clock.monotonic()))
      this.waiting.add(wake)
      wake()
    })
  }

  private pause(ms: number): Promise<void> {
    return new Promise(resolve => this.options.clock.setTimeout(resolve, ms))
  }

  /** The script compares deadlines with its own clock: keep the difference known to a few ms. */
  private async measureOffset(): Promise<void> {
    const { clock } = this.options
    this.offsetTimer?.cancel()
    try {
      const before = Date.now()
      const [seconds, microseconds] = await this.redis.time()
      const after = Date.now()
      const store = Number(seconds) * 1000 + Number(microseconds) / 1000
      this.offset = store - (before + after) / 2
      this.offsetError = (after - before) / 2
      this.downSince = undefined
      for (const wake of [...this.waiting]) wake()
    } catch {
      // The next `ready`, or the next round, measures again.
    }
    if (!this.closed) this.offsetTimer = clock.setTimeout(() => void this.measureOffset(), offsetIntervalMs)
  }
}

/** Of every connection to the store. */
export function connectionOptions(config: StoreConfig, address: StoreAddress): ClientOptions {
  if (config.kind === 'embedded') return { ...clientOptions, path: address.socket! }
  if (config.kind === 'sentinel') {
    const { name, sentinels, password, sentinelPassword } = config.sentinel!
    return {
      ...clientOptions,
      name,
      sentinels: sentinels.map(({ host, port }) => ({ host, port })),
      ...(password === undefined ? {} : { password }),
      ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
    }
  }
  const url = new URL(config.url!)
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return {
    ...clientOptions,
    host,
    port: Number(url.port || 6379),
    db: Number(url.pathname.slice(1)),
    ...(url.username ? { username: decodeURIComponent(url.username) } : {}),
    ...(url.password ? { password: decodeURIComponent(url.password) } : {}),
    ...(url.protocol === 'rediss:' ? { tls: isIP(host) ? {} : { servername: host } } : {}),
  }
}

/** Settings that break what the configuration promises. */
function weaknesses({ durability }: StoreConfig, settings: ReadonlyMap<string, string>): string[] {
  const refusals: string[] = []
  const policy = settings.get('maxmemory-policy')
  if (policy !== undefined && policy !== 'noeviction') {
    refusals.push(
      `the store's maxmemory-policy is ${policy}: balances would vanish silently; set it to noeviction (CONFIG SET maxmemory-policy noeviction, and in redis.conf)`,
    )
  }
  if (durability !== 'disk' || settings.size === 0) return refusals
  const [appendonly, appendfsync] = [settings.get('appendonly'), settings.get('appendfsync')]
  if (appendonly !== 'yes' || appendfsync !== 'always') {
    refusals.push(
      `store.durability is disk, but the store runs appendonly ${appendonly} and appendfsync ${appendfsync}: set appendonly yes and appendfsync always, or promise only durability: memory`,
    )
  }
  if (settings.get('no-appendfsync-on-rewrite') === 'yes') {
    refusals.push(
      'no-appendfsync-on-rewrite is yes, which breaks durability: disk while the AOF is rewritten; set it to no',
    )
  }
  return refusals
}

async function configGet(redis: Redis): Promise<Map<string, string>> {
  const names = [
    'maxmemory-policy',
    'appendonly',
    'appendfsync',
    'no-appendfsync-on-rewrite',
    'hash-max-listpack-value',
  ]
  try {
    const flat = await redis.config('GET', ...(names as [string]))
    return new Map(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1]!] as const] : [])))
  } catch (error) {
    if (codeOf(error) === 'NOPERM' || codeOf(error) === 'ERR') return new Map()
    throw error
  }
}

/** The first word of a Redis error is its code; errors without one are the connection's. */
function codeOf(error: unknown): string | undefined {
  return error instanceof Error && error.name === 'ReplyError' ? error.message.split(' ', 1)[0] : undefined
}

function classify(error: unknown): StoreErrorClass {
  if (error instanceof TypeError || error instanceof RangeError) return 'defect' // ours, not the connection's
  switch (codeOf(error)) {
    case undefined:
      return messageOf(error).includes('timed out') ? 'timeout' : 'offline'
    case 'LOADING':
    case 'CLUSTERDOWN':
    case 'NOREPLICAS':
    case 'MASTERDOWN':
      return 'offline'
    case 'READONLY':
    case 'MOVED':
    case 'ASK':
    case 'TRYAGAIN':
    case 'UNBLOCKED':
      return 'moved'
    case 'BUSY':
      return 'busy'
    case 'OOM':
    case 'MISCONF':
      return 'full'
    default:
      return 'defect'
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
