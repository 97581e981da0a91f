/**
 * What the programs mean that the ledger's entries name: written once by whoever compiles one first, read by whoever explains a
 * charge. Without it the entry still says everything in numbers.
 */
import type { Clock, Timer } from '../clock.js'
import { programsKey } from './keys.js'
import type { Store } from './store.js'

/** JSON by program id. */
export type DescribedProgram = { readonly id: string; readonly description: string }

const flushMs = 100
const retryMs = 1_000
/** Ids remembered as written; more begin anew. */
const mostKnown = 100_000

export class Programs {
  private readonly known = new Set<string>()
  private readonly unwritten = new Map<string, string>()
  private timer: Timer | undefined
  private closed = false

  constructor(
    private readonly store: Store,
    private readonly clock: Clock,
  ) {}

  /** Costs nothing the second time. */
  note({ id, description }: DescribedProgram): void {
    if (this.known.has(id)) return
    if (this.known.size >= mostKnown) this.known.clear()
    this.known.add(id)
    this.unwritten.set(id, description)
    this.timer ??= this.clock.setTimeout(() => this.flush(), flushMs)
  }

  /** Descriptions by id; ids that nobody described are absent. */
  async describe(ids: readonly string[], deadline: number): Promise<ReadonlyMap<string, string>> {
    const wanted = [...new Set(ids)]
    if (wanted.length === 0) return new Map()
    const found = await this.store.call('programs', deadline, redis => redis.hmget(programsKey, ...wanted))
    return new Map(wanted.flatMap((id, i) => (found[i] == null ? [] : [[id, found[i]]])))
  }

  /** Writes what is noted, now. */
  flush(): void {
    if (this.timer) this.clock.clearTimeout(this.timer)
    this.timer = undefined
    const noted = [...this.unwritten]
    this.unwritten.clear()
    if (noted.length === 0) return
    this.store.redis.hset(programsKey, ...noted.flat()).catch(() => {
      // The store is away: later, the same again.
      for (const [id, description] of noted) this.unwritten.set(id, description)
      if (!this.closed) this.timer ??= this.clock.setTimeout(() => this.flush(), retryMs)
    })
  }

  /** Writes what is left, and tries no more. */
  close(): void {
    this.closed = true
    this.flush()
  }
}
