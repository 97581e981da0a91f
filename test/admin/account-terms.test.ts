/** What one account has differently, over HTTP: offers bought later, attributes, overrides, opt-ins; and how each mistake is refused. */
import t, { type Test } from 'tap'
import { startAdmin, type Reply, type TestAdmin } from '../support/admin.js'

type Json = Record<string, unknown>

async function withAnna(t: Test): Promise<TestAdmin> {
  const admin = await startAdmin(t)
  const subscriber = { msisdn: '+491701000001', offers: ['payg'] }
  await admin.request('POST', '/v1/accounts', { id: 'anna', currency: 'EUR', balance: '5.00', subscriber })
  return admin
}

const nameOf = ({ body }: Reply): unknown => (body['type'] as string | undefined)?.replace('urn:ocsd:problem:', '')
const detailOf = ({ body }: Reply): string => (body['detail'] ?? '') as string

t.test('an override is added, shown as it may be written again, and taken away', async t => {
  const admin = await withAnna(t)
  const path = '/v1/accounts/anna/overrides'
  const reason = 'retention 4711'
  const table: readonly [Json, Json][] = [
    [
      { kind: 'price', target: 'data-payg', value: '0.008' },
      { value: '0.008', until: null, inForce: true },
    ],
    [{ kind: 'rate', target: 'sms', value: 'sms-dear' }, { status: 422 }],
    [{ kind: 'grant', target: 'data-5gb', value: '10GB' }, { value: '10GB' }],
    [{ kind: 'grant', target: 'bonus', value: '7.5' }, { value: '7.50' }],
    [{ kind: 'life', target: 'data-5gb', value: '60d' }, { value: '60d' }],
    [{ kind: 'life', target: 'bonus', value: 'never' }, { value: 'never' }],
    [
      { kind: 'limit', target: 'member', value: '2GiB', subscriber: '1' },
      { value: '2GiB', subscriber: '1' },
    ],
    [
      { kind: 'limit', target: 'spend', value: 'none' },
      { value: 'none', subscriber: null },
    ],
    [
      { kind: 'rate', target: 'data-tiers', value: 'data-cheap', from: '2099-01-01', until: '2099-01-02T12:00' },
      { value: 'data-cheap', from: '2098-12-31T23:00:00.000Z', until: '2099-01-02T11:00:00.000Z', inForce: false },
    ],
    [
      { kind: 'limit', target: 'roaming', value: '50.00', until: '2099-01-01T00:00:00+02:00' },
      { until: '2098-12-31T22:00:00.000Z' },
    ],
  ]
  for (const [body, expected] of table) {
    const reply = await admin.request('POST', path, { ...body, reason, actor: 'care.ines' })
    t.match(
      { status: reply.status, reason, actor: 'care.ines', ...reply.body },
      { status: 201, ...expected },
      JSON.stringify(body),
    )
  }
  const { overrides } = (await admin.request('GET', path)).body as { overrides: { id: string; kind: string }[] }
  t.equal(overrides.length, table.length - 1)
  const gone = await admin.request('DELETE', `${path}/${overrides[0]!.id}?reason=it+is+over`)
  t.same([gone.status, (gone.body['overrides'] as object[]).length], [200, table.length - 2])
  t.match(((await admin.request('GET', '/v1/accounts/anna')).body['overrides'] as object[])[0], {
    kind: 'grant',
    reason,
  })
})

t.test('an override that the catalog does not bear is refused, with what to write', async t => {
  const admin = await withAnna(t)
  const path = '/v1/accounts/anna/overrides'
  const price = { kind: 'price', target: 'data-payg', value: '0.008', reason: 'retention' }
  await admin.request('POST', path, { ...price, target: 'sms', until: '2099-01-01' })
  const table: readonly [Json, number, string, RegExp][] = [
    [{ target: 'data' }, 422, 'unknown-target', /no rate "data"; it has .*data-payg/],
    [{ kind: 'grant', target: 'data' }, 422, 'unknown-target', /no bucket "data"; it has data-5gb, bonus/],
    [{ kind: 'limit', target: 'data' }, 422, 'unknown-target', /no counter/],
    [{ kind: 'rate', value: 'x' }, 422, 'unknown-target', /no rate "x"/],
    [{ target: 'data-tiers' }, 400, 'invalid-request', /has 2 tiers; override it by another rate/],
    [{ target: 'share' }, 400, 'invalid-request', /is a percentage/],
    [{ value: '-1' }, 400, 'invalid-request', /not an amount like/],
    [{ value: '0.000001' }, 400, 'invalid-request', /at 0.000001, it would not be exact/],
    [{ kind: 'rate', value: 'sms' }, 400, 'invalid-request', /rate sms is for events, rate data-payg for octets/],
    [{ kind: 'rate', value: 'data-payg' }, 400, 'invalid-request', /that it would replace/],
    [{ kind: 'grant', target: 'data-5gb', value: '10' }, 400, 'invalid-request', /no amount of octets; write a size/],
    [{ kind: 'grant', target: 'data-5gb', value: '0B' }, 400, 'invalid-request', /more than 0/],
    [{ kind: 'life', target: 'data-5gb', value: 'ever' }, 400, 'invalid-request', /no duration; .*never/],
    [{ kind: 'limit', target: 'spend', value: '5GB' }, 400, 'invalid-request', /no amount of money/],
    [{ kind: 'limit', target: 'month-data', value: '5GB' }, 400, 'invalid-request', /tiers of a rate stand on/],
    [
      { kind: 'limit', target: 'spend', value: '1.00', subscriber: '1' },
      400,
      'invalid-request',
      /of the whole account/,
    ],
    [{ kind: 'limit', target: 'member', value: '1GB', subscriber: '2' }, 404, 'not-found', /no subscriber 2/],
    [{ subscriber: '1' }, 400, 'invalid-request', /only a limit can be of one subscriber/],
    [{ until: '2020-01-01' }, 400, 'invalid-request', /is over/],
    [{ until: '2099-02-30' }, 400, 'invalid-request', /is no time; write 2026-12-24 .*Europe\/Berlin/],
    [{ from: '2099-02-02', until: '2099-01-01' }, 400, 'invalid-request', /not after from/],
    [{ kind: 'prise' }, 400, 'invalid-request', /kind/],
    [{ reason: undefined }, 400, 'invalid-request', /reason/],
    [{ reason: 'x' }, 400, 'invalid-request', /reason/],
    [
      { target: 'sms', from: '2098-01-01' },
      409,
      'override-overlaps',
      /override \w+ \(price of sms\) applies in the same time/,
    ],
  ]
  for (const [changes, status, name, detail] of table) {
    const reply = await admin.request('POST', path, { ...price, ...changes })
    t.same([reply.status, nameOf(reply)], [status, name], JSON.stringify(changes))
    t.match(detailOf(reply), detail)
  }
  t.equal(nameOf(await admin.request('POST', '/v1/accounts/nobody/overrides', price)), 'not-found')
  t.equal((await admin.request('DELETE', `${path}/abc?reason=over`)).status, 404)
  t.equal((await admin.request('DELETE', `${path}/abc`)).status, 400, 'a reason is needed')
  t.equal(((await admin.request('GET', path)).body['overrides'] as object[]).length, 1)
})

t.test('an opt-in needs a counter that allows it, and says whose', async t => {
  const admin = await withAnna(t)
  const path = '/v1/accounts/anna/opt-ins'
  t.match((await admin.request('POST', path, { counter: 'roaming', until: '2099-01-01' })).body, {
    optIns: [{ counter: 'roaming', subscriber: '1', until: '2098-12-31T23:00:00.000Z', inForce: true }],
  })
  t.match((await admin.request('POST', path, { counter: 'spend' })).body['optIns'], [
    { counter: 'roaming' },
    { counter: 'spend', subscriber: '0', until: null },
  ])
  const second = { id: 'anna', currency: 'EUR', subscriber: { msisdn: '491701000002' } }
  await admin.request('POST', '/v1/accounts', second)
  const table: readonly [Json, number, RegExp][] = [
    [{ counter: 'data' }, 422, /no counter "data"/],
    [{ counter: 'member' }, 400, /give it `optIn: true`/],
    [{ counter: 'roaming', on: false }, 400, /say which one \(subscriber: 1, 2\)/],
    [{ counter: 'roaming', subscriber: '3' }, 404, /no subscriber 3/],
    [{ counter: 'spend', subscriber: '1' }, 400, /of the whole account/],
    [{ counter: 'spend', on: false, until: '2099-01-01' }, 400, /has no end/],
  ]
  for (const [body, status, detail] of table) {
    const reply = await admin.request('POST', path, body)
    t.equal(reply.status, status, JSON.stringify(body))
    t.match(detailOf(reply), detail)
  }
  await admin.request('POST', path, { counter: 'roaming', subscriber: '1', on: false })
  t.match((await admin.request('GET', path)).body, { optIns: [{ counter: 'spend' }] })
})

t.test('attributes of accounts and subscribers are set and taken away', async t => {
  const admin = await withAnna(t)
  const set = (path: string, attributes: Json): Promise<Reply> =>
    admin.request('PATCH', `/v1/accounts/anna${path}`, { attributes })
  t.match((await set('', { segment: 'vip', city: 'Ulm' })).body, { attributes: { segment: 'vip', city: 'Ulm' } })
  t.match((await set('/subscribers/1', { age: '17' })).body, { subscribers: [{ id: '1', attributes: { age: '17' } }] })
  t.same((await set('', { city: null })).body['attributes'], { segment: 'vip' })
  for (const [path, attributes, status] of [
    ['', { segment: 7 }, 400],
    ['', { segment: '' }, 400],
    ['', { segment: 'a"b' }, 400],
    ['', { '1x': 'a' }, 400],
    ['', Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, 'x'])), 400],
    ['', Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`k${i}`, 'x'])), 422],
    ['/subscribers/2', { age: '17' }, 404],
    ['/subscribers/0', { age: '17' }, 400],
  ] as const) {
    t.equal((await set(path, attributes)).status, status, JSON.stringify(attributes).slice(0, 60))
  }
  t.equal((await admin.request('PATCH', '/v1/accounts/anna', {})).status, 400, 'nothing to change')
})

t.test('an offer is bought once for each reference, by those to whom it is sold', async t => {
  const admin = await withAnna(t)
  const path = '/v1/accounts/anna/subscriptions'
  const buy = (offer: string, reference: string, more: Json = {}): Promise<Reply> =>
    admin.request('POST', path, { offer, reference, ...more })
  const first = await buy('bundle-5gb', 'r-1', { subscriber: '1' })
  t.match(
    [first.status, first.body],
    [201, { subscription: '2', repeated: false, account: { buckets: [{ amount: 5e9 }] } }],
  )
  const again = await buy('bundle-5gb', 'r-1', { subscriber: '1' })
  t.match([again.status, again.body], [200, { subscription: '2', repeated: true, account: { buckets: { length: 2 } } }])
  const table: readonly [string, string, Json, number, string, RegExp][] = [
    ['payg', 'r-1', {}, 409, 'reference-taken', /bought offer bundle-5gb/],
    ['gold', 'r-2', {}, 422, 'unknown-offer', /no offer "gold"/],
    ['vip-only', 'r-2', {}, 422, 'offer-refused', /attribute segment vip or staff; it has none/],
    ['christmas', 'r-2', {}, 422, 'offer-refused', /sold from 2099-11-30T23/],
    ['old', 'r-2', {}, 422, 'offer-refused', /sold until 2019-12-31T23/],
    ['payg', 'r-2', { subscriber: '9' }, 404, 'not-found', /no subscriber 9/],
  ]
  for (const [offer, reference, more, status, name, detail] of table) {
    const reply = await buy(offer, reference, more)
    t.same([reply.status, nameOf(reply)], [status, name], `${offer} ${reference}`)
    t.match(detailOf(reply), detail)
  }
  await admin.request('PATCH', '/v1/accounts/anna', { attributes: { segment: 'vip' } })
  t.equal((await buy('vip-only', 'r-2')).status, 201)
  t.match((await admin.request('GET', '/v1/accounts/anna')).body['subscriptions'], [
    { offer: 'payg', subscriber: '1' },
    { offer: 'bundle-5gb', subscriber: '1' },
    { offer: 'vip-only', subscriber: '0' },
  ])
  const born = { id: 'vera', currency: 'EUR', subscriber: { msisdn: '491701000009', offers: ['vip-only'] } }
  t.equal(nameOf(await admin.request('POST', '/v1/accounts', born)), 'offer-refused')
  t.equal((await admin.request('POST', '/v1/accounts', { ...born, attributes: { segment: 'staff' } })).status, 201)
})

t.test('what is granted goes by the overrides in force', async t => {
  const admin = await withAnna(t)
  const override = (body: Json): Promise<Reply> =>
    admin.request('POST', '/v1/accounts/anna/overrides', { reason: 'retention', ...body })
  await override({ kind: 'grant', target: 'data-5gb', value: '8GB' })
  await override({ kind: 'life', target: 'data-5gb', value: 'never', from: '2099-01-01' })
  await override({ kind: 'life', target: 'data-5gb', value: '2h', until: '2099-01-01' })
  const { body } = await admin.request('POST', '/v1/accounts/anna/subscriptions', {
    offer: 'bundle-5gb',
    reference: 'r',
  })
  const [bucket] = (body['account'] as { buckets: { amount: number; until: string }[] }).buckets
  t.equal(bucket!.amount, 8e9)
  t.ok(Math.abs(Date.parse(bucket!.until) - Date.now() - 7_200_000) < 60_000)
})
