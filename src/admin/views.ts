/** Accounts and sessions as JSON: money as decimal text, units as whole numbers, times as ISO 8601 in UTC. */
import type { Account, Session } from '../balance/types.js'
import { formatMoney, type Millis } from '../units.js'

export interface AccountView {
  readonly id: string
  readonly status: string
  readonly currency: string
  readonly money: string
  /** Part of the money that open sessions hold. */
  readonly held: string
  readonly creditLimit: string
  readonly debt: string
  /** What a new session could spend: money + creditLimit − held − debt, at least 0. */
  readonly free: string
  readonly sequence: number
  readonly subscribers: readonly { readonly id: string; readonly identities: Readonly<Record<string, string>>[] }[]
  readonly subscriptions: readonly { readonly id: string; readonly offer: string; readonly since: string }[]
  readonly buckets: readonly BucketView[]
}

export interface BucketView {
  readonly id: string
  readonly name: string
  readonly unit: string
  readonly amount: number
  readonly held: number
  readonly until: string | null
  readonly priority: number
  readonly origin: string
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

export function viewOfAccount(account: Account): AccountView {
  const free = account.money + account.creditLimit - account.held - account.debt
  return {
    id: account.id,
    status: account.status,
    currency: account.currency,
    money: formatMoney(account.money),
    held: formatMoney(account.held),
    creditLimit: formatMoney(account.creditLimit),
    debt: formatMoney(account.debt),
    free: formatMoney(free > 0n ? free : 0n),
    sequence: account.sequence,
    subscribers: account.subscribers.map(({ id, identities }) => ({
      id,
      identities: identities.map(({ type, value }) => ({ type, value })),
    })),
    subscriptions: account.subscriptions.map(({ id, offer, since }) => ({ id, offer, since: iso(since) })),
    buckets: account.buckets.map(bucket => ({
      ...bucket,
      amount: Number(bucket.amount),
      held: Number(bucket.held),
      until: bucket.until === undefined ? null : iso(bucket.until),
    })),
  }
}

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

export const iso = (time: Millis): string => new Date(time).toISOString()
