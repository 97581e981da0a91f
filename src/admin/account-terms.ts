/**
 * What an account has differently from others: offers bought later, attributes, overrides, opt-ins. The routes are in routes.ts.
 */
import { randomBytes } from 'node:crypto'
import { grantsOf } from '../balance/extras.js'
import type { Account, Extras, ExtrasOutcome, NewBucket, Override } from '../balance/types.js'
import type { Millis } from '../units.js'
import { etagOf, preconditionOf, stale, stateOfAccount } from './etag.js'
import { mustBeOfSubscribers, optInCounter, readOverride, timeOf, type OverrideBody } from './overrides.js'
import { Problem } from './problem.js'
import { existing, noAccount, ok, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js'
import type { AdminServices, CatalogView } from './services.js'
import { viewOfAccount, viewOfOptIns, viewOfOverride } from './views.js'

/** Who buys: its attributes and overrides decide, and its currency. */
export interface Buyer {
  readonly extras: Pick<Extras, 'attributes' | 'overrides'>
  readonly currency: string
}

/** Why no account can be made in a currency, and what to do; undefined: it can. */
export function currencyProblem(
  currency: string,
  view: Pick<CatalogView, 'currency' | 'exchanged'>,
): string | undefined {
  const accepted = [view.currency, ...view.exchanged]
  if (accepted.includes(currency)) return undefined
  const others = view.exchanged.length === 0 ? '' : `, and exchange rates for ${view.exchanged.join(', ')}`
  return (
    `the catalog has prices in ${view.currency}${others}, none for ${currency}; ` +
    `use ${accepted.join(' or ')}, or add ${currency} to \`exchange:\` of the catalog`
  )
}

/**
 * The buckets that an offer brings this buyer now.
 *
 * @throws Problem when it is not sold, or not to this buyer
 */
export function purchase(
  offer: string,
  { extras, currency }: Buyer,
  now: Millis,
  { tariff, newBuckets, subscriptions }: Pick<AdminServices, 'tariff' | 'newBuckets' | 'subscriptions'>,
): readonly NewBucket[] {
  const buckets = newBuckets(offer, now, currency)
  if (!buckets) {
    const offers = [...tariff().offers.keys()]
    throw new Problem('unknown-offer', `the catalog has no offer ${JSON.stringify(offer)}`, { offers })
  }
  const why = subscriptions.whyNotSold(offer, extras.attributes, now)
  if (why !== undefined) throw new Problem('offer-refused', why)
  if ('refused' in buckets) throw new Problem('offer-refused', `offer ${offer} grants money: ${buckets.refused}`)
  return grantsOf(buckets, extras.overrides, now)
}

export interface AttributesBody {
  readonly attributes: Readonly<Record<string, string | null>>
  readonly actor?: string
}

/** Of a subscriber, or of the account. */
export async function setAttributes(
  account: string,
  subscriber: string | undefined,
  { attributes: changes }: AttributesBody,
  { actor, headers }: Pick<RouteRequest, 'actor' | 'headers'>,
  services: RouteServices,
): Promise<void> {
  const precondition = preconditionOf({ headers })
  const outcome = await services.accounts.setAttributes({ account, subscriber, changes, actor, precondition })
  refused(outcome, { account, headers, subscriber, what: 'attributes' })
}

export async function patchSubscriber(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { params, body } = request
  const id = params['id']!
  await setAttributes(id, params['subscriber'], body as AttributesBody, request, services)
  return answerWith(id, services)
}

export async function listOverrides({ params }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const account = await existing(services.accounts, params['id']!)
  const body = { overrides: viewsOfOverrides(account.extras.overrides, services) }
  return { ...ok(body), headers: etagOf(stateOfAccount(account)) }
}

const viewsOfOverrides = (overrides: readonly Override[], { tariff, clock }: RouteServices): object[] =>
  overrides.map(override => viewOfOverride(override, tariff(), clock.now()))

export async function addOverride(
  { params, body, actor, headers }: RouteRequest,
  services: RouteServices,
): Promise<RouteAnswer> {
  const account = params['id']!
  const wanted = body as OverrideBody
  const { currency } = await existing(services.accounts, account)
  const judge = { ...services, currency }
  const override = readOverride(wanted, randomBytes(4).toString('hex'), actor, services.clock.now(), judge)
  const { subscriber } = override
  const outcome = await services.accounts.addOverride(account, override, preconditionOf({ headers }))
  refused(outcome, { account, headers, subscriber, what: 'overrides' })
  const [view] = viewsOfOverrides([override], services)
  return { status: 201, body: view! }
}

export async function removeOverride(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { params, query, actor, headers } = request
  const [account, id] = [params['id']!, params['override']!]
  const { reason = '' } = query
  const precondition = preconditionOf(request)
  const outcome = await services.accounts.removeOverride({ account, id, reason, actor, precondition })
  refused(outcome, { account, headers, what: 'overrides', override: id })
  return listOverrides(request, services)
}

export async function listOptIns({ params }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const account = await existing(services.accounts, params['id']!)
  const body = { optIns: viewOfOptIns(account.extras, services.clock.now()) }
  return { ...ok(body), headers: etagOf(stateOfAccount(account)) }
}

interface OptInBody {
  readonly counter: string
  readonly subscriber?: string
  readonly on?: boolean
  readonly until?: string
  readonly reason?: string
  readonly actor?: string
}

export async function optIn(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const account = request.params['id']!
  const body = request.body as OptInBody
  const { on = true, reason } = body
  const until = timeOf('until', body.until, services)
  if (until !== undefined && !on) throw new Problem('invalid-request', 'until: opting out has no end; leave it out')
  if (until !== undefined && until <= services.clock.now()) {
    throw new Problem('invalid-request', `until: ${body.until!} is over`)
  }
  const counter = optInCounter(services.tariff(), body.counter)
  if (body.subscriber !== undefined) mustBeOfSubscribers(counter)
  const subscriber =
    counter.per === 'account'
      ? '0'
      : (body.subscriber ?? onlySubscriber(await existing(services.accounts, account), body.counter))
  const { actor, headers } = request
  const change = { account, subscriber, counter: body.counter, on, until, reason, actor }
  const outcome = await services.accounts.optIn({ ...change, precondition: preconditionOf(request) })
  refused(outcome, { account, headers, subscriber, what: 'opt-ins' })
  return listOptIns(request, services)
}

function onlySubscriber({ subscribers }: Account, counter: string): string {
  const [one, ...others] = subscribers
  if (one && others.length === 0) return one.id
  const numbers = subscribers.map(({ id }) => id).join(', ') || 'none'
  throw new Problem(
    'invalid-request',
    `counter ${counter} counts each subscriber: say which one (subscriber: ${numbers})`,
  )
}

/** Throws what an outcome refuses. */
function refused(
  outcome: ExtrasOutcome,
  {
    account,
    headers,
    subscriber = '',
    what,
    override = '',
  }: {
    readonly account: string
    readonly headers: RouteRequest['headers']
    readonly subscriber?: string | undefined
    readonly what: string
    readonly override?: string
  },
): void {
  switch (outcome.status) {
    case 'changed':
    case 'unchanged':
      return
    case 'no_account':
      throw noAccount(account)
    case 'no_subscriber':
      throw noSubscriber(account, subscriber)
    case 'no_override':
      throw new Problem('not-found', `account ${account} has no override ${override}`)
    case 'stale':
      throw stale(headers['if-match'] ?? '')
    case 'too_many':
      throw new Problem('too-many', `there may be ${outcome.most} ${what}; remove one first`)
    case 'overlaps': {
      const { id, kind, target } = outcome.override
      throw new Problem(
        'override-overlaps',
        `override ${id} (${kind} of ${target}) applies in the same time; remove it first, or give other times`,
        { override: id },
      )
    }
  }
}

export const noSubscriber = (account: string, subscriber: string): Problem =>
  new Problem('not-found', `account ${account} has no subscriber ${subscriber}`)

export async function shown(id: string, services: RouteServices): Promise<object> {
  return viewOfAccount(await existing(services.accounts, id), services, services.clock.now())
}

/** The account with the ETag that a change of it may name. */
export async function answerWith(id: string, services: RouteServices, status = 200): Promise<RouteAnswer> {
  const account = await existing(services.accounts, id)
  const body = viewOfAccount(account, services, services.clock.now())
  return { status, body, headers: etagOf(stateOfAccount(account)) }
}
