/**
 * Quantities as people write them in YAML: sizes `100kB` (10^5) and `100KiB` (102,400), durations `30s`, `1h`, `30d`,
 * shares `20%`. A number alone is refused where a unit decides what it means.
 */

const powers = new Map([
  ['B', 1n],
  ['kB', 10n ** 3n],
  ['MB', 10n ** 6n],
  ['GB', 10n ** 9n],
  ['TB', 10n ** 12n],
  ['KiB', 2n ** 10n],
  ['MiB', 2n ** 20n],
  ['GiB', 2n ** 30n],
  ['TiB', 2n ** 40n],
])

/** Milliseconds. */
const durations = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
  ['w', 604_800_000],
])

/** The whole text of a size, a duration and a share; what the parsers below take, but for ranges. */
export const sizePattern = new RegExp(`^(\\d{1,15})(?:\\.(\\d{1,12}))?(${[...powers.keys()].join('|')})$`)
export const durationPattern = new RegExp(`^(\\d{1,9})(${[...durations.keys()].join('|')})$`)
export const percentPattern = /^(\d{1,2}|100)%$/

export const sizeHint = 'write a size like 100kB (10^5 octets), 100KiB (102,400 octets), 5GB or 20B'
export const durationHint = 'write a duration like 30s, 10m, 1h or 30d'

/** Octets. Undefined when it is no size, or no whole number of octets. */
export function parseSize(text: string): bigint | undefined {
  const match = sizePattern.exec(text)
  if (!match) return undefined
  const factor = powers.get(match[3]!)!
  const decimals = match[2] ?? ''
  const scaled = BigInt(match[1]! + decimals) * factor
  const divisor = 10n ** BigInt(decimals.length)
  return scaled % divisor === 0n ? scaled / divisor : undefined
}

/** What a wrong size may have meant: `100KB` may be 100kB or 100KiB. */
export function hintForSize(text: string): string {
  const match = /^([\d.]+)\s*([A-Za-z]+)$/.exec(text)
  if (!match) return sizeHint
  const letters = match[2]!.toLowerCase().replace('i', '')
  const meant = [...powers.keys()].filter(name => {
    const known = name.toLowerCase().replace('i', '')
    return known === letters || known === `${letters}b`
  })
  return meant.length > 0 ? `write ${meant.map(name => match[1]! + name).join(' or ')}` : sizeHint
}

/** Milliseconds. */
export function parseDuration(text: string): number | undefined {
  const match = durationPattern.exec(text)
  return match ? Number(match[1]) * durations.get(match[2]!)! : undefined
}

/** `20%` → 20. */
export function parsePercent(text: string): number | undefined {
  const match = percentPattern.exec(text)
  return match ? Number(match[1]) : undefined
}

/** The shortest text that parses to it again: `100kB`, `1MiB`, `20B`. */
export function formatSize(octets: bigint): string {
  const texts = [...powers].filter(([, each]) => octets % each === 0n).map(([name, each]) => `${octets / each}${name}`)
  return texts.sort((a, b) => a.length - b.length)[0]!
}

/** The largest unit that it is a whole number of: `1h`, `90s`. */
export function formatDuration(ms: number): string {
  const [unit, factor] = [...durations].filter(([name, each]) => name !== 'w' && ms % each === 0).at(-1)!
  return ms === 0 ? '0s' : `${ms / factor}${unit}`
}
