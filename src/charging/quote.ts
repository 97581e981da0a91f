/**
 * What described usage costs: it is played as a session through the same preparation and the same script that charge, on a copy of
 * the account, and nothing is written (semantics.md section 11, I6). The ledger entries that it would leave explain it.
 */
import type { Balance, ChargeOutcome, ChargeState, LineOutcome, Profile } from '../balance/balance.js'
import { readProfile } from '../balance/balance.js'
import { draftState } from '../balance/draft.js'
import { noExtras } from '../balance/extras.js'
import type { Clock } from '../clock.js'
import type { ChargingConfig } from '../config/config.js'
import { periodOf } from '../rating/calendar.js'
import type { Catalog, Service } from '../rating/catalog.js'
import { newBuckets } from '../rating/match.js'
import type { Program } from '../rating/program.js'
import { lineLimit, type Micros, type Millis } from '../units.js'
import type { LineRequest, RequestFacts, SplitAmount, UnitAmounts, UsedAmounts } from './charging.js'
import { readTerms } from '../rating/terms.js'
import { prepareLines, type LineProfile } from './lines.js'

/** Usage of one line in one session. */
export interface QuotedUse {
  /** Name in the catalog. */
  readonly service: string
  readonly ratingGroup: number | undefined
  readonly serviceIdentifiers: readonly number[]
  /** Units of the service, or micros. */
  readonly amount: bigint
  readonly at: Millis
  /** How long it takes, ms: time passes with time anyway. */
  readonly over: Millis
  readonly facts: RequestFacts
}

export interface QuoteResult {
  /** Of the last answer: `granted`, or the Result-Code of its refusal. */
  readonly result: string
  /** Units that were granted and used. */
  readonly used: bigint
  readonly cost: Micros
  /** What became debt. */
  readonly overrun: Micros
  /** Of the ledger, in order: JSON. */
  readonly entries: readonly string[]
  /** All that the entries name. */
  readonly programs: readonly Program[]
  /** Of the account afterwards. */
  readonly state: ChargeState
}

/** An account of one subscriber with nothing but these. */
export interface QuotedAccount {
  readonly offers: readonly string[]
  /** Absent: the catalog's. */
  readonly currency?: string
  readonly balance: Micros
  readonly creditLimit: Micros
  readonly attributes: ReadonlyMap<string, string>
  /** Absent: none. */
  readonly subscriberAttributes?: ReadonlyMap<string, string>
  /** Amounts instead of what the offers grant. */
  readonly buckets: ReadonlyMap<string, bigint>
  readonly counters: ReadonlyMap<string, bigint>
}

export class QuoteError extends Error {
  override readonly name = 'QuoteError'
}

/** Requests of one quoted session; a tariff that switches each minute of a month would need more. */
const mostRequests = 50_000
const quotePatienceMs = 5_000
/** Number of the one subscriber of a quoted account. */
export const quotedSubscriber = '1'

export class Quotes {
  constructor(
    private readonly balance: Balance,
    private readonly config: ChargingConfig,
    private readonly clock: Clock,
  ) {}

  /**
   * The state of an account that holds what its offers grant at a time.
   *
   * @throws QuoteError when they grant money that cannot be converted for it
   */
  stateOf(catalog: Catalog, account: QuotedAccount, at: Millis): ChargeState {
    const { currency = catalog.currency } = account
    const buckets = account.offers.flatMap(offer => {
      const granted = newBuckets(catalog, offer, at, currency) ?? []
      if ('refused' in granted) throw new QuoteError(`offer ${offer} grants money: ${granted.refused}`)
      return granted
    })
    return draftState({
      currency,
      money: account.balance,
      creditLimit: account.creditLimit,
      extras: {
        ...noExtras,
        attributes: Object.fromEntries(account.attributes),
        subscribers: { [quotedSubscriber]: Object.fromEntries(account.subscriberAttributes ?? []) },
      },
      offers: account.offers,
      since: at,
      buckets: buckets.map(bucket => ({
        ...bucket,
        amount: (account.buckets.get(bucket.name) ?? bucket.amount) as typeof bucket.amount,
      })),
      counters: [...account.counters].flatMap(([name, value]) => {
        const counter = catalog.counters.get(name)
        if (!counter) return []
        const { start } = periodOf(counter.reset, counter.timezone, at, at)
        const scope = counter.per === 'account' ? '0' : quotedSubscriber
        return [{ name, scope, value, period: Math.max(0, start) }]
      }),
    })
  }

  /**
   * Plays the usage as one session that asks for all that is left, uses what it gets, and reports at each switch of the tariff.
   *
   * @param account id that the entries show
   */
  async play(
    catalog: Catalog,
    account: string,
    subscriber: string,
    start: ChargeState,
    use: QuotedUse,
  ): Promise<QuoteResult> {
    const service = catalog.services.get(use.service)
    if (!service) throw new QuoteError(`the catalog has no service ${use.service}`)
    const deadline = this.clock.monotonic() + quotePatienceMs
    const state = await this.balance.quoteBucketEnds({ account: start.account, session: {} }, use.at, deadline)
    const session = new QuotedSession(this.balance, this.config, this.clock, catalog, service, use, {
      account,
      subscriber,
      state,
    })
    return session.play()
  }
}

interface QuotedAnswer {
  readonly granted: bigint
  readonly refusal: string | undefined
  readonly switchAt: Millis | undefined
  /** Seconds. */
  readonly validity: number
}

const second = 1_000

class QuotedSession {
  private readonly entries: string[] = []
  private readonly programs = new Map<string, Program>()
  private readonly profile: Profile
  private readonly id: string
  private state: ChargeState
  private number = 0
  private cost = 0n
  private overrun = 0n

  constructor(
    private readonly balance: Balance,
    private readonly config: ChargingConfig,
    private readonly clock: Clock,
    private readonly catalog: Catalog,
    private readonly service: Service,
    private readonly use: QuotedUse,
    private readonly whose: { readonly account: string; readonly subscriber: string; readonly state: ChargeState },
  ) {
    this.state = whose.state
    const { funds = '', currency = '', subscriptions = '', subscribers = '', extras = '' } = whose.state.account
    this.profile = readProfile(currency, funds.slice(funds.lastIndexOf(' ') + 1), subscriptions, subscribers, extras)
    this.id = `quote;${use.at}`
  }

  async play(): Promise<QuoteResult> {
    const { amount, at: start } = this.use
    let at = start
    let left = amount
    let used = 0n
    let result = 'granted'
    let answer = await this.request('I', at, 0n, left)
    for (let i = 0; i < mostRequests; i++) {
      const { granted, refusal, switchAt, validity } = answer
      if (refusal !== undefined) result = refusal
      if (granted === 0n || left === 0n) break
      // Up to the grant's end, and not past a switch (what comes then has its own price) or its validity.
      const most = granted < left ? granted : left
      const bound = Math.min(switchAt ?? Infinity, at + validity * second)
      const room = this.unitsUntil(at, bound)
      const count = room < most ? (room > 0n ? room : 1n) : most
      at += this.durationOf(count)
      if (room < most && at < bound) at = bound
      left -= count
      used += count
      answer = await this.request('U', at, count, left === 0n ? undefined : left)
    }
    // What was refused from the beginning has no session.
    if (used > 0n || answer.refusal === undefined) await this.request('T', at, 0n, undefined)
    const programs = [...this.programs.values()]
    return {
      result,
      used,
      cost: this.cost as Micros,
      overrun: this.overrun as Micros,
      entries: this.entries,
      programs,
      state: this.state,
    }
  }

  /** How many units are used in a stretch of time. */
  private unitsUntil(from: Millis, until: Millis): bigint {
    const ms = BigInt(Math.max(0, until - from))
    if (this.service.unit === 'seconds') return ms / 1000n
    if (this.use.over === 0) return this.use.amount
    return (this.use.amount * ms) / BigInt(this.use.over)
  }

  private durationOf(units: bigint): Millis {
    if (this.service.unit === 'seconds') return Number(units) * 1000
    return this.use.over === 0 ? 0 : Number((units * BigInt(this.use.over)) / this.use.amount)
  }

  private async request(
    type: 'I' | 'U' | 'T',
    at: Millis,
    used: bigint,
    asked: bigint | undefined,
  ): Promise<QuotedAnswer> {
    const { balance, config, catalog, service, use, whose, profile } = this
    const { unit } = service
    const none: UnitAmounts & UsedAmounts = {
      octets: undefined,
      seconds: undefined,
      events: undefined,
      money: undefined,
    }
    // Usage is cut at switches: what is reported belongs before the one of its grant.
    const split: SplitAmount = { unsplit: 0n, before: used, after: 0n, indeterminate: 0n }
    const line: LineRequest = {
      key:
        String(use.ratingGroup ?? '-') + (use.serviceIdentifiers.length > 0 ? `/${use.serviceIdentifiers.join()}` : ''),
      ratingGroup: use.ratingGroup,
      serviceIdentifiers: use.serviceIdentifiers,
      requested: asked === undefined ? undefined : { ...none, [unit]: asked },
      used: { ...none, [unit]: split },
      currency: undefined,
      threshold: false,
    }
    const { facts } = use
    const context = { catalog, service, profile, subscriber: whose.subscriber, facts, at, silence: config.silence }
    const prepared = prepareLines(context, type === 'T' ? [] : [line], quoteProfile)
    for (const program of prepared.named) this.programs.set(program.id, program)
    const quote = await balance.quote(
      {
        type,
        number: this.number++,
        content: '0',
        sessionId: this.id,
        account: whose.account,
        subscriber: whose.subscriber,
        rev: profile.rev,
        currency: profile.currency,
        at,
        now: at,
        deadline: Date.now() + quotePatienceMs,
        deadlineMonotonic: this.clock.monotonic() + quotePatienceMs,
        cause: `"kind":"quote","number":${this.number - 1},"service":"${service.name}","catalog":"${catalog.version}"`,
        ...{ originHost: 'quote', originRealm: 'quote', via: 'quote', service: 'quote' },
        lines: prepared.lines.map(each => ({ ...each, now: unbounded(each.now, service) })),
        counters: prepared.counters,
        lowBalance: catalog.lowBalance,
        searchEnded: false,
      },
      this.state,
    )
    if (quote.entry !== undefined) this.entries.push(quote.entry)
    this.state = quote.state
    return this.read(quote.outcome)
  }

  private read(outcome: ChargeOutcome): QuotedAnswer {
    const refused = (refusal: string | undefined): QuotedAnswer => ({
      granted: 0n,
      refusal,
      switchAt: undefined,
      validity: 0,
    })
    if (outcome.status === 'too_large') throw new QuoteError('this is more than one line may carry')
    if (outcome.status !== 'answered') throw new QuoteError(`the quote was not answered: ${outcome.status}`)
    const { answer } = outcome
    this.cost += answer.cost
    this.overrun += answer.overrun
    if (answer.outcome === 'barred') return refused('4010')
    if (answer.outcome === 'terminated') return refused('5030')
    const line = answer.lines[0]
    if (!line) return refused(undefined)
    if (line.is === 'granted' || line.is === 'free') {
      const { units: granted, terms, switchAt } = line
      return { granted, refusal: undefined, switchAt, validity: readTerms(terms).validity }
    }
    return refused(refusalOf(line))
  }
}

/** Whoever asks here is told of switches, and may ask for any amount. */
const quoteProfile: LineProfile = { requestedUnits: 'bound', tariffSwitch: 'announce' }

const refusalOf = (line: LineOutcome): string | undefined => {
  switch (line.is) {
    case 'denied':
      return String(line.code)
    case 'exhausted':
    case 'restricted':
      return '4012'
    case 'unrated':
      return '5031'
    default:
      return undefined
  }
}

/** The program with a quota as large as a line: how large grants are does not change what is charged. */
function unbounded(text: string, { unit }: Service): string {
  const words = text.split(' ')
  words[7] = `${lineLimit[unit]},1,${lineLimit[unit]},0`
  return words.join(' ')
}
