/**
 * A file of recharges, as retail partners and banks send them: each row is a recharge with its own reference, so the file may be sent again,
 * whole or in part, and every row is credited once. Every bad row is reported with its line; the others are credited all the same, or
 * none is when that was asked for.
 */
import type { Account, Accounts } from '../balance/types.js'
import type { Recharges } from '../recharge/recharges.js'
import { formatMoney, parseMoney, type Micros } from '../units.js'
import { accountPattern, readIdentity, ruleOf } from './import.js'
import { problemOf } from './recharge-routes.js'
import { UnreadableFile, type Columns, type RowOf } from './rows.js'

export interface RechargeReport {
  /** Rows read, the header not counted. */
  readonly rows: number
  readonly credited: number
  /** Rows that were credited before. */
  readonly repeated: number
  readonly refused: number
  /** By currency, of rows credited now. */
  readonly sums: Readonly<Record<string, string>>
  /** All or nothing was asked for, and it was nothing. */
  readonly nothing?: true
  /** Every refused row, up to 100,000 of them. */
  readonly errors: readonly { readonly line: number; readonly reason: string }[]
  /** The file was not read to its end: why, and at which line. Rows before it are done; send it again. */
  readonly stopped?: { readonly line: number; readonly reason: string }
}

type Name = 'account' | 'msisdn' | 'amount' | 'currency' | 'reference' | 'channel' | (typeof tags)[number]

const tags = ['method', 'outlet', 'operator'] as const

/** And one of account and msisdn. */
export const rechargeColumns: Columns<Name> = {
  required: ['amount', 'currency', 'reference'],
  optional: ['account', 'msisdn', 'channel', 'method', 'outlet', 'operator'],
}

export interface RechargeImport {
  readonly accounts: Pick<Accounts, 'show' | 'find'>
  readonly recharges: Pick<Recharges, 'recharge' | 'judge' | 'find'>
  readonly actor: string
  /** Of rows that name none. */
  readonly channel: string
  readonly allOrNothing: boolean
  /** Of one row: more takes a second person, which a file does not have. Undefined: no limit. */
  readonly heldAbove: (currency: string) => Micros | undefined
  /** True for an error that says the store is not reachable: the import stops there. */
  readonly isUnavailable: (error: unknown) => boolean
  readonly recharged: (channel: string, result: 'credited' | 'repeated' | 'refused') => void
}

interface Wanted {
  readonly line: number
  readonly account: string
  readonly amount: Micros
  readonly currency: string
  readonly channel: string
  readonly reference: string
  readonly method: string | undefined
  readonly outlet: string | undefined
  readonly operator: string | undefined
}

/** Rows in work at a time. */
const inFlight = 32
const mostErrors = 100_000
/** All or nothing looks at all rows before it credits the first: they are kept meanwhile. */
export const mostRowsAtOnce = 100_000

export async function importRecharges(
  rows: AsyncIterable<RowOf<Name>>,
  options: RechargeImport,
): Promise<RechargeReport> {
  const run = new RechargeRun(options)
  try {
    for await (const row of rows) {
      await run.take(row)
      if (run.ended) break
    }
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error
    run.stop(error.line, error.message)
  }
  return run.finish()
}

class RechargeRun {
  private rows = 0
  private credited = 0
  private repeated = 0
  private refused = 0
  private readonly sums = new Map<string, bigint>()
  private readonly errors: { line: number; reason: string }[] = []
  private stopped: { line: number; reason: string } | undefined
  private failure: { readonly error: unknown } | undefined
  private readonly tasks = new Set<Promise<void>>()
  /** Rows of one account go one after the other, in the order of the file. */
  private readonly working = new Map<string, Promise<void>>()
  /** Line of each reference of this file. */
  private readonly lines = new Map<string, number>()
  /** With all or nothing: rows that are good. */
  private readonly good: Wanted[] = []

  constructor(private readonly options: RechargeImport) {}

  get ended(): boolean {
    return this.stopped !== undefined || this.failure !== undefined
  }

  stop(line: number, reason: string): void {
    if (this.stopped === undefined || line < this.stopped.line) this.stopped = { line, reason }
  }

  /** Returns when there is room for the next one. */
  async take(row: RowOf<Name>): Promise<void> {
    this.rows++
    const { line } = row
    const wanted = 'fault' in row ? row.fault : readRow(row.fields, line, this.options)
    if (typeof wanted === 'string') {
      this.refuse(line, wanted)
      return
    }
    const name = `${wanted.channel} ${wanted.reference}`
    const first = this.lines.get(name)
    if (first !== undefined) {
      this.refuse(line, `${wanted.channel} ${wanted.reference} stands in line ${first} already`)
      return
    }
    this.lines.set(name, line)
    if (this.options.allOrNothing && this.rows > mostRowsAtOnce) {
      this.stop(line, `all or nothing takes ${mostRowsAtOnce} rows at most: split the file`)
      return
    }
    await this.start(line, wanted.account, () => (this.options.allOrNothing ? this.judge(wanted) : this.credit(wanted)))
  }

  /** @throws what a row met that is neither its own fault nor the store's absence */
  async finish(): Promise<RechargeReport> {
    await Promise.all(this.tasks)
    const nothing = this.options.allOrNothing && (this.refused > 0 || this.stopped !== undefined)
    if (this.options.allOrNothing && !nothing && !this.failure) {
      this.good.sort((a, b) => a.line - b.line)
      for (const wanted of this.good) await this.start(wanted.line, wanted.account, () => this.credit(wanted))
      await Promise.all(this.tasks)
    }
    if (this.failure) throw this.failure.error
    const { rows, credited, repeated, refused, stopped } = this
    return {
      ...{ rows, credited, repeated, refused },
      sums: Object.fromEntries([...this.sums].map(([currency, sum]) => [currency, formatMoney(sum)])),
      ...(nothing && { nothing }),
      errors: this.errors.sort((a, b) => a.line - b.line),
      ...(stopped && { stopped }),
    }
  }

  private async start(line: number, account: string, work: () => Promise<void>): Promise<void> {
    const before = this.working.get(account) ?? Promise.resolve()
    const task: Promise<void> = before
      .then(() => (this.ended ? undefined : work()))
      .catch((error: unknown) => {
        // Kept for finish(): this promise is not awaited where it begins.
        if (this.options.isUnavailable(error)) this.stop(line, 'the store does not answer')
        else this.failure ??= { error }
      })
      .finally(() => {
        this.tasks.delete(task)
        if (this.working.get(account) === task) this.working.delete(account)
      })
    this.working.set(account, task)
    this.tasks.add(task)
    if (this.tasks.size >= inFlight) await Promise.race(this.tasks)
  }

  /** What would be refused is, before anything is credited; only limits that others use up meanwhile show later. */
  private async judge(wanted: Wanted): Promise<void> {
    const { recharges } = this.options
    const account = await this.accountOf(wanted)
    if (typeof account === 'string') {
      this.refuse(wanted.line, account)
      return
    }
    const known = await recharges.find(wanted.channel, wanted.reference)
    if (known.status !== 'unknown') {
      const same = known.account === account.id && known.amount === wanted.amount && known.currency === wanted.currency
      if (same) this.good.push({ ...wanted, account: account.id })
      else
        this.refuse(
          wanted.line,
          `${wanted.channel} ${wanted.reference} is of ${formatMoney(known.amount)} to account ${known.account}`,
        )
      return
    }
    const why =
      account.status === 'terminated'
        ? `account ${account.id} is terminated`
        : account.currency !== wanted.currency
          ? `account ${account.id} has another currency than ${wanted.currency}`
          : recharges.judge(wanted, account)
    if (why === undefined) this.good.push({ ...wanted, account: account.id })
    else this.refuse(wanted.line, why)
  }

  private async credit(wanted: Wanted): Promise<void> {
    const { recharges, recharged, actor } = this.options
    const account = wanted.account.startsWith('+') ? await this.accountOf(wanted) : { id: wanted.account }
    if (typeof account === 'string') {
      this.refuse(wanted.line, account)
      return
    }
    const { line, ...rest } = wanted
    const input = { ...rest, account: account.id, actor }
    const outcome = await recharges.recharge(input)
    const done = outcome.status === 'credited' || outcome.status === 'repeated'
    recharged(wanted.channel, done ? outcome.status : 'refused')
    if (!done) {
      const [, reason] = problemOf(outcome, input)
      this.refuse(line, reason)
    } else if (outcome.status === 'repeated') this.repeated++
    else {
      this.credited++
      this.sums.set(wanted.currency, (this.sums.get(wanted.currency) ?? 0n) + wanted.amount)
    }
  }

  /** The account of a row, or what is wrong with it. An MSISDN stands there with a plus. */
  private async accountOf({ account }: Wanted): Promise<Account | string> {
    const { accounts } = this.options
    if (!account.startsWith('+')) return (await accounts.show(account)) ?? `there is no account ${account}`
    const value = account.slice(1)
    const found = await accounts.find({ type: 'msisdn', value })
    return found?.account ?? `no subscriber has the msisdn ${value}`
  }

  private refuse(line: number, reason: string): void {
    this.refused++
    if (this.errors.length < mostErrors) this.errors.push({ line, reason })
  }
}

/** What the row asks for, or what is wrong with it. */
function readRow(
  fields: Readonly<Record<Name, string>>,
  line: number,
  { channel: standard, heldAbove }: RechargeImport,
): Wanted | string {
  const { account, msisdn, currency, reference } = fields
  if ((account === '') === (msisdn === '')) return 'write one of account and msisdn'
  if (account !== '' && !accountPattern.test(account))
    return `account ${shown(account)} is not 1 to 64 characters of A-Z a-z 0-9 . _ -`
  const identity = msisdn === '' ? undefined : readIdentity('msisdn', msisdn)
  if (msisdn !== '' && !identity) return `msisdn ${shown(msisdn)} is not ${ruleOf('msisdn')}`
  const amount = parseMoney(fields.amount)
  if (amount === undefined || amount <= 0n) return `amount ${shown(fields.amount)} is not an amount like 5.00, above 0`
  if (!/^[A-Z]{3}$/.test(currency)) return `currency ${shown(currency)} is not three capital letters like EUR`
  if (!/^[!-~]{1,128}$/.test(reference))
    return `reference ${shown(reference)} is not 1 to 128 characters without spaces`
  const channel = fields.channel === '' ? standard : fields.channel
  if (!/^[A-Za-z0-9._-]{1,32}$/.test(channel))
    return `channel ${shown(channel)} is not 1 to 32 characters of A-Z a-z 0-9 . _ -`
  for (const tag of tags)
    if (fields[tag] !== '' && !/^[\w.@:-]{1,64}$/.test(fields[tag]))
      return `${tag} ${shown(fields[tag])} is not 1 to 64 characters of A-Z a-z 0-9 . _ @ : -`
  const most = heldAbove(currency)
  if (most !== undefined && amount > most)
    return `above ${formatMoney(most)} ${currency} it takes two persons: recharge it by itself`
  const word = (text: string): string | undefined => (text === '' ? undefined : text)
  const [method, outlet, operator] = tags.map(tag => word(fields[tag]))
  return { line, account: identity ? `+${identity.value}` : account, amount, currency, channel, reference, method, outlet, operator } // prettier-ignore
}

const shown = (text: string): string => (text === '' ? '(empty)' : JSON.stringify(text.slice(0, 70)))
