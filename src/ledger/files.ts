/**
 * The ledger's files: JSON lines `{"partition":17,"id":"1795446694000-0", … the entry's members}` in
 * `ledger-<start>-<n>.jsonl`, whose names sort as they were written. A file only grows; a last line without its end was torn
 * by a crash and does not count.
 */
import { mkdir, open, readdir, stat, truncate, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { isAfter } from '../balance/journal.js'

/** What the writer needs of a file system; tests hand in one that fails. */
export interface LedgerFiles {
  /** Makes a file that did not exist, durable with its name. */
  create(path: string): Promise<LedgerFile>
  remove(path: string): Promise<void>
}

export interface LedgerFile {
  /** All of the octets, at this offset. */
  write(octets: Buffer, at: number): Promise<void>
  /** Rejects when the octets may not be on the disk; nothing in between can be trusted then. */
  sync(): Promise<void>
  truncate(length: number): Promise<void>
  close(): Promise<void>
}

/** One line of a file, as octets without the line end. */
export interface LedgerLines {
  readonly lines: readonly string[]
  /** Offset of the first octet after the last line. */
  readonly end: number
}

const linePattern = /^\{"partition":(\d+),"id":"(\d+-\d+)"[,}]/
const pieceOctets = 256 * 1024

export const systemFiles: LedgerFiles = {
  async create(path) {
    const handle = await open(path, 'wx', 0o640)
    await syncFolder(join(path, '..'))
    return new SystemFile(handle)
  },
  remove: path => unlink(path),
}

class SystemFile implements LedgerFile {
  constructor(private readonly handle: FileHandle) {}

  async write(octets: Buffer, at: number): Promise<void> {
    for (let done = 0; done < octets.length;) {
      const { bytesWritten } = await this.handle.write(octets, done, octets.length - done, at + done)
      done += bytesWritten
    }
  }

  sync(): Promise<void> {
    return this.handle.datasync()
  }

  truncate(length: number): Promise<void> {
    return this.handle.truncate(length)
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Of the ledger's own files. */
export const ledgerPrefix = 'ledger'

/** Name of the n-th file of a run that started then: they sort by time. */
export const rowsFileName = (prefix: string, started: Date, n: number): string =>
  `${prefix}-${started.toISOString().replaceAll(/[-:.]/g, '')}-${String(n).padStart(6, '0')}.jsonl`

/** The ledger files of a folder, oldest first; none when there is no such folder. */
export async function listFiles(folder: string, prefix = ledgerPrefix): Promise<string[]> {
  try {
    const names = await readdir(folder)
    return names
      .filter(name => name.startsWith(`${prefix}-`) && name.endsWith('.jsonl'))
      .sort()
      .map(name => join(folder, name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Makes the folder and cuts torn last lines off. */
export async function prepareFolder(folder: string, prefix = ledgerPrefix): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o750 })
  for (const path of await listFiles(folder, prefix)) {
    const { size } = await stat(path)
    const end = await lastLineEnd(path, size)
    if (end < size) await truncate(path, end)
  }
}

/** Last id of each partition in the newest files of a folder, at least `octets` of them: what was written, acknowledged or not. */
export async function lastIdsOf(folder: string, octets: number, prefix = ledgerPrefix): Promise<Map<number, string>> {
  const last = new Map<number, string>()
  let seen = 0
  for (const path of (await listFiles(folder, prefix)).reverse()) {
    if (seen >= octets) break
    const { size } = await stat(path)
    let from = Math.max(0, size - (octets - seen))
    let cut = from > 0 // the first line of a piece out of the middle is not whole
    seen += size - from
    for await (const { lines, end } of readLines(path, from, size)) {
      for (const line of cut ? lines.slice(1) : lines) {
        const place = placeOf(line)
        if (!place) continue
        const known = last.get(place.partition)
        if (known === undefined || isAfter(place.id, known)) last.set(place.partition, place.id)
      }
      cut = false
      from = end
    }
  }
  return last
}

/** Where a line's entry stands in the journal; undefined when it is no line of ours. */
export function placeOf(line: string): { partition: number; id: string } | undefined {
  const match = linePattern.exec(line)
  return match ? { partition: Number(match[1]), id: match[2]! } : undefined
}

/** Whole lines from an offset, some hundred at a time, up to where the file ended when asked, or to `until`. */
export async function* readLines(path: string, from: number, until = Infinity): AsyncGenerator<LedgerLines> {
  const handle = await open(path, 'r')
  try {
    const size = Math.min(until, (await handle.stat()).size)
    let buffer = Buffer.allocUnsafe(pieceOctets)
    let start = from // of the line that is not whole yet
    let filled = 0
    while (start + filled < size) {
      if (filled === buffer.length) buffer = Buffer.concat([buffer], buffer.length * 2)
      const { bytesRead } = await handle.read(
        buffer,
        filled,
        Math.min(buffer.length, size - start) - filled,
        start + filled,
      )
      if (bytesRead === 0) return
      filled += bytesRead
      const end = buffer.lastIndexOf(10, filled - 1)
      if (end < 0 || end >= filled) continue
      const lines = buffer.toString('utf8', 0, end).split('\n')
      buffer.copyWithin(0, end + 1, filled)
      filled -= end + 1
      start += end + 1
      yield { lines, end: start }
    }
  } finally {
    await handle.close()
  }
}

/** Offset after the last line end. */
async function lastLineEnd(path: string, size: number): Promise<number> {
  if (size === 0) return 0
  const handle = await open(path, 'r')
  try {
    const buffer = Buffer.allocUnsafe(64 * 1024)
    // Usually the last octet says it.
    await handle.read(buffer, 0, 1, size - 1)
    if (buffer[0] === 10) return size
    for (let to = size; to > 0;) {
      const from = Math.max(0, to - buffer.length)
      const { bytesRead } = await handle.read(buffer, 0, to - from, from)
      const end = buffer.subarray(0, bytesRead).lastIndexOf(10)
      if (end >= 0) return from + end + 1
      to = from
    }
    return 0
  } finally {
    await handle.close()
  }
}
