/** Which requests are worked on, wait, or are shed: on a clock that stands still until it is told to move. */
import t from 'tap'
import { VirtualClock } from '../../src/clock.js'
import type { DiameterLimits, PeerLimits } from '../../src/config/config.js'
import { Admission, kindOf, type Gate, type RequestKind, type Waiting } from '../../src/diameter/admission.js'
import type { DiameterError } from '../../src/diameter/errors.js'
import { readHeader } from '../../src/diameter/header.js'
import { encodeTree } from '../../src/diameter/tree.js'
import { aDiameterConfig } from '../support/diameter-server.js'
import { dictionary } from '../support/vectors.js'

const types: Readonly<Record<RequestKind, number>> = { initial: 1, update: 2, terminate: 3, event: 4 }

const aCcr = (type = 1): Buffer =>
  encodeTree(dictionary, {
    command: 'CCR',
    applicationId: 4,
    hopByHop: 1,
    endToEnd: 1,
    avps: [
      ['Session-Id', 'pgw1.example.net;1;1'],
      ['Origin-Host', 'pgw1.example.net'],
      ['CC-Request-Type', type],
    ],
  })

interface Request extends Waiting {
  readonly name: string
}

/** A peer whose requests are over when the test says so. */
class Peer {
  readonly started: string[] = []
  readonly shed: string[] = []
  readonly words: string[] = []
  adjusted = 0
  readonly gate: Gate<Request>

  constructor(
    private readonly clock: VirtualClock,
    admission: Admission<Request>,
    name: string,
    own: Partial<PeerLimits> = {},
    originHost = `${name}.example.net`,
  ) {
    this.gate = admission.gate({
      start: ({ name }) => this.started.push(name),
      shed: ({ name }, { resultCode, message }: DiameterError) => {
        this.shed.push(name)
        this.words.push(`${resultCode} ${message}`)
      },
      adjust: () => this.adjusted++,
    })
    this.gate.opened(name, originHost, {
      connections: undefined,
      inFlight: undefined,
      ratePerSecond: undefined,
      ...own,
    })
  }

  send(kind: RequestKind, count = 1, arrivedAt = this.clock.monotonic()): void {
    const octets = aCcr(types[kind])
    const header = readHeader(octets)
    for (let i = 1; i <= count; i++) this.gate.offer({ name: `${kind} ${i}`, header, octets, arrivedAt })
  }

  /** So many are over, each after `took` ms. */
  finish(count = 1, took = 1, served = true): void {
    for (let i = 0; i < count; i++) this.gate.done(this.clock.monotonic() - took, served)
  }
}

function setUp(limits: Partial<DiameterLimits> = {}, memory = (): number => 0) {
  const clock = new VirtualClock()
  const shed = new Map<string, number>()
  const admission = new Admission<Request>({
    limits: aDiameterConfig({ limits }).limits,
    holdBudgetMs: 7_000,
    clock,
    onShed: (peer, reason, kind) => {
      const what = `${peer} ${reason} ${kind}`
      shed.set(what, (shed.get(what) ?? 0) + 1)
    },
    memory,
  })
  const peer = (name: string, own: Partial<PeerLimits> = {}, originHost?: string): Peer =>
    new Peer(clock, admission, name, own, originHost)
  return { clock, admission, shed, peer }
}

t.test('the kind of a request is read from its octets', t => {
  for (const [kind, type] of Object.entries(types)) {
    const octets = aCcr(type)
    t.equal(kindOf(readHeader(octets), octets), kind)
  }
  const odd = aCcr(9)
  t.equal(kindOf(readHeader(odd), odd), 'event', 'a type that is none')
  const rar = encodeTree(dictionary, { command: 'RAR', applicationId: 4, hopByHop: 1, endToEnd: 1, avps: [] })
  t.equal(kindOf(readHeader(rar), rar), 'event', 'what is no CCR')
  t.end()
})

t.test('up to the cap requests begin at once; above it the socket rests before anything is shed', t => {
  const { clock, shed, peer } = setUp({ inFlight: 2 })
  const a = peer('a')
  a.send('initial', 3)
  t.same(a.started, ['initial 1', 'initial 2'])
  t.equal(a.gate.inFlight, 3)
  t.ok(a.gate.resting, 'it rests')
  clock.advance(240)
  t.same(a.shed, [], 'nothing is shed yet')
  a.finish()
  t.equal(a.started.length, 3, 'what waits begins when one is over')
  t.notOk(a.gate.resting, 'and it is read again')
  t.equal(shed.size, 0)
  t.end()
})

t.test('what waits too long is shed: INITIAL first, then event, UPDATE; TERMINATE after the hold budget', t => {
  const { clock, admission, shed, peer } = setUp({ inFlight: 1 })
  const a = peer('a')
  a.send('update')
  for (const kind of ['terminate', 'update', 'event', 'initial'] as const) a.send(kind)
  const b = peer('b') // something goes on: the store does not stand still
  const wait = (ms: number): void => {
    for (let i = 0; i < ms; i += 100) {
      b.send('event')
      clock.advance(100)
      b.finish()
    }
  }
  wait(300)
  t.same(a.shed, ['initial 1'])
  wait(300)
  t.same(a.shed, ['initial 1', 'event 1'])
  wait(500)
  t.same(a.shed, ['initial 1', 'event 1', 'update 1'])
  wait(5_800)
  t.equal(a.shed.length, 3, 'TERMINATE waits')
  wait(200)
  t.same(a.shed, ['initial 1', 'event 1', 'update 1', 'terminate 1'])
  t.same([...shed.keys()], ['a in_flight initial', 'a in_flight event', 'a in_flight update', 'a stale terminate'])
  t.match(a.words[0], /^3004 .*not read$/)
  t.equal(admission.load.queued, 0)
  t.end()
})

t.test('of a peer TERMINATE begins first, then UPDATE, event, INITIAL', t => {
  const { peer } = setUp({ inFlight: 1 })
  const a = peer('a')
  a.send('event')
  for (const kind of ['initial', 'event', 'update', 'terminate'] as const) a.send(kind)
  for (let i = 0; i < 4; i++) a.finish()
  t.same(a.started.slice(1), ['terminate 1', 'update 1', 'event 1', 'initial 1'])
  t.end()
})

t.test('peers take turns, so that the one that floods waits for itself', t => {
  const { peer } = setUp({ inFlightInAll: 2 })
  const [flooder, other] = [peer('flooder'), peer('other')]
  flooder.send('initial', 100)
  other.send('initial', 3)
  t.equal(other.started.length, 0)
  for (let i = 0; i < 6; i++) flooder.finish()
  t.equal(other.started.length, 3, 'every second one is the other’s')
  t.equal(flooder.started.length, 5)
  t.end()
})

t.test('while the store stands still, all wait for the hold budget', t => {
  const { clock, admission, shed, peer } = setUp({ inFlightInAll: 1 })
  const a = peer('a')
  a.send('initial')
  clock.advance(100)
  a.send('initial', 10)
  clock.advance(3_000)
  t.equal(shed.size, 0, 'nothing is shed in the pause')
  a.finish(1, 3_100)
  t.equal(shed.size, 0)
  a.finish()
  clock.advance(500)
  t.equal(shed.size, 0, 'nor after it: they met it')
  for (let i = 0; i < 20; i++) {
    a.send('initial')
    clock.advance(100)
    a.finish()
  }
  t.equal(admission.load.inWork, 1)
  t.ok(shed.get('a overload initial'), 'what came after it is shed again when it waits too long')
  a.send('initial')
  clock.advance(10_000)
  t.ok(shed.get('a stale initial'), 'and all when the hold budget is over')
  t.equal(admission.load.queued, 0)
  t.end()
})

t.test('requests a second: a burst of one second, then the rate; what is too much is shed', t => {
  const { clock, shed, peer } = setUp()
  const a = peer('a', { ratePerSecond: 10 })
  a.send('initial', 12)
  t.equal(a.started.length, 10)
  clock.advance(100)
  t.equal(a.started.length, 11, 'a tenth of a second later one more')
  clock.advance(100)
  t.equal(a.started.length, 12)
  a.send('update', 100)
  clock.advance(1_100)
  t.ok(a.started.length >= 22 && a.started.length <= 23, String(a.started.length))
  t.equal(shed.get('a rate update'), 100 - (a.started.length - 12))
  t.match(a.words[0], /requests a second/)
  t.end()
})

t.test('the limits of a row hold for all of its connections, and no new connection gets a new burst', t => {
  const { admission, peer } = setUp({ ratePerSecond: 5 })
  const own = { inFlight: 3 }
  const [a, b] = [peer('row', own, 'a.example.net'), peer('row', own, 'b.example.net')]
  a.send('initial', 2)
  b.send('initial', 2)
  t.same([a.started.length, b.started.length], [2, 1])
  const other = peer('open', {}, 'c.example.net')
  other.send('initial', 6)
  t.equal(other.started.length, 5)
  other.gate.close()
  const again = peer('open', {}, 'C.example.net')
  again.send('initial')
  t.equal(again.started.length, 0)
  t.equal(admission.load.queued, 2)
  t.end()
})

t.test('when too many wait, one of the peers that wait most is shed, of the kind that goes first', t => {
  const { shed, peer } = setUp({ inFlightInAll: 1, queue: 10 })
  const [flooder, small] = [peer('flooder'), peer('small')]
  small.send('initial', 2)
  flooder.send('terminate', 5)
  flooder.send('update', 5)
  t.same([...shed], [['flooder queue_full update', 1]])
  flooder.send('initial', 3)
  t.same([...shed].at(-1), ['flooder queue_full initial', 3], 'the newcomers, as they are INITIAL')
  flooder.send('terminate', 6)
  t.same(
    [...shed].map(([what, count]) => [what, count]),
    [
      ['flooder queue_full update', 5],
      ['flooder queue_full initial', 3],
      ['flooder queue_full terminate', 2],
    ],
    'TERMINATE at last, and nothing of the small one',
  )
  t.end()
})

t.test('a request that is refused at once does not pile up calls', t => {
  const { clock, admission } = setUp({ inFlight: 1 })
  let started = 0
  const gate = admission.gate({
    start: () => {
      if (started++ > 0) gate.done(clock.monotonic(), true)
    },
    shed: () => t.fail('nothing is shed'),
    adjust: () => undefined,
  })
  gate.opened('a', 'a.example.net', undefined)
  const octets = aCcr()
  const header = readHeader(octets)
  for (let i = 0; i < 20_000; i++) gate.offer({ name: '', header, octets, arrivedAt: clock.monotonic() })
  gate.done(clock.monotonic(), true)
  t.equal(started, 20_000)
  t.equal(admission.load.inWork, 0)
  t.end()
})

t.test('fewer are in work while answers take too long, and more again when they do not', t => {
  const { clock, admission, peer } = setUp({ inFlightInAll: 1_000, queueAgeMs: 10_000 })
  const a = peer('a')
  a.send('update', 1_000)
  a.finish(1_000, 2)
  const round = (took: number): void => {
    a.send('update', 400)
    clock.advance(20)
    a.finish(Math.min(400, admission.load.inWork), took)
  }
  a.send('update', 2_000)
  for (let i = 0; i < 60; i++) round(200)
  t.ok(admission.load.cap < 300, `slow: ${admission.load.cap}`)
  t.ok(admission.load.cap >= 128, 'some are always')
  const slow = admission.load.cap
  for (let i = 0; i < 60; i++) round(5)
  t.ok(admission.load.cap > slow, `fast again: ${admission.load.cap}`)
  t.end()
})

t.test('what waits for a store that stands still does not wait for others: up to the configured cap', t => {
  const { clock, admission, peer } = setUp({ inFlightInAll: 1_000 })
  const a = peer('a')
  a.send('update', 1_500)
  t.equal(admission.load.inWork, 256, 'at first it is not known what it can do')
  clock.advance(220)
  t.equal(admission.load.inWork, 1_000)
  t.equal(admission.load.queued, 500)
  t.end()
})

t.test('octets that are read after the event loop stood still may have come at any time since', t => {
  const clock = new VirtualClock()
  const admission = new Admission<Request>({
    limits: aDiameterConfig().limits,
    holdBudgetMs: 7_000,
    clock,
    onShed: () => undefined,
    memory: () => 0,
  })
  const gate = admission.gate({ start: () => undefined, shed: () => undefined, adjust: () => undefined })
  gate.opened('a', 'a.example.net', undefined)
  clock.advance(10_000)
  t.equal(admission.cameAt(clock.monotonic()), clock.monotonic(), 'it turns: now is now')
  const stood = clock.monotonic()
  t.equal(admission.cameAt(stood + 8_000), stood, 'read before any timer ran')
  t.end()
})

t.test('a request that is older than the hold budget is shed unread, whatever it is', t => {
  const { clock, shed, peer } = setUp()
  const a = peer('a')
  clock.advance(10_000)
  a.send('terminate', 1, 2_000)
  a.send('update', 1, 4_000)
  t.same(a.started, ['update 1'])
  t.same([...shed], [['a stale terminate', 1]])
  t.match(a.words[0], /^3004 .*waited too long/)
  t.end()
})

t.test('short of memory, requests are shed as they come, TERMINATE at last', t => {
  const shares = [0.79, 0.8, 0.85, 0.9, 0.95]
  for (const [level, share] of shares.entries()) {
    const { clock, shed, peer } = setUp({}, () => share)
    const a = peer('a')
    clock.advance(1_000)
    for (const kind of ['initial', 'event', 'update', 'terminate'] as const) a.send(kind)
    t.equal(a.shed.length, level, `${share}: ${a.shed.join(', ')}`)
    t.equal([...shed.keys()].filter(what => what.includes(' memory ')).length, level)
  }
  let now = 0.99
  const { clock, peer } = setUp({}, () => now)
  const a = peer('a')
  clock.advance(750)
  now = 0.3 // the garbage was collected
  clock.advance(250)
  a.send('initial')
  t.equal(a.started.length, 1, 'what is garbage does not count')
  t.end()
})

t.test('a connection that is gone leaves nothing behind', t => {
  const { clock, admission, peer, shed } = setUp({ inFlightInAll: 2 })
  const [a, b] = [peer('a'), peer('b')]
  a.send('initial', 10)
  b.send('initial', 1)
  a.gate.close()
  a.gate.close()
  t.same([admission.load.inWork, admission.load.queued], [2, 1])
  a.finish(2)
  t.same([admission.load.inWork, admission.load.queued], [1, 0])
  t.equal(b.started.length, 1)
  clock.advance(1_000)
  t.equal(shed.size, 0)
  b.gate.close()
  t.equal(clock.waiting, 0, 'no timer is left')
  t.end()
})
