/**
 * Credit pools (RFC 8506 section 5.1.2; semantics.md section 7) under random reports of two or three members: each rate gets the price of its
 * units, what is held is what lines hold and what there is, members pay for one another, and nothing stays held after the end.
 */
import fc from 'fast-check'
import t from 'tap'
import type { ChargeAnswer } from '../../src/balance/balance.js'
import { accountKey, dueKey, journalKey, partitionOf, sessionKey } from '../../src/balance/keys.js'
import type { NewBucket } from '../../src/balance/types.js'
import { micros, units } from '../../src/units.js'
import { aLine, aProgram } from '../support/charging.js'
import { aFolder, anAudit } from '../support/ledger.js'
import { ceilDiv, max } from '../support/model-price.js'
import { partitions, startStore } from '../support/store.js'
import { seed } from '../support/seed.js'

const store = await startStore(t)
const runs = Number(process.env['HISTORIES'] ?? 150)
const minute = 60_000

interface Member {
  /** Micros a step. */
  readonly price: bigint
  readonly step: bigint
  /** What may pay beside main. */
  readonly bonus: boolean
  readonly data: boolean
}

interface Holdings {
  readonly main: bigint
  readonly credit: bigint
  readonly bonus: bigint
  readonly data: bigint
  /** Minutes until the bonus ends; undefined: it stays. */
  readonly bonusEnds: number | undefined
}

/** One line of a request. */
interface Report {
  readonly used: bigint
  readonly wanted: bigint | undefined
  readonly threshold: boolean
}

/** By member: undefined is not named. */
type Reports = readonly (Report | undefined)[]

type Command =
  | { readonly do: 'initial' | 'update' | 'skip' | 'late' | 'end'; readonly reports: Reports }
  | { readonly do: 'again' }
  | { readonly do: 'other'; readonly used: bigint; readonly wanted: bigint }
  | { readonly do: 'recharge'; readonly amount: bigint }
  | { readonly do: 'pass'; readonly minutes: number }

const programOf = ({ price, step, bonus, data }: Member): string =>
  aProgram({
    ...{ num: price, step, pool: 1, validity: 600, rule: `p${price}#${step}` },
    ...{ money: bonus ? ['bonus'] : [], buckets: data ? ['data'] : [] },
  })
const otherProgram = aProgram({ num: 3n, rule: 'other#1' })

const pairsOf = (text: string): [string, bigint][] =>
  text === '-' ? [] : text.split(',').map(each => [each.split('=')[0]!, BigInt(each.split('=')[1]!)])
const sumOf = (list: readonly bigint[]): bigint => list.reduce((sum, each) => sum + each, 0n)

let accounts = 0

/** One account, a session whose lines are members of a pool, and another session beside it. */
class History {
  private readonly account = `pool-${++accounts}`
  private readonly session = `gw;${this.account};pool`
  private readonly elsewhere = `gw;${this.account};other`
  private readonly reported: bigint[]
  private now = Date.now()
  private readonly numbers = new Map<string, number>()
  private skipped: { number: number; reports: Reports } | undefined
  private last: (() => Promise<ChargeAnswer | undefined>) | undefined
  private recharges = 0

  constructor(private readonly members: readonly Member[]) {
    this.reported = members.map(() => 0n)
  }

  async open({ main, credit, bonus, data, bonusEnds }: Holdings): Promise<void> {
    const bucket = (name: string, unit: NewBucket['unit'], amount: bigint, until?: number): NewBucket => ({
      ...{ name, unit, amount: units(amount), priority: 10, until, origin: 'test' },
    })
    const ends = bonusEnds === undefined ? undefined : this.now + bonusEnds * minute
    const buckets = [
      ...(bonus > 0n ? [bucket('bonus', 'money', bonus, ends)] : []),
      ...(data > 0n ? [bucket('data', 'octets', data)] : []),
    ]
    await store.accounts.create(
      { id: this.account, currency: 'EUR', creditLimit: micros(credit), status: 'active' },
      { identities: [{ type: 'nai', value: this.account }], offers: [{ offer: 'test', buckets }] },
      micros(main),
      'admin',
    )
  }

  async play(command: Command): Promise<void> {
    switch (command.do) {
      case 'again':
        if (this.last) {
          equal('a repeat', (await this.last())?.how, 'again')
        }
        return
      case 'recharge':
        await store.accounts.recharge({
          ...{ account: this.account, amount: micros(command.amount), currency: 'EUR', channel: 'test', actor: 'test' },
          reference: `${this.account}-${this.recharges++}`,
        })
        return
      case 'pass':
        this.now += command.minutes * minute
        return this.sweep()
      case 'other': {
        const { used, wanted } = command
        const type = this.numbers.has(this.elsewhere) ? 'U' : 'I'
        await this.charge(type, this.elsewhere, this.next(this.elsewhere), [{ used, wanted, threshold: false }])
        return
      }
      case 'skip': // its number comes, but later
        this.skipped ??= { number: this.next(this.session), reports: command.reports }
        return
      case 'late':
        if (this.skipped) {
          const { number, reports } = this.skipped
          this.skipped = undefined
          await this.charge('U', this.session, number, reports)
        }
        return
      default: {
        const type = command.do === 'end' ? 'T' : command.do === 'update' ? 'U' : 'I'
        await this.charge(type, this.session, this.next(this.session), command.reports)
      }
    }
  }

  /** The next request of the pool's session. */
  pooled(type: 'I' | 'U', reports: Reports): Promise<ChargeAnswer | undefined> {
    return this.charge(type, this.session, this.next(this.session), reports)
  }

  private next(session: string): number {
    const number = (this.numbers.get(session) ?? -1) + 1
    this.numbers.set(session, number)
    return number
  }

  /** What the lines are answered with; undefined: no such session was opened. */
  private async charge(
    type: 'I' | 'U' | 'T',
    session: string,
    number: number,
    reports: Reports,
  ): Promise<ChargeAnswer | undefined> {
    const pooled = session === this.session
    const lines = reports.flatMap((report, i) =>
      report === undefined
        ? []
        : [
            aLine({
              ...report,
              ...(type === 'I' && { used: 0n }),
              ...(type === 'T' && { wanted: undefined }),
              key: String(i),
              program: pooled ? programOf(this.members[i]!) : otherProgram,
            }),
          ],
    )
    const send = async (): Promise<ChargeAnswer | undefined> => {
      const outcome = await store.balance.charge({
        ...{
          type,
          number,
          content: `${type}${number}`,
          sessionId: session,
          account: this.account,
          subscriber: '1',
          rev: '1',
        },
        ...{ currency: 'EUR', at: this.now, now: this.now, deadline: Date.now() + 5000 },
        ...{
          deadlineMonotonic: performance.now() + 5000,
          cause: '"kind":"charge"',
          originHost: 'gw',
          originRealm: 'example',
        },
        ...{ via: 'gw', service: 'data', lowBalance: [], searchEnded: false, counters: [], lines },
      })
      if (outcome.status === 'unknown_session') return undefined
      if (outcome.status !== 'answered') throw new Error(outcome.status)
      return outcome.answer
    }
    const answer = await send()
    if (answer === undefined) return undefined
    if (pooled) for (const { key, used } of lines) this.reported[Number(key)]! += used.unsplit
    if (answer.outcome === 'ok' || answer.outcome === 'ended') this.last = send
    return answer
  }

  private async sweep(): Promise<void> {
    const p = partitionOf(this.account, partitions)
    for (const member of await store.store.redis.zrangebyscore(dueKey(p), '-inf', this.now)) {
      const [kind, owner, session] = member.split(' ')
      if (owner !== this.account || kind !== 'session') continue
      await store.store.redis.expireSession(
        ...[accountKey(p, owner), sessionKey(p, session!), dueKey(p), journalKey(p)],
        ...[String(this.now), String(Math.round(this.now - Date.now())), owner, session!, '86400000', '', 'sweeper'],
      )
    }
  }

  /** Prices, holds and what there is. */
  async check(): Promise<void> {
    const p = partitionOf(this.account, partitions)
    const { redis } = store.store
    const fields = await redis.hgetall(accountKey(p, this.account))
    const [, money, held, credit] = /money (-?\d+) held (\d+) credit (\d+)/.exec(fields['funds']!)!.map(each => each)
    let heldByLines = 0n
    let charged = 0n
    let drawn = 0n
    const inBuckets = new Map<string, bigint>()
    for (const session of [this.session, this.elsewhere]) {
      const all = await redis.hgetall(sessionKey(p, session))
      for (const [field, text] of Object.entries(all)) {
        if (!field.startsWith('line:')) continue
        const i = Number(field.slice('line:'.length))
        const { price, step } = session === this.session ? this.members[i]! : { price: 3n, step: 1n }
        const [, used, cost, holds, bucketHolds, cash, runs] =
          / used (\d+) charged (-?\d+) money (\d+) holds (\S+) cash (\S+) caps \S+ runs (\S+) /.exec(text)!
        if (session === this.session) equal(`used of ${i}`, BigInt(used!), this.reported[i]!)
        const rated = sumOf(pairsOf(runs!).map(([, n]) => n))
        equal(`charged of ${i}`, BigInt(cost!), ceilDiv(rated, step) * price)
        charged += BigInt(cost!)
        drawn += BigInt(used!) - rated
        heldByLines += BigInt(holds!)
        for (const [id, amount] of [...pairsOf(bucketHolds!), ...pairsOf(cash!)])
          inBuckets.set(id, (inBuckets.get(id) ?? 0n) + amount)
        if (/^(closed|lost)/.test(all['state']!))
          equal('held by a session that ended', `${holds}${bucketHolds}${cash}`, '0--')
      }
    }
    equal('held', BigInt(held!), heldByLines)
    if (BigInt(held!) > max(0n, BigInt(money!) + BigInt(credit!)))
      throw new Error(`holds ${held} of ${money} and ${credit}`)
    for (const [field, text] of Object.entries(fields)) {
      const id = field.startsWith('bucket:') ? field.slice('bucket:'.length) : undefined
      const [, left, bucketHeld] = / left (\d+) held (\d+) /.exec(id === undefined ? '' : text) ?? []
      if (id === undefined) continue
      equal(`held of ${text}`, BigInt(bucketHeld!), inBuckets.get(id) ?? 0n)
      if (BigInt(bucketHeld!) > BigInt(left!)) throw new Error(`holds ${bucketHeld} of ${text}`)
    }
    const posted: Record<string, bigint> = { EUR: 0n, octets: 0n }
    for (const [, [, entry]] of await redis.xrange(journalKey(p), '-', '+')) {
      const { account, posts } = JSON.parse(entry!) as { account: string; posts: [string, string, number][] }
      if (account !== this.account) continue
      for (const [name, unit, amount] of posts) if (name === 'usage:data') posted[unit]! += BigInt(amount)
    }
    equal('posted', posted['EUR'], charged)
    equal('units of buckets', posted['octets'], drawn)
  }

  async shown(): Promise<{ money: bigint; held: bigint; debt: bigint }> {
    return (await store.accounts.show(this.account))!
  }
}

function equal<Value>(what: string, found: Value, wanted: Value): void {
  if (found !== wanted) throw new Error(`${what}: ${String(found)}, not ${String(wanted)}`)
}

const big = (least: number, most: number): fc.Arbitrary<bigint> => fc.bigInt({ min: BigInt(least), max: BigInt(most) })

const aMember: fc.Arbitrary<Member> = fc.record({
  price: big(1, 30),
  step: fc.constantFrom(1n, 1n, 7n),
  bonus: fc.boolean(),
  data: fc.constantFrom(false, false, true),
})
const someHoldings: fc.Arbitrary<Holdings> = fc.record({
  main: fc.constantFrom(0n, 200n, 1000n, 5000n, 1_000_000n),
  credit: fc.constantFrom(0n, 0n, 300n),
  bonus: fc.constantFrom(0n, 150n, 2000n),
  data: fc.constantFrom(0n, 50n, 400n),
  bonusEnds: fc.constantFrom(undefined, undefined, 5, 30),
})
const aReport: fc.Arbitrary<Report | undefined> = fc.option(
  fc.record({
    used: fc.oneof(fc.constant(0n), big(0, 60), big(0, 300)),
    wanted: fc.constantFrom(undefined, 10n, 50n, 100n),
    threshold: fc.constantFrom(false, false, true),
  }),
  { nil: undefined, freq: 3 },
)
const someReports = fc.array(aReport, { minLength: 3, maxLength: 3 })

const aCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('update' as const), reports: someReports }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('initial' as const, 'end' as const), reports: someReports }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('skip' as const, 'late' as const), reports: someReports }) },
  { weight: 1, arbitrary: fc.constant({ do: 'again' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('other' as const), used: big(0, 200), wanted: big(1, 400) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('recharge' as const), amount: big(1, 800) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass' as const), minutes: fc.constantFrom(1, 8, 25) }) },
)

const openAll = { used: 0n, wanted: 50n, threshold: false }

/** Shares of what a member may use, in percent of the pool. */
interface Turn {
  readonly uses: readonly number[]
  /** By member: undefined does not report, 0n leaves the pool. */
  readonly asks: readonly (bigint | undefined)[]
  /** What another session asks for meanwhile. */
  readonly greed: bigint
}

t.test('whatever members of a pool report, prices are paid, holds are covered and nothing stays held', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(aMember, { minLength: 2, maxLength: 3 }),
      someHoldings,
      fc.array(aCommand, { minLength: 1, maxLength: 12 }),
      async (members, holdings, commands) => {
        const history = new History(members)
        await history.open(holdings)
        const cut = <C extends Command>(command: C): C =>
          'reports' in command ? { ...command, reports: command.reports.slice(0, members.length) } : command
        const all: Command[] = [
          { do: 'initial', reports: members.map(() => openAll) },
          ...commands.map(cut),
          { do: 'late', reports: [] },
          { do: 'end', reports: [] },
        ]
        for (const command of all) {
          await history.play(command)
          await history.check()
        }
      },
    ),
    { numRuns: runs, seed, endOnFailure: process.env['SHRINK'] === undefined },
  )
  t.same((await anAudit(store.store, aFolder(t))).problems, [])
})

t.test('who keeps within the pool owes nothing, whatever others hold meanwhile', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc
        .tuple(fc.boolean(), fc.array(big(1, 30), { minLength: 2, maxLength: 3 }))
        .map(([bonus, prices]) => prices.map((price): Member => ({ price, step: 1n, bonus, data: false }))),
      fc.record({
        main: big(1000, 9000),
        credit: fc.constant(0n),
        bonus: fc.constantFrom(0n, 700n),
        data: fc.constant(0n),
      }),
      fc.array(
        fc.record({
          uses: fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 3, maxLength: 3 }),
          asks: fc.array(fc.constantFrom(undefined, undefined, 0n, 20n, 60n), { minLength: 3, maxLength: 3 }),
          greed: fc.constantFrom(1n, 200n, 100_000n),
        }) satisfies fc.Arbitrary<Turn>,
        { minLength: 1, maxLength: 10 },
      ),
      async (members, holdings, turns) => {
        const history = new History(members)
        await history.open({ ...holdings, bonusEnds: undefined })
        const granted = members.map(() => 0n)
        const used = members.map(() => 0n)
        /** What members used beyond their own grants, or left in the pool; as src/simulator/session.ts keeps it. */
        let owed = 0n
        const left = (): bigint => members.reduce((sum, { price }, i) => sum + (granted[i]! - used[i]!) * price, -owed)
        const send = async (number: number, asks: Turn['asks']): Promise<void> => {
          const reports = members.map((_, i) => {
            const wanted = asks[i]
            if (wanted === undefined || (number > 0 && granted[i] === 0n && used[i] === 0n && wanted === 0n))
              return undefined
            return { used: used[i]!, wanted: wanted === 0n ? undefined : wanted, threshold: false }
          })
          const answer = await history.pooled(number === 0 ? 'I' : 'U', reports)
          const live = granted.map(each => each > 0n)
          for (const [i, report] of reports.entries()) {
            if (!report) continue
            const line = answer?.lines.find(({ line }) => line === String(i))
            const excess = (used[i]! - granted[i]!) * members[i]!.price
            granted[i] = line && 'units' in line ? line.units : 0n
            if (excess > 0n || granted[i] === 0n) owed += excess
            used[i] = 0n
          }
          if (live.every((each, i) => !each || reports[i])) owed = 0n
          await history.check()
        }
        await send(0, members.map(() => 60n)) // prettier-ignore
        for (const [n, { uses, asks, greed }] of turns.entries()) {
          await history.play({ do: 'other', used: 0n, wanted: greed })
          for (const [i, percent] of uses.slice(0, members.length).entries()) {
            // All members that have units use what any of them was granted.
            if (granted[i]! > 0n) used[i]! += ((max(0n, left()) / members[i]!.price) * BigInt(percent)) / 100n
          }
          await send(n + 1, asks)
          const { debt, money, held } = await history.shown()
          if (debt > 0n) throw new Error(`owes ${debt}, has ${money}, holds ${held}, pool ${left()} ${owed}`)
        }
      },
    ),
    { numRuns: runs, seed, endOnFailure: process.env['SHRINK'] === undefined },
  )
})
