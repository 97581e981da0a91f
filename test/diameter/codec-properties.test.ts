/** What holds for all messages: RFC 6733 sections 3 and 4. fast-check prints seed and counterexample; SEED sets the seed. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { AvpDefinition } from '../../src/diameter/dictionary.js'
import { DiameterError } from '../../src/diameter/errors.js'
import { Framer } from '../../src/diameter/frame.js'
import { readMessage } from '../../src/diameter/message.js'
import { decodeTree, encodeTree, readTree, type AvpItem, type AvpTree, type AvpValue } from '../../src/diameter/tree.js'
import { avpOctets, Writer } from '../../src/diameter/writer.js'
import { seed } from '../support/seed.js'
import { shapeOfAll } from '../support/shapes.js'
import { dictionary } from '../support/vectors.js'

const limits = { depth: 16, avps: 4096 }
t.comment(`seed ${seed}`)
function check<T extends [unknown, ...unknown[]]>(t: Test, property: fc.IProperty<T>, numRuns: number): void {
  fc.assert(property, { seed, numRuns })
  t.pass(`${numRuns} cases`)
  t.end()
}

const octets = fc.uint8Array({ maxLength: 40 }).map(array => Buffer.from(array))
const ascii = fc.string({ unit: 'binary-ascii', maxLength: 70 })
const u32 = fc.nat({ max: 2 ** 32 - 1 })

/** A legal value of an AVP that is not a group. */
function valueOf(avp: AvpDefinition): fc.Arbitrary<AvpValue> {
  switch (avp.type) {
    case 'Unsigned32':
      return u32
    case 'Integer32':
      return fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
    case 'Enumerated':
      return avp.enums ? fc.constantFrom(...avp.enums.keys()) : fc.integer()
    case 'Time': // 1968-01-20 to 2104-02-26: both eras
      return fc.integer({ min: 0x80000000 - 2208988800, max: 0x17fffffff - 2208988800 })
    case 'Unsigned64':
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
    case 'Integer64':
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    case 'Float32':
    case 'Float64':
      return fc.float({ noNaN: true })
    case 'DiameterURI':
      return fc
        .tuple(fc.constantFrom('aaa', 'aaas'), fc.domain(), fc.integer({ min: 1, max: 65_535 }))
        .map(([scheme, host, port]) => `${scheme}://${host}:${port}`)
    case 'UTF8String':
      return fc.oneof(ascii, fc.string({ unit: 'grapheme', maxLength: 70 }))
    case 'Address':
      return fc
        .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
        .map(address => Buffer.from([0, address.length === 4 ? 1 : 2, ...address]))
    case 'OctetString':
      return octets
    case 'DiameterIdentity':
      return fc.stringMatching(/^[!-~]{1,70}$/)
    default:
      return ascii
  }
}

const groups = dictionary.avps.filter(({ type, name }) => type === 'Grouped' && name !== 'Failed-AVP')
const plain = dictionary.avps.filter(({ type }) => type !== 'Grouped')

/** A tree that some peer could send; grammars are not kept. */
const avpTree: fc.Arbitrary<AvpTree> = fc.letrec<{ avp: AvpTree }>(tie => ({
  avp: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    fc
      .constantFrom(...plain)
      .chain(avp => fc.record({ avp: fc.constant(avp), value: valueOf(avp), mandatory: fc.boolean() }))
      .map(({ avp, value, mandatory }) => treeOf(avp, value, mandatory)),
    fc
      .record({
        code: fc.integer({ min: 60_000_000, max: 60_000_009 }),
        vendorId: fc.constantFrom(0, 10415, 7),
        value: octets,
      })
      .map(({ code, vendorId, value }) => ({
        ...{ name: `${code}:${vendorId}`, code, vendorId, value },
        flags: vendorId === 0 ? 0 : 0x80,
      })),
    fc
      .record({
        avp: fc.constantFrom(...groups),
        value: fc.array(tie('avp'), { maxLength: 5 }),
        mandatory: fc.boolean(),
      })
      .map(({ avp, value, mandatory }) => treeOf(avp, value, mandatory)),
  ),
})).avp

const treeOf = ({ name, code, vendorId }: AvpDefinition, value: AvpValue, mandatory: boolean): AvpTree => ({
  ...{ name, code, vendorId, value },
  flags: (vendorId === 0 ? 0 : 0x80) | (mandatory ? 0x40 : 0),
})

t.test('encode, then decode, is the identity; and the octets are as long as their header says', t => {
  check(
    t,
    fc.property(fc.array(avpTree, { maxLength: 12 }), u32, u32, (avps, hopByHop, endToEnd) => {
      const message = encodeTree(dictionary, { command: 'CCR', hopByHop, endToEnd, avps })
      const decoded = decodeTree(dictionary, message)
      assert.deepStrictEqual(decoded.avps, avps)
      const own = { version: 1, length: message.length, flags: 0xc0, commandCode: 272, applicationId: 4 }
      assert.deepEqual(decoded.header, { ...own, hopByHop, endToEnd })
      assert.equal(message.length % 4, 0)
      assert.ok(encodeTree(dictionary, decoded).equals(message))
    }),
    1500,
  )
})

t.test('names and values alone give the same octets', t => {
  const itemOf = ({ name, value, flags }: AvpTree): AvpItem => [
    name,
    Array.isArray(value) ? value.map(itemOf) : value,
    flags,
  ]
  check(
    t,
    fc.property(fc.array(avpTree, { maxLength: 12 }), avps => {
      const rest = { command: 'CCA', hopByHop: 1, endToEnd: 2 }
      const [one, other] = [
        encodeTree(dictionary, { ...rest, avps }),
        encodeTree(dictionary, { ...rest, avps: avps.map(itemOf) }),
      ]
      assert.ok(one.equals(other))
    }),
    500,
  )
})

t.test('frames do not depend on how TCP cut the octets', t => {
  const message = fc.uint8Array({ maxLength: 300 }).map(body => {
    const octets = Buffer.alloc(20 + ((body.length + 3) & ~3), 1)
    octets.set(body, 20)
    octets.writeUIntBE(octets.length, 1, 3)
    return octets
  })
  check(
    t,
    fc.property(
      fc.array(message, { maxLength: 20 }),
      fc.array(fc.nat({ max: 700 }), { maxLength: 60 }),
      (messages, sizes) => {
        const stream = Buffer.concat(messages)
        const framer = new Framer(1024)
        const got: Buffer[] = []
        let at = 0
        for (const size of [...sizes, stream.length]) {
          framer.push(stream.subarray(at, at + size), each => got.push(each))
          at = Math.min(at + size, stream.length)
        }
        assert.deepEqual(got, messages)
        assert.equal(framer.pending, 0)
      },
    ),
    1500,
  )
})

t.test('random octets are a message, or a DiameterError, and nothing else', t => {
  const attempt = (work: () => unknown): void => {
    try {
      work()
    } catch (error) {
      if (!(error instanceof DiameterError)) throw error
      if (error.failedAvp) assert.equal(error.failedAvp.length % 4, 0)
    }
  }
  const some = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map(array => Buffer.from(array)),
    // AVPs of random content behind a header, so that some get further.
    fc
      .array(fc.record({ avp: fc.constantFrom(...dictionary.avps), data: octets, flags: fc.nat({ max: 255 }) }))
      .map(avps =>
        Buffer.concat([
          Buffer.alloc(20, 1),
          ...avps.map(({ avp, data, flags }) => avpOctets(avp.code, data, avp.vendorId, flags & 0x7f)),
        ]),
      ),
  )
  check(
    t,
    fc.property(some, message => {
      attempt(() => decodeTree(dictionary, message))
      attempt(() => readTree(dictionary, message, limits))
      attempt(() => readMessage(shapeOfAll('CCR'), message, limits))
      attempt(() => new Framer(4096).push(message, () => undefined))
    }),
    3000,
  )
})

t.test('a writer gives the same octets whatever the size of its slab, and never touches what it gave', t => {
  check(
    t,
    fc.property(
      fc.array(fc.record({ text: fc.string({ unit: 'grapheme', maxLength: 80 }), data: octets, number: u32 }), {
        maxLength: 12,
      }),
      fc.integer({ min: 24, max: 400 }),
      (parts, slab) => {
        const pieces = [slab, 65_536].map(size => {
          const writer = new Writer(size)
          const taken: Buffer[] = []
          const copies: Buffer[] = []
          for (const { text, data, number } of parts) {
            writer.message(0x40, 272, 4, number, number)
            const outer = writer.group(456)
            writer.text(263, text)
            const inner = writer.group(873, 10415)
            writer.octets(25, data)
            writer.end(inner)
            writer.u64(421, BigInt(number) << 32n)
            writer.end(outer)
            writer.ready(avpOctets(1, data, 7))
            writer.endMessage()
            if (number % 2 === 0) {
              assert.ok(writer.pending > 0)
              const piece = writer.take()
              taken.push(piece)
              copies.push(Buffer.from(piece))
            }
          }
          taken.push(writer.take())
          copies.forEach((copy, i) => assert.ok(copy.equals(taken[i]!)))
          return Buffer.concat(taken)
        })
        assert.ok(pieces[0]!.equals(pieces[1]!))
      },
    ),
    500,
  )
})
