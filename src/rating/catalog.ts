/**
 * The catalog as the rest of the program sees it: services, zones, calendars, counters, rates, buckets and offers, read and
 * checked whole by load.ts (design.md section 6). A catalog never changes; a reload makes another one.
 */
import type { Micros, Millis, Units, UnitType } from '../units.js'
import type { CompiledRate, Program, Quota } from './program.js'

export interface Tax {
  readonly prices: 'included' | 'excluded'
  /** Which, in words. */
  readonly rate?: string | undefined
}

/** `tax included (19 % VAT)`; empty where the catalog says nothing. */
export const taxInWords = ({ tax }: Pick<Catalog, 'tax'>): string =>
  tax ? `tax ${tax.prices}${tax.rate === undefined ? '' : ` (${tax.rate})`}` : ''

export interface Catalog {
  /** Hash of the normalised content: comments, file names and the order of tables do not change it. */
  readonly version: string
  /** ISO 4217, like EUR. */
  readonly currency: string
  /** What its prices say of tax; undefined: nothing. Nothing is computed from it. */
  readonly tax?: Tax | undefined
  /** By currency: what prices cost accounts in it. Ascending; one at least. Accounts in any other cannot be rated. */
  readonly exchange: ReadonlyMap<string, readonly ExchangeRate[]>
  /** IANA name: of calendars and counters that name none. */
  readonly timezone: string
  /** Falling to one of these, `main` leaves an event. Micros, descending. */
  readonly lowBalance: readonly Micros[]
  /** Falling to one of these, or to such a share of the last recharge, `main` is told of to other systems. */
  readonly thresholds: MoneyThresholds
  readonly services: ReadonlyMap<string, Service>
  readonly zones: ReadonlyMap<string, Zone>
  readonly destinations: Destinations
  readonly calendars: ReadonlyMap<string, Calendar>
  readonly counters: ReadonlyMap<string, Counter>
  readonly rates: ReadonlyMap<string, Rate>
  readonly buckets: ReadonlyMap<string, BucketKind>
  readonly offers: ReadonlyMap<string, Offer>
  /** In order: the first whose conditions an account meets is its. */
  readonly lifeCycles: readonly LifeCycle[]
  /** In order: the first whose numbers hold an identity of an unknown subscriber gives it an account. */
  readonly autoCreate: readonly AutoCreate[]
  /** Undefined: recharges of any channel and amount, without a bonus. */
  readonly recharges: RechargeRules | undefined
  /** Undefined: transfers of any amount, between all accounts of one currency. */
  readonly transfers: TransferRules | undefined
  /** Cases written beside the tariff: run by the check and at each load. */
  readonly tests: readonly TariffTest[]
  /** What match.ts has worked out of this catalog, bounded. */
  readonly memo: Memo
}

/** What begins an account's active life: its first recharge, its first use, either; `none`: it is active from the beginning. */
export const lifeStarts = ['recharge', 'use', 'any', 'none'] as const

/** Digits from `from` to `to`, of one length; with `prefix` any that begin so. */
export interface NumberRange {
  readonly from: string
  readonly to: string
  readonly prefix: boolean
}

/** What an unknown subscriber gets at its first use. */
export interface AutoCreate {
  readonly name: string
  readonly msisdn: readonly NumberRange[]
  readonly imsi: readonly NumberRange[]
  readonly offers: readonly string[]
  readonly attributes: Readonly<Record<string, string>>
  readonly currency: string
}

/** How long accounts live, and what ends them. Durations are ms; undefined: for ever. */
export interface LifeCycle {
  readonly name: string
  /** Accounts with one of these offers; undefined: with any, or none. */
  readonly offers: ReadonlySet<string> | undefined
  /** By attribute of the account: one of these values. */
  readonly account: ReadonlyMap<string, ReadonlySet<string>>
  readonly start: (typeof lifeStarts)[number]
  /** How long an account waits for its beginning. */
  readonly unused: Millis | undefined
  /** What a recharge of so much at least brings, ascending; undefined: recharges say nothing of validity, which never ends. */
  readonly validity: readonly { readonly amount: Micros; readonly lasts: Millis }[] | undefined
  /** What the first use brings, or with `none` the beginning. */
  readonly first: Millis | undefined
  /** A recharge counts from the later of now and the present end, or from now. */
  readonly extend: 'later' | 'now'
  /** Validity never ends later than this from now. */
  readonly max: Millis | undefined
  readonly grace: { readonly lasts: Millis; readonly service: 'all' | 'none' }
  readonly suspended: Millis | undefined
  /** At termination money and buckets expire, or they stay. */
  readonly forfeit: boolean
  /** What is owed keeps an account from termination, or is written off. */
  readonly debt: 'wait' | 'writeoff'
  /** After it, identities of a terminated account are free again. */
  readonly quarantine: Millis | undefined
  /** So long before the end of its validity its owner is warned, descending. */
  readonly warn: readonly Millis[]
}

/** Micros, and percents; each descending. */
export interface MoneyThresholds {
  readonly amounts: readonly Micros[]
  readonly percents: readonly number[]
}

/** In force from its time to that of the next one. */
export interface ExchangeRate {
  readonly from: Millis
  /** What 1 of the currency is worth in the catalog's currency, in ten-billionths (exchange.ts); above 0. */
  readonly rate: bigint
}

export interface Service {
  readonly name: string
  /** Service-Context-Ids in lower case, without release and operator, or exactly as a client sends them. */
  readonly contexts: readonly string[]
  /** `money`: what is rated is a value, in micros (a percentage of it is charged). */
  readonly unit: UnitType
  readonly quota: QuotaTerms
  /** Credit-Control-Failure-Handling of its sessions; undefined: the daemon's. */
  readonly failureHandling: FailureHandling | undefined
  /** What its answers tell of money. */
  readonly inform: ReadonlySet<InformWord>
}

/** What a gateway does when nobody answers, RFC 8506 section 8.14. */
export const failureHandlings = ['terminate', 'continue', 'retry-and-terminate'] as const
export type FailureHandling = (typeof failureHandlings)[number]

export const informWords = ['cost', 'balance'] as const
export type InformWord = (typeof informWords)[number]

export interface QuotaTerms extends Quota {
  /** Validity-Time in seconds. */
  readonly validity: number
  /** Percent of the grant that is left when the gateway should report; 0: no threshold is sent. */
  readonly threshold: number
  /** Of this service; undefined: the offer's. */
  readonly finalUnit?: FinalUnit | undefined
  /** Quota-Holding-Time in seconds, 0: none. Undefined: not sent. */
  readonly holding?: number | undefined
  /** Trigger-Types to arm; undefined: what the rules' conditions depend on. */
  readonly triggers?: readonly number[] | undefined
  /** Quota-Consumption-Time in seconds. */
  readonly consumption?: number | undefined
  /** Time-Quota-Type 0 discrete, 1 continuous time period; Base-Time-Interval in seconds. */
  readonly timeMechanism?: { readonly type: number; readonly interval: number } | undefined
  /** Envelope-Reporting 0 to 4. */
  readonly envelope?: number | undefined
  /** PS-Free-Format-Data for the gateway's records. */
  readonly furnish?: string | undefined
}

/** Where the subscriber is: the serving network. The longest pattern over all zones decides, so a PLMN is in one zone. */
export interface Zone {
  readonly name: string
  /** MCC and MNC digits; a trailing `*` matches any rest: `26201`, `208*`. */
  readonly plmns: readonly string[]
}

/** Whom the subscriber calls. The longest prefix over all destinations decides. */
export interface Destinations {
  readonly names: ReadonlySet<string>
  readonly size: number
  /** Name of the destination of a number (digits, without +); undefined: none of its prefixes is known. */
  find(number: string): string | undefined
  /** All prefixes, the shortest first, made anew each time. */
  rows(): Iterable<DestinationRow>
}

export interface DestinationRow {
  /** 1 to 15 digits; each prefix once. */
  readonly prefix: string
  readonly destination: string
}

/** A set of times. With `priority`, it is in force only while no calendar with a smaller priority is. */
export interface Calendar {
  readonly name: string
  readonly timezone: string
  /** 1 Monday to 7 Sunday; undefined: all. */
  readonly days: ReadonlySet<number> | undefined
  /** Minutes of the local day, [from, to); to below or equal from: past midnight, belonging to the day it began. Undefined: all day. */
  readonly time: { readonly from: number; readonly to: number } | undefined
  /** Local dates `2026-12-25`, or `12-25` of every year: only these, or none of these. */
  readonly only: readonly string[] | undefined
  readonly except: readonly string[]
  /** Absolute bounds, ms; `until` is excluded. */
  readonly since: Millis | undefined
  readonly until: Millis | undefined
  readonly priority: number | undefined
}

/** `30d` of `rolling` and `anniversary` start at the activation: the oldest subscription of the subscriber, or the account. */
export type Reset =
  | { readonly kind: 'never' | 'day' | 'week' | 'month' | 'anniversary' }
  | { readonly kind: 'rolling'; readonly every: Millis }

/** What was used, or charged, in a period. A rate may stand on it (tiers); a limit may end grants or prices. */
export interface Counter {
  readonly name: string
  /** `money`: micros charged. */
  readonly unit: UnitType
  readonly per: 'subscriber' | 'account'
  readonly reset: Reset
  readonly timezone: string
  /** Which usage counts. Not for counters of tiers, which count what their rates bill. */
  readonly where: Conditions
  /** Units or micros; undefined: it only counts. */
  readonly limit: bigint | undefined
  /** At the limit: nothing more is granted; it costs nothing any more; or only the events tell. */
  readonly then: 'stop' | 'free' | 'tell'
  /** Whether an account may opt out of the limit. */
  readonly optIn: boolean
  /** Percent of the limit that leave an event, ascending. */
  readonly steps: readonly number[]
  /** True when a rate's tiers stand on it. */
  readonly tiers: boolean
}

export interface Rate extends CompiledRate {
  readonly unit: UnitType
  /** As it is written, for quotes, differences and overrides of its price. */
  readonly terms: RateTerms
}

/** A rate as its catalog writes it. Money in micros, the rest in units. */
export interface RateTerms {
  readonly name: string
  readonly unit: UnitType
  /** One at least, ascending; only the last has no `upTo`. A tick above the one before costs `amount` for `per`. */
  readonly tiers: readonly {
    readonly upTo: Units | undefined
    readonly amount: Micros
    readonly per: Units
  }[]
  /** `graduated`: each tier at its own price; `volume`: all at the price of the tier reached. */
  readonly mode: 'graduated' | 'volume'
  /** 1 to the line limit of the unit. */
  readonly step: Units
  /** Billed as soon as anything is used; 0 for none. */
  readonly first: Units
  readonly setup: Micros
  readonly minimum: Micros
  /** Of a session. */
  readonly cap: { readonly amount: Micros; readonly then: 'free' | 'stop' } | undefined
  readonly round: Rounding
  /** Of the major unit that a price is rounded to, 0 to 6. */
  readonly decimals: number
  /** Name of a counter that the tiers stand on; undefined: on the session's own usage. */
  readonly counter: string | undefined
}

export const roundings = ['up', 'down', 'nearest'] as const
export type Rounding = (typeof roundings)[number]

/** A kind of bucket, made known by the grants that name it: all of them agree on what stands here. */
export interface BucketKind {
  readonly name: string
  readonly unit: BucketUnit
  /** What it may pay, by service: each started `each` units take `takes` of the bucket. Empty for money: rates take from it. */
  readonly pays: ReadonlyMap<string, { readonly each: Units; readonly takes: Units }>
  /** Where it may pay, beside the services (for money, too). */
  readonly where: Conditions
}

/** `units`: generic, like points. `money`: micros that rates take before `main`. */
export type BucketUnit = UnitType | 'units'

export interface Offer {
  readonly name: string
  /** Smaller is asked first. */
  readonly rank: number
  /** Taken when it is bought, and at each renewal. */
  readonly fee: Fee | undefined
  /** Who may buy it, and when: checked at the purchase, not afterwards. */
  readonly eligible: ReadonlyMap<string, ReadonlySet<string>>
  readonly sold: { readonly from: Millis | undefined; readonly until: Millis | undefined }
  readonly grants: readonly Grant[]
  readonly rules: readonly Rule[]
  /** By service; what an offer does not say comes from the service. */
  readonly quotas: ReadonlyMap<string, QuotaTerms>
  /** Undefined: TERMINATE. */
  readonly finalUnit: FinalUnit | undefined
  readonly pools: ReadonlyMap<string, Pool>
  /** Open sessions that an account with it may have; undefined: any number. */
  readonly sessions: number | undefined
}

export const finalUnitActions = ['terminate', 'none', 'redirect', 'restrict'] as const
export type FinalUnitAction = (typeof finalUnitActions)[number]

/** What becomes of the service when its last units are used. */
export type FinalUnit = (
  | { readonly action: 'terminate' | 'none' }
  | ({ readonly action: 'redirect'; readonly to: RedirectAddress } & Restricted)
  | ({
      readonly action: 'restrict'
      /** IPFilterRules of what still passes, and names of such in the gateway. */
      readonly filters: readonly string[]
      readonly filterIds: readonly string[]
    } & Restricted)
) & {
  /** Announcement-Identifier that the subscriber hears with it. */
  readonly announcement?: number | undefined
}

export interface RedirectAddress {
  readonly type: 'ipv4' | 'ipv6' | 'url' | 'sip'
  readonly address: string
}

interface Restricted {
  /** Validity-Time meanwhile, seconds: after it the gateway asks whether there are funds again. */
  readonly validity: number
  /** There are none: the service stays restricted, or is refused with 4012. */
  readonly repeat: boolean
}

/** Quotas of several lines in one credit (RFC 8506 section 5.1.2): so many pool units cost `price`. */
export interface Pool {
  /** G-S-U-Pool-Identifier. */
  readonly id: number
  readonly units: bigint
  readonly price: Micros
}

/** How long a fee is paid for: a time, or a unit of the calendar. */
export type Every =
  { readonly kind: 'rolling'; readonly every: Millis } | { readonly kind: 'hour' | 'day' | 'week' | 'month' | 'year' }

export const alignments = ['anchored', 'calendar'] as const
export const prorations = ['none', 'price', 'price-and-grants'] as const
export type Proration = (typeof prorations)[number]
export const renewals = ['auto', 'manual', 'none'] as const
export const catchUps = ['each', 'latest'] as const

export interface Fee {
  readonly amount: Micros
  /** Undefined: once. */
  readonly every: Every | undefined
  /** `calendar`: periods are those of the catalog's time zone, so that the first one is short. Only units of the calendar have it. */
  readonly align: (typeof alignments)[number]
  /** Of a short first period, and when it is changed or cancelled: whether a part of a period costs, and brings, its part. */
  readonly proration: Proration
  /** At the end of a period: the next one is paid for by itself, by hand, or the subscription ends. */
  readonly renew: (typeof renewals)[number]
  /** Once, with the purchase. */
  readonly setup: Micros
  /** After a renewal that failed it is tried again so long after the first time, ascending. */
  readonly retry: readonly Millis[]
  /** How long it waits for its renewal before it ends; 0: not at all. */
  readonly grace: Millis
  /** Whether the offer's rules hold while it waits. */
  readonly graceRules: boolean
  /** Renewals that nobody came to: each is made up for, or only the one that is in force. */
  readonly catchUp: (typeof catchUps)[number]
  /** So long before the end of a period an event says so, descending. */
  readonly remind: readonly Millis[]
}

export interface Grant {
  readonly bucket: string
  readonly amount: Units
  readonly life: Life
  /** Smaller pays first. */
  readonly priority: number
  /** Bought: pays after what was granted, all else being equal. */
  readonly paid: boolean
  /** While it is valid, nothing behind it in the draw order is granted from. */
  readonly blocker: boolean
  /** Amounts left whose crossing leaves an event, descending. */
  readonly warn: readonly Units[]
  /** So long before its end an event says so, descending. */
  readonly remind: readonly Millis[]
  readonly rollover: Rollover | undefined
}

/** Absolute times of a bucket. */
export interface Life {
  /** Not usable before. */
  readonly from: Millis | undefined
  readonly end:
    | { readonly kind: 'never' }
    | { readonly kind: 'at'; readonly at: Millis }
    /** After it was granted, or first used. */
    | { readonly kind: 'after'; readonly after: Millis; readonly start: 'grant' | 'use' }
    /** With the calendar's day, week or month that it was granted in. */
    | { readonly kind: 'period'; readonly reset: 'day' | 'week' | 'month'; readonly timezone: string }
    /** With what the fee of its offer is paid for. */
    | { readonly kind: 'fee' }
}

/** At its end, what is free of a bucket goes on in another one when it is at least `min`, up to `max`. */
export interface Rollover {
  readonly min: Units
  readonly max: Units
  readonly life: Millis
  readonly priority: number
}

/** What a request must be; absent members match everything. */
export interface Conditions {
  readonly services?: ReadonlySet<string>
  readonly ratingGroup?: Condition
  readonly serviceIdentifier?: Condition
  /** Names of zones and destinations; `none`: of no zone. */
  readonly zones?: ReadonlySet<string>
  readonly destinations?: ReadonlySet<string>
  /** Lower case; `*` at the end matches any rest. */
  readonly apns?: ReadonlySet<string>
  /** Names of 3GPP-RAT-Type, see ratTypes, or its number. */
  readonly rats?: ReadonlySet<string>
  /** Of a call, as the request says it: see directions. */
  readonly directions?: ReadonlySet<string>
  /** What kind of message an SMS or MMS is: names of messageTypes. */
  readonly messages?: ReadonlySet<string>
  /** Any of these calendars is in force. */
  readonly when?: ReadonlySet<string>
  /** Attributes of the account and of the subscriber: each key has one of the values. */
  readonly account?: ReadonlyMap<string, ReadonlySet<string>>
  readonly subscriber?: ReadonlyMap<string, ReadonlySet<string>>
}

/** 3GPP TS 29.061 section 16.4.7. */
export const ratTypes: Readonly<Record<string, string>> = {
  '1': 'utran', '2': 'geran', '3': 'wlan', '4': 'gan', '5': 'hspa', '6': 'eutran', '7': 'virtual', '8': 'nb-iot', '9': 'lte-m', '51': 'nr',
} // prettier-ignore

export const directions = ['originating', 'terminating'] as const

/** SM-Message-Type and (MMS) Message-Type, 3GPP TS 32.299 sections 7.2.211 and 7.2.110. */
export const messageTypes: Readonly<Record<string, string>> = {
  'sms.0': 'submission', 'sms.1': 'delivery-report', 'sms.2': 'service-request', 'sms.3': 't4-trigger', 'sms.4': 'device-trigger',
  'sms.5': 't4-submission', 'mms.1': 'm-send-req', 'mms.2': 'm-send-conf', 'mms.3': 'm-notification-ind', 'mms.4': 'm-notifyresp-ind',
  'mms.5': 'm-retrieve-conf', 'mms.6': 'm-acknowledge-ind', 'mms.7': 'm-delivery-ind', 'mms.8': 'm-read-rec-ind',
  'mms.9': 'm-read-orig-ind', 'mms.10': 'm-forward-req', 'mms.11': 'm-forward-conf', 'mms.12': 'm-mbox-store-conf',
  'mms.13': 'm-mbox-view-conf', 'mms.14': 'm-mbox-upload-conf', 'mms.15': 'm-mbox-delete-conf',
} // prettier-ignore

/** A row of an offer: what its conditions match, and what then applies. */
export interface Rule {
  /** From 1. */
  readonly position: number
  readonly where: Conditions
  readonly effect: Effect
  /** `file:line` of the row, for explanations. */
  readonly place: string
}

export interface Condition {
  readonly values: ReadonlySet<number>
  /** Lines without a value match, too. */
  readonly none: boolean
}

export type Effect =
  /** Buckets before and after the rate, in no order: the draw order is semantics.md section 5. */
  | {
      readonly kind: 'use'
      readonly buckets: readonly string[]
      readonly rate: string | undefined
      readonly afterRate: readonly string[]
      /** Name of the pool that its grants are part of. */
      readonly pool?: string | undefined
    }
  /** `code` is a Result-Code, 0 for none. */
  | { readonly kind: 'free' | 'deny'; readonly code: number }

/** Money of these is of the catalog's currency. */
export interface RechargeRules {
  /** Undefined: any channel. */
  readonly channels: ReadonlyMap<string, AmountRules> | undefined
  /** In order: the first that applies is given. */
  readonly bonuses: readonly BonusRule[]
}

export interface AmountRules {
  readonly min: Micros | undefined
  readonly max: Micros | undefined
  /** The most of one account in a day. */
  readonly perDay: { readonly count: number | undefined; readonly sum: Micros | undefined }
}

export interface BonusRule {
  readonly name: string
  /** Undefined: all. */
  readonly channels: ReadonlySet<string> | undefined
  /** Amounts in [from, below); undefined: no bound. */
  readonly from: Micros | undefined
  readonly below: Micros | undefined
  /** Attributes of the account: each key has one of the values. */
  readonly account: ReadonlyMap<string, ReadonlySet<string>>
  readonly first: boolean
  /** In force: [since, until), ms. */
  readonly since: Millis | undefined
  readonly until: Millis | undefined
  /** How often one account gets it; undefined: each time. */
  readonly most: number | undefined
  readonly gives: BonusGift
}

/** `hundredths` of a percent of the amount, rounded down; or a fixed amount of money; or a bucket. Money goes `into` a bucket, or main. */
export type BonusGift =
  | { readonly kind: 'share'; readonly hundredths: bigint; readonly into: BonusBucket | undefined }
  | { readonly kind: 'money'; readonly amount: Micros; readonly into: BonusBucket | undefined }
  | { readonly kind: 'grant'; readonly grant: Grant }

/** What a grant is but for its amount. */
export type BonusBucket = Pick<Grant, 'bucket' | 'life' | 'priority' | 'paid'>

export interface TransferRules extends AmountRules {
  /** Paid by the sender. */
  readonly fee: Micros
  /** Attributes of sender and receiver, one of which must fit; undefined: all may. */
  readonly allowed:
    | readonly {
        readonly from: ReadonlyMap<string, ReadonlySet<string>>
        readonly to: ReadonlyMap<string, ReadonlySet<string>>
      }[]
    | undefined
}

/** One case: an account made of offers, what it uses, and what must come out. */
export interface TariffTest {
  readonly name: string
  /** `file:line:column`. */
  readonly place: string
  readonly at: Millis
  readonly offers: readonly string[]
  /** Of the account, and of all money here. */
  readonly currency: string
  readonly balance: Micros
  readonly creditLimit: Micros
  readonly attributes: ReadonlyMap<string, string>
  readonly subscriberAttributes: ReadonlyMap<string, string>
  /** Amounts left instead of what the offers grant. */
  readonly buckets: ReadonlyMap<string, bigint>
  readonly counters: ReadonlyMap<string, bigint>
  readonly uses: readonly TariffUse[]
  readonly expect: {
    /** Of all uses together. */
    readonly cost: Micros | undefined
    readonly balance: Micros | undefined
    readonly debt: Micros | undefined
    readonly left: ReadonlyMap<string, bigint>
    readonly counters: ReadonlyMap<string, bigint>
    /** Of the last use: `granted`, or the Result-Code of its refusal. */
    readonly result: string | undefined
    /** Events that must be left, like `day-roaming 80%`. */
    readonly events: readonly string[]
  }
}

/** One session: opened at its time, all of it reported, ended. */
export interface TariffUse {
  readonly at: Millis
  readonly service: string
  readonly ratingGroup: number | undefined
  readonly serviceIdentifiers: readonly number[]
  readonly amount: bigint
  /** For time: how long after `at` it is reported is the amount itself. For volume: reported at `at`, or evenly over so many ms. */
  readonly over: Millis
  readonly plmn: string | undefined
  readonly called: string | undefined
  readonly apn: string | undefined
  /** Number of 3GPP-RAT-Type. */
  readonly rat: string | undefined
}

export interface Memo {
  /** Service-Context-Id as sent → its service. */
  readonly services: Map<string, Service>
  /** By kind of line: at the times that were asked for last, newest first. */
  readonly programs: Map<string, readonly Match[]>
  /** Values that some rule names. All others match the same rules, so that they share one program. */
  readonly ratingGroups: ReadonlySet<number>
  readonly serviceIdentifiers: ReadonlySet<number>
}

/** The program of a line, while nothing that it depends on changes with time. */
export interface Match {
  readonly program: Program
  /** Time in which this match holds: [since, until), ms; ±Infinity where no calendar bounds it. */
  readonly since: Millis
  readonly until: Millis
  /**
   * JSON members for the ledger's line: zone, destination, apn, rat, calendars in force, the exchange rate, why nothing matched; ''
   * for none.
   */
  readonly facts: string
  /** Offers of the subscriptions that this catalog does not know: skipped. */
  readonly unknownOffers: readonly string[]
}
