/**
 * The answer to a request that is refused: RFC 6733 section 7.2 for protocol errors, section 6.2 for the others.
 */
import type { DiameterError } from './errors.js'
import type { Header } from './header.js'
import { FLAG } from './header.js'
import { avpAt, dataAt, firstUnsigned32, noAvps, occurrences, scanAvps } from './routing.js'
import type { Writer } from './writer.js'

const creditControl = 272

/**
 * Writes it whole. Session-Id comes first if the request had one, and none is invented; Proxy-Info goes back as it came; a
 * refused CCR has its CC-Request-Type and CC-Request-Number in it, for some clients drop a CCA without.
 *
 * @param identityAvps Origin-Host and Origin-Realm, encoded
 */
export function writeErrorAnswer(
  writer: Writer,
  request: { readonly header: Header; readonly octets: Buffer },
  error: DiameterError,
  identityAvps: Buffer,
): void {
  const { header, octets } = request
  const avps = scanAvps(octets, noAvps())
  const protocolError = error.resultCode >= 3000 && error.resultCode < 4000
  writer.message(
    (header.flags & FLAG.PROXIABLE) | (protocolError ? FLAG.ERROR : 0),
    header.commandCode,
    header.applicationId,
    header.hopByHop,
    header.endToEnd,
  )
  if (avps.sessionId !== 0) writer.octets(263, dataAt(octets, avps.sessionId))
  if (!protocolError) writer.u32(268, error.resultCode)
  writer.ready(identityAvps)
  if (protocolError) writer.u32(268, error.resultCode)
  else if (header.commandCode === creditControl) writeCreditControl(writer, header, octets)
  writer.text(281, error.message, 0, 0)
  if (error.failedAvp) writer.octets(279, error.failedAvp)
  if (avps.proxyInfo !== 0) for (const at of occurrences(octets, 284, avps.proxyInfo)) writer.ready(avpAt(octets, at))
  writer.endMessage()
}

function writeCreditControl(writer: Writer, header: Header, octets: Buffer): void {
  writer.u32(258, header.applicationId)
  const type = firstUnsigned32(octets, 416)
  if (type !== undefined && type >= 1 && type <= 4) writer.u32(416, type)
  const number = firstUnsigned32(octets, 415)
  if (number !== undefined) writer.u32(415, number)
}
