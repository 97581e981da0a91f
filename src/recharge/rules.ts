/**
 * What the catalog's sections `recharges:` and `transfers:` say of one of them: limits and bonuses in the account's currency. What needs
 * the account's history (how often, how much today, the first one) is left to the script that credits.
 */
import type { BonusTerms, RechargeTerms } from '../balance/credits.js'
import type { NewBucket } from '../balance/types.js'
import { endOfPeriod } from '../rating/calendar.js'
import type { BonusRule, Catalog, Grant } from '../rating/catalog.js'
import { askedOf, exchangeAt, exchangedGrant, givenOf, type Exchange } from '../rating/exchange.js'
import { newBucket } from '../rating/match.js'
import { exactLimit, formatMoney, type Micros, type Millis, type Units } from '../units.js'

export interface RechargeFacts {
  readonly channel: string
  readonly amount: Micros
  readonly currency: string
  /** Of the account. */
  readonly attributes: Readonly<Record<string, string>>
  readonly at: Millis
}

const day = 86_400_000

/** `why`: a sentence, where `terms.refused` is set. */
export function rechargeTerms(catalog: Catalog, facts: RechargeFacts): { terms: RechargeTerms; why: string } {
  const { recharges } = catalog
  const began = dayOf(catalog, facts.at)
  if (!recharges) return { terms: { day: began, bonuses: [] }, why: '' }
  const refused = (word: string, why: string): { terms: RechargeTerms; why: string } => ({
    terms: { refused: word, day: began, bonuses: [] },
    why,
  })
  const { channel, amount, currency, at } = facts
  const { exchange, missing } = exchangeAt(catalog, currency, at)
  if (missing !== undefined) return refused('no_rate', `the rules of recharges cannot be converted: ${missing}`)
  const rules = recharges.channels?.get(channel)
  if (recharges.channels && !rules) {
    const known = [...recharges.channels.keys()].join(', ')
    return refused('unknown_channel', `the catalog has no channel ${channel}; it has ${known}`)
  }
  const [min, max] = [asked(rules?.min, exchange), given(rules?.max, exchange)]
  if (min !== undefined && amount < min)
    return refused('below_min', `channel ${channel} takes ${formatMoney(min)} ${currency} at least`)
  if (max !== undefined && amount > max)
    return refused('above_max', `channel ${channel} takes ${formatMoney(max)} ${currency} at most`)
  const bonuses: BonusTerms[] = []
  for (const rule of recharges.bonuses) {
    if (!applies(rule, facts, exchange)) continue
    const bonus = bonusOf(catalog, rule, facts, exchange)
    if (!bonus) continue
    bonuses.push(bonus)
    if (!bonus.first && bonus.most === undefined) break // none behind it is ever reached
  }
  const { count, sum } = rules?.perDay ?? {}
  const terms = { day: began, mostCount: count, mostSum: given(sum, exchange), bonuses }
  return { terms, why: '' }
}

/** When the business day that `at` lies in began. */
export const dayOf = (catalog: Pick<Catalog, 'timezone'>, at: Millis): Millis =>
  // A day begins where the one before it ends, which is 23 to 25 hours earlier than its own end.
  endOfPeriod('day', catalog.timezone, endOfPeriod('day', catalog.timezone, at) - day - day / 2)

function applies(rule: BonusRule, facts: RechargeFacts, exchange: Exchange | undefined): boolean {
  const { channel, amount, attributes, at } = facts
  const [from, below] = [asked(rule.from, exchange), asked(rule.below, exchange)]
  return (
    (rule.channels?.has(channel) ?? true) &&
    (from === undefined || amount >= from) &&
    (below === undefined || amount < below) &&
    (rule.since === undefined || at >= rule.since) &&
    (rule.until === undefined || at < rule.until) &&
    fits(rule.account, attributes)
  )
}

/** Whether each attribute that is asked for has one of its values. */
export const fits = (
  wanted: ReadonlyMap<string, ReadonlySet<string>>,
  attributes: Readonly<Record<string, string>>,
): boolean => [...wanted].every(([name, values]) => attributes[name] !== undefined && values.has(attributes[name]))

/** Undefined: it is nothing, of so small an amount. */
function bonusOf(
  catalog: Catalog,
  rule: BonusRule,
  { amount, at }: RechargeFacts,
  exchange: Exchange | undefined,
): BonusTerms | undefined {
  const { name, first, most, gives } = rule
  const terms = { rule: name, first, most, money: 0n as Micros, buckets: [] }
  const brings = (grant: Grant): BonusTerms => ({ ...terms, buckets: [bucketOf(catalog, name, grant, at)] })
  if (gives.kind === 'grant') {
    const isMoney = catalog.buckets.get(gives.grant.bucket)!.unit === 'money'
    return brings(exchange && isMoney ? exchangedGrant(gives.grant, exchange) : gives.grant)
  }
  // In the currency of the recharge already, or converted: rounded down, both.
  const money =
    gives.kind === 'share' ? (((amount * gives.hundredths) / 10_000n) as Micros) : given(gives.amount, exchange)
  if (money <= 0n || money >= exactLimit / 2n) return undefined
  const { into } = gives
  if (!into) return { ...terms, money }
  const plain = { blocker: false, warn: [], remind: [], rollover: undefined }
  return brings({ ...plain, ...into, amount: money as bigint as Units })
}

const bucketOf = (catalog: Catalog, rule: string, grant: Grant, at: Millis): NewBucket =>
  newBucket(catalog, rule, grant, at, undefined)

const asked = <T extends Micros | undefined>(amount: T, exchange: Exchange | undefined): T =>
  (amount === undefined || !exchange ? amount : askedOf(amount, exchange)) as T

const given = <T extends Micros | undefined>(amount: T, exchange: Exchange | undefined): T =>
  (amount === undefined || !exchange ? amount : givenOf(amount, exchange)) as T

export interface TransferFacts {
  readonly amount: Micros
  readonly currency: string
  /** Attributes of both accounts. */
  readonly from: Readonly<Record<string, string>>
  readonly to: Readonly<Record<string, string>>
  readonly at: Millis
}

export interface TransferTerms {
  readonly fee: Micros
  readonly day: Millis
  readonly mostCount: number | undefined
  readonly mostSum: Micros | undefined
}

/** What a transfer costs and is held to, or why it may not be. */
export function transferTerms(catalog: Catalog, facts: TransferFacts): TransferTerms | { readonly refused: string } {
  const began = dayOf(catalog, facts.at)
  const { transfers: rules } = catalog
  if (!rules) return { fee: 0n as Micros, day: began, mostCount: undefined, mostSum: undefined }
  const { amount, currency, from, to, at } = facts
  const { exchange, missing } = exchangeAt(catalog, currency, at)
  if (missing !== undefined) return { refused: `the rules of transfers cannot be converted: ${missing}` }
  const [min, max] = [asked(rules.min, exchange), given(rules.max, exchange)]
  if (min !== undefined && amount < min) return { refused: `a transfer has ${formatMoney(min)} ${currency} at least` }
  if (max !== undefined && amount > max) return { refused: `a transfer has ${formatMoney(max)} ${currency} at most` }
  const allowed = rules.allowed?.some(pair => fits(pair.from, from) && fits(pair.to, to)) ?? true
  if (!allowed) return { refused: 'transfers between these two accounts are not allowed by the catalog' }
  const { count, sum } = rules.perDay
  return { fee: asked(rules.fee, exchange), day: began, mostCount: count, mostSum: given(sum, exchange) }
}
