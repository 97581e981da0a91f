/**
 * A prepaid session as a gateway lives it (RFC 8506 section 5, TS 32.299 section 6.5): it lets traffic pass as far as it was
 * granted, reports, asks for more, stops a service when its final units are used or when it is refused, and reports again
 * when Validity-Time is over.
 */
import type { Timer } from '../clock.js'
import type { Millis, UnitType } from '../units.js'
import {
  Reason,
  type CcrInput,
  type Information,
  type ServiceInput,
  type Side,
  type SubscriptionIdType,
  type UsedUnits,
} from './ccr.js'
import type { Gateway } from './gateway.js'
import type { Avps, Message } from './message.js'
import { grantedOf, switchOf, thresholdOf } from './quota.js'

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
   * the final units are used: nothing passes until the server grants again.
   */
  state: 'open' | 'final' | 'blocked'
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
  timer: Timer | undefined
}

/** What was asked, and what came. */
export interface Exchange {
  readonly request: CcrInput
  readonly answer: Message
}

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
  /** Told after each answer, when the lines know it already; the session goes on when it is done. */
  readonly onExchange?: (exchange: Exchange) => void | Promise<void>
}

const SUCCESS = 2001
const LOGOUT = 1

export class GatewaySession {
  readonly id: string
  readonly lines: Line[] = []
  state: 'idle' | 'open' | 'ended' = 'idle'
  private number = 0
  /** Destination-Host of later requests: who answered the first. */
  private server: string | undefined
  private information: Information | undefined

  constructor(private readonly options: SessionOptions) {
    this.id = options.sessionId ?? options.gateway.nextSessionId()
    this.information = options.information
  }

  /**
   * CCR-I: asks for quota for these lines.
   *
   * @returns false when the server refuses the session
   * @throws ConnectionLostError, NoAnswerError
   */
  async open(refs: readonly LineRef[]): Promise<boolean> {
    for (const ref of refs) this.lines.push(newLine(nameOf(ref)))
    this.state = 'open'
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
    while (rest > 0n && line.state !== 'blocked' && this.state === 'open') {
      const mark = line.state === 'open' ? line.granted - line.threshold : line.granted
      const passes = min(rest, mark - line.used)
      line.used += passes
      if (line.switchAt !== undefined && this.options.gateway.clock.now() < line.switchAt) line.usedBefore += passes
      line.total += passes
      rest -= passes
      if (line.used < mark) break
      if (line.state === 'final') await this.stop(line)
      else await this.report(line, line.threshold > 0n ? Reason.THRESHOLD : Reason.QUOTA_EXHAUSTED)
    }
    return amount - rest
  }

  /** CCR-U with what was used, and asks for more. */
  async report(line: Line, reason: number): Promise<void> {
    await this.request('update', [[line, serviceOf(line, { requested: {}, reason })]])
  }

  /**
   * The subscriber is somewhere else, or otherwise connected: CCR-U that reports all that was used so far, under what
   * now holds. F16 of the reference flows.
   */
  async changeTo(information: Information): Promise<void> {
    this.information = information
    const served = this.lines.filter(({ state }) => state !== 'blocked')
    await this.request(
      'update',
      served.map(line => [line, serviceOf(line, { requested: {}, reason: Reason.RATING_CONDITION_CHANGE })]),
    )
  }

  /**
   * CCR-U for a line that is blocked: perhaps there is money again.
   *
   * @returns whether traffic passes
   */
  async askAgain(ref: LineRef): Promise<boolean> {
    const line = this.lineOf(ref)
    await this.request('update', [[line, serviceOf(line, { requested: {} })]])
    return line.state !== 'blocked'
  }

  /** Asks for a blocked line now and then, until traffic passes or the session has ended. */
  async keepAsking(ref: LineRef, everyMs: number): Promise<void> {
    const { clock } = this.options.gateway
    while (this.state === 'open' && !(await this.askAgain(ref))) {
      await new Promise<void>(resolve => void clock.setTimeout(resolve, everyMs))
    }
  }

  /** CCR-T: reports all that was used and ends the session. */
  async end(): Promise<void> {
    if (this.state !== 'open') return
    // What was never granted has nothing to report.
    const served = this.lines.filter(({ granted, used }) => granted > 0n || used > 0n)
    await this.request(
      'terminate',
      served.map(line => [line, serviceOf(line, { reason: Reason.FINAL })]),
    )
    this.close()
  }

  /** Forgets the session, as a gateway does that restarts. Nothing is sent. */
  close(): void {
    this.state = 'ended'
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

  /** TS 32.299 section 6.5.3: the final units are used; it reports, asks for nothing, and the service stops. */
  private async stop(line: Line): Promise<void> {
    await this.request('update', [[line, serviceOf(line, { reason: Reason.FINAL })]])
    this.block(line)
  }

  private async request(type: CcrInput['type'], parts: readonly (readonly [Line, ServiceInput])[]): Promise<void> {
    const { gateway, serviceContextId, subscriptionIds, onExchange } = this.options
    const request: CcrInput = {
      type,
      number: this.number++,
      sessionId: this.id,
      serviceContextId,
      subscriptionIds,
      eventTimestamp: Math.floor(gateway.clock.now() / 1000),
      ...(this.server !== undefined && { destinationHost: this.server }),
      ...(type === 'initial' && { multipleServicesIndicator: 1 }),
      ...(type === 'terminate' && { terminationCause: LOGOUT }),
      services: parts.map(([line, service]) => this.withUsage(line, service)),
      ...(this.information && { information: this.information }),
    }
    for (const [line] of parts) line.used = line.usedBefore = 0n
    const answer = await gateway.ask(request)
    if (answer.resultCode === SUCCESS) this.server ??= answer.text('Origin-Host')
    this.apply(
      answer,
      parts.map(([line]) => line),
    )
    await onExchange?.({ request, answer })
  }

  /** Any code but 2001 at command level ends the session (Credit-Control-Failure-Handling TERMINATE). */
  private apply(answer: Message, lines: readonly Line[]): void {
    if (answer.resultCode !== SUCCESS) {
      for (const line of lines) line.resultCode = answer.resultCode
      this.close()
      return
    }
    const answers = answer.groups('Multiple-Services-Credit-Control')
    for (const line of lines) {
      const mscc = answers.find(each => isFor(each, line))
      if (mscc) this.grant(line, mscc)
    }
  }

  private grant(line: Line, mscc: Avps): void {
    const { gateway, unit } = this.options
    gateway.clock.clearTimeout(line.timer)
    line.timer = undefined
    line.resultCode = mscc.number('Result-Code') ?? SUCCESS
    line.granted = grantedOf(mscc, unit) ?? 0n
    line.used = line.usedBefore = 0n
    line.switchAt = switchOf(mscc)
    const threshold = thresholdOf(mscc, unit) ?? 0n
    line.threshold = threshold < line.granted ? threshold : 0n
    if (line.resultCode !== SUCCESS || line.granted === 0n) {
      line.state = 'blocked'
      return
    }
    line.state = mscc.group('Final-Unit-Indication') ? 'final' : 'open'
    const validity = mscc.number('Validity-Time')
    if (validity !== undefined) {
      line.timer = gateway.clock.setTimeout(() => {
        // A session without a server has nothing to report to; its owner learns of it with the next request.
        this.report(line, Reason.VALIDITY_TIME).catch(() => undefined)
      }, validity * 1000)
    }
  }

  private block(line: Line): void {
    this.options.gateway.clock.clearTimeout(line.timer)
    line.timer = undefined
    line.state = 'blocked'
    line.granted = line.threshold = 0n
    line.switchAt = undefined
  }

  /**
   * The usage, and its reason where TS 32.299 section 7.2.175 wants it: these two beside the units, the others beside the
   * group. When the switch of the grant has passed, in two parts.
   */
  private withUsage(line: Line, { reason, ...service }: ServiceInput): ServiceInput {
    const { gateway } = this.options
    const { used, usedBefore, switchAt } = line
    if (used === 0n && service.requested !== undefined && reason === undefined) return service
    const inUnits = reason === Reason.THRESHOLD || reason === Reason.QUOTA_EXHAUSTED
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
    }
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

const nameOf = (ref: LineRef): LineName => (typeof ref === 'object' ? ref : { ratingGroup: ref })

const newLine = ({ ratingGroup, serviceIdentifiers = [] }: LineName): Line => ({
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
  timer: undefined,
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
