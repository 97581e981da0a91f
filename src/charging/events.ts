/**
 * One-time events (IEC; RFC 8506 section 6, 3GPP TS 32.299 section 6.3.3): an event is debited whole or not at all, given back against the
 * debit that it names, or only asked about. All are rated like the lines of a session, and done once, whoever sends them how often.
 */
import type {
  Balance,
  ChargeAnswer,
  ChargeLine,
  ChargeRequest,
  ChargeState,
  LineOutcome,
  RequestHead,
} from '../balance/balance.js'
import type { Debit, DebitCounter, EventStore, RefundLine, RefundRequest } from '../balance/events.js'
import type { Identities, Subscriber } from '../balance/identities.js'
import { hash32 } from '../balance/keys.js'
import type { Clock } from '../clock.js'
import type { ChargingConfig } from '../config/config.js'
import { currencyNumber } from '../currency.js'
import { contextKey } from '../rating/match.js'
import type { Catalog, Service } from '../rating/catalog.js'
import type { Program } from '../rating/program.js'
import { lineLimit, unitTypes, type Micros, type Millis } from '../units.js'
import {
  fenceMs,
  isBarred,
  offerOf,
  timestampToleranceMs,
  type ChargingHints,
  type ChargingMetrics,
  type CreditOutcome,
  type CreditRequest,
  type EventLine,
  type LineRequest,
  type ToldMoney,
} from './charging.js'
import { prepareLines, type PreparedLines } from './lines.js'
import { debitId, readReference, writeReference } from './refund-information.js'

/** Keeps texts that are the same for all: what programs mean, and (here) what they are. */
export interface KnownTexts {
  note(text: { readonly id: string; readonly description: string }): void
  describe(ids: readonly string[], deadline: number): Promise<ReadonlyMap<string, string>>
}

/** How often a request starts anew because the account changed in between. */
const mostAttempts = 5
/** Free money of an account whose funds do not matter, micros: below the most that the script allows. */
const boundless = 4_000_000_000_000_000
/** Of what only asks, and of a refund's line: nothing is granted that could end. */
const noTerms = '0,0,none'

/** Positions of words in a program's text, src/rating/program.ts. */
const word = { rate: 9, tiers: 10, counters: 13 } as const

/** Whose event, under which catalog, and when. */
interface EventContext {
  readonly request: CreditRequest
  readonly catalog: Catalog
  readonly service: Service
  readonly subscriber: Subscriber
  /** Business time of the event. */
  readonly at: Millis
  /** Monotonic ms. */
  readonly deadline: number
}

/** An outcome, or what must be known anew before it is tried again. */
type Attempt = CreditOutcome | { readonly again: 'profile' | 'subscriber' }

export class EventCharging {
  constructor(
    private readonly parts: {
      readonly balance: Balance
      readonly store: EventStore
      readonly identities: Identities
      readonly config: ChargingConfig
      readonly clock: Clock
      readonly metrics: ChargingMetrics
      readonly hints: ChargingHints
      readonly texts: KnownTexts
    },
  ) {}

  /**
   * Does what the event asks, once.
   *
   * @param deadline monotonic ms
   * @throws BalanceUnavailableError when the store did not answer in time; StoreDefectError when we or its data are wrong
   */
  async charge(request: CreditRequest, catalog: Catalog, service: Service, deadline: number): Promise<CreditOutcome> {
    const { identities } = this.parts
    const skew = request.eventTime === undefined ? Infinity : Math.abs(request.eventTime - request.arrival)
    const at = skew <= timestampToleranceMs ? request.eventTime! : request.arrival
    let subscriber = await this.subscriberOf(request, deadline)
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      if ('status' in subscriber) return subscriber
      const outcome = await this.attempt({ request, catalog, service, subscriber, at, deadline })
      if ('status' in outcome) return outcome
      if (outcome.again === 'profile') {
        const { account, number } = subscriber
        const known = await identities.of({ account, number }, deadline)
        if (known) {
          subscriber = known
          continue
        }
      }
      identities.forgetAccount(subscriber.account)
      for (const identity of request.identities) identities.forget(identity)
      subscriber = await this.subscriberOf(request, deadline)
    }
    return { status: 'busy', how: 'moved' }
  }

  /** By its identities, which must agree; those that nobody knows say nothing. */
  private async subscriberOf(request: CreditRequest, deadline: number): Promise<Subscriber | CreditOutcome> {
    let found: Subscriber | undefined
    let foundAt = 0
    for (const [i, identity] of request.identities.entries()) {
      const subscriber = await this.parts.identities.find(identity, deadline)
      if (!subscriber) continue
      if (found && subscriber.account !== found.account) {
        return { status: 'contradicting_identities', identities: [foundAt, i] }
      }
      if (!found) [found, foundAt] = [subscriber, i]
    }
    return found ?? { status: 'unknown_subscriber' }
  }

  private attempt(context: EventContext): Promise<Attempt> {
    switch (context.request.action!) {
      case 'debit':
        return this.debit(context)
      case 'refund':
        return this.refund(context)
      case 'check':
        return this.check(context)
      case 'price':
        return this.price(context)
    }
  }

  private async debit(context: EventContext): Promise<Attempt> {
    const { balance, hints, metrics, texts } = this.parts
    const { request, subscriber } = context
    const prepared = this.prepare(context)
    for (const { id, text, kind } of prepared.programs)
      if (kind === 'pay') texts.note({ id: textId(id), description: text })
    const outcome = await balance.charge(this.chargeRequest(context, prepared, request.sessionId))
    if (outcome.status !== 'answered') return this.unanswered(subscriber, outcome)
    const { answer } = outcome
    const { how } = answer
    if (how === 'again' || how === 'old') metrics.duplicate()
    else if (how === 'mismatch') metrics.duplicateMismatch()
    else {
      this.count(context, prepared, answer)
      hints.entry(subscriber.account)
    }
    if (answer.outcome !== 'ok') return this.refused(answer)
    // Of a repeat whose answer is no longer kept, only that it was done is known.
    if (how === 'old') return this.done(context, answer, askedLines(request, prepared), 0n)
    const references = await this.references(context, prepared, answer)
    const lines = answer.lines.flatMap(line => eventLine(line, references.get(line.line)))
    return this.done(context, answer, lines, costOf(answer.paid))
  }

  private async check(context: EventContext): Promise<Attempt> {
    const prepared = this.prepare(context)
    const { outcome } = await this.parts.balance.quote(this.chargeRequest(context, prepared, asked(context)))
    if (outcome.status !== 'answered') return this.unanswered(context.subscriber, outcome)
    const { answer } = outcome
    const enough = answer.outcome === 'ok'
    if (!enough) {
      // Too little is an answer to this question; another refusal says why there is none.
      const others = answer.lines.filter(line => line.is !== 'exhausted')
      if (answer.outcome !== 'refused' || others.some(({ is }) => is === 'denied' || is === 'unrated'))
        return this.refused({ ...answer, lines: others })
    }
    return { ...this.done(context, answer, [], costOf(answer.paid)), enough }
  }

  /** What the event would cost on this account, were there money without end. */
  private async price(context: EventContext): Promise<Attempt> {
    const { balance } = this.parts
    const { catalog, subscriber, deadline } = context
    const state = await balance.stateOf(subscriber.account, deadline)
    if (!state) return { again: 'subscriber' }
    const prepared = this.prepare(context)
    const request = this.chargeRequest(context, prepared, asked(context))
    const counters = request.counters.map(each =>
      catalog.counters.get(each.name)?.then === 'stop' ? { ...each, limit: undefined } : each,
    )
    const { outcome } = await balance.quote({ ...request, counters }, withBoundlessMoney(state))
    if (outcome.status !== 'answered') return this.unanswered(subscriber, outcome)
    const { answer } = outcome
    if (answer.outcome !== 'ok') return this.refused(answer)
    return this.done(context, { ...answer, balance: undefined }, [], costOf(answer.paid))
  }

  private async refund(context: EventContext): Promise<Attempt> {
    const { store, config, hints, metrics } = this.parts
    const { request, service, catalog, subscriber, deadline } = context
    const { account, number, profile } = subscriber
    const key = await store.signingKey(deadline)
    const lines: RefundLine[] = []
    let prepared: PreparedLines | undefined
    for (const [i, line] of request.lines.entries()) {
      if (line.refund === undefined) {
        if (request.profile.refunds !== 'any') return noRefund('no Refund-Information names a debit of ours')
        prepared ??= this.prepare(context)
        const found = atPriceOf(prepared, i, number)
        if ('status' in found) return found
        lines.push({ key: line.key, asked: found.units, terms: noTerms, debit: found, until: Infinity })
        continue
      }
      const reference = readReference(key, line.refund)
      if (!reference) return noRefund('its Refund-Information is not one of ours')
      if (reference.account !== account) return noRefund('its Refund-Information is of another account')
      if (reference.currency !== profile.currency) return noRefund('its debit was in another currency')
      const { debit } = reference
      const units = line.requested?.[debit.unit]
      if (units === undefined && unitTypes.some(type => line.requested?.[type] !== undefined)) {
        return noRefund(`its debit was of ${debit.unit}`)
      }
      const until = reference.at + config.refundWindowMs
      lines.push({ key: line.key, asked: units ?? 'all', terms: noTerms, debit, until })
    }
    const refund: RefundRequest = { ...this.head(context, 'refund'), lines }
    const outcome = await store.refund(refund)
    switch (outcome.status) {
      case 'answered': {
        const { answer } = outcome
        if (answer.how === 'again' || answer.how === 'old') metrics.duplicate()
        else if (answer.how === 'mismatch') metrics.duplicateMismatch()
        else hints.entry(account)
        const given =
          answer.how === 'old' ? refundedLines(lines) : answer.lines.flatMap(line => eventLine(line, undefined))
        return this.done({ ...context, catalog, service }, answer, given, answer.cost)
      }
      case 'refused':
        return noRefund(
          outcome.why === 'late'
            ? `the debit of line ${outcome.line} is too long ago`
            : `of the debit of line ${outcome.line} not as many units are left`,
        )
      case 'terminated':
        return { status: 'terminated', how: 'new' }
      case 'currency_differs':
        return { again: 'subscriber' }
      default:
        return this.unanswered(subscriber, outcome)
    }
  }

  /** Lines with the exact units that they ask for; money asked of what is not sold by value is taken unrated. */
  private prepare({ request, catalog, service, subscriber, at }: EventContext): PreparedLines {
    const { config } = this.parts
    const { number, profile } = subscriber
    const { facts } = request
    const context = { catalog, service, profile, subscriber: number, facts, at, silence: config.silence }
    const prepared = prepareLines(context, request.lines, { requestedUnits: 'bound', tariffSwitch: 'announce' })
    const programs = prepared.programs.map((program, i) =>
      takesMoney(request.lines[i]!, program, profile.currency) ? moneyProgram(service) : program,
    )
    const lines = prepared.lines.map((line, i): ChargeLine => {
      const { key, used, threshold, facts } = line
      const program = programs[i]!
      const unsold = line.asked === 'unsold' && program === prepared.programs[i]
      const asked = unsold ? 'unsold' : (request.lines[i]!.requested?.[program.unit] ?? 0n)
      return { key, used, threshold, facts, asked, now: program.text }
    })
    return { lines, programs, named: programs, counters: prepared.counters }
  }

  private head(context: EventContext, kind: Parameters<typeof causeOf>[0]): RequestHead {
    const { request, subscriber, at, deadline } = context
    return {
      number: request.number,
      content: contentOf(request),
      sessionId: request.sessionId,
      account: subscriber.account,
      subscriber: subscriber.number,
      currency: subscriber.profile.currency,
      at,
      now: request.arrival,
      deadline: Date.now() + deadline - this.parts.clock.monotonic() - fenceMs,
      deadlineMonotonic: deadline,
      cause: causeOf(kind, context),
      originHost: request.originHost,
      originRealm: request.originRealm ?? '-',
      via: request.via ?? request.originHost,
      service: contextKey(request.serviceContextId),
    }
  }

  private chargeRequest(context: EventContext, prepared: PreparedLines, sessionId: string): ChargeRequest {
    const { texts } = this.parts
    const { catalog, subscriber } = context
    for (const program of prepared.programs) texts.note(program)
    return {
      ...this.head(context, 'charge'),
      type: 'E',
      sessionId,
      rev: subscriber.profile.rev,
      barred: isBarred(subscriber),
      lines: prepared.lines,
      counters: prepared.counters,
      lowBalance: catalog.lowBalance,
      searchEnded: false,
    }
  }

  /** What the script said of the account or the Session-Id instead of an answer. */
  private unanswered(
    { account }: Subscriber,
    outcome: Exclude<Awaited<ReturnType<Balance['charge']>>, { status: 'answered' }>,
  ): Attempt {
    switch (outcome.status) {
      case 'moved':
        this.parts.identities.moved(account, outcome.profile)
        return { again: 'profile' }
      case 'no_account':
        return { again: 'subscriber' }
      case 'expired':
        return { status: 'busy', how: 'late' }
      case 'too_large':
        return outcome
      case 'session_open':
      case 'other_service':
        return { status: outcome.status }
      case 'other_account':
      case 'other_subscriber':
        return { status: 'other_subscriber', identity: 0 }
      default:
        throw new Error(`an event was answered ${outcome.status}`)
    }
  }

  private refused({ how, outcome, lines }: ChargeAnswer): CreditOutcome {
    if (outcome === 'barred' || outcome === 'terminated') return { status: outcome, how }
    if (outcome === 'refused') return { status: 'refused', how, lines }
    return { status: 'busy', how }
  }

  private done(
    { request, catalog, service, subscriber }: EventContext,
    { how, balance }: Pick<ChargeAnswer, 'how' | 'balance'>,
    lines: readonly EventLine[],
    cost: bigint,
  ): Extract<CreditOutcome, { status: 'event' }> {
    const action = request.action!
    const money: ToldMoney = {
      cost: service.inform.has('cost') && action === 'debit' ? (cost as Micros) : undefined,
      balance: service.inform.has('balance') ? balance : undefined,
      low: balance !== undefined && catalog.lowBalance.length > 0 && balance < catalog.lowBalance[0]!,
    }
    const { currency } = subscriber.profile
    return { status: 'event', how, action, lines, cost: cost as Micros, money, enough: undefined, currency }
  }

  /** Refund-Information of each line; of a repeat, as the first answer had it. */
  private async references(
    context: EventContext,
    prepared: PreparedLines,
    { how, lines, paid }: ChargeAnswer,
  ): Promise<ReadonlyMap<string, Buffer>> {
    const { store, texts } = this.parts
    const { request, subscriber, deadline } = context
    const key = await store.signingKey(deadline)
    const found = new Map<string, Buffer>()
    let at = request.arrival
    let { counters } = prepared
    const programs = new Map(prepared.lines.map((line, i) => [line.key, prepared.programs[i]!.text]))
    if (how !== 'new' && how !== 'reordered') {
      const names = lines.map(({ line }) => line)
      const first = await store.firstDebit(subscriber.account, request.sessionId, names, deadline)
      if (!first) return found
      at = first.at
      counters = this.prepare({ ...context, at }).counters
      // After a reload the repeat is rated otherwise; the debit stays what it was.
      const others = [...first.programs].filter(([line, id]) => idOf(programs.get(line) ?? '') !== id)
      const known = await texts.describe(others.map(([, id]) => textId(id)), deadline) // prettier-ignore
      for (const [line, id] of others) {
        const text = known.get(textId(id))
        if (text === undefined) programs.delete(line)
        else programs.set(line, text)
      }
    }
    for (const [i, line] of lines.entries()) {
      const text = programs.get(line.line)
      // A number that was a refund, or that only its first content knows: nothing was debited that could be named.
      if (text === undefined || !('units' in line) || (how === 'mismatch' && !paid[i])) continue
      const debit: DebitOf = {
        id: debitId(request.sessionId, request.number, line.line),
        unit: line.unit,
        units: line.units,
        ...pricedBy(text, counters, subscriber.number),
        paid: paid[i] ?? '',
      }
      const { account, profile } = subscriber
      found.set(line.line, writeReference(key, { account, at, currency: profile.currency, debit }))
    }
    return found
  }

  private count({ subscriber }: EventContext, { programs }: PreparedLines, { cost, lines }: ChargeAnswer): void {
    const { metrics } = this.parts
    for (const [i, line] of lines.entries()) {
      const { unit, rule, service } = programs[i]!
      const offer = offerOf(rule)
      if (line.is === 'unrated') metrics.unrated(service)
      if ('units' in line) {
        metrics.granted(unit, offer, line.units)
        metrics.used(unit, offer, line.units)
      }
      // An event is charged whole; its first line stands for it.
      if (i === 0 && cost > 0n) metrics.charged(subscriber.profile.currency, offer, cost)
    }
  }
}

type DebitOf = Debit & { readonly id: string }

const noRefund = (why: string): CreditOutcome => ({ status: 'no_refund', how: 'new', why })

/** Not the event's own Session-Id: what only asks leaves no trace, and finds none. */
const asked = ({ request }: EventContext): string => `asked by ${request.sessionId}`

const textId = (program: string): string => `text.${program}`
const idOf = (program: string): string => program.split(' ', 2)[1] ?? ''

/** What a repeat must have in common with the first. */
function contentOf({ action, identities, lines }: CreditRequest): string {
  let content = `event ${action ?? ''}`
  for (const { type, value } of identities) content += `|${type}${value}`
  for (const { key, requested, currency, refund } of lines) {
    const amounts = unitTypes.map(type => requested?.[type] ?? '').join()
    content += `|${key} ${amounts} ${currency ?? ''} ${refund?.toString('base64') ?? ''}`
  }
  return hash32(content).toString(16)
}

function causeOf(kind: 'charge' | 'refund', { request, catalog, service, subscriber }: EventContext): string {
  const { sessionId, number, originHost, facts } = request
  const bearer = facts.chargingId === undefined ? '' : `,"chargingId":${facts.chargingId}`
  return (
    `"kind":"${kind}","session":${JSON.stringify(sessionId)},"number":${number},"type":"event",` +
    `"host":${JSON.stringify(originHost)},"subscriber":"${subscriber.number}","service":"${service.name}","catalog":"${catalog.version}"${bearer}`
  )
}

/** RFC 8506 section 6.3: an amount of money is debited as it is. Of another currency it is rated, and so refused. */
const takesMoney = ({ requested, currency }: LineRequest, { unit }: Program, own: string): boolean =>
  unit !== 'money' &&
  requested?.money !== undefined &&
  unitTypes.every(type => type === 'money' || requested[type] === undefined) &&
  (currency === undefined || currency === currencyNumber(own))

/** One micro costs one micro, from main. */
function moneyProgram({ name }: Service): Program {
  const id = `money.${hash32(name).toString(16)}`
  const most = lineLimit.money
  const text = `pay ${id} money ${name} money 0 ${noTerms} ${most},1,${most},0 - ffffffff,0,1,1,0,0,-,f,1,u,-,g 0,0,0,1,1 - - - 0`
  const description = JSON.stringify({ service: name, unit: 'money', kind: 'pay', rules: [] })
  return {
    ...{ kind: 'pay', id, text, unit: 'money', service: name, rule: 'money', validity: 0, description },
    quota: { size: most, min: 1n, max: most, target: 0 } as Program['quota'],
    ...{ buckets: [], afterRate: [], money: [], rate: undefined, counters: [], code: 0 },
  }
}

/** What of a program's text giving back needs. */
function pricedBy(
  text: string,
  periods: PreparedLines['counters'],
  subscriber: string,
): Pick<Debit, 'service' | 'rate' | 'tiers' | 'counters'> {
  const words = text.split(' ')
  const counters: DebitCounter[] = []
  for (const each of words[word.counters] === '-' ? [] : words[word.counters]!.split(';')) {
    const [name, what, , per] = each.split(',')
    const period = periods.find(known => known.name === name)
    if (period) counters.push({ name: `${name}.${per === 'a' ? '0' : subscriber}`, what: what!, period: period.start })
  }
  return { service: words[3]!, rate: words[word.rate]!, tiers: words[word.tiers]!, counters }
}

/** A debit of these units as it would be now, for peers that may refund without naming one. */
function atPriceOf(prepared: PreparedLines, i: number, subscriber: string): Debit | CreditOutcome {
  const { now, key, asked } = prepared.lines[i]!
  const { unit, code } = prepared.programs[i]!
  const kind = now.slice(0, now.indexOf(' '))
  if (kind === 'unrated' || asked === 'unsold')
    return { status: 'refused', how: 'new', lines: [{ line: key, is: 'unrated' }] }
  if (kind === 'deny') return { status: 'refused', how: 'new', lines: [{ line: key, is: 'denied', code }] }
  const priced = pricedBy(now, prepared.counters, subscriber)
  if (kind === 'pay' && priced.rate === '-')
    return noRefund('without the debit it names, nothing says what a unit is worth')
  return { id: undefined, unit, units: typeof asked === 'bigint' ? asked : 0n, ...priced, paid: '' }
}

/** Micros of all rates. */
function costOf(paid: readonly string[]): bigint {
  let cost = 0n
  for (const list of paid) {
    for (const each of list.split(',')) {
      const [payer, , micros] = each.split(':')
      if (payer === 'rate') cost += BigInt(micros!)
    }
  }
  return cost
}

const eventLine = (line: LineOutcome, refund: Buffer | undefined): EventLine[] =>
  'units' in line
    ? [{ line: line.line, unit: line.unit, units: line.units, free: line.is === 'free', terms: line.terms, refund }]
    : []

const askedLines = ({ lines }: CreditRequest, { programs }: PreparedLines): EventLine[] =>
  lines.map(({ key, requested }, i) => {
    const { unit } = programs[i]!
    return { line: key, unit, units: requested?.[unit] ?? 0n, free: false, terms: undefined, refund: undefined }
  })

const refundedLines = (lines: readonly RefundLine[]): EventLine[] =>
  lines.map(({ key, asked, debit }) => ({
    ...{ line: key, unit: debit.unit, units: asked === 'all' ? debit.units : asked },
    ...{ free: false, terms: undefined, refund: undefined },
  }))

/** The same account, whatever money it has. */
function withBoundlessMoney({ account, session }: ChargeState): ChargeState {
  const { funds = '' } = account
  const money = `money ${boundless} held 0 credit 0 debt 0`
  return {
    account: { ...account, funds: funds.replace(/money -?\d+ held \d+ credit \d+ debt \d+/, money) },
    session,
  }
}
