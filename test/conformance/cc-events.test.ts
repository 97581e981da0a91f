/** CC-090 to 104: one-time events. */
import type { Test } from 'tap'
import type { CcrInput, ServiceInput } from '../../src/simulator/ccr.js'
import { ccrAvps } from '../../src/simulator/ccr.js'
import type { AvpItem } from '../../src/diameter/tree.js'
import type { Message } from '../../src/simulator/message.js'
import type { RawClient } from '../support/raw-client.js'
import { failedAvps, linesOf, type Talk } from '../support/scenario.js'
import { vector } from '../support/vectors.js'
import { hour, row, startOcs, type Ocs } from './harness.js'
import { withHeader, withValue } from './octets.js'
import { isAnsweredAsSaid } from './reaction.js'
import { checkRecorded } from './recorder.js'

const day = 24 * hour
const sms = '32274@3gpp.org'
const oneSms: ServiceInput = { serviceIdentifiers: [1], requested: { events: 1n } }

async function started(t: Test, money?: string, offer = 'gpp-messages'): Promise<{ ocs: Ocs; talk: Talk }> {
  const ocs = await startOcs(t, { account: { offer, ...(money !== undefined && { money }) } })
  return { ocs, talk: ocs.talk(await ocs.gateway(t)) }
}

/** An event of its own session. */
function event(
  ocs: Ocs,
  talk: Talk,
  services: readonly ServiceInput[],
  parts: Partial<CcrInput> = {},
): Promise<Message> {
  const own = ocs.talk(talk.gateway)
  return own.ask({ ...own.input('event', 0, services), serviceContextId: sms, action: 'debit', ...parts })
}

/** The message centre of the vectors. */
const smsc = (t: Test, ocs: Ocs): Promise<RawClient> =>
  ocs.peer(t, withValue(vector('B01'), 'Origin-Host', 'smsc1.example.net'))

const msccOf = (answer: Message): Message | undefined =>
  answer.groups('Multiple-Services-Credit-Control')[0] as Message | undefined
const refundOf = (answer: Message): Buffer => msccOf(answer)!.value('Refund-Information') as Buffer
const moneyOf = (answer: Message, name: string): unknown[] => {
  const group = answer.group(name)
  const value = group?.group('Unit-Value')
  return [value?.bigint('Value-Digits'), value?.number('Exponent'), group?.number('Currency-Code')]
}

row('CC-090', 'M40: EVENT_REQUEST without Requested-Action is 5005', async t => {
  const ocs = await startOcs(t)
  await isAnsweredAsSaid(t, await smsc(t, ocs), 'M40')
})

row('CC-091', 'E01: DIRECT_DEBITING debits at once, and the answer grants what was debited', async t => {
  const ocs = await startOcs(t, { account: { offer: 'gpp-messages' } })
  const answer = await (await smsc(t, ocs)).ask(vector('E01'))
  t.equal(answer.value('Result-Code'), 2001)
  await ocs.a.is(t, { bal: '9.91', res: '0.00' }, 'one SMS')
  const { ocs: other, talk } = await started(t)
  const plain = await event(other, talk, [{ ...oneSms, requested: { events: 3n } }])
  t.same(linesOf(plain), [{ serviceIdentifiers: [1], code: 2001, events: 3n }], 'as E02')
})

row('CC-092', 'DIRECT_DEBITING in money is debited unrated', async t => {
  const { ocs, talk } = await started(t)
  const answer = await event(ocs, talk, [{ serviceIdentifiers: [1], requested: { money: 500_000n, currency: 978 } }])
  t.equal(answer.resultCode, 2001)
  await ocs.a.is(t, { bal: '9.50' }, '0.50 EUR')
})

row('CC-093', 'not enough money is 4012 and debits nothing: all units and services, or none', async t => {
  const { ocs, talk } = await started(t, '0.20')
  t.equal((await event(ocs, talk, [{ ...oneSms, requested: { events: 3n } }])).resultCode, 4012, 'money for two')
  const two = [oneSms, { serviceIdentifiers: [2], requested: { events: 2n } }]
  t.equal((await event(ocs, talk, two)).resultCode, 4012, 'two services, money for one of them')
  await ocs.a.is(t, { bal: '0.20', res: '0.00' }, 'as E08: nothing')
  t.equal((await event(ocs, talk, [{ ...oneSms, requested: { events: 2n } }])).resultCode, 2001)
})

row('CC-094', 'a free service is 2001; 4011 where the rule says so', async t => {
  const { ocs, talk } = await started(t, undefined, 'standard')
  const data = { serviceContextId: '32251@3gpp.org' }
  const volume = { requested: { octets: 1_000_000n } }
  t.equal((await event(ocs, talk, [{ ratingGroup: 30, ...volume }], data)).resultCode, 2001)
  t.equal((await event(ocs, talk, [{ ratingGroup: 31, ...volume }], data)).resultCode, 4011)
  await ocs.a.is(t, { bal: '10.00' }, 'nothing is debited')
})

row('CC-095', 'REFUND_ACCOUNT credits; without reference only where the profile allows', async t => {
  const { ocs, talk } = await started(t)
  const refund = refundOf(await event(ocs, talk, [oneSms]))
  const back = await event(ocs, talk, [{ ...oneSms, refund }], { action: 'refund' })
  t.same(linesOf(back), [{ serviceIdentifiers: [1], code: 2001, events: 1n }], 'granted: the units given back')
  await ocs.a.is(t, { bal: '10.00' }, 'credited')
  t.equal((await event(ocs, talk, [oneSms], { action: 'refund' })).resultCode, 5012, 'E03 without 2022')
  await ocs.a.is(t, { bal: '10.00' }, 'nothing')
  const trusted = ocs.talk(await ocs.gateway(t, { originHost: 'smscany.example.net' }))
  t.equal((await event(ocs, trusted, [oneSms], { action: 'refund' })).resultCode, 2001)
  await ocs.a.is(t, { bal: '10.09' }, 'with such a profile')
})

row('CC-096', 'a refund is bounded by its debit, once per unit, within 30 days', async t => {
  const { ocs, talk } = await started(t)
  const refund = refundOf(await event(ocs, talk, [{ ...oneSms, requested: { events: 5n } }]))
  const back = async (events: bigint): Promise<number> =>
    (await event(ocs, talk, [{ serviceIdentifiers: [1], requested: { events }, refund }], { action: 'refund' }))
      .resultCode
  t.same([await back(2n), await back(4n), await back(3n)], [2001, 5012, 2001])
  await ocs.a.is(t, { bal: '10.00' }, 'all five are back')
  t.equal(await back(1n), 5012, 'and no more')
  const late = refundOf(await event(ocs, talk, [oneSms]))
  const [connection] = talk.gateway.connections
  connection!.abort()
  await connection!.closed
  ocs.clock.jump(31 * day)
  await talk.gateway.connect({ host: '127.0.0.1', port: ocs.port })
  let answer = await event(ocs, talk, [{ ...oneSms, refund: late }], { action: 'refund' })
  // What was read after a leap of the clock is taken for old at first.
  while (answer.resultCode === 3004)
    answer = await event(ocs, talk, [{ ...oneSms, refund: late }], { action: 'refund' })
  t.equal(answer.resultCode, 5012, 'after 31 days')
})

const check = (ocs: Ocs, talk: Talk, micros: bigint): Promise<Message> =>
  event(ocs, talk, [], {
    action: 'check-balance',
    units: { serviceIdentifiers: [1], requested: { money: micros, currency: 978 } },
  })

row('CC-097', 'CHECK_BALANCE answers ENOUGH_CREDIT or NO_CREDIT, and neither holds nor debits', async t => {
  const { ocs, talk } = await started(t, '0.42')
  t.equal((await check(ocs, talk, 500_000n)).number('Check-Balance-Result'), 1, 'E05')
  t.equal((await check(ocs, talk, 400_000n)).number('Check-Balance-Result'), 0)
  await ocs.a.is(t, { bal: '0.42', res: '0.00' }, 'F09')
})

const price = (ocs: Ocs, talk: Talk, events: bigint, id = 1): Promise<Message> =>
  event(ocs, talk, [], { action: 'price', units: { serviceIdentifiers: [id], requested: { events } } })

row('CC-098', 'PRICE_ENQUIRY answers Cost-Information, also on an empty account', async t => {
  const { ocs, talk } = await started(t, '0.00')
  const answer = await price(ocs, talk, 10n)
  t.equal(answer.resultCode, 2001)
  t.same(moneyOf(answer, 'Cost-Information'), [90n, -2, 978], 'F10')
  await ocs.a.is(t, { bal: '0.00', res: '0.00' }, 'nothing moves')
})

row('CC-099', 'after an event there is no session', async t => {
  const { ocs } = await started(t)
  const gateway = await ocs.gateway(t, { originHost: 'pgw2.example.net' })
  const talk = ocs.talk(gateway, { serviceContextId: sms })
  await talk.ask({ ...talk.input('event', 0, [oneSms]), action: 'debit' })
  t.equal((await talk.update(1, [{ serviceIdentifiers: [1], used: [{ events: 1n }] }])).resultCode, 5002)
  await ocs.a.is(t, { bal: '9.91' }, 'nothing more is charged')
})

row('CC-100', 'an event has number 0; another is accepted and echoed', async t => {
  const { ocs, talk } = await started(t)
  const own = ocs.talk(talk.gateway)
  const answer = await own.ask({ ...own.input('event', 7, [oneSms]), serviceContextId: sms, action: 'debit' })
  t.same([answer.resultCode, answer.number('CC-Request-Number')], [2001, 7])
})

row('CC-101', 'E01 with T an hour later gets the same answer, and one debit', async t => {
  const ocs = await startOcs(t, { account: { offer: 'gpp-messages' } })
  const first = await (await smsc(t, ocs)).ask(vector('E01'))
  await ocs.pass(hour)
  const back = await smsc(t, ocs)
  // A connection after a failed one is probed before it is asked for anything.
  let again = await back.ask(withHeader(vector('E01'), { flags: 0xd0, hopByHop: 77 }))
  while (again.header.commandCode !== 272) again = await back.next()
  t.equal(again.octets.subarray(20).toString('hex'), first.octets.subarray(20).toString('hex'))
  await ocs.a.is(t, { bal: '9.91' }, 'one debit')
})

row('CC-102', 'Direct-Debiting-Failure-Handling is what is configured', async t => {
  const values = { 'terminate-or-buffer': 0, continue: 1 } as const
  for (const [directDebitingFailureHandling, value] of Object.entries(values)) {
    const ocs = await startOcs(t, {
      account: { offer: 'gpp-messages' },
      charging: { directDebitingFailureHandling: directDebitingFailureHandling as keyof typeof values },
    })
    const answer = await event(ocs, ocs.talk(await ocs.gateway(t)), [oneSms])
    t.equal(answer.number('Direct-Debiting-Failure-Handling'), value, directDebitingFailureHandling)
  }
})

row('CC-103', 'Check-Balance-Result stands only in answers to CHECK_BALANCE', async t => {
  const { ocs, talk } = await started(t)
  t.equal((await check(ocs, talk, 1n)).all('Check-Balance-Result').length, 1)
  const others = [await event(ocs, talk, [oneSms]), await price(ocs, talk, 1n)]
  others.push(await event(ocs, talk, [{ ...oneSms, refund: refundOf(others[0]!) }], { action: 'refund' }))
  others.push(await ocs.talk(talk.gateway).initial([{ ratingGroup: 10, requested: {} }]))
  for (const answer of others) {
    t.equal(answer.resultCode, 2001, answer.text('Error-Message') ?? 'done')
    t.equal(answer.all('Check-Balance-Result').length, 0)
  }
})

row('CC-104', 'a Requested-Action outside 0 to 3 is 5004', async t => {
  const { ocs, talk } = await started(t)
  const own = ocs.talk(talk.gateway)
  const avps = ccrAvps(talk.gateway, { ...own.input('event', 0, [oneSms]), serviceContextId: sms, action: 'debit' })
  const changed = avps.map((avp): AvpItem =>
    Array.isArray(avp) && avp[0] === 'Requested-Action' ? ['Requested-Action', 9] : avp,
  )
  const answer = await own.askAvps(changed)
  t.equal(answer.resultCode, 5004)
  t.same(failedAvps(answer), ['Requested-Action=9'])
  await ocs.a.is(t, { bal: '10.00' }, 'nothing')
})

row('CC-124', 'PRICE_ENQUIRY: Cost-Information is the estimate', async t => {
  const { ocs, talk } = await started(t)
  t.same(moneyOf(await price(ocs, talk, 1n), 'Cost-Information'), [9n, -2, 978])
})

checkRecorded()
