/** What load.ts and its parts know of a catalog while they read it. */
import { fault, meant, whereIs, type Fault, type Value } from '../config/yaml.js'
import type { UnitType } from '../units.js'
import type { BucketKind, Calendar, Counter, Offer, Rate, Service, Zone } from './catalog.js'
import type { CounterGroup } from './catalog-shape.js'
import type { Row } from './schema.js'

/** All things of one kind. One whose definition is wrong is kept as undefined, so that it is told once. */
export interface Names<T> {
  /** What one of them is called in messages. */
  readonly kind: string
  readonly section: string
  readonly items: Map<string, T | undefined>
  /** Where each is defined. */
  readonly places: Map<string, Value>
  /** Those that something names. */
  readonly used: Set<string>
  /** False when some could not be read: an unknown name may be one of them. */
  complete: boolean
  /** Of the whole catalog. */
  readonly searches: Searches
}

/** How often what an unknown name may mean is still searched for among all that are known. */
export interface Searches {
  left: number
}

/** Where a whole file is missing, each of thousands of rules has a name that nobody knows. */
const mostSearches = 200

export interface Draft {
  timezone: string
  readonly services: Names<Service>
  readonly zones: Names<Zone>
  readonly destinations: Names<true>
  readonly holidays: Names<readonly string[]>
  readonly calendars: Names<Calendar>
  readonly counters: Names<DraftCounter>
  readonly rates: Names<Rate>
  readonly buckets: Names<BucketKind>
  readonly offers: Names<Offer>
  /** Numbers that some condition names. */
  readonly ratingGroups: Set<number>
  readonly serviceIdentifiers: Set<number>
  readonly warnings: Fault[]
}

export interface DraftCounter {
  readonly row: Row<CounterGroup>
  readonly unit: UnitType
  readonly counter: Counter
  /** Rates whose tiers stand on it. */
  readonly rates: string[]
}

export function newDraft(): Draft {
  const searches = { left: mostSearches }
  const names = <T>(kind: string, section: string): Names<T> => ({
    ...{ kind, section },
    ...{ items: new Map<string, T | undefined>(), places: new Map<string, Value>(), used: new Set<string>() },
    complete: true,
    searches,
  })
  return {
    timezone: 'UTC',
    services: names('service', 'services'),
    zones: names('zone', 'zones'),
    destinations: names('destination', 'destinations'),
    holidays: names('list of holidays', 'holidays'),
    calendars: names('calendar', 'calendars'),
    counters: names('counter', 'counters'),
    rates: names('rate', 'rates'),
    buckets: names('bucket', 'grants'),
    offers: names('offer', 'offers'),
    ratingGroups: new Set(),
    serviceIdentifiers: new Set(),
    warnings: [],
  }
}

export function define<T>(names: Names<T>, name: string, place: Value, item: T | undefined): void {
  names.items.set(name, item)
  if (!names.places.has(name)) names.places.set(name, place)
}

/** Notes that the name is used. False, with a fault, when there is no such thing. */
export function refer(names: Names<unknown>, at: Value, name: string): boolean {
  names.used.add(name)
  if (names.items.has(name)) return true
  if (!names.complete) return false
  const { kind, section, searches } = names
  const hint = hintFor(name, [...names.items.keys()], `define it under \`${section}:\``, searches)
  fault(at, `there is no ${kind} \`${name}\``, hint)
  return false
}

/** Names shown in a hint: the rest is said to be there. */
const namesShown = 8

/** What an unknown name may have been meant for. */
export function hintFor(name: string, known: readonly string[], none: string, searches?: Searches): string {
  if (known.length === 0) return none
  const found = searches && searches.left-- <= 0 ? undefined : meant(name, known)
  return found ?? `known: ${shortList(known)}`
}

export const shortList = (names: readonly string[]): string =>
  names.length <= namesShown
    ? names.join(', ')
    : `${names.slice(0, namesShown).join(', ')} and ${names.length - namesShown} more`

export function warn(draft: Draft, value: Value, message: string, hint?: string): void {
  draft.warnings.push({ ...whereIs(value), message, hint })
}

export function shownPlace(value: Value): string {
  const { file, line, column } = whereIs(value)
  return `${file}:${line}:${column}`
}

export const definedOf = <T>(names: Names<T>): Map<string, T> =>
  new Map([...names.items].filter((entry): entry is [string, T] => entry[1] !== undefined))
