/**
 * One CCR, one call: lua/charge.lua decides what is booked, held and granted. This file names its arguments and reads its answer.
 */
import type { Clock } from '../clock.js'
import type { ChargingConfig } from '../config/config.js'
import type { Micros, Millis, UnitType, Units } from '../units.js'
import { readExtras } from './extras.js'
import { accountKey, censusKey, dueKey, endedKey, journalKey, partitionOf, sessionKey, shortName } from './keys.js'
import { StoreDefectError, type Store } from './store.js'
import type { Extras } from './types.js'

/** What each call of a request says: its name, whose it is, when, from where, and until when it is worked on. */
export interface RequestHead {
  readonly number: number
  /** What the request asks and reports, hashed: a repeat with other content is told apart. */
  readonly content: string
  readonly sessionId: string
  readonly account: string
  readonly subscriber: string
  readonly currency: string
  /** Business time of the request, and of the daemon. */
  readonly at: Millis
  readonly now: Millis
  /** When nothing may be newly held any more: `Date.now()` ms, and the same moment on the monotonic clock. */
  readonly deadline: Millis
  readonly deadlineMonotonic: number
  /** JSON members for the ledger entry. */
  readonly cause: string
  readonly originHost: string
  readonly originRealm: string
  /** Origin-Host of the peer that it came over. */
  readonly via: string
  /** What a session is of, without spaces: all its requests say the same. */
  readonly service: string
}

export interface ChargeRequest extends RequestHead {
  /** `E`: an event; its lines ask for exactly so many units, which are debited at once, all of them or none. */
  readonly type: 'I' | 'U' | 'T' | 'E'
  /** Of the profile that the programs were compiled for. */
  readonly rev: string
  /** Open sessions that the account may have; undefined: any number. */
  readonly mostSessions?: number | undefined
  /** What a session that has ended reports: charged (the default), or only written to the ledger. */
  readonly lateUsage?: 'charge' | 'record' | undefined
  /** The subscriber is not served: what was used is charged, nothing is granted, a session ends. */
  readonly barred?: boolean | undefined
  readonly lines: readonly ChargeLine[]
  /** Of the counters that the lines' programs name: the period of `at`, and the account's own limit. */
  readonly counters: readonly CounterPeriod[]
  /** Levels of `main` whose crossing leaves an event. */
  readonly lowBalance: readonly Micros[]
  /** Look for the session among those that ended up to a day ago, too. */
  readonly searchEnded: boolean
}

export interface ChargeLine {
  readonly key: string
  readonly used: UsedUnits
  /** `any`: without bound; `unsold`: units that it is not sold in; undefined: nothing is asked for. */
  readonly asked: bigint | 'any' | 'unsold' | undefined
  readonly threshold: boolean
  /** Text of the charging program that applies now. */
  readonly now: string
  /** The one from a time on that a grant given now can outlive. */
  readonly next?: TimedProgram | undefined
  /** The one that applied before a time, for seconds without a grant that reach back. */
  readonly prev?: TimedProgram | undefined
  /** Validity-Time of a grant instead of the program's, seconds. */
  readonly life?: number | undefined
  /** JSON members for the ledger, or ''. */
  readonly facts: string
}

/** What was used around a tariff switch: before, after, nobody knows; or without saying so. */
export interface UsedUnits {
  readonly unsplit: bigint
  readonly before: bigint
  readonly after: bigint
  readonly indeterminate: bigint
}

export interface TimedProgram {
  readonly at: Millis
  readonly program: string
}

export interface CounterPeriod {
  readonly name: string
  readonly start: Millis
  /** Infinity: it never ends. */
  readonly end: Millis
  /** `default`: as the program says; undefined: none. */
  readonly limit: bigint | 'default' | undefined
}

/** Fields of an account and of a session to charge without a store. */
export interface ChargeState {
  readonly account: Readonly<Record<string, string>>
  readonly session: Readonly<Record<string, string>>
}

export interface Quote {
  readonly outcome: ChargeOutcome
  /** The ledger entry that the charge would leave; undefined when it was refused without one. */
  readonly entry: string | undefined
  /** The fields as they would be. */
  readonly state: ChargeState
}

/** What became of one line. `denied` names its Result-Code. */
export type LineOutcome =
  | {
      readonly line: string
      readonly is: 'granted' | 'free'
      readonly units: Units
      readonly final: boolean
      /** What it was given with. */
      readonly unit: UnitType
      readonly terms: string
      /** Another price may hold from then on, within the grant. */
      readonly switchAt?: Millis | undefined
    }
  /** `restricted`, `waiting`: nothing is granted, and final units redirect or restrict; asked for more, or not. */
  | {
      readonly line: string
      readonly is: 'exhausted' | 'restricted' | 'waiting'
      readonly unit: UnitType
      readonly terms: string
    }
  | { readonly line: string; readonly is: 'denied'; readonly code: number }
  | { readonly line: string; readonly is: 'unrated' | 'booked' }

export interface ChargeAnswer {
  /** `reordered`: not the number after the last. `again`: the first answer. `old`: a repeat whose answer is no longer kept. */
  readonly how: 'new' | 'reordered' | 'again' | 'mismatch' | 'old'
  /** `ended`: the session has ended, its usage is charged late. `reported`: past the deadline, booked but nothing granted. */
  readonly outcome: 'ok' | 'refused' | 'barred' | 'terminated' | 'ended' | 'reported'
  /** Of this request; `overrun` is the part that nothing paid. */
  readonly cost: Micros
  readonly overrun: Micros
  /** Of the session so far. */
  readonly charged: Micros
  /** Of main after the request, what is held included, less debt; undefined: not kept with an old answer. */
  readonly balance: Micros | undefined
  readonly lines: readonly LineOutcome[]
  /** Of an event: by line, what paid it, in the ledger's words. */
  readonly paid: readonly string[]
}

export type ChargeOutcome =
  | { readonly status: 'answered'; readonly answer: ChargeAnswer }
  | { readonly status: 'moved'; readonly profile: Profile }
  | { readonly status: 'other_account'; readonly account: string }
  | {
      readonly status:
        | 'unknown_session'
        | 'other_subscriber'
        | 'no_account'
        | 'expired'
        | 'too_many_sessions'
        | 'session_open'
        | 'other_service'
    }
  | { readonly status: 'too_large'; readonly line: string }

/** What rating must know of an account; `rev` changes with it, and charge.lua compares. */
export interface Profile {
  readonly currency: string
  readonly rev: string
  readonly subscriptions: readonly ProfileSubscription[]
  /** Subscriber number → its identities as `type:value`. */
  readonly subscribers: ReadonlyMap<string, readonly string[]>
  /** Subscriber number → identities that it had when sessions were opened that may still be open. */
  readonly former: ReadonlyMap<string, readonly string[]>
  /** Numbers of subscribers that have left the account, and how. */
  readonly departed: ReadonlyMap<string, Departure>
  /** Attributes, overrides, opt-ins. */
  readonly extras: Extras
}

/** `moved`: to another account, where it has another number. */
export type Departure =
  { readonly how: 'removed' } | { readonly how: 'moved'; readonly account: string; readonly number: string }

export interface ProfileSubscription {
  readonly id: string
  readonly offer: string
  readonly since: Millis
  /** Number of the subscriber it belongs to; `0`: all of the account. */
  readonly subscriber: string
  /** Its rules do not hold: its fee is not paid. */
  readonly paused?: true | undefined
}

const hourMs = 3_600_000

export class Balance {
  private readonly times: string

  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly config: ChargingConfig,
    readonly clock: Clock,
  ) {
    this.times = `${config.silence} ${config.defaultValidityMs} ${config.keepClosedMs} ${config.keepMarkMs}`
  }

  /**
   * Books what the lines used and holds what they ask for, all or nothing. Safe to repeat: the same number gets its first answer.
   *
   * @throws BalanceUnavailableError when the store did not answer in time; StoreDefectError when we or its data are wrong
   */
  async charge(request: ChargeRequest): Promise<ChargeOutcome> {
    const { keys, args } = this.argumentsOf(request, '')
    const reply = await this.store.call('charge', request.deadlineMonotonic, redis =>
      request.searchEnded ? redis.chargeEnded(keys, ...args) : redis.charge(...args),
    )
    return readOutcome(reply)
  }

  /**
   * What `charge` would do, by the same script, with nothing written: on the store's account, or on a state that is given.
   *
   * @throws BalanceUnavailableError, StoreDefectError as `charge`
   */
  async quote(request: ChargeRequest, given?: ChargeState): Promise<Quote> {
    const { args } = this.argumentsOf({ ...request, searchEnded: false }, given ? JSON.stringify(given) : 'dry')
    const reply = await this.store.call('quote', request.deadlineMonotonic, redis => redis.charge(...args))
    const before = given ?? { account: {}, session: {} }
    if (!reply.startsWith('dry ')) return { outcome: readOutcome(reply), entry: undefined, state: before }
    const changed = JSON.parse(reply.slice('dry '.length)) as {
      readonly reply: string
      readonly entry: string
      readonly account: Record<string, string>
      readonly session: Record<string, string>
    }
    return {
      outcome: readOutcome(changed.reply),
      entry: changed.entry,
      state: {
        account: { ...before.account, ...changed.account },
        session: { ...before.session, ...changed.session },
      },
    }
  }

  /** A given account at a time: its buckets that have ended are expired or rolled over, by the script that does so in the store. */
  async quoteBucketEnds(given: ChargeState, at: Millis, deadline: number): Promise<ChargeState> {
    let { account } = given
    for (;;) {
      const due = endedBuckets(account, at)[0]
      if (due === undefined) return { ...given, account }
      const dry = JSON.stringify({ account })
      const reply = await this.store.call('quote', deadline, redis =>
        redis.expireBucket(
          accountKey(0, 'quote'),
          dueKey(0),
          journalKey(0),
          censusKey(0),
          ...[String(at), '0', 'quote', due, '', dry],
        ),
      )
      const changed = JSON.parse(reply.slice('dry '.length)) as {
        readonly account: Record<string, string>
        readonly removed: string
      }
      const fields = Object.entries({ ...account, ...changed.account })
      account = Object.fromEntries(fields.filter(([field]) => field !== changed.removed))
    }
  }

  /** Keys and arguments as charge.lua names them. */
  private argumentsOf(request: ChargeRequest, dry: string): { keys: number; args: string[] } {
    const { account, sessionId, now } = request
    const partition = partitionOf(account, this.partitions)
    const hour = Math.floor(now / hourMs)
    const args = [
      accountKey(partition, account),
      sessionKey(partition, sessionId),
      dueKey(partition),
      journalKey(partition),
      endedKey(partition, hour),
    ]
    if (request.searchEnded) {
      for (let back = 1; back <= Math.ceil(this.config.keepMarkMs / hourMs); back++)
        args.push(endedKey(partition, hour - back))
    }
    const keys = args.length
    args.push(
      `${request.type} ${request.number} ${request.content} ${this.store.storeTime(request.deadline)} ${request.at} ${now} ` +
        `${account} ${request.subscriber} ${request.rev} ${request.currency} ${shortName(sessionId)} ${request.mostSessions ?? (request.lateUsage === 'record' ? 'record' : '-')}${request.barred ? ',barred' : ''}`,
      sessionId,
      request.cause,
      `${this.times} ${request.lowBalance.length === 0 ? '-' : request.lowBalance.join('.')}`,
      `${request.originHost} ${request.originRealm} ${request.via} ${request.service}`,
      request.counters.map(periodText).join(';'),
      dry,
    )
    for (const line of request.lines) args.push(lineText(line))
    return { keys, args }
  }

  /** The fields of an account, to quote on a copy of it; undefined when there is no such account. */
  async stateOf(account: string, deadline: number): Promise<ChargeState | undefined> {
    const key = accountKey(partitionOf(account, this.partitions), account)
    const fields = await this.store.call('account', deadline, redis => redis.hgetall(key))
    return fields['funds'] === undefined ? undefined : { account: fields, session: {} }
  }

  /** The profile of an account, for a first request; undefined when there is no such account. */
  async profile(account: string, deadline: number): Promise<Profile | undefined> {
    const key = accountKey(partitionOf(account, this.partitions), account)
    const [funds, currency, subscriptions, subscribers, extras] = await this.store.call('profile', deadline, redis =>
      redis.hmget(key, 'funds', 'currency', 'subscriptions', 'subscribers', 'extras'),
    )
    if (funds == null) return undefined
    const rev = funds.slice(funds.lastIndexOf(' ') + 1)
    return readProfile(currency ?? '', rev, subscriptions ?? '', subscribers ?? '', extras ?? '')
  }
}

/** Ids of buckets that have ended with something free in them or nothing at all, the earliest first. */
function endedBuckets(account: Readonly<Record<string, string>>, at: Millis): string[] {
  const ended: { id: string; until: number }[] = []
  for (const [field, line] of Object.entries(account)) {
    if (!field.startsWith('bucket:')) continue
    const [, left, held, until] = / left (\d+) held (\d+) until (\d+) /.exec(line)!.map(Number)
    const done = left === held && left !== 0
    if (until! > 0 && until! <= at && !done) ended.push({ id: field.slice('bucket:'.length), until: until! })
  }
  return ended.sort((a, b) => a.until - b.until).map(({ id }) => id)
}

/** Far enough for the script, whose numbers end before infinity. */
const never = 9_007_199_254_740_991

const periodText = ({ name, start, end, limit }: CounterPeriod): string =>
  `${name} ${start} ${end === Infinity ? never : end} ${limit === 'default' ? '=' : (limit ?? '-')}`

const askedWord = (asked: ChargeLine['asked']): string =>
  asked === 'any' ? '*' : asked === 'unsold' ? '?' : asked === undefined ? '-' : String(asked)

function lineText({ key, used, asked, threshold, now, next, prev, life, facts }: ChargeLine): string {
  const { unsplit, before, after, indeterminate } = used
  const split = before !== 0n || after !== 0n || indeterminate !== 0n
  const amount = split ? `${unsplit},${before},${after},${indeterminate}` : String(unsplit)
  let text = `${key} ${amount} ${askedWord(asked)} ${threshold ? 'threshold' : '-'}\nnow ${now}`
  if (next) text += `\nnext ${next.at} ${next.program}`
  if (prev) text += `\nprev ${prev.at} ${prev.program}`
  if (life !== undefined) text += `\nlife ${life}`
  if (facts !== '') text += `\nfacts ${facts}`
  return text
}

/** charge.lua's reply. */
export function readOutcome(reply: string): ChargeOutcome {
  const space = reply.indexOf(' ')
  const word = space < 0 ? reply : reply.slice(0, space)
  const rest = space < 0 ? '' : reply.slice(space + 1)
  switch (word) {
    case 'new':
    case 'reordered':
    case 'again':
    case 'mismatch':
    case 'old':
      return { status: 'answered', answer: readAnswer(word, rest) }
    case 'moved': {
      const [, currency, rev, subscriptions, subscribers, extras] = /^(\S+) (\S+) ([^|]*)\|([^|]*)\|(.*)$/s.exec(rest)!
      return { status: 'moved', profile: readProfile(currency!, rev!, subscriptions!, subscribers!, extras!) }
    }
    case 'other_account':
      return { status: 'other_account', account: rest }
    case 'too_large':
      return { status: 'too_large', line: rest }
    case 'unknown_session':
    case 'other_subscriber':
    case 'no_account':
    case 'expired':
    case 'too_many_sessions':
    case 'session_open':
    case 'other_service':
      return { status: word }
    default:
      throw new StoreDefectError(`charge: ${reply}`)
  }
}

function readAnswer(how: ChargeAnswer['how'], text: string): ChargeAnswer {
  const [cost, overrun, outcome, charged, balance, lines = '', paid = ''] = text.split(' ') as [
    string,
    string,
    ChargeAnswer['outcome'],
    string,
    string,
    string?,
    string?,
  ]
  return {
    how,
    outcome,
    cost: BigInt(cost) as Micros,
    overrun: BigInt(overrun) as Micros,
    charged: BigInt(charged) as Micros,
    balance: balance === '-' ? undefined : (BigInt(balance) as Micros),
    paid: paid === '' ? [] : paid.split(';'),
    lines: lines === '' ? [] : lines.split(';').map(readLine),
  }
}

function readLine(text: string): LineOutcome {
  const equals = text.indexOf('=')
  const line = text.slice(0, equals)
  const [is, units, final, switchAt, unit, ...terms] = text.slice(equals + 1).split(',')
  switch (is) {
    case 'granted':
    case 'free':
      return {
        line,
        is,
        units: BigInt(units!) as Units,
        final: final === '1',
        unit: unit as UnitType,
        terms: terms.join(','),
        switchAt: switchAt === '0' ? undefined : Number(switchAt),
      }
    case 'exhausted':
    case 'restricted':
    case 'waiting':
      return { line, is, unit: unit as UnitType, terms: terms.join(',') }
    case 'denied':
      return { line, is, code: Number(units) }
    case 'unrated':
    case 'booked':
      return { line, is }
    default:
      throw new StoreDefectError(`charge: ${text}`)
  }
}

/** A profile from its fields. */
export function readProfile(
  currency: string,
  rev: string,
  subscriptions: string,
  subscribers: string,
  extras: string,
): Profile {
  return {
    currency,
    rev,
    subscriptions: words(subscriptions).map(([id, offer, since, subscriber, paused]) => ({
      id: id!,
      offer: offer!,
      since: Number(since),
      subscriber: subscriber!,
      ...(paused === 'paused' && { paused: true as const }),
    })),
    ...readSubscribers(subscribers),
    extras: readExtras(extras),
  }
}

/** The field `subscribers` of an account, lua/include/account-lines.lua. */
export function readSubscribers(text: string): Pick<Profile, 'subscribers' | 'former' | 'departed'> {
  const subscribers = new Map<string, readonly string[]>()
  const former = new Map<string, readonly string[]>()
  const departed = new Map<string, Departure>()
  for (const [id, ...all] of words(text)) {
    const [first = ''] = all
    if (first === 'removed') departed.set(id!, { how: 'removed' })
    else if (first.startsWith(movedTo)) {
      const [account, number] = first.slice(movedTo.length).split(':')
      departed.set(id!, { how: 'moved', account: account!, number: number! })
    } else {
      subscribers.set(
        id!,
        all.filter(word => !word.startsWith(was)),
      )
      const before = all.filter(word => word.startsWith(was)).map(word => word.slice(was.length))
      if (before.length > 0) former.set(id!, before)
    }
  }
  return { subscribers, former, departed }
}

/** As `readSubscribers` reads it. */
export const writeSubscribers = ({
  subscribers,
  former,
  departed,
}: Pick<Profile, 'subscribers' | 'former' | 'departed'>): string =>
  [
    ...Array.from(subscribers, ([id, identities]) => ({
      id,
      all: [...identities, ...(former.get(id) ?? []).map(each => was + each)],
    })),
    ...Array.from(departed, ([id, departure]) => ({
      id,
      all: [departure.how === 'removed' ? 'removed' : `${movedTo}${departure.account}:${departure.number}`],
    })),
  ]
    .sort((a, b) => Number(a.id) - Number(b.id))
    .map(({ id, all }) => `${id} ${all.join(' ')}`)
    .join(';')

const was = 'was:'
const movedTo = 'moved:'

const words = (text: string): string[][] => (text === '' ? [] : text.split(';').map(part => part.split(' ')))
