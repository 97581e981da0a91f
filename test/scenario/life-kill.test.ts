/**
 * Years of many accounts' lives are worked off by two daemons, one of which is killed (kill -9) again and again in the middle of it: each
 * step happens once, and the books are right.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { Journal } from '../../src/balance/journal.js'
import { Snapshot } from '../../src/balance/snapshot.js'
import { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import { audit } from '../../src/ledger/audit.js'
import { OcsdProcess, processFolder, startTcpRedis, until } from '../support/ocsd-process.js'
import { linesOf } from '../support/ledger.js'
import { noMetrics } from '../support/store.js'

const partitions = 16
const accounts = 60
const { redis, url } = await startTcpRedis(t)
const folders = ['ocs1', 'ocs2'].map(name =>
  processFolder(t, {
    clock: 'virtual',
    diameter: { identity: `${name}.localdomain` },
    store: { kind: 'url', url, durability: 'memory', partitions },
  }),
)
for (const { catalog } of folders)
  writeFileSync(
    join(catalog, '..', 'life.yaml'),
    `lifecycle:
  prepaid:
    validity: [{ amount: '1.00', lasts: 30d }]
    warn: [7d, 1d]
    grace: { lasts: 10d }
    suspended: 20d
    quarantine: 60d
`,
  )

t.test('a daemon that dies between steps loses none and repeats none', async t => {
  const [first, second] = await Promise.all(folders.map(folder => OcsdProcess.start(t, folder)))
  let victim = first!
  const rows = Array.from({ length: accounts }, (_, i) => `a${i},${491_700_100_000 + i},,payg,1.00,EUR`)
  const imported = await second!.api(
    'POST',
    '/v1/import',
    ['account,msisdn,imsi,offer,balance,currency', ...rows].join('\n'),
  )
  t.match(imported, { status: 200, body: { created: accounts } })

  const moved = await second!.api('POST', '/v1/clock', { advance: '100d', waitSeconds: 0 })
  t.equal(moved.status, 200)
  for (let kills = 0; kills < 2; kills++) {
    const before = await second!.api('GET', '/v1/clock')
    t.equal(before.status, 200)
    await victim.kill('SIGKILL')
    victim = await OcsdProcess.start(t, folders[0]!)
    await second!.api('POST', '/v1/clock', { advance: '15d', waitSeconds: 0 })
  }
  const settled = await second!.api('POST', '/v1/clock', { advance: '1d', waitSeconds: 60 })
  t.match(settled.body, { due: 0 })

  const store = new Store({
    config: { kind: 'embedded', durability: 'memory', partitions },
    address: { socket: redis.socket },
    log: pino({ level: 'silent' }),
    metrics: noMetrics,
    clock: systemClock,
  })
  await store.open(5000)
  t.teardown(() => store.close())
  const ledgers = folders.map(({ data }) => join(data, 'ledger'))
  const books = await audit({
    directories: ledgers,
    journal: new Journal(store, partitions, systemClock),
    snapshot: new Snapshot(store, partitions, systemClock),
  })
  t.same(books.problems, [])
  t.equal(books.accounts, accounts)

  const steps = new Map<string, Set<string>>()
  await until('the ledger is in the files', () => {
    steps.clear()
    for (const line of ledgers.flatMap(linesOf) as unknown as Line[]) {
      const { account, kind, seq, to, events = [] } = line
      const step = kind === 'status' ? to! : events.map(([name, , ms]) => `${name} ${ms / 86_400_000}`).join()
      if (step === '') continue
      const known = steps.get(account) ?? new Set()
      steps.set(account, known.add(`${seq} ${step}`))
    }
    return [...steps.values()].filter(known => known.size >= 6).length === accounts
  })
  const wanted = ['expires-soon 7', 'expires-soon 1', 'grace', 'suspended', 'terminated', 'recycled']
  for (const [account, known] of steps) {
    const list = [...known].map(step => step.split(/ (.*)/)).sort(([a], [b]) => Number(a) - Number(b))
    if (list.map(([, step]) => step).join() !== wanted.join()) t.same(list, wanted, account)
  }
  t.equal(steps.size, accounts)
})

interface Line {
  readonly account: string
  readonly kind: string
  readonly seq: number
  readonly to?: string
  readonly events?: readonly (readonly [string, string, number])[]
}
