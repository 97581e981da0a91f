/**
 * Who did what, in lines that nobody can change, take out or reorder unseen: each carries the hash of the one before it, is on the disk
 * before what it tells of is done, and the number and hash of the last line also stand in the store, so that a cut end shows, too.
 *
 * Files `audit-<n>.jsonl` of one daemon's folder, one chain through all of them. A line is the JSON of its record with `prev` (the hash of
 * the line before; 64 zeros at first) and at last `hash`, the SHA-256 of the line without that member.
 */
import { createHash } from 'node:crypto'
import { mkdir, open, readdir, truncate, type FileHandle } from 'node:fs/promises'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'

/** JSON: what happened. */
export type AuditRecord = Readonly<Record<string, unknown>>

export interface AuditHead {
  /** Number of the line, from 1. */
  readonly n: number
  readonly hash: string
}

export interface AuditLogOptions {
  /** Of this daemon alone. */
  readonly folder: string
  readonly now: () => Date
  /** Keeps the head where whoever changes the files does not reach; called in order, may fail. */
  readonly anchor: (head: AuditHead) => Promise<void>
  /** A file is closed at this size, default 64 MiB. */
  readonly rotateOctets?: number
}

export interface AuditFault {
  readonly file: string
  readonly line: number
  readonly what: string
}

const start: AuditHead = { n: 0, hash: '0'.repeat(64) }
const namePattern = /^audit-(\d{6})\.jsonl$/
const nameOf = (n: number): string => `audit-${String(n).padStart(6, '0')}.jsonl`
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

export class AuditLog {
  head: AuditHead = start
  private file: { readonly handle: FileHandle; size: number } | undefined
  private number = 1
  private waiting: {
    /** Members of the record, as JSON. */
    readonly members: string
    readonly done: () => void
    readonly failed: (error: Error) => void
  }[] = []
  private writing: Promise<void> | undefined

  private constructor(private readonly options: AuditLogOptions) {}

  /**
   * Goes on where the folder's last line ends; a line that a crash tore is cut off: what it was to tell of was not done.
   *
   * @throws Error of the file system, or when the last line is not whole: somebody wrote there
   */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    await mkdir(options.folder, { recursive: true, mode: 0o700 })
    const log = new AuditLog(options)
    const last = (await auditFiles(options.folder)).at(-1)
    if (last === undefined) return log
    log.number = Number(namePattern.exec(last)![1])
    const path = join(options.folder, last)
    let end = 0
    let line: string | undefined
    for await (const each of linesOf(path)) {
      if (!each.whole) {
        await truncate(path, end)
        break
      }
      end += Buffer.byteLength(each.text) + 1
      line = each.text
    }
    if (line !== undefined) {
      const read = readLine(line)
      if (typeof read === 'string')
        throw new Error(`${path}: its last line ${read}: run ocsctl auditlog verify, and move the folder away`)
      log.head = { n: read.n, hash: read.hash }
    } else if (log.number > 1) {
      throw new Error(`${path} is empty: run ocsctl auditlog verify, and move the folder away`)
    }
    log.file = { handle: await open(path, 'a', 0o600), size: end }
    return log
  }

  /** On the disk when it resolves. @throws Error of the file system: then it is not recorded, and must not be done */
  async append(record: AuditRecord): Promise<void> {
    const members = JSON.stringify(record).slice(1, -1)
    return new Promise((done, failed) => {
      this.waiting.push({ members, done, failed })
      this.writing ??= this.writeAll()
    })
  }

  async close(): Promise<void> {
    await this.writing
    await this.file?.handle.close()
    this.file = undefined
  }

  /** What came while the disk was busy goes there together. */
  private async writeAll(): Promise<void> {
    while (this.waiting.length > 0) {
      const batch = this.waiting
      this.waiting = []
      let { n, hash } = this.head
      let text = ''
      for (const { members } of batch) {
        const body = `{"n":${++n},"at":"${this.options.now().toISOString()}",${members},"prev":"${hash}"}`
        hash = sha256(body)
        text += `${body.slice(0, -1)},"hash":"${hash}"}\n`
      }
      try {
        await this.write(Buffer.from(text))
        this.head = { n, hash }
        for (const { done } of batch) done()
        await this.options.anchor(this.head).catch(() => undefined) // the next one says it, too
      } catch (error) {
        for (const { failed } of batch) failed(error as Error)
      }
    }
    this.writing = undefined
  }

  private async write(octets: Buffer): Promise<void> {
    const { folder, rotateOctets = 64 << 20 } = this.options
    if (this.file && this.file.size >= rotateOctets) {
      await this.file.handle.close()
      this.file = undefined
      this.number++
    }
    this.file ??= { handle: await open(join(folder, nameOf(this.number)), 'a', 0o600), size: 0 }
    try {
      await this.file.handle.appendFile(octets)
      await this.file.handle.datasync()
    } catch (error) {
      // What may be half there is no line of the chain.
      await this.file.handle.truncate(this.file.size).catch(() => undefined)
      throw error
    }
    this.file.size += octets.length
  }
}

/** Names of a folder's files, oldest first. */
export async function auditFiles(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter(name => namePattern.test(name)).sort()
}

/**
 * Reads a folder's chain from its first line.
 *
 * @param known the head as the store has it; undefined: it is not known, and a cut end does not show
 * @returns how many lines are whole, and the first fault
 */
export async function verifyAuditLog(
  folder: string,
  known?: AuditHead,
): Promise<{ lines: number; head: AuditHead; fault?: AuditFault }> {
  let head = start
  let anchored = known === undefined || known.n === 0
  const files = await auditFiles(folder)
  for (const [i, file] of files.entries()) {
    const number = Number(namePattern.exec(file)![1])
    if (number !== i + 1) return { lines: head.n, head, fault: { file, line: 1, what: `${nameOf(i + 1)} is missing` } }
    let line = 0
    for await (const { text, whole } of linesOf(join(folder, file))) {
      line++
      const fault = (what: string): { lines: number; head: AuditHead; fault: AuditFault } => ({
        lines: head.n,
        head,
        fault: { file, line, what },
      })
      if (!whole) {
        if (i === files.length - 1) break // being written, or torn by a crash: it tells of nothing that was done
        return fault('the line is torn')
      }
      const read = readLine(text)
      if (typeof read === 'string') return fault(`the line ${read}`)
      if (read.n !== head.n + 1)
        return fault(
          `the line has number ${read.n}, and ${head.n + 1} comes here: lines were removed, added or reordered`,
        )
      if (read.prev !== head.hash)
        return fault('the line does not follow the one before it: a line was changed, or lines were replaced')
      head = { n: read.n, hash: read.hash }
      if (known && head.n === known.n) {
        if (head.hash !== known.hash)
          return fault('the store knows another line with this number: the chain was written anew')
        anchored = true
      }
    }
  }
  if (!anchored) {
    const file = files.at(-1) ?? nameOf(1)
    return {
      lines: head.n,
      head,
      fault: {
        file,
        line: head.n,
        what: `the log ends at line ${head.n}, and the store knows of ${known!.n}: its end was cut off`,
      },
    }
  }
  return { lines: head.n, head }
}

/** Number and hashes of a line, or what is wrong with it. */
function readLine(
  text: string,
): { readonly n: number; readonly prev: string; readonly hash: string; readonly record: AuditRecord } | string {
  const [, body, hash] = /^(\{[^]*),"hash":"([0-9a-f]{64})"\}$/.exec(text) ?? []
  if (body === undefined) return 'is no record'
  if (sha256(`${body}}`) !== hash) return 'was changed: its hash is another one'
  const record = JSON.parse(`${body}}`) as { n: number; prev: string }
  return { n: record.n, prev: record.prev, hash: hash, record: record as unknown as AuditRecord }
}

/** Records, oldest first. */
export async function* readAuditLog(folder: string): AsyncGenerator<AuditRecord> {
  for (const file of await auditFiles(folder)) {
    for await (const { text, whole } of linesOf(join(folder, file))) {
      const read = whole ? readLine(text) : 'is torn'
      if (typeof read === 'string') yield { fault: `${file}: a line ${read}` }
      else yield read.record
    }
  }
}

/** A last line without its end is not whole. */
async function* linesOf(path: string): AsyncGenerator<{ readonly text: string; readonly whole: boolean }> {
  let rest = ''
  for await (const chunk of createReadStream(path, 'utf8') as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()!
    for (const text of lines) yield { text, whole: true }
  }
  if (rest !== '') yield { text: rest, whole: false }
}
