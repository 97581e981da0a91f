/**
 * Which messages a trace wants: those of a subscriber, of a peer, of a session, or of several of these at once. A request says
 * whose it is; its answer is found by the Hop-by-Hop identifier, and a session stays known once its subscriber was.
 */
import { FLAG, readHeader } from '../diameter/header.js'
import { dataAt, occurrences } from '../diameter/routing.js'
import type { TapDirection, TappedConnection } from '../diameter/tap.js'

/** What is asked for; all that is given must hold. */
export interface Wanted {
  /** Identities of one subscriber, however they are written. */
  readonly subscriber?: readonly string[] | undefined
  /** Origin-Host, of a connection's peer or of who is behind it. */
  readonly peer?: string | undefined
  readonly session?: string | undefined
}

/** A message that is wanted. */
export interface Match {
  readonly sessionId: string | undefined
  /** Identities that it names, of the one who is traced; undefined: it is shown as nobody's. */
  readonly shown: readonly string[] | undefined
}

const code = { sessionId: 263, originHost: 264, destinationHost: 293, subscriptionId: 443 } as const
const subscriptionIdData = 444
const subscriptionIdExtension = 659
/** Subscription-Id-E164 to Subscription-Id-Private. */
const extensionMembers: ReadonlySet<number> = new Set([660, 661, 662, 663, 664])
/** Requests that wait for their answer, and sessions; the oldest are forgotten. */
const pairsKept = 4096
const sessionsKept = 1000
/** Shorter names would match by chance. */
const shortestName = 6

export class Filter {
  private readonly sessions = new Set<string>()
  private readonly asked = new Map<string, Match>()
  private readonly peer: string | undefined
  private readonly names: ReadonlySet<string> | undefined

  /** @param sessions Session-Ids of the subscriber that are open already */
  constructor(
    private readonly wanted: Wanted,
    sessions: readonly string[],
  ) {
    this.peer = wanted.peer?.toLowerCase()
    this.names = wanted.subscriber && new Set(wanted.subscriber.flatMap(namesOf))
    for (const session of sessions) this.know(session)
  }

  /** A session of the subscriber, told by another daemon. False: it was known. */
  know(sessionId: string): boolean {
    if (this.sessions.has(sessionId)) return false
    this.sessions.add(sessionId)
    evict(this.sessions, sessionsKept)
    return true
  }

  knows(sessionId: string): boolean {
    return this.sessions.has(sessionId)
  }

  /** @returns undefined when the message is not wanted */
  match(direction: TapDirection, connection: TappedConnection, octets: Buffer): Match | undefined {
    const { flags, hopByHop } = readHeader(octets)
    const request = (flags & FLAG.REQUEST) !== 0
    const sessionId = textOf(octets, code.sessionId)
    if (!request) {
      const pair = pairOf(direction === 'in' ? 'out' : 'in', connection, hopByHop)
      const asked = this.asked.get(pair)
      if (asked !== undefined) {
        this.asked.delete(pair)
        return { ...asked, sessionId: sessionId ?? asked.sessionId }
      }
    }
    const match = this.judge(direction, connection, octets, sessionId)
    if (match !== undefined && request) {
      this.asked.set(pairOf(direction, connection, hopByHop), match)
      evict(this.asked, pairsKept)
    }
    return match
  }

  private judge(
    direction: TapDirection,
    connection: TappedConnection,
    octets: Buffer,
    sessionId: string | undefined,
  ): Match | undefined {
    const { session } = this.wanted
    if (session !== undefined && sessionId !== session) return undefined
    if (this.peer !== undefined && !this.isOfPeer(direction, connection, octets)) return undefined
    if (this.names === undefined) {
      return {
        sessionId,
        shown: session === undefined ? undefined : long(identitiesIn(octets).slice(0, mostIdentities)),
      }
    }
    const identities = identitiesIn(octets).slice(0, mostIdentities)
    const names = identities.flatMap(namesOf)
    const known = sessionId !== undefined && this.sessions.has(sessionId)
    // A session never has two subscribers, but a request may lie about whose it is: then it is not his.
    const his = names.length === 0 ? known : names.some(name => this.names!.has(name))
    if (!his) return undefined
    if (sessionId !== undefined) this.know(sessionId)
    return { sessionId, shown: long([...identities, ...this.names]) }
  }

  private isOfPeer(direction: TapDirection, { peer }: TappedConnection, octets: Buffer): boolean {
    if (peer?.originHost.toLowerCase() === this.peer) return true
    const behind = textOf(octets, direction === 'in' ? code.originHost : code.destinationHost)
    return behind?.toLowerCase() === this.peer
  }
}

/** No subscriber has as many; what a message names beyond them is hidden like anybody's. */
const mostIdentities = 64

/**
 * How one identity may be written: `+491701000001`, `tel:+491701000001`, `sip:+491701000001@ims.example` and `491701000001` have
 * a name in common.
 */
export function namesOf(identity: string): string[] {
  const plain = identity.trim().toLowerCase()
  const bare = plain.replace(/^(?:sips?|tel):/, '').replace(/;.*$/, '')
  const user = /^\+?\d+(?=@)/.exec(bare)?.[0] ?? bare
  const names = [plain, bare, user, user.replace(/^\+/, '')]
  return [...new Set(names)].filter(name => name !== '')
}

/** Data of all Subscription-Ids, in whatever form. */
function identitiesIn(octets: Buffer): string[] {
  const found: string[] = []
  for (const at of occurrences(octets, code.subscriptionId)) {
    const group = dataAt(octets, at)
    for (const inner of occurrences(group, subscriptionIdData, 0)) found.push(dataAt(group, inner).toString('utf8'))
  }
  for (const at of occurrences(octets, subscriptionIdExtension)) {
    const group = dataAt(octets, at)
    for (const member of extensionMembers)
      for (const inner of occurrences(group, member, 0)) found.push(dataAt(group, inner).toString('utf8'))
  }
  return found
}

function textOf(octets: Buffer, avp: number): string | undefined {
  for (const at of occurrences(octets, avp)) return dataAt(octets, at).toString('utf8')
  return undefined
}

const long = (identities: readonly string[]): string[] =>
  [...new Set(identities.flatMap(namesOf))].filter(name => name.length >= shortestName)

/** Hop-by-Hop identifiers are unique on a connection and in a direction. */
const pairOf = (direction: TapDirection, { remote, local }: TappedConnection, hopByHop: number): string =>
  `${direction} ${remote.address} ${remote.port} ${local.port} ${hopByHop}`

function evict(from: Set<string> | Map<string, unknown>, limit: number): void {
  for (const oldest of from.keys()) {
    if (from.size <= limit) return
    from.delete(oldest)
  }
}
