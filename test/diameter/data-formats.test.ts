/** RFC 6733 sections 4.2 and 4.3: values and octets; BASE-026, 030, 031, 032. */
import t from 'tap'
import {
  addressOctets,
  addressText,
  dataFormats,
  dataTypeNames,
  readTime,
  sizeOf,
} from '../../src/diameter/data-formats.js'
import { encodeAvp, type AvpInput } from '../../src/diameter/tree.js'
import { dictionary } from '../support/vectors.js'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

t.test('Time counts from 1900 until 2036-02-07 06:28:16 UTC, and from then on again', t => {
  for (const [ntp, iso] of [
    ['ed135540', '2026-01-15T12:00:00.000Z'],
    ['80000000', '1968-01-20T03:14:08.000Z'],
    ['ffffffff', '2036-02-07T06:28:15.000Z'],
    ['00000000', '2036-02-07T06:28:16.000Z'],
    ['7fffffff', '2104-02-26T09:42:23.000Z'],
  ] as const) {
    const seconds = readTime(hex(ntp), 0)
    t.equal(new Date(seconds * 1000).toISOString(), iso)
    t.equal(encodeAvp(dictionary, 'Event-Timestamp', seconds).toString('hex', 8), ntp, 'and back')
    t.equal(encodeAvp(dictionary, 'Event-Timestamp', new Date(iso)).toString('hex', 8), ntp, 'from a Date')
  }
  t.end()
})

t.test('64-bit integers are exact', t => {
  const read = (type: 'Unsigned64' | 'Integer64', text: string): unknown => dataFormats[type].read(hex(text), 0, 8)
  t.equal(read('Unsigned64', 'ffffffffffffffff'), 2n ** 64n - 1n)
  t.equal(read('Unsigned64', '0020000000000001'), 2n ** 53n + 1n)
  t.equal(read('Unsigned64', '001fffffffffffff'), 2n ** 53n - 1n)
  t.equal(read('Unsigned64', '0000000100000000'), 2n ** 32n)
  t.equal(read('Integer64', 'ffffffffffffffff'), -1n)
  t.equal(read('Integer64', '8000000000000000'), -(2n ** 63n))
  t.equal(read('Integer64', '7fffffffffffffff'), 2n ** 63n - 1n)
  t.end()
})

t.test('an Address is text for people and octets for the wire', t => {
  const cases: [string, string, string][] = [
    ['192.0.2.1', '0001c0000201', '192.0.2.1'],
    ['2001:db8::1', '000220010db8000000000000000000000001', '2001:db8::1'],
    ['::', `0002${'00'.repeat(16)}`, '::'],
    ['::1', `0002${'00'.repeat(15)}01`, '::1'],
    ['fe80::', `0002fe80${'00'.repeat(14)}`, 'fe80::'],
    ['2001:0:0:1:0:0:0:1', '000220010000000000010000000000000001', '2001:0:0:1::1'],
    ['1:2:3:4:5:6:7:8', '000200010002000300040005000600070008', '1:2:3:4:5:6:7:8'],
    ['1:0:3:4:5:6:7:8', '000200010000000300040005000600070008', '1:0:3:4:5:6:7:8'],
    ['::ffff:192.0.2.1', '000200000000000000000000ffffc0000201', '::ffff:c000:201'],
  ]
  for (const [text, octets, shown] of cases) {
    t.equal(addressOctets(text)?.toString('hex'), octets, text)
    t.equal(addressText(hex(octets)), shown, shown)
  }
  t.equal(addressText(hex('0008313233')), '8:313233', 'another family')
  t.equal(addressText(hex('0001c00002')), '1:c00002', 'too short')
  t.equal(addressText(hex('00')), '-1:')
  for (const text of ['', 'localhost', '1.2.3', 'fe80::1%eth0', '1::2::3'])
    t.equal(addressOctets(text), undefined, text)
  t.end()
})

t.test('legal texts and addresses are told from others', t => {
  const legal = (type: 'UTF8String' | 'DiameterIdentity' | 'Address', octets: Buffer): boolean =>
    dataFormats[type].legal(octets, 0, octets.length)
  t.ok(legal('UTF8String', Buffer.from('grüße 😀')))
  t.notOk(legal('UTF8String', hex('c328')))
  t.notOk(legal('UTF8String', hex('eda080')), 'a surrogate')
  t.notOk(legal('UTF8String', hex('61f0')), 'cut')
  t.ok(legal('DiameterIdentity', Buffer.from('a.example')))
  for (const wrong of ['ä.example', 'a example', 'a.example\n', 'a\u0000.example'])
    t.notOk(legal('DiameterIdentity', Buffer.from(wrong)), JSON.stringify(wrong))
  t.ok(legal('Address', hex('0001c0000201')))
  t.notOk(legal('Address', hex('0001c000020100')))
  t.notOk(legal('Address', hex('0002c0000201')))
  t.notOk(legal('Address', hex('00')))
  t.ok(legal('Address', hex('0008313233')))
  t.end()
})

t.test('every type has a size, or none', t => {
  t.same(
    Object.fromEntries(dataTypeNames.map(name => [name, sizeOf(name)])),
    Object.assign(Object.fromEntries(dataTypeNames.map(name => [name, -1])), {
      ...{ Integer32: 4, Unsigned32: 4, Enumerated: 4, Time: 4, Float32: 4 },
      ...{ Integer64: 8, Unsigned64: 8, Float64: 8 },
    }),
  )
  t.equal(dataFormats.Float32.read(hex('3fc00000'), 0, 4), 1.5)
  t.equal(dataFormats.Float64.read(hex('3ff8000000000000'), 0, 8), 1.5)
  t.end()
})

t.test('a value that does not fit its AVP is refused with what would fit', t => {
  const cases: [string, AvpInput, RegExp][] = [
    ['Rating-Group', -1, /Rating-Group is Unsigned32: give it a whole number from 0 to 4294967295, not -1/],
    ['Rating-Group', 2 ** 32, /not 4294967296/],
    ['Rating-Group', 1.5, /not 1.5/],
    ['Rating-Group', 'ten', /not a string/],
    ['Exponent', 2n ** 31n, /from -2147483648 to 2147483647, not 2147483648/],
    ['CC-Total-Octets', 2n ** 64n, /from 0 to 18446744073709551615/],
    ['CC-Total-Octets', 2 ** 53, /CC-Total-Octets is Unsigned64/],
    ['CC-Request-Type', 'FIRST', /one of INITIAL_REQUEST, UPDATE_REQUEST, TERMINATION_REQUEST, EVENT_REQUEST/],
    ['Event-Timestamp', 'noon', /a Date or whole Unix seconds/],
    ['Host-IP-Address', 'localhost', /an IPv4 or IPv6 address, or octets/],
    ['Session-Id', 7, /a text, or octets, not 7/],
    ['Subscription-Id', 'x', /a list of AVPs/],
  ]
  for (const [name, value, message] of cases)
    t.throws(() => encodeAvp(dictionary, name, value), { name: 'TypeError', message })
  t.equal(encodeAvp(dictionary, 'Exponent', -2).toString('hex', 8), 'fffffffe')
  t.equal(encodeAvp(dictionary, 'CC-Request-Type', 9).toString('hex', 8), '00000009', 'tests need wrong values')
  t.equal(encodeAvp(dictionary, 'CC-Request-Type', 'EVENT_REQUEST').toString('hex'), '000001a04000000c00000004')
  t.equal(encodeAvp(dictionary, '65001:7', 'x', 0x40).toString('hex'), '0000fde9c000000d0000000778000000')
  t.end()
})
