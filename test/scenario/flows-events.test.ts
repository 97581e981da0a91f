/** Reference flows of one-time events and calls over real sockets: F08 to F11, ECUR, balances after every step. */
import t from 'tap'
import { decodeTree, type AvpItem, type AvpTree } from '../../src/diameter/tree.js'
import { ccrAvps, type CcrInput } from '../../src/simulator/ccr.js'
import type { Gateway } from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { failedAvps, linesOf, startScenario, Talk } from '../support/scenario.js'
import { dictionary, vector } from '../support/vectors.js'

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
  t.equal(first.number('Direct-Debiting-Failure-Handling'), 1, '428')
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

t.test('units at command level are answered at command level', async t => {
  const greta = await scenario.subject(t, { money: '1.00' })
  const units = (more: object = {}): Partial<CcrInput> => ({ units: { ...oneSms, ...more }, services: [] })
  const paid = await ask(greta.id, 'debit', units())
  t.same([paid.resultCode, linesOf(paid)], [2001, []])
  t.equal(paid.group('Granted-Service-Unit')?.bigint('CC-Service-Specific-Units'), 1n)
  const reference = paid.all('Refund-Information')[0]!.value as Buffer
  await greta.is(t, { bal: '0.91' }, 'debited')
  const back = await ask(greta.id, 'refund', units({ refund: reference }))
  t.equal(back.group('Granted-Service-Unit')?.bigint('CC-Service-Specific-Units'), 1n)
  await greta.is(t, { bal: '1.00' }, 'given back')
})

t.test('one debit, however late and through whomever it is repeated', async t => {
  const heidi = await scenario.subject(t, { money: '1.00' })
  const { talk, input } = event(heidi.id, 'debit', { services: [oneSms] })
  const avps = ccrAvps(smsc, { ...input, number: 7 })
  const first = await talk.askAvps(avps, { endToEnd: 77 })
  t.equal(first.number('CC-Request-Number'), 7, 'CC-100: echoed')
  const other = await scenario.gateway(t, { originHost: 'smsc1.example.net', daemons: [await scenario.another()] })
  const there = new Talk(other, [heidi.id], { sessionId: talk.id })
  const repeated = await there.askAvps(avps, { endToEnd: 77, retransmitted: true })
  t.same(refundOf(repeated), refundOf(first), 'another daemon')
  await heidi.is(t, { bal: '0.91' }, 'CC-101')

  const changed = await talk.askAvps(
    ccrAvps(smsc, { ...input, number: 7, services: [{ ...oneSms, requested: { events: 5n } }] }),
  )
  t.same(linesOf(changed), linesOf(first), 'the first answer')
  const update = await new Talk(smsc, [heidi.id], { sessionId: talk.id }).update(8, [
    { ratingGroup: 10, requested: {} },
  ])
  t.equal(update.resultCode, 5002, 'CC-099: an event leaves no session')
  await heidi.is(t, { bal: '0.91', res: '0.00' }, 'and nothing more')
})

t.test('what cannot be done is said at command level, and changes nothing', async t => {
  const ivan = await scenario.subject(t, { money: '0.20' })
  const services = (serviceIdentifier: number, events = 1n): Partial<CcrInput> => ({
    services: [{ serviceIdentifiers: [serviceIdentifier], requested: { events } }],
  })
  const rows: [string, Partial<CcrInput>, number, string[]][] = [
    ['CC-093: funds for two of three', services(1, 3n), 4012, []],
    ['CC-094: free: 4011', services(3), 4011, []],
    ['denied', services(4), 4010, []],
    ['no rule', services(9), 5031, ['Multiple-Services-Credit-Control/Service-Identifier=9']],
    ['CC-122: another currency', { services: [{ serviceIdentifiers: [1], requested: { money: 1n, currency: 840 } }] }, 5031, ['Multiple-Services-Credit-Control/Service-Identifier=1']],
    ['CC-146: no such context', { ...services(1), serviceContextId: '99999@example.org' }, 5031, ['Service-Context-Id=99999@example.org']],
    ['CC-104: an action of tomorrow', { ...services(1), more: [['Requested-Action', 9]] }, 5009, ['Requested-Action=9']],
  ] // prettier-ignore
  for (const [name, parts, code, failed] of rows) {
    const answer = await ask(ivan.id, 'debit', parts)
    t.same([answer.resultCode, linesOf(answer), failedAvps(answer)], [code, [], failed], name)
  }
  const nine = await new Talk(smsc, [ivan.id], sms).ask({
    ...new Talk(smsc, [ivan.id], sms).input('event', 0, [oneSms]),
    more: [['Requested-Action', 9]],
  })
  t.same([nine.resultCode, failedAvps(nine)], [5004, ['Requested-Action=9']], 'CC-104')
  const free = await ask(ivan.id, 'debit', services(2))
  t.same(linesOf(free), [{ serviceIdentifiers: [2], code: 2001, events: 1n }], 'CC-094: free is 2001')
  await ivan.is(t, { bal: '0.20', res: '0.00' }, 'nothing changed')
  const half = await ask(ivan.id, 'debit', { units: eur(15n), services: [] })
  t.equal(half.resultCode, 2001, 'CC-092')
  await ivan.is(t, { bal: '0.05' }, 'an amount of money is debited as it is')
})

t.test('an event of a bundle, a bonus and money, with its cost where that is asked', async t => {
  const judy = await scenario.subject(t, { money: '1.00', offer: 'flows-sms' })
  const answer = await ask(judy.id, 'debit', {
    services: [{ serviceIdentifiers: [1], requested: { events: 14n } }],
    more: [['AoC-Request-Type', 2]],
  })
  t.same(moneyOf(answer, 'Cost-Information'), [36n, -2, 978])
  await judy.is(t, { bal: '0.84', buckets: [[0n, 0n], [0n, 0n]] }, 'four of fourteen cost') // prettier-ignore
  const refund = (events: bigint): Promise<Message> =>
    ask(judy.id, 'refund', { services: [{ serviceIdentifiers: [1], requested: { events }, refund: refundOf(answer) }] })
  t.equal((await refund(3n)).resultCode, 2001)
  await judy.is(t, { bal: '1.00', buckets: [[0n, 0n], [110_000n, 0n]] }, 'what paid last comes back first') // prettier-ignore
  t.equal((await refund(11n)).resultCode, 2001)
  await judy.is(t, { bal: '1.00', buckets: [[10n, 0n], [200_000n, 0n]] }, 'all of it') // prettier-ignore
})

t.test('the reference messages are answered as the reference answers them', async t => {
  const subscriber = await scenario.subject(t, {
    money: '0.42',
    identities: [{ type: 'msisdn', value: '447700900123' }],
  })
  await scenario.accounts.subscribe({
    ...{
      account: subscriber.account,
      subscriber: '1',
      offer: 'flows-voice',
      buckets: [],
      reference: 'calls',
      actor: 'test',
    },
    rev: (await scenario.accounts.show(subscriber.account))!.rev,
  })
  const mmsc = await scenario.gateway(t, { originHost: 'mmsc1.example.net' })
  const as = await scenario.gateway(t, { originHost: 'as1.example.net' })
  const send = (gateway: Gateway, octets: Buffer): Promise<Message> => gateway.connections[0]!.ask(octets)
  /** Names and values, without what a server may add. */
  const shown = (octets: Buffer, ...without: string[]): unknown => {
    const tell = ({ name, flags, value }: AvpTree): unknown[] =>
      without.includes(name) ? [] : [[name, flags & 0x40, Array.isArray(value) ? value.flatMap(tell) : value]]
    return decodeTree(dictionary, octets).avps.flatMap(tell)
  }
  const is = (answer: Message, id: string, ...without: string[]): boolean =>
    t.same(shown(answer.octets, ...without), shown(vector(id), ...without), id)

  is(await send(as, vector('E04')), 'E05')
  const call = await send(tas, vector('I01'))
  is(call, 'I02', 'CC-Session-Failover', 'Credit-Control-Failure-Handling', 'Cost-Information')
  const price = await send(as, vector('E06'))
  is(price, 'E07', 'Unit-Value', 'Cost-Unit') // the reference sells a bundle of ten for 1.23
  t.same(moneyOf(price, 'Cost-Information'), [90n, -2, 978])
  await subscriber.is(t, { bal: '0.42', res: '0.06' }, 'only the call holds something')

  const debit = await send(smsc, vector('E01'))
  is(debit, 'E02', 'Refund-Information')
  await subscriber.is(t, { bal: '0.33' }, 'E01')
  const refused = await send(smsc, vector('E03'))
  t.equal(refused.resultCode, 5012, 'no debit of ours')
  const put = (avps: readonly AvpTree[]): AvpItem[] =>
    avps.map(({ name, value }) => [
      name,
      name === 'Refund-Information' ? refundOf(debit) : Array.isArray(value) ? put(value) : value,
    ])
  const talk = new Talk(smsc, [])
  t.equal(
    (await talk.askAvps(put(decodeTree(dictionary, vector('E03')).avps))).resultCode,
    2001,
    'E03 with its reference',
  )
  await subscriber.is(t, { bal: '0.42' }, 'E03')

  t.equal((await send(mmsc, vector('E09'))).resultCode, 2001)
  await subscriber.is(t, { bal: '0.13' }, 'E09')
  const poor = await ask(['e164', '447700900123'], 'debit', { services: [{ ...oneSms, requested: { events: 2n } }] })
  const names = shown(poor.octets, 'Session-Id', 'Origin-Host', 'CC-Request-Number', 'Error-Message')
  t.same(names, shown(vector('E08'), 'Session-Id', 'Origin-Host', 'CC-Request-Number'), 'E08')
})

t.test('what the gateways got is well formed', t => {
  scenario.checkAnswers(t)
  t.end()
})
