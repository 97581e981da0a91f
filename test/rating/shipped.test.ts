import { readFileSync } from 'node:fs'
import t from 'tap'
import { loadCatalog } from '../../src/rating/load.js'
import { findService, newBuckets, programFor, type Subject } from '../../src/rating/match.js'
import { priceOf } from '../../src/rating/price.js'
import { parseMoney, units } from '../../src/units.js'

const outcome = loadCatalog('config/catalog')
if (!('catalog' in outcome)) throw new Error(JSON.stringify(outcome.faults))
const { catalog } = outcome

const [data, voice, sms] = ['12.32251@3gpp.org', '12.32260@3gpp.org', '12.32274@3gpp.org'].map(context =>
  findService(catalog, context)!,
)

const having = (offer: string): Subject => ({
  ...{ subscriptions: [{ id: '1', offer, since: 0 }], account: new Map(), subscriber: new Map(), overrides: [] },
})

t.test('the example catalog charges what it is documented to charge', t => {
  const table = [
    { offer: 'payg', service: data, group: 10, buckets: [], use: 1_000_000n, cost: '0.01' },
    { offer: 'payg', service: data, group: undefined, buckets: [], use: 100_001n, cost: '0.002' },
    { offer: 'payg', service: voice, group: undefined, buckets: [], use: 1n, cost: '0.03' },
    { offer: 'payg', service: voice, group: 20, buckets: [], use: 60n, cost: '0.06' },
    { offer: 'payg', service: sms, group: undefined, buckets: [], use: 2n, cost: '0.10' },
    { offer: 'bundle-5gb', service: data, group: 10, buckets: ['data-5gb'], use: 1_000_000n, cost: '0.01' },
    { offer: 'bundle-5gb', service: data, group: undefined, buckets: [], use: 1_000_000n, cost: '0.01' },
    { offer: 'bundle-5gb', service: voice, group: undefined, buckets: [], use: 60n, cost: '0.06' },
    { offer: 'bundle-5gb', service: sms, group: undefined, buckets: [], use: 1n, cost: '0.05' },
  ]
  for (const { offer, service, group, buckets, use, cost } of table) {
    const line = { ratingGroup: group, serviceIdentifiers: [] }
    const { program } = programFor(catalog, having(offer), service!, line, 0)
    const what = `${offer}, ${service!.name}, ${group ?? 'no group'}`
    t.match(program, { kind: 'pay', buckets }, what)
    t.equal(priceOf(units(use), program.rate!, true), parseMoney(cost), what)
  }
  for (const offer of ['payg', 'bundle-5gb']) {
    const kindOf = (ratingGroup: number): string => {
      const { program } = programFor(catalog, having(offer), data!, { ratingGroup, serviceIdentifiers: [] }, 0)
      return `${program.kind} ${program.code}`
    }
    t.same([30, 40, 50].map(kindOf), ['free 0', 'deny 4010', 'unrated 5031'], offer)
  }
  t.end()
})

t.test('data is granted 10 MB at a time, reported at 20 % left, for an hour, and then terminated', t => {
  const { program } = programFor(catalog, having('payg'), data!, { ratingGroup: 10, serviceIdentifiers: [] }, 0)
  t.match(program, { quota: { size: 10_000_000n, min: 100_000n, max: 100_000_000n }, validity: 3_600 })
  t.equal(program.text.split(' ')[6], '3600,20,terminate')
  t.end()
})

t.test('bundle-5gb gives 5 GB for 30 days', t => {
  t.match(newBuckets(catalog, 'bundle-5gb', 0), [
    { name: 'data-5gb', unit: 'octets', amount: 5_000_000_000n, until: 30 * 86_400_000, origin: 'bundle-5gb' },
  ])
  t.end()
})

t.test('the demo subscribers are the documented ones, on offers that exist', t => {
  const [header, ...rows] = readFileSync('config/demo.csv', 'utf8').trimEnd().split('\n')
  t.equal(header, 'account,msisdn,imsi,offer,balance,currency')
  const expected = [
    ['payg', '5.00'],
    ['payg', '5.00'],
    ['payg', '5.00'],
    ['bundle-5gb', '15.00'],
    ['bundle-5gb', '15.00'],
    ['bundle-5gb', '15.00'],
    ['payg', '0.05'],
    ['payg', '0.00'],
    ['payg', '5.00'],
  ].map(
    ([offer, balance], index) =>
      `49170100000${index + 1},49170100000${index + 1},26201170100000${index + 1},${offer},${balance},EUR`,
  )
  t.same(rows, expected)
  t.ok(expected.every(row => catalog.offers.has(row.split(',')[3]!)))
  t.end()
})
