/** Framing: BASE-003 to 006, reliability of memory. The streams of the reference are in vectors.test.ts. */
import t from 'tap'
import { DiameterError } from '../../src/diameter/errors.js'
import { Framer } from '../../src/diameter/frame.js'
import { vector } from '../support/vectors.js'

const message = (octets: number): Buffer => {
  const made = Buffer.alloc(octets, 7)
  made.writeUInt32BE(0x01000000 | octets, 0)
  return made
}

t.test('messages of one chunk are views of it; only the cut one is copied', t => {
  const chunk = Buffer.concat([vector('B07'), vector('C01'), vector('C01').subarray(0, 700)])
  const framer = new Framer(4096)
  const got: Buffer[] = []
  framer.push(chunk, each => got.push(each))
  t.equal(got.length, 2)
  for (const each of got) t.equal(each.buffer, chunk.buffer)
  t.equal(framer.pending, 700)
  framer.push(vector('C01').subarray(700), each => got.push(each))
  t.ok(got[2]!.equals(vector('C01')))
  t.not(got[2]!.buffer, chunk.buffer)
  t.equal(framer.pending, 0)
  t.end()
})

t.test('a length that cannot be followed ends the stream, after the messages before it, at its fourth octet', t => {
  for (const length of [0, 16, 19, 21, 22, 4100, 0xffffff]) {
    const bad = message(20)
    bad.writeUIntBE(length, 1, 3)
    const got: Buffer[] = []
    const framer = new Framer(4096)
    t.throws(() => framer.push(Buffer.concat([message(24), bad]), each => got.push(each)), {
      resultCode: 5015,
      message: `Message Length ${length} is not a multiple of 4 from 20 to 4096`,
    })
    t.equal(got.length, 1)
    const slow = new Framer(4096)
    for (let i = 0; i < 3; i++) slow.push(bad.subarray(i, i + 1), () => t.fail('no message'))
    t.throws(() => slow.push(bad.subarray(3, 4), () => t.fail('no message')), DiameterError, 'nothing is kept for it')
  }
  const longest = new Framer(4096)
  longest.push(message(4096), each => t.equal(each.length, 4096))
  longest.push(message(20), each => t.equal(each.length, 20))
  t.end()
})

t.test('who returns false gets no more of this chunk', t => {
  const framer = new Framer(4096)
  let got = 0
  const stop = (): boolean => ++got < 2
  framer.push(Buffer.concat([message(20), message(24), message(28)]), stop)
  t.equal(got, 2)
  const cut = new Framer(4096)
  got = 1
  cut.push(message(20).subarray(0, 5), stop)
  cut.push(Buffer.concat([message(20).subarray(5), message(24)]), stop)
  t.equal(got, 2)
  t.end()
})

t.test('an empty chunk changes nothing', t => {
  const framer = new Framer(4096)
  framer.push(Buffer.alloc(0), () => t.fail('no message'))
  framer.push(message(20).subarray(0, 2), () => t.fail('no message'))
  framer.push(Buffer.alloc(0), () => t.fail('no message'))
  t.equal(framer.pending, 2)
  framer.push(message(20).subarray(2), each => t.equal(each.length, 20))
  t.equal(framer.pending, 0)
  t.end()
})
