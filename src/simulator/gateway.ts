/**
 * A gateway (PGW, SMF, IMS node) as a Diameter client: connections with CER, DWR and DPR, requests matched to their answers,
 * and what a real one does about a lost connection: it sends again over another, with the T bit (RFC 6733 section 5.5.4).
 * Also sends any octets as they are, for replays and for tests of what is wrong.
 */
import { connect, type Socket } from 'node:net'
import { systemClock, type Clock, type Timer } from '../clock.js'
import type { Dictionary } from '../diameter/dictionary.js'
import { Framer } from '../diameter/frame.js'
import { FLAG, readHeader } from '../diameter/header.js'
import { encodeTree, type AvpItem } from '../diameter/tree.js'
import { Writer } from '../diameter/writer.js'
import { ccrAvps, encodeCcr, writeCcr, type CcrIdentifiers, type CcrInput, type CcrNode } from './ccr.js'
import { Message } from './message.js'

export interface GatewayOptions extends CcrNode {
  readonly dictionary: Dictionary
  readonly clock?: Clock
  /** Tx of RFC 8506 section 13: how long it waits for an answer, ms. */
  readonly patienceMs?: number
  /** Origin-State-Id: another value tells that it has forgotten its sessions. */
  readonly originStateId?: number
  /** Answers what the server asks of it (RAR, ASR); by default it does not know the session. */
  readonly onRequest?: (request: Message, connection: GatewayConnection) => readonly AvpItem[] | undefined
  /** Sees every message of `send` and all that comes. */
  readonly trace?: (direction: 'sent' | 'received', octets: Buffer) => void
}

export interface Address {
  readonly host: string
  readonly port: number
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
  readonly destinationRealm: string
  readonly dictionary: Dictionary
  readonly clock: Clock
  /** Open ones, the first is preferred. */
  readonly connections: GatewayConnection[] = []
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
    this.connections.push(connection)
    void connection.closed.then(() => {
      this.connections.splice(this.connections.indexOf(connection), 1)
    })
    return connection
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
   * one, as long as there is one.
   *
   * @throws ConnectionLostError when no connection is left, NoAnswerError after Tx
   */
  async ask(ccr: CcrInput): Promise<Message> {
    const endToEnd = this.nextEndToEnd()
    let retransmitted = false
    for (;;) {
      const connection = this.connections.find(({ ended }) => !ended)
      if (!connection) throw new ConnectionLostError('there is no connection to a charging system')
      const identifiers = { hopByHop: connection.nextHopByHop(), endToEnd, retransmitted }
      try {
        return await connection.ask(this.encode(ccr, identifiers))
      } catch (error) {
        if (!(error instanceof ConnectionLostError)) throw error
        retransmitted = true
      }
    }
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
  private hopByHop = Math.floor(Math.random() * 0x7fffffff)
  private flushing = false

  private constructor(
    private readonly gateway: Gateway,
    private readonly socket: Socket,
  ) {
    socket.setNoDelay(true)
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
  static openWithoutCer(gateway: Gateway, { host, port }: Address): Promise<GatewayConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new GatewayConnection(gateway, socket))
      })
    })
  }

  get ended(): boolean {
    return this.socket.destroyed
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
    this.gateway.options.trace?.('sent', octets)
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

  private own(command: string, more: readonly AvpItem[]): Buffer {
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
    this.gateway.options.trace?.('received', octets)
    if (flags & FLAG.REQUEST) {
      this.answer(new Message(this.gateway.dictionary, octets))
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

  /** DWR and DPR get what they want; RAR and ASR what the gateway's owner says. */
  private answer(request: Message): void {
    const { dictionary, originHost, originRealm, options } = this.gateway
    const { commandCode, applicationId, hopByHop, endToEnd, flags } = request.header
    const command = answerNames[commandCode]
    if (command === undefined) return
    const base = commandCode === Command.DWR || commandCode === Command.DPR
    const more = base ? undefined : options.onRequest?.(request, this)
    const sessionId = request.text('Session-Id')
    const avps: AvpItem[] = [
      ...(sessionId === undefined ? [] : [['Session-Id', sessionId] as const]),
      ['Result-Code', base || more ? SUCCESS : UNKNOWN_SESSION_ID],
      ['Origin-Host', originHost],
      ['Origin-Realm', originRealm],
      ...(more ?? []),
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
