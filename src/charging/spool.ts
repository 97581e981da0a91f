/**
 * The spool: a small journal on the local disk of requests whose used units the store could not take in time. Each is fsynced
 * before it is answered, and forgotten when it is booked. Design: promises under trouble; semantics.md section 3.
 *
 * JSON lines in segments. A segment is only appended to by the run that made it, and removed when all of it is booked; one that
 * was half booked when the process ended is booked again from its start, which changes nothing, for a booking knows its request.
 */
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { appendFile, mkdir, open, readFile, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'

/** What is kept of one request. */
export interface Spooled {
  /** Tells the request from all others: what is in the spool already is not kept twice. */
  readonly key: string
  /** When it came. */
  readonly at: Millis
  /** JSON without line ends. */
  readonly text: string
}

/** What became of a request that was to be kept. `slow`: not known in time, it is still being written. */
export type SpoolOutcome = 'kept' | 'known' | 'full' | 'failed' | 'slow'

/** What is counted; telemetry implements it. */
export interface SpoolMetrics {
  spooled(outcome: SpoolOutcome): void
}

export interface SpoolOptions {
  readonly directory: string
  /** Of all segments together. */
  readonly mostOctets: number
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: SpoolMetrics
  /** What the disk does; for tests. */
  readonly openFile?: (path: string) => Promise<SpoolFile>
}

/** A file that is appended to. */
export type SpoolFile = Pick<FileHandle, 'appendFile' | 'datasync' | 'truncate' | 'close'>

const segmentOctets = 1024 * 1024
/** A gateway is not kept waiting for the disk. */
const patienceMs = 250
const logEveryMs = 60_000
const segmentPattern = /^(\d{8})\.jsonl$/
/** What could not be booked, for its operator. */
const rejectedName = 'rejected.jsonl'

export class Spool {
  /** By key: when it came. In the order in which they came. */
  private readonly waiting = new Map<string, Millis>()
  /** Octets by number of the segment. */
  private readonly segments = new Map<number, number>()
  private octets = 0
  private next = 1
  private active: { readonly number: number; readonly file: SpoolFile; readonly path: string; size: number } | undefined
  private unwritten: { readonly entry: Spooled; readonly settle: (outcome: SpoolOutcome) => void }[] = []
  private writing: Promise<void> | undefined
  private failing = false
  private saidAt = -Infinity

  constructor(private readonly options: SpoolOptions) {}

  /**
   * Finds what earlier runs left.
   *
   * @throws the system's error when the folder cannot be made or read
   */
  load(): void {
    const { directory, log } = this.options
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(directory).sort()) {
      const number = Number(segmentPattern.exec(name)?.[1])
      if (Number.isNaN(number)) continue
      const path = join(directory, name)
      this.segments.set(number, statSync(path).size)
      this.octets += this.segments.get(number)!
      this.next = Math.max(this.next, number + 1)
      for (const { key, at } of this.parse(readFileSync(path, 'utf8'), path)) this.waiting.set(key, at)
    }
    if (this.entries > 0)
      log.warn({ event: 'spool_found', entries: this.entries }, 'the spool has requests to book, of an earlier run')
  }

  get entries(): number {
    return this.waiting.size
  }

  /** When the oldest came; undefined: it is empty. */
  get oldestAt(): Millis | undefined {
    for (const at of this.waiting.values()) return at
    return undefined
  }

  /** Why usage may get lost now, in words; undefined: all is well. */
  get trouble(): string | undefined {
    if (this.failing) return 'the spool cannot be written: usage that the store does not take in time is lost'
    return this.octets >= this.options.mostOctets
      ? 'the spool is full: usage that the store does not take in time is lost'
      : undefined
  }

  /** Keeps a request; on the disk when it says `kept`. Never throws, and never takes long. */
  async append(entry: Spooled): Promise<SpoolOutcome> {
    const outcome = await this.keep(entry)
    this.options.metrics.spooled(outcome)
    if (outcome === 'full' || outcome === 'failed') this.say(outcome)
    return outcome
  }

  /**
   * What waits, a segment at a time, the oldest first; nothing is appended to such a segment any more. Lines that are
   * damaged are told and passed over.
   */
  async take(): Promise<{ readonly number: number; readonly entries: readonly Spooled[] } | undefined> {
    while (this.writing) await this.writing
    if (this.active && this.segments.size === 1) await this.seal()
    const [number] = this.segments.keys()
    if (number === undefined) return undefined
    const path = this.pathOf(number)
    const entries = this.parse(await readFile(path, 'utf8'), path)
    return { number, entries: entries.filter(({ key }) => this.waiting.has(key)) }
  }

  /** It is booked, or cannot be. */
  done({ key }: Spooled): void {
    this.waiting.delete(key)
  }

  /** It cannot be booked: kept aside, as far as there is room. */
  async reject({ text }: Spooled): Promise<void> {
    const path = join(this.options.directory, rejectedName)
    try {
      const size = (await this.sizeOf(path)) + text.length
      if (size <= this.options.mostOctets) await appendFile(path, `${text}\n`, { mode: 0o600 })
    } catch (error) {
      this.options.log.error({ event: 'spool_error', err: error }, 'a request that cannot be booked is not kept aside')
    }
  }

  /** All of this segment is booked. */
  async remove(number: number): Promise<void> {
    await rm(this.pathOf(number), { force: true })
    this.octets -= this.segments.get(number) ?? 0
    this.segments.delete(number)
    // What a damaged line held is not waited for.
    if (this.segments.size === 0 && !this.active && !this.writing) this.waiting.clear()
  }

  async close(): Promise<void> {
    while (this.writing) await this.writing
    await this.seal()
  }

  private keep(entry: Spooled): Promise<SpoolOutcome> | SpoolOutcome {
    if (this.waiting.has(entry.key)) return 'known'
    const size = Buffer.byteLength(entry.text) + 1
    if (this.octets + size > this.options.mostOctets) return 'full'
    this.octets += size
    this.waiting.set(entry.key, entry.at)
    const { clock } = this.options
    return new Promise(resolve => {
      const timer = clock.setTimeout(() => resolve('slow'), patienceMs)
      const settle = (outcome: SpoolOutcome): void => {
        clock.clearTimeout(timer)
        resolve(outcome)
      }
      this.unwritten.push({ entry, settle })
      this.writing ??= this.write().finally(() => (this.writing = undefined))
    })
  }

  /** Writes what has gathered, all of it with one fsync, until nothing more comes. */
  private async write(): Promise<void> {
    await Promise.resolve() // those of the same turn go together
    while (this.unwritten.length > 0) {
      const batch = this.unwritten
      this.unwritten = []
      const text = batch.map(({ entry }) => `${entry.text}\n`).join('')
      const size = Buffer.byteLength(text)
      try {
        const segment = (this.active ??= await this.begin())
        await segment.file.appendFile(text)
        await segment.file.datasync()
        segment.size += size
        this.segments.set(segment.number, segment.size)
        this.failing = false
        for (const { settle } of batch) settle('kept')
        if (segment.size >= segmentOctets) await this.seal()
      } catch (error) {
        this.octets -= size
        for (const { entry } of batch) this.waiting.delete(entry.key)
        await this.abandon(error)
        for (const { settle } of batch) settle('failed')
      }
    }
  }

  private async begin(): Promise<NonNullable<Spool['active']>> {
    const number = this.next++
    const path = this.pathOf(number)
    const openFile = this.options.openFile ?? ((each: string) => open(each, 'ax', 0o600))
    await mkdir(this.options.directory, { recursive: true, mode: 0o700 })
    const file = await openFile(path)
    try {
      await syncFolder(this.options.directory)
    } catch (error) {
      await file.close().catch(() => undefined)
      throw error
    }
    return { number, file, path, size: 0 }
  }

  /** After a failed write or fsync nobody knows what the file holds: what was safe stays, and another one is begun. */
  private async abandon(cause: unknown): Promise<void> {
    this.failing = true
    this.options.log.debug({ event: 'spool_error', err: cause })
    const { active } = this
    this.active = undefined
    if (!active) return
    try {
      await active.file.truncate(active.size)
    } catch {
      // What is torn is passed over when it is read.
    }
    await active.file.close().catch(() => undefined)
    if (active.size === 0) await rm(active.path, { force: true }).catch(() => undefined)
  }

  private async seal(): Promise<void> {
    const { active } = this
    this.active = undefined
    await active?.file.close().catch(() => undefined)
  }

  private parse(text: string, path: string): Spooled[] {
    const entries: Spooled[] = []
    const lines = text.split('\n')
    const last = lines.pop() // what follows the last line end: nothing, or a line that was never answered for
    let damaged = last === '' ? 0 : 1
    for (const line of lines) {
      const head = readHead(line)
      if (head) entries.push({ ...head, text: line })
      else damaged++
    }
    if (damaged > 0)
      this.options.log.error(
        { event: 'spool_damaged', path, lines: damaged },
        'the spool has lines that cannot be read',
      )
    return entries
  }

  private async sizeOf(path: string): Promise<number> {
    const file = await open(path, 'a', 0o600)
    try {
      return (await file.stat()).size
    } finally {
      await file.close()
    }
  }

  private say(outcome: 'full' | 'failed'): void {
    const { clock, log, directory } = this.options
    const now = clock.monotonic()
    if (now - this.saidAt < logEveryMs) return
    this.saidAt = now
    const why = outcome === 'full' ? 'is full' : 'cannot be written'
    log.error({ event: `spool_${outcome}`, directory }, `the spool ${why}: usage is answered and not kept`)
  }

  private readonly pathOf = (number: number): string =>
    join(this.options.directory, `${String(number).padStart(8, '0')}.jsonl`)
}

/** Key and time begin the line: `{"key":…,"at":…,`. */
function readHead(line: string): { key: string; at: Millis } | undefined {
  try {
    const { key, at } = JSON.parse(line) as { key?: unknown; at?: unknown }
    return typeof key === 'string' && typeof at === 'number' ? { key, at } : undefined
  } catch {
    return undefined
  }
}

async function syncFolder(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
