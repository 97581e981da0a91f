/** From what matches a line to its charging program: the text that lua/charge.lua reads (program.ts), and what it means. */
import type {
  BucketKind,
  Catalog,
  Conditions,
  Counter,
  FinalUnit,
  Offer,
  QuotaTerms,
  Rate,
  Rule,
  Service,
} from './catalog.js'
import { failing, showConditions, type ConditionName, type Line } from './conditions.js'
import { termsText } from './description.js'
import { exchangedCounter, type Exchange } from './exchange.js'
import { poolTerms } from './pool.js'
import { describeRate, formatRate, shortHash } from './price.js'
import type { Program } from './program.js'
import { triggerTypes, writeTerms } from './terms.js'
import type { UnitType } from '../units.js'

/** An offer's first matching rule. */
export interface Found {
  readonly offer: Offer
  readonly rule: Rule
}

/** A rule that does not match, and the first of its conditions that does not hold. */
export interface Miss {
  readonly rule: number
  readonly place: string
  readonly fails: ConditionName
}

/** An offer without a matching rule: its rules for the service, as far as they are told. */
export interface Passed {
  readonly offer: string
  /** How many rules it has for the service. */
  readonly rules: number
  readonly misses: readonly Miss[]
}

/** What the walk through the offers found for a line. */
export interface Walked {
  readonly found: readonly Found[]
  /** Buckets that are named before the rate, and behind it, each once. */
  readonly before: readonly string[]
  readonly after: readonly string[]
  readonly end: { readonly kind: 'free' | 'deny'; readonly code: number } | undefined
  readonly rate: Rate | undefined
  /** The rate that the rule names, where the account has another, or another price. */
  readonly overridden: string | undefined
  readonly passed: readonly Passed[]
  /** What the rate was converted by, for an account in another currency. */
  readonly exchange?: Exchange | undefined
  /** Why nothing can be converted for it: then nothing was found. */
  readonly noExchange?: string | undefined
}

/** What a program means: `description` of Program, as JSON. Amounts are digits. */
export interface ProgramDescription {
  readonly service: string
  readonly unit: UnitType
  readonly kind: Program['kind']
  readonly rules: readonly {
    readonly offer: string
    readonly rule: number
    /** `file:line`. */
    readonly place?: string
    readonly where: Readonly<Record<string, unknown>>
    readonly effect: string
  }[]
  readonly rate?: {
    readonly name: string
    readonly id: string
    readonly words: string
    /** RateTerms: an explanation does the sum with them. */
    readonly terms: Readonly<Record<string, unknown>>
    readonly insteadOf?: string
  }
  readonly buckets?: readonly {
    readonly name: string
    readonly unit: string
    readonly pays: 'before' | 'after'
    readonly each: string
    readonly takes: string
  }[]
  /** Buckets that a rule names, and whose own conditions the line does not meet. */
  readonly unfit?: readonly { readonly name: string; readonly fails: ConditionName }[]
  /** Money buckets that may pay the rate. */
  readonly money?: readonly string[]
  readonly counters?: readonly {
    readonly name: string
    readonly counts: 'units' | 'money' | 'tiers'
    readonly unit: UnitType
    readonly per: Counter['per']
    /** Of the catalog: an account may have another one. */
    readonly limit?: string
    readonly then: Counter['then']
  }[]
  /** Of lines without a rule: what was tried. */
  readonly passed?: readonly Passed[]
  /** `USD 0.92`: the rate, and limits of money, are converted from the catalog's currency by this. */
  readonly exchange?: string
  /** Why prices cannot be converted: `no exchange rate USD at any time`. */
  readonly noExchange?: string
}

/** DIAMETER_RATING_FAILED: no rule matches. */
const ratingFailed = 5031

interface Payer {
  readonly name: string
  readonly kind: BucketKind
  readonly each: bigint
  readonly takes: bigint
}

interface Counted {
  readonly counter: Counter
  readonly what: 'u' | 'm' | 't'
}

/** Compiles what was found for a line while these calendars are in force. */
export function compileProgram(
  catalog: Catalog,
  service: Service,
  line: Line,
  active: ReadonlySet<string>,
  walked: Walked,
): Program {
  const fit = (name: string): ConditionName | undefined => unfitness(catalog, name, line, active)
  const named = [...walked.before, ...walked.after]
  const payers = (names: readonly string[]): Payer[] =>
    names.filter(name => fit(name) === undefined).flatMap(name => payerOf(catalog, name, service))
  const kind = kindOf(walked, payers(walked.before))
  const paying = kind === 'pay'
  const [before, after] = paying ? [payers(walked.before), payers(walked.after)] : [[], []]
  const rate = paying ? walked.rate : undefined
  const parts: Parts = {
    ...{ service, kind, walked, before, after, rate },
    code: kind === 'unrated' ? ratingFailed : kind === 'pay' ? 0 : (walked.end?.code ?? 0),
    money: rate ? moneyBuckets(catalog, line, active) : [],
    counters: paying ? countersOf(catalog, service, line, active, rate, walked.exchange) : [],
    unfit: paying
      ? named.flatMap(name => {
          const fails = fit(name)
          return fails === undefined ? [] : [{ name, fails }]
        })
      : [],
  }
  return writeProgram(catalog, parts)
}

/** Ours: `free` below buckets frees the whole line, and the buckets stay untouched. A `deny` below buckets only ends the list. */
function kindOf({ found, end }: Walked, before: readonly Payer[]): Program['kind'] {
  if (found.length === 0) return 'unrated'
  if (end?.kind === 'free') return 'free'
  return end?.kind === 'deny' && before.length === 0 ? 'deny' : 'pay'
}

function unfitness(catalog: Catalog, name: string, line: Line, active: ReadonlySet<string>): ConditionName | undefined {
  const bucket = catalog.buckets.get(name)
  // Money pays rates, wherever the rules name it.
  if (!bucket || bucket.unit === 'money') return undefined
  return bucket.pays.has(line.service) ? failing(bucket.where, line, active) : 'service'
}

function payerOf(catalog: Catalog, name: string, service: Service): Payer[] {
  const kind = catalog.buckets.get(name)
  const pays = kind?.pays.get(service.name)
  return kind && pays && kind.unit !== 'money' ? [{ name, kind, each: pays.each, takes: pays.takes }] : []
}

const moneyBuckets = ({ buckets }: Catalog, line: Line, active: ReadonlySet<string>): string[] =>
  [...buckets.values()]
    .filter(({ unit, where }) => unit === 'money' && failing(where, line, active) === undefined)
    .map(({ name }) => name)

/** The counter of the rate's tiers, and what counts this line's usage: in units of its service, or in money where it costs any. */
function countersOf(
  { counters }: Catalog,
  service: Service,
  line: Line,
  active: ReadonlySet<string>,
  rate: Rate | undefined,
  exchange: Exchange | undefined,
): Counted[] {
  const counted: Counted[] = []
  for (const each of counters.values()) {
    const counter = exchange ? exchangedCounter(each, exchange) : each
    if (counter.tiers) {
      if (counter.name === rate?.counter) counted.push({ counter, what: 't' })
    } else if (failing(counter.where, line, active) === undefined) {
      if (counter.unit === 'money') {
        if (rate) counted.push({ counter, what: 'm' })
      } else if (counter.unit === service.unit) counted.push({ counter, what: 'u' })
    }
  }
  return counted
}

interface Parts {
  readonly service: Service
  readonly kind: Program['kind']
  readonly code: number
  readonly walked: Walked
  readonly before: readonly Payer[]
  readonly after: readonly Payer[]
  readonly rate: Rate | undefined
  readonly money: readonly string[]
  readonly counters: readonly Counted[]
  readonly unfit: readonly { readonly name: string; readonly fails: ConditionName }[]
}

/** The text's fields and their order are program.ts's. */
function writeProgram(catalog: Catalog, parts: Parts): Program {
  const { service, kind, code, walked, before, after, rate, money, counters } = parts
  const { quota, validity, terms } = termsOf(catalog, parts)
  const rule = walked.found.map(({ offer, rule: { position } }) => `${offer.name}#${position}`).join('+') || '-'
  const written = rate ? formatRate(rate) : { rate: '-', tiers: '-' }
  const fields = [
    service.unit,
    service.name,
    rule,
    validity,
    terms,
    [quota.size, quota.min, quota.max, quota.target].join(','),
    before.map(payerText).join(',') || '-',
    written.rate,
    written.tiers,
    after.map(payerText).join(',') || '-',
    money.join(',') || '-',
    counters.map(counterText).join(';') || '-',
    code,
  ].join(' ')
  // Places move with each edit above them; what they say is the same.
  const id = shortHash(`${kind} ${fields}\n${JSON.stringify(describe(parts, false))}`)
  return {
    ...{ kind, id, text: `${kind} ${id} ${fields}`, unit: service.unit, service: service.name, rule, validity, quota },
    buckets: before.map(({ name }) => name),
    afterRate: after.map(({ name }) => name),
    money,
    rate,
    counters: counters.map(({ counter }) => counter.name),
    code,
    description: JSON.stringify(describe(parts, true)),
  }
}

/** The first rule's offer says how large grants are: its buckets pay first. */
function termsOf(
  catalog: Catalog,
  { service, walked: { found, end }, kind, rate }: Parts,
): { quota: Program['quota']; validity: number; terms: string } {
  const { offer, rule } = found[0] ?? {}
  const quota: QuotaTerms = offer?.quotas.get(service.name) ?? service.quota
  const { size, min, max, target, validity } = quota
  const finalUnit: FinalUnit = offer?.quotas.get(service.name)?.finalUnit ??
    offer?.finalUnit ??
    service.quota.finalUnit ?? { action: 'terminate' }
  const pool = kind === 'pay' && rule?.effect.kind === 'use' ? rule.effect.pool : undefined
  const triggers = kind === 'deny' || end?.kind === 'deny' ? undefined : triggersOf(quota, found, service.name)
  const inform = {
    cost: service.inform.has('cost'),
    balance: service.inform.has('balance'),
    low: catalog.lowBalance[0],
  }
  const terms = writeTerms(quota, finalUnit, {
    triggers,
    pool: pool === undefined || !rate ? undefined : poolTerms(rate.terms, offer!.pools.get(pool)!),
    inform,
  })
  return { quota: { size, min, max, target }, validity, terms }
}

/** What can change the price of a line, by the conditions of its offers' rules for its service (3GPP-021). */
function triggersOf({ triggers }: QuotaTerms, found: readonly Found[], service: string): readonly number[] | undefined {
  if (triggers) return triggers
  const types = new Set<number>()
  for (const { offer } of found)
    for (const { where } of offer.rules) {
      if (where.services && !where.services.has(service)) continue
      if (where.rats) types.add(triggerTypes.rat[0])
      if (where.zones) for (const type of triggerTypes.plmn) types.add(type)
    }
  return types.size === 0 ? undefined : [...types].sort((a, b) => a - b)
}

const payerText = ({ name, each, takes }: Payer): string =>
  each === 1n && takes === 1n ? name : `${name}~${each}~${takes}`

function counterText({ counter, what }: Counted): string {
  const { name, then, per, limit, steps } = counter
  return [name, what, then[0], per[0], limit ?? '-', steps.join('.') || '-'].join(',')
}

function describe(parts: Parts, places: boolean): ProgramDescription {
  const { service, kind, walked, before, after, rate, money, counters, unfit } = parts
  const paid = (payers: readonly Payer[], pays: 'before' | 'after'): NonNullable<ProgramDescription['buckets']> =>
    payers.map(({ name, kind: { unit }, each, takes }) => ({
      ...{ name, unit, pays, each: String(each), takes: String(takes) },
    }))
  const buckets = [...paid(before, 'before'), ...paid(after, 'after')]
  const { overridden: insteadOf } = walked
  const counts = { u: 'units', m: 'money', t: 'tiers' } as const
  return {
    service: service.name,
    unit: service.unit,
    kind,
    rules: walked.found.map(({ offer, rule: { position, place, where, effect } }) => ({
      offer: offer.name,
      rule: position,
      ...(places && { place }),
      where: showConditions(where),
      effect: effectText(effect),
    })),
    ...(rate && {
      rate: {
        ...{ name: rate.name, id: rate.id, words: describeRate(rate), terms: termsText(rate) },
        ...(insteadOf !== undefined && { insteadOf }),
      },
    }),
    ...(buckets.length > 0 && { buckets }),
    ...(unfit.length > 0 && { unfit }),
    ...(money.length > 0 && { money }),
    ...(counters.length > 0 && {
      counters: counters.map(({ counter: { name, unit, per, limit, then }, what }) => ({
        ...{ name, counts: counts[what], unit, per, then },
        ...(limit !== undefined && { limit: String(limit) }),
      })),
    }),
    ...(rate && walked.exchange && { exchange: walked.exchange.text }),
    ...(walked.noExchange !== undefined && { noExchange: walked.noExchange }),
    ...(kind === 'unrated' && { passed: places ? walked.passed : withoutPlaces(walked.passed) }),
  }
}

const withoutPlaces = (passed: readonly Passed[]): Passed[] =>
  passed.map(each => ({ ...each, misses: each.misses.map(miss => ({ ...miss, place: '' })) }))

/** As a rule writes it: `use data-5gb, data-payg`. */
function effectText(effect: Rule['effect']): string {
  if (effect.kind !== 'use') return effect.code === 0 ? effect.kind : `${effect.kind} ${effect.code}`
  const { buckets, rate, afterRate } = effect
  return `use ${[...buckets, ...(rate === undefined ? [] : [rate]), ...afterRate].join(', ')}`
}

/** All conditions of a catalog, to know which values they name. */
export function* conditionsOf({ offers, buckets, counters }: Catalog): Generator<Conditions> {
  for (const { rules } of offers.values()) for (const { where } of rules) yield where
  for (const { where } of buckets.values()) yield where
  for (const { where } of counters.values()) yield where
}
