/**
 * The life cycle of accounts: each step once, in the order of the times, however late and by however many; money and identities at its end.
 * Random histories agree with a model of the state machine.
 */
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { RedisAccounts } from '../../src/balance/accounts.js'
import { DueLists } from '../../src/balance/due.js'
import { dueKey, journalKey, partitionOf } from '../../src/balance/keys.js'
import { Lives } from '../../src/balance/life.js'
import type { Account } from '../../src/balance/types.js'
import { Expiry } from '../../src/charging/expiry.js'
import { systemClock, VirtualClock } from '../../src/clock.js'
import type { Catalog, LifeCycle } from '../../src/rating/catalog.js'
import { readCatalog } from '../../src/rating/load.js'
import { LifeCycles } from '../../src/subscription/life-cycle.js'
import { micros, units, type Micros } from '../../src/units.js'
import { aProgram, Session } from '../support/charging.js'
import { allPartitions, anAudit, silent } from '../support/ledger.js'
import { seed } from '../support/seed.js'
import { chargingConfig, partitions, startStore, type TestStore } from '../support/store.js'

const day = 86_400_000
const euro = (amount: number): Micros => micros(BigInt(Math.round(amount * 1_000_000)))

const text = (life: string): string => `
currency: EUR
services:
  data: { context: 32251@3gpp.org, unit: octets, quota: { size: 1MB } }
rates:
  payg: { unit: octets, price: '0.01', per: 1MB, step: 1MB }
offers:
  payg: { rank: 100, rules: [{ service: data, use: [payg] }] }
${life}
`
const prepaid = `lifecycle:
  staff: { account: { segment: staff }, start: none }
  prepaid:
    offers: payg
    start: any
    first: 10d
    unused: 365d
    validity: [{ amount: '5.00', lasts: 30d }, { amount: '20.00', lasts: 90d }]
    max: 100d
    grace: { lasts: 10d, service: none }
    suspended: 20d
    quarantine: 60d
    warn: [7d, 1d]
`

function catalogOf(life: string): Catalog {
  const outcome = readCatalog([{ file: 'catalog.yaml', text: text(life) }])
  if ('faults' in outcome) throw new Error(JSON.stringify(outcome.faults))
  return outcome.catalog
}

interface Scene extends TestStore {
  readonly clock: VirtualClock
  readonly accounts: RedisAccounts
  readonly lifeCycles: LifeCycles
  catalog: Catalog
  /** Three at once, as three daemons would; twice, so that what the first left is done. */
  sweep(): Promise<void>
  birth(
    id: string,
    opening?: Micros,
    changes?: { attributes?: Record<string, string>; bucket?: bigint },
  ): Promise<Account>
  recharge(id: string, amount: number): Promise<void>
  entries(id: string): Promise<Entry[]>
}

interface Entry {
  readonly kind: string
  readonly at: number
  readonly from?: string
  readonly to?: string
  readonly rule?: string
  readonly posts: readonly (readonly [string, string, number])[]
  readonly events?: readonly (readonly [string, string, number])[]
}

async function aScene(t: Test, catalog: Catalog): Promise<Scene> {
  const clock = new VirtualClock(Date.now())
  const offset = (): number => clock.now() - Date.now()
  const store = await startStore(t, { clock })
  const lives = new Lives(store.store, partitions, clock, offset)
  const lifeCycles: LifeCycles = new LifeCycles({
    ...{ lives, accounts: () => accounts, catalog: () => scene.catalog, clock },
    metrics: { became: () => undefined },
  })
  const accounts = new RedisAccounts(store.store, partitions, chargingConfig, clock, undefined, undefined, lifeCycles)
  const sweepers = [1, 2, 3].map(
    () =>
      new Expiry({
        ...{
          due: new DueLists(store.store, systemClock),
          partitions,
          leases: allPartitions,
          clock,
          offset,
          log: silent,
        },
        identities: store.identities,
        jobs: new Map([['life', (partition: number, member: string) => lifeCycles.job(partition, member)]]),
        keepSilentMs: chargingConfig.keepSilentMs,
        metrics: {
          ...{ released: () => undefined, silent: () => undefined, bucketExpired: () => undefined },
          skew: () => t.fail('skew'),
          defect: () => t.fail('defect'),
        },
      }),
  )
  let references = 0
  const scene: Scene = {
    ...store,
    ...{ clock, accounts, lifeCycles, catalog },
    sweep: async () => {
      await Promise.all(sweepers.map(sweeper => sweeper.round()))
      await sweepers[0]!.round()
    },
    birth: async (id, opening = micros(0), { attributes, bucket } = {}) => {
      const buckets =
        bucket === undefined
          ? []
          : [
              {
                name: 'data',
                unit: 'octets' as const,
                amount: units(bucket),
                priority: 10,
                until: undefined,
                origin: 'payg',
              },
            ]
      await accounts.create(
        { id, currency: 'EUR', creditLimit: micros(0), attributes },
        { identities: [{ type: 'nai', value: `${id}@test` }], offers: [{ offer: 'payg', buckets }] },
        opening,
        'admin',
      )
      return (await accounts.show(id))!
    },
    recharge: async (id, amount) => {
      const request = { account: id, amount: euro(amount), currency: 'EUR', channel: 'test', actor: 'test' }
      await accounts.recharge({ ...request, reference: `r${references++}` })
    },
    entries: async id => {
      const stream = await store.store.redis.xrange(journalKey(partitionOf(id, partitions)), '-', '+')
      return stream
        .map(([, fields]) => JSON.parse(fields[1]!) as Entry & { account: string })
        .filter(({ account }) => account === id)
    },
  }
  return scene
}

/** A session of account `a`, which is there already. */
const openSession = (t: Test, scene: Scene): Promise<Session> =>
  Session.open(t, scene, { account: 'a', money: 0n, credit: 0n })

const stepsOf = (entries: readonly Entry[]): string[] =>
  entries.flatMap(({ kind, from, to, events }) =>
    kind === 'status' ? [`${from}>${to}`] : (events ?? []).map(([name, , ms]) => `${name} ${ms / day}d`),
  )

t.test(
  'a whole life: every step once, at its time, by three sweepers at once; what is left expires, the number is free',
  async t => {
    const scene = await aScene(t, catalogOf(prepaid))
    const { clock, accounts } = scene
    const born = clock.now()
    t.match(await scene.birth('a', undefined, { bucket: 1_000n }), {
      status: 'created',
      life: { phase: 'created', rule: 'prepaid', end: born + 365 * day },
    })
    await scene.recharge('a', 4.99)
    t.equal((await accounts.show('a'))!.status, 'created', 'too little to be valid')
    clock.advance(day)
    await scene.recharge('a', 5)
    t.match(await accounts.show('a'), { status: 'active', life: { end: born + 31 * day } })
    clock.advance(day)
    await scene.recharge('a', 20)
    t.match(
      await accounts.show('a'),
      { life: { end: born + 102 * day } },
      'from the later end, but not beyond 100 days from now',
    )
    await scene.recharge('a', 1)
    t.match(await accounts.show('a'), { life: { end: born + 102 * day } }, 'a small one moves nothing')

    const end = born + 102 * day
    for (const [at, status, since] of [
      [end - 7 * day - 1, 'active', born + day],
      [end - 7 * day, 'active', born + day],
      [end - 1, 'active', born + day],
      [end, 'grace', end],
      [end + 10 * day - 1, 'grace', end],
      [end + 10 * day, 'suspended', end + 10 * day],
      [end + 30 * day, 'terminated', end + 30 * day],
      [end + 90 * day - 1, 'terminated', end + 30 * day],
      [end + 90 * day, 'recycled', end + 90 * day],
    ] as const) {
      clock.advance(at - clock.now())
      await scene.sweep()
      t.match(await accounts.show('a'), { status, life: { since } }, `${status} at ${(at - end) / day} d`)
    }
    t.same(stepsOf(await scene.entries('a')), [
      ...['created>active', 'expires-soon 7d', 'expires-soon 1d', 'active>grace', 'grace>suspended'],
      ...['suspended>terminated', 'terminated>recycled'],
    ])
    const last = (await accounts.show('a'))!
    t.match(last, { money: 0n, buckets: [], subscribers: [] })
    const termination = (await scene.entries('a')).find(({ to }) => to === 'terminated')!
    t.same(
      termination.posts.filter(([name]) => name === 'expiry'),
      [
        ['expiry', 'EUR', 30_990_000],
        ['expiry', 'octets', 1000],
      ],
    )
    t.equal(termination.rule, 'prepaid')
    t.same((await accounts.census()).buckets.get('data') ?? 0, 0)
    const again = await accounts.create(
      { id: 'b', currency: 'EUR', creditLimit: micros(0) },
      { identities: [{ type: 'nai', value: 'a@test' }], offers: [] },
      micros(0),
      'admin',
    )
    t.equal(again.status, 'created', 'somebody else has the number')
    await scene.lifeCycles.job(partitionOf('a', partitions), 'life a')
    t.equal((await accounts.find({ type: 'nai', value: 'a@test' }))?.account.id, 'b', 'and a late job leaves it')
    t.match(await anAudit(scene.store), { ok: true })
  },
)

t.test('two years pass at once: the same steps, at the same times, as if somebody had looked each day', async t => {
  const scene = await aScene(t, catalogOf(prepaid))
  await scene.birth('a')
  await scene.recharge('a', 20)
  const end = scene.clock.now() + 90 * day
  scene.clock.advance(730 * day)
  await scene.sweep()
  t.same(stepsOf(await scene.entries('a')).slice(1), [
    ...['expires-soon 7d', 'expires-soon 1d', 'active>grace', 'grace>suspended'],
    ...['suspended>terminated', 'terminated>recycled'],
  ])
  t.match(await scene.accounts.show('a'), { status: 'recycled', life: { since: end + 90 * day } })
})

t.test('the first use makes active, once, whatever number of sessions begin with it', async t => {
  const scene = await aScene(t, catalogOf(prepaid))
  const { clock, accounts } = scene
  await scene.birth('a', euro(3))
  const program = aProgram({ step: 1_000_000n, num: 10_000n })
  const session = await openSession(t, scene)
  const sessions = [session, session.another(), session.another()]
  const asked = { key: '10', used: 0n, wanted: 1_000_000n, threshold: false, program }
  const outcomes = await Promise.all(sessions.map(session => session.charge('I', 0, [asked])))
  t.ok(
    outcomes.every(answer => typeof answer === 'object' && answer.outcome === 'ok'),
    'served at once',
  )
  const used = clock.now()
  clock.advance(60_000)
  await scene.sweep()
  t.match(await accounts.show('a'), { status: 'active', life: { since: used, end: used + 10 * day } })
  t.same(stepsOf(await scene.entries('a')), ['created>active'])
})

t.test('whoever waits for a recharge is not served, nor whoever is in grace, unless the rule says so', async t => {
  const program = aProgram({ step: 1_000_000n, num: 10_000n })
  for (const [grace, outcome] of [
    ['none', 'barred'],
    ['all', 'ok'],
  ] as const) {
    const scene = await aScene(
      t,
      catalogOf(
        `lifecycle: { p: { validity: [{ amount: '5.00', lasts: 30d }], grace: { lasts: 10d, service: ${grace} } } }`,
      ),
    )
    await scene.birth('a')
    const session = await openSession(t, scene)
    const ask = async (): Promise<string> => {
      const lines = [{ key: '10', used: 0n, wanted: 1_000_000n, threshold: false, program }]
      const answer = await session.another().charge('I', 0, lines)
      return typeof answer === 'object' ? answer.outcome : answer
    }
    t.equal(await ask(), 'barred')
    await scene.recharge('a', 5)
    t.equal(await ask(), 'ok')
    scene.clock.advance(31 * day)
    await scene.sweep()
    t.equal((await scene.accounts.show('a'))!.status, 'grace')
    t.equal(await ask(), outcome, `service ${grace}`)
  }
})

t.test('who is suspended by hand stays so over a recharge, and is then where the dates say', async t => {
  const scene = await aScene(t, catalogOf(prepaid))
  const { accounts, clock } = scene
  await scene.birth('a')
  await scene.recharge('a', 5)
  await accounts.setStatus('a', 'suspended', 'care')
  clock.advance(31 * day)
  await scene.sweep()
  t.match(await accounts.show('a'), { status: 'suspended', life: { phase: 'grace', byHand: true } })
  await scene.recharge('a', 5)
  t.match(await accounts.show('a'), { status: 'suspended', life: { phase: 'active', byHand: true } })
  await accounts.setStatus('a', 'active', 'care')
  t.match(await accounts.show('a'), { status: 'active', life: { byHand: false, end: clock.now() + 30 * day } })
  t.same(stepsOf(await scene.entries('a')), [
    ...['created>active', 'active>suspended', 'expires-soon 7d', 'expires-soon 1d', 'suspended>active'],
  ])
})

t.test('suspended by its rule, a recharge or a date by hand brings it back; resume alone does not', async t => {
  const scene = await aScene(t, catalogOf(prepaid))
  const { accounts, clock, lifeCycles } = scene
  for (const id of ['a', 'b']) {
    await scene.birth(id)
    await scene.recharge(id, 5)
  }
  clock.advance(41 * day)
  await scene.sweep()
  t.match(await accounts.show('a'), { status: 'suspended', life: { phase: 'suspended', byHand: false } })
  await accounts.setStatus('a', 'active', 'care')
  t.equal((await accounts.show('a'))!.status, 'suspended')
  await scene.recharge('a', 5)
  t.match(await accounts.show('a'), { status: 'active', life: { end: clock.now() + 30 * day } })
  t.same(await lifeCycles.setEnd('b', clock.now() + day, 'care', 'goodwill'), { status: 'done' })
  t.match(await accounts.show('b'), { status: 'active', life: { end: clock.now() + day } })
  const entry = (await scene.entries('b')).at(-1)
  t.match(entry, { kind: 'status', from: 'suspended', to: 'active', reason: 'goodwill', actor: 'care' })
})

t.test('who owes something, or holds something, is not terminated; what is written off is in the books', async t => {
  for (const debt of ['wait', 'writeoff'] as const) {
    const scene = await aScene(
      t,
      catalogOf(
        `lifecycle: { p: { start: none, first: 1d, validity: [{ amount: '50.00', lasts: 30d }], suspended: 1d, debt: ${debt}, forfeit: false } }`,
      ),
    )
    const { accounts, clock } = scene
    await scene.birth('a', euro(1))
    const session = await openSession(t, scene)
    const program = aProgram({ step: 1_000_000n, num: 1_000_000n, validity: 400_000 })
    await session.charge('I', 0, [{ key: '10', used: 0n, wanted: 1_000_000n, threshold: false, program }])
    clock.advance(2 * day)
    await scene.sweep()
    t.equal((await accounts.show('a'))!.status, 'suspended', 'held')
    t.same(await scene.lifeCycles.terminate('a', undefined, 'care', 'wish'), { status: 'held' })
    await session.charge('T', 1, [{ key: '10', used: 3_000_000n, wanted: undefined, threshold: false, program }])
    t.match(await accounts.show('a'), { debt: 2_000_000n })
    clock.advance(3_600_000)
    await scene.sweep()
    t.match(await accounts.show('a'), debt === 'wait' ? { status: 'suspended' } : { status: 'terminated', debt: 0n })
    if (debt === 'wait') {
      t.same(await scene.lifeCycles.terminate('a', undefined, 'care', 'wish'), { status: 'debt' })
      await scene.recharge('a', 3)
      clock.advance(3_600_000)
      await scene.sweep()
      t.match(await accounts.show('a'), { status: 'terminated', money: 1_000_000n }, 'and what is left stays')
    }
    t.match(await anAudit(scene.store), { ok: true })
  }
})

t.test('a catalog that gets a life cycle later, or another, is followed; one without it is as ever', async t => {
  const scene = await aScene(t, catalogOf(''))
  const { accounts, clock, lifeCycles } = scene
  t.match(await scene.birth('a', euro(1)), { status: 'active', life: undefined })
  t.same(await lifeCycles.setEnd('a', clock.now() + day, 'care', 'why'), { status: 'no_life' })
  scene.catalog = catalogOf(prepaid)
  await scene.recharge('a', 5)
  t.match(await accounts.show('a'), { status: 'active', life: { rule: 'prepaid', end: clock.now() + 30 * day } })
  t.match(await scene.birth('boss', undefined, { attributes: { segment: 'staff' } }), {
    status: 'active',
    life: { rule: 'staff', end: undefined },
  })
  scene.catalog = catalogOf(prepaid.replace('lasts: 10d, service: none', 'lasts: 15d, service: all'))
  clock.advance(30 * day)
  await scene.sweep()
  t.match(await accounts.show('a'), { status: 'grace', life: { end: clock.now() + 15 * day } }, 'the grace of today')
  scene.catalog = catalogOf('')
  clock.advance(16 * day)
  await scene.sweep()
  t.equal((await accounts.show('a'))!.status, 'grace', 'without a rule nothing happens')
  scene.catalog = catalogOf(prepaid)
  clock.advance(3_600_000)
  await scene.sweep()
  t.equal((await accounts.show('a'))!.status, 'suspended', 'and then it goes on')
})

// Random histories against a model.

/** What lua/include/life.lua says, the plain way. */
class Model {
  phase = 'created'
  since: number
  end: number
  hand = false
  readonly steps: string[] = []
  private told = new Set<number>()

  constructor(
    private readonly rule: LifeCycle,
    now: number,
  ) {
    this.since = now
    this.end = rule.unused === undefined ? Infinity : now + rule.unused
  }

  get status(): string {
    return this.hand && !['terminated', 'recycled'].includes(this.phase) ? 'suspended' : this.phase
  }

  recharge(amount: bigint, now: number): void {
    const { start, validity } = this.rule
    if (this.phase === 'terminated' || this.phase === 'recycled') return
    if (this.phase === 'created' && start !== 'recharge' && start !== 'any') return
    const lasts = validity?.findLast(step => amount >= step.amount)?.lasts
    if (validity && lasts === undefined) return
    if (lasts === undefined) this.activate(now)
    else this.extend(lasts, now)
  }

  use(now: number): void {
    if (this.hand || this.phase !== 'created' || (this.rule.start !== 'use' && this.rule.start !== 'any')) return
    if (this.rule.first === undefined) this.activate(now)
    else this.extend(this.rule.first, now)
  }

  setEnd(end: number, now: number): void {
    if (this.phase === 'terminated' || this.phase === 'recycled') return
    this.activate(now)
    this.until(end, now)
  }

  byHand(suspended: boolean): void {
    const before = this.status
    if (this.phase !== 'terminated' && this.phase !== 'recycled') this.hand = suspended
    this.note(before)
  }

  /** Everything that is due up to now, one by one. */
  pass(now: number): void {
    for (;;) {
      const warn = this.phase === 'active' ? this.rule.warn.find(ms => !this.told.has(ms)) : undefined
      const at = warn === undefined ? this.end : this.end - warn
      if (at > now) return
      if (warn === undefined) this.next(at)
      else {
        this.told.add(warn)
        this.steps.push(`expires-soon ${warn / day}d`)
      }
    }
  }

  private next(at: number): void {
    const { grace, suspended, quarantine } = this.rule
    const before = this.status
    const to = (phase: string, lasts: number | undefined): void => {
      this.phase = phase
      this.since = at
      this.end = lasts === undefined ? Infinity : at + lasts
    }
    if (this.phase === 'active' && grace.lasts > 0) to('grace', grace.lasts)
    else if (this.phase === 'active' || this.phase === 'grace') to('suspended', suspended)
    else if (this.phase === 'terminated') to('recycled', undefined)
    else {
      to('terminated', quarantine)
      this.hand = false
    }
    this.note(before)
  }

  private activate(now: number): void {
    if (this.phase === 'active') return
    const before = this.status
    this.phase = 'active'
    this.since = now
    this.end = Infinity
    this.told.clear()
    this.note(before)
  }

  private extend(lasts: number, now: number): void {
    const was = this.phase === 'active' && this.end !== Infinity ? this.end : 0
    this.activate(now)
    const from = this.rule.extend === 'now' ? now : Math.max(now, was)
    const end = Math.min(from + lasts, now + (this.rule.max ?? Infinity))
    if (end > was) this.until(end, now)
  }

  private until(end: number, now: number): void {
    this.end = end
    this.told = new Set(this.rule.warn.filter(ms => end - ms <= now))
  }

  private note(before: string): void {
    if (before !== this.status) this.steps.push(`${before}>${this.status}`)
  }
}

type Command =
  | { readonly do: 'recharge'; readonly amount: bigint }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'use' | 'suspend' | 'resume' }
  | { readonly do: 'until'; readonly ms: number }

const days = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max }).map(n => n * day)
const aRule: fc.Arbitrary<LifeCycle> = fc.record({
  name: fc.constant('prepaid'),
  offers: fc.constant(undefined),
  account: fc.constant(new Map<string, Set<string>>()),
  start: fc.constantFrom('recharge' as const, 'use' as const, 'any' as const),
  unused: fc.option(days(1, 60), { nil: undefined }),
  validity: fc.option(
    fc.constant([
      { amount: euro(5), lasts: 30 * day },
      { amount: euro(20), lasts: 90 * day },
    ]),
    { nil: undefined, freq: 5 },
  ),
  first: fc.option(days(1, 20), { nil: undefined }),
  extend: fc.constantFrom('later' as const, 'now' as const),
  max: fc.option(days(20, 120), { nil: undefined }),
  grace: fc.record({
    lasts: fc.oneof(fc.constant(0), days(1, 20)),
    service: fc.constantFrom('all' as const, 'none' as const),
  }),
  suspended: fc.option(days(1, 30), { nil: undefined, freq: 5 }),
  forfeit: fc.boolean(),
  debt: fc.constant('wait' as const),
  quarantine: fc.option(days(1, 30), { nil: undefined, freq: 5 }),
  warn: fc.constantFrom([], [7 * day], [7 * day, day]),
})
const aCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('recharge' as const), amount: fc.constantFrom(euro(1), euro(5), euro(20)) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.oneof(fc.integer({ min: 1, max: 3 * day }), days(1, 60), fc.constant(400 * day)) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('use' as const, 'suspend' as const, 'resume' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('until' as const), ms: days(1, 50) }) },
) // prettier-ignore

t.test('random histories of recharges, use, time and hands agree with a model, swept by three at once', async t => {
  const scene = await aScene(t, catalogOf(prepaid))
  const { clock, accounts, store } = scene
  let runs = 0
  await fc.assert(
    fc.asyncProperty(aRule, fc.array(aCommand, { minLength: 3, maxLength: 14 }), async (rule, commands) => {
      scene.catalog = { ...scene.catalog, lifeCycles: [rule] }
      const id = `p${runs++}`
      const due = dueKey(partitionOf(id, partitions))
      await store.redis.flushdb()
      await store.check(systemClock.monotonic() + 5000)
      await scene.birth(id)
      const model = new Model(rule, clock.now())
      for (const command of commands) {
        const now = clock.now()
        switch (command.do) {
          case 'recharge':
            await scene.recharge(id, Number(command.amount) / 1e6)
            model.recharge(command.amount, now)
            break
          case 'use':
            await store.redis.zadd(due, 'NX', now, `life ${id} used`)
            model.use(now)
            break
          case 'suspend':
          case 'resume':
            await accounts.setStatus(id, command.do === 'suspend' ? 'suspended' : 'active', 'care')
            model.byHand(command.do === 'suspend')
            break
          case 'until':
            await scene.lifeCycles.setEnd(id, now + command.ms, 'care', 'goodwill')
            model.setEnd(now + command.ms, now)
            break
          case 'pass':
            clock.advance(command.ms)
            model.pass(clock.now())
        }
        await scene.sweep()
        const { status, life } = (await accounts.show(id))!
        const found = { status, phase: life!.phase, since: life!.since, end: life!.end ?? Infinity }
        const { phase, since, end } = model
        const wanted = { status: model.status, phase, since, end }
        if (JSON.stringify(found) !== JSON.stringify(wanted))
          throw new Error(`${command.do}: ${JSON.stringify({ found, wanted })}`)
      }
      const steps = stepsOf(await scene.entries(id))
      if (steps.join() !== model.steps.join()) throw new Error(`steps ${steps.join()}, model ${model.steps.join()}`)
      const { ok, problems } = await anAudit(store)
      if (!ok) throw new Error(JSON.stringify(problems))
    }),
    { seed, numRuns: Number(process.env['HISTORIES'] ?? 80) },
  )
  t.pass(`${runs} histories, seed ${seed}`)
})
