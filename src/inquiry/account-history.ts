/**
 * What happened to an account: every entry of its ledger with balances before and after (scope S50), and the same told for care, a row a
 * session, a refusal, a recharge (scope S52). Both go page by page along the entries' numbers and look at a bounded number of them.
 */
import { shortName } from '../balance/keys.js'
import type { Programs } from '../balance/programs.js'
import type { Account, Accounts } from '../balance/types.js'
import type { Clock } from '../clock.js'
import type { AccountEntries, AccountEntry, Place } from '../ledger/account-entries.js'
import { formatAmount, formatMoney, unitTypes, type Millis, type UnitType } from '../units.js'
import { causesOf, moves, movesOf, sentenceOf, type Cause, type Move } from './entry-words.js'
import { explainEntry, type BalanceMove, type Explanation, type LedgerEntry } from './explanation.js'

export interface HistoryQuery {
  /** Kinds of rows; undefined: all. */
  readonly kinds?: readonly string[] | undefined
  /** Business time, [from, until). */
  readonly from?: Millis | undefined
  readonly until?: Millis | undefined
  readonly session?: string | undefined
  readonly limit: number
}

export interface LedgerQuery extends HistoryQuery {
  readonly order: 'newest' | 'oldest'
  readonly after?: Place | undefined
  readonly reference?: string | undefined
  /** `main`, `debt`, or id or name of a bucket. */
  readonly balance?: string | undefined
}

export interface TimelineQuery extends HistoryQuery {
  /** Rows of others are left out. */
  readonly subscriber?: string | undefined
  readonly after?: TimelinePlace | undefined
}

export interface TimelinePlace extends Place {
  /** Sessions that are told already, though they go on beyond this place. */
  readonly told: readonly string[]
}

export interface LedgerRow {
  readonly sequence: number
  readonly at: string
  readonly kind: string
  /** What it did with money and units. */
  readonly moves: readonly Move[]
  readonly what: string
  readonly balances: readonly BalanceMove[]
  /** Where it came from or went to. */
  readonly against: readonly { readonly name: string; readonly unit: string; readonly amount: number }[]
  /** What of `main` is held after it. */
  readonly held: string
  readonly subscriber: string | null
  readonly service: string | null
  readonly correlation: Correlation
  /** Version of the catalog that it was rated by, or that was in force. */
  readonly catalog: string | null
  readonly refusals: readonly Cause[]
}

/** What the entry belongs to, as far as it says so. */
export interface Correlation {
  readonly session?: string
  /** CC-Request-Number. */
  readonly request?: number
  readonly host?: string
  readonly [member: string]: string | number | undefined
}

/** Numbers of entries that are not at hand here, both included. */
export interface Missing {
  readonly from: number
  readonly to: number
}

export interface HistoryPage<Row, At> {
  readonly items: readonly Row[]
  readonly next: At | undefined
  /** Among the entries that this page went along. */
  readonly missing: readonly Missing[]
}

export const timelineKinds = [
  ...['session', 'event', 'refusal', 'recharge', 'purchase', 'renewal', 'status', 'notification', 'expiry', 'adjustment'],
  ...['transfer', 'change'],
] as const // prettier-ignore
export type TimelineKind = (typeof timelineKinds)[number]

export interface TimelineRow {
  readonly at: string
  readonly kind: TimelineKind
  readonly what: string
  readonly sequence: number
  readonly subscriber: string | null
  readonly service: string | null
  readonly catalog: string | null
  readonly correlation: Correlation
  /** Of a refusal. */
  readonly cause?: Cause
  /** Of a session. */
  readonly session?: SessionSummary
}

export interface SessionSummary {
  readonly id: string
  /** Null: its beginning was not looked at. */
  readonly opened: string | null
  readonly open: boolean
  /** By line (rating group and service identifiers). */
  readonly used: Readonly<Record<string, string>>
  /** In all, as far as it was looked at. */
  readonly cost: string
}

/** What happened last of each, among the newest entries. */
export interface Latest {
  readonly refusal: TimelineRow | null
  readonly recharge: TimelineRow | null
  readonly notification: TimelineRow | null
  /** Entries that were looked at: what is null is not among them. */
  readonly looked: number
}

/** Entries that one page looks at; what is sought may be further back, and the next page goes on there. */
export const mostLookedAt = 20_000
/** Entries that are looked at for what happened last. */
const mostForLatest = 2_000
/** Beyond the page, for the beginnings of its sessions. */
const lookAhead = 2_000
/** Entries whose programs are looked up at once. */
const mostDescribed = 50
const sessionsTold = 50
const sessionsKept = 1_000
const patienceMs = 5_000

interface Read {
  readonly entry: LedgerEntry
  readonly place: Place
}

export class AccountHistory {
  constructor(
    private readonly parts: {
      readonly entries: AccountEntries
      readonly programs: Programs
      readonly accounts: Pick<Accounts, 'show' | 'sessions'>
      readonly clock: Clock
      /** Version of the catalog that was in force then; undefined: nobody knows. */
      readonly inForce?: (at: Millis) => string | undefined
    },
  ) {}

  /** @returns undefined when there is no such account. @throws BalanceUnavailableError */
  async ledger(id: string, query: LedgerQuery): Promise<HistoryPage<LedgerRow, Place> | undefined> {
    const account = await this.parts.accounts.show(id)
    if (!account) return undefined
    const gaps = new Gaps(query, account.sequence)
    const { entries } = this.parts
    const found: Read[] = []
    let [looked, last]: [number, Place | undefined] = [0, undefined]
    let next: Place | undefined
    for await (const read of entries[query.order](id, query.after)) {
      if (found.length >= query.limit || looked >= mostLookedAt) {
        next = last
        break
      }
      looked++
      gaps.see(read.seq)
      last = placeOf(read)
      const entry = JSON.parse(read.text) as LedgerEntry
      if (fitsLedger(entry, query, account)) found.push({ entry, place: last })
    }
    if (next === undefined) gaps.end()
    const told = await this.explained(found.map(({ entry }) => entry), account)
    const items = told.map(([entry, explanation]) => this.row(entry, explanation, account.currency))
    return { items: items.filter(row => fitsKinds(row.kind, row.moves, query.kinds)), next, missing: gaps.missing }
  } // prettier-ignore

  /** @returns undefined when there is no such account. @throws BalanceUnavailableError */
  async timeline(id: string, query: TimelineQuery): Promise<HistoryPage<TimelineRow, TimelinePlace> | undefined> {
    const { accounts, entries } = this.parts
    const account = await accounts.show(id)
    if (!account) return undefined
    const live = await accounts.sessions({ account: id, limit: sessionsKept })
    const open = new Set(live.filter(session => session.open).map(session => session.id))
    const gaps = new Gaps({ order: 'newest', after: query.after }, account.sequence)
    const rows: TimelineRow[] = []
    const sessions = new Sessions(query.after?.told ?? [], account.currency, open)
    let [looked, last]: [number, Place | undefined] = [0, undefined]
    let next: Place | undefined
    let ahead = 0
    let batch: Read[] = []
    const tell = async (): Promise<void> => {
      for (const [entry, explanation] of await this.explained(batch.map(({ entry }) => entry), account)) {
        const own = next === undefined || entry.seq >= next.seq
        if (own) for (const row of this.timelineRows(entry, explanation, account.currency)) if (fitsRow(row, query)) rows.push(row)
        if (!wantsSession(entry, query)) continue
        sessions.see(entry, explanation, own, this.catalogOf(entry))
      }
      batch = []
    }
    for await (const read of entries.newest(id, query.after)) {
      if (next === undefined && (rows.length + sessions.size >= query.limit || looked >= mostLookedAt)) next = last
      if (next !== undefined && (!sessions.incomplete || ahead++ >= lookAhead)) break
      const entry = JSON.parse(read.text) as LedgerEntry
      looked++
      if (next === undefined) {
        gaps.see(read.seq)
        last = placeOf(read)
      }
      batch.push({ entry, place: placeOf(read) })
      // One look-up for the descriptions of many, and never more of them than the page has room for.
      const room = next === undefined ? query.limit - rows.length - sessions.size : mostDescribed
      if (batch.length >= Math.max(1, Math.min(mostDescribed, room))) await tell()
    }
    await tell()
    if (next === undefined) gaps.end()
    const items = [...rows, ...sessions.rows()].sort((a, b) => b.sequence - a.sequence)
    const place = next && { ...next, told: sessions.goingOnBefore(next.seq) }
    return { items, next: place, missing: gaps.missing }
  } // prettier-ignore

  /** The last refusal, recharge and crossed threshold of an account. @throws BalanceUnavailableError */
  async latest(account: Account, subscriber?: string): Promise<Latest> {
    const found: Partial<Record<TimelineKind, TimelineRow>> = {}
    const wanted = ['refusal', 'recharge', 'notification'] as const
    let looked = 0
    for await (const { text } of this.parts.entries.newest(account.id)) {
      if (looked++ >= mostForLatest || wanted.every(kind => found[kind])) break
      const entry = JSON.parse(text) as LedgerEntry
      const may = {
        refusal: mayRefuse(entry),
        recharge: entry.kind === 'recharge',
        notification: !!entry.events?.length,
      }
      if (!wanted.some(kind => may[kind] && !found[kind])) continue
      for (const [, explanation] of await this.explained([entry], account))
        for (const row of this.timelineRows(entry, explanation, account.currency))
          if (isOf(row.subscriber, subscriber)) found[row.kind] ??= row
    }
    const { refusal = null, recharge = null, notification = null } = found
    return { refusal, recharge, notification, looked: Math.min(looked, mostForLatest) }
  }

  private async explained(
    entries: readonly LedgerEntry[],
    account: Account,
  ): Promise<(readonly [LedgerEntry, Explanation])[]> {
    if (entries.length === 0) return []
    const { programs, clock } = this.parts
    programs.flush()
    const ids = entries.flatMap(({ lines }) =>
      lines.flatMap(({ program, next }) => [program, next].flatMap(term => term?.split('.').slice(0, 2) ?? [])),
    )
    const descriptions = await programs.describe(ids, clock.monotonic() + patienceMs)
    const buckets = new Map(account.buckets.map(({ id, name }) => [id, name]))
    const known = { descriptions, buckets, currency: account.currency }
    return entries.map(entry => [entry, explainEntry(entry, known)] as const)
  }

  private row(entry: LedgerEntry, explanation: Explanation, currency: string): LedgerRow {
    const refusals = causesOf(entry, explanation, currency)
    return {
      sequence: entry.seq,
      at: explanation.at,
      kind: entry.kind ?? 'other',
      moves: movesOf(entry, refusals),
      what: sentenceOf(entry, explanation, currency),
      balances: explanation.balances,
      against: entry.posts.flatMap(([name, unit, amount, before]) =>
        before === undefined ? [{ name, unit, amount }] : [],
      ),
      held: formatMoney(BigInt(Number(entry['held'] ?? 0))),
      subscriber: entry.subscriber ?? null,
      service: entry.service ?? null,
      correlation: correlationOf(entry),
      catalog: this.catalogOf(entry),
      refusals,
    }
  }

  private catalogOf({ catalog, at }: LedgerEntry): string | null {
    return catalog ?? this.parts.inForce?.(at) ?? null
  }

  /** All but the sessions. */
  private timelineRows(entry: LedgerEntry, explanation: Explanation, currency: string): TimelineRow[] {
    const about = {
      at: explanation.at,
      sequence: entry.seq,
      subscriber: entry.subscriber ?? null,
      service: entry.service ?? null,
      catalog: this.catalogOf(entry),
      correlation: correlationOf(entry),
    }
    const causes = causesOf(entry, explanation, currency)
    const kind = timelineKindOf(entry)
    return [
      ...explanation.events.map(what => ({ ...about, kind: 'notification' as const, what })),
      ...causes.map(cause => ({ ...about, kind: 'refusal' as const, what: refusalText(entry, cause), cause })),
      ...(kind === undefined || (kind === 'event' && causes.length > 0)
        ? []
        : [{ ...about, kind, what: sentenceOf(entry, explanation, currency) }]),
    ]
  }
}

/** Which numbers were passed over. */
class Gaps {
  readonly missing: Missing[] = []
  private expected: number

  constructor(
    private readonly query: { readonly order: 'newest' | 'oldest'; readonly after?: Place | undefined },
    private readonly newest: number,
  ) {
    const { order, after } = query
    if (order === 'newest') this.expected = after === undefined ? newest : after.seq - 1
    else this.expected = (after?.seq ?? 0) + 1
  }

  see(seq: number): void {
    if (this.query.order === 'newest') {
      if (seq < this.expected) this.note(seq + 1, this.expected)
      this.expected = seq - 1
    } else {
      if (seq > this.expected) this.note(this.expected, seq - 1)
      this.expected = seq + 1
    }
  }

  /** Nothing more is at hand. */
  end(): void {
    if (this.query.order === 'newest') {
      if (this.expected >= 1) this.note(1, this.expected)
    } else if (this.expected <= this.newest) this.note(this.expected, this.newest)
  }

  private note(from: number, to: number): void {
    this.missing.push({ from, to })
  }
}

interface Told {
  readonly newest: LedgerEntry
  readonly at: string
  readonly catalog: string | null
  /** An entry that says whose it is: the newest may be of its end by silence. */
  from: LedgerEntry
  opened: string | undefined
  oldestSeen: number
  cost: bigint
  readonly used: Map<string, string>
}

/** The sessions of a page, gathered from their entries, the newest first. */
class Sessions {
  private readonly found = new Map<string, Told>()
  private readonly told: Set<string>

  constructor(
    told: readonly string[],
    private readonly currency: string,
    private readonly open: ReadonlySet<string>,
  ) {
    this.told = new Set(told)
  }

  get size(): number {
    return this.found.size
  }

  get incomplete(): boolean {
    return [...this.found.values()].some(({ opened }) => opened === undefined)
  }

  /** @param own of this page: a session may begin with it */
  see(entry: LedgerEntry, explanation: Explanation, own: boolean, catalog: string | null): void {
    const id = entry.session!
    if (entry.type === 'event' || entry.kind === 'refund') return
    if (this.told.has(shortName(id))) {
      // Its beginning: whatever has this Session-Id before that is another session.
      if (own && entry.type === 'initial') this.told.delete(shortName(id))
      return
    }
    // Nothing was opened: the refusal has a row of its own.
    if (entry.type === 'initial' && entry.outcome !== 'ok' && !this.found.has(id)) return
    let told = this.found.get(id)
    if (!told) {
      if (!own) return
      told = { newest: entry, from: entry, at: explanation.at, catalog, opened: undefined, oldestSeen: entry.seq, cost: 0n, used: new Map() }
      this.found.set(id, told)
    }
    told.oldestSeen = entry.seq
    if (told.from.service === undefined) told.from = entry
    entry.lines.forEach((line, i) => {
      told.cost += BigInt(line.cost ?? 0)
      const unit = unitOf(line, explanation.lines[i])
      const total = line.total ?? 0
      if (total > 0 && !told.used.has(line.line)) told.used.set(line.line, unit ? formatAmount(unit, BigInt(total)) : String(total))
    })
    if (entry.type === 'initial') told.opened = explanation.at
  } // prettier-ignore

  rows(): TimelineRow[] {
    return [...this.found].map(([id, { newest, from, at, catalog, opened, cost, used }]) => {
      const open = this.open.has(id)
      const amounts = [...used.values()]
      const state = open ? 'open' : newest.kind === 'expire' && newest['actor'] === 'silence' ? 'ended by silence' : 'ended'
      const what =
        `${from.service ?? 'session'}, ${state}: ${amounts.length === 0 ? 'nothing' : amounts.join(' + ')} used` +
        ` for ${formatMoney(cost)} ${this.currency}`
      return {
        ...{ at, kind: 'session' as const, what, sequence: newest.seq, catalog },
        ...{ subscriber: from.subscriber ?? null, service: from.service ?? null, correlation: correlationOf(newest) },
        session: { id, opened: opened ?? null, open, used: Object.fromEntries(used), cost: formatMoney(cost) },
      }
    })
  } // prettier-ignore

  /** Short names of those whose beginning lies before this number, and those that the page before knew. */
  goingOnBefore(seq: number): string[] {
    const going = [...this.found].filter(([, { opened, oldestSeen }]) => opened === undefined || oldestSeen < seq)
    return [...going.map(([id]) => shortName(id)), ...this.told].slice(0, sessionsTold)
  }
}

const kindsByEntry: Readonly<Record<string, TimelineKind | undefined>> = {
  ...{ recharge: 'recharge', refund: 'event', subscribe: 'purchase', change: 'purchase', cancel: 'purchase' },
  ...{ renew: 'renewal', 'renew-failed': 'renewal', status: 'status', life: 'status', create: 'status' },
  ...{ adjustment: 'adjustment', writeoff: 'adjustment', transfer: 'transfer', expiry: 'expiry' },
}

function timelineKindOf(entry: LedgerEntry): TimelineKind | undefined {
  if (entry.kind === 'charge') return entry.type === 'event' ? 'event' : undefined
  if (entry.kind === 'expire') return undefined
  return kindsByEntry[entry.kind ?? ''] ?? 'change'
}

function refusalText({ service }: LedgerEntry, { text, resultCode }: Cause): string {
  const code = resultCode === undefined ? '' : ` (${resultCode})`
  return `${service ?? 'usage'} refused${code}: ${text}`
}

function unitOf(line: LedgerEntry['lines'][number], told: Explanation['lines'][number] | undefined): UnitType | undefined {
  const unit = (line as { readonly unit?: string }).unit ?? told?.programs[0]?.unit
  return (unitTypes as readonly (string | undefined)[]).includes(unit) ? (unit as UnitType) : undefined
} // prettier-ignore

const correlated = [
  ...['host', 'channel', 'reference', 'actor', 'subscription', 'offer', 'transfer', 'with', 'direction', 'intent', 'key'],
  ...['reason', 'rule', 'method', 'outlet', 'operator'],
] // prettier-ignore

function correlationOf(entry: LedgerEntry): Correlation {
  const members = correlated.flatMap(name => {
    const value = entry[name]
    return typeof value === 'string' || typeof value === 'number' ? [[name, value] as const] : []
  })
  return {
    ...(entry.session !== undefined && { session: entry.session }),
    ...(entry.number !== undefined && { request: entry.number }),
    ...Object.fromEntries(members),
  }
}

const placeOf = ({ seq, file }: AccountEntry): Place => ({ seq, file })

const inTime = ({ at }: LedgerEntry, { from, until }: HistoryQuery): boolean =>
  (from === undefined || at >= from) && (until === undefined || at < until)

function fitsLedger(entry: LedgerEntry, query: LedgerQuery, account: Account): boolean {
  const { session, reference, balance, kinds } = query
  if (!inTime(entry, query)) return false
  if (session !== undefined && entry.session !== session) return false
  if (reference !== undefined && entry['reference'] !== reference) return false
  // Moves are known when it is told; the kind already now.
  if (kinds && !kinds.some(kind => isMove(kind) || kind === (entry.kind ?? 'other'))) return false
  return balance === undefined || entry.posts.some(([name, , , before]) => before !== undefined && isBalance(name, balance, entry, account))
} // prettier-ignore

function isBalance(name: string, wanted: string, { buckets }: LedgerEntry, account: Account): boolean {
  if (name === wanted || name === `bucket:${wanted}`) return true
  if (!name.startsWith('bucket:')) return false
  const id = name.slice('bucket:'.length)
  return (buckets?.[id] ?? account.buckets.find(bucket => bucket.id === id)?.name) === wanted
}

const isMove = (word: string): word is Move => (moves as readonly string[]).includes(word)

const fitsKinds = (kind: string, does: readonly Move[], kinds: readonly string[] | undefined): boolean =>
  kinds === undefined || kinds.some(each => each === kind || (isMove(each) && does.includes(each)))

function wantsSession(entry: LedgerEntry, query: TimelineQuery): boolean {
  const { kinds, session, subscriber } = query
  if (entry.session === undefined || (kinds && !kinds.includes('session')) || !inTime(entry, query)) return false
  return (session === undefined || session === entry.session) && isOf(entry.subscriber ?? null, subscriber)
}

/** What says of no subscriber is of all of them. */
const isOf = (subscriber: string | null, wanted: string | undefined): boolean =>
  wanted === undefined || subscriber === null || subscriber === '0' || subscriber === wanted

const mayRefuse = ({ outcome = 'ok', lines }: LedgerEntry): boolean =>
  outcome !== 'ok' || lines.some(({ is }) => is !== 'granted' && is !== 'free' && is !== 'booked')

const fitsRow = (row: TimelineRow, query: TimelineQuery): boolean =>
  (query.kinds === undefined || query.kinds.includes(row.kind)) &&
  (query.session === undefined || row.correlation.session === query.session) &&
  isOf(row.subscriber, query.subscriber) &&
  inTime({ at: Date.parse(row.at) } as LedgerEntry, query)
