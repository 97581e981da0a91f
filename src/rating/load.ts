/**
 * Reads the catalog's YAML whole, checks it whole (design.md section 6): one wrong key and nothing of it is used. Faults
 * refuse; warnings tell what is allowed and probably not meant. catalog-shape.ts says what each key is; here and in
 * load-*.ts names find what they stand for, and catalog-check.ts looks at the whole.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fault, parseYaml, readMoney, readPercent, readText, type Fault, type Value } from '../config/yaml.js'
import type { Micros } from '../units.js'
import type { Catalog, Counter, Service, Tax } from './catalog.js'
import { warningsOf } from './catalog-check.js'
import { catalogShape, type ServiceGroup } from './catalog-shape.js'
import { buildDestinations } from './destinations.js'
import { finishCounter, readCalendar, readCounter, timezoneOf } from './load-calendars.js'
import { define, definedOf, newDraft, shownPlace, type Draft } from './load-draft.js'
import { readExchange } from './load-exchange.js'
import { readAutoCreate, readLifeCycles } from './load-lifecycle.js'
import { readOffers, readQuota, type DraftOffer } from './load-offers.js'
import { Prefixes, readDestination, readDestinationFile, readZone, type FileReader } from './load-places.js'
import { readRate } from './load-rates.js'
import { readRecharges, readTransfers } from './load-recharges.js'
import { readTest } from './load-tests.js'
import { versionOf } from './load-version.js'
import type { Item, Of, Row } from './schema.js'

export interface CatalogFile {
  readonly file: string
  readonly text: string
}

/** Warnings come with both: they do not refuse anything. */
export type CatalogOutcome =
  | { readonly catalog: Catalog; readonly warnings: readonly Fault[] }
  | { readonly faults: readonly Fault[]; readonly warnings: readonly Fault[] }

/**
 * Reads a catalog from every `*.yaml` of a folder, in the order of their names, or from one file.
 *
 * @param path as it shall appear in faults
 */
export function loadCatalog(path: string): CatalogOutcome {
  return loadCatalogTexts(path).outcome
}

/** The same, with the texts it was read from: YAML files, and the files that they name. */
export function loadCatalogTexts(path: string): {
  readonly outcome: CatalogOutcome
  readonly files: readonly CatalogFile[]
  readonly others: readonly CatalogFile[]
} {
  let files: CatalogFile[]
  const others: CatalogFile[] = []
  try {
    files = catalogFiles(path).map(file => ({ file, text: readFileSync(file, 'utf8') }))
  } catch (error) {
    const message = `the catalog cannot be read: ${(error as Error).message}`
    const outcome = refused(path, message, 'check the key `catalog` of the configuration')
    return { outcome, files: [], others }
  }
  if (files.length === 0) {
    const outcome = refused(path, 'there is no *.yaml file in this folder', 'put the catalog there')
    return { outcome, files, others }
  }
  const outcome = readCatalog(files, file => {
    const text = readFileSync(file, 'utf8')
    others.push({ file, text })
    return text
  })
  return { outcome, files, others }
}

function refused(file: string, message: string, hint: string): CatalogOutcome {
  return { faults: [{ file, line: 1, column: 1, message, hint }], warnings: [] }
}

function catalogFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  const names = readdirSync(path).filter(name => /\.ya?ml$/.test(name) && !name.startsWith('.'))
  return names.sort().map(name => join(path, name))
}

const noFiles: FileReader = () => {
  throw new Error('no files can be read here')
}

type Top = Of<typeof catalogShape>

/**
 * Reads a catalog from texts.
 *
 * @param readFile reads the CSV files that `destinationFiles` names; all the I/O there is
 */
export function readCatalog(files: readonly CatalogFile[], readFile: FileReader = noFiles): CatalogOutcome {
  const faults: Fault[] = []
  const roots = files.map(({ file, text }) => parseYaml(file, text, faults))
  const readable = roots.filter(root => root !== undefined)
  // With a file missing, half of the references would be unknown for no fault of theirs.
  if (readable.length < roots.length) return { faults: inOrder(faults), warnings: [] }

  const tops = readable.map(root => catalogShape.read(root)).filter(top => top !== undefined)
  const draft = newDraft()
  const currency = readCurrency(tops, readable[0]!)
  const zone = onlyOne(tops, 'timezone', 'timezone')
  draft.timezone = timezoneOf(zone?.at, zone?.is, 'UTC')
  const lowBalance = readLowBalance(onlyOne(tops, 'lowBalance', 'lowBalance')?.is ?? [])
  const tax = onlyOne(tops, 'tax', 'tax')?.is?.is
  const thresholds = readThresholds(onlyOne(tops, 'thresholds', 'thresholds')?.is?.is.money ?? [])
  const prefixes = readPlaces(draft, tops, readFile)
  const counters = readNamed(draft, tops)
  const recharges = readRecharges(draft, onlyOne(tops, 'recharges', 'recharges')?.is)
  const transfers = readTransfers(onlyOne(tops, 'transfers', 'transfers')?.is)
  const offers = readOffers(draft, rowsOf(tops, 'offers'))
  const exchange = readExchange(rowsOf(tops, 'exchange'), currency, { draft, counters, offers })
  const names = new Set(offers.map(({ name }) => name))
  const lifeCycles = readLifeCycles(rowsOf(tops, 'lifecycle'), names)
  const autoCreate = readAutoCreate(rowsOf(tops, 'autoCreate'), names, [currency, ...exchange.keys()])
  const tests = tops.flatMap(top => top.is.tests ?? []).map(item => readTest(draft, item, currency ?? ''))

  const told =
    faults.length > 0
      ? draft.warnings
      : [...draft.warnings, ...warningsOf({ draft, offers, counters, prefixes: prefixes.counts() })]
  if (faults.length > 0 || currency === undefined) return { faults: inOrder(faults), warnings: inOrder(told) }
  const content = contentOf(draft, {
    currency,
    exchange,
    lowBalance,
    thresholds,
    tax: tax && { prices: tax.prices as Tax['prices'], rate: tax.rate },
    counters,
    offers,
    recharges,
    transfers,
    lifeCycles,
    autoCreate,
  })
  const { ratingGroups, serviceIdentifiers } = draft
  const catalog: Catalog = {
    version: versionOf(content, prefixes.lines()),
    ...content,
    destinations: buildDestinations(prefixes.rows()),
    tests: tests.filter(test => test !== undefined),
    memo: { services: new Map(), programs: new Map(), ratingGroups, serviceIdentifiers },
  }
  return { catalog, warnings: inOrder(told) }
}

const inOrder = (faults: readonly Fault[]): Fault[] =>
  [...faults].sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column))

type TableKeys = {
  [K in keyof Top['is']]-?: Exclude<Top['is'][K], undefined> extends Row<unknown>[] ? K : never
}[keyof Top['is']]

type RowsOf<K extends TableKeys> = Exclude<Top['is'][K], undefined>

/** The rows of one section over all files; a name may be defined once. */
function rowsOf<K extends TableKeys>(tops: readonly Top[], section: K): RowsOf<K> {
  const rows = new Map<string, Row<unknown>>()
  for (const row of tops.flatMap(top => (top.is[section] ?? []) as readonly Row<unknown>[])) {
    const earlier = rows.get(row.name)
    if (earlier) {
      const message = `\`${row.name}\` is already defined at ${shownPlace(earlier.key)}`
      fault(row.key, message, 'rename or remove one of them')
    } else rows.set(row.name, row)
  }
  return [...rows.values()] as RowsOf<K>
}

/** What may stand in one of the files only. */
function onlyOne<K extends 'timezone' | 'lowBalance' | 'currency' | 'thresholds' | 'recharges' | 'tax' | 'transfers'>(
  tops: readonly Top[],
  key: K,
  what: string,
): { readonly at: Value; readonly is: Top['is'][K] } | undefined {
  const [first, ...others] = tops.flatMap(({ at, is }) => {
    const place = at[key]
    return place ? [{ at: place, is: is[key] }] : []
  })
  for (const other of others) fault(other.at, `${what} is already given at ${shownPlace(first!.at)}`, 'remove it here')
  return first
}

function readCurrency(tops: readonly Top[], root: Value): string | undefined {
  const written = tops.flatMap(({ at, is }) => (at.currency ? [{ at: at.currency, is: is.currency }] : []))
  const [first, ...others] = written
  if (!first) return fault(root, 'the catalog lacks `currency`', 'add `currency: EUR`')
  for (const { at, is } of others) {
    const place = shownPlace(first.at)
    if (is === undefined || first.is === undefined || is === first.is)
      fault(at, `currency is already given at ${place}`, 'remove it here')
    else {
      const hint = `a catalog has one currency: move what is sold in ${is} to a catalog of its own`
      fault(at, `${is} is mixed with the ${first.is} of ${place}`, hint)
    }
  }
  return first.is
}

function readLowBalance(items: readonly Item<Micros>[]): Micros[] {
  for (const [index, { at, is }] of items.entries())
    if (index > 0 && is >= items[index - 1]!.is)
      fault(
        at,
        `${at.path} is not below the one before`,
        "write them in the order in which they are reached: ['1.00', '0.20']",
      )
  return items.map(({ is }) => is)
}

/** Amounts and shares in any order. */
function readThresholds(items: readonly Item<Value>[]): Catalog['thresholds'] {
  const amounts = new Set<Micros>()
  const percents = new Set<number>()
  for (const { at } of items) {
    const level = /%\s*$/.test(readText(at) ?? '') ? readPercent(at) : readMoney(at)
    if (level === 0 || level === 100)
      fault(at, `${at.path} is not between 0% and 100%`, 'write a share like 20%; that nothing is left is told anyway')
    else if (typeof level === 'number') percents.add(level)
    else if (level !== undefined) amounts.add(level)
  }
  const falling = <T extends bigint | number>(a: T, b: T): number => (a > b ? -1 : 1)
  return { amounts: [...amounts].sort(falling), percents: [...percents].sort(falling) }
}

/** Services, and where and whom they are used. */
function readPlaces(draft: Draft, tops: readonly Top[], readFile: FileReader): Prefixes {
  const contexts = new Map<string, Value>()
  for (const row of rowsOf(tops, 'services')) define(draft.services, row.name, row.key, readService(row, contexts))
  const plmns = new Map<string, Value>()
  for (const row of rowsOf(tops, 'zones')) define(draft.zones, row.name, row.key, readZone(row, plmns))
  const prefixes = new Prefixes()
  for (const row of rowsOf(tops, 'destinations')) readDestination(draft, row, prefixes)
  for (const item of tops.flatMap(top => top.is.destinationFiles ?? []))
    readDestinationFile(draft, item, prefixes, readFile)
  return prefixes
}

function readService({ name, is: group }: Row<ServiceGroup>, contexts: Map<string, Value>): Service | undefined {
  if (!group) return undefined
  const { unit, context, quota, failureHandling, inform } = group.is
  for (const { at, is } of context ?? []) {
    const earlier = contexts.get(is)
    if (earlier) fault(at, `the context ${is} is already taken at ${shownPlace(earlier)}`, 'name it in one service')
    contexts.set(is, at)
  }
  return (
    unit && {
      name,
      contexts: (context ?? []).map(item => item.is),
      unit,
      quota: readQuota(quota, unit),
      failureHandling,
      inform: new Set((inform ?? []).map(item => item.is)),
    }
  )
}

/** Calendars, counters and rates. A counter is whole when the rates are known. */
function readNamed(draft: Draft, tops: readonly Top[]): Map<string, Counter> {
  for (const { name, key, is } of rowsOf(tops, 'holidays'))
    define(
      draft.holidays,
      name,
      key,
      (is ?? []).map(item => item.is),
    )
  for (const row of rowsOf(tops, 'calendars')) define(draft.calendars, row.name, row.key, readCalendar(draft, row))
  for (const row of rowsOf(tops, 'counters')) define(draft.counters, row.name, row.key, readCounter(draft, row))
  for (const row of rowsOf(tops, 'rates')) define(draft.rates, row.name, row.key, readRate(draft, row))
  return new Map([...definedOf(draft.counters)].map(([name, counter]) => [name, finishCounter(counter)]))
}

interface Parts {
  readonly currency: string
  readonly exchange: Catalog['exchange']
  readonly lowBalance: readonly Micros[]
  readonly thresholds: Catalog['thresholds']
  readonly tax: Tax | undefined
  readonly counters: ReadonlyMap<string, Counter>
  readonly offers: readonly DraftOffer[]
  readonly recharges: Catalog['recharges']
  readonly transfers: Catalog['transfers']
  readonly lifeCycles: Catalog['lifeCycles']
  readonly autoCreate: Catalog['autoCreate']
}

const contentOf = (
  draft: Draft,
  {
    currency,
    exchange,
    lowBalance,
    tax,
    thresholds,
    counters,
    offers,
    recharges,
    transfers,
    lifeCycles,
    autoCreate,
  }: Parts,
) => ({
  ...{ currency, exchange, lowBalance, tax, thresholds, counters, timezone: draft.timezone, recharges, transfers },
  ...{ lifeCycles, autoCreate },
  services: definedOf(draft.services),
  zones: definedOf(draft.zones),
  calendars: definedOf(draft.calendars),
  rates: definedOf(draft.rates),
  buckets: definedOf(draft.buckets),
  offers: new Map(offers.map(({ name, offer }) => [name, offer])),
})
