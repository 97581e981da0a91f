/**
 * Who may do what over real HTTP: every route by every role, ceilings, two persons, the audit log. The matrix stands here as text, so that
 * a change of it shows in review.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { permissionsOf, roles, type Role } from '../../src/access/roles.js'
import { routes } from '../../src/admin/routes.js'
import { micros } from '../../src/units.js'
import { startAdmin, type Reply, type TestAdmin } from '../support/admin.js'

async function keyFor(admin: TestAdmin, held: readonly Role[], ceilings?: Record<string, string>): Promise<string> {
  const { status, body } = await admin.request('POST', '/v1/keys', {
    name: held.join(' '),
    roles: held,
    days: 1,
    ceilings,
  })
  if (status !== 201) throw new Error(JSON.stringify(body))
  return body['secret'] as string
}

const as = (secret: string): Record<string, string> => ({ authorization: `Bearer ${secret}` })

/** What is sent is wrong on purpose: whoever may not is refused before it is looked at, whoever may is told what is wrong. */
const anyPath = (path: string): string => path.replace(/:\w+/g, 'x')

t.test('every route by every role', async t => {
  const admin = await startAdmin(t)
  const secrets = new Map<Role, string>()
  for (const role of roles) secrets.set(role, await keyFor(admin, [role]))
  for (const { method, path, permission, signed, self } of routes) {
    if (signed || self) continue // whose body is signed, and the subscriber's own
    const may: Role[] = []
    for (const role of roles) {
      const body = method === 'GET' || method === 'DELETE' ? undefined : { 'no such field': 1 }
      const { status } = await admin.request(method, anyPath(path), body, as(secrets.get(role)!))
      if (status !== 403) may.push(role)
      if (status === 401 || status === 500) t.fail(`${method} ${path} as ${role}: ${status}`)
    }
    t.same(
      may,
      roles.filter(role => permissionsOf[role].includes(permission)),
      `${method} ${path}`,
    )
  }
  t.same(admin.errors, [])
})

t.test('the matrix of roles is the one that was reviewed', t => {
  const table = roles.map(role => `${role}: ${permissionsOf[role].toSorted().join(' ')}`)
  t.matchOnlyStrict(table, [
    'viewer: account.read catalog.read notification.read session.read status.read voucher.read',
    'care: account.read account.write adjustment.write catalog.read job.read ledger.read notification.read recharge.write session.read session.write status.read subscription.write voucher.read',
    'recharge-agent: account.read recharge.write voucher.read',
    'finance: account.read adjustment.write auditlog.read bulk.read catalog.read ledger.read recharge.write report.read session.read status.read transfer.write voucher.read voucher.write',
    'tariff-editor: account.read catalog.read catalog.write report.read session.read status.read',
    'approver: account.read approval.write catalog.publish catalog.read ledger.read report.read session.read status.read',
    'sre: account.read catalog.read clock.write job.read job.write ledger.read notification.read notification.write peer.read peer.write session.read session.write status.read trace',
    'auditor: account.read auditlog.read catalog.read job.read ledger.read notification.read report.read session.read status.read voucher.read',
    `admin: ${permissionsOf.admin.toSorted().join(' ')}`,
  ])
  t.end()
})

t.test('credentials: none, wrong, revoked, too often', async t => {
  const admin = await startAdmin(t, {}, { lockout: { tries: 3, windowMs: 60_000 }, ratePerSecond: 5 })
  const secret = await keyFor(admin, ['viewer'])
  const show = (headers: Record<string, string>): Promise<Reply> =>
    admin.request('GET', '/v1/whoami', undefined, headers)
  t.match(await show(as(secret)), { status: 200, body: { kind: 'key', roles: ['viewer'] } })
  const [key] = (await admin.request('GET', '/v1/keys')).body['keys'] as { id: string }[]
  t.notMatch(JSON.stringify(key), secret.slice(-20))
  const many = await Promise.all(Array.from({ length: 20 }, () => show(as(secret))))
  const late = many.find(({ status }) => status === 429)
  t.match(late?.body, { type: 'urn:ocsd:problem:too-many-requests' })
  t.ok(Number(late?.headers.get('retry-after')) >= 1)
  t.match(await admin.request('DELETE', `/v1/keys/${key!.id}`), { status: 200, body: { state: 'revoked' } })
  t.match(await admin.request('DELETE', `/v1/keys/${key!.id}`), { status: 200, body: { state: 'revoked' } }, 'again')
  t.match(await admin.request('DELETE', '/v1/keys/aaaaaaaaaa'), { status: 404 })
  for (let i = 0; i < 3; i++)
    t.match(await show(as('guess')), { status: 401, body: { type: 'urn:ocsd:problem:unauthorized' } })
  t.match(await show(as('guess')), { status: 429, body: { type: 'urn:ocsd:problem:too-many-failures' } })
  t.match(await show({}), { status: 200, body: { kind: 'token', id: 'admin-api' } }, 'the token opens all the same')
})

t.test('an agent recharges up to its ceiling and in its currency, and cannot say who it is', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', { id: 'alice', currency: 'EUR' })
  const agent = as(await keyFor(admin, ['recharge-agent'], { EUR: '20.00' }))
  const recharge = (amount: string, reference: string, currency = 'EUR'): Promise<Reply> =>
    admin.request('POST', '/v1/accounts/alice/recharges', { amount, currency, channel: 'outlet', reference }, agent)
  t.match(await recharge('20.00', 'a'), { status: 201 })
  t.match(await recharge('20.01', 'b'), {
    status: 403,
    body: { type: 'urn:ocsd:problem:above-ceiling', detail: /20\.00 EUR/ },
  })
  t.match(await recharge('1.00', 'c', 'GBP'), { status: 403, body: { type: 'urn:ocsd:problem:above-ceiling' } })
  const { body } = await admin.request('GET', '/v1/accounts/alice')
  t.equal(body['money'], '20.00')
  const { body: lines } = await admin.request('GET', '/v1/auditlog?account=alice')
  t.match(lines['items'], [
    { event: 'asked', by: /^key:/, actor: /^key:/ },
    { event: 'done', status: 201 },
  ])
  t.match(await admin.request('POST', '/v1/keys', { name: 'x', roles: ['nobody'], days: 1 }), { status: 400 })
})

t.test('a credit above the limit, and a catalog, take two different persons', async t => {
  const loaded: string[] = []
  const admin = await startAdmin(
    t,
    { reload: () => Promise.resolve({ status: 'loaded', version: String(loaded.push('x')), warnings: [] }) },
    { approval: { publish: true, credit: new Map([['EUR', micros(50_000_000n)]]), keepMs: 3_600_000 } },
  )
  await admin.request('POST', '/v1/accounts', { id: 'bob', currency: 'EUR' })
  const finance = as(await keyFor(admin, ['finance', 'approver']))
  const second = as(await keyFor(admin, ['approver']))
  const money = async (): Promise<unknown> => (await admin.request('GET', '/v1/accounts/bob')).body['money']
  const recharge = (amount: string, reference: string): Promise<Reply> =>
    admin.request(
      'POST',
      '/v1/accounts/bob/recharges',
      { amount, currency: 'EUR', channel: 'bank', reference },
      { ...finance, 'idempotency-key': reference },
    )
  t.match(await recharge('50.00', 'r1'), { status: 201 })
  const held = await recharge('50.01', 'r2')
  t.match(held, { status: 202, body: { held: /two persons/ } })
  t.match(
    await recharge('50.01', 'r2'),
    { status: 202, body: { approval: held.body['approval'] } },
    'the same request is held once',
  )
  t.equal(await money(), '50.00', 'nothing is credited yet')
  const decide = (word: string, headers: Record<string, string>, id = held.body['approval']): Promise<Reply> =>
    admin.request(
      'POST',
      `/v1/approvals/${String(id)}/${word}`,
      word === 'reject' ? { reason: 'not now' } : {},
      headers,
    )
  t.match(await decide('approve', finance), { status: 403, body: { detail: /another person/ } })
  t.match(await decide('approve', {}), { status: 403, body: { detail: /nobody in particular/ } })
  t.match(await decide('approve', second), { status: 200, body: { state: 'approved', answer: { status: 201 } } })
  t.equal(await money(), '100.01')
  t.match(await decide('approve', second), { status: 409, body: { type: 'urn:ocsd:problem:approval-decided' } })
  t.equal(await money(), '100.01', 'once')
  const other = await recharge('60.00', 'r3')
  t.match(
    await decide('reject', finance, other.body['approval']),
    { status: 200, body: { state: 'rejected' } },
    'taken back',
  )
  t.match(await decide('approve', second, other.body['approval']), { status: 409 })
  const catalog = await admin.request('POST', '/v1/catalog/reload', undefined, second)
  t.match(catalog, { status: 202 })
  t.same(loaded, [])
  t.match(await decide('approve', finance, catalog.body['approval']), { status: 200, body: { state: 'approved' } })
  t.same(loaded, ['x'])
  t.match((await admin.request('GET', '/v1/approvals?state=approved')).body['approvals'], { length: 2 })
})

t.test('a subscriber’s app reads what is his, a second old at most, and nothing else', async t => {
  const admin = await startAdmin(t)
  const his = { msisdn: '491701230000', offers: ['bundle-5gb'] }
  await admin.request('POST', '/v1/accounts', { id: 'erik', currency: 'EUR', balance: '3.00', subscriber: his })
  const make = (subscriber: string): Promise<Reply> =>
    admin.request('POST', '/v1/accounts/erik/self-care-tokens', { subscriber, minutes: 5 })
  t.match(await make('2'), { status: 404 })
  const { status, body } = await make('1')
  t.equal(status, 201)
  const own = as(body['token'] as string)
  const self = await admin.request('GET', '/v1/self', undefined, own)
  t.match(self, {
    status: 200,
    body: {
      money: '3.00',
      buckets: [{ name: 'data-5gb', amount: 5_000_000_000 }],
      sessions: [],
      usedToday: { services: {} },
    },
  })
  t.notMatch(JSON.stringify(self.body), '491701230000')
  for (const { method, path, signed, self: isSelf } of routes) {
    if (signed || isSelf) continue
    const sent = method === 'GET' || method === 'DELETE' ? undefined : {}
    t.equal((await admin.request(method, anyPath(path), sent, own)).status, 403, `${method} ${path}`)
  }
  t.match(await admin.request('GET', '/v1/self'), { status: 403, body: { detail: /self-care-tokens/ } })
})

t.test('what is done is recorded before it is done; identities and secrets are not', async t => {
  const admin = await startAdmin(t)
  await admin.request('POST', '/v1/accounts', { id: 'carol', currency: 'EUR', subscriber: { msisdn: '491701234567' } })
  await admin.request('PATCH', '/v1/accounts/carol', { status: 'suspended', actor: 'ann' })
  await admin.request('PATCH', '/v1/accounts/nobody', { status: 'suspended' })
  const { body } = await admin.request('GET', '/v1/auditlog')
  t.match(body['items'], [
    { n: 1, event: 'asked', action: 'POST /v1/accounts', body: { subscriber: { msisdn: '…67' } } },
    { n: 2, event: 'done', status: 201 },
    { event: 'asked', actor: 'ann', before: { status: 'active', sequence: 1 } },
    { event: 'done', after: { status: 'suspended', sequence: 2 } },
    { event: 'asked' },
    { event: 'done', status: 404, type: 'urn:ocsd:problem:not-found' },
  ])
  t.notMatch(JSON.stringify(body), '491701234567')
  const page = await admin.request('GET', '/v1/auditlog?limit=4')
  t.match((await admin.request('GET', `/v1/auditlog?limit=4&after=${String(page.body['next'])}`)).body, {
    items: { length: 2 },
    next: null,
  })
  t.match(await admin.request('GET', '/v1/auditlog/verify'), { status: 200, body: { lines: 6, fault: undefined } })
  const [file] = readdirSync(admin.auditFolder)
  const path = join(admin.auditFolder, file!)
  writeFileSync(path, readFileSync(path, 'utf8').replace('"ann"', '"bob"'))
  t.match(await admin.request('GET', '/v1/auditlog/verify'), {
    body: { lines: 2, fault: { line: 3, what: /was changed/ } },
  })
})

t.test('without an audit log nothing is done', async t => {
  const admin = await startAdmin(t)
  const services = await startAdmin(t, {
    access: { ...admin.services.access, record: () => Promise.reject(new Error('ENOSPC')) },
  })
  t.match(await services.request('POST', '/v1/accounts', { id: 'dora', currency: 'EUR' }), {
    status: 500,
    body: { type: 'urn:ocsd:problem:not-recorded' },
  })
  t.match(await services.request('GET', '/v1/accounts/dora'), { status: 404 })
})
