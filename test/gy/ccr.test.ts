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
import { seed } from '../support/seed.js'

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
    ['E01', { called: '447700900456', message: 'sms.0' }],
    ['E09', { called: '447700900456', message: 'mms.1' }],
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
    { numRuns: 2000, seed },
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

/** The refusal of these AVPs: its code, and Failed-AVP by names. */
function refusalOf(parts: Partial<CcrInput>): [number, string] {
  try {
    read(parts)
  } catch (error) {
    if (error instanceof DiameterError) return [error.resultCode, failedNames(error.failedAvp)]
    throw error
  }
  throw new Error('it was read')
}

function failedNames(failedAvp: Buffer | undefined): string {
  if (failedAvp === undefined) return ''
  const header = { command: 'CCA', flags: 0, applicationId: 4, hopByHop: 1, endToEnd: 1 }
  const octets = encodeTree(dictionary, { ...header, avps: [['Failed-AVP', failedAvp]] })
  const told = ({ name, value }: AvpTree): string =>
    Array.isArray(value) && value.length > 0 ? `${name}/${value.map(told).join('+')}` : name
  return (decodeTree(dictionary, octets).avps[0]!.value as AvpTree[]).map(told).join(' ')
}

t.test('whose it is: identities of every kind', t => {
  const id = (type: number, data: string): AvpItem => [
    'Subscription-Id',
    [
      ['Subscription-Id-Type', type],
      ['Subscription-Id-Data', data],
    ],
  ]
  const extension = (...members: AvpItem[]): AvpItem => ['Subscription-Id-Extension', members]
  const msisdn = { type: 'msisdn', value: '447700900123' }
  const uri = (value: string): object => ({ type: 'nai', value })
  const sip = 'sip:+447700900123@ims.example.net'
  const rows: [string, AvpItem, object[]][] = [
    ['E.164', id(0, '447700900123'), [msisdn]],
    ['with a +', id(0, '+447700900123'), [msisdn]],
    ['IMSI', id(1, '234150000000001'), [{ type: 'imsi', value: '234150000000001' }]],
    ['a SIP URI with a number is both', id(2, sip), [uri(sip), msisdn]],
    ['also escaped', id(2, 'sip:%2B447700900123@a'), [uri('sip:%2B447700900123@a'), msisdn]],
    ['a tel URI', id(2, 'tel:+44-7700-900123'), [uri('tel:+44-7700-900123'), msisdn]],
    ['a name', id(2, 'sip:alice@example.net'), [uri('sip:alice@example.net')]],
    ['a local number says no country', id(2, 'sip:7042@example.net'), [uri('sip:7042@example.net')]],
    ['NAI', id(3, 'alice@example.net'), [uri('alice@example.net')]],
    ['private', id(4, 'card-1'), [uri('card-1')]],
    ['the extension is equivalent', extension(['Subscription-Id-E164', '447700900123']), [msisdn]],
    ['of a SIP URI', extension(['Subscription-Id-SIP-URI', sip]), [uri(sip), msisdn]],
    ['of a private one', extension(['Subscription-Id-Private', 'card-1']), [uri('card-1')]],
  ]
  for (const [name, avp, identities] of rows) {
    const { credit, subscriptionIds } = read({ more: [avp] })
    t.strictSame(credit.identities, identities, name)
    t.equal(subscriptionIds.length, identities.length)
  }
  t.end()
})

t.test('extension groups hold exactly one member, and no Service-Parameter-Type is known', t => {
  const e164: AvpItem = ['Subscription-Id-E164', '447700900123']
  const imei: AvpItem = ['User-Equipment-Info-IMEI', Buffer.from('123')]
  const parameter = (type: number): AvpItem => [
    'Service-Parameter-Info',
    [
      ['Service-Parameter-Type', type],
      ['Service-Parameter-Value', Buffer.of(1)],
    ],
  ]
  const rows: [AvpItem, number, string][] = [
    [['Subscription-Id-Extension', []], 5005, 'Subscription-Id-Extension/Subscription-Id-E164'],
    [['Subscription-Id-Extension', [e164, ['Subscription-Id-IMSI', '1']]], 5009, 'Subscription-Id-Extension'],
    [['User-Equipment-Info-Extension', []], 5005, 'User-Equipment-Info-Extension/User-Equipment-Info-IMEISV'],
    [
      ['User-Equipment-Info-Extension', [imei, ['User-Equipment-Info-MAC', Buffer.of(1)]]],
      5009,
      'User-Equipment-Info-Extension',
    ],
    [parameter(77), 5031, 'Service-Parameter-Info/Service-Parameter-Type+Service-Parameter-Value'],
  ]
  for (const [avp, code, failed] of rows) t.same(refusalOf({ more: [avp] }), [code, failed], failed)
  read({ more: [['User-Equipment-Info-Extension', [imei]], ['Subscription-Id-Extension', [e164]]] }) // prettier-ignore
  t.end()
})

t.test('AVPs of answers are not allowed in a request', t => {
  const money: AvpItem[] = [
    ['Unit-Value', [['Value-Digits', 1n]]],
    ['Currency-Code', 978],
  ]
  const rows: (readonly [string, AvpInput])[] = [
    ['Check-Balance-Result', 0],
    ['Cost-Information', money],
    ['Final-Unit-Indication', [['Final-Unit-Action', 0]]],
    ['Granted-Service-Unit', []],
    ['Result-Code', 2001],
    ['Validity-Time', 60],
    ['CC-Session-Failover', 0],
    ['Credit-Control-Failure-Handling', 0],
    ['Direct-Debiting-Failure-Handling', 0],
  ]
  for (const avp of rows) {
    const [code, failed] = refusalOf({ more: [avp] })
    t.same([code, failed.split('/')[0]], [5008, avp[0]])
  }
  t.end()
})

t.test('a Reporting-Reason counts wherever it stands, and is noted where it should not', t => {
  const used = { octets: 5n }
  const rows: [string, Partial<CcrInput>, object, string[]][] = [
    ['in its place', { services: [{ ratingGroup: 1, used: [used], reason: 2 }] }, { final: true }, []],
    ['THRESHOLD in its place', { services: [{ ratingGroup: 1, used: [{ ...used, reason: 0 }] }] }, { threshold: true }, []],
    ['POOL_EXHAUSTED in either', { services: [{ ratingGroup: 1, used: [{ ...used, reason: 8 }], reason: 8 }] }, {}, []],
    ['UNUSED_QUOTA_TIMER', { services: [{ ratingGroup: 1, used: [used], reason: 9 }] }, {}, []],
    ['FINAL in the USU', { services: [{ ratingGroup: 1, used: [{ ...used, reason: 2 }] }] }, { final: true }, ['reason_misplaced']],
    ['THRESHOLD in the MSCC', { services: [{ ratingGroup: 1, used: [used], reason: 0 }] }, { threshold: true }, ['reason_misplaced']],
    ['none', { services: [{ ratingGroup: 1, used: [used] }] }, {}, ['reason_missing']],
    ['at command level', { services: [{ ratingGroup: 1, used: [used] }], more: [['Reporting-Reason', 2]] }, {}, ['reason_missing', 'reason_misplaced']],
    ['of a client without MSCC', { units: { used: [used] }, more: [['Reporting-Reason', 2]] }, { final: true }, ['reason_misplaced']],
    ['nothing is reported', { services: [{ ratingGroup: 1 }] }, {}, []],
  ] // prettier-ignore
  for (const [name, parts, expected, oddities] of rows) {
    const asked = { octets: 9n }
    const services = parts.services?.map(each => ({ ...each, requested: asked }))
    const units = parts.units && { ...parts.units, requested: asked }
    const { credit, oddities: found } = read({ ...parts, ...(services && { services }), ...(units && { units }) })
    const [line] = credit.lines
    const told = { final: line!.requested === undefined, threshold: line!.threshold }
    t.same(told, { final: false, threshold: false, ...expected }, name)
    t.same(found, oddities, name)
  }
  t.same(refusalOf({ services: [{ ratingGroup: 1, reason: 10 }] }), [
    5004,
    'Multiple-Services-Credit-Control/Reporting-Reason',
  ])
  t.end()
})

t.test('an event asks for exact amounts', t => {
  const event = (parts: Partial<CcrInput>): ReadCcr =>
    read({ type: 'event', action: 'debit', serviceContextId: '32274@3gpp.org', ...parts })
  const linesOf = (parts: Partial<CcrInput>): unknown[] =>
    event(parts).credit.lines.map(({ key, requested, refund }) => [
      key,
      Object.fromEntries(Object.entries(requested ?? {}).filter(([, value]) => value !== undefined)),
      ...(refund ? [refund.toString()] : []),
    ])
  const reference = Buffer.from('R1')
  const rows: [string, Partial<CcrInput>, unknown[]][] = [
    ['of an MSCC', { services: [{ serviceIdentifiers: [1], requested: { events: 2n } }] }, [['-/1', { events: 2n }]]],
    ['of the command', { units: { serviceIdentifiers: [1], requested: { events: 2n } } }, [['-/1', { events: 2n }]]],
    ['of two services', { services: [{ ratingGroup: 1, requested: { events: 2n } }, { ratingGroup: 2, requested: { seconds: 3 } }] }, [['1', { events: 2n }], ['2', { seconds: 3n }]]],
    ['two of one service are summed', { services: [{ ratingGroup: 1, requested: { events: 2n } }, { ratingGroup: 1, requested: { events: 3n } }] }, [['1', { events: 5n }]]],
    ['money', { units: { requested: { money: 500_000n } } }, [['-', { money: 500_000n }]]],
    ['what was used counts where nothing is asked', { services: [{ ratingGroup: 1, used: [{ events: 3n }] }] }, [['1', { events: 3n }]]],
    ['each time stamp is an event', { services: [{ ratingGroup: 1, used: [{ eventTimes: [1, 2, 3] }] }] }, [['1', { events: 3n }]]],
    ['but units that are told win', { services: [{ ratingGroup: 1, used: [{ events: 4n, eventTimes: [1, 2, 3] }] }] }, [['1', { events: 4n }]]],
    ['octets are not events', { services: [{ ratingGroup: 1, used: [{ octets: 4n, eventTimes: [1] }] }] }, [['1', { octets: 4n }]]],
    ['one, where nothing is said', {}, [['-', { events: 1n }]]],
    ['one for each recipient', { information: { called: '4930123', recipients: ['4930124', '4930125'] } }, [['-', { events: 3n }]]],
    ['a refund of all that is left', { action: 'refund', services: [{ ratingGroup: 1, refund: reference }] }, [['1', {}, 'R1']]],
    ['a refund of some', { action: 'refund', units: { requested: { events: 1n }, refund: reference } }, [['-', { events: 1n }, 'R1']]],
  ] // prettier-ignore
  for (const [name, parts, lines] of rows) t.strictSame(linesOf(parts), lines, name)

  for (const [action, name] of [
    ['debit', 'debit'],
    ['refund', 'refund'],
    ['check-balance', 'check'],
    ['price', 'price'],
  ] as const)
    // prettier-ignore
    t.equal(event({ action }).credit.action, name)
  t.equal(read({ more: [['Requested-Action', 1]] }).credit.action, undefined, 'of an event only')
  t.same([event({}).commandLevel, event({ services: [{}] }).commandLevel], [true, false])
  t.same([1, 2, 0, 3].map(aoc => event({ more: [['AoC-Request-Type', aoc]] }).costAsked), [true, true, false, false]) // prettier-ignore

  const requested = (amount: object): Partial<CcrInput> => ({
    type: 'event',
    action: 'debit',
    units: { requested: amount },
  })
  t.same(refusalOf({ type: 'event' }), [5005, 'Requested-Action'])
  t.same(refusalOf({ type: 'event', more: [['Requested-Action', 9]] }), [5004, 'Requested-Action'])
  t.same(refusalOf(requested({ events: 0n })), [5004, 'Requested-Service-Unit/CC-Service-Specific-Units'])
  t.same(refusalOf(requested({ events: 100_000_001n })), [5004, 'Requested-Service-Unit/CC-Service-Specific-Units'])
  const twice = { ratingGroup: 1, refund: reference }
  t.same(refusalOf({ type: 'event', action: 'refund', services: [twice, twice] }), [
    5007,
    'Refund-Information Refund-Information',
  ])
  t.end()
})

t.test('several Event-Charging-TimeStamps of a session are as many events', t => {
  const { credit } = read({ services: [{ ratingGroup: 1, used: [{ eventTimes: [1, 2, 3] }, { eventTimes: [4] }] }] })
  t.equal(credit.lines[0]!.used.events!.unsplit, 4n)
  t.end()
})

t.test('what a report says of itself', t => {
  const { credit } = read({
    services: [{ ratingGroup: 1, used: [{ octets: 1n }], reason: 6, triggers: [4, 30] }],
    more: [['Service-Information', [['PS-Information', [['3GPP-Charging-Id', 7]]]]]],
  })
  t.same(credit.lines[0]!.triggers, [4, 30])
  t.equal(credit.facts.chargingId, 7)
  t.equal(credit.originRealm, 'example.net')
  t.same(refusalOf({ more: [info('IMS-Information', ['Role-Of-Node', 0])] }), [
    5005,
    'Service-Information/IMS-Information/Node-Functionality',
  ])
  t.end()
})
