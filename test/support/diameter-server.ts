/**
 * A Diameter server on a free loopback port, with a clock that stands still and an application that grants everything.
 */
import { pino } from 'pino'
import type { Test } from 'tap'
import { VirtualClock } from '../../src/clock.js'
import type { DiameterConfig, DiameterLimits, PeerConfig } from '../../src/config/config.js'
import { standardProfile } from '../../src/config/profiles.js'
import type { Dial } from '../../src/diameter/dialler.js'
import { readMessage, shape } from '../../src/diameter/message.js'
import { DiameterCounters } from '../../src/diameter/metrics.js'
import type { Answer, Application, IncomingRequest } from '../../src/diameter/server.js'
import { DiameterServer } from '../../src/diameter/server.js'
import { TlsFiles } from '../../src/diameter/tls.js'
import { dictionary } from './vectors.js'

/** Host and realm of the vectors. */
export const identity = 'ocs1.charging.example.net'
export const realm = 'charging.example.net'

const defaultLimits: DiameterLimits = {
  messageOctets: 1_048_576,
  depth: 16,
  avps: 4096,
  sessionIdOctets: 512,
  connections: 1000,
  unidentified: 32,
  unidentifiedPerAddress: 4,
  cerTimeoutMs: 10_000,
  frameTimeoutMs: 30_000,
  outputOctets: 4_194_304,
  inFlight: 4096,
  inFlightInAll: 4096,
  ratePerSecond: 0,
  queue: 32_768,
  queueAgeMs: 250,
}

export const aPeer = (parts: Partial<PeerConfig> = {}): PeerConfig => ({
  name: 'pgw',
  identity: 'pgw1.example.net',
  realm: 'example.net',
  from: ['127.0.0.0/8', '::1/128'],
  transport: 'any',
  certificate: 'origin-host',
  relay: false,
  limits: { connections: undefined, inFlight: undefined, ratePerSecond: undefined },
  profile: standardProfile,
  ...parts,
})

/** The vectors' gateway, a relay, and anybody in the realm. */
export const examplePeers: readonly PeerConfig[] = [
  aPeer(),
  aPeer({ name: 'dra', identity: 'dra1.example.net', relay: true }),
  aPeer({ name: 'others', identity: '*', realm: 'example.net' }),
]

export type DiameterParts = Partial<Omit<DiameterConfig, 'limits'>> & { readonly limits?: Partial<DiameterLimits> }

export const aDiameterConfig = ({ limits, ...parts }: DiameterParts = {}): DiameterConfig => ({
  identity,
  realm,
  listen: [{ host: '127.0.0.1', port: 0 }],
  tls: undefined,
  dictionaries: [],
  peers: examplePeers,
  limits: { ...defaultLimits, ...limits },
  watchdogMs: 30_000,
  reconnectMs: 30_000,
  duplicatePeer: 'reject',
  ...parts,
})

class Ccr {
  sessionId = ''
  ccRequestType = 0
  ccRequestNumber = 0
}

const ccrShape = shape(dictionary, 'Credit-Control-Request', Ccr, {
  sessionId: 'Session-Id',
  ccRequestType: 'CC-Request-Type',
  ccRequestNumber: 'CC-Request-Number',
})

/** Answers every CCR that can be read with 2001; or as `handle` says. */
export class StubApplication implements Application {
  readonly id = 4
  readonly requests: IncomingRequest[] = []

  constructor(private readonly handle?: (request: IncomingRequest) => Promise<Answer | undefined>) {}

  async answer(request: IncomingRequest): Promise<Answer | undefined> {
    this.requests.push(request)
    return this.handle ? this.handle(request) : cca(request)
  }
}

/** A success CCA with the least that a client wants. */
export function cca(request: IncomingRequest): Answer {
  const { sessionId, ccRequestType, ccRequestNumber } = readMessage(ccrShape, request.octets, defaultLimits)
  return {
    resultCode: 2001,
    write: writer => {
      writer.text(263, sessionId)
      writer.u32(268, 2001)
      writer.text(264, identity)
      writer.text(296, realm)
      writer.u32(258, 4)
      writer.u32(416, ccRequestType)
      writer.u32(415, ccRequestNumber)
    },
  }
}

export interface LogLine {
  readonly level: number
  readonly msg: string
  readonly event?: string
  readonly [field: string]: unknown
}

export interface TestServer {
  readonly server: DiameterServer
  readonly port: number
  /** With `tls` in the configuration; its files are not watched. */
  readonly tls: TlsFiles | undefined
  readonly tlsPort: number | undefined
  readonly clock: VirtualClock
  readonly metrics: DiameterCounters
  readonly application: StubApplication
  readonly log: readonly LogLine[]
  readonly config: DiameterConfig
  /** Lets the event loop turn until this holds; for what the server does on its own. */
  until(holds: () => boolean): Promise<void>
}

export interface TestServerParts extends DiameterParts {
  readonly application?: StubApplication
  readonly clock?: VirtualClock
  readonly random?: () => number
  readonly originStateId?: number
  readonly dial?: Dial
}

/** Started, and closed with `t`. Jitter is zero unless `random` says otherwise. */
export async function startServer(t: Test, parts: TestServerParts = {}): Promise<TestServer> {
  const { application = new StubApplication(), clock = new VirtualClock(), random = () => 0.5, ...rest } = parts
  const { originStateId = 1_768_470_000, dial, ...diameter } = rest
  const config = aDiameterConfig(diameter)
  const metrics = new DiameterCounters(config.peers.map(peer => peer.name))
  const log: LogLine[] = []
  const logger = pino({ level: 'debug' }, { write: line => void log.push(JSON.parse(line) as LogLine) })
  const tls = config.tls && new TlsFiles({ config: config.tls, clock, log: logger, metrics })
  const server = new DiameterServer({
    tls,
    ...{ config, dictionary, applications: [application], log: logger, metrics, clock, originStateId, random },
    ...(dial && { dial }),
  })
  const addresses = await server.listen()
  const [address] = addresses
  const tlsPort = addresses.find(each => each.tls)?.port
  t.teardown(() => server.close())
  return { server, port: address!.port, tls, tlsPort, clock, metrics, application, log, config, until }
}

/** Lets the event loop turn until something holds. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(resolve => setImmediate(resolve))
}
