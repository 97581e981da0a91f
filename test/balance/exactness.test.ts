/**
 * What semantics.md section 11 promises of money, for rates and catalogs that nobody chose: whatever the split into reports and
 * daemons, a session costs F of its units; sessions that share a counter cost T(end) − T(start) in any order; a reload changes no grant;
 * a quote is the charge; the ledger's postings account for every micro.
 *
 * RUNS: of each property (200). SEED: of the random numbers; printed.
 */
import fc from 'fast-check'
import t from 'tap'
import { readAccount } from '../../src/balance/accounts.js'
import { Balance, type ChargeAnswer, type ChargeRequest } from '../../src/balance/balance.js'
import { accountKey, journalKey, partitionOf, sessionKey } from '../../src/balance/keys.js'
import type { NewBucket } from '../../src/balance/types.js'
import { systemClock } from '../../src/clock.js'
import { compileRate, priceOf } from '../../src/rating/price.js'
import { micros, units } from '../../src/units.js'
import { aProgram, catalog, ratesOf, type GeneratedProgram, type GeneratedRate } from '../support/generate.js'
import { costOf, tiersPrice } from '../support/model-price.js'
import { chargingConfig, openStore, partitions, startStore } from '../support/store.js'
import { seed } from '../support/seed.js'

const settings = { numRuns: Number(process.env['RUNS'] ?? 200), seed }

const { redis, store, balance, accounts } = await startStore(t)
/** The second daemon: a connection and a Balance of its own. */
const other = new Balance(await openStore(t, redis), partitions, chargingConfig, systemClock)
const daemons = [balance, other] as const

let made = 0

/** A new account with money enough for anything, unless the test says otherwise. */
async function anAccount(money = 2n ** 50n, buckets: readonly NewBucket[] = []): Promise<string> {
  const id = `exact-${++made}`
  await accounts.create(
    { id, currency: 'EUR', creditLimit: micros(0n), status: 'active' },
    { identities: [{ type: 'nai', value: `${id}@test` }], offers: [{ offer: 'test', buckets }] },
    micros(money),
    'admin',
  )
  return id
}

interface Part {
  readonly used: bigint
  readonly asked?: bigint | 'any' | undefined
  readonly program: GeneratedProgram
}

/** One session of an account; each request goes to the daemon that the test names. */
class Session {
  readonly id = `gw.example;exact;${++made}`
  private number = 0

  constructor(private readonly account: string) {}

  request({ used, asked, program }: Part, type?: 'I' | 'U' | 'T'): ChargeRequest {
    const now = Date.now()
    return {
      type: type ?? (this.number === 0 ? 'I' : 'U'),
      number: this.number,
      content: String(this.number),
      sessionId: this.id,
      account: this.account,
      subscriber: '1',
      rev: '1',
      currency: 'EUR',
      at: now,
      now,
      deadline: now + 60_000,
      deadlineMonotonic: performance.now() + 10_000,
      cause: `"kind":"charge","session":"${this.id}","number":${this.number}`,
      ...{ originHost: 'gw.example', originRealm: 'example', via: 'gw.example', service: 'data' },
      counters: program.counters.map(({ name }) => ({ name, start: 0, end: Infinity, limit: 'default' })),
      lowBalance: [],
      searchEnded: false,
      lines: [
        {
          key: '10',
          used: { unsplit: used, before: 0n, after: 0n, indeterminate: 0n },
          asked,
          threshold: false,
          now: program.text,
          facts: '',
        },
      ],
    }
  }

  async charge(by: Balance, part: Part, type?: 'I' | 'U' | 'T'): Promise<ChargeAnswer> {
    return this.send(by, this.request(part, type))
  }

  /** What is charged at the end of a session that is there. */
  async end(by: Balance, program: GeneratedProgram): Promise<bigint> {
    return this.number === 0 ? 0n : (await this.charge(by, { used: 0n, program }, 'T')).cost
  }

  async send(by: Balance, request: ChargeRequest): Promise<ChargeAnswer> {
    const outcome = await by.charge(request)
    if (outcome.status !== 'answered') throw new Error(outcome.status)
    // A first request that is refused leaves no session.
    if (outcome.answer.outcome !== 'refused' || request.lines.some(({ used }) => used.unsplit > 0n)) this.number++
    return outcome.answer
  }
}

const granted = ({ lines: [line] }: ChargeAnswer): bigint => (line && 'units' in line ? line.units : 0n)

async function show(account: string): Promise<ReturnType<typeof readAccount>> {
  return (await accounts.show(account))!
}

/** Sums of an account's postings by name; each entry sums to zero in each unit, and goes on from the one before. */
async function postings(account: string): Promise<Map<string, bigint>> {
  const sums = new Map<string, bigint>()
  for (const [, [, text]] of await store.redis.xrange(journalKey(partitionOf(account, partitions)), '-', '+')) {
    const entry = JSON.parse(text!) as { account: string; posts: [string, string, number, ...number[]][] }
    if (entry.account !== account) continue
    const units = new Map<string, bigint>()
    for (const [name, unit, amount, before] of entry.posts) {
      units.set(unit, (units.get(unit) ?? 0n) + BigInt(amount))
      const key = before === undefined ? `${name} ${unit}` : name
      if (before !== undefined) equal(`before of ${name}`, BigInt(before), sums.get(key) ?? 0n)
      sums.set(key, (sums.get(key) ?? 0n) + BigInt(amount))
    }
    for (const [unit, sum] of units) equal(`postings in ${unit}`, sum, 0n)
  }
  return sums
}

function equal(what: string, found: unknown, wanted: unknown): void {
  const [a, b] = [found, wanted].map(value =>
    JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v)),
  )
  if (a !== b) throw new Error(`${what}: found ${a}, wanted ${b}`)
}

const anyRate = fc.oneof(
  ratesOf('octets', undefined, ['graduated', 'volume']),
  ratesOf('seconds', undefined, ['graduated', 'volume']),
  ratesOf('events'),
  ratesOf('money'),
)
const amount = fc.oneof(fc.bigInt(0n, 70n), fc.bigInt(0n, 5_000_000n))
const sizes: Record<string, bigint> = { events: 1000n, seconds: 100_000n }
/** Reports, each to one of two daemons, and what is asked for with it. */
const reports = fc.array(
  fc.record({
    used: amount,
    daemon: fc.nat(1),
    asked: fc.option(fc.constantFrom(0n, 1n, 300_000n, 10n ** 12n), { nil: undefined }),
  }),
  { minLength: 1, maxLength: 8 },
)

t.test(`a rate's prices are the same in the catalog's code and in the model (SEED=${seed})`, t => {
  fc.assert(
    fc.property(anyRate, fc.bigInt(0n, 10n ** 8n), fc.boolean(), (rate, n, opens) => {
      const outcome = compileRate(rate.compiled.terms)
      if (!('rate' in outcome)) throw new Error(outcome.problem)
      equal('F(n)', priceOf(units(n), outcome.rate, opens), costOf(rate, n, opens))
    }),
    { ...settings, numRuns: settings.numRuns * 10 },
  )
  t.end()
})

t.test(`a session costs F of its units, however they are reported (SEED=${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(anyRate, reports, async (rate, reports) => {
      const program = aProgram({ unit: rate.unit, rate })
      const account = await anAccount()
      const session = new Session(account)
      let used = 0n
      let charged = 0n
      for (const { used: raw, daemon, asked } of reports) {
        const amount = raw % (sizes[rate.unit] ?? 10n ** 9n)
        used += amount
        const answer = await session.charge(daemons[daemon]!, { used: amount, asked, program })
        charged += answer.cost
        equal('charged so far', answer.charged, costOf(rate, used, true))
      }
      await session.end(balance, program)
      equal('sum of the charges', charged, costOf(rate, used, true))
      const { money, held, debt } = await show(account)
      equal('what is left', [money, held, debt], [2n ** 50n - charged, 0n, 0n])
      equal('the ledger', (await postings(account)).get('main'), money)
    }),
    settings,
  )
})

t.test(`each balance pays the same, however usage is reported (SEED=${seed})`, async () => {
  const buckets = fc.array(
    fc.record({
      name: fc.constantFrom('data', 'extra', 'points', 'bonus'),
      amount: fc.constantFrom(1n, 13n, 3000n, 299_999n, 5_000_000n),
      priority: fc.integer({ min: 1, max: 2 }),
    }),
    { maxLength: 4 },
  )
  await fc.assert(
    fc.asyncProperty(catalog, fc.nat(20), buckets, reports, async ({ lines }, index, buckets, reports) => {
      const octets = lines[0]!.programs
      const { unit, before, after, rate, money } = octets[index % octets.length]!
      const program = aProgram({ unit, before, after, rate: rate as GeneratedRate | undefined, money })
      const list = buckets.map(({ name, amount, priority }) => ({
        name,
        unit: name === 'bonus' ? ('money' as const) : name === 'points' ? ('units' as const) : ('octets' as const),
        amount: units(amount),
        priority,
        until: undefined,
        origin: 'test',
      }))
      const left: unknown[] = []
      const whole = [{ used: reports.reduce((sum, { used }) => sum + used, 0n), daemon: 0, asked: undefined }]
      for (const split of [whole, reports]) {
        const account = await anAccount(2n ** 50n, list)
        const session = new Session(account)
        for (const { used, daemon, asked } of split)
          await session.charge(daemons[daemon]!, { used, asked: asked === 0n ? undefined : asked, program })
        await session.end(balance, program)
        const { money, debt, held, buckets: after } = await show(account)
        left.push([money, debt, held, after.map(({ id, amount, held }) => [id, amount, held])])
        const sums = await postings(account)
        equal('main in the ledger', sums.get('main') ?? 0n, money)
        for (const { id, amount } of after) equal(`${id} in the ledger`, sums.get(`bucket:${id}`), amount)
      }
      equal('what is left', left[1], left[0])
    }),
    settings,
  )
})

/** Without what a run has for itself, only the tiers cost. */
const tiersOnly = (modes: readonly ('graduated' | 'volume')[]): fc.Arbitrary<GeneratedRate> =>
  ratesOf('octets', 'month', modes).filter(
    ({ first, setup, minimum, cap }) => first === 0n && setup === 0n && minimum === 0n && !cap,
  )

const turns = fc.array(fc.record({ session: fc.nat(2), used: amount, daemon: fc.nat(1), asks: fc.boolean() }), {
  minLength: 1,
  maxLength: 12,
})

t.test(`sessions that share a counter cost T(end) − T(start), in any order (SEED=${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(tiersOnly(['graduated', 'volume']), turns, async (rate, turns) => {
      const program = aProgram({ unit: 'octets', rate })
      const account = await anAccount()
      const sessions = [0, 1, 2].map(() => new Session(account))
      let charged = 0n
      for (const { session, used, daemon, asks } of turns) {
        const answer = await sessions[session]!.charge(daemons[daemon]!, {
          used,
          asked: asks ? 1_000_000n : undefined,
          program,
        })
        charged += answer.cost
      }
      for (const session of sessions) charged += await session.end(other, program)
      const { money, held, debt, counters } = await show(account)
      equal('sum', charged, tiersPrice(rate, counters[0]?.value ?? 0n))
      equal('what is left', [money, held, debt], [2n ** 50n - charged, 0n, 0n])
      equal('the ledger', (await postings(account)).get('main'), money)
    }),
    settings,
  )
})

t.test(`what sessions hold on a counter covers what they use of it (SEED=${seed})`, async () => {
  const funds = fc.bigInt(0n, 3_000_000n)
  const asks = fc.array(fc.record({ asked: fc.bigInt(1n, 9_000_000n), part: fc.nat(100) }), {
    minLength: 2,
    maxLength: 3,
  })
  await fc.assert(
    fc.asyncProperty(
      tiersOnly(['graduated', 'volume']),
      funds,
      asks,
      fc.nat(),
      fc.bigInt(0n, 5_000_000n),
      async (rate, funds, asks, order, start) => {
        const program = aProgram({ unit: 'octets', rate })
        const account = await anAccount(2n ** 50n)
        // The counter stands anywhere; then only `funds` are left.
        const before = new Session(account)
        await before.charge(balance, { used: start, program })
        await before.end(balance, program)
        await setMoney(account, funds)
        const sessions = []
        for (const { asked, part } of asks) {
          const session = new Session(account)
          const units = granted(await session.charge(balance, { used: 0n, asked, program }, 'I'))
          const { money, held } = await show(account)
          if (held > money) throw new Error(`held ${held} of ${money}`)
          // In volume mode a part of a grant may cost more than all of it: only the whole is promised.
          if (units > 0n)
            sessions.push({ session, used: rate.mode === 'volume' ? units : (units * BigInt(part)) / 100n })
        }
        if (order % 2 === 1) sessions.reverse()
        for (const { session, used } of sessions) {
          const { overrun } = await session.charge(other, { used, program }, 'T')
          equal('overrun', overrun, 0n)
        }
      },
    ),
    settings,
  )
})

/** The account's money without a recharge: the ledger of these accounts is not looked at. */
async function setMoney(account: string, money: bigint): Promise<void> {
  const key = accountKey(partitionOf(account, partitions), account)
  const funds = (await store.redis.hget(key, 'funds'))!
  await store.redis.hset(key, 'funds', funds.replace(/money -?\d+/, `money ${money}`))
}

t.test(
  `a grant is charged by the rate it was given under, whichever daemon and catalog report it (SEED=${seed})`,
  async () => {
    await fc.assert(
      fc.asyncProperty(ratesOf('octets'), ratesOf('octets'), amount, amount, async (old, reloaded, first, second) => {
        const [before, after] = [old, reloaded].map(rate => aProgram({ unit: 'octets', rate })) as [
          GeneratedProgram,
          GeneratedProgram,
        ]
        const session = new Session(await anAccount())
        await session.charge(balance, { used: 0n, asked: 'any', program: before })
        const answer = await session.charge(other, { used: first, asked: 'any', program: after })
        equal('under the old catalog', answer.cost, costOf(old, first, true))
        const last = await session.charge(balance, { used: second, program: before }, 'T')
        const same = old.id === reloaded.id
        const opens = same || first === 0n
        const from = same ? first : 0n
        equal('under the new one', last.cost, costOf(reloaded, from + second, opens) - costOf(reloaded, from, opens))
      }),
      settings,
    )
  },
)

t.test(`a quote is the charge (SEED=${seed})`, async () => {
  const parts = fc.array(
    fc.record({ kind: fc.nat(4), program: fc.nat(20), used: amount, asked: fc.option(amount, { nil: undefined }) }),
    { minLength: 1, maxLength: 6 },
  )
  await fc.assert(
    fc.asyncProperty(catalog, fc.constantFrom(0n, 20_000n, 2n ** 50n), parts, async ({ lines }, money, parts) => {
      const account = await anAccount(money, [
        { name: 'data', unit: 'octets', amount: units(299_999n), priority: 1, until: undefined, origin: 'test' },
        {
          name: 'points',
          unit: 'units',
          amount: units(700n),
          priority: 1,
          until: undefined,
          origin: 'test',
          warn: [units(500n)],
        },
        { name: 'bonus', unit: 'money', amount: units(9000n), priority: 2, until: undefined, origin: 'test' },
      ])
      const p = partitionOf(account, partitions)
      const session = new Session(account)
      let opened = false
      for (const { kind, program: index, used, asked } of parts) {
        const { programs } = lines[kind]!
        const request = session.request(
          { used, asked, program: programs[index % programs.length]! },
          opened ? 'U' : 'I',
        )
        const read = async (): Promise<{ account: Record<string, string>; session: Record<string, string> }> => ({
          account: inOrder(await store.redis.hgetall(accountKey(p, account))),
          session: inOrder(await store.redis.hgetall(sessionKey(p, session.id))),
        })
        const state = await read()
        const stored = await balance.quote(request)
        const given = await other.quote(request, state)
        equal('nothing is written', await read(), state)
        equal('both quotes', stored.outcome, given.outcome)
        const answer = await session.send(balance, request)
        equal('the answer', stored.outcome, { status: 'answered', answer })
        const after = await read()
        const [, entry] = (await store.redis.xrevrange(journalKey(p), '+', '-', 'COUNT', 1))[0]!
        equal('the entry', quoted(stored.entry), quoted(entry[1]))
        for (const part of ['account', 'session'] as const) {
          for (const field of new Set([...Object.keys(after[part]), ...Object.keys(given.state[part])]))
            equal(`${part} ${field}`, given.state[part][field], after[part][field])
        }
        opened = Object.keys(after.session).length > 0
        if (!opened) break
      }
    }),
    settings,
  )
})

/** Redis gives the fields of a large hash in any order. */
const inOrder = (hash: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(hash).sort(([a], [b]) => (a < b ? -1 : 1)))

/** An entry without what belongs to the moment. */
const quoted = (entry: string | undefined): unknown => entry && { ...(JSON.parse(entry) as object), time: 0, at: 0 }
