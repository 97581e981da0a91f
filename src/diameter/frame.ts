/**
 * Cuts the octets of a stream into messages, RFC 6733 section 3. A message that lies in one chunk is a view of it; only
 * one that a chunk's border cuts is copied, once, into a buffer of its announced length: a slow or hostile sender can
 * make nobody copy the same octets twice.
 */
import { DiameterError, ResultCode } from './errors.js'
import { HEADER_OCTETS } from './header.js'

/** Octets that tell a message's length: version and Message Length. */
const LENGTH_OCTETS = 4

export class Framer {
  readonly #limit: number
  readonly #head = Buffer.alloc(LENGTH_OCTETS)
  /** The message that has begun, once its length is known. */
  #message: Buffer | undefined
  /** Octets of the begun message that are here. */
  #filled = 0

  /** @param messageOctets longer messages are refused before anything is kept for them */
  constructor(messageOctets: number) {
    this.#limit = messageOctets
  }

  /** Octets of a message that has begun and is not complete: 0 between messages. */
  get pending(): number {
    return this.#filled
  }

  /**
   * Takes the next chunk and gives each complete message, in order.
   *
   * @param onMessage gets the octets of one message, which stay as they are as long as somebody holds them.
   *   When it returns false the rest of the chunk is left out
   * @throws DiameterError INVALID_MESSAGE_LENGTH when the stream cannot be followed any more: the connection must end.
   *   The messages before were given
   */
  push(chunk: Buffer, onMessage: (message: Buffer) => unknown): void {
    let at = 0
    if (this.#filled > 0) {
      at = this.#fill(chunk)
      if (!this.#message || this.#filled < this.#message.length) return
      const message = this.#message
      this.#message = undefined
      this.#filled = 0
      if (onMessage(message) === false) return
    }
    while (chunk.length - at >= LENGTH_OCTETS) {
      const end = at + this.#lengthAt(chunk, at)
      if (end > chunk.length) break
      if (onMessage(chunk.subarray(at, end)) === false) return
      at = end
    }
    if (at < chunk.length) this.#fill(chunk.subarray(at))
  }

  /** Adds to the begun message. @returns how many octets of the chunk were its */
  #fill(chunk: Buffer): number {
    let taken = 0
    if (!this.#message) {
      taken = chunk.copy(this.#head, this.#filled)
      this.#filled += taken
      if (this.#filled < LENGTH_OCTETS) return taken
      this.#message = Buffer.allocUnsafeSlow(this.#lengthAt(this.#head, 0))
      this.#head.copy(this.#message)
    }
    const more = chunk.copy(this.#message, this.#filled, taken)
    this.#filled += more
    return taken + more
  }

  #lengthAt(octets: Buffer, at: number): number {
    const length = (octets[at + 1]! << 16) | (octets[at + 2]! << 8) | octets[at + 3]!
    if (length < HEADER_OCTETS || length % 4 !== 0 || length > this.#limit) {
      const wanted = `a multiple of 4 from ${HEADER_OCTETS} to ${this.#limit}`
      throw new DiameterError(ResultCode.INVALID_MESSAGE_LENGTH, `Message Length ${length} is not ${wanted}`)
    }
    return length
  }
}

/** The messages of octets that hold nothing but whole ones; views. */
export function* messagesOf(octets: Buffer): Generator<Buffer> {
  for (let at = 0; at + 4 <= octets.length;) {
    const end = at + octets.readUIntBE(at + 1, 3)
    yield octets.subarray(at, end)
    at = end
  }
}
