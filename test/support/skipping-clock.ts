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

export class SkippingClock implements Clock {
  private skipped = 0
  private readonly pending = new Set<Due>()

  now(): Millis {
    return systemClock.now() + this.skipped
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

  /** As if this time had passed since the last look at the clock. What is due by then runs before it returns. */
  skip(ms: number): void {
    this.skipped += ms
    for (const due of [...this.pending].sort((a, b) => a.at - b.at)) {
      if (!this.pending.has(due)) continue
      due.timer.cancel()
      const left = due.at - this.monotonic()
      if (left <= 0) this.run(due)
      else due.timer = this.arm(() => due, left)
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
