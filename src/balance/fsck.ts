/**
 * Finds what a crash may have left between the index of identities and the accounts, and mends it: entries whose account does not have the
 * identity, and identities of accounts whose entry is missing or names something else. Reads in bulk while charges go on; what it finds it
 * looks at once more before it says so.
 */
import { accountKey, dueKey, identityKey, partitionOf } from './keys.js'
import { readSubscribers } from './balance.js'
import { inPipeline } from './pipeline.js'
import type { Store } from './store.js'
import type { RedisSubscribers } from './subscribers.js'
import type { Identity, IdentityType } from './types.js'

export interface Orphan {
  /**
   * `index`: the entry's account does not have the identity. `account`: the account has it, and its entry is missing or wrong.
   * `contested`: another account has it, too, and the entry: nobody but people can say whose it is.
   */
  readonly kind: 'index' | 'account' | 'contested'
  readonly identity: Identity
  readonly account: string
  /** What the entry says. */
  readonly entry: string | undefined
  readonly repaired: boolean
}

export interface FsckReport {
  readonly accounts: number
  readonly identities: number
  /** The first of them. */
  readonly orphans: readonly Orphan[]
  readonly found: number
}

/** Throws BalanceUnavailableError when the store is not reachable. */
export interface Fsck {
  check(options: { readonly repair: boolean }): Promise<FsckReport>
}

const keysOfOneScan = 500
const mostShown = 1000

type Suspect = Pick<Orphan, 'identity' | 'account'>

export class RedisFsck implements Fsck {
  constructor(
    /** A connection of its own for work in the background. */
    private readonly store: Store,
    private readonly partitions: number,
    private readonly subscribers: Pick<RedisSubscribers, 'settle'>,
    private readonly patienceMs = 5000,
  ) {}

  async check({ repair }: { readonly repair: boolean }): Promise<FsckReport> {
    const suspects: Suspect[] = []
    let [accounts, identities] = [0, 0]
    for await (const keys of this.scan('ocs:{*}:account:*')) {
      const ids = keys.map(key => key.slice(key.indexOf(':account:') + ':account:'.length))
      accounts += ids.length
      const listed = (await this.namesOf(ids)).flatMap((names, i) =>
        [...names].map(([name, number]) => ({ account: ids[i]!, identity: identityOf(name), number })),
      )
      identities += listed.length
      const entries = await this.entriesOf(listed.map(({ identity }) => identity))
      suspects.push(...listed.filter(({ account, number }, i) => entries[i] !== `${account} ${number}`))
    }
    for await (const keys of this.scan('ocs:subscriber:*')) {
      const hashes = (await this.call(redis =>
        inPipeline(redis, pipeline => keys.forEach(key => pipeline.hgetall(key))),
      )) as Record<string, string>[]
      const entries = keys.flatMap((key, i) =>
        Object.entries(hashes[i]!).map(([field, entry]) => ({ identity: identityAt(key, field), entry })),
      )
      const owners = [...new Set(entries.map(({ entry }) => ownerOf(entry)))]
      const names = new Map((await this.namesOf(owners)).map((each, i) => [owners[i]!, each]))
      for (const { identity, entry } of entries) {
        const account = ownerOf(entry)
        if (!names.get(account)?.has(nameOf(identity))) suspects.push({ account, identity })
      }
    }
    const orphans: Orphan[] = []
    let found = 0
    for (const suspect of suspects) {
      const orphan = await this.judged(suspect, repair)
      if (!orphan) continue
      found++
      if (orphans.length < mostShown) orphans.push(orphan)
    }
    return { accounts, identities, orphans, found }
  }

  /** Looked at once more: it may be well by now, or somebody is at work on it. */
  private async judged({ account, identity }: Suspect, repair: boolean): Promise<Orphan | undefined> {
    if (await this.underWay(account)) return undefined
    const [names] = await this.namesOf([account])
    const [entry] = await this.entriesOf([identity])
    const number = names!.get(nameOf(identity))
    const owner = entry === undefined ? undefined : ownerOf(entry)
    if (number === undefined) {
      if (owner !== account) return undefined
      if (repair) await this.subscribers.settle(account, [identity])
      return { kind: 'index', identity, account, entry, repaired: repair }
    }
    if (entry === `${account} ${number}`) return undefined
    if (owner !== undefined && owner !== account) {
      const [others] = await this.namesOf([owner])
      if (others!.has(nameOf(identity))) return { kind: 'contested', identity, account, entry, repaired: false }
      if (await this.underWay(owner)) return undefined
    }
    if (repair) await this.subscribers.settle(account, [identity], owner)
    return { kind: 'account', identity, account, entry, repaired: repair }
  }

  /** A change of its identities stands in the due list: it is ended there. */
  private async underWay(account: string): Promise<boolean> {
    const key = dueKey(partitionOf(account, this.partitions))
    for (const word of ['identity', 'move']) {
      let cursor = '0'
      do {
        const [next, members] = await this.call(redis =>
          redis.zscan(key, cursor, 'MATCH', `${word} ${account} *`, 'COUNT', keysOfOneScan),
        )
        if (members.length > 0) return true
        cursor = next
      } while (cursor !== '0')
    }
    return false
  }

  /** By identity, the number of the subscriber that has it; of each account. */
  private async namesOf(accounts: readonly string[]): Promise<Map<string, string>[]> {
    const texts = (await this.call(redis =>
      inPipeline(redis, pipeline =>
        accounts.forEach(id => pipeline.hget(accountKey(partitionOf(id, this.partitions), id), 'subscribers')),
      ),
    )) as (string | null)[]
    return texts.map(text => {
      const { subscribers } = readSubscribers(text ?? '')
      return new Map([...subscribers].flatMap(([number, names]) => names.map(name => [name, number] as const)))
    })
  }

  private async entriesOf(identities: readonly Identity[]): Promise<(string | undefined)[]> {
    const entries = (await this.call(redis =>
      inPipeline(redis, pipeline =>
        identities.forEach(identity => {
          const { key, field } = identityKey(identity)
          pipeline.hget(key, field)
        }),
      ),
    )) as (string | null)[]
    return entries.map(entry => entry ?? undefined)
  }

  private async *scan(pattern: string): AsyncGenerator<string[]> {
    let cursor = '0'
    do {
      const [next, keys] = await this.call(redis => redis.scan(cursor, 'MATCH', pattern, 'COUNT', keysOfOneScan))
      if (keys.length > 0) yield keys
      cursor = next
    } while (cursor !== '0')
  }

  private call<T>(send: (redis: Store['redis']) => Promise<T>): Promise<T> {
    return this.store.call('fsck', this.store.deadlineIn(this.patienceMs), send)
  }
}

const ownerOf = (entry: string): string => entry.slice(0, entry.indexOf(' '))
const nameOf = ({ type, value }: Identity): string => `${type}:${value}`

function identityOf(name: string): Identity {
  const colon = name.indexOf(':')
  return { type: name.slice(0, colon) as IdentityType, value: name.slice(colon + 1) }
}

/** As identityKey of keys.ts spreads them. */
function identityAt(key: string, field: string): Identity {
  const [, type, rest] = /^ocs:subscriber:(\w+):(.*)$/.exec(key)!
  return { type: type as IdentityType, value: type === 'nai' ? field : rest! + field }
}
