/** `ocsctl events` and `ocsctl notifications`: what other systems are told, and what became of it. */
import type { Command } from 'commander'
import type { Ctl, Options } from './command.js'
import { table } from './text.js'

interface EventsOptions extends Options {
  readonly follow?: boolean
  readonly after?: string
  readonly types?: string
  readonly account?: string
  readonly limit: string
}

interface DeadOptions extends Options {
  readonly webhook?: string
  readonly account?: string
  readonly all?: boolean
  readonly limit: string
}

interface EventView {
  readonly id: string
  readonly type: string
  readonly at: string
  readonly account?: string
  readonly data: object
}

interface WebhookView {
  readonly name: string
  readonly url: string
  readonly types: readonly string[]
  readonly paused: boolean
  readonly delivering: boolean
  readonly parked: number
  readonly replay: number
  readonly behindSeconds: number
}

interface DeadView {
  readonly id: string
  readonly webhook: string
  readonly account: string | null
  readonly type: string
  readonly attempts: number
  readonly since: string
  readonly why: string
}

interface TypesView {
  readonly types: readonly {
    readonly type: string
    readonly text: string
    readonly usage?: true
    readonly data: Readonly<Record<string, { readonly kind: string; readonly text: string; readonly always?: true }>>
  }[]
  readonly schema: object
}

export function addNotificationCommands(program: Command, ctl: Ctl): void {
  const { command, call, put, final, confirm, usage } = ctl
  command(program, 'events', 'Events that other systems are told, from the feed.')
    .option('--follow', 'go on with what comes')
    .option('--after <cursor>', 'what came after it; the oldest that is kept when absent; now: only what comes')
    .option('--types <list>', 'with commas between, like account.status,balance.*')
    .option('--account <id>', 'of one account')
    .option('--limit <events>', 'at most, without --follow', '100')
    .action((options: EventsOptions) => showEvents(options, ctl))

  const notifications = program.command('notifications').description('Webhooks and what they got.').exitOverride()
  command(notifications, 'list', 'Webhooks and how far they are.').action(async (options: Options) => {
    const answer = await call<{ items: WebhookView[] }>(options, 'GET', '/v1/notifications/webhooks')
    put(options, answer, () => webhooksText(answer.items))
  })
  for (const word of ['pause', 'resume'] as const)
    command(
      notifications,
      `${word} <webhook>`,
      word === 'pause' ? 'Send nothing until it is resumed; events wait.' : 'Go on where it stopped.',
    ).action(async (webhook: string, options: Options) => {
      const path = `/v1/notifications/webhooks/${encodeURIComponent(webhook)}/${word}`
      const answer = await call<{ paused: boolean }>(options, 'POST', path, {})
      put(options, answer, () => `${webhook} ${answer.paused ? 'is paused' : 'goes on'}`)
    })
  command(notifications, 'ping <webhook>', 'Send one event, webhook.ping, and say what came of it.').action(
    async (webhook: string, options: Options) => {
      const path = `/v1/notifications/webhooks/${encodeURIComponent(webhook)}/ping`
      const answer = await call<{ status: string; code: number | null; why?: string }>(options, 'POST', path, {})
      put(options, answer, () => `${answer.status}: ${answer.why ?? `answered ${answer.code}`}`)
      if (answer.status !== 'delivered') process.exitCode = 1
    },
  )
  command(notifications, 'dead', 'Events that were given up, the oldest first.')
    .option('--webhook <name>', 'of one webhook')
    .option('--account <id>', 'of one account')
    .option('--limit <events>', 'at most', '100')
    .action(async (options: DeadOptions) => {
      const { webhook, account, limit } = options
      const query = queryOf({ webhook, account, limit })
      const answer = await call<{ items: DeadView[]; next: string | null }>(
        options,
        'GET',
        `/v1/notifications/dead?${query}`,
      )
      put(options, answer, () => deadText(answer.items, answer.next !== null))
    })
  final(
    command(notifications, 'replay [id...]', 'Deliver events again that were given up.')
      .option('--webhook <name>', 'all of one webhook')
      .option('--account <id>', 'all of one account')
      .option('--all', 'all'),
  ).action(async (ids: string[], options: DeadOptions) => {
    const { webhook, account, all } = options
    if (ids.length === 0 && webhook === undefined && account === undefined && !all)
      throw usage('say which: ids of `notifications dead`, --webhook, --account or --all')
    if (ids.length === 0) await confirm(options, 'Deliver all of them again?')
    const body = { ids: ids.length > 0 ? ids : undefined, webhook, account, all }
    const answer = await call<{ replayed: number }>(options, 'POST', '/v1/notifications/dead/replay', body)
    put(options, answer, () => `${answer.replayed} events are delivered again`)
  })
  command(notifications, 'types', 'Every type of event with its data; with --json, the JSON Schema.').action(
    async (options: Options) => {
      const { types, schema } = await call<TypesView>(options, 'GET', '/v1/events/types')
      put(options, schema, () => typesText(types))
    },
  )
}

async function showEvents(options: EventsOptions, { call, usage }: Ctl): Promise<void> {
  const { follow = false, types, account } = options
  const limit = Number(options.limit)
  if (!Number.isInteger(limit) || limit < 1) throw usage('--limit is a whole number above 0')
  let after = options.after
  if (after === 'now') after = (await call<{ newest: string }>(options, 'GET', '/v1/events/cursor')).newest
  for (let shown = 0; follow || shown < limit;) {
    const most = String(follow ? 1000 : Math.min(1000, limit - shown))
    const query = queryOf({ after, types, account, limit: most, wait: follow ? '30' : undefined })
    const page = await call<{ items: EventView[]; next: string }>(options, 'GET', `/v1/events?${query}`)
    for (const event of page.items) process.stdout.write(`${options.json ? JSON.stringify(event) : eventText(event)}\n`)
    shown += page.items.length
    const stands = page.next === after
    after = page.next
    if (!follow && (page.items.length === 0 || stands)) return
  }
}

const queryOf = (members: Readonly<Record<string, string | undefined>>): string =>
  new URLSearchParams(
    Object.entries(members).filter((member): member is [string, string] => member[1] !== undefined),
  ).toString()

/** A line each: nothing in an event breaks one. */
const eventText = ({ at, type, account = '-', data }: EventView): string =>
  `${at}  ${type.padEnd(27)} ${account.padEnd(12)} ${JSON.stringify(data)}`

const webhooksText = (items: readonly WebhookView[]): string =>
  items.length === 0
    ? 'no webhooks: list them in the configuration, notifications.webhooks'
    : table(
        ['webhook', 'to', 'types', 'state', 'behind', 'waiting'],
        items.map(({ name, url, types, paused, delivering, parked, replay, behindSeconds }) => [
          name,
          url,
          types.length === 0 ? 'all but usage' : types.join(' '),
          paused ? 'paused' : delivering ? 'delivering' : 'no daemon delivers',
          `${behindSeconds} s`,
          String(parked + replay),
        ]),
      )

const deadText = (items: readonly DeadView[], more: boolean): string =>
  items.length === 0
    ? 'no dead events'
    : table(
        ['id', 'webhook', 'account', 'type', 'attempts', 'since', 'why'],
        items.map(({ id, webhook, account, type, attempts, since, why }) => [
          ...[id, webhook, account ?? '-', type, String(attempts), since, why],
        ]),
      ) + (more ? '\nand more: raise --limit' : '')

const typesText = (types: TypesView['types']): string =>
  types
    .map(({ type, text, usage, data }) =>
      [
        `${type}${usage ? ' (usage)' : ''}`,
        `  ${text}`,
        ...Object.entries(data).map(
          ([name, { kind, text: what, always }]) =>
            `  ${name.padEnd(12)} ${kind.padEnd(6)} ${what}${always ? '' : ' (where known)'}`,
        ),
      ].join('\n'),
    )
    .join('\n\n')
