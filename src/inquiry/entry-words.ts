/**
 * An entry of the ledger in one line, for statements and for the people who answer the phone; and why something was refused, in words
 * that may be said to the caller. The whole decision is told by explanation.ts.
 */
import { formatMoney } from '../units.js'
import type { Explanation, LedgerEntry, LineExplanation } from './explanation.js'

/** Why usage was refused. */
export interface Cause {
  /** Stable, for programs. */
  readonly code:
    'no-funds' | 'limit-reached' | 'barred' | 'denied' | 'no-price' | 'restricted' | 'unknown-session' | 'too-late'
  /** What the gateway was told; absent where the line alone was refused without one. */
  readonly resultCode?: number
  /** Rating group (with service identifiers) of the line; absent: all of the request. */
  readonly line?: string
  readonly text: string
}

/** What an entry does to money and units, beside its kind: several at once. */
export const moves = ['reserve', 'commit', 'release', 'refuse'] as const
export type Move = (typeof moves)[number]

type Line = LedgerEntry['lines'][number]

/** In words, without time and account. */
export function sentenceOf(entry: LedgerEntry, explanation: Explanation, currency: string): string {
  const words = new Words(entry, explanation, currency)
  const tell = tellers[entry.kind ?? '']
  return tell ? tell(words) : words.plain()
}

/** Why the request was refused, whole or in a line; empty when it was not. */
export function causesOf(entry: LedgerEntry, explanation: Explanation, currency: string): Cause[] {
  if (entry.kind !== 'charge') return []
  const { outcome = 'ok' } = entry
  switch (outcome) {
    case 'ok':
    case 'refused':
      return entry.lines.flatMap((line, i) => causeOf(line, explanation.lines[i], currency))
    case 'reported':
      return [{ code: 'too-late', resultCode: 3004, text: 'the answer would have come too late: nothing was granted' }]
    case 'ended':
    case 'unknown':
      return [{ code: 'unknown-session', resultCode: 5002, text: 'the session had ended already, or is not known' }]
    case 'terminated':
      return [{ code: 'barred', resultCode: 5030, text: 'the account is terminated' }]
    default:
      return [{ code: 'barred', resultCode: 4010, text: `the account is ${standing[outcome] ?? outcome}` }]
  }
}

/** Outcomes of a request to an account that is not in service; others are statuses as they are. */
const standing: Readonly<Record<string, string>> = { barred: 'suspended' }

export function movesOf(entry: LedgerEntry, causes: readonly Cause[]): Move[] {
  const lines = entry.lines
  const found: Move[] = []
  if (entry.kind === 'charge' && entry.type !== 'event' && lines.some(({ held = 0, holds, cash }) => held > 0 || holds !== undefined || cash !== undefined))
    found.push('reserve')
  if (lines.some(({ used = 0 }) => used > 0) || (entry.type === 'event' && entry.posts.length > 0)) found.push('commit')
  if (entry.kind === 'expire' || (entry.kind === 'charge' && entry.type === 'terminate')) found.push('release')
  if (causes.length > 0) found.push('refuse')
  return found
} // prettier-ignore

function causeOf(line: Line, told: LineExplanation | undefined, currency: string): Cause[] {
  const [group = '-'] = line.line.split('/')
  const of = group === '-' ? {} : { line: line.line }
  switch (line.is) {
    case 'exhausted':
      if (line.stop !== undefined)
        return [{ code: 'limit-reached', resultCode: 4012, ...of, text: told?.result.split('; ').at(-1) ?? 'a limit is reached' }]
      return [{ code: 'no-funds', resultCode: 4012, ...of, text: noFunds(line, told, currency) }]
    case 'restricted':
    case 'waiting':
      return [{ code: 'restricted', ...of, text: `${noFunds(line, told, currency)}: only what is free without funds is let through` }]
    case 'denied': {
      const resultCode = Number(/ with (\d{4})/.exec(told?.result ?? '')?.[1] ?? 4010)
      const rule = line.rule === undefined ? '' : ` (rule ${line.rule})`
      return [{ code: 'denied', resultCode, ...of, text: `the tariff does not allow this${rule}` }]
    }
    case 'unrated':
      return [{ code: 'no-price', resultCode: 5031, ...of, text: noPrice(line, group) }]
    default:
      return []
  }
} // prettier-ignore

function noFunds(line: Line, told: LineExplanation | undefined, currency: string): string {
  const passed = (told?.passedOver ?? []).map(({ payer, why }) => `${payer}: ${why}`)
  const more = passed.length === 0 ? '' : ` (${passed.join('; ')})`
  if (line.needs === undefined || line.needs <= 0) return `no funds: nothing is left that may pay for it${more}`
  const [had, needs] = [formatMoney(BigInt(line.free ?? 0)), formatMoney(BigInt(line.needs))]
  return `no funds: ${had} ${currency} is free, the next step costs ${needs} ${currency}${more}`
}

function noPrice(line: Line, group: string): string {
  if (line.asked === '?') return 'it is not sold in the units that were asked for'
  const what = group === '-' ? 'usage without a rating group' : `rating group ${group}`
  return `no price for ${what} in the offers of this subscriber`
}

/** By kind; others are told by their members. */
const tellers: Readonly<Record<string, (words: Words) => string>> = {
  charge: words => words.charge(),
  quote: words => words.charge(),
  refund: words => words.refund(),
  create: words => words.add('account created', words.opening()),
  recharge: words => words.recharge(),
  adjustment: words => words.add(`adjustment of ${words.ownMoney()}`, words.members('code', 'reason')),
  transfer: words => {
    const out = words.get('direction') === 'out'
    return words.add(`transfer of ${words.ownMoney(out ? '-' : '')} ${out ? 'to' : 'from'} account ${words.get('with')}`, words.members('reason'))
  },
  subscribe: words => words.add(`offer ${words.get('offer')} bought`, words.fee()),
  renew: words => words.add(`offer ${words.get('offer')} renewed until ${words.time('until')}`, words.fee()),
  'renew-failed': words =>
    `renewal of offer ${words.get('offer')} failed: ${words.moneyOf('free')} is free, it costs ${words.moneyOf('needs')}; tried until ${words.time('until')}`,
  change: words => words.add(`offer ${words.get('offer')} changed to ${words.get('to')}`, words.fee()),
  cancel: words => `offer ${words.get('offer')} cancelled, ${words.get('when') === 'end' ? 'at the end of its period' : 'at once'}`,
  status: words => words.add(`account ${words.get('from')} → ${words.get('to')}`, words.members('rule', 'reason')),
  life: words => words.plain('validity moved'),
  identities: words => words.add(`subscriber ${words.get('subscriber')}: ${words.list('types')} changed`, words.members('reason')),
  expiry: words => words.expiry(),
  expire: words => words.silence(),
  attributes: words => words.plain('attributes changed'),
  override: words => words.plain('an override changed'),
  'opt-in': words => words.plain('opt-in beyond a limit changed'),
  rebuild: words => words.plain('restored from the ledger'),
  writeoff: words => words.add(`written off: ${words.ownMoney('-')}`, words.members('reason')),
} // prettier-ignore

/** Kinds of entries that there are. */
export const entryKinds: readonly string[] = Object.keys(tellers).filter(kind => kind !== 'quote')

/** Where usage of an entry is named but not who did it: those members stand in columns of their own. */
const untold: ReadonlySet<string> = new Set([
  ...['account', 'seq', 'at', 'kind', 'posts', 'lines', 'held', 'counters', 'events', 'buckets', 'before', 'after'],
  ...['actor', 'reference', 'session', 'number', 'channel', 'key', 'catalog'],
])

class Words {
  constructor(
    private readonly entry: LedgerEntry,
    private readonly explanation: Explanation,
    private readonly currency: string,
  ) {}

  get(name: string): string {
    const value = this.entry[name]
    return typeof value === 'string' || typeof value === 'number' ? String(value) : '?'
  }

  list(name: string): string {
    const value = this.entry[name]
    return Array.isArray(value) ? value.map(String).join(', ') : this.get(name)
  }

  time(name: string): string {
    const value = Number(this.entry[name])
    return Number.isFinite(value) && value > 0 ? `${new Date(value).toISOString().slice(0, 16)}Z` : 'no end'
  }

  moneyOf(name: string): string {
    return this.money(Number(this.entry[name] ?? 0))
  }

  /** What came to (or, told with `-`, went from) the account's money and debt. */
  ownMoney(sign: '' | '-' = ''): string {
    const sum = this.entry.posts.reduce(
      (total, [, unit, amount, before]) => (before !== undefined && unit === this.currency ? total + amount : total),
      0,
    )
    return this.money(sign === '-' ? -sum : sum)
  }

  opening(): string {
    return this.entry.posts.length === 0 ? '' : `opening balance ${this.ownMoney()}`
  }

  fee(): string {
    const fee = this.against('fee')
    const made = this.explanation.balances.filter(({ balance }) => balance.startsWith('bucket ')).map(({ balance, amount }) => `${shortName(balance)} ${amount}`)
    return [...(fee === 0 ? [] : [`fee ${this.money(fee)}`]), ...made].join(', ')
  } // prettier-ignore

  recharge(): string {
    const came = -this.entry.posts.reduce((sum, [name, , amount]) => (name.startsWith('source:') ? sum + amount : sum), 0)
    const repaid = this.entry.posts.reduce((sum, [name, , amount, before]) => (name === 'debt' && before !== undefined ? sum + amount : sum), 0)
    const bonus = this.explanation.balances.filter(({ balance }) => balance.startsWith('bucket '))
    const more = [
      ...(repaid > 0 ? [`${this.money(repaid)} of it repaid debt`] : []),
      ...bonus.map(({ balance, amount }) => `bonus ${shortName(balance)} ${amount}`),
      ...[this.members('method', 'outlet')].filter(each => each !== ''),
    ]
    return this.add(`recharge of ${this.money(came)} by ${this.get('channel')}`, more.join(', '))
  } // prettier-ignore

  charge(): string {
    const { entry, explanation, currency } = this
    const causes = causesOf(entry, explanation, currency)
    const several = entry.lines.length > 1
    const lines = entry.lines.flatMap((line, i) => {
      const told = this.lineText(line, explanation.lines[i])
      if (told === '') return []
      return [several ? `${groupText(line.line)}: ${told}` : told]
    })
    const whole = causes.filter(({ line }) => line === undefined && entry.outcome !== 'ok' && entry.outcome !== 'refused')
    const parts = [...lines, ...whole.map(({ text }) => `refused: ${text}`)]
    const service = entry.service ?? 'usage'
    const step = { initial: 'session opened', terminate: 'session ended', event: 'event' }[entry.type ?? ''] ?? ''
    if (parts.length > 0) return `${service}: ${parts.join('; ')}${entry.type === 'terminate' ? '; session ended' : ''}`
    return step === '' ? `${service}: nothing used, nothing granted` : `${service}: ${step}`
  } // prettier-ignore

  private lineText(line: Line, told: LineExplanation | undefined): string {
    const parts: string[] = []
    if ((line.used ?? 0) > 0) parts.push(`${told?.used ?? String(line.used)} used${paidText(told, line, this.currency)}`)
    if (line.unpaid !== undefined) parts.push('nobody pays for part of it')
    if (line.unrated !== undefined) parts.push(`${told?.used ?? String(line.unrated)} reported, not charged`)
    const granted = /^granted (.*?)(?: \(asked|; |, |$)/.exec(told?.result ?? '')?.[1]
    if (granted !== undefined && granted !== '0 B') parts.push(`${granted} granted${line.final === 1 ? ', the last' : ''}`)
    parts.push(...causeOf(line, told, this.currency).map(({ text }) => `refused: ${text}`))
    return parts.join(', ')
  } // prettier-ignore

  refund(): string {
    const back = this.explanation.lines.map(({ text }) => text.find(each => each.includes('gave back'))?.trim() ?? '')
    return this.add('refund', back.filter(each => each !== '').join('; '))
  }

  expiry(): string {
    const ended = this.explanation.balances.filter(({ balance }) => balance.startsWith('bucket '))
    if (ended.length === 0) return 'a bucket ended, nothing was left in it'
    return ended.map(({ balance, amount, after }) => {
      const went = amount.startsWith('-')
      return went ? `${shortName(balance)} ended: ${amount.slice(1)} expired${/^0(\D|$)/.test(after) ? '' : `, ${after} still held`}` : `${shortName(balance)} begins with ${amount.slice(1)}`
    }).join(', ')
  } // prettier-ignore

  silence(): string {
    if (this.get('outcome') === 'released') return 'a grant ended unused: what it held is free again'
    const actor = this.get('actor')
    const why = actor === 'silence' ? 'its gateway said nothing any more' : `by ${actor}`
    return `session ended: ${why}; what it held is free again`
  }

  /** `first (second)`, or the first alone. */
  add(first: string, second: string): string {
    return second === '' ? first : `${first} (${second})`
  }

  /** Values of these members, as far as there are any. */
  members(...names: readonly string[]): string {
    return names.flatMap(name => (this.entry[name] === undefined ? [] : [this.get(name)])).join(', ')
  }

  plain(title = this.entry.kind ?? 'entry'): string {
    const more = Object.entries(this.entry).filter(([name, value]) => !untold.has(name) && typeof value !== 'object')
    const changes = this.explanation.text.slice(2).filter(line => /^ {2}(new|gone|\w+): /.test(line))
    return this.add(title, [...more.map(([name, value]) => `${name} ${String(value)}`), ...changes.map(each => each.trim())].join(', '))
  } // prettier-ignore

  private against(name: string): number {
    return this.entry.posts.reduce((sum, [posted, , amount]) => (posted === name ? sum + amount : sum), 0)
  }

  private money(value: number): string {
    return `${formatMoney(BigInt(value))} ${this.currency}`
  }
}

/** ` for 0.05 EUR`, ` from data-5gb`, ` from data-5gb (3 MB) and for 0.02 EUR`. */
function paidText(told: LineExplanation | undefined, line: Line, currency: string): string {
  const buckets = (told?.payers ?? []).filter(({ payer, units }) => payer.startsWith('bucket ') && units !== undefined)
  const cost = line.cost ?? 0
  const given = buckets.map(({ payer, units }) => `${shortName(payer)}${buckets.length > 1 || cost > 0 ? ` (${units})` : ''}`)
  const parts = [
    ...(given.length > 0 ? [`from ${given.join(', ')}`] : []),
    ...(cost > 0 || given.length === 0 ? [`for ${formatMoney(BigInt(cost))} ${currency}`] : []),
  ]
  return ` ${parts.join(' and ')}`
} // prettier-ignore

/** `bucket data-5gb (3-1)` → `data-5gb`. */
const shortName = (balance: string): string => balance.replace(/^bucket /, '').replace(/ \([^)]*\)$/, '')

const groupText = (line: string): string => {
  const [group = '-'] = line.split('/')
  return group === '-' ? 'without rating group' : `rating group ${group}`
}
