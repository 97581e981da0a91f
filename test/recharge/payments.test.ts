/**
 * Payments from intent to credit, refunds, and automatic recharges: real Redis, a provider behind real HTTP that fails in all ways, a dead
 * daemon at each step.
 */
import { createHmac } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { AutomaticRecharges, Payments as PaymentStore } from '../../src/balance/payments.js'
import { dueKey, partitionOf } from '../../src/balance/keys.js'
import { VirtualClock } from '../../src/clock.js'
import { AutomaticRecharging, automaticChannel, mostFailures, type Automatic } from '../../src/recharge/automatic.js'
import { fallenMoney } from '../../src/recharge/falling-money.js'
import { HttpProvider } from '../../src/recharge/http-provider.js'
import { joinMoney } from '../../src/recharge/money.js'
import type { PaymentProvider } from '../../src/recharge/payment-provider.js'
import { idOf, Payments, type NewPayment, type Payment } from '../../src/recharge/payments.js'
import { TestProvider } from '../../src/recharge/test-provider.js'
import { readCatalog } from '../../src/rating/load.js'
import { micros } from '../../src/units.js'
import { aFolder, anAudit } from '../support/ledger.js'
import { partitions, startStore, type TestStore } from '../support/store.js'

const start = Date.now()
const hour = 3_600_000
const read = readCatalog([{ file: 'c.yaml', text: 'currency: EUR\ntimezone: Europe/Berlin\n' }])
if (!('catalog' in read)) throw new Error(JSON.stringify(read))
const { catalog } = read

interface Desk {
  readonly store: TestStore
  readonly clock: VirtualClock
  readonly payments: Payments
  readonly automatic: AutomaticRecharging
  readonly states: string[]
  money(account: string): Promise<bigint>
  /** Members of the account's due list that are due. */
  due(account: string): Promise<string[]>
  /** Another daemon with the same providers, or others. */
  another(providers?: readonly PaymentProvider[]): Desk
}

async function aDesk(t: Test, providers: readonly PaymentProvider[]): Promise<Desk> {
  const store = await startStore(t)
  const clock = new VirtualClock(start)
  const join = (list: readonly PaymentProvider[]): Desk => {
    const { accounts } = store
    const money = joinMoney({ store: store.store, partitions, clock, accounts, catalog: () => catalog })
    const states: string[] = []
    const payments = new Payments({
      store: new PaymentStore<Payment>(store.store, partitions),
      providers: list,
      recharges: money.recharges,
      adjustments: money.adjustments,
      ...{ clock, patienceMs: hour, metrics: { payment: (_, state) => void states.push(state) } },
    })
    const kept = new AutomaticRecharges<Automatic>(store.store, partitions, clock)
    const automatic = new AutomaticRecharging({
      store: kept,
      accounts,
      payments,
      timezone: () => 'Europe/Berlin',
      clock,
    })
    return {
      ...{ store, clock, payments, automatic, states },
      money: async id => (await accounts.show(id))!.money,
      due: async account => {
        const key = dueKey(partitionOf(account, partitions))
        const all = await store.store.redis.zrangebyscore(key, '-inf', clock.now())
        return all.filter(member => member.split(' ')[1] === account)
      },
      another: (others = list) => join(others),
    }
  }
  return join(providers)
}

let numbers = 0

async function anAccount(desk: Desk, money = 0n): Promise<string> {
  const id = `payer-${++numbers}`
  await desk.store.accounts.create(
    { id, currency: 'EUR', creditLimit: micros(0n), status: 'active' },
    undefined,
    micros(money),
    'admin',
  )
  return id
}

const aPayment = (account: string, amount: string, more: Partial<NewPayment> = {}): NewPayment => ({
  ...{
    id: idOf(account, amount, numbers),
    account,
    amount: micros(BigInt(amount.replace('.', '')) * 10_000n),
    currency: 'EUR',
  },
  ...{ channel: 'portal', method: 'card', actor: 'ann', ...more },
})

const state = (outcome: Awaited<ReturnType<Payments['begin']>>): string =>
  outcome.status === 'begun' ? outcome.payment.state : outcome.status

t.test('a payment recharges once, is declined, waits, or fails over, as its provider says', async t => {
  const provider = new TestProvider('test')
  const desk = await aDesk(t, [provider])
  const account = await anAccount(desk)
  const paid = aPayment(account, '10.00')
  t.equal(state(await desk.payments.begin(paid)), 'credited')
  t.equal(state(await desk.payments.begin(paid)), 'credited', 'the same again')
  t.same(await desk.payments.begin({ ...paid, amount: micros(1n) }), { status: 'taken' })
  t.equal(await desk.money(account), 10_000_000n)
  t.equal(provider.taken.size, 1)
  t.equal(state(await desk.payments.begin(aPayment(account, '10.01'))), 'declined')
  t.equal(
    state(await desk.payments.begin(aPayment(account, '5.00', { currency: 'GBP', provider: 'other' }))),
    'no_provider',
  )
  const waiting = aPayment(account, '10.02')
  t.equal(state(await desk.payments.begin(waiting)), 'pending')
  t.same(await desk.due(account), [], 'not yet')
  provider.confirm(waiting.id, waiting.amount)
  desk.clock.advance(30_000)
  const [member] = await desk.due(account)
  await desk.payments.due(member!)
  t.equal((await desk.payments.get(account, waiting.id))!.state, 'credited')
  t.equal(await desk.money(account), 20_020_000n)
  t.same(await desk.due(account), [], 'nothing is left to do')
  t.same((await anAudit(desk.store.store, aFolder(t))).problems, [])
})

t.test('a payment that nobody pays is given up; paid after all, it is credited', async t => {
  const provider = new TestProvider('test')
  const desk = await aDesk(t, [provider])
  const account = await anAccount(desk)
  const wanted = aPayment(account, '3.02')
  await desk.payments.begin(wanted)
  desk.clock.advance(2 * hour)
  await desk.payments.due((await desk.due(account))[0]!)
  t.match(await desk.payments.get(account, wanted.id), { state: 'expired', why: 'it was not paid in time' })
  const notice = { id: wanted.id, state: { status: 'confirmed', providerReference: 'x' } } as const
  t.match(await desk.payments.noticed('test', notice), { state: 'credited' })
  t.match(await desk.payments.noticed('test', notice), { state: 'credited' }, 'told twice')
  t.equal(await desk.payments.noticed('other', notice), undefined)
  t.equal(await desk.money(account), 3_020_000n)
})

t.test('sixteen daemons at once credit once', async t => {
  const desk = await aDesk(t, [new TestProvider('test')])
  const account = await anAccount(desk)
  const wanted = aPayment(account, '7.00')
  const outcomes = await Promise.all(Array.from({ length: 16 }, () => desk.another().payments.begin(wanted)))
  t.ok(outcomes.every(outcome => outcome.status === 'begun'))
  for (const member of await desk.due(account)) await desk.payments.due(member)
  t.equal((await desk.payments.get(account, wanted.id))!.state, 'credited')
  t.equal(await desk.money(account), 7_000_000n)
})

t.test('a daemon that dies at any step leaves a payment that another one ends', async t => {
  for (let dies = 1; dies <= 8; dies++) {
    const provider = new TestProvider('test')
    const desk = await aDesk(t, [provider])
    const account = await anAccount(desk)
    const wanted = aPayment(account, '4.00')
    // The store goes away after so many calls.
    let calls = 0
    const { redis } = desk.store.store
    const call = desk.store.store.call.bind(desk.store.store)
    desk.store.store.call = (script, deadline, send) =>
      ++calls > dies ? Promise.reject(new Error('killed')) : call(script, deadline, send)
    await desk.payments.begin(wanted).catch(() => undefined)
    desk.store.store.call = call
    desk.clock.advance(10_000)
    const other = desk.another()
    for (const member of await other.due(account)) await other.payments.due(member)
    const known = await other.payments.get(account, wanted.id)
    if (!known) await other.payments.begin(wanted) // it had not begun: whoever asked asks again
    t.equal((await other.payments.get(account, wanted.id))!.state, 'credited', `after ${dies} calls`)
    t.equal(await other.money(account), 4_000_000n)
    t.equal(provider.taken.get(wanted.id), 4_000_000n)
    await redis.flushall()
  }
})

t.test('money that the account cannot take goes back to whoever paid', async t => {
  const provider = new TestProvider('test')
  const desk = await aDesk(t, [provider])
  const account = await anAccount(desk)
  const wanted = aPayment(account, '6.02')
  await desk.payments.begin(wanted)
  await desk.store.accounts.setStatus(account, 'terminated', 'ann')
  provider.confirm(wanted.id, wanted.amount)
  desk.clock.advance(30_000)
  await desk.payments.due((await desk.due(account))[0]!)
  t.match(await desk.payments.get(account, wanted.id), { state: 'returned', why: /account_terminated/ })
  t.equal(provider.refunds.get(`${wanted.id}-back`), 6_020_000n)
})

t.test('refunds: from free money, never more than was paid, once', async t => {
  const provider = new TestProvider('test')
  const desk = await aDesk(t, [provider])
  const account = await anAccount(desk)
  const paid = aPayment(account, '10.00')
  await desk.payments.begin(paid)
  const refund = (id: string, amount: bigint): ReturnType<Payments['refund']> =>
    desk.payments.refund(account, paid.id, { id, amount: String(amount), reason: 'a complaint', actor: 'ann' })
  t.match(await refund('r1', 4_000_000n), { status: 'done', refund: { state: 'refunded' } })
  t.match(await refund('r1', 4_000_000n), { status: 'done', refund: { state: 'refunded' } }, 'again')
  t.equal(await desk.money(account), 6_000_000n)
  t.match(await refund('r2', 6_000_001n), { status: 'too_much' })
  t.match(await refund('r3', 2_010_000n), { status: 'done', refund: { state: 'kept' } }, 'the provider declines')
  t.equal(await desk.money(account), 6_000_000n, 'so it is back in the account')
  t.same([...provider.refunds], [['r1', 4_000_000n]])
  await desk.store.accounts.setStatus(account, 'active', 'ann')
  const poor = await anAccount(desk)
  const second = aPayment(poor, '5.00')
  await desk.payments.begin(second)
  await joinMoney({
    store: desk.store.store,
    partitions,
    clock: desk.clock,
    accounts: desk.store.accounts,
    catalog: () => catalog,
  }).adjustments.adjust({
    ...{
      account: poor,
      reference: 'x',
      target: { kind: 'main' },
      unit: 'EUR',
      amount: -4_000_000n,
      reason: 'spent',
      actor: 'ann',
      lowBalance: [],
    },
  })
  t.match(
    await desk.payments.refund(poor, second.id, { id: 'r4', amount: '5000000', reason: 'a complaint', actor: 'ann' }),
    { status: 'done', refund: { state: 'refused' } },
  )
  t.match(await desk.payments.refund(poor, idOf('x'), { id: 'r5', amount: '1', reason: 'x', actor: 'a' }), {
    status: 'no_payment',
  })
  t.same((await anAudit(desk.store.store, aFolder(t))).problems, [])
})

interface Bank {
  readonly server: Server
  readonly url: string
  readonly orders: Map<string, { amount: string; times: number }>
  answer: (id: string) => { status: number; body?: object | string; hang?: true }
}

async function aBank(t: Test): Promise<Bank> {
  const orders: Bank['orders'] = new Map()
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      const id =
        request.method === 'POST'
          ? (JSON.parse(text) as { id: string; amount: string }).id
          : request.url!.split('/').at(-1)!
      if (request.method === 'POST' && !request.url!.endsWith('/refunds')) {
        const known = orders.get(id)
        orders.set(id, { amount: (JSON.parse(text) as { amount: string }).amount, times: (known?.times ?? 0) + 1 })
      }
      if (request.method === 'GET' && !orders.has(id)) return response.writeHead(404).end('{}')
      const { status, body = {}, hang } = bank.answer(id)
      if (hang) return undefined
      response.writeHead(status, { 'content-type': 'application/json' })
      return response.end(typeof body === 'string' ? body : JSON.stringify(body))
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const bank: Bank = {
    ...{ server, orders, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
    answer: () => ({ status: 200, body: { status: 'confirmed', reference: 'b-1' } }),
  }
  return bank
}

const httpProvider = (name: string, url: string): HttpProvider =>
  new HttpProvider(
    {
      ...{ name, kind: 'http', url, secret: 's', noticeSecret: 'n', timeoutMs: 300 },
      ...{ currencies: new Set(['EUR']), methods: undefined },
    },
    () => start,
  )

t.test('whatever a provider answers, it is asked again under the same id, and money is taken once', async t => {
  const bank = await aBank(t)
  const desk = await aDesk(t, [httpProvider('bank', bank.url)])
  const ways: readonly (readonly [string, ReturnType<Bank['answer']>])[] = [
    ['a defect of its own', { status: 500 }],
    ['no JSON', { status: 200, body: '<html>' }],
    ['a strange word', { status: 200, body: { status: 'maybe' } }],
    ['silence', { status: 200, hang: true }],
    ['too long an answer', { status: 200, body: JSON.stringify({ status: 'confirmed', x: 'y'.repeat(100_000) }) }],
  ]
  for (const [what, answer] of ways) {
    const account = await anAccount(desk)
    const wanted = aPayment(account, '2.00')
    bank.answer = () => answer
    t.equal(state(await desk.payments.begin(wanted)), 'created', what)
    bank.answer = () => ({ status: 200, body: { status: 'confirmed', reference: 'b-1' } })
    desk.clock.advance(60_000)
    await desk.payments.due((await desk.due(account))[0]!)
    t.equal((await desk.payments.get(account, wanted.id))!.state, 'credited', what)
    t.equal(await desk.money(account), 2_000_000n)
    t.same(bank.orders.get(wanted.id), { amount: '2.00', times: 2 }, 'one id, so one payment')
  }
  const account = await anAccount(desk)
  bank.answer = () => ({ status: 402, body: { why: 'no\ncover' } })
  t.match(await desk.payments.begin(aPayment(account, '2.00')), { payment: { state: 'declined', why: 'no?cover' } })
})

t.test('the next provider is asked only when the first one surely took nothing', async t => {
  const [bank, other] = [await aBank(t), await aBank(t)]
  const nobody = await aBank(t)
  await new Promise(resolve => nobody.server.close(resolve))
  const gone = await aDesk(t, [httpProvider('gone', nobody.url), httpProvider('other', other.url)])
  const account = await anAccount(gone)
  t.match(await gone.payments.begin(aPayment(account, '2.00')), {
    payment: { state: 'credited', provider: 'other', passed: ['gone'] },
  })
  bank.answer = () => ({ status: 503 })
  const busy = await aDesk(t, [httpProvider('busy', bank.url), httpProvider('other', other.url)])
  const second = await anAccount(busy)
  t.match(await busy.payments.begin(aPayment(second, '2.00')), { payment: { state: 'credited', provider: 'other' } })
  bank.answer = () => ({ status: 500 })
  const third = await anAccount(busy)
  t.match(
    await busy.payments.begin(aPayment(third, '2.00')),
    { payment: { state: 'created', provider: 'busy' } },
    'who knows what it did',
  )
})

t.test('notices count with the right signature and not too late', t => {
  const provider = httpProvider('bank', 'http://localhost')
  const body = JSON.stringify({ id: 'p1', status: 'confirmed' })
  const sign = (time: number, secret = 'n', of = body): string =>
    `t=${time},v1=${createHmac('sha256', secret).update(`${time}.${of}`).digest('hex')}`
  const at = Math.floor(start / 1000)
  t.match(provider.notice(body, { 'ocs-signature': sign(at) }), { id: 'p1', state: { status: 'confirmed' } })
  for (const signature of [
    undefined,
    '',
    'x',
    sign(at, 'other'),
    sign(at, 'n', `${body} `),
    sign(at - 301),
    sign(at + 301),
  ])
    t.equal(provider.notice(body, { 'ocs-signature': signature }), undefined, String(signature))
  t.end()
})

const terms = { dayMost: '30000000', mandate: 'm1' }

async function lookAt(desk: Desk, account: string): Promise<void> {
  for (let member = (await desk.due(account)).find(each => each.startsWith('auto ')); member;) {
    await desk.automatic.due(member)
    member = (await desk.due(account)).find(each => each.startsWith('auto '))
  }
}

t.test('an account is recharged when its money falls to the level, up to its cap of a day', async t => {
  const desk = await aDesk(t, [new TestProvider('test')])
  const account = await anAccount(desk, 8_000_000n)
  await desk.automatic.set(account, { ...terms, below: '5000000', amount: '10000000' }, 'ann')
  await lookAt(desk, account)
  t.equal(await desk.money(account), 8_000_000n, 'there is enough')
  const spend = async (amount: bigint): Promise<void> => {
    const { adjustments } = joinMoney({
      store: desk.store.store,
      partitions,
      clock: desk.clock,
      accounts: desk.store.accounts,
      catalog: () => catalog,
    })
    await adjustments.adjust({
      ...{
        account,
        reference: `s${++numbers}`,
        target: { kind: 'main' },
        unit: 'EUR',
        amount: -amount,
        reason: 'spent',
        actor: 'ann',
        lowBalance: [],
      },
    })
    await desk.automatic.fell(partitionOf(account, partitions), new Map([[account, await desk.money(account)]]))
    await lookAt(desk, account)
  }
  await spend(2_000_000n)
  t.equal(await desk.money(account), 6_000_000n)
  await spend(1_000_000n)
  t.equal(await desk.money(account), 15_000_000n)
  await spend(10_000_000n)
  await spend(10_000_000n)
  t.equal(await desk.money(account), 15_000_000n, 'three times')
  await spend(14_000_000n)
  t.equal(await desk.money(account), 1_000_000n, 'not above the cap')
  desk.clock.advance(24 * hour)
  await lookAt(desk, account)
  t.equal(await desk.money(account), 11_000_000n, 'the next day')
})

t.test('fill to a level; on a schedule whose month ends clamp', async t => {
  const desk = await aDesk(t, [new TestProvider('test')])
  const account = await anAccount(desk, 1_000_000n)
  await desk.automatic.set(account, { ...terms, below: '2000000', fillTo: '20000000', max: '15000000' }, 'ann')
  await lookAt(desk, account)
  t.equal(await desk.money(account), 16_000_000n)
  const monthly = await anAccount(desk)
  await desk.automatic.set(monthly, { ...terms, every: 'month', amount: '10000000' }, 'ann')
  await lookAt(desk, monthly)
  t.equal(await desk.money(monthly), 0n, 'the first comes after a month')
  for (let months = 1; months <= 12; months++) {
    desk.clock.advance(31 * 24 * hour)
    await lookAt(desk, monthly)
  }
  t.equal(await desk.money(monthly), 120_000_000n, 'one a month')
  await desk.automatic.stop(monthly)
  desk.clock.advance(62 * 24 * hour)
  await lookAt(desk, monthly)
  t.equal(await desk.money(monthly), 120_000_000n)
})

t.test('after declines it waits longer and longer, then stops until it is set again', async t => {
  const provider = new TestProvider('test')
  const desk = await aDesk(t, [provider])
  const account = await anAccount(desk)
  await desk.automatic.set(account, { ...terms, below: '1000000', amount: '5010000' }, 'ann')
  const tries = async (): Promise<number> => (await desk.automatic.get(account))!.begun
  await lookAt(desk, account)
  t.equal(await tries(), 1)
  const waits: number[] = []
  for (let hours = 0, known = 1; hours < 24 * 14; hours++) {
    desk.clock.advance(hour)
    await lookAt(desk, account)
    const now = await tries()
    if (now > known) waits.push(hours + 1)
    known = now
  }
  t.same(waits, [1, 7, 31, 55])
  t.match(await desk.automatic.get(account), { failures: mostFailures, lastFailure: /declines/ })
  await desk.automatic.set(account, { ...terms, below: '1000000', amount: '5000000' }, 'ann')
  await lookAt(desk, account)
  t.equal(await desk.money(account), 5_000_000n)
})

t.test('never two in flight, whoever looks and whenever', async t => {
  const provider = new TestProvider('test')
  const desk = await aDesk(t, [provider])
  const account = await anAccount(desk)
  await desk.automatic.set(account, { ...terms, below: '5000000', amount: '1020000' }, 'ann')
  const others = Array.from({ length: 8 }, () => desk.another())
  for (let round = 0; round < 5; round++) {
    await Promise.all(others.map(async each => each.automatic.due(`auto ${account}`)))
    desk.clock.advance(31_000)
  }
  const { begun, underWay } = (await desk.automatic.get(account))!
  t.equal(begun, 1, 'one, as it is pending')
  provider.confirm(underWay!.id, micros(BigInt(underWay!.amount)))
  desk.clock.advance(61_000)
  await Promise.all(others.map(async each => each.automatic.due(`auto ${account}`)))
  t.equal((await desk.automatic.get(account))!.begun, 2, 'and the next after it')
  t.equal(await desk.money(account), 1_020_000n)
})

t.test('entries say whose money fell', t => {
  const entry = (account: string, ...posts: unknown[]): { partition: number; text: string } => ({
    partition: 3,
    text: JSON.stringify({ account, posts }),
  })
  const fallen = fallenMoney([
    entry('a', ['main', 'EUR', -5, 10, 5], ['usage:data', 'EUR', 5]),
    entry('b', ['main', 'EUR', 5, 10, 15], ['source:x', 'EUR', -5]),
    entry('c', ['main', 'EUR', -5, 10, 5]),
    entry('c', ['main', 'EUR', 50, 5, 55]),
    entry('d', ['bucket:1', 'octets', -5, 10, 5]),
  ])
  t.same([...fallen.get(3)!], [['a', 5n]])
  t.equal(automaticChannel, 'automatic')
  t.end()
})
