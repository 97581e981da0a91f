/**
 * What tshark says of Diameter messages, and the same of our decoder, so that the two can be compared.
 */
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import type { AvpTree } from '../../src/diameter/tree.js'
import { pcapOf } from './pcap.js'
import type { WireMessage } from './wire.js'

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
    if (/Expert Info|Malformed|Unknown|[Bb]ug|Status: Bad/.test(line)) frame.faults.push(line.trim())
  }
  return frame
}

/** The same of our decoder; a value is left out where the two print it differently. */
export function flat(avps: readonly AvpTree[], depth = 0): Partial<FlatAvp>[] {
  return avps.flatMap(({ code, name, value }) => [
    {
      ...{ depth, code },
      ...(name.includes(':') ? {} : { name }),
      ...(typeof value === 'object' ? {} : { value: String(value) }),
    },
    ...(Array.isArray(value) ? flat(value, depth + 1) : []),
  ])
}

/** Of `DIAMETER_SUCCESS (2001)` the number counts, of a time the Unix seconds. */
function numberOf(theirs: string, ours: string): string {
  if (!/^-?\d+$/.test(ours)) return theirs
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
