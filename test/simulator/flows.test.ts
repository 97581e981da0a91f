/** The shipped scripts of the reference flows, played against daemons with the flows' prices: each passes, with its balances. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Timer } from '../../src/clock.js'
import { play, type OperatorResult, type PlayClock, type PlayEvent } from '../../src/simulator/play.js'
import { readScript } from '../../src/simulator/script.js'
import { systemClock } from '../../src/clock.js'
import { formatFault } from '../../src/config/yaml.js'
import { ScenarioApi } from '../support/flow-operator.js'
import { startScenario } from '../support/scenario.js'
import { dictionary } from '../support/vectors.js'

const folder = fileURLToPath(new URL('../../config/examples/flows/', import.meta.url))
const scenario = await startScenario(t)
const second = await scenario.another()
const [one] = scenario.daemon.addresses.diameter
const [two] = second.addresses.diameter

/** Business time moves at once; what it is waited for with timers is short, and real. */
const clock: PlayClock = {
  now: () => scenario.clock.now(),
  monotonic: () => systemClock.monotonic(),
  setTimeout: (fn: () => void, ms: number): Timer => systemClock.setTimeout(fn, ms),
  clearTimeout: (timer: Timer | undefined): void => systemClock.clearTimeout(timer),
  pass: async ms => {
    scenario.clock.shift(ms)
    await new Promise(resolve => setTimeout(resolve, 100))
  },
}

let runs = 10_000_000
const operator = new ScenarioApi(scenario.daemon, join(scenario.redis.folder, 'daemon-1', 'admin.token'))

for (const name of readdirSync(folder).filter(file => file.endsWith('.yaml'))) {
  t.test(`${name} passes`, async t => {
    const file = folder + name
    const outcome = readScript(file, readFileSync(file, 'utf8'), { dictionary, run: String(++runs) })
    if ('faults' in outcome) return t.fail(outcome.faults.map(formatFault).join('\n'))
    const events: PlayEvent[] = []
    const result = await play({
      ...{ script: outcome.script, dictionary, clock, patienceMs: 5000 },
      servers: new Map([
        ['one', one!],
        ['two', two!],
      ]),
      operator: (words): Promise<OperatorResult> => operator.run(words),
      onEvent: event => void events.push(event),
    })
    for (const event of events) {
      if (event.kind !== 'check' || event.verdict.ok) continue
      t.fail(`line ${event.place.line}: ${event.verdict.text}, but ${event.verdict.found ?? ''}`)
    }
    t.ok(result.passed > 3, `${result.passed} expectations`)
    t.equal(result.failed, 0)
  })
}
