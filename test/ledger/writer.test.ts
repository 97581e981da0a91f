/**
 * The ledger's writer: every entry in its files once, whatever dies or fails.
 */
import { appendFileSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { Journal, streamStart } from '../../src/balance/journal.js'
import { journalKey, partitionOf } from '../../src/balance/keys.js'
import { systemClock } from '../../src/clock.js'
import { BadDisk } from '../support/bad-disk.js'
import {
  aFolder,
  anAudit,
  aWriter,
  linesOf,
  Load,
  repeatsIn,
  someCharges,
  until,
  WriterProcess,
} from '../support/ledger.js'
import { partitions, startStore, type TestStore } from '../support/store.js'

const child = { id: 'a', rotateOctets: 64 << 20, keepMs: 600_000, leaseMs: 600 }

const sizeOf = (folder: string): number =>
  readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)

async function isWhole(t: Test, { store }: TestStore, ...folders: string[]): Promise<void> {
  const result = await anAudit(store, ...folders)
  t.same(result.problems, [], 'audit')
  t.ok(result.ok && result.entries > 0, 'entries were checked')
}

/** The stream no longer has them, so what is missing in files shows. */
async function emptyStreams({ store }: TestStore): Promise<void> {
  for (let p = 0; p < partitions; p++) await store.redis.xtrim(journalKey(p), 'MAXLEN', 0)
}

t.test('a writer that is killed again and again leaves every entry in its files once', async t => {
  const store = await startStore(t)
  const directory = aFolder(t)
  const options = { ...child, socket: store.redis.socket, directory, rotateOctets: 200_000 }
  const load = await Load.start(t, store, 20)
  for (let kills = 0; kills < 4; kills++) {
    const writer = await WriterProcess.start(t, options)
    const before = sizeOf(directory)
    await until(() => sizeOf(directory) > before + 100_000)
    await writer.end('SIGKILL')
  }
  const last = await WriterProcess.start(t, options)
  await load.stop()
  t.equal(await last.end('SIGTERM'), 0, 'it stops when told to')
  await emptyStreams(store)
  await isWhole(t, store, directory)
  t.equal(repeatsIn(directory), 0, 'no entry is there twice')
})

t.test('files are closed at their size, and names sort by time', async t => {
  const store = await startStore(t)
  const directory = aFolder(t)
  await someCharges(t, store, 'r')
  const writer = await aWriter(store.store, directory, { rotateOctets: 1 })
  await writer.flush()
  await someCharges(t, store, 's')
  await writer.flush()
  await writer.stop()
  const names = readdirSync(directory).sort()
  t.equal(names.length, 2)
  t.match(names[0], /^ledger-\d{8}T\d{9}Z-000001\.jsonl$/)
  await emptyStreams(store)
  await isWhole(t, store, directory)
})

t.test('a torn last line is cut, and its entry written again', async t => {
  const store = await startStore(t)
  const directory = aFolder(t)
  await someCharges(t, store, 'a')
  await (await aWriter(store.store, directory)).stop()
  const [name] = readdirSync(directory)
  appendFileSync(join(directory, name!), '{"partition":3,"id":"99')
  await someCharges(t, store, 'b')
  const writer = await aWriter(store.store, directory)
  t.ok(readFileSync(join(directory, name!), 'utf8').endsWith('}\n'), 'cut')
  await writer.stop()
  await emptyStreams(store)
  await isWhole(t, store, directory)
  t.equal(repeatsIn(directory), 0)
})

t.test('what was written but not acknowledged is known from the files', async t => {
  const store = await startStore(t)
  const directory = aFolder(t)
  class Mute extends Journal {
    override acknowledge(): Promise<void> {
      return Promise.reject(new Error('killed here'))
    }
  }
  await someCharges(t, store, 'a')
  const first = await aWriter(store.store, directory, { journal: new Mute(store.store, partitions, systemClock) })
  await t.rejects(first.flush(), { message: 'killed here' })
  const written = linesOf(directory).length
  t.ok(written > 0, 'written')
  t.same(
    [...(await new Journal(store.store, partitions, systemClock).register('ledger', [0])).values()],
    [streamStart],
    'not acknowledged',
  )
  const second = await aWriter(store.store, directory)
  await second.flush()
  t.equal(linesOf(directory).length, written, 'nothing is written again')
  await second.stop()
})

for (const fails of ['write', 'sync'] as const) {
  t.test(
    `a ${fails} that fails: charging goes on, a new file is filled from the stream, without gap or repeat`,
    async t => {
      const store = await startStore(t)
      const directory = aFolder(t)
      const disk = new BadDisk()
      const said: string[] = []
      let errors = 0
      const writer = await aWriter(store.store, directory, {
        files: disk,
        keepMs: 0,
        log: pino({ level: 'error' }, { write: (line: string) => void said.push(line) }),
        metrics: { written: () => undefined, trimmed: () => undefined, writeError: () => errors++ },
      })
      await someCharges(t, store, 'a')
      await writer.flush()
      const good = linesOf(directory).length
      disk.fails = fails
      await someCharges(t, store, 'b')
      for (let tries = 0; tries < 3; tries++) await t.rejects(writer.flush(), { message: /failed/ })
      t.equal(errors, 3, 'each failure is counted')
      await writer.trim()
      t.equal(linesOf(directory).length, good, 'nothing half written stays')
      disk.fails = undefined
      await someCharges(t, store, 'c')
      await writer.stop()
      for (const calls of disk.synced.values())
        t.notOk(calls.slice(0, -1).includes('failed'), 'a file is never used after a failed fsync')
      await emptyStreams(store)
      await isWhole(t, store, directory)
      t.equal(repeatsIn(directory), 0)
    },
  )
}

t.test('trouble is said once, and the writer comes back by itself', async t => {
  const store = await startStore(t)
  const directory = aFolder(t)
  const disk = new BadDisk()
  disk.fails = 'write'
  const said: string[] = []
  let errors = 0
  const writer = await aWriter(store.store, directory, {
    files: disk,
    gatherMs: 1,
    slowMs: 20,
    log: pino({ level: 'error' }, { write: (line: string) => void said.push(line) }),
    metrics: { written: () => undefined, trimmed: () => undefined, writeError: () => errors++ },
  })
  await someCharges(t, store, 'a')
  writer.start()
  await until(() => errors >= 2 && writer.backlog.entries > 0)
  t.equal(said.length, 1, 'one line')
  t.match(JSON.parse(said[0]!), { event: 'ledger_error', msg: /ENOSPC.*charging goes on/ })
  disk.fails = undefined
  await until(() => writer.backlog.entries === 0)
  await writer.stop()
  await isWhole(t, store, directory)
})

t.test('files that may not grow (a real limit) are left for new ones, without gap or repeat', async t => {
  const store = await startStore(t)
  const directory = aFolder(t)
  const writer = await WriterProcess.start(t, { ...child, socket: store.redis.socket, directory }, 256)
  const load = await Load.start(t, store, 10)
  await until(() => readdirSync(directory).length >= 3)
  await load.stop()
  await writer.end('SIGTERM')
  await (await aWriter(store.store, directory)).stop()
  await emptyStreams(store)
  await isWhole(t, store, directory)
  t.equal(repeatsIn(directory), 0)
})

t.test('a hint is enough to be written; without one the slow round comes by', async t => {
  const store = await startStore(t)
  const directory = aFolder(t)
  const writer = await aWriter(store.store, directory, { gatherMs: 1, slowMs: 3_600_000 })
  writer.start()
  await someCharges(t, store, 'a', 1, 3)
  writer.hint(partitionOf('a-0', partitions))
  await until(() => linesOf(directory).length === 4)
  await writer.stop()
  const slow = await aWriter(store.store, directory, { slowMs: 5 })
  slow.start()
  await someCharges(t, store, 'b', 1, 3)
  await until(() => linesOf(directory).length === 8)
  await slow.stop()
})

t.test('an entry leaves the stream when every consumer has it and it is old enough', async t => {
  const store = await startStore(t)
  const directory = aFolder(t)
  const journal = new Journal(store.store, partitions, systemClock)
  const all = Array.from({ length: partitions }, (_, p) => p)
  const length = async (): Promise<number> => {
    let sum = 0
    for (const p of all) sum += await store.store.redis.xlen(journalKey(p))
    return sum
  }
  await someCharges(t, store, 'a')
  const entries = await length()
  await journal.trim(all, 0)
  t.equal(await length(), entries, 'no consumer is known: all stay')
  const old = await aWriter(store.store, directory, { keepMs: 600_000 })
  await old.flush()
  t.equal(await old.trim(), 0, 'too young')
  const writer = await aWriter(store.store, directory, { keepMs: 0 })
  await journal.register('cdr', all)
  await writer.flush()
  t.equal(await writer.trim(), 0, 'another consumer has not read them')
  const last = await journal.lastIds(all)
  await journal.acknowledge('cdr', last)
  await writer.flush()
  t.equal((await journal.trim(all, 0)).removed, entries, 'all have them')
  t.equal(await length(), 0)
  await isWhole(t, store, directory)
  await writer.stop()
})

t.test('two writers share the partitions; when one is killed the other takes its part over', async t => {
  const store = await startStore(t)
  const [one, two] = [aFolder(t), aFolder(t)]
  const options = { ...child, socket: store.redis.socket }
  const a = await WriterProcess.start(t, { ...options, directory: one, id: 'a' })
  const b = await WriterProcess.start(t, { ...options, directory: two, id: 'b' })
  const load = await Load.start(t, store, 30)
  await until(() => sizeOf(one) > 50_000 && sizeOf(two) > 50_000)
  await a.end('SIGKILL')
  const partitionsIn = (folder: string): Set<number> => new Set(linesOf(folder).map(({ partition }) => partition))
  const [ofOne, ofTwo] = [partitionsIn(one), partitionsIn(two)]
  t.ok(
    [...ofOne].some(partition => !ofTwo.has(partition)),
    'some were only its own',
  )
  await until(() => {
    const now = partitionsIn(two)
    return [...ofOne].every(partition => now.has(partition))
  })
  await load.stop()
  await b.end('SIGTERM')
  t.equal(repeatsIn(one), 0)
  t.equal(repeatsIn(two), 0)
  await emptyStreams(store)
  await isWhole(t, store, one, two)
})
