import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { accountKey, partitionOf } from '../src/balance/keys.js'
import type { NewBucket } from '../src/balance/types.js'
import { units } from '../src/units.js'
import { startAdmin, token } from './support/admin.js'
import { partitions } from './support/store.js'

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
    [
      'show account anna',
      0,
      /offers +bundle-5gb \(1\)\n\nsubscriber +identities +attributes\n1 +msisdn 491701000001, imsi 26/,
    ],
    [
      'show account anna',
      0,
      /bucket +left +held +from +until +priority +offer\ndata-5gb +5 GB +0 B +20\S+ +10 +bundle-5gb/,
    ],
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
    ['peers', 0, /row +Origin-Host +state.*\nloopback +smf\.example\.org +R-Open/],
    ['peers show SMF.example.org', 0, /asked us +10, answered 5 x 2xxx, 2 x 4xxx, 1 x 5xxx/],
    ['peers show other.example.org', 1, /no row of the peer table and no connection/],
    ['peers close smf.example.org', 2, /2 requests in work.*--yes/s],
    ['catalog show', 0, /catalog 3f2a, prices in EUR, by exchange rate in GBP, JPY\noffer/],
    ['catalog reload', 0, /loaded: catalog 4b5c/],
    [
      'catalog check',
      0,
      /warning: offers\.yaml:1:1: dear\ncatalog 4b5c has no faults; a reload would take it into use/,
    ],
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

void t.test('what one account has differently, in words', async t => {
  const { url, store } = await startAdmin(t)
  const environment = { OCS_URL: url, OCS_TOKEN: token, USER: 'ines' }
  await run(
    environment,
    'create',
    'account',
    'anna',
    '--msisdn',
    '491701000001',
    '--attribute',
    'segment=vip',
    'city=Ulm',
  )
  const account = accountKey(partitionOf('anna', partitions), 'anna')
  await store.store.redis.hset(account, 'counter:month-data.0', 'value 995000000 held 10000000 period 1796079600000')
  await store.store.redis.hset(account, 'counter:roaming.1', 'value 1250000 held 0 period 1796079600000')
  const steps: readonly [args: readonly string[], status: number, output: RegExp][] = [
    [['subscribe', 'anna', 'bundle-5gb'], 0, /^offer bundle-5gb is subscription 1\n\n.*data-5gb +5 GB/s],
    [['subscribe', 'anna', 'payg', '--reference', 'r', '--subscriber', '1'], 0, /offers +bundle-5gb, payg \(1\)/],
    [['set', 'anna', 'city=', 'tier=gold'], 0, /attributes +segment=vip, tier=gold\n/],
    [['set', 'anna', 'age=17', '--subscriber', '1'], 0, /1 +msisdn 491701000001 +age=17\n/],
    [['set', 'anna', 'tier'], 2, /tier is not key=value/],
    [
      ['override', 'add', 'anna', 'price', 'data-payg', '0.008', '--reason', 'case 4711', '--until', '2099-01-01'],
      0,
      /\n\w+ +price +data-payg +0\.008 +all +at once +2098-12-31T23:00:00\.000Z +yes +case 4711 +ocsctl:ines\n/,
    ],
    [['override', 'add', 'anna', 'price', 'data-payg', '0.008'], 2, /--reason/],
    [
      ['override', 'add', 'anna', 'limit', 'roaming', '2.00', '--subscriber', '1', '--reason', 'care'],
      0,
      /limit +roaming +2\.00 +1/,
    ],
    [['opt-in', 'anna', 'spend'], 0, /spend +all +no end +yes/],
    [['override', 'list', 'anna'], 0, /price +data-payg.*\n.*limit +roaming/],
    [
      ['show', 'account', 'anna'],
      0,
      /counter +subscriber +value +held +limit +since\nmonth-data +all +995 MB +10 MB +none +2026-11-30T23.*\nroaming +1 +1\.25 EUR +0\.00 EUR +2\.00 EUR/,
    ],
    [['opt-in', 'anna', 'roaming'], 0, /roaming +1 +no end/],
    [['show', 'account', 'anna'], 0, /roaming +1 +1\.25 EUR +0\.00 EUR +none/],
    [['opt-in', 'anna', 'spend', '--off'], 0, /^(?!.*spend)/s],
  ]
  for (const [args, status, output] of steps) {
    const result = await run(environment, ...args)
    t.equal(result.status, status, `${args.join(' ')} ${result.stderr}`)
    t.match(status === 0 ? result.stdout : result.stderr, output, args.join(' '))
  }
  const { stdout } = await run(environment, 'override', 'list', 'anna', '--json')
  const { overrides } = JSON.parse(stdout) as { overrides: { id: string }[] }
  const removed = await run(environment, 'override', 'remove', 'anna', overrides[0]!.id, '--reason', 'over')
  t.match(removed.stdout, /is removed/)
  t.equal((await store.accounts.show('anna'))!.extras.overrides.length, 1)
})

void t.test('buckets of every kind, in words', async t => {
  const day = 86_400_000
  const common = { unit: 'octets', amount: units(3_000_000_000n), priority: 5, until: undefined, origin: 'o' } as const
  const rollover = { min: units(100_000_000n), max: units(2_000_000_000n), lifeMs: 30 * day, priority: 5 }
  const buckets: readonly NewBucket[] = [
    { ...common, name: 'first-use', from: Date.UTC(2098, 0, 1), life: 7 * day, paid: true, blocker: true },
    { ...common, name: 'rolling', warn: [units(600_000_000n)], rollover },
    { ...common, name: 'bonus', unit: 'money', amount: units(2_500_000n) },
    { ...common, name: 'points', unit: 'units', amount: units(1000n) },
  ]
  const { url } = await startAdmin(t, { newBuckets: () => buckets })
  const environment = { OCS_URL: url, OCS_TOKEN: token }
  const { stdout } = await run(
    environment,
    ...['create', 'account', 'anna', '--msisdn', '491701000001', '--offer', 'payg'],
  )
  t.match(stdout, /first-use +3 GB +0 B +2098-01-01T00:00:00\.000Z +7 d from first use +5 +payg +paid; blocker\n/)
  t.match(stdout, /rolling +3 GB +0 B +no end +5 +payg +warns at 600 MB; rolls over 100 MB to 2 GB for 30 d\n/)
  t.match(stdout, /bonus +2\.50 EUR +0\.00 EUR +no end/)
  t.match(stdout, /points +1000 units +0 units +no end/)
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
  t.match(wrong.stderr, /the token is not the one of this daemon/)
})
