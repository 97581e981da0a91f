/**
 * Which calendars are in force, until when, and in which period of a counter an instant lies (semantics.md section 8).
 *
 * A calendar is a statement about the clock on the wall: a window from 02:00 to 03:00 does not exist on the day the clock
 * skips that hour, and lasts two hours on the day it shows it twice. Between two changes of a zone's offset the wall
 * clock runs evenly, so there all is arithmetic of days and milliseconds; luxon knows the offsets.
 */
import { IANAZone } from 'luxon'
import type { Millis } from '../units.js'
import type { Calendar, Reset } from './catalog.js'

/** The set of calendars in force, and the longest time around the instant asked for in which it is the same. */
export interface CalendarState {
  readonly active: ReadonlySet<string>
  /** ±Infinity: it never was, or will be, another. */
  readonly since: Millis
  readonly until: Millis
}

/** [start, end). */
export interface Period {
  readonly start: Millis
  readonly end: Millis
}

/** Milliseconds that the wall clock shows, counted as if it showed UTC. */
type Wall = number

/** Number of a day of the wall clock: 0 is 1970-01-01. */
type Day = number

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

/** Eight years may lie between two 29th of February. */
const yearlySearch = 9 * 366 * day

/** A week's pattern shows in a week; twice, as the clock may change in one of them. */
const weeklySearch = 15 * day

/** No zone has changed its offset and changed it back within so little. */
const offsetSearch = 7 * day

/** Now, and what comes before and after it. */
const spansKept = 4

/** Whether the calendar applies at this instant, those of smaller priority considered. Unknown names never do. */
export function inForce(calendars: ReadonlyMap<string, Calendar>, name: string, at: Millis): boolean {
  const calendar = calendars.get(name)
  if (!calendar || !covers(compiled(calendar), at)) return false
  return !rivalsOf(calendars, [calendar]).some(rival => covers(compiled(rival), at))
}

/** Which of the named calendars are in force `at`, and how long nothing of it changes. */
export function stateAt(calendars: ReadonlyMap<string, Calendar>, names: Iterable<string>, at: Millis): CalendarState {
  const named = [...new Set(names)].map(name => calendars.get(name)).filter(calendar => calendar !== undefined)
  if (named.length === 0) return { active: new Set(), since: -Infinity, until: Infinity }
  const looked = [...new Set([...named, ...rivalsOf(calendars, named)])]
  const here = looked.map(calendar => spanOf(compiled(calendar), at))
  const active = activeOf(named, looked, here)
  const searches = looked.map(calendar => searchOf(compiled(calendar), at))
  const earliest = Math.min(...searches.map(([first]) => first))
  const latest = Math.max(...searches.map(([, last]) => last))
  // Not every change shows: what stands behind a calendar of smaller priority is not in force anyway.
  const shows = (spans: readonly Span[]): boolean => !sameSet(activeOf(named, looked, spans), active)
  const spansAt = (instant: Millis, known: readonly Span[]): Span[] =>
    known.map((span, index) => (holds(span, instant) ? span : spanOf(compiled(looked[index]!), instant)))
  let [since, before] = [sinceOf(here), here as readonly Span[]]
  while (since !== -Infinity) {
    before = spansAt(since - 1, before)
    if (shows(before)) break
    since = since < earliest ? -Infinity : sinceOf(before)
  }
  let [until, after] = [untilOf(here), here as readonly Span[]]
  while (until !== Infinity) {
    after = spansAt(until, after)
    if (shows(after)) break
    until = until > latest ? Infinity : untilOf(after)
  }
  return { active, since, until }
}

const holds = (span: Span, at: Millis): boolean => span.since <= at && at < span.until

const sinceOf = (spans: readonly Span[]): Millis => Math.max(...spans.map(span => span.since))

const untilOf = (spans: readonly Span[]): Millis => Math.min(...spans.map(span => span.until))

/**
 * The period of a counter that an instant lies in. Days, weeks (from Monday) and months are those of the zone.
 *
 * @param activation where `anniversary` and `rolling` begin. The anniversary of a 31st is the last day of shorter months,
 *   at the activation's time of day; a time that the clock skips is the first one after it
 */
export function periodOf(reset: Reset, timezone: string, activation: Millis, at: Millis): Period {
  switch (reset.kind) {
    case 'never':
      return { start: 0, end: Infinity }
    case 'rolling': {
      const start = activation + Math.floor((at - activation) / reset.every) * reset.every
      return { start, end: start + reset.every }
    }
    case 'anniversary':
      return anniversaryOf(zoneOf(timezone), activation, at)
    default:
      return calendarPeriod(reset.kind, zoneOf(timezone), at)
  }
}

/** The end of the zone's day, week (from Monday) or month that `at` lies in. */
export const endOfPeriod = (kind: 'day' | 'week' | 'month', timezone: string, at: Millis): Millis =>
  periodOf({ kind }, timezone, at, at).end

/** What a fee may be paid for. */
export type CalendarUnit = 'hour' | 'day' | 'week' | 'month' | 'year'

/** The zone's hour, day, week (from Monday), month or year that `at` lies in. */
export const calendarPeriodAt = (unit: CalendarUnit, timezone: string, at: Millis): Period =>
  calendarPeriod(unit, zoneOf(timezone), at)

/**
 * The instant so many units after another, at the same time of the wall clock. Months and years end no later than their last day, counted
 * from the first instant, so that nothing drifts: one and two months after 31 January are 28 February and 31 March. An hour is 3600 s.
 */
export function instantAfter(unit: CalendarUnit, count: number, timezone: string, from: Millis): Millis {
  if (count === 0) return from
  if (unit === 'hour') return from + count * hour
  const zone = zoneOf(timezone)
  if (unit === 'month' || unit === 'year') return monthsAfter(zone, from, unit === 'year' ? 12 * count : count)
  return firstInstant(zone, wallAt(zone, from) + count * (unit === 'week' ? 7 : 1) * day)
}

function calendarPeriod(kind: CalendarUnit, zone: TimeZone, at: Millis): Period {
  if (kind === 'hour') {
    // Of a clock that is put forth or back by half an hour, an hour of the wall may be a short one.
    const { since, until, offset } = segmentAt(zone, at)
    const start = Math.floor((at + offset) / hour) * hour - offset
    return { start: Math.max(start, since), end: Math.min(start + hour, until) }
  }
  const today = dayOf(wallAt(zone, at))
  const date = new Date(today * day)
  if (kind === 'year') {
    const [start, end] = [0, 1].map(more => firstInstant(zone, Date.UTC(date.getUTCFullYear() + more, 0)))
    return { start: start!, end: end! }
  }
  const [first, next] =
    kind === 'day'
      ? [today, today + 1]
      : kind === 'week'
        ? [today - weekday(today) + 1, today - weekday(today) + 8]
        : [0, 1].map(more => dayOf(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + more, 1)))
  return { start: firstInstant(zone, first! * day), end: firstInstant(zone, next! * day) }
}

function monthsAfter(zone: TimeZone, from: Millis, months: number): Millis {
  const began = new Date(wallAt(zone, from))
  const [year, month, date] = [began.getUTCFullYear(), began.getUTCMonth(), began.getUTCDate()]
  const lastDate = new Date(Date.UTC(year, month + months + 1, 0)).getUTCDate()
  const midnight = Date.UTC(year, month + months, Math.min(date, lastDate))
  return firstInstant(zone, midnight + (began.getTime() % day))
}

function anniversaryOf(zone: TimeZone, activation: Millis, at: Millis): Period {
  const boundary = (months: number): Millis => (months === 0 ? activation : monthsAfter(zone, activation, months))
  const began = new Date(wallAt(zone, activation))
  const now = new Date(wallAt(zone, at))
  let months = (now.getUTCFullYear() - began.getUTCFullYear()) * 12 + now.getUTCMonth() - began.getUTCMonth()
  while (boundary(months) > at) months--
  while (boundary(months + 1) <= at) months++
  return { start: boundary(months), end: boundary(months + 1) }
}

/** A time in which a calendar, priorities apart, applies all along, or not at all. */
interface Span {
  readonly on: boolean
  readonly since: Millis
  readonly until: Millis
}

/** Calendars that take away the force of one of these. */
function rivalsOf(calendars: ReadonlyMap<string, Calendar>, named: readonly Calendar[]): Calendar[] {
  const last = Math.max(...named.map(calendar => calendar.priority ?? -Infinity))
  if (last === -Infinity) return []
  return [...calendars.values()].filter(({ priority }) => priority !== undefined && priority < last)
}

function activeOf(named: readonly Calendar[], looked: readonly Calendar[], spans: readonly Span[]): Set<string> {
  const on = looked.filter((_, index) => spans[index]!.on)
  const first = Math.min(...on.map(calendar => calendar.priority ?? Infinity))
  const active = named.filter(each => on.includes(each) && (each.priority === undefined || each.priority <= first))
  return new Set(active.map(calendar => calendar.name))
}

const sameSet = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean =>
  a.size === b.size && [...a].every(name => b.has(name))

/** The longest span around `at`; the last few of a calendar are remembered. */
function spanOf(clock: Clock, at: Millis): Span {
  const known = clock.spans.find(span => holds(span, at))
  if (known) return known
  const span = longestSpan(clock, at)
  clock.spans.unshift(span)
  clock.spans.length = Math.min(clock.spans.length, spansKept)
  return span
}

function longestSpan(clock: Clock, at: Millis): Span {
  const { on, ...here } = pieceOf(clock, at)
  let { since, until } = here
  const [earliest, latest] = searchOf(clock, at)
  while (since !== -Infinity) {
    const before = pieceOf(clock, since - 1)
    if (before.on !== on) break
    since = before.since < earliest ? -Infinity : before.since
  }
  while (until !== Infinity) {
    const after = pieceOf(clock, until)
    if (after.on !== on) break
    until = after.until > latest ? Infinity : after.until
  }
  return { on, since, until }
}

/** What is the same from `at` to beyond these never changes. */
function searchOf({ calendar, dates }: Clock, at: Millis): [Millis, Millis] {
  const marks = [at, calendar.since ?? at, calendar.until ?? at, ...dates.days.map(number => number * day)]
  const search = dates.yearly ? yearlySearch : weeklySearch
  return [Math.min(...marks) - search, Math.max(...marks) + search]
}

/** A span that need not be the longest: of one day, one side of a window, one offset of the zone. */
function pieceOf(clock: Clock, at: Millis): Span {
  const { since: opens = -Infinity, until: closes = Infinity } = clock.calendar
  if (at < opens) return { on: false, since: -Infinity, until: opens }
  if (at >= closes) return { on: false, since: closes, until: Infinity }
  const segment = segmentAt(clock.zone, at)
  const wall = at + segment.offset
  const midnight = dayOf(wall) * day
  let [from, to] = [midnight, midnight + day]
  for (const cut of clock.cuts) {
    if (midnight + cut <= wall) from = midnight + cut
    else {
      to = midnight + cut
      break
    }
  }
  return {
    on: wallCovers(clock, wall),
    since: Math.max(from - segment.offset, segment.since, opens),
    until: Math.min(to - segment.offset, segment.until, closes),
  }
}

function covers(clock: Clock, at: Millis): boolean {
  const { since = -Infinity, until = Infinity } = clock.calendar
  return at >= since && at < until && wallCovers(clock, wallAt(clock.zone, at))
}

/** Whether a wall clock that shows this is in the calendar. */
function wallCovers(clock: Clock, wall: Wall): boolean {
  const today = dayOf(wall)
  const { time } = clock.calendar
  if (!time) return hasDay(clock, today)
  const now = (wall - today * day) / minute
  if (time.from < time.to) return now >= time.from && now < time.to && hasDay(clock, today)
  return (now >= time.from && hasDay(clock, today)) || (now < time.to && hasDay(clock, today - 1))
}

function hasDay({ calendar, only, except }: Clock, number: Day): boolean {
  if (calendar.days && !calendar.days.has(weekday(number))) return false
  if (!only && except.size === 0) return true
  const date = new Date(number * day)
  const inYear = (date.getUTCMonth() + 1) * 100 + date.getUTCDate()
  const listed = (dates: ReadonlySet<number>): boolean =>
    dates.has(inYear) || dates.has(date.getUTCFullYear() * 10_000 + inYear)
  return (!only || listed(only)) && !listed(except)
}

const dayOf = (wall: Wall): Day => Math.floor(wall / day)

/** 1 Monday to 7 Sunday; the day 0 was a Thursday. */
const weekday = (number: Day): number => ((((number + 3) % 7) + 7) % 7) + 1

/** A calendar made ready. */
interface Clock {
  readonly calendar: Calendar
  readonly zone: TimeZone
  /** Milliseconds after midnight at which it may begin or end, ascending, 0 first. */
  readonly cuts: readonly number[]
  /** Dates as numbers, 20261225, or 1225 of every year. */
  readonly only: ReadonlySet<number> | undefined
  readonly except: ReadonlySet<number>
  /** `yearly`: some are of every year; `days`: the others. */
  readonly dates: { readonly yearly: boolean; readonly days: readonly Day[] }
  /** The last that were found, newest first. */
  readonly spans: Span[]
}

const clocks = new WeakMap<Calendar, Clock>()

function compiled(calendar: Calendar): Clock {
  const known = clocks.get(calendar)
  if (known) return known
  const { time, only, except } = calendar
  const dates = [...(only ?? []), ...except]
  const clock: Clock = {
    calendar,
    zone: zoneOf(calendar.timezone),
    cuts: [0, ...(time ? [time.from * minute, time.to * minute] : [])].sort((a, b) => a - b),
    only: only && new Set(only.map(dateNumber)),
    except: new Set(except.map(dateNumber)),
    dates: {
      yearly: dates.some(isYearly),
      days: dates.filter(date => !isYearly(date)).map(date => dayOf(Date.parse(date))),
    },
    spans: [],
  }
  clocks.set(calendar, clock)
  return clock
}

const dateNumber = (date: string): number => Number(date.replaceAll('-', ''))

const isYearly = (date: string): boolean => date.length === 'mm-dd'.length

/** A time zone, and what is known of its offsets. */
interface TimeZone {
  readonly iana: IANAZone
  /** By year (of UTC). */
  readonly segments: Map<number, readonly Segment[]>
  /** The last that was asked for: walks go from day to day. */
  last: Segment
}

/** A time in which a zone's wall clock is `offset` ms ahead of UTC. */
interface Segment {
  readonly since: Millis
  readonly until: Millis
  readonly offset: number
}

/** A few hundred zones exist; years are bounded, as a peer's clock may be anywhere. */
const timeZones = new Map<string, TimeZone>()
const yearsKept = 200

/** @throws RangeError when the name is no time zone; the catalog's check has refused it before. */
function zoneOf(name: string): TimeZone {
  const known = timeZones.get(name)
  if (known) return known
  const iana = IANAZone.create(name)
  if (!iana.isValid) throw new RangeError(`${name} is no time zone`)
  const zone = { iana, segments: new Map<number, readonly Segment[]>(), last: { since: 0, until: 0, offset: 0 } }
  timeZones.set(name, zone)
  return zone
}

/** Whether calendars can be written in this zone: an IANA name like `Europe/Berlin`. */
export const isTimezone = (name: string): boolean => IANAZone.isValidZone(name)

/**
 * The first instant of a local date and time, `2026-12-24` or `2026-12-24T23:50`, in a zone; a time that the clock skips is the
 * first one after it, of a time shown twice the first counts. Undefined when there is no such date or time.
 */
export function localInstant(text: string, timezone: string): Millis | undefined {
  const match = /^(\d{4})-(\d{2})-(\d{2})(?:T(\d{2}):(\d{2})(?::(\d{2}))?)?$/.exec(text)
  if (!match) return undefined
  const wall = Date.parse(text.length === 'yyyy-mm-dd'.length ? text : `${text}Z`)
  const real = !Number.isNaN(wall) && new Date(wall).getUTCDate() === Number(match[3])
  return real ? firstInstant(zoneOf(timezone), wall) : undefined
}

const wallAt = (zone: TimeZone, at: Millis): Wall => at + segmentAt(zone, at).offset

/** The first instant at which the wall clock shows this or more. */
function firstInstant(zone: TimeZone, wall: Wall): Millis {
  // No wall clock is more than 14 hours ahead of UTC.
  for (let from = wall - 15 * hour; ;) {
    const { since, until, offset } = segmentAt(zone, from)
    const instant = Math.max(since, wall - offset)
    if (instant < until) return instant
    from = until
  }
}

function segmentAt(zone: TimeZone, at: Millis): Segment {
  const { last } = zone
  if (last.since <= at && at < last.until) return last
  const year = new Date(at).getUTCFullYear()
  let segments = zone.segments.get(year)
  if (!segments) {
    segments = segmentsOf(zone.iana, Date.UTC(year, 0), Date.UTC(year + 1, 0))
    if (zone.segments.size >= yearsKept) zone.segments.clear()
    zone.segments.set(year, segments)
  }
  zone.last = segments.find(segment => at < segment.until)!
  return zone.last
}

function segmentsOf(iana: IANAZone, start: Millis, end: Millis): Segment[] {
  const segments: Segment[] = []
  let since = start
  let offset = iana.offset(since)
  for (let at = start; at < end - 1;) {
    const next = Math.min(at + offsetSearch, end - 1)
    if (iana.offset(next) === offset) at = next
    else {
      // The change comes after `at`, and not after `changed`.
      let changed = next
      while (changed - at > 1) {
        const middle = Math.floor((at + changed) / 2)
        if (iana.offset(middle) === offset) at = middle
        else changed = middle
      }
      segments.push({ since, until: changed, offset: offset * minute })
      since = at = changed
      offset = iana.offset(since)
    }
  }
  segments.push({ since, until: end, offset: offset * minute })
  return segments
}
