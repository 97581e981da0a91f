/**
 * kill -9 of redis-server under a stream of charges, with `durability: disk`: what was acknowledged is there afterwards, once.
 * A killed process leaves its written bytes to the kernel, so this cannot tell `always` from `everysec`; only a power cut could.
 */
import { pino } from 'pino'
import t from 'tap'
import { RedisAccounts } from '../../src/balance/accounts.js'
import { Balance } from '../../src/balance/balance.js'
import { journalKey, partitionOf } from '../../src/balance/keys.js'
import { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import { aProgram, Session } from '../support/charging.js'
import { startRedis } from '../support/redis.js'
import { chargingConfig, noMetrics, partitions } from '../support/store.js'

const rounds = 3
const streams = 16
const perRound = 200 // charges that must be acknowledged before the next kill
const opening = 1_000_000_000n
const step = 1000n // micros a report costs

interface Entry {
  readonly account: string
  readonly seq: number
  readonly kind: string
  readonly number: number
  readonly posts: readonly [string, string, number, number?, number?][]
}

t.test('kill -9 of redis under load: no acknowledged charge is lost, and none is there twice', async t => {
  const redis = await startRedis(t, { appendonly: 'yes', appendfsync: 'always' })
  const store = new Store({
    config: { kind: 'embedded', durability: 'disk', partitions },
    address: { socket: redis.socket },
    log: pino({ level: 'silent' }),
    metrics: noMetrics,
    clock: systemClock,
  })
  t.teardown(() => store.close())
  await store.open(5000)
  t.same((await store.check(performance.now() + 5000)).refusals, [], 'the store promises disk')
  const balance = new Balance(store, partitions, chargingConfig, systemClock)
  const accounts = new RedisAccounts(store, partitions, chargingConfig, systemClock, 20_000)
  const program = aProgram({ step: 100n, num: step })

  const acknowledged = new Map<string, number[]>()
  let total = 0
  let stop = false
  let enough: (() => void) | undefined
  let target = 0
  const patience = () => ({ deadline: Date.now() + 20_000, deadlineMonotonic: performance.now() + 20_000 })
  const stream = async (name: string): Promise<void> => {
    const session = await Session.open(t, { balance, accounts }, { account: name, money: opening, credit: 0n })
    const numbers: number[] = []
    acknowledged.set(name, numbers)
    await session.charge('I', 0, [{ key: '10', used: 0n, wanted: 100n, threshold: false, program }], patience())
    for (let number = 1; !stop; number++) {
      const line = { key: '10', used: 100n, wanted: 100n, threshold: false, program }
      const answer = await session.charge('U', number, [line], patience())
      if (typeof answer === 'string' || answer.outcome !== 'ok' || answer.charged !== step * BigInt(number)) {
        throw new Error(
          `${name} ${number}: ${typeof answer === 'string' ? answer : `${answer.outcome} ${answer.charged}`}`,
        )
      }
      numbers.push(number)
      if (++total >= target) enough?.()
    }
  }
  const streaming = Promise.all(Array.from({ length: streams }, (_, i) => stream(`stream-${i}`)))
  for (let round = 1; round <= rounds; round++) {
    const reached = new Promise<void>(resolve => (enough = resolve))
    target = total + perRound
    await Promise.race([reached, streaming])
    await redis.killAndRestart()
  }
  target = total + perRound
  await Promise.race([new Promise<void>(resolve => (enough = resolve)), streaming])
  stop = true
  await streaming

  for (const [name, numbers] of acknowledged) {
    const journal = await store.redis.xrange(journalKey(partitionOf(name, partitions)), '-', '+')
    const entries = journal.map(([, [, text]]) => JSON.parse(text!) as Entry).filter(({ account }) => account === name)
    t.same(
      entries.map(({ seq }) => seq),
      entries.map((_, i) => i + 1),
      `${name}: no entry is missing`,
    )
    const charged = entries.filter(({ kind, number }) => kind === 'charge' && number > 0).map(({ number }) => number)
    t.same(charged, numbers, `${name}: exactly the acknowledged charges are in the ledger`)
    const account = (await accounts.show(name))!
    t.equal(account.money, opening - step * BigInt(numbers.length), `${name}: and were paid`)
    t.equal(account.held, step, `${name}: one grant is held`)
    const posted = entries.flatMap(({ posts }) => posts).filter(([balanceName]) => balanceName === 'main')
    t.equal(
      posted.reduce((sum, [, , amount]) => sum + BigInt(amount), 0n),
      account.money,
      `${name}: the ledger ends at the balance`,
    )
  }
  t.ok(total >= (rounds + 1) * perRound, `${total} charges over ${rounds} kills`)
})
