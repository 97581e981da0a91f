/** Accounts with money and a catalog with rules of recharges and transfers, for the tests of what moves money. */
import type { Test } from 'tap'
import { systemClock, type Clock } from '../../src/clock.js'
import type { Store } from '../../src/balance/store.js'
import type { Catalog } from '../../src/rating/catalog.js'
import { readCatalog } from '../../src/rating/load.js'
import { joinMoney, type Money } from '../../src/recharge/money.js'
import { micros } from '../../src/units.js'
import { startStore, partitions, type TestStore } from './store.js'

export const plainTariff = `
currency: EUR
services: { data: { context: 32251@3gpp.org, unit: octets } }
rates: { payg: { unit: octets, price: '0.01', per: 1MB, step: 100kB } }
offers: { base: { rules: [{ service: data, use: [payg] }] } }
`

export function moneyCatalog(sections = ''): Catalog {
  const outcome = readCatalog([{ file: 'catalog.yaml', text: plainTariff + sections }])
  if ('faults' in outcome) throw new Error(outcome.faults.map(({ message }) => message).join('\n'))
  return outcome.catalog
}

export interface TestMoney extends TestStore, Money {
  /** With other parts over the same store: another daemon. */
  readonly over: (store: Store) => Money
  readonly has: (account: string) => Promise<{ readonly money: bigint; readonly debt: bigint }>
}

/** Accounts alice, bob and carol, with 10.00 EUR each. */
export async function startMoney(
  t: Test,
  { sections = '', clock = systemClock }: { sections?: string; clock?: Clock } = {},
): Promise<TestMoney> {
  const store = await startStore(t, { clock })
  const catalog = moneyCatalog(sections)
  const { accounts } = store
  for (const id of ['alice', 'bob', 'carol']) {
    const account = { id, currency: 'EUR', creditLimit: micros(0), status: 'active' as const }
    await accounts.create({ ...account, attributes: { segment: 'consumer' } }, undefined, micros(10_000_000), 'admin')
  }
  const over = (other: Store): Money => joinMoney({ store: other, partitions, clock, accounts, catalog: () => catalog })
  return {
    ...store,
    ...over(store.store),
    over,
    has: async id => {
      const { money, debt } = (await accounts.show(id))!
      return { money, debt }
    },
  }
}

/** Members of the due lists that begin so. */
export async function dueMembers({ redis }: Pick<TestStore['store'], 'redis'>, word: string): Promise<string[]> {
  const lists = await Promise.all(
    Array.from({ length: partitions }, (_, p) => redis.zrange(`ocs:{${p}}:due`, '0', '-1')),
  )
  return lists.flat().filter(member => member.startsWith(`${word} `))
}

/** Entries of an account from the streams, oldest first. */
export async function entriesOf(
  { redis }: Pick<TestStore['store'], 'redis'>,
  account: string,
): Promise<Readonly<Record<string, unknown>>[]> {
  const streams = await Promise.all(
    Array.from({ length: partitions }, (_, p) => redis.xrange(`ocs:{${p}}:journal`, '-', '+')),
  )
  return streams
    .flat()
    .map(([, fields]) => JSON.parse(fields[1]!) as Readonly<Record<string, unknown>>)
    .filter(entry => entry['account'] === account)
}
