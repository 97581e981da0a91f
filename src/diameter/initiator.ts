/**
 * Capabilities exchange on a connection that we initiate, RFC 6733 section 5.3: the CER that we send, and what a CEA must say.
 */
import type { PeerConfig } from '../config/config.js'
import type { Capabilities, CerShape, OwnCapabilities } from './capabilities.js'
import { capabilitiesShape, negotiate } from './capabilities.js'
import type { Dictionary } from './dictionary.js'
import { DiameterError, ResultCode } from './errors.js'
import { readMessage } from './message.js'
import { writeApplications, writeNode } from './own-capabilities.js'
import { dataAt, occurrences } from './routing.js'
import { avpsOf } from './writer.js'

export const ceaShape = (dictionary: Dictionary): CerShape =>
  capabilitiesShape(dictionary, 'Capabilities-Exchange-Answer')

/** The AVPs of our CER. @param localAddress of the connection's own end */
export const cerAvps = (own: OwnCapabilities, localAddress: string): Buffer =>
  avpsOf(writer => {
    writer.ready(own.identityAvps)
    writeNode(writer, localAddress)
    writer.u32(278, own.originStateId)
    writeApplications(writer, own.applications)
  })

/**
 * What the peer that we called says of itself.
 *
 * @param row that made us call it
 * @throws DiameterError with the peer's own Result-Code when it refuses us; UNKNOWN_PEER when it is somebody else than the row
 *   says; NO_COMMON_APPLICATION, and whatever else a message can have wrong
 */
export function readCea(
  cea: CerShape,
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
