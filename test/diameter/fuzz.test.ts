/**
 * FUZZ_FRAMES (a million when not set) generated and mutated frames through framer, header check, decoder and writer: each
 * is read or refused with a DiameterError; none crashes, and one that hangs ends the test.
 */
import t from 'tap'
import { DiameterError } from '../../src/diameter/errors.js'
import { Framer } from '../../src/diameter/frame.js'
import { checkRequestHeader, readHeader } from '../../src/diameter/header.js'
import { readMessage } from '../../src/diameter/message.js'
import { decodeTree, encodeTree } from '../../src/diameter/tree.js'
import { avpOctets } from '../../src/diameter/writer.js'
import { damaged, randomOf, type Random } from '../support/damage.js'
import { seed } from '../support/seed.js'
import { shapeOfAll } from '../support/shapes.js'
import { dictionary, malformedVectors, recordings, validVectors } from '../support/vectors.js'

const frames = Number(process.env['FUZZ_FRAMES'] ?? 1_000_000)
const limits = { depth: 16, avps: 512 }
const served = new Set([4, 16777302])
const bases = [...validVectors, ...malformedVectors, ...recordings].map(({ octets }) => octets)
const codes = dictionary.avps.map(({ code }) => code)
const commands = ['CCR', 'CER', 'DWR', 'DPR', 'RAA', 'ASA', 'SLR', 'SNA', 'STR'].map(name =>
  dictionary.commandByName(name),
)
for (const command of commands) shapeOfAll(command.name)

/** A frame of AVPs of the dictionary with random octets in them, groups inside groups. */
function generated(random: Random): Buffer {
  const command = commands[random(commands.length)]!
  const avps = (depth: number): Buffer =>
    Buffer.concat(
      Array.from({ length: random(5) }, () => {
        const avp = dictionary.avps[random(dictionary.avps.length)]!
        const inside = avp.type === 'Grouped' && depth < 20 ? avps(depth + 1) : undefined
        const data = inside ?? Buffer.alloc(random(3) === 0 ? random(20) : [0, 4, 8][random(3)]!, random(256))
        return avpOctets(avp.code, data, avp.vendorId, random(256) & 0x7f)
      }),
    )
  const body = Buffer.concat([Buffer.alloc(20), avps(0)])
  body.writeUInt32BE(0x01000000 | body.length, 0)
  body.writeUInt32BE((command.request ? 0xc0 : 0x40) * 2 ** 24 + command.code, 4)
  body.writeUInt32BE(command.applicationId, 8)
  return body
}

t.test(`${frames} frames crash nothing and hang nothing, seed ${seed}`, t => {
  const random = randomOf(seed)
  const outcomes = new Map<number, number>()
  const count = (resultCode: number): void => void outcomes.set(resultCode, (outcomes.get(resultCode) ?? 0) + 1)
  let slowestMs = 0
  let last: Buffer = Buffer.alloc(0)
  const receive = (message: Buffer): void => {
    const header = readHeader(message)
    const command =
      header.flags & 0x80
        ? checkRequestHeader(header, dictionary, served)
        : dictionary.command(header.commandCode, false)
    if (command) readMessage(shapeOfAll(command.name), message, limits)
  }
  let framer = new Framer(65_536)
  for (let i = 0; i < frames; i++) {
    last = random(4) === 0 ? generated(random) : damaged(bases[random(bases.length)]!, random, codes)
    const from = performance.now()
    try {
      // Now and then the length lies, or the chunk ends in the middle.
      if (random(50) === 0) last.writeUIntBE(random(2 ** 24), 1, 3)
      if (random(50) === 0) last = last.subarray(0, random(last.length))
      framer.push(last, receive)
      count(2001)
      // The other direction, for some: what decodes is encoded without complaint.
      if (i % 50 === 0 && last.length >= 20) encodeTree(dictionary, decodeTree(dictionary, last))
    } catch (error) {
      if (!(error instanceof DiameterError)) {
        t.fail(`${String(error)}\nframe ${i}: ${last.toString('hex')}`)
        throw error
      }
      count(error.resultCode)
      if (error.resultCode === 5015) framer = new Framer(65_536)
    }
    slowestMs = Math.max(slowestMs, performance.now() - from)
  }
  t.equal([...outcomes.values()].reduce((sum, each) => sum + each, 0) >= frames, true)
  t.comment(`slowest frame ${slowestMs.toFixed(1)} ms`)
  t.comment(JSON.stringify(Object.fromEntries([...outcomes].sort(([a], [b]) => a - b))))
  for (const resultCode of [2001, 3001, 3007, 3008, 5001, 5004, 5005, 5008, 5009, 5011, 5014, 5015]) {
    if (frames >= 100_000) t.ok(outcomes.has(resultCode), `${resultCode} was among the outcomes`)
  }
  t.end()
})
