/**
 * What is a whole ocsd worth when more is asked of it than it can do?
 *
 *     npx tsx bench/overload.ts            BENCH_SMALL=1: a tiny run, to see that it works
 *     SECONDS=6 FACTORS=2,10 npx tsx bench/overload.ts
 *
 * First its capacity: as many CCRs a second as it answers with `WINDOW` sessions at a time. Then the same gateways send
 * requests at twice and ten times that rate, whether or not they are answered: CCR-I, CCR-U, CCR-T of sessions that go on only
 * when they were answered 2001. Goodput is what was answered 2001; latencies are of those. How long after the flood an
 * ordinary request takes its ordinary time again is told, too. The gateways are on the same machine, and at ten times the
 * capacity they are what has no time: `sent` is what they managed.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadDictionary } from '../src/diameter/dictionary.js'
import type { CcrInput, RequestType } from '../src/simulator/ccr.js'
import { Gateway, type GatewayConnection } from '../src/simulator/gateway.js'

const root = fileURLToPath(new URL('../', import.meta.url))
const small = process.env['BENCH_SMALL'] === '1'
const seconds = Number(process.env['SECONDS'] ?? (small ? 0.5 : 6))
const factors = (process.env['FACTORS'] ?? '2,10').split(',').map(Number)
const window = Number(process.env['WINDOW'] ?? (small ? 8 : 128))
const subscribers = small ? 20 : 1000
const firstMsisdn = 15_550_000_000
const dictionary = loadDictionary()
const types = ['initial', 'update', 'terminate'] as const

interface Ports {
  readonly diameter: readonly number[]
  readonly admin: number
  readonly metrics: number
  readonly pid: number
}

interface Row {
  readonly load: string
  readonly sent: number
  readonly goodput: number
  readonly share: number
  readonly p50: number
  readonly p99: number
  readonly shed: Record<(typeof types)[number], number>
  /** Other codes, and no answer within Tx. */
  readonly failed: number
  readonly terminated: number
  readonly recoveredMs: number
}

/** What one load did. */
class Tally {
  readonly latencies: number[] = []
  readonly good = { initial: 0, update: 0, terminate: 0 }
  readonly shed = { initial: 0, update: 0, terminate: 0 }
  sent = 0
  failed = 0

  get served(): number {
    return this.good.initial + this.good.update + this.good.terminate
  }

  at(share: number): number {
    const sorted = this.latencies.sort((a, b) => a - b)
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  }
}

let nextSubscriber = 0

/** One session of three requests; it goes on as long as it is answered 2001. */
class Session {
  private readonly id: string
  private readonly account = String(firstMsisdn + (nextSubscriber++ % subscribers))
  private number = 0

  constructor(
    private readonly connection: GatewayConnection,
    gateway: Gateway,
  ) {
    this.id = gateway.nextSessionId()
  }

  /** @returns whether there is more to ask */
  async step(tally: Tally): Promise<boolean> {
    const type = types[this.number]!
    tally.sent++
    const begun = performance.now()
    try {
      const code = resultCodeOf(await this.connection.exchangeCcr(this.ccr(type)))
      if (code === 2001) {
        tally.good[type]++
        tally.latencies.push(performance.now() - begun)
      } else if (code === 3004) tally.shed[type]++
      else tally.failed++
      return code === 2001 && ++this.number < types.length
    } catch {
      tally.failed++ // no answer within Tx
      return false
    }
  }

  private ccr(type: RequestType): CcrInput {
    return {
      type,
      number: this.number,
      sessionId: this.id,
      serviceContextId: '32251@3gpp.org',
      subscriptionIds: [['e164', this.account]],
      ...(type === 'terminate' && { terminationCause: 1 }),
      services: [
        {
          ratingGroup: 10,
          ...(type !== 'terminate' && { requested: {} }),
          ...(type !== 'initial' && { used: [{ octets: 1_000n }] }),
        },
      ],
    }
  }
}

interface Side {
  readonly gateway: Gateway
  readonly connection: GatewayConnection
}

/** `window` sessions at a time, one request of each in work: what it can do. */
async function closed(sides: readonly Side[], forSeconds: number): Promise<Tally> {
  const tally = new Tally()
  const end = performance.now() + forSeconds * 1000
  const live = async ({ gateway, connection }: Side): Promise<void> => {
    while (performance.now() < end) {
      const session = new Session(connection, gateway)
      while ((await session.step(tally)) && performance.now() < end);
    }
  }
  await Promise.all(Array.from({ length: window }, (_, i) => live(sides[i % sides.length]!)))
  return tally
}

/** So many requests a second, whatever comes back: half new sessions at first, then what the open ones want to ask. */
async function open(sides: readonly Side[], rate: number, forSeconds: number): Promise<Tally> {
  const tally = new Tally()
  const ready: Session[] = []
  const asked: Promise<unknown>[] = []
  const begun = performance.now()
  for (;;) {
    const elapsed = (performance.now() - begun) / 1000
    if (elapsed >= forSeconds) break
    const due = Math.min(5_000, Math.floor(rate * elapsed) - tally.sent)
    for (let i = 0; i < due; i++) {
      const { gateway, connection } = sides[tally.sent % sides.length]!
      const session = ready.pop() ?? new Session(connection, gateway)
      asked.push(session.step(tally).then(more => more && ready.push(session)))
    }
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  await Promise.all(asked)
  return tally
}

/** Until requests take no more than a few times what they took before. */
async function recovery(side: Side, usualMs: number): Promise<number> {
  const begun = performance.now()
  for (let calm = 0; calm < 5;) {
    const tally = new Tally()
    const session = new Session(side.connection, side.gateway)
    while (await session.step(tally));
    calm = tally.served === 3 && tally.at(1) <= Math.max(20, usualMs * 5) ? calm + 1 : 0
    if (performance.now() - begun > 30_000) return Infinity
  }
  return Math.round(performance.now() - begun)
}

async function measure(folder: string): Promise<void> {
  const daemon = await startDaemon(folder)
  try {
    const { ports, token } = daemon
    await importSubscribers(ports, token)
    const sides = await Promise.all([1, 2, 3, 4].map(i => connect(`gw${i}.bench.example`, ports)))
    await closed(sides, seconds / 3)
    const normal = await closed(sides, seconds)
    const capacity = normal.served / seconds
    const rowOf = (load: string, tally: Tally, recoveredMs: number): Row => {
      const asked = tally.good.terminate + tally.shed.terminate
      return {
        load,
        sent: Math.round(tally.sent / seconds),
        goodput: Math.round(tally.served / seconds),
        share: round(tally.served / seconds / capacity),
        p50: round(tally.at(0.5)),
        p99: round(tally.at(0.99)),
        shed: tally.shed,
        failed: tally.failed,
        terminated: round(asked === 0 ? 1 : tally.good.terminate / asked, 4),
        recoveredMs,
      }
    }
    const rows = [rowOf('capacity', normal, 0)]
    for (const factor of factors) {
      const tally = await open(sides, capacity * factor, seconds)
      if (process.env['DEBUG'])
        console.error(
          (await (await fetch(`http://127.0.0.1:${ports.metrics}/metrics`)).text())
            .split('\n')
            .filter(l => /^ocs_(shed|ccr_total|adm|queue)|eventloop_lag_(max|p99|mean)/.test(l) && !l.endsWith(' 0'))
            .join('\n'),
        )
      rows.push(rowOf(`${factor} x`, tally, await recovery(sides[0]!, normal.at(0.5))))
    }
    const audit = (await (await post(ports, token, '/v1/audit')).json()) as { violations: string[]; entries: number }
    if (audit.violations.length > 0) throw new Error(`the audit found: ${audit.violations[0]}`)
    report(rows, audit.entries)
    for (const { connection } of sides) connection.abort()
  } finally {
    await daemon.stop()
  }
}

function report(rows: readonly Row[], audited: number): void {
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`
  console.log(JSON.stringify({ bench: 'overload', machine, seconds, window, audited, rows }))
  console.log(`\n  latencies of what was answered 2001, ms; ${audited} ledger entries audited`)
  console.log(
    '      load   sent/s  good/s  share      p50      p99   shed I   shed U   shed T   failed  T served  back after ms',
  )
  for (const { load, sent, goodput, share, p50, p99, shed, failed, terminated, recoveredMs } of rows) {
    const cells = [
      load,
      sent,
      goodput,
      share,
      p50,
      p99,
      shed.initial,
      shed.update,
      shed.terminate,
      failed,
      terminated,
      recoveredMs,
    ]
    const widths = [10, 9, 8, 7, 9, 9, 9, 9, 9, 9, 10, 15]
    console.log(cells.map((cell, i) => String(cell).padStart(widths[i]!)).join(''))
  }
}

const round = (value: number, digits = 2): number => Number(value.toFixed(digits))

/** Of an answer that is well formed: Result-Code is among its first AVPs. */
function resultCodeOf(octets: Buffer): number {
  for (let at = 20; at + 8 <= octets.length;) {
    if (octets.readUInt32BE(at) === 268) return octets.readUInt32BE(at + 8)
    at += (octets.readUIntBE(at + 5, 3) + 3) & ~3
  }
  return 0
}

async function connect(originHost: string, ports: Ports): Promise<Side> {
  const gateway = new Gateway({ dictionary, originHost, originRealm: 'bench.example', destinationRealm: 'localdomain' })
  return { gateway, connection: await gateway.connect({ host: '127.0.0.1', port: ports.diameter[0]! }) }
}

async function startDaemon(folder: string): Promise<{ ports: Ports; token: string; stop(): Promise<void> }> {
  cpSync(join(root, 'config'), join(folder, 'config'), { recursive: true })
  const config = {
    diameter: { listen: ['127.0.0.1:0'] },
    store: { kind: 'embedded', durability: 'memory', partitions: 64 },
    admin: { listen: '127.0.0.1:0' },
    metrics: { listen: '127.0.0.1:0' },
    log: { level: 'warn' },
  }
  const file = join(folder, 'config', 'ocs.yaml')
  writeFileSync(file, JSON.stringify(config))
  const built = join(root, 'dist', 'ocsd.js')
  const program =
    process.env['FROM_SOURCE'] !== '1' && existsSync(built) ? [built] : ['--import=tsx', join(root, 'src/ocsd.ts')]
  const child: ChildProcess = spawn(process.execPath, [...program, '--config', file], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  const ended = new Promise<void>(resolve => child.once('close', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text
      if (said.includes('is ready')) resolve()
    })
    child.once('close', () => reject(new Error(`the daemon ended: ${said}`)))
  })
  const data = join(folder, 'data')
  return {
    ports: JSON.parse(readFileSync(join(data, 'ports.json'), 'utf8')) as Ports,
    token: readFileSync(join(data, 'admin.token'), 'utf8').trim(),
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}

const post = (ports: Ports, token: string, path: string, body?: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${ports.admin}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'text/csv' }) },
    ...(body !== undefined && { body }),
  })

async function importSubscribers(ports: Ports, token: string): Promise<void> {
  const rows = Array.from({ length: subscribers }, (_, i) => {
    const id = firstMsisdn + i
    return `${id},${id},262030${String(id).slice(-9)},payg,100000.00,EUR`
  })
  const csv = ['account,msisdn,imsi,offer,balance,currency', ...rows, ''].join('\n')
  const body = (await (await post(ports, token, '/v1/import', csv)).json()) as { created?: number }
  if (body.created !== subscribers) throw new Error(`not imported: ${JSON.stringify(body)}`)
}

const folder = mkdtempSync(join(tmpdir(), 'ocsd-bench-'))
try {
  await measure(folder)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
