/** The CCRs of the simulated gateway: both ways of writing one, and what tshark thinks of them. */
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { decodeTree } from '../../src/diameter/tree.js'
import { Writer } from '../../src/diameter/writer.js'
import { ccrAvps, encodeCcr, writeCcr, type CcrInput } from '../../src/simulator/ccr.js'
import { toolOrNotRun } from '../support/tools.js'
import { comparable, flat, judged } from '../support/tshark.js'
import { dictionary } from '../support/vectors.js'

const node = { originHost: 'pgw1.example.net', originRealm: 'example.net', destinationRealm: 'charging.example.net' }

const base: CcrInput = {
  type: 'update',
  number: 7,
  sessionId: 'pgw1.example.net;1;2',
  serviceContextId: '32251@3gpp.org',
}

const requests: readonly (readonly [string, CcrInput])[] = [
  [
    'data',
    {
      ...base,
      subscriptionIds: [
        ['imsi', '234150999999999'],
        ['e164', '447700900123'],
      ],
      destinationHost: 'ocs1.charging.example.net',
      eventTimestamp: 1_768_478_400,
      terminationCause: 1,
      multipleServicesIndicator: 1,
      services: [
        { ratingGroup: 10, serviceIdentifiers: [1, 2], requested: {}, used: [{ octets: 2n ** 40n, reason: 3 }] },
        {
          requested: { seconds: 60 },
          used: [{ inputOctets: 1n, outputOctets: 2n, seconds: 3, events: 4n }],
          reason: 2,
        },
      ],
      information: { plmn: '26201', apn: 'internet.example', rat: 6 },
    },
  ],
  ['units at command level', { ...base, units: { requested: { events: 1n } } }],
  [
    'usage around a tariff switch',
    {
      ...base,
      services: [
        {
          ratingGroup: 10,
          used: [
            { side: 'before', octets: 7n, reason: 0 },
            { side: 'after', octets: 3n },
            { side: 'indeterminate', octets: 1n },
          ],
        },
      ],
      information: { apn: 'internet' },
    },
  ],
  [
    'a call',
    {
      ...base,
      serviceContextId: '32260@3gpp.org',
      services: [{ ratingGroup: 100, requested: { seconds: 60 } }],
      information: { plmn: '310410', called: '491512345678' },
    },
  ],
  ['a call that comes', { ...base, serviceContextId: '32260@3gpp.org', information: { direction: 'terminating' } }],
  ['an SMS', { ...base, serviceContextId: '26.32274@3gpp.org', information: { called: '491512345678' } }],
  ['an MMS', { ...base, serviceContextId: '32270@3gpp.org', information: { rat: 1, called: '491512345678' } }],
  ['nothing to inform of', { ...base, information: {} }],
  [
    'money',
    {
      ...base,
      serviceContextId: 'value@example',
      services: [{ requested: { money: 5_000_000n }, used: [{ money: 1n, currency: 978 }, { money: 2n }] }],
    },
  ],
]

t.test('the fast way writes the same octets as the plain one', t => {
  for (const [name, ccr] of requests) {
    for (const retransmitted of [false, true]) {
      const identifiers = { hopByHop: 0xfedcba98, endToEnd: 0x89abcdef, retransmitted }
      const writer = new Writer()
      writeCcr(writer, node, ccr, identifiers)
      t.equal(
        writer.take().toString('hex'),
        encodeCcr(dictionary, ccrAvps(node, ccr), identifiers).toString('hex'),
        `${name}, T ${retransmitted}`,
      )
    }
  }
  t.end()
})

t.test('tshark reads in them what we do, and finds nothing wrong', async t => {
  const tshark = toolOrNotRun(t, 'tshark', 'tshark')
  if (tshark === undefined) return
  const messages = requests.map(([, ccr], i) => ({
    connection: 0,
    from: 'client' as const,
    octets: encodeCcr(dictionary, ccrAvps(node, ccr), { hopByHop: i, endToEnd: i }),
  }))
  const frames = await judged(t, tshark, messages)
  requests.forEach(([name], i) => {
    // Requested-Service-Unit may be empty: the server decides.
    const faults = frames[i]!.faults.filter(fault => !fault.includes('Data is empty'))
    t.strictSame(faults, [], name)
    // Names of their own: 3GPP-Reporting-Reason.
    const ours = flat(decodeTree(dictionary, messages[i]!.octets).avps).map(avp => {
      const { name, ...rest } = avp
      return name === undefined ? avp : rest
    })
    const theirs = comparable(frames[i]!.avps, ours)
    if (!isDeepStrictEqual(theirs, ours)) t.strictSame(theirs, ours, name)
  })
})
