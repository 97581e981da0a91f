import t from 'tap'
import type { Catalog } from '../../src/rating/catalog.js'
import { diffCatalogs, diffText, priceJumps } from '../../src/rating/diff.js'
import { readCatalog } from '../../src/rating/load.js'

const base = `
currency: EUR
timezone: Europe/Berlin
services:
  data: { context: 32251@3gpp.org, unit: octets, quota: { size: 10MB, min: 100kB, max: 100MB, validity: 1h } }
  voice: { context: 32260@3gpp.org, unit: seconds }
zones:
  eu: { plmn: ['208*', '222*'] }
destinations:
  mobile: { prefixes: ['4915', '4916'] }
  far: { prefixes: ['881', '882', '883'] }
calendars:
  peak: { days: mon-fri, from: '08:00', to: '20:00' }
counters:
  month: { unit: octets, per: account, reset: month }
  spend: { unit: money, per: account, reset: day, for: data, limit: '5.00', then: stop, steps: [80%] }
rates:
  data: { unit: octets, price: '0.01', per: 1MB, step: 100kB, setup: '0.05' }
  tiers: { unit: octets, per: 1MB, step: 1MB, counter: month, tiers: [{ upTo: 1GB, price: '0.02' }, { price: '0.01' }] }
  call: { unit: seconds, price: '0.06', per: 60s, step: 60s }
offers:
  payg:
    rules:
      - { service: data, ratingGroup: 30, free: true }
      - { service: data, zone: eu, when: peak, use: [data] }
      - { service: data, use: [tiers] }
      - { service: voice, destination: mobile, use: [call] }
      - { service: voice, deny: true }
  gold:
    rank: 10
    grants: [{ bucket: big, amount: 5GB, for: data, expires: 30d }]
    rules: [{ service: data, use: [big, data] }]
  quiet: { rules: [{ service: voice, use: [call] }] }
`

const read = (text: string): Catalog => {
  const outcome = readCatalog([{ file: 'tariff.yaml', text }])
  if ('faults' in outcome) throw new Error(JSON.stringify(outcome.faults))
  return outcome.catalog
}

/** The base with these texts in place of others. */
const changed = (changes: Readonly<Record<string, string>>): Catalog => {
  let text = base
  for (const [from, to] of Object.entries(changes)) {
    if (!text.includes(from)) throw new Error(`no ${from}`)
    text = text.replace(from, to)
  }
  return read(text)
}

const before = read(base)
const subscriptions = new Map([
  ['payg', 12_034],
  ['gold', 1],
])
const lines = (after: Catalog): string[] => diffText(diffCatalogs(before, after, subscriptions)).slice(1)

void t.test('each kind of change is told for the offers that it concerns', t => {
  const table: [what: string, changes: Record<string, string>, expected: string[]][] = [
    ['nothing', { "from: '08:00', to: '20:00'": 'to: "20:00", from: "08:00"' }, ['they say the same']],
    [
      'a price and a setup fee',
      { "price: '0.01', per: 1MB, step: 100kB, setup: '0.05'": "price: '0.05', per: 1MB, step: 100kB, setup: '0.04'" },
      [
        '',
        'offer gold (1 subscription): changed',
        '  rate data (rule 1): price: 0.01 per 1 MB → 0.05 per 1 MB, +400 %',
        '  rate data (rule 1): setup: 0.05 → 0.04, -20 %',
        '',
        'offer payg (12034 subscriptions): changed',
        '  rate data (rule 2): price: 0.01 per 1 MB → 0.05 per 1 MB, +400 %',
        '  rate data (rule 2): setup: 0.05 → 0.04, -20 %',
      ],
    ],
    [
      'a step',
      { 'step: 60s': 'step: 1s' },
      [
        '',
        'offer payg (12034 subscriptions): changed',
        '  rate call (rule 4): step: 1 min → 1 s',
        '',
        'offer quiet (0 subscriptions): changed',
        '  rate call (rule 1): step: 1 min → 1 s',
      ],
    ],
    [
      'a tier',
      { "upTo: 1GB, price: '0.02'": "upTo: 2GB, price: '0.03'" },
      [
        '',
        'offer payg (12034 subscriptions): changed',
        '  rate tiers (rule 3): price of tier 1: 0.02 per 1 MB up to 1 GB → 0.03 per 1 MB up to 2 GB, +50 %',
      ],
    ],
    [
      'rules: another rate, another order, one more, one less',
      {
        'use: [tiers] }': 'use: [data] }\n      - { service: data, apn: ims, deny: 5003 }',
        '      - { service: voice, deny: true }\n': '',
        '      - { service: data, ratingGroup: 30, free: true }\n': '',
        'use: [call] }\n  gold': 'use: [call] }\n      - { service: data, ratingGroup: 30, free: true }\n  gold',
      },
      [
        '',
        'offer payg (12034 subscriptions): changed',
        '  rule 3 (service data, apn ims): new, refused with 5003',
        '  rule 5 (service voice): gone, was refused with 4010',
        '  rule 2 (service data): rate tiers (0.02 per 1 MB) → rate data (0.01 per 1 MB), -50 %',
        '  rule 5 (service data, rating group 30): 1 in the order → 5 in the order',
      ],
    ],
    [
      'a grant, a quota, the offer',
      {
        'amount: 5GB': 'amount: 10GB, warn: [80%]',
        'rank: 10': "rank: 20\n    fee: { amount: '9.99', every: 30d }\n    quota: { data: { size: 50MB } }",
      },
      [
        '',
        'offer gold (1 subscription): changed',
        '  rank: 10 → 20',
        '  fee: none → 9.99 every 30d',
        '  grant big, amount: 5 GB → 10 GB',
        '  grant big, warnings: none → at 2 GB left',
        '  quota of data, size: 10 MB → 50 MB',
      ],
    ],
    [
      'offers come and go',
      { '  quiet: {': '  silent: {' },
      ['', 'offer quiet (0 subscriptions): removed', '', 'offer silent (0 subscriptions): added'],
    ],
    [
      'zones, destinations, calendars, counters',
      {
        "'222*'": "'214*'",
        "'4916'": "'4917', '4918', '881'",
        "'881', '882'": "'882'",
        "to: '20:00'": "to: '19:00'",
        "limit: '5.00', then: stop": "limit: '6.00', then: free",
      },
      [
        '',
        'offer gold (1 subscription): changed',
        '  counter spend: limit: 5.00 → 6.00',
        '  counter spend: at the limit: stop → free',
        '',
        'offer payg (12034 subscriptions): changed',
        '  counter spend: limit: 5.00 → 6.00',
        '  counter spend: at the limit: stop → free',
        '  calendar peak (rule 2): hours: 08:00 to 20:00 → 08:00 to 19:00',
        '  zone eu (rule 2): networks: gone, was 222*',
        '  zone eu (rule 2): networks: new, 214*',
        '  destination mobile (rule 4): 1 prefix moved here from far (881)',
        '  destination mobile (rule 4): 2 prefixes added, like 4917',
        '  destination mobile (rule 4): 1 prefix removed (4916)',
        '',
        'offer quiet (0 subscriptions): changed',
        '  counter spend: limit: 5.00 → 6.00',
        '  counter spend: at the limit: stop → free',
        '',
        'beside the offers',
        '  destination far: 1 prefix moved to mobile (881)',
      ],
    ],
    [
      'the time zone is of all that name none',
      { 'Europe/Berlin': 'Europe/Lisbon' },
      ['  time zone: Europe/Berlin → Europe/Lisbon'],
    ],
  ]
  for (const [what, changes, expected] of table)
    t.same(lines(changed(changes)).slice(0, expected.length), expected, what)
  t.match(diffText(diffCatalogs(before, changed({ 'rank: 10': 'rank: 20' }), undefined)), [
    /^catalog \w+ → \w+$/,
    '',
    'offer gold (subscriptions not known): changed',
  ])
  t.end()
})

void t.test('a price that jumps is told with its rule, in both directions, above the threshold alone', t => {
  const dear = changed({ "price: '0.01', per: 1MB": "price: '0.05', per: 1MB" })
  t.match(priceJumps(before, dear, 20), [
    /^tariff.yaml:25: rate data \(of gold, payg\): price: 0.01 per 1 MB → 0.05 per 1 MB, \+400 %; more than 20 %/,
  ])
  t.same(priceJumps(before, dear, 400), [])
  t.equal(priceJumps(dear, before, 20).length, 1)
  t.same(priceJumps(before, changed({ "setup: '0.05'": "setup: '0.06'" }), 20), [])
  t.equal(priceJumps(before, changed({ "setup: '0.05'": "setup: '0.07'" }), 20).length, 1)
  t.match(priceJumps(before, changed({ 'use: [tiers]': 'use: [data]' }), 20), [
    /^tariff.yaml:26: offer payg: rule 3 \(service data\): rate tiers \(0.02 per 1 MB\) → rate data \(0.01 per 1 MB\), -50 %/,
  ])
  // The same price for another amount of units is none.
  t.same(priceJumps(before, changed({ "price: '0.06', per: 60s": "price: '0.001', per: 1s" }), 0), [])
  t.match(priceJumps(changed({ ", setup: '0.05'": '' }), before, 20), [/setup: 0.00 → 0.05, it cost nothing before/])
  t.end()
})

void t.test('exchange rates are compared by what is in force, and told when they jump', t => {
  const by = (exchange: string): Catalog => read(`${base}exchange: ${exchange}\n`)
  const one = by("{ USD: [{ from: 2026-01-01, rate: '0.92' }, { from: 2026-12-01, rate: '0.95' }] }")
  const table: [from: Catalog, to: Catalog, expect: string[]][] = [
    [
      before,
      one,
      ['exchange rate USD from 2025-12-31T23:00Z: new, 0.92', 'exchange rate USD from 2026-11-30T23:00Z: new, 0.95'],
    ],
    [
      one,
      before,
      [
        'exchange rate USD from 2025-12-31T23:00Z: gone, was 0.92',
        'exchange rate USD from 2026-11-30T23:00Z: gone, was 0.95',
      ],
    ],
    [
      one,
      by(
        "{ USD: [{ from: 2026-01-01, rate: '0.920' }, { from: 2026-06-01, rate: '0.92' }, { from: 2026-12-01, rate: '0.969' }] }",
      ),
      ['exchange rate USD from 2026-11-30T23:00Z: 0.95 → 0.969, +2 %'],
    ],
    [
      one,
      by(
        "{ USD: [{ from: 2026-01-01, rate: '0.92' }, { from: 2026-06-01, rate: '9.2' }, { from: 2026-12-01, rate: '0.95' }] }",
      ),
      ['exchange rate USD from 2026-05-31T22:00Z: 0.92 → 9.20, +900 %'],
    ],
  ]
  for (const [from, to, expect] of table)
    t.same(
      diffText(diffCatalogs(from, to, undefined)).slice(1),
      expect.map(each => `  ${each}`),
    )
  t.same(
    table.map(([from, to]) => priceJumps(from, to, 20)),
    [
      [],
      [],
      [],
      ['exchange rate USD from 2026-05-31T22:00Z: 0.92 → 9.20, +900 %; more than 20 %; if it is meant, go on'],
    ],
  )
  t.not(one.version, before.version)
  t.end()
})
