/** What a catalog may say and probably does not mean: rules that are never reached, hours and prefixes without a rule, and what nothing uses. */
import { whereIs, type Fault, type Value } from '../config/yaml.js'
import type { Conditions, Counter, Effect } from './catalog.js'
import { Hours } from './catalog-times.js'
import { CoverIndex, without } from './cover-index.js'
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
  const { draft, offers } = checked
  const hours = new Hours(definedOf(draft.calendars), definedOf(draft.holidays))
  const last = lastRanks(checked)
  const warnings = unusedItems(checked)
  for (const offer of offers) {
    const asked = { checked, offer, hours, isLeft: (service: string) => last(service) > offer.offer.rank }
    warnings.push(...unreachableRules(offer.rules))
    warnings.push(...gapsInTheWeek(asked))
    warnings.push(...overlappingCalendars(offer.rules, hours))
    warnings.push(...unpricedDestinations(asked))
  }
  return warnings
}

/** What the checks of one offer share. */
interface Asked {
  readonly checked: Checked
  readonly offer: DraftOffer
  readonly hours: Hours
  /** An offer that is asked later has rules for the service: what this one says nothing of may be meant for it. */
  readonly isLeft: (service: string) => boolean
}

/** By service: the rank of the offer that is asked last and has rules for it. */
function lastRanks({ offers }: Checked): (service: string) => number {
  const ofAll = { rank: -Infinity }
  const ranks = new Map<string, number>()
  for (const { offer, rules } of offers) {
    for (const { rule } of rules) {
      const { services } = rule.where
      if (!services) ofAll.rank = Math.max(ofAll.rank, offer.rank)
      for (const service of services ?? []) ranks.set(service, Math.max(ranks.get(service) ?? -Infinity, offer.rank))
    }
  }
  return service => Math.max(ofAll.rank, ranks.get(service) ?? -Infinity)
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

function unreachableRules(rules: readonly DraftRule[]): Fault[] {
  const index = new CoverIndex(rules.map(({ rule }) => rule))
  return rules.flatMap(({ at, rule }) => {
    const cover = index.first(rule.where, rule.position)
    if (!cover) return []
    const message = `${at.path} is never reached: rule ${cover.position} takes all that it matches`
    return [warning(at, message, 'move it up')]
  })
}

/** Rules that end the walk at some hours, and no rule for the same at the others. */
function gapsInTheWeek({ checked: { draft }, offer, hours, isLeft }: Asked): Fault[] {
  const rules = offer.rules.map(({ rule }) => rule)
  if (!rules.some(({ where }) => where.when)) return []
  const always = new CoverIndex(rules.filter(({ where }) => !where.when))
  const timed = new CoverIndex(
    rules.filter(({ where }) => where.when),
    'when',
  )
  const told = new Set<string>()
  return offer.rules.flatMap(({ at, rule: { where, effect } }) => {
    if (!where.when || goesOn(effect)) return []
    const others = without(where, 'when')
    const text = canonicalText({ ...others, services: undefined })
    return servicesOf(draft, where).flatMap(service => {
      const key = `${service} ${text}`
      if (told.has(key) || isLeft(service)) return []
      told.add(key)
      const narrow = { ...others, services: new Set([service]) }
      if (always.first(narrow)) return []
      const gaps = hours.outside(new Set(timed.all(narrow).flatMap(rule => [...rule.where.when!])))
      if (gaps.length === 0) return []
      const message = `offer \`${offer.name}\`, service \`${service}\`: no rule like this for ${gaps.join('; ')}`
      return [warning(at, message, 'add a rule without `when` below, or leave these hours to an offer of larger rank')]
    })
  })
}

/** After buckets alone the next offer is asked. */
const goesOn = (effect: Effect): boolean => effect.kind === 'use' && effect.rate === undefined

const servicesOf = (draft: Draft, { services }: Conditions): string[] => [...(services ?? draft.services.items.keys())]

function overlappingCalendars(rules: readonly DraftRule[], hours: Hours): Fault[] {
  return rules.flatMap(({ at, rule }, index) => {
    const before = rules[index - 1]?.rule
    if (!before?.where.when || !rule.where.when) return []
    const earlier = [...before.where.when].filter(name => !rule.where.when!.has(name))
    const later = [...rule.where.when].filter(name => !before.where.when!.has(name))
    const pairs = earlier.flatMap(first => later.map(second => ({ first, second })))
    const overlap = pairs.find(({ first, second }) => hours.shared(first, second) !== undefined)
    if (!overlap) return []
    if (canonicalText(without(before.where, 'when')) !== canonicalText(without(rule.where, 'when'))) return []
    const { first, second } = overlap
    const message = `the calendars \`${first}\` and \`${second}\` overlap ${hours.shared(first, second)!}, where rule ${before.position} decides`
    return [warning(at, message, 'give them priorities, or hours that do not overlap')]
  })
}

function unpricedDestinations({ checked: { draft, prefixes }, offer, isLeft }: Asked): Fault[] {
  const anywhere = new CoverIndex(offer.rules.map(({ rule }) => rule).filter(({ where }) => !where.destinations))
  const told = new Set<string>()
  /** Services of which all is said. */
  const done = new Set<string>()
  return offer.rules.flatMap(({ at, rule: { where, effect } }) => {
    if (!where.destinations || goesOn(effect)) return []
    const services = servicesOf(draft, where).filter(service => !done.has(service) && !isLeft(service))
    if (services.length === 0) return []
    const others = without(where, 'destinations')
    const text = canonicalText({ ...others, services: undefined })
    return services.flatMap(service => {
      const key = `${service} ${text}`
      if (told.has(key)) return []
      told.add(key)
      if (anywhere.first({ ...others, services: new Set([service]) })) return []
      done.add(service)
      // A destination that is named with other conditions was thought of.
      const named = destinationsNamed(offer, service)
      const missing = [...draft.destinations.items.keys()].filter(name => !named.has(name))
      if (missing.length === 0) return []
      const count = missing.reduce((sum, name) => sum + (prefixes.get(name) ?? 0), 0)
      const what = `${missing.length === 1 ? 'the destination' : 'the destinations'} ${shortList(missing)} (${count} ${count === 1 ? 'prefix' : 'prefixes'})`
      const message = `offer \`${offer.name}\`, service \`${service}\`: no rule prices ${what}`
      return [warning(at, message, 'name them in a rule, or add a rule without `destination` below')]
    })
  })
}

function destinationsNamed({ rules }: DraftOffer, service: string): Set<string> {
  const own = rules.filter(({ rule }) => rule.where.services?.has(service) ?? true)
  return new Set(own.flatMap(({ rule }) => [...(rule.where.destinations ?? [])]))
}
