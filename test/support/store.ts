/**
 * A store on a real redis-server, with balances, accounts and identities over it, and a catalog of one's own programs.
 */
import { pino } from 'pino'
import type { Test } from 'tap'
import { RedisAccounts } from '../../src/balance/accounts.js'
import { Balance } from '../../src/balance/balance.js'
import { Identities } from '../../src/balance/identities.js'
import { Store, type StoreMetrics } from '../../src/balance/store.js'
import { systemClock, type Clock } from '../../src/clock.js'
import type { ChargingConfig } from '../../src/config/config.js'
import { startRedis, type TestRedis } from './redis.js'

export const partitions = 16

export const chargingConfig: ChargingConfig = {
  holdBudgetMs: 7000,
  spoolOctets: 67_108_864,
  silence: 2,
  defaultValidityMs: 3_600_000,
  keepClosedMs: 600_000,
  keepSilentMs: 86_400_000,
  keepMarkMs: 86_400_000,
  failureHandling: 'terminate',
  sessionFailover: true,
  directDebitingFailureHandling: 'terminate-or-buffer',
  refundWindowMs: 30 * 86_400_000,
  onSuspend: 'reauthorise',
}

export const noMetrics: StoreMetrics = {
  call: () => undefined,
  error: () => undefined,
  retry: () => undefined,
  up: () => undefined,
}

export interface TestStore {
  readonly redis: TestRedis
  readonly store: Store
  readonly balance: Balance
  readonly accounts: RedisAccounts
  readonly identities: Identities
}

export async function startStore(
  t: Test,
  options: { settings?: Record<string, string>; clock?: Clock } = {},
): Promise<TestStore> {
  const redis = await startRedis(t, options.settings)
  const clock = options.clock ?? systemClock
  const store = await openStore(t, redis)
  const balance = new Balance(store, partitions, chargingConfig, clock)
  return {
    redis,
    store,
    balance,
    accounts: new RedisAccounts(store, partitions, chargingConfig, clock),
    identities: new Identities(store, balance),
  }
}

/** Another connection to the same server. */
export async function openStore(t: Test, redis: TestRedis): Promise<Store> {
  const store = new Store({
    config: { kind: 'embedded', durability: 'memory', partitions },
    address: { socket: redis.socket },
    log: pino({ level: 'silent' }),
    metrics: noMetrics,
    clock: systemClock,
  })
  await store.open(5000)
  t.teardown(() => store.close())
  return store
}
