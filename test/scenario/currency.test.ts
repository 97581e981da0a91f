/** An account in another currency than the catalog's: made and read over the API, quoted, charged over Gy, and explained. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { micros } from '../../src/units.js'
import { startScenario, Talk } from '../support/scenario.js'

const scenario = await startScenario(t, 'flows', { catalog: 'test/tariffs/currency.yaml' })
const { clock, daemon } = scenario
const gateway = await scenario.gateway(t)

/** A minute before the second exchange rate. */
clock.offsetMs = Date.parse('2026-01-31T22:59:00Z') - Date.now()

async function api(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
  const token = readFileSync(join(scenario.redis.folder, 'daemon-1', 'admin.token'), 'utf8').trim()
  const { host, port } = daemon.addresses.admin
  const response = await fetch(`http://${host}:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  return (await response.json()) as Record<string, unknown>
}

const msisdn = '15551234567'
const subscriber = { msisdn, offers: ['payg'] }
await api('POST', '/v1/accounts', { id: 'uma', currency: 'USD', balance: '5.00', subscriber })

async function explained(session: string, number: string): Promise<string[]> {
  const { explanations } = await api('GET', `/v1/explain?${new URLSearchParams({ session, number }).toString()}`)
  return (explanations as { text: string[] }[]).flatMap(({ text }) => text.slice(2))
}

t.test('the catalog tells which currencies accounts may have', async t => {
  t.match(await api('GET', '/v1/catalog'), { currency: 'EUR', exchanged: ['USD', 'JPY'] })
})

t.test('a quote is in the currency of the account, real or described', async t => {
  const use = { service: 'data', amount: '10MB', at: '2026-01-31T12:00' }
  const own = await api('POST', '/v1/rate', { subscriber: msisdn, ...use })
  t.match(own, { result: 'granted', cost: '0.1087', currency: 'USD' })
  const described = { offers: ['payg'], ...use }
  t.match(await api('POST', '/v1/rate', { currency: 'USD', ...described }), { cost: '0.1087', currency: 'USD' })
  t.match(await api('POST', '/v1/rate', described), { cost: '0.10', currency: 'EUR' })
  const text = (own['text'] as string[]).join('\n')
  t.match(text, "prices are converted: 1 USD = 0.92 of the catalog's currency")
  const none = await api('POST', '/v1/rate', { currency: 'CHF', ...described })
  t.match(none, { detail: 'currency: the catalog has no exchange rate `CHF`; known: EUR, USD, JPY' })
  const early = await api('POST', '/v1/rate', { ...described, offers: ['gift'], currency: 'USD', at: '2025-01-01' })
  t.match(early, {
    detail: 'offer gift grants money: no exchange rate USD at any time before 2025-12-31T23:00:00.000Z',
  })
})

t.test('a session over the change of the exchange rate pays and tells both', async t => {
  const talk = new Talk(gateway, [['e164', msisdn]])
  const grant = await talk.initial([{ ratingGroup: 7, requested: {} }])
  t.equal(grant.resultCode, 2001)
  clock.offsetMs += 120_000
  const used = [
    { side: 'before' as const, octets: 5_000_000n },
    { side: 'after' as const, octets: 5_000_000n },
  ]
  await talk.terminate(1, [{ ratingGroup: 7, used }])
  t.match(await explained(talk.id, '1'), [
    'rating group 7, exchange USD 0.95',
    /before 2026-01-31T23:00:00.000Z: rule payg#3 .* → use data-payg/,
    "  before 2026-01-31T23:00:00.000Z: prices are converted: 1 USD = 0.92 of the catalog's currency",
    /from 2026-01-31T23:00:00.000Z: rule payg#3 .* → use data-payg/,
    "  from 2026-01-31T23:00:00.000Z: prices are converted: 1 USD = 0.95 of the catalog's currency",
    '  reported 10 MB; 10 MB of the session so far',
    '    the tariff switched at 2026-01-31T23:00:00.000Z: 5 MB before it, 5 MB after it',
    '    rate data-payg (0.01087 per 1 MB in steps of 100 kB): 5 MB cost 0.05435 USD',
    '      5 MB: 5 MB at 0.01087 per 1 MB = 0.05435',
    '      0.05435 USD from main',
    '    rate data-payg (0.010527 per 1 MB in steps of 100 kB): 5 MB cost 0.052635 USD',
    '      5 MB: 5 MB at 0.010527 per 1 MB = 0.052635',
    '      0.052635 USD from main',
    'balances',
    '  main: 5.00 USD → 4.94565 USD (-0.05435 USD)',
    '  main: 4.94565 USD → 4.893015 USD (-0.052635 USD)',
    'counters',
    '  day-spend of the account: 0.052635 USD now',
  ])
  const { counters } = await api('GET', '/v1/accounts/uma')
  t.match(counters, [{ name: 'day-spend', limit: '0.526315' }], 'its limit in its own money')
})

t.test('money of a value is granted in the currency of the account', async t => {
  const talk = new Talk(gateway, [['e164', msisdn]])
  const changes = { serviceContextId: 'value@example.com' }
  const answer = await talk.initial([{ requested: { money: 1_000_000n, currency: 840 } }], changes)
  const [mscc] = answer.groups('Multiple-Services-Credit-Control')
  t.equal(mscc!.group('Granted-Service-Unit')!.group('CC-Money')!.number('Currency-Code'), 840)
  await talk.terminate(1, [{ used: [{ money: 1_000_000n, currency: 840 }] }], changes)
  t.match((await explained(talk.id, '1')).join('\n'), /at least 0.53, costs 0.53/)
})

t.test('where prices cannot be converted it is refused, and told why', async t => {
  await daemon.accounts.create(
    { id: 'heidi', currency: 'CHF', creditLimit: micros(0), status: 'active' },
    { identities: [{ type: 'msisdn', value: '41791234567' }], offers: [{ offer: 'payg', buckets: [] }] },
    micros(5_000_000),
    'admin',
  )
  const talk = new Talk(gateway, [['e164', '41791234567']])
  t.equal((await talk.initial([{ ratingGroup: 30, requested: {} }])).resultCode, 5031)
  t.match(await explained(talk.id, '0'), [
    'rating group 30',
    '  prices cannot be converted: no exchange rate CHF at any time',
    '  refused with 5031, rating failed',
  ])
})
