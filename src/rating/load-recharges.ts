/** Recharges and transfers of the catalog: limits of channels, bonus rules with the buckets that they make known. */
import { fault, type Value } from '../config/yaml.js'
import type { Micros } from '../units.js'
import type { AmountRules, BonusBucket, BonusGift, BonusRule, RechargeRules, TransferRules } from './catalog.js'
import type {
  BonusGroup,
  BonusIntoGroup,
  ChannelGroup,
  PerDayGroup,
  RechargeGroup,
  TransferGroup,
} from './catalog-shape.js'
import { instantOf } from './load-calendars.js'
import { attributesOf } from './load-conditions.js'
import { hintFor, refer, type Draft } from './load-draft.js'
import { addBucket, readGrant, readLife } from './load-offers.js'
import type { Item } from './schema.js'

const channelPattern = /^[A-Za-z0-9._-]{1,32}$/

/** Before the offers: their rules may use what a bonus brings. */
export function readRecharges(draft: Draft, group: RechargeGroup | undefined): RechargeRules | undefined {
  if (!group) return undefined
  const { at, is } = group
  const channels = at.channels && new Map<string, AmountRules>()
  for (const { name, key, is: channel } of is.channels ?? []) {
    if (!channelPattern.test(name))
      fault(key, `\`${name}\` cannot be a channel`, 'use up to 32 letters, digits, dots, dashes and underscores')
    channels?.set(name, readAmounts(channel))
  }
  const names = new Set<string>()
  const bonuses = (is.bonuses ?? []).flatMap(item => {
    const bonus = readBonus(draft, item.is, channels && [...channels.keys()])
    const { name } = item.is.is
    if (name !== undefined && names.has(name))
      fault(
        item.is.at.name!,
        `there is a bonus \`${name}\` already`,
        'use another name: it says how often an account got it',
      )
    if (name !== undefined) names.add(name)
    return bonus ? [bonus] : []
  })
  return { channels, bonuses }
}

export function readTransfers(group: TransferGroup | undefined): TransferRules | undefined {
  if (!group) return undefined
  const { fee = 0n as Micros, allowed } = group.is
  return {
    ...readAmounts(group),
    fee,
    allowed: allowed?.map(({ is: { is } }) => ({ from: attributesOf(is.from ?? []), to: attributesOf(is.to ?? []) })),
  }
}

function readAmounts(group: ChannelGroup | TransferGroup | undefined): AmountRules {
  if (!group) return { min: undefined, max: undefined, perDay: { count: undefined, sum: undefined } }
  const { here, at, is } = group
  const { min, max } = is
  if (min !== undefined && max !== undefined && min > max)
    fault(at.min!, `${here.path}: min is above max`, 'write min ≤ max')
  const perDay = readPerDay(is.perDay)
  if (perDay.sum !== undefined && min !== undefined && perDay.sum < min)
    fault(is.perDay!.at.sum!, `${here.path}: perDay.sum is below min`, 'nothing could ever be let through: write more')
  return { min, max, perDay }
}

function readPerDay(group: PerDayGroup | undefined): AmountRules['perDay'] {
  if (group && !group.at.count && !group.at.sum)
    fault(group.here, `${group.here.path} has no limit`, 'add `count:` or `sum:`')
  return { count: group?.is.count, sum: group?.is.sum }
}

function readBonus(draft: Draft, group: BonusGroup, known: readonly string[] | undefined): BonusRule | undefined {
  const { here, at, is } = group
  const before = here.source.faults.length
  for (const item of is.channel ?? []) checkChannel(item, known)
  const { name, from, below, first = false, most } = is
  if (from !== undefined && below !== undefined && from >= below)
    fault(at.below!, `${here.path}: below is not above from`, 'write a larger `below`: it is not included itself')
  const since = instantOf(at.since, is.since, draft.timezone)
  const until = instantOf(at.until, is.until, draft.timezone)
  if (since !== undefined && until !== undefined && since >= until)
    fault(at.until!, `${here.path}: until is not after since`, 'write a later `until`')
  const gives = readGift(draft, group)
  if (name === undefined || !gives || here.source.faults.length > before) return undefined
  return {
    ...{ name, from, below, first, most, since, until, gives },
    channels: is.channel && new Set(is.channel.map(item => item.is)),
    account: attributesOf(is.account ?? []),
  }
}

function checkChannel({ at, is }: Item<string>, known: readonly string[] | undefined): void {
  if (known && !known.includes(is))
    fault(at, `there is no channel \`${is}\``, hintFor(is, known, 'define it under `recharges.channels:`'))
}

function readGift(draft: Draft, { here, at, is }: BonusGroup): BonusGift | undefined {
  const written = (['percent', 'money', 'grant'] as const).filter(key => at[key])
  if (written.length !== 1) {
    const message = written.length === 0 ? `${here.path} gives nothing` : `${here.path} has ${written.join(' and ')}`
    return fault(here, message, "write one of percent: 10%, money: '2.00' or grant: { ... }")
  }
  if (at.grant) {
    if (at.into) fault(at.into, `${at.into.path} has no use beside \`grant\``, 'remove it')
    const grant = is.grant && readGrant(draft, is.grant, undefined)
    return grant && { kind: 'grant', grant }
  }
  const into = is.into && readInto(draft, is.into)
  if (at.into && !into) return undefined
  if (is.percent !== undefined) return { kind: 'share', hundredths: is.percent, into }
  if (is.money === undefined) return undefined
  if (is.money === 0n) return fault(at.money!, `${at.money!.path} is 0`, 'write more than 0')
  return { kind: 'money', amount: is.money, into }
}

function readInto(draft: Draft, group: BonusIntoGroup): BonusBucket | undefined {
  const { at, is } = group
  const { bucket, priority = 100, paid = false } = is
  const life = readLife(draft, group, undefined)
  if (bucket === undefined || !life) return undefined
  if (!isFree(draft, at.bucket!, bucket)) return undefined
  const services =
    is.for && new Set(is.for.filter(item => refer(draft.services, item.at, item.is)).map(item => item.is))
  addBucket(
    draft,
    { name: bucket, unit: 'money', pays: new Map(), where: { ...(services && { services }) } },
    at.bucket!,
  )
  return { bucket, life, priority, paid }
}

function isFree(draft: Draft, at: Value, bucket: string): boolean {
  if (bucket === 'main')
    fault(at, '`main` is the name of the money of each account', 'remove `into:`, then it goes there')
  else if (draft.rates.items.has(bucket)) fault(at, `\`${bucket}\` is also the name of a rate`, 'rename one of them')
  else return true
  return false
}
