/**
 * Money in: recharges and what comes with them, once for each (channel, reference) over all accounts (semantics.md section 10). The
 * reference is claimed first, lua/credit.lua credits, the claim is settled: each step may be repeated, so a crash in between is mended
 * by doing it again.
 */
import type { Clock } from '../clock.js'
import type { Micros, Millis, Units } from '../units.js'
import { bucketArguments } from './accounts.js'
import { accountKey, censusKey, dueKey, journalKey, onceKey, partitionOf, referenceKey } from './keys.js'
import type { Store } from './store.js'
import type { BucketUnit, NewBucket } from './types.js'

export interface RechargeRequest {
  readonly account: string
  /** Above 0; 0 where `buckets` alone come. */
  readonly amount: Micros
  readonly currency: string
  readonly channel: string
  readonly reference: string
  readonly actor: string
  /** How it was paid, where, and by whom it was taken: for ledger and reports. */
  readonly method?: string | undefined
  readonly outlet?: string | undefined
  readonly operator?: string | undefined
  /** More members for the ledger entry, like `voucher` or `intent`. */
  readonly cause?: object | undefined
  /** That it brings beside the money. */
  readonly buckets?: readonly NewBucket[] | undefined
  /** What the catalog says of it; absent: no limits, no bonus. */
  readonly terms?: RechargeTerms | undefined
}

export interface RechargeTerms {
  /** A word: why it may not be, unless it is one that was made before. */
  readonly refused?: string | undefined
  /** When the business day began that limits count in. */
  readonly day: Millis
  /** The most of the channel in the day; undefined: no limit. */
  readonly mostCount?: number | undefined
  readonly mostSum?: Micros | undefined
  /** In order: the first that applies is given. */
  readonly bonuses: readonly BonusTerms[]
}

/** A bonus whose conditions hold as far as one can tell without the account's own history. */
export interface BonusTerms {
  readonly rule: string
  /** For the account's first recharge only. */
  readonly first: boolean
  /** How often one account gets it; undefined: each time. */
  readonly most: number | undefined
  /** Into `main`. */
  readonly money: Micros
  readonly buckets: readonly NewBucket[]
}

/** What a recharge brought. */
export interface Credited {
  readonly money: Micros
  readonly debt: Micros
  readonly sequence: number
  readonly at: Millis
  readonly bonus: Bonus | undefined
  /** With the recharge and its bonus. */
  readonly buckets: readonly CreditedBucket[]
}

export interface Bonus {
  readonly rule: string
  /** Into `main`. */
  readonly money: Micros
}

export interface CreditedBucket {
  readonly id: string
  readonly name: string
  readonly unit: BucketUnit
  readonly amount: Units
}

export type CreditOutcome =
  | ({ readonly status: 'credited' } & Credited)
  | ({ readonly status: 'repeated' } & Credited)
  | { readonly status: 'no_account' | 'currency_differs' | 'too_large' | 'account_terminated' }
  /** The (channel, reference) belongs to another account or amount. */
  | { readonly status: 'reference_taken'; readonly account: string; readonly amount: Micros }
  /** The channel gives an account no more on this day. `today`: what it had. */
  | { readonly status: 'limit_count'; readonly most: number }
  | { readonly status: 'limit_sum'; readonly most: Micros; readonly today: Micros }
  /** What `terms.refused` says. */
  | { readonly status: 'refused'; readonly why: string }

/** What became of a (channel, reference). `claimed`: it began and was not finished, or was refused a moment ago. */
export type ReferenceState =
  | { readonly status: 'unknown' }
  | { readonly status: 'claimed' | 'credited'; readonly account: string; readonly amount: Micros; readonly currency: string; readonly credited: Credited | undefined } // prettier-ignore

/** A credit that is no recharge, for the saga that it is part of. */
export interface PlainCredit {
  readonly account: string
  readonly amount: Micros
  readonly currency: string
  /** The outside account that it is posted against. */
  readonly source: string
  readonly once: string
  /** Members of the ledger entry. */
  readonly cause: object
  /** It counts as a recharge of this channel all the same: a voucher, whose code is its reference. */
  readonly channel?: string | undefined
  readonly terms?: RechargeTerms | undefined
}

export const referenceKeepMs = 400 * 24 * 3_600_000
/** Of an account, as the scripts have it. */
const mostMoney = 2n ** 52n
/** A refused recharge keeps its reference so long: another attempt at it may still be under way. */
const refusedKeepMs = 60_000
const noTerms = (now: Millis): RechargeTerms => ({ day: now - (now % 86_400_000), bonuses: [] })

export class Credits {
  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly clock: Clock,
    /** How long one call may wait for the store, ms. */
    private readonly patienceMs = 5000,
    /** Told of what a script left in the due list for open sessions, like `reauth alice`: it is due at once. */
    private readonly asked: (member: string) => void = () => undefined,
    /** Awaited before a recharge of an account. */
    private readonly before: (account: string) => Promise<void> = () => Promise.resolve(),
  ) {}

  /** Money in, once for each (channel, reference). @throws BalanceUnavailableError; then it may be repeated */
  async recharge(request: RechargeRequest): Promise<CreditOutcome> {
    const { account, amount, currency, channel, reference, actor, method, outlet, operator, buckets = [] } = request
    const { terms = noTerms(this.clock.now()) } = request
    const content = `${account} ${amount} ${currency}`
    const early = await this.refusedEarly(request, content, terms)
    if (early) return early
    await this.before(account)
    const claimed = await this.claim(channel, reference, 'claim', content)
    if (claimed.startsWith('taken ')) return takenBy(claimed.slice('taken '.length))
    const cause = { kind: 'recharge', channel, reference, method, outlet, operator, actor, ...request.cause }
    const outcome = await this.credit(account, {
      ...{ amount, currency, channel, terms, cause, buckets, final: false },
      source: `source:${channel}`,
      once: rechargeOnce(channel, reference),
    })
    // Where it was refused nothing was credited under this reference: soon it is free again.
    const step = outcome.status === 'credited' || outcome.status === 'repeated' ? 'settle' : 'free'
    if (claimed !== 'settled') await this.claim(channel, reference, step, content)
    return outcome
  }

  /** Once for its key; a refusal is remembered, so that whoever asks again is told the same. */
  async plain(request: PlainCredit): Promise<CreditOutcome> {
    const { account, amount, currency, source, once, cause, channel = '' } = request
    const rest = { channel, terms: request.terms ?? noTerms(this.clock.now()), buckets: [], final: true }
    return this.credit(account, { amount, currency, source, once, cause, ...rest })
  }

  async find(channel: string, reference: string): Promise<ReferenceState> {
    const value = await this.call('claim', redis => redis.get(referenceKey(channel, reference)))
    if (value === null) return { status: 'unknown' }
    const [account, amount, currency] = value.split(' ') as [string, string, string]
    const key = onceKey(partitionOf(account, this.partitions), rechargeOnce(channel, reference))
    const answer = await this.call('once', redis => redis.get(key))
    const credited = answer === null ? undefined : readCredited(answer.split(' '))
    const status = credited ? 'credited' : 'claimed'
    return { status, account, amount: BigInt(amount) as Micros, currency, credited }
  }

  /** What a `plain` credit brought; undefined: there was none, or it is long ago. */
  async answerOf(account: string, once: string): Promise<Credited | undefined> {
    const answer = await this.call('once', redis => redis.get(onceKey(partitionOf(account, this.partitions), once)))
    return answer === null || answer.startsWith('refused ') ? undefined : readCredited(answer.split(' '))
  }

  /** What is refused before the reference is claimed stays free for another try; what is known of it is the script's to answer. */
  private async refusedEarly(
    { account, amount, currency, channel, reference }: RechargeRequest,
    content: string,
    { refused }: RechargeTerms,
  ): Promise<CreditOutcome | undefined> {
    const key = accountKey(partitionOf(account, this.partitions), account)
    const [known, [funds, has]] = await this.call('claim', redis =>
      Promise.all([redis.get(referenceKey(channel, reference)), redis.hmget(key, 'funds', 'currency')]),
    )
    if (known !== null) return known.startsWith(content) ? undefined : takenBy(known)
    if (funds == null) return { status: 'no_account' }
    if (funds.startsWith('terminated ')) return { status: 'account_terminated' }
    if (has !== currency) return { status: 'currency_differs' }
    const [, money, credit] = / money (-?\d+) .* credit (\d+)/.exec(funds) ?? []
    if (BigInt(money ?? 0) + amount > mostMoney - BigInt(credit ?? 0)) return { status: 'too_large' }
    return refused === undefined ? undefined : { status: 'refused', why: refused }
  }

  private claim(channel: string, reference: string, step: 'claim' | 'settle' | 'free', of: string): Promise<string> {
    const keep = String(step === 'free' ? refusedKeepMs : referenceKeepMs)
    return this.call('claim', redis => redis.claimReference(referenceKey(channel, reference), step, of, keep))
  }

  private async credit(
    account: string,
    request: {
      readonly amount: Micros
      readonly currency: string
      readonly channel: string
      readonly terms: RechargeTerms
      readonly source: string
      readonly once: string
      readonly cause: object
      readonly buckets: readonly NewBucket[]
      readonly final: boolean
    },
  ): Promise<CreditOutcome> {
    const { amount, currency, channel, terms, source, once, cause, buckets, final } = request
    const partition = partitionOf(account, this.partitions)
    const { day, mostCount = 0, mostSum = 0, refused = '', bonuses } = terms
    const args = [
      accountKey(partition, account),
      onceKey(partition, once),
      journalKey(partition),
      dueKey(partition),
      censusKey(partition),
      account,
      String(amount),
      currency,
      String(this.clock.now()),
      source,
      JSON.stringify(cause).slice(1, -1),
      String(referenceKeepMs),
      channel,
      `${day} ${mostCount} ${mostSum}`,
      refused,
      final ? '1' : '',
      ...bucketArguments(buckets),
      String(bonuses.length),
      ...bonuses.flatMap(({ rule, first, most = 0, money, buckets: given }) => [
        ...[rule, first ? '1' : '0', String(most), String(money)],
        ...bucketArguments(given),
      ]),
    ]
    const reply = (await this.call('credit', redis => redis.credit(...args))).split(' ')
    const [status, ...words] = reply
    switch (status) {
      case 'credited':
      case 'repeated':
        if (words.at(-1) === 'due') this.asked(`reauth ${account}`)
        return { status, ...readCredited(words) }
      case 'terminated':
        return { status: 'account_terminated' }
      case 'limit_count':
        return { status, most: Number(words[0]) }
      case 'limit_sum':
        return { status, most: BigInt(words[0]!) as Micros, today: BigInt(words[1]!) as Micros }
      case 'no_account':
      case 'currency_differs':
      case 'too_large':
        return { status }
      default:
        return { status: 'refused', why: status! }
    }
  }

  private call<T>(name: string, send: (redis: Store['redis']) => Promise<T>): Promise<T> {
    return this.store.call(name, this.store.deadlineIn(this.patienceMs), send)
  }
}

const rechargeOnce = (channel: string, reference: string): string => `recharge:${channel}:${reference}`

function takenBy(content: string): CreditOutcome {
  const [account, amount] = content.split(' ') as [string, string]
  return { status: 'reference_taken', account, amount: BigInt(amount) as Micros }
}

/** What lua/credit.lua answers behind its first word. */
function readCredited([money, debt, sequence, at, rule, bonus, buckets]: readonly string[]): Credited {
  return {
    money: BigInt(money!) as Micros,
    debt: BigInt(debt!) as Micros,
    sequence: Number(sequence),
    at: Number(at),
    bonus: rule === '-' ? undefined : { rule: rule!, money: BigInt(bonus!) as Micros },
    buckets:
      buckets === '-'
        ? []
        : buckets!.split(',').map(word => {
            const [id, rest] = word.split('=') as [string, string]
            const [name, unit, amount] = rest.split(':') as [string, BucketUnit, string]
            return { id, name, unit, amount: BigInt(amount) as Units }
          }),
  }
}
