/** How connections end, and requests of ours: RFC 6733 sections 5.4 and 5.5, RFC 3539. */
import t from 'tap'
import type { Test } from 'tap'
import { VirtualClock } from '../../src/clock.js'
import { FLAG } from '../../src/diameter/header.js'
import type { Answer, OutgoingRequest } from '../../src/diameter/server.js'
import type { TestServer } from '../support/diameter-server.js'
import {
  aPeer,
  cca,
  examplePeers,
  identity,
  realm,
  startServer,
  StubApplication,
  until,
} from '../support/diameter-server.js'
import type { Received } from '../support/raw-client.js'
import { aCcr, aCer, answerTo, checkEverythingReceived, RawClient } from '../support/raw-client.js'
import { vector } from '../support/vectors.js'

class Held extends StubApplication {
  readonly release: (() => void)[] = []

  constructor() {
    super(request => new Promise<Answer>(resolve => this.release.push(() => resolve(cca(request)))))
  }
}

const aRar = (parts: Partial<OutgoingRequest> = {}): OutgoingRequest => ({
  destinationHost: 'pgw1.example.net',
  commandCode: 258,
  applicationId: 4,
  timeoutMs: 10_000,
  write: writer => {
    writer.text(263, 'pgw1.example.net;1;1')
    writer.text(264, identity)
    writer.text(296, realm)
    writer.text(283, 'example.net')
    writer.text(293, 'pgw1.example.net')
    writer.u32(258, 4)
    writer.u32(285, 0)
  },
  ...parts,
})

const command = (message: Received | string): number | string =>
  typeof message === 'string' ? message : message.header.commandCode

t.test(
  'BASE-106: a drain answers what is in work and what still arrives, then says DPR REBOOTING and closes',
  async t => {
    const application = new Held()
    const { port, server, metrics } = await startServer(t, { application })
    const client = await RawClient.peer(t, { port })
    const idle = await RawClient.peer(t, { port }, aCer({ originHost: 'pgw2.example.net' }))
    const stranger = await RawClient.open(t, { port })
    client.send(aCcr({ hopByHop: 1 }))
    await until(() => application.release.length === 1)
    let drained = false
    const drain = server.drain(7_000).then(() => (drained = true))

    const goodBye = await idle.next()
    t.same([goodBye.header.commandCode, goodBye.value('Disconnect-Cause')], [282, 0], 'an idle peer is told at once')
    idle.answer(goodBye)
    t.equal(await idle.closed, 'end')
    t.type(await stranger.nextOrEnd(), 'string', 'and who has not said CER is closed')
    await t.rejects(RawClient.open(t, { port }), { code: 'ECONNREFUSED' }, 'no new connection is accepted')

    client.send(aCcr({ hopByHop: 2 }))
    await until(() => application.release.length === 2)
    t.equal(client.unread, 0)
    application.release[0]!()
    t.equal((await client.next()).header.hopByHop, 1)
    const dpr = await client.next()
    t.same([dpr.header.commandCode, dpr.value('Disconnect-Cause')], [282, 0])
    client.send(aCcr({ hopByHop: 3 })) // it crosses the DPR
    client.answer(dpr)
    await until(() => application.release.length === 3)
    t.equal(drained, false)
    application.release[2]!()
    application.release[1]!()
    const last = [(await client.next()).header.hopByHop, (await client.next()).header.hopByHop]
    t.same(last.sort(), [2, 3], 'every accepted CCR is answered')
    t.equal(await client.closed, 'end')
    await drain
    t.same(server.counts().all, 0)
    t.equal(metrics.closedByPeer.get('pgw')?.get('drain'), 1)
  },
)

t.test('BASE-106: a drain waits one second for the DPA', async t => {
  const { port, server, clock, metrics } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const drain = server.drain(7_000)
  t.equal(command(await client.next()), 282)
  clock.advance(999)
  t.equal(server.counts().all, 1)
  clock.advance(1)
  t.equal(await client.closed, 'end')
  await drain
  t.equal(metrics.closedByPeer.get('pgw')?.get('dpa_timeout'), 1)
  t.equal(clock.waiting, 0, 'no timer is left')
})

t.test('a drain ends although a request is never answered', async t => {
  const { port, server, clock } = await startServer(t, { application: new Held() })
  const client = await RawClient.peer(t, { port })
  client.send(aCcr())
  await until(() => server.peers()[0]?.inFlight === 1)
  const drain = server.drain(7_000)
  clock.advance(6_999)
  t.equal(client.unread, 0)
  clock.advance(1)
  const dpr = await client.next()
  t.equal(dpr.header.commandCode, 282)
  client.answer(dpr)
  t.equal(await client.closed, 'end')
  await drain
})

t.test('BASE-102: a peer that leaves our DPR without DPA is closed after five seconds', async t => {
  const { port, server, clock } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  t.equal(server.disconnect('PGW1.example.net'), true)
  t.equal(server.disconnect('pgw9.example.net'), false)
  t.equal(command(await client.next()), 282)
  t.equal((await client.ask(vector('B07'))).value('Result-Code'), 2001, 'a DWR is answered meanwhile')
  clock.advance(4_999)
  t.equal(server.peers()[0]?.state, 'Closing')
  clock.advance(1)
  t.equal(await client.closed, 'end')
})

t.test('both sides may say DPR at once', async t => {
  const { port, server } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  server.disconnect('pgw1.example.net')
  const dpr = await client.next()
  t.equal((await client.ask(vector('B09'))).value('Result-Code'), 2001)
  client.answer(dpr)
  t.equal(await client.closed, 'end')
})

t.test('BASE-111: traffic each second, and no DWR for five minutes', async t => {
  const { port, clock, metrics } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  for (let second = 0; second < 300; second++) {
    clock.advance(1_000)
    t.equal(command(await client.ask(aCcr())), 272)
  }
  t.equal(metrics.traffic('pgw').messagesOut[2], 0)
  clock.advance(30_000)
  t.equal(command(await client.next()), 280)
})

t.test('BASE-110, 111: a DWA is enough to be asked again only after the next Tw', async t => {
  const { port, clock, server } = await startServer(t, { watchdogMs: 6_000 })
  const client = await RawClient.peer(t, { port })
  for (let i = 0; i < 3; i++) {
    clock.advance(6_000)
    const dwr = await client.next()
    t.same(
      dwr.avps.map(avp => avp.name),
      ['Origin-Host', 'Origin-Realm', 'Origin-State-Id'],
    )
    client.answer(dwr)
    await client.nothingElse()
    t.equal(server.peers()[0]?.watchdog, 'OKAY')
  }
})

t.test('BASE-014: a request of ours is answered once, the second copy of the answer is dropped', async t => {
  const { port, server, metrics } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const outcome = server.request(aRar())
  const rar = await client.next()
  t.same(
    [rar.header.commandCode, rar.header.flags, rar.value('Session-Id')],
    [258, FLAG.REQUEST | FLAG.PROXIABLE, 'pgw1.example.net;1;1'],
  )
  const ofAnotherDiameter = answerTo(rar)
  ofAnotherDiameter[0] = 2
  client.send(ofAnotherDiameter)
  await client.nothingElse()
  t.equal(metrics.droppedAnswersByReason.get('unknown_hop_by_hop'), 1, 'nor is an answer of version 2 one')
  client.answer(rar)
  client.answer(rar)
  t.match(await outcome, { kind: 'answered', resultCode: 2001 })
  await client.nothingElse()
  t.equal(metrics.droppedAnswersByReason.get('unknown_hop_by_hop'), 2)
})

t.test('BASE-103, 118: a request for a peer that cannot have it is undeliverable', async t => {
  const { port, server } = await startServer(t)
  t.match(await server.request(aRar()), { kind: 'undeliverable' }, 'no connection')
  await RawClient.peer(t, { port })
  t.match(await server.request(aRar({ applicationId: 16_777_302 })), { kind: 'undeliverable' }, 'not its application')
})

t.test('a request without answer ends in time, and its late answer is dropped', async t => {
  const { port, server, clock, metrics } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const outcome = server.request(aRar())
  const rar = await client.next()
  clock.advance(10_000)
  t.match(await outcome, { kind: 'timeout' })
  client.answer(rar)
  await client.nothingElse()
  t.equal(metrics.droppedAnswersByReason.get('unknown_hop_by_hop'), 1)
})

t.test(
  'BASE-117: a request moves to a relay when its connection fails, with T bit and the same End-to-End id',
  async t => {
    const { port, server } = await startServer(t)
    const client = await RawClient.peer(t, { port })
    const relay = await RawClient.peer(t, { port }, vector('B05'))
    const outcome = server.request(aRar())
    const first = await client.next()
    client.socket.resetAndDestroy()
    const second = await relay.next()
    t.equal(second.header.commandCode, 258)
    t.equal(second.header.flags, FLAG.REQUEST | FLAG.PROXIABLE | FLAG.RETRANSMITTED)
    t.equal(second.header.endToEnd, first.header.endToEnd)
    t.equal(second.octets.subarray(20).compare(first.octets.subarray(20)), 0)
    relay.answer(second)
    t.match(await outcome, { kind: 'answered', resultCode: 2001 })
  },
)

t.test('BASE-112, 117: SUSPECT moves requests, but no DWR; without another way they are undeliverable', async t => {
  const { port, server, clock } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const outcome = server.request(aRar({ timeoutMs: 1_000_000 }))
  t.equal(command(await client.next()), 258)
  clock.advance(30_000)
  t.equal(command(await client.next()), 280)
  clock.advance(30_000)
  t.match(await outcome, { kind: 'undeliverable' })
  t.match(await server.request(aRar()), { kind: 'undeliverable' }, 'nor does a SUSPECT connection get a new one')
  t.equal((await client.ask(aCcr())).value('Result-Code'), 2001, 'which is answered all the same')
  t.equal(server.peers()[0]?.watchdog, 'OKAY')
})

/** A server whose peer's first connection has failed, and the peer's second connection. */
async function reconnected(t: Test, clock = new VirtualClock()): Promise<TestServer & { client: RawClient }> {
  const started = await startServer(t, { clock })
  const lost = await RawClient.peer(t, started)
  lost.socket.resetAndDestroy()
  await until(() => started.server.counts().all === 0)
  return { ...started, client: await RawClient.peer(t, started) }
}

t.test(
  'BASE-114, 115: after a failure three round trips, at once, before requests of ours; theirs are answered',
  async t => {
    const { client, server } = await reconnected(t)
    for (let i = 0; i < 3; i++) {
      const dwr = await client.next()
      t.equal(dwr.header.commandCode, 280)
      t.equal(server.peers()[0]?.watchdog, 'REOPEN')
      t.match(await server.request(aRar()), { kind: 'undeliverable' })
      t.equal((await client.ask(aCcr())).value('Result-Code'), 2001)
      client.answer(dwr)
    }
    await until(() => server.peers()[0]?.watchdog === 'OKAY')
    const outcome = server.request(aRar())
    client.answer(await client.next())
    t.match(await outcome, { kind: 'answered' })
  },
)

t.test('BASE-114: a first connection is used at once, and so is one after a DPR', async t => {
  const { port, server } = await startServer(t)
  const first = await RawClient.peer(t, { port })
  t.equal(server.peers()[0]?.watchdog, 'OKAY')
  await first.ask(vector('B09'))
  first.socket.destroy()
  await until(() => server.counts().all === 0)
  const second = await RawClient.peer(t, { port })
  t.equal(server.peers()[0]?.watchdog, 'OKAY')
  t.ok(await second.nothingElse(), 'no DWR')
})

t.test('BASE-012: End-to-End ids go on over a restart without repeating', async t => {
  const clock = new VirtualClock()
  const ids: number[] = []
  for (let start = 0; start < 3; start++) {
    await t.test(`start ${start}`, async t => {
      const { port, server } = await startServer(t, { clock, peers: [...examplePeers, aPeer({ name: 'more' })] })
      const client = await RawClient.peer(t, { port })
      for (let i = 0; i < 20; i++) {
        const outcome = server.request(aRar())
        const rar = await client.next()
        ids.push(rar.header.endToEnd)
        client.answer(rar)
        await outcome
      }
    })
    clock.advance(1_000)
  }
  t.equal(new Set(ids).size, 60)
})

t.test('everything that was sent is as it must be', t => {
  checkEverythingReceived(t)
  t.end()
})
