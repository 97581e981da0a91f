/**
 * The catalog as the rest of the program sees it: services, rates, buckets and offers, read and checked whole by load.ts
 * (design.md section 6). A catalog never changes; a reload makes another one.
 */
import type { Micros, Millis, Units, UnitType } from '../units.js'
import type { CompiledRate, Program, Quota } from './program.js'

export interface Catalog {
  /** Hash of the normalised content: comments, file names and the order of tables do not change it. */
  readonly version: string
  /** ISO 4217, like EUR. */
  readonly currency: string
  readonly services: ReadonlyMap<string, Service>
  readonly rates: ReadonlyMap<string, CompiledRate>
  readonly buckets: ReadonlyMap<string, BucketKind>
  readonly offers: ReadonlyMap<string, Offer>
  /** What match.ts has worked out of this catalog, bounded. */
  readonly memo: Memo
}

export interface Service {
  readonly name: string
  /** Service-Context-Ids in lower case, without release and operator, or exactly as a client sends them. */
  readonly contexts: readonly string[]
  readonly unit: UnitType
  readonly quota: QuotaTerms
}

export interface QuotaTerms extends Quota {
  /** Validity-Time in seconds. */
  readonly validity: number
  /** Percent of the grant that is left when the gateway should report; 0: no threshold is sent. */
  readonly threshold: number
}

/** A kind of bucket, made known by the grants that name it: all of them agree on the unit and the services. */
export interface BucketKind {
  readonly name: string
  readonly unit: UnitType
  readonly services: readonly string[]
}

export interface Offer {
  readonly name: string
  /** Smaller is asked first. */
  readonly rank: number
  /** Kept with the offer, not charged yet: buying and renewal do that. */
  readonly fee: Fee | undefined
  readonly grants: readonly Grant[]
  readonly rules: readonly Rule[]
  /** By service; what an offer does not say comes from the service. */
  readonly quotas: ReadonlyMap<string, QuotaTerms>
  readonly finalUnit: FinalUnitAction
}

export const finalUnitActions = ['terminate', 'none'] as const
export type FinalUnitAction = (typeof finalUnitActions)[number]

export interface Fee {
  readonly amount: Micros
  /** Undefined: once. */
  readonly every: Millis | undefined
}

export interface Grant {
  readonly bucket: string
  readonly amount: Units
  /** Life time; undefined: never ends. */
  readonly expires: Millis | undefined
  /** Smaller pays first. */
  readonly priority: number
}

/** A row of an offer: what its conditions match (an absent one matches everything), and what then applies. */
export interface Rule {
  /** From 1. */
  readonly position: number
  readonly service: string | undefined
  readonly ratingGroup: Condition | undefined
  readonly serviceIdentifier: Condition | undefined
  readonly effect: Effect
}

export interface Condition {
  readonly values: ReadonlySet<number>
  /** Lines without a value match, too. */
  readonly none: boolean
}

export type Effect =
  | { readonly kind: 'use'; readonly buckets: readonly string[]; readonly rate: string | undefined }
  /** `code` is a Result-Code, 0 for none. */
  | { readonly kind: 'free' | 'deny'; readonly code: number }

export interface Memo {
  /** Service-Context-Id as sent → its service. */
  readonly services: Map<string, Service>
  readonly programs: Map<string, Match>
  /** Values that some rule names. All others match the same rules, so that they share one program. */
  readonly ratingGroups: ReadonlySet<number>
  readonly serviceIdentifiers: ReadonlySet<number>
}

/** The program of a line, and the offers of the subscriptions that this catalog does not know: skipped. */
export interface Match {
  readonly program: Program
  readonly unknownOffers: readonly string[]
}
