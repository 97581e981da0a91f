/**
 * API keys: `ocs_<id>_<secret>`. The id is public and names the key in ledger and audit log; of the secret, 256 bits of chance, only the
 * SHA-256 is kept, which is enough for what cannot be guessed.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Millis } from '../units.js'
import type { Principal, Role } from './roles.js'

export interface ApiKey {
  readonly id: string
  /** What it is for, in its maker's words. */
  readonly name: string
  /** SHA-256 of the secret, hex. */
  readonly hash: string
  readonly roles: readonly Role[]
  /** The most that one request of it may credit or debit, decimal text by currency; absent: as its roles say. */
  readonly ceilings?: Readonly<Record<string, string>>
  readonly createdBy: string
  readonly createdAt: Millis
  readonly expires: Millis
  readonly revokedAt?: Millis
  readonly revokedBy?: string
}

const form = /^ocs_([a-z0-9]{10})_([A-Za-z0-9_-]{43})$/

export interface NewKey {
  readonly key: ApiKey
  /** Shown once, to whoever asked for it. */
  readonly secret: string
}

export function makeKey(terms: Omit<ApiKey, 'id' | 'hash'>): NewKey {
  const id = randomBytes(8).readBigUInt64BE().toString(36).padStart(13, '0').slice(-10)
  const secret = randomBytes(32).toString('base64url')
  return { key: { id, hash: digest(secret).toString('hex'), ...terms }, secret: `ocs_${id}_${secret}` }
}

/** Id and secret of a text that has the form of a key. */
export function readKey(text: string): { readonly id: string; readonly secret: string } | undefined {
  const [, id, secret] = form.exec(text) ?? []
  return id === undefined ? undefined : { id, secret: secret! }
}

const nobody = Buffer.alloc(32)

/** Why a key does not open; compares also when there is none, so that the time tells nothing. */
export function keyFault(
  key: ApiKey | undefined,
  secret: string,
  now: Millis,
): 'unknown' | 'revoked' | 'expired' | undefined {
  const same = timingSafeEqual(digest(secret), key ? Buffer.from(key.hash, 'hex') : nobody)
  if (!key || !same) return 'unknown'
  if (key.revokedAt !== undefined) return 'revoked'
  return key.expires <= now ? 'expired' : undefined
}

export const principalOf = ({ id, roles, ceilings }: ApiKey): Principal => ({
  ...{ id: `key:${id}`, kind: 'key', roles },
  ...(ceilings && { ceilings }),
})

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
