/**
 * What the demo asks of the admin API: it shows accounts, recharges, and ends sessions that an earlier run left open.
 */
import { randomUUID } from 'node:crypto'
import type { Micros } from '../units.js'
import { parseMoney } from '../units.js'

export interface AccountShown {
  readonly id: string
  readonly status: string
  readonly currency: string
  readonly money: Micros
  readonly held: Micros
  readonly debt: Micros
  /** Ledger entries so far. */
  readonly sequence: number
  readonly buckets: readonly {
    readonly name: string
    readonly unit: string
    readonly amount: bigint
    readonly held: bigint
  }[]
}

export interface SessionShown {
  readonly id: string
  readonly open: boolean
  readonly originHost: string
  readonly charged: Micros
}

/** The API said no, or nobody was there (`status` 0). */
export class AdminRefusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

type Json = Record<string, unknown>

export class AdminClient {
  constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  /** The account of a phone number; undefined when nobody has it. */
  async find(msisdn: string): Promise<AccountShown | undefined> {
    const body = await this.call('GET', `/v1/subscribers/msisdn/${msisdn}`)
    return body && readAccount(body['account'] as Json)
  }

  async create(account: string, subscriber: object, balance: string): Promise<void> {
    await this.call('POST', '/v1/accounts', { id: account, currency: 'EUR', balance, subscriber })
  }

  async recharge(account: string, amount: string, currency: string, reference: string): Promise<void> {
    await this.call('POST', `/v1/accounts/${account}/recharges`, { amount, currency, channel: 'demo', reference })
  }

  async sessions(account: string): Promise<SessionShown[]> {
    const body = await this.call('GET', `/v1/sessions?account=${encodeURIComponent(account)}`)
    return ((body?.['sessions'] ?? []) as Json[]).map(session => ({
      id: String(session['id']),
      open: session['open'] === true,
      originHost: String(session['originHost']),
      charged: money(session['charged']),
    }))
  }

  async release(sessionId: string): Promise<void> {
    await this.call('POST', '/v1/sessions/release', { sessionId })
  }

  /** Undefined: there is no such thing. */
  private async call(method: string, path: string, body?: object): Promise<Json | undefined> {
    let response: Response
    try {
      response = await fetch(this.url + path, {
        method,
        headers: {
          authorization: `Bearer ${this.token}`,
          ...(body && { 'content-type': 'application/json' }),
          ...(method === 'POST' && { 'idempotency-key': randomUUID() }),
        },
        ...(body && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(10_000),
      })
    } catch {
      throw new AdminRefusal(0, `nothing answers at ${this.url}`)
    }
    if (response.status === 404) return undefined
    const answer = (await response.json()) as Json
    if (response.ok) return answer
    throw new AdminRefusal(response.status, words(answer['detail'] ?? answer['title']) ?? `status ${response.status}`)
  }
}

const words = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

const money = (value: unknown): Micros => parseMoney(String(value)) ?? (0n as Micros)

function readAccount(body: Json): AccountShown {
  return {
    id: String(body['id']),
    status: String(body['status']),
    currency: String(body['currency']),
    money: money(body['money']),
    held: money(body['held']),
    debt: money(body['debt']),
    sequence: Number(body['sequence']),
    buckets: (body['buckets'] as Json[]).map(bucket => ({
      name: String(bucket['name']),
      unit: String(bucket['unit']),
      amount: amountOf(bucket, 'amount'),
      held: amountOf(bucket, 'held'),
    })),
  }
}

/** Units; micros of a money bucket, whose amounts are decimal text. */
const amountOf = (bucket: Json, key: 'amount' | 'held'): bigint =>
  bucket['unit'] === 'money' ? money(bucket[key]) : BigInt(bucket[key] as number)
