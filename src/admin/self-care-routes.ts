/**
 * What a subscriber's own app reads with his token (design: accounts): balances and when they end, what was used today, open sessions. An
 * answer is at most a second old; tokens are made by whoever may read the account, for the app's server.
 */
import { selfCareToken } from '../access/self-care.js'
import type { Account } from '../balance/types.js'
import { formatMoney } from '../units.js'
import { Problem } from './problem.js'
import {
  accountId,
  existing,
  object,
  ok,
  text,
  type Route,
  type RouteAnswer,
  type RouteRequest,
  type RouteServices,
} from './route.js'
import { viewOfAccount, viewOfSession } from './views.js'
import { actorForLog as actor } from './fields.js'

const longestMinutes = 24 * 60
const freshMs = 1_000
const mostKept = 10_000
const rowsOfOnePage = 1_000
const mostPages = 20

/** Answers of the last second, by account and subscriber; of each API that is served. */
const keptBy = new WeakMap<RouteServices, Map<string, { readonly at: number; readonly answer: Promise<object> }>>()

export const selfCareRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/accounts/:id/self-care-tokens',
    permission: 'account.read',
    summary: 'Make a token with which a subscriber’s own app reads what is his, GET /v1/self, and nothing else.',
    params: object(['id'], { id: accountId }),
    body: object(['subscriber'], {
      subscriber: text('Number of a subscriber of the account, like 1', { pattern: '^[1-9]\\d{0,5}$' }),
      minutes: {
        type: 'integer',
        description: 'It ends after so many minutes',
        minimum: 1,
        maximum: longestMinutes,
        default: 60,
      },
      actor,
    }),
    answers: { 201: 'The token' },
    problems: ['not-found'],
    work: makeToken,
  },
  {
    method: 'GET',
    path: '/v1/self',
    permission: 'account.read',
    self: true,
    summary: 'For the subscriber’s own token: balances, what was used today, open sessions; at most a second old.',
    answers: { 200: 'What is his' },
    problems: ['not-found'],
    work: showSelf,
  },
]

async function makeToken({ params, body }: RouteRequest, { accounts, access }: RouteServices): Promise<RouteAnswer> {
  const { subscriber, minutes = 60 } = body as { subscriber: string; minutes?: number }
  const account = await existing(accounts, params['id']!)
  if (!account.subscribers.some(({ id }) => id === subscriber))
    throw new Problem('not-found', `account ${account.id} has no subscriber ${subscriber}`)
  const expires = Math.floor(access.now() / 1000 + minutes * 60) * 1000
  const token = selfCareToken(await access.selfCareSecret(), { account: account.id, subscriber, expires })
  return { status: 201, body: { token, expires: new Date(expires).toISOString() } }
}

async function showSelf({ principal }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { account, subscriber } = principal.self!
  const kept = keptBy.get(services) ?? new Map<string, { readonly at: number; readonly answer: Promise<object> }>()
  keptBy.set(services, kept)
  const now = services.clock.monotonic()
  const name = `${account} ${subscriber}`
  const known = kept.get(name)
  if (known && now >= known.at && now - known.at < freshMs) return ok(await known.answer)
  const answer = selfOf(account, subscriber, services)
  kept.delete(name)
  if (kept.size >= mostKept) kept.delete(kept.keys().next().value!)
  kept.set(name, { at: now, answer })
  answer.catch(() => kept.delete(name))
  return ok(await answer)
}

async function selfOf(id: string, subscriber: string, services: RouteServices): Promise<object> {
  const { accounts, clock } = services
  const account = await existing(accounts, id)
  const own = account.subscribers.find(each => each.id === subscriber)
  if (!own) throw new Problem('not-found', 'the subscriber is gone')
  const { status, currency, money, held, free, debt, buckets, subscriptions, counters } = viewOfAccount(
    account,
    services,
    clock.now(),
  )
  const sessions = await accounts.sessions({ account: id, limit: 1000 })
  const his = <Item extends { readonly subscriber: string }>(items: readonly Item[]): Item[] =>
    items.filter(item => item.subscriber === subscriber || item.subscriber === '0')
  return {
    ...{ status, currency, money, held, free, debt },
    buckets: buckets.map(({ name, unit, amount, held: of, from, until }) => ({
      name,
      unit,
      amount,
      held: of,
      from,
      until,
    })),
    subscriptions: his(subscriptions),
    counters: his(counters),
    usedToday: await usedToday(account, subscriber, services),
    sessions: sessions
      .filter(each => each.open && each.subscriber === subscriber)
      .map(viewOfSession)
      .map(({ opened, charged, lines }) => ({ opened, charged, lines })),
  }
}

/** What the ledger has of today: by service what it cost, and what buckets gave. */
async function usedToday(account: Account, subscriber: string, services: RouteServices): Promise<object> {
  const { history, localDay, localTime } = services
  const from = localTime(localDay(0))
  const sums = new Map<string, Map<string, number>>()
  let after: Parameters<typeof history.ledger>[1]['after']
  let complete = false
  for (let pages = 0; pages < mostPages && !complete; pages++) {
    const page = await history.ledger(account.id, { limit: rowsOfOnePage, order: 'newest', from, after })
    for (const { against, subscriber: whose } of page?.items ?? []) {
      if (whose !== null && whose !== subscriber) continue
      for (const { name, unit, amount } of against) {
        if (!name.startsWith('usage:')) continue
        const service = name.slice('usage:'.length)
        const units = sums.get(service) ?? new Map<string, number>()
        sums.set(service, units.set(unit, (units.get(unit) ?? 0) + amount))
      }
    }
    after = page?.next
    complete = after === undefined
  }
  const shown = (units: ReadonlyMap<string, number>): object =>
    Object.fromEntries(
      [...units].map(([unit, sum]) => [unit, unit === account.currency ? formatMoney(BigInt(sum)) : sum]),
    )
  return {
    from: from === undefined ? null : new Date(from).toISOString(),
    /** False: so much happened today that not all of it was looked at. */
    complete,
    services: Object.fromEntries([...sums].map(([service, units]) => [service, shown(units)])),
  }
}
