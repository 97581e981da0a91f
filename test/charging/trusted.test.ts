/**
 * A store that lost its data: better no answer than "unknown subscriber" for everybody.
 */
import t from 'tap'
import { ChargingFunction, type CreditRequest } from '../../src/charging/charging.js'
import { systemClock } from '../../src/clock.js'
import { standardProfile } from '../../src/config/profiles.js'
import { loadCatalog } from '../../src/rating/load.js'
import { Metrics } from '../../src/telemetry/metrics.js'
import { DiameterCounters } from '../../src/diameter/metrics.js'
import { chargingConfig, startStore } from '../support/store.js'

void t.test('a store that was emptied is noticed, and nothing is charged until it is restored', async t => {
  const { store, balance, identities } = await startStore(t)
  const deadline = (): number => systemClock.monotonic() + 5000
  await store.check(deadline())
  t.equal((await store.state(deadline())).emptied, false)
  let trusted = true
  const outcome = loadCatalog('config/catalog')
  if (!('catalog' in outcome)) throw new Error('the shipped catalog is bad')
  const charging = new ChargingFunction({
    balance,
    identities,
    config: chargingConfig,
    clock: systemClock,
    metrics: new Metrics({ version: 'test', diameter: new DiameterCounters([]), peers: () => [], runtime: false })
      .charging,
    descriptions: { note: () => undefined },
    hints: { entry: () => undefined, due: () => undefined },
    catalog: () => outcome.catalog,
    trusted: () => trusted,
  })
  const initial = (): CreditRequest => ({
    type: 'initial',
    number: 0,
    sessionId: 'gw;1;1',
    originHost: 'gw',
    serviceContextId: '32251@3gpp.org',
    eventTime: undefined,
    identities: [{ type: 'msisdn', value: '491701000001' }],
    lines: [],
    facts: { plmn: undefined, called: undefined, apn: undefined, rat: undefined, direction: undefined },
    retransmitted: false,
    arrival: systemClock.now(),
    arrivedAt: systemClock.monotonic(),
    profile: standardProfile,
  })
  t.match(await charging.charge(initial()), { status: 'unknown_subscriber' })
  await store.redis.flushall()
  t.equal((await store.state(deadline())).emptied, true)
  trusted = false
  t.match(await charging.charge(initial()), { status: 'busy' })
})
