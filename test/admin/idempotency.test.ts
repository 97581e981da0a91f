/** Idempotency-Key: what comes again under it, what is refused, what is forgotten. */
import t from 'tap'
import { fingerprintOf } from '../../src/admin/idempotency.js'
import { idempotencyKey } from '../../src/balance/keys.js'
import { RedisKeptAnswers } from '../../src/balance/idempotency.js'
import { startAdmin } from '../support/admin.js'
import { startStore } from '../support/store.js'

const path = '/v1/accounts/anna/recharges'
const body = { amount: '10.00', currency: 'EUR', channel: 'portal', reference: 'r-1' }
const key = (value: string): Record<string, string> => ({ 'idempotency-key': value })

void t.test('the same request under the same key gets the first answer, word for word, and moves nothing', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', { id: 'anna', currency: 'EUR', balance: '5.00' })
  const first = await admin.request('POST', path, body, key('k-1'))
  t.match(first, { status: 201, body: { money: '15.00', repeated: false } })
  t.equal(first.headers.get('idempotent-replayed'), null)
  await admin.request('POST', path, { ...body, reference: 'r-2' }, key('k-2'))
  const reordered = Object.fromEntries(Object.entries(body).reverse())
  const again = await admin.request('POST', path, reordered, key('k-1'))
  t.same([again.status, again.body], [first.status, first.body])
  t.equal(again.headers.get('idempotent-replayed'), 'true')
  t.equal((await admin.request('GET', '/v1/accounts/anna')).body['money'], '25.00')
})

void t.test('a key is asked for, and belongs to one request', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', { id: 'anna', currency: 'EUR' })
  await admin.request('POST', path, body, key('k-1'))
  const rows: [path: string, body: object, key: string, status: number, type: string][] = [
    [path, body, '', 400, 'idempotency-key-required'],
    [path, { nonsense: true }, '', 400, 'idempotency-key-required'],
    [path, body, 'two words', 400, 'invalid-request'],
    [path, body, 'x'.repeat(129), 400, 'invalid-request'],
    [path, { ...body, amount: '11.00' }, 'k-1', 409, 'idempotency-key-reused'],
    ['/v1/accounts/ben/recharges', body, 'k-1', 409, 'idempotency-key-reused'],
    ['/v1/accounts/anna/subscriptions', { offer: 'payg', reference: 's-1' }, 'k-1', 409, 'idempotency-key-reused'],
  ]
  for (const [at, sent, with_, status, type] of rows) {
    const reply = await admin.request('POST', at, sent, key(with_))
    t.same([reply.status, reply.body['type']], [status, `urn:ocsd:problem:${type}`], `${at} ${with_}`)
  }
  t.equal((await admin.request('GET', '/v1/accounts/anna')).body['money'], '10.00')
})

void t.test('a refusal is not kept: what was wrong may be put right under the same key', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', { id: 'anna', currency: 'EUR' })
  const wrong = await admin.request('POST', path, { ...body, currency: 'GBP' }, key('k-1'))
  t.equal(wrong.status, 409)
  t.match(await admin.request('POST', path, body, key('k-1')), { status: 201, body: { money: '10.00' } })
})

void t.test('a crash between the work and its answer leads to one credit and a full answer', async t => {
  let crash = true
  const whole = await startAdmin(t)
  const { recharges } = whole.services
  const admin = await startAdmin(t, {
    accounts: whole.services.accounts,
    keptAnswers: whole.services.keptAnswers,
    recharges: {
      recharge: async request => {
        const outcome = await recharges.recharge(request)
        if (crash) throw new Error('killed here')
        return outcome
      },
      judge: (...args) => recharges.judge(...args),
      find: (...args) => recharges.find(...args),
    },
  })
  await admin.request('POST', '/v1/accounts', { id: 'anna', currency: 'EUR' })
  t.equal((await admin.request('POST', path, body, key('k-1'))).status, 500)
  t.equal(
    (await admin.request('POST', path, { ...body, amount: '11.00' }, key('k-1'))).status,
    409,
    'the key stays with the request whose outcome is not known',
  )
  crash = false
  t.match(await admin.request('POST', path, body, key('k-1')), {
    status: 200,
    body: { money: '10.00', repeated: true },
  })
  const kept = await admin.request('POST', path, body, key('k-1'))
  t.match(kept, { status: 200, body: { money: '10.00', repeated: true } })
  t.equal(kept.headers.get('idempotent-replayed'), 'true')
})

void t.test('twenty at a time under one key get one answer', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', { id: 'anna', currency: 'EUR' })
  const bought = await Promise.all(
    Array.from({ length: 20 }, () =>
      admin.request('POST', '/v1/accounts/anna/subscriptions', { offer: 'gift', reference: 's-1' }, key('k-1')),
    ),
  )
  t.same([...new Set(bought.map(({ body }) => JSON.stringify(body)))].length, 1)
  const { body: anna } = await admin.request('GET', '/v1/accounts/anna')
  t.equal((anna['subscriptions'] as unknown[]).length, 1)
})

void t.test('claims: the first of them is released by its own try alone, and an answer stays', async t => {
  const { store, redis } = await startStore(t)
  t.ok(redis)
  const kept = new RedisKeptAnswers(store, 60_000)
  const claim = (principal: string, fingerprint: string, claimant: string): Parameters<typeof kept.claim>[0] => ({
    ...{ principal, key: 'k', fingerprint, claimant },
  })
  t.same(await kept.claim(claim('a', 'f', '1')), { status: 'claimed' })
  t.same(await kept.claim(claim('a', 'f', '1')), { status: 'claimed' }, 'sent again after a lost reply')
  t.same(await kept.claim(claim('a', 'f', '2')), { status: 'joined' })
  t.same(await kept.claim(claim('a', 'g', '3')), { status: 'reused' })
  t.same(await kept.claim(claim('b', 'g', '3')), { status: 'claimed' }, 'another principal has keys of its own')
  await kept.release(claim('a', 'f', '2'))
  t.same(await kept.claim(claim('a', 'g', '3')), { status: 'reused' })
  t.equal(await kept.keep(claim('a', 'f', '2'), '{"n":2}'), '{"n":2}')
  t.equal(await kept.keep(claim('a', 'f', '1'), '{"n":1}'), '{"n":2}', 'the first answer is the answer')
  await kept.release(claim('a', 'f', '1'))
  t.same(await kept.claim(claim('a', 'f', '4')), { status: 'answered', answer: '{"n":2}' })
  t.ok((await store.redis.pttl(idempotencyKey('a', 'k'))) > 50_000, 'and is forgotten after a time')
})

void t.test('a fingerprint tells requests apart, and does not mind the order of members', t => {
  const same = fingerprintOf('POST', '/v1/x', { a: 1, b: { c: [1, 2], d: null } })
  t.equal(fingerprintOf('POST', '/v1/x', { b: { d: null, c: [1, 2] }, a: 1 }), same)
  const others = [
    fingerprintOf('PATCH', '/v1/x', { a: 1, b: { c: [1, 2], d: null } }),
    fingerprintOf('POST', '/v1/y', { a: 1, b: { c: [1, 2], d: null } }),
    fingerprintOf('POST', '/v1/x', { a: 1, b: { c: [2, 1], d: null } }),
    fingerprintOf('POST', '/v1/x', { a: '1', b: { c: [1, 2], d: null } }),
    fingerprintOf('POST', '/v1/x', undefined),
  ]
  t.equal(new Set([same, ...others]).size, 6)
  t.end()
})
