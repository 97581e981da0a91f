/**
 * What carries a connection's messages, as far as they are judged or written by it: RFC 6733 section 2.1.
 */
import type { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'

export type Transport = 'tcp' | 'tls' | 'sctp'

export interface Carriage {
  readonly transport: Transport
  /** The peer's, which an authority of ours signed; undefined unless it came over TLS. */
  readonly certificate: X509Certificate | undefined
  /** Each message is one write: SCTP keeps the borders of writes, and a peer may expect one message between two. */
  readonly wholeMessages: boolean
}

export const plainTcp: Carriage = { transport: 'tcp', certificate: undefined, wholeMessages: false }

/** Writes that wait for the system are not put together into one. */
export function keepWritesApart(socket: Socket): void {
  Object.defineProperty(socket, '_writev', { value: undefined })
}

/**
 * Ends a connection at once, with a reset.
 *
 * *Ours:* Node loses the socket, and never closes it, when libuv refuses to reset one whose end is on its way (20.20). That one
 * is closed as it is.
 */
export function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy()
  else socket.resetAndDestroy()
}
