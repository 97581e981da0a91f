/** Conditions of rules, grants and counters: names that exist, sets instead of lists. */
import { fault, type Value } from '../config/yaml.js'
import { ratTypes, type Condition, type Conditions } from './catalog.js'
import type { RuleGroup } from './catalog-shape.js'
import { hintFor, refer, type Draft, type Names } from './load-draft.js'
import type { Item, Row } from './schema.js'

type Written = Pick<
  RuleGroup['is'],
  | 'ratingGroup'
  | 'serviceIdentifier'
  | 'zone'
  | 'destination'
  | 'apn'
  | 'rat'
  | 'direction'
  | 'message'
  | 'when'
  | 'account'
  | 'subscriber'
>

/** All conditions but the services. */
export function readConditions(draft: Draft, written: Written): Conditions {
  const { ratingGroup, serviceIdentifier, zone, destination, apn, rat, direction, message } = written
  const { when, account, subscriber } = written
  return {
    ...(ratingGroup && { ratingGroup: numbers(ratingGroup, draft.ratingGroups) }),
    ...(serviceIdentifier && { serviceIdentifier: numbers(serviceIdentifier, draft.serviceIdentifiers) }),
    ...(zone && { zones: namesOf(draft.zones, zone) }),
    ...(destination && { destinations: namesOf(draft.destinations, destination) }),
    ...(apn && { apns: new Set(apn.map(({ is }) => is.toLowerCase())) }),
    ...(rat && { rats: new Set(rat.flatMap(({ at: place, is: word }) => readRat(place, word)?.name ?? [])) }),
    ...(direction && { directions: new Set(direction.map(({ is }) => is)) }),
    ...(message && { messages: new Set(message.map(({ is }) => is)) }),
    ...(when && { when: calendars(draft, when) }),
    ...(account && { account: attributesOf(account) }),
    ...(subscriber && { subscriber: attributesOf(subscriber) }),
  }
}

function numbers(items: readonly Item<number | 'none'>[], named: Set<number>): Condition {
  const values = new Set<number>()
  for (const { is } of items) if (is !== 'none') values.add(is)
  for (const value of values) named.add(value)
  return { values, none: items.some(({ is }) => is === 'none') }
}

/** `none` is no name of one. */
function namesOf(names: Names<unknown>, items: readonly Item<string>[]): Set<string> {
  return new Set(items.filter(({ at, is }) => is === 'none' || refer(names, at, is)).map(({ is }) => is))
}

const calendars = (draft: Draft, items: readonly Item<string>[]): Set<string> =>
  new Set(items.filter(({ at, is }) => refer(draft.calendars, at, is)).map(({ is }) => is))

/** A 3GPP-RAT-Type by name or number: its number, and its name when it has one. */
export function readRat(at: Value, word: string): { readonly number: string; readonly name: string } | undefined {
  const lower = word.toLowerCase()
  if (/^\d{1,3}$/.test(word) && Number(word) <= 255) {
    const number = String(Number(word))
    return { number, name: ratTypes[number] ?? number }
  }
  const found = Object.entries(ratTypes).find(([, name]) => name === lower)
  if (found) return { number: found[0], name: found[1] }
  const known = Object.values(ratTypes)
  return fault(at, `there is no radio technology \`${word}\``, hintFor(lower, [...known], '') || 'write its number')
}

export const attributesOf = (rows: readonly Row<Item<string>[]>[]): Map<string, ReadonlySet<string>> =>
  new Map(rows.map(({ name, is }) => [name, new Set((is ?? []).map(item => item.is))]))

/** Whether every line that `narrow` matches is matched by `wide`. */
export function covers(wide: Conditions, narrow: Conditions): boolean {
  return (
    includes(wide.services, narrow.services) &&
    includesNumbers(wide.ratingGroup, narrow.ratingGroup) &&
    includesNumbers(wide.serviceIdentifier, narrow.serviceIdentifier) &&
    includes(wide.zones, narrow.zones) &&
    includes(wide.destinations, narrow.destinations) &&
    includesApns(wide.apns, narrow.apns) &&
    includes(wide.rats, narrow.rats) &&
    includes(wide.directions, narrow.directions) &&
    includes(wide.messages, narrow.messages) &&
    includes(wide.when, narrow.when) &&
    includesAttributes(wide.account, narrow.account) &&
    includesAttributes(wide.subscriber, narrow.subscriber)
  )
}

function includes(wide: ReadonlySet<string> | undefined, narrow: ReadonlySet<string> | undefined): boolean {
  if (!wide) return true
  return narrow !== undefined && [...narrow].every(value => wide.has(value))
}

function includesNumbers(wide: Condition | undefined, narrow: Condition | undefined): boolean {
  if (!wide) return true
  if (!narrow) return false
  return (wide.none || !narrow.none) && [...narrow.values].every(value => wide.values.has(value))
}

function includesApns(wide: ReadonlySet<string> | undefined, narrow: ReadonlySet<string> | undefined): boolean {
  if (!wide) return true
  if (!narrow) return false
  const stems = [...wide].filter(apn => apn.endsWith('*')).map(apn => apn.slice(0, -1))
  return [...narrow].every(apn => wide.has(apn) || stems.some(stem => apn.replace('*', '').startsWith(stem)))
}

function includesAttributes(wide: Conditions['account'], narrow: Conditions['account']): boolean {
  return [...(wide ?? [])].every(([key, values]) => includes(values, narrow?.get(key)))
}
