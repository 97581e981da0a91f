/** What moves money over HTTP, and by ocsctl: what comes out, and each refusal with its type. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { startAdmin, token, type TestAdmin } from '../support/admin.js'
import { aFolder, anAudit } from '../support/ledger.js'
import { moneyCatalog } from '../support/money.js'

const sections = `
recharges:
  channels: { portal: { min: '5.00', perDay: { count: 2 } }, bulk: {}, ocsctl: {}, shop: { max: '20.00' } }
  bonuses: [{ name: ten, channel: ocsctl, percent: 10% }, { name: gift, channel: portal, grant: { bucket: gift, amount: 1GB, for: data, expires: 7d } }]
transfers: { max: '50.00', fee: '0.10' }
`

async function start(t: Test): Promise<TestAdmin> {
  const catalog = moneyCatalog(sections)
  const admin = await startAdmin(t, { tariff: () => catalog })
  for (const [id, msisdn] of [
    ['anna', '491701000001'],
    ['ben', '491701000002'],
  ] as const)
    // prettier-ignore
    await admin.request('POST', '/v1/accounts', { id, currency: 'EUR', balance: '10.00', subscriber: { msisdn } })
  await admin.request('POST', '/v1/accounts', { id: 'gone', currency: 'EUR' })
  await admin.request('PATCH', '/v1/accounts/gone', { status: 'terminated' })
  await admin.request('POST', '/v1/accounts', { id: 'pound', currency: 'GBP', balance: '5.00' })
  return admin
}

const recharge = { amount: '5.00', currency: 'EUR', channel: 'portal', reference: 'r1' }
const given = { amount: '+1.00', reason: 'goodwill' }
const sent = { from: 'anna', to: 'ben', amount: '1.00' }

t.test('each refusal has its status, its type and a sentence, and nothing moves', async t => {
  const admin = await start(t)
  await admin.request('POST', '/v1/accounts/anna/recharges', recharge)
  await admin.request('POST', '/v1/accounts/anna/recharges', { ...recharge, reference: 'r2' })
  const audit = await anAudit(admin.store.store)
  const rows: readonly (readonly [path: string, body: object, status: number, type: string, detail: RegExp])[] = [
    ['accounts/anna/recharges', { ...recharge, amount: 5 }, 400, 'invalid-request', /amount/],
    ['accounts/anna/recharges', { ...recharge, amount: '0.00' }, 400, 'invalid-request', /more than 0/],
    ['accounts/anna/recharges', { ...recharge, colour: 'red' }, 400, 'invalid-request', /colour/],
    ['accounts/anna/recharges', { ...recharge, outlet: 'two words' }, 400, 'invalid-request', /outlet/],
    ['accounts/nobody/recharges', { ...recharge, reference: 'r3' }, 404, 'not-found', /nobody/],
    ['accounts/gone/recharges', { ...recharge, reference: 'r3' }, 409, 'account-terminated', /gone/],
    ['accounts/anna/recharges', { ...recharge, currency: 'GBP', reference: 'r3' }, 409, 'currency-differs', /anna/],
    ['accounts/ben/recharges', recharge, 409, 'reference-taken', /portal r1 credited 5\.00 to account anna/],
    ['accounts/anna/recharges', { ...recharge, reference: 'r3' }, 422, 'limit-reached', /2 a day over channel portal/],
    ['accounts/ben/recharges', { ...recharge, amount: '4.99', reference: 'r4' }, 422, 'recharge-refused', /5\.00 EUR at least/], // prettier-ignore
    ['accounts/ben/recharges', { ...recharge, channel: 'web', reference: 'r4' }, 422, 'recharge-refused', /no channel web; it has portal/], // prettier-ignore
    [
      'accounts/anna/adjustments',
      { amount: '-20.01', reason: 'too much' },
      422,
      'insufficient-funds',
      /only 20\.00 EUR/,
    ],
    ['accounts/anna/adjustments', { amount: '1.00', reason: 'no sign' }, 400, 'invalid-request', /amount/],
    ['accounts/anna/adjustments', { amount: '+1GB', reason: 'no money' }, 400, 'invalid-request', /no amount of money; write it like \+5\.00/], // prettier-ignore
    ['accounts/anna/adjustments', { amount: '+1.00' }, 400, 'invalid-request', /reason/],
    ['accounts/anna/adjustments', { ...given, currency: 'USD' }, 409, 'currency-differs', /has EUR, not USD/],
    ['accounts/anna/adjustments', { ...given, bucket: 'none' }, 404, 'not-found', /no bucket none: it has gift/],
    ['accounts/anna/adjustments', { ...given, bucket: 'none', until: 'never' }, 422, 'unknown-target', /it has gift/],
    ['accounts/anna/adjustments', { ...given, amount: '-1GB', bucket: 'gift', until: 'never' }, 400, 'invalid-request', /until/], // prettier-ignore
    ['accounts/anna/adjustments', { ...given, amount: '+1GB', bucket: 'gift', until: '2020-01-01' }, 400, 'invalid-request', /over already/], // prettier-ignore
    ['accounts/anna/adjustments', { amount: '-3GB', bucket: 'gift', reason: 'too much' }, 422, 'insufficient-funds', /only 2 GB/], // prettier-ignore
    ['accounts/gone/adjustments', given, 409, 'account-terminated', /gone/],
    ['accounts/anna/writeoffs', { amount: '1.00', reason: 'not owed' }, 422, 'nothing-owed', /owes 0\.00 EUR/],
    ['transfers', { ...sent, to: 'nobody' }, 404, 'not-found', /nobody/],
    ['transfers', { ...sent, to: 'anna' }, 400, 'invalid-request', /same account/],
    ['transfers', { ...sent, to: 'pound' }, 409, 'currency-differs', /anna has EUR, account pound has GBP/],
    ['transfers', { ...sent, to: 'gone' }, 409, 'account-terminated', /gone/],
    ['transfers', { ...sent, amount: '50.01' }, 422, 'transfer-refused', /50\.00 EUR at most/],
    ['transfers', { ...sent, amount: '20.00' }, 422, 'insufficient-funds', /only 20\.00/],
  ]
  for (const [path, body, status, type, detail] of rows) {
    const reply = await admin.request('POST', `/v1/${path}`, body)
    t.match(reply, { status, body: { type: `urn:ocsd:problem:${type}`, detail } }, `${path} ${JSON.stringify(body)}`)
  }
  for (const path of ['recharges/portal/none', 'transfers/0-none', 'transfers/999999-none'])
    t.match(await admin.request('GET', `/v1/${path}`), { status: 404 }, path)
  const without = await admin.request('POST', '/v1/transfers', sent, { 'idempotency-key': '' })
  t.match(without, { status: 400, body: { type: 'urn:ocsd:problem:idempotency-key-required' } })
  t.equal((await anAudit(admin.store.store)).entries, audit.entries, 'no entry came')
})

t.test('a recharge tells its bonus, and later what became of it', async t => {
  const admin = await start(t)
  const body = { ...recharge, method: 'card', outlet: 'web', operator: 'eve' }
  const first = await admin.request('POST', '/v1/accounts/anna/recharges', body)
  t.match(first, { status: 201, body: { money: '15.00', bonus: { rule: 'gift', money: '0.00' }, repeated: false } })
  t.match(first.body, { buckets: [{ name: 'gift', unit: 'octets', amount: 1_000_000_000 }] })
  t.match(await admin.request('POST', '/v1/accounts/anna/recharges', body), { status: 200, body: { repeated: true } })
  const found = await admin.request('GET', '/v1/recharges/portal/r1')
  t.match(found, { status: 200, body: { state: 'credited', account: 'anna', amount: '5.00', bonus: { rule: 'gift' } } })
  t.same(admin.recharged, ['portal credited', 'portal repeated'])
})

t.test('adjustments and transfers are done once for their Idempotency-Key', async t => {
  const admin = await start(t)
  const key = { 'idempotency-key': 'k-1' }
  const adjust = (body: object, headers = key): ReturnType<TestAdmin['request']> =>
    admin.request('POST', '/v1/accounts/anna/adjustments', body, headers)
  const one = await adjust(given)
  t.match(one, { status: 201, body: { money: '11.00', currency: 'EUR', debt: '0.00' } })
  t.same((await adjust(given)).body, one.body)
  t.match(await adjust({ ...given, amount: '+2.00' }), { status: 409, body: { type: /idempotency-key-reused/ } })
  const bucket = { ...given, amount: '+2GB', bucket: 'gift', until: 'never' }
  t.match(await adjust(bucket, { 'idempotency-key': 'k-2' }), { status: 201, body: { buckets: [{ name: 'gift', amount: 2_000_000_000 }] } }) // prettier-ignore
  const done = await admin.request('POST', '/v1/transfers', { ...sent, reason: 'a gift' }, key)
  t.match(done, { status: 409, body: { type: /idempotency-key-reused/ } }, 'a key is one request')
  const other = { 'idempotency-key': 'k-3' }
  const moved = await admin.request('POST', '/v1/transfers', { ...sent, reason: 'a gift' }, other)
  t.match(moved, { status: 201, body: { state: 'done', amount: '1.00', fee: '0.10', reason: 'a gift', why: null } })
  t.same((await admin.request('POST', '/v1/transfers', { ...sent, reason: 'a gift' }, other)).body, moved.body)
  t.same((await admin.request('GET', `/v1/transfers/${String(moved.body['id'])}`)).body, moved.body)
  t.match((await admin.request('GET', '/v1/accounts/anna')).body, { money: '9.90' })
  t.match((await admin.request('GET', '/v1/accounts/ben')).body, { money: '11.00' })
})

const file = `account,msisdn,amount,currency,reference,channel,outlet
anna,,5.00,EUR,f1,,shop-1
,+491701000002,6.00,EUR,f2,,
nobody,,5.00,EUR,f3,,
,491709999999,5.00,EUR,f4,,
anna,ben,5.00,EUR,f5,,
anna,,-5.00,EUR,f6,,
anna,,5.00,GBP,f7,,
anna,,5.00,EUR,two words,,
anna,,5.00,EUR,f1,,
anna,,25.00,EUR,f8,shop,
anna,,5.00,EUR,f9,shop,
anna,,5.00,EUR
`

t.test(
  'a file of recharges: bad rows are told with line and reason, good ones credited, again nothing more',
  async t => {
    const admin = await start(t)
    const send = (query: string, text: string, type = 'text/csv'): ReturnType<TestAdmin['request']> =>
      admin.request('POST', `/v1/recharges/import${query}`, text, { 'content-type': type })
    const nothing = await send('?allOrNothing=true', file)
    t.match(nothing.body, { rows: 12, credited: 0, refused: 9, nothing: true })
    t.match((await admin.request('GET', '/v1/accounts/anna')).body, { money: '10.00' }, 'nothing is applied')
    const { status, body } = await send('', file)
    t.equal(status, 200)
    t.match(body, { rows: 12, credited: 3, repeated: 0, refused: 9, sums: { EUR: '16.00' } })
    const errors = body['errors'] as { line: number; reason: string }[]
    const expected: readonly (readonly [number, RegExp])[] = [
    ...([[4, /no account nobody/], [5, /no subscriber has the msisdn 491709999999/], [6, /one of account and msisdn/]] as const),
    ...([[7, /not an amount like 5\.00, above 0/], [8, /another currency than GBP/], [9, /without spaces/]] as const),
    ...([[10, /bulk f1 stands in line 2 already/], [11, /20\.00 EUR at most/], [13, /4 fields, the header has 7/]] as const),
  ] // prettier-ignore
    t.equal(errors.length, expected.length)
    for (const [i, [line, reason]] of expected.entries()) t.match(errors[i], { line, reason })
    t.match((await send('', file)).body, { credited: 0, repeated: 3, refused: 9 }, 'safe to send again')
    t.match((await send('', 'amount,currency\n')).body, { stopped: { line: 1, reason: /missing column reference/ } })
    const lines = '{"account":"ben","amount":"5.00","currency":"EUR","reference":"j1"}\n{"account":"ben","amount":5}\n'
    const json = await send('?channel=shop', lines, 'application/x-ndjson')
    t.match(json.body, { credited: 1, errors: [{ line: 2, reason: /amount must be a text/ }] })
    t.match(await send('?allOrNothing=true', file.split('\n').slice(0, 3).join('\n')), {
      body: { repeated: 2, refused: 0 },
    })
    t.match((await admin.request('GET', '/v1/accounts/anna')).body, { money: '20.00' })
    t.match((await admin.request('GET', '/v1/accounts/ben')).body, { money: '21.00' })
    t.match(await anAudit(admin.store.store), { ok: true })
  },
)

const program = fileURLToPath(new URL('../../src/ocsctl.ts', import.meta.url))

t.test('ocsctl does all of it, by account or MSISDN', async t => {
  const { url, store } = await start(t)
  const folder = aFolder(t)
  writeFileSync(join(folder, 'f.csv'), 'msisdn,amount,currency,reference\n491701000001,1.00,EUR,c1\n1,1.00,EUR,c2\n')
  await store.accounts.recharge({ account: 'ben', amount: 1n as never, currency: 'EUR', channel: 'x', reference: 'x', actor: 'x' }) // prettier-ignore
  const ocsctl = (...args: readonly string[]): Promise<{ status: number | null; out: string }> =>
    new Promise(resolve => {
      const child = spawn(process.execPath, ['--import=tsx', program, ...args], {
        env: { PATH: process.env['PATH'], OCS_URL: url, OCS_TOKEN: token },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let out = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (out += data.toString()))
      child.on('close', status => resolve({ status, out }))
    })
  const steps: readonly (readonly [args: readonly string[], status: number, out: RegExp])[] = [
    [['recharge', '+491701000001', '10.00', '--reference', 'r1', '--method', 'cash', '--outlet', 'shop-1', '--operator', 'eve'], 0, /10\.00 EUR credited: account anna has 21\.00 EUR, debt 0\.00\nwith it came 1\.00 EUR \(bonus ten\)/], // prettier-ignore
    [['find-recharge', 'ocsctl', 'r1'], 0, /state +credited 20.*\naccount +anna\namount +10\.00 EUR\nbonus +ten 1\.00/],
    [['adjust', 'anna', '-2.00', '--reason', 'wrong fee'], 0, /done: account anna has 19\.00 EUR, debt 0\.00/],
    [['adjust', '491701000001', '+1GB', '--bucket', 'gift', '--until', 'never', '--reason', 'goodwill'], 0, /left: 1000000000 octets in bucket gift/], // prettier-ignore
    [['adjust', 'anna', '-400MB', '--bucket', 'gift', '--reason', 'too much'], 0, /left: 600000000 octets/],
    [['adjust', 'anna', '2.00', '--reason', 'no sign'], 2, /say whether 2\.00 is given or taken: \+2\.00 or -2\.00/],
    [['adjust', 'anna', '+2.00', '--raeson', 'slip'], 2, /reason/],
    [['writeoff', 'anna', '1.00', '--reason', 'not owed', '--yes'], 1, /owes 0\.00/],
    [['transfer', '491701000001', '491701000002', '3.00', '--reason', 'a gift'], 0, /state +done\nfrom +anna\nto +ben\namount +3\.00 EUR\nfee +0\.10 EUR/], // prettier-ignore
    [['find-transfer', '0-abc'], 1, /no transfer 0-abc/],
    [
      ['recharge-file', join(folder, 'f.csv')],
      1,
      /line 3: msisdn "1" is not .*\n2 rows: 1 credited 1\.00 EUR, 0 before, 1 refused/,
    ],
    [['recharge', 'nobody', '1.00', '--reference', 'r2'], 1, /no account nobody/],
  ]
  for (const [args, status, out] of steps) {
    const run = await ocsctl(...args)
    t.match(run, { status, out }, args.join(' '))
  }
})
