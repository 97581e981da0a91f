/** The parts of a catalog in words, for people who compare two of them or ask why something was charged. */
import { formatDuration } from '../config/quantity.js'
import { formatAmount, formatMoney } from '../units.js'
import type {
  Catalog,
  Condition,
  Conditions,
  Effect,
  Fee,
  FinalUnit,
  Grant,
  Life,
  QuotaTerms,
  Reset,
  Service,
} from './catalog.js'
import { envelopeWords, timeMechanisms } from './terms.js'

/** A long list is cut: prefixes and networks are many. */
const shown = 12

export const listed = (values: Iterable<string>): string => {
  const all = [...values]
  return all.length <= shown ? all.join(', ') : `${all.slice(0, shown).join(', ')} and ${all.length - shown} more`
}

/** `service data, rating group 10 or none, zone eu, when peak`; `everything` without conditions. */
export function conditionsInWords(where: Conditions): string {
  const words: string[] = []
  const among = (what: string, values: ReadonlySet<string> | undefined): void => {
    if (values) words.push(`${what} ${alternatives(values)}`)
  }
  among('service', where.services)
  if (where.ratingGroup) words.push(`rating group ${alternatives(numbersOf(where.ratingGroup))}`)
  if (where.serviceIdentifier) words.push(`service identifier ${alternatives(numbersOf(where.serviceIdentifier))}`)
  among('zone', where.zones)
  among('destination', where.destinations)
  among('apn', where.apns)
  among('rat', where.rats)
  among('direction', where.directions)
  among('message', where.messages)
  among('when', where.when)
  for (const [whose, attributes] of [['account', where.account], ['subscriber', where.subscriber]] as const) {
    for (const [key, values] of attributes ?? []) words.push(`${whose} ${key} ${alternatives(values)}`)
  } // prettier-ignore
  return words.length === 0 ? 'everything' : words.join(', ')
}

const alternatives = (values: Iterable<string>): string => listed(values).replace(/, ([^,]*)$/, ' or $1')

const numbersOf = ({ values, none }: Condition): string[] => [...[...values].map(String), ...(none ? ['none'] : [])]

/** `data-5gb, then the rate data-payg`, `free`, `refused with 4010`. */
export function effectInWords(effect: Effect): string {
  if (effect.kind !== 'use') {
    if (effect.kind === 'deny') return `refused with ${effect.code}`
    return effect.code === 0 ? 'free' : `free, answered ${effect.code}`
  }
  const { buckets, rate, afterRate } = effect
  const payers = [
    ...(buckets.length > 0 ? [`bucket ${listed(buckets)}`] : []),
    ...(rate === undefined ? [] : [`rate ${rate}`]),
    ...(afterRate.length > 0 ? [`bucket ${listed(afterRate)}`] : []),
  ]
  return payers.join(', then ')
}

export const spanInWords = (ms: number): string => formatDuration(ms)

export const instantInWords = (at: number): string => new Date(at).toISOString().replace(/:00\.000Z$/, 'Z')

export function resetInWords(reset: Reset): string {
  switch (reset.kind) {
    case 'never':
      return 'never'
    case 'anniversary':
      return 'each month on the day of the activation'
    case 'rolling':
      return `every ${spanInWords(reset.every)} from the activation`
    default:
      return `each ${reset.kind}`
  }
}

export function lifeInWords({ from, end }: Life): string {
  const starts = from === undefined ? '' : `from ${instantInWords(from)}, `
  switch (end.kind) {
    case 'never':
      return `${starts}no end`
    case 'at':
      return `${starts}until ${instantInWords(end.at)}`
    case 'after':
      return `${starts}${spanInWords(end.after)} from ${end.start === 'use' ? 'its first use' : 'the grant'}`
    case 'period':
      return `${starts}to the end of the ${end.reset} (${end.timezone})`
    case 'fee':
      return `${starts}to the end of what the fee is paid for`
  }
}

/** `10.00 each month (calendar), price in parts, renewed auto, ...`: only what is not as usual. */
export function feeInWords(fee: Fee): string {
  const { every, align, proration, renew, setup, retry, grace, graceRules, catchUp, remind } = fee
  const often = !every ? 'once' : every.kind === 'rolling' ? `every ${spanInWords(every.every)}` : `each ${every.kind}`
  const words = [`${formatMoney(fee.amount)} ${often}`]
  if (setup > 0n) words.push(`setup ${formatMoney(setup)}`)
  if (!every) return words.join(', ')
  const spans = (list: readonly number[]): string => list.map(spanInWords).join(' ') || 'never'
  if (align === 'calendar') words.push('by the calendar')
  if (proration !== 'none') words.push(`parts: ${proration}`)
  if (renew !== 'auto') words.push(`renewal ${renew}`)
  if (renew !== 'none' && (retry.join() !== usualRetry || grace !== usualGrace))
    words.push(`tried again after ${spans(retry)}, grace ${grace === 0 ? 'none' : spanInWords(grace)}`)
  if (!graceRules) words.push('no rules in grace')
  if (catchUp === 'latest') words.push('late renewals: the latest')
  if (remind.length > 0) words.push(`told ${spans(remind)} ahead`)
  return words.join(', ')
}

const usualRetry = '3600000,21600000,86400000'
const usualGrace = 259_200_000

export const attributesInWords = (attributes: ReadonlyMap<string, ReadonlySet<string>>): string =>
  [...attributes].map(([key, values]) => `${key} ${alternatives(values)}`).join(', ')

/** By what they are called. */
export function quotaInWords({ unit }: Pick<Service, 'unit'>, quota: QuotaTerms): Record<string, string> {
  return {
    size: formatAmount(unit, quota.size),
    min: formatAmount(unit, quota.min),
    max: formatAmount(unit, quota.max),
    target: quota.target === 0 ? 'none' : `${quota.target} s`,
    validity: `${quota.validity} s`,
    threshold: `${quota.threshold} %`,
    holding: quota.holding === undefined ? 'not sent' : `${quota.holding} s`,
    triggers: quota.triggers === undefined ? 'by the rules' : quota.triggers.join(', ') || 'none',
    consumption: quota.consumption === undefined ? 'not sent' : `${quota.consumption} s`,
    'time mechanism': quota.timeMechanism
      ? `${timeMechanisms[quota.timeMechanism.type]} ${quota.timeMechanism.interval} s`
      : 'none',
    envelopes: quota.envelope === undefined ? 'not sent' : envelopeWords[quota.envelope]!,
    furnish: quota.furnish ?? 'nothing',
    'final unit': quota.finalUnit ? finalUnitInWords(quota.finalUnit) : "the offer's",
  }
}

/** `redirect to http://topup.example/, asking again after 300 s, then 4012`. */
export function finalUnitInWords(finalUnit: FinalUnit = { action: 'terminate' }): string {
  const heard = finalUnit.announcement === undefined ? '' : `, announcement ${finalUnit.announcement}`
  if (finalUnit.action !== 'redirect' && finalUnit.action !== 'restrict') return finalUnit.action + heard
  const { validity, repeat } = finalUnit
  const what =
    finalUnit.action === 'redirect'
      ? `redirect to ${finalUnit.to.address}`
      : `restrict to ${[...finalUnit.filters, ...finalUnit.filterIds].join('; ') || 'what the gateway has'}`
  return `${what}, asking again after ${validity} s, ${repeat ? 'as long as it takes' : 'then 4012'}${heard}`
}

/** What a grant brings, by what it is called. */
export function grantInWords(catalog: Catalog, grant: Grant): Record<string, string> {
  const { unit, pays, where } = catalog.buckets.get(grant.bucket)!
  const { rollover } = grant
  const amount = (value: bigint): string => formatAmount(unit, value)
  return {
    amount: amount(grant.amount),
    for: [...pays].map(([service, { each, takes }]) => paysInWords(service, each, takes)).join(', '),
    where: conditionsInWords(where),
    validity: lifeInWords(grant.life),
    priority: String(grant.priority),
    paid: yesNo(grant.paid),
    blocker: yesNo(grant.blocker),
    warnings: grant.warn.length === 0 ? 'none' : `at ${listed(grant.warn.map(amount))} left`,
    reminders: grant.remind.length === 0 ? 'none' : `${grant.remind.map(spanInWords).join(' ')} ahead`,
    rollover: rollover
      ? `${amount(rollover.min)} to ${amount(rollover.max)} for ${spanInWords(rollover.life)}, priority ${rollover.priority}`
      : 'none',
  }
}

const paysInWords = (service: string, each: bigint, takes: bigint): string =>
  each === 1n && takes === 1n ? service : `${service} (each ${each} take ${takes})`

export const yesNo = (value: boolean): string => (value ? 'yes' : 'no')

/** `+400 %`, `-12.5 %`. */
export function percentInWords(percent: number): string {
  if (!Number.isFinite(percent)) return 'it cost nothing before'
  const rounded = Math.abs(percent) < 10 ? Math.round(percent * 10) / 10 : Math.round(percent)
  return `${percent > 0 ? '+' : ''}${rounded} %`
}
