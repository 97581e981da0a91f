/** BASE-001 to 015: header, framing, identifiers. */
import { decodeTree, encodeTree } from '../../src/diameter/tree.js'
import { FLAG, readHeader } from '../../src/diameter/header.js'
import { answerTo, RawClient } from '../support/raw-client.js'
import { startServer } from '../support/diameter-server.js'
import { dictionary, streamVectors, vector } from '../support/vectors.js'
import { minute, row, second, startOcs } from './harness.js'
import { append, anAvp, ofSession, withHeader } from './octets.js'
import { isAnsweredAsSaid } from './reaction.js'
import { checkRecorded } from './recorder.js'

const T = (id: string): readonly Buffer[] => streamVectors.find(each => each.id === id)!.segments

row(
  'BASE-001',
  'B01 is answered with its identifiers in network order, and encodes to the octets that it came in',
  async t => {
    const ocs = await startOcs(t)
    const client = await ocs.open(t)
    const b01 = vector('B01')
    const cea = await client.ask(b01)
    t.equal(cea.value('Result-Code'), 2001)
    t.equal(cea.octets[0], 1, 'version')
    t.equal(cea.octets.readUIntBE(1, 3), cea.octets.length, 'length')
    t.equal(cea.octets.readUIntBE(5, 3), 257, 'command')
    t.same(cea.octets.subarray(12, 20), b01.subarray(12, 20), 'identifiers')
    t.ok(encodeTree(dictionary, decodeTree(dictionary, b01)).equals(b01))
  },
)

row('BASE-002', 'M01: version 2 is answered 5011', async t => {
  const ocs = await startOcs(t)
  const answer = await isAnsweredAsSaid(t, await ocs.peer(t), 'M01')
  t.equal(answer.octets[0], 1, 'in version 1')
})

row('BASE-004', 'M02, M03: a length that cannot be resets the connection, and no other', async t => {
  const ocs = await startOcs(t)
  const other = await ocs.open(t)
  for (const id of ['M02', 'M03']) {
    const client = await ocs.peer(t)
    client.send(vector(id))
    t.equal(await client.closed, 'reset', id)
  }
  t.equal((await other.ask(vector('B01'))).value('Result-Code'), 2001)
})

row(
  'BASE-005',
  'M04: a message announced above the limit closes the connection, and no memory is taken for it',
  async t => {
    const ocs = await startOcs(t)
    const client = await ocs.peer(t)
    const { arrayBuffers: before } = process.memoryUsage()
    client.send(vector('M04').subarray(0, 20))
    t.equal(await client.closed, 'reset')
    const { arrayBuffers: after } = process.memoryUsage()
    t.ok(after - before < 4 << 20, 'not the 16 MB that were announced')
  },
)

row('BASE-006', 'T01, T02, T03: glued, cut, and an octet at a time', async t => {
  const expected: Readonly<Record<string, readonly number[]>> = {
    T01: [257, 272, 280],
    T02: [257],
    T03: [257, 272],
  }
  for (const [id, commands] of Object.entries(expected)) {
    const ocs = await startOcs(t)
    const client = await ocs.open(t)
    await client.sendSegments(T(id))
    const answers = await client.take(commands.length)
    t.same(answers.map(({ header }) => header.commandCode).sort(), commands, id)
    t.same(
      answers.map(answer => answer.value('Result-Code')),
      commands.map(() => 2001),
    )
    t.ok(await client.nothingElse(), `${id}: and no more`)
  }
})

row('BASE-007', 'M05: a reserved bit in a request is ignored', async t => {
  const ocs = await startOcs(t)
  await isAnsweredAsSaid(t, await ocs.peer(t), 'M05')
})

row('BASE-008', 'M06: the E bit in a request is answered 3008, with the E bit', async t => {
  const ocs = await startOcs(t)
  await isAnsweredAsSaid(t, await ocs.peer(t), 'M06')
})

row('BASE-009', 'C08, which has the T bit, is answered without it', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  const answer = await client.ask(vector('C08'))
  t.equal(answer.value('Result-Code'), 2001)
  t.equal(answer.header.flags & FLAG.RETRANSMITTED, 0)
})

row('BASE-010', 'C01, with P and without, is answered with its identifiers, command, application and P', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const withoutP = withHeader(ofSession(vector('C01'), 2), { flags: FLAG.REQUEST })
  for (const [ccr, flags] of [
    [vector('C01'), 0x40],
    [withoutP, 0],
  ] as const) {
    const answer = await client.ask(ccr)
    t.equal(answer.value('Result-Code'), 2001)
    t.equal(answer.header.flags, flags)
    t.same(answer.octets.subarray(5, 20), ccr.subarray(5, 20), 'command, application, Hop-by-Hop, End-to-End')
  }
})

row('BASE-011', '10,000 RARs without an answer have 10,000 Hop-by-Hop identifiers', async t => {
  const { server, port } = await startServer(t)
  const client = await RawClient.peer(t, { port }, vector('B01'))
  const count = 10_000
  const outcomes = Array.from({ length: count }, () => server.request(aRar))
  const requests = await client.take(count)
  t.equal(new Set(requests.map(({ header }) => header.hopByHop)).size, count)
  client.socket.destroy()
  t.ok((await Promise.all(outcomes)).every(({ kind }) => kind === 'undeliverable'))
})

row(
  'BASE-012',
  'requests of four minutes, and those after a restart, have different End-to-End identifiers',
  async t => {
    const ocs = await startOcs(t)
    const seen: number[] = []
    for (const restarted of [false, true]) {
      if (restarted) {
        ocs.clock.skip(second) // a restart takes longer
        await ocs.restart()
      }
      const client = await ocs.peer(t)
      for (let probe = 0; probe < 4; probe++) {
        ocs.clock.skip(33 * second)
        const dwr = await client.next()
        seen.push(dwr.header.endToEnd)
        client.answer(dwr)
        await client.nothingElse()
      }
    }
    t.equal(seen.length, 8)
    t.equal(new Set(seen).size, seen.length)
  },
)

row(
  'BASE-012',
  '5,000 requests of a node, and 5,000 of it started again a second later, share no identifier',
  async t => {
    const seen = new Set<number>()
    for (const start of [0, 1]) {
      const { server, port, clock } = await startServer(t)
      clock.advance(start * second)
      const client = await RawClient.peer(t, { port }, vector('B01'))
      for (let i = 0; i < 5_000; i++) void server.request(aRar)
      for (const { header } of await client.take(5_000)) seen.add(header.endToEnd)
      await server.close()
    }
    t.equal(seen.size, 10_000)
  },
)

row('BASE-013', 'T05: an RAA that nobody asked for is dropped, and the connection lives', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.open(t)
  await client.sendSegments(T('T05'))
  t.equal((await client.next()).header.commandCode, 257)
  t.ok(await client.nothingElse())
  t.equal((await client.ask(vector('C01'))).value('Result-Code'), 2001, 'and serves')
})

row('BASE-014', 'the second copy of an answer changes nothing and is not answered', async t => {
  const { server, port, metrics } = await startServer(t)
  const client = await RawClient.peer(t, { port }, vector('B01'))
  const outcome = server.request(aRar)
  const raa = answerTo(await client.next())
  client.send(raa, raa)
  t.match(await outcome, { kind: 'answered', resultCode: 2001 })
  t.ok(await client.nothingElse())
  t.equal(metrics.droppedAnswersByReason.get('unknown_hop_by_hop'), 1, 'one was dropped')
})

row('BASE-015', 'an answer with bad AVPs, asked for or not, is answered with nothing', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  ocs.clock.skip(33 * second)
  const dwa = answerTo(await client.next())
  const unknown = anAvp('65001:0', Buffer.from('ab'), 0x40)
  const broken = Buffer.from(append(dwa, anAvp('Origin-State-Id', 1)))
  broken[broken.length - 5] = 200 // an AVP Length that runs past the message
  client.send(append(dwa, unknown), broken, append(vector('C13'), unknown), vector('B11'))
  t.ok(await client.nothingElse())
  t.equal(readHeader(dwa).commandCode, 280)
  ocs.clock.skip(minute)
})

const aRar = {
  destinationHost: 'pgw1.example.net',
  commandCode: 258,
  applicationId: 4,
  timeoutMs: 10_000,
  write: (writer: { text(code: number, value: string): void }) => writer.text(263, 'pgw1.example.net;1;1'),
}

checkRecorded()
