/**
 * Reading all accounts and open sessions while charges go on: in bulk and only nearly at one time, and one account at a
 * time exactly. For the audit.
 */
import type { Clock } from '../clock.js'
import { readAccount, readSession, sessionOfDue } from './accounts.js'
import { accountKey, dueKey, partitionOf, sessionKey } from './keys.js'
import { inPipeline, pieces } from './pipeline.js'
import { StoreDefectError, type Store } from './store.js'
import type { Account, Session } from './types.js'

/** `account` is undefined when what stands there cannot be read. */
export interface AccountRead {
  readonly id: string
  readonly account: Account | undefined
}

/** An account and its open sessions, all of one moment. */
export interface AccountMoment {
  readonly account: Account | undefined
  readonly sessions: readonly Session[]
}

const keysOfOneScan = 500
const hashesOfOnePipeline = 200
const listsOfOnePipeline = 64
const membersOfOneRead = 1000

export class Snapshot {
  constructor(
    /** A connection of its own for work in the background. */
    private readonly store: Store,
    private readonly partitions: number,
    private readonly clock: Clock,
    private readonly patienceMs = 5000,
  ) {}

  /** Every account that is there from begin to end; one may come twice. */
  async *accounts(): AsyncGenerator<readonly AccountRead[]> {
    let cursor = '0'
    do {
      const [next, keys] = await this.store.call('scan', this.deadline(), redis =>
        redis.scan(cursor, 'MATCH', accountKey(0, '*').replace('{0}', '{*}'), 'COUNT', keysOfOneScan),
      )
      cursor = next
      for (const some of pieces(keys, hashesOfOnePipeline)) {
        const hashes = await this.hashes(some)
        yield some.map((key, i) => {
          const id = key.slice(key.indexOf(':account:') + ':account:'.length)
          return { id, account: accountOf(id, this.partitions, hashes[i]) }
        })
      }
    } while (cursor !== '0')
  }

  /** The lines of these accounts as they stand in the store, in this order. @throws BalanceUnavailableError */
  async accountLines(ids: readonly string[]): Promise<(Record<string, string> | undefined)[]> {
    const found: (Record<string, string> | undefined)[] = []
    for (const some of pieces(ids, hashesOfOnePipeline))
      found.push(...(await this.hashes(some.map(id => accountKey(partitionOf(id, this.partitions), id)))))
    return found
  }

  /** Every session that is open from begin to end: each has its entry in its partition's due list. */
  async *openSessions(): AsyncGenerator<readonly Session[]> {
    const all = Array.from({ length: this.partitions }, (_, partition) => partition)
    for (const group of pieces(all, listsOfOnePipeline)) {
      let rest: readonly number[] = group
      for (let from = 0; rest.length > 0; from += membersOfOneRead) {
        const lists = (await this.store.call('due', this.deadline(), redis =>
          inPipeline(redis, pipeline =>
            rest.forEach(partition =>
              pipeline.zrange(dueKey(partition), String(from), String(from + membersOfOneRead - 1)),
            ),
          ),
        )) as string[][]
        const found: { id: string; key: string }[] = []
        rest.forEach((partition, i) => {
          for (const member of lists[i]!) {
            const id = sessionOfDue(member)
            if (id !== undefined) found.push({ id, key: sessionKey(partition, id) })
          }
        })
        for (const some of pieces(found, hashesOfOnePipeline)) {
          const hashes = await this.hashes(some.map(({ key }) => key))
          yield some.flatMap(({ id }, i) => sessionOf(id, hashes[i]))
        }
        rest = rest.filter((_, i) => lists[i]!.length === membersOfOneRead)
      }
    }
  }

  /** The account and its open sessions of one moment. Undefined when its sessions come and go too fast. */
  async moment(id: string): Promise<AccountMoment | undefined> {
    const partition = partitionOf(id, this.partitions)
    let known: readonly string[] = []
    for (let tries = 0; tries < 20; tries++) {
      const replies = await this.store.call('account', this.deadline(), async redis => {
        const transaction = redis.multi()
        transaction.hgetall(accountKey(partition, id))
        transaction.zrange(dueKey(partition), '0', '-1')
        for (const session of known) transaction.hgetall(sessionKey(partition, session))
        return (await transaction.exec()) ?? []
      })
      const [account, due, ...sessions] = replies.map(tolerant)
      const listed = (due as string[])
        .filter(member => member.startsWith(`session ${id} `))
        .map(member => sessionOfDue(member)!)
      if (listed.every(session => known.includes(session))) {
        return {
          account: accountOf(id, this.partitions, account as Record<string, string> | undefined),
          sessions: known.flatMap((session, i) =>
            sessionOf(session, sessions[i] as Record<string, string> | undefined),
          ),
        }
      }
      known = listed
    }
    return undefined
  }

  /** Hashes of these keys; undefined for a key of another type. */
  private hashes(keys: readonly string[]): Promise<(Record<string, string> | undefined)[]> {
    return this.store.call('hashes', this.deadline(), async redis => {
      const pipeline = redis.pipeline()
      for (const key of keys) pipeline.hgetall(key)
      const replies = (await pipeline.exec()) ?? []
      return replies.map(reply => tolerant(reply) as Record<string, string> | undefined)
    })
  }

  private deadline(): number {
    return this.clock.monotonic() + this.patienceMs
  }
}

/** A key of the wrong type is a finding, not a failure. */
function tolerant([error, reply]: [Error | null, unknown]): unknown {
  if (error && !error.message.startsWith('WRONGTYPE')) throw error
  return error ? undefined : reply
}

function accountOf(id: string, partitions: number, all: Record<string, string> | undefined): Account | undefined {
  if (all?.['funds'] === undefined) return undefined
  try {
    return readAccount(id, partitionOf(id, partitions), all)
  } catch {
    return undefined
  }
}

function sessionOf(id: string, all: Record<string, string> | undefined): Session[] {
  if (!all) return []
  try {
    const session = readSession(id, all)
    return session?.open ? [session] : []
  } catch (error) {
    throw new StoreDefectError(`session ${id} cannot be read`, { cause: error })
  }
}
