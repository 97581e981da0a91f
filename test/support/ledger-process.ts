/**
 * The process of ledger.ts's WriterProcess: says `ready`, runs until SIGTERM, or until it is killed.
 */
import { pino } from 'pino'
import { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import { runWriter, type ChildOptions } from './ledger.js'
import { noMetrics, partitions } from './store.js'

const options = JSON.parse(process.argv[2]!) as ChildOptions
const log = pino({ level: 'silent' })
const store = new Store({
  config: { kind: 'embedded', durability: 'memory', partitions },
  address: { socket: options.socket },
  log,
  metrics: noMetrics,
  clock: systemClock,
})
await store.open(5000)
const stop = await runWriter(store, log, options)
process.once('SIGTERM', () => {
  void stop().then(() => process.exit(0))
})
console.log('ready')
