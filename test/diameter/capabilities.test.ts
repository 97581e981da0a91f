/** CER and CEA over real sockets: RFC 6733 section 5.3. */
import t from 'tap'
import type { AvpTree } from '../../src/diameter/tree.js'
import { aPeer, startServer, until } from '../support/diameter-server.js'
import { aCcr, aCer, aDwr, checkEverythingReceived, RawClient } from '../support/raw-client.js'
import { streamVectors, vector } from '../support/vectors.js'

const names = (value: AvpTree['value'] | undefined): string[] => (value as AvpTree[]).map(avp => avp.name)

t.test('BASE-097 to 099: the CEA is complete and lists exactly what is served', async t => {
  const { port } = await startServer(t)
  const client = await RawClient.open(t, { port })
  const cea = await client.ask(vector('B01'))
  t.same(
    cea.avps.map(({ name, value, flags }) => [name, Buffer.isBuffer(value) ? value.toString('hex') : value, flags]),
    [
      ['Result-Code', 2001, 0x40],
      ['Origin-Host', 'ocs1.charging.example.net', 0x40],
      ['Origin-Realm', 'charging.example.net', 0x40],
      ['Host-IP-Address', '00017f000001', 0x40],
      ['Vendor-Id', 0, 0x40],
      ['Product-Name', 'ocsd', 0],
      ['Origin-State-Id', 1_768_470_000, 0x40],
      ['Supported-Vendor-Id', 10415, 0x40],
      ['Auth-Application-Id', 4, 0x40],
      ['Firmware-Revision', 100, 0],
    ],
  )
  t.same([cea.header.hopByHop, cea.header.endToEnd, cea.header.flags], [4097, 2_415_919_105, 0])
  t.ok(await client.nothingElse(), 'and the connection is open')
})

t.test('Host-IP-Address is the address that the peer reached', async t => {
  const { port } = await startServer(t, { listen: [{ host: '0.0.0.0', port: 0 }] })
  const client = await RawClient.open(t, { port, host: '127.0.0.9' })
  const cea = await client.ask(aCer())
  t.equal((cea.value('Host-IP-Address') as Buffer).toString('hex'), '00017f000009')
})

t.test('a CER is accepted when something is common', async t => {
  const accepted: [string, Buffer][] = [
    ['Auth-Application-Id 4', aCer()],
    ['Acct-Application-Id 4', aCer({ more: [['Acct-Application-Id', 4]] })],
    [
      'BASE-092: VSAI of any vendor',
      aCer({
        more: [
          [
            'Vendor-Specific-Application-Id',
            [
              ['Vendor-Id', 99999],
              ['Auth-Application-Id', 4],
            ],
          ],
        ],
      }),
    ],
    ['BASE-094: a relay', vector('B05')],
    [
      'Inband-Security-Id 0 beside 1',
      aCer({
        more: [
          ['Auth-Application-Id', 4],
          ['Inband-Security-Id', 1],
          ['Inband-Security-Id', 0],
        ],
      }),
    ],
    ['an identity in capitals', aCer({ originHost: 'PGW1.Example.NET', originRealm: 'EXAMPLE.net' })],
    [
      'an unknown AVP without M bit',
      aCer({
        more: [
          ['Auth-Application-Id', 4],
          ['65001:0', Buffer.from('ab'), 0],
        ],
      }),
    ],
  ]
  for (const [name, cer] of accepted) {
    await t.test(name, async t => {
      const { port } = await startServer(t)
      const client = await RawClient.open(t, { port })
      t.equal((await client.ask(cer)).value('Result-Code'), 2001)
    })
  }
})

t.test('a CER is refused with the code of its fault, and the connection is closed', async t => {
  const refused: [string, Buffer, number, string, string[]?][] = [
    ['BASE-093: nothing in common', vector('B03'), 5010, 'no_common_application'],
    ['BASE-096: TLS inside the connection', vector('B12'), 5017, 'no_common_security'],
    [
      'BASE-095: unknown identity',
      aCer({ originHost: 'rogue.example.org', originRealm: 'example.org' }),
      3010,
      'unknown_peer',
    ],
    ['right identity, wrong realm', aCer({ originRealm: 'example.org' }), 3010, 'wrong_realm'],
    ['BASE-091: no Host-IP-Address', vector('M38'), 5005, 'malformed', ['Host-IP-Address']],
    ['BASE-030: Host-IP-Address of five octets', vector('M39'), 5004, 'malformed', ['Host-IP-Address']],
    ['BASE-057: M42', vector('M42'), 5005, 'malformed', ['Auth-Application-Id', 'Acct-Application-Id']],
    ['BASE-057: M43', vector('M43'), 5009, 'malformed', ['Auth-Application-Id', 'Acct-Application-Id']],
    [
      'an unknown AVP with M bit',
      aCer({
        more: [
          ['Auth-Application-Id', 4],
          ['65001:0', Buffer.from('ab'), 0x40],
        ],
      }),
      5001,
      'malformed',
    ],
    ['no application at all', aCer({ more: [] }), 5010, 'no_common_application'],
  ]
  for (const [name, cer, code, reason, failed] of refused) {
    await t.test(name, async t => {
      const { port, metrics, log, server } = await startServer(t, { peers: [aPeer()] })
      const client = await RawClient.open(t, { port })
      const cea = await client.ask(cer)
      t.equal(cea.value('Result-Code'), code)
      t.equal(cea.header.flags, code === 3010 ? 0x20 : 0)
      if (failed) t.same(names(cea.value('Failed-AVP')), failed)
      t.equal(await client.closed, 'end')
      t.equal(metrics.cerRejectedByReason.get(reason as 'malformed'), 1)
      t.equal(metrics.closedByPeer.get('unknown')?.get('cer_rejected'), 1)
      t.equal(log.filter(line => line.event === `cer-${reason}`).length, 1)
      t.same(server.peers(), [])
    })
  }
})

t.test('row 15: identity, realm and network of the peer table must fit, and no CCR is answered before', async t => {
  const matrix: [string, string, string, string, string][] = [
    ['pgw1.example.net', 'example.net', '127.0.0.1', 'accepted', ''],
    [
      'pgw1.example.net',
      'example.net',
      '127.0.0.2',
      'wrong_address',
      'does not allow this Origin-Host from this address',
    ],
    ['pgw1.example.net', 'example.org', '127.0.0.1', 'wrong_realm', 'in another Origin-Realm'],
    ['pgw2.example.net', 'example.net', '127.0.0.1', 'unknown_peer', 'no row of the peer table has this Origin-Host'],
  ]
  for (const [originHost, originRealm, localAddress, expected, message] of matrix) {
    await t.test(`${originHost} ${originRealm} ${localAddress}: ${expected}`, async t => {
      const { port, application, metrics } = await startServer(t, { peers: [aPeer({ from: ['127.0.0.1/32'] })] })
      const client = await RawClient.open(t, { port, localAddress })
      client.send(aCer({ originHost, originRealm }), aCcr())
      const cea = await client.next()
      if (expected === 'accepted') {
        t.equal(cea.value('Result-Code'), 2001)
        t.equal((await client.next()).header.commandCode, 272)
        return
      }
      t.equal(cea.value('Result-Code'), 3010)
      t.match(cea.value('Error-Message'), message)
      t.equal(await client.nextOrEnd(), 'end', 'and the CCR behind it is not answered')
      t.equal(application.requests.length, 0)
      t.equal(metrics.cerRejectedByReason.get(expected as 'unknown_peer'), 1)
    })
  }
})

t.test('BASE-090, T04: a first message that is no CER closes the connection without a word', async t => {
  const segments = streamVectors.find(({ id }) => id === 'T04')!.segments
  for (const [name, octets] of [
    ['DWR', segments[0]!],
    ['CCR', vector('C01')],
    ['CEA', vector('B02')],
  ] as const) {
    await t.test(name, async t => {
      const { port, metrics } = await startServer(t)
      const client = await RawClient.open(t, { port })
      client.send(octets)
      t.type(await client.nextOrEnd(), 'string', 'no message came')
      t.equal(metrics.closedByPeer.get('unknown')?.get('no_cer'), 1)
    })
  }
})

t.test('BASE-090: silence for the CER timeout closes the connection', async t => {
  const { port, clock, metrics, server } = await startServer(t)
  const client = await RawClient.open(t, { port })
  await until(() => server.counts().unidentified === 1)
  clock.advance(9_999)
  t.equal(server.counts().unidentified, 1)
  clock.advance(1)
  await client.closed
  t.equal(metrics.closedByPeer.get('unknown')?.get('cer_timeout'), 1)
  await until(() => server.counts().all === 0)
})

t.test('T06: a second CER is refused without disturbing the open connection', async t => {
  const { port, server } = await startServer(t)
  const client = await RawClient.open(t, { port })
  const [first, second] = streamVectors.find(({ id }) => id === 'T06')!.segments
  t.equal((await client.ask(first!)).value('Result-Code'), 2001)
  t.equal((await client.ask(second!)).value('Result-Code'), 5012)
  t.equal((await client.ask(aDwr())).value('Result-Code'), 2001)
  t.equal(server.peers().length, 1)
})

t.test('the peers are listed as they said they are', async t => {
  const { port, server, clock } = await startServer(t)
  const client = await RawClient.open(t, { port })
  await client.ask(vector('B01'))
  t.match(server.peers(), [
    {
      name: 'pgw',
      originHost: 'pgw1.example.net',
      originRealm: 'example.net',
      productName: 'test-gw',
      address: '127.0.0.1',
      state: 'R-Open',
      watchdog: 'OKAY',
      applications: [4],
      relay: false,
      originStateId: 1_768_478_000,
      connectedSince: clock.now(),
      inFlight: 0,
      outputOctets: 0,
      transport: 'tcp',
      direction: 'accepted',
      tally: { row: 'pgw', requestsIn: 0, connections: 1 },
    },
  ])
  t.same(server.counts(), { all: 1, unidentified: 0, limit: 1000 })
})

t.test('a peer table that takes anybody is told of at start', async t => {
  const { log } = await startServer(t, { peers: [aPeer({ name: 'loopback', identity: '*', realm: '*' })] })
  t.match(log.find(line => line.msg.includes('any identity'))?.['rows'], ['loopback (127.0.0.0/8, ::1/128)'])
})

t.test('a port that is taken is told in words', async t => {
  const { port } = await startServer(t)
  await t.rejects(startServer(t, { listen: [{ host: '127.0.0.1', port }] }), {
    message: `diameter.listen: 127.0.0.1:${port} is taken; stop what listens there, or choose another port`,
  })
})

t.test('everything that was sent is as it must be', t => {
  checkEverythingReceived(t)
  t.end()
})
