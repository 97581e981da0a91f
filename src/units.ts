/**
 * The quantities that must never be mixed up (semantics: integers only, everywhere).
 *
 * All are `bigint` in TypeScript and strings of digits on the way to Lua; each stays below 2^53 (checked at the door).
 */

declare const unit: unique symbol

/** Millionths of a currency's major unit: 1 EUR = 1,000,000. */
export type Micros = bigint & { readonly [unit]: 'micros' }

/** Units of a service: octets, seconds, events, or micros of a value, as its `UnitType` says. */
export type Units = bigint & { readonly [unit]: 'units' }

/** Milliseconds since 1970-01-01 UTC. */
export type Millis = number

export const unitTypes = ['octets', 'seconds', 'events', 'money'] as const
export type UnitType = (typeof unitTypes)[number]

/** The most that one line may carry, semantics.md section 1: more is refused with 5004. */
export const lineLimit: Record<UnitType, bigint> = {
  octets: 100_000_000_000_000n,
  seconds: 1_000_000_000n,
  events: 100_000_000n,
  money: 1_000_000_000_000n,
}

/** Lua and JSON numbers are doubles: every amount stays below this. */
export const exactLimit = 2n ** 53n

export const micros = (value: bigint | number): Micros => BigInt(value) as Micros
export const units = (value: bigint | number): Units => BigInt(value) as Units

/** `"5.00"` → 5,000,000. Undefined when the text is not a decimal number with at most six decimals. */
export function parseMoney(text: string): Micros | undefined {
  const match = /^(-?)(\d{1,9})(?:\.(\d{1,6}))?$/.exec(text)
  if (!match) return undefined
  const [, sign, whole, fraction = ''] = match
  const value = BigInt(whole!) * 1_000_000n + BigInt(fraction.padEnd(6, '0'))
  return (sign === '-' ? -value : value) as Micros
}

/** 5,000,000 → `"5.00"`: at least two decimals, more only where they say something. */
export function formatMoney(value: bigint): string {
  const sign = value < 0n ? '-' : ''
  const digits = (value < 0n ? -value : value).toString().padStart(7, '0')
  const fraction = digits.slice(-6).replace(/0{1,4}$/, '')
  return `${sign}${digits.slice(0, -6)}.${fraction}`
}

const sizes: readonly (readonly [string, bigint])[] = [
  ['TB', 10n ** 12n], ['TiB', 2n ** 40n], ['GB', 10n ** 9n], ['GiB', 2n ** 30n], ['MB', 10n ** 6n], ['MiB', 2n ** 20n], ['kB', 1_000n], ['KiB', 1_024n],
] // prettier-ignore

const spans: readonly (readonly [string, bigint])[] = [['d', 86_400n], ['h', 3_600n], ['min', 60n]] // prettier-ignore

/** An amount for people, exact: 100,000 octets are `100 kB`, 1,048,576 are `1 MiB`; `90 s`, `5 events`, `2.50`. */
export function formatAmount(unit: UnitType | 'units', amount: bigint): string {
  if (unit === 'money') return formatMoney(amount)
  if (unit === 'events') return amount === 1n ? '1 event' : `${amount} events`
  if (unit === 'units') return amount === 1n ? '1 unit' : `${amount} units`
  if (amount < 0n) return `-${formatAmount(unit, -amount)}`
  if (unit === 'seconds') {
    const [name, size] = spans.find(([, each]) => amount >= each && amount % each === 0n) ?? ['s', 1n]
    return `${amount / size} ${name}`
  }
  const texts = sizes
    .filter(([, size]) => amount >= size && (amount * 1_000_000n) % size === 0n)
    .map(([name, size]) => `${decimalOf(amount, size)} ${name}`)
  // The shortest; among equals the largest unit, decimal before binary.
  return texts.reduce((best, text) => (text.length < best.length ? text : best), texts[0] ?? `${amount} B`)
}

/** Octets in a size that they are a whole number of millionths of. */
function decimalOf(amount: bigint, size: bigint): string {
  const millionths = (amount * 1_000_000n) / size
  const fraction = (millionths % 1_000_000n).toString().padStart(6, '0').replace(/0+$/, '')
  return fraction === '' ? `${millionths / 1_000_000n}` : `${millionths / 1_000_000n}.${fraction}`
}
