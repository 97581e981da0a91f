/**
 * Every metric of ocsd: its name, its labels, its help. Rooms are handed the recorders below and never see prom-client.
 *
 * Label values come from a closed list, from the configuration or from the catalog: never a subscriber, a session, an
 * address or a text. What an alert needs is there from the start, as 0.
 */
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { StoreErrorClass, StoreMetrics } from '../balance/store.js'
import type { GuessKind } from '../balance/vouchers.js'
import type { BookingResult } from '../charging/outage.js'
import type { SpoolOutcome } from '../charging/spool.js'
import { ResultCode } from '../diameter/errors.js'
import { commandLabels, type DiameterCounters } from '../diameter/metrics.js'
import type { LifeMetrics } from '../subscription/life-cycle.js'
import type { RedeemOutcome, VoucherMetrics } from '../recharge/voucher-redemption.js'
import type { SubscriptionMetrics } from '../subscription/subscriptions.js'
import { unitTypes, type UnitType } from '../units.js'
import { Buckets, CountBy, Family, type Labels, type Sample } from './counts.js'
import { NotificationCounts } from './notification-counts.js'

export const ccrTypes = ['initial', 'update', 'terminate', 'event'] as const
export type CcrType = (typeof ccrTypes)[number]

export const ccrContexts = ['data', 'voice', 'sms', 'mms', 'other'] as const
export type CcrContext = (typeof ccrContexts)[number]

/**
 * `denied`: the business said no (4010, 4012, 5030 …), which is no error. `shed`: 3004 before anything was done.
 * `duplicate`: a stored answer was sent again.
 */
export const ccrOutcomes = ['granted', 'denied', 'client_fault', 'server_fault', 'shed', 'duplicate'] as const
export type CcrOutcome = (typeof ccrOutcomes)[number]

/** `charge`: rating and the store together; `ocs_store_call_duration_seconds` has the store alone. */
export const stages = ['decode', 'charge', 'encode'] as const
export type Stage = (typeof stages)[number]

/** State of one row of the peer table, read at scrape. */
export interface PeerReading {
  readonly name: string
  /** Open connections. */
  readonly connections: number
}

/** Seconds; the objective is 50 ms. */
export const ccrBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const
const stageBuckets = [0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1, 1, 10] as const

/** One in so many CCRs is timed by stage. */
const stageSample = 16

/** Whole CCRs: how many, how they ended, how long they took. */
export class CcrMetrics {
  private readonly counts = new Map<number, Map<number, number>>()
  private readonly durations = ccrTypes.map(() => ccrOutcomes.map(() => new Buckets(ccrBuckets)))
  private readonly stageDurations = new Map<Stage, Buckets>(stages.map(stage => [stage, new Buckets(stageBuckets)]))
  private readonly oddities = new CountBy(['reason_missing', 'reason_misplaced', 'bad_answer'])
  private turn = 0
  /** CCRs read and not answered yet. */
  inFlight = 0

  constructor() {
    // For the alerts on error rates: nothing wrong yet is 0, not absent.
    for (const type of ccrTypes) {
      this.cell(type, 'data', 'granted').set(2001, 0)
      this.cell(type, 'data', 'server_fault').set(3004, 0).set(5012, 0)
      this.cell(type, 'data', 'shed').set(3004, 0)
    }
  }

  /**
   * One CCR was answered.
   *
   * @param seconds from its last octet to the write of the answer
   */
  record(type: CcrType, context: CcrContext, resultCode: number, outcome: CcrOutcome, seconds: number): void {
    const cell = this.cell(type, context, outcome)
    cell.set(resultCode, (cell.get(resultCode) ?? 0) + 1)
    this.durations[typeIndex[type]]![outcomeIndex[outcome]]!.observe(seconds)
  }

  /** True for the one CCR in 16 whose stages are to be timed. */
  sampled(): boolean {
    return (this.turn = (this.turn + 1) % stageSample) === 0
  }

  /** A CCR was taken as it was meant, though the specification has it otherwise. */
  odd(kind: string): void {
    this.oddities.add(kind)
  }

  stage(stage: Stage, seconds: number): void {
    this.stageDurations.get(stage)!.observe(seconds)
  }

  private cell(type: CcrType, context: CcrContext, outcome: CcrOutcome): Map<number, number> {
    const index =
      (typeIndex[type] * ccrContexts.length + contextIndex[context]) * ccrOutcomes.length + outcomeIndex[outcome]
    let cell = this.counts.get(index)
    if (!cell) this.counts.set(index, (cell = new Map<number, number>()))
    return cell
  }

  families(): Family[] {
    return [
      new Family(
        'ocs_ccr_total',
        'Credit-Control-Requests answered, by kind, service context, Result-Code and outcome.',
        'counter',
        () => this.readCounts(),
      ),
      new Family(
        'ocs_ccr_duration_seconds',
        'Time from the last octet of a CCR to the write of its answer.',
        'histogram',
        () => this.readDurations(),
      ),
      new Family('ocs_stage_duration_seconds', 'Time of one stage of a CCR, of one CCR in 16.', 'histogram', () =>
        Array.from(this.stageDurations, ([stage, buckets]) =>
          buckets.samples('ocs_stage_duration_seconds', { stage }),
        ).flat(),
      ),
      new Family(
        'ocs_ccr_oddities_total',
        'CCRs that say more than their words: usage without a Reporting-Reason or with a misplaced one; sessions that end by a bad answer of ours.',
        'counter',
        () => this.oddities.samples('kind'),
      ),
      gauge('ocs_inflight_requests', 'CCRs read and not answered yet.', () => this.inFlight),
    ]
  }

  private readCounts(): Sample[] {
    const samples: Sample[] = []
    for (const type of ccrTypes) {
      for (const context of ccrContexts) {
        for (const outcome of ccrOutcomes) {
          const index =
            (typeIndex[type] * ccrContexts.length + contextIndex[context]) * ccrOutcomes.length + outcomeIndex[outcome]
          for (const [code, value] of this.counts.get(index) ?? []) {
            samples.push({ labels: { type, context, result: String(code), outcome }, value })
          }
        }
      }
    }
    return samples
  }

  private readDurations(): Sample[] {
    const samples: Sample[] = []
    for (const type of ccrTypes) {
      for (const outcome of ccrOutcomes) {
        const buckets = this.durations[typeIndex[type]]![outcomeIndex[outcome]]!
        if (buckets.empty && !alerted.has(outcome)) continue
        samples.push(...buckets.samples('ocs_ccr_duration_seconds', { type, outcome }))
      }
    }
    return samples
  }
}

const indexOf = <K extends string>(keys: readonly K[]): Record<K, number> =>
  Object.fromEntries(keys.map((key, index) => [key, index])) as Record<K, number>
const typeIndex = indexOf(ccrTypes)
const contextIndex = indexOf(ccrContexts)
const outcomeIndex = indexOf(ccrOutcomes)
const alerted: ReadonlySet<CcrOutcome> = new Set<CcrOutcome>(['granted', 'server_fault', 'shed'])

/** What charging did: repeats, oddities, units and money. */
export class ChargingMetrics {
  private duplicates = 0
  private mismatches = 0
  private reordered = 0
  private late = 0
  private unknown = 0
  private readonly grantedUnits = new Map<UnitType, CountBy>(unitLabels.map(unit => [unit, new CountBy()]))
  private readonly usedUnits = new Map<UnitType, CountBy>(unitLabels.map(unit => [unit, new CountBy()]))
  private readonly chargedMicros = new Map<string, CountBy>()
  private readonly overrunMicros = new CountBy()
  private readonly unratedLines = new CountBy()
  /** Open sessions, read at scrape; undefined where nobody counts them. */
  sessionsOpen: (() => number) | undefined

  /** A repeated request got its stored answer. */
  duplicate(): void {
    this.duplicates++
  }

  /** A known number came with other content: first answer, nothing charged. */
  duplicateMismatch(): void {
    this.mismatches++
  }

  /** A number below the highest came first time now. */
  outOfOrder(): void {
    this.reordered++
  }

  /** Usage of a session that had ended was charged. */
  lateUpdate(): void {
    this.late++
  }

  unknownSession(): void {
    this.unknown++
  }

  granted(unit: UnitType, offer: string, amount: bigint): void {
    this.grantedUnits.get(unit)!.add(offer, Number(amount))
  }

  used(unit: UnitType, offer: string, amount: bigint): void {
    this.usedUnits.get(unit)!.add(offer, Number(amount))
  }

  charged(currency: string, offer: string, micros: bigint): void {
    let byOffer = this.chargedMicros.get(currency)
    if (!byOffer) this.chargedMicros.set(currency, (byOffer = new CountBy()))
    byOffer.add(offer, Number(micros))
  }

  overrun(currency: string, micros: bigint): void {
    this.overrunMicros.add(currency, Number(micros))
  }

  unrated(service: string): void {
    this.unratedLines.add(service, 1)
  }

  /** Services that are sold: what nobody was refused of is 0, not absent. */
  sold(services: Iterable<string>): void {
    for (const service of services) this.unratedLines.add(service, 0)
  }

  families(): Family[] {
    return [
      counter('ocs_duplicates_total', 'Repeated requests that got their stored answer.', () => this.duplicates),
      counter(
        'ocs_duplicate_mismatch_total',
        'Requests with a known number and other content: nothing was charged.',
        () => this.mismatches,
      ),
      counter(
        'ocs_ccr_out_of_order_total',
        'Requests that came after one with a higher CC-Request-Number.',
        () => this.reordered,
      ),
      counter(
        'ocs_late_update_total',
        'Reports for sessions that had ended: charged once and answered 5002.',
        () => this.late,
      ),
      counter('ocs_unknown_session_total', 'CCR-U and CCR-T of a session that was never seen.', () => this.unknown),
      new Family('ocs_sessions_open', 'Open sessions in the store.', 'gauge', () =>
        this.sessionsOpen ? [{ labels: {}, value: this.sessionsOpen() }] : [],
      ),
      new Family('ocs_granted_units_total', 'Units granted, by unit and offer.', 'counter', () =>
        byUnit(this.grantedUnits),
      ),
      new Family('ocs_used_units_total', 'Units reported as used, by unit and offer.', 'counter', () =>
        byUnit(this.usedUnits),
      ),
      new Family('ocs_charged_micros_total', 'Money charged, millionths of the currency.', 'counter', () =>
        Array.from(this.chargedMicros, ([currency, counts]) => counts.samples('offer', { currency })).flat(),
      ),
      new Family(
        'ocs_overrun_micros_total',
        'Money owed for usage that nothing paid, millionths of the currency.',
        'counter',
        () => this.overrunMicros.samples('currency'),
      ),
      new Family(
        'ocs_unrated_total',
        'Lines of requests that no rule of the subscriber’s offers matches: refused with 5031.',
        'counter',
        () => this.unratedLines.samples('service'),
      ),
    ]
  }
}

const unitLabels: readonly UnitType[] = unitTypes
const byUnit = (units: ReadonlyMap<UnitType, CountBy>): Sample[] =>
  Array.from(units, ([unit, counts]) => counts.samples('offer', { unit })).flat()

/** What came due by itself. */
export class ExpiryCounts {
  private readonly jobs = new Map<string, Map<string, number>>(
    ['renew', 'remind'].map(kind => [
      kind,
      new Map([
        ['done', 0],
        ['stuck', 0],
      ]),
    ]),
  )
  private readonly lateness = new Buckets([1, 5, 15, 60, 300, 3600, 86_400])
  private releases = 0
  private silences = 0
  private buckets = 0
  private skews = 0
  private defects = 0

  released(): void {
    this.releases++
  }

  silent(): void {
    this.silences++
  }

  bucketExpired(): void {
    this.buckets++
  }

  skew(): void {
    this.skews++
  }

  defect(): void {
    this.defects++
  }

  job(kind: string, result: 'done' | 'stuck', lateMs: number): void {
    const known = this.jobs.has(kind) || this.jobs.size < mostJobKinds ? kind : 'other'
    const results = this.jobs.get(known) ?? new Map<string, number>()
    this.jobs.set(known, results.set(result, (results.get(result) ?? 0) + 1))
    this.lateness.observe(lateMs / 1000)
  }

  families(): Family[] {
    return [
      new Family(
        'ocs_jobs_total',
        'Things of the due lists that were looked at, by kind; stuck: not done, it is tried again.',
        'counter',
        () =>
          Array.from(this.jobs, ([kind, results]) =>
            Array.from(results, ([result, value]) => ({ labels: { kind, result }, value })),
          ).flat(),
      ),
      new Family('ocs_job_lateness_seconds', 'How long after its time something due was looked at.', 'histogram', () =>
        this.lateness.samples('ocs_job_lateness_seconds', {}),
      ),
      counter('ocs_holds_expired_total', 'Holds that ended before their session did.', () => this.releases),
      counter('ocs_sessions_expired_total', 'Sessions that ended by silence.', () => this.silences),
      counter('ocs_buckets_expired_total', 'Buckets whose time was over.', () => this.buckets),
      counter(
        'ocs_clock_step_total',
        "Sweeps that did nothing, because this machine's clock and the store's differ by over 30 s.",
        () => this.skews,
      ),
      counter(
        'ocs_store_defects_total',
        'Accounts that the sweeper could not work on: their data is damaged.',
        () => this.defects,
      ),
    ]
  }
}

/** What gateways were asked. */
export class AskedCounts {
  private readonly results = new Map<string, CountBy>(
    (['RAR', 'ASR'] as const).map(command => [command, new CountBy(askedResults)]),
  )

  asked(command: 'RAR' | 'ASR', result: string): void {
    const known = knownCodes.has(result) || askedResults.includes(result)
    this.results.get(command)!.add(known ? result : 'other')
  }

  families(): Family[] {
    return [
      new Family(
        'ocs_session_commands_total',
        'RAR and ASR by what came of them: a Result-Code; timeout; undeliverable; ccr, where the session reported and nobody answered.',
        'counter',
        () => Array.from(this.results, ([command, results]) => results.samples('result', { command })).flat(),
      ),
    ]
  }
}

const askedResults = ['2001', '2002', '5002', 'timeout', 'undeliverable', 'ccr', 'other']
/** A peer may answer anything; those of the specifications are labels. */
const knownCodes: ReadonlySet<string> = new Set(Object.values(ResultCode).map(String))

/** `ocs_store_*`; handed to balance/. */
export class StoreCounts implements StoreMetrics {
  private readonly durations = new Map<string, Buckets>()
  private readonly errors = new CountBy(storeErrorClasses)
  private retries = 0
  private readonly connections = [false]
  /** The store keeps what the configuration promises; checked at start and now and then. */
  durabilityOk = true
  /** Store's clock less ours, seconds; undefined until measured. */
  clockSkew: (() => number | undefined) | undefined
  /** Deaths of the embedded store's process. */
  restarts: (() => number) | undefined

  call(script: string, seconds: number): void {
    let buckets = this.durations.get(script)
    if (!buckets) this.durations.set(script, (buckets = new Buckets(ccrBuckets)))
    buckets.observe(seconds)
  }

  error(errorClass: StoreErrorClass): void {
    this.errors.add(errorClass)
  }

  retry(): void {
    this.retries++
  }

  up(up: boolean): void {
    this.connections[0] = up
  }

  /** For a further connection to the same store: `ocs_store_up` is 1 when all of them are up. */
  connection(): StoreMetrics {
    const index = this.connections.push(false) - 1
    return {
      call: (script, seconds) => this.call(script, seconds),
      error: errorClass => this.error(errorClass),
      retry: () => this.retry(),
      up: up => {
        this.connections[index] = up
      },
    }
  }

  families(): Family[] {
    return [
      gauge('ocs_store_up', '1 when every connection to the store is up.', () =>
        Number(this.connections.every(Boolean)),
      ),
      gauge('ocs_store_durability_ok', '1 when the store keeps what `durability` promises.', () =>
        Number(this.durabilityOk),
      ),
      new Family(
        'ocs_store_call_duration_seconds',
        'Time of one call of a script, retries included.',
        'histogram',
        () =>
          Array.from(this.durations, ([script, buckets]) =>
            buckets.samples('ocs_store_call_duration_seconds', { script }),
          ).flat(),
      ),
      new Family('ocs_store_errors_total', 'Failed calls by class of error.', 'counter', () =>
        this.errors.samples('class'),
      ),
      counter('ocs_store_retries_total', 'Calls that were sent again with the same key.', () => this.retries),
      counter('ocs_store_restarts_total', 'Times that the embedded redis-server died and was started again.', () =>
        this.restarts ? this.restarts() : 0,
      ),
      new Family('ocs_clock_skew_seconds', "The store's clock less this machine's.", 'gauge', () => {
        const skew = this.clockSkew?.()
        return skew === undefined ? [] : [{ labels: {}, value: skew }]
      }),
    ]
  }
}

const storeErrorClasses: readonly StoreErrorClass[] = ['offline', 'timeout', 'moved', 'busy', 'full', 'defect']

/** The ledger's writer and the audit. */
export class LedgerMetrics {
  private entries = 0
  private octets = 0
  private trims = 0
  private writeErrors = 0
  private violations = 0
  private lastFsync: number | undefined
  private lastAudit: number | undefined
  private audits: { readonly at: number; readonly problems: number; readonly seconds: number } | undefined
  /** Entries in the stream that are not in a file yet, read at scrape. */
  backlog: (() => number) | undefined

  /** So many entries are in a file and fsynced. @param now Unix ms */
  written(entries: number, octets: number, now: number): void {
    this.entries += entries
    this.octets += octets
    this.lastFsync = now
  }

  trimmed(entries: number): void {
    this.trims += entries
  }

  writeError(): void {
    this.writeErrors++
  }

  /** An audit found so many gaps and differences; none is a success. @param now Unix ms @param tookMs how long it lasted */
  audited(violations: number, now: number, tookMs: number): void {
    this.violations += violations
    this.audits = { at: now, problems: violations, seconds: tookMs / 1000 }
    if (violations === 0) this.lastAudit = now
  }

  families(): Family[] {
    return [
      counter('ocs_ledger_entries_written_total', 'Ledger entries written to files.', () => this.entries),
      counter('ocs_ledger_written_bytes_total', 'Octets written to ledger files.', () => this.octets),
      counter(
        'ocs_ledger_entries_trimmed_total',
        'Entries removed from the journal after their fsync.',
        () => this.trims,
      ),
      counter('ocs_ledger_write_errors_total', 'Failed writes and fsyncs of ledger files.', () => this.writeErrors),
      counter(
        'ocs_ledger_invariant_violations_total',
        'Gaps and differences that an audit found: each is an incident.',
        () => this.violations,
      ),
      optional('ocs_ledger_backlog_entries', 'Entries that are not in a file yet.', () => this.backlog?.()),
      optional('ocs_ledger_last_fsync_timestamp_seconds', 'When entries were last written and fsynced.', () =>
        seconds(this.lastFsync),
      ),
      optional('ocs_audit_last_success_timestamp_seconds', 'When an audit last found every balance right.', () =>
        seconds(this.lastAudit),
      ),
      optional(
        'ocs_audit_last_run_timestamp_seconds',
        'When this daemon last finished an audit, whatever it found.',
        () => seconds(this.audits?.at),
      ),
      optional(
        'ocs_audit_last_problems',
        'Gaps and differences that the last audit found.',
        () => this.audits?.problems,
      ),
      optional('ocs_audit_last_duration_seconds', 'How long the last audit took.', () => this.audits?.seconds),
    ]
  }
}

/** Files of charging data records. */
export class CdrMetrics {
  private files = 0
  private records = 0
  private errors = 0
  private lastFsync: number | undefined
  /** Entries that wait in the store for them, read at scrape. */
  backlog: (() => number) | undefined

  /** @param now Unix ms */
  written(_entries: number, _octets: number, now: number): void {
    this.lastFsync = now
  }

  writeError(): void {
    this.errors++
  }

  closed({ records }: { readonly records: number }): void {
    this.files++
    this.records += records
  }

  families(): Family[] {
    return [
      counter(
        'ocs_cdr_files_closed_total',
        'Files of charging data records that have their manifest.',
        () => this.files,
      ),
      counter('ocs_cdr_records_total', 'Charging data records in closed files.', () => this.records),
      counter('ocs_cdr_write_errors_total', 'Failed writes of charging data records.', () => this.errors),
      optional('ocs_cdr_backlog_entries', 'Ledger entries that are not in a file of records yet.', () =>
        this.backlog?.(),
      ),
      optional(
        'ocs_cdr_last_fsync_timestamp_seconds',
        'When charging data records were last written and fsynced.',
        () => seconds(this.lastFsync),
      ),
    ]
  }
}

/** Reports that wait on the local disk for the store. */
export class SpoolCounts {
  private readonly outcomes = new CountBy(spoolOutcomes)
  private readonly bookings = new CountBy(bookingResults)
  /** Read at scrape. */
  entries: (() => number) | undefined
  oldestMs: (() => number) | undefined

  spooled(outcome: SpoolOutcome): void {
    this.outcomes.add(outcome)
  }

  booked(result: BookingResult): void {
    this.bookings.add(result)
  }

  families(): Family[] {
    return [
      gauge(
        'ocs_spool_entries',
        'Reports in the spool, to be booked when the store is back.',
        () => this.entries?.() ?? 0,
      ),
      gauge(
        'ocs_spool_oldest_seconds',
        'Age of the oldest report in the spool.',
        () => (this.oldestMs?.() ?? 0) / 1000,
      ),
      new Family(
        'ocs_spool_reports_total',
        'Reports that the store did not take in time: kept on the disk, known from before, lost as the spool is full or failed, or slow: still being written.',
        'counter',
        () => this.outcomes.samples('outcome'),
      ),
      new Family(
        'ocs_spool_booked_total',
        'Reports of the spool that were dealt with: booked, of an unknown session, or rejected and kept aside.',
        'counter',
        () => this.bookings.samples('result'),
      ),
    ]
  }
}

const spoolOutcomes: readonly SpoolOutcome[] = ['kept', 'known', 'full', 'failed', 'slow']
const bookingResults: readonly BookingResult[] = ['booked', 'unknown', 'rejected']

/** `ocs_life_*`; handed to subscription/. */
/** Words of the due lists are a closed list; a damaged one makes no more series. */
const mostJobKinds = 32

/** What came of renewals of subscriptions. */
export class SubscriptionCounts implements SubscriptionMetrics {
  private readonly renewals = new CountBy(['renewed', 'failed', 'waits', 'stuck'])

  renewal(result: string): void {
    this.renewals.add(result)
  }

  families(): Family[] {
    return [
      new Family(
        'ocs_subscription_renewals_total',
        'Renewals of subscriptions that were due: renewed (or ended, as it should), failed for want of money, waits (the account is suspended), stuck.',
        'counter',
        () => this.renewals.samples('result'),
      ),
    ]
  }
}

export class LifeCounts implements LifeMetrics {
  private readonly changes = new CountBy(['active', 'grace', 'suspended', 'terminated', 'recycled', 'other'])
  private readonly made = new Map<string, number>()

  became(status: string): void {
    this.changes.add(lifeStatuses.find(each => each === status) ?? 'other')
  }

  created(rule: string): void {
    this.made.set(rule, (this.made.get(rule) ?? 0) + 1)
  }

  families(): Family[] {
    return [
      new Family(
        'ocs_life_steps_total',
        'Steps in the life cycle of accounts, by the status they left; other: what does not end a phase.',
        'counter',
        () => this.changes.samples('status'),
      ),
      new Family(
        'ocs_life_auto_created_total',
        'Accounts made at a first use, by rule of the catalog.',
        'counter',
        () => Array.from(this.made, ([rule, value]) => ({ labels: { rule }, value })),
      ),
    ]
  }
}

const lifeStatuses = ['active', 'grace', 'suspended', 'terminated', 'recycled'] as const

/** Vouchers that were redeemed, or refused and why. */
export class VoucherCounts implements VoucherMetrics {
  private readonly results = new CountBy(voucherResults)
  private readonly lockouts = new CountBy(guessKinds)

  redemption(result: RedeemOutcome['status']): void {
    this.results.add(result)
  }

  locked(kind: GuessKind): void {
    this.lockouts.add(kind)
  }

  families(): Family[] {
    return [
      new Family(
        'ocs_voucher_redemptions_total',
        'Codes of vouchers that came in: redeemed, repeated, or why they were refused.',
        'counter',
        () => this.results.samples('result'),
      ),
      new Family(
        'ocs_voucher_lockouts_total',
        'How often somebody was locked out for too many wrong codes: an account, an outlet, or a principal of the API.',
        'counter',
        () => this.lockouts.samples('of'),
      ),
    ]
  }
}

const guessKinds: readonly GuessKind[] = ['account', 'principal', 'outlet']
const voucherResults: readonly RedeemOutcome['status'][] = [
  ...(['redeemed', 'repeated', 'malformed', 'unknown', 'used', 'blocked', 'expired', 'not_active', 'locked'] as const),
  ...([
    'no_account',
    'account_terminated',
    'too_large',
    'currency_differs',
    'refused',
    'pending',
    'other_key',
  ] as const),
]

/** Accounts, catalog and the process. */
export class OperationMetrics {
  private readonly recharges = new Map<string, CountBy>()
  private readonly reloads = new CountBy(['ok', 'refused'])
  private readonly payments = new Map<string, CountBy>()
  private readonly authentications = new Map(
    (['token', 'key', 'jwt', 'subscriber'] as const).map(kind => [kind, new CountBy(['known', 'refused', 'locked'])]),
  )
  /** Version of the catalog in use. */
  catalog: string | undefined
  draining = false
  /** Log lines that were thrown away because nobody read them, read at scrape. */
  logDropped: (() => number) | undefined

  /** Channels beyond the first 20 are counted as `other`: they are free text. */
  recharge(channel: string, result: 'credited' | 'repeated' | 'refused'): void {
    const known = this.recharges.has(channel) || this.recharges.size < 20 ? channel : 'other'
    let results = this.recharges.get(known)
    if (!results) this.recharges.set(known, (results = new CountBy(['credited', 'repeated', 'refused'])))
    results.add(result)
  }

  payment(provider: string, state: string): void {
    let states = this.payments.get(provider)
    if (!states) this.payments.set(provider, (states = new CountBy()))
    states.add(state)
  }

  authenticated(kind: 'token' | 'key' | 'jwt' | 'subscriber', result: 'known' | 'refused' | 'locked'): void {
    this.authentications.get(kind)!.add(result)
  }

  catalogReload(result: 'ok' | 'refused'): void {
    this.reloads.add(result)
  }

  families(version: string): Family[] {
    return [
      new Family('ocs_recharges_total', 'Recharges by channel and result.', 'counter', () =>
        Array.from(this.recharges, ([channel, results]) => results.samples('result', { channel })).flat(),
      ),
      new Family(
        'ocs_admin_authentications_total',
        'Credentials shown to the admin API, by kind and result.',
        'counter',
        () => Array.from(this.authentications, ([kind, results]) => results.samples('result', { kind })).flat(),
      ),
      new Family('ocs_payments_total', 'Payments by provider and the state that they came to.', 'counter', () =>
        Array.from(this.payments, ([provider, states]) => states.samples('state', { provider })).flat(),
      ),
      new Family('ocs_catalog_info', '1; the label is the version of the catalog in use.', 'gauge', () =>
        this.catalog === undefined ? [] : [{ labels: { version: this.catalog }, value: 1 }],
      ),
      new Family('ocs_catalog_reload_total', 'Reloads of the catalog.', 'counter', () =>
        this.reloads.samples('result'),
      ),
      new Family('ocs_build_info', '1; the labels are the versions of ocsd and Node.js.', 'gauge', () => [
        { labels: { version, node: process.version }, value: 1 },
      ]),
      gauge('ocs_draining', '1 while the daemon answers its last requests.', () => Number(this.draining)),
      counter('ocs_log_dropped_total', 'Log lines thrown away because the reader was too slow.', () =>
        this.logDropped ? this.logDropped() : 0,
      ),
    ]
  }
}

/** All of them, and the text that a scrape gets. */
export class Metrics {
  readonly registry = new Registry()
  readonly ccr = new CcrMetrics()
  readonly charging = new ChargingMetrics()
  readonly expiry = new ExpiryCounts()
  readonly asked = new AskedCounts()
  readonly store = new StoreCounts()
  readonly ledger = new LedgerMetrics()
  readonly cdr = new CdrMetrics()
  readonly spool = new SpoolCounts()
  readonly life = new LifeCounts()
  readonly subscriptions = new SubscriptionCounts()
  readonly notifications = new NotificationCounts()
  readonly vouchers = new VoucherCounts()
  readonly operation = new OperationMetrics()

  /**
   * @param options.version of ocsd
   * @param options.diameter counters of the transport
   * @param options.peers state of the peer table's rows, read at scrape
   * @param options.runtime false: without prom-client's own metrics of process and Node.js
   */
  constructor(options: {
    readonly version: string
    readonly diameter: DiameterCounters
    readonly peers: () => readonly PeerReading[]
    readonly runtime?: boolean
  }) {
    const families = [
      ...this.ccr.families(),
      ...this.charging.families(),
      ...this.expiry.families(),
      ...this.asked.families(),
      ...this.store.families(),
      ...this.ledger.families(),
      ...this.cdr.families(),
      ...this.spool.families(),
      ...this.life.families(),
      ...this.subscriptions.families(),
      ...this.notifications.families(),
      ...this.vouchers.families(),
      ...this.operation.families(options.version),
      ...diameterFamilies(options.diameter, options.peers),
    ]
    for (const family of families) this.registry.registerMetric(family.asMetric())
    // Shed unread: its service context is not known.
    options.diameter.onShed = (kind, seconds) => this.ccr.record(kind, 'other', 3004, 'shed', seconds)
    if (options.runtime === false) return
    collectDefaultMetrics({ register: this.registry })
    // Gauges named like counters; the same figures by type stay.
    for (const name of misnamed) this.registry.removeSingleMetric(name)
  }

  scrape(): Promise<string> {
    return this.registry.metrics()
  }

  get contentType(): string {
    return this.registry.contentType
  }
}

const misnamed = ['nodejs_active_resources_total', 'nodejs_active_handles_total', 'nodejs_active_requests_total']

function diameterFamilies(counters: DiameterCounters, peers: () => readonly PeerReading[]): Family[] {
  return [
    new Family('ocs_shed_total', 'Requests answered 3004 unread, by peer, reason and kind.', 'counter', () =>
      shedSamples(counters),
    ),
    gauge('ocs_admitted_requests', 'Requests of peers that are worked on.', () => counters.load?.().inWork ?? 0),
    gauge(
      'ocs_admitted_requests_cap',
      'How many may be at this time; less than configured while answers take too long.',
      () => counters.load?.().cap ?? 0,
    ),
    gauge('ocs_queue_requests', 'Requests of peers that wait to be worked on.', () => counters.load?.().queued ?? 0),
    gauge(
      'ocs_queue_age_seconds',
      'How long the oldest of them has waited.',
      () => (counters.load?.().queueAgeMs ?? 0) / 1000,
    ),
    new Family('ocs_diameter_peer_up', '1 when the row of the peer table has an open connection.', 'gauge', () =>
      peers().map(({ name, connections }) => ({ labels: { peer: name }, value: Number(connections > 0) })),
    ),
    new Family('ocs_diameter_connections', 'Open connections by row of the peer table.', 'gauge', () =>
      peers().map(({ name, connections }) => ({ labels: { peer: name }, value: connections })),
    ),
    new Family('ocs_diameter_messages_total', 'Messages by peer, command and direction.', 'counter', () =>
      Array.from(counters.trafficByPeer, ([peer, traffic]) =>
        commandLabels.flatMap((command, index) => [
          { labels: { peer, command, direction: 'in' }, value: traffic.messagesIn[index]! },
          { labels: { peer, command, direction: 'out' }, value: traffic.messagesOut[index]! },
        ]),
      )
        .flat()
        .filter(({ labels, value }) => value > 0 || labels.command === 'CC'),
    ),
    new Family('ocs_diameter_bytes_total', 'Octets of messages by peer and direction.', 'counter', () =>
      Array.from(counters.trafficByPeer, ([peer, traffic]) => [
        { labels: { peer, direction: 'in' }, value: traffic.octetsIn },
        { labels: { peer, direction: 'out' }, value: traffic.octetsOut },
      ]).flat(),
    ),
    new Family('ocs_diameter_closed_total', 'Connections that ended, by peer and reason.', 'counter', () =>
      Array.from(counters.closedByPeer, ([peer, reasons]) => samplesOf(reasons, 'reason', { peer })).flat(),
    ),
    new Family('ocs_diameter_cer_rejected_total', 'Capabilities-Exchange-Requests refused, by reason.', 'counter', () =>
      samplesOf(counters.cerRejectedByReason, 'reason'),
    ),
    new Family(
      'ocs_diameter_decode_errors_total',
      'Requests answered with an error because of what stood in them, by Result-Code.',
      'counter',
      () => samplesOf(counters.decodeErrorsByCode, 'code'),
    ),
    new Family(
      'ocs_diameter_watchdog_failures_total',
      'Connections closed because a DWR got no answer.',
      'counter',
      () => samplesOf(counters.watchdogFailuresByPeer, 'peer'),
    ),
    new Family('ocs_diameter_duplicate_peers_total', 'Second connections of a connected Origin-Host.', 'counter', () =>
      samplesOf(counters.duplicatesByPeer, 'peer'),
    ),
    new Family(
      'ocs_diameter_origin_mismatches_total',
      "Requests in another Origin-Host's name, of a peer that is no relay.",
      'counter',
      () => samplesOf(counters.originMismatchesByPeer, 'peer'),
    ),
    new Family('ocs_diameter_dropped_answers_total', 'Answers that were not sent or not expected.', 'counter', () =>
      samplesOf(counters.droppedAnswersByReason, 'reason'),
    ),
    counter(
      'ocs_diameter_internal_errors_total',
      'Requests that met a defect of ours: 5012.',
      () => counters.internalErrors,
    ),
    new Family(
      'ocs_tls_cert_expiry_seconds',
      'Seconds until the first certificate of a file ends: our own, or an authority of peers; below 0 it has ended.',
      'gauge',
      () =>
        Array.from(counters.certificatesLeft, ([certificate, left]) => ({
          labels: { certificate },
          value: left() / 1000,
        })),
    ),
    new Family('ocs_tls_reloads_total', 'How often the TLS files were read again, by result.', 'counter', () =>
      Array.from(counters.tlsReloads, ([result, value]) => ({ labels: { result }, value })),
    ),
  ]
}

/** What never happened is left out, but for one of each peer, so that an alert on their sum has something to add up. */
function shedSamples({ shedByPeer }: DiameterCounters): Sample[] {
  const samples: Sample[] = []
  for (const [peer, reasons] of shedByPeer) {
    for (const [reason, kinds] of reasons) {
      for (const [kind, value] of kinds)
        if (value > 0 || (reason === 'overload' && kind === 'initial'))
          samples.push({ labels: { peer, reason, type: kind }, value })
    }
  }
  return samples
}

/** Closed connections of a peer are many reasons: those that never happened are left out, but for the watchdog. */
function samplesOf(counts: ReadonlyMap<string | number, number>, label: string, more: Labels = {}): Sample[] {
  const samples = Array.from(counts, ([key, value]) => ({ labels: { ...more, [label]: String(key) }, value }))
  return label === 'reason' && 'peer' in more
    ? samples.filter(sample => sample.value > 0 || sample.labels[label] === 'watchdog')
    : samples
}

const counter = (name: string, help: string, read: () => number): Family =>
  new Family(name, help, 'counter', () => [{ labels: {}, value: read() }])
const gauge = (name: string, help: string, read: () => number): Family =>
  new Family(name, help, 'gauge', () => [{ labels: {}, value: read() }])
/** A gauge that is absent as long as there is nothing to say. */
const optional = (name: string, help: string, read: () => number | undefined): Family =>
  new Family(name, help, 'gauge', () => {
    const value = read()
    return value === undefined ? [] : [{ labels: {}, value }]
  })
const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000)
