import t from 'tap'
import { changeText, diffCatalogs } from '../../src/rating/diff.js'
import { readCatalog, type CatalogOutcome } from '../../src/rating/load.js'
import type { Catalog } from '../../src/rating/catalog.js'
import { dayOf, rechargeTerms, transferTerms, type RechargeFacts } from '../../src/recharge/rules.js'
import { micros } from '../../src/units.js'
import { linesOf } from '../support/mistake.js'

const sections = `
recharges:
  channels:
    portal: { min: '5.00', max: '100.00', perDay: { count: 3, sum: '200.00' } }
    outlet: {}
  bonuses:
    - { name: welcome, first: true, percent: 12.5%, into: { bucket: bonus, expires: 30d, for: [data], priority: 5 } }
    - { name: winter, channel: portal, from: '20.00', below: '50.00', since: 2026-12-01, until: 2027-01-01, percent: 10% }
    - { name: vip, account: { segment: [vip, staff] }, most: 2, grant: { bucket: gift, amount: 1GB, for: data, expires: 7d } }
    - { name: always, channel: outlet, money: '0.50' }
    - { name: never-reached, channel: outlet, money: '0.60' }
transfers:
  min: '1.00'
  max: '50.00'
  fee: '0.10'
  perDay: { count: 5, sum: '100.00' }
  allowed: [{ from: { segment: consumer }, to: { segment: [consumer, child] } }]
`
const withSections = (text: string): string => `
currency: EUR
timezone: Europe/Berlin
exchange: { USD: { from: 2020-01-01, rate: '0.5' } }
services:
  data: { context: 32251@3gpp.org, unit: octets }
rates:
  payg: { unit: octets, price: '0.01', per: 1MB, step: 100kB }
offers:
  base: { rules: [{ service: data, use: [${text.includes('gift') ? 'gift, ' : ''}payg] }] }
${text}`

const read = (text: string): CatalogOutcome => readCatalog([{ file: 'catalog.yaml', text: withSections(text) }])

function aCatalog(text = sections): Catalog {
  const outcome = read(text)
  if ('faults' in outcome) throw new Error(linesOf(outcome.faults).join('\n'))
  return outcome.catalog
}

const catalog = aCatalog()
const december = Date.parse('2026-12-10T12:00:00Z')
const facts = (changes: Partial<RechargeFacts> = {}): RechargeFacts => ({
  ...{ channel: 'portal', amount: micros(20_000_000), currency: 'EUR', attributes: {}, at: december },
  ...changes,
})
const bonuses = (changes: Partial<RechargeFacts>): string[] =>
  rechargeTerms(catalog, facts(changes)).terms.bonuses.map(({ rule, money, buckets }) =>
    [rule, money, ...buckets.map(({ name, amount }) => `${name}:${amount}`)].join(' '),
  )

t.test('bonuses that may apply are told in order, up to the first that always does', t => {
  t.same(bonuses({}), ['welcome 0 bonus:2500000', 'winter 2000000'])
  t.same(bonuses({ amount: micros(50_000_000) }), ['welcome 0 bonus:6250000'], 'below is not included')
  t.same(bonuses({ amount: micros(19_999_999) }), ['welcome 0 bonus:2499999'], 'rounded down')
  t.same(bonuses({ at: Date.parse('2026-12-31T23:00:00Z') }), ['welcome 0 bonus:2500000'], 'until midnight in Berlin')
  t.same(bonuses({ channel: 'outlet', amount: micros(1) }), ['always 500000'], '12.5 % of a micro is none')
  t.same(bonuses({ channel: 'outlet', attributes: { segment: 'vip' } }), [
    ...['welcome 0 bonus:2500000', 'vip 0 gift:1000000000', 'always 500000'],
  ])
  t.end()
})

t.test('what a channel does not take is refused with a sentence, and an unknown one is', t => {
  const why = (changes: Partial<RechargeFacts>): string => rechargeTerms(catalog, facts(changes)).why
  t.equal(why({ amount: micros(4_999_999) }), 'channel portal takes 5.00 EUR at least')
  t.equal(why({ amount: micros(100_000_001) }), 'channel portal takes 100.00 EUR at most')
  t.equal(why({ channel: 'web' }), 'the catalog has no channel web; it has portal, outlet')
  t.match(why({ currency: 'GBP' }), /no exchange rate GBP/)
  const { terms } = rechargeTerms(catalog, facts())
  t.match(terms, { mostCount: 3, mostSum: 200_000_000n, day: Date.parse('2026-12-09T23:00:00Z') })
  t.same(
    rechargeTerms(aCatalog(''), facts({ channel: 'anything' })).terms.bonuses,
    [],
    'without the section all are taken',
  )
  t.equal(rechargeTerms(aCatalog('recharges: { bonuses: [] }'), facts({ channel: 'web' })).why, '')
  t.end()
})

t.test('in another currency limits and bonuses are converted: what is asked up, what is given down', t => {
  const { terms, why } = rechargeTerms(catalog, facts({ currency: 'USD', amount: micros(9_999_999) }))
  t.equal(why, 'channel portal takes 10.00 USD at least')
  t.equal(terms.refused, 'below_min')
  t.match(rechargeTerms(catalog, facts({ currency: 'USD', channel: 'outlet' })).terms.bonuses, [
    { rule: 'welcome', buckets: [{ amount: 2_500_000n }] }, // a share is in its currency already
    { rule: 'always', money: 1_000_000n },
  ])
  t.end()
})

t.test('a business day begins at midnight of the catalog, on days of 23 and 25 hours, too', t => {
  const day = (at: string): string => new Date(dayOf({ timezone: 'Europe/Berlin' }, Date.parse(at))).toISOString()
  t.equal(day('2026-03-29T12:00:00Z'), '2026-03-28T23:00:00.000Z')
  t.equal(day('2026-03-30T00:00:00Z'), '2026-03-29T22:00:00.000Z')
  t.equal(day('2026-10-25T22:59:59Z'), '2026-10-24T22:00:00.000Z')
  t.equal(day('2026-10-25T23:00:00Z'), '2026-10-25T23:00:00.000Z')
  t.end()
})

t.test('a transfer costs its fee, and is held to limits and to who may send to whom', t => {
  const segment = (is: string): Record<string, string> => ({ segment: is })
  const terms = (amount: number, from: string, to: string, currency = 'EUR'): object =>
    transferTerms(catalog, { amount: micros(amount), currency, from: segment(from), to: segment(to), at: december })
  t.match(terms(1_000_000, 'consumer', 'child'), { fee: 100_000n, mostCount: 5, mostSum: 100_000_000n })
  t.match(terms(2_000_000, 'consumer', 'child', 'USD'), { fee: 200_000n, mostSum: 200_000_000n })
  t.match(terms(1_000_000, 'child', 'consumer'), { refused: /not allowed/ })
  t.match(terms(999_999, 'consumer', 'child'), { refused: 'a transfer has 1.00 EUR at least' })
  t.match(terms(50_000_001, 'consumer', 'child'), { refused: 'a transfer has 50.00 EUR at most' })
  t.match(transferTerms(aCatalog(''), { amount: micros(1), currency: 'CHF', from: {}, to: {}, at: december }), {
    fee: 0n,
  })
  t.end()
})

t.test('buckets of bonuses are known to rules, and a catalog says when it means something by them', t => {
  t.match(catalog.buckets.get('bonus'), { unit: 'money' })
  t.match(catalog.buckets.get('gift'), { unit: 'octets' })
  t.not(aCatalog(sections.replace('12.5%', '12%')).version, catalog.version, 'a bonus is part of the version')
  t.end()
})

t.test('what changes in the rules is told with the old and the new', t => {
  const changed = sections
    .replace("max: '100.00', perDay", "max: '80.00', perDay")
    .replace("money: '0.50'", "money: '0.70'")
    .replace("fee: '0.10'", "fee: '0.20'")
    .replace('    outlet: {}', '    outlet: {}\n    app: {}')
  const { settings } = diffCatalogs(catalog, aCatalog(changed), undefined)
  t.match(settings.map(changeText), [
    'channel portal: from 5.00, up to 100.00, 3 a day, 200.00 a day → from 5.00, up to 80.00, 3 a day, 200.00 a day',
    'bonus always: 4. 0.50 into main, over outlet → 4. 0.70 into main, over outlet',
    /^transfers: .*fee 0\.10.* → .*fee 0\.20; from segment consumer to segment consumer or child$/,
    'channel app: new, any amount',
  ])
  t.end()
})

t.test('mistakes in the sections are told with their place and what to write', t => {
  const told: readonly (readonly [replace: string, by: string, fault: RegExp])[] = [
    ["min: '5.00', max", "min: '500.00', max", /min is above max; write min ≤ max/],
    ['percent: 10%', "percent: 10%, money: '1.00'", /has percent and money/],
    ['percent: 10%', 'first: true', /gives nothing; write one of/],
    ['percent: 10%', 'percent: 0%', /write it like 10%/],
    ['percent: 10%', 'percent: 10%, into: { bucket: main, expires: never }', /name of the money of each account/],
    ['channel: portal', 'channel: potral', /there is no channel `potral`; /],
    ["below: '50.00'", "below: '20.00'", /below is not above from/],
    ['name: winter', 'name: welcome', /there is a bonus `welcome` already/],
    ['until: 2027-01-01', 'until: 2026-11-01', /until is not after since/],
    ['for: data, expires: 7d', 'expires: 7d', /lacks `for`/],
    ['into: { bucket: bonus', 'into: { bucket: payg', /also the name of a rate/],
    ["sum: '200.00'", "sum: '1.00'", /perDay.sum is below min/],
    ["perDay: { count: 3, sum: '200.00' }", 'perDay: {}', /has no limit; add/],
    ["  fee: '0.10'", '  fee: 0.1', /fee/],
  ]
  for (const [replace, by, fault] of told) {
    t.ok(sections.includes(replace), replace)
    const outcome = read(sections.replace(replace, by))
    const lines = 'faults' in outcome ? linesOf(outcome.faults) : []
    t.match(lines.join('\n'), fault, by)
    t.ok(lines.length >= 1 && lines.length <= 2, lines.join('\n'))
  }
  t.end()
})
