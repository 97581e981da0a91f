/**
 * Subscribers are added, changed, moved, removed and blocked: the index says what the accounts say, also when the work was cut off after any of
 * its commands, by whoever ends it then.
 */
import t, { type Test } from 'tap'
import { RedisFsck } from '../../src/balance/fsck.js'
import { dueKey, identityKey, journalKey, partitionOf } from '../../src/balance/keys.js'
import type { Store } from '../../src/balance/store.js'
import { RedisSubscribers, type SubscriberOutcome } from '../../src/balance/subscribers.js'
import type { Account, Identity } from '../../src/balance/types.js'
import { systemClock } from '../../src/clock.js'
import { micros } from '../../src/units.js'
import { partitions, startStore, type TestStore } from '../support/store.js'

const msisdn = (value: string): Identity => ({ type: 'msisdn', value })
const imsi = (value: string): Identity => ({ type: 'imsi', value })
const why = { reason: 'lost the SIM', actor: 'care.ines' }

interface Rig extends TestStore {
  readonly subscribers: RedisSubscribers
  readonly fsck: RedisFsck
  readonly entry: (identity: Identity) => Promise<string | null>
  readonly account: (id: string) => Promise<Account>
  /** Members of the due lists that are about identities. */
  readonly begun: () => Promise<string[]>
  readonly entries: (account: string) => Promise<Record<string, unknown>[]>
}

async function aRig(t: Test, store?: (store: Store) => Store): Promise<Rig> {
  const base = await startStore(t)
  const subscribers = new RedisSubscribers(store?.(base.store) ?? base.store, partitions, systemClock, {
    onBlock: 'reauth-all',
  })
  const { redis } = base.store
  const rig: Rig = {
    ...base,
    subscribers,
    fsck: new RedisFsck(
      base.store,
      partitions,
      new RedisSubscribers(base.store, partitions, systemClock, { onBlock: '' }),
    ),
    entry: identity => {
      const { key, field } = identityKey(identity)
      return redis.hget(key, field)
    },
    account: async id => (await base.accounts.show(id))!,
    begun: async () => {
      const lists = await Promise.all(Array.from({ length: partitions }, (_, p) => redis.zrange(dueKey(p), '0', '-1')))
      return lists.flat().filter(member => /^(identity|move) /.test(member))
    },
    entries: async account => {
      const all = await redis.xrange(journalKey(partitionOf(account, partitions)), '-', '+')
      return all
        .map(([, [, text]]) => JSON.parse(text!) as Record<string, unknown>)
        .filter(entry => entry['account'] === account)
    },
  }
  const offers = [{ offer: 'payg', buckets: [] }]
  for (const [id, number] of [
    ['anna', '491701'],
    ['ben', '491702'],
  ] as const) {
    await base.accounts.create(
      { id, currency: 'EUR', creditLimit: micros(0n), status: 'active' },
      { identities: [msisdn(`${number}000001`), imsi(`26201${number}`)], offers },
      micros(5_000_000n),
      'admin',
    )
  }
  return rig
}

const done = (outcome: SubscriberOutcome): string => outcome.status
const namesOf = ({ subscribers }: Account): Record<string, string[]> =>
  Object.fromEntries(subscribers.map(({ id, identities }) => [id, identities.map(i => `${i.type}:${i.value}`)]))

void t.test('a SIM swap and a number change: the index follows, the ledger says no number', async t => {
  const { subscribers, account, entry, entries, begun, accounts } = await aRig(t)
  const swap = { account: 'anna', number: '1', changes: { imsi: imsi('262019999999999') }, ...why }
  t.equal(done(await subscribers.change(swap)), 'changed')
  t.equal(done(await subscribers.change(swap)), 'unchanged')
  t.same(namesOf(await account('anna')), { 1: ['msisdn:491701000001', 'imsi:262019999999999'] })
  t.same([await entry(imsi('262019999999999')), await entry(imsi('26201491701'))], ['anna 1', null])
  const renumber = { account: 'anna', number: '1', changes: { msisdn: msisdn('491705000005'), imsi: null }, ...why }
  t.equal(done(await subscribers.change(renumber)), 'changed')
  t.same(namesOf(await account('anna')), { 1: ['msisdn:491705000005'] })
  t.equal((await accounts.find(msisdn('491705000005')))?.account.id, 'anna')
  t.equal(await accounts.find(msisdn('491701000001')), undefined)
  const [, swapped, renumbered] = await entries('anna')
  t.match(swapped, { kind: 'identities', subscriber: '1', change: 'changed', types: ['imsi'], ...why, posts: [] })
  t.match(renumbered, { kind: 'identities', types: ['msisdn', 'imsi'] })
  t.notMatch(JSON.stringify([swapped, renumbered]), /49170|26201/)
  t.same(await begun(), [], 'nothing is left to be done')
})

void t.test('what cannot be is refused, and nothing is claimed', async t => {
  const { subscribers, account, entry, begun } = await aRig(t)
  const before = [await account('anna'), await account('ben')]
  const to = { number: '1', to: 'ben', ...why }
  const refusals: [Promise<SubscriberOutcome>, object][] = [
    [
      subscribers.change({
        account: 'anna',
        number: '1',
        changes: { msisdn: msisdn('491702000001'), imsi: imsi('262018888888888') },
        ...why,
      }),
      { status: 'identity_taken', identity: msisdn('491702000001'), account: 'ben' },
    ],
    [
      subscribers.change({ account: 'anna', number: '1', changes: { msisdn: null, imsi: null }, ...why }),
      { status: 'no_identity' },
    ],
    [
      subscribers.change({ account: 'anna', number: '2', changes: { imsi: null }, ...why }),
      { status: 'no_subscriber' },
    ],
    [subscribers.change({ account: 'nobody', number: '1', changes: {}, ...why }), { status: 'no_account' }],
    [subscribers.add({ account: 'anna', identities: [msisdn('491702000001')], ...why }), { status: 'identity_taken' }],
    [subscribers.add({ account: 'anna', identities: [], ...why }), { status: 'no_identity' }],
    [subscribers.move({ account: 'anna', ...to, to: 'anna' }), { status: 'same_account' }],
    [subscribers.move({ account: 'anna', ...to, to: 'nobody' }), { status: 'no_target' }],
    [subscribers.move({ account: 'anna', ...to, number: '7' }), { status: 'no_subscriber' }],
    [subscribers.remove({ account: 'anna', number: '7', ...why }), { status: 'no_subscriber' }],
    [
      subscribers.change({ account: 'anna', number: '1', changes: { imsi: null }, precondition: () => false, ...why }),
      { status: 'stale' },
    ],
  ]
  for (const [outcome, expected] of refusals) t.match(await outcome, expected)
  t.same([await account('anna'), await account('ben')], before)
  t.same([await entry(imsi('262018888888888')), await entry(msisdn('491702000001'))], [null, 'ben 1'])
  t.same(await begun(), [])
})

void t.test(
  'a subscriber moves with its attributes, its block and its free offers; its number is not given again',
  async t => {
    const { subscribers, account, accounts, entry, entries } = await aRig(t)
    await subscribers.add({ account: 'anna', identities: [msisdn('491701000002')], ...why })
    await accounts.setAttributes({ account: 'anna', subscriber: '2', changes: { color: 'red' }, actor: 'x' })
    const { rev } = await account('anna')
    await accounts.subscribe({
      ...{ account: 'anna', subscriber: '2', offer: 'payg', buckets: [], rev, reference: 's-1', actor: 'x' },
    })
    await subscribers.setBlocked({ account: 'anna', number: '2', blocked: true, ...why })
    const move = { account: 'anna', number: '2', to: 'ben', ...why }
    t.match(await subscribers.move(move), { status: 'changed', account: 'ben', number: '2' })
    t.match(await subscribers.move(move), { status: 'unchanged', account: 'ben', number: '2' }, 'repeated')
    const [anna, ben] = [await account('anna'), await account('ben')]
    t.same([Object.keys(namesOf(anna)), namesOf(ben)['2']], [['1'], ['msisdn:491701000002']])
    t.match(ben.extras, { subscribers: { 2: { color: 'red' } }, blocked: ['2'] })
    t.same([anna.extras.subscribers, anna.extras.blocked], [{}, []])
    t.same(
      [anna, ben].map(({ subscriptions }) => subscriptions.map(({ offer, subscriber }) => `${offer} ${subscriber}`)),
      [['payg 1'], ['payg 1', 'payg 2']],
    )
    t.same((await accounts.census()).offers.get('payg'), 3)
    t.equal(await entry(msisdn('491701000002')), 'ben 2')
    t.match((await entries('ben')).at(-1), { kind: 'identities', change: 'moved-in', with: 'anna', subscriber: '2' })
    t.match((await entries('anna')).at(-1), { kind: 'identities', change: 'moved-out', with: 'ben', subscriber: '2' })
    t.match(await subscribers.add({ account: 'anna', identities: [msisdn('491701000003')], ...why }), { number: '3' })
  },
)

void t.test('a removed subscriber frees its identities and its number stays gone', async t => {
  const { subscribers, account, entry, accounts } = await aRig(t)
  const remove = { account: 'anna', number: '1', ...why }
  t.equal(done(await subscribers.remove(remove)), 'changed')
  t.equal(done(await subscribers.remove(remove)), 'unchanged')
  const anna = await account('anna')
  t.same([anna.subscribers, anna.subscriptions, anna.money], [[], [], 5_000_000n])
  t.equal(await entry(msisdn('491701000001')), null)
  t.match(await subscribers.add({ account: 'ben', identities: [msisdn('491701000001')], ...why }), { number: '2' })
  await accounts.create(
    { id: 'anna', currency: 'EUR', creditLimit: micros(0n), status: 'active' },
    { identities: [msisdn('491701000009')], offers: [] },
    micros(0n),
    'admin',
  )
  t.same(Object.keys(namesOf(await account('anna'))), ['2'])
})

const operations: readonly {
  readonly what: string
  readonly run: (subscribers: RedisSubscribers) => Promise<SubscriberOutcome>
  readonly after: Readonly<Record<string, string | null>>
}[] = [
  {
    what: 'change',
    run: s => s.change({ account: 'anna', number: '1', changes: { msisdn: msisdn('491705000005') }, ...why }),
    after: { 'msisdn:491705000005': 'anna 1', 'msisdn:491701000001': null, 'imsi:26201491701': 'anna 1' },
  },
  {
    what: 'add',
    run: s => s.add({ account: 'anna', identities: [msisdn('491705000005'), imsi('262015555555555')], ...why }),
    after: { 'msisdn:491705000005': 'anna 2', 'imsi:262015555555555': 'anna 2', 'msisdn:491701000001': 'anna 1' },
  },
  {
    what: 'remove',
    run: s => s.remove({ account: 'anna', number: '1', ...why }),
    after: { 'msisdn:491701000001': null, 'imsi:26201491701': null },
  },
  {
    what: 'move',
    run: s => s.move({ account: 'anna', number: '1', to: 'ben', ...why }),
    after: { 'msisdn:491701000001': 'ben 2', 'imsi:26201491701': 'ben 2' },
  },
]

/** Every command after the first `most` fails, as if we had died: sent and done, or not sent at all. */
function dying(store: Store, most: number, lastIsDone: boolean): { store: Store; calls: () => number } {
  let calls = 0
  const call: Store['call'] = async (script, deadline, send) => {
    calls++
    if (calls > most + (lastIsDone ? 1 : 0)) throw new Error('killed')
    const reply = await store.call(script, deadline, send)
    if (calls > most) throw new Error('killed')
    return reply
  }
  const proxy = new Proxy(store, {
    get: (target, name) => (name === 'call' ? call : (Reflect.get(target, name, target) as unknown)),
  })
  return { store: proxy, calls: () => calls }
}

for (const { what, run, after } of operations) {
  for (const ending of ['the sweeper', 'a repeat'] as const) {
    void t.test(`${what}: killed after any command, ${ending} ends it`, async t => {
      for (let most = 0; ; most++) {
        const life = { over: false }
        const death: { current: ReturnType<typeof dying> | undefined } = { current: undefined }
        const rig = await aRig(t, store => (death.current = dying(store, most, most % 2 === 0)).store)
        await run(rig.subscribers).catch((error: unknown) => {
          if ((error as Error).message !== 'killed') throw error
          life.over = true
        })
        const alive = new RedisSubscribers(rig.store, partitions, systemClock, { onBlock: '' })
        const begun = await rig.begun()
        if (ending === 'a repeat') {
          const { status } = await run(alive)
          t.ok(['changed', 'unchanged'].includes(status), `${what} after ${most}: ${status}`)
        }
        for (const member of await rig.begun()) t.equal(await alive.resume(member), 'done')
        t.same(await rig.begun(), [])
        const report = await rig.fsck.check({ repair: false })
        t.same(report.orphans, [], `after ${most} commands`)
        if (ending === 'a repeat' || !life.over) {
          for (const [name, expected] of Object.entries(after)) {
            const [type, value] = name.split(':') as [Identity['type'], string]
            t.equal(await rig.entry({ type, value }), expected, `${name} after ${most} commands`)
          }
        }
        if (!life.over) {
          t.same(begun, [])
          break
        }
      }
    })
  }
}

void t.test('fsck finds entries without an account and identities without an entry, and mends them', async t => {
  const { fsck, store, entry, subscribers } = await aRig(t)
  t.match(await fsck.check({ repair: false }), { accounts: 2, identities: 4, found: 0, orphans: [] })
  const at = (identity: Identity): [string, string] => [identityKey(identity).key, identityKey(identity).field]
  await store.redis.hset(...at(msisdn('491709000009')), 'anna 0') // claimed, then died
  await store.redis.hset(...at(imsi('262010000000001')), 'gone 1') // its account never came
  await store.redis.hdel(...at(msisdn('491701000001'))) // missing
  await store.redis.hset(...at(imsi('26201491702')), 'ben 9') // another number
  const expected = [
    { kind: 'account', identity: imsi('26201491702'), account: 'ben', entry: 'ben 9' },
    { kind: 'account', identity: msisdn('491701000001'), account: 'anna', entry: undefined },
    { kind: 'index', identity: imsi('262010000000001'), account: 'gone', entry: 'gone 1' },
    { kind: 'index', identity: msisdn('491709000009'), account: 'anna', entry: 'anna 0' },
  ]
  for (const repair of [false, true]) {
    const { found, orphans } = await fsck.check({ repair })
    t.equal(found, 4)
    t.same(
      [...orphans].sort((a, b) => (a.kind + a.identity.value < b.kind + b.identity.value ? -1 : 1)),
      expected
        .map(each => ({ ...each, repaired: repair }))
        .sort((a, b) => (a.kind + a.identity.value < b.kind + b.identity.value ? -1 : 1)),
    )
  }
  t.match(await fsck.check({ repair: false }), { found: 0 })
  t.same(
    [await entry(msisdn('491701000001')), await entry(imsi('26201491702')), await entry(msisdn('491709000009'))],
    ['anna 1', 'ben 1', null],
  )
  t.ok(subscribers)
})
