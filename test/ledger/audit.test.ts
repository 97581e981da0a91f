/**
 * The audit: says nothing about a ledger that is right, while charges go on too, and finds whatever somebody plants.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DueLists } from '../../src/balance/due.js'
import { accountKey, journalKey, partitionOf } from '../../src/balance/keys.js'
import type { NewBucket } from '../../src/balance/types.js'
import { systemClock } from '../../src/clock.js'
import { micros, units } from '../../src/units.js'
import { aProgram, Session } from '../support/charging.js'
import { aFolder, anAudit, aWriter, Load, someCharges, type Line } from '../support/ledger.js'
import { partitions, startStore, type TestStore } from '../support/store.js'

const account = 'p-2'
const key = accountKey(partitionOf(account, partitions), account)

/** Changes the entry `seq` of the account in its file; undefined takes it out. */
function change(folder: string, seq: number, how: (line: Line) => Line | undefined): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
    const changed = lines.flatMap(text => {
      const line = JSON.parse(text) as Line
      if (line.account !== account || line.seq !== seq) return [text]
      const now = how(line)
      return now ? [JSON.stringify(now)] : []
    })
    writeFileSync(path, changed.map(line => `${line}\n`).join(''))
  }
}

const replaceIn = async ({ store }: TestStore, field: string, from: RegExp, to: string): Promise<void> => {
  const text = (await store.redis.hget(key, field))!
  await store.redis.hset(key, field, text.replace(from, to))
}

interface Fault {
  readonly name: string
  readonly plant: (store: TestStore, folder: string) => Promise<void> | void
  readonly what: RegExp
  readonly where: RegExp
}

const faults: Fault[] = [
  {
    name: 'a changed amount',
    plant: (_, folder) =>
      change(folder, 5, line => {
        line.posts[0]![2] -= 7
        return line
      }),
    what: /^entry 5: its octets sum to -7, not to 0$/,
    where: /^ledger-.*\.jsonl:\d+$/,
  },
  {
    name: 'an amount changed together with what follows',
    plant: (_, folder) =>
      change(folder, 5, line => {
        line.posts[0]![2] -= 7
        line.posts[0]![4] -= 7
        line.posts[1]![2] += 7
        return line
      }),
    what: /^entry 6: bucket:1-1 was \d+ after the entries before it, not \d+/,
    where: /^ledger-.*\.jsonl:\d+$/,
  },
  {
    name: 'a removed entry',
    plant: (_, folder) => change(folder, 4, () => undefined),
    what: /^entry 4 is missing$/,
    where: /^ledger-.*\.jsonl:\d+$/,
  },
  {
    name: 'a removed last entry',
    plant: (_, folder) => change(folder, 11, () => undefined),
    what: /^the store is at entry 11, the ledger ends at 10: the rest is missing$/,
    where: /^files and streams$/,
  },
  {
    name: 'another balance in the store',
    plant: store => replaceIn(store, 'funds', /money (\d)/, 'money 9$1'),
    what: /^main is 9\d+ after entry 11, its entries give \d+$/,
    where: /^store$/,
  },
  {
    name: 'another bucket in the store',
    plant: store => replaceIn(store, 'bucket:1-1', /left 0/, 'left 5'),
    what: /^bucket:1-1 is 5 after entry 11, its entries give 0$/,
    where: /^store$/,
  },
  {
    name: 'debt that nobody posted',
    plant: store => replaceIn(store, 'funds', /debt 0/, 'debt 1'),
    what: /^debt is -1 after entry 11, its entries give 0$/,
    where: /^store$/,
  },
  {
    name: 'another held amount',
    plant: store => replaceIn(store, 'funds', /held \d+/, 'held 1'),
    what: /^held is 1, its open sessions hold 10000$/,
    where: /^store$/,
  },
  {
    name: 'held units that no session holds',
    plant: async store => {
      await replaceIn(store, 'bucket:1-1', /left 0 held 0/, 'left 0 held 3')
    },
    what: /^bucket 1-1 has 3 held, its open sessions hold 0$/,
    where: /^store$/,
  },
  {
    name: 'something held on a counter that no session holds',
    plant: async ({ store }) => {
      await store.redis.hset(key, 'counter:roaming.1', 'value 5 held 3 period 0')
    },
    what: /^counter roaming\.1 has 3 held, its open sessions hold 0$/,
    where: /^store$/,
  },
  {
    name: 'open sessions that are not there',
    plant: store => replaceIn(store, 'funds', /open 1/, 'open 2'),
    what: /^it counts 2 open sessions, there are 1$/,
    where: /^store$/,
  },
  {
    name: 'a number that comes twice',
    plant: async ({ store }) => {
      const posts = '[["main","EUR",-1,5,4],["usage:data","EUR",1]]'
      const journal = journalKey(partitionOf(account, partitions))
      await store.redis.xadd(journal, '*', 'e', `{"account":"${account}","seq":11,"posts":${posts},"held":0}`)
    },
    what: /^entry 11 comes again with another content$/,
    where: /^stream of partition \d+, \d+-\d+$/,
  },
  {
    name: 'an account that is gone',
    plant: async ({ store }) => {
      await store.redis.del(key)
    },
    what: /^it has entries up to 11, but is not in the store$/,
    where: /^store$/,
  },
  {
    name: 'an account of another type',
    plant: async ({ store }) => {
      await store.redis.set(key, 'x')
    },
    what: /^its data in the store cannot be read$/,
    where: /^store$/,
  },
]

for (const { name, plant, what, where } of faults) {
  t.test(`it finds ${name}`, async t => {
    const store = await startStore(t)
    const folder = aFolder(t)
    await someCharges(t, store, 'p', 4)
    await (await aWriter(store.store, folder)).stop()
    for (let p = 0; p < partitions; p++) await store.store.redis.xtrim(journalKey(p), 'MAXLEN', 0)
    t.ok((await anAudit(store.store, folder)).ok, 'it was right before')
    await plant(store, folder)
    const result = await anAudit(store.store, folder)
    t.notOk(result.ok)
    t.ok(
      result.problems.some(problem => what.test(problem.what) && where.test(problem.where)),
      JSON.stringify(result.problems),
    )
    t.strictSame([...new Set(result.problems.map(problem => problem.account))], [account], 'and in no other account')
  })
}

t.test('money buckets and counters are proven like main and the other buckets', async t => {
  const store = await startStore(t)
  const rollover = { min: units(1n), max: units(150_000n), lifeMs: 60_000, priority: 1 }
  const until = Date.now() + 3_600_000
  const common = { unit: 'money', priority: 1, origin: 'o' } as const
  const bonus: NewBucket = {
    ...common,
    name: 'bonus',
    amount: units(1_000_000n),
    until,
    rollover,
    warn: [units(500_000n)],
  }
  const identities = [{ type: 'nai', value: 'p-2@test' } as const]
  await store.accounts.create(
    { id: account, currency: 'EUR', creditLimit: micros(0), status: 'active' },
    { identities, offers: [{ offer: 'o', buckets: [bonus] }] },
    micros(1_000_000n),
    'admin',
  )
  const program = aProgram({
    num: 1n,
    money: ['bonus'],
    counters: [{ name: 'spend', what: 'money', limit: 5_000_000n, steps: [10] }],
  })
  const counters = [{ name: 'spend', start: 1, end: Infinity, limit: 'default' }] as const
  const [one, two] = [
    await Session.open(t, store, { account, money: 0n, credit: 0n }),
    await Session.open(t, store, { account, money: 0n, credit: 0n }),
  ]
  const step = async (session: Session, type: 'I' | 'U' | 'T', n: number, used: bigint): Promise<void> => {
    const wanted = type === 'T' ? undefined : 400_000n
    t.type(await session.charge(type, n, [{ key: '10', used, wanted, program }], { counters }), 'object')
    t.strictSame((await anAudit(store.store)).problems, [], `${type} ${n}`)
  }
  await step(one, 'I', 0, 0n)
  await step(two, 'I', 0, 0n)
  const before = (await store.accounts.show(account))!
  t.match(before, { openSessions: 2, counters: [{ name: 'spend', scope: '0', held: 800_000n }] })
  t.match(before.buckets, [{ name: 'bonus', amount: 1_000_000n, held: 800_000n }])
  await step(one, 'U', 1, 300_000n)
  t.match((await store.accounts.show(account))!.counters, [{ value: 300_000n }])
  const due = new DueLists(store.store, systemClock)
  const partition = partitionOf(account, partitions)
  const real = Date.now()
  t.equal(await due.expire(partition, `bucket ${account} 1-1`, until, until - real, 60_000), 'expired')
  t.strictSame((await anAudit(store.store)).problems, [], 'the bucket has ended')
  await step(two, 'T', 1, 400_000n)
  await step(one, 'T', 2, 0n)
  t.match(await store.accounts.show(account), { openSessions: 0, held: 0n, counters: [{ value: 700_000n, held: 0n }] })
  await replaceIn(store, 'funds', /money (\d)/, 'money 9$1')
  t.notOk((await anAudit(store.store)).ok)
})

t.test('a line that is no entry is a finding', async t => {
  const store = await startStore(t)
  const folder = aFolder(t)
  await someCharges(t, store, 'p', 1)
  await (await aWriter(store.store, folder)).stop()
  const path = join(folder, readdirSync(folder)[0]!)
  writeFileSync(path, `${readFileSync(path, 'utf8')}{"partition":1,\n`)
  const { problems } = await anAudit(store.store, folder)
  t.strictSame(problems, [
    { account: '-', what: 'this line is no ledger entry', where: `${readdirSync(folder)[0]!}:12` },
  ])
})

t.test('files and streams together: counted once, wherever an entry stands', async t => {
  const store = await startStore(t)
  const folder = aFolder(t)
  await someCharges(t, store, 'p', 2)
  t.match(
    await anAudit(store.store),
    { ok: true, accounts: 2, entries: 22, fromFiles: 0, fromStream: 22 },
    'streams only',
  )
  await (await aWriter(store.store, folder)).stop()
  await someCharges(t, store, 'q', 2)
  const counts = { ok: true, accounts: 4, entries: 44, fromFiles: 22, fromStream: 22, duplicates: 0, unproven: 0 }
  t.match(await anAudit(store.store, folder), counts)
})

t.test('what two daemons wrote both is no fault; without the folder of one of them there is a gap', async t => {
  const store = await startStore(t)
  const [one, two] = [aFolder(t), aFolder(t)]
  const first = await aWriter(store.store, one)
  const session = await Session.open(t, store, { account: 'a', money: 10n ** 9n, credit: 0n })
  const step = async (n: number): Promise<void> => {
    await session.charge(n === 0 ? 'I' : 'U', n, [])
  }
  await step(0)
  await first.flush()
  const consumers = `ocs:{${partitionOf('a', partitions)}}:consumers`
  await store.store.redis.del(consumers) // its acknowledgement was lost
  await step(1)
  const second = await aWriter(store.store, two)
  await second.flush()
  await step(2)
  first.lost([...Array(partitions).keys()])
  await first.flush()
  await step(3)
  for (let p = 0; p < partitions; p++) await store.store.redis.xtrim(journalKey(p), 'MAXLEN', 1)
  t.match(await anAudit(store.store, one, two), { ok: true, entries: 5, duplicates: 2 })
  t.match(await anAudit(store.store, two, one), { ok: true, entries: 5, duplicates: 2 })
  t.match((await anAudit(store.store, one)).problems, [{ account: 'a', what: 'entry 3 is missing' }])
})

t.test('accounts whose older files are gone are followed from the oldest entry at hand', async t => {
  const store = await startStore(t)
  const folder = aFolder(t)
  await someCharges(t, store, 'p', 4)
  const writer = await aWriter(store.store, folder, { rotateOctets: 1 })
  await writer.flush()
  for (const name of readdirSync(folder)) writeFileSync(join(folder, name), '')
  for (let p = 0; p < partitions; p++) await store.store.redis.xtrim(journalKey(p), 'MAXLEN', 0)
  t.match(await anAudit(store.store, folder), { ok: true, accounts: 4, entries: 0, unproven: 4 })
  await store.accounts.setStatus(account, 'suspended', 'test')
  t.match(await anAudit(store.store, folder), { ok: true, accounts: 4, entries: 1, unproven: 3 })
  await writer.stop()
})

t.test('it is right while charges go on and entries leave the streams', async t => {
  const store = await startStore(t)
  const folder = aFolder(t)
  const load = await Load.start(t, store, 20)
  const writer = await aWriter(store.store, folder, { gatherMs: 1, slowMs: 2, keepMs: 0, acknowledgeMs: 1 })
  writer.start()
  for (let audits = 0; audits < 3; audits++) {
    const result = await anAudit(store.store, folder)
    t.strictSame(result.problems, [])
    t.equal(result.accounts, 20)
    await writer.trim()
  }
  await load.stop()
  await writer.stop()
  t.ok((await anAudit(store.store, folder)).ok)
})
