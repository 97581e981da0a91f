/**
 * Paths to AVPs of a message, as scripts write them: `Multiple-Services-Credit-Control[Rating-Group=10]/Validity-Time`, and
 * whether what is found is what was expected.
 */
import { parseDuration, parseSize } from '../config/quantity.js'
import { addressText } from '../diameter/data-formats.js'
import type { Dictionary } from '../diameter/dictionary.js'
import { ResultCode } from '../diameter/errors.js'
import type { AvpTree } from '../diameter/tree.js'

export interface PathStep {
  readonly name: string
  /** Only the n-th of this name, from 1. */
  readonly index: number | undefined
  /** Only a group that has this AVP with this value. */
  readonly where: { readonly name: string; readonly value: string } | undefined
}

export type Path = readonly PathStep[]

/** Undefined when it is no path. */
export function parsePath(text: string): Path | undefined {
  const steps: PathStep[] = []
  for (const part of text.split('/')) {
    const match = /^([\w:-]+)(?:\[(?:(\d{1,4})|([\w-]+)=([^\]]*))\])?$/.exec(part)
    if (!match) return undefined
    const [, name, index, key, value] = match
    steps.push({
      name: name!,
      index: index === undefined ? undefined : Number(index),
      where: key === undefined ? undefined : { name: key, value: value! },
    })
  }
  return steps
}

/** All AVPs that the path leads to. */
export function follow(dictionary: Dictionary, avps: readonly AvpTree[], path: Path): AvpTree[] {
  const [step, ...rest] = path
  if (!step) return []
  const named = avps.filter(({ name }) => name === step.name)
  const found = named.filter(({ value }, i) => {
    if (step.index !== undefined && i !== step.index - 1) return false
    const { where } = step
    if (!where) return true
    return Array.isArray(value) && value.some(avp => avp.name === where.name && isValue(dictionary, avp, where.value))
  })
  if (rest.length === 0) return found
  return found.flatMap(({ value }) => (Array.isArray(value) ? follow(dictionary, value, rest) : []))
}

/**
 * Whether an AVP has this value: a number, a text, the name of an enumerated value or Result-Code, `0x…` for octets, a size or
 * duration, a time; or a comparison like `>= 10MiB`.
 */
export function isValue(dictionary: Dictionary, avp: AvpTree, expected: string): boolean {
  const comparison = /^(>=|<=|>|<|!=) *(.*)$/.exec(expected)
  const { value } = avp
  if (comparison) {
    const [, sign, text] = comparison
    if (sign === '!=') return !isValue(dictionary, avp, text!)
    const [a, b] = [numberOf(value), quantityOf(text!)]
    if (a === undefined || b === undefined) return false
    return sign === '>=' ? a >= b : sign === '<=' ? a <= b : sign === '>' ? a > b : a < b
  }
  if (Array.isArray(value)) return expected === 'present'
  if (Buffer.isBuffer(value)) {
    if (/^0x/i.test(expected)) return value.toString('hex') === expected.slice(2).toLowerCase()
    return value.toString('utf8') === expected || addressText(value) === expected
  }
  if (typeof value === 'string') return value === expected
  if (String(value) === expected) return true
  if (typeof value === 'number') {
    const definition = dictionary.find(avp.vendorId, avp.code)
    if (definition?.enums?.get(value) === expected) return true
    if (avp.name === 'Result-Code' && (ResultCode as Readonly<Record<string, number>>)[expected] === value) return true
    if (definition?.type === 'Time') return new Date(value * 1000).toISOString().startsWith(expected.replace(/Z$/, ''))
  }
  return quantityOf(expected) === BigInt(value)
}

/** A value as the script would write it. */
export function valueText(avp: AvpTree): string {
  const { value } = avp
  if (Buffer.isBuffer(value)) return `0x${value.toString('hex')}`
  return Array.isArray(value) ? `a group of ${value.length}` : String(value)
}

const numberOf = (value: AvpTree['value']): bigint | undefined =>
  typeof value === 'number' || typeof value === 'bigint' ? BigInt(value) : undefined

function quantityOf(text: string): bigint | undefined {
  if (/^-?\d{1,20}$/.test(text)) return BigInt(text)
  const ms = parseDuration(text)
  return parseSize(text) ?? (ms === undefined ? undefined : BigInt(Math.floor(ms / 1000)))
}
