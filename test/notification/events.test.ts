/**
 * Which events a ledger entry gives: a table of entries, each crossing once, no member that names a person.
 */
import fc from 'fast-check'
import t from 'tap'
import { eventSchema, eventTypeNames, rowOf } from '../../src/notification/event-types.js'
import { eventsOf, noWatch, type Entry, type MoneyLevels, type Watch } from '../../src/notification/events.js'
import { seed } from '../support/seed.js'

const at = Date.UTC(2026, 2, 1)
const levels: MoneyLevels = { amounts: [5_000_000, 1_000_000], percents: [10] }
const entry = (kind: string, posts: Entry['posts'], more: object = {}): Entry => ({
  ...{ account: 'alice', seq: 7, at, kind, posts, lines: [], held: 0 },
  ...more,
})
const main = (before: number, amount: number): [string, string, number, number, number] => {
  return ['main', 'EUR', amount, before, before + amount]
}
const told = (of: Entry, watch: Watch = noWatch, usage = false): unknown[] =>
  eventsOf(of, '3-17-0', watch, levels, usage).events.map(({ type, data }) => [type, data])

const cases: readonly [string, Entry, readonly unknown[], Watch?][] = [
  [
    'an account that is made with money',
    entry('create', [main(0, 5_000_000), ['source:admin', 'EUR', -5_000_000]], { seq: 1, reference: 'r' }),
    [['account.created', { amount: '5.00', reference: 'r' }]],
  ],
  [
    'a subscriber that joins',
    entry('create', [], { seq: 2, subscriber: '2' }),
    [['subscriber.added', { subscriber: '2' }]],
  ],
  [
    'a recharge with a bonus',
    entry('recharge', [['source:outlet', 'EUR', -10_000_000], main(0, 10_000_000)], {
      ...{ channel: 'outlet', reference: 'r-1', outlet: 'kiosk-7', bonus: 'spring', active: at + 86_400_000 },
    }),
    [
      [
        'recharge.completed',
        {
          ...{ amount: '10.00', channel: 'outlet', reference: 'r-1', outlet: 'kiosk-7' },
          dates: { active: '2026-03-02T00:00:00.000Z' },
        },
      ],
      ['recharge.bonus', { rule: 'spring', channel: 'outlet', reference: 'r-1' }],
    ],
  ],
  [
    'a subscriber that is blocked',
    entry('block', [], { subscriber: '1', blocked: true, reason: 'stolen' }),
    [['subscriber.blocked', { subscriber: '1', blocked: true, reason: 'stolen' }]],
  ],
  [
    'a payment that is given back',
    entry('recharge-refund', [main(9_000_000, -1_000_000), ['source:card', 'EUR', 1_000_000]], { channel: 'card' }),
    [['recharge.refunded', { amount: '-1.00', channel: 'card' }]],
  ],
  [
    'too many wrong voucher codes',
    entry('voucher-lockout', [], { tries: 5, until: at, channel: 'app', actor: 'x' }),
    [['voucher.locked', { tries: 5, until: '2026-03-01T00:00:00.000Z', channel: 'app' }]],
  ],
  [
    'a status that changes',
    entry('status', [], { from: 'active', to: 'grace', rule: 'prepaid-90d' }),
    [['account.status', { from: 'active', to: 'grace', rule: 'prepaid-90d' }]],
  ],
  [
    'a transfer out with its fee, over a level',
    entry('transfer', [main(6_000_000, -1_000_000), ['transfer', 'EUR', 900_000], ['fee', 'EUR', 100_000]], {
      ...{ transfer: 't-1', direction: 'out', with: 'bob' },
    }),
    [
      ['transfer.sent', { amount: '-0.90', fee: '0.10', transfer: 't-1', with: 'bob' }],
      ['balance.threshold', { level: '5.00' }],
    ],
  ],
  [
    'a renewal',
    entry('renew', [main(20_000_000, -10_000_000), ['fee', 'EUR', 10_000_000]], {
      ...{ subscription: '2', offer: 'bundle', from: at, until: at + 1000, try: 1 },
    }),
    [
      [
        'subscription.renewed',
        {
          ...{ offer: 'bundle', subscription: '2', fee: '10.00', try: 1 },
          ...{ from: '2026-03-01T00:00:00.000Z', until: '2026-03-01T00:00:01.000Z' },
        },
      ],
    ],
  ],
  [
    'a renewal without money',
    entry('renew-failed', [], { subscription: '2', offer: 'bundle', needs: 10_000_000, free: 10, try: 2, until: at }),
    [
      [
        'subscription.renewal-failed',
        {
          ...{ offer: 'bundle', subscription: '2', needs: '10.00', free: '0.00001', try: 2 },
          until: '2026-03-01T00:00:00.000Z',
        },
      ],
    ],
  ],
  [
    'a bucket that expires',
    entry('expiry', [['bucket:3-1', 'octets', -500, 500, 0], ['expiry', 'octets', 500]], { bucket: '3-1' }),
    [['bucket.expired', { bucket: '3-1', expired: 500 }]],
  ],
  [
    'a bucket that is used up, over its levels',
    entry('charge', [['bucket:3-1', 'octets', -500, 500, 0], ['usage:data', 'octets', 500]], {
      ...{ buckets: { '3-1': 'data-5gb' }, events: [['bucket', '3-1', 100], ['counter', 'day.1', 80]] },
    }),
    [
      ['bucket.threshold', { bucket: '3-1', name: 'data-5gb', level: 100 }],
      ['counter.threshold', { counter: 'day', subscriber: '1', percent: 80 }],
      ['bucket.depleted', { bucket: '3-1', name: 'data-5gb' }],
    ],
  ],
  [
    'money that falls over three levels, two of them noted in the entry, and below zero',
    entry('charge', [main(6_000_000, -6_500_000), ['usage:data', 'EUR', 6_500_000]], {
      events: [['money', 'main', 5_000_000], ['money', 'main', 500_000]],
    }),
    [
      ['balance.threshold', { level: '5.00' }],
      ['balance.threshold', { level: '2.00', percent: 10 }],
      ['balance.threshold', { level: '1.00' }],
      ['balance.threshold', { level: '0.50' }],
      ['balance.depleted', {}],
    ],
    { base: 20_000_000, refused: false },
  ],
  [
    'a refusal for want of funds',
    entry('charge', [], { outcome: 'refused', service: 'data', subscriber: '1', lines: [{ line: '10', is: 'exhausted' }] }),
    [['session.refused', { service: 'data', subscriber: '1', lines: ['10'] }]],
  ],
  [
    'a second one',
    entry('charge', [], { outcome: 'refused', lines: [{ line: '10', is: 'exhausted' }] }),
    [],
    { base: 0, refused: true },
  ],
  ['a refusal by rule', entry('charge', [], { outcome: 'refused', lines: [{ line: '10', is: 'denied' }] }), []],
  ['usage, where it is not asked for', entry('charge', [main(9_000_000, -10), ['usage:data', 'EUR', 10]]), []],
  ['what has no type of its own', entry('writeoff', [main(0, 5)]), [['balance.changed', { kind: 'writeoff', amount: '0.00' }]]],
  [
    'a bucket that ends soon',
    entry('remind', [], { events: [['expires-soon', 'bucket:3-1', 86_400_000]] }),
    [['balance.expires-soon', { what: 'bucket:3-1', at: '2026-03-02T00:00:00.000Z' }]],
  ],
] // prettier-ignore

t.test('each entry gives its events', t => {
  for (const [name, of, expected, watch] of cases) t.same(told(of, watch), expected, name)
  t.end()
})

t.test('an event has id, order and what moved', t => {
  const [first] = eventsOf(cases[2]![1], '3-17-0', noWatch, levels, false).events
  t.match(first, {
    ...{ id: '3-17-0-1', account: 'alice', seq: 7, at: '2026-03-01T00:00:00.000Z' },
    balances: { currency: 'EUR', money: '10.00' },
  })
  const debt = entry('charge', [
    ['debt', 'EUR', -2000, 0, -2000],
    ['usage:data', 'EUR', 2000],
  ])
  t.match(eventsOf(debt, 'x', noWatch, levels, true).events, [{ type: 'usage.charged', balances: { debt: '0.002' } }])
  t.end()
})

t.test('money crosses a level once until it is above it again, however it moves', t => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -8_000_000, max: 8_000_000 }), { maxLength: 30 }), steps => {
      const counts = new Map<string, number>()
      const expected = new Map<string, number>()
      let [money, watch] = [0, noWatch]
      for (const step of steps) {
        const of = entry('adjustment', [main(money, step), ['adjustment', 'EUR', -step]])
        const found = eventsOf(of, 'x', watch, { ...levels, percents: [] }, false)
        watch = found.watch
        for (const { type, data } of found.events)
          if (type === 'balance.threshold') {
            const level = String(data['level'])
            counts.set(level, (counts.get(level) ?? 0) + 1)
          }
        for (const [text, level] of [
          ['5.00', 5_000_000],
          ['1.00', 1_000_000],
        ] as const)
          if (money > level && money + step <= level) expected.set(text, (expected.get(text) ?? 0) + 1)
        money += step
      }
      return ['5.00', '1.00'].every(level => counts.get(level) === expected.get(level))
    }),
    { seed },
  )
  t.end()
})

t.test('a refusal is told again after something came in', t => {
  const refusal = entry('charge', [], { lines: [{ line: '10', is: 'exhausted' }] })
  const recharge = entry('recharge', [main(0, 10)], { channel: 'app' })
  let watch = noWatch
  const count = (of: Entry): number => {
    const found = eventsOf(of, 'x', watch, levels, false)
    watch = found.watch
    return found.events.filter(({ type }) => type === 'session.refused').length
  }
  t.same([refusal, refusal, recharge, refusal, refusal].map(count), [1, 0, 0, 1, 0])
  t.end()
})

t.test('members that the table does not know are not told', t => {
  const of = entry('recharge', [main(0, 10)], {
    channel: 'app',
    session: '491701000001',
    actor: '491701000001',
    who: 'x',
  })
  t.notMatch(JSON.stringify(eventsOf(of, 'x', noWatch, levels, true)), '491701000001')
  t.end()
})

t.test('the schema knows every type, and each member is described', t => {
  const { oneOf } = eventSchema() as { oneOf: { properties: { type: { const: string } } }[] }
  t.same(
    oneOf.map(({ properties }) => properties.type.const),
    eventTypeNames,
  )
  for (const type of eventTypeNames) {
    t.match(type, /^[a-z]+\.[a-z-]+$/)
    for (const { text } of Object.values(rowOf(type).data)) t.ok(text.length > 3, type)
  }
  t.end()
})
