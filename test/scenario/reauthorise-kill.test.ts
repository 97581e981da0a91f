/**
 * The need to ask a gateway outlives the daemon that was told of the recharge (scope N8): kill -9, real processes, one Redis.
 */
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { RedisAccounts } from '../../src/balance/accounts.js'
import { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import { Gateway } from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { micros } from '../../src/units.js'
import { OcsdProcess, processFolder, startTcpRedis, until } from '../support/ocsd-process.js'
import { linesOf, Talk } from '../support/scenario.js'
import { chargingConfig, noMetrics } from '../support/store.js'
import { dictionary } from '../support/vectors.js'

const partitions = 16
const ask = { requested: {} }

const { redis, url } = await startTcpRedis(t)
const start = (name: string): Promise<OcsdProcess> =>
  OcsdProcess.start(
    t,
    processFolder(t, {
      diameter: { identity: `${name}.localdomain` },
      store: { kind: 'url', url, durability: 'memory', partitions },
    }),
  )
const [first, second] = await Promise.all([start('ocs1'), start('ocs2')])

const asked: Message[] = []
const gateway = new Gateway({
  ...{ dictionary, originHost: 'pgw.localdomain', originRealm: 'localdomain', destinationRealm: 'localdomain' },
  onRequest: request => {
    asked.push(request)
    return { resultCode: 2002 }
  },
})
await gateway.connect(second.address)
t.teardown(() => gateway.connections.forEach(connection => connection.abort()))

/** An account with 0.05 EUR, all of it granted to a session at the second daemon. */
async function aSession(t: Test, account: string): Promise<Talk> {
  const created = await second.api('POST', '/v1/accounts', {
    ...{ id: account, currency: 'EUR', balance: '0.05' },
    subscriber: { msisdn: account, offers: ['payg'] },
  })
  t.equal(created.status, 201)
  const talk = new Talk(gateway, [['e164', account]])
  const [line] = linesOf(await talk.initial([{ ratingGroup: 10, ...ask }]))
  t.match(line, { octets: 5_000_000n, final: 0 })
  return talk
}

async function isAskedAndGoesOn(t: Test, talk: Talk): Promise<void> {
  await until('the gateway is asked', () => asked.some(each => each.text('Session-Id') === talk.id))
  const on = await talk.update(1, [{ ratingGroup: 10, used: [{ octets: 5_000_000n }], ...ask }])
  t.equal(linesOf(on)[0]?.octets, 10_000_000n)
  t.equal(asked.filter(each => each.text('Session-Id') === talk.id).length, 1, 'once')
}

t.test('killed while it looks for a daemon that reaches the gateway', async t => {
  const talk = await aSession(t, '491770000001')
  second.signal('SIGSTOP')
  const body = { amount: '5.00', currency: 'EUR', channel: 'test', reference: 'r-1' }
  t.equal((await first.api('POST', '/v1/accounts/491770000001/recharges', body)).status, 201)
  await first.kill('SIGKILL')
  second.signal('SIGCONT')
  await isAskedAndGoesOn(t, talk)
})

t.test('killed between the recharge and anything else: the sweeper finds what it left', async t => {
  const talk = await aSession(t, '491770000002')
  const store = new Store({
    config: { kind: 'embedded', durability: 'memory', partitions },
    ...{ address: { socket: redis.socket }, log: pino({ level: 'silent' }), metrics: noMetrics, clock: systemClock },
  })
  await store.open(5000)
  // What the script leaves is all that there is: nobody is told.
  const accounts = new RedisAccounts(store, partitions, chargingConfig, systemClock)
  await accounts.recharge({
    ...{ account: '491770000002', amount: micros(5_000_000n), currency: 'EUR' },
    ...{ channel: 'test', reference: 'r-2', actor: 'test' },
  })
  await store.close()
  await isAskedAndGoesOn(t, talk)
  t.same((await second.audit()).violations, [], 'the audit finds nothing')
})
