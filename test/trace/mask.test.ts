/** What a trace shows of people, and what it does not. */
import fc from 'fast-check'
import t from 'tap'
import { decodeTree, encodeTree, type AvpItem, type AvpTree } from '../../src/diameter/tree.js'
import { masked } from '../../src/trace/mask.js'
import { dictionary, vector } from '../support/vectors.js'
import { seed } from '../support/seed.js'

const subscriptionId = (type: number, data: string): AvpItem => [
  'Subscription-Id',
  [
    ['Subscription-Id-Type', type],
    ['Subscription-Id-Data', data],
  ],
]

/** A call with two people in it: 491701000001 pays, 491709999999 is called. */
const call: readonly AvpItem[] = [
  ['Session-Id', 'ims1.example.net;491709999999;1'],
  ['Origin-Host', 'ims1.example.net'],
  subscriptionId(0, '491701000001'),
  subscriptionId(1, '262011701000001'),
  ['User-Name', 'anna@ims.example'],
  ['User-Equipment-Info', [['User-Equipment-Info-Type', 0], ['User-Equipment-Info-Value', Buffer.from('3512345678901230')]]], // prettier-ignore
  [
    'Service-Information',
    [
      [
        'PS-Information',
        [
          ['PDP-Address', '10.45.0.7'],
          ['Called-Station-Id', 'internet'],
          ['3GPP-User-Location-Info', Buffer.from('8232f451000132f45100000101', 'hex')],
        ],
      ],
      [
        'IMS-Information',
        [
          ['Calling-Party-Address', 'tel:+491701000001'],
          ['Called-Party-Address', 'tel:+491709999999'],
          ['Role-Of-Node', 0],
        ],
      ],
    ],
  ],
  ['999999:10415', Buffer.from('491701000001')],
]

const encoded = (avps: readonly AvpItem[]): Buffer =>
  encodeTree(dictionary, { command: 'CCR', hopByHop: 1, endToEnd: 2, avps })

/** Values by name, octets as text or hex. */
function valuesOf(octets: Buffer): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  const walk = (avps: readonly AvpTree[]): void => {
    for (const { name, value } of avps) {
      if (Array.isArray(value)) walk(value)
      else values[name] = Buffer.isBuffer(value) ? value.toString('latin1') : value
    }
  }
  walk(decodeTree(dictionary, octets).avps)
  return values
}

t.test('of nobody who is traced, nothing is shown that says who he is', t => {
  const octets = masked(dictionary, encoded(call), undefined)
  for (const secret of ['4917010000', '2620117010000', '491709999', 'anna', '351234567890'])
    t.notOk(octets.toString('latin1').includes(secret), `${secret} is nowhere`)
  t.match(valuesOf(octets), {
    'Origin-Host': 'ims1.example.net',
    'Subscription-Id-Type': 1,
    'Subscription-Id-Data': '*************01',
    'User-Name': '**************le',
    'PDP-Address': '\0\u0001\0\0\0\0',
    'Called-Station-Id': 'internet',
    '3GPP-User-Location-Info': '\0'.repeat(13),
    'Called-Party-Address': '***************99',
    'Role-Of-Node': 0,
    '999999:10415': '**********01',
  })
  t.end()
})

t.test('of the subscriber who is traced all is shown, but not whom he calls', t => {
  const values = valuesOf(masked(dictionary, encoded(call), ['491701000001', '262011701000001']))
  t.match(values, {
    'Subscription-Id-Data': '262011701000001',
    'User-Name': 'anna@ims.example',
    'User-Equipment-Info-Value': '3512345678901230',
    'Calling-Party-Address': 'tel:+491701000001',
    'Called-Party-Address': '***************99',
    '999999:10415': '491701000001',
  })
  t.end()
})

t.test('what is hidden in one place is hidden wherever the message repeats it', t => {
  const octets = masked(
    dictionary,
    encoded([['Session-Id', 'pgw;262011701000001;7'], subscriptionId(1, '262011701000001')]),
    undefined,
  )
  t.match(valuesOf(octets), { 'Session-Id': 'pgw;*************01;7' })
  t.end()
})

t.test('a message made to be slow to mask is masked all the same: groups in groups, names without number', t => {
  const deep = encoded([['Session-Id', 's']])
  for (const [what, groups] of [
    ['deep', 130_000],
    ['as deep as can be shown', 32],
  ] as const) {
    const nested = Buffer.alloc(groups * 8 + 24)
    for (let i = 0; i < groups; i++) avpHeader(nested, i * 8, 284, nested.length - i * 8)
    avpHeader(nested, groups * 8, 1, 24)
    nested.write('4917099999990000', groups * 8 + 8)
    const octets = masked(dictionary, Buffer.concat([deep, nested]), undefined)
    t.notOk(octets.includes('491709999999'), `${what}: what is in it is hidden`)
  }
  const names = Buffer.alloc(16 * 500)
  for (let i = 0; i < 500; i++) {
    avpHeader(names, i * 16, 1, 16)
    names.write(String(10_000_000 + i), i * 16 + 8)
  }
  const octets = masked(dictionary, Buffer.concat([encoded([['Session-Id', 'pgw;10000007;7']]), names]), undefined)
  t.match(valuesOf(octets), { 'Session-Id': '************;7', 'User-Name': '******99' }, 'it is not searched for each')
  t.end()
})

function avpHeader(octets: Buffer, at: number, code: number, length: number): void {
  octets.writeUInt32BE(code, at)
  octets.writeUInt32BE(length, at + 4)
}

t.test('a masked message is as long as it was, has the same AVPs, and the given one is as it was', t => {
  fc.assert(
    fc.property(
      fc.constantFrom('C01', 'C02', 'C05', 'C09', 'C12'),
      fc.array(fc.tuple(fc.nat(800), fc.nat(255)), { maxLength: 5 }),
      fc.option(fc.constant(['447700900123']), { nil: undefined }),
      (id, changes, shown) => {
        const octets = Buffer.from(vector(id))
        for (const [at, value] of changes) if (at >= 20 && at < octets.length) octets[at] = value
        const before = Buffer.from(octets)
        const after = masked(dictionary, octets, shown)
        return (
          after.length === octets.length &&
          octets.equals(before) &&
          after.subarray(0, 20).equals(octets.subarray(0, 20))
        )
      },
    ),
    { numRuns: 1000, seed },
  )
  const names = (octets: Buffer): string[] => decodeTree(dictionary, octets).avps.map(({ name }) => name)
  t.same(names(masked(dictionary, vector('C01'), undefined)), names(vector('C01')))
  t.end()
})
