/** Life cycles of accounts in the catalog, and who gets one by using a service. */
import { fault, type Value } from '../config/yaml.js'
import type { Micros, Millis } from '../units.js'
import type { AutoCreate, LifeCycle } from './catalog.js'
import type { AutoCreateGroup, LifeGroup } from './catalog-shape.js'
import { attributesOf } from './load-conditions.js'
import { hintFor } from './load-draft.js'
import type { Item, Row } from './schema.js'

/** @param offers names of the catalog's */
export function readLifeCycles(rows: readonly Row<LifeGroup>[], offers: ReadonlySet<string>): LifeCycle[] {
  const cycles: LifeCycle[] = []
  for (const { name, is: group } of rows) {
    const cycle = group && readLifeCycle(name, group, offers)
    if (cycle) cycles.push(cycle)
  }
  return cycles
}

function readLifeCycle(name: string, { at, is, here }: LifeGroup, offers: ReadonlySet<string>): LifeCycle {
  const { start = 'recharge', grace, extend = 'later', forfeit = true, debt = 'wait' } = is
  for (const item of is.offers ?? [])
    if (!offers.has(item.is))
      fault(item.at, `there is no offer \`${item.is}\``, hintFor(item.is, [...offers], 'offers'))
  const validity = is.validity && readValidity(is.validity)
  if (at.first && start === 'recharge')
    fault(at.first, `${at.first.path}: accounts begin with a recharge`, 'remove it, or write start: any')
  if (validity && !at.first && start !== 'recharge')
    fault(here, `${here.path}: without a recharge validity never ends`, 'add what they begin with: `first: 30d`')
  if (at.warn && !validity && !at.first)
    fault(at.warn, `${at.warn.path}: validity never ends`, 'add `validity`, or remove it')
  const warn = descending(is.warn ?? [])
  return {
    ...{ name, start, extend, forfeit, debt, validity, warn },
    offers: is.offers && new Set(is.offers.map(item => item.is)),
    account: attributesOf(is.account ?? []),
    unused: is.unused,
    first: is.first,
    max: is.max,
    grace: { lasts: grace?.is.lasts ?? 0, service: grace?.is.service ?? 'none' },
    suspended: is.suspended,
    quarantine: is.quarantine,
  }
}

function readValidity(
  items: readonly Item<{
    readonly at: { readonly amount?: Value }
    readonly is: { readonly amount?: Micros | undefined; readonly lasts?: Millis | undefined }
  }>[],
): LifeCycle['validity'] {
  const steps: { amount: Micros; lasts: Millis }[] = []
  for (const { is: step } of items) {
    const { amount, lasts } = step.is
    if (amount === undefined || lasts === undefined) continue
    const before = steps.at(-1)
    if (before && amount <= before.amount)
      fault(step.at.amount!, `${step.at.amount!.path} is not above the one before`, 'write the amounts ascending')
    steps.push({ amount, lasts })
  }
  return steps
}

function descending(items: readonly Item<Millis>[]): Millis[] {
  for (const [index, { at, is }] of items.entries())
    if (index > 0 && is >= items[index - 1]!.is)
      fault(at, `${at.path} is not below the one before`, 'write the longest time first: [7d, 1d]')
  return items.map(({ is }) => is)
}

/** @param currencies that accounts may have, the catalog's first; undefined: it has none, which is told elsewhere */
export function readAutoCreate(
  rows: readonly Row<AutoCreateGroup>[],
  offers: ReadonlySet<string>,
  currencies: readonly [string | undefined, ...string[]],
): AutoCreate[] {
  const all: AutoCreate[] = []
  for (const { name, is: group } of rows) {
    if (!group) continue
    const { at, is, here } = group
    for (const item of is.offers ?? [])
      if (!offers.has(item.is)) fault(item.at, `there is no offer \`${item.is}\``, hintFor(item.is, [...offers], ''))
    if (!at.msisdn && !at.imsi)
      fault(here, `${here.path} names no numbers`, 'add `msisdn: [4917600*]` or `imsi: [2620176*]`')
    const [own, ...others] = currencies
    const currency = is.currency ?? own ?? ''
    if (at.currency && currency !== own && !others.includes(currency))
      fault(at.currency, `there is no exchange rate for ${currency}`, 'add it under `exchange:`, or remove it here')
    all.push({
      name,
      msisdn: (is.msisdn ?? []).map(item => item.is),
      imsi: (is.imsi ?? []).map(item => item.is),
      offers: (is.offers ?? []).map(item => item.is),
      attributes: Object.fromEntries(
        (is.attributes ?? []).flatMap(row => (row.is === undefined ? [] : [[row.name, row.is]])),
      ),
      currency,
    })
  }
  return all
}
