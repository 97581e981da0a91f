/** Commands of ocsctl that move money: recharges one by one and as a file, adjustments, write-offs, transfers. */
import { createReadStream, existsSync } from 'node:fs'
import { extname } from 'node:path'
import { Readable } from 'node:stream'
import type { Command } from 'commander'
import type { RechargeReport } from '../admin/recharge-import.js'
import type { AccountView } from '../admin/views.js'
import type { Ctl, Options } from './command.js'
import { pairs } from './text.js'

interface BucketAnswer {
  readonly id: string
  readonly name: string
  readonly unit: string
  readonly amount: number | string
}

interface MoneyAnswer {
  readonly account: string
  readonly money: string
  readonly debt: string
  readonly buckets: readonly BucketAnswer[]
  readonly repeated: boolean
}

export function addRechargeCommands(program: Command, ctl: Ctl): void {
  const { command, keyed, final } = ctl
  keyed(command(program, 'recharge <account> <amount>', 'Money in, once for each reference. Also takes an MSISDN.'))
    .requiredOption('--reference <text>', 'the same reference again credits nothing')
    .option('--channel <name>', 'where the money came from', 'ocsctl')
    .option('--currency <code>', 'currency; the account’s when absent')
    .option('--method <word>', 'how it was paid, like cash or card')
    .option('--outlet <word>', 'where it was taken')
    .option('--operator <word>', 'who took it')
    .action((who: string, amount: string, options: RechargeOptions) => recharge(ctl, who, amount, options))
  command(program, 'find-recharge <channel> <reference>', 'What became of a recharge.').action(
    (channel: string, reference: string, options: Options) => findRecharge(ctl, channel, reference, options),
  )
  command(
    program,
    'recharge-file <file>',
    'Recharges from CSV or JSON lines (- reads CSV from stdin). Safe to run again.',
  )
    .option('--channel <name>', 'of rows that name none', 'bulk')
    .option('--all-or-nothing', 'one bad row, and none is applied')
    .addHelpText(
      'after',
      `
First line of a CSV: account or msisdn, amount,currency,reference, and if wanted channel,method,outlet,operator`,
    )
    .action((file: string, options: FileOptions) => rechargeFile(ctl, file, options))
  keyed(
    command(program, 'adjust <account> <amount>', 'Give (+5.00, +1GB) or take (-2.00) by hand. Also takes an MSISDN.'),
  )
    .requiredOption('--reason <text>', 'why, for the ledger')
    .option('--bucket <name>', 'id or name of a bucket; main when absent')
    .option('--until <time>', 'makes a new bucket of that name with this end, or never')
    .option('--code <word>', 'a code of your own for reports')
    .allowUnknownOption() // -2.00 is an amount
    .allowExcessArguments(false)
    .action((who: string, amount: string, options: AdjustOptions) => adjust(ctl, who, amount, options))
  final(
    keyed(
      command(
        program,
        'writeoff <account> [amount]',
        'Write debt off, all of it without an amount. Also takes an MSISDN.',
      ),
    ),
  )
    .requiredOption('--reason <text>', 'why, for the ledger')
    .option('--code <word>', 'a code of your own for reports')
    .action((who: string, amount: string | undefined, options: AdjustOptions) => writeOff(ctl, who, amount, options))
  keyed(command(program, 'transfer <from> <to> <amount>', 'Move money between two accounts. Also takes MSISDNs.'))
    .option('--reason <text>', 'why, for the ledger')
    .action((from: string, to: string, amount: string, options: AdjustOptions) =>
      transfer(ctl, from, to, amount, options),
    )
  command(program, 'find-transfer <id>', 'What became of a transfer.').action((id: string, options: Options) =>
    findTransfer(ctl, id, options),
  )
}

/** An account by its id, or by the MSISDN of one of its subscribers. */
export async function accountOf({ call }: Pick<Ctl, 'call'>, options: Options, who: string): Promise<AccountView> {
  try {
    return await call<AccountView>(options, 'GET', `/v1/accounts/${encodeURIComponent(who)}`)
  } catch (error) {
    const type = (error as { readonly document?: { readonly type?: string } }).document?.type ?? ''
    if (!/:(not-found|invalid-request)$/.test(type) || !/^\+?\d{3,15}$/.test(who)) throw error
    const path = `/v1/subscribers/msisdn/${encodeURIComponent(who)}`
    return (await call<{ account: AccountView }>(options, 'GET', path)).account
  }
}

interface RechargeOptions extends Options {
  readonly reference: string
  readonly channel: string
  readonly currency?: string
  readonly method?: string
  readonly outlet?: string
  readonly operator?: string
}

async function recharge(ctl: Ctl, who: string, amount: string, options: RechargeOptions): Promise<void> {
  const account = await accountOf(ctl, options, who)
  const { currency = account.currency, channel, reference, method, outlet, operator } = options
  type Answer = MoneyAnswer & { amount: string; bonus: { rule: string; money: string } | null }
  const path = `/v1/accounts/${encodeURIComponent(account.id)}/recharges`
  const body = { amount, currency, channel, reference, method, outlet, operator, actor: ctl.actor }
  const result = await ctl.call<Answer>(options, 'POST', path, body)
  ctl.put(options, result, () => {
    const done = result.repeated ? 'was credited before, nothing is added now' : 'credited'
    const { bonus, buckets } = result
    const extra = [
      ...(bonus && bonus.money !== '0.00' ? [`${bonus.money} ${currency}`] : []),
      ...buckets.map(bucket => bucketText(bucket, currency)),
    ]
    return [
      `${result.amount} ${currency} ${done}: account ${account.id} has ${result.money} ${currency}, debt ${result.debt}`,
      ...(extra.length === 0 ? [] : [`with it came ${extra.join(', ')}${bonus ? ` (bonus ${bonus.rule})` : ''}`]),
    ].join('\n')
  })
}

const bucketText = ({ id, name, unit, amount }: BucketAnswer, currency: string): string =>
  `${amount} ${unit === 'money' ? currency : unit} in bucket ${name} (${id})`

async function findRecharge(ctl: Ctl, channel: string, reference: string, options: Options): Promise<void> {
  type Answer = Readonly<Record<string, unknown>> & {
    readonly state: string
    readonly at: string | null
    readonly bonus: { readonly rule: string; readonly money: string } | null
    readonly buckets: readonly BucketAnswer[]
  }
  const path = `/v1/recharges/${encodeURIComponent(channel)}/${encodeURIComponent(reference)}`
  const found = await ctl.call<Answer>(options, 'GET', path)
  ctl.put(options, found, () =>
    pairs({
      recharge: `${channel} ${reference}`,
      state: found.state === 'credited' ? `credited ${found.at ?? ''}` : 'begun, and not credited yet',
      account: String(found['account']),
      amount: `${String(found['amount'])} ${String(found['currency'])}`,
      ...(found.bonus && { bonus: `${found.bonus.rule} ${found.bonus.money}` }),
      ...(found.buckets.length > 0 && {
        buckets: found.buckets.map(each => bucketText(each, String(found['currency']))).join(', '),
      }),
    }),
  )
}

interface FileOptions extends Options {
  readonly channel: string
  readonly allOrNothing?: boolean
}

async function rechargeFile(ctl: Ctl, file: string, options: FileOptions): Promise<void> {
  if (file !== '-' && !existsSync(file)) throw ctl.usage(`there is no file ${file}`)
  const stream = file === '-' ? process.stdin : createReadStream(file)
  const type = /^\.(jsonl|ndjson|json)$/i.test(extname(file)) ? 'application/x-ndjson' : 'text/csv'
  const query = new URLSearchParams({
    channel: options.channel,
    actor: ctl.actor,
    ...(options.allOrNothing && { allOrNothing: 'true' }),
  })
  const path = `/v1/recharges/import?${query.toString()}`
  const report = await ctl.call<RechargeReport>(options, 'POST', path, Readable.toWeb(stream), { type })
  ctl.put(options, report, () => reportText(report))
  if (report.refused > 0 || report.stopped) process.exitCode = 1
}

function reportText({ rows, credited, repeated, refused, sums, errors, stopped, nothing }: RechargeReport): string {
  const lines = errors.map(({ line, reason }) => `line ${line}: ${reason}`)
  if (stopped) lines.push(`stopped at line ${stopped.line}: ${stopped.reason}`)
  if (nothing) lines.push('nothing is applied: correct the file and send it again')
  const sum = Object.entries(sums).map(([currency, amount]) => ` ${amount} ${currency}`)
  lines.push(`${rows} rows: ${credited} credited${sum.join(',')}, ${repeated} before, ${refused} refused`)
  return lines.join('\n')
}

interface AdjustOptions extends Options {
  readonly reason: string
  readonly bucket?: string
  readonly until?: string
  readonly code?: string
}

async function adjust(ctl: Ctl, who: string, amount: string, options: AdjustOptions): Promise<void> {
  if (!/^[+-]\d/.test(amount)) throw ctl.usage(`say whether ${amount} is given or taken: +${amount} or -${amount}`)
  const { id } = await accountOf(ctl, options, who)
  const { reason, bucket, until, code } = options
  const body = { amount, bucket, until, reason, code, actor: ctl.actor }
  await putMoney(ctl, options, `/v1/accounts/${encodeURIComponent(id)}/adjustments`, body)
}

async function writeOff(ctl: Ctl, who: string, amount: string | undefined, options: AdjustOptions): Promise<void> {
  const { id, debt, currency } = await accountOf(ctl, options, who)
  const written = amount ?? debt
  // Where nothing is owed the daemon says so.
  if (!/^0(\.0+)?$/.test(debt))
    await ctl.confirm(options, `write off ${written} ${currency} that account ${id} owes (${debt} in all)?`)
  const { reason, code } = options
  const body = { amount: written, currency, reason, code, actor: ctl.actor }
  await putMoney(ctl, options, `/v1/accounts/${encodeURIComponent(id)}/writeoffs`, body)
}

async function putMoney(ctl: Ctl, options: Options, path: string, body: object): Promise<void> {
  const result = await ctl.call<MoneyAnswer & { currency: string }>(options, 'POST', path, body)
  ctl.put(options, result, () => {
    const { account, money, currency, debt, buckets, repeated } = result
    const has = `account ${account} has ${money} ${currency}, debt ${debt}`
    return [
      `${repeated ? 'done before' : 'done'}: ${has}`,
      ...buckets.map(each => `left: ${bucketText(each, currency)}`),
    ].join('\n')
  })
}

interface TransferAnswer {
  readonly id: string
  readonly state: 'sent' | 'done' | 'returned'
  readonly from: string
  readonly to: string
  readonly amount: string
  readonly fee: string
  readonly currency: string
  readonly at: string
  readonly reason: string | null
  readonly why: string | null
}

async function transfer(ctl: Ctl, from: string, to: string, amount: string, options: AdjustOptions): Promise<void> {
  const [sender, receiver] = [await accountOf(ctl, options, from), await accountOf(ctl, options, to)]
  const body = { from: sender.id, to: receiver.id, amount, reason: options.reason, actor: ctl.actor }
  const result = await ctl.call<TransferAnswer>(options, 'POST', '/v1/transfers', body)
  ctl.put(options, result, () => transferText(result))
  if (result.state === 'returned') process.exitCode = 1
}

async function findTransfer(ctl: Ctl, id: string, options: Options): Promise<void> {
  const found = await ctl.call<TransferAnswer>(options, 'GET', `/v1/transfers/${encodeURIComponent(id)}`)
  ctl.put(options, found, () => transferText(found))
}

function transferText({ id, state, from, to, amount, fee, currency, at, reason, why }: TransferAnswer): string {
  const states = { sent: 'under way', done: 'done', returned: `returned to the sender: ${why ?? ''}` }
  return pairs({
    transfer: id,
    state: states[state],
    from,
    to,
    amount: `${amount} ${currency}`,
    ...(fee !== '0.00' && { fee: `${fee} ${currency}` }),
    at,
    ...(reason !== null && { reason }),
  })
}
