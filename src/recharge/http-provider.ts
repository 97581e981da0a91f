/**
 * A provider behind HTTP, as an adapter of any real one speaks it: JSON, amounts as decimal text, our id as Idempotency-Key.
 *
 *     POST {url}/payments                 { id, amount, currency, method?, returnUrl?, mandate? }
 *     GET  {url}/payments/{id}            both answer { status: pending|confirmed|declined, reference?, redirect?, why? }; 404: never heard of it
 *     POST {url}/payments/{id}/refunds    { id, amount, currency } → { status: refunded|declined }
 *
 * and calls POST /v1/payments/notices/{name} with { id, status, reference?, why? } and the header
 * `Ocs-Signature: t=<Unix seconds>,v1=<HMAC-SHA256 of "<t>.<body>", hex>`.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { PaymentProviderConfig } from '../config/config.js'
import { formatMoney, type Micros, type Millis } from '../units.js'
import {
  PaymentUnavailableError,
  type PaymentNotice,
  type PaymentOrder,
  type PaymentProvider,
  type PaymentState,
} from './payment-provider.js'

/** A notice that is older was recorded somewhere. */
const noticeAgeMs = 300_000
const answerOctets = 64 * 1024

interface Said {
  readonly id?: unknown
  readonly status?: unknown
  readonly reference?: unknown
  readonly redirect?: unknown
  readonly why?: unknown
}

export class HttpProvider implements PaymentProvider {
  readonly name: string
  readonly currencies: ReadonlySet<string> | undefined
  readonly methods: ReadonlySet<string> | undefined

  constructor(
    private readonly config: PaymentProviderConfig & { readonly kind: 'http' },
    /** The machine's time. */
    private readonly now: () => Millis,
  ) {
    this.name = config.name
    this.currencies = config.currencies
    this.methods = config.methods
  }

  async begin({ id, amount, currency, ...more }: PaymentOrder): Promise<PaymentState> {
    const said = await this.ask('POST', '/payments', { id, amount: formatMoney(amount), currency, ...more }, id)
    return this.stateOf(said!, id)
  }

  async look(id: string): Promise<PaymentState | undefined> {
    const said = await this.ask('GET', `/payments/${encodeURIComponent(id)}`)
    return said && this.stateOf(said, id)
  }

  async refund(id: string, refund: string, amount: Micros, currency: string): Promise<'refunded' | 'declined'> {
    const body = { id: refund, amount: formatMoney(amount), currency }
    const said = await this.ask('POST', `/payments/${encodeURIComponent(id)}/refunds`, body, refund)
    if (said?.status === 'refunded' || said?.status === 'declined') return said.status
    throw this.strange('a refund', said?.status)
  }

  notice(body: string, headers: Readonly<Record<string, string | undefined>>): PaymentNotice | undefined {
    const [, time, signature] = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(headers['ocs-signature'] ?? '') ?? []
    const wanted = createHmac('sha256', this.config.noticeSecret).update(`${time}.${body}`).digest()
    if (signature === undefined || !timingSafeEqual(wanted, Buffer.from(signature, 'hex'))) return undefined
    if (Math.abs(this.now() - Number(time) * 1000) > noticeAgeMs) return undefined
    const said = parsed(body)
    return typeof said?.id === 'string' ? { id: said.id, state: this.stateOf(said, said.id) } : undefined
  }

  private stateOf({ status, reference, redirect, why }: Said, id: string): PaymentState {
    const providerReference = typeof reference === 'string' ? reference.slice(0, 128) : id
    switch (status) {
      case 'pending':
        return { status, providerReference, ...(typeof redirect === 'string' && { redirect: redirect.slice(0, 2000) }) }
      case 'confirmed':
        return { status, providerReference }
      case 'declined':
        return {
          status,
          why: typeof why === 'string' ? why.replaceAll(/[^ -~]/g, '?').slice(0, 200) : 'the provider declined',
        }
      default:
        throw this.strange('a payment', status)
    }
  }

  private strange(what: string, status: unknown): PaymentUnavailableError {
    const said = JSON.stringify(status ?? null).slice(0, 40)
    return new PaymentUnavailableError(`provider ${this.name} says of ${what} that it is ${said}`, false)
  }

  /** Undefined: 404. */
  private async ask(method: 'GET' | 'POST', path: string, body?: object, key?: string): Promise<Said | undefined> {
    const { url, secret, timeoutMs } = this.config
    let response: Response
    try {
      response = await fetch(url.replace(/\/$/, '') + path, {
        method,
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          authorization: `Bearer ${secret}`,
          accept: 'application/json',
          ...(body && { 'content-type': 'application/json' }),
          ...(key !== undefined && { 'idempotency-key': key }),
        },
        ...(body && { body: JSON.stringify(body) }),
      })
    } catch (error) {
      const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code
      // Nobody listens there, or nobody knows where: nothing was sent.
      const before = code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EAI_AGAIN'
      throw new PaymentUnavailableError(
        `provider ${this.name} cannot be asked (${code ?? 'no answer in time'})`,
        before,
        { cause: error },
      )
    }
    if (response.status === 404 && method === 'GET') return undefined
    const text = await this.textOf(response)
    const said = parsed(text)
    if (response.ok && said) return said
    // 402 and 422 are its way to decline; a 503 says that it did nothing.
    if ((response.status === 402 || response.status === 422) && said) return { ...said, status: 'declined' }
    throw new PaymentUnavailableError(`provider ${this.name} answers ${response.status}`, response.status === 503)
  }

  private async textOf(response: Response): Promise<string> {
    const chunks: Uint8Array[] = []
    let octets = 0
    try {
      for await (const chunk of response.body ?? []) {
        octets += (chunk as Uint8Array).length
        if (octets > answerOctets) throw new Error('too long')
        chunks.push(chunk as Uint8Array)
      }
    } catch (error) {
      throw new PaymentUnavailableError(`the answer of provider ${this.name} cannot be read`, false, { cause: error })
    }
    return Buffer.concat(chunks).toString()
  }
}

function parsed(text: string): Said | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
