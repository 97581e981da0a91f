/** Joins what moves money from outside, by hand and between accounts; daemon.ts hands it the store and the catalog in use. */
import { Adjustments } from '../balance/adjustments.js'
import { Credits } from '../balance/credits.js'
import type { Store } from '../balance/store.js'
import { TransferStore } from '../balance/transfers.js'
import type { Accounts } from '../balance/types.js'
import type { Clock } from '../clock.js'
import type { Catalog } from '../rating/catalog.js'
import { Recharges } from './recharges.js'
import { Transfers } from './transfers.js'

export interface MoneyOptions {
  readonly store: Store
  readonly partitions: number
  /** Business time. */
  readonly clock: Clock
  readonly accounts: Pick<Accounts, 'show'>
  /** In use now. */
  readonly catalog: () => Catalog
  /** Told of what a script left in the due list for open sessions, like `reauth alice`. */
  readonly asked?: (member: string) => void
  /** Awaited before a recharge of an account: its life cycle is made known to the store. */
  readonly beforeRecharge?: (account: string) => Promise<void>
}

export interface Money {
  readonly credits: Credits
  readonly recharges: Recharges
  readonly adjustments: Adjustments
  readonly transfers: Transfers
}

export function joinMoney({ store, partitions, clock, accounts, catalog, asked, beforeRecharge }: MoneyOptions): Money {
  const credits = new Credits(store, partitions, clock, undefined, asked, beforeRecharge)
  const transferStore = new TransferStore(store, partitions, clock, undefined, asked)
  return {
    credits,
    recharges: new Recharges({ accounts, credits, catalog, clock }),
    adjustments: new Adjustments(store, partitions, clock, undefined, asked),
    transfers: new Transfers({ accounts, store: transferStore, credits, catalog, clock }),
  }
}
