import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { startAdmin, token } from './support/admin.js'

const program = fileURLToPath(new URL('../src/ocsctl.ts', import.meta.url))

interface Run {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs ocsctl as a person would, in an environment with these variables only. */
function run(environment: Record<string, string>, ...args: string[]): Promise<Run> {
  return new Promise(resolve => {
    const child = spawn(process.execPath, ['--import=tsx', program, ...args], {
      env: { PATH: process.env['PATH'], ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.on('close', status => resolve({ status, stdout, stderr }))
  })
}

const started = async (t: Test): Promise<(...args: string[]) => Promise<Run>> => {
  const { url } = await startAdmin(t)
  return (...args) => run({ OCS_URL: url, OCS_TOKEN: token }, ...args)
}

void t.test('an account from its creation to its release, in words', async t => {
  const ocsctl = await started(t)
  const steps: readonly [args: string, status: number, output: RegExp][] = [
    [
      'create account anna --balance 5.00 --msisdn +491701000001 --imsi 262011701000001 --offer bundle-5gb',
      0,
      /money +5\.00 EUR/,
    ],
    ['show account anna', 0, /subscribers +msisdn 491701000001, imsi 262011701000001\noffers +bundle-5gb/],
    ['show account anna', 0, /bucket +left +held +unit +until +offer\ndata-5gb +5000000000 +0 +octets +20/],
    ['show subscriber 491701000001', 0, /account +anna/],
    ['recharge anna 10.00 --reference r-1', 0, /^10\.00 EUR credited: account anna has 15\.00 EUR, debt 0\.00\n$/],
    ['recharge anna 10.00 --reference r-1', 0, /was credited before, nothing is added now/],
    ['recharge anna 11.00 --reference r-1', 1, /r-1 credited 10\.00 to account anna/],
    ['suspend anna', 0, /account anna is suspended/],
    ['resume anna', 0, /account anna is active/],
    ['sessions --account anna', 0, /no sessions/],
    ['release smf;1;2', 1, /no session with this Session-Id/],
    ['show account nobody', 1, /there is no account nobody/],
    ['show subscriber 491709999999', 1, /no subscriber has this identity/],
    ['peers', 0, /Origin-Host +Origin-Realm.*\nloopback +smf\.example\.org/],
    ['catalog show', 0, /catalog 3f2a, prices in EUR\noffer/],
    ['catalog reload', 0, /loaded: catalog 4b5c/],
    ['audit', 0, /2 accounts, 7 entries: every balance is what its entries say/],
    ['status', 0, /ready +yes/],
  ]
  for (const [args, status, output] of steps) {
    const result = await ocsctl(...args.split(' '))
    t.equal(result.status, status, args)
    t.match(status === 0 ? result.stdout : result.stderr, output, args)
    t.equal(status === 0 ? result.stderr : result.stdout, '', `${args}: nothing on the other stream`)
  }
})

void t.test('--json prints one JSON document for every answer, refusals included', async t => {
  const ocsctl = await started(t)
  await ocsctl('create', 'account', 'anna', '--balance', '5.00')
  const steps: readonly [args: string, status: number, answer: object][] = [
    ['show account anna --json', 0, { id: 'anna', money: '5.00' }],
    ['show account nobody --json', 1, { type: 'urn:ocsd:problem:not-found', status: 404 }],
    ['recharge anna 1.00 --reference a --json', 0, { money: '6.00', repeated: false }],
    ['peers --json', 0, { peers: [{ originHost: 'smf.example.org', since: '2026-01-15T00:00:00.000Z' }] }],
    ['status --json', 0, { ready: true, started: '2026-01-15T00:00:00.000Z' }],
  ]
  for (const [args, status, answer] of steps) {
    const result = await ocsctl(...args.split(' '))
    t.equal(result.status, status, args)
    t.match(JSON.parse(result.stdout), answer, args)
  }
})

void t.test('an import reports bad rows with their lines, and is refused when there are any', async t => {
  const ocsctl = await started(t)
  const folder = t.testdir({
    'good.csv': 'account,msisdn,imsi,offer,balance,currency\nanna,491701,,payg,5.00,EUR\nben,491702,,payg,1.00,EUR\n',
    'bad.csv': 'account,msisdn,imsi,offer,balance,currency\ncarl,x,,payg,5.00,EUR\ndora,491704,,payg,1.00,EUR\n',
    'more.jsonl': '{"account":"emil","msisdn":"491705","offer":"payg","balance":"2.00","currency":"EUR"}\n',
    'wrong.csv': 'account,msisdn\n',
  })
  const steps: readonly [file: string, status: number, output: RegExp][] = [
    ['good.csv', 0, /^2 rows: 2 created, 0 there already, 0 refused\n$/],
    ['good.csv', 0, /^2 rows: 0 created, 2 there already, 0 refused\n$/],
    ['bad.csv', 1, /^line 2: msisdn "x" is not .*\n2 rows: 1 created, 0 there already, 1 refused\n$/],
    ['more.jsonl', 0, /^1 rows: 1 created/],
    ['wrong.csv', 1, /stopped at line 1: missing column imsi/],
  ]
  for (const [file, status, output] of steps) {
    const result = await ocsctl('import', join(folder, file))
    t.equal(result.status, status, `${file} ${result.stderr}`)
    t.match(result.stdout, output, file)
  }
})

void t.test('2 for usage, 3 when there is no daemon', async t => {
  const closed = createServer()
  await new Promise<void>(resolve => closed.listen(0, '127.0.0.1', resolve))
  const { port } = closed.address() as AddressInfo
  await new Promise(resolve => closed.close(resolve))
  const nowhere = { OCS_URL: `http://127.0.0.1:${port}`, OCS_TOKEN: token }
  const folder = t.testdir({ config: { 'ocs.yaml': 'admin: { listen: "127.0.0.1:0" }\n' } })
  const steps: readonly [environment: Record<string, string>, args: string, status: number, output: RegExp][] = [
    [nowhere, 'frobnicate', 2, /unknown command/],
    [nowhere, 'show account', 2, /missing required argument/],
    [nowhere, 'recharge anna 5.00', 2, /--reference/],
    [nowhere, 'create account a --offer payg', 2, /--offer needs a subscriber/],
    [nowhere, 'import /nothing.csv', 2, /no file/],
    [{ OCS_URL: 'nonsense', OCS_TOKEN: token }, 'status', 2, /OCS_URL is not a URL/],
    [{ OCS_CONFIG: join(folder, 'missing.yaml') }, 'status', 2, /configuration/],
    [nowhere, 'status', 3, /does not answer at .*Is it running/],
    [{ OCS_CONFIG: join(folder, 'config/ocs.yaml') }, 'status', 3, /is not running: there is no .*ports\.json/],
  ]
  for (const [environment, args, status, output] of steps) {
    const result = await run(environment, ...args.split(' '))
    t.equal(result.status, status, `${args}: ${result.stderr}`)
    t.match(result.stderr, output, args)
    t.notMatch(result.stderr, /\n\s+at /, 'no stack')
  }
  const help = await run({}, '--help')
  t.equal(help.status, 0)
  t.match(help.stdout, /Exit status: 0 ok, 1 refused, 2 usage, 3/)
})

void t.test('it finds the daemon by its configuration: the port that it got, and its token', async t => {
  const { url } = await startAdmin(t)
  const folder = t.testdir({
    config: { 'ocs.yaml': 'admin: { listen: "127.0.0.1:0" }\n' },
    data: { 'ports.json': JSON.stringify({ admin: Number(new URL(url).port) }), 'admin.token': `${token}\n` },
  })
  const file = join(folder, 'config/ocs.yaml')
  t.equal((await run({ OCS_CONFIG: file }, 'status')).status, 0)
  t.equal((await run({}, 'status', '--config', file)).status, 0)
  const wrong = await run({ OCS_CONFIG: file, OCS_TOKEN: 'wrong' }, 'status')
  t.equal(wrong.status, 1)
  t.match(wrong.stderr, /Bearer/)
})
