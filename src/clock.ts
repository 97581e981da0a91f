/**
 * Time, handed in to everything that waits or dates: the system's clock, and one for tests that only moves when told to.
 */
import { performance } from 'node:perf_hooks'
import type { Millis } from './units.js'

export interface Clock {
  /** Unix time; may step when the machine's clock is set. For dates, never for durations. */
  now(): Millis
  /** Milliseconds since some start; never steps. For durations. */
  monotonic(): number
  setTimeout(fn: () => void, ms: number): Timer
  clearTimeout(timer: Timer | undefined): void
}

/** What `setTimeout` gave, good for `clearTimeout` of the same clock only. */
export interface Timer {
  readonly cancel: () => void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (fn, ms) => {
    const timeout = setTimeout(fn, ms)
    return { cancel: () => clearTimeout(timeout) }
  },
  clearTimeout: timer => timer?.cancel(),
}

/** The machine's clock, put forward: for tests of what months bring. Only its dates move; durations and timers stay real. */
export class ForwardClock implements Clock {
  private ahead = 0

  constructor(private readonly machine: Clock) {}

  /** How far its dates are ahead of the machine's, ms. */
  get offset(): number {
    return this.ahead
  }

  /** Never back: an offset below the present one changes nothing. True when the dates moved. */
  putForward(offset: number): boolean {
    if (offset <= this.ahead) return false
    this.ahead = offset
    return true
  }

  now(): Millis {
    return this.machine.now() + this.ahead
  }

  monotonic(): number {
    return this.machine.monotonic()
  }

  setTimeout(fn: () => void, ms: number): Timer {
    return this.machine.setTimeout(fn, ms)
  }

  clearTimeout(timer: Timer | undefined): void {
    this.machine.clearTimeout(timer)
  }
}

interface Due {
  readonly at: number
  readonly order: number
  readonly fn: () => void
}

/** A clock that stands still until `advance` moves it. Timers run inside `advance`, in the order of their times. */
export class VirtualClock implements Clock {
  private elapsed = 0
  private order = 0
  private readonly timers = new Set<Due>()

  /** @param start Unix time at which it stands first */
  constructor(private start: Millis = Date.UTC(2026, 0, 15, 12)) {}

  now(): Millis {
    return this.start + this.elapsed
  }

  monotonic(): number {
    return this.elapsed
  }

  setTimeout(fn: () => void, ms: number): Timer {
    const due: Due = { at: this.elapsed + Math.max(0, ms), order: this.order++, fn }
    this.timers.add(due)
    return { cancel: () => this.timers.delete(due) }
  }

  clearTimeout(timer: Timer | undefined): void {
    timer?.cancel()
  }

  /** Timers that are set and have not run. */
  get waiting(): number {
    return this.timers.size
  }

  /** Moves both times; runs every timer that comes due on the way, those that they set included. */
  advance(ms: number): void {
    const until = this.elapsed + ms
    for (let due = this.next(until); due; due = this.next(until)) {
      this.timers.delete(due)
      this.elapsed = due.at
      due.fn()
    }
    this.elapsed = until
  }

  /** Sets the wall clock by so much, as an operator or NTP would; durations do not notice. */
  step(ms: number): void {
    this.start += ms
  }

  private next(until: number): Due | undefined {
    let first: Due | undefined
    for (const due of this.timers) {
      if (due.at > until) continue
      if (!first || due.at < first.at || (due.at === first.at && due.order < first.order)) first = due
    }
    return first
  }
}
