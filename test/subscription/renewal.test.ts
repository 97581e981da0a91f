/**
 * Purchase, renewal, grace, change, cancellation and reminders of subscriptions, under a virtual clock on a real Redis: what becomes of money and
 * buckets, in which entries, and that it is done once (semantics.md section 8).
 */
import t from 'tap'
import { Session, aProgram } from '../support/charging.js'
import { anAudit } from '../support/ledger.js'
import { aCatalog, aSubscriptionScene, utc, type Entry, type SubscriptionScene } from '../support/subscriptions.js'
import { micros } from '../../src/units.js'

const hour = 3_600_000
const day = 24 * hour
const MB = 1_000_000n
const start = utc('2026-01-31T10:00Z')

const catalog = aCatalog(`
  month:
    fee: { amount: '10.00', every: month, setup: '1.00', remind: [3d, 1d] }
    grants:
      - { bucket: data, amount: 500MB, for: data, expires: period, priority: 10, remind: [2d], rollover: { max: 100MB, for: 30d } }
    rules: [{ service: data, use: [data, payg] }]
  calendar:
    fee: { amount: '10.00', every: month, align: calendar, proration: price-and-grants }
    grants: [{ bucket: data, amount: 500MB, for: data, expires: period }]
    rules: [{ service: data, use: [data, payg] }]
  bigger:
    fee: { amount: '30.00', every: month, align: calendar, proration: price-and-grants }
    grants: [{ bucket: data, amount: 2GB, for: data, expires: period }]
    rules: [{ service: data, use: [data, payg] }]
  strict:
    fee: { amount: '5.00', every: 10d, retry: [1h], grace: 2d, graceRules: false }
    rules: [{ service: data, use: payg }]
  days: { fee: { amount: '1.00', every: day, catchUp: each }, rules: [{ service: data, use: payg }] }
  latest: { fee: { amount: '1.00', every: day, catchUp: latest }, rules: [{ service: data, use: payg }] }
  pass: { fee: { amount: '2.00', every: day, renew: none }, rules: [{ service: data, use: payg }] }
  manual: { fee: { amount: '2.00', every: day, renew: manual, grace: 1d }, rules: [{ service: data, use: payg }] }
  once: { fee: { amount: '4.00' }, rules: [{ service: data, use: payg }] }
  free: { rules: [{ service: data, use: payg }] }
`)

let references = 0
const request = { actor: 'test', subscriber: '0' }
const aReference = (): string => `r-${++references}`

async function buy(scene: SubscriptionScene, account: string, offer: string): Promise<string> {
  const outcome = await scene.subscriptions.buy({ ...request, account, offer, reference: aReference() })
  if (outcome.status !== 'subscribed') throw new Error(JSON.stringify(outcome, (_, v: unknown) => String(v)))
  return outcome.subscription
}

const last = async (scene: SubscriptionScene, account: string): Promise<Entry> => (await scene.entries(account)).at(-1)!

const proven = async (scene: SubscriptionScene): Promise<readonly string[]> =>
  (await anAudit(scene.store)).problems.map(({ account, what }) => `${account}: ${what}`)

t.test('a purchase takes setup and fee from free money, with the buckets in one entry, or does nothing', async t => {
  const scene = await aSubscriptionScene(t, catalog, start)
  await scene.create('a', micros(20_000_000n))
  const once = { ...request, account: 'a', offer: 'month', reference: 'first' }
  t.match(await scene.subscriptions.buy(once), { status: 'subscribed', subscription: '1' })
  t.match(await scene.subscriptions.buy(once), { status: 'repeated', subscription: '1' })
  t.match(await last(scene, 'a'), {
    kind: 'subscribe',
    posts: [
      ['main', 'EUR', -11_000_000, 20_000_000, 9_000_000],
      ['fee', 'EUR', 11_000_000],
      ['bucket:2-1', 'octets', 500_000_000, 0, 500_000_000],
      ['offer', 'octets', -500_000_000],
    ],
  })
  t.match(await scene.subscriptions.buy({ ...once, reference: 'second' }), {
    status: 'insufficient',
    needs: 11_000_000n,
    free: 9_000_000n,
  })
  const { money, buckets, subscriptions } = await scene.account('a')
  t.equal(money, 9_000_000n)
  t.match(buckets, [{ subscription: '1', granted: start, initial: 500n * MB, catalog: catalog.version }])
  t.match(subscriptions, [
    { state: { status: 'active', from: start, until: utc('2026-02-28T10:00Z'), paid: 10_000_000n } },
  ])
  t.strictSame(await scene.due('a'), ['remind a subscription:1', 'remind a bucket:2-1', 'bucket a 2-1', 'renew a 1'])
  t.strictSame(await proven(scene), [])
})

t.test('a renewal is one entry: what is left rolls over or expires, the fee, the new bucket', async t => {
  const scene = await aSubscriptionScene(t, catalog, start)
  await scene.create('a', micros(40_000_000n))
  await buy(scene, 'a', 'month')
  await scene.to('2026-02-28T09:59:59.999Z')
  t.equal((await scene.account('a')).money, 29_000_000n)
  await scene.to('2026-02-28T10:00Z')
  const renewed = await last(scene, 'a')
  t.match(renewed, { kind: 'renew', subscription: '1', offer: 'month', try: 1, from: utc('2026-02-28T10:00Z') })
  t.equal(renewed['until'], utc('2026-03-31T09:00Z'), 'the 31st again, at the same time in Berlin')
  t.strictSame(renewed.posts, [
    ['bucket:2-1', 'octets', -100_000_000, 500_000_000, 400_000_000],
    [`bucket:${renewed.seq}-1`, 'octets', 100_000_000, 0, 100_000_000],
    ['bucket:2-1', 'octets', -400_000_000, 400_000_000, 0],
    ['expiry', 'octets', 400_000_000],
    ['main', 'EUR', -10_000_000, 29_000_000, 19_000_000],
    ['fee', 'EUR', 10_000_000],
    [`bucket:${renewed.seq}-2`, 'octets', 500_000_000, 0, 500_000_000],
    ['offer', 'octets', -500_000_000],
  ])
  t.equal((await scene.entries('a')).filter(({ kind }) => kind === 'expiry').length, 0)
  t.strictSame(await proven(scene), [])
})

t.test('worked example 17: a fee comes from free money only, and a release pays it', async t => {
  const scene = await aSubscriptionScene(t, catalog, start)
  // 23.00 to begin with: 11.00 for the first month leave 12.00; a session holds 3.00 of them.
  const payg = aProgram({ step: MB, num: 500_000n, validity: 40 * 86_400 })
  const session = await Session.open(t, scene, { account: 'a', money: 23_000_000n, credit: 0n })
  await buy(scene, 'a', 'month')
  const ask = (used: bigint, wanted?: bigint) => ({ key: '10', used, wanted, threshold: false, program: payg })
  await session.charge('I', 0, [ask(0n, 6n * MB)], { rev: '2' })
  t.match(await scene.account('a'), { money: 12_000_000n, held: 3_000_000n })
  await scene.to('2026-02-28T10:00Z')
  const [failed, expired, ...others] = (await scene.entries('a')).slice(3)
  t.match(failed, { kind: 'renew-failed', needs: 10_000_000, free: 9_000_000, try: 1, posts: [] })
  t.match(expired, { kind: 'expiry' }, 'in grace a bucket ends as it would')
  t.strictSame(others, [])
  t.match((await scene.account('a')).subscriptions[1], { state: { status: 'grace', tries: 1, needs: 10_000_000n } })
  await session.charge('T', 1, [ask(1n * MB)], { rev: '2' })
  await scene.to(scene.clock.now())
  t.match(await last(scene, 'a'), { kind: 'renew', try: 2 })
  const after = await scene.account('a')
  t.match(after, { money: 1_500_000n, held: 0n })
  t.match(after.subscriptions[1], { state: { status: 'active', tries: 0 } })
  t.strictSame(await proven(scene), [])
})

t.test('a failed renewal is tried again by rule and at a credit that suffices; then the subscription ends', async t => {
  const scene = await aSubscriptionScene(t, catalog, start)
  const kinds = async (): Promise<string[]> => (await scene.entries('a')).map(({ kind }) => kind)
  await scene.create('a', micros(5_000_000n))
  await buy(scene, 'a', 'strict')
  const due = start + 10 * day
  await scene.to(due)
  t.match(await last(scene, 'a'), { kind: 'renew-failed', needs: 5_000_000, free: 0, try: 1, until: due + 2 * day })
  t.match((await scene.account('a')).subscriptions, [{ paused: true }], 'its rules do not hold meanwhile')
  await scene.to(due + hour - 1)
  t.strictSame(await kinds(), ['create', 'subscribe', 'renew-failed'])
  await scene.to(due + hour)
  t.match(await last(scene, 'a'), { kind: 'renew-failed', try: 2 })
  const recharge = (amount: bigint) =>
    scene.accounts.recharge({
      account: 'a',
      amount: micros(amount),
      currency: 'EUR',
      channel: 'test',
      reference: aReference(),
      actor: 'test',
    })
  await recharge(4_999_999n)
  await scene.to(due + 3 * hour)
  t.match(await last(scene, 'a'), { kind: 'recharge' }, 'too little: it is not even tried')
  await recharge(1n)
  await scene.to(due + 3 * hour)
  t.match(await last(scene, 'a'), { kind: 'renew', try: 3, from: due, until: due + 10 * day })
  t.match((await scene.account('a')).subscriptions, [{ state: { status: 'active', due: due + 10 * day } }])
  t.notOk((await scene.account('a')).subscriptions[0]!.paused)

  await scene.to(due + 10 * day)
  await scene.to(due + 12 * day)
  t.match(await last(scene, 'a'), { kind: 'cancel', when: 'ended', why: 'unpaid' })
  t.strictSame((await scene.account('a')).subscriptions, [])
  t.strictSame(await scene.due('a'), [])
  await recharge(20_000_000n)
  await scene.to(due + 30 * day)
  t.equal((await scene.account('a')).money, 20_000_000n, 'what has ended costs nothing')
  t.equal(await buy(scene, 'a', 'strict'), '2', 'its number is not given again')
  t.strictSame(await proven(scene), [])
})

t.test('late by days: each renewal of its own period, or only the one in force', async t => {
  const scene = await aSubscriptionScene(t, catalog, start)
  for (const id of ['days', 'latest', 'poor']) await scene.create(id, micros(id === 'poor' ? 4_000_000n : 50_000_000n))
  await buy(scene, 'days', 'days')
  await buy(scene, 'latest', 'latest')
  await buy(scene, 'poor', 'days')
  await scene.to(start + 10 * day + hour)
  t.equal((await scene.account('days')).money, 39_000_000n)
  const renewals = (await scene.entries('days')).filter(({ kind }) => kind === 'renew')
  t.strictSame(
    renewals.map(entry => entry['from']),
    Array.from({ length: 10 }, (_, i) => start + (i + 1) * day),
  )
  t.equal((await scene.account('latest')).money, 48_000_000n)
  t.match(await last(scene, 'latest'), { kind: 'renew', from: start + 10 * day, until: start + 11 * day })
  t.match(await scene.account('poor'), {
    money: 0n,
    subscriptions: [{ state: { status: 'grace', until: start + 4 * day } }],
  })
})

t.test('at the end of its period a pass ends, a manual one waits to be asked', async t => {
  const scene = await aSubscriptionScene(t, catalog, start)
  for (const id of ['pass', 'manual']) await scene.create(id, micros(10_000_000n))
  await buy(scene, 'pass', 'pass')
  await buy(scene, 'manual', 'manual')
  const byHand = { reference: 'hand', actor: 'care' }
  t.match(await scene.subscriptions.renew('manual', '1', byHand), { status: 'early', due: start + day })
  await scene.to(start + day)
  t.match(await last(scene, 'pass'), { kind: 'cancel', when: 'ended', why: 'end' })
  t.match(await last(scene, 'manual'), { kind: 'renew-failed', why: 'manual', until: start + 2 * day })
  await scene.to(start + day + hour)
  t.match(await scene.subscriptions.renew('manual', '1', byHand), { status: 'done' })
  t.match(await scene.subscriptions.renew('manual', '1', byHand), { status: 'repeated' })
  t.match(await last(scene, 'manual'), { kind: 'renew', from: start + day, until: start + 2 * day, actor: 'care' })
  t.equal((await scene.account('manual')).money, 6_000_000n)
  await scene.to(start + 2 * day)
  await scene.to(start + 3 * day)
  t.match(await last(scene, 'manual'), { kind: 'cancel', why: 'not-renewed' })
  t.strictSame(await proven(scene), [])
})

t.test('parts of a period cost their part: the first of the calendar, a change, a cancellation', async t => {
  const at = utc('2026-04-20T22:00Z') // midnight of the 21st in Berlin: a third of April is left
  const scene = await aSubscriptionScene(t, catalog, at)
  await scene.create('a', micros(100_000_000n))
  await buy(scene, 'a', 'calendar')
  // 10.00 / 3 rounded down, 500 MB / 3 rounded up.
  t.match(await scene.account('a'), {
    money: 96_666_667n,
    buckets: [{ amount: 166_666_667n, until: utc('2026-04-30T22:00Z') }],
  })
  await scene.to('2026-04-25T22:00Z')
  const change = { offer: 'bigger', when: 'now', buckets: 'expire', reference: 'up', actor: 'care' } as const
  t.match(await scene.subscriptions.change('a', '1', change), { status: 'done' })
  // Half of the third is given back, in favour of who paid: 3,333,333 − 1,666,666. The new one costs a sixth of 30.00.
  const changed = await last(scene, 'a')
  t.match(changed, { kind: 'change', offer: 'calendar', to: 'bigger', fee: 5_000_000, refund: 1_666_667 })
  t.match(await scene.account('a'), {
    money: 93_333_334n,
    buckets: [{ amount: 333_333_334n, origin: 'bigger', until: utc('2026-04-30T22:00Z') }],
    subscriptions: [{ id: '1', offer: 'bigger', since: at }],
  })
  t.match(await scene.subscriptions.change('a', '1', change), { status: 'repeated' })
  t.match(await scene.subscriptions.change('a', '1', { ...change, offer: 'free' }), { status: 'reference_taken' })
  await scene.to('2026-04-30T22:00Z')
  t.equal((await scene.account('a')).money, 63_333_334n, 'May is paid whole')
  const later = { offer: 'calendar', when: 'renewal', buckets: 'keep', reference: 'down', actor: 'care' } as const
  t.match(await scene.subscriptions.change('a', '1', later), { status: 'done', subscription: { next: 10_000_000n } })
  await scene.to('2026-05-31T22:00Z')
  t.match(await last(scene, 'a'), { kind: 'renew', offer: 'calendar', before: 'bigger' })
  t.equal((await scene.account('a')).money, 53_333_334n)
  await scene.to('2026-06-15T22:00Z')
  const cancel = { when: 'now', buckets: 'expire', reference: 'bye', actor: 'care' } as const
  t.match(await scene.subscriptions.cancel('a', '1', cancel), { status: 'done' })
  t.match(await last(scene, 'a'), { kind: 'cancel', when: 'now', refund: 5_000_000 })
  t.match(await scene.account('a'), { money: 58_333_334n, buckets: [], subscriptions: [] })
  t.match(await scene.subscriptions.cancel('a', '1', cancel), { status: 'repeated' })
  t.strictSame(await proven(scene), [])
})

t.test('a cancellation at the end lets the period go on, and takes no fee after it', async t => {
  const scene = await aSubscriptionScene(t, catalog, start)
  await scene.create('a', micros(50_000_000n))
  await buy(scene, 'a', 'month')
  const cancel = { when: 'end', buckets: 'keep', reference: 'bye', actor: 'care' } as const
  t.match(await scene.subscriptions.cancel('a', '1', cancel), { status: 'done' })
  await scene.to('2026-02-20T10:00Z')
  t.match(await scene.account('a'), {
    subscriptions: [{ state: { status: 'ending' } }],
    buckets: [{ amount: 500n * MB }],
  })
  await scene.to('2026-04-01T10:00Z')
  const { money, subscriptions } = await scene.account('a')
  t.equal(money, 39_000_000n)
  t.strictSame(subscriptions, [])
  t.strictSame(await proven(scene), [])
})

t.test(
  'what ends soon is told once for each time, of subscription and bucket, and again in the next period',
  async t => {
    const scene = await aSubscriptionScene(t, catalog, start)
    await scene.create('a', micros(50_000_000n))
    await buy(scene, 'a', 'month')
    const told = async () =>
      (await scene.entries('a')).filter(({ kind }) => kind === 'remind').flatMap(({ events }) => events)
    for (let at = utc('2026-02-24T10:00Z'); at <= utc('2026-02-28T09:00Z'); at += hour) await scene.to(at)
    t.strictSame(await told(), [
      ['expires-soon', 'subscription:1', 3 * day],
      ['expires-soon', 'bucket:2-1', 2 * day],
      ['expires-soon', 'subscription:1', day],
    ])
    await scene.to('2026-02-28T10:00Z')
    await scene.to('2026-03-31T08:00Z')
    t.strictSame(
      (await told())
        .slice(3)
        .map(event => event![1])
        .sort(),
      ['bucket:6-2', 'subscription:1'],
      'late, each is told once',
    )
  },
)

t.test('a one-time fee is taken once; offers without a fee come and go, too', async t => {
  const scene = await aSubscriptionScene(t, catalog, start)
  await scene.create('a', micros(10_000_000n))
  await buy(scene, 'a', 'once')
  await buy(scene, 'a', 'free')
  await scene.to(start + 400 * day)
  t.match(await scene.account('a'), { money: 6_000_000n, subscriptions: [{ offer: 'once' }, { offer: 'free' }] })
  const now = { when: 'now', buckets: 'keep', actor: 'care' } as const
  t.match(await scene.subscriptions.cancel('a', '2', { ...now, when: 'end', reference: 'x' }), { status: 'impossible' })
  t.match(await scene.subscriptions.cancel('a', '2', { ...now, reference: 'y' }), { status: 'done' })
  t.match(await scene.subscriptions.change('a', '1', { ...now, offer: 'strict', reference: 'z' }), { status: 'done' })
  t.match(await scene.account('a'), { money: 1_000_000n, subscriptions: [{ id: '1', offer: 'strict' }] })
  t.strictSame(await proven(scene), [])
})

t.test('a suspended account is not renewed until it is in service again', async t => {
  const scene = await aSubscriptionScene(t, catalog, start)
  await scene.create('a', micros(50_000_000n))
  await buy(scene, 'a', 'month')
  await scene.accounts.setStatus('a', 'suspended', 'test')
  await scene.to('2026-03-10T10:00Z')
  t.equal((await scene.account('a')).money, 39_000_000n)
  await scene.accounts.setStatus('a', 'active', 'test')
  await scene.to('2026-03-10T11:00Z')
  t.match(await last(scene, 'a'), { kind: 'renew', from: utc('2026-02-28T10:00Z'), until: utc('2026-03-31T09:00Z') })
})
