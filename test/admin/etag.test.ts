/** ETag and If-Match: who changes what somebody else changed meanwhile is told so, and nothing is changed. */
import t from 'tap'
import { startAdmin, type Reply, type TestAdmin } from '../support/admin.js'

const anna = { id: 'anna', currency: 'EUR', subscriber: { msisdn: '491701000001', offers: ['payg'] } }

const etagNow = async (admin: TestAdmin): Promise<string> =>
  (await admin.request('GET', '/v1/accounts/anna')).headers.get('etag')!

const roaming = { kind: 'limit', target: 'roaming', value: '9.00', reason: 'asked for it' }
const changes: readonly (readonly [method: string, path: string, body?: object])[] = [
  ['PATCH', '/v1/accounts/anna', { attributes: { segment: 'vip' } }],
  ['PATCH', '/v1/accounts/anna', { status: 'suspended' }],
  ['PATCH', '/v1/accounts/anna', { status: 'active', attributes: { segment: 'gold' } }],
  ['PATCH', '/v1/accounts/anna/subscribers/1', { attributes: { color: 'blue' } }],
  ['POST', '/v1/accounts/anna/overrides', roaming],
  ['POST', '/v1/accounts/anna/opt-ins', { counter: 'spend' }],
]

void t.test('a change that names what was read is done once; the second of two is told to read again', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', anna)
  for (const [method, path, body] of changes) {
    const read = await etagNow(admin)
    t.match(read, /^"[\w-]{16}"$/)
    const first = await admin.request(method, path, body, { 'if-match': read })
    t.ok(first.status < 300, `${path} ${JSON.stringify(first.body)}`)
    const before = await admin.request('GET', '/v1/accounts/anna')
    t.not(before.headers.get('etag'), read)
    // Another change, so that it is not done already.
    const second = await admin.request(method, path, varied(body!), { 'if-match': read })
    t.match(second, { status: 412, body: { type: 'urn:ocsd:problem:stale' } }, path)
    t.match(second.body['detail'], /read it again/)
    t.same((await admin.request('GET', '/v1/accounts/anna')).body, before.body, 'nothing was changed')
  }
  const [override] = (await admin.request('GET', '/v1/accounts/anna/overrides')).body['overrides'] as { id: string }[]
  const gone = `/v1/accounts/anna/overrides/${override!.id}?reason=over`
  t.equal((await admin.request('DELETE', gone, undefined, { 'if-match': '"x"' })).status, 412)
  t.equal((await admin.request('DELETE', gone, undefined, { 'if-match': `"x", ${await etagNow(admin)}` })).status, 200)
})

/** The same kind of change to another value. */
function varied(body: object): object {
  if ('attributes' in body) return { attributes: { segment: 'other' } }
  if ('status' in body) return { status: 'terminated' }
  return 'kind' in body ? { ...body, target: 'spend' } : { ...body, on: false }
}

void t.test('of two at the same time one wins', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', anna)
  const read = await etagNow(admin)
  const replies = await Promise.all(
    ['red', 'green', 'blue'].map(color =>
      admin.request('PATCH', '/v1/accounts/anna', { attributes: { color } }, { 'if-match': read }),
    ),
  )
  t.same(replies.map(({ status }: Reply) => status).sort(), [200, 412, 412])
})

void t.test(
  'without If-Match, or with *, a change is applied to what is there; charges do not move the ETag',
  async t => {
    const admin = await startAdmin(t)
    await admin.request('POST', '/v1/accounts', anna)
    const read = await etagNow(admin)
    const money = { amount: '1.00', currency: 'EUR', channel: 'x', reference: 'r' }
    await admin.request('POST', '/v1/accounts/anna/recharges', money)
    t.equal(await etagNow(admin), read)
    t.equal(
      (await admin.request('PATCH', '/v1/accounts/anna', { attributes: { a: '1' } }, { 'if-match': '*' })).status,
      200,
    )
    t.equal((await admin.request('PATCH', '/v1/accounts/anna', { attributes: { a: '2' } })).status, 200)
    t.match((await admin.request('GET', '/v1/catalog')).headers.get('etag'), /^"/)
  },
)
