/**
 * Routes of what other systems are told: the feed of events, webhooks and their state, and events that no webhook took (scope S14, S15,
 * S19).
 */
import type { EventTypeRow } from '../notification/event-types.js'
import type { DeadItem, Notifications } from '../notification/notifications.js'
import { Problem } from './problem.js'
import { pageAnswer, pagingQuery, readPaging } from './paging.js'
import { accountId, object, ok, text, type Route, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js' // prettier-ignore
import { iso } from './views.js'

export interface NotificationServices {
  readonly notifications: Pick<
    Notifications,
    'read' | 'state' | 'webhookTerms' | 'webhookStatus' | 'pause' | 'ping' | 'dead' | 'replay'
  >
  /** What types of events there are, with the JSON Schema of them all. */
  readonly eventTypes: () => {
    readonly types: readonly (EventTypeRow & { readonly type: string })[]
    readonly schema: object
  }
}

/** Members of an event that filters look at. */
interface Envelope {
  readonly type: string
  readonly account?: string
}

/** Events that one request looks at for those of its filter. */
const lookedAtMost = 20_000
const longestWaitS = 50

const webhookName = text('Name of the webhook in the configuration', { pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' })
const webhookParams = object(['name'], { name: webhookName })
const cursor = text(
  '`next` of the page before, or `newest` of /v1/events/cursor; absent: from the oldest that is kept',
  {
    pattern: '^\\d{1,15}-\\d{1,15}$',
  },
)
const deadId = text('Id in the list', { pattern: '^\\d{1,15}-\\d{1,15}$' })

export const notificationRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/events',
    permission: 'notification.read',
    summary:
      'Events after a cursor, oldest first; those of an account come in the order of their `seq`. `next` is always there: ask with it ' +
      'again. With `wait`, an empty page waits for something to come.',
    query: object([], {
      after: cursor,
      limit: text('Events of a page, 1 to 1000, default 100', { pattern: '^\\d{1,4}$' }),
      types: text('Types, with commas between: account.status,balance.*', { pattern: '^[a-z*.-]+(,[a-z*.-]+){0,99}$' }),
      account: accountId,
      wait: text(`Seconds to wait for something, at most ${longestWaitS}`, { pattern: '^\\d{1,2}$' }),
    }),
    answers: { 200: '`items`: events; `next`: the cursor after the last one that was looked at' },
    problems: ['cursor-expired'],
    work: readEvents,
  },
  {
    method: 'GET',
    path: '/v1/events/cursor',
    permission: 'notification.read',
    summary: 'Where the feed stands: take `newest`, then export the accounts, then read on from there.',
    answers: { 200: '`newest` and `oldest` as cursors, and how many events are kept' },
    problems: [],
    work: async (_: RouteRequest, { notifications }: RouteServices): Promise<RouteAnswer> => {
      const { newest, oldest, events, oldestAt } = await notifications.state()
      return ok({ newest, oldest, events, oldestAt: oldestAt === undefined ? null : iso(oldestAt) })
    },
  },
  {
    method: 'GET',
    path: '/v1/events/types',
    permission: 'notification.read',
    summary: 'Every type of event with its data, and the JSON Schema of an event.',
    answers: { 200: '`types` and `schema`' },
    problems: [],
    work: (_, { eventTypes }) => ok(eventTypes()),
  },
  {
    method: 'GET',
    path: '/v1/notifications/webhooks',
    permission: 'notification.read',
    summary: 'Webhooks of this daemon’s configuration, and how far their deliveries are.',
    answers: { 200: '`items`: webhooks; no secret is shown' },
    problems: [],
    work: async (_: RouteRequest, { notifications }: RouteServices): Promise<RouteAnswer> => {
      const statuses = await notifications.webhookStatus()
      return ok({
        items: notifications.webhookTerms.map(({ name, url, types, secrets }, i) => {
          const { paused, delivering, parked, replay, behindMs } = statuses[i]!
          const behindSeconds = Math.round(behindMs / 1000)
          const { origin, pathname } = new URL(url)
          return {
            ...{ name, url: `${origin}${pathname}`, types, secrets: secrets.length, paused, delivering },
            ...{ parked, replay, behindSeconds },
          }
        }),
      })
    },
  },
  ...(['pause', 'resume'] as const).map((word): Route => ({
    method: 'POST',
    path: `/v1/notifications/webhooks/:name/${word}`,
    permission: 'notification.write',
    summary:
      word === 'pause'
        ? 'Send nothing to a webhook until it is resumed; events wait in the feed as long as that keeps them.'
        : 'Go on with the deliveries of a webhook where they stopped.',
    params: webhookParams,
    answers: { 200: 'Whether it is paused' },
    problems: ['not-found'],
    work: async ({ params }: RouteRequest, { notifications }: RouteServices): Promise<RouteAnswer> => {
      const { name } = known(params, notifications)
      await notifications.pause(name, word === 'pause')
      return ok({ name, paused: word === 'pause' })
    },
  })),
  {
    method: 'POST',
    path: '/v1/notifications/webhooks/:name/ping',
    permission: 'notification.write',
    summary: 'Send one event, webhook.ping, to a webhook at once and say what came of it.',
    params: webhookParams,
    answers: { 200: '`status`: delivered or failed; `code` of the answer; `why` it failed' },
    problems: ['not-found'],
    work: async ({ params }: RouteRequest, { notifications }: RouteServices): Promise<RouteAnswer> => {
      const webhook = known(params, notifications)
      const result = await notifications.ping(webhook)
      const why = result.status === 'failed' ? { why: result.why } : {}
      return ok({ name: webhook.name, status: result.status, code: result.code ?? null, ...why })
    },
  },
  {
    method: 'GET',
    path: '/v1/notifications/dead',
    permission: 'notification.read',
    summary: 'Events that a webhook did not take in time, the oldest first.',
    query: object([], { ...pagingQuery, webhook: webhookName, account: accountId }),
    answers: { 200: '`items` and `next`' },
    problems: [],
    work: async ({ query }: RouteRequest, { notifications }: RouteServices): Promise<RouteAnswer> => {
      const { limit, after } = readPaging(query, 1)
      const filter = { webhook: query['webhook'], account: query['account'] }
      const { items, more } = await notifications.dead(filter, after?.[0], limit)
      return pageAnswer({ items: items.map(viewOfDead), next: more ? [items.at(-1)!.id] : undefined })
    },
  },
  {
    method: 'POST',
    path: '/v1/notifications/dead/replay',
    permission: 'notification.write',
    summary: 'Deliver dead events again, by their ids, or all, of a webhook or an account. They leave the list.',
    body: object([], {
      ids: { type: 'array', items: deadId, minItems: 1, maxItems: 1000 },
      webhook: webhookName,
      account: accountId,
      all: { type: 'boolean', description: 'Needed where nothing else says which' },
    }),
    answers: { 200: 'How many are delivered again' },
    problems: [],
    work: async ({ body }: RouteRequest, { notifications }: RouteServices): Promise<RouteAnswer> => {
      const { all = false, ...filter } = body as {
        readonly ids?: readonly string[]
        readonly webhook?: string
        readonly account?: string
        readonly all?: boolean
      }
      if (!all && Object.keys(filter).length === 0)
        throw new Problem('invalid-request', 'body: give ids, webhook or account, or all: true')
      return ok({ replayed: await notifications.replay(filter) })
    },
  },
]

async function readEvents({ query }: RouteRequest, { notifications, eventTypes }: RouteServices): Promise<RouteAnswer> {
  const { account } = query
  const limit = Number(query['limit'] ?? 100)
  if (limit < 1 || limit > 1000) throw new Problem('invalid-request', 'limit must be from 1 to 1000')
  const waitS = Number(query['wait'] ?? 0)
  if (waitS > longestWaitS) throw new Problem('invalid-request', `wait: ${longestWaitS} seconds at most`)
  const types = query['types']?.split(',')
  const all = types && eventTypes().types.map(({ type }) => type)
  const unknown = types?.find(each => !all!.some(type => isMeant(each, type)))
  if (unknown !== undefined) throw new Problem('invalid-request', `types: there is no ${unknown}; see /v1/events/types`)
  const until = Date.now() + waitS * 1000
  let after = query['after']
  const items: object[] = []
  for (let lookedAt = 0; ;) {
    const filtered = types !== undefined || account !== undefined
    const left = items.length > 0 ? 0 : Math.max(0, until - Date.now())
    const page = await notifications.read(after, filtered ? 1000 : limit - items.length, left)
    if (page.status === 'expired') throw expired(page.oldest)
    let full = false
    for (const { cursor: at, text: written } of page.items) {
      after = at
      const event = JSON.parse(written) as Envelope
      if (account !== undefined && event.account !== account) continue
      if (types && !types.some(each => isMeant(each, event.type))) continue
      items.push(event)
      full = items.length === limit
      if (full) break
    }
    lookedAt += page.items.length
    const nothingMore = !page.more && (items.length > 0 || Date.now() >= until)
    if (full || nothingMore || lookedAt >= lookedAtMost || (page.items.length === 0 && left <= 0)) break
  }
  // An empty feed has no cursor yet: from its begin, then.
  return ok({ items, next: after ?? (await notifications.state()).newest })
}

const isMeant = (wanted: string, type: string): boolean =>
  wanted === '*' || wanted === type || (wanted.endsWith('.*') && type.startsWith(wanted.slice(0, -1)))

const expired = (oldest: string): Problem =>
  new Problem(
    'cursor-expired',
    'events after this cursor are no longer kept: take `newest` of GET /v1/events/cursor, export the accounts, then read on from it',
    { oldest },
  )

function known(
  params: RouteRequest['params'],
  { webhookTerms }: NotificationServices['notifications'],
): NotificationServices['notifications']['webhookTerms'][number] {
  const webhook = webhookTerms.find(({ name }) => name === params['name'])
  if (webhook) return webhook
  const names = webhookTerms.map(({ name }) => name).join(', ')
  throw new Problem(
    'not-found',
    `there is no webhook ${params['name']}; ${names === '' ? 'none is configured' : `known: ${names}`}`,
  )
}

const viewOfDead = ({ id, webhook, account, type, attempts, since, at, why, event }: DeadItem): object => ({
  ...{ id, webhook, account: account === '-' ? null : account, type, attempts, since: iso(since), at: iso(at), why },
  event: JSON.parse(event) as object,
})
