/** Every refusal that a CCR can get: its Result-Code, the AVP that it points at, and that nothing is changed by it. */
import t from 'tap'
import type { AvpItem } from '../../src/diameter/tree.js'
import { ccrAvps, type CcrInput } from '../../src/simulator/ccr.js'
import { failedAvps, linesOf, MiB, startScenario, Talk } from '../support/scenario.js'

const scenario = await startScenario(t)
const gateway = await scenario.gateway(t)
const open = [{ ratingGroup: 10, requested: {} }]

type NamedItem = readonly [name: string, value: unknown, flags?: number]
const nameOf = (item: AvpItem): string => (item as unknown as NamedItem)[0]
const without = (avps: readonly AvpItem[], name: string): AvpItem[] => avps.filter(item => nameOf(item) !== name)
const replaced = (avps: readonly AvpItem[], name: string, value: number | string): AvpItem[] =>
  avps.map(item => (nameOf(item) === name ? [name, value] : item))

t.test('CC-001: each required AVP that is missing is named', async t => {
  const alice = await scenario.subject(t)
  const required: [name: string, failed: string][] = [
    ['Session-Id', 'Session-Id='],
    ['Origin-Host', 'Origin-Host='],
    ['Origin-Realm', 'Origin-Realm='],
    ['Destination-Realm', 'Destination-Realm='],
    ['Auth-Application-Id', 'Auth-Application-Id=0'],
    ['Service-Context-Id', 'Service-Context-Id='],
    ['CC-Request-Type', 'CC-Request-Type=0'],
    ['CC-Request-Number', 'CC-Request-Number=0'],
  ]
  for (const [name, failed] of required) {
    const session = new Talk(gateway, [alice.id])
    const answer = await session.askAvps(without(ccrAvps(gateway, session.input('initial', 0, open)), name))
    t.same([answer.resultCode, failedAvps(answer)], [5005, [failed]], name)
  }
  t.same(await alice.sessions(), [], 'nothing was opened')
})

t.test('what is wrong with a CCR, and what the answer points at', async t => {
  const alice = await scenario.subject(t)
  const change =
    (...more: AvpItem[]) =>
    (avps: readonly AvpItem[]): AvpItem[] => [...avps, ...more]
  const units: AvpItem = ['Requested-Service-Unit', []]
  const table: [name: string, wrong: (avps: readonly AvpItem[]) => AvpItem[], code: number, failed: string[]][] = [
    ['CC-013: CC-Request-Type 0', avps => replaced(avps, 'CC-Request-Type', 0), 5004, ['CC-Request-Type=0']],
    ['CC-013: CC-Request-Type 5', avps => replaced(avps, 'CC-Request-Type', 5), 5004, ['CC-Request-Type=5']],
    ['CC-014: CC-Sub-Session-Id', change(['CC-Sub-Session-Id', 1n]), 5004, ['CC-Sub-Session-Id=1']],
    [
      'BASE-055: an AVP that a CCR must not have',
      change(['Check-Balance-Result', 0]),
      5008,
      ['Check-Balance-Result=0'],
    ],
    [
      'BASE-059: another application than the header says',
      avps => replaced(avps, 'Auth-Application-Id', 5),
      5004,
      ['Auth-Application-Id=5'],
    ],
    ['an unknown mandatory AVP', change(['65001:0', Buffer.from('abcd'), 0x40]), 5001, ['65001:0=61626364']],
    ['one AVP too many', change(['CC-Request-Number', 5]), 5009, ['CC-Request-Number=5']],
    [
      'CC-065: units at command level beside MSCC',
      change(units),
      5007,
      ['Requested-Service-Unit=', 'Multiple-Services-Credit-Control='],
    ],
    ['an Unsigned32 of five octets', change(['Origin-State-Id', Buffer.alloc(5)]), 5014, ['Origin-State-Id=0']],
    [
      'CC-146: a service that nobody sells',
      avps => replaced(avps, 'Service-Context-Id', '99999@example.org'),
      5031,
      ['Service-Context-Id=99999@example.org'],
    ],
    ['another realm', avps => replaced(avps, 'Destination-Realm', 'elsewhere.example.net'), 3003, []],
    ['another host of the realm', change(['Destination-Host', 'ocs9.charging.example.net']), 3002, []],
    ['a loop', change(['Route-Record', 'ocs1.charging.example.net']), 3005, []],
    [
      'CC-095: a refund that names no debit',
      avps => replaced(change(['Requested-Action', 1])(avps), 'CC-Request-Type', 4),
      5012,
      [],
    ],
    ['an event that does not say which', avps => replaced(avps, 'CC-Request-Type', 4), 5005, ['Requested-Action=0']],
  ]
  for (const [name, wrong, code, failed] of table) {
    const session = new Talk(gateway, [alice.id])
    const answer = await session.askAvps(wrong(ccrAvps(gateway, session.input('initial', 0, open))))
    t.same([answer.resultCode, failedAvps(answer)], [code, failed], name)
    t.equal((answer.header.flags & 0x20) !== 0, code < 4000, `${name}: the E bit is that of a protocol error`)
  }
  await alice.is(t, { bal: '10.00', res: '0.00' }, 'nothing was changed')
  t.same(await alice.sessions(), [])
})

t.test('the same faults in a CCR-U debit nothing, and its number is still new', async t => {
  const alice = await scenario.subject(t)
  const session = new Talk(gateway, [alice.id])
  await session.initial(open)
  const report = [{ ratingGroup: 10, requested: {}, used: [{ octets: 2n * MiB }] }]
  const avps = ccrAvps(gateway, session.input('update', 1, report))
  const faults: [number, AvpItem[]][] = [
    [5001, [...avps, ['65001:0', Buffer.from('abcd'), 0x40]]],
    [5004, [...avps, ['CC-Sub-Session-Id', 1n]]],
    [5005, without(avps, 'Service-Context-Id')],
    [5007, [...avps, ['Used-Service-Unit', [['CC-Total-Octets', MiB]]]]],
    [5008, [...avps, ['Validity-Time', 1]]],
    [5009, [...avps, ['CC-Request-Number', 5]]],
  ]
  for (const [code, wrong] of faults) {
    t.equal((await session.askAvps(wrong)).resultCode, code)
    await alice.is(t, { bal: '10.00', res: '0.10' }, `${code} changes nothing`)
  }
  t.equal((await session.askAvps(avps)).resultCode, 2001)
  await alice.is(t, { bal: '9.98', res: '0.10' }, 'then it is right, and applied')
})

t.test('refusals of the subscriber, not of the message', async t => {
  const suspended = await scenario.subject(t, { status: 'suspended' })
  const poor = await scenario.subject(t, { money: '0.00' })
  const table: [string, CcrInput['subscriptionIds'] & object, number][] = [
    ['suspended', [suspended.id], 4010],
    ['no money', [poor.id], 4012],
    ['unknown', [['imsi', '999990000000001']], 5030],
    ['no identity', [], 5005],
  ]
  for (const [name, who, code] of table) {
    const session = new Talk(gateway, who)
    const answer = await session.initial(open)
    t.same([answer.resultCode, linesOf(answer)], [code, []], `${name}: at command level`)
    t.equal((await session.update(1, open)).resultCode, 5002, `${name}: and there is no session`)
  }
  for (const each of [suspended, poor]) t.equal(await each.openSessions(), 0)
})

t.test('CC-030: a store that stands still is 3004, usage is booked once, and the repeat is granted', async t => {
  const slow = await startScenario(t, 'flows', {
    charging: { ...scenario.config.charging, holdBudgetMs: 700 },
  })
  const alice = await slow.subject(t)
  const bob = await slow.subject(t)
  const session = new Talk(await slow.gateway(t), [alice.id])
  await session.initial(open)
  const report = [{ ratingGroup: 10, requested: {}, used: [{ octets: 2n * MiB }] }]

  slow.redis.process.kill('SIGSTOP')
  const [busy, refused] = await Promise.all([
    session.update(1, report),
    new Talk(session.gateway, [bob.id]).initial(open),
  ])
  slow.redis.process.kill('SIGCONT')
  t.same([busy.resultCode, refused.resultCode], [3004, 3004])
  t.equal(busy.header.flags & 0x20, 0x20, 'a protocol error')

  const again = await session.askAvps(ccrAvps(session.gateway, session.input('update', 1, report)), {
    retransmitted: true,
  })
  t.same(linesOf(again), [{ ratingGroup: 10, code: 2001, octets: 10n * MiB, validity: 3600 }])
  await alice.is(t, { bal: '9.98', res: '0.10' }, 'debited once')
  await bob.is(t, { bal: '10.00', res: '0.00' }, 'the CCR-I left nothing')
})

t.test('all answers', t => {
  scenario.checkAnswers(t)
  t.end()
})
