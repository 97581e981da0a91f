/**
 * Diameter messages as a capture file that Wireshark and tshark open: classic pcap, raw IP packets, one TCP segment a message
 * (more where it is larger than a segment). Packets are made up around the messages: what matters is in them, and a TLS
 * connection is readable this way.
 */
import { isIPv6 } from 'node:net'
import type { Millis } from '../units.js'

/** One side of a connection. */
export interface Endpoint {
  /** IPv4 or IPv6. */
  readonly address: string
  readonly port: number
}

export interface CapturedMessage {
  readonly at: Millis
  readonly from: Endpoint
  readonly to: Endpoint
  readonly octets: Buffer
}

/** LINKTYPE_RAW: a packet begins with its IPv4 or IPv6 header. */
const linkType = 101
const longestPacket = 262_144
/** IPv4 counts the octets of a packet in 16 bits. */
const longestSegment = 65_495
const tcpOctets = 20
/** TCP flags PSH and ACK. */
const pushAck = 0x18
const protocolTcp = 6

/** The head of the file; packets follow it. */
export function pcapHeader(): Buffer {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b2c3d4, 0) // times in microseconds
  header.writeUInt16LE(2, 4) // version 2.4
  header.writeUInt16LE(4, 6)
  header.writeUInt32LE(longestPacket, 16)
  header.writeUInt32LE(linkType, 20)
  return header
}

/** A whole file of these messages. */
export function pcapOf(messages: readonly CapturedMessage[]): Buffer {
  const packets = new PcapPackets()
  return Buffer.concat([pcapHeader(), ...messages.map(message => packets.packet(message))])
}

/** The packets of one file: it counts what each side of each connection has sent. */
export class PcapPackets {
  private readonly sent = new Map<string, number>()

  /** The record, or records, of one message. */
  packet({ at, from, to, octets }: CapturedMessage): Buffer {
    const records: Buffer[] = []
    const [there, back] = [`${nameOf(from)} ${nameOf(to)}`, `${nameOf(to)} ${nameOf(from)}`]
    for (let start = 0; start === 0 || start < octets.length; start += longestSegment) {
      const part = octets.subarray(start, start + longestSegment)
      const sequence = this.sent.get(there) ?? 0
      this.sent.set(there, (sequence + part.length) % 2 ** 32)
      const packet = packetOf(from, to, (sequence + 1) >>> 0, ((this.sent.get(back) ?? 0) + 1) >>> 0, part)
      const record = Buffer.alloc(16)
      const microseconds = Math.max(0, Math.round(at * 1000))
      record.writeUInt32LE(Math.floor(microseconds / 1_000_000) >>> 0, 0)
      record.writeUInt32LE(microseconds % 1_000_000, 4)
      record.writeUInt32LE(packet.length, 8)
      record.writeUInt32LE(packet.length, 12)
      records.push(record, packet)
    }
    return Buffer.concat(records)
  }
}

const nameOf = ({ address, port }: Endpoint): string => `${address}|${port}`

function packetOf(from: Endpoint, to: Endpoint, sequence: number, acknowledged: number, octets: Buffer): Buffer {
  const tcp = Buffer.alloc(tcpOctets)
  tcp.writeUInt16BE(from.port, 0)
  tcp.writeUInt16BE(to.port, 2)
  tcp.writeUInt32BE(sequence, 4)
  tcp.writeUInt32BE(acknowledged, 8)
  tcp[12] = (tcpOctets / 4) << 4
  tcp[13] = pushAck
  tcp.writeUInt16BE(65_535, 14)

  const [source, target] = bothOf(from.address, to.address)
  const ip = source.length === 4 ? ipv4(source, target, octets.length) : ipv6(source, target, octets.length)
  const pseudo = Buffer.concat([source, target, Buffer.alloc(8)])
  pseudo.writeUInt32BE(tcpOctets + octets.length, pseudo.length - 8)
  pseudo[pseudo.length - 1] = protocolTcp
  tcp.writeUInt16BE(checksum(pseudo, tcp, octets), 16)
  return Buffer.concat([ip, tcp, octets])
}

function ipv4(source: Buffer, target: Buffer, payload: number): Buffer {
  const ip = Buffer.alloc(20)
  ip[0] = 0x45
  ip.writeUInt16BE(ip.length + tcpOctets + payload, 2)
  ip[8] = 64
  ip[9] = protocolTcp
  ip.set(source, 12)
  ip.set(target, 16)
  ip.writeUInt16BE(checksum(ip), 10)
  return ip
}

function ipv6(source: Buffer, target: Buffer, payload: number): Buffer {
  const ip = Buffer.alloc(40)
  ip[0] = 0x60
  ip.writeUInt16BE(tcpOctets + payload, 4)
  ip[6] = protocolTcp
  ip[7] = 64
  ip.set(source, 8)
  ip.set(target, 24)
  return ip
}

/** Both as IPv4, or both as IPv6: a packet has one version. What is no address becomes 0.0.0.0. */
function bothOf(from: string, to: string): [Buffer, Buffer] {
  const [a, b] = [octetsOf(from), octetsOf(to)]
  return a.length === b.length ? [a, b] : [mapped(a), mapped(b)]
}

const mapped = (octets: Buffer): Buffer =>
  octets.length === 16 ? octets : Buffer.concat([Buffer.alloc(10), Buffer.of(0xff, 0xff), octets])

function octetsOf(address: string): Buffer {
  const [plain = ''] = address.split('%')
  const inside = /^(?:::ffff:)?(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/i.exec(plain)
  if (inside) return Buffer.from(inside.slice(1).map(Number))
  if (!isIPv6(plain)) return Buffer.alloc(4)
  const [head = '', tail] = plain.split('::')
  const words = (text: string): number[] =>
    text === ''
      ? []
      : text.split(':').flatMap(word => {
          const last = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(word)?.slice(1).map(Number)
          return last ? [last[0]! * 256 + last[1]!, last[2]! * 256 + last[3]!] : [parseInt(word, 16)]
        })
  const [first, last] = [words(head), words(tail ?? '')]
  const all = [...first, ...Array<number>(Math.max(0, 8 - first.length - last.length)).fill(0), ...last]
  const octets = Buffer.alloc(16)
  all.forEach((word, i) => octets.writeUInt16BE(word, i * 2))
  return octets
}

/** RFC 1071, over these in a row; only the last may have an odd length. */
function checksum(...parts: readonly Buffer[]): number {
  let sum = 0
  for (const octets of parts) {
    for (let i = 0; i < octets.length; i += 2) sum += (octets[i]! << 8) | (octets[i + 1] ?? 0)
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return ~sum & 0xffff
}
