/**
 * What one connection receives: octets cut into messages, and how long a message may stay incomplete. RFC 6733 section 2.1.
 */
import type { Socket } from 'node:net'
import type { Timer } from '../clock.js'
import { DiameterError } from './errors.js'
import { Framer } from './frame.js'
import type { CloseReason, Traffic } from './metrics.js'
import type { Node } from './node.js'

export interface InputOwner {
  /** A whole message; a view that stays as it is. */
  message(octets: Buffer): void
  /** Nothing more can be had from this stream. `note`: a line for the log, which anybody who reaches the port can cause. */
  broken(
    reason: CloseReason,
    note?: { readonly event: string; readonly fields: object; readonly message: string },
  ): void
  /** A fault of ours. */
  defect(error: unknown): void
}

export class Input {
  /** When octets came last, by the clock's `monotonic()`. */
  heardAt: number
  private readonly framer: Framer
  private begun = false
  private messages = 0
  /** Since when a message is incomplete. */
  private partialSince: number | undefined
  private frameTimer: Timer | undefined
  /** Nothing is read any more. */
  private over = false

  constructor(
    private readonly socket: Socket,
    private readonly node: Node,
    private readonly owner: InputOwner,
    public traffic: Traffic,
  ) {
    this.heardAt = node.clock.monotonic()
    this.framer = new Framer(node.config.limits.messageOctets)
    socket.on('data', chunk => this.onData(chunk))
  }

  close(): void {
    this.over = true
    this.node.clock.clearTimeout(this.frameTimer)
  }

  private onData(chunk: Buffer): void {
    if (this.over) return
    this.heardAt = this.node.clock.monotonic()
    this.traffic.octetsIn += chunk.length
    if (!this.begun) {
      this.begun = true
      if (chunk[0] !== 1) {
        const fields = { firstOctets: chunk.toString('hex', 0, 8) }
        const message = 'closed a connection that does not speak Diameter'
        this.owner.broken('not_diameter', { event: 'not-diameter', fields, message })
        return
      }
    }
    const before = this.messages
    try {
      this.framer.push(chunk, octets => {
        this.messages++
        this.owner.message(octets)
        return !this.over
      })
    } catch (error) {
      this.onStreamError(error)
    }
    if (!this.isOver()) this.superviseFrame(this.messages !== before)
  }

  private onStreamError(error: unknown): void {
    if (!(error instanceof DiameterError)) {
      this.owner.defect(error)
      return
    }
    // Nothing in the stream can be trusted after a length that cannot be: RFC 6733 section 2.1 wants a reset.
    const message = `closed a connection: ${error.message}`
    this.owner.broken('bad_length', { event: 'bad-length', fields: {}, message })
  }

  /** Remembers since when a message is incomplete. The timer is set once in a while, not for each read that cuts one. */
  private superviseFrame(completed: boolean): void {
    if (this.framer.pending === 0) {
      this.partialSince = undefined
      return
    }
    if (completed) this.partialSince = undefined
    this.partialSince ??= this.heardAt
    this.frameTimer ??= this.node.clock.setTimeout(() => this.onFrameTimer(), this.node.config.limits.frameTimeoutMs)
  }

  private onFrameTimer(): void {
    this.frameTimer = undefined
    if (this.over || this.partialSince === undefined) return
    const { clock, config } = this.node
    if (this.socket.isPaused()) this.partialSince = clock.monotonic() // it is we who do not read
    const left = this.partialSince + config.limits.frameTimeoutMs - clock.monotonic()
    if (left < 1) this.owner.broken('frame_timeout')
    else this.frameTimer = clock.setTimeout(() => this.onFrameTimer(), left)
  }

  /** For after a call that may have ended it; the compiler takes a field to be what it was before. */
  private isOver(): boolean {
    return this.over
  }
}
