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
