/**
 * Routes of events and webhooks: paging, filters, long poll, cursors that are too old, dead letters, and what is refused.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { Feed } from '../../src/balance/feed.js'
import { Webhooks } from '../../src/balance/webhooks.js'
import { systemClock } from '../../src/clock.js'
import type { WebhookConfig } from '../../src/config/config.js'
import type { FeedEvent } from '../../src/notification/events.js'
import { startAdmin, type TestAdmin } from '../support/admin.js'
import { aNotifications, aPublisher } from '../support/events.js'
import { startStore, type TestStore } from '../support/store.js'

async function someEvents(admin: TestAdmin): Promise<void> {
  for (const id of ['alice', 'bob'])
    await admin.request('POST', '/v1/accounts', { id, currency: 'EUR', balance: '3.00' })
  for (const reference of ['1', '2', '3'])
    await admin.request('POST', '/v1/accounts/alice/recharges', {
      ...{ amount: '1.00', currency: 'EUR', channel: 'portal', reference },
    })
}

const eventsOf = (body: Readonly<Record<string, unknown>>): FeedEvent[] => body['items'] as FeedEvent[]

t.test('the feed in pages, by type and by account', async t => {
  const admin = await startAdmin(t)
  await someEvents(admin)
  await aPublisher(t, admin.store.store).flush()
  const pages: FeedEvent[] = []
  let next = ''
  for (;;) {
    const { status, body } = await admin.request('GET', `/v1/events?limit=2${next === '' ? '' : `&after=${next}`}`)
    t.equal(status, 200)
    pages.push(...eventsOf(body))
    next = body['next'] as string
    if (eventsOf(body).length === 0) break
  }
  t.equal(new Set(pages.map(({ id }) => id)).size, 5, 'each once')
  t.same(
    pages.flatMap(event => (event.account === 'alice' ? [event.seq] : [])),
    [1, 2, 3, 4],
    'in the order of the account',
  )
  t.match(
    pages.findLast(({ account }) => account === 'alice'),
    { type: 'recharge.completed', balances: { currency: 'EUR', money: '6.00' }, data: { amount: '1.00' } },
  )
  const { body: some } = await admin.request('GET', '/v1/events?types=account.*&account=bob')
  t.match(eventsOf(some), [{ type: 'account.created', account: 'bob' }])
  const { body: cursor } = await admin.request('GET', '/v1/events/cursor')
  t.match(cursor, { newest: next, oldest: '0-0', events: 5 })
})

t.test('an empty page waits for what comes', async t => {
  const admin = await startAdmin(t)
  const empty = await admin.request('GET', '/v1/events')
  t.match(empty.body, { items: [], next: '0-0' })
  const page = admin.request('GET', '/v1/events?after=0-0&wait=50')
  await someEvents(admin)
  await aPublisher(t, admin.store.store).flush()
  t.ok(eventsOf((await page).body).length > 0)
})

t.test('a cursor whose events are gone is 410 and says what to do', async t => {
  const admin = await startAdmin(t)
  await someEvents(admin)
  await aPublisher(t, admin.store.store).flush()
  await new Feed(admin.store.store, systemClock).trim(86_400_000, 2)
  const { status, body } = await admin.request('GET', '/v1/events?after=0-0')
  t.equal(status, 410)
  t.match(body, { type: 'urn:ocsd:problem:cursor-expired', detail: /export/ })
  const from = await admin.request('GET', `/v1/events?after=${String(body['oldest'])}`)
  t.equal(eventsOf(from.body).length, 2)
})

t.test('every type is listed, with a schema', async t => {
  const { body } = await (await startAdmin(t)).request('GET', '/v1/events/types')
  t.match((body['types'] as object[])[0], { type: 'account.created', text: 'An account is there.' })
  t.match(body['schema'], { title: 'ocsd event' })
})

/** Routes with one webhook, on a store of their own. */
async function withWebhook(t: Test, url: string): Promise<{ admin: TestAdmin; store: TestStore }> {
  const store = await startStore(t)
  const webhook: WebhookConfig = {
    ...{ name: 'crm', url: `${url}/hook?token=hidden`, secrets: ['s'], headers: {}, types: [], timeoutMs: 1000 },
    ...{ parallel: 1, retry: { firstMs: 1000, mostMs: 1000, giveUpMs: 1000 } },
  }
  const notifications = aNotifications(t, store.store, [webhook])
  return { admin: await startAdmin(t, { notifications }), store }
}

t.test('webhooks: listed without their secrets, paused, resumed, pinged', async t => {
  const ids: unknown[] = []
  const server = createServer((request, response) => {
    ids.push(request.headers['ocs-event-id'])
    response.writeHead(ids.length === 1 ? 204 : 500).end()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { admin } = await withWebhook(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const list = await admin.request('GET', '/v1/notifications/webhooks')
  t.match(list.body['items'], [{ name: 'crm', paused: false, secrets: 1, parked: 0 }])
  t.notMatch(JSON.stringify(list.body), 'hidden')
  t.match((await admin.request('POST', '/v1/notifications/webhooks/crm/pause')).body, { paused: true })
  t.match((await admin.request('GET', '/v1/notifications/webhooks')).body['items'], [{ paused: true }])
  t.match((await admin.request('POST', '/v1/notifications/webhooks/crm/resume')).body, { paused: false })
  const ping = (): ReturnType<TestAdmin['request']> => admin.request('POST', '/v1/notifications/webhooks/crm/ping')
  t.match((await ping()).body, { status: 'delivered', code: 204 })
  t.match((await ping()).body, { status: 'failed', code: 500, why: 'answered 500' })
  t.match(ids[0], /^ping-/)
})

t.test('dead events are listed and delivered again, one, some or all', async t => {
  const { admin, store } = await withWebhook(t, 'http://127.0.0.1:1')
  const webhooks = new Webhooks(store.store, systemClock)
  const letter = (account: string): string =>
    JSON.stringify({
      ...{ webhook: 'crm', account, type: 'account.status', attempts: 7, since: 1, at: 2, why: 'answered 500' },
      event: `{"id":"1-1-0-1","type":"account.status","account":"${account}","data":{}}`,
    })
  const buried = ['a', 'a', 'b', 'c', 'd'].map(letter)
  await webhooks.change('crm', 'x', 60_000, { cursor: undefined, replayed: 0, set: new Map(), gone: [], buried })
  const dead = async (query = ''): Promise<{ id: string; account: string }[]> =>
    (await admin.request('GET', `/v1/notifications/dead${query}`)).body['items'] as { id: string; account: string }[]
  t.match(await dead('?account=b'), [{ account: 'b', attempts: 7, why: 'answered 500', event: { id: '1-1-0-1' } }])
  t.equal((await dead('?limit=2')).length, 2)
  const replay = (body: object): ReturnType<TestAdmin['request']> =>
    admin.request('POST', '/v1/notifications/dead/replay', body)
  const [, , third] = await dead()
  t.match((await replay({ ids: [third!.id] })).body, { replayed: 1 })
  t.match((await replay({ account: 'a' })).body, { replayed: 2 })
  t.match((await replay({ webhook: 'crm', account: 'c' })).body, { replayed: 1 })
  t.match((await replay({ all: true })).body, { replayed: 1 })
  t.same(await dead(), [])
  t.equal((await webhooks.orders('crm', 10)).replay.length, 5)
})

const refused: readonly [method: string, path: string, body: object | undefined, status: number, detail: RegExp][] = [
  ['GET', '/v1/events?after=yesterday', undefined, 400, /`next` of the page before/],
  ['GET', '/v1/events?limit=0', undefined, 400, /from 1 to 1000/],
  ['GET', '/v1/events?limit=1001', undefined, 400, /from 1 to 1000/],
  ['GET', '/v1/events?wait=51', undefined, 400, /50 seconds/],
  ['GET', '/v1/events?types=balance.nothing', undefined, 400, /there is no balance\.nothing/],
  ['GET', '/v1/events?type=x.y', undefined, 400, /"type"/],
  ['POST', '/v1/notifications/webhooks/erp/pause', {}, 404, /there is no webhook erp; none is configured/],
  ['POST', '/v1/notifications/webhooks/erp/ping', {}, 404, /there is no webhook erp/],
  ['POST', '/v1/notifications/dead/replay', {}, 400, /ids, webhook or account/],
  ['POST', '/v1/notifications/dead/replay', { ids: ['x'] }, 400, /not accepted/],
  ['GET', '/v1/notifications/dead?after=x', undefined, 400, /no cursor/],
]

t.test('what is wrong is refused with a sentence that helps', async t => {
  const admin = await startAdmin(t)
  for (const [method, path, body, status, detail] of refused) {
    const reply = await admin.request(method, path, body)
    t.equal(reply.status, status, path)
    t.match(reply.body, { detail }, path)
  }
})
