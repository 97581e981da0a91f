/**
 * What people give and take by hand, and debt that is written off (semantics.md section 10): lua/adjust.lua, once for its reference.
 */
import type { Clock } from '../clock.js'
import type { Micros, Units } from '../units.js'
import { bucketArguments } from './accounts.js'
import { referenceKeepMs, type CreditedBucket } from './credits.js'
import { accountKey, censusKey, dueKey, journalKey, onceKey, partitionOf } from './keys.js'
import type { Store } from './store.js'
import type { BucketUnit, NewBucket } from './types.js'

export interface AdjustmentRequest {
  readonly account: string
  /** Once in the account. */
  readonly reference: string
  readonly target: AdjustmentTarget
  /** Currency of money, else the unit of the bucket. */
  readonly unit: string
  /** Signed, not 0; micros or units. Of `debt`: what is written off, 0: all of it. */
  readonly amount: bigint
  readonly reason: string
  readonly code?: string | undefined
  readonly actor: string
  /** Of another kind than `adjustment` and `writeoff`: its name, the outside account of its posting, more members of its entry. */
  readonly as?: { readonly kind: string; readonly against: string; readonly members: object } | undefined
  /** Levels of money whose crossing leaves an event, micros. */
  readonly lowBalance: readonly Micros[]
}

/** `name`: the buckets of that name, in draw order. `new`: one that is made. */
export type AdjustmentTarget =
  | { readonly kind: 'main' | 'debt' }
  | { readonly kind: 'id' | 'name'; readonly bucket: string }
  | { readonly kind: 'new'; readonly bucket: NewBucket }

export type AdjustmentOutcome =
  | {
      readonly status: 'adjusted' | 'repeated'
      readonly money: Micros
      readonly debt: Micros
      readonly sequence: number
      /** That were changed; the amount is what is left. */
      readonly buckets: readonly CreditedBucket[]
    }
  | { readonly status: 'no_account' | 'account_terminated' | 'too_large' | 'no_bucket' | 'reference_taken' }
  | { readonly status: 'currency_differs'; readonly currency: string }
  | { readonly status: 'unit_differs'; readonly unit: string }
  /** Of what it asks for so much is free. */
  | { readonly status: 'insufficient'; readonly free: bigint }
  | { readonly status: 'owed'; readonly debt: Micros }

export class Adjustments {
  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly clock: Clock,
    private readonly patienceMs = 5000,
    /** As of `Credits`. */
    private readonly asked: (member: string) => void = () => undefined,
  ) {}

  /** @throws BalanceUnavailableError; then it may be repeated */
  async adjust(request: AdjustmentRequest): Promise<AdjustmentOutcome> {
    const { account, reference, target, unit, amount, reason, code, actor, as, lowBalance } = request
    const partition = partitionOf(account, this.partitions)
    const kind = as?.kind ?? (target.kind === 'debt' ? 'writeoff' : 'adjustment')
    const cause = { kind, reference, reason, code, actor, ...as?.members }
    const reply = await this.store.call('adjust', this.store.deadlineIn(this.patienceMs), redis =>
      redis.adjust(
        accountKey(partition, account),
        onceKey(partition, `adjust:${account}:${reference}`),
        journalKey(partition),
        dueKey(partition),
        censusKey(partition),
        account,
        String(this.clock.now()),
        JSON.stringify(cause).slice(1, -1),
        String(referenceKeepMs),
        targetWord(target),
        unit,
        String(amount),
        as?.against ?? kind,
        lowBalance.length === 0 ? '-' : lowBalance.join('.'),
        ...bucketArguments(target.kind === 'new' ? [target.bucket] : []),
      ),
    )
    const [status, ...words] = reply.split(' ') as [string, ...string[]]
    if (words.at(-1) === 'due') this.asked(`reauth ${account}`)
    return outcomeOf(status, words)
  }
}

function targetWord(target: AdjustmentTarget): string {
  return target.kind === 'id' || target.kind === 'name' ? `${target.kind}:${target.bucket}` : target.kind
}

function outcomeOf(status: string, words: readonly string[]): AdjustmentOutcome {
  const [first = '0', , money = '0', debt = '0', sequence, buckets = '-'] = words
  switch (status) {
    case 'adjusted':
    case 'repeated':
      return {
        status,
        money: BigInt(money) as Micros,
        debt: BigInt(debt) as Micros,
        sequence: Number(sequence),
        buckets: buckets === '-' ? [] : buckets.split(',').map(readTouched),
      }
    case 'terminated':
      return { status: 'account_terminated' }
    case 'taken':
      return { status: 'reference_taken' }
    case 'currency_differs':
      return { status, currency: first }
    case 'unit_differs':
      return { status, unit: first }
    case 'insufficient':
      return { status, free: BigInt(first) }
    case 'owed':
      return { status, debt: BigInt(first) as Micros }
    default:
      return { status: status as 'no_account' | 'too_large' | 'no_bucket' }
  }
}

/** `3-1=data-5gb:octets:500`. */
function readTouched(word: string): CreditedBucket {
  const [id, rest] = word.split('=') as [string, string]
  const [name, unit, left] = rest.split(':') as [string, BucketUnit, string]
  return { id, name, unit, amount: BigInt(left) as Units }
}
