import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { loadCatalog, readCatalog, type CatalogOutcome } from '../../src/rating/load.js'
import { linesOf, plant } from '../support/mistake.js'
import {
  fullCatalog,
  fullDestinations,
  fullMistakes,
  plainCatalog,
  plainMistakes,
} from '../support/planted-catalogs.js'
import { seed } from '../support/seed.js'

const good = plainCatalog

const read = (...texts: string[]): CatalogOutcome =>
  readCatalog(texts.map((text, index) => ({ file: index === 0 ? 'catalog.yaml' : `catalog-${index}.yaml`, text })))

const faultsOf = (outcome: CatalogOutcome): string[] => ('faults' in outcome ? linesOf(outcome.faults) : [])

/** The one with something of everything, and the CSV file beside it. */
const readFull = (text: string, csv = fullDestinations): CatalogOutcome =>
  readCatalog([{ file: 'catalog.yaml', text }], file => {
    if (file !== 'destinations.csv') throw new Error('no such file')
    return csv
  })

const planted = [
  { good, mistakes: plainMistakes, check: (text: string) => read(text) },
  { good: fullCatalog, mistakes: fullMistakes, check: (text: string) => readFull(text) },
]

t.test('the good catalogs are good', t => {
  for (const { good: text, check } of planted) {
    const outcome = check(text)
    t.ok('catalog' in outcome, faultsOf(outcome).join('\n'))
    t.same(linesOf(outcome.warnings), [])
  }
  t.end()
})

t.test('every planted mistake is told with its place and a hint, and refuses the catalog', t => {
  for (const { good: text, mistakes, check } of planted) {
    for (const mistake of mistakes) {
      const { text: wrong, line } = plant('catalog.yaml', text, mistake)
      const lines = faultsOf(check(wrong))
      t.ok(lines.includes(line), `${mistake.replace} → ${mistake.by}`, { expected: line, found: lines })
    }
  }
  t.end()
})

t.test('one mistake makes one fault', t => {
  const follows = ['rates:', '  voice: {', '  voice-payg:']
  for (const { good: text, mistakes, check } of planted) {
    for (const mistake of mistakes.filter(({ replace }) => !follows.includes(replace))) {
      const lines = faultsOf(check(plant('catalog.yaml', text, mistake).text))
      t.equal(lines.length, 1, lines.join('\n'))
    }
  }
  t.end()
})

t.test('what is read is what is written', t => {
  const outcome = readFull(fullCatalog)
  if (!('catalog' in outcome)) throw new Error(faultsOf(outcome).join('\n'))
  const { catalog } = outcome
  t.match(catalog, { currency: 'EUR', timezone: 'Europe/Berlin', lowBalance: [1_000_000n, 200_000n] })
  t.same(catalog.services.get('data')?.quota, {
    ...{ size: 10_000_000n, min: 100_000n, max: 100_000_000n },
    ...{ target: 300, validity: 7_200, threshold: 0 },
  })
  t.same(catalog.services.get('shop')?.quota.max, 50_000_000n)
  t.same(
    [...catalog.zones.values()],
    [
      { name: 'home', plmns: ['26201', '26202'] },
      { name: 'eu', plmns: ['208*', '22210'] },
    ],
  )
  t.same(
    ['4930123', '4915123', '3361', '3312', '44'].map(number => catalog.destinations.find(number)),
    [...['de', 'de-mobile', 'fr-mobile', 'fr'], undefined],
  )
  t.same(catalog.calendars.get('peak'), {
    ...{ name: 'peak', timezone: 'Europe/Berlin', days: new Set([1, 2, 3, 4, 5]), time: { from: 480, to: 1_200 } },
    ...{ only: undefined, except: ['01-01', '02-29', '2026-08-31', '2026-12-25'], priority: 2 },
    ...{ since: undefined, until: undefined },
  })
  t.match(catalog.calendars.get('promo'), {
    ...{ since: Date.parse('2026-12-01T00:00+01:00'), until: Date.parse('2027-01-01T00:00+01:00'), time: undefined },
  })
  t.match(catalog.counters.get('day-roaming'), {
    ...{ unit: 'money', per: 'subscriber', reset: { kind: 'day' }, limit: 5_000_000n, then: 'stop', optIn: true },
    ...{ where: { services: new Set(['data']), zones: new Set(['eu']) }, steps: [50, 80, 100], tiers: false },
  })
  t.match(catalog.counters.get('month-data'), { tiers: true, where: {}, limit: undefined })
  t.match(catalog.counters.get('member-data'), { reset: { kind: 'rolling', every: 30 * 86_400_000 }, then: 'free' })
  t.match(catalog.rates.get('data-tiers')?.terms, {
    ...{ step: 1_000_000n, counter: 'month-data', mode: 'graduated', round: 'up', decimals: 6 },
    tiers: [
      { upTo: 1_000_000_000n, amount: 20_000n, per: 1_000_000n },
      { upTo: 2_000_000_000n, amount: 10_000n, per: 1_000_000n },
      { upTo: undefined, amount: 5_000n, per: 1_000_000n },
    ],
  })
  t.match(catalog.rates.get('data-home')?.terms, {
    cap: { amount: 2_000_000n, then: 'free' },
    round: 'nearest',
    decimals: 2,
  })
  t.match(catalog.rates.get('data-eu')?.terms, {
    cap: { amount: 3_000_000n, then: 'stop' },
    setup: 50_000n,
    minimum: 100_000n,
  })
  t.match(catalog.rates.get('shop-share')?.terms, { step: 1n, tiers: [{ amount: 25_000n, per: 1_000_000n }] })
  t.end()
})

t.test('above a cap a session goes on free, unless it says stop', t => {
  const stops = "cap: { amount: '3.00', then: stop }"
  for (const { cap, then } of [
    { cap: stops, then: 'stop' },
    { cap: "cap: { amount: '3.00' }", then: 'free' },
    { cap: "cap: '3.00'", then: 'free' },
  ]) {
    const outcome = readFull(fullCatalog.replace(stops, cap))
    t.ok('catalog' in outcome)
    if ('catalog' in outcome) t.same(outcome.catalog.rates.get('data-eu')?.cap, { amount: 3_000_000n, then })
  }
  t.end()
})

t.test('grants, rules and tests are read with all they can have', t => {
  const outcome = readFull(fullCatalog)
  if (!('catalog' in outcome)) throw new Error(faultsOf(outcome).join('\n'))
  const { buckets, offers, tests } = outcome.catalog
  const offer = offers.get('all')!
  t.same(buckets.get('data-5gb')?.pays, new Map([['data', { each: 1_000_000n, takes: 1_000_000n }]]))
  t.same(buckets.get('data-5gb')?.where, { zones: new Set(['home', 'eu']) })
  t.same(buckets.get('points')?.pays.get('voice'), { each: 60n, takes: 2n })
  t.match(buckets.get('bonus'), { unit: 'money', pays: new Map(), where: { services: new Set(['voice', 'sms']) } })
  const [bundle, points, bonus, weekend] = offer.grants
  t.match(bundle, {
    ...{ priority: 10, blocker: true, paid: false, warn: [1_000_000_000n, 0n] },
    life: { from: undefined, end: { kind: 'fee' } },
    rollover: { min: 100_000_000n, max: 2_000_000_000n, life: 30 * 86_400_000, priority: 10 },
  })
  t.match(points, { amount: 1_000n, paid: true, life: { end: { kind: 'never' } } })
  t.match(bonus, { amount: 5_000_000n, life: { end: { kind: 'after', start: 'use' } } })
  t.match(weekend, {
    ...{ amount: 3_600n, warn: [600n, 0n] },
    life: {
      from: Date.parse('2026-12-01T00:00+01:00'),
      end: { kind: 'period', reset: 'week', timezone: 'Europe/Rome' },
    },
  })
  t.match(offer, {
    ...{ rank: 10, eligible: new Map([['segment', new Set(['consumer', 'vip'])]]) },
    sold: { from: Date.parse('2026-01-01T00:00+01:00'), until: Date.parse('2027-01-01T00:00+01:00') },
  })
  t.same(offer.rules[0]?.where, {
    services: new Set(['data']),
    apns: new Set(['iot.*']),
    rats: new Set(['nb-iot', 'lte-m']),
    account: new Map([['segment', new Set(['vip'])]]),
  })
  t.match(offer.rules[0], { effect: { kind: 'deny', code: 5003 }, place: 'catalog.yaml:56' })
  t.same(offer.rules[3]?.effect, { kind: 'use', buckets: [], rate: 'data-home', afterRate: ['data-5gb'] })
  t.match(tests[0], {
    ...{ at: Date.parse('2026-12-24T23:50+01:00'), offers: ['all'], balance: 5_000_000n, creditLimit: 1_000_000n },
    ...{ buckets: new Map([['data-5gb', 10n ** 9n], ['bonus', 500_000n]]) }, // prettier-ignore
    ...{ counters: new Map([['month-data', 995_000_000n], ['day-roaming', 1_000_000n]]) }, // prettier-ignore
    uses: [{ service: 'data', amount: 10n ** 9n, over: 3_600_000, plmn: '20801', rat: '6', ratingGroup: 10 }],
    expect: { cost: 0n, result: 'granted', left: new Map([['data-5gb', 0n]]) },
  })
  t.match(tests[1], { balance: 100_000_000n, uses: [{ called: '4915112345678', over: 90_000 }, { amount: 1n }] })
  t.end()
})

t.test('a wrong row of a CSV file is told with its line', t => {
  const table = [
    { csv: 'prefix;destination\n33,fr\n336,fr-mobile\n', expect: ['destinations.csv:1:1: the first line is not `prefix,destination`; write it above the rows'] },
    { csv: `${fullDestinations}+41,ch\n`, expect: ['destinations.csv:4:1: `+41` is not a prefix; write its digits without + and blanks, like 4915'] },
    { csv: `${fullDestinations}41\n`, expect: ['destinations.csv:4:1: `` cannot be the name of a destination; write rows like 4915,de-mobile'] },
    { csv: `${fullDestinations}41,Schweiz (mobil)\n`, expect: ['destinations.csv:4:4: `Schweiz (mobil)` cannot be the name of a destination; write rows like 4915,de-mobile'] },
    { csv: `${fullDestinations}\n49,de\n`, expect: ['destinations.csv:5:1: the prefix 49 is already given to `de` at catalog.yaml:13:20; give it to one destination'] },
    { csv: `${fullDestinations}33,de\r\n`, expect: ['destinations.csv:4:1: the prefix 33 is already given to `fr` at destinations.csv:2; give it to one destination'] },
  ] // prettier-ignore
  for (const { csv, expect } of table) t.same(faultsOf(readFull(fullCatalog, csv)), expect)
  t.equal('catalog' in readFull(fullCatalog, `\ufeff${fullDestinations.replaceAll('\n', '\r\n')}`), true)
  const many = faultsOf(readFull(fullCatalog, fullDestinations + 'x,y\n'.repeat(100)))
  t.equal(many.length, 21)
  t.match(many[0], 'catalog.yaml:15:20: destinations.csv has 80 more faults like these')
  t.end()
})

t.test('currencies are not mixed', t => {
  t.same(faultsOf(read(good, 'currency: USD\n')), [
    'catalog-1.yaml:1:11: USD is mixed with the EUR of catalog.yaml:1:11; a catalog has one currency: move what is sold in USD to a catalog of its own',
  ])
  t.end()
})

t.test('an exchange rate by which something could not be charged is refused', t => {
  const catalog = (rate: string, rates: string, more = ''): string => `
currency: EUR
services: { data: { context: a@b, unit: octets }, voice: { context: c@d, unit: seconds } }
${more}
rates: ${rates}
offers: { all: { grants: [{ bucket: bonus, unit: money, amount: '5.00', expires: never }], rules: [] } }
exchange: { USD: { from: 2026-01-01, rate: '${rate}' } }
`
  const month = 'counters: { month: { unit: octets, per: account, reset: month } }'
  const capped = "counters: { spend: { unit: money, per: account, reset: month, limit: '0.01' } }"
  const tiers = (step: string): string =>
    `{ d: { unit: octets, per: 1GB, step: ${step}, counter: month, tiers: [{ upTo: 1GB, price: '5.00' }, { price: '1.00' }] } }`
  const table: [text: string, expect: string | undefined][] = [
    [
      // 5.434783 a GB would be 5.434783 micros a kB.
      catalog('0.92', tiers('1kB'), month),
      'in USD the rate `d` cannot be charged: tier 1 makes a step of 1 kB at 5.434783 per 1 GB cost 0.000005434…, which is no whole multiple of 0.000001; on a counter each step must cost one; use a larger step, or check the exchange rate',
    ],
    // 5.434783 → 5.435000 a GB, less than a thousandth more.
    [catalog('0.92', tiers('1MB'), month), undefined],
    [
      catalog('0.92', "{ d: { unit: octets, per: 1GB, step: 1MB, price: '1.00', cap: '0.00001' } }").replace(
        '0.92',
        '20',
      ),
      'in USD the rate `d` cannot be charged: a cap of 0.00 makes all free; write a cap above 0, or a rule with free, or check the exchange rate',
    ],
    [
      catalog('0.00000001', "{ d: { unit: events, price: '0.01', minimum: '900.00' } }"),
      'in USD the rate `d` cannot be charged: the minimum reaches 2^53 micros; write a lower one, or check the exchange rate',
    ],
    [
      catalog('20000', '{}', capped),
      'in USD the limit of the counter `spend` 0.01 becomes nothing; check the exchange rate',
    ],
    [catalog('6000000', '{}'), 'in USD the grant of `bonus` 5.00 becomes nothing; check the exchange rate'],
    [
      catalog('0.0000000001', '{}'),
      'in USD the grant of `bonus` 5.00 becomes more than can be counted; check the exchange rate',
    ],
  ]
  for (const [text, expect] of table) {
    const place = 'catalog.yaml:7:44: exchange.USD.rate: '
    t.same(faultsOf(read(text)), expect === undefined ? [] : [place + expect])
  }
  t.end()
})

t.test('exchange rates are read with their instants', t => {
  const outcome = readFull(fullCatalog)
  if (!('catalog' in outcome)) throw new Error('refused')
  const { exchange, tests } = outcome.catalog
  t.same(
    [...exchange],
    [
      [
        'USD',
        [
          { from: Date.UTC(2025, 11, 31, 23), rate: 9_200_000_000n },
          { from: Date.UTC(2026, 10, 30, 23), rate: 9_500_000_000n },
        ],
      ],
      ['JPY', [{ from: Date.UTC(2025, 11, 31, 23), rate: 61_000_000n }]],
    ],
  )
  t.same(
    tests.map(({ currency }) => currency),
    ['EUR', 'USD'],
  )
  t.end()
})

t.test('all faults of all files are told at once, in the order of the text', t => {
  const first = good.replace('"0.01"', '0.01').replace('rank: 10', 'rnak: 10')
  const second = 'currency: EUR\nrates:\n  data-payg: { unit: octets, price: "1", per: 1MB, step: 1MB }\n'
  t.same(faultsOf(read(first, second)), [
    'catalog-1.yaml:1:11: currency is already given at catalog.yaml:1:11; remove it here',
    'catalog-1.yaml:3:3: `data-payg` is already defined at catalog.yaml:6:3; rename or remove one of them',
    'catalog.yaml:6:37: rates.data-payg.price: 0.01 is a bare number; quote it: "0.01"',
    'catalog.yaml:15:5: unknown key `rnak` in offers.bundle; did you mean `rank`?',
  ])
  t.end()
})

t.test('broken syntax is told with its place, and nothing is guessed about the rest', t => {
  const lines = faultsOf(read(good.replace('step: 100kB }', 'step: 100kB'), 'a: [1\n'))
  t.ok(lines.length >= 2)
  t.ok(lines.every(line => /^catalog(-1)?\.yaml:\d+:\d+: /.test(line)))
  t.notOk(lines.some(line => line.includes('there is no')))
  t.match(faultsOf(read(`${good}---\na: 1\n`)), [/^catalog.yaml:21:1: .*; write each into a file of its own$/])
  t.end()
})

t.test('a file cannot be a bomb', t => {
  const aliases = `x: &x 1\ny: [${'*x, '.repeat(1_001)}]\n`
  t.match(faultsOf(read(aliases)), [/more than 1000 aliases/])
  t.match(faultsOf(read(`# ${'x'.repeat(8 * 1024 * 1024)}`)), [
    /^catalog.yaml:1:1: the file is larger than 8388608 octets; split/,
  ])
  // A file inside of itself is read as deep as catalogs are.
  t.ok(faultsOf(read('&a\nservices: *a\noffers: *a\nrates: *a\n')).some(line => line.includes('lacks `currency`')))
  t.end()
})

t.test('what is allowed and probably not meant is a warning', t => {
  const table = [
    {
      text: good.replace(
        '      - { service: voice',
        '      - { service: data, ratingGroup: [10], deny: true }\n      - { service: voice',
      ),
      expect: 'catalog.yaml:13:9: offers.payg.rules[2] is never reached: rule 2 takes all that it matches; move it up',
    },
    {
      text: good.replace('use: [voice-payg]', 'deny: true'),
      expect: 'catalog.yaml:7:3: no rule uses the rate `voice-payg`; write it in a rule, or remove it',
    },
    {
      text: good.replace('[data-5gb, data-payg]', '[data-payg]'),
      expect: 'catalog.yaml:18:19: no rule uses the bucket `data-5gb`; write it in a rule, or remove the grant',
    },
    {
      text: `${good}  empty: {}\n`,
      expect: 'catalog.yaml:21:3: the offer `empty` has no rules; all its use is refused with 5031',
    },
  ]
  for (const { text, expect } of table) {
    const outcome = read(text)
    t.ok('catalog' in outcome)
    t.same(linesOf(outcome.warnings), [expect])
  }
  t.end()
})

/** Of fullCatalog with one change. */
const doubts: readonly { readonly replace: string; readonly by: string; readonly expect: readonly string[] }[] = [
  {
    replace: `{ service: data, zone: eu, when: [holiday, promo], use: [data-5gb, data-home] }`,
    by: `{ service: data, zone: eu, when: [holiday, promo], use: [data-5gb, data-home] }\n      - { service: data, zone: eu, when: holiday, rat: nr, use: [data-home] }`,
    expect: [`catalog.yaml:59:9: offers.all.rules[3] is never reached: rule 3 takes all that it matches; move it up`],
  },
  {
    replace: `{ service: data, subscriber: { card: [child] }, use: [data-home, data-5gb] }`,
    by: `{ service: data, subscriber: { card: [child] }, use: [data-home, data-5gb] }\n      - { service: data, zone: home, subscriber: { card: child, age: teen }, deny: true }`,
    expect: [`catalog.yaml:60:9: offers.all.rules[4] is never reached: rule 4 takes all that it matches; move it up`],
  },
  {
    replace: `apn: iot.*, rat: [nb-iot, 9], account: { segment: vip }, deny: 5003 }`,
    by: `apn: iot.*, rat: [nb-iot, 9], account: { segment: vip }, deny: 5003 }\n      - { service: data, apn: IOT.meter, rat: lte-m, account: { segment: vip }, free: true }`,
    expect: [`catalog.yaml:57:9: offers.all.rules[1] is never reached: rule 1 takes all that it matches; move it up`],
  },
  {
    replace: `      - { service: voice, destination: [de, de-mobile], use: [weekend, points, voice-bands] }\n`,
    by: `      - { service: voice, destination: [de, de-mobile], when: peak, use: [weekend, points, voice-bands] }\n`,
    expect: [
      `catalog.yaml:61:9: offer \`all\`, service \`voice\`: no rule like this for Mon-Fri 06:00-08:00, Mon-Fri 20:00-22:00, Sat-Sun 06:00-22:00; daily 06:00-22:00 on holidays de; daily 06:00-22:00 on holidays bank; add a rule without \`when\` below, or leave these hours to an offer of larger rank`,
    ],
  },
  {
    replace: `{ service: shop, use: shop-share }`,
    by: `{ service: shop, when: [peak, holiday], use: shop-share }`,
    expect: [
      `catalog.yaml:65:9: offer \`all\`, service \`shop\`: no rule like this for Mon-Thu 20:00-08:00, Fri 20:00 to Mon 08:00; at all times on holidays bank; add a rule without \`when\` below, or leave these hours to an offer of larger rank`,
    ],
  },
  {
    replace: `{ service: shop, use: shop-share }`,
    by: `{ service: shop, when: night, use: shop-share }\n      - { service: shop, when: peak, account: { segment: vip }, use: shop-share }`,
    expect: [
      `catalog.yaml:65:9: offer \`all\`, service \`shop\`: no rule like this for daily 06:00-22:00; add a rule without \`when\` below, or leave these hours to an offer of larger rank`,
      `catalog.yaml:66:9: offer \`all\`, service \`shop\`: no rule like this for Mon-Fri 06:00-08:00, Mon-Fri 20:00-22:00, Sat-Sun 06:00-22:00; daily 06:00-22:00 on holidays de; daily 06:00-22:00 on holidays bank; add a rule without \`when\` below, or leave these hours to an offer of larger rank`,
    ],
  },
  {
    replace: `{ service: shop, use: shop-share }`,
    by: `{ service: shop, when: night, use: shop-share }\n      - { service: shop, when: promo, free: true }\n      - { service: shop, deny: true }`,
    expect: [
      `catalog.yaml:66:9: the calendars \`night\` and \`promo\` overlap daily 22:00-06:00, where rule 10 decides; give them priorities, or hours that do not overlap`,
    ],
  },
  {
    replace: `      - { service: voice, destination: [fr, fr-mobile], free: true }\n`,
    by: `      - { service: voice, destination: fr, free: true }\n`,
    expect: [
      `catalog.yaml:61:9: offer \`all\`, service \`voice\`: no rule prices the destination fr-mobile (1 prefix); name them in a rule, or add a rule without \`destination\` below`,
    ],
  },
  {
    replace: `      - { service: voice, destination: [de, de-mobile], use: [weekend, points, voice-bands] }\n      - { service: voice, destination: [fr, fr-mobile], free: true }\n`,
    by: `      - { service: voice, destination: [de, de-mobile], use: [weekend, points, voice-bands] }\n`,
    expect: [
      `catalog.yaml:61:9: offer \`all\`, service \`voice\`: no rule prices the destinations fr, fr-mobile (2 prefixes); name them in a rule, or add a rule without \`destination\` below`,
    ],
  },
  {
    replace: `zones:\n`,
    by: `zones:\n  us: { plmn: ['310*'] }\n`,
    expect: [`catalog.yaml:10:3: nothing asks for the zone \`us\`; remove it, or use it in a rule`],
  },
  {
    replace: `holidays:\n`,
    by: `holidays:\n  us: ['07-04']\n`,
    expect: [
      `catalog.yaml:17:3: no calendar uses the holidays \`us\`; remove them, or write them in \`only\` or \`except\``,
    ],
  },
  {
    replace: `calendars:\n`,
    by: `calendars:\n  lunch: { from: '12:00', to: '13:00' }\n`,
    expect: [`catalog.yaml:20:3: nothing asks for the calendar \`lunch\`; remove it, or use it in a rule`],
  },
  {
    replace: `calendars:\n`,
    by: `calendars:\n  maintenance: { from: '12:00', to: '13:00', days: sun, priority: 0 }\n`,
    expect: [],
  },
  {
    replace: `limit: 5GB, then: free }`,
    by: `}`,
    expect: [
      `catalog.yaml:27:3: no rate stands on the counter \`member-data\`, and it has no limit; it only counts: add \`limit:\`, use it in a rate, or remove it`,
    ],
  },
  {
    replace: `expires: never, paid: true }`,
    by: `expires: never, paid: true, blocker: true }`,
    expect: [`catalog.yaml:52:163: the blocker \`points\` never ends; nothing behind it pays as long as it is held`],
  },
]

t.test('doubtful rules, hours and prefixes are told, and what nothing uses', t => {
  for (const { replace, by, expect } of doubts) {
    t.equal(fullCatalog.split(replace).length, 2, replace)
    const outcome = readFull(fullCatalog.replace(replace, () => by))
    t.same(faultsOf(outcome), [])
    t.same(linesOf(outcome.warnings), expect, by)
  }
  t.end()
})

t.test('what an offer leaves to others is no gap', t => {
  const leftOut = fullCatalog
    .replace('      - { service: voice, destination: [fr, fr-mobile], free: true }\n', '')
    .replace('{ service: shop, use: shop-share }', '{ service: shop, when: night, use: shop-share }')
  t.equal(readFull(leftOut).warnings.length, 2)
  const base = `  base:
    rank: 20
    rules:
      - { service: voice, use: [voice-bands] }
      - { service: shop, use: [shop-share] }
tests:`
  const table = [
    { what: 'an offer of larger rank', text: leftOut.replace('tests:', base), left: 0 },
    { what: 'one of the same rank', text: leftOut.replace('tests:', base.replace('20', '10')), left: 2 },
    {
      what: 'a rule with buckets alone',
      text: fullCatalog.replace(
        'tests:',
        '  more:\n    rank: 10\n    rules:\n      - { service: voice, destination: fr, when: night, use: [points] }\ntests:',
      ),
      left: 0,
    },
    {
      what: 'an offer that only gives something',
      text: fullCatalog.replace(
        'tests:',
        "  gift:\n    grants:\n      - { bucket: gift, unit: money, amount: '5.00', expires: 30d }\ntests:",
      ),
      left: 0,
    },
  ]
  for (const { what, text, left } of table) {
    const outcome = readFull(text)
    t.same(faultsOf(outcome), [], what)
    t.equal(outcome.warnings.length, left, `${what}: ${linesOf(outcome.warnings).join('; ')}`)
  }
  t.end()
})

t.test('property: whatever stands in a file, there is a catalog or a fault with a place in the text', t => {
  const parts = ['\n', '{', '[]', '&a ', '*a', '- ', ': ', '"', '!!map ', '? ', '\t', '<<: ', 'none', '0', '%', '2026-']
  for (const { good: text, check } of planted) {
    const edit = fc.record({
      at: fc.nat(text.length),
      remove: fc.nat(12),
      insert: fc.oneof(fc.string({ maxLength: 6 }), fc.constantFrom(...parts)),
    })
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), edits => {
        let changed = text
        for (const { at, remove, insert } of edits) changed = changed.slice(0, at) + insert + changed.slice(at + remove)
        const outcome = check(changed)
        if ('catalog' in outcome) return outcome.catalog.services.size <= 4
        const lines = changed.split(/\n/)
        return (
          outcome.faults.length > 0 &&
          outcome.faults.every(({ line, column }) => column >= 1 && column <= (lines[line - 1]?.length ?? -1) + 1)
        )
      }),
      { numRuns: 500, seed },
    )
  }
  t.end()
})

t.test('the version is that of the content, whatever its form', t => {
  const version = (...texts: string[]): string => {
    const outcome = read(...texts)
    return 'catalog' in outcome ? outcome.catalog.version : faultsOf(outcome).join('\n')
  }
  t.match(version(good), /^[0-9a-f]{12}$/)
  const [top = '', offers = ''] = good.split('offers:')
  for (const same of [[`# a comment\n${good}`], [good.replace('100kB }', '0.1MB }')], [`offers:${offers}`, top]]) {
    t.equal(version(...same), version(good))
  }
  const lines = good.split('\n')
  const swapped = [...lines.slice(0, 10), lines[11], lines[10], ...lines.slice(12)].join('\n')
  for (const other of [
    good.replace('"0.01"', '"0.02"'),
    good.replace('rank: 10', 'rank: 11'),
    good.replace('free: true', 'free: 4011'),
    swapped,
  ]) {
    t.not(version(other), version(good))
    t.match(version(other), /^[0-9a-f]{12}$/)
  }
  t.end()
})

t.test('a folder is read file by file; a missing or empty one is a fault', t => {
  const folder = t.testdir({
    'b.yaml': good.slice(good.indexOf('offers:')),
    'a.yaml': good.slice(0, good.indexOf('offers:')),
  })
  writeFileSync(join(folder, 'note.txt'), 'not yaml: [')
  const outcome = loadCatalog(folder)
  t.ok('catalog' in outcome && outcome.catalog.offers.size === 2, faultsOf(outcome).join('\n'))
  mkdirSync(join(folder, 'empty'))
  t.match(faultsOf(loadCatalog(join(folder, 'empty'))), [/there is no \*\.yaml file/])
  t.match(faultsOf(loadCatalog(join(folder, 'gone'))), [/cannot be read: ENOENT/])
  t.end()
})

t.test('of thousands of unknown names the first are searched for, and all are told', t => {
  const rules = Array.from({ length: 1_000 }, () => '      - { service: data, zone: hme, free: true }')
  const zones =
    "currency: EUR\nservices: { data: { context: a@b, unit: octets } }\nzones: { home: { plmn: ['26201'] } }"
  const told = faultsOf(
    readCatalog([{ file: 'c.yaml', text: `${zones}\noffers:\n  o:\n    rules:\n${rules.join('\n')}\n` }]),
  )
  t.equal(told.length, 1_000)
  t.match(told[0], /there is no zone `hme`; did you mean `home`\?$/)
  t.match(told[999], /there is no zone `hme`; known: home$/)
  t.end()
})
