/**
 * Routes of money that comes in, moves, or is put right by hand: recharges one by one and as a file, adjustments, write-offs, transfers.
 */
import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { Adjustments, AdjustmentOutcome, AdjustmentTarget } from '../balance/adjustments.js'
import type { CreditedBucket, CreditOutcome, ReferenceState } from '../balance/credits.js'
import type { Transfer } from '../balance/transfers.js'
import type { Account, BucketUnit, NewBucket } from '../balance/types.js'
import { parseDuration, parseSize } from '../config/quantity.js'
import type { Recharges } from '../recharge/recharges.js'
import type { TransferOutcome, Transfers } from '../recharge/transfers.js'
import { formatAmount, formatMoney, parseMoney, type Micros, type Millis, type Units } from '../units.js'
import { timeOf } from './overrides.js'
import { Problem } from './problem.js'
import { importRecharges, rechargeColumns } from './recharge-import.js'
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
  type Schema,
} from './route.js'
import { csvRows, jsonRows } from './rows.js'
import { iso } from './views.js'
import { accountParams, actor, currency, money, reason } from './fields.js'

export interface RechargeServices {
  readonly recharges: Pick<Recharges, 'recharge' | 'judge' | 'find'>
  readonly adjustments: Pick<Adjustments, 'adjust'>
  readonly transfers: Pick<Transfers, 'transfer' | 'find'>
  /** A recharge was tried. */
  readonly recharged: (channel: string, result: 'credited' | 'repeated' | 'refused') => void
}

const csvTypes = ['text/csv']
const jsonLinesTypes = ['application/x-ndjson', 'application/jsonl']
const importOctets = 512 * 1024 * 1024

const channel = text('Where it came from, like portal, outlet or care: 1 to 32 characters of A-Z a-z 0-9 . _ -', {
  pattern: '^[A-Za-z0-9._-]{1,32}$',
})
const rechargeReference = text('Unique in its channel, 1 to 128 characters without spaces', {
  pattern: '^[!-~]{1,128}$',
})
const tag = (description: string): Schema => text(`${description}: 1 to 64 characters of A-Z a-z 0-9 . _ @ : -`, { pattern: '^[\\w.@:-]{1,64}$' }) // prettier-ignore
const code = text('A code of your own for reports, like goodwill', { pattern: '^[\\w.-]{1,32}$' })
const reference = text('Once in the account, 1 to 128 characters without spaces. Default: the Idempotency-Key', {
  pattern: '^[!-~]{1,128}$',
})

export const rechargeRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/accounts/:id/recharges',
    permission: 'recharge.write',
    idempotent: true,
    guarded: 'credit',
    summary:
      'Money in, once for each channel and reference: the same again is answered with the first result. Bonus rules of the catalog add to it.',
    params: accountParams,
    body: object(['amount', 'currency', 'channel', 'reference'], {
      amount: money,
      currency,
      channel,
      reference: rechargeReference,
      method: tag('How it was paid, like cash or card'),
      outlet: tag('Where it was taken'),
      operator: tag('Who took it'),
      actor,
    }),
    answers: { 201: 'Credited', 200: 'This reference was credited before: `repeated` is true' },
    problems: [
      ...(['not-found', 'currency-differs', 'reference-taken', 'account-terminated', 'balance-too-large'] as const),
      ...(['recharge-refused', 'limit-reached'] as const),
    ],
    work: recharge,
  },
  {
    method: 'GET',
    path: '/v1/recharges/:channel/:reference',
    permission: 'account.read',
    summary: 'What became of a recharge.',
    params: object(['channel', 'reference'], { channel, reference: rechargeReference }),
    answers: {
      200: 'Its account and amount; state credited (with what it brought), or claimed: begun, and not finished',
    },
    problems: ['not-found'],
    work: findRecharge,
  },
  {
    method: 'POST',
    path: '/v1/recharges/import',
    permission: 'bulk.write',
    summary: `Recharges from CSV (${rechargeColumns.required.join(',')} and account or msisdn; channel, method, outlet if wanted) or JSON lines. Safe to run again: references are unique.`,
    query: object([], {
      allOrNothing: { type: 'string', enum: ['true', 'false'], description: 'true: one bad row, and none is applied' },
      channel,
      actor,
    }),
    stream: [...csvTypes, ...jsonLinesTypes],
    answers: { 200: 'The report: every refused row with its line' },
    problems: ['too-large', 'unsupported-media-type'],
    work: runImport,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/adjustments',
    permission: 'adjustment.write',
    idempotent: true,
    guarded: 'credit',
    summary:
      'Give (+) or take (-) money or units by hand. What is given repays debt first; what is taken comes from free funds only.',
    params: accountParams,
    body: object(['amount', 'reason'], {
      amount: text('Signed: +5.00, -2.00 of money; +1GB, -60s, +10 of a bucket', { pattern: '^[+-]\\d[\\w.]{0,20}$' }),
      currency,
      bucket: text('Id or name of a bucket; main when absent', { minLength: 1, maxLength: 128 }),
      until: text('Makes a new bucket of that name with this end: a date or time, or never', { maxLength: 40 }),
      reason,
      code,
      reference,
      actor,
    }),
    answers: { 201: 'What the account has now', 200: 'The same, of an adjustment that was made before' },
    problems: [
      ...(['not-found', 'currency-differs', 'reference-taken', 'account-terminated', 'balance-too-large'] as const),
      ...(['insufficient-funds', 'unknown-target'] as const),
    ],
    work: adjust,
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/writeoffs',
    permission: 'adjustment.write',
    idempotent: true,
    guarded: 'credit',
    summary: 'Write debt off: it is no longer owed.',
    params: accountParams,
    body: object(['amount', 'reason'], { amount: money, currency, reason, code, reference, actor }),
    answers: { 201: 'What the account has now', 200: 'The same, of a write-off that was made before' },
    problems: ['not-found', 'currency-differs', 'reference-taken', 'nothing-owed'],
    work: writeOff,
  },
  {
    method: 'POST',
    path: '/v1/transfers',
    permission: 'transfer.write',
    idempotent: true,
    guarded: 'credit',
    summary:
      'Move money between two accounts of one currency. When the receiver cannot have it, the sender gets it back: `state` is returned.',
    body: object(['from', 'to', 'amount'], { from: accountId, to: accountId, amount: money, currency, reason, actor }),
    answers: { 201: 'The transfer', 200: 'The transfer, which was made before' },
    problems: [
      ...(['not-found', 'currency-differs', 'account-terminated', 'account-not-in-service'] as const),
      ...(['insufficient-funds', 'transfer-refused', 'limit-reached', 'reference-taken'] as const),
    ],
    work: transfer,
  },
  {
    method: 'GET',
    path: '/v1/transfers/:id',
    permission: 'account.read',
    summary: 'Show a transfer: sent (under way), done, or returned.',
    params: object(['id'], { id: text('As the transfer was answered', { pattern: '^\\d{1,6}-[0-9a-z]{1,40}$' }) }),
    answers: { 200: 'The transfer' },
    problems: ['not-found'],
    work: findTransfer,
  },
]

interface RechargeBody {
  readonly amount: string
  readonly currency: string
  readonly channel: string
  readonly reference: string
  readonly method?: string
  readonly outlet?: string
  readonly operator?: string
}

async function recharge({ params, body, actor: by }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const account = params['id']!
  const { amount: written, ...rest } = body as RechargeBody
  const amount = positive(written)
  const { method, outlet, operator } = rest
  const { currency: of, channel: over, reference: name } = rest
  const input = { account, amount, currency: of, channel: over, reference: name, method, outlet, operator, actor: by }
  const outcome = await services.recharges.recharge(input)
  const done = outcome.status === 'credited' || outcome.status === 'repeated'
  services.recharged(over, done ? outcome.status : 'refused')
  if (!done) throw new Problem(...problemOf(outcome, input))
  const { money: has, debt, sequence, bonus, buckets } = outcome
  const repeated = outcome.status === 'repeated'
  return {
    status: repeated ? 200 : 201,
    body: {
      ...{ account, amount: formatMoney(amount), money: formatMoney(has), debt: formatMoney(debt), sequence },
      bonus: bonus ? { rule: bonus.rule, money: formatMoney(bonus.money) } : null,
      buckets: buckets.map(viewOfBucket),
      repeated,
    },
  }
}

/** Why money does not come in, as the API says it. */
export function problemOf(
  outcome: Exclude<CreditOutcome, { readonly status: 'credited' | 'repeated' }>,
  of: { readonly account: string; readonly amount: Micros; readonly currency: string; readonly channel: string; readonly reference: string }, // prettier-ignore
): ConstructorParameters<typeof Problem> {
  const { account, amount, currency: in_, channel: over } = of
  switch (outcome.status) {
    case 'no_account':
      return ['not-found', `there is no account ${account}`]
    case 'currency_differs':
      return ['currency-differs', `account ${account} has another currency than ${in_}`]
    case 'too_large':
      return ['balance-too-large', `${formatMoney(amount)} would take account ${account} above what can be kept`]
    case 'account_terminated':
      return ['account-terminated', `account ${account} is terminated`]
    case 'reference_taken':
      return [
        'reference-taken',
        `${over} ${of.reference} credited ${formatMoney(outcome.amount)} to account ${outcome.account}`,
        { account: outcome.account, amount: formatMoney(outcome.amount) },
      ]
    case 'limit_count':
      return ['limit-reached', `account ${account} gets ${outcome.most} a day over channel ${over}, and had them`]
    case 'limit_sum':
      return [
        'limit-reached',
        `account ${account} gets ${formatMoney(outcome.most)} ${in_} a day over channel ${over}, and had ${formatMoney(outcome.today)}`,
      ]
    case 'refused':
      return ['recharge-refused', outcome.why]
  }
}

async function findRecharge({ params }: RouteRequest, { recharges }: RouteServices): Promise<RouteAnswer> {
  const [over, name] = [params['channel']!, params['reference']!]
  const found = await recharges.find(over, name)
  if (found.status === 'unknown') throw new Problem('not-found', `there is no recharge ${over} ${name}`)
  return ok(viewOfReference(over, name, found))
}

function viewOfReference(
  over: string,
  name: string,
  { status, account, amount, currency: in_, credited }: Exclude<ReferenceState, { readonly status: 'unknown' }>,
): object {
  return {
    ...{ channel: over, reference: name, state: status, account, amount: formatMoney(amount), currency: in_ },
    at: credited ? iso(credited.at) : null,
    sequence: credited?.sequence ?? null,
    bonus: credited?.bonus ? { rule: credited.bonus.rule, money: formatMoney(credited.bonus.money) } : null,
    buckets: (credited?.buckets ?? []).map(viewOfBucket),
  }
}

const viewOfBucket = ({ id, name, unit, amount }: CreditedBucket): object => ({
  ...{ id, name, unit },
  amount: unit === 'money' ? formatMoney(amount) : Number(amount),
})

function positive(written: string): Micros {
  const amount = moneyOf(written)
  if (amount <= 0n) throw new Problem('invalid-request', 'amount must be more than 0')
  return amount
}

async function runImport(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { body, contentType, query, actor: by } = request
  const chunks = limited(body as Readable)
  const rows = csvTypes.includes(contentType) ? csvRows(chunks, rechargeColumns) : jsonRows(chunks, rechargeColumns)
  return ok(
    await importRecharges(rows, {
      ...{ accounts: services.accounts, recharges: services.recharges, actor: by },
      channel: query['channel'] ?? 'bulk',
      allOrNothing: query['allOrNothing'] === 'true',
      heldAbove: of => services.access.policy.credit.get(of),
      isUnavailable: services.isUnavailable,
      recharged: services.recharged,
    }),
  )
}

async function* limited(chunks: Readable): AsyncGenerator<Buffer> {
  let octets = 0
  for await (const chunk of chunks as AsyncIterable<Buffer>) {
    octets += chunk.length
    if (octets > importOctets) throw new Problem('too-large', 'more than 512 MiB: split the file')
    yield chunk
  }
}

interface AdjustBody {
  readonly amount: string
  readonly currency?: string
  readonly bucket?: string
  readonly until?: string
  readonly reason: string
  readonly code?: string
  readonly reference?: string
}

async function adjust(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const id = request.params['id']!
  const body = request.body as AdjustBody
  const account = await existing(services.accounts, id)
  if (body.currency !== undefined && body.currency !== account.currency)
    throw new Problem('currency-differs', `account ${id} has ${account.currency}, not ${body.currency}`)
  const { unit, target } = targetOf(body, account, services)
  const amount = signedAmount(body.amount, unit)
  if (target.kind === 'new' && amount < 0n)
    throw new Problem('invalid-request', 'until: it makes a new bucket, from which nothing can be taken; leave it out')
  const outcome = await services.adjustments.adjust({
    account: id,
    reference: body.reference ?? keyOf(request),
    target: target.kind === 'new' ? { kind: 'new', bucket: { ...target.bucket, amount: amount as Units } } : target,
    unit: unit === 'money' ? account.currency : unit,
    ...{ amount, reason: body.reason, code: body.code, actor: request.actor },
    lowBalance: services.tariff().lowBalance,
  })
  return adjusted(outcome, account, unit)
}

/** An Idempotency-Key may be another client's, too: what it stands for in the store is of the account. */
const keyOf = ({ headers, principal }: RouteRequest): string => `${principal.id}:${headers['idempotency-key'] ?? ''}`

function targetOf(
  { bucket, until }: AdjustBody,
  { buckets }: Account,
  { tariff, clock, localTime }: RouteServices,
): { unit: BucketUnit; target: AdjustmentTarget } {
  if (bucket === undefined || bucket === 'main') {
    if (until !== undefined) throw new Problem('invalid-request', 'until: name the bucket that it is the end of')
    return { unit: 'money', target: { kind: 'main' } }
  }
  if (until !== undefined) {
    const unit = tariff().buckets.get(bucket)?.unit
    if (unit === undefined) {
      const known = [...tariff().buckets.keys()].join(', ')
      throw new Problem('unknown-target', `the catalog has no bucket ${bucket}; it has ${known}`)
    }
    const end = until === 'never' ? undefined : timeOf('until', until, { tariff, localTime })
    if (end !== undefined && end <= clock.now()) throw new Problem('invalid-request', 'until: it is over already')
    return { unit, target: { kind: 'new', bucket: newBucket(bucket, unit, end) } }
  }
  const found = buckets.find(each => each.id === bucket) ?? buckets.find(each => each.name === bucket)
  if (!found) {
    const has =
      buckets.length === 0 ? 'it has none' : `it has ${[...new Set(buckets.map(each => each.name))].join(', ')}`
    throw new Problem('not-found', `the account has no bucket ${bucket}: ${has}; with \`until\` one is made`)
  }
  return { unit: found.unit, target: { kind: found.id === bucket ? 'id' : 'name', bucket } }
}

const newBucket = (name: string, unit: BucketUnit, until: Millis | undefined): NewBucket => ({
  ...{ name, unit, amount: 0n as Units, priority: 100, until, origin: 'adjustment' },
})

/** As its unit is written: +5.00, -1GB, +60s, +10. */
function signedAmount(written: string, unit: BucketUnit): bigint {
  const digits = written.slice(1)
  const amount = unsigned(digits, unit)
  if (amount === undefined) {
    const like = { money: '+5.00', octets: '+1GB', seconds: '+60s', events: '+10', units: '+10' }[unit]
    throw new Problem('invalid-request', `amount: ${written} is no amount of ${unit}; write it like ${like}`)
  }
  if (amount === 0n) throw new Problem('invalid-request', 'amount: it is 0')
  return written.startsWith('-') ? -amount : amount
}

function unsigned(digits: string, unit: BucketUnit): bigint | undefined {
  const whole = /^\d{1,15}$/.test(digits) ? BigInt(digits) : undefined
  switch (unit) {
    case 'money':
      return parseMoney(digits)
    case 'octets':
      return whole ?? parseSize(digits)
    case 'seconds': {
      const ms = whole === undefined ? parseDuration(digits) : undefined
      return whole ?? (ms === undefined || ms % 1000 !== 0 ? undefined : BigInt(ms / 1000))
    }
    default:
      return whole
  }
}

interface WriteOffBody {
  readonly amount: string
  readonly currency?: string
  readonly reason: string
  readonly code?: string
  readonly reference?: string
}

async function writeOff(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const id = request.params['id']!
  const body = request.body as WriteOffBody
  const account = await existing(services.accounts, id)
  const outcome = await services.adjustments.adjust({
    ...{ account: id, reference: body.reference ?? keyOf(request), target: { kind: 'debt' } },
    ...{ unit: body.currency ?? account.currency, amount: positive(body.amount) },
    ...{ reason: body.reason, code: body.code, actor: request.actor, lowBalance: [] },
  })
  return adjusted(outcome, account, 'money')
}

function adjusted(outcome: AdjustmentOutcome, { id, currency: has }: Account, unit: BucketUnit): RouteAnswer {
  switch (outcome.status) {
    case 'adjusted':
    case 'repeated': {
      const { money: main, debt, sequence, buckets } = outcome
      const repeated = outcome.status === 'repeated'
      return {
        status: repeated ? 200 : 201,
        body: {
          ...{ account: id, currency: has, money: formatMoney(main), debt: formatMoney(debt), sequence },
          buckets: buckets.map(viewOfBucket),
          repeated,
        },
      }
    }
    case 'no_account':
      throw noAccount(id)
    case 'account_terminated':
      throw new Problem('account-terminated', `account ${id} is terminated`)
    case 'too_large':
      throw new Problem('balance-too-large', 'it would become more than can be kept')
    case 'no_bucket':
      throw new Problem('not-found', `account ${id} has no such bucket that is valid now`)
    case 'reference_taken':
      throw new Problem('reference-taken', `the reference was used for another adjustment of account ${id}`)
    case 'currency_differs':
      throw new Problem('currency-differs', `account ${id} has ${outcome.currency}`)
    case 'unit_differs':
      throw new Problem('invalid-request', `the bucket is of ${outcome.unit}`)
    case 'insufficient':
      throw new Problem(
        'insufficient-funds',
        `only ${formatAmount(unit, outcome.free)}${unit === 'money' ? ` ${has}` : ''} of account ${id} is free`,
        { free: unit === 'money' ? formatMoney(outcome.free) : Number(outcome.free) },
      )
    case 'owed':
      throw new Problem('nothing-owed', `account ${id} owes ${formatMoney(outcome.debt)} ${has}`, {
        debt: formatMoney(outcome.debt),
      })
  }
}

interface TransferBody {
  readonly from: string
  readonly to: string
  readonly amount: string
  readonly currency?: string
  readonly reason?: string
}

async function transfer(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { from, to, amount: written, currency: in_, reason: why } = request.body as TransferBody
  const amount = positive(written)
  if (in_ !== undefined) {
    const sender = await existing(services.accounts, from)
    if (sender.currency !== in_)
      throw new Problem('currency-differs', `account ${from} has ${sender.currency}, not ${in_}`)
  }
  const name = createHash('sha256').update(keyOf(request)).digest('hex').slice(0, 24)
  const outcome = await services.transfers.transfer({ name, from, to, amount, reason: why, actor: request.actor })
  if (outcome.status !== 'transferred') throw transferProblem(outcome, from, to)
  return { status: outcome.repeated ? 200 : 201, body: viewOfTransfer(outcome.transfer) }
}

async function findTransfer({ params }: RouteRequest, { transfers }: RouteServices): Promise<RouteAnswer> {
  const found = await transfers.find(params['id']!)
  if (!found) throw new Problem('not-found', `there is no transfer ${params['id']!}`)
  return ok(viewOfTransfer(found))
}

function transferProblem(
  outcome: Exclude<TransferOutcome, { readonly status: 'transferred' }>,
  from: string,
  to: string,
): Problem {
  switch (outcome.status) {
    case 'no_sender':
      return noAccount(from)
    case 'no_receiver':
      return noAccount(to)
    case 'same_account':
      return new Problem('invalid-request', 'from and to are the same account')
    case 'receiver_out_of_service':
      return new Problem('account-terminated', `account ${to} is terminated`)
    case 'out_of_service':
      return new Problem('account-not-in-service', `account ${from} is ${outcome.is}: it sends nothing`)
    case 'currencies_differ':
      return new Problem(
        'currency-differs',
        `account ${from} has ${outcome.from}, account ${to} has ${outcome.to}: nothing is converted`,
      )
    case 'not_allowed':
      return new Problem('transfer-refused', outcome.why)
    case 'insufficient':
      return new Problem('insufficient-funds', `only ${formatMoney(outcome.free)} of account ${from} is free`, {
        free: formatMoney(outcome.free),
      })
    case 'limit_count':
      return new Problem('limit-reached', `account ${from} sends ${outcome.most} transfers a day, and has`)
    case 'limit_sum':
      return new Problem(
        'limit-reached',
        `account ${from} sends ${formatMoney(outcome.most)} a day, and has sent ${formatMoney(outcome.today)}`,
      )
    case 'taken':
      return new Problem('reference-taken', 'this Idempotency-Key stands for another transfer')
  }
}

const viewOfTransfer = (of: Transfer): object => ({
  ...{ id: of.id, state: of.state, from: of.from, to: of.to, amount: formatMoney(of.amount), fee: formatMoney(of.fee) },
  ...{ currency: of.currency, at: iso(of.at), ended: of.ended === undefined ? null : iso(of.ended) },
  ...{ reason: of.reason ?? null, actor: of.actor, why: of.why ?? null },
})
