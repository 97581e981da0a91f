/** The audit of every night: once on each store, by whichever daemon comes first. */
import type { Logger } from 'pino'
import type { Clock, Timer } from '../clock.js'

export interface NightlyOptions {
  /** Minutes after midnight; undefined: never. */
  readonly at: number | undefined
  readonly timezone: () => string
  readonly clock: Clock
  readonly log: Logger
  /** True for the one daemon that is to do it on this day (2026-11-22). */
  readonly claim: (day: string) => Promise<boolean>
  readonly work: () => Promise<unknown>
}

const lookEveryMs = 30_000

export class Nightly {
  private timer: Timer | undefined
  private done: string | undefined
  private running: Promise<void> = Promise.resolve()
  private stopped = false

  constructor(private readonly options: NightlyOptions) {}

  start(): void {
    if (this.options.at === undefined) return
    const { day, minute } = this.local()
    // Started after the time of the day: tomorrow's is the next.
    if (minute >= this.options.at) this.done = day
    this.wait()
  }

  async stop(): Promise<void> {
    this.stopped = true
    this.timer?.cancel()
    await this.running
  }

  private wait(): void {
    this.timer = this.options.clock.setTimeout(() => {
      const { day, minute } = this.local()
      if (minute >= this.options.at! && day !== this.done) {
        this.done = day
        this.running = this.work(day)
      }
      if (!this.stopped) this.wait()
    }, lookEveryMs)
  }

  private async work(day: string): Promise<void> {
    const { claim, work, log } = this.options
    try {
      if (await claim(day)) await work()
    } catch (error) {
      log.error({ event: 'audit_not_run', err: error }, "tonight's audit was not done; `ocsctl audit` does it at once")
    }
  }

  private local(): { day: string; minute: number } {
    const { clock, timezone } = this.options
    const parts = new Intl.DateTimeFormat('en-CA', {
      ...{ timeZone: timezone(), year: 'numeric', month: '2-digit', day: '2-digit' },
      ...{ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
    }).formatToParts(clock.now())
    const of = (type: string): string => parts.find(part => part.type === type)!.value
    return { day: `${of('year')}-${of('month')}-${of('day')}`, minute: Number(of('hour')) * 60 + Number(of('minute')) }
  }
}
