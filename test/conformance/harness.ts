/**
 * What every row of the conformance table is tested with: an ocsd in this process on a store of its own, reached over real
 * sockets, whose clock is put forward and never waited for; the vectors' account A; gateways made of octets; and a recorder
 * that keeps all that ocsd sent to any of them.
 *
 * A row is `row('BASE-001', 'what is shown', async t => { … })`; requirements.yaml says what the row demands.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import tap, { type Test } from 'tap'
import type { Accounts, Identity } from '../../src/balance/types.js'
import type { Config, DiameterConfig } from '../../src/config/config.js'
import { loadConfig } from '../../src/config/load.js'
import { formatFault } from '../../src/config/yaml.js'
import { startDaemon, type Daemon } from '../../src/daemon.js'
import { FLAG } from '../../src/diameter/header.js'
import { loadCatalog } from '../../src/rating/load.js'
import { newBuckets } from '../../src/rating/match.js'
import { Gateway, type GatewayOptions } from '../../src/simulator/gateway.js'
import { parseMoney } from '../../src/units.js'
import type { LogLine } from '../support/diameter-server.js'
import { freePort } from '../support/ocsd-process.js'
import { RawClient, type Received } from '../support/raw-client.js'
import { startRedis, type TestRedis } from '../support/redis.js'
import { Subject, Talk, type NewSubject } from '../support/scenario.js'
import { SkippingClock } from '../support/skipping-clock.js'
import { dictionary, vector } from '../support/vectors.js'
import { received } from './recorder.js'

const configuration = fileURLToPath(new URL('ocs.yaml', import.meta.url))

/** Account A of the vectors. */
export const msisdn = '447700900123'
export const imsi = '234150999999999'
/** Who ocsd is. */
export const ocsHost = 'ocs1.charging.example.net'
export const ocsRealm = 'charging.example.net'

export const second = 1_000
export const minute = 60 * second
export const hour = 60 * minute

/** One row of the table: a test that is named by it. A row may have several. */
export function row(id: `${'BASE' | 'CC' | '3GPP'}-${string}`, shows: string, work: (t: Test) => unknown): void {
  void tap.test(`${id} ${shows}`, async t => {
    await work(t)
  })
}

export interface OcsParts {
  /** Changes of ocs.yaml. */
  readonly diameter?: Partial<DiameterConfig>
  readonly charging?: Partial<Config['charging']>
  readonly other?: Partial<Omit<Config, 'diameter' | 'charging'>>
  /** Origin-Hosts of the peer table that ocsd calls, and the ports where they listen. */
  readonly called?: Readonly<Record<string, number>>
  /** Account A: EUR 10.00 and the offer `standard` unless said otherwise. */
  readonly account?: NewSubject
}

/** An ocsd with its store, clock and account A. */
export interface Ocs {
  readonly redis: TestRedis
  /** The one that runs now. */
  readonly daemon: Daemon
  readonly accounts: Accounts
  /** Noon of tomorrow, UTC, at first: nothing of any test crosses midnight by chance. */
  readonly clock: SkippingClock
  readonly config: Config
  readonly port: number
  readonly log: readonly LogLine[]
  /** Account A. */
  readonly a: Subject
  /** One more account. */
  account(t: Test, id: string, parts?: NewSubject): Promise<Subject>
  /** A connected peer made of octets: B01's, or that of another CER. */
  peer(t: Test, cer?: Buffer): Promise<RawClient>
  /** A connection without a CER. */
  open(t: Test): Promise<RawClient>
  /** A gateway that asks by CcrInput: pgw1, connected. */
  gateway(t: Test, options?: Partial<GatewayOptions> & { readonly daemons?: readonly Daemon[] }): Promise<Gateway>
  /** A session of account A over a gateway. */
  talk(gateway: Gateway, parts?: ConstructorParameters<typeof Talk>[2]): Talk
  /** Stops it and starts it again on what is in the store; `lost`: on an empty store, with account A made anew. */
  restart(parts?: { readonly lost?: boolean }): Promise<void>
  /** One more ocsd on the same store. */
  another(diameter?: Partial<DiameterConfig>): Promise<Daemon>
  /** As if this time had passed for the store too: keys that expire within it are gone. */
  pass(ms: number): Promise<void>
  /** Sum of the samples of a metric whose labels hold this text. */
  metric(name: string, labels?: string): Promise<number>
  /** Every key of the store. */
  keys(): Promise<string[]>
  /**
   * What an operator asks over the admin API: a RAR or an ASR for a session, or for all of account A.
   *
   * @returns what came of the one session
   */
  ask(command: 'reauthorise' | 'abort', whom?: { readonly sessionId: string }): Promise<string>
  /** Puts the clock forward, a tenth of a second at a time, until this is settled. */
  settle<T>(promise: Promise<T>): Promise<T>
  /** The same until something holds. @returns how long that was, ms. @throws Error after an hour */
  waitUntil(what: string, holds: () => boolean): Promise<number>
}

/** Starts it; it ends with `t`. */
export async function startOcs(t: Test, parts: OcsParts = {}): Promise<Ocs> {
  const port = await freePort()
  const redis = await startRedis(t, { port: String(port), bind: '127.0.0.1' })
  const clock = new SkippingClock()
  clock.skip(tomorrowNoon() - clock.now())
  const outcome = loadConfig(configuration)
  if ('faults' in outcome) throw new Error(outcome.faults.map(formatFault).join('\n'))
  const { config: written } = outcome
  const base: Config = {
    ...written,
    ...parts.other,
    diameter: {
      ...written.diameter,
      peers: written.diameter.peers.map(peer => {
        const port = parts.called?.[peer.identity]
        return port === undefined ? peer : { ...peer, connect: { host: '127.0.0.1', port, tls: false } }
      }),
      ...parts.diameter,
    },
    charging: { ...written.charging, ...parts.charging },
  }
  const catalog = loadCatalog(base.catalog)
  if (!('catalog' in catalog)) throw new Error(catalog.faults.map(formatFault).join('\n'))
  const log: LogLine[] = []
  const logger = pino({ level: 'info' }, { write: line => void log.push(JSON.parse(line) as LogLine) })
  const withRedis = async <T>(work: (redis: Redis) => Promise<T>): Promise<T> => {
    const client = new Redis(port, '127.0.0.1')
    try {
      return await work(client)
    } finally {
      client.disconnect()
    }
  }

  let folders = 0
  const start = async (data: string, diameter: Partial<DiameterConfig> = {}): Promise<Daemon> => {
    mkdirSync(data, { recursive: true })
    const config: Config = {
      ...base,
      data,
      diameter: { ...base.diameter, ...diameter },
      journal: { ...base.journal, directory: join(data, 'ledger') },
      admin: { ...base.admin, tokenFile: join(data, 'admin.token') },
      store: { kind: 'url', url: `redis://127.0.0.1:${port}`, durability: 'memory', partitions: base.store.partitions },
    }
    const daemon = await startDaemon({ config, clock, log: logger })
    t.teardown(() => daemon.stop(0))
    return daemon
  }
  const folder = (): string => join(redis.folder, `daemon-${++folders}`)
  let home = folder()
  let daemon = await start(home)

  const account = async (t: Test, id: string, subject: NewSubject = {}): Promise<Subject> => {
    const { money = '10.00', creditLimit = '0', status = 'active', offer = 'standard' } = subject
    const identities: readonly Identity[] = subject.identities ?? [{ type: 'msisdn', value: id }]
    const created = await daemon.accounts.create(
      { id, currency: 'EUR', creditLimit: parseMoney(creditLimit)!, status },
      { identities, offers: [{ offer, buckets: newBuckets(catalog.catalog, offer, clock.now())! }] },
      parseMoney(money)!,
      'admin',
    )
    t.equal(created.status, 'created', `account ${id}`)
    return new Subject(daemon.accounts, id, port, base.store.partitions)
  }
  const makeA = (): Promise<Subject> =>
    account(t, msisdn, {
      identities: [
        { type: 'msisdn', value: msisdn },
        { type: 'imsi', value: imsi },
      ],
      ...parts.account,
    })
  let a = await makeA()

  return {
    redis,
    clock,
    log,
    account,
    get daemon() {
      return daemon
    },
    get accounts() {
      return daemon.accounts
    },
    get config() {
      return base
    },
    get port() {
      return daemon.addresses.diameter[0]!.port
    },
    get a() {
      return a
    },
    peer: (t, cer = vector('B01')) => RawClient.peer(t, { port: daemon.addresses.diameter[0]!.port }, cer),
    open: t => RawClient.open(t, { port: daemon.addresses.diameter[0]!.port }),
    gateway: async (t, { daemons = [daemon], ...options } = {}) => {
      const gateway = new Gateway({
        dictionary,
        clock,
        originHost: 'pgw1.example.net',
        originRealm: 'example.net',
        destinationRealm: ocsRealm,
        ...options,
        trace: (direction, octets, connection) => {
          options.trace?.(direction, octets, connection)
          if (direction === 'received') received(octets)
        },
      })
      for (const each of daemons) await gateway.connect(each.addresses.diameter[0]!)
      t.teardown(() => gateway.connections.forEach(connection => connection.abort()))
      return gateway
    },
    talk: (gateway, talk = {}) => new Talk(gateway, [['e164', msisdn]], talk),
    restart: async ({ lost = false } = {}) => {
      await daemon.stop(0)
      if (lost) {
        await withRedis(redis => redis.flushall())
        home = folder()
      }
      daemon = await start(home)
      if (lost) a = await makeA()
      else a = new Subject(daemon.accounts, msisdn, port, base.store.partitions)
    },
    another: diameter => start(folder(), diameter),
    pass: async ms => {
      await withRedis(async redis => {
        for (const key of await redis.keys('*')) {
          const left = await redis.pttl(key)
          if (left >= 0) await (left <= ms ? redis.del(key) : redis.pexpire(key, left - ms))
        }
      })
      const hours = ms > hour ? ms - minute : 0 // in which nobody looks: timers run once, afterwards
      if (hours > 0) clock.jump(hours)
      clock.skip(ms - hours)
    },
    metric: async (name, labels = '') => {
      const { host, port } = daemon.addresses.metrics
      const text = await (await fetch(`http://${host}:${port}/metrics`)).text()
      return text.split('\n').reduce((sum, line) => {
        const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)
        return match?.[1] === name && (match[2] ?? '').includes(labels) ? sum + Number(match[3]) : sum
      }, 0)
    },
    keys: () => withRedis(redis => redis.keys('*')),
    ask: async (command, whom) => {
      const { host, port } = daemon.addresses.admin
      const response = await fetch(`http://${host}:${port}/v1/sessions/${command}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${readFileSync(join(home, 'admin.token'), 'utf8').trim()}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify(whom ?? { account: msisdn }),
      })
      const { result = '' } = (await response.json()) as { result?: string }
      if (!response.ok) throw new Error(`${command} was refused: ${response.status}`)
      return result
    },
    settle: async promise => {
      const outcome = { settled: false }
      const end = (): void => void (outcome.settled = true)
      promise.then(end, end)
      while (!outcome.settled) {
        await turns()
        clock.skip(100)
      }
      return promise
    },
    waitUntil: async (what, holds) => {
      const begun = clock.monotonic()
      for (;;) {
        await turns()
        const passed = clock.monotonic() - begun
        if (holds()) return passed
        if (passed > hour) throw new Error(`waited for an hour until ${what}`)
        clock.skip(100)
      }
    },
  }
}

function tomorrowNoon(): number {
  const now = new Date()
  return Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + 1, 12)
}

/** Lets what is on its way arrive. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(resolve => setImmediate(resolve))
}

/** A peer that answers every DWR, and keeps what else came. */
export class Attentive {
  readonly messages: Received[] = []
  /** DWRs that it answered. */
  probes = 0

  constructor(readonly client: RawClient) {
    void this.attend()
  }

  private async attend(): Promise<void> {
    for (;;) {
      const message = await this.client.nextOrEnd()
      if (typeof message === 'string') return
      if (message.header.commandCode === 280 && (message.header.flags & FLAG.REQUEST) !== 0) {
        this.probes++
        this.client.answer(message)
      } else {
        this.messages.push(message)
      }
    }
  }
}
