/** All accounts, a page at a time, while they come and go; and one session by its id. Reads in bulk, for people and exports. */
import { readAccount, readSession } from './accounts.js'
import { accountKey, partitionOf, sessionIndexKey, sessionKey } from './keys.js'
import { inPipeline } from './pipeline.js'
import type { Store } from './store.js'
import type { Account, Accounts, Session } from './types.js'

/** Where the next page begins: the store's own cursor, and the last account of a batch that a page ended within. */
export interface ListPosition {
  readonly cursor: string
  readonly last: string
}

export interface AccountPage {
  readonly accounts: readonly Account[]
  /** Undefined: there are no more. */
  readonly next: ListPosition | undefined
}

/** Throws BalanceUnavailableError when the store is not reachable. */
export interface AccountList {
  /**
   * Whatever is there from the first page to the last is shown; it may come twice while the store grows. A page may be shorter than
   * `limit`, or empty, though more follow.
   */
  page(query: {
    readonly from: ListPosition | undefined
    readonly limit: number
    readonly matches: (account: Account) => boolean
  }): Promise<AccountPage>
  /** Open, or ended and still kept. */
  session(id: string): Promise<Session | undefined>
}

const keysOfOneScan = 500
/** So that a page comes soon, however rare a match is. */
const scansOfOnePage = 200

export class RedisAccountList implements AccountList {
  constructor(
    /** A connection of its own for work in the background. */
    private readonly store: Store,
    private readonly partitions: number,
    private readonly accounts: Pick<Accounts, 'sessions'>,
    private readonly patienceMs = 5000,
  ) {}

  async page({ from, limit, matches }: Parameters<AccountList['page']>[0]): Promise<AccountPage> {
    const found: Account[] = []
    let { cursor, last } = from ?? { cursor: '0', last: '' }
    for (let scans = 0; scans < scansOfOnePage; scans++) {
      const [next, keys] = await this.call(redis =>
        redis.scan(cursor, 'MATCH', accountKey(0, '*').replace('{0}', '{*}'), 'COUNT', keysOfOneScan),
      )
      const ids = keys.map(key => key.slice(key.indexOf(':account:') + ':account:'.length)).filter(id => id > last)
      for (const account of await this.read(ids.sort())) {
        last = account.id
        if (!matches(account)) continue
        found.push(account)
        if (found.length === limit) return { accounts: found, next: { cursor, last } }
      }
      if (next === '0') return { accounts: found, next: undefined }
      cursor = next
      last = ''
    }
    return { accounts: found, next: { cursor, last } }
  }

  async session(id: string): Promise<Session | undefined> {
    const owner = await this.call(redis => redis.get(sessionIndexKey(id)))
    // Gateways that always name the subscriber have their sessions in no index.
    if (owner === null) return (await this.accounts.sessions({ limit: 1_000_000 })).find(session => session.id === id)
    const partition = partitionOf(owner.slice(0, owner.indexOf(' ')), this.partitions)
    return readSession(id, await this.call(redis => redis.hgetall(sessionKey(partition, id))))
  }

  private async read(ids: readonly string[]): Promise<Account[]> {
    const hashes = (await this.call(redis =>
      inPipeline(redis, pipeline =>
        ids.forEach(id => pipeline.hgetall(accountKey(partitionOf(id, this.partitions), id))),
      ),
    )) as Record<string, string>[]
    return ids.flatMap((id, i) => {
      const all = hashes[i]!
      return all['funds'] === undefined ? [] : [readAccount(id, partitionOf(id, this.partitions), all)]
    })
  }

  private call<T>(send: (redis: Store['redis']) => Promise<T>): Promise<T> {
    return this.store.call('list', this.store.deadlineIn(this.patienceMs), send)
  }
}
