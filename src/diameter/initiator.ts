/**
 * Capabilities exchange on a connection that we initiate, RFC 6733 section 5.3: the CER that we send, and what a CEA must say.
 */
import type { PeerConfig } from '../config/config.js'
import type { Capabilities, OwnCapabilities } from './capabilities.js'
import { Cer, negotiate, VendorApplication } from './capabilities.js'
import { addressOctets } from './data-formats.js'
import type { Dictionary } from './dictionary.js'
import { DiameterError, ResultCode } from './errors.js'
import type { Shape } from './message.js'
import { readMessage, shape } from './message.js'
import { plainAddress } from './peer-table.js'
import { dataAt, occurrences } from './routing.js'
import { avpsOf } from './writer.js'

export class Cea extends Cer {}

export type CeaShape = Shape<Cea>

/** Vendor-Id of the maker of a node; 0 says nothing. */
const noVendor = 0
const vendor3gpp = 10415
/** 0.0.0.0, for a socket that is gone already. */
const noAddress = Buffer.from([0, 1, 0, 0, 0, 0])

export const ceaShape = (dictionary: Dictionary): CeaShape =>
  shape(dictionary, 'Capabilities-Exchange-Answer', Cea, {
    originHost: 'Origin-Host',
    originRealm: 'Origin-Realm',
    productName: 'Product-Name',
    originStateId: 'Origin-State-Id',
    authApplicationId: 'Auth-Application-Id',
    acctApplicationId: 'Acct-Application-Id',
    inbandSecurityId: 'Inband-Security-Id',
    vendorSpecificApplicationId: [
      'Vendor-Specific-Application-Id',
      shape(dictionary, 'Vendor-Specific-Application-Id', VendorApplication, {
        authApplicationId: 'Auth-Application-Id',
        acctApplicationId: 'Acct-Application-Id',
      }),
    ],
  })

/** The AVPs of our CER. @param localAddress of the connection's own end */
export const cerAvps = (own: OwnCapabilities, localAddress: string): Buffer =>
  avpsOf(writer => {
    writer.ready(own.identityAvps)
    writer.octets(257, addressOctets(plainAddress(localAddress).replace(/%.*$/, '')) ?? noAddress)
    writer.u32(266, noVendor)
    writer.text(269, 'ocsd', 0, 0)
    writer.u32(278, own.originStateId)
    writer.u32(265, vendor3gpp)
    for (const id of own.applications) writer.u32(258, id)
  })

/**
 * What the peer that we called says of itself.
 *
 * @param row that made us call it
 * @throws DiameterError with the peer's own Result-Code when it refuses us; UNKNOWN_PEER when it is somebody else than the row
 *   says; NO_COMMON_APPLICATION, and whatever else a message can have wrong
 */
export function readCea(
  cea: CeaShape,
  octets: Buffer,
  limits: { depth: number; avps: number },
  row: PeerConfig,
  served: ReadonlySet<number>,
): Capabilities {
  const resultCode = resultCodeOf(octets)
  if (resultCode !== ResultCode.SUCCESS) {
    const said = errorMessageOf(octets)
    const code = resultCode === 0 ? 'a CEA without a Result-Code' : `Result-Code ${resultCode}`
    throw new DiameterError(resultCode, `it answered our CER with ${code}${said === '' ? '' : ` (${said})`}`)
  }
  const capabilities = negotiate(readMessage(cea, octets, limits), served)
  const { originHost, originRealm } = capabilities
  if (originHost.toLowerCase() !== row.identity.toLowerCase()) {
    const message = `it calls itself ${originHost}, and its row in the peer table ${row.identity}`
    throw new DiameterError(ResultCode.UNKNOWN_PEER, message)
  }
  if (row.realm !== '*' && originRealm.toLowerCase() !== row.realm.toLowerCase()) {
    const message = `it is in realm ${originRealm}, and its row in the peer table says ${row.realm}`
    throw new DiameterError(ResultCode.UNKNOWN_PEER, message)
  }
  return capabilities
}

/** 0: it has none, or none that can be read. */
export function resultCodeOf(octets: Buffer): number {
  for (const at of occurrences(octets, 268)) {
    const data = dataAt(octets, at)
    return data.length === 4 ? data.readUInt32BE(0) : 0
  }
  return 0
}

const errorMessageOctets = 200

/** Printable and short, for a log. */
function errorMessageOf(octets: Buffer): string {
  for (const at of occurrences(octets, 281)) {
    const text = dataAt(octets, at).toString('utf8', 0, errorMessageOctets)
    return text.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, ' ')
  }
  return ''
}
