/** Unknown subscribers whose numbers the catalog knows get an account at their first use: one, however many ask at once. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t from 'tap'
import { identityKey } from '../../src/balance/keys.js'
import { ocsctl, type Run } from '../support/ocsctl.js'
import { until } from '../support/ocsd-process.js'
import { startScenario, Talk } from '../support/scenario.js'

const folder = mkdtempSync(join(tmpdir(), 'ocsd-test-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
mkdirSync(join(folder, 'catalog'))
const shipped = new URL('../../config/catalog/mvno.yaml', import.meta.url)
cpSync(shipped, join(folder, 'catalog', 'mvno.yaml'))
writeFileSync(
  join(folder, 'catalog', 'life.yaml'),
  `
lifecycle: { prepaid: { start: use, first: 30d, account: { segment: prepaid } } }
autoCreate:
  sims: { msisdn: [44770099*, 447711000000-447711000009], imsi: ['2620188*'], offers: [bundle-5gb], attributes: { segment: prepaid } }
`,
)
const scenario = await startScenario(t, 'shipped', { catalog: join(folder, 'catalog') })
const { accounts } = scenario
const other = await scenario.another()

t.test('fifty first requests at two daemons make one account, which serves them all', async t => {
  const gateways = await Promise.all([
    scenario.gateway(t),
    scenario.gateway(t, { originHost: 'pgw2.example.net', daemons: [other] }),
  ])
  const who = [
    ['e164', '447700990001'],
    ['imsi', '262018800000001'],
  ] as const
  const talks = Array.from({ length: 50 }, (_, i) => new Talk(gateways[i % 2]!, i % 3 === 0 ? [...who].reverse() : who))
  const answers = await Promise.all(
    talks.map(talk => talk.initial([{ ratingGroup: 10, requested: { octets: 1_000_000n } }])),
  )
  t.same(
    answers.map(({ resultCode }) => resultCode),
    talks.map(() => 2001),
  )
  const found = (await accounts.find({ type: 'msisdn', value: '447700990001' }))!
  t.equal((await accounts.find({ type: 'imsi', value: '262018800000001' }))?.account.id, found.account.id)
  const { id, buckets, openSessions, subscribers, extras } = found.account
  t.match(id, /^auto-[0-9a-f]{16}$/, 'nothing of the number is in its id')
  t.equal(buckets.length, 1)
  t.equal(openSessions, 50)
  t.equal(subscribers.length, 1)
  t.same(extras.attributes, { segment: 'prepaid' })
  const offers = (await accounts.census()).offers.get('bundle-5gb')
  t.equal(offers, 1, 'no other account was left behind')
  await until('its life has begun', async () => (await accounts.show(id))!.status === 'active')
})

t.test('what is not in the ranges is unknown, and asking alone makes nothing', async t => {
  const gateway = await scenario.gateway(t)
  for (const number of ['447711000010', '44771100000', '4477']) {
    const answer = await new Talk(gateway, [['e164', number]]).initial([{ ratingGroup: 10, requested: {} }])
    t.equal(answer.resultCode, 5030, number)
  }
  const known = ['e164', '447711000009'] as const
  const price = await new Talk(gateway, [known], { serviceContextId: '32274@3gpp.org' }).ask({
    ...new Talk(gateway, [known]).input('event', 0, [{ ratingGroup: 10, requested: { events: 1n } }]),
    serviceContextId: '32274@3gpp.org',
    action: 'price',
  })
  t.equal(price.resultCode, 5030)
  t.equal(await accounts.find({ type: 'msisdn', value: '447711000009' }), undefined)
  const first = await new Talk(gateway, [known]).initial([{ ratingGroup: 10, requested: {} }])
  t.equal(first.resultCode, 2001)
})

t.test('what died over a claim of a number is finished by whoever asks next', async t => {
  const redis = new Redis({ path: scenario.redis.socket })
  const { key, field } = identityKey({ type: 'msisdn', value: '447711000001' })
  await redis.hset(key, field, 'auto-0123456789abcdef 0')
  redis.disconnect()
  const talk = new Talk(await scenario.gateway(t), [['e164', '447711000001']])
  t.equal((await talk.initial([{ ratingGroup: 10, requested: {} }])).resultCode, 2001)
  t.equal((await accounts.find({ type: 'msisdn', value: '447711000001' }))?.account.id, 'auto-0123456789abcdef')
})

t.test('an operator sees the life of an account, sets its end, and ends it', async t => {
  const { account } = (await accounts.find({ type: 'msisdn', value: '447711000009' }))!
  const tokenFile = join(scenario.redis.folder, 'daemon-1', 'admin.token')
  const run = (...words: string[]): Promise<Run> => ocsctl(scenario.daemon, tokenFile, ...words)
  await until('it is active', async () => (await accounts.show(account.id))!.status === 'active')
  const year = new Date().getUTCFullYear() + 2
  const [shown, set, past, never, unsure, busy] = await Promise.all([
    run('life', account.id),
    run('valid-until', account.id, `${year}-01-31`, '--reason', 'goodwill', '--json'),
    run('valid-until', account.id, '2020-01-31', '--reason', 'goodwill'),
    run('valid-until', 'nobody', 'never', '--reason', 'goodwill'),
    run('terminate', account.id, '--reason', 'customer left'),
    run('terminate', account.id, '--reason', 'customer left', '--yes'),
  ])
  t.match(shown, { status: 0, stdout: /life cycle +prepaid/ })
  t.equal((JSON.parse(set.stdout) as { life: { until: string } }).life.until, `${year}-01-31T00:00:00.000Z`)
  t.match(past, { status: 1, stderr: /that is over/ })
  t.match(never, { status: 1, stderr: /no account nobody/ })
  t.match(unsure, { status: 2, stderr: /--yes/ })
  t.match(busy, { status: 1, stderr: /open sessions: abort or release them first/ })
  for (const { id } of await accounts.sessions({ account: account.id, limit: 10 })) await accounts.release(id, 'test')
  const ended = await run('terminate', account.id, '--reason', 'customer left', '--yes', '--json')
  t.match(JSON.parse(ended.stdout), { status: 'terminated', life: { rule: 'prepaid', phase: 'terminated' } })
  t.match(await accounts.show(account.id), { money: 0n, buckets: [] })
})
