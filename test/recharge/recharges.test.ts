/** Recharges on a real store: once by reference over all accounts, bonuses, limits of a day, and races on all of these. */
import t from 'tap'
import { accountKey, partitionOf } from '../../src/balance/keys.js'
import { systemClock, type Clock } from '../../src/clock.js'
import { joinMoney } from '../../src/recharge/money.js'
import type { RechargeInput } from '../../src/recharge/recharges.js'
import { micros } from '../../src/units.js'
import { anAudit } from '../support/ledger.js'
import { entriesOf, moneyCatalog, startMoney } from '../support/money.js'
import { openStore, partitions } from '../support/store.js'

const sections = `
recharges:
  channels:
    portal: { min: '1.00', perDay: { count: 3, sum: '50.00' } }
    outlet: {}
  bonuses:
    - { name: welcome, first: true, percent: 10%, into: { bucket: bonus, expires: 30d } }
    - { name: twice, channel: outlet, most: 2, grant: { bucket: gift, amount: 1GB, for: data, expires: 7d } }
    - { name: always, channel: outlet, from: '5.00', money: '0.50' }
`
const aRecharge = (reference: string, changes: Partial<RechargeInput> = {}): RechargeInput => ({
  ...{ account: 'alice', amount: micros(5_000_000), currency: 'EUR', channel: 'outlet', reference, actor: 'test' },
  ...changes,
})

/** Business time that a test sets. */
const movable = (time: { now: number }): Clock => ({ ...systemClock, now: () => time.now })

t.test('money and bonus come in one entry, the first time and never again', async t => {
  const { recharges, accounts, store } = await startMoney(t, { sections })
  const first = await recharges.recharge(aRecharge('r1', { method: 'cash', outlet: 'shop-7', operator: 'eve' }))
  t.match(first, { status: 'credited', money: 15_000_000n, bonus: { rule: 'welcome', money: 0n } })
  t.match(first, { buckets: [{ id: '2-1', name: 'bonus', unit: 'money', amount: 500_000n }] })
  t.same(await recharges.recharge(aRecharge('r1')), { ...first, status: 'repeated' }, 'its first answer')
  const [, entry] = await entriesOf(store, 'alice')
  t.match(entry, { kind: 'recharge', channel: 'outlet', method: 'cash', outlet: 'shop-7', operator: 'eve' })
  t.match(entry, { reference: 'r1', bonus: 'welcome', actor: 'test' })
  t.same(entry!['posts'], [
    ['main', 'EUR', 5_000_000, 10_000_000, 15_000_000],
    ['source:outlet', 'EUR', -5_000_000],
    ['bucket:2-1', 'EUR', 500_000, 0, 500_000],
    ['offer', 'EUR', -500_000],
  ])
  t.match((await recharges.recharge(aRecharge('r2'))), { bonus: { rule: 'twice' }, buckets: [{ name: 'gift', amount: 1_000_000_000n }] }) // prettier-ignore
  t.match(await recharges.recharge(aRecharge('r3')), { bonus: { rule: 'twice' } })
  t.match(await recharges.recharge(aRecharge('r4')), { bonus: { rule: 'always', money: 500_000n }, money: 30_500_000n })
  t.match(await recharges.recharge(aRecharge('r5', { amount: micros(1) })), { bonus: undefined })
  t.equal((await accounts.show('alice'))!.buckets.length, 3)
  t.match(await anAudit(store), { ok: true })
})

t.test('what is refused leaves nothing, and its reference is free', async t => {
  const { recharges, has, accounts, store } = await startMoney(t, { sections })
  await accounts.create({ id: 'gone', currency: 'EUR', creditLimit: micros(0), status: 'terminated' }, undefined, micros(0), 'admin') // prettier-ignore
  const refusals: readonly (readonly [Partial<RechargeInput>, object])[] = [
    [{ account: 'nobody' }, { status: 'no_account' }],
    [{ account: 'gone' }, { status: 'account_terminated' }],
    [{ currency: 'USD' }, { status: 'currency_differs' }],
    [{ amount: micros(2n ** 52n) }, { status: 'too_large' }],
    [{ channel: 'web' }, { status: 'refused', why: 'the catalog has no channel web; it has portal, outlet' }],
    [
      { channel: 'portal', amount: micros(999_999) },
      { status: 'refused', why: 'channel portal takes 1.00 EUR at least' },
    ],
  ]
  for (const [changes, expected] of refusals) {
    t.match(await recharges.recharge(aRecharge('x', changes)), expected)
    t.same(await store.redis.keys('ocs:reference:*'), [], JSON.stringify(expected))
  }
  t.same(await has('alice'), { money: 10_000_000n, debt: 0n })
  t.match(await recharges.recharge(aRecharge('x')), { status: 'credited' })
  t.match(await recharges.recharge(aRecharge('x', { account: 'bob' })), { status: 'reference_taken', account: 'alice' })
  t.match(await recharges.recharge(aRecharge('x', { amount: micros(1) })), {
    status: 'reference_taken',
    amount: 5_000_000n,
  })
})

t.test('a reference tells what became of it, of one that began and was not finished, too', async t => {
  const { recharges, store } = await startMoney(t, { sections })
  t.same(await recharges.find('outlet', 'r1'), { status: 'unknown' })
  await store.redis.set('ocs:reference:outlet:r1', 'alice 5000000 EUR claimed')
  t.match(await recharges.find('outlet', 'r1'), { status: 'claimed', account: 'alice', amount: 5_000_000n })
  t.match(await recharges.recharge(aRecharge('r1', { account: 'bob' })), { status: 'reference_taken' })
  t.match(await recharges.recharge(aRecharge('r1')), { status: 'credited' }, 'whoever asks again finishes it')
  t.match(await recharges.find('outlet', 'r1'), { status: 'credited', credited: { bonus: { rule: 'welcome' } } })
})

t.test('a recharge that was made is answered, whatever the rules say by now', async t => {
  const money = await startMoney(t, { sections })
  await money.recharges.recharge(aRecharge('r1'))
  const later = moneyCatalog('recharges: { channels: { portal: {} } }')
  const { recharges } = joinMoney({ ...money, partitions, clock: systemClock, catalog: () => later })
  t.match(await recharges.recharge(aRecharge('r1')), { status: 'repeated', money: 15_000_000n })
  t.match(await recharges.recharge(aRecharge('r2')), { status: 'refused' })
})

t.test('a channel gives an account so much a day and no more, and the next day again', async t => {
  const clock = { now: Date.parse('2026-12-10T22:00:00Z') }
  const { recharges } = await startMoney(t, { sections, clock: movable(clock) })
  const over = (reference: string, amount: number): ReturnType<typeof recharges.recharge> =>
    recharges.recharge(aRecharge(reference, { channel: 'portal', amount: micros(amount) }))
  t.match(await over('a', 30_000_000), { status: 'credited' })
  t.match(await over('b', 20_000_001), { status: 'limit_sum', most: 50_000_000n, today: 30_000_000n })
  t.match(await over('c', 20_000_000), { status: 'credited' })
  t.match(await over('d', 1_000_000), { status: 'limit_sum' })
  t.match(await recharges.recharge(aRecharge('e', { account: 'bob', channel: 'portal' })), { status: 'credited' })
  t.match(await recharges.recharge(aRecharge('f')), { status: 'credited' }, 'another channel counts for itself')
  clock.now += 7_200_000
  for (const reference of ['d', 'g', 'h']) t.match(await over(reference, 1_000_000), { status: 'credited' })
  t.match(await over('i', 1_000_000), { status: 'limit_count', most: 3 })
})

t.test(
  'sixteen connections with the same reference credit once, with another account or amount not at all',
  async t => {
    const money = await startMoney(t, { sections })
    const daemons = await Promise.all(
      Array.from({ length: 16 }, async () => money.over(await openStore(t, money.redis)).recharges),
    )
    for (let round = 0; round < 20; round++) {
      const outcomes = await Promise.all(
        daemons.map((recharges, i) =>
          recharges.recharge(aRecharge(`race-${round}`, { account: i % 3 === 2 ? 'bob' : 'alice', amount: micros(1) })),
        ),
      )
      const of = (status: string): number => outcomes.filter(each => each.status === status).length
      t.equal(of('credited'), 1)
      t.ok([5, 11].includes(of('reference_taken')), 'all of the other account')
      t.equal(of('repeated') + of('reference_taken'), 15)
    }
    const [alice, bob] = [await money.has('alice'), await money.has('bob')]
    t.equal(alice.money + bob.money, 20_000_020n)
    t.match(await anAudit(money.store), { ok: true })
  },
)

t.test('limits of a day, and bonuses so often an account, hold under races', async t => {
  const money = await startMoney(t, { sections })
  const daemons = await Promise.all(
    Array.from({ length: 16 }, async () => money.over(await openStore(t, money.redis)).recharges),
  )
  const race = (channel: string): Promise<readonly { readonly status: string }[]> =>
    Promise.all(
      daemons.map((recharges, i) =>
        recharges.recharge(aRecharge(`${channel}-${i}`, { channel, amount: micros(2_000_000) })),
      ),
    )
  const portal = await race('portal')
  t.equal(portal.filter(({ status }) => status === 'credited').length, 3)
  t.equal(portal.filter(({ status }) => status === 'limit_count').length, 13)
  await race('outlet')
  const entries = await entriesOf(money.store, 'alice')
  const given = (rule: string): number => entries.filter(({ bonus }) => bonus === rule).length
  t.same([given('welcome'), given('twice'), given('always')], [1, 2, 0])
  t.equal((await money.has('alice')).money, 10_000_000n + 19n * 2_000_000n)
  t.match(await anAudit(money.store), { ok: true })
})

t.test('debt is repaid first, by the bonus into main, too', async t => {
  const { recharges, store, has } = await startMoney(t, { sections: sections.replace("first: true, percent: 10%, into: { bucket: bonus, expires: 30d }", "percent: 10%") }) // prettier-ignore
  await store.redis.hset(
    accountKey(partitionOf('alice', partitions), 'alice'),
    'funds',
    'active money 0 held 0 credit 0 debt 5200000 open 0 seq 1 rev 0',
  )
  t.match(await recharges.recharge(aRecharge('r1')), { debt: 0n, money: 300_000n, bonus: { money: 500_000n } })
  t.same(await has('alice'), { money: 300_000n, debt: 0n })
  const entry = (await entriesOf(store, 'alice')).at(-1)!
  t.same(entry['posts'], [
    ['debt', 'EUR', 5_000_000, -5_200_000, -200_000],
    ['source:outlet', 'EUR', -5_000_000],
    ['debt', 'EUR', 200_000, -200_000, 0],
    ['offer', 'EUR', -200_000],
    ['main', 'EUR', 300_000, 0, 300_000],
    ['offer', 'EUR', -300_000],
  ])
})
