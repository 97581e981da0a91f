/**
 * A prepaid session as a gateway lives it (RFC 8506 section 5, TS 32.299 section 6.5): it lets traffic pass as far as it was
 * granted, reports, asks for more, stops a service when its final units are used or when it is refused, and reports again
 * when Validity-Time is over.
 */
import type { Timer } from '../clock.js'
import { Reason, type CcrInput, type ServiceInput, type SubscriptionIdType, type UsedUnits } from './ccr.js'
import type { Gateway } from './gateway.js'
import type { Avps, Message } from './message.js'

export type Unit = 'octets' | 'seconds' | 'events'

/** One quota of the session. */
export interface Line {
  /** Undefined: the gateway does not name one. */
  readonly ratingGroup: number | undefined
  /**
   * `open`: traffic passes as far as `granted` reaches; `final`: the same, and no more comes after it; `blocked`: refused, or
   * the final units are used: nothing passes until the server grants again.
   */
  state: 'open' | 'final' | 'blocked'
  /** Of the present grant. */
  granted: bigint
  /** Of it, not reported yet. */
  used: bigint
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
  readonly unit: Unit
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

  constructor(private readonly options: SessionOptions) {
    this.id = options.sessionId ?? options.gateway.nextSessionId()
  }

  /**
   * CCR-I: asks for quota for these Rating-Groups.
   *
   * @returns false when the server refuses the session
   * @throws ConnectionLostError, NoAnswerError
   */
  async open(ratingGroups: readonly (number | undefined)[]): Promise<boolean> {
    for (const ratingGroup of ratingGroups) this.lines.push(newLine(ratingGroup))
    this.state = 'open'
    await this.request(
      'initial',
      this.lines.map(line => [line, serviceOf(line, { requested: {} })]),
    )
    return this.isOpen()
  }

  /**
   * Traffic comes: as much of it passes as the server lets, with a report whenever a grant is used or nearly used.
   *
   * @returns the units that passed
   */
  async use(ratingGroup: number | undefined, amount: bigint): Promise<bigint> {
    const line = this.lineOf(ratingGroup)
    let rest = amount
    while (rest > 0n && line.state !== 'blocked' && this.state === 'open') {
      const mark = line.state === 'open' ? line.granted - line.threshold : line.granted
      const passes = min(rest, mark - line.used)
      line.used += passes
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
   * CCR-U for a line that is blocked: perhaps there is money again.
   *
   * @returns whether traffic passes
   */
  async askAgain(ratingGroup: number | undefined): Promise<boolean> {
    const line = this.lineOf(ratingGroup)
    await this.request('update', [[line, serviceOf(line, { requested: {} })]])
    return line.state !== 'blocked'
  }

  /** Asks for a blocked line now and then, until traffic passes or the session has ended. */
  async keepAsking(ratingGroup: number | undefined, everyMs: number): Promise<void> {
    const { clock } = this.options.gateway
    while (this.state === 'open' && !(await this.askAgain(ratingGroup))) {
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

  lineOf(ratingGroup: number | undefined): Line {
    const line = this.lines.find(each => each.ratingGroup === ratingGroup)
    if (!line) throw new Error(`the session has no rating group ${ratingGroup ?? 'none'}`)
    return line
  }

  /** TS 32.299 section 6.5.3: the final units are used; it reports, asks for nothing, and the service stops. */
  private async stop(line: Line): Promise<void> {
    await this.request('update', [[line, serviceOf(line, { reason: Reason.FINAL })]])
    this.block(line)
  }

  private async request(type: CcrInput['type'], parts: readonly (readonly [Line, ServiceInput])[]): Promise<void> {
    const { gateway, serviceContextId, subscriptionIds, unit, onExchange } = this.options
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
      services: parts.map(([line, service]) => withUsage(line, service, unit)),
    }
    for (const [line] of parts) line.used = 0n
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
      const mscc = answers.find(each => each.number('Rating-Group') === line.ratingGroup)
      if (mscc) this.grant(line, mscc)
    }
  }

  private grant(line: Line, mscc: Avps): void {
    const { gateway, unit } = this.options
    gateway.clock.clearTimeout(line.timer)
    line.timer = undefined
    line.resultCode = mscc.number('Result-Code') ?? SUCCESS
    line.granted = mscc.group('Granted-Service-Unit')?.bigint(unitNames[unit]) ?? 0n
    line.used = 0n
    const threshold = mscc.bigint(thresholdNames[unit]) ?? 0n
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
  }

  /** The compiler does not see that `request` may have ended it. */
  private isOpen(): boolean {
    return this.state === 'open'
  }
}

const unitNames: Readonly<Record<Unit, string>> = {
  octets: 'CC-Total-Octets',
  seconds: 'CC-Time',
  events: 'CC-Service-Specific-Units',
}
const thresholdNames: Readonly<Record<Unit, string>> = {
  octets: 'Volume-Quota-Threshold',
  seconds: 'Time-Quota-Threshold',
  events: 'Unit-Quota-Threshold',
}

const newLine = (ratingGroup: number | undefined): Line => ({
  ratingGroup,
  state: 'blocked',
  granted: 0n,
  used: 0n,
  threshold: 0n,
  total: 0n,
  resultCode: 0,
  timer: undefined,
})

const serviceOf = ({ ratingGroup }: Line, parts: ServiceInput): ServiceInput => ({
  ...(ratingGroup !== undefined && { ratingGroup }),
  ...parts,
})

/** The usage, and its reason where TS 32.299 section 7.2.175 wants it: these two beside the units, the others beside the group. */
function withUsage({ used }: Line, { reason, ...service }: ServiceInput, unit: Unit): ServiceInput {
  if (used === 0n && service.requested !== undefined && reason === undefined) return service
  const inUnits = reason === Reason.THRESHOLD || reason === Reason.QUOTA_EXHAUSTED
  const amount: UsedUnits = unit === 'seconds' ? { seconds: Number(used) } : { [unit]: used }
  return {
    ...service,
    used: [inUnits ? { ...amount, reason } : amount],
    ...(!inUnits && reason !== undefined && { reason }),
  }
}

const min = (a: bigint, b: bigint): bigint => (a < b ? a : b)
