/**
 * The daemon as its SRE has it: a process of its own with a configuration file, signals, an exit status, ports to scrape, and
 * text on stdout and stderr.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Address } from '../../src/simulator/gateway.js'
import { startRedis, type TestRedis } from './redis.js'

const program = fileURLToPath(new URL('../../src/ocsd.ts', import.meta.url))
const root = fileURLToPath(new URL('../../', import.meta.url))
const shippedCatalog = fileURLToPath(new URL('../../config/catalog/', import.meta.url))

/** Sections of ocs.yaml; keys of two levels. */
export type ConfigParts = Readonly<Record<string, string | Readonly<Record<string, unknown>>>>

export interface ProcessFolder {
  readonly folder: string
  /** ocs.yaml in it. */
  readonly file: string
  /** The one file of the catalog. */
  readonly catalog: string
  readonly data: string
}

/** How a process ended. */
export interface End {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A folder with a configuration: free ports, few partitions, the shipped catalog, the embedded store. It goes with `t`. */
export function processFolder(t: Test, parts: ConfigParts = {}): ProcessFolder {
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const config = join(folder, 'config')
  mkdirSync(config)
  cpSync(shippedCatalog, join(config, 'catalog'), { recursive: true })
  const file = join(config, 'ocs.yaml')
  const found = { folder, file, catalog: join(config, 'catalog', 'mvno.yaml'), data: join(folder, 'data') }
  writeConfig(found, parts)
  return found
}

/** Sections are merged into the defaults; YAML takes JSON. */
export function writeConfig({ file }: Pick<ProcessFolder, 'file'>, parts: ConfigParts): void {
  const config: Record<string, unknown> = {
    diameter: { listen: ['127.0.0.1:0'] },
    store: { kind: 'embedded', durability: 'memory', partitions: 16 },
    admin: { listen: '127.0.0.1:0' },
    metrics: { listen: '127.0.0.1:0' },
  }
  for (const [section, part] of Object.entries(parts)) {
    config[section] = typeof part === 'string' ? part : { ...(config[section] as object | undefined), ...part }
  }
  writeFileSync(file, JSON.stringify(config, undefined, 2))
}

interface Ports {
  readonly diameter: readonly number[]
  readonly diameterTls?: readonly number[]
  readonly admin: number
  readonly metrics: number
  readonly pid: number
}

export interface HttpReply {
  readonly status: number
  readonly body: Record<string, unknown>
}

export class OcsdProcess {
  stdout = ''
  stderr = ''
  /** Settles when the process has ended and all that it wrote was read. */
  readonly ended: Promise<End>
  private over: End | undefined
  private ports: Ports | undefined

  private constructor(
    readonly child: ChildProcess,
    private readonly data: string,
  ) {
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.ended = new Promise(resolve => child.once('close', (code, signal) => resolve((this.over = { code, signal }))))
  }

  /** Runs it with these arguments and waits for nothing. */
  static spawn(t: Test, args: readonly string[], data = '', environment: Record<string, string> = {}): OcsdProcess {
    // Nothing of the test's own: tap's preloads change what a process does on a signal.
    const { PATH = '', HOME = '', TMPDIR } = process.env
    const child = spawn(process.execPath, ['--import=tsx', program, ...args], {
      cwd: root,
      env: { PATH, HOME, ...(TMPDIR !== undefined && { TMPDIR }), ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const ocsd = new OcsdProcess(child, data)
    const kill = (): void => void child.kill('SIGKILL')
    process.once('exit', kill)
    t.teardown(async () => {
      process.off('exit', kill)
      kill()
      await ocsd.ended
      ocsd.killStore()
    })
    return ocsd
  }

  /** Starts it and waits until it serves. @throws Error with what it said instead */
  static async start(t: Test, { file, data }: ProcessFolder): Promise<OcsdProcess> {
    const ocsd = OcsdProcess.spawn(t, ['--config', file], data)
    await ocsd.ready()
    return ocsd
  }

  async ready(): Promise<void> {
    await until('the daemon is ready', () => {
      if (this.over) throw new Error(`the daemon ended: ${JSON.stringify(this.over)}\n${this.stderr}${this.stdout}`)
      return this.stderr.includes('is ready')
    })
    this.ports = JSON.parse(readFileSync(join(this.data, 'ports.json'), 'utf8')) as Ports
  }

  get running(): boolean {
    return this.over === undefined
  }

  get address(): Address {
    return { host: '127.0.0.1', port: this.ports!.diameter[0]! }
  }

  /** Of the TLS listener; it must be configured. */
  get tlsPort(): number {
    return this.ports!.diameterTls![0]!
  }

  get metricsUrl(): string {
    return `http://127.0.0.1:${this.ports!.metrics}`
  }

  get adminUrl(): string {
    return `http://127.0.0.1:${this.ports!.admin}`
  }

  /** Sends a signal; resolves when the process has ended. */
  async kill(signal: NodeJS.Signals): Promise<End> {
    this.child.kill(signal)
    return this.ended
  }

  /** How it ends by itself; one that goes on is killed, after half a minute. */
  async end(): Promise<End> {
    const timer = setTimeout(() => this.signal('SIGKILL'), 30_000)
    const end = await this.ended
    clearTimeout(timer)
    return end
  }

  /** Sends a signal that does not end it. */
  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** A redis-server that a test has frozen does not end with its daemon. */
  private killStore(): void {
    try {
      const pid = this.redisPid()
      if (readlinkSync(`/proc/${pid}/cwd`) === realpathSync(join(this.data, 'store'))) process.kill(pid, 'SIGKILL')
    } catch {
      // There is none, or none any more.
    }
  }

  /** Process id of the embedded redis-server. */
  redisPid(): number {
    return Number(readFileSync(join(this.data, 'store', 'redis.pid'), 'utf8'))
  }

  /** The admin API, with the token of the data folder. */
  async api(method: 'GET' | 'POST' | 'PATCH', path: string, body?: object | string): Promise<HttpReply> {
    const token = readFileSync(join(this.data, 'admin.token'), 'utf8').trim()
    const type = typeof body === 'string' ? 'text/csv' : 'application/json'
    const response = await fetch(this.adminUrl + path, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'content-type': type }),
        ...(method === 'POST' && { 'idempotency-key': randomUUID() }),
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as HttpReply['body'] }
  }

  /** POST /v1/audit: what is wrong with the ledger, and how much was looked at. */
  async audit(): Promise<{ accounts: number; entries: number; violations: string[] }> {
    const { status, body } = await this.api('POST', '/v1/audit')
    if (status !== 200) throw new Error(`the audit was refused: ${JSON.stringify(body)}`)
    return body as unknown as { accounts: number; entries: number; violations: string[] }
  }

  async metrics(): Promise<string> {
    return (await fetch(`${this.metricsUrl}/metrics`)).text()
  }

  /** Sum of the samples of a metric whose labels hold this text. */
  async metric(name: string, labels = ''): Promise<number> {
    let sum = 0
    for (const line of (await this.metrics()).split('\n')) {
      const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)
      if (match?.[1] === name && (match[2] ?? '').includes(labels)) sum += Number(match[3])
    }
    return sum
  }

  /** Undefined when nobody answers any more. */
  async readyz(): Promise<{ status: number; reasons: unknown[] } | undefined> {
    try {
      const response = await fetch(`${this.metricsUrl}/readyz`, { signal: AbortSignal.timeout(5000) })
      return { status: response.status, reasons: ((await response.json()) as { reasons: unknown[] }).reasons }
    } catch {
      return undefined
    }
  }
}

/** A Redis that somebody runs beside the daemons, on a TCP port. */
export async function startTcpRedis(
  t: Test,
  settings: Readonly<Record<string, string>> = {},
): Promise<{ redis: TestRedis; url: string }> {
  const port = await freePort()
  const redis = await startRedis(t, { port: String(port), bind: '127.0.0.1', ...settings })
  return { redis, url: `redis://127.0.0.1:${port}` }
}

/** A port that nobody listens on at this moment. */
export function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

const patienceMs = 60_000

/** Looks again and again until it is so. @throws Error that names what was waited for, after a minute */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + patienceMs
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited for a minute until ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}
