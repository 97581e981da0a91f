/** BASE-090 to 108: peer connections. */
import { connect } from 'node:net'
import type { Test } from 'tap'
import { FLAG } from '../../src/diameter/header.js'
import { aCer, aDpr, aDwr, answerTo, RawClient, type Received } from '../support/raw-client.js'
import { streamVectors, vector } from '../support/vectors.js'
import { row, second, startOcs, type Ocs } from './harness.js'
import { anAvp, append, avpsOf, ofSession, without, withValue } from './octets.js'
import { failedAvps } from './reaction.js'
import { checkRecorded } from './recorder.js'

const code = (answer: Received): unknown => answer.value('Result-Code')

/** Connects with a CER, and gives the answer and the connection. */
async function greet(t: Test, ocs: Ocs, cer: Buffer): Promise<{ client: RawClient; cea: Received }> {
  const client = await ocs.open(t)
  return { client, cea: await client.ask(cer) }
}

const aVendorApplication = (vendor: number, id: number): [string, [string, number][]] => [
  'Vendor-Specific-Application-Id',
  [
    ['Vendor-Id', vendor],
    ['Auth-Application-Id', id],
  ],
]

row('BASE-090', 'T04: a first message that is no CER closes the connection without an answer', async t => {
  const ocs = await startOcs(t)
  const [dwr] = streamVectors.find(({ id }) => id === 'T04')!.segments
  for (const [name, octets] of [
    ['a DWR', dwr!],
    ['a CCR', vector('C01')],
    ['an answer', vector('C13')],
  ] as const) {
    const client = await ocs.open(t)
    client.send(octets)
    t.type(await client.nextOrEnd(), 'string', `${name}: the end`)
  }
  await ocs.a.is(t, { res: '0.00' }, 'nothing is charged')
})

row('BASE-090', 'silence for ten seconds closes the connection', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.open(t)
  await ocs.peer(t) // the server has seen both
  ocs.clock.skip(9.9 * second)
  await ocs.peer(t, vector('B05'))
  t.equal(client.socket.destroyed, false, 'not before')
  ocs.clock.skip(0.2 * second)
  await client.closed
  t.equal(client.unread, 0, 'without a word')
})

row(
  'BASE-091',
  'M38 and CERs without Origin-Host, Origin-Realm, Vendor-Id or Product-Name get 5005 and the end',
  async t => {
    const ocs = await startOcs(t)
    const cases: [string, Buffer, number][] = [
      ['Host-IP-Address', vector('M38'), 257],
      ['Origin-Host', without(vector('B01'), 'Origin-Host'), 264],
      ['Origin-Realm', without(vector('B01'), 'Origin-Realm'), 296],
      ['Vendor-Id', without(vector('B01'), 'Vendor-Id'), 266],
      ['Product-Name', without(vector('B01'), 'Product-Name'), 269],
    ]
    for (const [name, cer, missing] of cases) {
      const { client, cea } = await greet(t, ocs, cer)
      t.equal(code(cea), 5005, name)
      t.equal(failedAvps(cea)[0]?.code, missing)
      await client.closed
    }
  },
)

row('BASE-092', 'application 4 counts wherever it stands, of whatever vendor', async t => {
  const ocs = await startOcs(t)
  for (const [name, more] of [
    ['Auth-Application-Id', [['Auth-Application-Id', 4]]],
    ['Acct-Application-Id', [['Acct-Application-Id', 4]]],
    ['of vendor 99999', [aVendorApplication(99999, 4)]],
    ['beside others', [['Auth-Application-Id', 1], aVendorApplication(10415, 4)]],
  ] as const) {
    const { client, cea } = await greet(t, ocs, aCer({ more: [...more] }))
    t.equal(code(cea), 2001, name)
    await client.ask(aDpr(0))
    client.socket.end()
    await client.closed
  }
})

row('BASE-093', 'B03: nothing in common is answered like B04, and the connection is closed', async t => {
  const ocs = await startOcs(t)
  const { client, cea } = await greet(t, ocs, vector('B03'))
  t.same([code(cea), cea.header.flags], [5010, 0])
  const must = avpsOf(vector('B04')).map(avp => avp.code)
  const has = new Set(avpsOf(cea.octets).map(avp => avp.code))
  t.same(
    must.filter(each => !has.has(each)),
    [],
    'all that B04 has',
  )
  t.equal(await client.closed, 'end')
})

row('BASE-094', 'B05: a relay always has something in common, and is served', async t => {
  const ocs = await startOcs(t)
  const { client, cea } = await greet(t, ocs, vector('B05'))
  t.equal(code(cea), 2001)
  t.equal(code(await client.ask(vector('C24'))), 2001)
})

row('BASE-095', 'a host that is not in the peer table gets B06 and the end', async t => {
  const ocs = await startOcs(t)
  for (const [name, cer] of [
    ['another host', aCer({ originHost: 'rogue.example.net' })],
    ['its host in another realm', aCer({ originRealm: 'example.org' })],
  ] as const) {
    const { client, cea } = await greet(t, ocs, cer)
    t.same([code(cea), cea.header.flags], [3010, FLAG.ERROR], name)
    const named = (octets: Buffer): number[] => avpsOf(octets).map(avp => avp.code)
    t.same(
      named(cea.octets).filter(each => each !== 278),
      named(vector('B06')),
      'as B06, but for Origin-State-Id',
    )
    t.equal(await client.closed, 'end')
  }
})

row(
  'BASE-096',
  'B12: security inside the connection alone is answered 5017 and the end; none, or NO_INBAND_SECURITY, is fine',
  async t => {
    const ocs = await startOcs(t)
    const { client, cea } = await greet(t, ocs, vector('B12'))
    t.equal(code(cea), 5017)
    t.equal(await client.closed, 'end')
    t.equal(code((await greet(t, ocs, without(vector('B12'), 'Inband-Security-Id'))).cea), 2001, 'none')
    const both = append(vector('B05'), anAvp('Inband-Security-Id', 1), anAvp('Inband-Security-Id', 0))
    t.equal(code((await greet(t, ocs, both)).cea), 2001, 'both')
  },
)

row('BASE-097', 'the CEA to B01 lists application 4 alone', async t => {
  const ocs = await startOcs(t)
  const { cea } = await greet(t, ocs, vector('B01'))
  t.same(cea.values('Auth-Application-Id'), [4])
  t.same(cea.values('Vendor-Specific-Application-Id'), [])
  t.same(cea.values('Acct-Application-Id'), [])
})

row('BASE-098', 'B01 has two addresses, of both families, and is welcome', async t => {
  const ocs = await startOcs(t)
  t.equal(avpsOf(vector('B01')).filter(avp => avp.code === 257).length, 2)
  const { client, cea } = await greet(t, ocs, vector('B01'))
  t.equal(code(cea), 2001)
  t.equal(code(await client.ask(vector('C01'))), 2001, 'from an address that is neither')
})

row('BASE-099', 'the CEA to B01 lists vendor 10415', async t => {
  const ocs = await startOcs(t)
  const { cea } = await greet(t, ocs, vector('B01'))
  t.same(cea.values('Supported-Vendor-Id'), [10415])
})

row(
  'BASE-100',
  'of two connections of one Origin-Host the second is refused, in capitals too, and the first works',
  async t => {
    const ocs = await startOcs(t)
    const first = await ocs.peer(t)
    for (const cer of [vector('B01'), withValue(vector('B01'), 'Origin-Host', 'PGW1.example.net')]) {
      const { client, cea } = await greet(t, ocs, cer)
      t.not(code(cea), 2001)
      await client.closed
    }
    t.equal(code(await first.ask(vector('C01'))), 2001)
  },
)

row('BASE-102', 'DWR, DPR and CCR are served in Open; while closing, one second is given for the DPA', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  t.equal(code(await client.ask(vector('B07'))), 2001)
  t.equal(code(await client.ask(vector('C01'))), 2001)
  const stopped = ocs.daemon.stop()
  const dpr = await client.next()
  t.equal(dpr.header.commandCode, 282)
  ocs.clock.skip(0.9 * second)
  t.equal(code(await client.ask(aDwr(5))), 2001, 'not before')
  ocs.clock.skip(0.2 * second)
  await client.closed
  await stopped
  t.ok(true, 'the connection ends without a DPA')
})

row('BASE-104', 'B09 is answered with B10, and the connection ends with the peer that said it', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const dpa = await client.ask(vector('B09'))
  const named = (octets: Buffer): string[] => avpsOf(octets).map(avp => avp.octets.toString('hex'))
  t.same(named(dpa.octets), named(vector('B10')), 'the AVPs of B10')
  t.same(dpa.octets.subarray(4, 20), vector('B10').subarray(4, 20), 'and its header')
  ocs.clock.skip(second)
  t.equal(client.socket.readyState, 'open', 'it is the peer that closes')
  client.socket.end()
  t.equal(await client.closed, 'end')
})

row('BASE-104', 'a peer that said DPR and stays is closed after five seconds', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('B09'))
  ocs.clock.skip(5.1 * second)
  await client.closed
  t.ok(await ocs.peer(t), 'it may come back')
})

row('BASE-105', 'every Disconnect-Cause is answered 2001, one that is none 5004', async t => {
  for (const [cause, expected] of [
    [0, 2001],
    [1, 2001],
    [2, 2001],
    [3, 5004],
  ] as const) {
    const ocs = await startOcs(t)
    const client = await ocs.peer(t)
    const dpa = await client.ask(aDpr(cause))
    t.equal(code(dpa), expected, `${cause}`)
    if (expected === 5004) {
      t.equal(failedAvps(dpa)[0]?.code, 273)
      t.equal(code(await client.ask(vector('C01'))), 2001, 'and the connection serves')
    }
  }
})

row('BASE-106', 'a stop answers all that came, says DPR REBOOTING to every peer, and takes nobody in', async t => {
  const ocs = await startOcs(t)
  const clients = [await ocs.peer(t), await ocs.peer(t, aCer({ originHost: 'pgw2.example.net' }))]
  const count = 50
  const asked = clients.map((client, which) => {
    const host = which === 0 ? 'pgw1.example.net' : 'pgw2.example.net'
    for (let i = 0; i < count; i++)
      client.send(withValue(ofSession(vector('C01'), 100 * which + i), 'Origin-Host', host))
    return client
  })
  for (const client of asked) await client.next() // they are in work
  const stopped = ocs.daemon.stop()
  for (const client of asked) {
    const rest = await client.take(count) // the other answers, and the DPR
    const answers = rest.filter(({ header }) => header.commandCode === 272)
    t.equal(answers.length, count - 1, 'every CCR is answered')
    t.ok(
      answers.every(answer => [2001, 4012].includes(code(answer) as number)),
      'with what is due to it',
    )
    const dpr = rest.at(-1)!
    t.same([dpr.header.commandCode, dpr.value('Disconnect-Cause')], [282, 0], 'DPR REBOOTING is last')
    client.send(answerTo(dpr))
    t.equal(await client.closed, 'end')
  }
  await stopped
  const refused = await new Promise(resolve => {
    const socket = connect(ocs.port, '127.0.0.1')
    socket.once('error', () => resolve('refused'))
    socket.once('close', () => resolve('closed'))
    socket.once('data', () => resolve('served'))
  })
  t.not(refused, 'served')
})

row('BASE-106', 'a peer that says no DPA holds up a stop for one second', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const stopped = ocs.daemon.stop()
  t.equal((await client.next()).header.commandCode, 282)
  ocs.clock.skip(1.1 * second)
  await client.closed
  await stopped
  t.ok(true, 'it ends')
})

row('BASE-108', 'a DWR that names another host is answered here, and nobody else hears of it', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const relay = await ocs.peer(t, vector('B05'))
  const elsewhere = append(
    vector('B07'),
    anAvp('Destination-Host', 'dra1.example.net'),
    anAvp('Destination-Realm', 'example.net'),
  )
  t.equal((await client.ask(elsewhere)).header.commandCode, 280)
  t.ok(await client.nothingElse())
  t.equal(code(await relay.ask(aDwr(7, 'dra1.example.net'))), 2001, 'the relay gets its own DWA')
  t.equal(relay.unread, 0, 'and nothing else')
})

checkRecorded()
