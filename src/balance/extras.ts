/**
 * An account's extras as they are stored: attributes, overrides and opt-ins in one JSON (types.ts says what each member is).
 */
import type { Millis, Units } from '../units.js'
import type { Extras, NewBucket, Override } from './types.js'

export const noExtras: Extras = { attributes: {}, subscribers: {}, overrides: [], blocked: [], optIns: {} }

/** @param text the field `extras`; empty or absent: nothing */
export function readExtras(text: string | null | undefined): Extras {
  if (text == null || text === '') return noExtras
  return { ...noExtras, ...(JSON.parse(text) as Partial<Extras>) }
}

/** Empty text when there is nothing. Keys are sorted, so that the same extras are the same text. */
export function writeExtras({ attributes, subscribers, overrides, blocked, optIns }: Extras): string {
  const ofSubscribers = sorted(subscribers)
    .filter(([, each]) => Object.keys(each).length > 0)
    .map(([number, each]) => [number, Object.fromEntries(sorted(each))] as const)
  const members = {
    ...(Object.keys(attributes).length > 0 && { attributes: Object.fromEntries(sorted(attributes)) }),
    ...(ofSubscribers.length > 0 && { subscribers: Object.fromEntries(ofSubscribers) }),
    ...(overrides.length > 0 && { overrides }),
    ...(blocked.length > 0 && { blocked: [...blocked].sort() }),
    ...(Object.keys(optIns).length > 0 && { optIns: Object.fromEntries(sorted(optIns)) }),
  }
  return Object.keys(members).length === 0 ? '' : JSON.stringify(members)
}

/**
 * Whether the subscriber (or the account, `0`) goes on beyond the limit of a counter at a time, and when that ends.
 *
 * @returns undefined: the limit applies; else until when it does not, Infinity: for good
 */
export function optedIn(optIns: Extras['optIns'], counter: string, scope: string, at: Millis): Millis | undefined {
  const until = optInsOf(optIns[counter]).get(scope)
  return until !== undefined && at < until ? until : undefined
}

/**
 * The limit of a counter for a subscriber (or the account, `0`) at a time: an opt-in comes before all, then an override for this
 * subscriber, then one for all.
 *
 * @returns units or micros; undefined: none; `default`: what the catalog says
 */
export function limitOf(
  { overrides, optIns }: Pick<Extras, 'overrides' | 'optIns'>,
  counter: string,
  scope: string,
  at: Millis,
): bigint | undefined | 'default' {
  if (optedIn(optIns, counter, scope, at) !== undefined) return undefined
  const limits = overrides.filter(each => each.kind === 'limit' && each.target === counter && inForce(each, at))
  const own =
    limits.find(({ subscriber }) => subscriber === scope) ?? limits.find(each => each.subscriber === undefined)
  if (!own) return 'default'
  return own.value === 'none' ? undefined : BigInt(own.value)
}

/** By scope: until when, Infinity where it does not end. */
export function optInsOf(words: string | undefined): Map<string, Millis> {
  return new Map(
    (words ?? '')
      .split(' ')
      .filter(word => word !== '')
      .map(word => {
        const [scope, until] = word.split('=')
        return [scope!, until === undefined ? Infinity : Number(until)]
      }),
  )
}

export const writeOptIns = (optIns: ReadonlyMap<string, Millis>): string =>
  sorted(Object.fromEntries(optIns))
    .map(([scope, until]) => (until === Infinity ? scope : `${scope}=${until}`))
    .join(' ')

/** In force at a time. */
export const inForce = ({ from, until }: Override, at: Millis): boolean =>
  (from === undefined || from <= at) && (until === undefined || at < until)

/** What an offer grants to an account that has overrides of amounts and lives. Warnings keep their share of the amount. */
export function grantsOf(
  buckets: readonly NewBucket[],
  overrides: readonly Override[],
  now: Millis,
): readonly NewBucket[] {
  const valueOf = (kind: Override['kind'], bucket: string): string | undefined =>
    overrides.find(each => each.kind === kind && each.target === bucket && inForce(each, now))?.value
  return buckets.map(bucket => {
    const [amount, life] = [valueOf('grant', bucket.name), valueOf('life', bucket.name)]
    return {
      ...bucket,
      ...(amount !== undefined && amountsOf(bucket, amount)),
      ...(life !== undefined && endOf(bucket, life, now)),
    }
  })
}

function amountsOf({ amount: before, warn }: NewBucket, digits: string): Pick<NewBucket, 'amount' | 'warn'> {
  const amount = BigInt(digits) as Units
  return { amount, warn: warn?.map(each => ((each * amount) / before) as Units) }
}

/** A bucket that waits for its first use goes on waiting. */
function endOf({ life }: NewBucket, value: string, now: Millis): Pick<NewBucket, 'until' | 'life'> {
  if (value === 'never') return { until: undefined, life: undefined }
  return life === undefined ? { until: now + Number(value) } : { until: undefined, life: Number(value) }
}

/** Whether two of an account would both say what applies to one thing at one time; a member's own limit goes before that of all. */
export function overlapping(a: Override, b: Override): boolean {
  const subject = ({ kind, target, subscriber }: Override): string =>
    `${kind === 'price' ? 'rate' : kind} ${target} ${subscriber ?? ''}`
  return (
    subject(a) === subject(b) &&
    (a.from ?? -Infinity) < (b.until ?? Infinity) &&
    (b.from ?? -Infinity) < (a.until ?? Infinity)
  )
}

const sorted = <V>(of: Readonly<Record<string, V>>): [string, V][] =>
  Object.entries(of).sort(([a], [b]) => (a < b ? -1 : 1))
