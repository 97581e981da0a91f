import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { checkConfiguration } from '../../src/rating/check.js'
import { loadCatalog, readCatalog, type CatalogOutcome } from '../../src/rating/load.js'
import { linesOf, plant, type Mistake } from '../support/mistake.js'

const good = `currency: EUR
services:
  data: { context: 32251@3gpp.org, unit: octets, quota: { size: 10MB, min: 100kB, max: 100MB, validity: 1h, threshold: 20% } }
  voice: { context: 32260@3gpp.org, unit: seconds }
rates:
  data-payg: { unit: octets, price: "0.01", per: 1MB, step: 100kB }
  voice-payg: { unit: seconds, price: "0.06", per: 60s, first: 30s, step: 1s }
offers:
  payg:
    rules:
      - { service: data, ratingGroup: 30, free: true }
      - { service: data, ratingGroup: [10, none], use: [data-payg] }
      - { service: voice, use: [voice-payg] }
  bundle:
    rank: 10
    fee: { amount: "10.00", every: 30d }
    grants:
      - { bucket: data-5gb, amount: 5GB, for: data, expires: 30d }
    rules:
      - { service: data, use: [data-5gb, data-payg] }
`

const read = (...texts: string[]): CatalogOutcome =>
  readCatalog(texts.map((text, index) => ({ file: index === 0 ? 'catalog.yaml' : `catalog-${index}.yaml`, text })))

const faultsOf = (outcome: CatalogOutcome): string[] => ('faults' in outcome ? linesOf(outcome.faults) : [])

const mistakes: Mistake[] = [
  // Money
  { replace: '"0.01"', by: '«0.01', expect: 'rates.data-payg.price: 0.01 is a bare number; quote it: "0.01"' },
  { replace: '"10.00"', by: '«10', expect: 'offers.bundle.fee.amount: 10 is a bare number; quote it: "10"' },
  {
    replace: '"0.01"',
    by: '«"0,01"',
    expect:
      'rates.data-payg.price: `0,01` is not an amount of money; write a quoted decimal with at most six decimals, like "0.01"',
  },
  {
    replace: '"0.01"',
    by: '«"0.0000001"',
    expect:
      'rates.data-payg.price: `0.0000001` is not an amount of money; write a quoted decimal with at most six decimals, like "0.01"',
  },
  { replace: '"0.01"', by: '«"-0.01"', expect: 'rates.data-payg.price is negative; write an amount of 0 or more' },
  {
    replace: '"0.01"',
    by: '«"0.00"',
    expect: 'rates.data-payg.price is 0; write `free: true` in the rule instead of a rate',
  },
  {
    replace: 'EUR',
    by: '«Euro',
    expect: 'currency: `Euro` is not a currency; write its three capital letters, like EUR',
  },
  { replace: 'currency: EUR\n', by: '«', expect: 'the catalog lacks `currency`; add `currency: EUR`' },
  // Quantities
  { replace: '100kB }', by: '«100KB }', expect: 'rates.data-payg.step: `100KB` is not a size; write 100kB or 100KiB' },
  {
    replace: '1MB, step',
    by: '«1000000, step',
    expect:
      'rates.data-payg.per: `1000000` is not a size; write a size like 100kB (10^5 octets), 100KiB (102,400 octets), 5GB or 20B',
  },
  {
    replace: 'first: 30s',
    by: 'first: «30',
    expect: 'rates.voice-payg.first: `30` is not a time in whole seconds; write 30s',
  },
  {
    replace: 'step: 1s',
    by: 'step: «500ms',
    expect: 'rates.voice-payg.step: `500ms` is not a time in whole seconds; write a duration like 30s, 10m, 1h or 30d',
  },
  { replace: '100kB }', by: '«0B }', expect: 'rates.data-payg.step is 0; write at least 1' },
  {
    replace: 'validity: 1h',
    by: 'validity: «0s',
    expect: 'services.data.quota.validity is below 1s; write at least 1s',
  },
  {
    replace: '20%',
    by: '«20',
    expect: 'services.data.quota.threshold: `20` is not a share from 0% to 100%; write it like 20%',
  },
  { replace: 'max: 100MB', by: 'max: «1MB', expect: 'services.data.quota: size is above max; write min ≤ size ≤ max' },
  {
    replace: '"0.01", per: 1MB, step: 100kB',
    by: '"9.99", per: 1TiB, step: «1B',
    expect: 'rates.data-payg: 1 octets cost 624375/68719476736 micros, too fine to be exact; use a larger step',
  },
  {
    replace: 'price: "0.01", per: 1MB, step: 100kB',
    by: 'price: "100.00", per: 1MB, step: «100kB',
    expect:
      'rates.data-payg: the largest line (100000000000000 octets) would cost 10000000000000000 micros, which reaches 2^53; write a lower price, or the price of more units in `per`',
  },
  // Keys and names
  { replace: 'rates:', by: '«rate:', expect: 'unknown key `rate` in the file; did you mean `rates`?' },
  {
    replace: 'ratingGroup: 30',
    by: '«rating-group: 30',
    expect: 'unknown key `rating-group` in offers.payg.rules[0]; did you mean `ratingGroup`?',
  },
  {
    replace: 'rank: 10',
    by: '«weight: 10',
    expect: 'unknown key `weight` in offers.bundle; known: rank, fee, grants, rules, quota, finalUnit',
  },
  {
    replace: '{ unit: octets, price: "0.01", per: 1MB, step: 100kB }',
    by: '«{ unit: octets, price: "0.01", per: 1MB }',
    expect: 'rates.data-payg lacks `step`; add `step:` in octets',
  },
  {
    replace: '{ context: 32260@3gpp.org, unit',
    by: '«{ unit',
    expect: 'services.voice lacks `context`; add `context:`',
  },
  {
    replace: '  voice-payg:',
    by: '  «voice payg:',
    expect:
      '`voice payg` cannot be a name; use up to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit',
  },
  {
    replace: 'rank: 10',
    by: 'rank: «first',
    expect: 'offers.bundle.rank: `first` is not a whole number; write a number from 0 to 1000000',
  },
  {
    replace: 'unit: octets, price',
    by: 'unit: «bytes, price',
    expect: 'rates.data-payg.unit: `bytes` is not one of octets, seconds, events; write one of octets, seconds, events',
  },
  {
    replace: '[data-payg]',
    by: '[«data-payq]',
    expect: 'there is no rate or bucket `data-payq`; did you mean `data-payg`?',
  },
  { replace: 'service: voice', by: 'service: «voce', expect: 'there is no service `voce`; did you mean `voice`?' },
  { replace: 'for: data', by: 'for: «video', expect: 'there is no service `video`; known: data, voice' },
  // Rules
  {
    replace: '[data-payg]',
    by: '[«voice-payg]',
    expect: 'the rate `voice-payg` counts seconds, but the service `data` octets; use a rate of octets',
  },
  {
    replace: 'service: voice, use: [',
    by: 'use: [«',
    expect: 'the rate `voice-payg` counts seconds, but the service `data` octets; add `service:` to the rule',
  },
  {
    replace: 'voice, use: [voice-payg]',
    by: 'voice, use: [«data-5gb, voice-payg]',
    expect: 'the bucket `data-5gb` is for data, not for the service `voice`; add voice to `for` of its grants',
  },
  {
    replace: '{ service: data, ratingGroup: 30, free: true',
    by: '«{ service: data, ratingGroup: 30, free: true, deny: true',
    expect: 'offers.payg.rules[0] has free and deny; write exactly one of use, free, deny',
  },
  {
    replace: '{ service: data, ratingGroup: [10, none], use',
    by: '«{ service: data, ratingGroup: [10, none], deny: true, use',
    expect: 'offers.payg.rules[1] has use and deny; write exactly one of use, free, deny',
  },
  {
    replace: '{ service: data, ratingGroup: 30, free: true',
    by: '«{ service: data, ratingGroup: 30',
    expect: 'offers.payg.rules[0] says nothing to do; write exactly one of use, free, deny',
  },
  {
    replace: 'free: true',
    by: 'deny: «4012',
    expect:
      'offers.payg.rules[0].deny: `4012` is not true or 5003; write true (4010), or 5003 to black-list; else remove the key',
  },
  {
    replace: 'free: true',
    by: 'free: «false',
    expect: 'offers.payg.rules[0].free: `false` is not true or 4011; write true, or 4011 for clients that need it',
  },
  {
    replace: '[data-5gb, data-payg]',
    by: '[data-payg, «data-5gb]',
    expect: 'the rate `data-payg` stands before the bucket `data-5gb`; the rate comes last',
  },
  {
    replace: '[data-5gb, data-payg]',
    by: '[data-5gb, «data-5gb]',
    expect: '`data-5gb` is named twice; remove it here',
  },
  {
    replace: '[data-payg]',
    by: '«[]',
    expect: 'offers.payg.rules[1].use names nothing; write buckets and a rate, or `deny: true`',
  },
  {
    replace: '[10, none]',
    by: '[10, «4294967296]',
    expect:
      'offers.payg.rules[1].ratingGroup[1]: `4294967296` is not a number; write 0 to 4294967295, none, or a list of these',
  },
  // Grants
  {
    replace: ', every: 30d }',
    by: ' }\n    quota: { data: { size: «10 } }',
    expect:
      'offers.bundle.quota.data.size: `10` is not a size; write a size like 100kB (10^5 octets), 100KiB (102,400 octets), 5GB or 20B',
  },
  {
    replace: 'expires: 30d',
    by: 'expires: «soon',
    expect: 'offers.bundle.grants[0].expires: `soon` is not a duration; write 30d, period (of the fee) or never',
  },
  {
    replace: '{ bucket: data-5gb, amount: 5GB, for: data, expires: 30d',
    by: '«{ bucket: data-5gb, amount: 5GB, for: data',
    expect: 'offers.bundle.grants[0] lacks `expires`; add `expires:`',
  },
  {
    replace: ', every: 30d }\n    grants:\n      - { bucket: data-5gb, amount: 5GB, for: data, expires: 30d }',
    by: ' }\n    grants:\n      - { bucket: data-5gb, amount: 5GB, for: data, expires: «period }',
    expect: 'offers.bundle.grants[0].expires is `period`, but the offer has no fee.every; write a duration like 30d',
  },
  {
    replace: 'for: data',
    by: 'for: «[data, voice]',
    expect: 'the services of bucket `data-5gb` count octets and seconds; make a bucket of each unit',
  },
  {
    replace: 'expires: 30d }\n',
    by: 'expires: 30d }\n      - { bucket: «voice-payg, amount: 10m, for: voice, expires: never }\n',
    expect: '`voice-payg` is also the name of a rate; rename one of them',
  },
  // The language
  { replace: '  voice: {', by: '  «data: {', expect: 'Map keys must be unique; keep one of them' },
  {
    replace: '[data-payg]',
    by: '[«*nothing]',
    expect: 'offers.payg.rules[1].use[0]: there is no anchor `nothing`; define it with & above',
  },
  {
    replace: 'rank: 10',
    by: 'rank:«',
    expect: 'offers.bundle.rank has no value; write a whole number, or remove the key',
  },
  { replace: 'rates:', by: 'rates: «payg\nx:', expect: 'rates is not a table; write indented `key: value` lines' },
]

t.test('the good catalog is good', t => {
  const outcome = read(good)
  t.ok('catalog' in outcome, faultsOf(outcome).join('\n'))
  t.same(linesOf(outcome.warnings), [])
  t.end()
})

t.test('every planted mistake is told with its place and a hint, and refuses the catalog', t => {
  for (const mistake of mistakes) {
    const { text, line } = plant('catalog.yaml', good, mistake)
    const lines = faultsOf(read(text))
    t.ok(lines.includes(line), `${mistake.replace} → ${mistake.by}`, { expected: line, found: lines })
  }
  t.end()
})

t.test('one mistake makes one fault', t => {
  const single = mistakes.filter(({ replace }) => !['rates:', '  voice: {', '  voice-payg:'].includes(replace))
  for (const mistake of single) {
    const lines = faultsOf(read(plant('catalog.yaml', good, mistake).text))
    t.equal(lines.length, 1, lines.join('\n'))
  }
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
  t.match(faultsOf(read('&a\nservices: *a\noffers: *a\nrates: *a\n')), [/lacks `currency`/])
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
      expect: 'catalog.yaml:7:3: no rule uses the rate `voice-payg`',
    },
    {
      text: good.replace('[data-5gb, data-payg]', '[data-payg]'),
      expect: 'catalog.yaml:18:19: no rule uses the bucket `data-5gb`',
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

t.test('property: whatever stands in a file, there is a catalog or a fault with a place in the text', t => {
  const seed = process.env['SEED']
  const edit = fc.record({
    at: fc.nat(good.length),
    remove: fc.nat(12),
    insert: fc.oneof(
      fc.string({ maxLength: 6 }),
      fc.constantFrom('\n', '{', '[]', '&a ', '*a', '- ', ': ', '"', '!!map ', '? ', '\t', '<<: '),
    ),
  })
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), edits => {
      let text = good
      for (const { at, remove, insert } of edits) text = text.slice(0, at) + insert + text.slice(at + remove)
      const outcome = read(text)
      if ('catalog' in outcome) return outcome.catalog.services.size <= 2
      const lines = text.split(/\n/)
      return (
        outcome.faults.length > 0 &&
        outcome.faults.every(({ line, column }) => column >= 1 && column <= (lines[line - 1]?.length ?? -1) + 1)
      )
    }),
    { numRuns: 1_000, ...(seed === undefined ? {} : { seed: Number(seed) }) },
  )
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

t.test('the shipped configuration and catalog are clean', t => {
  const { ok, lines } = checkConfiguration('config/ocs.yaml')
  t.ok(ok)
  t.match(lines, [/^ok: configuration, and catalog [0-9a-f]{12} \(EUR\): 3 services, 3 rates, 2 offers$/])
  t.end()
})

t.test('the check tells the faults of the catalog that the configuration names', t => {
  const folder = t.testdir({ 'ocs.yaml': 'catalog: c.yaml\n', 'c.yaml': good.replace('"0.01"', '0.01') })
  const { ok, lines } = checkConfiguration(join(folder, 'ocs.yaml'))
  t.notOk(ok)
  t.match(lines, [/c\.yaml:6:37: .*bare number; quote it/, '1 fault: the daemon would not start'])
  writeFileSync(join(folder, 'ocs.yaml'), 'catalogue: c.yaml\n')
  t.match(checkConfiguration(join(folder, 'ocs.yaml')), {
    ok: false,
    lines: [/ocs\.yaml:1:1: .*did you mean `catalog`/, /1 fault/],
  })
  t.end()
})
