/**
 * Every route of the admin API: path, schemas and work in one table, from which api.ts builds the server and openapi.ts
 * the document. Money is decimal text, units are whole numbers, times are ISO 8601.
 */
import type { Readable } from 'node:stream'
import { overrideKinds, type AccountStatus, type Identity, type IdentityType } from '../balance/types.js'
import {
  addOverride,
  answerWith,
  currencyProblem,
  listOptIns,
  listOverrides,
  optIn,
  patchSubscriber,
  purchase,
  removeOverride,
  setAttributes,
  shown,
} from './account-terms.js'
import { checkIfMatch, etagOf, stateOfAccount, stateOfCatalog } from './etag.js'
import { careRoutes } from './care-routes.js'
import { catalogRoutes } from './catalog-routes.js'
import { exportRoutes } from './export.js'
import { importRows, readIdentity, ruleOf, type ImportReport } from './import.js'
import { jobRoutes } from './job-routes.js'
import { notificationRoutes } from './notification-routes.js'
import { listRoutes } from './list-routes.js'
import { peerRoutes } from './peers.js'
import { selfCareRoutes } from './self-care-routes.js'
import { personRoutes } from './person-routes.js'
import { paymentRoutes } from './payment-routes.js'
import { accessRoutes } from './access-routes.js'
import { Problem } from './problem.js'
import { ratingRoutes } from './rating-routes.js'
import { reportRoutes } from './report-routes.js'
import { rechargeRoutes } from './recharge-routes.js'
import {
  accountId,
  existing,
  moneyOf,
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
import { clockRoutes } from './clock-routes.js'
import { lifeRoutes } from './life-routes.js'
import { readCsv, readJsonLines } from './rows.js'
import { sessionCommandRoutes } from './session-commands.js'
import { redo } from './work.js'
import { subscriberRoutes } from './subscriber-routes.js'
import { subscriptionRoutes } from './subscription-routes.js'
import { traceRoutes } from './trace.js'
import { voucherRoutes } from './voucher-routes.js'
import { viewOfAccount, viewOfSession } from './views.js'
import { accountParams, actor, currency, money, reason, sessionId, subscriberNumber } from './fields.js'

const csvTypes = ['text/csv']
const jsonLinesTypes = ['application/x-ndjson', 'application/jsonl']
/** About five million rows. */
const importOctets = 512 * 1024 * 1024

const overrideId = text('As the list of overrides shows it', { pattern: '^[0-9a-z]{1,32}$' })
const time = text('2026-12-24, 2026-12-24T18:00 in the time zone of the catalog, or with a zone like Z', {
  maxLength: 40,
})
const name = (of: string): Schema => text(`Name of a ${of} of the catalog`, { minLength: 1, maxLength: 128 })
const attributePattern = '^[A-Za-z0-9][A-Za-z0-9 ._:/@+-]{0,63}$'
const attributes = (value: Schema): Schema => ({
  type: 'object',
  description: 'Conditions of rules and offers ask for them; names begin with a letter',
  maxProperties: 50,
  patternProperties: { '^[A-Za-z][A-Za-z0-9_-]{0,31}$': value },
  additionalProperties: false,
})
const attributeValue = text('1 to 64 characters of A-Z a-z 0-9 space . _ : / @ + -', { pattern: attributePattern })
const attributeChange = { ...attributeValue, type: ['string', 'null'] }

export const routes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/accounts',
    permission: 'account.write',
    guarded: 'credit',
    summary: 'Create an account, with a subscriber and an opening balance if wanted. Changes nothing that exists.',
    body: object(['id', 'currency'], {
      id: accountId,
      currency,
      balance: money,
      creditLimit: money,
      status: {
        type: 'string',
        description: 'By default where the life cycle of the catalog begins, or active where it has none',
        enum: ['active', 'suspended'],
      },
      attributes: attributes(attributeValue),
      subscriber: object([], {
        msisdn: text('3 to 15 digits, a leading + is dropped'),
        imsi: text('6 to 15 digits'),
        nai: text('user@realm'),
        offers: { type: 'array', maxItems: 20, items: text('Name of an offer of the catalog') },
      }),
    }),
    answers: { 201: 'The account; it or its subscriber was made', 200: 'The account; all was there already' },
    problems: ['identity-taken', 'currency-differs', 'unknown-offer', 'offer-refused'],
    work: createAccount,
  },
  {
    method: 'GET',
    path: '/v1/accounts/:id',
    permission: 'account.read',
    summary: 'Show an account with all that it has.',
    params: accountParams,
    answers: { 200: 'The account' },
    problems: ['not-found'],
    work: ({ params }, services) => answerWith(params['id']!, services),
  },
  {
    method: 'PATCH',
    path: '/v1/accounts/:id',
    permission: 'account.write',
    ifMatch: true,
    summary: 'Set the status of an account (suspended gets 4010, terminated 5030), or attributes; null takes one away.',
    params: accountParams,
    body: object([], {
      status: { type: 'string', enum: ['active', 'suspended', 'terminated'] },
      attributes: attributes(attributeChange),
      actor,
    }),
    answers: { 200: 'The account' },
    problems: ['not-found', 'account-terminated', 'too-many'],
    work: patchAccount,
  },
  {
    method: 'PATCH',
    path: '/v1/accounts/:id/subscribers/:subscriber',
    permission: 'account.write',
    ifMatch: true,
    summary: 'Set attributes of a subscriber; null takes one away.',
    params: object(['id', 'subscriber'], { id: accountId, subscriber: subscriberNumber }),
    body: object(['attributes'], { attributes: attributes(attributeChange), actor }),
    answers: { 200: 'The account' },
    problems: ['not-found', 'too-many'],
    work: patchSubscriber,
  },
  ...subscriptionRoutes,
  ...jobRoutes,
  {
    method: 'GET',
    path: '/v1/accounts/:id/overrides',
    permission: 'account.read',
    summary: 'What this account has differently from the catalog.',
    params: accountParams,
    answers: { 200: 'The overrides' },
    problems: ['not-found'],
    work: listOverrides,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/overrides',
    permission: 'account.write',
    ifMatch: true,
    summary: 'Give this account another price, rate, amount or life of a grant, or limit, for a time and a reason.',
    params: accountParams,
    body: object(['kind', 'target', 'value', 'reason'], {
      kind: { type: 'string', enum: [...overrideKinds] },
      target: text('Rate (price, rate), bucket (grant, life) or counter (limit)', { minLength: 1, maxLength: 128 }),
      value: text('Price 0.01, name of a rate, amount 10GB, life 60d or never, limit 5.00 or none', {
        minLength: 1,
        maxLength: 128,
      }),
      subscriber: subscriberNumber,
      from: time,
      until: time,
      reason,
      actor,
    }),
    answers: { 201: 'The override' },
    problems: ['not-found', 'unknown-target', 'override-overlaps', 'too-many'],
    work: addOverride,
  },
  {
    method: 'DELETE',
    path: '/v1/accounts/:id/overrides/:override',
    permission: 'account.write',
    ifMatch: true,
    summary: 'Take an override away.',
    params: object(['id', 'override'], { id: accountId, override: overrideId }),
    query: object(['reason'], { reason, actor }),
    answers: { 200: 'The overrides that are left' },
    problems: ['not-found'],
    work: removeOverride,
  },
  {
    method: 'GET',
    path: '/v1/accounts/:id/opt-ins',
    permission: 'account.read',
    summary: 'Who goes on beyond the limit of a counter.',
    params: accountParams,
    answers: { 200: 'The opt-ins' },
    problems: ['not-found'],
    work: listOptIns,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/opt-ins',
    permission: 'account.write',
    ifMatch: true,
    summary: 'Let a subscriber (or the account, as the counter is) go on beyond the limit of a counter, or no longer.',
    params: accountParams,
    body: object(['counter'], {
      counter: name('counter'),
      subscriber: subscriberNumber,
      on: { type: 'boolean', default: true },
      until: time,
      reason,
      actor,
    }),
    answers: { 200: 'The opt-ins' },
    problems: ['not-found', 'unknown-target'],
    work: optIn,
  },
  {
    method: 'GET',
    path: '/v1/subscribers/:type/:value',
    permission: 'account.read',
    summary: 'Find the account of an identity.',
    params: object(['type', 'value'], {
      type: { type: 'string', enum: ['msisdn', 'imsi', 'nai'] },
      value: text('The identity', { minLength: 1, maxLength: 253 }),
    }),
    answers: { 200: 'The id of the subscriber in the account, and the account' },
    problems: ['not-found'],
    work: findSubscriber,
  },
  ...rechargeRoutes,
  ...voucherRoutes,
  {
    method: 'GET',
    path: '/v1/sessions',
    permission: 'session.read',
    summary: 'Open sessions; of one account also those that ended and are still kept.',
    query: object([], { account: accountId, limit: text('1 to 1000, default 100', { pattern: '^\\d{1,4}$' }) }),
    answers: { 200: 'The sessions' },
    problems: [],
    work: listSessions,
  },
  {
    method: 'POST',
    path: '/v1/sessions/release',
    permission: 'session.write',
    summary: 'End a session from our side: its holds go back, usage reported later is charged late.',
    body: object(['sessionId'], { sessionId }),
    answers: { 200: 'Released' },
    problems: ['not-found', 'session-ended'],
    work: releaseSession,
  },
  {
    method: 'POST',
    path: '/v1/import',
    permission: 'bulk.write',
    summary:
      'Import subscribers from CSV (account,msisdn,imsi,offer,balance,currency) or JSON lines. Safe to run again.',
    stream: [...csvTypes, ...jsonLinesTypes],
    query: object([], {
      allOrNothing: { type: 'string', enum: ['true', 'false'], description: 'true: one bad row, and none is applied' },
      fromLine: text('Go on with this line of a file whose rows before it were applied', {
        pattern: '^[1-9]\\d{0,8}$',
      }),
    }),
    answers: { 200: 'The report: every refused row with its line' },
    problems: ['too-large', 'unsupported-media-type'],
    work: runImport,
  },
  ...peerRoutes,
  ...traceRoutes,
  {
    method: 'GET',
    path: '/v1/catalog',
    permission: 'catalog.read',
    summary: 'The catalog in use.',
    answers: { 200: 'Version, currency and offers' },
    problems: [],
    work: (_, { catalog }) => ({ ...ok(catalog()), headers: etagOf(stateOfCatalog(catalog().version)) }),
  },
  ...sessionCommandRoutes,
  ...subscriberRoutes,
  ...listRoutes,
  ...exportRoutes,
  ...clockRoutes,
  ...lifeRoutes,
  ...ratingRoutes,
  ...reportRoutes,
  ...careRoutes,
  ...catalogRoutes,
  ...notificationRoutes,
  ...paymentRoutes,
  ...personRoutes,
  ...selfCareRoutes,
  ...accessRoutes((approval, services) => {
    const route = routes.find(({ method, path }) => `${method} ${path}` === approval.route)
    if (!route) throw new Problem('not-found', `${approval.route} is no route of this version`)
    return redo(route, approval, services)
  }),
  {
    method: 'POST',
    path: '/v1/audit',
    permission: 'ledger.read',
    readsOnly: true,
    summary: 'Prove every balance from the entries of the ledger that are new since the last audit.',
    query: object([], {
      full: { type: 'string', enum: ['true', 'false'], description: 'true: read everything again' },
    }),
    answers: { 200: 'How many accounts and entries, and every violation' },
    problems: [],
    work: async ({ query }, { audit }) => ok(await audit(query['full'] === 'true')),
  },
  {
    method: 'GET',
    path: '/v1/status',
    permission: 'status.read',
    summary: 'What this daemon is and whether it serves.',
    answers: { 200: 'The status' },
    problems: [],
    work: showStatus,
  },
]

interface CreateBody {
  readonly id: string
  readonly currency: string
  readonly balance?: string
  readonly creditLimit?: string
  readonly status?: AccountStatus
  readonly attributes?: Readonly<Record<string, string>>
  readonly subscriber?: Partial<Record<IdentityType, string>> & { readonly offers?: readonly string[] }
}

async function createAccount(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { accounts, clock } = services
  const body = request.body as CreateBody
  const { currency } = body
  const problem = currencyProblem(currency, services.catalog())
  if (problem !== undefined) throw new Problem('currency-differs', problem)
  // What exists is not changed: its own attributes decide what its new subscriber may buy.
  const before = await accounts.show(body.id)
  const buyer = { extras: before?.extras ?? { attributes: body.attributes ?? {}, overrides: [] }, currency }
  const offers = (body.subscriber?.offers ?? []).map(offer => ({
    offer,
    buckets: purchase(offer, buyer, clock.now(), services),
    ...services.subscriptions.opening(offer, buyer, clock.now()),
  }))
  const identities = identitiesOf(body.subscriber ?? {})
  if (body.subscriber && identities.length === 0) {
    throw new Problem('invalid-request', 'a subscriber needs msisdn, imsi or nai')
  }
  const outcome = await accounts.create(
    {
      id: body.id,
      currency,
      creditLimit: moneyOf(body.creditLimit ?? '0'),
      status: body.status,
      attributes: body.attributes,
    },
    body.subscriber && { identities, offers },
    moneyOf(body.balance ?? '0'),
    'admin',
  )
  switch (outcome.status) {
    case 'identity_taken': {
      const { type, value } = outcome.identity
      throw new Problem('identity-taken', `${type} ${value} belongs to account ${outcome.account}`, {
        account: outcome.account,
      })
    }
    case 'currency_differs':
      throw new Problem('currency-differs', `account ${body.id} exists with currency ${outcome.currency}`)
    default:
      return {
        status: outcome.status === 'created' ? 201 : 200,
        body: await shown(body.id, services),
      }
  }
}

function identitiesOf(subscriber: Partial<Record<IdentityType, string>>): Identity[] {
  const identities: Identity[] = []
  for (const type of ['msisdn', 'imsi', 'nai'] as const) {
    const value = subscriber[type]
    if (value === undefined) continue
    identities.push(identityOf(type, value))
  }
  return identities
}

function identityOf(type: IdentityType, value: string): Identity {
  const identity = readIdentity(type, value)
  if (!identity) throw new Problem('invalid-request', `${type} is not ${ruleOf(type)}`)
  return identity
}

interface PatchBody {
  readonly status?: AccountStatus
  readonly attributes?: Readonly<Record<string, string | null>>
  readonly actor?: string
}

async function patchAccount(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { params, body, actor } = request
  const { accounts } = services
  const id = params['id']!
  const { status, attributes } = body as PatchBody
  if (status === undefined && attributes === undefined) {
    throw new Problem('invalid-request', 'body: give status, or attributes')
  }
  const account = await existing(accounts, id)
  checkIfMatch(request, stateOfAccount(account))
  if (status !== undefined && account.status === 'terminated' && status !== 'terminated') {
    throw new Problem('account-terminated', `account ${id} is terminated for good`)
  }
  if (attributes) await setAttributes(id, undefined, { attributes }, request, services)
  if (status !== undefined && !(await accounts.setStatus(id, status, actor))) throw noAccount(id)
  return answerWith(id, services)
}

async function findSubscriber({ params }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { accounts, clock } = services
  const found = await accounts.find(identityOf(params['type'] as IdentityType, params['value']!))
  if (!found) throw new Problem('not-found', 'no subscriber has this identity')
  return ok({ subscriber: found.subscriber, account: viewOfAccount(found.account, services, clock.now()) })
}

async function listSessions({ query }: RouteRequest, { accounts }: RouteServices): Promise<RouteAnswer> {
  const limit = Number(query['limit'] ?? '100')
  if (limit < 1 || limit > 1000) throw new Problem('invalid-request', 'limit must be from 1 to 1000')
  const account = query['account']
  const sessions = await accounts.sessions({ limit, ...(account !== undefined && { account }) })
  return ok({ sessions: sessions.map(viewOfSession) })
}

async function releaseSession({ body, actor }: RouteRequest, { accounts }: RouteServices): Promise<RouteAnswer> {
  const { sessionId: id } = body as { readonly sessionId: string }
  switch (await accounts.release(id, actor)) {
    case 'released':
      return ok({ sessionId: id, released: true })
    case 'ended':
      throw new Problem('session-ended', 'the session has ended already')
    case 'unknown':
      throw new Problem('not-found', 'there is no session with this Session-Id')
  }
}

async function runImport({ body, contentType, query }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const chunks = limited(body as Readable)
  const { accounts, newBuckets, clock, isUnavailable } = services
  const view = services.catalog()
  const report: ImportReport = await importRows(
    csvTypes.includes(contentType) ? readCsv(chunks) : readJsonLines(chunks),
    {
      accounts,
      newBuckets,
      openingOf: (offer, currency, now) =>
        services.subscriptions.opening(offer, { currency, extras: { overrides: [] } }, now),
      offers: view.offers.map(({ name }) => name),
      currencyProblem: currency => currencyProblem(currency, view),
      now: () => clock.now(),
      isUnavailable,
    },
    { allOrNothing: query['allOrNothing'] === 'true', fromLine: Number(query['fromLine'] ?? 0) },
  )
  return ok(report)
}

async function* limited(chunks: Readable): AsyncGenerator<Buffer> {
  let octets = 0
  for await (const chunk of chunks as AsyncIterable<Buffer>) {
    octets += chunk.length
    if (octets > importOctets) throw new Problem('too-large', 'more than 512 MiB: split the file')
    yield chunk
  }
}

function showStatus(_: RouteRequest, { status }: RouteServices): RouteAnswer {
  const view = status()
  return ok({ ...view, started: new Date(view.started).toISOString() })
}
