/**
 * The report of a day (scope S26, S27): recharges, consumption, fees, expiries, adjustments, and what is owed to subscribers before and
 * after. Opening + in − out = closing is checked against what the accounts' own amounts before and after say.
 */
import type { Millis } from '../units.js'
import { addDay, isCurrency, LocalDays, newDay, type DaySums } from './day-sums.js'
import { ledgerFiles, readEntries, sumFiles } from './file-sums.js'

export interface DailyReport {
  readonly date: string
  readonly timezone: string
  readonly entries: number
  readonly currencies: readonly LiabilityReport[]
  /** The same for units of buckets. */
  readonly units: readonly LiabilityReport[]
  readonly recharges: readonly RechargeSums[]
  readonly consumption: readonly ConsumptionSums[]
}

/** Of one currency (micros: money, buckets of money, less debt), or one unit. */
export interface LiabilityReport {
  readonly unit: string
  readonly opening: bigint
  readonly in: bigint
  readonly out: bigint
  readonly closing: bigint
  /** By account outside: into balances, or out of them below zero. */
  readonly movements: readonly { readonly account: string; readonly amount: bigint }[]
  /** Closing by the amounts that the accounts' entries say they had before and after. */
  readonly proven: bigint
  /** They are the same. */
  readonly balanced: boolean
}

export interface RechargeSums {
  readonly currency: string
  readonly channel: string
  readonly method: string
  readonly outlet: string
  readonly operator: string
  /** 0 to 23, local. */
  readonly hour: number
  readonly count: number
  readonly amount: bigint
}

export interface ConsumptionSums {
  readonly service: string
  /** Empty: of no rule, refunds for example. */
  readonly offer: string
  /** charged: micros. used: what gateways reported. drawn: what buckets gave. */
  readonly what: string
  readonly unit: string
  readonly amount: bigint
}

/** One recharge, as its entry has it. */
export interface RechargeRow {
  readonly at: Millis
  readonly account: string
  readonly currency: string
  readonly amount: bigint
  readonly channel: string
  readonly reference: string
  readonly method: string
  readonly outlet: string
  readonly operator: string
  readonly sequence: number
}

export interface Reports {
  /** @param currency only of this one; @throws the system's error when a file cannot be read */
  daily(date: string, currency?: string): Promise<DailyReport>
  /** Recharges of the day in the order of the files, from the one after `skip` others. */
  recharges(date: string, skip: number, limit: number): Promise<readonly RechargeRow[]>
}

export interface ReportOptions {
  /** Ledger folders of all daemons on the store. */
  readonly directories: readonly string[]
  readonly timezone: () => string
}

export class LedgerReports implements Reports {
  /** One after the other, so that two people do not read the same files at once. */
  private queue: Promise<unknown> = Promise.resolve()

  constructor(private readonly options: ReportOptions) {}

  daily(date: string, currency?: string): Promise<DailyReport> {
    const done = this.queue.then(() => this.sum(date, currency))
    this.queue = done.catch(() => undefined)
    return done
  }

  async recharges(date: string, skip: number, limit: number): Promise<readonly RechargeRow[]> {
    const local = new LocalDays(this.options.timezone())
    const rows: RechargeRow[] = []
    const seen = new Set<string>()
    for (const file of await ledgerFiles(this.options.directories)) {
      try {
        for await (const entries of readEntries(file)) {
          for (const entry of entries) {
            if (entry.kind !== 'recharge' || local.of(entry.at).day !== date) continue
            const key = `${entry.partition} ${entry.id}`
            if (seen.has(key)) continue
            seen.add(key)
            if (seen.size > skip) rows.push(...rowsOf(entry))
            if (seen.size >= skip + limit) return rows
          }
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error // only its sums are left
      }
    }
    return rows
  }

  private async sum(date: string, currency: string | undefined): Promise<DailyReport> {
    const timezone = this.options.timezone()
    const before = newDay()
    const that = newDay()
    await sumFiles(this.options.directories, new LocalDays(timezone), days => {
      for (const [day, sums] of days) {
        if (day === date) addDay(that, sums)
        // Of the days before, only what is left of them.
        if (day < date) addDay(before, { ...newDay(), flows: sums.flows, moved: sums.moved })
      }
    })
    const units = unitsOf(before, that)
    const liabilities = units.map(unit => liabilityOf(unit, before, that))
    const wanted = (unit: string): boolean => currency === undefined || !isCurrency(unit) || unit === currency
    return {
      ...{ date, timezone, entries: that.entries },
      currencies: liabilities.filter(({ unit }) => isCurrency(unit) && wanted(unit)),
      units: liabilities.filter(({ unit }) => !isCurrency(unit)),
      recharges: sorted(that.recharges)
        .map(([key, { count, amount }]) => {
          const [of, channel, method, outlet, operator, hour] = JSON.parse(key) as [...string[], number] as [
            ...[string, string, string, string, string],
            number,
          ]
          return { currency: of, channel, method, outlet, operator, hour, count, amount }
        })
        .filter(row => wanted(row.currency)),
      consumption: sorted(that.consumption)
        .map(([key, amount]) => {
          const [service, offer, what, unit] = JSON.parse(key) as [string, string, string, string]
          return { service, offer, what, unit, amount }
        })
        .filter(row => wanted(row.unit)),
    }
  }
}

/** The local day that is so many before the one of this time. */
export function localDay(timezone: string, now: Millis, daysAgo: number): string {
  const { day } = new LocalDays(timezone).of(now)
  return new Date(Date.parse(`${day}T00:00:00Z`) - daysAgo * 86_400_000).toISOString().slice(0, 10)
}

const sorted = <T>(map: ReadonlyMap<string, T>): [string, T][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1))

const unitsOf = (...sums: readonly DaySums[]): string[] =>
  [
    ...new Set(
      sums.flatMap(({ flows, moved }) => [
        ...[...flows.keys()].map(key => (JSON.parse(key) as [string])[0]),
        ...moved.keys(),
      ]),
    ),
  ].sort()

function liabilityOf(unit: string, before: DaySums, that: DaySums): LiabilityReport {
  const flowsOf = ({ flows }: DaySums): { account: string; amount: bigint }[] =>
    sorted(flows).flatMap(([key, amount]) => {
      const [of, account] = JSON.parse(key) as [string, string]
      return of === unit && amount !== 0n ? [{ account, amount }] : []
    })
  const sum = (amounts: readonly bigint[]): bigint => amounts.reduce((all, one) => all + one, 0n)
  const movements = flowsOf(that)
  const amounts = movements.map(({ amount }) => amount)
  const opening = sum(flowsOf(before).map(({ amount }) => amount))
  const closing = opening + sum(amounts)
  const proven = (before.moved.get(unit) ?? 0n) + (that.moved.get(unit) ?? 0n)
  return {
    ...{ unit, opening, closing, movements, proven },
    in: sum(amounts.filter(amount => amount > 0n)),
    out: -sum(amounts.filter(amount => amount < 0n)),
    balanced: proven === closing,
  }
}

function rowsOf(entry: {
  readonly account: string
  readonly seq: number
  readonly at: Millis
  readonly posts: readonly (readonly [string, string, number, number?, number?])[]
  readonly [member: string]: unknown
}): RechargeRow[] {
  const text = (name: string): string => {
    const value = entry[name]
    return typeof value === 'string' ? value : ''
  }
  const by = new Map<string, bigint>()
  for (const [name, unit, amount] of entry.posts)
    if (name.startsWith('source:')) by.set(unit, (by.get(unit) ?? 0n) - BigInt(amount))
  return [...by].map(([currency, amount]) => ({
    ...{ at: entry.at, account: entry.account, sequence: entry.seq, currency, amount },
    ...{ channel: text('channel'), reference: text('reference'), method: text('method') },
    ...{ outlet: text('outlet'), operator: text('operator') },
  }))
}
