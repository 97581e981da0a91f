/**
 * What does one charge cost inside Redis and in the client, by type of request and by what pays?
 *
 *     npx tsx bench/balance.ts        BENCH_SMALL=1: a tiny run, to see that it works
 *
 * The real lua/charge.lua through the real client against a redis-server of the bench's own (AOF everysec), 64 in flight, nothing
 * else running in either. `redis` is CPU of Redis's main thread a call (parse, script, reply, AOF feed; from schedstat), `script` is
 * commandstats' wall time, `client` is CPU of this process a call. Beside it `redis-benchmark` sends the same script by
 * EVALSHA without any client of ours: what the script costs when nothing but Redis matters. Rounds are interleaved, medians.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { RedisAccounts } from '../src/balance/accounts.js'
import { Balance, type TimedProgram } from '../src/balance/balance.js'
import { accountKey, dueKey, endedKey, journalKey, partitionOf, sessionKey } from '../src/balance/keys.js'
import { loadScripts } from '../src/balance/scripts.js'
import { Store } from '../src/balance/store.js'
import { systemClock as clock } from '../src/clock.js'
import { micros, units } from '../src/units.js'
import { aProgram, type ProgramTier } from '../test/support/charging.js'
import { chargingConfig } from '../test/support/store.js'
import { findTool } from '../test/support/tools.js'

const small = process.env['BENCH_SMALL'] === '1'
const rounds = small ? 1 : 5
const sessionsOfOneRound = small ? 10 : 2000
const inFlight = 64
const partitions = 1024
const accountCount = small ? 10 : 1000

const rate = { step: 100_000n, num: 1000n, den: 1n }
const GB = 1_000_000_000n
/** So many tiers of 1 GB, each dearer than the one before: usage goes through all of them. */
const tiersOf = (count: number): ProgramTier[] =>
  Array.from({ length: count }, (_, i) => ({
    num: 1000n + BigInt(i),
    ...(i < count - 1 && { upTo: BigInt(i + 1) * GB }),
  }))
const day = 86_400_000
const midnight = Math.ceil(Date.now() / day) * day
const cases: Record<string, BenchCase> = {
  payg: { program: aProgram(rate), buckets: 0, lines: 1 },
  '1 bucket': { program: aProgram({ ...rate, buckets: ['data-0'] }), buckets: 1, lines: 1 },
  '4 buckets': { program: aProgram({ ...rate, buckets: names(4) }), buckets: 4, lines: 1 },
  '16 buckets': { program: aProgram({ ...rate, buckets: names(16) }), buckets: 16, lines: 1 },
  '16 buckets, 1 named': { program: aProgram({ ...rate, buckets: ['data-0'] }), buckets: 16, lines: 1 },
  '8 bands': { program: aProgram({ ...rate, tiers: tiersOf(8) }), buckets: 0, lines: 1 },
  'counter, 1 tier': { program: aProgram({ ...rate, tiers: tiersOf(1), counter: 'month' }), buckets: 0, lines: 1 },
  'counter, 8 tiers': { program: aProgram({ ...rate, tiers: tiersOf(8), counter: 'month' }), buckets: 0, lines: 1 },
  'spend cap': {
    program: aProgram({
      ...rate,
      counters: [{ name: 'month', what: 'money', limit: 10n ** 15n, steps: [50, 80, 100] }],
    }),
    buckets: 0,
    lines: 1,
  },
  'tariff switch': {
    program: aProgram(rate),
    next: { at: midnight, program: aProgram({ ...rate, num: 2000n }) },
    buckets: 0,
    lines: 1,
  },
  'payg, 4 lines': { program: aProgram(rate), buckets: 0, lines: 4 },
  'payg, 16 lines': { program: aProgram(rate), buckets: 0, lines: 16 },
}

interface BenchCase {
  readonly program: string
  readonly next?: TimedProgram
  /** In the account; the program says which of them it may use. */
  readonly buckets: number
  readonly lines: number
}

function names(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `data-${i}`)
}

const types = ['I', 'U', 'T', 'again'] as const
type Kind = (typeof types)[number]

interface Figure {
  readonly redis: number
  readonly script: number
  readonly client: number
}

const folder = mkdtempSync(join(tmpdir(), 'ocsd-bench-'))
const socket = join(folder, 'redis.sock')
let server: ChildProcess | undefined

async function main(): Promise<void> {
  server = spawn(
    findTool('redis-server')!,
    ['--port', '0', '--unixsocket', socket, '--dir', folder, '--save', '', '--appendonly', 'yes', '--appendfsync', 'everysec']
      .concat(['--hash-max-listpack-value', '256', '--auto-aof-rewrite-percentage', '0']),
    { stdio: 'ignore' },
  ) // prettier-ignore
  const store = new Store({
    config: { kind: 'embedded', durability: 'memory', partitions },
    address: { socket },
    log: pino({ level: 'silent' }),
    metrics: { call: () => undefined, error: () => undefined, retry: () => undefined, up: () => undefined },
    clock,
  })
  await store.open(5000)
  const balance = new Balance(store, partitions, chargingConfig, clock)
  const accounts = new RedisAccounts(store, partitions, chargingConfig, clock)
  for (const name of Object.keys(cases)) await createAccounts(accounts, name)

  const figures = new Map<string, Figure[]>()
  const bare: number[] = []
  for (let round = 0; round < rounds; round++) {
    for (const name of Object.keys(cases)) {
      const play = new Sessions(balance, name)
      for (const kind of types) {
        await store.redis.config('RESETSTAT')
        const before = { redis: mainThreadCpu(), client: process.cpuUsage() }
        const calls = await play.run(kind)
        const client = process.cpuUsage(before.client)
        const redis = mainThreadCpu() - before.redis
        const stats = await store.redis.info('commandstats')
        const script = Number(/cmdstat_evalsha:calls=\d+,usec=(\d+)/.exec(stats)?.[1] ?? 0)
        const list = figures.get(`${name}|${kind}`) ?? []
        list.push({ redis: redis / calls, script: script / calls, client: (client.user + client.system) / calls })
        figures.set(`${name}|${kind}`, list)
      }
    }
    bare.push(bareBenchmark())
  }
  await store.close()
  report(figures, bare)
}

function report(figures: ReadonlyMap<string, readonly Figure[]>, bare: readonly number[]): void {
  const rows = [...figures].map(([key, list]) => {
    const [name, kind] = key.split('|')
    const middle = (pick: (figure: Figure) => number): number => Number(median(list.map(pick)).toFixed(1))
    return {
      case: name,
      kind,
      redis: middle(f => f.redis),
      script: middle(f => f.script),
      client: middle(f => f.client),
    }
  })
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`
  const initialsBare = Number(median(bare).toFixed(1))
  console.log(JSON.stringify({ bench: 'balance', machine, rounds, inFlight, rows, 'redis-benchmark I': initialsBare }))
  console.log('\n  µs a call                    redis  script  client')
  for (const row of rows) {
    console.log(
      `  ${`${row.case}, ${row.kind}`.padEnd(27)}${[row.redis, row.script, row.client].map(n => String(n).padStart(7)).join(' ')}`,
    )
  }
  console.log(
    `  ${'redis-benchmark, I'.padEnd(27)}${String(initialsBare).padStart(7)}   (the same script, payg, no client of ours)`,
  )
}

async function createAccounts(accounts: RedisAccounts, name: string): Promise<void> {
  const buckets = Array.from({ length: cases[name]!.buckets }, (_, i) => ({
    name: `data-${i}`,
    unit: 'octets' as const,
    // All but the last are too small for a whole report, so that each charge goes through all of them.
    amount: units(i < cases[name]!.buckets - 1 ? 100_000n : 10n ** 15n),
    priority: 10 + i,
    until: undefined,
    origin: 'bench',
  }))
  for (let i = 0; i < accountCount; i++) {
    await accounts.create(
      { id: accountOf(name, i), currency: 'EUR', creditLimit: micros(0), status: 'active' },
      { identities: [{ type: 'nai', value: `${accountOf(name, i)}@bench` }], offers: [{ offer: 'bench', buckets }] },
      micros(10n ** 12n),
      'admin',
    )
  }
}

const accountOf = (name: string, i: number): string => `${name.replaceAll(/\W/g, '')}-${i}`

let sessionNumber = 0

/** One round of one case: sessions that are opened, updated three times, ended, and whose last request is repeated. */
class Sessions {
  private readonly first = (sessionNumber += sessionsOfOneRound)

  constructor(
    private readonly balance: Balance,
    private readonly name: string,
  ) {}

  /** @returns how many calls it made */
  async run(kind: Kind): Promise<number> {
    const updates = kind === 'U' ? 3 : 1
    for (let update = 1; update <= updates; update++) {
      let next = 0
      const worker = async (): Promise<void> => {
        while (next < sessionsOfOneRound) await this.charge(next++, kind, kind === 'I' ? 0 : kind === 'U' ? update : 4)
      }
      await Promise.all(Array.from({ length: inFlight }, worker))
    }
    return sessionsOfOneRound * updates
  }

  private async charge(i: number, kind: Kind, number: number): Promise<void> {
    const { program, next, lines } = cases[this.name]!
    const now = Date.now()
    const sessionId = `gw.bench.example;1795446694;${this.first + i}`
    const outcome = await this.balance.charge({
      type: kind === 'again' ? 'T' : kind,
      number,
      content: 'a1b2c3d4',
      sessionId,
      account: accountOf(this.name, i % accountCount),
      subscriber: '1',
      rev: '1',
      currency: 'EUR',
      at: now,
      now,
      deadline: now + 7000,
      deadlineMonotonic: clock.monotonic() + 7000,
      cause: `"kind":"charge","session":"${sessionId}","number":${number},"type":"update","host":"gw.bench.example","subscriber":"1","service":"data","catalog":"1a2b3c4d5e6f"`,
      ...{ originHost: 'gw.bench.example', originRealm: 'example', via: 'gw.bench.example', service: 'data' },
      searchEnded: false,
      lines: Array.from({ length: lines }, (_, line) => ({
        key: String(10 + line),
        used: { unsplit: kind === 'I' ? 0n : 10_000_000n, before: 0n, after: 0n, indeterminate: 0n },
        asked: number === 4 ? undefined : 10_000_000n,
        threshold: false,
        now: program,
        next,
        facts: '',
      })),
      counters: program.includes(' month,') ? [{ name: 'month', start: 1, end: midnight, limit: 'default' }] : [],
      lowBalance: [],
    })
    if (outcome.status !== 'answered') throw new Error(`charge: ${outcome.status}`)
  }
}

/** CCR-I of ever new sessions of one account, by redis-benchmark: main-thread CPU µs a call. */
function bareBenchmark(): number {
  const { sha } = loadScripts().get('charge')!
  const account = accountOf('payg', 0)
  const partition = partitionOf(account, partitions)
  const calls = small ? 100 : 20_000
  const session = `gw.bare.example;${sessionNumber++};__rand_int__`
  const before = mainThreadCpu()
  execFileSync(findTool('redis-benchmark')!, [
    '-s', socket, '-c', '64', '-n', String(calls), '-r', '1000000000', '-q', 'EVALSHA', sha, '5',
    accountKey(partition, account), sessionKey(partition, session), dueKey(partition), journalKey(partition), endedKey(partition, 1),
    `I 0 a1b2c3d4 ${Date.now() + 600_000} ${Date.now()} ${Date.now()} ${account} 1 1 EUR mark -`, session,
    `"kind":"charge","session":"${session}","number":0,"type":"initial","host":"gw.bare.example","subscriber":"1","service":"data","catalog":"1a2b3c4d5e6f"`,
    '2 3600000 600000 86400000 -', 'gw.bare.example bare.example gw.bare.example 32251@3gpp.org', '', '', `10 0 10000000 -\nnow ${cases['payg']!.program}`,
  ]) // prettier-ignore
  return (mainThreadCpu() - before) / calls
}

/** CPU of Redis's main thread so far, µs. */
function mainThreadCpu(): number {
  const pid = server!.pid!
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1000
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]!
}

try {
  await main()
} finally {
  server?.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
