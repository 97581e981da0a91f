/**
 * What one connection sends: answers, refusals and requests of ours, queued as they come. What a turn of the event loop
 * gives leaves as one write.
 */
import type { Socket } from 'node:net'
import type { Answer } from './application.js'
import { writeCea } from './capabilities.js'
import { writeErrorAnswer } from './error-answer.js'
import { DiameterError, ResultCode } from './errors.js'
import { messagesOf } from './frame.js'
import type { Header } from './header.js'
import { FLAG } from './header.js'
import type { Traffic } from './metrics.js'
import { commandIndex } from './metrics.js'
import type { Node } from './node.js'
import type { Pending } from './own-requests.js'
import { Tally } from './peer-book.js'
import type { TappedConnection } from './tap.js'
import { tapWritten } from './tap.js'
import { Writer } from './writer.js'

export interface OutputOwner {
  readonly connection: TappedConnection
  /** More is written and unread than limits.outputOctets. */
  overflow(): void
  /** The system takes no more for now. */
  stuck(): void
}

/** Output queue of an idle connection; it grows with what a turn answers. A thousand idle peers are to cost little. */
const slabOctets = 16_384

/** Codes that mean that the peer sent something wrong, not that it may not have what it asks for. */
const decodeErrors: ReadonlySet<number> = new Set([
  ResultCode.COMMAND_UNSUPPORTED,
  ResultCode.APPLICATION_UNSUPPORTED,
  ResultCode.INVALID_HDR_BITS,
  ResultCode.INVALID_AVP_BITS,
  ResultCode.AVP_UNSUPPORTED,
  ResultCode.INVALID_AVP_VALUE,
  ResultCode.MISSING_AVP,
  ResultCode.CONTRADICTING_AVPS,
  ResultCode.AVP_NOT_ALLOWED,
  ResultCode.AVP_OCCURS_TOO_MANY_TIMES,
  ResultCode.UNSUPPORTED_VERSION,
  ResultCode.INVALID_BIT_IN_HEADER,
  ResultCode.INVALID_AVP_LENGTH,
  ResultCode.INVALID_MESSAGE_LENGTH,
])

export class Output {
  /** The peer's counts, once it is known. */
  tally = new Tally()
  private readonly writer = new Writer(slabOctets)
  private flushScheduled = false
  /** It has ended: answers are dropped. */
  private over = false

  constructor(
    private readonly socket: Socket,
    private readonly node: Node,
    private readonly owner: OutputOwner,
    public traffic: Traffic,
    /** Each message is a write of its own. */
    private readonly wholeMessages = false,
  ) {}

  /** Octets that the peer has not read and the system has not taken. */
  get octets(): number {
    return this.socket.writableLength + this.writer.pending
  }

  /** A request of ours that has its identifiers. */
  request(request: Pending): void {
    this.writer.message(request.flags, request.commandCode, request.applicationId, request.hopByHop, request.endToEnd)
    this.writer.ready(request.body)
    this.writer.endMessage()
    this.tally.requestOut(request.commandCode)
    this.sent(request.commandCode)
  }

  /** @param refusal why not; undefined: welcome */
  cea(cer: Header, refusal: DiameterError | undefined): void {
    writeCea(this.writer, cer, this.node.own, this.socket.localAddress ?? '0.0.0.0', refusal)
    this.sent(cer.commandCode)
  }

  /** DWA, DPA. */
  baseAnswer(request: Header, body: Buffer): void {
    this.writer.message(0, request.commandCode, request.applicationId, request.hopByHop, request.endToEnd)
    this.writer.ready(body)
    this.writer.endMessage()
    this.sent(request.commandCode)
  }

  /** @throws whatever `write` throws; then nothing of it is sent */
  answer(header: Header, answer: Answer): void {
    if (this.dropped()) return
    const protocolError = answer.resultCode >= 3000 && answer.resultCode < 4000
    const flags = (header.flags & FLAG.PROXIABLE) | (protocolError ? FLAG.ERROR : 0)
    this.writer.message(flags, header.commandCode, header.applicationId, header.hopByHop, header.endToEnd)
    try {
      answer.write(this.writer)
      this.writer.endMessage()
    } catch (error) {
      this.writer.dropMessage()
      throw error
    }
    this.tally.answerOut(header.commandCode, answer.resultCode, this.node.clock)
    this.sent(header.commandCode)
  }

  /** Answers a request that failed: the one place where an exception becomes a Result-Code. */
  refusal(
    request: { readonly header: Header; readonly octets: Buffer },
    cause: unknown,
    peer: string | undefined,
  ): void {
    const { metrics, log } = this.node
    let error: DiameterError
    if (cause instanceof DiameterError) {
      error = cause
      if (decodeErrors.has(error.resultCode)) metrics.decodeError(error.resultCode)
    } else {
      metrics.internalError()
      log.error({ err: cause, peer, command: request.header.commandCode }, 'a request failed in us')
      error = new DiameterError(ResultCode.UNABLE_TO_COMPLY, 'an internal error of this node; its log says more')
    }
    if (this.dropped()) return
    writeErrorAnswer(this.writer, request, error, this.node.own.identityAvps)
    this.tally.answerOut(request.header.commandCode, error.resultCode, this.node.clock, error.message)
    this.sent(request.header.commandCode)
  }

  /** What comes from now on is dropped and counted; what was written leaves with the next flush. */
  close(): void {
    this.over = true
  }

  flush(): void {
    this.flushScheduled = false
    if (this.writer.pending === 0 || this.socket.destroyed || this.socket.writableEnded) return
    const octets = this.writer.take()
    this.traffic.octetsOut += octets.length
    if (this.node.tap?.listening) tapWritten(this.node.tap, this.owner.connection, octets)
    if (this.wholeMessages) for (const message of messagesOf(octets)) this.socket.write(message)
    else this.socket.write(octets)
    if (this.socket.writableLength > this.node.config.limits.outputOctets) this.owner.overflow()
    else if (this.socket.writableNeedDrain) this.owner.stuck()
  }

  private dropped(): boolean {
    if (this.over) this.node.metrics.droppedAnswer('connection_gone')
    return this.over
  }

  private sent(commandCode: number): void {
    this.traffic.messagesOut[commandIndex(commandCode)]!++
    if (this.flushScheduled) return
    this.flushScheduled = true
    setImmediate(() => this.flush())
  }
}
