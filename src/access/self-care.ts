/**
 * Tokens with which a subscriber's own app reads what is his, and nothing else: `ocss_<account>.<subscriber>.<end>.<HMAC-SHA256>`, made for
 * an app's server by whoever may read the account. They need no state: the secret that signs them is the same at all daemons of a store.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Millis } from '../units.js'
import type { Principal } from './roles.js'

export interface SelfCare {
  readonly account: string
  /** Its number in the account. */
  readonly subscriber: string
  /** Unix ms, whole seconds. */
  readonly expires: Millis
}

const form = /^ocss_([A-Za-z0-9._-]{1,64})~(\d{1,6})~(\d{10})~([A-Za-z0-9_-]{43})$/

export function selfCareToken(secret: string, { account, subscriber, expires }: SelfCare): string {
  const claims = `${account}~${subscriber}~${Math.floor(expires / 1000)}`
  return `ocss_${claims}~${sign(secret, claims)}`
}

/** Whose token it is, or why it does not open. */
export function readSelfCareToken(secret: string, token: string, now: Millis): SelfCare | 'unknown' | 'expired' {
  const [, account, subscriber, seconds, signature] = form.exec(token) ?? []
  const wanted = sign(secret, `${account}~${subscriber}~${seconds}`)
  if (signature === undefined || !timingSafeEqual(Buffer.from(wanted), Buffer.from(signature))) return 'unknown'
  const expires = Number(seconds) * 1000
  return expires <= now ? 'expired' : { account: account!, subscriber: subscriber!, expires }
}

export const subscriberPrincipal = ({ account, subscriber }: SelfCare): Principal => ({
  ...{ id: `self:${account}`.slice(0, 64), kind: 'subscriber', roles: [], self: { account, subscriber } },
})

const sign = (secret: string, claims: string): string =>
  createHmac('sha256', secret).update(`self-care ${claims}`).digest('base64url')
