/**
 * Which rule applies: from a request's Service-Context-Id to its service, from an account's subscriptions to the charging
 * program of a line (semantics.md section 5), from what was asked to what is wanted (section 7).
 */
import type { Millis, Units, UnitType } from '../units.js'
import type { Catalog, Condition, Effect, Match, Offer, QuotaTerms, Rule, Service } from './catalog.js'
import { shortHash } from './price.js'
import type { CompiledRate, Program } from './program.js'

/** What matching needs of a subscription. */
export interface Subscribed {
  readonly id: string
  readonly offer: string
  readonly since: Millis
}

/** What a line is known by: Rating-Group (or none) and the Service-Identifiers as sent. */
export interface LineKey {
  readonly ratingGroup?: number | undefined
  readonly serviceIdentifiers: readonly number[]
}

/** A bucket to be made for somebody who gets an offer. */
export interface GrantedBucket {
  readonly name: string
  readonly unit: UnitType
  readonly amount: Units
  readonly priority: number
  /** Undefined: never ends. */
  readonly until: Millis | undefined
  /** The offer. */
  readonly origin: string
}

/** DIAMETER_RATING_FAILED: no rule matches. */
const ratingFailed = 5031

/** The first release with this form of Service-Context-Id. */
const oldestRelease = 6

/** Programs and Service-Context-Ids that are remembered; when there are more, remembering starts anew. */
const memoLimit = 10_000

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

function serviceOf(catalog: Catalog, context: string | undefined): Service | undefined {
  if (context === undefined) return undefined
  return [...catalog.services.values()].find(service => service.contexts.includes(context))
}

/** `ext.15.234.12.32251@3gpp.org` → `32251@3gpp.org`, read from the right. Undefined when it is not of that form. */
function withoutRelease(context: string): string | undefined {
  const match = /^(?:(?:[^@]*\.)?\d{2,3}\.\d{3}\.)?(\d{1,3})\.([^.@]+@[^@]+)$/.exec(context)
  return match && Number(match[1]) >= oldestRelease ? match[2] : undefined
}

/**
 * The charging program of a line. Subscriptions are asked by the rank of their offers (smaller first), newest first, then
 * by id; each gives its first matching rule; the walk ends at the first rule with a rate, `free` or `deny`.
 */
export function programFor(
  catalog: Catalog,
  subscriptions: readonly Subscribed[],
  service: Service,
  line: LineKey,
): Match {
  const { programs } = catalog.memo
  const offers = offersInOrder(catalog, subscriptions)
  const key = `${offers.join('\n')}|${service.name}|${groupClass(catalog, line)}|${identifierClass(catalog, line)}`
  const known = programs.get(key)
  if (known) return known
  const match = walk(catalog, offers, service, line)
  remember(programs, key, match)
  return match
}

/** Names of the offers in the order in which they are asked. */
function offersInOrder(catalog: Catalog, subscriptions: readonly Subscribed[]): string[] {
  if (subscriptions.length < 2) return subscriptions.map(subscribed => subscribed.offer)
  const rank = (subscribed: Subscribed): number => catalog.offers.get(subscribed.offer)?.rank ?? Number.MAX_SAFE_INTEGER
  return [...subscriptions]
    .sort((a, b) => rank(a) - rank(b) || b.since - a.since || (a.id < b.id ? -1 : 1))
    .map(subscribed => subscribed.offer)
}

function groupClass(catalog: Catalog, line: LineKey): string | number {
  if (line.ratingGroup === undefined) return '-'
  return catalog.memo.ratingGroups.has(line.ratingGroup) ? line.ratingGroup : '*'
}

function identifierClass(catalog: Catalog, line: LineKey): string {
  if (line.serviceIdentifiers.length === 0) return '-'
  const { serviceIdentifiers } = catalog.memo
  return line.serviceIdentifiers.every(id => serviceIdentifiers.has(id)) ? line.serviceIdentifiers.join(',') : '*'
}

function remember<T>(memo: Map<string, T>, key: string, value: T): void {
  if (memo.size >= memoLimit) memo.clear()
  memo.set(key, value)
}

/** An offer's first matching rule. */
interface Found {
  readonly offer: Offer
  readonly rule: Rule
}

function walk(catalog: Catalog, names: readonly string[], service: Service, line: LineKey): Match {
  const buckets: string[] = []
  const found: Found[] = []
  const unknownOffers = names.filter(name => !catalog.offers.has(name))
  let end: Effect | undefined
  for (const name of names) {
    const offer = catalog.offers.get(name)
    const rule = offer?.rules.find(candidate => matches(candidate, service, line))
    if (!offer || !rule) continue
    found.push({ offer, rule })
    if (rule.effect.kind === 'use') buckets.push(...rule.effect.buckets)
    if (rule.effect.kind !== 'use' || rule.effect.rate !== undefined) {
      end = rule.effect
      break
    }
  }
  return { program: programOf(catalog, service, found, [...new Set(buckets)], end), unknownOffers }
}

/** A rule with Service-Identifiers matches a line all of whose identifiers it names: a line is charged as one. */
const matches = (rule: Rule, service: Service, line: LineKey): boolean =>
  (rule.service === undefined || rule.service === service.name) &&
  holds(rule.ratingGroup, line.ratingGroup === undefined ? [] : [line.ratingGroup]) &&
  holds(rule.serviceIdentifier, line.serviceIdentifiers)

function holds(condition: Condition | undefined, values: readonly number[]): boolean {
  if (!condition) return true
  return values.length === 0 ? condition.none : values.every(value => condition.values.has(value))
}

function programOf(
  catalog: Catalog,
  service: Service,
  found: readonly Found[],
  buckets: readonly string[],
  end: Effect | undefined,
): Program {
  // The first rule's offer says how large grants are: its buckets pay first.
  const offer = found[0]?.offer
  const terms = offer?.quotas.get(service.name) ?? service.quota
  const finalUnit = offer?.finalUnit ?? 'terminate'
  const rule = found.map(each => `${each.offer.name}#${each.rule.position}`).join('+') || '-'
  const compile = (kind: Program['kind'], code: number, payers: readonly string[], rate?: CompiledRate): Program =>
    compileProgram({ kind, code, buckets: payers, rate, service, rule, terms, finalUnit })
  if (found.length === 0) return compile('unrated', ratingFailed, [])
  // Ours: `free` below buckets frees the whole line; the buckets stay untouched.
  if (end?.kind === 'free') return compile('free', end.code, [])
  if (end?.kind === 'deny' && buckets.length === 0) return compile('deny', end.code, [])
  const rate = end?.kind === 'use' && end.rate !== undefined ? catalog.rates.get(end.rate) : undefined
  return compile('pay', 0, buckets, rate)
}

interface ProgramParts extends Pick<Program, 'kind' | 'code' | 'buckets' | 'rate' | 'rule'> {
  readonly service: Service
  readonly terms: QuotaTerms
  readonly finalUnit: string
}

/** The text's fields and their order are program.ts's. */
function compileProgram({ kind, code, buckets, rate, rule, service, terms, finalUnit }: ProgramParts): Program {
  const { validity, threshold, size, min, max } = terms
  const fields = [
    service.unit,
    service.name,
    rule,
    validity,
    `${validity},${threshold},${finalUnit}`,
    buckets.join(',') || '-',
    ...(rate ? [rate.id, rate.num, rate.den, rate.step, rate.first, rate.tick] : ['-', 0, 1, 1, 0, 1]),
    code,
  ].join(' ')
  const id = shortHash(`${kind} ${fields}`)
  const text = `${kind} ${id} ${fields}`
  const quota = { size, min, max }
  return { kind, id, text, unit: service.unit, service: service.name, rule, validity, quota, buckets, rate, code }
}

/**
 * How many units to try for, semantics.md section 7, before funds decide.
 *
 * @param asked the amount in Requested-Service-Unit; undefined when it is empty
 * @param requestedUnits the peer's profile: whether the amount bounds the grant
 */
export function wantedUnits(program: Program, asked: bigint | undefined, requestedUnits: 'bound' | 'ignore'): Units {
  const { size, min, max } = program.quota
  const most = program.kind === 'free' ? max : size
  const bounded = asked === undefined || requestedUnits === 'ignore' || asked > most ? most : asked
  return (bounded < min ? min : bounded) as Units
}

/** The buckets that somebody gets with an offer who gets it `now`. Undefined: no such offer. */
export function newBuckets(catalog: Catalog, offer: string, now: Millis): GrantedBucket[] | undefined {
  return catalog.offers.get(offer)?.grants.map(grant => ({
    name: grant.bucket,
    unit: catalog.buckets.get(grant.bucket)!.unit,
    amount: grant.amount,
    priority: grant.priority,
    until: grant.expires === undefined ? undefined : now + grant.expires,
    origin: offer,
  }))
}
