/** JSON Web Tokens of an OpenID Connect provider: signature, issuer, audience and times are checked, roles come from a claim. */
import { readFileSync } from 'node:fs'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  jwtVerify,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
} from 'jose'
import type { OidcConfig } from '../config/config.js'
import type { Millis } from '../units.js'
import { roles, type Principal, type Role } from './roles.js'

/** Signatures with a key that the provider alone has; none that a shared secret makes. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const skewSeconds = 30

export type TokenOutcome =
  | { readonly principal: Principal }
  | { readonly fault: string } /** The provider's keys cannot be had. */
  | { readonly unavailable: string }

export class JsonWebTokens {
  private readonly keys: JWTVerifyGetKey

  /** @throws Error when a file of keys cannot be read */
  constructor(private readonly config: OidcConfig) {
    const { jwks } = config
    this.keys =
      'url' in jwks
        ? createRemoteJWKSet(new URL(jwks.url), {
            timeoutDuration: 3_000,
            cooldownDuration: 30_000,
            cacheMaxAge: 600_000,
          })
        : createLocalJWKSet(JSON.parse(readFileSync(jwks.file, 'utf8')) as JSONWebKeySet)
  }

  /** @param now the machine's time, ms */
  async check(token: string, now: Millis): Promise<TokenOutcome> {
    const { issuer, audience, subjectClaim, rolesClaim } = this.config
    try {
      const { payload } = await jwtVerify(token, this.keys, {
        ...{ issuer, audience, algorithms, clockTolerance: skewSeconds, currentDate: new Date(now) },
        requiredClaims: ['exp', subjectClaim],
      })
      const subject = payload[subjectClaim]
      if (typeof subject !== 'string' || subject === '') return { fault: `claim ${subjectClaim} is no text` }
      return { principal: { id: idOf(subject), kind: 'jwt', roles: this.rolesOf(valueAt(payload, rolesClaim)) } }
    } catch (error) {
      if (error instanceof errors.JWTExpired) return { fault: 'the token has expired' }
      if (error instanceof errors.JWTClaimValidationFailed) return { fault: `claim ${error.claim} is not accepted` }
      // What is wrong with the keys is nothing that the token's sender did.
      const keysFault = error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid
      const plain = error instanceof errors.JOSEError && error.code !== 'ERR_JOSE_GENERIC'
      if (plain && !keysFault) return { fault: 'the token is not valid' }
      return { unavailable: "the identity provider's keys cannot be read" }
    }
  }

  private rolesOf(claim: unknown): Role[] {
    const named = typeof claim === 'string' ? claim.split(/[\s,]+/) : Array.isArray(claim) ? claim : []
    const held = named.flatMap(name => (typeof name === 'string' ? (this.config.roles.get(name) ?? [name]) : []))
    return roles.filter(role => held.includes(role))
  }
}

/** `realm_access.roles` names a member of a member. */
function valueAt(payload: Readonly<Record<string, unknown>>, path: string): unknown {
  if (path in payload) return payload[path]
  return path
    .split('.')
    .reduce<unknown>(
      (value, name) =>
        typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined,
      payload,
    )
}

/** Subjects may be anything: what a ledger entry cannot hold becomes `_`. */
const idOf = (subject: string): string => `sub:${subject.replaceAll(/[^\w.@:-]/g, '_')}`.slice(0, 64)
