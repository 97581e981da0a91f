/** Where an account is in its life cycle, as JSON. */
import type { AccountLife } from '../balance/types.js'

export interface LifeView {
  /** Of the catalog's `lifecycle`; null: it has none now. */
  readonly rule: string | null
  /** created, active, grace, suspended, terminated, recycled: where it would be if it were not suspended by hand. */
  readonly phase: string
  readonly since: string
  /** When the phase ends; of `active` the end of validity. Null: never. */
  readonly until: string | null
  readonly suspendedByHand: boolean
}

export const viewOfLife = (life: AccountLife | undefined): LifeView | null =>
  life
    ? {
        rule: life.rule === '-' ? null : life.rule,
        phase: life.phase,
        since: new Date(life.since).toISOString(),
        until: life.end === undefined ? null : new Date(life.end).toISOString(),
        suspendedByHand: life.byHand,
      }
    : null
