/**
 * The ledger's first consumer: writes every journal entry to the ledger's files (design: ledger), one line each, as the script
 * wrote it behind its place in the journal.
 */
import { join } from 'node:path'
import type { Clock } from '../clock.js'
import {
  JournalConsumer,
  tailOctets,
  WriteError,
  type ConsumerOptions,
  type PlacedEntry,
  type Sink,
} from './consumer.js'
import { fileName, lastIdsOf, prepareFolder, systemFiles, type LedgerFile, type LedgerFiles } from './files.js'

export interface LedgerWriterOptions extends Omit<ConsumerOptions, 'name' | 'what' | 'sink'> {
  readonly rotateOctets: number
  readonly files?: LedgerFiles
}

/** Name of this consumer in the store. */
export const ledgerConsumer = 'ledger'

export class LedgerWriter extends JournalConsumer {
  constructor(options: LedgerWriterOptions) {
    super({ ...options, name: ledgerConsumer, what: 'the ledger', sink: new LedgerSink(options) })
  }
}

type SinkOptions = Pick<LedgerWriterOptions, 'directory' | 'rotateOctets' | 'files'> & { readonly clock: Clock }

class LedgerSink implements Sink {
  private readonly files: LedgerFiles
  private readonly started: Date
  private file: { readonly handle: LedgerFile; readonly path: string; size: number } | undefined
  private fileNumber = 0

  constructor(private readonly options: SinkOptions) {
    this.files = options.files ?? systemFiles
    this.started = new Date(options.clock.now())
  }

  async open(): Promise<ReadonlyMap<number, string>> {
    const { directory } = this.options
    await prepareFolder(directory)
    return lastIdsOf(directory, tailOctets)
  }

  async write(entries: readonly PlacedEntry[]): Promise<number> {
    const { directory, rotateOctets } = this.options
    let text = ''
    for (const { partition, id, text: entry } of entries) {
      text += `{"partition":${partition},"id":"${id}",${entry.slice(1)}\n`
    }
    const octets = Buffer.from(text)
    let where: 'write' | 'sync' = 'write'
    try {
      if (!this.file) {
        const path = join(directory, fileName(this.started, ++this.fileNumber))
        this.file = { handle: await this.files.create(path), path, size: 0 }
      }
      await this.file.handle.write(octets, this.file.size)
      where = 'sync'
      await this.file.handle.sync()
    } catch (error) {
      await this.abandonFile()
      throw new WriteError(where, directory, { cause: error })
    }
    this.file.size += octets.length
    if (this.file.size >= rotateOctets) await this.close()
    return octets.length
  }

  async close(): Promise<void> {
    const file = this.file
    this.file = undefined
    await file?.handle.close()
  }

  /** Cut back to what is safe. Even that may fail: readers know a torn last line, and an entry that comes twice. */
  private async abandonFile(): Promise<void> {
    const file = this.file
    this.file = undefined
    if (!file) return
    await file.handle.truncate(file.size).catch(() => undefined)
    await file.handle.close().catch(() => undefined)
    if (file.size === 0) await this.files.remove(file.path).catch(() => undefined)
  }
}
