/** What a catalog says of tax in its prices: one key, shown, and nothing is computed from it. */
import t from 'tap'
import { taxInWords } from '../../src/rating/catalog.js'
import { readCatalog } from '../../src/rating/load.js'

const catalog = (tax: string): ReturnType<typeof readCatalog> =>
  readCatalog([
    {
      file: 'c.yaml',
      text: `currency: EUR
${tax}
services: { data: { context: 32251@3gpp.org, unit: octets, quota: { size: 10MB, min: 100kB, max: 100MB, validity: 1h } } }
rates: { payg: { unit: octets, price: '0.01', per: 1MB, step: 100kB } }
offers: { payg: { rules: [{ service: data, use: [payg] }] } }
`,
    },
  ])

t.test('tax is included, excluded, or not spoken of', t => {
  const table: [text: string, tax: object | undefined, words: string][] = [
    ['', undefined, ''],
    [
      "tax: { prices: included, rate: '19 % VAT' }",
      { prices: 'included', rate: '19 % VAT' },
      'tax included (19 % VAT)',
    ],
    ['tax: { prices: excluded }', { prices: 'excluded' }, 'tax excluded'],
  ]
  const versions = new Set<string>()
  for (const [text, tax, words] of table) {
    const outcome = catalog(text)
    t.ok('catalog' in outcome, text)
    if (!('catalog' in outcome)) continue
    t.match(outcome.catalog.tax ?? {}, tax ?? {})
    t.equal(taxInWords(outcome.catalog), words)
    versions.add(outcome.catalog.version)
  }
  t.equal(versions.size, 3)
  for (const wrong of [
    'tax: { prices: maybe }',
    "tax: { rate: '19 %' }",
    'tax: included',
    'tax: { prices: included, vat: 19 }',
  ])
    t.ok('faults' in catalog(wrong), wrong)
  t.end()
})
