/**
 * The due lists, one a partition: what must happen at a time. Members are `session <account> <session id>` and
 * `bucket <account> <bucket>`; lua/expire-session.lua and lua/expire-bucket.lua decide whether the time has really come.
 * Beside them are those of reauth.ts.
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import { accountKey, censusKey, dueKey, journalKey, sessionKey } from './keys.js'
import { inPipeline, pieces } from './pipeline.js'
import type { Store } from './store.js'

/** Something that is or comes due, business time. */
export interface Due {
  readonly member: string
  readonly at: Millis
}

export interface DueGlance {
  readonly partition: number
  /** When the next thing is due; Infinity: nothing is. */
  readonly next: Millis
  /** Things due up to the horizon. */
  readonly count: number
}

/** What became of one member. `early`: it was used in between. `gone`, `closed`: nothing was left to do. `skew`: clocks differ. */
export type Expired = 'released' | 'silent' | 'expired' | 'early' | 'closed' | 'gone' | 'skew' | `defect ${string}`

const partitionsOfOnePipeline = 128
/** Members of one list that a page reads at a time. */
const ofOnePartition = 200

const inOrder = (a: Due & { readonly partition: number }, b: Due & { readonly partition: number }): number =>
  a.at - b.at || a.partition - b.partition || (a.member < b.member ? -1 : a.member > b.member ? 1 : 0)

export class DueLists {
  constructor(
    /** A connection of its own for work in the background. */
    private readonly store: Store,
    /** Real time, for the store's patience. */
    private readonly clock: Clock,
    private readonly patienceMs = 5000,
  ) {}

  /** When something is due next in each of these partitions, and how much up to `horizon`. */
  async glance(partitions: readonly number[], horizon: Millis): Promise<DueGlance[]> {
    const all: DueGlance[] = []
    for (const some of pieces(partitions, partitionsOfOnePipeline)) {
      const replies = await this.store.call('due', this.deadline(), redis =>
        inPipeline(redis, pipeline => {
          for (const partition of some) {
            pipeline.zrange(dueKey(partition), '0', '0', 'WITHSCORES')
            pipeline.zcount(dueKey(partition), '-inf', horizon)
          }
        }),
      )
      some.forEach((partition, i) => {
        const [, at] = replies[2 * i] as string[]
        all.push({ partition, next: at === undefined ? Infinity : Number(at), count: replies[2 * i + 1] as number })
      })
    }
    return all
  }

  /** The members in the order of their times, from the `from`-th on. */
  async list(partition: number, from: number, most: number): Promise<Due[]> {
    const flat = await this.store.call('due', this.deadline(), redis =>
      redis.zrange(dueKey(partition), String(from), String(from + most - 1), 'WITHSCORES'),
    )
    return flat.flatMap((member, i) => (i % 2 === 0 ? [{ member, at: Number(flat[i + 1]) }] : []))
  }

  /** When this is due; undefined: it is not in the list. */
  async at(partition: number, member: string): Promise<Millis | undefined> {
    const score = await this.store.call('due', this.deadline(), redis => redis.zscore(dueKey(partition), member))
    return score === null ? undefined : Number(score)
  }

  /**
   * What is due in all partitions, in the order of time, partition and member; `after` is where the page before ended.
   *
   * @param wanted of these; others are passed, at most `looked` in one call
   * @returns `next`: where to go on; undefined: there is no more
   */
  async page(
    partitions: number,
    after: (Due & { readonly partition: number }) | undefined,
    limit: number,
    wanted: (member: string) => boolean,
    looked = 20_000,
  ): Promise<{ items: (Due & { partition: number })[]; next: (Due & { partition: number }) | undefined }> {
    const items: (Due & { partition: number })[] = []
    let last = after
    for (let seen = 0; seen < looked;) {
      const some = await this.following(partitions, last)
      if (some.length === 0) return { items, next: undefined }
      for (const each of some) {
        last = each
        seen++
        if (wanted(each.member)) items.push(each)
        if (items.length >= limit) return { items, next: last }
      }
    }
    return { items, next: last }
  }

  /** The next ones in that order, some hundred at most; none: that were all. */
  private async following(
    partitions: number,
    after: (Due & { readonly partition: number }) | undefined,
  ): Promise<(Due & { partition: number })[]> {
    const found: (Due & { partition: number })[] = []
    let bound: (Due & { readonly partition: number }) | undefined
    // Of one time there may be more than one reading brings: in the list where the page before ended, it goes on by place.
    const place = after
      ? await this.store.call('due', this.deadline(), redis => redis.zrank(dueKey(after.partition), after.member))
      : null
    for (const some of pieces([...Array(partitions).keys()], partitionsOfOnePipeline)) {
      const replies = await this.store.call('due', this.deadline(), redis =>
        inPipeline(redis, pipeline => {
          for (const partition of some) {
            const key = dueKey(partition)
            if (after?.partition === partition && place !== null)
              pipeline.zrange(key, String(place + 1), String(place + ofOnePartition), 'WITHSCORES')
            else {
              const past = after && partition < after.partition ? '(' : ''
              const from = after ? past + String(after.at) : '-inf'
              pipeline.zrange(key, from, '+inf', 'BYSCORE', 'LIMIT', 0, ofOnePartition, 'WITHSCORES')
            }
          }
        }),
      )
      some.forEach((partition, i) => {
        const flat = replies[i] as string[]
        let last
        for (let j = 0; j < flat.length; j += 2) {
          last = { partition, member: flat[j]!, at: Number(flat[j + 1]) }
          if (!after || inOrder(after, last) < 0) found.push(last)
        }
        // Of a list that was cut nothing is known beyond its last one.
        const cut = flat.length === 2 * ofOnePartition
        if (cut && last && (!bound || inOrder(last, bound) < 0)) bound = last
      })
    }
    const end = bound
    const known = end ? found.filter(each => inOrder(each, end) <= 0) : found
    return known.sort(inOrder)
  }

  /**
   * Does what a member stands for if its time has come; safe with many daemons at once.
   *
   * @param now business time, `offset` of it to real time (ms): the script compares with the store's clock
   * @param keepSilentMs how long the state of a session that ends by silence is kept
   * @throws BalanceUnavailableError; StoreDefectError when the data is not what it should be
   */
  async expire(partition: number, member: string, now: Millis, offset: number, keepSilentMs: number): Promise<Expired> {
    const { kind, account, id } = readMember(member)
    const times = [String(now), String(Math.round(offset))]
    const reply = await this.store.call('expire', this.deadline(), redis =>
      kind === 'session'
        ? redis.expireSession(
            accountKey(partition, account),
            sessionKey(partition, id),
            dueKey(partition),
            journalKey(partition),
            ...times,
            account,
            id,
            String(keepSilentMs),
            '',
            'silence',
          )
        : redis.expireBucket(
            accountKey(partition, account),
            dueKey(partition),
            journalKey(partition),
            censusKey(partition),
            ...times,
            account,
            id,
            member,
            '',
          ),
    )
    return reply as Expired
  }

  private deadline(): number {
    return this.clock.monotonic() + this.patienceMs
  }
}

/** `session <account> <session id>`, `bucket <account> <bucket>`, or a job's `<word> <account> <id>`; a Session-Id may hold anything. */
export function readMember(member: string): { kind: string; account: string; id: string } {
  const [kind, account] = member.split(' ', 2) as [string, string]
  return { kind, account, id: member.slice(kind.length + account.length + 2) }
}
