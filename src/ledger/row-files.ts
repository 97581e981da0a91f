/**
 * Rows that are appended to files of a folder, `<prefix>-<start>-<n>.jsonl`, each append one write and one fdatasync. A file that failed
 * is cut back to what is known to be safe and never written again.
 */
import { join } from 'node:path'
import type { Clock } from '../clock.js'
import { WriteError } from './consumer.js'
import { rowsFileName, systemFiles, type LedgerFile, type LedgerFiles } from './files.js'

export interface RowFilesOptions {
  readonly directory: string
  readonly prefix: string
  readonly rotateOctets: number
  readonly clock: Clock
  readonly files?: LedgerFiles | undefined
}

export class RowFiles {
  private readonly files: LedgerFiles
  private readonly started: Date
  private file: { readonly handle: LedgerFile; readonly path: string; size: number } | undefined
  private fileNumber = 0

  constructor(private readonly options: RowFilesOptions) {
    this.files = options.files ?? systemFiles
    this.started = new Date(options.clock.now())
  }

  /** Whole rows; on the disk when it resolves. @throws WriteError when they are not: nothing of them counts then */
  async append(octets: Buffer): Promise<void> {
    const { directory, prefix, rotateOctets } = this.options
    let where: 'write' | 'sync' = 'write'
    try {
      if (!this.file) {
        const path = join(directory, rowsFileName(prefix, this.started, ++this.fileNumber))
        this.file = { handle: await this.files.create(path), path, size: 0 }
      }
      await this.file.handle.write(octets, this.file.size)
      where = 'sync'
      await this.file.handle.sync()
    } catch (error) {
      await this.abandon()
      throw new WriteError(where, directory, { cause: error })
    }
    this.file.size += octets.length
    if (this.file.size >= rotateOctets) await this.close()
  }

  async close(): Promise<void> {
    const { file } = this
    this.file = undefined
    await file?.handle.close()
  }

  /** Even cutting back may fail: readers know a torn last line, and an entry that comes twice. */
  private async abandon(): Promise<void> {
    const { file } = this
    this.file = undefined
    if (!file) return
    await file.handle.truncate(file.size).catch(() => undefined)
    await file.handle.close().catch(() => undefined)
    if (file.size === 0) await this.files.remove(file.path).catch(() => undefined)
  }
}
