/**
 * How many CCRs a second does a whole ocsd answer, how fast, and what does each cost in CPU?
 *
 *     npx tsx bench/ccr.ts            BENCH_SMALL=1: a tiny run, to see that it works
 *     WINDOWS=64 ROUNDS=5 SECONDS=8 DURABILITY=memory npx tsx bench/ccr.ts
 *
 * The daemon is a process of its own with its embedded store and its ledger writer running; this process is the gateway.
 * Sessions of the offer payg: CCR-I, three CCR-U that report all that was granted, CCR-T; 1,000 subscribers; `window`
 * sessions at a time over four connections, one request of each in flight. All on this machine: the client takes its
 * share of the same cores (its CPU is told, too). Rounds are interleaved, figures are medians. CPU is user and system
 * time of all threads; with durability disk the fsyncs are the store's. After the run the audit must find every balance right.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadDictionary } from '../src/diameter/dictionary.js'
import { Gateway, type GatewayConnection } from '../src/simulator/gateway.js'
import type { CcrInput } from '../src/simulator/ccr.js'

const root = fileURLToPath(new URL('../', import.meta.url))
const small = process.env['BENCH_SMALL'] === '1'
const windows = (process.env['WINDOWS'] ?? (small ? '4' : '1,16,64,256')).split(',').map(Number)
const rounds = Number(process.env['ROUNDS'] ?? (small ? 1 : 3))
const seconds = Number(process.env['SECONDS'] ?? (small ? 0.3 : 6))
const warmupSeconds = small ? 0.1 : 1.5
const durabilities = (process.env['DURABILITY'] ?? 'memory,disk').split(',')
const subscribers = small ? 20 : 1000
const firstMsisdn = 15_550_000_000

interface Ports {
  readonly diameter: readonly number[]
  readonly admin: number
  readonly pid: number
}

interface Run {
  readonly window: number
  readonly rate: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  /** CPU µs a CCR. */
  readonly ocsd: number
  readonly redis: number
  readonly client: number
  readonly failed: number
}

const dictionary = loadDictionary()

async function measure(durability: string, folder: string): Promise<void> {
  const daemon = await startDaemon(folder, durability)
  try {
    const { ports, token } = daemon
    await importSubscribers(ports, token)
    const redis = childOf(ports.pid)
    const gateways = await Promise.all([1, 2, 3, 4].map(i => connect(`gw${i}.bench.example`, ports)))
    const runs = new Map<number, Run[]>(windows.map(window => [window, []]))
    for (let round = 0; round < rounds; round++) {
      for (const window of windows) {
        await load(gateways, window, warmupSeconds)
        const before = { ocsd: cpuOf(ports.pid), redis: cpuOf(redis), client: process.cpuUsage() }
        const latencies = await load(gateways, window, seconds)
        const client = process.cpuUsage(before.client)
        const count = latencies.sorted.length
        const each = (cpuSeconds: number): number => (cpuSeconds * 1e6) / count
        runs.get(window)!.push({
          window,
          rate: count / latencies.seconds,
          p50: latencies.at(0.5),
          p90: latencies.at(0.9),
          p99: latencies.at(0.99),
          p999: latencies.at(0.999),
          ocsd: each(cpuOf(ports.pid) - before.ocsd),
          redis: each(cpuOf(redis) - before.redis),
          client: (client.user + client.system) / count,
          failed: latencies.failed,
        })
      }
    }
    await Promise.all(gateways.map(({ gateway }) => gateway.disconnect()))
    const audit = (await (await post(ports, token, '/v1/audit')).json()) as { violations: string[]; entries: number }
    if (audit.violations.length > 0) throw new Error(`the audit found: ${audit.violations[0]}`)
    report(durability, runs, audit.entries)
  } finally {
    await daemon.stop()
  }
}

function report(durability: string, runs: ReadonlyMap<number, readonly Run[]>, audited: number): void {
  const rows = [...runs].map(([window, all]) => {
    const middle = (pick: (run: Run) => number): number => median(all.map(pick))
    return {
      window,
      rate: Math.round(middle(run => run.rate)),
      p50: round(
        middle(run => run.p50),
        2,
      ),
      p90: round(
        middle(run => run.p90),
        2,
      ),
      p99: round(
        middle(run => run.p99),
        2,
      ),
      p999: round(
        middle(run => run.p999),
        2,
      ),
      ocsd: round(
        middle(run => run.ocsd),
        1,
      ),
      redis: round(
        middle(run => run.redis),
        1,
      ),
      client: round(
        middle(run => run.client),
        1,
      ),
      failed: all.reduce((sum, run) => sum + run.failed, 0),
    }
  })
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`
  console.log(JSON.stringify({ bench: 'ccr', durability, machine, rounds, seconds, audited, rows }))
  console.log(`\n  durability ${durability}; latencies in ms, CPU in µs a CCR; ${audited} ledger entries audited`)
  console.log('  window   CCR/s    p50    p90    p99  p99.9   ocsd  redis  client  failed')
  for (const r of rows) {
    const cells = [r.window, r.rate, r.p50, r.p90, r.p99, r.p999, r.ocsd, r.redis, r.client, r.failed]
    const widths = [8, 8, 7, 7, 7, 7, 7, 7, 8, 8]
    console.log(cells.map((cell, i) => String(cell).padStart(widths[i]!)).join(''))
  }
}

interface BenchGateway {
  readonly gateway: Gateway
  readonly connection: GatewayConnection
}

async function connect(originHost: string, ports: Ports): Promise<BenchGateway> {
  const gateway = new Gateway({ dictionary, originHost, originRealm: 'bench.example', destinationRealm: 'localdomain' })
  return { gateway, connection: await gateway.connect({ host: '127.0.0.1', port: ports.diameter[0]! }) }
}

let nextSubscriber = 0

/** Plays sessions, `window` at a time, until the time is over and each has ended; latencies in ms of every CCR. */
async function load(
  gateways: readonly BenchGateway[],
  window: number,
  duration: number,
): Promise<{ sorted: Float64Array; seconds: number; failed: number; at(q: number): number }> {
  const latencies: number[] = []
  let failed = 0
  const started = performance.now()
  const until = started + duration * 1000
  const ask = async (connection: GatewayConnection, ccr: CcrInput): Promise<void> => {
    const sent = performance.now()
    const answer = await connection.exchangeCcr(ccr)
    latencies.push(performance.now() - sent)
    if (resultCodeOf(answer) !== 2001) failed++
  }
  const play = async (slot: number): Promise<void> => {
    const { gateway, connection } = gateways[slot % gateways.length]!
    while (performance.now() < until) {
      const subscriber = String(firstMsisdn + (nextSubscriber++ % subscribers))
      const sessionId = gateway.nextSessionId()
      for (let number = 0; number < 5; number++) {
        const [first, last] = [number === 0, number === 4]
        await ask(connection, {
          sessionId,
          type: first ? 'initial' : last ? 'terminate' : 'update',
          number,
          serviceContextId: '32251@3gpp.org',
          eventTimestamp: Math.floor(Date.now() / 1000),
          subscriptionIds: [['e164', subscriber]],
          multipleServicesIndicator: 1,
          services: [
            {
              ratingGroup: 10,
              ...(last ? {} : { requested: {} }),
              ...(first ? {} : { used: [{ octets: 10_000_000n }], reason: last ? 2 : 3 }),
            },
          ],
        })
      }
    }
  }
  await Promise.all(Array.from({ length: window }, (_, slot) => play(slot)))
  const sorted = Float64Array.from(latencies).sort()
  return {
    sorted,
    seconds: (performance.now() - started) / 1000,
    failed,
    at: q => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0,
  }
}

/** The first Result-Code, which is the command's, without decoding the rest. */
function resultCodeOf(octets: Buffer): number {
  for (let at = 20; at + 8 <= octets.length; at += ((octets.readUInt32BE(at + 4) & 0xffffff) + 3) & ~3) {
    if (octets.readUInt32BE(at) === 268) return octets.readUInt32BE(at + 8)
  }
  return 0
}

async function startDaemon(
  folder: string,
  durability: string,
): Promise<{ ports: Ports; token: string; stop(): Promise<void> }> {
  cpSync(join(root, 'config/catalog'), join(folder, 'config/catalog'), { recursive: true })
  writeFileSync(
    join(folder, 'config/ocs.yaml'),
    [
      'diameter: { listen: ["127.0.0.1:0"] }',
      `store: { kind: embedded, durability: ${durability} }`,
      'admin: { listen: "127.0.0.1:0" }',
      'metrics: { listen: "127.0.0.1:0" }',
      'log: { level: error }',
      'data: ../data',
      '',
    ].join('\n'),
  )
  const built = join(root, 'dist/ocsd.js')
  const command = existsSync(built) && !small ? [built] : ['--import=tsx', join(root, 'src/ocsd.ts')]
  const child: ChildProcess = spawn(process.execPath, [...command, '--config', join(folder, 'config/ocs.yaml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const portsFile = join(folder, 'data/ports.json')
  for (let tries = 0; !said.includes('is ready'); tries++) {
    if (child.exitCode !== null || tries > 600) throw new Error(`ocsd did not start: ${said}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  const ports = JSON.parse(readFileSync(portsFile, 'utf8')) as Ports
  return {
    ports,
    token: readFileSync(join(folder, 'data/admin.token'), 'utf8').trim(),
    stop: () =>
      new Promise(resolve => {
        child.once('exit', () => resolve())
        child.kill('SIGTERM')
      }),
  }
}

async function importSubscribers(ports: Ports, token: string): Promise<void> {
  const rows = ['account,msisdn,imsi,offer,balance,currency']
  for (let i = 0; i < subscribers; i++) rows.push(`b${i},${firstMsisdn + i},,payg,1000000.00,EUR`)
  const response = await post(ports, token, '/v1/import', rows.join('\n'), 'text/csv')
  if (!response.ok) throw new Error(`import: ${response.status} ${await response.text()}`)
}

const post = (ports: Ports, token: string, path: string, body = '{}', type = 'application/json'): Promise<Response> =>
  fetch(`http://127.0.0.1:${ports.admin}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': type },
    body,
  })

/** The embedded redis-server. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0])
}

/** User and system time so far, s. */
function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits))

for (const durability of durabilities) {
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-bench-'))
  try {
    await measure(durability, folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
