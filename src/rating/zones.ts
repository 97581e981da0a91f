/** Which zone a subscriber is in: the longest PLMN pattern over all zones decides. */
import type { Zone } from './catalog.js'

interface Patterns {
  readonly exact: ReadonlyMap<string, string>
  /** Without their `*`. */
  readonly prefixes: ReadonlyMap<string, string>
}

const known = new WeakMap<ReadonlyMap<string, Zone>, Patterns>()

/**
 * Name of the zone of a serving network. A pattern without `*` comes before all with one, of these the longer before the
 * shorter. Undefined: in none of them, or not known where.
 *
 * @param plmn MCC and MNC: 5 or 6 digits. `26201` and `262010` are two networks: an MNC has the digits that it is sent with
 */
export function findZone(zones: ReadonlyMap<string, Zone>, plmn: string | undefined): string | undefined {
  if (plmn === undefined || zones.size === 0) return undefined
  const { exact, prefixes } = patternsOf(zones)
  const found = exact.get(plmn)
  if (found !== undefined) return found
  for (let length = plmn.length; length >= 0; length--) {
    const zone = prefixes.get(plmn.slice(0, length))
    if (zone !== undefined) return zone
  }
  return undefined
}

function patternsOf(zones: ReadonlyMap<string, Zone>): Patterns {
  let patterns = known.get(zones)
  if (!patterns) known.set(zones, (patterns = readPatterns(zones)))
  return patterns
}

function readPatterns(zones: ReadonlyMap<string, Zone>): Patterns {
  const exact = new Map<string, string>()
  const prefixes = new Map<string, string>()
  for (const { name, plmns } of zones.values()) {
    for (const pattern of plmns) {
      if (pattern.endsWith('*')) prefixes.set(pattern.slice(0, -1), name)
      else exact.set(pattern, name)
    }
  }
  return { exact, prefixes }
}
