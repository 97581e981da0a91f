/**
 * The Diameter server: listens, keeps the connections and who they are of, bounds them, and sends requests of ours over
 * them. RFC 6733 section 5.
 */
import type { Server, Socket } from 'node:net'
import type { Logger } from 'pino'
import type { Clock, Timer } from '../clock.js'
import type { DiameterConfig, ListenAddress, ListenPoint, PeerConfig } from '../config/config.js'
import type { Millis } from '../units.js'
import { Admission, type Load } from './admission.js'
import type { Application, PeerInfo } from './application.js'
import { cerShape } from './capabilities.js'
import { keepWritesApart, type Carriage, type Transport } from './carriage.js'
import type { ConnectionOwner } from './connection.js'
import { Connection } from './connection.js'
import type { Dial, DialledPeer, DialOwner } from './dialler.js'
import { Diallers, dialWith } from './dialler.js'
import type { Dictionary } from './dictionary.js'
import type { Destination, OutgoingRequest } from './dispatch.js'
import { Dispatch } from './dispatch.js'
import { ceaShape } from './initiator.js'
import { shape } from './message.js'
import { openListener } from './listener.js'
import type { CloseReason, DiameterMetrics } from './metrics.js'
import { unknownPeer } from './metrics.js'
import type { Node } from './node.js'
import { Dpr, Dwr } from './node.js'
import type { Outcome, Pending } from './own-requests.js'
import { EndToEndIds } from './own-requests.js'
import type { PeerStateName } from './peer.js'
import { PeerBook, type PeerRefusal, type Tally } from './peer-book.js'
import { PeerTable } from './peer-table.js'
import { lowerCase } from './routing.js'
import type { Tap } from './tap.js'
import type { Handshake, TlsFiles } from './tls.js'
import { TlsAcceptor } from './tls.js'
import type { WatchdogState } from './watchdog.js'
import { avpsOf } from './writer.js'

export type { Answer, Application, IncomingRequest, PeerInfo } from './application.js'
export type { OutgoingRequest } from './dispatch.js'
export type { Outcome } from './own-requests.js'

export interface DiameterServerOptions {
  readonly config: DiameterConfig
  readonly dictionary: Dictionary
  readonly applications: readonly Application[]
  readonly log: Logger
  readonly metrics: DiameterMetrics
  readonly clock: Clock
  /** Sent in CEA, DWR and DWA; the same while sessions are kept, larger after a start that lost them. */
  readonly originStateId: number
  /** What `config.tls` names; without it no TLS is spoken. */
  readonly tls?: TlsFiles | undefined
  /** Gives 0 ≤ n < 1. Jitter and the start of identifiers; for tests. */
  readonly random?: () => number
  /** How peers are called; for tests. */
  readonly dial?: Dial
  /** Hears every message while it listens. */
  readonly tap?: Tap
  /** A request that is older is shed unread; default 7 s. */
  readonly holdBudgetMs?: number
  /** How much of the memory that the process may have is in use, 0 to 1; default none. */
  readonly memory?: () => number
  /** Capabilities were exchanged: with the peer's Origin-State-Id, if it has one. */
  readonly onPeer?: (peer: PeerInfo, originStateId: number | undefined) => void
}

/** Where it listens. */
export interface Listening extends ListenAddress {
  /** TLS from the first octet. */
  readonly tls: boolean
}

/** A peer with whom capabilities were exchanged. */
export interface PeerState {
  /** Row of the peer table. */
  readonly name: string
  readonly originHost: string
  readonly originRealm: string
  readonly productName: string
  readonly address: string
  readonly state: PeerStateName
  readonly watchdog: WatchdogState
  /** Common application ids. */
  readonly applications: readonly number[]
  readonly relay: boolean
  /** Its Origin-State-Id, if it sent one. */
  readonly originStateId: number | undefined
  readonly connectedSince: Millis
  /** Its requests in work. */
  readonly inFlight: number
  /** Octets written that it has not read. */
  readonly outputOctets: number
  readonly port: number
  readonly transport: Transport
  readonly direction: 'accepted' | 'initiated'
  /** Since the daemon started, over its connections. */
  readonly tally: Tally
}

/** A peer without a connection. */
export interface AbsentPeer {
  readonly originHost: string
  /** Undefined: it never was connected. */
  readonly tally: Tally | undefined
  readonly refusal: PeerRefusal | undefined
}

export interface ConnectionCounts {
  readonly all: number
  /** Without an accepted CER. */
  readonly unidentified: number
  /** limits.connections. */
  readonly limit: number
}

/** At most one line of a kind in this time; the rest is counted. */
const logEveryMs = 10_000
/** So many failed peers are remembered; more than there can be connections by far. */
const failedPeersKept = 10_000

export class DiameterServer implements ConnectionOwner, DialOwner {
  private readonly node: Node
  private readonly listeners: Server[] = []
  /** Every socket that is not closed yet. */
  private readonly connections = new Set<Connection>()
  /** Those that are not done with TLS. */
  private readonly handshakes = new Set<Handshake>()
  private readonly acceptor: TlsAcceptor | undefined
  /** How many of an address have no accepted CER, and which they are. */
  private readonly unidentified = new Map<string, number>()
  private readonly waitingForCer = new Map<Connection | Handshake, string>()
  private unidentifiedInAll = 0
  /** By Origin-Host in lower case: one live connection a peer. */
  private readonly byPeer = new Map<string, Connection>()
  private readonly failed = new Set<string>()
  private readonly lastLogged = new Map<string, { at: number; suppressed: number }>()
  private readonly dispatch: Dispatch
  private readonly diallers: Diallers
  private draining: Promise<void> | undefined
  private readonly onPeer: DiameterServerOptions['onPeer']
  private onEmpty: (() => void) | undefined

  /** @throws Error when the peer table has a block that is no CIDR block */
  constructor(options: DiameterServerOptions) {
    const { config, dictionary, applications, log, metrics, clock, originStateId, random = Math.random } = options
    const identityAvps = avpsOf(writer => {
      writer.text(264, config.identity)
      writer.text(296, config.realm)
    })
    this.onPeer = options.onPeer
    this.acceptor = options.tls && new TlsAcceptor(options.tls)
    const ids = applications.map(application => application.id)
    this.node = {
      config,
      dictionary,
      applications: new Map(applications.map(application => [application.id, application])),
      applicationIds: new Set(ids),
      own: { identityAvps, originStateId, applications: ids },
      identity: { host: lowerCase(config.identity), realm: lowerCase(config.realm) },
      peers: new PeerTable(config.peers),
      book: new PeerBook(config.peers.map(({ identity }) => identity)),
      tap: options.tap,
      shapes: {
        cer: cerShape(dictionary),
        cea: ceaShape(dictionary),
        dwr: shape(dictionary, 'Device-Watchdog-Request', Dwr, { originHost: 'Origin-Host' }),
        dpr: shape(dictionary, 'Disconnect-Peer-Request', Dpr, { disconnectCause: 'Disconnect-Cause' }),
      },
      bodies: {
        dwr: avpsOf(writer => {
          writer.ready(identityAvps)
          writer.u32(278, originStateId)
        }),
        dwa: avpsOf(writer => {
          writer.u32(268, 2001)
          writer.ready(identityAvps)
          writer.u32(278, originStateId)
        }),
        dpr: avpsOf(writer => {
          writer.ready(identityAvps)
          writer.i32(273, rebooting)
        }),
        dpa: avpsOf(writer => {
          writer.u32(268, 2001)
          writer.ready(identityAvps)
        }),
      },
      endToEnd: new EndToEndIds(clock, random),
      admission: new Admission({
        limits: config.limits,
        holdBudgetMs: options.holdBudgetMs ?? 7_000,
        clock,
        onShed: (peer, reason, kind, seconds) => metrics.shed(peer, reason, kind, seconds),
        memory: options.memory ?? (() => 0),
      }),
      log,
      metrics,
      clock,
      random,
    }
    this.dispatch = new Dispatch(this.byPeer, this.node.endToEnd, clock)
    this.diallers = new Diallers(this.node, this, options.dial ?? dialWith(options.tls))
    const open = config.peers
      .filter(peer => peer.identity === '*')
      .map(peer => `${peer.name} (${peer.from.join(', ')})`)
    if (open.length > 0) log.warn({ rows: open }, 'the peer table takes any identity from these addresses')
  }

  /**
   * Listens wherever the configuration says.
   *
   * @returns where, with the ports that the system picked; those of TLS come last
   * @throws Error that says which address cannot be had, and what to change
   */
  async listen(): Promise<Listening[]> {
    const { listen, tls } = this.node.config
    const addresses: Listening[] = []
    try {
      for (const point of listen) addresses.push(await this.listenOn('diameter.listen', point, false))
      if (this.acceptor)
        for (const point of tls?.listen ?? []) addresses.push(await this.listenOn('diameter.tls.listen', point, true))
    } catch (error) {
      await this.close()
      throw error
    }
    this.diallers.start()
    return addresses
  }

  peers(): PeerState[] {
    return [...this.byPeer.values()].map(connection => {
      const { name, originHost, originRealm, address } = connection.peer!
      const { productName, applications, relay, originStateId } = connection.capabilities!
      return {
        name,
        originHost,
        originRealm,
        productName,
        address,
        state: connection.stateName,
        watchdog: connection.watchdogState,
        applications,
        relay,
        originStateId,
        connectedSince: connection.since,
        inFlight: connection.inFlight,
        outputOctets: connection.outputOctets,
        port: connection.remote.port,
        transport: connection.transport,
        direction: connection.direction,
        tally: connection.tally,
      }
    })
  }

  /** Those that were connected or are in a row by name, and have no connection. */
  absent(): AbsentPeer[] {
    const { book, config } = this.node
    const named = config.peers.map(({ identity }) => identity).filter(identity => identity !== '*')
    const hosts = new Map([...book.known(), ...named].map(host => [host.toLowerCase(), host]))
    return [...hosts]
      .filter(([key]) => !this.byPeer.has(key))
      .map(([key, originHost]) => ({ originHost, tally: book.tallyOf(key), refusal: book.refusalOf(key) }))
  }

  /** Refusals of who is in no row by name, the newest last. */
  strangers(): readonly PeerRefusal[] {
    return this.node.book.unknown()
  }

  /** Requests in work and waiting. */
  get load(): Load {
    return this.node.admission.load
  }

  counts(): ConnectionCounts {
    return {
      all: this.connections.size + this.handshakes.size,
      unidentified: this.unidentifiedInAll,
      limit: this.node.config.limits.connections,
    }
  }

  /**
   * Sends a request to a peer that advertised its application: over the peer's own connection, or over a relay's. When that
   * connection fails it is sent again over another, with the T bit and the same End-to-End identifier.
   */
  request(request: OutgoingRequest): Promise<Outcome> {
    return this.dispatch.request(request)
  }

  /** How a request would go now: over the peer that it should go over (`near`), over another (`far`), or not at all. */
  reach(destination: Destination): 'near' | 'far' | 'none' {
    return this.dispatch.reach(destination)
  }

  /** Peers that we call, as they stand. */
  dialled(): DialledPeer[] {
    return this.diallers.peers()
  }

  /**
   * Calls a peer now, not at the end of Tc, and also one that asked not to be called. Nothing happens when it is connected.
   *
   * @returns false when no row of the peer table says where to call it
   */
  call(originHost: string): boolean {
    const dialler = this.diallers.of(originHost)
    if (!this.draining) dialler?.start()
    return dialler !== undefined
  }

  /**
   * Says good-bye to one peer: DPR REBOOTING, and 5 s for its DPA.
   *
   * @returns false when it has no connection
   */
  disconnect(originHost: string): boolean {
    const connection = this.connectionOf(originHost)
    connection?.stop()
    return connection !== undefined
  }

  /**
   * Ends well, RFC 6733 section 5.4: no new connections; what is in work and what still arrives is answered; then DPR
   * REBOOTING to every peer, and a second for its DPA. May be called again, and waits for the same end.
   *
   * @param deadlineMs how long answers may take; afterwards DPR is sent all the same, and what is then unanswered stays so
   */
  drain(deadlineMs: number): Promise<void> {
    return (this.draining ??= this.drainAll(deadlineMs))
  }

  /** Ends at once. */
  async close(): Promise<void> {
    this.diallers.stop()
    for (const end of [...this.handshakes, ...this.connections]) end.disconnect('drain')
    await this.closeListeners()
    await this.empty()
  }

  // What connections ask.

  connectionOf(originHost: string): Connection | undefined {
    return this.byPeer.get(originHost.toLowerCase())
  }

  connectionsOf(row: string): number {
    let count = 0
    for (const { peer } of this.byPeer.values()) if (peer?.name === row) count++
    return count
  }

  opened(connection: Connection): void {
    this.forgetUnidentified(connection)
    const key = connection.peer!.originHost.toLowerCase()
    this.byPeer.set(key, connection)
    this.failed.delete(key)
    this.diallers.opened(connection)
    this.onPeer?.(connection.peer!, connection.capabilities?.originStateId)
  }

  failedBefore(originHost: string): boolean {
    return this.failed.has(originHost.toLowerCase())
  }

  ended(connection: Connection): void {
    const key = connection.peer?.originHost.toLowerCase()
    if (key !== undefined && this.byPeer.get(key) === connection) {
      this.byPeer.delete(key)
      // After a good-bye no probing is due: its state is as if it had never been there.
      if (!connection.departing) this.noteFailed(key)
    }
    this.diallers.ended(connection)
  }

  private noteFailed(key: string): void {
    this.failed.add(key)
    for (const oldest of this.failed) {
      if (this.failed.size <= failedPeersKept) break
      this.failed.delete(oldest)
    }
  }

  undelivered(requests: readonly Pending[], from: Connection): void {
    this.dispatch.undelivered(requests, from)
  }

  calling(originHost: string): boolean {
    return this.diallers.of(originHost)?.calling === true
  }

  contest(connection: Connection): void {
    this.diallers.of(connection.identity!)!.contest(connection)
  }

  logRarely(event: string, fields: object, message: string): void {
    const now = this.node.clock.monotonic()
    const last = this.lastLogged.get(event)
    if (last && now - last.at < logEveryMs) {
      last.suppressed++
      return
    }
    this.lastLogged.set(event, { at: now, suppressed: 0 })
    this.node.log.warn({ event, ...fields, suppressed: last?.suppressed ?? 0 }, message)
  }

  private async drainAll(deadlineMs: number): Promise<void> {
    const { clock, log } = this.node
    log.info({ connections: this.connections.size }, 'draining Diameter')
    this.diallers.stop()
    const listenersClosed = this.closeListeners()
    const timers: Timer[] = [
      clock.setTimeout(() => {
        for (const connection of this.connections) connection.hurry()
      }, deadlineMs),
      clock.setTimeout(() => {
        for (const connection of this.connections) connection.disconnect('drain')
      }, deadlineMs + afterDeadlineMs),
    ]
    for (const handshake of this.handshakes) handshake.disconnect('drain')
    for (const connection of this.connections) connection.drain()
    await this.empty()
    await listenersClosed
    for (const timer of timers) clock.clearTimeout(timer)
  }

  /** When every connection is closed. */
  private empty(): Promise<void> {
    if (this.connections.size + this.handshakes.size === 0) return Promise.resolve()
    return new Promise(resolve => {
      const before = this.onEmpty
      this.onEmpty = () => {
        before?.()
        resolve()
      }
    })
  }

  private async listenOn(key: string, point: ListenPoint, tls: boolean): Promise<Listening> {
    const accept = (socket: Socket): void => this.accept(socket, tls, carriage)
    const { server, address, transport, handedOver } = await openListener(key, point, accept)
    const carriage: Carriage = { transport, certificate: undefined, wholeMessages: handedOver }
    // Out of file descriptors, for one: those that are open go on.
    server.on('error', error => this.node.log.error({ err: error }, 'cannot accept a connection'))
    this.listeners.push(server)
    return { ...address, tls }
  }

  private async closeListeners(): Promise<void> {
    const listeners = this.listeners.splice(0)
    await Promise.all(listeners.map(listener => new Promise<void>(resolve => listener.close(() => resolve()))))
  }

  private accept(socket: Socket, tls: boolean, carriage: Carriage): void {
    const { limits } = this.node.config
    const address = socket.remoteAddress ?? ''
    if (this.draining) {
      this.turnAway(socket, 'drain')
      return
    }
    if (this.connections.size + this.handshakes.size >= limits.connections) {
      this.turnAway(socket, 'connection_limit')
      return
    }
    if ((this.unidentified.get(address) ?? 0) >= limits.unidentifiedPerAddress) {
      this.turnAway(socket, 'unidentified_limit')
      return
    }
    // A peer says its CER at once, so it is the oldest that has least to lose: a flood does not keep peers out.
    if (this.unidentifiedInAll >= limits.unidentified) {
      const [oldest] = this.waitingForCer.keys()
      oldest!.disconnect('unidentified_limit')
      this.forgetUnidentified(oldest!)
    }
    this.unidentified.set(address, (this.unidentified.get(address) ?? 0) + 1)
    this.unidentifiedInAll++
    if (tls) this.secure(socket, address)
    else this.waitingForCer.set(this.connect(socket, carriage), address)
  }

  initiated(socket: Socket, carriage: Carriage, row: PeerConfig): Connection {
    return this.connect(socket, carriage, row)
  }

  private connect(socket: Socket, carriage: Carriage, row?: PeerConfig): Connection {
    if (carriage.wholeMessages) keepWritesApart(socket)
    const connection = new Connection(socket, this.node, this, carriage, row)
    this.connections.add(connection)
    socket.once('close', () => {
      this.connections.delete(connection)
      this.forgetUnidentified(connection)
      this.noteEmpty()
    })
    return connection
  }

  /** It is a connection when TLS has told who is there, and stays unidentified until its CER. */
  private secure(socket: Socket, address: string): void {
    const { clock, config, metrics } = this.node
    const handshake = this.acceptor!.accept(socket, clock, config.limits.cerTimeoutMs, {
      secured: (secured, certificate) => {
        this.handshakes.delete(handshake)
        this.waitingForCer.delete(handshake)
        const connection = this.connect(secured, { transport: 'tls', certificate, wholeMessages: false })
        this.waitingForCer.set(connection, address)
      },
      failed: (reason, message) => {
        this.handshakes.delete(handshake)
        this.forgetUnidentified(handshake)
        metrics.closed(unknownPeer, reason)
        if (message !== undefined)
          this.logRarely('tls-handshake', { address, reason: message }, 'refused a TLS handshake')
        this.noteEmpty()
      },
    })
    this.handshakes.add(handshake)
    this.waitingForCer.set(handshake, address)
  }

  private noteEmpty(): void {
    if (this.connections.size + this.handshakes.size === 0) this.onEmpty?.()
  }

  private forgetUnidentified(connection: Connection | Handshake): void {
    const address = this.waitingForCer.get(connection)
    if (address === undefined) return
    this.waitingForCer.delete(connection)
    this.unidentifiedInAll--
    const left = this.unidentified.get(address)! - 1
    if (left === 0) this.unidentified.delete(address)
    else this.unidentified.set(address, left)
  }

  private turnAway(socket: Socket, reason: CloseReason): void {
    this.node.metrics.closed(unknownPeer, reason)
    this.logRarely(`refused-${reason}`, { address: socket.remoteAddress }, 'closed a connection as it came')
    socket.on('error', () => socket.destroy())
    socket.destroy()
  }
}

/** Disconnect-Cause: the only one that brings a client back soon. */
const rebooting = 0
/** After the deadline of a drain: a second for the DPA, and one for the last octets. */
const afterDeadlineMs = 2_000
