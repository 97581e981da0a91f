/** Credit pools, RFC 8506 section 5.1.2: how many pool units one unit of a member is worth, exactly. */
import type { Pool, RateTerms } from './catalog.js'
import type { PoolTerms } from './terms.js'

const mostExponent = 18

/** Price of a unit over the price of a pool unit, as digits · 10^exponent; or why there is none. */
export function multiplierOf(
  rate: RateTerms,
  pool: Pool,
): { readonly digits: bigint; readonly exponent: number } | { readonly problem: string; readonly hint: string } {
  const hint = 'use a rate with one tier, and nothing else than a price'
  const { tiers, counter, setup, minimum, first, cap } = rate
  if (tiers.length > 1 || counter !== undefined) return { problem: 'its price depends on how much was used', hint }
  if (setup > 0n || minimum > 0n || first > 0n || cap)
    return { problem: 'it has more than a price for each unit', hint }
  const { amount, per } = tiers[0]!
  if (amount === 0n) return { problem: 'it costs nothing', hint: 'write `free: true`' }
  let digits = amount * pool.units
  const divisor = per * pool.price
  let exponent = 0
  // Only twos and fives make a decimal that ends.
  for (; digits % divisor !== 0n && exponent > -mostExponent; exponent--) digits *= 10n
  if (digits % divisor !== 0n)
    return {
      problem: `one ${rate.unit === 'octets' ? 'octet' : 'unit'} is no decimal number of pool units`,
      hint: 'write another `units` or `price` of the pool',
    }
  digits /= divisor
  for (; digits % 10n === 0n && exponent < mostExponent; exponent++) digits /= 10n
  return { digits, exponent }
}

export function poolTerms(rate: RateTerms, pool: Pool): PoolTerms | undefined {
  const multiplier = multiplierOf(rate, pool)
  // A price of one account may be another than the catalog's: then its grants are its own.
  return 'problem' in multiplier ? undefined : { id: pool.id, ...multiplier }
}
