/** Vouchers on a real store: what each does once, what is refused and how, who may do what, and who is locked out. */
import t from 'tap'
import { ForwardClock, systemClock } from '../../src/clock.js'
import { voucherKey } from '../../src/recharge/voucher-key.js'
import { codeOf } from '../../src/recharge/voucher-codes.js'
import { micros } from '../../src/units.js'
import { openStore, partitions, startStore } from '../support/store.js'
import { anAccount, openVouchers, printed, secret, someTerms } from '../support/vouchers.js'
import { partitionOf, journalKey } from '../../src/balance/keys.js'

const { store, redis } = await startStore(t)
const clock = new ForwardClock(systemClock)
const vouchers = openVouchers(store, clock)
const { batches, accounts } = vouchers
const redeem: typeof vouchers.redeem = (...request) => vouchers.redeem(...request)
const money = async (id: string): Promise<bigint> => (await accounts.show(id))!.money
const entries = async (account: string): Promise<Record<string, unknown>[]> =>
  (await store.redis.xrange(journalKey(partitionOf(account, partitions)), '-', '+'))
    .map(([, fields]) => JSON.parse(fields[1]!) as Record<string, unknown>)
    .filter(entry => entry['account'] === account)
let accountsMade = 0
const fresh = async (currency?: string): Promise<string> => {
  const id = `a${++accountsMade}`
  await anAccount(accounts, id, currency)
  return id
}
/** A code that is well formed and nobody's. */
const guess = (n: number): string => codeOf(Buffer.from('somebody guesses'), n, 0, 14)

t.test('a voucher brings its money once, and the same account and code again the first answer', async t => {
  const { id, codes } = await vouchers.active()
  const [alice, bob] = [await fresh(), await fresh()]
  const first = await redeem(alice, codes[0]!, { outlet: 'kiosk-7' })
  t.match(first, { status: 'redeemed', voucher: `${id}-1`, credited: { money: 5_000_000n, sequence: 2 } })
  t.match(await redeem(alice, ` ${codes[0]!.slice(0, 4)} ${codes[0]!.slice(4)}`), {
    ...{ status: 'repeated', voucher: `${id}-1`, credited: { money: 5_000_000n, sequence: 2 } },
  })
  t.same(await redeem(bob, codes[0]!), { status: 'used' })
  t.equal(await money(alice), 5_000_000n)
  t.equal(await money(bob), 0n)
  const entry = (await entries(alice)).find(({ kind }) => kind === 'recharge')
  t.match(entry, {
    ...{ channel: 'voucher', reference: `${id}-1`, method: 'portal', outlet: 'kiosk-7', actor: 'tester' },
    voucher: { batch: id, serial: 1 },
  })
  const report = (await batches.report(id))!
  t.match(report.counts, { active: 9, used: 1, redeeming: 0, blocked: 0, expired: 0, created: 0 })
  t.match(report.redeemed, [{ day: /^\d{4}-\d\d-\d\d$/, outlet: 'kiosk-7', count: 1 }])
  t.match(await batches.voucher({ batch: id, serial: 1 }), { state: { status: 'used', claim: { account: alice } } })
  t.match(await batches.voucher({ batch: id, serial: 2 }), { state: { status: 'free' } })
  t.equal(await batches.voucher({ batch: id, serial: 11 }), undefined)
})

t.test('a voucher brings an offer, or both', async t => {
  const { codes } = await vouchers.active({ amount: undefined, currency: undefined, offer: 'gift', count: 2 })
  const alice = await fresh()
  t.match(await redeem(alice, codes[0]!), { status: 'redeemed', credited: undefined, subscription: '1' })
  t.match(await redeem(alice, codes[0]!), { status: 'repeated', credited: undefined, subscription: '1' })
  t.match((await accounts.show(alice))!.buckets, [{ name: 'data-gift', amount: 1_000_000_000n }])
  const both = await vouchers.active({ offer: 'gift', count: 1 })
  const bob = await fresh()
  t.match(await redeem(bob, both.codes[0]!), { status: 'redeemed', credited: { money: 5_000_000n }, subscription: '1' })
  t.match(await redeem(bob, both.codes[0]!), { status: 'repeated', credited: { money: 5_000_000n }, subscription: '1' })
})

t.test('what cannot be credited leaves the voucher to others', async t => {
  const { id, codes } = await vouchers.active()
  const [ended, pounds, rich, good] = [await fresh(), await fresh('GBP'), await fresh(), await fresh()]
  await accounts.setStatus(ended, 'terminated', 'tester')
  t.same(await redeem(ended, codes[0]!), { status: 'account_terminated' })
  t.same(await redeem(pounds, codes[0]!), { status: 'currency_differs', currency: 'EUR' })
  t.same(await redeem('nobody', codes[0]!), { status: 'no_account' })
  // Only the script can tell this one, so the voucher is claimed, and given free again.
  const most = { currency: 'EUR', channel: 'test', actor: 'tester' }
  await accounts.recharge({ ...most, account: rich, amount: micros(2n ** 52n), reference: 'rich' })
  t.same(await redeem(rich, codes[0]!), { status: 'too_large' })
  t.match(await batches.show(id), { claimed: 0, used: 0 })
  t.match(await redeem(good, codes[0]!), { status: 'redeemed' })
  const unsold = openVouchers(store, clock, { notSold: () => 'not for you' })
  const gift = await unsold.active({ amount: undefined, currency: undefined, offer: 'gift', count: 1 })
  t.same(await unsold.redeem(good, gift.codes[0]!), { status: 'refused', why: 'not for you' })
  // The account has no such subscriber, which only the purchase finds: given free, for another time.
  t.match(await redeem(good, gift.codes[0]!, { subscriber: '7' }), { status: 'refused', why: /no subscriber 7/ })
  t.match(await redeem(good, gift.codes[0]!), { status: 'redeemed', subscription: '1' })
})

t.test('codes that cannot be redeemed are told apart', async t => {
  const alice = await fresh()
  const other = openVouchers(store, clock, { lockout: { account: 1000 } })
  const said = async (code: string): Promise<string> => (await other.redeem(alice, code)).status
  const made = await batches.create(someTerms, 'maker', 'states')
  if (made.status === 'other_key') throw new Error()
  const { id } = made.batch
  t.equal((await batches.activate(id, 'checker')).status, 'not_exported')
  const codes = await printed(batches, id)
  t.equal(await said('123'), 'malformed')
  t.equal(await said(guess(1)), 'unknown')
  t.equal(await said(codes[0]!), 'not_active')
  await batches.activate(id, 'checker')
  t.equal((await batches.activate(id, 'checker')).status, 'unchanged')
  await batches.block(id, { from: 2, to: 3 }, 'checker', 'stolen')
  t.equal(await said(codes[1]!), 'blocked')
  t.equal(await said(codes[2]!), 'blocked')
  t.equal(await said(codes[3]!), 'redeemed')
  await batches.block(id, { from: 4, to: 5 }, 'checker', 'stolen')
  t.match((await batches.report(id))!.counts, { active: 6, used: 1, blocked: 3 }, 'a used one is used')
  await batches.unblock(id, { from: 3, to: 3 }, 'checker', 'found')
  t.equal(await said(codes[2]!), 'redeemed')
  await batches.block(id, undefined, 'checker', 'all stolen')
  t.equal(await said(codes[5]!), 'blocked')
  t.match((await batches.report(id))!.counts, { active: 0, used: 2, blocked: 8 })
  t.equal(await said(codes[2]!), 'repeated', 'what was done stays done')
  t.equal((await batches.block(id, { from: 0, to: 3 }, 'checker', 'no')).status, 'no_such_serials')
  t.equal((await batches.block(id, { from: 5, to: 11 }, 'checker', 'no')).status, 'no_such_serials')
  await batches.unblock(id, undefined, 'checker', 'found')
  t.equal(await said(codes[5]!), 'redeemed')
  t.equal((await batches.block('999', undefined, 'checker', 'no')).status, 'no_batch')
  const ending = await vouchers.active({ ends: clock.now() + 86_400_000 })
  clock.putForward(clock.offset + 86_400_000)
  t.equal(await said(ending.codes[0]!), 'expired')
  t.match(await batches.report(ending.id), { batch: { state: 'expired' }, counts: { active: 0, expired: 10 } })
})

t.test('whoever guesses is locked out, everywhere, until time or care ends it', async t => {
  const limits = { account: 3, windowMs: 60_000, lockMs: 600_000 }
  const [one, two] = [
    openVouchers(store, clock, { lockout: limits }),
    openVouchers(await openStore(t, redis), clock, { lockout: limits }),
  ]
  const { codes } = await vouchers.active()
  const alice = await fresh()
  for (const n of [1, 2]) t.equal((await one.redeem(alice, guess(n))).status, 'unknown')
  t.equal((await one.redeem(alice, '12')).status, 'malformed', 'a slip of the hand does not count')
  t.equal((await two.redeem(alice, codes[0]!)).status, 'redeemed', 'and a right code ends the counting')
  t.equal((await two.redeem(alice, codes[0]!)).status, 'repeated')
  for (const n of [3, 4, 5]) t.equal((await (n % 2 ? one : two).redeem(alice, guess(n))).status, 'unknown')
  t.same(
    two.counted.concat(one.counted).filter(each => each.startsWith('locked ')),
    ['locked account'],
  )
  t.match(await two.redeem(alice, codes[1]!), { status: 'locked', until: Number }, 'the right one, too')
  const [entry] = (await entries(alice)).filter(({ kind }) => kind === 'voucher-lockout')
  t.match(entry, { tries: 3, channel: 'portal', actor: 'tester', posts: [] })
  t.equal((await one.redeem(await fresh(), guess(6))).status, 'unknown', 'others are not concerned')
  await one.redemption.unlock(alice)
  t.equal((await one.redeem(alice, codes[1]!)).status, 'redeemed')
  for (const n of [7, 8, 9]) await one.redeem(alice, guess(n))
  t.equal((await one.redeem(alice, codes[2]!)).status, 'locked')
  clock.putForward(clock.offset + 600_000)
  t.equal((await one.redeem(alice, codes[2]!)).status, 'redeemed')
  for (const n of [10, 11]) await one.redeem(alice, guess(n))
  clock.putForward(clock.offset + 60_000)
  for (const n of [12, 13]) t.equal((await one.redeem(alice, guess(n))).status, 'unknown', 'another window')
})

t.test('outlets and keys are counted, too, and a good code of one customer does not help them', async t => {
  const guarded = openVouchers(store, clock, { lockout: { account: 100, outlet: 4, principal: 6 } })
  const { codes } = await vouchers.active()
  const kiosk = { outlet: 'kiosk-9', principal: 'portal-key' }
  for (const n of [1, 2, 3]) await guarded.redeem(await fresh(), guess(n), kiosk)
  t.equal((await guarded.redeem(await fresh(), codes[0]!, kiosk)).status, 'redeemed')
  t.equal((await guarded.redeem(await fresh(), guess(4), kiosk)).status, 'unknown')
  t.equal((await guarded.redeem(await fresh(), codes[1]!, kiosk)).status, 'locked')
  const elsewhere = { ...kiosk, outlet: 'kiosk-10' }
  for (const n of [5, 6]) t.equal((await guarded.redeem(await fresh(), guess(n), elsewhere)).status, 'unknown')
  t.equal((await guarded.redeem(await fresh(), codes[1]!, elsewhere)).status, 'locked')
  t.equal((await guarded.redeem(await fresh(), codes[1]!)).status, 'redeemed')
  t.same(
    guarded.counted.filter(each => each.startsWith('locked ')),
    ['locked outlet', 'locked principal'],
  )
})

t.test('a thousand guesses at once are no more than as many as may be', async t => {
  const guarded = openVouchers(store, clock)
  const alice = await fresh()
  const said = await Promise.all(Array.from({ length: 1000 }, (_, n) => guarded.redeem(alice, guess(n))))
  t.equal(said.filter(({ status }) => status === 'unknown').length, 5)
  t.equal(said.filter(({ status }) => status === 'locked').length, 995)
})

t.test('whoever made or printed a batch does not activate it alone', async t => {
  const strict = openVouchers(store, clock, { dualControl: true })
  const made = await strict.batches.create(someTerms, 'maker', 'dual')
  if (made.status === 'other_key') throw new Error()
  await printed(strict.batches, made.batch.id, 'printer')
  t.equal((await strict.batches.activate(made.batch.id, 'maker')).status, 'same_person')
  t.equal((await strict.batches.activate(made.batch.id, 'printer')).status, 'same_person')
  t.match(await strict.batches.activate(made.batch.id, 'checker'), { status: 'done', batch: { state: 'active' } })
  t.match((await batches.show(made.batch.id))!.acts, [
    ...[
      { act: 'create', by: 'maker' },
      { act: 'export', by: 'printer' },
      { act: 'exported', by: 'printer' },
    ],
    { act: 'activate', by: 'checker' },
  ])
})

t.test('the same request for a batch gets the same batch, and they are listed newest first', async t => {
  const [one, two] = await Promise.all([1, 2].map(() => batches.create(someTerms, 'maker', 'the same')))
  if (one!.status === 'other_key' || two!.status === 'other_key') throw new Error()
  t.equal(one!.batch.id, two!.batch.id)
  t.same([one!.status, two!.status].sort(), ['created', 'exists'])
  const all = await batches.list(Infinity, 1000)
  t.equal(all[0]!.id, one!.batch.id)
  t.same(await batches.list(Number(all[1]!.id), 2), all.slice(2, 4))
})

t.test(
  'the codes of a batch are printed once, and the same ones again only after an export that broke off',
  async t => {
    const made = await batches.create({ ...someTerms, count: 1000 }, 'maker', 'broken')
    if (made.status === 'other_key') throw new Error()
    const { id } = made.batch
    const begun = await batches.export(id, 'printer')
    if (begun.status !== 'started') throw new Error(begun.status)
    t.equal((await batches.export(id, 'another')).status, 'export_running')
    const seen: string[] = []
    for await (const lines of begun.lines) {
      seen.push(lines)
      if (seen.length === 3) break
    }
    t.equal((await batches.show(id))!.exported, false)
    // One whose daemon died leaves it running; a minute later another may begin.
    const dead = await batches.export(id, 'printer')
    t.equal(dead.status, 'started')
    if (dead.status === 'started') await dead.lines.next()
    t.equal((await batches.export(id, 'another')).status, 'export_running')
    clock.putForward(clock.offset + 61_000)
    const codes = await printed(openVouchers(store, clock).batches, id)
    t.equal(codes.length, 1000)
    t.equal(new Set(codes).size, 1000)
    const before = seen
      .join('')
      .trim()
      .split('\n')
      .slice(1)
      .map(line => line.split(',')[1]!)
    t.same(codes.slice(0, before.length), before)
    t.equal((await batches.export(id, 'printer')).status, 'already_exported')
    t.match(await batches.show(id), { exported: true })
    const stored = (await store.redis.hgetall(`ocs:{voucher-${id}}:batch`))['record']!
    t.notMatch(stored, /seed/)
    if (dead.status === 'started') await t.rejects(dead.lines.next(), /another export/)
    const hashes = await store.redis.keys('ocs:voucher:*')
    let kept = 0
    for (const key of hashes)
      kept += Object.values(await store.redis.hgetall(key)).filter(value => value.startsWith(`${id}-`)).length
    t.equal(kept, 1000, 'none is there twice')
  },
)

t.test('codes that are short get out of each other’s way', async t => {
  // Ten digits and 65,536 places of one hash: with a mask on the HMAC some of 2,000 would collide; here codes are made to.
  const key = voucherKey(secret)
  const taken = await vouchers.active({ count: 50, digits: 10 })
  t.equal(new Set(taken.codes).size, 50)
  for (const code of taken.codes) t.equal(code.length, 11)
  const made = await batches.create({ ...someTerms, count: 50, digits: 10 }, 'maker', 'short')
  if (made.status === 'other_key') throw new Error()
  const record = JSON.parse((await store.redis.hget(`ocs:{voucher-${made.batch.id}}:batch`, 'record'))!) as {
    seed: string
  }
  // The same seed as the other batch had would print the same codes: put the first ones of this seed into its way.
  const seed = key.open(record.seed)
  const first = codeOf(seed, 1, 0, 10)
  const second = codeOf(seed, 1, 1, 10)
  const { placeOf } = await import('../../src/recharge/voucher-codes.js')
  const buckets = Number(await store.redis.hget('ocs:store', 'voucherBuckets'))
  for (const code of [first, second]) {
    const { bucket, field } = placeOf(code, key.pepper, buckets)
    await store.redis.hset(`ocs:voucher:${bucket}`, field, '7777-1')
  }
  const codes = await printed(batches, made.batch.id)
  t.equal(codes[0], codeOf(seed, 1, 2, 10))
  t.equal(codes[1], codeOf(seed, 2, 0, 10))
})

t.test('a daemon without the key of the batches says so, and one with both keys serves both', async t => {
  const alone = await startStore(t)
  const first = openVouchers(alone.store, clock, { secrets: ['a'.repeat(40)] })
  const { codes } = await first.active()
  await anAccount(first.accounts, 'alice')
  const stranger = openVouchers(alone.store, clock, { secrets: ['b'.repeat(40)] })
  t.match(await stranger.batches.create(someTerms, 'maker', 'x'), {
    status: 'other_key',
    ids: [voucherKey('a'.repeat(40)).id],
  })
  t.match(await stranger.redeem('alice', codes[0]!), { status: 'other_key' })
  const both = openVouchers(alone.store, clock, { secrets: ['b'.repeat(40), 'a'.repeat(40)] })
  t.match(await both.redeem('alice', codes[0]!), { status: 'redeemed' })
  const second = await both.active()
  t.match(await both.redeem('alice', second.codes[0]!), { status: 'redeemed' })
  t.match(await first.redeem('alice', second.codes[1]!), { status: 'other_key' }, 'not counted as a wrong code')
})
