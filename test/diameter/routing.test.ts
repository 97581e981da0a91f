import t from 'tap'
import { DiameterError } from '../../src/diameter/errors.js'
import type { OwnIdentity } from '../../src/diameter/routing.js'
import {
  avpAt,
  checkApplicationId,
  checkDestination,
  dataAt,
  lowerCase,
  noAvps,
  occurrences,
  sameIdentity,
  scanAvps,
} from '../../src/diameter/routing.js'
import type { CcrParts } from '../support/raw-client.js'
import { aCcr } from '../support/raw-client.js'
import { vector } from '../support/vectors.js'

const own: OwnIdentity = { host: lowerCase('ocs1.charging.example.net'), realm: lowerCase('charging.example.net') }

const routed = (octets: Buffer, commandCode = 272): number => {
  try {
    checkDestination(octets, commandCode, scanAvps(octets, noAvps()), own)
    return 2001
  } catch (error) {
    if (error instanceof DiameterError) return error.resultCode
    throw error
  }
}

t.test('BASE-070 to 073: whose a request is follows from Destination-Host, Destination-Realm and Route-Record', t => {
  const cases: [string, CcrParts, number, number?][] = [
    ['our realm, no host', {}, 2001],
    ['our realm and host', { destinationHost: 'ocs1.charging.example.net' }, 2001],
    ['any case', { destinationHost: 'OCS1.Charging.example.NET', destinationRealm: 'CHARGING.example.net' }, 2001],
    [
      'our host in another realm',
      { destinationHost: 'ocs1.charging.example.net', destinationRealm: 'x.example' },
      2001,
    ],
    ['neither realm nor host', { destinationRealm: undefined }, 2001],
    ['a foreign host in our realm', { destinationHost: 'ocs2.charging.example.net' }, 3002],
    ['a host that only begins like ours', { destinationHost: 'ocs1.charging.example.net.x' }, 3002],
    ['a foreign realm', { destinationRealm: 'other.example' }, 3003],
    [
      'a foreign host in a foreign realm',
      { destinationHost: 'x.other.example', destinationRealm: 'other.example' },
      3003,
    ],
    ['our host, no realm, CCR', { destinationHost: 'ocs1.charging.example.net', destinationRealm: undefined }, 5005],
    [
      'our host, no realm, else',
      { destinationHost: 'ocs1.charging.example.net', destinationRealm: undefined },
      3002,
      275,
    ],
    [
      'our name in Route-Record',
      {
        more: [
          ['Route-Record', 'dra1.example.net'],
          ['Route-Record', 'OCS1.charging.example.net'],
        ],
      },
      3005,
    ],
    ['other names in Route-Record', { more: [['Route-Record', 'dra1.example.net']] }, 2001],
  ]
  for (const [name, parts, expected, commandCode] of cases) t.equal(routed(aCcr(parts), commandCode), expected, name)
  t.end()
})

t.test('BASE-072: a CCR that names a host in no realm is told which AVP is missing', t => {
  const octets = aCcr({ destinationHost: 'ocs1.charging.example.net', destinationRealm: undefined })
  try {
    checkDestination(octets, 272, scanAvps(octets, noAvps()), own)
    t.fail('passed')
  } catch (error) {
    t.equal((error as DiameterError).failedAvp?.toString('hex'), '0000011b40000008')
  }
  t.end()
})

t.test('BASE-059: Auth-Application-Id must be that of the header', t => {
  const check = (octets: Buffer): void => checkApplicationId(octets, 4, scanAvps(octets, noAvps()))
  t.doesNotThrow(() => check(vector('C01')))
  t.throws(() => check(vector('M29')), { name: 'DiameterError', message: /^Auth-Application-Id is not 4/ })
  t.end()
})

t.test('the scan finds the first of each, wherever it stands, and says when AVPs do not add up', t => {
  for (const id of ['C01', 'C24', 'M41']) {
    const octets = vector(id)
    const avps = scanAvps(octets, noAvps())
    t.equal(avps.broken, false, id)
    t.equal(dataAt(octets, avps.sessionId).toString().split(';')[0], 'pgw1.example.net', id)
    t.ok(sameIdentity(octets, avps.originHost, lowerCase('PGW1.example.net')), id)
  }
  for (const id of ['M07', 'M08', 'M12']) t.equal(scanAvps(vector(id), noAvps()).broken, true, id)
  const relayed = vector('C24')
  t.equal([...occurrences(relayed, 284)].length, 2)
  t.equal([...occurrences(relayed, 282)].length, 2)
  t.equal(avpAt(relayed, scanAvps(relayed, noAvps()).routeRecord).readUInt32BE(0), 282)
  t.end()
})

t.test('the AVP of a vendor with the code of a routing AVP is not one', t => {
  const octets = aCcr({ destinationRealm: undefined, more: [['293:10415', Buffer.from('elsewhere.example')]] })
  t.equal(scanAvps(octets, noAvps()).destinationHost, 0)
  t.equal(routed(octets), 2001)
  t.end()
})

t.test('a message without AVPs, and one cut anywhere, is scanned without reading past its end', t => {
  const whole = vector('C01')
  t.equal(scanAvps(whole.subarray(0, 20), noAvps()).broken, false)
  for (let end = 20; end < whole.length; end += 4) {
    const avps = scanAvps(whole.subarray(0, end), noAvps())
    for (const at of [avps.sessionId, avps.originHost, avps.destinationHost]) t.ok(at < end)
  }
  t.end()
})
