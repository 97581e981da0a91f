/**
 * A week of calendars, minute by minute, for the check: where rules leave gaps, where calendars overlap. Weeks are those of each
 * calendar's own clock; what begins or ends on a date is asked for apart.
 */
import type { Calendar } from './catalog.js'

const day = 1_440
const week = 7 * day

/** 1 in each minute, from Monday 00:00 on, in which it holds. */
export type Week = Uint8Array

/** A week all of whose days are ordinary ones, or such holidays. */
export interface WeekKind {
  /** As in `Mon 08:00-20:00 on holidays de`; empty for an ordinary week. */
  readonly label: string
  readonly date: string | undefined
}

/** Ordinary weeks, and one for each kind of holiday that the calendars tell apart. */
function weekKinds(calendars: readonly Calendar[], holidays: ReadonlyMap<string, readonly string[]>): WeekKind[] {
  const kinds = new Map<string, WeekKind>()
  for (const date of new Set([...holidays.values()].flat())) {
    const seen = calendars.map(({ only, except }) => `${only?.includes(date) ?? '-'}${except.includes(date)}`).join()
    const names = [...holidays].filter(([, dates]) => dates.includes(date)).map(([name]) => name)
    if (!kinds.has(seen)) kinds.set(seen, { label: ` on holidays ${names.join(', ')}`, date })
  }
  return [{ label: '', date: undefined }, ...kinds.values()]
}

/** The minutes of a calendar, whatever the priorities of others. */
function weekOf({ days, time, only, except }: Calendar, { date }: WeekKind): Week {
  const minutes = new Uint8Array(week)
  const applies = date === undefined ? !only : (only?.includes(date) ?? true) && !except.includes(date)
  if (!applies) return minutes
  const { from, to } = time ?? { from: 0, to: day }
  for (let index = 0; index < 7; index++) {
    if (days && !days.has(index + 1)) continue
    const begins = index * day + from
    const ends = index * day + to + (to <= from ? day : 0)
    for (let minute = begins; minute < ends; minute++) minutes[minute % week] = 1
  }
  return minutes
}

/** The minutes in which one of the named calendars is in force, those without dates only. */
function weekInForce(calendars: ReadonlyMap<string, Calendar>, names: Iterable<string>, kind: WeekKind): Week {
  const minutes = new Uint8Array(week)
  const isLasting = ({ since, until }: Calendar): boolean => since === undefined && until === undefined
  const lasting = [...calendars.values()].filter(isLasting)
  for (const name of names) {
    const calendar = calendars.get(name)
    if (!calendar || !isLasting(calendar)) continue
    const { priority = -Infinity } = calendar
    const rivals = lasting.filter(other => (other.priority ?? Infinity) < priority)
    const behind = rivals.map(rival => weekOf(rival, kind))
    const own = weekOf(calendar, kind)
    own.forEach((on, minute) => {
      if (on && !behind.some(rival => rival[minute])) minutes[minute] = 1
    })
  }
  return minutes
}

const intersection = (a: Week, b: Week): Week => a.map((on, minute) => on & b[minute]!)

const complement = (a: Week): Week => a.map(on => 1 - on)

/** What the check asks of the hours of a catalog's calendars; what was worked out once is kept, as thousands of rules ask the same. */
export class Hours {
  readonly #kinds: readonly WeekKind[]
  readonly #outside = new Map<string, readonly string[]>()
  readonly #shared = new Map<string, string | undefined>()

  constructor(
    private readonly calendars: ReadonlyMap<string, Calendar>,
    holidays: ReadonlyMap<string, readonly string[]>,
  ) {
    this.#kinds = weekKinds([...calendars.values()], holidays)
  }

  /** Hours in which none of these calendars is in force. A holiday's are told when they are others than those of ordinary days. */
  outside(names: ReadonlySet<string>): readonly string[] {
    const key = [...names].sort().join(' ')
    let found = this.#outside.get(key)
    if (!found) {
      const [ordinary, ...special] = this.#kinds.map(kind => ({
        hours: weekText(complement(weekInForce(this.calendars, names, kind))),
        label: kind.label,
      }))
      const gaps = [ordinary!, ...special.filter(({ hours }) => hours !== ordinary!.hours)]
      found = gaps.flatMap(({ hours, label }) => (hours === undefined ? [] : [hours + label]))
      this.#outside.set(key, found)
    }
    return found
  }

  /** The first hours that are in both calendars, where no priority says which of them holds. */
  shared(first: string, second: string): string | undefined {
    const key = `${first} ${second}`
    if (!this.#shared.has(key)) this.#shared.set(key, this.#sharedOf(first, second))
    return this.#shared.get(key)
  }

  #sharedOf(firstName: string, secondName: string): string | undefined {
    const [first, second] = [this.calendars.get(firstName), this.calendars.get(secondName)]
    if (!first || !second || first.priority !== second.priority) return undefined
    if ((first.until ?? Infinity) <= (second.since ?? -Infinity)) return undefined
    if ((second.until ?? Infinity) <= (first.since ?? -Infinity)) return undefined
    for (const kind of this.#kinds) {
      const hours = weekText(intersection(weekOf(first, kind), weekOf(second, kind)))
      if (hours !== undefined) return hours + kind.label
    }
    return undefined
  }
}

const dayNames = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']

interface Stretch {
  readonly from: number
  readonly length: number
}

/** `Mon-Fri 20:00-08:00, Sat 00:00 to Mon 08:00`; undefined when there is no such minute. */
function weekText(minutes: Week): string | undefined {
  const stretches = stretchesOf(minutes)
  if (stretches.length === 0) return undefined
  if (stretches[0]!.length === week) return 'at all times'
  const daily = new Map<string, number[]>()
  const long: string[] = []
  for (const { from, length } of stretches) {
    const weekday = Math.floor(from / day)
    const end = from + length
    if (length > day) {
      long.push(`${dayNames[weekday]} ${clock(from)} to ${dayNames[Math.floor(end / day) % 7]} ${clock(end)}`)
      continue
    }
    const hours = `${clock(from)}-${end % day === 0 ? '24:00' : clock(end)}`
    daily.set(hours, [...(daily.get(hours) ?? []), weekday])
  }
  return [...[...daily].flatMap(([hours, days]) => rangesOf(days).map(range => `${range} ${hours}`)), ...long].join(
    ', ',
  )
}

/** `Mon-Fri`, `Sun`. */
function rangesOf(days: readonly number[]): string[] {
  const ranges: { first: number; last: number }[] = []
  for (const weekday of days) {
    const before = ranges.at(-1)
    if (before?.last === weekday - 1) before.last = weekday
    else ranges.push({ first: weekday, last: weekday })
  }
  return ranges.map(({ first, last }) => {
    if (first === last) return dayNames[first]!
    return last - first === 6 ? 'daily' : `${dayNames[first]}-${dayNames[last]}`
  })
}

const clock = (minute: number): string =>
  [Math.floor((minute % day) / 60), minute % 60].map(each => String(each).padStart(2, '0')).join(':')

/** From a minute without on, so that none is cut at the end of Sunday. */
function stretchesOf(minutes: Week): Stretch[] {
  const start = minutes.indexOf(0)
  if (start < 0) return [{ from: 0, length: week }]
  const stretches: Stretch[] = []
  for (let offset = 0; offset < week;) {
    const from = (start + offset) % week
    let length = 0
    while (offset + length < week && minutes[(from + length) % week]) length++
    if (length > 0) stretches.push({ from, length })
    offset += Math.max(length, 1)
  }
  return stretches.sort((a, b) => a.from - b.from)
}
