/** Traces over several daemons that hear each other, with a clock that stands still: bounds, ends, losses. */
import t from 'tap'
import { VirtualClock } from '../../src/clock.js'
import type { TappedConnection } from '../../src/diameter/tap.js'
import { decodeTree, encodeTree } from '../../src/diameter/tree.js'
import { traceLimits, Tracing, type TraceBus, type TracedMessage, type TraceTotals } from '../../src/trace/tracing.js'
import { dictionary } from '../support/vectors.js'

type Heard = (message: unknown) => void

/** A channel of the store: what one says all others hear, at once. */
class Wire {
  private readonly listeners = new Set<{ channel: string; daemon: string; heard: Heard }>()
  said = 0
  /** Whether the store takes anything. */
  up = true

  bus(daemon: string): TraceBus {
    return {
      tellAt: (channel, message) => {
        if (!this.up) return Promise.resolve(false)
        this.said++
        const copy: unknown = JSON.parse(JSON.stringify(message))
        for (const each of [...this.listeners]) if (each.channel === channel && each.daemon !== daemon) each.heard(copy)
        return Promise.resolve(true)
      },
      listenTo: (channel, heard) => {
        const listener = { channel, daemon, heard }
        this.listeners.add(listener)
        return () => void this.listeners.delete(listener)
      },
    }
  }

  get channels(): number {
    return new Set([...this.listeners].map(({ channel }) => channel)).size
  }
}

class Reader {
  readonly messages: TracedMessage[] = []
  lostBefore = 0
  end: { readonly why: string; readonly totals: TraceTotals } | undefined
  takes = true

  message(message: TracedMessage): boolean {
    if (this.takes) this.messages.push(message)
    return this.takes
  }

  lost(messages: number): void {
    this.lostBefore += messages
  }

  ended(why: string, totals: TraceTotals): void {
    this.end = { why, totals }
  }
}

const pgw: TappedConnection = {
  peer: undefined,
  remote: { address: '192.0.2.1', port: 40_000 },
  local: { address: '192.0.2.100', port: 3868 },
}

let hopByHop = 0
const aCcr = (session: string, msisdn?: string): Buffer =>
  encodeTree(dictionary, {
    ...{ command: 'CCR', hopByHop: ++hopByHop, endToEnd: 1 },
    avps: [
      ['Session-Id', session],
      ...(msisdn === undefined
        ? []
        : [['Subscription-Id', [['Subscription-Id-Type', 0], ['Subscription-Id-Data', msisdn]]] as const]), // prettier-ignore
    ],
  })

function started(names: readonly string[]): { clock: VirtualClock; wire: Wire; daemons: Tracing[] } {
  const clock = new VirtualClock()
  const wire = new Wire()
  const daemons = names.map(
    daemon => new Tracing({ daemon, host: 'ocs.example.net', dictionary, bus: wire.bus(daemon), clock }),
  )
  return { clock, wire, daemons }
}

const order = { wanted: { subscriber: ['491701000001'] }, sessions: [], count: 1000, seconds: 60 }
const sessionsOf = (reader: Reader): unknown[] =>
  reader.messages.map(({ daemon, octets }) => `${daemon} ${decodeTree(dictionary, octets).avps[0]!.value as string}`)

t.test('messages are shown wherever they pass, and nobody listens before or after', t => {
  const { daemons, wire } = started(['a', 'b', 'c'])
  const [a, b, c] = daemons as [Tracing, Tracing, Tracing]
  t.same(daemons.map(({ listening }) => listening), [false, false, false]) // prettier-ignore
  const reader = new Reader()
  const trace = a.start(order, reader)!
  t.same(daemons.map(({ listening }) => listening), [true, true, true]) // prettier-ignore
  b.message('in', pgw, aCcr('s1', '491701000001'))
  a.message('in', pgw, aCcr('s1'))
  c.message('in', pgw, aCcr('s1'))
  c.message('in', pgw, aCcr('s2', '491701000002'))
  t.same(sessionsOf(reader), ['b s1', 'a s1', 'c s1'], 'the session was made known to those who had not heard his name')
  trace.stop('stopped')
  t.same(reader.end, { why: 'stopped', totals: { messages: 3, lost: 0 } })
  t.same(daemons.map(({ listening }) => listening), [false, false, false]) // prettier-ignore
  t.equal(wire.channels, 1, 'and only the common channel is heard')
  t.end()
})

t.test('a trace ends by count, by time, and with its daemon', t => {
  for (const why of ['count', 'time', 'shutdown'] as const) {
    const { clock, daemons } = started(['a', 'b'])
    const [a, b] = daemons as [Tracing, Tracing]
    const reader = new Reader()
    a.start({ ...order, count: 2, seconds: 60 }, reader)
    b.message('in', pgw, aCcr('s1', '491701000001'))
    if (why === 'count') for (let i = 0; i < 5; i++) b.message('in', pgw, aCcr('s1'))
    if (why === 'time') clock.advance(60_000)
    if (why === 'shutdown') a.close()
    t.same(reader.end, { why, totals: { messages: why === 'count' ? 2 : 1, lost: 0 } }, why)
    t.equal(b.listening, false, `${why}: the others are told`)
  }
  t.end()
})

t.test('too many a second are left out and counted, whoever hears them', t => {
  const { clock, daemons } = started(['a', 'b'])
  const [a, b] = daemons as [Tracing, Tracing]
  const reader = new Reader()
  a.start(order, reader)
  for (let i = 0; i < traceLimits.messagesPerSecond + 30; i++) a.message('in', pgw, aCcr('s1', '491701000001'))
  t.equal(reader.messages.length, traceLimits.messagesPerSecond)
  clock.advance(1000)
  a.message('in', pgw, aCcr('s1', '491701000001'))
  t.equal(reader.lostBefore, 30, 'the next one says how many are missing before it')
  reader.messages.length = 0
  for (let i = 0; i < traceLimits.underway; i++) b.message('in', pgw, aCcr('s1', '491701000001'))
  const got = reader.messages.length
  b.message('in', pgw, aCcr('s1', '491701000001'))
  t.equal(reader.messages.length, got, 'so many are on their way to the store and no more')
  a.close()
  t.equal(reader.end?.totals.lost, 30)
  t.end()
})

t.test('what another daemon left out is told at the next renewal at the latest', async t => {
  const { clock, daemons } = started(['a', 'b'])
  const [a, b] = daemons as [Tracing, Tracing]
  const reader = new Reader()
  a.start(order, reader)
  for (let i = 0; i < traceLimits.underway + 7; i++) b.message('in', pgw, aCcr('s1', '491701000001'))
  await new Promise(resolve => setImmediate(resolve))
  t.equal(reader.lostBefore, 0)
  clock.advance(traceLimits.renewMs)
  t.equal(reader.lostBefore, 7)
  a.close()
  t.equal(reader.end?.totals.lost, 7)
})

t.test('a reader who takes nothing loses messages, and the total says so', t => {
  const { daemons } = started(['a'])
  const reader = new Reader()
  daemons[0]!.start(order, reader)
  reader.takes = false
  for (let i = 0; i < 3; i++) daemons[0]!.message('in', pgw, aCcr('s1', '491701000001'))
  reader.takes = true
  daemons[0]!.message('in', pgw, aCcr('s1', '491701000001'))
  daemons[0]!.close()
  t.same(reader.end?.totals, { messages: 1, lost: 3 })
  t.end()
})

t.test('a daemon hears for another only as long as that one says so', t => {
  const { clock, wire, daemons } = started(['a', 'b'])
  const [a, b] = daemons as [Tracing, Tracing]
  a.start({ ...order, seconds: 3600 }, new Reader())
  clock.advance(10 * traceLimits.leaseMs)
  t.equal(b.listening, true, 'it says so again and again')
  wire.up = false
  clock.advance(2 * traceLimits.leaseMs)
  t.equal(b.listening, false, 'its daemon is not heard of any more')
  t.equal(a.listening, true, 'which goes on hearing for itself')
  wire.up = true
  clock.advance(traceLimits.renewMs)
  t.equal(b.listening, true, 'until it is heard again')
  a.close()
  t.end()
})

t.test('so many traces are started at one daemon, and so many heard for', t => {
  const { daemons } = started(['a', 'b', 'c', 'd', 'e', 'f'])
  const begun = daemons.flatMap(daemon =>
    Array.from({ length: traceLimits.traces + 1 }, () => daemon.start(order, new Reader()) !== undefined),
  )
  t.equal(begun.slice(0, traceLimits.traces + 1).filter(Boolean).length, traceLimits.traces)
  t.equal(begun.filter(Boolean).length, traceLimits.watches, 'by all of them together')
  for (const daemon of daemons) daemon.close()
  t.end()
})

t.test('what is no call or report on the channels is ignored', t => {
  const { daemons, wire } = started(['a', 'b'])
  const stranger = wire.bus('stranger')
  for (const said of [
    null,
    7,
    'x',
    {},
    { do: 'watch' },
    { do: 'watch', id: 'x', wanted: null, sessions: [] },
    { do: 'go', id: 'x' },
  ])
    void stranger.tellAt('ocs:trace', said as object)
  t.equal(daemons[0]!.listening, false)
  const reader = new Reader()
  const { id } = daemons[0]!.start(order, reader)!
  for (const said of [null, {}, { lost: 'x', daemon: 'b' }, { lost: 0, daemon: 'b', message: { octets: 7 } }])
    void stranger.tellAt(`ocs:trace:${id}`, said as object)
  t.same(reader.messages, [])
  daemons[0]!.close()
  t.end()
})
