import fc from 'fast-check'
import { DateTime } from 'luxon'
import t from 'tap'
import { endOfPeriod, inForce, localInstant, periodOf, stateAt } from '../../src/rating/calendar.js'
import type { Calendar, Reset } from '../../src/rating/catalog.js'
import { seed } from '../support/seed.js'

const parameters = (numRuns: number): fc.Parameters<unknown> => ({
  numRuns,
  seed,
})

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

const always: Calendar = {
  name: 'always',
  timezone: 'UTC',
  days: undefined,
  time: undefined,
  only: undefined,
  except: [],
  since: undefined,
  until: undefined,
  priority: undefined,
}

function calendars(...written: (Partial<Calendar> & { name: string })[]): Map<string, Calendar> {
  return new Map(written.map(each => [each.name, { ...always, ...each }]))
}

/** `from` and `to` of a window in minutes, from texts. */
function window(from: string, to: string): { from: number; to: number } {
  const minutes = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3))
  return { from: minutes(from), to: minutes(to) }
}

const at = (iso: string): number => DateTime.fromISO(iso, { setZone: true }).toMillis()

/** As people would read it, in UTC; infinite bounds as they are. */
const shown = (ms: number): string => (Number.isFinite(ms) ? new Date(ms).toISOString().slice(0, 16) : String(ms))

const workdays = new Set([1, 2, 3, 4, 5])

t.test('a calendar is in force when its wall clock says so', t => {
  const berlin = 'Europe/Berlin'
  const known = calendars(
    {
      name: 'peak',
      timezone: berlin,
      days: workdays,
      time: window('08:00', '20:00'),
      except: ['2026-12-25', '01-01'],
    },
    { name: 'night', timezone: berlin, days: new Set([5]), time: window('22:00', '06:00') },
    { name: 'from-midnight', timezone: berlin, time: window('00:00', '06:00') },
    { name: 'to-midnight', timezone: berlin, time: window('20:00', '24:00') },
    { name: 'workday-long', timezone: berlin, days: new Set([1]), time: window('08:00', '08:00') },
    { name: 'holiday', timezone: berlin, only: ['2026-12-25', '01-01'] },
    { name: 'leap', only: ['02-29'] },
    { name: 'promo', since: at('2026-12-01T00:00+01:00'), until: at('2027-01-01T00:00+01:00') },
  )
  const table: [string, string, boolean][] = [
    ['peak', '2026-01-05T07:59+01:00', false],
    ['peak', '2026-01-05T08:00+01:00', true],
    ['peak', '2026-01-05T19:59+01:00', true],
    ['peak', '2026-01-05T20:00+01:00', false],
    ['peak', '2026-07-06T08:00+02:00', true],
    ['peak', '2026-07-06T07:00+02:00', false],
    ['peak', '2026-01-04T12:00+01:00', false], // Sunday
    ['peak', '2026-12-25T12:00+01:00', false],
    ['peak', '2025-12-25T12:00+01:00', true],
    ['peak', '2027-01-01T12:00+01:00', false],
    ['night', '2026-01-09T21:59+01:00', false], // Friday
    ['night', '2026-01-09T22:00+01:00', true],
    ['night', '2026-01-10T05:59+01:00', true], // belongs to Friday
    ['night', '2026-01-10T06:00+01:00', false],
    ['night', '2026-01-09T05:00+01:00', false], // belongs to Thursday
    ['from-midnight', '2026-01-09T00:00+01:00', true],
    ['to-midnight', '2026-01-09T23:59+01:00', true],
    ['to-midnight', '2026-01-10T00:00+01:00', false],
    ['workday-long', '2026-01-05T08:00+01:00', true],
    ['workday-long', '2026-01-06T07:59+01:00', true],
    ['workday-long', '2026-01-06T08:00+01:00', false],
    ['workday-long', '2026-01-05T07:59+01:00', false],
    ['holiday', '2026-12-25T00:00+01:00', true],
    ['holiday', '2026-12-24T23:59+01:00', false],
    ['holiday', '2031-01-01T23:59+01:00', true],
    ['leap', '2028-02-29T23:59Z', true],
    ['leap', '2027-03-01T00:00Z', false],
    ['promo', '2026-11-30T23:59+01:00', false],
    ['promo', '2026-12-01T00:00+01:00', true],
    ['promo', '2026-12-31T23:59+01:00', true],
    ['promo', '2027-01-01T00:00+01:00', false],
    ['unknown', '2027-01-01T00:00+01:00', false],
  ]
  for (const [name, when, expect] of table) t.equal(inForce(known, name, at(when)), expect, `${name} at ${when}`)
  t.end()
})

t.test('the state is the longest time around the instant with the same calendars in force', t => {
  const berlin = 'Europe/Berlin'
  const known = calendars(
    { name: 'peak', timezone: berlin, days: workdays, time: window('08:00', '20:00'), except: ['12-25'] },
    { name: 'skipped', timezone: berlin, time: window('02:00', '03:00') },
    { name: 'half', timezone: berlin, time: window('02:30', '04:00') },
    { name: 'day', timezone: 'UTC', time: window('00:00', '24:00') },
    { name: 'leap', only: ['02-29'] },
    { name: 'past', only: ['2020-05-01'] },
    { name: 'promo', since: at('2026-12-01T00:00Z'), until: at('2027-01-01T00:00Z') },
    { name: 'far', days: new Set([1]), since: at('2030-01-01T00:00Z') },
  )
  const table: [string[], string, string[], string, string][] = [
    [[], '2026-01-05T12:00Z', [], '-Infinity', 'Infinity'],
    [['day'], '2026-01-05T12:00Z', ['day'], '-Infinity', 'Infinity'],
    [['unknown'], '2026-01-05T12:00Z', [], '-Infinity', 'Infinity'],
    [['peak'], '2026-01-05T12:00Z', ['peak'], '2026-01-05T07:00', '2026-01-05T19:00'],
    [['peak'], '2026-01-05T07:00Z', ['peak'], '2026-01-05T07:00', '2026-01-05T19:00'],
    [['peak'], '2026-01-05T19:00Z', [], '2026-01-05T19:00', '2026-01-06T07:00'],
    [['peak'], '2026-01-10T12:00Z', [], '2026-01-09T19:00', '2026-01-12T07:00'],
    [['peak'], '2026-12-25T12:00Z', [], '2026-12-24T19:00', '2026-12-28T07:00'],
    // The window of Sunday 29 March does not exist; that of 25 October lasts two hours.
    [['skipped'], '2026-03-29T01:00Z', [], '2026-03-28T02:00', '2026-03-30T00:00'],
    [['skipped'], '2026-10-25T00:59Z', ['skipped'], '2026-10-25T00:00', '2026-10-25T02:00'],
    // What is left of a window from 02:30 when 02:00 is followed by 03:00.
    [['half'], '2026-03-29T01:30Z', ['half'], '2026-03-29T01:00', '2026-03-29T02:00'],
    // And its two parts when 02:00 to 03:00 is shown twice.
    [['half'], '2026-10-25T00:45Z', ['half'], '2026-10-25T00:30', '2026-10-25T01:00'],
    [['half'], '2026-10-25T01:15Z', [], '2026-10-25T01:00', '2026-10-25T01:30'],
    [['half'], '2026-10-25T02:00Z', ['half'], '2026-10-25T01:30', '2026-10-25T03:00'],
    [['leap'], '2026-01-05T12:00Z', [], '2024-03-01T00:00', '2028-02-29T00:00'],
    [['leap'], '2098-01-05T12:00Z', [], '2096-03-01T00:00', '2104-02-29T00:00'],
    [['past'], '2026-01-05T12:00Z', [], '2020-05-02T00:00', 'Infinity'],
    [['past'], '2016-01-05T12:00Z', [], '-Infinity', '2020-05-01T00:00'],
    [['promo'], '2026-01-05T12:00Z', [], '-Infinity', '2026-12-01T00:00'],
    [['promo'], '2026-12-05T12:00Z', ['promo'], '2026-12-01T00:00', '2027-01-01T00:00'],
    [['promo'], '2028-12-05T12:00Z', [], '2027-01-01T00:00', 'Infinity'],
    [['far'], '2026-01-05T12:00Z', [], '-Infinity', '2030-01-07T00:00'],
    [['promo', 'peak'], '2026-12-31T20:00Z', ['promo'], '2026-12-31T19:00', '2027-01-01T00:00'],
  ]
  for (const [names, when, active, since, until] of table) {
    const state = stateAt(known, names, at(when))
    const seen = [[...state.active].sort(), shown(state.since), shown(state.until)]
    t.same(seen, [active.sort(), since, until], `${names.join()} at ${when}`)
  }
  t.end()
})

t.test('of calendars with priorities only the first is in force', t => {
  const known = calendars(
    { name: 'holiday', only: ['2026-05-01'], priority: 1 },
    { name: 'evening', time: window('18:00', '22:00'), priority: 2 },
    { name: 'rest', priority: 3 },
    { name: 'also', priority: 3 },
    { name: 'any' },
  )
  const table: [string, string[], string, string][] = [
    ['2026-05-01T19:00Z', ['any', 'holiday'], '2026-05-01T00:00', '2026-05-02T00:00'],
    ['2026-05-02T19:00Z', ['any', 'evening'], '2026-05-02T18:00', '2026-05-02T22:00'],
    ['2026-05-02T17:00Z', ['also', 'any', 'rest'], '2026-05-02T00:00', '2026-05-02T18:00'],
  ]
  for (const [when, active, since, until] of table) {
    const state = stateAt(known, known.keys(), at(when))
    t.same([[...state.active].sort(), shown(state.since), shown(state.until)], [active, since, until], when)
    for (const name of known.keys()) t.equal(inForce(known, name, at(when)), active.includes(name), `${name} ${when}`)
  }
  // Asked for alone, it still stands behind those that are not asked for.
  const rest = stateAt(known, ['rest'], at('2026-05-01T19:00Z'))
  t.same([[...rest.active], shown(rest.since), shown(rest.until)], [[], '2026-05-01T00:00', '2026-05-02T00:00'])
  const evening = stateAt(known, ['evening'], at('2026-05-01T12:00Z'))
  t.same(
    [[...evening.active], shown(evening.since), shown(evening.until)],
    [[], '2026-04-30T22:00', '2026-05-02T18:00'],
  )
  t.end()
})

/** Minute by minute, with luxon's own reading of the wall clock. */
function slowlyInForce(known: ReadonlyMap<string, Calendar>, name: string, ms: number): boolean {
  const raw = (calendar: Calendar): boolean => {
    if (ms < (calendar.since ?? -Infinity) || ms >= (calendar.until ?? Infinity)) return false
    const {
      year,
      month,
      day: date,
      weekday,
      hour: hours,
      minute: minutes,
    } = DateTime.fromMillis(ms, { zone: calendar.timezone })
    const today = Date.UTC(year, month - 1, date)
    const hasDay = (midnight: number, number: number): boolean => {
      const text = new Date(midnight).toISOString()
      const listed = (list: readonly string[]): boolean =>
        list.includes(text.slice(0, 10)) || list.includes(text.slice(5, 10))
      if (calendar.days && !calendar.days.has(number)) return false
      return (!calendar.only || listed(calendar.only)) && !listed(calendar.except)
    }
    const now = [today, weekday] as const
    if (!calendar.time) return hasDay(...now)
    const { from, to } = calendar.time
    const clock = hours * 60 + minutes
    const yesterday = [today - day, weekday === 1 ? 7 : weekday - 1] as const
    if (from < to) return from <= clock && clock < to && hasDay(...now)
    return (clock >= from && hasDay(...now)) || (clock < to && hasDay(...yesterday))
  }
  const calendar = known.get(name)!
  const rivals = [...known.values()].filter(each => (each.priority ?? Infinity) < (calendar.priority ?? -Infinity))
  return raw(calendar) && !rivals.some(raw)
}

/** Around these clocks change, and years end. */
const moments: Readonly<Record<string, readonly string[]>> = {
  'Europe/Berlin': ['2026-03-29T01:00Z', '2026-10-25T01:00Z', '2027-12-31T23:00Z'],
  'America/New_York': ['2026-03-08T07:00Z', '2026-11-01T06:00Z', '2028-02-29T12:00Z'],
  'Australia/Lord_Howe': ['2026-04-04T15:00Z', '2026-10-03T15:30Z', '2028-02-29T12:00Z'],
  'America/Havana': ['2026-03-08T05:00Z', '2026-11-01T05:00Z'],
  'America/Sao_Paulo': ['2018-11-04T03:00Z', '2018-02-18T02:00Z'],
  'Africa/Casablanca': ['2026-02-15T02:00Z', '2026-03-22T02:00Z'],
  'Asia/Kathmandu': ['2026-12-31T18:15Z'],
  UTC: ['2028-02-29T00:00Z'],
}

const zones = Object.keys(moments)

const aMoment = fc.constantFrom(...zones).chain(zone =>
  fc.record({
    zone: fc.constant(zone),
    now: fc
      .tuple(fc.constantFrom(...moments[zone]!), fc.integer({ min: -2 * 1440, max: 2 * 1440 }))
      .map(([around, minutes]) => at(around) + minutes * minute),
  }),
)

const aClock = fc.oneof(fc.constantFrom(0, 60, 90, 119, 120, 150, 180, 1439), fc.integer({ min: 0, max: 1439 }))

const aCalendar = (zone: string, now: number): fc.Arbitrary<Calendar> => {
  const near = [-1, 0, 1, 2].map(days => DateTime.fromMillis(now + days * day, { zone }))
  const dates = fc.subarray([...near.map(date => date.toFormat('yyyy-MM-dd')), near[1]!.toFormat('MM-dd'), '02-29'])
  return fc.record({
    name: fc.constant('x'),
    timezone: fc.oneof({ weight: 4, arbitrary: fc.constant(zone) }, fc.constantFrom(...zones)),
    days: fc.option(
      fc.subarray([1, 2, 3, 4, 5, 6, 7], { minLength: 1 }).map(days => new Set(days)),
      { nil: undefined },
    ),
    time: fc.option(fc.record({ from: aClock, to: aClock }), { nil: undefined, freq: 4 }),
    only: fc.option(dates, { nil: undefined, freq: 1 }),
    except: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, dates),
    since: fc.option(
      fc.integer({ min: -1_000, max: 1_000 }).map(minutes => now + minutes * minute),
      { nil: undefined },
    ),
    until: fc.option(
      fc.integer({ min: -1_000, max: 3_000 }).map(minutes => now + minutes * minute),
      { nil: undefined },
    ),
    priority: fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }),
  })
}

t.test('every state is that of a walk from minute to minute', t => {
  const cases = aMoment.chain(({ zone, now }) =>
    fc.array(aCalendar(zone, now), { minLength: 1, maxLength: 3 }).map(found => ({
      now,
      known: new Map(found.map((each, index) => [`c${index}`, { ...each, name: `c${index}` }])),
    })),
  )
  const walk = 1_500
  fc.assert(
    fc.property(cases, ({ now, known }) => {
      const names = [...known.keys()].slice(0, 2)
      const slowly = (ms: number): string => names.filter(name => slowlyInForce(known, name, ms)).join()
      const { active, since, until } = stateAt(known, names, now)
      const here = slowly(now)
      if ([...active].sort().join() !== here) return false
      let [first, end] = [now, now]
      while (first > now - walk * minute && slowly(first - minute) === here) first -= minute
      while (end < now + walk * minute && slowly(end) === here) end += minute
      const sinceFits = first === now - walk * minute ? since <= first : since === first
      const untilFits = end === now + walk * minute ? until >= end : until === end
      // And at the bounds found beyond the walk it is another.
      const turns = [since - 1, until].every(ms => !Number.isFinite(ms) || slowly(ms) !== here)
      return sinceFits && untilFits && turns
    }),
    parameters(100),
  )
  t.end()
})

t.test('periods of days, weeks and months are those of the zone', t => {
  const table: [Reset['kind'] & ('day' | 'week' | 'month'), string, string, string, string][] = [
    ['day', 'Europe/Berlin', '2026-03-29T12:00+02:00', '2026-03-28T23:00', '2026-03-29T22:00'], // 23 hours
    ['day', 'Europe/Berlin', '2026-10-25T12:00+01:00', '2026-10-24T22:00', '2026-10-25T23:00'], // 25 hours
    ['day', 'Asia/Kathmandu', '2026-01-01T00:00+05:45', '2025-12-31T18:15', '2026-01-01T18:15'],
    ['day', 'Australia/Lord_Howe', '2026-04-05T12:00+10:30', '2026-04-04T13:00', '2026-04-05T13:30'],
    // A day that begins at one o'clock, and the day before it.
    ['day', 'America/Sao_Paulo', '2018-11-04T12:00-02:00', '2018-11-04T03:00', '2018-11-05T02:00'],
    ['day', 'America/Sao_Paulo', '2018-11-03T12:00-03:00', '2018-11-03T03:00', '2018-11-04T03:00'],
    // Midnight is shown twice: the day begins with the first.
    ['day', 'America/Havana', '2026-11-01T04:30Z', '2026-11-01T04:00', '2026-11-02T05:00'],
    ['day', 'America/Havana', '2026-11-01T05:30Z', '2026-11-01T04:00', '2026-11-02T05:00'],
    ['week', 'UTC', '2026-01-04T23:59Z', '2025-12-29T00:00', '2026-01-05T00:00'],
    ['week', 'UTC', '2026-01-05T00:00Z', '2026-01-05T00:00', '2026-01-12T00:00'],
    ['week', 'Europe/Berlin', '2026-03-25T12:00Z', '2026-03-22T23:00', '2026-03-29T22:00'],
    ['month', 'UTC', '2028-02-29T23:59Z', '2028-02-01T00:00', '2028-03-01T00:00'],
    ['month', 'Europe/Berlin', '2026-03-31T23:59+02:00', '2026-02-28T23:00', '2026-03-31T22:00'],
    ['month', 'America/New_York', '2026-12-31T23:59-05:00', '2026-12-01T05:00', '2027-01-01T05:00'],
  ]
  for (const [kind, zone, when, start, end] of table) {
    const period = periodOf({ kind }, zone, 0, at(when))
    t.same([shown(period.start), shown(period.end)], [start, end], `${kind} of ${zone} at ${when}`)
    t.equal(endOfPeriod(kind, zone, at(when)), period.end)
  }
  t.end()
})

t.test('anniversaries stay at their day of the month, or the last of shorter ones', t => {
  const table: [string, string, string, string, string][] = [
    ['2026-01-31T10:00Z', 'UTC', '2026-02-01T00:00Z', '2026-01-31T10:00', '2026-02-28T10:00'],
    ['2026-01-31T10:00Z', 'UTC', '2026-02-28T10:00Z', '2026-02-28T10:00', '2026-03-31T10:00'],
    ['2026-01-31T10:00Z', 'UTC', '2026-04-30T09:59Z', '2026-03-31T10:00', '2026-04-30T10:00'],
    ['2026-01-31T10:00Z', 'UTC', '2028-02-29T10:00Z', '2028-02-29T10:00', '2028-03-31T10:00'],
    ['2026-01-31T10:00Z', 'UTC', '2026-01-31T10:00Z', '2026-01-31T10:00', '2026-02-28T10:00'],
    ['2026-01-31T10:00Z', 'UTC', '2026-01-31T09:59Z', '2025-12-31T10:00', '2026-01-31T10:00'],
    ['2024-02-29T00:00Z', 'UTC', '2025-02-28T00:00Z', '2025-02-28T00:00', '2025-03-29T00:00'],
    ['2025-12-15T23:30Z', 'Europe/Berlin', '2026-04-20T00:00Z', '2026-04-15T22:30', '2026-05-15T22:30'],
    // 02:30 does not exist on 29 March: the first instant after it.
    ['2026-01-29T01:30Z', 'Europe/Berlin', '2026-03-29T12:00Z', '2026-03-29T01:00', '2026-04-29T00:30'],
  ]
  for (const [activation, zone, when, start, end] of table) {
    const period = periodOf({ kind: 'anniversary' }, zone, at(activation), at(when))
    t.same([shown(period.start), shown(period.end)], [start, end], `${activation} at ${when}`)
  }
  t.end()
})

t.test('rolling periods begin at the activation and have one length; never is one period', t => {
  const began = at('2026-01-05T12:34Z')
  const rolling: Reset = { kind: 'rolling', every: 30 * day }
  for (const [after, index] of [
    [0, 0],
    [30 * day - 1, 0],
    [30 * day, 1],
    [1_000 * day, 33],
    [-1, -1],
  ] as const) {
    const start = began + index * 30 * day
    t.same(periodOf(rolling, 'Europe/Berlin', began, began + after), { start, end: start + 30 * day })
  }
  t.same(periodOf({ kind: 'never' }, 'UTC', began, began + day), { start: 0, end: Infinity })
  t.end()
})

t.test('periods tile the time: each holds its instant, and the next begins where it ends', t => {
  const resets: Reset[] = [
    ...(['day', 'week', 'month', 'anniversary'] as const).map(kind => ({ kind })),
    { kind: 'rolling', every: 7 * day + hour },
  ]
  const cases = fc.record({
    reset: fc.constantFrom(...resets),
    activation: aMoment.map(({ now }) => now),
    moment: aMoment,
  })
  fc.assert(
    fc.property(cases, ({ reset, activation, moment: { zone, now } }) => {
      const { start, end } = periodOf(reset, zone, activation, now)
      const next = periodOf(reset, zone, activation, end)
      const last = periodOf(reset, zone, activation, end - 1)
      return start <= now && now < end && next.start === end && last.start === start && last.end === end
    }),
    parameters(2_000),
  )
  t.end()
})

t.test('a local date and time is found in its zone', t => {
  const table: [string, string, string | undefined][] = [
    ['2026-12-24', 'Europe/Berlin', '2026-12-23T23:00'],
    ['2026-12-24T23:50', 'Europe/Berlin', '2026-12-24T22:50'],
    ['2026-03-29T02:30', 'Europe/Berlin', '2026-03-29T01:00'],
    ['2026-10-25T02:30', 'Europe/Berlin', '2026-10-25T00:30'],
    ['2026-12-24', 'UTC', '2026-12-24T00:00'],
    ['2028-02-29', 'UTC', '2028-02-29T00:00'],
    ['2027-02-29', 'UTC', undefined],
    ['2027-13-01', 'UTC', undefined],
    ['2027-01-01T24:01', 'UTC', undefined],
    ['2027-01-01T10:60', 'UTC', undefined],
    ['27-01-01', 'UTC', undefined],
    ['tomorrow', 'UTC', undefined],
  ]
  for (const [text, zone, expect] of table) {
    const instant = localInstant(text, zone)
    t.equal(instant === undefined ? undefined : shown(instant), expect, `${text} in ${zone}`)
  }
  t.end()
})
