/** CC-040 to 065: quota of several services in one request, credit pools, and what is wrong with units. */
import type { Test } from 'tap'
import type { ServiceInput, UsedUnits } from '../../src/simulator/ccr.js'
import { ccrAvps } from '../../src/simulator/ccr.js'
import type { Message } from '../../src/simulator/message.js'
import { failedAvps, linesOf, MiB, type Talk } from '../support/scenario.js'
import { hour, msisdn, row, second, startOcs, type Ocs } from './harness.js'
import { checkRecorded } from './recorder.js'

const Reason = { THRESHOLD: 0, FINAL: 2, QUOTA_EXHAUSTED: 3, VALIDITY_TIME: 4, POOL_EXHAUSTED: 8 } as const

const ask = (ratingGroup: number, parts: Partial<ServiceInput> = {}): ServiceInput => ({
  ratingGroup,
  requested: {},
  ...parts,
})
const used = (octets: bigint, reason: number = Reason.QUOTA_EXHAUSTED): readonly UsedUnits[] => [{ octets, reason }]

async function started(t: Test, offer?: string, money?: string): Promise<{ ocs: Ocs; talk: Talk }> {
  const ocs = await startOcs(t, { account: { ...(offer && { offer }), ...(money !== undefined && { money }) } })
  return { ocs, talk: ocs.talk(await ocs.gateway(t)) }
}

/** Code and grant of each line. */
const short = (answer: Message): (readonly [number | undefined, number | undefined, bigint | undefined])[] =>
  linesOf(answer).map(({ ratingGroup, code, octets }) => [ratingGroup, code, octets])

row('CC-040', 'a CCR-I with Multiple-Services-Indicator 1 is granted inside an MSCC for each group', async t => {
  const { ocs, talk } = await started(t)
  const answer = await talk.initial([ask(10), ask(20)])
  t.same(short(answer), [
    [10, 2001, 10n * MiB],
    [20, 2001, 10n * MiB],
  ])
  t.equal(answer.group('Granted-Service-Unit'), undefined, 'nothing at command level')
  await ocs.a.is(t, { bal: '10.00', res: '0.30' }, 'both are held')
})

row('CC-041', 'MSCC without the indicator, or with 0, is served as MSCC', async t => {
  const { ocs } = await started(t)
  const gateway = await ocs.gateway(t, { originHost: 'pgw2.example.net' })
  for (const indicator of [undefined, 0] as const) {
    const talk = ocs.talk(gateway)
    const { multipleServicesIndicator, ...input } = talk.input('initial', 0, [ask(10)])
    t.equal(multipleServicesIndicator, 1, 'else it is there')
    const answer = await talk.ask({
      ...input,
      ...(indicator !== undefined && { multipleServicesIndicator: indicator }),
    })
    t.same(short(answer), [[10, 2001, 10n * MiB]], `indicator ${indicator}`)
  }
})

row('CC-042', 'with Service-Identifiers the service is priced, without them the group', async t => {
  const { ocs, talk } = await started(t, 'services')
  const both = [
    ask(10, { serviceIdentifiers: [1], requested: { octets: 1n * MiB } }),
    ask(10, { requested: { octets: 1n * MiB } }),
  ]
  const answer = await talk.initial(both)
  t.same(
    linesOf(answer).map(({ ratingGroup, serviceIdentifiers, code }) => [ratingGroup, serviceIdentifiers, code]),
    [
      [10, [1], 2001],
      [10, undefined, 2001],
    ],
  )
  await ocs.a.is(t, { bal: '10.00', res: '0.03' }, '0.02 for the service, 0.01 for the group')
  await talk.update(1, [{ ratingGroup: 10, serviceIdentifiers: [1], used: used(1n * MiB) }])
  await ocs.a.is(t, { bal: '9.98', res: '0.01' }, 'the service paid its own price')
})

row('CC-043', 'without Requested-Service-Unit nothing is granted, and what was used is debited', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask(10)])
  const answer = await talk.update(1, [{ ratingGroup: 10, used: used(4n * MiB, Reason.FINAL) }])
  t.same(short(answer), [[10, 2001, undefined]])
  await ocs.a.is(t, { bal: '9.96', res: '0.00' }, 'debited')
})

row(
  'CC-044',
  'an empty Requested-Service-Unit is granted the configured quota, in the unit of the service',
  async t => {
    const { talk } = await started(t)
    t.same(short(await talk.initial([ask(10)])), [[10, 2001, 10n * MiB]])
    const { talk: call } = await started(t)
    const answer = await call.initial([ask(100)], { serviceContextId: '32260@3gpp.org' })
    t.same(linesOf(answer)[0]!.seconds, 60)
  },
)

row('CC-045', 'the amount asked for bounds the grant, not below `min`; a profile may drop it', async t => {
  const { ocs, talk } = await started(t)
  t.same(short(await talk.initial([ask(10, { requested: { octets: 5_000_000n } })])), [[10, 2001, 5_000_000n]])
  const small = ocs.talk(talk.gateway)
  t.same(short(await small.initial([ask(10, { requested: { octets: 1n } })])), [[10, 2001, 1n * MiB]], 'min')
  const smf = await ocs.gateway(t, { originHost: 'smf1.example.net' })
  const ignoring = ocs.talk(smf)
  t.same(
    short(await ignoring.initial([ask(10, { requested: { octets: 1_000_000n } })])),
    [[10, 2001, 10n * MiB]],
    'open5gs',
  )
})

row(
  'CC-046',
  'usage counts from the previous report, and is debited in full when it is more than the grant',
  async t => {
    const { ocs, talk } = await started(t)
    await talk.initial([ask(10, { requested: { octets: 1n * MiB } })])
    await talk.update(1, [ask(10, { used: used(3n * MiB) })])
    await ocs.a.is(t, { bal: '9.97', debt: '0.00' }, '3 MiB, though 1 MiB was granted')
    await talk.update(2, [ask(10, { used: used(1n * MiB) })])
    await ocs.a.is(t, { bal: '9.96' }, 'and 1 MiB since')
  },
)

row('CC-047', 'what was used is debited before the next grant is decided', async t => {
  const { ocs, talk } = await started(t, 'standard', '1.00')
  await talk.initial([ask(10)])
  const answer = await talk.update(1, [ask(10, { used: used(90n * MiB) })])
  t.same(short(answer), [[10, 2001, 10n * MiB]])
  t.equal(linesOf(answer)[0]!.final, 0, 'the 0.10 that are left are all of it')
  await ocs.a.is(t, { bal: '0.10', res: '0.10' }, 'priced from 0.10')
})

row('CC-048', 'each type of unit is for its own price; types without one cost nothing', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask(10)])
  await talk.update(1, [ask(10, { used: [{ octets: 2n * MiB, seconds: 3600, events: 5n }] })])
  await ocs.a.is(t, { bal: '9.98' }, 'the volume only')
})

row('CC-049', 'CC-Total-Octets wins over input and output; these two are added where it is absent', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask(10)])
  await talk.update(1, [ask(10, { used: [{ octets: 10n * MiB, inputOctets: 4n * MiB, outputOctets: 6n * MiB }] })])
  await ocs.a.is(t, { bal: '9.90' }, '10 MiB, not 20')
  await talk.update(2, [ask(10, { used: [{ inputOctets: 4n * MiB, outputOctets: 6n * MiB }] })])
  await ocs.a.is(t, { bal: '9.80' }, 'added')
})

row('CC-050', 'a refused command has no grants beside its code', async t => {
  const { talk } = await started(t, 'standard', '0.00')
  const answer = await talk.initial([ask(10)])
  t.equal(answer.resultCode, 4012)
  t.same(linesOf(answer), [])
})

row('CC-051', 'a group that fails alone has its code in its MSCC, and the command is 2001', async t => {
  const { talk } = await started(t)
  const answer = await talk.initial([ask(10), ask(40)])
  t.equal(answer.resultCode, 2001)
  t.same(short(answer), [
    [10, 2001, 10n * MiB],
    [40, 4010, undefined],
  ])
})

row(
  'CC-052',
  'all groups fail: a CCR-I is refused with the first code, a CCR-U is not and its session stays',
  async t => {
    const { ocs, talk } = await started(t, 'standard', '0.10')
    const refused = ocs.talk(talk.gateway)
    const answer = await refused.initial([ask(40), ask(41)])
    t.equal(answer.resultCode, 4010)
    t.equal((await refused.update(1, [ask(10)])).resultCode, 5002, 'there is no session')
    await talk.initial([ask(10)])
    const last = await talk.update(1, [ask(10, { used: used(10n * MiB) })])
    t.equal(last.resultCode, 2001)
    t.same(short(last), [[10, 4012, undefined]])
    await ocs.a.recharge('1.00')
    t.same(short(await talk.update(2, [ask(10)])), [[10, 2001, 10n * MiB]], 'after a recharge it goes on')
  },
)

row('CC-053', 'each line of a request has one MSCC in the answer, also when it only reports', async t => {
  const { talk } = await started(t)
  await talk.initial([ask(10), ask(20)])
  const answer = await talk.update(1, [
    ask(10, { used: used(1n) }),
    { ratingGroup: 20, used: used(1n, Reason.FINAL) },
    { requested: {} },
  ])
  t.same(
    linesOf(answer).map(({ ratingGroup, code }) => [ratingGroup, code]),
    [
      [10, 2001],
      [20, 2001],
      [undefined, 2001],
    ],
  )
})

row('CC-054', 'one group twice in a request: usages summed, one grant', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask(10)])
  const answer = await talk.update(1, [ask(10, { used: used(1n * MiB) }), ask(10, { used: used(2n * MiB) })])
  t.same(short(answer), [[10, 2001, 10n * MiB]])
  await ocs.a.is(t, { bal: '9.97', res: '0.10' }, 'the sum, and one hold')
})

row('CC-055', 'an unknown Rating-Group or Service-Identifier is 5031 in its MSCC, and Failed-AVP holds it', async t => {
  const { talk } = await started(t, 'services')
  const answer = await talk.initial([ask(10), ask(999), ask(10, { serviceIdentifiers: [7] })])
  t.equal(answer.resultCode, 2001)
  t.same(
    linesOf(answer).map(({ code }) => code),
    [2001, 5031, 5031],
  )
  t.same(failedAvps(answer), [
    'Multiple-Services-Credit-Control/Rating-Group=999',
    'Multiple-Services-Credit-Control/Service-Identifier=7',
    'Multiple-Services-Credit-Control/Rating-Group=10',
  ])
})

/** S of the pool: grants by their multipliers. */
function pooled(answer: Message): {
  readonly ids: (number | undefined)[]
  readonly sum: number
  readonly types: (number | undefined)[]
} {
  const lines = answer.groups('Multiple-Services-Credit-Control').map(mscc => {
    const reference = mscc.group('G-S-U-Pool-Reference')
    const value = reference?.group('Unit-Value')
    const multiplier = Number(value?.bigint('Value-Digits') ?? 0n) * 10 ** (value?.number('Exponent') ?? 0)
    const units = Number(mscc.group('Granted-Service-Unit')?.bigint('CC-Total-Octets') ?? 0n)
    const type = reference?.number('CC-Unit-Type')
    return { id: reference?.number('G-S-U-Pool-Identifier'), type, worth: units * multiplier }
  })
  return {
    ids: lines.map(({ id }) => id),
    types: lines.map(({ type }) => type),
    sum: lines.reduce((sum, { worth }) => sum + worth, 0),
  }
}

const pair = [ask(10, { requested: { octets: 3_000_000n } }), ask(20, { requested: { octets: 2_000_000n } })]

row('CC-056', 'a pool is S = sum of Qi Mi; it is exhausted when the sum of Ci Mi reaches S', async t => {
  const { ocs, talk } = await started(t, 'pool')
  const first = await talk.initial(pair)
  t.same(pooled(first), { ids: [1, 1], types: [2, 2], sum: 8_000_000 }, 'as C11, for total octets')
  await ocs.a.is(t, { bal: '10.00', res: '0.08' }, 'one hold for all of it')
  const second = await talk.update(1, [
    { ...pair[0]!, used: used(5_000_000n, Reason.POOL_EXHAUSTED) },
    { ...pair[1]!, used: used(1_200_000n, Reason.POOL_EXHAUSTED) },
  ])
  t.equal(pooled(second).sum, 8_000_000)
  await ocs.a.is(t, { bal: '9.92', res: '0.08' }, 'rating group 10 may use more than its own grant')
})

row('CC-057', 'a member that leaves takes out what it used, not what it was granted', async t => {
  const { ocs, talk } = await started(t, 'pool', '0.08')
  await talk.initial(pair)
  await talk.update(1, [{ ratingGroup: 20, used: used(400_000n, Reason.FINAL) }])
  await ocs.a.is(t, { bal: '0.07', res: '0.07' }, 'S drops by 1,000,000: 7,000,000 are left to rating group 10')
  await talk.terminate(2, [{ ratingGroup: 10, used: used(7_000_000n, Reason.FINAL) }])
  await ocs.a.is(t, { bal: '0.00', res: '0.00', debt: '0.00' }, 'all of them')
})

row('CC-058', 'units without a pool reference are independent of the pool', async t => {
  const { ocs, talk } = await started(t, 'pool')
  const answer = await talk.initial([...pair, ask(11, { requested: { octets: 1n * MiB } })])
  t.same(pooled(answer).ids, [1, 1, undefined])
  await talk.update(1, [{ ...pair[0]!, used: used(5_000_000n, Reason.POOL_EXHAUSTED) }])
  const [session] = await ocs.a.sessions()
  const third = session!.lines.find(({ line }) => line === '11')
  t.equal(third!.heldMoney, 10_000n, 'the third keeps its hold')
})

row('CC-059', 'no MSCC names a pool twice for one type of unit', async t => {
  const { talk } = await started(t, 'pool')
  const answer = await talk.initial(pair)
  for (const mscc of answer.groups('Multiple-Services-Credit-Control')) {
    const references = mscc.groups('G-S-U-Pool-Reference').map(each => each.number('CC-Unit-Type'))
    t.equal(new Set(references).size, references.length)
    t.equal(references.length, 1)
  }
})

row('CC-060', '100 CCR-I at once on 1.00, 0.30 an indivisible unit: 3 grants, 97 times 4012', async t => {
  const { ocs, talk } = await started(t, 'blocks', '1.00')
  const answers = await Promise.all(Array.from({ length: 100 }, () => ocs.talk(talk.gateway).initial([ask(10)])))
  const codes = answers.map(({ resultCode }) => resultCode)
  t.equal(codes.filter(code => code === 2001).length, 3)
  t.equal(codes.filter(code => code === 4012).length, 97)
  await ocs.a.is(t, { bal: '1.00', res: '0.90' }, 'never more than there is')
})

row('CC-061', 'Validity-Time is sent; its end is reported without usage and is no error', async t => {
  const { ocs, talk } = await started(t)
  t.equal(linesOf(await talk.initial([ask(10)]))[0]!.validity, 3600)
  ocs.clock.skip(hour)
  // Nobody answered the watchdog in that moment; the session does not depend on a connection.
  await talk.gateway.connections[0]?.closed
  await talk.gateway.connect({ host: '127.0.0.1', port: ocs.port })
  const answer = await talk.update(1, [ask(10, { used: used(0n, Reason.VALIDITY_TIME) })])
  t.same(short(answer), [[10, 2001, 10n * MiB]], 'a new grant')
  await ocs.a.is(t, { bal: '10.00', res: '0.10' }, 'nothing was used')
})

row('CC-062', 'a new grant replaces the old one; after THRESHOLD the rest of the old one stays covered', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask(10)])
  await talk.update(1, [ask(10, { used: used(4n * MiB, Reason.VALIDITY_TIME) })])
  await ocs.a.is(t, { bal: '9.96', res: '0.10' }, 'held for the new grant only')
  await talk.update(2, [ask(10, { used: used(8n * MiB, Reason.THRESHOLD) })])
  await ocs.a.is(t, { bal: '9.88', res: '0.12' }, 'and for the 2 MiB that are still in use')
  await talk.update(3, [ask(10, { used: used(12n * MiB) })])
  await ocs.a.is(t, { bal: '9.76', res: '0.10' }, 'until the next report')
})

row('CC-063', 'an MSCC that reports and asks for nothing closes its group alone', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask(10), ask(20)])
  await talk.update(1, [{ ratingGroup: 20, used: used(1n * MiB, Reason.FINAL) }])
  await ocs.a.is(t, { bal: '9.98', res: '0.10' }, 'rating group 20 is released, 10 lives')
  t.same(short(await talk.update(2, [ask(10, { used: used(1n * MiB) })])), [[10, 2001, 10n * MiB]])
})

row('CC-064', 'units that a service is not sold in are refused with 5031 in the MSCC, with Failed-AVP', async t => {
  const { ocs, talk } = await started(t)
  const answer = await talk.initial([ask(10), ask(20, { requested: { money: 1_000_000n, currency: 978 } })])
  t.same(short(answer), [
    [10, 2001, 10n * MiB],
    [20, 5031, undefined],
  ])
  t.same(failedAvps(answer), ['Multiple-Services-Credit-Control/Rating-Group=20'])
  await ocs.a.is(t, { bal: '10.00', res: '0.10' }, 'nothing is held for it')
})

row(
  'CC-065',
  'units at command level beside an MSCC are 5007; with and without Rating-Group are two lines',
  async t => {
    const { ocs, talk } = await started(t)
    await talk.initial([ask(10)])
    const avps = ccrAvps(talk.gateway, talk.input('update', 1, [ask(10, { used: used(1n * MiB) })]))
    const contradicting = await talk.askAvps([...avps, ['Used-Service-Unit', [['CC-Total-Octets', 5n]]]])
    t.equal(contradicting.resultCode, 5007)
    await ocs.a.is(t, { bal: '10.00', res: '0.10' }, 'nothing is debited')
    ocs.clock.skip(second)
    const other = ocs.talk(talk.gateway)
    t.same(short(await other.initial([{ requested: {} }, ask(10)])), [
      [undefined, 2001, 10n * MiB],
      [10, 2001, 10n * MiB],
    ])
    t.equal((await ocs.accounts.find({ type: 'msisdn', value: msisdn }))!.account.openSessions, 2)
  },
)

checkRecorded()
