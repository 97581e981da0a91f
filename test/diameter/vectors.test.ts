/** Every reference vector of base protocol, credit control, IMS and Sy: RFC 6733 sections 3, 4 and 7; BASE-001 to 062. */
import t from 'tap'
import { checkAuthApplicationId, checkRequestHeader, FLAG, readHeader } from '../../src/diameter/header.js'
import { cerShape, negotiate, readCer } from '../../src/diameter/capabilities.js'
import { addressText, type PlainValue } from '../../src/diameter/data-formats.js'
import { DiameterError } from '../../src/diameter/errors.js'
import { Framer } from '../../src/diameter/frame.js'
import { readMessage, shape } from '../../src/diameter/message.js'
import { decodeTree, encodeTree, readTree, type AvpTree, type MessageTree } from '../../src/diameter/tree.js'
import { dictionary, malformedVectors, recordings, streamVectors, validVectors, vector } from '../support/vectors.js'
import type { MalformedVector, VectorAvp } from '../support/vectors.js'

const limits = { depth: 16, avps: 4096 }
const served = new Set([4, 16777302])

/** Well formed, and yet answered with these Result-Codes. */
const refusedCers: Record<string, number> = { B03: 5010, B12: 5017 }

/** Nothing is wanted: everything is checked. */
class Nothing {
  nothing = 0
}

class Ccr {
  authApplicationId = 0
}

/** What a receiver does with a message: header, grammar, and the rules that the base protocol has beside it. */
function receive(octets: Buffer): void {
  const header = readHeader(octets)
  const isRequest = (header.flags & FLAG.REQUEST) !== 0
  const { command } = isRequest
    ? { command: checkRequestHeader(header, dictionary, served) }
    : decodeTree(dictionary, octets)
  if (!command) throw new Error('unknown answer')
  readMessage(shape(dictionary, command.name, Nothing, {}), octets, limits)
  if (command.abbreviation === 'CER') negotiate(readCer(cerShape(dictionary), octets, limits), served)
  if (command.abbreviation === 'CCR') {
    const ccr = shape(dictionary, 'CCR', Ccr, { authApplicationId: 'Auth-Application-Id' })
    checkAuthApplicationId(header, readMessage(ccr, octets, limits).authApplicationId)
  }
}

function errorOf(work: () => unknown): DiameterError | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    if (error instanceof DiameterError) return error
    throw error
  }
}

/** An AVP as the vectors print it. */
function printed(avp: AvpTree): object {
  const flags = (avp.flags & 0x80 ? 'V' : '') + (avp.flags & 0x40 ? 'M' : '')
  const { name, code, vendorId } = avp
  if (Array.isArray(avp.value)) return { name, code, vendorId, flags, avps: avp.value.map(printed) }
  return { name, code, vendorId, flags, value: printedValue(name, avp.value) }
}

function printedValue(name: string, value: PlainValue): string | number {
  const { type } = dictionary.avp(name)
  if (Buffer.isBuffer(value)) return type === 'Address' ? addressText(value) : value.toString('hex')
  if (typeof value === 'bigint') return value.toString()
  if (type === 'Time') return new Date(Number(value) * 1000).toISOString().replace('.000', '')
  return value
}

const expected = ({ name, code, vendor_id: vendorId, flags, value, avps }: VectorAvp): object =>
  avps ? { name, code, vendorId, flags, avps: avps.map(expected) } : { name, code, vendorId, flags, value }

t.test('a valid vector decodes to its tree, passes all checks, and encodes to the same octets', t => {
  for (const { id, title, octets, header, avps } of validVectors) {
    const tree = decodeTree(dictionary, octets)
    const { flags } = tree.header
    t.same(
      {
        length: tree.header.length,
        flags: { R: !!(flags & 0x80), P: !!(flags & 0x40), E: !!(flags & 0x20), T: !!(flags & 0x10) },
        command_code: tree.header.commandCode,
        application_id: tree.header.applicationId,
        hop_by_hop: tree.header.hopByHop,
        end_to_end: tree.header.endToEnd,
        version: tree.header.version,
        command: header.command,
      },
      { ...header, version: 1 },
      `${id} ${title}: header`,
    )
    t.same(tree.avps.map(printed), avps.map(expected), `${id}: AVPs`)
    t.ok(encodeTree(dictionary, tree).equals(octets), `${id}: the same octets again`)
    t.ok(encodeTree(dictionary, byName(tree)).equals(octets), `${id}: the same octets from names and values`)
    if (!refusedCers[id]) t.equal(errorOf(() => receive(octets))?.message, undefined, `${id}: passes`)
    t.equal(
      errorOf(() => readTree(dictionary, octets, limits)),
      undefined,
      `${id}: passes as a tree`,
    )
  }
  t.end()
})

/** The tree as somebody would write it who knows names only. */
function byName({ header, avps }: MessageTree): Parameters<typeof encodeTree>[1] {
  type Item = readonly [string, Exclude<AvpTree['value'], AvpTree[]> | readonly Item[], number]
  const item = ({ name, value, flags }: AvpTree): Item => [name, Array.isArray(value) ? value.map(item) : value, flags]
  const command = dictionary.command(header.commandCode, (header.flags & FLAG.REQUEST) !== 0)!
  return { ...header, command: command.abbreviation, avps: avps.map(item) }
}

t.test('CERs without common application or security are refused', t => {
  for (const [id, resultCode] of Object.entries(refusedCers)) {
    t.equal(errorOf(() => receive(vector(id)))?.resultCode, resultCode, id)
  }
  t.end()
})

/** What the credit-control application has to find out by itself. */
const leftToGy = new Set(['M40'])

t.test('a malformed vector gives its Result-Code and Failed-AVP, or passes where it should', t => {
  for (const { id, title, octets, expected_reaction: reaction } of malformedVectors) {
    if (reaction.action === 'close') {
      t.equal(
        errorOf(() => new Framer(1 << 20).push(octets, () => undefined))?.resultCode,
        5015,
        `${id} ${title}: closed`,
      )
      continue
    }
    const error = errorOf(() => receive(octets))
    if (reaction.action !== 'answer' || leftToGy.has(id)) {
      t.equal(error?.message, undefined, `${id} ${title}: processed`)
      continue
    }
    t.ok([reaction.result_code].flat().includes(error?.resultCode), `${id} ${title}: ${error?.resultCode}`)
    t.same(missingIn(error?.failedAvp, reaction), [], `${id}: Failed-AVP has what it should`)
    const isProtocolError = Math.trunc((error?.resultCode ?? 0) / 1000) === 3
    if (reaction.e_bit !== 'either') t.equal(isProtocolError, reaction.e_bit, `${id}: E bit`)
    // Header checks and those of one application are no part of the trees.
    if ((error?.resultCode ?? 0) < 5000 || ['M01', 'M29', 'M42', 'M43'].includes(id)) continue
    const asTree = errorOf(() => readTree(dictionary, octets, limits))
    t.same([asTree?.resultCode, asTree?.failedAvp], [error?.resultCode, error?.failedAvp], `${id}: the same as a tree`)
  }
  t.end()
})

/** The AVPs that a Failed-AVP should hold, bare or inside groups, and does not. */
function missingIn(failedAvp: Buffer | undefined, reaction: MalformedVector['expected_reaction']): object[] {
  const wanted = reaction.failed_avp ?? []
  if (wanted.length === 0) return []
  const header = Buffer.alloc(20)
  const flat: AvpTree[] = []
  const collect = (avps: readonly AvpTree[]): void => {
    for (const avp of avps) {
      flat.push(avp)
      if (Array.isArray(avp.value)) collect(avp.value)
    }
  }
  // M12 holds a partial header, padded with zeros, which is no AVP.
  const octets = Buffer.concat([header, failedAvp ?? Buffer.alloc(0)])
  if (octets.length === 28 && octets.readUInt32BE(24) === 0) octets[27] = 8
  collect(decodeTree(dictionary, octets).avps)
  const raw = ({ name, value, flags }: AvpTree): string => {
    const item = encodeTree(dictionary, {
      command: 'DWR',
      hopByHop: 0,
      endToEnd: 0,
      avps: [[name, value, flags]],
    })
    const from = flags & 0x80 ? 32 : 28
    return item.subarray(from, 20 + (item.readUInt32BE(24) & 0xffffff)).toString('hex')
  }
  return wanted.filter(
    ({ code, vendor_id: vendorId = 0, data }) =>
      !flat.some(avp => avp.code === code && avp.vendorId === vendorId && (data === undefined || raw(avp) === data)),
  )
}

t.test('the group path leads down to a nested fault', t => {
  const paths: Record<string, string> = { M21: '443>444', M22: '456>446>872', M24: '456>432', M35: '446>421' }
  for (const [id, path] of Object.entries(paths)) {
    const error = errorOf(() => receive(vector(id)))
    const codes: number[] = []
    for (let octets = error!.failedAvp!, at = 0; octets.length >= 8; octets = octets.subarray(at)) {
      codes.push(octets.readUInt32BE(0))
      at = octets[4]! & 0x80 ? 12 : 8
      if (dictionary.find(at === 12 ? octets.readUInt32BE(8) : 0, codes.at(-1)!)?.type !== 'Grouped') break
    }
    t.equal(codes.join('>'), path, id)
  }
  t.end()
})

t.test('a stream gives the same messages wherever TCP cuts it', t => {
  for (const { id, title, segments } of streamVectors) {
    const whole: Buffer[] = []
    new Framer(1 << 20).push(Buffer.concat(segments), message => whole.push(message))
    const cut: Buffer[] = []
    const framer = new Framer(1 << 20)
    for (const segment of segments) framer.push(segment, message => cut.push(message))
    t.same(cut, whole, `${id} ${title}`)
    t.ok(Buffer.concat(whole).equals(Buffer.concat(segments)), `${id}: nothing is lost`)
    t.equal(framer.pending, 0)
    for (const message of whole) t.equal(errorOf(() => receive(message))?.message, undefined, `${id}: passes`)
  }
  t.end()
})

t.test("a real SMF's messages decode with nothing unknown and nothing refused, and encode to the same octets", t => {
  for (const { scenario, name, octets } of recordings) {
    const tree = decodeTree(dictionary, octets)
    t.equal(errorOf(() => readTree(dictionary, octets, limits))?.message, undefined, `${scenario} ${name}: as a tree`)
    t.equal(
      errorOf(() => readMessage(shape(dictionary, tree.command!.name, Nothing, {}), octets, limits))?.message,
      undefined,
      `${scenario} ${name}: by shape`,
    )
    t.notMatch(
      JSON.stringify(tree.avps, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
      /"\d+:\d+"/,
    )
    t.ok(encodeTree(dictionary, tree).equals(octets), `${scenario} ${name}: the same octets again`)
  }
  t.end()
})
