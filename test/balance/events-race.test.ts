/**
 * Events, refunds and first requests that reach two daemons at once (semantics.md sections 3 and 10): each is done once, whoever is first, no
 * unit comes back twice, and what only asks writes nothing.
 */
import t from 'tap'
import { Balance, type ChargeOutcome, type ChargeRequest } from '../../src/balance/balance.js'
import { EventStore, type Debit, type RefundOutcome } from '../../src/balance/events.js'
import { journalKey, partitionOf } from '../../src/balance/keys.js'
import { systemClock } from '../../src/clock.js'
import { micros, units } from '../../src/units.js'
import { aLine, aProgram } from '../support/charging.js'
import { aFolder, anAudit } from '../support/ledger.js'
import { chargingConfig, openStore, partitions, startStore } from '../support/store.js'

const store = await startStore(t, { settings: { 'enable-debug-command': 'yes' } })
const other = await openStore(t, store.redis)
const balances = [store.balance, new Balance(other, partitions, chargingConfig, systemClock)]
const stores = [
  new EventStore(store.store, partitions, chargingConfig),
  new EventStore(other, partitions, chargingConfig),
]
const program = aProgram({ num: 10n, buckets: ['data'], money: ['bonus'] })

let accounts = 0

async function open(main: bigint): Promise<string> {
  const account = `race-${++accounts}`
  const bucket = { priority: 10, until: undefined, origin: 'test' }
  const buckets = [
    { ...bucket, name: 'data', unit: 'octets' as const, amount: units(3n) },
    { ...bucket, name: 'bonus', unit: 'money' as const, amount: units(25n) },
  ]
  await store.accounts.create(
    { id: account, currency: 'EUR', creditLimit: micros(0n), status: 'active' },
    { identities: [{ type: 'nai', value: account }], offers: [{ offer: 'test', buckets }] },
    micros(main),
    'admin',
  )
  return account
}

const shown = async (account: string): Promise<bigint[]> => {
  const { money, held, debt, buckets } = (await store.accounts.show(account))!
  return [money, held, debt, ...buckets.map(({ amount }) => amount)]
}

function aRequest(account: string, changes: Partial<ChargeRequest> = {}): ChargeRequest {
  const now = Date.now()
  return {
    ...{ type: 'E', number: 0, content: 'event', sessionId: `${account};s`, account, subscriber: '1', rev: '1' },
    ...{ currency: 'EUR', at: now, now, deadline: now + 5000, deadlineMonotonic: performance.now() + 5000 },
    ...{ cause: '"kind":"charge"', originHost: 'gw', originRealm: 'example', via: 'gw', service: 'sms' },
    ...{ lowBalance: [], searchEnded: false, counters: [] },
    lines: [aLine({ key: '1', used: 0n, wanted: 10n, program })],
    ...changes,
  }
}

const aRefund = (
  account: string,
  debit: Debit,
  asked: bigint | 'all',
  sessionId: string,
  i: number,
): Promise<RefundOutcome> => {
  const now = Date.now()
  return stores[i % 2]!.refund({
    ...{ number: 0, content: `refund${asked}`, sessionId, account, subscriber: '1', currency: 'EUR', at: now, now },
    ...{ deadline: now + 5000, deadlineMonotonic: performance.now() + 5000, cause: '"kind":"refund"' },
    ...{ originHost: 'gw', originRealm: 'example', via: 'gw', service: 'sms' },
    lines: [{ key: '1', asked, terms: '0,0,none', debit, until: now + 60_000 }],
  })
}

const howOf = (outcome: ChargeOutcome | RefundOutcome): string =>
  outcome.status === 'answered' ? outcome.answer.how : outcome.status
const counted = (words: readonly string[]): Record<string, number> =>
  Object.fromEntries([...new Set(words)].sort().map(word => [word, words.filter(each => each === word).length]))
const times = <T>(count: number, make: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => make(i)))

/** An event that was done, as its reference has it. */
async function debited(account: string): Promise<Debit> {
  const outcome = await store.balance.charge(aRequest(account))
  if (outcome.status !== 'answered') throw new Error(outcome.status)
  const words = program.split(' ')
  return {
    ...{
      id: `${account};1`,
      unit: 'octets',
      units: 10n,
      service: 'data',
      rate: words[9]!,
      tiers: words[10]!,
      counters: [],
    },
    paid: outcome.answer.paid[0]!,
  }
}

t.test('an event that comes sixteen times through two daemons is debited once', async t => {
  const account = await open(100n)
  const all = await times(16, i => balances[i % 2]!.charge(aRequest(account)))
  t.same(counted(all.map(howOf)), { again: 15, new: 1 })
  const paid = all.map(each => (each.status === 'answered' ? `${each.answer.paid.join()} ${each.answer.balance}` : ''))
  t.equal(new Set(paid).size, 1, 'each is told the same')
  t.same(await shown(account), [55n, 0n, 0n, 0n, 0n])
})

t.test('of events that meet, as many are done as there is money for, each whole', async t => {
  const account = await open(100n)
  const two = [aLine({ key: '1', used: 0n, wanted: 2n, program }), aLine({ key: '2', used: 0n, wanted: 2n, program })]
  const all = await times(9, i =>
    balances[i % 2]!.charge(aRequest(account, { sessionId: `${account};${i}`, lines: two })),
  )
  const outcomes = all.map(each => (each.status === 'answered' ? each.answer.outcome : each.status))
  // 3 units of the bucket and 125 micros: 15 units, so three events of four.
  t.same(counted(outcomes), { ok: 3, refused: 6 })
  t.same(await shown(account), [35n, 0n, 0n, 0n, 0n])
})

t.test('a refund that comes sixteen times through two daemons is done once', async t => {
  const account = await open(100n)
  const debit = await debited(account)
  const all = await times(16, i => aRefund(account, debit, 4n, `${account};back`, i))
  t.same(counted(all.map(howOf)), { again: 15, new: 1 })
  t.same(await shown(account), [95n, 0n, 0n, 0n, 0n])
})

t.test('refunds of one debit that meet give back each unit once', async t => {
  const account = await open(100n)
  const debit = await debited(account)
  const all = await times(12, i => aRefund(account, debit, 3n, `${account};back${i}`, i))
  t.same(counted(all.map(howOf)), { new: 3, refused: 9 })
  t.same(counted((await times(4, i => aRefund(account, debit, 'all', `${account};rest${i}`, i))).map(howOf)), {
    new: 1,
    refused: 3,
  })
  t.same(await shown(account), [100n, 0n, 0n, 3n, 25n], 'as before the debit')
})

t.test('a debit and a refund under one number: the first one counts', async t => {
  const account = await open(1000n)
  const debit = await debited(account)
  const before = await shown(account)
  const [event, back] = await Promise.all([
    balances[0]!.charge(aRequest(account, { sessionId: `${account};both` })),
    aRefund(account, debit, 1n, `${account};both`, 1),
  ])
  t.same([howOf(event), howOf(back)].sort(), ['mismatch', 'new'])
  const moved = (await shown(account))[0]! - before[0]!
  t.equal(moved, howOf(event) === 'new' ? -100n : 10n)
})

t.test('usage under the Session-Id of an event is in the ledger as unrated, and charged to nobody', async t => {
  const account = await open(1000n)
  await debited(account)
  const before = await shown(account)
  const lines = [aLine({ key: '1', used: 7n, wanted: 10n, program })]
  const late = aRequest(account, { type: 'U', number: 1, lines })
  t.equal((await store.balance.charge(late)).status, 'unknown_session')
  t.equal(
    (await store.balance.charge({ ...late, searchEnded: true })).status,
    'unknown_session',
    'among ended ones, too',
  )
  t.same(await shown(account), before)
  const entries = await store.store.redis.xrevrange(journalKey(partitionOf(account, partitions)), '+', '-', 'COUNT', 1)
  t.match(entries[0]![1][1], /"outcome":"unknown","posts":\[\],"lines":\[\{"line":"1","unrated":7\}\]/)
})

t.test('of two sessions that open at once where one is allowed, one opens, and a repeat is told so again', async t => {
  const account = await open(1000n)
  const first = (i: number): Promise<ChargeOutcome> =>
    balances[i % 2]!.charge(aRequest(account, { type: 'I', mostSessions: 1, sessionId: `${account};${i % 2}` }))
  const all = await times(2, first)
  t.same(counted(all.map(howOf)), { new: 1, too_many_sessions: 1 })
  const opened = howOf(all[0]!) === 'new' ? 0 : 1
  t.equal(howOf(await first(opened)), 'again')
  t.equal(howOf(await first(opened + 1)), 'too_many_sessions')
  await balances[0]!.charge(aRequest(account, { type: 'T', number: 1, sessionId: `${account};${opened}`, lines: [] }))
  t.equal(howOf(await first(opened + 1)), 'new', 'when the other has ended')
  await balances[0]!.charge(
    aRequest(account, { type: 'T', number: 1, sessionId: `${account};${1 - opened}`, lines: [] }),
  )
})

t.test('what only asks writes nothing, whatever the answer is', async t => {
  const digest = (): Promise<unknown> => store.store.redis.call('DEBUG', 'DIGEST')
  for (const [main, status] of [
    [1000n, 'ok'],
    [0n, 'refused'],
  ] as const) {
    const account = await open(main)
    const untouched = await digest()
    for (const given of [undefined, await store.balance.stateOf(account, performance.now() + 5000)]) {
      const { outcome, entry } = await store.balance.quote(aRequest(account), given)
      t.match(outcome, { status: 'answered', answer: { outcome: status } })
      t.type(entry, 'string')
    }
    const late = await store.balance.quote(aRequest(account, { deadline: Date.now() - 1 }))
    t.equal(late.outcome.status, 'expired')
    t.equal(await digest(), untouched, 'not an octet')
  }
})

t.test('the audit agrees', async t => {
  t.same((await anAudit(store.store, aFolder(t))).problems, [])
})
