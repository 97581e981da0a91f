/** What the Writer writes, octet by octet: RFC 6733 sections 3 and 4.1; BASE-003, 020, 022, 023. */
import t from 'tap'
import { decodeTree } from '../../src/diameter/tree.js'
import { avpOctets, Writer } from '../../src/diameter/writer.js'
import { checkRequestHeader, FLAG, readHeader } from '../../src/diameter/header.js'
import { dictionary, vector } from '../support/vectors.js'

t.test('each kind of AVP has its octets', t => {
  const cases: [string, (writer: Writer) => void][] = [
    ['000001b04000000c0000000a', writer => writer.u32(432, 10)],
    ['000001b04000000cffffffff', writer => writer.u32(432, 4294967295)],
    ['00000366c0000010000028af00000004', writer => writer.i32(870, 4, 10415)],
    ['00000366c0000010000028af00000004', writer => writer.i32(870, 4, 10415, 0xc0)],
    ['000001ad4000000cfffffffe', writer => writer.i32(429, -2)],
    ['000001a540000010ffffffffffffffff', writer => writer.u64(421, 2n ** 64n - 1n)],
    ['000001a540000010001fffffffffffff', writer => writer.u64(421, Number.MAX_SAFE_INTEGER)],
    ['000001bd40000010fffffffffffffffe', writer => writer.i64(445, -2)],
    ['000001bd400000108000000000000000', writer => writer.i64(445, -(2n ** 63n))],
    ['000000374000000ced135540', writer => writer.time(55, Date.parse('2026-01-15T12:00:00Z') / 1000)],
    ['000000374000000c00000000', writer => writer.time(55, Date.parse('2036-02-07T06:28:16Z') / 1000)],
    ['000001194000000961000000'.replace('40', '00'), writer => writer.text(281, 'a', 0, 0)],
    ['0000010740000008', writer => writer.text(263, '')],
    ['000001074000000ac3a90000', writer => writer.text(263, 'é')],
    ['000001074000000cf09f9880', writer => writer.text(263, '😀')],
    [`0000010740000083${'61'.repeat(123)}00`, writer => writer.text(263, 'a'.repeat(123))],
    [`000001074000004bc3a4${'61'.repeat(65)}00`, writer => writer.text(263, 'ä' + 'a'.repeat(65))],
    ['0000001940000009ff000000', writer => writer.octets(25, Buffer.from([255]))],
    ['00000016c000000e000028af82320000', writer => writer.octets(22, Buffer.from([0x82, 0x32]), 10415)],
    ['000001bb40000008', writer => writer.end(writer.group(443))],
    ['00000369c000000c000028af', writer => writer.end(writer.group(873, 10415))],
    ['0102030405', writer => writer.ready(Buffer.from([1, 2, 3, 4, 5]))],
    ['ab'.repeat(100), writer => writer.ready(Buffer.alloc(100, 0xab))],
  ]
  for (const [expected, write] of cases) {
    const writer = new Writer()
    write(writer)
    t.equal(writer.take().toString('hex'), expected)
  }
  t.end()
})

t.test('groups nest, messages follow each other, and all that was written goes out as one piece', t => {
  const writer = new Writer(64)
  for (const number of [1, 2]) {
    writer.message(FLAG.PROXIABLE, 272, 4, number, number + 100)
    writer.text(263, 'session')
    const mscc = writer.group(456)
    writer.u32(432, 10)
    const granted = writer.group(431)
    writer.u64(421, 5_000_000n)
    writer.end(granted)
    writer.u32(448, 3600)
    writer.end(mscc)
    writer.endMessage()
  }
  const octets = writer.take()
  t.equal(writer.pending, 0)
  const first = decodeTree(dictionary, octets.subarray(0, octets.length / 2))
  const second = decodeTree(dictionary, octets.subarray(octets.length / 2))
  t.match(first.header, { length: octets.length / 2, flags: 0x40, hopByHop: 1, endToEnd: 101 })
  t.match(second.header, { hopByHop: 2, endToEnd: 102 })
  t.same(second.avps, first.avps)
  t.match(first.avps, [
    { name: 'Session-Id', value: 'session' },
    {
      name: 'Multiple-Services-Credit-Control',
      value: [
        { name: 'Rating-Group', value: 10 },
        { name: 'Granted-Service-Unit', value: [{ name: 'CC-Total-Octets', value: 5_000_000n }] },
        { name: 'Validity-Time', value: 3600 },
      ],
    },
  ])
  t.end()
})

t.test('a message that was begun and dropped leaves nothing, also over the end of a slab', t => {
  const writer = new Writer(64)
  writer.message(0, 280, 0, 1, 1)
  writer.endMessage()
  writer.message(0, 272, 4, 2, 2)
  writer.group(456)
  writer.octets(25, Buffer.alloc(100))
  writer.dropMessage()
  writer.message(0, 282, 0, 3, 3)
  writer.endMessage()
  const octets = writer.take()
  t.equal(octets.length, 40)
  t.match([readHeader(octets), readHeader(octets, 20)], [{ commandCode: 280 }, { commandCode: 282 }])
  t.end()
})

t.test('a message longer than its length field can say is a fault of the program', t => {
  const writer = new Writer()
  writer.message(0, 272, 4, 1, 1)
  writer.ready(Buffer.alloc(1 << 24))
  t.throws(() => writer.endMessage(), /does not fit its 24-bit length/)
  t.end()
})

t.test('one AVP by itself has its padding', t => {
  t.equal(avpOctets(1, Buffer.from('abcde')).toString('hex'), '000000014000000d6162636465000000')
  t.equal(avpOctets(1, Buffer.alloc(0), 7, 0).toString('hex'), '000000018000000c00000007')
  t.end()
})

t.test('a request header is checked in this order: version, E bit, application, command', t => {
  const code = (change: (octets: Buffer) => void): number | string => {
    const octets = vector('C01')
    change(octets)
    try {
      return checkRequestHeader(readHeader(octets), dictionary, new Set([4])).abbreviation
    } catch (error) {
      return (error as { resultCode: number }).resultCode
    }
  }
  const version = (octets: Buffer): number => (octets[0] = 2)
  const error = (octets: Buffer): number => (octets[4]! |= FLAG.ERROR)
  const application = (octets: Buffer): number => octets.writeUInt32BE(16777238, 8)
  const command = (octets: Buffer): number => octets.writeUIntBE(9999, 5, 3)
  const all = [version, error, application, command]
  t.equal(
    code(() => undefined),
    'CCR',
  )
  t.equal(
    code(octets => all.forEach(change => change(octets))),
    5011,
  )
  t.equal(
    code(octets => all.slice(1).forEach(change => change(octets))),
    3008,
  )
  t.equal(
    code(octets => all.slice(2).forEach(change => change(octets))),
    3007,
  )
  t.equal(code(command), 3001)
  t.equal(
    code(octets => octets.writeUInt32BE(0, 8)),
    3001,
    'a CCR of application 0',
  )
  t.equal(
    code(octets => octets.writeUIntBE(275, 5, 3)),
    3001,
    "another application's command",
  )
  t.equal(
    code(octets => octets.writeUIntBE(257, 5, 3)),
    'CER',
    'the base protocol, whatever application',
  )
  t.equal(
    code(octets => (octets[4] = 0x8f)),
    'CCR',
    'BASE-007: reserved bits, and P clear',
  )
  t.end()
})
