/**
 * The charging program: what a matched rule says about one line, compiled once per rule and catalog version into one
 * line of text that lua/charge.lua reads (design: rating is split at the only place it can be).
 *
 *     kind id unit service rule validity terms quota before rate tiers after money counters code
 *     pay 1a2b octets data payg#3 3600 3600,20,terminate 10000000,100000,100000000,0 data-5gb 9f8e,0,100000,100000,0,0,-,f,1,u,-,g 0,0,0,1000,1 - bonus - 0
 *
 * - `kind`: `pay`; `free` (granted without a hold); `deny`; `unrated` (no rule: 5031).
 * - `id`: hash of all that follows it: a grant keeps the program it was given under, whatever daemon prices its report.
 * - `rule`: offers and positions, `bundle#2+payg#1`, for the ledger. `code`: the Result-Code of `deny` and of `free: 4011`, else 0.
 * - `terms`: Validity-Time in seconds, threshold in percent of the grant (0: none), final-unit action. The script
 *   returns them as they are, so that a repeated answer is the same after a reload.
 * - `quota`: `size,min,max,target` in units, target in seconds (0: size is fixed).
 * - `before`, `after`: buckets that may pay before the rate, and after it; `-` or `name`s joined by commas. A bucket that is not taken
 *   unit by unit is `name~each~takes`: each started `each` units take `takes` of it. The script sorts them by the draw order.
 * - `rate`: `-`, or `id,first,step,tick,setup,minimum,cap,then,unit,round,counter,mode`. `id`: hash of the rate's content (a run belongs
 *   to it, not to its name). Above `first` units usage is billed in whole steps of `step` units; both are multiples of `tick` units.
 *   `cap` of a session in micros or `-`, `then` `f`ree or `s`top; prices are rounded to multiples of `unit` micros, `round`ed `u`p, `d`own
 *   or to the `n`earest (half up); `counter`: name of the counter that the tiers stand on, or `-`; `mode` `g`raduated or `v`olume.
 * - `tiers`: `-`, or `from,upto,base,num,den` joined by semicolons, ascending: above `from` billed units a started tick costs
 *   num/den rounding units (reduced), and all below `from` costs `base` micros. upto 0: no end. In `volume` mode from and base are 0 in all.
 *   T(x) = base + unit · round(ticks · num / den) of the tier with from < x ≤ upto.
 * - `money`: names of the money buckets that the rate may take from before `main`, joined by commas, or `-`.
 * - `counters`: `-`, or `name,what,then,per,limit,steps` joined by semicolons: counters that this line moves beside the rate's own.
 *   `what`: `u` used units, `m` micros charged, `t` the rate's tiers stand on it; `then`: `s`top, `f`ree, `t`ell; `per`: `a`ccount or `s`ubscriber;
 *   limit in units or micros, or `-`; steps: percents joined by dots, or `-`.
 */
import type { UnitType, Units } from '../units.js'
import type { Rounding } from './catalog.js'

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
  readonly afterRate: readonly string[]
  /** Money buckets that may pay the rate. */
  readonly money: readonly string[]
  readonly rate: CompiledRate | undefined
  /** Names of all counters that the line moves, the one of its tiers included. */
  readonly counters: readonly string[]
  /** Result-Code of a denied line; 0 for none. */
  readonly code: number
  /** What the ledger's entries mean by this program: JSON with offers, rules and their places, the rate in words. */
  readonly description: string
}

/** Units of the service. `size`: what an unbounded grant gets; `min`: never less than this when funds allow. */
export interface Quota {
  readonly size: Units
  readonly min: Units
  readonly max: Units
  /** Seconds between reports that the size aims at, between min and max; 0: the size is fixed. */
  readonly target: number
}

/** A rate as the script computes it; see `rate` and `tiers` above. */
export interface CompiledRate {
  readonly id: string
  /** Name in the catalog, for people. */
  readonly name: string
  readonly step: bigint
  readonly first: bigint
  readonly tick: bigint
  readonly setup: bigint
  readonly minimum: bigint
  readonly cap: { readonly amount: bigint; readonly then: 'free' | 'stop' } | undefined
  /** Micros that prices are multiples of; `unit` in the text. */
  readonly roundUnit: bigint
  readonly round: Rounding
  readonly counter: string | undefined
  readonly mode: 'graduated' | 'volume'
  readonly tiers: readonly CompiledTier[]
}

export interface CompiledTier {
  readonly from: bigint
  /** Undefined: no end. */
  readonly upTo: bigint | undefined
  /** Micros for all below `from`. */
  readonly base: bigint
  /** num/den rounding units a tick. */
  readonly num: bigint
  readonly den: bigint
}
