/**
 * Delivers the feed's events to one webhook: at least once, those of an account in their order, accounts side by side.
 *
 * An event that fails parks its account: its events wait for the next try, while other accounts go on. When several accounts fail in a
 * row and nobody succeeds, the receiver counts as down: one attempt at a time, half a minute apart at most, until one succeeds; then
 * all that are parked try again soon. An event that was tried for `giveUpMs` is dead, and its account goes on with the next: order is
 * kept among what is delivered.
 *
 * What was delivered is stored before the cursor moves past it, all in one script under the webhook's lease: whoever takes over
 * after a kill begins where nothing is lost, and what is sent twice has the same id. Times here are of the machine, not of business.
 */
import type { Logger } from 'pino'
import type { Feed } from '../balance/feed.js'
import type { Webhooks, WebhookChanges } from '../balance/webhooks.js'
import type { Clock, Timer } from '../clock.js'
import type { Millis } from '../units.js'
import { isUsage, type EventType } from './event-types.js'
import type { AttemptResult, FailedResult, WebhookTarget } from './sender.js'

/** What is counted; telemetry implements it. */
export interface DeliveryMetrics {
  attempted(webhook: string, result: 'delivered' | FailedResult): void
  buried(webhook: string): void
  /** Events left the feed before they were delivered. */
  missed(webhook: string): void
}

export interface RetryTerms {
  /** Before the second attempt; doubled each time, a fifth more or less. */
  readonly firstMs: number
  readonly mostMs: number
  /** From the first attempt to the last. */
  readonly giveUpMs: number
}

/** A webhook as it is configured. */
export interface WebhookTerms extends WebhookTarget {
  readonly name: string
  /** Types, or `balance.*`; none: all but usage. */
  readonly types: readonly string[]
  /** Attempts side by side, each of another account. */
  readonly parallel: number
  readonly retry: RetryTerms
}

export interface DeliveryOptions {
  readonly webhook: WebhookTerms
  readonly feed: Pick<Feed, 'read' | 'state'>
  readonly webhooks: Webhooks
  readonly send: (target: WebhookTarget, eventId: string, body: string) => Promise<AttemptResult>
  /** Of this daemon among all on this store. */
  readonly owner: string
  /** Of the machine: not one that is moved. */
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: DeliveryMetrics
  /** Numbers in [0, 1) for jitter. */
  readonly random?: () => number
  readonly leaseMs?: number
  /** Between two looks at the feed, at the lease and at what an operator wants; default 1 s. */
  readonly roundMs?: number
  /** Events that may wait for another try; above it nothing new is read. Default 10,000. */
  readonly mostParked?: number
}

/** As it is buried, and listed. */
export interface DeadLetter {
  readonly webhook: string
  readonly event: string
  readonly account: string
  readonly type: string
  readonly attempts: number
  /** Unix ms. */
  readonly since: Millis
  readonly at: Millis
  readonly why: string
}

/** Of a parked account, as it is stored. */
interface Parked {
  /** First attempt at the event that is its first now; Unix ms. */
  readonly since: Millis
  readonly attempts: number
  /** Not before; Unix ms. */
  readonly next: Millis
  readonly why: string
}

interface Waiting {
  readonly account: string
  readonly events: { readonly text: string; number: number | undefined; readonly cursor: string | undefined }[]
  parked: Parked | undefined
  busy: boolean
}

interface Envelope {
  readonly id: string
  readonly type: EventType
  readonly account?: string
}

const eventsOfOneRead = 200
/** Events in memory that are neither delivered nor parked. */
const windowMost = 1000
const replayAtOnce = 100
/** Accounts that fail in a row, nobody succeeding in between, before the receiver counts as down. */
const downAfter = 5
const probeMs = { first: 1000, most: 30_000 }
/** After it is up again, what is parked tries within this time. */
const spreadMs = 5000
/** Of events of no account: they share one order. */
const noAccount = '-'

export class Delivery {
  private readonly accounts = new Map<string, Waiting>()
  /** Accounts that are not parked and wait for their turn, in the order that their events came. */
  private readonly ready = new Set<string>()
  /** Cursors in the feed's order, and which of them are done. */
  private readonly window: { readonly cursor: string; done: boolean }[] = []
  private readonly places = new Map<string, { readonly cursor: string; done: boolean }>()
  private readonly changed = { set: new Map<string, string>(), gone: new Set<string>(), buried: [] as string[] }
  private replayed = 0
  private read: string | undefined
  private cursor: string | undefined
  private storedCursor: string | undefined
  private number = 0
  private parkedEvents = 0
  private mine = false
  private paused = false
  private inFlight = 0
  private readonly failing = new Set<string>()
  private failures = 0
  private probeAt = 0
  private round: Timer | undefined
  private wake: Timer | undefined
  private queue: Promise<unknown> = Promise.resolve()
  private soon: Timer | undefined
  private stopped = false
  private saidDown = false

  constructor(private readonly options: DeliveryOptions) {}

  get name(): string {
    return this.options.webhook.name
  }

  /** Whether this daemon delivers for the webhook now. */
  get active(): boolean {
    return this.mine
  }

  start(): void {
    this.nextRound(0)
  }

  /** There is something new in the feed, or an operator wants something: it is looked at soon. */
  hint(): void {
    if (this.stopped || this.soon !== undefined || !this.mine) return
    this.soon = this.options.clock.setTimeout(() => {
      this.soon = undefined
      void this.look()
    }, 20)
  }

  /** Waits for what is in flight, notes what became of it and gives the lease back. */
  async stop(): Promise<void> {
    this.stopped = true
    this.round?.cancel()
    this.wake?.cancel()
    this.soon?.cancel()
    const { clock, webhook, webhooks, owner } = this.options
    const deadline = clock.monotonic() + Math.min(webhook.timeoutMs, 2000)
    while (this.inFlight > 0 && clock.monotonic() < deadline)
      await new Promise<void>(resolve => clock.setTimeout(resolve, 20))
    if (!this.mine) return
    await this.inTurn(() => this.note()).catch(() => undefined) // the next one repeats some
    await webhooks.release(webhook.name, owner).catch(() => undefined)
    this.forget()
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.queue.then(work)
    this.queue = done.catch(() => undefined)
    return done
  }

  private nextRound(ms: number): void {
    if (this.stopped) return
    this.round = this.options.clock.setTimeout(() => {
      void this.look().finally(() => this.nextRound(this.options.roundMs ?? 1000))
    }, ms)
  }

  /** One look: lease, orders, what is new in the feed; then whatever may be sent is. */
  look(): Promise<void> {
    return this.inTurn(async () => {
      if (this.stopped) return
      try {
        if (!(await this.isMine())) return
        await this.takeOrders()
        await this.readFeed()
        await this.note()
      } catch (error) {
        this.options.log.debug({ event: 'webhook_round', webhook: this.name, err: error })
      }
      this.pump()
    })
  }

  private async isMine(): Promise<boolean> {
    const { webhooks, owner, leaseMs = 10_000, webhook } = this.options
    const mine = await webhooks.take(webhook.name, owner, leaseMs)
    if (!mine) this.forget()
    else if (!this.mine) await this.begin()
    return mine
  }

  /** Somebody else delivers now, or will. */
  private forget(): void {
    this.mine = false
    this.accounts.clear()
    this.ready.clear()
    this.places.clear()
    this.window.length = 0
    this.changed.set.clear()
    this.changed.gone.clear()
    this.changed.buried.length = 0
    this.failing.clear()
    this.replayed = 0
    this.parkedEvents = 0
    this.failures = 0
  }

  /** Goes on where whoever had the lease before us was. */
  private async begin(): Promise<void> {
    const { webhooks, feed, webhook } = this.options
    this.forget()
    const state = await webhooks.state(webhook.name)
    // A new webhook begins with what comes now: the past is in the feed for whoever wants it.
    const cursor = state.cursor ?? (await feed.state()).newest
    this.read = cursor
    this.cursor = cursor
    this.storedCursor = state.cursor
    const events: [account: string, number: number, text: string][] = []
    for (const [field, text] of state.parked) {
      const [account, number] = field.split(' ') as [string, string | undefined]
      if (number === undefined) this.waiting(account).parked = JSON.parse(text) as Parked
      else events.push([account, Number(number), text])
    }
    for (const [account, number, text] of events.sort((a, b) => a[1] - b[1])) {
      const waiting = this.waiting(account)
      waiting.events.push({ text, number, cursor: undefined })
      waiting.parked ??= { since: this.options.clock.now(), attempts: 0, next: 0, why: '' }
      this.number = Math.max(this.number, number)
      this.parkedEvents++
    }
    for (const [account, { events: some }] of this.accounts) if (some.length === 0) this.drop(account)
    this.mine = true
  }

  private async takeOrders(): Promise<void> {
    const { webhooks, webhook, clock } = this.options
    const { paused, replay } = await webhooks.orders(webhook.name, this.replayed + replayAtOnce)
    this.paused = paused
    for (const text of replay.slice(this.replayed)) {
      const account = accountOf(text)
      const waiting = this.waiting(account)
      const parked = waiting.parked ?? { since: clock.now(), attempts: 0, next: clock.now(), why: 'replayed' }
      // Before what waits already: it is older.
      this.park(waiting, parked)
      const first = waiting.busy ? 1 : 0
      const number = Math.min(0, ...waiting.events.map(each => each.number ?? 0)) - 1
      if (first === 1 && waiting.events.length > 0) this.append(waiting, text, undefined)
      else {
        waiting.events.unshift({ text, number, cursor: undefined })
        this.setEvent(account, number, text)
        this.parkedEvents++
      }
      this.replayed++
    }
  }

  private async readFeed(): Promise<void> {
    const { feed, webhook, metrics, log, mostParked = 10_000 } = this.options
    while (!this.paused && this.window.length < windowMost && this.parkedEvents < mostParked) {
      const page = await feed.read(this.read, eventsOfOneRead)
      if (page.status === 'expired') {
        metrics.missed(webhook.name)
        log.error(
          { event: 'webhook_missed', webhook: webhook.name },
          'events left the feed before they were delivered: the receiver must rebuild its state from an export',
        )
        this.read = page.oldest
        continue
      }
      for (const { cursor, text } of page.items) {
        this.read = cursor
        const { type } = JSON.parse(text) as Envelope
        const place = { cursor, done: !takes(webhook, type) }
        this.window.push(place)
        if (place.done) continue
        this.places.set(cursor, place)
        this.append(this.waiting(accountOf(text)), text, cursor)
      }
      this.advance()
      if (!page.more) return
    }
  }

  private waiting(account: string): Waiting {
    let waiting = this.accounts.get(account)
    if (!waiting) {
      waiting = { account, events: [], parked: undefined, busy: false }
      this.accounts.set(account, waiting)
    }
    return waiting
  }

  private append(waiting: Waiting, text: string, cursor: string | undefined): void {
    if (waiting.parked) {
      const number = ++this.number
      waiting.events.push({ text, number, cursor: undefined })
      this.setEvent(waiting.account, number, text)
      this.parkedEvents++
      if (cursor !== undefined) this.done(cursor)
      return
    }
    waiting.events.push({ text, number: undefined, cursor })
    if (!waiting.busy) this.ready.add(waiting.account)
  }

  private setEvent(account: string, number: number, text: string): void {
    this.changed.set.set(`${account} ${number}`, text)
    this.changed.gone.delete(`${account} ${number}`)
  }

  /** Its events are stored apart from the feed, so that the cursor may pass them. */
  private park(waiting: Waiting, parked: Parked): void {
    const { account } = waiting
    if (!waiting.parked) {
      for (const event of waiting.events) {
        event.number = ++this.number
        this.setEvent(account, event.number, event.text)
        this.parkedEvents++
        if (event.cursor !== undefined) this.done(event.cursor)
      }
      this.ready.delete(account)
    }
    waiting.parked = parked
    this.changed.set.set(account, JSON.stringify(parked))
    this.changed.gone.delete(account)
  }

  private done(cursor: string): void {
    const place = this.places.get(cursor)
    if (place) place.done = true
    this.places.delete(cursor)
  }

  /** The cursor moves to before the first event that is not done. */
  private advance(): void {
    const { window } = this
    let done = 0
    while (done < window.length && window[done]!.done) done++
    if (done === 0) return
    this.cursor = window[done - 1]!.cursor
    window.splice(0, done)
  }

  /** Starts as many attempts as may be. */
  private pump(): void {
    const { clock, webhook } = this.options
    if (this.stopped || !this.mine || this.paused) return
    this.wake?.cancel()
    this.wake = undefined
    if (this.isDown) {
      if (this.inFlight > 0) return
      const wait = this.probeAt - clock.monotonic()
      if (wait > 0) {
        this.wakeIn(wait)
        return
      }
      // One that was not tried yet rather than one that failed: a few bad accounts do not hold up all others.
      const [account] = this.ready
      const probe = account ?? this.longestWaiting()
      if (probe !== undefined) this.attempt(this.accounts.get(probe)!)
      return
    }
    for (const account of this.ready) {
      if (this.inFlight >= webhook.parallel) return
      this.attempt(this.accounts.get(account)!)
    }
    const now = clock.now()
    let next = Infinity
    for (const waiting of this.accounts.values()) {
      if (!waiting.parked || waiting.busy) continue
      if (waiting.parked.next > now) next = Math.min(next, waiting.parked.next)
      else if (this.inFlight >= webhook.parallel) return
      else this.attempt(waiting)
    }
    if (next < Infinity) this.wakeIn(next - now)
  }

  private wakeIn(ms: number): void {
    this.wake = this.options.clock.setTimeout(() => {
      this.wake = undefined
      this.pump()
    }, ms)
  }

  private get isDown(): boolean {
    return this.failing.size >= downAfter
  }

  /** Parked account whose next try is the nearest. */
  private longestWaiting(): string | undefined {
    let first: Waiting | undefined
    for (const waiting of this.accounts.values())
      if (waiting.parked && (!first || waiting.parked.next < first.parked!.next)) first = waiting
    return first?.account
  }

  private attempt(waiting: Waiting): void {
    const { send, webhook } = this.options
    this.ready.delete(waiting.account)
    waiting.busy = true
    this.inFlight++
    const { text } = waiting.events[0]!
    void send(webhook, (JSON.parse(text) as Envelope).id, text).then(result => {
      this.inFlight--
      waiting.busy = false
      if (this.accounts.get(waiting.account) !== waiting) return // the lease was lost meanwhile
      this.options.metrics.attempted(webhook.name, result.status === 'delivered' ? 'delivered' : result.result)
      if (result.status === 'delivered') this.delivered(waiting)
      else this.failed(waiting, result.why)
      this.advance()
      this.pump()
      this.settle()
    })
  }

  private delivered(waiting: Waiting): void {
    const wasDown = this.isDown
    this.failing.clear()
    this.failures = 0
    this.takeFirst(waiting)
    const { clock, random = Math.random } = this.options
    const now = clock.now()
    if (waiting.parked && waiting.events.length > 0) this.park(waiting, { since: now, attempts: 0, next: now, why: '' })
    if (!wasDown) return
    this.options.log.info({ event: 'webhook_up', webhook: this.name }, 'the receiver takes events again')
    this.saidDown = false
    for (const other of this.accounts.values()) {
      if (!other.parked) continue
      const soon = now + Math.floor(random() * spreadMs)
      if (other.parked.next > soon) this.park(other, { ...other.parked, next: soon })
    }
  }

  /** The first event is delivered or dead. */
  private takeFirst(waiting: Waiting): void {
    const { number, cursor } = waiting.events.shift()!
    if (cursor !== undefined) this.done(cursor)
    if (number !== undefined) {
      const field = `${waiting.account} ${number}`
      this.changed.set.delete(field)
      this.changed.gone.add(field)
      this.parkedEvents--
    }
    if (waiting.events.length === 0) this.drop(waiting.account)
    else if (!waiting.parked) this.ready.add(waiting.account)
  }

  private drop(account: string): void {
    const waiting = this.accounts.get(account)
    this.accounts.delete(account)
    this.ready.delete(account)
    if (!waiting?.parked) return
    this.changed.set.delete(account)
    this.changed.gone.add(account)
  }

  private failed(waiting: Waiting, why: string): void {
    const { clock, webhook, log, metrics, random = Math.random } = this.options
    const { firstMs, mostMs, giveUpMs } = webhook.retry
    const now = clock.now()
    this.failing.add(waiting.account)
    this.failures++
    if (this.isDown) {
      const pause = Math.min(probeMs.most, probeMs.first * 2 ** Math.min(10, this.failures - downAfter))
      this.probeAt = clock.monotonic() + pause
      if (!this.saidDown) log.warn({ event: 'webhook_down', webhook: this.name, why }, 'the receiver takes no events')
      this.saidDown = true
    }
    const attempts = (waiting.parked?.attempts ?? 0) + 1
    const since = waiting.parked && waiting.parked.attempts > 0 ? waiting.parked.since : now
    if (now - since >= giveUpMs) {
      const { text } = waiting.events[0]!
      const { type } = JSON.parse(text) as Envelope
      const { account } = waiting
      const letter: DeadLetter = { webhook: this.name, event: text, account, type, attempts, since, at: now, why }
      this.changed.buried.push(JSON.stringify(letter))
      metrics.buried(this.name)
      log.error({ event: 'webhook_dead', webhook: this.name, attempts, why }, 'an event was given up')
      this.takeFirst(waiting)
      if (waiting.events.length > 0) this.park(waiting, { since: now, attempts: 0, next: now, why })
      return
    }
    const pause = Math.min(mostMs, firstMs * 2 ** Math.min(30, attempts - 1)) * (0.8 + 0.4 * random())
    // Not past the end: the last try is at it.
    const next = Math.min(now + Math.round(pause), since + giveUpMs)
    this.park(waiting, { since, attempts, next, why })
  }

  /** Notes what was delivered soon, many together; reads on when there is room. */
  private settle(): void {
    this.hint()
  }

  private async note(): Promise<void> {
    const { webhooks, webhook, owner, leaseMs = 10_000 } = this.options
    const { set, gone, buried } = this.changed
    const moved = this.cursor !== undefined && this.cursor !== this.storedCursor
    if (!moved && set.size + gone.size + buried.length + this.replayed === 0) return
    const changes: WebhookChanges = {
      cursor: moved ? this.cursor : undefined,
      replayed: this.replayed,
      set: new Map(set),
      gone: [...gone],
      buried: [...buried],
    }
    set.clear()
    gone.clear()
    buried.length = 0
    this.replayed = 0
    let noted: 'noted' | 'lost'
    try {
      noted = await webhooks.change(webhook.name, owner, leaseMs, changes)
    } catch (error) {
      // What we know is not what is stored: begin again from there, which may send some twice.
      this.forget()
      throw error
    }
    if (noted === 'lost') this.forget()
    else if (changes.cursor !== undefined) this.storedCursor = changes.cursor
  }
}

/** Whether a webhook wants events of a type. */
export function takes({ types }: Pick<WebhookTerms, 'types'>, type: EventType): boolean {
  if (types.length === 0) return !isUsage(type)
  return types.some(
    each => each === type || each === '*' || (each.endsWith('.*') && type.startsWith(each.slice(0, -1))),
  )
}

const accountOf = (text: string): string => (JSON.parse(text) as Envelope).account ?? noAccount
