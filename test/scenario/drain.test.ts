/** A daemon that is told to end lets nobody wait: it answers, says good-bye, and goes; told twice, it goes at once. */
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import {
  aSeed,
  bookDifferences,
  ccrOf,
  importSubscribers,
  Load,
  PatientGateway,
  seeded,
  showAccounts,
  wholeLedger,
  type Places,
} from '../support/load.js'
import { OcsdProcess, processFolder, startTcpRedis, until } from '../support/ocsd-process.js'

const opening = 1_000_000_000n
const rebooting = 0

/** The error's code, or `connected`. */
const tryToConnect = ({ address }: OcsdProcess): Promise<string> =>
  new Promise(resolve => {
    const socket = connect(address)
    socket.once('connect', () => {
      socket.destroy()
      resolve('connected')
    })
    socket.once('error', error => resolve((error as NodeJS.ErrnoException).code!))
  })

const random = seeded(aSeed(t))
const folder = processFolder(t, { charging: { holdBudget: '5s' } })
let ocsd = await OcsdProcess.start(t, folder)
const places: Places = [ocsd.address]
const subscribers = await importSubscribers(ocsd, 12)
const gateways = Array.from({ length: 4 }, (_, i) => new PatientGateway(`pgw-${i}.localdomain`, places, random))
const load = new Load(gateways, subscribers, random)

/** Freezes the store under load, so that requests are surely in work. Gives its process id. */
async function requestsInWork(): Promise<number> {
  await load.progress(100)
  const redis = ocsd.redisPid()
  process.kill(redis, 'SIGSTOP')
  await until('requests are in work', async () => (await ocsd.metric('ocs_inflight_requests')) >= 3)
  return redis
}

async function startAgain(): Promise<void> {
  ocsd = await OcsdProcess.start(t, folder)
  places[0] = ocsd.address
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} under load: all is answered, every peer is told, and it ends with 0`, async t => {
    for (const { goodbyes } of gateways) goodbyes.length = 0
    const redis = await requestsInWork()
    t.match(await ocsd.readyz(), { status: 200, reasons: [] }, 'it is ready before')
    const begin = Date.now()
    ocsd.signal(signal)
    await until('it drains', async () => (await ocsd.readyz())?.status === 503)
    t.match(
      await ocsd.readyz(),
      { status: 503, reasons: [{ name: 'draining', reason: 'the daemon is shutting down' }] },
      '/readyz says that it is not, and why',
    )
    t.equal(await ocsd.metric('ocs_draining'), 1, 'so do the metrics')
    t.equal(await tryToConnect(ocsd), 'ECONNREFUSED', 'nobody else may come')
    t.same(
      gateways.map(({ goodbyes }) => goodbyes),
      gateways.map(() => []),
      'no good-bye before the answers',
    )
    process.kill(redis, 'SIGCONT')
    t.same(await ocsd.ended, { code: 0, signal: null }, 'exit status 0')
    t.ok(Date.now() - begin < 10_000, 'within 10 s')
    t.same(
      gateways.map(({ goodbyes }) => goodbyes),
      gateways.map(() => [rebooting]),
      'each peer got one DPR: REBOOTING',
    )
    t.equal(load.repeats, 0, 'every request was answered')
    t.same(load.errors, [], 'and none with an error')
    await startAgain()
  })
}

t.test('a second SIGTERM ends it at once with 1, and what it left is done by the next', async t => {
  const redis = await requestsInWork()
  ocsd.signal('SIGTERM')
  await until('it drains', async () => (await ocsd.readyz())?.status === 503)
  t.same(await ocsd.kill('SIGTERM'), { code: 1, signal: null }, 'exit status 1 with the store still frozen')
  t.match(ocsd.stderr, /SIGTERM again: ending at once, with requests in work/, 'and it says so')
  process.kill(redis, 'SIGCONT')
  await startAgain()
  await load.progress(50)
  t.ok(load.repeats > 0, 'the gateways had to repeat')
  t.same(load.errors, [], 'but got no error')
})

t.test('three ends later three books agree', async t => {
  await load.finish()
  const accounts = await showAccounts(ocsd, subscribers)
  const ledger = await wholeLedger(accounts, join(folder.data, 'ledger'))
  t.same(bookDifferences(load.sessions, ledger, accounts, opening), [], `${load.answered} answers`)
  t.same((await ocsd.audit()).violations, [], 'the audit finds nothing')
  t.same(await ocsd.kill('SIGTERM'), { code: 0, signal: null }, 'idle gateways do not hold it up')
  gateways.forEach(gateway => gateway.close())
})

t.test('a store that does not answer any more does not hold up the end', async t => {
  const { redis, url } = await startTcpRedis(t)
  const folder = processFolder(t, {
    store: { kind: 'url', url, durability: 'memory' },
    charging: { holdBudget: '1s' },
  })
  const ocsd = await OcsdProcess.start(t, folder)
  const [subscriber] = await importSubscribers(ocsd, 1)
  const gateway = new PatientGateway('pgw-1.localdomain', [ocsd.address], random)
  await gateway.connect()
  const session = { id: gateway.nextSessionId(), account: subscriber!.msisdn }
  redis.process.kill('SIGSTOP')
  const answer = gateway.askOnce(ccrOf(session, { type: 'initial', number: 0, octets: 0n, result: undefined }), 0)
  await until('the request is in work', async () => (await ocsd.metric('ocs_inflight_requests')) === 1)
  const begin = Date.now()
  t.same(await ocsd.kill('SIGTERM'), { code: 0, signal: null }, 'exit status 0')
  t.ok(Date.now() - begin < 10_000, 'within 10 s')
  t.equal((await answer).resultCode, 3004, 'the request in work was answered at the end of its budget')
  t.same(gateway.goodbyes, [rebooting], 'and the peer was told')
  gateway.close()
})
