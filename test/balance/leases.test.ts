/**
 * Partitions shared out among daemons.
 */
import t, { type Test } from 'tap'
import { Leases, type LeaseListener, type LeaseOptions } from '../../src/balance/leases.js'
import { daemonsKey, leaseKey } from '../../src/balance/keys.js'
import type { Store } from '../../src/balance/store.js'
import { systemClock, VirtualClock } from '../../src/clock.js'
import { silent } from '../support/ledger.js'
import { startStore } from '../support/store.js'

const partitions = 1024

/** Rounds only when a test asks for one. */
const aDaemon = (store: Store, id: string, options: Partial<LeaseOptions> = {}): Leases =>
  new Leases({ store, partitions, id, clock: systemClock, log: silent, ttlMs: 60_000, ...options })

/** The daemon with this id has died, and the time of its leases is over. */
async function forget(store: Store, id: string): Promise<void> {
  await store.redis.zrem(daemonsKey, id)
  for (let p = 0; p < partitions; p++)
    if ((await store.redis.get(leaseKey(p))) === id) await store.redis.del(leaseKey(p))
}

const disjoint = (...daemons: Leases[]): boolean =>
  new Set(daemons.flatMap(({ owned }) => [...owned])).size === daemons.reduce((sum, { owned }) => sum + owned.size, 0)

class Notes implements LeaseListener {
  readonly all: string[] = []
  gained(list: readonly number[]): void {
    this.all.push(`gained ${list.length}`)
  }
  releasing(list: readonly number[]): Promise<void> {
    this.all.push(`releasing ${list.length}`)
    return Promise.resolve()
  }
  lost(list: readonly number[]): void {
    this.all.push(`lost ${list.length}`)
  }
}

function countCommands(t: Test, store: Store): () => number {
  let calls = 0
  const { store: plain } = { store }
  const call = plain.call.bind(plain)
  t.intercept(store, 'call', {
    value: ((...args: Parameters<Store['call']>) => {
      calls++
      return call(...args)
    }) as Store['call'],
  })
  return () => calls
}

t.test('a daemon alone has all partitions at once, in a few round trips', async t => {
  const { store } = await startStore(t)
  const calls = countCommands(t, store)
  const clock = new VirtualClock(Date.now())
  const a = aDaemon(store, 'a', { clock })
  const notes = new Notes()
  a.listen(notes)
  await a.start()
  t.equal(a.owned.size, partitions)
  t.ok(calls() <= 10, 'pipelines, not single commands')
  t.same(notes.all, ['gained 1024'])
  t.equal(clock.waiting, 1, 'the next round is set')
  await a.stop()
  t.equal(clock.waiting, 0)
})

t.test('daemons come to equal shares, and nobody has what another has', async t => {
  const { store } = await startStore(t)
  const [a, b, c] = [aDaemon(store, 'a'), aDaemon(store, 'b'), aDaemon(store, 'c')]
  const notes = new Notes()
  a.listen(notes)
  await a.round()
  await b.round()
  t.equal(b.owned.size, 0, 'nothing is free yet')
  await a.round()
  t.same(notes.all, ['gained 1024', 'releasing 512', 'lost 512'], 'told before it gives them up')
  await b.round()
  t.same([a.owned.size, b.owned.size], [512, 512])
  await c.round()
  for (const daemon of [a, b, c]) await daemon.round()
  t.same([a.owned.size, b.owned.size, c.owned.size], [342, 342, 340])
  t.ok(disjoint(a, b, c))
})

t.test('the part of a daemon that died is taken over when its leases run out', async t => {
  const { store } = await startStore(t)
  const [a, b] = [aDaemon(store, 'a'), aDaemon(store, 'b')]
  await a.round()
  await b.round()
  await a.round()
  await b.round()
  t.equal(b.owned.size, 512)
  await forget(store, 'a')
  await b.round()
  t.equal(b.owned.size, partitions)
  const notes = new Notes()
  a.listen(notes)
  await a.round()
  t.match(notes.all[0], 'lost 512', 'it was only away: it sees that they are not its own any more')
  t.ok(disjoint(a, b))
})

t.test('a daemon that stops leaves its part to be taken at once', async t => {
  const { store } = await startStore(t)
  const [a, b] = [aDaemon(store, 'a'), aDaemon(store, 'b')]
  await a.round()
  const notes = new Notes()
  a.listen(notes)
  await a.stop()
  t.same(notes.all, ['releasing 1024', 'lost 1024'])
  t.equal(a.owned.size, 0)
  await b.round()
  t.equal(b.owned.size, partitions)
})

t.test('a daemon that comes back under its name has its part at once', async t => {
  const { store } = await startStore(t)
  await aDaemon(store, 'a').round()
  const again = aDaemon(store, 'a')
  const notes = new Notes()
  again.listen(notes)
  await again.round()
  t.same(notes.all, ['gained 1024'])
})

t.test('leases are renewed, and have an end', async t => {
  const { store } = await startStore(t)
  const a = aDaemon(store, 'a')
  await a.round()
  await store.redis.pexpire(leaseKey(7), 1000)
  await a.round()
  const left = await store.redis.pttl(leaseKey(7))
  t.ok(left > 1000 && left <= 60_000)
})
