/**
 * Requests that we send: their identifiers (RFC 6733 section 3), their answers, and what becomes of them when a connection
 * fails (section 5.5.4). A watchdog request belongs to its connection; any other may move to another one, T bit set.
 */
import type { Clock, Timer } from '../clock.js'
import type { Header } from './header.js'

/** What became of a request of ours. Only `answered` says that the peer knows of it. */
export type Outcome =
  | {
      readonly kind: 'answered'
      readonly header: Header
      readonly octets: Buffer
      /** 0 when the answer has none; a class outside 1 to 5 counts as permanent failure, RFC 6733 section 7.1. */
      readonly resultCode: number
    }
  /** No connection can carry it (any more): what RFC 6733 calls UNABLE_TO_DELIVER (3002). */
  | { readonly kind: 'undeliverable' }
  /** It was sent, and nothing came in time. */
  | { readonly kind: 'timeout' }

/** A request on its way. */
export interface Pending {
  /** R is set; T as soon as it is sent a second time. */
  flags: number
  readonly commandCode: number
  readonly applicationId: number
  readonly endToEnd: number
  /** All AVPs, encoded. */
  readonly body: Buffer
  /** Origin-Host of the peer that it is for. */
  readonly destinationHost: string
  /** Origin-Host of the peer to send it over if that one can carry it: itself or a relay. */
  readonly via: string | undefined
  /** May be sent again over another connection; CER, DWR and DPR may not. */
  readonly failover: boolean
  readonly settle: (outcome: Outcome) => void
  timer: Timer | undefined
  /** Where it waits now, and under which identifier. */
  carrier: PendingRequests | undefined
  hopByHop: number
}

/** The requests of one connection that wait for an answer, by Hop-by-Hop identifier. */
export class PendingRequests {
  private readonly byHopByHop = new Map<number, Pending>()
  private next: number

  /** @param random gives 0 ≤ n < 1: identifiers start anywhere, so that a new connection does not repeat the last one's */
  constructor(random: () => number) {
    this.next = Math.floor(random() * 2 ** 32) >>> 0
  }

  get size(): number {
    return this.byHopByHop.size
  }

  /** Gives it a Hop-by-Hop identifier that no other pending request of this connection has. */
  add(request: Pending): void {
    while (this.byHopByHop.has(this.next)) this.next = (this.next + 1) >>> 0
    request.hopByHop = this.next
    request.carrier = this
    this.byHopByHop.set(this.next, request)
    this.next = (this.next + 1) >>> 0
  }

  /** The request that an answer is to, which is no longer pending then. Undefined: nobody asked, or it was answered. */
  take(header: Header): Pending | undefined {
    const request = this.byHopByHop.get(header.hopByHop)
    if (!request || request.endToEnd !== header.endToEnd || request.commandCode !== header.commandCode) return undefined
    this.remove(request)
    return request
  }

  /** Nobody waits for it any longer; its answer will be dropped. */
  remove(request: Pending): void {
    this.byHopByHop.delete(request.hopByHop)
    request.carrier = undefined
  }

  /** Takes out those that may go elsewhere; with `all`, the others too. */
  drain(all: boolean): Pending[] {
    const drained = [...this.byHopByHop.values()].filter(request => all || request.failover)
    for (const request of drained) this.remove(request)
    return drained
  }
}

/**
 * End-to-End identifiers: the low 12 bits of the second, then a counter of 20 bits that starts anywhere (RFC 6733 section 3).
 * Unique for 4096 s while fewer than 2^20 are drawn a second, over restarts too: another second, other high bits.
 */
export class EndToEndIds {
  private counter: number

  constructor(
    private readonly clock: Clock,
    random: () => number,
  ) {
    this.counter = Math.floor(random() * 2 ** 20)
  }

  next(): number {
    const second = Math.floor(this.clock.now() / 1000) & 0xfff
    this.counter = (this.counter + 1) & 0xfffff
    return ((second << 20) | this.counter) >>> 0
  }
}
