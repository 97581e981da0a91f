/**
 * The peer table: who may connect, by identity, realm and network. The first row that matches a CER decides.
 */
import { BlockList, isIP, isIPv6 } from 'node:net'
import type { PeerConfig } from '../config/config.js'
import type { CerRejection } from './metrics.js'

export type PeerMatch =
  | { readonly row: PeerConfig }
  | { readonly reason: Extract<CerRejection, 'unknown_peer' | 'wrong_realm' | 'wrong_address'> }

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
  find(originHost: string, originRealm: string, address: string): PeerMatch {
    const identity = originHost.toLowerCase()
    const realm = originRealm.toLowerCase()
    let reason: 'unknown_peer' | 'wrong_realm' | 'wrong_address' = 'unknown_peer'
    for (const row of this.rows) {
      if (row.identity !== '*' && row.identity !== identity) continue
      if (row.realm !== '*' && row.realm !== realm) {
        if (reason === 'unknown_peer') reason = 'wrong_realm'
        continue
      }
      if (row.from.check(plainAddress(address), isIPv6(plainAddress(address)) ? 'ipv6' : 'ipv4'))
        return { row: row.row }
      reason = 'wrong_address'
    }
    return { reason }
  }
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
