/** A sink of the journal: tells which accounts' money fell, and to how much. It keeps nothing, so nothing of it can be lost. */

export interface FallingMoneyEntry {
  readonly partition: number
  readonly text: string
}

/** `main` after the last of an account's postings that took from it; by partition and account. */
export function fallenMoney(entries: readonly FallingMoneyEntry[]): Map<number, Map<string, bigint>> {
  const fallen = new Map<number, Map<string, bigint>>()
  for (const { partition, text } of entries) {
    if (!text.includes('["main",')) continue
    const { account, posts } = JSON.parse(text) as {
      account: string
      posts: [string, string, number, number?, number?][]
    }
    const last = posts.findLast(([name]) => name === 'main')
    const [, , amount, , after] = last ?? []
    if (amount === undefined || after === undefined) continue
    let ofPartition = fallen.get(partition)
    if (!ofPartition) fallen.set(partition, (ofPartition = new Map<string, bigint>()))
    if (amount < 0) ofPartition.set(account, BigInt(after))
    else ofPartition.delete(account)
  }
  return fallen
}

export class FallingMoney {
  constructor(private readonly fell: (partition: number, money: ReadonlyMap<string, bigint>) => Promise<void>) {}

  open(): Promise<ReadonlyMap<number, string>> {
    return Promise.resolve(new Map())
  }

  async write(entries: readonly FallingMoneyEntry[]): Promise<number> {
    for (const [partition, money] of fallenMoney(entries)) await this.fell(partition, money)
    return 0
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
