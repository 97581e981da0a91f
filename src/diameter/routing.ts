/**
 * Whether a request is ours to answer, RFC 6733 section 6.1.4, told from its octets: one pass over the top-level AVPs that
 * makes nothing, because every CCR takes it. What it cannot read it leaves to the decoder, which says what is wrong.
 */
import { DiameterError, ResultCode } from './errors.js'
import { avpOctets } from './writer.js'

/** Where the AVPs that routing and error answers need begin in a message; 0: not there. */
export interface RoutingAvps {
  authApplicationId: number
  sessionId: number
  originHost: number
  originRealm: number
  destinationHost: number
  destinationRealm: number
  routeRecord: number
  proxyInfo: number
  /** Its AVPs do not add up, so that an AVP may be there and not be seen. */
  broken: boolean
}

const creditControl = 272
const headerOctets = 20

export const noAvps = (): RoutingAvps => ({
  authApplicationId: 0,
  sessionId: 0,
  originHost: 0,
  originRealm: 0,
  destinationHost: 0,
  destinationRealm: 0,
  routeRecord: 0,
  proxyInfo: 0,
  broken: false,
})

/** Fills `into` with the first occurrences in a whole message. About 10 ns an AVP; reads four octets by hand for that. */
export function scanAvps(octets: Buffer, into: RoutingAvps): RoutingAvps {
  into.sessionId = into.originHost = into.originRealm = into.destinationHost = into.destinationRealm = 0
  into.routeRecord = into.proxyInfo = into.authApplicationId = 0
  into.broken = false
  const end = octets.length
  let at = headerOctets
  while (at + 8 <= end) {
    const code = u32(octets, at)
    const lengthAndFlags = u32(octets, at + 4)
    const length = lengthAndFlags & 0xffffff
    if (length < 8 || at + length > end) break
    // The V bit: a vendor's AVP is none of these, unless the vendor is 0, which is read as IETF.
    if (code <= 296 && code >= 258 && (lengthAndFlags >= 0 || isIetf(octets, at, length))) note(into, code, at)
    at += (length + 3) & ~3
  }
  into.broken = at !== end
  return into
}

/**
 * Lets a request pass that is ours to answer.
 *
 * @param own identity and realm in lower case
 * @throws DiameterError LOOP_DETECTED, UNABLE_TO_DELIVER, REALM_NOT_SERVED; MISSING_AVP for a CCR that names a host in no realm
 */
export function checkDestination(octets: Buffer, commandCode: number, avps: RoutingAvps, own: OwnIdentity): void {
  if (avps.routeRecord !== 0 && namesUs(octets, avps.routeRecord, own.host))
    throw new DiameterError(ResultCode.LOOP_DETECTED, 'this request has been here before: Route-Record names this node')
  const { destinationHost, destinationRealm } = avps
  if (destinationHost !== 0 && destinationRealm === 0 && !avps.broken) {
    const message = 'Destination-Host without Destination-Realm'
    if (commandCode === creditControl)
      throw new DiameterError(ResultCode.MISSING_AVP, message, avpOctets(283, Buffer.alloc(0)))
    throw new DiameterError(ResultCode.UNABLE_TO_DELIVER, message)
  }
  if (destinationHost !== 0 && sameIdentity(octets, destinationHost, own.host)) return
  if (destinationRealm !== 0 && !sameIdentity(octets, destinationRealm, own.realm))
    throw new DiameterError(ResultCode.REALM_NOT_SERVED, 'Destination-Realm is not the realm of this node')
  if (destinationHost !== 0)
    throw new DiameterError(ResultCode.UNABLE_TO_DELIVER, 'Destination-Host is not this node, and it forwards nothing')
}

/**
 * Lets a request pass whose Auth-Application-Id is its header's, RFC 6733 section 6.8. One that cannot be read is the
 * decoder's.
 *
 * @throws DiameterError INVALID_AVP_VALUE; the RFC names no code
 */
export function checkApplicationId(octets: Buffer, applicationId: number, { authApplicationId }: RoutingAvps): void {
  if (authApplicationId === 0) return
  const data = dataAt(octets, authApplicationId)
  if (data.length !== 4 || u32(data, 0) >>> 0 === applicationId) return
  const message = `Auth-Application-Id is not ${applicationId}, the application of the header`
  throw new DiameterError(ResultCode.INVALID_AVP_VALUE, message, Buffer.from(avpAt(octets, authApplicationId)))
}

export interface OwnIdentity {
  readonly host: Buffer
  readonly realm: Buffer
}

/** A DiameterIdentity as it is compared: octets, lower case. */
export const lowerCase = (identity: string): Buffer => Buffer.from(identity.toLowerCase(), 'latin1')

/** Whether the AVP at `at` holds this identity; identities are ASCII and do not depend on case, RFC 6733 section 4.3.1. */
export function sameIdentity(octets: Buffer, at: number, lower: Buffer): boolean {
  const from = dataStart(octets, at)
  const length = at + avpLength(octets, at) - from
  if (length !== lower.length) return false
  for (let i = 0; i < length; i++) {
    let octet = octets[from + i]!
    if (octet >= 65 && octet <= 90) octet += 32
    if (octet !== lower[i]) return false
  }
  return true
}

/** The complete AVP at `at`, padded: what Failed-AVP and echoes hold. A view. */
export const avpAt = (octets: Buffer, at: number): Buffer =>
  octets.subarray(at, Math.min(octets.length, at + ((avpLength(octets, at) + 3) & ~3)))

/** The data of the AVP at `at`. A view. */
export const dataAt = (octets: Buffer, at: number): Buffer =>
  octets.subarray(dataStart(octets, at), at + avpLength(octets, at))

/** Where each top-level IETF AVP of this code begins, in order. For rare messages. */
export function* occurrences(octets: Buffer, code: number, from = headerOctets): Generator<number> {
  let at = from
  while (at + 8 <= octets.length) {
    const length = avpLength(octets, at)
    if (length < 8 || at + length > octets.length) return
    if (u32(octets, at) === code && (octets[at + 4]! < 128 || isIetf(octets, at, length))) yield at
    at += (length + 3) & ~3
  }
}

/** The value of the first top-level IETF AVP of this code, if it can be read. */
export function firstUnsigned32(octets: Buffer, code: number): number | undefined {
  for (const at of occurrences(octets, code)) {
    const data = dataAt(octets, at)
    return data.length === 4 ? data.readUInt32BE(0) : undefined
  }
  return undefined
}

function note(into: RoutingAvps, code: number, at: number): void {
  switch (code) {
    case 258:
      if (into.authApplicationId === 0) into.authApplicationId = at
      return
    case 263:
      if (into.sessionId === 0) into.sessionId = at
      return
    case 264:
      if (into.originHost === 0) into.originHost = at
      return
    case 296:
      if (into.originRealm === 0) into.originRealm = at
      return
    case 293:
      if (into.destinationHost === 0) into.destinationHost = at
      return
    case 283:
      if (into.destinationRealm === 0) into.destinationRealm = at
      return
    case 282:
      if (into.routeRecord === 0) into.routeRecord = at
      return
    case 284:
      if (into.proxyInfo === 0) into.proxyInfo = at
      return
  }
}

function namesUs(octets: Buffer, firstRouteRecord: number, host: Buffer): boolean {
  for (const at of occurrences(octets, 282, firstRouteRecord)) if (sameIdentity(octets, at, host)) return true
  return false
}

const u32 = (octets: Buffer, at: number): number =>
  (octets[at]! << 24) | (octets[at + 1]! << 16) | (octets[at + 2]! << 8) | octets[at + 3]!

const avpLength = (octets: Buffer, at: number): number => u32(octets, at + 4) & 0xffffff

const isIetf = (octets: Buffer, at: number, length: number): boolean => length >= 12 && u32(octets, at + 8) === 0

const dataStart = (octets: Buffer, at: number): number => at + (octets[at + 4]! < 128 ? 8 : 12)
