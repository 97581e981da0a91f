/**
 * Reading the journal streams, one a partition: entries, how far each consumer has come, and what may leave (design:
 * ledger). Scripts append; consumers read by XREAD from their own position, which costs the store a third of groups with XACK.
 *
 * *Ours:* one XREAD names many partitions, which a single Redis allows and a Redis Cluster does not.
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import { consumersKey, journalKey } from './keys.js'
import { inPipeline, pieces } from './pipeline.js'
import type { Store } from './store.js'

/** Entries of one partition, oldest first. */
export interface JournalSlice {
  readonly partition: number
  readonly entries: readonly JournalEntry[]
  /** As many came as were asked for: there may be more. */
  readonly more: boolean
}

/** Stream id, and the entry as the script wrote it: one JSON object. */
export interface JournalEntry {
  readonly id: string
  readonly text: string
}

/** What a consumer has not reached yet. */
export interface Lag {
  /** About how many; an estimate by time. */
  readonly entries: number
  /** From the consumer's position to the stream's last entry, the most of all partitions. */
  readonly ms: number
}

/** Before every entry. */
export const streamStart = '0-0'

const groupSize = 128 // streams of one XREAD: fewer cost more round trips, more hold the store longer
const entriesOfOneRead = 2048 // about 1 ms of the store
const commandsOfOnePipeline = 256
const entriesLookedBack = 500

export class Journal {
  private readonly keys: readonly string[]

  constructor(
    /** A connection of its own for work in the background: a long reply must not stand before a charge's. */
    private readonly store: Store,
    readonly partitions: number,
    private readonly clock: Clock,
    /** How long one call may wait for the store, ms. */
    private readonly patienceMs = 5000,
  ) {
    this.keys = Array.from({ length: partitions }, (_, partition) => journalKey(partition))
  }

  /**
   * Entries after a position, of several partitions: at most `entriesOfOneRead` in one reply. Gives one batch of slices a
   * round trip; partitions without news are not in it.
   *
   * @throws BalanceUnavailableError
   */
  async *read(after: readonly (readonly [partition: number, id: string])[]): AsyncGenerator<readonly JournalSlice[]> {
    for (const group of pieces(after, groupSize)) {
      const count = Math.max(16, Math.floor(entriesOfOneRead / group.length))
      const names = group.map(([partition]) => this.keys[partition]!)
      const ids = group.map(([, id]) => id)
      const reply = await this.store.call('journal', this.deadline(), redis =>
        redis.xread('COUNT', count, 'STREAMS', ...names, ...ids),
      )
      if (reply === null) continue
      yield (reply as [string, [string, string[]][]][]).map(([key, entries]) => ({
        partition: Number(key.slice('ocs:{'.length, key.indexOf('}'))),
        entries: entries.map(([id, fields]) => ({ id, text: textOf(fields) })),
        more: entries.length >= count,
      }))
    }
  }

  /** Entries of a partition from the newest back, some hundred at a time. @throws BalanceUnavailableError */
  async *newest(partition: number): AsyncGenerator<readonly JournalEntry[]> {
    let end = '+'
    for (;;) {
      const entries = await this.store.call('journal', this.deadline(), redis =>
        redis.xrevrange(this.keys[partition]!, end, '-', 'COUNT', entriesLookedBack),
      )
      if (entries.length > 0) yield entries.map(([id, fields]) => ({ id, text: textOf(fields) }))
      if (entries.length < entriesLookedBack) return
      end = `(${entries.at(-1)![0]}`
    }
  }

  /** Makes the consumer known, so that nothing it has not read is trimmed; gives its positions. May be repeated. */
  async register(consumer: string, partitions: readonly number[]): Promise<Map<number, string>> {
    const positions = new Map<number, string>()
    for (const some of pieces(partitions, commandsOfOnePipeline)) {
      const replies = await this.store.call('consumers', this.deadline(), redis =>
        inPipeline(redis, pipeline => {
          for (const partition of some) {
            pipeline.hsetnx(consumersKey(partition), consumer, streamStart)
            pipeline.hget(consumersKey(partition), consumer)
          }
        }),
      )
      some.forEach((partition, i) => positions.set(partition, replies[2 * i + 1] as string))
    }
    return positions
  }

  /** Stores how far the consumer has come: everything up to these ids is safe with it. */
  async acknowledge(consumer: string, positions: ReadonlyMap<number, string>): Promise<void> {
    for (const some of pieces([...positions], commandsOfOnePipeline)) {
      await this.store.call('consumers', this.deadline(), redis =>
        inPipeline(redis, pipeline => {
          for (const [partition, id] of some) pipeline.hset(consumersKey(partition), consumer, id)
        }),
      )
    }
  }

  /** Names of all that are registered for any partition. */
  async consumers(): Promise<Set<string>> {
    const names = new Set<string>()
    for (const some of pieces([...this.keys.keys()], commandsOfOnePipeline)) {
      const replies = (await this.store.call('consumers', this.deadline(), redis =>
        inPipeline(redis, pipeline => some.forEach(partition => pipeline.hkeys(consumersKey(partition)))),
      )) as string[][]
      for (const name of replies.flat()) names.add(name)
    }
    return names
  }

  /** A consumer that will not come back no longer holds entries. */
  async forget(consumer: string): Promise<void> {
    for (const some of pieces([...this.keys.keys()], commandsOfOnePipeline)) {
      await this.store.call('consumers', this.deadline(), redis =>
        inPipeline(redis, pipeline => {
          for (const partition of some) pipeline.hdel(consumersKey(partition), consumer)
        }),
      )
    }
  }

  /**
   * Takes out what every known consumer has acknowledged and is older than `keepMs`. A partition without consumers keeps all.
   *
   * @returns how many went, and the partitions in which something acknowledged is still too young
   */
  async trim(partitions: readonly number[], keepMs: number): Promise<{ removed: number; young: readonly number[] }> {
    const oldest = `${this.store.storeTime(this.clock.now()) - keepMs}-0`
    const young: number[] = []
    let removed = 0
    for (const some of pieces(partitions, commandsOfOnePipeline)) {
      const consumers = (await this.store.call('consumers', this.deadline(), redis =>
        inPipeline(redis, pipeline => some.forEach(partition => pipeline.hvals(consumersKey(partition)))),
      )) as string[][]
      const bounds: [string, string][] = []
      some.forEach((partition, i) => {
        const acknowledged = consumers[i]!.reduce<string | undefined>(
          (least, id) => (least === undefined || isAfter(least, id) ? id : least),
          undefined,
        )
        if (acknowledged === undefined || acknowledged === streamStart) return
        const after = next(acknowledged)
        const tooYoung = isAfter(after, oldest)
        if (tooYoung) young.push(partition)
        bounds.push([this.keys[partition]!, tooYoung ? oldest : after])
      })
      const counts = (await this.store.call('trim', this.deadline(), redis =>
        inPipeline(redis, pipeline => {
          for (const [key, bound] of bounds) pipeline.xtrim(key, 'MINID', bound)
        }),
      )) as number[]
      for (const count of counts) removed += count
    }
    return { removed, young }
  }

  /** Id of the last entry ever appended to each partition; `streamStart` when there was none. */
  async lastIds(partitions: readonly number[]): Promise<Map<number, string>> {
    const last = new Map<number, string>()
    for (const some of pieces(partitions, commandsOfOnePipeline)) {
      const replies = (await this.store.call('journal', this.deadline(), redis =>
        inPipeline(redis, pipeline => some.forEach(p => pipeline.xrevrange(this.keys[p]!, '+', '-', 'COUNT', 1))),
      )) as [string, string[]][][]
      some.forEach((partition, i) => last.set(partition, replies[i]![0]?.[0] ?? streamStart))
    }
    return last
  }

  /** How far behind a consumer at these positions is. */
  async lag(positions: ReadonlyMap<number, string>): Promise<Lag> {
    let entries = 0
    let ms = 0
    for (const some of pieces([...positions], commandsOfOnePipeline)) {
      const replies = await this.store.call('journal', this.deadline(), redis =>
        inPipeline(redis, pipeline => {
          for (const [partition] of some) {
            pipeline.xlen(this.keys[partition]!)
            pipeline.xrange(this.keys[partition]!, '-', '+', 'COUNT', 1)
            pipeline.xrevrange(this.keys[partition]!, '+', '-', 'COUNT', 1)
          }
        }),
      )
      some.forEach(([, position], i) => {
        const [first] = replies[3 * i + 1] as [string][]
        const [last] = replies[3 * i + 2] as [string][]
        if (!first || !last || !isAfter(last[0], position)) return
        const length = replies[3 * i] as number
        const from = Math.max(timeOf(position), timeOf(first[0]) - 1)
        const all = timeOf(last[0]) - timeOf(first[0]) + 1
        entries += Math.min(length, Math.max(1, Math.round((length * (timeOf(last[0]) - from)) / all)))
        ms = Math.max(ms, timeOf(last[0]) - from)
      })
    }
    return { entries, ms }
  }

  private deadline(): number {
    return this.clock.monotonic() + this.patienceMs
  }
}

/** Is stream id `a` after `b`? */
export function isAfter(a: string, b: string): boolean {
  const ms = timeOf(a) - timeOf(b)
  return ms === 0 ? orderOf(a) > orderOf(b) : ms > 0
}

/** The store's time in a stream id. */
export const timeOf = (id: string): Millis => Number(id.slice(0, id.indexOf('-')))
const orderOf = (id: string): number => Number(id.slice(id.indexOf('-') + 1))
const next = (id: string): string => `${timeOf(id)}-${orderOf(id) + 1}`

/** Scripts write one field, `e`; what else somebody put there is kept, so that it shows. */
function textOf(fields: readonly string[]): string {
  if (fields.length === 2 && fields[0] === 'e' && fields[1]!.startsWith('{')) return fields[1]!
  return `{"foreign":${JSON.stringify(fields)}}`
}
