/**
 * `ocsctl show <number>`, `ocsctl ledger` and `ocsctl timeline`: what care asks of an account. Times are shown in the time zone of
 * whoever reads; `--json` has them in UTC.
 */
import type { Command } from 'commander'
import type { LedgerRow, Missing, TimelineRow } from '../inquiry/account-history.js'
import type { AccountView, BucketView, SessionView, SubscriptionView } from '../admin/views.js'
import { formatAmount, unitTypes, type UnitType } from '../units.js'
import type { Ctl, Options } from './command.js'
import { table } from './text.js'

interface CareView {
  readonly subscriber: string | null
  readonly account: AccountView
  readonly sessions: readonly SessionView[]
  readonly lastRefusal: TimelineRow | null
  readonly lastRecharge: TimelineRow | null
  readonly lastNotification: TimelineRow | null
  readonly looked: number
  readonly catalog: string
}

interface Page<Row> {
  readonly items: readonly Row[]
  readonly next: string | null
  readonly complete: boolean
  readonly missing: readonly Missing[]
}

interface PageOptions extends Options {
  readonly limit: string
  readonly after?: string
  readonly kind?: string
  readonly from?: string
  readonly until?: string
  readonly session?: string
}

interface LedgerOptions extends PageOptions {
  readonly oldest?: boolean
  readonly reference?: string
  readonly balance?: string
}

/** @param show the command `show`, with commands of its own */
export function addCareCommands(program: Command, show: Command, ctl: Ctl): void {
  const { command, call, put, usage } = ctl
  show.action(async (number: string | undefined, options: Options) => {
    if (number === undefined) throw usage('name an MSISDN, imsi:…, nai:… or an account: ocsctl show 491701000001')
    const view = await careOf(number, options, ctl)
    const now = options.json ? new Date() : await businessTime(options, ctl)
    put(options, view, () => careText(view, now))
  })
  const paged = (of: Command): Command =>
    of
      .option('--limit <count>', 'rows of a page, up to 1000', '50')
      .option('--after <cursor>', 'go on where the page before ended')
      .option('--kind <kinds>', 'rows of these kinds only, with commas between')
      .option('--from <time>', 'like 2026-12-24 or 2026-12-24T18:00')
      .option('--until <time>', 'before this time')
      .option('--session <id>', 'of one session')
  paged(command(program, 'ledger <account>', 'Every entry of an account, the newest first.'))
    .option('--oldest', 'the oldest first')
    .option('--reference <text>', 'of one recharge, purchase or adjustment')
    .option('--balance <name>', 'entries that moved main, debt or a bucket')
    .action(async (account: string, options: LedgerOptions) => {
      const { oldest, reference, balance } = options
      const query = queryOf(options, { reference, balance, order: oldest ? 'oldest' : undefined })
      const path = `/v1/accounts/${encodeURIComponent(account)}/ledger?${query}`
      const page = await call<Page<LedgerRow>>(options, 'GET', path)
      put(options, page, () => [ledgerText(page.items), ...footOf(page)].join('\n'))
    })
  paged(
    command(program, 'timeline <number>', 'Sessions, refusals and why, recharges: of an MSISDN, imsi:…, nai:… or account.'),
  ).action(async (number: string, options: PageOptions) => {
    const query = queryOf(options, {})
    const page = await found<Page<TimelineRow>>(number, path => call(options, 'GET', `${path}/timeline?${query}`))
    put(options, page, () => [timelineText(page.items), ...footOf(page)].join('\n'))
  })
} // prettier-ignore

const careOf = (number: string, options: Options, { call }: Ctl): Promise<CareView> =>
  found(number, path => call<CareView>(options, 'GET', `${path}/care`))

/** A test system's clock may be ahead of ours: what is an hour ago there, is so here. */
const businessTime = (options: Options, { call }: Ctl): Promise<Date> =>
  call<{ readonly now: string }>(options, 'GET', '/v1/clock').then(
    ({ now }) => new Date(now),
    () => new Date(), // a daemon without it, or a key that may not ask
  )

/** Asks for a subscriber; where no subscriber has this number, for an account of this name. */
async function found<T>(number: string, ask: (path: string) => Promise<T>): Promise<T> {
  const [, prefix, rest] = /^(msisdn|imsi|nai|account):(.*)$/.exec(number) ?? []
  const account = `/v1/accounts/${encodeURIComponent(rest ?? number)}`
  if (prefix === 'account') return ask(account)
  const type = prefix ?? (number.includes('@') ? 'nai' : 'msisdn')
  const subscriber = `/v1/subscribers/${type}/${encodeURIComponent(rest ?? number)}`
  if (prefix !== undefined || type === 'nai') return ask(subscriber)
  if (!/^\+?\d{3,15}$/.test(number)) return ask(account)
  try {
    return await ask(subscriber)
  } catch (error) {
    if (problemOf(error) !== 'urn:ocsd:problem:not-found') throw error
    // Neither: what was asked for looks like a number.
    return ask(account).catch(() => Promise.reject(error as Error))
  }
}

const problemOf = (error: unknown): string | undefined =>
  (error as { readonly document?: { readonly type?: string } }).document?.type

function queryOf(options: PageOptions, more: Readonly<Record<string, string | undefined>>): string {
  const { limit, after, kind, from, until, session } = options
  const given = { limit, after, kind, from, until, session, ...more }
  return new URLSearchParams(
    Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as [string, string]])),
  ).toString()
}

function footOf({ items, next, missing }: Page<unknown>): string[] {
  const gaps = missing.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`))
  return [
    ...(items.length === 0 ? ['nothing here'] : []),
    ...(gaps.length === 0 ? [] : [`not at hand at this daemon: entries ${gaps.join(', ')}; ask the other daemons, too`]),
    ...(next === null ? [] : [`more: --after ${next}`]),
  ]
} // prettier-ignore

function ledgerText(rows: readonly LedgerRow[]): string {
  if (rows.length === 0) return ''
  return table(
    ['entry', 'at', 'what', 'balance', 'amount', 'before', 'after', 'of'],
    rows.flatMap(row => {
      const first = [String(row.sequence), localTime(row.at), row.what]
      const of = correlationText(row)
      const [head, ...more] = row.balances
      return [
        [...first, head?.balance ?? '', head?.amount ?? '', head?.before ?? '', head?.after ?? '', of],
        ...more.map(({ balance, amount, before, after }) => ['', '', '', balance, amount, before, after, '']),
      ]
    }),
  )
}

function correlationText({ correlation }: LedgerRow): string {
  const { session, request, channel, reference, actor } = correlation
  if (session !== undefined) return request === undefined ? session : `${session} ${request}`
  return [channel, reference, actor].filter(each => each !== undefined).join(' ')
}

const timelineText = (rows: readonly TimelineRow[]): string =>
  rows.length === 0
    ? ''
    : table(
        ['at', 'kind', 'what', 'catalog'],
        rows.map(({ at, kind, what, catalog }) => [localTime(at), kind, what, catalog ?? '']),
      )

/** One screen: 80 columns, and short for an account of few buckets. */
export function careText(view: CareView, now: Date): string {
  const { account, sessions } = view
  const { currency } = account
  const money = (text: string): string => `${text} ${currency}`
  const lines = [
    ...identitiesText(view),
    row('status', [account.status, ...lifeText(account, now)].join(', ')),
    row('money', [money(account.money), `free ${account.free}`, `held ${account.held}`, `debt ${account.debt}`, ...(account.creditLimit === '0.00' ? [] : [`credit limit ${account.creditLimit}`])].join(', ')),
    ...several('offer', account.subscriptions.filter(({ subscriber }) => isOf(subscriber, view)).map(each => subscriptionText(each, currency, now))),
    ...several('bucket', account.buckets.map(bucket => bucketText(bucket, currency, now))),
    ...several('limit', account.counters.filter(({ limit, subscriber }) => limit !== null && isOf(subscriber, view)).map(({ name, unit, value, limit }) => `${name}: ${amountText(unit, value, currency)} of ${amountText(unit, limit!, currency)}`)),
    ...(sessions.length === 0 ? [row('session', 'none is open')] : several('session', sessions.map(session => sessionText(session, account, now)))),
    row('refused', lastText(view.lastRefusal, view, now)),
    row('recharged', lastText(view.lastRecharge, view, now)),
    ...(view.lastNotification === null ? [] : [row('told', lastText(view.lastNotification, view, now))]),
    row('tariff', `catalog ${view.catalog}`),
  ]
  return lines.join('\n')
} // prettier-ignore

const isOf = (subscriber: string, view: CareView): boolean =>
  view.subscriber === null || subscriber === '0' || subscriber === view.subscriber

const labelWidth = 11
const screenWidth = 80

/** Long texts go on below, so that nothing is cut off and nothing runs into the label. */
function row(label: string, text: string): string {
  const width = screenWidth - labelWidth
  const lines: string[] = []
  let line = ''
  for (const word of printableWords(text)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  lines.push(line)
  return lines.map((each, i) => `${(i === 0 ? label : '').padEnd(labelWidth)}${each}`.trimEnd()).join('\n')
}

/** What gateways and people wrote: no terminal obeys it. */
const printableWords = (text: string): string[] =>
  table([''], [[text]])
    .trim()
    .split(' ')

const several = (label: string, texts: readonly string[]): string[] =>
  texts.map((text, i) => row(i === 0 ? label : '', text))

function identitiesText({ account, subscriber }: CareView): string[] {
  const shown = account.subscribers.filter(({ id }) => subscriber === null || id === subscriber)
  const others = account.subscribers.length - shown.length
  return [
    ...several('subscriber', shown.map(({ id, identities, attributes }) => {
      const more = Object.entries(attributes).map(([name, value]) => `${name}=${value}`)
      return [`${id}:`, ...identities.map(({ type, value }) => `${type} ${value}`), ...more].join(' ')
    })),
    row('account', [account.id, ...(others > 0 ? [`(and ${others} more ${others === 1 ? 'subscriber' : 'subscribers'})`] : []), ...Object.entries(account.attributes).map(([name, value]) => `${name}=${value}`)].join(' ')),
  ]
} // prettier-ignore

/** Dates of the life cycle, whatever they are called: the next ones matter. */
function lifeText({ life, status }: AccountView, now: Date): string[] {
  if (!life) return []
  const phase = life.phase === status ? [] : [life.phase]
  const dates = Object.entries(life).flatMap(([name, value]) =>
    typeof value === 'string' && isTime(value) ? [`${wordsOf(name)} ${when(value, now)}`] : [],
  )
  return [...phase, ...dates]
}

function subscriptionText(subscription: SubscriptionView, currency: string, now: Date): string {
  const { offer, since, state, served, until, due, needs, tries, graceUntil, next } = subscription
  const at = (iso: string | null): string => (iso === null ? '' : when(iso, now))
  const ahead =
    state === 'ending' ? [`ends ${at(until)}`] : state === 'active' && due !== null ? [`renews ${at(due)}`] : []
  return [
    `${offer} since ${localTime(since).slice(0, 10)}`,
    ...ahead,
    ...(next === null ? [] : [`then ${next}`]),
    ...(state === 'grace' ? [`its renewal failed ${tries === 1 ? 'once' : `${tries} times`}, needs ${needs ?? '?'} ${currency}, until ${at(graceUntil)}`] : []),
    ...(served ? [] : ['its rules do not hold until it is paid']),
  ].join(', ')
} // prettier-ignore

function bucketText(bucket: BucketView, currency: string, now: Date): string {
  const { name, unit, amount, held, from, until, lifeSeconds } = bucket
  const isHeld = held !== 0 && held !== '0.00'
  const end =
    until !== null ? `until ${when(until, now)}` : lifeSeconds === null ? 'no end' : `${formatAmount('seconds', BigInt(Math.floor(lifeSeconds)))} from first use` // prettier-ignore
  return [
    `${name}: ${amountText(unit, amount, currency)} left`,
    ...(isHeld ? [`${amountText(unit, held, currency)} of it held`] : []),
    ...(from !== null && Date.parse(from) > now.getTime() ? [`from ${when(from, now)}`] : []),
    end,
  ].join(', ')
}

function sessionText(session: SessionView, { currency }: AccountView, now: Date): string {
  const used = session.lines.map(({ line, used, granted }) => `${line === '-' ? '' : `${line}: `}${used} used, ${granted} granted`)
  return [`since ${when(session.opened, now)}`, ...used, `${session.charged} ${currency} charged`, session.originHost].join(', ')
} // prettier-ignore

function lastText(last: TimelineRow | null, { looked, account }: CareView, now: Date): string {
  if (!last) return looked >= account.sequence ? 'never' : `not in the last ${looked} entries`
  return `${when(last.at, now)}: ${last.what}`
}

function amountText(unit: string | null, amount: number | string, currency: string): string {
  if (unit === 'money') return `${amount} ${currency}`
  const known = unit === 'units' || (unitTypes as readonly (string | null)[]).includes(unit)
  return known ? formatAmount(unit as UnitType | 'units', BigInt(amount)) : String(amount)
}

const isTime = (text: string): boolean => /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text)

/** `nextRenewal` → `next renewal`. */
const wordsOf = (name: string): string => name.replaceAll(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)

const two = (value: number): string => String(value).padStart(2, '0')

/** `2026-12-24 18:00`, where the reader is. */
export function localTime(iso: string): string {
  const at = new Date(iso)
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`
}

/** The time, and how far away it is. */
function when(iso: string, now: Date): string {
  const ms = Date.parse(iso) - now.getTime()
  const [minutes, hours, days] = [60_000, 3_600_000, 86_400_000].map(each => Math.round(Math.abs(ms) / each))
  const far = minutes! < 1 ? 'now' : minutes! < 120 ? `${minutes!} min` : hours! < 48 ? `${hours!} h` : `${days!} days`
  const sided = far === 'now' ? far : ms < 0 ? `${far} ago` : `in ${far}`
  return `${localTime(iso)} (${sided})`
}
