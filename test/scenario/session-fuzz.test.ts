/**
 * Random histories of whole sessions, legal and illegal, of several gateways at once over real sockets: two daemons on one store,
 * numbers with gaps, repeats and other content, wrong AVPs, lost connections, recharges, suspensions, refunds and reloads. Afterwards every
 * session is ended or swept, and then: nothing is held, the audit is clean, each number was applied at most once (I4), what gateways
 * reported and were answered for stands in the ledger (I7) and costs what its sum costs (I3), and nothing failed inside.
 *
 * HISTORIES: how many (60). SEED: of the random numbers; printed: what is asked is the same again, who is first need not be.
 * `make nightly` plays 3,000.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { Journal } from '../../src/balance/journal.js'
import { Snapshot } from '../../src/balance/snapshot.js'
import { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import type { Daemon } from '../../src/daemon.js'
import type { AvpItem } from '../../src/diameter/tree.js'
import { audit } from '../../src/ledger/audit.js'
import { ccrAvps, encodeCcr, type CcrInput, type RequestType, type ServiceInput } from '../../src/simulator/ccr.js'
import { Gateway, type GatewayConnection, type Reaction } from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { randomOf, type Random } from '../support/damage.js'
import { readLedger, type LedgerEntry } from '../support/load.js'
import { until } from '../support/ocsd-process.js'
import { MiB, startScenario, type Scenario, type Subject } from '../support/scenario.js'
import { noMetrics } from '../support/store.js'
import { dictionary } from '../support/vectors.js'
import { seed } from '../support/seed.js'

const histories = Number(process.env['HISTORIES'] ?? 60)
// Under CI the same histories each time, so that a red run is about the change; everywhere else new ones.
/** Histories that are played at the same time, and between two looks at the books. */
const lanes = 4
const round = 200
const dataPrice = 10_000n // a started MiB of rating group 10
const smsPrice = 90_000n
const hour = 3_600_000

const data = '32251@3gpp.org'
const sms = '32274@3gpp.org'

/** One request as its gateway knows it. */
interface Sent {
  /** `spoilt` is refused at the door. `loose`: what the server may make of it depends on what else it knows. */
  readonly as: 'right' | 'spoilt' | 'loose'
  readonly type: RequestType
  /** Nobody is named. */
  readonly anonymous: boolean
  /** Octets by line; of a debit its events. */
  readonly used: ReadonlyMap<string, bigint>
  /** Result-Codes of its answers. */
  readonly codes: number[]
}

/** What all gateways of a round have sent, by session and number. */
type Book = Map<string, Sent[]>

interface OpenSession {
  readonly id: string
  readonly subject: Subject
  next: number
  /** What was sent, to be sent again. */
  readonly past: CcrInput[]
}

class History {
  private readonly sessions: OpenSession[] = []
  private readonly gateways: Gateway[] = []
  private readonly references: { readonly whose: Subject['id']; readonly reference: Buffer }[] = []
  private readonly pending: Promise<unknown>[] = []

  constructor(
    private readonly name: string,
    private readonly random: Random,
    private readonly scenario: Scenario,
    private readonly daemons: readonly Daemon[],
    private readonly subjects: readonly Subject[],
    private readonly book: Book,
    private readonly surprises: string[],
    private readonly reload: () => Promise<unknown>,
  ) {}

  async play(): Promise<void> {
    for (let i = 0; i < 2; i++) await this.connect(i)
    for (let batch = 8 + this.random(10); batch > 0; batch--) {
      for (let together = 1 + this.random(4); together > 0; together--) this.pending.push(this.step())
      await Promise.all(this.pending.splice(0))
    }
    for (const session of this.sessions) {
      // The others go silent.
      if (this.chance(50)) await this.request(this.input(session, 'terminate', session.next++, this.services(true)))
    }
    for (const gateway of this.gateways) for (const connection of [...gateway.connections]) connection.abort()
  }

  private chance(percent: number): boolean {
    return this.random(100) < percent
  }

  private one<T>(list: readonly T[]): T {
    return list[this.random(list.length)]!
  }

  private async connect(i: number): Promise<void> {
    const gateway = new Gateway({
      dictionary,
      clock: this.scenario.clock,
      originHost: `${this.name}-${i}-${this.random(1_000_000)}.example.net`,
      originRealm: 'example.net',
      destinationRealm: 'charging.example.net',
      onRequest: (): Reaction => ({ resultCode: this.one([2001, 2001, 2002, 5002, 3004]) }),
    })
    for (const daemon of this.daemons) await gateway.connect(daemon.addresses.diameter[0]!)
    this.gateways[i] = gateway
  }

  private async step(): Promise<void> {
    const roll = this.random(100)
    const session = this.sessions.length === 0 ? undefined : this.one(this.sessions)
    if (session === undefined || roll < 12) return this.open()
    if (roll < 50) return this.update(session)
    if (roll < 57) return this.spoilt(session)
    if (roll < 61) return this.strange(session)
    if (roll < 67) return this.end(session)
    if (roll < 83) return this.event()
    if (roll < 88) return this.one(this.subjects).recharge(this.one(['0.01', '0.50', '2.00']))
    if (roll < 93) {
      await this.one(this.subjects).setStatus(this.chance(30) ? 'suspended' : 'active')
      return
    }
    if (roll < 95) {
      await this.reload()
      return
    }
    return this.lose(session)
  }

  /** A CCR-I, mostly number 0. */
  private async open(): Promise<void> {
    const gateway = this.one(this.gateways)
    const number = this.chance(90) ? 0 : this.random(5)
    const session = { id: gateway.nextSessionId(), subject: this.one(this.subjects), next: number + 1, past: [] }
    this.sessions.push(session)
    await this.request(this.input(session, 'initial', number, this.services(false)))
  }

  private async update(session: OpenSession): Promise<void> {
    const roll = this.random(100)
    const known = session.past.length === 0 ? undefined : this.one(session.past)
    if (known !== undefined && roll < 10) return this.request(known, true)
    let number = session.next
    if (known !== undefined && roll < 16)
      number = known.number // other content
    else if (roll < 28)
      number += 1 + this.random(3) // a gap, which stays open
    else if (roll < 36) number = this.random(session.next + 1) // a gap, or one that was sent
    session.next = Math.max(session.next, number + 1)
    return this.request(this.input(session, 'update', number, this.services(true)))
  }

  private async end(session: OpenSession): Promise<void> {
    // What goes on afterwards is late.
    await this.request(this.input(session, 'terminate', session.next++, this.services(true)))
  }

  private input(session: OpenSession, type: RequestType, number: number, services: readonly ServiceInput[]): CcrInput {
    const anonymous = type !== 'initial' && this.chance(15)
    const input: CcrInput = {
      ...{ type, number, sessionId: session.id, serviceContextId: data, services },
      ...(!anonymous && { subscriptionIds: [session.subject.id] }),
      ...(type === 'terminate' && { terminationCause: 1 }),
    }
    session.past.push(input)
    return input
  }

  private services(reports: boolean): ServiceInput[] {
    return Array.from({ length: this.chance(70) ? 1 : 1 + this.random(4) }, (): ServiceInput => {
      const ratingGroup = this.one([10, 10, 10, 20, 20, 30, 40, 999])
      const used = reports && this.chance(85) ? Array.from({ length: this.chance(80) ? 1 : 2 }, () => this.used()) : []
      return {
        ratingGroup,
        ...(this.chance(85) && {
          requested: this.one([
            {},
            {},
            {},
            { octets: 3n * MiB },
            { octets: 1n },
            { octets: 2n ** 60n },
            { seconds: 5 },
          ]),
        }),
        ...(used.length > 0 && { used }),
        ...(this.chance(40) && { reason: this.one([1, 2, 4, 6, 7]) }),
      }
    })
  }

  private used(): NonNullable<ServiceInput['used']>[number] {
    const octets = this.one([
      () => 0n,
      () => BigInt(this.random(3_000_000)),
      () => BigInt(this.random(10)) * MiB,
      () => 10n * MiB,
      () => BigInt(this.random(30)) * MiB,
      () => BigInt(this.random(400_000_000)),
    ])()
    const reason = this.one([undefined, undefined, 0, 3])
    const side = this.one([undefined, undefined, undefined, 'before', 'after', 'indeterminate'] as const)
    return {
      ...(this.chance(80) ? { octets } : { inputOctets: octets / 3n, outputOctets: octets - octets / 3n }),
      ...(this.chance(10) && { seconds: this.random(1000) }),
      ...(reason !== undefined && { reason }),
      ...(side !== undefined && { side }),
    }
  }

  /** An update that no door lets in; its number is sent again, right, sooner or later. */
  private async spoilt(session: OpenSession): Promise<void> {
    const [codes, spoil] = this.one(spoilers)
    const number = this.chance(70) ? session.next : this.random(session.next + 1)
    const input: CcrInput = {
      ...{ type: this.one(['update', 'update', 'terminate'] as const), number, sessionId: session.id },
      ...{ serviceContextId: data, subscriptionIds: [session.subject.id], services: this.services(true) },
    }
    const sent = this.note(input, 'spoilt')
    const code = await this.exchange(this.one(this.gateways), input, sent, { spoil })
    if (code !== undefined && !codes.includes(code))
      this.surprises.push(`${input.sessionId} ${number}: ${code}, not ${codes.join()}`)
  }

  /** Of somebody else, or of another service: refused where the session is known. */
  private async strange(session: OpenSession): Promise<void> {
    const other = this.chance(50)
    const input: CcrInput = {
      ...{ type: 'update', number: session.next, sessionId: session.id, services: this.services(true) },
      serviceContextId: other ? data : '32260@3gpp.org',
      subscriptionIds: [other ? this.one(this.subjects).id : session.subject.id],
    }
    await this.exchange(this.one(this.gateways), input, this.note(input, 'loose'))
  }

  private async event(): Promise<void> {
    const gateway = this.one(this.gateways)
    const action = this.one([
      'debit',
      'debit',
      'debit',
      'refund',
      'refund',
      'refund',
      'check-balance',
      'price',
    ] as const)
    const named = action === 'refund' && this.references.length > 0 ? this.one(this.references) : undefined
    // Now and then the debit of somebody else.
    const id = named && this.chance(80) ? named.whose : this.one(this.subjects).id
    const refund = named?.reference
    const events = BigInt(1 + this.random(this.chance(90) ? 4 : 40))
    const input: CcrInput = {
      ...{ type: 'event', number: 0, sessionId: gateway.nextSessionId(), serviceContextId: sms, action },
      subscriptionIds: [id],
      services: [
        { serviceIdentifiers: [this.one([1, 1, 1, 2, 3, 99])], requested: { events }, ...(refund && { refund }) },
      ],
    }
    const sent = this.note(input, action === 'debit' ? 'right' : 'loose')
    await Promise.all(Array.from({ length: this.chance(80) ? 1 : 2 }, () => this.exchange(gateway, input, sent)))
  }

  /** A connection ends while a request is under way; the same goes out again, or not. */
  private async lose(session: OpenSession): Promise<void> {
    const i = this.random(this.gateways.length)
    const gateway = this.gateways[i]!
    const input = this.input(session, 'update', session.next++, this.services(true))
    const sent = this.note(input, 'right')
    const lost = this.exchange(gateway, input, sent)
    if (this.chance(50)) await new Promise(resolve => setImmediate(resolve))
    for (const connection of [...gateway.connections]) connection.abort()
    await lost
    await this.connect(i)
    if (this.chance(60)) await this.exchange(this.gateways[i]!, input, sent, { retransmitted: true })
  }

  /** To one of the daemons, or to both at the same instant. */
  private async request(input: CcrInput, retransmitted = this.chance(5)): Promise<void> {
    const gateway = this.one(this.gateways)
    const sent = this.note(input, 'right')
    await Promise.all(
      Array.from({ length: this.chance(85) ? 1 : 2 }, () => this.exchange(gateway, input, sent, { retransmitted })),
    )
  }

  private note(input: CcrInput, as: Sent['as']): Sent {
    const { type, sessionId, number, subscriptionIds, services = [] } = input
    const used = new Map<string, bigint>()
    for (const { ratingGroup, serviceIdentifiers, used: units = [], requested } of services) {
      const line = type === 'event' ? `-/${serviceIdentifiers?.join() ?? ''}` : String(ratingGroup)
      let sum = used.get(line) ?? 0n
      for (const { octets, inputOctets = 0n, outputOctets = 0n } of units) sum += octets ?? inputOctets + outputOctets
      used.set(line, type === 'event' ? (requested?.events ?? 0n) : sum)
    }
    const sent: Sent = { as, type, anonymous: subscriptionIds === undefined, used, codes: [] }
    const key = `${sessionId} ${number}`
    this.book.set(key, [...(this.book.get(key) ?? []), sent])
    return sent
  }

  /** @returns undefined when the connection ended first */
  private async exchange(
    gateway: Gateway,
    input: CcrInput,
    sent: Sent,
    { spoil, retransmitted = false }: { spoil?: Spoiler[1]; retransmitted?: boolean } = {},
  ): Promise<number | undefined> {
    const right = ccrAvps(gateway, input)
    const avps = spoil ? spoil(right) : right
    const open = gateway.connections.filter(({ ended }) => !ended)
    if (open.length === 0) return undefined
    const connection: GatewayConnection = this.one(open)
    const identifiers = { hopByHop: connection.nextHopByHop(), endToEnd: gateway.nextEndToEnd(), retransmitted }
    let answer: Message
    try {
      answer = await connection.ask(encodeCcr(dictionary, avps, identifiers))
    } catch (error) {
      if (connection.ended) return undefined
      throw error
    }
    const { resultCode } = answer
    sent.codes.push(resultCode)
    const why = answer.text('Error-Message') ?? ''
    if (/internal error/.test(why) || resultCode === 3004) this.surprises.push(`${resultCode} ${why}`)
    const [paid] = answer.groups('Multiple-Services-Credit-Control')
    const reference = paid?.value('Refund-Information')
    const [whose] = input.subscriptionIds ?? []
    if (whose && Buffer.isBuffer(reference)) this.references.push({ whose: ['e164', whose[1]], reference })
    return resultCode
  }
}

type Spoiler = readonly [codes: readonly number[], spoil: (avps: readonly AvpItem[]) => AvpItem[]]
const nameOf = (item: AvpItem): string => (item as unknown as readonly [string])[0]
const huge = ['Used-Service-Unit', [['CC-Total-Octets', 2n ** 64n - 1n]]] as const
const mscc = (...items: readonly AvpItem[]): AvpItem => [
  'Multiple-Services-Credit-Control',
  [['Rating-Group', 10], ...items],
]
const spoilers: readonly Spoiler[] = [
  [[5001], avps => [...avps, ['65001:0', Buffer.of(1), 0x40]]],
  [[5001], avps => [...avps, mscc(['65001:0', Buffer.of(1), 0x40])]],
  [[5004], avps => [...avps, ['CC-Sub-Session-Id', 1n]]],
  [[5004], avps => [...avps, mscc(huge)]],
  [[5004], avps => [...avps, mscc(['Reporting-Reason', 99])]],
  [[5004], avps => [...avps, mscc(['Used-Service-Unit', [['CC-Money', [['Unit-Value', [['Value-Digits', -1n]]]]]]])]],
  [[5005], avps => avps.filter(item => nameOf(item) !== 'Service-Context-Id')],
  [[5005], avps => [...avps, ['Subscription-Id', []]]],
  [[5007], avps => [...avps, mscc(), ['Used-Service-Unit', [['CC-Total-Octets', MiB]]]]],
  [[5008], avps => [...avps, ['Validity-Time', 1]]],
  [[5009], avps => [...avps, ['CC-Request-Number', 77]]],
  [[5014], avps => [...avps, mscc(['Used-Service-Unit', [['CC-Total-Octets', Buffer.alloc(4)]]])]],
  [
    [5004],
    avps => [...avps.filter(item => nameOf(item) !== 'Service-Context-Id'), ['Service-Context-Id', Buffer.of(0xff)]],
  ],
]

/** What is not in the type of `readLedger`. */
interface Entry extends LedgerEntry {
  readonly type?: string
  readonly lines: readonly {
    readonly line: string
    readonly used?: number
    readonly unrated?: number
    readonly is?: string
    readonly refunded?: number
    readonly of?: number
    readonly before?: number
    readonly debit?: string
    readonly cost?: number
  }[]
}

/** Answers that say that the report was taken. */
const taken: ReadonlySet<number> = new Set([2001, 4010, 4012, 5002, 5031])

/** Of a request that is right in itself; what is spoilt gets others. */
const usual: ReadonlySet<number> = new Set([...taken, 5006])

/** Where books and ledger say different things. */
function differences(book: Book, ledger: readonly Entry[]): string[] {
  const found: string[] = []
  const entries = new Map<string, Entry[]>()
  for (const entry of ledger) {
    if (entry.session === undefined || entry.number === undefined) continue
    const key = `${entry.session} ${entry.number}`
    entries.set(key, [...(entries.get(key) ?? []), entry])
  }
  for (const [key, all] of book) {
    const here = entries.get(key) ?? []
    entries.delete(key)
    // A CCR-I or event that is refused leaves nothing that could know its number.
    const begins = (type?: string): boolean => type === 'initial' || type === 'event'
    const applied = here.filter(({ outcome, type }) => outcome !== 'unknown' && (!begins(type) || outcome === 'ok'))
    const told = all.map(({ as, type, codes, used }) => `${as} ${type} ${textOf(used)}: ${codes.join()}`).join('; ')
    if (applied.length > 1) found.push(`I4 ${key}: applied ${applied.length} times (${told})`)
    const loose = all.some(({ as }) => as === 'loose')
    for (const entry of here) {
      const used = usedIn(entry)
      const refused = entry.type === 'event' && entry.outcome !== 'ok'
      if (!loose && !refused && !all.some(sent => sent.as === 'right' && textOf(sent.used) === used))
        found.push(`I7 ${key}: the ledger has ${used} (${entry.outcome}), the gateway ${told}`)
    }
    for (const { as, type, anonymous, used, codes } of all) {
      const nothing = textOf(used) === ''
      // Whose session it was nobody can know.
      const whose = anonymous ? codes.filter(code => code !== 5002) : codes
      if (as === 'right' && here.length === 0 && !nothing && type !== 'initial' && whose.some(code => taken.has(code)))
        found.push(`I7 ${key}: nothing in the ledger (${told})`)
      const odd = codes.filter(code => (as === 'right') !== usual.has(code) && as !== 'loose')
      if (odd.length > 0) found.push(`${key}: ${as}, and answered ${odd.join()} (${told})`)
    }
  }
  for (const key of entries.keys()) found.push(`${key}: in the ledger, sent by nobody`)
  return found
}

const textOf = (used: ReadonlyMap<string, bigint>): string =>
  [...used]
    .filter(([, amount]) => amount > 0n)
    .map(([line, amount]) => `${line}=${amount}`)
    .sort()
    .join(' ')

const usedIn = ({ lines }: Entry): string =>
  textOf(new Map(lines.map(({ line, used, unrated }) => [line, BigInt(used ?? unrated ?? 0)])))

/** What an account must have, by the prices and by what was used. */
function moneyOf(entries: readonly Entry[]): bigint {
  const octets = new Map<string, bigint>()
  const given = new Map<string, number>()
  let money = 0n
  for (const { kind, session, outcome, lines, posts, type } of entries) {
    for (const { line, used = 0, refunded = 0, of = 0, before = 0, debit = '' } of lines) {
      if (line === '10' && outcome !== 'unknown' && type !== 'event')
        octets.set(session!, (octets.get(session!) ?? 0n) + BigInt(used))
      if (type === 'event' && outcome === 'ok') money += BigInt(refunded - used) * smsPrice
      const sum = (given.get(debit) ?? 0) + refunded
      if (refunded > 0 && (sum > of || sum !== before + refunded))
        throw new Error(`${debit}: ${sum} of ${of} given back`)
      given.set(debit, sum)
    }
    if (kind === 'create' || kind === 'recharge')
      for (const [name, , amount] of posts) if (name.startsWith('source:')) money -= BigInt(amount)
  }
  for (const used of octets.values()) money -= ((used + MiB - 1n) / MiB) * dataPrice
  return money
}

/** Sessions whose entries do not cost what their sum does, for whoever looks for the reason. */
function dearOrCheap(entries: readonly Entry[]): string {
  const sessions = new Map<string, { used: bigint; cost: bigint; told: string[] }>()
  for (const { session, number, outcome, lines } of entries) {
    for (const line of lines) {
      if (line.line !== '10' || outcome === 'unknown' || session === undefined) continue
      const sum = sessions.get(session) ?? { used: 0n, cost: 0n, told: [] }
      sum.used += BigInt(line.used ?? 0)
      sum.cost += BigInt(line.cost ?? 0)
      sum.told.push(`${number} ${outcome}: ${JSON.stringify(line)}`)
      sessions.set(session, sum)
    }
  }
  return [...sessions]
    .filter(([, { used, cost }]) => ((used + MiB - 1n) / MiB) * dataPrice !== cost)
    .map(([id, { told }]) => `\n${id}\n  ${told.join('\n  ')}`)
    .join('')
}

async function metric(daemon: Daemon, name: string): Promise<number> {
  const { host, port } = daemon.addresses.metrics
  const text = await (await fetch(`http://${host}:${port}/metrics`)).text()
  return [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))].reduce(
    (sum, [, n]) => sum + Number(n),
    0,
  )
}

t.test(`any sessions leave exact books (HISTORIES=${histories} SEED=${seed})`, { timeout: 86_400_000 }, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-fuzz-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const catalog = join(folder, 'catalog.yaml')
  copyFileSync(fileURLToPath(new URL('../gy/bad-input.catalog.yaml', import.meta.url)), catalog)
  const good = readFileSync(catalog, 'utf8')
  const scenario = await startScenario(t, 'flows', { catalog })
  const daemons = [scenario.daemon, await scenario.another()]
  const ledgers = [1, 2].map(n => join(scenario.redis.folder, `daemon-${n}`, 'ledger'))
  const store = new Store({
    config: { kind: 'embedded', durability: 'memory', partitions: scenario.config.store.partitions },
    address: { socket: scenario.redis.socket },
    log: pino({ level: 'silent' }),
    metrics: noMetrics,
    clock: systemClock,
  })
  await store.open(5000)
  t.teardown(() => store.close())

  // Sizes of grants change and prices do not; now and then what is read is wrong.
  const random = randomOf(seed)
  const reload = async (): Promise<void> => {
    const size = ['1MiB', '5MiB', '10MiB', 'a lot'][random(4)]!
    writeFileSync(catalog, good.replace('size: 10MiB', `size: ${size}`))
    await daemons[random(2)]!.reload()
  }
  for (let played = 0; played < histories; played += round) {
    const book: Book = new Map()
    const surprises: string[] = []
    const accounts: Subject[] = []
    const some = Math.min(round, histories - played)
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < some) {
        const history = played + next++
        const subjects = await someSubjects(t, scenario)
        accounts.push(...subjects)
        const own = randomOf((seed + history * 7919) >>> 0)
        await new History(`pgw${history}`, own, scenario, daemons, subjects, book, surprises, reload).play()
      }
    }
    await Promise.all(Array.from({ length: lanes }, lane))

    scenario.clock.shift(3 * hour)
    for (const subject of accounts)
      for (const { id, open } of await subject.sessions()) if (open) await subject.sweep(id, scenario.clock)
    let whole: Entry[] = []
    const ids = new Set(accounts.map(({ account }) => account))
    const shown = await Promise.all(accounts.map(async ({ account }) => (await scenario.accounts.show(account))!))
    const wanted = shown.reduce((sum, { sequence }) => sum + sequence, 0)
    await until('the ledger is written', () => {
      whole = (readLedger(...ledgers) as Entry[]).filter(({ account }) => ids.has(account))
      return whole.length >= wanted
    })

    t.same(surprises, [], 'no answer says what it should not')
    t.same(differences(book, whole), [], `what ${book.size} numbers reported stands in the ledger, once`)
    const wrong: string[] = []
    for (const [i, { id, money, debt, held, buckets, counters }] of shown.entries()) {
      const entries = whole.filter(({ account }) => account === id).sort((a, b) => a.seq - b.seq)
      const expected = moneyOf(entries)
      if (money - debt !== expected)
        wrong.push(`${id}: has ${money} less ${debt}, should have ${expected}${dearOrCheap(entries)}`)
      const holds = [held, ...buckets.map(each => each.held), ...counters.map(each => each.held)]
      if (holds.some(each => each !== 0n)) wrong.push(`${id}: still holds ${holds.join()}`)
      if ((await accounts[i]!.openSessions()) > 0) wrong.push(`${id}: a session is open`)
    }
    t.same(wrong, [], `${shown.length} accounts have what they should, and hold nothing`)
  }
  const { problems } = await audit({
    directories: ledgers,
    journal: new Journal(store, scenario.config.store.partitions, systemClock),
    snapshot: new Snapshot(store, scenario.config.store.partitions, systemClock),
  })
  t.same(problems, [], 'the audit over both ledgers finds nothing')
  for (const name of ['ocs_diameter_internal_errors_total', 'ocs_store_defects_total', 'ocs_ledger_write_errors_total'])
    for (const daemon of daemons) t.equal(await metric(daemon, name), 0, name)
})

const someSubjects = (t: Test, scenario: Scenario): Promise<Subject[]> =>
  Promise.all([1, 2, 3].map(() => scenario.subject(t, { offer: 'all', money: '1.50' })))
