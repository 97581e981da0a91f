/**
 * Export of what import takes (design.md section 2): a row for each subscriber, the first of an account with its money. Streams account by
 * account, so memory is bounded whatever there is. What the format has no place for is left out: debt, buckets, counters, attributes, offers
 * beyond the first, and accounts without subscribers.
 */
import { Readable } from 'node:stream'
import type { AccountList } from '../balance/account-list.js'
import type { Account } from '../balance/types.js'
import { formatMoney } from '../units.js'
import { object, type Route, type RouteRequest, type RouteServices, type RouteAnswer } from './route.js'
import { columns, type Column } from './rows.js'

type Fields = Readonly<Record<Column, string>>

const accountsOfOnePage = 200
/** A scan of a growing store may show an account twice; import would refuse its balance the second time. */
const seenAtMost = 5_000_000

export const exportRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/export',
    permission: 'bulk.read',
    summary:
      'Export subscribers as import takes them: CSV, or JSON lines with format=jsonl. Debt, buckets and further offers are not in it.',
    query: object([], {
      format: { type: 'string', enum: ['csv', 'jsonl'], description: 'csv (the default) or jsonl' },
    }),
    answers: { 200: 'The rows as they come' },
    answerType: 'text/csv',
    problems: [],
    work: exportAll,
  },
]

function exportAll({ query, headers }: RouteRequest, { accountList }: RouteServices): RouteAnswer {
  const wanted = query['format'] ?? (/ndjson|jsonl/.test(headers['accept'] ?? '') ? 'jsonl' : 'csv')
  const text = wanted === 'jsonl' ? jsonLine : csvLine
  const head = wanted === 'jsonl' ? '' : `${columns.join(',')}\n`
  return {
    status: 200,
    body: Readable.from(linesOf(accountList, head, text)),
    headers: { 'content-type': wanted === 'jsonl' ? 'application/x-ndjson' : 'text/csv; charset=utf-8' },
  }
}

async function* linesOf(list: AccountList, head: string, text: (row: Fields) => string): AsyncGenerator<string> {
  yield head
  const seen = new Set<string>()
  let from: Parameters<AccountList['page']>[0]['from']
  do {
    const { accounts, next } = await list.page({ from, limit: accountsOfOnePage, matches: () => true })
    const fresh = accounts.filter(({ id }) => !seen.has(id))
    for (const { id } of fresh) if (seen.size < seenAtMost) seen.add(id)
    yield fresh.flatMap(rowsOf).map(text).join('')
    from = next
  } while (from)
}

/** Terminated accounts are not imported as living ones. */
export function rowsOf({ id, status, currency, money, subscribers, subscriptions }: Account): Fields[] {
  if (status === 'terminated' || status === 'recycled') return []
  const importable = subscribers.filter(({ identities }) => identities.some(({ type }) => type !== 'nai'))
  return importable.map(({ id: number, identities }, i) => {
    const of = (type: 'msisdn' | 'imsi'): string => identities.find(each => each.type === type)?.value ?? ''
    const offer = subscriptions.find(({ subscriber }) => subscriber === number)?.offer ?? ''
    const balance = i === 0 ? formatMoney(money > 0n ? money : 0n) : ''
    return { account: id, msisdn: of('msisdn'), imsi: of('imsi'), offer, balance, currency }
  })
}

const jsonLine = (row: Fields): string => `${JSON.stringify(row)}\n`

const csvLine = (row: Fields): string => `${columns.map(name => quoted(row[name])).join(',')}\n`

const quoted = (text: string): string => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
