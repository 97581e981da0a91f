/**
 * A redis-server for one job, like running the cases beside a tariff where no daemon runs: on a private unix socket, nothing
 * in it at first, nothing on the disk, and gone at the end.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { checkVersion, leash, makeSocketFolder, ping, redisServer } from './embedded.js'

export interface ScratchStore {
  /** Path of the unix socket. */
  readonly socket: string
  /** Ends it. May be called twice. */
  stop(): Promise<void>
}

const startTimeoutMs = 10_000
const pollMs = 10

/**
 * Starts redis-server and waits until it serves.
 *
 * @returns undefined where there is no redis-server
 * @throws Error that says why it did not start
 */
export async function startScratchStore(
  command: string | undefined = redisServer(),
): Promise<ScratchStore | undefined> {
  if (command === undefined) return undefined
  checkVersion(command)
  const folder = makeSocketFolder()
  const store = new Scratch(command, folder)
  try {
    await store.ready()
    return store
  } catch (error) {
    await store.stop()
    throw error
  }
}

class Scratch implements ScratchStore {
  readonly socket: string
  private readonly child: ChildProcess
  private readonly ended: Promise<string>
  private over: string | undefined
  private readonly atExit = (): void => this.clear()

  constructor(
    command: string,
    private readonly folder: string,
  ) {
    this.socket = join(folder, 'redis.sock')
    const settings = {
      port: '0',
      unixsocket: this.socket,
      unixsocketperm: '700',
      dir: folder,
      save: '',
      appendonly: 'no',
    }
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
    const [program, ...more] = [...leash(), command, ...words]
    this.child = spawn(program!, more, { stdio: 'ignore' })
    this.ended = new Promise(resolve => {
      this.child.once('error', error => resolve((this.over = error.message)))
      this.child.once('exit', (code, signal) =>
        resolve((this.over = `it ended with ${signal ?? `status ${code ?? 0}`}`)),
      )
    })
    process.once('exit', this.atExit)
  }

  async ready(): Promise<void> {
    const patientUntil = performance.now() + startTimeoutMs
    while (!(await ping(this.socket)).startsWith('+PONG')) {
      if (this.over !== undefined) throw new Error(`redis-server did not start: ${this.over}`)
      if (performance.now() > patientUntil)
        throw new Error(`redis-server gave no answer for ${startTimeoutMs / 1000} s`)
      await new Promise(resolve => setTimeout(resolve, pollMs))
    }
  }

  async stop(): Promise<void> {
    process.off('exit', this.atExit)
    this.clear()
    await this.ended
  }

  private clear(): void {
    this.child.kill('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }
}
