/**
 * How many messages do grants of one size or another cost, and how much money do they hold that nobody uses?
 *
 *     npx tsx bench/quota.ts          BENCH_SMALL=1: a tiny run, to see that it works. SEED=n: other traffic
 *
 * Gateways in virtual time, second by second, through the charging function and the real lua/charge.lua on a redis-server of the bench's own; the
 * figures depend on nothing but the seed. A gateway reports when a grant is used up, when Validity-Time is over and at the end; while it waits
 * for an answer (0.2 s) traffic goes on, unless the units were final; refused, it asks again each minute that somebody wants
 * to use. `alone`: one session, and more money than it needs. `shared`: parallel sessions of an account that has less. `held` is
 * what is held and not yet used, as a mean over time; `at refusal` what the other sessions held so when the first of them was refused; a refusal
 * counts as `elsewhere` when that would have paid a step; `stranded` is money that nobody could use until all sessions had ended, although somebody
 * wanted to. Shares are of the opening balance.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { RedisAccounts } from '../src/balance/accounts.js'
import { Balance } from '../src/balance/balance.js'
import { Identities } from '../src/balance/identities.js'
import { Store } from '../src/balance/store.js'
import {
  ChargingFunction,
  termsOf,
  type ChargingMetrics,
  type LineRequest,
  type RequestType,
} from '../src/charging/charging.js'
import { systemClock, type Clock } from '../src/clock.js'
import { standardProfile } from '../src/config/profiles.js'
import { loadCatalog } from '../src/rating/load.js'
import { micros, type Millis } from '../src/units.js'
import { seeded } from '../test/support/load.js'
import { chargingConfig } from '../test/support/store.js'
import { findTool } from '../test/support/tools.js'

const small = process.env['BENCH_SMALL'] === '1'
const seed = Number(process.env['SEED'] ?? 1)
const accountsOfOneCase = small ? 1 : 8
const partitions = 16

const MB = 1_000_000
const GB = 1_000 * MB
const minute = 60
const hour = small ? 6 * minute : 60 * minute
const day = 24 * hour
/** 0.01 EUR a MB, in micros an octet. */
const price = 0.01
const stepPrice = 1_000
const roundTrip = 0.2
const retryEvery = minute

const quotas = {
  '1 MB': 'size: 1MB, min: 100kB, max: 1MB',
  '10 MB': 'size: 10MB, min: 100kB, max: 10MB',
  '100 MB': 'size: 100MB, min: 100kB, max: 100MB',
  'adaptive, 60 s': 'size: 10MB, min: 1MB, max: 100MB, target: 60s',
  'adaptive, 300 s': 'size: 10MB, min: 1MB, max: 100MB, target: 300s',
  'the same from 1 MB': 'size: 1MB, min: 1MB, max: 100MB, target: 300s',
} as const
type Quota = keyof typeof quotas

/** Octets of each second of a session. */
type Traffic = Float64Array
const profiles: Readonly<Record<string, (random: () => number) => Traffic>> = {
  // Some messages now and then, a picture among them.
  chat: random => bursts(random, 2 * hour, { pause: [20, 600], lasts: [1, 3], rate: [5_000, 200_000] }),
  // Two to six megabits a second, with short pauses.
  video: random => bursts(random, hour, { pause: [5, 60], lasts: [300, 1_200], rate: [250_000, 750_000] }),
  // A few kilobytes each quarter of an hour.
  iot: random => bursts(random, day, { pause: [880, 920], lasts: [1, 1], rate: [500, 4_000] }),
  // Pages, some chat, a film clip, and an hour in the pocket.
  mixed: random =>
    joined(
      bursts(random, hour, { pause: [10, 120], lasts: [1, 4], rate: [200_000, 1_000_000] }),
      bursts(random, hour / 4, { pause: [1, 10], lasts: [120, 600], rate: [250_000, 750_000] }),
      bursts(random, hour, { pause: [300, 900], lasts: [1, 2], rate: [2_000, 20_000] }),
      bursts(random, hour / 2, { pause: [10, 120], lasts: [1, 4], rate: [200_000, 1_000_000] }),
    ),
}

/** Who is online together, and with how much money, EUR. */
const groups: Readonly<Record<string, { profiles: readonly string[]; money: number }>> = {
  '2: video, chat': { profiles: ['video', 'chat'], money: 1 },
  '3: mixed, chat, iot': { profiles: ['mixed', 'chat', 'iot'], money: 1 },
  '4: mixed, mixed, chat, chat': { profiles: ['mixed', 'mixed', 'chat', 'chat'], money: 2 },
}

interface Bursts {
  /** Seconds. */
  readonly pause: readonly [least: number, most: number]
  readonly lasts: readonly [least: number, most: number]
  /** Octets a second. */
  readonly rate: readonly [least: number, most: number]
}

function bursts(random: () => number, seconds: number, { pause, lasts, rate }: Bursts): Traffic {
  const traffic = new Float64Array(seconds)
  const among = ([least, most]: readonly [number, number]): number => Math.round(least + random() * (most - least))
  for (let at = among([0, pause[1]]); at < seconds; at += among(pause)) {
    const octets = among(rate)
    for (const end = Math.min(seconds, at + among(lasts)); at < end; at++) traffic[at] = octets
  }
  return traffic
}

function joined(...parts: readonly Traffic[]): Traffic {
  const all = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

interface Row {
  readonly case: string
  readonly quota: Quota
  readonly sessions: number
  readonly messages: number
  /** Octets that passed. */
  used: number
  /** As a share, and in EUR. */
  readonly held: number
  readonly euro: number
  readonly refused: number
  /** Of them, while others held unused money. */
  readonly elsewhere: number
  /** Mean of the accounts where one was refused. */
  readonly atRefusal: number
  readonly stranded: number
  /** EUR. */
  readonly overrun: number
}

/** What all sessions of one account do, second by second. */
class Gateways {
  messages = 0
  refused = 0
  elsewhere = 0
  /** Octets that did not pass. */
  stopped = 0
  overrun = 0
  held = 0
  seconds = 0
  atRefusal: number | undefined
  readonly sessions: Session[]

  constructor(
    readonly charging: ChargingFunction,
    readonly account: string,
    traffics: readonly Traffic[],
  ) {
    this.sessions = traffics.map((traffic, i) => new Session(this, `gw.bench.example;${account};${i}`, traffic))
  }

  async run(): Promise<void> {
    const end = Math.max(...this.sessions.map(({ traffic }) => traffic.length))
    for (let second = 0; second <= end; second++) {
      for (const session of this.sessions) await session.live(second)
      this.held += this.heldBeside(undefined)
      this.seconds++
    }
  }

  /** Micros that the others hold and have not used. */
  heldBeside(session: Session | undefined): number {
    return this.sessions.reduce((sum, each) => (each === session ? sum : sum + (each.granted - each.used) * price), 0)
  }
}

class Session {
  granted = 0
  used = 0
  total = 0
  private final = false
  private number = 0
  private reportBy = 0
  private askAgainAt = 0
  private state: 'open' | 'blocked' | 'ended' = 'blocked'

  constructor(
    private readonly gateways: Gateways,
    private readonly id: string,
    readonly traffic: Traffic,
  ) {}

  async live(second: number): Promise<void> {
    if (this.state === 'ended') return
    if (second >= this.traffic.length) {
      if (this.number > 0) await this.ask(second, 'terminate', false)
      this.state = 'ended'
      return
    }
    if (second === 0) await this.ask(second, 'initial', true)
    const rate = this.traffic[second]!
    if (this.state === 'blocked' && rate > 0 && second >= this.askAgainAt)
      await this.ask(second, this.number === 0 ? 'initial' : 'update', true)
    if (this.state === 'open' && second >= this.reportBy) await this.ask(second, 'update', true)
    let rest = rate
    while (rest > 0 && this.state === 'open') {
      const passes = Math.min(rest, this.granted - this.used)
      this.pass(passes)
      rest -= passes
      if (this.used < this.granted) break
      const leaks = this.final ? 0 : Math.min(rest, Math.floor(rate * roundTrip))
      this.pass(leaks)
      rest -= leaks
      const final = this.final
      await this.ask(second, 'update', !final)
      if (final) this.block(second)
    }
    this.gateways.stopped += rest
  }

  private pass(octets: number): void {
    this.used += octets
    this.total += octets
  }

  private block(second: number): void {
    this.state = 'blocked'
    this.granted = this.used = 0
    this.askAgainAt = second + retryEvery
  }

  private async ask(second: number, type: RequestType, more: boolean): Promise<void> {
    const { gateways } = this
    const at = beginning + second * 1_000
    const line: LineRequest = {
      key: '10',
      ratingGroup: 10,
      serviceIdentifiers: [],
      requested: more ? noUnits : undefined,
      used: { ...noUnits, octets: { unsplit: BigInt(this.used), before: 0n, after: 0n, indeterminate: 0n } },
      currency: undefined,
      threshold: false,
    }
    now = at
    const outcome = await gateways.charging.charge({
      type,
      number: this.number++,
      sessionId: this.id,
      originHost: 'gw.bench.example',
      serviceContextId: '32251@3gpp.org',
      eventTime: at,
      identities: [{ type: 'nai', value: `${gateways.account}@bench` }],
      lines: [line],
      facts: { plmn: undefined, called: undefined, apn: undefined, rat: undefined, direction: undefined },
      retransmitted: false,
      arrival: at,
      arrivedAt: systemClock.monotonic(),
      profile: { ...standardProfile, subscriptionId: 'always' },
    })
    gateways.messages++
    if (outcome.status !== 'answered' && outcome.status !== 'refused') throw new Error(`charge: ${outcome.status}`)
    const [answer] = outcome.lines
    this.granted = this.used = 0
    if (answer?.is === 'granted') {
      this.state = 'open'
      this.granted = Number(answer.units)
      this.final = answer.final
      this.reportBy = second + termsOf(answer).validity
      return
    }
    if (!more) return
    if (type === 'initial') this.number = 0
    this.block(second)
    gateways.refused++
    const beside = gateways.heldBeside(this)
    if (beside >= stepPrice) gateways.elsewhere++
    gateways.atRefusal ??= beside
  }
}

const noUnits = { octets: undefined, seconds: undefined, events: undefined, money: undefined }
/** A Monday; business time begins here in each case. */
const beginning: Millis = Date.UTC(2026, 0, 5, 8)
let now: Millis = beginning
const clock: Clock = { ...systemClock, now: () => now }
const nobody = (): void => undefined

const folder = mkdtempSync(join(tmpdir(), 'ocsd-bench-'))
const socket = join(folder, 'redis.sock')
let server: ChildProcess | undefined

async function main(): Promise<void> {
  server = spawn(findTool('redis-server')!, ['--port', '0', '--unixsocket', socket, '--dir', folder, '--save', ''], {
    stdio: 'ignore',
  })
  const store = new Store({
    config: { kind: 'embedded', durability: 'memory', partitions },
    address: { socket },
    log: pino({ level: 'silent' }),
    metrics: { call: nobody, error: nobody, retry: nobody, up: nobody },
    clock: systemClock,
  })
  await store.open(5_000)
  const balance = new Balance(store, partitions, chargingConfig, clock)
  const accounts = new RedisAccounts(store, partitions, chargingConfig, clock)
  const catalog = loadCatalog(catalogFile())
  if (!('catalog' in catalog)) throw new Error(catalog.faults.map(({ message }) => message).join('; '))
  let overrun = 0
  const metrics: ChargingMetrics = {
    duplicate: nobody, duplicateMismatch: nobody, outOfOrder: nobody, lateUpdate: nobody, unknownSession: nobody,
    granted: nobody, used: nobody, charged: nobody, unrated: nobody,
    overrun: (_, amount) => (overrun += Number(amount) / 1e6),
  } // prettier-ignore
  const charging = new ChargingFunction({
    balance,
    identities: new Identities(store, balance),
    config: chargingConfig,
    clock,
    metrics,
    hints: { entry: nobody, due: nobody },
    descriptions: { note: nobody },
    catalog: () => catalog.catalog,
    trusted: () => true,
  })

  let number = 0
  async function play(name: string, quota: Quota, of: readonly string[], money: number): Promise<Row> {
    const all: Gateways[] = []
    let stranded = 0
    overrun = 0
    for (let i = 0; i < accountsOfOneCase; i++) {
      const random = seeded(seed * 1_000 + i)
      const account = `bench-${++number}`
      now = beginning
      await accounts.create(
        { id: account, currency: 'EUR', creditLimit: micros(0), status: 'active' },
        {
          identities: [{ type: 'nai', value: `${account}@bench` }],
          offers: [{ offer: `${Object.keys(quotas).indexOf(quota)}q`, buckets: [] }],
        },
        micros(BigInt(money * 1e6)),
        'admin',
      )
      const gateways = new Gateways(charging, account, of.map(profile => profiles[profile]!(random))) // prettier-ignore
      await gateways.run()
      all.push(gateways)
      const { money: left } = (await accounts.show(account))!
      stranded += Math.min(Number(left), gateways.stopped * price) / 1e6
    }
    const sum = (pick: (gateways: Gateways) => number): number => all.reduce((total, each) => total + pick(each), 0)
    const refusals = all.filter(({ atRefusal }) => atRefusal !== undefined)
    const euro = sum(({ held, seconds }) => held / seconds) / 1e6 / all.length
    return {
      case: name,
      quota,
      sessions: all.length * of.length,
      messages: sum(({ messages }) => messages),
      used: sum(({ sessions }) => sessions.reduce((total, session) => total + session.total, 0)),
      held: euro / money,
      euro,
      refused: sum(({ refused }) => refused),
      elsewhere: sum(({ elsewhere }) => elsewhere),
      atRefusal: refusals.length === 0 ? 0 : sum(({ atRefusal = 0 }) => atRefusal) / 1e6 / refusals.length / money,
      stranded: stranded / all.length / money,
      overrun,
    }
  }

  const alone: Row[] = []
  const shared: Row[] = []
  const sizes = Object.keys(quotas) as Quota[]
  for (const profile of Object.keys(profiles)) {
    for (const quota of sizes) alone.push(await play(profile, quota, [profile], 50))
  }
  for (const [name, { profiles, money }] of Object.entries(groups)) {
    for (const quota of sizes) shared.push(await play(name, quota, profiles, money))
  }
  await store.close()
  report(alone, shared)
}

/** One offer for each way to grant. */
function catalogFile(): string {
  const file = join(folder, 'catalog.yaml')
  writeFileSync(
    file,
    [
      'currency: EUR',
      'services: { data: { context: 32251@3gpp.org, unit: octets } }',
      "rates: { payg: { unit: octets, price: '0.01', per: 1MB, step: 100kB } }",
      'offers:',
      ...Object.values(quotas).map(
        (quota, i) =>
          `  ${i}q: { rules: [{ service: data, use: [payg] }], quota: { data: { ${quota}, validity: 1h } }, finalUnit: { action: terminate } }`,
      ),
    ].join('\n'),
  )
  return file
}

function report(alone: readonly Row[], shared: readonly Row[]): void {
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`
  console.log(JSON.stringify({ bench: 'quota', machine, seed, alone, shared }))
  const percent = (share: number): string => `${(share * 100).toFixed(1)}%`
  print(
    ['alone', 'grants', 'MB', 'messages', 'per GB', 'held EUR'],
    alone.map(row => [
      row.case,
      row.quota,
      (row.used / row.sessions / MB).toFixed(1),
      (row.messages / row.sessions).toFixed(1),
      ((row.messages / row.used) * GB).toFixed(0),
      row.euro.toFixed(3),
    ]),
  )
  print(
    ['shared', 'grants', 'messages', 'held', 'at refusal', 'refused', 'elsewhere', 'stranded', 'overrun EUR'],
    shared.map(row => [
      row.case,
      row.quota,
      (row.messages / row.sessions).toFixed(1),
      percent(row.held),
      percent(row.atRefusal),
      (row.refused / accountsOfOneCase).toFixed(1),
      (row.elsewhere / accountsOfOneCase).toFixed(1),
      percent(row.stranded),
      (row.overrun / accountsOfOneCase).toFixed(4),
    ]),
  )
}

function print(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((text, i) => Math.max(text.length, ...rows.map(row => row[i]!.length)))
  console.log('')
  for (const row of [head, ...rows])
    console.log(`  ${row.map((text, i) => (i < 2 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join('  ')}`)
}

try {
  await main()
} finally {
  server?.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
