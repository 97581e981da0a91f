/** What the admin API is handed: it has no state of its own. */
import type { Accounts, NewBucket } from '../balance/types.js'
import type { AccessServices } from './access.js'
import type { PersonServices } from './person-routes.js'
import type { PaymentServices } from './payment-routes.js'
import type { Explained, ExplainQuery } from '../inquiry/explain.js'
import type { Rated } from '../inquiry/rate.js'
import type { AccountWords, UseWords } from '../inquiry/rate-request.js'
import type { Catalog } from '../rating/catalog.js'
import type { CatalogDiff } from '../rating/diff.js'
import type { Micros, Millis } from '../units.js'
import type { CareServices } from './care-routes.js'
import type { CatalogServices } from './catalog-routes.js'
import type { ClockServices } from './clock-routes.js'
import type { LifeServices } from './life-routes.js'
import type { NotificationServices } from './notification-routes.js'
import type { SessionCommands } from './session-commands.js'
import type { IdempotencyServices } from './idempotency.js'
import type { ListServices } from './list-routes.js'
import type { PeerServices } from './peers.js'
import type { RechargeServices } from './recharge-routes.js'
import type { SubscriberServices } from './subscriber-routes.js'
import type { ReportServices } from './report-routes.js'
import type { JobServices } from './job-routes.js'
import type { SubscriptionServices } from './subscription-routes.js'
import type { TraceServices } from './trace.js'
import type { VoucherServices } from './voucher-routes.js'

/**
 * What buying the offer now brings to an account in a currency; undefined when the catalog in use has no such offer. `refused`: why the
 * money in it cannot be converted.
 */
export type BucketsOf = (
  offer: string,
  now: Millis,
  currency: string,
) => readonly NewBucket[] | { readonly refused: string } | undefined

export interface AdminServices
  extends
    CatalogServices,
    ReportServices,
    SubscriberServices,
    ListServices,
    SubscriptionServices,
    JobServices,
    CareServices,
    AccessServices,
    PaymentServices,
    PersonServices,
    IdempotencyServices,
    ClockServices,
    LifeServices,
    NotificationServices,
    PeerServices,
    TraceServices,
    VoucherServices,
    RechargeServices {
  readonly accounts: Accounts
  readonly newBuckets: BucketsOf
  readonly catalog: () => CatalogView
  /** The catalog in use itself: what an account may be given differently is judged by it. */
  readonly tariff: () => Catalog
  /** Why a rate of the catalog could not be charged exactly at this price in this currency; undefined when it can. */
  readonly priceProblem: (rate: string, price: Micros, currency: string) => string | undefined
  /** Where a counter of the catalog ends now for accounts of this currency; undefined: nowhere. */
  readonly limitIn: (counter: string, currency: string) => bigint | undefined
  /** A date or time as the catalog's time zone shows it; undefined when the text is none. */
  readonly localTime: (text: string) => Millis | undefined
  readonly reload: () => Promise<ReloadOutcome>
  /**
   * Reads the catalog as `reload` does, or one that is handed in, and leaves the one in use alone.
   *
   * @param jump percent by which a price may differ from the catalog in use without being told; default 20
   */
  readonly check: (given?: CatalogTexts, jump?: number) => Promise<ReloadOutcome>
  /** What that catalog would change, and for whom. */
  readonly diff: (given?: CatalogTexts) => Promise<DiffOutcome>
  /** What usage costs, with nothing written. */
  readonly rate: (whose: RatedSubject, use: UseWords) => Promise<RateOutcome>
  /** What the ledger says of a request. */
  readonly explain: (query: ExplainQuery) => Promise<Explained>
  /** `full`: everything again, not only what is new since the last one that found nothing wrong. */
  readonly audit: (full?: boolean) => Promise<AuditView>
  readonly status: () => StatusView
  readonly sessionCommands: SessionCommands
}

/** A catalog as its author has it before it is installed. */
export interface CatalogTexts {
  /** The YAML, in the order of the names. */
  readonly files: readonly { readonly file: string; readonly text: string }[]
  /** What the YAML names: CSV files. */
  readonly others: readonly { readonly file: string; readonly text: string }[]
}

export type DiffOutcome =
  | { readonly status: 'compared'; readonly diff: CatalogDiff; readonly text: readonly string[] }
  | { readonly status: 'refused'; readonly version: string; readonly faults: readonly string[] }

/** Number of a subscriber in its account. */
export type RatedSubject =
  { readonly account: string; readonly subscriber: string } | { readonly described: AccountWords }

export type RateOutcome =
  | { readonly status: 'rated'; readonly rated: Rated }
  | { readonly status: 'no_account' }
  /** What is wrong with the request. */
  | { readonly status: 'impossible'; readonly why: string }

export interface CatalogView {
  readonly version: string
  readonly currency: string
  /** What its prices say of tax; null: nothing. */
  readonly tax?: Catalog['tax'] | null
  /** Others that accounts may have: prices are converted for them. */
  readonly exchanged: readonly string[]
  readonly offers: readonly OfferView[]
}

export interface OfferView {
  readonly name: string
  readonly rank: number
  readonly buckets: readonly string[]
}

export type ReloadOutcome =
  | { readonly status: 'loaded' | 'unchanged'; readonly version: string; readonly warnings: readonly string[] }
  /** Each fault as file:line:column with its hint; the old catalog stays. */
  | {
      readonly status: 'refused'
      readonly version: string
      readonly faults: readonly string[]
      readonly warnings: readonly string[]
    }

export interface AuditView {
  readonly accounts: number
  /** That were read. */
  readonly entries: number
  /** When the audit was that this one went on from; absent: everything was read. */
  readonly since?: string
  /** Gaps and differences in words; none: every balance is what its entries say. */
  readonly violations: readonly string[]
}

export interface StatusView {
  readonly version: string
  /** Unix ms. */
  readonly started: Millis
  readonly identity: string
  readonly realm: string
  readonly diameter: readonly string[]
  readonly store: string
  readonly durability: string
  readonly catalog: string
  readonly ready: boolean
  readonly reasons: readonly { readonly name: string; readonly reason: string }[]
  /** Reports that wait for the store. */
  readonly spool: {
    readonly entries: number
    /** Age of the oldest, seconds. */
    readonly oldestSeconds: number
    /** Why usage may get lost now. */
    readonly trouble: string | undefined
  }
}
