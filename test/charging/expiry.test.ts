/**
 * The sweeper: what is due happens once, in time, and never to a session that lives.
 */
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { DueLists } from '../../src/balance/due.js'
import { dueKey, partitionOf, sessionIndexKey, sessionKey } from '../../src/balance/keys.js'
import { systemClock, VirtualClock } from '../../src/clock.js'
import { Expiry, type ExpiryOptions } from '../../src/charging/expiry.js'
import { micros, units } from '../../src/units.js'
import { aProgram, Session } from '../support/charging.js'
import { allPartitions, anAudit, silent, until } from '../support/ledger.js'
import { chargingConfig, partitions, startStore, type TestStore } from '../support/store.js'

const hourMs = 3_600_000
const payg = aProgram({ step: 1_048_576n, num: 10_000n }) // 0.01 per MiB, valid 1 h
const short = aProgram({ step: 1_048_576n, num: 10_000n, validity: 600 })
const MiB = 1_048_576n

interface Scene extends TestStore {
  readonly clock: VirtualClock
  readonly counts: Record<'released' | 'silent' | 'bucketExpired' | 'skew' | 'defect', number>
  sweeper(options?: Partial<ExpiryOptions>): Expiry
}

/** A store under a virtual clock, and sweepers that know how far it is from the real one. */
async function aScene(t: Test): Promise<Scene> {
  const clock = new VirtualClock(Date.now())
  const store = await startStore(t, { clock })
  const counts = { released: 0, silent: 0, bucketExpired: 0, skew: 0, defect: 0 }
  return {
    ...store,
    clock,
    counts,
    sweeper: options =>
      new Expiry({
        due: new DueLists(store.store, systemClock),
        partitions,
        leases: allPartitions,
        identities: store.identities,
        keepSilentMs: chargingConfig.keepSilentMs,
        clock,
        log: silent,
        metrics: {
          released: () => counts.released++,
          silent: () => counts.silent++,
          bucketExpired: () => counts.bucketExpired++,
          skew: () => counts.skew++,
          defect: () => counts.defect++,
        },
        offset: () => clock.now() - Date.now(),
        ...options,
      }),
  }
}

const asks = (key: string, program: string, wanted = 10n * MiB, used = 0n) => ({
  key,
  used,
  wanted,
  threshold: false,
  program,
})

t.test(
  'a hold ends alone while its session lives; the session ends by silence at twice its largest validity',
  async t => {
    const scene = await aScene(t)
    const { clock, accounts, counts } = scene
    const session = await Session.open(t, scene, { account: 'a', money: 10_000_000n, credit: 0n })
    await session.charge('I', 0, [asks('10', short), asks('20', payg)])
    const sweeper = scene.sweeper()
    const held = async (): Promise<bigint> => (await accounts.show('a'))!.held
    t.equal(await held(), 200_000n)

    clock.advance(1_199_999)
    await sweeper.round()
    t.equal(await held(), 200_000n, 'not yet')
    t.equal(sweeper.sessionsOpen, 1)

    clock.advance(1)
    await sweeper.sweep()
    t.equal(await held(), 100_000n, 'after 20 minutes the short one is back')
    t.match(counts, { released: 1, silent: 0 })

    clock.advance(2 * hourMs - 1_200_001)
    await sweeper.sweep()
    t.equal(await held(), 100_000n, 'the session lives')

    clock.advance(1)
    await sweeper.sweep()
    t.equal(await held(), 0n, 'after two hours nothing is held')
    t.match(counts, { released: 1, silent: 1, skew: 0, defect: 0 })
    await sweeper.round()
    t.equal(sweeper.sessionsOpen, 0)
    const result = await anAudit(scene.store)
    t.strictSame(result.problems, [])
  },
)

t.test('F07c: a CCR-U after the silence is charged once, answered as ended, and holds nothing', async t => {
  const scene = await aScene(t)
  const { clock, accounts, store, identities } = scene
  const session = await Session.open(t, scene, { account: 'a', money: 10_000_000n, credit: 0n })
  await session.charge('I', 0, [asks('10', payg)])
  await identities.openSession(session.id, { account: 'a', number: '1' }, performance.now() + 5000)
  clock.advance(2 * hourMs)
  await scene.sweeper().round()
  t.match(await accounts.show('a'), { money: 10_000_000n, held: 0n })
  await until(async () => (await store.redis.pttl(sessionIndexKey(session.id))) > 0)
  t.ok(true, 'the index entry has an end')

  for (const how of ['new', 'again']) {
    const answer = await session.charge('U', 1, [asks('10', payg, 10n * MiB, 2n * MiB)])
    t.match(answer, { how, outcome: 'ended', lines: [{ is: 'booked' }] })
    t.match(await accounts.show('a'), { money: 9_980_000n, held: 0n })
  }
})

t.test('a session that reported in between is left alone', async t => {
  const scene = await aScene(t)
  const { clock, accounts, counts, store } = scene
  const session = await Session.open(t, scene, { account: 'a', money: 10_000_000n, credit: 0n })
  await session.charge('I', 0, [asks('10', payg)])
  const sweeper = scene.sweeper()
  await sweeper.round() // knows of two hours
  clock.advance(2 * hourMs - 1)
  await session.charge('U', 1, [asks('10', payg, 10n * MiB, MiB)])
  clock.advance(1)
  await sweeper.sweep()
  t.match(await accounts.show('a'), { held: 100_000n })
  t.match(counts, { silent: 0, released: 0 })
  const [, at] = await store.redis.zrange(dueKey(partitionOf('a', partitions)), '0', '0', 'WITHSCORES')
  t.equal(Number(at), clock.now() + 2 * hourMs - 1, 'it stands in the list with its new time')
})

t.test('two sweepers at once release once', async t => {
  const scene = await aScene(t)
  const { clock, counts, accounts } = scene
  const names = Array.from({ length: 40 }, (_, i) => `a-${i}`)
  for (const account of names) {
    const session = await Session.open(t, scene, { account, money: 10_000_000n, credit: 0n })
    await session.charge('I', 0, [asks('10', payg)])
  }
  clock.advance(2 * hourMs)
  await Promise.all([scene.sweeper().round(), scene.sweeper().round(), scene.sweeper().round()])
  t.match(counts, { silent: 40, defect: 0 })
  for (const account of names) t.match(await accounts.show(account), { held: 0n, sequence: 3 })
  t.ok((await anAudit(scene.store)).ok)
})

t.test('a bucket expires at its end, what is held of it stays', async t => {
  const scene = await aScene(t)
  const { clock, accounts, counts } = scene
  const until = clock.now() + hourMs
  const bucket = { name: 'data', unit: 'octets', amount: units(10n * MiB), priority: 1, until, origin: 'o' } as const
  await accounts.create(
    { id: 'a', currency: 'EUR', creditLimit: micros(0), status: 'active' },
    { identities: [{ type: 'nai', value: 'a@test' }], offers: [{ offer: 'o', buckets: [bucket] }] },
    micros(0),
    'admin',
  )
  const session = await Session.open(t, scene, { account: 'a', money: 0n, credit: 0n })
  await session.charge('I', 0, [asks('10', aProgram({ buckets: ['data'] }), 4n * MiB)])
  clock.advance(hourMs)
  await scene.sweeper().round()
  t.match((await accounts.show('a'))!.buckets, [{ amount: 4n * MiB, held: 4n * MiB }])
  t.equal(counts.bucketExpired, 1)
  t.ok((await anAudit(scene.store)).ok)
})

t.test('clocks that differ by over 30 s: nothing happens, and it is said once', async t => {
  const scene = await aScene(t)
  const { clock, counts, accounts } = scene
  const said: string[] = []
  const session = await Session.open(t, scene, { account: 'a', money: 10_000_000n, credit: 0n })
  await session.charge('I', 0, [asks('10', payg)])
  clock.advance(3 * hourMs)
  const log = pino({ level: 'warn' }, { write: (line: string) => void said.push(line) })
  const sweeper = scene.sweeper({ offset: () => 0, log })
  await sweeper.round()
  await sweeper.round()
  t.match(counts, { silent: 0, skew: 2 })
  t.match(await accounts.show('a'), { held: 100_000n })
  t.equal(said.length, 1)
  t.match(JSON.parse(said[0]!), { event: 'clock_skew' })
})

t.test('what cannot be done is counted, and does not stand before the rest', async t => {
  const scene = await aScene(t)
  const { clock, counts, store } = scene
  const session = await Session.open(t, scene, { account: 'a', money: 10_000_000n, credit: 0n })
  await session.charge('I', 0, [asks('10', payg)])
  const partition = partitionOf('a', partitions)
  for (let i = 0; i < 70; i++) {
    await store.redis.set(sessionKey(partition, `bad-${i}`), 'no hash')
    await store.redis.zadd(dueKey(partition), 1, `session a bad-${i}`)
  }
  clock.advance(2 * hourMs)
  await scene.sweeper().round()
  t.match(counts, { silent: 1, defect: 70 })
})

t.test('it wakes for what it was told of, and only in its own partitions', async t => {
  const scene = await aScene(t)
  const { clock, counts } = scene
  const owned = new Set<number>()
  const sweeper = scene.sweeper({ leases: { owned }, slowMs: 1000 * hourMs })
  sweeper.start()
  await sweeper.sweep() // the first round is over
  const session = await Session.open(t, scene, { account: 'a', money: 10_000_000n, credit: 0n })
  await session.charge('I', 0, [asks('10', short)])
  const partition = partitionOf('a', partitions)
  sweeper.hint(partition, clock.now() + 1_200_000)
  clock.advance(1_200_000)
  await sweeper.sweep()
  t.match(counts, { silent: 0 }, 'not ours')
  owned.add(partition)
  sweeper.hint(partition, clock.now())
  clock.advance(50)
  await until(() => counts.silent === 1)
  await sweeper.stop()
  t.equal(clock.waiting, 0, 'no timer is left')
})
