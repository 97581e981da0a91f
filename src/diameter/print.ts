/**
 * Messages as people read them, for traces: a heading, then one aligned line an AVP, groups indented. Enumerations by name,
 * times in UTC, money as decimals, texts without anything that a terminal would obey. Also the same as JSON.
 */
import { formatAmount, type UnitType } from '../units.js'
import { addressText } from './data-formats.js'
import type { AvpDefinition, Dictionary } from './dictionary.js'
import { ResultCode } from './errors.js'
import { FLAG } from './header.js'
import { decodeTree, type AvpTree, type MessageTree } from './tree.js'

/** An AVP as JSON. */
export interface PrintedAvp {
  readonly avp: string
  /** A group's AVPs; octets as hexadecimal digits; 64-bit numbers that JSON cannot hold as text. */
  readonly value: string | number | readonly PrintedAvp[]
  /** What the number stands for. */
  readonly name?: string
}

export interface PrintedMessage {
  /** `CCR`, or the command code where no dictionary has it. */
  readonly command: string
  readonly flags: string
  readonly applicationId: number
  readonly hopByHop: number
  readonly endToEnd: number
  readonly octets: number
  readonly avps: readonly PrintedAvp[]
}

/** Where a block says that a message went. */
export interface Passage {
  /** Unix ms. */
  readonly at: number
  readonly from: string
  readonly to: string
}

const indentColumns = 2
/** Values begin here, or two columns behind a name that is longer. */
const valueColumn = 42
/** Octets of a value that are shown. */
const hexShown = 64

export class MessagePrinter {
  /** @param currency name of an ISO 4217 number, like `EUR` */
  constructor(
    private readonly dictionary: Dictionary,
    private readonly currency: (code: number) => string | undefined = () => undefined,
  ) {}

  /** @throws DiameterError when the octets are no AVPs */
  tree(octets: Buffer): MessageTree {
    return decodeTree(this.dictionary, octets)
  }

  /** One message: the passage and what it is, then its AVPs. */
  block(passage: Passage, octets: Buffer): string[] {
    const { at, from, to } = passage
    let body: string[]
    try {
      const tree = this.tree(octets)
      body = [this.summary(tree), ...this.lines(tree.avps, 1)]
    } catch {
      body = ['not decodable', `  ${hexOf(octets)}`]
    }
    return [`${clockTime(at)}  ${printable(from)} -> ${printable(to)}`, ...body]
  }

  /** `CCA 2001 SUCCESS, INITIAL_REQUEST 0`, with the flags, identifiers and length of its header. */
  summary({ header, avps }: MessageTree): string {
    const number = (name: string): number | undefined => {
      const value = avps.find(avp => avp.name === name)?.value
      return typeof value === 'number' ? value : undefined
    }
    const resultCode = number('Result-Code')
    const type = number('CC-Request-Type')
    const what = [
      this.commandOf(header.commandCode, header.flags),
      ...(resultCode === undefined ? [] : [String(resultCode), resultNames.get(resultCode) ?? '']),
      ...(type === undefined ? [] : [`${this.nameOf('CC-Request-Type', type)} ${number('CC-Request-Number') ?? ''}`]),
    ]
    const ids = `hop-by-hop ${hex32(header.hopByHop)}, end-to-end ${hex32(header.endToEnd)}`
    return `${what.join(' ').trim()}   [${flagsOf(header.flags)}] application ${header.applicationId}, ${ids}, ${header.length} octets`
  }

  /** @param depth how often indented */
  lines(avps: readonly AvpTree[], depth = 0): string[] {
    return avps.flatMap(avp => {
      const name = `${' '.repeat(depth * indentColumns)}${labelOf(avp)}`
      const value = this.valueText(avp)
      const line = value === '' ? name : `${name.padEnd(valueColumn - 2)}  ${value}`
      return [line, ...(Array.isArray(avp.value) ? this.lines(avp.value, depth + 1) : [])]
    })
  }

  /** @throws DiameterError when the octets are no AVPs */
  json(octets: Buffer): PrintedMessage {
    const { header, avps } = this.tree(octets)
    const { commandCode, flags, applicationId, hopByHop, endToEnd, length } = header
    return {
      ...{ command: this.commandOf(commandCode, flags), flags: flagsOf(flags), applicationId, hopByHop, endToEnd },
      ...{ octets: length, avps: avps.map(avp => this.jsonOf(avp)) },
    }
  }

  private jsonOf(avp: AvpTree): PrintedAvp {
    const { name, value } = avp
    if (Array.isArray(value)) return { avp: name, value: value.map(each => this.jsonOf(each)) }
    if (Buffer.isBuffer(value)) {
      const address = this.definition(avp)?.type === 'Address'
      return { avp: name, value: address ? addressText(value) : value.toString('hex') }
    }
    if (typeof value === 'string') return { avp: name, value }
    const plain =
      typeof value === 'bigint' && (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER)
        ? String(value)
        : Number(value)
    const meaning = typeof value === 'number' ? this.meaningOf(avp, value) : undefined
    return { avp: name, value: plain, ...(meaning !== undefined && { name: meaning }) }
  }

  private commandOf(code: number, flags: number): string {
    const command = this.dictionary.command(code, (flags & FLAG.REQUEST) !== 0)
    return command?.abbreviation ?? `command ${code} ${flags & FLAG.REQUEST ? 'request' : 'answer'}`
  }

  private valueText(avp: AvpTree): string {
    const { value } = avp
    if (Array.isArray(value)) return moneyOf(avp) ?? ''
    if (Buffer.isBuffer(value)) return this.octetsText(avp, value)
    if (typeof value === 'string') return printable(value)
    const meaning = typeof value === 'number' ? this.meaningOf(avp, value) : undefined
    if (meaning !== undefined) return `${value} ${meaning}`
    const unit = unitOf(avp.name)
    const amount = unit && formatAmount(unit, BigInt(value))
    return amount === undefined || amount.startsWith(`${value} `) ? String(value) : `${value} (${amount})`
  }

  private octetsText(avp: AvpTree, octets: Buffer): string {
    if (octets.length === 0) return '(empty)'
    const definition = this.definition(avp)
    if (definition?.type === 'Address') return addressText(octets)
    if (isPrintable(octets)) return `"${octets.toString('latin1')}"`
    const bare = octets.length === 4 && bareAddresses.has(avp.name) ? ` (${octets.join('.')})` : ''
    const rat = avp.name === '3GPP-RAT-Type' ? ratNames[octets[0]!] : undefined
    return `${hexOf(octets)}${bare}${rat === undefined ? '' : ` ${rat}`}`
  }

  /** A number's name, a moment's date; undefined: the number says it all. */
  private meaningOf(avp: AvpTree, value: number): string | undefined {
    const definition = this.definition(avp)
    if (definition?.type === 'Time') return new Date(value * 1000).toISOString().replace('.000Z', 'Z')
    if (avp.name === 'Result-Code') return resultNames.get(value)
    if (avp.name === 'Currency-Code') return this.currency(value)
    if (avp.name === 'Vendor-Id' || avp.name === 'Supported-Vendor-Id') return vendorNames[value]
    if (avp.name.endsWith('-Application-Id')) return applicationNames[value]
    return definition?.enums?.get(value)
  }

  private nameOf(name: string, value: number): string {
    return (this.dictionary.hasAvp(name) ? this.dictionary.avp(name).enums?.get(value) : undefined) ?? String(value)
  }

  private definition({ vendorId, code }: AvpTree): AvpDefinition | undefined {
    return this.dictionary.find(vendorId, code)
  }
}

/** `2026-01-15 12:00:00.123Z`. */
const clockTime = (at: number): string => new Date(at).toISOString().replace('T', ' ')

/** A text that came from outside, without what a terminal would obey or what would break the line. */
export const printable = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/gu, letter => `\\u{${letter.codePointAt(0)!.toString(16)}}`)

const isPrintable = (octets: Buffer): boolean => octets.every(octet => octet >= 0x20 && octet < 0x7f)

/** Digits x 10^exponent as a decimal: `12.34`; undefined where that would be no reading. */
export function decimal(digits: bigint, exponent: number): string | undefined {
  if (exponent > 18 || exponent < -18) return undefined
  const sign = digits < 0n ? '-' : ''
  const whole = (digits < 0n ? -digits : digits) * 10n ** BigInt(Math.max(0, exponent))
  if (exponent >= 0) return `${sign}${whole}`
  const text = String(whole).padStart(1 - exponent, '0')
  return `${sign}${text.slice(0, exponent)}.${text.slice(exponent)}`
}

/** A Unit-Value in one reading; its digits and exponent follow it. */
function moneyOf({ name, value }: AvpTree): string | undefined {
  if (name !== 'Unit-Value' || !Array.isArray(value)) return undefined
  const digits = value.find(avp => avp.name === 'Value-Digits')?.value
  const exponent = value.find(avp => avp.name === 'Exponent')?.value ?? 0
  return typeof digits === 'bigint' && typeof exponent === 'number' ? decimal(digits, exponent) : undefined
}

/** An AVP that no dictionary has is named by its code and vendor. */
const labelOf = ({ name, code, vendorId }: AvpTree): string =>
  name.includes(':') ? `AVP ${code}${vendorId === 0 ? '' : ` of vendor ${vendorId}`}` : name

function flagsOf(flags: number): string {
  const letters: readonly (readonly [number, string])[] = [
    [FLAG.REQUEST, 'R'],
    [FLAG.PROXIABLE, 'P'],
    [FLAG.ERROR, 'E'],
    [FLAG.RETRANSMITTED, 'T'],
  ]
  return letters.map(([bit, letter]) => (flags & bit ? letter : '-')).join('')
}

function hexOf(octets: Buffer): string {
  const shown = octets.toString('hex', 0, hexShown)
  return octets.length > hexShown ? `${shown}... (${octets.length} octets)` : shown
}

const hex32 = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`

const unitOf = (name: string): UnitType | undefined =>
  octetAvps.has(name) ? 'octets' : secondAvps.has(name) ? 'seconds' : undefined

const octetAvps: ReadonlySet<string> = new Set([
  ...['CC-Total-Octets', 'CC-Input-Octets', 'CC-Output-Octets', 'Volume-Quota-Threshold'],
])
const secondAvps: ReadonlySet<string> = new Set([
  ...['CC-Time', 'Validity-Time', 'Time-Quota-Threshold', 'Quota-Holding-Time', 'Quota-Consumption-Time'],
  ...['Base-Time-Interval', 'Authorization-Lifetime', 'Auth-Grace-Period', 'Session-Timeout'],
])
const bareAddresses: ReadonlySet<string> = new Set([
  ...['3GPP-SGSN-Address', '3GPP-GGSN-Address', '3GPP-CG-Address', 'Framed-IP-Address'],
])

const resultNames: ReadonlyMap<number, string> = new Map(
  Object.entries(ResultCode).map(([name, code]) => [code, name] as const),
)
const vendorNames: Readonly<Record<number, string>> = { 0: 'IETF', 10415: '3GPP', 13019: 'ETSI' }
const applicationNames: Readonly<Record<number, string>> = {
  0: 'base',
  3: 'accounting',
  4: 'credit control',
  16777302: 'Sy',
  0xffffffff: 'relay',
}
/** TS 29.061 section 16.4.7.2. */
const ratNames: Readonly<Record<number, string>> = {
  ...{
    1: 'UTRAN',
    2: 'GERAN',
    3: 'WLAN',
    4: 'GAN',
    5: 'HSPA-EVOLUTION',
    6: 'EUTRAN',
    7: 'VIRTUAL',
    8: 'EUTRAN-NB-IoT',
  },
  ...{ 9: 'LTE-M', 51: 'NR', 52: 'NR-UNLICENSED', 53: 'WLAN-TRUSTED', 55: 'WIRELINE' },
}
