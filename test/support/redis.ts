/**
 * A real redis-server of the test's own, on a private socket; it ends with the test.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Redis } from 'ioredis'
import { findTool } from './tools.js'

export interface TestRedis {
  readonly socket: string
  readonly folder: string
  process: ChildProcess
  /** kill -9, then start again on the same data. */
  killAndRestart(): Promise<void>
  kill(signal: NodeJS.Signals): Promise<void>
  start(): Promise<void>
}

export async function startRedis(t: Test, settings: Record<string, string> = {}): Promise<TestRedis> {
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-test-'))
  const socket = join(folder, 'redis.sock')
  const program = findTool('redis-server')
  if (program === undefined) throw new Error('redis-server is not installed: run make setup')
  const all: Record<string, string> = {
    port: '0',
    unixsocket: socket,
    dir: folder,
    save: '',
    appendonly: 'no',
    'hash-max-listpack-value': '256',
    ...settings,
  }
  const start = async (): Promise<void> => {
    const args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value])
    server.process = spawn(program, args, { stdio: 'ignore' })
    const probe = new Redis({ path: socket, retryStrategy: () => 10, maxRetriesPerRequest: null })
    probe.on('error', () => undefined)
    await probe.ping()
    probe.disconnect()
  }
  const kill = (signal: NodeJS.Signals): Promise<void> =>
    new Promise(resolve => {
      if (server.process.exitCode !== null || server.process.signalCode !== null) {
        resolve()
        return
      }
      server.process.once('exit', () => resolve())
      server.process.kill(signal)
    })
  const server: TestRedis = {
    socket,
    folder,
    process: undefined as unknown as ChildProcess,
    start,
    kill,
    killAndRestart: async () => {
      await kill('SIGKILL')
      await start()
    },
  }
  await start()
  t.teardown(async () => {
    await kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })
  return server
}
