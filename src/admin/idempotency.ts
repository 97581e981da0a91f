/**
 * The header Idempotency-Key on routes that move money: the same request again gets its first answer, another one under the same key is
 * refused. A refusal is not kept, so what it found wrong can be put right and sent again under the same key.
 */
import { createCipheriv, createDecipheriv, createHash, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Claim, KeptAnswers } from '../balance/idempotency.js'
import { Problem } from './problem.js'
import type { RouteAnswer, Schema } from './route.js'

/** What api.ts keeps answers in. */
export interface IdempotencyServices {
  readonly keptAnswers: KeptAnswers
}

export const idempotencyHeader = 'idempotency-key'

const form = /^[!-~]{1,128}$/
const nonceOctets = 12
const tagOctets = 16

export const idempotencySchema: Schema = {
  type: 'string',
  description:
    'Chosen by the client, 1 to 128 characters without spaces, like a UUID. The same request again gets the first answer ' +
    '(header idempotent-replayed: true), another request with the same key is refused',
  pattern: form.source,
}

/** @throws Problem when the header is missing or has another form */
export function readIdempotencyKey(headers: Readonly<Record<string, string | string[] | undefined>>): string {
  const key = headers[idempotencyHeader]
  if (key === undefined || key === '') {
    throw new Problem(
      'idempotency-key-required',
      'money moves here: send header Idempotency-Key with a new UUID, and the same one when you send the same request again',
    )
  }
  if (typeof key !== 'string' || !form.test(key)) {
    throw new Problem(
      'invalid-request',
      'header Idempotency-Key: write 1 to 128 characters without spaces, like a UUID',
    )
  }
  return key
}

/** What a request asks for: method, path with query, and body, whatever the order of its members. A streamed body is not looked at. */
export function fingerprintOf(method: string, url: string, body: unknown): string {
  const content = body instanceof Readable ? 'stream' : canonical(body)
  return createHash('sha256').update(`${method} ${url}\n${content}`).digest('base64url')
}

/**
 * Does the work of a request unless it was done under this key before.
 *
 * @throws Problem idempotency-key-reused, and what `work` throws
 */
export async function once(
  { keptAnswers }: IdempotencyServices,
  request: { readonly principal: string; readonly key: string; readonly fingerprint: string },
  work: () => Promise<RouteAnswer> | RouteAnswer,
): Promise<RouteAnswer> {
  const claim: Claim = { ...request, claimant: randomUUID() }
  const outcome = await keptAnswers.claim(claim)
  if (outcome.status === 'reused') {
    throw new Problem(
      'idempotency-key-reused',
      'this Idempotency-Key came with another request before: send a new key with a new request',
    )
  }
  if (outcome.status === 'answered') return replayed(opened(outcome.answer, request.key))
  let answer: RouteAnswer
  try {
    answer = await work()
  } catch (error) {
    // What became of a 5xx is not known: its key stays with this request.
    if (error instanceof Problem && error.document().status < 500) await keptAnswers.release(claim)
    throw error
  }
  if (answer.unkept || answer.body instanceof Readable) return answer
  const { status, body, headers } = answer
  const text = sealed(JSON.stringify({ status, body, headers }), request.key)
  const first = await keptAnswers.keep(claim, text)
  return first === text ? answer : replayed(opened(first, request.key))
}

function replayed(text: string): RouteAnswer {
  const answer = JSON.parse(text) as RouteAnswer
  return { ...answer, headers: { ...answer.headers, 'idempotent-replayed': 'true' } }
}

/**
 * An answer may show an account with the identities of its subscribers. It is kept so that only whoever sends the key again can read it:
 * encrypted under the key, of which the store has a hash.
 */
function sealed(text: string, key: string): string {
  const nonce = createHash('sha256').update(text).digest().subarray(0, nonceOctets)
  const cipher = createCipheriv('aes-256-gcm', secretOf(key), nonce)
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64')
}

function opened(text: string, key: string): string {
  const octets = Buffer.from(text, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', secretOf(key), octets.subarray(0, nonceOctets))
  decipher.setAuthTag(octets.subarray(nonceOctets, nonceOctets + tagOctets))
  return Buffer.concat([decipher.update(octets.subarray(nonceOctets + tagOctets)), decipher.final()]).toString('utf8')
}

const secretOf = (key: string): Buffer => createHash('sha256').update(`kept answer of ${key}`).digest()

/** JSON whose members are in the order of their names. */
const canonical = (body: unknown): string =>
  JSON.stringify(body ?? null, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  )
