/**
 * A credit pool as a gateway keeps it, RFC 8506 section 5.1.2: its members use each others' units until, weighed by their
 * multipliers, all of them are used.
 */

/** A member's part: what it was granted and has used since, and what a unit of it is worth. */
export interface Share {
  readonly granted: bigint
  readonly used: bigint
  /** In billionths of a pool unit. */
  readonly multiplier: bigint
}

/** S, less what is used, in billionths of a pool unit; negative when more was used. */
export const leftOf = (shares: readonly Share[]): bigint =>
  shares.reduce((sum, { granted, used, multiplier }) => sum + (granted - used) * multiplier, 0n)

/** Units that a member may still use: as many as the whole pool has left. */
export function roomFor(member: Share, shares: readonly Share[]): bigint {
  const left = leftOf(shares)
  if (left <= 0n || member.multiplier <= 0n) return 0n
  return left / member.multiplier
}
