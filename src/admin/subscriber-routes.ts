/**
 * Routes for who belongs to an account: subscribers join it, get another number or SIM, are blocked, move and leave; and the check of the index
 * of identities. Sessions that are open stay with the account that they were opened on.
 */
import type { Fsck, Orphan } from '../balance/fsck.js'
import type { IdentityChanges, Subscribers, SubscriberOutcome } from '../balance/subscribers.js'
import type { Identity, IdentityType } from '../balance/types.js'
import { answerWith, noSubscriber } from './account-terms.js'
import { preconditionOf, stale } from './etag.js'
import { readIdentity, ruleOf } from './import.js'
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
  type Schema,
} from './route.js'
import { accountParams as ofAccount, actor, reason, subscriberNumber as number } from './fields.js'

export interface SubscriberServices {
  readonly subscribers: Subscribers
  readonly fsck: Fsck
}

const ofSubscriber = object(['id', 'subscriber'], { id: accountId, subscriber: number })
const msisdn = text('3 to 15 digits, a leading + is dropped', { maxLength: 16 })
const imsi = text('6 to 15 digits', { maxLength: 16 })
const nai = text('user@realm', { maxLength: 253 })
const orNull = (schema: Schema): Schema => ({ ...schema, type: ['string', 'null'] })
const subscriberPath = '/v1/accounts/:id/subscribers/:subscriber'

export const subscriberRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/accounts/:id/subscribers',
    permission: 'account.write',
    ifMatch: true,
    summary: 'Add a subscriber to an account. Offers of the whole account are its own at once; buy others for it.',
    params: ofAccount,
    body: object(['reason'], { msisdn, imsi, nai, reason, actor }),
    answers: { 201: 'The account', 200: 'The account; it had this subscriber' },
    problems: ['not-found', 'identity-taken', 'account-terminated'],
    work: add,
  },
  {
    method: 'POST',
    path: `${subscriberPath}/identities`,
    permission: 'account.write',
    ifMatch: true,
    summary: 'Change identities of a subscriber (SIM swap, change of number); null takes one away, absent ones stay.',
    params: ofSubscriber,
    body: object(['reason'], { msisdn: orNull(msisdn), imsi: orNull(imsi), nai: orNull(nai), reason, actor }),
    answers: { 200: 'The account' },
    problems: ['not-found', 'identity-taken', 'account-terminated'],
    work: change,
  },
  {
    method: 'DELETE',
    path: subscriberPath,
    permission: 'account.write',
    ifMatch: true,
    summary:
      'Take a subscriber out of its account. Its identities are free, subscriptions of its own end; money and buckets stay.',
    params: ofSubscriber,
    query: object(['reason'], { reason, actor }),
    answers: { 200: 'The account' },
    problems: ['not-found', 'account-terminated'],
    work: remove,
  },
  {
    method: 'POST',
    path: `${subscriberPath}/move`,
    permission: 'account.write',
    ifMatch: true,
    summary:
      'Move a subscriber to another account of the same currency, with its attributes and its own offers without a recurring ' +
      'fee. Money, buckets and open sessions stay.',
    params: ofSubscriber,
    body: object(['to', 'reason'], { to: accountId, reason, actor }),
    answers: { 200: 'The other account, and the number of the subscriber in it' },
    problems: ['not-found', 'currency-differs', 'account-terminated'],
    work: move,
  },
  ...(['block', 'unblock'] as const).map((word): Route => ({
    method: 'POST',
    path: `${subscriberPath}/${word}`,
    permission: 'account.write',
    ifMatch: true,
    summary:
      word === 'block'
        ? 'Block a subscriber: it gets 4010, its open sessions end with their next report. The account goes on.'
        : 'Serve a blocked subscriber again.',
    params: ofSubscriber,
    body: object(['reason'], { reason, actor }),
    answers: { 200: 'The account' },
    problems: ['not-found', 'account-terminated'],
    work: async (request, services) => {
      const wish = { ...wishOf(request), blocked: word === 'block' }
      return answered(await services.subscribers.setBlocked(wish), request, services)
    },
  })),
  {
    method: 'POST',
    path: '/v1/fsck',
    permission: 'job.write',
    summary: 'Compare the index of identities with the accounts, and mend it if that is asked for.',
    body: object([], { repair: { type: 'boolean', default: false } }),
    answers: { 200: 'How many there are, and those that do not agree (the first 1,000)' },
    problems: [],
    work: check,
  },
]

async function add(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const identities = Object.values(changesOf(request.body as Partial<Record<IdentityType, string>>))
  const given = identities.filter(each => each !== null)
  if (given.length === 0) throw new Problem('invalid-request', 'body: a subscriber needs msisdn, imsi or nai')
  return answered(await services.subscribers.add({ ...wishOf(request), identities: given }), request, services, 201)
}

async function change(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const changes = changesOf(request.body as Partial<Record<IdentityType, string | null>>)
  if (Object.keys(changes).length === 0) throw new Problem('invalid-request', 'body: give msisdn, imsi or nai')
  return answered(await services.subscribers.change({ ...wishOf(request), changes }), request, services)
}

async function remove(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  return answered(await services.subscribers.remove(wishOf(request)), request, services)
}

async function move(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { to } = request.body as { readonly to: string }
  const outcome = await services.subscribers.move({ ...wishOf(request), to })
  const answer = await answered(outcome, request, services)
  return { ...answer, body: { subscriber: 'number' in outcome ? outcome.number : '', account: answer.body } }
}

async function check({ body }: RouteRequest, { fsck }: RouteServices): Promise<RouteAnswer> {
  const { repair = false } = body as { readonly repair?: boolean }
  const report = await fsck.check({ repair })
  return ok({ ...report, orphans: report.orphans.map(viewOfOrphan) })
}

export interface OrphanView {
  readonly kind: Orphan['kind']
  readonly type: IdentityType
  readonly value: string
  readonly account: string
  readonly entry: string | null
  readonly repaired: boolean
}

const viewOfOrphan = ({ kind, identity, account, entry, repaired }: Orphan): OrphanView => ({
  ...{ kind, type: identity.type, value: identity.value, account, entry: entry ?? null, repaired },
})

/** @throws Problem when one is none */
function changesOf(body: Partial<Record<IdentityType, string | null>>): IdentityChanges {
  const changes: Partial<Record<IdentityType, Identity | null>> = {}
  for (const type of ['msisdn', 'imsi', 'nai'] as const) {
    const value = body[type]
    if (value === undefined) continue
    const identity = value === null ? null : readIdentity(type, value)
    if (identity === undefined) throw new Problem('invalid-request', `body.${type} is not ${ruleOf(type)}`)
    changes[type] = identity
  }
  return changes
}

const wishOf = (request: RouteRequest): Parameters<Subscribers['remove']>[0] => ({
  account: request.params['id']!,
  number: request.params['subscriber'] ?? '',
  reason: (request.body as { reason?: string } | null | undefined)?.reason ?? request.query['reason'] ?? '',
  actor: request.actor,
  precondition: preconditionOf(request),
})

async function answered(
  outcome: SubscriberOutcome,
  { params, headers, body }: RouteRequest,
  services: RouteServices,
  made = 200,
): Promise<RouteAnswer> {
  const account = params['id']!
  switch (outcome.status) {
    case 'changed':
      return answerWith(outcome.account, services, made)
    case 'unchanged':
      return answerWith(outcome.account, services)
    case 'no_account':
      throw noAccount(account)
    case 'no_subscriber':
      throw noSubscriber(account, params['subscriber'] ?? '')
    case 'account_terminated':
      throw new Problem('account-terminated', `an account that is terminated keeps its subscribers as they are`)
    case 'stale':
      throw stale(headers['if-match'] ?? '')
    case 'identity_taken': {
      const { type, value } = outcome.identity
      throw new Problem('identity-taken', `${type} ${value} belongs to account ${outcome.account}`, {
        account: outcome.account,
      })
    }
    case 'no_identity':
      throw new Problem(
        'invalid-request',
        'body: this would leave the subscriber without any identity; remove it instead',
      )
    case 'no_target':
      throw noAccount((body as { readonly to: string }).to)
    case 'same_account':
      throw new Problem('invalid-request', `body.to: the subscriber is in account ${account}; name another one`)
    case 'currency_differs':
      throw new Problem(
        'currency-differs',
        `the other account has currency ${outcome.currency}, this one another: a subscriber moves within one currency`,
      )
  }
}
