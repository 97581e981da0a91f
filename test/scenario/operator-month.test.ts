/**
 * A month of a new operator, step by step as README.md tells it ("A month of an operator in fifteen minutes"), with the processes that a
 * person runs: config/examples/operator, its webhook's receiver, ocsctl. At the end every sum of the reports must be that of the accounts.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { DailyReportView, LiabilityView } from '../../src/admin/report-routes.js'
import type { AccountView } from '../../src/admin/views.js'
import { parseMoney } from '../../src/units.js'
import { OcsdProcess, until, type HttpReply } from '../support/ocsd-process.js'
import type { Run } from '../support/ocsctl.js'

const example = fileURLToPath(new URL('../../config/examples/operator/', import.meta.url))
const program = fileURLToPath(new URL('../../src/ocsctl.ts', import.meta.url))
const root = fileURLToPath(new URL('../../', import.meta.url))

const folder = mkdtempSync(join(tmpdir(), 'ocsd-month-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
cpSync(example, folder, { recursive: true })
const path = (name: string): string => join(folder, name)
const file = path('ocs.yaml')

/** ocsctl with the example's configuration; `input` is its stdin. */
function run(args: readonly string[], input = ''): Promise<Run> {
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(process.execPath, ['--import=tsx', program, ...args], {
    ...{ cwd: root, env: { PATH, HOME, USER: 'ines', OCS_CONFIG: file }, stdio: 'pipe' },
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
  child.stdin.end(input)
  return new Promise(resolve => void child.on('close', status => resolve({ status, stdout, stderr })))
}

/** ocsctl; its answer as it is for programs; @throws Error with what it said when it is refused */
async function ocsctl<T = unknown>(words: string, input = ''): Promise<T> {
  const { status, stdout, stderr } = await run([...words.split(' '), '--json'], input)
  if (status !== 0) throw new Error(`ocsctl ${words}: ${status} ${stderr}${stdout}`)
  return JSON.parse(stdout) as T
}

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => String(from + i).padStart(5, '0'))
const msisdn = (number: number): string => `4917500${String(number).padStart(5, '0')}`

interface Told {
  readonly at: string
  readonly account: string
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
}

/** The example's receiver on a port of its own. */
async function startReceiverWith(secret: string): Promise<{ readonly port: number; events(): Told[] }> {
  writeFileSync(path('webhook.secret'), `${secret}\n`)
  const child = spawn(process.execPath, [path('receiver.mjs'), '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill())
  let text = ''
  child.stdout.on('data', (data: Buffer) => (text += data.toString()))
  await until('the receiver listens', () => text.includes('\n'))
  return {
    port: Number(/listening at (\d+)/.exec(text)![1]),
    events: () =>
      text
        .split('\n')
        .slice(1, -1)
        .map(line => {
          const [at, account, type, ...data] = line.split(' ') as [string, string, string, ...string[]]
          return { at, account, type, data: JSON.parse(data.join(' ')) as Told['data'] }
        }),
  }
}

const amountOf = (text: string): bigint => parseMoney(text)!
const moved = ({ movements }: LiabilityView): Record<string, string> =>
  Object.fromEntries(movements.map(({ account, amount }) => [account, amount]))

interface Page {
  readonly items: readonly AccountView[]
  readonly next: string | null
}

/** All accounts, or those that a filter leaves. */
async function pages(filter = ''): Promise<AccountView[]> {
  const accounts: AccountView[] = []
  let after: string | null = ''
  while (after !== null) {
    const cursor: string = after === '' ? '' : `&after=${encodeURIComponent(after)}`
    const { body } = await daemon.api('GET', `/v1/accounts?limit=1000${filter}${cursor}`)
    const page = body as unknown as Page
    accounts.push(...page.items)
    after = page.next
  }
  return accounts
}

/** Micros and octets of all accounts, as the list of them says. */
async function sumOfAccounts(): Promise<{
  readonly money: bigint
  readonly octets: bigint
  readonly accounts: number
}> {
  let [money, octets] = [0n, 0n]
  const accounts = await pages()
  for (const account of accounts) {
    money += amountOf(account.money) - amountOf(account.debt)
    for (const { unit, amount } of account.buckets)
      if (unit === 'money') money += amountOf(String(amount))
      else octets += BigInt(amount)
  }
  return { money, octets, accounts: accounts.length }
}

/** The report's sums are right in themselves, and what the accounts have. */
async function agrees(t: Test, { currencies, units }: DailyReportView): Promise<void> {
  const [euros, data] = [currencies[0]!, units[0]!]
  t.equal(amountOf(euros.opening) + amountOf(euros.in) - amountOf(euros.out), amountOf(euros.closing))
  t.equal(BigInt(data.opening) + BigInt(data.in) - BigInt(data.out), BigInt(data.closing))
  t.match(
    [euros, data],
    [
      { balanced: true, proven: euros.closing },
      { balanced: true, proven: data.closing },
    ],
  )
  t.same(
    await sumOfAccounts(),
    { money: amountOf(euros.closing), octets: BigInt(data.closing), accounts: subscribers },
    'it closes with what the accounts have',
  )
  t.match(await ocsctl('audit --full'), { accounts: subscribers, violations: [] })
  const log = await ocsctl<{ lines: number; fault?: object }>('auditlog verify')
  t.ok(log.lines > 10 && log.fault === undefined, 'nobody wrote in the audit log')
}

const subscribers = 10_000
const receiver = await startReceiverWith('a secret of the two')
for (const [from, to] of [
  ['127.0.0.1:3868', '127.0.0.1:0'],
  ['127.0.0.1:8080', '127.0.0.1:0'],
  ['127.0.0.1:9464', '127.0.0.1:0'],
  ['127.0.0.1:9911', `127.0.0.1:${receiver.port}`],
] as const)
  writeFileSync(file, readFileSync(file, 'utf8').replace(from, to))
const daemon = await OcsdProcess.start(t, { folder, file, catalog: path('catalog'), data: path('data') })
let codes: string[] = []
/** As `ocsctl voucher redeem` does, without its process: these are many. */
const redeem = (number: number, serial: number): Promise<HttpReply> => {
  const code = codes[serial - 1]
  return daemon.api('POST', '/v1/vouchers/redeem', {
    msisdn: msisdn(number),
    code,
    channel: 'outlet',
    outlet: 'shop-1',
  })
}

t.test('the example is checked without a warning, and starts', async t => {
  const check = OcsdProcess.spawn(t, ['--check', '--config', file])
  t.match(await check.end(), { code: 0 })
  t.match(
    check.stdout + check.stderr,
    /^ok: configuration, and catalog \w+ \(EUR\): 3 services, 3 rates, 2 offers, 2 tests\n$/,
  )
})

t.test('ten thousand subscribers come from a file', async t => {
  t.match(await ocsctl('clock to 2090-03-01T10:00'), { kind: 'virtual' })
  const rows = numbers(1, subscribers).map(n => `4917500${n},4917500${n},2620175000${n},payg,2.00,EUR`)
  writeFileSync(path('subscribers.csv'), ['account,msisdn,imsi,offer,balance,currency', ...rows, ''].join('\n'))
  t.match(await ocsctl(`import ${path('subscribers.csv')}`), { rows: subscribers, created: subscribers, refused: 0 })
})

t.test('vouchers are made, printed, sold, and good for one', async t => {
  await ocsctl('voucher batch create --name spring --count 100 --amount 10.00 --expires 2091-12-31')
  await ocsctl(`voucher batch export 1 --to ${path('codes.csv')} --yes`)
  codes = readFileSync(path('codes.csv'), 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map(line => line.split(',')[1]!)
  t.equal(new Set(codes).size, 100)
  t.match(await redeem(5, 1), { body: { type: 'urn:ocsd:problem:voucher-not-active' } })
  await ocsctl('voucher batch activate 1 --yes')
  const brought = { amount: '10.00', money: '12.00' }
  t.match(await ocsctl(`voucher redeem ${msisdn(5)} - --channel outlet --outlet shop-1`, codes[4]), brought)
  for (const number of [6, 7, 8, 9]) t.match(await redeem(number, number), { status: 201, body: brought })
  t.match(await redeem(10, 9), { body: { type: 'urn:ocsd:problem:voucher-used' } })
})

t.test('money comes by the channels that the catalog has, with its bonus', async t => {
  t.match(await ocsctl(`recharge ${msisdn(2)} 20.00 --channel portal --reference web-1 --method card`), {
    money: '22.00',
    bonus: { rule: 'welcome' },
  })
  const outlet = `recharge ${msisdn(3)} 10.00 --channel outlet --reference till-1 --method cash --outlet shop-1`
  t.match(await ocsctl(outlet), { money: '12.00' })
  t.match(await ocsctl(outlet), { money: '12.00' }, 'a receipt is one recharge')
  await t.rejects(ocsctl(`recharge ${msisdn(3)} 10.00 --channel kiosk --reference k-1`), /no channel kiosk/)
  const rows = numbers(101, 200).map(n => `4917500${n},5.00,EUR,partner-${n}`)
  writeFileSync(path('partner.csv'), ['account,amount,currency,reference', ...rows, ''].join('\n'))
  for (const [credited, repeated] of [
    [100, 0],
    [0, 100],
  ])
    // prettier-ignore
    t.match(await ocsctl(`recharge-file ${path('partner.csv')}`), { rows: 100, credited, repeated, refused: 0 })
})

t.test('some buy the bundle, and traffic goes through', async t => {
  const buy = (number: number): Promise<HttpReply> =>
    daemon.api('POST', `/v1/accounts/${msisdn(number)}/subscriptions`, { offer: 'surf', reference: `order-${number}` })
  await ocsctl(`subscribe ${msisdn(2)} surf`)
  for (const number of [5, 6, 7]) t.match(await buy(number), { status: 201 })
  t.match(await buy(11), { status: 422, body: { type: 'urn:ocsd:problem:insufficient-funds', free: '2.00' } })
  const { status, stdout } = await run(['gateway', 'play', path('traffic.yaml'), '--brief'])
  t.equal(status, 0, stdout)
})

/** Once each, whatever came after them. */
const thresholds = [
  [msisdn(1), 'balance.threshold', { level: '1.00' }],
  [msisdn(2), 'bucket.threshold', { name: 'data-5gb', level: 1_000_000_000 }],
  [msisdn(4), 'balance.depleted', {}],
  [msisdn(4), 'balance.threshold', { level: '1.00' }],
]
const told = (...types: readonly string[]): unknown[] =>
  receiver
    .events()
    .filter(({ type }) => types.includes(type))
    .map(({ account, type, data }) => [account, type, data] as const)
    .sort(([a, b], [c, d]) => (a + b < c + d ? -1 : 1))
const crossings = (): unknown[] => told('balance.threshold', 'balance.depleted', 'bucket.threshold', 'bucket.depleted')

t.test('the webhook was told of what ran low, signed', async t => {
  await until('all thresholds came', () => crossings().length >= thresholds.length)
  t.match(crossings(), thresholds)
  t.equal(crossings().length, thresholds.length)
})

t.test('the report of the day is what was done, and agrees with the accounts', async t => {
  t.match(await ocsctl('clock advance 1d'), { due: 0 })
  const report = await ocsctl<DailyReportView>('report daily')
  t.equal(report.date, '2090-03-01')
  t.match(report.currencies, [{ opening: '0.00', in: '20582.00' }])
  t.same(moved(report.currencies[0]!), {
    ...{ 'source:import': '20000.00', 'source:voucher': '50.00', 'source:portal': '20.00', 'source:outlet': '10.00' },
    ...{ 'source:bulk': '500.00', offer: '2.00', fee: '-40.00' },
    ...{ 'usage:data': '-3.10', 'usage:voice': '-0.225', 'usage:sms': '-0.07' },
  })
  t.same(moved(report.units[0]!), { offer: String(20_000_000_000), 'usage:data': String(-4_500_000_000) })
  const recharges = report.recharges.map(row => [row.channel, row.method, row.outlet, row.count, row.amount])
  t.same(recharges, [
    ['bulk', '', '', 100, '500.00'],
    ['outlet', 'cash', 'shop-1', 1, '10.00'],
    ['portal', 'card', '', 1, '20.00'],
    ['voucher', 'outlet', 'shop-1', 5, '50.00'],
  ])
  await agrees(t, report)
})

t.test('a month later bundles are renewed, or not for want of money', async t => {
  for (const number of [5, 6]) t.match(await redeem(number, number + 10), { status: 201 })
  t.match(await ocsctl('clock advance 31d'), { due: 0 })
  await until('renewals are told', () => told('subscription.renewed', 'subscription.renewal-failed').length >= 4)
  t.match(told('subscription.renewed', 'subscription.renewal-failed'), [
    [msisdn(2), 'subscription.renewed', { fee: '10.00' }],
    [msisdn(5), 'subscription.renewed', { fee: '10.00' }],
    [msisdn(6), 'subscription.renewed', { fee: '10.00' }],
    [msisdn(7), 'subscription.renewal-failed', { needs: '10.00', free: '2.00' }],
  ])
  const grace = await pages('&status=grace')
  t.equal(grace.length, 102, 'the partner’s hundred, and the two who only used, have run out of validity')
})

t.test('yesterday’s report has its fees and expiries, and again', async t => {
  t.match(await ocsctl('clock advance 1d'), { due: 0 })
  const report = await ocsctl<DailyReportView>('report daily')
  t.equal(report.date, '2090-04-02')
  t.same(moved(report.currencies[0]!), { fee: '-30.00', expiry: '-2.00' }, 'three renewals, and the bonus')
  t.same(moved(report.units[0]!), { offer: String(15_000_000_000), expiry: String(-15_500_000_000) })
  t.same(report.recharges, [])
  const [first, second] = [await ocsctl<DailyReportView>('report daily 2090-03-01'), await ocsctl<DailyReportView>('report daily 2090-03-02')] // prettier-ignore
  t.equal(second.currencies[0]!.opening, first.currencies[0]!.closing)
  t.equal(report.currencies[0]!.opening, second.currencies[0]!.closing, 'nothing was moved between')
  await agrees(t, report)
  t.same(await ocsctl('report daily'), report, 'asked again it is the same')
  t.equal(crossings().length, thresholds.length, 'no threshold was told twice')
})

t.test('it ends when it is told to', async t => {
  t.match(await daemon.kill('SIGTERM'), { code: 0 })
})
