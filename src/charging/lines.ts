/**
 * From what a request says of its lines to what the charging script needs of them: each line's program, the one after a tariff
 * switch, and the periods of the counters that they name (design.md section 5, semantics.md section 8). Charges and quotes both come
 * through here.
 */
import type { ChargeLine, CounterPeriod, Profile, UsedUnits } from '../balance/balance.js'
import { limitOf } from '../balance/extras.js'
import { hash32 } from '../balance/keys.js'
import type { PeerProfile } from '../config/config.js'
import { currencyNumber } from '../currency.js'
import { periodOf, type Period } from '../rating/calendar.js'
import type { Catalog, Counter, Match, Service } from '../rating/catalog.js'
import { programFor, type LineFacts, type RateOverride, type Subject } from '../rating/match.js'
import type { Program } from '../rating/program.js'
import type { Micros, Millis } from '../units.js'
import type { LineRequest, RequestFacts, UnitAmounts } from './charging.js'

/** Whose request it is, and when. */
export interface LineContext {
  readonly catalog: Catalog
  readonly service: Service
  readonly profile: Profile
  /** Number of the subscriber in the account. */
  readonly subscriber: string
  readonly facts: RequestFacts
  /** Business time of the request. */
  readonly at: Millis
  /** A hold lives so many times its Validity-Time. */
  readonly silence: number
}

export interface PreparedLines {
  readonly lines: readonly ChargeLine[]
  /** What applies now, one a line; with the one after a switch. */
  readonly programs: readonly Program[]
  /** All that are named, to be described for the ledger's readers. */
  readonly named: readonly Program[]
  readonly counters: readonly CounterPeriod[]
}

const nothingUsed: UsedUnits = { unsplit: 0n, before: 0n, after: 0n, indeterminate: 0n }

/** What of the peer's profile changes lines. */
export type LineProfile = Pick<PeerProfile, 'requestedUnits' | 'tariffSwitch'>

export function prepareLines(
  context: LineContext,
  requested: readonly LineRequest[],
  { requestedUnits, tariffSwitch }: LineProfile,
): PreparedLines {
  const bounded = requestedUnits === 'bound'
  const { profile, subscriber } = context
  const subject = subjectOf(profile, subscriber)
  const lines: ChargeLine[] = []
  const programs: Program[] = []
  const named: Program[] = []
  for (const line of requested) {
    const match = matchOf(context, subject, line, context.at)
    const { program } = match
    const { unit } = program
    const foreign = line.currency !== undefined && line.currency !== currencyNumber(profile.currency)
    const asked = line.requested?.[unit]
    const unservable = line.requested !== undefined && (foreign || (asked === undefined && asksOther(line.requested)))
    const used = foreign && unit === 'money' ? nothingUsed : (line.used[unit] ?? nothingUsed)
    const change = line.requested !== undefined && !unservable ? nextOf(context, subject, line, match) : undefined
    // Who knows no tariff switch reports before it.
    const next = tariffSwitch === 'announce' ? change : undefined
    const life = next === change ? undefined : lifeUntil(change!.at, context.at, program.validity, line.key)
    const prev = used.unsplit > 0n && unit === 'seconds' ? prevOf(context, subject, line, match, used) : undefined
    lines.push({
      key: line.key,
      used,
      // RFC 8506 section 8.18: such units cannot be granted. What is reported is by the rule all the same.
      asked: unservable
        ? 'unsold'
        : line.requested && (!bounded || asked === undefined || asked === 0n ? 'any' : asked),
      threshold: line.threshold,
      now: program.text,
      next: next && { at: next.at, program: next.program.text },
      prev: prev && { at: prev.at, program: prev.program.text },
      life,
      facts: match.facts,
    })
    programs.push(program)
    named.push(program)
    if (next) named.push(next.program)
    if (prev) named.push(prev.program)
  }
  return { lines, programs, named, counters: countersOf(context, subject, named) }
}

/** Seconds before a switch in which those who are to report before it do so, that not all of them do at once. */
const spreadSeconds = 60

/** Validity-Time that ends at a switch or up to `spreadSeconds` before it (3GPP TS 32.299 section 6.3.7.2); the same for the same request. */
function lifeUntil(switchAt: Millis, at: Millis, validity: number, key: string): number | undefined {
  const left = Math.floor((switchAt - at) / 1000)
  const spread = Math.min(spreadSeconds, Math.floor(left / 10))
  const life = Math.max(1, left - (hash32(`${at} ${key}`) % (spread + 1)))
  return life < validity ? life : undefined
}

interface TimedMatch {
  readonly at: Millis
  readonly program: Program
}

/** The switch that a grant given now can outlive, if there is one: another program, or a counter that begins again. */
function nextOf(context: LineContext, subject: KnownSubject, line: LineRequest, now: Match): TimedMatch | undefined {
  const { program } = now
  if (program.kind !== 'pay' && program.kind !== 'free') return undefined
  const horizon = context.at + context.silence * program.validity * 1000
  const reset = Math.min(...program.counters.map(name => priceOfCounter(context, subject, name)))
  for (let match = now; match.until <= Math.min(horizon, reset);) {
    const at = match.until
    match = matchOf(context, subject, line, at)
    if (match.program.id === program.id && at !== reset) continue
    // What is refused from then on is refused at the next request.
    return match.program.kind === 'pay' || match.program.kind === 'free' ? { at, program: match.program } : undefined
  }
  return reset <= horizon ? { at: reset, program } : undefined
}

/** What applied before, for usage that began before the present program or period did. */
function prevOf(
  context: LineContext,
  subject: KnownSubject,
  line: LineRequest,
  now: Match,
  used: UsedUnits,
): TimedMatch | undefined {
  const began = context.at - Number(used.unsplit) * 1000
  const starts = now.program.counters.map(name => periodIn(context, subject, name, context.at)?.start ?? -Infinity)
  const since = Math.max(now.since, ...starts)
  if (since <= began) return undefined
  return { at: since, program: matchOf(context, subject, line, since - 1).program }
}

/** When the counter begins again, if that can change a price or a bound. */
function priceOfCounter(context: LineContext, subject: KnownSubject, name: string): Millis {
  const counter = context.catalog.counters.get(name)
  if (!counter || (!counter.tiers && (counter.limit === undefined || counter.then === 'tell'))) return Infinity
  return periodIn(context, subject, name, context.at)?.end ?? Infinity
}

function matchOf({ catalog, service, facts }: LineContext, subject: Subject, line: LineRequest, at: Millis): Match {
  const known: LineFacts = {
    ratingGroup: line.ratingGroup,
    serviceIdentifiers: line.serviceIdentifiers,
    plmn: facts.plmn,
    called: facts.called,
    apn: facts.apn,
    rat: facts.rat,
    direction: facts.direction,
    message: facts.message,
  }
  return programFor(catalog, subject, service, known, at)
}

function countersOf(context: LineContext, subject: KnownSubject, programs: readonly Program[]): CounterPeriod[] {
  if (programs.every(({ counters }) => counters.length === 0)) return []
  const { catalog, profile, subscriber, at } = context
  const periods: CounterPeriod[] = []
  for (const name of new Set(programs.flatMap(({ counters }) => counters))) {
    const counter = catalog.counters.get(name)
    const period = periodIn(context, subject, name, at)
    if (!counter || !period) continue
    const scope = counter.per === 'account' ? '0' : subscriber
    periods.push({ name, ...period, limit: limitOf(profile.extras, name, scope, at) })
  }
  return periods
}

function periodIn({ catalog }: LineContext, subject: KnownSubject, name: string, at: Millis): Period | undefined {
  const counter = catalog.counters.get(name)
  if (!counter) return undefined
  const known = subject.periods.get(counter)
  if (known && known.start <= at && at < known.end) return known
  const activation = counter.per === 'account' ? subject.accountActivation : subject.activation
  const { start, end } = periodOf(counter.reset, counter.timezone, activation, at)
  const period = { start: Math.max(0, start), end }
  subject.periods.set(counter, period)
  return period
}

/** What rating knows of a subscriber, and what was worked out of it. */
interface KnownSubject extends Subject {
  /** When its oldest subscription began, and the account's. */
  readonly activation: Millis
  readonly accountActivation: Millis
  readonly periods: Map<Counter, Period>
}

const subjects = new WeakMap<Profile, Map<string, KnownSubject>>()

/** The same object for the same profile: rating remembers by it. */
function subjectOf(profile: Profile, number: string): KnownSubject {
  let byNumber = subjects.get(profile)
  if (!byNumber) subjects.set(profile, (byNumber = new Map<string, KnownSubject>()))
  let subject = byNumber.get(number)
  if (!subject) {
    const { subscriptions, extras } = profile
    const own = subscriptions.filter(({ subscriber }) => subscriber === number || subscriber === '0')
    const served = own.filter(({ paused }) => !paused)
    const oldest = (list: readonly { readonly since: Millis }[]): Millis =>
      list.reduce((least, { since }) => Math.min(least, since), Infinity)
    const accountActivation = oldest(subscriptions)
    const activation = oldest(own)
    subject = {
      subscriptions: served,
      account: new Map(Object.entries(extras.attributes)),
      subscriber: new Map(Object.entries(extras.subscribers[number] ?? {})),
      overrides: rateOverrides(profile),
      currency: profile.currency,
      activation: activation === Infinity ? 0 : activation,
      accountActivation: accountActivation === Infinity ? 0 : accountActivation,
      periods: new Map(),
    }
    byNumber.set(number, subject)
  }
  return subject
}

function rateOverrides({ extras }: Profile): RateOverride[] {
  const overrides: RateOverride[] = []
  for (const { kind, target, value, from, until } of extras.overrides) {
    if (kind === 'price') overrides.push({ rate: target, price: BigInt(value) as Micros, from, until })
    else if (kind === 'rate') overrides.push({ rate: target, instead: value, from, until })
  }
  return overrides
}

const asksOther = ({ octets, seconds, events, money }: UnitAmounts): boolean =>
  octets !== undefined || seconds !== undefined || events !== undefined || money !== undefined
