/**
 * Every kind of price and balance, each as a tariff with its cases (test/tariffs/): quoted, and played over real Gy sessions
 * with the usage cut into reports at random places. Both must give what the tariff's author computed by hand.
 */
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { DueLists } from '../../src/balance/due.js'
import { Quotes } from '../../src/charging/quote.js'
import { playTariffTest, runTariffTests, type TariffTestResult } from '../../src/charging/tariff-tests.js'
import { systemClock } from '../../src/clock.js'
import { formatFault } from '../../src/config/yaml.js'
import { loadCatalog } from '../../src/rating/load.js'
import { aSeed, seeded } from '../support/load.js'
import { startScenario } from '../support/scenario.js'
import { chargingConfig, openStore, startStore } from '../support/store.js'
import { differences, TariffPlay, type Manner } from '../support/tariff-play.js'

const folder = fileURLToPath(new URL('../tariffs/', import.meta.url))

/** What an operator can sell, and the tariff that shows it. */
const kinds: Readonly<Record<string, string>> = {
  'pay as you go': 'payg',
  'setup fee': 'setup',
  'minimum charge': 'minimum',
  'first step, then finer or coarser ones': 'first-step',
  'price per event': 'event',
  'package: n units for x': 'package',
  'bands inside a session': 'bands',
  'graduated tiers per account and month': 'graduated-month',
  'graduated tiers per subscriber and day': 'graduated-day',
  'volume tiers': 'volume',
  'percentage of a value': 'percent',
  'cap of a session, then free': 'cap-session-free',
  'cap of a session, then stop': 'cap-session-stop',
  'cap of a day, then free': 'cap-day-free',
  'cap of a cycle, then stop, with steps and opt-in': 'cap-cycle-stop',
  'time of day': 'time-of-day',
  'weekday and weekend': 'weekend',
  'holidays, with priorities of calendars': 'holiday',
  'dated price': 'promo',
  'days of 23 and 25 hours': 'dst',
  'month end and leap day': 'month-end',
  'call over a change of the price': 'switch-voice',
  'data session over a change of the price': 'switch-data',
  'rounding to the nearest, with decimals': 'rounding-nearest',
  'rounding down and up': 'rounding-down',
  'zone by serving network': 'zones',
  'destination by longest prefix': 'destinations',
  'access point': 'apn',
  'radio access': 'rat',
  'attribute of the account': 'account-attribute',
  'attribute of the subscriber': 'subscriber-attribute',
  'service identifier': 'service-identifier',
  'no rating group, and a default': 'no-rating-group',
  'denied, with 4010 and 5003': 'deny',
  'free, and 4011': 'free',
  'buckets of octets, seconds and events': 'buckets',
  'generic units with conversion': 'points',
  'bucket in steps': 'bucket-step',
  'bonus money with a filter': 'bonus',
  'priority and draw order of buckets': 'draw-order',
  'validity: fixed, from first use, to the end of a period': 'validity',
  rollover: 'rollover',
  'credit limit': 'credit-limit',
  blocker: 'blocker',
  'shared account with member limits': 'shared-account',
  'spend cap with steps at 50, 80 and 100 percent': 'spend-cap',
  'counter that resets on the anniversary': 'anniversary',
  'counter that resets every 30 days': 'rolling',
  'rate before a bucket': 'rate-first',
  'several offers by rank': 'offers-by-rank',
  'pool of things': 'iot-pool',
  'adaptive quota': 'adaptive-quota',
  'events of low money and low buckets': 'warnings',
  'prices for accounts in other currencies': 'currency',
}

const manners: readonly Manner[] = ['by grants', 'whole', 'anywhere', 'anywhere']

const tariffs = Object.entries(kinds).map(([kind, name]) => ({ kind, name, path: `${folder}${name}.yaml` }))

/** Of a whole operator each. */
// Beside the catalogs stand scripts for the simulated gateway.
const examples = readdirSync('config/examples')
  .filter(name => name !== 'flows')
  .map(name => ({
    kind: 'an example catalog',
    name,
    // One is a whole configuration.
    path: `config/examples/${name === 'operator' ? 'operator/catalog' : name}`,
  }))
const shipped = { kind: 'the shipped catalog', name: 'catalog', path: 'config/catalog' }

const only = process.env['TARIFF']
const played = [...tariffs, ...examples, shipped].filter(({ name }) => only === undefined || only === name)

t.test('every kind has its tariff, and every tariff is of a kind', t => {
  const files = readdirSync(folder).map(name => name.replace('.yaml', ''))
  t.same([...new Set(Object.values(kinds))].sort(), files.sort())
  t.end()
})

const random = seeded(aSeed(t))

t.test('quoted and played', async t => {
  const { balance } = await startStore(t)
  const quotes = new Quotes(balance, chargingConfig, systemClock)
  for (const { kind, name, path } of played) {
    await t.test(`${kind} (${name})`, async t => {
      const outcome = loadCatalog(path)
      const faults = 'faults' in outcome ? outcome.faults : []
      t.same([...faults, ...outcome.warnings].map(formatFault), [], 'the catalog has no fault, and nothing to warn of')
      if (!('catalog' in outcome)) return
      const { catalog } = outcome
      t.same((await runTariffTests(catalog, quotes)).map(formatFault), [], 'what is quoted is what is expected')
      const scenario = await startScenario(t, 'flows', { catalog: path })
      const due = new DueLists(await openStore(t, scenario.redis), systemClock)
      const play = new TariffPlay(t, scenario, await scenario.gateway(t), catalog, due)
      for (const test of catalog.tests) {
        const quote = await playTariffTest(catalog, quotes, test)
        for (const manner of manners) {
          const found = await play.play(test, manner, random).catch((error: unknown) => String(error))
          const wrong = typeof found === 'string' ? [found] : differences(test, found)
          t.same(wrong, [], `${test.name}: played ${manner}`)
          if (typeof found === 'string') break
          t.same(essence(found), essence(quote), `${test.name}: played ${manner}, as it is quoted`)
          // Whoever does not care for refusals uses more, and owes it.
          if (found.cut) break
        }
      }
    })
  }
})

/** What a quote must say rightly, expected or not. */
const essence = ({ cost, balance, debt, result, events }: TariffTestResult): Partial<TariffTestResult> => ({
  cost,
  balance,
  debt,
  result,
  events: [...events].sort(),
})
