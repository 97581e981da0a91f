/**
 * Whether a line is what a condition asks for (semantics.md section 5: an absent condition matches everything), and which
 * lines no condition of a catalog can tell apart.
 */
import { messageTypes, ratTypes, type Catalog, type Condition, type Conditions } from './catalog.js'
import { findZone } from './zones.js'

/** What a request says of a line, as it was sent. */
export interface LineFacts {
  readonly ratingGroup?: number | undefined
  readonly serviceIdentifiers: readonly number[]
  /** MCC and MNC, 5 or 6 digits. */
  readonly plmn?: string | undefined
  /** Digits. */
  readonly called?: string | undefined
  readonly apn?: string | undefined
  /** Number of 3GPP-RAT-Type. */
  readonly rat?: string | undefined
  readonly direction?: string | undefined
  /** A key of messageTypes. */
  readonly message?: string | undefined
}

/** A line as conditions see it. */
export interface Line {
  readonly service: string
  readonly ratingGroup: number | undefined
  readonly serviceIdentifiers: readonly number[]
  /** Name, or `none`. */
  readonly zone: string
  readonly destination: string
  /** Lower case. */
  readonly apn: string | undefined
  /** Name, or number where it has none. */
  readonly rat: string | undefined
  readonly direction: string | undefined
  /** Name. */
  readonly message: string | undefined
  readonly account: ReadonlyMap<string, string>
  readonly subscriber: ReadonlyMap<string, string>
}

/** As the catalog's YAML calls them. */
export type ConditionName =
  | 'service'
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

/** What `zone` and `destination` of a line are that has none, and what conditions call it. */
const none = 'none'

/** The first condition that a line does not meet; undefined: it meets all. `active`: the calendars in force. */
export function failing(where: Conditions, line: Line, active: ReadonlySet<string>): ConditionName | undefined {
  if (where.services && !where.services.has(line.service)) return 'service'
  if (where.ratingGroup && !holdsGroup(where.ratingGroup, line.ratingGroup)) return 'ratingGroup'
  if (where.serviceIdentifier && !holdsAll(where.serviceIdentifier, line.serviceIdentifiers)) return 'serviceIdentifier'
  if (where.zones && !where.zones.has(line.zone)) return 'zone'
  if (where.destinations && !where.destinations.has(line.destination)) return 'destination'
  if (where.apns && !holdsApn(where.apns, line.apn)) return 'apn'
  if (where.rats && (line.rat === undefined || !where.rats.has(line.rat))) return 'rat'
  if (where.directions && (line.direction === undefined || !where.directions.has(line.direction))) return 'direction'
  if (where.messages && (line.message === undefined || !where.messages.has(line.message))) return 'message'
  if (where.when && !holdsAny(where.when, active)) return 'when'
  if (where.account && !holdsAttributes(where.account, line.account)) return 'account'
  if (where.subscriber && !holdsAttributes(where.subscriber, line.subscriber)) return 'subscriber'
  return undefined
}

const holdsGroup = (condition: Condition, group: number | undefined): boolean =>
  group === undefined ? condition.none : condition.values.has(group)

/** A line is charged as one: it is in the condition with all of its identifiers. */
const holdsAll = (condition: Condition, values: readonly number[]): boolean =>
  values.length === 0 ? condition.none : values.every(value => condition.values.has(value))

function holdsAny(names: ReadonlySet<string>, active: ReadonlySet<string>): boolean {
  for (const name of names) if (active.has(name)) return true
  return false
}

function holdsApn(apns: ReadonlySet<string>, apn: string | undefined): boolean {
  if (apn === undefined) return false
  if (apns.has(apn)) return true
  for (const pattern of apns) if (pattern.endsWith('*') && apn.startsWith(pattern.slice(0, -1))) return true
  return false
}

function holdsAttributes(
  wanted: ReadonlyMap<string, ReadonlySet<string>>,
  attributes: ReadonlyMap<string, string>,
): boolean {
  for (const [key, values] of wanted) {
    const value = attributes.get(key)
    if (value === undefined || !values.has(value)) return false
  }
  return true
}

/** The values that conditions of a catalog name. Lines that differ in others only are all the same to it. */
export class Named {
  private readonly zones = new Set<string>()
  private readonly destinations = new Set<string>()
  private readonly rats = new Set<string>()
  private readonly directions = new Set<string>()
  private readonly messages = new Set<string>()
  private readonly apns = new Set<string>()
  /** Patterns without their `*`. */
  private readonly apnStems = new Set<string>()
  private readonly account = new Map<string, Set<string>>()
  private readonly subscriber = new Map<string, Set<string>>()

  constructor(
    private readonly catalog: Catalog,
    conditions: Iterable<Conditions>,
  ) {
    for (const where of conditions) {
      addAll(this.zones, where.zones)
      addAll(this.destinations, where.destinations)
      addAll(this.rats, where.rats)
      addAll(this.directions, where.directions)
      addAll(this.messages, where.messages)
      for (const apn of where.apns ?? []) {
        if (apn.endsWith('*')) this.apnStems.add(apn.slice(0, -1))
        else this.apns.add(apn)
      }
      addAttributes(this.account, where.account)
      addAttributes(this.subscriber, where.subscriber)
    }
  }

  /** What nothing asks for is not looked up. */
  lineOf(service: string, facts: LineFacts, account: Line['account'], subscriber: Line['subscriber']): Line {
    const { zones, destinations } = this.catalog
    const { ratingGroup, serviceIdentifiers, plmn, called, apn, rat, direction, message } = facts
    // Each line of each request comes here: one plain object costs a tenth of one that is put together.
    return {
      service,
      ratingGroup,
      serviceIdentifiers,
      zone: (this.zones.size === 0 ? undefined : findZone(zones, plmn)) ?? none,
      destination:
        (called === undefined || this.destinations.size === 0 ? undefined : destinations.find(called)) ?? none,
      apn: this.apns.size + this.apnStems.size === 0 ? undefined : apn?.toLowerCase(),
      rat: this.rats.size === 0 || rat === undefined ? undefined : (ratTypes[rat] ?? rat),
      direction: this.directions.size === 0 ? undefined : direction,
      message: this.messages.size === 0 || message === undefined ? undefined : messageTypes[message],
      account,
      subscriber,
    }
  }

  /** The same for lines that match the same rules, service and attributes apart. Short, as it is made for each line. */
  classOf({ ratingGroup, serviceIdentifiers, zone, destination, apn, rat, direction, message }: Line): string {
    const { ratingGroups, serviceIdentifiers: identifiers } = this.catalog.memo
    const group = ratingGroup === undefined ? '-' : ratingGroups.has(ratingGroup) ? ratingGroup : '*'
    let found =
      serviceIdentifiers.length === 0 ? `${group}|-` : `${group}|${identifierClass(identifiers, serviceIdentifiers)}`
    if (this.zones.size > 0) found += `|${classIn(this.zones, zone)}`
    if (this.destinations.size > 0) found += `|${classIn(this.destinations, destination)}`
    if (this.apns.size + this.apnStems.size > 0) found += `|${this.apnClass(apn)}`
    if (this.rats.size > 0) found += `|${rat === undefined ? '-' : classIn(this.rats, rat)}`
    if (this.directions.size > 0) found += `|${direction === undefined ? '-' : classIn(this.directions, direction)}`
    if (this.messages.size > 0) found += `|${message === undefined ? '-' : classIn(this.messages, message)}`
    return found
  }

  /** The same for subscribers whose attributes no rule tells apart. */
  attributesClass(account: Line['account'], subscriber: Line['subscriber']): string {
    const classes = (named: ReadonlyMap<string, ReadonlySet<string>>, attributes: Line['account']): unknown[] =>
      [...named].map(([key, values]) => {
        const value = attributes.get(key)
        return value !== undefined && values.has(value) ? value : 0
      })
    return JSON.stringify([...classes(this.account, account), ...classes(this.subscriber, subscriber)])
  }

  /** JSON members for the ledger: where the line was, as far as some condition asks for it. */
  factsOf({ zone, destination, apn, rat, direction, message }: Line, { plmn, called }: LineFacts): string {
    let facts = ''
    // Names need no escapes.
    if (plmn !== undefined && this.zones.size > 0) facts += `,"zone":"${zone}"`
    if (called !== undefined && this.destinations.size > 0) facts += `,"destination":"${destination}"`
    if (apn !== undefined) facts += `,"apn":${JSON.stringify(apn)}`
    if (rat !== undefined) facts += `,"rat":${JSON.stringify(rat)}`
    if (direction !== undefined) facts += `,"direction":"${direction}"`
    if (message !== undefined) facts += `,"message":"${message}"`
    return facts.slice(1)
  }

  private apnClass(apn: string | undefined): string {
    if (apn === undefined) return '-'
    const exact = this.apns.has(apn) ? apn : '*'
    let stems = ''
    for (const stem of this.apnStems) if (apn.startsWith(stem)) stems += ` ${stem}`
    return exact + stems
  }
}

const identifierClass = (named: ReadonlySet<number>, identifiers: readonly number[]): string =>
  identifiers.every(id => named.has(id)) ? identifiers.join() : '*'

const classIn = (named: ReadonlySet<string>, value: string): string => (named.has(value) ? value : '*')

function addAll<T>(into: Set<T>, values: Iterable<T> | undefined): void {
  for (const value of values ?? []) into.add(value)
}

function addAttributes(into: Map<string, Set<string>>, wanted: Conditions['account']): void {
  for (const [key, values] of wanted ?? []) {
    const known = into.get(key) ?? new Set<string>()
    addAll(known, values)
    into.set(key, known)
  }
}

/** Conditions as the catalog's YAML writes them, as JSON data. */
export function showConditions(where: Conditions): Record<string, unknown> {
  const numbers = (condition: Condition): unknown[] => [...condition.values, ...(condition.none ? [none] : [])]
  const attributes = (wanted: ReadonlyMap<string, ReadonlySet<string>>): unknown =>
    Object.fromEntries([...wanted].map(([key, values]) => [key, [...values]]))
  return {
    ...(where.services && { service: [...where.services] }),
    ...(where.ratingGroup && { ratingGroup: numbers(where.ratingGroup) }),
    ...(where.serviceIdentifier && { serviceIdentifier: numbers(where.serviceIdentifier) }),
    ...(where.zones && { zone: [...where.zones] }),
    ...(where.destinations && { destination: [...where.destinations] }),
    ...(where.apns && { apn: [...where.apns] }),
    ...(where.rats && { rat: [...where.rats] }),
    ...(where.directions && { direction: [...where.directions] }),
    ...(where.messages && { message: [...where.messages] }),
    ...(where.when && { when: [...where.when] }),
    ...(where.account && { account: attributes(where.account) }),
    ...(where.subscriber && { subscriber: attributes(where.subscriber) }),
  } satisfies Partial<Record<ConditionName, unknown>>
}
