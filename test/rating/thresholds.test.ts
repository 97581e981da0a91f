/**
 * `thresholds` of the catalog: amounts and shares, in any order, in the currency of the account; what is wrong with one.
 */
import t from 'tap'
import { diffCatalogs, diffText } from '../../src/rating/diff.js'
import { readCatalog } from '../../src/rating/load.js'
import { moneyLevels } from '../../src/rating/thresholds.js'
import type { Catalog } from '../../src/rating/catalog.js'

const rest = "exchange: { GBP: { from: 2026-01-01, rate: '2.00' } }\n"
const read = (text: string): ReturnType<typeof readCatalog> =>
  readCatalog([{ file: 'catalog.yaml', text: `currency: EUR\n${rest}${text}` }])

function aCatalog(text: string): Catalog {
  const outcome = read(text)
  if ('faults' in outcome) throw new Error(JSON.stringify(outcome.faults))
  return outcome.catalog
}

const now = Date.UTC(2026, 5, 1)

t.test('amounts and shares fall, whatever their order; those of lowBalance are told, too', t => {
  const catalog = aCatalog("thresholds: { money: ['1.00', 10%, '5.00', 25%] }\nlowBalance: ['0.20']")
  t.same(moneyLevels(catalog, 'EUR', now), { amounts: [5_000_000, 1_000_000, 200_000], percents: [25, 10] })
  t.same(moneyLevels(catalog, 'GBP', now).amounts, [2_500_000, 500_000, 200_000], 'converted')
  t.same(moneyLevels(catalog, 'USD', now).amounts, [200_000], 'no exchange rate')
  t.same(moneyLevels(aCatalog(''), 'EUR', now), { amounts: [], percents: [] }, 'none')
  t.end()
})

t.test('they are part of the version and of a comparison', t => {
  const [before, after] = [aCatalog(''), aCatalog('thresholds: { money: [10%] }')]
  t.not(before.version, after.version)
  t.match(diffText(diffCatalogs(before, after, new Map())).join('\n'), /thresholds.*10 %/)
  t.end()
})

for (const [text, message] of [
  ['thresholds: { money: [5.00] }', /bare number/],
  ['thresholds: { money: [0%] }', /not between 0% and 100%/],
  ['thresholds: { money: [100%] }', /not between 0% and 100%/],
  ['thresholds: { money: [120%] }', /share/],
  ["thresholds: { money: ['-1.00'] }", /negative/],
  ['thresholds: { bucket: [10%] }', /unknown key/],
] as const)
  t.test(`refused: ${text}`, t => {
    const outcome = read(text)
    t.match('faults' in outcome ? outcome.faults.map(each => each.message).join() : '', message)
    t.end()
  })
