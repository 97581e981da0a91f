/**
 * What one session or one account of its own cannot show: members of a family, opt-in, overrides, and the sizes of grants. The
 * tariffs are those of test/tariffs/.
 */
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { formatFault } from '../../src/config/yaml.js'
import type { Catalog } from '../../src/rating/catalog.js'
import { loadCatalog } from '../../src/rating/load.js'
import { newBuckets } from '../../src/rating/match.js'
import type { Information, ServiceInput } from '../../src/simulator/ccr.js'
import type { Gateway } from '../../src/simulator/gateway.js'
import { formatMoney, micros } from '../../src/units.js'
import { linesOf, startScenario, Talk, type Scenario } from '../support/scenario.js'

interface Stage {
  readonly scenario: Scenario
  readonly gateway: Gateway
  readonly catalog: Catalog
}

const MB = 1_000_000n

async function stage(t: Test, tariff: string): Promise<Stage> {
  const path = fileURLToPath(new URL(`../tariffs/${tariff}.yaml`, import.meta.url))
  const outcome = loadCatalog(path)
  if (!('catalog' in outcome)) throw new Error(outcome.faults.map(formatFault).join('\n'))
  const scenario = await startScenario(t, 'flows', { catalog: path })
  return { scenario, gateway: await scenario.gateway(t), catalog: outcome.catalog }
}

/** A session of data that says where it is. */
function talk({ gateway }: Stage, msisdn: string, information?: Information): Talk {
  return new Talk(gateway, [['e164', msisdn]], information ? { information } : {})
}

const asks = (used?: bigint): ServiceInput[] => [
  { ratingGroup: 10, requested: {}, ...(used !== undefined && { used: [{ octets: used }] }) },
]

t.test('members of a family share a bucket, and each has its limit', async t => {
  const on = await stage(t, 'shared-account')
  const { accounts } = on.scenario.daemon
  const account = { id: 'family', currency: 'EUR', creditLimit: micros(0), status: 'active' } as const
  for (const msisdn of ['491701', '491702']) {
    const subscriber = { identities: [{ type: 'msisdn', value: msisdn } as const], offers: [] }
    t.equal((await accounts.create(account, subscriber, micros(0), 'admin')).status, 'created')
  }
  const { rev } = (await accounts.show('family'))!
  const buckets = newBuckets(on.catalog, 'family', on.scenario.clock.now())!
  const bought = { account: 'family', subscriber: '0', offer: 'family', buckets, rev, reference: 'r1', actor: 'test' }
  t.equal((await accounts.subscribe(bought)).status, 'subscribed')

  const one = talk(on, '491701')
  t.match(linesOf(await one.initial(asks())), [{ code: 2001, octets: 10n * MB }])
  t.match(
    linesOf(await one.update(1, asks(1_995n * MB))),
    [{ code: 2001, octets: 5n * MB }],
    'five are left of its share',
  )
  t.match(linesOf(await one.update(2, asks(5n * MB))), [{ code: 4012 }], 'then none')
  const two = talk(on, '491702')
  t.match(linesOf(await two.initial(asks())), [{ code: 2001, octets: 10n * MB }], 'the other member goes on')
  t.equal((await two.terminate(1, [{ ratingGroup: 10, used: [{ octets: 10n * MB }] }])).resultCode, 2001)
  t.equal((await one.terminate(3)).resultCode, 2001)
  const shown = (await accounts.show('family'))!
  t.same(
    shown.buckets.map(({ amount }) => amount),
    [7_990n * MB],
    'of one bucket',
  )
  t.same(
    shown.counters.map(({ name, scope, value }) => [name, scope, value]).sort(),
    [
      ['member-data', '1', 2_000n * MB],
      ['member-data', '2', 10n * MB],
    ],
    'and two counters',
  )
})

t.test('who opts out of a limit goes on, and stops again when that ends', async t => {
  const on = await stage(t, 'cap-cycle-stop')
  const { accounts } = on.scenario.daemon
  const subject = await on.scenario.subject(t, { money: '200.00', offer: 'roam' })
  const session = talk(on, subject.account, { plmn: '310410' })
  t.match(linesOf(await session.initial(asks())), [{ code: 2001, octets: MB }])
  t.match(linesOf(await session.update(1, asks(50n * MB))), [{ code: 4012 }], '50.00 are charged')
  const optIn = { account: subject.account, subscriber: '1', counter: 'month-roaming', actor: 'test' }
  t.equal((await accounts.optIn({ ...optIn, on: true })).status, 'changed')
  t.match(linesOf(await session.update(2, asks())), [{ code: 2001, octets: MB }], 'the limit does not hold')
  t.match(linesOf(await session.update(3, asks(7n * MB))), [{ code: 2001, octets: MB }])
  t.equal((await accounts.optIn({ ...optIn, on: false })).status, 'changed')
  t.match(linesOf(await session.update(4, asks(MB))), [{ code: 4012 }], 'and holds again')
  await session.terminate(5)
  await subject.is(t, { bal: '142.00', res: '0.00', debt: '0.00' }, '58 MB at 1.00')
})

t.test('an account has a price of its own, until a date', async t => {
  const on = await stage(t, 'payg')
  const { accounts } = on.scenario.daemon
  const { clock } = on.scenario
  const subject = await on.scenario.subject(t, { money: '1.00', offer: 'payg' })
  const until = clock.now() + 3_600_000
  const price = {
    id: 'o1',
    kind: 'price',
    target: 'data-payg',
    value: '8000',
    reason: 'retention',
    actor: 'test',
  } as const
  t.equal((await accounts.addOverride(subject.account, { ...price, until })).status, 'changed')
  const use = async (octets: bigint): Promise<void> => {
    const session = talk(on, subject.account)
    t.match(linesOf(await session.initial(asks())), [{ code: 2001 }])
    t.equal((await session.terminate(1, [{ ratingGroup: 10, used: [{ octets }] }])).resultCode, 2001)
  }
  await use(5n * MB)
  await subject.is(t, { bal: '0.96', res: '0.00' }, '5 · 0.008')
  clock.shift(3_601_000)
  await use(5n * MB)
  await subject.is(t, { bal: '0.91', res: '0.00' }, '5 · 0.01')
})

t.test('grants follow the pace of the session and the money that is left', async t => {
  const on = await stage(t, 'adaptive-quota')
  const { clock } = on.scenario
  const subject = await on.scenario.subject(t, { money: '100.00', offer: 'payg' })
  const session = talk(on, subject.account)
  const granted = async (number: number, seconds: number, used: bigint): Promise<number> => {
    clock.shift(seconds * 1_000)
    const [line] = linesOf(await session.update(number, asks(used)))
    return Number((line?.octets ?? 0n) / MB)
  }
  /** The daemon's clock also runs by itself: grants are a little below those of the exact pace. */
  const about = (found: number, expected: number, what: string): void => {
    t.ok(found <= expected && found > expected * 0.9, `${what}: ${found} MB, about ${expected}`)
  }
  t.match(linesOf(await session.initial(asks())), [{ code: 2001, octets: 10n * MB }], 'nothing is known: size')
  about(await granted(1, 100, 10n * MB), 30, '100 kB a second for five minutes')
  about(await granted(2, 300, 30n * MB), 30, 'the same pace')
  about(await granted(3, 10, 30n * MB), 50, 'much faster: at most 50')
  for (let i = 0; i < 12; i++) await granted(4 + i, 3_000, MB / 10n)
  about(await granted(16, 3_000, MB / 10n), 1, 'hardly anything: at least 1')
  await session.terminate(17)
  t.equal(formatMoney((await on.scenario.daemon.accounts.show(subject.account))!.money), '99.287', '71.3 MB in all')
})
