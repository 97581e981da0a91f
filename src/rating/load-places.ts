/** Zones and destinations of the catalog: each pattern and prefix belongs to one of them. */
import { dirname, join } from 'node:path'
import { fault, namePattern, type Fault, type Value } from '../config/yaml.js'
import type { Zone } from './catalog.js'
import { prefixHint, prefixPattern, type DestinationGroup, type ZoneGroup } from './catalog-shape.js'
import { define, shownPlace, type Draft } from './load-draft.js'
import type { Item, Row } from './schema.js'

/** Reads a file that the catalog names; throws when it cannot be read. */
export type FileReader = (file: string) => string

/** Faults told of one CSV file: a wrong separator makes one of each line. */
const faultsShown = 20

/** Octets of one CSV file: some million prefixes. */
const csvLimit = 64 * 1024 * 1024

const header = 'prefix,destination'

export function readZone({ name, key, is }: Row<ZoneGroup>, taken: Map<string, Value>): Zone | undefined {
  if (!nameIsFree(key, name) || !is) return undefined
  const plmns = is.is.plmn?.map(({ at, is: pattern }) => {
    const earlier = taken.get(pattern)
    if (earlier) fault(at, `the PLMN ${pattern} is already in a zone at ${shownPlace(earlier)}`, 'name it in one zone')
    taken.set(pattern, at)
    return pattern
  })
  return plmns && { name, plmns }
}

/** `none` is what conditions call the rest. */
const nameIsFree = (key: Value, name: string): boolean =>
  name !== 'none' || (fault(key, '`none` stands for no zone and no destination', 'use another name') ?? false)

/** Prefix → its destination and where it stands. */
export class Prefixes {
  readonly #rows = new Map<string, { readonly destination: string; readonly place: () => string }>()

  /** False when it is taken: `place` says where. */
  add(prefix: string, destination: string, place: () => string): boolean {
    if (this.#rows.has(prefix)) return false
    this.#rows.set(prefix, { destination, place })
    return true
  }

  /** What to say of a prefix that is taken. */
  taken(prefix: string): { readonly message: string; readonly hint: string } {
    const { destination, place } = this.#rows.get(prefix)!
    return {
      message: `the prefix ${prefix} is already given to \`${destination}\` at ${place()}`,
      hint: 'give it to one destination',
    }
  }

  /** By destination. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { destination } of this.#rows.values()) counts.set(destination, (counts.get(destination) ?? 0) + 1)
    return counts
  }

  /** For the catalog's version. */
  lines(): string[] {
    return [...this.#rows].map(([prefix, { destination }]) => `${prefix},${destination}`)
  }

  *rows(): Generator<{ readonly prefix: string; readonly destination: string }> {
    for (const [prefix, { destination }] of this.#rows) yield { prefix, destination }
  }
}

export function readDestination(draft: Draft, { name, key, is }: Row<DestinationGroup>, prefixes: Prefixes): void {
  if (!nameIsFree(key, name)) return
  define(draft.destinations, name, key, true)
  for (const { at, is: prefix } of is?.is.prefixes ?? []) {
    if (prefixes.add(prefix, name, () => shownPlace(at))) continue
    const { message, hint } = prefixes.taken(prefix)
    fault(at, message, hint)
  }
}

/** A CSV file with destinations, beside the YAML file that names it. */
export function readDestinationFile(
  draft: Draft,
  { at, is }: Item<string>,
  prefixes: Prefixes,
  read: FileReader,
): void {
  const file = join(dirname(at.source.file), is)
  let text: string
  try {
    text = read(file)
  } catch (error) {
    draft.destinations.complete = false
    fault(at, `${file} cannot be read: ${(error as Error).message}`, 'the name is relative to this file')
    return
  }
  const faults = faultsOfRows(draft, { file, text, at }, prefixes)
  at.source.faults.push(...faults.slice(0, faultsShown))
  if (faults.length > faultsShown)
    fault(
      at,
      `${file} has ${faults.length - faultsShown} more faults like these`,
      'mend the first ones and check again',
    )
}

interface Csv {
  readonly file: string
  readonly text: string
  /** Where the file is named. */
  readonly at: Value
}

function faultsOfRows(draft: Draft, { file, text, at }: Csv, prefixes: Prefixes): Fault[] {
  const faults: Fault[] = []
  const note = (line: number, column: number, message: string, hint: string): void => {
    faults.push({ file, line, column, message, hint })
  }
  if (text.length > csvLimit) {
    note(1, 1, `the file is larger than ${csvLimit} octets`, 'split it into several files')
    return faults
  }
  const [first = '', ...lines] = text.replace(/^\ufeff/, '').split(/\r?\n/)
  if (first.trim() !== header) note(1, 1, `the first line is not \`${header}\``, 'write it above the rows')
  for (const [index, row] of lines.entries()) {
    if (row === '') continue
    const line = index + 2
    const comma = row.indexOf(',')
    const prefix = (comma < 0 ? row : row.slice(0, comma)).trim()
    const destination = comma < 0 ? '' : row.slice(comma + 1).trim()
    if (!prefixPattern.test(prefix)) note(line, 1, `\`${prefix}\` is not a prefix`, prefixHint)
    else if (!namePattern.test(destination) || destination === 'none')
      note(line, comma + 2, `\`${destination}\` cannot be the name of a destination`, 'write rows like 4915,de-mobile')
    else {
      if (!draft.destinations.items.has(destination)) define(draft.destinations, destination, at, true)
      if (prefixes.add(prefix, destination, () => `${file}:${line}`)) continue
      const { message, hint } = prefixes.taken(prefix)
      note(line, 1, message, hint)
    }
  }
  return faults
}
