/**
 * A master with one replica, watched by three Sentinels: real processes on loopback ports, which end with the test.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Redis } from 'ioredis'
import type { StoreConfig } from '../../src/config/config.js'
import { freePort, startTcpRedis, until } from './ocsd-process.js'
import type { TestRedis } from './redis.js'
import { partitions } from './store.js'
import { findTool } from './tools.js'

export interface Watched {
  readonly master: TestRedis
  readonly replica: TestRedis
  readonly replicaPort: number
  /** In the order of the configuration. */
  readonly sentinels: readonly Sentinel[]
  /** What a Store needs to find the master. */
  readonly config: StoreConfig
}

export interface Sentinel {
  readonly port: number
  kill(signal: NodeJS.Signals): void
}

const name = 'ocs'
const host = '127.0.0.1'
const quorum = 2

/** Resolves when the replica is in step and the Sentinels know it and each other. */
export async function startWatched(t: Test): Promise<Watched> {
  const settings = { 'repl-diskless-sync-delay': '0' }
  const [master, replica] = [await startTcpRedis(t, settings), await startTcpRedis(t, settings)]
  const [masterPort, replicaPort] = [portOf(master.url), portOf(replica.url)]
  const follower = client(t, replicaPort)
  await follower.replicaof(host, masterPort)
  await until('the replica is in step', async () =>
    (await follower.info('replication')).includes('master_link_status:up'),
  )
  const sentinels = [
    await startSentinel(t, masterPort),
    await startSentinel(t, masterPort),
    await startSentinel(t, masterPort),
  ]
  for (const { port } of sentinels) {
    const sentinel = client(t, port)
    await until('the Sentinels know all', async () =>
      /name=ocs,status=ok,.*slaves=1,sentinels=3/.test(await sentinel.info('sentinel')),
    )
  }
  return {
    master: master.redis,
    replica: replica.redis,
    replicaPort,
    sentinels,
    config: {
      kind: 'sentinel',
      sentinel: { name, sentinels: sentinels.map(({ port }) => ({ host, port })) },
      durability: 'memory',
      partitions,
    },
  }
}

/** One that believes a server dead after a second, and tries a failover anew after two. */
async function startSentinel(t: Test, masterPort: number): Promise<Sentinel> {
  const program = findTool('redis-server')
  if (program === undefined) throw new Error('redis-server is not installed: run make setup')
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-test-'))
  const port = await freePort()
  const file = join(folder, 'sentinel.conf') // Sentinel writes into it
  const lines = [
    `port ${port}`,
    `bind ${host}`,
    `dir ${folder}`,
    `sentinel monitor ${name} ${host} ${masterPort} ${quorum}`,
    `sentinel down-after-milliseconds ${name} 1000`,
    `sentinel failover-timeout ${name} 1000`,
  ]
  writeFileSync(file, lines.join('\n') + '\n')
  const child = spawn(program, [file, '--sentinel'], { stdio: 'ignore' })
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
    rmSync(folder, { recursive: true, force: true })
  })
  return { port, kill: signal => void child.kill(signal) }
}

/** A client of the test's own, past the Store; it waits until the server is there. */
export function client(t: Test, port: number): Redis {
  const redis = new Redis({ host, port, retryStrategy: () => 10, maxRetriesPerRequest: null, protocol: 2 })
  redis.on('error', () => undefined)
  t.teardown(() => redis.disconnect())
  return redis
}

const portOf = (url: string): number => Number(new URL(url).port)
