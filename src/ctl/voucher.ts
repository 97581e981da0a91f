/** `ocsctl voucher`: batches of vouchers, and what care and shops do with one. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import type { Command } from 'commander'
import type { Ctl, Options } from './command.js'
import { pairs, table } from './text.js'

interface BatchView {
  readonly batch: string
  readonly name: string
  readonly state: string
  readonly count: number
  readonly worth?: string
  readonly exported: boolean
  readonly used: number
  readonly amount: string | null
  readonly currency: string | null
  readonly offer: string | null
  readonly expires: string | null
  readonly blocked: readonly { readonly from: number; readonly to: number }[]
  readonly acts: readonly {
    readonly at: string
    readonly by: string
    readonly act: string
    readonly from?: number
    readonly to?: number
    readonly reason?: string
  }[]
}

interface ReportView extends BatchView {
  readonly states: Readonly<Record<string, { readonly count: number; readonly sum?: string }>>
  readonly redeemed: readonly {
    readonly day: string
    readonly outlet: string | null
    readonly count: number
    readonly sum?: string
  }[]
}

interface VoucherView {
  readonly voucher: string
  readonly batch: string
  readonly state: string
  readonly amount: string | null
  readonly currency: string | null
  readonly offer: string | null
  readonly expires: string | null
  readonly account: string | null
  readonly at: string | null
  readonly channel: string | null
  readonly outlet: string | null
  readonly actor: string | null
}

interface RedeemedView {
  readonly account: string
  readonly voucher: string
  readonly repeated: boolean
  readonly amount?: string
  readonly currency?: string
  readonly money?: string
  readonly offer?: string
  readonly subscription?: string | null
}

interface CreateOptions extends Options {
  readonly name: string
  readonly count: string
  readonly amount?: string
  readonly currency?: string
  readonly offer?: string
  readonly expires?: string
  readonly digits?: string
}

interface BlockOptions extends Options {
  readonly reason: string
  readonly serials?: string
}

/** A voucher's code has 21 digits at most. */
const mostInput = 256

export function addVoucherCommands(program: Command, ctl: Ctl): void {
  const voucher = program.command('voucher').description('Vouchers and their batches.').exitOverride()
  addBatchCommands(voucher, ctl)
  const { command, call, put, actor, keyed } = ctl
  keyed(
    command(voucher, 'redeem <number> <code>', 'Redeem a voucher for an MSISDN, or for account:ID. Code -: read it.'),
  )
    .option('--channel <name>', 'where it came in', 'ocsctl')
    .option('--outlet <name>', 'the shop')
    .option('--subscriber <number>', 'that an offer is for; all of the account when absent')
    .addHelpText(
      'after',
      '\nA code on the command line stays in the history of the shell: give - and type it, or pipe it in.',
    )
    .action(
      async (
        number: string,
        code: string,
        options: Options & { channel: string; outlet?: string; subscriber?: string },
      ) => {
        const { channel, outlet, subscriber } = options
        const whose = number.startsWith('account:') ? { account: number.slice('account:'.length) } : { msisdn: number }
        const body = { ...whose, code: code === '-' ? await readStdin(ctl) : code, channel, outlet, subscriber, actor }
        const answer = await call<RedeemedView>(options, 'POST', '/v1/vouchers/redeem', body)
        put(options, answer, () => redeemedText(answer))
      },
    )
  command(voucher, 'show <voucher>', 'A voucher by batch and serial, like 12-345.').action(
    async (id: string, options: Options) => {
      const view = await call<VoucherView>(options, 'GET', `/v1/vouchers/${encodeURIComponent(id)}`)
      put(options, view, () => voucherText(view))
    },
  )
  command(voucher, 'unlock <account>', 'Forget the wrong codes of an account.').action(
    async (account: string, options: Options) => {
      const query = new URLSearchParams({ actor })
      const path = `/v1/accounts/${encodeURIComponent(account)}/voucher-lock?${query.toString()}`
      const answer = await call<object>(options, 'DELETE', path)
      put(options, answer, () => `account ${account} may redeem vouchers again`)
    },
  )
}

function addBatchCommands(voucher: Command, ctl: Ctl): void {
  const { command, call, put, actor, keyed, final, confirm, usage } = ctl
  const batch = voucher.command('batch').description('Batches of vouchers.').exitOverride()
  keyed(command(batch, 'create', 'Make a batch: money, an offer, or both. It has no codes before it is exported.'))
    .requiredOption('--name <text>', 'for people')
    .requiredOption('--count <number>', 'how many vouchers, up to 1,000,000')
    .option('--amount <amount>', 'each is worth, like 5.00')
    .option('--currency <code>', 'of the amount; the catalog’s when absent')
    .option('--offer <name>', 'each brings, without its fee')
    .option('--expires <time>', 'last day, like 2027-12-31, or a time; never when absent')
    .option('--digits <number>', 'of a code without its check digit, 10 to 20; 14 when absent')
    .action(async (options: CreateOptions) => {
      const { name, amount, currency, offer, expires } = options
      const [count, digits] = [options.count, options.digits].map(each =>
        each === undefined ? undefined : Number(each),
      )
      if (!Number.isInteger(count) || (digits !== undefined && !Number.isInteger(digits)))
        throw usage('--count and --digits are whole numbers')
      const body = { name, count, amount, currency, offer, expires, digits, actor }
      const made = await call<BatchView>(options, 'POST', '/v1/voucher-batches', body)
      put(options, made, () => `${batchText(made)}\n\nnext: ocsctl voucher batch export ${made.batch} --to FILE`)
    })
  command(batch, 'list', 'All batches, the newest first.')
    .option('--limit <number>', 'at most so many, up to 1000', '100')
    .option('--after <cursor>', 'the next page')
    .action(async (options: Options & { limit: string; after?: string }) => {
      const query = new URLSearchParams({
        limit: options.limit,
        ...(options.after !== undefined && { after: options.after }),
      })
      const page = await call<{ items: BatchView[]; next: string | null }>(
        options,
        'GET',
        `/v1/voucher-batches?${query.toString()}`,
      )
      put(options, page, () => listText(page.items, page.next))
    })
  command(
    batch,
    'show <batch>',
    'A batch: its vouchers by state, redeemed by day and outlet, and who did what.',
  ).action(async (id: string, options: Options) => {
    const report = await call<ReportView>(options, 'GET', pathOf(id))
    put(options, report, () => reportText(report))
  })
  final(
    command(batch, 'export <batch>', 'Write the codes to a file, for the printer. Once: no second export gives them.'),
  )
    .requiredOption('--to <file>', 'a new file, for its owner only')
    .action(async (id: string, options: Options & { readonly to: string }) => {
      const { count } = await call<ReportView>(options, 'GET', pathOf(id))
      await confirm(options, `Write the ${count} codes of batch ${id} to ${options.to}? They can be had only once.`)
      await exportTo(options.to, id, count, options, ctl)
      put(
        options,
        { batch: id, file: options.to, count },
        () => `${count} codes are in ${options.to}; the batch is not active yet`,
      )
    })
  final(command(batch, 'activate <batch>', 'Make its vouchers worth what they say.')).action(
    async (id: string, options: Options) => {
      const view = await call<ReportView>(options, 'GET', pathOf(id))
      await confirm(options, `Activate ${view.count} vouchers of batch ${id} (${worthText(view)})?`)
      const done = await call<BatchView>(options, 'POST', `${pathOf(id)}/activate`, { actor })
      put(options, done, () => batchText(done))
    },
  )
  for (const act of ['block', 'unblock'] as const) {
    const described = act === 'block' ? 'Nobody can redeem them any more.' : 'They can be redeemed again.'
    command(batch, `${act} <batch>`, described)
      .requiredOption('--reason <text>', 'why')
      .option('--serials <range>', 'some only, like 345 or 100-199')
      .action(async (id: string, options: BlockOptions) => {
        const range = options.serials === undefined ? {} : rangeOf(options.serials, ctl)
        const body = { ...range, reason: options.reason, actor }
        const done = await call<BatchView>(options, 'POST', `${pathOf(id)}/${act}`, body)
        put(options, done, () => batchText(done))
      })
  }
}

const pathOf = (batch: string): string => `/v1/voucher-batches/${encodeURIComponent(batch)}`

/** What comes is in the file whole, or there is no file. */
async function exportTo(file: string, id: string, count: number, options: Options, ctl: Ctl): Promise<void> {
  const part = `${file}.part`
  let fd: number
  try {
    closeSync(openSync(file, 'wx', 0o600)) // nobody's file is written over
    fd = openSync(part, 'wx', 0o600)
  } catch (error) {
    throw ctl.usage(`${file} cannot be made: ${(error as Error).message}`)
  }
  try {
    let lines = 0
    for await (const text of ctl.download(options, `${pathOf(id)}/export`, { actor: ctl.actor })) {
      writeSync(fd, text)
      lines += text.split('\n').length - 1
    }
    if (lines !== count + 1)
      throw ctl.usage(`the export broke off after ${lines} lines: run it again, the codes stay the same`)
    fsyncSync(fd)
    renameSync(part, file)
  } catch (error) {
    rmSync(part, { force: true })
    rmSync(file, { force: true })
    throw error
  } finally {
    closeSync(fd)
  }
}

function rangeOf(text: string, { usage }: Ctl): { from: number; to: number } {
  const [, from, to = from] = /^([1-9]\d{0,6})(?:-([1-9]\d{0,6}))?$/.exec(text) ?? []
  if (from === undefined) throw usage(`--serials ${text}: write 345 or 100-199`)
  return { from: Number(from), to: Number(to) }
}

async function readStdin({ usage }: Ctl): Promise<string> {
  if (process.stdin.isTTY) process.stderr.write('code: ')
  let text = ''
  for await (const chunk of process.stdin.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk
    if (text.includes('\n')) break
    if (text.length > mostInput) throw usage('standard input holds no code: it is too long')
  }
  process.stdin.destroy()
  return text.split('\n', 1)[0]!.trim()
}

function worthText({ amount, currency, offer }: Pick<BatchView, 'amount' | 'currency' | 'offer'>): string {
  return [
    ...(amount === null ? [] : [`${amount} ${currency ?? ''}`]),
    ...(offer === null ? [] : [`offer ${offer}`]),
  ].join(', ')
}

const stateText = ({ state, exported }: BatchView): string =>
  state === 'created' ? (exported ? 'created, exported' : 'created, no codes yet') : state

function batchText(batch: BatchView): string {
  const { batch: id, name, count, used, worth, currency, expires, blocked } = batch
  return pairs({
    batch: id,
    name,
    state: stateText(batch),
    vouchers: `${count} of ${worthText(batch)}${worth === undefined ? '' : `, ${worth} ${currency ?? ''} in all`}`,
    used: String(used),
    expires: expires ?? 'never',
    ...(blocked.length > 0 && {
      blocked: blocked.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(', '),
    }),
  })
}

function listText(batches: readonly BatchView[], next: string | null): string {
  if (batches.length === 0) return 'no batches'
  const rows = batches.map(each => {
    const { batch, name, count, used, expires } = each
    return [batch, name, stateText(each), String(count), worthText(each), String(used), expires ?? 'never']
  })
  const list = table(['batch', 'name', 'state', 'count', 'each', 'used', 'expires'], rows)
  return next === null ? list : `${list}\n\nmore: --after ${next}`
}

function reportText(report: ReportView): string {
  const { states, redeemed, acts } = report
  const parts = [
    batchText(report),
    table(
      ['state', 'count', 'sum'],
      Object.entries(states).map(([state, { count, sum = '' }]) => [state, String(count), sum]),
    ),
  ]
  if (redeemed.length > 0)
    parts.push(
      table(
        ['redeemed on', 'outlet', 'count', 'sum'],
        redeemed.map(({ day, outlet, count, sum = '' }) => [day, outlet ?? '-', String(count), sum]),
      ),
    )
  parts.push(
    table(
      ['at', 'act', 'by', 'serials', 'reason'],
      acts.map(({ at, act, by, from, to, reason = '' }) => [
        ...[at, act, by],
        from === undefined ? 'all' : from === to ? String(from) : `${from}-${to}`,
        reason,
      ]),
    ),
  )
  return parts.join('\n\n')
}

function voucherText(view: VoucherView): string {
  const { voucher, state, expires, account, at, channel, outlet, actor } = view
  return pairs({
    voucher,
    state,
    brings: worthText(view),
    expires: expires ?? 'never',
    ...(account !== null && {
      account,
      redeemed: at ?? '',
      channel: channel ?? '',
      outlet: outlet ?? '-',
      by: actor ?? '',
    }),
  })
}

function redeemedText({
  account,
  voucher,
  repeated,
  amount,
  currency,
  money,
  offer,
  subscription,
}: RedeemedView): string {
  const brought = [
    ...(amount === undefined ? [] : [`${amount} ${currency ?? ''}`]),
    ...(offer === undefined ? [] : [`offer ${offer} (subscription ${subscription ?? '?'})`]),
  ].join(' and ')
  const when = repeated ? 'brought it before' : 'brings'
  return `voucher ${voucher} ${when}: ${brought} for account ${account}${money === undefined ? '' : `, which has ${money} ${currency ?? ''} with it`}`
}
