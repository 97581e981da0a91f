/**
 * A small typed reader over YAML 1.2 documents (core schema) for configuration and catalog: every value keeps its place, a
 * reader that meets something wrong notes a fault and goes on, so that all faults are told at once as
 * `file:line:column: what is wrong; what to write instead`.
 */
import { relative } from 'node:path'
import { isAlias, isMap, isScalar, isSeq, parseDocument, Scalar, visit, type Document, type Node } from 'yaml'
import { parseMoney, type Micros } from '../units.js'
import { durationHint, formatDuration, hintForSize, parseDuration, parsePercent, parseSize } from './quantity.js'

export interface Fault {
  /** As it was given to the reader. */
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly column: number
  readonly message: string
  readonly hint: string | undefined
}

/** A value of a file, with its place and the list that its faults go to. */
export interface Value {
  readonly source: Source
  /** Keys from the top, like `rates.data-payg.price`; empty for the whole file. */
  readonly path: string
  readonly node: Node
}

export interface Source {
  readonly file: string
  readonly document: Document
  /** Offset of the first character of each line. */
  readonly lines: readonly number[]
  readonly faults: Fault[]
}

export interface Entry {
  readonly name: string
  /** The place of the name. */
  readonly key: Value
  readonly value: Value
}

/** Octets of one file: people write these. */
export const fileLimit = 8 * 1024 * 1024

/** Aliases of one file: enough for people, too few to unfold into a bomb. */
const aliasLimit = 1_000

/** Names in tables: they become parts of charging programs, ledger entries and metric labels. */
export const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/

/** `file:line:column: message; hint`, with the file's name relative to the working directory when it is below it. */
export function formatFault({ file, line, column, message, hint }: Fault): string {
  const shorter = relative('.', file)
  const shown = shorter === '' || shorter.startsWith('..') ? file : shorter
  return `${shown}:${line}:${column}: ${message}${hint === undefined ? '' : `; ${hint}`}`
}

/** Parses a file. Undefined when its syntax is broken, so that nothing more can be said about it; the faults say why. */
export function parseYaml(file: string, text: string, faults: Fault[]): Value | undefined {
  if (Buffer.byteLength(text) > fileLimit) {
    const hint = 'split it into several files'
    faults.push({ file, line: 1, column: 1, message: `the file is larger than ${fileLimit} octets`, hint })
    return undefined
  }
  const document = parseDocument(text, { prettyErrors: false, version: '1.2', schema: 'core' })
  const source: Source = { file, document, lines: lineStarts(text), faults }
  for (const problem of [...document.errors, ...document.warnings]) {
    faults.push({ file, ...place(source, problem.pos[0]), message: problem.message, hint: syntaxHints[problem.code] })
  }
  if (document.errors.some(problem => problem.code !== 'DUPLICATE_KEY')) return undefined
  const node = document.contents ?? new Scalar(null)
  const root = { source, path: '', node }
  return aliasesFit(root) ? root : undefined
}

const syntaxHints: Partial<Record<string, string>> = {
  DUPLICATE_KEY: 'keep one of them',
  TAB_AS_INDENT: 'indent with spaces',
  MULTIPLE_DOCS: 'write each into a file of its own',
  BAD_INDENT: 'indent the keys of one table alike',
  TAG_RESOLVE_FAILED: 'remove the tag',
}

function aliasesFit(root: Value): boolean {
  let count = 0
  visit(root.source.document, {
    Alias: () => {
      count++
    },
  })
  if (count > aliasLimit) fault(root, `the file has more than ${aliasLimit} aliases`, 'write the values out')
  return count <= aliasLimit
}

/** Our own, since yaml's LineCounter does not see the line ends inside of what it cannot parse. */
const lineStarts = (text: string): number[] => [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)]

function place(source: Source, offset: number): { line: number; column: number } {
  // Halving: a catalog asks this once for each of its rules.
  let [line, above] = [1, source.lines.length + 1]
  while (above - line > 1) {
    const middle = (line + above) >> 1
    if (source.lines[middle - 1]! <= offset) line = middle
    else above = middle
  }
  return { line, column: offset - source.lines[line - 1]! + 1 }
}

/** Where a value stands: `file:line:column` of the fault that would be noted there. */
export function whereIs(value: Value): { file: string; line: number; column: number } {
  return { file: value.source.file, ...place(value.source, value.node.range?.[0] ?? 0) }
}

/** Notes that a value is wrong. Returns undefined, which is what a reader of T returns then. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- lets readers write `return fault(...)`
export function fault<T>(value: Value, message: string, hint?: string): T | undefined {
  value.source.faults.push({ ...whereIs(value), message, hint })
  return undefined
}

/** What the value is called in a message. */
const called = (value: Value): string => value.path || 'the file'

const below = (parent: Value, step: string, node: Node | null): Value => ({
  source: parent.source,
  path: parent.path === '' ? step : step.startsWith('[') ? parent.path + step : `${parent.path}.${step}`,
  node: node ?? new Scalar(null),
})

/** The node an alias stands for. Faults inside it are told where it is written out. */
function resolved(value: Value): Node {
  if (!isAlias(value.node)) return value.node
  return (value.node.resolve(value.source.document) as Node | undefined) ?? value.node
}

/** Whether it is written as a table, where a table is one of several forms. */
export const isTable = (value: Value): boolean => isMap(resolved(value))

const isEmpty = (node: Node): boolean => isScalar(node) && node.value === null && (node.source ?? '') === ''

/**
 * A mapping with these keys. Missing keys are absent from the result; unknown ones are faults.
 *
 * @param advice what to do about keys that people may expect
 */
export function readFields<K extends string>(
  value: Value,
  keys: readonly K[],
  required: readonly K[] = [],
  advice: Readonly<Record<string, string>> = {},
): Partial<Record<K, Value>> {
  const result: Partial<Record<K, Value>> = {}
  const entries = readEntries(value)
  if (!entries) return result
  for (const { name, key, value: field } of entries) {
    if (keys.some(known => known === name)) result[name as K] = field
    else {
      const known = { '<<': 'YAML 1.2 has no merge keys: write the keys out', ...advice }
      const hint = Object.hasOwn(known, name)
        ? known[name as keyof typeof known]
        : (meant(name, keys) ?? `known: ${keys.join(', ')}`)
      fault(key, `unknown key \`${name}\` in ${called(value)}`, hint)
    }
  }
  for (const key of required.filter(name => !(name in result)))
    fault(value, `${called(value)} lacks \`${key}\``, `add \`${key}:\``)
  return result
}

/** A mapping with free names, like the table of rates. */
export function readTable(value: Value): Entry[] {
  const rule = 'use up to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit'
  return (readEntries(value) ?? []).filter(
    ({ name, key }) => namePattern.test(name) || fault(key, `\`${name}\` cannot be a name`, rule),
  )
}

/** A mapping with any keys. An empty value is an empty mapping: all of its lines may be commented out. */
export function readEntries(value: Value): Entry[] | undefined {
  const node = resolved(value)
  if (isEmpty(node)) return []
  if (!isMap(node)) return fault(value, `${called(value)} is not a table`, 'write indented `key: value` lines')
  const entries: Entry[] = []
  const names = new Set<string>()
  for (const pair of node.items) {
    const keyNode = pair.key as Node
    const name = isScalar(keyNode) ? (keyNode.source ?? String(keyNode.value)) : undefined
    const key = below(value, name ?? '?', keyNode)
    if (name === undefined) fault(key, `a key of ${called(value)} is not a word`)
    // A duplicate is a fault of the file already; the first one is read.
    else if (!names.has(name)) {
      names.add(name)
      entries.push({ name, key, value: below(value, name, (pair.value as Node | null) ?? emptyAfter(keyNode)) })
    }
  }
  return entries
}

/** Stands for the missing value of a key, at the key's place. */
function emptyAfter(key: Node): Node {
  const empty = new Scalar(null)
  if (key.range) empty.range = key.range
  return empty
}

/** A list, or one value that stands for a list of one. */
export function readList(value: Value): Value[] {
  const node = resolved(value)
  if (isEmpty(node)) return []
  if (!isSeq(node)) return [value]
  return node.items.map((item, index) => below(value, `[${index}]`, item as Node | null))
}

/** The text of a scalar as it stands in the file, and whether it is quoted. Undefined, with a fault, for anything else. */
function readScalar(value: Value, expected: string): { text: string; quoted: boolean } | undefined {
  const node = resolved(value)
  if (isAlias(node))
    return fault(value, `${called(value)}: there is no anchor \`${node.source}\``, 'define it with & above')
  if (!isScalar(node)) return fault(value, `${called(value)} is not ${expected}`)
  if (isEmpty(node)) return fault(value, `${called(value)} has no value`, `write ${expected}, or remove the key`)
  const quoted = node.type !== Scalar.PLAIN
  return { text: quoted ? String(node.value) : (node.source ?? String(node.value)), quoted }
}

/** Any text. */
export const readText = (value: Value): string | undefined => readScalar(value, 'a text')?.text

/** A text that a parser understands; it returns undefined for what it does not. */
export function readParsed<T>(
  value: Value,
  expected: string,
  parse: (text: string) => T | undefined,
  hint: string | ((text: string) => string),
): T | undefined {
  const scalar = readScalar(value, expected)
  if (!scalar) return undefined
  const result = parse(scalar.text)
  if (result !== undefined) return result
  return fault(
    value,
    `${called(value)}: \`${scalar.text}\` is not ${expected}`,
    typeof hint === 'string' ? hint : hint(scalar.text),
  )
}

/** One of some words. */
export function readChoice<K extends string>(value: Value, choices: readonly K[]): K | undefined {
  const find = (text: string): K | undefined => choices.find(choice => choice === text)
  const list = choices.join(', ')
  return readParsed(value, `one of ${list}`, find, text => meant(text, choices) ?? `write one of ${list}`)
}

export function readBoolean(value: Value): boolean | undefined {
  const parse = (text: string): boolean | undefined => (text === 'true' ? true : text === 'false' ? false : undefined)
  return readParsed(value, 'true or false', parse, 'write true or false')
}

export interface Range {
  readonly min: number
  readonly max: number
}

export function readInteger(value: Value, range: Range): number | undefined {
  const parse = (text: string): number | undefined => (/^-?\d{1,15}$/.test(text) ? Number(text) : undefined)
  const result = readParsed(value, 'a whole number', parse, `write a number from ${range.min} to ${range.max}`)
  return inRange(value, result, range, String)
}

/** Milliseconds. */
export function readDuration(
  value: Value,
  range: Range = { min: 0, max: Number.MAX_SAFE_INTEGER },
): number | undefined {
  const result = readParsed(value, 'a duration', parseDuration, durationHint)
  return inRange(value, result, range, formatDuration)
}

/** Octets. */
export function readSize(value: Value, range: Range): number | undefined {
  const result = readParsed(value, 'a size', parseSize, hintForSize)
  return inRange(value, result === undefined ? undefined : Number(result), range, octets => `${octets}B`)
}

export const readPercent = (value: Value): number | undefined =>
  readParsed(value, 'a share from 0% to 100%', parsePercent, 'write it like 20%')

export function readMoney(value: Value, sign: 'signed' | 'unsigned' = 'unsigned'): Micros | undefined {
  const hint = 'write a quoted decimal with at most six decimals, like "0.01"'
  const amount = readDecimal(value, 'an amount of money', parseMoney, hint)
  return amount !== undefined && amount < 0n && sign === 'unsigned'
    ? fault(value, `${called(value)} is negative`, 'write an amount of 0 or more')
    : amount
}

/** Quoted decimal text: a bare number would pass through binary fractions in most YAML tools. */
export function readDecimal<T>(
  value: Value,
  expected: string,
  parse: (text: string) => T | undefined,
  hint: string,
): T | undefined {
  const scalar = readScalar(value, expected)
  if (!scalar) return undefined
  if (!scalar.quoted && /^[-+]?[.,\d]+$/.test(scalar.text)) {
    return fault(value, `${called(value)}: ${scalar.text} is a bare number`, `quote it: "${scalar.text}"`)
  }
  const amount = parse(scalar.text)
  if (amount !== undefined) return amount
  return fault(value, `${called(value)}: \`${scalar.text}\` is not ${expected}`, hint)
}

function inRange(
  value: Value,
  result: number | undefined,
  { min, max }: Range,
  show: (n: number) => string,
): number | undefined {
  if (result === undefined || (result >= min && result <= max)) return result
  if (result < min) return fault(value, `${called(value)} is below ${show(min)}`, `write at least ${show(min)}`)
  return fault(value, `${called(value)} is above ${show(max)}`, `write at most ${show(max)}`)
}

/** `did you mean ...?` for a word that is close to a known one. */
export function meant(word: string, known: readonly string[]): string | undefined {
  const plain = (text: string): string => text.slice(0, 64).toLowerCase().replace(/[-_ ]/g, '')
  const distances = known.map(name => ({ name, distance: editDistance(plain(word), plain(name)) }))
  const nearest = distances.sort((a, b) => a.distance - b.distance)[0]
  if (!nearest || nearest.distance > Math.max(1, Math.floor(nearest.name.length / 3))) return undefined
  return `did you mean \`${nearest.name}\`?`
}

/** Letters to insert, remove, replace, or swap with their neighbour. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, index) => index)]
  for (let i = 1; i <= a.length; i++) {
    const above = rows[i - 1]!
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(replaced, above[j]! + 1, row[j - 1]! + 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j]!, rows[i - 2]![j - 2]! + 1)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}
