/**
 * What ocsd asks of whoever takes a subscriber's money: begin a payment, say what became of it, give it back. No card data passes here:
 * the provider shows its own page, or knows the means of payment under a mandate.
 *
 * Every call names the payment by our id and may be repeated: a provider does each thing once for each id.
 */
import type { Micros } from '../units.js'

export interface PaymentOrder {
  /** Ours, a UUID: the provider's idempotency key. */
  readonly id: string
  readonly amount: Micros
  readonly currency: string
  /** card, wallet …: what the subscriber chose. */
  readonly method?: string | undefined
  /** Where the provider sends the subscriber when it is done. */
  readonly returnUrl?: string | undefined
  /** The provider's name for means of payment that the subscriber agreed to: nobody needs to be asked. */
  readonly mandate?: string | undefined
}

/**
 * `pending`: the subscriber pays at `redirect`, or the bank has not answered. `declined`: it will not be paid, and nothing was taken.
 */
export type PaymentState =
  | { readonly status: 'pending'; readonly providerReference: string; readonly redirect?: string | undefined }
  | { readonly status: 'confirmed'; readonly providerReference: string }
  | { readonly status: 'declined'; readonly why: string }

/** What a provider tells by itself, its signature checked. */
export interface PaymentNotice {
  /** Our id. */
  readonly id: string
  readonly state: PaymentState
}

/**
 * It could not be asked, or did not answer. `before`: it surely has not taken the order, so another provider may be asked; else what
 * became of it is not known until it answers.
 */
export class PaymentUnavailableError extends Error {
  override readonly name = 'PaymentUnavailableError'

  constructor(
    message: string,
    readonly before: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** All calls throw PaymentUnavailableError. */
export interface PaymentProvider {
  readonly name: string
  /** Undefined: any. */
  readonly currencies: ReadonlySet<string> | undefined
  readonly methods: ReadonlySet<string> | undefined
  begin(order: PaymentOrder): Promise<PaymentState>
  /** Undefined: it has never heard of it. */
  look(id: string): Promise<PaymentState | undefined>
  /** @param refund our id of it. Declined: nothing was given back. */
  refund(id: string, refund: string, amount: Micros, currency: string): Promise<'refunded' | 'declined'>
  /** What a signed call of the provider says; undefined: the signature is wrong, or too old. */
  notice(body: string, headers: Readonly<Record<string, string | undefined>>): PaymentNotice | undefined
}
