/**
 * A voucher pays once, whatever breaks: at every step of its redemption the process is killed -9, or the store's answer is lost, or
 * another is at it at the same time, and in the end exactly one account has its money and nothing is left to do.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import t from 'tap'
import { accountKey, dueKey, journalKey, partitionOf } from '../../src/balance/keys.js'
import { BalanceUnavailableError, Store } from '../../src/balance/store.js'
import { ForwardClock, systemClock } from '../../src/clock.js'
import { codeOf } from '../../src/recharge/voucher-codes.js'
import { micros } from '../../src/units.js'
import { noMetrics, openStore, partitions, startStore } from '../support/store.js'
import type { VoucherProcessOptions } from '../support/voucher-process.js'
import { aCatalog, anAccount, openVouchers, type TestVouchers } from '../support/vouchers.js'

const { store, redis } = await startStore(t)
const clock = new ForwardClock(systemClock)
const vouchers = openVouchers(store, clock)
const { accounts, batches } = vouchers
/** On a connection of its own: what it does is another daemon's. */
const other = openVouchers(await openStore(t, redis), clock)
let accountsMade = 0
const fresh = async (): Promise<string> => {
  const id = `a${++accountsMade}`
  await anAccount(accounts, id)
  return id
}
const money = async (id: string): Promise<bigint> => (await accounts.show(id))!.money
const due = async (account: string): Promise<string[]> =>
  (await store.redis.zrange(dueKey(partitionOf(account, partitions)), '0', '-1')).filter(member =>
    member.startsWith(`voucher ${account} `),
  )
/** What the sweeper of the other daemon does when the time of what is due has come. */
async function sweep(account: string, { redemption }: TestVouchers = other): Promise<string[]> {
  const said: string[] = []
  for (const member of await due(account)) said.push(await redemption.finishDue(member))
  return said
}
/** Recharges in the account's ledger. */
const recharges = async (account: string): Promise<number> =>
  (await store.redis.xrange(journalKey(partitionOf(account, partitions)), '-', '+')).filter(([, [, text]]) => {
    const entry = JSON.parse(text!) as { account: string; kind: string }
    return entry.account === account && entry.kind === 'recharge'
  }).length

/** As a client does it that got no answer: the same again. */
async function insist(daemon: TestVouchers, account: string, code: string): Promise<string> {
  for (;;) {
    try {
      return (await daemon.redeem(account, code)).status
    } catch (error) {
      if (!(error instanceof BalanceUnavailableError)) throw error
    }
  }
}

/** Refuses one call: before it is sent, or when it was done and its answer is lost. */
class FailingStore extends Store {
  calls: string[] = []
  fails = -1
  lost = false

  override async call<T>(script: string, deadline: number, send: (redis: Store['redis']) => Promise<T>): Promise<T> {
    const n = this.calls.push(script) - 1
    if (n !== this.fails) return super.call(script, deadline, send)
    if (this.lost) await super.call(script, deadline, send)
    throw new BalanceUnavailableError(`the store did not answer ${script} in time`)
  }
}

async function failing(fails: number, lost: boolean): Promise<{ store: FailingStore; vouchers: TestVouchers }> {
  const store = new FailingStore({
    config: { kind: 'embedded', durability: 'memory', partitions },
    address: { socket: redis.socket },
    log: pino({ level: 'silent' }),
    metrics: noMetrics,
    clock: systemClock,
  })
  await store.open(5000)
  t.teardown(() => store.close())
  const vouchers = openVouchers(store, clock)
  Object.assign(store, { fails, lost })
  return { store, vouchers }
}

const program = fileURLToPath(new URL('../support/voucher-process.ts', import.meta.url))

/** @returns what it said, or the signal that it died of */
function runProcess(options: VoucherProcessOptions): Promise<string> {
  const child = spawn(process.execPath, ['--import=tsx', program, JSON.stringify(options)], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  return new Promise(resolve => child.once('close', (_, signal) => resolve(signal ?? said.trim())))
}

/** The calls of one redemption on a fresh store: where it can break. */
async function callsOfOne(terms: Parameters<TestVouchers['active']>[0]): Promise<readonly string[]> {
  const { codes } = await vouchers.active({ ...terms, count: 1 })
  const whole = await failing(-1, false)
  t.match(await whole.vouchers.redeem(await fresh(), codes[0]!), { status: 'redeemed' })
  return whole.store.calls
}

t.test('killed -9 before each call of the store, another daemon finishes it or nothing was begun', async t => {
  const calls = await callsOfOne({})
  t.ok(calls.includes('credit') && calls.filter(call => call === 'voucher-claim').length === 3)
  const { codes } = await vouchers.active({ count: calls.length + 1 })
  const trials = await Promise.all(
    [...calls.keys(), -1].map(async (dies, i) => ({ dies, i, account: await fresh(), end: '' })),
  )
  // Two at a time: there are two cores.
  for (let i = 0; i < trials.length; i += 2) {
    await Promise.all(
      trials.slice(i, i + 2).map(async trial => {
        const { account, dies } = trial
        trial.end = await runProcess({ socket: redis.socket, account, code: codes[trial.i]!, dies })
      }),
    )
  }
  const claimedBefore = calls.indexOf('voucher-claim', calls.indexOf('due')) + 1
  for (const { dies, i, account, end } of trials) {
    const step = dies < 0 ? 'none' : `${dies}: ${calls[dies]}`
    t.equal(end, dies < 0 ? 'redeemed' : 'SIGKILL', step)
    for (const said of await sweep(account)) t.equal(said, 'done')
    t.same(await due(account), [], `nothing is left to do after ${step}`)
    const begun = dies < 0 || dies >= claimedBefore
    t.equal(await money(account), begun ? 5_000_000n : 0n, step)
    const again = await other.redeem(account, codes[i]!)
    t.match(again, { status: begun ? 'repeated' : 'redeemed', credited: { money: 5_000_000n } }, step)
    t.equal(await money(account), 5_000_000n)
    t.equal(await recharges(account), 1)
  }
})

const kinds = {
  money: {},
  offer: { amount: undefined, currency: undefined, offer: 'gift' },
  both: { offer: 'gift' },
} as const

for (const [kind, terms] of Object.entries(kinds)) {
  t.test(`${kind}: a call that fails, or whose answer is lost, is made good by whoever comes next`, async t => {
    const calls = await callsOfOne(terms)
    const { id, codes } = await vouchers.active({ ...terms, count: 4 * calls.length })
    let next = 0
    for (const lost of [false, true]) {
      for (const [fails, call] of calls.entries()) {
        for (const swept of [false, true]) {
          const step = `${fails}: ${call}, ${lost ? 'answer lost' : 'not sent'}, ${swept ? 'swept' : 'asked again'}`
          const account = await fresh()
          const one = await failing(fails, lost)
          const code = codes[next++]!
          await t.rejects(one.vouchers.redeem(account, code), BalanceUnavailableError, step)
          if (swept) await sweep(account)
          const again = await other.redeem(account, code)
          t.match(again.status, /^(redeemed|repeated)$/, step)
          await sweep(account)
          t.same(await due(account), [], step)
          const { money, buckets } = (await accounts.show(account))!
          t.equal(money, kind === 'offer' ? 0n : 5_000_000n, step)
          t.equal(buckets.length, kind === 'money' ? 0 : 1, step)
          t.match(again, {
            ...(kind !== 'offer' && { credited: { money: 5_000_000n } }),
            ...(kind !== 'money' && { subscription: '1' }),
          })
        }
      }
    }
    t.match((await batches.report(id))!, {
      counts: { used: next, redeeming: 0, active: 0 },
      redeemed: [{ count: next }],
    })
  })
}

t.test('a refused credit frees the voucher at whatever step it breaks, and never pays afterwards', async t => {
  const { codes } = await vouchers.active({ count: 100 })
  const rich = async (): Promise<string> => {
    const account = await fresh()
    await accounts.recharge({
      ...{ account, amount: micros(2n ** 52n), currency: 'EUR', channel: 'test', reference: account, actor: 'test' },
    })
    return account
  }
  const whole = await failing(-1, false)
  t.same(await whole.vouchers.redeem(await rich(), codes[99]!), { status: 'too_large' })
  const { calls } = whole.store
  t.equal(calls.filter(call => call === 'voucher-claim').length, 3, 'look, claim, free')
  let next = 0
  for (const lost of [false, true]) {
    for (const [fails, call] of calls.entries()) {
      const step = `${fails}: ${call}, ${lost ? 'answer lost' : 'not sent'}`
      const [account, good] = [await rich(), await fresh()]
      const one = await failing(fails, lost)
      const code = codes[next++]!
      await t.rejects(one.vouchers.redeem(account, code), BalanceUnavailableError, step)
      // What stood in the way is gone: a late step of the refused redemption must not pay all the same.
      const key = accountKey(partitionOf(account, partitions), account)
      const funds = (await store.redis.hget(key, 'funds'))!
      await store.redis.hset(key, 'funds', funds.replace(/money \d+/, 'money 0'))
      await sweep(account)
      t.same(await due(account), [], step)
      const paid = (await money(account)) > 0n
      const second = await other.redeem(good, code)
      t.equal(second.status, paid ? 'used' : 'redeemed', step)
      t.equal((await money(account)) + (await money(good)), 5_000_000n, step)
    }
  }
})

t.test('a redemption that was given up cannot claim any more, so it needs no sweeper', async t => {
  const { id, codes } = await vouchers.active({ count: 1 })
  const account = await fresh()
  const voucher = { batch: id, serial: 1 }
  const late = { account, subscriber: '0', redemption: '3f2a', at: clock.now(), channel: 'portal', outlet: undefined }
  await vouchers.store.intend(account, `${id}-1.3f2a`, clock.now())
  t.same(await sweep(account), ['done'])
  t.same(await due(account), [])
  t.same(await vouchers.store.claim(voucher, { ...late, actor: 'late' }), { status: 'late' })
  t.match(await vouchers.redeem(account, codes[0]!), { status: 'redeemed' })
})

t.test('a purchase that was given up does not come late', async t => {
  const account = await fresh()
  t.equal(await vouchers.store.voidPurchase(account, 'voucher:1-1.x'), false)
  const { rev } = (await accounts.show(account))!
  const late = { account, subscriber: '0', offer: 'gift', buckets: [], rev, reference: 'voucher:1-1.x', actor: 'late' }
  t.equal((await accounts.subscribe(late)).status, 'reference_taken')
  t.same((await accounts.show(account))!.subscriptions, [])
  t.equal(await vouchers.store.purchaseOf(account, 'voucher:1-1.x'), undefined)
})

t.test('an offer that the catalog lost waits until it is there again, when the money was paid', async t => {
  const full = aCatalog()
  const bare = { ...full, offers: new Map() }
  let looks = Infinity // until it is gone
  const waiting = openVouchers(store, clock, { catalog: () => (looks-- > 0 ? full : bare) })
  const { codes } = await waiting.active({ offer: 'gift', count: 1 })
  const account = await fresh()
  looks = 0
  t.match(await waiting.redeem(account, codes[0]!), { status: 'refused', why: /no offer gift/ })
  looks = 1
  t.match(await waiting.redeem(account, codes[0]!), { status: 'pending', why: /no offer gift/ })
  t.equal(await money(account), 5_000_000n)
  t.same(await sweep(account, waiting), ['stuck'])
  t.equal((await due(account)).length, 1)
  looks = Infinity
  t.same(await sweep(account, waiting), ['done'])
  t.match(await accounts.show(account), { money: 5_000_000n, buckets: [{ name: 'data-gift' }] })
  t.same(await due(account), [])
})

t.test('a thousand redeemers of one code over many connections: exactly one has it', async t => {
  const connections = await Promise.all(Array.from({ length: 4 }, () => openStore(t, redis)))
  const daemons = connections.map(each => openVouchers(each, clock))
  const { id, codes } = await vouchers.active({ count: 2 })
  const racers = await Promise.all(Array.from({ length: 1000 }, () => fresh()))
  const said = await Promise.all(racers.map((account, i) => insist(daemons[i % 4]!, account, codes[0]!)))
  t.equal(said.filter(status => status === 'redeemed' || status === 'repeated').length, 1)
  t.equal(said.filter(status => status === 'used').length, 999)
  let sum = 0n
  for (const account of racers) sum += await money(account)
  t.equal(sum, 5_000_000n)
  const same = await fresh()
  const own = await Promise.all(racers.slice(0, 40).map((_, i) => insist(daemons[i % 4]!, same, codes[1]!)))
  // An account may have five tries under way.
  t.ok(own.every(status => /^(redeemed|repeated|locked)$/.test(status)))
  t.ok(own.filter(status => status === 'redeemed').length <= 1)
  t.equal(await money(same), 5_000_000n)
  t.match((await batches.report(id))!.counts, { used: 2, redeeming: 0 })
})

t.test('sweepers that come too early take nothing away and give nothing twice', async t => {
  const { id, codes } = await vouchers.active({ count: 60 })
  const racers = await Promise.all(codes.map(() => fresh()))
  const sweeper = { over: false }
  const sweeping = (async () => {
    while (!sweeper.over) for (const account of racers) await sweep(account)
  })()
  const said: string[] = []
  for (const [i, code] of codes.entries()) said.push((await vouchers.redeem(racers[i]!, code)).status)
  sweeper.over = true
  await sweeping
  t.same(new Set(said), new Set(['redeemed']))
  for (const account of racers) {
    t.equal(await money(account), 5_000_000n)
    t.equal(await recharges(account), 1)
    t.same(await due(account), [])
  }
  t.match((await batches.report(id))!.counts, { used: 60, redeeming: 0 })
})

t.test('each refusal asks the store the same, so that none is told by its time', async t => {
  const { id, codes } = await vouchers.active({ count: 2 })
  const over = await vouchers.active({ count: 1, ends: clock.now() - 1 })
  await vouchers.redeem(await fresh(), codes[0]!)
  await batches.block(id, { from: 2, to: 2 }, 'checker', 'lost')
  const nobodys = codeOf(Buffer.from('somebody guesses'), 1, 0, 14)
  const one = await failing(-1, false)
  await one.vouchers.redeem(await fresh(), nobodys) // what is looked up once
  const asked = new Map<string, readonly string[]>()
  for (const code of [nobodys, codes[0]!, codes[1]!, over.codes[0]!]) {
    const account = await fresh()
    const before = one.store.calls.length
    asked.set((await one.vouchers.redeem(account, code)).status, one.store.calls.slice(before))
  }
  t.same([...asked.keys()], ['unknown', 'used', 'blocked', 'expired'])
  for (const calls of asked.values()) t.same(calls, asked.get('unknown'))
})
