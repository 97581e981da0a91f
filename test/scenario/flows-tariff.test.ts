/**
 * Reference flows where the price changes within a session, over real sockets: F04 with its variants, F16, a call over 20:00
 * (semantics.md section 12, example 10) and a counter that begins again. Balances after every step, and Tariff-Time-Change (451)
 * there or not in every answer.
 */
import t, { type Test } from 'tap'
import { ccrAvps, type CcrInput, type ServiceInput, type UsedUnits } from '../../src/simulator/ccr.js'
import type { Message } from '../../src/simulator/message.js'
import type { AvpItem } from '../../src/diameter/tree.js'
import {
  linesOf,
  MiB,
  startScenario,
  Talk,
  type AnsweredLine,
  type Expected,
  type Subject,
} from '../support/scenario.js'

const scenario = await startScenario(t)
const gateway = await scenario.gateway(t)
const { clock } = scenario
const voiceContext = '32260@3gpp.org'
const ask = { requested: {} }
/** Seconds from 1900 to 1970: NTP's time in a Time AVP. */
const ntpOffset = 2_208_988_800

/** Each story has its own days, so that time never runs back. */
let day = '2026-12-01'
const nextDay = (): string => {
  const next = new Date(Date.parse(`${day}T00:00:00Z`) + 2 * 86_400_000)
  return (day = next.toISOString().slice(0, 10))
}

/** Puts business time there, UTC. @returns Unix seconds */
function at(date: string, time: string): number {
  const instant = Date.parse(`${date}T${time}Z`)
  clock.offsetMs = instant - Date.now()
  return instant / 1_000
}

const after = (date: string): string =>
  new Date(Date.parse(`${date}T00:00:00Z`) + 86_400_000).toISOString().slice(0, 10)

/** Of all grants of an answer. */
const changes = (answer: Message): (string | undefined)[] =>
  answer.groups('Multiple-Services-Credit-Control').map(mscc => {
    const seconds = mscc.group('Granted-Service-Unit')?.number('Tariff-Time-Change')
    return seconds === undefined ? undefined : new Date(seconds * 1_000).toISOString().slice(0, 19)
  })

/** What must come of a request: its lines, 451 of each, and the account afterwards. */
interface Outcome {
  readonly lines: readonly AnsweredLine[]
  readonly change?: string
  readonly then: Expected
}

/** One session, told step by step: each request at its time. */
class Story {
  private number = 0
  private readonly talk: Talk

  constructor(
    private readonly t: Test,
    readonly subject: Subject,
    parts: Partial<CcrInput> = {},
  ) {
    this.talk = new Talk(gateway, [subject.id], parts)
  }

  async step(
    when: readonly [date: string, time: string],
    type: 'initial' | 'update' | 'terminate',
    service: ServiceInput,
    outcome: Outcome,
    parts: Partial<CcrInput> = {},
  ): Promise<Message> {
    const { t, subject, talk } = this
    const title = `${when[1]} ${type}`
    const eventTimestamp = at(...when)
    const answer = await talk.ask(talk.input(type, this.number++, [service], { eventTimestamp, ...parts }))
    t.equal(answer.resultCode, 2001, title)
    const lines = linesOf(answer)
    t.same(lines, outcome.lines, `${title}: grants`)
    if (type !== 'terminate') t.same(changes(answer), [outcome.change], `${title}: 451`)
    else t.notOk(changes(answer).some(Boolean), `${title}: no 451`)
    await subject.is(t, outcome.then, title)
    return answer
  }
}

const granted = (mib: bigint): AnsweredLine[] => [{ ratingGroup: 10, code: 2001, octets: mib * MiB, validity: 3600 }]
const data = (...used: readonly UsedUnits[]): ServiceInput => ({ ratingGroup: 10, ...ask, used })
const mib = (n: bigint, side?: UsedUnits['side']): UsedUnits => ({ octets: n * MiB, ...(side && { side }) })
const lastData = (...used: readonly UsedUnits[]): ServiceInput => ({ ratingGroup: 10, used, reason: 2 })

/** Of the last entry: which side of the switch got how much. */
async function sides(subject: Subject): Promise<object> {
  const [last] = (await subject.entries()).slice(-1) as { lines: { before?: number; after?: number }[] }[]
  const { before, after } = last!.lines[0]!
  return { before, after }
}

t.test('F04: a session over a change of the price at midnight', async t => {
  const eve = nextDay()
  const midnight = `${after(eve)}T00:00:00`
  at(eve, '23:49:00')
  const story = new Story(t, await scenario.subject(t, { money: '1.00', offer: 'flows-time' }))
  const first = await story.step([eve, '23:50:00'], 'initial', { ratingGroup: 10, ...ask }, {
    lines: granted(20n),
    change: midnight,
    then: { bal: '1.00', res: '0.40' },
  }) // prettier-ignore
  const ntp = Buffer.alloc(4)
  ntp.writeUInt32BE(Date.parse(`${midnight}Z`) / 1_000 + ntpOffset)
  const tariffTimeChange = Buffer.concat([Buffer.from('000001c34000000c', 'hex'), ntp])
  t.ok(first.octets.includes(tariffTimeChange), '451 with the M bit, seconds since 1900')

  await story.step([after(eve), '00:10:00'], 'update', data(mib(12n, 'before'), mib(8n, 'after')), {
    lines: granted(20n),
    then: { bal: '0.72', res: '0.40' },
  })
  await story.step([after(eve), '00:15:00'], 'terminate', lastData(mib(1n)), {
    lines: [{ ratingGroup: 10, code: 2001 }],
    then: { bal: '0.70', res: '0.00', debt: '0.00' },
  })
  t.equal(await story.subject.openSessions(), 0)
})

t.test('F04b: what is reported before the change is old, and the next grant names it again', async t => {
  const eve = nextDay()
  const change = `${after(eve)}T00:00:00`
  at(eve, '23:49:00')
  const story = new Story(t, await scenario.subject(t, { money: '1.00', offer: 'flows-time' }))
  await story.step([eve, '23:50:00'], 'initial', { ratingGroup: 10, ...ask }, {
    lines: granted(20n), change, then: { bal: '1.00', res: '0.40' },
  }) // prettier-ignore
  await story.step([eve, '23:58:00'], 'update', data(mib(2n)), {
    lines: granted(20n), change, then: { bal: '0.98', res: '0.40' },
  }) // prettier-ignore
  t.same(await sides(story.subject), { before: 2 * Number(MiB), after: 0 })
  await story.step([after(eve), '00:05:00'], 'terminate', lastData(mib(3n, 'before'), mib(1n, 'after')), {
    lines: [{ ratingGroup: 10, code: 2001 }], then: { bal: '0.93', res: '0.00' },
  }) // prettier-ignore
})

t.test('F04c: nobody knows when: the cheaper side', async t => {
  for (const [name, used] of [
    ['F04c: 452=2', mib(1n, 'indeterminate')],
    ['without 452, received after the change', mib(1n)],
  ] as const) {
    const eve = nextDay()
    at(eve, '23:49:00')
    const story = new Story(t, await scenario.subject(t, { money: '1.00', offer: 'flows-time' }))
    await story.step([eve, '23:50:00'], 'initial', { ratingGroup: 10, ...ask }, {
      lines: granted(20n), change: `${after(eve)}T00:00:00`, then: { bal: '1.00', res: '0.40' },
    }) // prettier-ignore
    await story.step([after(eve), '00:10:00'], 'update', data(used), {
      lines: granted(20n), then: { bal: '0.99', res: '0.40' },
    }) // prettier-ignore
    t.same(await sides(story.subject), { before: Number(MiB), after: 0 }, name)
    await story.step([after(eve), '00:15:00'], 'terminate', lastData(mib(1n)), {
      lines: [{ ratingGroup: 10, code: 2001 }], then: { bal: '0.97', res: '0.00' },
    }) // prettier-ignore
  }
})

t.test('a change that no grant can live to see is not named', async t => {
  const eve = nextDay()
  at(eve, '20:59:00')
  const story = new Story(t, await scenario.subject(t, { money: '1.00', offer: 'flows-time' }))
  // A hold lives two hours.
  await story.step([eve, '21:59:59'], 'initial', { ratingGroup: 10, ...ask }, {
    lines: granted(20n), then: { bal: '1.00', res: '0.20' },
  }) // prettier-ignore
  await story.step([eve, '22:00:00'], 'update', data(mib(1n)), {
    lines: granted(20n), change: `${after(eve)}T00:00:00`, then: { bal: '0.99', res: '0.40' },
  }) // prettier-ignore
  await story.step([eve, '22:01:00'], 'terminate', lastData(mib(0n)), {
    lines: [{ ratingGroup: 10, code: 2001 }], then: { bal: '0.99', res: '0.00' },
  }) // prettier-ignore
})

t.test('a call over 20:00 pays each second at the price of its time, told or not', async t => {
  type Report = readonly [time: string, used: readonly UsedUnits[], then: Expected]
  const reports: Record<string, readonly Report[]> = {
    'one report, unsplit': [['20:05:00', [{ seconds: 600 }], { bal: '0.55', res: '0.00' }]],
    'one report, split by 452': [
      ['20:05:00', [{ seconds: 300, side: 'before' }, { seconds: 300, side: 'after' }], { bal: '0.55', res: '0.00' }],
    ],
    'the sides in the other order': [
      ['20:05:00', [{ seconds: 300, side: 'after' }, { seconds: 300, side: 'before' }], { bal: '0.55', res: '0.00' }],
    ],
    'several reports, unsplit': [
      ['19:59:00', [{ seconds: 240 }], { bal: '0.76', res: '0.60' }],
      ['20:02:00', [{ seconds: 180 }], { bal: '0.64', res: '0.30' }],
      ['20:05:00', [{ seconds: 180 }], { bal: '0.55', res: '0.00' }],
    ],
  } // prettier-ignore
  for (const [name, of] of Object.entries(reports)) {
    await t.test(name, async t => {
      const today = nextDay()
      at(today, '19:54:00')
      const subject = await scenario.subject(t, { money: '1.00', offer: 'flows-time' })
      const call = new Story(t, subject, { serviceContextId: voiceContext })
      const lines: AnsweredLine[] = [{ ratingGroup: 100, code: 2001, seconds: 600, validity: 3600 }]
      const change = `${today}T20:00:00`
      await call.step([today, '19:55:00'], 'initial', { ratingGroup: 100, ...ask }, {
        lines, change, then: { bal: '1.00', res: '0.60' },
      }) // prettier-ignore
      for (const [i, [time, used, then]] of of.entries()) {
        const last = i === of.length - 1
        await call.step([today, time], last ? 'terminate' : 'update', { ratingGroup: 100, ...(last ? { reason: 2 } : ask), used }, {
          lines: last ? [{ ratingGroup: 100, code: 2001 }] : lines, ...(time < '20' && { change }), then,
        }) // prettier-ignore
      }
      await subject.is(t, { bal: '0.55', res: '0.00', debt: '0.00' }, '300 · 0.001 + 300 · 0.0005')
    })
  }
})

t.test('seconds that were used without a grant are laid back over 20:00, too', async t => {
  const today = nextDay()
  at(today, '19:54:00')
  const call = new Story(t, await scenario.subject(t, { money: '1.00', offer: 'flows-time' }), {
    serviceContextId: voiceContext,
  })
  const lines: AnsweredLine[] = [{ ratingGroup: 100, code: 2001 }]
  await call.step([today, '19:55:00'], 'initial', { ratingGroup: 100 }, { lines, then: { bal: '1.00', res: '0.00' } })
  await call.step(
    [today, '20:05:00'],
    'terminate',
    { ratingGroup: 100, used: [{ seconds: 600 }], reason: 2 },
    { lines, then: { bal: '0.55', res: '0.00' } },
  )
})

t.test('a counter begins again within a session: what is used before counts there', async t => {
  const months = [
    { name: 'told', used: [mib(4n, 'before'), mib(4n, 'after')], bal: '9.70', counter: 4n * MiB },
    { name: 'not told: by what costs less', used: [mib(8n)], bal: '9.74', counter: 0n },
  ] // prettier-ignore
  const dates = [
    ['2027-01-31', '2027-02-01'],
    ['2027-02-28', '2027-03-01'],
  ] as const
  for (const [i, { name, used, bal, counter }] of months.entries()) {
    await t.test(name, async t => {
      const [eve, first] = dates[i]!
      at(eve, '23:40:00')
      const subject = await scenario.subject(t, { offer: 'flows-month' })
      const story = new Story(t, subject)
      const change = `${first}T00:00:00`
      const counters = async (): Promise<bigint[]> =>
        (await scenario.accounts.show(subject.account))!.counters.map(({ value }) => value)
      // The dearer side is the new month's: 10 · 0.02 + 10 · 0.01.
      await story.step([eve, '23:45:00'], 'initial', { ratingGroup: 10, ...ask }, {
        lines: granted(20n), change, then: { bal: '10.00', res: '0.30' },
      }) // prettier-ignore
      await story.step([eve, '23:50:00'], 'update', data(mib(8n)), {
        lines: granted(20n), change, then: { bal: '9.84', res: '0.30' },
      }) // prettier-ignore
      t.same(await counters(), [8n * MiB])
      // Of 4 before: 2 · 0.02 + 2 · 0.01; 4 after: 4 · 0.02. Of 8 before: 2 · 0.02 + 6 · 0.01, which is less than 8 · 0.02.
      await story.step([first, '00:10:00'], 'update', data(...used), {
        lines: granted(20n), then: { bal },
      }) // prettier-ignore
      t.same(await counters(), [counter], 'of the new month')
      await story.step([first, '00:15:00'], 'terminate', lastData(mib(1n)), {
        lines: [{ ratingGroup: 10, code: 2001 }], then: { res: '0.00', debt: '0.00' },
      }) // prettier-ignore
      t.same(await counters(), [counter + MiB])
    })
  }
})

t.test('F16: another radio access has another price from the report on', async t => {
  at(nextDay(), '12:00:00')
  const subject = await scenario.subject(t, { offer: 'flows-rat' })
  const session = new Talk(gateway, [subject.id])
  const rat = (value: number): Partial<CcrInput> => ({ information: { rat: value } })
  const changed = (used: bigint): ServiceInput[] => [{ ratingGroup: 10, ...ask, used: [mib(used)], reason: 6 }]
  const [eutran, utran] = [6, 1]

  const first = await session.initial([{ ratingGroup: 10, ...ask }], rat(eutran))
  t.match(linesOf(first), granted(10n))
  t.same(changes(first), [undefined], 'no 451')
  await subject.is(t, { bal: '10.00', res: '0.10' }, 'step 1')

  const report = ccrAvps(gateway, session.input('update', 1, changed(4n), rat(utran)))
  const second = await session.askAvps(withTrigger(report))
  t.match(linesOf(second), granted(10n))
  t.same(changes(second), [undefined], 'no 451')
  await subject.is(t, { bal: '9.96', res: '0.20' }, 'step 3: at the old price, held at the new one')

  const third = await session.update(2, changed(1n), rat(eutran))
  t.match(linesOf(third), granted(10n))
  await subject.is(t, { bal: '9.94', res: '0.10' }, 'step 4')
  await session.terminate(3, [lastData(mib(10n))], rat(eutran))
  await subject.is(t, { bal: '9.84', res: '0.00' }, 'the end')
  const rules = ((await subject.entries()) as { lines?: { rule: string; used: number }[] }[])
    .flatMap(({ lines = [] }) => lines)
    .filter(({ used }) => used > 0)
    .map(({ rule }) => rule)
  t.same(rules, ['flows-rat#1', 'flows-rat#2', 'flows-rat#1'], 'each by the rule of its grant')
})

/** Trigger with Trigger-Type CHANGE_IN_RAT in the MSCC, beside Reporting-Reason 6. */
function withTrigger(avps: readonly AvpItem[]): AvpItem[] {
  const trigger: AvpItem = ['Trigger', [['Trigger-Type', 4]]]
  return avps.map(avp =>
    Array.isArray(avp) && avp[0] === 'Multiple-Services-Credit-Control'
      ? [avp[0] as string, [...(avp[1] as readonly AvpItem[]), trigger]]
      : avp,
  )
}

t.test('all answers', t => {
  scenario.checkAnswers(t)
  t.end()
})
