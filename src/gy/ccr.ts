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
  Identity,
  LineRequest,
  RequestType,
  SplitAmount,
  UnitAmounts,
  UsedAmounts,
} from '../charging/charging.js'
import { factsOf, serviceInformationShape, type ServiceInformation } from './facts.js'

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
}

export class Mscc {
  requested: ServiceUnits | undefined = undefined
  used: ServiceUnits[] = []
  serviceIdentifiers: number[] = []
  ratingGroup: number | undefined = undefined
  reportingReason: number | undefined = undefined
  ratType: Buffer | undefined = undefined
}

export class SubscriptionId {
  type = 0
  data = ''
}

/** Subscription-Id-Extension, RFC 8506 section 8.58: exactly one of its members. */
export class SubscriptionIdExtension {
  e164: string | undefined = undefined
  imsi: string | undefined = undefined
  sipUri: string | undefined = undefined
  nai: string | undefined = undefined
  private: string | undefined = undefined
}

export class Ccr {
  sessionId = ''
  originHost = ''
  authApplicationId = 0
  serviceContextId = ''
  ccRequestType = 0
  ccRequestNumber = 0
  eventTimestamp: number | undefined = undefined
  subscriptionIds: SubscriptionId[] = []
  subscriptionIdExtensions: SubscriptionIdExtension[] = []
  requestedAction: number | undefined = undefined
  requested: ServiceUnits | undefined = undefined
  used: ServiceUnits[] = []
  mscc: Mscc[] = []
  serviceIdentifier: number | undefined = undefined
  ccSubSessionId: Buffer | undefined = undefined
  serviceInformation: ServiceInformation | undefined = undefined
  ratType: Buffer | undefined = undefined
  proxyInfo: Buffer[] = []
}

export const requestTypes: Readonly<Record<number, RequestType>> = {
  1: 'initial',
  2: 'update',
  3: 'terminate',
  4: 'event',
}

const Reason = { THRESHOLD: 0, FINAL: 2 } as const

/** A CCR that passed the door: what the answer needs of the message, and what charging is asked. */
export interface ReadCcr {
  readonly sessionId: string
  readonly requestType: RequestType
  readonly requestNumber: number
  readonly serviceContextId: string
  readonly proxyInfo: readonly Buffer[]
  /** The units stand at command level: RFC 8506 without MSCC. */
  readonly commandLevel: boolean
  readonly credit: Omit<CreditRequest, 'arrival' | 'arrivedAt' | 'retransmitted' | 'profile'>
}

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
    })
    const requested = shape(dictionary, 'Requested-Service-Unit', ServiceUnits, {
      ccTime: 'CC-Time',
      ccTotalOctets: 'CC-Total-Octets',
      ccInputOctets: 'CC-Input-Octets',
      ccOutputOctets: 'CC-Output-Octets',
      ccServiceSpecificUnits: 'CC-Service-Specific-Units',
      ccMoney: ['CC-Money', money],
    })
    const mscc = shape(dictionary, 'Multiple-Services-Credit-Control', Mscc, {
      requested: ['Requested-Service-Unit', requested],
      used: ['Used-Service-Unit', units],
      serviceIdentifiers: 'Service-Identifier',
      ratingGroup: 'Rating-Group',
      reportingReason: 'Reporting-Reason',
      ratType: '3GPP-RAT-Type',
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
    this.shape = shape(dictionary, 'Credit-Control-Request', Ccr, {
      sessionId: 'Session-Id',
      originHost: 'Origin-Host',
      authApplicationId: 'Auth-Application-Id',
      serviceContextId: 'Service-Context-Id',
      ccRequestType: 'CC-Request-Type',
      ccRequestNumber: 'CC-Request-Number',
      eventTimestamp: 'Event-Timestamp',
      subscriptionIds: ['Subscription-Id', subscriptionId],
      subscriptionIdExtensions: ['Subscription-Id-Extension', extension],
      requestedAction: 'Requested-Action',
      requested: ['Requested-Service-Unit', requested],
      used: ['Used-Service-Unit', units],
      mscc: ['Multiple-Services-Credit-Control', mscc],
      serviceIdentifier: 'Service-Identifier',
      ccSubSessionId: ['CC-Sub-Session-Id', 'raw'],
      serviceInformation: ['Service-Information', serviceInformationShape(dictionary)],
      ratType: '3GPP-RAT-Type',
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
    const lines = this.linesOf(ccr)
    return {
      sessionId: ccr.sessionId,
      requestType: requestTypes[ccr.ccRequestType]!,
      requestNumber: ccr.ccRequestNumber,
      serviceContextId: ccr.serviceContextId,
      proxyInfo: ccr.proxyInfo,
      commandLevel: ccr.mscc.length === 0 && (ccr.requested !== undefined || ccr.used.length > 0),
      credit: {
        type: requestTypes[ccr.ccRequestType]!,
        number: ccr.ccRequestNumber,
        sessionId: ccr.sessionId,
        originHost: ccr.originHost,
        serviceContextId: ccr.serviceContextId,
        eventTime: ccr.eventTimestamp === undefined ? undefined : ccr.eventTimestamp * 1000,
        identities: this.identitiesOf(ccr),
        lines,
        facts: factsOf(ccr.serviceInformation, ccr.ratType ?? ratTypeOf(ccr.mscc)),
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
    if (ccr.ccSubSessionId !== undefined) {
      throw new DiameterError(
        ResultCode.INVALID_AVP_VALUE,
        'sub-sessions are not served: send no CC-Sub-Session-Id',
        ccr.ccSubSessionId,
      )
    }
    if (ccr.ccRequestType === 4 && ccr.requestedAction === undefined) throw missing(dictionary.avp('Requested-Action'))
    if (ccr.mscc.length > 0 && (ccr.requested !== undefined || ccr.used.length > 0)) {
      const units = ccr.requested !== undefined ? 'Requested-Service-Unit' : 'Used-Service-Unit'
      throw new DiameterError(
        ResultCode.CONTRADICTING_AVPS,
        `${units} at command level beside Multiple-Services-Credit-Control`,
        Buffer.concat([emptyAvp(dictionary.avp(units)), emptyAvp(dictionary.avp('Multiple-Services-Credit-Control'))]),
      )
    }
  }

  /** The lines of the request in its order; two MSCCs of one line are one, usages summed. */
  private linesOf(ccr: Ccr): LineRequest[] {
    if (ccr.mscc.length === 0) {
      if (ccr.requested === undefined && ccr.used.length === 0) return []
      const identifiers = ccr.serviceIdentifier === undefined ? [] : [ccr.serviceIdentifier]
      return [this.line(undefined, identifiers, ccr.requested, ccr.used, undefined)]
    }
    if (ccr.mscc.length === 1) {
      const { ratingGroup, serviceIdentifiers, requested, used, reportingReason } = ccr.mscc[0]!
      return [this.line(ratingGroup, serviceIdentifiers, requested, used, reportingReason)]
    }
    const lines = new Map<string, LineRequest>()
    for (const { ratingGroup, serviceIdentifiers, requested, used, reportingReason } of ccr.mscc) {
      const line = this.line(ratingGroup, serviceIdentifiers, requested, used, reportingReason)
      const same = lines.get(line.key)
      lines.set(line.key, same === undefined ? line : this.together(same, line))
    }
    return [...lines.values()]
  }

  private line(
    ratingGroup: number | undefined,
    serviceIdentifiers: readonly number[],
    requested: ServiceUnits | undefined,
    used: readonly ServiceUnits[],
    reason: number | undefined,
  ): LineRequest {
    let final = reason === Reason.FINAL
    let threshold = reason === Reason.THRESHOLD
    const sum: Used = { octets: undefined, seconds: undefined, events: undefined, money: undefined }
    let currency = requested?.ccMoney?.currencyCode
    for (const units of used) {
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

  /** CC-Total-Octets wins over input plus output. */
  private amountsOf(group: UnitGroup, units: ServiceUnits): UnitAmounts {
    const { ccTotalOctets, ccInputOctets, ccOutputOctets, ccTime, ccServiceSpecificUnits, ccMoney } = units
    const split = ccInputOctets !== undefined || ccOutputOctets !== undefined
    return {
      octets: ccTotalOctets ?? (split ? (ccInputOctets ?? 0n) + (ccOutputOctets ?? 0n) : undefined),
      seconds: ccTime === undefined ? undefined : BigInt(ccTime),
      events: ccServiceSpecificUnits,
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

  private identitiesOf(ccr: Ccr): Identity[] {
    const identities: Identity[] = []
    for (const { type, data } of ccr.subscriptionIds) push(identities, type, data)
    for (const extension of ccr.subscriptionIdExtensions) {
      const members = [extension.e164, extension.imsi, extension.sipUri, extension.nai, extension.private]
      const present = members.filter(member => member !== undefined).length
      const group = this.dictionary.avp('Subscription-Id-Extension')
      if (present === 0) {
        const { failedAvp } = missing(this.dictionary.avp('Subscription-Id-E164'))
        throw new DiameterError(ResultCode.MISSING_AVP, 'Subscription-Id-Extension is empty', wrapIn(group, failedAvp!))
      }
      if (present > 1) {
        throw new DiameterError(
          ResultCode.AVP_OCCURS_TOO_MANY_TIMES,
          'Subscription-Id-Extension holds more than one identity',
          emptyAvp(group),
        )
      }
      members.forEach((data, type) => data !== undefined && push(identities, type, data))
    }
    return identities
  }
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

/** Subscription-Id-Type: 0 E.164, 1 IMSI, 2 SIP URI, 3 NAI, 4 private. */
function push(identities: Identity[], type: number, data: string): void {
  if (type === 0) identities.push({ type: 'msisdn', value: data.startsWith('+') ? data.slice(1) : data })
  else if (type === 1) identities.push({ type: 'imsi', value: data })
  else identities.push({ type: 'nai', value: data })
}
