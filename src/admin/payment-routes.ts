/** Payments that a provider takes the money for, and automatic recharges under a mandate. No card data passes here. */
import {
  automaticChannel,
  mostFailures,
  scheduleUnits,
  type Automatic,
  type AutomaticTerms,
} from '../recharge/automatic.js'
import type { AutomaticRecharging } from '../recharge/automatic.js'
import { amountOf, idOf, type Payment, type Payments } from '../recharge/payments.js'
import { formatMoney, parseMoney } from '../units.js'
import { readIdempotencyKey } from './idempotency.js'
import { Problem } from './problem.js'
import {
  accountId,
  existing,
  moneyOf,
  object,
  ok,
  text,
  type Route,
  type RouteAnswer,
  type RouteRequest,
  type RouteServices,
  type Schema,
} from './route.js'
import { accountParams, actor, currency, money, reason } from './fields.js'

/** The daemon joins them with recharge/. */
export interface PaymentServices {
  readonly payments: Payments
  readonly automaticRecharges: AutomaticRecharging
}

const word = (description: string): Schema => text(description, { pattern: '^[A-Za-z0-9._-]{1,32}$' })
const method = word('card, wallet …')
const mandate = text('The provider’s name for means of payment that the subscriber agreed to', {
  pattern: '^[!-~]{1,128}$',
})
const paymentId = text('Id of a payment', { pattern: '^[0-9a-f-]{36}$' })
const paymentParams = object(['id', 'payment'], { id: accountId, payment: paymentId })

export const paymentRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/accounts/:id/payments',
    permission: 'recharge.write',
    idempotent: true,
    guarded: 'credit',
    summary: 'Begin a payment: when the provider has the money, the account is recharged by it, once.',
    params: accountParams,
    body: object(['amount', 'currency', 'channel'], {
      amount: money,
      currency,
      channel: word('Channel of the recharge, like portal or app'),
      method,
      outlet: word('Where it is paid'),
      provider: word('Of the configuration; the first that takes currency and method when absent'),
      returnUrl: text('Where the provider sends the subscriber back', { pattern: '^https?://[!-~]{1,1000}$' }),
      mandate,
      actor,
    }),
    answers: { 201: 'The payment, as far as it is now; pending: the subscriber pays at `redirect`' },
    problems: ['not-found', 'currency-differs', 'account-terminated', 'no-provider', 'reference-taken'],
    work: begin,
  },
  {
    method: 'GET',
    path: '/v1/accounts/:id/payments/:payment',
    permission: 'account.read',
    summary: 'How far a payment has come.',
    params: paymentParams,
    answers: { 200: 'The payment' },
    problems: ['not-found'],
    work: showPayment,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/payments/:payment/refunds',
    permission: 'adjustment.write',
    idempotent: true,
    guarded: 'credit',
    summary: 'Give money of a payment back: from the account’s free money, then by the provider.',
    params: paymentParams,
    body: object(['amount', 'reason'], { amount: money, reason, actor }),
    answers: { 201: 'The refund, as far as it is now' },
    problems: ['not-found', 'insufficient-funds', 'not-refundable'],
    work: refund,
  },
  {
    method: 'POST',
    path: '/v1/payments/notices/:provider',
    permission: 'recharge.write',
    signed: true,
    summary: 'For the provider: tells what became of a payment, signed with its secret (Ocs-Signature).',
    params: object(['provider'], { provider: word('Of the configuration') }),
    body: { type: 'object' },
    answers: { 200: 'It is known' },
    problems: ['not-found', 'signature-wrong'],
    work: notice,
  },
  {
    method: 'GET',
    path: '/v1/accounts/:id/automatic-recharge',
    permission: 'account.read',
    summary: 'What the subscriber agreed to be recharged by itself, and how it went.',
    params: accountParams,
    answers: { 200: 'The settings' },
    problems: ['not-found'],
    work: showAutomatic,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/automatic-recharge',
    permission: 'recharge.write',
    summary:
      'Recharge an account by itself: when its money falls to a level, or on a schedule. What went wrong before is forgotten.',
    params: accountParams,
    body: object(['mandate', 'dayMost'], {
      below: money,
      every: { type: 'string', enum: [...scheduleUnits], description: 'From now on each day, week or month' },
      amount: money,
      fillTo: money,
      min: money,
      max: money,
      dayMost: { ...money, description: 'Of a day in all' },
      provider: word('Of the configuration'),
      method,
      mandate,
      actor,
    }),
    answers: { 200: 'The settings' },
    problems: ['not-found', 'account-terminated'],
    work: setAutomatic,
  },
  {
    method: 'DELETE',
    path: '/v1/accounts/:id/automatic-recharge',
    permission: 'recharge.write',
    summary: 'No longer recharge it by itself; a payment that is under way ends by itself.',
    params: accountParams,
    answers: { 200: 'It is off' },
    problems: ['not-found'],
    work: stopAutomatic,
  },
]

async function showPayment({ params }: RouteRequest, { payments }: RouteServices): Promise<RouteAnswer> {
  const payment = await payments.get(params['id']!, params['payment']!)
  if (!payment) throw noPayment(params['payment']!)
  return ok(viewOfPayment(payment))
}

async function showAutomatic({ params }: RouteRequest, { automaticRecharges }: RouteServices): Promise<RouteAnswer> {
  const settings = await automaticRecharges.get(params['id']!)
  if (!settings) throw noAutomatic(params['id']!)
  return ok(viewOfAutomatic(settings))
}

async function stopAutomatic({ params }: RouteRequest, { automaticRecharges }: RouteServices): Promise<RouteAnswer> {
  const account = params['id']!
  if (!(await automaticRecharges.stop(account))) throw noAutomatic(account)
  return ok({ account, automatic: false })
}

const noAutomatic = (account: string): Problem =>
  new Problem('not-found', `account ${account} has no automatic recharge`)

interface BeginBody {
  readonly amount: string
  readonly currency: string
  readonly channel: string
  readonly method?: string
  readonly outlet?: string
  readonly provider?: string
  readonly returnUrl?: string
  readonly mandate?: string
}

async function begin(
  { params, body, headers, principal, actor: who }: RouteRequest,
  services: RouteServices,
): Promise<RouteAnswer> {
  const account = await existing(services.accounts, params['id']!)
  const { amount: written, currency, channel, method, outlet, provider, returnUrl, mandate } = body as BeginBody
  const terms = { currency, channel, method, outlet, provider, returnUrl, mandate }
  const amount = moneyOf(written)
  if (amount <= 0n) throw new Problem('invalid-request', 'amount must be more than 0')
  if (terms.currency !== account.currency)
    throw new Problem('currency-differs', `account ${account.id} has ${account.currency}, not ${terms.currency}`)
  if (account.status === 'terminated') throw new Problem('account-terminated', `account ${account.id} is terminated`)
  if (terms.channel === automaticChannel)
    throw new Problem('invalid-request', `channel ${automaticChannel} is for automatic recharges`)
  const id = idOf('payment', principal.id, readIdempotencyKey(headers))
  const outcome = await services.payments.begin({ id, account: account.id, amount, actor: who, ...terms })
  switch (outcome.status) {
    case 'no_provider':
      throw new Problem(
        'no-provider',
        `no payment provider of the configuration takes ${terms.currency} ${terms.method ?? ''}`.trimEnd(),
      )
    case 'taken':
      throw new Problem('reference-taken', 'this Idempotency-Key stands for another payment')
    case 'begun':
      return { status: 201, body: viewOfPayment(outcome.payment) }
  }
}

async function refund(
  { params, body, headers, principal, actor: who }: RouteRequest,
  { payments }: RouteServices,
): Promise<RouteAnswer> {
  const { amount: written, reason: why } = body as { amount: string; reason: string }
  const amount = moneyOf(written)
  if (amount <= 0n) throw new Problem('invalid-request', 'amount must be more than 0')
  const id = idOf('refund', principal.id, readIdempotencyKey(headers))
  const outcome = await payments.refund(params['id']!, params['payment']!, {
    id,
    amount: String(amount),
    reason: why,
    actor: who,
  })
  switch (outcome.status) {
    case 'no_payment':
      throw noPayment(params['payment']!)
    case 'not_credited':
      throw new Problem('not-refundable', 'the payment has not recharged the account, so there is nothing to give back')
    case 'too_much':
      throw new Problem('not-refundable', `${formatMoney(amount)} is more than what is left of the payment`)
    case 'done':
      if (outcome.refund.state === 'refused')
        throw new Problem('insufficient-funds', `the account has not ${formatMoney(amount)} of free money to give back`)
      return { status: 201, body: viewOfRefund(outcome.refund) }
  }
}

async function notice(
  { params, body, rawBody, headers }: RouteRequest,
  { payments }: RouteServices,
): Promise<RouteAnswer> {
  const name = params['provider']!
  const provider = payments.provider(name)
  if (!provider) throw new Problem('not-found', `the configuration has no payment provider ${name}`)
  const said = provider.notice(rawBody ?? JSON.stringify(body), headers)
  if (!said)
    throw new Problem(
      'signature-wrong',
      'Ocs-Signature is not that of this body and the provider’s secret, or is too old',
    )
  const payment = await payments.noticed(name, said)
  if (!payment) throw noPayment(said.id)
  return ok({ id: payment.id, state: payment.state })
}

async function setAutomatic({ params, body, actor: who }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const account = await existing(services.accounts, params['id']!)
  if (account.status === 'terminated') throw new Problem('account-terminated', `account ${account.id} is terminated`)
  const given = termsOf(body as AutomaticTerms)
  const { below, every, amount, fillTo } = given
  if (below === undefined && every === undefined) throw new Problem('invalid-request', 'give below, every, or both')
  if ((amount === undefined) === (fillTo === undefined)) throw new Problem('invalid-request', 'give amount or fillTo')
  const micros = (written: string): string => String(parseMoney(written))
  const moneys = ['below', 'amount', 'fillTo', 'min', 'max', 'dayMost'] as const
  const read = Object.fromEntries(
    moneys.flatMap(name => (given[name] === undefined ? [] : [[name, micros(given[name])]])),
  )
  if (below !== undefined && fillTo !== undefined && moneyOf(fillTo) <= moneyOf(below))
    throw new Problem('invalid-request', 'fillTo must be above below')
  if (given.min !== undefined && given.max !== undefined && moneyOf(given.min) > moneyOf(given.max))
    throw new Problem('invalid-request', 'min must not be above max')
  const settings = await services.automaticRecharges.set(account.id, { ...given, ...read }, who)
  return ok(viewOfAutomatic(settings))
}

/** Without who asks. */
function termsOf(terms: AutomaticTerms): AutomaticTerms {
  const { below, every, amount, fillTo, min, max, dayMost, provider, method: by, mandate: under } = terms
  return {
    ...(below !== undefined && { below }),
    ...(every !== undefined && { every }),
    ...(amount !== undefined && { amount }),
    ...(fillTo !== undefined && { fillTo }),
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
    ...(provider !== undefined && { provider }),
    ...(by !== undefined && { method: by }),
    ...{ dayMost, mandate: under },
  }
}

const noPayment = (id: string): Problem => new Problem('not-found', `there is no payment ${id}`)

function viewOfPayment(payment: Payment) {
  const {
    id,
    account,
    currency,
    channel,
    method: by,
    outlet,
    provider,
    passed,
    state,
    redirect,
    why,
    at,
    expires,
    refunds,
  } = payment
  return {
    ...{
      id,
      account,
      amount: formatMoney(amountOf(payment)),
      currency,
      channel,
      method: by ?? null,
      outlet: outlet ?? null,
    },
    ...{ provider, passed, state, redirect: redirect ?? null, why: why ?? null },
    ...{ at: new Date(at).toISOString(), expires: new Date(expires).toISOString(), refunds: refunds.map(viewOfRefund) },
  }
}

const viewOfRefund = ({ id, amount, reason: why, state }: Payment['refunds'][number]): object => ({
  ...{ id, amount: formatMoney(BigInt(amount)), reason: why, state },
})

function viewOfAutomatic(settings: Automatic) {
  const shown = (amount: string | undefined): string | null =>
    amount === undefined ? null : formatMoney(BigInt(amount))
  const { below, amount, fillTo, min, max, dayMost, every, provider, method: by, mandate: under, actor: who } = settings
  const { begun, underWay, spent, failures, lastFailure, notBefore } = settings
  return {
    ...{ below: shown(below), every: every ?? null, amount: shown(amount), fillTo: shown(fillTo) },
    ...{ min: shown(min), max: shown(max), dayMost: shown(dayMost), provider: provider ?? null, method: by ?? null },
    ...{ mandate: under, payments: begun, underWay: underWay?.id ?? null, spentToday: shown(spent), failures },
    ...{ lastFailure: lastFailure ?? null, stopped: failures >= mostFailures, actor: who },
    notBefore: notBefore === 0 ? null : new Date(notBefore).toISOString(),
  }
}
