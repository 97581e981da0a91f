/**
 * What every route does with what it must refuse: wrong types, unknown and missing members, too much, another content type, no or a used
 * Idempotency-Key, ids that nothing has, cursors that are none, a stale ETag. The table of routes is walked, so that a new route is in
 * here without anybody thinking of it. Each refusal has its status, its type and a sentence; nothing is changed.
 */
import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { problemNames, statusOf, type ProblemName } from '../../src/admin/problem.js'
import type { Route, Schema } from '../../src/admin/route.js'
import { routes } from '../../src/admin/routes.js'
import { auditHeadsKey } from '../../src/balance/keys.js'
import { RedisKeptAnswers } from '../../src/balance/idempotency.js'
import { startAdmin, type Reply, type TestAdmin } from '../support/admin.js'

const bodyOctets = 1024 * 1024

const admin = await startAdmin(t)
const anna = { id: 'anna', currency: 'EUR', balance: '5.00', subscriber: { msisdn: '491701000001', offers: ['payg'] } }
await admin.request('POST', '/v1/accounts', anna)
await admin.request('POST', '/v1/accounts', { id: 'berta', currency: 'EUR' })
const override = await admin.request('POST', '/v1/accounts/anna/overrides', {
  ...{ kind: 'limit', target: 'roaming', value: '9.00', reason: 'asked for it' },
})
const whoami = await admin.request('GET', '/v1/whoami')
const principal = typeof whoami.body['id'] === 'string' ? whoami.body['id'] : 'admin-api'

/** Of things that are there. */
const known: Readonly<Record<string, string>> = { id: 'anna', subscriber: '1', override: String(override.body['id']) }

/** Bodies and queries that make sense, for routes whose sample does not get as far as the ETag. */
const sensible: Readonly<Record<string, object>> = {
  'PATCH /v1/accounts/:id': { status: 'suspended' },
  'POST /v1/accounts/:id/overrides': { kind: 'limit', target: 'spend', value: '1.00', reason: 'because' },
  'POST /v1/accounts/:id/opt-ins': { counter: 'spend' },
  'PATCH /v1/accounts/:id/subscribers/:subscriber': { attributes: { a: '1' } },
  'POST /v1/accounts/:id/subscribers': { msisdn: '491709999999', reason: 'because' },
  'POST /v1/accounts/:id/subscribers/:subscriber/identities': { msisdn: '491709999999', reason: 'because' },
  'POST /v1/accounts/:id/subscribers/:subscriber/move': { to: 'berta', reason: 'because' },
}

/** Texts of which one fits nearly every pattern. */
const candidates = [
  ...[
    'nothing-like-it',
    'nobody',
    '77',
    '5.00',
    'EUR',
    'because',
    '2099-12-24',
    '491709999999',
    '2099-12-24T18:00:00Z',
  ],
  ...[
    'msisdn',
    'a@b.example',
    '0'.repeat(16),
    'ABCD-EFGH',
    'A'.repeat(32),
    'https://example.net/',
    '+5.00',
    '00000000-0000-4000-8000-000000000000',
  ],
]

function sampleOf(schema: Schema): unknown {
  const type = Array.isArray(schema['type']) ? (schema['type'] as string[])[0] : schema['type']
  const { enum: values, const: constant, pattern, minLength, maxLength, minimum, items, minItems } = schema
  if (constant !== undefined) return constant
  if (Array.isArray(values)) return values[0] as unknown
  const first = ((schema['oneOf'] ?? schema['anyOf']) as Schema[] | undefined)?.[0]
  if (first) return sampleOf(first)
  switch (type) {
    case 'string': {
      const fits = (text: string): boolean =>
        (pattern === undefined || new RegExp(pattern as string, 'u').test(text)) &&
        text.length >= Number(minLength ?? 0) &&
        text.length <= Number(maxLength ?? Infinity)
      return candidates.find(fits) ?? 'x'
    }
    case 'integer':
    case 'number':
      return Number(minimum ?? 1)
    case 'boolean':
      return true
    case 'array':
      return Array.from({ length: Number(minItems ?? 0) }, () => sampleOf(items as Schema))
    default:
      return objectOf(schema)
  }
}

function objectOf(schema: Schema | undefined): Record<string, unknown> {
  const { properties = {}, required = [] } = (schema ?? {}) as {
    properties?: Record<string, Schema>
    required?: readonly string[]
  }
  return Object.fromEntries(required.map(name => [name, sampleOf(properties[name] ?? {})]))
}

const propertiesOf = (schema: Schema | undefined): [string, Schema][] =>
  Object.entries((schema?.['properties'] ?? {}) as Record<string, Schema>)

/** Where a route is, with these parameters, and its query. */
function urlOf(
  route: Route,
  params: Readonly<Record<string, unknown>>,
  query: Readonly<Record<string, unknown>>,
): string {
  const path = route.path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(String(params[name])))
  const search = new URLSearchParams(
    Object.fromEntries(Object.entries(query).map(([name, value]) => [name, String(value)])),
  ).toString()
  return search === '' ? path : `${path}?${search}`
}

const nameOf = (reply: Reply): string => String(reply.body['type']).replace('urn:ocsd:problem:', '')

/** A refusal as all must be. */
function checkRefusal(t: Test, reply: Reply, what: string): void {
  const { status, headers, body } = reply
  const name = nameOf(reply)
  t.ok(status >= 400 && status < 500, `${what}: ${status} ${JSON.stringify(body).slice(0, 200)}`)
  t.match(headers.get('content-type'), /^application\/problem\+json/, what)
  t.ok((problemNames as string[]).includes(name) && statusOf(name as ProblemName) === status, `${what}: type ${name}`)
  const detail = String(body['detail'])
  t.ok(detail.length > 15, `${what}: ${detail}`)
  t.notMatch(JSON.stringify(body), /node_modules|\.[jt]s:\d|\n {4}at |\/src\/|\/home\/|\/tmp\//, what)
}

/** What the store has, by key: a digest of each value. */
async function contents({ store }: TestAdmin): Promise<Record<string, string>> {
  const { redis } = store.store
  // The audit log notes who tried what: its head moves.
  const keys = (await redis.keys('*')).filter(key => key !== auditHeadsKey).sort()
  const all: Record<string, string> = {}
  for (const key of keys) {
    const dump = await redis.dumpBuffer(key)
    all[key] = createHash('sha256').update(dump).digest('hex').slice(0, 12)
  }
  return all
}

interface Attempt {
  readonly what: string
  readonly path: string
  readonly body?: unknown
  readonly headers?: Record<string, string>
  /** Undefined: any that the route names. */
  readonly expect?: ProblemName | readonly ProblemName[]
}

const jsonType = { 'content-type': 'application/json' }

/** Of another type than the schema allows. */
const misfit = (schema: Schema): unknown => {
  const types = [schema['type']].flat()
  return types.includes('object') || schema['oneOf'] !== undefined || schema['anyOf'] !== undefined
    ? 17.5
    : types.includes('array')
      ? { not: 'a list' }
      : { not: 'what is expected' }
}

function* attempts(route: Route): Generator<Attempt> {
  const params = objectOf(route.params)
  const query = objectOf(route.query)
  const here = urlOf(route, params, query)
  const body = route.body && objectOf(route.body)
  if (route.body) {
    yield { what: 'no JSON', path: here, body: '{"a":', expect: 'invalid-request' }
    yield { what: 'a list', path: here, body: [], expect: 'invalid-request' }
    const closed = route.body['additionalProperties'] === false
    if (closed)
      yield { what: 'an unknown member', path: here, body: { ...body, unheardOf: 1 }, expect: 'invalid-request' }
    yield {
      ...{ what: 'another Content-Type', path: here, body: 'a=b', headers: { 'content-type': 'text/plain' } },
      expect: 'unsupported-media-type',
    }
    const octets = route.bodyOctets ?? bodyOctets
    yield { what: 'too much', path: here, body: JSON.stringify({ a: 'x'.repeat(octets) }), expect: 'too-large' }
    for (const [name, schema] of propertiesOf(route.body)) {
      if (schema['type'] === undefined && schema['oneOf'] === undefined && schema['anyOf'] === undefined) continue
      const broken = { ...body, [name]: misfit(schema) }
      yield { what: `${name} of another type`, path: here, body: broken, expect: 'invalid-request' }
    }
    for (const name of Object.keys(body!)) {
      const rest = Object.fromEntries(Object.entries(body!).filter(([each]) => each !== name))
      yield { what: `no ${name}`, path: here, body: rest, expect: 'invalid-request' }
    }
  }
  if (route.stream) {
    const headers = { 'content-type': 'image/png' }
    yield { what: 'another Content-Type', path: here, body: 'x', headers, expect: 'unsupported-media-type' }
  }
  const sent = route.body ? { body } : {}
  for (const [name, schema] of propertiesOf(route.params)) {
    if (schema['pattern'] === undefined && schema['enum'] === undefined) continue
    const broken = urlOf(route, { ...params, [name]: '!! what?' }, query)
    yield { what: `:${name} of another form`, path: broken, ...sent, expect: 'invalid-request' }
  }
  if (route.query) {
    yield {
      ...{ what: 'an unknown query', path: urlOf(route, params, { ...query, unheardOf: 1 }), ...sent },
      expect: 'invalid-request',
    }
    for (const [name, schema] of propertiesOf(route.query)) {
      const fixed = schema['pattern'] !== undefined || schema['enum'] !== undefined
      if (!fixed && name !== 'after') continue
      const path = urlOf(route, { ...params, ...known }, { ...query, [name]: '!! \u0001' })
      yield { what: `?${name} of another form`, path, ...sent, expect: 'invalid-request' }
    }
  }
  if (route.params && !route.stream && route.problems.includes('not-found')) {
    yield {
      what: 'an id that nothing has',
      path: here,
      body: route.body && (sensible[`${route.method} ${route.path}`] ?? body),
    }
  }
  if (route.idempotent) {
    const headers = { 'idempotency-key': '' }
    yield { what: 'no Idempotency-Key', path: here, ...sent, headers, expect: 'idempotency-key-required' }
    yield {
      what: 'two words as key',
      path: here,
      ...sent,
      headers: { 'idempotency-key': 'a b' },
      expect: 'invalid-request',
    }
  }
}

for (const route of routes) {
  const name = `${route.method} ${route.path}`
  t.test(name, async t => {
    const before = await contents(admin)
    for (const { what, path, body, headers, expect } of attempts(route)) {
      const reply = await admin.request(route.method, path, body, { ...(body !== undefined && jsonType), ...headers })
      checkRefusal(t, reply, what)
      if (expect !== undefined) {
        t.ok(
          [expect].flat().includes(nameOf(reply) as ProblemName),
          `${what}: ${nameOf(reply)} ${String(reply.body['detail'])}`,
        )
      } else {
        const listed: readonly string[] = [...route.problems, 'invalid-request']
        t.ok(listed.includes(nameOf(reply)), `${what}: the route says that it may answer ${nameOf(reply)}`)
      }
    }
    if (route.ifMatch) {
      const body = sensible[name] ?? (route.body && objectOf(route.body))
      const path = urlOf(route, { ...objectOf(route.params), ...known }, objectOf(route.query))
      const reply = await admin.request(route.method, path, body, { 'if-match': '"what-was-read"' })
      checkRefusal(t, reply, 'a stale ETag')
      t.equal(nameOf(reply), 'stale', `a stale ETag: ${String(reply.body['detail'])} (is the body in \`sensible\`?)`)
    }
    const stranger = route.signed
      ? { status: 401 }
      : await fetch(admin.url + urlOf(route, objectOf(route.params), objectOf(route.query)), {
          method: route.method,
        })
    t.equal(stranger.status, 401, 'nobody that we know')
    t.same(await contents(admin), before, 'nothing was changed')
    if (route.idempotent && route.body) {
      const kept = new RedisKeptAnswers(admin.store.store, 60_000)
      const key = `used-${name.replaceAll(/\W/g, '-')}`
      await kept.claim({ principal, key, fingerprint: 'of-another-request', claimant: 'x' })
      const with_ = await contents(admin)
      const path = urlOf(route, objectOf(route.params), objectOf(route.query))
      const reply = await admin.request('POST', path, objectOf(route.body), { 'idempotency-key': key })
      checkRefusal(t, reply, 'a used Idempotency-Key')
      t.equal(nameOf(reply), 'idempotency-key-reused', String(reply.body['detail']))
      t.same(await contents(admin), with_, 'nothing was changed')
    }
  })
}
