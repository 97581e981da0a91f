/**
 * The Online Charging Function (TS 32.296): from a credit request to its outcome. It finds the subscriber, lets rating pick
 * a charging program for each line, and makes one charging call for all of them.
 */
import { hash32 } from '../balance/keys.js'
import type { Balance, ChargeAnswer, ChargeOutcome, LineOutcome, Profile } from '../balance/balance.js'
import type { Identities, Owner, Subscriber } from '../balance/identities.js'
import { BalanceUnavailableError } from '../balance/store.js'
import type { Identity } from '../balance/types.js'
import type { Clock } from '../clock.js'
import type { ChargingConfig, PeerProfile } from '../config/config.js'
import type { Catalog, Service } from '../rating/catalog.js'
import { currencyNumber } from '../currency.js'
import { contextKey, findService } from '../rating/match.js'
import type { Program } from '../rating/program.js'
import { unitTypes, type Micros, type Millis, type UnitType } from '../units.js'
import { readTerms, type GrantTerms } from '../rating/terms.js'
import type { EventCharging } from './events.js'
import { prepareLines } from './lines.js'

export type { Identity } from '../balance/types.js'
export type { LineOutcome } from '../balance/balance.js'
export type { GrantTerms } from '../rating/terms.js'

export type RequestType = 'initial' | 'update' | 'terminate' | 'event'

/** Requested-Action of an event. */
export type EventAction = 'debit' | 'refund' | 'check' | 'price'

/** One CCR, checked. */
export interface CreditRequest {
  readonly type: RequestType
  readonly number: number
  readonly sessionId: string
  readonly originHost: string
  readonly originRealm?: string
  /** Origin-Host of the peer that it came over: a relay's, or the same. */
  readonly via?: string
  readonly serviceContextId: string
  /** Of an event only. */
  readonly action?: EventAction | undefined
  /** Event-Timestamp, ms. */
  readonly eventTime: Millis | undefined
  /** In the order of the message; may be empty in an update or terminate. */
  readonly identities: readonly Identity[]
  /** Distinct by key, in the order of the message. */
  readonly lines: readonly LineRequest[]
  readonly facts: RequestFacts
  /** The T bit: perhaps a repeat. */
  readonly retransmitted: boolean
  /** Business time of its arrival, and the same moment on the monotonic clock, ms. */
  readonly arrival: Millis
  readonly arrivedAt: number
  /** It comes from the spool: what it reports is booked, in the time of `arrival`, and nothing is granted. */
  readonly booking?: boolean
  readonly profile: PeerProfile
}

/** Where, how and whom: what Service-Information says, for rating. What is malformed there is absent. */
export interface RequestFacts {
  /** MCC and MNC of the serving network: five or six digits. */
  readonly plmn: string | undefined
  /** Number of the called party or the recipient: digits, without +. Absent when it is the subscriber who is called. */
  readonly called: string | undefined
  /** As it came. */
  readonly apn: string | undefined
  /** 3GPP-RAT-Type, in decimal. */
  readonly rat: string | undefined
  /** Of a call. */
  readonly direction: 'originating' | 'terminating' | undefined
  /** Of a message, its kind: `sms.` or `mms.` and the number of SM-Message-Type or Message-Type. */
  readonly message?: string | undefined
  /** To how many a message goes; absent: to none that is named. */
  readonly recipients?: number | undefined
  /** 3GPP-Charging-Id: what the gateway's own records call the bearer. */
  readonly chargingId?: number | undefined
  /** AF-Charging-Identifier, for the records: its text, or its octets in hexadecimal. */
  readonly correlation?: string | undefined
}

/** One quota: what was used of it, and what is asked. */
export interface LineRequest {
  readonly key: string
  readonly ratingGroup: number | undefined
  readonly serviceIdentifiers: readonly number[]
  /** Undefined: nothing is asked. Without amounts: the server decides. */
  readonly requested: UnitAmounts | undefined
  readonly used: UsedAmounts
  /** Currency-Code (ISO 4217, numeric) of the money in both; undefined: that of the account. */
  readonly currency: number | undefined
  /** The report came at a threshold: the rest of the old grant is still in use. */
  readonly threshold: boolean
  /** Trigger-Types that made the gateway report. */
  readonly triggers?: readonly number[] | undefined
  /** Refund-Information: the debit that an event takes back. */
  readonly refund?: Buffer | undefined
}

/** Units by their type, money in micros; undefined: the message has none of that type. */
export type UnitAmounts = { readonly [type in UnitType]: bigint | undefined }
export type UsedAmounts = { readonly [type in UnitType]: SplitAmount | undefined }

/** What was used around a tariff switch, Tariff-Change-Usage: before it, after it, nobody knows; or it was not said. */
export interface SplitAmount {
  readonly unsplit: bigint
  readonly before: bigint
  readonly after: bigint
  readonly indeterminate: bigint
}

export type CreditOutcome =
  | {
      readonly status: 'answered'
      readonly how: 'new' | 'reordered' | 'again' | 'mismatch' | 'old'
      readonly lines: readonly LineOutcome[]
      /** Of the account: of money that is granted. */
      readonly currency: string
      readonly money: ToldMoney
      /** Of the service; undefined: the daemon's. */
      readonly failureHandling: Service['failureHandling']
    }
  /** Every line of a CCR-I failed: no session. The first one says why. */
  | { readonly status: 'refused'; readonly how: string; readonly lines: readonly LineOutcome[] }
  /** `ended`: the session has ended; what was used is charged late. `busy`: nothing new was held, ask again. */
  | { readonly status: 'barred' | 'terminated' | 'ended' | 'busy'; readonly how: string }
  | {
      readonly status:
        | 'unknown_session'
        | 'unknown_subscriber'
        | 'no_identity'
        | 'unknown_service'
        | 'not_served'
        /** Of the account, by its offers. */
        | 'too_many_sessions'
        /** An event with the Session-Id of an open session. */
        | 'session_open'
        /** The session is of another Service-Context-Id. */
        | 'other_service'
    }
  /** Identities of two accounts; the known identity of somebody else in a session. Indexes into `identities`. */
  | { readonly status: 'contradicting_identities'; readonly identities: readonly [number, number] }
  | { readonly status: 'other_subscriber'; readonly identity: number }
  | { readonly status: 'too_large'; readonly line: string }
  /** A number that had another content before, to a peer that wants to be told. */
  | { readonly status: 'reused_number'; readonly how: 'mismatch' }
  | EventOutcome
  /** Nothing is given back, and why. */
  | { readonly status: 'no_refund'; readonly how: string; readonly why: string }

/** An event that was done: whole, or not at all. */
export interface EventOutcome {
  readonly status: 'event'
  readonly how: ChargeAnswer['how']
  readonly action: EventAction
  /** What was debited, given back or asked about, in the order of the message. */
  readonly lines: readonly EventLine[]
  /** What it cost, or would cost; of a refund what came back, below zero. */
  readonly cost: Micros
  readonly money: ToldMoney
  /** Whether free funds cover it; only of a check. */
  readonly enough: boolean | undefined
  /** Of the account. */
  readonly currency: string
}

export interface EventLine {
  readonly line: string
  readonly unit: UnitType
  readonly units: bigint
  /** The rule says `free`. */
  readonly free: boolean
  /** What the gateway is told beside the units; undefined where nobody rated the line. */
  readonly terms: string | undefined
  /** Refund-Information of a debit. */
  readonly refund: Buffer | undefined
}

/** What an answer may tell of money. */
export interface ToldMoney {
  /** What the session costs so far, what is held not included; undefined: not to be told. */
  readonly cost: Micros | undefined
  /** Of main, what is held included, less debt; undefined: not to be told, or no longer known. */
  readonly balance: Micros | undefined
  /** Whether it is below the first of the catalog's `lowBalance`. */
  readonly low: boolean
}

/** What is counted of charging; telemetry implements it. Offers are those of the catalog. */
export interface ChargingMetrics {
  duplicate(): void
  duplicateMismatch(): void
  outOfOrder(): void
  lateUpdate(): void
  unknownSession(): void
  granted(unit: UnitType, offer: string, amount: bigint): void
  used(unit: UnitType, offer: string, amount: bigint): void
  charged(currency: string, offer: string, micros: bigint): void
  overrun(currency: string, micros: bigint): void
  /** Usage or a request that matches no rule: 5031. */
  unrated(service: string): void
}

/** Keeps what the programs that the ledger names mean. */
export interface ProgramDescriptions {
  note(program: Program): void
}

/** Told after each charge, so that background work need not look everywhere. */
export interface ChargingHints {
  /** The account has a new journal entry. */
  entry(account: string): void
  /** Something of it falls due then. */
  due(account: string, at: Millis): void
}

/** Event-Timestamp counts when it is this close to the arrival, semantics.md section 8. */
export const timestampToleranceMs = 300_000
/** The script stops holding this long before we stop waiting for it, so that "3004" means that nothing was held. */
export const fenceMs = 250
/** A deadline that is over by any clock. */
const longPastMs = 3_600_000
/** How often a request starts anew because the account changed in between. */
const mostAttempts = 5

export class ChargingFunction {
  constructor(
    private readonly parts: {
      readonly balance: Balance
      readonly identities: Identities
      readonly config: ChargingConfig
      readonly clock: Clock
      readonly metrics: ChargingMetrics
      readonly hints: ChargingHints
      readonly descriptions: ProgramDescriptions
      /** Absent: events are not served. */
      readonly events?: EventCharging
      /** The catalog in force. */
      readonly catalog: () => Catalog
      /** False while the store cannot be what it was: better no answer than a wrong one for everybody. */
      readonly trusted: () => boolean
      /** Makes an account for an unknown subscriber where the catalog says so; true: there is one now. */
      readonly autoCreate?: (identities: readonly Identity[]) => Promise<boolean>
    },
  ) {}

  /**
   * Charges one request, once, whoever sends it how often.
   *
   * @throws StoreDefectError when we or the store's data are wrong
   */
  async charge(request: CreditRequest): Promise<CreditOutcome> {
    const outcome = await this.chargeKnown(request)
    const uses = request.type === 'initial' || (request.type === 'event' && request.action === 'debit')
    if (outcome.status !== 'unknown_subscriber' || !uses || !this.parts.autoCreate) return outcome
    try {
      return (await this.parts.autoCreate(request.identities)) ? await this.chargeKnown(request) : outcome
    } catch (error) {
      if (error instanceof BalanceUnavailableError) return { status: 'busy', how: 'unknown' }
      throw error
    }
  }

  private async chargeKnown(request: CreditRequest): Promise<CreditOutcome> {
    const { config, identities } = this.parts
    if (!this.parts.trusted()) return { status: 'busy', how: 'untrusted' }
    const catalog = this.parts.catalog()
    const service = findService(catalog, request.serviceContextId)
    if (!service) return { status: 'unknown_service' }
    const mustName = request.type === 'initial' || request.type === 'event'
    if (mustName && request.identities.length === 0) return { status: 'no_identity' }
    const deadline = request.arrivedAt + config.holdBudgetMs
    try {
      if (request.type === 'event') {
        return (await this.parts.events?.charge(request, catalog, service, deadline)) ?? { status: 'not_served' }
      }
      const found = this.fromCache(request) ?? (await this.subscriberOf(request, deadline))
      if ('status' in found) return found
      if (request.type === 'initial' && request.profile.subscriptionId !== 'always') {
        const [outcome] = await Promise.all([
          this.chargeAs(found, request, catalog, service, deadline),
          identities.openSession(request.sessionId, found, deadline),
        ])
        if (outcome.status !== 'answered' && outcome.status !== 'busy') identities.closeSession(request.sessionId)
        return outcome
      }
      const outcome = await this.chargeAs(found, request, catalog, service, deadline)
      if (
        request.type === 'terminate' &&
        outcome.status === 'answered' &&
        request.profile.subscriptionId !== 'always'
      ) {
        identities.closeSession(request.sessionId)
      }
      return outcome
    } catch (error) {
      if (error instanceof BalanceUnavailableError) return { status: 'busy', how: 'unknown' }
      throw error
    }
  }

  /** The common case without any wait: one identity, and we know it. */
  private fromCache(request: CreditRequest): Subscriber | undefined {
    return request.identities.length === 1 ? this.parts.identities.cached(request.identities[0]!) : undefined
  }

  /** By its identities, which must agree; without any, by its session. */
  private async subscriberOf(request: CreditRequest, deadline: number): Promise<Subscriber | CreditOutcome> {
    const { identities } = this.parts
    let found: Subscriber | undefined
    let foundAt = 0
    for (const [i, identity] of request.identities.entries()) {
      // Later requests of a session need one identity that is known; only what is at hand is compared with it.
      const subscriber =
        found && request.type !== 'initial' ? identities.cached(identity) : await identities.find(identity, deadline)
      if (!subscriber) continue
      if (!found) {
        found = subscriber
        foundAt = i
      } else if (subscriber.account !== found.account) {
        return { status: 'contradicting_identities', identities: [foundAt, i] }
      }
    }
    if (found) return found
    if (request.type === 'initial') return { status: 'unknown_subscriber' }
    const owner = await identities.ownerOfSession(request.sessionId, deadline)
    const subscriber = owner && (await this.ownerAsSubscriber(owner, deadline))
    return subscriber ?? this.unknownSession()
  }

  /** The subscriber of a session, also when it has left the account since: its session stays there. */
  private async ownerAsSubscriber(owner: Owner, deadline: number): Promise<Subscriber | undefined> {
    const { balance, identities } = this.parts
    const subscriber = await identities.of(owner, deadline)
    if (subscriber) return subscriber
    const profile = await balance.profile(owner.account, deadline)
    return profile && { ...owner, profile }
  }

  private async chargeAs(
    first: Subscriber,
    request: CreditRequest,
    catalog: Catalog,
    service: Service,
    deadline: number,
  ): Promise<CreditOutcome> {
    const { identities } = this.parts
    let subscriber = first
    let searchEnded = request.retransmitted && request.type === 'initial'
    let elsewhere = false
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      const { outcome, programs } = await this.call(subscriber, request, catalog, service, deadline, searchEnded)
      switch (outcome.status) {
        case 'answered':
          return this.answered(request, subscriber, outcome, programs, { catalog, service })
        case 'expired':
          return { status: 'busy', how: 'late' }
        case 'too_large':
          return outcome
        case 'too_many_sessions':
        case 'session_open':
        case 'other_service':
          return { status: outcome.status }
        case 'moved': {
          identities.moved(subscriber.account, outcome.profile)
          // A session stays with the account that it was opened on, whoever its identities belong to by now.
          const stays = request.type !== 'initial' || elsewhere
          if (stays || namesSubscriber(request.identities, subscriber.number, outcome.profile)) {
            subscriber = { ...subscriber, profile: outcome.profile }
            break
          }
          for (const identity of request.identities) identities.forget(identity)
          const again = await this.subscriberOf(request, deadline)
          if ('status' in again) return again
          subscriber = again
          break
        }
        case 'no_account': {
          identities.forgetAccount(subscriber.account)
          for (const identity of request.identities) identities.forget(identity)
          if (attempt > 0) return { status: 'unknown_subscriber' }
          const again = await this.subscriberOf(request, deadline)
          if ('status' in again) return again
          subscriber = again
          break
        }
        case 'other_subscriber':
          if (elsewhere || request.identities.length > 0) return { status: 'other_subscriber', identity: 0 }
          return this.unknownSession()
        case 'other_account':
        case 'unknown_session': {
          if (searchEnded && outcome.status === 'unknown_session') return this.unknownSession()
          const owner = elsewhere ? undefined : await identities.ownerOfSession(request.sessionId, deadline)
          if (!owner || owner.account === subscriber.account) {
            if (outcome.status === 'other_account') return { status: 'other_subscriber', identity: 0 }
            searchEnded = true
            break
          }
          // The session stays where it was opened. Who had these identities then goes on there; for another it is not theirs.
          const there = await this.ownerAsSubscriber(owner, deadline)
          if (!there) return this.unknownSession()
          if (!hadIdentities(there, request.identities)) return { status: 'other_subscriber', identity: 0 }
          subscriber = there
          elsewhere = true
          break
        }
      }
    }
    return { status: 'busy', how: 'moved' }
  }

  private async call(
    subscriber: Subscriber,
    request: CreditRequest,
    catalog: Catalog,
    service: Service,
    deadline: number,
    searchEnded: boolean,
  ): Promise<{ outcome: ChargeOutcome; programs: readonly Program[] }> {
    const { balance, clock, config, descriptions } = this.parts
    const { account, number, profile } = subscriber
    const now = request.arrival
    const skew = request.eventTime === undefined ? Infinity : Math.abs(request.eventTime - now)
    const at = skew <= timestampToleranceMs ? request.eventTime! : now
    const { facts } = request
    const context = { catalog, service, profile, subscriber: number, facts, at, silence: config.silence }
    const prepared = prepareLines(context, request.lines, request.profile)
    for (const program of prepared.named) descriptions.note(program)
    let content: string = request.type
    for (const { type, value } of request.identities) content += `|${type}${value}`
    let noted = ''
    for (const [i, line] of request.lines.entries()) {
      const { used, requested } = line
      content += `|${line.key} ${usedText(used)} ${requested === undefined ? '-' : amounts(requested)} ${line.threshold}`
      noted += notedUnits(line, prepared.programs[i]!, profile.currency)
    }
    const outcome = await balance.charge({
      type: request.type === 'initial' ? 'I' : request.type === 'update' ? 'U' : 'T',
      number: request.number,
      content: hash32(content).toString(16),
      sessionId: request.sessionId,
      account,
      subscriber: number,
      rev: profile.rev,
      currency: profile.currency,
      at,
      now,
      deadline: request.booking ? Date.now() - longPastMs : Date.now() + deadline - clock.monotonic() - fenceMs,
      deadlineMonotonic: deadline,
      cause:
        `"kind":"charge","session":${JSON.stringify(request.sessionId)},"number":${request.number},"type":"${request.type}",` +
        `"host":${JSON.stringify(request.originHost)},"subscriber":"${number}","service":"${service.name}","catalog":"${catalog.version}"${correlated(facts)}${noted}`,
      originHost: request.originHost,
      originRealm: request.originRealm ?? '-',
      via: request.via ?? request.originHost,
      service: contextKey(request.serviceContextId),
      mostSessions: request.type === 'initial' ? mostSessions(catalog, profile, number) : undefined,
      lateUsage: request.type === 'initial' ? undefined : request.profile.lateUsage,
      barred: isBarred(subscriber),
      lines: prepared.lines,
      counters: prepared.counters,
      lowBalance: catalog.lowBalance,
      searchEnded,
    })
    return { outcome, programs: prepared.programs }
  }

  private answered(
    request: CreditRequest,
    subscriber: Subscriber,
    { answer }: Extract<ChargeOutcome, { status: 'answered' }>,
    programs: readonly Program[],
    { catalog, service }: { readonly catalog: Catalog; readonly service: Service },
  ): CreditOutcome {
    const { config, hints, metrics } = this.parts
    const { how, outcome, lines, charged, balance } = answer
    if (how === 'again' || how === 'old') metrics.duplicate()
    else if (how === 'mismatch') metrics.duplicateMismatch()
    else {
      if (how === 'reordered') metrics.outOfOrder()
      this.count(request, subscriber, answer, programs)
      hints.entry(subscriber.account)
      let validity = 0
      for (const line of lines)
        if ('units' in line) {
          const terms = readTerms(line.terms)
          validity = validity === 0 ? terms.validity : Math.min(validity, terms.validity)
        }
      const holdMs = validity === 0 ? config.defaultValidityMs : validity * 1000
      if (request.type !== 'terminate') hints.due(subscriber.account, request.arrival + config.silence * holdMs)
    }
    switch (outcome) {
      case 'ok':
        return {
          status: 'answered',
          how,
          lines,
          currency: subscriber.profile.currency,
          failureHandling: service.failureHandling,
          money: {
            cost: service.inform.has('cost') ? charged : undefined,
            balance: service.inform.has('balance') ? balance : undefined,
            low: balance !== undefined && catalog.lowBalance.length > 0 && balance < catalog.lowBalance[0]!,
          },
        }
      case 'refused':
        return { status: 'refused', how, lines }
      case 'barred':
      case 'terminated':
        return { status: outcome, how }
      case 'reported':
        return { status: 'busy', how }
      case 'ended':
        metrics.lateUpdate()
        return { status: 'ended', how }
    }
  }

  private count(
    { lines: requested }: CreditRequest,
    { profile }: Subscriber,
    { cost, overrun, lines }: ChargeAnswer,
    programs: readonly Program[],
  ): void {
    const { metrics } = this.parts
    for (let i = 0; i < programs.length; i++) {
      const { unit, rule } = programs[i]!
      const offer = offerOf(rule)
      const used = requested[i]!.used[unit]
      if (used !== undefined) metrics.used(unit, offer, total(used))
      const line = lines[i]
      if (line?.is === 'unrated') metrics.unrated(programs[i]!.service)
      if (line !== undefined && 'units' in line) metrics.granted(unit, offer, line.units)
      // A request is charged whole; its first line stands for it.
      if (i === 0 && cost > 0n) metrics.charged(profile.currency, offer, cost)
    }
    if (overrun > 0n) metrics.overrun(profile.currency, overrun)
  }

  private unknownSession(): CreditOutcome {
    this.parts.metrics.unknownSession()
    return { status: 'unknown_session' }
  }
}

/** What a line was answered with: kept with the answer, so that a repeat says the same. */
export const termsOf = ({ terms }: { readonly terms: string }): GrantTerms => readTerms(terms)

const correlated = ({ correlation }: RequestFacts): string =>
  correlation === undefined ? '' : `,"correlation":${JSON.stringify(correlation)}`

/** Whether one of these is the subscriber's. */
const namesSubscriber = (identities: readonly Identity[], number: string, { subscribers }: Profile): boolean =>
  subscribers.get(number)?.some(name => identities.some(({ type, value }) => name === `${type}:${value}`)) === true

/** Whether they were the subscriber's when its session was opened: it has left the account since, or has others now. */
const hadIdentities = ({ number, profile }: Subscriber, identities: readonly Identity[]): boolean =>
  !profile.subscribers.has(number) ||
  profile.former.get(number)?.some(name => identities.some(({ type, value }) => name === `${type}:${value}`)) === true

/** It is blocked, or was removed: what it used is charged, and it gets nothing more. */
export const isBarred = ({ number, profile }: Subscriber): boolean =>
  profile.extras.blocked.includes(number) || profile.departed.get(number)?.how === 'removed'

/** Of its offers, the one that allows most; undefined: none says. */
function mostSessions({ offers }: Catalog, profile: Profile, subscriber: string): number | undefined {
  let most: number | undefined
  for (const { offer, subscriber: whose } of profile.subscriptions) {
    const allowed = whose === '0' || whose === subscriber ? offers.get(offer)?.sessions : undefined
    if (allowed !== undefined) most = Math.max(most ?? 0, allowed)
  }
  return most
}

/** `payg#3` → `payg`; no rule matched: `none`. */
export const offerOf = (rule: string): string => {
  const hash = rule.indexOf('#')
  return hash < 0 ? 'none' : rule.slice(0, hash)
}

const total = ({ unsplit, before, after, indeterminate }: SplitAmount): bigint =>
  unsplit + before + after + indeterminate

const amounts = ({ octets, seconds, events, money }: UnitAmounts): string =>
  `${octets ?? ''},${seconds ?? ''},${events ?? ''},${money ?? ''}`

const usedText = ({ octets, seconds, events, money }: UsedAmounts): string =>
  `${splitText(octets)},${splitText(seconds)},${splitText(events)},${splitText(money)}`

const splitText = (amount: SplitAmount | undefined): string =>
  amount === undefined ? '' : `${amount.unsplit}/${amount.before}/${amount.after}/${amount.indeterminate}`

/** Used units of types (and money of currencies) that the line is not sold in cost nothing, and the ledger notes them. */
function notedUnits({ key, used, currency }: LineRequest, program: Program, own: string): string {
  const foreign = currency !== undefined && currency !== currencyNumber(own)
  let noted = ''
  for (const type of unitTypes) {
    const amount = used[type]
    if (amount !== undefined && (program.unit !== type || (type === 'money' && foreign)))
      noted += `,"${type}":${total(amount)}`
  }
  return noted === '' ? '' : `,"noted:${key}":{${noted.slice(1)}}`
}
