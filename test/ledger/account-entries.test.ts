/** An account's entries by the index of the ledger's files, and out of the stream: each once, in their order, from any place. */
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Journal } from '../../src/balance/journal.js'
import { journalKey, partitionOf } from '../../src/balance/keys.js'
import { systemClock } from '../../src/clock.js'
import { AccountEntries, type AccountEntry } from '../../src/ledger/account-entries.js'
import { indexPath, LedgerIndex } from '../../src/ledger/account-index.js'
import { aFolder, silent } from '../support/ledger.js'
import { seed } from '../support/seed.js'
import { partitions, startStore, type TestStore } from '../support/store.js'

const entryText = (account: string, seq: number): string =>
  `{"account":"${account}","seq":${seq},"at":${1000 + seq},"reason":"größer ✓","posts":[]}`

/** A small generator: the same numbers for the same seed. */
function randomOf(start: number): (below: number) => number {
  let state = start >>> 0
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const fileLine = (account: string, seq: number): string =>
  `{"partition":${partitionOf(account, partitions)},"id":"${seq}-0",${entryText(account, seq).slice(1)}\n`

async function collected(entries: AsyncGenerator<AccountEntry>, most = Infinity): Promise<number[]> {
  const numbers: number[] = []
  for await (const { seq, text } of entries) {
    const { seq: inside } = JSON.parse(text) as { seq: number }
    if (inside !== seq) throw new Error(`entry ${seq} says ${inside}`)
    numbers.push(seq)
    if (numbers.length >= most) break
  }
  return numbers
}

async function aLedger(
  t: Test,
): Promise<{ store: TestStore; directory: string; entries: AccountEntries; index: LedgerIndex }> {
  const store = await startStore(t)
  const directory = aFolder(t)
  const index = new LedgerIndex({ directory, clock: systemClock, log: silent })
  const journal = new Journal(store.store, partitions, systemClock)
  return { store, directory, index, entries: new AccountEntries({ journal, index, directory }) }
}

t.test('whatever files and stream hold: all numbers at hand, once, from any place', async t => {
  const start = seed
  t.comment(`seed ${start}`)
  const random = randomOf(start)
  for (let round = 0; round < 8; round++) {
    const { store, directory, entries, index } = await aLedger(t)
    const accounts = ['anna', 'bert', 'a.b-c_1']
    const next = new Map(accounts.map(account => [account, 1]))
    const written = new Map(accounts.map(account => [account, [] as number[]]))
    const files = 1 + random(4)
    for (let file = 0; file < files; file++) {
      let text = ''
      for (let line = random(60); line > 0; line--) {
        const account = accounts[random(3)]!
        const seq = next.get(account)!
        next.set(account, seq + 1)
        if (random(12) === 0) continue // another daemon has this one
        text += fileLine(account, seq)
        written.get(account)!.push(seq)
      }
      writeFileSync(join(directory, `ledger-2026-${file}.jsonl`), text)
    }
    if (random(2) === 0) await index.tidy()
    for (const account of accounts) {
      // The stream overlaps the files and goes on behind them.
      const from = Math.max(1, next.get(account)! - random(10))
      const to = next.get(account)! + random(5)
      for (let seq = from; seq < to; seq++) {
        await store.store.redis.xadd(journalKey(partitionOf(account, partitions)), '*', 'e', entryText(account, seq))
        if (!written.get(account)!.includes(seq)) written.get(account)!.push(seq)
      }
      written.get(account)!.sort((a, b) => a - b)
    }
    for (const account of accounts) {
      const all = written.get(account)!
      t.same(await collected(entries.oldest(account)), all, `round ${round}: ${account}, oldest first`)
      t.same(await collected(entries.newest(account)), all.toReversed(), `round ${round}: ${account}, newest first`)
      const place = 1 + random(70)
      t.same(await collected(entries.newest(account, { seq: place })), all.filter(seq => seq < place).toReversed())
      t.same(
        await collected(entries.oldest(account, { seq: place })),
        all.filter(seq => seq > place),
      )
      // Page by page, each beginning in the file where the last one ended.
      const pages: number[] = []
      for (let at: { seq: number; file?: string | undefined } | undefined; ;) {
        let last: AccountEntry | undefined
        let count = 0
        for await (const entry of entries.newest(account, at)) {
          pages.push(entry.seq)
          last = entry
          if (++count === 3) break
        }
        if (!last || count < 3) break
        at = { seq: last.seq, file: last.file }
      }
      t.same(pages, all.toReversed(), 'in pages')
    }
  }
})

t.test('an index stands beside each complete file, and is made again when it is not the file’s', async t => {
  const { directory, entries, index } = await aLedger(t)
  const paths = [1, 2, 3].map(n => join(directory, `ledger-2026-${n}.jsonl`))
  paths.forEach((path, i) =>
    writeFileSync(path, fileLine('anna', 2 * i + 1) + fileLine('bert', i + 1) + fileLine('anna', 2 * i + 2)),
  )
  await index.tidy()
  t.same(
    paths.map(path => existsSync(indexPath(path))),
    [true, true, false],
    'the last is still written',
  )
  const six = [6, 5, 4, 3, 2, 1]
  t.same(await collected(entries.newest('anna')), six)
  appendFileSync(paths[2]!, fileLine('anna', 7))
  t.same(await collected(entries.newest('anna')), [7, ...six], 'what was appended is found')
  t.same(await collected(entries.newest('nobody')), [])

  const damage: readonly [string, (path: string) => void][] = [
    ['torn', path => truncateSync(path, 40)],
    ['empty', path => writeFileSync(path, '')],
    ['of another file', path => writeFileSync(path, readFileSync(indexPath(paths[0]!)).fill(9, 8, 16))],
    ['gone', path => unlinkSync(path)],
  ]
  for (const [what, harm] of damage) {
    const path = indexPath(paths[1]!)
    const whole = readFileSync(path)
    harm(path)
    t.same(await collected(entries.newest('anna')), [7, ...six], `${what}: read without it`)
    await index.tidy()
    t.same(readFileSync(path), whole, `${what}: made again`)
  }
  unlinkSync(paths[0]!)
  await index.tidy()
  t.notOk(existsSync(indexPath(paths[0]!)), 'the index of a file that is gone goes, too')
  t.same(await collected(entries.newest('anna')), [7, 6, 5, 4, 3])
  t.same(
    readdirSync(directory).filter(name => name.endsWith('.new')),
    [],
  )
  t.ok(statSync(indexPath(paths[1]!)).size > 16_000)
})

t.test('accounts whose hashes are the same are told apart', async t => {
  const { directory, entries, index } = await aLedger(t)

  const [one, other] = ['c2ya8', 'czki6'] // found by trying
  t.equal(partitionOf(one, 2 ** 32), partitionOf(other, 2 ** 32))
  const path = join(directory, 'ledger-2026-1.jsonl')
  let text = ''
  for (let seq = 1; seq <= 9; seq++) text += fileLine(other, seq) + fileLine(one, seq) + fileLine(other, 100 + seq)
  writeFileSync(path, text)
  writeFileSync(join(directory, 'ledger-2026-2.jsonl'), '')
  await index.tidy()
  t.same(await collected(entries.newest(one)), [9, 8, 7, 6, 5, 4, 3, 2, 1])
  t.same(await collected(entries.oldest(one, { seq: 4 })), [5, 6, 7, 8, 9])
})
