/**
 * The system's clock, which a test can put forward: for a whole daemon, whose store and sockets live in real time, and whose
 * watchdog should not be waited for.
 */
import { systemClock, type Clock, type Timer } from '../../src/clock.js'
import type { Millis } from '../../src/units.js'

interface Due {
  readonly at: number
  readonly fn: () => void
  timer: Timer
}

/** More timers than any test has in a day of its clock; one that sets itself again at once would never end. */
const mostRuns = 1_000_000

export class SkippingClock implements Clock {
  private skipped = 0
  private readonly pending = new Set<Due>()

  now(): Millis {
    return Math.round(systemClock.now() + this.skipped) // timers stand between milliseconds
  }

  monotonic(): number {
    return systemClock.monotonic() + this.skipped
  }

  setTimeout(fn: () => void, ms: number): Timer {
    const due: Due = { at: this.monotonic() + ms, fn, timer: this.arm(() => due, ms) }
    this.pending.add(due)
    return {
      cancel: () => {
        due.timer.cancel()
        this.pending.delete(due)
      },
    }
  }

  clearTimeout(timer: Timer | undefined): void {
    timer?.cancel()
  }

  /** As if this time had passed since the last look at the clock. What is due by then runs before it returns, each at its time. */
  skip(ms: number): void {
    const end = this.monotonic() + ms
    for (let run = 0; ; run++) {
      const next = [...this.pending].reduce<Due | undefined>((a, b) => (a && a.at <= b.at ? a : b), undefined)
      if (!next || next.at > end) break
      if (run === mostRuns) throw new Error(`a timer comes again and again: ${next.fn.toString()}`)
      this.skipped += Math.max(0, next.at - this.monotonic())
      next.timer.cancel()
      this.run(next)
    }
    this.skipped += Math.max(0, end - this.monotonic())
    for (const due of this.pending) {
      due.timer.cancel()
      due.timer = this.arm(() => due, Math.max(0, due.at - this.monotonic()))
    }
  }

  /** As if nobody had been looking for this time: what is due by then runs once, afterwards. */
  jump(ms: number): void {
    this.skipped += ms
    for (const due of this.pending) {
      due.timer.cancel()
      due.timer = this.arm(() => due, Math.max(0, due.at - this.monotonic()))
    }
  }

  private arm(due: () => Due, ms: number): Timer {
    return systemClock.setTimeout(() => this.run(due()), ms)
  }

  private run(due: Due): void {
    this.pending.delete(due)
    due.fn()
  }
}
