/**
 * Business time put forward: daemons of one store agree, what came due happens in its order, dates follow the calendar of the place,
 * and nothing that belongs to the machine notices.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Daemon } from '../../src/daemon.js'
import { ocsctl } from '../support/ocsctl.js'
import { until } from '../support/ocsd-process.js'
import { startScenario, Talk } from '../support/scenario.js'

const dayMs = 86_400_000
const scenario = await startScenario(t, 'shipped', { clock: 'virtual' })
const other = await scenario.another()
const [first, second] = [1, 2].map(n => join(scenario.redis.folder, `daemon-${n}`, 'admin.token')) as [string, string]

interface ClockView {
  readonly kind: string
  readonly now: string
  readonly aheadSeconds: number
  readonly due?: number
}

async function api(
  to: Daemon,
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const { host, port } = to.addresses.admin
  const token = readFileSync(to === other ? second : first, 'utf8').trim()
  const response = await fetch(`http://${host}:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}
const clockOf = async (daemon: Daemon): Promise<ClockView> =>
  (await api(daemon, 'GET', '/v1/clock')).body as unknown as ClockView

t.test('a month passes at once: buckets end, sessions are silent, and the books are right', async t => {
  const anna = await scenario.subject(t, { offer: 'bundle-5gb', money: '10.00' })
  const gateway = await scenario.gateway(t)
  const talk = new Talk(gateway, [anna.id])
  await talk.initial([{ ratingGroup: 10, requested: {} }])
  t.equal(await anna.openSessions(), 1)
  const before = await clockOf(scenario.daemon)
  t.match(before, { kind: 'virtual', aheadSeconds: 0 })

  const run = await ocsctl(scenario.daemon, first, 'clock', 'advance', '31d', '--json')
  t.equal(run.status, 0, run.stderr)
  const after = JSON.parse(run.stdout) as ClockView
  t.equal(after.aheadSeconds, (31 * dayMs) / 1000)
  t.equal(after.due, 0, 'all that came due was done')
  await anna.is(t, { bal: '10.00', res: '0.00', buckets: [] }, 'what was held came back, the bucket is gone')
  t.equal(await anna.openSessions(), 0)
  const entries = await anna.entries()
  const at = entries.find(({ posts }) => JSON.stringify(posts).includes('"expiry"'))!['at'] as number
  t.ok(at >= Date.parse(after.now) - 60_000 && at <= Date.parse(after.now), 'dated by business time')

  await until('the other daemon follows', async () => (await clockOf(other)).aheadSeconds >= (31 * dayMs) / 1000)
  const books = await api(scenario.daemon, 'POST', '/v1/audit')
  t.same(books.body['violations'], [])
})

t.test('a gateway goes on in real time: its Event-Timestamp says nothing, and requests go through', async t => {
  const ben = await scenario.subject(t, { money: '10.00' })
  const talk = new Talk(await scenario.gateway(t), [ben.id])
  await api(scenario.daemon, 'POST', '/v1/clock', { advance: '2m', waitSeconds: 0 })
  const answer = await talk.initial([{ ratingGroup: 10, requested: {} }], {
    eventTimestamp: Math.floor(Date.now() / 1000),
  })
  t.equal(answer.resultCode, 2001)
  await talk.terminate(1, [{ ratingGroup: 10, used: [{ octets: 1_000_000n }] }], {
    eventTimestamp: Math.floor(Date.now() / 1000),
  })
  const now = Date.parse((await clockOf(scenario.daemon)).now)
  for (const { at } of (await ben.entries()).slice(1)) t.ok(now - (at as number) < 60_000, 'the time of its arrival')
})

t.test('to a date of the calendar: over the changes of summer time, and never back', async t => {
  const year = new Date(Date.parse((await clockOf(scenario.daemon)).now)).getUTCFullYear() + 1
  const zone = readFileSync(join(scenario.config.catalog, 'mvno.yaml'), 'utf8').match(/^timezone: (\S+)/m)?.[1]
  t.equal(zone, undefined, 'the shipped catalog is of UTC')
  for (const [to, shown] of [
    [`${year}-01-31T23:59:59`, `${year}-01-31T23:59:59`],
    [`${year}-03-31T00:30+01:00`, `${year}-03-30T23:30:00`],
    [`${year}-10-31T00:00`, `${year}-10-31T00:00:00`],
  ] as const) {
    const { status, body } = await api(scenario.daemon, 'POST', '/v1/clock', { to })
    t.equal(status, 200, JSON.stringify(body))
    t.equal((body['now'] as string).slice(0, 19), shown)
  }
  const back = await api(scenario.daemon, 'POST', '/v1/clock', { to: `${year}-10-30` })
  t.match(back, { status: 409, body: { type: 'urn:ocsd:problem:clock-backwards' } })
})

t.test('many who put it forward at once are all heard, at whatever daemon', async t => {
  const before = await clockOf(scenario.daemon)
  await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      api(i % 2 === 0 ? scenario.daemon : other, 'POST', '/v1/clock', { advance: '1h', waitSeconds: 0 }),
    ),
  )
  for (const daemon of [scenario.daemon, other])
    await until('ten hours', async () => (await clockOf(daemon)).aheadSeconds - before.aheadSeconds === 36_000)
  t.pass()
})

t.test('a request that says nothing useful is told what to write', async t => {
  for (const [body, says] of [
    [{}, /one of advance and to/],
    [{ advance: '1d', to: '2030-01-01' }, /one of advance and to/],
    [{ advance: 'soon' }, /is not accepted/],
    [{ advance: '999999d' }, /100 years/],
    [{ to: '2027-02-30' }, /is not a time/],
  ] as const) {
    const { status, body: answer } = await api(scenario.daemon, 'POST', '/v1/clock', body)
    t.equal(status, 400)
    t.match(answer['detail'], says)
  }
})

t.test(
  'the machine’s clock is nobody’s to move, nor is a store that is ahead a daemon’s without a virtual one',
  async t => {
    const real = await startScenario(t, 'shipped')
    const { host, port } = real.daemon.addresses.admin
    const token = readFileSync(join(real.redis.folder, 'daemon-1', 'admin.token'), 'utf8').trim()
    const answer = await fetch(`http://${host}:${port}/v1/clock`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: '{"advance":"1d"}',
    })
    t.match(await answer.json(), { status: 409, type: 'urn:ocsd:problem:clock-is-real', detail: /clock: virtual/ })
    const redis = new Redis({ path: real.redis.socket })
    await redis.set('ocs:virtual-time', '86400000 somebody')
    redis.disconnect()
    await t.rejects(real.another(), /put forward: start with clock: virtual/)
  },
)
