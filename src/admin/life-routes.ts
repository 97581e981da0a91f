/** The life cycle of an account over the admin API: where it is, its end of validity by hand, and its termination. */
import type { Millis } from '../units.js'
import { Problem } from './problem.js'
import { existing, noAccount, object, ok, text, type Route, type RouteAnswer, type RouteRequest } from './route.js'
import type { RouteServices } from './route.js'
import { viewOfLife } from './life-view.js'
import { accountParams, actor, reason } from './fields.js'

export type LifeChange = {
  readonly status: 'done' | 'no_account' | 'over' | 'no_life' | 'held' | 'debt' | 'skew'
}

/** The daemon joins it with subscription/life-cycle.ts. */
export interface LifeServices {
  readonly lifeCycles: {
    setEnd(account: string, end: Millis | undefined, actor: string, reason: string): Promise<LifeChange>
    terminate(account: string, forfeit: boolean | undefined, actor: string, reason: string): Promise<LifeChange>
  }
}

export const lifeRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/accounts/:id/life',
    permission: 'account.read',
    summary: 'Where an account is in its life cycle: status, since when, until when, and by which rule of the catalog.',
    params: accountParams,
    answers: {
      200: 'status, life: rule, phase, since, until, suspendedByHand; null where the catalog has none for it',
    },
    problems: ['not-found'],
    work: async ({ params }, services) => ok(await shownLife(params['id']!, services)),
  },
  {
    method: 'PATCH',
    path: '/v1/accounts/:id/life',
    permission: 'account.write',
    summary: 'Set by hand when an account’s validity ends; one in grace, or suspended by its rule, is active again.',
    params: accountParams,
    body: object(['until', 'reason'], {
      until: text('2026-12-24, 2026-12-24T18:00 in the time zone of the catalog, or with a zone like Z; null: never', {
        type: ['string', 'null'],
        maxLength: 40,
      }),
      reason,
      actor,
    }),
    answers: { 200: 'As the GET' },
    problems: ['not-found', 'account-terminated', 'no-life-cycle'],
    work: setEnd,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/terminate',
    permission: 'account.write',
    idempotent: true,
    summary:
      'Terminate an account for good. Its money and buckets expire, or stay. Refused while sessions hold something, or it owes something.',
    params: accountParams,
    body: object(['reason'], {
      forfeit: {
        type: 'boolean',
        description: 'Money and buckets expire. Default: as its life cycle says; without one they stay',
      },
      reason,
      actor,
    }),
    answers: { 200: 'As the GET' },
    problems: ['not-found', 'account-terminated', 'account-in-use'],
    work: terminate,
  },
]

async function shownLife(id: string, { accounts }: RouteServices): Promise<object> {
  const account = await existing(accounts, id)
  return { account: id, status: account.status, life: viewOfLife(account.life) }
}

async function setEnd({ params, body, actor: who }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const id = params['id']!
  const { until, reason: why } = body as { readonly until: string | null; readonly reason: string }
  const end = until === null ? undefined : services.localTime(until)
  if (until !== null && end === undefined)
    throw new Problem('invalid-request', `until: \`${until}\` is not a time; write 2026-12-24 or 2026-12-24T18:00`)
  if (end !== undefined && end <= services.clock.now())
    throw new Problem('invalid-request', 'until: that is over; write a later time, or suspend the account')
  return answered(id, await services.lifeCycles.setEnd(id, end, who, why), services)
}

async function terminate({ params, body, actor: who }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const id = params['id']!
  const { forfeit, reason: why } = body as { readonly forfeit?: boolean; readonly reason: string }
  return answered(id, await services.lifeCycles.terminate(id, forfeit, who, why), services)
}

async function answered(id: string, { status }: LifeChange, services: RouteServices): Promise<RouteAnswer> {
  switch (status) {
    case 'done':
      return ok(await shownLife(id, services))
    case 'no_account':
      throw noAccount(id)
    case 'over':
      throw new Problem('account-terminated', `account ${id} is terminated for good`)
    case 'no_life':
      throw new Problem('no-life-cycle', `the catalog has no life cycle for account ${id}: see its key lifecycle`)
    case 'held':
      throw new Problem('account-in-use', `account ${id} has open sessions: abort or release them first`)
    case 'debt':
      throw new Problem('account-in-use', `account ${id} owes something: recharge or write it off first`)
    case 'skew':
      throw new Problem(
        'store-unavailable',
        'our clock and the store’s differ by over 30 s: nothing ends until they agree',
      )
  }
}
