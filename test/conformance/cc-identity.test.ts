/** CC-140 to 151: who is charged, refusals of credit control, and what RFC 8506 added to RFC 4006. */
import type { Test } from 'tap'
import { ccrAvps } from '../../src/simulator/ccr.js'
import type { AvpInput, AvpItem } from '../../src/diameter/tree.js'
import type { Message } from '../../src/simulator/message.js'
import { failedAvps, linesOf, MiB, type Talk } from '../support/scenario.js'
import { vector } from '../support/vectors.js'
import { imsi, msisdn, row, startOcs, type Ocs } from './harness.js'
import { anAvp, append, without } from './octets.js'
import { checkRecorded } from './recorder.js'

const ask = { ratingGroup: 10, requested: {} }

async function started(t: Test): Promise<{ ocs: Ocs; talk: Talk }> {
  const ocs = await startOcs(t)
  return { ocs, talk: ocs.talk(await ocs.gateway(t)) }
}

/** A CCR of its own session with these identities as AVPs, and more. */
function asWhom(
  ocs: Ocs,
  talk: Talk,
  avps: readonly AvpItem[],
  type: 'initial' | 'event' = 'initial',
): Promise<Message> {
  const input = { ...ocs.talk(talk.gateway).input(type, 0, [ask]), subscriptionIds: [] }
  return ocs
    .talk(talk.gateway)
    .askAvps([...ccrAvps(talk.gateway, { ...input, ...(type === 'event' && { action: 'debit' as const }) }), ...avps])
}

const id = (type: number, data: string): AvpItem => [
  'Subscription-Id',
  [
    ['Subscription-Id-Type', type],
    ['Subscription-Id-Data', data],
  ],
]
const extension = (...members: readonly (readonly [string, AvpInput])[]): AvpItem => [
  'Subscription-Id-Extension',
  members.map(([name, value]) => [name, value] as const),
]

row('CC-140', 'Subscription-Id: E.164, IMSI, SIP URI, NAI, private; several of one account', async t => {
  const { ocs, talk } = await started(t)
  await ocs.account(t, 'urs', {
    identities: [
      { type: 'nai', value: 'sip:urs@ims.example.net' },
      { type: 'nai', value: 'urs@nai.example.net' },
      { type: 'nai', value: 'private-1' },
    ],
  })
  const rows: readonly (readonly [string, readonly AvpItem[]])[] = [
    ['E.164', [id(0, msisdn)]],
    ['IMSI', [id(1, imsi)]],
    ['both, as C01', [id(0, msisdn), id(1, imsi)]],
    ['SIP URI', [id(2, 'sip:urs@ims.example.net')]],
    ['SIP URI with a number', [id(2, `sip:+${msisdn}@ims.example.net`)]],
    ['NAI', [id(3, 'urs@nai.example.net')]],
    ['private', [id(4, 'private-1')]],
  ]
  for (const [name, avps] of rows) t.equal((await asWhom(ocs, talk, avps)).resultCode, 2001, name)
  t.equal(await ocs.a.openSessions(), 4, 'the numbers are all of account A')
})

row(
  'CC-141',
  'identities of different accounts are 5007 with both; unknown ones beside a known one are ignored',
  async t => {
    const { ocs, talk } = await started(t)
    await ocs.account(t, 'B', { identities: [{ type: 'imsi', value: '234150999999998' }] })
    const both = await asWhom(ocs, talk, [id(0, msisdn), id(1, '234150999999998')])
    t.equal(both.resultCode, 5007)
    t.same(
      failedAvps(both).filter(avp => avp.includes('Data')),
      [`Subscription-Id/Subscription-Id-Data=${msisdn}`, 'Subscription-Id/Subscription-Id-Data=234150999999998'],
    )
    t.equal((await asWhom(ocs, talk, [id(3, 'nobody@example.net'), id(0, msisdn)])).resultCode, 2001)
    await ocs.a.is(t, { bal: '10.00', res: '0.10' }, 'only the second holds')
  },
)

row('CC-142', 'a CCR-U and CCR-T without Subscription-Id are of the account of their session', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask])
  const anonymous = { subscriptionIds: [] }
  t.equal((await talk.update(1, [{ ...ask, used: [{ octets: 1n * MiB }] }], anonymous)).resultCode, 2001)
  t.equal((await talk.terminate(2, [{ ratingGroup: 10, used: [{ octets: 1n * MiB }] }], anonymous)).resultCode, 2001)
  await ocs.a.is(t, { bal: '9.98', res: '0.00' }, 'F14')
})

row('CC-143', 'CCR-I and CCR-E without any identity are 5005, with an unknown one 5030', async t => {
  const { ocs, talk } = await started(t)
  for (const type of ['initial', 'event'] as const) {
    const none = await asWhom(ocs, talk, [], type)
    t.equal(none.resultCode, 5005, type)
    t.ok(
      none.groups('Failed-AVP').some(failed => failed.all('Subscription-Id').length === 1),
      'Failed-AVP holds 443',
    )
    t.equal((await asWhom(ocs, talk, [id(0, '447700900999')], type)).resultCode, 5030, type)
  }
})

row('CC-144', 'Subscription-Id-Extension with one member is the same as Subscription-Id', async t => {
  const { ocs, talk } = await started(t)
  t.equal((await asWhom(ocs, talk, [extension(['Subscription-Id-E164', msisdn])])).resultCode, 2001)
  t.equal((await asWhom(ocs, talk, [extension(['Subscription-Id-IMSI', imsi])])).resultCode, 2001)
  t.equal(await ocs.a.openSessions(), 2)
  const client = await (await startOcs(t)).peer(t)
  t.equal((await client.ask(vector('C17'))).value('Result-Code'), 2001, 'C17')
})

row('CC-145', 'User-Equipment-Info-Extension is accepted as User-Equipment-Info is, with an IMEI', async t => {
  const client = await (await startOcs(t)).peer(t)
  t.equal((await client.ask(vector('C17'))).value('Result-Code'), 2001)
  const imei = anAvp('User-Equipment-Info-Extension', [['User-Equipment-Info-IMEI', Buffer.from('35123456789012')]])
  const other = await (await startOcs(t)).peer(t)
  const answer = await other.ask(append(without(vector('C01'), 'User-Equipment-Info'), imei))
  t.equal(answer.value('Result-Code'), 2001)
})

row('CC-146', 'an unsupported Service-Context-Id is 5031, and Failed-AVP holds it', async t => {
  const { talk } = await started(t)
  const answer = await talk.initial([ask], { serviceContextId: '99999@example.org' })
  t.equal(answer.resultCode, 5031)
  t.same(failedAvps(answer), ['Service-Context-Id=99999@example.org'])
})

row('CC-147', 'an unknown Service-Parameter-Type is 5031 with the Service-Parameter-Info', async t => {
  const { ocs, talk } = await started(t)
  const parameter: AvpItem = [
    'Service-Parameter-Info',
    [
      ['Service-Parameter-Type', 77],
      ['Service-Parameter-Value', Buffer.from('x')],
    ],
  ]
  const answer = await asWhom(ocs, talk, [id(0, msisdn), parameter])
  t.equal(answer.resultCode, 5031)
  t.ok(failedAvps(answer).includes('Service-Parameter-Info/Service-Parameter-Type=77'))
  await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'nothing')
})

row('CC-148', 'refused with 4010 or 4012, what the CCR reports is still debited', async t => {
  const { ocs, talk } = await started(t)
  await talk.initial([ask])
  await ocs.a.setStatus('suspended')
  const barred = await talk.update(1, [{ ...ask, used: [{ octets: 1n * MiB }] }])
  t.equal(barred.resultCode, 4010)
  await ocs.a.is(t, { bal: '9.99', res: '0.00' }, 'debited, and the hold released')
  const poor = await startOcs(t, { account: { money: '0.10' } })
  const spent = poor.talk(await poor.gateway(t))
  await spent.initial([ask])
  const empty = await spent.update(1, [{ ...ask, used: [{ octets: 10n * MiB }] }])
  t.same(linesOf(empty), [{ ratingGroup: 10, code: 4012 }])
  await poor.a.is(t, { bal: '0.00', res: '0.00' }, 'debited')
})

row(
  'CC-149',
  '4011 at command level ends the session, nothing is held; in an MSCC it frees that group alone',
  async t => {
    const { ocs, talk } = await started(t)
    const free = ocs.talk(talk.gateway)
    t.equal((await free.initial([{ ratingGroup: 31, requested: {} }])).resultCode, 4011, 'as C25')
    t.equal((await free.update(1, [{ ratingGroup: 31, requested: {} }])).resultCode, 5002)
    await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'nothing is held')
    const answer = await talk.initial([ask, { ratingGroup: 31, requested: {} }])
    t.same(
      linesOf(answer).map(({ code }) => code),
      [2001, 4011],
    )
    await ocs.a.is(t, { res: '0.10' }, 'the other group is charged')
  },
)

row('CC-150', 'by default no AVP of RFC 8506 (653 to 669) is sent', async t => {
  const ocs = await startOcs(t, { account: { offer: 'redirect', money: '0.05' } })
  const talk = ocs.talk(await ocs.gateway(t))
  const answer = await talk.initial([ask])
  t.ok(answer.groups('Multiple-Services-Credit-Control')[0]!.group('Final-Unit-Indication'))
  for (let code = 653; code <= 669; code++) {
    const avp = Buffer.alloc(4)
    avp.writeUInt32BE(code)
    t.notOk(answer.octets.includes(Buffer.concat([avp, Buffer.from([0])])), String(code))
  }
})

row('CC-151', 'each of 653, 659 and 665 holds exactly one member: none is 5005, several are 5009', async t => {
  const { ocs, talk } = await started(t)
  const equipment = (...members: readonly (readonly [string, AvpInput])[]): AvpItem => [
    'User-Equipment-Info-Extension',
    members.map(([name, value]) => [name, value] as const),
  ]
  const octets = Buffer.from('3512345678901230')
  const rows: readonly (readonly [string, readonly AvpItem[], number])[] = [
    ['659 without any', [extension()], 5005],
    ['659 with two', [extension(['Subscription-Id-E164', msisdn], ['Subscription-Id-IMSI', imsi])], 5009],
    ['653 without any', [id(0, msisdn), equipment()], 5005],
    [
      '653 with two',
      [
        id(0, msisdn),
        equipment(['User-Equipment-Info-IMEISV', octets], ['User-Equipment-Info-MAC', octets.subarray(0, 6)]),
      ],
      5009,
    ],
  ]
  for (const [name, avps, code] of rows) t.equal((await asWhom(ocs, talk, avps)).resultCode, code, name)
  await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'nothing is held')
  const modern = await startOcs(t, { account: { offer: 'redirect', money: '0.05' } })
  const answer = await modern.talk(await modern.gateway(t, { originHost: 'pgw8506.example.net' })).initial([ask])
  const server = answer
    .groups('Multiple-Services-Credit-Control')[0]!
    .group('QoS-Final-Unit-Indication')!
    .group('Redirect-Server-Extension')!
  t.equal(server.list.length, 1, '665 has one')
})

checkRecorded()
