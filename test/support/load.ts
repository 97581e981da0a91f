/**
 * Gateways under load that never lose a request: what was not answered goes out again with the T bit, over whatever
 * connection there is (RFC 6733 section 5.5.4), and after a 3004 too. They keep books, and the books are compared with the
 * ledger's files and with the balances: three parties that must agree to the octet and the micro.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { CcrInput, RequestType } from '../../src/simulator/ccr.js'
import {
  ConnectionLostError,
  Gateway,
  NoAnswerError,
  type Address,
  type GatewayConnection,
} from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { parseMoney } from '../../src/units.js'
import { until, type OcsdProcess } from './ocsd-process.js'
import { dictionary } from './vectors.js'
import { seed } from './seed.js'

/** One request as its gateway knows it. */
export interface Told {
  readonly type: RequestType
  readonly number: number
  readonly octets: bigint
  /** Result-Code of the answer that ended it. */
  result: number | undefined
}

/** A session in a gateway's book. */
export interface SessionBook {
  readonly id: string
  readonly account: string
  readonly requests: Told[]
  ended: boolean
}

export interface Subscriber {
  /** MSISDN, and the account's id. */
  readonly msisdn: string
  readonly offer: 'payg' | 'bundle-5gb'
}

/** Numbers from a seed, the same each time: mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Of the environment, else new; printed, so that a failure can be repeated. */
export function aSeed(t: Test): number {
  t.comment(`SEED=${seed}`)
  return seed
}

/** Where daemons are; they come back elsewhere after a restart. Undefined: not there. */
export type Places = (Address | undefined)[]

interface Way {
  readonly gateway: Gateway
  connection: GatewayConnection | undefined
  connecting: boolean
  /** The daemon said good-bye: no more requests on this connection. */
  leaving: boolean
}

/** The time for one request with all of its repeats; beyond it the test has failed. */
const requestPatienceMs = 45_000

/** One gateway with a connection to each of the daemons. */
export class PatientGateway {
  /** Repeats sent, answers of 3004 and good-byes met so far. */
  repeats = 0
  busy = 0
  readonly goodbyes: number[] = []
  /** Requests that are sent and not answered. */
  open = 0
  private readonly ways: Way[]
  private closed = false

  constructor(
    readonly name: string,
    private readonly places: Places,
    private readonly random: () => number,
    patienceMs = 10_000,
  ) {
    this.ways = places.map(() => {
      const way: Way = {
        gateway: new Gateway({
          dictionary,
          originHost: name,
          originRealm: 'localdomain',
          destinationRealm: 'localdomain',
          patienceMs,
          trace: (direction, octets) => {
            if (direction !== 'received' || octets.readUIntBE(5, 3) !== 282 || (octets[4]! & 0x80) === 0) return
            way.leaving = true
            this.goodbyes.push(octets.readUInt32BE(octets.length - 4))
          },
        }),
        connection: undefined,
        connecting: false,
        leaving: false,
      }
      return way
    })
  }

  nextSessionId(): string {
    return this.ways[0]!.gateway.nextSessionId()
  }

  nextEndToEnd(): number {
    return this.ways[0]!.gateway.nextEndToEnd()
  }

  /** Sends until it is answered with something else than 3004. @param sent it went out before, with this identifier */
  async ask(ccr: CcrInput, sent?: number): Promise<Message> {
    const endToEnd = sent ?? this.nextEndToEnd()
    const end = Date.now() + requestPatienceMs
    for (let attempt = 0; ; attempt++) {
      if (Date.now() > end) throw new Error(`${ccr.sessionId} ${ccr.number}: no answer after ${attempt} attempts`)
      const way = await this.someWay()
      const repeated = attempt > 0 || sent !== undefined
      if (repeated) this.repeats++
      try {
        const answer = await this.over(way, ccr, endToEnd, repeated)
        if (answer.resultCode !== 3004) return answer
        this.busy++
        await pause(50)
      } catch (error) {
        if (!(error instanceof ConnectionLostError || error instanceof NoAnswerError)) throw error
      }
    }
  }

  /** Sends once, to the n-th daemon. */
  async askOnce(ccr: CcrInput, way: number, endToEnd = this.nextEndToEnd(), retransmitted = false): Promise<Message> {
    return this.over(await this.someWay(way), ccr, endToEnd, retransmitted)
  }

  async connect(): Promise<void> {
    await until('the gateway is connected', () => this.ways.every((_, i) => this.usable(i)))
  }

  close(): void {
    this.closed = true
    for (const { connection } of this.ways) connection?.abort()
  }

  private async over(
    { gateway, connection }: Way,
    ccr: CcrInput,
    endToEnd: number,
    retransmitted: boolean,
  ): Promise<Message> {
    const hopByHop = connection!.nextHopByHop()
    this.open++
    try {
      return await connection!.ask(gateway.encode(ccr, { hopByHop, endToEnd, retransmitted }))
    } finally {
      this.open--
    }
  }

  /** A way with a connection; waits for one. */
  private async someWay(wanted?: number): Promise<Way> {
    const found = (): Way | undefined => {
      const usable = this.ways.filter((_, i) => this.usable(i))
      const first = wanted === undefined ? undefined : this.ways[wanted]
      if (first && usable.includes(first)) return first
      // Somebody who is not there at all is not waited for.
      if (wanted !== undefined && this.places[wanted]) return undefined
      return usable[Math.floor(this.random() * usable.length)]
    }
    let way = found()
    if (!way) await until('there is a connection to a daemon', () => (way = found()) !== undefined || this.closed)
    if (!way) throw new Error('the gateway is closed')
    return way
  }

  /** Whether the way has a connection; if not, one is tried. */
  private usable(i: number): boolean {
    const way = this.ways[i]!
    if (way.connection && !way.connection.ended && !way.leaving) return true
    const place = this.places[i]
    if (!place || way.connecting || this.closed) return false
    way.connecting = true
    way.gateway
      .connect(place)
      .then(
        connection => {
          way.connection = connection
          way.leaving = false
          if (this.closed) connection.abort()
        },
        () => pause(20), // not there yet
      )
      .finally(() => (way.connecting = false))
    return false
  }
}

/** Subscribers that open sessions, use, report and end, one session after the other, until they are told to finish. */
export class Load {
  readonly sessions: SessionBook[] = []
  /** Answers that were not 2001. */
  readonly errors: string[] = []
  answered = 0
  private finishing = false
  private readonly running: Promise<unknown>

  constructor(
    readonly gateways: readonly PatientGateway[],
    subscribers: readonly Subscriber[],
    private readonly random: () => number,
    private readonly ask = (gateway: PatientGateway, ccr: CcrInput): Promise<Message> => gateway.ask(ccr),
    private readonly pauseMs = 4,
  ) {
    this.running = Promise.all(subscribers.map((each, i) => this.live(each, gateways[i % gateways.length]!)))
    this.running.catch(() => undefined) // told by finish()
  }

  /** So many answers more. */
  async progress(answers: number): Promise<void> {
    const goal = this.answered + answers
    await until(`${answers} more requests are answered`, () => this.answered >= goal)
  }

  /** Lets every session come to its end. */
  async finish(): Promise<void> {
    this.finishing = true
    await this.running
  }

  get repeats(): number {
    return this.gateways.reduce((sum, { repeats }) => sum + repeats, 0)
  }

  /** The compiler does not see that `finish` may have been called meanwhile. */
  private goesOn(): boolean {
    return !this.finishing
  }

  private async live(subscriber: Subscriber, gateway: PatientGateway): Promise<void> {
    const { random } = this
    while (this.goesOn()) {
      const session: SessionBook = {
        id: gateway.nextSessionId(),
        account: subscriber.msisdn,
        requests: [],
        ended: false,
      }
      this.sessions.push(session)
      let granted = await this.request(gateway, session, 'initial', 0n)
      const updates = 1 + Math.floor(random() * 6)
      for (let i = 0; i < updates && granted > 0n && this.goesOn(); i++) {
        granted = await this.request(gateway, session, 'update', part(granted, random()))
      }
      await this.request(gateway, session, 'terminate', part(granted, random()))
      session.ended = true
    }
  }

  /** @returns the units granted */
  private async request(
    gateway: PatientGateway,
    session: SessionBook,
    type: RequestType,
    octets: bigint,
  ): Promise<bigint> {
    const told: Told = { type, number: session.requests.length, octets, result: undefined }
    session.requests.push(told)
    const answer = await this.ask(gateway, ccrOf(session, told))
    told.result = answer.resultCode
    this.answered++
    if (answer.resultCode !== 2001) {
      this.errors.push(`${type} ${told.number}: ${answer.resultCode} ${answer.text('Error-Message') ?? ''}`)
    }
    await pause(this.random() * 2 * this.pauseMs)
    return grantedIn(answer)
  }
}

export const grantedIn = (answer: Message): bigint =>
  answer.group('Multiple-Services-Credit-Control')?.group('Granted-Service-Unit')?.bigint('CC-Total-Octets') ?? 0n

/** A request of rating group 10 as the book has it. */
export function ccrOf({ id, account }: Pick<SessionBook, 'id' | 'account'>, told: Told): CcrInput {
  const { type, number, octets } = told
  return {
    type,
    number,
    sessionId: id,
    serviceContextId: '32251@3gpp.org',
    subscriptionIds: [['e164', account]],
    ...(type === 'initial' && { multipleServicesIndicator: 1 }),
    ...(type === 'terminate' && { terminationCause: 1 }),
    services: [
      {
        ratingGroup: 10,
        ...(type !== 'terminate' && { requested: {} }),
        ...(type !== 'initial' && { used: [{ octets }] }),
      },
    ],
  }
}

/** Some of a grant: all, nothing, or a part. */
const part = (granted: bigint, random: number): bigint =>
  random < 0.1 ? 0n : random > 0.8 ? granted : BigInt(Math.floor(Number(granted) * random))

const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** Subscribers by an import, half with a bundle, with so much money. */
export async function importSubscribers(
  ocsd: OcsdProcess,
  count: number,
  { balance = '1000.00', first = 491_760_000_000 }: { balance?: string; first?: number } = {},
): Promise<Subscriber[]> {
  const subscribers = Array.from({ length: count }, (_, i): Subscriber => ({
    msisdn: String(first + i),
    offer: i % 2 ? 'bundle-5gb' : 'payg',
  }))
  const rows = subscribers.map(
    ({ msisdn, offer }) => `${msisdn},${msisdn},26203${msisdn.slice(-10)},${offer},${balance},EUR`,
  )
  const csv = ['account,msisdn,imsi,offer,balance,currency', ...rows, ''].join('\n')
  const { body } = await ocsd.api('POST', '/v1/import', csv)
  if (body['created'] !== count) throw new Error(`not imported: ${JSON.stringify(body)}`)
  return subscribers
}

// Three books.

/** An account as the admin API shows it. */
export interface AccountShown {
  readonly id: string
  readonly money: bigint
  readonly held: bigint
  readonly debt: bigint
  readonly sequence: number
  readonly buckets: readonly { readonly amount: bigint; readonly held: bigint }[]
}

export async function showAccounts(ocsd: OcsdProcess, subscribers: readonly Subscriber[]): Promise<AccountShown[]> {
  return Promise.all(
    subscribers.map(async ({ msisdn }) => {
      const { status, body } = await ocsd.api('GET', `/v1/accounts/${msisdn}`)
      if (status !== 200) throw new Error(`account ${msisdn}: ${status}`)
      const buckets = body['buckets'] as { amount: number; held: number }[]
      return {
        id: msisdn,
        money: parseMoney(body['money'] as string)!,
        held: parseMoney(body['held'] as string)!,
        debt: parseMoney(body['debt'] as string)!,
        sequence: body['sequence'] as number,
        buckets: buckets.map(({ amount, held }) => ({ amount: BigInt(amount), held: BigInt(held) })),
      }
    }),
  )
}

export interface LedgerEntry {
  readonly partition: number
  readonly id: string
  readonly account: string
  readonly seq: number
  readonly kind: string
  readonly session?: string
  readonly number?: number
  readonly outcome?: string
  readonly lines: readonly { readonly used?: number }[]
  readonly posts: readonly (readonly [name: string, unit: string, amount: number, before?: number, after?: number])[]
}

/** Every entry of these folders, once: a writer that was killed may have written its last ones again. */
export function readLedger(...folders: readonly string[]): LedgerEntry[] {
  const entries = new Map<string, LedgerEntry>()
  for (const folder of folders) {
    for (const name of readdirSync(folder).sort()) {
      for (const line of readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1)) {
        const entry = JSON.parse(line) as LedgerEntry
        entries.set(`${entry.partition} ${entry.id}`, entry)
      }
    }
  }
  return [...entries.values()]
}

/** The files' entries, when all that the accounts have made stand there. */
export async function wholeLedger(
  accounts: readonly AccountShown[],
  ...folders: readonly string[]
): Promise<LedgerEntry[]> {
  const ids = new Set(accounts.map(({ id }) => id))
  const wanted = accounts.reduce((sum, { sequence }) => sum + sequence, 0)
  let entries: LedgerEntry[] = []
  await until('the ledger is written', () => {
    entries = readLedger(...folders).filter(({ account }) => ids.has(account))
    return entries.length >= wanted
  })
  return entries
}

const paygStep = 100_000n
const paygMicros = 1_000n
export const bundleOctets = 5_000_000_000n

/** What so many octets of one session cost at `payg`. */
export const paygCost = (octets: bigint): bigint => ((octets + paygStep - 1n) / paygStep) * paygMicros

/**
 * Where gateways, ledger and balances say different things; empty when they agree. Every session must have ended, and every
 * account must have had the money or the bucket for what it used.
 */
export function bookDifferences(
  books: readonly SessionBook[],
  ledger: readonly LedgerEntry[],
  accounts: readonly AccountShown[],
  opening: bigint,
): string[] {
  const differences: string[] = []
  const entries = new Map<string, LedgerEntry[]>()
  for (const entry of ledger) {
    if (entry.kind !== 'charge') continue
    const key = `${entry.session} ${entry.number}`
    entries.set(key, [...(entries.get(key) ?? []), entry])
  }
  const usedBy = new Map<string, bigint>()
  const chargedTo = new Map<string, bigint>()
  for (const session of books) {
    let octets = 0n
    for (const { type, number, octets: told, result } of session.requests) {
      const where = `${session.id} ${number} (${type})`
      const found = entries.get(`${session.id} ${number}`) ?? []
      entries.delete(`${session.id} ${number}`)
      if (result !== 2001) differences.push(`${where}: answered ${result ?? 'never'}`)
      // Reported and not granted in time; its repeat is granted in an entry of its own.
      const late = found.filter(({ outcome }) => outcome === 'reported').length
      if (found.length - late !== 1 || late > 1) differences.push(`${where}: ${found.length} ledger entries`)
      const booked = found.reduce((sum, { lines }) => lines.reduce((all, { used = 0 }) => all + BigInt(used), sum), 0n)
      if (booked !== told) differences.push(`${where}: ${told} octets used, ${booked} in the ledger`)
      octets += told
    }
    if (!session.ended) differences.push(`${session.id} has not ended`)
    usedBy.set(session.account, (usedBy.get(session.account) ?? 0n) + octets)
    chargedTo.set(session.account, (chargedTo.get(session.account) ?? 0n) + paygCost(octets))
  }
  for (const key of entries.keys()) differences.push(`${key}: in the ledger, in no gateway's book`)

  for (const account of accounts) {
    const own = ledger.filter(entry => entry.account === account.id)
    const sum = (name: RegExp): bigint =>
      own
        .flatMap(({ posts }) => posts)
        .filter(([posting]) => name.test(posting))
        .reduce((total, [, , amount]) => total + BigInt(amount), 0n)
    const used = usedBy.get(account.id) ?? 0n
    const [bucket] = account.buckets
    const charged = bucket ? 0n : (chargedTo.get(account.id) ?? 0n)
    const check = (what: string, found: bigint, expected: bigint): void => {
      if (found !== expected) differences.push(`account ${account.id}: ${what} is ${found}, not ${expected}`)
    }
    check('its money by the gateways', account.money, opening - charged)
    check('its money by the ledger', account.money, sum(/^main$/))
    check('what is held', account.held, 0n)
    check('its debt', account.debt, 0n)
    check('the number of its entries', BigInt(own.length), BigInt(account.sequence))
    if (bucket) {
      check('its bucket by the gateways', bucket.amount, bundleOctets - used)
      check('its bucket by the ledger', bucket.amount, sum(/^bucket:/))
      check('what is held of its bucket', bucket.held, 0n)
    }
  }
  return differences
}
