/**
 * One attempt at a webhook: a signed POST, with bounds on everything that the receiver may do (design: accounts, webhooks).
 *
 * `Ocs-Signature: t=<Unix time>,v1=<hex>`: HMAC-SHA256 of `<t>.<body>` under the secret; with two secrets, while they are changed, two
 * `v1=`. Receivers compare with each, and refuse what is older than a few minutes.
 */
import { createHmac } from 'node:crypto'
import { request as requestHttp, type RequestOptions, Agent as HttpAgent } from 'node:http'
import { request as requestHttps, Agent as HttpsAgent } from 'node:https'
import type { Clock } from '../clock.js'

/** Where events go. */
export interface WebhookTarget {
  /** http or https. */
  readonly url: string
  /** In use first, then one that is still accepted; at least one. */
  readonly secrets: readonly string[]
  readonly headers: Readonly<Record<string, string>>
  /** For a whole attempt. */
  readonly timeoutMs: number
}

export type AttemptResult =
  | { readonly status: 'delivered'; readonly code: number }
  /** `why` names no detail of ours or of the receiver's answer. */
  | {
      readonly status: 'failed'
      readonly result: FailedResult
      readonly code: number | undefined
      readonly why: string
    }
/** Metric label of an attempt. */
export type FailedResult = 'redirect' | 'client-error' | 'server-error' | 'timeout' | 'unreachable' | 'broken'

/** Octets of an answer that are read; it is looked at by nobody. */
const mostAnswer = 64 * 1024

export class Sender {
  private readonly http: HttpAgent
  private readonly https: HttpsAgent

  constructor(
    private readonly clock: Clock,
    /** Connections to one receiver. */
    connections: number,
  ) {
    const options = { keepAlive: true, maxSockets: connections, maxFreeSockets: connections }
    this.http = new HttpAgent(options)
    this.https = new HttpsAgent(options)
  }

  /** Never throws; what fails is a result. */
  send(target: WebhookTarget, eventId: string, body: string): Promise<AttemptResult> {
    const { clock } = this
    const url = new URL(target.url)
    const secure = url.protocol === 'https:'
    const octets = Buffer.from(body)
    const options: RequestOptions = {
      method: 'POST',
      agent: secure ? this.https : this.http,
      headers: {
        'user-agent': 'ocsd',
        ...target.headers,
        'content-type': 'application/json',
        'content-length': octets.length,
        'ocs-event-id': eventId,
        'ocs-signature': signature(target.secrets, Math.floor(Date.now() / 1000), body),
      },
    }
    return new Promise(resolve => {
      const request = (secure ? requestHttps : requestHttp)(url, options)
      let ended = false
      const end = (result: AttemptResult): void => {
        if (ended) return
        ended = true
        clock.clearTimeout(timer)
        resolve(result)
      }
      const timer = clock.setTimeout(() => {
        end(failed('timeout', undefined, `no answer within ${target.timeoutMs} ms`))
        request.destroy()
      }, target.timeoutMs)
      request.on('error', error => end(failedBy(error)))
      request.on('response', response => {
        const code = response.statusCode ?? 0
        let read = 0
        response.on('data', (piece: Buffer) => {
          read += piece.length
          if (read <= mostAnswer) return
          end(resultOf(code)) // the answer is its status; the rest of it is not waited for
          request.destroy()
        })
        response.on('end', () => end(resultOf(code)))
        response.on('error', error => end(failedBy(error)))
        response.on('close', () => end(failed('broken', code, 'the connection ended in the middle of the answer')))
      })
      request.end(octets)
    })
  }

  close(): void {
    this.http.destroy()
    this.https.destroy()
  }
}

/** @param at Unix seconds */
export const signature = (secrets: readonly string[], at: number, body: string): string =>
  [
    `t=${at}`,
    ...secrets.map(secret => `v1=${createHmac('sha256', secret).update(`${at}.${body}`).digest('hex')}`),
  ].join(',')

function resultOf(code: number): AttemptResult {
  if (code >= 200 && code < 300) return { status: 'delivered', code }
  if (code >= 300 && code < 400) return failed('redirect', code, `answered ${code}: redirects are not followed`)
  return failed(code >= 400 && code < 500 ? 'client-error' : 'server-error', code, `answered ${code}`)
}

const failed = (result: FailedResult, code: number | undefined, why: string): AttemptResult => ({
  ...{ status: 'failed', result, code, why },
})

/** System errors name addresses; their codes do not. */
function failedBy(error: Error): AttemptResult {
  const { code } = error as NodeJS.ErrnoException
  const broken = code === 'ECONNRESET' || code === 'EPIPE' || code === 'HPE_INVALID_CONSTANT'
  const known = typeof code === 'string' && /^[A-Z_]{1,40}$/.test(code) ? ` (${code})` : ''
  return failed(
    broken ? 'broken' : 'unreachable',
    undefined,
    broken ? `the connection broke${known}` : `no connection${known}`,
  )
}
