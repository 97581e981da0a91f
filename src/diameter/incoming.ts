/**
 * The requests of one connection's peer: bounded, checked to be for us, handed to their application, answered. RFC 6733
 * sections 6.1.4 and 6.2.
 */
import type { Gate } from './admission.js'
import type { Application, IncomingRequest, PeerInfo } from './application.js'
import { DiameterError, ResultCode } from './errors.js'
import type { Header } from './header.js'
import { checkRequestHeader } from './header.js'
import type { Node } from './node.js'
import type { Output } from './output.js'
import {
  avpAt,
  checkApplicationId,
  checkDestination,
  dataAt,
  lowerCase,
  noAvps,
  sameIdentity,
  scanAvps,
} from './routing.js'
import { avpOctets } from './writer.js'

export interface IncomingOwner {
  /** One fewer is in work. */
  done(): void
  /** `resting` has changed. */
  adjust(): void
  /** A fault of ours outside any request. */
  defect(error: unknown): void
}

/** A request, numbered as it came. */
export interface Received extends IncomingRequest {
  readonly number: number
}

/** The scan of the request that is being checked; used and forgotten within one call. */
const scanned = noAvps()

export class IncomingRequests {
  private peer: PeerInfo | undefined
  /** The peer's Origin-Host as it is compared. */
  private originHost: Buffer = Buffer.alloc(0)
  /** Which of them are worked on, and when. */
  private readonly gate: Gate<Received>
  private accepted = 0
  private draining: { readonly upTo: number; left: number; readonly then: () => void } | undefined

  constructor(
    private readonly node: Node,
    private readonly output: Output,
    private readonly owner: IncomingOwner,
  ) {
    this.gate = node.admission.gate({
      start: request => void this.serve(request).catch((error: unknown) => owner.defect(error)),
      shed: (request, why) => {
        output.refusal(request, why, request.peer.name)
        this.onDone(request.number)
      },
      adjust: () => owner.adjust(),
    })
  }

  /** Those that are being answered, or wait for that. */
  get inFlight(): number {
    return this.gate.inFlight
  }

  /** More has come than may be worked on: nothing is to be read for now. */
  get resting(): boolean {
    return this.gate.resting
  }

  /** Capabilities are exchanged: from now on requests may come. */
  from(peer: PeerInfo): void {
    this.peer = peer
    this.gate.opened(peer.name, peer.originHost, peer.limits)
    this.originHost = lowerCase(peer.originHost)
  }

  /** @param arrivedAt by the clock's `monotonic()` */
  take(header: Header, octets: Buffer, arrivedAt: number): void {
    const number = ++this.accepted
    this.gate.offer({ header, octets, peer: this.peer!, arrivedAt: this.gate.cameAt(arrivedAt), number })
  }

  /** Calls back when all that came before now is answered; what comes after it is answered too. */
  whenAnswered(then: () => void): void {
    this.draining = { upTo: this.accepted, left: this.inFlight, then }
    if (this.draining.left === 0) then()
  }

  /** Starts nothing more. What is in work ends; its answers find the output closed. */
  close(): void {
    this.gate.close()
  }

  private async serve(request: Received): Promise<void> {
    const { header, octets } = request
    const startedAt = this.node.clock.monotonic()
    let served = true
    try {
      const answer = await this.applicationFor(header, octets).answer(request)
      served = answer !== undefined && answer.resultCode !== ResultCode.TOO_BUSY
      if (answer) this.output.answer(header, answer)
    } catch (error) {
      this.output.refusal(request, error, this.peer?.name)
    } finally {
      this.gate.done(startedAt, served)
      this.onDone(request.number)
    }
  }

  /** @throws DiameterError when the request is not for us, or not to be had in this way */
  private applicationFor(header: Header, octets: Buffer): Application {
    const { node } = this
    checkRequestHeader(header, node.dictionary, node.applicationIds)
    const avps = scanAvps(octets, scanned)
    checkDestination(octets, header.commandCode, avps, node.identity)
    checkApplicationId(octets, header.applicationId, avps)
    if (avps.sessionId !== 0) checkSessionId(octets, avps.sessionId, node.config.limits.sessionIdOctets)
    if (avps.originHost !== 0 && !this.peer!.relay && !sameIdentity(octets, avps.originHost, this.originHost)) {
      node.metrics.originMismatch(this.peer!.name)
      const message = 'Origin-Host is not that of the peer, which is no relay'
      throw new DiameterError(ResultCode.INVALID_AVP_VALUE, message, Buffer.from(avpAt(octets, avps.originHost)))
    }
    const application = node.applications.get(header.applicationId)
    // Left: a command of the base protocol that is no request to this node.
    if (!application) throw new DiameterError(ResultCode.COMMAND_UNSUPPORTED, 'this command is not served here')
    return application
  }

  private onDone(number: number): void {
    const { draining } = this
    if (draining && number <= draining.upTo) {
      draining.left--
      if (draining.left === 0) draining.then()
    }
    this.owner.done()
  }
}

function checkSessionId(octets: Buffer, at: number, limit: number): void {
  const data = dataAt(octets, at)
  if (data.length <= limit) return
  const message = `Session-Id has ${data.length} octets; the limit is ${limit}`
  throw new DiameterError(ResultCode.INVALID_AVP_VALUE, message, avpOctets(263, data.subarray(0, limit)))
}
