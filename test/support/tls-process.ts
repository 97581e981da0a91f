/**
 * The process of tls.test.ts: Node reads NODE_EXTRA_CA_CERTS once, when it starts. Opens a Store at the URL it is given,
 * charges once, and writes what came of it.
 */
import { pino } from 'pino'
import { RedisAccounts } from '../../src/balance/accounts.js'
import { Balance } from '../../src/balance/balance.js'
import { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import { micros } from '../../src/units.js'
import { aLine, aProgram } from './charging.js'
import { chargingConfig, noMetrics, partitions } from './store.js'

/** What it writes, as JSON. */
export interface TlsResult {
  readonly outcome: string
  /** What the connection's log said last. */
  readonly reason: string
}

let reason = ''
const store = new Store({
  config: { kind: 'url', url: process.argv[2]!, durability: 'memory', partitions },
  address: {},
  log: pino({ level: 'debug' }, { write: line => (reason = (JSON.parse(line) as { err?: string }).err ?? reason) }),
  metrics: noMetrics,
  clock: systemClock,
})
let outcome: string
try {
  await store.open(3000)
  outcome = await charge()
} catch (error) {
  outcome = (error as Error).name
}
await store.close()
const result: TlsResult = { outcome, reason }
console.log(JSON.stringify(result))

async function charge(): Promise<string> {
  const account = 'alice'
  const accounts = new RedisAccounts(store, partitions, chargingConfig, systemClock)
  await accounts.create(
    { id: account, currency: 'EUR', creditLimit: micros(0n), status: 'active' },
    { identities: [{ type: 'nai', value: 'alice@test' }], offers: [] },
    micros(1_000_000n),
    'admin',
  )
  const now = Date.now()
  const sessionId = `gw.example;1;${process.pid}`
  const answered = await new Balance(store, partitions, chargingConfig, systemClock).charge({
    type: 'I',
    number: 0,
    content: 'first',
    sessionId,
    account,
    subscriber: '1',
    rev: '1',
    currency: 'EUR',
    at: now,
    now,
    deadline: now + 5000,
    deadlineMonotonic: store.deadlineIn(5000),
    cause: `"kind":"charge","session":"${sessionId}","number":0,"type":"I"`,
    ...{ originHost: 'gw.example', originRealm: 'example', via: 'gw.example', service: 'data' },
    lines: [aLine({ key: '10', used: 0n, wanted: 1000n, program: aProgram({ num: 1n }) })],
    counters: [],
    lowBalance: [],
    searchEnded: false,
  })
  return answered.status === 'answered' ? `${answered.answer.how} ${answered.answer.lines[0]!.is}` : answered.status
}
