/** Daemons that are killed while they renew: the next one goes on, and each period is paid once. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { micros } from '../../src/units.js'
import { anAudit, until } from '../support/ledger.js'
import { aSubscriptionScene } from '../support/subscriptions.js'
import { killCatalog } from '../support/renewing-process.js'

const day = 86_400_000
const accounts = 60

t.test('kill -9 in the middle of renewals, three times', async t => {
  const start = Date.now() - 30 * day
  const scene = await aSubscriptionScene(t, killCatalog(), start)
  for (let i = 0; i < accounts; i++) {
    await scene.create(`k${i}`, micros(100_000_000n))
    await scene.subscriptions.buy({
      ...{ account: `k${i}`, subscriber: '0', offer: 'daily', reference: 'r', actor: 'test' },
    })
  }
  scene.clock.advance(Date.now() - scene.clock.now())
  const length = async (): Promise<number> => {
    let all = 0
    for (let p = 0; p < 16; p++) all += await scene.store.redis.xlen(`ocs:{${p}}:journal`)
    return all
  }
  const program = fileURLToPath(new URL('../support/renewing-process.ts', import.meta.url))
  for (let kill = 0; kill < 3; kill++) {
    const before = await length()
    const child = spawn(process.execPath, ['--import=tsx', program, scene.redis.socket], { stdio: 'ignore' })
    const gone = new Promise(resolve => child.once('exit', resolve))
    await until(async () => (await length()) > before + 100 || child.exitCode !== null)
    child.kill('SIGKILL')
    await gone
    t.ok((await length()) > before, 'it had begun')
  }
  await scene.to(scene.clock.now())
  for (let i = 0; i < accounts; i++) {
    const paid = (await scene.entries(`k${i}`)).filter(({ kind }) => kind === 'renew').map(entry => entry['from'])
    if (new Set(paid).size !== 30 || paid.length !== 30) t.fail(`k${i}: ${paid.length} renewals`)
    const { money } = await scene.account(`k${i}`)
    if (money !== 69_000_000n) t.fail(`k${i} has ${money}`)
  }
  t.ok((await anAudit(scene.store)).ok)
})
