/**
 * Finds entries of the ledger, the newest first: in the journal's streams, then in the files of this daemon. The search is bounded;
 * what was looked at is told, so that "not found" says where it may be.
 */
import type { Journal } from '../balance/journal.js'
import type { Millis } from '../units.js'
import { listFiles, placeOf, readLines } from './files.js'

export interface EntryQuery {
  /** Where to look: partitions of the accounts in question. */
  readonly partitions: readonly number[]
  readonly account?: string | undefined
  readonly session?: string | undefined
  /** CC-Request-Number in the session. */
  readonly number?: number | undefined
  /** The entries nearest to this time. */
  readonly at?: Millis | undefined
  /** At most so many. */
  readonly limit: number
}

export interface FoundEntries {
  /** JSON, oldest first. */
  readonly entries: readonly string[]
  readonly searched: {
    /** Entries of the journal. */
    readonly journal: number
    readonly files: number
    /** False: older files were left out, the search had looked at enough. */
    readonly all: boolean
  }
}

/** Octets of files that one search reads. */
const mostOctets = 512 * 1024 * 1024
/** Entries of the journal that one search reads. */
const mostEntries = 500_000

/**
 * @param directory of this daemon's ledger files
 * @throws BalanceUnavailableError
 */
export async function findEntries(journal: Journal, directory: string, query: EntryQuery): Promise<FoundEntries> {
  const search = new Search(query)
  let [looked, files, octets] = [0, 0, 0]
  for (const partition of query.partitions) {
    for await (const entries of journal.newest(partition)) {
      for (const { text } of entries) search.look(text)
      looked += entries.length
      if (search.satisfied || looked >= mostEntries) break
    }
  }
  const partitions = new Set(query.partitions)
  for (const file of (await listFiles(directory)).reverse()) {
    if (search.satisfied || octets >= mostOctets) {
      const all = search.satisfied || files === 0
      return { entries: search.entries(), searched: { journal: looked, files, all } }
    }
    files++
    let size = 0
    for await (const { lines, end } of readLines(file, 0)) {
      size = end
      for (const line of lines)
        if (search.mayFit(line) && partitions.has(placeOf(line)?.partition ?? -1))
          search.look(line.replace(placeMembers, '{'))
    }
    octets += size
  }
  return { entries: search.entries(), searched: { journal: looked, files, all: true } }
}

/** What a line of a file has beside the entry's own members. */
const placeMembers = /^\{"partition":\d+,"id":"[^"]*",?/

interface Members {
  readonly account?: string
  readonly seq?: number
  readonly at?: Millis
  readonly session?: string
  readonly number?: number
}

/** What was found so far. Streams and files overlap: an entry counts once. */
class Search {
  private readonly found = new Map<string, { readonly text: string; readonly at: Millis; readonly order: number }>()
  private readonly marks: readonly string[]
  /** Found at the time in question or before it. */
  private before = 0

  constructor(private readonly query: EntryQuery) {
    const { account, session } = query
    this.marks = [
      ...(account === undefined ? [] : [`"account":${JSON.stringify(account)}`]),
      ...(session === undefined ? [] : [`"session":${JSON.stringify(session)}`]),
    ]
  }

  /** Older entries cannot be better. */
  get satisfied(): boolean {
    const { limit, at, number } = this.query
    if (number !== undefined) return this.found.size > 0
    return at === undefined ? this.found.size >= limit : this.before >= limit
  }

  /** Cheap: most lines are others'. */
  mayFit(text: string): boolean {
    return this.marks.every(mark => text.includes(mark))
  }

  look(text: string): void {
    if (!this.mayFit(text)) return
    const entry = JSON.parse(text) as Members
    const { account, session, number } = this.query
    if (account !== undefined && entry.account !== account) return
    if (session !== undefined && entry.session !== session) return
    if (number !== undefined && entry.number !== number) return
    const key = `${entry.account ?? ''} ${entry.seq ?? 0}`
    const { at = 0, seq = 0 } = entry
    if (this.found.has(key)) return
    this.found.set(key, { text, at, order: seq })
    if (this.query.at !== undefined && at <= this.query.at) this.before++
  }

  entries(): string[] {
    const { at, limit } = this.query
    const all = [...this.found.values()].sort((a, b) => b.at - a.at || b.order - a.order)
    if (at !== undefined) all.sort((a, b) => Math.abs(a.at - at) - Math.abs(b.at - at) || b.order - a.order)
    return all
      .slice(0, limit)
      .sort((a, b) => a.at - b.at || a.order - b.order)
      .map(({ text }) => text)
  }
}
