/**
 * What is remembered of each peer beyond its connection: requests and answers by class of their Result-Code, the last
 * error, the last end, the last refusal. For people who look after peers; alerts have metrics.ts. Bounded, whoever knocks.
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import type { CerRejection, CloseReason } from './metrics.js'

/** Answers by class of their Result-Code: 1xxx to 5xxx at 1 to 5; at 0 what has none. */
export type ByClass = readonly [number, number, number, number, number, number]

export interface PeerError {
  readonly at: Millis
  /** `out`: we answered so; `in`: the peer did. */
  readonly direction: 'in' | 'out'
  readonly resultCode: number
  /** Ours has one when the request failed before it was charged. */
  readonly message: string | undefined
}

export interface PeerEnd {
  readonly at: Millis
  readonly reason: CloseReason
}

export interface PeerRefusal {
  readonly at: Millis
  readonly rejection: CerRejection
  readonly resultCode: number
  readonly message: string
  /** As its CER said, at most 255 octets of it; undefined when that could not be read. */
  readonly originHost: string | undefined
  readonly address: string
}

/** Counts of one Origin-Host since the daemon started, over its connections. CER, DWR and DPR are not in them. */
export class Tally {
  /** Of the peer table: the one that it was last accepted by. */
  row = ''
  requestsIn = 0
  requestsOut = 0
  readonly answersIn: number[] = [0, 0, 0, 0, 0, 0]
  readonly answersOut: number[] = [0, 0, 0, 0, 0, 0]
  /** How often its capabilities were accepted. */
  connections = 0
  /** The last 3xxx or 5xxx: what is 4xxx is every day's business. */
  lastError: PeerError | undefined
  lastEnd: PeerEnd | undefined

  requestIn(commandCode: number): void {
    if (!isBase(commandCode)) this.requestsIn++
  }

  requestOut(commandCode: number): void {
    if (!isBase(commandCode)) this.requestsOut++
  }

  answerIn(commandCode: number, resultCode: number, clock: Clock): void {
    this.answered('in', this.answersIn, commandCode, resultCode, clock, undefined)
  }

  answerOut(commandCode: number, resultCode: number, clock: Clock, message?: string): void {
    this.answered('out', this.answersOut, commandCode, resultCode, clock, message)
  }

  private answered(
    direction: 'in' | 'out',
    counts: number[],
    commandCode: number,
    resultCode: number,
    clock: Clock,
    message: string | undefined,
  ): void {
    const group = classOf(resultCode)
    if (!isBase(commandCode)) counts[group]!++
    if (group === 3 || group === 5) this.lastError = { at: clock.now(), direction, resultCode, message }
  }
}

/** Peers that are not connected are remembered so many; more than a network has gateways. */
const peersKept = 2_000
/** Refusals of who is in no row; the oldest go. */
const strangersKept = 20

export class PeerBook {
  private readonly tallies = new Map<string, Tally>()
  private readonly refusals = new Map<string, PeerRefusal>()
  private strangers: PeerRefusal[] = []

  private readonly named: ReadonlySet<string>

  /** @param identities of the peer table's rows; `*` matches any */
  constructor(identities: readonly string[]) {
    this.named = new Set(identities.map(identity => identity.toLowerCase()))
  }

  /** A peer's capabilities were accepted. @param connected whether an Origin-Host in lower case has a connection */
  opened(peer: { name: string; originHost: string }, connected: (originHost: string) => boolean): Tally {
    const key = peer.originHost.toLowerCase()
    const tally = this.tallies.get(key) ?? new Tally()
    // The map is in the order of last connections: who is not connected and was here longest ago goes first.
    this.tallies.delete(key)
    this.tallies.set(key, tally)
    if (this.tallies.size > peersKept) {
      for (const oldest of this.tallies.keys()) {
        if (oldest === key || connected(oldest)) continue
        this.tallies.delete(oldest)
        break
      }
    }
    tally.row = peer.name
    tally.connections++
    return tally
  }

  refused(refusal: PeerRefusal): void {
    const short = { ...refusal, originHost: refusal.originHost?.slice(0, 255) }
    const key = short.originHost?.toLowerCase()
    if (key !== undefined && (this.named.has(key) || this.tallies.has(key))) {
      this.refusals.delete(key)
      this.refusals.set(key, short)
      for (const oldest of this.refusals.keys()) {
        if (this.refusals.size <= peersKept) break
        this.refusals.delete(oldest)
      }
      return
    }
    this.strangers = [...this.strangers.slice(1 - strangersKept), short]
  }

  tallyOf(originHost: string): Tally | undefined {
    return this.tallies.get(originHost.toLowerCase())
  }

  refusalOf(originHost: string): PeerRefusal | undefined {
    return this.refusals.get(originHost.toLowerCase())
  }

  /** Origin-Hosts in lower case that were connected. */
  known(): readonly string[] {
    return [...this.tallies.keys()]
  }

  /** Who was refused and is in no row by name, the newest last. */
  unknown(): readonly PeerRefusal[] {
    return this.strangers
  }
}

const isBase = (commandCode: number): boolean => commandCode === 280 || commandCode === 257 || commandCode === 282

const classOf = (resultCode: number): number => {
  const group = Math.floor(resultCode / 1000)
  return group >= 1 && group <= 5 ? group : 0
}
