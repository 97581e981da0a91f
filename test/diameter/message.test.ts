/** What shapes read, and every check of BASE-020 to 055 that a vector does not make. */
import t from 'tap'
import { loadDictionary } from '../../src/diameter/dictionary.js'
import { DiameterError } from '../../src/diameter/errors.js'
import { readMessage, shape } from '../../src/diameter/message.js'
import { encodeAvp, encodeTree, readTree, type AvpItem } from '../../src/diameter/tree.js'
import { dictionary, recordings, vector } from '../support/vectors.js'

const limits = { depth: 16, avps: 4096 }

class ServiceUnits {
  totalOctets: bigint | undefined = undefined
  time: number | undefined = undefined
}
class Mscc {
  ratingGroup: number | undefined = undefined
  serviceIdentifiers: number[] = []
  requested: ServiceUnits | undefined = undefined
  used: ServiceUnits[] = []
}
class Ccr {
  sessionId = ''
  requestType = 0
  requestNumber = -1
  timestamp: number | undefined = undefined
  proxyInfo: Buffer[] = []
  serviceContext: Buffer | undefined = undefined
  equipment: Buffer | undefined = undefined
  services: Mscc[] = []
  firstSubscription: Buffer | undefined = undefined
}

const serviceUnits = (group: string): ReturnType<typeof shape<ServiceUnits>> =>
  shape(dictionary, group, ServiceUnits, { totalOctets: 'CC-Total-Octets', time: 'CC-Time' })
const ccrShape = shape(dictionary, 'CCR', Ccr, {
  sessionId: 'Session-Id',
  requestType: 'CC-Request-Type',
  requestNumber: 'CC-Request-Number',
  timestamp: 'Event-Timestamp',
  proxyInfo: ['Proxy-Info', 'raw'],
  serviceContext: ['Service-Context-Id', 'raw'],
  equipment: ['User-Equipment-Info', 'raw'],
  firstSubscription: ['Subscription-Id', 'raw'],
  services: [
    'Multiple-Services-Credit-Control',
    shape(dictionary, 'Multiple-Services-Credit-Control', Mscc, {
      ratingGroup: 'Rating-Group',
      serviceIdentifiers: 'Service-Identifier',
      requested: ['Requested-Service-Unit', serviceUnits('Requested-Service-Unit')],
      used: ['Used-Service-Unit', serviceUnits('Used-Service-Unit')],
    }),
  ],
})

const required: AvpItem[] = [
  ['Session-Id', 's'],
  ['Origin-Host', 'a'],
  ['Origin-Realm', 'b'],
  ['Destination-Realm', 'c'],
  ['Auth-Application-Id', 4],
  ['Service-Context-Id', '32251@3gpp.org'],
  ['CC-Request-Type', 'UPDATE_REQUEST'],
  ['CC-Request-Number', 7],
]
const ccr = (...more: AvpItem[]): Buffer =>
  encodeTree(dictionary, { command: 'CCR', hopByHop: 1, endToEnd: 2, avps: [...required, ...more] })

t.test('a shape reads what is wanted into classes, and views of what is wanted raw', t => {
  const octets = vector('C24')
  const read = readMessage(ccrShape, octets, limits)
  t.ok(read instanceof Ccr)
  t.ok(read.services[0] instanceof Mscc)
  t.match(read, { sessionId: 'pgw1.example.net;1768478400;42;gy', requestType: 1, requestNumber: 0 })
  t.equal(read.proxyInfo.length, 2)
  for (const raw of read.proxyInfo) {
    t.equal(raw.buffer, octets.buffer, 'no copy')
    t.equal(raw.readUInt32BE(0), 284)
    t.equal(raw.length % 4, 0, 'with its padding')
  }
  t.equal(read.serviceContext?.toString('latin1', 8), '32251@3gpp.org\0\0')
  t.equal(read.equipment, undefined)
  t.end()
})

t.test('values have the types of their formats; a field that is no list keeps the first of several', t => {
  const read = readMessage(
    ccrShape,
    ccr(
      ['Event-Timestamp', new Date('2026-01-15T12:00:00Z')],
      [
        'Subscription-Id',
        [
          ['Subscription-Id-Type', 0],
          ['Subscription-Id-Data', '1'],
        ],
      ],
      [
        'Subscription-Id',
        [
          ['Subscription-Id-Type', 1],
          ['Subscription-Id-Data', '2'],
        ],
      ],
      [
        'Multiple-Services-Credit-Control',
        [
          ['Service-Identifier', 1],
          ['Service-Identifier', 4294967295],
          ['Requested-Service-Unit', []],
          ['Used-Service-Unit', [['CC-Total-Octets', 2n ** 64n - 1n]]],
          [
            'Used-Service-Unit',
            [
              ['CC-Total-Octets', 2n ** 53n + 1n],
              ['CC-Time', 60],
            ],
          ],
        ],
      ],
    ),
    limits,
  )
  t.equal(read.timestamp, Date.parse('2026-01-15T12:00:00Z') / 1000)
  t.equal(read.firstSubscription?.at(-4), 0x31)
  t.strictSame(plain(read.services[0]!), {
    serviceIdentifiers: [1, 4294967295],
    requested: {},
    used: [{ totalOctets: '18446744073709551615' }, { totalOctets: '9007199254740993', time: 60 }],
  })
  t.end()
})

t.test('one message leaves nothing behind for the next', t => {
  const recorded = recordings.filter(({ name }) => name.startsWith('CCR')).map(({ octets }) => octets)
  const messages = [vector('C01'), vector('C03'), vector('C24'), vector('E01'), vector('I01'), ...recorded]
  const alone = messages.map(octets => JSON.stringify(plain(readMessage(ccrShape, octets, limits))))
  for (let round = 0; round < 200; round++) {
    const i = (round * 7) % messages.length
    t.equal(JSON.stringify(plain(readMessage(ccrShape, messages[i]!, limits))), alone[i])
  }
  t.end()
})
t.test('what was seen in one message is forgotten when the numbers of groups begin again', t => {
  class Dwr {
    originRealm = ''
  }
  const dwr = shape(dictionary, 'DWR', Dwr, { originRealm: 'Origin-Realm' })
  const message = (...avps: AvpItem[]): Buffer =>
    encodeTree(dictionary, { command: 'DWR', hopByHop: 1, endToEnd: 1, avps })
  const whole = message(['Origin-Host', 'a'], ['Origin-Realm', 'b'])
  const part = message(['Origin-Realm', 'b'])
  readMessage(dwr, whole, limits)
  let refused = 0
  const rounds = 2 ** 16 + 100
  for (let i = 0; i < rounds; i++) if (thrownBy(() => readMessage(dwr, part, limits))?.resultCode === 5005) refused++
  t.equal(refused, rounds)
  t.end()
})

function plain(value: object): unknown {
  return JSON.parse(JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each)))
}

t.test('a fault has its Result-Code, says in words what it is, and gives the AVP, for both decoders', t => {
  const group = (...members: AvpItem[]): AvpItem => ['Multiple-Services-Credit-Control', members]
  const avp = (name: string, value: Parameters<typeof encodeAvp>[2], flags?: number): Buffer =>
    encodeAvp(dictionary, name, value, flags)
  const empty = Buffer.alloc(0)
  const cases: [number, RegExp, AvpItem, Buffer | undefined][] = [
    // BASE-055
    [5008, /Check-Balance-Result is not allowed here/, ['Check-Balance-Result', 0], avp('Check-Balance-Result', 0)],
    [5008, /Granted-Service-Unit/, ['Granted-Service-Unit', []], avp('Granted-Service-Unit', [])],
    // BASE-032, and ASCII for identities
    [
      5004,
      /User-Name has no legal value/,
      ['User-Name', Buffer.from([0xc3, 0x28])],
      avp('User-Name', Buffer.from([0xc3, 0x28])),
    ],
    [5004, /Route-Record/, ['Route-Record', Buffer.from('höst')], avp('Route-Record', Buffer.from('höst'))],
    // BASE-030
    [5004, /SGSN-Address/, ['SGSN-Address', Buffer.from([0])], avp('SGSN-Address', Buffer.from([0]))],
    [5004, /SGSN-Address/, ['SGSN-Address', Buffer.from(`0001${'00'.repeat(17)}`, 'hex')], undefined],
    // BASE-052: within 0..31, and beyond
    [5004, /Termination-Cause/, ['Termination-Cause', 9], avp('Termination-Cause', 9)],
    [5004, /CC-Request-Type|Requested-Action/, ['Requested-Action', -1], avp('Requested-Action', -1)],
    [5004, /RAT-Type/, ['RAT-Type', 999], avp('RAT-Type', 999)],
    // BASE-026
    [
      5014,
      /Origin-State-Id has 8 octets, Unsigned32 needs 4/,
      ['Origin-State-Id', Buffer.alloc(8)],
      avp('Origin-State-Id', 0),
    ],
    [5014, /Event-Timestamp has 0 octets/, ['Event-Timestamp', empty], avp('Event-Timestamp', Buffer.alloc(4))],
    // BASE-051, in a group
    [
      5009,
      /Rating-Group occurs too many times/,
      group(['Rating-Group', 1], ['Rating-Group', 2]),
      avp('Multiple-Services-Credit-Control', [['Rating-Group', 2]]),
    ],
    // The first fault in wire order is reported.
    [5001, /AVP 65001 is not known/, group(['65001:0', empty, 0x40], ['Rating-Group', empty]), undefined],
    [5009, /CC-Request-Number/, ['CC-Request-Number', empty], avp('CC-Request-Number', empty)],
    // Members of a group that is known and was not expected are checked one by one.
    [5014, /CC-Time/, ['CC-Money', [['CC-Time', empty]]], avp('CC-Money', [['CC-Time', Buffer.alloc(4)]])],
  ]
  for (const [resultCode, message, item, failedAvp] of cases) {
    const octets = ccr(item)
    for (const read of [() => readMessage(ccrShape, octets, limits), () => readTree(dictionary, octets, limits)]) {
      const error = thrownBy(read)
      t.equal(error?.resultCode, resultCode, String(message))
      t.match(error?.message, message)
      if (failedAvp) t.equal(error?.failedAvp?.toString('hex'), failedAvp.toString('hex'))
    }
  }
  t.end()
})
t.test('what a lenient receiver takes is taken', t => {
  const flags = (octets: Buffer, code: number, value: number): Buffer => {
    for (let at = 20; at < octets.length; at += (octets.readUIntBE(at + 5, 3) + 3) & ~3) {
      if (octets.readUInt32BE(at) === code) octets[at + 4] = value
    }
    return octets
  }
  const cases: [string, Buffer][] = [
    ['BASE-039: M bit clear where it should be set', flags(ccr(), 416, 0)],
    ['BASE-022: P and reserved bits', flags(ccr(), 416, 0x7f)],
    ['BASE-035: unknown, M clear', ccr(['65001:0', Buffer.from('x'), 0], ['9:99999', Buffer.alloc(0), 0])],
    [
      'BASE-037: unknown group with M inside',
      ccr(['65003:0', encodeAvp(dictionary, '65001:0', Buffer.from('x'), 0x40), 0]),
    ],
    ['known, not named by the grammar, and the grammar is open', ccr(['Framed-IP-Address', Buffer.alloc(4)])],
    [
      'known, not named by the grammar, and the grammar is closed',
      ccr([
        'Subscription-Id',
        [
          ['Subscription-Id-Type', 0],
          ['Subscription-Id-Data', '1'],
          ['CC-Time', 1],
        ],
      ]),
    ],
    ['the same AVP outside its group, several times', ccr(['CC-Time', 1], ['CC-Time', 2])],
    ['BASE-030: an E.164 address', ccr(['SGSN-Address', Buffer.from('\0\x08123', 'latin1')])],
    ['an empty group', ccr(['Requested-Service-Unit', []])],
    ['an enumeration without known values', ccr(['PC5-Radio-Technology', 12345])],
    ['what a Failed-AVP holds', ccr(['Failed-AVP', Buffer.from('ffffffff', 'hex')])],
    [
      'octets where 3GPP codes bits and bytes',
      ccr(
        ['3GPP-NSAPI', Buffer.from('5')],
        ['3GPP-RAT-Type', Buffer.from([255])],
        ['3GPP-User-Location-Info', Buffer.from('ffee', 'hex')],
        ['3GPP-MS-TimeZone', Buffer.alloc(0)],
      ),
    ],
  ]
  for (const [title, octets] of cases) {
    t.equal(thrownBy(() => readMessage(ccrShape, octets, limits))?.message, undefined, title)
    t.equal(thrownBy(() => readTree(dictionary, octets, limits))?.message, undefined, `${title}, as a tree`)
  }
  t.end()
})

t.test('a last AVP without its padding ends its group all the same', t => {
  // Some stacks leave out the padding of a group's last member, and do not count it in the group's length.
  const type = encodeAvp(dictionary, 'Subscription-Id-Type', 0)
  const data = encodeAvp(dictionary, 'Subscription-Id-Data', '12345').subarray(0, 13)
  const octets = ccr(['Subscription-Id', Buffer.concat([type, data])], ['CC-Correlation-Id', 'x'])
  t.equal(
    thrownBy(() => readMessage(ccrShape, octets, limits)),
    undefined,
  )
  t.equal(readTree(dictionary, octets, limits).avps.length, required.length + 2)
  t.end()
})

t.test('limits hold for groups inside groups and for AVPs in all', t => {
  t.match(
    thrownBy(() =>
      readMessage(ccrShape, ccr(['CC-Money', [['CC-Money', [['CC-Money', []]]]]]), { depth: 2, avps: 100 }),
    ),
    { resultCode: 5012, message: /CC-Money is nested too deep/ },
  )
  t.match(
    thrownBy(() => readMessage(ccrShape, ccr(['Class', 'x'], ['Class', 'x']), { depth: 2, avps: 9 })),
    { resultCode: 5012, message: /too many AVPs/ },
  )
  t.equal(readMessage(ccrShape, ccr(['Class', 'x']), { depth: 2, avps: 9 }).requestNumber, 7, 'and start anew')
  t.end()
})

t.test('a grammar of an operator may ask for any number of occurrences', t => {
  const folder = t.testdir({
    'own.yaml': `
avps: { Own-Group: { code: 50000, type: Grouped }, Own-Value: { code: 50001, type: Unsigned32 } }
groups: { Own-Group: '2*3{ Own-Value }' }
`,
  })
  const own = loadDictionary([folder])
  class Group {
    values: number[] = []
  }
  class Dwr {
    groups: Group[] = []
  }
  const dwr = shape(own, 'DWR', Dwr, { groups: ['Own-Group', shape(own, 'Own-Group', Group, { values: 'Own-Value' })] })
  const message = (...counts: number[]): Buffer =>
    encodeTree(own, {
      ...{ command: 'DWR', hopByHop: 1, endToEnd: 2 },
      avps: [
        ['Origin-Host', 'a'],
        ['Origin-Realm', 'b'],
        ...counts.map((count): AvpItem => [
          'Own-Group',
          Array.from({ length: count }, (_, i): AvpItem => ['Own-Value', i]),
        ]),
      ],
    })
  t.strictSame(
    readMessage(dwr, message(2, 3), limits).groups.map(({ values }) => values),
    [
      [0, 1],
      [0, 1, 2],
    ],
  )
  t.equal(thrownBy(() => readMessage(dwr, message(3, 1), limits))?.resultCode, 5005)
  t.equal(thrownBy(() => readMessage(dwr, message(3, 4), limits))?.resultCode, 5009)
  t.end()
})

t.test('a shape that does not fit its grammar is found when it is made', t => {
  t.throws(() => shape(dictionary, 'CCR', Ccr, { sessionId: 'Session' }), /no dictionary has an AVP Session/)
  t.throws(() => shape(dictionary, 'CCX', Ccr, {}), /no dictionary has a command or a group CCX/)
  t.throws(
    () => shape(dictionary, 'CCR', Ccr, { sessionId: 'Subscription-Id' }),
    /Subscription-Id is Grouped; a group has a shape/,
  )
  t.throws(
    () => shape(dictionary, 'CCR', Ccr, { sessionId: 'Session-Id', requestType: 'Session-Id' }),
    /read into two fields/,
  )
  t.throws(
    () => shape(dictionary, 'CCR', Ccr, { services: ['Session-Id', shape(dictionary, 'CCR', Mscc, {})] }),
    /Session-Id is UTF8String; a group has a shape/,
  )
  t.end()
})

function thrownBy(work: () => unknown): DiameterError | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    if (error instanceof DiameterError) return error
    throw error
  }
}
