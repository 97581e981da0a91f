/**
 * Vouchers as people meet them: a batch is made, printed, activated and sold; a thousand customers race for one code over two daemons;
 * somebody guesses. In the end no file, no log, no metric and no answer but the export has a code in it.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Journal } from '../../src/balance/journal.js'
import { Snapshot } from '../../src/balance/snapshot.js'
import { systemClock } from '../../src/clock.js'
import { audit } from '../../src/ledger/audit.js'
import { codeOf } from '../../src/recharge/voucher-codes.js'
import { OcsdProcess, processFolder, startTcpRedis, until } from '../support/ocsd-process.js'
import { openStore } from '../support/store.js'

const racers = 1000
const { redis, url } = await startTcpRedis(t)
const folderOf = (name: string) =>
  processFolder(t, {
    diameter: { identity: `${name}.localdomain` },
    store: { kind: 'url', url, durability: 'memory', partitions: 16 },
    vouchers: { lockout: { tries: 3, principalTries: 100_000 } },
    admin: { ratePerSecond: 0 },
    log: { level: 'debug' },
  })
const folders = [folderOf('ocs1'), folderOf('ocs2')] as const
const first = await OcsdProcess.start(t, folders[0])
// All daemons of a store have the same key.
mkdirSync(folders[1].data, { recursive: true })
cpSync(join(folders[0].data, 'voucher.key'), join(folders[1].data, 'voucher.key'))
const second = await OcsdProcess.start(t, folders[1])

interface Reply {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly headers: Headers
  readonly text: string
}

/** Every text that an answer had, but the exports'. */
const said: string[] = []

async function ask(
  daemon: OcsdProcess,
  method: string,
  path: string,
  body?: object,
  key = randomUUID(),
): Promise<Reply> {
  const data = daemon === first ? folders[0].data : folders[1].data
  const response = await fetch(daemon.adminUrl + path, {
    method,
    headers: {
      authorization: `Bearer ${readFileSync(join(data, 'admin.token'), 'utf8').trim()}`,
      ...(method === 'POST' && { 'idempotency-key': key }),
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const csv = response.headers.get('content-type')?.startsWith('text/csv') === true
  if (!csv) said.push(text)
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: csv ? {} : (JSON.parse(text) as Reply['body']),
  }
}

let batch = ''
const codes: string[] = []

t.test('a batch is made, printed once by one, and activated by another', async t => {
  t.equal(statSync(join(folders[0].data, 'voucher.key')).mode & 0o777, 0o600)
  const made = await ask(first, 'POST', '/v1/voucher-batches', {
    ...{ name: 'christmas', count: 20, amount: '5.00', expires: '2099-12-31', actor: 'maker' },
  })
  t.equal(made.status, 201, made.text)
  batch = String(made.body['batch'])
  const early = await ask(first, 'POST', `/v1/voucher-batches/${batch}/activate`, { actor: 'checker' })
  t.match(early, { status: 409, body: { type: 'urn:ocsd:problem:not-exported' } })
  const exported = await ask(second, 'POST', `/v1/voucher-batches/${batch}/export`, { actor: 'printer' })
  t.equal(exported.status, 200)
  const lines = exported.text.trim().split('\n')
  t.equal(lines[0], 'voucher,code,amount,currency,offer,expires')
  codes.push(...lines.slice(1).map(line => line.split(',')[1]!))
  t.equal(codes.length, 20)
  t.match(await ask(first, 'POST', `/v1/voucher-batches/${batch}/export`, {}), {
    ...{ status: 409, body: { type: 'urn:ocsd:problem:already-exported' } },
  })
  t.match(await ask(second, 'POST', `/v1/voucher-batches/${batch}/activate`, { actor: 'checker' }), {
    ...{ status: 200, body: { state: 'active' } },
  })

  const csv = ['account,msisdn,imsi,offer,balance,currency']
  for (let i = 0; i <= racers; i++) csv.push(`v${i},4917${String(1_000_000 + i)},,payg,0.00,EUR`)
  const imported = await first.api('POST', '/v1/import', csv.join('\n'))
  t.equal(imported.body['created'], racers + 1, JSON.stringify(imported.body).slice(0, 300))
})

const money = async (account: string): Promise<unknown> =>
  (await ask(first, 'GET', `/v1/accounts/${account}`)).body['money']

t.test('a thousand redeem one code over two daemons: one account has it', async t => {
  // An API takes so many connections at a time; each of these asks for one customer after the other.
  const replies: Reply[] = []
  let next = 0
  await Promise.all(
    Array.from({ length: 60 }, async () => {
      while (next < racers) {
        const i = next++
        const daemon = i % 2 ? first : second
        replies[i] = await ask(daemon, 'POST', `/v1/accounts/v${i}/vouchers`, { code: codes[0], channel: 'app' })
      }
    }),
  )
  const winners = replies.flatMap(({ status }, i) => (status === 201 ? [`v${i}`] : []))
  t.equal(winners.length, 1)
  const others = replies.filter(({ status }) => status !== 201)
  t.same(new Set(others.map(({ body }) => body['type'])), new Set(['urn:ocsd:problem:voucher-used']))
  t.equal(await money(winners[0]!), '5.00')
  const again = await ask(second, 'POST', `/v1/accounts/${winners[0]!}/vouchers`, { code: codes[0], channel: 'app' })
  t.match(again, { status: 200, body: { repeated: true, money: '5.00', voucher: `${batch}-1` } })
  const report = await ask(first, 'GET', `/v1/voucher-batches/${batch}`)
  t.match(report.body, { used: 1, states: { used: { count: 1, sum: '5.00' }, active: { count: 19, sum: '95.00' } } })
  t.match(await ask(first, 'GET', `/v1/vouchers/${batch}-1`), { body: { state: 'used', account: winners[0] } })
})

t.test('the same Idempotency-Key gets the same answer, by number too', async t => {
  const key = randomUUID()
  const body = { msisdn: '49171000007', code: codes[1], outlet: 'kiosk-7' }
  const one = await ask(first, 'POST', '/v1/vouchers/redeem', body, key)
  t.match(one, { status: 201, body: { account: 'v7', repeated: false } })
  const two = await ask(second, 'POST', '/v1/vouchers/redeem', body, key)
  t.equal(two.status, 201)
  t.same(two.body, one.body)
  t.equal(two.headers.get('idempotent-replayed'), 'true')
  const other = await ask(first, 'POST', '/v1/vouchers/redeem', { ...body, code: codes[2] }, key)
  t.match(other, { status: 409, body: { type: 'urn:ocsd:problem:idempotency-key-reused' } })
})

t.test('what is wrong with a request is said, and nothing of the code', async t => {
  const mistyped = codes[3]!.slice(0, -1) + String((Number(codes[3]!.at(-1)) + 1) % 10)
  const cases: readonly (readonly [object, number, string])[] = [
    [{ account: 'v8', code: mistyped }, 422, 'voucher-malformed'],
    [{ account: 'v8', code: codes[3]!.repeat(9) }, 400, 'invalid-request'],
    [{ account: 'v8', code: Number(codes[3]) }, 400, 'invalid-request'],
    [{ account: 'nobody', code: codes[3] }, 404, 'not-found'],
    [{ msisdn: '4999999', code: codes[3] }, 404, 'not-found'],
    [{ code: codes[3] }, 400, 'invalid-request'],
    [{ account: 'v8', msisdn: '49171000008', code: codes[3] }, 400, 'invalid-request'],
    [{ account: 'v8', code: codes[3], pin: 1 }, 400, 'invalid-request'],
  ]
  for (const [body, status, type] of cases)
    t.match(await ask(first, 'POST', '/v1/vouchers/redeem', body), {
      status,
      body: { type: `urn:ocsd:problem:${type}` },
    })
  const batches: readonly (readonly [object, number, string])[] = [
    [{ name: 'x', count: 1 }, 400, 'invalid-request'],
    [{ name: 'x', count: 1_000_001, amount: '1.00' }, 400, 'invalid-request'],
    [{ name: 'x', count: 1, amount: '0.00' }, 400, 'invalid-request'],
    [{ name: 'x', count: 1, amount: '1.00', currency: 'XXX' }, 409, 'currency-differs'],
    [{ name: 'x', count: 1, offer: 'no-such' }, 422, 'unknown-offer'],
    [{ name: 'x', count: 1, amount: '1.00', expires: '2001-01-01' }, 400, 'invalid-request'],
    [{ name: 'x', count: 1, amount: '1.00', expires: 'soon' }, 400, 'invalid-request'],
    [{ name: 'x', count: 1, amount: '1.00', digits: 9 }, 400, 'invalid-request'],
  ]
  for (const [body, status, type] of batches)
    t.match(await ask(first, 'POST', '/v1/voucher-batches', body), {
      status,
      body: { type: `urn:ocsd:problem:${type}` },
    })
  t.match(await ask(first, 'GET', '/v1/voucher-batches/999'), { status: 404 })
  t.match(await ask(first, 'GET', `/v1/vouchers/${batch}-21`), { status: 404 })
  const outside = { from: 5, to: 99, reason: 'stolen' }
  t.match(await ask(first, 'POST', `/v1/voucher-batches/${batch}/block`, outside), { status: 400 })
})

t.test('who guesses waits, at whichever daemon, until care helps', async t => {
  const guess = (n: number): string => codeOf(Buffer.from('somebody guesses'), n, 0, 14)
  for (let n = 0; n < 3; n++) {
    const reply = await ask(n % 2 ? first : second, 'POST', `/v1/accounts/v${racers}/vouchers`, { code: guess(n) })
    t.match(reply, { status: 404, body: { type: 'urn:ocsd:problem:voucher-unknown' } })
  }
  const locked = await ask(first, 'POST', `/v1/accounts/v${racers}/vouchers`, { code: codes[4] })
  t.match(locked, { status: 429, body: { type: 'urn:ocsd:problem:voucher-locked' } })
  t.ok(Number(locked.headers.get('retry-after')) > 3000)
  t.match(await ask(second, 'DELETE', `/v1/accounts/v${racers}/voucher-lock`), { status: 200 })
  t.match(await ask(first, 'POST', `/v1/accounts/v${racers}/vouchers`, { code: codes[4] }), { status: 201 })
  t.equal((await first.metric('ocs_voucher_lockouts_total')) + (await second.metric('ocs_voucher_lockouts_total')), 1)
})

t.test('the command line does all of it, and reads a code from standard input', async t => {
  const program = fileURLToPath(new URL('../../src/ocsctl.ts', import.meta.url))
  const run = (
    args: readonly string[],
    input = '',
  ): Promise<{ status: number | null; stdout: string; stderr: string }> =>
    new Promise(resolve => {
      const child = spawn(process.execPath, ['--import=tsx', program, 'voucher', ...args], {
        env: { PATH: process.env['PATH'], USER: 'ines', OCS_CONFIG: folders[0].file },
      })
      let [stdout, stderr] = ['', '']
      child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
      child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
      child.on('close', status => resolve({ status, stdout, stderr }))
      child.stdin.end(input)
    })
  const json = async (args: readonly string[], input?: string): Promise<Record<string, unknown>> => {
    const { status, stdout, stderr } = await run([...args, '--json'], input)
    t.equal(status, 0, `${args.join(' ')}: ${stderr}`)
    return JSON.parse(stdout) as Record<string, unknown>
  }
  const { batch: id } = await json(['batch', 'create', '--name', 'gifts', '--count', '5', '--amount', '2.00'])
  const file = join(folders[0].folder, 'codes.csv')
  const unasked = await run(['batch', 'export', String(id), '--to', file])
  t.match(unasked, { status: 2, stderr: /--yes/ }, 'nobody to ask')
  t.match(await json(['batch', 'export', String(id), '--to', file, '--yes']), { count: 5 })
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.equal((await run(['batch', 'export', String(id), '--to', `${file}2`, '--yes'])).status, 1)
  const own = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map(line => line.split(',')[1]!)
  codes.push(...own)
  await json(['batch', 'activate', String(id), '--yes'])
  t.match(await json(['redeem', 'account:v10', '-'], `${own[0]!}\n`), { amount: '2.00', repeated: false })
  await json(['batch', 'block', String(id), '--serials', '2-3', '--reason', 'lost'])
  t.equal((await run(['redeem', 'account:v10', '-'], own[1])).status, 1)
  t.match((await run(['batch', 'show', String(id)])).stdout, /blocked +2 +4\.00/)
})

t.test('no code is anywhere but in the export', async t => {
  const store = await openStore(t, redis)
  const audited = await audit({
    directories: folders.map(({ data }) => join(data, 'ledger')),
    journal: new Journal(store, 16, systemClock),
    snapshot: new Snapshot(store, 16, systemClock),
  })
  t.same(audited.problems, [])
  t.ok(audited.entries > racers)
  // What is being written is on the disk when the daemons have ended.
  const metrics = [await first.metrics(), await second.metrics()]
  await Promise.all([first.kill('SIGTERM'), second.kill('SIGTERM')])
  await until('they have ended', () => !first.running && !second.running)
  await redis.kill('SIGTERM')
  const texts: [string, string][] = [
    ...[first, second].map(({ stdout, stderr }): [string, string] => ['log', stdout + stderr]),
    ['metrics', metrics.join('')],
    ['answers', said.join('\n')],
  ]
  for (const { folder, data } of folders) {
    for (const file of readdirSync(data, { recursive: true, encoding: 'utf8' }))
      if (statSync(join(data, file)).isFile()) texts.push([file, readFileSync(join(data, file), 'latin1')])
    t.ok(folder)
  }
  t.ok(texts.length > 6)
  for (const [name, text] of texts) {
    const found = codes.filter(code => text.includes(code))
    t.same(found, [], name)
  }
})
