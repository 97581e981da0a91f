/**
 * The virtual clock of a store: how far business time is ahead of real time, the same for all of its daemons. It stands in the store;
 * who moved it tells the others, and each looks now and then, so that one who was deaf follows a second later.
 */
import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { ForwardClock, Timer } from '../clock.js'
import type { Millis } from '../units.js'
import { virtualTimeKey } from './keys.js'
import type { Nodes } from './nodes.js'
import { BalanceUnavailableError, type Store } from './store.js'

export type MoveOutcome =
  /** Business time before and after. */
  | { readonly status: 'moved'; readonly from: Millis; readonly to: Millis }
  /** It never goes back. */
  | { readonly status: 'backwards'; readonly now: Millis }

const channel = 'ocs:virtual-time'
const lookEveryMs = 1000
/** How often a move starts anew because another one came first. */
const mostAttempts = 20

/** How far a store's virtual clock has been put forward, ms; 0 where it never was. */
export async function storedAhead(store: Store, patienceMs = 5000): Promise<number> {
  const text = await store.call('virtual-time', store.deadlineIn(patienceMs), redis => redis.get(virtualTimeKey))
  return text === null ? 0 : Number(text.slice(0, text.indexOf(' ')))
}

export class VirtualTime {
  private timer: Timer | undefined
  private stopped = false

  constructor(
    private readonly options: {
      readonly store: Store
      readonly nodes: Pick<Nodes, 'listenTo' | 'tellAt'>
      readonly clock: ForwardClock
      readonly log: Logger
      /** Business time has jumped: what came due meanwhile is due now. */
      readonly jumped: () => void
    },
  ) {}

  /** Goes to where the store's clock is, and follows it from now on. @throws BalanceUnavailableError */
  async start(): Promise<void> {
    const { nodes, clock, store } = this.options
    clock.putForward(await storedAhead(store))
    nodes.listenTo(channel, message => {
      const { ahead } = (message ?? {}) as { readonly ahead?: unknown }
      if (typeof ahead === 'number' && Number.isSafeInteger(ahead)) this.follow(ahead)
    })
    this.arm()
  }

  stop(): void {
    this.stopped = true
    this.timer?.cancel()
  }

  /**
   * Moves business time to what `target` makes of the present one, for all daemons of the store.
   *
   * @throws BalanceUnavailableError: then it may have moved
   */
  async move(target: (now: Millis) => Millis): Promise<MoveOutcome> {
    const { store, nodes, clock } = this.options
    const token = randomUUID()
    let before = await storedAhead(store)
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      this.follow(before)
      const from = clock.now()
      const to = target(from)
      if (to < from) return { status: 'backwards', now: from }
      const ahead = Math.round(before + (to - from))
      const reply = await store.call('move-clock', store.deadlineIn(5000), redis =>
        redis.moveClock(virtualTimeKey, String(before), String(ahead), token),
      )
      const [status, stands] = reply.split(' ') as [string, string]
      if (status === 'done') {
        this.follow(Number(stands))
        await nodes.tellAt(channel, { ahead: Number(stands) })
        return { status: 'moved', from, to }
      }
      before = Number(stands)
    }
    throw new BalanceUnavailableError('the clock is moved by others all the time')
  }

  private follow(ahead: number): void {
    const { clock, log, jumped } = this.options
    if (!clock.putForward(ahead)) return
    log.warn({ event: 'virtual_clock', aheadMs: ahead }, `business time is now ${new Date(clock.now()).toISOString()}`)
    jumped()
  }

  private arm(): void {
    if (this.stopped) return
    this.timer = this.options.clock.setTimeout(() => {
      storedAhead(this.options.store)
        .then(ahead => this.follow(ahead))
        .catch(() => undefined) // the store's outage says itself
        .finally(() => this.arm())
    }, lookEveryMs)
  }
}
