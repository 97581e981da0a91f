/** What is given and taken by hand, and all that moves money at random against a small model; the ledger proves the rest. */
import fc from 'fast-check'
import t from 'tap'
import type { AdjustmentRequest, AdjustmentTarget } from '../../src/balance/adjustments.js'
import { accountKey, partitionOf } from '../../src/balance/keys.js'
import { micros, units } from '../../src/units.js'
import { anAudit } from '../support/ledger.js'
import { dueMembers, entriesOf, startMoney } from '../support/money.js'
import { seed } from '../support/seed.js'
import { partitions } from '../support/store.js'

const main: AdjustmentTarget = { kind: 'main' }
const gift = (amount: number): AdjustmentTarget => ({
  kind: 'new',
  bucket: { name: 'gift', unit: 'octets', amount: units(amount), until: Date.now() + 86_400_000, priority: 9, origin: 'adjustment' }, // prettier-ignore
})
const anAdjustment = (reference: string, changes: Partial<AdjustmentRequest> = {}): AdjustmentRequest => ({
  ...{
    account: 'alice',
    reference,
    target: main,
    unit: 'EUR',
    amount: -2_000_000n,
    reason: 'wrong fee',
    actor: 'test',
  },
  ...{ lowBalance: [micros(9_000_000)], ...changes },
})

t.test('money is taken from what is free, once for its reference, with the event of its crossing', async t => {
  const { adjustments, store, has } = await startMoney(t)
  t.match(await adjustments.adjust(anAdjustment('a', { code: 'goodwill' })), { status: 'adjusted', money: 8_000_000n, sequence: 2 }) // prettier-ignore
  t.match(await adjustments.adjust(anAdjustment('a')), { status: 'repeated', money: 8_000_000n, sequence: 2 })
  t.match(await adjustments.adjust(anAdjustment('a', { amount: 1n })), { status: 'reference_taken' })
  t.match(await adjustments.adjust(anAdjustment('b', { amount: -8_000_001n })), {
    status: 'insufficient',
    free: 8_000_000n,
  })
  t.match(await adjustments.adjust(anAdjustment('b', { account: 'nobody' })), { status: 'no_account' })
  t.match(await adjustments.adjust(anAdjustment('b', { unit: 'USD' })), { status: 'currency_differs', currency: 'EUR' })
  t.match(await adjustments.adjust(anAdjustment('b', { amount: 2n ** 52n })), { status: 'too_large' })
  t.same(await has('alice'), { money: 8_000_000n, debt: 0n })
  const [, entry, ...others] = await entriesOf(store, 'alice')
  t.same(others, [])
  t.match(entry, { kind: 'adjustment', reference: 'a', reason: 'wrong fee', code: 'goodwill', actor: 'test' })
  t.same(entry!['posts'], [
    ['main', 'EUR', -2_000_000, 10_000_000, 8_000_000],
    ['adjustment', 'EUR', 2_000_000],
  ])
  t.same(entry!['events'], [['money', 'main', 9_000_000]])
  t.match(await anAudit(store), { ok: true })
})

t.test('buckets are made, filled and taken from: what is held or over stays', async t => {
  const { adjustments, accounts, store } = await startMoney(t)
  t.match(await adjustments.adjust(anAdjustment('a', { target: gift(100), unit: 'octets', amount: 100n })), { status: 'adjusted', buckets: [{ id: '2-1', amount: 100n }] }) // prettier-ignore
  t.match(await adjustments.adjust(anAdjustment('b', { target: gift(50), unit: 'octets', amount: 50n })), { buckets: [{ id: '3-1' }] }) // prettier-ignore
  t.equal((await dueMembers(store, 'bucket')).length, 2)
  const name: AdjustmentTarget = { kind: 'name', bucket: 'gift' }
  const of = (reference: string, amount: bigint, target = name, unit = 'octets'): Promise<object> =>
    adjustments.adjust(anAdjustment(reference, { target, unit, amount }))
  t.match(await of('c', -120n), {
    status: 'adjusted',
    buckets: [
      { id: '2-1', amount: 0n },
      { id: '3-1', amount: 30n },
    ],
  })
  t.match(await of('d', -31n), { status: 'insufficient', free: 30n })
  t.match(await of('d', 5n, { kind: 'id', bucket: '3-1' }), { status: 'adjusted', buckets: [{ amount: 35n }] })
  t.match(await of('e', 5n, { kind: 'name', bucket: 'other' }), { status: 'no_bucket' })
  t.match(await of('e', 5n, name, 'seconds'), { status: 'unit_differs', unit: 'octets' })
  const key = accountKey(partitionOf('alice', partitions), 'alice')
  const line = (await store.redis.hget(key, 'bucket:3-1'))!
  await store.redis.hset(key, 'bucket:3-1', line.replace('held 0', 'held 30'))
  t.match(await of('f', -6n), { status: 'insufficient', free: 5n }, 'what a session holds is its')
  await store.redis.hset(key, 'bucket:3-1', line.replace(/until \d+/, 'until 1'))
  t.match(await of('f', -1n, { kind: 'id', bucket: '3-1' }), { status: 'no_bucket' }, 'it has ended')
  await store.redis.hset(key, 'bucket:3-1', line)
  t.equal((await accounts.show('alice'))!.buckets.length, 2)
  t.match(await anAudit(store), { ok: true })
})

t.test('debt is written off as far as it is owed, and repaid by what is given', async t => {
  const { adjustments, store, has } = await startMoney(t)
  const key = accountKey(partitionOf('alice', partitions), 'alice')
  await store.redis.hset(key, 'funds', 'active money 0 held 0 credit 0 debt 5000000 open 0 seq 1 rev 0')
  const off = (reference: string, amount: bigint): Promise<object> =>
    adjustments.adjust(anAdjustment(reference, { target: { kind: 'debt' }, amount }))
  t.match(await off('a', 5_000_001n), { status: 'owed', debt: 5_000_000n })
  t.match(await off('a', 1_000_000n), { status: 'adjusted', debt: 4_000_000n })
  t.match(await adjustments.adjust(anAdjustment('b', { amount: 1_500_000n })), { debt: 2_500_000n, money: 0n })
  t.match(await off('c', 0n), { debt: 0n })
  t.match(await off('d', 0n), { status: 'owed', debt: 0n })
  t.same(await has('alice'), { money: 0n, debt: 0n })
  t.match((await entriesOf(store, 'alice'))[1], { kind: 'writeoff', posts: [['debt', 'EUR', 1_000_000, -5_000_000, -4_000_000], ['writeoff', 'EUR', -1_000_000]] }) // prettier-ignore
})

// All of it at random.

const rules = `
recharges: { bonuses: [{ name: half, from: '2.00', most: 3, percent: 50% }, { name: extra, money: '0.01', into: { bucket: b, expires: never } }] }
transfers: { fee: '0.03' }
`
const people = ['alice', 'bob', 'carol'] as const
type Person = (typeof people)[number]

/** What a person has: the rules in a few lines of bigint. */
interface Purse {
  money: bigint
  bonus: bigint
  halves: number
}

const person = fc.constantFrom(...people)
const amount = fc.bigInt({ min: 1n, max: 6_000_000n })
const step = fc.oneof(
  fc.record({ what: fc.constant('recharge' as const), who: person, amount, name: fc.nat(12) }),
  fc.record({ what: fc.constant('adjust' as const), who: person, amount: amount.map(a => a - 3_000_000n).filter(a => a !== 0n), name: fc.nat(12) }), // prettier-ignore
  fc.record({ what: fc.constant('transfer' as const), who: person, to: person, amount, name: fc.nat(12) }),
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

class Model {
  readonly purses: Record<Person, Purse>
  private readonly known = new Map<string, string>()

  constructor(private readonly round: string) {
    const purse = (): Purse => ({ money: 10_000_000n, bonus: 0n, halves: 0 })
    this.purses = { alice: purse(), bob: purse(), carol: purse() }
  }

  id = (who: string): string => `${who}-${this.round}`

  /** Whether it is done, done before, or not. */
  take(each: Step): 'done' | 'repeated' | 'refused' {
    const content = JSON.stringify({ ...each, amount: String(each.amount) })
    // A transfer is looked up beside its sender, an adjustment in its account; a recharge everywhere.
    const key = each.what === 'recharge' ? `${each.what} ${each.name}` : `${each.what} ${each.who} ${each.name}`
    const before = this.known.get(key)
    if (before !== undefined) return before === content ? 'repeated' : 'refused'
    if (!this.move(each)) return 'refused'
    this.known.set(key, content)
    return 'done'
  }

  private move(each: Step): boolean {
    const purse = this.purses[each.who]
    if (each.what === 'recharge') {
      purse.money += each.amount
      if (each.amount >= 2_000_000n && purse.halves < 3) {
        purse.halves++
        purse.money += each.amount / 2n
      } else purse.bonus += 10_000n
      return true
    }
    if (each.what === 'adjust') {
      if (purse.money + each.amount < 0n) return false
      purse.money += each.amount
      return true
    }
    if (each.who === each.to || purse.money < each.amount + 30_000n) return false
    purse.money -= each.amount + 30_000n
    this.purses[each.to].money += each.amount
    return true
  }
}

t.test(
  'random credits, debits, bonuses and transfers come out as the model says, and the ledger proves them',
  async t => {
    const money = await startMoney(t, { sections: rules })
    const { recharges, adjustments, transfers, accounts } = money
    let round = 0
    const act = async (each: Step, model: Model, tag: string): Promise<string> => {
      const account = model.id(each.who)
      const common = { account, currency: 'EUR', reference: `${tag}-${each.name}`, actor: 'test' }
      if (each.what === 'recharge')
        return (await recharges.recharge({ ...common, channel: 'test', amount: micros(each.amount) })).status
      if (each.what === 'adjust')
        return (await adjustments.adjust(anAdjustment(common.reference, { account, amount: each.amount }))).status
      const outcome = await transfers.transfer({
        ...{ name: `${tag}${each.name}`, from: account, to: model.id(each.to), amount: micros(each.amount) },
        ...{ reason: undefined, actor: 'test' },
      })
      return outcome.status === 'transferred' ? (outcome.repeated ? 'repeated' : 'done') : outcome.status
    }
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async steps => {
        const tag = `r${round++}`
        const model = new Model(tag)
        for (const who of people) {
          const account = { id: model.id(who), currency: 'EUR', creditLimit: micros(0), status: 'active' as const }
          await accounts.create(account, undefined, micros(10_000_000), 'admin')
        }
        for (const each of steps) {
          const expected = model.take(each)
          const status = await act(each, model, tag)
          const was = /^(credited|adjusted|done)$/.test(status) ? 'done' : status === 'repeated' ? status : 'refused'
          if (was !== expected)
            throw new Error(`${JSON.stringify({ ...each, amount: String(each.amount) })}: ${status}, not ${expected}`)
        }
        for (const who of people) {
          const account = (await accounts.show(model.id(who)))!
          const bonus = account.buckets.reduce((sum, each) => sum + each.amount, 0n)
          const { money: main, bonus: b } = model.purses[who]
          if (account.money !== main || bonus !== b || account.debt !== 0n)
            throw new Error(`${who}: ${account.money} and ${bonus}, not ${main} and ${b}`)
        }
      }),
      { seed, numRuns: 25 },
    )
    t.match(await anAudit(money.store), { ok: true, unproven: 0 })
  },
)
