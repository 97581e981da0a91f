/** Joins payments and automatic recharges; daemon.ts hands it the store, and the providers of the configuration. */
import { AutomaticRecharges as AutomaticStore, Payments as PaymentStore } from '../balance/payments.js'
import type { Store } from '../balance/store.js'
import type { Accounts } from '../balance/types.js'
import type { Clock } from '../clock.js'
import type { PaymentsConfig } from '../config/config.js'
import type { Millis } from '../units.js'
import { AutomaticRecharging, type Automatic } from './automatic.js'
import { FallingMoney } from './falling-money.js'
import { HttpProvider } from './http-provider.js'
import type { Money } from './money.js'
import { Payments, type Payment, type PaymentMetrics } from './payments.js'
import { TestProvider } from './test-provider.js'

export interface PaymentParts {
  readonly payments: Payments
  readonly automatic: AutomaticRecharging
  /** For a consumer of the journal. */
  readonly falling: FallingMoney
  readonly jobs: ReadonlyMap<string, (partition: number, member: string) => Promise<'done' | 'stuck'>>
}

export function openPayments(options: {
  readonly config: PaymentsConfig
  readonly store: Store
  readonly partitions: number
  readonly accounts: Pick<Accounts, 'show'>
  readonly money: Pick<Money, 'recharges' | 'adjustments'>
  readonly timezone: () => string
  /** Business time. */
  readonly clock: Clock
  /** The machine's time. */
  readonly now: () => Millis
  readonly hint: (account: string, at: Millis) => void
  readonly metrics: PaymentMetrics
}): PaymentParts {
  const { config, store, partitions, accounts, money, timezone, clock, now, hint, metrics } = options
  const payments = new Payments({
    store: new PaymentStore<Payment>(store, partitions, hint),
    providers: config.providers.map(each =>
      each.kind === 'test' ? new TestProvider(each.name) : new HttpProvider(each, now),
    ),
    recharges: money.recharges,
    adjustments: money.adjustments,
    ...{ clock, patienceMs: config.patienceMs, metrics },
  })
  const automatic = new AutomaticRecharging({
    store: new AutomaticStore<Automatic>(store, partitions, clock, hint),
    ...{ accounts, payments, timezone, clock },
  })
  return {
    payments,
    automatic,
    falling: new FallingMoney((partition, fallen) => automatic.fell(partition, fallen)),
    jobs: new Map([
      ['payment', (_: number, member: string) => payments.due(member)],
      ['auto', (_: number, member: string) => automatic.due(member)],
    ]),
  }
}
