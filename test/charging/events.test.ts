/** One-time events through rating and the store: debited whole and once, given back against the debit that they name, or only asked about. */
import fc from 'fast-check'
import t from 'tap'
import { EventStore } from '../../src/balance/events.js'
import { Programs } from '../../src/balance/programs.js'
import type { Identity } from '../../src/balance/types.js'
import {
  ChargingFunction,
  type CreditOutcome,
  type CreditRequest,
  type EventAction,
  type LineRequest,
} from '../../src/charging/charging.js'
import { EventCharging } from '../../src/charging/events.js'
import { standardProfile } from '../../src/config/profiles.js'
import { DiameterCounters } from '../../src/diameter/metrics.js'
import type { Catalog } from '../../src/rating/catalog.js'
import { readCatalog } from '../../src/rating/load.js'
import { newBuckets } from '../../src/rating/match.js'
import { Metrics } from '../../src/telemetry/metrics.js'
import { formatMoney, parseMoney } from '../../src/units.js'
import { aFolder, anAudit } from '../support/ledger.js'
import { ShiftedClock } from '../support/scenario.js'
import { chargingConfig, partitions, startStore } from '../support/store.js'
import { seed } from '../support/seed.js'

const day = 86_400_000

const catalogOf = (price: string): Catalog => {
  const text = `
currency: EUR
services:
  sms: { context: 32274@3gpp.org, unit: events, quota: { size: 1, min: 1, max: 10, validity: 1h }, inform: [cost, balance] }
  data: { context: 32251@3gpp.org, unit: octets, quota: { size: 10MB, min: 1MB, max: 100MB, validity: 1h } }
counters:
  month-sms: { unit: events, per: account, reset: month }
  spend: { unit: money, per: account, reset: month, for: sms, limit: '1.00', then: stop }
lowBalance: ['0.50']
rates:
  sms: { unit: events, price: '${price}' }
  tiers: { unit: events, counter: month-sms, tiers: [{ upTo: 3, price: '0.10' }, { price: '0.05' }] }
  data: { unit: octets, price: '0.01', per: 1MB, step: 1MB }
offers:
  payg:
    rank: 100
    rules:
      - { service: sms, serviceIdentifier: 1, use: [sms] }
      - { service: sms, serviceIdentifier: 2, free: true }
      - { service: sms, serviceIdentifier: 3, free: 4011 }
      - { service: sms, serviceIdentifier: 4, deny: true }
      - { service: sms, serviceIdentifier: 5, use: [tiers] }
      - { service: sms, serviceIdentifier: 6, use: [sms-3] }
      - { service: data, use: [data] }
  bundle:
    rank: 10
    grants:
      - { bucket: sms-3, unit: events, amount: 3, for: sms, expires: 60d, priority: 10 }
      - { bucket: bonus, unit: money, amount: '0.20', for: sms, expires: 60d, priority: 20 }
    rules:
      - { service: sms, serviceIdentifier: 1, use: [sms-3, sms] }
`
  const outcome = readCatalog([{ file: 'catalog.yaml', text }])
  if ('faults' in outcome) throw new Error(JSON.stringify(outcome.faults))
  return outcome.catalog
}

const clock = new ShiftedClock()
const store = await startStore(t, { clock })
let catalog = catalogOf('0.09')
const metrics = new Metrics({ version: 'test', diameter: new DiameterCounters([]), peers: () => [], runtime: false })
const programs = new Programs(store.store, clock)
t.teardown(() => programs.close())

function startCharging(): ChargingFunction {
  const parts = {
    ...{
      balance: store.balance,
      identities: store.identities,
      config: chargingConfig,
      clock,
      metrics: metrics.charging,
    },
    hints: { entry: () => undefined, due: () => undefined },
  }
  return new ChargingFunction({
    ...parts,
    descriptions: programs,
    events: new EventCharging({
      ...parts,
      store: new EventStore(store.store, partitions, chargingConfig),
      texts: programs,
    }),
    catalog: () => catalog,
    trusted: () => true,
  })
}
const charging = startCharging()

let accounts = 0
let sessions = 0

async function open(
  money: string,
  offers: readonly string[] = ['payg'],
  more: readonly Identity[] = [],
): Promise<string> {
  const account = String(491_700_000_000 + ++accounts)
  await store.accounts.create(
    { id: account, currency: 'EUR', creditLimit: parseMoney('0')!, status: 'active' },
    {
      identities: [{ type: 'msisdn', value: account }, ...more],
      offers: offers.map(offer => ({ offer, buckets: newBuckets(catalog, offer, clock.now())! as never })),
    },
    parseMoney(money)!,
    'admin',
  )
  return account
}

/** What is there: main, and each bucket. */
async function shown(account: string): Promise<Record<string, string | bigint>> {
  const { money, held, debt, buckets } = (await store.accounts.show(account))!
  const found: Record<string, string | bigint> = { main: formatMoney(money) }
  if (held + debt > 0n) found['held'] = held + debt
  for (const { name, amount } of buckets) found[name] = amount
  return found
}

interface Asked {
  readonly id?: number
  readonly events?: bigint
  readonly money?: bigint
  readonly currency?: number
  readonly refund?: Buffer | undefined
}

const lineOf = ({ id = 1, events, money, currency, refund }: Asked): LineRequest => ({
  ...{ key: `-/${id}`, ratingGroup: undefined, serviceIdentifiers: [id], currency, threshold: false, refund },
  requested: { octets: undefined, seconds: undefined, events, money },
  used: { octets: undefined, seconds: undefined, events: undefined, money: undefined },
})

function requestOf(
  account: string,
  action: EventAction,
  asked: readonly Asked[],
  changes: Partial<CreditRequest> = {},
): CreditRequest {
  return {
    ...{ type: 'event', action, number: 0, sessionId: `smsc;${++sessions}`, originHost: 'smsc', retransmitted: false },
    ...{ serviceContextId: '32274@3gpp.org', eventTime: undefined, profile: standardProfile },
    facts: { plmn: undefined, called: undefined, apn: undefined, rat: undefined, direction: undefined },
    identities: [{ type: 'msisdn', value: account }],
    lines: asked.map(lineOf),
    ...{ arrival: clock.now(), arrivedAt: clock.monotonic() },
    ...changes,
  }
}

const ask = (...parts: Parameters<typeof requestOf>): Promise<CreditOutcome> => charging.charge(requestOf(...parts))

type Done = Extract<CreditOutcome, { status: 'event' }>

async function done(...parts: Parameters<typeof requestOf>): Promise<Done> {
  const outcome = await ask(...parts)
  if (outcome.status !== 'event')
    throw new Error(JSON.stringify(outcome, (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v)))
  return outcome
}

/** What a request came to, in a word. */
async function told(...parts: Parameters<typeof requestOf>): Promise<string> {
  const outcome = await ask(...parts)
  if (outcome.status === 'refused') {
    const failed = outcome.lines.find(({ is }) => is !== 'granted' && is !== 'free' && is !== 'booked')!
    return failed.is === 'denied' ? `denied ${failed.code}` : failed.is
  }
  return outcome.status
}

const sms = (events: bigint, id = 1): Asked[] => [{ id, events }]

t.test('an event is debited whole, with all its services, or not at all', async t => {
  const account = await open('0.20')
  t.equal(await told(account, 'debit', sms(3n)), 'exhausted', 'funds for two of three')
  t.equal(await told(account, 'debit', [{ id: 1, events: 1n }, { id: 4, events: 1n }]), 'denied 4010') // prettier-ignore
  t.equal(await told(account, 'debit', [{ id: 1, events: 1n }, { id: 9, events: 1n }]), 'unrated') // prettier-ignore
  t.equal(await told(account, 'debit', [{ id: 1, events: 2n }, { id: 5, events: 1n }]), 'exhausted') // prettier-ignore
  t.same(await shown(account), { main: '0.20' })
  const both = await done(account, 'debit', [{ id: 1, events: 1n }, { id: 5, events: 1n }]) // prettier-ignore
  t.same(
    [both.cost, both.lines.map(({ line, units }) => [line, units])],
    [190_000n, [['-/1', 1n], ['-/5', 1n]]], // prettier-ignore
  )
  t.same(await shown(account), { main: '0.01' })
  t.match(both.money, { cost: 190_000n, balance: 10_000n, low: true })
})

t.test('free is free, and 4011 where the rule asks for it', async t => {
  const account = await open('0.00')
  const free = await done(account, 'debit', sms(2n, 2))
  t.match(free.lines, [{ units: 2n, free: true }])
  t.equal(await told(account, 'debit', sms(1n, 3)), 'denied 4011')
  t.same((await done(account, 'refund', [{ id: 2, events: 2n, refund: free.lines[0]!.refund }])).lines[0]!.units, 2n)
  t.equal(await told(account, 'refund', [{ id: 2, events: 1n, refund: free.lines[0]!.refund }]), 'no_refund')
  t.same(await shown(account), { main: '0.00' })
})

t.test('an amount of money is debited as it is, in the currency of the account', async t => {
  const account = await open('0.60')
  const half: Asked = { money: 500_000n }
  t.equal((await done(account, 'price', [half])).cost, 500_000n)
  t.equal((await done(account, 'check', [half])).enough, true)
  const paid = await done(account, 'debit', [{ ...half, currency: 978 }])
  t.match(paid.lines, [{ unit: 'money', units: 500_000n }])
  t.same(await shown(account), { main: '0.10' })
  t.equal((await done(account, 'check', [half])).enough, false)
  t.equal(await told(account, 'debit', [half]), 'exhausted')
  for (const action of ['debit', 'check', 'price'] as const)
    t.equal(await told(account, action, [{ money: 1n, currency: 840 }]), 'unrated', `${action} in USD`)
  const refund = paid.lines[0]!.refund
  await done(account, 'refund', [{ money: 200_000n, refund }])
  t.same(await shown(account), { main: '0.30' })
  t.equal(await told(account, 'refund', [{ money: 300_001n, refund }]), 'no_refund')
})

t.test('a repeat gets the first answer, also after a reload, and by a daemon that knows nothing of it', async t => {
  const account = await open('1.00')
  const request = requestOf(account, 'debit', sms(2n))
  const first = (await charging.charge(request)) as Done
  t.equal(first.how, 'new')
  const reference = first.lines[0]!.refund
  const later = (more: Partial<CreditRequest> = {}): CreditRequest => ({
    ...{ ...request, retransmitted: true, arrival: clock.now(), arrivedAt: clock.monotonic() },
    ...more,
  })
  clock.shift(3_600_000)
  t.teardown(() => clock.shift(-3_600_000))
  t.match(await charging.charge(later()), { how: 'again', cost: 180_000n, lines: [{ units: 2n, refund: reference }] })
  programs.flush()
  catalog = catalogOf('0.20')
  t.teardown(() => (catalog = catalogOf('0.09')))
  t.match(
    await charging.charge(later()),
    { how: 'again', lines: [{ units: 2n, refund: reference }] },
    'another price now',
  )
  t.match(await startCharging().charge(later()), { how: 'again', lines: [{ refund: reference }] }, 'another daemon')
  t.match(await charging.charge(later({ lines: sms(1n).map(lineOf) })), {
    ...{ how: 'mismatch', lines: [{ units: 2n, refund: reference }] },
  })
  t.match(await charging.charge(later({ action: 'refund', lines: [lineOf({ refund: reference })] })), {
    how: 'mismatch',
  })
  t.same(await shown(account), { main: '0.82' }, 'one debit')
  await done(account, 'refund', [{ events: 1n, refund: reference }])
  t.same(await shown(account), { main: '0.91' }, 'at the price that was paid')
  t.match(
    await charging.charge(later({ number: 7 })),
    { how: 'reordered', cost: 400_000n },
    'another number is another event',
  )
  t.same(await shown(account), { main: '0.51' })
})

t.test('a refund is bounded by the debit that it names', async t => {
  const account = await open('1.00')
  const { refund } = (await done(account, 'debit', sms(5n))).lines[0]!
  const refunds = [2n, 4n, 3n]
  const found = []
  for (const events of refunds) found.push(await told(account, 'refund', [{ events, refund }]))
  t.same(found, ['event', 'no_refund', 'event'])
  t.same(await shown(account), { main: '1.00' })

  const next = (await done(account, 'debit', sms(1n))).lines[0]!.refund
  const request = requestOf(account, 'refund', [{ refund: next }])
  t.match(await charging.charge(request), { how: 'new', cost: -90_000n, lines: [{ units: 1n }] }, 'all of it')
  t.match(await charging.charge(request), { how: 'again', lines: [{ units: 1n }] })
  t.same(await shown(account), { main: '1.00' })
})

t.test('what no debit of ours says is not refunded', async t => {
  const account = await open('1.00')
  const other = await open('1.00')
  const refund = (await done(account, 'debit', sms(1n))).lines[0]!.refund!
  const changed = Buffer.from(refund)
  changed[20]! ^= 1
  const rows: [string, string, Asked, RegExp][] = [
    ['made up', account, { refund: Buffer.from('0000000000000001', 'hex') }, /not one of ours/],
    ['empty', account, { refund: Buffer.alloc(0) }, /not one of ours/],
    ['changed', account, { refund: changed }, /not one of ours/],
    ['too long', account, { refund: Buffer.alloc(20_000, 0x20) }, /not one of ours/],
    ["another's", other, { refund }, /of another account/],
    ['of another unit', account, { money: 1n, refund }, /its debit was of events/],
    ['none', account, { events: 1n }, /no Refund-Information/],
  ]
  for (const [name, whose, asked, why] of rows)
    t.match(await ask(whose, 'refund', [asked]), { status: 'no_refund', why }, name)
  clock.shift(31 * day)
  t.teardown(() => clock.shift(-31 * day))
  t.match(await ask(account, 'refund', [{ refund }]), { status: 'no_refund', why: /too long ago/ })
  t.same([await shown(account), await shown(other)], [{ main: '0.91' }, { main: '1.00' }])
})

t.test('a peer that may refunds without a debit, at the price of now', async t => {
  const account = await open('0.00')
  const profile = { ...standardProfile, refunds: 'any' as const }
  const rows: [Asked, string][] = [
    [{ id: 1, events: 2n }, 'event'],
    [{ id: 2, events: 2n }, 'event'],
    [{ id: 4, events: 1n }, 'denied 4010'],
    [{ id: 9, events: 1n }, 'unrated'],
    [{ id: 6, events: 1n }, 'no_refund'],
    [{ id: 1, money: 20_000n }, 'event'],
  ]
  for (const [asked, word] of rows) t.equal(await told(account, 'refund', [asked], { profile }), word, `${asked.id}`)
  t.same(await shown(account), { main: '0.20' })
})

t.test('a price is told to who has no money, and of what the buckets leave to pay', async t => {
  const account = await open('0.00')
  const price = await done(account, 'price', sms(20n))
  t.same([price.cost, price.lines, price.enough], [1_800_000n, [], undefined], 'also beyond the limit of a month')
  t.equal((await done(account, 'price', sms(5n, 5))).cost, 400_000n)
  t.equal(await told(account, 'price', sms(1n, 9)), 'unrated')
  const rich = await open('0.00', ['bundle', 'payg'])
  t.equal((await done(rich, 'price', sms(5n))).cost, 180_000n)
  t.same(await shown(rich), { main: '0.00', 'sms-3': 3n, bonus: 200_000n })
})

t.test('a check says whether funds cover it, and leaves no trace', async t => {
  const account = await open('0.10', ['bundle', 'payg'])
  const before = await store.accounts.show(account)
  const rows: [bigint, boolean][] = [[3n, true], [6n, true], [7n, false]] // prettier-ignore
  for (const [events, enough] of rows) {
    const request = requestOf(account, 'check', sms(events))
    t.match(await charging.charge(request), { how: 'new', enough })
    t.match(await charging.charge(request), { how: 'new', enough }, 'asked again')
  }
  t.equal(await told(account, 'check', sms(1n, 4)), 'denied 4010')
  t.equal(await told(account, 'check', [{ id: 1, events: 9n }, { id: 9, events: 1n }]), 'unrated') // prettier-ignore
  t.same(await store.accounts.show(account), before)
})

t.test('whose event it is', async t => {
  const uri = 'sip:+491709999999@ims.example'
  const account = await open('1.00', ['payg'], [{ type: 'nai', value: uri }])
  const other = await open('1.00')
  const mine: Identity = { type: 'msisdn', value: account }
  const nobody: Identity = { type: 'imsi', value: '999' }
  const as = (...identities: Identity[]): Promise<CreditOutcome> => ask(account, 'debit', sms(1n), { identities })
  t.match(await as(), { status: 'no_identity' })
  t.match(await as(nobody), { status: 'unknown_subscriber' })
  t.match(await as(nobody, mine), { status: 'event' })
  t.match(await as({ type: 'nai', value: uri }, mine), { status: 'event' })
  const contradiction = await as(nobody, mine, { type: 'msisdn', value: other })
  t.match(contradiction, { status: 'contradicting_identities', identities: [1, 2] })
  t.same([await shown(account), await shown(other)], [{ main: '0.82' }, { main: '1.00' }])
})

t.test('an account out of service pays nothing, and may get something back', async t => {
  const account = await open('1.00')
  const { refund } = (await done(account, 'debit', sms(1n))).lines[0]!
  await store.accounts.setStatus(account, 'suspended', 'test')
  for (const action of ['debit', 'check', 'price'] as const) t.equal(await told(account, action, sms(1n)), 'barred')
  t.equal(await told(account, 'refund', [{ refund }]), 'event')
  t.same(await shown(account), { main: '1.00' })
  await store.accounts.setStatus(account, 'terminated', 'test')
  t.equal(await told(account, 'debit', sms(1n)), 'terminated')
  t.equal(await told(account, 'refund', [{ refund }]), 'terminated')
})

t.test('what changed of an account since it was last asked about is found', async t => {
  const account = await open('1.00')
  await done(account, 'debit', sms(1n))
  for (const action of ['debit', 'check', 'price', 'refund'] as const) {
    const { rev } = (await store.accounts.show(account))!
    await store.accounts.subscribe({
      ...{ account, subscriber: '1', offer: 'bundle', rev, reference: action, actor: 'test' },
      buckets: newBuckets(catalog, 'bundle', clock.now())!,
    })
    t.equal(await told(account, action, action === 'refund' ? [{ events: 1n }] : sms(1n)), action === 'refund' ? 'no_refund' : 'event') // prettier-ignore
  }
})

t.test('events and sessions do not meet', async t => {
  const account = await open('1.00')
  const data = { serviceContextId: '32251@3gpp.org', lines: [lineOf({})] }
  const sessionId = 'one;name'
  const initial = requestOf(account, 'debit', [], { ...data, type: 'initial', sessionId })
  t.match(await charging.charge(initial), { status: 'answered' })
  for (const action of ['debit', 'refund'] as const) {
    const request = requestOf(account, action, sms(1n), {
      ...{ sessionId, number: 5, profile: { ...standardProfile, refunds: 'any' as const } },
    })
    t.match(await charging.charge(request), { status: 'session_open' }, action)
  }
  const event = requestOf(account, 'debit', sms(1n))
  await charging.charge(event)
  const update = { ...event, ...data, type: 'update' as const, number: 1, action: undefined }
  t.match(await charging.charge(update), { status: 'unknown_session' })
})

t.test('past its time nothing is done', async t => {
  const account = await open('1.00')
  const late = { arrivedAt: clock.monotonic() - chargingConfig.holdBudgetMs + 200 }
  t.equal(await told(account, 'debit', sms(1n), late), 'busy')
  t.same(await shown(account), { main: '1.00' })
})

interface Step {
  readonly id: number
  readonly units: bigint
  readonly refunds: readonly bigint[]
}

t.test('whatever is debited and refunded, no refund gives more than its debit took', async t => {
  const step: fc.Arbitrary<Step> = fc.record({
    id: fc.constantFrom(1, 1, 5),
    units: fc.bigInt({ min: 1n, max: 6n }),
    refunds: fc.array(fc.bigInt({ min: 1n, max: 4n }), { maxLength: 3 }),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 6 }),
      fc.bigInt({ min: 0n, max: 100n }),
      async (steps, cents) => {
        const account = await open(`${cents / 100n}.${String(cents % 100n).padStart(2, '0')}`, ['bundle', 'payg'])
        const worth = async (): Promise<Record<string, bigint>> => {
          const { money, buckets } = (await store.accounts.show(account))!
          const of = (name: string): bigint => buckets.find(each => each.name === name)?.amount ?? 0n
          return { money: money + of('bonus'), sms: of('sms-3') }
        }
        const start = await worth()
        const debits: { refund: Buffer; left: bigint; took: Record<string, bigint>; gave: Record<string, bigint> }[] =
          []
        for (const { id, units, refunds } of steps) {
          const before = await worth()
          const outcome = await ask(account, 'debit', sms(units, id))
          const after = await worth()
          const took = { money: before['money']! - after['money']!, sms: before['sms']! - after['sms']! }
          if (outcome.status !== 'event') {
            t.same(took, { money: 0n, sms: 0n }, 'whole or not at all')
            continue
          }
          t.equal(took.money, outcome.cost)
          const debit = { refund: outcome.lines[0]!.refund!, left: units, took, gave: { money: 0n, sms: 0n } }
          debits.push(debit)
          for (const events of refunds) await giveBack(account, debits[Math.floor(debits.length / 2)]!, { events })
        }
        for (const debit of debits.reverse()) if (debit.left > 0n) await giveBack(account, debit, {})
        t.same(await worth(), start, 'all is given back')

        async function giveBack(account: string, debit: (typeof debits)[number], asked: Asked): Promise<void> {
          const before = await worth()
          const outcome = await ask(account, 'refund', [{ id: 9, ...asked, refund: debit.refund }])
          const after = await worth()
          const units = asked.events ?? debit.left
          t.equal(outcome.status, units > debit.left ? 'no_refund' : 'event')
          if (outcome.status === 'event') debit.left -= units
          for (const kind of ['money', 'sms']) {
            const gave = after[kind]! - before[kind]!
            debit.gave[kind]! += gave
            if (debit.gave[kind]! > debit.took[kind]!) t.fail(`${debit.gave[kind]} of ${debit.took[kind]} ${kind}`)
          }
        }
        if (!t.passing()) throw new Error('differs')
      },
    ),
    { numRuns: 40, seed },
  )
})

t.test('the ledger of all this is whole', async t => {
  const { problems, entries } = await anAudit(store.store, aFolder(t))
  t.same(problems, [])
  t.ok(entries > 200, `${entries} entries`)
})
