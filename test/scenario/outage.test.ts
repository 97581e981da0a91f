/**
 * CC-031: the store is away for longer than a request is held. What was reported is on the disk when it is answered, and is
 * booked once when the store is back, whoever is killed in between.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { NoAnswerError } from '../../src/simulator/gateway.js'
import {
  aSeed,
  bundleOctets,
  ccrOf,
  grantedIn,
  importSubscribers,
  PatientGateway,
  paygCost,
  seeded,
  showAccounts,
  wholeLedger,
  type Subscriber,
  type Told,
} from '../support/load.js'
import { OcsdProcess, processFolder, until, type ProcessFolder } from '../support/ocsd-process.js'

const opening = 1_000_000_000n

const told = (type: Told['type'], number: number, octets: bigint): Told => ({ type, number, octets, result: undefined })

const peer = (name: string, profile: object = {}) => ({
  name,
  identity: `${name}.localdomain`,
  from: ['127.0.0.0/8'],
  profile,
})

function aFolder(t: Test, charging: object = {}): ProcessFolder {
  return processFolder(t, {
    diameter: { peers: [peer('pgw-1'), peer('pgw-2', { onOutage: 'silent' })] },
    store: { durability: 'disk' },
    charging: { holdBudget: '1s', ...charging },
  })
}

const segments = ({ data }: ProcessFolder): string[] =>
  existsSync(join(data, 'spool')) ? readdirSync(join(data, 'spool')).filter(name => /^\d/.test(name)) : []

/** What each account paid, and that books and balances agree; `used` by account, in all of its one session. */
async function checkBooks(
  t: Test,
  ocsd: OcsdProcess,
  { data }: ProcessFolder,
  subscribers: readonly Subscriber[],
  used: ReadonlyMap<string, bigint>,
): Promise<void> {
  t.same((await ocsd.audit()).violations, [], 'the audit finds nothing')
  const accounts = await showAccounts(ocsd, subscribers)
  const ledger = await wholeLedger(accounts, join(data, 'ledger'))
  for (const [i, { msisdn, offer }] of subscribers.entries()) {
    const { money, held, debt, buckets } = accounts[i]!
    const octets = used.get(msisdn) ?? 0n
    if (offer === 'payg') t.same([money, debt], [opening - paygCost(octets), 0n], `${octets} octets are paid once`)
    else t.equal(buckets[0]!.amount, bundleOctets - octets, `${octets} octets are taken once`)
    t.equal(held, 0n, 'nothing is held')
    const reports = ledger.filter(({ account, kind }) => account === msisdn && kind === 'charge')
    const numbers = reports.filter(({ lines }) => lines.some(line => (line.used ?? 0) > 0)).map(({ number }) => number)
    t.equal(new Set(numbers).size, numbers.length, 'no number is booked twice')
  }
}

t.test('reports of an outage are booked once, though store and daemon are killed again and again', async t => {
  const random = seeded(aSeed(t))
  const folder = aFolder(t)
  let ocsd = await OcsdProcess.start(t, folder)
  const places = [ocsd.address]
  const subscribers = await importSubscribers(ocsd, 8)
  const gateway = new PatientGateway('pgw-1.localdomain', places, random)
  t.teardown(() => gateway.close())
  const sessions = subscribers.map(({ msisdn }) => ({ id: gateway.nextSessionId(), account: msisdn }))
  for (const session of sessions) {
    t.equal((await gateway.askOnce(ccrOf(session, told('initial', 0, 0n)), 0)).resultCode, 2001)
  }

  process.kill(ocsd.redisPid(), 'SIGSTOP')
  const used = new Map<string, bigint>()
  const updates = 12
  const octets = 30_001n
  const asks = sessions.flatMap(session => {
    used.set(session.account, octets * BigInt(updates) + 7n)
    const numbers = Array.from({ length: updates }, (_, i) => told('update', i + 1, octets))
    return [...numbers, told('terminate', updates + 1, 7n)].map(each => gateway.askOnce(ccrOf(session, each), 0))
  })
  for (const answer of await Promise.all(asks)) t.equal(answer.resultCode, 3004)
  const reports = asks.length
  t.equal(await ocsd.metric('ocs_spool_entries'), reports, 'each is in the spool')
  t.equal(await ocsd.metric('ocs_spool_reports_total', 'outcome="kept"'), reports)
  await until('they age', async () => (await ocsd.metric('ocs_spool_oldest_seconds')) > 0)
  const { body } = await ocsd.api('GET', '/v1/status')
  t.match(body['spool'], { entries: reports }, 'the status shows them')

  // Both are killed; what the store took before it froze, or after, nobody knows.
  const redis = ocsd.redisPid()
  await ocsd.kill('SIGKILL')
  process.kill(redis, 'SIGKILL')
  let starts = 0
  for (let left = 1; left > 0; starts++) {
    ocsd = await OcsdProcess.start(t, folder)
    if (starts < 3) {
      // In the middle of the booking, by chance.
      const goal = Math.floor(random() * reports)
      await until('some are booked', async () => (await ocsd.metric('ocs_spool_booked_total')) >= Math.min(goal, 3))
      if (starts === 1) process.kill(ocsd.redisPid(), 'SIGKILL')
      await ocsd.kill('SIGKILL')
      continue
    }
    await until('all are booked', async () => (await ocsd.metric('ocs_spool_entries')) === 0)
    left = 0
  }
  t.equal(await ocsd.metric('ocs_spool_booked_total', 'result="rejected"'), 0)
  await until('the spool is empty', () => segments(folder).length === 0)
  await checkBooks(t, ocsd, folder, subscribers, used)

  places[0] = ocsd.address
  const again = new PatientGateway('pgw-1.localdomain', places, random)
  t.teardown(() => again.close())
  const repeat = ccrOf(sessions[0]!, told('terminate', updates + 1, 7n))
  t.equal((await again.askOnce(repeat, 0, again.nextEndToEnd(), true)).resultCode, 2001, 'a repeat is answered')
  await checkBooks(t, ocsd, folder, subscribers, used)
})

t.test(
  'a repeat after the booking is granted and books nothing; `onOutage: silent` leaves an update unanswered',
  async t => {
    const random = seeded(aSeed(t))
    const folder = aFolder(t)
    const ocsd = await OcsdProcess.start(t, folder)
    const subscribers = await importSubscribers(ocsd, 4)
    const gateways = ['pgw-1.localdomain', 'pgw-2.localdomain'].map(
      name => new PatientGateway(name, [ocsd.address], random, 3_000),
    )
    t.teardown(() => gateways.forEach(gateway => gateway.close()))
    const [answered, silent] = gateways
    const open = async (gateway: PatientGateway, { msisdn }: Subscriber) => {
      const session = { id: gateway.nextSessionId(), account: msisdn }
      t.equal((await gateway.askOnce(ccrOf(session, told('initial', 0, 0n)), 0)).resultCode, 2001)
      return session
    }
    const first = await open(answered!, subscribers[0]!)
    const second = await open(silent!, subscribers[2]!)
    const third = await open(silent!, subscribers[3]!)

    process.kill(ocsd.redisPid(), 'SIGSTOP')
    const update = (session: typeof first, number = 1) => ccrOf(session, told('update', number, 250_000n))
    const endToEnd = answered!.nextEndToEnd()
    const asked = [
      answered!.askOnce(update(first), 0, endToEnd).then(({ resultCode }) => resultCode),
      silent!.askOnce(update(second), 0).then(
        ({ resultCode }) => resultCode,
        (error: unknown) => error instanceof NoAnswerError,
      ),
      silent!.askOnce(ccrOf(third, told('terminate', 1, 250_000n)), 0).then(({ resultCode }) => resultCode),
    ]
    t.same(await Promise.all(asked), [3004, true, 3004], 'only the update of the silent profile is not answered')
    t.equal(await ocsd.metric('ocs_spool_entries'), 3)
    process.kill(ocsd.redisPid(), 'SIGCONT')
    await until('all are booked', async () => (await ocsd.metric('ocs_spool_entries')) === 0)
    t.equal(await ocsd.metric('ocs_spool_booked_total', 'result="booked"'), 3)
    await checkBooks(
      t,
      ocsd,
      folder,
      subscribers,
      new Map([first, second, third].map(({ account }) => [account, 250_000n] as const)),
    )
    const repeat = await answered!.askOnce(update(first), 0, endToEnd, true)
    t.equal(repeat.resultCode, 2001)
    t.ok(grantedIn(repeat) > 0n, 'the repeat gets a grant')
    const next = await silent!.askOnce(update(second, 2), 0)
    t.equal(next.resultCode, 2001, 'and the session that was not answered goes on')
    t.equal((await answered!.askOnce(ccrOf(first, told('terminate', 2, 0n)), 0)).resultCode, 2001)
    t.equal((await silent!.askOnce(ccrOf(second, told('terminate', 3, 0n)), 0)).resultCode, 2001)
    await checkBooks(
      t,
      ocsd,
      folder,
      subscribers,
      new Map([
        [first.account, 250_000n],
        [second.account, 500_000n],
        [third.account, 250_000n],
      ]),
    )
    t.same(await ocsd.kill('SIGTERM'), { code: 0, signal: null }, 'and the daemon ends as it should')
  },
)

t.test('a spool that is full: the requests are answered, and that usage gets lost is told', async t => {
  const random = seeded(aSeed(t))
  const folder = aFolder(t, { spool: '4096B' })
  const ocsd = await OcsdProcess.start(t, folder)
  const subscribers = await importSubscribers(ocsd, 1)
  const gateway = new PatientGateway('pgw-1.localdomain', [ocsd.address], random)
  t.teardown(() => gateway.close())
  const session = { id: gateway.nextSessionId(), account: subscribers[0]!.msisdn }
  t.equal((await gateway.askOnce(ccrOf(session, told('initial', 0, 0n)), 0)).resultCode, 2001)
  process.kill(ocsd.redisPid(), 'SIGSTOP')
  const updates = Array.from({ length: 20 }, (_, i) => ccrOf(session, told('update', i + 1, 1_000n)))
  for (const answer of await Promise.all(updates.map(update => gateway.askOnce(update, 0)))) {
    t.equal(answer.resultCode, 3004)
  }
  const kept = await ocsd.metric('ocs_spool_reports_total', 'outcome="kept"')
  const full = await ocsd.metric('ocs_spool_reports_total', 'outcome="full"')
  t.ok(kept > 0 && full > 0 && kept + full === 20, `${kept} kept, ${full} not`)
  t.match(ocsd.stdout + ocsd.stderr, /spool_full/)
  process.kill(ocsd.redisPid(), 'SIGCONT')
  await until('what is kept is booked', async () => (await ocsd.metric('ocs_spool_entries')) === 0)
  await until('it is ready', async () => (await ocsd.readyz())?.status === 200)
  t.same((await ocsd.audit()).violations, [])
})
