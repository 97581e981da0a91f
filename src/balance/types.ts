/**
 * What the rest of the daemon asks of the balances, and what it gets: accounts, subscribers, sessions, charges.
 * balance/ is the only code that speaks to Redis; lua/ decides.
 */
import type { Micros, Millis, UnitType, Units } from '../units.js'
import type { CreditOutcome, RechargeRequest } from './credits.js'

export type IdentityType = 'msisdn' | 'imsi' | 'nai'

/** A subscriber's identity, normalised: digits only for msisdn and imsi (leading zeros count, a leading + is dropped). */
export interface Identity {
  readonly type: IdentityType
  readonly value: string
}

/** The first and the last three by the life cycle of the catalog. */
export type AccountStatus = 'created' | 'active' | 'suspended' | 'grace' | 'terminated' | 'recycled'

/** Where an account is in its life cycle, lua/include/life.lua. */
export interface AccountLife {
  readonly phase: AccountStatus
  readonly since: Millis
  /** When the phase ends: of `active` the end of its validity. Undefined: never. */
  readonly end: Millis | undefined
  /** The shortest warning of that end that was told, ms before it; 0: none. */
  readonly told: Millis
  /** Suspended by hand, whatever the phase is. */
  readonly byHand: boolean
  /** Name of the life cycle in the catalog; `-`: it has none. */
  readonly rule: string
  readonly terms: string
}

/** A bought offer. Ordered by the catalog's rank, newest, id. */
export interface Subscription {
  readonly id: string
  readonly offer: string
  readonly since: Millis
  /** Number of the subscriber that it is for; 0: all of the account. */
  readonly subscriber: string
  /** Its fee is not paid, and its offer says that its rules do not hold then. */
  readonly paused?: true | undefined
  /** Of one with a fee, as far as the reader asked for it: its state, and the text that it was read from. */
  readonly state?: SubscriptionState | undefined
  readonly line?: string | undefined
}

/** What a subscription with a fee keeps: the field `subscription:<id>` of its account. */
export interface SubscriptionState {
  /** `grace`: its renewal failed, or waits for somebody. `ending`: it ends at the end of what is paid. */
  readonly status: 'active' | 'grace' | 'ending'
  /** What is paid for: [from, until); undefined: for good. */
  readonly from: Millis
  readonly until: Millis | undefined
  /** Where its periods are counted from, the number of this one from there (0 the first), and how they are counted. */
  readonly anchor: Millis
  readonly index: number
  readonly every: string | undefined
  /** For this period; 0 where it came with an import. */
  readonly paid: Micros
  /** When something is to be done next. */
  readonly due: Millis | undefined
  /** Renewals that failed since. */
  readonly tries: number
  /** Offer that it is of from the next renewal on. */
  readonly to?: string | undefined
  /** Of `grace`: its end, when the renewal failed first, and what it needs. */
  readonly ends?: Millis | undefined
  readonly failed?: Millis | undefined
  readonly needs?: Micros | undefined
  /** So long ahead its end was told already, ms. */
  readonly told?: Millis | undefined
  /** Its buckets end with it. */
  readonly expire?: boolean | undefined
}

/** Of a subscription that is made: what it is beside its offer and buckets. */
export interface NewSubscription {
  /** Version of the catalog. */
  readonly catalog?: string | undefined
  /** Undefined: it has no fee. */
  readonly state?: SubscriptionState | undefined
  /** When its end is told ahead first. */
  readonly told?: Millis | undefined
}

/** `units`: generic, like points. `money`: micros of the account's currency. */
export type BucketUnit = UnitType | 'units'

/** What a bucket is beside its amount, name and end. */
export interface BucketTerms {
  /** Smaller pays first. */
  readonly priority: number
  /** Offer it came from. */
  readonly origin: string
  /** Not usable before. */
  readonly from?: Millis | undefined
  /** Ends so many ms after its first use; until then it has no end. */
  readonly life?: Millis | undefined
  /** Bought, not granted. */
  readonly paid?: boolean | undefined
  /** While it is valid, nothing behind it in the draw order is granted from. */
  readonly blocker?: boolean | undefined
  /** So long before its end an event says so, descending: those that are still to come. */
  readonly remind?: readonly Millis[] | undefined
  /** Amounts left whose crossing leaves an event, descending. */
  readonly warn?: readonly Units[] | undefined
  readonly rollover?: BucketRollover | undefined
}

/** At its end, what is free goes on in another bucket when it is at least `min`, up to `max`, for `lifeMs` from that end. */
export interface BucketRollover {
  readonly min: Units
  readonly max: Units
  readonly lifeMs: Millis
  readonly priority: number
}

/** A bucket to be made with an account or a subscription. */
export interface NewBucket extends BucketTerms {
  readonly name: string
  readonly unit: BucketUnit
  readonly amount: Units
  /** Undefined: never ends. */
  readonly until: Millis | undefined
}

export interface NewAccount {
  /** 1 to 64 of A-Z a-z 0-9 . _ - */
  readonly id: string
  readonly currency: string
  readonly creditLimit: Micros
  /** Undefined: as its life cycle says, else active. */
  readonly status?: AccountStatus | undefined
  readonly attributes?: Readonly<Record<string, string>> | undefined
}

export interface NewSubscriber {
  readonly identities: readonly Identity[]
  /** Offers bought for the account with this subscriber, with their buckets. */
  readonly offers: readonly ({ readonly offer: string; readonly buckets: readonly NewBucket[] } & NewSubscription)[]
}

export interface Bucket extends BucketTerms {
  readonly id: string
  readonly name: string
  readonly unit: BucketUnit
  readonly amount: Units
  readonly held: Units
  readonly until: Millis | undefined
  /** Amount at first. */
  readonly initial?: Units | undefined
  /** Subscription that it came with; 0: none. */
  readonly subscription?: string | undefined
  /** When it was granted, and the version of the catalog that said how. */
  readonly granted?: Millis | undefined
  readonly catalog?: string | undefined
}

/**
 * What an account has of its own beside subscribers and subscriptions: one JSON in its field `extras`, part of the profile.
 * Members that are empty are left out of the JSON; extras.ts reads and writes it.
 */
export interface Extras {
  /** Of the account, for conditions of rules and offers. */
  readonly attributes: Readonly<Record<string, string>>
  /** Attributes of a subscriber, by its number. */
  readonly subscribers: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly overrides: readonly Override[]
  /** Numbers of subscribers that are blocked: they get 4010. */
  readonly blocked: readonly string[]
  /**
   * By counter: who goes on beyond its limit, as words: the subscriber's number (0: the account), `=` and the ms until when if
   * that ends: `"day-roaming":"1=1796079600000 2"`. extras.ts: `optedIn`.
   */
  readonly optIns: Readonly<Record<string, string>>
}

export const overrideKinds = ['price', 'rate', 'grant', 'life', 'limit'] as const
export type OverrideKind = (typeof overrideKinds)[number]

/**
 * What one account has differently from the catalog. `target` and `value`, whose numbers are digits alone:
 *
 * | kind  | target            | value                                                                    |
 * |-------|-------------------|--------------------------------------------------------------------------|
 * | price | rate with one tier | micros for the rate's `per`                                             |
 * | rate  | rate              | name of the rate that applies instead                                    |
 * | grant | name of a bucket  | amount that an offer grants: units, or micros                            |
 * | life  | name of a bucket  | ms from the grant (or first use, where the grant says so), or `never`    |
 * | limit | counter           | units or micros, or `none`; of one subscriber (member limit) or of all   |
 */
export interface Override {
  /** Unique in the account. */
  readonly id: string
  readonly kind: OverrideKind
  readonly target: string
  readonly value: string
  /** Number of the subscriber that a `limit` is for; absent: all of the account. */
  readonly subscriber?: string | undefined
  /** In force: [from, until), ms; absent: no bound. */
  readonly from?: Millis | undefined
  readonly until?: Millis | undefined
  readonly reason: string
  readonly actor: string
}

/** What was used, or charged, in the counter's period. */
export interface CounterValue {
  readonly name: string
  /** Number of the subscriber; 0: of the account. */
  readonly scope: string
  /** Units or micros. */
  readonly value: bigint
  readonly held: bigint
  /** When the period began. */
  readonly period: Millis
}

export interface Account {
  readonly id: string
  readonly partition: number
  readonly status: AccountStatus
  readonly currency: string
  readonly money: Micros
  readonly held: Micros
  readonly creditLimit: Micros
  readonly debt: Micros
  /** Number of its last ledger entry. */
  readonly sequence: number
  readonly subscribers: readonly { readonly id: string; readonly identities: readonly Identity[] }[]
  readonly subscriptions: readonly Subscription[]
  /** In draw order. */
  readonly buckets: readonly Bucket[]
  readonly counters: readonly CounterValue[]
  readonly extras: Extras
  /** Undefined: the catalog had no life cycle for it yet. */
  readonly life: AccountLife | undefined
  /** Open sessions. */
  readonly openSessions: number
  /** Of the profile: changes with subscribers, subscriptions and extras. */
  readonly rev: string
}

export interface SessionLine {
  /** Rating-Group (or `-`), then `/` and the Service-Identifiers when they were sent: `10`, `-`, `10/1,2`. */
  readonly line: string
  /** CC-Request-Number of the grant; undefined when the line has none. */
  readonly grantedBy: number | undefined
  readonly granted: Units
  /** Of main. */
  readonly heldMoney: Micros
  /** Of buckets; micros of money buckets. */
  readonly heldUnits: readonly { readonly bucket: string; readonly units: Units }[]
  /** What the grant may count on counters with a limit; `counter` is name and scope: `day-roaming.1`. */
  readonly heldCounts: readonly { readonly counter: string; readonly amount: bigint }[]
  readonly holdUntil: Millis | undefined
  readonly charged: Micros
  readonly used: Units
  /** Its last answer was a refusal for want of funds, or told of the final units: a credit may unblock it. */
  readonly told: boolean
  /** Of a credit pool, G-S-U-Pool-Identifier. */
  readonly pool: number | undefined
}

/** What we ask of a gateway: Re-Auth-Request, Abort-Session-Request. */
export type CommandName = 'RAR' | 'ASR'

/** What came of the last that we asked of a session's gateway. */
export interface Asked {
  readonly command: CommandName
  /** `sent`, a Result-Code, `timeout`, `undeliverable`, or `ccr`: no answer, but a newer request of the session. */
  readonly result: string
  readonly at: Millis
  /** CC-Request-Number of the session's last request when it was asked. */
  readonly number: number
}

export interface Session {
  readonly id: string
  readonly account: string
  readonly subscriber: string
  readonly open: boolean
  readonly originHost: string
  /** Realm of the gateway; empty where it is not known. */
  readonly originRealm: string
  /** Origin-Host of the peer that its last request came over; empty where it is not known. */
  readonly via: string
  readonly opened: Millis
  readonly until: Millis
  readonly lastNumber: number
  readonly charged: Micros
  readonly asked: Asked | undefined
  readonly lines: readonly SessionLine[]
}

export type CreateOutcome =
  | { readonly status: 'created' | 'exists' }
  | { readonly status: 'identity_taken'; readonly identity: Identity; readonly account: string }
  | { readonly status: 'currency_differs'; readonly currency: string }

export type SubscribeOutcome =
  | { readonly status: 'subscribed' | 'repeated'; readonly subscription: string }
  /** `moved`: the account's profile is no longer the one of `rev`: judge again. */
  | { readonly status: 'no_account' | 'no_subscriber' | 'account_terminated' | 'moved' }
  | { readonly status: 'insufficient'; readonly needs: Micros; readonly free: Micros }
  /** The reference belongs to another offer or subscriber of this account. */
  | { readonly status: 'reference_taken'; readonly offer: string; readonly subscriber: string }

/** `unchanged`: it was so already. */
export type ExtrasOutcome =
  | { readonly status: 'changed' | 'unchanged' }
  | { readonly status: 'no_account' | 'no_subscriber' | 'no_override' }
  /** It is no longer as whoever asked has read it. */
  | { readonly status: 'stale' }
  /** An account has at most `most` attributes, or overrides. */
  | { readonly status: 'too_many'; readonly most: number }
  /** Another one says something about the same target in the same time. */
  | { readonly status: 'overlaps'; readonly override: Override }

/** Whether an account still is as whoever asks for a change has read it. */
export type Precondition = (account: Account) => boolean

/** How many subscriptions and buckets of each name all accounts have. */
export interface Census {
  readonly offers: ReadonlyMap<string, number>
  readonly buckets: ReadonlyMap<string, number>
}

/** Accounts and their money, for the admin API. Every call may be repeated. Throws BalanceUnavailableError when the store is not reachable. */
export interface Accounts {
  /**
   * Creates the account when it is missing, then the subscriber (when given) when none of its identities is known.
   * Changes nothing that exists. The opening balance is posted once, as `import:<account>` or `create:<account>`.
   */
  create(
    account: NewAccount,
    subscriber: NewSubscriber | undefined,
    opening: Micros,
    source: 'import' | 'admin',
  ): Promise<CreateOutcome>
  show(id: string): Promise<Account | undefined>
  find(identity: Identity): Promise<{ readonly account: Account; readonly subscriber: string } | undefined>
  /** Sets the status; entry in the ledger. False when there is no such account. */
  setStatus(id: string, status: AccountStatus, actor: string): Promise<boolean>
  /** Money in, once for each (channel, reference) over all accounts. Repays debt first. */
  recharge(request: RechargeRequest): Promise<CreditOutcome>
  /** Gives an account an offer and its buckets, once for each reference. `subscriber` 0: for all of the account. Its fee comes from free money only. */
  subscribe(request: {
    readonly account: string
    readonly subscriber: string
    readonly offer: string
    readonly buckets: readonly NewBucket[]
    /** Micros; default 0. */
    readonly fee?: Micros | undefined
    readonly opening?: NewSubscription | undefined
    /** Of the profile that the purchase was judged by. */
    readonly rev: string
    readonly reference: string
    readonly actor: string
  }): Promise<SubscribeOutcome>
  /** Attributes of the account, or of a subscriber; null takes one away. */
  setAttributes(request: {
    readonly account: string
    readonly subscriber?: string | undefined
    readonly changes: Readonly<Record<string, string | null>>
    readonly actor: string
    readonly precondition?: Precondition | undefined
  }): Promise<ExtrasOutcome>
  /** Adding one again whose id is there changes nothing. */
  addOverride(account: string, override: Override, precondition?: Precondition): Promise<ExtrasOutcome>
  removeOverride(request: {
    readonly account: string
    readonly id: string
    readonly reason: string
    readonly actor: string
    readonly precondition?: Precondition | undefined
  }): Promise<ExtrasOutcome>
  /** Lets a subscriber (0: the account) go on beyond the limit of a counter, or no longer. */
  optIn(request: {
    readonly account: string
    readonly subscriber: string
    readonly counter: string
    readonly on: boolean
    readonly until?: Millis | undefined
    readonly reason?: string | undefined
    readonly actor: string
    readonly precondition?: Precondition | undefined
  }): Promise<ExtrasOutcome>
  census(): Promise<Census>
  /** Open sessions (or the sessions of one account, ended ones that are still kept included). */
  sessions(filter: { readonly account?: string; readonly limit: number }): Promise<readonly Session[]>
  /** Ends a session from our side: holds go back, later usage is charged late. */
  release(sessionId: string, actor: string): Promise<'released' | 'unknown' | 'ended'>
}
