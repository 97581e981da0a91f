/**
 * Two daemons, one webhook, one of them killed in the middle (scope S14, S15, S19): the feed says what the journal says, each event once;
 * the webhook gets each at least once, first in the order of its account; and a CRM that has nothing else knows every balance.
 */
import { createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import t from 'tap'
import { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import type { FeedEvent } from '../../src/notification/events.js'
import { Gateway } from '../../src/simulator/gateway.js'
import { isExact } from '../support/events.js'
import { OcsdProcess, processFolder, startTcpRedis, until } from '../support/ocsd-process.js'
import { Talk } from '../support/scenario.js'
import { noMetrics, partitions } from '../support/store.js'
import { dictionary } from '../support/vectors.js'

const secret = 'a secret of the CRM'
const received: FeedEvent[] = []
const forged: string[] = []
let requests = 0
const receiver = createServer((request, response) => {
  const pieces: Buffer[] = []
  request.on('data', (piece: Buffer) => pieces.push(piece))
  request.on('end', () => {
    const body = Buffer.concat(pieces).toString()
    const [, time, hex] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(request.headers['ocs-signature'])) ?? []
    const mine = createHmac('sha256', secret).update(`${time}.${body}`).digest('hex')
    const event = JSON.parse(body) as FeedEvent
    if (hex !== mine || request.headers['ocs-event-id'] !== event.id) forged.push(body)
    // Some are refused, some connections end: each of them comes again.
    requests++
    if (requests % 11 === 5) response.writeHead(503).end()
    else if (requests % 17 === 9) response.socket!.destroy()
    else {
      received.push(event)
      response.end()
    }
  })
})
await new Promise<void>(resolve => receiver.listen(0, '127.0.0.1', resolve))
t.teardown(() => {
  receiver.closeAllConnections()
  receiver.close()
})

const { redis, url } = await startTcpRedis(t)
const folder = (name: string): ReturnType<typeof processFolder> =>
  processFolder(t, {
    diameter: { identity: `${name}.localdomain` },
    store: { kind: 'url', url, durability: 'memory', partitions },
    notifications: {
      webhooks: [
        {
          ...{ name: 'crm', types: ['*'], retry: { first: '100ms' }, timeout: '2s' },
          ...{ url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`, secret: '${file:secret}' },
        },
      ],
    },
  })
const start = async (name: string): Promise<OcsdProcess> => {
  const at = folder(name)
  const { writeFileSync } = await import('node:fs')
  writeFileSync(at.file.replace('ocs.yaml', 'secret'), `${secret}\n`)
  return OcsdProcess.start(t, at)
}
const first = await start('ocs1')
const second = await start('ocs2')
const store = new Store({
  config: { kind: 'embedded', durability: 'memory', partitions },
  ...{ address: { socket: redis.socket }, log: pino({ level: 'silent' }), metrics: noMetrics, clock: systemClock },
})
await store.open(5000)
t.teardown(() => store.close())
const gateway = new Gateway({
  ...{ dictionary, originHost: 'pgw.localdomain', originRealm: 'localdomain', destinationRealm: 'localdomain' },
  onRequest: () => ({ resultCode: 2002 }), // it will report when it likes
})
await gateway.connect(second.address)
t.teardown(() => gateway.connections.forEach(connection => connection.abort()))

const accounts = Array.from({ length: 8 }, (_, i) => `4917010000${i}0`)

async function aRound(account: string, reference: string): Promise<void> {
  const talk = new Talk(gateway, [['e164', account]])
  const ask = { ratingGroup: 10, requested: {} }
  await talk.initial([ask])
  await talk.update(1, [{ ...ask, used: [{ octets: 2_000_000n }] }])
  await second.api('POST', `/v1/accounts/${account}/recharges`, {
    ...{ amount: '0.50', currency: 'EUR', channel: 'app', reference },
  })
  await talk.terminate(2, [{ ratingGroup: 10, used: [{ octets: 1_500_000n }] }])
}

t.test('with one of two killed in the middle, nothing is lost or doubled', async t => {
  for (const id of accounts)
    await second.api('POST', '/v1/accounts', {
      ...{ id, currency: 'EUR', balance: '0.05', subscriber: { msisdn: id, offers: ['payg'] } },
    })
  await Promise.all(accounts.map(id => aRound(id, `1-${id}`)))
  await until('the webhook has got something', () => received.length > 10)
  const running = Promise.all(accounts.map(id => aRound(id, `2-${id}`)))
  await first.kill('SIGKILL')
  await running
  await Promise.all(accounts.map(id => aRound(id, `3-${id}`)))

  await until('all partitions have a reader again', async () => (await store.redis.zcard('ocs:daemons')) === 1)
  let events: FeedEvent[] = []
  await until('the feed is complete', async () => {
    events = []
    for (let next: string | undefined; ;) {
      const page = (await second.api('GET', `/v1/events?limit=1000${next === undefined ? '' : `&after=${next}`}`)).body
      const items = page['items'] as FeedEvent[]
      events.push(...items)
      next = page['next'] as string
      if (items.length === 0) break
    }
    return events.filter(({ type }) => type === 'session.ended').length === 3 * accounts.length
  })
  await isExact(t, store, { amounts: [], percents: [] })
  await until('the webhook has all', () => new Set(received.map(({ id }) => id)).size >= events.length - 1)
  t.same(forged, [], 'each was signed')
  const once = [...new Map(received.toReversed().map(event => [event.id, event])).values()]
  const firsts = received.filter((event, i) => received.findIndex(({ id }) => id === event.id) === i)
  for (const account of accounts) {
    const seqs = firsts.flatMap(event => (event.account === account ? [event.seq!] : []))
    t.same(
      seqs,
      [...seqs].sort((a, b) => a - b),
      `${account}: in order`,
    )
    const money = once
      .filter(event => event.account === account && event.balances?.money !== undefined)
      .sort((a, b) => a.seq! - b.seq!)
    const { body } = await second.api('GET', `/v1/accounts/${account}`)
    t.equal(money.at(-1)?.balances?.money, body['money'], 'the CRM knows its money')
  }
  t.match(await second.metrics(), /ocs_webhook_attempts_total\{webhook="crm",result="server-error"\} [1-9]/)
})
