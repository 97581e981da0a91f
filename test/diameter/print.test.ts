/** Messages as people read them. */
import fc from 'fast-check'
import t from 'tap'
import { DiameterError } from '../../src/diameter/errors.js'
import { decimal, MessagePrinter, printable } from '../../src/diameter/print.js'
import { encodeTree, type AvpItem } from '../../src/diameter/tree.js'
import { dictionary, vector } from '../support/vectors.js'
import { seed } from '../support/seed.js'

const printer = new MessagePrinter(dictionary, code => (code === 978 ? 'EUR' : undefined))
const passage = { at: Date.UTC(2026, 0, 15, 12, 0, 0, 123), from: 'pgw1.example.net', to: 'ocs1' }

/** The lines of one AVP in a CCR. */
function linesOf(...avps: readonly AvpItem[]): string[] {
  const octets = encodeTree(dictionary, { command: 'CCR', hopByHop: 1, endToEnd: 2, avps })
  return printer.block(passage, octets).slice(2)
}

t.test('a message is a heading and one aligned line an AVP', t => {
  t.same(printer.block(passage, vector('C05')), [
    '2026-01-15 12:00:00.123Z  pgw1.example.net -> ocs1',
    'CCA 2001 SUCCESS UPDATE_REQUEST 2   [-P--] application 4, hop-by-hop 0x00002003, end-to-end 0xa0000003, 264 octets',
    '  Session-Id                              pgw1.example.net;1768478400;42;gy',
    '  Result-Code                             2001 SUCCESS',
    '  Origin-Host                             ocs1.charging.example.net',
    '  Origin-Realm                            charging.example.net',
    '  Auth-Application-Id                     4 credit control',
    '  CC-Request-Type                         2 UPDATE_REQUEST',
    '  CC-Request-Number                       2',
    '  Multiple-Services-Credit-Control',
    '    Granted-Service-Unit',
    '      CC-Total-Octets                     1000000 (1 MB)',
    '    Rating-Group                          10',
    '    Result-Code                           2001 SUCCESS',
    '  Multiple-Services-Credit-Control',
    '    Rating-Group                          20',
    '    Result-Code                           4012 CREDIT_LIMIT_REACHED',
  ])
  t.end()
})

t.test('values are shown as their readers think of them', t => {
  const cases: readonly (readonly [string, AvpItem, readonly string[]])[] = [
    ['a moment is UTC', ['Event-Timestamp', 1_768_478_400], ['Event-Timestamp 1768478400 2026-01-15T12:00:00Z']],
    ['a duration has its unit', ['Validity-Time', 7200], ['Validity-Time 7200 (2 h)']],
    ['a short one says nothing twice', ['Validity-Time', 59], ['Validity-Time 59']],
    ['an address', ['PDP-Address', '2001:db8::7'], ['PDP-Address 2001:db8::7']],
    ['octets that are text', ['3GPP-NSAPI', Buffer.from('5')], ['3GPP-NSAPI "5"']],
    ['octets that are none', ['3GPP-RAT-Type', Buffer.of(6)], ['3GPP-RAT-Type 06 EUTRAN']],
    ['nothing', ['3GPP-NSAPI', Buffer.alloc(0)], ['3GPP-NSAPI (empty)']],
    ['an AVP that no dictionary has', ['999999:10415', Buffer.of(1, 2)], ['AVP 999999 of vendor 10415 0102']],
    [
      'money is a decimal',
      ['CC-Money', [['Unit-Value', [['Value-Digits', 1234n], ['Exponent', -2]]], ['Currency-Code', 978]]], // prettier-ignore
      ['CC-Money', 'Unit-Value 12.34', 'Value-Digits 1234', 'Exponent -2', 'Currency-Code 978 EUR'],
    ],
    [
      'a text cannot steer a terminal, nor make a line',
      ['User-Name', 'a\u001b[31m\nb\u202e'],
      ['User-Name a\\u{1b}[31m\\u{a}b\\u{202e}'],
    ],
  ]
  for (const [name, avp, expected] of cases)
    t.same(
      linesOf(avp).map(line => line.trim().replace(/ {2,}/g, ' ')),
      expected,
      name,
    )
  t.end()
})

t.test('digits and exponent are a decimal', t => {
  for (const [digits, exponent, expected] of [
    [1234n, -2, '12.34'],
    [-5n, -3, '-0.005'],
    [5n, 2, '500'],
    [0n, 0, '0'],
    [1n, 19, undefined],
    [1n, -2_000_000_000, undefined],
  ] as const)
    t.equal(decimal(digits, exponent), expected)
  t.end()
})

t.test('JSON has names beside numbers, and no number that JSON would bend', t => {
  const octets = encodeTree(dictionary, {
    command: 'CCR',
    hopByHop: 7,
    endToEnd: 8,
    avps: [
      ['CC-Request-Type', 1],
      ['Used-Service-Unit', [['CC-Total-Octets', 2n ** 60n]]],
      ['PDP-Address', '192.0.2.1'],
      ['3GPP-RAT-Type', Buffer.of(6)],
    ],
  })
  t.same(printer.json(octets), {
    ...{ command: 'CCR', flags: 'RP--', applicationId: 4, hopByHop: 7, endToEnd: 8, octets: octets.length },
    avps: [
      { avp: 'CC-Request-Type', value: 1, name: 'INITIAL_REQUEST' },
      { avp: 'Used-Service-Unit', value: [{ avp: 'CC-Total-Octets', value: '1152921504606846976' }] },
      { avp: 'PDP-Address', value: '192.0.2.1' },
      { avp: '3GPP-RAT-Type', value: '06' },
    ],
  })
  t.end()
})

t.test('whatever the octets are, a block is printable lines, and JSON is a DiameterError at worst', t => {
  fc.assert(
    fc.property(
      fc.constantFrom('C01', 'C05', 'C09'),
      fc.array(fc.tuple(fc.nat(800), fc.nat(255)), { maxLength: 20 }),
      (id, changes) => {
        const octets = Buffer.from(vector(id))
        for (const [at, value] of changes) if (at < octets.length) octets[at] = value
        for (const line of printer.block(passage, octets)) if (printable(line) !== line) return false
        try {
          JSON.stringify(printer.json(octets))
        } catch (error) {
          return error instanceof DiameterError
        }
        return true
      },
    ),
    { seed, numRuns: 500 },
  )
  t.end()
})
