/**
 * Gateways are asked to report at once (RAR) or to end a session (ASR): when a credit may unblock what they were refused, when an
 * account is suspended, or by command. RFC 8506 section 5.5, TS 32.299 section 6.5.5.
 *
 * The need stands in the due list of the account's partition. Whoever made the call works at it at once, else the sweeper of the
 * partition finds it. The daemon over whose connection the session last came in sends; which one that is is asked around.
 */
import type { Logger } from 'pino'
import type { Nodes } from '../balance/nodes.js'
import { accountOfDue, askWordOf, type AskWord, type Needs } from '../balance/reauth.js'
import { BalanceUnavailableError } from '../balance/store.js'
import type { CommandName, Session, SessionLine } from '../balance/types.js'
import type { Clock, Timer } from '../clock.js'
import type { Millis } from '../units.js'

/** What a RAR is for; none: the whole session. */
export type Selector =
  { readonly ratingGroup: number } | { readonly serviceIdentifier: number } | { readonly pool: number }

export interface GatewayCommand {
  readonly command: CommandName
  readonly sessionId: string
  /** Of the gateway that the session is of. */
  readonly originHost: string
  readonly originRealm: string
  /** Origin-Host of the peer, the gateway or a relay, that its last request came over; empty: not known. */
  readonly via: string
  readonly selector?: Selector | undefined
}

/** `timeout`: it was sent, and nobody answered. `undeliverable`: no connection leads there. */
export type CommandOutcome =
  { readonly kind: 'answered'; readonly resultCode: number } | { readonly kind: 'undeliverable' | 'timeout' }

/** `near`: over the peer that the session's last request came over. `far`: over another one. */
export type Reach = 'near' | 'far' | 'none'

/** The gateways that this daemon reaches; gy/ implements it. */
export interface Gateways {
  reach(command: GatewayCommand): Reach
  /** Sends it, again where that is due, and gives what became of it. */
  send(command: GatewayCommand): Promise<CommandOutcome>
}

/** What is counted; telemetry implements it. */
export interface ReauthorisationMetrics {
  /** @param result a Result-Code, `timeout`, `undeliverable`, or `ccr`: no answer, but a newer request of the session */
  asked(command: CommandName, result: string): void
}

export interface ReauthorisationOptions {
  readonly needs: Needs
  readonly nodes: Pick<Nodes, 'tell' | 'listen'>
  readonly gateways: Gateways
  /** Ends a session that its gateway does not know. */
  readonly release: (sessionId: string, actor: string) => Promise<unknown>
  /** Of this daemon, without spaces. */
  readonly id: string
  /** Business time. */
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: ReauthorisationMetrics
}

/** What was done about one session. `again`: nothing was settled, look again then. */
interface Asked {
  readonly result?: string
  readonly again?: Millis
}

/** An account is ours for so long, and again as long as we work at it. */
const takenMs = 10_000
const renewMs = 4_000
/** Accounts in work; others wait in their due lists. */
const mostAtOnce = 256
/** Who has no connection of the gateway itself waits for one who has. */
const farDelayMs = 100
const farPatienceMs = 200
const nonePatienceMs = 1_000
/** For the end of what another daemon has begun. */
const elsewhereMs = 40_000
/** When no connection leads to the gateway: it may come back. Then its Validity-Time must do. */
const pausesMs = [2_000, 10_000, 60_000, 300_000] as const
/** Delivery failed on the way, or is to be tried later: RFC 6733 sections 7.1.3 and 6.2.2. */
const undelivered: ReadonlySet<string> = new Set(['undeliverable', '3002', '3004'])
const UNKNOWN_SESSION_ID = '5002'

export class Reauthorisation {
  private readonly running = new Map<string, { again: boolean }>()
  private readonly work = new Set<Promise<unknown>>()
  private readonly timers = new Set<Timer>()
  private readonly waiting = new Map<string, (said: Said) => void>()
  /** Asked around and begun by somebody, of late. */
  private readonly begun = new Set<string>()
  private count = 0
  private stopped = false
  private wake: () => void = () => undefined
  private readonly stopping = new Promise<void>(resolve => (this.wake = resolve))

  constructor(private readonly options: ReauthorisationOptions) {
    options.nodes.listen(message => this.hear(message))
  }

  /** A member of a due list is due: works at it in the background. Rejects with nothing. */
  begin(member: string): void {
    void this.due(member).catch((error: unknown) => this.failed(error))
  }

  /**
   * The same, and says when it is no longer due, or cannot be taken now (`stuck`).
   *
   * @throws BalanceUnavailableError, StoreDefectError
   */
  async due(member: string): Promise<'done' | 'stuck'> {
    if (this.stopped) return 'stuck'
    const busy = this.running.get(member)
    if (busy) {
      busy.again = true
      return 'stuck'
    }
    if (this.running.size >= mostAtOnce) return 'stuck'
    const mine = { again: false }
    this.running.set(member, mine)
    const end = (): void => {
      this.running.delete(member)
      if (mine.again) this.begin(member)
    }
    try {
      const token = this.token()
      if ((await this.options.needs.take(member, token)) === 'taken')
        void this.track(this.serve(member, token).finally(end))
      else end()
    } catch (error) {
      end()
      throw error
    }
    return 'done'
  }

  /**
   * One session, by command: at once, whatever its lines.
   *
   * @param patienceMs how long to wait for the gateway; it is asked all the same
   * @returns what came of it, `sent` when that is not known yet; or why nothing was asked
   */
  async ask(
    sessionId: string,
    command: CommandName,
    patienceMs: number,
  ): Promise<{ readonly status: 'unknown' | 'ended' } | { readonly status: 'asked'; readonly result: string }> {
    const session = await this.options.needs.session(sessionId)
    if (!session) return { status: 'unknown' }
    if (!session.open) return { status: 'ended' }
    const asked = this.track(this.askSession(session, commandTo(session, command), true))
    const late: Asked = {}
    const { result = 'sent' } = await this.within(patienceMs, asked, late)
    return { status: 'asked', result }
  }

  /** Waits for nobody: what a gateway has not answered yet, another daemon asks again. */
  async stop(): Promise<void> {
    this.stopped = true
    for (const timer of this.timers) timer.cancel()
    this.wake()
    await Promise.allSettled(this.work)
  }

  /** All sessions of one account, as long as it is ours. */
  private async serve(member: string, token: number): Promise<void> {
    const { needs } = this.options
    const word = askWordOf(member)!
    let held = token
    let turn: Promise<unknown> = Promise.resolve()
    const renewing = this.every(renewMs, () => {
      const next = this.token()
      turn = turn
        .then(() => needs.put(member, held, next))
        .then(done => {
          if (done === 'done') held = next
        })
        .catch(() => undefined) // another may take it then: each session is still asked by one
    })
    try {
      const sessions = await needs.sessionsOf(accountOfDue(member))
      const asked = await Promise.all(
        sessions.map(async (session): Promise<Asked> => {
          const command = commandFor(session, word)
          return command ? this.askSession(session, command, word !== 'reauth') : {}
        }),
      )
      const times = asked.flatMap(({ again }) => (again === undefined ? [] : [again]))
      const next = times.length === 0 ? undefined : Math.min(...times)
      renewing.cancel()
      await turn
      const done = await needs.put(member, held, next)
      if (done === 'again') this.begin(member)
      else if (next !== undefined) this.after(next - this.options.clock.now(), () => this.begin(member))
    } catch (error) {
      this.failed(error)
    } finally {
      renewing.cancel()
    }
  }

  /** Through whoever reaches the gateway best. */
  private async askSession(session: Session, command: GatewayCommand, atOnce: boolean): Promise<Asked> {
    const reach = this.options.gateways.reach(command)
    if (reach !== 'near') {
      const patience = reach === 'far' ? farPatienceMs : nonePatienceMs
      const asked = await this.askAround(session, command, atOnce, patience)
      if (asked) return asked
    }
    return (await this.askHere(session, command, atOnce)) ?? {}
  }

  /** From this daemon. Undefined: the session has ended. */
  private async askHere(
    session: Pick<Session, 'id' | 'account'>,
    command: GatewayCommand,
    atOnce: boolean,
    claimed?: () => void,
  ): Promise<Asked | undefined> {
    const { needs, gateways, metrics, log, clock, release, id } = this.options
    const claim = { session, command: command.command, token: `${id}/${++this.count}`, atOnce }
    const mine = await needs.claim(claim)
    if (mine.status === 'busy') return { again: mine.until }
    if (mine.status === 'gone') return undefined
    claimed?.()
    const outcome = await Promise.race([gateways.send(command), this.stopping])
    if (!outcome) return {}
    const said = outcome.kind === 'answered' ? String(outcome.resultCode) : outcome.kind
    const noted = await needs.note(claim, said)
    const result = noted?.result ?? said
    metrics.asked(command.command, result)
    const fields = { event: 'session_asked', 'Session-Id': session.id, command: command.command, result }
    log[isGood(result) ? 'info' : 'warn'](fields, 'the gateway of a session was asked')
    if (said === UNKNOWN_SESSION_ID) await release(session.id, `${command.command.toLowerCase()}-5002`)
    const pause = noted && undelivered.has(result) ? pausesMs[noted.tries - 1] : undefined
    return { result, ...(pause !== undefined && { again: clock.now() + pause }) }
  }

  // Other daemons.

  /**
   * Whether one of them asks: what came of it, or when to look again if it is too early to ask. Undefined when none of them begins
   * within `patienceMs`.
   */
  private async askAround(
    session: Session,
    command: GatewayCommand,
    atOnce: boolean,
    patienceMs: number,
  ): Promise<Asked | undefined> {
    const id = `${this.options.id}/${++this.count}`
    const { account } = session
    let ended: (asked: Asked) => void = () => undefined
    const end = new Promise<Asked>(resolve => (ended = resolve))
    let early: Asked | undefined
    const begun = new Promise<true>(resolve => {
      this.waiting.set(id, said => {
        if (said.kind === 'busy') {
          // Another helper may be the reason, and says that it has begun.
          early = { again: said.until }
          return
        }
        if (said.kind === 'outcome') ended({ ...said.asked })
        resolve(true)
      })
    })
    try {
      if (this.stopped || !(await this.options.nodes.tell({ kind: 'ask', id, account, command, atOnce })))
        return undefined
      if (!(await this.within(patienceMs, begun, false))) return early
      return await this.within(elsewhereMs, end, { again: this.options.clock.now() + elsewhereMs })
    } finally {
      this.waiting.delete(id)
    }
  }

  private hear(message: unknown): void {
    const said = readSaid(message)
    if (!said || this.stopped) return
    if (said.kind === 'ask') {
      void this.track(this.help(said).catch((error: unknown) => this.failed(error)))
      return
    }
    if (said.kind === 'begun') {
      this.begun.add(said.id)
      this.after(2 * nonePatienceMs, () => this.begun.delete(said.id))
    }
    this.waiting.get(said.id)?.(said)
  }

  /** Another daemon looks for somebody who reaches a gateway. */
  private async help({ id, account, command, atOnce }: Extract<Said, { kind: 'ask' }>): Promise<void> {
    const { gateways, nodes } = this.options
    const reach = gateways.reach(command)
    if (reach === 'none') return
    if (reach === 'far') {
      await this.within(farDelayMs, this.stopping, undefined)
      if (this.begun.has(id) || this.isStopped()) return
    }
    const session = { id: command.sessionId, account }
    const asked = await this.askHere(session, command, atOnce, () => void nodes.tell({ kind: 'begun', id }))
    if (asked?.result !== undefined) await nodes.tell({ kind: 'outcome', id, asked })
    // Who looks for help must not ask in our place when the time has come: it does not reach the gateway as well as we do.
    else if (asked?.again !== undefined) await nodes.tell({ kind: 'busy', id, until: asked.again })
  }

  // Time.

  /** When what we take may be taken by others: a fraction of a millisecond tells us from them. */
  private token(): number {
    return Math.floor(this.options.clock.now()) + takenMs + Math.floor(Math.random() * 4096) / 4096
  }

  private after(ms: number, work: () => void): Timer {
    const timer = this.options.clock.setTimeout(
      () => {
        this.timers.delete(timer)
        work()
      },
      Math.max(0, ms),
    )
    this.timers.add(timer)
    return timer
  }

  private every(ms: number, work: () => void): { cancel(): void } {
    let timer: Timer
    const next = (): void => {
      timer = this.after(ms, () => {
        work()
        next()
      })
    }
    next()
    return {
      cancel: () => {
        timer.cancel()
        this.timers.delete(timer)
      },
    }
  }

  private async within<T, U>(ms: number, work: Promise<T>, otherwise: U): Promise<T | U> {
    let timer: Timer | undefined
    const late = new Promise<U>(resolve => (timer = this.after(ms, () => resolve(otherwise))))
    try {
      return await Promise.race([work, late, this.stopping.then(() => otherwise)])
    } finally {
      timer!.cancel()
      this.timers.delete(timer!)
    }
  }

  private track<T>(work: Promise<T>): Promise<T> {
    this.work.add(work)
    const forget = (): void => void this.work.delete(work)
    work.then(forget, forget)
    return work
  }

  /** The compiler does not see that `stop` may have been called meanwhile. */
  private isStopped(): boolean {
    return this.stopped
  }

  private failed(error: unknown): void {
    // The store's outage says itself; the need stands in it.
    if (error instanceof BalanceUnavailableError) return
    this.options.log.error({ event: 'session_ask_failed', err: error }, 'a session could not be asked')
  }
}

const isGood = (result: string): boolean => result.startsWith('2') || result === 'ccr' || result === UNKNOWN_SESSION_ID

/** What a session's gateway is asked for this need; undefined: nothing. */
export function commandFor(session: Session, word: AskWord): GatewayCommand | undefined {
  if (word !== 'reauth') return commandTo(session, word === 'abort' ? 'ASR' : 'RAR')
  const told = session.lines.filter(line => line.told)
  return told.length === 0 ? undefined : commandTo(session, 'RAR', selectorOf(told))
}

function commandTo(session: Session, command: CommandName, selector?: Selector): GatewayCommand {
  const { id: sessionId, originHost, via } = session
  // A session of a version that did not note the realm: by convention a host is named in it.
  const originRealm = session.originRealm || originHost.slice(originHost.indexOf('.') + 1)
  return { command, sessionId, originHost, originRealm, via, selector }
}

/** What names these lines alone, if one AVP can: TS 32.299 section 6.4.4 allows one. */
export function selectorOf(lines: readonly Pick<SessionLine, 'line' | 'pool'>[]): Selector | undefined {
  const [first] = lines
  const same = <T>(of: (line: Pick<SessionLine, 'line' | 'pool'>) => T): T | undefined => {
    const value = of(first!)
    return lines.every(line => of(line) === value) ? value : undefined
  }
  const pool = same(line => line.pool)
  if (pool !== undefined) return { pool }
  const names = (line: Pick<SessionLine, 'line' | 'pool'>): string[] => line.line.split('/')
  const services = same(line => names(line)[1])
  if (services !== undefined && !services.includes(',')) return { serviceIdentifier: Number(services) }
  const ratingGroup = same(line => names(line)[0])
  return ratingGroup === undefined || ratingGroup === '-' ? undefined : { ratingGroup: Number(ratingGroup) }
}

/** What daemons say to each other. */
type Said =
  | {
      readonly kind: 'ask'
      readonly id: string
      readonly account: string
      readonly command: GatewayCommand
      readonly atOnce: boolean
    }
  | { readonly kind: 'begun'; readonly id: string }
  | { readonly kind: 'busy'; readonly id: string; readonly until: Millis }
  | { readonly kind: 'outcome'; readonly id: string; readonly asked?: Asked }

/** Of another version of ours it may be anything. */
function readSaid(message: unknown): Said | undefined {
  if (typeof message !== 'object' || message === null) return undefined
  const said = message as Said
  if (typeof said.id !== 'string') return undefined
  if (said.kind === 'ask') {
    const { command, account } = said as { command?: GatewayCommand; account?: string }
    const texts = [account, command?.sessionId, command?.originHost, command?.originRealm, command?.via]
    if (texts.some(text => typeof text !== 'string')) return undefined
    return command?.command === 'RAR' || command?.command === 'ASR' ? said : undefined
  }
  if (said.kind === 'busy') return typeof said.until === 'number' ? said : undefined
  return ['begun', 'outcome'].includes(said.kind) ? said : undefined
}
