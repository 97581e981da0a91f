/**
 * Deliveries to one webhook: nothing lost, order per account, back-off by a clock that is handed in, takeover, dead letters.
 */
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { Feed } from '../../src/balance/feed.js'
import { Webhooks } from '../../src/balance/webhooks.js'
import { systemClock, VirtualClock } from '../../src/clock.js'
import {
  Delivery,
  takes,
  type DeadLetter,
  type DeliveryOptions,
  type WebhookTerms,
} from '../../src/notification/delivery.js'
import type { AttemptResult } from '../../src/notification/sender.js'
import { until } from '../support/ledger.js'
import { seed } from '../support/seed.js'
import { startStore, type TestStore } from '../support/store.js'

const webhook: WebhookTerms = {
  ...{ name: 'crm', url: 'http://127.0.0.1:1/', secrets: ['s'], headers: {}, timeoutMs: 1000, types: [], parallel: 4 },
  retry: { firstMs: 1000, mostMs: 3_600_000, giveUpMs: 86_400_000 },
}
const ok: AttemptResult = { status: 'delivered', code: 200 }
const bad: AttemptResult = { status: 'failed', result: 'server-error', code: 500, why: 'answered 500' }

interface Sent {
  readonly account: string
  readonly seq: number
  readonly good: boolean
  readonly at: number
}

class Scene {
  /** Of whoever is made next: those of the dead stand still. */
  clock = new VirtualClock()
  readonly sent: Sent[] = []
  readonly feed: Feed
  readonly webhooks: Webhooks
  /** What becomes of an attempt. */
  answer: (account: string, seq: number) => AttemptResult = () => ok
  private position = 0
  private made = 0

  constructor(
    private readonly t: Test,
    readonly store: TestStore,
  ) {
    this.feed = new Feed(store.store, systemClock)
    this.webhooks = new Webhooks(store.store, systemClock)
  }

  delivery(options: Partial<DeliveryOptions> = {}): Delivery {
    const delivery = new Delivery({
      ...{ webhook, feed: this.feed, webhooks: this.webhooks, owner: `d${this.made++}`, clock: this.clock },
      ...{ log: pino({ level: 'silent' }), random: () => 0.5, leaseMs: 60_000 },
      metrics: { attempted: () => undefined, buried: () => undefined, missed: () => undefined },
      send: async (_, __, body) => {
        const { account, seq } = JSON.parse(body) as { account: string; seq: number }
        await new Promise(resolve => setImmediate(resolve))
        const result = this.answer(account, seq)
        this.sent.push({ account, seq, good: result.status === 'delivered', at: this.clock.now() })
        return result
      },
      ...options,
    })
    this.t.teardown(() => delivery.stop())
    return delivery
  }

  /** Events of accounts, numbered for each, into the feed. */
  async publish(...accounts: readonly (readonly [account: string, seq: number, type?: string])[]): Promise<void> {
    const from = `${this.position === 0 ? 0 : this.position}-0`
    const events = accounts.map(([account, seq, type = 'account.status']) =>
      JSON.stringify({ id: `${account}-${seq}`, type, account, seq, data: {} }),
    )
    await this.feed.publish([{ partition: 'test', from, to: `${++this.position}-0`, events }])
  }

  /** Everybody who was made before hangs from now on, as after a kill. */
  kill(): void {
    this.clock = new VirtualClock(this.clock.now())
  }

  good(account?: string): string[] {
    return this.sent.flatMap(each =>
      each.good && (account === undefined || each.account === account) ? [`${each.account}${each.seq}`] : [],
    )
  }

  async cursor(): Promise<string | undefined> {
    return (await this.webhooks.state('crm')).cursor
  }
}

async function aScene(t: Test): Promise<Scene> {
  return new Scene(t, await startStore(t))
}

/** Looks until it is so; time stands still. */
const looks = (delivery: Delivery, condition: () => boolean | Promise<boolean>): Promise<void> =>
  until(async () => {
    await delivery.look()
    return condition()
  })

t.test('events come in the order of their account, and the cursor follows', async t => {
  const scene = await aScene(t)
  const delivery = scene.delivery()
  await scene.publish(['old', 1])
  await delivery.look()
  await scene.publish(['a', 1], ['b', 1], ['a', 2], ['b', 2], ['a', 3])
  await looks(delivery, () => scene.sent.length === 5)
  t.same(scene.good('a'), ['a1', 'a2', 'a3'])
  t.same(scene.good('b'), ['b1', 'b2'])
  t.same(scene.good('old'), [], 'a new webhook begins with what comes')
  await looks(delivery, async () => (await scene.cursor()) === (await scene.feed.state()).newest)
})

t.test('one that fails waits, doubling its pauses, while others overtake it', async t => {
  const scene = await aScene(t)
  const delivery = scene.delivery()
  await delivery.look()
  scene.answer = account => (account === 'a' ? bad : ok)
  await scene.publish(['a', 1], ['a', 2], ['b', 1], ['c', 1])
  await looks(delivery, () => scene.good().length === 2)
  const attempts = (): number => scene.sent.filter(({ account }) => account === 'a').length
  const pauses = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600]
  for (const [i, pause] of pauses.entries()) {
    await delivery.look()
    scene.clock.advance(pause * 1000 - 1)
    await delivery.look()
    t.equal(attempts(), i + 1, `not before ${pause} s`)
    scene.clock.advance(1)
    await looks(delivery, () => attempts() === i + 2)
  }
  t.same(scene.sent.filter(({ account, seq }) => account === 'a' && seq === 2).length, 0, 'the next one waits for it')
  await looks(delivery, async () => (await scene.cursor()) === (await scene.feed.state()).newest)
  scene.answer = () => ok
  scene.clock.advance(3_600_000)
  await looks(delivery, () => scene.good('a').length === 2)
  t.same(scene.good('a'), ['a1', 'a2'])
  await looks(delivery, async () => (await scene.webhooks.state('crm')).parked.size === 0)
})

t.test('an event that is tried for a day is dead, its account goes on, and it can be replayed', async t => {
  const scene = await aScene(t)
  const delivery = scene.delivery()
  await delivery.look()
  scene.answer = (_, seq) => (seq === 1 ? bad : ok)
  await scene.publish(['a', 1], ['a', 2])
  await looks(delivery, () => scene.sent.length > 0)
  const begin = scene.clock.now()
  while (scene.good().length === 0) {
    scene.clock.advance(600_000)
    await delivery.look()
    await new Promise(resolve => setImmediate(resolve))
  }
  t.same(scene.good(), ['a2'])
  t.ok(scene.clock.now() - begin >= 86_400_000, 'not before')
  await looks(delivery, async () => (await scene.webhooks.deadCount()) === 1)
  const [dead] = await scene.webhooks.dead(undefined, 10)
  const letter = JSON.parse(dead!.text) as DeadLetter
  t.match(letter, { webhook: 'crm', account: 'a', type: 'account.status', why: 'answered 500' })
  t.ok(letter.attempts > 20, `${letter.attempts} attempts`)
  scene.answer = () => ok
  await scene.webhooks.replay([{ id: dead!.id, webhook: 'crm', event: letter.event }])
  await looks(delivery, () => scene.good().length === 2)
  t.same(scene.good(), ['a2', 'a1'])
  t.equal(await scene.webhooks.deadCount(), 0)
  await looks(delivery, async () => (await scene.webhooks.orders('crm', 10)).replay.length === 0)
})

t.test('a receiver that is down is asked now and then; when it is up, all that waits comes soon', async t => {
  const scene = await aScene(t)
  const delivery = scene.delivery()
  await delivery.look()
  let up = false
  scene.answer = () => (up ? ok : bad)
  const accounts = Array.from({ length: 20 }, (_, i) => [`a${i}`, 1] as const)
  await scene.publish(...accounts)
  await looks(delivery, () => scene.sent.length >= 5)
  const before = scene.sent.length
  for (let second = 0; second < 600; second++) {
    scene.clock.advance(1000)
    await delivery.look()
    await new Promise(resolve => setImmediate(resolve))
  }
  const probes = scene.sent.length - before
  t.ok(probes >= 15 && probes <= 30, `${probes} attempts in 10 minutes, not ${20 * 9}`)
  up = true
  scene.clock.advance(30_000)
  await looks(delivery, () => scene.good().length >= 1)
  scene.clock.advance(5_000)
  await looks(delivery, () => scene.good().length === 20)
  t.pass('within five seconds')
})

t.test('a few accounts that always fail do not hold up the others', async t => {
  const scene = await aScene(t)
  const delivery = scene.delivery()
  await delivery.look()
  scene.answer = account => (account.startsWith('bad') ? bad : ok)
  await scene.publish(...Array.from({ length: 9 }, (_, i) => [`bad${i}`, 1] as const))
  await looks(delivery, () => scene.sent.length >= 5)
  for (let i = 0; i < 20; i++) {
    scene.clock.advance(30_000)
    await delivery.look()
    await new Promise(resolve => setImmediate(resolve))
  }
  await scene.publish(['fine', 1])
  await delivery.look()
  scene.clock.advance(30_000)
  await looks(delivery, () => scene.good().length === 1)
  t.same(scene.good(), ['fine1'])
})

t.test('whoever takes over begins where nothing is lost', async t => {
  const scene = await aScene(t)
  scene.answer = (account, seq) => (account === 'a' && seq < 3 ? bad : ok)
  const first = scene.delivery({ owner: 'one', leaseMs: 40 })
  await first.look()
  await scene.publish(['a', 1], ['b', 1], ['a', 2], ['c', 1])
  await looks(first, async () => scene.good().length === 2 && (await scene.webhooks.state('crm')).parked.size >= 3)
  scene.kill() // no farewell: what comes meanwhile waits in the feed
  await scene.publish(['a', 3], ['b', 2])
  scene.answer = () => ok
  const second = scene.delivery({ owner: 'two', leaseMs: 60_000 })
  scene.clock.advance(3_600_000)
  await looks(second, () => scene.good('a').length === 3 && scene.good('b').length >= 2)
  t.same(scene.good('a'), ['a1', 'a2', 'a3'], 'in their order')
  t.ok(scene.good('b').includes('b2'))
  await first.look()
  t.notOk(first.active, 'the first one knows')
})

t.test('of two daemons one delivers', async t => {
  const scene = await aScene(t)
  const [one, two] = [scene.delivery(), scene.delivery()]
  await Promise.all([one.look(), two.look()])
  await scene.publish(['a', 1], ['b', 1])
  await looks(one, async () => {
    await two.look()
    return scene.sent.length >= 2
  })
  t.equal(scene.sent.length, 2)
  t.not(one.active, two.active)
  const [active, other] = one.active ? [one, two] : [two, one]
  await active.stop()
  await scene.publish(['a', 2])
  await looks(other, () => scene.sent.length === 3)
  t.same(scene.good('a'), ['a1', 'a2'])
})

t.test('nothing is sent while it is paused, and all afterwards', async t => {
  const scene = await aScene(t)
  const delivery = scene.delivery()
  await delivery.look()
  await scene.webhooks.pause('crm', true)
  await scene.publish(['a', 1])
  for (let i = 0; i < 5; i++) await delivery.look()
  t.equal(scene.sent.length, 0)
  await scene.webhooks.pause('crm', false)
  await looks(delivery, () => scene.sent.length === 1)
})

t.test('whatever fails and whoever dies, each event comes, first in the order of its account', async t => {
  const scene = await aScene(t)
  let state = seed >>> 0
  const random = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
  scene.answer = () => (random() < 0.3 ? bad : ok)
  let delivery = scene.delivery({ owner: 'd' })
  await delivery.look()
  const expected: string[] = []
  const last = new Map<string, number>()
  for (let round = 0; round < 25; round++) {
    const events = Array.from({ length: 6 }, () => {
      const account = `a${Math.floor(random() * 8)}`
      const seq = (last.get(account) ?? 0) + 1
      last.set(account, seq)
      expected.push(`${account}-${seq}`)
      return [account, seq] as const
    })
    await scene.publish(...events)
    await delivery.look()
    scene.clock.advance(Math.floor(random() * 4000))
    await delivery.look()
    if (random() > 0.3) continue
    scene.kill()
    delivery = scene.delivery({ owner: 'd' }) // started again in the same folder, it has the same name
  }
  const good = (): Set<string> =>
    new Set(scene.sent.flatMap(({ account, seq, good: is }) => (is ? [`${account}-${seq}`] : [])))
  await until(async () => {
    scene.clock.advance(60_000)
    await delivery.look()
    return good().size === expected.length
  })
  t.same([...good()].sort(), expected.sort(), `nothing is lost, SEED=${seed}`)
  for (const account of last.keys()) {
    const seen = new Set<number>()
    const firsts: number[] = []
    for (const { account: of, seq, good: is } of scene.sent)
      if (is && of === account && !seen.has(seq)) {
        seen.add(seq)
        firsts.push(seq)
      }
    t.same(
      firsts,
      [...firsts].sort((a, b) => a - b),
      `${account} in order, SEED=${seed}`,
    )
  }
})

t.test('what a webhook wants', t => {
  t.ok(takes({ types: [] }, 'account.status'))
  t.notOk(takes({ types: [] }, 'usage.charged'), 'usage only by name')
  t.ok(takes({ types: ['*'] }, 'usage.charged'))
  t.ok(takes({ types: ['balance.*'] }, 'balance.depleted'))
  t.notOk(takes({ types: ['balance.*'] }, 'bucket.depleted'))
  t.end()
})
