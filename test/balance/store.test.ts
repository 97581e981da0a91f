/**
 * The connection to Redis under trouble: one retry with the same key, a deadline that ends every call and every new hold, and
 * settings of the client that never send anything twice by themselves.
 */
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { RedisAccounts } from '../../src/balance/accounts.js'
import { Balance, type ChargeAnswer } from '../../src/balance/balance.js'
import { journalKey, partitionOf } from '../../src/balance/keys.js'
import { BalanceUnavailableError, Store, type StoreErrorClass } from '../../src/balance/store.js'
import { systemClock, VirtualClock, type Clock } from '../../src/clock.js'
import type { StoreConfig } from '../../src/config/config.js'
import { aProgram, Session } from '../support/charging.js'
import { startProxy, type Proxy } from '../support/proxy.js'
import { startRedis, type TestRedis } from '../support/redis.js'
import { chargingConfig, noMetrics, partitions } from '../support/store.js'

interface Setting {
  readonly redis: TestRedis
  readonly proxy: Proxy
  readonly store: Store
  readonly errors: StoreErrorClass[]
  readonly session: Session
  /** Entries of the account's journal, read past the proxy. */
  entries(): Promise<number>
}

const aStore = (parts: Partial<StoreConfig>, port: number, clock: Clock, errors: StoreErrorClass[] = []): Store =>
  new Store({
    config: { kind: 'url', url: `redis://127.0.0.1:${port}`, durability: 'memory', partitions, ...parts },
    address: {},
    log: pino({ level: 'silent' }),
    metrics: { ...noMetrics, error: errorClass => errors.push(errorClass) },
    clock,
  })

/** A store behind a proxy, and a session of an account with 1.00 EUR. */
async function start(t: Test, settings: Record<string, string> = {}, clock: Clock = systemClock): Promise<Setting> {
  const redis = await startRedis(t, settings)
  const proxy = await startProxy(t, redis.socket)
  const errors: StoreErrorClass[] = []
  const store = aStore({}, proxy.port, clock, errors)
  t.teardown(() => store.close())
  await store.open(5000)
  const balance = new Balance(store, partitions, chargingConfig, systemClock)
  const accounts = new RedisAccounts(store, partitions, chargingConfig, clock)
  const session = await Session.open(t, { balance, accounts }, { account: 'alice', money: 1_000_000n, credit: 0n })
  return {
    redis,
    proxy,
    store,
    errors,
    session,
    entries: () => store.redis.xlen(journalKey(partitionOf('alice', partitions))),
  }
}

const program = aProgram({ step: 100_000n, num: 1000n })
const ask = (wanted = 1_000_000n) => [{ key: '10', used: 0n, wanted, threshold: false, program }]
const held = async ({ store }: Setting): Promise<string | undefined> =>
  / held (\d+) /.exec(
    (await store.redis.hget(`ocs:{${partitionOf('alice', partitions)}}:account:alice`, 'funds'))!,
  )?.[1]

t.test(
  'the client is set so that it never sends anything twice, waits for nothing, and leaves a frozen server',
  async t => {
    const { store } = await start(t)
    t.match(store.redis.options, {
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      commandTimeout: 1000,
      socketTimeout: 1000,
      connectTimeout: 1000,
      sentinelCommandTimeout: 1000,
      keepAlive: 5000,
      enableReadyCheck: true,
      failoverDetector: false,
      disableClientInfo: true,
      db: 0,
      protocol: 2,
    })
    t.notOk(store.redis.options.enableAutoPipelining)
    const pauses = Array.from({ length: 200 }, (_, i) => Number(store.redis.options.retryStrategy!(i + 1)))
    t.ok(
      pauses.every(ms => ms >= 25 && ms <= 500),
      'it comes back within 25 to 500 ms, however often it failed',
    )
    t.ok(new Set(pauses).size > 100, 'with jitter')
    const reconnect = store.redis.options.reconnectOnError!
    t.equal(
      reconnect(new Error("READONLY You can't write against a read only replica.")),
      1,
      'again to the new master, not resent',
    )
    t.equal(reconnect(new Error('WRONGTYPE')), false)
  },
)

t.test('a URL names host, port, user, password, database and TLS', async t => {
  const plain = { host: 'redis.example', port: 6379, db: 0, username: null, password: null }
  const cases: Readonly<Record<string, object>> = {
    'redis://redis.example': { ...plain, tls: undefined },
    'redis://redis.example:7000/': { ...plain, port: 7000 },
    'redis://redis.example/3': { ...plain, db: 3 },
    'redis://ocs:p%40ss@redis.example': { ...plain, username: 'ocs', password: 'p@ss' },
    'redis://[::1]:7000/3': { ...plain, host: '::1', port: 7000, db: 3 },
    'rediss://redis.example': { ...plain, tls: { servername: 'redis.example' } },
    'rediss://127.0.0.1': { ...plain, host: '127.0.0.1', tls: { servername: undefined } },
    'rediss://[::1]': { ...plain, host: '::1', tls: { servername: undefined } },
  }
  for (const [url, options] of Object.entries(cases)) {
    const store = aStore({ url }, 0, systemClock)
    t.match(store.redis.options, options, url)
    await store.close()
  }
})

t.test('a charge whose reply is lost is sent again and applied once', async t => {
  const setting = await start(t)
  const { proxy, session, errors } = setting
  const before = await setting.entries()
  const lost = proxy.swallowReplies()
  const answer = session.charge('I', 0, ask())
  await lost
  proxy.cut()
  t.match(await answer, { how: 'again', outcome: 'ok', lines: [{ is: 'granted', units: 1_000_000n }] })
  t.equal(await setting.entries(), before + 1)
  t.equal(await held(setting), '10000')
  t.ok(errors.includes('offline'), 'the first try failed')
  t.equal(proxy.connections(), 2)
})

t.test('twenty charges whose replies are lost are applied once each', async t => {
  const setting = await start(t)
  const { proxy, session } = setting
  await session.charge('I', 0, ask())
  const before = await setting.entries()
  const lost = proxy.swallowReplies()
  const answers = Array.from({ length: 20 }, (_, i) =>
    session.charge('U', i + 1, [{ key: '10', used: 10_000n, wanted: undefined, threshold: false, program }]),
  )
  await lost
  proxy.cut()
  for (const answer of await Promise.all(answers)) t.match(answer, { outcome: 'ok' })
  t.equal(await setting.entries(), before + 20)
  t.match(await session.charge('U', 21, ask(1n)), { charged: 2000n }, '200 kB, in two steps of 1,000')
})

t.test('redis frozen past the deadline: the caller is told, and thawed it holds nothing new', async t => {
  const setting = await start(t)
  const { redis, session, store } = setting
  await session.charge('I', 0, ask(1n)) // the script is known on this connection
  const other = await Session.open(
    t,
    {
      balance: new Balance(store, partitions, chargingConfig, systemClock),
      accounts: new RedisAccounts(store, partitions, chargingConfig, systemClock),
    },
    { account: 'alice', money: 0n, credit: 0n },
  )
  const before = { entries: await setting.entries(), held: await held(setting), ran: await scriptsRun(store) }
  redis.process.kill('SIGSTOP')
  const short = { deadline: Date.now() + 200, deadlineMonotonic: performance.now() + 200 }
  await t.rejects(other.charge('I', 0, ask(), short), { name: 'BalanceUnavailableError' })
  redis.process.kill('SIGCONT')
  t.equal(await scriptsRun(store), before.ran + 1, 'what was sent ran all the same')
  t.equal(await setting.entries(), before.entries)
  t.equal(await held(setting), before.held)

  redis.process.kill('SIGSTOP')
  const unfenced = { deadline: Date.now() + 60_000, deadlineMonotonic: performance.now() + 200 }
  await t.rejects(other.charge('I', 0, ask(), unfenced), { name: 'BalanceUnavailableError' })
  redis.process.kill('SIGCONT')
  t.equal(await setting.entries(), before.entries + 1, 'control: without the fence it is held late')
})

t.test('redis frozen past the deadline: used units are booked when it thaws, and nothing is granted', async t => {
  const setting = await start(t)
  const { redis, session } = setting
  await session.charge('I', 0, ask())
  redis.process.kill('SIGSTOP')
  const report = [{ ...ask()[0]!, used: 1_000_000n }]
  const short = { deadline: Date.now() + 200, deadlineMonotonic: performance.now() + 200 }
  await t.rejects(session.charge('U', 1, report, short), { name: 'BalanceUnavailableError' })
  redis.process.kill('SIGCONT')
  t.equal(await held(setting), '0')
  const repeat = (await session.charge('U', 1, report)) as ChargeAnswer
  t.match(
    repeat,
    { how: 'new', outcome: 'ok', cost: 0n, charged: 10_000n, lines: [{ is: 'granted' }] },
    'the repeat is granted, and pays nothing again',
  )
  t.match(await session.charge('U', 1, report), { how: 'again', charged: 10_000n })
})

t.test('the deadline ends a call before the client gives up by itself', async t => {
  const clock = new VirtualClock()
  const { proxy, store } = await start(t, {}, clock)
  proxy.freeze()
  const call = store.call('ping', clock.monotonic() + 300, redis => redis.ping())
  clock.advance(300)
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason as Error,
  )
  t.ok(error instanceof BalanceUnavailableError)
  t.match(error?.cause, /at the deadline/)
})

t.test('redis killed and started again within the budget: the call waits, and succeeds', async t => {
  const setting = await start(t, { appendonly: 'yes', appendfsync: 'always' })
  const { redis, session } = setting
  await session.charge('I', 0, ask())
  const before = await setting.entries()
  await redis.kill('SIGKILL')
  const answer = session.charge('U', 1, [{ ...ask()[0]!, used: 500_000n }])
  await redis.start()
  t.match(await answer, { how: 'new', charged: 5000n })
  t.equal(await setting.entries(), before + 1)
})

t.test('no redis within the budget is BalanceUnavailableError', async t => {
  const { redis, session } = await start(t)
  await redis.kill('SIGKILL')
  await t.rejects(session.charge('I', 0, ask(), { deadlineMonotonic: performance.now() + 150 }), {
    name: 'BalanceUnavailableError',
  })
})

t.test('SCRIPT FLUSH is not noticed', async t => {
  const { session, store, errors } = await start(t)
  t.match(await session.charge('I', 0, ask()), { how: 'new' })
  await store.redis.script('FLUSH')
  t.match(await session.charge('U', 1, ask()), { how: 'new' })
  t.same(errors, [])
})

t.test('a refusal of the store is a defect: not sent again', async t => {
  const { store, errors } = await start(t)
  await store.redis.set('text', 'x')
  let sent = 0
  const call = store.call('x', performance.now() + 5000, redis => {
    sent++
    return redis.hget('text', 'y')
  })
  await t.rejects(call, { name: 'StoreDefectError' })
  await t.rejects(
    store.call('x', performance.now() + 5000, () => (undefined as unknown as () => Promise<string>)()),
    { name: 'StoreDefectError' },
    'and so is our own mistake',
  )
  t.equal(sent, 1)
  t.same(errors, ['defect', 'defect'])
})

t.test('a store that is not what the configuration promises is refused at the start', async t => {
  const redis = await startRedis(t, { appendonly: 'yes', appendfsync: 'always', 'maxmemory-policy': 'noeviction' })
  const proxy = await startProxy(t, redis.socket)
  const check = async (parts: Partial<StoreConfig>): Promise<string> => {
    const store = aStore(parts, proxy.port, systemClock)
    await store.open(5000)
    const { refusals, warnings } = await store.check(performance.now() + 5000)
    await store.close()
    return [...refusals, ...warnings.map(warning => `warning: ${warning}`)].join('\n')
  }
  const admin = aStore({}, proxy.port, systemClock)
  await admin.open(5000)
  t.teardown(() => admin.close())
  const set = (name: string, value: string) => (): Promise<unknown> => admin.redis.config('SET', name, value)
  const cases: {
    what: string
    change?: () => Promise<unknown>
    undo?: () => Promise<unknown>
    config?: Partial<StoreConfig>
    says: RegExp
  }[] = [
    { what: 'all is well', config: { durability: 'disk' }, says: /^$/ },
    {
      what: 'it may evict',
      change: set('maxmemory-policy', 'allkeys-lru'),
      undo: set('maxmemory-policy', 'noeviction'),
      says: /^the store's maxmemory-policy is allkeys-lru/,
    },
    {
      what: 'fsync each second',
      change: set('appendfsync', 'everysec'),
      config: { durability: 'disk' },
      says: /appendfsync everysec: set appendonly yes and appendfsync always/,
    },
    { what: 'fsync each second where memory is promised', undo: set('appendfsync', 'always'), says: /^$/ },
    {
      what: 'no fsync while rewriting',
      change: set('no-appendfsync-on-rewrite', 'yes'),
      undo: set('no-appendfsync-on-rewrite', 'no'),
      config: { durability: 'disk' },
      says: /no-appendfsync-on-rewrite is yes/,
    },
    {
      what: 'no file at all',
      change: set('appendonly', 'no'),
      config: { durability: 'disk' },
      says: /the store runs appendonly no/,
    },
    {
      what: 'other partitions',
      config: { partitions: partitions + 1 },
      says: new RegExp(`^store.partitions is ${partitions + 1}, but this store was started with ${partitions}`),
    },
    {
      what: 'lines of another version',
      change: () => admin.redis.hset('ocs:store', 'layout', '1'),
      undo: () => admin.redis.hset('ocs:store', 'layout', '3'),
      says: /^the store's accounts were written in layout 1, and this version reads layout 3: /,
    },
    {
      what: 'lines of a version that did not say so',
      change: () => admin.redis.hdel('ocs:store', 'layout'),
      undo: () => admin.redis.hset('ocs:store', 'layout', '3'),
      says: /^the store's accounts were written in layout 1/,
    },
    {
      what: 'long values unpacked',
      change: set('hash-max-listpack-value', '64'),
      undo: set('hash-max-listpack-value', '256'),
      says: /^warning: hash-max-listpack-value is 64/,
    },
    {
      what: 'it does not tell',
      change: () => admin.redis.call('ACL', 'SETUSER', 'default', '-config'),
      config: { durability: 'disk' },
      says: /^warning: the store does not tell its settings/,
    },
  ]
  for (const { what, change, undo, config = {}, says } of cases) {
    await change?.()
    t.match(await check(config), says, what)
    await undo?.()
  }
})

/** How many scripts the server ran. */
async function scriptsRun(store: Store): Promise<number> {
  const stats = await store.redis.info('commandstats')
  return [...stats.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)].reduce((sum, [, n]) => sum + Number(n), 0)
}
