/**
 * Live traces: what passes through the connections of this daemon, and of all others on the store, to whoever asked for it here.
 *
 * A trace is started at one daemon, which tells the others what is wanted and for how long (and again every few seconds: a
 * daemon that is not told any more stops by itself). Each masks what it hears before it leaves the process. Everything is bounded:
 * messages a second, what waits for the store, what waits for the reader, traces; what does not fit is left out and counted.
 */
import { randomUUID } from 'node:crypto'
import type { Clock, Timer } from '../clock.js'
import type { Dictionary } from '../diameter/dictionary.js'
import type { Endpoint, Tap, TapDirection, TappedConnection } from '../diameter/tap.js'
import type { Millis } from '../units.js'
import { Filter, type Wanted } from './filter.js'
import { masked } from './mask.js'

export interface TracedMessage {
  readonly at: Millis
  /** Where it passed: the daemon's own id, and its Origin-Host, which it may share with others. */
  readonly daemon: string
  readonly host: string
  readonly direction: TapDirection
  /** Origin-Host of the connection's peer; undefined before its capabilities were exchanged. */
  readonly peer: string | undefined
  readonly remote: Endpoint
  readonly local: Endpoint
  /** Masked. */
  readonly octets: Buffer
}

export type TraceEnd = 'count' | 'time' | 'stopped' | 'shutdown'

/** Who reads a trace. */
export interface TraceReader {
  /** False: the reader is too slow, and does not get it. */
  message(message: TracedMessage): boolean
  /** A daemon left out so many more, because there were too many a second. */
  lost(messages: number): void
  ended(why: TraceEnd, totals: TraceTotals): void
}

export interface TraceTotals {
  readonly messages: number
  /** By a slow reader, or because there were too many a second. */
  readonly lost: number
}

export interface TraceOrder {
  readonly wanted: Wanted
  /** Session-Ids that the subscriber has open. */
  readonly sessions: readonly string[]
  /** So many messages at most. */
  readonly count: number
  readonly seconds: number
}

export interface RunningTrace {
  readonly id: string
  stop(why: TraceEnd): void
}

/** How daemons speak to each other; what is said reaches only who is there. */
export interface TraceBus {
  tellAt(channel: string, message: object): Promise<boolean>
  /** @returns ends it */
  listenTo(channel: string, heard: (message: unknown) => void): () => void
}

export const traceLimits = {
  /** Started at one daemon. */
  traces: 4,
  /** Heard for by one daemon, its own and others'. */
  watches: 16,
  messagesPerSecond: 200,
  /** Messages on their way to another daemon. */
  underway: 100,
  leaseMs: 15_000,
  renewMs: 5_000,
} as const

const channel = 'ocs:trace'

/** What daemons tell each other on `ocs:trace`. */
type Call =
  | { readonly do: 'watch'; readonly id: string; readonly wanted: Wanted; readonly sessions: readonly string[] }
  | { readonly do: 'session'; readonly id: string; readonly sessionId: string }
  | { readonly do: 'stop'; readonly id: string }

/** And on `ocs:trace:<id>`. */
interface Report {
  readonly message?: Omit<TracedMessage, 'octets' | 'peer'> & { readonly octets: string; readonly peer?: string }
  readonly sessionId?: string
  /** Left out by this daemon in this trace until now. */
  readonly lost: number
  readonly daemon: string
}

/** One trace as one daemon hears for it. */
interface Watch {
  readonly filter: Filter
  /** Monotonic ms; a daemon's own are never over by themselves. */
  until: number
  tokens: number
  refilledAt: number
  lost: number
  underway: number
  readonly deliver: (message: TracedMessage, sessionId: string | undefined) => void
}

export class Tracing implements Tap {
  listening = false
  private readonly watches = new Map<string, Watch>()
  private readonly traces = new Map<string, Trace>()
  private readonly stopListening: () => void
  private sweep: Timer | undefined

  constructor(
    private readonly options: {
      /** Tells this daemon from others on the store. */
      readonly daemon: string
      /** Its Origin-Host. */
      readonly host: string
      readonly dictionary: Dictionary
      readonly bus: TraceBus
      readonly clock: Clock
    },
  ) {
    this.stopListening = options.bus.listenTo(channel, said => this.heard(said))
  }

  /** @returns undefined when too many run already */
  start(order: TraceOrder, reader: TraceReader): RunningTrace | undefined {
    if (this.traces.size >= traceLimits.traces || this.watches.size >= traceLimits.watches) return undefined
    const { bus, clock } = this.options
    const trace = new Trace(order, reader, bus, clock, () => {
      this.traces.delete(trace.id)
      this.watches.delete(trace.id)
      this.listening = this.watches.size > 0
    })
    this.traces.set(trace.id, trace)
    const watch = this.watch(trace.id, order.wanted, order.sessions, Infinity, (message, sessionId) => {
      if (sessionId !== undefined) trace.learn(sessionId)
      trace.message(message)
    })
    trace.own = watch
    return trace
  }

  message(direction: TapDirection, connection: TappedConnection, octets: Buffer): void {
    const { dictionary, clock, daemon, host } = this.options
    for (const watch of this.watches.values()) {
      const match = watch.filter.match(direction, connection, octets)
      if (!match) continue
      if (!this.mayPass(watch)) {
        watch.lost++
        continue
      }
      const { peer, remote, local } = connection
      watch.deliver(
        {
          ...{ at: clock.now(), daemon, host, direction, peer: peer?.originHost, remote, local },
          octets: masked(dictionary, octets, match.shown),
        },
        match.sessionId,
      )
    }
  }

  close(): void {
    this.stopListening()
    this.sweep?.cancel()
    for (const trace of [...this.traces.values()]) trace.stop('shutdown')
    this.watches.clear()
    this.listening = false
  }

  private watch(
    id: string,
    wanted: Wanted,
    sessions: readonly string[],
    until: number,
    deliver: Watch['deliver'],
  ): Watch {
    const refilledAt = this.options.clock.monotonic()
    const tokens = traceLimits.messagesPerSecond
    const watch = { filter: new Filter(wanted, sessions), until, tokens, refilledAt, lost: 0, underway: 0, deliver }
    this.watches.set(id, watch)
    this.listening = true
    return watch
  }

  /** A token bucket of one second. */
  private mayPass(watch: Watch): boolean {
    const now = this.options.clock.monotonic()
    const { messagesPerSecond } = traceLimits
    const earned = ((now - watch.refilledAt) / 1000) * messagesPerSecond
    watch.tokens = Math.min(messagesPerSecond, watch.tokens + earned)
    watch.refilledAt = now
    if (watch.tokens < 1) return false
    watch.tokens--
    return true
  }

  /** What another daemon says. */
  private heard(said: unknown): void {
    if (!isCall(said)) return
    const { clock } = this.options
    const watch = this.watches.get(said.id)
    if (said.do === 'stop') {
      if (!this.traces.has(said.id)) this.forget(said.id)
    } else if (said.do === 'session') {
      watch?.filter.know(said.sessionId)
    } else if (watch) {
      if (watch.until === Infinity) return
      watch.until = clock.monotonic() + traceLimits.leaseMs
      for (const session of said.sessions) watch.filter.know(session)
      if (watch.lost > 0) this.report(said.id, watch, {})
    } else if (this.watches.size < traceLimits.watches) {
      const { id, wanted, sessions } = said
      const until = clock.monotonic() + traceLimits.leaseMs
      const added = this.watch(id, wanted, sessions, until, (message, sessionId) => {
        const { octets, peer, ...rest } = message
        const told = { ...rest, ...(peer !== undefined && { peer }), octets: octets.toString('base64') }
        this.report(id, added, { message: told, ...(sessionId !== undefined && { sessionId }) })
      })
      this.sweep ??= clock.setTimeout(() => this.sweepAll(), traceLimits.leaseMs)
    }
  }

  private report(id: string, watch: Watch, more: Pick<Report, 'message' | 'sessionId'>): void {
    if (watch.underway >= traceLimits.underway) {
      if (more.message) watch.lost++
      return
    }
    watch.underway++
    const { bus, daemon } = this.options
    void bus.tellAt(`${channel}:${id}`, { ...more, lost: watch.lost, daemon } satisfies Report).then(taken => {
      watch.underway--
      if (!taken && more.message) watch.lost++
    })
  }

  /** Those whose daemon is not heard of any more. */
  private sweepAll(): void {
    const { clock } = this.options
    const now = clock.monotonic()
    for (const [id, { until }] of this.watches) if (until <= now) this.forget(id)
    const others = [...this.watches.values()].some(({ until }) => until !== Infinity)
    this.sweep = others ? clock.setTimeout(() => this.sweepAll(), traceLimits.renewMs) : undefined
  }

  private forget(id: string): void {
    this.watches.delete(id)
    this.listening = this.watches.size > 0
  }
}

/** A trace at the daemon where it was started. */
class Trace implements RunningTrace {
  readonly id = randomUUID()
  /** How this daemon itself hears for it. */
  own: Watch | undefined
  private readonly sessions: Set<string>
  private readonly lostBy = new Map<string, number>()
  private told = 0
  private messages = 0
  private unread = 0
  private ended = false
  private readonly end: Timer
  private renewal: Timer | undefined
  private readonly stopListening: () => void

  constructor(
    private readonly order: TraceOrder,
    private readonly reader: TraceReader,
    private readonly bus: TraceBus,
    private readonly clock: Clock,
    private readonly gone: () => void,
  ) {
    this.sessions = new Set(order.sessions)
    this.stopListening = bus.listenTo(`${channel}:${this.id}`, said => this.heard(said))
    this.end = clock.setTimeout(() => this.stop('time'), order.seconds * 1000)
    this.renew()
  }

  message(message: TracedMessage): void {
    if (this.ended) return
    this.tellLost()
    if (!this.reader.message(message)) {
      this.unread++
      return
    }
    if (++this.messages >= this.order.count) this.stop('count')
  }

  /** A session of the subscriber was seen somewhere: the other daemons may meet it without his name. */
  learn(sessionId: string): void {
    if (this.order.wanted.subscriber === undefined || this.sessions.has(sessionId)) return
    this.sessions.add(sessionId)
    if (this.sessions.size > sessionsTold)
      for (const oldest of this.sessions) {
        this.sessions.delete(oldest)
        break
      }
    this.own?.filter.know(sessionId)
    this.tell({ do: 'session', id: this.id, sessionId })
  }

  stop(why: TraceEnd): void {
    if (this.ended) return
    this.ended = true
    this.clock.clearTimeout(this.end)
    this.clock.clearTimeout(this.renewal)
    this.stopListening()
    this.tell({ do: 'stop', id: this.id })
    this.tellLost()
    this.gone()
    this.reader.ended(why, { messages: this.messages, lost: this.left + this.unread })
  }

  /** Left out before they reached this reader. */
  private get left(): number {
    let sum = this.own?.lost ?? 0
    for (const lost of this.lostBy.values()) sum += lost
    return sum
  }

  private tellLost(): void {
    const { left } = this
    if (left > this.told) this.reader.lost(left - this.told)
    this.told = left
  }

  private heard(said: unknown): void {
    if (this.ended || !isReport(said)) return
    const { message, sessionId, lost, daemon } = said
    if (this.lostBy.size < daemonsKept || this.lostBy.has(daemon)) this.lostBy.set(daemon, lost)
    if (sessionId !== undefined) this.learn(sessionId)
    if (message) {
      const { octets, peer, ...rest } = message
      this.message({ ...rest, peer, octets: Buffer.from(octets, 'base64') })
    } else this.tellLost()
  }

  private renew(): void {
    const { wanted } = this.order
    this.tell({ do: 'watch', id: this.id, wanted, sessions: [...this.sessions] })
    this.renewal = this.clock.setTimeout(() => this.renew(), traceLimits.renewMs)
  }

  private tell(call: Call): void {
    void this.bus.tellAt(channel, call)
  }
}

/** Session-Ids that other daemons are told; more than a subscriber has open. */
const sessionsTold = 200
/** More daemons than a store has. */
const daemonsKept = 1000

function isCall(said: unknown): said is Call {
  const call = said as Partial<Record<string, unknown>> | null
  if (typeof call?.['id'] !== 'string') return false
  switch (call['do']) {
    case 'watch':
      return typeof call['wanted'] === 'object' && call['wanted'] !== null && Array.isArray(call['sessions'])
    case 'session':
      return typeof call['sessionId'] === 'string'
    default:
      return call['do'] === 'stop'
  }
}

function isReport(said: unknown): said is Report {
  const report = said as Partial<Report> | null
  if (typeof report?.lost !== 'number' || typeof report.daemon !== 'string') return false
  return report.message === undefined || typeof report.message.octets === 'string'
}
