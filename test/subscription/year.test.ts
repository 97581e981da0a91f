/**
 * A year of renewals in seconds, and random lives of subscriptions beside a small model: one fee a period, never two, whoever sweeps
 * and however late; the books prove it at the end (semantics.md sections 8 and 11).
 */
import fc from 'fast-check'
import t from 'tap'
import { countingOf, firstPeriod, nextPeriod } from '../../src/rating/fee.js'
import { micros } from '../../src/units.js'
import { anAudit } from '../support/ledger.js'
import { seed } from '../support/seed.js'
import { aCatalog, aSubscriptionScene, utc, type SubscriptionScene } from '../support/subscriptions.js'

const day = 86_400_000
const catalog = aCatalog(`
  anchored: { fee: { amount: '1.00', every: month }, rules: [{ service: data, use: payg }] }
  calendar: { fee: { amount: '1.00', every: month, align: calendar }, rules: [{ service: data, use: payg }] }
  week: { fee: { amount: '1.00', every: week, align: calendar }, rules: [{ service: data, use: payg }] }
  thirty:
    fee: { amount: '1.00', every: 30d }
    grants: [{ bucket: data, amount: 1GB, for: data, expires: period, rollover: { max: 100MB, for: 30d } }]
    rules: [{ service: data, use: [data, payg] }]
  dear: { fee: { amount: '3.00', every: 10d, proration: price, retry: [1d, 2d], grace: 4d }, rules: [{ service: data, use: payg }] }
`)

let references = 0
const buy = (scene: SubscriptionScene, account: string, offer: string) =>
  scene.subscriptions.buy({ account, offer, subscriber: '0', reference: `r-${++references}`, actor: 'test' })

t.test('periods do not drift: month ends, leap years, both changes of the clock', t => {
  const zone = 'Europe/Berlin'
  const table = [
    // Bought on the 31st, 30th and 29th: the last day of shorter months, and back.
    [
      'anchored',
      '2027-10-31T10:00Z',
      ['2027-11-30T10:00Z', '2027-12-31T10:00Z', '2028-01-31T10:00Z', '2028-02-29T10:00Z', '2028-03-31T09:00Z'],
    ],
    ['anchored', '2027-01-30T10:00Z', ['2027-02-28T10:00Z', '2027-03-30T09:00Z', '2027-04-30T09:00Z']],
    ['anchored', '2028-01-29T10:00Z', ['2028-02-29T10:00Z', '2028-03-29T09:00Z']],
    // 02:30 is skipped on 28 March 2027, and shown twice on 31 October.
    ['anchored', '2027-02-28T01:30Z', ['2027-03-28T01:00Z', '2027-04-28T00:30Z']],
    ['anchored', '2027-09-30T22:30Z', ['2027-10-31T23:30Z', '2027-11-30T23:30Z']],
    ['calendar', '2027-03-15T12:00Z', ['2027-03-31T22:00Z', '2027-04-30T22:00Z']],
    ['calendar', '2027-10-15T12:00Z', ['2027-10-31T23:00Z', '2027-11-30T23:00Z']],
    ['week', '2027-03-26T12:00Z', ['2027-03-28T22:00Z', '2027-04-04T22:00Z']],
    ['thirty', '2027-03-15T12:00Z', ['2027-04-14T12:00Z', '2027-05-14T12:00Z']],
  ] as const
  for (const [offer, start, ends] of table) {
    const fee = catalog.offers.get(offer)!.fee!
    let period = firstPeriod(fee, zone, utc(start))!
    for (const end of ends) {
      t.equal(new Date(period.end).toISOString(), new Date(utc(end)).toISOString(), `${offer} from ${start}`)
      period = nextPeriod(fee, zone, { ...period, counting: countingOf(fee)! })!
    }
  }
  t.end()
})

t.test('a year of 200 subscriptions: each period is paid once, swept by eight at a time', async t => {
  const scene = await aSubscriptionScene(t, catalog, utc('2027-12-29T09:00Z'))
  const offers = ['anchored', 'calendar', 'thirty'] as const
  const accounts: { id: string; offer: (typeof offers)[number]; since: number }[] = []
  for (let i = 0; i < 200; i++) {
    if (i === 70 || i === 140) scene.clock.advance(day) // bought on the 29th, 30th and 31st
    const [id, offer] = [`a${i}`, offers[i % 3]!]
    await scene.create(id, micros(100_000_000n))
    await buy(scene, id, offer)
    accounts.push({ id, offer, since: scene.clock.now() })
  }
  const all = Array.from({ length: 16 }, (_, partition) => partition)
  const sweepers = [...Array(4).keys()].map(() => scene.sweeper())
  for (let i = 0; i < 4; i++) sweepers.push(await scene.otherDaemon(t))
  // In steps of a month or so: everybody is late, and all come at once.
  const end = utc('2028-12-31T12:00Z')
  while (scene.clock.now() < end) {
    scene.clock.advance(Math.min(33 * day, end - scene.clock.now()))
    await Promise.all(sweepers.map(sweeper => sweeper.sweep(all)))
  }
  let renewals = 0
  for (const { id, offer, since } of accounts) {
    const fee = catalog.offers.get(offer)!.fee!
    let period = firstPeriod(fee, catalog.timezone, since)!
    const starts = [period.start]
    while (period.end <= end) {
      period = nextPeriod(fee, catalog.timezone, { ...period, counting: countingOf(fee)! })!
      starts.push(period.start)
    }
    const paid = (await scene.entries(id)).filter(({ kind }) => kind === 'renew').map(entry => entry['from'])
    renewals += paid.length
    if (JSON.stringify(paid) !== JSON.stringify(starts.slice(1))) t.fail(`${id} ${offer}: ${JSON.stringify(paid)}`)
    const { money } = await scene.account(id)
    if (money !== 100_000_000n - BigInt(starts.length) * 1_000_000n) t.fail(`${id} ${offer} has ${money}`)
  }
  t.ok(renewals > 2300)
  const { ok, problems } = await anAudit(scene.store)
  t.ok(ok, JSON.stringify(problems.slice(0, 3)))
})

t.test('random lives: what a model of one subscription says is what the account has', async t => {
  const scene = await aSubscriptionScene(t, catalog, utc('2027-01-31T10:00Z'))
  const fee = 3_000_000n
  const step = fc.oneof(
    fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 12 * day }) }),
    fc.record({ do: fc.constant('pay' as const), micros: fc.integer({ min: 1, max: 5_000_000 }) }),
    fc.record({ do: fc.constant('cancel' as const) }),
    fc.record({ do: fc.constant('sweep' as const) }),
  )
  let accounts = 0
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 3_000_000, max: 12_000_000 }),
      fc.array(step, { maxLength: 12 }),
      async (opening, steps) => {
        const id = `p${++accounts}`
        await scene.create(id, micros(BigInt(opening)))
        await buy(scene, id, 'dear')
        let money = BigInt(opening) - fee
        let from = scene.clock.now()
        let grace: number | undefined
        let lives = true
        const alive = (): boolean => lives // settle() may end it
        // What is due by now: renewals of their own periods while the money lasts; then four days of grace from the first failure on.
        const settle = (): void => {
          const now = scene.clock.now()
          while (lives && from + 10 * day <= now) {
            if (money >= fee) {
              money -= fee
              from += 10 * day
              grace = undefined
            } else {
              grace ??= now
              if (now >= grace + 4 * day) lives = false
              return
            }
          }
        }
        for (const each of steps) {
          if (each.do === 'wait') scene.clock.advance(each.ms)
          if (each.do === 'pay') {
            const request = {
              account: id,
              currency: 'EUR',
              channel: 'test',
              reference: `p-${++references}`,
              actor: 'test',
            }
            await scene.accounts.recharge({ ...request, amount: micros(BigInt(each.micros)) })
            money += BigInt(each.micros)
          }
          if (each.do === 'cancel' && lives) {
            await scene.to(scene.clock.now())
            settle()
            if (!alive()) continue
            const now = scene.clock.now()
            const terms = { when: 'now', buckets: 'keep', reference: `c-${++references}`, actor: 'test' } as const
            await scene.subscriptions.cancel(id, '1', terms)
            if (grace === undefined) money += fee - (fee * BigInt(now - from)) / BigInt(10 * day)
            lives = false
          } else {
            await scene.to(scene.clock.now())
            settle()
          }
        }
        const account = await scene.account(id)
        const got = [account.money, account.subscriptions.length]
        if (got[0] !== money || got[1] !== (lives ? 1 : 0))
          throw new Error(`has ${got.join(' ')}, expected ${money} ${lives}`)
        const paid = (await scene.entries(id)).filter(({ kind }) => kind === 'renew').map(entry => entry['from'])
        if (new Set(paid).size !== paid.length) throw new Error('a period was paid twice')
      },
    ),
    { seed, numRuns: 60 },
  )
  t.ok((await anAudit(scene.store)).ok, `seed ${seed}`)
})
