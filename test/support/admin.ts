/** The admin API over real HTTP, with real accounts on a real Redis; what belongs to other rooms is answered by plain functions. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Test } from 'tap'
import { startAdminApi } from '../../src/admin/api.js'
import { openAccess } from '../../src/admin/open-access.js'
import type { AdminConfig } from '../../src/config/config.js'
import type { HttpService } from '../../src/admin/http.js'
import type { PeersReading } from '../../src/admin/peers.js'
import type { AdminServices } from '../../src/admin/services.js'
import { RedisAccountList } from '../../src/balance/account-list.js'
import { RedisFsck } from '../../src/balance/fsck.js'
import { RedisSubscribers } from '../../src/balance/subscribers.js'
import { RedisKeptAnswers } from '../../src/balance/idempotency.js'
import type { NewBucket } from '../../src/balance/types.js'
import { systemClock } from '../../src/clock.js'
import { joinMoney } from '../../src/recharge/money.js'
import { openPayments } from '../../src/recharge/open-payments.js'
import { localInstant } from '../../src/rating/calendar.js'
import type { Catalog } from '../../src/rating/catalog.js'
import { eventSchema, eventTypeNames, rowOf } from '../../src/notification/event-types.js'
import { limitIn } from '../../src/rating/exchange.js'
import { readCatalog } from '../../src/rating/load.js'
import { Subscriptions } from '../../src/subscription/subscriptions.js'
import { DueLists } from '../../src/balance/due.js'
import { partitionOf } from '../../src/balance/keys.js'
import { SubscriptionStore } from '../../src/balance/subscriptions.js'
import { newBuckets } from '../../src/rating/match.js'
import { units } from '../../src/units.js'
import { LedgerReports, localDay } from '../../src/report/daily.js'
import { aNotifications } from './events.js'
import { partitions, startStore, type TestStore } from './store.js'
import { openVouchers } from './vouchers.js'

export const token = 'a-token-of-thirty-two-characters-x'

export interface TestAdmin {
  readonly api: HttpService
  readonly services: AdminServices
  /** Of its audit log. */
  readonly auditFolder: string
  /** Lines of the log from level error on. */
  readonly errors: string[]
  readonly url: string
  readonly store: TestStore
  readonly recharged: string[]
  /** A POST has an Idempotency-Key of its own, unless `headers` gives another, or '' for none. */
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>
}

export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

/** What overrides and purchases are judged by. */
const tariff = `
currency: EUR
timezone: Europe/Berlin
services:
  data: { context: 32251@3gpp.org, unit: octets, quota: { size: 10MB, min: 100kB, max: 100MB, validity: 1h } }
counters:
  month-data: { unit: octets, per: account, reset: month }
  roaming: { unit: money, per: subscriber, reset: day, for: data, limit: '5.00', then: stop, optIn: true }
  spend: { unit: money, per: account, reset: month, for: data, limit: '30.00', then: stop, optIn: true }
  member: { unit: octets, per: subscriber, reset: month, for: data, limit: 5GB, then: stop }
rates:
  data-payg: { unit: octets, price: '0.01', per: 1MB, step: 100kB }
  data-cheap: { unit: octets, price: '0.005', per: 1MB, step: 100kB }
  data-tiers:
    { unit: octets, step: 1MB, per: 1MB, counter: month-data, tiers: [{ upTo: 1GB, price: '0.02' }, { price: '0.01' }] }
  share: { unit: money, percent: 2% }
  sms: { unit: events, price: '0.09' }
offers:
  payg: { rank: 100, rules: [{ service: data, use: [data-payg] }] }
  tiers: { rank: 90, rules: [{ service: data, use: [data-tiers] }] }
  bundle-5gb:
    rank: 10
    grants:
      - { bucket: data-5gb, amount: 5GB, for: [data], expires: 30d, priority: 10 }
      - { bucket: bonus, unit: money, amount: '5.00', for: [data], expires: never }
    rules: [{ service: data, use: [data-5gb, data-payg] }]
  vip-only: { rank: 20, eligible: { segment: [vip, staff] }, rules: [{ service: data, use: [data-cheap] }] }
  christmas: { rank: 30, sold: { from: 2099-12-01, until: 2100-01-01 }, rules: [{ service: data, use: [data-cheap] }] }
  old: { rank: 30, sold: { until: 2020-01-01 }, rules: [{ service: data, use: [data-cheap] }] }
  gift:
    rank: 40
    grants: [{ bucket: bonus, unit: money, amount: '5.00', for: [data], expires: never }]
    rules: [{ service: data, use: [data-cheap] }]
exchange:
  GBP: { from: 2026-01-01, rate: '1.15' }
  JPY: { from: 2099-01-01, rate: '0.0061' }
`

function aTariff(): Catalog {
  const outcome = readCatalog([{ file: 'catalog.yaml', text: tariff }])
  if ('faults' in outcome) throw new Error(JSON.stringify(outcome.faults))
  return outcome.catalog
}

const bucket = (now: number): NewBucket => ({
  name: 'data-5gb',
  unit: 'octets',
  amount: units(5_000_000_000n),
  priority: 10,
  until: now + 30 * 24 * 3_600_000,
  origin: 'bundle-5gb',
})

/** As the transport tells of it. */
export const aConnectedPeer: PeersReading['connected'][number] = {
  ...{ name: 'loopback', originHost: 'smf.example.org', originRealm: 'example.org', productName: 'smf' },
  ...{ address: '127.0.0.1', port: 40_000, transport: 'tcp', direction: 'accepted', state: 'R-Open', watchdog: 'OKAY' },
  ...{ applications: [4], relay: false, originStateId: 7, connectedSince: Date.UTC(2026, 0, 15), inFlight: 2 },
  outputOctets: 0,
  tally: {
    ...{ row: 'loopback', connections: 1, requestsIn: 10, requestsOut: 1 },
    answersIn: [0, 0, 1, 0, 0, 0],
    answersOut: [0, 0, 5, 0, 2, 1],
    lastError: { at: Date.UTC(2026, 0, 15, 1), direction: 'out', resultCode: 5030, message: undefined },
    lastEnd: undefined,
  },
}

export async function startAdmin(
  t: Test,
  changes: Partial<AdminServices> = {},
  settings: Partial<AdminConfig> = {},
): Promise<TestAdmin> {
  const store = await startStore(t)
  const recharged: string[] = []
  const errors: string[] = []
  const catalog = aTariff()
  const subscribers = new RedisSubscribers(store.store, partitions, systemClock, { onBlock: 'reauth-all' })
  const folder = mkdtempSync(join(tmpdir(), 'ocs-admin-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const access = await openAccess({
    ...{ token, store: store.store, folder, daemon: 'test', clock: systemClock, mask: text => `…${text.slice(-2)}` },
    config: {
      ...{ ratePerSecond: 0, lockout: { tries: 1000, windowMs: 60_000 }, oidc: undefined },
      ...{ approval: { publish: false, credit: new Map(), keepMs: 3_600_000 }, ...settings },
    },
    metrics: { authenticated: () => undefined },
  })
  t.teardown(() => access.close())
  const money = joinMoney({
    ...{ store: store.store, partitions, clock: systemClock, accounts: store.accounts },
    catalog: () => changes.tariff?.() ?? catalog,
  })
  const paying = openPayments({
    config: {
      providers: [{ name: 'test', kind: 'test', currencies: undefined, methods: undefined }],
      patienceMs: 3_600_000,
    },
    ...{ store: store.store, partitions, accounts: store.accounts, money, timezone: () => catalog.timezone },
    ...{ clock: systemClock, now: () => Date.now(), hint: () => undefined, metrics: { payment: () => undefined } },
  })
  const vouchers = openVouchers(store.store, systemClock, { catalog: () => catalog })
  const services: AdminServices = {
    accounts: store.accounts,
    payments: paying.payments,
    automaticRecharges: paying.automatic,
    pseudonym: identity => `p-${identity.length}`,
    forgetOld: () => Promise.resolve(),
    voucherBatches: vouchers.batches,
    voucherRedemption: vouchers.redemption,
    recharges: money.recharges,
    adjustments: money.adjustments,
    transfers: money.transfers,
    subscriptions: new Subscriptions({
      store: new SubscriptionStore(store.store, partitions),
      accounts: store.accounts,
      catalog: () => catalog,
      clock: systemClock,
      offset: () => 0,
      metrics: { renewal: () => undefined },
      stuck: () => undefined,
    }),
    jobs: {
      page: (after, limit, wanted) => new DueLists(store.store, systemClock).page(partitions, after, limit, wanted),
      stuck: () => [],
      due: member =>
        new DueLists(store.store, systemClock).at(partitionOf(member.split(' ')[1] ?? '', partitions), member),
      run: () => Promise.resolve('done'),
    },
    newBuckets: (offer, now, currency) =>
      offer === 'bundle-5gb' ? [bucket(now)] : newBuckets(catalog, offer, now, currency),
    reports: new LedgerReports({ directories: [], timezone: () => catalog.timezone }),
    localDay: daysAgo => localDay(catalog.timezone, Date.now(), daysAgo),
    tariff: () => catalog,
    priceProblem: (_, price) => (price === 1n ? 'it would not be exact' : undefined),
    limitIn: (counter, currency) => limitIn(catalog, counter, currency, Date.now()),
    localTime: text => localInstant(text, catalog.timezone),
    catalog: () => ({
      version: '3f2a',
      currency: 'EUR',
      exchanged: ['GBP', 'JPY'],
      offers: [
        { name: 'bundle-5gb', rank: 10, buckets: ['data-5gb'] },
        { name: 'payg', rank: 100, buckets: [] },
      ],
    }),
    reload: () => Promise.resolve({ status: 'loaded', version: '4b5c', warnings: [] }),
    check: () => Promise.resolve({ status: 'loaded', version: '4b5c', warnings: ['offers.yaml:1:1: dear'] }),
    diff: () => Promise.resolve({ status: 'refused', version: '3f2a', faults: ['offers.yaml:1:1: wrong'] }),
    rate: () => Promise.resolve({ status: 'no_account' }),
    history: {
      ledger: () => Promise.resolve(undefined),
      timeline: () => Promise.resolve(undefined),
      latest: () => Promise.resolve({ refusal: null, recharge: null, notification: null, looked: 0 }),
    },
    publishing: {
      publish: () => Promise.resolve({ status: 'unchanged', version: '3f2a', warnings: [] }),
      rollback: ({ version }) => Promise.resolve({ status: 'unknown_version', version }),
      versions: () => Promise.resolve([]),
      version: () => Promise.resolve(undefined),
    },
    historyKinds: { ledger: ['charge'], timeline: ['session'] },
    notifications: aNotifications(t, store.store),
    eventTypes: () => ({ types: eventTypeNames.map(type => ({ type, ...rowOf(type) })), schema: eventSchema() }),
    explain: () => Promise.resolve({ explanations: [], searched: { journal: 0, files: 0, all: true } }),
    audit: () => Promise.resolve({ accounts: 2, entries: 7, violations: [] }),
    peers: () => ({
      rows: [{ name: 'loopback', identity: '*', realm: '*', from: ['127.0.0.0/8'], relay: false }],
      connected: [aConnectedPeer],
      absent: [],
      strangers: [],
      dialled: [],
    }),
    closePeer: () => false,
    callPeer: () => false,
    startTrace: () => ({ status: 'too_many' }),
    showMessage: () => {
      throw new Error('nothing is traced here')
    },
    lifeCycles: {
      setEnd: () => Promise.resolve({ status: 'no_life' }),
      terminate: () => Promise.resolve({ status: 'no_account' }),
    },
    businessClock: {
      ahead: () => undefined,
      move: () => Promise.reject(new Error('the clock is real')),
      settle: () => Promise.resolve(0),
    },
    sessionCommands: {
      one: () => Promise.resolve({ status: 'asked', result: '2002' }),
      account: () => Promise.resolve(),
      all: () => Promise.resolve(0),
      audit: () => undefined,
    },
    status: () => ({
      version: '0.1.0',
      started: Date.UTC(2026, 0, 15),
      identity: 'ocs.localdomain',
      realm: 'localdomain',
      diameter: ['127.0.0.1:3868'],
      store: 'embedded',
      durability: 'disk',
      catalog: '3f2a',
      ready: true,
      reasons: [],
      spool: { entries: 0, oldestSeconds: 0, trouble: undefined },
    }),
    recharged: (channel, result) => recharged.push(`${channel} ${result}`),
    ...access.services,
    subscribers,
    accountList: new RedisAccountList(store.store, partitions, store.accounts),
    fsck: new RedisFsck(store.store, partitions, subscribers),
    keptAnswers: new RedisKeptAnswers(store.store, 7 * 24 * 3_600_000),
    ...changes,
  }
  const api = await startAdminApi({
    listen: { host: '127.0.0.1', port: 0 },
    version: '0.1.0',
    services,
    log: pino({ level: 'error' }, { write: line => errors.push(line) }),
    clock: systemClock,
  })
  t.teardown(() => api.close())
  const url = `http://127.0.0.1:${api.port}`
  return {
    api,
    services,
    auditFolder: folder,
    errors,
    url,
    store,
    recharged,
    request: async (method, path, body, headers = {}) => {
      const response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...(method === 'POST' && { 'idempotency-key': randomUUID() }),
          ...headers,
        },
        ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      const text = await response.text()
      // Exports are no JSON.
      const isJson = /json$/.test((response.headers.get('content-type') ?? '').split(';')[0]!)
      const read =
        isJson && !response.headers.get('content-type')!.includes('ndjson')
          ? (JSON.parse(text) as Reply['body'])
          : { text }
      return { status: response.status, headers: response.headers, body: read }
    },
  }
}
