/**
 * Refunds (semantics.md section 10): r of the q units debited give F(q) − F(q − r) back, to the balances that paid, the last first, each unit
 * once. A model that knows only prices and who paid how much says what is right; the audit says that every entry sums to nothing.
 */
import fc from 'fast-check'
import t from 'tap'
import type { ChargeAnswer, ChargeRequest } from '../../src/balance/balance.js'
import { EventStore, type Debit, type RefundOutcome } from '../../src/balance/events.js'
import { accountKey, censusKey, dueKey, journalKey, partitionOf } from '../../src/balance/keys.js'
import type { NewBucket } from '../../src/balance/types.js'
import { micros, units } from '../../src/units.js'
import { aLine, aProgram, type ProgramParts } from '../support/charging.js'
import { aFolder, anAudit } from '../support/ledger.js'
import { ceilDiv, gcd, max, min, move, type ModelRate } from '../support/model-price.js'
import { chargingConfig, partitions, startStore } from '../support/store.js'
import { seed } from '../support/seed.js'

const store = await startStore(t)
const events = new EventStore(store.store, partitions, chargingConfig)
const day = 86_400_000

let accounts = 0
let sessions = 0
const sessionId = (): string => `refund;${++sessions}`

interface Holdings {
  readonly main: bigint
  readonly bonus?: bigint
  /** Octets. */
  readonly data?: bigint
  /** Of all buckets. */
  readonly until?: number
}

/** A new account with these. */
async function open({ main, bonus, data, until }: Holdings): Promise<string> {
  const account = `r-${++accounts}`
  const bucket = (name: string, unit: NewBucket['unit'], amount: bigint): NewBucket => ({
    ...{ name, unit, amount: units(amount), priority: 10, until, origin: 'test' },
  })
  const buckets = [
    ...(data === undefined ? [] : [bucket('data', 'octets', data)]),
    ...(bonus === undefined ? [] : [bucket('bonus', 'money', bonus)]),
  ]
  await store.accounts.create(
    { id: account, currency: 'EUR', creditLimit: micros(0n), status: 'active' },
    { identities: [{ type: 'nai', value: account }], offers: [{ offer: 'test', buckets }] },
    micros(main),
    'admin',
  )
  return account
}

/** What the account has, by name; counters, too. */
async function shown(account: string): Promise<Record<string, bigint>> {
  const { money, debt, held, buckets, counters } = (await store.accounts.show(account))!
  const found: Record<string, bigint> = { main: money - debt, held }
  for (const { name, amount } of buckets) found[name] = (found[name] ?? 0n) + amount
  for (const { name, value } of counters) found[name] = value
  return found
}

async function debit(
  account: string,
  program: string,
  wanted: bigint,
  changes: Partial<ChargeRequest> = {},
): Promise<ChargeAnswer> {
  const now = Date.now()
  const outcome = await store.balance.charge({
    ...{
      type: 'E',
      number: 0,
      content: 'debit',
      sessionId: sessionId(),
      account,
      subscriber: '1',
      rev: '1',
      currency: 'EUR',
    },
    ...{ at: now, now, deadline: now + 5000, deadlineMonotonic: performance.now() + 5000, cause: '"kind":"charge"' },
    ...{
      originHost: 'gw',
      originRealm: 'example',
      via: 'gw',
      service: 'data',
      lowBalance: [],
      searchEnded: false,
    },
    lines: [aLine({ key: '-', used: 0n, wanted, program })],
    counters: [{ name: 'month', start: 1000, end: Infinity, limit: 'default' }],
    ...changes,
  })
  if (outcome.status !== 'answered') throw new Error(outcome.status)
  return outcome.answer
}

/** As the reference of a debit says it. */
function debitOf(program: string, answer?: ChargeAnswer, id = `d${++sessions}`): Debit & { id: string } {
  const words = program.split(' ')
  const line = answer?.lines[0]
  const counters = words[13] === '-' ? [] : words[13]!.split(';').map(each => each.split(','))
  return {
    ...{ id, unit: 'octets', units: line && 'units' in line ? line.units : 0n, service: words[3]! },
    ...{ rate: words[9]!, tiers: words[10]!, paid: answer?.paid[0] ?? '' },
    counters: counters.map(([name, what]) => ({ name: `${name}.0`, what: what!, period: 1000 })),
  }
}

const refund = (
  account: string,
  debits: readonly (readonly [Debit, bigint | 'all'])[],
  parts: { session?: string; number?: number; content?: string; at?: number; until?: number } = {},
): Promise<RefundOutcome> => {
  const { session = sessionId(), number = 0, content = 'refund', at = Date.now(), until = at + day } = parts
  return events.refund({
    ...{ number, content, sessionId: session, account, subscriber: '1', currency: 'EUR', at, now: at },
    ...{ deadline: Date.now() + 5000, deadlineMonotonic: performance.now() + 5000, cause: '"kind":"refund"' },
    ...{ originHost: 'gw', originRealm: 'example', via: 'gw', service: 'data' },
    lines: debits.map(([debit, asked], i) => ({ key: `-/${i}`, asked, terms: '0,0,none', debit, until })),
  })
}

/** `spent`, or the units of each line. */
const told = (outcome: RefundOutcome): unknown => {
  if (outcome.status === 'refused') return outcome.why
  if (outcome.status !== 'answered') return outcome.status
  return outcome.answer.lines.map(line => ('units' in line ? line.units : 0n))
}

t.test('the worked example: bonus and money paid, money comes back first, and each unit once', async t => {
  const account = await open({ main: 1_000_000n, bonus: 100_000n })
  const program = aProgram({ num: 50_000n, money: ['bonus'] })
  const answer = await debit(account, program, 5n)
  t.match(await shown(account), { main: 850_000n, bonus: 0n })
  const first = debitOf(program, answer)
  t.same(told(await refund(account, [[first, 2n]])), [2n])
  t.match(await shown(account), { main: 950_000n, bonus: 0n })
  t.equal(told(await refund(account, [[first, 4n]])), 'spent')
  t.match(await shown(account), { main: 950_000n, bonus: 0n }, 'nothing of it')
  t.same(told(await refund(account, [[first, 3n]])), [3n])
  t.match(await shown(account), { main: 1_000_000n, bonus: 100_000n })
  t.equal(told(await refund(account, [[first, 'all']])), 'spent', 'nothing is left')
})

t.test('all lines of a refund or none, and lines of one debit share its units', async t => {
  const account = await open({ main: 1_000n })
  const program = aProgram({ num: 10n })
  const [one, other] = [
    debitOf(program, await debit(account, program, 5n)),
    debitOf(program, await debit(account, program, 5n)),
  ]
  t.equal(told(await refund(account, [[one, 1n], [other, 6n]])), 'spent') // prettier-ignore
  t.equal(told(await refund(account, [[one, 3n], [one, 3n]])), 'spent') // prettier-ignore
  t.match(await shown(account), { main: 900n }, 'nothing')
  t.same(told(await refund(account, [[one, 3n], [one, 2n], [other, 'all']])), [3n, 2n, 5n]) // prettier-ignore
  t.match(await shown(account), { main: 1_000n })
})

t.test('a refund is done once; its number with another content changes nothing; after its time none is', async t => {
  const account = await open({ main: 1_000n })
  const program = aProgram({ num: 10n })
  const first = debitOf(program, await debit(account, program, 5n))
  const session = sessionId()
  t.match(await refund(account, [[first, 2n]], { session }), { answer: { how: 'new', cost: -20n } })
  t.match(await refund(account, [[first, 2n]], { session }), { answer: { how: 'again', lines: [{ units: 2n }] } })
  t.match(await refund(account, [[first, 3n]], { session, content: 'other' }), {
    answer: { how: 'mismatch', lines: [{ units: 2n }] },
  })
  t.match(await refund(account, [[first, 1n]], { session, number: 1 }), { answer: { how: 'new', cost: -10n } })
  t.match(await shown(account), { main: 980n })
  const at = Date.now()
  t.equal(told(await refund(account, [[first, 1n]], { at, until: at - 1 })), 'late')
  t.match(
    await refund(account, [[first, 2n]], { session, at, until: at - 1 }),
    { answer: { how: 'again' } },
    'a repeat',
  )
})

t.test('debt is repaid from what comes back', async t => {
  const account = await open({ main: 50n })
  const program = aProgram({ num: 10n })
  const first = debitOf(program, await debit(account, program, 5n))
  // A session that used more than there was.
  const now = Date.now()
  const parts = { content: 'x', sessionId: 'owes', counters: [], at: now, now }
  const used = { lines: [aLine({ key: '10', used: 4n, wanted: undefined, program })] }
  await debit(account, program, 0n, { ...parts, ...used, type: 'I' })
  t.match(await store.accounts.show(account), { money: 0n, debt: 40n })
  await refund(account, [[first, 'all']])
  t.match(await store.accounts.show(account), { money: 10n, debt: 0n })
})

t.test('a bucket that has ended gets its units, and they expire; so does one that is gone', async t => {
  const ended = Date.now() - 60_000
  for (const gone of [false, true]) {
    const account = await open({ main: 0n, data: 10n, bonus: 30n, until: ended })
    const program = aProgram({ buckets: ['data'], num: 10n, money: ['bonus'] })
    const first = debitOf(program, await debit(account, program, 13n, { at: ended - 1000, now: ended - 1000 }))
    t.match(await shown(account), { main: 0n, data: 0n, bonus: 0n })
    if (gone) {
      const p = partitionOf(account, partitions)
      for (const { id } of (await store.accounts.show(account))!.buckets) {
        const keys = [accountKey(p, account), dueKey(p), journalKey(p), censusKey(p)]
        const args = [String(Date.now()), '0', account, id, `bucket ${account} ${id}`, '']
        t.equal(await store.store.redis.expireBucket(...keys, ...args), 'expired')
      }
      t.same((await store.accounts.show(account))!.buckets, [])
    }
    t.same(told(await refund(account, [[first, 'all']])), [13n])
    const now = (await store.accounts.show(account))!
    t.same(now.buckets.map(({ amount }) => amount), gone ? [] : [0n, 0n], 'nothing that could be used') // prettier-ignore
    t.equal(now.money, 0n)
  }
})

t.test('what was free beyond a limit comes back first, and for nothing', async t => {
  for (const what of ['used', 'money'] as const) {
    const limit = what === 'used' ? 3n : 30n
    const program = aProgram({ num: 10n, counters: [{ name: 'month', what, then: 'free', limit }] })
    const account = await open({ main: 100n })
    const first = debitOf(program, await debit(account, program, 5n))
    t.match(await shown(account), { main: 70n }, 'three of five are paid')
    await refund(account, [[first, 2n]])
    t.match(await shown(account), { main: 70n })
    await refund(account, [[first, 1n]])
    t.match(await shown(account), { main: 80n })
    await refund(account, [[first, 'all']])
    t.match(await shown(account), { main: 100n, month: 0n })
  }
})

t.test('what no debit names is given back at the price of now, to main', async t => {
  const account = await open({ main: 0n })
  const tiers = [{ upTo: 10n, num: 20n }, { num: 5n }]
  const program = aProgram({ tiers, counter: 'month', counters: [{ name: 'month', what: 'tiers', then: 'tell' }] })
  const now: Debit = {
    ...debitOf(program),
    id: undefined,
    units: 4n,
  }
  t.match(await refund(account, [[now, 4n]]), { answer: { cost: -80n } })
  t.match(await shown(account), { main: 80n })
  const free = aProgram({ kind: 'free' })
  const nothing = { ...debitOf(free), id: undefined, units: 4n }
  t.match(await refund(account, [[nothing, 4n], [now, 1n]]), { answer: { cost: -20n } }) // prettier-ignore
})

/** A debit from bucket, rate, bonus and main, with a counter that stood somewhere, and refunds of it. */
interface Case {
  readonly rate: ModelRate
  readonly each: bigint
  readonly takes: bigint
  readonly data: bigint
  readonly bonus: bigint
  readonly main: bigint
  readonly before: bigint
  readonly units: bigint
  readonly refunds: readonly bigint[]
}

const big = (least: number, most: number): fc.Arbitrary<bigint> => fc.bigInt({ min: BigInt(least), max: BigInt(most) })

const cases: fc.Arbitrary<Case> = fc
  .record({
    step: fc.constantFrom(1n, 3n, 10n),
    firsts: big(0, 3),
    setup: fc.constantFrom(0n, 0n, 500n),
    minimum: fc.constantFrom(0n, 0n, 700n),
    cap: fc.constantFrom(undefined, undefined, 900n),
    prices: fc.tuple(big(0, 40), big(0, 40)),
    bound: big(1, 12),
    mode: fc.constantFrom('graduated' as const, 'graduated' as const, 'volume' as const),
    counted: fc.boolean(),
    two: fc.boolean(),
    third: fc.boolean(),
    each: fc.constantFrom(1n, 1n, 3n),
    takes: fc.constantFrom(1n, 1n, 2n),
    data: big(0, 30),
    bonus: big(0, 800),
    main: fc.constantFrom(0n, 300n, 100_000n),
    before: big(0, 60),
    units: big(1, 90),
    refunds: fc.array(big(1, 40), { minLength: 1, maxLength: 6 }),
  })
  .map(({ step, firsts, setup, minimum, cap, prices, bound, mode, counted, two, third, ...rest }) => {
    const tiers = two
      ? [
          { upTo: bound * step, amount: prices[0], per: 1n },
          { upTo: undefined, amount: prices[1], per: 1n },
        ]
      : [{ upTo: undefined, amount: prices[0], per: third ? 7n : 1n }]
    const rate: ModelRate = {
      ...{ id: 'r', tiers, mode: two ? mode : 'graduated', step, first: counted ? 0n : firsts * step, setup, minimum },
      ...{ cap: cap === undefined ? undefined : { amount: cap, then: 'free' as const }, round: 'up', multiple: 1n },
      counter: counted ? 'month' : undefined,
    }
    return { rate, ...rest }
  })

function programOf({ rate, each, takes }: Case, bucket: boolean): string {
  const { step, first, setup, minimum, cap, mode, counter } = rate
  const tick = gcd(step, first)
  const parts: ProgramParts = {
    ...{ step, first, setup, minimum, mode },
    ...(cap && { cap: cap.amount }),
    ...(counter !== undefined && { counter }),
    tiers: rate.tiers.map(({ upTo, amount, per }) => ({
      ...(upTo !== undefined && { upTo }),
      ...{ num: amount * tick, den: per },
    })),
    buckets: bucket ? [each === 1n && takes === 1n ? 'data' : { name: 'data', each, takes }] : [],
    money: ['bonus'],
    counters: [
      { name: 'used', what: 'used', then: 'tell' },
      { name: 'spent', what: 'money', then: 'tell' },
      ...(counter === undefined ? [] : [{ name: counter, what: 'tiers' as const, then: 'tell' as const }]),
    ],
  }
  return aProgram(parts)
}

const period = (name: string): ChargeRequest['counters'][number] => ({
  name,
  start: 1000,
  end: Infinity,
  limit: 'default',
})

t.test('whatever is debited and given back, in whatever parts', async t => {
  let refunded = 0
  await fc.assert(
    fc.asyncProperty(cases, async each => {
      const { rate, data, bonus, main, before, units: wanted } = each
      const account = await open({ main: main + 1_000_000n, bonus, data })
      const counters = { counters: ['used', 'spent', 'month'].map(period) }
      // The counter stands somewhere, and main is brought to where it is to be.
      const moving = programOf(each, false)
      if (before > 0n) await debit(account, moving, before, counters)
      const program = programOf(each, true)
      const stood = await shown(account)
      const answer = await debit(account, program, wanted, counters)
      const after = await shown(account)
      if (answer.outcome === 'refused') {
        t.same(after, stood, 'all or nothing')
        return
      }
      const line = debitOf(program, answer)
      const ofBucket = BigInt(/(?:^|,)\d+-\d+:(\d+):/.exec(line.paid)?.[1] ?? 0)
      const taken = stood['data']! - after['data']!
      const price = (n: bigint): ReturnType<typeof move> =>
        move(rate, true, { n: 0n, raw: 0n }, n, rate.counter === undefined ? 0n : (stood['month'] ?? 0n))
      const cost = price(wanted - ofBucket).cost
      t.equal(stood['main']! + stood['bonus']! - after['main']! - after['bonus']!, cost, 'the debit cost its price')
      const bonusPaid = stood['bonus']! - after['bonus']!
      const mainPaid = cost - bonusPaid
      // Volume that became cheaper on the way: the bonus paid, and main was credited. Then only their sum is compared on the way back.
      const mixed = (had: Record<string, bigint>): Record<string, bigint> =>
        mainPaid < 0n ? { ...had, main: had['main']! + had['bonus']!, bonus: 0n } : had

      /** What the account has when `kept` units of the debit are left. */
      const expected = (kept: bigint): Record<string, bigint> => {
        const inBucket = min(kept, ofBucket)
        const bucketKeeps =
          each.each === 1n && each.takes === 1n ? inBucket : min(taken, ceilDiv(inBucket, each.each) * each.takes)
        const { cost: keeps, billed } = price(kept - inBucket)
        const back = cost - keeps
        // No bucket gets more than it gave: where fewer units were dearer, the rest is main's.
        const toBonus = min(max(back - mainPaid, 0n), bonusPaid)
        const toMain = back - toBonus
        return {
          ...{ held: 0n, data: after['data']! + taken - bucketKeeps },
          ...{ main: after['main']! + toMain, bonus: after['bonus']! + toBonus },
          used: after['used']! - (wanted - kept),
          ...((stood['spent'] !== undefined || after['spent'] !== undefined) && { spent: after['spent']! - back }),
          ...(rate.counter !== undefined &&
            after['month'] !== undefined && {
              month: after['month'] - price(wanted - ofBucket).billed + billed,
            }),
        }
      }
      let left = wanted
      for (const asked of each.refunds) {
        const outcome = told(await refund(account, [[line, asked]]))
        if (asked > left) t.equal(outcome, 'spent')
        else {
          t.same(outcome, [asked])
          left -= asked
          refunded++
        }
        t.same(mixed(await shown(account)), mixed({ ...after, ...expected(left) }), `${left} of ${wanted} are left`)
      }
      if (left > 0n) await refund(account, [[line, 'all']])
      const back = { ...after, ...expected(0n), main: stood['main']!, bonus: stood['bonus']!, data: stood['data']! }
      t.same(await shown(account), back, 'as before the debit')
      if (!t.passing()) throw new Error('differs')
    }),
    { numRuns: 150, seed },
  )
  t.ok(refunded > 100, `${refunded} refunds`)
})

t.test('the ledger of all this is whole', async t => {
  const { ok, problems, entries } = await anAudit(store.store, aFolder(t))
  t.same(problems, [])
  t.ok(ok && entries > 300)
})
