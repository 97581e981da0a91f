/**
 * Charging when the store is away for longer than a request is held: what a CCR-U or CCR-T reports goes to the spool, and is
 * booked once when the store is back, by this run or the next. Semantics.md section 3: such a booking is a request without
 * grant, in the time that the request came.
 */
import type { Logger } from 'pino'
import type { Clock, Timer } from '../clock.js'
import type { ChargingFunction, CreditOutcome, CreditRequest } from './charging.js'
import type { Spool, Spooled } from './spool.js'

/** `unknown`: a session that nobody knows (any more), which is noted where the account is known. */
export type BookingResult = 'booked' | 'unknown' | 'rejected'

/** What is counted; telemetry implements it. */
export interface OutageMetrics {
  booked(result: BookingResult): void
}

export interface OutageOptions {
  readonly charging: Pick<ChargingFunction, 'charge'>
  readonly spool: Spool
  /** Whether booking is worth a try. */
  readonly ready: () => boolean
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: OutageMetrics
}

/** While something waits. */
const tryEveryMs = 250
/** Sessions that are booked at a time; the requests of one session in the order in which they came. */
const sessionsAtOnce = 16

export class OutageCharging {
  private timer: Timer | undefined
  private round: Promise<void> | undefined
  private stopped = false
  /** The store was found away in this round. */
  private away = false

  constructor(private readonly options: OutageOptions) {}

  /** Begins to book what earlier runs left. */
  start(): void {
    if (this.options.spool.entries > 0) this.soon()
  }

  /** As ChargingFunction.charge. An outcome `busy` of a report comes when the report is on the disk. */
  async charge(request: CreditRequest): Promise<CreditOutcome> {
    const { charging, spool } = this.options
    const outcome = await charging.charge(request)
    if (outcome.status !== 'busy' || !notBooked.has(outcome.how) || !hasReport(request)) return outcome
    await spool.append(toSpool(request))
    if (!this.stopped) this.soon()
    return outcome
  }

  /** Nothing is booked any more; what waits is booked by the next run. */
  async stop(): Promise<void> {
    this.stopped = true
    this.options.clock.clearTimeout(this.timer)
    await this.round
    await this.options.spool.close()
  }

  private soon(): void {
    this.timer ??= this.options.clock.setTimeout(() => {
      this.round = this.book()
        .catch((error: unknown) => {
          this.options.log.error({ event: 'spool_error', err: error }, 'the spool cannot be read; it is tried again')
        })
        .finally(() => {
          this.timer = undefined
          if (!this.stopped && this.options.spool.entries > 0) this.soon()
        })
    }, tryEveryMs)
  }

  /** Books all that waits, until the store is away again. */
  private async book(): Promise<void> {
    const { spool, ready, log } = this.options
    let booked = 0
    this.away = false
    while (this.mayGoOn()) {
      const segment = await spool.take()
      if (!segment) break
      const before = spool.entries
      await this.bookSegment(segment.entries)
      booked += before - spool.entries
      if (!this.mayGoOn()) break
      await spool.remove(segment.number)
    }
    if (booked > 0) log.info({ event: 'spool_booked', booked, left: spool.entries, ready: ready() }, 'booked the spool')
  }

  private async bookSegment(entries: readonly Spooled[]): Promise<void> {
    const sessions = new Map<string, Booking[]>()
    for (const entry of entries) {
      const request = fromSpool(entry)
      const key = request?.sessionId ?? ''
      const bookings = sessions.get(key)
      if (bookings) bookings.push({ entry, request })
      else sessions.set(key, [{ entry, request }])
    }
    const queue = [...sessions.values()]
    const workers = Array.from({ length: Math.min(sessionsAtOnce, queue.length) }, async () => {
      for (let session = queue.shift(); session; session = queue.shift())
        for (const booking of session) if (this.mayGoOn()) await this.bookOne(booking)
    })
    await Promise.all(workers)
  }

  private async bookOne({ entry, request }: Booking): Promise<void> {
    const { charging, spool, clock, log, metrics } = this.options
    let result: BookingResult = 'rejected'
    let why = 'it cannot be read'
    if (request) {
      try {
        const outcome = await charging.charge({ ...request, arrivedAt: clock.monotonic(), booking: true })
        if (outcome.status === 'busy' && notBooked.has(outcome.how)) {
          this.away = true
          return
        }
        result = resultOf(outcome)
        why = outcome.status
      } catch (error) {
        why = error instanceof Error ? error.message : String(error)
      }
    }
    if (result === 'rejected') {
      log.error(
        { event: 'spool_rejected', why },
        'a spooled request cannot be booked; rejected.jsonl in the spool has it',
      )
      await spool.reject(entry)
    }
    metrics.booked(result)
    spool.done(entry)
  }

  private mayGoOn(): boolean {
    return !this.stopped && !this.away && this.options.ready()
  }
}

interface Booking {
  readonly entry: Spooled
  /** Undefined: it cannot be read. */
  readonly request: CreditRequest | undefined
}

/** Why a request is `busy` of which nothing is booked, as far as we know. */
const notBooked: ReadonlySet<string> = new Set(['unknown', 'untrusted', 'moved'])

/** A CCR-T ends its session, also when it reports nothing: what is held goes back. */
const hasReport = ({ type, lines }: CreditRequest): boolean =>
  type === 'terminate' ||
  (type === 'update' && lines.some(({ used }) => Object.values(used).some(amount => amount !== undefined)))

function resultOf(outcome: CreditOutcome): BookingResult {
  switch (outcome.status) {
    case 'answered':
    case 'ended':
    case 'barred':
    case 'terminated':
    case 'busy': // reported, not granted
      return 'booked'
    case 'unknown_session':
      return 'unknown'
    default:
      return 'rejected'
  }
}

/** A request as a line; amounts are bigint, which JSON does not have. */
export function toSpool(request: CreditRequest): Spooled {
  const key = `${request.sessionId} ${request.number}`
  const at = request.arrival
  const text = JSON.stringify({ key, at, request }, (_, value: unknown) =>
    typeof value === 'bigint' ? { bigint: String(value) } : value,
  )
  return { key, at, text }
}

export function fromSpool({ text }: Spooled): CreditRequest | undefined {
  try {
    const { request } = JSON.parse(text, (_, value: unknown) => amountOf(value)) as { request?: CreditRequest }
    return request
  } catch {
    return undefined
  }
}

const amountOf = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'bigint' in value && typeof value.bigint === 'string'
    ? BigInt(value.bigint)
    : value
