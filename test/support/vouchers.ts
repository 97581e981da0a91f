/** Vouchers over a real store: batches, redemption, a catalog with an offer to give away, and a clock that is put forward. */
import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { Credits } from '../../src/balance/credits.js'
import { RedisAccounts } from '../../src/balance/accounts.js'
import type { Store } from '../../src/balance/store.js'
import type { GuessLimits } from '../../src/balance/vouchers.js'
import { VoucherStore } from '../../src/balance/vouchers.js'
import type { Clock } from '../../src/clock.js'
import type { Catalog } from '../../src/rating/catalog.js'
import { readCatalog } from '../../src/rating/load.js'
import { VoucherBatches, type BatchTerms } from '../../src/recharge/voucher-batches.js'
import { voucherKey } from '../../src/recharge/voucher-key.js'
import { VoucherRedemption, type RedeemOutcome, type RedeemRequest } from '../../src/recharge/voucher-redemption.js'
import { micros } from '../../src/units.js'
import type { LogLine } from './diameter-server.js'
import { chargingConfig, partitions } from './store.js'

export interface TestVouchers {
  readonly store: VoucherStore
  readonly accounts: RedisAccounts
  readonly batches: VoucherBatches
  readonly redemption: VoucherRedemption
  readonly log: LogLine[]
  /** What was counted: `redeemed`, `locked account`. */
  readonly counted: string[]
  /** Redeems for an account, as `portal` by `tester`. */
  redeem(account: string, code: string, more?: Partial<RedeemRequest>): Promise<RedeemOutcome>
  /** A batch that was made by `maker`, exported, and activated by `checker`, with its codes. */
  active(terms?: Partial<BatchTerms>): Promise<{ readonly id: string; readonly codes: readonly string[] }>
}

export const someLimits: GuessLimits = {
  account: 5,
  principal: 100_000,
  outlet: 50,
  windowMs: 900_000,
  lockMs: 3_600_000,
}

/** All daemons of a store have the same. */
export const secret = 'the-secret-of-all-vouchers-in-tests'

const tariff = `
currency: EUR
timezone: Europe/Berlin
services:
  data: { context: 32251@3gpp.org, unit: octets, quota: { size: 10MB, min: 100kB, max: 100MB, validity: 1h } }
rates:
  data-payg: { unit: octets, price: '0.01', per: 1MB, step: 100kB }
offers:
  payg: { rank: 100, rules: [{ service: data, use: [data-payg] }] }
  gift:
    rank: 40
    grants: [{ bucket: data-gift, amount: 1GB, for: [data], expires: 30d }]
    rules: [{ service: data, use: [data-gift, data-payg] }]
`

export function aCatalog(): Catalog {
  const outcome = readCatalog([{ file: 'catalog.yaml', text: tariff }])
  if ('faults' in outcome) throw new Error(JSON.stringify(outcome.faults))
  return outcome.catalog
}

export const someTerms: BatchTerms = {
  name: 'test',
  count: 10,
  amount: micros(5_000_000n),
  currency: 'EUR',
  offer: undefined,
  ends: undefined,
  digits: 14,
}

export function openVouchers(
  connection: Store,
  clock: Clock,
  changes: {
    readonly lockout?: Partial<GuessLimits>
    readonly dualControl?: boolean
    readonly secrets?: readonly string[]
    readonly catalog?: () => Catalog
    readonly notSold?: (offer: string) => string | undefined
  } = {},
): TestVouchers {
  const { dualControl = false, secrets = [secret] } = changes
  const keys = secrets.map(voucherKey)
  const store = new VoucherStore(connection, partitions, clock)
  const accounts = new RedisAccounts(connection, partitions, chargingConfig, clock)
  const capacity = 100_000
  const batches = new VoucherBatches({ store, keys, dualControl, capacity, clock })
  const log: LogLine[] = []
  const counted: string[] = []
  const catalog = aCatalog()
  const redemption = new VoucherRedemption({
    ...{ store, batches, accounts, keys, capacity, clock },
    credits: new Credits(connection, partitions, clock),
    lockout: { ...someLimits, ...changes.lockout },
    catalog: changes.catalog ?? (() => catalog),
    notSold: changes.notSold ?? (() => undefined),
    metrics: {
      redemption: result => counted.push(result),
      locked: kind => counted.push(`locked ${kind}`),
    },
    log: pino({ level: 'info' }, { write: line => void log.push(JSON.parse(line) as LogLine) }),
  })
  return {
    ...{ store, accounts, batches, redemption, log, counted },
    redeem: (account, code, more = {}) =>
      redemption.redeem({
        ...{ account, code, subscriber: '0', channel: 'portal', outlet: undefined },
        ...{ actor: 'tester', principal: 'tester', ...more },
      }),
    active: async (terms = {}) => {
      const made = await batches.create({ ...someTerms, ...terms }, 'maker', randomUUID())
      if (made.status === 'other_key') throw new Error('another key')
      const { id } = made.batch
      const codes = await printed(batches, id)
      const activated = await batches.activate(id, 'checker')
      if (activated.status !== 'done') throw new Error(activated.status)
      return { id, codes }
    },
  }
}

/** All codes of a batch, exported. */
export async function printed(batches: VoucherBatches, id: string, by = 'printer'): Promise<string[]> {
  const outcome = await batches.export(id, by)
  if (outcome.status !== 'started') throw new Error(outcome.status)
  let text = ''
  for await (const lines of outcome.lines) text += lines
  return text
    .trim()
    .split('\n')
    .slice(1)
    .map(line => line.split(',')[1]!)
}

/** A subscriber's account in EUR. */
export async function anAccount(accounts: RedisAccounts, id: string, currency = 'EUR'): Promise<void> {
  const terms = { id, currency, creditLimit: micros(0n), status: 'active' as const }
  await accounts.create(terms, undefined, micros(0n), 'admin')
}
