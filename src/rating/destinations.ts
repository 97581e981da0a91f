/**
 * Whom a number belongs to: the longest prefix decides. Hundreds of thousands of prefixes are kept in two flat arrays, ten
 * to twelve octets each: a prefix as a number with a 1 before its digits (leading zeros count), and its destination's index.
 */
import type { DestinationRow, Destinations } from './catalog.js'

/** With the 1 before them still exact in a double. */
const longestPrefix = 15

/**
 * Takes the rows in any order.
 *
 * @throws RangeError when a prefix is not 1 to 15 digits; the catalog's check has refused it before
 */
export function buildDestinations(rows: Iterable<DestinationRow>): Destinations {
  const indexes = new Map<string, number>()
  const keys: number[] = []
  const owners: number[] = []
  for (const { prefix, destination } of rows) {
    if (!/^\d+$/.test(prefix) || prefix.length > longestPrefix)
      throw new RangeError(`${prefix} is no prefix of 1 to ${longestPrefix} digits`)
    let index = indexes.get(destination)
    if (index === undefined) indexes.set(destination, (index = indexes.size))
    keys.push(Number(`1${prefix}`))
    owners.push(index)
  }
  const order = Uint32Array.from(keys.keys()).sort((a, b) => keys[a]! - keys[b]!)
  const table: Table = {
    names: [...indexes.keys()],
    lengths: [...new Set(keys.map(key => String(key).length - 1))].sort((a, b) => b - a),
    keys: Float64Array.from(order, at => keys[at]!),
    owners:
      indexes.size > 0xffff ? Uint32Array.from(order, at => owners[at]!) : Uint16Array.from(order, at => owners[at]!),
  }
  return {
    names: new Set(table.names),
    size: table.keys.length,
    find: number => find(table, number),
    rows: () => rowsOf(table),
  }
}

function* rowsOf({ names, keys, owners }: Table): Generator<DestinationRow> {
  for (const [at, key] of keys.entries()) yield { prefix: String(key).slice(1), destination: names[owners[at]!]! }
}

interface Table {
  readonly names: readonly string[]
  /** Of the prefixes that there are, descending. */
  readonly lengths: readonly number[]
  /** Ascending. */
  readonly keys: Float64Array
  /** Of the key at the same place. */
  readonly owners: Uint16Array | Uint32Array
}

/**
 * A `+` is dropped. `00` before a number is how people dial the world, and no country code begins so: it is dropped, too, if a
 * prefix fits what remains. What is not a digit ends the number.
 */
function find(table: Table, number: string): string | undefined {
  const [digits] = /^\d*/.exec(number.startsWith('+') ? number.slice(1) : number)!
  const abroad = digits.startsWith('00') ? longest(table, digits.slice(2)) : undefined
  return abroad ?? longest(table, digits)
}

function longest({ names, lengths, keys, owners }: Table, digits: string): string | undefined {
  for (const length of lengths) {
    if (length > digits.length) continue
    const at = indexOf(keys, Number(`1${digits.slice(0, length)}`))
    if (at !== undefined) return names[owners[at]!]
  }
  return undefined
}

function indexOf(sorted: Float64Array, key: number): number | undefined {
  let [low, high] = [0, sorted.length - 1]
  while (low <= high) {
    const middle = (low + high) >>> 1
    const found = sorted[middle]!
    if (found === key) return middle
    if (found < key) low = middle + 1
    else high = middle - 1
  }
  return undefined
}
