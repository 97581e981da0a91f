/**
 * Routes for the people who answer the phone: what happened to an account entry by entry, the same told as a timeline, and all that one
 * call needs (scope S50, S52). What is written in words is written by inquiry/.
 */
import type { AccountHistory, HistoryPage } from '../inquiry/account-history.js'
import type { IdentityType } from '../balance/types.js'
import type { Millis } from '../units.js'
import { readIdentity, ruleOf } from './import.js'
import { pageAnswer, pagingQuery, readPaging } from './paging.js'
import { Problem } from './problem.js'
import { existing, noAccount, object, ok, text, type Route, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js' // prettier-ignore
import { viewOfAccount, viewOfSession } from './views.js'
import { accountParams, identityParams } from './fields.js'

export interface CareServices {
  readonly history: Pick<AccountHistory, 'ledger' | 'timeline' | 'latest'>
  /** Kinds that rows of a ledger, and of a timeline, may have. */
  readonly historyKinds: { readonly ledger: readonly string[]; readonly timeline: readonly string[] }
}

const time = (description: string): ReturnType<typeof text> =>
  text(`${description}: 2026-12-24, 2026-12-24T18:00 in the time zone of the catalog, or with a zone like Z`, {
    maxLength: 40,
  })
const kind = text('Kinds of rows, with commas between: recharge,adjustment', { pattern: '^[a-z-]+(,[a-z-]+){0,19}$' })
const sessionId = text('Session-Id', { minLength: 1, maxLength: 512 })
const timelineQuery = object([], {
  ...pagingQuery,
  kind,
  from: time('Rows from then on'),
  until: time('Rows before'),
  session: sessionId,
})

export const careRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/accounts/:id/ledger',
    permission: 'ledger.read',
    summary:
      'Every entry of an account, the newest first: what it was, balances before and after, what it belongs to. A page may be short ' +
      'while `next` is there: it looked at enough entries. `missing` are numbers of entries that are not at hand at this daemon.',
    params: accountParams,
    query: object([], {
      ...pagingQuery,
      order: { type: 'string', enum: ['newest', 'oldest'], default: 'newest', description: 'By number of the entry' },
      kind: {
        ...kind,
        description: `${kind['description'] as string}; reserve, commit, release and refuse are what entries do`,
      },
      from: time('Entries from then on'),
      until: time('Entries before'),
      session: sessionId,
      reference: text('Reference of a recharge, purchase or adjustment', { pattern: '^[!-~]{1,128}$' }),
      balance: text('main, debt, or id or name of a bucket: entries that moved it', { minLength: 1, maxLength: 128 }),
    }),
    answers: { 200: 'A page of entries; `complete` is false when some of their numbers are not at hand' },
    problems: ['not-found'],
    work: showLedger,
  },
  {
    method: 'GET',
    path: '/v1/accounts/:id/timeline',
    permission: 'ledger.read',
    summary: 'Sessions, refusals and why, recharges, renewals and thresholds of an account, the newest first.',
    params: accountParams,
    query: timelineQuery,
    answers: { 200: 'A page of about `limit` rows' },
    problems: ['not-found'],
    work: timelineOfAccount,
  },
  {
    method: 'GET',
    path: '/v1/subscribers/:type/:value/timeline',
    permission: 'ledger.read',
    summary: 'The timeline of the account of an identity; what is of another subscriber of it is left out.',
    params: identityParams,
    query: timelineQuery,
    answers: { 200: 'A page of about `limit` rows' },
    problems: ['not-found'],
    work: timelineOfSubscriber,
  },
  {
    method: 'GET',
    path: '/v1/accounts/:id/care',
    permission: 'ledger.read',
    summary:
      'What a care call needs: the account, its open sessions, the last refusal with its cause, the last recharge.',
    params: accountParams,
    answers: { 200: 'The account and what happened last' },
    problems: ['not-found'],
    work: careOfAccount,
  },
  {
    method: 'GET',
    path: '/v1/subscribers/:type/:value/care',
    permission: 'ledger.read',
    summary: 'The same for the account of an identity.',
    params: identityParams,
    answers: { 200: 'The account and what happened last' },
    problems: ['not-found'],
    work: careOfSubscriber,
  },
]

async function showLedger({ params, query }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const id = params['id']!
  const { limit, after } = readPaging(query, 3)
  const [order = query['order'] ?? 'newest', seq, file = ''] = after ?? []
  if (order !== (query['order'] ?? 'newest'))
    throw new Problem('invalid-request', 'after: this cursor is of the other order')
  const page = await services.history.ledger(id, {
    ...{ limit, order: order === 'oldest' ? 'oldest' : 'newest' },
    after: seq === undefined ? undefined : { seq: numberOf(seq), file: file === '' ? undefined : file },
    ...filtersOf(query, services.historyKinds.ledger, services),
    reference: query['reference'],
    balance: query['balance'],
  })
  if (!page) throw noAccount(id)
  return pageOf(page, ({ seq, file = '' }) => [order, String(seq), file])
}

function timelineOfAccount(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  return showTimeline(request.params['id']!, undefined, request, services)
}

async function timelineOfSubscriber(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { account, subscriber } = await ownerOf(request, services)
  return showTimeline(account.id, subscriber, request, services)
}

async function showTimeline(
  id: string,
  subscriber: string | undefined,
  { query }: RouteRequest,
  services: RouteServices,
): Promise<RouteAnswer> {
  const { limit, after } = readPaging(query, 3)
  const [seq, file = '', told = ''] = after ?? []
  const page = await services.history.timeline(id, {
    ...{ limit, subscriber },
    after:
      seq === undefined
        ? undefined
        : { seq: numberOf(seq), file: file === '' ? undefined : file, told: told === '' ? [] : told.split(' ') },
    ...filtersOf(query, services.historyKinds.timeline, services),
  })
  if (!page) throw noAccount(id)
  return pageOf(page, ({ seq, file = '', told }) => [String(seq), file, told.join(' ')])
}

function pageOf<Row, At>(
  { items, next, missing }: HistoryPage<Row, At>,
  words: (next: At) => readonly string[],
): RouteAnswer {
  const { status, body } = pageAnswer({ items, next: next && words(next) })
  return { status, body: { ...body, complete: missing.length === 0, missing } }
}

interface Filters {
  readonly kinds: readonly string[] | undefined
  readonly from: Millis | undefined
  readonly until: Millis | undefined
  readonly session: string | undefined
}

function filtersOf(query: RouteRequest['query'], known: readonly string[], services: RouteServices): Filters {
  const kinds = query['kind']?.split(',')
  const unknown = kinds?.find(each => !known.includes(each))
  if (unknown !== undefined)
    throw new Problem('invalid-request', `kind: there is no ${unknown}; write some of ${known.join(', ')}`)
  const instant = (name: 'from' | 'until'): Millis | undefined => {
    const written = query[name]
    if (written === undefined) return undefined
    const at = services.localTime(written)
    if (at !== undefined) return at
    throw new Problem('invalid-request', `${name}: \`${written}\` is not a time; write 2026-12-24T18:00, or 2026-12-24T17:00Z`)
  }
  return { kinds, from: instant('from'), until: instant('until'), session: query['session'] }
} // prettier-ignore

/** A cursor that somebody made up. */
function numberOf(word: string): number {
  if (/^\d{1,15}$/.test(word)) return Number(word)
  throw new Problem(
    'invalid-request',
    'after: this is no cursor of this list; give `next` of the page before, as it was',
  )
}

type Owner = NonNullable<Awaited<ReturnType<RouteServices['accounts']['find']>>>

async function ownerOf({ params }: RouteRequest, { accounts }: RouteServices): Promise<Owner> {
  const type = params['type'] as IdentityType
  const identity = readIdentity(type, params['value']!)
  if (!identity) throw new Problem('invalid-request', `${type} is not ${ruleOf(type)}`)
  const found = await accounts.find(identity)
  if (!found) throw new Problem('not-found', 'no subscriber has this identity')
  return found
}

async function careOfAccount({ params }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  return care(await existing(services.accounts, params['id']!), null, services)
}

async function careOfSubscriber(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { account, subscriber } = await ownerOf(request, services)
  return care(account, subscriber, services)
}

async function care(account: Owner['account'], subscriber: string | null, services: RouteServices): Promise<RouteAnswer> {
  const { accounts, history, catalog, clock } = services
  const sessions = await accounts.sessions({ account: account.id, limit: 100 })
  const { looked, ...last } = await history.latest(account, subscriber ?? undefined)
  return ok({
    subscriber,
    account: viewOfAccount(account, services, clock.now()),
    sessions: sessions.filter(({ open }) => open).map(viewOfSession),
    lastRefusal: last.refusal,
    lastRecharge: last.recharge,
    lastNotification: last.notification,
    looked,
    catalog: catalog().version,
    timezone: services.tariff().timezone,
  })
} // prettier-ignore
