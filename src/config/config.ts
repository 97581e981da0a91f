/**
 * The daemon's configuration as the rest of the program sees it: read and checked by `load.ts`, never partial.
 * Durations are milliseconds, sizes are octets. `config/ocs.yaml` explains every key to its operator.
 */
import type { Micros } from '../units.js'

export interface Config {
  /** Absolute path of the file it came from; relative paths in it start at its folder. */
  readonly file: string
  readonly diameter: DiameterConfig
  readonly store: StoreConfig
  readonly charging: ChargingConfig
  readonly journal: JournalConfig
  readonly cdr: CdrConfig
  readonly audit: AuditConfig
  readonly notifications: NotificationsConfig
  readonly admin: AdminConfig
  readonly payments: PaymentsConfig
  readonly metrics: ListenAddress
  readonly vouchers: VoucherConfig
  readonly log: LogConfig
  /** Absolute path of the folder (or one file) with the catalog's YAML. */
  readonly catalog: string
  /** Absolute path of the folder for what the daemon writes: admin token, ledger, embedded store. */
  readonly data: string
  /** `virtual`: business time can be put forward, for tests. */
  readonly clock: 'system' | 'virtual'
}

export interface ListenAddress {
  readonly host: string
  /** 0: the system picks one; the daemon prints which. */
  readonly port: number
}

/** A listening stream socket that is handed to the process, by its number or by its name in LISTEN_FDNAMES. */
export interface ListenDescriptor {
  readonly fd: number | string
}

export type ListenPoint = ListenAddress | ListenDescriptor

/** TLS from the first octet, RFC 6733 section 13.1. Paths are absolute, the files PEM. */
export interface TlsConfig {
  readonly listen: readonly ListenPoint[]
  /** Ours, with the intermediate ones after it. */
  readonly certificate: string
  readonly key: string
  /** Authorities that sign the certificates of peers. */
  readonly authority: string
  /** Certificates that those authorities took back. */
  readonly crl: string | undefined
}

export interface DiameterConfig {
  /** Origin-Host: a fully qualified domain name. */
  readonly identity: string
  /** Origin-Realm. */
  readonly realm: string
  readonly listen: readonly ListenPoint[]
  /** Undefined: no TLS is spoken. */
  readonly tls: TlsConfig | undefined
  /** Folders with more dictionary files, after the shipped ones. Absolute paths. */
  readonly dictionaries: readonly string[]
  readonly peers: readonly PeerConfig[]
  readonly limits: DiameterLimits
  /** Twinit of RFC 3539, at least 6 s. */
  readonly watchdogMs: number
  /** Tc of RFC 6733 section 2.1: from a failed or ended connection to the next attempt, default 30 s. */
  readonly reconnectMs: number
  /** How a second connection of an open Origin-Host is met: reject it, or replace the old one when it fails an immediate DWR. */
  readonly duplicatePeer: 'reject' | 'replace'
}

/** One row of the peer table; the first that matches a CER decides. */
export interface PeerConfig {
  /** Metric label and log name; unique. */
  readonly name: string
  /** Origin-Host, compared case-insensitively; `*` is any. */
  readonly identity: string
  /** Origin-Realm; `*` is any. */
  readonly realm: string
  /** CIDR blocks the connection may come from. */
  readonly from: readonly string[]
  /** How the connection must be carried. */
  readonly transport: 'any' | 'tcp' | 'tls'
  /**
   * Over TLS: the DNS name that the certificate's subjectAltName must hold. `origin-host`: that of the CER; `any`: none, each
   * certificate that the authority signed will do.
   */
  readonly certificate: string
  /** Where to call it, if we are to: then `identity` names one host. */
  readonly connect?: PeerTarget
  /** Relays may send requests of other Origin-Hosts. */
  readonly relay: boolean
  readonly limits: PeerLimits
  readonly profile: PeerProfile
}

/** Where a peer that we call listens. */
export interface PeerTarget {
  /** Address or name. */
  readonly host: string
  readonly port: number
  readonly tls: boolean
}

/** What all connections of a row may take together; undefined: the row has no bound of its own. */
export interface PeerLimits {
  readonly connections: number | undefined
  /** Requests in work. */
  readonly inFlight: number | undefined
  /** Requests a second. */
  readonly ratePerSecond: number | undefined
}

/** What a peer may change of our behaviour: everything else is the same for all. `config/profiles.yaml` explains each. */
export interface PeerProfile {
  /** `bound`: the amount in Requested-Service-Unit bounds the grant. `ignore`: it says nothing. */
  readonly requestedUnits: 'bound' | 'ignore'
  /** `always`: each CCR names the subscriber, so that no session index is kept. */
  readonly subscriptionId: 'always' | 'sometimes'
  /** A CCR-U that finds no store in time: 3004, or no answer at all. What it or a CCR-T reports goes to the spool either way. */
  readonly onOutage: 'answer' | 'silent'
  /** Usage of a session that has ended: charged, or only written to the ledger. 5002 either way. */
  readonly lateUsage: 'charge' | 'record'
  /** Another request with a number that was answered: that answer again, or 5012. Nothing is debited either way. */
  readonly reusedNumber: 'answer' | 'refuse'
  /** `any`: also refunds that name no debit. */
  readonly refunds: 'reference' | 'any'
  /** Names of AVPs that are never sent to it. */
  readonly omit: readonly string[]
  /** Final-Unit-Indication, QoS-Final-Unit-Indication with the extension AVPs, or both side by side. */
  readonly finalUnits: 'rfc4006' | 'rfc8506' | 'both'
  /** A price change inside a grant: Tariff-Time-Change says when, or the grant is valid only until then. */
  readonly tariffSwitch: 'announce' | 'validity'
}

export interface DiameterLimits {
  /** Octets of one message, default 1 MiB. */
  readonly messageOctets: number
  /** Groups inside groups, default 16. */
  readonly depth: number
  /** AVPs of one message, default 4,096. */
  readonly avps: number
  /** Octets of a Session-Id, default 512. */
  readonly sessionIdOctets: number
  /** Connections in all, default 1,000. */
  readonly connections: number
  /** Connections without a CER yet: in all, default 32. */
  readonly unidentified: number
  /** The same of one address, default 4. */
  readonly unidentifiedPerAddress: number
  /** Time for the CER, default 10 s. */
  readonly cerTimeoutMs: number
  /** Time for the rest of a message that has begun, default 30 s. */
  readonly frameTimeoutMs: number
  /** Octets that a peer leaves unread before its connection is closed, default 4 MiB. Reading stops long before. */
  readonly outputOctets: number
  /** Requests of one connection in work, default 4,096. */
  readonly inFlight: number
  /** Requests of all connections in work, which is what the store has in work for us; default 4,096. */
  readonly inFlightInAll: number
  /** Requests a second of one connection; 0, the default: no limit. */
  readonly ratePerSecond: number
  /** Requests of all connections that wait for one of these limits, default 32,768. */
  readonly queue: number
  /** How long a connection above a limit is not read, and how long a CCR-I may wait then; default 250 ms. */
  readonly queueAgeMs: number
}

export interface StoreConfig {
  readonly kind: 'embedded' | 'url' | 'sentinel'
  /** `redis://` or `rediss://`, kind `url` only. */
  readonly url?: string
  readonly sentinel?: {
    readonly name: string
    readonly sentinels: readonly ListenAddress[]
    readonly password?: string
    readonly sentinelPassword?: string
  }
  /** What an acknowledged charge survives: the death of our process, or of the machine. */
  readonly durability: 'memory' | 'disk'
  /** Fixed at first start; another number later is refused. */
  readonly partitions: number
}

export interface ChargingConfig {
  /** How long a CCR may wait for the store before it is answered 3004, default 7 s. */
  readonly holdBudgetMs: number
  /** Octets of the spool, for reports that the store could not take within the hold budget; default 64 MiB. */
  readonly spoolOctets: number
  /** A hold lives this many times its Validity-Time, default 2. */
  readonly silence: number
  /** Validity-Time of a session without any quota, default 1 h. */
  readonly defaultValidityMs: number
  /** State of a session after its end, default 10 min; 24 h when it ended by silence. */
  readonly keepClosedMs: number
  readonly keepSilentMs: number
  /** The mark of number and account, default 24 h. */
  readonly keepMarkMs: number
  /** Sent in the CCA of a CCR-I. */
  readonly failureHandling: 'terminate' | 'continue' | 'retry-and-terminate'
  readonly sessionFailover: boolean
  /** What a gateway does with an event that it cannot ask us about: Direct-Debiting-Failure-Handling. */
  readonly directDebitingFailureHandling: 'terminate-or-buffer' | 'continue'
  /** How long after its debit an event may be refunded, default 30 days. */
  readonly refundWindowMs: number
  /** What its open sessions are asked when an account is put out of service, default `reauthorise`; `wait`: nothing. */
  readonly onSuspend: 'reauthorise' | 'abort' | 'wait'
}

export interface JournalConfig {
  /** Entries stay in the stream this long at least, default 10 min. */
  readonly keepMs: number
  /** Absolute path of the ledger's files. */
  readonly directory: string
  /** A file is closed at this size, default 64 MiB. */
  readonly rotateOctets: number
  /** Absolute paths of other daemons' ledger folders, or of moved ones: audit and reports read them, too. */
  readonly archive: readonly string[]
  /** Absolute path of the folder for what `ocsd --rebuild` needs besides the ledger. */
  readonly states: string
}

export interface CdrConfig {
  /** None, the default: no charging data records are written. */
  readonly formats: readonly ('jsonl' | 'csv')[]
  /** Absolute path. */
  readonly directory: string
  /** A file is closed at this size, default 64 MiB, or age, default 15 min. */
  readonly rotateOctets: number
  readonly rotateMs: number
  readonly kinds: readonly ('charge' | 'session' | 'money')[]
}

export interface AuditConfig {
  /** Minutes after midnight in the catalog's time zone, default 03:30; undefined: never by itself. */
  readonly at: number | undefined
}

export interface AdminConfig extends ListenAddress {
  /** Absolute path of the file with the bearer token, made at first start with mode 600. */
  readonly tokenFile: string
  /** Requests a second of one API key or subject; 0: no limit; default 100. */
  readonly ratePerSecond: number
  /** Failed tries of one address within `windowMs`, after which it waits as long. */
  readonly lockout: { readonly tries: number; readonly windowMs: number }
  /** Undefined: no JSON Web Tokens are taken. */
  readonly oidc: OidcConfig | undefined
  readonly approval: ApprovalConfig
  /** The first answer under an Idempotency-Key is kept so long, default 7 days. */
  readonly idempotencyKeepMs: number
}

export interface PaymentsConfig {
  /** In the order in which they are asked; none: nobody takes payments. */
  readonly providers: readonly PaymentProviderConfig[]
  /** A payment that nobody paid is given up after so long, default 1 h. */
  readonly patienceMs: number
}

/** `test` takes no real money. */
export type PaymentProviderConfig = {
  readonly name: string
  /** Undefined: any. */
  readonly currencies: ReadonlySet<string> | undefined
  readonly methods: ReadonlySet<string> | undefined
} & (
  | { readonly kind: 'test' }
  | {
      readonly kind: 'http'
      readonly url: string
      /** Bearer token of our calls. */
      readonly secret: string
      /** Signs its calls. */
      readonly noticeSecret: string
      readonly timeoutMs: number
    }
)

/** An OpenID Connect provider whose tokens open the admin API. */
export interface OidcConfig {
  readonly issuer: string
  readonly audience: string
  /** Its public keys: an address, or the absolute path of a file. */
  readonly jwks: { readonly url: string } | { readonly file: string }
  readonly subjectClaim: string
  /** A claim, or a path of names with dots between them. */
  readonly rolesClaim: string
  /** What the provider calls our roles: its name → ours. Names that are not here are taken as they are. */
  readonly roles: ReadonlyMap<string, string>
}

/** What a second person must agree to. */
export interface ApprovalConfig {
  /** Publishing or rolling back a catalog. */
  readonly publish: boolean
  /** Credits and debits above so much, micros by currency; a currency that is not named needs nobody. */
  readonly credit: ReadonlyMap<string, Micros>
  /** After so long a request that nobody agreed to is dropped. */
  readonly keepMs: number
}

export interface VoucherConfig {
  /** Absolute path of the file with the keys that codes are kept by, made at first start with mode 600. */
  readonly keyFile: string
  /** Who made a batch, or exported it, may not activate it; default false. */
  readonly dualControl: boolean
  /** Vouchers that the store is to hold, fixed by the first batch; default 10,000,000. */
  readonly capacity: number
  readonly lockout: VoucherLockout
}

/** Wrong codes within `windowMs` after which who sends them waits `lockMs`. */
export interface VoucherLockout {
  /** Of one account, of one outlet, and of whoever is logged in at the API: many people stand behind these. */
  readonly account: number
  readonly outlet: number
  readonly principal: number
  readonly windowMs: number
  readonly lockMs: number
}

export interface LogConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'
  /** `masked`: subscriber identities show their last two digits only. */
  readonly identities: 'masked' | 'plain'
}

export interface NotificationsConfig {
  /** Events stay in the feed so long, default 30 days. */
  readonly keepMs: number
  /** So many at most, default 1,000,000. */
  readonly mostEvents: number
  /** Whether usage that was charged is an event, too; default true. */
  readonly usage: boolean
  readonly webhooks: readonly WebhookConfig[]
}

export interface WebhookConfig {
  /** Of its state, its metrics and its log lines; unique. */
  readonly name: string
  /** http or https. */
  readonly url: string
  /** What its events are signed with: one, or two while they are changed. */
  readonly secrets: readonly string[]
  /** Types, or `balance.*`, or `*`; none: all but usage. */
  readonly types: readonly string[]
  /** For a whole attempt, default 10 s. */
  readonly timeoutMs: number
  /** Attempts side by side, each of another account; default 8. */
  readonly parallel: number
  readonly headers: Readonly<Record<string, string>>
  /** Pauses between attempts, doubled each time: 1 s to 1 h by default, for 24 h. */
  readonly retry: { readonly firstMs: number; readonly mostMs: number; readonly giveUpMs: number }
}
