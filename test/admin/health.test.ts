import { execFileSync } from 'node:child_process'
import { chmodSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startHealth } from '../../src/admin/http.js'
import { Readiness } from '../../src/admin/readiness.js'
import { readOrMakeToken, tokenCheck } from '../../src/admin/token.js'

void t.test('readiness gives each reason, health asks nobody, metrics are scraped', async t => {
  const readiness = new Readiness()
  let store: string | undefined = 'redis-server is loading its data'
  readiness.set('diameter', 'not listening yet')
  readiness.watch('store', () => store)
  const metrics = {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    scrape: () => Promise.resolve('ocs_up 1\n'),
  }
  const health = await startHealth({ listen: { host: '127.0.0.1', port: 0 }, readiness, metrics })
  t.teardown(() => health.close())
  const get = async (path: string, method = 'GET'): Promise<[number, string]> => {
    const response = await fetch(`http://127.0.0.1:${health.port}${path}`, { method })
    return [response.status, await response.text()]
  }
  const reasons = async (): Promise<unknown> => JSON.parse((await get('/readyz'))[1])

  t.equal((await get('/readyz'))[0], 503)
  t.same(await reasons(), {
    ready: false,
    reasons: [
      { name: 'diameter', reason: 'not listening yet' },
      { name: 'store', reason: 'redis-server is loading its data' },
    ],
  })
  t.equal((await get('/healthz'))[0], 200, 'lives, though it is not ready')
  readiness.set('diameter', undefined)
  t.same(await reasons(), { ready: false, reasons: [{ name: 'store', reason: store }] })
  store = undefined
  t.same(await get('/readyz'), [200, '{"ready":true,"reasons":[]}\n'])
  readiness.set('draining', 'the daemon is stopping')
  t.equal((await get('/readyz'))[0], 503)
  t.same(await get('/metrics'), [200, 'ocs_up 1\n'])
  t.equal((await get('/v1/accounts'))[0], 404)
  t.equal((await get('/healthz', 'POST'))[0], 405)
  await t.rejects(startHealth({ listen: { host: '127.0.0.1', port: health.port }, readiness, metrics }), {
    message: /key metrics of the configuration\): the port is taken/,
  })
})

void t.test('the token is made once, with mode 600 and 256 bits', t => {
  const path = join(t.testdir(), 'data', 'admin.token')
  const first = readOrMakeToken(path)
  t.match(first, { made: true, token: /^[\w-]{43}$/ })
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.same(readOrMakeToken(path), { made: false, token: first.token })
  t.equal(readFileSync(path, 'utf8'), `${first.token}\n`)
  for (const mode of [0o640, 0o604, 0o666]) {
    chmodSync(path, mode)
    t.throws(() => readOrMakeToken(path), { message: /can be read by others.*chmod 600/ })
  }
  chmodSync(path, 0o600)
  for (const content of ['', 'short', 'with spaces in it that are not allowed at all']) {
    execFileSync('sh', ['-c', 'printf %s "$1" > "$2"', 'sh', content, path])
    t.throws(() => readOrMakeToken(path), { message: /holds no token/ })
  }
  t.end()
})

void t.test('only the whole token passes', t => {
  const passes = tokenCheck('0123456789abcdef0123456789abcdef')
  t.ok(passes('Bearer 0123456789abcdef0123456789abcdef'))
  t.ok(passes('bearer  0123456789abcdef0123456789abcdef'), 'the scheme is case-insensitive')
  for (const wrong of [
    undefined,
    '',
    'Bearer',
    '0123456789abcdef0123456789abcdef',
    'Bearer 0123456789abcdef0123456789abcde',
    'Bearer 0123456789abcdef0123456789abcdef0',
    'Bearer x 0123456789abcdef0123456789abcdef',
  ]) {
    t.notOk(passes(wrong), String(wrong))
  }
  t.end()
})
