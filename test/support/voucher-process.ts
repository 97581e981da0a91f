/** A daemon's redemption that is killed -9: before its call of the store with this number, counted from 0, or when that one is answered. */
import { pino } from 'pino'
import { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import { noMetrics, partitions } from './store.js'
import { openVouchers } from './vouchers.js'

export interface VoucherProcessOptions {
  readonly socket: string
  readonly account: string
  readonly code: string
  /** The call that it dies before; -1: it lives. */
  readonly dies: number
}

const options = JSON.parse(process.argv[2]!) as VoucherProcessOptions

class MortalStore extends Store {
  private calls = 0

  override call<T>(script: string, deadline: number, send: (redis: Store['redis']) => Promise<T>): Promise<T> {
    if (this.calls++ === options.dies) process.kill(process.pid, 'SIGKILL')
    return super.call(script, deadline, send)
  }
}

const store = new MortalStore({
  config: { kind: 'embedded', durability: 'memory', partitions },
  address: { socket: options.socket },
  log: pino({ level: 'silent' }),
  metrics: noMetrics,
  clock: systemClock,
})
await store.open(5000)
const outcome = await openVouchers(store, systemClock).redeem(options.account, options.code)
console.log(outcome.status)
process.exit(0)
