/**
 * What cannot be served is refused at the start: exit status 1, and a message that says what, where, and what to do. Command
 * line and its exit statuses.
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import {
  OcsdProcess,
  freePort,
  processFolder,
  startTcpRedis,
  writeConfig,
  type ConfigParts,
} from '../support/ocsd-process.js'

/** A port that is taken while the test runs. */
async function takenPort(t: Test): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

const onRedis = (url: string, more: object = {}): ConfigParts => ({
  store: { kind: 'url', url, durability: 'memory', ...more },
})

interface Refusal {
  readonly name: string
  /** Makes it wrong; gives the configuration file. */
  readonly prepare: (t: Test) => Promise<string> | string
  /** What stderr must tell. */
  readonly tells: readonly RegExp[]
}

const refusals: Refusal[] = [
  {
    name: 'a configuration that is not there',
    prepare: t => join(processFolder(t).folder, 'nowhere.yaml'),
    tells: [/nowhere\.yaml:1:1: the configuration cannot be read: ENOENT/, /name another file with --config/],
  },
  {
    name: 'a configuration that is a folder',
    prepare: t => processFolder(t).folder,
    tells: [/:1:1: the configuration cannot be read: EISDIR/, /name another file with --config/],
  },
  {
    name: 'an unknown key',
    prepare: t => {
      const { file } = processFolder(t)
      writeFileSync(file, 'log:\n  levle: info\n')
      return file
    },
    tells: [/ocs\.yaml:2:3: .*levle/, /did you mean .*level/],
  },
  {
    name: 'a bad catalog',
    prepare: t => {
      const { file, catalog } = processFolder(t)
      writeFileSync(catalog, readFileSync(catalog, 'utf8').replace('use: [sms-payg]', 'use: [sms-paid]'))
      return file
    },
    tells: [/mvno\.yaml:\d+:\d+: .*sms-paid/],
  },
  {
    name: 'no catalog',
    prepare: t => {
      const { file } = processFolder(t, { catalog: 'elsewhere' })
      return file
    },
    tells: [/elsewhere.*the catalog cannot be read: ENOENT/, /check the key `catalog`/],
  },
  {
    name: 'a Diameter port that is taken',
    prepare: async t => {
      const port = await takenPort(t)
      return processFolder(t, { diameter: { listen: [`127.0.0.1:${port}`] } }).file
    },
    tells: [/127\.0\.0\.1:\d+/, /diameter\.listen/, /taken/, /another port/],
  },
  {
    name: 'an admin port that is taken',
    prepare: async t => processFolder(t, { admin: { listen: `127.0.0.1:${await takenPort(t)}` } }).file,
    tells: [/cannot listen on 127\.0\.0\.1:\d+ \(key admin/, /taken/, /give another port/],
  },
  {
    name: 'a metrics port that is taken',
    prepare: async t => processFolder(t, { metrics: { listen: `127.0.0.1:${await takenPort(t)}` } }).file,
    tells: [/cannot listen on 127\.0\.0\.1:\d+ \(key metrics/, /taken/, /give another port/],
  },
  {
    name: 'another number of partitions than the store was started with',
    prepare: async t => {
      const { redis, url } = await startTcpRedis(t)
      const client = new Redis({ path: redis.socket })
      await client.hset('ocs:store', 'partitions', 64)
      client.disconnect()
      return processFolder(t, onRedis(url, { partitions: 32 })).file
    },
    tells: [/store\.partitions is 32/, /started with 64/, /set partitions: 64/],
  },
  {
    name: 'a store that evicts',
    prepare: async t => {
      const { url } = await startTcpRedis(t, { 'maxmemory-policy': 'allkeys-lru' })
      return processFolder(t, onRedis(url)).file
    },
    tells: [/maxmemory-policy is allkeys-lru/, /set it to noeviction/],
  },
  {
    name: 'durability: disk on a store that does not write',
    prepare: async t => {
      const { url } = await startTcpRedis(t)
      return processFolder(t, onRedis(url, { durability: 'disk' })).file
    },
    tells: [/store\.durability is disk/, /appendonly no/, /set appendonly yes and appendfsync always/],
  },
  {
    name: 'durability: disk on a store that writes once a second',
    prepare: async t => {
      const { url } = await startTcpRedis(t, { appendonly: 'yes', appendfsync: 'everysec' })
      return processFolder(t, onRedis(url, { durability: 'disk' })).file
    },
    tells: [/store\.durability is disk/, /appendfsync everysec/, /promise only durability: memory/],
  },
  {
    name: 'no store at the URL, whose password is not told',
    prepare: async t => processFolder(t, onRedis(`redis://ocsd:\${env:PASSWORD}@127.0.0.1:${await freePort()}`)).file,
    tells: [/nothing answers at redis:\/\/127\.0\.0\.1:\d+ within/, /is Redis running there\?/],
  },
  {
    name: 'an admin token that others can read',
    prepare: t => {
      const { file, data } = processFolder(t)
      mkdirSync(data)
      writeFileSync(join(data, 'admin.token'), 'x'.repeat(40))
      chmodSync(join(data, 'admin.token'), 0o644)
      return file
    },
    tells: [/admin\.token can be read by others \(mode 644\)/, /run chmod 600/],
  },
  {
    name: 'the data folder of a daemon that runs, embedded store',
    prepare: async t => {
      const folder = processFolder(t)
      await OcsdProcess.start(t, folder)
      return folder.file
    },
    tells: [/data.* is in use by process \d+/, /stop that daemon first, or give this one another data folder/],
  },
  {
    name: 'the data folder of a daemon that runs, store of its own',
    prepare: async t => {
      const { url } = await startTcpRedis(t)
      const folder = processFolder(t, onRedis(url))
      await OcsdProcess.start(t, folder)
      return folder.file
    },
    tells: [/data.* is in use by process \d+/, /stop that daemon first, or give this one another data folder/],
  },
  {
    name: 'a data folder that cannot be made',
    prepare: t => {
      const folder = processFolder(t)
      writeFileSync(join(folder.folder, 'file'), '')
      writeConfig(folder, { data: '../file/data' })
      return folder.file
    },
    tells: [/data: the folder .*file\/data cannot be made: ENOTDIR/, /name another one/],
  },
]

/** Bits of stack traces, and of what the runtime prints about its own. */
const trace = /^\s+at .+:\d+|node:internal|UnhandledPromiseRejection|\bunexpected: /m

t.test('the daemon refuses to start with', { jobs: 3, buffered: true }, async t => {
  await Promise.all(
    refusals.map(({ name, prepare, tells }) =>
      t.test(name, { buffered: true }, async t => {
        const ocsd = OcsdProcess.spawn(t, ['--config', await prepare(t)], '', { PASSWORD: 'secret' })
        t.same(await ocsd.end(), { code: 1, signal: null }, 'exit status 1')
        for (const each of tells) t.match(ocsd.stderr, each, `it says ${each.source}`)
        t.match(ocsd.stderr, /^ocsd: not started$/m, 'and that it has not started')
        t.notMatch(ocsd.stderr + ocsd.stdout, trace, 'no stack trace')
        t.notMatch(ocsd.stderr + ocsd.stdout, /secret/, 'no secret')
      }),
    ),
  )
})

const commandLines: {
  name: string
  args: (t: Test) => string[]
  environment?: (t: Test) => Record<string, string>
  code: number
  stdout: RegExp
  stderr: RegExp
}[] = [
  {
    name: '--check of what is well',
    args: t => ['--check', '--config', processFolder(t).file],
    code: 0,
    stdout: /^ok: configuration, and catalog \w+ \(EUR\)/,
    stderr: /^$/,
  },
  {
    name: '--check of the file that OCS_CONFIG names',
    args: () => ['--check'],
    environment: t => ({ OCS_CONFIG: processFolder(t, { log: { level: 'loud' } }).file }),
    code: 1,
    stdout: /ocs\.yaml:\d+:\d+: .*loud[^]*1 fault: the daemon would not start/,
    stderr: /^$/,
  },
  {
    name: '--check tells every fault at once',
    args: t => {
      const { file, catalog } = processFolder(t)
      writeFileSync(catalog, 'currency: EUR\nservices: 1\nrates: 2\noffers: 3\n')
      return ['--check', '--config', file]
    },
    code: 1,
    stdout: /mvno\.yaml:2:\d+: [^]*mvno\.yaml:3:\d+: [^]*mvno\.yaml:4:\d+: [^]*3 faults: the daemon would not start/,
    stderr: /^$/,
  },
  { name: '--help', args: () => ['--help'], code: 0, stdout: /^ocsd [\d.]+[^]*usage: ocsd/, stderr: /^$/ },
  { name: '--version', args: () => ['--version'], code: 0, stdout: /^\d+\.\d+\.\d+\n$/, stderr: /^$/ },
  {
    name: 'an option that does not exist',
    args: () => ['--confg', 'x'],
    code: 2,
    stdout: /^$/,
    stderr: /^ocsd: .*--confg[^]*usage: ocsd/,
  },
  {
    name: 'an argument that belongs to no option',
    args: () => ['config/ocs.yaml'],
    code: 2,
    stdout: /^$/,
    stderr: /^ocsd: .*config\/ocs\.yaml[^]*usage: ocsd/,
  },
  {
    name: 'an option without its value',
    args: () => ['--config'],
    code: 2,
    stdout: /^$/,
    stderr: /^ocsd: .*--config[^]*usage: ocsd/,
  },
]

t.test('the command line', { jobs: 3, buffered: true }, async t => {
  await Promise.all(
    commandLines.map(({ name, args, environment, code, stdout, stderr }) =>
      t.test(name, { buffered: true }, async t => {
        const ocsd = OcsdProcess.spawn(t, args(t), '', environment?.(t))
        t.same(await ocsd.end(), { code, signal: null }, `exit status ${code}`)
        t.match(ocsd.stdout, stdout, 'stdout')
        t.match(ocsd.stderr, stderr, 'stderr')
        t.notMatch(ocsd.stderr + ocsd.stdout, trace, 'no stack trace')
      }),
    ),
  )
})
