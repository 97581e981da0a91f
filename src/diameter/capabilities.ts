/**
 * Capabilities exchange, RFC 6733 section 5.3: what a CER must hold, what it has in common with us, and the CEA.
 */
import type { Dictionary } from './dictionary.js'
import { DiameterError, ResultCode } from './errors.js'
import type { Header } from './header.js'
import { FLAG } from './header.js'
import type { Shape } from './message.js'
import { readMessage, shape } from './message.js'
import { writeApplications, writeNode } from './own-capabilities.js'
import type { Writer } from './writer.js'
import { avpOctets } from './writer.js'

/** What a peer says of itself. */
export interface Capabilities {
  readonly originHost: string
  readonly originRealm: string
  readonly productName: string
  /** Undefined: it allows no inference, as 0 does. */
  readonly originStateId: number | undefined
  /** What it has in common with us. */
  readonly applications: readonly number[]
  /** It advertises the relay application: all applications are common. */
  readonly relay: boolean
}

/** What a CEA says of us. */
export interface OwnCapabilities {
  /** Origin-Host and Origin-Realm, encoded. */
  readonly identityAvps: Buffer
  readonly originStateId: number
  readonly applications: readonly number[]
}

/** RFC 6733 section 2.4. */
export const relayApplication = 0xffffffff

/** Major, minor and patch version as MMmmpp. */
const firmwareRevision = 100
const noInbandSecurity = 0

class VendorApplication {
  authApplicationId: number | undefined = undefined
  acctApplicationId: number | undefined = undefined
}

export class Cer {
  originHost = ''
  originRealm = ''
  productName = ''
  originStateId: number | undefined = undefined
  authApplicationId: number[] = []
  acctApplicationId: number[] = []
  inbandSecurityId: number[] = []
  vendorSpecificApplicationId: VendorApplication[] = []
}

export type CerShape = Shape<Cer>

export const cerShape = (dictionary: Dictionary): CerShape =>
  capabilitiesShape(dictionary, 'Capabilities-Exchange-Request')

/** CER and CEA say the same of their sender. */
export const capabilitiesShape = (dictionary: Dictionary, command: string): CerShape =>
  shape(dictionary, command, Cer, {
    originHost: 'Origin-Host',
    originRealm: 'Origin-Realm',
    productName: 'Product-Name',
    originStateId: 'Origin-State-Id',
    authApplicationId: 'Auth-Application-Id',
    acctApplicationId: 'Acct-Application-Id',
    inbandSecurityId: 'Inband-Security-Id',
    vendorSpecificApplicationId: [
      'Vendor-Specific-Application-Id',
      shape(dictionary, 'Vendor-Specific-Application-Id', VendorApplication, {
        authApplicationId: 'Auth-Application-Id',
        acctApplicationId: 'Acct-Application-Id',
      }),
    ],
  })

/** @throws DiameterError MISSING_AVP and whatever else a message can have wrong */
export const readCer = (cer: CerShape, octets: Buffer, limits: { depth: number; avps: number }): Cer =>
  readMessage(cer, octets, limits)

/**
 * Finds what a peer has in common with us.
 *
 * @param served application ids
 * @throws DiameterError NO_COMMON_APPLICATION, NO_COMMON_SECURITY; MISSING_AVP or AVP_OCCURS_TOO_MANY_TIMES for a
 *   Vendor-Specific-Application-Id that has not exactly one id
 */
export function negotiate(cer: Cer, served: ReadonlySet<number>): Capabilities {
  const { originHost, originRealm, productName, originStateId, inbandSecurityId } = cer
  const advertised = advertisedApplications(cer)
  const relay = advertised.includes(relayApplication)
  const applications = [...served].filter(id => relay || advertised.includes(id))
  if (applications.length === 0) {
    const message = `no common application: ${[...served].join(', ')} is served here`
    throw new DiameterError(ResultCode.NO_COMMON_APPLICATION, message)
  }
  if (inbandSecurityId.length > 0 && !inbandSecurityId.includes(noInbandSecurity)) {
    const message = 'no common security: only Inband-Security-Id 0, NO_INBAND_SECURITY, is served on this port'
    throw new DiameterError(ResultCode.NO_COMMON_SECURITY, message)
  }
  return { originHost, originRealm, productName, originStateId, applications, relay }
}

/**
 * Writes a CEA.
 *
 * @param refusal why not; undefined: welcome
 * @param localAddress of the connection's own end
 */
export function writeCea(
  writer: Writer,
  cer: Header,
  own: OwnCapabilities,
  localAddress: string,
  refusal: DiameterError | undefined,
): void {
  const resultCode = refusal?.resultCode ?? ResultCode.SUCCESS
  const protocolError = resultCode >= 3000 && resultCode < 4000
  writer.message(protocolError ? FLAG.ERROR : 0, cer.commandCode, cer.applicationId, cer.hopByHop, cer.endToEnd)
  if (protocolError) {
    // answer-message has its own grammar, RFC 6733 section 7.2.
    writer.ready(own.identityAvps)
    writer.u32(268, resultCode)
  } else {
    writer.u32(268, resultCode)
    writer.ready(own.identityAvps)
    writeNode(writer, localAddress)
  }
  writer.u32(278, own.originStateId)
  if (refusal) {
    writer.text(281, refusal.message, 0, 0)
    if (refusal.failedAvp) writer.octets(279, refusal.failedAvp)
  }
  if (!protocolError) {
    writeApplications(writer, own.applications)
    writer.u32(267, firmwareRevision, 0, 0)
  }
  writer.endMessage()
}

/** Every application id of a CER; the Vendor-Id beside one says nothing, RFC 6733 section 5.3. */
function advertisedApplications(cer: Cer): number[] {
  const advertised = [...cer.authApplicationId, ...cer.acctApplicationId]
  for (const { authApplicationId, acctApplicationId } of cer.vendorSpecificApplicationId) {
    // Section 6.11: exactly one of the two, and Failed-AVP names both.
    if (authApplicationId === undefined && acctApplicationId === undefined) {
      const message = 'Vendor-Specific-Application-Id without any application id'
      throw new DiameterError(ResultCode.MISSING_AVP, message, bothIds(0, 0))
    }
    if (authApplicationId !== undefined && acctApplicationId !== undefined) {
      const message = 'Vendor-Specific-Application-Id with two application ids'
      throw new DiameterError(
        ResultCode.AVP_OCCURS_TOO_MANY_TIMES,
        message,
        bothIds(authApplicationId, acctApplicationId),
      )
    }
    advertised.push((authApplicationId ?? acctApplicationId)!)
  }
  return advertised
}

function bothIds(auth: number, acct: number): Buffer {
  const value = Buffer.alloc(8)
  value.writeUInt32BE(auth, 0)
  value.writeUInt32BE(acct, 4)
  return Buffer.concat([avpOctets(258, value.subarray(0, 4)), avpOctets(259, value.subarray(4))])
}
