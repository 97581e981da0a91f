/**
 * AVPs and commands by name and code, read from YAML tables: `avps` are rows, `groups` and `commands` are grammars as the
 * specifications print them, `enums` adds values to an Enumerated of another file. The shipped tables are in
 * `dictionaries/`; an operator's own folder may add vendors and redefines nothing.
 *
 *     vendor: 10415                  # of this file's AVPs, unless a row says otherwise; 0 when absent
 *     avps:
 *       Trigger-Type: { code: 870, type: Enumerated, flags: MV, enum: { 1: CHANGE_IN_SGSN_IP_ADDRESS } }
 *     groups:
 *       Trigger: '*[ Trigger-Type ]'
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMap, isScalar, LineCounter, parseDocument, type Node, type Pair, type Scalar } from 'yaml'
import { dataTypeNames, type DataTypeName } from './data-formats.js'
import { GrammarError, parseCommand, parseRules, type Rule } from './grammar.js'

export interface AvpDefinition {
  readonly name: string
  readonly code: number
  /** 0: an AVP of the IETF, without V bit. */
  readonly vendorId: number
  readonly type: DataTypeName
  /** The M bit of what we send. What we receive may have another: peers differ. */
  readonly mandatory: boolean
  /** Names by value. The values of an Enumerated are checked against it; for other types they are names only. */
  readonly enums?: ReadonlyMap<number, string>
  /** Every Grouped AVP has one; a group without known members has an empty open grammar. */
  readonly grammar?: Grammar
}

export interface Grammar {
  readonly members: readonly Member[]
  /** It ends with `*[ AVP ]`. Ours: groups without it take further AVPs as well, for newer releases add members. */
  readonly open: boolean
}

export interface Member {
  readonly avp: AvpDefinition
  readonly min: number
  /** Infinity without a limit; 0 forbids it, RFC 6733 section 7.1.5, 5008. */
  readonly max: number
  /** Has a fixed place in what we send. */
  readonly fixed: boolean
}

export interface CommandDefinition {
  readonly name: string
  /** `CCR`; the same as the name where there is none. */
  readonly abbreviation: string
  readonly code: number
  readonly request: boolean
  readonly proxiable: boolean
  /** What its header says; 0 for the base protocol. */
  readonly applicationId: number
  readonly grammar: Grammar
}

export class Dictionary {
  readonly #byName = new Map<string, AvpDefinition>()
  readonly #byVendor = new Map<number, Map<number, AvpDefinition>>()
  readonly #commandByName = new Map<string, CommandDefinition>()
  readonly #commandByCode = new Map<number, CommandDefinition>()

  /**
   * @param answerMessage the grammar of an answer with the E bit, whatever its command: RFC 6733 section 7.2
   */
  constructor(
    readonly avps: readonly AvpDefinition[],
    readonly commands: readonly CommandDefinition[],
    readonly answerMessage: CommandDefinition,
  ) {
    for (const avp of avps) {
      this.#byName.set(avp.name, avp)
      let codes = this.#byVendor.get(avp.vendorId)
      if (!codes) this.#byVendor.set(avp.vendorId, (codes = new Map<number, AvpDefinition>()))
      codes.set(avp.code, avp)
    }
    for (const command of [...commands, answerMessage]) {
      this.#commandByName.set(command.name, command).set(command.abbreviation, command)
    }
    for (const command of commands) this.#commandByCode.set(commandKey(command.code, command.request), command)
  }

  /** @throws Error when no AVP has this name: a fault of the program, not of a peer */
  avp(name: string): AvpDefinition {
    const found = this.#byName.get(name)
    if (!found) throw new Error(`no dictionary has an AVP ${name}`)
    return found
  }

  hasAvp(name: string): boolean {
    return this.#byName.has(name)
  }

  find(vendorId: number, code: number): AvpDefinition | undefined {
    return this.#byVendor.get(vendorId)?.get(code)
  }

  command(code: number, request: boolean): CommandDefinition | undefined {
    return this.#commandByCode.get(commandKey(code, request))
  }

  /**
   * @param name `Credit-Control-Request` or `CCR`
   * @throws Error when no command has this name
   */
  commandByName(name: string): CommandDefinition {
    const found = this.#commandByName.get(name)
    if (!found) throw new Error(`no dictionary has a command ${name}`)
    return found
  }

  /** The grammar of a command or of a Grouped AVP. */
  grammar(name: string): Grammar {
    const grammar = this.#commandByName.get(name)?.grammar ?? this.#byName.get(name)?.grammar
    if (!grammar) throw new Error(`no dictionary has a command or a group ${name}`)
    return grammar
  }
}

const commandKey = (code: number, request: boolean): number => code * 2 + Number(request)

const shipped = fileURLToPath(new URL('../../dictionaries/', import.meta.url))

/**
 * Reads every `*.yaml` of the shipped folder and then of these, in order of name.
 *
 * @throws Error one, whose message lists every fault as `file:line:column: what is wrong; what to do`
 */
export function loadDictionary(folders: readonly string[] = []): Dictionary {
  const reader = new Reader()
  for (const folder of [shipped, ...folders]) {
    for (const file of tablesOf(folder, reader)) reader.readTable(file)
  }
  return reader.finish()
}

function tablesOf(folder: string, reader: Reader): string[] {
  try {
    const names = readdirSync(folder).filter(name => /\.ya?ml$/.test(name))
    return names.sort().map(name => join(folder, name))
  } catch (cause) {
    reader.faults.push(`${folder}: cannot be read (${(cause as Error).message}); name an existing folder`)
    return []
  }
}

/** Definitions while they are put together. */
type Draft<T> = { -readonly [K in keyof T]: T[K] }
type AvpDraft = Omit<Draft<AvpDefinition>, 'enums'> & { enums?: Map<number, string> }

/** A YAML file and how to point into it. */
interface Source {
  readonly path: string
  readonly text: string
  readonly lines: LineCounter
}

interface GrammarText {
  readonly source: Source
  readonly at: number
  readonly text: string
  readonly name: string
}

const tableKeys = ['vendor', 'avps', 'enums', 'groups', 'commands']
const rowKeys = ['code', 'type', 'flags', 'vendor', 'enum']

/** Collects tables and faults; grammars are looked at when all AVPs are known. */
class Reader {
  readonly faults: string[] = []
  readonly #avps = new Map<string, AvpDraft>()
  /** Name of an AVP by `vendor:code`. */
  readonly #codes = new Map<string, string>()
  /** Where an AVP is defined, by its name. */
  readonly #places = new Map<string, string>()
  readonly #enums: { source: Source; pair: Pair }[] = []
  readonly #groups: GrammarText[] = []
  readonly #commands: GrammarText[] = []

  readTable(path: string): void {
    const near = relative(process.cwd(), path)
    const source: Source = {
      path: near.startsWith('..') ? path : near,
      text: readFileSync(path, 'utf8'),
      lines: new LineCounter(),
    }
    const document = parseDocument(source.text, { lineCounter: source.lines, prettyErrors: false })
    const [error] = document.errors // those after it mostly follow from it
    if (error)
      this.#fault(source, error.pos[0], `not valid YAML: ${error.message}; see the shipped tables for the form`)
    if (error || document.contents === null) return
    const root = this.#pairs(source, document.contents, 'the file')
    let vendorId = 0
    for (const pair of root) {
      const key = keyOf(pair)
      if (key === 'vendor') vendorId = this.#number(source, pair, 2 ** 32 - 1) ?? 0
      else if (!tableKeys.includes(key)) this.#unknownKey(source, pair, tableKeys)
    }
    const section = (name: string): Pair[] => {
      const pair = root.find(each => keyOf(each) === name)
      return pair ? this.#pairs(source, pair.value as Node | null, name) : []
    }
    for (const pair of section('avps')) this.#readAvp(source, pair, vendorId)
    for (const pair of section('enums')) this.#enums.push({ source, pair })
    for (const pair of section('groups')) this.#readText(source, pair, this.#groups)
    for (const pair of section('commands')) this.#readText(source, pair, this.#commands)
  }

  #readAvp(source: Source, row: Pair, fileVendor: number): void {
    const name = keyOf(row)
    const at = startOf(row.key)
    const columns = new Map(this.#pairs(source, row.value as Node | null, name).map(pair => [keyOf(pair), pair]))
    for (const [key, pair] of columns) if (!rowKeys.includes(key)) this.#unknownKey(source, pair, rowKeys)
    const [code, vendor, type, flags, enums] = (['code', 'vendor', 'type', 'flags', 'enum'] as const).map(key =>
      columns.get(key),
    )
    if (!/^[A-Za-z0-9][A-Za-z0-9-]*$/.test(name)) this.#fault(source, at, `${name} is no AVP name; use A-Z, 0-9 and -`)
    if (!code) this.#fault(source, at, `${name} has no code; add code: NUMBER`)
    if (!type) this.#fault(source, at, `${name} has no type; add type: one of ${dataTypeNames.join(', ')}`)
    const flagsSet = this.#flags(source, flags)
    const draft: AvpDraft = {
      name,
      code: (code && this.#number(source, code, 2 ** 32 - 1)) ?? -1,
      vendorId: (vendor ? this.#number(source, vendor, 2 ** 32 - 1) : fileVendor) ?? -1,
      type: (type && this.#type(source, type)) ?? 'OctetString',
      mandatory: flagsSet.includes('M'),
    }
    if (flags && draft.vendorId === 0 && flagsSet.includes('V')) {
      this.#fault(source, startOf(flags.value), `${name} has flag V and no vendor; add vendor: NUMBER, or drop V`)
    }
    if (enums) draft.enums = this.#values(source, enums, name)
    const known = this.#places.get(name)
    const sameCode = this.#codes.get(`${draft.vendorId}:${draft.code}`)
    if (known !== undefined) {
      this.#fault(source, at, `AVP ${name} is defined in ${known} already; remove one, or add values under enums:`)
    } else if (sameCode) {
      this.#fault(
        source,
        startOf(code?.value ?? row.key),
        `code ${draft.code} of vendor ${draft.vendorId} is ${sameCode} already (${this.#places.get(sameCode)!}); use that name`,
      )
    } else {
      this.#avps.set(name, draft)
      if (draft.code >= 0) this.#codes.set(`${draft.vendorId}:${draft.code}`, name)
      this.#places.set(name, this.#place(source, at))
    }
  }

  #readText(source: Source, pair: Pair, into: GrammarText[]): void {
    const node = pair.value as Scalar | null
    if (!isScalar(node) || typeof node.value !== 'string' || !node.range) {
      this.#fault(source, startOf(pair.key), `${keyOf(pair)} needs a grammar; write it as a text, in quotes or after |`)
      return
    }
    // The source itself is read instead of the value, so that places in it are places in the file. Quotes and block
    // marks are blanked out; grammars have no escapes.
    const [at, end] = node.range
    const raw = source.text.slice(at, end)
    const text = raw.replace(/^[|>][^\n]*|^['"]|['"]$/g, mark => ' '.repeat(mark.length))
    into.push({ source, at, text, name: keyOf(pair) })
  }

  /** Everything is read: looks up what the grammars name. */
  finish(): Dictionary {
    for (const { source, pair } of this.#enums) this.#extendEnum(source, pair)
    for (const avp of this.#avps.values()) if (avp.type === 'Grouped') avp.grammar = { members: [], open: true }
    for (const group of this.#groups) this.#finishGroup(group)
    this.#refuseCycles()
    const commands = new Map<number, CommandDefinition>()
    for (const text of this.#commands) {
      const command = this.#finishCommand(text)
      if (!command) continue
      const key = commandKey(command.code, command.request)
      const other = commands.get(key)
      if (other) {
        this.#fault(text.source, text.at, `${command.name} has the code of ${other.name}; give it a code of its own`)
      }
      commands.set(key, command)
    }
    const answerMessage = commands.get(commandKey(ANY_COMMAND, false))
    if (!answerMessage) this.faults.push(`${shipped}: no grammar of answer-message; reinstall ocsd`)
    if (this.faults.length > 0) throw new Error(this.faults.join('\n'))
    const named = [...commands.values()].filter(command => command.code !== ANY_COMMAND)
    return new Dictionary([...this.#avps.values()], named, answerMessage!)
  }

  #extendEnum(source: Source, pair: Pair): void {
    const name = keyOf(pair)
    const avp = this.#avps.get(name)
    if (!avp) this.#unknownName(source, startOf(pair.key), name)
    const values = this.#values(source, pair, name)
    if (!avp) return
    avp.enums ??= new Map()
    for (const [value, label] of values) {
      const known = avp.enums.get(value)
      if (known !== undefined && known !== label) {
        this.#fault(source, startOf(pair.key), `${name} ${value} is ${known} already; leave it out`)
      }
      avp.enums.set(value, label)
    }
  }

  #finishGroup({ source, at, text, name }: GrammarText): void {
    const avp = this.#avps.get(name)
    if (!avp) {
      this.#unknownName(source, at, name)
    } else if (avp.type !== 'Grouped') {
      this.#fault(source, at, `${name} is ${avp.type} and has no members; make its type Grouped, or remove its grammar`)
    } else {
      const rules = this.#parse(source, at, () => parseRules(text))
      if (rules) avp.grammar = this.#grammar(source, at, rules)
    }
  }

  #finishCommand({ source, at, text, name }: GrammarText): CommandDefinition | undefined {
    const rule = this.#parse(source, at, () => parseCommand(text))
    if (!rule) return undefined
    const { request, proxiable, applicationId } = rule
    const grammar = this.#grammar(source, at, rule.rules)
    return {
      name: rule.name,
      abbreviation: name,
      code: rule.code ?? ANY_COMMAND,
      request,
      proxiable,
      applicationId,
      grammar,
    }
  }

  #grammar(source: Source, at: number, rules: readonly Rule[]): Grammar {
    const members: Member[] = []
    for (const { name, min, max, fixed, at: offset } of rules) {
      if (name === 'AVP') continue
      const avp = this.#avps.get(name)
      if (!avp) this.#unknownName(source, at + offset, name)
      else if (members.some(member => member.avp === avp)) {
        this.#fault(source, at + offset, `${name} is named twice; say how often it may occur in one place`)
      } else members.push({ avp, min, max, fixed })
    }
    return { members, open: rules.some(rule => rule.name === 'AVP') }
  }

  /** A group in itself would need a count of occurrences per depth; no specification has one. */
  #refuseCycles(): void {
    const done = new Set<AvpDefinition>()
    const walk = (avp: AvpDefinition, path: readonly AvpDefinition[]): void => {
      if (path.includes(avp)) {
        const names = [...path.slice(path.indexOf(avp)), avp].map(each => each.name).join(' > ')
        this.faults.push(`${this.#places.get(avp.name)!}: ${names}: a group contains itself; let *[ AVP ] stand for it`)
        return
      }
      if (done.has(avp)) return
      for (const member of avp.grammar?.members ?? []) walk(member.avp, [...path, avp])
      done.add(avp)
    }
    for (const avp of this.#avps.values()) walk(avp, [])
  }

  #parse<T>(source: Source, at: number, parse: () => T): T | undefined {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof GrammarError)) throw error
      this.#fault(source, at + error.at, error.message)
      return undefined
    }
  }

  #pairs(source: Source, node: Node | null, what: string): Pair[] {
    if (isMap(node)) return node.items
    this.#fault(source, startOf(node), `${what} must be a table of names; write NAME: ... lines`)
    return []
  }

  #number(source: Source, pair: Pair, max: number): number | undefined {
    const value = scalarOf(pair)
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value
    this.#fault(source, startOf(pair.value), `${keyOf(pair)} must be a whole number from 0 to ${max}`)
    return undefined
  }

  #type(source: Source, pair: Pair): DataTypeName | undefined {
    const value = scalarOf(pair)
    const found = dataTypeNames.find(name => name === value)
    if (!found) {
      const near = nearest(String(value), dataTypeNames)
      this.#fault(source, startOf(pair.value), `unknown type ${String(value)}; ${near ?? dataTypeNames.join(', ')}`)
    }
    return found
  }

  #flags(source: Source, pair: Pair | undefined): string {
    if (!pair) return ''
    const value = scalarOf(pair)
    if (typeof value === 'string' && /^(M|V|MV|VM)?$/.test(value)) return value
    this.#fault(source, startOf(pair.value), `flags must be M, V, MV, or left out`)
    return ''
  }

  #values(source: Source, pair: Pair, name: string): Map<number, string> {
    const values = new Map<number, string>()
    for (const item of this.#pairs(source, pair.value as Node | null, `the values of ${name}`)) {
      const value = isScalar(item.key) ? item.key.value : undefined
      const label = scalarOf(item)
      if (typeof value !== 'number' || !Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 32) {
        this.#fault(source, startOf(item.key), `a value of ${name} must be a whole number, as in 1: NAME`)
      } else if (typeof label !== 'string') {
        this.#fault(source, startOf(item.key), `${name} ${value} needs a text as its name; put it in quotes`)
      } else values.set(value, label)
    }
    return values
  }

  #unknownKey(source: Source, pair: Pair, keys: readonly string[]): void {
    const hint = nearest(keyOf(pair), keys) ?? `known are ${keys.join(', ')}`
    this.#fault(source, startOf(pair.key), `unknown key ${keyOf(pair)}; ${hint}`)
  }

  #unknownName(source: Source, at: number, name: string): void {
    const hint = nearest(name, this.#avps.keys()) ?? 'add a row for it under avps:'
    this.#fault(source, at, `no dictionary has an AVP ${name}; ${hint}`)
  }

  #fault(source: Source, at: number, text: string): void {
    this.faults.push(`${this.#place(source, at)}: ${text}`)
  }

  #place(source: Source, at: number): string {
    const { line, col } = source.lines.linePos(at)
    return `${source.path}:${line}:${col}`
  }
}

/** The code of answer-message: its header says `code`. */
const ANY_COMMAND = -1

const keyOf = (pair: Pair): string => (isScalar(pair.key) ? String(pair.key.value) : '')
const scalarOf = (pair: Pair): unknown => (isScalar(pair.value) ? pair.value.value : undefined)
const startOf = (node: unknown): number => (node as Node | null)?.range?.[0] ?? 0

/** "did you mean ...?" when one of the names is at most two letters away. */
function nearest(name: string, names: Iterable<string>): string | undefined {
  let best: string | undefined
  let least = 3
  for (const each of names) {
    const distance = Math.abs(each.length - name.length) < least ? distanceOf(name, each) : least
    if (distance < least) [best, least] = [each, distance]
  }
  return best === undefined ? undefined : `did you mean ${best}?`
}

/** Letters to insert, remove or replace: Levenshtein. */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min(row[j]! + Number(a[i] !== b[j]), row[j + 1]! + 1, next[j]! + 1))
    }
    row = next
  }
  return row[b.length]!
}
