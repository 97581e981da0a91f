import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import type { Catalog, Conditions, Rule, Service } from '../../src/rating/catalog.js'
import type { ProgramDescription } from '../../src/rating/compile-program.js'
import { rateOf, termsText } from '../../src/rating/description.js'
import { failing, Named, type Line } from '../../src/rating/conditions.js'
import { readCatalog } from '../../src/rating/load.js'
import {
  findService,
  newBuckets,
  programFor,
  type LineFacts,
  type RateOverride,
  type Subject,
} from '../../src/rating/match.js'
import { describeRate } from '../../src/rating/price.js'
import type { Program } from '../../src/rating/program.js'
import { RuleIndex } from '../../src/rating/rule-index.js'
import { micros, type Millis } from '../../src/units.js'
import { seed } from '../support/seed.js'

const parameters = (numRuns: number): fc.Parameters<unknown> => ({
  numRuns,
  seed,
})

const day = 86_400_000

/** A Monday. */
const noon = Date.UTC(2026, 0, 5, 12)

const text = `
currency: EUR
services:
  data:
    context: [32251@3gpp.org, open5gs-smfd@Open5GS.org]
    unit: octets
    quota: { size: 10MB, min: 100kB, max: 100MB, validity: 30m, threshold: 20% }
  voice: { context: 32260@3gpp.org, unit: seconds }
rates:
  data-payg: { unit: octets, price: "0.01", per: 1MB, step: 100kB }
  data-cheap: { unit: octets, price: "0.005", per: 1MB, step: 100kB }
  voice-payg: { unit: seconds, price: "0.06", per: 60s, first: 30s, step: 1s }
offers:
  payg:
    rules:
      - { service: data, ratingGroup: 30, free: true }
      - { service: data, ratingGroup: 31, free: 4011 }
      - { service: data, ratingGroup: 40, deny: true }
      - { service: data, ratingGroup: 41, deny: 5003 }
      - { service: data, serviceIdentifier: [7, 8], use: data-cheap }
      - { service: data, ratingGroup: [10, none], use: [data-payg] }
      - { service: voice, use: [voice-payg] }
  day-pass:
    rank: 10
    grants:
      - { bucket: data-day, amount: 1GB, for: data, expires: 1d, priority: 1 }
    rules: [{ service: data, ratingGroup: [10, 30, 40], use: data-day }]
  bundle:
    rank: 20
    fee: { amount: "10.00", every: 30d }
    quota: { data: { size: 50MB } }
    finalUnit: { action: none }
    grants:
      - { bucket: data-month, amount: 5GB, for: data, expires: period, priority: 10 }
      - { bucket: minutes, amount: 100m, for: voice, expires: never }
    rules: [{ service: data, ratingGroup: [10, 12], use: [data-month, data-day] }, { service: voice, ratingGroup: none, use: minutes }]
  blocked:
    rank: 5
    rules: [{ ratingGroup: 12, deny: true }]
`

function load(written = text): Catalog {
  const outcome = readCatalog([{ file: 'catalog.yaml', text: written }])
  if ('catalog' in outcome) return outcome.catalog
  throw new Error(JSON.stringify(outcome.faults))
}

/** The same catalog with nothing remembered. */
const forgetful = (catalog: Catalog): Catalog => ({
  ...catalog,
  memo: { ...catalog.memo, services: new Map(), programs: new Map() },
})

const catalog = load()
const data = catalog.services.get('data')!
const voice = catalog.services.get('voice')!

/** Subscriptions of these offers, each newer than the one before. */
const having = (...offers: string[]): Subject => subject({ offers })

function subject({
  offers = [] as readonly string[],
  account = {} as Record<string, string>,
  subscriber = {} as Record<string, string>,
  overrides = [] as readonly RateOverride[],
  currency = undefined as string | undefined,
}): Subject {
  return {
    subscriptions: offers.map((offer, index) => ({ id: `s${index}`, offer, since: index })),
    account: new Map(Object.entries(account)),
    subscriber: new Map(Object.entries(subscriber)),
    overrides,
    ...(currency !== undefined && { currency }),
  }
}

const line = (ratingGroup?: number, ...serviceIdentifiers: number[]): LineFacts => ({ ratingGroup, serviceIdentifiers })

const fieldsOf = (program: Program): string[] => program.text.split(' ')

const descriptionOf = (program: Program): ProgramDescription => JSON.parse(program.description) as ProgramDescription

/** Names of the text's fields, in order. */
const fieldNames = 'kind id unit service rule validity terms quota before rate tiers after money counters code'.split(
  ' ',
)

function named(program: Program): Record<string, string> {
  const fields = fieldsOf(program)
  return Object.fromEntries(fieldNames.map((name, index) => [name, fields[index]!]))
}

t.test('a Service-Context-Id is found by TS 32.299 7.1.12, read from the right', t => {
  const table: [string, string | undefined][] = [
    ['32251@3gpp.org', 'data'],
    ['8.32251@3gpp.org', 'data'],
    ['12.32260@3gpp.org', 'voice'],
    ['15.234.12.32251@3gpp.org', 'data'],
    ['ext.15.234.12.32251@3gpp.org', 'data'],
    ['a.b.c.015.234.12.32251@3gpp.org', 'data'],
    ['8.32251@3GPP.org', 'data'],
    ['open5gs-smfd@open5gs.org', 'data'],
    ['99999@example.org', undefined],
    ['32251@example.org', undefined],
    ['5.32251@3gpp.org', undefined], // before release 6
    ['rel.32251@3gpp.org', undefined],
    ['234.12.32251@3gpp.org', undefined], // MCC without MNC
    ['32251', undefined],
    ['', undefined],
  ]
  for (const [sent, expect] of table) {
    t.equal(findService(catalog, sent)?.name, expect, sent)
    t.equal(findService(catalog, sent)?.name, expect, `${sent} again`)
  }
  t.end()
})

t.test('the first matching rule of the first offer decides', t => {
  const table = [
    {
      having: ['payg'],
      line: line(10),
      expect: { kind: 'pay', rule: 'payg#6', rate: 'data-payg', buckets: [], code: 0 },
    },
    {
      having: ['payg'],
      line: line(),
      expect: { kind: 'pay', rule: 'payg#6', rate: 'data-payg', buckets: [], code: 0 },
    },
    { having: ['payg'], line: line(30), expect: { kind: 'free', rule: 'payg#1', code: 0 } },
    { having: ['payg'], line: line(31), expect: { kind: 'free', rule: 'payg#2', code: 4011 } },
    { having: ['payg'], line: line(40), expect: { kind: 'deny', rule: 'payg#3', code: 4010 } },
    { having: ['payg'], line: line(41), expect: { kind: 'deny', rule: 'payg#4', code: 5003 } },
    { having: ['payg'], line: line(50), expect: { kind: 'unrated', rule: '-', code: 5031 } },
    { having: ['payg'], line: line(50, 7), expect: { kind: 'pay', rule: 'payg#5', rate: 'data-cheap' } },
    { having: ['payg'], line: line(50, 8, 7), expect: { kind: 'pay', rule: 'payg#5', rate: 'data-cheap' } },
    // One identifier outside the rule: its price would be wrong for a part of the line.
    { having: ['payg'], line: line(10, 7, 9), expect: { kind: 'pay', rule: 'payg#6', rate: 'data-payg' } },
    { having: [], line: line(10), expect: { kind: 'unrated', rule: '-', code: 5031 } },
    { having: ['gone'], line: line(10), expect: { kind: 'unrated', rule: '-', code: 5031 } },
    // Buckets only: the walk goes on to the next offer.
    {
      having: ['payg', 'day-pass'],
      line: line(10),
      expect: { kind: 'pay', rule: 'day-pass#1+payg#6', rate: 'data-payg', buckets: ['data-day'] },
    },
    {
      having: ['payg', 'bundle', 'day-pass'],
      line: line(10),
      expect: {
        kind: 'pay',
        rule: 'day-pass#1+bundle#1+payg#6',
        rate: 'data-payg',
        buckets: ['data-day', 'data-month'],
      },
    },
    {
      having: ['bundle'],
      line: line(10),
      expect: { kind: 'pay', rule: 'bundle#1', rate: undefined, buckets: ['data-month', 'data-day'] },
    },
    // An offer without a matching rule is passed over.
    { having: ['day-pass', 'payg'], line: line(31), expect: { kind: 'free', rule: 'payg#2', buckets: [] } },
    // A deny below buckets only ends the list; free below buckets frees the line.
    {
      having: ['day-pass', 'payg'],
      line: line(40),
      expect: { kind: 'pay', rule: 'day-pass#1+payg#3', rate: undefined, buckets: ['data-day'], code: 0 },
    },
    {
      having: ['day-pass', 'payg'],
      line: line(30),
      expect: { kind: 'free', rule: 'day-pass#1+payg#1', buckets: [], code: 0 },
    },
    { having: ['blocked', 'bundle'], line: line(12), expect: { kind: 'deny', rule: 'blocked#1', code: 4010 } },
  ]
  for (const { having: offers, line: key, expect } of table) {
    const { program } = programFor(catalog, having(...offers), data, key, noon)
    const seen = { ...program, rate: program.rate?.name }
    t.match(
      seen,
      expect,
      `${offers.join(' + ') || 'nothing'} on ${key.ratingGroup ?? 'no group'}/${key.serviceIdentifiers.join()}`,
    )
    t.same(
      [fieldsOf(program)[0], fieldsOf(program)[4], Number(fieldsOf(program).at(-1))],
      [expect.kind, expect.rule, program.code],
    )
  }
  t.end()
})

t.test('of offers of one rank the newest is asked first, then the smaller id', t => {
  const ranked = load(`${text}  other:\n    rules: [{ service: data, use: data-cheap }]\n`)
  const rateOf = (...subscriptions: { id: string; offer: string; since: number }[]): string | undefined =>
    programFor(ranked, { ...having(), subscriptions }, data, line(10), noon).program.rate?.name
  const [payg, other] = [
    { id: 'b', offer: 'payg', since: 5 },
    { id: 'a', offer: 'other', since: 4 },
  ]
  for (const order of [
    [payg, other],
    [other, payg],
  ]) {
    t.equal(rateOf(...order), 'data-payg')
    t.equal(rateOf(...order.map(each => ({ ...each, since: 5 }))), 'data-cheap')
  }
  t.end()
})

t.test('the program is one line of fifteen fields in the order of program.ts', t => {
  const { program } = programFor(catalog, having('payg'), data, line(10), noon)
  t.equal(fieldsOf(program).length, fieldNames.length)
  t.match(program.id, /^[0-9a-f]{12}$/)
  t.same(named(program), {
    ...{ kind: 'pay', id: program.id, unit: 'octets', service: 'data', rule: 'payg#6', validity: '1800' },
    ...{ terms: '1800,20,terminate', quota: '10000000,100000,100000000,0', before: '-' },
    rate: `${program.rate!.id},0,100000,100000,0,0,-,f,1,u,-,g`,
    tiers: '0,0,0,1000,1',
    ...{ after: '-', money: '-', counters: '-', code: '0' },
  })
  const both = programFor(catalog, having('bundle', 'payg'), data, line(10), noon).program
  t.match(named(both), { terms: '1800,20,none', before: 'data-month,data-day' })
  t.equal(both.quota.size, 50_000_000n, "the first offer's quota")
  const call = programFor(catalog, having('payg'), voice, line(), noon).program
  t.match(named(call), { rate: /^[0-9a-f]{12},30,1,1,/, tiers: '0,0,0,1000,1' })
  for (const ratingGroup of [30, 31, 40, 41, 50]) {
    const refused = programFor(catalog, having('payg'), data, line(ratingGroup), noon).program
    t.match(named(refused), { before: '-', rate: '-', tiers: '-', after: '-', money: '-', counters: '-' })
    t.equal(fieldsOf(refused).length, fieldNames.length)
  }
  t.end()
})

/** One rule with conditions, and after it one for all. */
const conditional = (where: string): Catalog =>
  load(`
currency: EUR
services:
  data: { context: 32251@3gpp.org, unit: octets }
  voice: { context: 32260@3gpp.org, unit: seconds }
zones:
  home: { plmn: ['26201'] }
  eu: { plmn: ['208*', '262*'] }
destinations:
  de: { prefixes: ['49'] }
  de-mobile: { prefixes: ['4915', '4916'] }
calendars:
  peak: { timezone: Europe/Berlin, days: mon-fri, from: '08:00', to: '20:00' }
offers:
  o:
    rules:
      - { ${where}, deny: true }
      - { free: true }
`)

t.test('each condition matches what it says, and nothing else', t => {
  const none = { serviceIdentifiers: [] }
  const plmn = (digits: string): LineFacts => ({ ...none, plmn: digits })
  const called = (number: string): LineFacts => ({ ...none, called: number })
  const apn = (text: string): LineFacts => ({ ...none, apn: text })
  const rat = (number: string): LineFacts => ({ ...none, rat: number })
  const table: { where: string; matches: readonly LineFacts[]; not: readonly LineFacts[] }[] = [
    { where: 'ratingGroup: [1, 2]', matches: [line(1), line(2)], not: [line(3), line()] },
    { where: 'ratingGroup: none', matches: [line()], not: [line(1), line(0)] },
    { where: 'ratingGroup: [none, 0]', matches: [line(), line(0)], not: [line(1)] },
    { where: 'serviceIdentifier: 7', matches: [line(1, 7)], not: [line(1), line(1, 8), line(1, 7, 8), line(1, 8, 7)] },
    { where: 'serviceIdentifier: [7, none]', matches: [line(), line(1, 7)], not: [line(1, 8)] },
    { where: 'ratingGroup: 1, serviceIdentifier: 7', matches: [line(1, 7)], not: [line(1), line(2, 7)] },
    { where: 'zone: home', matches: [plmn('26201')], not: [plmn('26202'), plmn('310260'), none] },
    { where: 'zone: eu', matches: [plmn('26202'), plmn('20801')], not: [plmn('26201'), none] },
    { where: 'zone: [none, eu]', matches: [plmn('310260'), plmn('26202'), none], not: [plmn('26201')] },
    {
      where: 'destination: de',
      matches: [called('49301'), called('+49301')],
      not: [called('49151'), called('1'), none],
    },
    { where: 'destination: de-mobile', matches: [called('49151'), called('0049151')], not: [called('49171'), none] },
    { where: 'destination: none', matches: [called('1'), none], not: [called('49171')] },
    { where: 'apn: internet', matches: [apn('internet'), apn('INTERNET')], not: [apn('internet2'), apn('ims'), none] },
    {
      where: "apn: ['iot.*', ims]",
      matches: [apn('iot.x'), apn('IOT.'), apn('ims')],
      not: [apn('iot'), apn('imsx'), none],
    },
    { where: 'rat: eutran', matches: [rat('6')], not: [rat('51'), rat('200'), none] },
    { where: 'rat: [nr, 200]', matches: [rat('51'), rat('200')], not: [rat('6'), none] },
    { where: 'zone: home, rat: nr', matches: [{ ...plmn('26201'), rat: '51' }], not: [plmn('26201'), rat('51')] },
  ]
  for (const { where, matches, not } of table) {
    const asked = conditional(where)
    for (const facts of [...matches, ...not]) {
      const { program } = programFor(asked, having('o'), asked.services.get('data')!, facts, noon)
      t.equal(program.kind, matches.includes(facts) ? 'deny' : 'free', `${where}: ${JSON.stringify(facts)}`)
    }
  }
  t.end()
})

t.test('services, attributes and times are conditions, too', t => {
  const services = conditional('service: voice')
  for (const [name, kind] of [
    ['voice', 'deny'],
    ['data', 'free'],
  ] as const)
    t.equal(programFor(services, having('o'), services.services.get(name)!, line(), noon).program.kind, kind)

  const attributes = conditional('account: { segment: [vip, staff] }, subscriber: { age: young }')
  const table = [
    { account: { segment: 'vip' }, subscriber: { age: 'young' }, kind: 'deny' },
    { account: { segment: 'staff', other: 'x' }, subscriber: { age: 'young' }, kind: 'deny' },
    { account: { segment: 'vip' }, subscriber: {}, kind: 'free' },
    { account: { segment: 'consumer' }, subscriber: { age: 'young' }, kind: 'free' },
    { account: { age: 'young' }, subscriber: { segment: 'vip' }, kind: 'free' },
  ]
  for (const { account, subscriber, kind } of table) {
    const who = subject({ offers: ['o'], account, subscriber })
    const { program } = programFor(attributes, who, attributes.services.get('data')!, line(), noon)
    t.equal(program.kind, kind, JSON.stringify({ account, subscriber }))
  }

  const times = conditional('when: peak')
  const times2 = [
    ['2026-01-05T06:59Z', 'free', '2026-01-02T19:00Z', '2026-01-05T07:00Z'],
    ['2026-01-05T07:00Z', 'deny', '2026-01-05T07:00Z', '2026-01-05T19:00Z'],
    ['2026-01-05T19:00Z', 'free', '2026-01-05T19:00Z', '2026-01-06T07:00Z'],
  ] as const
  for (const [at, kind, since, until] of times2) {
    const match = programFor(times, having('o'), times.services.get('data')!, line(), Date.parse(at))
    t.match(match, { program: { kind }, since: Date.parse(since), until: Date.parse(until) }, at)
    t.equal(match.facts, kind === 'deny' ? '"when":["peak"]' : '')
  }
  const voiceless = conditional('service: voice, when: peak')
  const match = programFor(voiceless, having('o'), voiceless.services.get('data')!, line(), noon)
  t.match(match, { since: -Infinity, until: Infinity, facts: '' }, 'calendars of other services do not bound it')
  t.end()
})

const wide = load(`
currency: EUR
services:
  data: { context: 32251@3gpp.org, unit: octets }
  voice: { context: 32260@3gpp.org, unit: seconds }
  shop: { context: value@example, unit: money }
zones:
  home: { plmn: ['26201'] }
  eu: { plmn: ['208*'] }
destinations:
  de: { prefixes: ['49'] }
calendars:
  night: { from: '22:00', to: '06:00' }
counters:
  month-data: { unit: octets, per: account, reset: month }
  day-roaming: { unit: money, per: subscriber, reset: day, for: [data], zone: [eu], limit: '5.00', optIn: true, steps: [50%, 80%, 100%] }
  member-data: { unit: octets, per: subscriber, reset: month, for: data, limit: 5GB, then: free }
  calls: { unit: seconds, per: account, reset: never, for: voice, limit: 10m, then: tell }
  spend: { unit: money, per: account, reset: day, limit: '50.00' }
rates:
  data-payg: { unit: octets, price: '0.01', per: 1MB, step: 100kB }
  data-dear: { unit: octets, price: '0.10', per: 1MB, step: 100kB }
  data-tiers: { unit: octets, step: 1MB, per: 1MB, counter: month-data, tiers: [{ upTo: 1GB, price: '0.02' }, { price: '0.005' }] }
  voice-payg: { unit: seconds, price: '0.06', per: 60s, step: 1s }
  fee: { unit: money, percent: 2.5% }
offers:
  home:
    rank: 1
    grants:
      - { bucket: home-data, amount: 5GB, for: [data], zone: home, expires: never }
      - { bucket: steps, amount: 100MB, for: [data], step: 1MB, expires: never }
      - { bucket: points, unit: units, amount: 1000, for: { data: { each: 1MB, takes: 1 }, voice: { each: 60s, takes: 2 } }, expires: never }
      - { bucket: bonus, unit: money, amount: '5.00', for: [voice], expires: 30d }
      - { bucket: cash, unit: money, amount: '5.00', for: [voice, data], zone: home, expires: 30d }
      - { bucket: night-data, amount: 1GB, for: [data], when: night, expires: never }
    rules:
      - { service: data, use: [home-data, steps, night-data] }
      - { service: voice, ratingGroup: 1, use: [points, voice-payg] }
  first:
    rank: 5
    rules: [{ service: data, ratingGroup: 5, use: [data-payg, points, steps] }]
  payg:
    rank: 10
    rules:
      - { service: data, ratingGroup: 7, deny: true }
      - { service: data, ratingGroup: 8, use: data-tiers }
      - { service: data, use: [points, data-payg] }
      - { service: voice, use: voice-payg }
      - { service: shop, use: fee }
exchange:
  USD: [{ from: '2026-01-05T12:00', rate: '0.92' }, { from: '2026-01-06T12:00', rate: '0.95' }]
  GBP: { from: 2026-01-01, rate: '1.15' }
`)

const serviceOf = (name: string): Service => wide.services.get(name)!

t.test('buckets and money pay where their own conditions fit', t => {
  const at = (plmn: string, ratingGroup?: number): LineFacts => ({ ratingGroup, serviceIdentifiers: [], plmn })
  const steps = 'steps~1000000~1000000'
  const table: { who: string[]; service: string; facts: LineFacts; expect: Record<string, string>; at?: Millis }[] = [
    {
      who: ['home', 'payg'],
      service: 'data',
      facts: at('26201'),
      expect: { rule: 'home#1+payg#3', before: `home-data,${steps},points~1000000~1`, money: 'cash', after: '-' },
    },
    {
      who: ['home', 'payg'],
      service: 'data',
      facts: at('20801'),
      expect: { rule: 'home#1+payg#3', before: `${steps},points~1000000~1`, money: '-' },
    },
    {
      who: ['home', 'payg'],
      service: 'data',
      facts: at('20801'),
      at: noon + day / 2,
      expect: { before: `${steps},night-data,points~1000000~1` },
    },
    // A rate before buckets: those that are before it already are not behind it, too.
    {
      who: ['first', 'home'],
      service: 'data',
      facts: at('26201', 5),
      expect: { rule: 'home#1+first#1', before: `home-data,${steps}`, after: 'points~1000000~1' },
    },
    {
      who: ['first'],
      service: 'data',
      facts: at('26201', 5),
      expect: { before: '-', after: `points~1000000~1,${steps}` },
    },
    // No rate: no money.
    {
      who: ['home'],
      service: 'data',
      facts: at('26201'),
      expect: { rate: '-', money: '-', before: `home-data,${steps}` },
    },
    {
      who: ['home'],
      service: 'voice',
      facts: at('26201', 1),
      expect: { before: 'points~60~2', money: 'bonus,cash' },
    },
    { who: ['payg'], service: 'voice', facts: at('20801'), expect: { before: '-', money: 'bonus' } },
    { who: ['payg'], service: 'shop', facts: at('26201'), expect: { before: '-', money: '-' } },
    // Below buckets a deny only ends the list.
    { who: ['home', 'payg'], service: 'data', facts: at('26201', 7), expect: { kind: 'pay', rate: '-', code: '0' } },
  ]
  for (const { who, service, facts, expect, at: time = noon } of table) {
    const { program } = programFor(wide, having(...who), serviceOf(service), facts, time)
    const what = `${who.join(' + ')}, ${service}, ${JSON.stringify(facts)}`
    const seen = named(program)
    for (const [name, value] of Object.entries(expect)) t.equal(seen[name], value, `${what}: ${name}`)
    const names = (text: string): string[] => (text === '-' ? [] : text.split(',').map(each => each.split('~')[0]!))
    const { before, after, money } = named(program) as { before: string; after: string; money: string }
    t.same([program.buckets, program.afterRate, program.money], [before, after, money].map(names), what)
  }
  t.end()
})

t.test('where no named bucket fits, a deny below it is one', t => {
  const only = load(`
currency: EUR
services: { data: { context: 32251@3gpp.org, unit: octets } }
zones: { home: { plmn: ['26201'] } }
offers:
  pass:
    rank: 1
    grants: [{ bucket: home-data, amount: 5GB, for: data, zone: home, expires: never }]
    rules: [{ service: data, use: home-data }]
  end: { rules: [{ deny: true }] }
`)
  const kindOf = (plmn: string, ...offers: string[]): string =>
    programFor(only, having(...offers), only.services.get('data')!, { ...line(), plmn }, noon).program.kind
  t.equal(kindOf('26201', 'pass', 'end'), 'pay')
  t.equal(kindOf('20801', 'pass', 'end'), 'deny')
  t.equal(kindOf('20801', 'pass'), 'pay', 'a rule was found, and nothing can be granted')
  t.end()
})

t.test('a line moves the counters that count it', t => {
  const at = (plmn: string, ratingGroup?: number): LineFacts => ({ ratingGroup, serviceIdentifiers: [], plmn })
  const member = 'member-data,u,f,s,5000000000,-'
  const roaming = 'day-roaming,m,s,s,5000000,50.80.100'
  const spend = 'spend,m,s,a,50000000,-'
  const table: { who: string; service: string; facts: LineFacts; expect: string[] }[] = [
    { who: 'payg', service: 'data', facts: at('26201'), expect: [member, spend] },
    { who: 'payg', service: 'data', facts: at('20801'), expect: [roaming, member, spend] },
    { who: 'payg', service: 'data', facts: at('26201', 8), expect: ['month-data,t,s,a,-,-', member, spend] },
    { who: 'payg', service: 'voice', facts: at('26201'), expect: ['calls,u,t,a,600,-', spend] },
    { who: 'payg', service: 'shop', facts: at('26201'), expect: [spend] },
    { who: 'home', service: 'data', facts: at('20801'), expect: [member] }, // no rate, no money
    { who: 'payg', service: 'data', facts: at('20801', 7), expect: [] }, // denied
  ]
  for (const { who, service, facts, expect } of table) {
    const { program } = programFor(wide, having(who), serviceOf(service), facts, noon)
    const what = `${who}, ${service}, ${JSON.stringify(facts)}`
    t.equal(named(program)['counters'], expect.join(';') || '-', what)
    t.same(
      program.counters,
      expect.map(each => each.split(',')[0]),
      what,
    )
  }
  t.end()
})

t.test("an account's own prices apply in their time, and bound the match", t => {
  const from = noon - day
  const until = noon + day
  const table: {
    overrides: RateOverride[]
    at?: Millis
    rate: string
    micros: bigint
    since: Millis
    until: Millis
  }[] = [
    { overrides: [], rate: 'data-payg', micros: 10_000n, since: -Infinity, until: Infinity },
    {
      overrides: [{ rate: 'data-payg', price: micros(7_000), from, until }],
      rate: 'data-payg',
      micros: 7_000n,
      since: from,
      until,
    },
    {
      overrides: [{ rate: 'data-payg', price: micros(7_000), from, until }],
      at: until,
      rate: 'data-payg',
      micros: 10_000n,
      since: until,
      until: Infinity,
    },
    {
      overrides: [{ rate: 'data-payg', price: micros(7_000), from: until }],
      rate: 'data-payg',
      micros: 10_000n,
      since: -Infinity,
      until,
    },
    {
      overrides: [{ rate: 'data-payg', instead: 'data-dear', until }],
      rate: 'data-dear',
      micros: 100_000n,
      since: -Infinity,
      until,
    },
    // The other rate's own price, and one for later.
    {
      overrides: [
        { rate: 'data-payg', instead: 'data-dear', from },
        { rate: 'data-dear', price: micros(90_000), until },
        { rate: 'data-payg', price: micros(1), from },
      ],
      rate: 'data-dear',
      micros: 90_000n,
      since: from,
      until,
    },
    // What cannot be: the rule's rate stays.
    {
      overrides: [{ rate: 'data-payg', instead: 'gone' }],
      rate: 'data-payg',
      micros: 10_000n,
      since: -Infinity,
      until: Infinity,
    },
    {
      overrides: [{ rate: 'data-payg', instead: 'voice-payg' }],
      rate: 'data-payg',
      micros: 10_000n,
      since: -Infinity,
      until: Infinity,
    },
    // Of other rates they say nothing here.
    {
      overrides: [{ rate: 'data-dear', price: micros(1), from, until }],
      rate: 'data-payg',
      micros: 10_000n,
      since: -Infinity,
      until: Infinity,
    },
    {
      overrides: [{ rate: 'gone', price: micros(1), from, until }],
      rate: 'data-payg',
      micros: 10_000n,
      since: -Infinity,
      until: Infinity,
    },
  ]
  for (const { overrides, at = noon, rate, micros: price, ...bounds } of table) {
    const match = programFor(wide, subject({ offers: ['payg'], overrides }), serviceOf('data'), line(), at)
    const what = JSON.stringify(overrides, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
    t.match(match, { ...bounds, program: { rate: { name: rate } } }, what)
    const { num, den } = match.program.rate!.tiers[0]!
    t.equal((num * 10n) / den, price, what)
    t.equal(named(match.program)['rate']!.split(',')[0], match.program.rate!.id)
  }
  const tiers = subject({ offers: ['payg'], overrides: [{ rate: 'data-tiers', price: micros(1) }] })
  const { program } = programFor(wide, tiers, serviceOf('data'), line(8), noon)
  t.equal(program.rate?.tiers.length, 2, 'a rate with tiers has no one price')
  t.end()
})

t.test('an account in another currency pays converted prices, each in the time of its exchange rate', t => {
  const [from, until] = [noon, noon + day]
  const table: {
    who: Parameters<typeof subject>[0]
    at: Millis
    ratingGroup?: number
    service?: string
    expect: object
    /** Fields of the program's text. */
    text?: Record<string, string | RegExp>
  }[] = [
    {
      who: { offers: ['payg'], currency: 'EUR' },
      at: noon,
      expect: { since: -Infinity, until: Infinity, facts: '' },
      text: { tiers: '0,0,0,1000,1', counters: /spend,m,s,a,50000000/ },
    },
    {
      // 10,000 / 0.92 = 10,869.6, and 50,000,000 / 0.92 = 54,347,826.1.
      who: { offers: ['payg'], currency: 'USD' },
      at: noon,
      expect: { since: from, until, facts: '"exchange":"USD 0.92"' },
      text: { tiers: '0,0,0,1087,1', counters: /spend,m,s,a,54347826/ },
    },
    {
      who: { offers: ['payg'], currency: 'USD' },
      at: until,
      expect: { since: until, until: Infinity, facts: '"exchange":"USD 0.95"' },
      text: { tiers: '0,0,0,10527,10', counters: /spend,m,s,a,52631578/ },
    },
    {
      // An own price is one of the account's currency.
      who: { offers: ['payg'], currency: 'USD', overrides: [{ rate: 'data-payg', price: micros(7_000) }] },
      at: noon,
      expect: { since: from, until, facts: '"exchange":"USD 0.92"' },
      text: { tiers: '0,0,0,700,1' },
    },
    {
      // Another rate is converted, 108,696 a megabyte, and bounded by both.
      who: {
        offers: ['payg'],
        currency: 'USD',
        overrides: [{ rate: 'data-payg', instead: 'data-dear', until: noon + 1 }],
      },
      at: noon,
      expect: { since: from, until: noon + 1 },
      text: { tiers: '0,0,0,54348,5' },
    },
    {
      // 0.005 a step of 1 MB is 0.004348.
      who: { offers: ['payg'], currency: 'GBP' },
      at: noon,
      ratingGroup: 8,
      expect: { until: Infinity, facts: '"exchange":"GBP 1.15"' },
      text: { tiers: '0,1000000000,0,17392,1;1000000000,0,17392000,4348,1' },
    },
    {
      who: { offers: ['payg'], currency: 'GBP' },
      at: noon,
      service: 'shop',
      expect: { facts: '"exchange":"GBP 1.15"' },
      text: { tiers: '0,0,0,1,40' },
    },
    {
      // Where only buckets pay, nothing is converted; here a calendar ends it.
      who: { offers: ['home'], currency: 'USD' },
      at: noon,
      expect: { since: from, until: noon + day * (10 / 24), facts: '' },
      text: { rate: '-' },
    },
    {
      who: { offers: ['home'], currency: 'USD' },
      at: noon - 1,
      expect: {
        ...{ since: -Infinity, until: from },
        facts: '"why":"no exchange rate USD at any time before 2026-01-05T12:00:00.000Z"',
        program: { kind: 'unrated', rate: undefined },
      },
      text: { rule: '-', code: '5031' },
    },
    {
      who: { offers: ['payg'], currency: 'CHF' },
      at: noon,
      expect: {
        ...{ since: -Infinity, until: Infinity },
        facts: '"why":"no exchange rate CHF at any time"',
        program: { kind: 'unrated' },
      },
      text: { code: '5031' },
    },
  ]
  for (const { who, at, ratingGroup, service = 'data', expect, text: fields = {} } of table) {
    const match = programFor(wide, subject(who), serviceOf(service), line(ratingGroup), at)
    const what = `${who.currency!} at ${new Date(at).toISOString()}, ${who.offers!.join()} ${service}`
    t.match(match, expect, what)
    const seen = named(match.program)
    for (const [name, value] of Object.entries(fields)) t.match(seen[name], value, `${what}: ${name}`)
  }
  const of = (currency: string, at: Millis): Program =>
    programFor(wide, subject({ offers: ['payg'], currency }), serviceOf('data'), line(), at).program
  t.equal(of('USD', noon), of('USD', noon + 1), 'one program for all accounts of a currency')
  t.not(of('USD', noon), of('EUR', noon))
  t.not(of('USD', noon).rate!.id, of('USD', until).rate!.id, 'a new exchange rate is a new rate')
  const description = descriptionOf(of('USD', noon))
  t.match(description, {
    exchange: 'USD 0.92',
    rate: { name: 'data-payg', words: '0.01087 per 1 MB in steps of 100 kB' },
  })
  t.notOk('insteadOf' in description.rate!, 'it is the rate that the rule names')
  t.same(rateOf(description), of('USD', noon).rate, 'its sums can be done again')
  t.notOk('exchange' in descriptionOf(of('EUR', noon)))
  t.match(descriptionOf(of('CHF', noon)), { noExchange: 'no exchange rate CHF at any time', rules: [], passed: [] })
  t.end()
})

t.test('money that is granted is converted at the grant', t => {
  const amounts = (currency: string, at: Millis): unknown => {
    const buckets = newBuckets(wide, 'home', at, currency)
    return buckets && 'refused' in buckets ? buckets : buckets?.map(({ amount }) => amount)
  }
  const others = (money: bigint): bigint[] => [5_000_000_000n, 100_000_000n, 1_000n, money, money, 1_000_000_000n]
  t.same(amounts('EUR', noon), others(5_000_000n))
  t.same(amounts('USD', noon), others(5_434_782n))
  t.same(amounts('USD', noon + day), others(5_263_157n))
  t.same(amounts('USD', 0), { refused: 'no exchange rate USD at any time before 2026-01-05T12:00:00.000Z' })
  t.same(amounts('CHF', noon), { refused: 'no exchange rate CHF at any time' })
  t.same(newBuckets(wide, 'payg', noon, 'CHF'), [], 'without money nothing is to be converted')
  const saver = load(`
currency: EUR
services: { data: { context: a@b, unit: octets } }
rates: { d: { unit: octets, price: '1.00', per: 1MB, step: 1MB } }
offers:
  o:
    grants: [{ bucket: m, unit: money, amount: '5.00', expires: 30d, warn: ['1.00', '0.50'], rollover: { min: '0.10', max: '2.00', for: 30d } }]
    rules: [{ use: d }]
exchange: { USD: { from: 2026-01-01, rate: '0.92' } }
`)
  t.match(newBuckets(saver, 'o', noon, 'USD'), [
    { amount: 5_434_782n, warn: [1_086_956n, 543_478n], rollover: { min: 108_695n, max: 2_173_913n } },
  ])
  t.end()
})

t.test('the description says what the program means', t => {
  const who = subject({ offers: ['home', 'payg'], overrides: [{ rate: 'data-payg', instead: 'data-dear' }] })
  const facts = { ratingGroup: 3, serviceIdentifiers: [], plmn: '20801', called: '4930', apn: 'x', rat: '6' }
  const { program, facts: told } = programFor(wide, who, serviceOf('data'), facts, noon)
  const rate = wide.rates.get('data-dear')!
  const counted = (name: string): object => {
    const { unit, per, then, limit } = wide.counters.get(name)!
    return { unit, per, then, ...(limit !== undefined && { limit: String(limit) }) }
  }
  t.same(descriptionOf(program), {
    service: 'data',
    unit: 'octets',
    kind: 'pay',
    rules: [
      {
        offer: 'home',
        rule: 1,
        place: 'catalog.yaml:37',
        where: { service: ['data'] },
        effect: 'use home-data, steps, night-data',
      },
      {
        offer: 'payg',
        rule: 3,
        place: 'catalog.yaml:47',
        where: { service: ['data'] },
        effect: 'use points, data-payg',
      },
    ],
    rate: {
      ...{ name: 'data-dear', id: rate.id, words: describeRate(rate), insteadOf: 'data-payg' },
      terms: termsText(rate),
    },
    buckets: [
      { name: 'steps', unit: 'octets', pays: 'before', each: '1000000', takes: '1000000' },
      { name: 'points', unit: 'units', pays: 'before', each: '1000000', takes: '1' },
    ],
    unfit: [
      { name: 'home-data', fails: 'zone' },
      { name: 'night-data', fails: 'when' },
    ],
    counters: [
      { name: 'day-roaming', counts: 'money', ...counted('day-roaming') },
      { name: 'member-data', counts: 'units', ...counted('member-data') },
      { name: 'spend', counts: 'money', ...counted('spend') },
    ],
  })
  t.same(rateOf(descriptionOf(program)), rate, 'the rate can be had again from it')
  // Zones are named by conditions of this catalog; destinations, APN and RAT are not.
  t.same(JSON.parse(`{${told}}`), { zone: 'eu' })
  t.end()
})

t.test('facts tell where a line was, as far as some condition asks for it', t => {
  const asked = conditional("zone: home, destination: de, apn: 'iot.*', rat: nr, when: peak")
  const of = (facts: Partial<LineFacts>): unknown =>
    JSON.parse(
      `{${programFor(asked, having('o'), asked.services.get('data')!, { serviceIdentifiers: [], ...facts }, noon).facts}}`,
    )
  t.same(of({}), { when: ['peak'] })
  t.same(of({ plmn: '26201', called: '49301', apn: 'IoT.car', rat: '51' }), {
    ...{ zone: 'home', destination: 'de', apn: 'iot.car', rat: 'nr', when: ['peak'] },
  })
  t.same(of({ plmn: '310260', called: '4915', apn: 'a"b', rat: '250' }), {
    ...{ zone: 'none', destination: 'de-mobile', apn: 'a"b', rat: '250', when: ['peak'] },
  })
  t.same(of({ called: '1' }), { destination: 'none', when: ['peak'] })
  t.end()
})

t.test('a line without a rule is told why', t => {
  const why = (who: Subject, facts: LineFacts, of = data, asked = catalog): unknown => {
    const match = programFor(asked, who, of, facts, noon)
    t.match(match.program, { kind: 'unrated', code: 5031, rule: '-' })
    return (JSON.parse(`{${match.facts}}`) as { why: string }).why
  }
  t.equal(why(having(), line(10)), 'no offer')
  t.equal(why(having('gone'), line(10)), 'gone: not in the catalog')
  t.equal(why(having('day-pass'), line(10), voice), 'day-pass: no rule for the service')
  const passed =
    'payg#1 ratingGroup, payg#2 ratingGroup, payg#3 ratingGroup, payg#4 ratingGroup, payg#5 serviceIdentifier and 1 more'
  t.equal(
    why(having('payg', 'gone', 'day-pass'), line(50)),
    `day-pass#1 ratingGroup; ${passed}; gone: not in the catalog`,
  )
  const roaming = load(
    text
      .replace('blocked:', 'abroad:\n    rules: [{ zone: eu, use: [data-payg] }]\n  blocked:')
      .replace('\noffers:', '\nzones: { eu: { plmn: ["208*"] } }\noffers:')
      .replace('{ zone: eu,', '{ service: data, zone: eu,'),
  )
  t.equal(why(having('abroad'), { ...line(10), plmn: '26201' }, data, roaming), 'abroad#1 zone')
  const { program } = programFor(roaming, having('abroad'), data, { ...line(10), plmn: '26201' }, noon)
  t.match(descriptionOf(program), {
    kind: 'unrated',
    passed: [{ offer: 'abroad', rules: 1, misses: [{ rule: 1, fails: 'zone' }] }],
  })
  t.end()
})

t.test('a program is the same object until the catalog changes, and the same text after a reload', t => {
  const first = programFor(catalog, having('payg'), data, line(10), noon)
  t.equal(programFor(catalog, having('payg'), data, line(10), noon + day), first)
  t.equal(programFor(load(), having('payg'), data, line(10), noon).program.text, first.program.text)
  // What moves the rules to other lines changes their places, and nothing else.
  const moved = programFor(load(`# moved\n${text}`), having('payg'), data, line(10), noon).program
  t.equal(moved.text, first.program.text)
  t.not(moved.description, first.program.description)
  t.end()
})

t.test('lines that no rule tells apart share one program, so that nobody can fill the memory', t => {
  const fresh = load()
  for (let group = 1_000; group < 2_000; group++) {
    const facts = {
      ...line(group, group),
      plmn: String(20_000 + group),
      called: `49${group}`,
      apn: `apn${group}`,
      rat: '6',
    }
    const who = subject({ offers: ['payg'], account: { id: String(group) }, subscriber: { id: String(group) } })
    programFor(fresh, who, data, facts, noon + group)
  }
  t.equal(fresh.memo.programs.size, 1)
  for (let each = 0; each < 20_100; each++) programFor(fresh, having(`unknown-${each}`), data, line(10), noon)
  t.ok(fresh.memo.programs.size <= 10_000)
  const timed = conditional('when: peak')
  for (let days = 0; days < 100; days++)
    programFor(timed, having('o'), timed.services.get('data')!, line(), noon + days * day)
  const kept = [...timed.memo.programs.values()]
  t.equal(kept.length, 1)
  t.ok(kept[0]!.length <= 4)
  t.end()
})

t.test('subscriptions of offers that the catalog does not know are skipped and told', t => {
  const match = programFor(catalog, having('gone', 'payg', 'lost'), data, line(10), noon)
  t.match(match, { program: { rule: 'payg#6' }, unknownOffers: ['lost', 'gone'] })
  t.same(programFor(catalog, having('payg'), data, line(10), noon).unknownOffers, [])
  t.end()
})

const aSet = <T>(...values: T[]): fc.Arbitrary<ReadonlySet<T>> =>
  fc.subarray(values, { minLength: 1 }).map(found => new Set(found))

const groups = fc.record({ values: aSet(1, 2, 3), none: fc.boolean() })

const sometimes = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq: 2 })

const someConditions: fc.Arbitrary<Conditions> = fc
  .record({
    services: sometimes(aSet('data', 'voice')),
    ratingGroup: sometimes(groups),
    serviceIdentifier: sometimes(groups),
    zones: sometimes(aSet('home', 'eu', 'none')),
    destinations: sometimes(aSet('de', 'de-mobile', 'none')),
    apns: sometimes(aSet('internet', 'iot.*', 'iot.car')),
    rats: sometimes(aSet('nr', 'eutran')),
    when: sometimes(aSet('peak', 'night')),
    account: sometimes(aSet('vip', 'staff').map(values => new Map([['segment', values]]))),
    subscriber: sometimes(aSet('young').map(values => new Map([['age', values]]))),
  })
  .map(where => Object.fromEntries(Object.entries(where).filter(([, value]) => value !== undefined)) as Conditions)

const someRules = fc
  .array(fc.tuple(someConditions, fc.constantFrom('data-payg', 'data-dear', undefined)), { maxLength: 12 })
  .map(rows =>
    rows.map(([where, rate], index): Rule => {
      const use = { kind: 'use', buckets: rate === undefined ? ['steps'] : [], rate, afterRate: [] } as const
      return {
        position: index + 1,
        where,
        place: `x:${index}`,
        effect: index % 4 === 3 ? { kind: 'deny', code: 4010 } : use,
      }
    }),
  )

const someFacts: fc.Arbitrary<LineFacts> = fc.record({
  ratingGroup: fc.constantFrom(undefined, 1, 2, 3, 4, 5),
  serviceIdentifiers: fc.subarray([1, 2, 3, 4]),
  plmn: fc.constantFrom(undefined, '26201', '20801', '310260', '310410'),
  called: fc.constantFrom(undefined, '4930', '4915', '491', '1', '2'),
  apn: fc.constantFrom(undefined, 'internet', 'INTERNET', 'iot.car', 'iot.bus', 'x', 'y'),
  rat: fc.constantFrom(undefined, '51', '6', '1', '99'),
})

const someSubject: fc.Arbitrary<Subject> = fc.record({
  subscriptions: fc
    .subarray(['a', 'b', 'gone'])
    .map(offers => offers.map((offer, index) => ({ id: String(index), offer, since: index }))),
  account: fc
    .constantFrom({}, { segment: 'vip' }, { segment: 'none' }, { other: 'x' })
    .map(each => new Map(Object.entries(each))),
  subscriber: fc.constantFrom({}, { age: 'young' }, { age: 'old' }).map(each => new Map(Object.entries(each))),
  overrides: fc.constantFrom<RateOverride[]>(
    [],
    [{ rate: 'data-payg', price: micros(5_000), until: noon + day }],
    [{ rate: 'data-payg', instead: 'data-dear', from: noon }],
  ),
  currency: fc.constantFrom('EUR', 'USD', 'USD', 'GBP', 'CHF'),
})

const places = conditional('zone: eu, destination: de, when: peak')

/** Zones, destinations and a calendar of `conditional`, rates and buckets of `wide`, and these rules. */
function catalogOf(rules: readonly (readonly Rule[])[]): Catalog {
  const payg = wide.offers.get('payg')!
  const numbersOf = (key: 'ratingGroup' | 'serviceIdentifier'): Set<number> =>
    new Set(rules.flat().flatMap(({ where }) => [...(where[key]?.values ?? [])]))
  return {
    ...wide,
    zones: places.zones,
    destinations: places.destinations,
    calendars: new Map([...wide.calendars, ...places.calendars]),
    offers: new Map(['a', 'b'].map((name, index) => [name, { ...payg, name, rules: rules[index]! }])),
    memo: {
      services: new Map(),
      programs: new Map(),
      ratingGroups: numbersOf('ratingGroup'),
      serviceIdentifiers: numbersOf('serviceIdentifier'),
    },
  }
}

t.test('what is remembered never changes what is found', t => {
  const lines = fc.array(fc.tuple(someSubject, someFacts), { minLength: 4, maxLength: 4 })
  const times = fc.array(fc.tuple(fc.nat(3), fc.integer({ min: -48, max: 48 }), fc.constantFrom('data', 'voice')), {
    minLength: 1,
    maxLength: 40,
  })
  fc.assert(
    fc.property(fc.tuple(someRules, someRules), lines, times, (rules, known, asked) => {
      const one = catalogOf(rules)
      return asked.every(([index, halves, service]) => {
        const [who, facts] = known[index]!
        const at = noon + halves * 1_800_000
        const [remembered, fresh] = [one, forgetful(one)].map(each =>
          programFor(each, who, serviceOf(service), facts, at),
        )
        return isDeepStrictEqual(remembered, fresh)
      })
    }),
    parameters(150),
  )
  t.end()
})

t.test('within a match nothing changes, and the next instant after it is another match', t => {
  const time = fc.integer({ min: -300, max: 300 })
  fc.assert(
    fc.property(
      fc.tuple(someRules, someRules),
      someSubject,
      someFacts,
      time,
      time,
      (rules, who, facts, hours, other) => {
        const one = catalogOf(rules)
        const at = (instant: Millis): ReturnType<typeof programFor> =>
          programFor(forgetful(one), who, serviceOf('data'), facts, instant)
        const match = at(noon + hours * 600_000)
        const instant = noon + other * 600_000
        const inside = match.since <= instant && instant < match.until
        return (
          (!inside || at(instant).program.id === match.program.id) &&
          (match.until === Infinity || at(match.until).since === match.until) &&
          (match.since === -Infinity || at(match.since - 1).until === match.since)
        )
      },
    ),
    parameters(500),
  )
  t.end()
})

t.test('the index of rules finds what trying them in order finds', t => {
  const active = aSet('peak', 'night', 'x')
  fc.assert(
    fc.property(
      someRules,
      someSubject,
      someFacts,
      active,
      fc.constantFrom('data', 'voice'),
      (rules, who, facts, on, service) => {
        const named = new Named(
          catalogOf([rules, []]),
          rules.map(({ where }) => where),
        )
        const asked: Line = named.lineOf(service, facts, who.account, who.subscriber)
        const expect = rules.find(({ where }) => failing(where, asked, on) === undefined)
        return new RuleIndex(rules, service).first(asked, on) === expect
      },
    ),
    parameters(2_000),
  )
  t.end()
})

t.test('of 10,000 rules a line tries only those that can be its own', t => {
  const count = 10_000
  const rules = Array.from({ length: count }, (_, index): Rule => {
    const where = {
      services: new Set(['data']),
      ratingGroup: { values: new Set([10, index]), none: false },
      zones: new Set(['home']),
    }
    let asked = 0
    return {
      ...{ position: index + 1, place: '', effect: { kind: 'deny', code: 4010 } },
      where: {
        ...where,
        get zones() {
          tried += asked++ === 0 ? 0 : 1 // the first is that of the index
          return where.zones
        },
      },
    }
  })
  let tried = 0
  const index = new RuleIndex(rules, 'data')
  const named = new Named(catalogOf([[], []]), [{ zones: new Set(['home']) }])
  const find = (ratingGroup: number): number | undefined =>
    index.first(
      named.lineOf('data', { ratingGroup, serviceIdentifiers: [], plmn: '26201' }, new Map(), new Map()),
      new Set(),
    )?.position
  tried = 0
  t.equal(find(9_999), 10_000)
  t.equal(find(77), 78)
  t.ok(tried < 100, `${tried} rules`)
  t.equal(find(10), 1)
  t.equal(find(10_001), undefined)
  t.end()
})

t.test('an offer gives its buckets, with all that they are', t => {
  const now = Date.UTC(2026, 0, 1)
  t.same(newBuckets(catalog, 'bundle', now), [
    {
      name: 'data-month',
      unit: 'octets',
      amount: 5_000_000_000n,
      priority: 10,
      until: now + 30 * day,
      origin: 'bundle',
    },
    { name: 'minutes', unit: 'seconds', amount: 6_000n, priority: 100, until: undefined, origin: 'bundle' },
  ])
  t.same(newBuckets(catalog, 'payg', now), [])
  t.equal(newBuckets(catalog, 'gone', now), undefined)
  t.end()
})

t.test('a bucket ends when its grant says, whatever the calendar', t => {
  const grants = load(`
currency: EUR
timezone: Europe/Berlin
services: { data: { context: 32251@3gpp.org, unit: octets } }
rates: { payg: { unit: octets, price: '0.01', per: 1MB, step: 1MB } }
offers:
  all:
    grants:
      - { bucket: never, amount: 1GB, for: data, expires: never }
      - { bucket: after, amount: 1GB, for: data, expires: { after: 2d, from: grant } }
      - { bucket: used, amount: 1GB, for: data, expires: { after: 2d, from: first-use } }
      - { bucket: day, amount: 1GB, for: data, expires: { end: day } }
      - { bucket: week, amount: 1GB, for: data, expires: { end: week, timezone: UTC } }
      - { bucket: month, amount: 1GB, for: data, expires: { end: month } }
      - { bucket: fixed, amount: 1GB, for: data, starts: '2026-04-01', expires: '2027-01-01T00:00' }
      - { bucket: rich, amount: 1GB, for: data, expires: 30d, priority: 3, paid: true, blocker: true, warn: [80%, 100%], rollover: { min: 100MB, max: 500MB, for: 10d, priority: 7 } }
      - { bucket: cash, unit: money, amount: '5.00', expires: 30d }
    rules: [{ service: data, use: [never, after, used, day, week, month, fixed, rich, payg] }]
`)
  // The day on which Berlin's clocks go forward.
  const now = Date.parse('2026-03-29T12:00Z')
  const found = new Map(newBuckets(grants, 'all', now)!.map(({ name, ...bucket }) => [name, bucket]))
  const plain = { unit: 'octets', amount: 1_000_000_000n, priority: 100, origin: 'all' }
  const table: [string, Record<string, unknown>][] = [
    ['never', { ...plain, until: undefined }],
    ['after', { ...plain, until: now + 2 * day }],
    ['used', { ...plain, until: undefined, life: 2 * day }],
    ['day', { ...plain, until: Date.parse('2026-03-29T22:00Z') }],
    ['week', { ...plain, until: Date.parse('2026-03-30T00:00Z') }],
    ['month', { ...plain, until: Date.parse('2026-03-31T22:00Z') }],
    ['fixed', { ...plain, from: Date.parse('2026-03-31T22:00Z'), until: Date.parse('2026-12-31T23:00Z') }],
    [
      'rich',
      {
        ...plain,
        until: now + 30 * day,
        priority: 3,
        paid: true,
        blocker: true,
        warn: [200_000_000n, 0n],
        rollover: { min: 100_000_000n, max: 500_000_000n, lifeMs: 10 * day, priority: 7 },
      },
    ],
    ['cash', { ...plain, unit: 'money', amount: 5_000_000n, until: now + 30 * day }],
  ]
  for (const [name, expect] of table) t.same(found.get(name), expect, name)
  t.equal(found.size, table.length)
  t.end()
})
