/** Catalogs are changed under load: nobody gets an error, a bad one changes nothing, and what was granted keeps its price. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  aSeed,
  bookDifferences,
  ccrOf,
  importSubscribers,
  Load,
  PatientGateway,
  paygCost,
  readLedger,
  seeded,
  showAccounts,
  wholeLedger,
  type Told,
} from '../support/load.js'
import { OcsdProcess, processFolder, startTcpRedis, until, type ProcessFolder } from '../support/ocsd-process.js'

const opening = 1_000_000_000n

/** Puts a price of data into the catalog, as an editor does: the file is there whole, or not yet. */
function setPrice({ catalog }: ProcessFolder, price: string): void {
  const text = readFileSync(catalog, 'utf8').replace(/(data-payg: .*) pr[iy]ce: '[^']*'/, `$1 ${price}`)
  writeFileSync(`${catalog}.new`, text)
  renameSync(`${catalog}.new`, catalog)
}

/** SIGHUP; resolves when it was acted on. */
async function reload(ocsd: OcsdProcess): Promise<void> {
  const before = await ocsd.metric('ocs_catalog_reload_total')
  ocsd.signal('SIGHUP')
  await until('the catalog was read', async () => (await ocsd.metric('ocs_catalog_reload_total')) > before)
}

const versionInMetrics = async (ocsd: OcsdProcess): Promise<string | undefined> =>
  /^ocs_catalog_info\{version="(\w+)"\} 1$/m.exec(await ocsd.metrics())?.[1]

const cheap = `price: '0.01'`
const dear = `price: '0.02'`
const wrong = `pryce: '0.01'`

t.test('50 reloads under load, good ones and bad ones: no request gets an error', async t => {
  const random = seeded(aSeed(t))
  const folder = processFolder(t)
  const ocsd = await OcsdProcess.start(t, folder)
  const subscribers = await importSubscribers(ocsd, 10)
  const gateways = ['pgw-1.localdomain', 'pgw-2.localdomain'].map(
    name => new PatientGateway(name, [ocsd.address], random),
  )
  const load = new Load(gateways, subscribers, random)
  await load.progress(20)

  const versions = new Map<string, string | undefined>([[cheap, await versionInMetrics(ocsd)]])
  let current = cheap
  let refused = 0
  const surprises: string[] = []
  for (let i = 1; i <= 50; i++) {
    const price = i % 10 === 0 ? wrong : i % 2 ? dear : cheap
    setPrice(folder, price)
    await reload(ocsd)
    if (price === wrong) refused++
    else current = price
    const version = await versionInMetrics(ocsd)
    if (!versions.has(current)) versions.set(current, version)
    if (version !== versions.get(current)) surprises.push(`reload ${i}: version ${version}`)
  }
  t.same(surprises, [], 'ocs_catalog_info shows the catalog in force, also after a bad one')
  t.not(versions.get(cheap), versions.get(dear), 'each has its version')
  t.equal(await ocsd.metric('ocs_catalog_reload_total', 'result="ok"'), 50 - refused, 'good ones are counted')
  t.equal(await ocsd.metric('ocs_catalog_reload_total', 'result="refused"'), refused, 'bad ones, too')

  setPrice(folder, wrong)
  const text = readFileSync(folder.catalog, 'utf8').split('\n')
  const line = text.findIndex(each => each.includes(wrong))
  const place = `${folder.catalog}:${line + 1}:${text[line]!.indexOf(wrong) + 1}: `
  t.ok(ocsd.stderr.includes(`ocsd: ${place}`), `stderr says where: ${place}`)
  t.match(ocsd.stderr, /the catalog is refused; the old one stays in force/, 'and what follows')
  const answer = await ocsd.api('POST', '/v1/catalog/reload')
  t.equal(answer.status, 422, 'the API refuses it as well')
  t.ok(JSON.stringify(answer.body).includes(place), 'and says where')
  t.match((await ocsd.api('GET', '/v1/catalog')).body, { version: versions.get(current) }, 'the old one stays')

  await load.progress(20)
  await load.finish()
  t.same(load.errors, [], `${load.answered} answers without an error`)
  t.equal(load.repeats, 0, 'none of them asked for twice')
  t.same((await ocsd.audit()).violations, [], 'the audit finds nothing')
  const accounts = await showAccounts(ocsd, subscribers)
  const ledger = await wholeLedger(accounts, join(folder.data, 'ledger'))
  const differences = bookDifferences(load.sessions, ledger, accounts, opening)
  t.same(
    differences.filter(each => !each.includes('its money by the gateways')),
    [],
    'ledger and balances agree with the gateways about everything but the price',
  )
  t.same(
    load.sessions.flatMap(({ id, account, requests }) => {
      if (subscribers.find(({ msisdn }) => msisdn === account)?.offer !== 'payg') return []
      const once = paygCost(requests.reduce((sum, { octets }) => sum + octets, 0n))
      const charged = ledger
        .filter(({ session }) => session === id)
        .flatMap(({ posts }) => posts.filter(([name]) => name === 'usage:data'))
        .reduce((sum, [, , micros]) => sum + BigInt(micros), 0n)
      // A session that met both prices has a run at each: up to one started step more.
      return charged >= once && charged <= 2n * once + 2000n ? [] : [`${id}: ${charged}, at the lower price ${once}`]
    }),
    [],
    'which is between the lower and the higher one for each session',
  )
  const used = new Set(
    readLedger(join(folder.data, 'ledger')).flatMap(entry => ('catalog' in entry ? [entry.catalog] : [])),
  )
  t.same([...used].sort(), [...versions.values()].sort(), 'both were used, and no other')
  gateways.forEach(gateway => gateway.close())
})

t.test('usage has the price of its grant, whatever daemon books it after whatever reload', async t => {
  const { url } = await startTcpRedis(t)
  const folders = ['ocs1', 'ocs2'].map(name =>
    processFolder(t, {
      diameter: { identity: `${name}.localdomain` },
      store: { kind: 'url', url, durability: 'memory' },
    }),
  )
  const [one, two] = (await Promise.all(folders.map(folder => OcsdProcess.start(t, folder)))) as [
    OcsdProcess,
    OcsdProcess,
  ]
  // Every second one of them is on payg.
  const [changed, , unchanged] = await importSubscribers(one, 3)
  const gateway = new PatientGateway('pgw-1.localdomain', [one.address, two.address], seeded(1))
  await gateway.connect()
  const story = (account: string) => {
    const session = { id: gateway.nextSessionId(), account }
    let number = 0
    /** Sends the session's next request to the n-th daemon. @returns what the account paid for it, micros */
    return async (type: Told['type'], octets: bigint, daemon: number): Promise<bigint> => {
      const before = await money()
      const told: Told = { type, number: number++, octets, result: undefined }
      t.equal((await gateway.askOnce(ccrOf(session, told), daemon)).resultCode, 2001, `${type} ${told.number}`)
      return before - (await money())
    }
    async function money(): Promise<bigint> {
      const [shown] = await showAccounts(one, [{ msisdn: account, offer: 'payg' }])
      return shown!.money
    }
  }

  // Worked example 15 of the semantics: 0.01 EUR per MB in steps of 100 kB, then 0.02.
  const control = story(unchanged!.msisdn)
  t.equal(await control('initial', 0n, 0), 0n)
  t.equal(await control('update', 1_050_000n, 1), 11_000n, '11 steps')
  t.equal(await control('update', 260_000n, 0), 3_000n, 'without a change the run goes on: 1,310 kB are 14 steps')

  const next = story(changed!.msisdn)
  t.equal(await next('initial', 0n, 0), 0n)
  for (const folder of folders) setPrice(folder, dear)
  await Promise.all([reload(one), reload(two)])
  t.equal(await next('update', 1_050_000n, 1), 11_000n, 'the old grant has the old price, at the other daemon')
  t.equal(await next('update', 260_000n, 0), 6_000n, 'the next grant has the new one: 3 steps of a new run')

  // A daemon that has not seen the new catalog books what another granted by it, and the other way round.
  setPrice(folders[0]!, `price: '0.05'`)
  await reload(one)
  t.equal(await next('update', 40_000n, 0), 0n, 'granted at 0.02: 300 kB are paid')
  t.equal(await next('update', 100_000n, 1), 5_000n, 'granted at 0.05 by the first daemon, booked by the second')
  t.equal(await next('terminate', 100_000n, 0), 2_000n, 'granted at 0.02 by the second: its run goes on to 400 kB')
  t.equal(await control('terminate', 0n, 1), 0n)
  gateway.close()
})
