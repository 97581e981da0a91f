/**
 * The data formats of RFC 6733 sections 4.2 and 4.3: what the octets of an AVP mean, and which of them are legal.
 * Values in TypeScript: 32-bit numbers, Enumerated and floats are numbers; 64-bit integers are bigint; Time is Unix
 * seconds; texts are strings; OctetString and Address are views of the octets.
 */
import { isUtf8 } from 'node:buffer'
import { isIPv4, isIPv6 } from 'node:net'
import { parseDiameterUri } from './uri.js'

export const dataTypeNames = [
  'OctetString',
  'Integer32',
  'Integer64',
  'Unsigned32',
  'Unsigned64',
  'Float32',
  'Float64',
  'Grouped',
  'Address',
  'Time',
  'UTF8String',
  'DiameterIdentity',
  'DiameterURI',
  'Enumerated',
  'IPFilterRule',
] as const
export type DataTypeName = (typeof dataTypeNames)[number]

/** A value that is not a group. */
export type PlainValue = number | bigint | string | Buffer

export interface DataFormat {
  /** Octets of every value, or -1 where they differ. */
  readonly size: number
  /** Are these octets a value? Only asked when the size is right; Enumerated needs its dictionary beside this. */
  readonly legal: (octets: Buffer, from: number, to: number) => boolean
  readonly read: (octets: Buffer, from: number, to: number) => PlainValue
}

const always = (): boolean => true
const ascii = { size: -1, legal: isAscii, read: readAscii }
const octetString = { legal: always, read: (octets: Buffer, from: number, to: number) => octets.subarray(from, to) }

/** Grouped is not here: a group's value is its AVPs. */
export const dataFormats: Readonly<Record<Exclude<DataTypeName, 'Grouped'>, DataFormat>> = {
  OctetString: { size: -1, ...octetString },
  Address: { ...octetString, size: -1, legal: isAddress },
  Unsigned32: { size: 4, legal: always, read: u32 },
  Integer32: { size: 4, legal: always, read: i32 },
  Enumerated: { size: 4, legal: always, read: i32 },
  Time: { size: 4, legal: always, read: readTime },
  Unsigned64: { size: 8, legal: always, read: u64 },
  Integer64: { size: 8, legal: always, read: i64 },
  Float32: { size: 4, legal: always, read: (octets, from) => octets.readFloatBE(from) },
  Float64: { size: 8, legal: always, read: (octets, from) => octets.readDoubleBE(from) },
  UTF8String: { size: -1, legal: isUtf8Text, read: readText },
  DiameterIdentity: { size: -1, legal: isIdentity, read: readAscii },
  DiameterURI: { size: -1, legal: isUri, read: readAscii },
  IPFilterRule: ascii,
}

/** Octets of every value of a type, or -1 where they differ. */
export const sizeOf = (type: DataTypeName): number => (type === 'Grouped' ? -1 : dataFormats[type].size)

/**
 * An Unsigned32, for hot loops. Written out it costs the optimiser less of its inlining budget than Buffer.readUInt32BE
 * with its argument checks: a whole decode takes 40 % less.
 */
export function u32(octets: Buffer, at: number): number {
  return ((octets[at]! << 24) | (octets[at + 1]! << 16) | (octets[at + 2]! << 8) | octets[at + 3]!) >>> 0
}

export function i32(octets: Buffer, at: number): number {
  return (octets[at]! << 24) | (octets[at + 1]! << 16) | (octets[at + 2]! << 8) | octets[at + 3]!
}

export function u64(octets: Buffer, at: number): bigint {
  const high = u32(octets, at)
  const low = u32(octets, at + 4)
  if (high < 0x200000) return BigInt(high * 4294967296 + low) // below 2^53 a double is exact
  return (BigInt(high) << 32n) | BigInt(low)
}

function i64(octets: Buffer, at: number): bigint {
  return BigInt.asIntN(64, u64(octets, at))
}

/** Seconds from 1900-01-01 to 1970-01-01. */
const NTP_OFFSET_S = 2_208_988_800

/** Unix seconds. Values below 2^31 are of the era that begins on 2036-02-07 at 06:28:16 UTC. */
export function readTime(octets: Buffer, at: number): number {
  const ntp = u32(octets, at)
  return ntp - NTP_OFFSET_S + (ntp < 0x80000000 ? 4294967296 : 0)
}

function isAscii(octets: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (octets[at]! > 127) return false
  return true
}

/**
 * Ours: no rule for names is checked, but that they can stand between blanks, as they do in the store and in logs. An empty one is
 * what Failed-AVP has of one that is missing.
 */
function isIdentity(octets: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (octets[at]! <= 32 || octets[at]! >= 127) return false
  return true
}

function isUri(octets: Buffer, from: number, to: number): boolean {
  return isAscii(octets, from, to) && parseDiameterUri(readAscii(octets, from, to)) !== undefined
}

/** ASCII is UTF-8: only other octets need the whole check. */
function isUtf8Text(octets: Buffer, from: number, to: number): boolean {
  return isAscii(octets, from, to) || isUtf8(octets.subarray(from, to))
}

function readAscii(octets: Buffer, from: number, to: number): string {
  return octets.toString('latin1', from, to)
}

function readText(octets: Buffer, from: number, to: number): string {
  return octets.toString('utf8', from, to)
}

/** Two octets of family (1 IPv4, 2 IPv6, others are taken as they come), then the address. */
function isAddress(octets: Buffer, from: number, to: number): boolean {
  if (to - from < 2) return false
  const family = (octets[from]! << 8) | octets[from + 1]!
  if (family === 1) return to - from === 6
  if (family === 2) return to - from === 18
  return true
}

/** The octets of an Address from its text, `192.0.2.1` or `2001:db8::1`; undefined for anything else. */
export function addressOctets(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from([0, 1, ...text.split('.').map(Number)])
  if (!isIPv6(text) || text.includes('%')) return undefined
  const [head = '', tail] = text.split('::')
  const before = wordsOf(head)
  const after = wordsOf(tail ?? '')
  const octets = Buffer.alloc(18)
  octets[1] = 2
  before.forEach((word, i) => octets.writeUInt16BE(word, 2 + 2 * i))
  after.forEach((word, i) => octets.writeUInt16BE(word, 18 - 2 * (after.length - i)))
  return octets
}

/** The 16-bit words of a part of an IPv6 address; the last may be written as IPv4. */
function wordsOf(part: string): number[] {
  return part
    .split(':')
    .filter(word => word !== '')
    .flatMap(word => {
      if (!word.includes('.')) return [Number.parseInt(word, 16)]
      const [a, b, c, d] = word.split('.').map(Number)
      return [(a! << 8) | b!, (c! << 8) | d!]
    })
}

/** An Address for people: IPv4 and IPv6 as usual, other families as `family:hex`. */
export function addressText(octets: Buffer): string {
  const family = octets.length < 2 ? -1 : octets.readUInt16BE(0)
  if (family === 1 && octets.length === 6) return octets.subarray(2).join('.')
  if (family !== 2 || octets.length !== 18) return `${family}:${octets.toString('hex', 2)}`
  const words = Array.from({ length: 8 }, (_, i) => octets.readUInt16BE(2 + 2 * i).toString(16)).join(':')
  // RFC 5952: the first longest run of at least two zero words is written as `::`.
  const runs = [...words.matchAll(/(?<![0-9a-f])0(?::0)+(?![0-9a-f])/g)]
  const longest = runs.reduce<RegExpExecArray | undefined>(
    (best, run) => (best === undefined || run[0].length > best[0].length ? run : best),
    undefined,
  )
  if (longest === undefined) return words
  const before = words.slice(0, longest.index).replace(/:$/, '')
  const after = words.slice(longest.index + longest[0].length).replace(/^:/, '')
  return `${before}::${after}`
}
