/** `ocsctl accounts` and `ocsctl export`: all accounts, a page at a time, and as a file that import takes. */
import { createWriteStream } from 'node:fs'
import { extname } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Command, Option } from 'commander'
import type { AccountView } from '../admin/views.js'
import type { Ctl, Options } from './command.js'
import { table } from './text.js'

interface ListOptions extends Options {
  readonly status?: string
  readonly offer?: string
  readonly limit: string
  readonly after?: string
}

interface AccountPage {
  readonly items: readonly AccountView[]
  readonly next: string | null
}

export function addBulkCommands(program: Command, { command, call, download, put, usage }: Ctl): void {
  command(program, 'accounts', 'List accounts.')
    .option('--status <word>', 'only those with this status, like suspended')
    .option('--offer <name>', 'only those that have this offer')
    .option('--limit <count>', 'at most so many, up to 1000', '100')
    .option('--after <cursor>', 'the next page, as the one before says')
    .action(async ({ status, offer, limit, after, ...options }: ListOptions) => {
      const given = Object.entries({ status, offer, limit, after }).filter(([, value]) => value !== undefined)
      const query = new URLSearchParams(Object.fromEntries(given) as Record<string, string>)
      const page = await call<AccountPage>(options, 'GET', `/v1/accounts?${query.toString()}`)
      put(options, page, () => pageText(page))
    })
  command(program, 'export <file>', 'Write the subscribers to a file that import takes; - writes standard output.')
    .addOption(new Option('--format <name>', 'format; told by the file’s name when absent').choices(['csv', 'jsonl']))
    .action(async (file: string, options: Options & { readonly format?: 'csv' | 'jsonl' }) => {
      const { format = /^\.(jsonl|ndjson|json)$/i.test(extname(file)) ? 'jsonl' : 'csv' } = options
      const rows = Readable.from(download(options, `/v1/export?format=${format}`))
      if (file === '-') {
        for await (const text of rows) process.stdout.write(text as string)
        return
      }
      await pipeline(rows, createWriteStream(file, { flags: 'wx', mode: 0o600 })).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST')
          throw usage(`${file} is there already: name another file`)
        throw error
      })
      put(options, { file }, () => `written to ${file}`)
    })
}

function pageText({ items, next }: AccountPage): string {
  const rows = items.map(({ id, status, money, currency, subscribers, subscriptions }) => [
    ...[id, status, `${money} ${currency}`, subscribers.flatMap(each => each.identities.map(i => i.value)).join(' ')],
    [...new Set(subscriptions.map(({ offer }) => offer))].join(' '),
  ])
  const list = rows.length === 0 ? 'no accounts' : table(['account', 'status', 'money', 'identities', 'offers'], rows)
  return next === null ? list : `${list}\nmore: --after ${next}`
}
