/**
 * Bulk import of subscribers (design.md section 2): creates what is missing and changes nothing that exists, so it may
 * run again. Every bad row is reported with its line; the others are imported all the same.
 */
import type { Accounts, Identity, NewSubscription } from '../balance/types.js'
import { micros, parseMoney, type Micros, type Millis } from '../units.js'
import { UnreadableFile, type Row } from './rows.js'
import type { BucketsOf } from './services.js'

export interface ImportReport {
  /** Rows read, the header not counted. */
  readonly rows: number
  /** Accounts or subscribers that were made. */
  readonly created: number
  /** Rows of which all was there already. */
  readonly existing: number
  readonly refused: number
  /** False: all or nothing was asked for, a row is bad, and none was applied. */
  readonly applied: boolean
  /** Every refused row, up to 100,000 of them. */
  readonly errors: readonly { readonly line: number; readonly reason: string }[]
  /** The file was not read to its end: why, and at which line. Rows before it are done; import it again. */
  readonly stopped?: { readonly line: number; readonly reason: string }
}

export interface ImportServices {
  readonly accounts: Accounts
  readonly newBuckets: BucketsOf
  /** How a subscription of an offer begins that is imported; absent: as one without a fee. */
  readonly openingOf?: (offer: string, currency: string, now: Millis) => NewSubscription
  readonly offers: readonly string[]
  /** Why no account can be made in a currency; undefined: it can. */
  readonly currencyProblem: (currency: string) => string | undefined
  readonly now: () => Millis
  /** True for an error that says the store is not reachable: the import stops there. */
  readonly isUnavailable: (error: unknown) => boolean
}

export interface ImportOptions {
  /** All rows are looked at first, and none is applied when one is bad. */
  readonly allOrNothing?: boolean
  /** Rows of lines before this one were applied by an earlier run: they are only counted. */
  readonly fromLine?: number
}

/** All of them are kept in memory to be applied together. */
export const mostRowsAtOnce = 200_000

/** Rows in work at a time: what keeps the store busy without flooding it. */
const inFlight = 64
const mostErrors = 100_000

interface Wanted {
  readonly line: number
  readonly account: string
  readonly identities: readonly Identity[]
  readonly offer: string
  readonly currency: string
  readonly opening: Micros
}

export async function importRows(
  rows: AsyncIterable<Row>,
  services: ImportServices,
  options: ImportOptions = {},
): Promise<ImportReport> {
  const run = new ImportRun(services, options)
  let stopped: ImportReport['stopped']
  try {
    for await (const row of rows) {
      await run.take(row)
      if (run.ended) break
    }
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error
    stopped = { line: error.line, reason: error.message }
  }
  await run.finish()
  stopped = run.stopped ?? stopped
  const applied = !options.allOrNothing || (run.refused === 0 && stopped === undefined)
  if (options.allOrNothing && applied) {
    await run.apply()
    stopped = run.stopped
  }
  const errors = run.errors.sort((a, b) => a.line - b.line)
  const { rowCount, created, existing, refused } = run
  return { rows: rowCount, created, existing, refused, applied, errors, ...(stopped && { stopped }) }
}

class ImportRun {
  rowCount = 0
  created = 0
  existing = 0
  refused = 0
  readonly errors: { line: number; reason: string }[] = []
  stopped: { line: number; reason: string } | undefined
  private failure: { readonly error: unknown } | undefined
  /** First line of each account of this file. */
  private readonly firstLines = new Map<string, number>()
  /** Rows of one account go one after the other: the first one brings the balance. */
  private readonly working = new Map<string, Promise<void>>()
  private readonly tasks = new Set<Promise<void>>()

  /** Of this file, to be told apart before any is applied. */
  private readonly owners = new Map<string, { readonly account: string; readonly line: number }>()
  private readonly currencies = new Map<string, string>()
  private readonly judged: Wanted[] = []

  constructor(
    private readonly services: ImportServices,
    private readonly options: ImportOptions,
  ) {}

  /** Returns when there is room for the next one. */
  async take(row: Row): Promise<void> {
    this.rowCount++
    const wanted = 'fault' in row ? row.fault : readRow(row, this.services, this.firstLines)
    if (typeof wanted === 'string') {
      this.refuse(row.line, wanted)
      return
    }
    if (row.line < (this.options.fromLine ?? 0)) {
      this.existing++
      return
    }
    if (this.options.allOrNothing && this.judged.length >= mostRowsAtOnce)
      throw new UnreadableFile(row.line, `all or nothing takes at most ${mostRowsAtOnce} rows: split the file`)
    const contradiction = this.options.allOrNothing ? this.contradiction(wanted) : undefined
    if (contradiction !== undefined) {
      this.refuse(row.line, contradiction)
      return
    }
    await this.start(wanted, () => (this.options.allOrNothing ? this.judge(wanted) : this.create(wanted)))
  }

  /** Applies what was judged, after all of it was found good. */
  async apply(): Promise<void> {
    for (const wanted of this.judged.sort((a, b) => a.line - b.line)) {
      if (this.ended) break
      await this.start(wanted, () => this.create(wanted))
    }
    await this.finish()
  }

  private async start(wanted: Wanted, work: () => Promise<void>): Promise<void> {
    const before = this.working.get(wanted.account)
    const task: Promise<void> = (before ?? Promise.resolve()).then(work).finally(() => {
      this.tasks.delete(task)
      if (this.working.get(wanted.account) === task) this.working.delete(wanted.account)
    })
    this.working.set(wanted.account, task)
    this.tasks.add(task)
    if (this.tasks.size >= inFlight) await Promise.race(this.tasks)
  }

  /** @throws what a row met that is neither its own fault nor the store's absence */
  async finish(): Promise<void> {
    await Promise.all(this.tasks)
    if (this.failure) throw this.failure.error
  }

  get ended(): boolean {
    return this.stopped !== undefined || this.failure !== undefined
  }

  /** What earlier rows of the file say otherwise; undefined: nothing. */
  private contradiction({ line, account, identities, currency }: Wanted): string | undefined {
    const other = this.currencies.get(account) ?? currency
    if (other !== currency) return `account ${account} has currency ${other} in an earlier line`
    this.currencies.set(account, currency)
    for (const { type, value } of identities) {
      const earlier = this.owners.get(`${type} ${value}`)
      if (earlier && earlier.account !== account)
        return `${type} ${value} belongs to account ${earlier.account} in line ${earlier.line}`
      this.owners.set(`${type} ${value}`, { account, line })
    }
    return undefined
  }

  /** What create() would refuse, with nothing changed. */
  private async judge(wanted: Wanted): Promise<void> {
    if (this.ended) return
    const { line, account, identities, currency, offer } = wanted
    const { accounts, newBuckets, now } = this.services
    try {
      const buckets = offer === '' ? [] : (newBuckets(offer, now(), currency) ?? [])
      if ('refused' in buckets) {
        this.refuse(line, `offer ${offer} grants money: ${buckets.refused}`)
        return
      }
      const known = await accounts.show(account)
      if (known && known.currency !== currency) {
        this.refuse(line, `account ${account} exists with currency ${known.currency}`)
        return
      }
      for (const identity of identities) {
        const owner = (await accounts.find(identity))?.account.id ?? account
        if (owner !== account) {
          this.refuse(line, `${identity.type} ${identity.value} belongs to account ${owner}`)
          return
        }
      }
      this.judged.push(wanted)
    } catch (error) {
      this.failed(line, error)
    }
  }

  private async create({ line, account, identities, offer, currency, opening }: Wanted): Promise<void> {
    if (this.ended) return
    const { accounts, newBuckets, openingOf, now } = this.services
    const buckets = offer === '' ? [] : (newBuckets(offer, now(), currency) ?? [])
    if ('refused' in buckets) {
      this.refuse(line, `offer ${offer} grants money: ${buckets.refused}`)
      return
    }
    const offers = offer === '' ? [] : [{ offer, buckets, ...openingOf?.(offer, currency, now()) }]
    try {
      const outcome = await accounts.create(
        { id: account, currency, creditLimit: micros(0) },
        { identities, offers },
        opening,
        'import',
      )
      switch (outcome.status) {
        case 'created':
          this.created++
          break
        case 'exists':
          this.existing++
          break
        case 'identity_taken':
          this.refuse(line, `${outcome.identity.type} ${outcome.identity.value} belongs to account ${outcome.account}`)
          break
        case 'currency_differs':
          this.refuse(line, `account ${account} exists with currency ${outcome.currency}`)
      }
    } catch (error) {
      this.failed(line, error)
    }
  }

  /** Kept for finish(): work is not awaited where it begins. */
  private failed(line: number, error: unknown): void {
    if (!this.services.isUnavailable(error)) this.failure ??= { error }
    else if (this.stopped === undefined || line < this.stopped.line) {
      this.stopped = { line, reason: 'the store does not answer' }
    }
  }

  private refuse(line: number, reason: string): void {
    this.refused++
    if (this.errors.length < mostErrors) this.errors.push({ line, reason })
  }
}

/** What the row asks for, or what is wrong with it. */
function readRow(
  row: Extract<Row, { fields: unknown }>,
  { newBuckets, offers, currencyProblem, now }: ImportServices,
  firstLines: Map<string, number>,
): Wanted | string {
  const { line, fields } = row
  if (!accountPattern.test(fields.account)) {
    return `account ${shown(fields.account)} is not 1 to 64 characters of A-Z a-z 0-9 . _ -`
  }
  const identities: Identity[] = []
  for (const type of ['msisdn', 'imsi'] as const) {
    if (fields[type] === '') continue
    const identity = readIdentity(type, fields[type])
    if (!identity) return `${type} ${shown(fields[type])} is not ${identityRule[type]}`
    identities.push(identity)
  }
  if (identities.length === 0) return 'msisdn and imsi are both empty'
  if (fields.offer !== '' && newBuckets(fields.offer, now(), fields.currency) === undefined) {
    return `the catalog has no offer ${shown(fields.offer)}; it has ${offers.join(', ')}`
  }
  const { currency } = fields
  if (!/^[A-Z]{3}$/.test(currency)) return `currency ${shown(currency)} is not three capital letters like EUR`
  const problem = currencyProblem(currency)
  if (problem !== undefined) return problem
  const first = firstLines.get(fields.account)
  if (first !== undefined && fields.balance !== '') {
    return `account ${fields.account} is in line ${first} already: leave balance empty here`
  }
  const opening = fields.balance === '' ? micros(0) : parseMoney(fields.balance)
  if (opening === undefined || opening < 0n) return `balance ${shown(fields.balance)} is not an amount like 5.00`
  if (first === undefined) firstLines.set(fields.account, line)
  return { line, account: fields.account, identities, offer: fields.offer, currency, opening }
}

export const accountPattern = /^[A-Za-z0-9._-]{1,64}$/

const identityRule = {
  msisdn: '3 to 15 digits, a leading + allowed',
  imsi: '6 to 15 digits',
  nai: 'a name like user@realm of at most 253 characters',
} as const

/** Normalised: a leading + of a number is dropped, leading zeros count. Undefined when it cannot be one. */
export function readIdentity(type: Identity['type'], text: string): Identity | undefined {
  switch (type) {
    case 'msisdn':
      return /^\+?\d{3,15}$/.test(text) ? { type, value: text.replace('+', '') } : undefined
    case 'imsi':
      return /^\d{6,15}$/.test(text) ? { type, value: text } : undefined
    case 'nai':
      return text.length <= 253 && /^[\w!#$%&'*+/=?^`{|}~.-]+(@[A-Za-z0-9.-]+)?$/.test(text)
        ? { type, value: text }
        : undefined
  }
}

export const ruleOf = (type: Identity['type']): string => identityRule[type]

const shown = (text: string): string => (text === '' ? '(empty)' : JSON.stringify(text.slice(0, 70)))
