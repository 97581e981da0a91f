/** Routes that list: accounts in pages; of one account its subscribers, subscriptions and balances; and one session. */
import type { AccountList } from '../balance/account-list.js'
import type { Account } from '../balance/types.js'
import { pageAnswer, pageSchema, pagingQuery, readPaging } from './paging.js'
import { Problem } from './problem.js'
import {
  existing,
  object,
  ok,
  text,
  type Route,
  type RouteAnswer,
  type RouteRequest,
  type RouteServices,
} from './route.js'
import { viewOfAccount, viewOfSession, type AccountView } from './views.js'
import { accountParams as ofAccount } from './fields.js'

export interface ListServices {
  readonly accountList: AccountList
}

const part = (name: string, summary: string, bodyOf: (view: AccountView) => object): Route => ({
  method: 'GET',
  path: `/v1/accounts/:id/${name}`,
  permission: 'account.read',
  summary,
  params: ofAccount,
  answers: { 200: `Of the account: ${name}` },
  problems: ['not-found'],
  work: async ({ params }, services): Promise<RouteAnswer> => {
    const account = await existing(services.accounts, params['id']!)
    return ok(bodyOf(viewOfAccount(account, services, services.clock.now())))
  },
})

export const listRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/accounts',
    permission: 'account.read',
    summary:
      'All accounts, in pages and in no order. A page may be short though more follow: go on until next is null.',
    query: object([], {
      ...pagingQuery,
      status: text('Only accounts with this status', { pattern: '^[a-z]{1,20}$' }),
      offer: text('Only accounts with a subscription of this offer', { minLength: 1, maxLength: 128 }),
    }),
    answers: { 200: 'A page of accounts' },
    schemas: { 200: pageSchema({ type: 'object', description: 'As GET /v1/accounts/{id} shows it' }) },
    problems: [],
    work: listAccounts,
  },
  part('subscribers', 'Subscribers of an account.', ({ id, subscribers }) => ({ account: id, items: subscribers })),
  part(
    'balances',
    'What an account has to spend: money, buckets in draw order, counters.',
    ({ id, currency, money, held, free, creditLimit, debt, buckets, counters }) => ({
      ...{ account: id, currency, money, held, free, creditLimit, debt, buckets, counters },
    }),
  ),
  {
    method: 'GET',
    path: '/v1/sessions/:session',
    permission: 'session.read',
    summary: 'Show one session: open, or ended and still kept.',
    params: object(['session'], {
      session: text('Session-Id as the gateway sent it, percent-encoded', { minLength: 1, maxLength: 512 }),
    }),
    answers: { 200: 'The session' },
    problems: ['not-found'],
    work: showSession,
  },
]

async function listAccounts({ query }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { limit, after } = readPaging(query, 2)
  const { status, offer } = query
  const matches = (account: Account): boolean =>
    (status === undefined || account.status === status) &&
    (offer === undefined || account.subscriptions.some(each => each.offer === offer))
  const [cursor, last] = after ?? []
  if (cursor !== undefined && !/^\d{1,20}$/.test(cursor))
    throw new Problem('invalid-request', 'after: this is no cursor of this list; give `next` of the page before')
  const from = cursor === undefined ? undefined : { cursor, last: last! }
  const { accounts, next } = await services.accountList.page({ from, limit, matches })
  const now = services.clock.now()
  return pageAnswer({
    items: accounts.map(account => viewOfAccount(account, services, now)),
    next: next && [next.cursor, next.last],
  })
}

async function showSession({ params }: RouteRequest, { accountList }: RouteServices): Promise<RouteAnswer> {
  const session = await accountList.session(params['session']!)
  if (!session) throw new Problem('not-found', 'there is no session with this Session-Id')
  return ok(viewOfSession(session))
}
