/** The shipped scripts of the reference flows, played against daemons with the flows' prices: each passes, with its balances. */
import t from 'tap'
import { flowScripts, playFlow } from '../support/flow-operator.js'
import { startScenario } from '../support/scenario.js'

const scenario = await startScenario(t)
const second = await scenario.another()
const servers = { one: scenario.daemon.addresses.diameter[0]!, two: second.addresses.diameter[0]! }

for (const name of flowScripts()) {
  t.test(`${name} passes`, async t => {
    const result = await playFlow(t, scenario, name, servers)
    t.ok(result.passed > 3, `${result.passed} expectations`)
    t.equal(result.failed, 0)
  })
}
