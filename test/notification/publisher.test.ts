/**
 * From the journal into the feed: each event once, whoever reads, dies or reads again.
 */
import t from 'tap'
import { Feed, type Publication, type WatchTexts } from '../../src/balance/feed.js'
import { partitionOf } from '../../src/balance/keys.js'
import { systemClock } from '../../src/clock.js'
import { Publisher } from '../../src/notification/publisher.js'
import { micros } from '../../src/units.js'
import { aPublisher, feedOf, isExact } from '../support/events.js'
import { Load, someCharges, until } from '../support/ledger.js'
import { seed } from '../support/seed.js'
import { partitions, startStore, type TestStore } from '../support/store.js'

async function recharge({ accounts }: TestStore, account: string, euros: number, reference: string): Promise<void> {
  await accounts.recharge({
    ...{ account, amount: micros(euros * 1_000_000), currency: 'EUR', channel: 'test', reference, actor: 'test' },
  })
}

/** Numbers that look random and are the same at each run of a seed. */
function* chances(): Generator<number, never> {
  for (let state = seed >>> 0; ;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    yield state / 2 ** 32
  }
}

t.test('two that read everything at once leave each event once', async t => {
  const store = await startStore(t)
  const publishers = [aPublisher(t, store.store), aPublisher(t, store.store)]
  const load = await Load.start(t, store, 12)
  for (let i = 0; i < 6; i++) {
    await until(() => true)
    await Promise.all(publishers.map(publisher => publisher.flush()))
  }
  await load.stop()
  await Promise.all(publishers.map(publisher => publisher.flush()))
  await isExact(t, store.store)
})

t.test('one that dies before or after each of its steps leaves each event once', async t => {
  const store = await startStore(t)
  const random = chances()
  const may = (): void => {
    if (random.next().value < 0.25) throw new Error('killed here')
  }
  class Mortal extends Feed {
    override async publish(publications: readonly Publication[]): Promise<string[]> {
      may()
      const reached = await super.publish(publications)
      may()
      return reached
    }
    override async note(partition: number, consumer: string, at: string, watches: WatchTexts): Promise<boolean> {
      may()
      const noted = await super.note(partition, consumer, at, watches)
      may()
      return noted
    }
  }
  let deaths = 0
  for (let round = 0; round < 6; round++) {
    await someCharges(t, store, `r${round}`, 3, 5)
    for (let i = 0; i < 3; i++) await recharge(store, `r0-${i}`, 3, `${round}-${i}`)
    const mortal = aPublisher(t, store.store, { feed: new Mortal(store.store, systemClock) })
    await mortal.flush().catch(() => deaths++)
  }
  t.ok(deaths > 0, `it died ${deaths} times, SEED=${seed}`)
  await aPublisher(t, store.store).flush()
  await isExact(t, store.store)
})

t.test('a lease that moves away and back repeats nothing and leaves nothing out', async t => {
  const store = await startStore(t)
  const some = (...owned: number[]): { owned: Set<number>; listen: () => void } => ({
    ...{ owned: new Set(owned), listen: () => undefined },
  })
  const mine = partitionOf('r-0', partitions)
  const [a, b] = [some(mine), some()]
  const [first, second] = [aPublisher(t, store.store, { leases: a }), aPublisher(t, store.store, { leases: b })]
  for (let round = 0; round < 6; round++) {
    await someCharges(t, store, `r`, round === 0 ? 1 : 0)
    await recharge(store, 'r-0', 1, `x${round}`)
    const [from, to] = round % 2 === 0 ? [a, b] : [b, a]
    await Promise.all([first.flush(), second.flush()])
    from.owned.delete(mine) // and nobody is told, as when a daemon hangs
    to.owned.add(mine)
  }
  await aPublisher(t, store.store).flush()
  await isExact(t, store.store)
})

t.test('what the levels are of, and what was told, outlives the publisher', async t => {
  const store = await startStore(t)
  const { accounts } = store
  const account = { id: 'alice', status: 'active', currency: 'EUR', creditLimit: micros(0) } as const
  await accounts.create(account, undefined, micros(0), 'admin')
  await recharge(store, 'alice', 20, 'a')
  await aPublisher(t, store.store).flush()
  const journal = (posts: unknown[], seq: number, more: object = {}): Promise<unknown> =>
    store.store.redis.xadd(
      `ocs:{${partitionOf('alice', partitions)}}:journal`,
      '*',
      'e',
      JSON.stringify({ account: 'alice', seq, at: 1, kind: 'charge', posts, lines: [], held: 0, ...more }),
    )
  const refused = { lines: [{ line: '10', is: 'exhausted' }] }
  await journal(
    [
      ['main', 'EUR', -18_500_000, 20_000_000, 1_500_000],
      ['usage:data', 'EUR', 18_500_000],
    ],
    3,
    refused,
  )
  await aPublisher(t, store.store).flush()
  await journal([], 4, refused)
  await aPublisher(t, store.store).flush()
  const told = (await feedOf(store.store)).slice(2).map(({ type, data }) => [type, data['level']])
  t.same(told, [
    ['usage.charged', undefined],
    ['balance.threshold', '5.00'],
    ['balance.threshold', '2.00'],
    ['session.refused', undefined],
  ])
})

t.test('what is too old or too many leaves the feed, and whoever has not seen it is told', async t => {
  const store = await startStore(t)
  const feed = new Feed(store.store, systemClock)
  await someCharges(t, store, 'a', 4, 10)
  await aPublisher(t, store.store).flush()
  const all = await feed.read(undefined, 1000)
  if (all.status !== 'read') throw new Error('nothing was trimmed yet')
  const cursors = all.items.map(({ cursor }) => cursor)
  const gone = await feed.trim(86_400_000, cursors.length - 7)
  t.equal(gone, 7, 'too many')
  t.match(await feed.read(cursors[5], 10), { status: 'expired', oldest: cursors[6] }, 'one behind')
  t.match(await feed.read(cursors[6], 1), { status: 'read', items: [{ cursor: cursors[7] }] }, 'the next one is there')
  t.match(await feed.read(undefined, 1), { status: 'read', items: [{ cursor: cursors[7] }] }, 'from the oldest')
  await until(async () => (await feed.trim(1, 1000)) >= 0 && (await feed.state()).events === 0)
  t.match(await feed.state(), { events: 0, newest: cursors.at(-1), oldest: cursors.at(-1) }, 'too old')
  t.match(await feed.read(cursors.at(-1), 1), { status: 'read', items: [] }, 'who has seen all misses nothing')
  t.match(await feed.read('0-0', 1), { status: 'expired' })
})

t.test('a catalog is published once, however many daemons load it', async t => {
  const store = await startStore(t)
  const [a, b] = [aPublisher(t, store.store), aPublisher(t, store.store)]
  await Promise.all([a, b].map(each => each.catalogPublished('v1')))
  await b.catalogPublished('v1')
  await a.catalogPublished('v2')
  const told = (await feedOf(store.store)).map(({ type, data }) => `${type} ${String(data['version'])}`)
  t.same(told, ['catalog.published v1', 'catalog.published v2'])
})

t.test('a hint is followed without a look at the others', async t => {
  const store = await startStore(t)
  await someCharges(t, store, 'a', 1, 2)
  let told = 0
  const publisher: Publisher = aPublisher(t, store.store, { gatherMs: 1, slowMs: 1e9, told: () => told++ })
  publisher.hint(partitionOf('a-0', partitions))
  await until(() => told > 0)
  t.ok((await feedOf(store.store)).length > 0)
})
