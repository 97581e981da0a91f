/**
 * The Diameter header, RFC 6733 section 3, and what its fields must be in a request.
 */
import type { CommandDefinition, Dictionary } from './dictionary.js'
import { DiameterError, ResultCode } from './errors.js'
import { avpOctets } from './writer.js'

export interface Header {
  /** 1 unless the peer speaks another Diameter. */
  readonly version: number
  /** Octets of the message: header, AVPs and their padding. */
  readonly length: number
  /** See `FLAG`; reserved bits are as received, and ignored. */
  readonly flags: number
  readonly commandCode: number
  readonly applicationId: number
  readonly hopByHop: number
  readonly endToEnd: number
}

export const FLAG = { REQUEST: 0x80, PROXIABLE: 0x40, ERROR: 0x20, RETRANSMITTED: 0x10 } as const

export const HEADER_OCTETS = 20

/** Reads the header at `at`; 20 octets must be there. Checks nothing. */
export function readHeader(octets: Buffer, at = 0): Header {
  const first = octets.readUInt32BE(at)
  const second = octets.readUInt32BE(at + 4)
  return {
    version: first >>> 24,
    length: first & 0xffffff,
    flags: second >>> 24,
    commandCode: second & 0xffffff,
    applicationId: octets.readUInt32BE(at + 8),
    hopByHop: octets.readUInt32BE(at + 12),
    endToEnd: octets.readUInt32BE(at + 16),
  }
}

/**
 * Checks the header of a request before any of its AVPs is looked at.
 *
 * @param applications served application ids; the base protocol's 0 need not be among them
 * @returns the command that it is
 * @throws DiameterError UNSUPPORTED_VERSION, INVALID_HDR_BITS, APPLICATION_UNSUPPORTED or COMMAND_UNSUPPORTED,
 *   in this order; the last three are protocol errors and answered with the E bit
 */
export function checkRequestHeader(
  header: Header,
  dictionary: Dictionary,
  applications: ReadonlySet<number>,
): CommandDefinition {
  const { version, flags, commandCode, applicationId } = header
  if (version !== 1) {
    throw new DiameterError(ResultCode.UNSUPPORTED_VERSION, `Diameter version ${version} is not spoken here, only 1`)
  }
  if (flags & FLAG.ERROR) {
    throw new DiameterError(ResultCode.INVALID_HDR_BITS, 'the E bit must not be set in a request')
  }
  const command = dictionary.command(commandCode, true)
  // Ours: the base protocol's own commands are known by their code, whatever application the header names.
  if (command?.applicationId === 0) return command
  if (applicationId !== 0 && !applications.has(applicationId)) {
    throw new DiameterError(ResultCode.APPLICATION_UNSUPPORTED, `application ${applicationId} is not served`)
  }
  if (command?.applicationId !== applicationId) {
    throw new DiameterError(
      ResultCode.COMMAND_UNSUPPORTED,
      `command ${commandCode} is not known in application ${applicationId}`,
    )
  }
  return command
}

/**
 * RFC 6733 section 6.8: outside CER and CEA, Auth-Application-Id is the header's.
 *
 * @throws DiameterError INVALID_AVP_VALUE (Ours: the RFC names no code)
 */
export function checkAuthApplicationId(header: Header, authApplicationId: number): void {
  if (authApplicationId === header.applicationId) return
  const data = Buffer.alloc(4)
  data.writeUInt32BE(authApplicationId)
  const text = `Auth-Application-Id is ${authApplicationId}, the header says ${header.applicationId}`
  throw new DiameterError(ResultCode.INVALID_AVP_VALUE, text, avpOctets(AUTH_APPLICATION_ID, data))
}

const AUTH_APPLICATION_ID = 258
