/**
 * The audit that goes on where the last one ended: it reads only what is new, says the same as a full one, and never forgets a problem
 * that it told of.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { Journal } from '../../src/balance/journal.js'
import { accountKey, journalKey, partitionOf } from '../../src/balance/keys.js'
import { firstToClaim } from '../../src/balance/node-state.js'
import { Snapshot } from '../../src/balance/snapshot.js'
import { systemClock, VirtualClock } from '../../src/clock.js'
import { audit, type AuditResult } from '../../src/ledger/audit.js'
import { Nightly } from '../../src/ledger/nightly.js'
import { aFolder, aWriter, someCharges, until } from '../support/ledger.js'
import { openStore, partitions, startStore, type TestStore } from '../support/store.js'

interface Field {
  readonly store: TestStore
  readonly ledger: string
  readonly state: string
  readonly check: (full?: boolean) => Promise<AuditResult>
}

async function aField(t: Test): Promise<Field> {
  const store = await startStore(t)
  const ledger = aFolder(t)
  const state = join(aFolder(t), 'deep', 'state.jsonl')
  const journal = new Journal(store.store, partitions, systemClock)
  const snapshot = new Snapshot(store.store, partitions, systemClock)
  const check = (full = false): Promise<AuditResult> =>
    audit({ directories: [ledger], journal, snapshot, state, full, now: 1000 })
  return { store, ledger, state, check }
}

async function emptyStreams({ store }: TestStore): Promise<void> {
  for (let p = 0; p < partitions; p++) await store.redis.xtrim(journalKey(p), 'MAXLEN', 0)
}

const changeFile = (folder: string, from: string | RegExp, to: string): void => {
  const [name] = readdirSync(folder).sort()
  const path = join(folder, name!)
  const text = readFileSync(path, 'utf8')
  const changed = text.replace(from, to)
  if (changed === text) throw new Error(`nothing to change in ${path}`)
  writeFileSync(path, changed)
}

t.test('it reads what is new, and proves all', async t => {
  const { store, ledger, check } = await aField(t)
  const writer = await aWriter(store.store, ledger, { rotateOctets: 2000 })
  await someCharges(t, store, 'a', 3)
  await writer.flush()
  t.match(await check(), { ok: true, since: undefined, entries: 33, fromFiles: 33, accounts: 3 })
  t.match(await check(), { ok: true, since: 1000, entries: 0, accounts: 3 }, 'nothing is new')
  await someCharges(t, store, 'b', 2)
  t.match(await check(), { ok: true, entries: 22, fromStream: 22, accounts: 5 }, 'only in the stream yet')
  await writer.flush()
  await emptyStreams(store)
  t.match(await check(), { ok: true, entries: 0, duplicates: 22, accounts: 5 }, 'the same, from files now')
  await store.accounts.setStatus('a-0', 'suspended', 'test')
  await writer.flush()
  t.match(await check(), { ok: true, entries: 1, accounts: 5 })
  t.match(await check(true), { ok: true, since: undefined, entries: 56, accounts: 5 }, 'a full one')
})

t.test('what is wrong is said again until it is mended', async t => {
  const { store, ledger, check } = await aField(t)
  const writer = await aWriter(store.store, ledger)
  await someCharges(t, store, 'a', 2)
  await writer.flush()
  await emptyStreams(store)
  t.ok((await check()).ok)
  const key = accountKey(partitionOf('a-1', partitions), 'a-1')
  const funds = (await store.store.redis.hget(key, 'funds'))!
  await store.store.redis.hset(key, 'funds', funds.replace(/money (\d)/, 'money 9$1'))
  await someCharges(t, store, 'b', 1)
  for (let night = 0; night < 2; night++)
    t.match(await check(), { ok: false, since: 1000, entries: 11, problems: [{ account: 'a-1', where: 'store' }] })
  await store.store.redis.hset(key, 'funds', funds)
  t.match(await check(), { ok: true, entries: 11 })
  t.match(await check(), { ok: true, entries: 0 })
})

t.test('what a file had before the last audit is not read again, unless all is to be', async t => {
  const { store, ledger, check } = await aField(t)
  const writer = await aWriter(store.store, ledger)
  await someCharges(t, store, 'a', 1)
  await writer.flush()
  await emptyStreams(store)
  t.ok((await check()).ok)
  changeFile(ledger, '-250000,1000000,750000', '-250001,1000000,750000')
  t.ok((await check()).ok, 'the same length: not looked at')
  t.match(await check(true), { ok: false, problemCount: 2 }, 'a full one sees it')
  changeFile(ledger, /\n[^\n]*\n$/, '\n')
  t.match(await check(), { ok: false, problems: [{ what: /^it is shorter than when it was last audited/ }] })
})

for (const [name, spoil] of [
  ['torn', (text: string) => text.slice(0, -20)],
  ['empty', () => ''],
  ['of fewer accounts', (text: string) => text.replace(/\n\["a-0".*/, '')],
] as const) {
  t.test(`a state that is ${name} counts as none`, async t => {
    const { store, ledger, state, check } = await aField(t)
    const writer = await aWriter(store.store, ledger)
    await someCharges(t, store, 'a', 2)
    await writer.flush()
    t.ok((await check()).ok)
    writeFileSync(state, spoil(readFileSync(state, 'utf8')))
    t.match(await check(), { ok: true, since: undefined, entries: 22 })
  })
}

t.test('a night’s audit is done once, by one of the daemons, at its local time', async t => {
  const store = await startStore(t)
  const stores = [store.store, await openStore(t, store.redis)]
  const clock = new VirtualClock(Date.UTC(2026, 2, 27, 12))
  const done: string[] = []
  const say: string[] = []
  const daemons = ['one', 'two'].map((id, i) => {
    const nightly = new Nightly({
      ...{ at: 210, timezone: () => 'Europe/Berlin', clock },
      log: pino({ level: 'error' }, { write: (line: string) => void say.push(line) }),
      claim: day => firstToClaim(stores[i]!, `audit:${day}`, id, systemClock.monotonic() + 5000),
      work: () => {
        done.push(new Date(clock.now()).toISOString())
        return done.length === 2 ? Promise.reject(new Error('no disk')) : Promise.resolve()
      },
    })
    nightly.start()
    return nightly
  })
  // 28 March is before, 29 March the night of the change to summer time, on which 02:00 becomes 03:00.
  for (const [expected, hours] of [
    ['2026-03-28T02:30', 15],
    ['2026-03-29T01:30', 24],
    ['2026-03-30T01:30', 24],
  ] as const) {
    const before = done.length
    clock.advance(hours * 3_600_000)
    await until(() => done.length > before)
    t.equal(done.length, before + 1)
    t.ok(done.at(-1)!.startsWith(expected) || done.at(-1)! > expected, `${expected}: ${done.at(-1)}`)
  }
  t.match(say, [/audit_not_run.*no disk/], 'one that fails is told')
  for (const each of daemons) await each.stop()
  t.equal(clock.waiting, 0, 'nothing is left behind')
})
