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
  [
    'a call with all that is known of it',
    {
      ...base,
      serviceContextId: '32260@3gpp.org',
      information: {
        sipMethod: 'INVITE',
        from: '447700900123',
        called: 'sip:info@example.net',
        direction: 'originating',
      },
    },
  ],
  [
    'an SMS to three, debited',
    {
      ...base,
      type: 'event',
      action: 'debit',
      serviceContextId: '32274@3gpp.org',
      services: [{ serviceIdentifiers: [1], requested: { events: 3n } }],
      information: { messageType: 0, from: '447700900123', called: '4915', recipients: ['4916', '4917'] },
    },
  ],
  [
    'an MMS to two, with its size, given back',
    {
      ...base,
      type: 'event',
      action: 'refund',
      serviceContextId: '32270@3gpp.org',
      services: [{ requested: { events: 1n }, refund: Buffer.from('R1') }],
      information: {
        messageType: 1,
        size: 30_720,
        from: '447700900123',
        called: '4915',
        recipients: ['x@example.net'],
      },
    },
  ],
  [
    'a question for a balance',
    {
      ...base,
      type: 'event',
      action: 'check-balance',
      serviceContextId: 'value@example',
      originStateId: 7,
      units: { requested: { money: 500_000n, currency: 978 } },
    },
  ],
  [
    'a question for a price of something generic',
    {
      ...base,
      type: 'event',
      action: 'price',
      serviceContextId: 'generic@example.net',
      units: { serviceIdentifiers: [1], requested: { events: 10n } },
      // Application-Server-Id is text, TS 32.299 section 7.2.16; tshark 4.0 takes it for a number.
      information: { generic: { type: 100, session: 5 } },
    },
  ],
  [
    'a change that was armed, with where',
    {
      ...base,
      services: [{ ratingGroup: 10, requested: {}, used: [{ octets: 4096n }], reason: 6, triggers: [4, 3] }],
      information: {
        ...{ rat: 1, servingNode: '192.0.2.11', timeZone: Buffer.of(0, 0) },
        location: Buffer.from('8232f451000132f45100000101', 'hex'),
      },
    },
  ],
  [
    'usage with envelopes, and events with their times',
    {
      ...base,
      services: [
        {
          ratingGroup: 30,
          requested: {},
          used: [{ seconds: 300 }],
          reason: 4,
          envelopes: [{ start: 1_768_478_400, end: 1_768_478_600, octets: 500_000n }, { start: 1_768_479_000 }],
        },
        { ratingGroup: 31, used: [{ events: 2n, eventTimes: [1_768_478_400, 1_768_478_401] }] },
      ],
    },
  ],
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
