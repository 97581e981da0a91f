/**
 * Which rule applies: from a request's Service-Context-Id to its service, and from a subscriber's offers to the charging program
 * of a line (semantics.md section 5). What was matched once is remembered for all lines that no rule tells apart.
 */
import type { Micros, Millis, Units } from '../units.js'
import { endOfPeriod, stateAt } from './calendar.js'
import type { BucketUnit, Catalog, Conditions, Grant, Match, Offer, Rate, Service } from './catalog.js'
import { compileProgram, conditionsOf, type Found, type Passed, type Walked } from './compile-program.js'
import { failing, Named, type Line, type LineFacts } from './conditions.js'
import { exchangeAt, exchangedGrant, exchangedRate, type Exchange } from './exchange.js'
import { firstPeriod } from './fee.js'
import { compileRate } from './price.js'
import { RuleIndex } from './rule-index.js'

export type { LineFacts } from './conditions.js'

/** What matching needs of a subscription. */
export interface Subscribed {
  readonly id: string
  readonly offer: string
  readonly since: Millis
}

/** Whose line it is. The same object for the same subscriber makes matching faster: what follows from it is remembered. */
export interface Subject {
  /** Of the subscriber and of its account, in any order. */
  readonly subscriptions: readonly Subscribed[]
  /** Attributes. */
  readonly account: ReadonlyMap<string, string>
  readonly subscriber: ReadonlyMap<string, string>
  readonly overrides: readonly RateOverride[]
  /** Of the account. Absent: the catalog's. */
  readonly currency?: string
}

/** What an account pays instead of a rate of the catalog. */
export interface RateOverride {
  readonly rate: string
  /** Of a rate with one tier: for its `per`, in the account's currency. */
  readonly price?: Micros | undefined
  /** Name of another rate. */
  readonly instead?: string | undefined
  /** In force: [from, until), ms. */
  readonly from?: Millis | undefined
  readonly until?: Millis | undefined
}

/** A bucket to be made for somebody who gets an offer. */
export interface GrantedBucket {
  readonly name: string
  readonly unit: BucketUnit
  readonly amount: Units
  readonly priority: number
  /** Undefined: never ends, or so long after its first use as `life` says. */
  readonly until: Millis | undefined
  /** The offer. */
  readonly origin: string
  /** Not usable before. */
  readonly from?: Millis | undefined
  /** Ms from the first use. */
  readonly life?: Millis | undefined
  readonly paid?: boolean | undefined
  readonly blocker?: boolean | undefined
  readonly warn?: readonly Units[] | undefined
  /** So long before its end an event says so, descending. */
  readonly remind?: readonly Millis[] | undefined
  readonly rollover?:
    { readonly min: Units; readonly max: Units; readonly lifeMs: Millis; readonly priority: number } | undefined
}

/** The first release with this form of Service-Context-Id. */
const oldestRelease = 6

/** Programs and Service-Context-Ids that are remembered; when there are more, remembering starts anew. */
const memoLimit = 10_000

/** Of one kind of line, at several times: what applies now, before it and after it. */
const matchesKept = 4

/** Rules of an offer that are told where none matches. */
const missesTold = 5

/** Longer Service-Context-Ids are worked out each time: a peer must not fill our memory with them. */
const memoLength = 128

/**
 * The service of a Service-Context-Id `[[extensions.]MNC.MCC.]Release.service-context@domain`, TS 32.299 section 7.1.12.
 * The bare `service-context@domain` is accepted, and whatever else a service lists literally. Undefined: none (5031).
 */
export function findService(catalog: Catalog, serviceContextId: string): Service | undefined {
  const { services } = catalog.memo
  const known = services.get(serviceContextId)
  if (known) return known
  const lowered = serviceContextId.toLowerCase()
  const service = serviceOf(catalog, lowered) ?? serviceOf(catalog, withoutRelease(lowered))
  if (service && serviceContextId.length <= memoLength) remember(services, serviceContextId, service)
  return service
}

/** What two Service-Context-Ids of one service have in common: lower case, without release and operator. */
export function contextKey(serviceContextId: string): string {
  const lowered = serviceContextId.toLowerCase()
  return withoutRelease(lowered) ?? lowered
}

function serviceOf(catalog: Catalog, context: string | undefined): Service | undefined {
  if (context === undefined) return undefined
  return [...catalog.services.values()].find(service => service.contexts.includes(context))
}

/** `ext.15.234.12.32251@3gpp.org` → `32251@3gpp.org`, read from the right. Undefined when it is not of that form. */
function withoutRelease(context: string): string | undefined {
  const match = /^(?:(?:[^@]*\.)?\d{2,3}\.\d{3}\.)?(\d{1,3})\.([^.@]+@[^@]+)$/.exec(context)
  return match && Number(match[1]) >= oldestRelease ? match[2] : undefined
}

/** A catalog made ready for matching. */
interface Ready {
  readonly named: Named
  /** By service: calendars that conditions of money and of counters name, whatever the rules. */
  readonly calendars: Map<string, readonly string[]>
  /** By offer and service. */
  readonly rules: Map<Offer, Map<string, OfferRules>>
  readonly subjects: WeakMap<Subject, KnownSubject>
  /** What of subscribers decides, in words, as numbers: these make short keys. */
  readonly numbers: Map<string, number>
  lastNumber: number
  /** Rates with a price of an account, by rate and price. */
  readonly priced: Map<string, Rate | undefined>
  /** Rates in other currencies, by their name and the exchange rate. */
  readonly exchanged: Map<string, Rate>
}

/** An offer's rules for a service. */
interface OfferRules {
  readonly index: RuleIndex
  /** Named by conditions of the buckets that they use. */
  readonly bucketCalendars: readonly string[]
}

const readyCatalogs = new WeakMap<Catalog, Ready>()

function readyOf(catalog: Catalog): Ready {
  let ready = readyCatalogs.get(catalog)
  if (!ready) {
    ready = {
      named: new Named(catalog, conditionsOf(catalog)),
      calendars: new Map(),
      rules: new Map(),
      subjects: new WeakMap(),
      numbers: new Map(),
      lastNumber: 0,
      priced: new Map(),
      exchanged: new Map(),
    }
    readyCatalogs.set(catalog, ready)
  }
  return ready
}

/**
 * The charging program of a line at a time. Subscriptions are asked by the rank of their offers (smaller first), newest first,
 * then by id; each gives its first matching rule; the walk ends at the first rule with a rate, `free` or `deny`.
 */
export function programFor(catalog: Catalog, subject: Subject, service: Service, facts: LineFacts, at: Millis): Match {
  const ready = readyOf(catalog)
  const known = knownSubject(catalog, ready, subject)
  const line = ready.named.lineOf(service.name, facts, subject.account, subject.subscriber)
  const { programs } = catalog.memo
  const key = `${known.number}|${service.name}|${ready.named.classOf(line)}`
  const matches = programs.get(key)
  let match = matches && inForce(matches, at)
  if (!match) {
    match = matchIn({ catalog, ready, known, service, line, overrides: subject.overrides, exchange: undefined }, at)
    remember(programs, key, [match, ...(matches ?? [])].slice(0, matchesKept))
  }
  const own = ready.named.factsOf(line, facts)
  if (own === '') return match
  const { program, since, until, facts: others, unknownOffers } = match
  return { program, since, until, facts: others === '' ? own : `${own},${others}`, unknownOffers }
}

function inForce(matches: readonly Match[], at: Millis): Match | undefined {
  for (const match of matches) if (match.since <= at && at < match.until) return match
  return undefined
}

/** What of a subscriber decides. */
interface KnownSubject {
  /** The same for all subscribers whom no rule tells apart. */
  readonly number: number
  readonly currency: string
  /** In the order in which they are asked. */
  readonly offers: readonly Offer[]
  readonly unknownOffers: readonly string[]
}

function knownSubject(catalog: Catalog, ready: Ready, subject: Subject): KnownSubject {
  const { named, subjects } = ready
  let known = subjects.get(subject)
  if (!known) {
    const names = offersInOrder(catalog, subject.subscriptions)
    const attributes = named.attributesClass(subject.account, subject.subscriber)
    const overrides = subject.overrides
      .filter(({ rate }) => catalog.rates.has(rate))
      .map(({ rate, price, instead, from, until }) => [rate, price?.toString(), instead, from, until])
    const { currency = catalog.currency } = subject
    const foreign = currency === catalog.currency ? '' : currency
    const words = [names.join(' '), attributes, overrides.length === 0 ? '' : JSON.stringify(overrides), foreign]
    known = {
      number: numberOf(ready, words.join('|')),
      currency,
      offers: names.map(name => catalog.offers.get(name)).filter(offer => offer !== undefined),
      unknownOffers: names.filter(name => !catalog.offers.has(name)),
    }
    subjects.set(subject, known)
  }
  return known
}

/** A number for each text, never given to another. */
function numberOf(ready: Ready, words: string): number {
  const { numbers } = ready
  let number = numbers.get(words)
  if (number === undefined) remember(numbers, words, (number = ++ready.lastNumber))
  return number
}

/** Names of the offers in the order in which they are asked. */
function offersInOrder(catalog: Catalog, subscriptions: readonly Subscribed[]): string[] {
  const rank = (subscribed: Subscribed): number => catalog.offers.get(subscribed.offer)?.rank ?? Number.MAX_SAFE_INTEGER
  return [...subscriptions]
    .sort((a, b) => rank(a) - rank(b) || b.since - a.since || (a.id < b.id ? -1 : 1))
    .map(subscribed => subscribed.offer)
}

function remember<T>(memo: Map<string, T>, key: string, value: T): void {
  if (memo.size >= memoLimit && !memo.has(key)) memo.clear()
  memo.set(key, value)
}

interface MatchInput {
  readonly catalog: Catalog
  readonly ready: Ready
  readonly known: KnownSubject
  readonly service: Service
  readonly line: Line
  readonly overrides: readonly RateOverride[]
  /** Of an account in another currency. */
  readonly exchange: Exchange | undefined
}

/** What applies in the currency of the account: no longer than its exchange rate does. */
function matchIn(input: MatchInput, at: Millis): Match {
  const { catalog, known, service, line } = input
  const { exchange, missing, since, until } = exchangeAt(catalog, known.currency, at)
  if (missing !== undefined) {
    const nothing = {
      found: [],
      before: [],
      after: [],
      end: undefined,
      rate: undefined,
      overridden: undefined,
      passed: [],
    }
    const program = compileProgram(catalog, service, line, new Set(), { ...nothing, noExchange: missing })
    const facts = `"why":${JSON.stringify(missing)}`
    return { program, since, until, facts, unknownOffers: known.unknownOffers }
  }
  const match = matchAt({ ...input, exchange }, at)
  return { ...match, since: Math.max(since, match.since), until: Math.min(until, match.until) }
}

function matchAt(input: MatchInput, at: Millis): Match {
  const { catalog, ready, known, service, line } = input
  const rules = known.offers.map(offer => offerRules(catalog, ready, offer, service.name))
  const calendars = new Set(rules.flatMap(({ index }) => [...index.calendars]))
  const others = rules.flatMap(({ bucketCalendars }) => bucketCalendars)
  const looked = [...calendars, ...others, ...serviceCalendars(catalog, ready, service.name)]
  const state = stateAt(catalog.calendars, looked, at)
  const indexes = rules.map(({ index }) => index)
  const walked = walk(known.offers, indexes, line, state.active)
  const { rate, overridden, since, until } = rateAt(input, walked.rate, at)
  const { exchange } = input
  const program = compileProgram(catalog, service, line, state.active, { ...walked, rate, overridden, exchange })
  const when = [...calendars].filter(name => state.active.has(name)).sort()
  const facts = when.length > 0 ? [`"when":${JSON.stringify(when)}`] : []
  if (program.rate && exchange) facts.push(`"exchange":"${exchange.text}"`)
  if (program.kind === 'unrated') facts.push(`"why":${JSON.stringify(whyUnrated(walked.passed, known.unknownOffers))}`)
  return {
    program,
    since: Math.max(since, state.since),
    until: Math.min(until, state.until),
    facts: facts.join(),
    unknownOffers: known.unknownOffers,
  }
}

function offerRules(catalog: Catalog, { rules }: Ready, offer: Offer, service: string): OfferRules {
  let byService = rules.get(offer)
  if (!byService) rules.set(offer, (byService = new Map<string, OfferRules>()))
  let found = byService.get(service)
  if (!found) {
    const index = new RuleIndex(offer.rules, service)
    const names = index.rules.flatMap(({ effect }) =>
      effect.kind === 'use' ? [...effect.buckets, ...effect.afterRate] : [],
    )
    const buckets = [...new Set(names)].map(name => catalog.buckets.get(name))
    byService.set(service, (found = { index, bucketCalendars: buckets.flatMap(calendarsOf) }))
  }
  return found
}

function serviceCalendars(catalog: Catalog, { calendars }: Ready, service: string): readonly string[] {
  let found = calendars.get(service)
  if (!found) {
    const money = [...catalog.buckets.values()].filter(({ unit }) => unit === 'money')
    const counters = [...catalog.counters.values()].filter(({ tiers }) => !tiers)
    const fitting = [...money, ...counters].filter(({ where: { services } }) => !services || services.has(service))
    calendars.set(service, (found = fitting.flatMap(calendarsOf)))
  }
  return found
}

const calendarsOf = (filter: { readonly where: Conditions } | undefined): string[] => [...(filter?.where.when ?? [])]

/** `rate`: the name in the rule. */
function walk(
  offers: readonly Offer[],
  indexes: readonly RuleIndex[],
  line: Line,
  active: ReadonlySet<string>,
): Omit<Walked, 'rate' | 'overridden'> & { readonly rate: string | undefined } {
  const found: Found[] = []
  const passed: Passed[] = []
  const before = new Set<string>()
  for (const [place, offer] of offers.entries()) {
    const index = indexes[place]!
    const rule = index.first(line, active)
    if (!rule) {
      passed.push(passedOver(offer, index, line, active))
      continue
    }
    found.push({ offer, rule })
    const { effect } = rule
    if (effect.kind !== 'use') return { found, before: [...before], after: [], end: effect, rate: undefined, passed }
    for (const bucket of effect.buckets) before.add(bucket)
    if (effect.rate === undefined) continue
    const after = effect.afterRate.filter(bucket => !before.has(bucket))
    return { found, before: [...before], after, end: undefined, rate: effect.rate, passed }
  }
  return { found, before: [...before], after: [], end: undefined, rate: undefined, passed }
}

function passedOver(offer: Offer, index: RuleIndex, line: Line, active: ReadonlySet<string>): Passed {
  const misses = index.rules.slice(0, missesTold).map(({ position, place, where }) => ({
    ...{ rule: position, place, fails: failing(where, line, active)! },
  }))
  return { offer: offer.name, rules: index.rules.length, misses }
}

/** `payg#1 zone, payg#2 when; bundle: no rule for it`. */
function whyUnrated(passed: readonly Passed[], unknownOffers: readonly string[]): string {
  const words = passed.map(({ offer, rules, misses }) => {
    if (misses.length === 0) return `${offer}: no rule for the service`
    const more = rules > misses.length ? ` and ${rules - misses.length} more` : ''
    return misses.map(({ rule, fails }) => `${offer}#${rule} ${fails}`).join(', ') + more
  })
  words.push(...unknownOffers.slice(0, missesTold).map(offer => `${offer}: not in the catalog`))
  return words.join('; ') || 'no offer'
}

/** What an account pays where a rule says `name`, and while its overrides do not change that. */
function rateAt(
  { catalog, ready, overrides, exchange }: MatchInput,
  name: string | undefined,
  at: Millis,
): { rate: Rate | undefined; overridden: string | undefined; since: Millis; until: Millis } {
  const ruled = name === undefined ? undefined : catalog.rates.get(name)
  let [since, until] = [-Infinity, Infinity]
  if (!ruled) return { rate: ruled, overridden: undefined, since, until }
  /** Of one rate, the first in force; the others bound it. */
  const inForce = (rate: string, kind: 'price' | 'instead'): RateOverride | undefined => {
    let found: RateOverride | undefined
    for (const override of overrides) {
      if (override.rate !== rate || override[kind] === undefined) continue
      const { from = -Infinity, until: end = Infinity } = override
      for (const edge of [from, end]) {
        if (edge <= at) since = Math.max(since, edge)
        else until = Math.min(until, edge)
      }
      if (from <= at && at < end) found ??= override
    }
    return found
  }
  const other = catalog.rates.get(inForce(ruled.name, 'instead')?.instead ?? '')
  const inMoney = (rate: Rate): Rate => (exchange ? rateIn(ready, rate, exchange) : rate)
  const named = inMoney(other?.unit === ruled.unit ? other : ruled)
  const price = inForce(named.name, 'price')?.price
  const rate = (price === undefined ? undefined : pricedRate(ready, named, price)) ?? named
  return { rate, overridden: rate.id === inMoney(ruled).id ? undefined : name, since, until }
}

/** The check has tried each rate of the catalog with each exchange rate. */
function rateIn({ exchanged }: Ready, rate: Rate, exchange: Exchange): Rate {
  const key = `${rate.name} ${exchange.text}`
  let found = exchanged.get(key)
  if (!found) {
    const outcome = exchangedRate(rate, exchange)
    if (!('rate' in outcome)) throw new Error(`rate ${rate.name} by ${exchange.text}: ${outcome.problem}`)
    found = outcome.rate
    remember(exchanged, key, found)
  }
  return found
}

/** Undefined when the price cannot be: the rate has tiers, or it would not be exact. */
function pricedRate({ priced }: Ready, { id, terms }: Rate, price: Micros): Rate | undefined {
  const key = `${id} ${price}`
  if (!priced.has(key)) {
    const [tier, ...more] = terms.tiers
    const outcome =
      tier && more.length === 0 ? compileRate({ ...terms, tiers: [{ ...tier, amount: price }] }) : undefined
    remember(priced, key, outcome && 'rate' in outcome ? outcome.rate : undefined)
  }
  return priced.get(key)
}

/**
 * The buckets that somebody gets with an offer who gets it `now`. Undefined: no such offer. Money is converted for an account in
 * another currency; `refused` says why it cannot be.
 *
 * @param periodEnd of what the fee is paid for; absent: that of a purchase `now`
 */
export function newBuckets(catalog: Catalog, offer: string, now: Millis): GrantedBucket[] | undefined
export function newBuckets(
  catalog: Catalog,
  offer: string,
  now: Millis,
  currency: string,
  periodEnd?: Millis,
): GrantedBucket[] | { readonly refused: string } | undefined
export function newBuckets(
  catalog: Catalog,
  offer: string,
  now: Millis,
  currency = catalog.currency,
  periodEnd?: Millis,
): GrantedBucket[] | { readonly refused: string } | undefined {
  const grants = catalog.offers.get(offer)?.grants
  if (!grants) return undefined
  const { exchange, missing } = exchangeAt(catalog, currency, now)
  const isMoney = ({ bucket }: Grant): boolean => catalog.buckets.get(bucket)!.unit === 'money'
  if (missing !== undefined && grants.some(isMoney)) return { refused: missing }
  const { fee } = catalog.offers.get(offer)!
  const period = periodEnd ?? (fee && firstPeriod(fee, catalog.timezone, now)?.end)
  return grants.map(grant => {
    const converted = exchange && isMoney(grant) ? exchangedGrant(grant, exchange) : grant
    return newBucket(catalog, offer, converted, now, period)
  })
}

/** A grant as a bucket that somebody gets `now`; `period`: end of what the fee is paid for, where the grant lives as long. */
export function newBucket(
  catalog: Catalog,
  offer: string,
  grant: Grant,
  now: Millis,
  period: Millis | undefined,
): GrantedBucket {
  const { bucket, amount, priority, paid, blocker, warn, remind, rollover } = grant
  const { from, end } = grant.life
  const { unit } = catalog.buckets.get(bucket)!
  return {
    ...{ name: bucket, unit, amount, priority, until: endAt(end, now, period), origin: offer },
    ...(from !== undefined && { from }),
    ...(end.kind === 'after' && end.start === 'use' && { life: end.after }),
    ...(paid && { paid }),
    ...(blocker && { blocker }),
    ...(warn.length > 0 && { warn }),
    ...(remind.length > 0 && { remind }),
    ...(rollover && {
      rollover: { min: rollover.min, max: rollover.max, lifeMs: rollover.life, priority: rollover.priority },
    }),
  }
}

function endAt(end: Grant['life']['end'], now: Millis, period: Millis | undefined): Millis | undefined {
  switch (end.kind) {
    case 'fee':
      return period
    case 'never':
      return undefined
    case 'at':
      return end.at
    case 'after':
      return end.start === 'grant' ? now + end.after : undefined
    case 'period':
      return endOfPeriod(end.reset, end.timezone, now)
  }
}
