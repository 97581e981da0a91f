/**
 * What described usage costs an account, or one that is only described, and why: played by the script that charges, with nothing
 * written (semantics.md section 11, I6; scope S46).
 */
import type { ChargeState } from '../balance/balance.js'
import { QuoteError, quotedSubscriber, type QuotedAccount, type QuotedUse, type Quotes } from '../charging/quote.js'
import { taxInWords, type Catalog, type Tax } from '../rating/catalog.js'
import { formatAmount, formatMoney, type UnitType } from '../units.js'
import { explainEntry, type Explanation, type LedgerEntry } from './explanation.js'

/** Whose usage it is. */
export type QuotedSubject =
  | { readonly kind: 'account'; readonly account: string; readonly subscriber: string; readonly state: ChargeState }
  | { readonly kind: 'described'; readonly account: QuotedAccount }

export interface Rated {
  /** `granted`, or the Result-Code of the refusal that ended it. */
  readonly result: string
  readonly service: string
  readonly at: string
  /** What was asked for, and what of it was granted. */
  readonly amount: string
  readonly used: string
  readonly cost: string
  /** What nothing free was left for: it would become debt. */
  readonly overrun: string
  readonly currency: string
  /** What the catalog says of tax in its prices; null: nothing. */
  readonly tax: Tax | null
  /** What each balance paid. */
  readonly paid: readonly { readonly balance: string; readonly amount: string }[]
  /** What is left afterwards. */
  readonly left: readonly { readonly balance: string; readonly amount: string }[]
  readonly counters: readonly { readonly counter: string; readonly value: string }[]
  readonly explanations: readonly Explanation[]
  /** All of it, a line each. */
  readonly text: readonly string[]
}

/**
 * @throws QuoteError when it cannot be quoted, with the reason; BalanceUnavailableError
 */
export async function rate(catalog: Catalog, quotes: Quotes, subject: QuotedSubject, use: QuotedUse): Promise<Rated> {
  const service = catalog.services.get(use.service)
  if (!service) throw new QuoteError(`the catalog has no service ${use.service}`)
  const [account, subscriber, state] =
    subject.kind === 'account'
      ? [subject.account, subject.subscriber, subject.state]
      : ['described', quotedSubscriber, quotes.stateOf(catalog, subject.account, use.at)]
  const played = await quotes.play(catalog, account, subscriber, state, use)
  const currency = state.account['currency'] ?? catalog.currency
  const descriptions = new Map(played.programs.map(({ id, description }) => [id, description]))
  const before = balancesOf(state, currency)
  const after = balancesOf(played.state, currency)
  const buckets = new Map([...before.names, ...after.names])
  const explanations = played.entries
    .map(text => JSON.parse(text) as LedgerEntry)
    .map(entry => explainEntry(entry, { descriptions, buckets, currency }))
  const paid = sumOf(explanations)
  const rated = {
    result: played.result,
    service: use.service,
    at: new Date(use.at).toISOString(),
    amount: formatAmount(service.unit, use.amount),
    used: formatAmount(service.unit, played.used),
    cost: formatMoney(played.cost),
    overrun: formatMoney(played.overrun),
    currency,
    tax: catalog.tax ?? null,
    paid,
    left: after.balances,
    counters: after.counters(catalog),
    explanations,
  }
  return { ...rated, text: textOf(rated, taxInWords(catalog)) }
}

interface Balances {
  readonly balances: readonly { readonly balance: string; readonly amount: string }[]
  /** By id. */
  readonly names: ReadonlyMap<string, string>
  readonly counters: (catalog: Catalog) => { counter: string; value: string }[]
}

/** What the fields of an account say, in words. */
function balancesOf({ account }: ChargeState, currency: string): Balances {
  const [, main = '0', debt = '0'] = / money (-?\d+) .* debt (\d+) /.exec(account['funds'] ?? '') ?? []
  const names = new Map<string, string>()
  const balances = [{ balance: 'main', amount: `${formatMoney(BigInt(main))} ${currency}` }]
  if (debt !== '0') balances.push({ balance: 'debt', amount: `${formatMoney(BigInt(debt))} ${currency}` })
  for (const [field, text] of Object.entries(account)) {
    const bucket = /^bucket:(.*)$/.exec(field)?.[1]
    const [, name, unit, left] = /^(\S+) (\S+) left (\d+) /.exec(text) ?? []
    if (bucket === undefined || name === undefined || left === undefined) continue
    names.set(bucket, name)
    const amount = formatAmount(unit as UnitType | 'units', BigInt(left))
    balances.push({
      balance: `bucket ${name} (${bucket})`,
      amount: unit === 'money' ? `${amount} ${currency}` : amount,
    })
  }
  const counters = (catalog: Catalog): { counter: string; value: string }[] =>
    Object.entries(account).flatMap(([field, text]) => {
      const [, name, scope] = /^counter:(.*)\.(\d+)$/.exec(field) ?? []
      const counter = catalog.counters.get(name ?? '')
      if (!counter) return []
      const value = formatAmount(counter.unit, BigInt(/^value (\d+)/.exec(text)![1]!))
      const whose = scope === '0' ? 'the account' : `subscriber ${scope!}`
      return [
        { counter: `${counter.name} of ${whose}`, value: counter.unit === 'money' ? `${value} ${currency}` : value },
      ]
    })
  return { balances, names, counters }
}

/** What each balance gave in all of it. */
function sumOf(explanations: readonly Explanation[]): { balance: string; amount: string }[] {
  const sums = new Map<string, { unit: string; amount: number }>()
  for (const { entry, balances } of explanations) {
    const moved = entry.posts.filter(post => post[3] !== undefined)
    for (const [index, [, unit, amount]] of moved.entries()) {
      const { balance } = balances[index]!
      sums.set(balance, { unit, amount: (sums.get(balance)?.amount ?? 0) + amount })
    }
  }
  return [...sums].flatMap(([balance, { unit, amount }]) => {
    if (amount === 0) return []
    const known = ['octets', 'seconds', 'events', 'units'].includes(unit)
    const text = known ? formatAmount(unit as UnitType, BigInt(-amount)) : `${formatMoney(BigInt(-amount))} ${unit}`
    return [{ balance, amount: text }]
  })
}

function textOf(rated: Omit<Rated, 'text'>, tax: string): string[] {
  const { result, service, at, amount, used, cost, overrun, currency, paid, left, counters, explanations } = rated
  const nothing = /^0 /.test(used)
  const end =
    result === 'granted' ? '' : nothing ? `refused with ${result}; ` : `${used} of it, then refused with ${result}; `
  const lines = [`${amount} of ${service} at ${at}: ${end}costs ${cost} ${currency}${tax === '' ? '' : `, ${tax}`}`]
  if (overrun !== '0.00') lines.push(`${overrun} ${currency} of it would become debt`)
  if (paid.length > 0) lines.push(`paid by  ${paid.map(each => `${each.balance}: ${each.amount}`).join(', ')}`)
  lines.push(`left     ${left.map(each => `${each.balance}: ${each.amount}`).join(', ')}`)
  if (counters.length > 0) lines.push(`counters ${counters.map(each => `${each.counter}: ${each.value}`).join(', ')}`)
  lines.push('', 'why')
  // The first answer grants what the others charge: its payers are told when they pay.
  const told = explanations.flatMap(({ lines: parts, events }) => [
    ...parts
      .filter(part => part.payers.length > 0 || !part.result.startsWith('granted') || parts.length === 0)
      .flatMap(({ text }) => text),
    ...events,
  ])
  return [...lines, ...told.map(line => `  ${line}`)]
}
