/** What the door makes of a CCR: facts for rating, amounts and money. Wire octets in, a credit request out. */
import fc from 'fast-check'
import t from 'tap'
import type { RequestFacts } from '../../src/charging/charging.js'
import { DiameterError } from '../../src/diameter/errors.js'
import { decodeTree, encodeTree, type AvpInput, type AvpItem, type AvpTree } from '../../src/diameter/tree.js'
import { CcrReader, type ReadCcr } from '../../src/gy/ccr.js'
import { numberOf, plmnOf } from '../../src/gy/facts.js'
import { ccrAvps, encodeCcr, type CcrInput, type ServiceInput } from '../../src/simulator/ccr.js'
import { dictionary, recordings, vector } from '../support/vectors.js'

const reader = new CcrReader(dictionary, { depth: 16, avps: 4096, sessionIdOctets: 512 })
const node = { originHost: 'pgw1.example.net', originRealm: 'example.net', destinationRealm: 'charging.example.net' }
const base: CcrInput = { type: 'update', number: 1, sessionId: 's;1', serviceContextId: '32251@3gpp.org' }

function read(parts: Partial<CcrInput>): ReadCcr {
  return reader.read(encodeCcr(dictionary, ccrAvps(node, { ...base, ...parts }), { hopByHop: 1, endToEnd: 1 }))
}

/** The facts that are there, of a CCR with these AVPs. */
const factsOf = (...more: AvpItem[]): object => present(read({ more }).credit.facts)

/** What rating goes by. */
const present = (facts: RequestFacts): object =>
  Object.fromEntries(
    Object.entries(facts).filter(
      ([name, value]) => value !== undefined && name !== 'recipients' && name !== 'chargingId',
    ),
  )

const info = (group: string, ...avps: AvpItem[]): AvpItem => ['Service-Information', [[group, avps]]]
const ps = (...avps: AvpItem[]): AvpItem => info('PS-Information', ...avps)
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const location = (text: string): AvpItem => ['3GPP-User-Location-Info', hex(text)]

t.test('a real SMF says its network, its access and its APN, in each of its requests', t => {
  let requests = 0
  for (const { scenario, name, octets } of recordings.filter(each => each.name.startsWith('CCR'))) {
    requests++
    t.strictSame(
      present(reader.read(octets).credit.facts),
      { plmn: '00101', apn: 'internet', rat: '6' },
      `${scenario} ${name}`,
    )
  }
  t.ok(requests >= 8)
  t.end()
})

t.test('the reference messages give their facts', t => {
  const rows: [string, object][] = [
    ['C01', { plmn: '23415', apn: 'internet', rat: '6' }],
    ['C18', { rat: '1' }],
    ['E01', { called: '447700900456' }],
    ['E09', { called: '447700900456' }],
    ['I01', { called: '447700900456', direction: 'originating' }],
  ]
  for (const [id, facts] of rows) t.strictSame(present(reader.read(vector(id)).credit.facts), facts, id)
  t.end()
})

t.test('where the subscriber is', t => {
  const rows: [string, AvpItem[], object][] = [
    ['five digits', [['3GPP-SGSN-MCC-MNC', '26201']], { plmn: '26201' }],
    ['six digits', [['3GPP-SGSN-MCC-MNC', '310410']], { plmn: '310410' }],
    [
      'the network wins over the location',
      [['3GPP-SGSN-MCC-MNC', '26201'], location('82 13 00 14')],
      { plmn: '26201' },
    ],
    ['no digits: the location', [['3GPP-SGSN-MCC-MNC', '2620x'], location('82 13 00 14')], { plmn: '310410' }],
    ['neither', [['3GPP-SGSN-MCC-MNC', '2620'], location('82')], {}],
    ['empty', [['3GPP-SGSN-MCC-MNC', '']], {}],
  ]
  for (const [name, avps, facts] of rows) t.strictSame(factsOf(ps(...avps)), facts, name)
  t.end()
})

t.test('a location begins with a PLMN, whose digits lie low half first', t => {
  const rows: [string, string, string | undefined][] = [
    ['CGI', '00 62f210 0001 0002', '26201'],
    ['SAI', '01 62f210 0001 0002', '26201'],
    ['RAI', '02 62f210 0001 ff', '26201'],
    ['TAI', '80 13f003 0001', '31030'],
    ['ECGI, an MNC of three digits', '81 130014 00000001', '310410'],
    ['TAI and ECGI', '82 00f110 0001 00f110 00019b01', '00101'],
    ['TAI and eNodeB', '84 320481 0001', '234180'],
    ['NCGI', '87 62f220 0000000001', '26202'],
    ['TAI and NCGI of 5GS', '89 62f210 000001 62f210 0000000001', '26201'],
    ['TAI and NG-RAN node', '8b 62f210 000001', '26201'],
    ['an unknown type', '03 62f210 0001', undefined],
    ['a type of tomorrow', '8c 62f210 0001', undefined],
    ['an MCC that is no number', '82 a2f210 0001', undefined],
    ['an MCC that ends in F', '82 622ff0 0001', undefined],
    ['an MNC that is no number', '82 62f2f0 0001', undefined],
    ['a third digit of A', '82 62a210 0001', undefined],
    ['cut short', '82 62f2', undefined],
    ['nothing', '', undefined],
  ]
  for (const [name, octets, plmn] of rows) t.equal(plmnOf(hex(octets)), plmn, name)
  t.end()
})

t.test('access and APN; in the wrong place or malformed they refuse nothing', t => {
  const rat = (octets: string): AvpItem => ['3GPP-RAT-Type', hex(octets)]
  const rows: [string, AvpItem[], object][] = [
    ['E-UTRAN', [ps(rat('06'))], { rat: '6' }],
    ['NG-RAN', [ps(rat('33'))], { rat: '51' }],
    ['at command level', [rat('01')], { rat: '1' }],
    ['inside wins', [rat('01'), ps(rat('06'))], { rat: '6' }],
    ['inside is malformed', [rat('01'), ps(rat('0606'))], { rat: '1' }],
    ['of no octet', [ps(rat(''))], {}],
    ['in an MSCC', [['Multiple-Services-Credit-Control', [['Rating-Group', 10], rat('02')]]], { rat: '2' }],
    ['APN', [ps(['Called-Station-Id', 'IoT.example.mnc001.mcc262.gprs'])], { apn: 'IoT.example.mnc001.mcc262.gprs' }],
    ['a BSSID', [ps(['Called-Station-Id', '00-10-A4-23-19-C0:AP1'])], { apn: '00-10-A4-23-19-C0:AP1' }],
    ['an APN with a space', [ps(['Called-Station-Id', 'inter net'])], {}],
    ['an APN with a quote', [ps(['Called-Station-Id', 'a"b'])], {}],
    ['an APN too long', [ps(['Called-Station-Id', 'a'.repeat(101)])], {}],
    ['an empty APN', [ps(['Called-Station-Id', ''])], {}],
    ['an empty Service-Information', [['Service-Information', []]], {}],
    ['none', [], {}],
  ]
  for (const [name, avps, facts] of rows) t.strictSame(factsOf(...avps), facts, name)
  t.end()
})

t.test('the number in an address', t => {
  const rows: [string, string | undefined][] = [
    ['tel:+491512345678', '491512345678'],
    ['TEL:+49-151-234(56).78', '491512345678'],
    ['tel:112', '112'],
    ['tel:7042;phone-context=example.com', '7042'],
    ['tel:+491512345678;npdi;rn=+4915099', '491512345678'],
    ['sip:+491512345678@ims.example.net;user=phone', '491512345678'],
    ['sips:491512345678@ims.example.net', '491512345678'],
    ['sip:+491512345678;npdi@ims.example.net', '491512345678'],
    ['sip:491512345678:secret@ims.example.net', '491512345678'],
    ['sip:%2B491512345678@ims.example.net', '491512345678'],
    ['+491512345678', '491512345678'],
    ['491512345678', '491512345678'],
    ['1'.repeat(32), '1'.repeat(32)],
    ['sip:alice@ims.example.net', undefined],
    ['sip:4915alice@ims.example.net', undefined],
    ['sip:192.0.2.1', undefined],
    ['192.0.2.1', undefined],
    ['urn:service:sos', undefined],
    ['tel:*21#', undefined],
    ['tel:+', undefined],
    ['tel:--', undefined],
    ['alice@example.net', undefined],
    ['', undefined],
    ['1'.repeat(33), undefined],
  ]
  for (const [address, number] of rows) t.equal(numberOf(address), number, address)
  t.end()
})

t.test('who is called, and which way', t => {
  const ims = (role: number | undefined, called?: string): AvpItem =>
    info(
      'IMS-Information',
      ...(role === undefined ? [] : [['Role-Of-Node', role] as const]),
      ['Node-Functionality', 6],
      ...(called === undefined ? [] : [['Called-Party-Address', called] as const]),
    )
  const address = (type: number | undefined, data: string): AvpItem => [
    'Recipient-Address',
    [...(type === undefined ? [] : [['Address-Type', type] as const]), ['Address-Data', data]],
  ]
  const sms = (...addresses: AvpItem[][]): AvpItem =>
    info('SMS-Information', ...addresses.map(each => ['Recipient-Info', each] as const))
  const rows: [string, AvpItem, object][] = [
    ['a call', ims(0, 'tel:+4930123'), { called: '4930123', direction: 'originating' }],
    ['a role is not said', ims(undefined, 'tel:+4930123'), { called: '4930123' }],
    ['a forwarded call', ims(2, 'tel:+4930123'), { called: '4930123' }],
    ['a call to the subscriber calls nobody', ims(1, 'tel:+4930123'), { direction: 'terminating' }],
    ['a call to a name', ims(0, 'sip:alice@example.net'), { direction: 'originating' }],
    ['nobody is called', ims(0), { direction: 'originating' }],
    ['an SMS', sms([address(1, '+4930123')]), { called: '4930123' }],
    ['to a short code', sms([address(4, '72345')]), { called: '72345' }],
    ['a type is not said', sms([address(undefined, '4930123')]), { called: '4930123' }],
    ['an IMSI is no number', sms([address(7, '262011234567890'), address(1, '4930123')]), { called: '4930123' }],
    [
      'the first recipient with a number',
      sms([], [address(5, 'TAXI')], [address(1, '4930123')]),
      { called: '4930123' },
    ],
    ['to a name', sms([address(5, 'TAXI')]), {}],
    ['an MMS', info('MMS-Information', address(0, 'a@example.net'), address(1, '4930123')), { called: '4930123' }],
    ['an MMS by mail', info('MMS-Information', address(0, '4930123')), {}],
  ]
  for (const [name, avp, facts] of rows) t.strictSame(factsOf(avp), facts, name)
  t.end()
})

t.test('no location, access, APN or address refuses a request, and what comes out is plain', t => {
  const text = fc.oneof(fc.string({ unit: 'grapheme' }), fc.stringMatching(/^(tel:|sip:)?\+?[\d.;@ -]{0,20}$/))
  const octets = fc.uint8Array({ maxLength: 16 }).map(each => Buffer.from(each))
  fc.assert(
    fc.property(text, text, octets, octets, text, text, (plmn, apn, where, rat, called, recipient) => {
      const facts = factsOf([
        'Service-Information',
        [
          [
            'PS-Information',
            [
              ['Called-Station-Id', apn],
              ['3GPP-SGSN-MCC-MNC', plmn],
              ['3GPP-User-Location-Info', where],
              ['3GPP-RAT-Type', rat],
            ],
          ],
          [
            'IMS-Information',
            [
              ['Node-Functionality', 6],
              ['Called-Party-Address', called],
            ],
          ],
          ['MMS-Information', [['Recipient-Address', [['Address-Data', recipient]]]]],
        ],
      ])
      return Object.values(facts).every(fact => /^[\w.:-]{1,100}$/.test(fact as string))
    }),
    { numRuns: 2000, ...(process.env['SEED'] !== undefined && { seed: Number(process.env['SEED']) }) },
  )
  t.end()
})

const none = { unsplit: 0n, before: 0n, after: 0n, indeterminate: 0n }
const line = (...services: ServiceInput[]): ReadCcr['credit']['lines'][number] => read({ services }).credit.lines[0]!

t.test('what was used is told apart by its side of the tariff switch', t => {
  t.strictSame(
    reader.read(vector('C10')).credit.lines[0]?.used.octets,
    { ...none, before: 7_000_000n, after: 3_000_000n },
    'the reference message',
  )
  t.strictSame(
    line({
      used: [
        { octets: 1n, seconds: 5 },
        { side: 'before', octets: 20n },
        { side: 'after', octets: 300n, events: 2n },
        { side: 'indeterminate', inputOctets: 1000n, outputOctets: 3000n },
        { side: 'before', octets: 50n },
      ],
    }).used,
    {
      octets: { unsplit: 1n, before: 70n, after: 300n, indeterminate: 4000n },
      seconds: { ...none, unsplit: 5n },
      events: { ...none, after: 2n },
      money: undefined,
    },
  )
  t.strictSame(
    line(
      { ratingGroup: 10, used: [{ side: 'before', octets: 1n }] },
      { ratingGroup: 10, used: [{ side: 'before', octets: 2n }, { octets: 4n }] },
    ).used.octets,
    { ...none, before: 3n, unsplit: 4n },
    'two MSCCs of one line',
  )
  t.strictSame(line({ requested: {} }).used, {
    octets: undefined,
    seconds: undefined,
    events: undefined,
    money: undefined,
  })
  t.end()
})

const money = (digits: bigint, exponent?: number, currency?: number): AvpInput => [
  [
    'Unit-Value',
    [['Value-Digits', digits], ...(exponent === undefined ? [] : [['Exponent', exponent] as const])] as AvpItem[],
  ],
  ...(currency === undefined ? [] : [['Currency-Code', currency] as const]),
]
const moneyLine = (...avps: AvpItem[]): ReadCcr['credit']['lines'][number] =>
  read({ more: [['Multiple-Services-Credit-Control', avps]] }).credit.lines[0]!

t.test('money is exact', t => {
  const rows: [bigint, number | undefined, bigint][] = [
    [23n, -1, 2_300_000n],
    [5n, -2, 50_000n],
    [1n, 2, 100_000_000n],
    [7n, undefined, 7_000_000n],
    [1n, -6, 1n],
    [1_000_000_000_000n, -18, 1n],
    [0n, 18, 0n],
    [0n, -18, 0n],
    [1_000_000n, 0, 1_000_000_000_000n],
  ]
  for (const [digits, exponent, micros] of rows) {
    const { requested, used } = moneyLine(
      ['Requested-Service-Unit', [['CC-Money', money(digits, exponent)]]],
      ['Used-Service-Unit', [['CC-Money', money(digits, exponent)]]],
    )
    t.equal(requested?.money, micros, `${digits} x 10^${exponent ?? 0}`)
    t.strictSame(used.money, { ...none, unsplit: micros })
  }
  t.end()
})

t.test('the currency of a line is handed on', t => {
  const used = (currency?: number): AvpItem => ['Used-Service-Unit', [['CC-Money', money(1n, 0, currency)]]]
  const asked = (currency?: number): AvpItem => ['Requested-Service-Unit', [['CC-Money', money(1n, 0, currency)]]]
  t.equal(moneyLine(asked(978)).currency, 978)
  t.equal(moneyLine(used(840)).currency, 840)
  t.equal(moneyLine(asked(978), used(), used(978)).currency, 978)
  t.equal(moneyLine(asked(), used()).currency, undefined)
  t.strictSame(line({ used: [{ side: 'after', money: 4n, currency: 978 }] }).used.money, { ...none, after: 4n })
  t.end()
})

/** Result-Code, and what Failed-AVP names, its groups before its values. */
function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (!(error instanceof DiameterError)) throw error
    const { avps } = decodeTree(
      dictionary,
      Buffer.concat([encodeTree(dictionary, { command: 'CCA', hopByHop: 0, endToEnd: 0, avps: [] }), error.failedAvp!]),
    )
    return `${error.resultCode} ${avps.map(shown).join(' ')}`
  }
  return 'none'
}

function shown({ name, value }: AvpTree): string {
  return Array.isArray(value) ? `${name}{${value.map(shown).join(' ')}}` : `${name}=${String(value)}`
}

t.test('money that is no amount is refused, and named', t => {
  const unit = (name: string, digits: bigint, exponent: number, currency?: number): AvpItem => [
    name,
    [['CC-Money', money(digits, exponent, currency)]],
  ]
  const failed = (digits: bigint, exponent: number): string =>
    `{CC-Money{Unit-Value{Value-Digits=${digits} Exponent=${exponent}}}}`
  const rows: [string, bigint, number][] = [
    ['a fraction of a micro', 15n, -7],
    ['negative', -1n, 0],
    ['more than one line may carry', 1_000_001n, 0],
    ['an exponent that would never end', 1n, 2_000_000_000],
    ['an exponent of 19, of nothing', 0n, 19],
    ['an exponent of -19', 0n, -19],
    ['the largest', 2n ** 63n - 1n, 18],
  ]
  for (const [name, digits, exponent] of rows) {
    for (const group of ['Requested-Service-Unit', 'Used-Service-Unit']) {
      t.equal(
        refusal(() => moneyLine(unit(group, digits, exponent))),
        `5004 ${group}${failed(digits, exponent)}`,
        `${name}, ${group}`,
      )
    }
  }
  t.equal(
    refusal(() => moneyLine(unit('Used-Service-Unit', 15n, -7, 978))),
    '5004 Used-Service-Unit{CC-Money{Unit-Value{Value-Digits=15 Exponent=-7} Currency-Code=978}}',
    'as it came',
  )
  const half = unit('Used-Service-Unit', 600_000n, 0)
  t.equal(
    refusal(() => moneyLine(half, half)),
    '5004 Used-Service-Unit{CC-Money{Unit-Value{Value-Digits=1200000000000 Exponent=-6}}}',
    'a sum that is too much',
  )
  t.equal(
    refusal(() => moneyLine(unit('Requested-Service-Unit', 1n, 0, 978), unit('Used-Service-Unit', 1n, 0, 840))),
    '5007 Currency-Code=978 Currency-Code=840',
    'two currencies',
  )
  const lines = (...currencies: number[]): ServiceInput[] =>
    currencies.map(currency => ({ ratingGroup: 10, used: [{ money: 1n, currency }] }))
  t.equal(
    refusal(() => line(...lines(978, 840))),
    '5007 Currency-Code=978 Currency-Code=840',
    'of two MSCCs of one line',
  )
  t.end()
})

t.test('more than a line may carry is refused, however it is split', t => {
  t.equal(
    refusal(() =>
      line({
        used: [
          { side: 'before', octets: 60_000_000_000_000n },
          { side: 'after', octets: 40_000_000_000_001n },
        ],
      }),
    ),
    '5004 Used-Service-Unit{CC-Total-Octets=100000000000001}',
  )
  const most = { seconds: 2 ** 32 - 1 }
  t.equal(
    refusal(() => line({ used: [most, most] })),
    '5004 Used-Service-Unit{CC-Time=4294967295}',
    'a sum beyond its AVP',
  )
  t.end()
})
