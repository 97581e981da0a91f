/**
 * Ways for requests of ours: over which connection one goes, where it goes when that fails or stays silent, and what becomes of
 * it in the end. RFC 6733 sections 5.3, 5.5.4 and 6.1.
 */
import type { Clock, Timer } from '../clock.js'
import { FLAG } from './header.js'
import type { EndToEndIds, Outcome, Pending } from './own-requests.js'
import { avpsOf, Writer } from './writer.js'

/** A request of ours. */
export interface OutgoingRequest {
  /** Origin-Host of the peer that it is for; a relay takes it when that peer has no connection. */
  readonly destinationHost: string
  /** Origin-Host of the peer, it or a relay, that it should go over when that one has a connection. */
  readonly via?: string | undefined
  readonly commandCode: number
  readonly applicationId: number
  /** Writes all its AVPs, Session-Id first. */
  write(writer: Writer): void
  /** How long to wait for the answer, over all connections that carry it. */
  readonly timeoutMs: number
  /** Sends it again over another connection, T bit set, when its answer is missing; the first answer counts. */
  readonly resend?: Resend
}

export interface Resend {
  /** Since it was sent last. */
  readonly afterMs: number
  /** At most; not counted when there is no other connection. */
  readonly times: number
}

/** Where a request is to go. */
export type Destination = Pick<OutgoingRequest, 'destinationHost' | 'via' | 'applicationId'>

/** A connection, as far as requests of ours look at it. */
export interface Carrier {
  /** Whether it may carry a request now: its peer advertised the application, and answers its watchdog. */
  carries(applicationId: number): boolean
  /** Whether its peer takes requests for others. */
  readonly forwards: boolean
  send(request: Pending): void
}

/** One request, which may be on its way over more than one connection. */
interface Errand {
  readonly request: OutgoingRequest
  readonly body: Buffer
  readonly endToEnd: number
  readonly resolve: (outcome: Outcome) => void
  readonly ways: Map<Pending, Carrier>
  /** It was sent before: from now on with the T bit. */
  sent: boolean
  resendsLeft: number
  timer: Timer | undefined
  resendTimer: Timer | undefined
}

export class Dispatch {
  private readonly errands = new Map<Pending, Errand>()
  private readonly scratch = new Writer(4096)

  /** @param carriers live connections by Origin-Host in lower case, one a peer */
  constructor(
    private readonly carriers: ReadonlyMap<string, Carrier>,
    private readonly endToEnd: EndToEndIds,
    private readonly clock: Clock,
  ) {}

  /**
   * Sends a request to a peer that advertised its application: over the peer's own connection, or over a relay's. When that
   * connection fails it is sent again over another, with the T bit and the same End-to-End identifier.
   */
  request(request: OutgoingRequest): Promise<Outcome> {
    const { clock } = this
    return new Promise(resolve => {
      const errand: Errand = {
        request,
        body: avpsOf(writer => request.write(writer), this.scratch),
        endToEnd: this.endToEnd.next(),
        resolve,
        ways: new Map(),
        sent: false,
        resendsLeft: request.resend?.times ?? 0,
        timer: undefined,
        resendTimer: undefined,
      }
      errand.timer = clock.setTimeout(() => this.finish(errand, { kind: 'timeout' }), request.timeoutMs)
      if (this.sendOn(errand, undefined)) this.awaitResend(errand)
      else this.finish(errand, { kind: 'undeliverable' })
    })
  }

  /** How a request would go now: over the peer that it should go over (`near`), over another (`far`), or not at all. */
  reach(destination: Destination): 'near' | 'far' | 'none' {
    const carrier = this.carrierFor(destination, [])
    if (!carrier) return 'none'
    const near = destination.via ?? destination.destinationHost
    return carrier === this.carriers.get(near.toLowerCase()) ? 'near' : 'far'
  }

  /** A connection cannot carry these any longer: each goes over another one, or is undeliverable. */
  undelivered(requests: readonly Pending[], from: Carrier): void {
    for (const request of requests) {
      const errand = this.errands.get(request)
      if (!errand) continue
      this.errands.delete(request)
      errand.ways.delete(request)
      // On its way over yet another connection: that one may still bring the answer.
      if (!this.sendOn(errand, from) && errand.ways.size === 0) this.finish(errand, { kind: 'undeliverable' })
    }
  }

  /** @returns false when there is no connection for it that it is not on already */
  private sendOn(errand: Errand, except: Carrier | undefined): boolean {
    const { commandCode, applicationId, destinationHost, via } = errand.request
    const carrier = this.carrierFor(errand.request, [except, ...errand.ways.values()])
    if (!carrier) return false
    const pending: Pending = {
      flags: FLAG.REQUEST | FLAG.PROXIABLE | (errand.sent ? FLAG.RETRANSMITTED : 0),
      commandCode,
      applicationId,
      endToEnd: errand.endToEnd,
      body: errand.body,
      destinationHost: destinationHost.toLowerCase(),
      via: via?.toLowerCase(),
      failover: true,
      settle: outcome => this.finish(errand, outcome),
      timer: undefined,
      carrier: undefined,
      hopByHop: 0,
    }
    errand.sent = true
    errand.ways.set(pending, carrier)
    this.errands.set(pending, errand)
    carrier.send(pending)
    return true
  }

  private awaitResend(errand: Errand): void {
    const { resend } = errand.request
    if (!resend || errand.resendsLeft === 0) return
    errand.resendTimer = this.clock.setTimeout(() => {
      if (this.sendOn(errand, undefined)) errand.resendsLeft--
      this.awaitResend(errand)
    }, resend.afterMs)
  }

  private finish(errand: Errand, outcome: Outcome): void {
    this.clock.clearTimeout(errand.timer)
    this.clock.clearTimeout(errand.resendTimer)
    for (const pending of errand.ways.keys()) {
      this.errands.delete(pending)
      pending.carrier?.remove(pending)
    }
    errand.ways.clear()
    errand.resolve(outcome)
  }

  /** The peer that it should go over, then its own connection, then any relay's. */
  private carrierFor(
    { destinationHost, via, applicationId }: Destination,
    except: readonly (Carrier | undefined)[],
  ): Carrier | undefined {
    const good = (carrier: Carrier | undefined): carrier is Carrier =>
      carrier !== undefined && !except.includes(carrier) && carrier.carries(applicationId)
    const host = destinationHost.toLowerCase()
    const last = via === undefined || via.toLowerCase() === host ? undefined : this.carriers.get(via.toLowerCase())
    if (last?.forwards && good(last)) return last
    const own = this.carriers.get(host)
    if (good(own)) return own
    for (const relay of this.carriers.values()) if (relay.forwards && good(relay)) return relay
    return undefined
  }
}
