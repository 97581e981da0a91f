/**
 * Time that traffic uses, as a gateway counts it: Quota-Consumption-Time (TS 32.299 section 6.5.4), discrete and continuous
 * time periods (section 6.5.7), and the envelopes that tell when it was (section 6.5.6). Times are Unix milliseconds.
 */
import type { Millis } from '../units.js'
import type { EnvelopeInput } from './ccr.js'
import type { TimeMechanism } from './quota.js'

/** A stretch in which time counts. */
interface Envelope {
  readonly start: Millis
  /** As far as is known now: without more traffic it ends there. */
  end: Millis
  octets: bigint
  events: bigint
  /** Of its time, reported already. */
  reportedMs: number
}

export class TimeUse {
  private envelopes: Envelope[] = []

  constructor(private mechanism: TimeMechanism = { kind: 'continuous' }) {}

  /** From now on it is counted so; what was counted stays. */
  countBy(mechanism: TimeMechanism, now: Millis): void {
    if (mechanism.kind === this.mechanism.kind && secondsOf(mechanism) === secondsOf(this.mechanism)) return
    const open = this.open(now)
    if (open) open.end = Math.min(open.end, now)
    this.mechanism = mechanism
  }

  /** Traffic passes. */
  packet(at: Millis, octets: bigint): void {
    let envelope = this.open(at)
    if (!envelope) {
      envelope = { start: at, end: at, octets: 0n, events: 0n, reportedMs: 0 }
      this.envelopes.push(envelope)
    }
    envelope.octets += octets
    envelope.events += 1n
    envelope.end = Math.max(envelope.end, this.endAfter(envelope.start, at))
  }

  /** Seconds that count so far and were not reported, started ones whole. */
  seconds(now: Millis): number {
    return Math.ceil(this.envelopes.reduce((sum, each) => sum + this.usedMs(each, now) - each.reportedMs, 0) / 1000)
  }

  /** When so many seconds will be used if no more traffic comes; undefined: not before more comes. */
  usedUpAt(seconds: number, now: Millis): Millis | undefined {
    const open = this.open(now)
    const restMs = seconds * 1000 - this.envelopes.reduce((sum, e) => sum + this.usedMs(e, now) - e.reportedMs, 0)
    if (restMs <= 0) return now
    return open && now + restMs <= open.end ? now + restMs : undefined
  }

  /** The seconds to report, and the envelopes that they are of. They are not reported again. */
  take(now: Millis): { readonly seconds: number; readonly envelopes: readonly EnvelopeInput[] } {
    const seconds = this.seconds(now)
    const envelopes = this.envelopes.map(each => {
      const { start, end, octets, events } = each
      const closed = end !== Infinity && end <= now
      // An open one comes again with the same start; its volume counts from there: section 7.2.59.
      return {
        start: Math.floor(start / 1000),
        ...(closed && { end: Math.floor(end / 1000) }),
        octets,
        events,
      }
    })
    for (const each of this.envelopes) each.reportedMs = this.usedMs(each, now)
    // The rest of a started second is paid for.
    const open = this.open(now)
    if (open) {
      const total = this.usedMs(open, now)
      open.reportedMs = Math.ceil(total / 1000) * 1000
    }
    this.envelopes = open ? [open] : []
    return { seconds, envelopes }
  }

  private open(at: Millis): Envelope | undefined {
    const last = this.envelopes.at(-1)
    return last && at < last.end ? last : undefined
  }

  /** Where an envelope ends when this was its last packet. */
  private endAfter(start: Millis, at: Millis): Millis {
    const { mechanism } = this
    if (mechanism.kind === 'continuous') return Infinity
    const ms = mechanism.seconds * 1000
    if (mechanism.kind === 'idle') return at + ms
    const interval = Math.floor((at - start) / ms)
    return start + (interval + (mechanism.kind === 'ctp' ? 2 : 1)) * ms
  }

  /** Whole intervals are used as soon as they begin; otherwise time is used as it goes by. */
  private usedMs({ start, end }: Envelope, now: Millis): number {
    const { mechanism } = this
    const until = Math.min(now, end)
    if (mechanism.kind !== 'dtp' && mechanism.kind !== 'ctp') return until - start
    const ms = mechanism.seconds * 1000
    return Math.min(end - start, (Math.floor((until - start) / ms) + 1) * ms)
  }
}

const secondsOf = (mechanism: TimeMechanism): number => (mechanism.kind === 'continuous' ? 0 : mechanism.seconds)
