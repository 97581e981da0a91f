/**
 * How much is granted (semantics.md section 7, design: how much to grant), by the real script: grants of a target follow the
 * pace and shrink with the money, without many messages at the end and without much money in sessions that do nothing.
 */
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { LineOutcome } from '../../src/balance/balance.js'
import { aProgram, Session, type ProgramParts, type TestLine } from '../support/charging.js'
import { aSeed, seeded } from '../support/load.js'
import { startStore } from '../support/store.js'

const { balance, accounts } = await startStore(t)

const kB = 1_000n
const MB = 1_000_000n
const second = 1_000
const minute = 60 * second
const hour = 60 * minute

const rate = { step: 100n * kB, num: 1_000n }
const adaptive = { size: 10n * MB, min: 100n * kB, max: 100n * MB, target: 300 }
const data = aProgram({ ...rate, quota: adaptive })
const other = aProgram({ ...rate, service: 'other', quota: adaptive })
const fixed = aProgram({ ...rate, quota: { ...adaptive, target: 0 } })
const voice = aProgram({
  unit: 'seconds',
  service: 'voice',
  step: 1n,
  num: 1_000n,
  quota: { size: 60n, min: 10n, max: 3_600n, target: 300 },
})

let accountNumber = 0

/** A session in virtual time. */
class Play {
  private number = 0
  private now = Date.now()

  private constructor(readonly session: Session) {}

  static async open(t: Test, money = 1_000_000n * MB, credit = 0n): Promise<Play> {
    const account = `quota-${++accountNumber}`
    return new Play(await Session.open(t, { balance, accounts }, { account, money, credit }))
  }

  /** Of the same account. */
  another(): Play {
    const play = new Play(this.session.another())
    play.now = this.now
    return play
  }

  wait(ms: number): void {
    this.now += ms
  }

  async ask(lines: readonly Partial<TestLine>[], number = this.number, end = false): Promise<readonly LineOutcome[]> {
    this.number = Math.max(this.number, number + 1)
    const answer = await this.session.charge(
      number === 0 ? 'I' : end ? 'T' : 'U',
      number,
      lines.map(line => ({ key: '10', used: 0n, wanted: end ? undefined : ('any' as const), program: data, ...line })),
      { now: this.now, at: this.now },
    )
    if (typeof answer === 'string') throw new Error(answer)
    if (answer.outcome === 'refused') this.number = 0
    return answer.lines
  }

  /** One line. @returns what is granted */
  async grant(line: Partial<TestLine> = {}, number?: number): Promise<bigint> {
    const [outcome] = await this.ask([line], number)
    return unitsOf(outcome)
  }

  async account(): Promise<{ money: bigint; held: bigint; credit: bigint }> {
    const { money, held, creditLimit: credit } = (await accounts.show(this.session.account))!
    return { money, held, credit }
  }
}

const unitsOf = (line: LineOutcome | undefined): bigint => (line && 'units' in line ? line.units : 0n)
const isFinal = (line: LineOutcome | undefined): boolean => line?.is === 'granted' && line.final

t.test('the size of a grant is what the session uses in the target time', async t => {
  type Report = readonly [after: number, used: bigint, granted: bigint]
  const cases: Record<string, { program?: string; first?: bigint; reports: readonly Report[] }> = {
    'ten megabytes in 100 s': { reports: [[100 * second, 10n * MB, 30n * MB]] },
    'the same pace goes on': {
      reports: [
        [100 * second, 10n * MB, 30n * MB],
        [300 * second, 30n * MB, 30n * MB],
        [300 * second, 30n * MB, 30n * MB],
      ],
    },
    'no more than the maximum': { reports: [[2 * second, 10n * MB, 100n * MB]] },
    'no less than the minimum': { reports: [[hour, 200n * kB, 100n * kB]] },
    'a calm hour counts for more than the minutes before it': {
      reports: [
        [100 * second, 10n * MB, 30n * MB],
        [hour, 3_900n * kB, 2_607_693n], // (30 + 3.9 MB) in (300 + 3,600 s), times 300 s
      ],
    },
    'a moment counts for less than the minutes before it': {
      reports: [
        [1_000 * second, 10n * MB, 3n * MB],
        [10, 1n * MB, 3_999_867n], // (3 + 1 MB) in 300.01 s, times 300 s
      ],
    },
    'a session that does nothing lets go, whatever it used before': {
      reports: [
        [10 * second, 10n * MB, 100n * MB],
        [hour, 0n, 7_692_308n], // 100 MB in 3,900 s, times 300 s
        [hour, 0n, 591_717n],
        [hour, 0n, 100n * kB],
      ],
    },
    'one that has not begun says nothing of its pace': { reports: [[second, 0n, 10n * MB]] },
    'one that has not begun for an hour says something': { reports: [[hour, 0n, 100n * kB]] },
    'a call reports to the second and arrives when it does': {
      program: voice,
      first: 60n,
      reports: [
        [60 * second - 100, 60n, 301n],
        [301 * second + 40, 301n, 301n],
        [301 * second - 200, 301n, 301n],
      ],
    },
  }
  for (const [name, { program = data, first = 10n * MB, reports }] of Object.entries(cases)) {
    const play = await Play.open(t)
    t.equal(await play.grant({ program }), first, `${name}: nothing is known, its size`)
    for (const [i, [after, used, granted]] of reports.entries()) {
      play.wait(after)
      t.equal(await play.grant({ program, used }), granted, `${name}, report ${i + 1}`)
    }
  }
})

t.test('what is asked bounds a grant, down to the minimum', async t => {
  const cases: readonly (readonly [program: string, wanted: bigint | 'any', granted: bigint])[] = [
    [data, 'any', 10n * MB],
    [data, 5n * MB, 5n * MB],
    [data, 50n * MB, 10n * MB],
    [data, 1n, 100n * kB],
    [fixed, 5n * MB, 5n * MB],
    [fixed, 50n * MB, 10n * MB],
    [fixed, 1n, 100n * kB],
  ]
  for (const [program, wanted, granted] of cases) {
    const play = await Play.open(t)
    t.equal(await play.grant({ program, wanted }), granted, `asked ${wanted}`)
  }
  const play = await Play.open(t)
  await play.grant()
  play.wait(100 * second)
  t.equal(await play.grant({ used: 10n * MB, wanted: 20n * MB }), 20n * MB, 'less than its pace')
  play.wait(200 * second)
  t.equal(await play.grant({ used: 20n * MB }), 30n * MB, 'which is still known')
})

t.test('without a target the size is fixed, but for what is affordable', async t => {
  const play = await Play.open(t, 300_000n)
  t.equal(await play.grant({ program: fixed }), 10n * MB)
  for (const [after, used] of [
    [1, 10n * MB],
    [hour, 0n],
    [hour, 5n * MB],
  ] as const) {
    play.wait(after)
    t.equal(await play.grant({ program: fixed, used }), 10n * MB)
  }
  t.equal(await play.grant({ program: fixed, used: 8n * MB }), 7n * MB, 'the rest')
})

t.test('repeats measure nothing', async t => {
  const play = await Play.open(t)
  await play.grant()
  play.wait(100 * second)
  const report = { used: 10n * MB }
  t.equal(await play.grant(report, 1), 30n * MB)
  for (const after of [1, hour]) {
    play.wait(after)
    t.equal(await play.grant(report, 1), 30n * MB, 'again')
    t.equal(await play.grant({ used: 99n * MB }, 1), 30n * MB, 'with other content')
  }
  play.wait(300 * second - 1 - hour)
  t.equal(await play.grant({ used: 30n * MB }, 2), 30n * MB, 'the pace is of the time between two reports')
})

t.test('an update that was overtaken neither measures nor is granted', async t => {
  const play = await Play.open(t)
  await play.grant()
  play.wait(100 * second)
  t.equal(await play.grant({ used: 10n * MB }, 2), 30n * MB)
  play.wait(1)
  t.equal(await play.grant({ used: 50n * MB }, 1), 30n * MB, 'the grant of the later number')
  play.wait(300 * second - 1)
  t.equal(await play.grant({ used: 30n * MB }, 3), 30n * MB)
})

t.test('two lines have each its own pace', async t => {
  const play = await Play.open(t)
  const lines = (a: bigint, b: bigint): Partial<TestLine>[] => [
    { key: '10', used: a },
    { key: '20', used: b, program: other },
  ]
  t.same((await play.ask(lines(0n, 0n))).map(unitsOf), [10n * MB, 10n * MB])
  play.wait(100 * second)
  t.same((await play.ask(lines(10n * MB, 1n * MB))).map(unitsOf), [30n * MB, 3n * MB])
  play.wait(100 * second)
  t.same((await play.ask([{ key: '20', used: 1n * MB, program: other }])).map(unitsOf), [3n * MB])
  play.wait(200 * second)
  t.same((await play.ask([{ key: '10', used: 30n * MB }])).map(unitsOf), [30n * MB], 'measured since its own grant')
})

t.test('what is free is granted as much as may be, holds nothing, and never ends', async t => {
  for (const program of [{}, { target: 0 }]) {
    const play = await Play.open(t, 0n)
    const free = aProgram({ kind: 'free', quota: { ...adaptive, ...program } })
    const [line] = await play.ask([{ program: free }])
    t.match(line, { is: 'free', units: 100n * MB, final: false })
    play.wait(hour)
    t.match(await play.ask([{ program: free, used: 1n }]), [{ is: 'free', units: 100n * MB, final: false }])
    t.match(await play.ask([{ program: free, used: 1n, wanted: 2n * MB }]), [{ is: 'free', units: 2n * MB }])
    t.equal((await play.account()).held, 0n)
  }
})

/** Uses each grant whole, at a pace in units a second, until there is no more. */
async function exhaust(play: Play, program: string, pace: number): Promise<{ messages: number; used: bigint }> {
  let messages = 0
  let used = 0n
  for (let report = 0n, final = false; ;) {
    const [line] = await play.ask([{ used: report, program, wanted: final ? undefined : 'any' }])
    messages++
    used += report
    if (final || line?.is === 'exhausted') return { messages, used }
    report = unitsOf(line)
    final = isFinal(line)
    play.wait(Math.ceil((Number(report) / pace) * second))
  }
}

t.test('near the end grants are halved, in whole steps, down to the minimum', async t => {
  const play = await Play.open(t, 800_000n)
  const sizes: bigint[] = []
  for (let used = 0n, final = false; !final; used = sizes.at(-1)!) {
    const [line] = await play.ask([{ used }])
    sizes.push(unitsOf(line))
    final = isFinal(line)
    play.wait(second)
  }
  t.same(
    sizes.map(each => Number(each) / 1e6),
    [10, 35, 17.5, 8.8, 4.4, 2.2, 1.1, 0.5, 0.3, 0.1, 0.1],
  )
})

t.test('all of a balance is used with few messages', async t => {
  const quota = { ...adaptive, size: 100n * MB }
  const minutes = { size: 600n, min: 1n, max: 3_600n, target: 300 }
  const kinds: readonly { name: string; parts: ProgramParts; max: bigint; least: bigint }[] = [
    { name: 'data by 100 kB', parts: { ...rate, quota }, max: 100n * MB, least: 100n * kB },
    { name: 'data by the MB', parts: { step: MB, num: 10_000n, quota }, max: 100n * MB, least: MB },
    {
      name: 'calls by the minute, granted by the second',
      parts: { unit: 'seconds', step: 60n, num: 60_000n, quota: minutes },
      max: 300n,
      least: 60n,
    },
  ]
  for (const { name, parts, max, least } of kinds) {
    const program = aProgram(parts)
    for (const steps of [1n, 2n, 7n, 99n, 1_000n, 12_345n]) {
      const all = steps * parts.step!
      const play = await Play.open(t, steps * parts.num!)
      const { messages, used } = await exhaust(play, program, Number(max) / 300)
      // Grants of the pace while they are covered, then halves; the first, the last, and the one that says so.
      const most = Number(all / max) + Math.ceil(Math.log2(Number(max < all ? max : all) / Number(least))) + 4
      t.equal(used, all, `${name}: all of ${all} is used`)
      t.ok(messages <= most, `${name}: ${messages} messages for ${all}, at most ${most}`)
      t.same(await play.account(), { money: 0n, held: 0n, credit: 0n })
    }
  }
})

t.test('one of several sessions needs no more than its share says, when the others do nothing', async t => {
  for (const idle of [1, 3, 7, 30]) {
    const play = await Play.open(t, 990_000n)
    for (let i = 0; i < idle; i++) {
      const other = play.another()
      await other.grant({ wanted: 1n })
    }
    const { messages } = await exhaust(play, data, 1e6)
    // Each grant is one part of `sessions`: so many make half of what is left, down to a minimum for each.
    const sessions = idle + 2
    const most = Math.ceil(sessions * Math.log(1_000 / sessions) + sessions) + 4
    t.ok(messages <= most, `${messages} messages beside ${idle} other sessions, at most ${most}`)
  }
})

t.test('the rest of a step that is held is granted, unless less was asked', async t => {
  const program = aProgram({ step: MB, num: 10_000n, quota: adaptive })
  const play = await Play.open(t, 40_000n)
  t.equal(await play.grant({ program, wanted: 300n * kB }), 300n * kB)
  t.equal((await play.account()).held, 10_000n)
  play.wait(second)
  t.equal(await play.grant({ program, used: 300n * kB }), 2_700n * kB, 'half of 3.7 MB, and the rest of the third')
  t.same(await play.account(), { money: 30_000n, held: 20_000n, credit: 0n })
})

t.test('parallel sessions of an account leave something for each other', async t => {
  const first = await Play.open(t, 900_000n)
  t.equal(await first.grant(), 10n * MB, 'its size is less than half')
  first.wait(second)
  t.equal(await first.grant({ used: 10n * MB }), 40n * MB, 'half of 80 MB')
  const second_ = first.another()
  t.equal(await second_.grant(), 10n * MB, 'its size is less than a third of 40 MB')
  second_.wait(second)
  t.equal(await second_.grant({ used: 10n * MB }), 10n * MB, 'a third of 30 MB')
  const third = first.another()
  t.equal(await third.grant(), 5n * MB, 'a fourth of 20 MB')
  t.equal((await first.account()).held, 550_000n)
})

t.test('a threshold report shares what is left beside the rest of its grant', async t => {
  const play = await Play.open(t, 400_000n)
  t.equal(await play.grant(), 10n * MB)
  play.wait(8 * second)
  t.equal(await play.grant({ used: 8n * MB, threshold: true }), 15n * MB, '2 MB stay usable, half of 30 MB is new')
  t.equal((await play.account()).held, 170_000n)
})

t.test('whatever parallel sessions do, funds cover all holds, and final means that nothing is left', async t => {
  const seed = aSeed(t)
  await fc.assert(
    fc.asyncProperty(
      fc.record({ money: fc.bigInt(0n, 2_000_000n), credit: fc.constantFrom(0n, 50_000n), seed: fc.integer() }),
      async ({ money, credit, seed }) => {
        const random = seeded(seed)
        const first = await Play.open(t, money, credit)
        const plays = [first, ...Array.from({ length: 3 }, () => first.another())]
        const grants = plays.map(() => new Map<string, bigint>())
        for (let i = 0; i < 40; i++) {
          const at = Math.floor(random() * plays.length)
          const [play, granted] = [plays[at]!, grants[at]!]
          for (const each of plays) each.wait(Math.floor(random() * 100) * second)
          const keys = random() < 0.3 ? ['10', '20'] : random() < 0.5 ? ['10'] : ['20']
          const lines = keys.map(key => {
            const all = granted.get(key) ?? 0n
            const used = random() < 0.5 ? all : (all * BigInt(Math.floor(random() * 100))) / 100n
            return { key, used, program: key === '10' ? data : other }
          })
          const outcomes = await play.ask(lines)
          for (const line of outcomes) granted.set(line.line, unitsOf(line))
          const account = await first.account()
          if (account.held > account.money + account.credit) return false
          // A step is 1,000 micros: with that much free, something could be granted.
          const free = account.money + account.credit - account.held
          if (outcomes.some(line => (line.is === 'exhausted' || isFinal(line)) && free >= 1_000n)) return false
          if (outcomes.some(line => line.is === 'granted' && line.units > adaptive.max)) return false
        }
        return true
      },
    ),
    { seed, numRuns: 25 },
  )
})
