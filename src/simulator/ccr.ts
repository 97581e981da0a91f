/**
 * Credit-Control-Requests as a gateway makes them, RFC 8506 section 3.1 and TS 32.299 section 6.4.2: as a list of named
 * AVPs, which tests and people can change, and by the Writer alone, for load. Both give the same octets.
 */
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
}

export interface UsedUnits extends UnitAmounts {
  /** THRESHOLD 0, QUOTA_EXHAUSTED 3, OTHER_QUOTA_TYPE 5 stand here, the others beside Rating-Group: TS 32.299 section 7.2.175. */
  readonly reason?: number
}

/** One Multiple-Services-Credit-Control, or the units at command level. */
export interface ServiceInput {
  readonly ratingGroup?: number
  readonly serviceIdentifiers?: readonly number[]
  readonly requested?: UnitAmounts
  readonly used?: readonly UsedUnits[]
  readonly reason?: number
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
  readonly terminationCause?: number
  readonly multipleServicesIndicator?: 0 | 1
  readonly services?: readonly ServiceInput[]
  /** Units at command level, for a gateway without Multiple-Services-Credit-Control. */
  readonly units?: ServiceInput
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
} as const

const requestTypes: Readonly<Record<RequestType, number>> = { initial: 1, update: 2, terminate: 3, event: 4 }
const idTypes: Readonly<Record<SubscriptionIdType, number>> = { e164: 0, imsi: 1, sip: 2, nai: 3, private: 4 }
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
  if (ccr.multipleServicesIndicator !== undefined)
    avps.push(['Multiple-Services-Indicator', ccr.multipleServicesIndicator])
  for (const service of ccr.services ?? []) avps.push(['Multiple-Services-Credit-Control', serviceAvps(service)])
  if (ccr.units) avps.push(...serviceAvps(ccr.units))
  return [...avps, ...(ccr.more ?? [])]
}

function serviceAvps({ requested, used, serviceIdentifiers, ratingGroup, reason }: ServiceInput): AvpItem[] {
  const avps: AvpItem[] = []
  if (requested) avps.push(['Requested-Service-Unit', unitAvps(requested)])
  for (const each of used ?? []) avps.push(['Used-Service-Unit', unitAvps(each)])
  for (const id of serviceIdentifiers ?? []) avps.push(['Service-Identifier', id])
  if (ratingGroup !== undefined) avps.push(['Rating-Group', ratingGroup])
  if (reason !== undefined) avps.push(['Reporting-Reason', reason])
  return avps
}

function unitAvps({ reason, octets, inputOctets, outputOctets, seconds, events }: UsedUnits): AvpItem[] {
  const avps: AvpItem[] = []
  if (reason !== undefined) avps.push(['Reporting-Reason', reason])
  if (seconds !== undefined) avps.push(['CC-Time', seconds])
  if (octets !== undefined) avps.push(['CC-Total-Octets', octets])
  if (inputOctets !== undefined) avps.push(['CC-Input-Octets', inputOctets])
  if (outputOctets !== undefined) avps.push(['CC-Output-Octets', outputOctets])
  if (events !== undefined) avps.push(['CC-Service-Specific-Units', events])
  return avps
}

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
  if (ccr.eventTimestamp !== undefined) writer.time(55, ccr.eventTimestamp)
  for (const [type, data] of ccr.subscriptionIds ?? []) {
    const group = writer.group(443)
    writer.u32(450, idTypes[type])
    writer.text(444, data)
    writer.end(group)
  }
  if (ccr.terminationCause !== undefined) writer.u32(295, ccr.terminationCause)
  if (ccr.multipleServicesIndicator !== undefined) writer.u32(455, ccr.multipleServicesIndicator)
  for (const service of ccr.services ?? []) {
    const group = writer.group(456)
    writeService(writer, service)
    writer.end(group)
  }
  if (ccr.units) writeService(writer, ccr.units)
  writer.endMessage()
}

function writeService(writer: Writer, service: ServiceInput): void {
  const { requested, used, serviceIdentifiers, ratingGroup, reason } = service
  if (requested) writeUnits(writer, 437, requested)
  for (const each of used ?? []) writeUnits(writer, 446, each)
  for (const id of serviceIdentifiers ?? []) writer.u32(439, id)
  if (ratingGroup !== undefined) writer.u32(432, ratingGroup)
  if (reason !== undefined) writer.u32(872, reason, vendor3gpp)
}

function writeUnits(writer: Writer, code: number, units: UsedUnits): void {
  const { reason, octets, inputOctets, outputOctets, seconds, events } = units
  const group = writer.group(code)
  if (reason !== undefined) writer.u32(872, reason, vendor3gpp)
  if (seconds !== undefined) writer.u32(420, seconds)
  if (octets !== undefined) writer.u64(421, octets)
  if (inputOctets !== undefined) writer.u64(412, inputOctets)
  if (outputOctets !== undefined) writer.u64(414, outputOctets)
  if (events !== undefined) writer.u64(417, events)
  writer.end(group)
}
