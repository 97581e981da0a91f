/** What speaks against a new catalog, told by the running daemon before it is in use; and what it refuses to start or go on with. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawn } from 'node:child_process'
import t from 'tap'
import { startScenario } from '../support/scenario.js'

const good = `currency: EUR
services:
  data: { context: 32251@3gpp.org, unit: octets }
rates:
  data: { unit: octets, price: '0.01', per: 1MB, step: 100kB }
destinations:
  de: { prefixes: ['49'] }
destinationFiles: [more.csv]
offers:
  payg:
    rules:
      - { service: data, destination: [de, fr], use: [data] }
      - { service: data, use: [data] }
  pack:
    rank: 10
    grants: [{ bucket: pack, amount: 5MB, for: data, expires: never }]
    rules: [{ service: data, use: [pack] }]
tests:
  - name: a started step
    offer: payg
    use: { service: data, octets: 250kB }
    expect: { cost: '0.003' }
`
const csv = 'prefix,destination\n33,fr\n'
const folder = t.testdir({
  here: { 'tariff.yaml': good, 'more.csv': csv },
  there: { 'tariff.yaml': good, 'more.csv': csv },
})
const [here, there] = [join(folder, 'here'), join(folder, 'there')]
const file = join(here, 'tariff.yaml')
const scenario = await startScenario(t, 'flows', { catalog: here })
const { daemon } = scenario

const failing = good.replace("'0.003'", "'0.0025'")
const dear = good.replace("'0.01'", "'0.05'").replace("'0.003'", "'0.015'")
const without = good.slice(0, good.indexOf('  pack:')) + good.slice(good.indexOf('tests:'))

const { host, port } = daemon.addresses.admin
const url = `http://${host}:${port}`
const token = readFileSync(join(scenario.redis.folder, 'daemon-1', 'admin.token'), 'utf8').trim()
const program = fileURLToPath(new URL('../../src/ocsctl.ts', import.meta.url))

interface Run {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

function ocsctl(...args: string[]): Promise<Run> {
  return new Promise(resolve => {
    const child = spawn(process.execPath, ['--import=tsx', program, ...args], {
      env: { PATH: process.env['PATH'], OCS_URL: url, OCS_TOKEN: token },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const run = { stdout: '', stderr: '' }
    child.stdout.on('data', (data: Buffer) => (run.stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => (run.stderr += data.toString()))
    child.on('close', status => resolve({ status, ...run }))
  })
}

t.test('accounts have the offers', async t => {
  for (const offer of ['pack', 'payg', 'payg']) await scenario.subject(t, { offer })
})

t.test('a case that fails refuses a reload, and the old catalog stays; a start is refused, too', async t => {
  const { version } = await daemon.reload()
  writeFileSync(file, failing)
  t.match(await daemon.reload(), {
    status: 'refused',
    version,
    faults: [/tariff.yaml:19:5: test "a started step": cost is 0.003, not 0.0025; mend the tariff, or the case/],
  })
  const start = await scenario.another().catch((error: unknown) => error)
  t.match(start, { lines: [/test "a started step": cost is 0.003, not 0.0025/] })
  writeFileSync(file, good)
  t.match(await daemon.reload(), { status: 'unchanged', version, warnings: [] })
})

t.test(
  'a folder is checked against what runs: faults, failing cases, what accounts hold, prices that jump',
  async t => {
    const table: [what: string, text: string, args: string[], status: number, output: RegExp][] = [
      ['the same', good, [], 0, /^catalog \w+ has no faults; it is in use\n$/],
      [
        'a price',
        dear,
        [],
        0,
        /^warning: tariff.yaml:12: rate data \(of payg\): price: 0.01 per 1 MB → 0.05 per 1 MB, \+400 %; more than 20 %; .*\ncatalog \w+ has no faults; a reload would take it into use\n$/,
      ],
      ['a price that is meant', dear, ['--jump', '500%'], 0, /^catalog \w+ has no faults/],
      ['no share', dear, ['--jump', 'much'], 2, /^ocsctl: --jump: much is not a share like 20%/],
      [
        'a failing case',
        failing,
        [],
        1,
        /the new catalog has 1 fault; .* stays in use\nocsctl: \S+there\/tariff.yaml:19:5: test "a started step": cost is/,
      ],
      [
        'an offer and a bucket that accounts hold',
        without,
        [],
        1,
        /has 2 faults.*\n.*offers.pack: the catalog no longer has this offer, but 1 subscription has it.*\n.*bucket pack: .* accounts have 1 of them/,
      ],
      [
        'a mistake',
        good.replace('rules:', 'ruls:'),
        [],
        1,
        /there\/tariff.yaml:11:5: unknown key `ruls`.*did you mean `rules`/,
      ],
    ]
    for (const [what, text, args, status, output] of table) {
      writeFileSync(join(there, 'tariff.yaml'), text)
      const run = await ocsctl('catalog', 'check', there, ...args)
      t.equal(run.status, status, what)
      t.match(run.stdout + run.stderr, output, what)
    }
    t.match(await ocsctl('catalog', 'check', join(folder, 'gone')), { status: 2, stderr: /gone: ENOENT/ })
    const bare = await fetch(`${url}/v1/catalog/check`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
    })
    t.match(await bare.json(), { status: 'unchanged', warnings: [] }, 'without a body, too')
    t.match(await ocsctl('catalog', 'check'), { status: 0, stdout: /it is in use/ }, 'without a path: the daemon’s own')
  },
)

t.test('the difference says for how many subscriptions, and counts prefixes', async t => {
  writeFileSync(join(there, 'tariff.yaml'), dear)
  writeFileSync(join(there, 'more.csv'), 'prefix,destination\n33,fr\n331,fr\n332,de\n')
  const { status, stdout } = await ocsctl('catalog', 'diff', there)
  t.equal(status, 0)
  t.match(stdout.split('\n').slice(1), [
    '',
    'offer payg (2 subscriptions): changed',
    '  rate data (rules 1, 2): price: 0.01 per 1 MB → 0.05 per 1 MB, +400 %',
    '  destination de (rule 1): 1 prefix added (332)',
    '  destination fr (rule 1): 1 prefix added (331)',
    '',
  ])
  const json = JSON.parse((await ocsctl('catalog', 'diff', there, '--json')).stdout) as object
  t.match(json, {
    offers: [{ name: 'payg', is: 'changed', subscriptions: 2 }],
    things: [{ kind: 'rate', name: 'data' }, {}, {}],
  })
  t.match(await ocsctl('catalog', 'diff'), { status: 0, stdout: /they say the same/ })
  writeFileSync(join(there, 'tariff.yaml'), good.replace('payg:', 'pay g:'))
  t.match(await ocsctl('catalog', 'diff', there), { status: 1, stderr: /`pay g` cannot be a name/ })
})

t.test('usage is quoted and explained in words, or as JSON; wrong words are told', async t => {
  const table: [args: string, status: number, output: RegExp][] = [
    [
      'rate data 250kB --offer payg --balance 1.00',
      0,
      /^250 kB of data at .*: costs 0.003 EUR\npaid by {2}main: 0.003 EUR\nleft {5}main: 0.997 EUR\n\nwhy\n {2}line without rating group\n {4}rule payg#2 \(tariff.yaml:13\)/,
    ],
    ['rate data 250kB --offer payg --json', 0, /"cost":"0.003"|"cost": "0.003"/],
    ['rate data 250kB', 2, /name one of --subscriber, --account and --offer/],
    ['rate data 250kB --offer payg --group ten', 2, /--group: ten is not a number/],
    ['rate data 250kB --offer payg --attribute vip', 2, /vip is not key=value/],
    ['rate data much --offer payg', 1, /amount: `much` is not an amount of octets; write a size/],
    ['rate fax 1 --offer payg', 1, /the catalog has no service `fax`; known: data/],
    ['rate data 1MB --subscriber 491', 1, /there is no subscriber with msisdn 491/],
    ['explain', 2, /name --session/],
    ['explain --session gw;1;1 --number 0', 1, /the ledger has no entry of session gw;1;1, request 0/],
    ['explain --account 447700900002', 0, /account 447700900002, entry 1\ncreate/],
  ]
  for (const [args, status, output] of table) {
    const run = await ocsctl(...args.split(' '))
    t.equal(run.status, status, args)
    t.match(run.stdout + run.stderr, output, args)
  }
})

t.test('the schema of the catalog for editors is the one that is shipped', async t => {
  const { status, stdout } = await ocsctl('catalog', 'schema')
  t.equal(status, 0)
  t.same(JSON.parse(stdout), JSON.parse(readFileSync('config/catalog.schema.json', 'utf8')), 'npm run schema writes it')
})
