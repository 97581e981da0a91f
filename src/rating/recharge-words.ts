/** Rules of recharges and transfers in words, for what changes between two catalogs. */
import { formatAmount, formatMoney, type Micros } from '../units.js'
import type { AmountRules, BonusRule, Catalog } from './catalog.js'
import { attributesInWords, instantInWords } from './words.js'

/** By what each rule is called. */
export function rechargeFields({ recharges, transfers, buckets }: Catalog): Readonly<Record<string, string>> {
  const channels = [...(recharges?.channels ?? [])].map(([name, rules]) => [`channel ${name}`, amountsInWords(rules)])
  const bonuses = (recharges?.bonuses ?? []).map((bonus, i) => [
    `bonus ${bonus.name}`,
    `${i + 1}. ${bonusInWords(bonus, buckets)}`,
  ])
  const all = transfers && [
    ...[amountsInWords(transfers), `fee ${formatMoney(transfers.fee)}`],
    ...(transfers.allowed ?? []).map(({ from, to }) => `from ${whoInWords(from)} to ${whoInWords(to)}`),
  ]
  return Object.fromEntries([...channels, ...bonuses, ...(all ? [['transfers', all.join('; ')]] : [])]) as Record<
    string,
    string
  >
}

const whoInWords = (attributes: BonusRule['account']): string =>
  attributes.size === 0 ? 'everybody' : attributesInWords(attributes)

function amountsInWords({ min, max, perDay }: AmountRules): string {
  const words = [
    ...between(min, max, 'up to'),
    ...(perDay.count === undefined ? [] : [`${perDay.count} a day`]),
    ...(perDay.sum === undefined ? [] : [`${formatMoney(perDay.sum)} a day`]),
  ]
  return words.length === 0 ? 'any amount' : words.join(', ')
}

const between = (from: Micros | undefined, to: Micros | undefined, word: string): string[] => [
  ...(from === undefined ? [] : [`from ${formatMoney(from)}`]),
  ...(to === undefined ? [] : [`${word} ${formatMoney(to)}`]),
]

function bonusInWords(rule: BonusRule, buckets: Catalog['buckets']): string {
  const { channels, from, below, account, first, since, until, most } = rule
  return [
    giftInWords(rule, buckets),
    ...(channels ? [`over ${[...channels].join(', ')}`] : []),
    ...between(from, below, 'below'),
    ...(account.size === 0 ? [] : [attributesInWords(account)]),
    ...(first ? ['first recharge'] : []),
    ...(most === undefined ? [] : [`at most ${most} times`]),
    ...(since === undefined ? [] : [`since ${instantInWords(since)}`]),
    ...(until === undefined ? [] : [`until ${instantInWords(until)}`]),
  ].join(', ')
}

function giftInWords({ gives }: BonusRule, buckets: Catalog['buckets']): string {
  if (gives.kind === 'grant') {
    const { bucket, amount } = gives.grant
    return `${formatAmount(buckets.get(bucket)!.unit, amount)} in ${bucket}`
  }
  const much = gives.kind === 'money' ? formatMoney(gives.amount) : `${Number(gives.hundredths) / 100} %`
  return `${much} into ${gives.into?.bucket ?? 'main'}`
}
