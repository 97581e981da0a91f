/**
 * Overload: which requests of the peers are worked on now, which wait, and which are shed with 3004 (TOO_BUSY), unread.
 *
 * A peer has at most so many requests in work and so many a second, all peers together at most so many in work. What is
 * above that waits, and the peer's socket rests (TCP pushes back). When that has not helped for `queueAgeMs`, reading goes
 * on and what waits too long is shed: INITIAL first, then event, UPDATE, TERMINATE at last. Peers take turns, so that the
 * one that floods waits for itself. DWR and DPR do not come here.
 *
 * While the store stands still nothing is shed for its age but what has outlasted the hold budget: that is a pause, not an
 * overload. While it answers slowly, fewer are in work: they wait here, in our order, rather than there.
 */
import { totalmem } from 'node:os'
import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8'
import type { Clock, Timer } from '../clock.js'
import type { DiameterLimits, PeerLimits } from '../config/config.js'
import { DiameterError, ResultCode } from './errors.js'
import type { Header } from './header.js'
import { firstUnsigned32 } from './routing.js'

/** In the order in which they are shed. What is no CCR counts as an event. */
export const requestKinds = ['initial', 'event', 'update', 'terminate'] as const
export type RequestKind = (typeof requestKinds)[number]

/** Why a request was shed. */
export const shedReasons = [
  'rate', // its peer sends more a second than it may
  'in_flight', // its peer has as many in work as it may
  'overload', // all peers together have
  'queue_full', // too many wait
  'stale', // it is older than the hold budget: its gateway has given it up
  'memory', // the process nears its limit
] as const
export type ShedReason = (typeof shedReasons)[number]

/** A request as far as it is looked at here. */
export interface Waiting {
  readonly header: Header
  readonly octets: Buffer
  /** By the clock's `monotonic()`. */
  readonly arrivedAt: number
}

/** A connection, as its gate knows it. */
export interface GateOwner<R> {
  /** Work on it; `Gate.done` is called once for each. */
  start(request: R): void
  /** Answer it with this. */
  shed(request: R, error: DiameterError): void
  /** `Gate.resting` has changed. */
  adjust(): void
}

export interface AdmissionOptions {
  readonly limits: DiameterLimits
  /** A request that is older is not worth an answer. */
  readonly holdBudgetMs: number
  readonly clock: Clock
  /** One was shed; `seconds` since it came. */
  readonly onShed: (peer: string, reason: ShedReason, kind: RequestKind, seconds: number) => void
  /** How much of the memory that the process may have is in use, 0 to 1. */
  readonly memory: () => number
}

/** What waits and works, for metrics. */
export interface Load {
  readonly inWork: number
  /** At most so many in work for now. */
  readonly cap: number
  readonly queued: number
  /** Age of the oldest that waits, ms. */
  readonly queueAgeMs: number
}

/** While anything waits, it is looked at so often. */
const tickMs = 20
/** The event loop is alive when this beat comes in time. */
const beatMs = 250
/** A loop that turned no faster than that stood still: what it reads then came at any time since. */
const loopStallMs = 1_000
/** Nothing was answered for so long: the store stands still. */
const storeStallMs = 200
/** What waits may hold on to so many octets. */
const queueOctets = 64 * 1024 * 1024

/** In work: so many at first, more as long as answers take less than the target, fewer when they take longer, down to the least. */
const firstInWork = 256
const leastInWork = 128
/** The mean of a window: twice the usual, which is the least that one had of late, within these bounds, ms. */
const targetOfUsual = 2
const targetMs = { least: 50, most: 400 }
/** Of the usual, a window that is worse: it is forgotten in some minutes. */
const usualGrowth = 1.001
const windowMs = 100

/** How many times `queueAgeMs` a request may wait; TERMINATE as long as the hold budget. */
const patience: Readonly<Record<RequestKind, number>> = { initial: 1, event: 2, update: 4, terminate: Infinity }
/** Shares of the memory from which on requests are shed as they come, in the order of `requestKinds`. */
const memoryLevels = [0.8, 0.85, 0.9, 0.95]
/** The heap's share is the least of so many beats: what is garbage goes at the next collection. */
const memorySamples = 4
/** Or what it is now less so much, when it grows fast: then it is looked at after so many requests, too. */
const garbageShare = 0.05
const memoryEvery = 256
/** Buckets of peers that are gone are kept, so that nobody gets a new one by connecting again. */
const bucketsKept = 10_000

const error = (message: string): DiameterError => new DiameterError(ResultCode.TOO_BUSY, message)
/** One of each for all requests: an error with a stack costs more than the rest of a refusal. */
const errors: Readonly<Record<ShedReason, DiameterError>> = {
  rate: error('more requests a second than this peer may send; this one was not read'),
  in_flight: error('this peer has as many requests in work as it may; this one was not read'),
  overload: error('this node has as many requests in work as it can; this one was not read'),
  queue_full: error('too many requests wait in this node; this one was not read'),
  stale: error('this request waited too long in this node; it was not read'),
  memory: error('this node is short of memory; this request was not read'),
}

const creditControl = 272
const ccRequestType = 416
const kindOfType: readonly (RequestKind | undefined)[] = [undefined, 'initial', 'update', 'terminate', 'event']

/** From the octets, without decoding: the first CC-Request-Type that can be read. */
export function kindOf(header: Header, octets: Buffer): RequestKind {
  if (header.commandCode !== creditControl) return 'event'
  return kindOfType[firstUnsigned32(octets, ccRequestType) ?? 0] ?? 'event'
}

/** The one of a server. */
export class Admission<R extends Waiting> {
  private inWork = 0
  private queued = 0
  private octets = 0
  /** Those of which something waits; who is first now was last before. */
  private readonly turns: Gate<R>[] = []
  private turn = 0
  private readonly tired: Gate<R>[] = []
  private pumping = false
  private readonly rows = new Map<string, Allowance>()
  private readonly buckets = new Map<string, Bucket>()
  private tick: Timer | undefined

  private cap: number
  private usualMs = targetMs.least
  private window = { since: 0, answers: 0, sum: 0, most: 0 }
  /** When something was served last, or work began. */
  private progressAt = -Infinity
  /** What came before met a store that stood still: it has as long again before it is too old. */
  private stallEndedAt = -Infinity
  private graceUntil = -Infinity

  /** Gates with a peer. */
  private open = 0
  private beat: Timer | undefined
  private beatAt: number
  /** What is read now may have come at any time since. */
  private unreadSince: number | undefined
  private goodBeats = 0
  private readonly shares: number[] = []
  private begun = 0
  /** So many kinds are shed as they come. */
  private memoryLevel = 0

  constructor(private readonly options: AdmissionOptions) {
    this.cap = Math.min(firstInWork, options.limits.inFlightInAll)
    this.beatAt = options.clock.monotonic()
  }

  /** For one connection. */
  gate(owner: GateOwner<R>): Gate<R> {
    return new Gate(this, owner)
  }

  get load(): Load {
    const now = this.options.clock.monotonic()
    let oldest = now
    for (const gate of this.turns) oldest = Math.min(oldest, gate.oldest)
    return { inWork: this.inWork, cap: this.cap, queued: this.queued, queueAgeMs: now - oldest }
  }

  // What gates ask.

  /** The event loop and the memory are watched as long as there is a peer. */
  opened(): void {
    if (this.open++ > 0) return
    this.beatAt = this.options.clock.monotonic()
    this.beat = this.options.clock.setTimeout(() => this.onBeat(), beatMs)
  }

  /** What all connections of a row share. */
  rowOf(name: string, most: number): Allowance {
    let row = this.rows.get(name)
    if (!row) this.rows.set(name, (row = { inWork: 0, most }))
    return row
  }

  /** Of a row, or of an Origin-Host; undefined: it may send as much as it likes. */
  bucketOf(whose: string, ratePerSecond: number): Bucket | undefined {
    if (ratePerSecond === 0) return undefined
    const now = this.options.clock.monotonic()
    let bucket = this.buckets.get(whose)
    if (bucket?.ratePerSecond === ratePerSecond) return bucket
    bucket = new Bucket(ratePerSecond, now)
    this.buckets.set(whose, bucket)
    for (const [other, kept] of this.buckets) {
      if (this.buckets.size <= bucketsKept) break
      if (kept !== bucket) this.buckets.delete(other)
    }
    return bucket
  }

  get limits(): DiameterLimits {
    return this.options.limits
  }

  /** When octets that were read at `readAt` came, at the earliest. */
  cameAt(readAt: number): number {
    if (readAt - this.beatAt > loopStallMs) return this.beat ? this.beatAt : readAt
    return this.unreadSince ?? readAt
  }

  offer(gate: Gate<R>, request: R): void {
    const now = this.options.clock.monotonic()
    if (now - request.arrivedAt > this.options.holdBudgetMs) {
      this.refuse(gate, request, kindOf(request.header, request.octets), 'stale')
      return
    }
    if (this.memoryLevel > 0) {
      const kind = kindOf(request.header, request.octets)
      if (requestKinds.indexOf(kind) < this.memoryLevel) {
        this.refuse(gate, request, kind, 'memory')
        return
      }
    }
    if (gate.queued === 0 && this.inWork < this.mostInWork(now) && gate.mayStart(now)) {
      if (this.inWork === 0) this.progressAt = now
      this.begin(gate, request)
      return
    }
    this.enqueue(gate, request, now)
    if (this.queued > this.options.limits.queue || this.octets > queueOctets) this.makeRoom()
  }

  /** One that was begun is over; `served`: not for want of a store. */
  done(startedAt: number, served: boolean): void {
    this.inWork--
    const now = this.options.clock.monotonic()
    if (served) {
      const pause = now - this.progressAt
      if (pause > storeStallMs) {
        this.stallEndedAt = now
        this.graceUntil = now + pause
      }
      this.progressAt = now
      // What met a pause says nothing of load.
      if (startedAt >= this.stallEndedAt) this.sample(now, now - startedAt)
    }
    if (this.queued > 0) this.pump(now)
  }

  private sample(now: number, took: number): void {
    this.window.answers++
    this.window.sum += took
    if (now - this.window.since >= windowMs) this.adapt(now)
  }

  /** Nothing of it is to be answered any more. */
  leave(gate: Gate<R>): void {
    for (const kind of requestKinds) {
      for (let entry = gate.lanes[kind].shift(); entry; entry = gate.lanes[kind].shift()) this.forget(gate, entry)
    }
    if (--this.open > 0) return
    this.options.clock.clearTimeout(this.beat)
    this.beat = undefined
  }

  // The queue.

  private begin(gate: Gate<R>, request: R): void {
    if (++this.inWork > this.window.most) this.window.most = this.inWork
    if (++this.begun % memoryEvery === 0 && this.shares.length > 0) this.weigh(this.options.memory())
    gate.begin(request)
  }

  private enqueue(gate: Gate<R>, request: R, now: number): void {
    const kind = kindOf(request.header, request.octets)
    gate.lanes[kind].push({ request, since: now })
    this.queued++
    this.octets += request.octets.length
    if (gate.queued++ === 0) {
      this.turns.push(gate)
      gate.restUntil = now + this.options.limits.queueAgeMs
    }
    gate.rest(true)
    if (now >= gate.restUntil) this.readOn(gate)
    this.tick ??= this.options.clock.setTimeout(() => this.onTick(), tickMs)
  }

  /** Its rest has not helped: it is read again as soon as this turn's answers are dealt with. */
  private readOn(gate: Gate<R>): void {
    if (this.tired.push(gate) > 1) return
    setImmediate(() => {
      for (const each of this.tired.splice(0)) each.rest(false)
    })
  }

  private forget(gate: Gate<R>, { request }: Entry<R>): void {
    this.queued--
    this.octets -= request.octets.length
    if (--gate.queued > 0) return
    const at = this.turns.indexOf(gate)
    this.turns.splice(at, 1)
    if (at < this.turn) this.turn--
    gate.rest(false)
  }

  /** Begins what may begin, a request of each peer in turn, and of a peer TERMINATE first. */
  private pump(now: number): void {
    if (this.pumping) return // a request that is refused at once is over before it was begun
    this.pumping = true
    let idle = 0
    const most = this.mostInWork(now)
    while (this.inWork < most && idle < this.turns.length) {
      if (this.turn >= this.turns.length) this.turn = 0
      const gate = this.turns[this.turn++]!
      if (!gate.mayStart(now)) {
        idle++
        continue
      }
      idle = 0
      const entry = gate.next()!
      this.forget(gate, entry)
      const { request } = entry
      if (now - request.arrivedAt > this.options.holdBudgetMs)
        this.refuse(gate, request, kindOf(request.header, request.octets), 'stale')
      else this.begin(gate, request)
    }
    this.pumping = false
  }

  /** Those that wait for a store that stands still slow nobody down; and what they report can go to the spool. */
  private mostInWork(now: number): number {
    return this.standsStill(now) ? this.options.limits.inFlightInAll : this.cap
  }

  private standsStill(now: number): boolean {
    return this.inWork > 0 && now - this.progressAt > storeStallMs
  }

  private onTick(): void {
    this.tick = undefined
    const now = this.options.clock.monotonic()
    this.pump(now)
    for (const gate of [...this.turns]) this.expire(gate, now)
    for (const gate of this.turns) if (now >= gate.restUntil) gate.rest(false)
    if (this.queued > 0) this.tick = this.options.clock.setTimeout(() => this.onTick(), tickMs)
  }

  /** Sheds what has waited too long. */
  private expire(gate: Gate<R>, now: number): void {
    const { holdBudgetMs, limits } = this.options
    const stalled = this.standsStill(now)
    const blocked = gate.blockedBy(now)
    for (const kind of requestKinds) {
      const lane = gate.lanes[kind]
      for (let entry = lane.first; entry; entry = lane.first) {
        const { request, since } = entry
        const stale = now - request.arrivedAt > holdBudgetMs
        const paused = blocked !== 'rate' && (stalled || (since <= this.stallEndedAt && now < this.graceUntil))
        if (!stale && (paused || now - since <= patience[kind] * limits.queueAgeMs)) break
        lane.shift()
        this.forget(gate, entry)
        this.refuse(gate, request, kind, stale ? 'stale' : (blocked ?? 'overload'))
      }
    }
  }

  /** Sheds one: of those peers that wait with no less than their share, of the kind that goes first. */
  private makeRoom(): void {
    const share = this.queued / this.turns.length
    for (const kind of requestKinds) {
      let most: Gate<R> | undefined
      for (const gate of this.turns) {
        const length = gate.lanes[kind].length
        if (gate.queued >= share && length > 0 && length > (most?.lanes[kind].length ?? 0)) most = gate
      }
      if (!most) continue
      const entry = most.lanes[kind].shift()!
      this.forget(most, entry)
      this.refuse(most, entry.request, kind, 'queue_full')
      return
    }
  }

  private refuse(gate: Gate<R>, request: R, kind: RequestKind, reason: ShedReason): void {
    const { clock, onShed } = this.options
    onShed(gate.peer, reason, kind, (clock.monotonic() - request.arrivedAt) / 1000)
    gate.shed(request, errors[reason])
  }

  /** How many may be in work: a tenth less when answers take too long, a fourth more when they do not and the cap is met. */
  private adapt(now: number): void {
    const { answers, sum, most } = this.window
    this.window = { since: now, answers: 0, sum: 0, most: this.inWork }
    const { inFlightInAll } = this.options.limits
    const least = Math.min(leastInWork, inFlightInAll)
    const mean = sum / answers
    this.usualMs = Math.min(mean, this.usualMs * usualGrowth)
    if (mean > Math.min(targetMs.most, Math.max(targetMs.least, targetOfUsual * this.usualMs)))
      this.cap = Math.max(least, Math.floor(Math.min(this.cap, most) * 0.9))
    else if (most >= this.cap) this.cap = Math.min(inFlightInAll, Math.ceil(this.cap * 1.25))
  }

  // The process.

  private onBeat(): void {
    const { clock, memory } = this.options
    const now = clock.monotonic()
    if (now - this.beatAt > loopStallMs) {
      this.unreadSince ??= this.beatAt
      this.goodBeats = 0
    } else if (++this.goodBeats >= 2) {
      this.unreadSince = undefined
    }
    this.beatAt = now
    this.shares.push(memory())
    if (this.shares.length > memorySamples) this.shares.shift()
    this.weigh(this.shares.at(-1)!)
    this.beat = clock.setTimeout(() => this.onBeat(), beatMs)
  }

  private weigh(now: number): void {
    const share = Math.max(Math.min(...this.shares), now - garbageShare)
    this.memoryLevel = memoryLevels.filter(level => share >= level).length
  }
}

interface Entry<R> {
  readonly request: R
  readonly since: number
}

/** The door of one connection. */
export class Gate<R extends Waiting> {
  /** The peer's row; metric label. */
  peer = ''
  /** Requests that wait. */
  queued = 0
  /** Its socket rests until then; afterwards one read a turn is taken in. */
  restUntil = 0
  readonly lanes: Readonly<Record<RequestKind, Lane<Entry<R>>>> = {
    initial: new Lane(),
    event: new Lane(),
    update: new Lane(),
    terminate: new Lane(),
  }
  private inWork = 0
  private allowance: Allowance
  private bucket: Bucket | undefined
  private rests = false
  private known = false
  private closed = false

  constructor(
    private readonly admission: Admission<R>,
    private readonly owner: GateOwner<R>,
  ) {
    this.allowance = { inWork: 0, most: admission.limits.inFlight }
  }

  /** Its peer is known now. @param own what all connections of its row may take together */
  opened(peer: string, originHost: string, own: PeerLimits | undefined): void {
    const { admission } = this
    this.peer = peer
    this.known = true
    admission.opened()
    if (own?.inFlight !== undefined) this.allowance = admission.rowOf(peer, own.inFlight)
    this.bucket =
      own?.ratePerSecond === undefined
        ? admission.bucketOf(originHost.toLowerCase(), admission.limits.ratePerSecond)
        : admission.bucketOf(`row ${peer}`, own.ratePerSecond)
  }

  /** Its socket is not to be read now. */
  get resting(): boolean {
    return this.rests
  }

  /** Requests that are worked on, or wait for that. */
  get inFlight(): number {
    return this.inWork + this.queued
  }

  /** When octets that were read at `readAt` came, at the earliest: before that the event loop may have stood still. */
  cameAt(readAt: number): number {
    return this.admission.cameAt(readAt)
  }

  /** Begins it, lets it wait, or sheds it: the owner is told which, perhaps before this returns. */
  offer(request: R): void {
    this.admission.offer(this, request)
  }

  /**
   * One that was begun is over.
   *
   * @param startedAt by the clock's `monotonic()`
   * @param served false: it was not answered, or TOO_BUSY, as the store is away
   */
  done(startedAt: number, served: boolean): void {
    this.inWork--
    this.allowance.inWork--
    this.admission.done(startedAt, served)
  }

  /** The connection is over: what waits is forgotten. */
  close(): void {
    if (this.known && !this.closed) this.admission.leave(this)
    this.closed = true
  }

  // What the admission asks.

  get oldest(): number {
    return Math.min(...requestKinds.map(kind => this.lanes[kind].first?.since ?? Infinity))
  }

  /** Whether one more may begin; takes a token if so. */
  mayStart(now: number): boolean {
    return this.allowance.inWork < this.allowance.most && (this.bucket === undefined || this.bucket.take(now))
  }

  blockedBy(now: number): 'rate' | 'in_flight' | undefined {
    if (this.bucket?.empty(now) === true) return 'rate'
    return this.allowance.inWork >= this.allowance.most ? 'in_flight' : undefined
  }

  begin(request: R): void {
    this.inWork++
    this.allowance.inWork++
    this.owner.start(request)
  }

  shed(request: R, why: DiameterError): void {
    if (!this.closed) this.owner.shed(request, why)
  }

  next(): Entry<R> | undefined {
    const { terminate, update, event, initial } = this.lanes
    return terminate.shift() ?? update.shift() ?? event.shift() ?? initial.shift()
  }

  rest(rests: boolean): void {
    if (this.rests === rests || this.closed) return
    this.rests = rests
    this.owner.adjust()
  }
}

/** First in, first out. */
class Lane<E> {
  private entries: E[] = []
  private head = 0

  get length(): number {
    return this.entries.length - this.head
  }

  get first(): E | undefined {
    return this.entries[this.head]
  }

  push(entry: E): void {
    this.entries.push(entry)
  }

  shift(): E | undefined {
    if (this.head === this.entries.length) return undefined
    const entry = this.entries[this.head]
    this.entries[this.head++] = undefined as E // or what it holds stays in memory
    if (this.head === this.entries.length) {
      this.entries.length = this.head = 0
    } else if (this.head > 1024 && this.head * 2 > this.entries.length) {
      this.entries = this.entries.slice(this.head)
      this.head = 0
    }
    return entry
  }
}

/** Of one connection, or of all of a row. */
interface Allowance {
  inWork: number
  readonly most: number
}

/** Tokens: so many a second, and as many at once at most. */
export class Bucket {
  private tokens: number

  constructor(
    readonly ratePerSecond: number,
    private at: number,
  ) {
    this.tokens = ratePerSecond
  }

  take(now: number): boolean {
    if (this.empty(now)) return false
    this.tokens--
    return true
  }

  empty(now: number): boolean {
    this.tokens = Math.min(this.ratePerSecond, this.tokens + ((now - this.at) * this.ratePerSecond) / 1000)
    this.at = now
    return this.tokens < 1
  }
}

/** V8 counts so much of the heap's limit for what is young, which never fills it: three semi-spaces. */
const youngOctets = 48 * 1024 * 1024

/** The share that `AdmissionOptions.memory` asks for: of the heap, or of what the control group lets the process have. */
export function memoryInUse(): number {
  let used = 0
  for (const { space_name: name, space_used_size: size } of getHeapSpaceStatistics())
    if (!name.startsWith('new_')) used += size
  const heap = used / Math.max(youngOctets, getHeapStatistics().heap_size_limit - youngOctets)
  const constrained = process.constrainedMemory()
  // 0, or more than there is: nothing constrains it.
  return constrained > 0 && constrained < totalmem() ? Math.max(heap, process.memoryUsage.rss() / constrained) : heap
}
