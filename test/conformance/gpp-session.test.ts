/** 3GPP-001 to 3GPP-048: what TS 32.299 adds to credit control on Ro and Gy. */
import type { Test } from 'tap'
import { ccrAvps, Reason, type CcrInput, type ServiceInput, type UsedUnits } from '../../src/simulator/ccr.js'
import { Avps, type Message } from '../../src/simulator/message.js'
import { failedAvps, linesOf, MiB, type Talk } from '../support/scenario.js'
import { vector } from '../support/vectors.js'
import { msisdn, row, second, startOcs, type Ocs } from './harness.js'
import { anAvp, append, ofSession, without, withoutMandatory, withValue } from './octets.js'
import { checkRecorded } from './recorder.js'

const ask = { ratingGroup: 10, requested: {} }
const sms = '32274@3gpp.org'
const time = { serviceContextId: '32251@time.example.net' }
const voice = { serviceContextId: '32260@3gpp.org' }
const oneSms: ServiceInput = { serviceIdentifiers: [1], requested: { events: 1n } }

async function started(t: Test, offer?: string, money?: string): Promise<{ ocs: Ocs; talk: Talk }> {
  const ocs = await startOcs(t, { account: { ...(offer && { offer }), ...(money !== undefined && { money }) } })
  return { ocs, talk: ocs.talk(await ocs.gateway(t)) }
}

const event = (talk: Talk, services: readonly ServiceInput[], parts: Partial<CcrInput> = {}): Promise<Message> =>
  talk.ask({ ...talk.input('event', 0, services), serviceContextId: sms, action: 'debit', ...parts })

const msccOf = (answer: Message, i = 0): Avps => answer.groups('Multiple-Services-Credit-Control')[i]!
const used = (octets: bigint, reason?: number): readonly UsedUnits[] => [
  { octets, ...(reason !== undefined && { reason }) },
]
const triggersOf = (answer: Message): number[] | undefined =>
  msccOf(answer)
    .group('Trigger')
    ?.all('Trigger-Type')
    .map(({ value }) => value as number)

row('3GPP-001', 'IEC is one event, ECUR initial and termination, SCUR with updates between', async t => {
  const { ocs, talk } = await started(t, 'gpp-messages')
  t.equal((await event(talk, [oneSms])).resultCode, 2001)
  await ocs.a.is(t, { bal: '9.91', res: '0.00' }, 'IEC')
  const ecur = ocs.talk(talk.gateway, { serviceContextId: sms })
  t.equal((await ecur.initial([oneSms])).resultCode, 2001)
  await ocs.a.is(t, { bal: '9.91', res: '0.09' }, 'ECUR reserves')
  t.equal((await ecur.terminate(1, [{ serviceIdentifiers: [1], used: [{ events: 1n }] }])).resultCode, 2001)
  await ocs.a.is(t, { bal: '9.82', res: '0.00' }, 'and charges')
  const scur = ocs.talk(talk.gateway)
  t.equal((await scur.initial([ask])).resultCode, 2001)
  t.equal((await scur.update(1, [{ ...ask, used: used(1n * MiB) }])).resultCode, 2001)
  t.equal((await scur.terminate(2, [{ ratingGroup: 10, used: used(1n * MiB) }])).resultCode, 2001)
  await ocs.a.is(t, { bal: '9.80', res: '0.00' }, 'SCUR')
})

row('3GPP-002', 'Validity-Time is the configured one, whatever a client sends', async t => {
  const { ocs, talk } = await started(t, 'redirect')
  t.equal(linesOf(await talk.initial([ask]))[0]!.validity, 900, 'of the offer')
  const client = await ocs.peer(t, withValue(vector('B01'), 'Origin-Host', 'pgw2.example.net'))
  const mscc = anAvp('Multiple-Services-Credit-Control', [
    ['Requested-Service-Unit', []],
    ['Rating-Group', 10],
    ['Validity-Time', 5],
  ])
  const asked = withValue(ofSession(vector('C01'), 9), 'Origin-Host', 'pgw2.example.net')
  const answer = await client.ask(append(asked, mscc))
  t.equal(answer.value('Result-Code'), 2001)
  t.notMatch(
    JSON.stringify(answer.values('Multiple-Services-Credit-Control'), (_, v: unknown) =>
      typeof v === 'bigint' ? `${v}` : v,
    ),
    '"value":5,',
  )
})

row('3GPP-003', 'Service-Information and AoC-Request-Type are accepted in a CCR', async t => {
  const client = await (await startOcs(t)).peer(t)
  const answer = await client.ask(append(vector('C01'), anAvp('AoC-Request-Type', 1)))
  t.equal(answer.value('Result-Code'), 2001)
})

row('3GPP-004', 'units are answered where they were asked: in the MSCC, or at command level', async t => {
  const { talk, ocs } = await started(t)
  const inMscc = await talk.initial([ask])
  for (const name of ['Granted-Service-Unit', 'Final-Unit-Indication', 'Validity-Time', 'Check-Balance-Result'])
    t.equal(inMscc.value(name), undefined, `no ${name} beside MSCC`)
  const plain = ocs.talk(talk.gateway)
  const answer = await plain.ask({ ...plain.input('initial', 0, []), units: { requested: {} } })
  t.equal(answer.group('Granted-Service-Unit')!.bigint('CC-Total-Octets'), 10n * MiB, 'RFC 8506 without MSCC')
  t.equal(answer.groups('Multiple-Services-Credit-Control').length, 0)
})

/** Result-Code for a Service-Context-Id, and Failed-AVP. */
async function contextAnswer(talk: Talk, ocs: Ocs, serviceContextId: string): Promise<[number, string[]]> {
  const answer = await ocs.talk(talk.gateway).initial([ask], { serviceContextId })
  return [answer.resultCode, failedAvps(answer)]
}

row(
  '3GPP-005',
  'a Service-Context-Id is read from the right: extensions, MNC, MCC, release, number, domain',
  async t => {
    const { ocs, talk } = await started(t)
    for (const id of ['ext.15.234.12.32251@3gpp.org', 'a.b.ext.15.234.8.32251@3gpp.org', '15.234.12.32251@3gpp.org'])
      t.same(await contextAnswer(talk, ocs, id), [2001, []], id)
  },
)

row('3GPP-006', 'without release, and with one from 6 up, it is known; another domain or number is 5031', async t => {
  const { ocs, talk } = await started(t)
  for (const id of ['32251@3gpp.org', '6.32251@3gpp.org', '8.32251@3gpp.org', '18.32251@3gpp.org'])
    t.same(await contextAnswer(talk, ocs, id), [2001, []], id)
  for (const id of ['32251@example.org', '32999@3gpp.org', '8.32999@3gpp.org'])
    t.same(await contextAnswer(talk, ocs, id), [5031, [`Service-Context-Id=${id}`]], id)
})

row('3GPP-007', 'the contexts of TS 32.299 are served under their numbers', async t => {
  const { ocs, talk } = await started(t, 'gpp-reporting')
  for (const number of [32271, 32272, 32273, 32275, 32276, 32277, 32278, 32280, 32296, 32253, 32254])
    for (const id of [`${number}@3gpp.org`, `12.${number}@3gpp.org`])
      t.same((await contextAnswer(talk, ocs, id))[0], 2001, id)
  const { ocs: messages, talk: other } = await started(t, 'gpp-messages')
  for (const id of ['32251@3gpp.org', '32274@3gpp.org', '32270@3gpp.org'])
    t.same((await contextAnswer(other, messages, id))[0], 2001, id)
  const { ocs: calls, talk: call } = await started(t)
  t.equal((await calls.talk(call.gateway).initial([{ ratingGroup: 100, requested: {} }], voice)).resultCode, 2001)
})

row('3GPP-008', 'a session is of one context: another one in an update is refused, and nothing changes', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask])
  const answer = await talk.update(1, [{ ratingGroup: 100, requested: {} }], voice)
  t.ok([5004, 5031].includes(answer.resultCode), String(answer.resultCode))
  await ocs.a.is(t, { bal: '10.00', res: '0.10' }, 'as before')
  t.equal((await talk.update(1, [{ ...ask, used: used(1n * MiB) }])).resultCode, 2001, 'the session goes on')
})

row('3GPP-009', 'one quota for a Rating-Group and session', async t => {
  const { ocs, talk } = await started(t)
  const answer = await talk.initial([ask, ask])
  t.equal(linesOf(answer).length, 1)
  await ocs.a.is(t, { bal: '10.00', res: '0.10' }, 'one hold')
})

row('3GPP-010', 'usage without a Reporting-Reason is accepted, and counted', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask])
  t.equal((await talk.update(1, [{ ...ask, used: used(1n * MiB) }])).resultCode, 2001)
  await ocs.a.is(t, { bal: '9.99' }, 'debited')
  t.equal(await ocs.metric('ocs_ccr_oddities_total', 'reason_missing'), 1)
  await talk.update(2, [{ ...ask, used: used(1n * MiB, Reason.QUOTA_EXHAUSTED) }])
  t.equal(await ocs.metric('ocs_ccr_oddities_total', 'reason_missing'), 1, 'with one it is not')
})

row('3GPP-011', 'a Reporting-Reason in the wrong place is accepted, and counted', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask])
  await talk.update(1, [{ ...ask, used: used(1n, Reason.QUOTA_EXHAUSTED) }])
  await talk.update(2, [{ ...ask, used: used(1n), reason: Reason.VALIDITY_TIME }])
  t.equal(await ocs.metric('ocs_ccr_oddities_total', 'reason_misplaced'), 0, 'each at its place')
  t.equal((await talk.update(3, [{ ...ask, used: used(1n, Reason.VALIDITY_TIME) }])).resultCode, 2001)
  t.equal((await talk.update(4, [{ ...ask, used: used(1n), reason: Reason.QUOTA_EXHAUSTED }])).resultCode, 2001)
  t.equal(await ocs.metric('ocs_ccr_oddities_total', 'reason_misplaced'), 2)
})

row('3GPP-012', 'reasons 0 to 9 are known, others are 5004', async t => {
  const { talk } = await started(t)
  await talk.initial([ask])
  for (let reason = 0; reason <= 9; reason++)
    t.equal((await talk.update(reason + 1, [{ ...ask, used: used(1n), reason }])).resultCode, 2001, String(reason))
  const answer = await talk.update(11, [{ ...ask, used: used(1n), reason: 99 }])
  t.equal(answer.resultCode, 5004)
  t.match(failedAvps(answer), ['Multiple-Services-Credit-Control/Reporting-Reason=99'])
})

row('3GPP-013', 'FINAL is granted nothing, though it asks; every other reason is', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask])
  for (const [i, reason] of [0, 1, 3, 4, 5, 6, 7, 8, 9].entries()) {
    const answer = await talk.update(i + 1, [{ ...ask, used: used(0n), reason }])
    t.ok(msccOf(answer).group('Granted-Service-Unit'), `reason ${reason}`)
  }
  const final = await talk.update(20, [{ ...ask, used: used(0n), reason: Reason.FINAL }])
  t.equal(msccOf(final).group('Granted-Service-Unit'), undefined, 'FINAL')
  const idle = ocs.talk(talk.gateway)
  await idle.initial([ask])
  await idle.update(1, [{ ratingGroup: 10, used: used(0n), reason: Reason.QHT }])
  await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'QHT gives the reservation back')
})

row(
  '3GPP-014',
  'Quota-Holding-Time is in the MSCC; 0 switches the mechanism off; absent leaves it to the client',
  async t => {
    const { talk } = await started(t, 'gpp-reporting')
    const answer = await talk.initial([ask])
    t.equal(msccOf(answer).number('Quota-Holding-Time'), 600, 'as C02')
    t.equal(answer.value('Quota-Holding-Time'), undefined, 'nowhere else')
    const { talk: off } = await started(t, 'gpp-mechanism')
    t.equal(msccOf(await off.initial([{ ratingGroup: 31, requested: {} }], time)).number('Quota-Holding-Time'), 0)
    const { talk: absent } = await started(t)
    t.equal(msccOf(await absent.initial([ask])).number('Quota-Holding-Time'), undefined)
  },
)

row('3GPP-015', 'a threshold comes only with a grant of its kind, and is smaller', async t => {
  const { talk, ocs } = await started(t, 'gpp-reporting')
  const data = msccOf(await talk.initial([ask]))
  const granted = data.group('Granted-Service-Unit')!.bigint('CC-Total-Octets')!
  t.equal(data.number('Volume-Quota-Threshold'), Number(granted / 5n))
  t.equal(data.number('Time-Quota-Threshold'), undefined)
  const seconds = msccOf(await ocs.talk(talk.gateway).initial([{ ratingGroup: 30, requested: {} }], time))
  t.equal(seconds.number('Time-Quota-Threshold'), 180)
  t.equal(seconds.number('Volume-Quota-Threshold'), undefined)
  const { talk: poor } = await started(t, 'gpp-reporting', '0.01')
  const last = msccOf(await poor.initial([ask]))
  t.ok(last.group('Final-Unit-Indication'))
  t.equal(last.number('Volume-Quota-Threshold'), undefined, 'none with final units')
})

row('3GPP-016', 'after a THRESHOLD report the rest of the old quota and the new grant are both covered', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([{ ...ask, requested: { octets: 1n * MiB } }])
  await talk.update(1, [{ ratingGroup: 10, requested: { octets: 1n * MiB }, used: used(900_000n, Reason.THRESHOLD) }])
  // One MiB is begun and charged; what is left of it costs nothing more.
  await ocs.a.is(t, { bal: '9.99', res: '0.01' }, 'the rest of the first MiB is paid')
  await talk.update(2, [{ ratingGroup: 10, requested: { octets: 1n * MiB }, used: used(50_000n + 1n * MiB) }])
  await ocs.a.is(t, { bal: '9.98', debt: '0.00' }, 'the overlap is in the next report, and paid')
})

row('3GPP-017', 'a new grant overrides the quota that was still held', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask])
  const answer = await talk.update(1, [{ ...ask, used: used(1n * MiB, Reason.FORCED_REAUTHORISATION) }])
  t.equal(linesOf(answer)[0]!.octets, 10n * MiB)
  await ocs.a.is(t, { bal: '9.99', res: '0.10' }, 'held for the new one alone')
})

row('3GPP-018', 'Trigger arms the listed types; an empty one disarms all; none leaves them', async t => {
  const { talk } = await started(t, 'gpp-reporting')
  t.same(triggersOf(await talk.initial([ask])), [1, 4], 'as configured')
  const { talk: none } = await started(t, 'gpp-untriggered')
  t.same(triggersOf(await none.initial([ask])), [], 'an empty Trigger')
  const { talk: silent } = await started(t)
  t.equal(triggersOf(await silent.initial([ask])), undefined)
})

row('3GPP-019', 'C18: what was used before a RAT change is rated as before, the new grant as now', async t => {
  const ocs = await startOcs(t, { account: { offer: 'gpp-conditions' } })
  const talk = ocs.talk(await ocs.gateway(t))
  t.same(triggersOf(await talk.initial([ask], { information: { rat: 6 } })), [4, 30, 31], 'armed')
  await ocs.a.is(t, { bal: '10.00', res: '0.10' }, 'E-UTRAN')
  const change = { ...ask, used: used(4n * MiB), reason: Reason.RATING_CONDITION_CHANGE, triggers: [4] }
  await talk.update(1, [change], { information: { rat: 1 } })
  await ocs.a.is(t, { bal: '9.96', res: '0.20' }, 'debited at the old price, held at the new: F16')
  await talk.update(2, [{ ...change, used: used(1n * MiB) }], { information: { rat: 6 } })
  await ocs.a.is(t, { bal: '9.94', res: '0.10' }, 'and back')
  const client = await ocs.peer(t, withValue(vector('B01'), 'Origin-Host', 'pgw2.example.net'))
  const from = (octets: Buffer): Buffer => withValue(octets, 'Origin-Host', 'pgw2.example.net')
  t.equal((await client.ask(from(vector('C01')))).value('Result-Code'), 2001)
  t.equal((await client.ask(from(vector('C18')))).value('Result-Code'), 2001, 'the vector itself')
})

row('3GPP-020', 'no Trigger combines 2 with 10 to 23, 3 with 30 to 36, or 50 with 51', async t => {
  for (const offer of ['gpp-reporting', 'gpp-conditions']) {
    const { talk } = await started(t, offer)
    const types = triggersOf(await talk.initial([ask], { information: { rat: 6 } }))!
    const has = (from: number, to = from): boolean => types.some(type => type >= from && type <= to)
    t.notOk(has(2) && has(10, 23), offer)
    t.notOk(has(3) && has(30, 36), offer)
    t.notOk(has(50) && has(51), offer)
    t.ok(types.length > 0)
  }
})

row('3GPP-021', 'triggers are armed by what prices depend on: radio access, and the network that serves', async t => {
  const { talk } = await started(t, 'gpp-conditions')
  t.same(triggersOf(await talk.initial([ask], { information: { rat: 6 } })), [4, 30, 31])
  const { talk: explicit } = await started(t, 'gpp-reporting')
  t.same(triggersOf(await explicit.initial([ask])), [1, 4], 'SGSN address, by configuration')
})

row('3GPP-022', 'TERMINATE in the MSCC: the client reports with CCR-U for that service', async t => {
  const { ocs, talk } = await started(t, 'standard', '0.03')
  t.equal(linesOf(await talk.initial([ask]))[0]!.final, 0)
  const answer = await talk.update(1, [{ ratingGroup: 10, used: used(3n * MiB, Reason.QUOTA_EXHAUSTED) }])
  t.same(linesOf(answer), [{ ratingGroup: 10, code: 2001 }])
  await ocs.a.is(t, { bal: '0.00', res: '0.00' }, 'F05')
})

row('3GPP-023', 'Quota-Consumption-Time comes only with CC-Time', async t => {
  const { ocs, talk } = await started(t, 'gpp-reporting')
  const seconds = msccOf(await talk.initial([{ ratingGroup: 30, requested: {} }], time))
  t.equal(seconds.number('Quota-Consumption-Time'), 30, 'as C20')
  t.ok(seconds.group('Granted-Service-Unit')!.number('CC-Time'))
  t.equal(msccOf(await ocs.talk(talk.gateway).initial([ask])).number('Quota-Consumption-Time'), undefined)
})

row('3GPP-024', 'Time-Quota-Mechanism is sent instead of Quota-Consumption-Time, never beside it', async t => {
  const { talk } = await started(t, 'gpp-mechanism')
  const mscc = msccOf(await talk.initial([{ ratingGroup: 31, requested: {} }], time))
  const mechanism = mscc.group('Time-Quota-Mechanism')!
  t.same([mechanism.number('Time-Quota-Type'), mechanism.number('Base-Time-Interval')], [1, 60], 'as C20')
  t.equal(mscc.number('Quota-Consumption-Time'), undefined)
})

row('3GPP-025', 'Envelope-Reporting says from the first answer what is to be reported', async t => {
  const { talk } = await started(t, 'gpp-reporting')
  t.equal(msccOf(await talk.initial([{ ratingGroup: 30, requested: {} }], time)).number('Envelope-Reporting'), 2)
})

row('3GPP-026', 'C19: envelopes never change the debit', async t => {
  const { ocs, talk } = await started(t, 'gpp-reporting')
  await talk.initial([{ ratingGroup: 30, requested: {} }], time)
  const start = Math.floor(ocs.clock.now() / second)
  const envelopes = [
    { start: start - 900, end: start - 700, octets: 500_000n },
    { start: start - 300, end: start - 200 },
    { start: start - 100 },
  ]
  const report = { ratingGroup: 30, requested: {}, used: [{ seconds: 300 }], reason: Reason.VALIDITY_TIME, envelopes }
  t.equal((await talk.update(1, [report], time)).resultCode, 2001)
  await ocs.a.is(t, { bal: '9.70' }, 'CC-Time 300 alone')
})

row('3GPP-027', 'a rule `deny: 5003` black-lists the rating group with 5003 in its MSCC', async t => {
  const { talk } = await started(t)
  const answer = await talk.initial([ask, { ratingGroup: 41, requested: {} }])
  t.same(
    linesOf(answer).map(({ code }) => code),
    [2001, 5003],
  )
})

row('3GPP-028', 'a barred account: its session is asked for, and its next CCR-U is answered 4010', async t => {
  const asked: number[] = []
  const ocs = await startOcs(t)
  const gateway = await ocs.gateway(t, {
    onRequest: request => {
      asked.push(request.header.commandCode)
      return []
    },
  })
  const talk = ocs.talk(gateway)
  await talk.initial([ask])
  await ocs.a.setStatus('suspended')
  const answer = await talk.update(1, [{ ...ask, used: used(1n * MiB) }])
  t.equal(answer.resultCode, 4010)
  await ocs.a.is(t, { bal: '9.99', res: '0.00' }, 'what was used is debited')
  const aborting = await startOcs(t, { charging: { onSuspend: 'abort' } })
  const commands: number[] = []
  const told = new Promise<void>(resolve => {
    void aborting
      .gateway(t, {
        onRequest: request => {
          commands.push(request.header.commandCode)
          resolve()
          return []
        },
      })
      .then(async other => {
        await aborting.talk(other).initial([ask])
        await aborting.a.setStatus('suspended')
      })
  })
  await told
  t.same(commands, [274], 'ASR, where it is configured so')
})

row('3GPP-029', 'an unknown Rating-Group is 5031 in its MSCC', async t => {
  const { talk } = await started(t)
  const answer = await talk.initial([ask, { ratingGroup: 999, requested: {} }])
  t.same(
    linesOf(answer).map(({ code }) => code),
    [2001, 5031],
  )
})

row('3GPP-030', 'Low-Balance-Indication is 1 below the threshold and 0 above', async t => {
  const informed = { serviceContextId: '32251@informed.example.net' }
  const { talk } = await started(t, 'informed', '0.42')
  t.equal((await talk.initial([ask], informed)).number('Low-Balance-Indication'), 1)
  const { talk: rich } = await started(t, 'informed', '5.00')
  t.equal((await rich.initial([ask], informed)).number('Low-Balance-Indication'), 0)
})

row('3GPP-031', 'Remaining-Balance has Unit-Value and Currency-Code, where it is enabled', async t => {
  const informed = { serviceContextId: '32251@informed.example.net' }
  const { talk } = await started(t, 'informed', '0.42')
  const balance = (await talk.initial([ask], informed)).group('Remaining-Balance')!
  const value = balance.group('Unit-Value')!
  t.same([value.bigint('Value-Digits'), value.number('Exponent')], [42n, -2], 'as I02: before holds')
  t.equal(balance.number('Currency-Code'), 978)
  const { talk: silent } = await started(t)
  t.equal((await silent.initial([ask])).group('Remaining-Balance'), undefined)
})

row('3GPP-032', 'Refund-Information of a debit comes back in the refund, and is accepted', async t => {
  const { ocs, talk } = await started(t, 'gpp-messages')
  const refund = msccOf(await event(talk, [oneSms])).value('Refund-Information') as Buffer
  t.ok(Buffer.isBuffer(refund))
  await ocs.a.is(t, { bal: '9.91' }, 'debited')
  const back = ocs.talk(talk.gateway)
  t.equal((await event(back, [{ ...oneSms, refund }], { action: 'refund' })).resultCode, 2001)
  await ocs.a.is(t, { bal: '10.00' }, 'given back')
})

row(
  '3GPP-033',
  'PS-Furnish-Charging-Information has the charging id of the request and the text of the catalog',
  async t => {
    const ocs = await startOcs(t, { account: { offer: 'gpp-reporting' } })
    const client = await ocs.peer(t)
    const answer = await client.ask(vector('C01'))
    const flat = (avps: readonly { name: string; value: unknown }[]): { name: string; value: unknown }[] =>
      avps.flatMap(avp => (Array.isArray(avp.value) ? [avp, ...flat(avp.value as typeof avps)] : [avp]))
    const all = flat(answer.avps)
    const value = (name: string): unknown => all.find(avp => avp.name === name)?.value
    t.equal(value('3GPP-Charging-Id'), 0x12345678)
    t.equal((value('PS-Free-Format-Data') as Buffer).toString(), 'tariff A')
    t.equal(value('PS-Append-Free-Format-Data'), undefined, 'overwrite')
  },
)

row('3GPP-034', 'reused RADIUS attributes are accepted with and without M bit, and sent with V and M', async t => {
  const ocs = await startOcs(t, { account: { offer: 'gpp-reporting' } })
  const client = await ocs.peer(t)
  const radius = (avp: { code: number; vendorId: number }): boolean => avp.vendorId === 10415 && avp.code <= 31
  const answer = await client.ask(withoutMandatory(vector('C01'), radius))
  t.equal(answer.value('Result-Code'), 2001)
  t.equal((await client.ask(ofSession(vector('C01'), 2))).value('Result-Code'), 2001)
})

row('3GPP-035', 'where the subscriber is and by which radio access decide the price', async t => {
  const { ocs, talk } = await started(t, 'gpp-conditions')
  await talk.initial([ask], { information: { rat: 6, plmn: '26201' } })
  await ocs.a.is(t, { res: '0.20' }, 'roaming in 26201')
  await talk.terminate(1)
  const home = ocs.talk(talk.gateway)
  await home.initial([ask], { information: { rat: 6, plmn: '23415' } })
  await ocs.a.is(t, { res: '0.10' }, 'at home')
})

row('3GPP-036', '3GPP-User-Location-Info is read by its first octet; what is unknown is no fault', async t => {
  const ocs = await startOcs(t, { account: { offer: 'gpp-conditions' } })
  const gateway = await ocs.gateway(t)
  // MCC 262, MNC 01: the PLMN of the location decides where no other does.
  const plmn = '62f210'
  const kinds = { CGI: '00', SAI: '01', RAI: '02', TAI: '80', ECGI: '81', 'TAI and ECGI': '82' }
  for (const [kind, first] of Object.entries(kinds)) {
    const talk = ocs.talk(gateway)
    const location = Buffer.from(`${first}${plmn}0001${plmn}00000101`, 'hex')
    await talk.initial([ask], { information: { rat: 6, location } })
    await ocs.a.is(t, { res: '0.20' }, `${kind}: roaming`)
    await talk.terminate(1)
  }
  for (const octets of ['', '63', '6362f210', '8232']) {
    const talk = ocs.talk(gateway)
    const answer = await talk.initial([ask], { information: { rat: 6, location: Buffer.from(octets, 'hex') } })
    t.equal(answer.resultCode, 2001, `\`${octets}\` is left alone`)
    await talk.terminate(1)
  }
})

row(
  '3GPP-037',
  'IMS-Information needs Node-Functionality; who calls and who is called is told by Role-Of-Node',
  async t => {
    const ocs = await startOcs(t)
    const client = await ocs.peer(t, withValue(vector('B01'), 'Origin-Host', 'tas1.example.net'))
    const answer = await client.ask(vector('I01'))
    t.equal(answer.value('Result-Code'), 2001, 'I01')
    const ims = (members: readonly (readonly [string, number])[]): Buffer =>
      anAvp('Service-Information', [['IMS-Information', members]])
    const bare = withValue(vector('I01'), 'Session-Id', 'tas1.example.net;1768478400;8')
    const refused = await client.ask(append(without(bare, 'Service-Information'), ims([['Role-Of-Node', 0]])))
    t.equal(refused.value('Result-Code'), 5005, 'without Node-Functionality')
  },
)

row('3GPP-038', 'an SMS is priced by the number of its recipient', async t => {
  const { ocs, talk } = await started(t, 'gpp-messages')
  const submission = { messageType: 0, from: msisdn }
  t.equal((await event(talk, [oneSms], { information: { ...submission, called: '447700900456' } })).resultCode, 2001)
  await ocs.a.is(t, { bal: '9.91' }, 'a mobile')
  await event(ocs.talk(talk.gateway), [oneSms], { information: { ...submission, called: '449012345' } })
  await ocs.a.is(t, { bal: '8.41' }, 'premium')
})

row('3GPP-039', 'E09: an MMS with recipients, size and type is charged', async t => {
  const ocs = await startOcs(t, { account: { offer: 'gpp-messages' } })
  const client = await ocs.peer(t, withValue(vector('B01'), 'Origin-Host', 'mmsc1.example.net'))
  t.equal((await client.ask(vector('E09'))).value('Result-Code'), 2001)
  await ocs.a.is(t, { bal: '9.71' }, '0.29')
})

row('3GPP-040', 'a T-flagged request is a duplicate by Session-Id and CC-Request-Number', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask])
  const report = { ...ask, used: used(1n * MiB) }
  await talk.update(1, [report])
  const avps = ccrAvps(talk.gateway, talk.input('update', 1, [report]))
  t.equal((await talk.askAvps(avps, { retransmitted: true })).resultCode, 2001, 'another End-to-End id')
  await ocs.a.is(t, { bal: '9.99' }, 'one debit')
})

row('3GPP-041', 'several CCRs of one session at once are each answered', async t => {
  const { talk } = await started(t)
  await talk.initial([ask, { ratingGroup: 20, requested: {} }])
  const answers = await Promise.all([
    talk.update(1, [{ ...ask, used: used(1n * MiB) }]),
    talk.update(2, [{ ratingGroup: 20, requested: {}, used: used(1n * MiB) }]),
  ])
  t.same(
    answers.map(({ resultCode }) => resultCode),
    [2001, 2001],
  )
})

row('3GPP-042', 'the answer to an event has no pool', async t => {
  const { talk } = await started(t, 'pool')
  const answer = await event(talk, [{ ratingGroup: 10, requested: { octets: 1_000_000n } }], {
    serviceContextId: '32251@3gpp.org',
  })
  t.equal(answer.resultCode, 2001)
  t.equal(msccOf(answer).group('G-S-U-Pool-Reference'), undefined)
})

row('3GPP-043', 'no CCA has Offline-Charging with two time mechanisms: none is sent', async t => {
  const ocs = await startOcs(t, { account: { offer: 'gpp-reporting' } })
  const client = await ocs.peer(t)
  const { octets } = await client.ask(vector('C01'))
  // Offline-Charging is 1278 of vendor 10415.
  t.notOk(octets.includes(Buffer.from('000004fe', 'hex')))
})

row('3GPP-044', 'Announcement-Information has an identifier and says whether its time counts', async t => {
  const { talk } = await started(t, 'gpp-announced', '0.03')
  const mscc = msccOf(await talk.initial([{ ratingGroup: 100, requested: {} }], voice))
  const announcement = mscc.group('Announcement-Information')!
  t.equal(announcement.number('Announcement-Identifier'), 7)
  t.equal(announcement.number('Quota-Indicator'), 0, 'not used while it plays')
})

row('3GPP-045', 'offline data with the M bit in a CCR is ignored', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const offline = anAvp('Service-Information', [
    [
      'PS-Information',
      [
        [
          'Service-Data-Container',
          [
            ['Time-First-Usage', Math.floor(ocs.clock.now() / second)],
            ['Time-Last-Usage', Math.floor(ocs.clock.now() / second)],
          ],
        ],
      ],
    ],
  ])
  const answer = await client.ask(append(without(vector('C01'), 'Service-Information'), offline))
  t.equal(answer.value('Result-Code'), 2001)
})

row('3GPP-046', 'three Event-Charging-TimeStamps with three units are three events', async t => {
  const { ocs, talk } = await started(t, 'gpp-messages')
  const session = ocs.talk(talk.gateway, { serviceContextId: sms })
  await session.initial([{ serviceIdentifiers: [1], requested: { events: 3n } }])
  const at = Math.floor(ocs.clock.now() / second)
  const avps = ccrAvps(talk.gateway, session.input('terminate', 1, []))
  const answer = await session.askAvps([
    ...avps,
    [
      'Multiple-Services-Credit-Control',
      [
        [
          'Used-Service-Unit',
          [
            ['CC-Service-Specific-Units', 3n],
            ['Event-Charging-TimeStamp', at],
            ['Event-Charging-TimeStamp', at + 1],
            ['Event-Charging-TimeStamp', at + 2],
          ],
        ],
        ['Service-Identifier', 1],
      ],
    ],
  ])
  t.equal(answer.resultCode, 2001)
  await ocs.a.is(t, { bal: '9.73', res: '0.00' }, '3 x 0.09')
})

row('3GPP-047', 'a RAR has one selector at most, and no CC-Sub-Session-Id', async t => {
  const ocs = await startOcs(t, { account: { offer: 'redirect', money: '0.05' } })
  let seen: Message | undefined
  const asked = new Promise<void>(resolve => {
    void ocs
      .gateway(t, {
        onRequest: request => {
          seen = request
          resolve()
          return []
        },
      })
      .then(async gateway => {
        const talk = ocs.talk(gateway)
        await talk.initial([ask])
        await talk.update(1, [{ ratingGroup: 10, used: used(5n * MiB) }])
        await ocs.a.recharge('1.00')
      })
  })
  await asked
  t.equal(seen!.header.commandCode, 258)
  const selectors = ['Rating-Group', 'Service-Identifier', 'G-S-U-Pool-Identifier'].filter(
    name => seen!.value(name) !== undefined,
  )
  t.same(selectors, ['Rating-Group'], 'as C12')
  t.equal(seen!.value('CC-Sub-Session-Id'), undefined)
})

row('3GPP-048', 'AF-Correlation-Information is accepted, and its identifier stands in the ledger', async t => {
  const { ocs, talk } = await started(t)
  const ccr = ccrAvps(talk.gateway, talk.input('initial', 0, []))
  const answer = await talk.askAvps([
    ...ccr,
    [
      'Multiple-Services-Credit-Control',
      [
        ['Requested-Service-Unit', []],
        ['Rating-Group', 10],
        ['AF-Correlation-Information', [['AF-Charging-Identifier', Buffer.from('af-7')]]],
      ],
    ],
  ])
  t.equal(answer.resultCode, 2001)
  t.match(JSON.stringify(await ocs.a.entries()), 'af-7')
})

checkRecorded()
