/** Joins all that vouchers need; daemon.ts hands it the store, the catalog in use and what was configured. */
import type { Logger } from 'pino'
import type { Credits } from '../balance/credits.js'
import type { Store } from '../balance/store.js'
import type { Account, Accounts } from '../balance/types.js'
import { VoucherStore } from '../balance/vouchers.js'
import type { Clock } from '../clock.js'
import type { VoucherConfig } from '../config/config.js'
import type { Catalog } from '../rating/catalog.js'
import { VoucherBatches } from './voucher-batches.js'
import { readOrMakeVoucherKeys } from './voucher-key.js'
import { VoucherRedemption, type VoucherMetrics } from './voucher-redemption.js'

export interface VouchersOptions {
  readonly config: VoucherConfig
  readonly store: Store
  readonly partitions: number
  readonly accounts: Pick<Accounts, 'show' | 'subscribe'>
  readonly credits: Credits
  readonly catalog: () => Catalog
  /** Why an offer is not sold to this account now; undefined: it is. */
  readonly notSold: (offer: string, account: Account) => string | undefined
  /** Business time. */
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: VoucherMetrics
}

export interface Vouchers {
  readonly batches: VoucherBatches
  readonly redemption: VoucherRedemption
}

/** @throws Error when the key file is not what it should be */
export function joinVouchers(options: VouchersOptions): Vouchers {
  const { config, partitions, clock, ...rest } = options
  const { keyFile, dualControl, capacity, lockout } = config
  const keys = readOrMakeVoucherKeys(keyFile)
  const store = new VoucherStore(options.store, partitions, clock)
  const batches = new VoucherBatches({ store, keys, dualControl, capacity, clock })
  return { batches, redemption: new VoucherRedemption({ ...rest, store, batches, keys, capacity, lockout, clock }) }
}
