/**
 * README.md's guide to every kind of price: each of its blocks is a catalog together with the one that all share, and costs what
 * its words say.
 */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parse, stringify } from 'yaml'
import { runTariffTests } from '../../src/charging/tariff-tests.js'
import { Quotes } from '../../src/charging/quote.js'
import { systemClock } from '../../src/clock.js'
import { formatFault } from '../../src/config/yaml.js'
import { readCatalog } from '../../src/rating/load.js'
import { chargingConfig, startStore } from '../support/store.js'

const readme = readFileSync('README.md', 'utf8')
const guide = readme.slice(readme.indexOf('## How to write each kind of price'), readme.indexOf('## Limits of this'))

interface Block {
  /** In bold letters, above it. */
  readonly title: string
  readonly yaml: string
}

const [shared, ...blocks] = [...guide.matchAll(/```yaml\n(.*?)```/gs)].map(({ 1: yaml = '', index }): Block => {
  const titles = [...guide.slice(0, index).matchAll(/^\*\*(.+?)\*\*/gm)]
  return { title: titles.at(-1)?.[1] ?? 'what all share', yaml }
})

type Case = Readonly<Record<string, unknown>>

/** Cases by title. */
const cases = parse(readFileSync('test/support/fixtures/guide-cases.yaml', 'utf8')) as Record<string, readonly Case[]>

/** Something that costs a euro a megabyte, for blocks that are about what it comes to. */
const euros = {
  rates: { euro: { unit: 'octets', price: '1.00', per: '1MB', step: '1MB' } },
  offers: { euros: { rules: [{ service: 'data', use: ['euro'] }] } },
}

const serviceOf: Readonly<Record<string, string>> = { octets: 'data', seconds: 'voice', events: 'sms', money: 'shop' }

/** What a block leaves out: its cases, and an offer where it is about a price alone. */
function rest({ title, yaml }: Block): string {
  const { rates, offers, counters } = parse(yaml) as Record<string, Record<string, { unit: string }> | undefined>
  const tests = (cases[title] ?? []).map((each, index) => ({ name: `${title} ${index + 1}`, ...each }))
  const [[rate, { unit }] = ['', { unit: '' }]] = Object.entries(rates ?? {})
  const sold = { offers: { guide: { rules: [{ service: serviceOf[unit], use: [rate] }] } } }
  const more = offers !== undefined ? {} : counters !== undefined && rates === undefined ? euros : sold
  return stringify({ ...more, ...(tests.length > 0 && { tests }) })
}

t.test('each block is a catalog, and costs what is said', async t => {
  const { balance } = await startStore(t)
  const quotes = new Quotes(balance, chargingConfig, systemClock)
  for (const block of blocks) {
    const outcome = readCatalog([
      { file: 'shared.yaml', text: shared!.yaml },
      { file: 'README.md', text: block.yaml },
      { file: 'cases.yaml', text: rest(block) },
    ])
    t.same('faults' in outcome ? outcome.faults.map(formatFault) : [], [], `${block.title} has no fault`)
    if (!('catalog' in outcome)) continue
    const faults = await runTariffTests(outcome.catalog, quotes)
    t.same(faults.map(formatFault), [], `${block.title}: ${outcome.catalog.tests.length} cases`)
  }
})

t.test('nothing is left out', t => {
  t.same(
    blocks.map(({ title }) => title),
    Object.keys(cases),
    'there are cases for each block',
  )
  const linked = new Set([...guide.matchAll(/\(test\/tariffs\/([\w-]+)\.yaml\)/g)].map(([, name]) => name))
  const there = readdirSync('test/tariffs').map(name => name.replace('.yaml', ''))
  t.same([...linked].sort(), there.sort(), 'each tariff is shown where its kind is explained')
  t.end()
})
