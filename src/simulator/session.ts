/**
 * A prepaid session as a gateway lives it (RFC 8506 section 5, TS 32.299 section 6.5): it lets traffic pass as far as it was
 * granted, alone or out of a credit pool, reports, asks for more, and does what it was told for the final units: it stops,
 * redirects or restricts. It reports again when Validity-Time is over, gives back what nobody uses for Quota-Holding-Time,
 * reports the changes that were armed, and answers Re-Auth- and Abort-Session-Requests.
 */
import type { Timer } from '../clock.js'
import type { Millis, UnitType } from '../units.js'
import {
  Reason,
  type CcrInput,
  type EnvelopeInput,
  type Information,
  type ServiceInput,
  type Side,
  type SubscriptionIdType,
  type UsedUnits,
} from './ccr.js'
import { roomFor, type Share } from './credit-pool.js'
import { ConnectionLostError, NoAnswerError, type Gateway, type Reaction } from './gateway.js'
import type { Avps, Message } from './message.js'
import type { Endpoint } from './pcap.js'
import {
  finalUnitOf,
  grantedOf,
  poolOf,
  switchOf,
  thresholdOf,
  timeMechanismOf,
  triggersOf,
  type FinalUnit,
  type PoolPart,
} from './quota.js'
import { TimeUse } from './time-use.js'

/** A line by its Rating-Group, if it has one, or by all of its name. */
export type LineRef = number | LineName | undefined

export interface LineName {
  /** Undefined: the gateway does not name one. */
  readonly ratingGroup?: number | undefined
  readonly serviceIdentifiers?: readonly number[]
}

/** One quota of the session. */
export interface Line {
  /** Undefined: the gateway does not name one. */
  readonly ratingGroup: number | undefined
  readonly serviceIdentifiers: readonly number[]
  /**
   * `open`: traffic passes as far as `granted` reaches; `final`: the same, and no more comes after it; `blocked`: refused, or
   * the final units are used: nothing passes until the server grants again; `redirected` and `restricted`: the same, but the
   * subscriber gets somewhere; `idle`: the quota was given back, traffic asks for a new one; `free`: not charged.
   */
  state: 'open' | 'final' | 'blocked' | 'redirected' | 'restricted' | 'idle' | 'free'
  /** Of the present grant. */
  granted: bigint
  /** Of it, not reported yet. */
  used: bigint
  /** When another price may hold, as the server said with the present grant. */
  switchAt: Millis | undefined
  /** Of `used`, what passed before `switchAt`. */
  usedBefore: bigint
  /** Units left of the grant at which it reports; 0: none. */
  threshold: bigint
  /** Since the session began, reported or not. */
  total: bigint
  /** Result-Code of the last answer for this line. */
  resultCode: number
  /** What to do at the end of the present grant, or what is being done. */
  finalUnit: FinalUnit | undefined
  pool: PoolPart | undefined
  /** Trigger-Types that are armed; undefined: the server never said, all changes are reported. */
  triggers: ReadonlySet<number> | undefined
  /** Seconds without traffic after which the quota is given back; 0: never. */
  holding: number
  /** Envelope-Reporting: 0 none, 1 their times, 2 volume too, 3 events too, 4 both. */
  envelopes: number
  /** How its time is counted, once traffic came as packets. */
  time: TimeUse | undefined
  /** For the end of Validity-Time. */
  timer: Timer | undefined
  holdingTimer: Timer | undefined
  /** For the moment at which the granted time is used. */
  useTimer: Timer | undefined
}

/** What was asked, and what came. */
export interface Exchange {
  readonly request: CcrInput
  readonly answer: Message
}

/** Credit-Control-Failure-Handling, RFC 8506 section 8.14. */
export type FailureHandling = 'terminate' | 'continue' | 'retry-and-terminate'

export interface SessionOptions {
  readonly gateway: Gateway
  readonly serviceContextId: string
  readonly unit: UnitType
  /** Numeric code of ISO 4217, for a service sold by value. */
  readonly currency?: number
  /** Of the session's first request; see `changeTo` for later ones. */
  readonly information?: Information
  readonly subscriptionIds: readonly (readonly [SubscriptionIdType, string])[]
  readonly sessionId?: string
  /** One line, whose units stand at command level: a gateway without Multiple-Services-Credit-Control. */
  readonly commandLevel?: boolean
  /** Quota-Holding-Time where the server does not say one, seconds; default 0: quota is kept. */
  readonly holding?: number
  /** Until the server says another; default terminate. */
  readonly failureHandling?: FailureHandling
  /** Told after each answer, when the lines know it already; the session goes on when it is done. */
  readonly onExchange?: (exchange: Exchange) => void | Promise<void>
}

const SUCCESS = 2001
const LIMITED_SUCCESS = 2002
const CREDIT_CONTROL_NOT_APPLICABLE = 4011
/** The way to the server failed, or the server is not able to: Credit-Control-Failure-Handling says what then. */
const failures: ReadonlySet<number> = new Set([3002, 3004, 3005])
const Cause = { LOGOUT: 1, ADMINISTRATIVE: 4 } as const
const reAuth = 258
const handlings: readonly FailureHandling[] = ['terminate', 'continue', 'retry-and-terminate']
const failoverSupported = 1

/** What stands beside the units; the other reasons stand beside Rating-Group: TS 32.299 section 7.2.175. */
const besideUnits: ReadonlySet<number> = new Set([
  Reason.THRESHOLD,
  Reason.QUOTA_EXHAUSTED,
  Reason.OTHER_QUOTA_TYPE,
  Reason.POOL_EXHAUSTED,
])

type Part = readonly [Line, ServiceInput]

export class GatewaySession {
  readonly id: string
  readonly lines: Line[] = []
  /** `uncharged`: the server cannot be reached, or wants no credit control; all passes, nothing is reported. */
  state: 'idle' | 'open' | 'uncharged' | 'ended' = 'idle'
  private number = 0
  /** Destination-Host of later requests: who answered the first. */
  private server: string | undefined
  /** Where it was reached. */
  private home: Endpoint | undefined
  private information: Information | undefined
  private failureHandling: FailureHandling
  private movable = false
  /** What members of a pool used beyond their own grants, or left in it, in billionths of a pool unit. */
  private readonly poolDebts = new Map<number, bigint>()

  constructor(private readonly options: SessionOptions) {
    this.id = options.sessionId ?? options.gateway.nextSessionId()
    this.information = options.information
    this.failureHandling = options.failureHandling ?? 'terminate'
  }

  get unit(): UnitType {
    return this.options.unit
  }

  /**
   * CCR-I: asks for quota for these lines.
   *
   * @returns false when the server refuses the session
   * @throws ConnectionLostError, NoAnswerError
   */
  async open(refs: readonly LineRef[]): Promise<boolean> {
    for (const ref of refs) this.lines.push(newLine(nameOf(ref), this.options.holding ?? 0))
    this.state = 'open'
    this.options.gateway.attendants.set(this.id, request => this.attend(request))
    await this.request(
      'initial',
      this.lines.map(line => [line, serviceOf(line, { requested: {} })]),
    )
    return this.isOpen()
  }

  /**
   * Traffic comes, all of it now: as much of it passes as the server lets, with a report whenever a grant is used or nearly
   * used.
   *
   * @returns the units that passed
   */
  async use(ref: LineRef, amount: bigint): Promise<bigint> {
    const line = this.lineOf(ref)
    let rest = amount
    let stuck = false
    if (line.state === 'idle' && rest > 0n && this.state === 'open') await this.askAgain(ref)
    while (rest > 0n && this.passes(line)) {
      const room = this.isFree(line) ? rest : this.roomOf(line)
      const passes = min(rest, room)
      line.used += passes
      if (line.switchAt !== undefined && this.options.gateway.clock.now() < line.switchAt) line.usedBefore += passes
      line.total += passes
      rest -= passes
      if (passes < room || this.isFree(line)) break
      // A grant of which nothing may be used would go on for ever.
      if (passes === 0n && stuck) break
      stuck = passes === 0n
      await this.usedUp(line)
    }
    this.holdOn(line)
    return amount - rest
  }

  /**
   * Packets pass now, and time is what counts: as long as there is quota for it.
   *
   * @returns whether they pass
   */
  async packets(ref: LineRef, octets: bigint): Promise<boolean> {
    const line = this.lineOf(ref)
    if (line.state === 'idle' && this.state === 'open') await this.askAgain(ref)
    if (!this.passes(line)) return false
    line.time ??= new TimeUse()
    line.time.packet(this.options.gateway.clock.now(), octets)
    this.holdOn(line)
    await this.countTime(line)
    return true
  }

  /** CCR-U with what was used, and asks for more. */
  async report(line: Line, reason: number): Promise<void> {
    await this.request('update', [[line, serviceOf(line, { requested: {}, reason })]])
  }

  /**
   * The subscriber is somewhere else, or otherwise connected: CCR-U that reports what was used so far, under what now holds,
   * for the lines whose server wants to know of such a change (TS 32.299 section 6.5.1.2). F16 of the reference flows.
   */
  async changeTo(information: Information): Promise<void> {
    const changed = changesBetween(this.information ?? {}, information)
    this.information = information
    const parts = this.lines.flatMap((line): Part[] => {
      if (line.state !== 'open' && line.state !== 'final') return []
      const triggers = changed.flatMap(types => types.find(type => line.triggers?.has(type) ?? true) ?? [])
      if (triggers.length === 0) return []
      return [[line, serviceOf(line, { requested: {}, reason: Reason.RATING_CONDITION_CHANGE, triggers })]]
    })
    if (parts.length > 0 && this.isOpen()) await this.request('update', parts)
  }

  /**
   * CCR-U for a line that is blocked, or whose quota was given back: perhaps there is money again.
   *
   * @returns whether traffic passes
   */
  async askAgain(ref: LineRef): Promise<boolean> {
    const line = this.lineOf(ref)
    await this.request('update', [[line, serviceOf(line, { requested: {} })]])
    return this.passes(line)
  }

  /** Asks for a blocked line now and then, until traffic passes or the session has ended. */
  async keepAsking(ref: LineRef, everyMs: number): Promise<void> {
    const { clock } = this.options.gateway
    while (this.state === 'open' && !(await this.askAgain(ref))) {
      await new Promise<void>(resolve => void clock.setTimeout(resolve, everyMs))
    }
  }

  /** CCR-T: reports all that was used and ends the session. */
  async end(cause: number = Cause.LOGOUT): Promise<void> {
    if (this.state === 'uncharged') this.close()
    if (this.state !== 'open') return
    // What was never granted has nothing to report.
    const served = this.lines.filter(({ granted, used, time }) => granted > 0n || used > 0n || time !== undefined)
    await this.request(
      'terminate',
      served.map(line => [line, serviceOf(line, { reason: Reason.FINAL })]),
      cause,
    )
    this.close()
  }

  /** Forgets the session, as a gateway does that restarts. Nothing is sent. */
  close(): void {
    this.state = 'ended'
    this.options.gateway.attendants.delete(this.id)
    for (const line of this.lines) this.block(line)
  }

  lineOf(ref: LineRef): Line {
    const { ratingGroup, serviceIdentifiers = [] } = nameOf(ref)
    const line = this.lines.find(
      each => each.ratingGroup === ratingGroup && sameList(each.serviceIdentifiers, serviceIdentifiers),
    )
    if (line) return line
    const identifiers = serviceIdentifiers.length === 0 ? '' : ` with service ${serviceIdentifiers.join()}`
    throw new Error(`the session has no rating group ${ratingGroup ?? 'none'}${identifiers}`)
  }

  // -------------------------------------------------------------------------------------------------------- quota

  private isFree(line: Line): boolean {
    return line.state === 'free' || this.state === 'uncharged'
  }

  private passes(line: Line): boolean {
    if (this.state === 'uncharged') return true
    return this.state === 'open' && (line.state === 'open' || line.state === 'final' || line.state === 'free')
  }

  /** Units that may pass before it must report. */
  private roomOf(line: Line): bigint {
    if (line.pool) return this.poolRoom(line, line.pool)
    const mark = line.state === 'open' ? line.granted - line.threshold : line.granted
    return mark > line.used ? mark - line.used : 0n
  }

  private poolRoom(line: Line, { id, multiplier }: PoolPart): bigint {
    const debt: Share = { granted: 0n, used: this.poolDebts.get(id) ?? 0n, multiplier: 1n }
    const shares = this.membersOf(id).map(({ granted, used, pool }) => ({
      ...{ granted, used },
      multiplier: pool?.multiplier ?? 0n,
    }))
    return roomFor({ granted: line.granted, used: line.used, multiplier }, [...shares, debt])
  }

  private membersOf(poolId: number): Line[] {
    return this.lines.filter(({ pool, state }) => pool?.id === poolId && (state === 'open' || state === 'final'))
  }

  /** What was granted is used, up to the threshold or whole. */
  private async usedUp(line: Line): Promise<void> {
    if (line.state === 'final') return this.finish(line)
    if (!line.pool) {
      await this.report(line, line.threshold > 0n ? Reason.THRESHOLD : Reason.QUOTA_EXHAUSTED)
      return
    }
    const members = this.membersOf(line.pool.id)
    await this.request(
      'update',
      members.map(each => [each, serviceOf(each, { requested: {}, reason: Reason.POOL_EXHAUSTED })]),
    )
  }

  /** TS 32.299 section 6.5.3: the final units are used; it reports and asks for nothing. */
  private async finish(line: Line): Promise<void> {
    const action = line.finalUnit?.action ?? 'terminate'
    if (this.options.commandLevel && action === 'terminate') return this.end()
    const reason = action === 'terminate' ? Reason.FINAL : Reason.QUOTA_EXHAUSTED
    const finished = line.pool ? this.membersOf(line.pool.id).filter(({ state }) => state === 'final') : [line]
    const parts = finished.map((each): Part => [each, serviceOf(each, { reason })])
    for (const each of finished) {
      each.state = action === 'redirect' ? 'redirected' : action === 'restrict' ? 'restricted' : 'blocked'
    }
    await this.request('update', parts)
    if (action === 'terminate') for (const each of finished) this.block(each)
  }

  /** Reports when the granted time is used, or waits for it. */
  private async countTime(line: Line): Promise<void> {
    const { clock } = this.options.gateway
    clock.clearTimeout(line.useTimer)
    line.useTimer = undefined
    if (!line.time || !this.isOpen() || (line.state !== 'open' && line.state !== 'final')) return
    const mark = Number(line.state === 'open' ? line.granted - line.threshold : line.granted)
    const at = line.time.usedUpAt(mark, clock.now())
    if (at === undefined) return
    if (at <= clock.now()) return this.usedUp(line)
    line.useTimer = clock.setTimeout(() => void this.countTime(line).catch(() => undefined), at - clock.now())
  }

  /** Quota-Holding-Time begins again: there was traffic, or a new grant. */
  private holdOn(line: Line): void {
    const { clock } = this.options.gateway
    clock.clearTimeout(line.holdingTimer)
    line.holdingTimer = undefined
    if (line.holding <= 0 || !this.isOpen() || (line.state !== 'open' && line.state !== 'final')) return
    line.holdingTimer = clock.setTimeout(() => {
      const part: Part = [line, serviceOf(line, { reason: Reason.QHT })]
      line.state = 'idle'
      this.request('update', [part]).catch(() => undefined)
    }, line.holding * 1000)
  }

  // ----------------------------------------------------------------------------------------- what the server wants

  /** RFC 8506 sections 5.5 and 8.1: a Re-Auth-Request is followed by a CCR-U, an Abort-Session-Request by a CCR-T. */
  private attend(request: Message): Reaction {
    if (!this.isOpen()) return undefined
    const { clock } = this.options.gateway
    if (request.header.commandCode !== reAuth) {
      clock.setTimeout(() => void this.end(Cause.ADMINISTRATIVE).catch(() => undefined), 0)
      return []
    }
    const [group, service, pool] = ['Rating-Group', 'Service-Identifier', 'G-S-U-Pool-Identifier'].map(name =>
      request.number(name),
    )
    const lines = this.lines.filter(
      line =>
        line.state !== 'idle' &&
        (group === undefined || line.ratingGroup === group) &&
        (service === undefined || line.serviceIdentifiers.includes(service)) &&
        (pool === undefined || line.pool?.id === pool),
    )
    clock.setTimeout(() => void this.reauthorise(lines).catch(() => undefined), 0)
    return { resultCode: LIMITED_SUCCESS }
  }

  private async reauthorise(lines: readonly Line[]): Promise<void> {
    if (!this.isOpen() || lines.length === 0) return
    await this.request(
      'update',
      lines.map(line => {
        const reports = line.state === 'open' || line.state === 'final'
        const service = { requested: {}, ...(reports && { reason: Reason.FORCED_REAUTHORISATION }) }
        return [line, serviceOf(line, service)]
      }),
    )
  }

  // ------------------------------------------------------------------------------------------- requests and answers

  private async request(type: CcrInput['type'], parts: readonly Part[], cause?: number): Promise<void> {
    const { gateway, onExchange } = this.options
    const request = this.ccr(type, parts, cause)
    for (const [line, { requested }] of parts) this.reported(line, requested !== undefined)
    let answer: Message
    try {
      // RFC 8506 section 5.7: a session stays with its server unless that allows otherwise; its first request may go anywhere.
      const moves = type === 'initial' || this.movable
      const afterSilence = moves && this.failureHandling !== 'terminate'
      const route = { home: this.home, moves, afterSilence, afterRefusal: moves }
      const answered = await gateway.askAlong(request, route)
      answer = answered.answer
      if (answer.resultCode === SUCCESS) {
        this.server ??= answer.text('Origin-Host')
        this.home = answered.connection.remote
      }
    } catch (error) {
      if (!(error instanceof ConnectionLostError || error instanceof NoAnswerError)) throw error
      if (this.failureHandling === 'continue') {
        this.goUncharged()
        return
      }
      this.close()
      throw error
    }
    this.apply(
      answer,
      parts.map(([line]) => line),
    )
    await onExchange?.({ request, answer })
  }

  private ccr(type: CcrInput['type'], parts: readonly Part[], cause: number | undefined): CcrInput {
    const { gateway, serviceContextId, subscriptionIds, commandLevel = false } = this.options
    const { originStateId } = gateway.options
    const services = parts.map(([line, service]) => this.withUsage(line, service))
    const [first] = services
    return {
      type,
      number: this.number++,
      sessionId: this.id,
      serviceContextId,
      subscriptionIds,
      eventTimestamp: Math.floor(gateway.clock.now() / 1000),
      ...(originStateId !== undefined && { originStateId }),
      ...(this.server !== undefined && { destinationHost: this.server }),
      ...(type === 'initial' && !commandLevel && { multipleServicesIndicator: 1 }),
      ...(type === 'terminate' && { terminationCause: cause ?? Cause.LOGOUT }),
      ...(!commandLevel ? { services } : first && { units: first }),
      ...(this.information && { information: this.information }),
    }
  }

  /**
   * What a request reports is no longer to be reported. Of a pool its member takes out what it used beyond its own grant;
   * one that leaves takes out no more than it used (RFC 8506 section 5.1.2).
   */
  private reported(line: Line, stays: boolean): void {
    if (line.pool && line.granted > 0n) {
      const { id, multiplier } = line.pool
      const excess = (line.used - line.granted) * multiplier
      if (excess > 0n || !stays) this.poolDebts.set(id, (this.poolDebts.get(id) ?? 0n) + excess)
    }
    line.used = line.usedBefore = 0n
  }

  /** Any code but 2001 at command level ends the session, or its control. */
  private apply(answer: Message, lines: readonly Line[]): void {
    const handling = handlings[answer.number('Credit-Control-Failure-Handling') ?? -1]
    if (handling) this.failureHandling = handling
    const failover = answer.number('CC-Session-Failover')
    if (failover !== undefined) this.movable = failover === failoverSupported
    const { resultCode } = answer
    if (resultCode !== SUCCESS) {
      for (const line of lines) line.resultCode = resultCode
      const goesOn = failures.has(resultCode) && this.failureHandling === 'continue'
      if (goesOn || resultCode === CREDIT_CONTROL_NOT_APPLICABLE) this.goUncharged()
      else this.close()
      return
    }
    if (this.options.commandLevel) {
      for (const line of lines) this.grant(line, answer)
      return
    }
    const answers = answer.groups('Multiple-Services-Credit-Control')
    const answered = lines.flatMap(line => {
      const mscc = answers.find(each => isFor(each, line))
      return mscc ? [{ line, mscc }] : []
    })
    this.settlePools(lines)
    for (const { line, mscc } of answered) this.grant(line, mscc)
  }

  /** When all members of a pool reported together, it begins anew. */
  private settlePools(lines: readonly Line[]): void {
    for (const id of new Set(lines.flatMap(({ pool }) => pool?.id ?? []))) {
      if (this.membersOf(id).every(member => lines.includes(member))) this.poolDebts.delete(id)
    }
  }

  private grant(line: Line, mscc: Avps): void {
    const { gateway, unit } = this.options
    this.stopTimers(line)
    const granted = grantedOf(mscc, unit) ?? 0n
    line.resultCode = mscc.number('Result-Code') ?? SUCCESS
    line.granted = granted
    line.switchAt = switchOf(mscc)
    const threshold = thresholdOf(mscc, unit) ?? 0n
    line.threshold = threshold < granted ? threshold : 0n
    line.triggers = triggersOf(mscc) ?? line.triggers
    line.holding = mscc.number('Quota-Holding-Time') ?? line.holding
    line.envelopes = mscc.number('Envelope-Reporting') ?? line.envelopes
    const mechanism = timeMechanismOf(mscc)
    if (mechanism) (line.time ??= new TimeUse()).countBy(mechanism, gateway.clock.now())
    const finalUnit = finalUnitOf(mscc)
    line.state = stateAfter(line, granted, finalUnit)
    if (finalUnit || line.state === 'open') line.finalUnit = finalUnit
    if (granted > 0n) line.pool = poolOf(mscc)
    const validity = mscc.number('Validity-Time')
    if (validity !== undefined) this.expireAfter(line, validity)
    this.holdOn(line)
    this.countTime(line).catch(() => undefined)
  }

  private expireAfter(line: Line, seconds: number): void {
    const { state } = line
    if (state === 'blocked' || state === 'idle' || state === 'free') return
    line.timer = this.options.gateway.clock.setTimeout(() => {
      const asks = state === 'redirected' || state === 'restricted'
      const service = { requested: {}, ...(!asks && { reason: Reason.VALIDITY_TIME }) }
      // A session without a server has nothing to report to; its owner learns of it with the next request.
      this.request('update', [[line, serviceOf(line, service)]]).catch(() => undefined)
    }, seconds * 1000)
  }

  private goUncharged(): void {
    this.state = 'uncharged'
    for (const line of this.lines) this.stopTimers(line)
  }

  private stopTimers(line: Line): void {
    const { clock } = this.options.gateway
    for (const timer of [line.timer, line.holdingTimer, line.useTimer]) clock.clearTimeout(timer)
    line.timer = line.holdingTimer = line.useTimer = undefined
  }

  private block(line: Line): void {
    this.stopTimers(line)
    line.state = 'blocked'
    line.granted = line.threshold = 0n
    line.switchAt = undefined
  }

  /** The usage, and its reason in its place. When the switch of the grant has passed, in two parts. */
  private withUsage(line: Line, { reason, ...service }: ServiceInput): ServiceInput {
    const { gateway } = this.options
    const envelopes = this.takeTime(line)
    const { used, usedBefore, switchAt } = line
    if (used === 0n && service.requested !== undefined && reason === undefined) return service
    const inUnits = reason !== undefined && besideUnits.has(reason)
    const parts: UsedUnits[] = []
    if (switchAt === undefined || gateway.clock.now() < switchAt) parts.push(this.amount(used, undefined))
    else {
      if (usedBefore > 0n) parts.push(this.amount(usedBefore, 'before'))
      if (used > usedBefore || usedBefore === 0n) parts.push(this.amount(used - usedBefore, 'after'))
    }
    return {
      ...service,
      used: inUnits ? parts.map(part => ({ ...part, reason })) : parts,
      ...(!inUnits && reason !== undefined && { reason }),
      ...(envelopes.length > 0 && { envelopes }),
    }
  }

  /** The time that packets took becomes usage. */
  private takeTime(line: Line): EnvelopeInput[] {
    if (!line.time) return []
    const { seconds, envelopes } = line.time.take(this.options.gateway.clock.now())
    line.used += BigInt(seconds)
    line.total += BigInt(seconds)
    if (line.envelopes === 0) return []
    const [volume, events] = [line.envelopes === 2 || line.envelopes === 4, line.envelopes >= 3]
    return envelopes.map(each => ({
      start: each.start,
      ...(each.end !== undefined && { end: each.end }),
      ...(volume && each.octets !== undefined && { octets: each.octets }),
      ...(events && each.events !== undefined && { events: each.events }),
    }))
  }

  private amount(used: bigint, side: Side | undefined): UsedUnits {
    const { unit, currency } = this.options
    return {
      ...(side !== undefined && { side }),
      ...(unit === 'seconds' ? { seconds: Number(used) } : { [unit]: used }),
      ...(unit === 'money' && currency !== undefined && { currency }),
    }
  }

  /** The compiler does not see that `request` may have ended it. */
  private isOpen(): boolean {
    return this.state === 'open'
  }
}

function stateAfter({ resultCode, state }: Line, granted: bigint, finalUnit: FinalUnit | undefined): Line['state'] {
  if (resultCode === CREDIT_CONTROL_NOT_APPLICABLE) return 'free'
  if (resultCode !== SUCCESS) return 'blocked'
  if (granted > 0n) return finalUnit ? 'final' : 'open'
  if (finalUnit?.action === 'redirect') return 'redirected'
  if (finalUnit?.action === 'restrict') return 'restricted'
  return state === 'redirected' || state === 'restricted' || state === 'idle' ? state : 'blocked'
}

/**
 * The Trigger-Types that tell of what is different, TS 32.299 section 7.2.236: a list for each difference, the most usual
 * type first.
 */
function changesBetween(before: Information, now: Information): number[][] {
  const differs = (key: 'rat' | 'servingNode' | 'plmn'): boolean => before[key] !== now[key]
  const octetsDiffer = (key: 'location' | 'timeZone'): boolean =>
    before[key]?.toString('hex') !== now[key]?.toString('hex')
  const changes: number[][] = []
  if (differs('servingNode')) changes.push([1, 61])
  if (differs('plmn') || octetsDiffer('location')) changes.push([3, 30, 31, 32, 33, 34, 35, 36])
  if (differs('rat')) changes.push([4])
  if (octetsDiffer('timeZone')) changes.push([5])
  return changes
}

const nameOf = (ref: LineRef): LineName => (typeof ref === 'object' ? ref : { ratingGroup: ref })

const newLine = ({ ratingGroup, serviceIdentifiers = [] }: LineName, holding: number): Line => ({
  ratingGroup,
  serviceIdentifiers,
  state: 'blocked',
  granted: 0n,
  used: 0n,
  switchAt: undefined,
  usedBefore: 0n,
  threshold: 0n,
  total: 0n,
  resultCode: 0,
  finalUnit: undefined,
  pool: undefined,
  triggers: undefined,
  holding,
  envelopes: 0,
  time: undefined,
  timer: undefined,
  holdingTimer: undefined,
  useTimer: undefined,
})

const serviceOf = ({ ratingGroup, serviceIdentifiers }: Line, parts: ServiceInput): ServiceInput => ({
  ...(ratingGroup !== undefined && { ratingGroup }),
  ...(serviceIdentifiers.length > 0 && { serviceIdentifiers }),
  ...parts,
})

/** An answered line has its name as it was sent. */
function isFor(mscc: Avps, { ratingGroup, serviceIdentifiers }: Line): boolean {
  const answered = mscc.all('Service-Identifier').map(({ value }) => value)
  return mscc.number('Rating-Group') === ratingGroup && sameList(answered, serviceIdentifiers)
}

const sameList = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i])

const min = (a: bigint, b: bigint): bigint => (a < b ? a : b)
