/**
 * The report of a day: its sums are those of a model and of the accounts themselves, whatever files the entries stand in.
 */
import { appendFileSync, readdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { VirtualClock } from '../../src/clock.js'
import { LedgerReports, type DailyReport } from '../../src/report/daily.js'
import { micros } from '../../src/units.js'
import { aProgram, Session } from '../support/charging.js'
import { aFolder, anAudit, aWriter } from '../support/ledger.js'
import { seed } from '../support/seed.js'
import { startStore, type TestStore } from '../support/store.js'

const days = ['2026-10-24', '2026-10-25', '2026-10-26'] // summer time ends on the second
const begin = Date.UTC(2026, 9, 23, 22)
const timezone = 'Europe/Berlin'
const program = aProgram({ step: 100_000n, num: 1000n, buckets: ['data'] })
const accounts = ['a', 'b', 'c', 'd']

interface Model {
  recharged: Record<string, bigint>
  recharges: number
  charged: bigint
  used: bigint
  /** Of all accounts, money less debt. */
  closing: bigint
  octets: bigint
}

const newModel = (): Model => ({ recharged: {}, recharges: 0, charged: 0n, used: 0n, closing: 0n, octets: 0n })

async function liability({ accounts: of }: TestStore): Promise<{ money: bigint; octets: bigint }> {
  let [money, octets] = [0n, 0n]
  for (const id of accounts) {
    const account = (await of.show(id))!
    money += account.money - account.debt
    for (const { amount } of account.buckets) octets += amount
  }
  return { money, octets }
}

const operation = fc.record({
  account: fc.nat(accounts.length - 1),
  what: fc.constantFrom('use', 'use', 'use', 'recharge', 'again', 'suspend'),
  amount: fc.integer({ min: 1, max: 3_000_000 }),
  channel: fc.constantFrom('app', 'outlet', 'portal'),
  hours: fc.integer({ min: 0, max: 2 }),
})

const reportsOf = (...directories: string[]): LedgerReports =>
  new LedgerReports({ directories, timezone: () => timezone })

/** Each account, every day: some use, some money in; gives the days of the model. */
async function threeDays(
  t: Test,
  store: TestStore,
  clock: VirtualClock,
  plan: readonly (readonly { account: number; what: string; amount: number; channel: string; hours: number }[])[],
): Promise<Model[]> {
  const sessions = []
  for (const account of accounts) {
    const session = await Session.open(t, store, { account, money: 2_000_000n, credit: 0n, bucket: 500_000n })
    await session.charge('I', 0, [{ key: '10', used: 0n, wanted: 1_000_000n, program }])
    sessions.push({ session, number: 1 })
  }
  const models: Model[] = []
  let references = 0
  for (const [d, operations] of plan.entries()) {
    const model = newModel()
    for (const { account, what, amount, channel, hours } of operations) {
      if (clock.now() + hours * 3_600_000 < begin + (d + 1) * 24 * 3_600_000) clock.advance(hours * 3_600_000)
      const id = accounts[account]!
      if (what === 'use') {
        const of = sessions[account]!
        const line = { key: '10', used: BigInt(amount), wanted: 1_000_000n, program }
        const cause = `"kind":"charge","session":"${of.session.id}","type":"update","service":"data"`
        const answer = await of.session.charge('U', of.number++, [line], { cause })
        if (typeof answer === 'string') throw new Error(answer)
        model.charged += answer.cost
        model.used += BigInt(amount)
      } else if (what === 'suspend') {
        await store.accounts.setStatus(id, 'suspended', 'test')
        await store.accounts.setStatus(id, 'active', 'test')
      } else {
        const reference = `r${what === 'again' ? references : ++references}`
        const request = { account: id, amount: micros(amount), currency: 'EUR', channel, reference, actor: 'test' }
        const { status } = await store.accounts.recharge(request)
        if (status !== 'credited') continue
        model.recharged[channel] = (model.recharged[channel] ?? 0n) + BigInt(amount)
        model.recharges++
      }
    }
    const { money, octets } = await liability(store)
    models.push({ ...model, closing: money, octets })
    clock.advance(begin + (d + 1) * 24 * 3_600_000 + (d >= 1 ? 3_600_000 : 0) - clock.now())
  }
  return models
}

function agree(t: Test, report: DailyReport, model: Model, opening: bigint): void {
  const [eur] = report.currencies
  t.equal(eur!.opening, opening, 'opening')
  t.equal(eur!.closing, model.closing, 'closing is what all accounts have')
  t.equal(eur!.opening + eur!.in - eur!.out, eur!.closing, 'opening + in − out = closing')
  t.ok(eur!.balanced, 'by the amounts of the accounts, too')
  t.equal(report.units.find(({ unit }) => unit === 'octets')!.closing, model.octets, 'octets of buckets')
  const sums: Record<string, bigint> = {}
  let count = 0
  for (const { channel, amount, count: one } of report.recharges) {
    sums[channel] = (sums[channel] ?? 0n) + amount
    count += one
  }
  t.same(sums, model.recharged, 'recharges by channel')
  t.equal(count, model.recharges, 'how many')
  const total = (what: string): bigint =>
    report.consumption.reduce((sum, row) => (row.what === what ? sum + row.amount : sum), 0n)
  t.equal(total('charged'), model.charged, 'consumption in money')
  t.equal(total('used'), model.used, 'and in octets')
  t.ok(
    report.consumption.every(({ service, offer }) => service === 'data' && offer === 'test'),
    'by service and offer',
  )
}

t.test('its sums are those of the model and of the accounts, in any mix of files', async t => {
  await fc.assert(
    fc.asyncProperty(fc.tuple(...days.map(() => fc.array(operation, { minLength: 1, maxLength: 25 }))), async plan => {
      await t.test('three days', async t => {
        const clock = new VirtualClock(begin)
        const store = await startStore(t, { clock })
        const models = await threeDays(t, store, clock, plan)
        const [one, two] = [aFolder(t), aFolder(t)]
        await (await aWriter(store.store, one, { rotateOctets: 4000 })).stop()
        t.ok((await anAudit(store.store, one)).ok, 'audit')
        const [first] = models
        const check = async (t: Test, ...folders: string[]): Promise<void> => {
          const reports = reportsOf(...folders)
          let opening = 0n
          for (const [i, date] of days.entries()) {
            const report = await reports.daily(date)
            agree(t, report, models[i]!, opening)
            opening = models[i]!.closing
            const rows = await reports.recharges(date, 0, 1000)
            t.equal(rows.length, models[i]!.recharges, 'the list of recharges')
          }
        }
        await t.test('one folder', t => check(t, one))
        t.ok(
          readdirSync(one).some(name => name.endsWith('.sums.json')),
          'sums are kept',
        )
        await t.test('from what is kept', t => check(t, one))
        // Another daemon took partitions over, and wrote some entries again.
        const [file] = readdirSync(one).filter(name => name.endsWith('.jsonl'))
        const lines = readFileSync(join(one, file!), 'utf8').split('\n').slice(0, -1)
        const half = lines.length >> 1
        const text = (some: readonly string[]): string => some.map(line => `${line}\n`).join('')
        rmSync(join(one, `${file!}.sums.json`))
        writeFileSync(join(one, file!), text(lines.slice(0, half)))
        writeFileSync(join(two, file!), text(lines.slice(Math.max(0, half - 3))))
        await t.test('two folders with repeats', t => check(t, one, two))
        t.ok(first)
      })
    }),
    { numRuns: 4, seed },
  )
})

t.test('a file that grows is read on, and one that was moved away counts by its sums', async t => {
  const clock = new VirtualClock(begin)
  const store = await startStore(t, { clock })
  const folder = aFolder(t)
  const writer = await aWriter(store.store, folder)
  const plan = days.map(() => [{ account: 0, what: 'recharge', amount: 700_000, channel: 'app', hours: 1 }])
  const models = await threeDays(t, store, clock, plan)
  await writer.flush()
  const [name] = readdirSync(folder)
  const path = join(folder, name!)
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  writeFileSync(
    path,
    lines
      .slice(0, -1)
      .map(line => `${line}\n`)
      .join('') + '{"torn":',
  )
  const reports = reportsOf(folder)
  t.match(await reports.daily(days[2]!), {
    recharges: [],
    currencies: [{ closing: models[1]!.closing, balanced: true }],
  })
  writeFileSync(
    path,
    lines
      .slice(0, -1)
      .map(line => `${line}\n`)
      .join(''),
  )
  appendFileSync(path, `${lines.at(-1)}\n`)
  const grown = await reports.daily(days[2]!)
  t.match(grown, { recharges: [{ channel: 'app', hour: 1, amount: 700_000n }] })
  t.match(grown.currencies, [{ opening: models[1]!.closing, closing: models[2]!.closing, balanced: true }])
  unlinkSync(path)
  t.same(await reports.daily(days[2]!), grown, 'from its sums alone')
  t.same(await reports.recharges(days[2]!, 0, 10), [], 'but nothing to list')
  t.same((await reports.daily(days[2]!, 'USD')).currencies, [], 'another currency')
  await writer.stop(0)
})

t.test('a balance that does not follow from the entries is told', async t => {
  const clock = new VirtualClock(begin)
  const store = await startStore(t, { clock })
  const folder = aFolder(t)
  const plan = days.map(() => [{ account: 0, what: 'recharge', amount: 700_000, channel: 'app', hours: 1 }])
  await threeDays(t, store, clock, plan)
  await (await aWriter(store.store, folder)).stop()
  const [name] = readdirSync(folder)
  const path = join(folder, name!)
  const text = readFileSync(path, 'utf8')
  writeFileSync(
    path,
    text.replace(
      /"EUR",700000,(\d+),(\d+)\]/,
      (_, before: string, after: string) => `"EUR",700000,${before},${Number(after) + 5}]`,
    ),
  )
  const reports = reportsOf(folder)
  const [eur] = (await reports.daily(days[0]!)).currencies
  t.notOk(eur!.balanced)
  t.equal(eur!.proven - eur!.closing, 5n)
})
