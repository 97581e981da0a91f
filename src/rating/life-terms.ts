/**
 * Which life cycle an account has, and its terms as one text: what lua/include/life.lua reads, so that a script needs no catalog. An
 * account keeps them with its dates; each step of its life brings those in force.
 */
import type { Micros, Millis } from '../units.js'
import type { Catalog, LifeCycle } from './catalog.js'
import { askedOf, exchangeAt } from './exchange.js'

/** What decides which life cycle an account has. */
export interface LifeSubject {
  readonly attributes: Readonly<Record<string, string>>
  /** Names of the offers that it has. */
  readonly offers: readonly string[]
  readonly currency: string
}

export interface LifeTerms {
  readonly rule: string
  /** `start=any first=2592000000 validity=5000000:2592000000 ...`: micros, ms; absent words: for ever, or none. */
  readonly terms: string
}

/** Undefined: the catalog has none for it; it is active for ever. */
export function lifeCycleOf(catalog: Catalog, { attributes, offers }: LifeSubject): LifeCycle | undefined {
  for (const cycle of catalog.lifeCycles) {
    const wanted = [...cycle.account].every(([name, values]) => values.has(attributes[name] ?? ''))
    if (wanted && (!cycle.offers || offers.some(offer => cycle.offers!.has(offer)))) return cycle
  }
  return undefined
}

/** Of the life cycle that an account has now. */
export function lifeTermsOf(catalog: Catalog, subject: LifeSubject, now: Millis): LifeTerms | undefined {
  const cycle = lifeCycleOf(catalog, subject)
  return cycle && { rule: cycle.name, terms: termsText(cycle, stepsIn(catalog, cycle, subject.currency, now)) }
}

/**
 * The first line of a new account's life, as lua/include/life.lua reads it. Money that it begins with counts as a recharge.
 *
 * @param suspended by hand, from the beginning
 */
export function lifeAtBirth(
  catalog: Catalog,
  subject: LifeSubject,
  { opening, status, now }: { readonly opening: Micros; readonly status: string | undefined; readonly now: Millis },
): string | undefined {
  const cycle = lifeCycleOf(catalog, subject)
  if (!cycle) return undefined
  const steps = stepsIn(catalog, cycle, subject.currency, now)
  const { start, first } = cycle
  const recharged = opening > 0n && (start === 'recharge' || start === 'any')
  const bought = recharged ? steps?.findLast(({ amount }) => opening >= amount)?.lasts : undefined
  const active = start === 'none' || status === 'active' || (recharged && (!steps || bought !== undefined))
  const lasts = active ? (bought ?? (recharged && !steps ? undefined : first)) : cycle.unused
  const ends = lasts === undefined ? 0 : now + (active ? Math.min(lasts, cycle.max ?? lasts) : lasts)
  const told = ends > 0 ? Math.min(...cycle.warn.filter(warn => ends - warn <= now)) : Infinity
  return [
    ...[active ? 'active' : 'created', 'since', now, 'end', ends, 'told', told === Infinity ? 0 : told],
    ...['hand', status === 'suspended' ? 1 : 0, 'rule', cycle.name, 'terms', termsText(cycle, steps)],
  ].join(' ')
}

type Steps = LifeCycle['validity']

/** In the currency of the account; in one that has no exchange rate now, as they stand. */
function stepsIn(catalog: Catalog, { validity }: LifeCycle, currency: string, now: Millis): Steps {
  const { exchange } = exchangeAt(catalog, currency, now)
  return exchange ? validity?.map(({ amount, lasts }) => ({ amount: askedOf(amount, exchange), lasts })) : validity
}

function termsText(cycle: LifeCycle, steps: Steps): string {
  const { start, first, unused, extend, max, grace, suspended, forfeit, debt, quarantine, warn } = cycle
  const words: readonly (readonly [string, string | number | undefined])[] = [
    ['start', start],
    ['first', first],
    ['unused', unused],
    ['validity', steps?.map(({ amount, lasts }) => `${amount}:${lasts}`).join(',')],
    ['extend', extend],
    ['max', max],
    ['grace', grace.lasts],
    ['service', grace.service],
    ['suspended', suspended],
    ['forfeit', forfeit ? 1 : 0],
    ['debt', debt],
    ['quarantine', quarantine],
    ['warn', warn.length > 0 ? warn.join(',') : undefined],
  ]
  return words.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`])).join(' ')
}
