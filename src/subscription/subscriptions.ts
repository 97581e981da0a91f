/**
 * Subscriptions for people and for the sweeper: buy, renew, change, cancel, remind. What is to be done is worked out in plan.ts from the account as it
 * is read; the store does it if nothing moved meanwhile, else it is worked out anew. So each thing happens once, however many ask.
 */
import type { Step, StepOutcome, SubscriptionStore } from '../balance/subscriptions.js'
import type { Account, Accounts, NewSubscription, Subscription, SubscribeOutcome } from '../balance/types.js'
import type { Catalog, Fee } from '../rating/catalog.js'
import { feeIn } from '../rating/fee.js'
import { whyNotSold } from '../rating/sale.js'
import type { Micros, Millis } from '../units.js'
import {
  cancelOf,
  changeOf,
  openingOf,
  purchaseOf,
  reminderOf,
  renewalOf,
  type CancelTerms,
  type ChangeTerms,
  type Holder,
  type Plan,
} from './plan.js'

/** What is counted; telemetry implements it. */
export interface SubscriptionMetrics {
  renewal(result: RenewalResult): void
}

export const renewalResults = ['renewed', 'failed', 'waits', 'stuck'] as const
export type RenewalResult = (typeof renewalResults)[number]

export interface SubscriptionsOptions {
  readonly store: SubscriptionStore
  readonly accounts: Pick<Accounts, 'subscribe'>
  readonly catalog: () => Catalog
  /** Business time, and how far it is from the store's, ms. */
  readonly clock: { readonly now: () => Millis }
  readonly offset: () => number
  readonly metrics: SubscriptionMetrics
  /** Told why a job of an account cannot be done now. */
  readonly stuck: (member: string, why: string) => void
}

/** A subscription and what its offer costs now. */
export interface SubscriptionReading {
  readonly account: Account
  readonly subscription: Subscription
  readonly fee: Fee | undefined
  /** Micros of the next renewal in the account's currency; undefined: there is none, or it cannot be said. */
  readonly next: Micros | undefined
}

export type BuyOutcome =
  | SubscribeOutcome
  | { readonly status: 'unknown_offer'; readonly asked: string; readonly offers: readonly string[] }
  | { readonly status: 'offer_refused'; readonly why: string }

/** `early`: nothing is to be renewed before that. `busy`: the account is being changed all the time. */
export type ChangeOutcome =
  | { readonly status: 'done' | 'repeated'; readonly subscription: SubscriptionReading | undefined }
  | { readonly status: 'no_account' | 'no_subscription' | 'account_terminated' | 'busy' | 'reference_taken' }
  | { readonly status: 'insufficient'; readonly needs: Micros; readonly free: Micros }
  | { readonly status: 'unknown_offer'; readonly asked: string; readonly offers: readonly string[] }
  | { readonly status: 'offer_refused'; readonly why: string }
  | { readonly status: 'impossible'; readonly why: 'once' | 'ending' | 'same' }
  | { readonly status: 'early'; readonly due: Millis }

/** The account moved between reading and doing so many times in a row: somebody else is at work on it. */
const mostTries = 8

export class Subscriptions {
  constructor(private readonly options: SubscriptionsOptions) {}

  /** Words of `due` and what is done for them, for the sweeper. */
  jobs(): ReadonlyMap<string, (partition: number, member: string) => Promise<'done' | 'stuck'>> {
    return new Map([
      ['renew', (_, member) => this.renewDue(member)],
      ['remind', (_, member) => this.remindDue(member)],
    ])
  }

  /** Why an offer is not sold to an account with these attributes now; undefined: it is. */
  whyNotSold(offer: string, attributes: Readonly<Record<string, string>>, now: Millis): string | undefined {
    return whyNotSold(this.options.catalog(), offer, attributes, now)
  }

  /**
   * How a subscription begins that comes with an account, by import or creation: the fee of its first period is not taken, as that is how
   * things stood before, and its renewal comes when that period ends.
   */
  opening(offer: string, holder: Holder, now: Millis): NewSubscription {
    const catalog = this.options.catalog()
    const bought = purchaseOf(catalog, offer, holder, now, 'opening')
    return bought && !('refused' in bought) ? openingOf(catalog, bought) : { catalog: catalog.version }
  }

  /** Buys an offer, once for each reference; its fee comes from free money only. */
  async buy(request: {
    readonly account: string
    readonly subscriber: string
    readonly offer: string
    readonly reference: string
    readonly actor: string
  }): Promise<BuyOutcome> {
    const { store, accounts, clock } = this.options
    for (let tries = 0; tries < mostTries; tries++) {
      const account = await store.account(request.account)
      if (!account) return { status: 'no_account' }
      const catalog = this.options.catalog()
      const now = clock.now()
      const bought = purchaseOf(catalog, request.offer, account, now)
      if (!bought) return { status: 'unknown_offer', asked: request.offer, offers: [...catalog.offers.keys()] }
      const why = this.whyNotSold(request.offer, account.extras.attributes, now)
      if (why !== undefined) return { status: 'offer_refused', why }
      if ('refused' in bought) return { status: 'offer_refused', why: bought.refused }
      const outcome = await accounts.subscribe({
        ...request,
        ...{ fee: bought.fee, buckets: bought.buckets, opening: openingOf(catalog, bought), rev: account.rev },
      })
      if (outcome.status !== 'moved') return outcome
    }
    return { status: 'moved' }
  }

  /** All of an account; undefined: there is no such account. */
  async list(id: string): Promise<readonly SubscriptionReading[] | undefined> {
    const account = await this.options.store.account(id)
    return account?.subscriptions.map(subscription => this.reading(account, subscription))
  }

  /** Takes the fee and gives what it brings when that is due and was not possible, or is done by hand. */
  renew(
    account: string,
    subscription: string,
    byHand: { readonly reference: string; readonly actor: string },
  ): Promise<ChangeOutcome> {
    const answer = `renew ${subscription}`
    return this.request(account, subscription, byHand.reference, answer, (catalog, holder, found, now) => {
      const { state } = found
      if (state?.until === undefined) return { status: 'impossible', why: 'once' }
      if (state.status === 'ending') return { status: 'impossible', why: 'ending' }
      if (now < state.until) return { status: 'early', due: state.until }
      const renewal = renewalOf(catalog, holder, found, now, byHand)
      if (renewal.status === 'step') return { plan: renewal.plan }
      return renewal.status === 'stuck'
        ? { status: 'offer_refused', why: renewal.why }
        : { status: 'impossible', why: 'once' }
    })
  }

  change(account: string, subscription: string, terms: ChangeTerms): Promise<ChangeOutcome> {
    const answer = `change ${subscription} ${terms.offer} ${terms.when} ${terms.buckets}`
    return this.request(account, subscription, terms.reference, answer, (catalog, holder, found, now) => {
      if (!catalog.offers.has(terms.offer))
        return { status: 'unknown_offer', asked: terms.offer, offers: [...catalog.offers.keys()] }
      const why = this.whyNotSold(terms.offer, holder.extras.attributes, now)
      if (why !== undefined) return { status: 'offer_refused', why }
      const planned = changeOf(catalog, holder, found, terms, now)
      if ('refused' in planned) return { status: 'offer_refused', why: planned.refused }
      return 'impossible' in planned ? { status: 'impossible', why: planned.impossible } : planned
    })
  }

  cancel(account: string, subscription: string, terms: CancelTerms): Promise<ChangeOutcome> {
    const answer = `cancel ${subscription} ${terms.when} ${terms.buckets}`
    return this.request(account, subscription, terms.reference, answer, (catalog, _, found, now) => {
      const planned = cancelOf(catalog, found, terms, now)
      if ('refused' in planned) return { status: 'offer_refused', why: planned.refused }
      return 'impossible' in planned ? { status: 'impossible', why: planned.impossible } : planned
    })
  }

  private async request(
    id: string,
    subscription: string,
    reference: string,
    answer: string,
    planFor: (
      catalog: Catalog,
      account: Account,
      found: Subscription,
      now: Millis,
    ) => { readonly plan: Plan } | ChangeOutcome,
  ): Promise<ChangeOutcome> {
    const { store, clock } = this.options
    const once = { key: reference, answer }
    for (let tries = 0; tries < mostTries; tries++) {
      const account = await store.account(id)
      if (!account) return { status: 'no_account' }
      const found = account.subscriptions.find(each => each.id === subscription)
      const repeated = await store.answered(id, reference)
      if (repeated !== undefined) return this.repeated(repeated, answer, account, found)
      if (!found) return { status: 'no_subscription' }
      const now = clock.now()
      const planned = planFor(this.options.catalog(), account, found, now)
      if ('status' in planned) return planned
      const outcome = await store.step(stepOf(account, found, planned.plan, now, { once }))
      switch (outcome.status) {
        case 'done':
          return { status: 'done', subscription: await this.one(id, subscription) }
        case 'repeated':
          return this.repeated(outcome.answer, answer, account, found)
        case 'insufficient':
          return outcome
        case 'terminated':
          return { status: 'account_terminated' }
        case 'no_account':
          return { status: 'no_account' }
        default:
          continue
      }
    }
    return { status: 'busy' }
  }

  private repeated(was: string, answer: string, account: Account, found: Subscription | undefined): ChangeOutcome {
    if (was !== answer) return { status: 'reference_taken' }
    return { status: 'repeated', subscription: found && this.reading(account, found) }
  }

  private async one(id: string, subscription: string): Promise<SubscriptionReading | undefined> {
    return (await this.list(id))?.find(each => each.subscription.id === subscription)
  }

  private reading(account: Account, subscription: Subscription): SubscriptionReading {
    const catalog = this.options.catalog()
    const { state, offer } = subscription
    const fee = catalog.offers.get(offer)?.fee
    const nextFee = state?.to === undefined ? fee : catalog.offers.get(state.to)?.fee
    const renews = state?.until !== undefined && state.status !== 'ending' && fee?.renew !== 'none'
    const costs = renews && nextFee ? feeIn(catalog, nextFee, account.currency, this.options.clock.now()) : undefined
    return { account, subscription, fee, next: costs && 'amount' in costs ? costs.amount : undefined }
  }

  /** `renew <account> <subscription>`. */
  private async renewDue(member: string): Promise<'done' | 'stuck'> {
    const [, id, subscription] = member.split(' ') as [string, string, string]
    const { store, clock, metrics, stuck } = this.options
    for (let tries = 0; tries < mostTries; tries++) {
      const account = await store.account(id)
      const found = account?.subscriptions.find(each => each.id === subscription)
      const now = clock.now()
      const renewal = account && found ? renewalOf(this.options.catalog(), account, found, now) : undefined
      if (!account || !found || !renewal || renewal.status === 'gone') {
        await store.forget(id, member)
        return 'done'
      }
      if (renewal.status === 'early') {
        await store.put(id, member, renewal.due)
        return 'done'
      }
      if (renewal.status === 'stuck') {
        metrics.renewal('stuck')
        stuck(member, renewal.why)
        return 'stuck'
      }
      const outcome = await store.step(stepOf(account, found, renewal.plan, now, { offset: this.options.offset() }))
      if (outcome.status === 'moved') continue
      if (outcome.status === 'skew') return 'stuck'
      this.count(outcome)
      return 'done'
    }
    return 'stuck'
  }

  private count({ status }: StepOutcome): void {
    if (status === 'done') this.options.metrics.renewal('renewed')
    if (status === 'failed') this.options.metrics.renewal('failed')
    if (status === 'waits') this.options.metrics.renewal('waits')
  }

  /** `remind <account> subscription:<id>`, `remind <account> bucket:<id>`. */
  private async remindDue(member: string): Promise<'done' | 'stuck'> {
    const [, id, what] = member.split(' ') as [string, string, string]
    const { store, clock, offset } = this.options
    const [kind, name] = what.split(':') as [string, string]
    if (kind === 'bucket') {
      return (await store.remindBucket(id, name, clock.now(), offset())) === 'skew' ? 'stuck' : 'done'
    }
    for (let tries = 0; tries < mostTries; tries++) {
      const account = await store.account(id)
      const found = account?.subscriptions.find(each => each.id === name)
      const now = clock.now()
      const reminder = found && reminderOf(this.options.catalog(), found, now)
      if (!account || !found || !reminder) {
        await store.forget(id, member)
        return 'done'
      }
      if ('due' in reminder) {
        await store.put(id, member, reminder.due)
        return 'done'
      }
      const outcome = await store.step(stepOf(account, found, reminder.plan, now, { offset: offset() }))
      if (outcome.status === 'moved') continue
      return outcome.status === 'skew' ? 'stuck' : 'done'
    }
    return 'stuck'
  }
}

const stepOf = (
  account: Account,
  { id, line }: Subscription,
  plan: Plan,
  at: Millis,
  more: Pick<Step, 'once' | 'offset'>,
): Step => ({ account: account.id, subscription: id, line, rev: account.rev, at, ...plan, ...more })
