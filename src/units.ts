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
