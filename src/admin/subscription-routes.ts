/**
 * Subscriptions over the admin API: buy, show, renew by hand, change, cancel. Their fees come from free money only; what is refused has moved
 * nothing. src/subscription/ does the work.
 */
import type { Extras, NewSubscription } from '../balance/types.js'
import type { BuyOutcome, ChangeOutcome, SubscriptionReading } from '../subscription/subscriptions.js'
import { formatMoney, type Millis } from '../units.js'
import { noSubscriber, shown } from './account-terms.js'
import { Problem } from './problem.js'
import {
  accountId,
  noAccount,
  object,
  ok,
  text,
  type Route,
  type RouteAnswer,
  type RouteRequest,
  type RouteServices,
} from './route.js'
import { iso, viewOfSubscription, type SubscriptionView } from './views.js'
import { accountParams, actor, subscriberNumber } from './fields.js'

interface Reference {
  readonly reference: string
  readonly actor: string
}

/** The daemon joins it with subscription/subscriptions.ts. */
export interface SubscriptionServices {
  readonly subscriptions: {
    whyNotSold(offer: string, attributes: Extras['attributes'], now: Millis): string | undefined
    opening(
      offer: string,
      holder: { readonly currency: string; readonly extras: Pick<Extras, 'overrides'> },
      now: Millis,
    ): NewSubscription
    buy(
      request: { readonly account: string; readonly subscriber: string; readonly offer: string } & Reference,
    ): Promise<BuyOutcome>
    list(account: string): Promise<readonly SubscriptionReading[] | undefined>
    renew(account: string, subscription: string, byHand: Reference): Promise<ChangeOutcome>
    change(
      account: string,
      subscription: string,
      terms: {
        readonly offer: string
        readonly when: 'now' | 'renewal'
        readonly buckets: 'keep' | 'expire'
      } & Reference,
    ): Promise<ChangeOutcome>
    cancel(
      account: string,
      subscription: string,
      terms: { readonly when: 'now' | 'end'; readonly buckets: 'keep' | 'expire' } & Reference,
    ): Promise<ChangeOutcome>
  }
}

const subscriptionId = text('Number of a subscription of the account, like 1', { pattern: '^[1-9]\\d{0,8}$' })
const reference = text('Unique, 1 to 128 characters without spaces', { pattern: '^[!-~]{1,128}$' })
const offer = text('Name of an offer of the catalog', { minLength: 1, maxLength: 128 })
const buckets = {
  type: 'string',
  enum: ['keep', 'expire'],
  default: 'keep',
  description: 'What becomes of the buckets it has: they stay until their end, or expire with it',
} as const
const params = object(['id', 'subscription'], { id: accountId, subscription: subscriptionId })
const refusals = ['not-found', 'account-terminated', 'reference-taken', 'insufficient-funds', 'offer-refused'] as const

export const subscriptionRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/accounts/:id/subscriptions',
    permission: 'subscription.write',
    idempotent: true,
    summary:
      'Buy an offer for its fee, once for each reference. Who may buy it and when is checked; free money must suffice.',
    params: accountParams,
    body: object(['offer', 'reference'], { offer, subscriber: subscriberNumber, reference, actor }),
    answers: { 201: 'The subscription and the account', 200: 'This reference bought it before: `repeated` is true' },
    problems: [...refusals, 'unknown-offer'],
    work: buy,
  },
  {
    method: 'GET',
    path: '/v1/accounts/:id/subscriptions',
    permission: 'account.read',
    summary: 'The subscriptions of an account: what is paid for, what the next renewal costs, and when it is.',
    params: accountParams,
    answers: { 200: 'account, and items: its subscriptions' },
    problems: ['not-found'],
    work: listAll,
  },
  {
    method: 'GET',
    path: '/v1/accounts/:id/subscriptions/:subscription',
    permission: 'account.read',
    summary: 'One subscription.',
    params,
    answers: { 200: 'The subscription' },
    problems: ['not-found'],
    work: showOne,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/subscriptions/:subscription/renew',
    permission: 'subscription.write',
    idempotent: true,
    summary: 'Renew by hand what is due and was not renewed: in grace, or where the offer is renewed when asked to.',
    params,
    body: object(['reference'], { reference, actor }),
    answers: { 200: 'The subscription' },
    problems: [...refusals, 'not-due', 'not-recurring'],
    work: renew,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/subscriptions/:subscription/change',
    permission: 'subscription.write',
    idempotent: true,
    summary:
      'Another offer instead, now or from the next renewal on. Now: the fee of the old one is given back in part, and that of the new one taken, as they say.',
    params,
    body: object(['offer', 'reference'], {
      offer,
      when: { type: 'string', enum: ['now', 'renewal'], default: 'now' },
      buckets,
      reference,
      actor,
    }),
    answers: { 200: 'The subscription' },
    problems: [...refusals, 'unknown-offer', 'not-recurring'],
    work: change,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/subscriptions/:subscription/cancel',
    permission: 'subscription.write',
    idempotent: true,
    summary: 'End a subscription at the end of what is paid for, or now, with what its offer gives back of the fee.',
    params,
    body: object(['reference'], {
      when: { type: 'string', enum: ['end', 'now'], default: 'end' },
      buckets,
      reference,
      actor,
    }),
    answers: { 200: 'The subscription, null when it has ended; and the account' },
    problems: [...refusals, 'not-recurring'],
    work: cancel,
  },
]

interface Body {
  readonly offer?: string
  readonly subscriber?: string
  readonly when?: string
  readonly buckets?: 'keep' | 'expire'
  readonly reference: string
}

async function buy({ params, body, actor }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const account = params['id']!
  const { offer = '', subscriber = '0', reference } = body as Body
  const outcome = await services.subscriptions.buy({ account, subscriber, offer, reference, actor })
  switch (outcome.status) {
    case 'subscribed':
    case 'repeated': {
      const { status, subscription } = outcome
      const repeated = status === 'repeated'
      return {
        status: repeated ? 200 : 201,
        body: { subscription, repeated, account: await shown(account, services) },
      }
    }
    case 'no_subscriber':
      throw noSubscriber(account, subscriber)
    case 'reference_taken':
      throw new Problem('reference-taken', `${reference} bought offer ${outcome.offer} for this account`, {
        offer: outcome.offer,
        subscriber: outcome.subscriber,
      })
    default:
      throw refusal(account, '', outcome)
  }
}

async function listAll({ params }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const found = await services.subscriptions.list(params['id']!)
  if (!found) throw noAccount(params['id']!)
  return ok({ account: params['id']!, items: found.map(viewOfReading) })
}

async function showOne({ params }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const [account, id] = [params['id']!, params['subscription']!]
  const found = await services.subscriptions.list(account)
  if (!found) throw noAccount(account)
  const one = found.find(({ subscription }) => subscription.id === id)
  if (!one) throw noSubscription(account, id)
  return ok(viewOfReading(one))
}

function renew({ params, body, actor }: RouteRequest, { subscriptions }: RouteServices): Promise<RouteAnswer> {
  const [account, id] = [params['id']!, params['subscription']!]
  const { reference } = body as Body
  return changed(account, id, subscriptions.renew(account, id, { reference, actor }))
}

function change({ params, body, actor }: RouteRequest, { subscriptions }: RouteServices): Promise<RouteAnswer> {
  const [account, id] = [params['id']!, params['subscription']!]
  const { offer = '', when, buckets = 'keep', reference } = body as Body
  const terms = { offer, buckets, reference, actor }
  return changed(account, id, subscriptions.change(account, id, { ...terms, when: when === 'renewal' ? when : 'now' }))
}

function cancel({ params, body, actor }: RouteRequest, { subscriptions }: RouteServices): Promise<RouteAnswer> {
  const [account, id] = [params['id']!, params['subscription']!]
  const { when, buckets = 'keep', reference } = body as Body
  const terms = { buckets, reference, actor }
  return changed(account, id, subscriptions.cancel(account, id, { ...terms, when: when === 'now' ? when : 'end' }))
}

async function changed(account: string, id: string, work: Promise<ChangeOutcome>): Promise<RouteAnswer> {
  const outcome = await work
  if (!('subscription' in outcome)) throw refusal(account, id, outcome)
  const { subscription } = outcome
  return ok({
    repeated: outcome.status === 'repeated',
    subscription: subscription ? viewOfReading(subscription) : null,
  })
}

type Refused = Exclude<BuyOutcome | ChangeOutcome, { readonly subscription: unknown } | { readonly offer: string }>

const impossible = {
  once: 'its fee is paid once, so that there is no period and no renewal',
  ending: 'it ends at the end of what is paid for',
  same: 'it is of this offer already',
} as const

function refusal(account: string, id: string, outcome: Refused): Problem {
  switch (outcome.status) {
    case 'no_account':
      return noAccount(account)
    case 'no_subscription':
      return noSubscription(account, id)
    case 'account_terminated':
      return new Problem('account-terminated', `account ${account} is terminated`)
    case 'reference_taken':
      return new Problem('reference-taken', 'this reference was used for something else of this account')
    case 'insufficient': {
      const [needs, free] = [formatMoney(outcome.needs), formatMoney(outcome.free)]
      return new Problem('insufficient-funds', `it costs ${needs}, and ${free} are free`, { needs, free })
    }
    case 'unknown_offer':
      return new Problem('unknown-offer', `the catalog has no offer ${JSON.stringify(outcome.asked)}`, {
        offers: outcome.offers,
      })
    case 'offer_refused':
      return new Problem('offer-refused', outcome.why)
    case 'impossible':
      return new Problem('not-recurring', `subscription ${id}: ${impossible[outcome.why]}`)
    case 'early':
      return new Problem('not-due', `subscription ${id} is paid until ${iso(outcome.due)}`, { due: iso(outcome.due) })
    case 'no_subscriber':
    case 'moved':
    case 'busy':
      return new Problem('store-unavailable', `account ${account} is being changed all the time; try again`)
  }
}

const noSubscription = (account: string, id: string): Problem =>
  new Problem('not-found', `account ${account} has no subscription ${id}; it may have ended`)

export interface SubscriptionDetail extends SubscriptionView {
  /** What its period costs, as the catalog says it now; null: nothing. */
  readonly fee: {
    readonly amount: string
    readonly setup: string
    readonly renew: string | null
    readonly proration: string
  } | null
  /** What the next renewal costs in the account's currency; null: there is none. */
  readonly nextFee: string | null
}

function viewOfReading({ subscription, fee, next }: SubscriptionReading): SubscriptionDetail {
  return {
    ...viewOfSubscription(subscription),
    fee: fee
      ? {
          amount: formatMoney(fee.amount),
          setup: formatMoney(fee.setup),
          renew: fee.every ? fee.renew : null,
          proration: fee.proration,
        }
      : null,
    nextFee: next === undefined ? null : formatMoney(next),
  }
}
