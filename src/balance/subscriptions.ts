/**
 * Subscriptions with a fee: what an account keeps of each, and the one step that takes it from a state to the next one
 * (lua/step-subscription.lua), whoever asks for it and however often.
 */
import type { Micros, Millis } from '../units.js'
import { bucketArguments, readAccount } from './accounts.js'
import { accountKey, censusKey, dueKey, journalKey, onceKey, partitionOf } from './keys.js'
import { StoreDefectError, type Store } from './store.js'
import type { Account, NewBucket, NewSubscription, SubscriptionState } from './types.js'

const onceKeepMs = 400 * 24 * 3_600_000

/** How a subscription is left by a step. */
export interface StepOutcomeTerms {
  /** Members of the ledger entry. */
  readonly cause: object
  /** Undefined: it has no fee any more, or has ended. */
  readonly state: SubscriptionState | undefined
  /** `out`: it has ended. `paused`: its rules do not hold. Undefined: as it was. */
  readonly standing?: 'in' | 'paused' | 'out' | undefined
  /** When its end is told ahead next. */
  readonly told?: Millis | undefined
  /** `ended`: what of its buckets has ended goes; `all`: all of them end; `keep`: nothing of this. */
  readonly buckets: 'ended' | 'all' | 'keep'
}

export interface Step {
  readonly account: string
  readonly subscription: string
  /** As they were read: the step was worked out from them. */
  readonly line: string | undefined
  readonly rev: string
  readonly at: Millis
  /** Of a sweep: business clock less the store's, ms. */
  readonly offset?: number | undefined
  /** Of a request: the same again is answered with `answer`. */
  readonly once?: { readonly key: string; readonly answer: string } | undefined
  /** An account that is suspended is looked at again then; undefined: it makes no difference. */
  readonly wait?: Millis | undefined
  /** From free money only. */
  readonly fee: Micros
  /** Of what was paid, given back. */
  readonly refund: Micros
  readonly offer: string
  readonly done: StepOutcomeTerms
  /** Where free money does not reach the fee; undefined: then nothing is done. */
  readonly failed?: StepOutcomeTerms | undefined
  /** Version of the catalog that the buckets are of. */
  readonly catalog: string
  readonly buckets: readonly NewBucket[]
}

export type StepOutcome =
  | { readonly status: 'done' | 'failed' }
  /** The request was done before. */
  | { readonly status: 'repeated'; readonly answer: string }
  /** `moved`: read again. `waits`: the account is suspended. `skew`: clocks differ by over 30 s. */
  | { readonly status: 'moved' | 'waits' | 'skew' | 'no_account' | 'terminated' }
  | { readonly status: 'insufficient'; readonly needs: Micros; readonly free: Micros }

export class SubscriptionStore {
  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly patienceMs = 5000,
    /** Told of what a script left in the due list for open sessions, like `reauth alice`: it is due at once. */
    private readonly asked: (member: string) => void = () => undefined,
  ) {}

  /** The account as it is now. @throws BalanceUnavailableError */
  async account(id: string): Promise<Account | undefined> {
    const partition = partitionOf(id, this.partitions)
    const all = await this.store.call('account', this.deadline(), redis => redis.hgetall(accountKey(partition, id)))
    return all['funds'] === undefined ? undefined : readAccount(id, partition, all)
  }

  /** Does it if the subscription and the profile are still as they were read; may be repeated. */
  async step(step: Step): Promise<StepOutcome> {
    const { account, subscription, once, done, failed } = step
    const partition = partitionOf(account, this.partitions)
    const reply = await this.store.call('step-subscription', this.deadline(), redis =>
      redis.stepSubscription(
        accountKey(partition, account),
        dueKey(partition),
        journalKey(partition),
        censusKey(partition),
        onceKey(partition, `subscription:${account}:${once?.key ?? '-'}`),
        account,
        subscription,
        step.line ?? '',
        step.rev,
        String(step.at),
        step.offset === undefined ? '' : String(Math.round(step.offset)),
        once ? String(onceKeepMs) : '',
        once?.answer ?? '',
        step.wait === undefined ? '' : String(step.wait),
        String(step.fee),
        String(step.refund),
        step.offer,
        termsText(done),
        failed ? termsText(failed) : '',
        step.catalog,
        ...bucketArguments(step.buckets),
      ),
    )
    const [word, ...rest] = reply.split(' ')
    switch (word) {
      case 'done':
      case 'failed':
        if (rest[0] === 'due') this.asked(`reauth ${account}`)
        return { status: word }
      case 'repeated':
        return { status: 'repeated', answer: rest.join(' ') }
      case 'insufficient':
        return { status: 'insufficient', needs: BigInt(rest[0]!) as Micros, free: BigInt(rest[1]!) as Micros }
      case 'moved':
      case 'waits':
      case 'skew':
      case 'no_account':
      case 'terminated':
        return { status: word }
      default:
        throw new StoreDefectError(`step-subscription: ${reply}`)
    }
  }

  /** Tells that a bucket ends soon, if it is time; each of the times once. @throws BalanceUnavailableError */
  async remindBucket(
    account: string,
    bucket: string,
    at: Millis,
    offset: number,
  ): Promise<'told' | 'early' | 'gone' | 'skew'> {
    const partition = partitionOf(account, this.partitions)
    const reply = await this.store.call('remind-bucket', this.deadline(), redis =>
      redis.remindBucket(
        accountKey(partition, account),
        dueKey(partition),
        journalKey(partition),
        String(at),
        String(Math.round(offset)),
        account,
        bucket,
        `remind ${account} bucket:${bucket}`,
      ),
    )
    return reply as 'told' | 'early' | 'gone' | 'skew'
  }

  /** Takes out a member that stands for nothing any more. */
  async forget(account: string, member: string): Promise<void> {
    const partition = partitionOf(account, this.partitions)
    await this.store.call('due', this.deadline(), redis => redis.zrem(dueKey(partition), member))
  }

  /** Puts a member at its time. Done by many at once, or late, it is only looked at once more. */
  async put(account: string, member: string, at: Millis): Promise<void> {
    const partition = partitionOf(account, this.partitions)
    await this.store.call('due', this.deadline(), redis => redis.zadd(dueKey(partition), String(at), member))
  }

  /** What a request with this reference was answered; undefined: there was none. */
  async answered(account: string, reference: string): Promise<string | undefined> {
    const key = onceKey(partitionOf(account, this.partitions), `subscription:${account}:${reference}`)
    return (await this.store.call('once', this.deadline(), redis => redis.get(key))) ?? undefined
  }

  private deadline(): number {
    return this.store.deadlineIn(this.patienceMs)
  }
}

function termsText({ cause, state, standing, told, buckets }: StepOutcomeTerms): string {
  const members = JSON.stringify(cause).slice(1, -1)
  const line = state ? writeSubscriptionState(state) : ''
  return [members, line, standing ?? '', state?.due ?? '', told ?? '', buckets].join('\n')
}

/** An offer as lua/include/granting.lua reads it. */
export function offerArguments(
  offer: string,
  buckets: readonly NewBucket[],
  { catalog = '-', state, told }: NewSubscription = {},
): string[] {
  return [
    offer,
    catalog,
    state ? writeSubscriptionState(state) : '',
    state?.due === undefined ? '' : String(state.due),
    told === undefined ? '' : String(told),
    ...bucketArguments(buckets),
  ]
}

/** The field `subscription:<id>`, lua/include/account-lines.lua. */
export function writeSubscriptionState(state: SubscriptionState): string {
  const { status, from, until = 0, anchor, index, every = '-', paid, due = 0, tries } = state
  const words = [
    ...(state.to === undefined ? [] : [`to=${state.to}`]),
    ...(state.ends === undefined ? [] : [`ends=${state.ends}`]),
    ...(state.failed === undefined ? [] : [`failed=${state.failed}`]),
    ...(state.needs === undefined ? [] : [`needs=${state.needs}`]),
    ...(state.told === undefined ? [] : [`told=${state.told}`]),
    ...(state.expire ? ['expire'] : []),
  ]
  return (
    `${status} from ${from} until ${until} anchor ${anchor} index ${index} every ${every} paid ${paid} due ${due} try ${tries}` +
    (words.length === 0 ? '' : ` with ${words.join(' ')}`)
  )
}

/** @throws Error when it is none */
export function readSubscriptionState(text: string): SubscriptionState {
  const match =
    /^(\w+) from (\d+) until (\d+) anchor (\d+) index (\d+) every (\S+) paid (\d+) due (\d+) try (\d+)(?: with (.*))?$/.exec(
      text,
    )
  if (!match) throw new Error('a subscription that cannot be read')
  const [, status, from, until, anchor, index, every, paid, due, tries, words = ''] = match
  const more = new Map(
    words.split(' ').map(word => {
      const [name, value] = word.split('=')
      return [name!, value ?? '']
    }),
  )
  const number = (name: string): number | undefined => (more.has(name) ? Number(more.get(name)) : undefined)
  const [to, needs] = [more.get('to'), more.get('needs')]
  return {
    status: status as SubscriptionState['status'],
    from: Number(from),
    until: until === '0' ? undefined : Number(until),
    anchor: Number(anchor),
    index: Number(index),
    every: every === '-' ? undefined : every,
    paid: BigInt(paid!) as Micros,
    due: due === '0' ? undefined : Number(due),
    tries: Number(tries),
    ...(to !== undefined && { to }),
    ...(more.has('ends') && { ends: number('ends') }),
    ...(more.has('failed') && { failed: number('failed') }),
    ...(needs !== undefined && { needs: BigInt(needs) as Micros }),
    ...(more.has('told') && { told: number('told') }),
    ...(more.has('expire') && { expire: true }),
  }
}
