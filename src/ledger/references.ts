/**
 * A (channel, reference) is one recharge for good. The store knows references for 400 days; later repeats, and any that a defect let
 * through, show in the ledger alone: this finds them while the audit reads.
 *
 * Memory: two numbers a recharge. Hashes of 74 bits stand for the names: two that only look alike are not to be expected.
 */
import { hash32 } from '../balance/keys.js'

/** What it looks at of an entry. */
export interface ReferenceEntry {
  readonly account: string
  readonly seq: number
  readonly kind?: unknown
  readonly channel?: unknown
  readonly reference?: unknown
}

const seeds = [0x811c9dc5, 0x01234567, 0x7feb352d] as const
const low = 2 ** 21

export class References {
  /** By channel and reference: which entry was the first. */
  private readonly seen = new Map<number, number>()
  private readonly told = new Set<string>()

  /** Why this entry should not be; undefined: it is the first, the same again, or no recharge. */
  check({ account, seq, kind, channel, reference }: ReferenceEntry): string | undefined {
    if (kind !== 'recharge' || typeof channel !== 'string' || typeof reference !== 'string') return undefined
    const name = `${channel} ${reference}`
    const [first, second, third] = seeds.map(seed => hash32(name, seed))
    const key = first! * low + (second! >>> 11)
    // Of the value the low part is more of the name, the rest says which entry.
    const more = third! >>> 11
    const entry = hash32(`${account} ${seq}`) * low + more
    const before = this.seen.get(key)
    if (before === undefined) this.seen.set(key, entry)
    if (before === undefined || before === entry || before % low !== more) return undefined
    const twice = `${name} ${account} ${seq}`
    if (this.told.has(twice)) return undefined
    this.told.add(twice)
    return `entry ${seq}: the recharge ${name} was credited before, in another entry`
  }
}
