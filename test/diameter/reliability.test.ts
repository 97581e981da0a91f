/** What peers and networks do to a connection: each fault ends where it began. */
import t from 'tap'
import type { AvpItem } from '../../src/diameter/tree.js'
import type { Answer } from '../../src/diameter/server.js'
import { cca, startServer, StubApplication, until } from '../support/diameter-server.js'
import { aCcr, aCer, aDwr, checkEverythingReceived, RawClient } from '../support/raw-client.js'
import { vector } from '../support/vectors.js'

const others = (number: number): { originHost: string } => ({ originHost: `pgw${number}.example.net` })

/** An application whose answers wait for the test. */
class Held extends StubApplication {
  readonly release: (() => void)[] = []

  constructor() {
    super(request => new Promise<Answer>(resolve => this.release.push(() => resolve(cca(request)))))
  }
}

t.test('row 1: a gateway that resets with CCRs in work loses its answers only', async t => {
  const application = new Held()
  const { port, metrics, server } = await startServer(t, { application })
  const client = await RawClient.peer(t, { port })
  const other = await RawClient.peer(t, { port }, aCer(others(2)))
  client.send(aCcr(), aCcr({ hopByHop: 2 }))
  other.send(aCcr({ originHost: 'pgw2.example.net' }))
  await until(() => application.release.length === 3)
  client.socket.resetAndDestroy()
  await until(() => server.counts().all === 1)
  for (const release of application.release) release()
  t.equal((await other.next()).value('Result-Code'), 2001)
  t.equal(metrics.droppedAnswersByReason.get('connection_gone'), 2)
  t.equal(metrics.closedByPeer.get('pgw')?.get('peer_closed'), 1)
})

t.test('row 2: a half-open connection is asked after Tw, and closed after three', async t => {
  const { port, clock, metrics, server } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  clock.advance(29_999)
  t.equal(client.unread, 0)
  clock.advance(1)
  const dwr = await client.next()
  t.equal(dwr.header.commandCode, 280)
  clock.advance(30_000)
  t.equal(server.peers()[0]?.watchdog, 'SUSPECT')
  clock.advance(30_000)
  t.equal(await client.closed, 'reset')
  t.equal(client.unread, 0, 'one DWR in all')
  t.equal(metrics.watchdogFailuresByPeer.get('pgw'), 1)
  t.equal(metrics.closedByPeer.get('pgw')?.get('watchdog'), 1)
  t.same(server.peers(), [])
  t.equal(clock.waiting, 0, 'no timer is left')
})

t.test('row 3: one octet after another before the CER does not outlast the CER timeout', async t => {
  const { port, clock, metrics, server } = await startServer(t)
  const client = await RawClient.open(t, { port })
  await until(() => server.counts().all === 1)
  for (const octet of aCer().subarray(0, 9)) {
    client.send(Buffer.from([octet]))
    await until(() => metrics.traffic('unknown').octetsIn === client.socket.bytesWritten)
    clock.advance(1_000)
  }
  t.equal(server.counts().all, 1)
  clock.advance(1_000)
  await client.closed
  t.equal(metrics.closedByPeer.get('unknown')?.get('cer_timeout'), 1)
})

t.test('row 4: a message that stays incomplete is waited for 30 s, dripping or not, and delays nobody', async t => {
  const { port, clock, metrics } = await startServer(t)
  const slow = await RawClient.peer(t, { port })
  const other = await RawClient.peer(t, { port }, aCer(others(2)))
  const ccr = aCcr()
  const before = metrics.traffic('pgw').octetsIn
  for (let i = 0; i < 29; i++) {
    slow.send(ccr.subarray(i, i + 1))
    await until(() => metrics.traffic('pgw').octetsIn === before + i + 1)
    clock.advance(1_000)
  }
  t.equal((await other.ask(aCcr({ originHost: 'pgw2.example.net' }))).value('Result-Code'), 2001)
  t.equal(metrics.closedByPeer.get('pgw')?.get('frame_timeout'), 0)
  clock.advance(1_000)
  t.equal(await slow.closed, 'reset')
  t.equal(metrics.closedByPeer.get('pgw')?.get('frame_timeout'), 1)
})

t.test('messages that reads cut, each soon complete, are no slow body', async t => {
  const { port, clock, metrics } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const ccr = aCcr()
  let sent = metrics.traffic('pgw').octetsIn
  const half = async (octets: Buffer): Promise<void> => {
    client.send(octets)
    sent += octets.length
    await until(() => metrics.traffic('pgw').octetsIn === sent)
  }
  await half(ccr.subarray(0, 30))
  for (let i = 0; i < 5; i++) {
    clock.advance(20_000)
    await half(Buffer.concat([ccr.subarray(30), ccr.subarray(0, 30)]))
    t.equal((await client.next()).value('Result-Code'), 2001)
  }
})

t.test('row 5: 200 messages in one segment, and one in segments of one octet, get the same answers', async t => {
  const { port } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const ccrs = Array.from({ length: 200 }, (_, i) => aCcr({ hopByHop: i + 1, sessionId: `glued;${i}` }))
  client.send(...ccrs)
  const glued = (await client.take(200)).map(answer => answer.octets.toString('hex'))
  const last = ccrs.at(-1)!
  await client.sendSegments(Array.from(last, octet => Buffer.from([octet])))
  t.equal((await client.next()).octets.toString('hex'), glued.at(-1))
  t.equal(new Set(glued).size, 200)
})

t.test('row 6: a peer that does not read is not read, and closed when its answers pass the cap', async t => {
  let text = 'x'.repeat(65_536)
  const application = new StubApplication(request => {
    const answer = cca(request)
    return Promise.resolve({
      ...answer,
      write: writer => {
        answer.write(writer)
        writer.text(281, text, 0, 0)
      },
    })
  })
  const { port, server, metrics } = await startServer(t, { application, limits: { outputOctets: 1_000_000 } })
  const client = await RawClient.peer(t, { port })
  client.socket.pause()
  const ccr = aCcr()
  // One at a time: reading stops as soon as an answer is stuck in the process.
  let asked = 0
  while (server.peers()[0]!.outputOctets === 0 && asked < 2_000) {
    client.send(ccr)
    asked++
    await until(() => application.requests.length === asked)
    await new Promise(resolve => setImmediate(resolve))
    await new Promise(resolve => setImmediate(resolve))
  }
  for (let i = 0; i < 500; i++) client.send(ccr)
  for (let i = 0; i < 200; i++) await new Promise(resolve => setImmediate(resolve))
  t.equal(application.requests.length, asked, 'what it sends now is not read')
  t.ok(server.peers()[0]!.outputOctets < 200_000)
  text = 'short, or one read of requests would make answers above the cap'
  client.socket.resume()
  for (let i = 0; i < asked + 500; i++) t.equal((await client.next()).value('Result-Code'), 2001)

  // Many at once, all in work before the first answer: reading has no chance to stop.
  client.socket.pause()
  text = 'x'.repeat(65_536)
  client.send(...Array.from({ length: 200 }, () => ccr))
  await until(() => server.counts().all === 0)
  t.equal(metrics.closedByPeer.get('pgw')?.get('output_limit'), 1)
})

t.test('row 7: a length that cannot be closes its own connection with a reset', async t => {
  const { port, metrics, log } = await startServer(t)
  const other = await RawClient.peer(t, { port }, aCer(others(2)))
  const cases: [string, Buffer][] = [
    ['0', Buffer.from('0100000080000110', 'hex')],
    ['19', Buffer.from('0100001380000110', 'hex')],
    ['BASE-004: M02, 16', vector('M02')],
    ['BASE-004: M03, not a multiple of 4', vector('M03')],
    ['BASE-005: M04, above the limit', vector('M04')],
    ['one above the limit', Buffer.from('0110000480000110', 'hex')],
  ]
  for (const [name, octets] of cases) {
    const client = await RawClient.peer(t, { port })
    client.send(octets)
    t.equal(await client.closed, 'reset', name)
  }
  t.equal(metrics.closedByPeer.get('pgw')?.get('bad_length'), cases.length)
  t.equal(log.filter(line => line.event === 'bad-length').length, 1, 'one line for all of them')
  t.equal((await other.ask(aCcr({ originHost: 'pgw2.example.net' }))).value('Result-Code'), 2001)
})

t.test('row 8: TLS, HTTP and noise on the port are closed, with a line in the log now and then', async t => {
  const { port, metrics, log, clock } = await startServer(t)
  const noise = [
    Buffer.from('16030100f8010000f40303', 'hex'),
    Buffer.from('GET / HTTP/1.1\r\nHost: ocs\r\n\r\n'),
    Buffer.from([0]),
    Buffer.from('ff'.repeat(5_000), 'hex'),
  ]
  for (const octets of noise) {
    const client = await RawClient.open(t, { port })
    client.send(octets)
    await client.closed
  }
  t.equal(metrics.closedByPeer.get('unknown')?.get('not_diameter'), noise.length)
  const lines = (): (typeof log)[number][] => log.filter(line => line.event === 'not-diameter')
  t.match(lines(), [{ address: '127.0.0.1', firstOctets: '16030100f8010000', suppressed: 0 }])
  t.equal(lines().length, 1)
  clock.advance(10_000)
  const client = await RawClient.open(t, { port })
  client.send(noise[1]!)
  await client.closed
  t.equal(lines()[1]?.['suppressed'], noise.length - 1)
})

t.test('row 9: depth, number and empty AVPs beyond reason are refused, and the connection lives', async t => {
  const { port } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  let nested: AvpItem[] = []
  for (let depth = 0; depth < 1_000; depth++) nested = [['Failed-AVP', nested]]
  const many: AvpItem[] = Array.from({ length: 100_000 }, () => ['65001:0', Buffer.alloc(0), 0])
  const zero = Buffer.concat([aCcr(), Buffer.alloc(8)])
  zero.writeUInt32BE(0x01000000 + zero.length, 0)
  const cases: [string, Buffer, number[]][] = [
    [
      'groups 1,000 deep in a group that a CCR may have',
      aCcr({ more: [['Service-Information', nested]] }),
      [2001, 5004, 5012, 5014],
    ],
    ['100,000 AVPs', aCcr({ more: many }), [5009, 5012]],
    ['an AVP of length zero', zero, [5014]],
  ]
  for (const [name, octets, codes] of cases) {
    t.ok(codes.includes((await client.ask(octets)).value('Result-Code') as number), name)
  }
  t.equal((await client.ask(aCcr())).value('Result-Code'), 2001)
})

t.test('row 10: unknown, missing and broken AVPs are named in Failed-AVP, and the session goes on', async t => {
  const { port } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  for (const [id, code] of [
    ['M13', 5001],
    ['M16', 5005],
    ['M30', 5004],
  ] as const) {
    const answer = await client.ask(vector(id))
    t.equal(answer.value('Result-Code'), code, id)
    t.ok(answer.value('Failed-AVP'), id)
  }
  t.equal((await client.ask(vector('X0'))).value('Result-Code'), 2001)
})

t.test('row 11: connections are accepted up to the limit, and closed at accept beyond it', async t => {
  const { port, server, metrics } = await startServer(t, { limits: { connections: 300 } })
  const clients = []
  for (let i = 0; i < 300; i++) clients.push(await RawClient.peer(t, { port }, aCer(others(i))))
  t.same(server.counts(), { all: 300, unidentified: 0, limit: 300 })
  const extra = await RawClient.open(t, { port })
  t.type(await extra.nextOrEnd(), 'string')
  t.equal(metrics.closedByPeer.get('unknown')?.get('connection_limit'), 1)
  for (const [i, client] of clients.entries()) client.send(aCcr({ originHost: `pgw${i}.example.net` }))
  for (const client of clients) t.equal((await client.next()).value('Result-Code'), 2001)
  clients[0]!.socket.destroy()
  await until(() => server.counts().all === 299)
  await RawClient.peer(t, { port }, aCer(others(0)))
})

t.test('row 12: a flood without CER holds four connections an address, 32 in all, and keeps no peer out', async t => {
  const { port, server, metrics } = await startServer(t)
  const open = (address: number): Promise<RawClient> => RawClient.open(t, { port, localAddress: `127.0.1.${address}` })
  const refused = metrics.closedByPeer.get('unknown')!
  for (let i = 0; i < 4; i++) await open(1)
  const fifth = await open(1)
  t.type(await fifth.nextOrEnd(), 'string')
  t.equal(refused.get('unidentified_limit'), 1)
  for (let address = 2; address <= 8; address++) for (let i = 0; i < 4; i++) await open(address)
  await until(() => server.counts().unidentified === 32)
  for (let address = 9; address <= 20; address++) {
    await open(address)
    t.equal((await RawClient.peer(t, { port }, aCer(others(address)))).unread, 0, 'a peer is let in')
    t.ok(server.counts().unidentified <= 32)
  }
  t.ok(refused.get('unidentified_limit')! > 12)
  await until(() => server.counts().all === server.counts().unidentified + 12)
})

t.test('row 13: above the in-flight cap a peer waits and is not read, and others are served', async t => {
  const application = new Held()
  const { port, server } = await startServer(t, { application, limits: { inFlight: 4 } })
  const flooder = await RawClient.peer(t, { port })
  const other = await RawClient.peer(t, { port }, aCer(others(2)))
  const ccrs = Array.from({ length: 2_000 }, (_, i) => aCcr({ hopByHop: i, sessionId: `flood;${i}` }))
  flooder.send(...ccrs)
  await until(() => application.release.length === 4)
  other.send(aCcr({ originHost: 'pgw2.example.net', sessionId: 'other' }))
  await until(() => application.release.length === 5)
  t.equal(application.requests[4]?.peer.originHost, 'pgw2.example.net')
  t.ok(server.peers().find(peer => peer.name === 'pgw')!.inFlight < 1_000, 'one read, not all that it sent')
  let most = 0
  for (let answered = 0; answered < 2_001;) {
    most = Math.max(most, application.release.length)
    const releases = application.release.splice(0)
    for (const release of releases) release()
    answered += releases.length
    await new Promise(resolve => setImmediate(resolve))
  }
  t.ok(most <= 5)
  const answers = new Set((await flooder.take(2_000)).map(answer => answer.value('Session-Id')))
  t.equal(answers.size, 2_000, 'and every request is answered')
})

t.test(
  'row 14, BASE-100: a second connection of a peer is refused; `replace` asks the first one whether it lives',
  async t => {
    await t.test('reject', async t => {
      const { port, metrics, server } = await startServer(t)
      const first = await RawClient.peer(t, { port })
      const second = await RawClient.open(t, { port })
      t.equal((await second.ask(aCer({ originHost: 'PGW1.example.net' }))).value('Result-Code'), 3010)
      await second.closed
      t.equal((await first.ask(aCcr())).value('Result-Code'), 2001, 'the first works')
      t.equal(metrics.duplicatesByPeer.get('pgw'), 1)
      t.equal(metrics.cerRejectedByReason.get('duplicate'), 1)
      t.equal(server.peers().length, 1)
    })
    await t.test('replace, the first lives', async t => {
      const { port, server } = await startServer(t, { duplicatePeer: 'replace' })
      const first = await RawClient.peer(t, { port })
      const second = await RawClient.open(t, { port })
      second.send(aCer())
      const dwr = await first.next()
      t.equal(dwr.header.commandCode, 280)
      const third = await RawClient.open(t, { port })
      t.equal((await third.ask(aCer())).value('Result-Code'), 3010, 'a third does not wait')
      first.answer(dwr)
      t.equal((await second.next()).value('Result-Code'), 3010)
      await second.closed
      t.equal((await first.ask(aCcr())).value('Result-Code'), 2001)
      t.equal(server.peers().length, 1)
    })
    await t.test('replace, the first is dead', async t => {
      const { port, server, clock, metrics } = await startServer(t, { duplicatePeer: 'replace' })
      const first = await RawClient.peer(t, { port })
      const second = await RawClient.open(t, { port })
      second.send(aCer())
      await first.next()
      clock.advance(2_999)
      t.equal(second.unread, 0)
      clock.advance(1)
      t.equal((await second.next()).value('Result-Code'), 2001)
      t.equal(await first.closed, 'reset')
      t.equal(metrics.closedByPeer.get('pgw')?.get('replaced'), 1)
      t.equal(server.peers().length, 1)
    })
    await t.test('replace, the first is closed while it is asked', async t => {
      const { port, server } = await startServer(t, { duplicatePeer: 'replace' })
      const first = await RawClient.peer(t, { port })
      const second = await RawClient.open(t, { port })
      second.send(aCer())
      await first.next()
      first.socket.resetAndDestroy()
      t.equal((await second.next()).value('Result-Code'), 2001)
      t.equal(server.peers().length, 1)
    })
    await t.test('a peer that said DPR may come back before its old transport is gone', async t => {
      const { port, server } = await startServer(t)
      const first = await RawClient.peer(t, { port })
      await first.ask(vector('B09'))
      const second = await RawClient.peer(t, { port })
      t.type(await first.closed, 'string')
      t.equal((await second.ask(aCcr())).value('Result-Code'), 2001)
      t.equal(server.peers().length, 1)
    })
  },
)

t.test('row 17: times of any clock are taken', async t => {
  const { port } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  for (const ntp of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
    const time = Buffer.alloc(4)
    time.writeUInt32BE(ntp)
    t.equal((await client.ask(aCcr({ more: [['Event-Timestamp', time]] }))).value('Result-Code'), 2001, String(ntp))
  }
})

t.test('a flood of DWR from a peer that reads nothing is bounded', async t => {
  const { port, server, metrics } = await startServer(t, { limits: { outputOctets: 100_000 } })
  const client = await RawClient.peer(t, { port })
  client.socket.pause()
  const many = Buffer.concat(Array.from({ length: 1_000 }, () => aDwr()))
  for (let i = 0; i < 400; i++) {
    client.socket.write(many)
    await new Promise(resolve => setImmediate(resolve))
    if (server.peers().length === 0) break
    t.ok(server.peers()[0]!.outputOctets < 250_000, 'the cap, and what one read brings')
  }
  t.pass(`${metrics.traffic('pgw').messagesIn[2]} DWR were read`)
})

t.test('everything that was sent is as it must be', t => {
  checkEverythingReceived(t)
  t.end()
})
