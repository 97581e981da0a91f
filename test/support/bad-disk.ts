/** A file system for the ledger's tests that fails as told. */
import { systemFiles, type LedgerFile, type LedgerFiles } from '../../src/ledger/files.js'

/** Fails as told: a write breaks off in the middle, a sync says no. */
export class BadDisk implements LedgerFiles {
  fails: 'write' | 'sync' | undefined
  readonly synced = new Map<string, string[]>()

  async create(path: string): Promise<LedgerFile> {
    const file = await systemFiles.create(path)
    const calls: string[] = []
    this.synced.set(path, calls)
    return {
      write: async (octets, at) => {
        if (this.fails !== 'write') return file.write(octets, at)
        await file.write(octets.subarray(0, octets.length >> 1), at)
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
      },
      sync: () => {
        calls.push(this.fails === 'sync' ? 'failed' : 'ok')
        return this.fails === 'sync' ? Promise.reject(new Error('EIO: i/o error, fdatasync')) : file.sync()
      },
      truncate: length => file.truncate(length),
      close: () => file.close(),
    }
  }

  remove(path: string): Promise<void> {
    return systemFiles.remove(path)
  }
}
