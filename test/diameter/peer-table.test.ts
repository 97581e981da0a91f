import t from 'tap'
import type { PeerConfig } from '../../src/config/config.js'
import { standardProfile } from '../../src/config/profiles.js'
import { PeerTable, plainAddress } from '../../src/diameter/peer-table.js'

const row = (name: string, identity: string, realm: string, ...from: string[]): PeerConfig => ({
  name,
  identity,
  realm,
  from,
  transport: 'any',
  certificate: 'origin-host',
  relay: false,
  limits: { connections: undefined, inFlight: undefined, ratePerSecond: undefined },
  profile: standardProfile,
})

const table = new PeerTable([
  row('pgw', 'pgw1.example.net', 'example.net', '192.0.2.0/24', '2001:db8::/32'),
  row('pgw-lab', 'pgw1.example.net', '*', '10.0.0.1'),
  row('loopback', '*', '*', '127.0.0.0/8', '::1/128'),
])

t.test('the first row that fits identity, realm and network decides, whatever the case', t => {
  const cases = [
    ['pgw1.example.net', 'example.net', '192.0.2.7', 'pgw'],
    ['PGW1.Example.NET', 'EXAMPLE.net', '192.0.2.7', 'pgw'],
    ['pgw1.example.net', 'example.net', '::ffff:192.0.2.7', 'pgw'],
    ['pgw1.example.net', 'example.net', '2001:db8:1::7', 'pgw'],
    ['pgw1.example.net', 'other.example', '10.0.0.1', 'pgw-lab'],
    ['pgw1.example.net', 'example.net', '127.0.0.1', 'loopback'],
    ['anybody', 'anywhere', '127.255.0.1', 'loopback'],
    ['anybody', 'anywhere', '::1', 'loopback'],
  ] as const
  for (const [host, realm, address, expected] of cases) {
    const match = table.find(host, realm, address)
    t.equal('row' in match ? match.row.name : match.reason, expected, `${host} ${realm} ${address}`)
  }
  t.end()
})

t.test('a peer without a row is told apart by how near it came', t => {
  const strict = new PeerTable([row('pgw', 'pgw1.example.net', 'example.net', '192.0.2.0/24')])
  const cases = [
    ['pgw2.example.net', 'example.net', '192.0.2.7', 'unknown_peer'],
    ['pgw1.example.net', 'example.org', '192.0.2.7', 'wrong_realm'],
    ['pgw1.example.net', 'example.net', '192.0.3.7', 'wrong_address'],
    ['pgw1.example.net', 'example.net', '2001:db8::1', 'wrong_address'],
  ] as const
  for (const [host, realm, address, expected] of cases) {
    t.same(strict.find(host, realm, address), { reason: expected })
  }
  t.end()
})

t.test('a block that is none is refused by name', t => {
  for (const block of ['300.0.0.0/8', '10.0.0.0/33', '10.0.0.0/x', 'localhost', '::1/129', '']) {
    t.throws(
      () => new PeerTable([row('pgw', '*', '*', block)]),
      { message: /peer pgw: `.*` is not a CIDR block/ },
      block,
    )
  }
  t.end()
})

t.test('IPv4 inside IPv6 is shown as IPv4', t => {
  t.equal(plainAddress('::ffff:192.0.2.1'), '192.0.2.1')
  t.equal(plainAddress('::1'), '::1')
  t.end()
})
