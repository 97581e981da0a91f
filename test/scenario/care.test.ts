/** What care sees of an account after real traffic: its ledger page by page, its timeline, and the causes of refusals in words. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Redis } from 'ioredis'
import { journalKey, partitionOf } from '../../src/balance/keys.js'
import type { LedgerRow, Missing, TimelineRow } from '../../src/inquiry/account-history.js'
import { until } from '../support/ocsd-process.js'
import { startScenario, Talk } from '../support/scenario.js'

const catalog = `currency: EUR
timezone: Europe/Berlin
lowBalance: ['1.00']
services:
  data: { context: 32251@3gpp.org, unit: octets, quota: { size: 10MB, min: 100kB, max: 100MB, validity: 1h, threshold: 0% } }
zones:
  eu: { plmn: ['208*'] }
counters:
  abroad: { unit: money, per: subscriber, reset: day, for: data, zone: eu, limit: '0.50', then: stop, steps: [50%] }
rates:
  data: { unit: octets, price: '0.01', per: 1MB, step: 100kB }
  abroad: { unit: octets, price: '0.10', per: 1MB, step: 100kB, setup: '0.05' }
offers:
  payg:
    rules:
      - { service: data, ratingGroup: 40, deny: true }
      - { service: data, ratingGroup: 10, zone: eu, use: [abroad] }
      - { service: data, ratingGroup: 10, use: [pack, data] }
  pack:
    rank: 10
    grants: [{ bucket: pack, amount: 3MB, for: data, expires: 30d, priority: 20 }]
    rules: [{ service: data, ratingGroup: 10, use: [pack, data] }]
`
const folder = t.testdir({ 'catalog.yaml': catalog })
const scenario = await startScenario(t, 'flows', { catalog: join(folder, 'catalog.yaml') })
const { accounts, daemon } = scenario
const gateway = await scenario.gateway(t)
const MB = 1_000_000n
const eu = { information: { plmn: '20801' } }

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

async function api(path: string, of = daemon, number = 1): Promise<Answer> {
  const token = readFileSync(join(scenario.redis.folder, `daemon-${number}`, 'admin.token'), 'utf8').trim()
  const { host, port } = of.addresses.admin
  const response = await fetch(`http://${host}:${port}${path}`, { headers: { authorization: `Bearer ${token}` } })
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}

interface Page<Row> {
  readonly items: Row[]
  readonly next: string | null
  readonly complete: boolean
  readonly missing: Missing[]
}

async function page<Row>(path: string, query: Record<string, string> = {}): Promise<Page<Row>> {
  const { status, body } = await api(`${path}?${new URLSearchParams(query).toString()}`)
  if (status !== 200) throw new Error(JSON.stringify(body))
  return body as unknown as Page<Row>
}

async function pages<Row>(path: string, query: Record<string, string>): Promise<Row[]> {
  const rows: Row[] = []
  for (let after: string | null | undefined; after !== null;) {
    const next: Page<Row> = await page(path, { ...query, ...(after !== undefined && { after }) })
    rows.push(...next.items)
    after = next.next
  }
  return rows
}

const readAll = (directory: string): string =>
  readdirSync(directory)
    .filter(name => name.endsWith('.jsonl'))
    .map(name => readFileSync(join(directory, name), 'utf8'))
    .join('')

const ledgerOf = (account: string): string => `/v1/accounts/${account}/ledger`
const timelineOf = (account: string): string => `/v1/accounts/${account}/timeline`

t.test('a ledger tells each entry in words, with balances before and after, and what it belongs to', async t => {
  const anna = await scenario.subject(t, { offer: 'pack', money: '0.06' })
  const talk = new Talk(gateway, [anna.id])
  await talk.initial([{ ratingGroup: 10, requested: { octets: 8n * MB } }])
  await talk.terminate(1, [{ ratingGroup: 10, used: [{ octets: 5n * MB }] }])
  await anna.recharge('1.00')
  await accounts.setStatus(anna.account, 'suspended', 'care:ines')
  const all = await page<LedgerRow>(ledgerOf(anna.account))
  t.equal(all.complete, true)
  t.equal(all.next, null)
  t.match(
    all.items.map(({ sequence, kind, what }) => `${sequence} ${kind}: ${what}`),
    [
      '5 status: account active → suspended',
      /^4 recharge: recharge of 1.00 EUR by /,
      '3 charge: data: 5 MB used from pack (3 MB) and for 0.02 EUR; session ended',
      '2 charge: data: 8 MB granted',
      /^1 create: account created \(opening balance 0.06 EUR/,
    ],
  )
  const [status, recharge, report, grant] = all.items
  t.match(status, { correlation: { actor: 'care:ines' }, balances: [] })
  t.match(recharge, { balances: [{ balance: 'main', before: '0.04 EUR', after: '1.04 EUR', amount: '+1.00 EUR' }], against: [{ unit: 'EUR', amount: -1_000_000 }], correlation: { channel: String, reference: String } }) // prettier-ignore
  t.match(report, {
    moves: ['commit', 'release'],
    balances: [
      { balance: /^bucket pack/, before: '3 MB', after: '0 B' },
      { balance: 'main', before: '0.06 EUR', after: '0.04 EUR', amount: '-0.02 EUR' },
    ],
    correlation: { session: talk.id, request: 1, host: 'pgw1.example.net' },
    catalog: /^[0-9a-f]{12}$/,
  })
  t.match(grant, { moves: ['reserve'], held: '0.05', correlation: { request: 0 } })

  const numbers = async (query: Record<string, string>): Promise<number[]> =>
    (await pages<LedgerRow>(ledgerOf(anna.account), query)).map(({ sequence }) => sequence)
  const table: readonly [Record<string, string>, number[]][] = [
    [{ limit: '2' }, [5, 4, 3, 2, 1]],
    [{ limit: '1', order: 'oldest' }, [1, 2, 3, 4, 5]],
    [{ kind: 'recharge,status' }, [5, 4]],
    [{ kind: 'reserve' }, [2]],
    [{ kind: 'commit' }, [3]],
    [{ session: talk.id, limit: '1' }, [3, 2]],
    [{ reference: recharge!.correlation['reference'] as string }, [4]],
    [{ balance: 'pack' }, [3, 1]],
    [{ balance: 'main', order: 'oldest' }, [1, 3, 4]],
    [{ until: '2020-01-01' }, []],
    [{ from: '2020-01-01T00:00Z', limit: '3' }, [5, 4, 3, 2, 1]],
  ]
  for (const [query, wanted] of table) t.same(await numbers(query), wanted, JSON.stringify(query))

  const wrong: readonly [string, RegExp][] = [
    ['kind=rechage', /kind: there is no rechage; write some of .*recharge/],
    ['from=yesterday', /from: `yesterday` is not a time/],
    ['after=zzz', /no cursor of this list/],
    ['limit=0', /limit must be from 1 to 1000/],
    ['colour=red', /colour/],
  ]
  for (const [query, detail] of wrong)
    t.match(await api(`${ledgerOf(anna.account)}?${query}`), { status: 400, body: { detail } }, query)
  t.match(await api(ledgerOf('nobody')), { status: 404, body: { type: 'urn:ocsd:problem:not-found' } })
  const { next } = await page(ledgerOf(anna.account), { limit: '1' })
  t.match(await api(`${ledgerOf(anna.account)}?order=oldest&after=${next}`), {
    status: 400,
    body: { detail: /other order/ },
  })
})

t.test('a timeline has a row a session, and says why usage was refused', async t => {
  const bert = await scenario.subject(t, { offer: 'payg', money: '1.20' })
  const first = new Talk(gateway, [bert.id])
  await first.initial([{ ratingGroup: 10, requested: { octets: 4n * MB } }], eu)
  await first.update(1, [{ ratingGroup: 10, requested: { octets: MB / 2n }, used: [{ octets: 4n * MB }] }], eu)
  await first.terminate(2, [{ ratingGroup: 10, used: [{ octets: 500_000n }] }], eu)
  const refused = new Talk(gateway, [bert.id])
  await refused.initial([{ ratingGroup: 10, requested: {} }], eu)
  await new Talk(gateway, [bert.id]).initial([{ ratingGroup: 99, requested: {} }])
  await new Talk(gateway, [bert.id]).initial([{ ratingGroup: 40, requested: {} }])
  const open = new Talk(gateway, [bert.id])
  await open.initial([{ ratingGroup: 10, requested: { octets: MB } }])
  await open.update(1, [{ ratingGroup: 10, requested: {}, used: [{ octets: 80n * MB }] }])
  await accounts.setStatus(bert.account, 'suspended', 'care:ines')
  await new Talk(gateway, [bert.id]).initial([{ ratingGroup: 10, requested: {} }])

  const wanted = [
    'refusal: data refused (4010): the account is suspended',
    'status: account active → suspended',
    /^refusal: data refused \(4012\): no funds: 0.00 EUR is free, the next step costs 0.001 EUR/,
    /^session: data, open: 80 MB used for 0.80 EUR/,
    'refusal: data refused (4010): the tariff does not allow this (rule payg#1)',
    'refusal: data refused (5031): no price for rating group 99 in the offers of this subscriber',
    /^refusal: data refused \(4012\): counter abroad of subscriber 1 stops it: 0.50 EUR of 0.50 EUR$/,
    'session: data, ended: 4.5 MB used for 0.50 EUR',
    /^notification: counter abroad of subscriber 1 reached 50 % of its limit/,
    'status: account created (opening balance 1.20 EUR)',
  ]
  const textOf = ({ kind, what }: TimelineRow): string => `${kind}: ${what}`
  const { items, complete } = await page<TimelineRow>(timelineOf(bert.account))
  const rows = items.filter(({ kind, what }) => kind !== 'notification' || what.includes('50 %'))
  t.match(rows.map(textOf), wanted)
  t.equal(rows.length, wanted.length)
  t.ok(complete)
  t.match(rows[3], { session: { id: open.id, open: true, opened: String, used: { 10: '80 MB' }, cost: '0.80' }, catalog: /^[0-9a-f]{12}$/ }) // prettier-ignore
  t.match(rows[6], { cause: { code: 'limit-reached', resultCode: 4012, line: '10' } })

  for (const limit of ['1', '2', '3', '5']) {
    const all = await pages<TimelineRow>(timelineOf(bert.account), { limit })
    t.same(
      all.map(textOf).sort(),
      items.map(textOf).sort(),
      `pages of ${limit}: the same rows, no session twice, whole in one page`,
    )
  }
  t.match((await page<TimelineRow>(timelineOf(bert.account), { kind: 'session' })).items.map(textOf), [
    wanted[3],
    wanted[7],
  ])
  t.equal((await page<TimelineRow>(`/v1/subscribers/msisdn/${bert.account}/timeline`)).items.length, items.length)

  const { status, body } = await api(`/v1/subscribers/msisdn/${bert.account}/care`)
  t.equal(status, 200)
  t.match(body, {
    subscriber: '1',
    account: { id: bert.account, status: 'suspended' },
    lastRefusal: { what: wanted[0] === undefined ? '' : 'data refused (4010): the account is suspended' },
    lastRecharge: null,
    looked: Number,
  })
})

t.test('entries that another daemon has written are told as missing, and those of the stream are there', async t => {
  const carl = await scenario.subject(t, { offer: 'payg', money: '1.00' })
  for (let i = 0; i < 3; i++) await carl.recharge(`0.0${i + 1}`)
  // The streams lose everything: what is left is what this daemon wrote to its files.
  const redis = new Redis({ path: scenario.redis.socket })
  t.teardown(() => redis.disconnect())
  const directory = join(scenario.redis.folder, 'daemon-1', 'ledger')
  await until('the ledger is written', () => readAll(directory).includes(`"account":"${carl.account}","seq":4,`))
  const key = journalKey(partitionOf(carl.account, scenario.config.store.partitions))
  await redis.xtrim(key, 'MAXLEN', 0)
  const all = await page<LedgerRow>(ledgerOf(carl.account))
  t.same(
    all.items.map(({ sequence }) => sequence),
    [4, 3, 2, 1],
    'read from the files',
  )
  t.equal(all.complete, true)

  const other = await scenario.another()
  const { body } = await api(ledgerOf(carl.account), other, 2)
  t.match(body, { items: [], next: null, complete: false, missing: [{ from: 1, to: 4 }] }, 'the other one has nothing')
  await carl.recharge('0.05')
  const after = (await api(ledgerOf(carl.account), other, 2)).body as unknown as Page<LedgerRow>
  t.same(
    after.items.map(({ sequence }) => sequence),
    [5],
  )
  t.same(after.missing, [{ from: 1, to: 4 }])
  const oldest = (await api(`${ledgerOf(carl.account)}?order=oldest`, other, 2)).body as unknown as Page<LedgerRow>
  t.same([oldest.items.map(({ sequence }) => sequence), oldest.missing], [[5], [{ from: 1, to: 4 }]])
})
