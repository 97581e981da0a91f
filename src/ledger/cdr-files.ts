/**
 * The files of charging data records: `cdr-<start>-<n>.jsonl` or `.csv`, written as `….part` and renamed when they are whole, then
 * told of by `….manifest.json` with counts, sums and a digest. Whoever collects them takes what has a manifest.
 *
 * Without gap and repeat: the records of an entry are written in one piece, each says `n/of`, and a start cuts a file that it finds half
 * written behind the last whole entry, so that file and position agree; then it is closed as if it had been full. A file that could not be
 * closed (no space for its manifest, say) is closed before the next one is begun.
 */
import { createHash, type Hash } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, stat, truncate, unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isAfter } from '../balance/journal.js'
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import { columns, recordsOf, type CdrRecord, type RecordOptions } from './cdr.js'
import {
  JournalConsumer,
  tailOctets,
  WriteError,
  type ConsumerOptions,
  type PlacedEntry,
  type Sink,
} from './consumer.js'
import { readLines, syncFolder, systemFiles, type LedgerFile, type LedgerFiles } from './files.js'

export type CdrFormat = 'jsonl' | 'csv'
export const cdrFormats = ['jsonl', 'csv'] as const

export interface CdrWriterOptions extends Omit<ConsumerOptions, 'name' | 'what' | 'sink'>, RecordOptions {
  readonly format: CdrFormat
  readonly rotateOctets: number
  /** A file with records in it is closed when it is this old. */
  readonly rotateMs: number
  readonly files?: LedgerFiles
  /** A file is closed and has its manifest. */
  readonly closed?: (manifest: Manifest) => void
}

/** What stands in `<file>.manifest.json`. */
export interface Manifest {
  readonly file: string
  readonly octets: number
  readonly sha256: string
  readonly records: number
  /** Of entries that gave records. */
  readonly entries: number
  /** By recordType: how many, micros by currency, units by unit. Whole numbers as digits. */
  readonly types: Readonly<Record<string, TypeSums>>
  /** First and last entry of each partition, by its number. */
  readonly positions: Readonly<Record<string, readonly [first: string, last: string]>>
}

export interface TypeSums {
  readonly records: number
  readonly money: Readonly<Record<string, string>>
  readonly units: Readonly<Record<string, string>>
}

/** Name of the consumer that writes a format. */
export const cdrConsumer = (format: CdrFormat): string => `cdr-${format}`

export class CdrWriter extends JournalConsumer {
  constructor(options: CdrWriterOptions) {
    const { format } = options
    super({
      ...options,
      name: cdrConsumer(format),
      what: `the file of charging data records (${format})`,
      sink: new CdrSink(options),
    })
  }
}

const manifestEnd = '.manifest.json'
const csvHead = `${columns.join(',')}\n`

type SinkOptions = Pick<CdrWriterOptions, 'directory' | 'format' | 'rotateOctets' | 'rotateMs' | 'files' | 'closed'> &
  RecordOptions & { readonly clock: Clock }

interface OpenFile {
  readonly handle: LedgerFile
  /** Without `.part`. */
  readonly path: string
  readonly begun: Millis
  readonly tally: Tally
  size: number
}

class CdrSink implements Sink {
  private readonly files: LedgerFiles
  private readonly started: Date
  private file: OpenFile | undefined
  private fileNumber = 0
  /** Files that are not closed yet, and how many octets of them count. Undefined: whatever is whole. */
  private readonly unsettled = new Map<string, number | undefined>()

  constructor(private readonly options: SinkOptions) {
    this.files = options.files ?? systemFiles
    this.started = new Date(options.clock.now())
  }

  async open(): Promise<ReadonlyMap<number, string>> {
    const { directory, format } = this.options
    await mkdir(directory, { recursive: true, mode: 0o750 })
    for (const path of await unsettledFiles(directory, format)) this.unsettled.set(path, undefined)
    const last = await lastPositions(directory, format)
    for (const path of this.unsettled.keys()) {
      const part = `${path}.part`
      const { tally } = await readBack((await exists(part)) ? part : path, format)
      for (const [partition, id] of tally.last()) note(last, partition, id)
    }
    await this.settle().catch(() => undefined) // a full disk is told by the first write
    return last
  }

  async write(entries: readonly PlacedEntry[]): Promise<number> {
    const { directory, format, rotateOctets, clock } = this.options
    const records = entries.flatMap(entry => recordsOf(entry, this.options))
    if (records.length === 0) return 0
    let octets = Buffer.from(records.map(record => lineOf(record, format)).join(''))
    let where: 'write' | 'sync' = 'write'
    try {
      await this.settle()
      if (!this.file) {
        const path = join(directory, nameOf(this.started, ++this.fileNumber, format))
        const handle = await this.files.create(`${path}.part`)
        this.file = { handle, path, begun: clock.monotonic(), tally: new Tally(), size: 0 }
      }
      if (this.file.size === 0 && format === 'csv') octets = Buffer.concat([Buffer.from(csvHead), octets])
      await this.file.handle.write(octets, this.file.size)
      where = 'sync'
      await this.file.handle.sync()
    } catch (error) {
      await this.abandonFile()
      throw new WriteError(where, directory, { cause: error })
    }
    this.file.size += octets.length
    this.file.tally.octets(octets)
    for (const record of records) this.file.tally.add(record)
    if (this.file.size >= rotateOctets) await this.closeFile()
    return octets.length
  }

  async look(): Promise<void> {
    const { clock, rotateMs } = this.options
    if (this.file && this.file.begun + rotateMs <= clock.monotonic()) await this.closeFile()
    await this.settle().catch(() => undefined) // tried again before the next write, which says why it fails
  }

  async close(): Promise<void> {
    await this.closeFile()
    await this.settle().catch(() => undefined) // the next start does it
  }

  /** What is in it is safe already: where the rest does not work now, it is done later. */
  private async closeFile(): Promise<void> {
    const { file } = this
    this.file = undefined
    if (!file) return
    try {
      await file.handle.close()
      await this.publish(file.path, file.tally)
    } catch {
      this.unsettled.set(file.path, file.size)
    }
  }

  private async abandonFile(): Promise<void> {
    const { file } = this
    this.file = undefined
    if (!file) return
    await file.handle.truncate(file.size).catch(() => undefined)
    await file.handle.close().catch(() => undefined)
    this.unsettled.set(file.path, file.size)
  }

  /** Closes what was left open: cut to what counts, renamed, with its manifest. */
  private async settle(): Promise<void> {
    for (const [path, size] of this.unsettled) {
      const part = `${path}.part`
      if (await exists(part)) {
        if (size !== undefined && (await stat(part)).size > size) await truncate(part, size)
        const { tally, end } = await readBack(part, this.options.format)
        if (tally.records === 0) await unlink(part)
        else {
          await truncate(part, end)
          await this.publish(path, tally)
        }
      } else if (await exists(path)) await this.publish(path, (await readBack(path, this.options.format)).tally)
      this.unsettled.delete(path)
    }
  }

  private async publish(path: string, tally: Tally): Promise<void> {
    if (await exists(`${path}.part`)) await rename(`${path}.part`, path)
    const manifest = tally.manifest(basename(path))
    const file = `${path}${manifestEnd}`
    const handle = await open(`${file}.part`, 'w', 0o640)
    try {
      await handle.writeFile(`${JSON.stringify(manifest, undefined, 2)}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(`${file}.part`, file)
    await syncFolder(this.options.directory)
    this.options.closed?.(manifest)
  }
}

/** Counts and sums of a file while it is written, or read back. */
class Tally {
  records = 0
  private entries = 0
  private size = 0
  private readonly hash: Hash = createHash('sha256')
  private readonly types = new Map<
    string,
    { records: number; money: Map<string, bigint>; units: Map<string, bigint> }
  >()
  private readonly positions = new Map<number, [string, string]>()

  octets(octets: Buffer): void {
    this.hash.update(octets)
    this.size += octets.length
  }

  add(record: CdrRecord): void {
    const place = placeOfRecord(record)!
    this.records++
    if (place.last) this.entries++
    const positions = this.positions.get(place.partition)
    if (positions) positions[1] = place.id
    else this.positions.set(place.partition, [place.id, place.id])
    const type = String(record.recordType)
    let sums = this.types.get(type)
    if (!sums) this.types.set(type, (sums = { records: 0, money: new Map(), units: new Map() }))
    sums.records++
    if (isGiven(record.amount)) addTo(sums.money, String(record.currencyCode ?? ''), record.amount)
    if (isGiven(record.usedUnits)) addTo(sums.units, String(record.unit ?? ''), record.usedUnits)
  }

  /** Last entry of each partition. */
  *last(): Generator<[partition: number, id: string]> {
    for (const [partition, [, id]] of this.positions) yield [partition, id]
  }

  manifest(file: string): Manifest {
    const digits = (sums: ReadonlyMap<string, bigint>): Record<string, string> =>
      Object.fromEntries([...sums].sort().map(([name, sum]) => [name, String(sum)]))
    return {
      file,
      octets: this.size,
      sha256: this.hash.copy().digest('hex'),
      records: this.records,
      entries: this.entries,
      types: Object.fromEntries(
        [...this.types]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([type, { records, money, units }]) => [type, { records, money: digits(money), units: digits(units) }]),
      ),
      positions: Object.fromEntries(this.positions),
    }
  }
}

const isGiven = (value: string | number | undefined): value is string | number => value !== undefined && value !== ''

const addTo = (sums: Map<string, bigint>, name: string, amount: string | number): void =>
  void sums.set(name, (sums.get(name) ?? 0n) + BigInt(amount))

const nameOf = (started: Date, n: number, format: CdrFormat): string =>
  `cdr-${started.toISOString().replaceAll(/[-:.]/g, '')}-${String(n).padStart(6, '0')}.${format}`

/** A record as its line, with the line's end. */
export function lineOf(record: CdrRecord, format: CdrFormat): string {
  if (format === 'jsonl') return `${JSON.stringify(record)}\n`
  return `${columns.map(column => csvText(record[column])).join(',')}\n`
}

/** RFC 4180, but a record is always one line. */
function csvText(value: string | number | undefined): string {
  const text = value === undefined ? '' : String(value).replaceAll(/[\r\n]/g, ' ')
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** A line of a file; undefined for the CSV's head and for what is no record. */
export function readRecord(line: string, format: CdrFormat): CdrRecord | undefined {
  if (format === 'csv') {
    const cells = [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g)].map(
      ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain!,
    )
    if (cells.length !== columns.length) return undefined
    const record = Object.fromEntries(columns.map((column, i) => [column, cells[i]!])) as CdrRecord
    return placeOfRecord(record) && record
  }
  try {
    const record = JSON.parse(line) as CdrRecord
    return placeOfRecord(record) && record
  } catch {
    return undefined
  }
}

function placeOfRecord({ recordId }: CdrRecord): { partition: number; id: string; last: boolean } | undefined {
  const match = /^(\d+):(\d+-\d+):(\d+)\/(\d+)$/.exec(String(recordId))
  return match ? { partition: Number(match[1]), id: match[2]!, last: match[3] === match[4] } : undefined
}

/** What a file holds up to its last whole entry, and where that ends. */
async function readBack(path: string, format: CdrFormat): Promise<{ tally: Tally; end: number }> {
  const tally = new Tally()
  let end = 0
  let begun: { line: string; record: CdrRecord | undefined }[] = []
  for await (const { lines } of readLines(path, 0)) {
    for (const line of lines) {
      const record = readRecord(line, format)
      begun.push({ line, record })
      if (record ? !placeOfRecord(record)!.last : end > 0) continue
      for (const each of begun) {
        const octets = Buffer.from(`${each.line}\n`)
        tally.octets(octets)
        end += octets.length
        if (each.record) tally.add(each.record)
      }
      begun = []
    }
  }
  return { tally, end }
}

/** Files that were not closed, and closed ones without manifest, oldest first; without `.part`. */
async function unsettledFiles(directory: string, format: CdrFormat): Promise<string[]> {
  const names = new Set(await readdir(directory))
  const found = new Set<string>()
  for (const name of names) {
    const file = name.replace(/\.part$/, '')
    if (file.startsWith('cdr-') && file.endsWith(`.${format}`) && !names.has(`${file}${manifestEnd}`)) found.add(file)
  }
  return [...found].sort().map(name => join(directory, name))
}

/** From the manifests of the newest files, of at least `tailOctets`. */
async function lastPositions(directory: string, format: CdrFormat): Promise<Map<number, string>> {
  const last = new Map<number, string>()
  let octets = 0
  const names = (await readdir(directory)).filter(
    name => name.startsWith('cdr-') && name.endsWith(`.${format}${manifestEnd}`),
  )
  for (const name of names.sort().reverse()) {
    if (octets >= tailOctets) break
    const manifest = JSON.parse(await readFile(join(directory, name), 'utf8')) as Manifest
    octets += manifest.octets
    for (const [partition, [, id]] of Object.entries(manifest.positions)) note(last, Number(partition), id)
  }
  return last
}

function note(last: Map<number, string>, partition: number, id: string): void {
  const known = last.get(partition)
  if (known === undefined || isAfter(id, known)) last.set(partition, id)
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
