/**
 * Reads the catalog's YAML whole, checks it whole (design.md section 6): one wrong key and nothing of it is used. Faults
 * refuse; warnings tell what is allowed and probably not meant.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import {
  fault,
  meant,
  namePattern,
  parseYaml,
  readChoice,
  readDuration,
  readFields,
  readInteger,
  readList,
  readMoney,
  readParsed,
  readPercent,
  readTable,
  readText,
  whereIs,
  type Entry,
  type Fault,
  type Value,
} from '../config/yaml.js'
import { durationHint, hintForSize, parseDuration, parseSize } from '../config/quantity.js'
import { lineLimit, units, unitTypes, type Units, type UnitType } from '../units.js'
import { finalUnitActions } from './catalog.js'
import type { BucketKind, Catalog, Condition, Effect, Fee, Grant, Offer, QuotaTerms, Rule, Service } from './catalog.js'
import { compileRate, shortHash } from './price.js'
import type { CompiledRate } from './program.js'

export interface CatalogFile {
  readonly file: string
  readonly text: string
}

/** Warnings come with both: they do not refuse anything. */
export type CatalogOutcome =
  | { readonly catalog: Catalog; readonly warnings: readonly Fault[] }
  | { readonly faults: readonly Fault[]; readonly warnings: readonly Fault[] }

/** DIAMETER_END_USER_SERVICE_DENIED, _CREDIT_CONTROL_NOT_APPLICABLE, DIAMETER_AUTHORIZATION_REJECTED. */
const serviceDenied = 4010
const notApplicable = 4011
const authorizationRejected = 5003

const second = 1_000
const year = 366 * 86_400 * second
const unsigned32Max = 0xffff_ffff

/** What a service without `quota` gets: grants for about a minute of heavy use, reports at least once an hour. */
const defaultQuota: Record<UnitType, QuotaTerms> = {
  octets: quotaOf(10_000_000n, 100_000n, 100_000_000n),
  seconds: quotaOf(60n, 1n, 600n),
  events: quotaOf(1n, 1n, 10n),
}

function quotaOf(size: bigint, min: bigint, max: bigint): QuotaTerms {
  return { size: units(size), min: units(min), max: units(max), validity: 3_600, threshold: 0 }
}

/**
 * Reads a catalog from every `*.yaml` of a folder, in the order of their names, or from one file.
 *
 * @param path as it shall appear in faults
 */
export function loadCatalog(path: string): CatalogOutcome {
  let files: CatalogFile[]
  try {
    files = catalogFiles(path).map(file => ({ file, text: readFileSync(file, 'utf8') }))
  } catch (error) {
    const message = `the catalog cannot be read: ${(error as Error).message}`
    return refused(path, message, 'check the key `catalog` of the configuration')
  }
  if (files.length === 0) return refused(path, 'there is no *.yaml file in this folder', 'put the catalog there')
  return readCatalog(files)
}

function refused(file: string, message: string, hint: string): CatalogOutcome {
  return { faults: [{ file, line: 1, column: 1, message, hint }], warnings: [] }
}

function catalogFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  const names = readdirSync(path).filter(name => /\.ya?ml$/.test(name) && !name.startsWith('.'))
  return names.sort().map(name => join(path, name))
}

/** Everything that the files define so far; a name whose definition is wrong is kept as undefined, so that it is told once. */
interface Draft {
  readonly services: Map<string, Service | undefined>
  readonly rates: Map<string, { readonly unit: UnitType; readonly compiled: CompiledRate } | undefined>
  readonly buckets: Map<string, DraftBucket | undefined>
  /** Rates and buckets that some rule uses. */
  readonly used: Set<string>
  readonly ratingGroups: Set<number>
  readonly serviceIdentifiers: Set<number>
  readonly warnings: Fault[]
}

interface DraftBucket extends BucketKind {
  /** Where it is first granted. */
  readonly at: Value
}

const sections = ['currency', 'services', 'rates', 'offers'] as const

/** Reads a catalog from texts; no I/O. */
export function readCatalog(files: readonly CatalogFile[]): CatalogOutcome {
  const faults: Fault[] = []
  const roots = files.map(({ file, text }) => parseYaml(file, text, faults))
  const readable = roots.filter(root => root !== undefined)
  // With a file missing, half of the references would be unknown for no fault of theirs.
  if (readable.length < roots.length) return { faults: inOrder(faults), warnings: [] }

  const tops = readable.map(root => readFields(root, sections))
  const draft: Draft = {
    services: new Map(),
    rates: new Map(),
    buckets: new Map(),
    used: new Set(),
    ratingGroups: new Set(),
    serviceIdentifiers: new Set(),
    warnings: [],
  }
  const collect = (section: (typeof sections)[number]): Entry[] =>
    collectEntries(tops.map(top => top[section]).filter(value => value !== undefined))
  const rateEntries = collect('rates')
  const offerEntries = collect('offers')

  const currency = readCurrency(
    tops.map(top => top.currency).filter(value => value !== undefined),
    readable[0]!,
  )
  readServices(draft, collect('services'))
  for (const { name, value } of rateEntries) draft.rates.set(name, readRate(name, value))
  const offers = readOffers(draft, offerEntries)
  for (const { name, key } of rateEntries)
    if (!draft.used.has(name)) warn(draft, key, `no rule uses the rate \`${name}\``)

  const warnings = inOrder(draft.warnings)
  if (faults.length > 0 || currency === undefined) return { faults: inOrder(faults), warnings }
  return { catalog: finish(currency, draft, offers), warnings }
}

const inOrder = (faults: readonly Fault[]): Fault[] =>
  [...faults].sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column))

function warn(draft: Draft, value: Value, message: string, hint?: string): void {
  draft.warnings.push({ ...whereIs(value), message, hint })
}

function shownPlace(value: Value): string {
  const { file, line, column } = whereIs(value)
  return `${file}:${line}:${column}`
}

/** The entries of one section over all files; a name may be defined once. */
function collectEntries(tables: readonly Value[]): Entry[] {
  const entries = new Map<string, Entry>()
  for (const entry of tables.flatMap(readTable)) {
    const earlier = entries.get(entry.name)
    if (!earlier) entries.set(entry.name, entry)
    else
      fault(
        entry.key,
        `\`${entry.name}\` is already defined at ${shownPlace(earlier.key)}`,
        'rename or remove one of them',
      )
  }
  return [...entries.values()]
}

function readCurrency(values: readonly Value[], root: Value): string | undefined {
  const [first, ...others] = values
  if (!first) return fault(root, 'the catalog lacks `currency`', 'add `currency: EUR`')
  for (const other of others) fault(other, `currency is already given at ${shownPlace(first)}`, 'remove it here')
  const parse = (text: string): string | undefined => (/^[A-Z]{3}$/.test(text) ? text : undefined)
  return readParsed(first, 'a currency', parse, 'write its three capital letters, like EUR')
}

function readServices(draft: Draft, entries: readonly Entry[]): void {
  const contexts = new Map<string, Value>()
  for (const { name, value } of entries) {
    const fields = readFields(value, ['context', 'unit', 'quota'], ['context', 'unit'])
    const unit = fields.unit && readChoice(fields.unit, unitTypes)
    const listed = fields.context ? readContexts(fields.context, contexts) : []
    const quota = unit && (fields.quota ? readQuota(fields.quota, unit, defaultQuota[unit]) : defaultQuota[unit])
    draft.services.set(name, unit && quota && { name, contexts: listed, unit, quota })
  }
}

function readContexts(value: Value, known: Map<string, Value>): string[] {
  const parse = (text: string): string | undefined => (/^[^\s@]+@[^\s@]+$/.test(text) ? text.toLowerCase() : undefined)
  const result: string[] = []
  for (const item of readList(value)) {
    const context = readParsed(item, 'a Service-Context-Id', parse, 'write it like 32251@3gpp.org')
    if (context === undefined) continue
    const earlier = known.get(context)
    if (earlier)
      fault(item, `the context ${context} is already taken at ${shownPlace(earlier)}`, 'name it in one service')
    known.set(context, item)
    result.push(context)
  }
  return result
}

/** Keys that are absent keep their `base`, drawn along where size would leave the others behind. */
function readQuota(value: Value, unit: UnitType, base: QuotaTerms): QuotaTerms | undefined {
  const fields = readFields(value, ['size', 'min', 'max', 'validity', 'threshold'])
  const amount = (field: Value | undefined): Units | undefined => field && readUnits(field, unit)
  const size = amount(fields.size) ?? base.size
  const min = amount(fields.min) ?? (base.min < size ? base.min : size)
  const max = amount(fields.max) ?? (base.max > size ? base.max : size)
  if (min > size) fault(fields.min ?? value, `${value.path}: min is above size`, 'write min ≤ size ≤ max')
  if (size > max) fault(fields.max ?? value, `${value.path}: size is above max`, 'write min ≤ size ≤ max')
  const validityMs = fields.validity && readWholeSeconds(fields.validity)
  const validity = validityMs === undefined ? base.validity : validityMs / second
  const threshold = (fields.threshold && readPercent(fields.threshold)) ?? base.threshold
  return { size, min, max, validity, threshold }
}

function readWholeSeconds(value: Value): number | undefined {
  const ms = readDuration(value, { min: second, max: year })
  return ms !== undefined && ms % second !== 0
    ? fault(value, `${value.path} is no whole number of seconds`, durationHint)
    : ms
}

/** An amount of a service's units as people write them: `100kB`, `60s`, `1`. At least 1. */
function readUnits(value: Value, unit: UnitType): Units | undefined {
  const { expected, parse, hint } = notations[unit]
  const amount = readParsed(value, expected, parse, hint)
  if (amount === undefined) return undefined
  if (amount === 0n) return fault(value, `${value.path} is 0`, 'write at least 1')
  if (amount > lineLimit[unit])
    return fault(value, `${value.path} is above the ${lineLimit[unit]} ${unit} that one line may carry`)
  return amount as Units
}

interface Notation {
  readonly expected: string
  readonly parse: (text: string) => bigint | undefined
  readonly hint: string | ((text: string) => string)
}

const notations: Record<UnitType, Notation> = {
  octets: { expected: 'a size', parse: parseSize, hint: hintForSize },
  seconds: {
    expected: 'a time in whole seconds',
    parse: text => {
      const ms = parseDuration(text)
      return ms === undefined || ms % second !== 0 ? undefined : BigInt(ms / second)
    },
    hint: text => (/^\d+$/.test(text) ? `write ${text}s` : durationHint),
  },
  events: {
    expected: 'a number of events',
    parse: text => (/^\d{1,15}$/.test(text) ? BigInt(text) : undefined),
    hint: 'write a whole number without a unit',
  },
}

function readRate(name: string, value: Value): { unit: UnitType; compiled: CompiledRate } | undefined {
  const fields = readFields(value, ['unit', 'price', 'per', 'step', 'first'], ['unit', 'price'])
  const unit = fields.unit && readChoice(fields.unit, unitTypes)
  const amount = fields.price && readMoney(fields.price)
  if (amount === 0n)
    fault(fields.price!, `${value.path}.price is 0`, 'write `free: true` in the rule instead of a rate')
  if (!unit) return undefined
  // One event is what an event price is for; volume and time have no such natural size.
  const sizeOf = (key: 'per' | 'step'): Units | undefined => {
    const field = fields[key]
    if (field) return readUnits(field, unit)
    if (unit === 'events') return units(1)
    return fault(value, `${value.path} lacks \`${key}\``, `add \`${key}:\` in ${unit}`)
  }
  const [per, step] = [sizeOf('per'), sizeOf('step')]
  const first = fields.first ? readUnits(fields.first, unit) : units(0)
  if (!amount || !per || !step || first === undefined) return undefined
  const outcome = compileRate({ name, unit, amount, per, step, first })
  if ('rate' in outcome) return { unit, compiled: outcome.rate }
  return fault(fields.step ?? fields.price ?? value, `${value.path}: ${outcome.problem}`, outcome.hint)
}

const offerKeys = ['rank', 'fee', 'grants', 'rules', 'quota', 'finalUnit'] as const

/** All grants first: a rule may use a bucket that another offer grants. */
function readOffers(draft: Draft, entries: readonly Entry[]): Map<string, Offer> {
  const parts = entries.map(({ name, key, value }) => {
    const fields = readFields(value, offerKeys)
    const fee = fields.fee && readFee(fields.fee)
    const grants = fields.grants ? readList(fields.grants).map(each => readGrant(draft, each, fee)) : []
    return { name, key, fields, fee, grants: grants.filter(grant => grant !== undefined) }
  })
  const offers = new Map<string, Offer>()
  for (const { name, key, fields, fee, grants } of parts) {
    const rules = fields.rules ? readRules(draft, fields.rules) : []
    if (rules.length === 0) warn(draft, key, `the offer \`${name}\` has no rules`, 'all its use is refused with 5031')
    offers.set(name, {
      name,
      rank: (fields.rank && readInteger(fields.rank, { min: 0, max: 1_000_000 })) ?? 100,
      fee,
      grants,
      rules,
      quotas: fields.quota ? readQuotas(draft, fields.quota) : new Map<string, QuotaTerms>(),
      finalUnit: (fields.finalUnit && readFinalUnit(fields.finalUnit)) ?? 'terminate',
    })
  }
  for (const [name, bucket] of draft.buckets) {
    if (bucket && !draft.used.has(name)) warn(draft, bucket.at, `no rule uses the bucket \`${name}\``)
  }
  return offers
}

function readFee(value: Value): Fee | undefined {
  const fields = readFields(value, ['amount', 'every'], ['amount'])
  const amount = fields.amount && readMoney(fields.amount)
  const every = fields.every && readDuration(fields.every, { min: second, max: year })
  return amount === undefined ? undefined : { amount, every }
}

function readGrant(draft: Draft, value: Value, fee: Fee | undefined): Grant | undefined {
  const fields = readFields(
    value,
    ['bucket', 'amount', 'for', 'expires', 'priority'],
    ['bucket', 'amount', 'for', 'expires'],
  )
  const bucket = fields.bucket && readName(fields.bucket)
  const services = (fields.for ? readList(fields.for) : []).map(item => readServiceName(draft, item))
  const named = services.filter(service => service !== undefined)
  const unit = draft.services.get(named[0] ?? '')?.unit
  const amount = fields.amount && unit && readUnits(fields.amount, unit)
  const expires = fields.expires && readExpiry(fields.expires, fee)
  const priority = (fields.priority && readInteger(fields.priority, { min: 0, max: 1_000_000 })) ?? 100
  if (!bucket || !fields.bucket) return undefined
  if (draft.rates.has(bucket)) fault(fields.bucket, `\`${bucket}\` is also the name of a rate`, 'rename one of them')
  if (!unit || !fields.for || named.length < services.length) {
    if (!draft.buckets.has(bucket)) draft.buckets.set(bucket, undefined)
    return undefined
  }
  for (const service of named) {
    const other = draft.services.get(service)?.unit
    if (other && other !== unit)
      fault(fields.for, `the services of bucket \`${bucket}\` count ${unit} and ${other}`, 'make a bucket of each unit')
  }
  addBucket(draft, { name: bucket, unit, services: [...named].sort(), at: fields.bucket })
  return amount === undefined ? undefined : { bucket, amount, expires: expires?.after, priority }
}

/** A subscriber may hold buckets of one name from several offers: these must be alike for the rules that use them. */
function addBucket(draft: Draft, bucket: DraftBucket): void {
  const earlier = draft.buckets.get(bucket.name)
  if (!earlier) draft.buckets.set(bucket.name, bucket)
  else if (earlier.services.join() !== bucket.services.join()) {
    const message = `the bucket \`${bucket.name}\` is for ${earlier.services.join(', ')} at ${shownPlace(earlier.at)}`
    fault(bucket.at, message, 'make it for the same services, or use another name')
  }
}

function readName(value: Value): string | undefined {
  const parse = (text: string): string | undefined => (namePattern.test(text) ? text : undefined)
  return readParsed(value, 'a name', parse, 'use letters, digits, dots, dashes and underscores')
}

function readServiceName(draft: Draft, value: Value): string | undefined {
  const name = readText(value)
  if (name === undefined || draft.services.has(name)) return name
  const names = [...draft.services.keys()]
  return fault(value, `there is no service \`${name}\``, meant(name, names) ?? `known: ${names.join(', ')}`)
}

/** `after` undefined: never. */
function readExpiry(value: Value, fee: Fee | undefined): { readonly after: number | undefined } | undefined {
  const text = readText(value)
  if (text === undefined) return undefined
  if (text === 'never') return { after: undefined }
  if (text === 'period') {
    if (fee?.every !== undefined) return { after: fee.every }
    return fault(value, `${value.path} is \`period\`, but the offer has no fee.every`, 'write a duration like 30d')
  }
  const after = parseDuration(text)
  if (after !== undefined && after >= second) return { after }
  return fault(value, `${value.path}: \`${text}\` is not a duration`, 'write 30d, period (of the fee) or never')
}

function readRules(draft: Draft, value: Value): Rule[] {
  const rules: Rule[] = []
  for (const [index, item] of readList(value).entries()) {
    const rule = readRule(draft, item, index + 1)
    if (!rule) continue
    const cover = rules.find(earlier => covers(earlier, rule))
    if (cover)
      warn(draft, item, `${item.path} is never reached: rule ${cover.position} takes all that it matches`, 'move it up')
    rules.push(rule)
  }
  return rules
}

const ruleKeys = ['service', 'ratingGroup', 'serviceIdentifier', 'use', 'free', 'deny'] as const

function readRule(draft: Draft, value: Value, position: number): Rule | undefined {
  const fields = readFields(value, ruleKeys)
  const service = fields.service && readServiceName(draft, fields.service)
  const ratingGroup = fields.ratingGroup && readCondition(fields.ratingGroup, draft.ratingGroups)
  const serviceIdentifier =
    fields.serviceIdentifier && readCondition(fields.serviceIdentifier, draft.serviceIdentifiers)
  const effects = (['use', 'free', 'deny'] as const).filter(key => fields[key])
  if (effects.length !== 1) {
    const message =
      effects.length === 0 ? `${value.path} says nothing to do` : `${value.path} has ${effects.join(' and ')}`
    return fault(value, message, 'write exactly one of use, free, deny')
  }
  const services = service === undefined ? [...draft.services.keys()] : [service]
  const wrong = (fields.service && !service) ?? false
  const effect = readEffect(draft, fields, wrong ? [] : services)
  return effect && { position, service, ratingGroup, serviceIdentifier, effect }
}

function readEffect(
  draft: Draft,
  fields: Partial<Record<(typeof ruleKeys)[number], Value>>,
  services: readonly string[],
): Effect | undefined {
  if (fields.use) return readUse(draft, fields.use, services)
  const kind = fields.free ? 'free' : 'deny'
  const { codes, hint } = codesOf[kind]
  const code = readParsed(fields[kind]!, [...codes.keys()].join(' or '), text => codes.get(text), hint)
  return code === undefined ? undefined : { kind, code }
}

const codesOf = {
  free: {
    codes: new Map([
      ['true', 0],
      ['4011', notApplicable],
    ]),
    hint: 'write true, or 4011 for clients that need it',
  },
  deny: {
    codes: new Map([
      ['true', serviceDenied],
      ['5003', authorizationRejected],
    ]),
    hint: 'write true (4010), or 5003 to black-list; else remove the key',
  },
}

/** Buckets, then at most one rate. Their units must be those of every service that the rule matches. */
function readUse(draft: Draft, value: Value, services: readonly string[]): Effect | undefined {
  const buckets: string[] = []
  let rate: string | undefined
  const items = readList(value)
  if (items.length === 0)
    return fault(value, `${value.path} names nothing`, 'write buckets and a rate, or `deny: true`')
  for (const item of items) {
    const name = readText(item)
    if (name === undefined) continue
    if (buckets.includes(name) || rate === name) fault(item, `\`${name}\` is named twice`, 'remove it here')
    else if (draft.rates.has(name)) {
      if (rate !== undefined) fault(item, `a rule has one rate, and \`${rate}\` is named before`, 'remove one of them')
      else checkRate(draft, item, name, services)
      rate = name
    } else if (draft.buckets.has(name)) {
      if (rate !== undefined)
        fault(item, `the rate \`${rate}\` stands before the bucket \`${name}\``, 'the rate comes last')
      checkBucket(draft, item, name, services)
      buckets.push(name)
    } else {
      const known = [...draft.buckets.keys(), ...draft.rates.keys()]
      const list = known.length === 0 ? 'define it under `rates:`' : `known: ${known.join(', ')}`
      fault(item, `there is no rate or bucket \`${name}\``, meant(name, known) ?? list)
    }
    draft.used.add(name)
  }
  return { kind: 'use', buckets, rate }
}

function checkRate(draft: Draft, at: Value, name: string, services: readonly string[]): void {
  const unit = draft.rates.get(name)?.unit
  for (const service of services) {
    const expected = draft.services.get(service)?.unit
    if (unit && expected && unit !== expected) {
      const hint = services.length > 1 ? 'add `service:` to the rule' : `use a rate of ${expected}`
      fault(at, `the rate \`${name}\` counts ${unit}, but the service \`${service}\` ${expected}`, hint)
      return
    }
  }
}

function checkBucket(draft: Draft, at: Value, name: string, services: readonly string[]): void {
  const bucket = draft.buckets.get(name)
  const outside = bucket && services.find(service => !bucket.services.includes(service))
  if (outside === undefined) return
  const hint = services.length > 1 ? 'add `service:` to the rule' : `add ${outside} to \`for\` of its grants`
  fault(at, `the bucket \`${name}\` is for ${bucket!.services.join(', ')}, not for the service \`${outside}\``, hint)
}

/** A number, `none` for lines without one, or a list of these. */
function readCondition(value: Value, named: Set<number>): Condition | undefined {
  const values = new Set<number>()
  let none = false
  const items = readList(value)
  if (items.length === 0) return fault(value, `${value.path} names nothing`, 'write a number, a list, or none')
  for (const item of items) {
    if (readText(item) === 'none') none = true
    else {
      const number = readParsed(
        item,
        'a number',
        parseUnsigned32,
        `write 0 to ${unsigned32Max}, none, or a list of these`,
      )
      if (number === undefined) continue
      values.add(number)
      named.add(number)
    }
  }
  return { values, none }
}

const parseUnsigned32 = (text: string): number | undefined =>
  /^\d{1,10}$/.test(text) && Number(text) <= unsigned32Max ? Number(text) : undefined

/** Whether every line that `later` matches is matched by `earlier` already. */
const covers = (earlier: Rule, later: Rule): boolean =>
  (earlier.service === undefined || earlier.service === later.service) &&
  includes(earlier.ratingGroup, later.ratingGroup) &&
  includes(earlier.serviceIdentifier, later.serviceIdentifier)

function includes(wide: Condition | undefined, narrow: Condition | undefined): boolean {
  if (!wide) return true
  if (!narrow) return false
  return (wide.none || !narrow.none) && [...narrow.values].every(value => wide.values.has(value))
}

function readQuotas(draft: Draft, value: Value): Map<string, QuotaTerms> {
  const quotas = new Map<string, QuotaTerms>()
  for (const { key, name, value: each } of readTable(value)) {
    const service = draft.services.get(name)
    if (service) {
      const quota = readQuota(each, service.unit, service.quota)
      if (quota) quotas.set(name, quota)
    } else if (!draft.services.has(name)) {
      const names = [...draft.services.keys()]
      fault(key, `there is no service \`${name}\``, meant(name, names) ?? `known: ${names.join(', ')}`)
    }
  }
  return quotas
}

function readFinalUnit(value: Value): (typeof finalUnitActions)[number] | undefined {
  const fields = readFields(value, ['action'], ['action'])
  return fields.action && readChoice(fields.action, finalUnitActions)
}

function finish(currency: string, draft: Draft, offers: Map<string, Offer>): Catalog {
  const services = definedOf(draft.services)
  const buckets = new Map<string, BucketKind>()
  for (const { name, unit, services: of } of definedOf(draft.buckets).values())
    buckets.set(name, { name, unit, services: of })
  const rates = new Map<string, CompiledRate>()
  for (const [name, { compiled }] of definedOf(draft.rates)) rates.set(name, compiled)
  const content = { currency, services, rates, buckets, offers }
  const { ratingGroups, serviceIdentifiers } = draft
  const memo = { services: new Map(), programs: new Map(), ratingGroups, serviceIdentifiers }
  return { version: shortHash(JSON.stringify(canonical(content))), ...content, memo }
}

const definedOf = <T>(map: ReadonlyMap<string, T | undefined>): Map<string, T> =>
  new Map([...map].filter((entry): entry is [string, T] => entry[1] !== undefined))

/** The same for the same content: tables sorted by name, numbers as digits. */
function canonical(content: unknown): unknown {
  if (typeof content === 'bigint') return content.toString()
  if (content instanceof Set) return [...(content as Set<number>)].sort((a, b) => a - b)
  if (Array.isArray(content)) return content.map(canonical)
  if (typeof content !== 'object' || content === null) return content
  const entries = content instanceof Map ? [...(content as Map<string, unknown>)] : Object.entries(content)
  return entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => [name, canonical(value)])
}
