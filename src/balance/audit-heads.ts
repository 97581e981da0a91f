/** Number and hash of the last line of each daemon's audit log, where whoever changes its files does not reach. */
import { auditHeadsKey } from './keys.js'
import type { Store } from './store.js'

export interface AuditLogHead {
  readonly n: number
  readonly hash: string
}

export class AuditHeads {
  constructor(
    private readonly store: Store,
    private readonly daemon: string,
    private readonly patienceMs = 5000,
  ) {}

  /** One writer a daemon, in order. @throws BalanceUnavailableError */
  async set({ n, hash }: AuditLogHead): Promise<void> {
    await this.store.call('audit-head', this.store.deadlineIn(this.patienceMs), redis =>
      redis.hset(auditHeadsKey, this.daemon, `${n} ${hash}`),
    )
  }

  /** Undefined: this daemon has written none. @throws BalanceUnavailableError */
  async get(): Promise<AuditLogHead | undefined> {
    const text = await this.store.call('audit-head', this.store.deadlineIn(this.patienceMs), redis =>
      redis.hget(auditHeadsKey, this.daemon),
    )
    const [n, hash] = (text ?? '').split(' ')
    return hash === undefined ? undefined : { n: Number(n), hash }
  }
}
