import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { systemClock, type Timer, VirtualClock } from '../../src/clock.js'
import { type EmbeddedStore, startEmbeddedStore } from '../../src/store/embedded.js'
import { findTool } from '../support/tools.js'

const log = pino({ level: 'silent' })
const cli = (store: { socket: string }, ...args: string[]): string =>
  execFileSync('redis-cli', ['-s', store.socket, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim()

const start = (t: Test, dataDir: string, durability: 'memory' | 'disk' = 'disk'): Promise<EmbeddedStore> => {
  const starting = startEmbeddedStore({ dataDir, durability, log, clock: systemClock })
  t.teardown(async () => (await starting.catch(() => undefined))?.stop())
  return starting
}
const restarted = (store: EmbeddedStore): Promise<void> => new Promise(resolve => store.onRestart(resolve))

void t.test('it serves on a private socket only, with the settings that its durability asks for', async t => {
  const table = [
    { durability: 'disk', appendfsync: 'always' },
    { durability: 'memory', appendfsync: 'everysec' },
  ] as const
  for (const { durability, appendfsync } of table) {
    const store = await start(t, t.testdir(), durability)
    const expected = {
      appendfsync,
      appendonly: 'yes',
      port: '0',
      save: '',
      'maxmemory-policy': 'noeviction',
      'no-appendfsync-on-rewrite': 'no',
      'aof-use-rdb-preamble': 'yes',
      'auto-aof-rewrite-min-size': '1073741824',
      'hash-max-listpack-value': '256',
      'latency-monitor-threshold': '10',
    }
    for (const [name, value] of Object.entries(expected)) {
      t.equal(cli(store, 'CONFIG', 'GET', name).split('\n')[1] ?? '', value, name)
    }
    t.equal(statSync(dirname(store.socket)).mode & 0o777, 0o700)
    t.ok(Buffer.byteLength(store.socket) <= 100)
    t.equal(store.trouble(), undefined)
    await store.stop()
    t.notOk(existsSync(dirname(store.socket)), 'the socket folder is gone with it')
  }
})

void t.test('a killed redis-server is started again with all that it acknowledged', async t => {
  const store = await start(t, t.testdir())
  for (let round = 1; round <= 3; round++) {
    t.equal(cli(store, 'INCR', 'n'), String(round))
    const back = restarted(store)
    const before = store.pid()!
    process.kill(before, 'SIGKILL')
    await back
    t.not(store.pid(), before)
    t.equal(cli(store, 'GET', 'n'), String(round))
    t.equal(store.restarts(), round)
  }
})

void t.test('data outlives a stop and a start', async t => {
  const dataDir = t.testdir()
  const first = await start(t, dataDir)
  cli(first, 'SET', 'kept', 'yes')
  const pid = first.pid()!
  await first.stop()
  await first.stop()
  t.throws(() => process.kill(pid, 0), 'no process is left')
  t.equal(cli(await start(t, dataDir), 'GET', 'kept'), 'yes')
})

/** A daemon that started its store in another process. */
async function startOwner(t: Test, dataDir: string, path: string): Promise<{ owner: ChildProcess; old: OldStore }> {
  const script = `
    import { pino } from 'pino'
    import { systemClock } from './src/clock.ts'
    import { startEmbeddedStore } from './src/store/embedded.ts'
    const log = pino({ level: 'silent' })
    const store = await startEmbeddedStore({ dataDir: ${JSON.stringify(dataDir)}, durability: 'disk', log, clock: systemClock })
    console.log(JSON.stringify({ socket: store.socket, pid: store.pid() }))
  `
  const owner = spawn(process.execPath, ['--import=tsx', '--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PATH: path },
  })
  t.teardown(() => owner.kill('SIGKILL'))
  const [line] = (await once(createInterface({ input: owner.stdout }), 'line')) as [string]
  return { owner, old: JSON.parse(line) as OldStore }
}
interface OldStore {
  readonly socket: string
  readonly pid: number
}

void t.test('a killed daemon takes its redis-server with it, where the kernel can', async t => {
  const dataDir = t.testdir()
  if (findTool('setpriv') === undefined) return
  const { owner, old } = await startOwner(t, dataDir, process.env['PATH']!)
  cli(old, 'SET', 'charged', '70')
  const gone = once(connect(old.socket), 'close')
  owner.kill('SIGKILL')
  await gone
  t.equal(cli(await start(t, dataDir), 'GET', 'charged'), '70')
})

void t.test('a redis-server that outlived its daemon is stopped before a new one uses its data', async t => {
  const dataDir = t.testdir({ bin: {} })
  symlinkSync(findTool('redis-server')!, join(dataDir, 'bin/redis-server'))
  const { owner, old } = await startOwner(t, dataDir, join(dataDir, 'bin')) // without setpriv
  cli(old, 'SET', 'charged', '70')

  await t.rejects(
    start(t, dataDir),
    { message: `in use by process ${owner.pid!}` },
    'as long as the daemon lives it keeps the folder',
  )
  t.equal(cli(old, 'GET', 'charged'), '70', 'and its store is left alone')

  owner.kill('SIGKILL')
  await once(owner, 'exit')
  t.ok(process.kill(old.pid, 0), 'its redis-server runs on')

  const store = await start(t, dataDir)
  t.equal(cli(store, 'GET', 'charged'), '70')
  t.not(store.pid(), old.pid)
  t.notOk(existsSync(dirname(old.socket)), 'the old socket folder is gone')
  t.throws(() => cli(old, 'PING'))
})

void t.test('a pid file that names another program is not believed', async t => {
  const dataDir = t.testdir({ store: { 'redis.pid': String(process.pid) } })
  const store = await start(t, dataDir)
  t.equal(cli(store, 'PING'), 'PONG')
})

void t.test('a lock of a dead owner, or a torn one, is taken over', async t => {
  for (const content of ['{"pid":4194303}', `{"pid":${process.pid},"started":"1"}`, '{"pi', '']) {
    const dataDir = t.testdir({ store: { 'ocsd.lock': content } })
    const store = await start(t, dataDir)
    t.match(JSON.parse(readFileSync(join(dataDir, 'store/ocsd.lock'), 'utf8')), { pid: process.pid })
    await store.stop()
    t.notOk(existsSync(join(dataDir, 'store/ocsd.lock')))
  }
})

void t.test('a start that cannot work says why', async t => {
  const dataDir = t.testdir({
    old: '#!/bin/sh\necho "Redis server v=6.0.16 sha=00000000:0"\n',
    broken:
      '#!/bin/sh\n[ "$1" = --version ] && echo "Redis server v=7.0.15" && exit\necho "Fatal error loading the DB"; exit 1\n',
  })
  for (const name of ['old', 'broken']) execFileSync('chmod', ['+x', join(dataDir, name)])
  const table = [
    { command: 'old', message: /6\.0\.16: redis-server 7\.0 or newer is needed/ },
    { command: 'broken', message: /did not start[^]*Fatal error loading the DB/ },
    { command: 'missing', message: /missing cannot be executed/ },
  ]
  for (const { command, message } of table) {
    const options = { dataDir, durability: 'disk', log, clock: systemClock, command: join(dataDir, command) } as const
    await t.rejects(startEmbeddedStore(options), { message }, command)
    t.notOk(existsSync(join(dataDir, 'store/ocsd.lock')), 'the folder is free again')
  }
  mkdirSync(join(dataDir, 'store/appendonlydir'))
  writeFileSync(join(dataDir, 'store/appendonlydir/appendonly.aof.manifest'), 'file nothing\n')
  await t.rejects(start(t, dataDir), { message: /did not start[^]*AOF/i }, 'damaged data')
})

void t.test('a crash loop backs off, is reported once, and ends when the cause does', async t => {
  const dataDir = t.testdir({ flag: '' })
  const command = join(dataDir, 'redis')
  const real = execFileSync('sh', ['-c', 'command -v redis-server'], { encoding: 'utf8' }).trim()
  writeFileSync(
    command,
    `#!/bin/sh\n[ -e ${dataDir}/broken ] && [ "$1" != --version ] && echo "No space left" && exit 1\nexec ${real} "$@"\n`,
    { mode: 0o755 },
  )
  const fatal: string[] = []
  const logged = pino(
    { level: 'info' },
    {
      write: line => {
        if (line.includes('crash-loop')) fatal.push(line)
      },
    },
  )
  // Only its timers are ours: they run at once, and say how long they would have waited.
  const waits: number[] = []
  const clock = new VirtualClock()
  const quick = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    setTimeout: (fn: () => void, ms: number) => {
      if (ms >= 100 && ms <= 5_000) waits.push(ms)
      return systemClock.setTimeout(fn, ms === 10_000 ? ms : 5)
    },
    clearTimeout: (timer?: Timer) => systemClock.clearTimeout(timer),
  }
  const store = await startEmbeddedStore({ dataDir, durability: 'disk', log: logged, clock: quick, command })
  t.teardown(() => store.stop())
  writeFileSync(join(dataDir, 'broken'), '')
  process.kill(store.pid()!, 'SIGKILL')
  while (waits.length < 8) await new Promise(resolve => setImmediate(resolve))
  t.same(waits.slice(0, 8), [100, 200, 400, 800, 1600, 3200, 5000, 5000])
  t.equal(fatal.length, 1)
  t.match(store.trouble(), /times in a row: No space left/)
  const back = restarted(store)
  execFileSync('rm', [join(dataDir, 'broken')])
  await back
  t.equal(store.trouble(), undefined)
})
