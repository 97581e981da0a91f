/**
 * A whole daemon on a real Redis, in this process, and gateways that talk to it over real sockets: for tests that read as
 * stories. Business time can be shifted; timers run as they do.
 */
import { mkdirSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import type { Test } from 'tap'
import { accountKey, dueKey, journalKey, partitionOf, sessionKey } from '../../src/balance/keys.js'
import { defineScripts, loadScripts } from '../../src/balance/scripts.js'
import type { Accounts, AccountStatus, Identity, Session } from '../../src/balance/types.js'
import { systemClock, type Clock, type Timer } from '../../src/clock.js'
import type { Config } from '../../src/config/config.js'
import { loadConfig } from '../../src/config/load.js'
import { formatFault } from '../../src/config/yaml.js'
import { startDaemon, type Daemon } from '../../src/daemon.js'
import type { AvpItem, AvpTree } from '../../src/diameter/tree.js'
import { loadCatalog } from '../../src/rating/load.js'
import { newBuckets } from '../../src/rating/match.js'
import { ccrAvps, encodeCcr, type CcrInput, type RequestType, type ServiceInput } from '../../src/simulator/ccr.js'
import { Gateway, type GatewayConnection, type GatewayOptions } from '../../src/simulator/gateway.js'
import { Message, type Avps } from '../../src/simulator/message.js'
import { formatMoney, parseMoney } from '../../src/units.js'
import { startRedis, type TestRedis } from './redis.js'
import { unlisted } from './sheet.js'
import { dictionary } from './vectors.js'

export const MiB = 1_048_576n

const configurations = {
  /** Prices, host and realm of the reference flows. */
  flows: fileURLToPath(new URL('../flows/ocs.yaml', import.meta.url)),
  /** What ships with the project. */
  shipped: fileURLToPath(new URL('../../config/ocs.yaml', import.meta.url)),
} as const

/** The system's clock, with business time shifted by as much as the test says. */
export class ShiftedClock implements Clock {
  offsetMs = 0
  readonly monotonic = (): number => systemClock.monotonic()
  readonly setTimeout = (fn: () => void, ms: number): Timer => systemClock.setTimeout(fn, ms)
  readonly clearTimeout = (timer: Timer | undefined): void => systemClock.clearTimeout(timer)

  now(): number {
    return Date.now() + this.offsetMs
  }

  shift(ms: number): void {
    this.offsetMs += ms
  }
}

export interface NewSubject {
  /** EUR; default 10.00. */
  readonly money?: string
  readonly creditLimit?: string
  /** Default `flows`, or `payg` on the shipped catalog. */
  readonly offer?: string
  readonly status?: AccountStatus
  readonly identities?: readonly Identity[]
}

/** What an account must be like, EUR. */
export interface Expected {
  readonly bal?: string
  readonly res?: string
  readonly debt?: string
  /** Units left of its buckets, and held of them. */
  readonly buckets?: readonly (readonly [left: bigint, held: bigint])[]
}

export interface Scenario {
  readonly redis: TestRedis
  readonly daemon: Daemon
  readonly accounts: Accounts
  readonly clock: ShiftedClock
  readonly config: Config
  /** One more daemon on the same store. */
  another(): Promise<Daemon>
  /** A connected gateway of the vectors' name, or another; to the first daemon, or these, in order. */
  gateway(
    t: Test,
    options?: {
      originHost?: string
      originStateId?: number
      daemons?: readonly Daemon[]
      onRequest?: GatewayOptions['onRequest']
    },
  ): Promise<Gateway>
  /** A new account with one subscriber; its MSISDN is the account's id. */
  subject(t: Test, parts?: NewSubject): Promise<Subject>
  /** Checks what holds of every answer of this daemon, on all that its gateways got. */
  checkAnswers(t: Test): void
}

/** Everything that gateways of this process got, for checkAnswers. */
const answers: Message[] = []
const identitiesInUse = new Set<string>()

export async function startScenario(
  t: Test,
  which: keyof typeof configurations = 'flows',
  changes: Partial<Config> | ((config: Config) => Partial<Config>) = {},
): Promise<Scenario> {
  const port = await freePort()
  const redis = await startRedis(t, { port: String(port), bind: '127.0.0.1' })
  const clock = new ShiftedClock()
  const outcome = loadConfig(configurations[which])
  if ('faults' in outcome) throw new Error(outcome.faults.map(formatFault).join('\n'))
  const base: Config = {
    ...outcome.config,
    ...(typeof changes === 'function' ? changes(outcome.config) : changes),
  }
  const catalog = loadCatalog(base.catalog)
  if (!('catalog' in catalog)) throw new Error(catalog.faults.map(formatFault).join('\n'))
  let daemons = 0
  const start = async (): Promise<Daemon> => {
    const data = join(redis.folder, `daemon-${++daemons}`)
    mkdirSync(data)
    const config: Config = {
      ...base,
      data,
      journal: { ...base.journal, directory: join(data, 'ledger') },
      admin: { ...base.admin, port: 0, tokenFile: join(data, 'admin.token') },
      metrics: { ...base.metrics, port: 0 },
      diameter: { ...base.diameter, listen: [{ host: '127.0.0.1', port: 0 }] },
      store: { kind: 'url', url: `redis://127.0.0.1:${port}`, durability: 'memory', partitions: base.store.partitions },
    }
    const daemon = await startDaemon({ config, clock, log: pino({ level: 'silent' }) })
    t.teardown(() => daemon.stop(0))
    return daemon
  }
  const daemon = await start()
  let subjects = 0
  return {
    redis,
    daemon,
    accounts: daemon.accounts,
    clock,
    config: base,
    another: start,
    gateway: async (t, { originHost = 'pgw1.example.net', originStateId, daemons: to = [daemon], onRequest } = {}) => {
      const gateway = new Gateway({
        dictionary,
        clock,
        originHost,
        ...(originStateId === undefined ? {} : { originStateId }),
        // A test speaks for each of its sessions itself: what is asked of them is agreed to.
        onRequest: onRequest ?? (() => ({ resultCode: 2002 })),
        originRealm: which === 'flows' ? 'example.net' : 'localdomain',
        destinationRealm: base.diameter.realm,
        trace: (direction, octets) => {
          if (direction === 'received') answers.push(new Message(dictionary, octets))
        },
      })
      for (const each of to) await gateway.connect(each.addresses.diameter[0]!)
      t.teardown(() => gateway.connections.forEach(connection => connection.abort()))
      return gateway
    },
    subject: async (t, parts = {}) => {
      const { money = '10.00', creditLimit = '0', status = 'active' } = parts
      const offer = parts.offer ?? (which === 'flows' ? 'flows' : 'payg')
      const account = String(447_700_900_000 + ++subjects)
      const identities = parts.identities ?? [{ type: 'msisdn' as const, value: account }]
      for (const { value } of identities) identitiesInUse.add(value)
      const created = await daemon.accounts.create(
        { id: account, currency: 'EUR', creditLimit: parseMoney(creditLimit)!, status },
        { identities, offers: [{ offer, buckets: newBuckets(catalog.catalog, offer, clock.now())! }] },
        parseMoney(money)!,
        'admin',
      )
      t.equal(created.status, 'created', `account ${account}`)
      return new Subject(daemon.accounts, account, port, base.store.partitions)
    },
    checkAnswers,
  }
}

/** An account, watched by the test. */
export class Subject {
  private recharges = 0

  constructor(
    private readonly accounts: Accounts,
    readonly account: string,
    private readonly redisPort: number,
    private readonly partitions: number,
  ) {}

  /** Its MSISDN as Subscription-Id. */
  get id(): readonly ['e164', string] {
    return ['e164', this.account]
  }

  /** Compares what the account has with what it must have. */
  async is(t: Test, expected: Expected, when: string): Promise<void> {
    const account = (await this.accounts.show(this.account))!
    const found: { -readonly [K in keyof Expected]: Expected[K] } = {}
    if (expected.bal !== undefined) found.bal = formatMoney(account.money)
    if (expected.res !== undefined) found.res = formatMoney(account.held)
    if (expected.debt !== undefined) found.debt = formatMoney(account.debt)
    if (expected.buckets !== undefined) found.buckets = account.buckets.map(({ amount, held }) => [amount, held])
    t.same(found, expected, when)
  }

  /** Its sessions: open ones, and ended ones that are still kept. */
  sessions(): Promise<readonly Session[]> {
    return this.accounts.sessions({ account: this.account, limit: 100 })
  }

  async openSessions(): Promise<number> {
    return (await this.sessions()).filter(({ open }) => open).length
  }

  async recharge(amount: string): Promise<void> {
    await this.accounts.recharge({
      account: this.account,
      amount: parseMoney(amount)!,
      currency: 'EUR',
      channel: 'test',
      reference: `${this.account}-${++this.recharges}`,
      actor: 'test',
    })
  }

  setStatus(status: AccountStatus): Promise<boolean> {
    return this.accounts.setStatus(this.account, status, 'test')
  }

  /** Its ledger entries, oldest first, those that the ledger's writer has not taken yet at least. */
  async entries(): Promise<Record<string, unknown>[]> {
    return this.withRedis(async redis => {
      const stream = await redis.xrange(journalKey(this.partition), '-', '+')
      return stream
        .map(([, fields]) => JSON.parse(fields[1]!) as Record<string, unknown>)
        .filter(({ account }) => account === this.account)
    })
  }

  /** What the sweeper does when a session is silent for too long, at a business time. */
  async sweep(sessionId: string, clock: ShiftedClock): Promise<string> {
    return this.withRedis(redis =>
      defineScripts(redis, loadScripts()).expireSession(
        accountKey(this.partition, this.account),
        sessionKey(this.partition, sessionId),
        dueKey(this.partition),
        journalKey(this.partition),
        String(clock.now()),
        String(clock.offsetMs),
        this.account,
        sessionId,
        '86400000',
        '',
        'test',
      ),
    )
  }

  private get partition(): number {
    return partitionOf(this.account, this.partitions)
  }

  private async withRedis<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis(this.redisPort, '127.0.0.1')
    try {
      return await work(redis)
    } finally {
      redis.disconnect()
    }
  }
}

/** Requests of one session, step by step as a story wants them, in or out of order. */
export class Talk {
  readonly id: string
  private connection: GatewayConnection | undefined

  constructor(
    readonly gateway: Gateway,
    private readonly who: readonly (readonly ['e164' | 'imsi' | 'sip' | 'nai' | 'private', string])[],
    private readonly parts: Partial<CcrInput> = {},
  ) {
    this.id = parts.sessionId ?? gateway.nextSessionId()
  }

  /** From now on over this connection; by default the gateway's first. */
  over(connection: GatewayConnection): this {
    this.connection = connection
    return this
  }

  input(
    type: RequestType,
    number: number,
    services: readonly ServiceInput[],
    changes: Partial<CcrInput> = {},
  ): CcrInput {
    return {
      type,
      number,
      sessionId: this.id,
      serviceContextId: '32251@3gpp.org',
      subscriptionIds: this.who,
      services,
      ...(type === 'initial' && { multipleServicesIndicator: 1 }),
      ...(type === 'terminate' && { terminationCause: 1 }),
      ...this.parts,
      ...changes,
    }
  }

  initial(services: readonly ServiceInput[], changes?: Partial<CcrInput>): Promise<Message> {
    return this.ask(this.input('initial', 0, services, changes))
  }

  update(number: number, services: readonly ServiceInput[], changes?: Partial<CcrInput>): Promise<Message> {
    return this.ask(this.input('update', number, services, changes))
  }

  terminate(number: number, services: readonly ServiceInput[] = [], changes?: Partial<CcrInput>): Promise<Message> {
    return this.ask(this.input('terminate', number, services, changes))
  }

  ask(ccr: CcrInput): Promise<Message> {
    return this.askAvps(ccrAvps(this.gateway, ccr))
  }

  /** The same, whatever the AVPs. */
  askAvps(
    avps: readonly AvpItem[],
    header: { endToEnd?: number; retransmitted?: boolean; hopByHop?: number } = {},
  ): Promise<Message> {
    const connection = this.connection ?? this.gateway.connections[0]!
    const {
      hopByHop = connection.nextHopByHop(),
      endToEnd = this.gateway.nextEndToEnd(),
      retransmitted = false,
    } = header
    return connection.ask(encodeCcr(dictionary, avps, { hopByHop, endToEnd, retransmitted }))
  }
}

/** One MSCC (or the command level) of an answer, with only what is there. */
export interface AnsweredLine {
  ratingGroup?: number
  serviceIdentifiers?: number[]
  code?: number
  octets?: bigint
  seconds?: number
  events?: bigint
  validity?: number
  /** Final-Unit-Action. */
  final?: number
  threshold?: number
}

export const linesOf = (answer: Message): AnsweredLine[] =>
  answer.groups('Multiple-Services-Credit-Control').map(lineOf)

export function lineOf(mscc: Avps): AnsweredLine {
  const granted = mscc.group('Granted-Service-Unit')
  const all: { [K in keyof AnsweredLine]: AnsweredLine[K] | undefined } = {
    ratingGroup: mscc.number('Rating-Group'),
    serviceIdentifiers: mscc.all('Service-Identifier').map(({ value }) => value as number),
    code: mscc.number('Result-Code'),
    octets: granted?.bigint('CC-Total-Octets'),
    seconds: granted?.number('CC-Time'),
    events: granted?.bigint('CC-Service-Specific-Units'),
    validity: mscc.number('Validity-Time'),
    final: mscc.group('Final-Unit-Indication')?.number('Final-Unit-Action'),
    threshold: mscc.number('Volume-Quota-Threshold') ?? mscc.number('Time-Quota-Threshold'),
  }
  if (all.serviceIdentifiers?.length === 0) delete all.serviceIdentifiers
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

/** The AVP that a refusal points at: `Multiple-Services-Credit-Control/Rating-Group=999`. */
export function failedAvps(answer: Message): string[] {
  const told = (avps: readonly AvpTree[], path: string): string[] =>
    avps.flatMap(({ name, value }) =>
      Array.isArray(value) && value.length > 0
        ? told(value, `${path}${name}/`)
        : [
            `${path}${name}=${Buffer.isBuffer(value) ? value.toString('hex') : Array.isArray(value) ? '' : String(value)}`,
          ],
    )
  return answer.groups('Failed-AVP').flatMap(({ list }) => told(list, ''))
}

/** What must hold of every CCA: CC-002, CC-050; refusals say why, without the M bit and without anybody's identity. */
function checkAnswers(t: Test): void {
  const surprising = new Set(answers.flatMap(({ octets }) => unlisted(octets)))
  t.same([...surprising], [], 'nothing is sent that the compatibility sheet does not list')
  let checked = 0
  for (const answer of answers) {
    if (answer.header.commandCode !== 272) continue
    checked++
    const { resultCode } = answer
    const required = ['Session-Id', 'Result-Code', 'Origin-Host', 'Origin-Realm']
    if (resultCode < 3000 || resultCode >= 4000) {
      required.push('Auth-Application-Id')
      // An error answer repeats them when they could be read.
      if (resultCode !== 5005 && resultCode !== 5004 && resultCode !== 5014)
        required.push('CC-Request-Type', 'CC-Request-Number')
    }
    const texts = answer.all('Error-Message')
    const refusals = [
      resultCode,
      ...answer.groups('Multiple-Services-Credit-Control').map(each => each.number('Result-Code')),
    ]
    const allOctets = answer.octets.toString('latin1')
    const message = answer.text('Error-Message') ?? ''
    const faults = Object.entries({
      'Session-Id is not first': answer.list[0]?.name !== 'Session-Id' && resultCode !== 5005,
      'an AVP of RFC 8506 section 3.2 is missing': required.some(
        name => answer.all(name).length !== 1 && !(resultCode === 5005 && name === 'Session-Id'),
      ),
      'Auth-Application-Id is not 4': (answer.number('Auth-Application-Id') ?? 4) !== 4,
      'a refusal does not say why': refusals.some(code => code !== undefined && code !== 2001) && texts.length !== 1,
      'Error-Message has the M bit': texts.some(({ flags }) => (flags & 0x40) !== 0),
      'the refusal names a subscriber': [...identitiesInUse].some(identity => message.includes(identity)),
      'grants beside a refusal': resultCode !== 2001 && answer.all('Multiple-Services-Credit-Control').length > 0,
      'an AVP that no dictionary has': answer.list.some(({ name }) => /^\d+:/.test(name)),
      // Of an event nothing is granted that could end.
      'a grant without Validity-Time':
        answer.number('CC-Request-Type') !== 4 &&
        answer
          .groups('Multiple-Services-Credit-Control')
          .some(each => each.group('Granted-Service-Unit') !== undefined && each.number('Validity-Time') === undefined),
    }).flatMap(([fault, holds]) => (holds ? [fault] : []))
    if (faults.length > 0) t.fail(`${faults.join('; ')}: ${resultCode} ${message} ${allOctets.length} octets`)
  }
  t.ok(checked > 0, `${checked} answers are complete, say why they refuse, and name nobody`)
}

/** A port that nobody listens on at this moment. */
function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
