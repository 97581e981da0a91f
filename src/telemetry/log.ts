/**
 * The log: pino's JSON lines on stdout, written without waiting for the reader. A reader that is too slow loses lines,
 * which are counted, rather than holding up a CCR. Fields are named like AVPs; identities are masked.
 */
import { type DestinationStream, pino, type Logger } from 'pino'
import type { Clock } from '../clock.js'
import type { LogConfig } from '../config/config.js'

export interface Log {
  readonly log: Logger
  /** Lines thrown away. */
  dropped(): number
  /** Writes what is left, at once: before the process ends. */
  flush(): void
}

/** Octets that may wait for a slow reader. */
const waitingOctets = 8 * 1024 * 1024

export function createLog(config: LogConfig, options: { readonly fd?: number } = {}): Log {
  let dropped = 0
  const destination = pino.destination({ dest: options.fd ?? 1, sync: false, minLength: 0, maxLength: waitingOctets })
  destination.on('drop', () => dropped++)
  // A closed pipe (`| head`) is the reader's wish, no reason to end.
  destination.on('error', () => dropped++)
  return {
    log: createLogger(config, destination),
    dropped: () => dropped,
    flush: () => {
      try {
        destination.flushSync()
      } catch {
        // The reader is gone, or stdout was never ready.
      }
    },
  }
}

export function createLogger(config: LogConfig, destination: DestinationStream): Logger {
  return pino(
    {
      level: config.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    destination,
  )
}

/** How a subscriber's identity is shown: `491701000001` as `…01`. Never put one in a message text, only in a field. */
export type Mask = (identity: string) => string

export const mask: Mask = identity => (identity.length > 2 ? `…${identity.slice(-2)}` : '…')

export const maskOf = (config: LogConfig): Mask => (config.identities === 'plain' ? identity => identity : mask)

/**
 * At most so many lines a minute for each event, so that a bad peer cannot fill the disk. The next window's first line
 * says how many were left out.
 */
export class LimitedLog {
  private readonly windows = new Map<string, { start: number; lines: number }>()

  constructor(
    private readonly log: Logger,
    private readonly clock: Clock,
    private readonly linesPerWindow = 10,
    private readonly windowMs = 60_000,
  ) {}

  /** @param event from a closed list: it is the key of the limit and the field `event` */
  write(level: 'info' | 'warn' | 'error', event: string, fields: object, message: string): void {
    const now = this.clock.monotonic()
    let window = this.windows.get(event)
    let leftOut = 0
    if (!window || now - window.start >= this.windowMs) {
      leftOut = Math.max(0, (window?.lines ?? 0) - this.linesPerWindow)
      this.windows.set(event, (window = { start: now, lines: 0 }))
    }
    if (++window.lines > this.linesPerWindow) return
    this.log[level]({ ...fields, event, ...(leftOut > 0 && { leftOut }) }, message)
  }
}
