/**
 * The Diameter server: listens, keeps the connections and who they are of, bounds them, and sends requests of ours over
 * them. RFC 6733 section 5.
 */
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { Logger } from 'pino'
import type { Clock, Timer } from '../clock.js'
import type { DiameterConfig, ListenAddress } from '../config/config.js'
import type { Millis } from '../units.js'
import { Admission, type Load } from './admission.js'
import type { Application, PeerInfo } from './application.js'
import { cerShape } from './capabilities.js'
import type { ConnectionOwner, Transport } from './connection.js'
import { Connection } from './connection.js'
import type { Dictionary } from './dictionary.js'
import { FLAG } from './header.js'
import { shape } from './message.js'
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
import type { WatchdogState } from './watchdog.js'
import { Writer } from './writer.js'

export type { Answer, Application, IncomingRequest, PeerInfo } from './application.js'
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
  /** Gives 0 ≤ n < 1. Jitter and the start of identifiers; for tests. */
  readonly random?: () => number
  /** Hears every message while it listens. */
  readonly tap?: Tap
  /** A request that is older is shed unread; default 7 s. */
  readonly holdBudgetMs?: number
  /** How much of the memory that the process may have is in use, 0 to 1; default none. */
  readonly memory?: () => number
  /** A CER was accepted, with the Origin-State-Id in it, if any. */
  readonly onPeer?: (peer: PeerInfo, originStateId: number | undefined) => void
}

/** A peer whose CER was accepted. */
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
}

/** At most one line of a kind in this time; the rest is counted. */
const logEveryMs = 10_000
/** So many failed peers are remembered; more than there can be connections by far. */
const failedPeersKept = 10_000

export class DiameterServer implements ConnectionOwner {
  private readonly node: Node
  private readonly listeners: Server[] = []
  /** Every socket that is not closed yet. */
  private readonly connections = new Set<Connection>()
  /** How many of an address have no accepted CER, and which they are. */
  private readonly unidentified = new Map<string, number>()
  private readonly waitingForCer = new Map<Connection, string>()
  private unidentifiedInAll = 0
  /** By Origin-Host in lower case: one live connection a peer. */
  private readonly byPeer = new Map<string, Connection>()
  private readonly failed = new Set<string>()
  private readonly lastLogged = new Map<string, { at: number; suppressed: number }>()
  private readonly scratch = new Writer(4096)
  private draining: Promise<void> | undefined
  private readonly onPeer: DiameterServerOptions['onPeer']
  private onEmpty: (() => void) | undefined

  /** @throws Error when the peer table has a block that is no CIDR block */
  constructor(options: DiameterServerOptions) {
    const { config, dictionary, applications, log, metrics, clock, originStateId, random = Math.random } = options
    const identityAvps = avps(writer => {
      writer.text(264, config.identity)
      writer.text(296, config.realm)
    })
    this.onPeer = options.onPeer
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
        dwr: shape(dictionary, 'Device-Watchdog-Request', Dwr, { originHost: 'Origin-Host' }),
        dpr: shape(dictionary, 'Disconnect-Peer-Request', Dpr, { disconnectCause: 'Disconnect-Cause' }),
      },
      bodies: {
        dwr: avps(writer => {
          writer.ready(identityAvps)
          writer.u32(278, originStateId)
        }),
        dwa: avps(writer => {
          writer.u32(268, 2001)
          writer.ready(identityAvps)
          writer.u32(278, originStateId)
        }),
        dpr: avps(writer => {
          writer.ready(identityAvps)
          writer.i32(273, rebooting)
        }),
        dpa: avps(writer => {
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
    const open = config.peers
      .filter(peer => peer.identity === '*')
      .map(peer => `${peer.name} (${peer.from.join(', ')})`)
    if (open.length > 0) log.warn({ rows: open }, 'the peer table takes any identity from these addresses')
  }

  /**
   * Listens on every address of the configuration.
   *
   * @returns where, with the ports that the system picked
   * @throws Error that says which address cannot be had, and what to change
   */
  async listen(): Promise<ListenAddress[]> {
    const addresses: ListenAddress[] = []
    try {
      for (const address of this.node.config.listen) addresses.push(await this.listenOn(address))
    } catch (error) {
      await this.close()
      throw error
    }
    this.node.admission.start()
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
      all: this.connections.size,
      unidentified: this.unidentifiedInAll,
      limit: this.node.config.limits.connections,
    }
  }

  /**
   * Sends a request to a peer that advertised its application: over the peer's own connection, or over a relay's. When that
   * connection fails it is sent again over another, with the T bit and the same End-to-End identifier.
   */
  request(request: OutgoingRequest): Promise<Outcome> {
    const { destinationHost, via, commandCode, applicationId, timeoutMs } = request
    const { clock, endToEnd } = this.node
    return new Promise(resolve => {
      const pending: Pending = {
        flags: FLAG.REQUEST | FLAG.PROXIABLE,
        commandCode,
        applicationId,
        endToEnd: endToEnd.next(),
        body: avps(writer => request.write(writer), this.scratch),
        destinationHost: destinationHost.toLowerCase(),
        via: via?.toLowerCase(),
        failover: true,
        settle: outcome => {
          clock.clearTimeout(pending.timer)
          resolve(outcome)
        },
        timer: undefined,
        carrier: undefined,
        hopByHop: 0,
      }
      pending.timer = clock.setTimeout(() => {
        pending.carrier?.remove(pending)
        pending.settle({ kind: 'timeout' })
      }, timeoutMs)
      this.dispatch(pending, undefined)
    })
  }

  /** How a request would go now: over the peer that it should go over (`near`), over another (`far`), or not at all. */
  reach({ destinationHost, via, applicationId }: Pick<OutgoingRequest, 'destinationHost' | 'via' | 'applicationId'>):
    'near' | 'far' | 'none' {
    const to = { destinationHost: destinationHost.toLowerCase(), via: via?.toLowerCase(), applicationId }
    const carrier = this.carrierFor(to, undefined)
    if (!carrier) return 'none'
    return carrier === this.byPeer.get(to.via ?? to.destinationHost) ? 'near' : 'far'
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
    for (const connection of this.connections) connection.disconnect('drain')
    await this.closeListeners()
    await this.empty()
    this.node.admission.stop()
  }

  // What connections ask.

  connectionOf(originHost: string): Connection | undefined {
    return this.byPeer.get(originHost.toLowerCase())
  }

  opened(connection: Connection): void {
    this.forgetUnidentified(connection)
    const key = connection.peer!.originHost.toLowerCase()
    this.byPeer.set(key, connection)
    this.failed.delete(key)
    this.onPeer?.(connection.peer!, connection.capabilities?.originStateId)
  }

  failedBefore(originHost: string): boolean {
    return this.failed.has(originHost.toLowerCase())
  }

  ended(connection: Connection): void {
    const key = connection.peer?.originHost.toLowerCase()
    if (key === undefined || this.byPeer.get(key) !== connection) return
    this.byPeer.delete(key)
    // After a good-bye no probing is due: its state is as if it had never been there.
    if (connection.departing) return
    this.failed.add(key)
    for (const oldest of this.failed) {
      if (this.failed.size <= failedPeersKept) break
      this.failed.delete(oldest)
    }
  }

  undelivered(requests: readonly Pending[], from: Connection): void {
    for (const request of requests) {
      request.flags |= FLAG.RETRANSMITTED
      this.dispatch(request, from)
    }
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
    const listenersClosed = this.closeListeners()
    const timers: Timer[] = [
      clock.setTimeout(() => {
        for (const connection of this.connections) connection.hurry()
      }, deadlineMs),
      clock.setTimeout(() => {
        for (const connection of this.connections) connection.disconnect('drain')
      }, deadlineMs + afterDeadlineMs),
    ]
    for (const connection of this.connections) connection.drain()
    await this.empty()
    await listenersClosed
    for (const timer of timers) clock.clearTimeout(timer)
    this.node.admission.stop()
  }

  /** When every connection is closed. */
  private empty(): Promise<void> {
    if (this.connections.size === 0) return Promise.resolve()
    return new Promise(resolve => {
      const before = this.onEmpty
      this.onEmpty = () => {
        before?.()
        resolve()
      }
    })
  }

  private listenOn({ host, port }: ListenAddress): Promise<ListenAddress> {
    const listener = createServer({ noDelay: true }, socket => this.accept(socket))
    return new Promise((resolve, reject) => {
      listener.once('error', (error: NodeJS.ErrnoException) => reject(listenError(host, port, error)))
      listener.listen({ host, port }, () => {
        listener.removeAllListeners('error')
        // Out of file descriptors, for one: those that are open go on.
        listener.on('error', error => this.node.log.error({ err: error }, 'cannot accept a connection'))
        this.listeners.push(listener)
        resolve({ host, port: (listener.address() as AddressInfo).port })
      })
    })
  }

  private async closeListeners(): Promise<void> {
    const listeners = this.listeners.splice(0)
    await Promise.all(listeners.map(listener => new Promise<void>(resolve => listener.close(() => resolve()))))
  }

  private accept(socket: Socket): void {
    const { limits } = this.node.config
    const address = socket.remoteAddress ?? ''
    if (this.draining) {
      this.turnAway(socket, 'drain')
      return
    }
    if (this.connections.size >= limits.connections) {
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
    const connection = new Connection(socket, this.node, this)
    this.connections.add(connection)
    this.waitingForCer.set(connection, address)
    socket.once('close', () => {
      this.connections.delete(connection)
      this.forgetUnidentified(connection)
      if (this.connections.size === 0) this.onEmpty?.()
    })
  }

  private forgetUnidentified(connection: Connection): void {
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

  /** Sends it over a connection that can carry it, the peer's own before a relay's. */
  private dispatch(request: Pending, except: Connection | undefined): void {
    const carrier = this.carrierFor(request, except)
    if (carrier) carrier.send(request)
    else request.settle({ kind: 'undeliverable' })
  }

  private carrierFor(
    { destinationHost, via, applicationId }: Pick<Pending, 'destinationHost' | 'via' | 'applicationId'>,
    except: Connection | undefined,
  ): Connection | undefined {
    const last = via === undefined || via === destinationHost ? undefined : this.byPeer.get(via)
    if (last && last !== except && last.forwards && last.carries(applicationId)) return last
    const own = this.byPeer.get(destinationHost)
    if (own && own !== except && own.carries(applicationId)) return own
    for (const relay of this.byPeer.values()) {
      if (relay !== except && relay.forwards && relay.carries(applicationId)) return relay
    }
    return undefined
  }
}

/** Disconnect-Cause: the only one that brings a client back soon. */
const rebooting = 0
/** After the deadline of a drain: a second for the DPA, and one for the last octets. */
const afterDeadlineMs = 2_000

/** AVPs as octets. */
function avps(write: (writer: Writer) => void, writer = new Writer(1024)): Buffer {
  writer.message(0, 0, 0, 0, 0)
  write(writer)
  writer.endMessage()
  return writer.take().subarray(20)
}

function listenError(host: string, port: number, error: NodeJS.ErrnoException): Error {
  const where = `${host}:${port}`
  switch (error.code) {
    case 'EADDRINUSE':
      return new Error(`diameter.listen: ${where} is taken; stop what listens there, or choose another port`)
    case 'EADDRNOTAVAIL':
      return new Error(`diameter.listen: this machine has no address ${host}`)
    case 'EACCES':
      return new Error(`diameter.listen: ${where} is not allowed to this user; choose a port above 1023`)
    default:
      return new Error(`diameter.listen: cannot listen on ${where}: ${error.message}`)
  }
}
