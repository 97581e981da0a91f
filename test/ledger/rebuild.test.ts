/**
 * A lost store made again from the ledger and the states beside it: every account is what it was, holds aside, and the audit agrees.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Journal } from '../../src/balance/journal.js'
import { accountKey, partitionOf } from '../../src/balance/keys.js'
import { Restore, type RestoredAccount } from '../../src/balance/restore.js'
import { Snapshot } from '../../src/balance/snapshot.js'
import { systemClock } from '../../src/clock.js'
import { readIdentities, rebuild, type RebuildResult } from '../../src/ledger/rebuild.js'
import { numbersOnly, StateWriter } from '../../src/ledger/states.js'
import { micros, units } from '../../src/units.js'
import { aProgram, Session } from '../support/charging.js'
import { aFolder, allPartitions, anAudit, aWriter, silent } from '../support/ledger.js'
import { seed } from '../support/seed.js'
import { partitions, startStore, type TestStore } from '../support/store.js'

const program = aProgram({
  ...{ step: 100_000n, num: 1000n, buckets: ['data'] },
  counters: [{ name: 'month', what: 'used', then: 'tell' }],
})
const counters = [{ name: 'month.0', start: 1_700_000_000_000, end: 1_900_000_000_000, limit: 'default' as const }]
const names = ['a', 'b', 'c']

async function aStateWriter(t: Test, { store }: TestStore, directory: string): Promise<StateWriter> {
  const snapshot = new Snapshot(store, partitions, systemClock)
  const writer = new StateWriter({
    ...{ journal: new Journal(store, partitions, systemClock), leases: allPartitions, directory, log: silent },
    ...{ rotateOctets: 20_000, keepMs: 600_000, clock: systemClock },
    accountLines: ids => snapshot.accountLines(ids),
    metrics: { written: () => undefined, trimmed: () => undefined, writeError: () => undefined },
  })
  await writer.open()
  t.teardown(() => writer.stop(0))
  return writer
}

type Lines = Record<string, string>
const linesOf = ({ store }: TestStore, name: string): Promise<Lines> =>
  store.redis.hgetall(accountKey(partitionOf(name, partitions), name))

/** Nothing held, no session open; an entry that said so has no number of its own here. */
function withoutHolds(lines: Lines, moreEntries: number): Lines {
  return Object.fromEntries(
    Object.entries(lines).map(([field, line]) => [
      field,
      field === 'funds'
        ? line
            .replace(/ held \d+/, ' held 0')
            .replace(/ open \d+/, ' open 0')
            .replace(/ seq (\d+)/, (_, seq: string) => ` seq ${Number(seq) + moreEntries}`)
        : field.startsWith('bucket:') || field.startsWith('counter:')
          ? line.replace(/ held \d+/, ' held 0')
          : line,
    ]),
  )
}

interface Lost {
  readonly store: TestStore
  readonly ledger: string
  readonly states: string
  readonly identities: string
  readonly before: ReadonlyMap<string, Lines>
}

const bucket = (
  name: string,
  amount: bigint,
): Parameters<TestStore['accounts']['subscribe']>[0]['buckets'][number] => ({
  ...{ name, unit: 'octets' as const, amount: units(amount), priority: 10, origin: 'more' },
  ...(amount % 2n ? { until: Date.now() + 86_400_000, paid: true } : { until: undefined, life: 3_600_000 }),
  warn: [units(1000)],
})

const operation = fc.record({
  account: fc.nat(names.length - 1),
  what: fc.constantFrom('use', 'use', 'use', 'end', 'recharge', 'buy', 'suspend', 'attribute', 'flush'),
  amount: fc.integer({ min: 1, max: 2_000_000 }),
})
type Operation = typeof operation extends fc.Arbitrary<infer O> ? O : never

async function play(t: Test, plan: readonly Operation[]): Promise<Lost> {
  const store = await startStore(t)
  const [ledger, states] = [aFolder(t), aFolder(t)]
  const writer = await aWriter(store.store, ledger, { rotateOctets: 5000 })
  const stateWriter = await aStateWriter(t, store, states)
  const sessions = new Map<string, { session: Session; number: number }>()
  for (const name of names) {
    const session = await Session.open(t, store, { account: name, money: 3_000_000n, credit: 5000n, bucket: 700_000n })
    sessions.set(name, { session, number: 0 })
  }
  let n = 0
  for (const { account, what, amount } of plan) {
    const name = names[account]!
    const of = sessions.get(name)!
    const { rev } = (await store.accounts.show(name))!
    if (what === 'use' || what === 'end') {
      const type = of.number === 0 ? 'I' : what === 'end' ? 'T' : 'U'
      const line = {
        ...{ key: '10', used: of.number === 0 ? 0n : BigInt(amount), program },
        ...(type !== 'T' && { wanted: 1_000_000n }),
      }
      await of.session.charge(type, of.number++, [line], { counters, rev })
      if (type === 'T') sessions.set(name, { session: of.session.another(), number: 0 })
    } else if (what === 'recharge') {
      const request = { account: name, amount: micros(amount), currency: 'EUR', channel: 'app', actor: 'test' }
      await store.accounts.recharge({ ...request, reference: `r${++n}` })
    } else if (what === 'buy') {
      const request = { account: name, subscriber: '1', offer: 'more', actor: 'test', rev, reference: `s${++n}` }
      await store.accounts.subscribe({ ...request, buckets: [bucket('data', BigInt(amount))] })
    } else if (what === 'suspend') {
      await store.accounts.setStatus(name, amount % 2 ? 'suspended' : 'active', 'test')
    } else if (what === 'attribute') {
      await store.accounts.setAttributes({ account: name, changes: { segment: `s${amount}` }, actor: 'test' })
    } else {
      await writer.flush()
      await stateWriter.flush()
    }
  }
  await writer.stop()
  await stateWriter.stop()
  const identities = join(aFolder(t), 'identities.jsonl')
  const rows = names.map(name =>
    JSON.stringify({ account: name, ...(name !== 'a' && { subscriber: 1 }), nai: `${name}@test`, offers: ['x'] }),
  )
  writeFileSync(identities, `${rows.join('\n')}\n`)
  const before = new Map<string, Lines>()
  for (const name of names) before.set(name, await linesOf(store, name))
  return { store, ledger, states, identities, before }
}

async function wipe({ store }: TestStore): Promise<void> {
  await store.redis.flushall()
}

async function rebuilt({ store, ledger, states, identities }: Lost, passOctets?: number): Promise<RebuildResult> {
  const restore = new Restore(store.store, partitions, systemClock)
  return rebuild({
    ...{ ledgers: [ledger], states: [states], identities: await readIdentities(identities) },
    accounts: (accounts: readonly RestoredAccount[]) => restore.accounts(accounts),
    references: references => restore.references(references),
    ...(passOctets !== undefined && { passOctets }),
  })
}

t.test('accounts are what they were, holds aside, and the audit agrees', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { minLength: 5, maxLength: 60 }),
      fc.constantFrom(undefined, 700),
      async (plan, pass) => {
        await t.test('random operations', async t => {
          const lost = await play(t, plan)
          const { store, before } = lost
          const census = await store.accounts.census()
          await wipe(store)
          t.ok(await new Restore(store.store, partitions, systemClock).isEmpty(), 'wiped')
          const result = await rebuilt(lost, pass)
          t.same(result.problems, [], 'nothing is missing')
          t.equal(result.accounts, names.length)
          for (const name of names) {
            const was = before.get(name)!
            const held = / held [1-9]/.test(was['funds']!)
            t.same(await linesOf(store, name), withoutHolds(was, held ? 1 : 0), name)
            t.equal(
              (await store.accounts.find({ type: 'nai', value: `${name}@test` }))?.account.id,
              name,
              'found by identity',
            )
          }
          t.same(await store.accounts.census(), census, 'the census')
          const writer = await aWriter(store.store, lost.ledger)
          await writer.flush()
          const audit = await anAudit(store.store, lost.ledger)
          t.same(audit.problems, [], 'audit')
          t.notOk(await new Restore(store.store, partitions, systemClock).isEmpty(), 'not empty any more')
          await writer.stop(0)
        })
      },
    ),
    { numRuns: 6, seed },
  )
})

const all: Operation[] = [
  { account: 0, what: 'recharge', amount: 500 },
  { account: 0, what: 'buy', amount: 9001 },
  { account: 1, what: 'use', amount: 1 },
  { account: 1, what: 'use', amount: 300_000 },
]

t.test('references that were used stay used, and life goes on', async t => {
  const lost = await play(t, all)
  const { store } = lost
  await wipe(store)
  const result = await rebuilt(lost)
  t.match(result, { references: 2, released: 1, subscribersWithoutIdentity: 0 })
  const request = { account: 'a', amount: micros(500), currency: 'EUR', channel: 'app', reference: 'r1', actor: 'test' }
  t.match(await store.accounts.recharge(request), { status: 'repeated' })
  t.match(await store.accounts.recharge({ ...request, amount: micros(501) }), { status: 'reference_taken' })
  t.match(await store.accounts.recharge({ ...request, reference: 'r9' }), { status: 'credited', money: 3_001_000n })
  const session = (await Session.open(t, store, { account: 'c', money: 0n, credit: 0n })).another()
  const { rev } = (await store.accounts.show('c'))!
  t.match(await session.charge('I', 0, [{ key: '10', used: 0n, wanted: 500_000n, program }], { counters, rev }), {
    outcome: 'ok',
  })
  const due = await store.store.redis.zrange(`ocs:{${partitionOf('a', partitions)}}:due`, '0', '-1')
  t.ok(
    due.some(member => member.startsWith('bucket a ')),
    'the end of its bucket is due',
  )
})

t.test('what is not at hand is told', async t => {
  const lost = await play(t, all)
  await wipe(lost.store)
  writeFileSync(lost.identities, '{"account":"a","nai":"a@test"}\n')
  const files = readdirSync(lost.states)
  for (const file of files) {
    const path = join(lost.states, file)
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
    const kept = lines.filter(line => !line.includes('"account":"b"'))
    writeFileSync(path, kept.map(line => `${line}\n`).join(''))
  }
  const result = await rebuilt(lost)
  t.match(result.problems, [
    'account b: no state of it is at hand; its money is there, it is suspended',
    /^account b: bucket:1-1 had \d+ octets left, its terms are not known$/,
  ])
  t.equal(result.subscribersWithoutIdentity, 1, 'c')
  t.match(await lost.store.accounts.show('b'), { status: 'suspended', money: 3_000_000n })
})

t.test('identities are not kept, and a wrong file of them is told by its line', async t => {
  t.equal(
    numbersOnly('1 msisdn:49170 imsi:26201;2 nai:x was:msisdn:4917;3 removed;4 moved:bob:1'),
    '1;2;3 removed;4 moved:bob:1',
  )
  const lost = await play(t, all)
  for (const file of readdirSync(lost.states))
    t.notMatch(readFileSync(join(lost.states, file), 'utf8'), /@test/, 'no identity in a state')
  writeFileSync(lost.identities, '{"account":"a","nai":"a@test"}\nmsisdn,account\n')
  await t.rejects(readIdentities(lost.identities), { message: /identities\.jsonl:2: this is no JSON object/ })
})
