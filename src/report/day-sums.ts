/**
 * What each day moved, summed up from ledger entries: the one pass that every figure of a report comes from. Sums of several files
 * are added; days are those of a time zone, by the time of the entry.
 */
import type { Millis } from '../units.js'

/** Sums of one day. Amounts are micros of a currency, or units; all are exact. */
export interface DaySums {
  /** `[currency, channel, method, outlet, operator, hour]` as JSON → how many, and how much came in. */
  readonly recharges: Map<string, { count: number; amount: bigint }>
  /** `[service, offer, what, unit]` as JSON; what: charged (micros), used, drawn (units of buckets). */
  readonly consumption: Map<string, bigint>
  /** `[unit, account outside]` as JSON → what came into balances from it; below zero: what went out to it. */
  readonly flows: Map<string, bigint>
  /** By unit: amounts after less amounts before, over runs of entries of an account. The same as the flows, another way. */
  readonly moved: Map<string, bigint>
  entries: number
}

export interface SumEntry {
  readonly account: string
  readonly seq: number
  readonly at: Millis
  readonly kind?: string
  readonly service?: string
  readonly posts: readonly (readonly [string, string, number, number?, number?])[]
  readonly lines?: readonly {
    readonly line: string
    readonly rule?: string
    readonly used?: number
    readonly refunded?: number
    readonly unit?: string
    readonly cost?: number
    readonly paid?: string
  }[]
  readonly [member: string]: unknown
}

export const newDay = (): DaySums => ({
  recharges: new Map(),
  consumption: new Map(),
  flows: new Map(),
  moved: new Map(),
  entries: 0,
})

export const isCurrency = (unit: string): boolean => /^[A-Z]{3}$/.test(unit)

const quarterMs = 900_000

/** The local day and hour of a time: 2026-11-22, 17. */
export class LocalDays {
  private readonly format: Intl.DateTimeFormat
  private readonly known = new Map<number, { day: string; hour: number }>()

  constructor(readonly timezone: string) {
    this.format = new Intl.DateTimeFormat('en-CA', {
      ...{ timeZone: timezone, year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', hourCycle: 'h23' },
    })
  }

  of(at: Millis): { readonly day: string; readonly hour: number } {
    // Clocks of time zones change at quarters of an hour at most.
    const quarter = Math.floor(at / quarterMs)
    let found = this.known.get(quarter)
    if (!found) {
      const parts = this.format.formatToParts(at)
      const of = (type: string): string => parts.find(part => part.type === type)!.value
      found = { day: `${of('year')}-${of('month')}-${of('day')}`, hour: Number(of('hour')) }
      if (this.known.size > 100_000) this.known.clear()
      this.known.set(quarter, found)
    }
    return found
  }
}

/** An account's entries that follow each other on a day: where its balances stood before the first, and after the last. */
interface Run {
  readonly day: string
  seq: number
  readonly balances: Map<string, { readonly unit: string; readonly first: number; last: number }>
}

/** Adds entries in the order of their file. */
export class DaySummer {
  readonly days = new Map<string, DaySums>()
  private readonly runs = new Map<string, Run>()

  constructor(private readonly local: LocalDays) {}

  add(entry: SumEntry): void {
    const { day, hour } = this.local.of(entry.at)
    let sums = this.days.get(day)
    if (!sums) this.days.set(day, (sums = newDay()))
    sums.entries++
    for (const [name, unit, amount, before] of entry.posts)
      if (before === undefined) addTo(sums.flows, JSON.stringify([unit, name]), -amount)
    this.follow(entry, day)
    if (entry.kind === 'recharge') addRecharge(sums, entry, hour)
    addConsumption(sums, entry)
  }

  /** Nothing more comes. */
  end(): ReadonlyMap<string, DaySums> {
    for (const run of this.runs.values()) this.close(run)
    this.runs.clear()
    return this.days
  }

  private follow({ account, seq, posts }: SumEntry, day: string): void {
    let run = this.runs.get(account)
    if (!run || run.seq + 1 !== seq || run.day !== day) {
      if (run) this.close(run)
      this.runs.set(account, (run = { day, seq, balances: new Map() }))
    }
    run.seq = seq
    for (const [name, unit, , before, after] of posts) {
      if (before === undefined || after === undefined) continue
      const known = run.balances.get(name)
      if (known) known.last = after
      else run.balances.set(name, { unit, first: before, last: after })
    }
  }

  private close({ day, balances }: Run): void {
    const { moved } = this.days.get(day)!
    for (const { unit, first, last } of balances.values()) addTo(moved, unit, BigInt(last) - BigInt(first))
  }
}

/** Adds the sums of another part of the same day. */
export function addDay(into: DaySums, more: DaySums): void {
  for (const [key, { count, amount }] of more.recharges) countTo(into.recharges, key, count, amount)
  for (const name of ['consumption', 'flows', 'moved'] as const)
    for (const [key, amount] of more[name]) addTo(into[name], key, amount)
  into.entries += more.entries
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

function addRecharge({ recharges }: DaySums, entry: SumEntry, hour: number): void {
  const by = new Map<string, bigint>()
  for (const [name, unit, amount] of entry.posts) if (name.startsWith('source:')) addTo(by, unit, -amount)
  const { channel, method, outlet, operator } = entry
  for (const [currency, amount] of by)
    countTo(recharges, JSON.stringify([currency, ...[channel, method, outlet, operator].map(textOf), hour]), 1, amount)
}

/** By the rule's offer what its lines say; what the postings have beside that stands under no offer, so that the sums are those. */
function addConsumption({ consumption }: DaySums, entry: SumEntry): void {
  const posted = new Map<string, bigint>()
  const units = new Map<string, string>()
  let service = textOf(entry.service)
  for (const [name, unit, amount, before] of entry.posts) {
    if (before !== undefined) units.set(name.replace('bucket:', ''), unit)
    if (!name.startsWith('usage:')) continue
    if (service === '') service = name.slice('usage:'.length)
    addTo(posted, unit, amount)
  }
  const currency = [...posted.keys()].find(isCurrency)
  const note = (offer: string, what: string, unit: string, amount: bigint): void => {
    if (amount !== 0n) addTo(consumption, JSON.stringify([service, offer, what, unit]), amount)
  }
  for (const { rule = '', used = 0, refunded = 0, unit, cost = 0, paid = '' } of entry.lines ?? []) {
    const offer = rule.replace(/#.*$/, '')
    if (unit !== undefined) note(offer, 'used', unit, BigInt(used - refunded))
    if (currency !== undefined && cost !== 0) {
      note(offer, 'charged', currency, BigInt(cost))
      addTo(posted, currency, -cost)
    }
    for (const item of paid === '' ? [] : paid.split(',')) {
      const [bucket, count, amount] = item.split(':')
      const of = units.get(bucket!)
      if (of === undefined || isCurrency(of) || count === '' || !/^-?\d+$/.test(amount ?? '')) continue
      note(offer, 'drawn', of, BigInt(amount!))
      addTo(posted, of, -BigInt(amount!))
    }
  }
  for (const [unit, rest] of posted) note('', isCurrency(unit) ? 'charged' : 'drawn', unit, rest)
}

const addTo = (sums: Map<string, bigint>, key: string, amount: bigint | number): void =>
  void sums.set(key, (sums.get(key) ?? 0n) + BigInt(amount))

function countTo(sums: DaySums['recharges'], key: string, count: number, amount: bigint): void {
  const known = sums.get(key)
  if (known) {
    known.count += count
    known.amount += amount
  } else sums.set(key, { count, amount })
}
