import { readdirSync, readFileSync } from 'node:fs'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import t from 'tap'
import { parse } from 'yaml'
import { catalogSchema } from '../../src/rating/catalog-shape.js'
import { readCatalog } from '../../src/rating/load.js'
import type { JsonSchema } from '../../src/rating/schema.js'
import { plant } from '../support/mistake.js'
import { fullCatalog, fullMistakes, plainCatalog, plainMistakes } from '../support/planted-catalogs.js'

// `required` beside `properties` that stand elsewhere, and several types for one value, are meant here.
const ajv = new Ajv2020({ strict: true, strictRequired: false, strictTypes: false })
const accepts: ValidateFunction = ajv.compile(catalogSchema())

const yamlFiles = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.yaml'))
    .map(name => `${folder}/${name}`)

t.test('the JSON Schema accepts the good catalogs, and all that are shipped or tested', t => {
  for (const text of [plainCatalog, fullCatalog]) t.ok(accepts(parse(text)), JSON.stringify(accepts.errors))
  // Beside the catalogs stand scripts for the simulated gateway, and a configuration.
  const catalogs = (file: string): boolean =>
    !file.startsWith('config/examples/flows') && !/operator\/(ocs|traffic)\.yaml$/.test(file)
  const files = ['config/catalog', 'config/examples', 'test/tariffs'].flatMap(yamlFiles).filter(catalogs)
  t.ok(files.length > 30)
  for (const file of files)
    t.ok(accepts(parse(readFileSync(file, 'utf8'))), `${file} ${JSON.stringify(accepts.errors)}`)
  t.end()
})

t.test('it rejects the mistakes that are of one value, and leaves the others to the check', t => {
  const planted = [
    { good: plainCatalog, mistakes: plainMistakes },
    { good: fullCatalog, mistakes: fullMistakes },
  ]
  let rejected = 0
  for (const { good, mistakes } of planted) {
    for (const mistake of mistakes) {
      const { text } = plant('catalog.yaml', good, mistake)
      let content: unknown
      try {
        content = parse(text)
      } catch {
        continue // told by the editor's YAML
      }
      t.equal(accepts(content), mistake.schema !== true, `${mistake.by} ${JSON.stringify(accepts.errors)}`)
      if (mistake.schema) rejected++
    }
  }
  t.ok(rejected > 50)
  t.end()
})

/** The schema of the value at a path of keys, through tables and items of lists. */
function schemasAt(schema: JsonSchema, path: readonly string[]): JsonSchema[] {
  const alternatives = (schema['anyOf'] as JsonSchema[] | undefined)?.flatMap(each => schemasAt(each, path)) ?? []
  const [key, ...rest] = path
  if (key === undefined) return [schema, ...alternatives]
  if (/^\d+$/.test(key)) {
    const items = schema['items'] as JsonSchema | undefined
    return [...(items ? schemasAt(items, rest) : []), ...alternatives]
  }
  const properties = schema['properties'] as Readonly<Record<string, JsonSchema>> | undefined
  const named = properties?.[key] ?? (schema['additionalProperties'] as JsonSchema | false | undefined)
  return [...(named ? schemasAt(named, rest) : []), ...alternatives]
}

const tables: readonly { readonly path: string; readonly text: string }[] = [
  { path: '', text: 'x\u00e9: 1' },
  { path: 'exchange.USD.0', text: 'exchange: { USD: [{ x\u00e9: 1 }] }' },
  { path: 'tax', text: 'tax: { x\u00e9: 1 }' },
  { path: 'thresholds', text: 'thresholds: { x\u00e9: 1 }' },
  { path: 'services.a', text: 'services: { a: { x\u00e9: 1 } }' },
  { path: 'services.a.quota', text: 'services: { a: { quota: { x\u00e9: 1 } } }' },
  { path: 'zones.a', text: 'zones: { a: { x\u00e9: 1 } }' },
  { path: 'destinations.a', text: 'destinations: { a: { x\u00e9: 1 } }' },
  { path: 'calendars.a', text: 'calendars: { a: { x\u00e9: 1 } }' },
  { path: 'counters.a', text: 'counters: { a: { x\u00e9: 1 } }' },
  { path: 'rates.a', text: 'rates: { a: { x\u00e9: 1 } }' },
  { path: 'rates.a.cap', text: 'rates: { a: { cap: { x\u00e9: 1 } } }' },
  { path: 'rates.a.tiers.0', text: 'rates: { a: { tiers: [{ x\u00e9: 1 }] } }' },
  { path: 'offers.a', text: 'offers: { a: { x\u00e9: 1 } }' },
  { path: 'offers.a.fee', text: 'offers: { a: { fee: { x\u00e9: 1 } } }' },
  { path: 'offers.a.sold', text: 'offers: { a: { sold: { x\u00e9: 1 } } }' },
  { path: 'offers.a.quota.data', text: 'offers: { a: { quota: { data: { x\u00e9: 1 } } } }' },
  { path: 'offers.a.quota.data.finalUnit', text: 'offers: { a: { quota: { data: { finalUnit: { x\u00e9: 1 } } } } }' },
  { path: 'offers.a.finalUnit', text: 'offers: { a: { finalUnit: { x\u00e9: 1 } } }' },
  {
    path: 'offers.a.quota.data.timeMechanism',
    text: 'offers: { a: { quota: { data: { timeMechanism: { x\u00e9: 1 } } } } }',
  },
  { path: 'offers.a.pools.b', text: 'offers: { a: { pools: { b: { x\u00e9: 1 } } } }' },
  { path: 'offers.a.grants.0', text: 'offers: { a: { grants: [{ x\u00e9: 1 }] } }' },
  { path: 'offers.a.grants.0.for.data', text: 'offers: { a: { grants: [{ for: { data: { x\u00e9: 1 } } }] } }' },
  { path: 'offers.a.grants.0.expires', text: 'offers: { a: { grants: [{ expires: { x\u00e9: 1 } }] } }' },
  { path: 'offers.a.grants.0.rollover', text: 'offers: { a: { grants: [{ rollover: { x\u00e9: 1 } }] } }' },
  { path: 'offers.a.rules.0', text: 'offers: { a: { rules: [{ x\u00e9: 1 }] } }' },
  { path: 'recharges', text: 'recharges: { x\u00e9: 1 }' },
  { path: 'recharges.channels.a', text: 'recharges: { channels: { a: { x\u00e9: 1 } } }' },
  { path: 'recharges.channels.a.perDay', text: 'recharges: { channels: { a: { perDay: { x\u00e9: 1 } } } }' },
  { path: 'recharges.bonuses.0', text: 'recharges: { bonuses: [{ x\u00e9: 1 }] }' },
  { path: 'recharges.bonuses.0.into', text: 'recharges: { bonuses: [{ into: { x\u00e9: 1 } }] }' },
  { path: 'recharges.bonuses.0.grant', text: 'recharges: { bonuses: [{ grant: { x\u00e9: 1 } }] }' },
  { path: 'transfers.perDay', text: 'transfers: { perDay: { x\u00e9: 1 } }' },
  { path: 'transfers', text: 'transfers: { x\u00e9: 1 }' },
  { path: 'transfers.allowed.0', text: 'transfers: { allowed: [{ x\u00e9: 1 }] }' },
  { path: 'lifecycle.x', text: 'lifecycle: { x: { x\u00e9: 1 } }' },
  { path: 'lifecycle.x.validity.0', text: 'lifecycle: { x: { validity: [{ x\u00e9: 1 }] } }' },
  { path: 'lifecycle.x.grace', text: 'lifecycle: { x: { grace: { x\u00e9: 1 } } }' },
  { path: 'autoCreate.x', text: 'autoCreate: { x: { x\u00e9: 1 } }' },
  { path: 'tests.0', text: 'tests: [{ x\u00e9: 1 }]' },
  { path: 'tests.0.account', text: 'tests: [{ account: { x\u00e9: 1 } }]' },
  { path: 'tests.0.subscriber', text: 'tests: [{ subscriber: { x\u00e9: 1 } }]' },
  { path: 'tests.0.given', text: 'tests: [{ given: { x\u00e9: 1 } }]' },
  { path: 'tests.0.use.0', text: 'tests: [{ use: [{ x\u00e9: 1 }] }]' },
  { path: 'tests.0.expect', text: 'tests: [{ expect: { x\u00e9: 1 } }]' },
]

t.test('every key that the reader knows stands in the schema with a line of text', t => {
  const paths = new Set<string>()
  for (const { path, text } of tables) {
    const outcome = readCatalog([{ file: 'catalog.yaml', text }])
    const faults = 'faults' in outcome ? outcome.faults : []
    const known = faults.find(each => each.message.startsWith('unknown key `x\u00e9`'))?.hint?.replace('known: ', '')
    const schemas = schemasAt(catalogSchema(), path === '' ? [] : path.split('.'))
    const table = schemas.find(schema => schema['properties'] !== undefined)
    const properties = (table?.['properties'] ?? {}) as Readonly<Record<string, JsonSchema>>
    t.equal(Object.keys(properties).join(', '), known, path)
    for (const [key, schema] of Object.entries(properties))
      t.match(schema['description'], /^.{5,200}$/, `${path}.${key}`)
    paths.add(path)
  }
  t.equal(tablesOf(catalogSchema()).size, paths.size, 'all tables are looked at')
  t.end()
})

/** A shape that may stand alone or in a list stands twice in the schema: it is one table. */
function tablesOf(schema: unknown, found = new Set<object>()): Set<object> {
  if (typeof schema !== 'object' || schema === null) return found
  if ('additionalProperties' in schema && schema.additionalProperties === false) found.add(schema)
  for (const each of Object.values(schema)) tablesOf(each, found)
  return found
}
