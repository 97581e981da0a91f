/**
 * Two daemons on one Redis are as one: whichever a request reaches, or both, or one that dies over it, it is charged once and
 * always gets the same answer (the reference flows F13 and F13b are in here).
 */
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { Journal } from '../../src/balance/journal.js'
import { Snapshot } from '../../src/balance/snapshot.js'
import { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import { audit, type AuditResult } from '../../src/ledger/audit.js'
import type { CcrInput } from '../../src/simulator/ccr.js'
import type { Message } from '../../src/simulator/message.js'
import {
  aSeed,
  bookDifferences,
  ccrOf,
  grantedIn,
  importSubscribers,
  Load,
  PatientGateway,
  paygCost,
  seeded,
  showAccounts,
  wholeLedger,
  type Places,
  type Told,
} from '../support/load.js'
import { OcsdProcess, processFolder, startTcpRedis, until, type ProcessFolder } from '../support/ocsd-process.js'
import { startProxy } from '../support/proxy.js'
import { noMetrics } from '../support/store.js'

const opening = 1_000_000_000n
const partitions = 16

const { redis, url } = await startTcpRedis(t)
/** The first daemon reaches the store through it. */
const proxy = await startProxy(t, redis.socket)
const folderOf = (name: string, store: string): ProcessFolder =>
  processFolder(t, {
    diameter: { identity: `${name}.localdomain` },
    store: { kind: 'url', url: store, durability: 'memory', partitions },
    charging: { sessionFailover: true },
  })
const folders = [folderOf('ocs1', `redis://127.0.0.1:${proxy.port}`), folderOf('ocs2', url)] as const
const daemons = await Promise.all([OcsdProcess.start(t, folders[0]), OcsdProcess.start(t, folders[1])])
const places: Places = daemons.map(({ address }) => address)
const store = new Store({
  config: { kind: 'embedded', durability: 'memory', partitions },
  address: { socket: redis.socket },
  log: pino({ level: 'silent' }),
  metrics: noMetrics,
  clock: systemClock,
})
await store.open(5000)
t.teardown(() => store.close())

/** Of both ledger folders. */
const auditBoth = (): Promise<AuditResult> =>
  audit({
    directories: folders.map(({ data }) => join(data, 'ledger')),
    journal: new Journal(store, partitions, systemClock),
    snapshot: new Snapshot(store, partitions, systemClock),
  })

async function killFirst(): Promise<void> {
  places[0] = undefined
  await daemons[0].kill('SIGKILL')
  proxy.cut()
}

async function startFirst(): Promise<void> {
  proxy.thaw()
  daemons[0] = await OcsdProcess.start(t, folders[0])
  places[0] = daemons[0].address
}

/** Everything but the node that says it. */
const contentOf = (answer: Message): unknown => answer.list.filter(({ name }) => name !== 'Origin-Host')

t.test('any race between two daemons ends as one charge and one answer, also when one of them is killed', async t => {
  const random = seeded(aSeed(t))
  const subscribers = await importSubscribers(daemons[0], 10)
  const gateways = ['pgw-1.localdomain', 'pgw-2.localdomain'].map(name => new PatientGateway(name, places, random))
  const different: string[] = []
  const raced = { together: 0, repeated: 0 }

  /** Each request goes to either of them, to both at the same instant, or to one and then with the T bit to the other. */
  const askAround = async (gateway: PatientGateway, ccr: CcrInput): Promise<Message> => {
    const roll = random()
    if (roll < 0.4) return gateway.ask(ccr)
    const endToEnd = gateway.nextEndToEnd()
    const [one, other] = random() < 0.5 ? [0, 1] : [1, 0]
    const answers: Message[] = []
    const keep = (answer: Message): unknown => answers.push(answer)
    const lost = (): void => undefined
    if (roll < 0.7) {
      await Promise.all([one, other].map(way => gateway.askOnce(ccr, way, endToEnd, way === 1).then(keep, lost)))
    } else {
      await gateway.askOnce(ccr, one, endToEnd).then(keep, lost)
      await gateway.askOnce(ccr, other, endToEnd, true).then(keep, lost)
    }
    const [first, second] = answers
    if (!first) return gateway.ask(ccr, endToEnd)
    if (second) {
      raced[roll < 0.7 ? 'together' : 'repeated']++
      if (JSON.stringify(contentOf(first), replacer) !== JSON.stringify(contentOf(second), replacer)) {
        different.push(`${ccr.sessionId} ${ccr.number}: ${first.resultCode}, ${second.resultCode}`)
      }
    }
    return first
  }
  const load = new Load(gateways, subscribers, random, askAround)

  await load.progress(200)
  t.same((await auditBoth()).problems, [], 'the audit finds nothing in mid-load')
  await killFirst()
  await load.progress(100)
  await startFirst()
  await load.progress(200)
  await load.finish()

  t.same(load.errors, [], 'no gateway got an error')
  t.same(different, [], 'two answers to one request are the same')
  t.ok(
    raced.together > 50 && raced.repeated > 50,
    `${raced.together} requests at both at once, ${raced.repeated} again`,
  )
  const [one, two] = await Promise.all(daemons.map(each => each.metric('ocs_duplicates_total')))
  t.ok(one! > 0 && two! > 0, `${one} and ${two} stored answers were sent`)
  const accounts = await showAccounts(daemons[1], subscribers)
  const ledger = await wholeLedger(accounts, ...folders.map(({ data }) => join(data, 'ledger')))
  t.same(
    bookDifferences(load.sessions, ledger, accounts, opening),
    [],
    `${load.answered} answers, and three books agree`,
  )
  const { problems, accounts: audited } = await auditBoth()
  t.same(problems, [], 'the audit over both ledgers finds nothing')
  t.equal(audited, subscribers.length, 'in any account')
  gateways.forEach(gateway => gateway.close())
})

const replacer = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value)

t.test('many sessions on one small balance get together what it pays, not more, whoever grants', async t => {
  const random = seeded(aSeed(t))
  // 0.30 EUR are 30 MB, three grants of 10 MB.
  const [subscriber] = await importSubscribers(daemons[0], 1, { balance: '0.30', first: 491_761_000_000 })
  const gateway = new PatientGateway('pgw-1.localdomain', places, random)
  await gateway.connect()
  const account = subscriber!.msisdn
  const sessions = Array.from({ length: 12 }, () => ({ id: gateway.nextSessionId(), account }))
  const initial: Told = { type: 'initial', number: 0, octets: 0n, result: undefined }
  const answers = await Promise.all(sessions.map((session, i) => gateway.askOnce(ccrOf(session, initial), i % 2)))
  const grants = answers.map(grantedIn)
  t.equal(
    grants.reduce((sum, units) => sum + units, 0n),
    30_000_000n,
    'together they have 30 MB',
  )
  t.same(
    answers.map(({ resultCode }) => resultCode).sort(),
    grants.map(units => (units > 0n ? 2001 : 4012)).sort(),
    'who gets nothing is refused',
  )
  const [held] = await showAccounts(daemons[1], [subscriber!])
  t.same([held!.money, held!.held], [300_000n, 300_000n], 'all of the money is held')
  t.same((await auditBoth()).problems, [], 'the audit finds nothing')

  // Everybody reports to the other daemon.
  const used = await Promise.all(
    sessions.map(async (session, i) => {
      if (grants[i] === 0n) return 0n
      const octets = BigInt(Math.floor(Number(grants[i]) * random()))
      const told: Told = { type: 'terminate', number: 1, octets, result: undefined }
      t.equal((await gateway.askOnce(ccrOf(session, told), (i + 1) % 2)).resultCode, 2001, 'a report is taken')
      return octets
    }),
  )
  const [left] = await showAccounts(daemons[0], [subscriber!])
  t.equal(left!.money, 300_000n - used.reduce((sum, octets) => sum + paygCost(octets), 0n), 'each pays for itself')
  t.equal(left!.held, 0n, 'nothing is held')
  t.same((await auditBoth()).problems, [], 'the audit finds nothing')
  gateway.close()
})

const deaths = [
  { when: 'after the commit, before the answer leaves (F13)', committed: true, first: 491_762_000_000 },
  { when: 'before the commit (F13b)', committed: false, first: 491_763_000_000 },
]
for (const { when, committed, first } of deaths) {
  t.test(`a daemon dies ${when}: the gateway asks the other one, and pays once`, async t => {
    const [subscriber] = await importSubscribers(daemons[1], 1, { balance: '10.00', first })
    const gateway = new PatientGateway('pgw-1.localdomain', places, seeded(1))
    await gateway.connect()
    const storedBefore = await daemons[1].metric('ocs_duplicates_total')
    const session = { id: gateway.nextSessionId(), account: subscriber!.msisdn }
    const request = (type: Told['type'], number: number, octets: bigint): CcrInput =>
      ccrOf(session, { type, number, octets, result: undefined })
    const balances = async (): Promise<bigint[]> => {
      const [account] = await showAccounts(daemons[1], [subscriber!])
      return [account!.money, account!.held]
    }
    t.equal((await gateway.askOnce(request('initial', 0, 0n), 0)).resultCode, 2001)
    t.equal((await gateway.askOnce(request('update', 1, 10_000_000n), 0)).resultCode, 2001)
    t.same(await balances(), [9_900_000n, 100_000n], '0.10 EUR are paid, and 0.10 EUR held for the next grant')

    if (!committed) proxy.freeze()
    const replyLost = committed ? proxy.swallowReplies() : undefined
    const endToEnd = gateway.nextEndToEnd()
    const unanswered = gateway.askOnce(request('update', 2, 10_000_000n), 0, endToEnd).then(
      () => 'answered',
      (error: unknown) => (error as Error).name,
    )
    if (replyLost) {
      await replyLost
      await until('the charge is booked', async () => (await balances())[0] === 9_800_000n)
    } else {
      await until('the request is in work', async () => (await daemons[0].metric('ocs_inflight_requests')) === 1)
    }
    t.same(await balances(), committed ? [9_800_000n, 100_000n] : [9_900_000n, 100_000n], 'at the moment of its death')
    await killFirst()
    t.equal(await unanswered, 'ConnectionLostError', 'the gateway sees the connection end')

    const answer = await gateway.askOnce(request('update', 2, 10_000_000n), 1, endToEnd, true)
    t.equal(answer.resultCode, 2001)
    t.equal(answer.text('Origin-Host'), 'ocs2.localdomain', 'the other one answers')
    t.equal(answer.header.endToEnd, endToEnd, 'the same request')
    t.equal(grantedIn(answer), 10_000_000n, 'with the grant')
    t.same(await balances(), [9_800_000n, 100_000n], 'that was charged once')
    const stored = (await daemons[1].metric('ocs_duplicates_total')) - storedBefore
    t.equal(stored, committed ? 1 : 0, 'first, or as stored')

    t.equal((await gateway.askOnce(request('update', 3, 10_000_000n), 1)).resultCode, 2001, 'the session goes on there')
    t.equal((await gateway.askOnce(request('terminate', 4, 5_000_000n), 1)).resultCode, 2001)
    t.same(await balances(), [9_650_000n, 0n], 'and ends there')
    t.same((await auditBoth()).problems, [], 'the audit finds nothing')
    gateway.close()
    await startFirst()
  })
}
