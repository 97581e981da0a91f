/**
 * The peer table: who may connect, by identity, realm, network and transport. The first row that matches a CER decides, and
 * over TLS looks at the certificate.
 */
import type { X509Certificate } from 'node:crypto'
import { BlockList, isIP, isIPv6 } from 'node:net'
import type { PeerConfig } from '../config/config.js'
import { plainTcp, type Carriage, type Transport } from './carriage.js'
import type { Dictionary } from './dictionary.js'
import type { CerRejection } from './metrics.js'

export type PeerMatch = { readonly row: PeerConfig } | { readonly reason: PeerMismatch }

export type PeerMismatch = Extract<
  CerRejection,
  'unknown_peer' | 'wrong_realm' | 'wrong_address' | 'wrong_transport' | 'wrong_certificate'
>

interface CompiledRow {
  readonly row: PeerConfig
  readonly identity: string
  readonly realm: string
  readonly from: BlockList
}

export class PeerTable {
  private readonly rows: readonly CompiledRow[]

  /** @throws Error that names the row and the block that is no CIDR block */
  constructor(peers: readonly PeerConfig[]) {
    this.rows = peers.map(row => ({
      row,
      identity: row.identity.toLowerCase(),
      realm: row.realm.toLowerCase(),
      from: blocksOf(row),
    }))
  }

  /**
   * The row for a peer, or how near it came to one.
   *
   * @param address remote address of the connection, IPv4-mapped IPv6 included
   */
  find(originHost: string, originRealm: string, address: string, carriage: Carriage = plainTcp): PeerMatch {
    const identity = originHost.toLowerCase()
    const realm = originRealm.toLowerCase()
    let nearest = 0
    // A peer that a row names and wants over TLS does not come in without, by a row for anybody.
    let transportDecided = false
    for (const { row, ...compiled } of this.rows) {
      const names = compiled.identity !== '*'
      if (names ? compiled.identity !== identity : transportDecided) continue
      const mismatch = mismatchOf(row, compiled, realm, plainAddress(address), carriage.transport)
      if (mismatch !== undefined) {
        nearest = Math.max(nearest, mismatches.indexOf(mismatch))
        transportDecided ||= names && mismatch === 'wrong_transport'
        continue
      }
      if (carriage.transport === 'tls' && !certificateFits(row.certificate, originHost, carriage.certificate))
        return { reason: 'wrong_certificate' }
      return { row }
    }
    return { reason: mismatches[nearest]! }
  }
}

/** The nearer a row came, the later. */
const mismatches = ['unknown_peer', 'wrong_realm', 'wrong_address', 'wrong_transport'] as const

function mismatchOf(
  { transport }: PeerConfig,
  { realm, from }: Omit<CompiledRow, 'row'>,
  originRealm: string,
  address: string,
  carriedBy: Transport,
): (typeof mismatches)[number] | undefined {
  if (realm !== '*' && realm !== originRealm) return 'wrong_realm'
  if (!from.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')) return 'wrong_address'
  if (transport !== 'any' && (transport === 'tls') !== (carriedBy === 'tls')) return 'wrong_transport'
  return undefined
}

/**
 * Whether a certificate is that of a peer: RFC 6733 section 5.2. Only DNS names of its subjectAltName count, and none with an
 * asterisk, which would be that of many.
 *
 * @param wanted a name, `origin-host` or `any`
 */
export function certificateFits(wanted: string, originHost: string, certificate: X509Certificate | undefined): boolean {
  if (wanted === 'any') return true
  const name = wanted === 'origin-host' ? originHost : wanted
  return certificate?.checkHost(name, { subject: 'never', wildcards: false }) !== undefined
}

/** AVPs that a profile of the table omits and no dictionary has: a line each. */
export function unknownOmitted(peers: readonly PeerConfig[], dictionary: Dictionary): string[] {
  const faults = peers.flatMap(({ name, profile }) =>
    profile.omit
      .filter(avp => !dictionary.hasAvp(avp))
      .map(avp => `diameter.peers: the profile of ${name} omits ${avp}, which no dictionary has; write an AVP's name`),
  )
  return [...new Set(faults)]
}

/** `::ffff:192.0.2.1` is 192.0.2.1: how a socket that listens on `::` sees IPv4. */
export const plainAddress = (address: string): string => (/^::ffff:\d+\./i.test(address) ? address.slice(7) : address)

function blocksOf(row: PeerConfig): BlockList {
  const blocks = new BlockList()
  for (const block of row.from) {
    const [address = '', prefix] = block.split('/')
    const family = isIP(address)
    const bits = prefix === undefined ? (family === 6 ? 128 : 32) : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1
    if (family === 0 || bits < 0 || bits > (family === 6 ? 128 : 32)) {
      throw new Error(`peer ${row.name}: \`${block}\` is not a CIDR block such as 192.0.2.0/24 or 2001:db8::/32`)
    }
    blocks.addSubnet(address, bits, family === 6 ? 'ipv6' : 'ipv4')
  }
  return blocks
}
