/** Life cycles and automatic accounts in the catalog: what is read, and what is told of mistakes. */
import t from 'tap'
import { readCatalog } from '../../src/rating/load.js'
import { lifeAtBirth, lifeTermsOf } from '../../src/rating/life-terms.js'
import { micros } from '../../src/units.js'

const day = 86_400_000
const read = (text: string): ReturnType<typeof readCatalog> =>
  readCatalog([
    {
      file: 'c.yaml',
      text: `
currency: EUR
exchange: { GBP: { from: 2020-01-01, rate: '2' } }
services: { sms: { context: 32274@3gpp.org, unit: events } }
rates: { sms: { unit: events, price: '0.05' } }
offers: { payg: { rank: 1, rules: [{ service: sms, use: [sms] }] } }
${text}`,
    },
  ])

t.test('a mistake is told with what to write instead', t => {
  for (const [text, message] of [
    ['lifecycle: { p: { offers: [pagy] } }', /there is no offer `pagy`/],
    ['lifecycle: { p: { first: 30d } }', /accounts begin with a recharge/],
    ["lifecycle: { p: { start: use, validity: [{ amount: '5.00', lasts: 30d }] } }", /validity never ends/],
    ['lifecycle: { p: { warn: [7d] } }', /validity never ends/],
    ['lifecycle: { p: { start: use, first: 30d, warn: [1d, 7d] } }', /is not below the one before/],
    [
      "lifecycle: { p: { validity: [{ amount: '5.00', lasts: 30d }, { amount: '5.00', lasts: 60d }] } }",
      /is not above the one before/,
    ],
    ['lifecycle: { p: { start: first } }', /not one of recharge, use, any, none/],
    ['lifecycle: { p: { grace: { service: all } } }', /lasts/],
    ['autoCreate: { a: { offers: [payg] } }', /names no numbers/],
    ['autoCreate: { a: { msisdn: [49*], offers: [pagy] } }', /there is no offer `pagy`/],
    ['autoCreate: { a: { msisdn: [4917-491], offers: [payg] } }', /is not a range of numbers/],
    ['autoCreate: { a: { msisdn: [49*], offers: [payg], currency: USD } }', /no exchange rate for USD/],
  ] as const) {
    const outcome = read(text)
    t.match('faults' in outcome ? outcome.faults.map(fault => fault.message).join('\n') : 'accepted', message, text)
  }
  t.end()
})

t.test('the first life cycle whose conditions fit is an account’s, its amounts in the account’s currency', t => {
  const outcome = read(`lifecycle:
  staff: { account: { segment: [staff, test] }, start: none }
  prepaid: { offers: payg, validity: [{ amount: '5.00', lasts: 30d }], warn: [7d] }`)
  if (!('catalog' in outcome)) throw new Error(JSON.stringify(outcome.faults))
  const { catalog } = outcome
  const now = Date.UTC(2026, 0, 31)
  const of = (offers: string[], segment: string, currency = 'EUR') => ({ offers, attributes: { segment }, currency })
  t.equal(lifeTermsOf(catalog, of(['payg'], 'staff'), now)?.rule, 'staff')
  t.equal(lifeTermsOf(catalog, of([], 'consumer'), now), undefined)
  t.match(lifeTermsOf(catalog, of(['payg'], 'x'), now)?.terms, / validity=5000000:2592000000 /)
  t.match(lifeTermsOf(catalog, of(['payg'], 'x', 'GBP'), now)?.terms, / validity=2500000:2592000000 /)
  const born = (opening: bigint, status?: string): string | undefined =>
    lifeAtBirth(catalog, of(['payg'], 'x'), { opening: micros(opening), status, now })
  t.match(born(0n), /^created since \d+ end 0 told 0 hand 0 rule prepaid /)
  t.match(born(4_999_999n), /^created /)
  t.match(born(5_000_000n), new RegExp(`^active since ${now} end ${now + 30 * day} told 0 hand 0 `))
  t.match(born(0n, 'suspended'), /^created .* hand 1 /)
  t.end()
})
