/** Cases written beside the tariff, with the names and units that they speak of. */
import { fault, type Value } from '../config/yaml.js'
import { micros, type Millis } from '../units.js'
import type { BucketUnit, TariffTest, TariffUse } from './catalog.js'
import type { TestGroup, UseGroup } from './catalog-shape.js'
import { readAmount } from './load-amount.js'
import { instantOf } from './load-calendars.js'
import { readRat } from './load-conditions.js'
import { hintFor, refer, shownPlace, type Draft } from './load-draft.js'
import { localInstant } from './calendar.js'
import type { Item, Row } from './schema.js'

/** A Monday noon. */
const defaultTime = '2026-01-05T12:00'

const second = 1_000

/** @param currency of accounts that say none */
export function readTest(draft: Draft, { is: group }: Item<TestGroup>, currency: string): TariffTest | undefined {
  const { here, at, is } = group
  const time = instantOf(at.at, is.at ?? defaultTime, draft.timezone) ?? localInstant(defaultTime, draft.timezone)!
  const offers = readOfferNames(draft, group)
  const account = is.account?.is
  const given = is.given?.is
  const expect = is.expect?.is
  const uses = (is.use ?? []).map(item => readUse(draft, item.is, time))
  const events = (expect?.events ?? []).map(item => (checkEvent(draft, item), item.is))
  const test = {
    name: is.name ?? '',
    place: shownPlace(here),
    at: time,
    offers,
    currency: account?.currency ?? currency,
    balance: account?.balance ?? micros(100_000_000),
    creditLimit: account?.creditLimit ?? micros(0),
    attributes: new Map((account?.attributes ?? []).map(row => [row.name, row.is ?? ''])),
    subscriberAttributes: new Map((is.subscriber?.is.attributes ?? []).map(row => [row.name, row.is ?? ''])),
    buckets: amountsOf(given?.buckets, bucketUnit(draft)),
    counters: amountsOf(given?.counters, counterUnit(draft)),
    uses: uses.filter(use => use !== undefined),
    expect: {
      ...{ cost: expect?.cost, balance: expect?.balance, debt: expect?.debt, result: expect?.result, events },
      left: amountsOf(expect?.left, bucketUnit(draft)),
      counters: amountsOf(expect?.counters, counterUnit(draft)),
    },
  }
  const looked = is.expect && Object.keys(is.expect.at).length > 0
  if (is.expect && !looked)
    fault(is.expect.here, `${is.expect.here.path} expects nothing`, "write what must come out, like { cost: '0.05' }")
  return test
}

function readOfferNames(draft: Draft, { here, at, is }: TestGroup): string[] {
  if (at.offer && at.offers) {
    fault(here, `${here.path} has offer and offers`, 'write one of them')
    return []
  }
  if (!at.offer && !at.offers) {
    fault(here, `${here.path} lacks \`offer\``, 'add `offer:`')
    return []
  }
  const named = is.offers ?? (at.offer && is.offer !== undefined ? [{ at: at.offer, is: is.offer }] : [])
  return named.filter(item => refer(draft.offers, item.at, item.is)).map(item => item.is)
}

/** The unit of a name, or undefined, with a fault when there is no such name. */
type UnitOf = (at: Value, name: string) => BucketUnit | undefined

const bucketUnit =
  (draft: Draft): UnitOf =>
  (at, name) => {
    if (draft.buckets.items.has(name)) return draft.buckets.items.get(name)?.unit
    const known = [...draft.buckets.items.keys()]
    const hint = name === 'main' ? 'write `balance:` in its place' : hintFor(name, known, 'no offer grants one')
    return fault(at, `there is no bucket \`${name}\``, hint)
  }

const counterUnit =
  (draft: Draft): UnitOf =>
  (at, name) => {
    const used = draft.counters.used.has(name)
    const known = refer(draft.counters, at, name)
    // A test does not make it needed.
    if (!used) draft.counters.used.delete(name)
    return known ? draft.counters.items.get(name)?.unit : undefined
  }

function amountsOf(rows: readonly Row<Value>[] | undefined, unitOf: UnitOf): Map<string, bigint> {
  const amounts = new Map<string, bigint>()
  for (const { name, key, at } of rows ?? []) {
    const unit = unitOf(key, name)
    const amount = unit && readAmount(at, unit, 'zero')
    if (amount !== undefined) amounts.set(name, amount)
  }
  return amounts
}

const amountKeys = ['octets', 'seconds', 'events', 'money'] as const

function readUse(draft: Draft, { here, at, is }: UseGroup, testTime: Millis): TariffUse | undefined {
  const time = at.at ? instantOf(at.at, is.at, draft.timezone) : testTime
  const rat = at.rat && is.rat !== undefined ? readRat(at.rat, is.rat)?.number : undefined
  const service = at.service && is.service
  if (!at.service || service === undefined || !refer(draft.services, at.service, service)) return undefined
  const unit = draft.services.items.get(service)?.unit
  if (!unit) return undefined
  const wrong = amountKeys.find(key => key !== unit && at[key])
  if (wrong) {
    const message = `${at[wrong]!.path}: the service \`${service}\` counts ${unit}`
    return fault(at[wrong]!, message, `write \`${unit}:\``)
  }
  const written = at[unit]
  if (!written) return fault(here, `${here.path} lacks \`${unit}\``, `add \`${unit}:\` with the amount that is used`)
  const amount = readAmount(written, unit)
  if (at.over && unit !== 'octets')
    fault(at.over, `${at.over.path} is for octets only`, unit === 'seconds' ? 'time takes its time' : 'remove it')
  if (amount === undefined || time === undefined) return undefined
  return {
    at: time,
    service,
    ratingGroup: is.ratingGroup,
    serviceIdentifiers: (is.serviceIdentifier ?? []).map(item => item.is),
    amount,
    over: unit === 'seconds' ? Number(amount) * second : (is.over ?? 0),
    plmn: is.plmn,
    called: is.called,
    apn: is.apn?.toLowerCase(),
    rat,
  }
}

/** `day-roaming 80%`, `data-5gb 1GB`, `main 1.00`: whose, and which of its steps. */
function checkEvent(draft: Draft, { at, is }: Item<string>): void {
  const [name = '', step] = is.split(' ')
  const counter = draft.counters.items.get(name)?.counter
  if (counter && !counter.steps.some(percent => `${percent}%` === step)) {
    const steps = counter.steps.map(percent => `${percent}%`).join(', ')
    const hint = steps === '' ? 'add `steps:` to the counter' : `it has ${steps}`
    fault(at, `the counter \`${name}\` has no step ${step}`, hint)
  }
  if (draft.counters.items.has(name) || draft.buckets.items.has(name) || name === 'main') return
  const known = [...draft.counters.items.keys(), ...draft.buckets.items.keys(), 'main']
  fault(at, `there is no counter or bucket \`${name}\``, hintFor(name, known, ''))
}
