/** A process of its own that renews whatever is due on a Redis socket, for tests that kill it. */
import { pathToFileURL } from 'node:url'
import { pino } from 'pino'
import { RedisAccounts } from '../../src/balance/accounts.js'
import { DueLists } from '../../src/balance/due.js'
import { Store } from '../../src/balance/store.js'
import { SubscriptionStore } from '../../src/balance/subscriptions.js'
import { systemClock } from '../../src/clock.js'
import type { Catalog } from '../../src/rating/catalog.js'
import { readCatalog } from '../../src/rating/load.js'
import { Subscriptions } from '../../src/subscription/subscriptions.js'
import { chargingConfig, noMetrics, partitions } from './store.js'

export function killCatalog(): Catalog {
  const text = `
currency: EUR
services: { data: { context: 32251@3gpp.org, unit: octets } }
rates: { payg: { unit: octets, price: '0.01', per: 1MB, step: 1MB } }
offers:
  daily:
    fee: { amount: '1.00', every: 1d }
    grants: [{ bucket: data, amount: 1GB, for: data, expires: period }]
    rules: [{ service: data, use: [data, payg] }]`
  const outcome = readCatalog([{ file: 'catalog.yaml', text }])
  if ('faults' in outcome) throw new Error(JSON.stringify(outcome.faults.map(({ message }) => message)))
  return outcome.catalog
}

async function renew(socket: string): Promise<void> {
  const store = new Store({
    config: { kind: 'embedded', durability: 'memory', partitions },
    ...{ address: { socket }, log: pino({ level: 'silent' }), metrics: noMetrics, clock: systemClock },
  })
  await store.open(5000)
  const catalog = killCatalog()
  const subscriptions = new Subscriptions({
    store: new SubscriptionStore(store, partitions),
    accounts: new RedisAccounts(store, partitions, chargingConfig, systemClock),
    ...{ catalog: () => catalog, clock: systemClock, offset: () => 0 },
    ...{ metrics: { renewal: () => undefined }, stuck: () => undefined },
  })
  const job = subscriptions.jobs().get('renew')!
  const due = new DueLists(store, systemClock)
  for (;;) {
    const { items } = await due.page(partitions, undefined, 100, member => member.startsWith('renew '))
    const now = items.filter(({ at }) => at <= Date.now())
    if (now.length === 0) process.exit(0)
    await Promise.all(now.map(({ partition, member }) => job(partition, member)))
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await renew(process.argv[2]!)
