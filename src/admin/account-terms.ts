/**
 * What an account has differently from others: offers bought later, attributes, overrides, opt-ins. The routes are in routes.ts.
 */
import { randomBytes } from 'node:crypto'
import { grantsOf } from '../balance/extras.js'
import type { Account, Extras, ExtrasOutcome, NewBucket, Override } from '../balance/types.js'
import type { Catalog } from '../rating/catalog.js'
import type { Millis } from '../units.js'
import { mustBeOfSubscribers, optInCounter, readOverride, timeOf, type OverrideBody } from './overrides.js'
import { Problem } from './problem.js'
import { existing, noAccount, ok, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js'
import type { AdminServices, CatalogView } from './services.js'
import { viewOfAccount, viewOfOptIns, viewOfOverride } from './views.js'

/** The account's profile moved between judging and buying so many times in a row: somebody else is at work on it. */
const mostTries = 5

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
  { tariff, newBuckets }: Pick<AdminServices, 'tariff' | 'newBuckets'>,
): readonly NewBucket[] {
  const catalog = tariff()
  const buckets = newBuckets(offer, now, currency)
  if (!buckets) {
    const offers = [...catalog.offers.keys()]
    throw new Problem('unknown-offer', `the catalog has no offer ${JSON.stringify(offer)}`, { offers })
  }
  const why = whyNotSold(catalog, offer, extras.attributes, now)
  if (why !== undefined) throw new Problem('offer-refused', why)
  if ('refused' in buckets) throw new Problem('offer-refused', `offer ${offer} grants money: ${buckets.refused}`)
  return grantsOf(buckets, extras.overrides, now)
}

function whyNotSold(
  catalog: Catalog,
  offer: string,
  attributes: Extras['attributes'],
  now: Millis,
): string | undefined {
  const { sold, eligible } = catalog.offers.get(offer)!
  if (sold.from !== undefined && now < sold.from) {
    return `offer ${offer} is sold from ${new Date(sold.from).toISOString()}`
  }
  if (sold.until !== undefined && now >= sold.until) {
    return `offer ${offer} was sold until ${new Date(sold.until).toISOString()}`
  }
  for (const [name, values] of eligible) {
    const has = attributes[name]
    if (has !== undefined && values.has(has)) continue
    const is = has === undefined ? 'it has none' : `it has ${has}`
    return `offer ${offer} is for accounts with attribute ${name} ${[...values].join(' or ')}; ${is}`
  }
  return undefined
}

interface SubscribeBody {
  readonly offer: string
  readonly subscriber?: string
  readonly reference: string
  readonly actor?: string
}

export async function subscribe({ params, body, actor }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { accounts, clock } = services
  const account = params['id']!
  const { offer, subscriber = '0', reference } = body as SubscribeBody
  for (let tries = 0; tries < mostTries; tries++) {
    const { extras, currency, rev } = await existing(accounts, account)
    const buckets = purchase(offer, { extras, currency }, clock.now(), services)
    const outcome = await accounts.subscribe({ account, subscriber, offer, buckets, rev, reference, actor })
    switch (outcome.status) {
      case 'moved':
        continue
      case 'subscribed':
      case 'repeated':
        return {
          status: outcome.status === 'subscribed' ? 201 : 200,
          body: {
            subscription: outcome.subscription,
            repeated: outcome.status === 'repeated',
            account: await shown(account, services),
          },
        }
      case 'no_account':
        throw noAccount(account)
      case 'no_subscriber':
        throw noSubscriber(account, subscriber)
      case 'account_terminated':
        throw new Problem('account-terminated', `account ${account} is terminated`)
      case 'reference_taken':
        throw new Problem('reference-taken', `${reference} bought offer ${outcome.offer} for this account`, {
          offer: outcome.offer,
          subscriber: outcome.subscriber,
        })
    }
  }
  throw busy(account)
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
  actor: string,
  services: RouteServices,
): Promise<void> {
  const outcome = await services.accounts.setAttributes({ account, subscriber, changes, actor })
  refused(outcome, account, subscriber, 'attributes')
}

export async function patchSubscriber(
  { params, body, actor }: RouteRequest,
  services: RouteServices,
): Promise<RouteAnswer> {
  const id = params['id']!
  await setAttributes(id, params['subscriber'], body as AttributesBody, actor, services)
  return ok(await shown(id, services))
}

export async function listOverrides({ params }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { extras } = await existing(services.accounts, params['id']!)
  return ok({ overrides: viewsOfOverrides(extras.overrides, services) })
}

const viewsOfOverrides = (overrides: readonly Override[], { tariff, clock }: RouteServices): object[] =>
  overrides.map(override => viewOfOverride(override, tariff(), clock.now()))

export async function addOverride(
  { params, body, actor }: RouteRequest,
  services: RouteServices,
): Promise<RouteAnswer> {
  const account = params['id']!
  const wanted = body as OverrideBody
  const { currency } = await existing(services.accounts, account)
  const judge = { ...services, currency }
  const override = readOverride(wanted, randomBytes(4).toString('hex'), actor, services.clock.now(), judge)
  refused(await services.accounts.addOverride(account, override), account, override.subscriber, 'overrides')
  const [view] = viewsOfOverrides([override], services)
  return { status: 201, body: view! }
}

export async function removeOverride(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { params, query, actor } = request
  const [account, id] = [params['id']!, params['override']!]
  const { reason = '' } = query
  const outcome = await services.accounts.removeOverride({ account, id, reason, actor })
  refused(outcome, account, undefined, 'overrides', id)
  return listOverrides(request, services)
}

export async function listOptIns({ params }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { extras } = await existing(services.accounts, params['id']!)
  return ok({ optIns: viewOfOptIns(extras, services.clock.now()) })
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
  const change = { account, subscriber, counter: body.counter, on, until, reason, actor: request.actor }
  refused(await services.accounts.optIn(change), account, subscriber, 'opt-ins')
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
  account: string,
  subscriber: string | undefined,
  what: string,
  override?: string,
): void {
  switch (outcome.status) {
    case 'changed':
    case 'unchanged':
      return
    case 'no_account':
      throw noAccount(account)
    case 'no_subscriber':
      throw noSubscriber(account, subscriber ?? '')
    case 'no_override':
      throw new Problem('not-found', `account ${account} has no override ${override ?? ''}`)
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

const noSubscriber = (account: string, subscriber: string): Problem =>
  new Problem('not-found', `account ${account} has no subscriber ${subscriber}`)

const busy = (account: string): Problem =>
  new Problem('store-unavailable', `account ${account} is being changed all the time; try again`)

export async function shown(id: string, services: RouteServices): Promise<object> {
  return viewOfAccount(await existing(services.accounts, id), services, services.clock.now())
}
