/**
 * What a grant is given with: the word `terms` of a charging program, both ways. The script hands it back as it is with each
 * answer, so that a repeated answer is the same after a reload, on any daemon.
 *
 *     3600,20,redirect,to=url:http%3A%2F%2Ftopup.example%2F,while=300,holding=600,triggers=4.30.31
 *
 * Validity-Time in seconds, threshold in percent of the grant (0: none), Final-Unit-Action, then what else there is, each only
 * where it says something. Values are percent-encoded, so that no separator of the script's texts stands in them.
 */
import type { FinalUnit, QuotaTerms } from './catalog.js'

/** As the gateway is to be told. */
export interface GrantTerms {
  /** Validity-Time, seconds. */
  readonly validity: number
  /** Percent of the grant; 0: none. */
  readonly threshold: number
  readonly finalUnit: FinalUnit
  /** Quota-Holding-Time, seconds; 0: switched off. Undefined: not sent. */
  readonly holding?: number | undefined
  /** Trigger-Types to arm; empty: none of them. Undefined: no Trigger is sent. */
  readonly triggers?: readonly number[] | undefined
  /** Quota-Consumption-Time, seconds. */
  readonly consumption?: number | undefined
  /** Time-Quota-Mechanism: Time-Quota-Type and Base-Time-Interval in seconds. */
  readonly timeMechanism?: { readonly type: number; readonly interval: number } | undefined
  /** Envelope-Reporting. */
  readonly envelope?: number | undefined
  readonly pool?: PoolTerms | undefined
  /** PS-Free-Format-Data of PS-Furnish-Charging-Information. */
  readonly furnish?: string | undefined
  /** Announcement-Identifier to play with the final units. */
  readonly announcement?: number | undefined
  readonly inform: Inform
}

/** G-S-U-Pool-Identifier, and the pool units that one unit is worth: digits · 10^exponent. */
export interface PoolTerms {
  readonly id: number
  readonly digits: bigint
  readonly exponent: number
}

/** What the answer tells of money. */
export interface Inform {
  /** Cost-Information: what the session costs so far. */
  readonly cost: boolean
  /** Remaining-Balance and Low-Balance-Indication. */
  readonly balance: boolean
  /** Micros below which the balance is low. */
  readonly low: bigint | undefined
}

export const envelopeWords = ['none', 'times', 'volume', 'events', 'both'] as const
export const timeMechanisms = ['dtp', 'ctp'] as const

/** Trigger-Type of TS 32.299 section 7.2.236 by the name in a catalog. */
export const triggerTypes = {
  sgsn: [1], qos: [2], location: [3], rat: [4], timezone: [5], mcc: [30], mnc: [31], plmn: [30, 31], rac: [32], lac: [33], cell: [34],
  tac: [35], ecgi: [36], 'serving-node': [61], csg: [70, 71, 72], presence: [73],
} as const satisfies Readonly<Record<string, readonly number[]>> // prettier-ignore
export type TriggerName = keyof typeof triggerTypes

/** @param more what does not come from the quota */
export function writeTerms(
  quota: QuotaTerms,
  finalUnit: FinalUnit,
  more: {
    readonly triggers: readonly number[] | undefined
    readonly pool: PoolTerms | undefined
    readonly inform: Inform
  },
): string {
  const { holding, consumption, timeMechanism, envelope, furnish } = quota
  const { pool, inform, triggers } = more
  let text = `${quota.validity},${quota.threshold},${finalUnit.action}`
  const add = (name: string, value: string | number | undefined): void => {
    if (value !== undefined) text += `,${name}=${typeof value === 'number' ? value : encodeURIComponent(value)}`
  }
  if (finalUnit.action === 'redirect') add('to', `${finalUnit.to.type}:${finalUnit.to.address}`)
  if (finalUnit.action === 'restrict') {
    if (finalUnit.filters.length > 0) add('filters', finalUnit.filters.join('\n'))
    if (finalUnit.filterIds.length > 0) add('filterIds', finalUnit.filterIds.join('\n'))
  }
  if (finalUnit.action === 'redirect' || finalUnit.action === 'restrict') {
    add('while', finalUnit.validity)
    if (finalUnit.repeat) add('repeat', 1)
  }
  add('announcement', finalUnit.announcement)
  add('holding', holding)
  if (triggers) add('triggers', triggers.join('.'))
  add('consumption', consumption)
  if (timeMechanism) add('time', `${timeMechanism.type}.${timeMechanism.interval}`)
  add('envelope', envelope)
  add('furnish', furnish)
  if (pool) add('pool', `${pool.id}.${pool.digits}.${pool.exponent}`)
  if (inform.cost) add('cost', 1)
  if (inform.balance) add('balance', inform.low === undefined ? '-' : String(inform.low))
  return text
}

const known = new Map<string, GrantTerms>()
/** More than the programs of any catalog have in use. */
const mostKnown = 10_000

export function readTerms(text: string): GrantTerms {
  let terms = known.get(text)
  if (!terms) {
    if (known.size >= mostKnown) known.clear()
    known.set(text, (terms = parseTerms(text)))
  }
  return terms
}

function parseTerms(text: string): GrantTerms {
  const [validity, threshold, action, ...words] = text.split(',')
  const more = new Map(
    words.map(word => {
      const equals = word.indexOf('=')
      return [word.slice(0, equals), decodeURIComponent(word.slice(equals + 1))]
    }),
  )
  const number = (name: string): number | undefined => (more.has(name) ? Number(more.get(name)) : undefined)
  const numbers = (name: string): number[] | undefined =>
    more.get(name)?.split('.').filter(each => each !== '').map(Number) // prettier-ignore
  const lines = (name: string): string[] => more.get(name)?.split('\n') ?? []
  const time = numbers('time')
  const pool = more.get('pool')?.split('.')
  const balance = more.get('balance')
  return {
    validity: Number(validity),
    threshold: Number(threshold),
    finalUnit: {
      ...finalUnitOf(action!, more.get('to'), lines),
      ...(more.has('while') && { validity: number('while')!, repeat: more.has('repeat') }),
      announcement: number('announcement'),
    } as FinalUnit,
    holding: number('holding'),
    triggers: numbers('triggers'),
    consumption: number('consumption'),
    timeMechanism: time && { type: time[0]!, interval: time[1]! },
    envelope: number('envelope'),
    furnish: more.get('furnish'),
    pool: pool && { id: Number(pool[0]), digits: BigInt(pool[1]!), exponent: Number(pool[2]) },
    inform: {
      cost: more.has('cost'),
      balance: balance !== undefined,
      low: balance === undefined || balance === '-' ? undefined : BigInt(balance),
    },
  }
}

function finalUnitOf(action: string, to: string | undefined, lines: (name: string) => string[]): object {
  if (action === 'redirect') {
    const colon = to!.indexOf(':')
    return { action, to: { type: to!.slice(0, colon), address: to!.slice(colon + 1) } }
  }
  return action === 'restrict' ? { action, filters: lines('filters'), filterIds: lines('filterIds') } : { action }
}
