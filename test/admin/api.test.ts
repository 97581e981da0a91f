import { connect } from 'node:net'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { routes } from '../../src/admin/routes.js'
import { BalanceUnavailableError } from '../../src/balance/store.js'
import { type Reply, startAdmin, type TestAdmin, token } from '../support/admin.js'

const anna = {
  id: 'anna',
  currency: 'EUR',
  balance: '5.00',
  subscriber: { msisdn: '+491701000001', imsi: '262011701000001', offers: ['payg'] },
}

/** Status and the name of the problem. */
const refusal = ({ status, headers, body }: Reply): [number, string] => {
  if (headers.get('content-type')?.startsWith('application/problem+json') !== true)
    return [status, 'no problem document']
  return [status, (body['type'] as string).replace('urn:ocsd:problem:', '')]
}
const check = async (t: Test, admin: TestAdmin, rows: readonly Row[]): Promise<void> => {
  for (const [method, path, body, status, name] of rows) {
    const reply = await admin.request(method, path, body)
    t.same(refusal(reply), [status, name], `${method} ${path} ${JSON.stringify(body)} ${String(reply.body['detail'])}`)
  }
}
type Row = readonly [method: string, path: string, body: unknown, status: number, name: string]

void t.test('an account is created once, shown, and found by each identity', async t => {
  const admin = await startAdmin(t)
  const first = await admin.request('POST', '/v1/accounts', anna)
  t.equal(first.status, 201)
  t.match(first.body, { id: 'anna', status: 'active', money: '5.00', held: '0.00', free: '5.00', debt: '0.00' })
  const again = await admin.request('POST', '/v1/accounts', { ...anna, balance: '9.00' })
  t.equal(again.status, 200)
  t.equal(again.body['money'], '5.00', 'what exists is not changed')
  for (const path of ['msisdn/491701000001', 'msisdn/+491701000001', 'imsi/262011701000001']) {
    t.match((await admin.request('GET', `/v1/subscribers/${path}`)).body, { account: { id: 'anna' } }, path)
  }
  const shown = await admin.request('GET', '/v1/accounts/anna')
  t.match(shown.body['subscribers'], [
    {
      identities: [
        { type: 'msisdn', value: '491701000001' },
        { type: 'imsi', value: '262011701000001' },
      ],
    },
  ])
  t.match(shown.body['subscriptions'], [{ offer: 'payg', since: /^20\d\d-.*Z$/ }])
})

void t.test('an offer with a bucket brings it, with amount and end', async t => {
  const admin = await startAdmin(t)
  const body = {
    id: 'ben',
    currency: 'EUR',
    creditLimit: '2.50',
    subscriber: { nai: 'ben@example.org', offers: ['bundle-5gb'] },
  }
  const { body: account } = await admin.request('POST', '/v1/accounts', body)
  t.match(account, { money: '0.00', creditLimit: '2.50', free: '2.50' })
  t.match(account['buckets'], [{ name: 'data-5gb', unit: 'octets', amount: 5e9, held: 0, until: /Z$/, priority: 10 }])
})

void t.test('a recharge happens once for each channel and reference', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', anna)
  await admin.request('POST', '/v1/accounts', { id: 'ben', currency: 'EUR' })
  const body = { amount: '10.00', currency: 'EUR', channel: 'voucher', reference: 'v-1' }
  const first = await admin.request('POST', '/v1/accounts/anna/recharges', body)
  t.same([first.status, first.body['money'], first.body['repeated']], [201, '15.00', false])
  const again = await admin.request('POST', '/v1/accounts/anna/recharges', body)
  t.same([again.status, again.body['money'], again.body['repeated']], [200, '15.00', true])
  const other = await admin.request('POST', '/v1/accounts/anna/recharges', { ...body, channel: 'care' })
  t.same([other.status, other.body['money']], [201, '25.00'])
  await check(t, admin, [
    ['POST', '/v1/accounts/ben/recharges', body, 409, 'reference-taken'],
    ['POST', '/v1/accounts/anna/recharges', { ...body, amount: '11.00' }, 409, 'reference-taken'],
    ['POST', '/v1/accounts/anna/recharges', { ...body, reference: 'v-2', currency: 'USD' }, 409, 'currency-differs'],
    ['POST', '/v1/accounts/nobody/recharges', { ...body, reference: 'v-3' }, 404, 'not-found'],
    ['POST', '/v1/accounts/anna/recharges', { ...body, reference: 'v-4', amount: '0.00' }, 400, 'invalid-request'],
    ['POST', '/v1/accounts/anna/recharges', { ...body, reference: 'v-4', amount: '-1.00' }, 400, 'invalid-request'],
    ['POST', '/v1/accounts/anna/recharges', { ...body, reference: 'v-4', amount: 1 }, 400, 'invalid-request'],
    ['POST', '/v1/accounts/anna/recharges', { ...body, reference: 'v-4', note: 'x' }, 400, 'invalid-request'],
  ])
  t.equal((await admin.request('GET', '/v1/accounts/anna')).body['money'], '25.00')
  t.same(admin.recharged.slice(0, 4), ['voucher credited', 'voucher repeated', 'care credited', 'voucher refused'])
})

void t.test('an account is suspended and resumed; a terminated one stays so', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', anna)
  for (const status of ['suspended', 'active', 'terminated']) {
    t.equal((await admin.request('PATCH', '/v1/accounts/anna', { status })).body['status'], status)
  }
  await check(t, admin, [
    ['PATCH', '/v1/accounts/anna', { status: 'active' }, 409, 'account-terminated'],
    ['PATCH', '/v1/accounts/nobody', { status: 'active' }, 404, 'not-found'],
    ['PATCH', '/v1/accounts/anna', { status: 'asleep' }, 400, 'invalid-request'],
  ])
})

void t.test('an account may have a currency that the catalog has exchange rates for', async t => {
  const admin = await startAdmin(t)
  const made = await admin.request('POST', '/v1/accounts', {
    ...{ id: 'gwen', currency: 'GBP', balance: '3.00' },
    subscriber: { msisdn: '447700900001', offers: ['gift'] },
  })
  t.match(made, { status: 201, body: { currency: 'GBP', money: '3.00' } })
  // 5.00 / 1.15, rounded down.
  t.match(made.body['buckets'], [{ name: 'bonus', amount: '4.347826' }])
  const bought = await admin.request('POST', '/v1/accounts/gwen/subscriptions', { offer: 'gift', reference: 'g-2' })
  t.equal(((bought.body['account'] as Record<string, unknown[]>)['buckets'] ?? []).length, 2)
  const recharged = { amount: '1.00', currency: 'GBP', channel: 'voucher', reference: 'v-1' }
  t.equal((await admin.request('POST', '/v1/accounts/gwen/recharges', recharged)).status, 201)
  const refusals: [body: object, status: number, detail: RegExp][] = [
    [
      { id: 'ulf', currency: 'USD' },
      409,
      /^the catalog has prices in EUR, and exchange rates for GBP, JPY, none for USD; use EUR or GBP or JPY, or add USD to `exchange:` of the catalog$/,
    ],
    [{ id: 'gwen', currency: 'EUR' }, 409, /^account gwen exists with currency GBP$/],
    [
      { id: 'juno', currency: 'JPY', subscriber: { msisdn: '819012345678', offers: ['gift'] } },
      422,
      /^offer gift grants money: no exchange rate JPY at any time before 2098-12-31T23:00:00.000Z$/,
    ],
  ]
  for (const [body, status, detail] of refusals) {
    const reply = await admin.request('POST', '/v1/accounts', body)
    t.match(reply, { status, body: { detail } })
  }
  t.equal((await admin.request('GET', '/v1/accounts/juno')).status, 404)
})

void t.test('what is refused has a stable type and says what to do', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', anna)
  await check(t, admin, [
    ['GET', '/v1/accounts/nobody', undefined, 404, 'not-found'],
    ['GET', '/v1/accounts/no%20body', undefined, 400, 'invalid-request'],
    ['GET', '/v1/subscribers/msisdn/491700000000', undefined, 404, 'not-found'],
    ['GET', '/v1/subscribers/msisdn/abc', undefined, 400, 'invalid-request'],
    ['GET', '/v1/subscribers/email/abc', undefined, 400, 'invalid-request'],
    ['GET', '/v1/nothing', undefined, 404, 'not-found'],
    ['DELETE', '/v1/accounts/anna', undefined, 404, 'not-found'],
    ['POST', '/v1/accounts', '{"id":', 400, 'invalid-request'],
    ['POST', '/v1/accounts', { id: 'a' }, 400, 'invalid-request'],
    ['POST', '/v1/accounts', { id: 'a b', currency: 'EUR' }, 400, 'invalid-request'],
    ['POST', '/v1/accounts', { id: 'ben', currency: 'USD' }, 409, 'currency-differs'],
    [
      'POST',
      '/v1/accounts',
      { id: 'ben', currency: 'EUR', subscriber: { msisdn: '4917', offers: ['gold'] } },
      422,
      'unknown-offer',
    ],
    ['POST', '/v1/accounts', { id: 'ben', currency: 'EUR', subscriber: { offers: ['payg'] } }, 400, 'invalid-request'],
    ['POST', '/v1/accounts', { ...anna, id: 'ben' }, 409, 'identity-taken'],
    ['POST', '/v1/accounts', `"${'x'.repeat(1024 * 1024)}"`, 413, 'too-large'],
    ['GET', '/v1/sessions?limit=0', undefined, 400, 'invalid-request'],
    ['GET', '/v1/sessions?limit=1001', undefined, 400, 'invalid-request'],
    ['GET', '/v1/sessions?what=1', undefined, 400, 'invalid-request'],
    ['POST', '/v1/sessions/release', { sessionId: 'smf;1;1' }, 404, 'not-found'],
    ['POST', '/v1/import', { account: 'x' }, 415, 'unsupported-media-type'],
  ])
  const form = await admin.request('POST', '/v1/accounts', 'id=a', {
    'content-type': 'application/x-www-form-urlencoded',
  })
  t.same(refusal(form), [415, 'unsupported-media-type'])
})

void t.test('every route wants the token, and nothing but the token opens it', async t => {
  const { url } = await startAdmin(t)
  for (const { method, path, signed } of routes) {
    if (signed) continue // its body is signed instead
    for (const authorization of [undefined, 'Bearer', 'Bearer ', 'Bearer wrong', 'Basic YTpi']) {
      const response = await fetch(url + path.replace(/:\w+/g, 'x'), {
        method,
        headers: authorization === undefined ? {} : { authorization },
      })
      t.equal(response.status, 401, `${method} ${path} with ${String(authorization)}`)
      t.equal(response.headers.get('www-authenticate'), 'Bearer')
      await response.body?.cancel()
    }
  }
})

void t.test('the OpenAPI document names every route', async t => {
  const { url } = await startAdmin(t)
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, object>
    openapi: string
  }
  t.equal(document.openapi, '3.1.0')
  for (const { method, path } of routes) {
    t.match(document.paths[path.replace(/:(\w+)/g, '{$1}')], {
      [method.toLowerCase()]: { summary: String, responses: Object },
    })
  }
})

void t.test('a store that does not answer is 503, a defect of ours 500 without a word about it', async t => {
  const failing = (error: Error): never => {
    throw error
  }
  const table = [
    { error: new BalanceUnavailableError('secret detail'), expected: [503, 'store-unavailable'] },
    { error: new Error('secret detail'), expected: [500, 'internal'] },
  ]
  for (const { error, expected } of table) {
    const admin = await startAdmin(t, { catalog: () => failing(error), audit: () => Promise.reject(error) })
    for (const [method, path] of [
      ['GET', '/v1/catalog'],
      ['POST', '/v1/audit'],
    ] as const) {
      const reply = await admin.request(method, path)
      t.same(refusal(reply), expected)
      t.notMatch(JSON.stringify(reply.body), /secret|stack/)
    }
  }
})

void t.test('a bad catalog is refused with every fault', async t => {
  const faults = ['catalog/rates.yaml:3:9: unknown key prise', 'catalog/offers.yaml:7:1: no rate data']
  const admin = await startAdmin(t, {
    reload: () => Promise.resolve({ status: 'refused', version: '3f2a', faults, warnings: [] }),
  })
  const reply = await admin.request('POST', '/v1/catalog/reload')
  t.same(refusal(reply), [422, 'catalog-refused'])
  t.same(reply.body['faults'], faults)
})

void t.test('large headers are refused, and answers are not cached or framed', async t => {
  const admin = await startAdmin(t)
  const { headers } = await admin.request('GET', '/v1/status')
  t.equal(headers.get('cache-control'), 'no-store')
  t.equal(headers.get('x-content-type-options'), 'nosniff')
  t.match(headers.get('content-security-policy'), /frame-ancestors 'none'/)
  const socket = connect(Number(new URL(admin.url).port), '127.0.0.1')
  socket.write(`GET /v1/status HTTP/1.1\r\nhost: x\r\nx-long: ${'y'.repeat(20_000)}\r\n\r\n`)
  const [answer] = (await once(socket, 'data')) as [Buffer]
  t.match(answer.toString(), /^HTTP\/1\.1 431 /)
  socket.destroy()
})

void t.test('a port that is taken is refused with the key that names it', async t => {
  const { url } = await startAdmin(t)
  const { startAdminApi } = await import('../../src/admin/api.js')
  const listen = { host: '127.0.0.1', port: Number(new URL(url).port) }
  const options = { listen, token: 'x', version: '', services: {}, log: {}, clock: {} } as unknown as Parameters<
    typeof startAdminApi
  >[0]
  await t.rejects(startAdminApi(options), { message: /key admin of the configuration\): the port is taken/ })
})

void t.test('an import whose client stalls does not hold up the end of the daemon, and is no defect', async t => {
  const { url, api, errors, store } = await startAdmin(t)
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  const head = `host: x\r\nauthorization: Bearer ${token}\r\ncontent-type: text/csv\r\ntransfer-encoding: chunked`
  const rows = 'account,msisdn,imsi,offer,balance,currency\nanna,491701,,payg,5.00,EUR\n'
  socket.write(`POST /v1/import HTTP/1.1\r\n${head}\r\n\r\n${rows.length.toString(16)}\r\n${rows}\r\n`)
  while ((await store.accounts.show('anna')) === undefined) await new Promise(setImmediate)
  const cut = once(socket, 'close')
  await api.close(1)
  await cut
  t.same(errors, [])
})
