/** Routes for reports from the ledger: the sums of a day, and the list of its recharges. */
import type { DailyReport, LiabilityReport, RechargeRow, Reports } from '../report/daily.js'
import { formatMoney, type Millis } from '../units.js'
import { pageAnswer, pagingQuery, readPaging } from './paging.js'
import { Problem } from './problem.js'
import { object, ok, text, type Route, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js'

export interface ReportServices {
  readonly reports: Reports
  /** The day, YYYY-MM-DD in the time zone of the catalog, that is so many days before today's. */
  readonly localDay: (daysAgo: number) => string
}

/** What GET /v1/reports/daily answers: money as decimal text, units as text of digits. */
export interface DailyReportView {
  readonly date: string
  readonly timezone: string
  /** The day is over: nothing is to be expected any more but late entries. */
  readonly closed: boolean
  readonly entries: number
  readonly currencies: readonly LiabilityView[]
  readonly units: readonly LiabilityView[]
  readonly recharges: readonly (Omit<DailyReport['recharges'][number], 'amount'> & { readonly amount: string })[]
  readonly consumption: readonly (Omit<DailyReport['consumption'][number], 'amount'> & { readonly amount: string })[]
}

export interface LiabilityView extends Readonly<
  Record<'unit' | 'opening' | 'in' | 'out' | 'closing' | 'proven', string>
> {
  readonly movements: readonly { readonly account: string; readonly amount: string }[]
  readonly balanced: boolean
}

export type RechargeView = Omit<RechargeRow, 'amount' | 'at'> & { readonly at: string; readonly amount: string }

const date = text('A day in the time zone of the catalog, like 2026-11-22; yesterday when absent', {
  pattern: '^\\d{4}-\\d{2}-\\d{2}$',
})
const currency = text('ISO 4217, like EUR; all when absent', { pattern: '^[A-Z]{3}$' })

function dayOf(given: string | undefined, { localDay }: ReportServices): string {
  const day = given ?? localDay(1)
  const at: Millis = Date.parse(`${day}T00:00:00Z`)
  if (Number.isNaN(at) || new Date(at).toISOString().slice(0, 10) !== day)
    throw new Problem('invalid-request', `date: ${day} is no day of the calendar`)
  if (day > localDay(0)) throw new Problem('invalid-request', `date: ${day} has not begun; today is ${localDay(0)}`)
  return day
}

const isMoney = (unit: string): boolean => /^[A-Z]{3}$/.test(unit)
const amountOf = (unit: string, amount: bigint): string => (isMoney(unit) ? formatMoney(amount) : String(amount))

function liabilityView(report: LiabilityReport): LiabilityView {
  const { unit, balanced, movements } = report
  const amounts = Object.fromEntries(
    (['opening', 'in', 'out', 'closing', 'proven'] as const).map(name => [name, amountOf(unit, report[name])]),
  ) as Record<'opening' | 'in' | 'out' | 'closing' | 'proven', string>
  return {
    ...{ unit, balanced, ...amounts },
    movements: movements.map(({ account, amount }) => ({ account, amount: amountOf(unit, amount) })),
  }
}

const dailyView = (report: DailyReport, closed: boolean): DailyReportView => ({
  ...{ date: report.date, timezone: report.timezone, closed, entries: report.entries },
  currencies: report.currencies.map(liabilityView),
  units: report.units.map(liabilityView),
  recharges: report.recharges.map(row => ({ ...row, amount: formatMoney(row.amount) })),
  consumption: report.consumption.map(row => ({ ...row, amount: amountOf(row.unit, row.amount) })),
})

const rechargeView = (row: RechargeRow): RechargeView => ({
  ...row,
  at: new Date(row.at).toISOString(),
  amount: formatMoney(row.amount),
})

export const reportRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/reports/daily',
    permission: 'report.read',
    summary: 'What a day moved: recharges, consumption, fees, expiries, and what is owed before and after.',
    query: object([], { date, currency }),
    answers: {
      200: 'Sums of the day: money as decimal text, units whole. `balanced`: opening + in − out is what the accounts have',
    },
    problems: [],
    work: daily,
  },
  {
    method: 'GET',
    path: '/v1/reports/recharges',
    permission: 'report.read',
    summary: 'The recharges of a day, one by one.',
    query: object([], { date, ...pagingQuery }),
    answers: { 200: 'Recharges as the ledger has them, in no order of time, and the cursor of the next page' },
    problems: [],
    work: recharges,
  },
]

async function daily({ query }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const day = dayOf(query['date'], services)
  const report = await services.reports.daily(day, query['currency'])
  return ok(dailyView(report, day < services.localDay(0)))
}

async function recharges({ query }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const day = dayOf(query['date'], services)
  const { limit, after } = readPaging(query, 1)
  const skip = Number(after?.[0] ?? 0)
  if (!Number.isSafeInteger(skip) || skip < 0) throw new Problem('invalid-request', 'after: this is no cursor')
  const rows = await services.reports.recharges(day, skip, limit)
  const next = rows.length < limit ? undefined : [String(skip + limit)]
  return pageAnswer({ items: rows.map(rechargeView), next })
}
