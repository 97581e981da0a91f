/**
 * The entries of one account in the order of their numbers, newest or oldest first: out of the journal's stream, and of this daemon's
 * files by their index. Files of other daemons are not at hand: who reads sees it by the numbers that are missing.
 */
import { open } from 'node:fs/promises'
import { basename } from 'node:path'
import { streamStart, type Journal } from '../balance/journal.js'
import { partitionOf } from '../balance/keys.js'
import { lineAt, type LedgerIndex } from './account-index.js'
import { listFiles } from './files.js'

export interface AccountEntry {
  /** Its number in the account. */
  readonly seq: number
  /** JSON, as the script wrote it. */
  readonly text: string
  /** Name of the file that it was read from; undefined: the journal. */
  readonly file: string | undefined
}

/** Where to begin: beside this number, and in this file when it is there. */
export interface Place {
  readonly seq: number
  readonly file?: string | undefined
}

/** Entries of the journal that one search reads. */
const mostEntries = 200_000
/** What a line of a file has beside the entry's own members. */
const placeMembers = /^\{"partition":\d+,"id":"[^"]*",?/

export class AccountEntries {
  constructor(
    private readonly parts: {
      /** On a connection for work in the background. */
      readonly journal: Journal
      readonly index: LedgerIndex
      /** Of this daemon's ledger files. */
      readonly directory: string
    },
  ) {}

  /** Those with a smaller number than `before`, the newest first. @throws BalanceUnavailableError */
  async *newest(account: string, before?: Place): AsyncGenerator<AccountEntry> {
    const { journal, directory } = this.parts
    let next = before?.seq ?? Infinity
    let files = (await listFiles(directory)).reverse()
    const begin = files.findIndex(path => basename(path) === before?.file)
    if (begin >= 0) files = files.slice(begin)
    else {
      let looked = 0
      for await (const entries of journal.newest(partitionOf(account, journal.partitions))) {
        for (const { text } of entries) {
          const seq = numberIn(text, account)
          if (seq === undefined || seq >= next) continue
          yield { seq, text, file: undefined }
          next = seq
        }
        looked += entries.length
        if (looked >= mostEntries || next <= 1) break
      }
    }
    for (const path of files) {
      if (next <= 1) return
      for await (const entry of this.inFile(path, account, seq => seq < next, -1)) {
        yield entry
        next = entry.seq
      }
    }
  }

  /** Those with a greater number than `after`, the oldest first. @throws BalanceUnavailableError */
  async *oldest(account: string, after?: Place): AsyncGenerator<AccountEntry> {
    const { journal, directory } = this.parts
    let last = after?.seq ?? 0
    let files = await listFiles(directory)
    const begin = files.findIndex(path => basename(path) === after?.file)
    if (begin >= 0) files = files.slice(begin)
    const stream = new StreamReader(journal, account)
    for (const path of files) {
      for await (const entry of this.inFile(path, account, seq => seq <= last, 1)) {
        // What this daemon had not to write may still be in the stream.
        if (entry.seq > last + 1) {
          for (const earlier of await stream.between(last, entry.seq)) yield earlier
        }
        yield entry
        last = entry.seq
      }
    }
    for (const entry of await stream.between(last, Infinity)) yield entry
  }

  /**
   * Entries of a file, one way or the other, from where `isBefore` changes.
   *
   * @param isBefore true for the numbers at the file's beginning: those to give going down, those to pass over going up
   */
  private async *inFile(
    path: string,
    account: string,
    isBefore: (seq: number) => boolean,
    step: 1 | -1,
  ): AsyncGenerator<AccountEntry> {
    const offsets = await this.parts.index.offsetsOf(path, account)
    if (offsets.length === 0) return
    const handle = await open(path, 'r')
    try {
      const read = async (i: number): Promise<AccountEntry | undefined> => {
        const line = await lineAt(handle, offsets[i]!)
        const text = line?.replace(placeMembers, '{')
        const seq = text === undefined ? undefined : numberIn(text, account)
        return seq === undefined ? undefined : { seq, text: text!, file: basename(path) }
      }
      // The first that is not before; where another account has the same hash, the one behind it decides.
      let [low, high] = [0, offsets.length]
      while (low < high) {
        const middle = (low + high) >> 1
        let probe = middle
        let entry = await read(probe)
        while (!entry && ++probe < high) entry = await read(probe)
        if (entry && isBefore(entry.seq)) low = probe + 1
        else high = middle
      }
      let previous: number | undefined
      for (let i = step === 1 ? low : low - 1; i >= 0 && i < offsets.length; i += step) {
        const entry = await read(i)
        // A line that is there twice, after a file could not be cut back.
        if (!entry || (previous !== undefined && (entry.seq - previous) * step <= 0)) continue
        previous = entry.seq
        yield entry
      }
    } finally {
      await handle.close()
    }
  }
}

/** What the stream has of an account, read when it is asked for. */
class StreamReader {
  private position = streamStart
  private readonly entries: AccountEntry[] = []

  constructor(
    private readonly journal: Journal,
    private readonly account: string,
  ) {}

  async between(after: number, before: number): Promise<readonly AccountEntry[]> {
    if ((this.entries.at(-1)?.seq ?? 0) + 1 < before) await this.readOn()
    return this.entries.filter(({ seq }) => seq > after && seq < before)
  }

  private async readOn(): Promise<void> {
    const { journal, account } = this
    const partition = partitionOf(account, journal.partitions)
    for (let more = true; more;) {
      more = false
      for await (const slices of journal.read([[partition, this.position]])) {
        for (const slice of slices) {
          more = slice.more
          this.position = slice.entries.at(-1)?.id ?? this.position
          for (const { text } of slice.entries) {
            const seq = numberIn(text, account)
            if (seq !== undefined) this.entries.push({ seq, text, file: undefined })
          }
        }
      }
    }
  }
}

/** The number of an entry when it is the account's: it stands at the front of it. */
function numberIn(text: string, account: string): number | undefined {
  const head = `{"account":"${account}","seq":`
  if (!text.startsWith(head)) return undefined
  return parseInt(text.slice(head.length, head.length + 16), 10)
}
