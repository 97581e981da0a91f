/**
 * How far an audit has come, so that the next one reads only what is new: how much of which file, and each account's last entry and
 * amounts after it. One file of JSON rows, replaced whole; one that is torn or of another store counts as none.
 */
import { mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Millis } from '../units.js'
import { readLines, syncFolder } from './files.js'

/** Octets and lines of a file that were read. */
export interface FilePlace {
  readonly offset: number
  readonly line: number
}

export interface AccountReached {
  readonly account: string
  readonly partition: number
  /** First entry that was ever followed, and the last with its id in the journal. */
  readonly from: number
  readonly seq: number
  readonly id: string
  readonly held: number | undefined
  readonly balances: ReadonlyMap<string, number>
}

export interface AuditState {
  readonly at: Millis
  /** Last id of each partition that was read. */
  readonly reached: readonly string[]
  readonly files: ReadonlyMap<string, FilePlace>
}

interface Head {
  /** Of this form of the file. */
  readonly audit: number
  readonly at: Millis
  readonly reached: readonly string[]
  readonly files: Readonly<Record<string, readonly [number, number]>>
}

type Row = readonly [string, number, number, number, string, number | null, Readonly<Record<string, number>>]

const form = 1
const rowsOfOneWrite = 2000

/** Replaces what an earlier audit left. @throws the system's error; the old state stays then */
export async function writeState(path: string, state: AuditState, accounts: Iterable<AccountReached>): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o750 })
  const { at, reached, files } = state
  const head: Head = {
    ...{ audit: form, at, reached },
    files: Object.fromEntries([...files].map(([file, { offset, line }]) => [file, [offset, line]])),
  }
  const handle = await open(`${path}.part`, 'w', 0o640)
  try {
    let rows = [JSON.stringify(head)]
    let count = 0
    for (const { account, partition, from, seq, id, held, balances } of accounts) {
      const row: Row = [account, partition, from, seq, id, held ?? null, Object.fromEntries(balances)]
      rows.push(JSON.stringify(row))
      count++
      if (rows.length < rowsOfOneWrite) continue
      await handle.write(`${rows.join('\n')}\n`)
      rows = []
    }
    rows.push(JSON.stringify({ accounts: count }))
    await handle.write(`${rows.join('\n')}\n`)
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(`${path}.part`, path)
  await syncFolder(dirname(path))
}

/**
 * What the last audit left, account by account.
 *
 * @returns undefined where there is nothing to go on from: then what was told of accounts does not count
 */
export async function readState(
  path: string,
  partitions: number,
  tell: (account: AccountReached) => void,
): Promise<AuditState | undefined> {
  let head: Head | undefined
  let count = 0
  let whole = false
  try {
    for await (const { lines } of readLines(path, 0)) {
      for (const text of lines) {
        const row = JSON.parse(text) as Head | Row | { readonly accounts: number }
        if (Array.isArray(row)) {
          const [account, partition, from, seq, id, held, balances] = row as Row
          tell({
            account,
            partition,
            from,
            seq,
            id,
            held: held ?? undefined,
            balances: new Map(Object.entries(balances)),
          })
          count++
        } else if ('accounts' in row) whole = row.accounts === count
        else head = row as Head
      }
    }
  } catch (error) {
    if (!(error instanceof SyntaxError) && (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return undefined
  }
  if (!head || !whole || head.audit !== form || head.reached.length !== partitions) return undefined
  const files = Object.entries(head.files).map(([file, [offset, line]]) => [file, { offset, line }] as const)
  return { at: head.at, reached: head.reached, files: new Map(files) }
}
