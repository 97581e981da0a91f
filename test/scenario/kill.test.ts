/** What is left of the charges when processes are killed in mid-load: all of them, each once. */
import { join } from 'node:path'
import t from 'tap'
import {
  aSeed,
  bookDifferences,
  importSubscribers,
  Load,
  PatientGateway,
  seeded,
  showAccounts,
  wholeLedger,
  type AccountShown,
  type LedgerEntry,
  type Places,
  type SessionBook,
  type Told,
} from '../support/load.js'
import { OcsdProcess, processFolder, until } from '../support/ocsd-process.js'

const opening = 1_000_000_000n

t.test('kill -9 of the daemon in mid-load, again and again, loses no charge and books none twice', async t => {
  const random = seeded(aSeed(t))
  const folder = processFolder(t)
  let ocsd = await OcsdProcess.start(t, folder)
  const places: Places = [ocsd.address]
  const subscribers = await importSubscribers(ocsd, 12)
  const gateways = ['pgw-1.localdomain', 'pgw-2.localdomain'].map(name => new PatientGateway(name, places, random))
  const load = new Load(gateways, subscribers, random)

  const kills = 3
  for (let i = 0; i < kills; i++) {
    await load.progress(150 + Math.floor(random() * 100))
    places[0] = undefined
    t.match(await ocsd.kill('SIGKILL'), { code: null, signal: 'SIGKILL' }, 'the daemon is dead')
    ocsd = await OcsdProcess.start(t, folder)
    places[0] = ocsd.address
  }
  await load.progress(150)
  const repeated = await ocsd.metric('ocs_ccr_total', 'outcome="duplicate"')
  await load.finish()

  t.same(load.errors, [], 'no gateway got an error')
  t.ok(
    load.repeats >= kills,
    `${load.repeats} requests were repeated with the T bit, ${repeated} of the last answered before`,
  )
  t.same((await ocsd.audit()).violations, [], 'the audit finds nothing')
  const accounts = await showAccounts(ocsd, subscribers)
  const ledger = await wholeLedger(accounts, join(folder.data, 'ledger'))
  t.same(
    bookDifferences(load.sessions, ledger, accounts, opening),
    [],
    `${load.answered} answers, and three books agree`,
  )
  const { body } = await ocsd.api('GET', '/v1/sessions?limit=1000')
  t.same(body['sessions'], [], 'no session is open, so nothing is held')
  t.same(await ocsd.kill('SIGTERM'), { code: 0, signal: null }, 'and it ends as it should')
  gateways.forEach(gateway => gateway.close())
})

t.test(
  'kill -9 of the embedded redis-server in mid-load: requests wait for it, and none is lost or booked twice',
  async t => {
    const random = seeded(aSeed(t))
    const folder = processFolder(t, { store: { durability: 'disk' } })
    const ocsd = await OcsdProcess.start(t, folder)
    const subscribers = await importSubscribers(ocsd, 12)
    const gateways = ['pgw-1.localdomain', 'pgw-2.localdomain'].map(
      name => new PatientGateway(name, [ocsd.address], random),
    )
    const load = new Load(gateways, subscribers, random)

    const kills = 3
    for (let i = 0; i < kills; i++) {
      await load.progress(100 + Math.floor(random() * 50))
      const pid = ocsd.redisPid()
      process.kill(pid, 'SIGKILL')
      await until('redis-server runs again', () => ocsd.redisPid() !== pid)
    }
    await load.progress(100)
    await load.finish()

    t.same(load.errors, [], 'no gateway got an error')
    t.equal(load.repeats, 0, 'and none had to ask twice: the daemon held their requests')
    t.ok((await ocsd.metric('ocs_store_retries_total')) > 0, 'it sent some of them to the store again')
    t.equal(await ocsd.metric('ocs_store_restarts_total'), kills, 'it counts the deaths of its store')
    t.same((await ocsd.audit()).violations, [], 'the audit finds nothing')
    const accounts = await showAccounts(ocsd, subscribers)
    const ledger = await wholeLedger(accounts, join(folder.data, 'ledger'))
    t.same(
      bookDifferences(load.sessions, ledger, accounts, opening),
      [],
      `${load.answered} answers, and three books agree`,
    )

    // The same comparison must see what these tests are for.
    for (const { name, change, finds } of controls) {
      const books = structuredClone({ sessions: load.sessions, ledger, accounts })
      change(books)
      t.match(bookDifferences(books.sessions, books.ledger, books.accounts, opening).join('\n'), finds, name)
    }
    gateways.forEach(gateway => gateway.close())
  },
)

type Changeable<T> = { -readonly [K in keyof T]: T[K] }
interface Books {
  sessions: SessionBook[]
  ledger: LedgerEntry[]
  accounts: AccountShown[]
}

const aReport = ({ sessions }: Books): Changeable<Told> =>
  sessions.flatMap(({ requests }) => requests).find(({ type, octets }) => type === 'update' && octets > 0n)!

const controls: { name: string; change: (books: Books) => unknown; finds: RegExp }[] = [
  {
    name: 'a report that no gateway sent is noticed',
    change: books => books.sessions[0]!.requests.pop(),
    finds: /: in the ledger, in no gateway's book/,
  },
  {
    name: 'a report of which the ledger knows nothing is noticed',
    change: ({ ledger }) =>
      ledger.splice(
        ledger.findIndex(({ number }) => number === 1),
        1,
      ),
    finds: /\(\w+\): 0 ledger entries/,
  },
  {
    name: 'a charge that stands in the ledger twice is noticed',
    change: ({ ledger }) => ledger.push({ ...ledger.find(({ number }) => number === 1)!, id: '0-0' }),
    finds: /\(\w+\): 2 ledger entries/,
  },
  {
    name: 'one octet is noticed',
    change: books => (aReport(books).octets += 1n),
    finds: /octets used, \d+ in the ledger/,
  },
  {
    name: 'one micro is noticed',
    change: ({ accounts }) => ((accounts[0] as Changeable<AccountShown>).money += 1n),
    finds: /its money by the gateways is \d+, not \d+/,
  },
  {
    name: 'an open hold is noticed',
    change: ({ accounts }) => ((accounts[0] as Changeable<AccountShown>).held = 1n),
    finds: /what is held is 1, not 0/,
  },
  {
    name: 'an answer that did not come is noticed',
    change: books => (aReport(books).result = undefined),
    finds: /answered never/,
  },
]
