/**
 * Where somebody may listen to the messages of connections, for traces. While nobody does, a message costs one comparison.
 */
import type { PeerInfo } from './application.js'

/** Seen from here. */
export type TapDirection = 'in' | 'out'

/** What is known of a message's connection. */
export interface TappedConnection {
  /** Undefined until its capabilities are exchanged. */
  readonly peer: PeerInfo | undefined
  readonly remote: Endpoint
  readonly local: Endpoint
}

export interface Endpoint {
  readonly address: string
  readonly port: number
}

export interface Tap {
  /** Whether somebody listens: asked before anything is done for it. */
  readonly listening: boolean
  /** @param octets one whole message, good for the length of the call; it must not be changed */
  message(direction: TapDirection, connection: TappedConnection, octets: Buffer): void
}

/** Tells of all messages that were written together. */
export function tapWritten(tap: Tap, connection: TappedConnection, octets: Buffer): void {
  for (let at = 0; at + 4 <= octets.length;) {
    const end = at + octets.readUIntBE(at + 1, 3)
    tap.message('out', connection, octets.subarray(at, end))
    at = end
  }
}
