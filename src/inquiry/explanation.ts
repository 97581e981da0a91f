/**
 * An entry of the ledger in words: which rule, which prices, who paid how much, who was passed over and why, what was granted or
 * refused (semantics.md section 11, scope N1). Quotes and past charges are told by the same code.
 *
 * Every figure is one that the charging script wrote. The sum in words is done again from the rate's terms, to show the steps and the
 * rounding, and is left out where it does not come to what was charged.
 */
import type { Rate } from '../rating/catalog.js'
import type { ProgramDescription } from '../rating/compile-program.js'
import { rateOf, readDescription } from '../rating/description.js'
import { billable, boundedPrice, describePrice, tierPrice, type Standing } from '../rating/price.js'
import { formatAmount, formatMoney, unitTypes, type Micros, type Units, type UnitType } from '../units.js'

/** An entry as lua/ writes it: JSON. */
export interface LedgerEntry {
  readonly account: string
  readonly seq: number
  readonly at: number
  readonly kind?: string
  readonly session?: string
  readonly number?: number
  readonly type?: string
  readonly host?: string
  readonly subscriber?: string
  readonly service?: string
  readonly catalog?: string
  readonly outcome?: string
  /** [balance, unit, amount, before, after], and the other side [name, unit, amount]. */
  readonly posts: readonly (readonly [string, string, number, number?, number?])[]
  readonly lines: readonly LedgerLine[]
  readonly overrun?: number
  readonly counters?: Readonly<Record<string, number>>
  readonly events?: readonly (readonly [kind: string, name: string, level: number])[]
  /** Names by id. */
  readonly buckets?: Readonly<Record<string, string>>
  readonly [cause: string]: unknown
}

interface LedgerLine {
  readonly line: string
  readonly rule?: string
  readonly program?: string
  readonly rate?: string
  readonly used?: number
  readonly total?: number
  readonly is?: string
  readonly granted?: number
  readonly held?: number
  readonly holds?: string
  readonly cash?: string
  readonly unpaid?: number
  readonly unrated?: number
  /** Of a refund: units given back, of so many that were debited. */
  readonly refunded?: number
  readonly of?: number
  readonly from?: number
  readonly cost?: number
  readonly paid?: string
  readonly next?: string
  readonly skipped?: string
  readonly stop?: string
  readonly free?: number
  readonly needs?: number
  readonly final?: number
  /** Counter whose limit leaves nothing for another grant, as `stop`. */
  readonly finalStop?: string
  readonly asked?: string
  readonly switch?: number
  readonly before?: number
  readonly after?: number
  readonly zone?: string
  readonly destination?: string
  readonly apn?: string
  readonly rat?: string
  readonly direction?: string
  readonly message?: string
  readonly when?: readonly string[]
  /** What prices were converted by, for an account in another currency. */
  readonly exchange?: string
  readonly why?: string
}

/** What an entry does not say itself. */
export interface Known {
  /** JSON by program id. */
  readonly descriptions: ReadonlyMap<string, string>
  /** Names of buckets by id, where the entry lacks them. */
  readonly buckets: ReadonlyMap<string, string>
  readonly currency: string
}

export interface Explanation {
  readonly account: string
  readonly sequence: number
  readonly at: string
  /** What happened, in a sentence. */
  readonly title: string
  readonly lines: readonly LineExplanation[]
  readonly balances: readonly BalanceMove[]
  readonly counters: Readonly<Record<string, string>>
  readonly events: readonly string[]
  /** All of it, a line each. */
  readonly text: readonly string[]
  /** As it stands in the ledger. */
  readonly entry: LedgerEntry
}

export interface LineExplanation {
  readonly line: string
  /** Rating group, zone, destination, calendars in force. */
  readonly facts: Readonly<Record<string, string>>
  /** With a tariff switch: before it, and after it. */
  readonly programs: readonly (ProgramDescription & { readonly id: string })[]
  readonly used: string
  readonly cost: string
  readonly payers: readonly PayerMove[]
  readonly passedOver: readonly { readonly payer: string; readonly why: string }[]
  readonly result: string
  readonly text: readonly string[]
}

/** What a bucket gave, or what a rate priced and who paid for it. */
export interface PayerMove {
  readonly payer: string
  readonly units?: string
  readonly amount: string
  /** The price of a rate, step by step. */
  readonly sum?: string
}

export interface BalanceMove {
  readonly balance: string
  readonly amount: string
  readonly before: string
  readonly after: string
}

/** Result-Codes of lines in words. */
const resultCodes: Readonly<Record<string, string>> = {
  '4010': '4010, end user service denied',
  '4011': '4011, credit control not applicable',
  '4012': '4012, credit limit reached',
  '5003': '5003, authorization rejected',
  '5031': '5031, rating failed',
}

const skipReasons: Readonly<Record<string, string>> = {
  ended: 'it has ended',
  early: 'it is not valid yet',
  empty: 'nothing is left in it',
  held: 'what is left of it is held for other grants',
  blocked: 'a blocker before it is valid',
}

export function explainEntry(entry: LedgerEntry, known: Known): Explanation {
  const words = new EntryWords(entry, known)
  const lines = entry.lines.map(line => words.line(line))
  const balances = words.balances()
  const counters = Object.fromEntries(
    Object.entries(entry.counters ?? {}).map(([name, value]) => [
      words.counterName(name),
      words.counterValue(name, value),
    ]),
  )
  const events = (entry.events ?? []).map(event => words.event(event))
  const at = new Date(entry.at).toISOString()
  const title = words.title()
  return {
    ...{ account: entry.account, sequence: entry.seq, at, title, lines, balances, counters, events, entry },
    text: [
      `${at}  account ${entry.account}, entry ${entry.seq}`,
      title,
      ...indented(changesInWords(entry)),
      ...lines.flatMap(({ text }) => text),
      ...block('balances', balances.map(({ balance, amount, before, after }) => `${balance}: ${before} → ${after} (${amount})`)),
      // A grant alone moves what is held, not what is counted.
      ...block('counters', Object.entries(entry.lines.some(({ used = 0 }) => used > 0) ? counters : {}).map(([name, value]) => `${name}: ${value} now`)),
      ...block('events', events),
    ],
  } // prettier-ignore
}

const block = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : [title, ...indented(lines)]

const indented = (lines: readonly string[]): string[] => lines.map(line => `  ${line}`)

class EntryWords {
  private readonly programs = new Map<string, ProgramDescription | undefined>()

  constructor(
    private readonly entry: LedgerEntry,
    private readonly known: Known,
  ) {}

  title(): string {
    const { kind, type, number, session, host, subscriber, service, catalog, outcome } = this.entry
    if (kind === 'charge' || kind === 'quote' || kind === 'refund') {
      const what = kind === 'refund' ? 'refund' : (type ?? '')
      const request = kind === 'quote' ? `request ${number ?? 0} of a quote` : `${what} request ${number ?? 0}`
      const of = kind === 'quote' ? '' : ` of session ${session ?? ''}, from ${host ?? ''}`
      const by = kind === 'quote' || subscriber === undefined ? '' : `subscriber ${subscriber}, `
      return `${request}${of}; ${by}service ${service ?? ''}, catalog ${catalog ?? ''}${outcomeText(outcome)}`
    }
    const told = new Set(['account', 'seq', 'at', 'posts', 'lines', 'held', 'kind', 'counters', 'events', 'buckets'])
    const more = Object.entries(this.entry).filter(([name, value]) => !told.has(name) && typeof value !== 'object')
    const cause =
      kind === 'expire' ? 'the session ended by silence or by hand' : kind === 'expiry' ? 'a bucket ended' : kind
    return [cause ?? 'entry', ...more.map(([name, value]) => `${name} ${String(value)}`)].join(', ')
  }

  line(line: LedgerLine): LineExplanation {
    const programs = this.programsOf(line.program)
    const facts = factsOf(line)
    const unit = this.unitOf(line, programs)
    const amount = (units: number): string => (unit ? formatAmount(unit, BigInt(units)) : String(units))
    const { payers, text: paidText } = this.payers(line, programs, amount)
    const passedOver = this.passedOver(line, programs)
    // An event is debited at once: nothing is granted that could be used later.
    const debited = this.entry.type === 'event' && (line.is === 'granted' || line.is === 'free')
    const result = debited ? '' : this.result(line, amount)
    const used = line.used ?? line.unrated ?? 0
    const text = [...programs.flatMap(each => this.programText(each, programs.length > 1 ? line.switch : undefined))]
    if (programs.length === 0 && line.rule !== undefined)
      text.push(`rule ${line.rule} (its description is no longer kept)`)
    if (line.why !== undefined) {
      const unpriced = programs.some(({ noExchange }) => noExchange !== undefined)
      text.push(unpriced ? `prices cannot be converted: ${line.why}` : `no rule matches: ${line.why}`)
    }
    if (used > 0) {
      const total = line.total === undefined ? '' : `; ${amount(line.total)} of the session so far`
      text.push(`reported ${amount(used)}${total}`)
      text.push(...indented(this.sidesText(line, amount)), ...indented(paidText))
    }
    if (line.unpaid !== undefined) text.push(`nobody pays for ${amount(line.unpaid)}: nothing is owed for them`)
    if (line.refunded !== undefined) {
      const before = (line.before ?? 0) === 0 ? '' : `; ${line.before} were given back before`
      const came = `${money(-(line.cost ?? 0))} ${this.known.currency}`
      text.push(`gave back ${line.refunded} of the ${line.of ?? 0} units of a debit${before}; of its price ${came}`)
    }
    if (line.unrated !== undefined) text.push('the session is not known: nothing is charged')
    if (passedOver.length > 0) text.push(...passedOver.map(({ payer, why }) => `not ${payer}: ${why}`))
    if (result !== '') text.push(result)
    const about = Object.entries(facts).map(([name, value]) => `${name} ${value}`)
    return {
      ...{
        line: line.line,
        facts,
        programs,
        used: amount(used),
        cost: money(line.cost ?? 0),
        payers,
        passedOver,
        result,
      },
      text: [about.length === 0 ? 'line without rating group' : about.join(', '), ...indented(text)],
    }
  }

  balances(): BalanceMove[] {
    return this.entry.posts.flatMap(([balance, unit, amount, before, after]) => {
      if (before === undefined || after === undefined) return []
      const [kind, id = ''] = balance.split(':')
      const show = (value: number): string => this.postAmount(unit, value)
      return [
        {
          balance: kind === 'bucket' ? `bucket ${this.bucketName(id)}` : balance,
          amount: (amount > 0 ? '+' : '') + show(amount),
          // Debt is posted as a balance below zero.
          before: show(before),
          after: show(after),
        },
      ]
    })
  }

  /** `day-roaming.1` → `day-roaming of subscriber 1`. */
  counterName(full: string): string {
    const dot = full.lastIndexOf('.')
    const scope = full.slice(dot + 1)
    return `${full.slice(0, dot)} of ${scope === '0' ? 'the account' : `subscriber ${scope}`}`
  }

  counterValue(full: string, value: number): string {
    const unit = this.counterUnit(full)
    return unit ? this.withCurrency(unit, formatAmount(unit, BigInt(value))) : String(value)
  }

  event([kind, name, level]: readonly [string, string, number]): string {
    if (kind === 'counter') return `counter ${this.counterName(name)} reached ${level} % of its limit`
    if (kind === 'money') return `${name} fell to ${money(level)} ${this.known.currency}`
    const unit = this.bucketUnit(name)
    const left = unit ? formatAmount(unit, BigInt(level)) : String(level)
    return `bucket ${this.bucketName(name)} fell to ${left}`
  }

  private programsOf(term: string | undefined): (ProgramDescription & { id: string })[] {
    if (term === undefined) return []
    const [first, second] = term.split('.')
    return [first, second].flatMap(id => {
      if (id === undefined) return []
      if (!this.programs.has(id)) {
        const text = this.known.descriptions.get(id)
        this.programs.set(id, text === undefined ? undefined : readDescription(text))
      }
      const description = this.programs.get(id)
      return description ? [{ id, ...description }] : []
    })
  }

  private programText(program: ProgramDescription & { readonly id: string }, switchAt: number | undefined): string[] {
    const { rules, rate, unfit, exchange } = program
    const [first] = this.programsOf(this.entry.lines.find(({ program: term }) => term?.includes(program.id))?.program)
    const side = switchAt === undefined ? '' : `${first?.id === program.id ? 'before' : 'from'} ${instant(switchAt)}: `
    return [
      ...rules.map(({ offer, rule, place, where, effect }) => {
        const conditions = Object.entries(where).map(([name, value]) => `${name} ${conditionText(value)}`)
        const what = conditions.length === 0 ? 'everything' : conditions.join(', ')
        return `${side}rule ${offer}#${rule}${place === undefined ? '' : ` (${place})`}: ${what} → ${effect}`
      }),
      ...(rate?.insteadOf === undefined
        ? []
        : [
            `${side}the account has an override: rate ${rate.insteadOf} is ` +
              (rate.insteadOf === rate.name ? rate.words : `${rate.name} (${rate.words})`),
          ]),
      ...(exchange === undefined ? [] : [`${side}prices are converted: ${exchangeText(exchange)}`]),
      ...(unfit ?? []).map(
        ({ name, fails }) => `${side}bucket ${name} is not for this: its condition ${fails} does not hold`,
      ),
    ]
  }

  private sidesText({ switch: switchAt, before, after }: LedgerLine, amount: (units: number) => string): string[] {
    if (switchAt === undefined || before === undefined || after === undefined) return []
    return [`the tariff switched at ${instant(switchAt)}: ${amount(before)} before it, ${amount(after)} after it`]
  }

  /** What gave, in the order in which it was taken. Money follows the rate that it pays. */
  private payers(
    line: LedgerLine,
    programs: readonly ProgramDescription[],
    amount: (units: number) => string,
  ): { payers: PayerMove[]; text: string[] } {
    const payers: PayerMove[] = []
    const text: string[] = []
    const items = line.paid === undefined || line.paid === '' ? [] : line.paid.split(',').map(item => item.split(':'))
    const rates = items.filter(([payer]) => payer === 'rate').length
    for (const item of items) {
      const [payer = '', units = '', value = ''] = item
      if (payer === 'rate') {
        const program =
          programs.find(({ rate }) => rate?.id === item[3]) ??
          (rates === 1 ? programs.find(({ rate }) => rate?.id === line.rate) : undefined)
        const sum = program && sumInWords(program, item)
        const { rate } = program ?? {}
        const cost = `${money(value)} ${this.known.currency}`
        payers.push({
          payer: `rate ${rate?.name ?? line.rate ?? ''}`,
          units: amount(Number(units)),
          amount: cost,
          ...(sum !== undefined && { sum }),
        })
        text.push(
          `rate ${rate?.name ?? line.rate ?? ''}${rate ? ` (${rate.words})` : ''}: ${amount(Number(units))} cost ${cost}`,
        )
        if (sum !== undefined) text.push(`  ${sum}`)
      } else if (payer === 'free') {
        const limit = programs
          .flatMap(({ counters = [] }) => counters)
          .find(({ counts, then }) => counts === 'units' && then === 'free')
        const why = `beyond the limit of the counter ${limit?.name ?? ''}`
        payers.push({
          payer: 'nobody',
          units: amount(Number(units)),
          amount: `${money(0)} ${this.known.currency}`,
          sum: why,
        })
        text.push(`${amount(Number(units))} are free: ${why}`)
      } else if (units === '') {
        const cost = `${money(value)} ${this.known.currency}`
        const name = payer === 'main' || payer === 'debt' ? payer : `bucket ${this.bucketName(payer)}`
        payers.push({ payer: name, amount: cost })
        text.push(payer === 'debt' ? `  nothing free is left for ${cost}: it becomes debt` : `  ${cost} from ${name}`)
      } else {
        const unit = this.bucketUnit(payer)
        const taken = unit ? formatAmount(unit, BigInt(value)) : value
        payers.push({ payer: `bucket ${this.bucketName(payer)}`, units: amount(Number(units)), amount: taken })
        text.push(
          `bucket ${this.bucketName(payer)} pays for ${amount(Number(units))}` +
            (units === value ? '' : ` with ${taken}`),
        )
      }
    }
    return { payers, text }
  }

  private passedOver(
    { skipped, holds = '', cash = '' }: LedgerLine,
    programs: readonly ProgramDescription[],
  ): { payer: string; why: string }[] {
    if (skipped === undefined) return []
    // What it holds of a bucket itself is no reason to pass it over.
    const own = new Set(`${holds},${cash}`.split(',').map(each => each.split('=')[0]))
    return skipped.split(',').flatMap(each => {
      const [id = '', why = ''] = each.split(':')
      if (why === 'held' && own.has(id)) return []
      const name = programs.find(({ rate }) => rate)?.rate?.name ?? ''
      return [{ payer: id === 'rate' ? `rate ${name}` : `bucket ${this.bucketName(id)}`, why: skipReasons[why] ?? why }]
    })
  }

  private result(line: LedgerLine, amount: (units: number) => string): string {
    const stop = line.stop === undefined ? '' : `; ${this.stopText(line.stop, line.is === 'granted')}`
    switch (line.is) {
      case 'granted':
      case 'free': {
        const asked =
          line.asked === undefined ? '' : ` (asked: ${line.asked === '*' ? 'any amount' : amount(Number(line.asked))})`
        const held = this.heldText(line)
        const ends = line.finalStop === undefined || line.stop !== undefined ? '' : this.stopText(line.finalStop, true)
        const last = line.final === 1 ? `, the last: final unit${ends === '' ? '' : `; ${ends}`}` : ''
        return `granted ${amount(line.granted ?? 0)}${asked}${line.is === 'free' ? ', free' : ''}${held === '' ? '' : `; held ${held}`}${last}${stop}`
      }
      case 'exhausted': {
        const short =
          line.needs !== undefined && line.needs > 0
            ? `; ${money(line.free ?? 0)} ${this.known.currency} is free, the next step needs ${money(line.needs)}`
            : ''
        return `refused with ${resultCodes['4012']!}: nothing more may be granted${stop === '' ? short : stop}`
      }
      case 'denied': {
        const code = String(line.granted === 0 ? this.codeOf(line) : line.granted)
        return `refused by the rule with ${resultCodes[code] ?? code}`
      }
      case 'unrated':
        return `refused with ${resultCodes['5031']!}${line.asked === '?' ? ': it is not sold in the units asked for' : ''}`
      default:
        return ''
    }
  }

  /** `5031` and its like stand in the effect of the rule: `deny 4010`. */
  private codeOf({ program }: LedgerLine): string {
    const effect = this.programsOf(program)[0]?.rules.at(-1)?.effect ?? ''
    return / (\d{4})$/.exec(effect)?.[1] ?? '4010'
  }

  private heldText({ held, holds, cash }: LedgerLine): string {
    const words: string[] = []
    for (const [list, isMoney] of [[holds, false], [cash, true]] as const) {
      for (const each of list?.split(/[,;]/) ?? []) {
        const [id = '', value = '0'] = each.split('=')
        const unit = isMoney ? 'money' : this.bucketUnit(id)
        const text = unit ? this.withCurrency(unit, formatAmount(unit, BigInt(value))) : value
        words.push(`${text} of bucket ${this.bucketName(id)}`)
      }
    } // prettier-ignore
    if (held !== undefined && held > 0) words.push(`${money(held)} ${this.known.currency} of main`)
    return words.join(', ')
  }

  /** `day-roaming.1:4900000:0:5000000`: value, held for others, limit. */
  private stopText(stop: string, granted: boolean): string {
    const [full = '', value, others, limit] = stop.split(':')
    const name = this.counterName(full)
    if (limit === undefined) return `counter ${name} has reached its limit`
    const show = (digits: string | undefined): string => this.counterValue(full, Number(digits ?? 0))
    if (granted) return `counter ${name} allows no more: ${show(value)} of ${show(limit)} before this`
    const held = others === undefined || others === '0' ? '' : ` and ${show(others)} held for other grants`
    return `counter ${name} stops it: ${show(value)}${held} of ${show(limit)}`
  }

  private unitOf(line: LedgerLine, programs: readonly ProgramDescription[]): UnitType | undefined {
    const unit = programs[0]?.unit
    if (unit) return unit
    // Without a description: what was posted against the service says it, where a bucket paid.
    const posted = this.entry.posts.find(([name]) => name === `usage:${this.entry.service ?? ''}`)?.[1]
    return line.used !== undefined && (unitTypes as readonly (string | undefined)[]).includes(posted)
      ? (posted as UnitType)
      : undefined
  }

  private counterUnit(full: string): UnitType | undefined {
    const name = full.slice(0, full.lastIndexOf('.'))
    for (const { program } of this.entry.lines)
      for (const { counters } of this.programsOf(program)) {
        const found = counters?.find(each => each.name === name)
        if (found) return found.unit
      }
    return undefined
  }

  private bucketName(id: string): string {
    const name = this.entry.buckets?.[id] ?? this.known.buckets.get(id)
    return name === undefined ? id : `${name} (${id})`
  }

  private bucketUnit(id: string): UnitType | 'units' | undefined {
    const posted = this.entry.posts.find(([balance]) => balance === `bucket:${id}`)?.[1]
    if (posted === this.known.currency) return 'money'
    if (posted !== undefined) return posted as UnitType | 'units'
    const name = this.entry.buckets?.[id] ?? this.known.buckets.get(id)
    for (const { program } of this.entry.lines)
      for (const { buckets } of this.programsOf(program)) {
        const found = buckets?.find(each => each.name === name)
        if (found) return found.unit as UnitType | 'units'
      }
    return undefined
  }

  private postAmount(unit: string, value: number): string {
    if (unit === this.known.currency) return `${money(value)} ${unit}`
    const counted = unit === 'units' || (unitTypes as readonly string[]).includes(unit)
    if (!counted) return `${value} ${unit}`
    return value < 0
      ? `-${formatAmount(unit as UnitType, BigInt(-value))}`
      : formatAmount(unit as UnitType, BigInt(value))
  }

  private withCurrency(unit: string, text: string): string {
    return unit === 'money' ? `${text} ${this.known.currency}` : text
  }
}

const money = (value: number | string): string => formatMoney(BigInt(value))

const instant = (at: number): string => new Date(at).toISOString()

function outcomeText(outcome: string | undefined): string {
  switch (outcome) {
    case 'refused':
      return '; every line is refused, there is no session'
    case 'barred':
      return '; refused with 4010, the account is suspended'
    case 'terminated':
      return '; refused with 5030, the account is terminated'
    case 'ended':
      return '; answered 5002, the session had ended and this is charged late'
    case 'reported':
      return '; answered 3004, too late to grant: what was used is charged'
    case 'unknown':
      return '; answered 5002, the session is not known'
    default:
      return ''
  }
}

/** `USD 0.92` → `1 USD = 0.92 of the catalog's currency`. */
const exchangeText = (exchange: string): string => `1 ${exchange.replace(' ', ' = ')} of the catalog's currency`

function factsOf({
  line,
  zone,
  destination,
  apn,
  rat,
  direction,
  message,
  when,
  exchange,
}: LedgerLine): Record<string, string> {
  const [group = '-', identifiers] = line.split('/')
  return {
    ...(group !== '-' && { 'rating group': group }),
    ...(identifiers !== undefined && { 'service identifiers': identifiers }),
    ...(zone !== undefined && { zone }),
    ...(destination !== undefined && { destination }),
    ...(apn !== undefined && { apn }),
    ...(rat !== undefined && { rat }),
    ...(direction !== undefined && { direction }),
    ...(message !== undefined && { message }),
    ...(when !== undefined && { when: when.join(', ') }),
    ...(exchange !== undefined && { exchange }),
  }
}

/** What an operator changed of an account: an override, attributes, an opt-in. */
function changesInWords({ before, after }: LedgerEntry): string[] {
  if (before === undefined && after === undefined) return []
  const [old, now] = [membersOf(before), membersOf(after)]
  if (old.size === 0 || now.size === 0) {
    const all = Array.from(old.size === 0 ? now : old, ([name, value]) => `${name} ${value}`)
    return [`${old.size === 0 ? 'new' : 'gone'}: ${all.join(', ')}`]
  }
  const names = [...new Set([...old.keys(), ...now.keys()])].filter(name => old.get(name) !== now.get(name))
  return names.map(name => `${name}: ${old.get(name) ?? 'none'} → ${now.get(name) ?? 'none'}`)
}

const instants: ReadonlySet<string> = new Set(['from', 'until'])
/** The title tells them. */
const who: ReadonlySet<string> = new Set(['actor', 'reason'])

/** Prices as money; other amounts as the ledger has them: octets, seconds, ms. */
function membersOf(change: unknown): ReadonlyMap<string, string> {
  const members = Object.entries(change ?? {}).filter(([name, value]) => value !== null && !who.has(name))
  const { kind } = (change ?? {}) as { readonly kind?: unknown }
  return new Map(
    members.map(([name, value]): [string, string] => {
      if (typeof value === 'number' && instants.has(name)) return [name, instant(value)]
      return [name, kind === 'price' && name === 'value' ? money(String(value)) : String(value)]
    }),
  )
}

const conditionText = (value: unknown): string => {
  if (Array.isArray(value)) return value.map(String).join(' or ')
  if (typeof value !== 'object' || value === null) return String(value)
  return Object.entries(value).map(([key, each]) => `${key}=${conditionText(each)}`).join(', ') // prettier-ignore
}

/**
 * The price of a rate's part of a report, step by step: undefined where the terms are not known, or do not come to what the script
 * charged.
 *
 * @param item `rate:<units>:<cost>:<rate id>:<run before>:<opening>:<counter before or ->:<raw before>`
 */
function sumInWords(program: ProgramDescription, item: readonly string[]): string | undefined {
  const rate = rateOf(program)
  const [, units, cost, id, run, opens, counted, raw] = item
  if (!rate || raw === undefined || id !== rate.id) return undefined
  const [n, from, opening] = [BigInt(units!) as Units, BigInt(run!) as Units, opens === '1']
  const standing = counted === '-' ? undefined : { counted: BigInt(counted!), raw: BigInt(raw) as Micros }
  if (rate.counter !== undefined && !standing) return undefined
  const words = (): string => describePrice(n, from, rate, { opening, ...(standing && { standing }) })
  const price = growth(rate, from, n, opening, standing)
  if (price === BigInt(cost!)) return words()
  const limit = program.counters?.find(({ counts, then }) => counts === 'money' && then === 'free')
  if (!limit || price < BigInt(cost!)) return undefined
  return `${words()}; beyond its limit the counter ${limit.name} makes it free: ${formatMoney(BigInt(cost!))} of it is charged`
}

/** F(from + n) − F(from), semantics.md section 4. */
function growth(rate: Rate, from: Units, n: Units, opening: boolean, standing: Standing | undefined): bigint {
  const to = (from + n) as Units
  const [was, is] = [billable(from, rate, opening), billable(to, rate, opening)]
  const counted = standing?.counted ?? was
  const before = standing?.raw ?? tierPrice(was, rate)
  const raw = before + tierPrice(counted + is - was, rate) - tierPrice(counted, rate)
  const price = (used: bigint, sum: bigint): bigint => (used === 0n ? 0n : boundedPrice(sum, rate, opening))
  return price(to, raw) - price(from, before)
}
