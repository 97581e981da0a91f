/**
 * A Diameter peer made of octets: sends what a test says, right or wrong, and gives what comes back, decoded.
 */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Test } from 'tap'
import { Framer } from '../../src/diameter/frame.js'
import type { Header } from '../../src/diameter/header.js'
import { FLAG, readHeader } from '../../src/diameter/header.js'
import { decodeTree, encodeTree } from '../../src/diameter/tree.js'
import type { AvpItem, AvpTree } from '../../src/diameter/tree.js'
import { dictionary } from './vectors.js'

/** A message that came. */
export interface Received {
  readonly header: Header
  readonly octets: Buffer
  readonly avps: readonly AvpTree[]
  /** Value of the first top-level AVP of this name. */
  value(name: string): AvpTree['value'] | undefined
  /** All values of this name, in order. */
  values(name: string): AvpTree['value'][]
}

export type Ending = 'end' | 'reset'

export interface RawClientOptions {
  readonly port: number
  readonly host?: string
  readonly localAddress?: string
}

/** Every message that any client received; what must hold of all that we send is checked on them at the end. */
export const everythingReceived: Received[] = []

export class RawClient {
  private readonly queue: Received[] = []
  private readonly waiting: ((message: Received | Ending) => void)[] = []
  private readonly framer = new Framer(1 << 24)
  private ending: Ending | undefined
  private identifier = 1
  /** How the connection ended. */
  readonly closed: Promise<Ending>

  private constructor(readonly socket: Socket) {
    socket.setNoDelay(true)
    socket.on('data', chunk => {
      this.framer.push(chunk, octets => this.deliver(received(octets)))
    })
    let reset = false
    socket.on('error', () => (reset = true))
    this.closed = new Promise(resolve => {
      socket.on('close', () => {
        this.ending = reset ? 'reset' : 'end'
        for (const waiting of this.waiting.splice(0)) waiting(this.ending)
        resolve(this.ending)
      })
    })
  }

  /** Connects, and is closed with `t`. */
  static open(t: Test, { port, host = '127.0.0.1', localAddress }: RawClientOptions): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host, ...(localAddress === undefined ? {} : { localAddress }) })
      t.teardown(() => socket.destroy())
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new RawClient(socket))
      })
    })
  }

  /** Over a socket that somebody else opened; closed with `t`. */
  static over(t: Test, socket: Socket): RawClient {
    t.teardown(() => socket.destroy())
    return new RawClient(socket)
  }

  /** Connects and exchanges capabilities. @returns the client and the CEA that it got */
  static async peer(t: Test, options: RawClientOptions, cer = aCer()): Promise<RawClient> {
    const client = await RawClient.open(t, options)
    const cea = await client.ask(cer)
    const resultCode = cea.value('Result-Code')
    if (resultCode !== 2001)
      throw new Error(`CEA ${typeof resultCode === 'number' ? resultCode : 'without a Result-Code'}`)
    return client
  }

  send(...pieces: Buffer[]): void {
    this.socket.write(Buffer.concat(pieces))
  }

  /** Sends these one after another, each in a segment of its own as far as the system lets it. */
  async sendSegments(segments: readonly Buffer[]): Promise<void> {
    for (const segment of segments) {
      await new Promise<void>(resolve => this.socket.write(segment, () => setImmediate(resolve)))
    }
  }

  /** Sends a request and gives the next message. */
  ask(request: Buffer): Promise<Received> {
    this.send(request)
    return this.next()
  }

  /** The next message. @throws Error when the connection ends first */
  async next(): Promise<Received> {
    const message = await this.nextOrEnd()
    if (typeof message === 'string') throw new Error(`the connection ended (${message}) before a message came`)
    return message
  }

  /** The next so many messages. */
  async take(count: number): Promise<Received[]> {
    const messages: Received[] = []
    while (messages.length < count) messages.push(await this.next())
    return messages
  }

  nextOrEnd(): Promise<Received | Ending> {
    const message = this.queue.shift()
    if (message) return Promise.resolve(message)
    if (this.ending) return Promise.resolve(this.ending)
    return new Promise(resolve => this.waiting.push(resolve))
  }

  /** Messages that came and that nobody asked for yet. */
  get unread(): number {
    return this.queue.length
  }

  /**
   * Proves that nothing else was sent before: a DWR goes, and its DWA must be the next message.
   */
  async nothingElse(): Promise<boolean> {
    const dwr = aDwr(this.identifier++)
    const answer = await this.ask(dwr)
    return answer.header.commandCode === 280 && answer.header.hopByHop === readHeader(dwr).hopByHop
  }

  /** Answers a request of the other side with 2001. */
  answer(request: Received): void {
    this.send(answerTo(request))
  }
  private deliver(message: Received): void {
    everythingReceived.push(message)
    const waiting = this.waiting.shift()
    if (waiting) waiting(message)
    else this.queue.push(message)
  }
}

/** A port where a test waits to be called. */
export class RawListener {
  private readonly queue: RawClient[] = []
  private readonly waiting: ((client: RawClient) => void)[] = []
  /** Connections that came. */
  calls = 0

  private constructor(readonly port: number) {}

  /** Closed with `t`. */
  static open(t: Test, port = 0): Promise<RawListener> {
    return new Promise(resolve => {
      const server = createServer(socket => {
        listener.calls++
        const client = RawClient.over(t, socket)
        const waiting = listener.waiting.shift()
        if (waiting) waiting(client)
        else listener.queue.push(client)
      })
      let listener: RawListener
      t.teardown(() => server.close())
      server.listen(port, '127.0.0.1', () => {
        listener = new RawListener((server.address() as AddressInfo).port)
        resolve(listener)
      })
    })
  }

  /** The next that calls. */
  next(): Promise<RawClient> {
    const client = this.queue.shift()
    return client ? Promise.resolve(client) : new Promise(resolve => this.waiting.push(resolve))
  }
}

/** A 2001 to a request of ours. */
export function answerTo(request: Received): Buffer {
  const { commandCode, applicationId, hopByHop, endToEnd, flags } = request.header
  const avps: AvpItem[] = [
    ['Result-Code', 2001],
    ['Origin-Host', 'pgw1.example.net'],
    ['Origin-Realm', 'example.net'],
  ]
  const sessionId = request.value('Session-Id')
  if (typeof sessionId === 'string') avps.unshift(['Session-Id', sessionId])
  const command = { 280: 'DWA', 282: 'DPA', 258: 'RAA' }[commandCode]
  if (command === undefined) throw new Error(`cannot answer command ${commandCode}`)
  return encodeTree(dictionary, { command, flags: flags & FLAG.PROXIABLE, applicationId, hopByHop, endToEnd, avps })
}

export function received(octets: Buffer): Received {
  const { header, avps } = decodeTree(dictionary, Buffer.from(octets))
  const values = (name: string): AvpTree['value'][] => avps.filter(avp => avp.name === name).map(avp => avp.value)
  return { header, octets: Buffer.from(octets), avps, values, value: name => values(name)[0] }
}

export interface CerParts {
  readonly originHost?: string
  readonly originRealm?: string
  /** What comes after Product-Name; Auth-Application-Id 4 unless said otherwise. */
  readonly more?: AvpItem[]
}

export const aCer = ({ originHost = 'pgw1.example.net', originRealm = 'example.net', more }: CerParts = {}): Buffer =>
  encodeTree(dictionary, {
    command: 'CER',
    hopByHop: 1,
    endToEnd: 1,
    avps: [
      ['Origin-Host', originHost],
      ['Origin-Realm', originRealm],
      ['Host-IP-Address', '192.0.2.1'],
      ['Vendor-Id', 10415],
      ['Product-Name', 'raw-client'],
      ...(more ?? [['Auth-Application-Id', 4] as const]),
    ],
  })

export interface CeaParts extends CerParts {
  readonly resultCode?: number
}

/** The answer to a CER of the other side. */
export const aCea = (cer: Received, parts: CeaParts = {}): Buffer => {
  const { originHost = 'pgw1.example.net', originRealm = 'example.net', resultCode = 2001, more } = parts
  const { hopByHop, endToEnd } = cer.header
  return encodeTree(dictionary, {
    command: 'CEA',
    flags: resultCode >= 3000 && resultCode < 4000 ? FLAG.ERROR : 0,
    hopByHop,
    endToEnd,
    avps: [
      ['Result-Code', resultCode],
      ['Origin-Host', originHost],
      ['Origin-Realm', originRealm],
      ['Host-IP-Address', '192.0.2.1'],
      ['Vendor-Id', 10415],
      ['Product-Name', 'raw-client'],
      ...(more ?? [['Auth-Application-Id', 4] as const]),
    ],
  })
}

export const aDwr = (hopByHop = 1, originHost = 'pgw1.example.net'): Buffer =>
  encodeTree(dictionary, {
    command: 'DWR',
    hopByHop,
    endToEnd: hopByHop,
    avps: [
      ['Origin-Host', originHost],
      ['Origin-Realm', 'example.net'],
    ],
  })

export const aDpr = (disconnectCause: number): Buffer =>
  encodeTree(dictionary, {
    command: 'DPR',
    hopByHop: 77,
    endToEnd: 77,
    avps: [
      ['Origin-Host', 'pgw1.example.net'],
      ['Origin-Realm', 'example.net'],
      ['Disconnect-Cause', disconnectCause],
    ],
  })

export interface CcrParts {
  readonly hopByHop?: number
  readonly endToEnd?: number
  readonly flags?: number
  readonly sessionId?: string
  readonly originHost?: string
  readonly destinationHost?: string
  readonly destinationRealm?: string | undefined
  readonly more?: AvpItem[]
}

/** A CCR-I of the realm and host of the vectors. */
export function aCcr(parts: CcrParts = {}): Buffer {
  const { hopByHop = 1, endToEnd = hopByHop, flags = FLAG.REQUEST | FLAG.PROXIABLE } = parts
  const realm = 'destinationRealm' in parts ? parts.destinationRealm : 'charging.example.net'
  const avps: AvpItem[] = [
    ['Session-Id', parts.sessionId ?? 'pgw1.example.net;1;1'],
    ['Origin-Host', parts.originHost ?? 'pgw1.example.net'],
    ['Origin-Realm', 'example.net'],
  ]
  if (realm !== undefined) avps.push(['Destination-Realm', realm])
  if (parts.destinationHost !== undefined) avps.push(['Destination-Host', parts.destinationHost])
  avps.push(
    ['Auth-Application-Id', 4],
    ['Service-Context-Id', '32251@3gpp.org'],
    ['CC-Request-Type', 1],
    ['CC-Request-Number', 0],
    ...(parts.more ?? []),
  )
  return encodeTree(dictionary, { command: 'CCR', flags, applicationId: 4, hopByHop, endToEnd, avps })
}

/**
 * What must hold of everything that we send, checked on all that the clients of this file received: BASE-003, 007, 009, 040,
 * 062, 065, 067, 099, 108.
 */
export function checkEverythingReceived(t: Test): void {
  const baseCommands = [257, 280, 282]
  for (const message of everythingReceived) {
    const { header, octets, avps } = message
    const { flags, commandCode } = header
    const isRequest = (flags & FLAG.REQUEST) !== 0
    const resultCode = message.value('Result-Code')
    const protocolError = typeof resultCode === 'number' && resultCode >= 3000 && resultCode < 4000
    const faults = Object.entries({
      'the length is not that of the octets': header.length !== octets.length || octets.length % 4 !== 0,
      'the version is not 1': header.version !== 1,
      'a reserved bit is set': (flags & 0x0f) !== 0,
      'an answer has the T bit': !isRequest && (flags & FLAG.RETRANSMITTED) !== 0,
      'the E bit is not that of the Result-Code': ((flags & FLAG.ERROR) !== 0) !== protocolError,
      'Session-Id is not first': avps.slice(1).some(avp => avp.name === 'Session-Id'),
      'an answer has no Result-Code': !isRequest && resultCode === undefined,
      'no Origin-Host or Origin-Realm': !message.value('Origin-Host') || !message.value('Origin-Realm'),
      'a base command has an application, the P bit or a Session-Id':
        baseCommands.includes(commandCode) &&
        (header.applicationId !== 0 || (flags & FLAG.PROXIABLE) !== 0 || message.value('Session-Id') !== undefined),
      'a refusal does not say why':
        typeof resultCode === 'number' && resultCode >= 3000 && !message.value('Error-Message'),
      'Error-Message has the M bit': avps.some(avp => avp.name === 'Error-Message' && avp.flags !== 0),
      'a destination in an answer': !isRequest && avps.some(avp => avp.name.startsWith('Destination-')),
      'two Failed-AVP': message.values('Failed-AVP').length > 1,
      'an AVP that no dictionary has': avps.some(avp => /^\d+:/.test(avp.name)),
      'Supported-Vendor-Id 0': message.values('Supported-Vendor-Id').includes(0),
    }).flatMap(([fault, holds]) => (holds ? [fault] : []))
    if (faults.length > 0) t.fail(`${faults.join('; ')}: ${octets.toString('hex')}`)
  }
  t.ok(everythingReceived.length > 0, `checked ${everythingReceived.length} messages`)
}
