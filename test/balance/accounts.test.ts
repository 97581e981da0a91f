/**
 * Accounts with real scripts on a real Redis: what a bucket is, in which order buckets pay, what becomes of them at their end, how many
 * there are of each, and what an account has of its own.
 */
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { DueLists } from '../../src/balance/due.js'
import { limitOf, optedIn } from '../../src/balance/extras.js'
import { accountKey, censusKey, dueKey, journalKey, partitionOf } from '../../src/balance/keys.js'
import type { Bucket, NewBucket, Override } from '../../src/balance/types.js'
import { systemClock, type Clock } from '../../src/clock.js'
import { micros, units } from '../../src/units.js'
import { aProgram, Session } from '../support/charging.js'
import { anAudit } from '../support/ledger.js'
import { chargingConfig, partitions, startStore, type TestStore } from '../support/store.js'
import { seed } from '../support/seed.js'

const day = 86_400_000
const start = Date.now()

/** A store whose business time is moved by hand. */
interface Scene extends TestStore {
  now: number
  /** Does what is due now, as the sweeper does; gives the outcomes. */
  sweep(): Promise<string[]>
}

async function aScene(t: Test): Promise<Scene> {
  const scene = { now: start } as Scene
  const clock: Clock = { ...systemClock, now: () => scene.now, monotonic: () => systemClock.monotonic() }
  Object.assign(scene, await startStore(t, { clock }))
  const due = new DueLists(scene.store, systemClock)
  scene.sweep = async () => {
    const outcomes: string[] = []
    for (let p = 0; p < partitions; p++) {
      for (;;) {
        const members = (await due.list(p, 0, 100)).filter(({ at }) => at <= scene.now)
        if (members.length === 0) break
        for (const { member } of members)
          outcomes.push(await due.expire(p, member, scene.now, scene.now - Date.now(), chargingConfig.keepSilentMs))
      }
    }
    return outcomes
  }
  return scene
}

const aBucket = (changes: Partial<NewBucket> = {}): NewBucket => ({
  name: 'data',
  unit: 'octets',
  amount: units(1000n),
  priority: 10,
  until: start + day,
  origin: 'test',
  ...changes,
})

let references = 0

async function give(scene: Scene, account: string, buckets: readonly NewBucket[], offer = 'test'): Promise<void> {
  if (!(await scene.accounts.show(account))) {
    const identities = [{ type: 'nai', value: `${account}@test` } as const]
    await scene.accounts.create(
      { id: account, currency: 'EUR', creditLimit: micros(0), status: 'active' },
      { identities, offers: [{ offer, buckets }] },
      micros(0),
      'admin',
    )
    return
  }
  const { rev } = (await scene.accounts.show(account))!
  const request = { account, subscriber: '0', offer, buckets, rev, actor: 'test' }
  await scene.accounts.subscribe({ ...request, reference: `r-${++references}` })
}

const bucketsOf = async (scene: Scene, account: string): Promise<readonly Bucket[]> =>
  (await scene.accounts.show(account))!.buckets

const lastEntry = async ({ store }: Scene, account: string): Promise<Record<string, unknown>> => {
  const [last] = await store.redis.xrevrange(journalKey(partitionOf(account, partitions)), '+', '-', 'COUNT', 1)
  return JSON.parse(last![1][1]!) as Record<string, unknown>
}

t.test('a bucket keeps all that its grant said', async t => {
  const scene = await aScene(t)
  const rollover = { min: units(10n), max: units(500n), lifeMs: 30 * day, priority: 5 }
  const full: NewBucket = aBucket({
    until: undefined,
    from: start + 5,
    life: 7 * day,
    paid: true,
    blocker: true,
    remind: [3 * day, day],
    warn: [units(500n), units(100n)],
    rollover,
  })
  await give(scene, 'a', [full, aBucket({ name: 'bonus', unit: 'money', amount: units(5_000_000n) })])
  const { amount, ...terms } = full
  t.strictSame(
    (await bucketsOf(scene, 'a')).find(({ name }) => name === 'data'),
    { ...terms, id: '1-1', amount, held: 0n, initial: 1000n, subscription: '1', granted: start, catalog: '-' },
  )
  t.match(await lastEntry(scene, 'a'), {
    posts: [
      ['bucket:1-1', 'octets', 1000, 0, 1000],
      ['offer', 'octets', -1000],
      ['bucket:1-2', 'EUR', 5_000_000, 0, 5_000_000],
      ['offer', 'EUR', -5_000_000],
    ],
  })
  t.ok((await anAudit(scene.store)).ok)
})

t.test('the draw order: priority, earliest end (none last), granted before paid, oldest', async t => {
  const scene = await aScene(t)
  const arbitrary = fc.record({
    priority: fc.integer({ min: 0, max: 2 }),
    until: fc.constantFrom(undefined, start + day, start + 2 * day),
    paid: fc.boolean(),
  })
  let accounts = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(arbitrary, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 3 }),
      async purchases => {
        const account = `order-${++accounts}`
        for (const [n, purchase] of purchases.entries())
          await give(
            scene,
            account,
            purchase.map((terms, i) => aBucket({ ...terms, name: `b${n}-${i}` })),
          )
        const made = purchases.flatMap((purchase, n) => purchase.map((terms, i) => ({ ...terms, name: `b${n}-${i}` })))
        // Array.sort is stable: what is equal stays in the order of its making.
        const expected = made.sort(
          (a, b) =>
            a.priority - b.priority ||
            (a.until === b.until ? 0 : (a.until ?? Infinity) - (b.until ?? Infinity)) ||
            Number(a.paid) - Number(b.paid),
        )
        const got = await bucketsOf(scene, account)
        t.same(
          got.map(({ name }) => name),
          expected.map(({ name }) => name),
        )
      },
    ),
    { seed, numRuns: 60 },
  )
  // The tenth purchase comes after the second: ages are numbers, not text.
  for (let i = 0; i < 11; i++) await give(scene, 'aged', [aBucket({ name: `b${i}` })])
  t.same(
    (await bucketsOf(scene, 'aged')).map(({ name }) => name),
    Array.from({ length: 11 }, (_, i) => `b${i}`),
  )
})

t.test('at its end a bucket rolls over what is free, between least and most, and the rest expires', async t => {
  interface Row {
    readonly name: string
    readonly left: bigint
    readonly min?: bigint
    readonly max?: bigint
    readonly rolled: bigint
    readonly expired: bigint
  }
  const rows: readonly Row[] = [
    { name: 'within', left: 300n, rolled: 300n, expired: 0n },
    { name: 'at least', left: 100n, min: 100n, rolled: 100n, expired: 0n },
    { name: 'too little', left: 99n, min: 100n, rolled: 0n, expired: 99n },
    { name: 'too much', left: 900n, max: 500n, rolled: 500n, expired: 400n },
    { name: 'nothing left', left: 0n, min: 0n, rolled: 0n, expired: 0n },
  ]
  for (const { name, left, min = 10n, max = 500n, rolled, expired } of rows) {
    const scene = await aScene(t)
    const rollover = { min: units(min), max: units(max), lifeMs: 30 * day, priority: 5 }
    const other = aBucket({ name: 'other', until: undefined, priority: 7 })
    const old = aBucket({
      amount: units(left),
      paid: true,
      blocker: true,
      warn: [units(50n)],
      rollover,
      origin: 'offer-x',
    })
    await give(scene, 'a', [old, other])
    scene.now = start + day
    t.same(await scene.sweep(), ['expired'], name)
    const buckets = await bucketsOf(scene, 'a')
    const expected = {
      name: 'data',
      amount: rolled,
      held: 0n,
      until: start + 31 * day,
      priority: 5,
      paid: true,
      origin: 'test',
    }
    t.match(buckets, rolled > 0n ? [expected, { name: 'other' }] : [{ name: 'other' }], `${name}: draw order`)
    t.equal(buckets.length, rolled > 0n ? 2 : 1, `${name}: the old one has left`)
    if (rolled > 0n) {
      const [next] = buckets
      t.same([next!.blocker, next!.warn, next!.rollover], [undefined, undefined, undefined], 'it does not roll on')
      const { posts, into } = (await lastEntry(scene, 'a')) as { posts: [string, string, number][]; into: string }
      t.equal(into, next!.id)
      t.equal(
        posts.filter(([to]) => to === 'expiry').reduce((sum, [, , n]) => sum + n, 0),
        Number(expired),
      )
    }
    t.same(
      (await scene.accounts.census()).buckets,
      new Map([['other', 1], ...(rolled > 0n ? ([['data', 1]] as const) : [])]),
    )
    t.strictSame((await anAudit(scene.store)).problems, [], `${name}: conserved`)
    scene.now = start + 31 * day
    t.same(await scene.sweep(), rolled > 0n ? ['expired'] : [], 'and at its own end it expires')
    t.match(await bucketsOf(scene, 'a'), [{ name: 'other' }])
    t.strictSame((await anAudit(scene.store)).problems, [])
  }
})

t.test('what is held of an ended bucket stays, and when it is gone so is the bucket', async t => {
  const scene = await aScene(t)
  const rollover = { min: units(1n), max: units(10_000n), lifeMs: 30 * day, priority: 5 }
  await give(scene, 'a', [aBucket({ rollover })])
  const partition = partitionOf('a', partitions)
  const key = accountKey(partition, 'a')
  const { redis } = scene.store
  const line = (await redis.hget(key, 'bucket:1-1'))!
  await redis.hset(key, 'bucket:1-1', line.replace('held 0', 'held 400'))
  scene.now = start + day
  t.same(await scene.sweep(), ['expired'])
  t.match(await bucketsOf(scene, 'a'), [
    { id: '2-1', amount: 600n },
    { id: '1-1', amount: 400n, held: 400n },
  ])
  t.same(
    await redis.zscore(dueKey(partition), 'bucket a 1-1'),
    String(start + day + 3_600_000),
    'it is looked at again',
  )
  const held = (await redis.hget(key, 'bucket:1-1'))!
  const { sequence } = (await scene.accounts.show('a'))!
  await redis.hset(key, 'bucket:1-1', held.replace('left 400 held 400', 'left 0 held 0'))
  scene.now += 3_600_000
  t.same(await scene.sweep(), ['expired'])
  t.match(await scene.accounts.show('a'), { sequence, buckets: [{ id: '2-1' }] }, 'nothing moved: no entry')
  t.same((await scene.accounts.census()).buckets, new Map([['data', 1]]))
})

t.test('a life that begins with the first use: the bucket gets its end, its place in the order, and ends', async t => {
  const scene = await aScene(t)
  const waiting = aBucket({ name: 'data', until: undefined, life: 7 * day })
  await give(scene, 'a', [aBucket({ name: 'other', until: start + 30 * day }), waiting])
  t.match(await bucketsOf(scene, 'a'), [{ name: 'other' }, { name: 'data', until: undefined, life: 7 * day }])
  scene.now = start + day
  const session = await Session.open(t, scene, { account: 'a', money: 0n, credit: 0n })
  const program = aProgram({ buckets: ['data'] })
  await session.charge('I', 0, [{ key: '10', used: 0n, wanted: 100n, program }])
  await session.charge('T', 1, [{ key: '10', used: 100n, program }])
  t.match(await bucketsOf(scene, 'a'), [{ name: 'data', amount: 900n, until: start + 8 * day }, { name: 'other' }])
  scene.now = start + 8 * day - 1
  t.same(await scene.sweep(), [])
  scene.now++
  t.same(await scene.sweep(), ['expired'])
  t.match(await bucketsOf(scene, 'a'), [{ name: 'other' }])
  t.equal((await bucketsOf(scene, 'a')).length, 1)
  t.strictSame((await anAudit(scene.store)).problems, [])
})

t.test('the census counts what all accounts have', async t => {
  const scene = await aScene(t)
  for (let i = 0; i < 20; i++)
    await give(scene, `a-${i}`, [aBucket(), aBucket({ name: 'sms', unit: 'events' })], 'bundle')
  await give(scene, 'a-3', [aBucket({ until: start + 2 * day })], 'extra')
  const census = await scene.accounts.census()
  t.same([...census.offers].sort(), [['bundle', 20], ['extra', 1]]) // prettier-ignore
  t.same([...census.buckets].sort(), [['data', 21], ['sms', 20]]) // prettier-ignore
  scene.now = start + day
  await scene.sweep()
  t.same((await scene.accounts.census()).buckets, new Map([['data', 1]]))
  const counts = await scene.store.redis.hgetall(censusKey(partitionOf('a-3', partitions)))
  t.match(counts, { 'offer:extra': '1', 'bucket:data': '1' }, 'it is kept in the partition of the account')
})

t.test('an offer is bought once for its reference', async t => {
  const scene = await aScene(t)
  await give(scene, 'a', [])
  const request = {
    account: 'a',
    subscriber: '1',
    offer: 'extra',
    buckets: [aBucket()],
    rev: '1',
    reference: 'r-1',
    actor: 'test',
  }
  t.same(await scene.accounts.subscribe(request), { status: 'subscribed', subscription: '2' })
  t.same(await scene.accounts.subscribe(request), { status: 'repeated', subscription: '2' })
  const taken = { status: 'reference_taken', offer: 'extra', subscriber: '1' }
  t.same(await scene.accounts.subscribe({ ...request, offer: 'other' }), taken)
  t.same(await scene.accounts.subscribe({ ...request, subscriber: '0' }), taken)
  const next = { ...request, reference: 'r-2' }
  t.same(await scene.accounts.subscribe(next), { status: 'moved' }, 'judged by an old profile')
  t.same(await scene.accounts.subscribe({ ...next, rev: '2', subscriber: '7' }), { status: 'no_subscriber' })
  t.same(await scene.accounts.subscribe({ ...next, account: 'b' }), { status: 'no_account' })
  await scene.accounts.setStatus('a', 'terminated', 'test')
  t.same(await scene.accounts.subscribe({ ...next, rev: '2' }), { status: 'account_terminated' })
  t.match(await scene.accounts.show('a'), {
    rev: '2',
    buckets: [{ name: 'data' }],
    subscriptions: [
      { id: '1', offer: 'test', subscriber: '1' },
      { id: '2', offer: 'extra', subscriber: '1' },
    ],
  })
  t.ok((await anAudit(scene.store)).ok)
})

const anOverride = (changes: Partial<Override> = {}): Override => ({
  id: 'o1',
  kind: 'price',
  target: 'payg',
  value: '5000',
  reason: 'retention',
  actor: 'care',
  ...changes,
})

t.test('what an account has of its own is changed as a whole, with an entry that says what changed', async t => {
  const scene = await aScene(t)
  const { accounts } = scene
  await give(scene, 'a', [])
  const actor = 'care'
  t.same(await accounts.setAttributes({ account: 'a', changes: { segment: 'vip', city: 'Ulm' }, actor }), {
    status: 'changed',
  })
  t.same(await accounts.setAttributes({ account: 'a', changes: { city: null }, actor }), { status: 'changed' })
  t.match(await lastEntry(scene, 'a'), {
    kind: 'attributes',
    before: { city: 'Ulm' },
    after: { city: null },
    actor,
    posts: [],
  })
  t.same(await accounts.setAttributes({ account: 'a', changes: { segment: 'vip', city: null }, actor }), {
    status: 'unchanged',
  })
  t.same(await accounts.setAttributes({ account: 'a', subscriber: '1', changes: { age: '17' }, actor }), {
    status: 'changed',
  })
  t.same(await accounts.setAttributes({ account: 'a', subscriber: '2', changes: {}, actor }), {
    status: 'no_subscriber',
  })
  t.same(await accounts.setAttributes({ account: 'b', changes: {}, actor }), { status: 'no_account' })
  t.same(await accounts.addOverride('a', anOverride()), { status: 'changed' })
  t.match(await lastEntry(scene, 'a'), {
    kind: 'override',
    before: null,
    after: anOverride(),
    reason: 'retention',
    actor,
  })
  t.same(await accounts.addOverride('a', anOverride()), { status: 'unchanged' }, 'the same again')
  const limit = anOverride({ id: 'o2', kind: 'limit', target: 'roaming', subscriber: '1', until: start + day })
  t.same(await accounts.addOverride('a', limit), { status: 'changed' })
  t.match(await lastEntry(scene, 'a'), { kind: 'limit', after: { subscriber: '1' } })
  t.same(
    await accounts.optIn({ account: 'a', subscriber: '1', counter: 'roaming', on: true, until: start + 5, actor }),
    { status: 'changed' },
  )
  t.match(await lastEntry(scene, 'a'), {
    kind: 'opt-in',
    before: { optedIn: false },
    after: { optedIn: true, until: start + 5 },
  })
  t.match(await accounts.show('a'), {
    rev: '7',
    extras: {
      attributes: { segment: 'vip' },
      subscribers: { 1: { age: '17' } },
      overrides: [{ id: 'o1' }, { id: 'o2' }],
      optIns: { roaming: `1=${start + 5}` },
    },
  })
  const { extras } = (await accounts.show('a'))!
  t.equal(optedIn(extras.optIns, 'roaming', '1', start), start + 5)
  t.equal(limitOf(extras, 'roaming', '1', start), undefined, 'opted in')
  t.equal(limitOf(extras, 'roaming', '1', start + 5), 5000n, 'its own limit')
  t.equal(limitOf(extras, 'roaming', '1', start + day), 'default', 'over')
  t.equal(limitOf(extras, 'roaming', '2', start), 'default', 'of another')
  t.same(await accounts.optIn({ account: 'a', subscriber: '1', counter: 'roaming', on: false, actor }), {
    status: 'changed',
  })
  t.same(await accounts.removeOverride({ account: 'a', id: 'o1', reason: 'over', actor }), { status: 'changed' })
  t.match(await lastEntry(scene, 'a'), { kind: 'override', before: { id: 'o1' }, after: null, reason: 'over' })
  t.same(await accounts.removeOverride({ account: 'a', id: 'o1', reason: 'over', actor }), { status: 'no_override' })
  t.strictSame((await anAudit(scene.store)).problems, [])
})

t.test('two overrides of one thing at one time are refused', async t => {
  const scene = await aScene(t)
  await give(scene, 'a', [])
  await scene.accounts.addOverride('a', anOverride({ from: start, until: start + day }))
  const table: readonly [Partial<Override>, string][] = [
    [{ from: start + day - 1 }, 'overlaps'],
    [{ until: start + 1 }, 'overlaps'],
    [{ kind: 'rate', value: 'cheap' }, 'overlaps'],
    [{ from: start + day }, 'changed'],
    [{ target: 'other' }, 'changed'],
    [{ kind: 'limit' }, 'changed'],
    [{ kind: 'limit', subscriber: '1' }, 'changed'],
  ]
  for (const [i, [changes, status]] of table.entries()) {
    const outcome = await scene.accounts.addOverride('a', anOverride({ id: `x${i}`, ...changes }))
    t.equal(outcome.status, status, JSON.stringify(changes))
  }
})

t.test('changes at one time are all kept', async t => {
  const scene = await aScene(t)
  await give(scene, 'a', [])
  const names = Array.from({ length: 8 }, (_, i) => `k${i}`)
  await Promise.all(
    names.map(name => scene.accounts.setAttributes({ account: 'a', changes: { [name]: 'x' }, actor: 'test' })),
  )
  t.same(Object.keys((await scene.accounts.show('a'))!.extras.attributes).sort(), names)
})
