/**
 * Transfers between accounts: money is at one of the two or on its way, never twice and never gone, whoever dies when; what a dead one left
 * is finished by another daemon's sweeper.
 */
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { DueLists } from '../../src/balance/due.js'
import { accountKey, partitionOf } from '../../src/balance/keys.js'
import type { Store } from '../../src/balance/store.js'
import { Expiry } from '../../src/charging/expiry.js'
import { systemClock, type Clock } from '../../src/clock.js'
import type { TransferInput } from '../../src/recharge/transfers.js'
import { micros } from '../../src/units.js'
import { allPartitions, anAudit } from '../support/ledger.js'
import { dueMembers, entriesOf, startMoney, type TestMoney } from '../support/money.js'
import { openStore, partitions } from '../support/store.js'

const sections = `
transfers: { min: '1.00', max: '9.00', fee: '0.25', perDay: { count: 3 }, allowed: [{ from: { segment: consumer } }] }
`
const aTransfer = (name: string, changes: Partial<TransferInput> = {}): TransferInput => ({
  ...{ name, from: 'alice', to: 'bob', amount: micros(4_000_000), reason: 'pocket money', actor: 'test' },
  ...changes,
})

/** As another daemon's, which looks a minute later. */
async function sweep(t: Test, money: TestMoney): Promise<void> {
  const store = await openStore(t, money.redis)
  const { transfers } = money.over(store)
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + 60_000 }
  const expiry = new Expiry({
    due: new DueLists(store, clock),
    partitions,
    leases: allPartitions,
    identities: { keepSilentSession: () => undefined },
    jobs: new Map([['transfer', (_, member) => transfers.job(member)]]),
    keepSilentMs: 1000,
    clock,
    log: pino({ level: 'silent' }),
    metrics: {
      ...{ released: () => undefined, silent: () => undefined, bucketExpired: () => undefined },
      ...{ skew: () => undefined, defect: () => t.fail('a job met a defect') },
    },
  })
  await expiry.round()
}

t.test('a transfer leaves the one and reaches the other, with its fee, once', async t => {
  const money = await startMoney(t, { sections })
  const { transfers, store, has } = money
  const done = await transfers.transfer(aTransfer('a1'))
  t.match(done, { status: 'transferred', repeated: false, transfer: { state: 'done', fee: 250_000n, to: 'bob' } })
  t.match(await transfers.transfer(aTransfer('a1')), {
    status: 'transferred',
    repeated: true,
    transfer: { state: 'done' },
  })
  t.match(await transfers.transfer(aTransfer('a1', { amount: micros(5_000_000) })), { status: 'taken' })
  t.same(
    [await has('alice'), await has('bob')],
    [
      { money: 5_750_000n, debt: 0n },
      { money: 14_000_000n, debt: 0n },
    ],
  )
  const [out, come] = [(await entriesOf(store, 'alice')).at(-1)!, (await entriesOf(store, 'bob')).at(-1)!]
  t.match(out, { kind: 'transfer', direction: 'out', with: 'bob', reason: 'pocket money', actor: 'test' })
  t.match(come, { kind: 'transfer', direction: 'in', with: 'alice', transfer: out['transfer'] })
  t.same(out['posts'], [
    ...[
      ['main', 'EUR', -4_000_000, 10_000_000, 6_000_000],
      ['transfer', 'EUR', 4_000_000],
    ],
    ...[
      ['main', 'EUR', -250_000, 6_000_000, 5_750_000],
      ['fee', 'EUR', 250_000],
    ],
  ])
  t.same(await dueMembers(store, 'transfer'), [])
  t.match(await anAudit(store), { ok: true })
})

t.test('what may not be sent is refused, and nothing moves', async t => {
  const money = await startMoney(t, { sections })
  const { transfers, accounts, store } = money
  const plain = { creditLimit: micros(0), status: 'active' as const }
  await accounts.create({ ...plain, id: 'dollar', currency: 'USD' }, undefined, micros(0), 'admin')
  await accounts.create({ ...plain, id: 'child', currency: 'EUR' }, undefined, micros(5_000_000), 'admin')
  await accounts.create({ ...plain, id: 'gone', currency: 'EUR', status: 'terminated' }, undefined, micros(0), 'admin')
  const refusals: readonly (readonly [Partial<TransferInput>, object])[] = [
    [{ from: 'nobody' }, { status: 'no_sender' }],
    [{ to: 'nobody' }, { status: 'no_receiver' }],
    [{ to: 'alice' }, { status: 'same_account' }],
    [{ to: 'gone' }, { status: 'receiver_out_of_service' }],
    [{ from: 'gone' }, { status: /not_allowed|out_of_service/ }],
    [{ to: 'dollar' }, { status: 'currencies_differ', from: 'EUR', to: 'USD' }],
    [{ from: 'child' }, { status: 'not_allowed', why: /not allowed/ }],
    [{ amount: micros(999_999) }, { status: 'not_allowed', why: 'a transfer has 1.00 EUR at least' }],
    [{ amount: micros(9_000_001) }, { status: 'not_allowed', why: 'a transfer has 9.00 EUR at most' }],
  ]
  for (const [changes, expected] of refusals) t.match(await transfers.transfer(aTransfer('a1', changes)), expected)
  await transfers.transfer(aTransfer('a2', { amount: micros(5_000_000) }))
  t.match(await transfers.transfer(aTransfer('a3', { amount: micros(4_500_001) })), {
    status: 'insufficient',
    free: 4_750_000n,
  })
  await accounts.setStatus('alice', 'suspended', 'test')
  t.match(await transfers.transfer(aTransfer('a4')), { status: 'out_of_service', is: 'suspended' })
  t.equal((await entriesOf(store, 'alice')).length, 3)
  t.match(await anAudit(store), { ok: true })
})

t.test('a day lets so many through, under races, too', async t => {
  const money = await startMoney(t, { sections })
  const daemons = await Promise.all(Array.from({ length: 16 }, async () => money.over(await openStore(t, money.redis))))
  const outcomes = await Promise.all(
    daemons.map(({ transfers }, i) => transfers.transfer(aTransfer(`r${i}`, { amount: micros(1_000_000) }))),
  )
  t.equal(outcomes.filter(({ status }) => status === 'transferred').length, 3)
  t.equal(outcomes.filter(({ status }) => status === 'limit_count').length, 13)
  t.same([(await money.has('alice')).money, (await money.has('bob')).money], [6_250_000n, 13_000_000n])
  const same = await Promise.all(
    daemons.map(({ transfers }) => transfers.transfer(aTransfer('same', { from: 'bob', to: 'carol' }))),
  )
  t.ok(same.every(outcome => outcome.status === 'transferred' && outcome.transfer.state === 'done'))
  t.same((await money.has('carol')).money, 14_000_000n, 'sixteen with one name are one')
  t.match(await anAudit(money.store), { ok: true })
})

/** A store whose daemon dies with the n-th write to it: before it is sent, or when its answer is on the way. */
function dyingStore(store: Store, n: number, when: 'before' | 'after'): { store: Store; died: () => boolean } {
  let calls = 0
  const call: Store['call'] = async (name, deadline, send) => {
    calls++
    if (calls > n || (calls === n && when === 'before')) throw new Error('dead')
    const reply = await store.call(name, deadline, send)
    if (calls === n) throw new Error('dead')
    return reply
  }
  const dying = new Proxy(store, {
    get: (target, key) => {
      if (key === 'call') return call
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
  return { store: dying, died: () => calls >= n }
}

for (const refused of [false, true]) {
  t.test(
    `whoever dies at any step, the transfer is finished once${refused ? ', and comes back where it is refused' : ''}`,
    async t => {
      const money = await startMoney(t, { sections: sections.replace('perDay: { count: 3 }, ', '') })
      let steps = 0
      for (let n = 1; ; n++) {
        let alive = false
        for (const when of ['before', 'after'] as const) {
          const [before, name] = [[await money.has('alice'), await money.has('bob')], `${n}${when}`]
          const bob = accountKey(partitionOf('bob', partitions), 'bob')
          const { store, died } = dyingStore(money.store, n, when)
          const { transfers } = money.over(store)
          const input = aTransfer(name, { amount: micros(1_000_000) })
          // Between the look at the receiver and its credit it is terminated: the only way to a refusal there.
          const running = refused ? terminateOnSend(money, bob) : undefined
          const outcome = await transfers.transfer(input).catch(() => undefined)
          running?.stop()
          await sweep(t, money)
          if (refused)
            await money.store.redis.hset(
              bob,
              'funds',
              (await money.store.redis.hget(bob, 'funds'))!.replace('terminated', 'active'),
            )
          t.same(await dueMembers(money.store, 'transfer'), [], `nothing is left over after call ${name}`)
          const now = [await money.has('alice'), await money.has('bob')]
          const moved = before[0]!.money - now[0]!.money
          const sent = await money.transfers.find(`${partitionOf('alice', partitions)}-${name}`)
          if (refused) t.equal(moved, 0n, `${name}: it came back, the fee too`)
          else t.equal(moved, sent ? 1_250_000n : 0n, `${name}: it left once, or not at all`)
          t.equal(now[1]!.money - before[1]!.money, moved === 0n ? 0n : 1_000_000n, `${name}: and arrived`)
          if (sent) t.equal(sent.state, refused ? 'returned' : 'done')
          if (!died()) {
            alive = true
            t.equal(outcome?.status, 'transferred')
          } else steps++
          if (moved > 0n)
            await money.transfers.transfer(
              aTransfer(`back${name}`, { from: 'bob', to: 'alice', amount: micros(1_000_000) }),
            )
          if (moved > 0n) await money.adjustments.adjust(giveBack(name, 'alice'))
          if (moved > 0n) await money.adjustments.adjust(giveBack(name, 'bob'))
        }
        if (alive) break
      }
      t.ok(steps >= 10, `it died at ${steps} places`)
      t.match(await anAudit(money.store), { ok: true })
    },
  )
}

/** The fee of a round, so that there is money for the next one. */
const giveBack = (name: string, account: string): Parameters<TestMoney['adjustments']['adjust']>[0] => ({
  ...{ account, reference: name, target: { kind: 'main' }, unit: 'EUR', amount: 250_000n },
  ...{ reason: 'next round', actor: 'test', lowBalance: [] },
})

/** Terminates bob once the sender's part is done. */
function terminateOnSend(money: TestMoney, bob: string): { stop: () => void } {
  const { redis } = money.store
  const original = redis.sendTransfer.bind(redis)
  redis.sendTransfer = async (...args: string[]) => {
    const reply = await original(...args)
    await redis.hset(bob, 'funds', (await redis.hget(bob, 'funds'))!.replace('active', 'terminated'))
    return reply
  }
  return { stop: () => (redis.sendTransfer = original) }
}
