/** `ocsctl subscribe`, `subscriptions`, `renew`, `change`, `cancel`: offers that an account has, and their fees. */
import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import type { SubscriptionDetail } from '../admin/subscription-routes.js'
import type { AccountView } from '../admin/views.js'
import type { Ctl, Options } from './command.js'
import { table } from './text.js'

interface SubscriptionOptions extends Options {
  readonly subscriber?: string
  readonly reference?: string
  readonly at?: string
  readonly buckets?: string
}

interface Changed {
  readonly repeated: boolean
  readonly subscription: SubscriptionDetail | null
}

const pathOf = (account: string, ...more: readonly string[]): string =>
  ['/v1/accounts', ...[account, 'subscriptions', ...more].map(encodeURIComponent)].join('/')

/** @param accountText how an account is shown */
export function addSubscriptionCommands(
  program: Command,
  ctl: Ctl,
  accountText: (account: AccountView) => string,
): void {
  const { command, keyed, final, call, put, confirm, actor, usage } = ctl
  const referred = (to: Command): Command =>
    keyed(to).option('--reference <text>', 'the same reference again does nothing; a new one when absent')
  const oneOf = (value: string | undefined, words: readonly string[], option: string): string | undefined => {
    if (value !== undefined && !words.includes(value)) throw usage(`${option} is ${words.join(' or ')}`)
    return value
  }
  referred(
    command(program, 'subscribe <account> <offer>', 'Buy an offer for an account; its fee comes from free money.'),
  )
    .option('--subscriber <number>', 'for one subscriber; for all of the account when absent')
    .action(async (account: string, offer: string, options: SubscriptionOptions) => {
      const { subscriber, reference = randomUUID() } = options
      const body = { offer, subscriber, reference, actor }
      type Answer = { readonly subscription: string; readonly repeated: boolean; readonly account: AccountView }
      const answer = await call<Answer>(options, 'POST', pathOf(account), body)
      put(options, answer, () => {
        const { repeated, subscription } = answer
        const bought = answer.account.subscriptions.find(({ id }) => id === subscription)
        const paid =
          bought?.paid == null ? '' : `, paid ${bought.paid}${bought.until === null ? '' : ` until ${bought.until}`}`
        const done = repeated ? 'was bought before, nothing is added now' : `is subscription ${subscription}${paid}`
        return `offer ${offer} ${done}\n\n${accountText(answer.account)}`
      })
    })
  command(
    program,
    'subscriptions <account>',
    'Subscriptions of an account: what is paid for, next renewal, fee.',
  ).action(async (account: string, options: Options) => {
    const answer = await call<{ items: SubscriptionDetail[] }>(options, 'GET', pathOf(account))
    put(options, answer, () => (answer.items.length === 0 ? 'no subscriptions' : tableOf(answer.items)))
  })
  referred(command(program, 'renew <account> <subscription>', 'Renew by hand what is due and was not renewed.')).action(
    async (account: string, id: string, options: SubscriptionOptions) => {
      const { reference = randomUUID() } = options
      const answer = await call<Changed>(options, 'POST', pathOf(account, id, 'renew'), { reference, actor })
      put(options, answer, () => changedText(answer))
    },
  )
  referred(command(program, 'change <account> <subscription> <offer>', 'Another offer instead, for its fee.'))
    .option('--at <time>', 'now or renewal', 'now')
    .option('--buckets <what>', 'keep those it has until their end, or expire them', 'keep')
    .action(async (account: string, id: string, offer: string, options: SubscriptionOptions) => {
      const { reference = randomUUID() } = options
      const when = oneOf(options.at, ['now', 'renewal'], '--at')
      const buckets = oneOf(options.buckets, ['keep', 'expire'], '--buckets')
      const body = { offer, when, buckets, reference, actor }
      const answer = await call<Changed>(options, 'POST', pathOf(account, id, 'change'), body)
      put(options, answer, () => changedText(answer))
    })
  referred(final(command(program, 'cancel <account> <subscription>', 'End a subscription at its end, or now.')))
    .option('--at <time>', 'end (of what is paid for) or now', 'end')
    .option('--buckets <what>', 'keep those it has until their end, or expire them', 'keep')
    .action(async (account: string, id: string, options: SubscriptionOptions) => {
      const { reference = randomUUID() } = options
      const when = oneOf(options.at, ['end', 'now'], '--at')
      const buckets = oneOf(options.buckets, ['keep', 'expire'], '--buckets')
      const how = when === 'now' ? 'now' : 'at the end of what is paid for'
      await confirm(options, `Subscription ${id} of account ${account} ends ${how}. Go on?`)
      const body = { when, buckets, reference, actor }
      const answer = await call<Changed>(options, 'POST', pathOf(account, id, 'cancel'), body)
      put(options, answer, () => changedText(answer))
    })
}

function changedText({ repeated, subscription }: Changed): string {
  const done = subscription ? tableOf([subscription]) : 'the subscription has ended'
  return repeated ? `done before\n${done}` : done
}

const tableOf = (subscriptions: readonly SubscriptionDetail[]): string =>
  table(
    ['id', 'offer', 'for', 'state', 'paid', 'until', 'next', 'fee'],
    subscriptions.map(each => [
      each.id,
      each.offer,
      each.subscriber === '0' ? 'all' : each.subscriber,
      stateText(each),
      each.paid ?? '-',
      each.until ?? 'no end',
      each.due ?? '-',
      each.nextFee === null ? '-' : `${each.nextFee}${each.next === null ? '' : ` (${each.next})`}`,
    ]),
  )

function stateText({ state, served, tries, needs, graceUntil }: SubscriptionDetail): string {
  if (state !== 'grace') return served ? state : `${state}, not served`
  const needed = needs === null ? 'waits to be renewed' : `needs ${needs}, ${tries} tries`
  return `grace until ${graceUntil ?? '?'}: ${needed}${served ? '' : ', not served'}`
}
