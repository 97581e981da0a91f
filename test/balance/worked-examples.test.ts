/**
 * The worked examples of the semantics (section 12) that need a balance, against the real script.
 */
import t from 'tap'
import type { ChargeAnswer, LineOutcome } from '../../src/balance/balance.js'
import { aProgram, Session, type Step } from '../support/charging.js'
import { startStore } from '../support/store.js'

const { balance, accounts } = await startStore(t)

const payg = aProgram({ step: 100_000n, num: 1000n, den: 1n })
const bundle = aProgram({ step: 100_000n, num: 1000n, den: 1n, buckets: ['data'] })
const voice = aProgram({ unit: 'seconds', service: 'voice', step: 1n, first: 30n, num: 1000n, den: 1n })

interface Example {
  readonly name: string
  readonly money: bigint
  readonly credit?: bigint
  readonly bucket?: bigint
  readonly steps: readonly Step[]
}

const k = (n: number): bigint => BigInt(n) * 1000n

const examples: Example[] = [
  {
    name: '1: three reports cost what one does',
    money: 1_000_000n,
    steps: [
      { wanted: k(1000), program: payg, granted: k(1000), held: 10_000n },
      { used: k(250), wanted: k(1000), program: payg, granted: k(1000), money: 997_000n },
      { used: k(30), wanted: k(1000), program: payg, granted: k(1000), money: 997_000n },
      { used: k(20), program: payg, end: true, money: 997_000n, held: 0n },
    ],
  },
  {
    name: '2: the first 30 s, then per second',
    money: 1_000_000n,
    steps: [
      { wanted: 60n, program: voice, granted: 60n, held: 60_000n },
      { used: 20n, wanted: 60n, program: voice, granted: 60n, money: 970_000n, held: 50_000n },
      { used: 25n, program: voice, end: true, money: 955_000n, held: 0n },
    ],
  },
  {
    name: '2: no answer to the call costs nothing',
    money: 1_000_000n,
    steps: [
      { wanted: 60n, program: voice, granted: 60n, held: 60_000n },
      { used: 0n, program: voice, end: true, money: 1_000_000n, held: 0n },
    ],
  },
  {
    name: '4: the bucket first, then the rate, whose run goes on',
    money: 1_000_000n,
    bucket: k(300),
    steps: [
      { wanted: k(2000), program: bundle, granted: k(2000), held: 17_000n },
      { used: k(1050), wanted: k(2000), program: bundle, granted: k(2000), money: 992_000n, buckets: [0n] },
      { used: k(40), wanted: k(2000), program: bundle, granted: k(2000), money: 992_000n },
      { used: k(20), program: bundle, end: true, money: 991_000n, held: 0n },
    ],
  },
  {
    name: '5: near the end the paid rest of a step is granted, then nothing',
    money: 3500n,
    steps: [
      { wanted: k(10_000), program: payg, granted: k(300), final: true, held: 3000n },
      { used: k(250), wanted: k(10_000), program: payg, granted: k(50), final: true, money: 500n, held: 0n },
      { used: k(50), wanted: k(10_000), program: payg, is: 'exhausted', money: 500n, held: 0n },
    ],
  },
  {
    name: '6: an overrun becomes debt, and a recharge repays it first',
    money: 3000n,
    steps: [
      { wanted: k(10_000), program: payg, granted: k(300), final: true, held: 3000n },
      { used: k(420), program: payg, end: true, money: 0n, debt: 2000n, held: 0n },
      { recharge: 1_000_000n, money: 998_000n, debt: 0n },
    ],
  },
  {
    name: '12: a number with other content gets its first answer and changes nothing',
    money: 1_000_000n,
    steps: [
      { wanted: k(1000), program: payg, granted: k(1000) },
      { number: 4, used: k(100), wanted: k(1000), program: payg, granted: k(1000), money: 999_000n },
      { number: 4, used: k(900), wanted: k(1000), program: payg, granted: k(1000), money: 999_000n, how: 'mismatch' },
    ],
  },
  {
    name: "13: an overtaken update is charged once, and answered with the later one's grant",
    money: 1_000_000n,
    steps: [
      { number: 1, wanted: k(1000), program: payg, granted: k(1000) },
      { number: 3, used: k(700), wanted: k(1000), program: payg, granted: k(1000), money: 993_000n, held: 10_000n },
      {
        number: 2,
        used: k(500),
        wanted: k(2000),
        program: payg,
        granted: k(1000),
        money: 988_000n,
        held: 10_000n,
        how: 'reordered',
      },
      {
        number: 2,
        used: k(500),
        wanted: k(2000),
        program: payg,
        granted: k(1000),
        money: 988_000n,
        held: 10_000n,
        how: 'again',
      },
    ],
  },
  {
    name: '15: a grant keeps its rate over a reload',
    money: 1_000_000n,
    steps: [
      { wanted: k(2000), program: payg, granted: k(2000) },
      {
        used: k(1050),
        wanted: k(2000),
        program: aProgram({ step: 100_000n, num: 2000n, den: 1n }),
        granted: k(2000),
        money: 989_000n,
        held: 40_000n,
      },
      { used: k(260), program: payg, end: true, money: 983_000n, held: 0n },
    ],
  },
  {
    name: '15: an unchanged rate goes on with its run',
    money: 1_000_000n,
    steps: [
      { wanted: k(2000), program: payg, granted: k(2000) },
      { used: k(1050), wanted: k(2000), program: payg, granted: k(2000), money: 989_000n },
      { used: k(260), program: payg, end: true, money: 986_000n, held: 0n },
    ],
  },
  {
    name: '18: the credit limit lets money go below zero, and no further',
    money: 20_000n,
    credit: 50_000n,
    steps: [
      { wanted: k(10_000), program: payg, granted: k(7000), final: true, held: 70_000n },
      { used: k(7000), wanted: k(10_000), program: payg, is: 'exhausted', money: -50_000n, held: 0n },
    ],
  },
]

for (const [i, { name, money, credit = 0n, bucket, steps }] of examples.entries()) {
  t.test(name, async t => {
    const session = await Session.open(
      t,
      { balance, accounts },
      { account: `example-${i}`, money, credit, ...(bucket === undefined ? {} : { bucket }) },
    )
    for (const step of steps) await session.play(step)
  })
}

t.test('20: two rating groups in one request, and neither has anything left', async t => {
  const session = await Session.open(t, { balance, accounts }, { account: 'example-20', money: 300_000n, credit: 0n })
  const mib = 1_048_576n
  const one = aProgram({ step: mib, num: 10_000n, den: 1n })
  const two = aProgram({ step: mib, num: 20_000n, den: 1n })
  const answer = (await session.charge('I', 0, [
    { key: '10', used: 0n, wanted: 10n * mib, threshold: false, program: one },
    { key: '20', used: 0n, wanted: 10n * mib, threshold: false, program: two },
  ])) as ChargeAnswer
  const finals = answer.lines.map((line: LineOutcome) => line.is === 'granted' && line.final && line.units)
  t.same(finals, [10n * mib, 10n * mib])
  t.equal((await accounts.show('example-20'))?.held, 300_000n)
})

/** Sessions of one account; ends and periods are given by the example. */
async function sessionsOf(setUp: {
  account: string
  money: bigint
  count: number
  credit?: bigint
}): Promise<[Session, ...Session[]]> {
  const first = await Session.open(t, { balance, accounts }, { credit: 0n, ...setUp })
  return [first, ...Array.from({ length: setUp.count - 1 }, () => first.another())]
}

async function holding(account: string): Promise<{ money: bigint; held: bigint }> {
  const { money, held } = (await accounts.show(account))!
  return { money, held }
}

const MB = 1_000_000n

t.test('3: setup, and each started minute', async t => {
  const program = aProgram({ unit: 'seconds', service: 'voice', step: 60n, num: 100_000n, setup: 50_000n })
  const [session] = await sessionsOf({ account: 'ex3', money: 10n * MB, count: 1 })
  const costs = []
  for (const [number, used] of [0n, 10n, 50n, 1n].entries()) {
    const answer = await session.charge(number === 0 ? 'I' : 'U', number, [{ key: '-', used, wanted: 600n, program }])
    costs.push((answer as ChargeAnswer).cost)
  }
  t.same(costs, [0n, 150_000n, 0n, 100_000n])
})

/** The counter of a month that began long ago. */
const month = { name: 'month-data', start: 1, end: Infinity, limit: 'default' } as const

const tiers = {
  falling: [{ upTo: 1000n * MB, num: 20_000n }, { num: 5_000n }],
  rising: [{ upTo: 1000n * MB, num: 5_000n }, { num: 20_000n }],
}

for (const [name, order, holds, first, second] of [
  ['7: falling', tiers.falling, [125_000n, 125_000n], 125_000n, 50_000n],
  ['8: rising', tiers.rising, [125_000n, 200_000n], 125_000n, 200_000n],
] as const) {
  t.test(`${name} tiers on a counter that two sessions share`, async t => {
    const program = aProgram({ step: MB, tiers: order, counter: 'month-data' })
    const account = name.replace(/\W/g, '')
    const [one, two, filler] = await sessionsOf({ account, money: 1000n * MB, count: 3 })
    const counters = { counters: [month] }
    await filler!.charge('I', 0, [{ key: '10', used: 995n * MB, program }], counters)
    const before = await holding(account)
    await one.charge('I', 0, [{ key: '10', used: 0n, wanted: 10n * MB, program }], counters)
    const after = await holding(account)
    t.equal(after.held - before.held, holds[0])
    await two!.charge('I', 0, [{ key: '10', used: 0n, wanted: 10n * MB, program }], counters)
    t.equal((await holding(account)).held - after.held, holds[1])
    const paid = []
    for (const session of [two!, one]) {
      const answer = await session.charge('T', 1, [{ key: '10', used: 10n * MB, program }], counters)
      paid.push((answer as ChargeAnswer).cost)
    }
    t.same(paid, [first, second], 'whoever reports first')
    t.equal((await holding(account)).held, 0n)
  })
}

t.test('9: the whole volume becomes cheaper', async t => {
  const program = aProgram({ step: MB, tiers: tiers.falling, counter: 'month-data', mode: 'volume' })
  const [session] = await sessionsOf({ account: 'ex9', money: 100n * MB, count: 1 })
  const charge = (type: 'I' | 'U', number: number, used: bigint): Promise<ChargeAnswer | string> =>
    session.charge(type, number, [{ key: '10', used, wanted: MB, program }], { counters: [month] })
  t.equal(((await charge('I', 0, 1000n * MB)) as ChargeAnswer).cost, 20n * MB)
  t.equal(((await charge('U', 1, MB)) as ChargeAnswer).cost, -14_995_000n, 'credited')
  t.equal((await holding('ex9')).money, 100n * MB - 5_005_000n)
})

t.test('10: a switch at midnight, and in a call', async t => {
  const day = aProgram({ step: 1_048_576n, num: 10_000n })
  const night = aProgram({ step: 1_048_576n, num: 20_000n })
  const MiB = 1_048_576n
  const midnight = Math.ceil(Date.now() / 86_400_000) * 86_400_000
  const open = async (account: string): Promise<Session> => {
    const [session] = await sessionsOf({ account, money: MB, count: 1 })
    const line = { key: '10', used: 0n, wanted: 20n * MiB, program: day, next: { at: midnight, program: night } }
    const answer = await session.charge('I', 0, [line], { at: midnight - 600_000 })
    t.match(answer, { lines: [{ units: 20n * MiB, switchAt: midnight }] })
    t.equal((await holding(account)).held, 400_000n, 'the dearer side')
    return session
  }
  const cases = [
    { name: 'split', used: { before: 12n * MiB, after: 8n * MiB }, minute: 10, cost: 280_000n },
    { name: 'at 23:58', used: 2n * MiB, minute: -2, cost: 20_000n },
    { name: 'unsplit at 00:10', used: 20n * MiB, minute: 10, cost: 200_000n },
    { name: 'nobody knows', used: { indeterminate: MiB }, minute: 10, cost: 10_000n },
  ]
  for (const [i, { name, used, minute, cost }] of cases.entries()) {
    const session = await open(`ex10-${i}`)
    const at = midnight + minute * 60_000
    const answer = await session.charge('U', 1, [{ key: '10', used, program: minute < 0 ? day : night }], { at })
    t.equal((answer as ChargeAnswer).cost, cost, name)
  }
  const rate = (num: bigint): string => aProgram({ unit: 'seconds', service: 'voice', step: 1n, num })
  const eight = midnight - 4 * 3_600_000
  const prev = { at: eight, program: rate(1000n) }
  for (const granted of [true, false]) {
    const [call] = await sessionsOf({ account: `ex10-call-${granted}`, money: MB, count: 1 })
    const asked = granted ? { wanted: 600n, next: { at: eight, program: rate(500n) } } : {}
    await call.charge('I', 0, [{ key: '-', used: 0n, program: rate(1000n), ...asked }], { at: eight - 300_000 })
    const line = { key: '-', used: 600n, program: rate(500n), prev }
    const answer = await call.charge('T', 1, [line], { at: eight + 300_000 })
    t.equal((answer as ChargeAnswer).cost, 450_000n, granted ? 'under its grant' : 'without a grant')
  }
})
