/**
 * One transport connection of a peer: performs what the peer state machine (peer.ts) and the watchdog (watchdog.ts) say.
 * RFC 6733 section 5. What comes is cut into messages by input.ts, requests are served by incoming.ts, and what is sent leaves
 * through output.ts.
 *
 * A peer that does not read its answers, or has too much in work, is not read from.
 */
import type { Socket } from 'node:net'
import type { Timer } from '../clock.js'
import type { PeerConfig } from '../config/config.js'
import type { Millis } from '../units.js'
import type { PeerInfo } from './application.js'
import type { Capabilities } from './capabilities.js'
import { negotiate, readCer } from './capabilities.js'
import { plainTcp, reset, type Carriage, type Transport } from './carriage.js'
import { DiameterError, ResultCode } from './errors.js'
import type { Header } from './header.js'
import { checkRequestHeader, FLAG, readHeader } from './header.js'
import { IncomingRequests } from './incoming.js'
import { Input } from './input.js'
import { cerAvps, readCea, resultCodeOf } from './initiator.js'
import { readMessage } from './message.js'
import type { CerRejection, CloseReason } from './metrics.js'
import { commandIndex, unknownPeer } from './metrics.js'
import type { Node } from './node.js'
import { command } from './node.js'
import { Output } from './output.js'
import type { Outcome, Pending } from './own-requests.js'
import { PendingRequests } from './own-requests.js'
import type { PeerAction, PeerEvent, PeerStateName } from './peer.js'
import { step } from './peer.js'
import { Tally } from './peer-book.js'
import type { PeerMismatch } from './peer-table.js'
import { plainAddress } from './peer-table.js'
import type { Endpoint, TappedConnection } from './tap.js'
import type { WatchdogAction, WatchdogState } from './watchdog.js'
import { drawTw, Watchdog } from './watchdog.js'

/** What a connection asks of the server that it belongs to. */
export interface ConnectionOwner {
  /** The open connection of a peer, if it has one. */
  connectionOf(originHost: string): Connection | undefined
  /** How many connections the peers of a row have. */
  connectionsOf(row: string): number
  /** Whether we are calling this peer, so that its own call starts an election. */
  calling(originHost: string): boolean
  /** It waits for the election with the connection that we initiate: `elected` or `reject` of it is called. */
  contest(connection: Connection): void
  /** Its capabilities are exchanged. */
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
/** Disconnect-Cause, RFC 6733 section 5.4.3: after these a peer is not called again. */
const cause = { BUSY: 1, DO_NOT_WANT_TO_TALK_TO_YOU: 2 } as const
/** Time for an open connection to prove that it lives, when its peer connects again (`duplicatePeer: replace`). */
const probeMs = 3_000

export class Connection implements TappedConnection {
  readonly address: string
  /** How it is carried, and who called whom. */
  readonly transport: Transport
  readonly direction: 'accepted' | 'initiated'
  /** When it was accepted, or the peer took our call. */
  readonly since: Millis
  /** Set when its CER or CEA is accepted. */
  peer: PeerInfo | undefined
  /** Set when its CER or CEA is good, accepted or not. */
  capabilities: Capabilities | undefined

  /** The peer's counts, once it is known. */
  tally = new Tally()

  private state: PeerStateName = 'Closed'
  private cer: Header | undefined
  private candidate: PeerInfo | undefined
  private refusal: DiameterError | undefined
  /** Why it came to nothing, when it was initiated by us. */
  failure: string | undefined
  /** The peer's DPR said BUSY or DO_NOT_WANT_TO_TALK_TO_YOU. */
  unwelcome = false
  /** It is being asked whether it lives. */
  private probing = false

  private readonly input: Input
  private readonly output: Output
  private readonly incoming: IncomingRequests
  private readonly pending: PendingRequests

  private draining = false
  private hurried = false
  /** A DPR was sent or came. */
  private goodbye: CloseReason | undefined
  /** It ends when the last request in work is answered. */
  private ending: CloseReason | undefined
  /** It has ended: nothing is read any more, and answers are dropped. */
  private over = false

  private watchdog: Watchdog | undefined
  private tw = 0
  private twFrom = 0
  private watchdogTimer: Timer | undefined
  /** For the CER, then for the end. */
  private stateTimer: Timer | undefined

  constructor(
    private readonly socket: Socket,
    private readonly node: Node,
    private readonly owner: ConnectionOwner,
    private readonly carriage: Carriage = plainTcp,
    /** Of the peer table: the one that made us initiate it, or, once there is a CER, that lets it in. */
    private row?: PeerConfig,
  ) {
    this.direction = row ? 'initiated' : 'accepted'
    const { config, clock, metrics } = node
    this.transport = carriage.transport
    this.address = plainAddress(socket.remoteAddress ?? '')
    this.since = clock.now()
    const traffic = metrics.traffic(unknownPeer)
    this.input = new Input(
      socket,
      node,
      {
        message: octets => this.receive(octets),
        broken: (reason, note) => {
          const { event, fields, message } = note ?? {}
          const whose = { address: this.address, peer: this.peer?.name }
          if (event) owner.logRarely(event, { ...whose, ...fields }, message!)
          this.disconnect(reason)
        },
        defect: error => this.onDefect(error),
      },
      traffic,
    )
    this.output = new Output(
      socket,
      node,
      { connection: this, overflow: () => this.disconnect('output_limit'), stuck: () => this.adjustReading() },
      traffic,
      carriage.wholeMessages,
    )
    this.incoming = new IncomingRequests(node, this.output, {
      done: () => this.onDone(),
      adjust: () => this.adjustReading(),
      defect: error => this.onDefect(error),
    })
    this.pending = new PendingRequests(node.random)
    this.stateTimer = clock.setTimeout(() => {
      this.failure = 'its CEA did not come'
      this.onEvent('Timeout', { reason: row ? 'cea_timeout' : 'cer_timeout' })
    }, config.limits.cerTimeoutMs)
    socket.setNoDelay(true)
    socket.on('drain', () => this.adjustReading())
    socket.on('error', (error: Error) => {
      this.failure ??= error.message
      this.onEvent('Peer-Disc', { reason: 'peer_closed' })
    })
    socket.on('close', () => this.onEvent('Peer-Disc', { reason: 'peer_closed' }))
  }

  get open(): boolean {
    return (this.state === 'R-Open' || this.state === 'I-Open') && !this.over
  }

  /** Origin-Host of its peer: as it said, or, while it has not, as the row has it that we call. */
  get identity(): string | undefined {
    return this.peer?.originHost ?? this.candidate?.originHost ?? (this.row?.connect ? this.row.identity : undefined)
  }

  get stateName(): PeerStateName {
    return this.state
  }

  get watchdogState(): WatchdogState {
    return this.watchdog?.state ?? 'DOWN'
  }

  /** Requests of the peer that are being answered. */
  get inFlight(): number {
    return this.incoming.inFlight
  }

  /** Octets that the peer has not read and the system has not taken. */
  get outputOctets(): number {
    return this.output.octets
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
    this.output.request(request)
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

  /** Sends the CER: the first thing on a connection that we initiated. */
  introduce(): void {
    this.onEvent('I-Rcv-Conn-Ack', { reason: 'cea_rejected' })
  }

  /** Of the two connections of its peer this one stays. */
  elected(): void {
    this.onEvent('Elected', { reason: 'election' })
  }

  /** Another connection of its peer waits for the election already. */
  reject(): void {
    this.node.metrics.duplicatePeer(this.row!.name)
    this.refusal = duplicateError()
    this.node.metrics.cerRejected('duplicate')
    this.noteRefusal('duplicate', this.refusal, this.candidate!.originHost)
    this.onEvent('Rejected', { reason: 'cer_rejected' })
  }

  /** Says good-bye with DPR. What is in work is answered before the end. */
  stop(): void {
    this.onEvent('Stop', { reason: 'drain' })
  }

  /** As `stop`, but only when all requests that came before now are answered; those after it are answered too. */
  drain(): void {
    if (this.draining) return
    this.draining = true
    this.incoming.whenAnswered(() => this.onEvent('Stop', { reason: 'drain' }))
  }

  /** Ends it at once: what was not sent is lost, and the peer sees a reset. */
  disconnect(reason: CloseReason): void {
    if (!this.over) this.leave(reason)
    reset(this.socket)
  }

  /** Gives up what is in work: with the DPA, or a second after the DPR, it ends. */
  hurry(): void {
    this.hurried = true
    this.onEvent('Stop', { reason: 'drain' })
    if (this.ending) this.endWhenIdle()
  }

  // Messages in.

  private receive(octets: Buffer): void {
    const header = readHeader(octets)
    this.input.traffic.messagesIn[commandIndex(header.commandCode)]!++
    const isRequest = (header.flags & FLAG.REQUEST) !== 0
    if (isRequest) this.tally.requestIn(header.commandCode)
    if (this.node.tap?.listening) this.node.tap.message('in', this, octets)
    if (!isRequest) this.receiveAnswer(header, octets)
    else if (header.commandCode === command.capabilities) this.receiveCer(header, octets)
    else if (header.commandCode === command.watchdog) this.receiveBase('Rcv-DWR', header, octets)
    else if (header.commandCode === command.disconnect) this.receiveBase('Rcv-DPR', header, octets)
    else this.onEvent('Rcv-Message', { header, octets, reason: 'no_cer' })
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
      case 'send-CER':
        this.sendCer()
        return
      case 'process-CEA':
        this.welcome()
        return
      case 'send-CEA':
        this.welcome(this.cer)
        return
      case 'send-CEA-and-close':
        this.output.cea(this.cer!, this.refusal)
        this.closeGently('cer_rejected')
        return
      case 'send-CEA-again':
        this.output.cea(header!, new DiameterError(ResultCode.UNABLE_TO_COMPLY, 'capabilities were exchanged before'))
        return
      case 'probe-other':
        this.probeOther()
        return
      case 'elect':
        this.owner.contest(this)
        return
      case 'send-DWA':
        this.output.baseAnswer(header!, this.node.bodies.dwa)
        return
      case 'send-DPA':
        this.output.baseAnswer(header!, this.node.bodies.dpa)
        // Both sides may say good-bye at once; then our own waiting goes on.
        if (this.goodbye) return
        this.goodbye = 'dpr'
        this.awaitEnd(dpaTimeoutMs)
        return
      case 'send-DPR':
        this.sendDpr()
        return
      case 'send-error':
        this.output.refusal({ header: header!, octets: octets! }, occasion.error!, this.peer?.name)
        return
      case 'note-DWA':
        this.obey(this.watchdog!.dwa())
        return
      case 'process':
        // Not from one that was told good-bye, and has answered that or let its time pass.
        if (!this.ending) this.incoming.take(header!, octets!, this.input.heardAt)
        return
      case 'close':
        this.endWhenIdle(reason)
        return
      case 'disconnect':
        this.disconnect(this.goodbye ?? reason)
        return
      case 'ignore':
        return
    }
  }

  // Capabilities.

  private receiveCer(header: Header, octets: Buffer): void {
    if (this.state !== 'Closed') {
      this.onEvent('Rcv-CER', { header, reason: 'no_cer' })
      return
    }
    this.cer = header
    const { node } = this
    try {
      checkRequestHeader(header, node.dictionary, node.applicationIds)
      const cer = readCer(node.shapes.cer, octets, node.config.limits)
      const match = node.peers.find(cer.originHost, cer.originRealm, this.address, this.carriage)
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
    if (!older && this.owner.connectionsOf(this.row.name) >= (this.row.limits.connections ?? Infinity)) {
      this.refuse('row_limit', rowLimitError(this.row.name), originHost)
      return
    }
    const { name, relay, limits, profile } = this.row
    this.candidate = { name, originHost, originRealm, address: this.address, relay, limits, profile }
    if (older?.open) {
      this.onEvent('R-Conn-CER-Twice', { reason: 'cer_rejected' })
      return
    }
    older?.disconnect('replaced') // it has said good-bye, and only its end is awaited
    if (this.owner.calling(originHost)) {
      this.onEvent('R-Conn-CER-Elect', { reason: 'cer_rejected' })
      return
    }
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

  private sendCer(): void {
    const { own } = this.node
    const avps = cerAvps(own, this.socket.localAddress ?? '0.0.0.0')
    this.send(
      this.baseRequest(command.capabilities, avps, outcome => {
        if (outcome.kind === 'answered') this.receiveCea(outcome.octets)
      }),
    )
  }

  private receiveCea(octets: Buffer): void {
    const { node } = this
    const row = this.row!
    try {
      this.capabilities = readCea(node.shapes.cea, octets, node.config.limits, row, node.applicationIds)
    } catch (error) {
      if (!(error instanceof DiameterError)) throw error
      this.failure = error.message
      this.onEvent('I-Rcv-CEA-Bad', { reason: 'cea_rejected' })
      return
    }
    const { name, relay, limits, profile } = row
    const { originHost, originRealm } = this.capabilities
    this.candidate = { name, originHost, originRealm, address: this.address, relay, limits, profile }
    this.onEvent('I-Rcv-CEA', { reason: 'cea_rejected' })
  }

  /** @param cer to be answered; undefined: the peer has answered ours */
  private welcome(cer?: Header): void {
    const { clock, metrics, log } = this.node
    clock.clearTimeout(this.stateTimer)
    const peer = (this.peer = this.candidate!)
    this.input.traffic = this.output.traffic = metrics.traffic(peer.name)
    this.incoming.from(peer)
    const connected = (host: string): boolean => this.owner.connectionOf(host) !== undefined
    this.tally = this.output.tally = this.node.book.opened(peer, connected)
    const reopen = this.owner.failedBefore(peer.originHost)
    this.owner.opened(this)
    if (cer) this.output.cea(cer, undefined)
    log.info(
      { peer: peer.name, 'Origin-Host': peer.originHost, 'Origin-Realm': peer.originRealm, address: this.address },
      'peer connected',
    )
    this.watchdog = Watchdog.connectionUp(reopen)
    if (reopen) this.sendDwr()
    this.setTw()
  }

  // Watchdog and disconnection.

  private receiveBase(event: 'Rcv-DWR' | 'Rcv-DPR', header: Header, octets: Buffer): void {
    const { node } = this
    let error: DiameterError | undefined
    try {
      checkRequestHeader(header, node.dictionary, node.applicationIds)
      if (event === 'Rcv-DWR') {
        readMessage(node.shapes.dwr, octets, node.config.limits)
      } else {
        const { disconnectCause } = readMessage(node.shapes.dpr, octets, node.config.limits)
        node.log.info({ peer: this.peer?.name, 'Disconnect-Cause': disconnectCause }, 'peer says good-bye')
        this.unwelcome = disconnectCause === cause.BUSY || disconnectCause === cause.DO_NOT_WANT_TO_TALK_TO_YOU
      }
    } catch (fault) {
      if (!(fault instanceof DiameterError)) throw fault
      error = fault
    }
    if (error) this.onEvent('Rcv-Bad', { header, octets, error, reason: 'no_cer' })
    else this.onEvent(event, { header, reason: 'no_cer' })
  }

  private sendDwr(): void {
    const request = this.baseRequest(command.watchdog, this.node.bodies.dwr, outcome => {
      if (outcome.kind === 'answered') this.onEvent('Rcv-DWA', { reason: 'no_cer' })
    })
    this.send(request)
  }

  private sendDpr(): void {
    this.goodbye ??= 'drain'
    this.send(
      this.baseRequest(command.disconnect, this.node.bodies.dpr, outcome => {
        if (outcome.kind === 'answered') this.onEvent('Rcv-DPA', { reason: 'drain' })
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
      via: undefined,
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
    const left = Math.max(this.input.heardAt, this.twFrom) + this.tw - clock.monotonic()
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

  private onDone(): void {
    if (this.ending) this.endWhenIdle()
    if (this.socket.isPaused()) this.adjustReading()
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
    if (!this.peer && !(this.state === 'Wait-I-CEA' && header.commandCode === command.capabilities)) {
      this.onEvent('Rcv-Message', { header, octets, reason: 'no_cer' })
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

  /** Reads only from a peer that takes its answers, and as fast as its requests are admitted. */
  private adjustReading(): void {
    if (this.over) return
    const { socket } = this
    const paused = socket.isPaused()
    const stuck = socket.writableNeedDrain && socket.writableLength > 0
    if (stuck || this.incoming.resting) {
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
    this.output.flush()
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
    this.input.close()
    this.output.close()
    this.incoming.close()
    for (const timer of [this.stateTimer, this.watchdogTimer]) clock.clearTimeout(timer)
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

/** What an event came with. */
interface Occasion {
  /** Why the connection ends, if the event ends it. */
  readonly reason: CloseReason
  readonly header?: Header
  readonly octets?: Buffer
  readonly error?: DiameterError
}

const mismatches: Record<PeerMismatch, string> = {
  unknown_peer: 'no row of the peer table has this Origin-Host',
  wrong_realm: 'the peer table has this Origin-Host in another Origin-Realm',
  wrong_address: 'the peer table does not allow this Origin-Host from this address',
  wrong_transport: 'the peer table does not allow this Origin-Host over this transport',
  wrong_certificate: 'the certificate does not name this Origin-Host',
}

const unknownPeerError = (reason: PeerMismatch): DiameterError =>
  new DiameterError(ResultCode.UNKNOWN_PEER, mismatches[reason])

const rowLimitError = (row: string): DiameterError =>
  new DiameterError(ResultCode.UNKNOWN_PEER, `row ${row} of the peer table has all the connections that it may have`)

const duplicateError = (): DiameterError =>
  new DiameterError(ResultCode.UNKNOWN_PEER, 'this Origin-Host has an open connection')

function rejectionOf(error: DiameterError): CerRejection {
  if (error.resultCode === ResultCode.NO_COMMON_APPLICATION) return 'no_common_application'
  if (error.resultCode === ResultCode.NO_COMMON_SECURITY) return 'no_common_security'
  return 'malformed'
}
