/**
 * A recharge that a payment provider takes the money for, step by step (semantics.md section 10; scope: intent, confirm, refund):
 *
 *     created → pending → confirmed → credited           the money is in the account
 *                    ↘ declined, expired                 nothing was taken
 *               confirmed → returning → returned         the account could not take it: the provider gives it back
 *
 * How far it has come is written before and after each step, the provider knows it by our id, and the account's credit by its reference,
 * so a step that is done twice is done once. What a dead daemon leaves the sweeper of its partition finds in the due list.
 */
import { createHash } from 'node:crypto'
import type { Adjustments } from '../balance/adjustments.js'
import type { Payments as PaymentStore } from '../balance/payments.js'
import type { Clock } from '../clock.js'
import { micros, type Micros, type Millis } from '../units.js'
import {
  PaymentUnavailableError,
  type PaymentNotice,
  type PaymentProvider,
  type PaymentState,
} from './payment-provider.js'
import type { Recharges } from './recharges.js'

export interface Payment {
  /** A UUID; the reference of the recharge. */
  readonly id: string
  readonly account: string
  /** Micros, in digits. */
  readonly amount: string
  readonly currency: string
  readonly channel: string
  readonly method?: string
  readonly outlet?: string
  readonly returnUrl?: string
  readonly mandate?: string
  readonly actor: string
  /** Asked now; those before it surely did not take it. */
  readonly provider: string
  readonly passed: readonly string[]
  /** `stuck`: taken, not credited, and the provider does not give it back: for people. */
  readonly state:
    'created' | 'pending' | 'confirmed' | 'credited' | 'declined' | 'expired' | 'returning' | 'returned' | 'stuck'
  readonly providerReference?: string
  /** Where the subscriber pays. */
  readonly redirect?: string
  readonly why?: string
  readonly at: Millis
  /** When what is still pending is given up. */
  readonly expires: Millis
  /** How often a step failed, for the time of the next try. */
  readonly tries: number
  readonly refunds: readonly Refund[]
}

export interface Refund {
  readonly id: string
  readonly amount: string
  readonly reason: string
  readonly actor: string
  /** `asked`: nothing is done yet. `debited`: it has left the account. `refused`: the account has not so much. `kept`: declined, and back in the account. */
  readonly state: 'asked' | 'debited' | 'refunded' | 'refused' | 'declined' | 'kept'
}

export interface NewPayment {
  readonly id: string
  readonly account: string
  readonly amount: Micros
  readonly currency: string
  readonly channel: string
  readonly method?: string | undefined
  readonly outlet?: string | undefined
  readonly returnUrl?: string | undefined
  readonly mandate?: string | undefined
  /** Undefined: the first that takes this currency and method. */
  readonly provider?: string | undefined
  readonly actor: string
}

/** What is counted; telemetry implements it. */
export interface PaymentMetrics {
  payment(provider: string, state: Payment['state']): void
}

export interface PaymentsOptions {
  readonly store: PaymentStore<Payment>
  /** In the order in which they are asked. */
  readonly providers: readonly PaymentProvider[]
  readonly recharges: Pick<Recharges, 'recharge'>
  readonly adjustments: Pick<Adjustments, 'adjust'>
  /** Business time. */
  readonly clock: Clock
  /** A pending payment is given up after so long. */
  readonly patienceMs: number
  readonly metrics: PaymentMetrics
}

export type BeginOutcome =
  | { readonly status: 'begun'; readonly payment: Payment }
  /** No provider takes this currency, or this method. */
  | { readonly status: 'no_provider' }
  /** The id stands for another payment. */
  | { readonly status: 'taken' }

const pausesMs = [5_000, 30_000, 120_000, 600_000, 3_600_000] as const
const mostSteps = 20
const over: ReadonlySet<Payment['state']> = new Set(['credited', 'declined', 'expired', 'returned', 'stuck'])
const refundOver: ReadonlySet<Refund['state']> = new Set(['refunded', 'refused', 'kept'])

export class Payments {
  private readonly providers: ReadonlyMap<string, PaymentProvider>

  constructor(private readonly options: PaymentsOptions) {
    this.providers = new Map(options.providers.map(provider => [provider.name, provider]))
  }

  /** Begins it, and takes it as far as it goes now. Safe to repeat with the same id. @throws BalanceUnavailableError */
  async begin(wanted: NewPayment): Promise<BeginOutcome> {
    const { store, clock, patienceMs } = this.options
    const { id, account, amount, currency, channel, actor, provider: named, ...more } = wanted
    const known = await store.get(account, id)
    if (known) {
      const same = known.amount === String(amount) && known.currency === currency
      return same ? { status: 'begun', payment: await this.further(known) } : { status: 'taken' }
    }
    const [provider] = this.fitting(currency, more.method, named)
    if (!provider) return { status: 'no_provider' }
    await store.note(account, id)
    const at = clock.now()
    const payment: Payment = {
      ...{ id, account, amount: String(amount), currency, channel, actor },
      ...(Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined)) as typeof more & object),
      ...{ provider: provider.name, passed: [], state: 'created', at, expires: at + patienceMs, tries: 0, refunds: [] },
    } as Payment
    // Somebody else has begun it in this moment: go on with theirs.
    if (!(await store.put(undefined, payment, at + pausesMs[0]))) return this.begin(wanted)
    this.options.metrics.payment(provider.name, 'created')
    return { status: 'begun', payment: await this.further(payment) }
  }

  get(account: string, id: string): Promise<Payment | undefined> {
    return this.options.store.get(account, id)
  }

  /** The provider that signs for a notice; undefined: there is none of this name. */
  provider(name: string): PaymentProvider | undefined {
    return this.providers.get(name)
  }

  /** A provider tells what became of one. @returns undefined: there is no such payment with it */
  async noticed(provider: string, { id, state }: PaymentNotice): Promise<Payment | undefined> {
    const { store } = this.options
    const account = await store.accountOf(id)
    const payment = account === undefined ? undefined : await store.get(account, id)
    if (payment?.provider !== provider) return undefined
    const told = this.told(payment, state)
    return told === payment ? payment : this.further(payment, told)
  }

  /** Gives money of a credited payment back. Safe to repeat with the same refund id. */
  async refund(
    account: string,
    id: string,
    refund: Pick<Refund, 'id' | 'amount' | 'reason' | 'actor'>,
  ): Promise<
    | { readonly status: 'not_credited' | 'too_much' | 'no_payment' }
    | { readonly status: 'done'; readonly refund: Refund }
  > {
    const payment = await this.options.store.get(account, id)
    if (!payment) return { status: 'no_payment' }
    const known = payment.refunds.find(each => each.id === refund.id)
    if (known && refundOver.has(known.state)) return { status: 'done', refund: known }
    if (!known) {
      if (payment.state !== 'credited') return { status: 'not_credited' }
      const given = payment.refunds.filter(({ state }) => state !== 'refused' && state !== 'kept')
      const sum = given.reduce((all, { amount }) => all + BigInt(amount), BigInt(refund.amount))
      if (sum > BigInt(payment.amount)) return { status: 'too_much' }
    }
    const asked: Payment = known
      ? payment
      : { ...payment, refunds: [...payment.refunds, { ...refund, state: 'asked' }], tries: 0 }
    const after = await this.further(payment, asked)
    return { status: 'done', refund: after.refunds.find(each => each.id === refund.id)! }
  }

  /** A member of the due list: takes it further. */
  async due(member: string): Promise<'done' | 'stuck'> {
    const [, account, id] = member.split(' ') as [string, string, string]
    const payment = await this.options.store.get(account, id)
    if (!payment) await this.options.store.forget(account, id)
    else await this.further(payment)
    return 'done'
  }

  private fitting(currency: string, method: string | undefined, named?: string): PaymentProvider[] {
    return this.options.providers.filter(
      provider =>
        (named === undefined || provider.name === named) &&
        (provider.currencies?.has(currency) ?? true) &&
        (method === undefined || (provider.methods?.has(method) ?? true)),
    )
  }

  /**
   * Step by step until it waits for somebody. What is not known stays as it is, and is looked at again later.
   *
   * @param next its first step, when it is known already
   */
  private async further(from: Payment, next?: Payment): Promise<Payment> {
    const { store, clock, metrics } = this.options
    let payment = from
    for (let steps = 0; steps < mostSteps; steps++) {
      const after = next ?? (await this.step(payment))
      next = undefined
      const { state, refunds, provider } = payment
      const moved = after.state !== state || after.refunds !== refunds || after.provider !== provider
      const kept = moved ? after : { ...after, tries: payment.tries + 1 }
      const done = over.has(kept.state) && kept.refunds.every(refund => refundOver.has(refund.state))
      const pause = pausesMs[Math.min(kept.tries, pausesMs.length - 1)]!
      if (await store.put(payment, kept, done ? undefined : clock.now() + pause)) {
        if (kept.state !== state) metrics.payment(kept.provider, kept.state)
        if (done || !moved) return kept
        payment = kept
      } else {
        // Another daemon, or a notice, was faster: theirs counts.
        const theirs = await store.get(payment.account, payment.id)
        if (!theirs || over.has(theirs.state)) return theirs ?? payment
        payment = theirs
      }
    }
    return payment
  }

  /** One step: the same payment again when it has to wait. */
  private async step(payment: Payment): Promise<Payment> {
    try {
      switch (payment.state) {
        case 'created':
          return await this.ask(payment)
        case 'pending':
          return await this.look(payment)
        case 'confirmed':
          return await this.credit(payment)
        case 'returning':
          return await this.giveBack(payment)
        default:
          return await this.refundStep(payment)
      }
    } catch (error) {
      if (error instanceof PaymentUnavailableError) return this.unavailable(payment, error)
      throw error
    }
  }

  /** Another provider may be asked only when this one surely has not taken it. */
  private unavailable(payment: Payment, error: PaymentUnavailableError): Payment {
    const tried = { ...payment, why: error.message }
    if (payment.state !== 'created' || !error.before || payment.tries > 0) return tried
    const others = this.fitting(payment.currency, payment.method).filter(
      ({ name }) => name !== payment.provider && !payment.passed.includes(name),
    )
    const [other] = payment.mandate === undefined ? others : []
    return other ? { ...payment, provider: other.name, passed: [...payment.passed, payment.provider] } : tried
  }

  private async ask(payment: Payment): Promise<Payment> {
    const provider = this.providers.get(payment.provider)
    if (!provider) return payment
    const { id, currency, method, returnUrl, mandate } = payment
    return this.told(
      payment,
      await provider.begin({ id, amount: amountOf(payment), currency, method, returnUrl, mandate }),
    )
  }

  private async look(payment: Payment): Promise<Payment> {
    const provider = this.providers.get(payment.provider)
    const state = await provider?.look(payment.id)
    if (state && state.status !== 'pending') return this.told(payment, state)
    return this.options.clock.now() >= payment.expires
      ? { ...payment, state: 'expired', why: 'it was not paid in time' }
      : payment
  }

  /** What a provider says never takes a payment back: only forward. What was given up and is paid after all is credited. */
  private told(payment: Payment, state: PaymentState): Payment {
    const open = payment.state === 'created' || payment.state === 'pending'
    switch (state.status) {
      case 'pending':
        if (payment.state !== 'created') return payment
        return {
          ...{ ...payment, state: 'pending', providerReference: state.providerReference, tries: 0 },
          ...(state.redirect !== undefined && { redirect: state.redirect }),
        }
      case 'confirmed':
        if (!open && payment.state !== 'expired' && payment.state !== 'declined') return payment
        return { ...payment, state: 'confirmed', providerReference: state.providerReference, tries: 0 }
      case 'declined':
        return open ? { ...payment, state: 'declined', why: state.why, tries: 0 } : payment
    }
  }

  private async credit(payment: Payment): Promise<Payment> {
    const { id, account, currency, channel, method, outlet, actor, provider } = payment
    const outcome = await this.options.recharges.recharge({
      ...{ account, amount: amountOf(payment), currency, channel, reference: id, method, outlet, actor },
      cause: { intent: id, provider },
    })
    if (outcome.status === 'credited' || outcome.status === 'repeated')
      return { ...payment, state: 'credited', tries: 0 }
    return { ...payment, state: 'returning', why: `the account did not take it: ${outcome.status}`, tries: 0 }
  }

  private async giveBack(payment: Payment): Promise<Payment> {
    const provider = this.providers.get(payment.provider)
    if (!provider) return payment
    const outcome = await provider.refund(payment.id, `${payment.id}-back`, amountOf(payment), payment.currency)
    return { ...payment, state: outcome === 'refunded' ? 'returned' : 'stuck', tries: 0 }
  }

  /** The first refund that is not over. */
  private async refundStep(payment: Payment): Promise<Payment> {
    const i = payment.refunds.findIndex(({ state }) => !refundOver.has(state))
    const refund = payment.refunds[i]
    if (!refund) return payment
    const become = (state: Refund['state']): Payment => ({
      ...{ ...payment, tries: 0, refunds: payment.refunds.with(i, { ...refund, state }) },
    })
    const amount = BigInt(refund.amount)
    switch (refund.state) {
      case 'asked': {
        const outcome = await this.move(payment, refund, -amount, refund.id)
        return become(outcome.status === 'adjusted' || outcome.status === 'repeated' ? 'debited' : 'refused')
      }
      case 'debited': {
        const provider = this.providers.get(payment.provider)
        if (!provider) return payment
        return become(
          (await provider.refund(payment.id, refund.id, amount as Micros, payment.currency)) === 'refunded'
            ? 'refunded'
            : 'declined',
        )
      }
      default:
        await this.move(payment, refund, amount, `${refund.id}-kept`)
        return become('kept')
    }
  }

  private move(
    payment: Payment,
    { reason, actor }: Refund,
    amount: bigint,
    reference: string,
  ): ReturnType<Adjustments['adjust']> {
    const { account, currency, channel, method, outlet, id } = payment
    return this.options.adjustments.adjust({
      ...{ account, reference, target: { kind: 'main' }, unit: currency, amount, reason, actor, lowBalance: [] },
      as: { kind: 'recharge-refund', against: `source:${channel}`, members: { channel, method, outlet, intent: id } },
    })
  }
}

export const amountOf = ({ amount }: Pick<Payment, 'amount'>): Micros => micros(BigInt(amount))

/** A UUID that is the same whoever makes it. */
export function idOf(...words: readonly (string | number)[]): string {
  const hex = createHash('sha256').update(words.join('\n')).digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), `5${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  )
}
