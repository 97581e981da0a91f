/**
 * What goes into Failed-AVP, and the errors that carry it: RFC 6733 sections 7.1.5 and 7.5. For a fault inside groups it
 * is the path of groups down to the AVP (Ours: of the two forms that the RFC allows).
 */
import type { AvpDefinition, Dictionary } from './dictionary.js'
import { sizeOf, u32 } from './data-formats.js'
import { DiameterError, ResultCode } from './errors.js'
import { AVP_FLAG, avpOctets } from './writer.js'

const nothing = Buffer.alloc(0)

const flagsOf = (avp: AvpDefinition): number => (avp.mandatory ? AVP_FLAG.MANDATORY : 0)

/** An AVP of the right code with zeros of the smallest legal size. */
export function emptyAvp(avp: AvpDefinition): Buffer {
  return avpOctets(avp.code, Buffer.alloc(Math.max(sizeOf(avp.type), 0)), avp.vendorId, flagsOf(avp))
}

/** The AVP at [at, end) as it came, with zeros for its padding. */
export function copyOf(octets: Buffer, at: number, end: number): Buffer {
  const copy = Buffer.alloc((end - at + 3) & ~3)
  octets.copy(copy, 0, at, end)
  return copy
}

/** Puts a group around what is wrong in it. */
export function wrapIn(group: AvpDefinition, failedAvp: Buffer): Buffer {
  return avpOctets(group.code, failedAvp, group.vendorId, flagsOf(group))
}

export function missing(avp: AvpDefinition): DiameterError {
  return new DiameterError(ResultCode.MISSING_AVP, `${avp.name} is missing`, emptyAvp(avp))
}

export function tooMany(avp: AvpDefinition, copy: Buffer): DiameterError {
  return new DiameterError(ResultCode.AVP_OCCURS_TOO_MANY_TIMES, `${avp.name} occurs too many times`, copy)
}

export function notAllowed(avp: AvpDefinition, copy: Buffer): DiameterError {
  return new DiameterError(ResultCode.AVP_NOT_ALLOWED, `${avp.name} is not allowed here`, copy)
}

export function unsupported(vendorId: number, code: number, copy: Buffer): DiameterError {
  const text = `AVP ${code}${vendorId === 0 ? '' : ` of vendor ${vendorId}`} is not known here and has the M bit`
  return new DiameterError(ResultCode.AVP_UNSUPPORTED, text, copy)
}

export function invalidValue(avp: AvpDefinition, copy: Buffer): DiameterError {
  return new DiameterError(ResultCode.INVALID_AVP_VALUE, `${avp.name} has no legal value for ${avp.type}`, copy)
}

/** A fixed-size type with another size. */
export function invalidSize(avp: AvpDefinition, octets: number): DiameterError {
  const text = `${avp.name} has ${octets} octets, ${avp.type} needs ${sizeOf(avp.type)}`
  return new DiameterError(ResultCode.INVALID_AVP_LENGTH, text, emptyAvp(avp))
}

/** The AVP header at `at` says that it is shorter than itself, or ends behind `end`. */
export function invalidLength(dictionary: Dictionary, octets: Buffer, at: number, end: number): DiameterError {
  const left = end - at
  if (left < 8) {
    const header = Buffer.alloc(8)
    octets.copy(header, 0, at, end)
    return new DiameterError(ResultCode.INVALID_AVP_LENGTH, `${left} octets are left over, no AVP header`, header)
  }
  const code = u32(octets, at)
  const flags = octets[at + 4]!
  const vendorId = flags & AVP_FLAG.VENDOR && left >= 12 ? u32(octets, at + 8) : 0
  const avp = dictionary.find(vendorId, code)
  const length = u32(octets, at + 4) & 0xffffff
  return new DiameterError(
    ResultCode.INVALID_AVP_LENGTH,
    `${avp?.name ?? `AVP ${code}`} has AVP Length ${length}, where ${left} octets are left`,
    avp ? emptyAvp(avp) : avpOctets(code, nothing, vendorId, flags),
  )
}

/** Ours: the RFC has no code for too deep or too many, our limits against hostile messages. */
export function overLimit(what: string): DiameterError {
  return new DiameterError(ResultCode.UNABLE_TO_COMPLY, what)
}
