/**
 * What a ledger entry tells other systems: pure, so that the same entry always gives the same events with the same ids (design:
 * ledger). Crossings of money are found here, from the amounts before and after, whatever script moved them; those of buckets and
 * counters are in the entry, because only the script knows their levels.
 *
 * What "once until refilled" needs of the past is a Watch for each account that has any.
 */
import { formatMoney, type Millis } from '../units.js'
import { isUsage, rowOf, type EventType, type Field } from './event-types.js'

/** As `GET /v1/events` and webhooks give it. */
export interface FeedEvent {
  /** `<partition>-<stream id>-<number>`, the number counting the events of one entry. */
  readonly id: string
  readonly type: EventType
  /** ISO 8601 in UTC. */
  readonly at: string
  readonly account?: string
  readonly seq?: number
  readonly balances?: Balances
  readonly data: Readonly<Record<string, unknown>>
}

/** After the entry; what it did not move is absent. */
export interface Balances {
  readonly currency?: string
  readonly money?: string
  readonly debt?: string
  readonly buckets?: readonly {
    readonly bucket: string
    readonly name?: string
    readonly unit: string
    readonly left: number | string
  }[]
}

/** What an earlier entry left for later ones of its account. */
export interface Watch {
  /** Micros of the last recharge, of which levels in percent are; 0: none known. */
  readonly base: number
  /** It was told that something was refused for want of funds. */
  readonly refused: boolean
}

export const noWatch: Watch = { base: 0, refused: false }

type Members = Readonly<Record<string, unknown>>

/** Where falling money leaves an event, for accounts of one currency. */
export interface MoneyLevels {
  /** Micros. */
  readonly amounts: readonly number[]
  /** Of the last recharge. */
  readonly percents: readonly number[]
}

export type Post = readonly [name: string, unit: string, amount: number, before?: number, after?: number]

/** A ledger entry, as far as it is looked at here. Quantities are whole numbers below 2^53. */
export interface Entry {
  readonly account: string
  readonly seq: number
  /** Unix ms. */
  readonly at: Millis
  readonly kind: string
  readonly posts: readonly Post[]
  readonly lines?: readonly { readonly line?: string; readonly is?: string }[]
  readonly events?: readonly (readonly [kind: string, name: string, level: number])[]
  /** Names by id. */
  readonly buckets?: Readonly<Record<string, string>>
  readonly [member: string]: unknown
}

/** An entry of the journal; undefined where somebody else wrote into the stream. */
export function readEntry(text: string): Entry | undefined {
  const entry = JSON.parse(text) as Partial<Entry>
  const known = typeof entry.account === 'string' && typeof entry.seq === 'number' && typeof entry.kind === 'string'
  return known && Array.isArray(entry.posts) ? (entry as Entry) : undefined
}

/** Whether what came before matters for an entry, or what it says for those that come. */
export function needsWatch(entry: Entry, { percents }: MoneyLevels): boolean {
  const { posts } = entry
  return isRefused(entry) || posts.some(isIncrease) || (percents.length > 0 && posts.some(([name]) => name === 'main'))
}

/**
 * The events of an entry, in their order, and what is to be remembered of it.
 *
 * @param place `<partition>-<stream id>`
 * @param usage whether usage that was charged is an event, too
 */
export function eventsOf(
  entry: Entry,
  place: string,
  watch: Watch,
  levels: MoneyLevels,
  usage: boolean,
): { readonly events: readonly FeedEvent[]; readonly watch: Watch } {
  const moved = movedBy(entry)
  const events: FeedEvent[] = []
  const add = (type: EventType, computed: Members = {}): void => {
    if (isUsage(type) && !usage) return
    events.push({
      id: `${place}-${events.length + 1}`,
      type,
      at: new Date(entry.at).toISOString(),
      account: entry.account,
      seq: entry.seq,
      ...(moved.balances && { balances: moved.balances }),
      data: dataOf(type, { ...entry, ...moved.computed, ...computed }),
    })
  }
  const income = incomeOf(entry)
  const base = income > 0 ? income : watch.base
  for (const [type, computed] of typesOf(entry, moved)) add(type, computed)
  for (const crossing of moneyCrossings(entry, moved.money, base, levels)) add('balance.threshold', crossing)
  if (moved.money && moved.money.before > 0 && moved.money.after <= 0) add('balance.depleted')
  for (const [kind, name, level] of entry.events ?? []) {
    if (kind === 'bucket') add('bucket.threshold', { ...bucketNamed(entry, name), level: moved.amountOf(name, level) })
    else if (kind === 'counter') add('counter.threshold', { ...counterNamed(name), percent: level })
    else if (kind === 'expires-soon') add('balance.expires-soon', { what: name, at: entry.at + level }) // level: ms ahead
  }
  for (const id of moved.depleted) add('bucket.depleted', bucketNamed(entry, id))
  const refused = isRefused(entry)
  if (refused && !watch.refused) add('session.refused', { lines: refusedLines(entry) })
  const next = { base, refused: refused || (watch.refused && !moved.refilled) }
  return { events, watch: next }
}

/** An event of no account. */
export const lonelyEvent = (
  type: EventType,
  id: string,
  at: Millis,
  data: Readonly<Record<string, unknown>>,
): FeedEvent => ({
  id,
  type,
  at: new Date(at).toISOString(),
  data,
})

interface Movement {
  readonly before: number
  readonly after: number
}

interface Moved {
  readonly balances: Balances | undefined
  readonly money: Movement | undefined
  /** Ids of buckets that were used up, not expired or rolled over. */
  readonly depleted: readonly string[]
  /** Something came in. */
  readonly refilled: boolean
  readonly computed: Readonly<Record<string, unknown>>
  /** An amount of a bucket, as it is written. */
  readonly amountOf: (bucket: string, amount: number) => number | string
}

const unitNames = new Set(['octets', 'seconds', 'events', 'units'])
const isIncrease = ([name, , amount, before]: Post): boolean => before !== undefined && name !== 'debt' && amount > 0

function movedBy({ posts, buckets: names }: Entry): Moved {
  const movements = new Map<string, { unit: string; before: number; after: number; emptiedBy: string | undefined }>()
  let [fee, outside, expired, currency] = [
    0,
    0,
    undefined as number | string | undefined,
    undefined as string | undefined,
  ]
  posts.forEach(([name, unit, amount, before, after], i) => {
    if (!unitNames.has(unit)) currency = unit
    if (before === undefined || after === undefined) {
      if (name === 'expiry') expired = unitNames.has(unit) ? Number(expired ?? 0) + amount : money(amount)
      else if (!unitNames.has(unit) && name === 'fee') fee += amount
      else if (!unitNames.has(unit)) outside -= amount
      return
    }
    const against = posts[i + 1]
    const emptiedBy = after === 0 && against?.[3] === undefined ? against?.[0] : undefined
    movements.set(name, { unit, before: movements.get(name)?.before ?? before, after, emptiedBy })
  })
  const [main, debt] = [movements.get('main'), movements.get('debt')]
  const buckets = [...movements]
    .filter(([name]) => name.startsWith('bucket:'))
    .map(([name, is]) => [name.slice(7), is] as const)
  const balances: Balances = {
    ...((main ?? debt) && currency !== undefined && { currency }),
    ...(main && { money: money(main.after) }),
    ...(debt && { debt: money(debt.after === 0 ? 0 : -debt.after) }),
    ...(buckets.length > 0 && {
      buckets: buckets.map(([bucket, { unit, after }]) => ({
        bucket,
        ...(names?.[bucket] !== undefined && { name: names[bucket] }),
        unit: unitNames.has(unit) ? unit : 'money',
        left: unitNames.has(unit) ? after : money(after),
      })),
    }),
  }
  const unitOf = new Map(buckets.map(([id, { unit }]) => [id, unit]))
  return {
    balances: movements.size > 0 ? balances : undefined,
    money: main,
    depleted: buckets.flatMap(([id, { before, after, emptiedBy }]) =>
      before > 0 && after === 0 && emptiedBy !== undefined && emptiedBy !== 'expiry' ? [id] : [],
    ),
    refilled: [...movements].some(([name, { before, after }]) => name !== 'debt' && after > before),
    computed: { amount: outside, expired, ...(fee !== 0 && { fee }) },
    amountOf: (bucket, amount) => (unitNames.has(unitOf.get(bucket) ?? 'octets') ? amount : money(amount)),
  }
}

const money = (amount: number): string => formatMoney(BigInt(amount))

/** What levels in percent are of: a recharge, or what the account began with. */
/** ids: */
const isIncome = ({ kind, seq }: Entry): boolean => kind === 'recharge' || (kind === 'create' && seq === 1)

function incomeOf(entry: Entry): number {
  if (!isIncome(entry)) return 0
  return entry.posts.reduce((sum, [name, , amount]) => (name.startsWith('source:') ? sum - amount : sum), 0)
}

/** A refusal is one for want of funds where the line says so; by rule, or for a barred account, it is not. */
const isRefused = (entry: Entry): boolean => entry.kind === 'charge' && refusedLines(entry).length > 0
const refusedLines = ({ lines = [] }: Entry): string[] =>
  lines.flatMap(({ is, line }) => (is === 'exhausted' || is === 'restricted' ? [line ?? 'none'] : []))

type Crossing = { readonly level: number; readonly percent?: number } // an alias, so that it is a record

/** Levels that money was above and is not now, the highest first; one that the entry noted itself comes once, too. */
function moneyCrossings(entry: Entry, moved: Movement | undefined, base: number, levels: MoneyLevels): Crossing[] {
  if (!moved || moved.after >= moved.before) return []
  const noted = (entry.events ?? []).flatMap(([kind, , level]) => (kind === 'money' ? [level] : []))
  const crossings = new Map<number, Crossing>()
  for (const percent of base > 0 ? levels.percents : []) {
    const level = Math.floor(base / 100) * percent + Math.floor(((base % 100) * percent) / 100)
    crossings.set(level, { level, percent })
  }
  for (const level of [...levels.amounts, ...noted]) crossings.set(level, { level })
  return [...crossings.values()]
    .filter(({ level }) => moved.before > level && moved.after <= level)
    .sort((a, b) => b.level - a.level)
}

const bucketNamed = ({ buckets }: Entry, id: string): Members => ({ bucket: id, name: buckets?.[id] })

/** `month-data.1`: of the subscriber 1. */
function counterNamed(full: string): Members {
  const dot = full.lastIndexOf('.')
  return { counter: full.slice(0, dot), subscriber: full.slice(dot + 1) }
}

type Typed = readonly (readonly [type: EventType, computed?: Members])[]

const profileKinds = new Set(['attributes', 'override', 'limit', 'opt-in'])

/** What the entry is, apart from crossings. */
function typesOf(entry: Entry, moved: Moved): Typed {
  const { kind, seq } = entry
  if (profileKinds.has(kind)) return [['account.changed']]
  switch (kind) {
    case 'create':
      return seq === 1 ? [['account.created']] : [['subscriber.added']]
    case 'status':
      return [['account.status', { dates: datesOf(entry) }]]
    case 'life':
      return [['account.dates', { dates: datesOf(entry) }]]
    case 'identities':
      return [['subscriber.identities']]
    case 'block':
      return [['subscriber.blocked']]
    case 'recharge-refund':
      return [['recharge.refunded']]
    case 'voucher-lockout':
      return [['voucher.locked']]
    case 'recharge': {
      const bonus: Typed = typeof entry['bonus'] === 'string' ? [['recharge.bonus']] : []
      return [['recharge.completed', { dates: datesOf(entry) }], ...bonus]
    }
    case 'adjustment':
      return [['adjustment.completed']]
    case 'transfer':
      return [[entry['direction'] === 'in' ? 'transfer.received' : 'transfer.sent', transferred(entry)]]
    case 'subscribe':
      return [['subscription.purchased']]
    case 'renew':
      return [['subscription.renewed']]
    case 'renew-failed':
      return [['subscription.renewal-failed']]
    case 'change':
      return [['subscription.changed']]
    case 'cancel':
      return [['subscription.cancelled']]
    case 'expiry':
      return typeof entry['bucket'] === 'string'
        ? [['bucket.expired', bucketNamed(entry, entry['bucket'])]]
        : [['balance.changed']]
    case 'charge': {
      const charged: Typed = moved.balances ? [['usage.charged']] : []
      // What comes late, of a session that has ended already, does not end it again.
      const ends = entry['type'] === 'terminate' && entry['outcome'] !== 'ended'
      return ends ? [...charged, ['session.ended', { how: 'closed' }]] : charged
    }
    case 'refund':
      return [['usage.refunded']]
    case 'expire': {
      const how = entry['outcome']
      const ended: Typed = how === 'silent' || how === 'ended' ? [['session.ended', { how }]] : []
      return moved.balances ? [['usage.charged'], ...ended] : ended
    }
    default:
      return moved.balances ? [['balance.changed']] : []
  }
}

/** The far side's id is on the entry; money that went out is below zero. */
const transferred = ({ posts }: Entry): Members => ({
  amount: posts.reduce(
    (sum, [name, unit, amount]) => (name === 'transfer' && !unitNames.has(unit) ? sum - amount : sum),
    0,
  ),
})

const notDates = new Set(['seq', 'at', 'held'])

/** Times among the members of an entry, and of its member `life`. */
function datesOf(entry: Entry): Readonly<Record<string, string>> | undefined {
  const life = (entry['life'] ?? {}) as Readonly<Record<string, unknown>>
  const found = [...Object.entries(entry), ...Object.entries(life)].flatMap(([name, value]) =>
    typeof value === 'number' && value > 1e11 && !notDates.has(name) ? [[name, new Date(value).toISOString()]] : [],
  )
  return found.length === 0 ? undefined : (Object.fromEntries(found) as Record<string, string>)
}

/** The members of the type's row, each as its kind is written; what the entry lacks is left out. */
function dataOf(type: EventType, members: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const data: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(rowOf(type).data)) {
    const value = written(field, members[field.of ?? name])
    if (value !== undefined) data[name] = value
  }
  return data
}

function written({ kind }: Field, value: unknown): unknown {
  switch (kind) {
    case 'text':
      return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
    case 'texts':
      return Array.isArray(value) ? value.map(String) : undefined
    case 'time':
      return typeof value === 'number' && value > 0 ? new Date(value).toISOString() : undefined
    case 'money':
      return typeof value === 'number' ? money(value) : undefined
    default:
      return value ?? undefined
  }
}
