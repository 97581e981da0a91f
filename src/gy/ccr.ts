/**
 * The Credit-Control-Request as charging needs it: RFC 8506 section 3.1 with the AVPs of TS 32.299 section 6.4.2.
 * Everything is checked here, and past this file no code asks whether an AVP is present or well formed.
 */
import type { Dictionary } from '../diameter/dictionary.js'
import { DiameterError, ResultCode } from '../diameter/errors.js'
import { emptyAvp, missing, wrapIn } from '../diameter/failed-avp.js'
import { readMessage, shape, type ReadLimits, type Shape } from '../diameter/message.js'
import { encodeAvp } from '../diameter/tree.js'
import { lineLimit, unitTypes, type UnitType } from '../units.js'
import type {
  CreditRequest,
  EventAction,
  Identity,
  LineRequest,
  RequestFacts,
  RequestType,
  SplitAmount,
  UnitAmounts,
  UsedAmounts,
} from '../charging/charging.js'
import { factsOf, globalNumberOf, serviceInformationShape, type ServiceInformation } from './facts.js'

export class UnitValue {
  valueDigits = 0n
  exponent = 0
}

export class Money {
  unitValue = new UnitValue()
  currencyCode: number | undefined = undefined
}

/** Amounts of Requested- or Used-Service-Unit as they stand in the message. */
export class ServiceUnits {
  tariffChangeUsage: number | undefined = undefined
  ccTime: number | undefined = undefined
  ccTotalOctets: bigint | undefined = undefined
  ccInputOctets: bigint | undefined = undefined
  ccOutputOctets: bigint | undefined = undefined
  ccServiceSpecificUnits: bigint | undefined = undefined
  ccMoney: Money | undefined = undefined
  reportingReason: number | undefined = undefined
  eventTimes: number[] = []
}

class Trigger {
  types: number[] = []
}

export class Mscc {
  requested: ServiceUnits | undefined = undefined
  used: ServiceUnits[] = []
  serviceIdentifiers: number[] = []
  ratingGroup: number | undefined = undefined
  reportingReasons: number[] = []
  trigger: Trigger | undefined = undefined
  refund: Buffer | undefined = undefined
  ratType: Buffer | undefined = undefined
  afCorrelation: AfCorrelation | undefined = undefined
}

export class AfCorrelation {
  chargingIdentifier: Buffer | undefined = undefined
}

export class SubscriptionId {
  type = 0
  data = ''
}

export type SubscriptionIdData = Pick<SubscriptionId, 'type' | 'data'>

/** Subscription-Id-Extension, RFC 8506 section 8.58: exactly one of its members. */
export class SubscriptionIdExtension {
  e164: string | undefined = undefined
  imsi: string | undefined = undefined
  sipUri: string | undefined = undefined
  nai: string | undefined = undefined
  private: string | undefined = undefined
}

/** User-Equipment-Info-Extension, RFC 8506 section 8.52: the same. */
export class UserEquipmentInfoExtension {
  imeisv: Buffer | undefined = undefined
  mac: Buffer | undefined = undefined
  eui64: Buffer | undefined = undefined
  modifiedEui64: Buffer | undefined = undefined
  imei: Buffer | undefined = undefined
}

export class Ccr {
  sessionId = ''
  originHost = ''
  originRealm = ''
  authApplicationId = 0
  serviceContextId = ''
  ccRequestType = 0
  ccRequestNumber = 0
  eventTimestamp: number | undefined = undefined
  subscriptionIds: SubscriptionId[] = []
  subscriptionIdExtensions: SubscriptionIdExtension[] = []
  userEquipmentInfoExtension: UserEquipmentInfoExtension | undefined = undefined
  serviceParameterInfos: Buffer[] = []
  requestedAction: number | undefined = undefined
  aocRequestType: number | undefined = undefined
  refund: Buffer | undefined = undefined
  reportingReasons: number[] = []
  requested: ServiceUnits | undefined = undefined
  used: ServiceUnits[] = []
  mscc: Mscc[] = []
  serviceIdentifier: number | undefined = undefined
  ccSubSessionId: Buffer | undefined = undefined
  serviceInformation: ServiceInformation | undefined = undefined
  ratType: Buffer | undefined = undefined
  terminationCause: number | undefined = undefined
  proxyInfo: Buffer[] = []
}

export const requestTypes: Readonly<Record<number, RequestType>> = {
  1: 'initial',
  2: 'update',
  3: 'terminate',
  4: 'event',
}

/** Requested-Action, RFC 8506 section 8.41. */
const actions: Readonly<Record<number, EventAction>> = { 0: 'debit', 1: 'refund', 2: 'check', 3: 'price' }

const Reason = { THRESHOLD: 0, FINAL: 2 } as const
/** Where a Reporting-Reason belongs, TS 32.299 section 7.2.175: with used units, beside them, or both. */
const reasonsOfUnits: ReadonlySet<number> = new Set([0, 3, 5, 8])
const reasonsOfMscc: ReadonlySet<number> = new Set([1, 2, 4, 6, 7, 8, 9])

/** What the specification has otherwise, and we take as it is meant. */
export type CcrOddity = 'reason_missing' | 'reason_misplaced' | 'bad_answer'

/** AOC_NOT_REQUESTED and AOC_TARIFF_ONLY ask for no cost: TS 32.299 section 7.2.8. */
const aocWithCost: ReadonlySet<number> = new Set([1, 2])

/** A CCR that passed the door: what the answer needs of the message, and what charging is asked. */
export interface ReadCcr {
  readonly sessionId: string
  readonly requestType: RequestType
  readonly requestNumber: number
  readonly serviceContextId: string
  readonly proxyInfo: readonly Buffer[]
  /** The units stand at command level: RFC 8506 without MSCC. */
  readonly commandLevel: boolean
  /** AoC-Request-Type asks what it costs. */
  readonly costAsked: boolean
  /** By the index of each identity, the Subscription-Id that gave it. */
  readonly subscriptionIds: readonly SubscriptionIdData[]
  readonly oddities: readonly CcrOddity[]
  readonly credit: Omit<CreditRequest, 'arrival' | 'arrivedAt' | 'retransmitted' | 'profile' | 'via'>
}

const noOddities: readonly CcrOddity[] = []

export class CcrReader {
  private readonly shape: Shape<Ccr>

  constructor(
    private readonly dictionary: Dictionary,
    private readonly limits: ReadLimits & { readonly sessionIdOctets: number },
  ) {
    const unitValue = shape(dictionary, 'Unit-Value', UnitValue, { valueDigits: 'Value-Digits', exponent: 'Exponent' })
    const money = shape(dictionary, 'CC-Money', Money, {
      unitValue: ['Unit-Value', unitValue],
      currencyCode: 'Currency-Code',
    })
    const units = shape(dictionary, 'Used-Service-Unit', ServiceUnits, {
      tariffChangeUsage: 'Tariff-Change-Usage',
      ccTime: 'CC-Time',
      ccTotalOctets: 'CC-Total-Octets',
      ccInputOctets: 'CC-Input-Octets',
      ccOutputOctets: 'CC-Output-Octets',
      ccServiceSpecificUnits: 'CC-Service-Specific-Units',
      ccMoney: ['CC-Money', money],
      reportingReason: 'Reporting-Reason',
      eventTimes: 'Event-Charging-TimeStamp',
    })
    const requested = shape(dictionary, 'Requested-Service-Unit', ServiceUnits, {
      ccTime: 'CC-Time',
      ccTotalOctets: 'CC-Total-Octets',
      ccInputOctets: 'CC-Input-Octets',
      ccOutputOctets: 'CC-Output-Octets',
      ccServiceSpecificUnits: 'CC-Service-Specific-Units',
      ccMoney: ['CC-Money', money],
      reportingReason: 'Reporting-Reason',
    })
    const trigger = shape(dictionary, 'Trigger', Trigger, { types: 'Trigger-Type' })
    const mscc = shape(dictionary, 'Multiple-Services-Credit-Control', Mscc, {
      requested: ['Requested-Service-Unit', requested],
      used: ['Used-Service-Unit', units],
      serviceIdentifiers: 'Service-Identifier',
      ratingGroup: 'Rating-Group',
      reportingReasons: 'Reporting-Reason',
      trigger: ['Trigger', trigger],
      refund: 'Refund-Information',
      ratType: '3GPP-RAT-Type',
      afCorrelation: [
        'AF-Correlation-Information',
        shape(dictionary, 'AF-Correlation-Information', AfCorrelation, {
          chargingIdentifier: 'AF-Charging-Identifier',
        }),
      ],
    })
    const subscriptionId = shape(dictionary, 'Subscription-Id', SubscriptionId, {
      type: 'Subscription-Id-Type',
      data: 'Subscription-Id-Data',
    })
    const extension = shape(dictionary, 'Subscription-Id-Extension', SubscriptionIdExtension, {
      e164: 'Subscription-Id-E164',
      imsi: 'Subscription-Id-IMSI',
      sipUri: 'Subscription-Id-SIP-URI',
      nai: 'Subscription-Id-NAI',
      private: 'Subscription-Id-Private',
    })
    const equipment = shape(dictionary, 'User-Equipment-Info-Extension', UserEquipmentInfoExtension, {
      imeisv: 'User-Equipment-Info-IMEISV',
      mac: 'User-Equipment-Info-MAC',
      eui64: 'User-Equipment-Info-EUI64',
      modifiedEui64: 'User-Equipment-Info-ModifiedEUI64',
      imei: 'User-Equipment-Info-IMEI',
    })
    this.shape = shape(dictionary, 'Credit-Control-Request', Ccr, {
      sessionId: 'Session-Id',
      originHost: 'Origin-Host',
      originRealm: 'Origin-Realm',
      authApplicationId: 'Auth-Application-Id',
      serviceContextId: 'Service-Context-Id',
      ccRequestType: 'CC-Request-Type',
      ccRequestNumber: 'CC-Request-Number',
      eventTimestamp: 'Event-Timestamp',
      subscriptionIds: ['Subscription-Id', subscriptionId],
      subscriptionIdExtensions: ['Subscription-Id-Extension', extension],
      userEquipmentInfoExtension: ['User-Equipment-Info-Extension', equipment],
      serviceParameterInfos: ['Service-Parameter-Info', 'raw'],
      requestedAction: 'Requested-Action',
      aocRequestType: 'AoC-Request-Type',
      refund: 'Refund-Information',
      reportingReasons: 'Reporting-Reason',
      requested: ['Requested-Service-Unit', requested],
      used: ['Used-Service-Unit', units],
      mscc: ['Multiple-Services-Credit-Control', mscc],
      serviceIdentifier: 'Service-Identifier',
      ccSubSessionId: ['CC-Sub-Session-Id', 'raw'],
      serviceInformation: ['Service-Information', serviceInformationShape(dictionary)],
      ratType: '3GPP-RAT-Type',
      terminationCause: 'Termination-Cause',
      proxyInfo: ['Proxy-Info', 'raw'],
    })
  }

  /**
   * Reads and checks one CCR.
   *
   * @throws DiameterError the first fault found: nothing of such a request changes a balance
   */
  read(octets: Buffer): ReadCcr {
    const ccr = readMessage(this.shape, octets, this.limits)
    this.checkCommand(ccr)
    const type = requestTypes[ccr.ccRequestType]!
    const { identities, subscriptionIds } = this.identitiesOf(ccr)
    const facts = withCorrelation(factsOf(ccr.serviceInformation, ccr.ratType ?? ratTypeOf(ccr.mscc)), ccr.mscc)
    const lines = type === 'event' ? this.eventLinesOf(ccr, facts.recipients ?? 1) : this.linesOf(ccr)
    return {
      sessionId: ccr.sessionId,
      requestType: type,
      requestNumber: ccr.ccRequestNumber,
      serviceContextId: ccr.serviceContextId,
      proxyInfo: ccr.proxyInfo,
      commandLevel: ccr.mscc.length === 0 && (ccr.requested !== undefined || ccr.used.length > 0 || type === 'event'),
      costAsked: ccr.aocRequestType !== undefined && aocWithCost.has(ccr.aocRequestType),
      subscriptionIds,
      oddities: odditiesOf(ccr),
      credit: {
        type,
        number: ccr.ccRequestNumber,
        sessionId: ccr.sessionId,
        originHost: ccr.originHost,
        originRealm: ccr.originRealm,
        serviceContextId: ccr.serviceContextId,
        action: type === 'event' ? actions[ccr.requestedAction!] : undefined,
        eventTime: ccr.eventTimestamp === undefined ? undefined : ccr.eventTimestamp * 1000,
        identities,
        lines,
        facts,
      },
    }
  }

  private checkCommand(ccr: Ccr): void {
    const { dictionary } = this
    if (ccr.sessionId.length > this.limits.sessionIdOctets) {
      throw new DiameterError(
        ResultCode.INVALID_AVP_VALUE,
        `Session-Id is longer than ${this.limits.sessionIdOctets} octets`,
        encodeAvp(dictionary, 'Session-Id', ccr.sessionId.slice(0, this.limits.sessionIdOctets)),
      )
    }
    if (ccr.authApplicationId !== 4) {
      throw new DiameterError(
        ResultCode.INVALID_AVP_VALUE,
        `Auth-Application-Id is ${ccr.authApplicationId} where the header says 4`,
        encodeAvp(dictionary, 'Auth-Application-Id', ccr.authApplicationId),
      )
    }
    for (const [name, value] of [
      ['Origin-Host', ccr.originHost],
      ['Origin-Realm', ccr.originRealm],
    ] as const) {
      if (value === '')
        throw new DiameterError(ResultCode.INVALID_AVP_VALUE, `${name} is empty`, emptyAvp(dictionary.avp(name)))
    }
    if (ccr.ccSubSessionId !== undefined) {
      throw new DiameterError(
        ResultCode.INVALID_AVP_VALUE,
        'sub-sessions are not served: send no CC-Sub-Session-Id',
        ccr.ccSubSessionId,
      )
    }
    if (ccr.ccRequestType === 4 && ccr.requestedAction === undefined) throw missing(dictionary.avp('Requested-Action'))
    const beside = ccr.mscc.length > 0 ? unitsOfCommand(ccr) : undefined
    if (beside !== undefined) {
      throw new DiameterError(
        ResultCode.CONTRADICTING_AVPS,
        `${beside} at command level beside Multiple-Services-Credit-Control`,
        Buffer.concat([emptyAvp(dictionary.avp(beside)), emptyAvp(dictionary.avp('Multiple-Services-Credit-Control'))]),
      )
    }
    if (ccr.serviceParameterInfos.length > 0) {
      // No service of ours defines a Service-Parameter-Type, so none is known: RFC 8506 section 9.2.
      throw new DiameterError(
        ResultCode.RATING_FAILED,
        'Service-Parameter-Info: no Service-Parameter-Type is known to any service here',
        Buffer.concat(ccr.serviceParameterInfos),
      )
    }
    const equipment = ccr.userEquipmentInfoExtension
    if (equipment) {
      const { imeisv, mac, eui64, modifiedEui64, imei } = equipment
      const members = [imeisv, mac, eui64, modifiedEui64, imei]
      this.checkOneOf('User-Equipment-Info-Extension', 'User-Equipment-Info-IMEISV', members)
    }
  }

  /** Exactly one member stands in an extension group; the codes are ours. */
  private checkOneOf(groupName: string, firstName: string, members: readonly unknown[]): void {
    const present = members.filter(member => member !== undefined).length
    if (present === 1) return
    const group = this.dictionary.avp(groupName)
    if (present === 0) {
      const { failedAvp } = missing(this.dictionary.avp(firstName))
      throw new DiameterError(ResultCode.MISSING_AVP, `${groupName} is empty`, wrapIn(group, failedAvp!))
    }
    throw new DiameterError(
      ResultCode.AVP_OCCURS_TOO_MANY_TIMES,
      `${groupName} holds more than one member`,
      emptyAvp(group),
    )
  }

  /** The lines of the request in its order; two MSCCs of one line are one, usages summed. */
  private linesOf(ccr: Ccr): LineRequest[] {
    const [first] = ccr.mscc
    if (first === undefined) {
      if (ccr.requested === undefined && ccr.used.length === 0) return []
      return [this.line(this.commandLevelOf(ccr))]
    }
    if (ccr.mscc.length === 1) return [this.line(first)]
    const lines = new Map<string, LineRequest>()
    for (const mscc of ccr.mscc) {
      const line = this.line(mscc)
      const same = lines.get(line.key)
      lines.set(line.key, same === undefined ? line : this.together(same, line))
    }
    return [...lines.values()]
  }

  /**
   * Of an event, each line asks for an exact amount: the units requested, or else those told as used, or else (of a message) one for
   * each recipient.
   */
  private eventLinesOf(ccr: Ccr, recipients: number): LineRequest[] {
    const lines = new Map<string, LineRequest>()
    for (const mscc of ccr.mscc.length > 0 ? ccr.mscc : [this.commandLevelOf(ccr)]) {
      const line = this.line(mscc)
      let requested = mscc.requested ? this.amountsOf('Requested-Service-Unit', mscc.requested) : undefined
      if (requested === undefined || !asksAny(requested)) requested = sumOf(line.used)
      if (!asksAny(requested) && line.refund === undefined) requested = { ...nothing, events: BigInt(recipients) }
      const event = { ...line, requested, used: nothing, threshold: false }
      const same = lines.get(line.key)
      if (same && (same.refund ?? event.refund) !== undefined) {
        throw new DiameterError(
          ResultCode.CONTRADICTING_AVPS,
          'two Multiple-Services-Credit-Control of one service, one with Refund-Information',
          Buffer.concat([same.refund, event.refund].flatMap(each => (each ? [this.refundAvp(each)] : []))),
        )
      }
      const both = same ? this.bothOf(same, event) : event
      this.checkEvent(both)
      lines.set(line.key, both)
    }
    return [...lines.values()]
  }

  private bothOf(a: LineRequest, b: LineRequest): LineRequest {
    const requested = { ...nothing } as { -readonly [type in UnitType]: bigint | undefined }
    for (const type of unitTypes) {
      const [one, other] = [a.requested?.[type], b.requested?.[type]]
      requested[type] = one === undefined ? other : one + (other ?? 0n)
    }
    return { ...a, requested, currency: this.oneCurrency(a.currency, b.currency) }
  }

  private checkEvent({ requested }: LineRequest): void {
    for (const type of unitTypes) {
      const amount = requested?.[type]
      if (amount === undefined || (amount > 0n && amount <= lineLimit[type])) continue
      throw new DiameterError(
        ResultCode.INVALID_AVP_VALUE,
        `an event has 1 to ${lineLimit[type]} ${type}, not ${amount}`,
        wrapIn(this.dictionary.avp('Requested-Service-Unit'), unitAvp(this.dictionary, type, amount)),
      )
    }
  }

  private refundAvp(octets: Buffer): Buffer {
    return encodeAvp(this.dictionary, 'Refund-Information', octets)
  }

  /** RFC 8506 without MSCC: the units of the one service stand beside the command. */
  private commandLevelOf(ccr: Ccr): Mscc {
    const mscc = new Mscc()
    mscc.requested = ccr.requested
    mscc.used = ccr.used
    mscc.reportingReasons = ccr.reportingReasons
    mscc.refund = ccr.refund
    if (ccr.serviceIdentifier !== undefined) mscc.serviceIdentifiers.push(ccr.serviceIdentifier)
    return mscc
  }

  private line(mscc: Mscc): LineRequest {
    const { ratingGroup, serviceIdentifiers, requested, reportingReasons, trigger, refund } = mscc
    let final = reportingReasons.includes(Reason.FINAL)
    let threshold = reportingReasons.includes(Reason.THRESHOLD)
    const sum: Used = { octets: undefined, seconds: undefined, events: undefined, money: undefined }
    let currency = requested?.ccMoney?.currencyCode
    for (const units of mscc.used) {
      final ||= units.reportingReason === Reason.FINAL
      threshold ||= units.reportingReason === Reason.THRESHOLD
      add(sum, this.amountsOf('Used-Service-Unit', units), sideOf(units.tariffChangeUsage))
      if (units.ccMoney !== undefined) currency = this.oneCurrency(currency, units.ccMoney.currencyCode)
    }
    this.checkLimits(sum)
    const asked = requested === undefined ? undefined : this.amountsOf('Requested-Service-Unit', requested)
    return {
      key: lineKey(ratingGroup, serviceIdentifiers),
      ratingGroup,
      serviceIdentifiers,
      requested: final ? undefined : asked,
      used: sum,
      currency,
      threshold: threshold && !final,
      triggers: trigger?.types,
      refund,
    }
  }

  private together(a: LineRequest, b: LineRequest): LineRequest {
    const used: Used = { octets: undefined, seconds: undefined, events: undefined, money: undefined }
    for (const each of [a.used, b.used]) {
      for (const type of unitTypes) {
        const amount = each[type]
        if (amount !== undefined) for (const side of sides) addTo(used, type, side, amount[side])
      }
    }
    this.checkLimits(used)
    return {
      ...a,
      used,
      requested: a.requested ?? b.requested,
      currency: this.oneCurrency(a.currency, b.currency),
      threshold: a.threshold || b.threshold,
    }
  }

  /** CC-Total-Octets wins over input plus output; without any amount, each Event-Charging-TimeStamp is one event (3GPP TS 32.299 section 7.1.14). */
  private amountsOf(group: UnitGroup, units: ServiceUnits): UnitAmounts {
    const { ccTotalOctets, ccInputOctets, ccOutputOctets, ccTime, ccServiceSpecificUnits, ccMoney, eventTimes } = units
    const split = ccInputOctets !== undefined || ccOutputOctets !== undefined
    const octets = ccTotalOctets ?? (split ? (ccInputOctets ?? 0n) + (ccOutputOctets ?? 0n) : undefined)
    const stamped =
      eventTimes.length > 0 && octets === undefined && ccTime === undefined && ccMoney === undefined
        ? BigInt(eventTimes.length)
        : undefined
    return {
      octets,
      seconds: ccTime === undefined ? undefined : BigInt(ccTime),
      events: ccServiceSpecificUnits ?? stamped,
      money: ccMoney === undefined ? undefined : this.microsOf(group, ccMoney),
    }
  }

  /** Unit-Value in micros; RFC 8506 sections 8.8 to 8.10. */
  private microsOf(group: UnitGroup, { unitValue, currencyCode }: Money): bigint {
    const { valueDigits, exponent } = unitValue
    const micros = exponent < -18 || exponent > 18 || valueDigits < 0n ? undefined : wholeMicros(valueDigits, exponent)
    if (micros !== undefined && micros <= lineLimit.money) return micros
    const { dictionary } = this
    const money = encodeAvp(dictionary, 'CC-Money', [
      [
        'Unit-Value',
        [
          ['Value-Digits', valueDigits],
          ['Exponent', exponent],
        ],
      ],
      ...(currencyCode === undefined ? [] : [['Currency-Code', currencyCode] as const]),
    ])
    throw new DiameterError(
      ResultCode.INVALID_AVP_VALUE,
      `${valueDigits} x 10^${exponent} is not an amount of 0 to ${lineLimit.money / 1_000_000n} in whole millionths`,
      wrapIn(dictionary.avp(group), money),
    )
  }

  private oneCurrency(a: number | undefined, b: number | undefined): number | undefined {
    if (a === undefined || b === undefined || a === b) return a ?? b
    throw new DiameterError(
      ResultCode.CONTRADICTING_AVPS,
      `money of two currencies, ${a} and ${b}, in one line`,
      Buffer.concat([a, b].map(code => encodeAvp(this.dictionary, 'Currency-Code', code))),
    )
  }

  private checkLimits(used: UsedAmounts): void {
    for (const type of unitTypes) {
      const amount = used[type]
      if (amount === undefined) continue
      const total = totalOf(amount)
      if (total > lineLimit[type]) {
        throw new DiameterError(
          ResultCode.INVALID_AVP_VALUE,
          `${total} ${type} of usage are more than one line may carry (${lineLimit[type]})`,
          usedAvp(this.dictionary, type, total),
        )
      }
    }
  }

  private identitiesOf(ccr: Ccr): { identities: Identity[]; subscriptionIds: SubscriptionIdData[] } {
    const identities: Identity[] = []
    const subscriptionIds: SubscriptionIdData[] = []
    const push = (source: SubscriptionIdData): void => {
      for (const identity of identitiesIn(source)) {
        identities.push(identity)
        subscriptionIds.push(source)
      }
    }
    for (const source of ccr.subscriptionIds) push(source)
    for (const extension of ccr.subscriptionIdExtensions) {
      const members = [extension.e164, extension.imsi, extension.sipUri, extension.nai, extension.private]
      this.checkOneOf('Subscription-Id-Extension', 'Subscription-Id-E164', members)
      members.forEach((data, type) => data !== undefined && push({ type, data }))
    }
    return { identities, subscriptionIds }
  }
}

/** What stands at command level and belongs to a service: an event whose debit is named there must not be refunded as one that names none. */
function unitsOfCommand({ ccRequestType, requested, used, refund }: Ccr): string | undefined {
  if (requested !== undefined) return 'Requested-Service-Unit'
  if (used.length > 0) return 'Used-Service-Unit'
  return ccRequestType === 4 && refund !== undefined ? 'Refund-Information' : undefined
}

type UnitGroup = 'Requested-Service-Unit' | 'Used-Service-Unit'

/** A Used-Service-Unit of so much, for Failed-AVP. */
export function usedAvp(dictionary: Dictionary, type: UnitType, amount: bigint): Buffer {
  return wrapIn(dictionary.avp('Used-Service-Unit'), unitAvp(dictionary, type, amount))
}

function unitAvp(dictionary: Dictionary, type: UnitType, amount: bigint): Buffer {
  // A sum of several may be more than its AVP can say.
  const atMost = (bits: bigint): bigint => (amount < 1n << bits ? amount : (1n << bits) - 1n)
  switch (type) {
    case 'octets':
      return encodeAvp(dictionary, 'CC-Total-Octets', atMost(64n))
    case 'seconds':
      return encodeAvp(dictionary, 'CC-Time', Number(atMost(32n)))
    case 'events':
      return encodeAvp(dictionary, 'CC-Service-Specific-Units', atMost(64n))
    case 'money': {
      const value = [
        ['Value-Digits', atMost(63n)],
        ['Exponent', -6],
      ] as const
      return encodeAvp(dictionary, 'CC-Money', [['Unit-Value', value]])
    }
  }
}

export const totalOf = ({ unsplit, before, after, indeterminate }: SplitAmount): bigint =>
  unsplit + before + after + indeterminate

/** Rating-Group or `-`, then `/` and the Service-Identifiers exactly as sent. */
export function lineKey(ratingGroup: number | undefined, serviceIdentifiers: readonly number[]): string {
  const group = ratingGroup === undefined ? '-' : String(ratingGroup)
  return serviceIdentifiers.length === 0 ? group : `${group}/${serviceIdentifiers.join(',')}`
}

type Used = { -readonly [type in UnitType]: { -readonly [side in keyof SplitAmount]: bigint } | undefined }

const sides = ['unsplit', 'before', 'after', 'indeterminate'] as const

/** Tariff-Change-Usage: 0 before, 1 after, 2 indeterminate; RFC 8506 section 8.27. */
const sideOf = (tariffChangeUsage: number | undefined): keyof SplitAmount =>
  tariffChangeUsage === undefined ? 'unsplit' : sides[tariffChangeUsage + 1]!

function add(sum: Used, amounts: UnitAmounts, side: keyof SplitAmount): void {
  for (const type of unitTypes) {
    const amount = amounts[type]
    if (amount !== undefined) addTo(sum, type, side, amount)
  }
}

function addTo(sum: Used, type: UnitType, side: keyof SplitAmount, amount: bigint): void {
  const into = (sum[type] ??= { unsplit: 0n, before: 0n, after: 0n, indeterminate: 0n })
  into[side] += amount
}

/** Undefined: it has fractions of a micro. */
function wholeMicros(digits: bigint, exponent: number): bigint | undefined {
  const shift = exponent + 6
  if (shift >= 0) return digits * 10n ** BigInt(shift)
  const divisor = 10n ** BigInt(-shift)
  return digits % divisor === 0n ? digits / divisor : undefined
}

/** Ours: a client of old has it inside the MSCC (Open5GS before its pull request 3069); the first one counts. */
function ratTypeOf(msccs: readonly Mscc[]): Buffer | undefined {
  for (const { ratType } of msccs) if (ratType !== undefined) return ratType
  return undefined
}

/** Subscription-Id-Type: 0 E.164, 1 IMSI, 2 SIP URI, 3 NAI, 4 private. A SIP URI with a number names its MSISDN, too. */
function identitiesIn({ type, data }: SubscriptionIdData): Identity[] {
  if (type === 0) return [{ type: 'msisdn', value: data.startsWith('+') ? data.slice(1) : data }]
  if (type === 1) return [{ type: 'imsi', value: data }]
  const number = type === 2 ? globalNumberOf(data) : undefined
  const uri: Identity = { type: 'nai', value: data }
  return number === undefined ? [uri] : [uri, { type: 'msisdn', value: number }]
}

/** Reports without a reason, and reasons that stand where the specification has others: TS 32.299 sections 6.5.1.3 and 7.2.175. */
function odditiesOf({ mscc: msccs, reportingReasons, terminationCause }: Ccr): readonly CcrOddity[] {
  let missing = false
  let misplaced = reportingReasons.length > 0
  for (const { reportingReasons, used, requested } of msccs) {
    let reasons = reportingReasons.length
    for (const reason of reportingReasons) misplaced ||= !reasonsOfMscc.has(reason)
    for (const { reportingReason } of used) {
      if (reportingReason === undefined) continue
      reasons++
      misplaced ||= !reasonsOfUnits.has(reportingReason)
    }
    misplaced ||= requested?.reportingReason !== undefined
    missing ||= used.length > 0 && reasons === 0
  }
  // RFC 8506 section 5.1.1: it could not make sense of an answer of ours, of a tariff change for one.
  const refused = terminationCause === diameterBadAnswer
  if (!missing && !misplaced && !refused) return noOddities
  return [
    ...(refused ? (['bad_answer'] as const) : []),
    ...(missing ? (['reason_missing'] as const) : []),
    ...(misplaced ? (['reason_misplaced'] as const) : []),
  ]
}

/** With AF-Charging-Identifier: what an application server calls the flow, handed on to the records (3GPP-048). */
function withCorrelation(facts: RequestFacts, msccs: readonly Mscc[]): RequestFacts {
  for (const { afCorrelation } of msccs) {
    const octets = afCorrelation?.chargingIdentifier
    if (octets === undefined) continue
    const text = octets.toString('latin1')
    return { ...facts, correlation: /^[\x20-\x7e]{1,64}$/.test(text) ? text : octets.toString('hex', 0, 64) }
  }
  return facts
}

const diameterBadAnswer = 3

const nothing = { octets: undefined, seconds: undefined, events: undefined, money: undefined }

const asksAny = (amounts: UnitAmounts): boolean => unitTypes.some(type => amounts[type] !== undefined)

function sumOf(used: UsedAmounts): UnitAmounts {
  const of = (amount: SplitAmount | undefined): bigint | undefined => amount && totalOf(amount)
  return { octets: of(used.octets), seconds: of(used.seconds), events: of(used.events), money: of(used.money) }
}
