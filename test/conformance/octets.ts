/**
 * Messages by their octets: vectors with something else in them, and a reader of its own for what ocsd sent. It knows the
 * rules of RFC 6733 sections 3 and 4.1 and shares nothing with the codec that is tested.
 */
import { encodeAvp, type AvpInput } from '../../src/diameter/tree.js'
import { dictionary } from '../support/vectors.js'

/** One AVP as it stands in a message. */
export interface RawAvp {
  readonly code: number
  readonly flags: number
  readonly vendorId: number
  readonly data: Buffer
  /** Header and padding included. */
  readonly octets: Buffer
}

const headerOctets = 20
const failedAvp = 279

/**
 * The AVPs of a message or a group.
 *
 * @throws Error that says what the rules of section 4.1 forbid in it
 */
export function rawAvps(body: Buffer): RawAvp[] {
  const avps: RawAvp[] = []
  for (let at = 0; at < body.length;) {
    if (body.length - at < 8) throw new Error(`${body.length - at} octets are left, too few for an AVP`)
    const flags = body[at + 4]!
    const length = body.readUIntBE(at + 5, 3)
    const header = flags & 0x80 ? 12 : 8
    const end = at + length
    const padded = at + ((length + 3) & ~3)
    if (length < header) throw new Error(`AVP Length ${length} is shorter than its header`)
    if (padded > body.length) throw new Error(`an AVP of ${length} octets ends behind what holds it`)
    if (body.subarray(end, padded).some(octet => octet !== 0)) throw new Error('padding is not zero')
    avps.push({
      code: body.readUInt32BE(at),
      flags,
      vendorId: header === 12 ? body.readUInt32BE(at + 8) : 0,
      data: body.subarray(at + header, end),
      octets: body.subarray(at, padded),
    })
    at = padded
  }
  return avps
}

/** The AVPs of a message. @throws Error as rawAvps does */
export const avpsOf = (message: Buffer): RawAvp[] => rawAvps(message.subarray(headerOctets))

/** Every AVP of a message, those inside groups too; not what Failed-AVP holds, which may be no whole AVP. */
export function allAvps(message: Buffer): RawAvp[] {
  const inside = (avp: RawAvp): RawAvp[] => {
    const isGroup = dictionary.find(avp.vendorId, avp.code)?.type === 'Grouped' && avp.code !== failedAvp
    return isGroup ? [avp, ...rawAvps(avp.data).flatMap(inside)] : [avp]
  }
  return avpsOf(message).flatMap(inside)
}

/** A message of this header (its length is set) and these AVPs. */
function messageOf(header: Buffer, avps: readonly Buffer[]): Buffer {
  const octets = Buffer.concat([header.subarray(0, headerOctets), ...avps])
  octets.writeUIntBE(octets.length, 1, 3)
  return octets
}

export const anAvp = (name: string, value: AvpInput, flags?: number): Buffer =>
  Buffer.from(encodeAvp(dictionary, name, value, flags))

/** With these AVPs at its end. */
export const append = (message: Buffer, ...avps: Buffer[]): Buffer =>
  messageOf(message, [message.subarray(headerOctets), ...avps])

/** Without any AVP of this name at its top level. @throws Error when there is none */
export function without(message: Buffer, name: string): Buffer {
  const { code, vendorId } = dictionary.avp(name)
  const avps = avpsOf(message)
  const kept = avps.filter(avp => avp.code !== code || avp.vendorId !== vendorId)
  if (kept.length === avps.length) throw new Error(`there is no ${name} to leave out`)
  return messageOf(
    message,
    kept.map(({ octets }) => octets),
  )
}

/** With another value for the first AVP of this name, at its place. */
export function withValue(message: Buffer, name: string, value: AvpInput): Buffer {
  const { code, vendorId } = dictionary.avp(name)
  const avps = avpsOf(message)
  const at = avps.findIndex(avp => avp.code === code && avp.vendorId === vendorId)
  if (at < 0) throw new Error(`there is no ${name} to change`)
  const changed = avps.map(({ octets, flags }, i) => (i === at ? anAvp(name, value, flags & 0x7f) : octets))
  return messageOf(message, changed)
}

export interface HeaderChange {
  readonly flags?: number
  readonly applicationId?: number
  readonly hopByHop?: number
  readonly endToEnd?: number
}

/** With another header. */
export function withHeader(message: Buffer, { flags, applicationId, hopByHop, endToEnd }: HeaderChange): Buffer {
  const octets = Buffer.from(message)
  if (flags !== undefined) octets[4] = flags
  if (applicationId !== undefined) octets.writeUInt32BE(applicationId, 8)
  if (hopByHop !== undefined) octets.writeUInt32BE(hopByHop, 12)
  if (endToEnd !== undefined) octets.writeUInt32BE(endToEnd, 16)
  return octets
}

/** The same request as one of another session: other Session-Id, other identifiers. */
export const ofSession = (message: Buffer, n: number): Buffer =>
  withHeader(withValue(message, 'Session-Id', `pgw1.example.net;1768478400;${n};gy`), {
    hopByHop: (message.readUInt32BE(12) + n * 65_536) >>> 0,
    endToEnd: (message.readUInt32BE(16) + n * 65_536) >>> 0,
  })

/** With the M bit cleared on the AVPs that are meant, those inside groups too. */
export function withoutMandatory(message: Buffer, meant: (avp: RawAvp) => boolean): Buffer {
  const octets = Buffer.from(message)
  // The AVPs are views of the copy.
  for (const avp of allAvps(octets)) if (meant(avp)) avp.octets[4]! &= 0xbf
  return octets
}
