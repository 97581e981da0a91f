/** Why something was charged, granted or refused, told from the ledger after real Gy sessions; and the same told before by a quote. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Redis } from 'ioredis'
import { journalKey, partitionOf } from '../../src/balance/keys.js'
import type { CcrInput, ServiceInput } from '../../src/simulator/ccr.js'
import { formatMoney, parseMoney } from '../../src/units.js'
import { until } from '../support/ocsd-process.js'
import { startScenario, Talk, type Subject } from '../support/scenario.js'

const catalog = `currency: EUR
timezone: Europe/Berlin
lowBalance: ['1.00']
services:
  data: { context: 32251@3gpp.org, unit: octets, quota: { size: 10MB, min: 100kB, max: 100MB, validity: 1h, threshold: 0% } }
zones:
  eu: { plmn: ['208*'] }
calendars:
  night: { from: '22:00', to: '06:00' }
counters:
  month: { unit: octets, per: account, reset: month }
  abroad: { unit: money, per: subscriber, reset: day, for: data, zone: eu, limit: '0.50', then: stop, steps: [50%] }
rates:
  data: { unit: octets, price: '0.01', per: 1MB, step: 100kB }
  tiers: { unit: octets, per: 1MB, step: 1MB, counter: month, tiers: [{ upTo: 5MB, price: '0.02' }, { price: '0.01' }] }
  abroad: { unit: octets, price: '0.10', per: 1MB, step: 100kB, setup: '0.05' }
  night: { unit: octets, price: '0.005', per: 1MB, step: 1MB }
offers:
  payg:
    rules:
      - { service: data, ratingGroup: 30, free: true }
      - { service: data, ratingGroup: 40, deny: 5003 }
      - { service: data, ratingGroup: 20, use: [tiers] }
      - { service: data, ratingGroup: 10, zone: eu, use: [abroad] }
      - { service: data, ratingGroup: 10, when: night, use: [night] }
      - { service: data, ratingGroup: 10, use: [pack, home, data] }
  pack:
    rank: 10
    grants:
      - { bucket: pack, amount: 3MB, for: data, expires: 30d, priority: 20, warn: [50%] }
      - { bucket: pack, amount: 1MB, for: data, starts: 2099-01-01, expires: never, priority: 10 }
      - { bucket: home, amount: 1MB, for: data, zone: eu, expires: never }
    rules: [{ service: data, ratingGroup: 10, use: [pack, home] }]
`
const folder = t.testdir({ 'catalog.yaml': catalog })
const scenario = await startScenario(t, 'flows', { catalog: join(folder, 'catalog.yaml') })
const { accounts, clock, daemon } = scenario
const gateway = await scenario.gateway(t)
const MB = 1_000_000n

// Noon in Berlin, on a Monday.
clock.offsetMs = Date.parse('2026-06-15T10:00:00Z') - Date.now()

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

async function api(method: string, path: string, body?: object): Promise<Answer> {
  const token = readFileSync(join(scenario.redis.folder, 'daemon-1', 'admin.token'), 'utf8').trim()
  const { host, port } = daemon.addresses.admin
  const response = await fetch(`http://${host}:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}

/** What the ledger says of a request, without its time and title. */
async function explained(query: Record<string, string>): Promise<string[]> {
  const { status, body } = await api('GET', `/v1/explain?${new URLSearchParams(query).toString()}`)
  if (status !== 200) throw new Error(JSON.stringify(body))
  const { explanations } = body as unknown as { explanations: { text: string[] }[] }
  return explanations.flatMap(({ text }) => text.slice(2))
}

/** A session of one line: what is said of its grant, and of its end after the use. */
async function told(
  subject: Subject,
  line: ServiceInput,
  octets: bigint,
  changes: Partial<CcrInput> = {},
): Promise<{ grant: string[]; report: string[] }> {
  const talk = new Talk(gateway, [subject.id])
  const { resultCode } = await talk.initial([{ ...line, requested: {} }], changes)
  if (resultCode === 2001) await talk.terminate(1, [{ ...line, used: [{ octets }] }], changes)
  const grant = await explained({ session: talk.id, number: '0' })
  const report = resultCode === 2001 ? await explained({ session: talk.id, number: '1' }) : []
  return { grant, report }
}

const eu = { information: { plmn: '20801' } }

async function withPack(t: Test, money: string): Promise<Subject> {
  const subject = await scenario.subject(t, { offer: 'pack', money })
  const { rev } = (await accounts.show(subject.account))!
  const buy = { subscriber: '1', offer: 'payg', buckets: [], reference: 'payg', actor: 'test' }
  await accounts.subscribe({ account: subject.account, rev, ...buy })
  return subject
}

t.test('buckets in their order, why others were passed over, and the price step by step', async t => {
  const { grant, report } = await told(await withPack(t, '1.05'), { ratingGroup: 10 }, 5_250_000n)
  const why = [
    'rating group 10',
    '  rule pack#1 (catalog.yaml:33): service data, ratingGroup 10 → use pack, home',
    '  rule payg#6 (catalog.yaml:26): service data, ratingGroup 10 → use pack, home, data',
    '  bucket home is not for this: its condition zone does not hold',
  ]
  t.same(grant, [
    ...why,
    '  not bucket pack (1-2): it is not valid yet',
    '  granted 10 MB (asked: any amount); held 3 MB of bucket pack (1-1), 0.07 EUR of main',
  ])
  t.same(report, [
    ...why,
    '  reported 5.25 MB; 5.25 MB of the session so far',
    '    bucket pack (1-1) pays for 3 MB',
    '    rate data (0.01 per 1 MB in steps of 100 kB): 2.25 MB cost 0.023 EUR',
    '      2.25 MB are 2.3 MB in steps of 100 kB: 2.3 MB at 0.01 per 1 MB = 0.023',
    '      0.023 EUR from main',
    'balances',
    '  bucket pack (1-1): 3 MB → 0 B (-3 MB)',
    '  main: 1.05 EUR → 1.027 EUR (-0.023 EUR)',
    'events',
    '  bucket pack (1-1) fell to 1.5 MB',
  ])
})

t.test('a limit that stops, a setup fee, what comes beyond the grant, debt, and the events of them', async t => {
  const alice = await scenario.subject(t, { offer: 'payg', money: '0.60' })
  const first = await told(alice, { ratingGroup: 10 }, 4n * MB, eu)
  t.match(first.grant, [
    'rating group 10, zone eu',
    '  rule payg#4 (catalog.yaml:24): service data, ratingGroup 10, zone eu → use abroad',
    /^ {2}granted 4.5 MB \(asked: any amount\); held 0.50 EUR of main, the last: final unit; counter abroad of subscriber 1 allows no more/,
  ])
  t.same(first.report.slice(2), [
    '  reported 4 MB; 4 MB of the session so far',
    '    rate abroad (0.10 per 1 MB in steps of 100 kB, setup 0.05): 4 MB cost 0.45 EUR',
    '      4 MB: 4 MB at 0.10 per 1 MB = 0.40, setup 0.05, costs 0.45',
    '      0.45 EUR from main',
    'balances',
    '  main: 0.60 EUR → 0.15 EUR (-0.45 EUR)',
    'counters',
    '  abroad of subscriber 1: 0.45 EUR now',
    'events',
    '  counter abroad of subscriber 1 reached 50 % of its limit',
  ])
  const second = await told(alice, { ratingGroup: 10 }, 4n * MB, eu)
  t.match(second.grant.at(-1), /refused with 4012, .*; counter abroad of subscriber 1 stops it: 0.45 EUR of 0.50 EUR$/)
  const home = new Talk(gateway, [alice.id])
  await home.initial([{ ratingGroup: 10, requested: { octets: MB } }])
  await home.terminate(1, [{ ratingGroup: 10, used: [{ octets: 20n * MB }] }])
  t.same((await explained({ session: home.id, number: '1' })).slice(3), [
    '  reported 20 MB; 20 MB of the session so far',
    '    rate data (0.01 per 1 MB in steps of 100 kB): 1 MB cost 0.01 EUR',
    '      1 MB: 1 MB at 0.01 per 1 MB = 0.01',
    '      0.01 EUR from main',
    '    rate data (0.01 per 1 MB in steps of 100 kB): 19 MB cost 0.19 EUR',
    '      20 MB: 20 MB at 0.01 per 1 MB = 0.20; less 0.01 for the 1 MB before = 0.19',
    '      0.14 EUR from main',
    '      nothing free is left for 0.05 EUR: it becomes debt',
    'balances',
    '  main: 0.15 EUR → 0.14 EUR (-0.01 EUR)',
    '  main: 0.14 EUR → 0.00 EUR (-0.14 EUR)',
    '  debt: 0.00 EUR → -0.05 EUR (-0.05 EUR)',
  ])
  const empty = await told(alice, { ratingGroup: 10 }, MB)
  t.match(empty.grant.at(-1), /4012, .*; 0.00 EUR is free, the next step needs 0.001$/)
})

t.test('tiers on a counter, a night rate, free, denied, no rule', async t => {
  const alice = await scenario.subject(t, { offer: 'payg' })
  const last = ({ report }: { report: string[] }): string[] => report.slice(2, 6)
  t.same(last(await told(alice, { ratingGroup: 20 }, 4n * MB)).slice(2), [
    '      4 MB; the counter month goes from 0 B to 4 MB: 4 MB at 0.02 per 1 MB = 0.08',
    '      0.08 EUR from main',
  ])
  t.same(last(await told(alice, { ratingGroup: 20 }, 2_500_000n)).slice(2), [
    '      2.5 MB are 3 MB in steps of 1 MB; the counter month goes from 4 MB to 7 MB: 1 MB at 0.02 per 1 MB + 2 MB at 0.01 per 1 MB = 0.04',
    '      0.04 EUR from main',
  ])
  t.match((await told(alice, { ratingGroup: 30 }, MB)).grant.at(-1), /granted 100 MB \(asked: any amount\), free/)
  t.match((await told(alice, { ratingGroup: 40 }, MB)).grant, [
    'rating group 40',
    '  rule payg#2 (catalog.yaml:22): service data, ratingGroup 40 → deny 5003',
    '  refused by the rule with 5003, authorization rejected',
  ])
  t.match((await told(alice, { ratingGroup: 50 }, MB)).grant, [
    'rating group 50',
    /no rule matches: payg#1 ratingGroup, .* and 1 more$/,
    '  refused with 5031, rating failed',
  ])
  clock.shift(11 * 3_600_000)
  const night = await told(alice, { ratingGroup: 10 }, 1_100_000n)
  clock.shift(-11 * 3_600_000)
  t.match(night.report, ['rating group 10, when night', /payg#5 .* when night → use night$/, /reported/, /rate night/])
})

t.test('an override is told, with the price that it made', async t => {
  const alice = await scenario.subject(t, { offer: 'payg' })
  const value = { kind: 'price', target: 'data', value: '4000', reason: 'loyal', actor: 'test' } as const
  await accounts.addOverride(alice.account, { id: 'o1', ...value })
  const { report } = await told(alice, { ratingGroup: 10 }, MB)
  t.equal(report[2], '  the account has an override: rate data is 0.004 per 1 MB in steps of 100 kB')
  t.match(report.join(), '1 MB at 0.004 per 1 MB = 0.004')
})

t.test('what an operator changed is told, old and new', async t => {
  const { account } = await scenario.subject(t, { offer: 'payg' })
  const lastTold = (): Promise<string[]> => explained({ account, limit: '1' })
  const path = `/v1/accounts/${account}`
  for (const [segment, words] of [
    ['vip', 'new: segment vip'],
    ['gold', 'segment: vip → gold'],
    [null, 'gone: segment gold'],
  ] as const) {
    t.equal((await api('PATCH', path, { attributes: { segment } })).status, 200)
    t.same(await lastTold(), [`  ${words}`])
  }
  const override = { kind: 'price', target: 'data', value: '0.004', reason: 'loyal', until: '2027-01-01T00:00Z' }
  const { body } = await api('POST', `${path}/overrides`, override)
  const until = '2027-01-01T00:00:00.000Z'
  t.same(await lastTold(), [`  new: id ${String(body['id'])}, kind price, target data, value 0.004, until ${until}`])
})

t.test('entries are found by time, nearest first, after they left the stream, and another number is not', async t => {
  const alice = await scenario.subject(t, { offer: 'payg' })
  const talk = new Talk(gateway, [alice.id])
  const ask = { ratingGroup: 10, requested: {} }
  const start = clock.now()
  await talk.initial([ask])
  for (const number of [1, 2, 3]) {
    clock.shift(600_000)
    await talk.update(number, [{ ...ask, used: [{ octets: MB }] }])
  }
  const titles = async (query: Record<string, string>): Promise<string[]> => {
    const { body } = await api('GET', `/v1/explain?${new URLSearchParams(query).toString()}`)
    const { explanations } = body as unknown as { explanations: { title: string }[] }
    return explanations.map(({ title }) => /^\w+ request \d|^\w+/.exec(title)![0])
  }
  const near = new Date(start + 1_150_000).toISOString()
  t.same(await titles({ subscriber: alice.account, at: near, limit: '2' }), ['update request 1', 'update request 2'])
  t.same(await titles({ session: talk.id }), [
    'initial request 0',
    'update request 1',
    'update request 2',
    'update request 3',
  ])
  t.same(await titles({ account: alice.account, limit: '50' }), [
    'create',
    'initial request 0',
    'update request 1',
    'update request 2',
    'update request 3',
  ])
  const redis = new Redis({ path: scenario.redis.socket })
  t.teardown(() => redis.disconnect())
  const { partitions } = scenario.config.store
  const written = async (): Promise<boolean> => {
    const { body } = await api('POST', '/v1/audit')
    return (body['violations'] as unknown[]).length === 0 && existsSync(join(ledger, readdirSync(ledger)[0]!))
  }
  const ledger = join(scenario.redis.folder, 'daemon-1', 'ledger')
  await until(
    'the ledger is written',
    async () =>
      (await written()) &&
      readFileSync(join(ledger, readdirSync(ledger)[0]!), 'utf8').includes(`${talk.id}","number":3`),
  )
  await redis.del(journalKey(partitionOf(alice.account, partitions)))
  t.same(await titles({ session: talk.id, number: '2' }), ['update request 2'], 'from the files')
  const missing = await api('GET', `/v1/explain?${new URLSearchParams({ session: talk.id, number: '9' }).toString()}`)
  t.equal(missing.status, 404)
  t.match(
    missing.body['detail'],
    /no entry of session .*, request 9: looked at 0 entries of the journal and 1 files of this daemon; older/,
  )
})

t.test('a quote is what is charged then, told in the same words; nothing of it is written', async t => {
  for (const [ratingGroup, amount, octets, money, change] of [
    [10, '5.25MB', 5_250_000n, '1.05', {}],
    [10, '3MB', 3n * MB, '1.05', eu],
    [20, '7MB', 7n * MB, '1.05', {}],
    [30, '1MB', MB, '1.05', {}],
  ] as [number, string, bigint, string, typeof eu][]) {
    const alice = await withPack(t, money)
    const before = JSON.stringify(await accounts.show(alice.account), (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    )
    const asked = {
      subscriber: alice.account,
      service: 'data',
      amount,
      ratingGroup,
      plmn: (change as Partial<typeof eu>).information?.plmn,
    }
    const { status, body } = await api('POST', '/v1/rate', asked)
    t.equal(status, 200)
    const quote = body as unknown as { cost: string; explanations: { lines: { text: string[] }[] }[] }
    t.equal(
      JSON.stringify(await accounts.show(alice.account), (_, value: unknown) =>
        typeof value === 'bigint' ? String(value) : value,
      ),
      before,
    )
    const { report } = await told(alice, { ratingGroup }, octets, change)
    const left = formatMoney(parseMoney(money)! - (await accounts.show(alice.account))!.money)
    t.equal(quote.cost, left, `${amount} of ${ratingGroup}`)
    const said = quote.explanations
      .flatMap(({ lines }) => lines)
      .find(({ text }) => text.some(line => line.includes('reported')))
    t.same(said?.text ?? [], report.slice(0, report.includes('balances') ? report.indexOf('balances') : undefined))
  }
  const described = await api('POST', '/v1/rate', {
    offers: ['payg'],
    balance: '0.02',
    service: 'data',
    amount: '3MB',
    ratingGroup: 10,
    at: '2026-06-15T23:00',
  })
  t.match(described.body, { result: 'granted', cost: '0.015', left: [{ balance: 'main', amount: '0.005 EUR' }] })
  const short = await api('POST', '/v1/rate', {
    offers: ['payg'],
    balance: '0.02',
    service: 'data',
    amount: '3MB',
    ratingGroup: 10,
    at: '2026-06-15T12:00',
  })
  t.match(short.body, { result: '4012', used: '2 MB', cost: '0.02' })
  t.match(short.body['text'], [
    /^3 MB of data at 2026-06-15T10:00:00.000Z: 2 MB of it, then refused with 4012; costs 0.02 EUR$/,
    /^paid by {2}main: 0.02 EUR$/,
  ])
})

t.test('an event and its refund', async t => {
  const subject = await scenario.subject(t, { offer: 'payg' })
  const service: ServiceInput = { ratingGroup: 10, requested: { octets: 1_000_000n } }
  const event = (action: 'debit' | 'refund', services: readonly ServiceInput[]) => {
    const talk = new Talk(gateway, [subject.id], { action })
    return talk.ask(talk.input('event', 0, services)).then(answer => ({ id: talk.id, answer }))
  }
  const debit = await event('debit', [service])
  const line = debit.answer.groups('Multiple-Services-Credit-Control')[0]!
  const refund = line.all('Refund-Information')[0]!.value as Buffer
  const back = await event('refund', [{ ratingGroup: 10, requested: { octets: 600_000n }, refund }])
  t.match(
    (await explained({ session: debit.id })).join('\n'),
    /reported 1 MB; .*rate data \(.*1 MB cost 0\.01 EUR\n.*from main\nbalances/s,
  )
  const told = await explained({ session: back.id })
  t.match(told.join('\n'), /gave back 600000 of the 1000000 units of a debit; of its price 0\.006 EUR/)
  t.match(told.join('\n'), /main.*\+0\.006/)
})

t.test('what cannot be quoted or explained says what is wrong, and what to write', async t => {
  const alice = await scenario.subject(t, { offer: 'payg' })
  const use = { subscriber: alice.account, service: 'data', amount: '1MB' }
  const table: [path: string, body: object | undefined, status: number, detail: RegExp][] = [
    ['/v1/rate', { ...use, service: 'dat' }, 400, /^service: the catalog has no service `dat`; did you mean `data`\?$/],
    ['/v1/rate', { ...use, amount: '1' }, 400, /^amount: `1` is not an amount of octets; write a size like 100kB/],
    ['/v1/rate', { ...use, amount: '1mb' }, 400, /^amount: .*; write 1MB or 1MiB$/],
    ['/v1/rate', { ...use, amount: '0MB' }, 400, /^amount: `0MB` is nothing/],
    ['/v1/rate', { ...use, amount: '1000TB' }, 400, /^amount: `1000TB` is above the 100 TB that one line may carry/],
    ['/v1/rate', { ...use, at: 'tomorrow' }, 400, /^at: `tomorrow` is not a time; write 2026-12-24/],
    ['/v1/rate', { ...use, over: 'long' }, 400, /^over: `long` is not a duration/],
    ['/v1/rate', { ...use, plmn: 'DE' }, 400, /^plmn: `DE` is not MCC and MNC/],
    ['/v1/rate', { ...use, called: 'anna' }, 400, /^called: `anna` is not a number/],
    [
      '/v1/rate',
      { ...use, rat: '6G' },
      400,
      /^rat: there is no radio technology `6G`; write its number, or one of utran/,
    ],
    ['/v1/rate', { ...use, subscriber: '491' }, 404, /no subscriber with msisdn 491/],
    ['/v1/rate', { ...use, subscriber: 'imsi:12' }, 400, /^subscriber: imsi is not/],
    ['/v1/rate', { ...use, subscriber: undefined }, 400, /^name one of account, subscriber and offers$/],
    ['/v1/rate', { ...use, account: 'a' }, 400, /^name one of/],
    ['/v1/rate', { ...use, balance: '5.00' }, 400, /^balance goes with offers/],
    ['/v1/rate', { ...use, subscriber: undefined, account: 'nobody' }, 404, /there is no account nobody/],
    [
      '/v1/rate',
      { ...use, subscriber: undefined, offers: ['pay'] },
      400,
      /^offer: the catalog has no offer `pay`; did you mean `payg`/,
    ],
    [
      '/v1/rate',
      { ...use, subscriber: undefined, offers: ['payg'], balance: '5,00' },
      400,
      /^balance: `5,00` is not an amount of money/,
    ],
    ['/v1/rate', { ...use, colour: 'red' }, 400, /colour/],
    ['/v1/rate', { service: 'data' }, 400, /amount/],
    ['/v1/explain', undefined, 400, /^name a session, a subscriber or an account$/],
    ['/v1/explain?number=1&account=a', undefined, 400, /name the session, too/],
    ['/v1/explain?session=x&number=one', undefined, 400, /number: "one" is not accepted; write CC-Request-Number/],
    [`/v1/explain?subscriber=${alice.account}&at=noon`, undefined, 400, /^at: `noon` is not a time/],
    ['/v1/explain?subscriber=491', undefined, 404, /no subscriber with msisdn 491/],
    ['/v1/explain?session=gw;1;2', undefined, 404, /no entry of session gw;1;2: looked at \d+ entries/],
    ['/v1/explain?account=a&limit=1000', undefined, 400, /limit/],
  ]
  for (const [path, body, status, detail] of table) {
    const answer = await api(body ? 'POST' : 'GET', path, body)
    t.equal(answer.status, status, `${path} ${JSON.stringify(body)}`)
    t.match(answer.body['detail'], detail)
  }
})
