/**
 * Peers that we call: opens their transport, calls again after Tc, and decides which connection stays when both sides call at
 * once. RFC 6733 sections 2.1, 5.4.3, 5.6 and 5.6.4; the states are those of `dialTransitions` in peer.ts.
 */
import { connect as connectTcp, isIP } from 'node:net'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { connect as connectTls } from 'node:tls'
import type { Timer } from '../clock.js'
import type { PeerConfig, PeerTarget } from '../config/config.js'
import type { Millis } from '../units.js'
import type { Carriage } from './carriage.js'
import { plainTcp, reset } from './carriage.js'
import type { Connection } from './connection.js'
import type { Node } from './node.js'
import type { DialAction, DialEvent, DialState } from './peer.js'
import { dialStep } from './peer.js'
import { certificateFits } from './peer-table.js'
import { lowerCase } from './routing.js'
import type { TlsFiles } from './tls.js'

/** A peer that we call, as it stands. */
export interface DialledPeer {
  /** Row of the peer table. */
  readonly name: string
  /** Origin-Host. */
  readonly originHost: string
  readonly target: PeerTarget
  readonly state: DialState
  /** When it is called next; undefined while there is a connection or a call, and when it asked not to be called. */
  readonly nextCallAt: Millis | undefined
  /** Why the last call came to nothing. */
  readonly lastFailure: string | undefined
}

/** A transport on its way: gives the socket when octets may be sent (over TLS: when the peer's certificate is good). */
export interface Call {
  /** Gives up. */
  cancel(): void
}

/**
 * Opens a transport.
 *
 * @param done called once, unless it is cancelled before
 */
export type Dial = (row: CalledRow, done: (outcome: Transported | Error) => void) => Call

/** A row that says where to call its peer. */
export type CalledRow = PeerConfig & { readonly connect: PeerTarget }

/** A transport that is there. */
export interface Transported {
  readonly socket: Socket
  readonly carriage: Carriage
}

/** What dialling asks of the server. */
export interface DialOwner {
  /** Makes a connection of a socket that we opened, and keeps it until it is closed. */
  initiated(socket: Socket, carriage: Carriage, row: PeerConfig): Connection
}

/** Tc is up to a tenth longer or shorter, so that many nodes do not call one at the same moment. */
const jitter = 0.1

export class Diallers {
  private readonly byHost: ReadonlyMap<string, Dialler>

  constructor(node: Node, owner: DialOwner, dial: Dial) {
    this.byHost = new Map(
      node.config.peers
        .filter(isCalled)
        .map(row => [row.identity.toLowerCase(), new Dialler(row, node, owner, dial)] as const),
    )
  }

  /** Calls every peer that has no connection. */
  start(): void {
    for (const dialler of this.byHost.values()) dialler.start()
  }

  /** Calls nobody any more. Connections stay. */
  stop(): void {
    for (const dialler of this.byHost.values()) dialler.stop()
  }

  peers(): DialledPeer[] {
    return [...this.byHost.values()].map(dialler => dialler.view())
  }

  /** The one that calls this Origin-Host. */
  of(originHost: string): Dialler | undefined {
    return this.byHost.get(originHost.toLowerCase())
  }

  /** A connection's capabilities are exchanged. */
  opened(connection: Connection): void {
    this.of(connection.peer!.originHost)?.opened(connection)
  }

  /** A connection is over, whatever became of it. */
  ended(connection: Connection): void {
    const originHost = connection.identity
    if (originHost !== undefined) this.of(originHost)?.ended(connection)
  }
}

export class Dialler {
  private state: DialState = 'Closed'
  private call: Call | undefined
  private callTimer: Timer | undefined
  private reconnectTimer: Timer | undefined
  private nextCallAt: Millis | undefined
  /** The connection that we made. */
  private ours: Connection | undefined
  /** The one that the peer made. */
  private theirs: Connection | undefined
  private lastFailure: string | undefined
  private saidLast: string | undefined
  private stopped = true

  constructor(
    private readonly row: CalledRow,
    private readonly node: Node,
    private readonly owner: DialOwner,
    private readonly dial: Dial,
  ) {}

  /** Whether a call is under way, so that a CER of this peer starts an election. */
  get calling(): boolean {
    return this.state !== 'Closed' && this.state !== 'I-Open' && this.state !== 'R-Open'
  }

  /** Calls it now, also when it asked not to be called. Does nothing while there is a call or a connection. */
  start(): void {
    this.stopped = false
    this.clearReconnect()
    this.onEvent('Start')
  }

  stop(): void {
    this.stopped = true
    this.clearReconnect()
    this.endCall()
  }

  view(): DialledPeer {
    const { name, identity: originHost, connect: target } = this.row
    return { name, originHost, target, state: this.state, nextCallAt: this.nextCallAt, lastFailure: this.lastFailure }
  }

  /** A connection of the peer waits for the election: `elected()` or `reject()` of it is called, now or later. */
  contest(connection: Connection): void {
    if (this.theirs) {
      connection.reject()
      return
    }
    this.theirs = connection
    this.onEvent('R-Conn-CER')
  }

  opened(connection: Connection): void {
    this.clearReconnect()
    this.lastFailure = undefined
    if (connection === this.ours) {
      this.onEvent('I-Rcv-CEA')
      return
    }
    this.theirs = connection
    this.onEvent('R-Conn-CER')
  }

  ended(connection: Connection): void {
    if (connection === this.ours) {
      this.ours = undefined
      if (this.calling) this.noteFailure(connection.failure ?? 'it closed the connection before its CEA')
      this.onEvent('I-Peer-Disc', connection)
    } else if (connection === this.theirs) {
      this.theirs = undefined
      this.onEvent('R-Peer-Disc', connection)
    }
  }

  /** @param ended whose end it is */
  private onEvent(event: DialEvent, ended?: Connection): void {
    const row = dialStep(this.state, event)
    if (!row) return
    const [next, action] = row
    this.state = next
    this.perform(action, ended)
  }

  private perform(action: DialAction, ended: Connection | undefined): void {
    switch (action) {
      case 'I-Snd-Conn-Req':
        this.connect()
        return
      case 'I-Snd-CER':
        this.ours!.introduce()
        return
      case 'I-Snd-CER-and-elect':
        // Ours: the winner, who closes this connection at once, does not say on it who it is.
        if (!this.wins()) this.ours!.introduce()
        this.elect()
        return
      case 'elect':
        this.elect()
        return
      case 'I-Disc-and-R-Snd-CEA':
        this.ours?.disconnect('election')
        this.theirs!.elected()
        return
      case 'R-Snd-CEA':
        this.theirs!.elected()
        return
      case 'R-Disc':
        this.theirs!.disconnect('election')
        return
      case 'set-Tc':
        this.setTc(ended)
        return
      case 'R-Reject': // by `contest`
      case 'none':
        return
    }
  }

  // The call.

  private connect(): void {
    const { clock, config } = this.node
    this.lastFailure = undefined
    const failed = (reason: string): void => {
      this.endCall()
      this.noteFailure(reason)
      this.onEvent('I-Rcv-Conn-Nack')
    }
    const seconds = config.limits.cerTimeoutMs / 1000
    this.callTimer = clock.setTimeout(() => failed(`no answer in ${seconds} s`), config.limits.cerTimeoutMs)
    this.call = this.dial(this.row, outcome => {
      if (outcome instanceof Error) {
        failed(outcome.message)
        return
      }
      clock.clearTimeout(this.callTimer)
      this.call = undefined
      this.ours = this.owner.initiated(outcome.socket, outcome.carriage, this.row)
      this.onEvent('I-Rcv-Conn-Ack')
    })
  }

  private endCall(): void {
    this.node.clock.clearTimeout(this.callTimer)
    this.call?.cancel()
    this.call = undefined
  }

  /** Said once, not every Tc, while it stays the same. */
  private noteFailure(reason: string): void {
    const { name, identity, connect } = this.row
    const failure = `no connection to ${connect.host}:${connect.port}: ${reason}`
    const fields = { peer: name, 'Origin-Host': identity }
    if (failure === this.saidLast) this.node.log.debug(fields, failure)
    else this.node.log.warn(fields, failure)
    this.saidLast = failure
    this.lastFailure = failure
  }

  // The election, RFC 6733 section 5.6.4.

  private elect(): void {
    if (this.wins()) this.onEvent('Win-Election')
  }

  /** The greater Origin-Host keeps the connection that came to it, and closes the one that it made. */
  private wins(): boolean {
    return Buffer.compare(this.node.identity.host, lowerCase(this.row.identity)) > 0
  }

  // Tc.

  private setTc(ended: Connection | undefined): void {
    if (this.stopped) return
    const { clock, config, log, random } = this.node
    if (ended?.unwelcome) {
      const fields = { peer: this.row.name, 'Origin-Host': this.row.identity }
      log.warn(fields, 'peer said BUSY or DO_NOT_WANT_TO_TALK_TO_YOU: it is not called again until it has called')
      return
    }
    const waitMs = config.reconnectMs * (1 + (random() * 2 - 1) * jitter)
    this.nextCallAt = clock.now() + waitMs
    this.reconnectTimer = clock.setTimeout(() => this.start(), waitMs)
  }

  private clearReconnect(): void {
    this.node.clock.clearTimeout(this.reconnectTimer)
    this.nextCallAt = undefined
  }
}

/**
 * Over TCP, or over TLS with the certificate that is in force when it calls.
 *
 * @param tls undefined: nobody is called over TLS
 */
export const dialWith =
  (tls: TlsFiles | undefined): Dial =>
  (row, done) =>
    new DialledSocket(row, tls, done)

class DialledSocket implements Call {
  private readonly raw: Socket
  private secured: TLSSocket | undefined
  private over = false

  constructor(
    private readonly row: CalledRow,
    private readonly tls: TlsFiles | undefined,
    private readonly done: (outcome: Transported | Error) => void,
  ) {
    const { host, port } = row.connect
    this.raw = connectTcp({ host, port, noDelay: true })
    this.raw.on('error', (error: Error) => this.fail(error))
    this.raw.once('connect', () => {
      if (row.connect.tls) this.secure()
      else this.succeed(this.raw, plainTcp)
    })
  }

  cancel(): void {
    this.over = true
    this.raw.destroy()
  }

  private secure(): void {
    if (!this.tls) {
      this.fail(new Error('no certificate is configured under diameter.tls'))
      return
    }
    const secured = (this.secured = connectTls({
      socket: this.raw,
      secureContext: this.tls.clientContext(),
      ...(isIP(this.row.connect.host) === 0 && { servername: this.row.connect.host }),
      // The name in the certificate is compared with that of the row, below: it is the peer that must be right, not the host.
      checkServerIdentity: () => undefined,
    }))
    secured.on('error', (error: Error) => this.fail(error))
    secured.once('close', () => this.fail(new Error('it closed the connection in the TLS handshake')))
    secured.once('secureConnect', () => {
      const certificate = secured.getPeerX509Certificate()
      if (!certificateFits(this.row.certificate, this.row.identity, certificate)) {
        const wanted = this.row.certificate === 'origin-host' ? this.row.identity : this.row.certificate
        this.fail(new Error(`its certificate does not name ${wanted}`))
        return
      }
      secured.disableRenegotiation()
      // A TLSSocket cannot reset; what it stands on can.
      secured.resetAndDestroy = () => {
        reset(this.raw)
        return secured
      }
      this.succeed(secured, { transport: 'tls', certificate, wholeMessages: false })
    })
  }

  private succeed(socket: Socket, carriage: Carriage): void {
    if (this.over) return
    this.over = true
    this.done({ socket, carriage })
  }

  private fail(error: Error): void {
    if (this.over) return
    this.over = true
    this.secured?.destroy()
    this.raw.destroy()
    this.done(error)
  }
}

const isCalled = (row: PeerConfig): row is CalledRow => row.connect !== undefined
