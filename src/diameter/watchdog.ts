/**
 * The watchdog, RFC 3539 section 3.4.1: its table as data, and the little that the table counts. No I/O and no timer;
 * connection.ts sets Tw and sends what it is told to send.
 */

export type WatchdogState = 'OKAY' | 'SUSPECT' | 'REOPEN' | 'DOWN'

export type WatchdogEvent =
  | 'DWA'
  | 'third-DWA' // REOPEN only
  | 'message' // anything else
  | 'timer' // Tw is over and no DWR is pending
  | 'timer-pending' // Tw is over and a DWR is pending
  | 'timer-late' // REOPEN only: and so it was a Tw ago

export type WatchdogAction = 'send-DWR' | 'failover' | 'failback' | 'close'

export type WatchdogRow = readonly [next: WatchdogState, ...actions: WatchdogAction[]]

// SetWatchdog() stands in every row and is left out. INITIAL and the dialling rows of DOWN are the initiator's.
// prettier-ignore
export const watchdogTransitions: Readonly<Record<WatchdogState, Readonly<Partial<Record<WatchdogEvent, WatchdogRow>>>>> = {
  //            event             next state  actions
  'OKAY':    { 'DWA':            ['OKAY'],
               'message':        ['OKAY'],
               'timer':          ['OKAY',    'send-DWR'],
               'timer-pending':  ['SUSPECT', 'failover'] },
  'SUSPECT': { 'DWA':            ['OKAY',    'failback'],
               'message':        ['OKAY',    'failback'],
               'timer':          ['DOWN',    'close'],
               'timer-pending':  ['DOWN',    'close'] },
  // Ours: the next probe leaves when the last one is answered, not a Tw later; three round trips, as the RFC demands. Messages
  // that come meanwhile are served, not thrown away: a client would lose its charging for minutes.
  'REOPEN':  { 'DWA':            ['REOPEN',  'send-DWR'],
               'third-DWA':      ['OKAY',    'failback'],
               'message':        ['REOPEN'],
               'timer':          ['REOPEN',  'send-DWR'],
               'timer-pending':  ['REOPEN'], // NumDWA = -1
               'timer-late':     ['DOWN',    'close'] },
  'DOWN':    {},
}

/** How many answered probes make a connection that follows a failed one good again. */
const probes = 3

/** The watchdog of one connection. `SUSPECT` and `REOPEN` carry no requests of ours; theirs are answered in any state. */
export class Watchdog {
  private pending = false
  /** NumDWA of the RFC: -1 after a Tw without the DWA that REOPEN waits for. */
  private answered = 0

  private constructor(private current: WatchdogState) {}

  /** For a connection whose CER was accepted. `reopen`: the peer's last connection failed; the first DWR leaves at once. */
  static connectionUp(reopen: boolean): Watchdog {
    const watchdog = new Watchdog(reopen ? 'REOPEN' : 'OKAY')
    watchdog.pending = reopen
    return watchdog
  }

  get state(): WatchdogState {
    return this.current
  }

  /** A DWA to our DWR came. */
  dwa(): readonly WatchdogAction[] {
    this.pending = false
    if (this.current !== 'REOPEN') return this.take('DWA')
    this.answered++
    return this.take(this.answered < probes ? 'DWA' : 'third-DWA')
  }

  /** Any other message came. Does not make a pending DWR less pending. */
  message(): readonly WatchdogAction[] {
    return this.take('message')
  }

  /** Tw passed without any message. */
  timer(): readonly WatchdogAction[] {
    if (!this.pending) return this.take('timer')
    if (this.current !== 'REOPEN') return this.take('timer-pending')
    if (this.answered < 0) return this.take('timer-late')
    this.answered = -1
    return this.take('timer-pending')
  }

  private take(event: WatchdogEvent): readonly WatchdogAction[] {
    const row = watchdogTransitions[this.current][event]
    if (!row) return []
    const [next, ...actions] = row
    this.current = next
    if (actions.includes('send-DWR')) this.pending = true
    return actions
  }
}

/** Twinit is never less, RFC 3539 section 3.4.1. */
export const shortestWatchdogMs = 6_000
const jitterMs = 2_000

/** Tw: Twinit and a jitter of up to two seconds either way, drawn anew each time. `random` gives 0 ≤ n < 1. */
export const drawTw = (twinitMs: number, random: () => number): number =>
  Math.max(twinitMs, shortestWatchdogMs) + (random() * 2 - 1) * jitterMs
