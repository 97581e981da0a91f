import { pino } from 'pino'
import t from 'tap'
import { VirtualClock } from '../../src/clock.js'
import type { LogConfig } from '../../src/config/config.js'
import { createLogger, LimitedLog, mask, maskOf } from '../../src/telemetry/log.js'

const captured = (): { lines: Record<string, unknown>[]; write: (line: string) => void } => {
  const lines: Record<string, unknown>[] = []
  return { lines, write: line => lines.push(JSON.parse(line) as Record<string, unknown>) }
}

void t.test('an identity shows its last two digits, unless the configuration says otherwise', t => {
  for (const [identity, shown] of [
    ['491701000001', '…01'],
    ['01', '…'],
    ['', '…'],
  ] as const) {
    t.equal(mask(identity), shown)
  }
  t.equal(maskOf({ level: 'info', identities: 'masked' })('491701000001'), '…01')
  t.equal(maskOf({ level: 'info', identities: 'plain' })('491701000001'), '491701000001')
  t.end()
})

void t.test('a line has time, level by name, event and message; lower levels are not written', t => {
  const config: LogConfig = { level: 'info', identities: 'masked' }
  const { lines, write } = captured()
  const log = createLogger(config, { write })
  log.info({ event: 'peer.open', peer: 'smf-1' }, 'peer connected')
  log.debug('not this one')
  t.match(lines, [{ level: 'info', time: /^\d{4}-.*Z$/, event: 'peer.open', peer: 'smf-1', msg: 'peer connected' }])
  t.same(Object.keys(lines[0]!).sort(), ['event', 'level', 'msg', 'peer', 'time'])
  t.end()
})

void t.test('an event is written so often a minute, and the next minute says how many were left out', t => {
  const clock = new VirtualClock()
  const { lines, write } = captured()
  const limited = new LimitedLog(pino({ base: null }, { write }), clock, 3, 60_000)
  for (let n = 0; n < 10; n++) limited.write('warn', 'peer.bad', { n }, 'malformed')
  limited.write('warn', 'other', {}, 'has its own limit')
  t.equal(lines.length, 4)
  clock.advance(60_000)
  limited.write('warn', 'peer.bad', {}, 'malformed')
  limited.write('warn', 'peer.bad', {}, 'malformed')
  t.match(lines.slice(4), [{ event: 'peer.bad', leftOut: 7 }, { event: 'peer.bad' }])
  t.notOk('leftOut' in lines[5]!)
  t.end()
})
