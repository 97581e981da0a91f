/**
 * The charging program: what a matched rule says about one line, compiled once per rule and catalog version into one
 * line of text that lua/charge.lua reads (design: rating is split at the only place it can be).
 *
 *     kind id unit service rule validity terms buckets rate num den step first tick code
 *     pay 1a2b3c4d octets data payg#3 3600 3600,20,terminate data-5gb,data-day 9f8e7d6c 1000 1 100000 0 100000 0
 *
 * - `kind`: `pay`; `free` (granted without a hold); `deny`; `unrated` (no rule: 5031).
 * - `id`: hash of all that follows it: a grant keeps the program it was given under, whatever daemon prices its report.
 * - `rule`: offer and position, for the ledger. `code`: the Result-Code of `deny` and of `free: 4011`, else 0.
 * - `terms`: Validity-Time in seconds, threshold in percent of the grant (0: none), final-unit action. The script
 *   returns them as they are, so that a repeated answer is the same after a reload.
 * - `buckets`: names of the buckets that may pay, in any order: the script sorts by the draw order. `-`: none.
 * - `rate`: hash of the rate's content (a run belongs to it, not to its name). `-`: no rate, num 0, den 1.
 * - A started tick costs num/den micros (reduced). Above `first` units usage is billed in whole steps of `step` units;
 *   both are multiples of `tick` units.
 */
import type { UnitType, Units } from '../units.js'

export interface Program {
  readonly kind: 'pay' | 'free' | 'deny' | 'unrated'
  readonly id: string
  readonly text: string
  readonly unit: UnitType
  readonly service: string
  readonly rule: string
  /** Seconds. */
  readonly validity: number
  readonly quota: Quota
  readonly buckets: readonly string[]
  readonly rate: CompiledRate | undefined
  /** Result-Code of a denied line; 0 for none. */
  readonly code: number
}

/** Units of the service. `size`: what an unbounded grant gets; `min`: never less than this when funds allow. */
export interface Quota {
  readonly size: Units
  readonly min: Units
  readonly max: Units
}

export interface CompiledRate {
  readonly id: string
  /** Name in the catalog, for people. */
  readonly name: string
  readonly num: bigint
  readonly den: bigint
  readonly step: bigint
  readonly first: bigint
  readonly tick: bigint
}
