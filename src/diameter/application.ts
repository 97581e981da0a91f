/**
 * What the transport hands to an application, and what it gets back.
 */
import type { PeerLimits, PeerProfile } from '../config/config.js'
import type { Header } from './header.js'
import type { Writer } from './writer.js'

/** A Diameter application that is served here. */
export interface Application {
  /** Application id of the header, 4 for credit control. */
  readonly id: number
  /**
   * Answers one request. Its header is checked, it is routed to us, and its Origin-Host is the peer's own (or the peer is a
   * relay); its AVPs are not checked.
   *
   * @returns undefined for no answer at all
   * @throws DiameterError to be answered as it says, COMMAND_UNSUPPORTED for a command that is not served; anything else
   *   is logged, counted and answered UNABLE_TO_COMPLY
   */
  answer(request: IncomingRequest): Promise<Answer | undefined>
}

export interface IncomingRequest {
  readonly header: Header
  /** The whole message; a view that stays as it is. */
  readonly octets: Buffer
  readonly peer: PeerInfo
  /** When its last octet came, by the clock's `monotonic()`, ms. */
  readonly arrivedAt: number
}

/** Writes the AVPs of the answer, Session-Id first, Result-Code included; the connection writes the header around them. */
export interface Answer {
  /** 3xxx sets the E bit; its AVPs are those of answer-message then. */
  readonly resultCode: number
  write(writer: Writer): void
}

export interface PeerInfo {
  /** Row of the peer table; metric label. */
  readonly name: string
  readonly originHost: string
  readonly originRealm: string
  readonly address: string
  readonly relay: boolean
  /** Of its row. */
  readonly limits: PeerLimits
  readonly profile: PeerProfile
}
