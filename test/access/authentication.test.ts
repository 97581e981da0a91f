/** Who is let in by which credentials, and for how long: keys, tokens of an identity provider, the token of the data folder. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose'
import t from 'tap'
import { makeKey, type ApiKey } from '../../src/access/api-keys.js'
import { Authenticator } from '../../src/access/authentication.js'
import { JsonWebTokens } from '../../src/access/json-web-token.js'
import { Lockout, RateLimit } from '../../src/access/limits.js'
import { selfCareToken } from '../../src/access/self-care.js'
import { mayDo, permissions, permissionsOf, roles } from '../../src/access/roles.js'
import { VirtualClock } from '../../src/clock.js'
import type { OidcConfig } from '../../src/config/config.js'

const start = Date.UTC(2026, 10, 23)
const hour = 3_600_000

function aKey(changes: Partial<ApiKey> = {}): { key: ApiKey; secret: string } {
  const made = makeKey({
    ...{ name: 'shop', roles: ['recharge-agent'], createdBy: 'admin-api', createdAt: start, expires: start + hour },
  })
  return { key: { ...made.key, ...changes }, secret: made.secret }
}

function anAuthenticator(
  keys: ApiKey[],
  tokens?: JsonWebTokens,
): { auth: Authenticator; clock: VirtualClock; asked: string[] } {
  const clock = new VirtualClock(start)
  const asked: string[] = []
  const auth = new Authenticator({
    isToken: authorization => authorization === 'Bearer the-token-of-the-data-folder',
    keyOf: id => {
      asked.push(id)
      return Promise.resolve(keys.find(key => key.id === id))
    },
    selfCareSecret: () => Promise.resolve('the secret of the store'),
    tokens,
    lockout: new Lockout(clock, 3, 60_000),
    now: () => clock.now(),
    clock,
    metrics: { authenticated: () => undefined },
  })
  return { auth, clock, asked }
}

t.test('a key opens until it ends or is revoked, and only with its own secret', async t => {
  const [good, other, ended] = [aKey(), aKey(), aKey({ expires: start })]
  const revoked = aKey({ revokedAt: start, revokedBy: 'x' })
  const keys = [good, other, ended, revoked].map(({ key }) => key)
  const { auth, clock } = anAuthenticator(keys)
  const principal = { id: `key:${good.key.id}`, kind: 'key', roles: ['recharge-agent'] }
  t.same(await auth.authenticate(`Bearer ${good.secret}`, 'a'), { status: 'known', principal })
  const swapped = good.secret.replace(good.key.id, other.key.id)
  for (const [sent, why] of [
    [swapped, /no such API key/],
    [good.secret.slice(0, -1), /no such API key/],
    [ended.secret, /is expired/],
    [revoked.secret, /is revoked/],
  ] as const) {
    t.match(await auth.authenticate(`Bearer ${sent}`, String(why)), { status: 'refused', why })
  }
  clock.advance(hour)
  t.match(await auth.authenticate(`Bearer ${good.secret}`, 'a'), { status: 'refused', why: /is expired/ })
  t.notMatch(JSON.stringify(keys), good.secret.slice(-20), 'the secret is nowhere')
})

t.test('a revoked key opens no longer than the cache keeps it', async t => {
  const { key, secret } = aKey()
  const keys = [key]
  const { auth, clock, asked } = anAuthenticator(keys)
  for (let i = 0; i < 5; i++) await auth.authenticate(`Bearer ${secret}`, 'a')
  t.equal(asked.length, 1, 'asked once')
  keys[0] = { ...key, revokedAt: start }
  clock.advance(2_000)
  t.match(await auth.authenticate(`Bearer ${secret}`, 'a'), { status: 'refused' })
})

t.test('who fails too often waits; the token of the data folder opens all the same', async t => {
  const { key, secret } = aKey()
  const { auth, clock } = anAuthenticator([key])
  for (let i = 0; i < 3; i++) t.match(await auth.authenticate('Bearer guess', 'a'), { status: 'refused' })
  t.match(await auth.authenticate(`Bearer ${secret}`, 'a'), { status: 'locked', seconds: 60 })
  t.match(await auth.authenticate(`Bearer ${secret}`, 'b'), { status: 'known' }, 'another address')
  t.match(await auth.authenticate('Bearer the-token-of-the-data-folder', 'a'), { status: 'known' })
  clock.advance(60_000)
  t.match(await auth.authenticate(`Bearer ${secret}`, 'a'), { status: 'known' })
  for (const nothing of [undefined, '', 'Basic YTpi', 'Bearer'])
    t.match(await auth.authenticate(nothing, 'c'), { status: 'refused', why: /send Authorization/ })
})

const issuer = 'https://login.example.net/realms/mvno'

async function aProvider(): Promise<{
  jwks: object
  sign(claims: object, key?: CryptoKey, alg?: string): Promise<string>
  foreign: CryptoKey
}> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const foreign = (await generateKeyPair('ES256')).privateKey
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }
  return {
    jwks: { keys: [jwk] },
    foreign,
    sign: (claims, key = privateKey, alg = 'ES256') =>
      new SignJWT({ iss: issuer, aud: 'ocsd', sub: 'ann', exp: (start + hour) / 1000, ...claims })
        .setProtectedHeader({ alg, kid: 'k1' })
        .sign(key),
  }
}

const oidc = (jwks: OidcConfig['jwks']): OidcConfig => ({
  ...{ issuer, audience: 'ocsd', jwks, subjectClaim: 'sub', rolesClaim: 'realm_access.roles' },
  roles: new Map([['ocs-care', 'care']]),
})

t.test(
  'a token of the identity provider opens with the roles it names, while it is valid and meant for us',
  async t => {
    const provider = await aProvider()
    const folder = mkdtempSync(join(tmpdir(), 'ocs-jwks-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, 'jwks.json'), JSON.stringify(provider.jwks))
    const { auth } = anAuthenticator([], new JsonWebTokens(oidc({ file: join(folder, 'jwks.json') })))
    const claims = { sub: 'ann smith', realm_access: { roles: ['ocs-care', 'finance', 'offline_access'] } }
    t.same(await auth.authenticate(`Bearer ${await provider.sign(claims)}`, 'a'), {
      status: 'known',
      principal: { id: 'sub:ann_smith', kind: 'jwt', roles: ['care', 'finance'] },
    })
    t.match(await auth.authenticate(`Bearer ${await provider.sign({})}`, 'a'), { principal: { roles: [] } })
    const none =
      `${btoa('{"alg":"none"}')}.${btoa(JSON.stringify({ iss: issuer, aud: 'ocsd', sub: 'x', exp: 9e9 }))}.x`.replaceAll(
        '=',
        '',
      )
    for (const [i, [token, why]] of [
      [await provider.sign({ exp: start / 1000 - 60 }), /has expired/],
      [await provider.sign({ nbf: start / 1000 + 60 }), /claim nbf/],
      [await provider.sign({ aud: 'other' }), /claim aud/],
      [await provider.sign({ iss: 'https://evil.example' }), /claim iss/],
      [await provider.sign({ sub: undefined }), /claim sub/],
      [await provider.sign({}, provider.foreign), /not valid/],
      [none, /not valid/],
    ].entries() as IterableIterator<[number, readonly [string, RegExp]]>) {
      t.match(await auth.authenticate(`Bearer ${token}`, `address ${i}`), { status: 'refused', why }, String(why))
    }
  },
)

t.test('a subscriber’s token opens for him until it ends, and no other can be made from it', async t => {
  const { auth, clock } = anAuthenticator([])
  const token = selfCareToken('the secret of the store', { account: 'alice', subscriber: '2', expires: start + hour })
  t.match(await auth.authenticate(`Bearer ${token}`, 'a'), {
    status: 'known',
    principal: { kind: 'subscriber', roles: [], self: { account: 'alice', subscriber: '2' } },
  })
  for (const [i, other] of [
    token.replace('alice', 'bob'),
    token.replace('~2~', '~1~'),
    token.replace(/~(\d{10})~/, (_, seconds: string) => `~${Number(seconds) + 1}~`),
    selfCareToken('another secret', { account: 'alice', subscriber: '2', expires: start + hour }),
    token.slice(0, -1),
  ].entries())
    t.match(await auth.authenticate(`Bearer ${other}`, `b${i}`), { status: 'refused', why: /no such token/ })
  clock.advance(hour)
  t.match(await auth.authenticate(`Bearer ${token}`, 'a'), { status: 'refused', why: /has expired/ })
})

t.test('keys of the provider come over the network; a provider that is down is no refusal', async t => {
  const provider = await aProvider()
  let up = true
  const server = createServer((_, response) => {
    response.statusCode = up ? 200 : 503
    response.end(JSON.stringify(provider.jwks))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
  const token = await provider.sign({ realm_access: { roles: ['sre'] } })
  const { auth } = anAuthenticator([], new JsonWebTokens(oidc({ url })))
  t.match(await auth.authenticate(`Bearer ${token}`, 'a'), { status: 'known', principal: { roles: ['sre'] } })
  up = false
  const second = anAuthenticator([], new JsonWebTokens(oidc({ url })))
  t.match(await second.auth.authenticate(`Bearer ${token}`, 'a'), { status: 'unavailable' })
})

t.test('so many requests a second, each for himself', t => {
  const clock = new VirtualClock(start)
  const limit = new RateLimit(clock, 10)
  const taken = (who: string, count: number): number =>
    Array.from({ length: count }, () => limit.take(who)).filter(wait => wait === 0).length
  t.equal(taken('a', 15), 10)
  t.equal(taken('b', 5), 5)
  t.ok(limit.take('a') > 0)
  clock.advance(500)
  t.equal(taken('a', 15), 5)
  t.equal(new RateLimit(clock, 0).take('a'), 0, 'no limit')
  t.end()
})

t.test('each permission is somebody’s beside the administrator, and each role has some', t => {
  const others = roles.filter(role => role !== 'admin')
  const nobodys = permissions.filter(each => !others.some(role => permissionsOf[role].includes(each)))
  t.same(nobodys, ['bulk.write', 'key.write', 'person.write'])
  for (const role of roles) t.ok(permissionsOf[role].length > 0, role)
  t.ok(mayDo({ id: 'x', kind: 'jwt', roles: ['viewer', 'sre'] }, 'trace'))
  t.notOk(mayDo({ id: 'x', kind: 'jwt', roles: [] }, 'account.read'))
  t.end()
})
