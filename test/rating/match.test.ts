import t from 'tap'
import type { Catalog } from '../../src/rating/catalog.js'
import { readCatalog } from '../../src/rating/load.js'
import { findService, newBuckets, programFor, wantedUnits, type LineKey } from '../../src/rating/match.js'
import type { Program } from '../../src/rating/program.js'

const day = 86_400_000

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

function load(): Catalog {
  const outcome = readCatalog([{ file: 'catalog.yaml', text }])
  if ('catalog' in outcome) return outcome.catalog
  throw new Error(JSON.stringify(outcome.faults))
}

const catalog = load()
const data = catalog.services.get('data')!
const voice = catalog.services.get('voice')!

/** Subscriptions of these offers, each newer than the one before. */
const having = (...offers: string[]): { id: string; offer: string; since: number }[] =>
  offers.map((offer, index) => ({ id: `s${index}`, offer, since: index }))

const line = (ratingGroup?: number, ...serviceIdentifiers: number[]): LineKey => ({ ratingGroup, serviceIdentifiers })

const fieldsOf = (program: Program): string[] => program.text.split(' ')

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
    const { program } = programFor(catalog, having(...offers), data, key)
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
  const ranked = readCatalog([
    { file: 'c.yaml', text: `${text}  other:\n    rules: [{ service: data, use: data-cheap }]\n` },
  ])
  t.ok('catalog' in ranked)
  if (!('catalog' in ranked)) return
  const rateOf = (...subscriptions: { id: string; offer: string; since: number }[]): string | undefined =>
    programFor(ranked.catalog, subscriptions, data, line(10)).program.rate?.name
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
  const { program } = programFor(catalog, having('payg'), data, line(10))
  const [, id, ...rest] = fieldsOf(program)
  const rateId = program.rate!.id
  t.same(rest, [
    'octets',
    'data',
    'payg#6',
    '1800',
    '1800,20,terminate',
    '-',
    rateId,
    '1000',
    '1',
    '100000',
    '0',
    '100000',
    '0',
  ])
  t.equal(id, program.id)
  const both = programFor(catalog, having('bundle', 'payg'), data, line(10)).program
  t.same(fieldsOf(both).slice(6, 8), ['1800,20,none', 'data-month,data-day'])
  t.equal(both.quota.size, 50_000_000n, "the first offer's quota")
  const call = programFor(catalog, having('payg'), voice, line()).program
  t.same(fieldsOf(call).slice(9), ['1000', '1', '1', '30', '1', '0'])
  for (const { text: each } of [program, both, call]) t.equal(each.split(' ').length, 15)
  t.end()
})

t.test('a program is the same object until the catalog changes, and the same text after a reload', t => {
  const first = programFor(catalog, having('payg'), data, line(10))
  t.equal(programFor(catalog, having('payg'), data, line(10)), first)
  t.equal(programFor(load(), having('payg'), data, line(10)).program.text, first.program.text)
  t.end()
})

t.test('rating groups that no rule names share one program, so that a peer cannot fill the memory', t => {
  const fresh = load()
  for (let group = 1_000; group < 2_000; group++) programFor(fresh, having('payg'), data, line(group, group))
  t.equal(fresh.memo.programs.size, 1)
  for (let each = 0; each < 20_100; each++) programFor(fresh, having(`unknown-${each}`), data, line(10))
  t.ok(fresh.memo.programs.size <= 10_000)
  t.end()
})

t.test('subscriptions of offers that the catalog does not know are skipped and told', t => {
  const match = programFor(catalog, having('gone', 'payg', 'lost'), data, line(10))
  t.match(match, { program: { rule: 'payg#6' }, unknownOffers: ['lost', 'gone'] })
  t.same(programFor(catalog, having('payg'), data, line(10)).unknownOffers, [])
  t.end()
})

t.test('what is wanted lies within what was asked and the quota', t => {
  const pay = programFor(catalog, having('payg'), data, line(10)).program
  const free = programFor(catalog, having('payg'), data, line(30)).program
  const table = [
    { program: pay, asked: undefined, profile: 'bound', expect: 10_000_000n },
    { program: pay, asked: 1_000_000n, profile: 'bound', expect: 1_000_000n },
    { program: pay, asked: 1_000_000n, profile: 'ignore', expect: 10_000_000n },
    { program: pay, asked: 20_000_000n, profile: 'bound', expect: 10_000_000n },
    { program: pay, asked: 1n, profile: 'bound', expect: 100_000n },
    { program: pay, asked: 0n, profile: 'bound', expect: 100_000n },
    { program: free, asked: undefined, profile: 'bound', expect: 100_000_000n },
    { program: free, asked: 1_000_000n, profile: 'bound', expect: 1_000_000n },
    { program: free, asked: 10n ** 12n, profile: 'bound', expect: 100_000_000n },
    { program: free, asked: 1_000_000n, profile: 'ignore', expect: 100_000_000n },
  ] as const
  for (const { program, asked, profile, expect } of table) {
    t.equal(wantedUnits(program, asked, profile), expect, `${program.kind}, asked ${asked ?? 'nothing'}, ${profile}`)
  }
  t.end()
})

t.test('an offer gives its buckets, with their ends', t => {
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
