/**
 * The embedded store: our own `redis-server` on a private unix socket, with its data in the data folder.
 * It is started, watched, started again when it dies, and stopped with the daemon. One that a killed daemon left
 * running on our data, where the kernel did not end it, is stopped first. What an acknowledged charge survives is `durability`, see settings().
 *
 * It speaks no more Redis than PING: everything else is balance/'s.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Logger } from 'pino'
import type { Clock } from '../clock.js'
import { type FolderLock, isAlive, lockFolder } from './folder-lock.js'

export interface EmbeddedStoreOptions {
  /** Absolute path; the store lives in its folder `store`. */
  readonly dataDir: string
  readonly durability: 'memory' | 'disk'
  readonly log: Logger
  readonly clock: Clock
  /** Path of redis-server; looked for on the PATH and in .tools/bin when absent. */
  readonly command?: string
}

export interface EmbeddedStore {
  /** Path of the unix socket; the same over restarts. */
  readonly socket: string
  /** Undefined while it is down. */
  pid(): number | undefined
  /** Why it cannot serve now, in words; undefined when it serves. */
  trouble(): string | undefined
  /** How often it died and was started again. */
  restarts(): number
  /** Called each time that it serves again after it died. */
  onRestart(listener: () => void): void
  /** Ends it; what was acknowledged is on disk. May be called twice. */
  stop(): Promise<void>
}

/** sun_path holds 108 octets with the closing zero, 104 on macOS and the BSDs. */
const socketPathLimit = 100
const firstBackOffMs = 100
const maxBackOffMs = 5_000
/** It ran well for so long: the next death starts with the shortest back-off again. */
const steadyMs = 30_000
/** Deaths in a row after which the log says that this does not mend itself. */
const crashLoop = 5
const pollMs = 20
/** For the first answer, loading not counted. */
const startTimeoutMs = 10_000
/** For a clean end, before it is killed; the last fsync may be waited for. */
const stopTimeoutMs = 10_000
/** The same for one that does not answer PING: what it acknowledged is on disk, and it fsyncs nothing now. */
const frozenStopMs = 500
const keptLines = 20
const oldestVersion = 7

/**
 * Starts redis-server and waits until it has loaded its data and serves.
 *
 * @throws Error that says what to do: no redis-server, too old, data folder in use, or the last lines of its log
 */
export async function startEmbeddedStore(options: EmbeddedStoreOptions): Promise<EmbeddedStore> {
  const command = options.command ?? findRedisServer()
  checkVersion(command)
  const folder = join(options.dataDir, 'store')
  const lock = lockFolder(folder)
  let socketFolder: string | undefined
  try {
    if (lock.leftBehind?.socketFolder) rmSync(lock.leftBehind.socketFolder, { recursive: true, force: true })
    await stopLeftOver(folder, options)
    socketFolder = makeSocketFolder()
    lock.note({ socketFolder })
    const store = new Supervisor(options, command, folder, socketFolder, lock)
    await store.start()
    return store
  } catch (error) {
    if (socketFolder) rmSync(socketFolder, { recursive: true, force: true })
    lock.release()
    throw error
  }
}

class Supervisor implements EmbeddedStore {
  readonly socket: string
  private readonly listeners: (() => void)[] = []
  private readonly lastLines: string[] = []
  private child: ChildProcess | undefined
  private exited: Promise<void> = Promise.resolve()
  private state: 'starting' | 'loading' | 'ready' | 'down' | 'stopping' | 'stopped' = 'starting'
  private readonly leash = leash()
  private readyAt = 0
  private deathsInARow = 0
  private deaths = 0

  constructor(
    private readonly options: EmbeddedStoreOptions,
    private readonly command: string,
    private readonly folder: string,
    private readonly socketFolder: string,
    private readonly lock: FolderLock,
  ) {
    this.socket = join(socketFolder, 'redis.sock')
  }

  pid(): number | undefined {
    return this.child?.pid
  }

  restarts(): number {
    return this.deaths
  }

  onRestart(listener: () => void): void {
    this.listeners.push(listener)
  }

  trouble(): string | undefined {
    switch (this.state) {
      case 'ready':
        return undefined
      case 'loading':
        return 'redis-server is loading its data'
      case 'down':
        return this.deathsInARow >= crashLoop
          ? `redis-server ended ${this.deathsInARow} times in a row: ${this.lastLines.at(-1) ?? 'it said nothing'}`
          : 'redis-server ended and is being started again'
      default:
        return `redis-server is ${this.state}`
    }
  }

  async start(): Promise<void> {
    writeFileSync(join(this.folder, 'redis.conf'), settings(this.folder, this.socket, this.options.durability), {
      mode: 0o600,
    })
    this.launch()
    const failure = await this.untilReady()
    if (failure === undefined) return
    await this.end()
    throw new Error([`redis-server did not start: ${failure}`, ...this.lastLines.map(line => `  ${line}`)].join('\n'))
  }

  async stop(): Promise<void> {
    if (this.state === 'stopped') return
    await this.end()
    this.state = 'stopped'
    rmSync(this.socketFolder, { recursive: true, force: true })
    this.lock.release()
  }

  /** Detached: a Ctrl-C in the terminal goes to the daemon alone, which still needs its store to drain. */
  private launch(): void {
    const [command, ...before] = [...this.leash, this.command]
    const child = spawn(command, [...before, join(this.folder, 'redis.conf')], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child = child
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', line => this.onLine(line))
    }
    this.exited = new Promise(resolve => {
      // 'error' alone comes when it cannot be executed at all, 'close' when its last line was read.
      child.once('error', error => {
        this.onLine(error.message)
        resolve()
        this.onExit(child, 'could not be executed')
      })
      child.once('close', (code, signal) => {
        resolve()
        this.onExit(child, signal ? `was ended by ${signal}` : `ended with status ${code ?? 0}`)
      })
    })
  }

  private onLine(line: string): void {
    if (line.trim() === '') return
    this.lastLines.push(line)
    if (this.lastLines.length > keptLines) this.lastLines.shift()
    const level = /warning|error|fatal|fail|can't|bad file|corrupt/i.test(line) ? 'warn' : 'debug'
    this.options.log[level]({ event: 'store.log' }, line)
  }

  private onExit(child: ChildProcess, how: string): void {
    if (this.child !== child) return
    this.child = undefined
    if (this.state === 'stopping' || this.state === 'stopped' || this.state === 'starting') return
    this.deaths++
    this.deathsInARow = this.options.clock.monotonic() - this.readyAt < steadyMs ? this.deathsInARow + 1 : 1
    this.state = 'down'
    const delayMs = Math.min(maxBackOffMs, firstBackOffMs * 2 ** (this.deathsInARow - 1))
    const { log } = this.options
    log.error(
      { event: 'store.died', deathsInARow: this.deathsInARow, delayMs },
      `redis-server ${how}, starting it again`,
    )
    if (this.deathsInARow === crashLoop) {
      log.fatal(
        { event: 'store.crash-loop', lastLines: [...this.lastLines] },
        `redis-server ended ${crashLoop} times in a row; see its last lines, and the free space of ${this.folder}`,
      )
    }
    this.options.clock.setTimeout(() => void this.startAgain(), delayMs)
  }

  private async startAgain(): Promise<void> {
    if (this.state !== 'down') return
    this.launch()
    const failure = await this.untilReady()
    if (failure === undefined) {
      this.options.log.info({ event: 'store.restarted', pid: this.pid() }, 'redis-server serves again')
      for (const listener of this.listeners) listener()
    } else if (this.child) {
      // It runs and does not answer: nothing to wait for. Its exit starts the next attempt.
      this.options.log.error({ event: 'store.stuck' }, `redis-server ${failure}, killing it`)
      this.child.kill('SIGKILL')
    }
  }

  /** Undefined when it serves, else what went wrong. However long it loads is waited for. */
  private async untilReady(): Promise<string | undefined> {
    const { clock, log } = this.options
    const child = this.child
    let patientUntil = clock.monotonic() + startTimeoutMs
    let lastSaid = clock.monotonic()
    while (this.child === child && child !== undefined) {
      const answer = await ping(this.socket)
      if (this.child !== child || this.stopping()) break
      if (answer.startsWith('+PONG')) {
        this.state = 'ready'
        this.readyAt = clock.monotonic()
        return undefined
      }
      if (answer.startsWith('-LOADING')) {
        if (this.state === 'down') this.state = 'loading'
        patientUntil = clock.monotonic() + startTimeoutMs
        if (clock.monotonic() - lastSaid >= 5_000) {
          lastSaid = clock.monotonic()
          log.info({ event: 'store.loading' }, 'redis-server is still loading its data')
        }
      } else if (clock.monotonic() > patientUntil) {
        return `gave no answer for ${startTimeoutMs / 1000} s`
      }
      await new Promise<void>(resolve => clock.setTimeout(resolve, pollMs))
    }
    return this.stopping() ? 'was stopped' : 'it ended at once; its last lines:'
  }

  private stopping(): boolean {
    return this.state === 'stopping' || this.state === 'stopped'
  }

  /** SIGTERM is SHUTDOWN: it writes and fsyncs what it has, then ends. */
  private async end(): Promise<void> {
    this.state = 'stopping'
    const child = this.child
    if (!child) return
    const frozen = (await ping(this.socket)) === 'timeout'
    child.kill('SIGTERM')
    const timer = this.options.clock.setTimeout(
      () => {
        this.options.log.error({ event: 'store.stuck' }, 'redis-server did not end in time, killing it')
        child.kill('SIGKILL')
      },
      frozen ? frozenStopMs : stopTimeoutMs,
    )
    await this.exited
    this.options.clock.clearTimeout(timer)
  }
}

/**
 * The configuration file, with the reason of each line that is not obvious.
 * `disk`: fsync before every answer. `memory`: survives the death of the process, up to a second is lost with the machine.
 */
function settings(folder: string, socket: string, durability: 'memory' | 'disk'): string {
  return `# Written by ocsd at each start: changes made here are lost.
port 0
unixsocket ${quoted(socket)}
unixsocketperm 700
daemonize no
databases 1
dir ${quoted(folder)}
pidfile ${quoted(join(folder, 'redis.pid'))}
logfile ""

# The append-only file is the data; snapshots would only add pauses.
appendonly yes
appendfsync ${durability === 'disk' ? 'always' : 'everysec'}
no-appendfsync-on-rewrite no
aof-use-rdb-preamble yes
auto-aof-rewrite-min-size 1gb
save ""

# Balances are never thrown away to make room.
maxmemory-policy noeviction
# Sessions and accounts are small hashes of long fields: keep them packed.
hash-max-listpack-value 256
latency-monitor-threshold 10
`
}

const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`

/** First line of what it answers to PING, or why there is none. */
export function ping(socket: string): Promise<string> {
  return new Promise(resolve => {
    const connection = connect(socket)
    const done = (answer: string): void => {
      connection.destroy()
      resolve(answer)
    }
    connection.setTimeout(1_000, () => done('timeout'))
    connection.once('connect', () => connection.write('PING\r\n'))
    connection.once('data', data => done(data.toString('latin1')))
    connection.once('error', error => done(error.message))
    connection.once('close', () => done('closed'))
  })
}

function findRedisServer(): string {
  const found = redisServer()
  if (found !== undefined) return found
  throw new Error(
    'redis-server was not found: run `make setup`, install it (Debian: apt-get install redis-server), ' +
      'or let the key store of the configuration name a Redis that you run',
  )
}

/** Path of redis-server, on the PATH or from `make setup`; undefined when there is none. */
export const redisServer = (): string | undefined =>
  findProgram('redis-server', fileURLToPath(new URL('../../.tools/bin', import.meta.url)))

function findProgram(name: string, ...more: readonly string[]): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), ...more]) {
    if (folder === '') continue
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not in this folder.
    }
  }
  return undefined
}

/**
 * What to put before the command so that the kernel ends the store when we are killed; empty where the system cannot. Then
 * it runs on until the next start, see stopLeftOver().
 */
export function leash(): readonly string[] {
  const setpriv = findProgram('setpriv')
  if (setpriv === undefined) return []
  try {
    execFileSync(setpriv, ['--pdeathsig', 'TERM', '--', setpriv, '--version'], { stdio: 'ignore', timeout: 10_000 })
    return [setpriv, '--pdeathsig', 'TERM', '--']
  } catch {
    return []
  }
}

export function checkVersion(command: string): void {
  let said: string
  try {
    said = execFileSync(command, ['--version'], {
      encoding: 'utf8',
      timeout: 10_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } catch (error) {
    throw new Error(`${command} cannot be executed: ${(error as Error).message}`, { cause: error })
  }
  const version = /v=(\d+)\.[\d.]+/.exec(said)
  if (!version || Number(version[1]) < oldestVersion) {
    throw new Error(
      `${command} is ${version?.[0].slice(2) ?? said.trim()}: redis-server ${oldestVersion}.0 or newer is needed`,
    )
  }
}

/** Mode 700 by mkdtemp: the socket has no password. */
export function makeSocketFolder(): string {
  for (const parent of [tmpdir(), '/tmp']) {
    if (Buffer.byteLength(join(parent, 'ocsd-XXXXXX', 'redis.sock')) <= socketPathLimit)
      return mkdtempSync(join(parent, 'ocsd-'))
  }
  throw new Error(`${tmpdir()} is too long a path for a unix socket: set TMPDIR to a shorter one`)
}

/** A killed daemon leaves its redis-server running: two on one append-only file would destroy it. */
async function stopLeftOver(folder: string, { log, clock }: EmbeddedStoreOptions): Promise<void> {
  const pid = leftOverPid(folder)
  if (pid === undefined) return
  log.warn({ event: 'store.left-over', pid }, 'stopping the redis-server of a daemon that was killed')
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    kill(pid, signal)
    const until = clock.monotonic() + stopTimeoutMs
    while (clock.monotonic() < until) {
      if (leftOverPid(folder) === undefined) return
      await new Promise<void>(resolve => clock.setTimeout(resolve, pollMs))
    }
  }
  throw new Error(`redis-server with process id ${pid} still uses ${folder} and cannot be stopped: end it by hand`)
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Gone, or another user's: the loop sees which.
  }
}

/** The process of redis.pid, if it is a redis-server in our folder: its pid may be another program's by now. */
function leftOverPid(folder: string): number | undefined {
  let pid: number
  try {
    pid = Number(readFileSync(join(folder, 'redis.pid'), 'utf8').trim())
  } catch {
    return undefined
  }
  if (!isAlive(pid)) return undefined
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(folder) ? pid : undefined
  } catch (error) {
    const zombie = (error as NodeJS.ErrnoException).code === 'ENOENT' && existsSync('/proc/self')
    return !zombie && isRedisByPs(pid) ? pid : undefined // not readable, or a system without /proc
  }
}

function isRedisByPs(pid: number): boolean {
  try {
    return execFileSync('ps', ['-p', String(pid), '-o', 'command='], { encoding: 'utf8' }).includes('redis-server')
  } catch {
    return false
  }
}
