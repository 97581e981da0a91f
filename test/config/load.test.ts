import { join } from 'node:path'
import t from 'tap'
import type { Config } from '../../src/config/config.js'
import { loadConfig, readConfig, type ConfigOutcome } from '../../src/config/load.js'
import { standardProfile } from '../../src/config/profiles.js'
import { linesOf, plant, type Mistake } from '../support/mistake.js'

const good = `catalog: catalog
data: ../data
diameter:
  identity: ocs.example.net
  realm: example.net
  listen: [127.0.0.1:3868, "[::1]:0", fd:3, fd:gy]
  tls: { listen: fd:4, certificate: tls/ocs.pem, key: /etc/tls/ocs.key, authority: tls/ca.pem }
  dictionaries: [vendor]
  peers:
    - { name: smf, identity: smf.example.net, from: [10.0.0.0/8, 192.0.2.7], connect: smf.example.net:3868 }
    - { name: dra, identity: dra.example.net, from: 10.0.0.1, certificate: agents.example.net }
    - { name: any, identity: "*", realm: "*", from: "::1", relay: true, certificate: any, transport: any, limits: { ratePerSecond: 500, connections: 2 }, profile: { requestedUnits: ignore, subscriptionId: always } }
  limits: { message: 64KiB, depth: 8 }
  watchdog: 6s
  reconnect: 1m
  duplicatePeer: replace
store:
  kind: url
  url: rediss://ocs:\${env:REDIS_PASSWORD}@redis.example.net:6379/1
  durability: memory
  partitions: 64
charging: { holdBudget: 5s, silence: 3, failureHandling: continue, sessionFailover: true }
journal: { keep: 1h, directory: ledger, rotate: 1MiB }
admin: { listen: localhost:0, tokenFile: /run/ocs/token }
metrics: { listen: "[::]:9000" }
log: { level: debug, identities: plain }
`

const noLimits = { connections: undefined, inFlight: undefined, ratePerSecond: undefined }

const environment = { REDIS_PASSWORD: 'p@ss/w:rd' }
const file = '/etc/ocs/ocs.yaml'

const faultsOf = (outcome: ConfigOutcome): string[] => ('faults' in outcome ? linesOf(outcome.faults) : [])

function configOf(text: string, variables: Record<string, string> = environment, name = file): Config {
  const outcome = readConfig(name, text, variables)
  if ('config' in outcome) return outcome.config
  throw new Error(faultsOf(outcome).join('\n'))
}

t.test('every key is read; paths start at the folder of the file', t => {
  const config = configOf(good)
  t.match(config, {
    file,
    catalog: '/etc/ocs/catalog',
    data: '/etc/data',
    diameter: {
      identity: 'ocs.example.net',
      realm: 'example.net',
      listen: [{ host: '127.0.0.1', port: 3_868 }, { host: '::1', port: 0 }, { fd: 3 }, { fd: 'gy' }],
      tls: {
        listen: [{ fd: 4 }],
        certificate: '/etc/ocs/tls/ocs.pem',
        key: '/etc/tls/ocs.key',
        authority: '/etc/ocs/tls/ca.pem',
        crl: undefined,
      },
      dictionaries: ['/etc/ocs/vendor'],
      limits: { messageOctets: 65_536, depth: 8, avps: 4_096, sessionIdOctets: 512, cerTimeoutMs: 10_000 },
      watchdogMs: 6_000,
      reconnectMs: 60_000,
      duplicatePeer: 'replace',
    },
    store: { kind: 'url', durability: 'memory', partitions: 64 },
    charging: {
      holdBudgetMs: 5_000,
      silence: 3,
      failureHandling: 'continue',
      sessionFailover: true,
      keepMarkMs: 86_400_000,
    },
    journal: { keepMs: 3_600_000, directory: '/etc/ocs/ledger', rotateOctets: 1_048_576 },
    admin: { host: 'localhost', port: 0, tokenFile: '/run/ocs/token' },
    metrics: { host: '::', port: 9_000 },
    log: { level: 'debug', identities: 'plain' },
  })
  t.same(config.diameter.peers, [
    {
      name: 'smf',
      identity: 'smf.example.net',
      realm: '*',
      from: ['10.0.0.0/8', '192.0.2.7/32'],
      connect: { host: 'smf.example.net', port: 3_868, tls: false },
      transport: 'any',
      certificate: 'origin-host',
      relay: false,
      limits: noLimits,
      profile: standardProfile,
    },
    {
      name: 'dra',
      identity: 'dra.example.net',
      realm: '*',
      from: ['10.0.0.1/32'],
      transport: 'tls',
      certificate: 'agents.example.net',
      relay: false,
      limits: noLimits,
      profile: standardProfile,
    },
    {
      name: 'any',
      identity: '*',
      realm: '*',
      from: ['::1/128'],
      transport: 'any',
      certificate: 'any',
      relay: true,
      limits: { ...noLimits, connections: 2, ratePerSecond: 500 },
      profile: { ...standardProfile, requestedUnits: 'ignore', subscriptionId: 'always' },
    },
  ])
  t.end()
})

t.test('the shipped file says the defaults: without any key the configuration is the same', t => {
  const shipped = loadConfig('config/ocs.yaml', {})
  t.ok('config' in shipped, faultsOf(shipped).join('\n'))
  if (!('config' in shipped)) return
  t.same(configOf('', {}, 'config/ocs.yaml'), shipped.config)
  t.same(configOf('# all lines\ndiameter:\nstore:\nlog:\n', {}, 'config/ocs.yaml'), shipped.config)
  t.match(shipped.config, {
    diameter: { identity: 'ocs.localdomain', realm: 'localdomain', listen: [{ host: '127.0.0.1', port: 3_868 }] },
    store: { kind: 'embedded', durability: 'disk', partitions: 1_024 },
    charging: { holdBudgetMs: 7_000, silence: 2, keepClosedMs: 600_000, keepSilentMs: 86_400_000 },
    journal: { keepMs: 600_000, directory: /data\/ledger$/ },
    admin: { host: '127.0.0.1', port: 8_080, tokenFile: /data\/admin\.token$/ },
    metrics: { host: '127.0.0.1', port: 9_464 },
  })
  t.same(shipped.config.diameter.peers[0]?.from, ['127.0.0.0/8', '::1/128'])
  t.same([shipped.config.store.url, shipped.config.store.sentinel], [undefined, undefined])
  t.end()
})

t.test('what the daemon writes lies in `data` unless told otherwise', t => {
  const config = configOf('data: /var/lib/ocs\n')
  t.match(config, { journal: { directory: '/var/lib/ocs/ledger' }, admin: { tokenFile: '/var/lib/ocs/admin.token' } })
  t.end()
})

t.test('secrets come from the environment or from files', t => {
  t.equal(configOf(good).store.url, 'rediss://ocs:p%40ss%2Fw%3Ard@redis.example.net:6379/1')
  const whole = 'store: { kind: url, url: "${env:REDIS_URL}" }'
  t.equal(configOf(whole, { REDIS_URL: 'redis://:p%40@h:1/2' }).store.url, 'redis://:p%40@h:1/2')
  const folder = t.testdir({ secret: 'hidden\n' })
  const sentinel = (password: string): string =>
    `store: { kind: sentinel, sentinel: { name: ocs, sentinels: [10.0.0.1:26379], password: "${password}" } }\n`
  const at = join(folder, 'ocs.yaml')
  t.same(configOf(sentinel('${file:secret}'), {}, at).store.sentinel, {
    name: 'ocs',
    sentinels: [{ host: '10.0.0.1', port: 26_379 }],
    password: 'hidden',
  })
  t.match(faultsOf(readConfig(at, sentinel('hidden'))), [
    /store\.sentinel\.password is written out; write \$\{env:NAME\}/,
  ])
  t.match(faultsOf(readConfig(at, sentinel('${file:gone}'))), [/the file gone cannot be read; a relative path/])
  t.notMatch(faultsOf(readConfig(at, 'store: { kind: url, url: "redis://:hidden@h:1" }')).join(), /hidden/)
  t.match(
    faultsOf(readConfig(at, 'store: { kind: url, url: "redis://h:1/abc" }')).join(),
    /store.url is no Redis address/,
  )
  t.end()
})

const mistakes: Mistake[] = [
  {
    replace: '[10.0.0.0/8, 192.0.2.7]',
    by: '«[]',
    expect: 'diameter.peers[0].from is empty; write at least one, like 10.0.0.0/8',
  },
  { replace: 'name: any', by: 'name: «smf', expect: 'the peer name `smf` is taken; names are unique' },
  {
    replace: 'kind: url\n  url: ',
    by: 'kind: embedded\n  url: «',
    expect: 'store.url has no use with kind embedded; write `kind: url`, or remove it',
  },
  { replace: 'catalog: ', by: '«catalogue: ', expect: 'unknown key `catalogue` in the file; did you mean `catalog`?' },
  { replace: 'watchdog:', by: '«watchDogs:', expect: 'unknown key `watchDogs` in diameter; did you mean `watchdog`?' },
  { replace: 'depth: 8', by: '«dept: 8', expect: 'unknown key `dept` in diameter.limits; did you mean `depth`?' },
  {
    replace: 'keep: 1h',
    by: 'keep: «1 hour',
    expect: 'journal.keep: `1 hour` is not a duration; write a duration like 30s, 10m, 1h or 30d',
  },
  { replace: 'watchdog: 6s', by: 'watchdog: «5s', expect: 'diameter.watchdog is below 6s; write at least 6s' },
  { replace: 'holdBudget: 5s', by: 'holdBudget: «2m', expect: 'charging.holdBudget is above 1m; write at most 1m' },
  { replace: '64KiB', by: '«64kb', expect: 'diameter.limits.message: `64kb` is not a size; write 64kB or 64KiB' },
  { replace: '64KiB', by: '«1GiB', expect: 'diameter.limits.message is above 16777212B; write at most 16777212B' },
  { replace: 'partitions: 64', by: 'partitions: «0', expect: 'store.partitions is below 1; write at least 1' },
  {
    replace: 'silence: 3',
    by: 'silence: «2.5',
    expect: 'charging.silence: `2.5` is not a whole number; write a number from 1 to 100',
  },
  {
    replace: '127.0.0.1:3868',
    by: '«127.0.0.1',
    expect:
      'diameter.listen[0]: `127.0.0.1` is not an address to listen on; write 127.0.0.1:3868 or "[::1]:3868" (port 0 lets the system pick one), or fd:3 for a socket that is handed over',
  },
  {
    replace: 'localhost:0',
    by: '«localhost:65536',
    expect:
      'admin.listen: `localhost:65536` is not an address to listen on; write 127.0.0.1:3868 or "[::1]:3868"; port 0 lets the system pick one',
  },
  {
    replace: '127.0.0.1:3868',
    by: '«127.0.0.256:3868',
    expect:
      'diameter.listen[0]: `127.0.0.256:3868` is not an address to listen on; write 127.0.0.1:3868 or "[::1]:3868" (port 0 lets the system pick one), or fd:3 for a socket that is handed over',
  },
  {
    replace: '10.0.0.0/8',
    by: '«10.0.0.0/33',
    expect:
      'diameter.peers[0].from[0]: `10.0.0.0/33` is not an address block; write 10.0.0.0/8, 192.0.2.7 or "2001:db8::/32"',
  },
  {
    replace: '{ name: smf, identity: smf.example.net',
    by: '«{ name: smf',
    expect: 'diameter.peers[0] lacks `identity`; add `identity:`',
  },
  {
    replace: 'identity: ocs.example.net',
    by: 'identity: «ocs_1',
    expect:
      'diameter.identity: `ocs_1` is not a domain name; write letters, digits, dashes and dots, like ocs.example.net',
  },
  {
    replace: 'relay: true',
    by: 'relay: «yes',
    expect: 'diameter.peers[2].relay: `yes` is not true or false; write true or false',
  },
  {
    replace: '"[::1]:0", fd:3',
    by: '"[::1]:0", «fd:2',
    expect:
      'diameter.listen[2]: `fd:2` is not an address to listen on; write 127.0.0.1:3868 or "[::1]:3868" (port 0 lets the system pick one), or fd:3 for a socket that is handed over',
  },
  {
    replace: '{ listen: fd:4, certificate: tls/ocs.pem, key: /etc/tls/ocs.key, authority',
    by: '«{ listen: fd:4, certificate: tls/ocs.pem, authority',
    expect: 'diameter.tls lacks `key`; add `key:`',
  },
  {
    replace: 'certificate: any, transport: any',
    by: 'certificate: «any, transport: tcp',
    expect: 'there are no certificates on tcp; write `transport: tls`, or remove the certificate',
  },
  {
    replace: 'certificate: agents.example.net',
    by: 'certificate: «agents_1',
    expect:
      'diameter.peers[1].certificate: `agents_1` is not the name in a certificate; write origin-host, any, or the DNS name that its subjectAltName has',
  },
  {
    replace: 'identity: "*", realm: "*"',
    by: 'identity: "*", connect: «192.0.2.7:3868, realm: "*"',
    expect: 'nobody can be called by `*`; write the Origin-Host of the peer as its identity',
  },
  {
    replace: 'from: 10.0.0.1,',
    by: 'connect: «dra.example.net:0,',
    expect:
      'diameter.peers[1].connect: `dra.example.net:0` is not an address to call; write 192.0.2.7:3868, "[2001:db8::7]:3868" or a name with a port',
  },
  {
    replace: 'identity: dra.example.net, from: 10.0.0.1,',
    by: 'identity: OCS.example.net, connect: «"[::1]:3868",',
    expect: '`OCS.example.net` is our own identity; write that of the peer',
  },
  {
    replace: 'identity: dra.example.net, from: 10.0.0.1,',
    by: 'identity: SMF.example.net, connect: «192.0.2.8:3868,',
    expect: '`SMF.example.net` is called already; a peer has one connection: let one row call it',
  },
  {
    replace: '{ name: dra, identity: dra.example.net, from: 10.0.0.1,',
    by: '«{ name: dra, identity: dra.example.net,',
    expect: 'diameter.peers[1] lacks `from`; add `from:`, or `connect:` if it is only called',
  },
  {
    replace: 'connections: 2',
    by: 'connections: «0',
    expect: 'diameter.peers[2].limits.connections is below 1; write at least 1',
  },
  {
    replace: 'level: debug',
    by: 'level: «verbose',
    expect:
      'log.level: `verbose` is not one of trace, debug, info, warn, error, silent; write one of trace, debug, info, warn, error, silent',
  },
  {
    replace: 'durability: memory',
    by: 'durability: «disc',
    expect: 'store.durability: `disc` is not one of disk, memory; did you mean `disk`?',
  },
  {
    replace: 'kind: url\n  url: rediss://ocs:${env:REDIS_PASSWORD}@redis.example.net:6379/1',
    by: '«kind: url',
    expect: 'store lacks `url`; add `url:`, or use another kind',
  },
  {
    replace: 'rediss://ocs:${env:REDIS_PASSWORD}',
    by: '«rediss://ocs:secret',
    expect: 'store.url contains a password; write ${env:NAME} or ${file:PATH} in its place',
  },
  {
    replace: 'rediss://ocs:${env:REDIS_PASSWORD}',
    by: '«rediss://ocs:${env:PASSWORD}',
    expect: 'the environment has no PASSWORD; set it for the daemon',
  },
  {
    replace: 'rediss://',
    by: '«http://',
    expect: 'store.url is no Redis address; write redis://host:6379/0 or rediss://user:${env:NAME}@host:6379',
  },
  {
    replace: 'data: ../data\n',
    by: 'data: ../data\n«data: elsewhere\n',
    expect: 'Map keys must be unique; keep one of them',
  },
]

t.test('every planted mistake is told with its place and a hint, alone', t => {
  for (const mistake of mistakes) {
    const { text, line } = plant(file, good, mistake)
    t.same(faultsOf(readConfig(file, text, environment)), [line], `${mistake.replace} → ${mistake.by}`)
  }
  t.end()
})

t.test('a peer that needs TLS needs TLS to be configured', t => {
  const row = (more: string): string => `diameter: { peers: { name: a, identity: "*", from: "::1", ${more} } }`
  const missing = 'this peer needs TLS, which is not configured; add `tls:` to diameter'
  t.same(faultsOf(readConfig(file, row('transport: tls'))), [`${file}:1:70: ${missing}`])
  t.same(faultsOf(readConfig(file, row('certificate: any'))), [`${file}:1:72: ${missing}`])
  t.match(configOf(row('transport: any, certificate: any')).diameter, { tls: undefined, peers: [{ transport: 'any' }] })
  t.match(faultsOf(readConfig(file, 'diameter: { listen: [] }')), [/diameter.listen is empty; write at least one/])
  t.same(configOf('diameter: { listen: [], tls: { certificate: a, key: b, authority: c } }').diameter.listen, [])
  const tls = 'diameter: { tls: { certificate: a, key: b, authority: c, crl: d } }'
  t.match(configOf(tls).diameter.tls, { listen: [{ host: '127.0.0.1', port: 5658 }], crl: '/etc/ocs/d' })
  t.end()
})

t.test('all faults are told at once, in the order of the text', t => {
  const text = 'dta: x\ndiameter:\n  watchdog: 1s\n  realm: "-"\nlog: { level: loud }\n'
  t.match(faultsOf(readConfig(file, text)), [/:1:1: unknown key/, /:3:13: /, /:4:10: /, /:5:15: /])
  t.match(faultsOf(readConfig(file, 'a: [1\nb: }')), [/^\/etc\/ocs\/ocs\.yaml:\d+:\d+: /])
  t.match(faultsOf(readConfig(file, '- a\n')), [/:1:1: the file is not a table; write indented/])
  t.end()
})

t.test('a file that is not there is told as a fault', t => {
  t.match(faultsOf(loadConfig(join(t.testdir(), 'gone.yaml'))), [
    /gone\.yaml:1:1: the configuration cannot be read: ENOENT.*--config/,
  ])
  t.end()
})
