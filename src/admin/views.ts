/** Accounts and sessions as JSON: money as decimal text, units as whole numbers, times as ISO 8601 in UTC. */
import { inForce, limitOf, optInsOf } from '../balance/extras.js'
import type { Account, Bucket, CounterValue, Extras, Override, Session, Subscription } from '../balance/types.js'
import type { Catalog } from '../rating/catalog.js'
import { formatMoney, type Millis } from '../units.js'
import { viewOfLife, type LifeView } from './life-view.js'
import { writtenValue } from './overrides.js'
import type { AdminServices } from './services.js'

export interface AccountView {
  readonly id: string
  readonly status: string
  /** Null: the catalog has no life cycle for it. */
  readonly life: LifeView | null
  readonly currency: string
  readonly money: string
  /** Part of the money that open sessions hold. */
  readonly held: string
  readonly creditLimit: string
  readonly debt: string
  /** What a new session could spend: money + creditLimit − held − debt, at least 0. */
  readonly free: string
  readonly sequence: number
  readonly openSessions: number
  readonly attributes: Readonly<Record<string, string>>
  readonly subscribers: readonly {
    readonly id: string
    readonly identities: readonly { readonly type: string; readonly value: string }[]
    readonly attributes: Readonly<Record<string, string>>
    /** It gets 4010. */
    readonly blocked: boolean
  }[]
  readonly subscriptions: readonly SubscriptionView[]
  /** In draw order. */
  readonly buckets: readonly BucketView[]
  readonly counters: readonly CounterView[]
  readonly overrides: readonly OverrideView[]
  readonly optIns: readonly OptInView[]
}

export interface SubscriptionView {
  readonly id: string
  readonly offer: string
  readonly since: string
  /** 0: for all of the account. */
  readonly subscriber: string
  /** `grace`: its renewal failed, or waits to be asked for. `ending`: it ends at `until`. */
  readonly state: 'active' | 'grace' | 'ending'
  /** Whether the offer's rules hold. */
  readonly served: boolean
  /** The period that is paid for; null: it has no fee, or for good. */
  readonly from: string | null
  readonly until: string | null
  /** What was paid for this period; null: it has no fee. */
  readonly paid: string | null
  /** When something is done next: renewal, another try, its end. */
  readonly due: string | null
  /** Renewals that failed since, what the next needs, and when its grace ends. */
  readonly tries: number
  readonly needs: string | null
  readonly graceUntil: string | null
  /** Offer that it is of from the next renewal on; null: the same. */
  readonly next: string | null
}

/** Units; decimal text where they are money. */
type Amount = number | string

export interface BucketView {
  readonly id: string
  readonly name: string
  readonly unit: string
  readonly amount: Amount
  readonly held: Amount
  /** When it may be used first; null: it may. */
  readonly from: string | null
  readonly until: string | null
  /** It ends so many seconds after its first use, which has not been yet; null: it does not. */
  readonly lifeSeconds: number | null
  readonly priority: number
  readonly origin: string
  /** Subscription that it came with; 0: none. When it was granted, how much, and by which version of the catalog; null: not known. */
  readonly subscription: string | null
  readonly granted: string | null
  readonly initial: Amount | null
  readonly catalog: string | null
  readonly paid: boolean
  readonly blocker: boolean
  readonly warn: readonly Amount[]
  readonly rollover: {
    readonly min: Amount
    readonly max: Amount
    readonly lifeSeconds: number
    readonly priority: number
  } | null
}

export interface CounterView {
  readonly name: string
  /** 0: of the account. */
  readonly subscriber: string
  /** Null: the catalog no longer has it. */
  readonly unit: string | null
  readonly value: Amount
  /** What open grants may add. */
  readonly held: Amount
  /** In force now; null: none. */
  readonly limit: Amount | null
  /** When its period began. */
  readonly since: string
}

export interface OverrideView {
  readonly id: string
  readonly kind: string
  readonly target: string
  /** As it may be written again. */
  readonly value: string
  readonly subscriber: string | null
  readonly from: string | null
  readonly until: string | null
  /** Now. */
  readonly inForce: boolean
  readonly reason: string
  readonly actor: string
}

export interface OptInView {
  readonly counter: string
  /** 0: the account. */
  readonly subscriber: string
  readonly until: string | null
  readonly inForce: boolean
}

export interface SessionView {
  readonly id: string
  readonly account: string
  readonly subscriber: string
  readonly open: boolean
  readonly originHost: string
  readonly opened: string
  readonly until: string
  readonly lastNumber: number
  readonly charged: string
  /** What its gateway was asked last, RAR or ASR, and what came of it. */
  readonly asked: {
    readonly command: string
    /** `sent`, a Result-Code, `timeout`, `undeliverable`, or `ccr`: no answer, but a newer request of the session. */
    readonly result: string
    readonly at: string
  } | null
  readonly lines: readonly {
    readonly line: string
    readonly granted: number
    readonly heldMoney: string
    readonly heldUnits: readonly { readonly bucket: string; readonly units: number }[]
    readonly holdUntil: string | null
    readonly charged: string
    readonly used: number
  }[]
}

/** What says what counters count and where they end. */
export type Counting = Pick<AdminServices, 'tariff' | 'limitIn'>

export function viewOfAccount(account: Account, counting: Counting, now: Millis): AccountView {
  const free = account.money + account.creditLimit - account.held - account.debt
  const { extras } = account
  return {
    id: account.id,
    status: account.status,
    life: viewOfLife(account.life),
    currency: account.currency,
    money: formatMoney(account.money),
    held: formatMoney(account.held),
    creditLimit: formatMoney(account.creditLimit),
    debt: formatMoney(account.debt),
    free: formatMoney(free > 0n ? free : 0n),
    sequence: account.sequence,
    openSessions: account.openSessions,
    attributes: extras.attributes,
    subscribers: account.subscribers.map(({ id, identities }) => ({
      id,
      identities: identities.map(({ type, value }) => ({ type, value })),
      attributes: extras.subscribers[id] ?? {},
      blocked: extras.blocked.includes(id),
    })),
    subscriptions: account.subscriptions.map(viewOfSubscription),
    buckets: account.buckets.map(viewOfBucket),
    counters: account.counters.map(counter => viewOfCounter(counter, account, counting, now)),
    overrides: extras.overrides.map(override => viewOfOverride(override, counting.tariff(), now)),
    optIns: viewOfOptIns(extras, now),
  }
}

export function viewOfSubscription({ id, offer, since, subscriber, paused, state }: Subscription): SubscriptionView {
  return {
    ...{ id, offer, since: iso(since), subscriber },
    ...{ state: state?.status ?? 'active', served: paused !== true },
    from: isoOrNull(state?.from),
    until: isoOrNull(state?.until),
    paid: state ? formatMoney(state.paid) : null,
    due: isoOrNull(state?.due),
    tries: state?.tries ?? 0,
    needs: state?.needs === undefined ? null : formatMoney(state.needs),
    graceUntil: isoOrNull(state?.ends),
    next: state?.to ?? null,
  }
}

function viewOfBucket(bucket: Bucket): BucketView {
  const { id, name, unit, from, until, life, priority, origin, paid = false, blocker = false, warn = [] } = bucket
  const amount = (value: bigint): Amount => amountOf(unit, value)
  const { rollover } = bucket
  return {
    id,
    name,
    unit,
    amount: amount(bucket.amount),
    held: amount(bucket.held),
    from: isoOrNull(from),
    until: isoOrNull(until),
    lifeSeconds: life === undefined || until !== undefined ? null : life / 1000,
    priority,
    origin,
    subscription: bucket.subscription ?? null,
    granted: isoOrNull(bucket.granted),
    initial: bucket.initial === undefined ? null : amount(bucket.initial),
    catalog: bucket.catalog === undefined || bucket.catalog === '-' ? null : bucket.catalog,
    paid,
    blocker,
    warn: warn.map(amount),
    rollover: rollover
      ? {
          min: amount(rollover.min),
          max: amount(rollover.max),
          lifeSeconds: rollover.lifeMs / 1000,
          priority: rollover.priority,
        }
      : null,
  }
}

function viewOfCounter(
  { name, scope, value, held, period }: CounterValue,
  { extras, currency }: Account,
  { tariff, limitIn }: Counting,
  now: Millis,
): CounterView {
  const counter = tariff().counters.get(name)
  const own = limitOf(extras, name, scope, now)
  const limit = own === 'default' ? limitIn(name, currency) : own
  const amount = (of: bigint): Amount => amountOf(counter?.unit, of)
  return {
    name,
    subscriber: scope,
    unit: counter?.unit ?? null,
    value: amount(value),
    held: amount(held),
    limit: limit === undefined ? null : amount(limit),
    since: iso(period),
  }
}

export const viewOfOverride = (override: Override, catalog: Catalog, now: Millis): OverrideView => ({
  id: override.id,
  kind: override.kind,
  target: override.target,
  value: writtenValue(override, catalog),
  subscriber: override.subscriber ?? null,
  from: isoOrNull(override.from),
  until: isoOrNull(override.until),
  inForce: inForce(override, now),
  reason: override.reason,
  actor: override.actor,
})

export const viewOfOptIns = ({ optIns }: Pick<Extras, 'optIns'>, now: Millis): OptInView[] =>
  Object.entries(optIns).flatMap(([counter, words]) =>
    [...optInsOf(words)].map(([subscriber, until]) => ({
      counter,
      subscriber,
      until: until === Infinity ? null : iso(until),
      inForce: now < until,
    })),
  )

const amountOf = (unit: string | undefined, value: bigint): Amount =>
  unit === 'money' ? formatMoney(value) : Number(value)

export function viewOfSession(session: Session): SessionView {
  return {
    id: session.id,
    account: session.account,
    subscriber: session.subscriber,
    open: session.open,
    originHost: session.originHost,
    opened: iso(session.opened),
    until: iso(session.until),
    lastNumber: session.lastNumber,
    charged: formatMoney(session.charged),
    asked: session.asked
      ? { command: session.asked.command, result: session.asked.result, at: iso(session.asked.at) }
      : null,
    lines: session.lines.map(line => ({
      line: line.line,
      granted: Number(line.granted),
      heldMoney: formatMoney(line.heldMoney),
      heldUnits: line.heldUnits.map(({ bucket, units }) => ({ bucket, units: Number(units) })),
      holdUntil: line.holdUntil === undefined ? null : iso(line.holdUntil),
      charged: formatMoney(line.charged),
      used: Number(line.used),
    })),
  }
}

const isoOrNull = (time: Millis | undefined): string | null => (time === undefined ? null : iso(time))

export const iso = (time: Millis): string => new Date(time).toISOString()
