/** Reference flows of one-time events and calls over real sockets: F08 to F11, ECUR, balances after every step. */
import t from 'tap'
import { failedAvps, linesOf, MiB, startScenario, Talk } from '../support/scenario.js'
import type { CcrInput } from '../../src/simulator/ccr.js'
import type { Message } from '../../src/simulator/message.js'

const scenario = await startScenario(t)
const smsc = await scenario.gateway(t, { originHost: 'smsc1.example.net' })
const tas = await scenario.gateway(t, { originHost: 'tas1.example.net' })
type Id = readonly ['e164', string]

const sms: Partial<CcrInput> = {
  serviceContextId: '32274@3gpp.org',
  information: { called: '447700900456', messageType: 0 },
}
const event = (id: Id, action: CcrInput['action'] & string, parts: Partial<CcrInput>, gateway = smsc) => {
  const talk = new Talk(gateway, [id], { ...sms, ...parts, action })
  return { talk, input: talk.input('event', 0, parts.services ?? []) }
}
const ask = (
  id: Id,
  action: CcrInput['action'] & string,
  parts: Partial<CcrInput> = {},
  gateway = smsc,
): Promise<Message> => {
  const { talk, input } = event(id, action, parts, gateway)
  return talk.ask(input)
}
const oneSms = { serviceIdentifiers: [1], requested: { events: 1n } }
const eur = (digits: bigint) => ({ requested: { money: digits * 10_000n, currency: 978 } })
const refundOf = (answer: Message): Buffer =>
  answer.groups('Multiple-Services-Credit-Control')[0]!.all('Refund-Information')[0]!.value as Buffer
/** Value-Digits, Exponent and Currency-Code of a group. */
const moneyOf = (answer: Message, name: string): unknown => {
  const group = answer.group(name)
  const value = group?.group('Unit-Value')
  return group && [value?.bigint('Value-Digits'), value?.number('Exponent'), group.number('Currency-Code')]
}

t.test('F08: an SMS is debited, given back once, and its repeat debits nothing', async t => {
  const alice = await scenario.subject(t, { money: '1.00' })
  const { talk, input } = event(alice.id, 'debit', { services: [oneSms] })

  const first = await talk.ask(input)
  t.equal(first.resultCode, 2001)
  t.same(linesOf(first), [{ serviceIdentifiers: [1], code: 2001, events: 1n }])
  t.equal(first.number('Direct-Debiting-Failure-Handling'), 0, '428')
  t.same(first.all('Check-Balance-Result'), [], 'CC-103')
  await alice.is(t, { bal: '0.91', res: '0.00' }, 'step 2')
  const reference = refundOf(first)

  const refund = { services: [{ ...oneSms, refund: reference }] }
  const back = await ask(alice.id, 'refund', refund)
  t.equal(back.resultCode, 2001)
  t.same(linesOf(back), [{ serviceIdentifiers: [1], code: 2001, events: 1n }])
  await alice.is(t, { bal: '1.00' }, 'step 4')

  const again = await ask(alice.id, 'refund', refund)
  t.same([again.resultCode, linesOf(again)], [5012, []])
  t.match(again.text('Error-Message'), /not as many units are left/)
  await alice.is(t, { bal: '1.00' }, 'step 6')

  scenario.clock.shift(3_600_000)
  t.teardown(() => scenario.clock.shift(-3_600_000))
  const repeat = await talk.ask(input)
  t.same(linesOf(repeat), linesOf(first), 'step 8')
  t.same(refundOf(repeat), reference, 'the same reference, an hour later')
  await alice.is(t, { bal: '1.00' }, 'step 8: no new debit')
})

t.test('F09: a balance check looks at what is free, and changes nothing', async t => {
  const bob = await scenario.subject(t, { money: '0.42' })
  const check = (digits: bigint) =>
    ask(bob.id, 'check-balance', { units: { serviceIdentifiers: [1], ...eur(digits) }, services: [] })

  const no = await check(50n)
  t.same([no.resultCode, no.number('Check-Balance-Result')], [2001, 1], 'NO_CREDIT')
  const yes = await check(40n)
  t.same([yes.resultCode, yes.number('Check-Balance-Result')], [2001, 0], 'ENOUGH_CREDIT')
  t.same(linesOf(yes), [], 'and nothing else')
  await bob.is(t, { bal: '0.42', res: '0.00' }, 'step 2')

  const other = new Talk(tas, [bob.id])
  await other.initial([{ ratingGroup: 10, requested: {} }])
  await bob.is(t, { bal: '0.42', res: '0.10' }, 'another session')
  const held = await check(40n)
  t.same([held.resultCode, held.number('Check-Balance-Result')], [2001, 1], 'holds count')
  await bob.is(t, { bal: '0.42', res: '0.10' }, 'step 3')
  t.equal((await bob.entries()).filter(({ type }) => type === 'event').length, 0, 'no entry')
})

t.test('F10: a price enquiry needs no money', async t => {
  const carol = await scenario.subject(t, { money: '0.00' })
  const price = (serviceIdentifier: number) =>
    ask(carol.id, 'price', {
      units: { serviceIdentifiers: [serviceIdentifier], requested: { events: 10n } },
      services: [],
    })

  const answer = await price(1)
  t.equal(answer.resultCode, 2001)
  t.same(moneyOf(answer, 'Cost-Information'), [90n, -2, 978])
  t.same(answer.all('Granted-Service-Unit'), [])
  await carol.is(t, { bal: '0.00', res: '0.00' }, 'nothing moved')

  const unknown = await price(99)
  t.same([unknown.resultCode, failedAvps(unknown)], [5031, ['Service-Identifier=99']])
})

const call: Partial<CcrInput> = {
  serviceContextId: '32260@3gpp.org',
  information: { called: '447700900456', direction: 'originating', sipMethod: 'INVITE' },
}

t.test('F11: a call is billed by the second, and the gateway is told how little is left', async t => {
  const dave = await scenario.subject(t, { money: '0.42', offer: 'flows-voice' })
  const talk = new Talk(tas, [dave.id], call)
  const line = { ratingGroup: 100, code: 2001, seconds: 60, validity: 120, threshold: 10 }

  const first = await talk.initial([{ ratingGroup: 100, requested: { seconds: 60 } }])
  t.same(linesOf(first), [line])
  t.equal(first.number('Low-Balance-Indication'), 1, 'YES')
  t.same(moneyOf(first, 'Remaining-Balance'), [42n, -2, 978], 'before holds')
  await dave.is(t, { bal: '0.42', res: '0.06' }, 'step 2')

  const second = await talk.update(1, [
    { ratingGroup: 100, requested: { seconds: 60 }, used: [{ seconds: 50, reason: 0 }] },
  ])
  t.same(linesOf(second), [line])
  await dave.is(t, { bal: '0.37' }, 'step 4')

  const last = await talk.terminate(2, [{ ratingGroup: 100, used: [{ seconds: 35 }], reason: 2 }])
  t.equal(last.resultCode, 2001)
  t.same(moneyOf(last, 'Cost-Information'), [85n, -3, 978])
  await dave.is(t, { bal: '0.335', res: '0.00' }, 'step 6')
})

t.test('F11b: a call that nobody answers costs nothing', async t => {
  const erin = await scenario.subject(t, { money: '0.42', offer: 'flows-voice' })
  const talk = new Talk(tas, [erin.id], call)
  await talk.initial([{ ratingGroup: 100, requested: { seconds: 60 } }])
  const last = await talk.terminate(1)
  t.equal(last.resultCode, 2001)
  t.same(moneyOf(last, 'Cost-Information'), [0n, -2, 978])
  await erin.is(t, { bal: '0.42', res: '0.00' }, 'CCR-T')
})

t.test('ECUR: an SMS is held with INITIAL and paid with TERMINATION, or not delivered and free', async t => {
  const frank = await scenario.subject(t, { money: '1.00' })
  const delivered = new Talk(smsc, [frank.id], sms)
  t.same(linesOf(await delivered.initial([oneSms])), [
    { serviceIdentifiers: [1], code: 2001, events: 1n, validity: 3600 },
  ])
  await frank.is(t, { bal: '1.00', res: '0.09' }, 'held')
  const used = { serviceIdentifiers: [1], used: [{ eventTimes: [1768478709] }], reason: 2 }
  t.equal((await delivered.terminate(1, [used])).resultCode, 2001)
  await frank.is(t, { bal: '0.91', res: '0.00' }, 'one Event-Charging-TimeStamp is one event')

  const lost = new Talk(smsc, [frank.id], sms)
  await lost.initial([oneSms])
  await lost.terminate(1)
  await frank.is(t, { bal: '0.91', res: '0.00' }, 'not delivered')
})

t.test('what the gateways got is well formed', t => {
  t.ok(MiB)
  scenario.checkAnswers(t)
  t.end()
})
