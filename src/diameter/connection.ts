/**
 * One transport connection of a peer: reads frames, performs what the peer state machine (peer.ts) and the watchdog
 * (watchdog.ts) say, hands requests to their application, and writes answers. RFC 6733 sections 2.1, 5 and 6.
 *
 * What a turn of the event loop answers leaves as one write. A peer that does not read its answers, or has too much in
 * work, is not read from.
 */
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import type { Clock, Timer } from '../clock.js'
import type { DiameterConfig, PeerConfig } from '../config/config.js'
import type { Millis } from '../units.js'
import type { Answer, Application, IncomingRequest, PeerInfo } from './application.js'
import type { Capabilities, CerShape, OwnCapabilities } from './capabilities.js'
import { negotiate, readCer, writeCea } from './capabilities.js'
import type { Dictionary } from './dictionary.js'
import { writeErrorAnswer } from './error-answer.js'
import { DiameterError, ResultCode } from './errors.js'
import { Framer } from './frame.js'
import type { Header } from './header.js'
import { checkRequestHeader, FLAG, readHeader } from './header.js'
import type { Shape } from './message.js'
import { readMessage } from './message.js'
import type { CerRejection, CloseReason, DiameterMetrics, Traffic } from './metrics.js'
import { commandIndex, unknownPeer } from './metrics.js'
import type { EndToEndIds, Outcome, Pending } from './own-requests.js'
import { PendingRequests } from './own-requests.js'
import type { PeerAction, PeerEvent, PeerStateName } from './peer.js'
import { step } from './peer.js'
import type { PeerBook } from './peer-book.js'
import { Tally } from './peer-book.js'
import type { PeerTable } from './peer-table.js'
import { plainAddress } from './peer-table.js'
import type { OwnIdentity } from './routing.js'
import {
  avpAt,
  checkApplicationId,
  checkDestination,
  dataAt,
  lowerCase,
  noAvps,
  occurrences,
  sameIdentity,
  scanAvps,
} from './routing.js'
import type { Endpoint, Tap, TappedConnection } from './tap.js'
import { tapWritten } from './tap.js'
import type { WatchdogAction, WatchdogState } from './watchdog.js'
import { drawTw, Watchdog } from './watchdog.js'
import { avpOctets, Writer } from './writer.js'

export type Transport = 'tcp' | 'tls' | 'sctp'

/** What all connections of a server share. */
export interface Node {
  readonly config: DiameterConfig
  readonly dictionary: Dictionary
  readonly applications: ReadonlyMap<number, Application>
  readonly applicationIds: ReadonlySet<number>
  readonly own: OwnCapabilities
  readonly identity: OwnIdentity
  readonly peers: PeerTable
  readonly book: PeerBook
  readonly tap: Tap | undefined
  readonly shapes: BaseShapes
  readonly bodies: BaseBodies
  readonly endToEnd: EndToEndIds
  readonly log: Logger
  readonly metrics: DiameterMetrics
  readonly clock: Clock
  /** Gives 0 ≤ n < 1: jitter and the start of identifiers. */
  readonly random: () => number
}

export class Dwr {
  originHost = ''
}

export class Dpr {
  disconnectCause = 0
}

/** Shapes of the base protocol's own requests. */
export interface BaseShapes {
  readonly cer: CerShape
  readonly dwr: Shape<Dwr>
  readonly dpr: Shape<Dpr>
}

/** AVPs of the messages that are always the same. */
export interface BaseBodies {
  readonly dwr: Buffer
  readonly dwa: Buffer
  readonly dpr: Buffer
  readonly dpa: Buffer
}

/** What a connection asks of the server that it belongs to. */
export interface ConnectionOwner {
  /** The open connection of a peer, if it has one. */
  connectionOf(originHost: string): Connection | undefined
  /** Its CER was accepted. */
  opened(connection: Connection): void
  /** Whether the peer's last connection failed, so that this one is on probation (REOPEN). */
  failedBefore(originHost: string): boolean
  /** It is over. */
  ended(connection: Connection): void
  /** It cannot carry these requests of ours any longer. */
  undelivered(requests: readonly Pending[], from: Connection): void
  /** Something that anybody who reaches the port can cause as often as he likes: logged, but not each time. */
  logRarely(event: string, fields: object, message: string): void
}

/** RFC 6733 section 5.4: time for the DPA, and for the peer to close after its own DPR; 1 s while we drain. */
const dpaTimeoutMs = 5_000
const drainDpaTimeoutMs = 1_000
/** Time for what was written last (a CEA that refuses, the answers before a close) to leave, and for the peer to close. */
const lingerMs = 1_000
/** Time for an open connection to prove that it lives, when its peer connects again (`duplicatePeer: replace`). */
const probeMs = 3_000

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

const command = { capabilities: 257, watchdog: 280, disconnect: 282 } as const

/** The scan of the request that is being checked; used and forgotten within one call. */
const scanned = noAvps()

export class Connection implements TappedConnection {
  readonly address: string
  /** How it is carried, and who called whom. */
  readonly transport: Transport = 'tcp'
  readonly direction: 'accepted' | 'initiated' = 'accepted'
  /** When it was accepted. */
  readonly since: Millis
  /** Set when its CER is accepted. */
  peer: PeerInfo | undefined
  /** Set when its CER is good, accepted or not. */
  capabilities: Capabilities | undefined

  /** The peer's counts, once it is known. */
  tally = new Tally()

  private state: PeerStateName = 'Closed'
  private cer: Header | undefined
  private row: PeerConfig | undefined
  private candidate: PeerInfo | undefined
  private refusal: DiameterError | undefined
  /** Its peer's Origin-Host as it is compared. */
  private originHost: Buffer = Buffer.alloc(0)
  /** It is being asked whether it lives. */
  private probing = false

  private readonly framer: Framer
  private readonly writer = new Writer(slabOctets)
  private readonly pending: PendingRequests
  private traffic: Traffic
  private begun = false
  private messages = 0
  private flushScheduled = false

  private inWork = 0
  /** Requests above the cap: no more than one read brings, for reading stops with the first. */
  private readonly waiting: Received[] = []
  private accepted = 0
  private draining: { readonly upTo: number; left: number } | undefined
  private hurried = false
  /** A DPR was sent or came. */
  private goodbye: CloseReason | undefined
  /** It ends when the last request in work is answered. */
  private ending: CloseReason | undefined
  /** It has ended: nothing is read any more, and answers are dropped. */
  private over = false

  private watchdog: Watchdog | undefined
  private heardAt: number
  private tw = 0
  private twFrom = 0
  private partialSince: number | undefined
  private watchdogTimer: Timer | undefined
  private frameTimer: Timer | undefined
  /** For the CER, then for the end. */
  private stateTimer: Timer | undefined

  constructor(
    private readonly socket: Socket,
    private readonly node: Node,
    private readonly owner: ConnectionOwner,
  ) {
    const { config, clock, metrics } = node
    this.address = plainAddress(socket.remoteAddress ?? '')
    this.since = clock.now()
    this.heardAt = clock.monotonic()
    this.traffic = metrics.traffic(unknownPeer)
    this.framer = new Framer(config.limits.messageOctets)
    this.pending = new PendingRequests(node.random)
    this.stateTimer = clock.setTimeout(
      () => this.onEvent('Timeout', { reason: 'cer_timeout' }),
      config.limits.cerTimeoutMs,
    )
    socket.setNoDelay(true)
    socket.on('data', chunk => this.onData(chunk))
    socket.on('drain', () => this.adjustReading())
    socket.on('error', () => this.onEvent('R-Peer-Disc', { reason: 'peer_closed' }))
    socket.on('close', () => this.onEvent('R-Peer-Disc', { reason: 'peer_closed' }))
  }

  get open(): boolean {
    return this.state === 'R-Open' && !this.over
  }

  get stateName(): PeerStateName {
    return this.state
  }

  get watchdogState(): WatchdogState {
    return this.watchdog?.state ?? 'DOWN'
  }

  /** Requests of the peer that are being answered. */
  get inFlight(): number {
    return this.inWork + this.waiting.length
  }

  /** Octets that the peer has not read and the system has not taken. */
  get outputOctets(): number {
    return this.socket.writableLength + this.writer.pending
  }

  get remote(): Endpoint {
    return { address: this.address, port: this.socket.remotePort ?? 0 }
  }

  get local(): Endpoint {
    return { address: plainAddress(this.socket.localAddress ?? ''), port: this.socket.localPort ?? 0 }
  }

  /** Whether it may carry a request of ours now. */
  carries(applicationId: number): boolean {
    return this.open && this.watchdog?.state === 'OKAY' && this.capabilities!.applications.includes(applicationId)
  }

  /** Whether it takes requests for others. */
  get forwards(): boolean {
    return this.capabilities?.relay === true || this.row?.relay === true
  }

  /** Sends a request of ours. */
  send(request: Pending): void {
    this.pending.add(request)
    this.writer.message(request.flags, request.commandCode, request.applicationId, request.hopByHop, request.endToEnd)
    this.writer.ready(request.body)
    this.writer.endMessage()
    this.tally.requestOut(request.commandCode)
    this.sent(request.commandCode)
  }

  /** Whether a DPR was sent or came: then its end is no failure. */
  get departing(): boolean {
    return this.goodbye !== undefined
  }

  get probed(): boolean {
    return this.probing
  }

  /**
   * Asks the peer whether it is still there, now.
   *
   * @param answer called once: whether a DWA came within `probeMs`
   */
  probe(answer: (alive: boolean) => void): void {
    this.probing = true
    const request = this.baseRequest(command.watchdog, this.node.bodies.dwr, outcome => {
      this.probing = false
      answer(outcome.kind === 'answered')
    })
    request.timer = this.node.clock.setTimeout(() => {
      request.carrier?.remove(request)
      request.settle({ kind: 'timeout' })
    }, probeMs)
    this.send(request)
  }

  /** Says good-bye with DPR. What is in work is answered before the end. */
  stop(): void {
    this.onEvent('Stop', { reason: 'drain' })
  }

  /** As `stop`, but only when all requests that came before now are answered; those after it are answered too. */
  drain(): void {
    if (this.draining) return
    this.draining = { upTo: this.accepted, left: this.inFlight }
    this.continueDrain()
  }

  /** Ends it at once: what was not sent is lost, and the peer sees a reset. */
  disconnect(reason: CloseReason): void {
    if (!this.over) this.leave(reason)
    this.socket.resetAndDestroy()
  }

  /** Gives up what is in work: with the DPA, or a second after the DPR, it ends. */
  hurry(): void {
    this.hurried = true
    this.onEvent('Stop', { reason: 'drain' })
    if (this.ending) this.endWhenIdle()
  }

  // Octets in.

  private onData(chunk: Buffer): void {
    if (this.over) return
    this.heardAt = this.node.clock.monotonic()
    this.traffic.octetsIn += chunk.length
    if (!this.begun) {
      this.begun = true
      if (chunk[0] !== 1) {
        const fields = { address: this.address, firstOctets: chunk.toString('hex', 0, 8) }
        this.owner.logRarely('not-diameter', fields, 'closed a connection that does not speak Diameter')
        this.disconnect('not_diameter')
        return
      }
    }
    const before = this.messages
    try {
      this.framer.push(chunk, octets => {
        this.receive(octets)
        return !this.over
      })
    } catch (error) {
      this.onStreamError(error)
    }
    if (!this.isOver()) this.superviseFrame(this.messages !== before)
  }

  private onStreamError(error: unknown): void {
    if (!(error instanceof DiameterError)) {
      this.onDefect(error)
      return
    }
    // Nothing in the stream can be trusted after a length that cannot be: RFC 6733 section 2.1 wants a reset.
    const fields = { address: this.address, peer: this.peer?.name }
    this.owner.logRarely('bad-length', fields, `closed a connection: ${error.message}`)
    this.disconnect('bad_length')
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
    if (left < 1) this.disconnect('frame_timeout')
    else this.frameTimer = clock.setTimeout(() => this.onFrameTimer(), left)
  }

  private receive(octets: Buffer): void {
    this.messages++
    const header = readHeader(octets)
    this.traffic.messagesIn[commandIndex(header.commandCode)]!++
    const isRequest = (header.flags & FLAG.REQUEST) !== 0
    if (isRequest) this.tally.requestIn(header.commandCode)
    if (this.node.tap?.listening) this.node.tap.message('in', this, octets)
    if (!isRequest) this.receiveAnswer(header, octets)
    else if (header.commandCode === command.capabilities) this.receiveCer(header, octets)
    else if (header.commandCode === command.watchdog) this.receiveBase('R-Rcv-DWR', header, octets)
    else if (header.commandCode === command.disconnect) this.receiveBase('R-Rcv-DPR', header, octets)
    else this.onEvent('R-Rcv-Message', { header, octets, reason: 'no_cer' })
    // Any message ends SUSPECT; a DWA has told the watchdog already.
    if (this.watchdog?.state === 'SUSPECT') this.obey(this.watchdog.message())
  }

  // Events: what peer.ts says is done here.

  private onEvent(event: PeerEvent, occasion: Occasion): void {
    if (this.over) return
    const [next, action] = step(this.state, event)
    this.state = next
    this.perform(action, occasion)
  }

  private perform(action: PeerAction, occasion: Occasion): void {
    const { header, octets, reason } = occasion
    switch (action) {
      case 'send-CEA': {
        this.welcome()
        return
      }
      case 'send-CEA-and-close':
        this.sendCea(this.refusal)
        {
          this.closeGently('cer_rejected')
          return
        }
      case 'send-CEA-again': {
        this.sendCea(new DiameterError(ResultCode.UNABLE_TO_COMPLY, 'capabilities were exchanged before'), header)
        return
      }
      case 'probe-other': {
        this.probeOther()
        return
      }
      case 'send-DWA': {
        this.sendBaseAnswer(header!, this.node.bodies.dwa)
        return
      }
      case 'send-DPA':
        this.sendBaseAnswer(header!, this.node.bodies.dpa)
        // Both sides may say good-bye at once; then our own waiting goes on.
        if (this.goodbye) return
        this.goodbye = 'dpr'
        {
          this.awaitEnd(dpaTimeoutMs)
          return
        }
      case 'send-DPR': {
        this.sendDpr()
        return
      }
      case 'send-error': {
        this.sendRefusal({ header: header!, octets: octets! }, occasion.error!)
        return
      }
      case 'note-DWA': {
        this.obey(this.watchdog!.dwa())
        return
      }
      case 'process':
        this.take(header!, octets!)
        return
      case 'close': {
        this.endWhenIdle(reason)
        return
      }
      case 'disconnect': {
        this.disconnect(this.goodbye ?? reason)
        return
      }
      case 'ignore':
        return
    }
  }

  // Capabilities.

  private receiveCer(header: Header, octets: Buffer): void {
    if (this.state !== 'Closed') {
      this.onEvent('R-Rcv-CER', { header, reason: 'no_cer' })
      return
    }
    this.cer = header
    const { node } = this
    try {
      checkRequestHeader(header, node.dictionary, node.applicationIds)
      const cer = readCer(node.shapes.cer, octets, node.config.limits)
      const match = node.peers.find(cer.originHost, cer.originRealm, this.address)
      if ('reason' in match) {
        this.refuse(match.reason, unknownPeerError(match.reason), cer.originHost)
        return
      }
      this.capabilities = negotiate(cer, node.applicationIds)
      this.row = match.row
    } catch (error) {
      if (!(error instanceof DiameterError)) throw error
      this.refuse(rejectionOf(error), error)
      return
    }
    const { originHost, originRealm } = this.capabilities
    const older = this.owner.connectionOf(originHost)
    if (older) {
      node.metrics.duplicatePeer(this.row.name)
      if (older.open && (node.config.duplicatePeer === 'reject' || older.probed)) {
        this.refuse('duplicate', duplicateError(), originHost)
        return
      }
    }
    const { name, relay, profile } = this.row
    this.candidate = { name, originHost, originRealm, address: this.address, relay, profile }
    if (older?.open) {
      this.onEvent('R-Conn-CER-Twice', { reason: 'cer_rejected' })
      return
    }
    older?.disconnect('replaced') // it has said good-bye, and only its end is awaited
    this.onEvent('R-Conn-CER', { reason: 'cer_rejected' })
  }

  private refuse(rejection: CerRejection, error: DiameterError, originHost?: string): void {
    this.node.metrics.cerRejected(rejection)
    const fields = { rejection, address: this.address, 'Origin-Host': originHost, 'Result-Code': error.resultCode }
    this.owner.logRarely(`cer-${rejection}`, fields, `refused a CER: ${error.message}`)
    this.noteRefusal(rejection, error, originHost)
    this.refusal = error
    this.onEvent('R-Conn-CER-Bad', { reason: 'cer_rejected' })
  }

  private noteRefusal(rejection: CerRejection, { resultCode, message }: DiameterError, originHost?: string): void {
    const { address } = this
    this.node.book.refused({ at: this.node.clock.now(), rejection, resultCode, message, originHost, address })
  }

  /** The peer has an open connection already: it counts if it lives. */
  private probeOther(): void {
    const older = this.owner.connectionOf(this.candidate!.originHost)!
    older.probe(alive => {
      if (this.over) return
      if (alive) {
        this.refusal = duplicateError()
        this.node.metrics.cerRejected('duplicate')
        this.noteRefusal('duplicate', this.refusal, this.candidate!.originHost)
        this.onEvent('Probe-Answered', { reason: 'cer_rejected' })
        return
      }
      older.disconnect('replaced')
      this.onEvent('Probe-Failed', { reason: 'cer_rejected' })
    })
  }

  private welcome(): void {
    const { clock, metrics, log } = this.node
    clock.clearTimeout(this.stateTimer)
    const peer = (this.peer = this.candidate!)
    this.originHost = lowerCase(peer.originHost)
    this.traffic = metrics.traffic(peer.name)
    this.tally = this.node.book.opened(peer.originHost, host => this.owner.connectionOf(host) !== undefined)
    const reopen = this.owner.failedBefore(peer.originHost)
    this.owner.opened(this)
    this.sendCea(undefined)
    log.info(
      { peer: peer.name, 'Origin-Host': peer.originHost, 'Origin-Realm': peer.originRealm, address: this.address },
      'peer connected',
    )
    this.watchdog = Watchdog.connectionUp(reopen)
    if (reopen) this.sendDwr()
    this.setTw()
  }

  private sendCea(refusal: DiameterError | undefined, cer = this.cer!): void {
    writeCea(this.writer, cer, this.node.own, this.socket.localAddress ?? '0.0.0.0', refusal)
    this.sent(cer.commandCode)
  }

  // Watchdog and disconnection.

  private receiveBase(event: 'R-Rcv-DWR' | 'R-Rcv-DPR', header: Header, octets: Buffer): void {
    const { node } = this
    let error: DiameterError | undefined
    try {
      checkRequestHeader(header, node.dictionary, node.applicationIds)
      if (event === 'R-Rcv-DWR') {
        readMessage(node.shapes.dwr, octets, node.config.limits)
      } else {
        const { disconnectCause } = readMessage(node.shapes.dpr, octets, node.config.limits)
        node.log.info({ peer: this.peer?.name, 'Disconnect-Cause': disconnectCause }, 'peer says good-bye')
      }
    } catch (fault) {
      if (!(fault instanceof DiameterError)) throw fault
      error = fault
    }
    if (error) this.onEvent('R-Rcv-Bad', { header, octets, error, reason: 'no_cer' })
    else this.onEvent(event, { header, reason: 'no_cer' })
  }

  private sendBaseAnswer(request: Header, body: Buffer): void {
    this.writer.message(0, request.commandCode, request.applicationId, request.hopByHop, request.endToEnd)
    this.writer.ready(body)
    this.writer.endMessage()
    this.sent(request.commandCode)
  }

  private sendDwr(): void {
    const request = this.baseRequest(command.watchdog, this.node.bodies.dwr, outcome => {
      if (outcome.kind === 'answered') this.onEvent('R-Rcv-DWA', { reason: 'no_cer' })
    })
    this.send(request)
  }

  private sendDpr(): void {
    this.goodbye ??= 'drain'
    this.send(
      this.baseRequest(command.disconnect, this.node.bodies.dpr, outcome => {
        if (outcome.kind === 'answered') this.onEvent('R-Rcv-DPA', { reason: 'drain' })
      }),
    )
    this.awaitEnd(this.draining ? drainDpaTimeoutMs : dpaTimeoutMs)
  }

  /** A good-bye was said; if nothing comes of it, it ends all the same. */
  private awaitEnd(ms: number): void {
    const { clock } = this.node
    clock.clearTimeout(this.stateTimer)
    const reason = this.goodbye === 'dpr' ? 'dpr' : 'dpa_timeout'
    this.stateTimer = clock.setTimeout(() => this.onEvent('Timeout', { reason }), ms)
  }

  private baseRequest(commandCode: number, body: Buffer, settle: (outcome: Outcome) => void): Pending {
    return {
      flags: FLAG.REQUEST,
      commandCode,
      applicationId: 0,
      endToEnd: this.node.endToEnd.next(),
      body,
      destinationHost: this.peer?.originHost ?? '',
      failover: false,
      settle,
      timer: undefined,
      carrier: undefined,
      hopByHop: 0,
    }
  }

  private setTw(): void {
    const { clock, config, random } = this.node
    this.twFrom = clock.monotonic()
    this.tw = drawTw(config.watchdogMs, random)
    this.watchdogTimer = clock.setTimeout(() => this.onTw(), this.tw)
  }

  /** Messages do not set the timer anew; it looks, when it is over, how long it has been quiet. */
  private onTw(): void {
    if (this.over) return
    const { clock } = this.node
    const left = Math.max(this.heardAt, this.twFrom) + this.tw - clock.monotonic()
    if (left >= 1) {
      this.watchdogTimer = clock.setTimeout(() => this.onTw(), left)
      return
    }
    this.obey(this.watchdog!.timer())
    if (!this.isOver()) this.setTw()
  }

  private obey(actions: readonly WatchdogAction[]): void {
    const { log, metrics } = this.node
    const peer = this.peer!.name
    for (const action of actions) {
      switch (action) {
        case 'send-DWR':
          this.sendDwr()
          break
        case 'failover':
          log.warn({ peer, address: this.address }, 'peer does not answer its watchdog')
          this.owner.undelivered(this.pending.drain(false), this)
          break
        case 'failback':
          log.info({ peer, address: this.address }, 'peer answers again')
          break
        case 'close':
          metrics.watchdogFailure(peer)
          this.disconnect('watchdog')
      }
    }
  }

  // Requests in, answers out.

  private take(header: Header, octets: Buffer): void {
    if (this.ending) return // it was told good-bye, and has answered that or let its time pass
    const request = { header, octets, peer: this.peer!, arrivedAt: this.heardAt, number: ++this.accepted }
    if (this.inWork < this.node.config.limits.inFlight) {
      this.start(request)
    } else {
      this.waiting.push(request)
      this.adjustReading()
    }
  }

  private start(request: Received): void {
    this.inWork++
    this.serve(request).catch((error: unknown) => this.onDefect(error))
  }

  private async serve(request: Received): Promise<void> {
    const { header, octets } = request
    try {
      const answer = await this.applicationFor(header, octets).answer(request)
      if (answer) this.sendAnswer(header, answer)
    } catch (error) {
      this.sendRefusal(request, error)
    } finally {
      this.inWork--
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

  private sendAnswer(header: Header, answer: Answer): void {
    if (this.over) {
      this.node.metrics.droppedAnswer('connection_gone')
      return
    }
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
  private sendRefusal(request: { readonly header: Header; readonly octets: Buffer }, cause: unknown): void {
    const { metrics, log } = this.node
    let error: DiameterError
    if (cause instanceof DiameterError) {
      error = cause
      if (decodeErrors.has(error.resultCode)) metrics.decodeError(error.resultCode)
    } else {
      metrics.internalError()
      log.error({ err: cause, peer: this.peer?.name, command: request.header.commandCode }, 'a request failed in us')
      error = new DiameterError(ResultCode.UNABLE_TO_COMPLY, 'an internal error of this node; its log says more')
    }
    if (this.over) {
      metrics.droppedAnswer('connection_gone')
      return
    }
    writeErrorAnswer(this.writer, request, error, this.node.own.identityAvps)
    this.tally.answerOut(request.header.commandCode, error.resultCode, this.node.clock, error.message)
    this.sent(request.header.commandCode)
  }

  private onDone(number: number): void {
    const { draining } = this
    if (this.waiting.length > 0 && !this.over) this.start(this.waiting.shift()!)
    if (draining && number <= draining.upTo) {
      draining.left--
      this.continueDrain()
    }
    if (this.ending) this.endWhenIdle()
    if (this.socket.isPaused()) this.adjustReading()
  }

  private continueDrain(): void {
    if (this.draining!.left === 0) this.onEvent('Stop', { reason: 'drain' })
  }

  /** A fault of ours outside any request. */
  private onDefect(error: unknown): void {
    this.node.metrics.internalError()
    this.node.log.error({ err: error, peer: this.peer?.name }, 'closed a connection after an internal error')
    this.disconnect('internal_error')
  }

  // Answers in.

  private receiveAnswer(header: Header, octets: Buffer): void {
    // Before the capabilities are exchanged no message is good, not even one to be dropped.
    if (!this.peer) {
      this.onEvent('R-Rcv-Message', { header, octets, reason: 'no_cer' })
      return
    }
    const request = header.version === 1 ? this.pending.take(header) : undefined
    if (!request) {
      this.node.metrics.droppedAnswer('unknown_hop_by_hop')
      return
    }
    this.node.clock.clearTimeout(request.timer)
    const resultCode = resultCodeOf(octets)
    this.tally.answerIn(header.commandCode, resultCode, this.node.clock)
    request.settle({ kind: 'answered', header, octets, resultCode })
  }

  // Octets out.

  private sent(commandCode: number): void {
    this.traffic.messagesOut[commandIndex(commandCode)]!++
    if (this.flushScheduled) return
    this.flushScheduled = true
    setImmediate(() => this.flush())
  }

  private flush(): void {
    this.flushScheduled = false
    if (this.writer.pending === 0 || this.socket.destroyed || this.socket.writableEnded) return
    const octets = this.writer.take()
    this.traffic.octetsOut += octets.length
    if (this.node.tap?.listening) tapWritten(this.node.tap, this, octets)
    this.socket.write(octets)
    if (this.socket.writableLength > this.node.config.limits.outputOctets) this.disconnect('output_limit')
    else if (this.socket.writableNeedDrain) this.adjustReading()
  }

  /** Reads only from a peer that takes its answers and has not too much in work; starts again at half of that. */
  private adjustReading(): void {
    if (this.over) return
    const { socket, node } = this
    const paused = socket.isPaused()
    const stuck = socket.writableNeedDrain && socket.writableLength > 0
    const cap = node.config.limits.inFlight
    const busy = paused ? this.inFlight > cap / 2 : this.inFlight > cap
    if (stuck || busy) {
      if (!paused) socket.pause()
    } else if (paused) {
      socket.resume()
    }
  }

  // The end.

  private endWhenIdle(reason: CloseReason = this.ending ?? 'drain'): void {
    if (this.over) return
    if (this.inFlight === 0 || this.hurried) this.closeGently(reason)
    else this.ending = reason
  }

  /** What is written leaves first. */
  private closeGently(reason: CloseReason): void {
    this.flush()
    if (this.over) return
    this.leave(reason)
    const { clock } = this.node
    this.stateTimer = clock.setTimeout(() => this.socket.destroy(), lingerMs)
    this.socket.once('close', () => clock.clearTimeout(this.stateTimer))
    this.socket.end()
    this.socket.resume() // its end is to be seen
  }

  private leave(reason: CloseReason): void {
    const { clock, metrics, log } = this.node
    this.over = true
    this.waiting.length = 0
    for (const timer of [this.stateTimer, this.watchdogTimer, this.frameTimer]) clock.clearTimeout(timer)
    metrics.closed(this.peer?.name ?? unknownPeer, reason)
    if (this.peer) {
      const { name, originHost } = this.peer
      this.tally.lastEnd = { at: clock.now(), reason }
      const fields = { peer: name, 'Origin-Host': originHost, address: this.address, reason, inFlight: this.inFlight }
      if (reason === 'drain' || reason === 'dpr') log.info(fields, 'peer disconnected')
      else log.warn(fields, 'peer lost')
    }
    this.owner.ended(this)
    const unanswered = this.pending.drain(true)
    this.owner.undelivered(
      unanswered.filter(request => request.failover),
      this,
    )
    for (const request of unanswered) {
      if (request.failover) continue
      clock.clearTimeout(request.timer)
      request.settle({ kind: 'undeliverable' })
    }
  }

  /** For after a call that may have ended it; the compiler takes a field to be what it was before. */
  private isOver(): boolean {
    return this.over
  }
}

/** A request, numbered as it came. */
interface Received extends IncomingRequest {
  readonly number: number
}

/** What an event came with. */
interface Occasion {
  /** Why the connection ends, if the event ends it. */
  readonly reason: CloseReason
  readonly header?: Header
  readonly octets?: Buffer
  readonly error?: DiameterError
}

function checkSessionId(octets: Buffer, at: number, limit: number): void {
  const data = dataAt(octets, at)
  if (data.length <= limit) return
  const message = `Session-Id has ${data.length} octets; the limit is ${limit}`
  throw new DiameterError(ResultCode.INVALID_AVP_VALUE, message, avpOctets(263, data.subarray(0, limit)))
}

/** 0: it has none, or none that can be read. */
function resultCodeOf(octets: Buffer): number {
  for (const at of occurrences(octets, 268)) {
    const data = dataAt(octets, at)
    return data.length === 4 ? data.readUInt32BE(0) : 0
  }
  return 0
}

const unknownPeerError = (reason: CerRejection): DiameterError =>
  new DiameterError(
    ResultCode.UNKNOWN_PEER,
    reason === 'unknown_peer'
      ? 'no row of the peer table has this Origin-Host'
      : reason === 'wrong_realm'
        ? 'the peer table has this Origin-Host in another Origin-Realm'
        : 'the peer table does not allow this Origin-Host from this address',
  )

const duplicateError = (): DiameterError =>
  new DiameterError(ResultCode.UNKNOWN_PEER, 'this Origin-Host has an open connection')

function rejectionOf(error: DiameterError): CerRejection {
  if (error.resultCode === ResultCode.NO_COMMON_APPLICATION) return 'no_common_application'
  if (error.resultCode === ResultCode.NO_COMMON_SECURITY) return 'no_common_security'
  return 'malformed'
}
