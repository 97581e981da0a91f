/**
 * Where somebody may listen to the messages of connections, for traces. While nobody does, a message costs one comparison.
 */
import type { PeerInfo } from './application.js'
import { messagesOf } from './frame.js'

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
  for (const message of messagesOf(octets)) tap.message('out', connection, message)
}
