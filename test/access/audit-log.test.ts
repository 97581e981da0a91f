/** The audit log as its readers find it: what is changed, taken out, put in, reordered or cut off shows with its line. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, appendFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { AuditLog, readAuditLog, verifyAuditLog, type AuditHead } from '../../src/access/audit-log.js'

const now = (): Date => new Date(Date.UTC(2026, 10, 23))

function aFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-audit-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function written(
  folder: string,
  count: number,
  rotateOctets?: number,
): Promise<{ head: AuditHead; anchors: AuditHead[] }> {
  const anchors: AuditHead[] = []
  const anchor = (head: AuditHead): Promise<void> => Promise.resolve(void anchors.push(head))
  const log = await AuditLog.open({ folder, now, anchor, ...(rotateOctets !== undefined && { rotateOctets }) })
  for (let i = 0; i < count; i++) await log.append({ actor: `a\u2028${i}`, action: 'POST /v1/x', why: 'a reason' })
  await log.close()
  return { head: log.head, anchors }
}

const linesOf = (path: string): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1)
const put = (path: string, lines: readonly string[]): void =>
  writeFileSync(path, lines.map(each => `${each}\n`).join(''))

t.test('records come back in order, over files and restarts, and the head is told', async t => {
  const folder = aFolder(t)
  await written(folder, 7, 600)
  const { head, anchors } = await written(folder, 5, 600)
  t.ok(readdirSync(folder).length > 2, 'several files')
  t.equal(head.n, 12)
  t.same(anchors.at(-1), head)
  t.same(await verifyAuditLog(folder, head), { lines: 12, head })
  const numbers: unknown[] = []
  for await (const { n } of readAuditLog(folder)) numbers.push(n)
  t.same(
    numbers,
    Array.from({ length: 12 }, (_, i) => i + 1),
  )
})

t.test('what comes at once goes to the disk together, in order', async t => {
  const folder = aFolder(t)
  const anchors: number[] = []
  const log = await AuditLog.open({ folder, now, anchor: ({ n }) => Promise.resolve(void anchors.push(n)) })
  await Promise.all(Array.from({ length: 100 }, (_, i) => log.append({ i })))
  await log.close()
  t.ok(anchors.length < 20, 'few writes')
  t.match(await verifyAuditLog(folder, log.head), { lines: 100, fault: undefined })
})

t.test('each way to tamper with it is found', async t => {
  const ways: readonly (readonly [string, (lines: string[]) => string[], number, RegExp])[] = [
    ['a word changed', lines => lines.with(4, lines[4]!.replace('a reason', 'no reason')), 5, /was changed/],
    [
      'a word changed, with its hash',
      lines => lines.with(4, rehashed(lines[4]!.replace('a reason', 'no reason'))),
      6,
      /does not follow/,
    ],
    ['a line removed', lines => lines.toSpliced(4, 1), 5, /number 6, and 5 comes here/],
    ['two lines swapped', lines => lines.with(4, lines[5]!).with(5, lines[4]!), 5, /number 6/],
    ['a line twice', lines => lines.toSpliced(4, 0, lines[4]!), 6, /number 5/],
    ['a foreign line', lines => lines.toSpliced(4, 0, '{"n":5}'), 5, /is no record/],
    ['the end cut off', lines => lines.slice(0, 8), 8, /the log ends at line 8, and the store knows of 10/],
    ['the first line removed', lines => lines.slice(1), 1, /number 2, and 1 comes here/],
  ]
  for (const [what, tamper, line, said] of ways) {
    const folder = aFolder(t)
    const { head } = await written(folder, 10)
    const path = join(folder, 'audit-000001.jsonl')
    put(path, tamper(linesOf(path)))
    t.match((await verifyAuditLog(folder, head)).fault, { line, what: said }, what)
  }
})

t.test('a chain that was written anew from some line on is found by the head that the store knows', async t => {
  const folder = aFolder(t)
  const { head } = await written(folder, 3)
  rmSync(join(folder, 'audit-000001.jsonl'))
  const log = await AuditLog.open({ folder, now, anchor: () => Promise.resolve() })
  for (let i = 0; i < 5; i++) await log.append({ forged: i })
  await log.close()
  t.match((await verifyAuditLog(folder, head)).fault, { what: /written anew/ })
  t.match(await verifyAuditLog(folder), { lines: 5, fault: undefined }, 'without that it looks whole')
})

t.test('a file that is gone is found', async t => {
  const folder = aFolder(t)
  const { head } = await written(folder, 12, 600)
  const [, second] = readdirSync(folder).sort()
  rmSync(join(folder, second!))
  t.match((await verifyAuditLog(folder, head)).fault, { what: `${second!} is missing` })
})

t.test('a torn last line is cut off at the next start; a damaged one is not written behind', async t => {
  const folder = aFolder(t)
  await written(folder, 3)
  const path = join(folder, 'audit-000001.jsonl')
  appendFileSync(path, '{"n":4,"at":"20')
  const { head } = await written(folder, 1)
  t.match(await verifyAuditLog(folder, head), { lines: 4, fault: undefined })
  appendFileSync(path, '{"n":5}\n')
  await t.rejects(written(folder, 1), /its last line is no record/)
})

t.test('what cannot be written is told to whoever asked, and leaves the chain whole', async t => {
  const folder = aFolder(t)
  const log = await AuditLog.open({ folder, now, anchor: () => Promise.reject(new Error('no store')) })
  await log.append({ first: true })
  await t.rejects(log.append({ big: 1n }), TypeError)
  await log.append({ third: true })
  await log.close()
  t.match(await verifyAuditLog(folder), { lines: 2, fault: undefined })
})

function rehashed(line: string): string {
  const body = `${/^(\{[^]*),"hash":/.exec(line)![1]!}}`
  return `${body.slice(0, -1)},"hash":"${createHash('sha256').update(body).digest('hex')}"}`
}
