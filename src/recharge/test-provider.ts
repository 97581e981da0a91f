/**
 * A provider that takes no real money, for trying things out and for tests: amounts that end in .01 are declined, in .02 stay pending until
 * somebody confirms, in .03 begin only at the second try; all others are confirmed at once.
 */
import { formatMoney, type Micros } from '../units.js'
import {
  PaymentUnavailableError,
  type PaymentNotice,
  type PaymentOrder,
  type PaymentProvider,
  type PaymentState,
} from './payment-provider.js'

export class TestProvider implements PaymentProvider {
  readonly currencies = undefined
  readonly methods = undefined
  /** What it has taken, by our id: each once. */
  readonly taken = new Map<string, Micros>()
  readonly refunds = new Map<string, Micros>()
  private readonly orders = new Map<string, PaymentState>()
  private readonly failed = new Set<string>()

  constructor(readonly name: string) {}

  begin({ id, amount }: PaymentOrder): Promise<PaymentState> {
    const known = this.orders.get(id)
    if (known) return Promise.resolve(known)
    const cents = formatMoney(amount).slice(-3)
    if (cents === '.03' && !this.failed.has(id)) {
      this.failed.add(id)
      return Promise.reject(new PaymentUnavailableError(`provider ${this.name} did not answer`, false))
    }
    const state: PaymentState =
      cents === '.01'
        ? { status: 'declined', why: 'the test provider declines what ends in .01' }
        : cents === '.02'
          ? { status: 'pending', providerReference: `test-${id}` }
          : { status: 'confirmed', providerReference: `test-${id}` }
    this.orders.set(id, state)
    if (state.status === 'confirmed') this.taken.set(id, amount)
    return Promise.resolve(state)
  }

  /** The subscriber has paid what was pending. */
  confirm(id: string, amount: Micros): void {
    this.orders.set(id, { status: 'confirmed', providerReference: `test-${id}` })
    this.taken.set(id, amount)
  }

  look(id: string): Promise<PaymentState | undefined> {
    return Promise.resolve(this.orders.get(id))
  }

  refund(_id: string, refund: string, amount: Micros): Promise<'refunded' | 'declined'> {
    if (formatMoney(amount).endsWith('.01')) return Promise.resolve('declined')
    this.refunds.set(refund, amount)
    return Promise.resolve('refunded')
  }

  /** Nobody signs for it. */
  notice(): PaymentNotice | undefined {
    return undefined
  }
}
