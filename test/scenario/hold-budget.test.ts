/**
 * The store freezes in mid-load. Within the hold budget nobody notices but by the time it takes; beyond it requests are refused
 * with 3004, hold nothing, and what they report is booked once, when it is repeated at the latest.
 */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  aSeed,
  bookDifferences,
  ccrOf,
  grantedIn,
  importSubscribers,
  Load,
  PatientGateway,
  seeded,
  showAccounts,
  wholeLedger,
  type Told,
} from '../support/load.js'
import { OcsdProcess, processFolder, until } from '../support/ocsd-process.js'

const opening = 1_000_000_000n

async function startLoad(t: Test, holdBudget: string) {
  const random = seeded(aSeed(t))
  const folder = processFolder(t, { charging: { holdBudget } })
  const ocsd = await OcsdProcess.start(t, folder)
  const subscribers = await importSubscribers(ocsd, 12)
  const gateways = ['pgw-1.localdomain', 'pgw-2.localdomain'].map(
    name => new PatientGateway(name, [ocsd.address], random),
  )
  t.teardown(() => gateways.forEach(gateway => gateway.close()))
  const load = new Load(gateways, subscribers, random)
  const freeze = (): void => void process.kill(ocsd.redisPid(), 'SIGSTOP')
  const thaw = (): void => void process.kill(ocsd.redisPid(), 'SIGCONT')
  t.teardown(thaw)
  const compare = async (): Promise<void> => {
    t.same((await ocsd.audit()).violations, [], 'the audit finds nothing')
    const accounts = await showAccounts(ocsd, subscribers)
    const ledger = await wholeLedger(accounts, join(folder.data, 'ledger'))
    t.same(bookDifferences(load.sessions, ledger, accounts, opening), [], `${load.answered} answers, three books agree`)
  }
  return { ocsd, gateways, load, freeze, thaw, compare }
}

t.test('3 s without the store are within the hold budget: all are answered 2001, and asked once', async t => {
  const { ocsd, load, freeze, thaw, compare } = await startLoad(t, '9s')
  await load.progress(100)
  t.match(await ocsd.readyz(), { status: 200 }, 'it is ready')
  freeze()
  const thawed = new Promise<void>(resolve =>
    setTimeout(() => {
      thaw()
      resolve()
    }, 3000),
  )
  await until('ocs_store_up is 0', async () => (await ocsd.metric('ocs_store_up')) === 0)
  t.match(await ocsd.readyz(), { status: 200 }, 'still ready: the requests outlast it')
  t.equal((await fetch(`${ocsd.metricsUrl}/healthz`)).status, 200, '/healthz does not care')
  await thawed
  await until('it is ready again', async () => (await ocsd.readyz())?.status === 200)
  await until('ocs_store_up is 1', async () => (await ocsd.metric('ocs_store_up')) === 1)
  await load.progress(100)
  await load.finish()
  t.same(load.errors, [], 'no gateway got an error')
  t.equal(load.repeats, 0, 'and none asked twice')
  t.equal(await ocsd.metric('ocs_ccr_total', 'result="3004"'), 0)
  await compare()
})

t.test('longer than the hold budget: 3004, nothing is held, and usage is booked once', async t => {
  const { ocsd, gateways, load, freeze, thaw, compare } = await startLoad(t, '1500ms')
  // Two sessions that are looked at closely: one open, one that begins while the store is frozen.
  const [witness] = await importSubscribers(ocsd, 1, { first: 491_769_000_000 })
  const account = witness!.msisdn
  const [gateway] = gateways
  const told = (type: Told['type'], number: number, octets: bigint): Told => ({
    type,
    number,
    octets,
    result: undefined,
  })
  const old = { id: gateway!.nextSessionId(), account }
  t.equal((await gateway!.askOnce(ccrOf(old, told('initial', 0, 0n)), 0)).resultCode, 2001)
  await load.progress(100)
  freeze()
  await until('requests are in work', async () => (await ocsd.metric('ocs_inflight_requests')) >= 3)
  const update = ccrOf(old, told('update', 1, 10_000_000n))
  const endToEnd = gateway!.nextEndToEnd()
  const late = await gateway!.askOnce(update, 0, endToEnd)
  t.equal(late.resultCode, 3004, 'a report is answered 3004')
  t.match(late.text('Error-Message'), /\w/, 'with words')
  t.notMatch(late.text('Error-Message'), new RegExp(account), 'that name nobody')
  const young = { id: gateway!.nextSessionId(), account }
  t.equal((await gateway!.askOnce(ccrOf(young, told('initial', 0, 0n)), 0)).resultCode, 3004, 'so is a new session')
  await until('the load met it', () => gateways.some(({ busy }) => busy > 0))
  thaw()
  await until('it is ready again', async () => (await ocsd.readyz())?.status === 200)

  const balances = async (): Promise<bigint[]> => {
    const [shown] = await showAccounts(ocsd, [witness!])
    return [shown!.money, shown!.held]
  }
  const [money, held] = await balances()
  t.ok(money === 1_000_000_000n || money === 999_900_000n, 'the report is booked once or not yet')
  t.equal(held, money === 1_000_000_000n ? 100_000n : 0n, 'nothing new is held')
  const { body } = await ocsd.api('GET', `/v1/sessions?account=${account}`)
  t.same(
    (body['sessions'] as { id: string }[]).map(({ id }) => id),
    [old.id],
    'the new session was not opened',
  )
  const again = await gateway!.askOnce(update, 0, endToEnd, true)
  t.equal(again.resultCode, 2001, 'the repeat is answered')
  t.equal(grantedIn(again), 10_000_000n, 'with a grant')
  t.same(await balances(), [999_900_000n, 100_000n], 'the report is booked once, one grant is held')
  t.equal((await gateway!.askOnce(update, 0, endToEnd, true)).resultCode, 2001, 'one more repeat')
  t.same(await balances(), [999_900_000n, 100_000n], 'changes nothing')
  t.equal((await gateway!.askOnce(ccrOf(old, told('terminate', 2, 0n)), 0)).resultCode, 2001)
  t.same(await balances(), [999_900_000n, 0n], 'at the end nothing is held')

  await load.progress(50)
  await load.finish()
  t.same(load.errors, [], 'repeats of the gateways got their answers in the end')
  t.ok((await ocsd.metric('ocs_ccr_total', 'result="3004"')) > 0, '3004s are counted')
  await compare()
})
