/**
 * Routes of vouchers: batches are made, printed once, activated by somebody else and blocked; a code becomes money or an offer. A code is in
 * the request that redeems it and in the one export of its batch, and nowhere else: no answer, no refusal repeats it.
 */
import { Readable } from 'node:stream'
import { readNumber, writeNumber, type VoucherState } from '../balance/vouchers.js'
import {
  mostVouchers,
  type Batch,
  type BatchOutcome,
  type BatchReport,
  type BatchRefusal,
  type VoucherBatches,
} from '../recharge/voucher-batches.js'
import type { Redeemed, RedeemRefusal, VoucherRedemption } from '../recharge/voucher-redemption.js'
import { formatMoney, type Micros } from '../units.js'
import { readIdentity, ruleOf } from './import.js'
import { timeOf } from './overrides.js'
import { pageAnswer, pagingQuery, readPaging } from './paging.js'
import { Problem, type ProblemName } from './problem.js'
import {
  accountId,
  existing,
  moneyOf,
  noAccount,
  object,
  ok,
  text,
  type Route,
  type RouteAnswer,
  type RouteRequest,
  type RouteServices,
} from './route.js'
import { iso } from './views.js'
import { reason } from './fields.js'

export interface VoucherServices {
  readonly voucherBatches: Pick<
    VoucherBatches,
    'create' | 'list' | 'show' | 'report' | 'voucher' | 'activate' | 'block' | 'unblock' | 'export'
  >
  readonly voucherRedemption: Pick<VoucherRedemption, 'redeem' | 'unlock'>
}

const batchId = text('Number of the batch, like 12', { pattern: '^[1-9]\\d{0,8}$' })
const batchParams = object(['batch'], { batch: batchId })
const actor = text('Who does it', { pattern: '^[\\w.@:-]{1,64}$' })
const serial = { type: 'integer', minimum: 1, maximum: mostVouchers }
const range = {
  from: { ...serial, description: 'First serial; absent: the whole batch' },
  to: { ...serial, description: 'Last serial; absent: `from` alone' },
}
// No pattern: a refusal would show what does not fit it.
const code = { type: 'string', description: 'Digits as printed; spaces and hyphens are passed over', maxLength: 64 }
const channel = text('Where it is redeemed, like portal, app or ivr; default api', {
  pattern: '^[A-Za-z0-9._-]{1,32}$',
})
const outlet = text('The shop or kiosk: 1 to 64 characters of A-Z a-z 0-9 . _ @ : -', { pattern: '^[\\w.@:-]{1,64}$' })
const subscriber = text('Number of the subscriber that an offer is for; default: all of the account', {
  pattern: '^[1-9]\\d{0,5}$',
})
const redeemed = {
  201: 'What the voucher brought',
  200: 'This account redeemed this code before: the first answer, `repeated` is true',
}
const redeemProblems: readonly ProblemName[] = [
  ...(['not-found', 'voucher-malformed', 'voucher-unknown', 'voucher-used', 'voucher-blocked'] as const),
  ...(['voucher-expired', 'voucher-not-active', 'voucher-locked', 'voucher-key-missing', 'voucher-pending'] as const),
  ...(['account-terminated', 'balance-too-large', 'currency-differs', 'offer-refused'] as const),
]

export const voucherRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/voucher-batches',
    permission: 'voucher.write',
    guarded: 'credit',
    idempotent: true,
    summary: 'Make a batch of vouchers: money, an offer, or both. They have no codes before they are exported.',
    body: object(['name', 'count'], {
      name: text('For people, 1 to 64 characters in one line', { pattern: '^[^\\u0000-\\u001f]{1,64}$' }),
      count: { ...serial, description: 'How many vouchers, up to 1,000,000' },
      amount: text('Decimal text like 5.00, at most six decimals', { pattern: '^\\d{1,9}(\\.\\d{1,6})?$' }),
      currency: text('ISO 4217, like EUR; the catalog’s when absent', { pattern: '^[A-Z]{3}$' }),
      offer: text('Name of an offer of the catalog, given without its fee', { minLength: 1, maxLength: 128 }),
      expires: text('Last day or time, like 2027-12-31 or 2027-12-31T18:00; absent: never', { maxLength: 40 }),
      digits: {
        ...{ type: 'integer', minimum: 10, maximum: 20, default: 14 },
        description: 'Of a code, without its check digit',
      },
      actor,
    }),
    answers: { 201: 'The batch', 200: 'The batch that this request made before' },
    problems: ['unknown-offer', 'currency-differs', 'voucher-key-missing'],
    work: createBatch,
  },
  {
    method: 'GET',
    path: '/v1/voucher-batches',
    permission: 'voucher.read',
    summary: 'All batches, the newest first.',
    query: object([], pagingQuery),
    answers: { 200: 'A page of batches' },
    problems: [],
    work: listBatches,
  },
  {
    method: 'GET',
    path: '/v1/voucher-batches/:batch',
    permission: 'voucher.read',
    summary:
      'A batch: how many of its vouchers are in which state and what they are worth, redeemed by day and outlet.',
    params: batchParams,
    answers: { 200: 'The batch with its report' },
    problems: ['not-found'],
    work: showBatch,
  },
  {
    method: 'POST',
    path: '/v1/voucher-batches/:batch/export',
    permission: 'voucher.write',
    summary:
      'Print the codes, once, as CSV. One that broke off may be repeated and gives the same codes; after a whole one nothing can tell them.',
    params: batchParams,
    body: object([], { actor }),
    answers: { 200: 'Lines voucher,code,amount,currency,offer,expires' },
    answerType: 'text/csv',
    problems: ['not-found', 'already-exported', 'export-running', 'voucher-blocked', 'voucher-key-missing'],
    work: exportBatch,
  },
  {
    method: 'POST',
    path: '/v1/voucher-batches/:batch/activate',
    permission: 'voucher.write',
    summary:
      'Make the exported vouchers worth what they say. With dual control: by neither who made nor who exported them.',
    params: batchParams,
    body: object([], { actor }),
    answers: { 200: 'The batch' },
    problems: ['not-found', 'not-exported', 'voucher-blocked', 'second-person-needed'],
    work: ({ params, actor: who }, { voucherBatches }) =>
      changed(voucherBatches.activate(params['batch']!, who), params),
  },
  {
    method: 'POST',
    path: '/v1/voucher-batches/:batch/block',
    permission: 'voucher.write',
    summary: 'Block a batch, a range of serials or one: nobody can redeem them. Those that were redeemed stay so.',
    params: batchParams,
    body: object(['reason'], { ...range, reason, actor }),
    answers: { 200: 'The batch' },
    problems: ['not-found', 'too-many'],
    work: (request, services) => block('block', request, services),
  },
  {
    method: 'POST',
    path: '/v1/voucher-batches/:batch/unblock',
    permission: 'voucher.write',
    summary: 'Take a block away. That of a whole batch leaves single serials blocked.',
    params: batchParams,
    body: object(['reason'], { ...range, reason, actor }),
    answers: { 200: 'The batch' },
    problems: ['not-found', 'too-many'],
    work: (request, services) => block('unblock', request, services),
  },
  {
    method: 'GET',
    path: '/v1/vouchers/:voucher',
    permission: 'voucher.read',
    summary: 'A voucher by its batch and serial: its state, and whose it is.',
    params: object(['voucher'], { voucher: text('Batch and serial, like 12-345', { pattern: '^\\d{1,9}-\\d{1,7}$' }) }),
    answers: { 200: 'The voucher' },
    problems: ['not-found'],
    work: showVoucher,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/vouchers',
    permission: 'recharge.write',
    idempotent: true,
    summary:
      'Redeem a voucher for an account, once. Too many wrong codes lock the account, the outlet and whoever asks out.',
    params: object(['id'], { id: accountId }),
    body: object(['code'], { code, channel, outlet, subscriber, actor }),
    answers: redeemed,
    problems: redeemProblems,
    work: (request, services) => redeem(request.params['id']!, request.body as RedeemBody, request, services),
  },
  {
    method: 'POST',
    path: '/v1/vouchers/redeem',
    permission: 'recharge.write',
    idempotent: true,
    summary: 'Redeem a voucher for a number or an account, once.',
    body: object(['code'], {
      msisdn: text('3 to 15 digits'),
      account: accountId,
      code,
      channel,
      outlet,
      subscriber,
      actor,
    }),
    answers: redeemed,
    problems: redeemProblems,
    work: redeemFor,
  },
  {
    method: 'DELETE',
    path: '/v1/accounts/:id/voucher-lock',
    permission: 'account.write',
    summary: 'Forget the wrong voucher codes of an account: it may try again at once.',
    params: object(['id'], { id: accountId }),
    query: object([], { actor }),
    answers: { 200: 'It may' },
    problems: ['not-found'],
    work: unlock,
  },
]

interface BatchBody {
  readonly name: string
  readonly count: number
  readonly amount?: string
  readonly currency?: string
  readonly offer?: string
  readonly expires?: string
  readonly digits?: number
}

async function createBatch(
  { body, headers, principal, actor: by }: RouteRequest,
  services: RouteServices,
): Promise<RouteAnswer> {
  const { name, count, offer, digits = 14, ...rest } = body as BatchBody
  const catalog = services.catalog()
  const amount = rest.amount === undefined ? undefined : moneyOf(rest.amount)
  if (amount === undefined && offer === undefined)
    throw new Problem('invalid-request', 'body: give amount, offer or both')
  if (amount === 0n) throw new Problem('invalid-request', 'amount must be more than 0')
  if (amount === undefined && rest.currency !== undefined)
    throw new Problem('invalid-request', 'currency is that of an amount: give one')
  const currency = amount === undefined ? undefined : (rest.currency ?? catalog.currency)
  if (currency !== undefined && ![catalog.currency, ...catalog.exchanged].includes(currency))
    throw new Problem('currency-differs', `no account has ${currency}: the catalog has ${catalog.currency}`)
  if (offer !== undefined && !services.tariff().offers.has(offer)) {
    const offers = catalog.offers.map(each => each.name)
    throw new Problem('unknown-offer', `the catalog has no offer ${JSON.stringify(offer)}`, { offers })
  }
  const ends = rest.expires === undefined ? undefined : endOf(rest.expires, services)
  if (ends !== undefined && ends <= services.clock.now())
    throw new Problem('invalid-request', `expires: ${rest.expires} is over`)
  const terms = { name, count, amount, currency, offer, digits, ends }
  const request = `${principal.id}:${headers['idempotency-key']}`
  const outcome = await services.voucherBatches.create(terms, by, request)
  if (outcome.status === 'other_key') throw keyMissing(outcome.ids)
  return { status: outcome.status === 'created' ? 201 : 200, body: viewOfBatch(outcome.batch) }
}

async function unlock({ params }: RouteRequest, { accounts, voucherRedemption }: RouteServices): Promise<RouteAnswer> {
  const { id } = await existing(accounts, params['id']!)
  await voucherRedemption.unlock(id)
  return ok({ account: id, locked: false })
}

/** A day is meant with all of its hours. */
function endOf(written: string, services: RouteServices): number {
  if (!/^\d{4}-\d\d-\d\d$/.test(written)) return timeOf('expires', written, services)!
  const next = new Date(Date.parse(`${written}T00:00Z`) + 86_400_000)
  if (Number.isNaN(next.getTime())) throw new Problem('invalid-request', `expires: there is no day ${written}`)
  return timeOf('expires', next.toISOString().slice(0, 10), services)!
}

async function listBatches({ query }: RouteRequest, { voucherBatches }: RouteServices): Promise<RouteAnswer> {
  const { limit, after } = readPaging(query, 1)
  const batches = await voucherBatches.list(after ? Number(after[0]) : Infinity, limit + 1)
  const items = batches.slice(0, limit)
  return pageAnswer({
    items: items.map(viewOfBatch),
    next: batches.length > limit ? [items.at(-1)!.id] : undefined,
  })
}

async function showBatch({ params }: RouteRequest, { voucherBatches }: RouteServices): Promise<RouteAnswer> {
  const report = await voucherBatches.report(params['batch']!)
  if (!report) throw noBatch(params)
  return ok(viewOfReport(report))
}

async function exportBatch(
  { params, actor: by }: RouteRequest,
  { voucherBatches }: RouteServices,
): Promise<RouteAnswer> {
  const outcome = await voucherBatches.export(params['batch']!, by)
  if (outcome.status !== 'started') throw refusalOf(outcome.status, params)
  const lines = Readable.from(outcome.lines, { objectMode: false, highWaterMark: 1 })
  return { status: 200, body: lines, unkept: true }
}

async function changed(work: Promise<BatchOutcome>, params: RouteRequest['params']): Promise<RouteAnswer> {
  const outcome = await work
  if (outcome.status !== 'done' && outcome.status !== 'unchanged') throw refusalOf(outcome.status, params)
  return ok(viewOfBatch(outcome.batch))
}

interface BlockBody {
  readonly from?: number
  readonly to?: number
  readonly reason: string
}

function block(
  act: 'block' | 'unblock',
  { params, body, actor: by }: RouteRequest,
  { voucherBatches }: RouteServices,
): Promise<RouteAnswer> {
  const { from, to = from, reason: why } = body as BlockBody
  if (from === undefined && to !== undefined) throw new Problem('invalid-request', 'body: give `from` with `to`')
  const serials = from === undefined ? undefined : { from, to: to! }
  return changed(voucherBatches[act](params['batch']!, serials, by, why), params)
}

async function showVoucher({ params }: RouteRequest, { voucherBatches }: RouteServices): Promise<RouteAnswer> {
  const voucher = readNumber(params['voucher']!)
  const found = voucher && (await voucherBatches.voucher(voucher))
  if (!found) throw new Problem('not-found', `there is no voucher ${params['voucher']!}`)
  return ok(viewOfVoucher(writeNumber(voucher), found.batch, found.state))
}

interface RedeemBody {
  readonly msisdn?: string
  readonly account?: string
  readonly code: string
  readonly channel?: string
  readonly outlet?: string
  readonly subscriber?: string
}

async function redeemFor(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const body = request.body as RedeemBody
  const { msisdn, account } = body
  if ((msisdn === undefined) === (account === undefined))
    throw new Problem('invalid-request', 'body: give one of msisdn and account')
  if (account !== undefined) return redeem(account, body, request, services)
  const identity = readIdentity('msisdn', msisdn!)
  if (!identity) throw new Problem('invalid-request', `msisdn is not ${ruleOf('msisdn')}`)
  const found = await services.accounts.find(identity)
  if (!found) throw new Problem('not-found', 'no subscriber has this number')
  return redeem(found.account.id, body, request, services)
}

async function redeem(
  account: string,
  { code: written, channel: where = 'api', outlet: shop, subscriber: number = '0' }: RedeemBody,
  { principal, actor: by }: RouteRequest,
  { voucherRedemption, recharged, clock }: RouteServices,
): Promise<RouteAnswer> {
  const outcome = await voucherRedemption.redeem({
    ...{ account, code: written, subscriber: number, channel: where, outlet: shop },
    ...{ principal: principal.id, actor: by },
  })
  if (outcome.status !== 'redeemed' && outcome.status !== 'repeated') {
    recharged('voucher', 'refused')
    throw redeemProblem(account, outcome, clock.now())
  }
  const { status, ...brought } = outcome
  recharged('voucher', status === 'redeemed' ? 'credited' : 'repeated')
  return { status: status === 'redeemed' ? 201 : 200, body: viewOfRedeemed(account, brought, status === 'repeated') }
}

function redeemProblem(account: string, outcome: RedeemRefusal, now: number): Problem {
  switch (outcome.status) {
    case 'malformed':
      return new Problem('voucher-malformed', 'this is no code of a voucher: a digit is wrong, too few or too many')
    case 'no_account':
      return noAccount(account)
    case 'unknown':
      return new Problem('voucher-unknown', 'no voucher has this code')
    case 'used':
      return new Problem('voucher-used', 'the voucher was redeemed for another account')
    case 'blocked':
      return new Problem('voucher-blocked', 'the voucher is blocked')
    case 'expired':
      return new Problem('voucher-expired', 'the voucher has expired')
    case 'not_active':
      return new Problem('voucher-not-active', 'the voucher’s batch is not activated')
    case 'other_key':
      return keyMissing(outcome.ids)
    case 'locked': {
      const retryAfter = Math.max(1, Math.ceil((outcome.until - now) / 1000))
      return new Problem('voucher-locked', `too many wrong codes: wait ${retryAfter} s`, { retryAfter })
    }
    case 'account_terminated':
      return new Problem('account-terminated', `account ${account} is terminated`)
    case 'too_large':
      return new Problem('balance-too-large', `the voucher would take account ${account} above what can be kept`)
    case 'currency_differs':
      return new Problem('currency-differs', `the voucher is of ${outcome.currency}, account ${account} is not`)
    case 'refused':
      return new Problem('offer-refused', outcome.why)
    case 'pending':
      return new Problem('voucher-pending', `the money is there, the offer comes when it can: ${outcome.why}`)
  }
}

const keyMissing = (ids: readonly string[]): Problem =>
  new Problem(
    'voucher-key-missing',
    `the vouchers of this store were made with key ${ids.join(', ')}, which the file of this daemon’s vouchers.keyFile has not: ` +
      'copy the file of the daemon that made them',
  )

const noBatch = (params: RouteRequest['params']): Problem =>
  new Problem('not-found', `there is no batch ${params['batch']!}`)

function refusalOf(refusal: BatchRefusal, params: RouteRequest['params']): Problem {
  const batch = `batch ${params['batch']!}`
  switch (refusal) {
    case 'no_batch':
      return noBatch(params)
    case 'other_key':
      return new Problem(
        'voucher-key-missing',
        `${batch} was made with another key: export it from the daemon that made it`,
      )
    case 'already_exported':
      return new Problem('already-exported', `the codes of ${batch} were exported, and exist nowhere but there`)
    case 'export_running':
      return new Problem(
        'export-running',
        `${batch} is being exported; if that has died, a minute later it can be again`,
      )
    case 'not_exported':
      return new Problem('not-exported', `export ${batch} first: before that it has no codes`)
    case 'blocked':
      return new Problem('voucher-blocked', `${batch} is blocked: unblock it first`)
    case 'same_person':
      return new Problem('second-person-needed', `somebody who neither made nor exported ${batch} must activate it`)
    case 'no_such_serials':
      return new Problem('invalid-request', `from and to must be serials of ${batch}, the smaller one first`)
    case 'too_many_ranges':
      return new Problem('too-many', `${batch} has too many single blocks: block or unblock longer ranges`)
  }
}

export function viewOfBatch(batch: Batch): object {
  const { id, name, state, count, amount, currency, offer, ends, digits, exported, key, used, claimed } = batch
  return {
    ...{ batch: id, name, state, count, ...worthOf(batch), digits, exported, key, used, redeeming: claimed },
    ...{ amount: amount === undefined ? null : formatMoney(amount), currency: currency ?? null, offer: offer ?? null },
    expires: ends === undefined ? null : iso(ends),
    blocked: batch.blocked,
    acts: batch.acts.map(act => ({ ...act, at: iso(act.at) })),
  }
}

const worthOf = ({ amount, count }: Batch): object => (amount === undefined ? {} : { worth: sumOf(amount, count) })
const sumOf = (amount: Micros, count: number): string => formatMoney(amount * BigInt(count))

function viewOfReport({ batch, counts, redeemed: days }: BatchReport): object {
  const worth = (count: number): object => (batch.amount === undefined ? {} : { sum: sumOf(batch.amount, count) })
  return {
    ...viewOfBatch(batch),
    states: Object.fromEntries(Object.entries(counts).map(([state, count]) => [state, { count, ...worth(count) }])),
    redeemed: days.map(({ day, outlet: shop, count }) => ({ day, outlet: shop ?? null, count, ...worth(count) })),
  }
}

function viewOfVoucher(voucher: string, batch: Batch, state: VoucherState): object {
  const { amount, currency, offer, ends, id } = batch
  const held = 'claim' in state ? state.claim : undefined
  return {
    voucher,
    batch: id,
    state: state.status === 'free' ? 'active' : state.status === 'claimed' ? 'redeeming' : state.status,
    amount: amount === undefined ? null : formatMoney(amount),
    ...{ currency: currency ?? null, offer: offer ?? null, expires: ends === undefined ? null : iso(ends) },
    account: held?.account ?? null,
    at: held ? iso(held.at) : null,
    ...{ channel: held?.channel ?? null, outlet: held?.outlet ?? null, actor: held?.actor ?? null },
  }
}

function viewOfRedeemed(account: string, brought: Redeemed, repeated: boolean): object {
  const { voucher, batch, at, credited, subscription } = brought
  const { amount, currency, offer } = batch
  return {
    ...{ account, voucher, at: iso(at), repeated },
    ...(amount !== undefined && { amount: formatMoney(amount), currency }),
    ...(credited && {
      money: formatMoney(credited.money),
      debt: formatMoney(credited.debt),
      sequence: credited.sequence,
      ...(credited.bonus && { bonus: { rule: credited.bonus.rule, money: formatMoney(credited.bonus.money) } }),
      buckets: credited.buckets.map(({ id, name, unit, amount: units }) => ({
        ...{ id, name, unit: unit === 'units' ? null : unit },
        amount: unit === 'money' ? formatMoney(units) : Number(units),
      })),
    }),
    ...(offer !== undefined && { offer, subscription: subscription ?? null }),
  }
}
