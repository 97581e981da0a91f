/**
 * The credit-control application (RFC 8506): a CCR comes in, a CCA goes out. The whole corridor is in `answer`.
 */
import type { ChargingFunction, CreditOutcome, RequestType } from '../charging/charging.js'
import type { Clock } from '../clock.js'
import type { ChargingConfig, DiameterConfig, PeerProfile } from '../config/config.js'
import { currencyNumber } from '../currency.js'
import type { Answer, Application, IncomingRequest } from '../diameter/application.js'
import type { Dictionary } from '../diameter/dictionary.js'
import { DiameterError, ResultCode } from '../diameter/errors.js'
import { emptyAvp } from '../diameter/failed-avp.js'
import { FLAG } from '../diameter/header.js'
import { encodeAvp } from '../diameter/tree.js'
import { Writer } from '../diameter/writer.js'
import { unitTypes } from '../units.js'
import { ccaOf, refusalOf, type CcaContext } from './cca.js'
import { CcrReader, totalOf, usedAvp, type CcrOddity, type ReadCcr } from './ccr.js'

/** What is counted of CCRs; telemetry implements it. */
export interface CcrMetrics {
  record(type: RequestType, context: ServiceContext, resultCode: number, outcome: CcrOutcome, seconds: number): void
  inFlight: number
  /** True for the few CCRs whose stages are timed. */
  sampled(): boolean
  odd(kind: CcrOddity): void
  stage(stage: 'decode' | 'charge' | 'encode', seconds: number): void
}
export type ServiceContext = 'data' | 'voice' | 'sms' | 'mms' | 'other'
export type CcrOutcome = 'granted' | 'denied' | 'client_fault' | 'server_fault' | 'shed' | 'duplicate'

const creditControlRequest = 272

export class CreditControl implements Application {
  readonly id = 4
  private readonly reader: CcrReader
  private readonly identity: Buffer

  constructor(
    private readonly parts: {
      readonly dictionary: Dictionary
      readonly diameter: DiameterConfig
      readonly config: ChargingConfig
      readonly charging: Pick<ChargingFunction, 'charge'>
      readonly metrics: CcrMetrics
      readonly clock: Clock
      /** False where business time is not the gateways': Event-Timestamps say nothing then. Default true. */
      readonly believesTimestamps?: boolean
    },
  ) {
    const { dictionary, diameter } = parts
    this.reader = new CcrReader(dictionary, diameter.limits)
    const writer = new Writer(1024)
    writer.text(264, diameter.identity)
    writer.text(296, diameter.realm)
    this.identity = Buffer.from(writer.take())
  }

  /**
   * Answers one CCR; not one whose peer takes a refusal for the end of its session, when it is the store that is away.
   *
   * @throws DiameterError when the request is malformed or contradicts itself: nothing of it is charged
   */
  async answer(request: IncomingRequest): Promise<Answer | undefined> {
    const { header, peer, arrivedAt } = request
    const { clock, charging, metrics } = this.parts
    if (header.commandCode !== creditControlRequest) {
      throw new DiameterError(ResultCode.COMMAND_UNSUPPORTED, `command ${header.commandCode} is not served`)
    }
    metrics.inFlight++
    const sampled = metrics.sampled()
    const begun = sampled ? clock.monotonic() : 0
    let ccr: ReadCcr | undefined
    let resultCode: number = ResultCode.UNABLE_TO_COMPLY
    let outcome: CreditOutcome | undefined
    try {
      ccr = this.reader.read(request.octets) // AVPs are checked and typed here, and nowhere later
      const decoded = sampled ? clock.monotonic() : 0
      for (const oddity of ccr.oddities) metrics.odd(oddity)
      outcome = await charging.charge({
        ...ccr.credit,
        ...(this.parts.believesTimestamps === false && { eventTime: undefined }),
        via: peer.originHost,
        retransmitted: (header.flags & FLAG.RETRANSMITTED) !== 0,
        arrival: clock.now(),
        arrivedAt,
        profile: peer.profile,
      })
      if (peer.profile.reusedNumber === 'refuse' && 'how' in outcome && outcome.how === 'mismatch')
        outcome = { status: 'reused_number', how: 'mismatch' }
      const answer = ccaOf(this.context(outcome, peer.profile), ccr, outcome, this.failedAvp(ccr, outcome))
      resultCode = answer.resultCode
      if (outcome.status === 'busy' && ccr.requestType === 'update' && peer.profile.onOutage === 'silent')
        return undefined
      if (!sampled) return answer
      metrics.stage('decode', (decoded - begun) / 1000)
      metrics.stage('charge', (clock.monotonic() - decoded) / 1000)
      return this.timed(answer)
    } catch (error) {
      if (error instanceof DiameterError) resultCode = error.resultCode
      throw error
    } finally {
      metrics.inFlight--
      metrics.record(
        ccr?.requestType ?? 'event',
        contextOf(ccr?.serviceContextId),
        resultCode,
        outcomeOf(resultCode, outcome),
        (clock.monotonic() - arrivedAt) / 1000,
      )
    }
  }

  private context(outcome: CreditOutcome, profile: PeerProfile): CcaContext {
    const currencyCode = 'currency' in outcome ? currencyNumber(outcome.currency) : undefined
    return { identity: this.identity, config: this.parts.config, currencyCode, profile }
  }

  private timed(answer: Answer): Answer {
    const { clock, metrics } = this.parts
    return {
      resultCode: answer.resultCode,
      write: writer => {
        const begun = clock.monotonic()
        answer.write(writer)
        metrics.stage('encode', (clock.monotonic() - begun) / 1000)
      },
    }
  }

  /** What the answer points at: the AVPs that made it what it is. */
  private failedAvp(ccr: ReadCcr, outcome: CreditOutcome): Buffer | undefined {
    const { dictionary } = this.parts
    switch (outcome.status) {
      case 'unknown_service':
      case 'other_service':
        return encodeAvp(dictionary, 'Service-Context-Id', ccr.serviceContextId)
      case 'no_identity':
        return emptyAvp(dictionary.avp('Subscription-Id'))
      case 'contradicting_identities':
        return Buffer.concat(outcome.identities.map(i => this.subscriptionId(ccr, i)))
      case 'other_subscriber':
        return this.subscriptionId(ccr, outcome.identity)
      case 'too_large':
        return this.usedOf(ccr, outcome.line)
      case 'answered':
      case 'refused': {
        const unrated = outcome.lines.filter(line => line.is === 'unrated')
        if (
          unrated.length === 0 ||
          (outcome.status === 'refused' && refusalOf(outcome)?.resultCode !== ResultCode.RATING_FAILED)
        )
          return undefined
        if (outcome.status === 'answered' && ccr.commandLevel)
          return encodeAvp(dictionary, 'Service-Context-Id', ccr.serviceContextId)
        return Buffer.concat(unrated.map(({ line }) => this.serviceOf(ccr, line)))
      }
      default:
        return undefined
    }
  }

  private subscriptionId(ccr: ReadCcr, i: number): Buffer {
    const { type, data } = ccr.subscriptionIds[i]!
    return encodeAvp(this.parts.dictionary, 'Subscription-Id', [
      ['Subscription-Id-Type', type],
      ['Subscription-Id-Data', data],
    ])
  }

  private usedOf(ccr: ReadCcr, key: string): Buffer {
    const used = ccr.credit.lines.find(line => line.key === key)?.used
    const type = unitTypes.find(each => used?.[each] !== undefined) ?? 'octets'
    const amount = used?.[type]
    return usedAvp(this.parts.dictionary, type, amount === undefined ? 0n : totalOf(amount))
  }

  /** The Service-Identifiers or the Rating-Group that no rule knows, inside their MSCC; without any, the context. */
  private serviceOf(ccr: ReadCcr, key: string): Buffer {
    const { dictionary } = this.parts
    const line = ccr.credit.lines.find(candidate => candidate.key === key)
    if (line === undefined || (line.ratingGroup === undefined && line.serviceIdentifiers.length === 0)) {
      return encodeAvp(dictionary, 'Service-Context-Id', ccr.serviceContextId)
    }
    if (ccr.commandLevel && ccr.requestType === 'event')
      return encodeAvp(dictionary, 'Service-Identifier', line.serviceIdentifiers[0]!)
    return encodeAvp(dictionary, 'Multiple-Services-Credit-Control', [
      ...line.serviceIdentifiers.map(id => ['Service-Identifier', id] as const),
      ...(line.ratingGroup === undefined ? [] : [['Rating-Group', line.ratingGroup] as const]),
    ])
  }
}

/** TS 32.299 section 7.1.12: numbers of the service specifications. */
const contexts: Readonly<Record<string, ServiceContext>> = {
  '32251': 'data',
  '32260': 'voice',
  '32274': 'sms',
  '32270': 'mms',
  '32275': 'voice',
}

function contextOf(serviceContextId: string | undefined): ServiceContext {
  const number = serviceContextId === undefined ? undefined : /(\d{5})@/.exec(serviceContextId)?.[1]
  return (number !== undefined && contexts[number]) || 'other'
}

function outcomeOf(resultCode: number, outcome: CreditOutcome | undefined): CcrOutcome {
  if (outcome === undefined) return resultCode === ResultCode.UNABLE_TO_COMPLY ? 'server_fault' : 'client_fault'
  if (outcome.status === 'busy') return 'server_fault'
  if ('how' in outcome && (outcome.how === 'again' || outcome.how === 'old' || outcome.how === 'mismatch'))
    return 'duplicate'
  if (resultCode === ResultCode.SUCCESS) return 'granted'
  return resultCode >= 4000 && resultCode < 5000 ? 'denied' : deniedCodes.has(resultCode) ? 'denied' : 'client_fault'
}

/** Business says no, though the code is permanent. */
const deniedCodes: ReadonlySet<number> = new Set([
  ResultCode.USER_UNKNOWN,
  ResultCode.AUTHORIZATION_REJECTED,
  ResultCode.RATING_FAILED,
])
