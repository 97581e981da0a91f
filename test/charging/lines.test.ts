/** What a request asks, by its peer's profile: a bound for the grant, or nothing that counts (semantics.md section 7). */
import t from 'tap'
import type { LineRequest, UnitAmounts } from '../../src/charging/charging.js'
import { prepareLines } from '../../src/charging/lines.js'
import { loadCatalog } from '../../src/rating/load.js'
import { readExtras } from '../../src/balance/extras.js'

const outcome = loadCatalog('test/flows/catalog.yaml')
if (!('catalog' in outcome)) throw new Error('the catalog of the flows is bad')
const { catalog } = outcome
const at = Date.UTC(2026, 0, 5, 12)
const context = {
  catalog,
  service: catalog.services.get('data')!,
  profile: {
    currency: 'EUR',
    rev: '1',
    subscriptions: [{ id: '1', offer: 'flows', since: at, subscriber: '1' }],
    subscribers: new Map([['1', []]]),
    former: new Map(),
    departed: new Map(),
    extras: readExtras(undefined),
  },
  subscriber: '1',
  facts: { plmn: undefined, called: undefined, apn: undefined, rat: undefined, direction: undefined },
  at,
  silence: 2,
}
const nothing = { octets: undefined, seconds: undefined, events: undefined, money: undefined }
const line = (requested: UnitAmounts | undefined): LineRequest => ({
  key: '10',
  ratingGroup: 10,
  serviceIdentifiers: [],
  requested,
  used: nothing,
  currency: undefined,
  threshold: false,
})

t.test('the amount asked for counts unless the profile ignores it', t => {
  const cases: readonly (readonly [what: string, UnitAmounts | undefined, bound: unknown, ignored: unknown])[] = [
    ['no Requested-Service-Unit', undefined, undefined, undefined],
    ['one without amounts', nothing, 'any', 'any'],
    ['an amount', { ...nothing, octets: 5n }, 5n, 'any'],
    ['none of it', { ...nothing, octets: 0n }, 'any', 'any'],
    ['an amount beside another', { ...nothing, octets: 5n, seconds: 60n }, 5n, 'any'],
  ]
  for (const [what, requested, bound, ignored] of cases) {
    const asked = (requestedUnits: 'bound' | 'ignore'): unknown =>
      prepareLines(context, [line(requested)], { requestedUnits, tariffSwitch: 'announce' }).lines[0]!.asked
    t.equal(asked('bound'), bound, `${what}: bound`)
    t.equal(asked('ignore'), ignored, `${what}: ignore`)
  }
  t.end()
})
