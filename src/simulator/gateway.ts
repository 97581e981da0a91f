/**
 * A gateway (PGW, SMF, IMS node) as a Diameter client: connections with CER, DWR and DPR, requests matched to their answers,
 * and what a real one does about a lost connection: it sends again over another, with the T bit (RFC 6733 section 5.5.4).
 * Also sends any octets as they are, for replays and for tests of what is wrong.
 */
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { systemClock, type Clock, type Timer } from '../clock.js'
import type { Dictionary } from '../diameter/dictionary.js'
import { Framer } from '../diameter/frame.js'
import { FLAG, readHeader } from '../diameter/header.js'
import { encodeTree, type AvpItem } from '../diameter/tree.js'
import { Writer } from '../diameter/writer.js'
import { ccrAvps, encodeCcr, writeCcr, type CcrIdentifiers, type CcrInput, type CcrNode } from './ccr.js'
import { Message } from './message.js'
import type { Endpoint } from './pcap.js'

export interface GatewayOptions extends CcrNode {
  readonly dictionary: Dictionary
  readonly clock?: Clock
  /** Tx of RFC 8506 section 13: how long it waits for an answer, ms. */
  readonly patienceMs?: number
  /** Origin-State-Id: another value tells that it has forgotten its sessions. */
  readonly originStateId?: number
  /** Answers what the server asks (RAR, ASR) of sessions that nobody attends to; by default it does not know them. */
  readonly onRequest?: (request: Message, connection: GatewayConnection) => Reaction | Promise<Reaction>
  /** Sees every message of `send` and all that comes. */
  readonly trace?: (direction: 'sent' | 'received', octets: Buffer, connection: GatewayConnection) => void
}

/** How a request of the server is met: with these AVPs and 2001, with another code, not at all, or with 5002 (undefined). */
export type Reaction =
  readonly AvpItem[] | { readonly resultCode: number; readonly avps?: readonly AvpItem[] } | 'silence' | undefined

/** Who is asked first when the server wants something of a session. */
export type Attendant = (request: Message, connection: GatewayConnection) => Reaction | Promise<Reaction>

export interface Address {
  readonly host: string
  readonly port: number
  /** TLS from the first octet, RFC 6733 section 13.1. */
  readonly tls?: GatewayTls
}

export interface GatewayTls {
  /** PEM: who may have signed the server's certificate; the system's authorities when absent. */
  readonly ca?: string | Buffer
  /** PEM: who we are, where the server wants to know it. */
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  /** The name that the server's certificate must have; default the host of the address. */
  readonly serverName?: string
  /** Takes any certificate of the server: for tests only. */
  readonly insecure?: boolean
}

/** Over which connections a request may go. By default over any, and on to the next one when one is lost. */
export interface Route {
  /** The server that it is for: its connections are tried first. */
  readonly home?: Endpoint | undefined
  /** False: no other server will do. */
  readonly moves?: boolean
  /** Also tries the next one when no answer comes within Tx. */
  readonly afterSilence?: boolean
  /** Also tries the next one when a server is too busy, or cannot be reached from there. */
  readonly afterRefusal?: boolean
}

/** The connection ended before the answer came. */
export class ConnectionLostError extends Error {
  override readonly name = 'ConnectionLostError'
}

/** No answer within Tx. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError'
}

const Command = { CER: 257, RAR: 258, ASR: 274, DWR: 280, DPR: 282 } as const
const SUCCESS = 2001
const UNKNOWN_SESSION_ID = 5002
/** RFC 8506 section 5.7: temporary failures of the way to the server, or of it. */
const failures: ReadonlySet<number> = new Set([3002, 3004, 3005])
const REBOOTING = 0
const messageLimit = 1 << 24
const answerNames: Readonly<Record<number, string>> = {
  [Command.DWR]: 'DWA',
  [Command.DPR]: 'DPA',
  [Command.RAR]: 'RAA',
  [Command.ASR]: 'ASA',
}

export class Gateway implements CcrNode {
  readonly originHost: string
  readonly originRealm: string
  /** May be set to what a server says in its CEA. */
  destinationRealm: string
  readonly dictionary: Dictionary
  readonly clock: Clock
  /** Open ones, the first is preferred. */
  readonly connections: GatewayConnection[] = []
  /** Who attends to a session, by its Session-Id. */
  readonly attendants = new Map<string, Attendant>()
  private readonly started: number
  private sessions = Math.floor(Math.random() * 0x7fffffff)
  private endToEnd: number

  constructor(readonly options: GatewayOptions) {
    this.originHost = options.originHost
    this.originRealm = options.originRealm
    this.destinationRealm = options.destinationRealm
    this.dictionary = options.dictionary
    this.clock = options.clock ?? systemClock
    this.started = Math.floor(this.clock.now() / 1000)
    // RFC 6733 section 3: the low bits of the time first, so that a restart does not repeat.
    this.endToEnd = ((this.started & 0xfff) << 20) >>> 0
  }

  /**
   * Connects and exchanges capabilities.
   *
   * @throws Error of the socket, or one that says why the server refused the CER
   */
  async connect(address: Address): Promise<GatewayConnection> {
    const connection = await GatewayConnection.open(this, address)
    this.adopt(connection)
    return connection
  }

  /** From now on, until it ends, requests may go over it. */
  adopt(connection: GatewayConnection): void {
    this.connections.push(connection)
    void connection.closed.then(() => {
      this.connections.splice(this.connections.indexOf(connection), 1)
    })
  }

  /** RFC 6733 section 8.8. */
  nextSessionId(): string {
    return `${this.originHost};${this.started};${++this.sessions}`
  }

  nextEndToEnd(): number {
    this.endToEnd = (this.endToEnd + 1) >>> 0
    return this.endToEnd
  }

  /**
   * Sends a request and gives its answer. A connection that is lost meanwhile does not lose the request: it goes over another
   * one, as long as there is one, with the same End-to-End Identifier.
   *
   * @throws ConnectionLostError when no connection is left, NoAnswerError after Tx
   */
  async ask(ccr: CcrInput, route: Route = {}): Promise<Message> {
    return (await this.askAlong(ccr, route)).answer
  }

  /** The same, and tells over which connection the answer came. */
  async askAlong(ccr: CcrInput, route: Route): Promise<{ answer: Message; connection: GatewayConnection }> {
    const { afterSilence = false, afterRefusal = false } = route
    const endToEnd = this.nextEndToEnd()
    const tried = new Set<GatewayConnection>()
    let retransmitted = false
    for (;;) {
      const [connection, next] = this.along(route).filter(each => !tried.has(each))
      if (!connection) throw new ConnectionLostError('there is no connection to a charging system')
      tried.add(connection)
      const identifiers = { hopByHop: connection.nextHopByHop(), endToEnd, retransmitted }
      try {
        const answer = await connection.ask(this.encode(ccr, identifiers))
        // A request that was refused so was not processed: the next one gets no possible duplicate.
        if (!next || !afterRefusal || !failures.has(answer.resultCode)) return { answer, connection }
      } catch (error) {
        const silent = error instanceof NoAnswerError && afterSilence && next !== undefined
        if (!(error instanceof ConnectionLostError) && !silent) throw error
        retransmitted = true
      }
    }
  }

  /** Open connections, those to its home first. */
  private along({ home, moves = true }: Route): GatewayConnection[] {
    const open = this.connections.filter(({ ended }) => !ended)
    if (!home) return open
    const near = open.filter(({ remote }) => remote.address === home.address && remote.port === home.port)
    return moves ? [...near, ...open.filter(each => !near.includes(each))] : near
  }

  encode(ccr: CcrInput, identifiers: CcrIdentifiers): Buffer {
    return encodeCcr(this.dictionary, ccrAvps(this, ccr), identifiers)
  }

  /** Says good-bye on every connection. */
  async disconnect(): Promise<void> {
    await Promise.all([...this.connections].map(connection => connection.disconnect()))
  }
}

interface Waiting {
  readonly resolve: (octets: Buffer) => void
  readonly reject: (error: Error) => void
  timer: Timer | undefined
}

export class GatewayConnection {
  /** Settles when the connection has ended, from whichever side. */
  readonly closed: Promise<void>
  /** The server's capabilities. */
  cea: Message | undefined
  /** Everything that nobody waited for: answers to what was sent with `send`, duplicates. */
  readonly unexpected: Message[] = []
  private readonly waiting = new Map<number, Waiting>()
  private readonly framer = new Framer(messageLimit)
  private readonly writer = new Writer()
  private readonly ends: { readonly local: Endpoint; readonly remote: Endpoint }
  private hopByHop = Math.floor(Math.random() * 0x7fffffff)
  private flushing = false

  private constructor(
    private readonly gateway: Gateway,
    private readonly socket: Socket,
  ) {
    socket.setNoDelay(true)
    this.ends = {
      local: { address: socket.localAddress ?? '', port: socket.localPort ?? 0 },
      remote: { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 },
    }
    socket.on('data', chunk => {
      try {
        this.framer.push(chunk, octets => this.receive(octets))
      } catch {
        socket.destroy() // what comes is no Diameter
      }
    })
    socket.on('error', () => undefined) // 'close' follows
    this.closed = new Promise(resolve => {
      socket.on('close', () => {
        for (const { reject, timer } of this.waiting.values()) {
          gateway.clock.clearTimeout(timer)
          reject(new ConnectionLostError('the connection ended before the answer came'))
        }
        this.waiting.clear()
        resolve()
      })
    })
  }

  static async open(gateway: Gateway, address: Address): Promise<GatewayConnection> {
    const connection = await GatewayConnection.openWithoutCer(gateway, address)
    const cea = await connection.ask(connection.cer())
    if (cea.resultCode !== SUCCESS) {
      connection.abort()
      const why = cea.text('Error-Message')
      throw new Error(`the server refuses the connection: ${cea.resultCode}${why === undefined ? '' : ` (${why})`}`)
    }
    connection.cea = cea
    return connection
  }

  /** Only the socket: the first message is up to the caller. */
  static openWithoutCer(gateway: Gateway, { host, port, tls }: Address): Promise<GatewayConnection> {
    return new Promise((resolve, reject) => {
      const socket = tls ? tlsSocket(host, port, tls) : connect({ host, port })
      socket.once('error', reject)
      socket.once(tls ? 'secureConnect' : 'connect', () => {
        socket.off('error', reject)
        resolve(new GatewayConnection(gateway, socket))
      })
    })
  }

  /** This side of it. */
  get local(): Endpoint {
    return this.ends.local
  }

  /** The server's side of it. */
  get remote(): Endpoint {
    return this.ends.remote
  }

  get ended(): boolean {
    return this.socket.destroyed
  }

  /** Requests that wait for their answers. */
  get pending(): number {
    return this.waiting.size
  }

  nextHopByHop(): number {
    this.hopByHop = (this.hopByHop + 1) >>> 0
    return this.hopByHop
  }

  /** Sends a request, whole and encoded, and gives the answer with its Hop-by-Hop Identifier. */
  async ask(request: Buffer): Promise<Message> {
    return new Message(this.gateway.dictionary, await this.exchange(request))
  }

  /** The same, and the answer stays octets: for load. */
  exchange(request: Buffer): Promise<Buffer> {
    const answer = this.answerTo(readHeader(request).hopByHop)
    this.send(request)
    return answer
  }

  /** The fast way: written straight into what goes out at the end of this turn. */
  exchangeCcr(ccr: CcrInput): Promise<Buffer> {
    const hopByHop = this.nextHopByHop()
    const answer = this.answerTo(hopByHop)
    writeCcr(this.writer, this.gateway, ccr, { hopByHop, endToEnd: this.gateway.nextEndToEnd() })
    this.flushSoon()
    return answer
  }

  /** Sends octets as they are. */
  send(octets: Buffer): void {
    this.gateway.options.trace?.('sent', octets, this)
    this.socket.write(octets)
  }

  /** DPR; ends when its answer is there and the server has closed, or after Tx. */
  async disconnect(cause = REBOOTING): Promise<void> {
    const dpr = this.own('DPR', [['Disconnect-Cause', cause]])
    await this.ask(dpr).catch(() => undefined)
    this.socket.end()
    await this.closed
  }

  /** As if the machine had died: nothing is said. */
  abort(): void {
    this.socket.destroy()
  }

  /** A CER of this gateway: application 4, no security. */
  cer(): Buffer {
    return this.own('CER', [
      ['Host-IP-Address', this.socket.localAddress ?? '127.0.0.1'],
      ['Vendor-Id', 0],
      ['Product-Name', 'ocsd-simulator', 0],
      ['Inband-Security-Id', 0],
      ['Auth-Application-Id', 4],
      ['Supported-Vendor-Id', 10415],
    ])
  }

  /** A message of the base protocol with this gateway's Origin-Host, Origin-Realm and Origin-State-Id. */
  own(command: string, more: readonly AvpItem[]): Buffer {
    const { dictionary, originHost, originRealm, options } = this.gateway
    const avps: AvpItem[] = [
      ['Origin-Host', originHost],
      ['Origin-Realm', originRealm],
    ]
    if (options.originStateId !== undefined && command !== 'DPR') avps.push(['Origin-State-Id', options.originStateId])
    return encodeTree(dictionary, {
      command,
      hopByHop: this.nextHopByHop(),
      endToEnd: this.gateway.nextEndToEnd(),
      avps: [...avps, ...more],
    })
  }

  private answerTo(hopByHop: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const { clock, options } = this.gateway
      if (this.socket.destroyed) {
        reject(new ConnectionLostError('the connection has ended'))
        return
      }
      const waiting: Waiting = { resolve, reject, timer: undefined }
      const { patienceMs = 10_000 } = options
      waiting.timer = clock.setTimeout(() => {
        this.waiting.delete(hopByHop)
        reject(new NoAnswerError(`no answer within ${patienceMs / 1000} s`))
      }, patienceMs)
      this.waiting.set(hopByHop, waiting)
    })
  }

  private receive(octets: Buffer): void {
    const { flags, hopByHop } = readHeader(octets)
    this.gateway.options.trace?.('received', octets, this)
    if (flags & FLAG.REQUEST) {
      void this.answer(new Message(this.gateway.dictionary, octets))
      return
    }
    const waiting = this.waiting.get(hopByHop)
    if (!waiting) {
      this.unexpected.push(new Message(this.gateway.dictionary, octets))
      return
    }
    this.waiting.delete(hopByHop)
    this.gateway.clock.clearTimeout(waiting.timer)
    waiting.resolve(octets)
  }

  /** DWR and DPR get what they want; RAR and ASR what the session's attendant says, or the gateway's owner. */
  private async answer(request: Message): Promise<void> {
    const { dictionary, originHost, originRealm, options, attendants } = this.gateway
    const { commandCode, applicationId, hopByHop, endToEnd, flags } = request.header
    const command = answerNames[commandCode]
    if (command === undefined) return
    const sessionId = request.text('Session-Id')
    const base = commandCode === Command.DWR || commandCode === Command.DPR
    const attend = attendants.get(sessionId ?? '') ?? options.onRequest
    const reaction = base ? [] : await attend?.(request, this)
    if (reaction === 'silence' || this.socket.destroyed) return
    const { resultCode, more } = whatOf(reaction)
    const avps: AvpItem[] = [
      ...(sessionId === undefined ? [] : [['Session-Id', sessionId] as const]),
      ['Result-Code', resultCode],
      ['Origin-Host', originHost],
      ['Origin-Realm', originRealm],
      ...(base && options.originStateId !== undefined && commandCode === Command.DWR
        ? [['Origin-State-Id', options.originStateId] as const]
        : []),
      ...more,
      // A relay on the way finds its state in it: RFC 6733 section 6.2.
      ...request.all('Proxy-Info'),
    ]
    const header = { command, flags: flags & FLAG.PROXIABLE, applicationId, hopByHop, endToEnd }
    this.send(encodeTree(dictionary, { ...header, avps }))
    if (commandCode === Command.DPR) this.socket.end()
  }

  private flushSoon(): void {
    if (this.flushing) return
    this.flushing = true
    setImmediate(() => {
      this.flushing = false
      this.socket.write(this.writer.take())
    })
  }
}

function tlsSocket(host: string, port: number, tls: GatewayTls): Socket {
  const { ca, cert, key, serverName, insecure = false } = tls
  const name = serverName ?? (isIP(host) === 0 ? host : undefined)
  return connectTls({
    ...{ host, port, minVersion: 'TLSv1.2', rejectUnauthorized: !insecure },
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(name !== undefined && { servername: name }),
  })
}

function whatOf(reaction: Exclude<Reaction, 'silence'>): { resultCode: number; more: readonly AvpItem[] } {
  if (reaction === undefined) return { resultCode: UNKNOWN_SESSION_ID, more: [] }
  if ('resultCode' in reaction) return { resultCode: reaction.resultCode, more: reaction.avps ?? [] }
  return { resultCode: SUCCESS, more: reaction }
}
