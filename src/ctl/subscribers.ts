/** `ocsctl subscriber …`: who belongs to an account; `ocsctl fsck`: whether the index of identities agrees. */
import type { Command } from 'commander'
import type { OrphanView } from '../admin/subscriber-routes.js'
import type { AccountView } from '../admin/views.js'
import type { Ctl, Options } from './command.js'
import { table } from './text.js'

interface ReasonOptions extends Options {
  readonly reason: string
}

interface IdentityOptions extends ReasonOptions {
  readonly msisdn?: string
  readonly imsi?: string
  readonly nai?: string
}

interface FsckView {
  readonly accounts: number
  readonly identities: number
  readonly found: number
  readonly orphans: readonly OrphanView[]
}

/** @param accountText what is printed of an account */
export function addSubscriberCommands(program: Command, ctl: Ctl, accountText: (account: AccountView) => string): void {
  const { command, final, confirm, call, put, usage, actor } = ctl
  const subscriber = program.command('subscriber').description('Who belongs to an account.').exitOverride()
  const pathOf = (account: string, ...more: readonly string[]): string =>
    ['/v1/accounts', ...[account, 'subscribers', ...more].map(encodeURIComponent)].join('/')
  const withReason = (of: Command): Command => of.requiredOption('--reason <text>', 'why, for the ledger')
  const withIdentities = (of: Command, what: string): Command =>
    withReason(of).option('--msisdn <digits>', what).option('--imsi <digits>', what).option('--nai <name>', what)

  withIdentities(
    command(subscriber, 'add <account>', 'Add a subscriber. Buy offers for it with ocsctl subscribe --subscriber.'),
    'its identity',
  ).action(async (account: string, { msisdn, imsi, nai, reason, ...options }: IdentityOptions) => {
    if ((msisdn ?? imsi ?? nai) === undefined) throw usage('give --msisdn, --imsi or --nai')
    const body = { msisdn, imsi, nai, reason, actor }
    const view = await call<AccountView>(options, 'POST', pathOf(account), body)
    put(options, view, () => accountText(view))
  })

  withIdentities(
    command(subscriber, 'change <account> <number>', 'Another SIM or number: other identities.'),
    "the new one; '' takes it away",
  ).action(async (account: string, number: string, { msisdn, imsi, nai, reason, ...options }: IdentityOptions) => {
    if ((msisdn ?? imsi ?? nai) === undefined) throw usage('give --msisdn, --imsi or --nai')
    const orNull = (text: string | undefined): string | null | undefined => (text === '' ? null : text)
    const body = { msisdn: orNull(msisdn), imsi: orNull(imsi), nai: orNull(nai), reason, actor }
    const view = await call<AccountView>(options, 'POST', pathOf(account, number, 'identities'), body)
    put(options, view, () => accountText(view))
  })

  withReason(
    final(command(subscriber, 'remove <account> <number>', 'Take a subscriber out. Money and buckets stay.')),
  ).action(async (account: string, number: string, options: ReasonOptions) => {
    await confirm(
      options,
      `Subscriber ${number} leaves account ${account}: its identities are free for others, offers of its own end.`,
    )
    const query = new URLSearchParams({ reason: options.reason, actor })
    const view = await call<AccountView>(options, 'DELETE', `${pathOf(account, number)}?${query.toString()}`)
    put(options, view, () => accountText(view))
  })

  withReason(
    final(command(subscriber, 'move <account> <number> <to>', 'Move a subscriber to another account.')),
  ).action(async (account: string, number: string, to: string, options: ReasonOptions) => {
    await confirm(
      options,
      `Subscriber ${number} of account ${account} goes to account ${to}: money and buckets stay, offers with a recurring fee end.`,
    )
    const body = { to, reason: options.reason, actor }
    const answer = await call<{ subscriber: string; account: AccountView }>(
      ...([options, 'POST', pathOf(account, number, 'move'), body] as const),
    )
    put(
      options,
      answer,
      () => `it is subscriber ${answer.subscriber} of account ${to}\n\n${accountText(answer.account)}`,
    )
  })

  for (const [word, description] of [
    ['block', 'Block a subscriber: it gets 4010. The account goes on.'],
    ['unblock', 'Serve a blocked subscriber again.'],
  ] as const) {
    withReason(command(subscriber, `${word} <account> <number>`, description)).action(
      async (account: string, number: string, options: ReasonOptions) => {
        const body = { reason: options.reason, actor }
        const view = await call<AccountView>(options, 'POST', pathOf(account, number, word), body)
        put(options, view, () => `subscriber ${number} of account ${account} is ${word}ed`)
      },
    )
  }

  command(program, 'fsck', 'Compare the index of identities with the accounts.')
    .option('--repair', 'mend what does not agree')
    .action(async (options: Options & { readonly repair?: boolean }) => {
      const view = await call<FsckView>(options, 'POST', '/v1/fsck', { repair: options.repair ?? false })
      put(options, view, () => fsckText(view))
      if (view.orphans.some(({ repaired }) => !repaired)) process.exitCode = 1
    })
}

const kinds: Readonly<Record<OrphanView['kind'], string>> = {
  index: 'the index names an account that does not have it',
  account: 'the index does not know that the account has it',
  contested: 'two accounts have it: decide, and change one of them',
}

function fsckText({ accounts, identities, found, orphans }: FsckView): string {
  const summary = `${accounts} accounts, ${identities} identities: ${found === 0 ? 'the index agrees' : `${found} do not agree`}`
  if (orphans.length === 0) return summary
  const rows = orphans.map(({ type, value, account, entry, kind, repaired }) => [
    ...[`${type} ${value}`, account, entry ?? '', kinds[kind], repaired ? 'mended' : ''],
  ])
  return `${table(['identity', 'account', 'index', 'what', ''], rows)}\n${summary}`
}
