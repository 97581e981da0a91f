/** What a catalog may say and probably does not mean: rules that are never reached, hours and prefixes without a rule, and what nothing uses. */
import { whereIs, type Fault, type Value } from '../config/yaml.js'
import type { Condition, Conditions, Counter, Effect } from './catalog.js'
import { complement, intersection, weekInForce, weekKinds, weekOf, weekText } from './catalog-times.js'
import { covers } from './load-conditions.js'
import { definedOf, shortList, type Draft, type Names } from './load-draft.js'
import type { DraftOffer, DraftRule } from './load-offers.js'
import { canonicalText } from './load-version.js'

export interface Checked {
  readonly draft: Draft
  readonly offers: readonly DraftOffer[]
  readonly counters: ReadonlyMap<string, Counter>
  /** Prefixes of each destination. */
  readonly prefixes: ReadonlyMap<string, number>
}

/** Of a catalog without faults. */
export function warningsOf(checked: Checked): Fault[] {
  const warnings = unusedItems(checked)
  for (const offer of checked.offers) {
    const index = new CoverIndex(offer.rules)
    warnings.push(...unreachableRules(offer.rules, index))
    warnings.push(...gapsInTheWeek(checked, offer, index))
    warnings.push(...overlappingCalendars(checked.draft, offer.rules))
    warnings.push(...unpricedDestinations(checked, offer, index))
  }
  return warnings
}

const warning = (at: Value, message: string, hint?: string): Fault => ({ ...whereIs(at), message, hint })

function unusedItems({ draft, counters, prefixes }: Checked): Fault[] {
  const { rates, buckets, zones, destinations, calendars, holidays } = draft
  const unused = <T>(names: Names<T>, used: (name: string) => boolean = () => false): string[] =>
    [...names.items.keys()].filter(name => !names.used.has(name) && !used(name))
  const warnings: Fault[] = []
  const tell = (names: Names<unknown>, name: string, message: string, hint: string): void => {
    warnings.push(warning(names.places.get(name)!, message, hint))
  }
  for (const name of unused(rates))
    tell(rates, name, `no rule uses the rate \`${name}\``, 'write it in a rule, or remove it')
  // Rates take from money by themselves.
  for (const name of unused(buckets, each => buckets.items.get(each)?.unit === 'money'))
    tell(buckets, name, `no rule uses the bucket \`${name}\``, 'write it in a rule, or remove the grant')
  for (const name of unused(zones))
    tell(zones, name, `nothing asks for the zone \`${name}\``, 'remove it, or use it in a rule')
  for (const name of unused(holidays))
    tell(
      holidays,
      name,
      `no calendar uses the holidays \`${name}\``,
      'remove them, or write them in `only` or `except`',
    )
  const priorities = [...calendars.used].map(name => calendars.items.get(name)?.priority ?? -Infinity)
  const rules = (name: string): boolean => (calendars.items.get(name)?.priority ?? Infinity) < Math.max(...priorities)
  for (const name of unused(calendars, rules))
    tell(calendars, name, `nothing asks for the calendar \`${name}\``, 'remove it, or use it in a rule')
  for (const [name, { tiers, limit }] of counters) {
    if (tiers || limit !== undefined) continue
    const message = `no rate stands on the counter \`${name}\`, and it has no limit`
    tell(draft.counters, name, message, 'it only counts: add `limit:`, use it in a rate, or remove it')
  }
  const first = unused(destinations)[0]
  if (first !== undefined && destinations.used.size === 0)
    tell(
      destinations,
      first,
      `nothing asks for destinations (${prefixes.size} are defined)`,
      'use them in rules, or remove them',
    )
  return warnings
}

/** Conditions without the calendars, or without the destinations. */
function without(conditions: Conditions, key: 'when' | 'destinations'): Conditions {
  return Object.fromEntries(Object.entries(conditions).filter(([name]) => name !== key))
}

function unreachableRules(rules: readonly DraftRule[], index: CoverIndex): Fault[] {
  return rules.flatMap(({ at, rule }) => {
    const cover = index
      .covering(rule.where)
      .find(earlier => earlier.rule.position < rule.position && covers(earlier.rule.where, rule.where))
    if (!cover) return []
    const message = `${at.path} is never reached: rule ${cover.rule.position} takes all that it matches`
    return [warning(at, message, 'move it up')]
  })
}

/** Rules that end the walk at some hours, and no rule for the same at the others. */
function gapsInTheWeek({ draft, offers }: Checked, offer: DraftOffer, index: CoverIndex): Fault[] {
  const calendars = definedOf(draft.calendars)
  const kinds = weekKinds([...calendars.values()], definedOf(draft.holidays))
  const told = new Set<string>()
  return offer.rules.flatMap(({ at, rule: { where, effect } }) => {
    if (!where.when || goesOn(effect)) return []
    const others = without(where, 'when')
    return servicesOf(draft, where).flatMap(service => {
      const key = `${service} ${canonicalText({ ...others, services: undefined })}`
      if (told.has(key) || leftToOthers(offers, offer, service)) return []
      told.add(key)
      const narrow = { ...others, services: new Set([service]) }
      const alike = index.covering(narrow, 'when').filter(({ rule }) => covers(without(rule.where, 'when'), narrow))
      if (alike.some(({ rule }) => !rule.where.when)) return []
      const names = new Set(alike.flatMap(({ rule }) => [...rule.where.when!]))
      // A holiday's hours are told when they are others than those of ordinary days.
      const [ordinary, ...special] = kinds.map(kind => ({
        hours: weekText(complement(weekInForce(calendars, names, kind))),
        label: kind.label,
      }))
      const gaps = [ordinary!, ...special.filter(({ hours }) => hours !== ordinary!.hours)]
      const hours = gaps.flatMap(each => (each.hours === undefined ? [] : [each.hours + each.label]))
      if (hours.length === 0) return []
      const message = `offer \`${offer.name}\`, service \`${service}\`: no rule like this for ${hours.join('; ')}`
      return [warning(at, message, 'add a rule without `when` below, or leave these hours to an offer of larger rank')]
    })
  })
}

/** After buckets alone the next offer is asked. */
const goesOn = (effect: Effect): boolean => effect.kind === 'use' && effect.rate === undefined

/** An offer that is asked later has rules for the service: what this one says nothing of may be meant for it. */
const leftToOthers = (offers: readonly DraftOffer[], { offer }: DraftOffer, service: string): boolean =>
  offers.some(
    other => other.offer.rank > offer.rank && other.rules.some(({ rule }) => rule.where.services?.has(service) ?? true),
  )

const servicesOf = (draft: Draft, { services }: Conditions): string[] => [...(services ?? draft.services.items.keys())]

function overlappingCalendars(draft: Draft, rules: readonly DraftRule[]): Fault[] {
  const calendars = definedOf(draft.calendars)
  const kinds = weekKinds([...calendars.values()], definedOf(draft.holidays))
  return rules.flatMap(({ at, rule }, index) => {
    const before = rules[index - 1]?.rule
    if (!before?.where.when || !rule.where.when) return []
    if (canonicalText(without(before.where, 'when')) !== canonicalText(without(rule.where, 'when'))) return []
    const earlier = [...before.where.when].filter(name => !rule.where.when!.has(name))
    const later = [...rule.where.when].filter(name => !before.where.when!.has(name))
    for (const [first, second] of earlier.flatMap(a => later.map(b => [calendars.get(a), calendars.get(b)] as const))) {
      if (!first || !second || first.priority !== second.priority) continue
      if ((first.until ?? Infinity) <= (second.since ?? -Infinity)) continue
      if ((second.until ?? Infinity) <= (first.since ?? -Infinity)) continue
      const kind = kinds.find(each => intersection(weekOf(first, each), weekOf(second, each)).includes(1))
      if (!kind) continue
      const hours = weekText(intersection(weekOf(first, kind), weekOf(second, kind)))!
      const message = `the calendars \`${first.name}\` and \`${second.name}\` overlap ${hours}${kind.label}, where rule ${before.position} decides`
      return [warning(at, message, 'give them priorities, or hours that do not overlap')]
    }
    return []
  })
}

function unpricedDestinations({ draft, offers, prefixes }: Checked, offer: DraftOffer, index: CoverIndex): Fault[] {
  const told = new Set<string>()
  return offer.rules.flatMap(({ at, rule: { where, effect } }) => {
    if (!where.destinations || goesOn(effect)) return []
    const others = without(where, 'destinations')
    return servicesOf(draft, where).flatMap(service => {
      const key = `${service} ${canonicalText({ ...others, services: undefined })}`
      if (told.has(key) || leftToOthers(offers, offer, service)) return []
      told.add(key)
      const narrow = { ...others, services: new Set([service]) }
      const alike = index
        .covering(narrow, 'destinations')
        .filter(({ rule }) => covers(without(rule.where, 'destinations'), narrow))
      if (alike.some(({ rule }) => !rule.where.destinations)) return []
      // A destination that is named with other conditions was thought of.
      const named = destinationsNamed(offer, service)
      const missing = [...draft.destinations.items.keys()].filter(name => !named.has(name))
      const list = shortList(missing)
      if (missing.length === 0 || told.has(`${service}:${list}`)) return []
      told.add(`${service}:${list}`)
      const count = missing.reduce((sum, name) => sum + (prefixes.get(name) ?? 0), 0)
      const what = `${missing.length === 1 ? 'the destination' : 'the destinations'} ${list} (${count} ${count === 1 ? 'prefix' : 'prefixes'})`
      const message = `offer \`${offer.name}\`, service \`${service}\`: no rule prices ${what}`
      return [warning(at, message, 'name them in a rule, or add a rule without `destination` below')]
    })
  })
}

function destinationsNamed({ rules }: DraftOffer, service: string): Set<string> {
  const own = rules.filter(({ rule }) => rule.where.services?.has(service) ?? true)
  return new Set(own.flatMap(({ rule }) => [...(rule.where.destinations ?? [])]))
}

/** Conditions by which rules are found, the most telling first. */
const pivots = [
  ...(['ratingGroup', 'serviceIdentifier', 'destinations', 'apns', 'account', 'subscriber'] as const),
  ...(['zones', 'rats', 'when', 'services'] as const),
]

type Pivot = (typeof pivots)[number]

/** Rules of an offer by a value that they ask for, so that of ten thousand only those are compared that may take the same lines. */
class CoverIndex {
  readonly #byValue = new Map<Pivot, Map<string, DraftRule[]>>()
  readonly #others: DraftRule[] = []

  constructor(rules: readonly DraftRule[]) {
    for (const each of rules) {
      const pivot = pivots.find(name => wideValues(each.rule.where, name).length > 0)
      if (!pivot) this.#others.push(each)
      else for (const value of wideValues(each.rule.where, pivot)) this.#add(pivot, value, each)
    }
  }

  #add(pivot: Pivot, value: string, rule: DraftRule): void {
    const rules = this.#byValue.get(pivot) ?? new Map<string, DraftRule[]>()
    this.#byValue.set(pivot, rules)
    const known = rules.get(value)
    if (known) known.push(rule)
    else rules.set(value, [rule])
  }

  /**
   * All rules that may cover these conditions, and some that do not, in their order.
   *
   * @param aside a condition of the rules that does not count
   */
  covering(conditions: Conditions, aside?: Pivot): DraftRule[] {
    const found = new Set(this.#others)
    for (const [pivot, rules] of this.#byValue) {
      const lists =
        pivot === aside ? [...rules.values()] : narrowValues(conditions, pivot).map(value => rules.get(value) ?? [])
      for (const rule of lists.flat()) found.add(rule)
    }
    return [...found].sort((a, b) => a.rule.position - b.rule.position)
  }
}

/** What covers a rule with one of these has one of these, too. Empty: the condition is absent, or too wide to tell. */
function wideValues(conditions: Conditions, pivot: Pivot): string[] {
  const condition = conditions[pivot]
  if (!condition) return []
  if (condition instanceof Map) {
    const [attribute] = [...(condition as ReadonlyMap<string, ReadonlySet<string>>)]
    return attribute ? [...attribute[1]].map(value => `${attribute[0]}=${value}`) : []
  }
  const values = valuesOf(condition as Condition | ReadonlySet<string>)
  return pivot === 'apns' && values.some(value => value.endsWith('*')) ? [] : values
}

/** One value at least of those that a wider rule is found by. */
function narrowValues(conditions: Conditions, pivot: Pivot): string[] {
  const condition = conditions[pivot]
  if (!condition) return []
  if (!(condition instanceof Map)) return valuesOf(condition as Condition | ReadonlySet<string>).slice(0, 1)
  const attributes = [...(condition as ReadonlyMap<string, ReadonlySet<string>>)]
  return attributes.map(([key, values]) => `${key}=${[...values][0] ?? ''}`)
}

function valuesOf(condition: Condition | ReadonlySet<string>): string[] {
  if (condition instanceof Set) return [...(condition as ReadonlySet<string>)]
  const { values, none } = condition as Condition
  return [...(none ? ['none'] : []), ...[...values].map(String)]
}
