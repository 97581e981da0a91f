/** Subscriptions on a real Redis under a virtual clock, with a catalog of the test's own, and sweepers that do what is due. */
import type { Test } from 'tap'
import { DueLists } from '../../src/balance/due.js'
import { dueKey, journalKey, partitionOf } from '../../src/balance/keys.js'
import { SubscriptionStore } from '../../src/balance/subscriptions.js'
import type { Account } from '../../src/balance/types.js'
import { systemClock, VirtualClock } from '../../src/clock.js'
import { Expiry } from '../../src/charging/expiry.js'
import type { Catalog } from '../../src/rating/catalog.js'
import { readCatalog } from '../../src/rating/load.js'
import { Subscriptions, type RenewalResult } from '../../src/subscription/subscriptions.js'
import { micros, type Micros } from '../../src/units.js'
import { allPartitions, silent } from './ledger.js'
import { chargingConfig, openStore, partitions, startStore, type TestStore } from './store.js'

export interface SubscriptionScene extends TestStore {
  readonly clock: VirtualClock
  readonly subscriptions: Subscriptions
  readonly results: Record<RenewalResult, number>
  readonly catalog: Catalog
  sweeper(): Expiry
  /** Another sweeper with a connection and subscriptions of its own, as another daemon has. */
  otherDaemon(t: Test): Promise<Expiry>
  /** Moves the clock to a time, then does what is due. */
  to(time: number | string): Promise<void>
  create(id: string, money: Micros, creditLimit?: Micros): Promise<void>
  account(id: string): Promise<Account>
  entries(id: string): Promise<Entry[]>
  due(id: string): Promise<string[]>
}

export interface Entry {
  readonly kind: string
  readonly at: number
  readonly seq: number
  readonly posts: readonly (readonly [string, string, number, number?, number?])[]
  readonly events?: readonly (readonly [string, string, number])[]
  readonly [member: string]: unknown
}

export const utc = (text: string): number => Date.parse(text)

export function aCatalog(offers: string, timezone = 'Europe/Berlin'): Catalog {
  const text = `
currency: EUR
timezone: ${timezone}
services: { data: { context: 32251@3gpp.org, unit: octets } }
rates: { payg: { unit: octets, price: '0.01', per: 1MB, step: 1MB } }
exchange: { USD: { from: 2020-01-01, rate: '0.9' } }
offers:
${offers.replace(/^\n/, '')}`
  const outcome = readCatalog([{ file: 'catalog.yaml', text }])
  if ('faults' in outcome) throw new Error(outcome.faults.map(({ message, hint }) => `${message}; ${hint}`).join('\n'))
  return outcome.catalog
}

export async function aSubscriptionScene(t: Test, catalog: Catalog, start: number): Promise<SubscriptionScene> {
  const clock = new VirtualClock(start)
  const store = await startStore(t, { clock })
  const results: Record<RenewalResult, number> = { renewed: 0, failed: 0, waits: 0, stuck: 0 }
  const offset = (): number => clock.now() - Date.now()
  const subscriptionsOn = (on: SubscriptionStore): Subscriptions =>
    new Subscriptions({
      ...{ store: on, accounts: store.accounts, catalog: () => catalog, clock, offset },
      metrics: { renewal: result => results[result]++ },
      stuck: () => undefined,
    })
  const subscriptions = subscriptionsOn(new SubscriptionStore(store.store, partitions))
  const expiry = (due: DueLists, of: Subscriptions): Expiry =>
    new Expiry({
      ...{ due, partitions, leases: allPartitions, identities: store.identities, clock, log: silent, offset },
      keepSilentMs: chargingConfig.keepSilentMs,
      ask: () => Promise.resolve('stuck'),
      jobs: of.jobs(),
      metrics: {
        released: () => undefined,
        silent: () => undefined,
        bucketExpired: () => undefined,
        skew: () => t.fail('skew'),
        defect: () => t.fail('defect'),
      },
    })
  const sweeper = expiry(new DueLists(store.store, systemClock), subscriptions)
  const all = Array.from({ length: partitions }, (_, partition) => partition)
  return {
    ...store,
    ...{ clock, subscriptions, results, catalog },
    sweeper: () => expiry(new DueLists(store.store, systemClock), subscriptions),
    otherDaemon: async t => {
      const own = await openStore(t, store.redis)
      return expiry(new DueLists(own, systemClock), subscriptionsOn(new SubscriptionStore(own, partitions)))
    },
    to: async time => {
      const ms = typeof time === 'string' ? utc(time) : time
      clock.advance(ms - clock.now())
      await sweeper.sweep(all)
    },
    create: async (id, money, creditLimit = micros(0)) => {
      await store.accounts.create(
        { id, currency: 'EUR', creditLimit, status: 'active' },
        { identities: [{ type: 'nai', value: `${id}@test` }], offers: [] },
        money,
        'admin',
      )
    },
    account: async id => (await store.accounts.show(id))!,
    entries: async id => {
      const found = await store.store.redis.xrange(journalKey(partitionOf(id, partitions)), '-', '+')
      return found
        .map(([, fields]) => JSON.parse(fields[1]!) as Entry & { account: string })
        .filter(e => e.account === id)
    },
    due: async id => {
      const key = dueKey(partitionOf(id, partitions))
      const members = await store.store.redis.zrange(key, '0', '-1')
      return members.filter(member => member.split(' ')[1] === id)
    },
  }
}
