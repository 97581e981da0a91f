/** What one account has differently is what it is charged and granted by, over a real Gy session; the others go on as the catalog says. */
import { join } from 'node:path'
import t from 'tap'
import type { Override } from '../../src/balance/types.js'
import { linesOf, MiB, startScenario, Talk, type Subject } from '../support/scenario.js'

const day = 86_400_000
const catalog = `
currency: EUR
services:
  data:
    { context: 32251@3gpp.org, unit: octets, quota: { size: 10MiB, min: 1MiB, max: 100MiB, validity: 1h, threshold: 0% } }
counters:
  cap: { unit: money, per: account, reset: never, for: data, limit: '0.20', then: stop, optIn: true, steps: [50%, 100%] }
  member: { unit: octets, per: subscriber, reset: never, for: data }
rates:
  data-10: { unit: octets, price: '0.01', per: 1MiB, step: 1MiB }
  data-20: { unit: octets, price: '0.02', per: 1MiB, step: 1MiB }
offers:
  payg:
    rules:
      - { service: data, ratingGroup: 10, account: { segment: vip }, free: true }
      - { service: data, ratingGroup: 10, use: [data-10] }
      - { service: data, ratingGroup: 20, use: [pot, data-20] }
  pot:
    rank: 10
    grants: [{ bucket: pot, amount: 4MiB, for: data, expires: 10d, rollover: { min: 1MiB, max: 2MiB, for: 5d, priority: 1 } }]
    rules: [{ service: data, ratingGroup: 20, use: [pot] }]
`
const folder = t.testdir({ 'catalog.yaml': catalog })
const scenario = await startScenario(t, 'flows', { catalog: join(folder, 'catalog.yaml') })
const { accounts, clock } = scenario
const gateway = await scenario.gateway(t)
const actor = 'test'
let overrides = 0

const override = (
  subject: Subject,
  changes: Partial<Override> & Pick<Override, 'kind' | 'target' | 'value'>,
): Promise<unknown> =>
  accounts.addOverride(subject.account, { id: `o${++overrides}`, reason: 'test', actor, ...changes })

/** Opens a session, reports it, ends it: what that cost, EUR. */
async function costOf(subject: Subject, ratingGroup: number, octets: bigint): Promise<bigint> {
  const before = (await accounts.show(subject.account))!
  const talk = new Talk(gateway, [subject.id])
  await talk.initial([{ ratingGroup, requested: {} }])
  await talk.terminate(1, [{ ratingGroup, used: [{ octets }] }])
  const after = (await accounts.show(subject.account))!
  return before.money - after.money
}

/** What a new session is granted. */
async function granted(subject: Subject, ratingGroup = 10): Promise<bigint | number> {
  const talk = new Talk(gateway, [subject.id])
  const answer = await talk.initial([{ ratingGroup, requested: {} }])
  const octets = linesOf(answer)[0]?.octets
  if (octets !== undefined) await talk.terminate(1)
  return octets ?? answer.resultCode
}

t.test('a price of its own, and another rate, in their time only', async t => {
  const [alice, bob] = [await scenario.subject(t, { offer: 'payg' }), await scenario.subject(t, { offer: 'payg' })]
  const now = clock.now()
  await override(alice, { kind: 'price', target: 'data-10', value: '4000', until: now + day })
  await override(alice, { kind: 'rate', target: 'data-10', value: 'data-20', from: now + 2 * day })
  t.equal(await costOf(alice, 10, 3n * MiB), 12_000n)
  t.equal(await costOf(bob, 10, 3n * MiB), 30_000n, 'the catalog’s for others')
  clock.shift(day)
  t.equal(await costOf(alice, 10, 3n * MiB), 30_000n, 'over')
  clock.shift(day)
  t.equal(await costOf(alice, 10, 3n * MiB), 60_000n, 'the other rate')
})

t.test('a cap has steps; its limit is another one for an account, or none for who opted in', async t => {
  const alice = await scenario.subject(t, { offer: 'payg' })
  t.equal(await costOf(alice, 10, 11n * MiB), 110_000n)
  const events = (await alice.entries()).flatMap(({ events }) => (events ?? []) as unknown[])
  t.match(events, [['counter', 'cap.0', 50]])
  t.equal(await granted(alice), 9n * MiB, 'what the cap leaves')
  await override(alice, { kind: 'limit', target: 'cap', value: '140000' })
  t.equal(await granted(alice), 3n * MiB)
  await accounts.optIn({ account: alice.account, subscriber: '0', counter: 'cap', on: true, actor })
  t.equal(await granted(alice), 10n * MiB, 'beyond the limit')
  await accounts.optIn({ account: alice.account, subscriber: '0', counter: 'cap', on: false, actor })
  t.equal(await costOf(alice, 10, 3n * MiB), 30_000n)
  t.equal(await granted(alice), 4012)
})

t.test('members of an account have limits of their own', async t => {
  const alice = await scenario.subject(t, { offer: 'payg' })
  const bob = [{ type: 'msisdn', value: `${alice.account}99` }] as const
  await accounts.create(
    { id: alice.account, currency: 'EUR', creditLimit: 0n as never, status: 'active' },
    { identities: bob, offers: [{ offer: 'payg', buckets: [] }] },
    0n as never,
    'admin',
  )
  await override(alice, { kind: 'limit', target: 'member', value: String(3n * MiB), subscriber: '2' })
  t.equal(await granted(alice), 10n * MiB, 'the first member has none')
  const talk = new Talk(gateway, [['e164', bob[0].value]])
  t.match(linesOf(await talk.initial([{ ratingGroup: 10, requested: {} }])), [{ octets: 3n * MiB }])
})

t.test('an attribute decides which rule applies, from the next request on', async t => {
  const alice = await scenario.subject(t, { offer: 'payg' })
  t.equal(await costOf(alice, 10, MiB), 10_000n)
  await accounts.setAttributes({ account: alice.account, changes: { segment: 'vip' }, actor })
  t.equal(await costOf(alice, 10, MiB), 0n)
  await accounts.setAttributes({ account: alice.account, changes: { segment: null }, actor })
  t.equal(await costOf(alice, 10, MiB), 10_000n)
})

t.test('offers stack: the bucket of one bought later pays, rolls over, and is charged from again', async t => {
  const alice = await scenario.subject(t, { offer: 'payg' })
  const { rev } = (await accounts.show(alice.account))!
  t.equal(await costOf(alice, 20, MiB), 20_000n)
  const until = clock.now() + 10 * day
  const rollover = { min: MiB, max: 2n * MiB, lifeMs: 5 * day, priority: 1 } as never
  const pot = {
    name: 'pot',
    unit: 'octets',
    amount: (4n * MiB) as never,
    priority: 10,
    until,
    origin: 'pot',
    rollover,
  } as const
  const request = { account: alice.account, subscriber: '0', offer: 'pot', buckets: [pot], rev, reference: 'r', actor }
  t.match(await accounts.subscribe(request), { status: 'subscribed' })
  t.equal(await costOf(alice, 20, MiB), 0n)
  await alice.is(t, { buckets: [[3n * MiB, 0n]] }, 'a MiB is gone')
  clock.shift(10 * day)
  let buckets
  do buckets = (await accounts.show(alice.account))!.buckets
  while (buckets[0]?.priority !== 1)
  t.match(buckets, [{ name: 'pot', amount: 2n * MiB, until: until + 5 * day }])
  t.equal(await costOf(alice, 20, 3n * MiB), 20_000n, 'two of three MiB came over')
})

t.test('every answer is complete and names nobody', t => {
  scenario.checkAnswers(t)
  t.end()
})
