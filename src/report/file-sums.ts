/**
 * Sums by day of the ledger's files, each file read once: what was summed up stands beside it in `<file>.sums.json`, and a file that has grown
 * is read on from there. Sums whose file was moved away still count, so that opening balances stay right.
 *
 * Two daemons may have written the same entry (one died before it could say how far it was). Files of different folders whose entries
 * may be the same, by their places in the journal, are read together and each entry is counted once; nothing is kept of those.
 */
import { open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isAfter } from '../balance/journal.js'
import { readLines } from '../ledger/files.js'
import { addDay, DaySummer, newDay, type DaySums, type LocalDays, type SumEntry } from './day-sums.js'

export interface FileSums {
  /** That were summed up. */
  readonly octets: number
  readonly days: ReadonlyMap<string, DaySums>
  /** First and last entry of each partition. */
  readonly places: ReadonlyMap<number, readonly [first: string, last: string]>
}

const nothing: FileSums = { octets: 0, days: new Map(), places: new Map() }
const sumsEnd = '.sums.json'
const version = 1

/** All ledger files of these folders, also those of which only the sums are left. */
export async function ledgerFiles(directories: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (const directory of directories) {
    const names = await readdir(directory).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    })
    const files = names.map(name => (name.endsWith(sumsEnd) ? name.slice(0, -sumsEnd.length) : name))
    for (const name of new Set(files)) if (/^ledger-.+\.jsonl$/.test(name)) found.push(join(directory, name))
  }
  return found.sort((a, b) => (basename(a) < basename(b) ? -1 : 1))
}

/**
 * The sums of all days of all files.
 *
 * @param each is told of the sums of a file, or of several together, one after the other: nothing needs to be in memory at once
 * @throws the system's error when a file cannot be read
 */
export async function sumFiles(
  directories: readonly string[],
  local: LocalDays,
  each: (days: ReadonlyMap<string, DaySums>) => void,
): Promise<void> {
  const files = await ledgerFiles(directories)
  if (directories.length === 1) {
    for (const file of files) each((await sumsOf(file, local)).days)
    return
  }
  const places: { file: string; places: FileSums['places'] }[] = []
  for (const file of files) places.push({ file, places: (await sumsOf(file, local)).places })
  for (const group of groupsOf(places)) {
    if (group.length === 1) each((await sumsOf(group[0]!, local)).days)
    else each(await sumTogether(group, local))
  }
}

/** The entries of a file, some hundred at a time. */
export async function* readEntries(file: string): AsyncGenerator<(SumEntry & Place)[]> {
  for await (const { lines } of readLines(file, 0)) {
    yield lines.flatMap(line => {
      const entry = parse(line)
      return entry ? [entry] : []
    })
  }
}

interface Place {
  readonly partition: number
  readonly id: string
}

function parse(line: string): (SumEntry & Place) | undefined {
  try {
    const entry = JSON.parse(line) as Partial<SumEntry & Place>
    const whole = typeof entry.account === 'string' && typeof entry.at === 'number' && Array.isArray(entry.posts)
    return whole ? (entry as SumEntry & Place) : undefined
  } catch {
    return undefined // the audit tells of it
  }
}

/** From what is kept beside the file, and what the file has more. */
async function sumsOf(file: string, local: LocalDays): Promise<FileSums> {
  const kept = await readKept(file, local.timezone)
  const size = await stat(file).then(
    ({ size }) => size,
    () => undefined,
  )
  if (size === undefined || kept?.octets === size) return kept ?? nothing
  const from: FileSums = kept && kept.octets < size ? kept : nothing
  const summer = new DaySummer(local)
  const places = new Map(from.places)
  let octets = from.octets
  for await (const { lines, end } of readLines(file, from.octets)) {
    for (const line of lines) {
      const entry = parse(line)
      if (!entry) continue
      summer.add(entry)
      const known = places.get(entry.partition)
      places.set(entry.partition, [known?.[0] ?? entry.id, entry.id])
    }
    octets = end
  }
  const days = new Map([...from.days].map(([day, sums]) => [day, copyOf(sums)]))
  addDays(days, summer.end())
  const sums = { octets, days, places }
  await keep(file, sums, local.timezone)
  return sums
}

async function sumTogether(files: readonly string[], local: LocalDays): Promise<ReadonlyMap<string, DaySums>> {
  const days = new Map<string, DaySums>()
  const seen = new Set<string>()
  for (const file of files) {
    const summer = new DaySummer(local)
    for await (const entries of readEntries(file)) {
      for (const entry of entries) {
        const key = `${entry.partition} ${entry.id}`
        if (seen.has(key)) continue
        seen.add(key)
        summer.add(entry)
      }
    }
    addDays(days, summer.end())
  }
  return days
}

function addDays(into: Map<string, DaySums>, more: ReadonlyMap<string, DaySums>): void {
  for (const [day, sums] of more) {
    let known = into.get(day)
    if (!known) into.set(day, (known = newDay()))
    addDay(known, sums)
  }
}

const copyOf = (sums: DaySums): DaySums => {
  const copy = newDay()
  addDay(copy, sums)
  return copy
}

/** Files that may have an entry in common, together. Within a folder none is there twice. */
function groupsOf(files: readonly { file: string; places: FileSums['places'] }[]): string[][] {
  const group = files.map((_, i) => i)
  const rootOf = (i: number): number => (group[i] === i ? i : (group[i] = rootOf(group[i]!)))
  for (const [i, a] of files.entries()) {
    for (const [j, b] of files.entries()) {
      if (j > i && dirname(a.file) !== dirname(b.file) && overlap(a.places, b.places)) group[rootOf(j)] = rootOf(i)
    }
  }
  const groups = new Map<number, string[]>()
  for (const [i, { file }] of files.entries()) groups.set(rootOf(i), [...(groups.get(rootOf(i)) ?? []), file])
  return [...groups.values()]
}

function overlap(a: FileSums['places'], b: FileSums['places']): boolean {
  for (const [partition, [first, last]] of a) {
    const other = b.get(partition)
    if (other && !isAfter(first, other[1]) && !isAfter(other[0], last)) return true
  }
  return false
}

interface Kept {
  readonly version: number
  readonly timezone: string
  readonly octets: number
  readonly places: readonly (readonly [number, readonly [string, string]])[]
  readonly days: Readonly<Record<string, KeptDay>>
}

interface KeptDay {
  readonly entries: number
  readonly recharges: readonly (readonly [string, number, string])[]
  readonly consumption: readonly (readonly [string, string])[]
  readonly flows: readonly (readonly [string, string])[]
  readonly moved: readonly (readonly [string, string])[]
}

async function readKept(file: string, timezone: string): Promise<FileSums | undefined> {
  try {
    const kept = JSON.parse(await readFile(`${file}${sumsEnd}`, 'utf8')) as Kept
    if (kept.version !== version || kept.timezone !== timezone) return undefined
    const amounts = (pairs: readonly (readonly [string, string])[]): Map<string, bigint> =>
      new Map(pairs.map(([key, amount]) => [key, BigInt(amount)]))
    const days = Object.entries(kept.days).map(([day, { entries, recharges, consumption, flows, moved }]) => {
      const sums: DaySums = {
        entries,
        recharges: new Map(recharges.map(([key, count, amount]) => [key, { count, amount: BigInt(amount) }])),
        consumption: amounts(consumption),
        flows: amounts(flows),
        moved: amounts(moved),
      }
      return [day, sums] as const
    })
    return { octets: kept.octets, days: new Map(days), places: new Map(kept.places) }
  } catch {
    return undefined // none, or torn: the file says it
  }
}

/** Only saves work: where it cannot be written, as in an archive that may not be changed, the file is read again. */
async function keep(file: string, { octets, days, places }: FileSums, timezone: string): Promise<void> {
  const amounts = (sums: ReadonlyMap<string, bigint>): [string, string][] =>
    [...sums].map(([key, amount]) => [key, String(amount)])
  const kept: Kept = {
    ...{ version, timezone, octets, places: [...places] },
    days: Object.fromEntries(
      [...days].map(([day, { entries, recharges, consumption, flows, moved }]) => {
        const sums: KeptDay = {
          entries,
          recharges: [...recharges].map(([key, { count, amount }]) => [key, count, String(amount)]),
          ...{ consumption: amounts(consumption), flows: amounts(flows), moved: amounts(moved) },
        }
        return [day, sums]
      }),
    ),
  }
  const part = `${file}${sumsEnd}.part`
  try {
    const handle = await open(part, 'w', 0o640)
    try {
      await handle.writeFile(`${JSON.stringify(kept)}\n`)
      await handle.datasync()
    } finally {
      await handle.close()
    }
    await rename(part, `${file}${sumsEnd}`)
  } catch {
    await unlink(part).catch(() => undefined)
  }
}
