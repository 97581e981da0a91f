/**
 * What becomes of a subscription, worked out of what is known of it: purchase, renewal, change, cancellation, end (semantics.md
 * sections 8 and 10). Pure: the account as it was read, the catalog and the time come in, a step goes out; the store does it if all
 * is still as it was read.
 */
import { grantsOf } from '../balance/extras.js'
import type { Step, StepOutcomeTerms } from '../balance/subscriptions.js'
import type { Account, Extras, NewBucket, NewSubscription, Subscription, SubscriptionState } from '../balance/types.js'
import type { Catalog, Fee } from '../rating/catalog.js'
import {
  costOfPart,
  countingOf,
  feeIn,
  firstPeriod,
  nextPeriod,
  presentPeriod,
  restOf,
  unitsOfPart,
  type PaidPeriod,
} from '../rating/fee.js'
import { newBuckets } from '../rating/match.js'
import type { Micros, Millis } from '../units.js'

/** What one step does, beside whom it is done to. */
export type Plan = Pick<Step, 'fee' | 'refund' | 'offer' | 'done' | 'failed' | 'catalog' | 'buckets' | 'wait'>

/** What an offer costs and brings for one period. */
export interface Bought {
  readonly fee: Micros
  /** Of the fee: once, with the purchase. */
  readonly setup: Micros
  readonly buckets: readonly NewBucket[]
  /** Undefined: it has no fee. */
  readonly state: SubscriptionState | undefined
  readonly told: Millis | undefined
}

export interface Refusal {
  readonly refused: string
}

export type Renewal =
  | { readonly status: 'step'; readonly plan: Plan }
  /** Not yet: its member belongs at that time. */
  | { readonly status: 'early'; readonly due: Millis }
  /** Nothing is due of it any more. */
  | { readonly status: 'gone' }
  | { readonly status: 'stuck'; readonly why: string }

/** Who has it. */
export type Holder = Pick<Account, 'currency'> & { readonly extras: Pick<Extras, 'overrides'> }

const zero = 0n as Micros
/** A suspended account's renewals wait; they are looked at again after this. */
const suspendedMs = 3_600_000

/**
 * An offer from `at` on: all of its first period, or the part of it that is left. Undefined: the catalog has no such offer.
 *
 * @param opening it comes with an import or a new account: nothing is paid for what was before, and what it brings is whole
 */
export function purchaseOf(
  catalog: Catalog,
  offer: string,
  holder: Holder,
  at: Millis,
  opening: 'bought' | 'opening' = 'bought',
): Bought | Refusal | undefined {
  const fee = catalog.offers.get(offer)?.fee
  const bought = boughtOf(catalog, offer, holder, fee && firstPeriod(fee, catalog.timezone, at), at, opening)
  if (!bought || 'refused' in bought) return bought
  return opening === 'opening' ? bought : { ...bought, fee: (bought.fee + bought.setup) as Micros }
}

function boughtOf(
  catalog: Catalog,
  offer: string,
  { currency, extras }: Holder,
  period: PaidPeriod | undefined,
  at: Millis,
  opening: 'bought' | 'opening' = 'bought',
): Bought | Refusal | undefined {
  const found = catalog.offers.get(offer)
  if (!found) return undefined
  const start = period?.start ?? at
  const granted = newBuckets(catalog, offer, start, currency, period?.end)!
  if ('refused' in granted) return { refused: `offer ${offer} grants money: ${granted.refused}` }
  const { fee } = found
  const whole = grantsOf(granted, extras.overrides, start)
  if (!fee) return { fee: zero, setup: zero, buckets: whole, state: undefined, told: undefined }
  const costs = feeIn(catalog, fee, currency, start)
  if ('refused' in costs) return { refused: `offer ${offer} has a fee: ${costs.refused}` }
  const share = period && shareOf(period)
  const amount = share && fee.proration !== 'none' ? costOfPart(costs.amount, ...share) : costs.amount
  const paid = opening === 'opening' ? zero : amount
  const inPart = share && share[0] < share[1] && fee.proration === 'price-and-grants' && opening === 'bought'
  const state: SubscriptionState = {
    ...{ status: 'active', from: start, until: period?.end, anchor: period?.anchor ?? at, index: period?.index ?? 0 },
    ...{ every: countingOf(fee), paid, due: period?.end, tries: 0 },
  }
  return {
    ...{ fee: paid, setup: opening === 'opening' ? zero : costs.setup, state },
    buckets: inPart ? whole.map(bucket => partOf(bucket, share)) : whole,
    told: nextTold(fee, state, at),
  }
}

const shareOf = ({ start, end, whole }: PaidPeriod): [Millis, Millis] => [end - start, whole.end - whole.start]

function partOf(bucket: NewBucket, [part, whole]: [Millis, Millis]): NewBucket {
  const amount = unitsOfPart(bucket.amount, part, whole)
  return {
    ...bucket,
    amount,
    warn: bucket.warn?.map(left => unitsOfPart(left, part, whole)).filter(left => left < amount),
  }
}

/** What it is beside offer and buckets, for an account or subscription that is made. */
export const openingOf = (catalog: Catalog, bought: Bought): NewSubscription => ({
  catalog: catalog.version,
  state: bought.state,
  told: bought.told,
})

/** When the end of its period is told ahead next. */
export function nextTold(
  { remind }: Fee,
  { until, told = Infinity }: Pick<SubscriptionState, 'until' | 'told'>,
  now: Millis,
): Millis | undefined {
  if (until === undefined) return undefined
  const lead = remind.find(each => each < told && until - each > now)
  return lead === undefined ? undefined : until - lead
}

/**
 * What is due of a subscription now: its renewal, another try of it, or its end.
 *
 * @param byHand asked for by somebody: where the money does not reach, nothing is done
 */
export function renewalOf(
  catalog: Catalog,
  account: Account,
  subscription: Subscription,
  now: Millis,
  byHand?: { readonly reference: string; readonly actor: string },
): Renewal {
  const { state } = subscription
  if (state?.due === undefined || state.until === undefined) return { status: 'gone' }
  const waiting = state.status === 'grace' && state.needs !== undefined && freeMoney(account) >= state.needs
  if (!byHand && now < state.due && !waiting) return { status: 'early', due: state.due }
  const current = catalog.offers.get(subscription.offer)
  const offer = state.to ?? subscription.offer
  const next = catalog.offers.get(offer)
  if (!next) return { status: 'stuck', why: `the catalog has no offer ${offer}` }
  const isGrace = state.status === 'grace'
  if (state.status === 'ending') return { status: 'step', plan: endOf(catalog, subscription, 'cancelled') }
  const renew = current?.fee?.renew ?? next.fee?.renew ?? 'auto'
  if (!byHand && renew !== 'auto' && state.to === undefined) {
    if (renew === 'none' || isGrace || (next.fee?.grace ?? 0) === 0)
      return { status: 'step', plan: endOf(catalog, subscription, renew === 'none' ? 'end' : 'not-renewed') }
    return { status: 'step', plan: waitOf(catalog, subscription, next.fee!, now) }
  }
  const standing = { ...state, end: state.until, counting: state.every ?? '' }
  const reach = next.fee?.catchUp === 'latest' ? now : -Infinity
  const period = next.fee && nextPeriod(next.fee, catalog.timezone, standing, reach)
  const bought = boughtOf(catalog, offer, account, period, state.until)!
  if ('refused' in bought) return { status: 'stuck', why: bought.refused }
  const tries = state.tries + 1
  const fee = (state.to === undefined ? bought.fee : bought.fee + bought.setup) as Micros
  const done: StepOutcomeTerms = {
    cause: {
      ...{ kind: 'renew', subscription: subscription.id, offer },
      ...(offer !== subscription.offer && { before: subscription.offer }),
      ...(period && { from: period.start, until: period.end }),
      try: tries,
      ...byHand,
    },
    ...{ state: bought.state, standing: 'in', buckets: 'ended' },
    told: next.fee && bought.state && nextTold(next.fee, bought.state, now),
  }
  const plan: Plan = { fee, refund: zero, offer, done, catalog: catalog.version, buckets: bought.buckets }
  if (byHand) return { status: 'step', plan }
  return {
    status: 'step',
    plan: { ...plan, failed: failureOf(subscription, next.fee, fee, now), wait: now + suspendedMs },
  }
}

/** The renewal's fee is not there: the subscription waits for it, or has waited long enough. */
function failureOf(subscription: Subscription, fee: Fee | undefined, needs: Micros, now: Millis): StepOutcomeTerms {
  const state = subscription.state!
  const { failed = now, ends = failed + (fee?.grace ?? 0) } = state
  if (now >= ends) return endTerms(subscription, 'unpaid')
  const tries = state.tries + 1
  const retry = fee?.retry.find(each => failed + each > now)
  const due = retry === undefined ? ends : Math.min(ends, failed + retry)
  return {
    cause: {
      kind: 'renew-failed',
      subscription: subscription.id,
      offer: state.to ?? subscription.offer,
      try: tries,
      until: ends,
    },
    state: { ...state, status: 'grace', tries, failed, ends, needs, due, told: undefined },
    standing: fee?.graceRules === false ? 'paused' : undefined,
    buckets: 'ended',
  }
}

/** Nobody has asked for the renewal yet: it waits. */
function waitOf(catalog: Catalog, subscription: Subscription, fee: Fee, now: Millis): Plan {
  const state = subscription.state!
  const ends = now + fee.grace
  const done: StepOutcomeTerms = {
    cause: {
      ...{ kind: 'renew-failed', subscription: subscription.id, offer: subscription.offer, why: 'manual', try: 0 },
      until: ends,
    },
    state: { ...state, status: 'grace', failed: now, ends, due: ends, told: undefined },
    standing: fee.graceRules ? undefined : 'paused',
    buckets: 'keep',
  }
  return nothingMoved(catalog, subscription.offer, done)
}

const nothingMoved = (catalog: Catalog, offer: string, done: StepOutcomeTerms, refund = zero): Plan => ({
  ...{ fee: zero, refund, offer, done, catalog: catalog.version, buckets: [] },
})

const endOf = (catalog: Catalog, subscription: Subscription, why: string): Plan =>
  nothingMoved(catalog, subscription.offer, endTerms(subscription, why))

const endTerms = ({ id, offer, state }: Subscription, why: string): StepOutcomeTerms => ({
  cause: { kind: 'cancel', subscription: id, offer, when: 'ended', why },
  ...{ state: undefined, standing: 'out', buckets: state?.expire ? 'all' : 'ended' },
})

/** Free money, semantics.md section 1. */
export function freeMoney({ money, creditLimit, held, debt }: Account): Micros {
  const free = money + creditLimit - held - debt
  return (free > 0n ? free : 0n) as Micros
}

export interface ChangeTerms {
  readonly offer: string
  readonly when: 'now' | 'renewal'
  readonly buckets: 'keep' | 'expire'
  readonly reference: string
  readonly actor: string
}

export interface CancelTerms {
  readonly when: 'now' | 'end'
  readonly buckets: 'keep' | 'expire'
  readonly reference: string
  readonly actor: string
}

/** `once`: its fee is paid once, so that there is no renewal. `ending`: it is to end. */
export type Planned = { readonly plan: Plan } | Refusal | { readonly impossible: 'once' | 'ending' | 'same' }

/**
 * Another offer instead. Now: the old fee is given back for what is left of its period, the new one is paid for the same time where both
 * count alike and the new one knows parts; else its period begins now. At the renewal: the renewal is that of the new offer.
 */
export function changeOf(
  catalog: Catalog,
  account: Account,
  subscription: Subscription,
  terms: ChangeTerms,
  now: Millis,
): Planned {
  const { state, id } = subscription
  const { offer: to, when, reference, actor } = terms
  const cause = { kind: 'change', subscription: id, offer: subscription.offer, to, when, reference, actor }
  if (when === 'renewal') {
    if (state?.until === undefined) return { impossible: 'once' }
    if (state.status === 'ending') return { impossible: 'ending' }
    const { fee } = catalog.offers.get(subscription.offer) ?? {}
    const next = { ...state, to: to === subscription.offer ? undefined : to }
    const told = fee && nextTold(fee, state, now)
    return { plan: nothingMoved(catalog, subscription.offer, { cause, state: next, told, buckets: 'keep' }) }
  }
  if (to === subscription.offer) return { impossible: 'same' }
  const { fee } = catalog.offers.get(to)!
  const standing = state && { ...state, end: state.until ?? 0, counting: state.every ?? '' }
  const rest =
    fee && standing && fee.proration !== 'none' ? presentPeriod(fee, catalog.timezone, standing, now) : undefined
  const bought = boughtOf(catalog, to, account, rest ?? (fee && firstPeriod(fee, catalog.timezone, now)), now)!
  if ('refused' in bought) return bought
  const back = refundOf(catalog, subscription, now)
  const price = bought.fee + bought.setup
  const done: StepOutcomeTerms = {
    cause: { ...cause, fee: Number(price), refund: Number(back) },
    ...{ state: bought.state, standing: 'in', told: bought.told },
    buckets: terms.buckets === 'expire' ? 'all' : 'ended',
  }
  const [more, less] = price > back ? [price - back, 0n] : [0n, back - price]
  return {
    plan: {
      ...{ fee: more as Micros, refund: less as Micros, offer: to, done },
      ...{ catalog: catalog.version, buckets: bought.buckets },
    },
  }
}

/** Now, with what is left of its fee where the offer knows parts; or at the end of what is paid. */
export function cancelOf(catalog: Catalog, subscription: Subscription, terms: CancelTerms, now: Millis): Planned {
  const { id, offer, state } = subscription
  const { when, reference, actor } = terms
  const expire = terms.buckets === 'expire'
  const cause = { kind: 'cancel', subscription: id, offer, when, reference, actor }
  if (when === 'end' && state?.status !== 'grace') {
    if (state?.until === undefined) return { impossible: 'once' }
    const fee = catalog.offers.get(offer)?.fee
    const next: SubscriptionState = { ...state, status: 'ending', to: undefined, expire: expire || undefined }
    const told = fee && nextTold(fee, state, now)
    return { plan: nothingMoved(catalog, offer, { cause, state: next, told, buckets: 'keep' }) }
  }
  const refund = refundOf(catalog, subscription, now)
  const done: StepOutcomeTerms = {
    cause: { ...cause, refund: Number(refund) },
    ...{ state: undefined, standing: 'out', buckets: expire ? 'all' : 'ended' },
  }
  return { plan: nothingMoved(catalog, offer, done, refund) }
}

/** What is left of what was paid for this period, where the offer gives it back. */
function refundOf(catalog: Catalog, { offer, state }: Subscription, now: Millis): Micros {
  const fee = catalog.offers.get(offer)?.fee
  if (!fee || !state || state.until === undefined || fee.proration === 'none' || state.status === 'grace') return zero
  return restOf(state.paid, { start: state.from, end: state.until }, now)
}

/** That the end of its period comes is told now; undefined: it is not time. */
export function reminderOf(
  catalog: Catalog,
  { id, offer, state }: Subscription,
  now: Millis,
): { readonly plan: Plan } | { readonly due: Millis } | undefined {
  const fee = catalog.offers.get(offer)?.fee
  if (!fee || state?.until === undefined || now >= state.until || state.status === 'grace') return undefined
  const { until, told = Infinity } = state
  const passed = fee.remind.filter(lead => lead < told && until - lead <= now).at(-1)
  const next = nextTold(fee, { until, told: passed ?? told }, now)
  if (passed === undefined) return next === undefined ? undefined : { due: next }
  const cause = {
    ...{ kind: 'remind', subscription: id, offer, until, renews: state.status === 'active' && fee.renew === 'auto' },
    events: [['expires-soon', `subscription:${id}`, until - now]],
  }
  const done: StepOutcomeTerms = { cause, state: { ...state, told: passed }, told: next, buckets: 'keep' }
  return { plan: nothingMoved(catalog, offer, done) }
}
