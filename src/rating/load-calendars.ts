/** Holidays, calendars and counters of the catalog: what knows of time. */
import { fault, type Value } from '../config/yaml.js'
import type { Millis } from '../units.js'
import { isTimezone, localInstant } from './calendar.js'
import type { Calendar, Conditions, Counter } from './catalog.js'
import type { CalendarGroup, CounterGroup } from './catalog-shape.js'
import { readAmount } from './load-amount.js'
import { readConditions } from './load-conditions.js'
import { definedOf, hintFor, refer, type Draft, type DraftCounter } from './load-draft.js'
import type { Item, Row } from './schema.js'

const minutesOfDay = 1_440

/** A zone that exists, else the fallback. */
export function timezoneOf(at: Value | undefined, name: string | undefined, fallback: string): string {
  if (!at || name === undefined || isTimezone(name)) return name ?? fallback
  fault(
    at,
    `there is no time zone \`${name}\``,
    hintFor(name, Intl.supportedValuesOf('timeZone'), '').replace(
      /^known: .*/,
      'write a name of the IANA database, like Europe/Berlin',
    ),
  )
  return fallback
}

/** A local time of the zone. */
export function instantOf(at: Value | undefined, text: string | undefined, timezone: string): Millis | undefined {
  if (!at || text === undefined) return undefined
  return (
    localInstant(text, timezone) ?? fault(at, `${at.path}: there is no ${text}`, 'write a date and time that exist')
  )
}

export function readCalendar(draft: Draft, { name, is: group }: Row<CalendarGroup>): Calendar | undefined {
  if (!group) return undefined
  const { here, at, is } = group
  const timezone = timezoneOf(at.timezone, is.timezone, draft.timezone)
  const [from, to] = [is.from ?? 0, is.to ?? minutesOfDay]
  if (from === to) {
    const hint = 'leave both out for the whole day, or write a later `to`'
    fault(at.to ?? at.from ?? here, `${here.path}: from and to are both ${clockText(from)}`, hint)
  }
  if (from === minutesOfDay) fault(at.from!, `${at.from!.path}: a day begins at 00:00`, "write '00:00'")
  const since = instantOf(at.since, is.since, timezone)
  const until = instantOf(at.until, is.until, timezone)
  if (since !== undefined && until !== undefined && since >= until)
    fault(at.until!, `${here.path}: until is not after since`, 'write a later `until`: it is not included itself')
  const except = is.except ? datesOf(draft, is.except) : []
  return {
    name,
    timezone,
    days: is.days && new Set(is.days.flatMap(({ is: days }) => days)),
    time: at.from || at.to ? { from, to } : undefined,
    only: is.only && datesOf(draft, is.only),
    ...{ except, since, until, priority: is.priority },
  }
}

const clockText = (minutes: number): string =>
  [Math.floor(minutes / 60), minutes % 60].map(each => String(each).padStart(2, '0')).join(':')

function datesOf(draft: Draft, names: readonly Item<string>[]): string[] {
  const dates = names.flatMap(({ at, is }) =>
    refer(draft.holidays, at, is) ? (draft.holidays.items.get(is) ?? []) : [],
  )
  return [...new Set(dates)].sort()
}

/** As far as it can be read before the rates; `finishCounter` knows which of them stand on it. */
export function readCounter(draft: Draft, row: Row<CounterGroup>): DraftCounter | undefined {
  const { name, is: group } = row
  const { unit, per, reset } = group?.is ?? {}
  if (!group || !unit) return undefined
  const { at, is } = group
  const timezone = timezoneOf(at.timezone, is.timezone, draft.timezone)
  const services = is.for?.filter(item => refer(draft.services, item.at, item.is)) ?? []
  for (const item of services) {
    const other = draft.services.items.get(item.is)?.unit
    if (other && unit !== 'money' && other !== unit) {
      const message = `the counter \`${name}\` counts ${unit}, but the service \`${item.is}\` ${other}`
      fault(item.at, message, `make a counter of ${other}, or of money`)
    }
  }
  const limit = at.limit && readAmount(at.limit, unit)
  if (!at.limit) {
    for (const key of ['then', 'optIn', 'steps'] as const)
      if (at[key]) fault(at[key], `${at[key].path} has no use without a limit`, 'add `limit:`, or remove it')
  }
  const steps = is.steps?.map(item => item.is) ?? []
  const wrong = is.steps?.find((item, index) => item.is === 0 || (index > 0 && item.is <= is.steps![index - 1]!.is))
  if (wrong) fault(wrong.at, `${wrong.at.path}: steps must ascend, above 0%`, 'write them like [50%, 80%, 100%]')
  if (!per || !reset) return undefined
  const where: Conditions = {
    ...(is.for ? { services: new Set(services.map(item => item.is)) } : servicesCounting(draft, unit)),
    ...readConditions(draft, is),
  }
  const { then = 'stop', optIn = false } = is
  const counter: Counter = { name, unit, per, reset, timezone, where, limit, then, optIn, steps, tiers: false }
  return { row, unit, counter, rates: [] }
}

/** A counter of units counts the services of that unit; one of money counts all. */
function servicesCounting(draft: Draft, unit: Counter['unit']): Conditions {
  if (unit === 'money') return {}
  const services = [...definedOf(draft.services).values()].filter(service => service.unit === unit)
  return { services: new Set(services.map(service => service.name)) }
}

/** Keys that a counter of tiers cannot have: it counts what its rates bill, whatever the line. */
const ownKeys = [
  ...['for', 'ratingGroup', 'serviceIdentifier', 'zone', 'destination', 'apn', 'rat', 'direction', 'message'],
  ...['when', 'account', 'subscriber'],
  'limit',
] as const

/** After the rates are read. */
export function finishCounter({ counter, rates, row }: DraftCounter): Counter {
  const [rate] = rates
  if (rate === undefined) return counter
  const at = row.is?.at as Readonly<Record<string, Value>> | undefined
  const key = ownKeys.find(each => at?.[each])
  if (key !== undefined) {
    const message = `the tiers of the rate \`${rate}\` stand on the counter \`${counter.name}\`, so that it cannot have \`${key}\``
    fault(at![key]!, message, 'make another counter for that')
  }
  return { ...counter, where: {}, tiers: true }
}
