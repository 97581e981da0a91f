/** Requests and answers over real sockets: what is ours, what is refused and how. RFC 6733 sections 3, 6 and 7. */
import t from 'tap'
import { DiameterError, ResultCode } from '../../src/diameter/errors.js'
import { FLAG } from '../../src/diameter/header.js'
import type { AvpTree } from '../../src/diameter/tree.js'
import { encodeAvp, encodeTree } from '../../src/diameter/tree.js'
import { cca, startServer, StubApplication, until } from '../support/diameter-server.js'
import { aCcr, aCer, aDpr, aDwr, checkEverythingReceived, RawClient } from '../support/raw-client.js'
import { dictionary, streamVectors, vector } from '../support/vectors.js'

/** The same message with other flags in its header. */
function flagged(octets: Buffer, flags: number): Buffer {
  const copy = Buffer.from(octets)
  copy[4] = flags
  return copy
}

const failedOf = (value: AvpTree['value'] | undefined): string =>
  ((value ?? []) as AvpTree[])
    .map(({ name, value }) => `${name}=${typeof value === 'string' || typeof value === 'number' ? value : '?'}`)
    .join()

const R = FLAG.REQUEST
const P = FLAG.PROXIABLE
const E = FLAG.ERROR

t.test('an answer copies what it must from its request, and nothing else', async t => {
  const { port } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const cases: [string, Buffer, number][] = [
    ['BASE-010: P of the request', vector('C01'), P],
    ['BASE-010: no P of the request', flagged(vector('C01'), R), 0],
    ['BASE-009: never T', vector('C08'), P],
    ['BASE-007: reserved bits are ignored and not sent', vector('M05'), P],
  ]
  for (const [name, ccr, flags] of cases) {
    const answer = await client.ask(ccr)
    t.equal(answer.value('Result-Code'), 2001, name)
    t.equal(answer.header.flags, flags, name)
    t.equal(answer.octets.readUInt32BE(12), ccr.readUInt32BE(12), 'Hop-by-Hop')
    t.equal(answer.octets.readUInt32BE(16), ccr.readUInt32BE(16), 'End-to-End')
    t.same([answer.header.commandCode, answer.header.applicationId], [272, 4])
  }
})

t.test('a request is refused with the code of its fault, and the connection lives', async t => {
  const { port, metrics } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const c01 = vector('C01')
  const cases: [string, Buffer, number, string?][] = [
    ['BASE-002: version 2', vector('M01'), 5011],
    ['BASE-008: E bit in a request', vector('M06'), 3008],
    ['BASE-060: unknown command', vector('M27'), 3001],
    ['BASE-061: unknown application', vector('M28'), 3007],
    ['BASE-059: another Auth-Application-Id', vector('M29'), 5004, 'Auth-Application-Id=5'],
    ['BASE-070: foreign host', aCcr({ destinationHost: 'ocs2.charging.example.net' }), 3002],
    ['BASE-071: foreign realm', aCcr({ destinationRealm: 'other.example' }), 3003],
    [
      'BASE-072: host without realm',
      aCcr({ destinationHost: 'ocs1.charging.example.net', destinationRealm: undefined }),
      5005,
      'Destination-Realm=',
    ],
    ['BASE-073: our own Route-Record', aCcr({ more: [['Route-Record', 'OCS1.charging.example.net']] }), 3005],
    ['BASE-056: only the first of many', vector('M34'), 5005, 'Session-Id='],
    ['BASE-058: Session-Id missing', vector('M17'), 5005, 'Session-Id='],
    ['BASE-058: Session-Id there', vector('M16'), 5005, 'CC-Request-Type=0'],
    [
      'BASE-083: a Session-Id above the limit',
      aCcr({ sessionId: 'x'.repeat(513) }),
      5004,
      `Session-Id=${'x'.repeat(512)}`,
    ],
    ['a CCR in application 0', Buffer.concat([c01.subarray(0, 8), Buffer.alloc(4), c01.subarray(12)]), 3001],
    ['E bit in a DWR', flagged(aDwr(), R | E), 3008],
  ]
  for (const [name, octets, code, failed = ''] of cases) {
    const answer = await client.ask(octets)
    t.equal(answer.value('Result-Code'), code, name)
    t.equal(answer.values('Result-Code').length, 1, 'one Result-Code')
    t.equal(failedOf(answer.value('Failed-AVP')), failed, name)
    t.equal((answer.header.flags & E) !== 0, code < 4000, 'E bit for protocol errors only')
    t.equal(answer.octets.readUInt32BE(4) & 0xffffff, octets.readUInt32BE(4) & 0xffffff)
    t.equal(answer.octets.compare(octets, 8, 20, 8, 20), 0, 'application and identifiers are copied')
    const had = [vector('M17'), vector('M34')].every(without => !without.equals(octets)) && !name.includes('DWR')
    t.equal(answer.value('Session-Id') !== undefined, had, 'BASE-058: Session-Id as in the request')
    t.equal(answer.value('Error-Reporting-Host'), undefined, 'BASE-064')
    t.type(answer.value('Error-Message'), 'string')
  }
  t.equal((await client.ask(c01)).value('Result-Code'), 2001, 'and the connection lives')
  t.equal(metrics.decodeErrorsByCode.get(5005), 4)
})

t.test('BASE-063: the error answers have the shape of the RFC, those to a CCR what clients need', async t => {
  const { port } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const names = (answer: { avps: readonly AvpTree[] }): string[] => answer.avps.map(avp => avp.name)
  t.same(names(await client.ask(vector('M28'))), [
    'Session-Id',
    'Origin-Host',
    'Origin-Realm',
    'Result-Code',
    'Error-Message',
  ])
  t.same(names(await client.ask(vector('M18'))), [
    ...['Session-Id', 'Result-Code', 'Origin-Host', 'Origin-Realm', 'Auth-Application-Id'],
    ...['CC-Request-Type', 'CC-Request-Number', 'Error-Message', 'Failed-AVP'],
  ])
  t.notOk(names(await client.ask(vector('M20'))).includes('CC-Request-Type'), 'a type that is none is not repeated')
})

t.test('BASE-033, 070: identities do not depend on case, Session-Ids do', async t => {
  const { port, application } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  for (const sessionId of ['Case;1', 'case;1']) {
    const parts = { sessionId, originHost: 'PGW1.example.NET', destinationHost: 'OCS1.Charging.example.NET' }
    const answer = await client.ask(aCcr(parts))
    t.equal(answer.value('Result-Code'), 2001)
    t.equal(answer.value('Session-Id'), sessionId)
  }
  t.equal(application.requests.length, 2)
  t.match(application.requests[0]?.peer, {
    name: 'pgw',
    originHost: 'pgw1.example.net',
    address: '127.0.0.1',
    relay: false,
  })
})

t.test('BASE-074: Proxy-Info goes back unchanged and in order, Route-Record does not', async t => {
  const { port } = await startServer(t)
  const relay = await RawClient.peer(t, { port }, vector('B05'))
  const refused = Buffer.concat([vector('C24'), encodeAvp(dictionary, 'Route-Record', 'ocs1.charging.example.net')])
  refused.writeUInt32BE(0x01000000 + refused.length, 0)
  const answer = await relay.ask(refused)
  t.equal(answer.value('Result-Code'), 3005)
  t.same(answer.values('Route-Record'), [])
  const sent = (await import('../../src/diameter/tree.js')).decodeTree(dictionary, vector('C24'))
  t.same(
    answer.values('Proxy-Info'),
    sent.avps.filter(avp => avp.name === 'Proxy-Info').map(avp => avp.value),
  )
  t.equal(answer.values('Proxy-Info').length, 2)
})

t.test('row 16: another Origin-Host in a CCR is refused, unless its peer is a relay', async t => {
  const { port, metrics } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const spoofed = await client.ask(aCcr({ originHost: 'pgw2.example.net' }))
  t.equal(spoofed.value('Result-Code'), 5004)
  t.equal(failedOf(spoofed.value('Failed-AVP')), 'Origin-Host=pgw2.example.net')
  t.equal(metrics.originMismatchesByPeer.get('pgw'), 1)
  const relay = await RawClient.peer(t, { port }, vector('B05'))
  t.equal((await relay.ask(aCcr({ originHost: 'pgw2.example.net' }))).value('Result-Code'), 2001)
  t.equal(metrics.originMismatchesByPeer.get('dra'), 0)
})

t.test('the outcome of the application becomes the answer', async t => {
  let outcome: () => Promise<ReturnType<typeof cca> | undefined> = () => Promise.resolve(undefined)
  const { port, metrics, log } = await startServer(t, { application: new StubApplication(() => outcome()) })
  const client = await RawClient.peer(t, { port })

  outcome = () => Promise.reject(new DiameterError(ResultCode.TOO_BUSY, 'the store does not answer'))
  const busy = await client.ask(aCcr())
  t.same(
    [busy.value('Result-Code'), busy.header.flags, busy.value('Error-Message')],
    [3004, P | E, 'the store does not answer'],
  )
  t.equal(metrics.decodeErrorsByCode.get(3004), undefined, 'which is no fault of the peer')

  outcome = () => Promise.reject(new TypeError('secret of ours 447700900123'))
  const defect = await client.ask(aCcr())
  t.equal(defect.value('Result-Code'), 5012)
  t.notMatch(defect.value('Error-Message'), /secret/)
  t.match(
    log.find(line => line.level === 50),
    { msg: 'a request failed in us', err: { message: 'secret of ours 447700900123' } },
  )
  t.equal(metrics.internalErrors, 1)

  outcome = () =>
    Promise.resolve({
      resultCode: 2001,
      write: writer => {
        writer.text(263, 'half')
        throw new RangeError('in the middle of writing')
      },
    })
  const half = await client.ask(aCcr())
  t.equal(half.value('Result-Code'), 5012)
  t.equal(half.value('Session-Id'), 'pgw1.example.net;1;1', 'nothing of the half answer is sent')

  outcome = () =>
    Promise.resolve({
      resultCode: 3004,
      write: writer => {
        writer.text(264, 'ocs1.charging.example.net')
        writer.text(296, 'charging.example.net')
        writer.u32(268, 3004)
        writer.text(281, 'busy', 0, 0)
      },
    })
  t.equal((await client.ask(aCcr())).header.flags, P | E, 'a 3xxx that is returned has the E bit too')

  outcome = () => Promise.resolve(undefined)
  client.send(aCcr())
  t.ok(await client.nothingElse(), 'undefined is no answer')
})

t.test('T01 to T03: framing does not depend on how TCP cut the octets', async t => {
  for (const [id, commands] of [
    ['T01', [257, 272, 280]],
    ['T02', [257]],
    ['T03', [257, 272]],
  ] as const) {
    await t.test(id, async t => {
      const { port } = await startServer(t)
      const client = await RawClient.open(t, { port })
      await client.sendSegments(streamVectors.find(vector => vector.id === id)!.segments)
      const answers = await client.take(commands.length)
      t.ok(answers.every(answer => answer.value('Result-Code') === 2001))
      t.same(answers.map(answer => answer.header.commandCode).sort(), [...commands].sort())
      t.ok(await client.nothingElse())
    })
  }
})

t.test('BASE-013 to 015, T05: an answer that nobody asked for is dropped, whatever is in it', async t => {
  const { port, metrics } = await startServer(t)
  const client = await RawClient.open(t, { port })
  const [cer, raa] = streamVectors.find(({ id }) => id === 'T05')!.segments
  await client.ask(cer!)
  client.send(raa!, flagged(vector('M07'), P), flagged(vector('M01'), 0), vector('B10'), vector('B08'))
  t.ok(await client.nothingElse())
  t.equal(metrics.droppedAnswersByReason.get('unknown_hop_by_hop'), 5)
})

t.test('BASE-116: DWR is answered with who we are', async t => {
  const { port } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  const dwa = await client.ask(vector('B07'))
  t.same(
    dwa.avps.map(({ name, value }) => [name, value]),
    [
      ['Result-Code', 2001],
      ['Origin-Host', 'ocs1.charging.example.net'],
      ['Origin-Realm', 'charging.example.net'],
      ['Origin-State-Id', 1_768_470_000],
    ],
  )
  t.equal(
    (await client.ask(encodeTree(dictionary, { command: 'DWR', hopByHop: 1, endToEnd: 1, avps: [] }))).value(
      'Result-Code',
    ),
    5005,
  )
})

t.test('BASE-116: DWR is answered while requests are stuck', async t => {
  const stuck = new StubApplication(() => new Promise(() => undefined))
  const { port } = await startServer(t, { application: stuck, limits: { inFlight: 5 } })
  const client = await RawClient.peer(t, { port })
  client.send(...Array.from({ length: 5 }, () => aCcr()))
  t.equal((await client.ask(vector('B07'))).value('Result-Code'), 2001)
})

t.test('BASE-104, 105: DPR is answered, and the peer closes; a cause that is none is 5004', async t => {
  const { port, server, metrics, clock } = await startServer(t)
  for (const cause of [0, 1, 2]) {
    const client = await RawClient.peer(t, { port })
    const dpa = await client.ask(aDpr(cause))
    t.same([dpa.header.commandCode, dpa.value('Result-Code'), dpa.header.flags], [282, 2001, 0])
    t.equal(server.peers()[0]?.state, 'Closing')
    client.socket.end()
    await client.closed
    await until(() => server.counts().all === 0)
  }
  t.equal(metrics.closedByPeer.get('pgw')?.get('dpr'), 3)
  const client = await RawClient.peer(t, { port })
  const refused = await client.ask(aDpr(9))
  t.equal(refused.value('Result-Code'), 5004)
  t.equal(failedOf(refused.value('Failed-AVP')), 'Disconnect-Cause=9')
  t.ok(await client.nothingElse(), 'and the connection stays')
  await client.ask(aDpr(0))
  clock.advance(5_000)
  t.equal(await client.closed, 'end', 'a peer that does not close is closed after 5 s')
})

t.test('messages and octets are counted by peer, command and direction', async t => {
  const { port, metrics } = await startServer(t)
  const client = await RawClient.peer(t, { port })
  await client.ask(aCcr())
  await client.ask(aCcr())
  await client.ask(aDwr())
  const { messagesIn, messagesOut, octetsIn, octetsOut } = metrics.traffic('pgw')
  t.same(messagesIn, [2, 0, 1, 0, 0, 0, 0])
  t.same(messagesOut, [2, 1, 1, 0, 0, 0, 0])
  t.equal(octetsIn, aCcr().length * 2 + aDwr().length)
  t.ok(octetsOut > 300)
  t.equal(metrics.traffic('unknown').octetsIn, aCer().length)
})

t.test('everything that was sent is as it must be', t => {
  checkEverythingReceived(t)
  t.end()
})
