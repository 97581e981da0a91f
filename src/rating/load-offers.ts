/** Offers of the catalog: grants with their buckets, and rules with their conditions. */
import { isIP } from 'node:net'
import { basename } from 'node:path'
import { parsePercent } from '../config/quantity.js'
import { fault, readText, whereIs, type Value } from '../config/yaml.js'
import { exactLimit, formatAmount, lineLimit, units, type Micros, type Units, type UnitType } from '../units.js'
import type {
  BucketKind,
  BucketUnit,
  Conditions,
  Effect,
  Fee,
  FinalUnit,
  Grant,
  Life,
  Offer,
  Pool,
  QuotaTerms,
  Rollover,
  Rule,
  Service,
} from './catalog.js'
import type {
  ConversionGroup,
  FeeGroup,
  FinalUnitGroup,
  GrantGroup,
  OfferGroup,
  PoolGroup,
  QuotaGroup,
  RolloverGroup,
  RuleGroup,
} from './catalog-shape.js'
import { readAmount } from './load-amount.js'
import { instantOf, timezoneOf } from './load-calendars.js'
import { attributesOf, readConditions } from './load-conditions.js'
import { define, hintFor, refer, shownPlace, warn, type Draft } from './load-draft.js'
import { canonicalText } from './load-version.js'
import { multiplierOf } from './pool.js'
import type { Item, Row } from './schema.js'
import { envelopeWords, timeMechanisms, triggerTypes, type TriggerName } from './terms.js'

/** A rule and where it stands. */
export interface DraftRule {
  readonly at: Value
  readonly rule: Rule
}

export interface DraftOffer {
  readonly name: string
  /** Place of the name. */
  readonly key: Value
  readonly offer: Offer
  readonly rules: readonly DraftRule[]
}

const second = 1_000

/** What a service without `quota` gets: grants for about a minute of heavy use, reports at least once an hour. */
const defaultQuota: Record<UnitType, QuotaTerms> = {
  octets: quotaOf(10_000_000n, 100_000n, 100_000_000n),
  seconds: quotaOf(60n, 1n, 600n),
  events: quotaOf(1n, 1n, 10n),
  money: quotaOf(1_000_000n, 10_000n, 100_000_000n),
}

function quotaOf(size: bigint, min: bigint, max: bigint): QuotaTerms {
  return { size: units(size), min: units(min), max: units(max), target: 0, validity: 3_600, threshold: 0 }
}

/** Keys that are absent keep their `base`, drawn along where size would leave the others behind. */
export function readQuota(
  group: QuotaGroup | undefined,
  unit: UnitType,
  base: QuotaTerms = defaultQuota[unit],
): QuotaTerms {
  if (!group) return base
  const { here, at, is } = group
  const amount = (field: Value | undefined): Units | undefined => field && readAmount(field, unit)
  const size = amount(at.size) ?? base.size
  const min = amount(at.min) ?? (base.min < size ? base.min : size)
  const max = amount(at.max) ?? (base.max > size ? base.max : size)
  if (min > size) fault(at.min ?? here, `${here.path}: min is above size`, 'write min ≤ size ≤ max')
  if (size > max) fault(at.max ?? here, `${here.path}: size is above max`, 'write min ≤ size ≤ max')
  const seconds = (key: 'target' | 'validity'): number =>
    is[key] === undefined ? base[key] : Math.ceil(is[key] / second)
  for (const key of ['target', 'validity'] as const)
    if (is[key] !== undefined && is[key] % second !== 0)
      fault(at[key]!, `${at[key]!.path} is no whole number of seconds`, 'write it like 300s or 1h')
  const [target, validity] = [seconds('target'), seconds('validity')]
  if (target > validity && (at.target ?? at.validity)) {
    const hint = `the gateway reports then anyway: write a validity of ${target}s at least`
    fault((at.target ?? at.validity)!, `${here.path}: target is above validity`, hint)
  }
  const told = readTold(group, unit)
  return {
    ...base,
    ...{ size, min, max, target, validity },
    threshold: is.threshold ?? base.threshold,
    ...told,
    ...(is.finalUnit && { finalUnit: readFinalUnit(is.finalUnit) }),
  }
}

/** What the gateway is told beside the amount; only what is written. */
function readTold({ here, at, is }: QuotaGroup, unit: UnitType): Partial<QuotaTerms> {
  for (const key of ['consumption', 'timeMechanism'] as const)
    if (at[key] && unit !== 'seconds') fault(at[key], `${at[key].path} is for services in seconds`, 'remove it')
  if (at.consumption && at.timeMechanism)
    fault(at.consumption, `${here.path} has consumption and timeMechanism`, 'remove one: the mechanism would win')
  const whole = (value: Value | undefined, ms: number | undefined): number | undefined => {
    if (ms !== undefined && ms % second !== 0)
      fault(value!, `${value!.path} is no whole number of seconds`, 'write it like 300s or 10m')
    return ms === undefined ? undefined : Math.ceil(ms / second)
  }
  const [holding, consumption] = [whole(at.holding, is.holding), whole(at.consumption, is.consumption)]
  const triggers = is.triggers && readTriggers(is.triggers)
  const mechanism = is.timeMechanism
  const interval = mechanism && whole(mechanism.at.interval, mechanism.is.interval)
  return {
    ...(holding !== undefined && { holding }),
    ...(triggers && { triggers }),
    ...(consumption !== undefined && { consumption }),
    ...(mechanism?.is.type &&
      interval !== undefined && { timeMechanism: { type: timeMechanisms.indexOf(mechanism.is.type), interval } }),
    ...(is.envelope && { envelope: envelopeWords.indexOf(is.envelope) }),
    ...(is.furnish !== undefined && { furnish: is.furnish }),
  }
}

/** Trigger-Types that may stand together, TS 32.299 section 7.2.236. */
function readTriggers(items: readonly Item<TriggerName | 'none'>[]): number[] {
  const names = items.map(({ is }) => is)
  const about = (name: TriggerName, others: readonly TriggerName[]): void => {
    const other = others.find(each => names.includes(each))
    const item = items.find(({ is }) => is === name)
    if (item && other) fault(item.at, `the trigger ${name} includes ${other}`, 'remove one of them')
  }
  about('location', ['mcc', 'mnc', 'plmn', 'rac', 'lac', 'cell', 'tac', 'ecgi'])
  const none = items.find(({ is }) => is === 'none')
  if (none && items.length > 1) fault(none.at, `${none.at.path} is none beside other triggers`, 'remove it')
  return [...new Set(names.flatMap(name => (name === 'none' ? [] : triggerTypes[name])))].sort((a, b) => a - b)
}

const defaultRestricted = 300 * second

export function readFinalUnit({ here, at, is }: FinalUnitGroup): FinalUnit | undefined {
  const { action } = is
  if (!action) return undefined
  const restricting = action === 'redirect' || action === 'restrict'
  for (const key of ['validity', 'repeat'] as const)
    if (at[key] && !restricting) fault(at[key], `${at[key].path} has no use with ${action}`, 'remove it')
  if (at.to && action !== 'redirect') fault(at.to, `${at.to.path} is for action: redirect`, 'remove it')
  for (const key of ['filters', 'filterIds'] as const)
    if (at[key] && action !== 'restrict') fault(at[key], `${at[key].path} is for action: restrict`, 'remove it')
  if (at.announcement && action === 'none')
    fault(at.announcement, `${at.announcement.path} has no use with none`, 'remove it')
  const announcement = is.announcement === undefined ? {} : { announcement: is.announcement }
  if (!restricting) return { action, ...announcement }
  const ms = is.validity ?? defaultRestricted
  if (ms % second !== 0) fault(at.validity!, `${at.validity!.path} is no whole number of seconds`, 'write it like 5m')
  const restricted = { validity: Math.ceil(ms / second), repeat: is.repeat ?? false, ...announcement }
  if (action === 'restrict') {
    const filters = (is.filters ?? []).map(item => item.is)
    return { action, filters, filterIds: (is.filterIds ?? []).map(item => item.is), ...restricted }
  }
  if (!at.to)
    return fault(here, `${here.path} does not say where to redirect`, 'add `to:` with a URL, SIP URI or IP address')
  const to = is.to && redirectAddress(is.to)
  if (is.to !== undefined && !to)
    return fault(at.to, `${at.to.path}: \`${is.to}\` is no address`, 'write a URL, a SIP URI, or an IP address')
  return to ? { action, to, ...restricted } : undefined
}

function redirectAddress(address: string): { type: 'ipv4' | 'ipv6' | 'url' | 'sip'; address: string } | undefined {
  if (/^https?:/.test(address)) return { type: 'url', address }
  if (/^sips?:/.test(address)) return { type: 'sip', address }
  const family = isIP(address)
  return family === 0 ? undefined : { type: family === 4 ? 'ipv4' : 'ipv6', address }
}

const defaultPoolUnits = 1_000_000

function readPools(rows: readonly Row<PoolGroup>[]): Map<string, Pool> {
  const pools = new Map<string, Pool>()
  const ids = new Map<number, string>()
  for (const { name, is: group } of rows) {
    const { id, units: count = defaultPoolUnits, price } = group?.is ?? {}
    if (id === undefined || price === undefined) continue
    const other = ids.get(id)
    if (other !== undefined) fault(group!.at.id!, `the pool \`${other}\` has the id ${id}, too`, 'write another number')
    if (price === 0n) fault(group!.at.price!, `${group!.at.price!.path} is 0`, 'write what `units` pool units cost')
    ids.set(id, name)
    pools.set(name, { id, units: BigInt(count), price })
  }
  return pools
}

/** All grants first: a rule may use a bucket that another offer grants. */
export function readOffers(draft: Draft, rows: readonly Row<OfferGroup>[]): DraftOffer[] {
  const granted = rows.map(({ is }) => {
    const fee = is?.is.fee && readFee(is.is.fee)
    const grants = (is?.is.grants ?? []).map(({ is: grant }) => readGrant(draft, grant, is!.is.fee))
    return { fee, grants: grants.filter(grant => grant !== undefined) }
  })
  const offers = rows.flatMap(({ name, key, is: group }, index) => {
    const { fee, grants } = granted[index]!
    if (!group) return []
    const { at, is } = group
    const pools = readPools(is.pools ?? [])
    const rules = (is.rules ?? []).flatMap((item, position) => readRule(draft, item, position + 1, pools))
    // One that only gives something leaves the rules to others.
    if (!is.rules?.length && grants.length === 0)
      warn(draft, key, `the offer \`${name}\` has no rules`, 'all its use is refused with 5031')
    const offer: Offer = {
      name,
      rank: is.rank ?? 100,
      fee,
      eligible: attributesOf(is.eligible ?? []),
      sold: readSold(draft, is.sold),
      grants,
      rules: rules.map(({ rule }) => rule),
      quotas: is.quota ? readQuotas(draft, is.quota) : new Map<string, QuotaTerms>(),
      finalUnit: is.finalUnit && readFinalUnit(is.finalUnit),
      pools,
      sessions: is.sessions,
    }
    if (at.fee && !fee) return []
    return [{ name, key, offer, rules }]
  })
  const byName = new Map(offers.map(({ name, offer }) => [name, offer]))
  for (const { name, key } of rows) define(draft.offers, name, key, byName.get(name))
  return offers
}

const hour = 3_600 * second
const day = 24 * hour
const defaultRetry = [hour, 6 * hour, day]
const defaultGrace = 3 * day

/** Keys that say something of renewals only. */
const renewalKeys = ['align', 'proration', 'renew', 'retry', 'grace', 'graceRules', 'catchUp', 'remind'] as const

function readFee({ here, at, is }: FeeGroup): Fee | undefined {
  if (is.amount === undefined || (at.every && !is.every)) return undefined
  const { every, align = 'anchored', renew = 'auto' } = is
  for (const key of every ? [] : renewalKeys)
    if (at[key])
      fault(at[key], `${at[key].path} has no use for a fee that is paid once`, 'remove it, or write `every:`')
  if (align === 'calendar' && every?.kind === 'rolling')
    fault(at.align!, `${at.align!.path}: no calendar has such periods`, 'write `every:` hour, day, week, month or year')
  for (const key of renew === 'auto' ? [] : (['retry', 'catchUp'] as const))
    if (at[key]) fault(at[key], `${at[key].path} has no use with renew: ${renew}`, 'remove it')
  for (const key of renew === 'none' ? (['grace', 'graceRules'] as const) : [])
    if (at[key]) fault(at[key], `${at[key].path} has no use with renew: none`, 'remove it')
  const grace = is.grace ?? defaultGrace
  const retry = is.retry?.map(item => item.is) ?? defaultRetry.filter(each => each <= grace)
  const late = is.retry?.find((item, index) => item.is > grace || item.is <= (retry[index - 1] ?? 0))
  if (late) {
    const beyond = late.is > grace
    const message = `${late.at.path} is ${beyond ? 'after the end of the grace' : 'not after the one before'}`
    fault(late.at, message, beyond ? 'write a longer `grace`' : 'write them ascending: [1h, 6h, 1d]')
  }
  if (is.proration !== undefined && is.proration !== 'none' && renew !== 'none' && is.amount === 0n)
    fault(at.proration!, `${here.path}: a part of 0 is 0`, 'remove proration')
  return {
    ...{ amount: is.amount, every, align, proration: is.proration ?? 'none', renew, setup: is.setup ?? (0n as Micros) },
    ...{ retry: renew === 'auto' ? retry : [], grace: renew === 'none' ? 0 : grace },
    ...{ graceRules: is.graceRules ?? true, catchUp: is.catchUp ?? 'each', remind: readAhead(is.remind) },
  }
}

/** The longest first. */
const readAhead = (items: readonly Item<number>[] = []): number[] =>
  [...new Set(items.map(({ is }) => is))].sort((a, b) => b - a)

function readSold(draft: Draft, group: OfferGroup['is']['sold']): Offer['sold'] {
  const from = instantOf(group?.at.from, group?.is.from, draft.timezone)
  const until = instantOf(group?.at.until, group?.is.until, draft.timezone)
  if (from !== undefined && until !== undefined && from >= until)
    fault(group!.at.until!, `${group!.here.path}: until is not after from`, 'write a later `until`')
  return { from, until }
}

function readQuotas(draft: Draft, rows: readonly Row<QuotaGroup>[]): Map<string, QuotaTerms> {
  const quotas = new Map<string, QuotaTerms>()
  for (const { key, name, is } of rows) {
    const service = refer(draft.services, key, name) ? draft.services.items.get(name) : undefined
    if (service) quotas.set(name, readQuota(is, service.unit, { ...service.quota, finalUnit: undefined }))
  }
  return quotas
}

export function readGrant(draft: Draft, { here, at, is }: GrantGroup, fee: FeeGroup | undefined): Grant | undefined {
  const bucket = is.bucket
  const before = here.source.faults.length
  const payment = readPayment(draft, { here, at, is })
  const amount = at.amount && payment && readAmount(at.amount, payment.unit)
  const where = readConditions(draft, is)
  const life = readLife(draft, { here, at, is }, fee)
  const priority = is.priority ?? 100
  const rollover =
    is.rollover && payment && life && readRollover(is.rollover, { unit: payment.unit, amount, life, priority })
  const warnings = (is.warn ?? []).flatMap(item =>
    amount === undefined || !payment ? [] : (readWarning(item.at, amount, payment.unit) ?? []),
  )
  checkDescending(is.warn ?? [], warnings)
  if (is.blocker === true && life?.end.kind === 'never' && at.expires)
    warn(
      draft,
      at.blocker!,
      `the blocker \`${bucket ?? '?'}\` never ends`,
      'nothing behind it pays as long as it is held',
    )
  if (bucket === undefined || !at.bucket) return undefined
  if (draft.rates.items.has(bucket)) fault(at.bucket, `\`${bucket}\` is also the name of a rate`, 'rename one of them')
  if (bucket === 'main') fault(at.bucket, '`main` is the name of the money of each account', 'use another name')
  if (!payment || !at.expires) {
    if (!draft.buckets.items.has(bucket)) define(draft.buckets, bucket, at.bucket, undefined)
    if (!payment) return undefined
  }
  const { unit, pays, services } = payment
  const kind: BucketKind = { name: bucket, unit, pays, where: { ...(services && { services }), ...where } }
  addBucket(draft, kind, at.bucket)
  if (amount === undefined || !life || here.source.faults.length > before) return undefined
  const { paid = false, blocker = false } = is
  if (is.remind && life.end.kind === 'never')
    return fault(at.remind!, `${at.remind!.path}: the bucket never ends`, 'remove it, or write when it ends')
  return { bucket, amount, life, priority, paid, blocker, warn: warnings, remind: readAhead(is.remind), rollover }
}

/** What a bucket is of, and what it may pay. */
interface Payment {
  readonly unit: BucketUnit
  readonly pays: BucketKind['pays']
  /** Of money, which pays nothing by itself: rates take from it. */
  readonly services: ReadonlySet<string> | undefined
}

function readPayment(draft: Draft, { here, at, is }: GrantGroup): Payment | undefined {
  const { unit } = is
  if (at.unit && !unit) return undefined
  if (!at.for) {
    if (unit === 'money') return { unit, pays: new Map(), services: undefined }
    return fault(here, `${here.path} lacks \`for\``, 'add `for:` with the services that it pays')
  }
  if (!is.for) return undefined
  return 'long' in is.for
    ? convertingPayment(draft, { here, at, is }, is.for.long)
    : plainPayment(draft, { here, at, is }, is.for.plain)
}

/** Taken unit by unit, or step by step. */
function plainPayment(draft: Draft, { at, is }: GrantGroup, items: readonly Item<string>[]): Payment | undefined {
  const named = items.filter(item => refer(draft.services, item.at, item.is)).map(item => item.is)
  const services = named.map(name => draft.services.items.get(name)).filter(service => service !== undefined)
  if (is.unit === 'money') {
    if (at.step) fault(at.step, `${at.step.path} has no use for money`, 'remove it: rates have steps')
    return { unit: 'money', pays: new Map(), services: new Set(named) }
  }
  if (is.unit === 'units') {
    const message = `${at.for!.path} does not say how many units each service takes`
    return fault(at.for!, message, 'write it like { data: { each: 1MB, takes: 1 } }')
  }
  const unit = is.unit ?? services[0]?.unit
  if (!unit || services.length < items.length) return undefined
  if (unit === 'money') {
    const message = `the service \`${services[0]!.name}\` is of money, which only a rate can take`
    return fault(at.for!, message, 'add `unit: money`, and a rate to the rule')
  }
  const other = services.find(service => service.unit !== unit)
  const bucket = is.bucket ?? '?'
  if (other) {
    const message = is.unit
      ? `the bucket \`${bucket}\` is of ${unit}, but the service \`${other.name}\` counts ${other.unit}`
      : `the services of bucket \`${bucket}\` count ${unit} and ${other.unit}`
    const hint = is.unit ? 'write how much it takes: { data: { each: 1MB, takes: 1 } }' : 'make a bucket of each unit'
    const item = is.unit ? items.find(each => each.is === other.name) : undefined
    fault(item?.at ?? at.for!, message, hint)
  }
  const step = at.step ? readAmount(at.step, unit) : units(1)
  if (step === undefined) return undefined
  const pays = new Map(named.sort().map(name => [name, { each: step, takes: step }]))
  return { unit, pays, services: undefined }
}

/** So many units of a service take so much of the bucket. */
function convertingPayment(
  draft: Draft,
  { here, at, is }: GrantGroup,
  rows: readonly Row<ConversionGroup>[],
): Payment | undefined {
  const { unit } = is
  if (!unit) return fault(here, `${here.path} lacks \`unit\``, 'add `unit:`, like units for points')
  if (unit === 'money') {
    const hint = 'write the services as a list, and a rate in the rules'
    return fault(at.for!, `${at.for!.path}: how much money usage takes is what a rate says`, hint)
  }
  if (at.step) fault(at.step, `${at.step.path} has no use beside \`each\``, 'remove it')
  const pays = new Map<string, { each: Units; takes: Units }>()
  for (const { name, key, is: group } of rows) {
    const service = refer(draft.services, key, name) ? draft.services.items.get(name) : undefined
    const [eachAt, takesAt] = [group?.at.each, group?.at.takes]
    if (!service || !eachAt || !takesAt) continue
    const { here: conversion } = group!
    const each = readAmount(eachAt, service.unit)
    const takes = readAmount(takesAt, unit)
    if (each === undefined || takes === undefined) continue
    if ((lineLimit[service.unit] / each + 1n) * takes >= exactLimit)
      fault(
        takesAt,
        `${conversion.path}: the largest line would take more than can be counted`,
        'write a larger `each`',
      )
    pays.set(name, { each, takes })
  }
  if (rows.length === 0) fault(at.for!, `${at.for!.path} names nothing`, 'write { data: { each: 1MB, takes: 1 } }')
  return pays.size < rows.length || pays.size === 0 ? undefined : { unit, pays, services: undefined }
}

/** A subscriber may hold buckets of one name from several offers: these must be alike for the rules that use them. */
export function addBucket(draft: Draft, bucket: BucketKind, at: Value): void {
  const { name } = bucket
  const earlier = draft.buckets.items.get(name)
  const place = draft.buckets.places.get(name)
  if (!earlier || !place) {
    define(draft.buckets, name, at, bucket)
    return
  }
  const servicesOf = ({ pays, where }: BucketKind): string =>
    [...pays.keys(), ...(where.services ?? [])].sort().join(', ')
  const hint = 'make it for the same services, or use another name'
  if (earlier.unit !== bucket.unit)
    fault(at, `the bucket \`${name}\` is of ${earlier.unit} at ${shownPlace(place)}`, 'use another name')
  else if (servicesOf(earlier) !== servicesOf(bucket))
    fault(at, `the bucket \`${name}\` is for ${servicesOf(earlier) || 'all services'} at ${shownPlace(place)}`, hint)
  else if (canonicalText(earlier.pays) !== canonicalText(bucket.pays))
    fault(
      at,
      `usage takes other amounts of the bucket \`${name}\` at ${shownPlace(place)}`,
      'write the same, or use another name',
    )
  else if (canonicalText(earlier.where) !== canonicalText(bucket.where))
    fault(
      at,
      `the bucket \`${name}\` has other conditions at ${shownPlace(place)}`,
      'write the same, or use another name',
    )
}

/** What says how long a bucket lives. */
interface LivingGroup {
  readonly here: Value
  readonly at: Pick<GrantGroup['at'], 'starts' | 'expires'>
  readonly is: Pick<GrantGroup['is'], 'starts' | 'expires'>
}

export function readLife(draft: Draft, { here, at, is }: LivingGroup, fee: FeeGroup | undefined): Life | undefined {
  const from = instantOf(at.starts, is.starts, draft.timezone)
  const end = at.expires && is.expires && readEnd(draft, at.expires, is.expires, fee)
  if (end?.kind === 'at' && from !== undefined && end.at <= from)
    fault(at.expires!, `${here.path}: expires is not after starts`, 'write a later time')
  return end && { from, end }
}

type Expiry = NonNullable<GrantGroup['is']['expires']>

function readEnd(draft: Draft, at: Value, expiry: Expiry, fee: FeeGroup | undefined): Life['end'] | undefined {
  if ('plain' in expiry) {
    const { plain } = expiry
    if (plain.kind === 'never') return { kind: 'never' }
    if (plain.kind === 'after') return { kind: 'after', after: plain.after, start: 'grant' }
    if (plain.kind === 'at') {
      const instant = instantOf(at, plain.text, draft.timezone)
      return instant === undefined ? undefined : { kind: 'at', at: instant }
    }
    if (fee?.is.every !== undefined) return { kind: 'fee' }
    if (fee?.at.every) return undefined // told there
    return fault(at, `${at.path} is \`period\`, but the offer has no fee.every`, 'write a duration like 30d')
  }
  const { here, at: places, is } = expiry.long
  const written = (['after', 'end'] as const).filter(key => places[key])
  if (written.length !== 1) {
    const message = written.length === 0 ? `${here.path} has no end` : `${here.path} has after and end`
    return fault(here, message, 'write { after: 30d, from: first-use } or { end: month }')
  }
  for (const [key, needs] of [
    ['from', 'after'],
    ['timezone', 'end'],
  ] as const) {
    if (places[key] && !places[needs])
      fault(places[key], `${places[key].path} has no use without \`${needs}\``, 'remove it')
  }
  const timezone = timezoneOf(places.timezone, is.timezone, draft.timezone)
  if (is.after !== undefined)
    return { kind: 'after', after: is.after, start: is.from === 'first-use' ? 'use' : 'grant' }
  return is.end && { kind: 'period', reset: is.end, timezone }
}

interface Rolling {
  readonly unit: BucketUnit
  readonly amount: Units | undefined
  readonly life: Life
  readonly priority: number
}

function readRollover(
  { here, at, is }: RolloverGroup,
  { unit, amount, life, priority }: Rolling,
): Rollover | undefined {
  const min = at.min ? readAmount(at.min, unit) : units(1)
  const max = at.max && readAmount(at.max, unit)
  if (life.end.kind === 'never')
    fault(here, `${here.path}: the bucket never ends, so that nothing rolls over`, 'remove it, or write when it ends')
  if (min !== undefined && max !== undefined && min > max)
    fault(at.min ?? at.max!, `${here.path}: min is above max`, 'write min ≤ max')
  else if (min !== undefined && amount !== undefined && min > amount) {
    const message = `${here.path}: min is above the ${formatAmount(unit, amount)} that the bucket has`
    fault(at.min!, message, 'write a smaller min, or nothing ever rolls over')
  }
  if (min === undefined || max === undefined || is.for === undefined) return undefined
  return { min, max, life: is.for, priority: is.priority ?? priority }
}

/** Units left: 80% of 5 GB used is 1 GB left. */
function readWarning(at: Value, amount: Units, unit: BucketUnit): Units | undefined {
  const percent = parsePercent(readText(at) ?? '')
  if (percent === undefined) {
    const text = readText(at) ?? ''
    const counted = unit === 'events' || unit === 'units'
    if (text.endsWith('%') || (/^\d+$/.test(text) && !counted))
      return fault(
        at,
        `${at.path}: \`${text}\` is not a share from 1% to 100%`,
        'write 80% (used), or what is left, like 100MB',
      )
    const left = readAmount(at, unit, 'zero')
    if (left === undefined || left < amount) return left
    return fault(at, `${at.path} is not below the amount of the grant`, 'write what is left when it is told')
  }
  if (percent === 0) return fault(at, `${at.path} is 0%`, 'write it like 80%: the share that is used')
  return units((amount * BigInt(100 - percent)) / 100n)
}

function checkDescending(items: readonly Item<Value>[], left: readonly Units[]): void {
  const index = left.findIndex((each, position) => position > 0 && each >= left[position - 1]!)
  if (index < 1 || left.length < items.length) return
  const { at } = items[index]!
  fault(at, `${at.path} is not after the one before`, 'write them in the order in which they are reached: [80%, 100%]')
}

function readRule(
  draft: Draft,
  { at: place, is: group }: Item<RuleGroup>,
  position: number,
  pools: ReadonlyMap<string, Pool>,
): DraftRule[] {
  const { here, at, is } = group
  const effects = (['use', 'free', 'deny'] as const).filter(key => at[key])
  const known = is.service?.filter(item => refer(draft.services, item.at, item.is))
  const conditions = readConditions(draft, is)
  if (effects.length !== 1) {
    const message =
      effects.length === 0 ? `${here.path} says nothing to do` : `${here.path} has ${effects.join(' and ')}`
    fault(here, message, 'write exactly one of use, free, deny')
    return []
  }
  const services = known ? known.map(item => item.is) : [...draft.services.items.keys()]
  // Of an unknown service nothing can be said.
  const sure = at.service && (!known || known.length < (is.service?.length ?? 0)) ? [] : services
  const effect = readEffect(
    draft,
    group,
    sure.map(name => draft.services.items.get(name)).filter(each => each !== undefined),
  )
  if (!effect) return []
  const pooled = at.pool && is.pool !== undefined ? pooledEffect(draft, at.pool, is.pool, effect, pools) : effect
  if (!pooled) return []
  const where: Conditions = { ...(known && { services: new Set(services) }), ...conditions }
  const { file, line } = whereIs(here)
  return [{ at: place, rule: { position, where, effect: pooled, place: `${basename(file)}:${line}` } }]
}

function readEffect(draft: Draft, { at, is }: RuleGroup, services: readonly Service[]): Effect | undefined {
  if (at.use) return is.use && readUse(draft, is.use, { services, named: at.service !== undefined })
  if (is.free !== undefined) return { kind: 'free', code: is.free }
  return is.deny === undefined ? undefined : { kind: 'deny', code: is.deny }
}

/** A pool counts by one price a unit, so that only a plain rate may stand in it. */
function pooledEffect(
  draft: Draft,
  at: Value,
  name: string,
  effect: Effect,
  pools: ReadonlyMap<string, Pool>,
): Effect | undefined {
  const pool = pools.get(name)
  if (!pool)
    return fault(
      at,
      `there is no pool \`${name}\``,
      hintFor(name, [...pools.keys()], 'define it under `pools:` of the offer'),
    )
  if (effect.kind !== 'use' || effect.rate === undefined || effect.buckets.length + effect.afterRate.length > 0)
    return fault(
      at,
      `${at.path}: only a rate alone can be part of a pool`,
      'remove `pool`, or write `use` with one rate',
    )
  const rate = draft.rates.items.get(effect.rate)
  if (!rate) return effect
  const multiplier = multiplierOf(rate.terms, pool)
  if ('problem' in multiplier)
    return fault(at, `the rate \`${rate.name}\` cannot be part of a pool: ${multiplier.problem}`, multiplier.hint)
  return { ...effect, pool: name }
}

interface Matched {
  /** All that the rule matches. */
  readonly services: readonly Service[]
  /** Whether the rule names them. */
  readonly named: boolean
}

/** Buckets and at most one rate. Their units must be those of every service that the rule matches. */
function readUse(draft: Draft, items: readonly Item<string>[], matched: Matched): Effect {
  const [buckets, afterRate]: [string[], string[]] = [[], []]
  let rate: string | undefined
  for (const { at, is: name } of items) {
    if (buckets.includes(name) || afterRate.includes(name) || rate === name)
      fault(at, `\`${name}\` is named twice`, 'remove it here')
    else if (draft.rates.items.has(name)) {
      draft.rates.used.add(name)
      if (rate !== undefined) fault(at, `a rule has one rate, and \`${rate}\` is named before`, 'remove one of them')
      else checkRate(draft, at, name, matched)
      rate = name
    } else if (draft.buckets.items.has(name)) {
      draft.buckets.used.add(name)
      checkBucket(draft, at, name, matched)
      ;(rate === undefined ? buckets : afterRate).push(name)
    } else {
      const known = [...draft.buckets.items.keys(), ...draft.rates.items.keys()]
      const hint = hintFor(name, known, 'define it under `rates:`', draft.rates.searches)
      fault(at, `there is no rate or bucket \`${name}\``, hint)
    }
  }
  return { kind: 'use', buckets, rate, afterRate }
}

function checkRate(draft: Draft, at: Value, name: string, { services, named }: Matched): void {
  const unit = draft.rates.items.get(name)?.unit
  const other = unit && services.find(service => service.unit !== unit)
  if (!other) return
  const hint = named || services.length === 1 ? `use a rate of ${other.unit}` : 'add `service:` to the rule'
  fault(at, `the rate \`${name}\` counts ${unit}, but the service \`${other.name}\` ${other.unit}`, hint)
}

function checkBucket(draft: Draft, at: Value, name: string, { services, named }: Matched): void {
  const bucket = draft.buckets.items.get(name)
  if (!bucket) return
  if (bucket.unit === 'money') {
    const message = `\`${name}\` is a bucket of money: rates take from it by themselves, where its \`for\` fits`
    fault(at, message, 'remove it here')
    return
  }
  const outside = services.find(service => !bucket.pays.has(service.name))
  if (!outside) return
  const hint = named ? `add ${outside.name} to \`for\` of its grants` : 'add `service:` to the rule'
  fault(
    at,
    `the bucket \`${name}\` is for ${[...bucket.pays.keys()].join(', ')}, not for the service \`${outside.name}\``,
    hint,
  )
}
