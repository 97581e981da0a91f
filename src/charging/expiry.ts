/**
 * The sweeper: holds whose time is over go back, sessions that are silent end, buckets expire (Tcc of RFC 8506 section 13,
 * semantics.md section 8). It goes by the next due time it knows of each partition, and looks at all of its partitions in a slow
 * round. The scripts read the deadline again, so any number of sweepers may meet: each thing happens once.
 */
import type { Logger } from 'pino'
import { readMember, type Due, type DueLists, type Expired } from '../balance/due.js'
import type { Leases } from '../balance/leases.js'
import { pieces } from '../balance/pipeline.js'
import { askWordOf } from '../balance/reauth.js'
import { BalanceUnavailableError, StoreDefectError } from '../balance/store.js'
import type { Clock, Timer } from '../clock.js'
import type { Millis } from '../units.js'

/** What is counted; telemetry implements it. */
export interface ExpiryMetrics {
  /** Holds of a session ended, the session lives. */
  released(): void
  /** A session ended by silence. */
  silent(): void
  bucketExpired(): void
  /** Our clock and the store's differ by over 30 s: nothing was done. */
  skew(): void
  /** The store, or our data in it, refused. */
  defect(): void
  /** Something that was due was looked at, so long after its time; `word`: what it was, like `renew`. */
  job?(word: string, result: 'done' | 'stuck', lateMs: number): void
}

/** What is due and could not be done here; it is tried again. */
export interface StuckJob {
  readonly partition: number
  readonly member: string
  /** Business time of the first try that came to nothing. */
  readonly since: Millis
  readonly tries: number
  readonly why: string
}

export interface ExpiryOptions {
  /** On a connection for work in the background. */
  readonly due: DueLists
  readonly partitions: number
  readonly leases: Pick<Leases, 'owned'>
  /** Told of each session that ended by silence. */
  readonly identities: { keepSilentSession(sessionId: string, keepMs: number): void }
  /** Takes what is for the gateways of open sessions; `stuck`: not now. */
  readonly ask?: (member: string) => Promise<'done' | 'stuck'>
  /**
   * What else comes due, by the first word of its member (`renew <account> <subscription>`): does it, once for all daemons, and sees to it
   * that the member leaves the list or gets its next time. `stuck`: not now, the slow round comes back to it.
   */
  readonly jobs?: ReadonlyMap<string, (partition: number, member: string) => Promise<'done' | 'stuck'>>
  readonly keepSilentMs: number
  /** Business time. */
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: ExpiryMetrics
  /** Business clock less real time, ms, for virtual time; default 0. */
  readonly offset?: () => number
  /** An entry was appended to this partition's journal. */
  readonly appended?: (partition: number) => void
  /** Between two looks at all partitions, default 5 s. */
  readonly slowMs?: number
  /** Due lists also hold buckets, far ahead: what is due later than this is no session. Default 4 h, twice the default validity and some. */
  readonly horizonMs?: number
}

const noJobs: ReadonlyMap<string, unknown> = new Map()
const membersOfOneRead = 64
const callsAtOnce = 32
const soonestMs = 10 // things that come due together are swept together
const logEveryMs = 60_000
/** That are remembered for people. */
const mostStuck = 1000
const settleLookMs = 100

export class Expiry {
  /** Of our partitions, found in the slow round; buckets that end within `horizonMs` are counted too. */
  sessionsOpen = 0
  /** When something is due next, as far as we know, by partition. */
  private readonly next: Float64Array
  private nearest = Infinity
  private timer: Timer | undefined
  private slow: Timer | undefined
  private queue: Promise<unknown> = Promise.resolve()
  private stopped = true
  private readonly saidAt = new Map<string, number>()
  private readonly stuckJobs = new Map<string, StuckJob>()
  private readonly slowMs: number
  private readonly horizonMs: number

  constructor(private readonly options: ExpiryOptions) {
    this.next = new Float64Array(options.partitions).fill(Infinity)
    this.slowMs = options.slowMs ?? 5000
    this.horizonMs = options.horizonMs ?? 4 * 3_600_000
  }

  start(): void {
    this.stopped = false
    this.slowRound()
  }

  async stop(): Promise<void> {
    this.stopped = true
    this.timer?.cancel()
    this.slow?.cancel()
    await this.queue
  }

  /** Something of this partition comes due then (business time, ms). */
  hint(partition: number, at: Millis): void {
    if (at >= this.next[partition]!) return
    this.next[partition] = at
    if (at < this.nearest) this.arm(at)
  }

  /** Does what is due now in these partitions, by default in those where something is known to be due. Rejects with nothing. */
  sweep(partitions?: readonly number[]): Promise<void> {
    return this.inTurn(async () => {
      const now = this.options.clock.now()
      const due = partitions ?? [...this.next.keys()].filter(p => this.next[p]! <= now)
      const owned = due.filter(p => this.options.leases.owned.has(p))
      for (const p of due) this.next[p] = Infinity // what is not ours is another's; ours is read again
      for (const partition of owned) await this.sweepPartition(partition)
    })
  }

  /** Looks at all owned partitions: when each is due next, how many sessions are open; then does what is due. */
  async round(): Promise<void> {
    const { clock, leases, due } = this.options
    await this.inTurn(async () => {
      let sessions = 0
      for (const { partition, next, count } of await due.glance([...leases.owned], clock.now() + this.horizonMs)) {
        this.next[partition] = next
        sessions += count
      }
      this.sessionsOpen = sessions
    })
    await this.sweep()
  }

  /**
   * After a jump of business time: waits until nothing of any partition is due, whichever daemon does it.
   *
   * @param patienceMs real time
   * @returns how many things are still due
   */
  async settle(patienceMs: number): Promise<number> {
    const { clock, due, partitions } = this.options
    const until = clock.monotonic() + patienceMs
    const all = Array.from({ length: partitions }, (_, partition) => partition)
    for (;;) {
      await this.round()
      const now = clock.now()
      const waiting = (await due.glance(all, now)).reduce((sum, { count }) => sum + count, 0)
      if (waiting === 0 || this.stopped || clock.monotonic() >= until) return waiting
      await new Promise<void>(resolve => clock.setTimeout(resolve, settleLookMs))
    }
  }

  /** What this daemon could not do when it tried last. */
  get stuck(): readonly StuckJob[] {
    return [...this.stuckJobs.values()]
  }

  /**
   * Does one thing of the lists now, if its time has come; by hand.
   *
   * @throws BalanceUnavailableError
   */
  run(partition: number, member: string): Promise<'done' | 'stuck' | 'skew'> {
    const done = this.queue.then(() => this.timed(partition, { member, at: this.options.clock.now() }))
    this.queue = done.catch(() => undefined)
    return done
  }

  private inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.queue.then(work).catch((error: unknown) => this.failed(error))
    this.queue = done
    return done
  }

  private slowRound(): void {
    if (this.stopped) return
    void this.round().then(() => {
      if (this.stopped) return
      this.slow = this.options.clock.setTimeout(() => this.slowRound(), this.slowMs)
      this.armNearest()
    })
  }

  private arm(at: Millis): void {
    if (this.stopped) return
    this.nearest = at
    this.timer?.cancel()
    const { clock } = this.options
    this.timer = clock.setTimeout(
      () => {
        void this.sweep().then(() => this.armNearest())
      },
      Math.max(soonestMs, Math.min(at - clock.now(), 0x7fffffff)),
    )
  }

  private armNearest(): void {
    this.timer?.cancel()
    this.nearest = this.next.reduce((least, at) => Math.min(least, at), Infinity)
    if (this.nearest < Infinity) this.arm(this.nearest)
  }

  private async sweepPartition(partition: number): Promise<void> {
    const { clock } = this.options
    const stuck = new Set<string>() // what could not be done now, and is passed over
    for (;;) {
      const now = clock.now()
      const list = (await this.options.due.list(partition, 0, membersOfOneRead + stuck.size)).filter(
        ({ member }) => !stuck.has(member),
      )
      const due = list.filter(({ at }) => at <= now)
      for (const some of pieces(inOrder(due, this.options.jobs ?? noJobs), callsAtOnce)) {
        const done = await Promise.all(some.map(each => this.timed(partition, each)))
        some.forEach(({ member }, i) => {
          if (done[i] === 'stuck') stuck.add(member)
        })
        if (done.includes('skew')) {
          this.again(partition)
          return
        }
      }
      // What lives on stands in the list again, with a new time: only a look that finds nothing due knows what is next.
      if (due.length > 0) continue
      const next = list[0]?.at ?? Infinity
      if (next < this.next[partition]!) this.next[partition] = next
      if (stuck.size > 0) this.again(partition)
      return
    }
  }

  /** Not now: the slow round comes back to it. */
  private again(partition: number): void {
    this.next[partition] = Math.min(this.next[partition]!, this.options.clock.now() + this.slowMs)
  }

  /** Does one thing that is due, and notes how late, and what cannot be done. */
  private async timed(partition: number, { member, at }: Due): Promise<'done' | 'stuck' | 'skew'> {
    const { clock, metrics } = this.options
    const now = clock.now()
    const result = await this.expire(partition, member)
    if (result === 'skew') return result
    metrics.job?.(member.split(' ', 1)[0]!, result, Math.max(0, now - at))
    if (result === 'done') this.stuckJobs.delete(member)
    else this.noteStuck(partition, member, now)
    return result
  }

  private noteStuck(partition: number, member: string, now: Millis, why = 'it cannot be done now'): void {
    const known = this.stuckJobs.get(member)
    if (!known && this.stuckJobs.size >= mostStuck) return
    const { since = now, tries = 0 } = known ?? {}
    const said = why === 'it cannot be done now' ? (known?.why ?? why) : why
    this.stuckJobs.set(member, { partition, member, since, tries: tries + 1, why: said })
  }

  /** Does one thing that is due. */
  private async expire(partition: number, member: string): Promise<'done' | 'stuck' | 'skew'> {
    const { due, clock, keepSilentMs, identities, metrics } = this.options
    if (askWordOf(member)) return (await this.options.ask?.(member)) ?? 'stuck'
    const job = this.options.jobs?.get(member.split(' ', 1)[0]!)
    if (job) return this.runJob(job, partition, member)
    const { kind, id } = readMember(member)
    if (kind !== 'session' && kind !== 'bucket') {
      // Of a daemon that knows more than we do: it stays for that one.
      this.say(
        'job_unknown',
        'warn',
        `partition ${partition}: nobody here does what is due: ${member.split(' ', 1)[0]!}`,
      )
      return 'stuck'
    }
    let reply: Expired
    try {
      reply = await due.expire(partition, member, clock.now(), this.options.offset?.() ?? 0, keepSilentMs)
    } catch (error) {
      if (!(error instanceof StoreDefectError)) throw error
      reply = `defect ${error.message}`
    }
    switch (reply) {
      case 'skew':
        metrics.skew()
        this.say(
          'clock_skew',
          'warn',
          "our clock and the store's differ by over 30 s: nothing expires until they agree",
        )
        return 'skew'
      case 'released':
        metrics.released()
        break
      case 'silent':
        metrics.silent()
        identities.keepSilentSession(id, keepSilentMs)
        break
      case 'gone': // without its state nobody needs the index entry, either
        if (kind === 'session') identities.keepSilentSession(id, keepSilentMs)
        return 'done'
      case 'expired':
        metrics.bucketExpired()
        break
      case 'early': // a report came in between: it stands in the list with its new time
      case 'closed':
        return 'done'
      default:
        metrics.defect()
        this.say('expiry_defect', 'error', `partition ${partition}: something due cannot be done: ${reply}`)
        return 'stuck'
    }
    this.options.appended?.(partition)
    return 'done'
  }

  private async runJob(
    job: (partition: number, member: string) => Promise<'done' | 'stuck'>,
    partition: number,
    member: string,
  ): Promise<'done' | 'stuck'> {
    try {
      const done = await job(partition, member)
      this.options.appended?.(partition)
      return done
    } catch (error) {
      // Without the store nothing goes on; any other failure is this job's alone and stops no other.
      if (error instanceof BalanceUnavailableError) throw error
      const why = error instanceof Error ? error.message : String(error)
      this.options.metrics.defect()
      this.say('job_defect', 'error', `partition ${partition}: a job that is due cannot be done: ${why}`)
      this.noteStuck(partition, member, this.options.clock.now(), why)
      return 'stuck'
    }
  }

  private failed(error: unknown): void {
    // The store's outage says itself; what is due stays in its list for the next round.
    if (error instanceof BalanceUnavailableError) return
    this.options.metrics.defect()
    this.say('expiry_defect', 'error', `sweep: ${error instanceof Error ? error.message : String(error)}`)
  }

  private say(event: string, level: 'warn' | 'error', text: string): void {
    const now = this.options.clock.monotonic()
    const saidAt = this.saidAt.get(event)
    if (saidAt !== undefined && now < saidAt + logEveryMs) return
    this.saidAt.set(event, now)
    this.options.log[level]({ event }, text)
  }
}

/**
 * Of what is due, in the order of its times, what may be done side by side: a job waits for all of its account that is due before it, and what
 * is due after it for the job, which may set the same for later (a renewal late by months runs month by month, and what falls between two of
 * them comes between them).
 */
export function inOrder(due: readonly Due[], jobs: ReadonlyMap<string, unknown>): readonly Due[] {
  const seen = new Set<string>()
  const closed = new Set<string>()
  return due.filter(({ member }) => {
    const [word, account] = member.split(' ', 2) as [string, string]
    if (closed.has(account)) return false
    const job = jobs.has(word)
    if (job) closed.add(account)
    if (job && seen.has(account)) return false
    seen.add(account)
    return true
  })
}
