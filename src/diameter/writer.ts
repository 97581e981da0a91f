/**
 * Writes messages and AVPs (RFC 6733 sections 3 and 4.1) one after another into a slab; the length of a group or
 * message is written back when it ends. One Writer is the output queue of one connection: what a turn has written goes
 * out as one piece. Octets that were handed out are never written again: a full slab is left to its readers and a new
 * one begun.
 */

import assert from 'node:assert/strict'

/** Flags of an AVP. V is set by the functions below where a vendor is given; P is dead since RFC 6733. */
export const AVP_FLAG = { VENDOR: 0x80, MANDATORY: 0x40 } as const

const SLAB_OCTETS = 65_536
const NTP_OFFSET_S = 2_208_988_800 // 1900-01-01 to 1970-01-01
const MANDATORY = AVP_FLAG.MANDATORY
/** Shorter ASCII texts and ready AVPs are copied octet by octet: cheaper than the call into the runtime. */
const SHORT_OCTETS = 48

export class Writer {
  #octets: Buffer
  #at = 0
  /** Everything before this was handed out. */
  #sent = 0
  /** Where the message being written begins. */
  #start = 0

  constructor(slabOctets = SLAB_OCTETS) {
    this.#octets = Buffer.allocUnsafeSlow(slabOctets)
  }

  /** Octets written and not yet taken. */
  get pending(): number {
    return this.#at - this.#sent
  }

  /** Begins a message; AVPs follow, then `endMessage`. */
  message(flags: number, commandCode: number, applicationId: number, hopByHop: number, endToEnd: number): void {
    const at = this.#room(20)
    const octets = this.#octets
    this.#start = at
    put32(octets, at + 4, (flags << 24) | commandCode)
    put32(octets, at + 8, applicationId)
    put32(octets, at + 12, hopByHop)
    put32(octets, at + 16, endToEnd)
    this.#at = at + 20
  }

  endMessage(): void {
    const length = this.#at - this.#start
    assert(length < 1 << 24, `a message of ${length} octets does not fit its 24-bit length`)
    put32(this.#octets, this.#start, 0x01000000 | length)
    this.#start = this.#at
  }

  /** Forgets the message that was begun and not ended. */
  dropMessage(): void {
    this.#at = this.#start
  }

  /** An Unsigned32; also what is 32 bits wide and not negative. */
  u32(code: number, value: number, vendorId = 0, flags: number = MANDATORY): void {
    const at = this.#header(code, 4, vendorId, flags)
    put32(this.#octets, at, value)
  }

  /** An Integer32 or Enumerated. */
  i32(code: number, value: number, vendorId = 0, flags: number = MANDATORY): void {
    this.u32(code, value, vendorId, flags)
  }

  /** An Unsigned64. Numbers must be whole and below 2^53. */
  u64(code: number, value: bigint | number, vendorId = 0, flags: number = MANDATORY): void {
    const at = this.#header(code, 8, vendorId, flags)
    const octets = this.#octets
    if (typeof value === 'number') {
      put32(octets, at, Math.floor(value / 4294967296))
      put32(octets, at + 4, value)
    } else {
      octets.writeBigUInt64BE(BigInt.asUintN(64, value), at)
    }
  }

  /** An Integer64. */
  i64(code: number, value: bigint | number, vendorId = 0, flags: number = MANDATORY): void {
    this.u64(code, BigInt(value), vendorId, flags)
  }

  /** A Time, from Unix seconds; RFC 6733 section 4.3.1. */
  time(code: number, unixSeconds: number, vendorId = 0, flags: number = MANDATORY): void {
    this.u32(code, unixSeconds + NTP_OFFSET_S, vendorId, flags)
  }

  /** A UTF8String, DiameterIdentity, DiameterURI or IPFilterRule. */
  text(code: number, value: string, vendorId = 0, flags: number = MANDATORY): void {
    const headerOctets = vendorId === 0 ? 8 : 12
    const at = this.#room(headerOctets + value.length * 3 + 3) // a UTF-16 unit is at most three octets of UTF-8
    const length = headerOctets + putText(this.#octets, at + headerOctets, value)
    putHeader(this.#octets, at, code, length, vendorId, flags)
    this.#pad(at, length)
  }

  /** An OctetString or Address. */
  octets(code: number, value: Uint8Array, vendorId = 0, flags: number = MANDATORY): void {
    const at = this.#header(code, value.length, vendorId, flags)
    this.#octets.set(value, at)
  }

  /** Begins a group; its AVPs follow, then `end` with the mark that this gives. Groups may nest. */
  group(code: number, vendorId = 0, flags: number = MANDATORY): number {
    const headerOctets = vendorId === 0 ? 8 : 12
    const at = this.#room(headerOctets)
    putHeader(this.#octets, at, code, headerOctets, vendorId, flags)
    this.#at = at + headerOctets
    return at - this.#start // relative to the message, which may move to a new slab before the group ends
  }

  end(mark: number): void {
    const at = this.#start + mark
    const octets = this.#octets
    const length = this.#at - at
    octets[at + 5] = length >>> 16
    octets[at + 6] = length >>> 8
    octets[at + 7] = length
  }

  /** AVPs that are encoded already, with their padding. */
  ready(avpOctets: Uint8Array): void {
    const length = avpOctets.length
    const at = this.#room(length)
    const octets = this.#octets
    if (length <= SHORT_OCTETS) for (let i = 0; i < length; i++) octets[at + i] = avpOctets[i]!
    else octets.set(avpOctets, at)
    this.#at = at + length
  }

  /** All that was written and not taken yet, as one piece that stays as it is. Ended messages only. */
  take(): Buffer {
    const piece = this.#octets.subarray(this.#sent, this.#at)
    this.#sent = this.#at
    return piece
  }

  /** Writes an AVP's header and padding; the data goes where the result says. */
  #header(code: number, dataOctets: number, vendorId: number, flags: number): number {
    const headerOctets = vendorId === 0 ? 8 : 12
    const length = headerOctets + dataOctets
    const at = this.#room(length + 3)
    putHeader(this.#octets, at, code, length, vendorId, flags)
    this.#pad(at, length)
    return at + headerOctets
  }

  /** Moves behind an AVP at `at`, which ends on a 32-bit boundary of its message, with zeros. */
  #pad(at: number, length: number): void {
    const octets = this.#octets
    let end = at + length
    for (let missing = -length & 3; missing > 0; missing--) octets[end++] = 0
    this.#at = end
  }

  /** Makes room for so many octets more, and says where they go. */
  #room(octets: number): number {
    if (this.#at + octets > this.#octets.length) this.#renew(octets)
    return this.#at
  }

  /** A new slab: what was not handed out yet moves along. */
  #renew(octets: number): void {
    const kept = this.#at - this.#sent
    const next = Buffer.allocUnsafeSlow(Math.max(this.#octets.length, (kept + octets) * 2))
    this.#octets.copy(next, 0, this.#sent, this.#at)
    this.#start -= this.#sent
    this.#sent = 0
    this.#at = kept
    this.#octets = next
  }
}

/** AVPs as octets: the content of a message, or of a part of one. @param writer with nothing in it */
export function avpsOf(write: (writer: Writer) => void, writer = new Writer(1024)): Buffer {
  writer.message(0, 0, 0, 0, 0)
  write(writer)
  writer.endMessage()
  return writer.take().subarray(20)
}

/**
 * One AVP with its padding, for constants and for Failed-AVP.
 *
 * @param data its value as it is on the wire
 */
export function avpOctets(code: number, data: Uint8Array, vendorId = 0, flags: number = MANDATORY): Buffer {
  const headerOctets = vendorId === 0 ? 8 : 12
  const length = headerOctets + data.length
  const octets = Buffer.alloc((length + 3) & ~3)
  putHeader(octets, 0, code, length, vendorId, flags)
  octets.set(data, headerOctets)
  return octets
}

function putHeader(octets: Buffer, at: number, code: number, length: number, vendorId: number, flags: number): void {
  put32(octets, at, code)
  if (vendorId === 0) {
    put32(octets, at + 4, ((flags & ~AVP_FLAG.VENDOR) << 24) | length)
  } else {
    put32(octets, at + 4, ((flags | AVP_FLAG.VENDOR) << 24) | length)
    put32(octets, at + 8, vendorId)
  }
}

/** Written out, as in reading: the argument checks of Buffer.writeUInt32BE cost more than the work. */
function put32(octets: Buffer, at: number, value: number): void {
  octets[at] = value >>> 24
  octets[at + 1] = value >>> 16
  octets[at + 2] = value >>> 8
  octets[at + 3] = value
}

/** @returns how many octets the text takes in UTF-8 */
function putText(octets: Buffer, at: number, value: string): number {
  if (value.length <= SHORT_OCTETS) {
    let i = 0
    for (; i < value.length; i++) {
      const unit = value.charCodeAt(i)
      if (unit > 127) break
      octets[at + i] = unit
    }
    if (i === value.length) return i
  }
  return octets.write(value, at, 'utf8')
}
