/** `ocsctl payment` and `ocsctl auto-recharge`: money that a payment provider takes. */
import type { Command } from 'commander'
import type { Ctl, Options } from './command.js'
import { pairs } from './text.js'

interface PaymentView {
  readonly id: string
  readonly account: string
  readonly amount: string
  readonly currency: string
  readonly provider: string
  readonly state: string
  readonly redirect: string | null
  readonly why: string | null
  readonly refunds: readonly { readonly amount: string; readonly state: string; readonly reason: string }[]
}

interface AutomaticView {
  readonly below: string | null
  readonly every: string | null
  readonly amount: string | null
  readonly fillTo: string | null
  readonly dayMost: string
  readonly spentToday: string
  readonly payments: number
  readonly underWay: string | null
  readonly failures: number
  readonly lastFailure: string | null
  readonly stopped: boolean
  readonly notBefore: string | null
}

interface BeginOptions extends Options {
  readonly channel: string
  readonly currency?: string
  readonly method?: string
  readonly outlet?: string
  readonly provider?: string
  readonly returnUrl?: string
  readonly mandate?: string
}

interface AutomaticOptions extends Options {
  readonly below?: string
  readonly every?: string
  readonly amount?: string
  readonly fillTo?: string
  readonly min?: string
  readonly max?: string
  readonly dayMost: string
  readonly provider?: string
  readonly method?: string
  readonly mandate: string
}

const pathOf = (account: string, ...more: readonly string[]): string =>
  ['/v1/accounts', ...[account, ...more].map(encodeURIComponent)].join('/')

export function addPaymentCommands(program: Command, ctl: Ctl): void {
  const { command, keyed, final, confirm, call, put, actor } = ctl
  const payment = program
    .command('payment')
    .description('Recharges that a payment provider takes the money for.')
    .exitOverride()
  keyed(
    command(payment, 'begin <account> <amount>', 'Begin a payment; when it is paid, the account is recharged by it.'),
  )
    .option('--channel <name>', 'channel of the recharge', 'portal')
    .option('--currency <code>', 'the account’s when absent')
    .option('--method <name>', 'card, wallet …')
    .option('--outlet <name>', 'where it is paid')
    .option('--provider <name>', 'of the configuration; the first that fits when absent')
    .option('--return-url <url>', 'where the provider sends the subscriber back')
    .option('--mandate <name>', 'the provider’s name for what the subscriber agreed to')
    .action(async (account: string, amount: string, options: BeginOptions) => {
      const { channel, method, outlet, provider, returnUrl, mandate } = options
      const currency = options.currency ?? (await call<{ currency: string }>(options, 'GET', pathOf(account))).currency
      const body = { amount, currency, channel, method, outlet, provider, returnUrl, mandate, actor }
      const begun = await call<PaymentView>(options, 'POST', pathOf(account, 'payments'), body)
      put(options, begun, () => paymentText(begun))
      if (begun.state === 'declined') process.exitCode = 1
    })
  command(payment, 'show <account> <id>', 'How far a payment has come.').action(
    async (account: string, id: string, options: Options) => {
      const found = await call<PaymentView>(options, 'GET', pathOf(account, 'payments', id))
      put(options, found, () => paymentText(found))
    },
  )
  final(keyed(command(payment, 'refund <account> <id> <amount>', 'Give money of a payment back to whoever paid.')))
    .requiredOption('--reason <text>', 'why, for the ledger')
    .action(async (account: string, id: string, amount: string, options: Options & { readonly reason: string }) => {
      await confirm(options, `${amount} leaves account ${account} and goes back to whoever paid.`)
      const body = { amount, reason: options.reason, actor }
      const refund = await call<{ amount: string; state: string }>(
        options,
        'POST',
        pathOf(account, 'payments', id, 'refunds'),
        body,
      )
      put(options, refund, () => `refund of ${refund.amount}: ${refund.state}`)
    })
  addAutomaticCommands(program, ctl)
}

function addAutomaticCommands(program: Command, { command, final, confirm, call, put, actor }: Ctl): void {
  const automatic = program
    .command('auto-recharge')
    .description('Recharges by themselves, under the subscriber’s mandate.')
    .exitOverride()
  command(automatic, 'show <account>', 'What was agreed, and how it went.').action(
    async (account: string, options: Options) => {
      const view = await call<AutomaticView>(options, 'GET', pathOf(account, 'automatic-recharge'))
      put(options, view, () => automaticText(view))
    },
  )
  command(automatic, 'set <account>', 'Recharge when money falls to a level, or on a schedule.')
    .option('--below <amount>', 'when the money is at or below it')
    .option('--every <unit>', 'each day, week or month, from now on')
    .option('--amount <amount>', 'so much')
    .option('--fill-to <amount>', 'or what lacks to it')
    .option('--min <amount>', 'at least so much')
    .option('--max <amount>', 'at most so much')
    .requiredOption('--day-most <amount>', 'of a day in all')
    .option('--provider <name>', 'of the configuration; the first that fits when absent')
    .option('--method <name>', 'card, wallet …')
    .requiredOption('--mandate <name>', 'the provider’s name for what the subscriber agreed to')
    .action(async (account: string, options: AutomaticOptions) => {
      const { below, every, amount, fillTo, min, max, dayMost, provider, method, mandate } = options
      const body = { below, every, amount, fillTo, min, max, dayMost, provider, method, mandate, actor }
      const view = await call<AutomaticView>(options, 'POST', pathOf(account, 'automatic-recharge'), body)
      put(options, view, () => automaticText(view))
    })
  final(command(automatic, 'stop <account>', 'No longer.')).action(async (account: string, options: Options) => {
    await confirm(options, `Account ${account} is no longer recharged by itself.`)
    const answer = await call<object>(options, 'DELETE', pathOf(account, 'automatic-recharge'))
    put(options, answer, () => `account ${account} is no longer recharged by itself`)
  })
}

const paymentText = ({ id, account, amount, currency, provider, state, redirect, why, refunds }: PaymentView): string =>
  pairs({
    payment: id,
    account,
    amount: `${amount} ${currency}`,
    provider,
    state: why === null ? state : `${state}: ${why}`,
    ...(redirect !== null && { 'pay at': redirect }),
    ...(refunds.length > 0 && {
      refunds: refunds.map(each => `${each.amount} ${each.state} (${each.reason})`).join('; '),
    }),
  })

const automaticText = (view: AutomaticView): string =>
  pairs({
    when: [
      view.below === null ? [] : [`money at or below ${view.below}`],
      view.every === null ? [] : [`each ${view.every}`],
    ]
      .flat()
      .join(', or '),
    'how much': view.fillTo === null ? (view.amount ?? '') : `up to ${view.fillTo}`,
    'of a day': `${view.spentToday} of ${view.dayMost} at most`,
    payments: `${view.payments}${view.underWay === null ? '' : `, under way: ${view.underWay}`}`,
    failures:
      view.lastFailure === null ? String(view.failures) : `${view.failures} in a row, the last: ${view.lastFailure}`,
    state: view.stopped
      ? 'stopped after too many failures: set it again'
      : view.notBefore === null
        ? 'on'
        : `on, not before ${view.notBefore}`,
  })
