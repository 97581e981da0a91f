/**
 * Messages as trees of named AVPs, both ways: plain and general, for what is rare (CEA, RAR, error answers), for the
 * simulator, for traces and for tests. `readTree` checks all that message.ts checks, in the simplest way: it is the oracle
 * of the fast decoder.
 */
import { addressOctets, dataFormats, sizeOf, u32, type PlainValue } from './data-formats.js'
import type { AvpDefinition, CommandDefinition, Dictionary, Grammar } from './dictionary.js'
import { DiameterError } from './errors.js'
import {
  copyOf,
  invalidLength,
  invalidSize,
  invalidValue,
  missing,
  notAllowed,
  overLimit,
  tooMany,
  unsupported,
  wrapIn,
} from './failed-avp.js'
import { FLAG, HEADER_OCTETS, readHeader, type Header } from './header.js'
import type { ReadLimits } from './message.js'
import { AVP_FLAG, Writer } from './writer.js'

/** See data-formats.ts. A Buffer also stands for what is unknown, or no legal value of its type. */
export type AvpValue = PlainValue | AvpTree[]

export interface AvpTree {
  /** `code:vendor` when no dictionary has it. */
  readonly name: string
  readonly code: number
  readonly vendorId: number
  /** As received, the V bit included. */
  readonly flags: number
  readonly value: AvpValue
}

export interface MessageTree {
  readonly header: Header
  /** Absent when no dictionary has it. Of an answer with the E bit it is answer-message. */
  readonly command?: CommandDefinition
  readonly avps: AvpTree[]
}

/** Groups deeper than this stay octets. */
const DEPTH = 32

/**
 * Decodes whatever has the form of a message. What is unknown or has no legal value is kept as octets, so that
 * `encodeTree` gives them again.
 *
 * @throws DiameterError INVALID_AVP_LENGTH when the octets are no AVPs at the command's own level
 */
export function decodeTree(dictionary: Dictionary, octets: Buffer): MessageTree {
  return {
    ...outerOf(dictionary, octets),
    avps: new Decoder(dictionary).avps(octets, HEADER_OCTETS, octets.length, DEPTH),
  }
}

/**
 * Decodes a message as its receiver must, by the grammar of its command.
 *
 * @throws DiameterError the same as `readMessage`; an unknown command is checked by the empty grammar
 */
export function readTree(dictionary: Dictionary, octets: Buffer, limits: ReadLimits): MessageTree {
  const outer = outerOf(dictionary, octets)
  const checker = new Checker(dictionary, limits.avps)
  return { ...outer, avps: checker.avps(octets, HEADER_OCTETS, octets.length, limits.depth, outer.command?.grammar) }
}

function outerOf(dictionary: Dictionary, octets: Buffer): Omit<MessageTree, 'avps'> {
  if (octets.length < HEADER_OCTETS) throw invalidLength(dictionary, octets, 0, octets.length)
  const header = readHeader(octets)
  const request = (header.flags & FLAG.REQUEST) !== 0
  const command =
    !request && header.flags & FLAG.ERROR ? dictionary.answerMessage : dictionary.command(header.commandCode, request)
  return command ? { header, command } : { header }
}

/** One AVP's place. */
interface Place {
  readonly at: number
  readonly dataAt: number
  readonly end: number
  readonly code: number
  readonly vendorId: number
  readonly flags: number
}

/** The AVPs of [from, end), where they lie: RFC 6733 section 4.1. */
function* split(dictionary: Dictionary, octets: Buffer, from: number, end: number): Generator<Place> {
  for (let at = from; at < end;) {
    if (end - at < 8) throw invalidLength(dictionary, octets, at, end)
    const flags = octets[at + 4]!
    const length = u32(octets, at + 4) & 0xffffff
    const headerOctets = flags & AVP_FLAG.VENDOR ? 12 : 8
    if (length < headerOctets || at + length > end) throw invalidLength(dictionary, octets, at, end)
    const vendorId = headerOctets === 12 ? u32(octets, at + 8) : 0
    yield { at, dataAt: at + headerOctets, end: at + length, code: u32(octets, at), vendorId, flags }
    at += (length + 3) & ~3
  }
}

/** Takes what it gets. */
class Decoder {
  constructor(private readonly dictionary: Dictionary) {}

  avps(octets: Buffer, from: number, end: number, depth: number): AvpTree[] {
    const avps: AvpTree[] = []
    for (const place of split(this.dictionary, octets, from, end)) {
      const avp = this.dictionary.find(place.vendorId, place.code)
      avps.push(treeOf(avp, place, this.#value(avp, octets, place, depth)))
    }
    return avps
  }

  #value(avp: AvpDefinition | undefined, octets: Buffer, { dataAt, end }: Place, depth: number): AvpValue {
    const raw = octets.subarray(dataAt, end)
    if (!avp) return raw
    if (avp.type !== 'Grouped') {
      const format = dataFormats[avp.type]
      const legal = (format.size < 0 || format.size === raw.length) && format.legal(octets, dataAt, end)
      return legal ? format.read(octets, dataAt, end) : raw
    }
    if (depth === 0) return raw
    try {
      return this.avps(octets, dataAt, end, depth - 1)
    } catch (error) {
      if (error instanceof DiameterError) return raw
      throw error
    }
  }
}

/** Takes what the grammars allow. */
class Checker {
  #avpsLeft: number

  constructor(
    private readonly dictionary: Dictionary,
    limit: number,
  ) {
    this.#avpsLeft = limit
  }

  /** @param grammar undefined where a group was not expected: its AVPs are checked, their number is not */
  avps(octets: Buffer, from: number, end: number, depth: number, grammar: Grammar | undefined): AvpTree[] {
    const avps: AvpTree[] = []
    const occurrences = new Map<AvpDefinition, number>()
    for (const place of split(this.dictionary, octets, from, end)) {
      if (--this.#avpsLeft < 0) throw overLimit('the message has too many AVPs')
      const copy = (): Buffer => copyOf(octets, place.at, place.end)
      const avp = this.dictionary.find(place.vendorId, place.code)
      if (!avp) {
        if (place.flags & AVP_FLAG.MANDATORY) throw unsupported(place.vendorId, place.code, copy())
        avps.push(treeOf(avp, place, octets.subarray(place.dataAt, place.end)))
        continue
      }
      const count = (occurrences.get(avp) ?? 0) + 1
      occurrences.set(avp, count)
      const member = grammar?.members.find(each => each.avp === avp)
      if (member?.max === 0) throw notAllowed(avp, copy())
      if (member && count > member.max) throw tooMany(avp, copy())
      avps.push(treeOf(avp, place, this.#value(avp, octets, place, depth, member !== undefined, copy)))
    }
    for (const { avp, min } of grammar?.members ?? []) if ((occurrences.get(avp) ?? 0) < min) throw missing(avp)
    return avps
  }

  #value(
    avp: AvpDefinition,
    octets: Buffer,
    { dataAt, end }: Place,
    depth: number,
    expected: boolean,
    copy: () => Buffer,
  ): AvpValue {
    const size = sizeOf(avp.type)
    if (size >= 0 && end - dataAt !== size) throw invalidSize(avp, end - dataAt)
    if (avp.type === 'Grouped') {
      if (avp.name === 'Failed-AVP') return octets.subarray(dataAt, end) // something is wrong with what is in it
      if (depth === 0) throw overLimit(`${avp.name} is nested too deep`)
      try {
        return this.avps(octets, dataAt, end, depth - 1, expected ? avp.grammar : undefined)
      } catch (error) {
        if (error instanceof DiameterError && error.failedAvp) error.failedAvp = wrapIn(avp, error.failedAvp)
        throw error
      }
    }
    const { legal, read } = dataFormats[avp.type]
    if (!legal(octets, dataAt, end)) throw invalidValue(avp, copy())
    const value = read(octets, dataAt, end)
    if (avp.type === 'Enumerated' && avp.enums && !avp.enums.has(value as number)) throw invalidValue(avp, copy())
    return value
  }
}

function treeOf(avp: AvpDefinition | undefined, { code, vendorId, flags }: Place, value: AvpValue): AvpTree {
  return { name: avp?.name ?? `${code}:${vendorId}`, code, vendorId, flags, value }
}

/**
 * A value to encode, by the AVP's type: a number or bigint; a text, also for Address, OctetString (as UTF-8) and Enumerated
 * (by name); a Date or Unix seconds for Time; items for a group. A Buffer is taken as it is, whatever the type.
 */
export type AvpInput = number | bigint | string | Buffer | Date | readonly AvpItem[]

/**
 * `[name, value]`, with the flags of the dictionary or these (V is set where it belongs). The name `code:vendor` stands for
 * an AVP that no dictionary has.
 */
export type AvpItem = readonly [name: string, value: AvpInput, flags?: number] | AvpTree

export interface MessageInput {
  /** Name or abbreviation. */
  readonly command: string
  /** Of answer-message, which has none of its own. */
  readonly commandCode?: number
  /** See header.ts; as the command's grammar says when absent. */
  readonly flags?: number
  readonly applicationId?: number
  readonly hopByHop: number
  readonly endToEnd: number
  readonly avps: readonly AvpItem[]
}

/**
 * Encodes a message. Grammars are not checked: tests and simulators need wrong messages too.
 *
 * @throws TypeError when a value does not fit its AVP's type; Error when a name is unknown
 */
export function encodeTree(dictionary: Dictionary, message: MessageInput | MessageTree): Buffer {
  try {
    writeHeader(dictionary, message)
    for (const item of message.avps) writeItem(dictionary, messages, item)
  } catch (error) {
    messages.dropMessage()
    throw error
  }
  messages.endMessage()
  return messages.take()
}

/** Of all messages that encodeTree makes: a slab of one's own for each would cost more than the message. */
const messages = new Writer()

function writeHeader(dictionary: Dictionary, message: MessageInput | MessageTree): void {
  if ('header' in message) {
    const { flags, commandCode, applicationId, hopByHop, endToEnd } = message.header
    messages.message(flags, commandCode, applicationId, hopByHop, endToEnd)
    return
  }
  const command = dictionary.commandByName(message.command)
  const flags = (command.request ? FLAG.REQUEST : 0) | (command.proxiable ? FLAG.PROXIABLE : 0)
  messages.message(
    message.flags ?? flags,
    message.commandCode ?? command.code,
    message.applicationId ?? command.applicationId,
    message.hopByHop,
    message.endToEnd,
  )
}

/** One AVP with its padding, for constants and for Failed-AVP. */
export function encodeAvp(dictionary: Dictionary, name: string, value: AvpInput, flags?: number): Buffer {
  const writer = new Writer(256)
  writeItem(dictionary, writer, flags === undefined ? [name, value] : [name, value, flags])
  return writer.take()
}

/** Writes one AVP by its name: half as fast as the Writer's own calls, and it checks values. */
export function writeItem(dictionary: Dictionary, writer: Writer, item: AvpItem): void {
  if ('name' in item) {
    const { name, code, vendorId, flags, value } = item
    const avp = dictionary.find(vendorId, code) ?? strangerOf(name, code, vendorId)
    writeAvp(dictionary, writer, avp, value, flags)
    return
  }
  const [name, value, flags] = item
  const numbers = name.includes(':') ? /^(\d+):(\d+)$/.exec(name) : null
  const avp = numbers ? strangerOf(name, Number(numbers[1]), Number(numbers[2])) : dictionary.avp(name)
  writeAvp(dictionary, writer, avp, value, flags ?? (avp.mandatory ? AVP_FLAG.MANDATORY : 0))
}

const strangerOf = (name: string, code: number, vendorId: number): AvpDefinition => ({
  ...{ name, code, vendorId },
  ...{ type: 'OctetString', mandatory: false },
})

function writeAvp(
  dictionary: Dictionary,
  writer: Writer,
  avp: AvpDefinition,
  value: AvpInput | AvpValue,
  flags: number,
): void {
  const { code, vendorId, type } = avp
  if (Buffer.isBuffer(value)) {
    writer.octets(code, value, vendorId, flags)
    return
  }
  switch (type) {
    case 'Grouped': {
      if (!Array.isArray(value)) throw unfit(avp, value, 'a list of AVPs')
      const mark = writer.group(code, vendorId, flags)
      for (const item of value as readonly AvpItem[]) writeItem(dictionary, writer, item)
      writer.end(mark)
      return
    }
    case 'Unsigned32':
      writer.u32(code, whole(avp, value, 0, 2 ** 32), vendorId, flags)
      return
    case 'Integer32':
      writer.i32(code, whole(avp, value, -(2 ** 31), 2 ** 31), vendorId, flags)
      return
    case 'Enumerated':
      writer.i32(code, whole(avp, enumerated(avp, value), -(2 ** 31), 2 ** 31), vendorId, flags)
      return
    case 'Unsigned64':
      writer.u64(code, wide(avp, value, 0n, 2n ** 64n), vendorId, flags)
      return
    case 'Integer64':
      writer.i64(code, wide(avp, value, -(2n ** 63n), 2n ** 63n), vendorId, flags)
      return
    case 'Time':
      writer.time(code, secondsOf(avp, value), vendorId, flags)
      return
    case 'Float32':
    case 'Float64': {
      if (typeof value !== 'number') throw unfit(avp, value, 'a number')
      const octets = Buffer.alloc(sizeOf(type))
      if (type === 'Float32') octets.writeFloatBE(value)
      else octets.writeDoubleBE(value)
      writer.octets(code, octets, vendorId, flags)
      return
    }
    case 'Address': {
      const octets = typeof value === 'string' ? addressOctets(value) : undefined
      if (!octets) throw unfit(avp, value, 'an IPv4 or IPv6 address, or octets')
      writer.octets(code, octets, vendorId, flags)
      return
    }
    case 'OctetString':
    case 'UTF8String':
    case 'DiameterIdentity':
    case 'DiameterURI':
    case 'IPFilterRule':
      if (typeof value !== 'string') throw unfit(avp, value, 'a text, or octets')
      writer.text(code, value, vendorId, flags)
  }
}

function wide(avp: AvpDefinition, value: unknown, from: bigint, below: bigint): bigint {
  const big = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value
  if (typeof big !== 'bigint' || big < from || big >= below)
    throw unfit(avp, value, `a whole number from ${from} to ${below - 1n}`)
  return big
}

function whole(avp: AvpDefinition, value: unknown, from: number, below: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= from && value < below) return value
  return Number(wide(avp, value, BigInt(from), BigInt(below)))
}

function enumerated(avp: AvpDefinition, value: unknown): unknown {
  if (typeof value !== 'string') return value
  for (const [number, name] of avp.enums ?? []) if (name === value) return number
  throw unfit(avp, value, `one of ${[...(avp.enums?.values() ?? [])].join(', ')}`)
}

function secondsOf(avp: AvpDefinition, value: unknown): number {
  if (value instanceof Date) return Math.floor(value.getTime() / 1000)
  if (typeof value === 'number' && Number.isInteger(value)) return value
  throw unfit(avp, value, 'a Date or whole Unix seconds')
}

function unfit(avp: AvpDefinition, value: unknown, wanted: string): TypeError {
  const text = typeof value === 'number' || typeof value === 'bigint' ? value.toString() : `a ${typeof value}`
  return new TypeError(`${avp.name} is ${avp.type}: give it ${wanted}, not ${text}`)
}
