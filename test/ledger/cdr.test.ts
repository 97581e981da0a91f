/**
 * Charging data records: what they say, and that each entry has its records in the files once, whatever dies or fails.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Journal, streamStart } from '../../src/balance/journal.js'
import { VirtualClock, systemClock } from '../../src/clock.js'
import { columns, recordsOf, type CdrRecord } from '../../src/ledger/cdr.js'
import { lineOf, readRecord, type CdrFormat, type Manifest } from '../../src/ledger/cdr-files.js'
import { micros } from '../../src/units.js'
import { BadDisk } from '../support/bad-disk.js'
import { aCdrWriter, aFolder, aWriter, linesOf, Load, someCharges, until, WriterProcess } from '../support/ledger.js'
import { partitions, startStore } from '../support/store.js'

const child = { rotateOctets: 64 << 20, keepMs: 600_000, leaseMs: 600 }
const all = new Set(['charge', 'session', 'money'] as const)
const options = { nodeId: 'ocs.test', kinds: all }

const sizeOf = (folder: string): number =>
  readdirSync(folder).reduce(
    (sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  )

/** The records of all closed files of a folder; checks each manifest against its file. */
function recordsIn(t: Test, folder: string, format: CdrFormat): CdrRecord[] {
  const names = readdirSync(folder)
  t.same(
    names.filter(name => name.includes('.part')),
    [],
    'nothing is half closed',
  )
  const found: CdrRecord[] = []
  for (const name of names.filter(each => each.endsWith(`.${format}`)).sort()) {
    const octets = readFileSync(join(folder, name))
    const manifest = JSON.parse(readFileSync(join(folder, `${name}.manifest.json`), 'utf8')) as Manifest
    const lines = octets
      .toString()
      .split('\n')
      .slice(format === 'csv' ? 1 : 0, -1)
    const records = lines.map(line => readRecord(line, format)!)
    const sums = (of: 'amount' | 'usedUnits', by: 'currencyCode' | 'unit'): Record<string, bigint> => {
      const sum: Record<string, bigint> = {}
      for (const record of records)
        if ((record[of] ?? '') !== '') sum[record[by] ?? ''] = (sum[record[by] ?? ''] ?? 0n) + BigInt(record[of]!) // what costs nothing has no currency
      return sum
    }
    const told = (what: 'money' | 'units'): Record<string, bigint> => {
      const sum: Record<string, bigint> = {}
      for (const type of Object.values(manifest.types))
        for (const [unit, digits] of Object.entries(type[what])) sum[unit] = (sum[unit] ?? 0n) + BigInt(digits)
      return sum
    }
    const same =
      manifest.sha256 === createHash('sha256').update(octets).digest('hex') &&
      manifest.octets === octets.length &&
      manifest.records === records.length
    if (!same) t.fail(`the manifest of ${name} is not of this file`)
    t.same(told('money'), sums('amount', 'currencyCode'), 'money of the manifest')
    t.same(told('units'), sums('usedUnits', 'unit'), 'units of the manifest')
    found.push(...records)
  }
  return found
}

/** The same records, each once, as the ledger's files give. */
function agree(t: Test, records: readonly CdrRecord[], ...ledgers: string[]): void {
  const ids = records.map(({ recordId }) => String(recordId))
  t.equal(ids.length, new Set(ids).size, 'no record is there twice')
  const expected = new Map<string, number>()
  for (const line of ledgers.flatMap(folder => linesOf(folder))) {
    const { partition, id, ...entry } = line
    for (const { recordId, amount } of recordsOf({ partition, id, text: JSON.stringify(entry) }, options))
      expected.set(String(recordId), Number(amount ?? 0))
  }
  t.ok(expected.size > 0, 'there is something to compare')
  t.same([...expected.keys()].filter(id => !ids.includes(id)).slice(0, 5), [], 'no record is missing')
  t.same(ids.filter(id => !expected.has(id)).slice(0, 5), [], 'nothing is there that did not happen')
  const sum = (amounts: readonly number[]): number => amounts.reduce((all, one) => all + one, 0)
  t.equal(sum(records.map(({ amount }) => Number(amount ?? 0))), sum([...expected.values()]), 'the amounts')
}

t.test('what records say of an entry', t => {
  const base = { account: 'alice', seq: 7, at: Date.UTC(2026, 10, 22, 9), held: 0 }
  const charge = {
    ...base,
    ...{ kind: 'charge', session: 'gw;1', number: 3, type: 'terminate', host: 'gw.example', subscriber: '2' },
    ...{ service: 'data', catalog: 'c1', outcome: 'ok' },
    posts: [
      ['bucket:3-1', 'octets', -250, 250, 0],
      ['usage:data', 'octets', 250],
      ['main', 'EUR', -3000, 3000, 0],
      ['usage:data', 'EUR', 3000],
      ['debt', 'EUR', -500, 0, -500],
      ['usage:data', 'EUR', 500],
    ],
    lines: [
      {
        ...{ line: '10/1,2', rule: 'payg#1', rate: 'r1', used: 600, unit: 'octets', cost: 3500 },
        paid: '3-1:250:250,rate:350:3500:r1:0:1:-:0,main::3000,debt::500',
      },
      { line: '-', rule: 'payg#1', rate: '-', used: 0 },
    ],
  }
  const table: { name: string; entry: object; records: CdrRecord[] }[] = [
    {
      name: 'usage, and the end of the session',
      entry: charge,
      records: [
        {
          ...{
            recordId: '5:9-0:1/2',
            recordType: 'charge',
            nodeId: 'ocs.test',
            eventTimestamp: '2026-11-22T09:00:00.000Z',
          },
          ...{ accountId: 'alice', subscriptionId: 'alice/2', recordSequenceNumber: 7, sessionId: 'gw;1' },
          ...{ ccRequestType: 'terminate', ccRequestNumber: '3', originHost: 'gw.example', service: 'data' },
          ...{ catalogVersion: 'c1', ratingGroup: '10', serviceIdentifier: '1 2', unit: 'octets', usedUnits: 600 },
          ...{ amount: 3500, currencyCode: 'EUR', overrun: 500, paidBy: '3-1=250 main=3000 debt=500' },
          ...{ tariffRule: 'payg#1', rateId: 'r1', resultCode: 'charged' },
        },
        { recordId: '5:9-0:2/2', recordType: 'session-close', causeForRecClosing: 'normalRelease' },
      ],
    },
    {
      name: 'money in',
      entry: {
        ...{ ...base, kind: 'recharge', channel: 'outlet', reference: 'r-1', method: 'cash', outlet: 'o-7' },
        posts: [
          ['debt', 'EUR', 500, -500, 0],
          ['source:outlet', 'EUR', -500],
          ['main', 'EUR', 4500, 0, 4500],
          ['source:outlet', 'EUR', -4500],
        ],
      },
      records: [
        { recordType: 'recharge', amount: 500, currencyCode: 'EUR', counterAccount: 'source:outlet', method: 'cash' },
        { recordType: 'recharge', amount: 4500, paidBy: 'debt=500 main=4500', outlet: 'o-7', reference: 'r-1' },
      ],
    },
    {
      name: 'a fee and its bucket',
      entry: {
        ...{ ...base, kind: 'subscribe', offer: 'bundle', subscription: '4', subscriber: '0' },
        posts: [
          ['main', 'EUR', -10, 10, 0],
          ['fee', 'EUR', 10],
          ['bucket:7-1', 'octets', 5, 0, 5],
          ['offer', 'octets', -5],
        ],
      },
      records: [
        {
          recordType: 'subscribe',
          unit: 'money',
          amount: -10,
          currencyCode: 'EUR',
          counterAccount: 'fee',
          offer: 'bundle',
        },
        { recordType: 'subscribe', unit: 'octets', usedUnits: 5, counterAccount: 'offer', subscription: '4' },
      ],
    },
    {
      name: 'what a session gives back to a bucket that has ended',
      entry: {
        ...base,
        kind: 'charge',
        posts: [
          ['bucket:1-1', 'octets', -9, 9, 0],
          ['expiry', 'octets', 9],
        ],
        lines: [],
      },
      records: [{ recordType: 'expiry', usedUnits: -9, counterAccount: 'expiry' }],
    },
    {
      name: 'silence',
      entry: { ...base, kind: 'expire', session: 'gw;1', outcome: 'silent', posts: [], lines: [] },
      records: [{ recordType: 'session-close', causeForRecClosing: 'abnormalRelease', sessionId: 'gw;1' }],
    },
    { name: 'a hold that ended', entry: { ...base, kind: 'expire', outcome: 'released', posts: [] }, records: [] },
    { name: 'a grant', entry: { ...charge, type: 'update', posts: [], lines: [charge.lines[1]] }, records: [] },
    { name: 'a foreign entry', entry: { foreign: ['x', 'y'] }, records: [] },
  ]
  for (const { name, entry, records } of table) {
    const made = recordsOf({ partition: 5, id: '9-0', text: JSON.stringify(entry) }, options)
    t.equal(made.length, records.length, `${name}: how many`)
    for (const [i, record] of records.entries()) t.match(made[i], record, name)
    for (const record of made) {
      t.same(readRecord(lineOf(record, 'jsonl').trimEnd(), 'jsonl'), record, 'JSON and back')
      const csv = readRecord(lineOf(record, 'csv').trimEnd(), 'csv')!
      for (const column of columns) t.equal(csv[column], String(record[column] ?? ''), `CSV ${column}`)
    }
  }
  const only = recordsOf(
    { partition: 5, id: '9-0', text: JSON.stringify(charge) },
    { ...options, kinds: new Set(['session']) },
  )
  t.match(only, [{ recordType: 'session-close', recordId: '5:9-0:1/1' }], 'only kinds that are asked for')
  const odd = { recordId: '1:2-3:1/1', reason: 'say "no", or\nnot', sessionId: 'a,b' }
  t.match(readRecord(lineOf(odd, 'csv').trimEnd(), 'csv'), { reason: 'say "no", or not', sessionId: 'a,b' }, 'quoting')
  t.end()
})

t.test('a writer of records that is killed again and again leaves each in its files once', async t => {
  const store = await startStore(t)
  const [ledger, cdr] = [aFolder(t), aFolder(t)]
  const process = {
    ...{ ...child, id: 'a', socket: store.redis.socket, directory: ledger },
    cdr: { directory: cdr, formats: ['jsonl', 'csv'] as const, rotateOctets: 40_000 },
  }
  const load = await Load.start(t, store, 15)
  for (let kills = 0; kills < 3; kills++) {
    const writer = await WriterProcess.start(t, process)
    const before = sizeOf(cdr)
    await until(() => sizeOf(cdr) > before + 60_000)
    await writer.end('SIGKILL')
  }
  const last = await WriterProcess.start(t, process)
  await load.stop()
  t.equal(await last.end('SIGTERM'), 0, 'it stops when told to')
  // On a busy machine its last seconds did not suffice: the rest is written at the next start.
  await (await aWriter(store.store, ledger)).stop()
  for (const format of ['jsonl', 'csv'] as const) await (await aCdrWriter(store.store, cdr, { format })).stop()
  for (const format of ['jsonl', 'csv'] as const) agree(t, recordsIn(t, cdr, format), ledger)
})

t.test('partitions that move between daemons leave no gap, and what both wrote has one recordId', async t => {
  const store = await startStore(t)
  const [one, two, cdrOne, cdrTwo] = [aFolder(t), aFolder(t), aFolder(t), aFolder(t)]
  const process = (id: string, directory: string, cdr: string): Parameters<typeof WriterProcess.start>[1] => ({
    ...{ ...child, id, socket: store.redis.socket, directory },
    cdr: { directory: cdr, formats: ['jsonl'], rotateOctets: 40_000 },
  })
  const load = await Load.start(t, store, 15)
  const a = await WriterProcess.start(t, process('a', one, cdrOne))
  await until(() => sizeOf(cdrOne) > 60_000)
  const b = await WriterProcess.start(t, process('b', two, cdrTwo))
  await until(() => sizeOf(cdrTwo) > 60_000)
  await a.end('SIGTERM')
  const before = sizeOf(cdrTwo)
  await until(() => sizeOf(cdrTwo) > before + 60_000)
  const again = await WriterProcess.start(t, process('a', one, cdrOne))
  const had = sizeOf(cdrOne)
  await until(() => sizeOf(cdrOne) > had + 30_000)
  await load.stop()
  await again.end('SIGTERM')
  await b.end('SIGTERM')
  await (await aWriter(store.store, two)).stop()
  await (await aCdrWriter(store.store, cdrTwo)).stop()
  // Each daemon's files are exact; a lease that was lost on a busy machine leaves its last moment in the files of both.
  const [first, second] = [recordsIn(t, cdrOne, 'jsonl'), recordsIn(t, cdrTwo, 'jsonl')]
  for (const own of [first, second]) t.equal(new Set(own.map(({ recordId }) => recordId)).size, own.length)
  const known = new Map([...first, ...second].map(record => [record['recordId'], record]))
  agree(t, [...known.values()], one, two)
})

for (const fails of ['write', 'sync'] as const) {
  t.test(`a ${fails} that fails leaves no gap and no repeat`, async t => {
    const store = await startStore(t)
    const [ledger, cdr] = [aFolder(t), aFolder(t)]
    const disk = new BadDisk()
    const writer = await aCdrWriter(store.store, cdr, { files: disk })
    await someCharges(t, store, 'a')
    await writer.flush()
    disk.fails = fails
    await someCharges(t, store, 'b')
    for (let tries = 0; tries < 3; tries++) await t.rejects(writer.flush(), { message: /failed/ })
    disk.fails = undefined
    await someCharges(t, store, 'c')
    await writer.flush()
    await writer.stop()
    await (await aWriter(store.store, ledger)).stop()
    agree(t, recordsIn(t, cdr, 'jsonl'), ledger)
  })
}

t.test('files that may not grow (a real limit) are closed, without gap or repeat', async t => {
  const store = await startStore(t)
  const [ledger, cdr] = [aFolder(t), aFolder(t)]
  const options = {
    ...{ ...child, id: 'a', socket: store.redis.socket, directory: ledger },
    cdr: { directory: cdr, formats: ['csv'] as const, rotateOctets: 64 << 20 },
  }
  const writer = await WriterProcess.start(t, options, 128)
  const load = await Load.start(t, store, 10)
  await until(() => readdirSync(cdr).filter(name => name.endsWith('.csv')).length >= 2)
  await load.stop()
  await writer.end('SIGTERM')
  await (await aWriter(store.store, ledger)).stop()
  await (await aCdrWriter(store.store, cdr, { format: 'csv' })).stop()
  agree(t, recordsIn(t, cdr, 'csv'), ledger)
})

t.test('a file is closed when it is old enough, and one without records is not begun', async t => {
  const store = await startStore(t)
  const cdr = aFolder(t)
  const clock = new VirtualClock()
  await store.accounts.create(
    { id: 'quiet', currency: 'EUR', creditLimit: micros(0), status: 'active' },
    undefined,
    micros(0),
    'admin',
  )
  const writer = await aCdrWriter(store.store, cdr, { clock, rotateMs: 60_000, slowMs: 1000 })
  await writer.flush()
  t.same(readdirSync(cdr), [], 'nothing moved, nothing is written')
  await someCharges(t, store, 'a', 1, 3)
  await writer.flush()
  t.match(readdirSync(cdr), [/^cdr-\d{8}T\d{9}Z-000001\.jsonl\.part$/], 'open')
  writer.start()
  clock.advance(61_000)
  await until(() => readdirSync(cdr).some(name => name.endsWith('.manifest.json')))
  t.equal(recordsIn(t, cdr, 'jsonl').length, 4, 'the opening balance, its bucket, two reports')
  await writer.stop(0)
})

t.test('a consumer that nobody has any more does not keep entries in the stream', async t => {
  const store = await startStore(t)
  const journal = new Journal(store.store, partitions, systemClock)
  const everywhere = Array.from({ length: partitions }, (_, p) => p)
  await journal.register('cdr-csv', everywhere)
  await journal.register('ledger', everywhere)
  t.same(await journal.consumers(), new Set(['cdr-csv', 'ledger']))
  await journal.forget('cdr-csv')
  t.same(await journal.consumers(), new Set(['ledger']))
  t.equal((await journal.register('cdr-csv', [0])).get(0), streamStart)
})
