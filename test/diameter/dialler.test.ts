/** Peers that ocsd calls: capabilities, Tc, good-byes, watchdog, and requests that go over such connections. */
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { VirtualClock } from '../../src/clock.js'
import type { PeerConfig, TlsConfig } from '../../src/config/config.js'
import type { Call, Dial, Transported } from '../../src/diameter/dialler.js'
import { FLAG } from '../../src/diameter/header.js'
import type { OutgoingRequest } from '../../src/diameter/server.js'
import type { AvpItem } from '../../src/diameter/tree.js'
import { Authority } from '../support/certificates.js'
import type { Certificate } from '../support/certificates.js'
import type { TestServer, TestServerParts } from '../support/diameter-server.js'
import { aPeer, startServer, until } from '../support/diameter-server.js'
import type { CeaParts, Received } from '../support/raw-client.js'
import { aCcr, aCea, aCer, aDpr, aDwr, checkEverythingReceived, RawClient, RawListener } from '../support/raw-client.js'

const called = (port: number, parts: Partial<PeerConfig> = {}): PeerConfig =>
  aPeer({ connect: { host: '127.0.0.1', port, tls: false }, ...parts })

interface Calling extends TestServer {
  readonly far: RawListener
}

/** A server that calls one peer, which is a listener of this test. */
async function startCalling(t: Test, parts: TestServerParts = {}, row: Partial<PeerConfig> = {}): Promise<Calling> {
  const far = await RawListener.open(t)
  const relay = aPeer({ name: 'dra', identity: 'dra1.example.net', relay: true })
  return { far, ...(await startServer(t, { peers: [called(far.port, row), relay], ...parts })) }
}

/** Answers its CER well. */
async function welcomed(far: RawListener, parts: CeaParts = {}): Promise<RawClient> {
  const client = await far.next()
  client.send(aCea(await client.next(), parts))
  return client
}

const opened = async ({ server, far }: Calling): Promise<RawClient> => {
  const client = await welcomed(far)
  await until(() => server.peers().length === 1)
  return client
}

const aRar = (parts: Partial<OutgoingRequest> = {}): OutgoingRequest => ({
  destinationHost: 'pgw1.example.net',
  commandCode: 258,
  applicationId: 4,
  timeoutMs: 30_000,
  write: writer => {
    writer.text(263, 'pgw1.example.net;1;1')
    writer.text(264, 'ocs1.charging.example.net')
    writer.text(296, 'charging.example.net')
    writer.text(283, 'example.net')
    writer.text(293, 'pgw1.example.net')
    writer.u32(258, 4)
    writer.i32(285, 0)
  },
  ...parts,
})

const names = (message: Received): string[] => message.avps.map(avp => avp.name)

t.test('a peer with `connect` gets a CER, is open with its CEA, and is served like any other', async t => {
  const calling = await startCalling(t)
  const { server, far, application } = calling
  const client = await far.next()
  const cer = await client.next()
  t.same([cer.header.commandCode, cer.header.flags, cer.header.applicationId], [257, FLAG.REQUEST, 0])
  const wanted = ['Origin-Host', 'Origin-Realm', 'Host-IP-Address', 'Vendor-Id', 'Product-Name', 'Origin-State-Id']
  t.same(names(cer), [...wanted, 'Supported-Vendor-Id', 'Auth-Application-Id'])
  t.same([cer.value('Origin-Host'), cer.value('Auth-Application-Id')], ['ocs1.charging.example.net', 4])
  t.same(server.dialled()[0]?.state, 'Wait-I-CEA')
  t.same(server.peers(), [])
  client.send(aCea(cer, { originHost: 'PGW1.example.net' }))
  await until(() => server.peers().length === 1)
  t.match(server.peers()[0], { name: 'pgw', state: 'I-Open', direction: 'initiated', watchdog: 'OKAY' })
  t.equal((await client.ask(aCcr())).value('Result-Code'), 2001)
  t.equal(application.requests[0]?.peer.name, 'pgw')
  t.equal((await client.ask(aDwr())).value('Result-Code'), 2001)
  const outcome = server.request(aRar())
  client.answer(await client.next())
  t.match(await outcome, { kind: 'answered', resultCode: 2001 }, 'a first connection carries requests at once')
  t.equal((await client.ask(aCer())).value('Result-Code'), 5012, 'a CER on it changes nothing')
  t.ok(await client.nothingElse())
})

t.test('a CEA that is not good closes the connection, and says why; the next call comes after Tc', async t => {
  const cases: [string, (cer: Received) => Buffer, RegExp][] = [
    ['it refuses us', cer => aCea(cer, { resultCode: 3010 }), /it answered our CER with Result-Code 3010/],
    [
      'it says why',
      cer => aCea(cer, { resultCode: 5010, more: [['Error-Message', 'not today\n']] }),
      /Result-Code 5010 \(not today \)/,
    ],
    [
      'nothing in common',
      cer => aCea(cer, { more: [['Auth-Application-Id', 16_777_302]] }),
      /no common application: 4 is served here/,
    ],
    [
      'somebody else',
      cer => aCea(cer, { originHost: 'pgw2.example.net' }),
      /it calls itself pgw2.example.net, and its row in the peer table pgw1.example.net/,
    ],
    [
      'another realm',
      cer => aCea(cer, { originRealm: 'example.org' }),
      /it is in realm example.org, and its row in the peer table says example.net/,
    ],
    [
      'only TLS that begins after the CER',
      cer => aCea(cer, { more: [['Auth-Application-Id', 4] as AvpItem, ['Inband-Security-Id', 1] as AvpItem] }),
      /no common security/,
    ],
  ]
  for (const [name, answer, expected] of cases) {
    await t.test(name, async t => {
      const { far, server, clock, log, metrics } = await startCalling(t)
      const client = await far.next()
      client.send(answer(await client.next()))
      await client.closed
      const line = log.find(each => each.msg.startsWith('no connection to'))
      t.match(line, { level: 40, peer: 'pgw', 'Origin-Host': 'pgw1.example.net', msg: expected })
      t.match(server.dialled()[0], { state: 'Closed', lastFailure: expected, nextCallAt: clock.now() + 30_000 })
      t.equal(metrics.closedByPeer.get('unknown')?.get('cea_rejected'), 1)
      t.same(server.peers(), [])
      clock.advance(29_999)
      t.equal(server.dialled()[0]?.state, 'Closed')
      clock.advance(1)
      await welcomed(far)
      await until(() => server.peers().length === 1)
      t.equal(server.peers()[0]?.watchdog, 'OKAY', 'one that never was open is not on probation')
    })
  }
})

t.test('anything but a CEA to our CER ends the connection', async t => {
  const cases: [string, (cer: Received) => Buffer][] = [
    ['a request', () => aCcr()],
    ['a DWR', () => aDwr()],
    ['a CER of its own', () => aCer()],
    ['an answer of another command', cer => aAnswerLike(cer)],
  ]
  for (const [name, octets] of cases) {
    await t.test(name, async t => {
      const { far, server } = await startCalling(t)
      const client = await far.next()
      client.send(octets(await client.next()))
      t.type(await client.nextOrEnd(), 'string', 'nothing is sent')
      t.same(server.peers(), [])
      t.equal(server.dialled()[0]?.state, 'Closed')
    })
  }
})

/** A DWA with the identifiers of a CER. */
function aAnswerLike(cer: Received): Buffer {
  const answer = aCea(cer)
  answer.writeUIntBE(280, 5, 3)
  return answer
}

t.test('a CEA nobody asked for is dropped; one that does not come is waited for 10 s', async t => {
  const { far, server, clock, metrics } = await startCalling(t)
  const client = await far.next()
  const stray = aCea(await client.next())
  stray[15]! ^= 1
  client.send(stray)
  await until(() => metrics.droppedAnswersByReason.get('unknown_hop_by_hop') === 1)
  clock.advance(9_999)
  t.equal(server.dialled()[0]?.state, 'Wait-I-CEA')
  clock.advance(1)
  t.type(await client.closed, 'string')
  t.match(server.dialled()[0], { state: 'Closed', lastFailure: /: its CEA did not come/ })
  t.equal(metrics.closedByPeer.get('unknown')?.get('cea_timeout'), 1)
})

/** Calls that a test answers by hand. */
class HandDialled {
  readonly calls: ((outcome: Transported | Error) => void)[] = []
  cancelled = 0
  readonly dial: Dial = (_row, done): Call => {
    this.calls.push(done)
    return { cancel: () => (this.cancelled += 1) }
  }
}

t.test('BASE-107: a peer that cannot be reached is called every Tc, which varies by a tenth', async t => {
  const hand = new HandDialled()
  const clock = new VirtualClock()
  let seed = 1
  const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647
  const { server, log } = await startServer(t, { clock, random, dial: hand.dial, peers: [called(1)] })
  const waits: number[] = []
  for (let attempt = 1; attempt <= 50; attempt++) {
    t.equal(hand.calls.length, attempt)
    hand.calls.at(-1)!(new Error('connect ECONNREFUSED 127.0.0.1:1'))
    const [peer] = server.dialled()
    t.match(peer, { state: 'Closed', lastFailure: /no connection to 127.0.0.1:1: connect ECONNREFUSED/ })
    waits.push(peer!.nextCallAt! - clock.now())
    clock.advance(Math.ceil(waits.at(-1)!))
  }
  t.ok(waits.every(wait => wait >= 27_000 && wait <= 33_000))
  t.ok(Math.max(...waits) - Math.min(...waits) > 3_000, 'not the same each time')
  const said = log.filter(line => line.msg.startsWith('no connection to'))
  t.equal(said.filter(line => line.level === 40).length, 1, 'the same trouble is a warning once')
})

t.test('a call that nobody takes is given up after 10 s', async t => {
  const hand = new HandDialled()
  const { server, clock } = await startServer(t, { dial: hand.dial, peers: [called(1)] })
  clock.advance(9_999)
  t.equal(server.dialled()[0]?.state, 'Wait-Conn-Ack')
  clock.advance(1)
  t.match(server.dialled()[0], { state: 'Closed', lastFailure: 'no connection to 127.0.0.1:1: no answer in 10 s' })
  t.equal(hand.cancelled, 1)
  clock.advance(30_000)
  t.equal(hand.calls.length, 2)
})

t.test('BASE-105: after DPR REBOOTING it is called again after Tc; after the other causes it is not', async t => {
  for (const cause of [0, 1, 2]) {
    await t.test(`Disconnect-Cause ${cause}`, async t => {
      const calling = await startCalling(t)
      const { far, server, clock, log } = calling
      const client = await opened(calling)
      t.equal((await client.ask(aDpr(cause))).value('Result-Code'), 2001)
      client.socket.end()
      await until(() => server.counts().all === 0)
      clock.advance(29_999)
      t.equal(far.calls, 1)
      clock.advance(1)
      if (cause === 0) {
        await opened(calling)
        t.equal(server.peers()[0]?.watchdog, 'OKAY', 'a good-bye is no failure')
        return
      }
      t.match(server.dialled()[0], { state: 'Closed', nextCallAt: undefined })
      t.ok(log.some(line => line.msg.includes('not called again until it has called')))
      clock.advance(86_400_000)
      await new Promise(resolve => setImmediate(resolve))
      t.equal(far.calls, 1)
      const theirs = await RawClient.peer(t, calling)
      theirs.socket.destroy()
      await until(() => server.counts().all === 0)
      clock.advance(30_000)
      await opened(calling)
      t.pass('once it has called itself it is called again')
    })
  }
})

t.test('BASE-105: a cause that nobody knows is 5004, and the connection goes on', async t => {
  const calling = await startCalling(t)
  const client = await opened(calling)
  t.equal((await client.ask(aDpr(7))).value('Result-Code'), 5004)
  t.equal((await client.ask(aCcr())).value('Result-Code'), 2001)
})

t.test('an operator may have it called at once', async t => {
  const calling = await startCalling(t)
  const { server, far, clock } = calling
  const client = await opened(calling)
  t.ok(server.call('pgw1.example.net'))
  t.equal(far.calls, 1, 'it is connected')
  await client.ask(aDpr(2))
  client.socket.end()
  await until(() => server.counts().all === 0)
  t.ok(server.call('PGW1.example.net'))
  await opened(calling)
  t.notOk(server.call('dra1.example.net'), 'no row says where')
  clock.advance(29_000)
  t.equal(far.calls, 2)
})

t.test('BASE-110 to 114: the watchdog of a connection that we made, and the probation of the next', async t => {
  const calling = await startCalling(t)
  const { server, clock, metrics } = calling
  const first = await opened(calling)
  clock.advance(30_000)
  t.equal((await first.next()).header.commandCode, 280)
  clock.advance(60_000)
  t.equal(await first.closed, 'reset')
  t.equal(metrics.watchdogFailuresByPeer.get('pgw'), 1)
  t.equal(server.dialled()[0]?.nextCallAt, clock.now() + 30_000)
  clock.advance(30_000)
  const second = await opened(calling)
  for (let i = 0; i < 3; i++) {
    const dwr = await second.next()
    t.equal(dwr.header.commandCode, 280)
    t.equal(server.peers()[0]?.watchdog, 'REOPEN')
    t.match(await server.request(aRar()), { kind: 'undeliverable' })
    t.equal((await second.ask(aCcr())).value('Result-Code'), 2001, 'requests of theirs are answered')
    second.answer(dwr)
  }
  await until(() => server.peers()[0]?.watchdog === 'OKAY')
  const outcome = server.request(aRar())
  second.answer(await second.next())
  t.match(await outcome, { kind: 'answered' })
})

t.test(
  'BASE-100: while our connection is open the peer gets no second one, and while its own is, none is made',
  async t => {
    await t.test('ours', async t => {
      const calling = await startCalling(t)
      const ours = await opened(calling)
      const second = await RawClient.open(t, calling)
      t.equal((await second.ask(aCer())).value('Result-Code'), 3010)
      await second.closed
      t.equal((await ours.ask(aCcr())).value('Result-Code'), 2001)
      t.equal(calling.server.dialled()[0]?.state, 'I-Open')
    })
    await t.test('theirs', async t => {
      const hand = new HandDialled()
      const { port, server, clock } = await startServer(t, { dial: hand.dial, peers: [called(1)] })
      hand.calls[0]!(new Error('refused'))
      const theirs = await RawClient.peer(t, { port })
      t.equal(server.dialled()[0]?.state, 'R-Open')
      clock.advance(29_000)
      t.equal((await theirs.ask(aDwr())).value('Result-Code'), 2001)
      clock.advance(29_000)
      t.equal(hand.calls.length, 1)
      theirs.socket.destroy()
      await until(() => server.counts().all === 0)
      clock.advance(30_000)
      t.equal(hand.calls.length, 2)
    })
    await t.test('theirs replaces ours when ours is dead, `duplicatePeer: replace`', async t => {
      const calling = await startCalling(t, { duplicatePeer: 'replace' })
      const { server, clock, far } = calling
      const ours = await opened(calling)
      const theirs = await RawClient.open(t, calling)
      theirs.send(aCer())
      t.equal((await ours.next()).header.commandCode, 280)
      clock.advance(3_000)
      t.equal((await theirs.next()).value('Result-Code'), 2001)
      await ours.closed
      t.equal(server.dialled()[0]?.state, 'R-Open')
      t.match(server.peers(), [{ state: 'R-Open', direction: 'accepted' }])
      clock.advance(29_000)
      t.equal(far.calls, 1)
    })
  },
)

t.test('draining says good-bye on connections that we made, and calls nobody any more', async t => {
  const calling = await startCalling(t)
  const { server, clock, far } = calling
  const client = await opened(calling)
  const drained = server.drain(7_000)
  const dpr = await client.next()
  t.same([dpr.header.commandCode, dpr.value('Disconnect-Cause')], [282, 0])
  client.answer(dpr)
  await drained
  t.equal(await client.closed, 'end')
  clock.advance(120_000)
  await new Promise(resolve => setImmediate(resolve))
  t.equal(far.calls, 1)
  t.ok(server.call('pgw1.example.net'), 'not even when told to')
  t.equal(server.dialled()[0]?.state, 'Closed')
  t.equal(clock.waiting, 0, 'no timer is left')
})

t.test('a server that ends while it calls leaves nothing behind', async t => {
  const hand = new HandDialled()
  const { server, clock } = await startServer(t, { dial: hand.dial, peers: [called(1)] })
  await server.close()
  t.equal(hand.cancelled, 1)
  t.equal(clock.waiting, 0)
})

t.test(
  'BASE-117, 118: a request moves to a relay when our connection fails, and is undeliverable without one',
  async t => {
    const calling = await startCalling(t)
    const client = await opened(calling)
    const relay = await RawClient.peer(t, calling, aCer({ originHost: 'dra1.example.net' }))
    const outcome = calling.server.request(aRar())
    const first = await client.next()
    client.socket.resetAndDestroy()
    const second = await relay.next()
    t.equal(second.header.flags, FLAG.REQUEST | FLAG.PROXIABLE | FLAG.RETRANSMITTED)
    t.equal(second.header.endToEnd, first.header.endToEnd)
    relay.socket.resetAndDestroy()
    t.match(await outcome, { kind: 'undeliverable' })
  },
)

t.test(
  'CC-134: an answer that is missing for 10 s is asked for over other peers, at most twice, T bit set',
  async t => {
    const resend = { afterMs: 10_000, times: 2 }
    const start = async (t: Test): Promise<Calling & { client: RawClient; relays: RawClient[] }> => {
      const far = await RawListener.open(t)
      const dra = (n: number): PeerConfig => aPeer({ name: `dra${n}`, identity: `dra${n}.example.net`, relay: true })
      const started = await startServer(t, { peers: [called(far.port), dra(1), dra(2), dra(3)], watchdogMs: 100_000 })
      const client = await opened({ ...started, far })
      const relays: RawClient[] = []
      for (const n of [1, 2, 3])
        relays.push(await RawClient.peer(t, started, aCer({ originHost: `dra${n}.example.net` })))
      return { ...started, far, client, relays }
    }
    await t.test('two resends, then the time-out', async t => {
      const { server, clock, client, relays } = await start(t)
      const outcome = server.request(aRar({ resend, timeoutMs: 40_000 }))
      const sent = [await client.next()]
      clock.advance(9_999)
      t.ok(await relays[0]!.nothingElse())
      clock.advance(1)
      sent.push(await relays[0]!.next())
      clock.advance(10_000)
      sent.push(await relays[1]!.next())
      t.same(
        sent.map(({ header }) => (header.flags & FLAG.RETRANSMITTED) !== 0),
        [false, true, true],
      )
      t.equal(new Set(sent.map(({ header }) => header.endToEnd)).size, 1)
      t.equal(new Set(sent.map(({ octets }) => octets.toString('hex', 20))).size, 1)
      clock.advance(19_999)
      t.ok(await relays[2]!.nothingElse(), 'not a third time')
      clock.advance(1)
      t.match(await outcome, { kind: 'timeout' })
    })
    await t.test('the first answer counts, whichever way it comes, and the other one is dropped', async t => {
      const { server, clock, client, relays, metrics } = await start(t)
      const outcome = server.request(aRar({ resend, timeoutMs: 40_000 }))
      const first = await client.next()
      clock.advance(10_000)
      const second = await relays[0]!.next()
      client.answer(first)
      t.match(await outcome, { kind: 'answered', resultCode: 2001 })
      relays[0]!.answer(second)
      await until(() => metrics.droppedAnswersByReason.get('unknown_hop_by_hop') === 1)
      clock.advance(10_000)
      t.ok(await relays[1]!.nothingElse())
    })
    await t.test('a connection that fails meanwhile does not end it', async t => {
      const { server, clock, client, relays } = await start(t)
      const outcome = server.request(aRar({ resend, timeoutMs: 40_000 }))
      await client.next()
      clock.advance(10_000)
      const second = await relays[0]!.next()
      for (const gone of [client, relays[1]!, relays[2]!]) gone.socket.resetAndDestroy()
      await until(() => server.peers().length === 1)
      relays[0]!.answer(second)
      t.match(await outcome, { kind: 'answered', resultCode: 2001 })
    })
    await t.test('without another way it stays where it is', async t => {
      const calling = await startCalling(t)
      const client = await opened(calling)
      const outcome = calling.server.request(aRar({ resend }))
      const only = await client.next()
      calling.clock.advance(20_000)
      t.ok(await client.nothingElse(), 'never twice over one connection')
      client.answer(only)
      t.match(await outcome, { kind: 'answered' })
    })
  },
)

/** Configuration of TLS with this certificate, and nobody let in. */
const withCertificate = ({ certificate, key }: Certificate, authority: Authority): TlsConfig => ({
  ...{ listen: [{ host: '127.0.0.1', port: 0 }], certificate, key, authority: authority.certificate, crl: undefined },
})

t.test('`transport: tls`: another node of ours is called over TLS, and must show its certificate', async t => {
  const authority = Authority.make(t)
  const strangers = Authority.make(t, 'strangers')
  if (!authority || !strangers) return
  const [ours, pgw] = [authority.issue('ocs1.charging.example.net'), authority.issue('pgw1.example.net')]
  const [other, stranger] = [authority.issue('pgw2.example.net'), strangers.issue('pgw1.example.net')]
  const cases: [string, Certificate, Authority, RegExp | undefined][] = [
    ['its own, of our authority', pgw, authority, undefined],
    ['that of another peer', other, authority, /its certificate does not name pgw1.example.net/],
    ['of an authority that we do not know', stranger, authority, /certificate/],
    ['its own, but it does not know our authority', pgw, strangers, /alert|closed|reset/],
  ]
  for (const [name, certificate, itsAuthority, failure] of cases) {
    await t.test(name, async t => {
      const clock = new VirtualClock(Date.now())
      const far = await startServer(t, {
        ...{ clock, identity: 'pgw1.example.net', realm: 'example.net' },
        tls: withCertificate(certificate, itsAuthority),
        peers: [aPeer({ name: 'ocs', identity: '*', realm: '*', transport: 'tls', certificate: 'any' })],
      })
      const connect = { host: '127.0.0.1', port: far.tlsPort!, tls: true }
      const peers = [called(0, { transport: 'tls', connect })]
      const { server } = await startServer(t, { clock, tls: withCertificate(ours, authority), peers })
      if (failure === undefined) {
        await until(() => server.peers().length === 1 && far.server.peers().length === 1)
        t.match(server.peers(), [{ direction: 'initiated', transport: 'tls', state: 'I-Open' }])
        t.match(far.server.peers(), [
          { direction: 'accepted', transport: 'tls', originHost: 'ocs1.charging.example.net' },
        ])
        const ccr = await far.server.request({
          ...{ destinationHost: 'ocs1.charging.example.net', commandCode: 272, applicationId: 4, timeoutMs: 1_000 },
          write: writer => writer.ready(aCcr().subarray(20)),
        })
        t.match(ccr, { kind: 'answered', resultCode: 2001 })
        return
      }
      await until(() => server.dialled()[0]!.state === 'Closed')
      t.match(server.dialled()[0]?.lastFailure, failure)
      t.same([server.peers(), far.server.peers()], [[], []])
      t.equal(server.dialled()[0]?.nextCallAt, clock.now() + 30_000)
    })
  }
  await t.test('a port that speaks no TLS', async t => {
    const sockets: Socket[] = []
    const far = createServer(socket => sockets.push(socket))
    t.teardown(() => {
      for (const socket of sockets) socket.destroy()
      far.close()
    })
    await new Promise<void>(resolve => far.listen(0, '127.0.0.1', resolve))
    const { port } = far.address() as AddressInfo
    const peers = [called(port, { transport: 'tls', connect: { host: '127.0.0.1', port, tls: true } })]
    const clock = new VirtualClock(Date.now())
    const { server } = await startServer(t, { clock, tls: withCertificate(ours, authority), peers })
    await until(() => sockets.length === 1)
    sockets[0]!.end('220 ready\r\n')
    await until(() => server.dialled()[0]!.state === 'Closed')
    t.match(server.dialled()[0]?.lastFailure, /wrong version number/)
    clock.advance(30_000)
    await until(() => sockets.length === 2)
    clock.advance(10_000)
    t.match(server.dialled()[0]?.lastFailure, /no answer in 10 s/, 'one that says nothing')
  })
})

t.test('everything that was sent is as it must be', t => {
  checkEverythingReceived(t)
  t.end()
})
