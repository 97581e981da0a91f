/**
 * What the rest of the daemon asks of the balances, and what it gets: accounts, subscribers, sessions, charges.
 * balance/ is the only code that speaks to Redis; lua/ decides.
 */
import type { Micros, Millis, UnitType, Units } from '../units.js'

export type IdentityType = 'msisdn' | 'imsi' | 'nai'

/** A subscriber's identity, normalised: digits only for msisdn and imsi (leading zeros count, a leading + is dropped). */
export interface Identity {
  readonly type: IdentityType
  readonly value: string
}

export type AccountStatus = 'active' | 'suspended' | 'terminated'

/** A bought offer. Ordered by the catalog's rank, newest, id. */
export interface Subscription {
  readonly id: string
  readonly offer: string
  readonly since: Millis
}

/** A bucket to be made with an account or a subscription. */
export interface NewBucket {
  readonly name: string
  readonly unit: UnitType
  readonly amount: Units
  readonly priority: number
  /** Undefined: never ends. */
  readonly until: Millis | undefined
  /** Offer it came from. */
  readonly origin: string
}

export interface NewAccount {
  /** 1 to 64 of A-Z a-z 0-9 . _ - */
  readonly id: string
  readonly currency: string
  readonly creditLimit: Micros
  readonly status: AccountStatus
}

export interface NewSubscriber {
  readonly identities: readonly Identity[]
  /** Offers bought for the account with this subscriber, with their buckets. */
  readonly offers: readonly { readonly offer: string; readonly buckets: readonly NewBucket[] }[]
}

export interface Bucket {
  readonly id: string
  readonly name: string
  readonly unit: UnitType
  readonly amount: Units
  readonly held: Units
  readonly until: Millis | undefined
  readonly priority: number
  readonly origin: string
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
  readonly buckets: readonly Bucket[]
}

export interface SessionLine {
  /** Rating-Group (or `-`), then `/` and the Service-Identifiers when they were sent: `10`, `-`, `10/1,2`. */
  readonly line: string
  /** CC-Request-Number of the grant; undefined when the line has none. */
  readonly grantedBy: number | undefined
  readonly granted: Units
  readonly heldMoney: Micros
  readonly heldUnits: readonly { readonly bucket: string; readonly units: Units }[]
  readonly holdUntil: Millis | undefined
  readonly charged: Micros
  readonly used: Units
}

export interface Session {
  readonly id: string
  readonly account: string
  readonly subscriber: string
  readonly open: boolean
  readonly originHost: string
  readonly opened: Millis
  readonly until: Millis
  readonly lastNumber: number
  readonly charged: Micros
  readonly lines: readonly SessionLine[]
}

export type CreateOutcome =
  | { readonly status: 'created' | 'exists' }
  | { readonly status: 'identity_taken'; readonly identity: Identity; readonly account: string }
  | { readonly status: 'currency_differs'; readonly currency: string }

export type CreditOutcome =
  | {
      readonly status: 'credited' | 'repeated'
      readonly money: Micros
      readonly debt: Micros
      readonly sequence: number
    }
  | { readonly status: 'no_account' | 'currency_differs' | 'too_large' | 'account_terminated' }
  /** The (channel, reference) belongs to another account or amount. */
  | { readonly status: 'reference_taken'; readonly account: string; readonly amount: Micros }

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
  recharge(request: {
    readonly account: string
    readonly amount: Micros
    readonly currency: string
    readonly channel: string
    readonly reference: string
    readonly actor: string
  }): Promise<CreditOutcome>
  /** Open sessions (or the sessions of one account, ended ones that are still kept included). */
  sessions(filter: { readonly account?: string; readonly limit: number }): Promise<readonly Session[]>
  /** Ends a session from our side: holds go back, later usage is charged late. */
  release(sessionId: string, actor: string): Promise<'released' | 'unknown' | 'ended'>
}
