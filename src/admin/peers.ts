/**
 * The peer table and its connections over the admin API: `/v1/peers`. What one daemon knows; another on the same store has
 * connections of its own.
 */
import type { Millis } from '../units.js'
import { Problem } from './problem.js'
import { object, ok, text, type Route, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js'
import { actorForLog as actor } from './fields.js'

/** What the transport tells of its peers; times are Unix ms. */
export interface PeersReading {
  readonly rows: readonly RowReading[]
  readonly connected: readonly ConnectedReading[]
  /** Who is in a row by name or was connected, and has no connection. */
  readonly absent: readonly AbsentReading[]
  /** Refusals of who is in no row by name, the newest last. */
  readonly strangers: readonly RefusalReading[]
  /** Those that this daemon calls. */
  readonly dialled: readonly DialledReading[]
}

interface DialledReading {
  readonly originHost: string
  readonly target: { readonly host: string; readonly port: number }
  readonly nextCallAt: Millis | undefined
  readonly lastFailure: string | undefined
}

interface RowReading {
  readonly name: string
  readonly identity: string
  readonly realm: string
  readonly from: readonly string[]
  readonly relay: boolean
}

interface ConnectedReading {
  readonly name: string
  readonly originHost: string
  readonly originRealm: string
  readonly productName: string
  readonly address: string
  readonly port: number
  readonly transport: string
  readonly direction: string
  readonly state: string
  readonly watchdog: string
  readonly applications: readonly number[]
  readonly relay: boolean
  readonly originStateId: number | undefined
  readonly connectedSince: Millis
  readonly inFlight: number
  readonly outputOctets: number
  readonly tally: TallyReading
}

interface AbsentReading {
  readonly originHost: string
  readonly tally: TallyReading | undefined
  readonly refusal: RefusalReading | undefined
}

interface TallyReading {
  readonly row: string
  readonly connections: number
  readonly requestsIn: number
  readonly requestsOut: number
  /** By class of the Result-Code, 0: none. */
  readonly answersIn: readonly number[]
  readonly answersOut: readonly number[]
  readonly lastError:
    | {
        readonly at: Millis
        readonly direction: 'in' | 'out'
        readonly resultCode: number
        readonly message: string | undefined
      }
    | undefined
  readonly lastEnd: { readonly at: Millis; readonly reason: string } | undefined
}

interface RefusalReading {
  readonly at: Millis
  readonly rejection: string
  readonly resultCode: number
  readonly message: string
  readonly originHost: string | undefined
  readonly address: string
}

/** The answer of `GET /v1/peers`. */
export interface PeersView {
  /** The peer table, in its order. */
  readonly rows: readonly RowReading[]
  /** Connected ones first; those in a row by name are there always. */
  readonly peers: readonly PeerView[]
  /** Refused CERs of who is in no row by name, the newest first. */
  readonly refused: readonly RefusalView[]
}

export interface PeerView {
  /** Row of the peer table. */
  readonly name: string
  readonly originHost: string
  readonly connected: boolean
  /** Undefined without a connection, and so are the others until `counts`. */
  readonly originRealm?: string
  readonly productName?: string
  readonly address?: string
  readonly port?: number
  readonly transport?: string
  /** `accepted` or `initiated`. */
  readonly direction?: string
  /** RFC 6733 section 5.6. */
  readonly state?: string
  /** RFC 3539. */
  readonly watchdog?: string
  readonly applications?: readonly number[]
  readonly relay?: boolean
  readonly originStateId?: number
  readonly since?: string
  /** Its requests in work. */
  readonly inFlight?: number
  /** Octets that it has not read yet. */
  readonly outputOctets?: number
  /** Since the daemon started; undefined when it was not connected since. */
  readonly counts?: CountsView
  readonly lastError?: { readonly at: string; readonly direction: 'in' | 'out'; readonly resultCode: number; readonly message?: string } // prettier-ignore
  readonly lastEnd?: { readonly at: string; readonly reason: string }
  readonly lastRefusal?: RefusalView
  /** It is called from here. */
  readonly called?: {
    readonly at: string
    /** Undefined while it is connected or being called, and when it asked not to be called. */
    readonly next?: string
    readonly lastFailure?: string
  }
}

export interface CountsView {
  readonly connections: number
  readonly requestsIn: number
  readonly requestsOut: number
  readonly answersIn: ByClassView
  readonly answersOut: ByClassView
}

/** Answers by the class of their Result-Code; `none` have no code that is one. */
export type ByClassView = Readonly<Record<'1xxx' | '2xxx' | '3xxx' | '4xxx' | '5xxx' | 'none', number>>

export interface RefusalView {
  readonly at: string
  readonly rejection: string
  readonly resultCode: number
  readonly message: string
  readonly originHost?: string
  readonly address: string
}

/** What is done about peers; the daemon implements it. */
export interface PeerServices {
  readonly peers: () => PeersReading
  /** Says good-bye with DPR; false: it has no connection here. */
  readonly closePeer: (originHost: string, actor: string) => boolean
  /** Calls it now; false: no row says where. */
  readonly callPeer: (originHost: string, actor: string) => boolean
}

const originHost = text('Origin-Host, in any case', { minLength: 1, maxLength: 255 })
const params = object(['originHost'], { originHost })

export const peerRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/peers',
    permission: 'peer.read',
    summary: 'The peer table of this daemon: its rows, the connections, who is missing and why, who was refused.',
    answers: { 200: 'Rows, peers and refusals' },
    problems: [],
    work: (_, { peers }) => ok(viewOf(peers())),
  },
  {
    method: 'GET',
    path: '/v1/peers/:originHost',
    permission: 'peer.read',
    summary: 'One peer with all that this daemon knows of it.',
    params,
    answers: { 200: 'The peer' },
    problems: ['not-found'],
    work: ({ params }, { peers }) => ok(existingPeer(peers(), params['originHost']!)),
  },
  {
    method: 'POST',
    path: '/v1/peers/:originHost/close',
    permission: 'peer.write',
    summary: 'Say good-bye to a peer: what is in work is answered, then DPR. It may connect again.',
    params,
    body: object([], { actor }),
    answers: { 200: 'The peer as it was; its connection ends' },
    problems: ['not-found'],
    work: closePeer,
  },
  {
    method: 'POST',
    path: '/v1/peers/:originHost/call',
    permission: 'peer.write',
    summary: 'Call a peer now whose row says where, also one that asked not to be called.',
    params,
    body: object([], { actor }),
    answers: { 200: 'The peer as it was' },
    problems: ['not-found'],
    work: callPeer,
  },
]

function closePeer({ params, actor: who }: RouteRequest, services: RouteServices): RouteAnswer {
  const peer = existingPeer(services.peers(), params['originHost']!)
  if (!peer.connected || !services.closePeer(peer.originHost, who))
    throw new Problem('not-found', `${peer.originHost} has no connection to this daemon`)
  return ok(peer)
}

function callPeer({ params, actor: who }: RouteRequest, services: RouteServices): RouteAnswer {
  const peer = existingPeer(services.peers(), params['originHost']!)
  if (!services.callPeer(peer.originHost, who))
    throw new Problem('not-found', `no row of the peer table says where to call ${peer.originHost}`)
  return ok(peer)
}

function existingPeer(reading: PeersReading, host: string): PeerView {
  const peer = viewOf(reading).peers.find(each => each.originHost.toLowerCase() === host.toLowerCase())
  if (!peer) throw new Problem('not-found', `no row of the peer table and no connection of this daemon is ${host}`)
  return peer
}

function viewOf({ rows, connected, absent, strangers, dialled }: PeersReading): PeersView {
  const order = new Map(rows.map(({ name }, i) => [name, i]))
  const place = ({ name }: PeerView): number => order.get(name) ?? rows.length
  const calls = new Map(dialled.map(each => [each.originHost.toLowerCase(), calledView(each)]))
  const peers = [...connected.map(connectedView), ...absent.map(each => absentView(each, rows))].map(peer => {
    const called = calls.get(peer.originHost.toLowerCase())
    return called ? { ...peer, called } : peer
  })
  return {
    rows: rows.map(({ name, identity, realm, from, relay }) => ({ name, identity, realm, from, relay })),
    peers: peers.sort((a, b) => place(a) - place(b) || Number(b.connected) - Number(a.connected)),
    refused: strangers.map(refusalView).reverse(),
  }
}

function connectedView(peer: ConnectedReading): PeerView {
  const { name, originHost, originRealm, productName, address, port, transport, direction } = peer
  const { state, watchdog, applications, relay, originStateId, inFlight, outputOctets } = peer
  return {
    ...{ name, originHost, connected: true, originRealm, productName, address, port, transport, direction },
    ...{ state, watchdog, applications, relay, since: timeText(peer.connectedSince), inFlight, outputOctets },
    ...(originStateId !== undefined && { originStateId }),
    ...tallyView(peer.tally),
  }
}

function absentView({ originHost, tally, refusal }: AbsentReading, rows: readonly RowReading[]): PeerView {
  const named = rows.find(({ identity }) => identity.toLowerCase() === originHost.toLowerCase())
  return {
    ...{ name: named?.name ?? tally?.row ?? '', originHost, connected: false },
    ...(tally && tallyView(tally)),
    ...(refusal && { lastRefusal: refusalView(refusal) }),
  }
}

function calledView({ target, nextCallAt, lastFailure }: DialledReading): NonNullable<PeerView['called']> {
  const { host, port } = target
  return {
    at: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    ...(nextCallAt !== undefined && { next: timeText(nextCallAt) }),
    ...(lastFailure !== undefined && { lastFailure }),
  }
}

function tallyView(tally: TallyReading): Pick<PeerView, 'counts' | 'lastError' | 'lastEnd'> {
  const { connections, requestsIn, requestsOut, answersIn, answersOut, lastError, lastEnd } = tally
  const counts = {
    ...{ connections, requestsIn, requestsOut },
    ...{ answersIn: byClass(answersIn), answersOut: byClass(answersOut) },
  }
  return {
    counts,
    ...(lastError && {
      lastError: {
        ...{ at: timeText(lastError.at), direction: lastError.direction, resultCode: lastError.resultCode },
        ...(lastError.message !== undefined && { message: lastError.message }),
      },
    }),
    ...(lastEnd && { lastEnd: { ...lastEnd, at: timeText(lastEnd.at) } }),
  }
}

function byClass([none = 0, one = 0, two = 0, three = 0, four = 0, five = 0]: readonly number[]): ByClassView {
  return { '1xxx': one, '2xxx': two, '3xxx': three, '4xxx': four, '5xxx': five, none }
}

function refusalView({ at, rejection, resultCode, message, originHost, address }: RefusalReading): RefusalView {
  return {
    ...{ at: timeText(at), rejection, resultCode, message, address },
    ...(originHost !== undefined && { originHost }),
  }
}

const timeText = (at: Millis): string => new Date(at).toISOString()
