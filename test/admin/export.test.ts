/** Accounts in pages, as a file, and back again; imports that are applied whole or not at all, or from a line on. */
import t from 'tap'
import { startAdmin, token, type TestAdmin } from '../support/admin.js'

type Json = Record<string, unknown>

const header = 'account,msisdn,imsi,offer,balance,currency'
const rows = Array.from({ length: 250 }, (_, i) => {
  const number = String(4917010000000 + i)
  return `a-${i},${number},,${i % 2 === 0 ? 'payg' : 'bundle-5gb'},${i}.50,EUR`
})

const importText = async (admin: TestAdmin, lines: readonly string[], query = ''): Promise<Json> =>
  (await admin.request('POST', `/v1/import${query}`, `${lines.join('\n')}\n`, { 'content-type': 'text/csv' })).body

const exported = async (admin: TestAdmin, query = ''): Promise<{ type: string | null; text: string }> => {
  const response = await fetch(`${admin.url}/v1/export${query}`, { headers: { authorization: `Bearer ${token}` } })
  return { type: response.headers.get('content-type'), text: await response.text() }
}

async function everyPage(admin: TestAdmin, query: string): Promise<{ ids: string[]; pages: number }> {
  const ids: string[] = []
  let [after, pages] = ['', 0]
  for (;;) {
    const { body } = await admin.request('GET', `/v1/accounts?${query}${after && `&after=${after}`}`)
    ids.push(...(body['items'] as { id: string }[]).map(({ id }) => id))
    pages++
    if (body['next'] === null) return { ids, pages }
    after = body['next'] as string
  }
}

t.test('what is exported is imported into an empty store as it was', async t => {
  const [one, other] = [await startAdmin(t), await startAdmin(t)]
  t.match(await importText(one, [header, ...rows, 'a-0,4917019999999,262019999999999,,,EUR']), {
    refused: 0,
    applied: true,
  })
  const { type, text } = await exported(one)
  t.match(type, /^text\/csv/)
  t.equal(text.split('\n')[0], header)
  t.match(await importText(other, text.trimEnd().split('\n')), { created: 251, refused: 0 })
  const sorted = (file: string): string[] => file.trimEnd().split('\n').sort()
  t.same(sorted((await exported(other)).text), sorted(text))
  const lines = await exported(one, '?format=jsonl')
  t.match(lines.type, 'application/x-ndjson')
  t.same(lines.text.trimEnd().split('\n').length, 251)
  t.match(JSON.parse(lines.text.split('\n')[0]!), { currency: 'EUR' })
})

t.test('accounts are listed in pages, each once, also those with a status or an offer alone', async t => {
  const admin = await startAdmin(t)
  await importText(admin, [header, ...rows])
  await admin.request('PATCH', '/v1/accounts/a-7', { status: 'suspended' })
  const all = await everyPage(admin, 'limit=37')
  t.same([new Set(all.ids).size, all.ids.length], [250, 250])
  t.ok(all.pages >= 7)
  t.same((await everyPage(admin, 'status=suspended')).ids, ['a-7'])
  t.equal((await everyPage(admin, 'offer=payg&limit=1000')).ids.length, 125)
  const parts = await Promise.all(
    ['subscribers', 'subscriptions', 'balances'].map(part => admin.request('GET', `/v1/accounts/a-1/${part}`)),
  )
  t.match(
    parts.map(({ body }) => body),
    [
      { account: 'a-1', items: [{ id: '1', identities: [{ value: '4917010000001' }] }] },
      { account: 'a-1', items: [{ offer: 'bundle-5gb' }] },
      { account: 'a-1', money: '1.50', buckets: [{ name: 'data-5gb' }] },
    ],
  )
  t.equal((await admin.request('GET', '/v1/accounts/nobody/balances')).status, 404)
  t.equal((await admin.request('GET', `/v1/sessions/${encodeURIComponent('gw;1;1')}`)).status, 404)
})

t.test('all or nothing: every bad row is listed, and none is applied', async t => {
  const admin = await startAdmin(t)
  await importText(admin, [header, 'anna,491701,,payg,5.00,EUR'])
  const file = [
    header,
    'ben,491702,,payg,5.00,EUR', // 2
    'carl,491702,,payg,5.00,EUR', // 3: Ben's, in this file
    'dora,491701,,payg,5.00,EUR', // 4: Anna's, in the store
    'emil,491705,,gold,5.00,EUR', // 5
    'ben,491706,,payg,1.00,EUR', // 6: a second balance
    'anna,491707,,payg,,GBP', // 7
  ]
  const report = await importText(admin, file, '?allOrNothing=true')
  t.match(report, { rows: 6, created: 0, refused: 5, applied: false })
  t.match(report['errors'], [
    { line: 3, reason: /^msisdn 491702 belongs to account ben in line 2$/ },
    { line: 4, reason: /^msisdn 491701 belongs to account anna$/ },
    { line: 5, reason: /no offer "gold"/ },
    { line: 6, reason: /leave balance empty/ },
    { line: 7, reason: /^account anna exists with currency EUR$/ },
  ])
  t.equal((await admin.request('GET', '/v1/accounts/ben')).status, 404, 'the good row, too')
  t.match(await importText(admin, file.slice(0, 2), '?allOrNothing=true'), { created: 1, refused: 0, applied: true })
  t.match((await importText(admin, file))['created'], 0, 'without it good rows are applied, and these are there')
})

t.test('an import goes on from a line: rows before it are not looked at again', async t => {
  const admin = await startAdmin(t)
  t.match(await importText(admin, [header, ...rows.slice(0, 5)], '?fromLine=4'), { rows: 5, created: 3, existing: 2 })
  t.equal((await admin.request('GET', '/v1/accounts/a-1')).status, 404)
  t.equal((await admin.request('GET', '/v1/accounts/a-2')).status, 200)
})
