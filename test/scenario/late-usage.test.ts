/** Usage that is reported for a session that has ended: charged, or, where the peer's profile says so, only in the ledger. */
import { join } from 'node:path'
import t from 'tap'
import {
  ccrOf,
  importSubscribers,
  PatientGateway,
  paygCost,
  showAccounts,
  wholeLedger,
  type Told,
} from '../support/load.js'
import { OcsdProcess, processFolder } from '../support/ocsd-process.js'

const opening = 1_000_000_000n
const told = (type: Told['type'], number: number, octets: bigint): Told => ({ type, number, octets, result: undefined })

t.test(
  '`lateUsage: record` writes late usage to the ledger and charges nothing; `charge` charges it, both once',
  async t => {
    const row = (name: string, lateUsage: string) => ({
      name,
      identity: `${name}.localdomain`,
      from: ['127.0.0.0/8'],
      profile: { lateUsage },
    })
    const folder = processFolder(t, { diameter: { peers: [row('pgw-1', 'charge'), row('pgw-2', 'record')] } })
    const ocsd = await OcsdProcess.start(t, folder)
    const subscribers = [
      ...(await importSubscribers(ocsd, 1)),
      ...(await importSubscribers(ocsd, 1, { first: 491_770_000_000 })),
    ]
    for (const [i, name] of ['pgw-1.localdomain', 'pgw-2.localdomain'].entries()) {
      const gateway = new PatientGateway(name, [ocsd.address], Math.random)
      t.teardown(() => gateway.close())
      const session = { id: gateway.nextSessionId(), account: subscribers[i]!.msisdn }
      const ask = async (each: Told, again = false): Promise<number> =>
        (await gateway.askOnce(ccrOf(session, each), 0, gateway.nextEndToEnd(), again)).resultCode
      t.equal(await ask(told('initial', 0, 0n)), 2001)
      t.equal(await ask(told('terminate', 1, 100_000n)), 2001)
      t.equal(await ask(told('update', 2, 250_000n)), 5002)
      t.equal(await ask(told('update', 2, 250_000n), true), 5002, 'a repeat changes nothing')
    }
    const accounts = await showAccounts(ocsd, subscribers)
    t.same(
      accounts.map(({ money, held, debt }) => [money, held, debt]),
      [
        [opening - paygCost(350_000n), 0n, 0n],
        [opening - paygCost(100_000n), 0n, 0n],
      ],
    )
    const ledger = await wholeLedger(accounts, join(folder.data, 'ledger'))
    const late = ledger.filter(({ number }) => number === 2)
    t.match(
      late.map(({ account, outcome, posts, lines }) => [account, outcome, posts.length > 0, lines]),
      [
        [subscribers[0]!.msisdn, 'ended', true, [{ used: 250_000 }]],
        [subscribers[1]!.msisdn, 'ended', false, [{ used: 250_000, unpaid: 250_000 }]],
      ],
    )
    t.same((await ocsd.audit()).violations, [], 'the audit finds nothing')
  },
)
