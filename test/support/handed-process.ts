/**
 * The process of listener.test.ts: a Diameter server on the points that its argument names, as JSON; granting everything. Writes
 * where it listens, or why it cannot, as a line of JSON, and ends with its stdin.
 */
import { pino } from 'pino'
import { systemClock } from '../../src/clock.js'
import type { ListenPoint } from '../../src/config/config.js'
import { DiameterCounters } from '../../src/diameter/metrics.js'
import { DiameterServer } from '../../src/diameter/server.js'
import { aDiameterConfig, StubApplication } from './diameter-server.js'
import { dictionary } from './vectors.js'

/** What it writes first. */
export interface Handed {
  readonly listens?: readonly { host: string; port: number }[]
  readonly fault?: string
}

const server = new DiameterServer({
  config: aDiameterConfig({ listen: JSON.parse(process.argv[2]!) as ListenPoint[] }),
  dictionary,
  applications: [new StubApplication()],
  log: pino({ level: 'silent' }),
  metrics: new DiameterCounters([]),
  clock: systemClock,
  originStateId: 1,
})
const say = (handed: Handed): void => console.log(JSON.stringify(handed))
try {
  say({ listens: await server.listen() })
  process.stdin.resume().once('end', () => void server.close().then(() => process.exit()))
} catch (error) {
  say({ fault: (error as Error).message })
  process.exitCode = 1
}
