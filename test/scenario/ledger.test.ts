/**
 * The operator's ledger: records for mediation, today's report, an audit that goes on, and a lost store that comes back.
 */
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OcsdProcess, processFolder, until } from '../support/ocsd-process.js'

t.test('an operator collects records, reads a report, loses the store and has it back', async t => {
  const folder = processFolder(t, { cdr: { formats: ['jsonl', 'csv'] } })
  const ocsd = await OcsdProcess.start(t, folder)
  for (const [id, balance] of [
    ['anna', '5.00'],
    ['ben', '1.50'],
  ]) {
    const subscriber = { msisdn: id === 'anna' ? '491700000001' : '491700000002', offers: ['bundle-5gb'] }
    const made = await ocsd.api('POST', '/v1/accounts', { id, currency: 'EUR', balance, subscriber })
    t.equal(made.status, 201, JSON.stringify(made.body))
  }
  const recharge = { amount: '10.00', currency: 'EUR', channel: 'outlet', reference: 'till-7' }
  t.equal((await ocsd.api('POST', '/v1/accounts/anna/recharges', recharge)).status, 201)
  t.match(await ocsd.audit(), { violations: [], entries: 3, accounts: 2 })
  t.match(await ocsd.audit(), { violations: [], entries: 0, accounts: 2 }, 'nothing is new')
  const reportPath = `/v1/reports/daily?date=${new Intl.DateTimeFormat('en-CA', { timeZone: 'Europe/Berlin' }).format()}`
  const today = async (): Promise<Record<string, unknown>> => (await ocsd.api('GET', reportPath)).body
  await until('the entries are in the ledger', async () => (await today())['entries'] === 3)
  const report = await today()
  t.match(report, {
    currencies: [{ unit: 'EUR', opening: '0.00', in: '16.50', out: '0.00', closing: '16.50', balanced: true }],
    recharges: [{ channel: 'outlet', count: 1, amount: '10.00' }],
  })
  t.match(await ocsd.api('GET', '/v1/reports/daily?date=2999-01-01'), {
    status: 400,
    body: { type: /invalid-request/ },
  })
  t.match(await ocsd.api('GET', '/v1/reports/daily?date=2026-02-30'), { status: 400, body: { detail: /no day/ } })
  const { body } = await ocsd.api('GET', reportPath.replace('daily', 'recharges'))
  t.match(body, { items: [{ account: 'anna', amount: '10.00', reference: 'till-7' }], next: null })
  const { body: before } = await ocsd.api('GET', '/v1/accounts/anna')
  const refused = OcsdProcess.spawn(t, ['--config', folder.file, '--rebuild'])
  t.equal((await refused.end()).code, 1, 'not while a daemon runs')
  await ocsd.kill('SIGTERM')

  const files = readdirSync(join(folder.data, 'cdr'))
  for (const format of ['jsonl', 'csv'])
    t.ok(
      files.some(name => name.endsWith(`.${format}.manifest.json`)),
      `${format}: closed, with its manifest`,
    )
  const full = OcsdProcess.spawn(t, ['--config', folder.file, '--rebuild'])
  t.equal((await full.end()).code, 1)
  t.match(full.stderr, /has accounts or ledger entries already/, 'a store with accounts is left alone')

  rmSync(join(folder.data, 'store'), { recursive: true })
  const identities = join(folder.folder, 'export.jsonl')
  writeFileSync(
    identities,
    '{"account":"anna","subscriber":1,"msisdn":"491700000001"}\n{"account":"ben","msisdn":"491700000002"}\n',
  )
  const rebuild = OcsdProcess.spawn(t, ['--config', folder.file, '--rebuild', '--identities', identities])
  t.equal((await rebuild.end()).code, 0, rebuild.stdout + rebuild.stderr)
  t.match(rebuild.stdout, /^2 accounts are back, from 3 ledger entries; 1 references stay used\n[^]*nothing is missing/)
  const again = await OcsdProcess.start(t, folder)
  t.same((await again.api('GET', '/v1/accounts/anna')).body, before, 'as it was')
  t.match(await again.audit(), { violations: [] })
  t.match((await again.api('POST', '/v1/accounts/anna/recharges', recharge)).body, { repeated: true })
  await again.kill('SIGTERM')
})
