/** What our CER and our CEA say of this node in the same octets, RFC 6733 section 5.3. */
import { addressOctets } from './data-formats.js'
import { plainAddress } from './peer-table.js'
import type { Writer } from './writer.js'

/** Vendor-Id of the maker of a node; 0 says nothing. */
const noVendor = 0
const vendor3gpp = 10415
/** 0.0.0.0, for a socket that is gone already. */
const noAddress = Buffer.from([0, 1, 0, 0, 0, 0])
const productName = 'ocsd'

/** Host-IP-Address, Vendor-Id and Product-Name. @param localAddress of the connection's own end */
export function writeNode(writer: Writer, localAddress: string): void {
  writer.octets(257, addressOctets(plainAddress(localAddress).replace(/%.*$/, '')) ?? noAddress)
  writer.u32(266, noVendor)
  writer.text(269, productName, 0, 0)
}

/** Supported-Vendor-Id, and what is served. @param applications ids */
export function writeApplications(writer: Writer, applications: readonly number[]): void {
  writer.u32(265, vendor3gpp)
  for (const id of applications) writer.u32(258, id)
}
