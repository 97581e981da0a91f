/**
 * Credit-Control-Requests as a gateway makes them, RFC 8506 section 3.1 and TS 32.299 section 6.4.2: as a list of named
 * AVPs, which tests and people can change, and by the Writer alone, for load. Both give the same octets.
 */
import { addressOctets } from '../diameter/data-formats.js'
import type { Dictionary } from '../diameter/dictionary.js'
import { FLAG } from '../diameter/header.js'
import { encodeTree, type AvpItem } from '../diameter/tree.js'
import type { Writer } from '../diameter/writer.js'

export type RequestType = 'initial' | 'update' | 'terminate' | 'event'
export type SubscriptionIdType = 'e164' | 'imsi' | 'sip' | 'nai' | 'private'

/** Units by the AVP that they travel in. An empty object asks for as much as the server thinks right. */
export interface UnitAmounts {
  readonly octets?: bigint
  readonly inputOctets?: bigint
  readonly outputOctets?: bigint
  readonly seconds?: number
  readonly events?: bigint
  /** Micros, and the numeric code of ISO 4217. */
  readonly money?: bigint
  readonly currency?: number
}

/** Requested-Action of an event. */
export type RequestedAction = 'debit' | 'refund' | 'check-balance' | 'price'

export interface UsedUnits extends UnitAmounts {
  /** On which side of the tariff switch that the server named: Tariff-Change-Usage. */
  readonly side?: Side
  /** THRESHOLD 0, QUOTA_EXHAUSTED 3, OTHER_QUOTA_TYPE 5 stand here, the others beside Rating-Group: TS 32.299 section 7.2.175. */
  readonly reason?: number
  /** When each of the events happened, Unix seconds: Event-Charging-TimeStamp. */
  readonly eventTimes?: readonly number[]
}

/** A stretch of usage, TS 32.299 section 7.2.59. Times are Unix seconds. */
export interface EnvelopeInput extends UnitAmounts {
  readonly start: number
  /** Absent: it is still open. */
  readonly end?: number
}

export type Side = 'before' | 'after' | 'indeterminate'

/** Where, how and whom: Service-Information of TS 32.299 section 7.2.192. */
export interface Information {
  /** MCC and MNC of the serving network. */
  readonly plmn?: string
  readonly apn?: string
  /** 3GPP-RAT-Type: 6 is E-UTRAN. */
  readonly rat?: number
  /** The called party, or a message's recipient: digits of an international number, or any address as it is to be sent. */
  readonly called?: string
  /** Of a call; default originating. */
  readonly direction?: 'originating' | 'terminating'
  /** Of a message with several recipients: those after `called`. */
  readonly recipients?: readonly string[]
  /** Who calls, or sends the message; written like `called`. */
  readonly from?: string
  /** Octets of an MMS. */
  readonly size?: number
  /** SM-Message-Type or Message-Type: 0 is a submitted SMS, 1 a sent MMS. */
  readonly messageType?: number
  /** `INVITE`, of a call. */
  readonly sipMethod?: string
  /** Address of the serving gateway or SGSN. */
  readonly servingNode?: string
  /** 3GPP-User-Location-Info, its octets. */
  readonly location?: Buffer
  /** 3GPP-MS-TimeZone, its two octets. */
  readonly timeZone?: Buffer
  /** Of any other service: Service-Generic-Information. */
  readonly generic?: {
    readonly server?: string
    /** Application-Service-Type: 100 is sending. */
    readonly type?: number
    readonly session?: number
  }
  /** More AVPs at the end of Service-Information. */
  readonly more?: readonly AvpItem[]
}

/** One Multiple-Services-Credit-Control, or the units at command level. */
export interface ServiceInput {
  readonly ratingGroup?: number
  readonly serviceIdentifiers?: readonly number[]
  readonly requested?: UnitAmounts
  readonly used?: readonly UsedUnits[]
  readonly reason?: number
  /** What has changed, with reason RATING_CONDITION_CHANGE: Trigger-Types. */
  readonly triggers?: readonly number[]
  readonly envelopes?: readonly EnvelopeInput[]
  /** Refund-Information as the answer to the debit had it. */
  readonly refund?: Buffer
}

export interface CcrInput {
  readonly type: RequestType
  readonly number: number
  readonly sessionId: string
  readonly serviceContextId: string
  readonly subscriptionIds?: readonly (readonly [SubscriptionIdType, string])[]
  readonly destinationHost?: string
  /** Unix seconds. */
  readonly eventTimestamp?: number
  /** Another value than before tells that the gateway has forgotten its sessions. */
  readonly originStateId?: number
  /** Of an event. */
  readonly action?: RequestedAction
  readonly terminationCause?: number
  readonly multipleServicesIndicator?: 0 | 1
  readonly services?: readonly ServiceInput[]
  /** Units at command level, for a gateway without Multiple-Services-Credit-Control. */
  readonly units?: ServiceInput
  readonly information?: Information
  /** More AVPs at the end. */
  readonly more?: readonly AvpItem[]
}

/** Who sends it. */
export interface CcrNode {
  readonly originHost: string
  readonly originRealm: string
  readonly destinationRealm: string
}

export interface CcrIdentifiers {
  readonly hopByHop: number
  readonly endToEnd: number
  readonly retransmitted?: boolean
}

export const Reason = {
  THRESHOLD: 0,
  QHT: 1,
  FINAL: 2,
  QUOTA_EXHAUSTED: 3,
  VALIDITY_TIME: 4,
  OTHER_QUOTA_TYPE: 5,
  RATING_CONDITION_CHANGE: 6,
  FORCED_REAUTHORISATION: 7,
  POOL_EXHAUSTED: 8,
} as const

const requestTypes: Readonly<Record<RequestType, number>> = { initial: 1, update: 2, terminate: 3, event: 4 }
const idTypes: Readonly<Record<SubscriptionIdType, number>> = { e164: 0, imsi: 1, sip: 2, nai: 3, private: 4 }
const actions: Readonly<Record<RequestedAction, number>> = { debit: 0, refund: 1, 'check-balance': 2, price: 3 }
const vendor3gpp = 10415

/** The AVPs by name, in the order that gateways send them. */
export function ccrAvps(node: CcrNode, ccr: CcrInput): AvpItem[] {
  const avps: AvpItem[] = [
    ['Session-Id', ccr.sessionId],
    ['Origin-Host', node.originHost],
    ['Origin-Realm', node.originRealm],
    ['Destination-Realm', node.destinationRealm],
    ['Auth-Application-Id', 4],
    ['Service-Context-Id', ccr.serviceContextId],
    ['CC-Request-Type', requestTypes[ccr.type]],
    ['CC-Request-Number', ccr.number],
  ]
  if (ccr.destinationHost !== undefined) avps.push(['Destination-Host', ccr.destinationHost])
  if (ccr.originStateId !== undefined) avps.push(['Origin-State-Id', ccr.originStateId])
  if (ccr.eventTimestamp !== undefined) avps.push(['Event-Timestamp', ccr.eventTimestamp])
  for (const [type, data] of ccr.subscriptionIds ?? []) {
    avps.push([
      'Subscription-Id',
      [
        ['Subscription-Id-Type', idTypes[type]],
        ['Subscription-Id-Data', data],
      ],
    ])
  }
  if (ccr.terminationCause !== undefined) avps.push(['Termination-Cause', ccr.terminationCause])
  if (ccr.action !== undefined) avps.push(['Requested-Action', actions[ccr.action]])
  if (ccr.multipleServicesIndicator !== undefined)
    avps.push(['Multiple-Services-Indicator', ccr.multipleServicesIndicator])
  for (const service of ccr.services ?? []) avps.push(['Multiple-Services-Credit-Control', serviceAvps(service)])
  if (ccr.units) avps.push(...serviceAvps(ccr.units))
  const information = informationAvps(ccr)
  if (information.length > 0) avps.push(['Service-Information', information])
  return [...avps, ...(ccr.more ?? [])]
}

function serviceAvps(service: ServiceInput): AvpItem[] {
  const { requested, used, serviceIdentifiers, ratingGroup, reason, triggers, envelopes, refund } = service
  const avps: AvpItem[] = []
  if (requested) avps.push(['Requested-Service-Unit', unitAvps(requested)])
  for (const each of used ?? []) avps.push(['Used-Service-Unit', unitAvps(each)])
  for (const id of serviceIdentifiers ?? []) avps.push(['Service-Identifier', id])
  if (ratingGroup !== undefined) avps.push(['Rating-Group', ratingGroup])
  if (reason !== undefined) avps.push(['Reporting-Reason', reason])
  if (triggers) avps.push(['Trigger', triggers.map(type => ['Trigger-Type', type] as const)])
  if (refund) avps.push(['Refund-Information', refund])
  for (const { start, end, ...units } of envelopes ?? []) {
    const times: AvpItem[] = [['Envelope-Start-Time', start]]
    if (end !== undefined) times.push(['Envelope-End-Time', end])
    avps.push(['Envelope', [...times, ...unitAvps(units)]])
  }
  return avps
}

function unitAvps(units: UsedUnits): AvpItem[] {
  const { side, reason, eventTimes = [], octets, inputOctets, outputOctets, seconds, events, money } = units
  const avps: AvpItem[] = []
  if (side !== undefined) avps.push(['Tariff-Change-Usage', sides[side]])
  if (reason !== undefined) avps.push(['Reporting-Reason', reason])
  if (seconds !== undefined) avps.push(['CC-Time', seconds])
  if (money !== undefined) avps.push(['CC-Money', moneyAvps(money, units.currency)])
  if (octets !== undefined) avps.push(['CC-Total-Octets', octets])
  if (inputOctets !== undefined) avps.push(['CC-Input-Octets', inputOctets])
  if (outputOctets !== undefined) avps.push(['CC-Output-Octets', outputOctets])
  if (events !== undefined) avps.push(['CC-Service-Specific-Units', events])
  for (const time of eventTimes) avps.push(['Event-Charging-TimeStamp', time])
  return avps
}

function moneyAvps(micros: bigint, currency: number | undefined): AvpItem[] {
  const value: AvpItem[] = [
    ['Value-Digits', micros],
    ['Exponent', -6],
  ]
  return [['Unit-Value', value], ...(currency === undefined ? [] : [['Currency-Code', currency] as const])]
}

function informationAvps({ information, serviceContextId }: CcrInput): AvpItem[] {
  if (!information) return []
  const avps: AvpItem[] = []
  const ps = psAvps(information)
  if (ps.length > 0) avps.push(['PS-Information', ps])
  const kind = kindOf(serviceContextId)
  if (kind === 'call' && isCall(information)) avps.push(['IMS-Information', imsAvps(information)])
  if (kind !== 'call' && isMessage(information)) avps.push(messageAvp(kind, information))
  if (information.generic) avps.push(['Service-Generic-Information', genericAvps(information.generic)])
  return [...avps, ...(information.more ?? [])]
}

function psAvps({ plmn, apn, rat, servingNode, location, timeZone }: Information): AvpItem[] {
  const ps: AvpItem[] = []
  if (servingNode !== undefined) ps.push(['SGSN-Address', servingNode])
  if (apn !== undefined) ps.push(['Called-Station-Id', apn])
  if (plmn !== undefined) ps.push(['3GPP-SGSN-MCC-MNC', plmn])
  if (timeZone !== undefined) ps.push(['3GPP-MS-TimeZone', timeZone])
  if (location !== undefined) ps.push(['3GPP-User-Location-Info', location])
  if (rat !== undefined) ps.push(['3GPP-RAT-Type', Buffer.of(rat)])
  return ps
}

function imsAvps({ sipMethod, direction, from, called }: Information): AvpItem[] {
  const ims: AvpItem[] = []
  if (sipMethod !== undefined) ims.push(['Event-Type', [['SIP-Method', sipMethod]]])
  ims.push(['Role-Of-Node', roles[direction ?? 'originating']], ['Node-Functionality', nodeFunctionality])
  if (from !== undefined) ims.push(['Calling-Party-Address', uriOf(from)])
  if (called !== undefined) ims.push(['Called-Party-Address', uriOf(called)])
  return ims
}

function messageAvp(kind: 'sms' | 'mms', information: Information): AvpItem {
  const { from, messageType, size } = information
  const recipients = recipientsOf(information).map(each => ['Recipient-Address', addressAvps(each)] as const)
  if (kind === 'mms') {
    const mms: AvpItem[] = []
    if (from !== undefined) mms.push(['Originator-Address', addressAvps(from)])
    mms.push(...recipients)
    if (messageType !== undefined) mms.push(['Message-Type', messageType])
    if (size !== undefined) mms.push(['Message-Size', size])
    return ['MMS-Information', mms]
  }
  const sms: AvpItem[] = []
  if (messageType !== undefined) sms.push(['SM-Message-Type', messageType])
  for (const recipient of recipients) sms.push(['Recipient-Info', [recipient]])
  if (from !== undefined) sms.push(['Originator-Received-Address', addressAvps(from)])
  return ['SMS-Information', sms]
}

const addressAvps = (address: string): AvpItem[] => [
  ['Address-Type', addressTypeOf(address)],
  ['Address-Data', address],
]

function genericAvps({ server, type, session }: NonNullable<Information['generic']>): AvpItem[] {
  const avps: AvpItem[] = []
  if (server !== undefined) avps.push(['Application-Server-Id', server])
  if (type !== undefined) avps.push(['Application-Service-Type', type])
  if (session !== undefined) avps.push(['Application-Session-Id', session])
  return avps
}

const recipientsOf = ({ called, recipients = [] }: Information): string[] => [
  ...(called === undefined ? [] : [called]),
  ...recipients,
]

const isCall = ({ called, direction, sipMethod, from }: Information): boolean =>
  [called, direction, sipMethod, from].some(each => each !== undefined)

const isMessage = (information: Information): boolean =>
  recipientsOf(information).length > 0 ||
  [information.from, information.size, information.messageType].some(each => each !== undefined)

/** TS 32.299 section 7.1.12: the number of the service's specification tells which group has the called party. */
const kindOf = (serviceContextId: string): 'call' | 'sms' | 'mms' =>
  serviceContextId.includes('32274@') ? 'sms' : serviceContextId.includes('32270@') ? 'mms' : 'call'

const uriOf = (called: string): string => (/^\d+$/.test(called) ? `tel:+${called}` : called)

const sides = { before: 0, after: 1, indeterminate: 2 } as const
const roles = { originating: 0, terminating: 1 } as const
/** Node-Functionality AS. */
const nodeFunctionality = 6
/** Address-Type: a mail address, or a number. */
const addressTypeOf = (address: string): number => (address.includes('@') ? 0 : 1)

const flagsOf = ({ retransmitted }: CcrIdentifiers): number =>
  FLAG.REQUEST | FLAG.PROXIABLE | (retransmitted ? FLAG.RETRANSMITTED : 0)

/** A CCR of any AVPs, right or wrong. */
export const encodeCcr = (dictionary: Dictionary, avps: readonly AvpItem[], identifiers: CcrIdentifiers): Buffer =>
  encodeTree(dictionary, {
    command: 'CCR',
    flags: flagsOf(identifiers),
    applicationId: 4,
    hopByHop: identifiers.hopByHop,
    endToEnd: identifiers.endToEnd,
    avps,
  })

/** The same by numbers, four times as fast: for load. `more` is left out. */
export function writeCcr(writer: Writer, node: CcrNode, ccr: CcrInput, identifiers: CcrIdentifiers): void {
  writer.message(flagsOf(identifiers), 272, 4, identifiers.hopByHop, identifiers.endToEnd)
  writer.text(263, ccr.sessionId)
  writer.text(264, node.originHost)
  writer.text(296, node.originRealm)
  writer.text(283, node.destinationRealm)
  writer.u32(258, 4)
  writer.text(461, ccr.serviceContextId)
  writer.u32(416, requestTypes[ccr.type])
  writer.u32(415, ccr.number)
  if (ccr.destinationHost !== undefined) writer.text(293, ccr.destinationHost)
  if (ccr.originStateId !== undefined) writer.u32(278, ccr.originStateId)
  if (ccr.eventTimestamp !== undefined) writer.time(55, ccr.eventTimestamp)
  for (const [type, data] of ccr.subscriptionIds ?? []) {
    const group = writer.group(443)
    writer.u32(450, idTypes[type])
    writer.text(444, data)
    writer.end(group)
  }
  if (ccr.terminationCause !== undefined) writer.u32(295, ccr.terminationCause)
  if (ccr.action !== undefined) writer.u32(436, actions[ccr.action])
  if (ccr.multipleServicesIndicator !== undefined) writer.u32(455, ccr.multipleServicesIndicator)
  for (const service of ccr.services ?? []) {
    const group = writer.group(456)
    writeService(writer, service)
    writer.end(group)
  }
  if (ccr.units) writeService(writer, ccr.units)
  if (ccr.information) writeInformation(writer, ccr, ccr.information)
  writer.endMessage()
}

function writeService(writer: Writer, service: ServiceInput): void {
  const { requested, used, serviceIdentifiers, ratingGroup, reason, triggers, envelopes, refund } = service
  if (requested) writeGroup(writer, 437, 0, () => writeUnits(writer, requested))
  for (const each of used ?? []) writeGroup(writer, 446, 0, () => writeUnits(writer, each))
  for (const id of serviceIdentifiers ?? []) writer.u32(439, id)
  if (ratingGroup !== undefined) writer.u32(432, ratingGroup)
  if (reason !== undefined) writer.u32(872, reason, vendor3gpp)
  if (triggers) {
    writeGroup(writer, 1264, vendor3gpp, () => {
      for (const type of triggers) writer.u32(870, type, vendor3gpp)
    })
  }
  if (refund) writer.octets(2022, refund, vendor3gpp)
  for (const { start, end, ...units } of envelopes ?? []) {
    writeGroup(writer, 1266, vendor3gpp, () => {
      writer.time(1269, start, vendor3gpp)
      if (end !== undefined) writer.time(1267, end, vendor3gpp)
      writeUnits(writer, units)
    })
  }
}

function writeGroup(writer: Writer, code: number, vendorId: number, content: () => void): void {
  const group = writer.group(code, vendorId)
  content()
  writer.end(group)
}

function writeUnits(writer: Writer, units: UsedUnits): void {
  const { side, reason, eventTimes = [], octets, inputOctets, outputOctets, seconds, events, money, currency } = units
  if (side !== undefined) writer.u32(452, sides[side])
  if (reason !== undefined) writer.u32(872, reason, vendor3gpp)
  if (seconds !== undefined) writer.u32(420, seconds)
  if (money !== undefined) {
    const ccMoney = writer.group(413)
    const unitValue = writer.group(445)
    writer.i64(447, money)
    writer.i32(429, -6)
    writer.end(unitValue)
    if (currency !== undefined) writer.u32(425, currency)
    writer.end(ccMoney)
  }
  if (octets !== undefined) writer.u64(421, octets)
  if (inputOctets !== undefined) writer.u64(412, inputOctets)
  if (outputOctets !== undefined) writer.u64(414, outputOctets)
  if (events !== undefined) writer.u64(417, events)
  for (const time of eventTimes) writer.time(1258, time, vendor3gpp)
}

function writeInformation(writer: Writer, { serviceContextId }: CcrInput, information: Information): void {
  const { plmn, apn, rat, servingNode, location, timeZone, generic } = information
  const kind = kindOf(serviceContextId)
  const isPs = [plmn, apn, rat, servingNode, location, timeZone].some(each => each !== undefined)
  const isOther = kind === 'call' ? isCall(information) : isMessage(information)
  if (!isPs && !isOther && !generic) return
  const group = writer.group(873, vendor3gpp)
  if (isPs) {
    writeGroup(writer, 874, vendor3gpp, () => {
      if (servingNode !== undefined) writer.octets(1228, addressOctets(servingNode)!, vendor3gpp)
      if (apn !== undefined) writer.text(30, apn)
      if (plmn !== undefined) writer.text(18, plmn, vendor3gpp)
      if (timeZone !== undefined) writer.octets(23, timeZone, vendor3gpp)
      if (location !== undefined) writer.octets(22, location, vendor3gpp)
      if (rat !== undefined) writer.octets(21, Buffer.of(rat), vendor3gpp)
    })
  }
  if (isOther) {
    if (kind === 'call') writeIms(writer, information)
    else if (kind === 'mms') writeMms(writer, information)
    else writeSms(writer, information)
  }
  if (generic) {
    writeGroup(writer, 1256, vendor3gpp, () => {
      if (generic.server !== undefined) writer.text(2101, generic.server, vendor3gpp)
      if (generic.type !== undefined) writer.u32(2102, generic.type, vendor3gpp)
      if (generic.session !== undefined) writer.u32(2103, generic.session, vendor3gpp)
    })
  }
  writer.end(group)
}

function writeIms(writer: Writer, { sipMethod, direction, from, called }: Information): void {
  writeGroup(writer, 876, vendor3gpp, () => {
    if (sipMethod !== undefined) {
      writeGroup(writer, 823, vendor3gpp, () => writer.text(824, sipMethod, vendor3gpp))
    }
    writer.u32(829, roles[direction ?? 'originating'], vendor3gpp)
    writer.u32(862, nodeFunctionality, vendor3gpp)
    if (from !== undefined) writer.text(831, uriOf(from), vendor3gpp)
    if (called !== undefined) writer.text(832, uriOf(called), vendor3gpp)
  })
}

function writeMms(writer: Writer, information: Information): void {
  const { from, messageType, size } = information
  writeGroup(writer, 877, vendor3gpp, () => {
    if (from !== undefined) writeAddress(writer, 886, from)
    for (const each of recipientsOf(information)) writeAddress(writer, 1201, each)
    if (messageType !== undefined) writer.u32(1211, messageType, vendor3gpp)
    if (size !== undefined) writer.u32(1212, size, vendor3gpp)
  })
}

function writeSms(writer: Writer, information: Information): void {
  const { from, messageType } = information
  writeGroup(writer, 2000, vendor3gpp, () => {
    if (messageType !== undefined) writer.u32(2007, messageType, vendor3gpp)
    for (const each of recipientsOf(information)) {
      writeGroup(writer, 2026, vendor3gpp, () => writeAddress(writer, 1201, each))
    }
    if (from !== undefined) writeAddress(writer, 2027, from)
  })
}

function writeAddress(writer: Writer, code: number, address: string): void {
  writeGroup(writer, code, vendor3gpp, () => {
    writer.u32(899, addressTypeOf(address), vendor3gpp)
    writer.text(897, address, vendor3gpp)
  })
}
