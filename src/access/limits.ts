/** How often somebody may ask, and how often wrongly: token buckets by principal, counters of failures by address. */
import type { Clock } from '../clock.js'

/** Principals or addresses that are kept; the oldest go first. */
const mostKept = 10_000

/** So many requests a second, and as many at once after a pause. */
export class RateLimit {
  private readonly buckets = new Map<string, { left: number; at: number }>()

  constructor(
    private readonly clock: Clock,
    /** 0: no limit. */
    private readonly perSecond: number,
  ) {}

  /** Takes one; else how many seconds to wait. */
  take(who: string): number {
    if (this.perSecond === 0) return 0
    const now = this.clock.monotonic()
    const known = this.buckets.get(who)
    const left = known
      ? Math.min(this.perSecond, known.left + ((now - known.at) / 1000) * this.perSecond)
      : this.perSecond
    this.buckets.delete(who)
    if (this.buckets.size >= mostKept) this.buckets.delete(this.buckets.keys().next().value!)
    this.buckets.set(who, { left: left < 1 ? left : left - 1, at: now })
    return left < 1 ? Math.ceil((1 - left) / this.perSecond) : 0
  }
}

/** After `tries` failures within `windowMs` an address is locked out for as long. */
export class Lockout {
  private readonly failures = new Map<string, { count: number; since: number; until: number }>()

  constructor(
    private readonly clock: Clock,
    private readonly tries: number,
    private readonly windowMs: number,
  ) {}

  /** Seconds that it is locked for; 0: it may try. */
  locked(address: string): number {
    const known = this.failures.get(address)
    const left = known ? known.until - this.clock.monotonic() : 0
    return left > 0 ? Math.ceil(left / 1000) : 0
  }

  failed(address: string): void {
    const now = this.clock.monotonic()
    const known = this.failures.get(address)
    const fresh = !known || now - known.since >= this.windowMs
    const count = fresh ? 1 : known.count + 1
    const locks = count >= this.tries
    this.failures.delete(address)
    if (this.failures.size >= mostKept) this.failures.delete(this.failures.keys().next().value!)
    this.failures.set(address, {
      count: locks ? 0 : count,
      since: fresh ? now : known.since,
      until: locks ? now + this.windowMs : 0,
    })
  }

  passed(address: string): void {
    this.failures.delete(address)
  }
}
