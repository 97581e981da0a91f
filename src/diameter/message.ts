/**
 * Reads a message into the classes of those who want it. A grammar of the dictionary says what may come, a shape says
 * what of it is read, and one loop checks everything (RFC 6733 sections 4 and 7.1.5) and turns only the wanted AVPs into
 * values:
 *
 *     class Mscc { ratingGroup: number | undefined = undefined; used: ServiceUnits[] = [] }
 *     const mscc = shape(dictionary, 'Multiple-Services-Credit-Control', Mscc, {
 *       ratingGroup: 'Rating-Group', used: ['Used-Service-Unit', serviceUnits],
 *     })
 *
 * Two ideas make the loop fast. The guess: an AVP is mostly followed by the one that followed it last time, so each
 * member remembers its `next` and lookups are rare. The instance number: `seen` holds, for each member, the number of the
 * group instance that last had it, so occurrences are checked without clearing anything.
 */
import assert from 'node:assert/strict'
import { dataFormats, i32, sizeOf, u32, u64, type PlainValue } from './data-formats.js'
import type { AvpDefinition, Dictionary, Grammar } from './dictionary.js'
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
import { HEADER_OCTETS } from './header.js'
import { AVP_FLAG } from './writer.js'

/** What a field is read from: an AVP's value, its octets as they came with header and padding, or a group by its shape. */
export type Wanted<Value> =
  | string
  | (Buffer extends Value ? readonly [name: string, form: 'raw'] : never)
  | readonly [name: string, shape: Shape<Value>]

type Element<Field> = Field extends readonly (infer Item)[] ? Item : Exclude<Field, undefined>

export type Fields<T> = { readonly [Field in keyof T]?: Wanted<Element<T[Field]>> }

/** How to read a group into a T. Made once, at start. */
export type Shape<T> = Table<T>

export interface ReadLimits {
  /** Groups inside groups. */
  readonly depth: number
  /** AVPs of one message, those inside groups counted. */
  readonly avps: number
}

/**
 * A grammar with the fields to read into a Type that has them all.
 *
 * @param grammarOf a command or group: `Credit-Control-Request`, `CCR`, `Used-Service-Unit`
 * @param Type its constructor gives every field a value. A field that begins as an array collects every occurrence,
 *   another takes the first. Values are those of data-formats.ts; views of the message are valid as long as its octets
 * @throws Error when the dictionary lacks a name: a fault of the program
 */
export function shape<T extends object>(
  dictionary: Dictionary,
  grammarOf: string,
  Type: new () => T,
  fields: Fields<T>,
): Shape<T> {
  const table = new Table(dictionary, dictionary.grammar(grammarOf), () => new Type())
  const blank = new Type() as Record<string, unknown>
  for (const [field, wanted] of Object.entries<Wanted<unknown> | undefined>(fields)) {
    if (wanted === undefined) continue
    const [name, form] = typeof wanted === 'string' ? [wanted, undefined] : wanted
    const avp = dictionary.avp(name)
    const member = table.member(avp.vendorId, avp.code) ?? table.add(avp, 0, Infinity)
    assert(member.set === undefined, `${grammarOf}: ${name} is read into two fields`)
    assert(field in blank, `${grammarOf}: ${Type.name} has no field ${field}`)
    member.set = setter(field, Array.isArray(blank[field]), member.max > 1)
    if (form === 'raw') {
      member.checked = new Member(avp, member.id, member.min, member.max)
      member.kind = Kind.RAW
    } else {
      const grouped = member.kind === Kind.GROUP
      assert(grouped === (form !== undefined), `${grammarOf}: ${name} is ${avp.type}; a group has a shape, or is 'raw'`)
      member.table = form
    }
  }
  const made = shapesMade.get(dictionary)
  if (made) made.push({ grammarOf, shape: table })
  else shapesMade.set(dictionary, [{ grammarOf, shape: table }])
  return table
}

/** For whoever asks what is read: the shapes that were made with a dictionary. */
const shapesMade = new WeakMap<Dictionary, { readonly grammarOf: string; readonly shape: Shape<unknown> }[]>()

/** Shapes of commands and groups that were made with this dictionary, in the order of their making. */
export const shapesOf = (
  dictionary: Dictionary,
): readonly { readonly grammarOf: string; readonly shape: Shape<unknown> }[] => shapesMade.get(dictionary) ?? []

/** An AVP of a message or group, as a shape takes it. */
export interface TakenAvp {
  readonly avp: AvpDefinition
  readonly min: number
  readonly max: number
  /** Its value is used; others are checked and left alone. */
  readonly read: boolean
  /** Of a group that is read. */
  readonly members: readonly TakenAvp[]
}

/** What a shape takes: the members of its grammar, and what it reads beside them. */
export const takenAvps = (shape: Shape<unknown>): TakenAvp[] =>
  shape.members().map(({ avp, min, max, set, table, kind }) => ({
    ...{ avp, min, max, read: set !== undefined },
    members: set !== undefined && table !== undefined && kind === Kind.GROUP ? takenAvps(table) : [],
  }))

/**
 * Reads one message.
 *
 * @param octets the whole message, header included; the header is not looked at
 * @throws DiameterError the first fault in wire order, with the AVP (and the groups around it) for Failed-AVP:
 *   AVP_UNSUPPORTED, INVALID_AVP_VALUE, MISSING_AVP, AVP_NOT_ALLOWED, AVP_OCCURS_TOO_MANY_TIMES, INVALID_AVP_LENGTH,
 *   or UNABLE_TO_COMPLY when a limit is passed. A missing AVP is found when its group has ended
 */
export function readMessage<T>(shape: Shape<T>, octets: Buffer, limits: ReadLimits): T {
  if (instances > LAST_INSTANCE) {
    seen.fill(0)
    instances = 0
  }
  avpsLeft = limits.avps
  return read(shape, octets, HEADER_OCTETS, octets.length, limits.depth)
}

type Setter = (into: object, value: unknown) => void

function setter(field: string, collects: boolean, repeats: boolean): Setter {
  if (collects) return (into, value) => (into as Record<string, unknown[]>)[field]!.push(value)
  if (repeats) return (into, value) => ((into as Record<string, unknown>)[field] ??= value)
  return (into, value) => ((into as Record<string, unknown>)[field] = value)
}

const Kind = { NUMBER: 0, ENUMERATED: 1, WIDE: 2, OTHER: 3, IDENTITY: 4, UTF8: 5, OCTETS: 6, GROUP: 7, RAW: 8 } as const
type Kind = (typeof Kind)[keyof typeof Kind]

const kinds: Partial<Record<AvpDefinition['type'], Kind>> = {
  Unsigned32: Kind.NUMBER,
  Enumerated: Kind.ENUMERATED,
  Unsigned64: Kind.WIDE,
  UTF8String: Kind.UTF8,
  DiameterIdentity: Kind.IDENTITY,
  OctetString: Kind.OCTETS,
  Grouped: Kind.GROUP,
}

/** All that dictionary and shape say of one AVP in one group. */
class Member {
  readonly code: number
  readonly vendorId: number
  readonly size: number
  kind: Kind
  /** What followed it last time, in the same table. */
  next: Member
  /** Undefined: nobody wants it; it is checked and left alone. */
  set: Setter | undefined = undefined
  /** Of the group that it is. */
  table: Table<unknown> | undefined = undefined
  /** Kind RAW: the same, to check its value. */
  checked: Member | undefined = undefined
  readonly enums: ReadonlyMap<number, string> | undefined
  /** The values of `enums` as bits, when all are from 0 to 31; else 0. */
  readonly enumBits: number
  /** More than one and not any number of occurrences are allowed: `counts` has how many there were. */
  readonly counted: boolean

  constructor(
    readonly avp: AvpDefinition,
    /** Its place in `seen`. */
    readonly id: number,
    readonly min: number,
    readonly max: number,
  ) {
    this.code = avp.code
    this.vendorId = avp.vendorId
    this.size = sizeOf(avp.type)
    // The content of Failed-AVP is not looked at: it is there because something is wrong with it.
    this.kind = isFailedAvp(avp) ? Kind.OCTETS : (kinds[avp.type] ?? Kind.OTHER)
    this.next = this
    this.enums = avp.type === 'Enumerated' ? avp.enums : undefined
    const values = [...(this.enums?.keys() ?? [])]
    this.enumBits = values.every(value => value >= 0 && value < 32) ? values.reduce((bits, v) => bits | (1 << v), 0) : 0
    this.counted = (max > 1 && max < Infinity) || min > 1
  }
}

const isFailedAvp = (avp: AvpDefinition): boolean => avp.code === 279 && avp.vendorId === 0

/** A grammar bound to what is read of it. */
class Table<T> {
  readonly required: readonly Member[]
  /** What stood first last time. */
  first: Member
  readonly #byVendor = new Map<number, Map<number, Member>>()

  constructor(
    readonly dictionary: Dictionary,
    grammar: Grammar,
    readonly make: () => T,
  ) {
    for (const { avp, min, max } of grammar.members) this.add(avp, min, max)
    this.required = [...this.#byVendor.values()].flatMap(codes => [...codes.values()]).filter(({ min }) => min > 0)
    this.first = new Member(nobody, newId(), 0, Infinity)
  }

  /** All that it has, in the grammar's order. */
  members(): Member[] {
    return [...this.#byVendor.values()].flatMap(codes => [...codes.values()]).sort((a, b) => a.id - b.id)
  }

  member(vendorId: number, code: number): Member | undefined {
    return this.#byVendor.get(vendorId)?.get(code)
  }

  add(avp: AvpDefinition, min: number, max: number): Member {
    const member = new Member(avp, newId(), min, max)
    let codes = this.#byVendor.get(avp.vendorId)
    if (!codes) this.#byVendor.set(avp.vendorId, (codes = new Map<number, Member>()))
    codes.set(avp.code, member)
    return member
  }

  /**
   * The member, or one made for an AVP that the grammar does not name and the dictionary has. It belongs to this table
   * alone: were it shared, its `next` could lead into another grammar's.
   */
  find(vendorId: number, code: number): Member | undefined {
    const member = this.member(vendorId, code)
    if (member !== undefined) return member
    const avp = this.dictionary.find(vendorId, code)
    if (avp === undefined) return undefined
    const stranger = this.add(avp, 0, Infinity)
    stranger.table = plainTable(this.dictionary, anything)
    return stranger
  }

  /** The table of a group in this one that nobody wants. */
  tableOf(member: Member): Table<unknown> {
    return (member.table ??= plainTable(this.dictionary, member.avp.grammar ?? anything))
  }
}

/** No AVP has this definition: where a guess begins. */
const nobody: AvpDefinition = { name: '', code: -1, vendorId: 0, type: 'OctetString', mandatory: false }

/** The grammar of a group where it was not expected: its AVPs are checked, their number is not. */
const anything: Grammar = { members: [], open: true }

const plainTables = new WeakMap<Dictionary, Map<Grammar, Table<unknown>>>()

function plainTable(dictionary: Dictionary, grammar: Grammar): Table<unknown> {
  let tables = plainTables.get(dictionary)
  if (!tables) plainTables.set(dictionary, (tables = new Map<Grammar, Table<unknown>>()))
  let table = tables.get(grammar)
  if (!table) tables.set(grammar, (table = new Table<unknown>(dictionary, grammar, () => undefined)))
  return table
}

/** Then `seen` is cleared and the numbers begin again, between messages. */
const LAST_INSTANCE = 2 ** 16
/** By member id: the group instance that had it last. A grammar never contains itself (dictionary.ts), so none is overwritten. */
let seen = new Int32Array(4096)
/** How often that instance had it, where it matters. */
let counts = new Int32Array(4096)
let ids = 0
let instances = 0
let avpsLeft = 0

function newId(): number {
  if (ids === seen.length) {
    const [oldSeen, oldCounts] = [seen, counts]
    seen = new Int32Array(ids * 2)
    counts = new Int32Array(ids * 2)
    seen.set(oldSeen)
    counts.set(oldCounts)
  }
  return ids++
}

function read<T>(table: Table<T>, octets: Buffer, from: number, end: number, depth: number): T {
  const instance = ++instances
  const into = table.make()
  let guess = table.first
  let previous: Member | undefined = undefined
  for (let at = from; at < end;) {
    if (end - at < 8) throw invalidLength(table.dictionary, octets, at, end)
    const code = u32(octets, at)
    const word = u32(octets, at + 4)
    const length = word & 0xffffff
    const vendorBit = word >>> 31
    const dataAt = at + 8 + 4 * vendorBit
    const dataEnd = at + length
    if (dataAt > dataEnd || dataEnd > end) throw invalidLength(table.dictionary, octets, at, end)
    if (--avpsLeft < 0) throw overLimit('the message has too many AVPs')
    const vendorId = vendorBit === 0 ? 0 : u32(octets, at + 8)
    let member: Member | undefined = guess
    if (member.code !== code || member.vendorId !== vendorId) {
      member = table.find(vendorId, code)
      if (member !== undefined) {
        if (previous === undefined) table.first = member
        else previous.next = member
      }
    }
    if (member !== undefined) {
      if (seen[member.id] !== instance) {
        if (member.max === 0) throw notAllowed(member.avp, copyOf(octets, at, dataEnd))
        seen[member.id] = instance
        if (member.counted) counts[member.id] = 1
      } else if (member.max === 1 || (member.counted && ++counts[member.id]! > member.max)) {
        throw tooMany(member.avp, copyOf(octets, at, dataEnd))
      }
      if (member.size >= 0 && dataEnd - dataAt !== member.size) throw invalidSize(member.avp, dataEnd - dataAt)
      take(table, member, into as object, octets, at, dataAt, dataEnd, depth)
      previous = member
      guess = member.next
    } else if ((word & (AVP_FLAG.MANDATORY << 24)) !== 0) {
      throw unsupported(vendorId, code, copyOf(octets, at, dataEnd))
    }
    at += (length + 3) & ~3
  }
  const { required } = table
  for (let i = 0; i < required.length; i++) {
    const member = required[i]!
    if (seen[member.id] !== instance || (member.counted && counts[member.id]! < member.min)) throw missing(member.avp)
  }
  return into
}

/** Checks one AVP's value, and sets its field when somebody wants it. */
function take(
  table: Table<unknown>,
  member: Member,
  into: object,
  octets: Buffer,
  at: number,
  from: number,
  to: number,
  depth: number,
): void {
  const { set } = member
  switch (member.kind) {
    case Kind.NUMBER:
      if (set !== undefined) set(into, u32(octets, from))
      return
    case Kind.ENUMERATED: {
      const value = i32(octets, from)
      if (member.enums !== undefined && !isNamed(member, value)) throw invalidValue(member.avp, copyOf(octets, at, to))
      if (set !== undefined) set(into, value)
      return
    }
    case Kind.WIDE:
      if (set !== undefined) set(into, u64(octets, from))
      return
    case Kind.OCTETS:
      if (set !== undefined) set(into, octets.subarray(from, to))
      return
    case Kind.UTF8:
    case Kind.IDENTITY: {
      const lowest = member.kind === Kind.IDENTITY ? 33 : 0
      let plain = true
      for (let i = from; plain && i < to; i++) plain = octets[i]! >= lowest && octets[i]! < 127
      if (plain) {
        if (set !== undefined) set(into, octets.toString('latin1', from, to))
        return
      }
      checkOther(member, into, octets, at, from, to)
      return
    }
    case Kind.GROUP: {
      const value = readGroup(table, member, octets, from, to, depth)
      if (set !== undefined) set(into, value)
      return
    }
    case Kind.RAW:
      take(table, member.checked!, into, octets, at, from, to, depth)
      set!(into, octets.subarray(at, (to + 3) & ~3))
      return
    default:
      checkOther(member, into, octets, at, from, to)
  }
}

/** The types that are rare, or texts that are not ASCII. */
function checkOther(member: Member, into: object, octets: Buffer, at: number, from: number, to: number): void {
  const format = dataFormats[member.avp.type as keyof typeof dataFormats]
  if (!format.legal(octets, from, to)) throw invalidValue(member.avp, copyOf(octets, at, to))
  if (member.set !== undefined) {
    const value: PlainValue = format.read(octets, from, to)
    member.set(into, value)
  }
}

function isNamed(member: Member, value: number): boolean {
  if (member.enumBits !== 0) return value >>> 5 === 0 && ((member.enumBits >>> value) & 1) === 1
  return member.enums!.has(value)
}

function readGroup(
  table: Table<unknown>,
  member: Member,
  octets: Buffer,
  from: number,
  to: number,
  depth: number,
): unknown {
  if (depth === 0) throw overLimit(`${member.avp.name} is nested too deep`)
  try {
    return read(table.tableOf(member), octets, from, to, depth - 1)
  } catch (error) {
    if (error instanceof DiameterError && error.failedAvp) error.failedAvp = wrapIn(member.avp, error.failedAvp)
    throw error
  }
}
