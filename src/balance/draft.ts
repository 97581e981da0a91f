/**
 * An account that is in no store: its fields as charge.lua reads them, for quotes and the tests beside a tariff.
 */
import type { Micros, Millis } from '../units.js'
import { bucketWords } from './accounts.js'
import type { ChargeState } from './balance.js'
import { writeExtras } from './extras.js'
import type { Extras, NewBucket } from './types.js'

export interface AccountDraft {
  readonly currency: string
  readonly money: Micros
  readonly creditLimit: Micros
  readonly extras: Extras
  /** Bought for its one subscriber, number 1. */
  readonly offers: readonly string[]
  readonly since: Millis
  readonly buckets: readonly NewBucket[]
  readonly counters: readonly {
    readonly name: string
    readonly scope: string
    readonly value: bigint
    readonly period: Millis
  }[]
}

/** A charge state without a session. The order of the buckets is the script's to find. */
export function draftState(draft: AccountDraft): ChargeState {
  const account: Record<string, string> = {
    funds: `active money ${draft.money} held 0 credit ${draft.creditLimit} debt 0 open 0 seq 1 rev 1`,
    currency: draft.currency,
    subscribers: '1 nai:quote',
    subscriptions: draft.offers.map((offer, i) => `${i + 1} ${offer} ${draft.since} 1`).join(';'),
    extras: writeExtras(draft.extras),
  }
  for (const [i, bucket] of draft.buckets.entries()) {
    const { name, unit, amount, until, priority, origin } = bucket
    const words = bucketWords(bucket)
    account[`bucket:1-${i + 1}`] =
      `${name} ${unit} left ${amount} held 0 until ${until ?? 0} priority ${priority} origin ${origin}` +
      (words === '' ? '' : ` with ${words}`)
  }
  for (const { name, scope, value, period } of draft.counters)
    account[`counter:${name}.${scope}`] = `value ${value} held 0 period ${period}`
  return { account, session: {} }
}
