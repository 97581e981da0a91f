/** `make demo` as people run it: a process of its own against a daemon; twice in a row, and without one. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { formatMoney } from '../../src/units.js'
import { startScenario, Talk } from '../support/scenario.js'

const demo = fileURLToPath(new URL('../../src/simulator/demo.ts', import.meta.url))
const catalog = fileURLToPath(new URL('../../config/catalog', import.meta.url))

const scenario = await startScenario(t, 'shipped')
const config = join(scenario.redis.folder, 'ocs.yaml')
const configure = (data: string): void =>
  writeFileSync(
    config,
    [
      `catalog: ${catalog}`,
      `data: ${join(scenario.redis.folder, data)}`,
      'diameter: { listen: ["127.0.0.1:0"] }',
      'admin: { listen: "127.0.0.1:0" }',
      'metrics: { listen: "127.0.0.1:0" }',
    ].join('\n'),
  )

function run(...more: string[]): Promise<{ status: number | null; output: string }> {
  return new Promise(resolve => {
    const child = spawn(process.execPath, ['--import=tsx', demo, '--config', config, ...more])
    let output = ''
    child.stdout.on('data', chunk => (output += String(chunk)))
    child.stderr.on('data', chunk => (output += String(chunk)))
    child.on('close', status => resolve({ status, output }))
  })
}

const moneyOf = async (msisdn: string): Promise<string> =>
  formatMoney((await scenario.accounts.find({ type: 'msisdn', value: msisdn }))!.account.money)

t.test('the story is told from its start to its end, and again', async t => {
  configure('daemon-1')
  for (const time of ['first', 'second']) {
    const { status, output } = await run()
    t.equal(status, 0, `${time}: ${output.slice(-300)}`)
    for (const said of [
      'bundle data-5gb',
      'you may pass 100 MB',
      '[4010 end-user service denied]',
      'These are the last, stop then.',
      'there is no money for it',
      'Recharges 0.25 EUR',
      'held 0.12 → 0.09',
      'The session ends. Rating group 10: 4 MB used.',
      '0.25 EUR in money',
      'DPA 2001 success',
    ]) {
      t.ok(output.includes(said), `${time}: ${said}`)
    }
    t.notMatch(output, /undefined|NaN|\[object|\n\s+at /, `${time}: nothing that only we understand`)
    t.notOk(output.includes('\u001b'), `${time}: no colours where nobody looks`)
    t.equal(await moneyOf('491701000007'), '0.05', `${time}: it ends as it began`)
  }
  t.equal(await moneyOf('491701000004'), '15.00', 'the bundle paid')
})

t.test('more money than before is spent first, and a session that was left open is ended', async t => {
  const { account } = (await scenario.accounts.find({ type: 'msisdn', value: '491701000007' }))!
  await scenario.accounts.recharge({
    ...{ account: account.id, amount: 1_000_000n as typeof account.money, currency: 'EUR' },
    ...{ channel: 'test', reference: 'rich', actor: 'test' },
  })
  const gateway = await scenario.gateway(t, { originHost: 'demo-gateway.localdomain' })
  await new Talk(gateway, [['e164', '491701000007']]).initial([{ ratingGroup: 10, requested: {} }])
  gateway.connections[0]!.abort()
  const { status, output } = await run()
  t.equal(status, 0, output.slice(-300))
  const sessions = await scenario.accounts.sessions({ account: account.id, limit: 100 })
  t.same(
    sessions.filter(({ open }) => open),
    [],
  )
  t.match(output, /\(\d+ more of the same\)/)
  t.equal(await moneyOf('491701000007'), '0.05')
})

t.test('what it cannot tell of it says in words', async t => {
  const { account } = (await scenario.accounts.find({ type: 'msisdn', value: '491701000007' }))!
  await scenario.accounts.setStatus(account.id, 'suspended', 'test')
  const suspended = await run()
  t.match([suspended.status, suspended.output], [1, /account 491701000007 is suspended/])
  const wrong = await run('--colour')
  t.match([wrong.status, wrong.output], [2, /usage: demo/])
  configure('nowhere')
  const nothing = await run()
  t.match([nothing.status, nothing.output], [3, /ocsd is not running .*Start it with `make run` in another terminal/])
})
