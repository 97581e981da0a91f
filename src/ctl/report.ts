/** `ocsctl report`: the sums of a day from the ledger, as table, CSV or JSON. */
import type { Command } from 'commander'
import type { DailyReportView, LiabilityView, RechargeView } from '../admin/report-routes.js'
import { formatAmount } from '../units.js'
import type { Ctl, Options } from './command.js'
import { table } from './text.js'

interface ReportOptions extends Options {
  readonly csv?: boolean
  readonly currency?: string
  readonly list?: boolean
}

export function addReportCommands(program: Command, { command, call, put }: Ctl): void {
  const report = program.command('report').description('Reports from the ledger.').exitOverride()
  command(report, 'daily [date]', 'Sums of a day, yesterday when absent: liability, recharges, consumption.')
    .option('--currency <code>', 'of one currency only')
    .option('--csv', 'print one row for each figure, as CSV')
    .action(async (date: string | undefined, options: ReportOptions) => {
      const query = new URLSearchParams({
        ...(date !== undefined && { date }),
        ...(options.currency !== undefined && { currency: options.currency }),
      })
      const view = await call<DailyReportView>(options, 'GET', `/v1/reports/daily?${query.toString()}`)
      put(options, view, () => (options.csv ? csvOf(dailyRows(view)) : dailyText(view)))
      if (![...view.currencies, ...view.units].every(({ balanced }) => balanced)) process.exitCode = 1
    })
  command(report, 'recharges [date]', 'Recharges of a day by channel, method, outlet, operator and hour.')
    .option('--list', 'one by one')
    .option('--csv', 'as CSV')
    .action(async (date: string | undefined, options: ReportOptions) => {
      const day = date === undefined ? '' : `date=${encodeURIComponent(date)}&`
      const head = ['currency', 'channel', 'method', 'outlet', 'operator', 'hour', 'count', 'amount']
      if (!options.list) {
        const view = await call<DailyReportView>(options, 'GET', `/v1/reports/daily?${day}`)
        const rows = view.recharges.map(row => [
          ...[row.currency, row.channel, row.method, row.outlet, row.operator],
          ...[String(row.hour), String(row.count), row.amount],
        ])
        put(options, { date: view.date, recharges: view.recharges }, () =>
          options.csv ? csvOf([head, ...rows]) : rows.length === 0 ? `no recharges on ${view.date}` : table(head, rows),
        )
        return
      }
      const items: RechargeView[] = []
      let after: string | null = ''
      do {
        const more: string = after === '' ? '' : `&after=${encodeURIComponent(after)}`
        const page: { items: RechargeView[]; next: string | null } = await call(
          options,
          'GET',
          `/v1/reports/recharges?${day}limit=1000${more}`,
        )
        items.push(...page.items)
        after = page.next
      } while (after !== null)
      const listHead = ['at', 'account', 'currency', 'amount', 'channel', 'reference', 'method', 'outlet', 'operator']
      const rows = items.map(row => [
        ...[row.at, row.account, row.currency, row.amount, row.channel],
        ...[row.reference, row.method, row.outlet, row.operator],
      ])
      put(options, { recharges: items }, () =>
        options.csv ? csvOf([listHead, ...rows]) : rows.length === 0 ? 'no recharges' : table(listHead, rows),
      )
    })
}

/** RFC 4180, with the lines' ends of the shell. What a spreadsheet would take for a formula is text. */
function csvOf(rows: readonly (readonly string[])[]): string {
  const cell = (value: string): string => {
    const safe = /^[=+@\t]/.test(value) ? `'${value}` : value
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
  }
  return rows.map(row => row.map(cell).join(',')).join('\n')
}

const liabilityRows = ({ unit, movements, ...figures }: LiabilityView): string[][] => [
  ...(['opening', 'in', 'out', 'closing', 'proven'] as const).map(name => ['liability', unit, name, '', figures[name]]),
  ...movements.map(({ account, amount }) => ['movement', unit, account, '', amount]),
]

function dailyRows(view: DailyReportView): string[][] {
  return [
    ['date', 'section', 'unit', 'name', 'of', 'amount', 'count'],
    ...[
      ...[...view.currencies, ...view.units].flatMap(liabilityRows).map(row => [...row, '']),
      ...view.recharges.map(row => [
        ...['recharge', row.currency, row.channel],
        ...[[row.method, row.outlet, row.operator, `${row.hour}h`].filter(word => word !== '').join(' ')],
        ...[row.amount, String(row.count)],
      ]),
      ...view.consumption.map(row => [
        'consumption',
        row.unit,
        `${row.service} ${row.offer}`.trim(),
        row.what,
        row.amount,
        '',
      ]),
    ].map(row => [view.date, ...row]),
  ]
}

/** Octets in GB, seconds in minutes, where that is exact; `--csv` and `--json` have the plain figures. */
const shown = (figure: string, unit: string): string =>
  unit === 'octets' || unit === 'seconds' ? formatAmount(unit, BigInt(figure)) : figure

function dailyText(view: DailyReportView): string {
  const liabilities = [...view.currencies, ...view.units]
  const parts = [
    `${view.date} (${view.timezone}), ${view.entries} entries${view.closed ? '' : '; the day is not over'}`,
    liabilities.length === 0
      ? 'nothing was ever moved'
      : table(
          ['unit', 'opening', 'in', 'out', 'closing', 'checked'],
          liabilities.map(each => [
            ...[each.unit, ...[each.opening, each.in, each.out, each.closing].map(figure => shown(figure, each.unit))],
            each.balanced ? 'agrees with the accounts' : `WRONG: the accounts have ${shown(each.proven, each.unit)}`,
          ]),
        ),
  ]
  const movements = liabilities.flatMap(({ unit, movements }) =>
    movements.map(({ account, amount }) => [account, unit, shown(amount, unit)]),
  )
  if (movements.length > 0) parts.push(table(['into balances (-: out of them)', 'unit', 'amount'], movements))
  const { recharges, consumption } = view
  if (recharges.length > 0)
    parts.push(
      table(
        ['recharges', 'method', 'outlet', 'operator', 'hour', 'count', 'amount', 'currency'],
        recharges.map(row => [
          ...[row.channel, row.method, row.outlet, row.operator, String(row.hour)],
          ...[String(row.count), row.amount, row.currency],
        ]),
      ),
    )
  if (consumption.length > 0)
    parts.push(
      table(
        ['service', 'offer', 'what', 'amount', 'unit'],
        consumption.map(row => [row.service, row.offer || '-', row.what, shown(row.amount, row.unit), row.unit]),
      ),
    )
  return parts.join('\n\n')
}
