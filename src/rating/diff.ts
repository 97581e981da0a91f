/**
 * What another catalog would change, and for whom: offer by offer and rule by rule, then what they stand on: rates, counters,
 * calendars, zones, destinations, services (scope N3). What the two compare is what they say, not how it is written.
 */
import { formatAmount, formatMoney } from '../units.js'
import { taxInWords } from './catalog.js'
import type { Calendar, Catalog, Counter, ExchangeRate, Offer, Rate, Rule, Service } from './catalog.js'
import { formatExchangeRate } from './exchange.js'
import { canonicalText } from './load-version.js'
import { priceInWords } from './price.js'
import {
  attributesInWords,
  conditionsInWords,
  effectInWords,
  feeInWords,
  grantInWords,
  instantInWords,
  listed,
  percentInWords,
  finalUnitInWords,
  quotaInWords,
  resetInWords,
  yesNo,
} from './words.js'
import { rechargeFields } from './recharge-words.js'

export interface Change {
  /** `price`, `rule 3 (service data)`, `grant data-5gb, amount`. */
  readonly what: string
  /** Undefined: it was not there. */
  readonly from?: string
  /** Undefined: it is gone. */
  readonly to?: string
  /** Of an amount of money: by how much it rises; Infinity: from nothing. */
  readonly percent?: number
  /** `file:line` of the rule it is about, in the new catalog, else in the old one. */
  readonly place?: string
}

export type ThingKind = 'rate' | 'counter' | 'calendar' | 'zone' | 'destination' | 'service'

export interface ThingDiff {
  readonly kind: ThingKind
  readonly name: string
  readonly is: 'added' | 'removed' | 'changed'
  readonly changes: readonly Change[]
  /** Offers with a rule that stands on it, in either catalog. */
  readonly offers: readonly string[]
  /** Of these offers; undefined: not known. */
  readonly subscriptions: number | undefined
}

export interface OfferDiff {
  readonly name: string
  readonly is: 'added' | 'removed' | 'changed'
  /** Undefined: not known. */
  readonly subscriptions: number | undefined
  /** What the offer itself says. */
  readonly changes: readonly Change[]
  /** What changes by things that its rules stand on. */
  readonly through: readonly { readonly kind: ThingKind; readonly name: string; readonly rules: readonly number[] }[]
}

export interface CatalogDiff {
  readonly from: string
  readonly to: string
  /** Of the catalog as a whole: time zone, low balance, exchange rates. */
  readonly settings: readonly Change[]
  readonly offers: readonly OfferDiff[]
  readonly things: readonly ThingDiff[]
}

/** @param subscriptions how many there are of each offer; undefined: nobody knows */
export function diffCatalogs(
  before: Catalog,
  after: Catalog,
  subscriptions: ReadonlyMap<string, number> | undefined,
): CatalogDiff {
  const uses = usesOf(before, after)
  const count = (offers: readonly string[]): number | undefined =>
    subscriptions && offers.reduce((sum, offer) => sum + (subscriptions.get(offer) ?? 0), 0)
  const things = thingsOf(before, after).map(thing => {
    const offers = [...(uses.get(`${thing.kind} ${thing.name}`)?.keys() ?? [])].sort()
    return { ...thing, offers, subscriptions: count(offers) }
  })
  const changed = things.filter(({ is }) => is === 'changed')
  const names = [...new Set([...before.offers.keys(), ...after.offers.keys()])].sort()
  const offers = names.flatMap((name): OfferDiff[] => {
    const [old, now] = [before.offers.get(name), after.offers.get(name)]
    const known = { name, subscriptions: count([name]) }
    if (!old || !now) return [{ ...known, is: now ? 'added' : 'removed', changes: [], through: [] }]
    const changes = offerChanges(before, old, after, now)
    const through = changed.flatMap(({ kind, name: thing }) => {
      const rules = uses.get(`${kind} ${thing}`)?.get(name)
      return rules ? [{ kind, name: thing, rules: [...rules].sort((a, b) => a - b) }] : []
    })
    return changes.length + through.length === 0 ? [] : [{ ...known, is: 'changed', changes, through }]
  })
  const settings = [
    ...fieldChanges(settingsOf(before), settingsOf(after)),
    ...fieldChanges(rechargeFields(before), rechargeFields(after)),
    ...exchangeChanges(before, after),
  ]
  return { from: before.version, to: after.version, settings, offers, things }
}

/** A price that rises or falls by more than so many percent, as a line for its operator. */
export function priceJumps(before: Catalog, after: Catalog, percent: number): string[] {
  const diff = diffCatalogs(before, after, undefined)
  const isJump = (change: Change): boolean => change.percent !== undefined && Math.abs(change.percent) > percent
  const hint = `more than ${percent} %; if it is meant, go on`
  const ofRates = diff.things.flatMap(({ kind, name, offers, changes }) => {
    if (kind !== 'rate') return []
    const place = placeOf(after, name)
    const whose = offers.length === 0 ? 'no offer uses it' : `of ${listed(offers)}`
    return changes.filter(isJump).map(change => `${place}rate ${name} (${whose}): ${changeText(change)}; ${hint}`)
  })
  const ofOffers = diff.offers.flatMap(({ name, changes }) =>
    changes.filter(isJump).map(change => {
      const place = change.place === undefined ? '' : `${change.place}: `
      return `${place}offer ${name}: ${changeText(change)}; ${hint}`
    }),
  )
  const ofExchange = diff.settings.filter(isJump).map(change => `${changeText(change)}; ${hint}`)
  return [...ofExchange, ...ofRates, ...ofOffers]
}

/** Where a rate is used first. */
function placeOf(catalog: Catalog, rate: string): string {
  for (const { rules } of catalog.offers.values())
    for (const { effect, place } of rules) if (effect.kind === 'use' && effect.rate === rate) return `${place}: `
  return ''
}

/** `price: 0.01 per 1 MB → 0.05 per 1 MB, +400 %`. */
export function changeText({ what, from, to, percent }: Change): string {
  if (from === undefined) return to === undefined ? what : `${what}: new, ${to}`
  if (to === undefined) return `${what}: gone, was ${from}`
  const by = percent === undefined ? '' : `, ${percentInWords(percent)}`
  return `${what}: ${from} → ${to}${by}`
}

/** The whole as text, a line each. */
export function diffText(diff: CatalogDiff): string[] {
  const lines = [`catalog ${diff.from} → ${diff.to}`]
  if (diff.from === diff.to) return [...lines, 'they say the same']
  if (diff.settings.length + diff.offers.length + diff.things.length === 0)
    return [
      ...lines,
      'something else differs, which concerns no offer, rate, counter, calendar, zone, destination or service',
    ]
  for (const change of diff.settings) lines.push(`  ${changeText(change)}`)
  for (const offer of diff.offers) {
    lines.push('', `offer ${offer.name} (${subscriptionsText(offer.subscriptions)}): ${offer.is}`)
    for (const change of offer.changes) lines.push(`  ${changeText(change)}`)
    for (const { kind, name, rules } of offer.through) {
      const thing = diff.things.find(each => each.kind === kind && each.name === name)!
      const whose = rules.length === 0 ? '' : ` (${rules.length === 1 ? 'rule' : 'rules'} ${listed(rules.map(String))})`
      lines.push(...thing.changes.map(change => `  ${kind} ${name}${whose}: ${changeText(change)}`))
    }
  }
  const others = diff.things.filter(({ is, offers }) => is !== 'changed' || offers.length === 0)
  if (others.length > 0) lines.push('', 'beside the offers')
  for (const { kind, name, is, changes } of others)
    lines.push(
      ...(is === 'changed'
        ? changes.map(each => `  ${kind} ${name}: ${changeText(each)}`)
        : [`  ${kind} ${name}: ${is}`]),
    )
  return lines
}

const subscriptionsText = (count: number | undefined): string =>
  count === undefined ? 'subscriptions not known' : count === 1 ? '1 subscription' : `${count} subscriptions`

/** Before it is known for whom. */
type Difference = Omit<ThingDiff, 'offers' | 'subscriptions'>

type Fields = Readonly<Record<string, string>>

function fieldChanges(before: Fields, after: Fields, prefix = ''): Change[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names.flatMap(name => {
    const [from, to] = [before[name], after[name]]
    if (from === to) return []
    return [{ what: prefix + name, ...(from !== undefined && { from }), ...(to !== undefined && { to }) }]
  })
}

/** At each date of either, by what prices are converted from then on; a rate that is written again changes nothing. */
function exchangeChanges(before: Catalog, after: Catalog): Change[] {
  const currencies = new Set([...before.exchange.keys(), ...after.exchange.keys()])
  return [...currencies].sort().flatMap(currency => {
    const [old = [], now = []] = [before.exchange.get(currency), after.exchange.get(currency)]
    const dates = [...new Set([...old, ...now].map(({ from }) => from))].sort((a, b) => a - b)
    const rateAt = (rates: readonly ExchangeRate[], at: number): Priced | undefined => {
      const rate = rates.findLast(({ from }) => from <= at)?.rate
      return rate === undefined ? undefined : { text: formatExchangeRate(rate), value: Number(rate) }
    }
    return dates.flatMap((date): Change[] => {
      const [from, to] = [rateAt(old, date), rateAt(now, date)]
      if (from?.text === to?.text) return []
      const percent = percentOf(from, to)
      return [
        {
          what: `exchange rate ${currency} from ${instantInWords(date)}`,
          ...(from && { from: from.text }),
          ...(to && { to: to.text }),
          ...(percent !== undefined && { percent }),
        },
      ]
    })
  })
}

const settingsOf = ({ currency, tax, timezone, lowBalance, thresholds }: Catalog): Fields => ({
  currency,
  tax: taxInWords({ tax }) || 'not said',
  'time zone': timezone,
  thresholds:
    [...thresholds.amounts.map(formatMoney), ...thresholds.percents.map(each => `${each} %`)].join(', ') || 'none',
  'low balance': lowBalance.length === 0 ? 'none' : lowBalance.map(formatMoney).join(', '),
})

function thingsOf(before: Catalog, after: Catalog): Difference[] {
  const compare = <T>(
    kind: ThingKind,
    old: ReadonlyMap<string, T>,
    now: ReadonlyMap<string, T>,
    changesOf: (old: T, now: T) => Change[],
  ): Difference[] =>
    [...new Set([...old.keys(), ...now.keys()])].sort().flatMap((name): Difference[] => {
      const [from, to] = [old.get(name), now.get(name)]
      if (from === undefined) return [{ kind, name, is: 'added', changes: [] }]
      if (to === undefined) return [{ kind, name, is: 'removed', changes: [] }]
      const changes = changesOf(from, to)
      return changes.length === 0 ? [] : [{ kind, name, is: 'changed', changes }]
    })
  const byFields =
    <T>(fieldsOf: (thing: T) => Fields) =>
    (old: T, now: T): Change[] =>
      fieldChanges(fieldsOf(old), fieldsOf(now))
  return [
    ...compare('rate', before.rates, after.rates, rateChanges),
    ...compare('counter', before.counters, after.counters, byFields(counterFields)),
    ...compare('calendar', before.calendars, after.calendars, byFields(calendarFields)),
    ...compare('zone', before.zones, after.zones, (old, now) => memberChanges('network', old.plmns, now.plmns)),
    ...destinationDiffs(before, after),
    ...compare('service', before.services, after.services, byFields(serviceFields)),
  ]
}

/** Words with the amount of money they stand for, per unit, where it is one. */
interface Priced {
  readonly text: string
  readonly value?: number
}

function rateChanges(before: Rate, after: Rate): Change[] {
  const [old, now] = [rateFields(before), rateFields(after)]
  return [...new Set([...Object.keys(old), ...Object.keys(now)])].flatMap(name => {
    const [from, to] = [old[name], now[name]]
    if (from?.text === to?.text) return []
    const percent = before.unit === after.unit ? percentOf(from, to) : undefined
    return [
      {
        what: name,
        ...(from && { from: from.text }),
        ...(to && { to: to.text }),
        ...(percent !== undefined && { percent }),
      },
    ]
  })
}

function percentOf(from: Priced | undefined, to: Priced | undefined): number | undefined {
  if (from?.value === undefined || to?.value === undefined || from.value === to.value) return undefined
  return from.value === 0 ? Infinity : ((to.value - from.value) / from.value) * 100
}

function rateFields({ terms }: Rate): Record<string, Priced> {
  const { unit, tiers, mode, step, first, setup, minimum, cap, round, decimals, counter } = terms
  const money = (value: bigint): Priced => ({ text: formatMoney(value), value: Number(value) })
  const prices = tiers.map(({ upTo, amount, per }, index): [string, Priced] => [
    tiers.length === 1 ? 'price' : `price of tier ${index + 1}`,
    {
      text: priceInWords(unit, amount, per) + (upTo === undefined ? '' : ` up to ${formatAmount(unit, upTo)}`),
      value: Number(amount) / Number(per),
    },
  ])
  return {
    unit: { text: unit },
    ...Object.fromEntries(prices),
    step: { text: formatAmount(unit, step) },
    first: { text: first === 0n ? 'none' : formatAmount(unit, first) },
    setup: money(setup),
    minimum: money(minimum),
    cap: cap
      ? { text: `${formatMoney(cap.amount)} a session, then ${cap.then}`, value: Number(cap.amount) }
      : { text: 'none' },
    rounding: { text: `${round}, ${decimals} decimals` },
    mode: { text: mode },
    counter: { text: counter ?? 'none' },
  }
}

const counterFields = (counter: Counter): Fields => ({
  unit: counter.unit,
  per: counter.per,
  reset: `${resetInWords(counter.reset)} (${counter.timezone})`,
  counts: counter.tiers ? 'what its rates bill' : conditionsInWords(counter.where),
  limit: counter.limit === undefined ? 'none' : formatAmount(counter.unit, counter.limit),
  'at the limit': counter.then,
  'opt-in': yesNo(counter.optIn),
  events: counter.steps.length === 0 ? 'none' : counter.steps.map(percent => `${percent} %`).join(', '),
})

const dayNames = ['', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']

const calendarFields = (calendar: Calendar): Fields => ({
  'time zone': calendar.timezone,
  days: calendar.days
    ? [...calendar.days]
        .sort()
        .map(day => dayNames[day]!)
        .join(', ')
    : 'all',
  hours: calendar.time ? `${clock(calendar.time.from)} to ${clock(calendar.time.to)}` : 'all',
  only: calendar.only === undefined ? 'any date' : listed(calendar.only),
  except: calendar.except.length === 0 ? 'none' : listed(calendar.except),
  since: calendar.since === undefined ? 'always' : instantInWords(calendar.since),
  until: calendar.until === undefined ? 'always' : instantInWords(calendar.until),
  priority: calendar.priority === undefined ? 'none' : String(calendar.priority),
})

const clock = (minutes: number): string =>
  `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`

const serviceFields = (service: Service): Fields => ({
  context: listed(service.contexts),
  unit: service.unit,
  'failure handling': service.failureHandling ?? "the daemon's",
  inform: [...service.inform].join(', ') || 'nothing',
  ...prefixed('quota ', quotaInWords(service, service.quota)),
})

const prefixed = (prefix: string, fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).map(([name, text]) => [prefix + name, text]))

function memberChanges(what: string, before: Iterable<string>, after: Iterable<string>): Change[] {
  const [old, now] = [new Set(before), new Set(after)]
  const gone = [...old].filter(each => !now.has(each))
  const added = [...now].filter(each => !old.has(each))
  return [
    ...(gone.length > 0 ? [{ what: `${what}s`, from: listed(gone) }] : []),
    ...(added.length > 0 ? [{ what: `${what}s`, to: listed(added) }] : []),
  ]
}

/** Prefixes are counted: there may be hundreds of thousands. */
function destinationDiffs(before: Catalog, after: Catalog): Difference[] {
  const owners = new Map<string, string>()
  for (const { prefix, destination } of before.destinations.rows()) owners.set(prefix, destination)
  const counts = new Map<string, Map<string, { count: number; example: string }>>()
  const note = (destination: string, what: string, prefix: string): void => {
    const ofThis = counts.get(destination) ?? new Map<string, { count: number; example: string }>()
    counts.set(destination, ofThis)
    const known = ofThis.get(what)
    ofThis.set(what, { count: (known?.count ?? 0) + 1, example: known?.example ?? prefix })
  }
  for (const { prefix, destination } of after.destinations.rows()) {
    const owner = owners.get(prefix)
    owners.delete(prefix)
    if (owner === destination) continue
    if (owner === undefined) note(destination, 'added', prefix)
    else {
      note(destination, `moved here from ${owner}`, prefix)
      note(owner, `moved to ${destination}`, prefix)
    }
  }
  for (const [prefix, destination] of owners) note(destination, 'removed', prefix)
  const names = new Set([...before.destinations.names, ...after.destinations.names, ...counts.keys()])
  return [...names].sort().flatMap((name): Difference[] => {
    const changes = [...(counts.get(name) ?? [])].map(([what, { count, example }]) => ({
      what: count === 1 ? `1 prefix ${what} (${example})` : `${count} prefixes ${what}, like ${example}`,
    }))
    const [was, is] = [before.destinations.names.has(name), after.destinations.names.has(name)]
    if (!was || !is) return [{ kind: 'destination', name, is: is ? 'added' : 'removed', changes }]
    return changes.length === 0 ? [] : [{ kind: 'destination', name, is: 'changed', changes }]
  })
}

function offerChanges(before: Catalog, old: Offer, after: Catalog, now: Offer): Change[] {
  return [
    ...fieldChanges(offerFields(old), offerFields(now)),
    ...grantChanges(before, old, after, now),
    ...quotaChanges(before, old, after, now),
    ...ruleChanges(before, old, after, now),
  ]
}

const offerFields = ({ rank, fee, eligible, sold, finalUnit, pools, sessions }: Offer): Fields => ({
  rank: String(rank),
  fee: fee ? feeInWords(fee) : 'none',
  eligible: eligible.size === 0 ? 'everybody' : attributesInWords(eligible),
  'sold from': sold.from === undefined ? 'always' : instantInWords(sold.from),
  'sold until': sold.until === undefined ? 'always' : instantInWords(sold.until),
  'final unit': finalUnitInWords(finalUnit),
  pools:
    [...pools].map(([name, { id, units, price }]) => `${name} ${id}: ${units} for ${formatMoney(price)}`).join(', ') ||
    'none',
  sessions: sessions === undefined ? 'any number' : String(sessions),
})

function grantChanges(before: Catalog, old: Offer, after: Catalog, now: Offer): Change[] {
  const byName = (catalog: Catalog, { grants }: Offer): Map<string, Fields> => {
    const found = new Map<string, Fields>()
    for (const grant of grants) {
      const again = [...found.keys()].filter(name => name.split(' ')[0] === grant.bucket).length
      found.set(again === 0 ? grant.bucket : `${grant.bucket} (${again + 1})`, grantInWords(catalog, grant))
    }
    return found
  }
  const [from, to] = [byName(before, old), byName(after, now)]
  return [...new Set([...from.keys(), ...to.keys()])].flatMap(name => {
    const [was, is] = [from.get(name), to.get(name)]
    if (!was) return [{ what: `grant ${name}`, to: is!['amount']! }]
    if (!is) return [{ what: `grant ${name}`, from: was['amount']! }]
    return fieldChanges(was, is, `grant ${name}, `)
  })
}

function quotaChanges(before: Catalog, old: Offer, after: Catalog, now: Offer): Change[] {
  const names = new Set([...old.quotas.keys(), ...now.quotas.keys()])
  return [...names].flatMap(name => {
    const fields = (catalog: Catalog, { quotas }: Offer): Fields => {
      const service = catalog.services.get(name)
      const quota = quotas.get(name) ?? service?.quota
      return service && quota ? quotaInWords(service, quota) : {}
    }
    return fieldChanges(fields(before, old), fields(after, now), `quota of ${name}, `)
  })
}

/** Rules are the same when their conditions are; the order of those that both have may differ. */
function ruleChanges(before: Catalog, old: Offer, after: Catalog, now: Offer): Change[] {
  const byConditions = new Map<string, Rule[]>()
  for (const rule of old.rules) {
    const key = canonicalText(rule.where)
    byConditions.set(key, [...(byConditions.get(key) ?? []), rule])
  }
  const changes: Change[] = []
  const pairs: (readonly [old: Rule, now: Rule])[] = []
  for (const rule of now.rules) {
    const same = byConditions.get(canonicalText(rule.where))?.shift()
    if (same) pairs.push([same, rule])
    else changes.push({ what: ruleName(rule), to: effectInWords(rule.effect), place: rule.place })
  }
  for (const rule of [...byConditions.values()].flat())
    changes.push({ what: ruleName(rule), from: effectInWords(rule.effect), place: rule.place })
  const kept = ascending(pairs.map(([{ position }]) => position))
  for (const [index, [was, is]] of pairs.entries()) {
    const moved = !kept.has(index)
    if (moved) {
      const order = `${was.position} in the order`
      changes.push({ what: ruleName(is), from: order, to: `${is.position} in the order`, place: is.place })
    }
    const [from, to] = [effectInWords(was.effect), effectInWords(is.effect)]
    if (from === to) continue
    const percent = percentOf(firstPrice(before, was), firstPrice(after, is))
    const price = (catalog: Catalog, rule: Rule): string => {
      const first = firstPrice(catalog, rule)
      return first ? ` (${first.text})` : ''
    }
    changes.push({
      what: ruleName(is),
      from: from + price(before, was),
      to: to + price(after, is),
      place: is.place,
      ...(percent !== undefined && { percent }),
    })
  }
  return changes
}

const ruleName = ({ position, where }: Rule): string => `rule ${position} (${conditionsInWords(where)})`

/** What its first units cost; nothing when it has no rate. */
function firstPrice(catalog: Catalog, { effect }: Rule): Priced | undefined {
  if (effect.kind !== 'use' || effect.rate === undefined) return undefined
  const { unit, terms } = catalog.rates.get(effect.rate)!
  const { amount, per } = terms.tiers[0]!
  return { text: priceInWords(unit, amount, per), value: Number(amount) / Number(per) }
}

/** Indexes of a longest run of ascending numbers: what is not in it has moved. */
function ascending(numbers: readonly number[]): Set<number> {
  const ends: number[] = [] // index of the smallest end of a run of each length
  const before: (number | undefined)[] = []
  for (const [index, number] of numbers.entries()) {
    let [low, high] = [0, ends.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (numbers[ends[middle]!]! < number) low = middle + 1
      else high = middle
    }
    before[index] = low === 0 ? undefined : ends[low - 1]
    ends[low] = index
  }
  const kept = new Set<number>()
  for (let index = ends.at(-1); index !== undefined; index = before[index]) kept.add(index)
  return kept
}

/** `rate data-payg` → offer → positions of the rules that stand on it, in either catalog. */
function usesOf(...catalogs: readonly Catalog[]): Map<string, Map<string, Set<number>>> {
  const uses = new Map<string, Map<string, Set<number>>>()
  const note = (thing: string, offer: string, position?: number): void => {
    const offers = uses.get(thing) ?? new Map<string, Set<number>>()
    uses.set(thing, offers)
    const rules = offers.get(offer) ?? new Set<number>()
    offers.set(offer, rules)
    if (position !== undefined) rules.add(position)
  }
  for (const catalog of catalogs) {
    for (const { name: offer, rules, grants } of catalog.offers.values()) {
      for (const { position, where, effect } of rules) {
        for (const service of where.services ?? catalog.services.keys()) note(`service ${service}`, offer, position)
        for (const zone of where.zones ?? []) note(`zone ${zone}`, offer, position)
        for (const destination of where.destinations ?? []) note(`destination ${destination}`, offer, position)
        for (const calendar of where.when ?? []) note(`calendar ${calendar}`, offer, position)
        if (effect.kind !== 'use' || effect.rate === undefined) continue
        note(`rate ${effect.rate}`, offer, position)
        const counter = catalog.rates.get(effect.rate)?.counter
        if (counter !== undefined) note(`counter ${counter}`, offer, position)
      }
      for (const { bucket } of grants) {
        const { zones, destinations, when } = catalog.buckets.get(bucket)!.where
        for (const zone of zones ?? []) note(`zone ${zone}`, offer)
        for (const destination of destinations ?? []) note(`destination ${destination}`, offer)
        for (const calendar of when ?? []) note(`calendar ${calendar}`, offer)
      }
      // What a usage counter counts depends on the line: it may concern every offer.
      for (const [name, { tiers }] of catalog.counters) if (!tiers) note(`counter ${name}`, offer)
    }
  }
  return uses
}
