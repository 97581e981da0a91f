/**
 * Writes Diameter messages as a capture file (pcap, Ethernet, IPv4, TCP port 3868), for tools that judge them.
 */
import type { WireMessage } from './wire.js'

const diameterPort = 3868
const addresses = { client: [192, 0, 2, 1], server: [192, 0, 2, 2] } as const
const ethernetOctets = 14
const ipOctets = 20
const tcpOctets = 20
/** TCP flags PSH and ACK. */
const pushAck = 0x18

/** A capture of these, a packet each, in order. The n-th packet is frame n of the file, from 1. */
export function pcapOf(messages: readonly WireMessage[]): Buffer {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b2c3d4, 0)
  header.writeUInt16LE(2, 4) // version 2.4
  header.writeUInt16LE(4, 6)
  header.writeUInt32LE(262_144, 16) // longest packet
  header.writeUInt32LE(1, 20) // Ethernet
  /** Octets sent by each side of each connection. */
  const sent = new Map<string, number>()
  const records = messages.map((message, i) => {
    const { connection, from, octets } = message
    const other = from === 'client' ? 'server' : 'client'
    const sequence = 1 + (sent.get(`${connection} ${from}`) ?? 0)
    const acknowledged = 1 + (sent.get(`${connection} ${other}`) ?? 0)
    sent.set(`${connection} ${from}`, sequence - 1 + octets.length)
    const packet = packetOf(message, sequence, acknowledged)
    const record = Buffer.alloc(16)
    record.writeUInt32LE(1_768_470_000 + Math.floor(i / 1000), 0)
    record.writeUInt32LE((i % 1000) * 1000, 4)
    record.writeUInt32LE(packet.length, 8)
    record.writeUInt32LE(packet.length, 12)
    return Buffer.concat([record, packet])
  })
  return Buffer.concat([header, ...records])
}

function packetOf({ connection, from, octets }: WireMessage, sequence: number, acknowledged: number): Buffer {
  const other = from === 'client' ? 'server' : 'client'
  const clientPort = 40_000 + connection

  const ethernet = Buffer.alloc(ethernetOctets)
  ethernet.set([2, 0, 0, 0, 0, other === 'client' ? 1 : 2], 0)
  ethernet.set([2, 0, 0, 0, 0, from === 'client' ? 1 : 2], 6)
  ethernet.writeUInt16BE(0x0800, 12)

  const ip = Buffer.alloc(ipOctets)
  ip[0] = 0x45
  ip.writeUInt16BE(ipOctets + tcpOctets + octets.length, 2)
  ip[8] = 64
  ip[9] = 6 // TCP
  ip.set(addresses[from], 12)
  ip.set(addresses[other], 16)
  ip.writeUInt16BE(checksum(ip), 10)

  const tcp = Buffer.alloc(tcpOctets)
  tcp.writeUInt16BE(from === 'client' ? clientPort : diameterPort, 0)
  tcp.writeUInt16BE(from === 'client' ? diameterPort : clientPort, 2)
  tcp.writeUInt32BE(sequence, 4)
  tcp.writeUInt32BE(acknowledged, 8)
  tcp[12] = (tcpOctets / 4) << 4
  tcp[13] = pushAck
  tcp.writeUInt16BE(65_535, 14)
  const pseudo = Buffer.alloc(12)
  ip.copy(pseudo, 0, 12, 20)
  pseudo[9] = 6
  pseudo.writeUInt16BE(tcpOctets + octets.length, 10)
  tcp.writeUInt16BE(checksum(Buffer.concat([pseudo, tcp, octets])), 16)

  return Buffer.concat([ethernet, ip, tcp, octets])
}

/** RFC 1071. */
function checksum(octets: Buffer): number {
  let sum = 0
  for (let i = 0; i < octets.length; i += 2) sum += (octets[i]! << 8) | (octets[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
