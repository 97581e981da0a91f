/**
 * What tshark says of Diameter messages, and the same of our decoder, so that the two can be compared.
 */
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual, promisify } from 'node:util'
import type { Test } from 'tap'
import { FLAG, readHeader } from '../../src/diameter/header.js'
import { decodeTree, type AvpTree } from '../../src/diameter/tree.js'
import { pcapOf } from './pcap.js'
import { dictionary } from './vectors.js'
import type { Wire, WireMessage } from './wire.js'

/** An AVP as tshark prints it, those of groups after their group. */
export interface FlatAvp {
  readonly depth: number
  readonly code: number
  readonly name: string
  readonly value: string
}

/** What tshark says of a frame. */
export interface Frame {
  readonly faults: string[]
  /** It belongs to a request before. */
  answers: boolean
  readonly avps: FlatAvp[]
}

/** What tshark says of these, each a frame. */
export async function judged(t: Test, tshark: string, messages: readonly WireMessage[]): Promise<Frame[]> {
  const file = join(t.testdir({}), 'messages.pcap')
  writeFileSync(file, pcapOf(messages))
  const options = ['-n', '-r', file, '-V', '-o', 'tcp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE']
  const { stdout } = await promisify(execFile)(tshark, options, { maxBuffer: 2 ** 28 })
  const frames = stdout.split(/^(?=Frame \d+: )/m).map(frameOf)
  if (frames.length !== messages.length) throw new Error(`${frames.length} frames of ${messages.length} messages`)
  return frames
}

/** AVPs that RFC 8506 section 8 adds to those of RFC 4006: there are tsharks that do not know them, and then they read no further. */
const isNew = (code: number): boolean => code >= 653 && code <= 669
const unread = ({ code, name }: Partial<FlatAvp>): boolean => isNew(code!) && name === 'Unknown'
/** Trigger of TS 32.299 section 7.2.232: without a Trigger-Type it switches all of them off. */
const mayBeEmpty = 1264

function frameOf(text: string): Frame {
  const frame: Frame = { faults: [], answers: false, avps: [] }
  if (!/^Diameter Protocol$/m.test(text)) frame.faults.push('no Diameter in it')
  /** Indentation of the Failed-AVP that we are in. */
  let failed = Infinity
  for (const line of text.split('\n')) {
    const indent = line.search(/\S/)
    const avp = /^ +AVP: (.+?)\((\d+)\) l=\d+ f=\S+(?: vnd=\S+)?(?: val=(.*))?$/.exec(line)
    if (indent >= 0 && indent <= failed && avp) failed = avp[2] === '279' ? indent : Infinity
    if (avp) frame.avps.push({ depth: (indent - 4) / 8, code: Number(avp[2]), name: avp[1]!, value: avp[3] ?? '' })
    if (/^ +\[Request In: \d+\]$/.test(line)) frame.answers = true
    // An example of an AVP that is missing may be empty, and a wrong value comes back: RFC 6733 section 7.5.
    if (indent > failed && /Data is empty|[:=] ?Unknown \(\d+\)$/.test(line)) continue
    const last = frame.avps.at(-1)
    if (last && unread(last) && /Unknown(\(| AVP |$)/.test(line)) continue
    if (last?.code === mayBeEmpty && /Data is empty/.test(line)) continue
    if (/Expert Info|Malformed|Unknown|[Bb]ug|Status: Bad/.test(line)) frame.faults.push(line.trim())
  }
  return frame
}

/**
 * The same of our decoder; a value is left out where the two print it differently.
 *
 * @param theirs what tshark read: an AVP that it does not know has no name and no members here either
 */
export function flat(avps: readonly AvpTree[], theirs: readonly FlatAvp[] = [], depth = 0): Partial<FlatAvp>[] {
  const skipped = new Set(theirs.filter(unread).map(({ code }) => code))
  return avps.flatMap(({ code, name, value }) => [
    {
      ...{ depth, code },
      ...(name.includes(':') || skipped.has(code) ? {} : { name }),
      ...(typeof value === 'object' || skipped.has(code) ? {} : { value: String(value) }),
    },
    ...(Array.isArray(value) && !skipped.has(code) ? flat(value, theirs, depth + 1) : []),
  ])
}

/** Of `DIAMETER_SUCCESS (2001)` the number counts, of a time the Unix seconds; 3GPP-Charging-Id is four octets to tshark. */
function numberOf(theirs: string, ours: string): string {
  if (!/^-?\d+$/.test(ours)) return theirs
  if (/^[\da-f]{8}$/.test(theirs) && Number.parseInt(theirs, 16) === Number(ours)) return ours
  const time = /^(\w{3} +\d+, \d{4} \d\d:\d\d:\d\d)\.0+ UTC$/.exec(theirs)
  return time ? String(Date.parse(`${time[1]!} UTC`) / 1000) : (/ \((-?\d+)\)$/.exec(theirs)?.[1] ?? theirs)
}

/** What ours does not say is not compared. */
export const comparable = (theirs: readonly FlatAvp[], ours: readonly Partial<FlatAvp>[]): Partial<FlatAvp>[] =>
  theirs.map(({ depth, code, name, value }, i) => ({
    ...{ depth, code },
    ...(ours[i]?.name === undefined ? {} : { name }),
    ...(ours[i]?.value === undefined ? {} : { value: numberOf(value, ours[i].value) }),
  }))

/** A message that a server sent, as tshark reads it. */
export interface Judged {
  readonly command: number
  readonly request: boolean
  readonly frame: Frame
}

/**
 * Lets tshark judge all that servers sent over these wires: nothing malformed, nothing unknown, each answer belongs to a
 * request, and the AVPs are those that our decoder reads.
 */
export async function judgeServers(t: Test, tshark: string, wires: readonly Wire[]): Promise<Judged[]> {
  const messages = wires.flatMap((wire, i) => wire.messages.map(m => ({ ...m, connection: 100 * i + m.connection })))
  const frames = await judged(t, tshark, messages)
  const sent: Judged[] = []
  messages.forEach(({ connection, from, octets }, i) => {
    if (from !== 'server') return
    const frame = frames[i]!
    const { flags, hopByHop, commandCode } = readHeader(octets)
    const name = `frame ${i + 1}, command ${commandCode}: ${octets.toString('hex')}`
    if (frame.faults.length > 0) t.fail(`${name}: ${frame.faults.join('; ')}`)
    // To tshark no request is what has the E bit or another version.
    const request = messages.find(
      each => each.connection === connection && each.from === 'client' && isRequest(each.octets, hopByHop),
    )
    const isAnswer = (flags & FLAG.REQUEST) === 0
    if (isAnswer && request?.octets[0] === 1 && (request.octets[4]! & FLAG.ERROR) === 0 && !frame.answers)
      t.fail(`${name}: the answer belongs to no request`)
    const ours = flat(decodeTree(dictionary, octets).avps, frame.avps)
    const theirs = comparable(frame.avps, ours)
    if (!isDeepStrictEqual(theirs, ours)) t.strictSame(theirs, ours, name)
    sent.push({ command: commandCode, request: !isAnswer, frame })
  })
  return sent
}

function isRequest(octets: Buffer, hopByHop: number): boolean {
  const header = readHeader(octets)
  return (header.flags & FLAG.REQUEST) !== 0 && header.hopByHop === hopByHop
}
