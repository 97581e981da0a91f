/**
 * Where the entries of one account stand in the ledger's files: beside each file that is complete lies a small index,
 * `ledger-….index`, so that an account's history costs three short reads a file and no search through gigabytes.
 *
 * An index can always be made again from its file: one that is missing, torn or of another size of its file is. The file that is still
 * written has its index in memory.
 *
 * Layout, big endian: `ocsidx1\n`, octets of the ledger file (8), entries (4), 4,097 counts (4 each: entries before each slot), then by
 * slot and in the file's order 4 octets of the account's hash and 6 of the offset. Slot: the upper 12 bits of the hash.
 */
import { open, readdir, rename, stat, unlink, writeFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { hash32 } from '../balance/keys.js'
import type { Clock, Timer } from '../clock.js'
import { listFiles, readLines } from './files.js'

/** Offsets of an account's entries in a file, ascending: so are their numbers. */
export type Offsets = readonly number[]

export interface LedgerIndexOptions {
  /** Of this daemon's ledger files. */
  readonly directory: string
  readonly clock: Clock
  readonly log: Logger
  /** Between two looks for files without an index, default 30 s. */
  readonly everyMs?: number
}

const magic = 'ocsidx1\n'
const slots = 4096
const headOctets = magic.length + 8 + 4
const tableOctets = (slots + 1) * 4
const rowOctets = 10
const slotOf = (hash: number): number => hash >>> 20
/** Of an entry; most are shorter. */
const guessOctets = 2048

/** How an entry begins, as the scripts write it. */
const accountPattern = /^\{"partition":\d+,"id":"[^"]*","account":"([^"]*)"/

/** Of one file, grown with it. */
interface Rows {
  /** Octets of the file that were looked at. */
  end: number
  readonly hashes: number[]
  readonly offsets: number[]
}

export class LedgerIndex {
  private readonly tails = new Map<string, Rows>()
  private timer: Timer | undefined
  private stopped = false
  private working: Promise<void> = Promise.resolve()

  constructor(private readonly options: LedgerIndexOptions) {}

  /** Looks after the files by itself: each that is complete gets its index. */
  start(): void {
    this.timer = this.options.clock.setTimeout(() => {
      this.working = this.tidy()
        .catch((error: unknown) => {
          const { log, directory } = this.options
          log.warn({ event: 'ledger_index', directory, err: error }, 'ledger files are read without their index')
        })
        .finally(() => {
          if (!this.stopped) this.start()
        })
    }, this.options.everyMs ?? 30_000)
  }

  async stop(): Promise<void> {
    this.stopped = true
    this.timer?.cancel()
    await this.working
  }

  /** Writes the indexes that are missing, and removes those whose file is gone. */
  async tidy(): Promise<void> {
    const { directory } = this.options
    const files = await listFiles(directory)
    for (const path of files.slice(0, -1)) {
      if (this.stopped) return
      if (!(await isWhole(path))) await this.write(path)
    }
    const wanted = new Set(files.map(path => indexPath(path)))
    for (const name of await namesIn(directory)) {
      const path = join(directory, name)
      if (/^ledger-.+\.index(\.new)?$/.test(name) && !wanted.has(path)) await unlink(path).catch(() => undefined)
    }
  }

  /**
   * Where entries of the account stand (a few may be of others: hashes collide).
   *
   * @param path of a ledger file of the folder
   */
  async offsetsOf(path: string, account: string): Promise<Offsets> {
    const hash = hash32(account)
    const indexed = await lookUp(path, hash)
    if (indexed) {
      this.tails.delete(path)
      return indexed
    }
    const rows = await this.grown(path)
    const found: number[] = []
    for (let i = 0; i < rows.hashes.length; i++) if (rows.hashes[i] === hash) found.push(rows.offsets[i]!)
    return found
  }

  private async grown(path: string): Promise<Rows> {
    const { size } = await stat(path)
    let rows = this.tails.get(path)
    if (rows?.end === size) return rows
    if (!rows || rows.end > size) rows = { end: 0, hashes: [], offsets: [] }
    // Two that grow the same rows at once would note lines twice.
    const own: Rows = { end: rows.end, hashes: [...rows.hashes], offsets: [...rows.offsets] }
    for await (const { lines, end } of readLines(path, own.end)) {
      note(own, lines)
      own.end = end
    }
    this.tails.set(path, own)
    return own
  }

  private async write(path: string): Promise<void> {
    const rows = await this.grown(path)
    const temporary = `${indexPath(path)}.new`
    await writeFile(temporary, encode(rows), { mode: 0o640 })
    await rename(temporary, indexPath(path))
    this.tails.delete(path)
  }
}

export const indexPath = (path: string): string => path.replace(/\.jsonl$/, '.index')

/** The line at an offset, without its end; undefined when there is none. */
export async function lineAt(handle: FileHandle, offset: number): Promise<string | undefined> {
  for (let length = guessOctets; ; length *= 8) {
    const buffer = Buffer.allocUnsafe(length)
    const { bytesRead } = await handle.read(buffer, 0, length, offset)
    const end = buffer.subarray(0, bytesRead).indexOf(10)
    if (end >= 0) return buffer.toString('utf8', 0, end)
    if (bytesRead < length) return undefined
  }
}

function note(rows: Rows, lines: readonly string[]): void {
  let offset = rows.end
  for (const line of lines) {
    const account = accountPattern.exec(line)?.[1]
    if (account !== undefined) {
      rows.hashes.push(hash32(account))
      rows.offsets.push(offset)
    }
    offset += Buffer.byteLength(line) + 1
  }
}

function encode({ end, hashes, offsets }: Rows): Buffer {
  const buffer = Buffer.alloc(headOctets + tableOctets + hashes.length * rowOctets)
  buffer.write(magic, 'latin1')
  buffer.writeBigUInt64BE(BigInt(end), magic.length)
  buffer.writeUInt32BE(hashes.length, magic.length + 8)
  const before = new Uint32Array(slots + 1)
  for (const hash of hashes) before[slotOf(hash) + 1]!++
  for (let slot = 1; slot <= slots; slot++) before[slot]! += before[slot - 1]!
  before.forEach((count, slot) => buffer.writeUInt32BE(count, headOctets + slot * 4))
  const next = before.slice()
  hashes.forEach((hash, i) => {
    const at = headOctets + tableOctets + next[slotOf(hash)]!++ * rowOctets
    buffer.writeUInt32BE(hash, at)
    buffer.writeUIntBE(offsets[i]!, at + 4, 6)
  })
  return buffer
}

async function lookUp(path: string, hash: number): Promise<Offsets | undefined> {
  const handle = await openIndex(path)
  if (!handle) return undefined
  try {
    if (!(await fits(handle, path))) return undefined
    const bounds = Buffer.alloc(8)
    await handle.read(bounds, 0, 8, headOctets + slotOf(hash) * 4)
    const [from, to] = [bounds.readUInt32BE(0), bounds.readUInt32BE(4)]
    if (to < from) return undefined
    const rows = Buffer.alloc((to - from) * rowOctets)
    const { bytesRead } = await handle.read(rows, 0, rows.length, headOctets + tableOctets + from * rowOctets)
    if (bytesRead < rows.length) return undefined
    const found: number[] = []
    for (let at = 0; at < rows.length; at += rowOctets)
      if (rows.readUInt32BE(at) === hash) found.push(rows.readUIntBE(at + 4, 6))
    return found
  } finally {
    await handle.close()
  }
}

async function isWhole(path: string): Promise<boolean> {
  const handle = await openIndex(path)
  if (!handle) return false
  try {
    return await fits(handle, path)
  } finally {
    await handle.close()
  }
}

async function openIndex(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(indexPath(path), 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Is it an index, all of it, of the file as it is now? */
async function fits(handle: FileHandle, path: string): Promise<boolean> {
  const head = Buffer.alloc(headOctets)
  const { bytesRead } = await handle.read(head, 0, headOctets, 0)
  if (bytesRead < headOctets || head.toString('latin1', 0, magic.length) !== magic) return false
  const entries = head.readUInt32BE(magic.length + 8)
  if ((await handle.stat()).size !== headOctets + tableOctets + entries * rowOctets) return false
  return BigInt((await stat(path)).size) === head.readBigUInt64BE(magic.length)
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
