/** The shipped configuration over real sockets: the semantics' worked examples on `payg`, and every rule of the catalog. */
import t from 'tap'
import type { ServiceInput } from '../../src/simulator/ccr.js'
import { failedAvps, linesOf, lineOf, startScenario, Talk, type Expected } from '../support/scenario.js'

const scenario = await startScenario(t, 'shipped')
const gateway = await scenario.gateway(t)
const k = (n: number): bigint => BigInt(n) * 1000n

interface Step {
  /** CC-Request-Number, when it is not the next one. */
  readonly number?: number
  readonly used?: bigint
  /** False: no Requested-Service-Unit. */
  readonly asks?: false
  readonly end?: true
  readonly recharge?: string
  /** Result-Code of the line, what was granted, whether final. */
  readonly line?: readonly [code: number, granted?: bigint, final?: boolean]
  readonly account: Expected
}

interface Example {
  readonly name: string
  readonly voice?: true
  readonly money: string
  readonly steps: readonly Step[]
}

const examples: readonly Example[] = [
  {
    name: '1: three reports cost what one does',
    money: '1.00',
    steps: [
      { account: { bal: '1.00', res: '0.10' }, line: [2001, k(10_000)] },
      { used: k(250), account: { bal: '0.997', res: '0.10' } },
      { used: k(30), account: { bal: '0.997', res: '0.10' } },
      { used: k(20), end: true, account: { bal: '0.997', res: '0.00' } },
    ],
  },
  {
    name: '2: the first 30 s at once, then per second',
    voice: true,
    money: '1.00',
    steps: [
      { account: { res: '0.06' }, line: [2001, 60n] },
      { used: 20n, account: { bal: '0.97', res: '0.05' } },
      { used: 25n, end: true, account: { bal: '0.955', res: '0.00' } },
    ],
  },
  {
    name: '5: near the end the paid rest of a step is granted, then nothing',
    money: '0.0035',
    steps: [
      { line: [2001, k(300), true], account: { bal: '0.0035', res: '0.003' } },
      { used: k(250), line: [2001, k(50), true], account: { bal: '0.0005', res: '0.00' } },
      { used: k(50), line: [4012], account: { bal: '0.0005', res: '0.00' } },
    ],
  },
  {
    name: '6: an overrun becomes debt, and a recharge repays it first',
    money: '0.003',
    steps: [
      { line: [2001, k(300), true], account: { res: '0.003' } },
      { used: k(420), asks: false, line: [2001], account: { bal: '0.00', debt: '0.002' } },
      { recharge: '1.00', account: { bal: '0.998', debt: '0.00' } },
      { line: [2001, k(10_000)], account: { bal: '0.998', res: '0.10' } },
    ],
  },
  {
    name: '12: a known number with other content changes nothing',
    money: '1.00',
    steps: [
      { account: { bal: '1.00' } },
      { number: 4, used: k(100), account: { bal: '0.999' } },
      { number: 4, used: k(900), account: { bal: '0.999' } },
    ],
  },
  {
    name: '13: number 3 overtakes number 2',
    money: '1.00',
    steps: [
      { number: 1, account: { bal: '1.00' } },
      { number: 3, used: k(700), account: { bal: '0.993', res: '0.10' } },
      { number: 2, used: k(500), line: [2001, k(10_000)], account: { bal: '0.988', res: '0.10' } },
    ],
  },
]

for (const { name, voice, money, steps } of examples) {
  t.test(`worked example ${name}`, async t => {
    const subject = await scenario.subject(t, { money })
    const session = new Talk(gateway, [subject.id], { serviceContextId: voice ? '32260@3gpp.org' : '32251@3gpp.org' })
    let next = 0
    for (const { number = next, used, asks = true, end, recharge, line, account } of steps) {
      if (recharge !== undefined) {
        await subject.recharge(recharge)
        await subject.is(t, account, `recharge ${recharge}`)
        continue
      }
      const amount = used !== undefined && { used: [voice ? { seconds: Number(used) } : { octets: used }] }
      const service: ServiceInput = {
        ...(!voice && { ratingGroup: 10 }),
        ...(asks && !end && { requested: {} }),
        ...amount,
      }
      const type = next === 0 ? 'initial' : end ? 'terminate' : 'update'
      const answer = await session.ask(session.input(type, number, [service]))
      next = Math.max(next, number + 1)
      if (line) {
        const [code, granted, final = false] = line
        const told = linesOf(answer)[0]
        t.same(
          [told?.code, told?.octets ?? told?.seconds, told?.final === 0],
          [code, voice ? Number(granted) : granted, final],
        )
      }
      await subject.is(t, account, `number ${number}`)
    }
  })
}

t.test('worked example 5 above opens with a session, but nothing at all is 4012', async t => {
  const subject = await scenario.subject(t, { money: '0.0005' })
  const answer = await new Talk(gateway, [subject.id]).initial([{ ratingGroup: 10, requested: {} }])
  t.equal(answer.resultCode, 4012)
})

t.test('every rule of the shipped catalog', async t => {
  const table: [offer: string, ratingGroup: number | undefined, code: number, granted?: bigint][] = [
    ['payg', 10, 2001, k(10_000)],
    ['payg', undefined, 2001, k(10_000)],
    ['payg', 30, 2001, k(100_000)],
    ['payg', 40, 4010],
    ['payg', 999, 5031],
    ['bundle-5gb', 10, 2001, k(10_000)],
    ['bundle-5gb', undefined, 2001, k(10_000)],
    ['bundle-5gb', 30, 2001, k(100_000)],
    ['bundle-5gb', 40, 4010],
    ['bundle-5gb', 999, 5031],
  ]
  for (const [offer, ratingGroup, code, granted] of table) {
    const subject = await scenario.subject(t, { offer })
    const name = `${offer}, rating group ${ratingGroup ?? 'none'}`
    const answer = await new Talk(gateway, [subject.id]).initial([
      { ...(ratingGroup !== undefined && { ratingGroup }), requested: {} },
    ])
    t.same([answer.resultCode, linesOf(answer)[0]?.octets], [code, granted], name)
    const unrated = code === 5031 ? [`Multiple-Services-Credit-Control/Rating-Group=${ratingGroup}`] : []
    t.same(failedAvps(answer), unrated, name)
    const free = ratingGroup === 30 || granted === undefined
    const bucket = offer === 'bundle-5gb' && ratingGroup === 10
    await subject.is(t, { bal: '10.00', res: free || bucket ? '0.00' : '0.10' }, name)
    if (bucket) await subject.is(t, { buckets: [[k(5_000_000), k(10_000)]] }, `${name}: the bucket holds`)
  }
})

t.test('calls and messages at command level, as simple gateways ask', async t => {
  const table: [context: string, granted: object, res: string][] = [
    ['32260@3gpp.org', { seconds: 60 }, '0.06'],
    ['12.32260@3gpp.org', { seconds: 60 }, '0.06'],
    ['32274@3gpp.org', { events: 1n }, '0.05'],
  ]
  for (const [serviceContextId, granted, res] of table) {
    const subject = await scenario.subject(t)
    const session = new Talk(gateway, [subject.id], { serviceContextId })
    t.match(lineOf(await session.initial([], { units: { requested: {} } })), { code: 2001, ...granted })
    await subject.is(t, { bal: '10.00', res }, serviceContextId)
    t.equal((await session.terminate(1)).resultCode, 2001)
    await subject.is(t, { bal: '10.00', res: '0.00' }, `${serviceContextId}: given back`)
  }
})

t.test('all answers', t => {
  scenario.checkAnswers(t)
  t.end()
})
