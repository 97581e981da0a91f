/** Joins credentials, limits and the audit log for the admin API. */
import { Authenticator, type AuthenticationOptions } from '../access/authentication.js'
import type { ApiKey } from '../access/api-keys.js'
import { AuditLog, readAuditLog, verifyAuditLog } from '../access/audit-log.js'
import { JsonWebTokens } from '../access/json-web-token.js'
import { Lockout, RateLimit } from '../access/limits.js'
import { AuditHeads } from '../balance/audit-heads.js'
import { Documents } from '../balance/documents.js'
import { apiKeysKey, approvalsKey } from '../balance/keys.js'
import { secretOfStore } from '../balance/node-state.js'
import type { Store } from '../balance/store.js'
import type { Clock } from '../clock.js'
import type { AdminConfig } from '../config/config.js'
import type { AccessServices, Approval } from './access.js'
import { tokenCheck } from './token.js'

/**
 * @param options.folder of this daemon's audit log; options.daemon names it in the store
 * @throws Error when the log's folder or the provider's keys cannot be read
 */
export async function openAccess(options: {
  readonly token: string
  readonly config: Pick<AdminConfig, 'ratePerSecond' | 'lockout' | 'oidc' | 'approval'>
  readonly store: Store
  readonly folder: string
  readonly daemon: string
  readonly clock: Clock
  readonly mask: (identity: string) => string
  readonly metrics: AuthenticationOptions['metrics']
}): Promise<{ readonly services: AccessServices; close(): Promise<void> }> {
  const { token, config, store, folder, daemon, clock, mask, metrics } = options
  const now = (): number => Date.now() // credentials and log lines are of the machine's time, whatever the business clock shows
  const keys = new Documents<ApiKey>(store, apiKeysKey)
  const heads = new AuditHeads(store, daemon)
  const log = await AuditLog.open({ folder, now: () => new Date(now()), anchor: head => heads.set(head) })
  /** Read once. */
  let secret: string | undefined
  const selfCareSecret = async (): Promise<string> => (secret ??= await secretOfStore(store, 'selfCareSecret'))
  const authenticator = new Authenticator({
    isToken: tokenCheck(token),
    keyOf: async id => (await keys.get(id))?.document,
    selfCareSecret: () => selfCareSecret(),
    tokens: config.oidc && new JsonWebTokens(config.oidc),
    lockout: new Lockout(clock, config.lockout.tries, config.lockout.windowMs),
    ...{ now, clock, metrics },
  })
  const limit = new RateLimit(clock, config.ratePerSecond)
  return {
    services: {
      access: {
        authenticate: (authorization, address) => authenticator.authenticate(authorization, address),
        limit: principal => (principal.kind === 'token' ? 0 : limit.take(principal.id)),
        record: record => log.append(record),
        records: () => readAuditLog(folder),
        verify: async () => verifyAuditLog(folder, await heads.get()),
        keys,
        approvals: new Documents<Approval>(store, approvalsKey),
        policy: config.approval,
        mask,
        selfCareSecret: () => selfCareSecret(),
        now,
      },
    },
    close: () => log.close(),
  }
}
