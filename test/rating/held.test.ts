/** What accounts hold is not taken out of the catalog without a word. */
import t from 'tap'
import { missingHeld } from '../../src/rating/held.js'
import { readCatalog } from '../../src/rating/load.js'

const text = `
currency: EUR
services: { data: { context: 32251@3gpp.org, unit: octets, quota: { size: 10MB, min: 1MB, max: 100MB, validity: 1h } } }
rates: { payg: { unit: octets, price: '0.01', per: 1MB, step: 1MB } }
offers:
  payg: { rules: [{ service: data, use: [payg] }] }
  bundle: { grants: [{ bucket: data-5gb, amount: 5GB, for: [data], expires: 30d }], rules: [{ service: data, use: [data-5gb, payg] }] }
`

t.test('an offer and a bucket that are gone are faults that say how many hold them', t => {
  const outcome = readCatalog([{ file: 'catalog.yaml', text }])
  if ('faults' in outcome) return t.fail(JSON.stringify(outcome.faults))
  const { catalog } = outcome
  const held = (
    offers: [string, number][],
    buckets: [string, number][],
  ): { offers: Map<string, number>; buckets: Map<string, number> } => ({
    offers: new Map(offers),
    buckets: new Map(buckets),
  })
  t.same(missingHeld(catalog, held([['payg', 7], ['bundle', 1]], [['data-5gb', 2]])), []) // prettier-ignore
  const missing = missingHeld(catalog, held([['payg', 7], ['gold', 12], ['day', 1]], [['data-1gb', 3]])) // prettier-ignore
  t.equal(missing.length, 3)
  t.match(missing[0], /^offers\.day: the catalog no longer has this offer, but 1 subscription has it; put it back/)
  t.match(missing[1], /^offers\.gold: .* 12 subscriptions have it; put it back, with `sold: \{ until: … \}`/)
  t.match(
    missing[2],
    /^bucket data-1gb: no offer of the catalog grants it any more, but accounts have 3 of them; put a grant/,
  )
  t.end()
})
