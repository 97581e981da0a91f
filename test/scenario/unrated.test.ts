/**
 * What matches no rule, over real sockets: refused with 5031, counted, with the reason in the ledger; and what was granted
 * before is charged as it was granted.
 */
import t from 'tap'
import { Redis } from 'ioredis'
import { programsKey } from '../../src/balance/keys.js'
import type { CcrInput } from '../../src/simulator/ccr.js'
import { until } from '../support/ocsd-process.js'
import { failedAvps, linesOf, MiB, startScenario, Talk, type Subject } from '../support/scenario.js'

const scenario = await startScenario(t)
const gateway = await scenario.gateway(t)
const redis = new Redis({ path: scenario.redis.socket })
t.teardown(() => redis.disconnect())
const ask = { requested: {} }
const rat = (value: number): Partial<CcrInput> => ({ information: { rat: value } })
const [utran, eutran, wlan] = [1, 6, 3]

interface Entry {
  readonly outcome: string
  readonly posts: readonly unknown[]
  readonly lines: readonly {
    line: string
    is: string
    program: string
    used: number
    granted: number
    unpaid?: number
    why?: unknown
  }[]
}

/** `ocs_unrated_total` by service. */
async function counted(): Promise<Record<string, number>> {
  const { host, port } = scenario.daemon.addresses.metrics
  const text = await (await fetch(`http://${host}:${port}/metrics`)).text()
  return Object.fromEntries(
    [...text.matchAll(/^ocs_unrated_total\{service="(\w+)"\} (\d+)$/gm)].map(
      ([, service, n]) => [service!, Number(n)] as const,
    ),
  )
}

const lastEntry = async (subject: Subject): Promise<Entry> => (await subject.entries()).at(-1) as unknown as Entry

/** What the ledger's readers are told of the program of a line. */
async function described(id: string): Promise<unknown> {
  let text: string | null = null
  await until('a program is described', async () => (text = await redis.hget(programsKey, id)) !== null)
  return JSON.parse(text!)
}

/** The rules that were tried, and what of each did not fit. */
const missed = (fails: readonly string[]): object => ({
  kind: 'unrated',
  rules: [],
  passed: [{ offer: 'flows-rat', misses: fails.map((each, i) => ({ rule: i + 1, fails: each })) }],
})
const why = (fails: readonly string[]): string => fails.map((each, i) => `flows-rat#${i + 1} ${each}`).join(', ')
const byRat = ['rat', 'rat']
const byGroup = ['ratingGroup', 'ratingGroup']
const ratingFailed = ['Multiple-Services-Credit-Control/Rating-Group=10']

t.test('a session of which nothing matches is refused, with the reason', async t => {
  const subject = await scenario.subject(t, { offer: 'flows-rat' })
  const before = (await counted())['data'] ?? 0
  const answer = await new Talk(gateway, [subject.id]).initial([{ ratingGroup: 10, ...ask }], rat(wlan))
  t.same([answer.resultCode, linesOf(answer), failedAvps(answer)], [5031, [], ratingFailed])
  t.equal((await counted())['data'], before + 1)
  t.same(await subject.sessions(), [], 'no session')
  await subject.is(t, { bal: '10.00', res: '0.00' }, 'nothing held')
  const entry = await lastEntry(subject)
  t.match(entry, { outcome: 'refused', posts: [], lines: [{ line: '10', is: 'unrated', granted: 0, why: why(byRat) }] })
  t.match(await described(entry.lines[0]!.program), missed(byRat))
})

t.test('in a session, what was granted is charged, and what matches no more is refused', async t => {
  const subject = await scenario.subject(t, { offer: 'flows-rat' })
  const session = new Talk(gateway, [subject.id])
  await session.initial([{ ratingGroup: 10, ...ask }], rat(eutran))
  const before = (await counted())['data'] ?? 0
  const used = [{ octets: 4n * MiB }]
  const answer = await session.update(1, [{ ratingGroup: 10, ...ask, used, reason: 6 }], rat(wlan))
  t.equal(answer.resultCode, 2001, 'the session lives')
  t.same([linesOf(answer), failedAvps(answer)], [[{ ratingGroup: 10, code: 5031 }], ratingFailed])
  t.equal((await counted())['data'], before + 1)
  await subject.is(t, { bal: '9.96', res: '0.00' }, 'by the rule of the grant')
  t.match(await lastEntry(subject), { lines: [{ is: 'unrated', used: Number(4n * MiB), why: why(byRat) }] })

  const again = await session.update(2, [{ ratingGroup: 10, ...ask }], rat(utran))
  t.match(linesOf(again), [{ code: 2001, octets: 10n * MiB }], 'until it matches again')
  t.equal((await counted())['data'], before + 1)
  await session.terminate(3)
})

t.test('beside a line that matches, another is refused and counted alone', async t => {
  const subject = await scenario.subject(t, { offer: 'flows-rat' })
  const session = new Talk(gateway, [subject.id])
  const before = (await counted())['data'] ?? 0
  const lines = [10, 998, 999].map(ratingGroup => ({ ratingGroup, ...ask }))
  const answer = await session.initial(lines, rat(eutran))
  t.same(
    linesOf(answer).map(({ code }) => code),
    [2001, 5031, 5031],
  )
  t.equal((await counted())['data'], before + 2)
  await subject.is(t, { bal: '10.00', res: '0.10' }, 'held for the one')
  const repeated = await session.ask(session.input('initial', 0, lines, rat(eutran)))
  t.same(
    linesOf(repeated).map(({ code }) => code),
    [2001, 5031, 5031],
  )
  t.equal((await counted())['data'], before + 2, 'a repeat is not counted again')

  const used = [{ octets: 3n * MiB }]
  const end = await session.terminate(1, [{ ratingGroup: 999, used, reason: 2 }], rat(eutran))
  t.same(linesOf(end), [{ ratingGroup: 999, code: 5031 }], 'told, though nothing more is asked')
  t.equal((await counted())['data'], before + 3, 'and counted')
  const entry = await lastEntry(subject)
  t.match(
    entry.lines.find(({ line }) => line === '999'),
    { used: Number(3n * MiB), unpaid: Number(3n * MiB), why: why(byGroup) },
    'what was used all the same is in the ledger, owed by nobody',
  )
  t.match(await described(entry.lines[0]!.program), missed(byGroup))
  await subject.is(t, { bal: '10.00', res: '0.00', debt: '0.00' }, 'no price, no charge')
})

t.test('all answers', t => {
  scenario.checkAnswers(t)
  t.end()
})
