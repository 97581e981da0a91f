/**
 * A voucher becomes money, or an offer, in an account: once, whatever breaks (semantics.md section 10).
 *
 * The steps, each of which may be repeated: the redemption is noted in the due list of its account; the voucher is claimed for account and
 * redemption; lua/credit.lua credits under a key of this redemption; the voucher is marked as used; the note goes. Whoever finds the
 * note (the sweeper of any daemon, once its time has come) does what is left. A credit that was refused is refused for good under its
 * key, so the voucher can be given free: no late step of this redemption pays any more.
 *
 * Wrong codes are counted before they are looked at, and lock out who guesses. Every refusal takes the same calls of the store.
 */
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { CreditOutcome, Credited, Credits, RechargeTerms } from '../balance/credits.js'
import { grantsOf } from '../balance/extras.js'
import type { Account, Accounts } from '../balance/types.js'
import {
  readNumber,
  writeNumber,
  type GuessKind,
  type GuessLimits,
  type Guesser,
  type VoucherClaim,
  type VoucherNumber,
  type VoucherStore,
} from '../balance/vouchers.js'
import type { Clock } from '../clock.js'
import type { Catalog } from '../rating/catalog.js'
import { newBuckets } from '../rating/match.js'
import type { Micros, Millis } from '../units.js'
import { rechargeTerms } from './rules.js'
import type { Batch, VoucherBatches } from './voucher-batches.js'
import { bucketsFor } from './voucher-batches.js'
import { placeOf, readCode } from './voucher-codes.js'
import type { VoucherKey } from './voucher-key.js'

export interface RedeemRequest {
  readonly account: string
  /** Number of the subscriber that an offer is for; 0: all of the account. */
  readonly subscriber: string
  /** As it was written. */
  readonly code: string
  /** Where it was redeemed, words without spaces. */
  readonly channel: string
  readonly outlet: string | undefined
  /** Who is asked for it, for ledger and report. */
  readonly actor: string
  /** Who asks, which is counted. */
  readonly principal: string
}

/** What a voucher brought. */
export interface Redeemed {
  readonly voucher: string
  readonly batch: Batch
  readonly at: Millis
  /** Of its money; undefined: it brought none, or that was more than 400 days ago. */
  readonly credited: Credited | undefined
  readonly subscription: string | undefined
}

export type RedeemOutcome =
  ({ readonly status: 'redeemed' } & Redeemed) | ({ readonly status: 'repeated' } & Redeemed) | RedeemRefusal

/** `other_key`: the store has batches of keys that this daemon has not got. */
export type RedeemRefusal =
  | { readonly status: 'malformed' | 'no_account' | 'unknown' | 'used' | 'blocked' | 'expired' | 'not_active' }
  | { readonly status: 'other_key'; readonly ids: readonly string[] }
  | { readonly status: 'locked'; readonly until: Millis }
  /** The code is right and stays so: why this account cannot have it. */
  | { readonly status: 'account_terminated' | 'too_large' }
  | { readonly status: 'currency_differs'; readonly currency: string }
  | { readonly status: 'refused'; readonly why: string }
  /** The money is there, and what is missing comes when it can: why not now. */
  | { readonly status: 'pending'; readonly why: string }

export interface VoucherMetrics {
  redemption(result: RedeemOutcome['status']): void
  /** Somebody tried too many wrong codes. */
  locked(kind: GuessKind): void
}

export interface RedemptionOptions {
  readonly store: VoucherStore
  readonly batches: VoucherBatches
  readonly accounts: Pick<Accounts, 'show' | 'subscribe'>
  readonly credits: Pick<Credits, 'plain' | 'answerOf'>
  readonly keys: readonly VoucherKey[]
  readonly capacity: number
  readonly lockout: GuessLimits
  readonly catalog: () => Catalog
  /** Why an offer of the catalog is not sold to this account now; undefined: it is. */
  readonly notSold: (offer: string, account: Account) => string | undefined
  readonly metrics: VoucherMetrics
  readonly clock: Clock
  readonly log: Logger
}

/** What became of the steps behind the claim. */
type Finished =
  | ({ readonly status: 'done' } & Redeemed)
  | { readonly status: 'freed'; readonly why: RedeemRefusal }
  | { readonly status: 'later'; readonly why: string }

type Bought =
  | { readonly status: 'bought'; readonly subscription: string | undefined }
  | { readonly status: 'refused'; readonly why: string }

/** Longer than a redemption takes: another daemon looks after it then, ms. */
const finishAfterMs = 10_000
/** Of an account that changes under us. */
const mostTries = 10
/** How often a redemption that a sweeper gave up begins anew. */
const mostRedemptions = 3
/** A batch that never is: an unknown code is asked for like a known one. */
const nobody: VoucherNumber = { batch: '0', serial: 1 }

export class VoucherRedemption {
  private buckets: number | undefined

  constructor(private readonly options: RedemptionOptions) {}

  /**
   * Redeems a voucher, once. The same account and code again get the first answer.
   *
   * @throws BalanceUnavailableError; what was begun is finished all the same, and the same request again tells how
   */
  async redeem(request: RedeemRequest): Promise<RedeemOutcome> {
    const outcome = await this.tryCode(request)
    this.options.metrics.redemption(outcome.status)
    return outcome
  }

  /** Forgets the wrong codes of an account. */
  async unlock(account: string): Promise<void> {
    const { store, lockout } = this.options
    await store.guess('clear', { account, principal: '-', outlet: undefined }, '-', lockout)
  }

  /** A member `voucher <account> <batch>-<serial>.<redemption>` of a due list: finishes what is left of it. */
  async finishDue(member: string): Promise<'done' | 'stuck'> {
    const { store, log } = this.options
    const [, account, id] = member.split(' ') as [string, string, string]
    const dot = id.indexOf('.')
    const voucher = readNumber(id.slice(0, dot))
    if (!voucher) throw new Error(`${member} names no voucher`)
    const state = await store.settle(voucher, id.slice(dot + 1))
    if (state.status !== 'claimed') {
      await store.intended(account, id)
      return 'done'
    }
    const finished = await this.finish(voucher, state.claim)
    if (finished.status === 'later') {
      log.warn({ event: 'voucher_waits', voucher: writeNumber(voucher), account, why: finished.why }, 'a voucher waits')
      return 'stuck'
    }
    log.info({ event: 'voucher_finished', voucher: writeNumber(voucher), account }, 'a redemption was finished')
    return 'done'
  }

  private async tryCode(request: RedeemRequest): Promise<RedeemOutcome> {
    const { store, batches, accounts, lockout, clock } = this.options
    const code = readCode(request.code)
    if (code === undefined) return { status: 'malformed' }
    const account = await accounts.show(request.account)
    if (!account) return { status: 'no_account' }
    const guesser: Guesser = { account: account.id, principal: request.principal, outlet: request.outlet }
    const token = newRedemption()
    const tried = await store.guess('try', guesser, token, lockout)
    if (tried.status === 'locked') return { status: 'locked', until: tried.until }
    if (tried.status === 'busy') return { status: 'locked', until: clock.now() + 1000 }
    const found = await this.find(code)
    const missing = batches.missing(found.keys)
    if (missing.length > 0) {
      await store.guess('end', guesser, token, lockout)
      return { status: 'other_key', ids: missing }
    }
    const outcome = await this.redeemFound(request, account, found.voucher)
    if (wrong.has(outcome.status)) await this.wrong(request, guesser, token)
    else await store.guess(outcome.status === 'redeemed' ? 'right' : 'end', guesser, token, lockout)
    return outcome
  }

  private async find(code: string): Promise<{ voucher: VoucherNumber | undefined; keys: readonly string[] }> {
    const { store, keys, capacity } = this.options
    const buckets = (this.buckets ??= await store.codeBuckets(bucketsFor(capacity)))
    const found = await store.findCodes(keys.map(({ pepper }) => placeOf(code, pepper, buckets)))
    return { voucher: found.vouchers.find(each => each !== undefined), keys: found.keys }
  }

  private async redeemFound(
    request: RedeemRequest,
    account: Account,
    voucher: VoucherNumber | undefined,
  ): Promise<RedeemOutcome> {
    const { store, batches, clock } = this.options
    const state = await store.look(voucher ?? nobody)
    if (!voucher) return { status: 'unknown' }
    switch (state.status) {
      case 'claimed':
      case 'used':
        return state.claim.account === account.id ? this.again(voucher, state.status, state.claim) : { status: 'used' }
      case 'created':
        return { status: 'not_active' }
      case 'unknown':
      case 'blocked':
      case 'expired':
        return { status: state.status }
      default:
    }
    const batch = (await batches.show(voucher.batch))!
    const refused = this.refusedEarly(batch, account)
    if (refused) return refused
    const { subscriber, channel, outlet, actor } = request
    for (let redemptions = 0; redemptions < mostRedemptions; redemptions++) {
      const at = clock.now()
      const claim = { account: account.id, subscriber, redemption: newRedemption(), at, channel, outlet, actor }
      const id = idOf(voucher, claim)
      await store.intend(account.id, id, at + finishAfterMs)
      const claimed = await store.claim(voucher, claim)
      if (claimed.status === 'late') continue // a sweeper whose clock is ahead of ours gave it up
      if (claimed.status === 'yours') return outcomeOf(await this.finish(voucher, claim), 'redeemed')
      await store.intended(account.id, id)
      if (claimed.status === 'used' || claimed.status === 'claimed') {
        const same = claimed.claim.account === account.id
        return same ? this.again(voucher, claimed.status, claimed.claim) : { status: 'used' }
      }
      if (claimed.status === 'blocked' || claimed.status === 'expired') return { status: claimed.status }
      return { status: 'not_active' }
    }
    throw new Error(`voucher ${writeNumber(voucher)}: each of ${mostRedemptions} redemptions was given up at once`)
  }

  /** The voucher is this account's already: what is left to do is done, and what it brought is told. */
  private async again(voucher: VoucherNumber, status: 'claimed' | 'used', claim: VoucherClaim): Promise<RedeemOutcome> {
    if (status === 'claimed') return outcomeOf(await this.finish(voucher, claim), 'repeated')
    const { store, batches, credits } = this.options
    const { account, at } = claim
    const batch = (await batches.show(voucher.batch))!
    const id = idOf(voucher, claim)
    return {
      ...{ status: 'repeated', voucher: writeNumber(voucher), batch, at },
      credited: batch.amount === undefined ? undefined : await credits.answerOf(account, onceOf(id)),
      subscription: batch.offer === undefined ? undefined : await store.purchaseOf(account, onceOf(id)),
    }
  }

  /** What can be told before the voucher is touched. */
  private refusedEarly({ currency, offer }: Batch, account: Account): RedeemOutcome | undefined {
    if (account.status === 'terminated') return { status: 'account_terminated' }
    if (currency !== undefined && account.currency !== currency) return { status: 'currency_differs', currency }
    if (offer === undefined) return undefined
    if (!this.options.catalog().offers.has(offer))
      return { status: 'refused', why: `the catalog has no offer ${offer}` }
    const why = this.options.notSold(offer, account)
    return why === undefined ? undefined : { status: 'refused', why }
  }

  /** The steps behind the claim. */
  private async finish(voucher: VoucherNumber, claim: VoucherClaim): Promise<Finished> {
    const { store, batches, credits, log } = this.options
    const { account, at, channel, outlet, actor } = claim
    const batch = (await batches.show(voucher.batch))!
    const { amount, currency, offer } = batch
    const id = idOf(voucher, claim)
    let credited: Credited | undefined
    let subscription: string | undefined
    if (amount !== undefined) {
      const outcome = await credits.plain({
        ...{ channel: 'voucher', terms: await this.termsOf(claim, amount, currency!) },
        ...{ account, amount, currency: currency!, source: 'source:voucher', once: onceOf(id) },
        cause: {
          ...{ kind: 'recharge', channel: 'voucher', reference: writeNumber(voucher), method: channel, outlet, actor },
          voucher: { batch: voucher.batch, serial: voucher.serial },
        },
      })
      if (outcome.status !== 'credited' && outcome.status !== 'repeated')
        return this.giveBack(voucher, claim, refusalOf(outcome, batch))
      credited = outcome
    }
    if (offer !== undefined) {
      const bought = await this.buy(offer, claim, onceOf(id))
      if (bought.status === 'bought') subscription = bought.subscription
      else if (credited) return { status: 'later', why: bought.why }
      else if (!(await store.voidPurchase(account, onceOf(id))))
        return this.giveBack(voucher, claim, { status: 'refused', why: bought.why })
      else subscription = await store.purchaseOf(account, onceOf(id))
    }
    const used = await store.use(voucher, claim, this.dayOf(at))
    if (used.status !== 'done')
      log.error({ event: 'voucher_defect', voucher: id, account }, 'a voucher has paid and is not this redemption’s')
    await store.intended(account, id)
    return { status: 'done', voucher: writeNumber(voucher), batch, at, credited, subscription }
  }

  /** A voucher gets the bonuses of its channel; what limits other channels was decided when it was sold. */
  private async termsOf({ account, at }: VoucherClaim, amount: Micros, currency: string): Promise<RechargeTerms> {
    const attributes = (await this.options.accounts.show(account))?.extras.attributes ?? {}
    const { terms } = rechargeTerms(this.options.catalog(), { channel: 'voucher', amount, currency, attributes, at })
    return { day: terms.day, bonuses: terms.bonuses }
  }

  private async giveBack(
    voucher: VoucherNumber,
    claim: VoucherClaim,
    why: Extract<Finished, { status: 'freed' }>['why'],
  ): Promise<Finished> {
    const { store } = this.options
    await store.free(voucher, claim.redemption)
    await store.intended(claim.account, idOf(voucher, claim))
    return { status: 'freed', why }
  }

  /** The offer of a voucher, which was judged before it was claimed: without fee, once for its reference. */
  private async buy(
    offer: string,
    { account: id, subscriber, actor }: VoucherClaim,
    reference: string,
  ): Promise<Bought> {
    const { accounts, catalog, clock } = this.options
    for (let tries = 0; tries < mostTries; tries++) {
      const account = await accounts.show(id)
      if (!account) return { status: 'refused', why: `there is no account ${id}` }
      const now = clock.now()
      const buckets = newBuckets(catalog(), offer, now, account.currency)
      if (!buckets) return { status: 'refused', why: `the catalog has no offer ${offer}` }
      if ('refused' in buckets) return { status: 'refused', why: `offer ${offer} grants money: ${buckets.refused}` }
      const outcome = await accounts.subscribe({
        ...{ account: id, subscriber, offer, reference, actor, rev: account.rev },
        buckets: grantsOf(buckets, account.extras.overrides, now),
      })
      switch (outcome.status) {
        case 'subscribed':
        case 'repeated':
          return { status: 'bought', subscription: outcome.subscription }
        case 'moved':
          continue
        case 'reference_taken':
          return { status: 'refused', why: 'it was given up before' }
        case 'no_subscriber':
          return { status: 'refused', why: `account ${id} has no subscriber ${subscriber}` }
        default:
          return { status: 'refused', why: `account ${id} gets no offers: ${outcome.status}` }
      }
    }
    return { status: 'refused', why: `account ${id} changes all the time` }
  }

  /** Counts a wrong code; who has tried too many is locked out, and it is written down. */
  private async wrong({ channel, outlet, actor }: RedeemRequest, guesser: Guesser, token: string): Promise<void> {
    const { store, lockout, clock, metrics, log } = this.options
    const outcome = await store.guess('wrong', guesser, token, lockout)
    if (outcome.status !== 'locked_now') return
    const until = clock.now() + lockout.lockMs
    for (const kind of outcome.by) {
      metrics.locked(kind)
      const fields = { event: 'voucher_lockout', kind, account: guesser.account, outlet, actor, until }
      log.warn(fields, 'too many wrong voucher codes')
      if (kind !== 'account') continue
      const cause = { kind: 'voucher-lockout', tries: lockout.account, until, channel, outlet, actor }
      await store.note(guesser.account, `voucher-lockout:${token}`, cause)
    }
  }

  /** As the clock on the wall has it where the catalog is at home. */
  private dayOf(at: Millis): string {
    const { timezone } = this.options.catalog()
    return new Intl.DateTimeFormat('sv-SE', { timeZone: timezone }).format(at) // Swedes write 2026-11-22
  }
}

/** Codes that are not there for whoever sent them. */
const wrong: ReadonlySet<RedeemOutcome['status']> = new Set(['unknown', 'used', 'blocked', 'expired', 'not_active'])

const newRedemption = (): string => randomBytes(8).toString('hex')

const idOf = (voucher: VoucherNumber, { redemption }: VoucherClaim): string => `${writeNumber(voucher)}.${redemption}`

/** Of credit and purchase. */
const onceOf = (id: string): string => `voucher:${id}`

function outcomeOf(finished: Finished, status: 'redeemed' | 'repeated'): RedeemOutcome {
  if (finished.status === 'done') return { ...finished, status }
  return finished.status === 'freed' ? finished.why : { status: 'pending', why: finished.why }
}

function refusalOf(outcome: CreditOutcome, { currency }: Batch): Extract<Finished, { status: 'freed' }>['why'] {
  switch (outcome.status) {
    case 'account_terminated':
    case 'too_large':
    case 'no_account':
      return { status: outcome.status }
    case 'currency_differs':
      return { status: 'currency_differs', currency: currency! }
    default:
      return { status: 'refused', why: 'why' in outcome ? outcome.why : outcome.status }
  }
}
