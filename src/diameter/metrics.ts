/**
 * What the Diameter transport counts: plain numbers, nothing hashed on the way of a CCR. telemetry/ copies them into
 * `ocs_diameter_*` when somebody scrapes. Every label value comes from a list in this file or from the peer table.
 */

import type { Load, RequestKind, ShedReason } from './admission.js'
import { requestKinds, shedReasons } from './admission.js'

import type { Millis } from '../units.js'

/** Label of everything before a CER was accepted. */
export const unknownPeer = 'unknown'

export const commandLabels = ['CC', 'CE', 'DW', 'DP', 'RA', 'AS', 'other'] as const
export type CommandLabel = (typeof commandLabels)[number]

/** Why a connection ended, or was not let in. */
export const closeReasons = [
  'peer_closed', // it closed the transport, or reset it
  'dpr', // it said DPR
  'drain', // we stop
  'cer_timeout',
  'cer_rejected',
  'cea_timeout', // we called, and our CER got no answer
  'cea_rejected', // we called, and were refused, or met somebody else
  'election', // both sides called at once, and the other connection stays
  'no_cer', // its first message was something else
  'tls_handshake', // no TLS, no certificate, or one that none of our authorities signed
  'not_diameter', // its first octet was not version 1: TLS, HTTP, noise
  'bad_length', // a Message Length below 20, not a multiple of 4, or above limits.messageOctets
  'frame_timeout', // the rest of a message did not come
  'output_limit', // it left limits.outputOctets unread
  'watchdog',
  'replaced', // by a newer connection of the same peer, `duplicatePeer: replace`
  'unidentified_limit',
  'connection_limit',
  'dpa_timeout',
  'internal_error',
] as const
export type CloseReason = (typeof closeReasons)[number]

export const cerRejections = [
  'unknown_peer', // no row with this identity
  'wrong_realm', // a row with this identity, another realm
  'wrong_address', // a row with this identity and realm, another network
  'wrong_transport', // a row with all of these, which wants TLS, or no TLS
  'wrong_certificate', // over TLS: its certificate does not name it
  'row_limit', // its row has all the connections that it may have
  'no_common_application',
  'no_common_security',
  'malformed',
  'duplicate', // its identity has an open connection
  'draining',
] as const
export type CerRejection = (typeof cerRejections)[number]

/** Why an answer was not sent. */
export const dropReasons = [
  'connection_gone', // ours, to a request whose connection has ended
  'unknown_hop_by_hop', // theirs: nobody asked, or it came twice, or too late
] as const
export type DropReason = (typeof dropReasons)[number]

/** Messages and octets of one row of the peer table; connections keep it at hand, so that a message costs two additions. */
export interface Traffic {
  /** By index in `commandLabels`. */
  readonly messagesIn: number[]
  readonly messagesOut: number[]
  octetsIn: number
  octetsOut: number
}

export interface DiameterMetrics {
  /** `peer`: name of a row, or `unknown`. The same object each time. */
  traffic(peer: string): Traffic
  closed(peer: string, reason: CloseReason): void
  cerRejected(reason: CerRejection): void
  /** We answered a request with this Result-Code because of what stood in it. */
  decodeError(resultCode: number): void
  watchdogFailure(peer: string): void
  duplicatePeer(peer: string): void
  /** A request named another Origin-Host than its connection's peer, which is no relay. */
  originMismatch(peer: string): void
  droppedAnswer(reason: DropReason): void
  /** A request ended in an exception that is no DiameterError. */
  internalError(): void
  /** The TLS files were read again. */
  tlsReload(result: 'ok' | 'refused'): void
  /** @param left milliseconds until the first certificate of the file ends, asked when somebody scrapes */
  certificateEnds(file: 'own' | 'authority', left: () => Millis): void
  /** A request was answered 3004 unread, so long after it came. */
  shed(peer: string, reason: ShedReason, kind: RequestKind, seconds: number): void
}

/** `ocs_diameter_*` as numbers in memory. Everything that an alert needs is there from the start, as 0. */
export class DiameterCounters implements DiameterMetrics {
  readonly trafficByPeer = new Map<string, Traffic>()
  /** By peer, then reason. */
  readonly closedByPeer = new Map<string, Map<CloseReason, number>>()
  readonly cerRejectedByReason = new Map<CerRejection, number>(cerRejections.map(reason => [reason, 0]))
  readonly decodeErrorsByCode = new Map<number, number>()
  readonly watchdogFailuresByPeer = new Map<string, number>()
  readonly duplicatesByPeer = new Map<string, number>()
  readonly originMismatchesByPeer = new Map<string, number>()
  readonly droppedAnswersByReason = new Map<DropReason, number>(dropReasons.map(reason => [reason, 0]))
  internalErrors = 0
  readonly tlsReloads = new Map<'ok' | 'refused', number>([
    ['ok', 0],
    ['refused', 0],
  ])
  /** Until certificates end; empty without TLS. */
  readonly certificatesLeft = new Map<'own' | 'authority', () => Millis>()
  /** By peer, then reason and kind. */
  readonly shedByPeer = new Map<string, Map<ShedReason, Map<RequestKind, number>>>()
  /** Told of each request that was shed, and how many seconds after it came. */
  onShed: ((kind: RequestKind, seconds: number) => void) | undefined
  /** Read at scrape. */
  load: (() => Load) | undefined

  /** @param peers names of the peer table's rows */
  constructor(peers: readonly string[]) {
    for (const peer of [...peers, unknownPeer]) {
      this.trafficByPeer.set(peer, noTraffic())
      if (peer !== unknownPeer) this.shedByPeer.set(peer, noneShed())
      this.closedByPeer.set(peer, new Map(closeReasons.map(reason => [reason, 0])))
      this.watchdogFailuresByPeer.set(peer, 0)
      this.duplicatesByPeer.set(peer, 0)
      this.originMismatchesByPeer.set(peer, 0)
    }
  }

  traffic(peer: string): Traffic {
    let traffic = this.trafficByPeer.get(peer)
    if (!traffic) this.trafficByPeer.set(peer, (traffic = noTraffic()))
    return traffic
  }

  closed(peer: string, reason: CloseReason): void {
    let reasons = this.closedByPeer.get(peer)
    if (!reasons) this.closedByPeer.set(peer, (reasons = new Map<CloseReason, number>()))
    add(reasons, reason)
  }

  cerRejected(reason: CerRejection): void {
    add(this.cerRejectedByReason, reason)
  }

  decodeError(resultCode: number): void {
    add(this.decodeErrorsByCode, resultCode)
  }

  watchdogFailure(peer: string): void {
    add(this.watchdogFailuresByPeer, peer)
  }

  duplicatePeer(peer: string): void {
    add(this.duplicatesByPeer, peer)
  }

  originMismatch(peer: string): void {
    add(this.originMismatchesByPeer, peer)
  }

  droppedAnswer(reason: DropReason): void {
    add(this.droppedAnswersByReason, reason)
  }

  internalError(): void {
    this.internalErrors++
  }

  tlsReload(result: 'ok' | 'refused'): void {
    add(this.tlsReloads, result)
  }

  certificateEnds(file: 'own' | 'authority', left: () => Millis): void {
    this.certificatesLeft.set(file, left)
  }

  shed(peer: string, reason: ShedReason, kind: RequestKind, seconds: number): void {
    let reasons = this.shedByPeer.get(peer)
    if (!reasons) this.shedByPeer.set(peer, (reasons = noneShed()))
    add(reasons.get(reason)!, kind)
    this.onShed?.(kind, seconds)
  }
}

/** Index in `commandLabels` and so in `Traffic`; a closed list, whatever codes a peer thinks up. */
export function commandIndex(commandCode: number): number {
  switch (commandCode) {
    case 272:
      return 0
    case 257:
      return 1
    case 280:
      return 2
    case 282:
      return 3
    case 258:
      return 4
    case 274:
      return 5
    default:
      return 6
  }
}

const noTraffic = (): Traffic => ({
  messagesIn: commandLabels.map(() => 0),
  messagesOut: commandLabels.map(() => 0),
  octetsIn: 0,
  octetsOut: 0,
})

const noneShed = (): Map<ShedReason, Map<RequestKind, number>> =>
  new Map(shedReasons.map(reason => [reason, new Map(requestKinds.map(kind => [kind, 0]))]))

const add = <K>(counts: Map<K, number>, key: K): void => {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
