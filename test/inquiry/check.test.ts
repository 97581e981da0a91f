import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { checkConfiguration, type CheckReport } from '../../src/inquiry/check.js'

const log = pino({ level: 'silent' })

const tariff = `
currency: EUR
services:
  data: { context: 32251@3gpp.org, unit: octets }
rates:
  data: { unit: octets, price: '0.01', per: 1MB, step: 100kB }
offers:
  payg: { rules: [{ service: data, use: [data] }] }
tests:
  - name: a started step
    offer: payg
    use: { service: data, octets: 250kB }
    expect: { cost: '0.003' }
`

const check = (
  t: Test,
  catalog: string,
  more: Partial<Parameters<typeof checkConfiguration>[1]> = {},
): Promise<CheckReport> => {
  const folder = t.testdir({ 'ocs.yaml': 'catalog: tariff.yaml\n', 'tariff.yaml': catalog })
  return checkConfiguration(join(folder, 'ocs.yaml'), { log, environment: {}, ...more })
}

t.test('the shipped configuration and catalog are clean', async t => {
  const { ok, lines } = await checkConfiguration('config/ocs.yaml', { log })
  t.ok(ok, lines.join('\n'))
  t.match(lines, [
    /^ok: configuration, and catalog [0-9a-f]{12} \(EUR\): \d+ services, \d+ rates, \d+ offers, \d+ tests$/,
  ])
})

t.test('the cases beside the tariff are played; one that fails is a fault with its place', async t => {
  t.match(await check(t, tariff), { ok: true, lines: [/: 1 services, 1 rates, 1 offers, 1 tests$/] })
  const { ok, lines } = await check(t, tariff.replace("'0.003'", "'0.0025'"))
  t.notOk(ok)
  t.match(lines, [
    /tariff\.yaml:10:5: test "a started step": cost is 0\.003, not 0\.0025; mend the tariff, or the case/,
    '1 fault: the daemon would not start',
  ])
})

t.test('where there is no redis-server the cases are not run, and that is said', async t => {
  const none = { startStore: () => Promise.resolve(undefined) }
  t.match(await check(t, tariff, none), {
    ok: true,
    lines: ['warning: tests: 1 not run, no redis-server here (install redis-server)', /^ok: /],
  })
  const without = tariff.slice(0, tariff.indexOf('tests:'))
  t.match(await check(t, without, none), { ok: true, lines: [/, 0 tests$/] })
  const broken = { startStore: () => Promise.reject(new Error('redis-server did not start: no memory')) }
  t.match(await check(t, tariff, broken), {
    ok: false,
    lines: ['tests: 1 could not be run: redis-server did not start: no memory', 'the daemon would not start'],
  })
})

t.test('the faults of the catalog that the configuration names are told, and those of the configuration', async t => {
  const { ok, lines } = await check(t, tariff.replace("'0.01'", '0.01').replace('rules:', 'ruls:'))
  t.notOk(ok)
  t.match(lines, [/tariff\.yaml:6:32: .*bare number; quote it/, /tariff\.yaml:8:11: .*did you mean `rules`/])
  t.equal(lines.at(-1), '2 faults: the daemon would not start')
  const folder = t.testdir({ 'ocs.yaml': '', 'tariff.yaml': tariff })
  writeFileSync(join(folder, 'ocs.yaml'), 'catalogue: tariff.yaml\n')
  t.match(await checkConfiguration(join(folder, 'ocs.yaml'), { log, environment: {} }), {
    ok: false,
    lines: [/ocs\.yaml:1:1: .*did you mean `catalog`/, /1 fault/],
  })
})
