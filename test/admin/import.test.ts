import { Readable } from 'node:stream'
import fc from 'fast-check'
import t from 'tap'
import { currencyProblem } from '../../src/admin/account-terms.js'
import { importRows, type ImportServices } from '../../src/admin/import.js'
import { columns, readCsv, readJsonLines, type Row } from '../../src/admin/rows.js'
import { BalanceUnavailableError } from '../../src/balance/store.js'
import type { Accounts, CreateOutcome, NewAccount, NewSubscriber } from '../../src/balance/types.js'
import { formatMoney, type Micros } from '../../src/units.js'
import { startAdmin } from '../support/admin.js'
import { seed } from '../support/seed.js'

const header = columns.join(',')

/** In octets of so many at a time, so that characters, quotes and line ends are cut anywhere. */
async function* cut(text: string | Buffer, size: number): AsyncGenerator<Buffer> {
  const octets = Buffer.from(text)
  for (let at = 0; at < octets.length; at += size) {
    await Promise.resolve()
    yield octets.subarray(at, at + size)
  }
}
const all = async (rows: AsyncIterable<Row>): Promise<Row[]> => {
  const found: Row[] = []
  for await (const row of rows) found.push(row)
  return found
}
const values = (row: Row | undefined): string[] => (row && 'fields' in row ? columns.map(name => row.fields[name]) : [])

void t.test('CSV is read as RFC 4180 says, with the line on which each row begins', async t => {
  const text = [
    `\uFEFF${header}\r\n`, // 1
    'anna,0491701,,payg,5.00,EUR\r\n', // 2: a leading zero counts
    '"ben","491702","","pay ""as"" you, go","1.00","EUR"\n', // 3
    '\n', // 4: empty
    '"ca\nrl",491703,,payg,,EUR\n', // 5 and 6
    ' dora , 491704 ,,payg,0,EUR', // 7: no line end
  ].join('')
  for (const size of [1, 2, 3, 7, 1000]) {
    const rows = await all(readCsv(cut(text, size)))
    t.same(
      rows.map(row => row.line),
      [2, 3, 5, 7],
      `cut every ${size}`,
    )
    t.same(rows.map(values), [
      ['anna', '0491701', '', 'payg', '5.00', 'EUR'],
      ['ben', '491702', '', 'pay "as" you, go', '1.00', 'EUR'],
      ['ca\nrl', '491703', '', 'payg', '', 'EUR'],
      ['dora', '491704', '', 'payg', '0', 'EUR'],
    ])
  }
})

void t.test('what CSV writes, the reader reads', async t => {
  t.comment(`SEED=${seed}`)
  const field = fc
    .string({ unit: fc.constantFrom('a', 'ü', '"', ',', '\n', ' ', '😀'), maxLength: 8 })
    .map(text => text.trim())
  const record = fc.array(field, { minLength: columns.length, maxLength: columns.length })
  await fc.assert(
    fc.asyncProperty(fc.array(record, { maxLength: 5 }), fc.integer({ min: 1, max: 9 }), async (records, size) => {
      const text = [
        header,
        ...records.map(each => each.map(value => `"${value.replaceAll('"', '""')}"`).join(',')),
      ].join('\n')
      const rows = await all(readCsv(cut(text, size)))
      t.strictSame(rows.map(values), records)
    }),
    { seed, numRuns: 50 },
  )
})

void t.test('columns may stand in any order; missing, extra and double ones are refused', async t => {
  const [row] = await all(readCsv(cut('currency,balance,offer,imsi,msisdn,account\nEUR,5.00,payg,262,4917,anna\n', 5)))
  t.same(values(row), ['anna', '4917', '262', 'payg', '5.00', 'EUR'])
  const table = [
    ['', 'the file is empty'],
    ['account,msisdn,imsi,offer,balance\n', 'missing column currency'],
    [`${header},note\n`, 'unknown column "note"'],
    [`${header},imsi\n`, 'a column is there twice'],
    ['anna,491701,,payg,5.00,EUR\n', 'unknown column "anna"'],
    [`${header}\n"anna,1,2\n`, 'never ends'],
    [`${header}\n${'x'.repeat(5000)}\n`, 'a row of more than 4096 characters'],
  ] as const
  for (const [text, message] of table)
    await t.rejects(all(readCsv(cut(text, 100))), { message: new RegExp(message) }, message)
  await t.rejects(all(readCsv(cut(Buffer.from([0x61, 0xff, 0xfe]), 9))), { message: /not UTF-8/ })
})

void t.test('JSON lines have the same names, and text only', async t => {
  const text = [
    '{"account":"anna","msisdn":"0491701","offer":"payg","balance":"5.00","currency":"EUR","imsi":null}',
    '',
    '{"account":"ben","msisdn":491702}',
    '{"account":"ben","email":"x"}',
    '[1]',
    '{"account":',
  ].join('\n')
  const rows = await all(readJsonLines(cut(text, 7)))
  t.same(values(rows[0]), ['anna', '0491701', '', 'payg', '5.00', 'EUR'])
  t.match(rows.slice(1), [
    { line: 3, fault: /msisdn must be a text/ },
    { line: 4, fault: /unknown name "email"/ },
    { line: 5, fault: /not a JSON object/ },
    { line: 6, fault: /not a JSON object/ },
  ])
})

/** Notes what is created; an account is known from its first row on. */
class NotedAccounts {
  readonly made = new Map<string, { opening: Micros; identities: string[] }>()
  most = 0
  private inWork = 0

  constructor(private readonly before: (account: string) => Promise<void> = () => Promise.resolve()) {}

  async create(account: NewAccount, subscriber: NewSubscriber | undefined, opening: Micros): Promise<CreateOutcome> {
    this.most = Math.max(this.most, ++this.inWork)
    await this.before(account.id)
    this.inWork--
    const known = this.made.get(account.id)
    const identities = (subscriber?.identities ?? []).map(({ value }) => value)
    if (!known) this.made.set(account.id, { opening, identities })
    else if (identities.every(each => known.identities.includes(each))) return { status: 'exists' }
    else known.identities.push(...identities)
    return { status: 'created' }
  }
}
const services = (accounts: NotedAccounts): ImportServices => ({
  accounts: accounts as unknown as Accounts,
  newBuckets: (offer, _, currency) =>
    offer === 'payg' ? (currency === 'JPY' ? { refused: 'no exchange rate' } : []) : undefined,
  offers: ['payg'],
  currencyProblem: currency => currencyProblem(currency, { currency: 'EUR', exchanged: ['GBP', 'JPY'] }),
  now: () => 0,
  isUnavailable: error => error instanceof BalanceUnavailableError,
})
const csv = (...lines: string[]): AsyncGenerator<Row> => readCsv(cut([header, ...lines].join('\n'), 64))

void t.test('every bad row is reported with its line, the good ones are imported', async t => {
  const accounts = new NotedAccounts()
  const report = await importRows(
    csv(
      'anna,+491701,262011701000001,payg,5.00,EUR',
      'anna,491702,,payg,,EUR',
      'anna,491703,,payg,1.00,EUR',
      'b b,491704,,payg,1.00,EUR',
      'carl,4917x,,payg,1.00,EUR',
      'carl,,1,payg,1.00,EUR',
      'carl,,,payg,1.00,EUR',
      'carl,491705,,gold,1.00,EUR',
      'carl,491705,,payg,1,00,EUR',
      'carl,491705,,payg,-1,EUR',
      'carl,491705,,payg,1.0000001,EUR',
      'carl,491705,,payg,1.00,USD',
      'carl,491705,,payg,1.00,EUR',
      'carl,491705,,payg,,EUR',
      'dora,"49"1706,,payg,1.00,EUR',
      'emil,491707,,payg,1.00,GBP',
      'fred,491708,,payg,1.00,JPY',
      'gina,491709,,payg,1.00,eur',
    ),
    services(accounts),
  )
  t.match(report, { rows: 18, created: 4, existing: 1, refused: 13 })
  t.notOk(report.stopped)
  const expected: [number, RegExp][] = [
    [4, /account anna is in line 2 already: leave balance empty/],
    [5, /account "b b" is not/],
    [6, /msisdn "4917x" is not/],
    [7, /imsi "1" is not/],
    [8, /both empty/],
    [9, /no offer "gold"; it has payg/],
    [10, /7 fields, the header has 6/],
    [11, /balance "-1"/],
    [12, /balance "1.0000001"/],
    [
      13,
      /^the catalog has prices in EUR, and exchange rates for GBP, JPY, none for USD; use EUR or GBP or JPY, or add USD to `exchange:` of the catalog$/,
    ],
    [16, /quote in the wrong place/],
    [18, /^offer payg grants money: no exchange rate$/],
    [19, /^currency "eur" is not three capital letters like EUR$/],
  ]
  t.same(
    report.errors.map(({ line }) => line),
    expected.map(([line]) => line),
  )
  for (const [index, [line, reason]] of expected.entries())
    t.match(report.errors[index]?.reason, reason, `line ${line}`)
  t.same(accounts.made.get('anna')?.identities, ['491701', '262011701000001', '491702'])
  t.equal(formatMoney(accounts.made.get('anna')!.opening), '5.00')
})

void t.test('rows of one account stay in order, however long the first one takes', async t => {
  let calls = 0
  const accounts = new NotedAccounts(async () => {
    if (calls++ === 0) for (let n = 0; n < 50; n++) await new Promise(setImmediate)
  })
  await importRows(
    csv('anna,491701,,payg,5.00,EUR', 'anna,491702,,payg,,EUR', 'ben,491703,,payg,1.00,EUR'),
    services(accounts),
  )
  t.equal(formatMoney(accounts.made.get('anna')!.opening), '5.00')
})

void t.test('no more than 64 rows are in work, and an unreadable rest ends the import where it is', async t => {
  const accounts = new NotedAccounts(() => new Promise(setImmediate))
  const lines = Array.from({ length: 500 }, (_, n) => `a${n},49170${n},,payg,1.00,EUR`)
  const report = await importRows(csv(...lines, '"a,b'), services(accounts))
  t.equal(accounts.most, 64)
  t.match(report, { rows: 500, created: 500, stopped: { line: 502, reason: /never ends/ } })
})

void t.test('a store that goes away stops the import and names the line; a defect is thrown', async t => {
  const failing = (error: Error): NotedAccounts =>
    new NotedAccounts(id => (id === 'a3' ? Promise.reject(error) : Promise.resolve()))
  const lines = Array.from({ length: 200 }, (_, n) => `a${n},49170${n},,payg,1.00,EUR`)
  const report = await importRows(csv(...lines), services(failing(new BalanceUnavailableError('gone'))))
  t.match(report.stopped, { line: 5, reason: /store does not answer/ })
  t.ok(report.rows < 200)
  await t.rejects(importRows(csv(...lines), services(failing(new Error('defect')))), { message: 'defect' })
})

void t.test('over HTTP: 5,000 rows streamed, again without any change, and each balance is there', async t => {
  const admin = await startAdmin(t)
  const lines = Array.from({ length: 5000 }, (_, n) => `a${n},49170${String(n).padStart(7, '0')},,payg,7.50,EUR`)
  const send = async (): Promise<Record<string, unknown>> =>
    (
      await admin.request('POST', '/v1/import', [header, ...lines].join('\n'), {
        'content-type': 'text/csv; charset=utf-8',
      })
    ).body
  t.match(await send(), { rows: 5000, created: 5000, existing: 0, refused: 0, errors: [] })
  t.match(await send(), { rows: 5000, created: 0, existing: 5000, refused: 0 })
  t.match((await admin.request('GET', '/v1/accounts/a4999')).body, { money: '7.50', sequence: 1 })
  t.match((await admin.request('GET', '/v1/subscribers/msisdn/491700000042')).body, { account: { id: 'a42' } })
})

void t.test('however many rows are bad, the list of reasons is bounded', async t => {
  // 200,000 rows of one kind that is refused at once: nothing of them is kept but the reasons.
  let sent = 0
  const rows = readCsv(
    Readable.from(
      (function* () {
        yield Buffer.from(`${header}\n`)
        for (; sent < 200_000; sent += 100) yield Buffer.from('"",,,,,\n'.repeat(100))
      })(),
    ),
  )
  const report = await importRows(rows, services(new NotedAccounts()))
  t.equal(report.refused, 200_000)
  t.equal(report.errors.length, 100_000, 'the list of reasons is bounded')
})
