/**
 * Who asks: the token of the data folder, an API key, or a JSON Web Token, all sent as `Authorization: Bearer`. Secrets are compared in
 * constant time, and an address that fails too often is locked out for a while.
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import { keyFault, principalOf, readKey, type ApiKey } from './api-keys.js'
import type { TokenOutcome } from './json-web-token.js'
import type { Lockout } from './limits.js'
import type { Principal } from './roles.js'
import { readSelfCareToken, subscriberPrincipal } from './self-care.js'

export type Authentication =
  | { readonly status: 'known'; readonly principal: Principal }
  | { readonly status: 'refused'; readonly why: string }
  /** For so many seconds nothing from there is looked at. */
  | { readonly status: 'locked'; readonly seconds: number }
  /** What knows the key, or signs the token, cannot be asked. */
  | { readonly status: 'unavailable'; readonly why: string }

export interface AuthenticationOptions {
  /** The token of the data folder. */
  readonly isToken: (authorization: string | undefined) => boolean
  /** @throws BalanceUnavailableError */
  readonly keyOf: (id: string) => Promise<ApiKey | undefined>
  /** Signs tokens of subscribers. @throws BalanceUnavailableError */
  readonly selfCareSecret: () => Promise<string>
  readonly tokens: { check(token: string, now: Millis): Promise<TokenOutcome> } | undefined
  readonly lockout: Lockout
  /** The machine's time: credentials end by it. */
  readonly now: () => Millis
  readonly clock: Clock
  readonly metrics: { authenticated(kind: Principal['kind'], result: 'known' | 'refused' | 'locked'): void }
}

/** A key that is revoked opens nothing any more after so long. */
const keepKeysMs = 2_000
const mostKeys = 10_000

export const tokenHolder: Principal = { id: 'admin-api', kind: 'token', roles: ['admin'] }

export class Authenticator {
  private readonly keys = new Map<string, { readonly key: ApiKey | undefined; readonly at: number }>()

  constructor(private readonly options: AuthenticationOptions) {}

  /** @throws BalanceUnavailableError when only the store can tell */
  async authenticate(authorization: string | undefined, address: string): Promise<Authentication> {
    const { lockout, isToken, metrics } = this.options
    // The token opens at once, whatever came from its address: an operator must get in while somebody guesses.
    if (isToken(authorization)) {
      metrics.authenticated('token', 'known')
      return { status: 'known', principal: tokenHolder }
    }
    const sent = /^Bearer +([^ ]+)$/i.exec(authorization ?? '')?.[1]
    if (sent === undefined)
      return {
        status: 'refused',
        why: 'send Authorization: Bearer with an API key, a token of the identity provider, or the token of the file that key admin.tokenFile names',
      }
    const kind = sent.startsWith('ocss_')
      ? 'subscriber'
      : sent.startsWith('ocs_')
        ? 'key'
        : /^[\w-]+\.[\w-]+\.[\w-]+$/.test(sent)
          ? 'jwt'
          : 'token'
    const seconds = lockout.locked(address)
    if (seconds > 0) {
      metrics.authenticated(kind, 'locked')
      return { status: 'locked', seconds }
    }
    const outcome = await this.look(kind, sent)
    if (outcome.status === 'known') lockout.passed(address)
    if (outcome.status === 'refused') lockout.failed(address)
    if (outcome.status === 'known' || outcome.status === 'refused') metrics.authenticated(kind, outcome.status)
    return outcome
  }

  private async look(kind: Principal['kind'], sent: string): Promise<Authentication> {
    const { tokens, now } = this.options
    if (kind === 'key') {
      const read = readKey(sent)
      const key = read && (await this.keyOf(read.id))
      const fault = keyFault(key, read?.secret ?? '', now())
      if (fault === undefined) return { status: 'known', principal: principalOf(key!) }
      // Whoever knows the secret may be told why it no longer opens.
      return { status: 'refused', why: fault === 'unknown' ? 'there is no such API key' : `the API key is ${fault}` }
    }
    if (kind === 'subscriber') {
      const read = readSelfCareToken(await this.options.selfCareSecret(), sent, now())
      if (typeof read === 'object') return { status: 'known', principal: subscriberPrincipal(read) }
      return { status: 'refused', why: read === 'expired' ? 'the token has expired' : 'there is no such token' }
    }
    if (kind === 'jwt' && tokens) {
      const outcome = await tokens.check(sent, now())
      if ('principal' in outcome) return { status: 'known', principal: outcome.principal }
      if ('unavailable' in outcome) return { status: 'unavailable', why: outcome.unavailable }
      return { status: 'refused', why: outcome.fault }
    }
    return {
      status: 'refused',
      why:
        kind === 'jwt' ? 'no identity provider is configured (admin.oidc)' : 'the token is not the one of this daemon',
    }
  }

  private async keyOf(id: string): Promise<ApiKey | undefined> {
    const now = this.options.clock.monotonic()
    const known = this.keys.get(id)
    if (known && now - known.at < keepKeysMs) return known.key
    const key = await this.options.keyOf(id)
    if (this.keys.size >= mostKeys) this.keys.clear()
    this.keys.set(id, { key, at: now })
    return key
  }
}
