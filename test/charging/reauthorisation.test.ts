/**
 * Who asks the gateway of a session, when, how often, and what for; on a real store, with a clock that is handed in.
 */
import t, { type Test } from 'tap'
import { RedisAccounts } from '../../src/balance/accounts.js'
import { DueLists } from '../../src/balance/due.js'
import { dueKey, partitionOf, sessionIndexKey, sessionKey } from '../../src/balance/keys.js'
import { Needs } from '../../src/balance/reauth.js'
import type { SessionLine } from '../../src/balance/types.js'
import { Expiry } from '../../src/charging/expiry.js'
import {
  Reauthorisation,
  selectorOf,
  type CommandOutcome,
  type GatewayCommand,
  type Reach,
  type ReauthorisationOptions,
  type Selector,
} from '../../src/charging/reauthorisation.js'
import { systemClock, VirtualClock } from '../../src/clock.js'
import { micros } from '../../src/units.js'
import { aProgram, Session } from '../support/charging.js'
import { allPartitions, silent } from '../support/ledger.js'
import { chargingConfig, partitions, startStore, type TestStore } from '../support/store.js'

const program = aProgram({ step: 1_000n, num: 1_000n })
const asks = (wanted: bigint | undefined, used = 0n) => ({ key: '10', used, wanted, threshold: false, program })

type Hear = Parameters<ReauthorisationOptions['nodes']['listen']>[0]

/** A daemon of the store, as far as it asks gateways. */
interface Asker {
  readonly reauthorisation: Reauthorisation
  readonly sent: GatewayCommand[]
  readonly results: string[]
  reach: Reach
  /** What becomes of the next request; it waits for it. */
  answer: (outcome: CommandOutcome) => void
}

interface Scene extends TestStore {
  readonly clock: VirtualClock
  readonly needs: Needs
  readonly released: string[]
  daemon(reach?: Reach, outcome?: CommandOutcome): Asker
  /** Members of the due list that are for gateways, with their times. */
  due(): Promise<[member: string, at: number][]>
  /** Credits the account, as a daemon that dies before it does anything else. */
  recharge(amount?: bigint): Promise<void>
  /** Virtual time goes on until it is so. */
  until(condition: () => boolean | Promise<boolean>): Promise<void>
  /** Lets what is under way with the store come to its end, without time passing. */
  settle(): Promise<void>
}

async function aScene(t: Test): Promise<Scene> {
  const clock = new VirtualClock(Date.now())
  const store = await startStore(t, { clock })
  const hears: Hear[] = []
  const needs = new Needs({ store: store.store, partitions, clock, lostMs: 40_000, apartMs: [1_000, 5_000] })
  const released: string[] = []
  const { redis } = store.store
  const key = dueKey(partitionOf('a', partitions))
  let recharges = 0
  return {
    ...store,
    clock,
    needs,
    released,
    daemon: (reach = 'near', outcome) => {
      const sent: GatewayCommand[] = []
      const results: string[] = []
      const id = `daemon-${hears.length}`
      const mine = hears.length
      const asker = { sent, results, reach, answer: () => undefined } as unknown as Asker
      const reauthorisation = new Reauthorisation({
        needs,
        nodes: {
          listen: hear => hears.push(hear),
          tell: message => {
            const text = JSON.stringify(message)
            hears.forEach((hear, i) => i !== mine && setImmediate(() => hear(JSON.parse(text), id)))
            return Promise.resolve(true)
          },
        },
        gateways: {
          reach: () => asker.reach,
          send: command => {
            if (asker.reach === 'none') return Promise.resolve({ kind: 'undeliverable' })
            sent.push(command)
            return outcome ? Promise.resolve(outcome) : new Promise(resolve => (asker.answer = resolve))
          },
        },
        release: sessionId => Promise.resolve(released.push(sessionId)),
        id,
        clock,
        log: silent,
        metrics: { asked: (command, result) => results.push(`${command} ${result}`) },
      })
      return Object.assign(asker, { reauthorisation })
    },
    due: async () => {
      const flat = await redis.zrange(key, '0', '-1', 'WITHSCORES')
      return flat.flatMap((member, i): [string, number][] =>
        i % 2 === 0 && !member.startsWith('session ') ? [[member, Number(flat[i + 1])]] : [],
      )
    },
    recharge: async (amount = 1_000_000n) => {
      const reference = `r-${++recharges}`
      const request = { account: 'a', currency: 'EUR', channel: 'test', reference, actor: 'test' }
      await store.accounts.recharge({ ...request, amount: micros(amount) })
    },
    until: async condition => {
      for (;;) {
        for (let i = 0; i < 6; i++) await redis.ping() // what the store is asked takes no time
        if (await condition()) return
        clock.advance(50)
      }
    },
    settle: async () => {
      for (let i = 0; i < 20; i++) await redis.ping()
    },
  }
}

/** A session of account `a` that was told of its final units. */
async function told(t: Test, scene: Scene): Promise<Session> {
  const session = await Session.open(t, scene, { account: 'a', money: 5_000n, credit: 0n })
  await session.charge('I', 0, [asks(100_000n)])
  return session
}

const answered = (resultCode: number): CommandOutcome => ({ kind: 'answered', resultCode })
const member = 'reauth a'

t.test('the AVP that names just these lines', t => {
  const line = (name: string, pool?: number): Pick<SessionLine, 'line' | 'pool'> => ({ line: name, pool })
  const table: readonly [readonly Pick<SessionLine, 'line' | 'pool'>[], Selector | undefined][] = [
    [[line('10')], { ratingGroup: 10 }],
    [[line('0')], { ratingGroup: 0 }],
    [[line('-')], undefined],
    [[line('10/7')], { serviceIdentifier: 7 }],
    [[line('-/7')], { serviceIdentifier: 7 }],
    [[line('10/7,8')], { ratingGroup: 10 }],
    [[line('-/7,8')], undefined],
    [[line('10/7'), line('10/8')], { ratingGroup: 10 }],
    [[line('10/7'), line('20/7')], { serviceIdentifier: 7 }],
    [[line('10'), line('10/8')], { ratingGroup: 10 }],
    [[line('10'), line('20')], undefined],
    [[line('-'), line('10')], undefined],
    [[line('10', 1)], { pool: 1 }],
    [[line('10', 1), line('20', 1)], { pool: 1 }],
    [[line('10', 1), line('20', 2)], undefined],
    [[line('10', 1), line('20')], undefined],
    [[line('10', 1), line('10/7')], { ratingGroup: 10 }],
  ]
  for (const [lines, selector] of table) t.same(selectorOf(lines), selector, lines.map(each => each.line).join(' '))
  t.end()
})

t.test('whoever finds the need, and how many do: one asks, once', async t => {
  const scene = await aScene(t)
  const session = await told(t, scene)
  const daemons = [scene.daemon('near', answered(2002)), scene.daemon('near', answered(2002))]
  await scene.recharge()
  t.same(await scene.due(), [[member, scene.clock.now()]], 'the script has left it there')
  for (const { reauthorisation } of [...daemons, ...daemons]) reauthorisation.begin(member)
  await scene.until(async () => (await scene.due()).length === 0)
  const sent = daemons.flatMap(daemon => daemon.sent)
  t.same(sent, [
    {
      ...{ command: 'RAR', sessionId: session.id, originHost: 'gw.example', originRealm: 'example' },
      ...{ via: 'gw.example', selector: { ratingGroup: 10 } },
    },
  ])
  t.same(
    daemons.flatMap(daemon => daemon.results),
    ['RAR 2002'],
  )
  const [shown] = await scene.accounts.sessions({ account: 'a', limit: 1 })
  t.match(shown?.asked, { command: 'RAR', result: '2002', number: 0 })
})

t.test('nobody is asked about an account without sessions, or whose sessions lack nothing', async t => {
  const scene = await aScene(t)
  const session = await Session.open(t, scene, { account: 'a', money: 10_000_000n, credit: 0n })
  await scene.recharge()
  t.same(await scene.due(), [], 'no session: no need')
  await session.charge('I', 0, [asks(100_000n)])
  const daemon = scene.daemon('near', answered(2002))
  await scene.recharge()
  t.equal(await daemon.reauthorisation.due(member), 'done')
  await scene.until(async () => (await scene.due()).length === 0)
  t.same(daemon.sent, [])
})

t.test('what comes while a gateway is asked is one request more, and none when the session has reported', async t => {
  for (const reports of [false, true]) {
    const scene = await aScene(t)
    const session = await told(t, scene)
    const daemon = scene.daemon()
    await scene.recharge()
    daemon.reauthorisation.begin(member)
    await scene.until(() => daemon.sent.length === 1)
    for (let i = 0; i < 5; i++) {
      await scene.recharge()
      daemon.reauthorisation.begin(member)
    }
    await scene.settle()
    t.equal(daemon.sent.length, 1, 'one at a time')
    if (reports) await session.charge('U', 1, [asks(100_000n, 1_000n)])
    const before = scene.clock.now()
    daemon.answer(answered(2001))
    await scene.until(async () => daemon.sent.length === 2 || (await scene.due()).length === 0)
    t.equal(daemon.sent.length, reports ? 1 : 2)
    if (!reports) {
      t.ok(scene.clock.now() - before >= 5_000, 'a gateway that was asked has its time')
      daemon.answer(answered(2001))
    }
    await scene.until(async () => (await scene.due()).length === 0)
    t.equal(daemon.sent.length, reports ? 1 : 2)
  }
})

t.test(
  'a gateway that no connection leads to is tried again, less and less often, and then left to itself',
  async t => {
    const scene = await aScene(t)
    await told(t, scene)
    const daemon = scene.daemon('none')
    await scene.recharge()
    const tried: number[] = []
    daemon.reauthorisation.begin(member)
    for (let i = 1; i <= 5; i++) {
      await scene.until(() => daemon.results.length === i)
      tried.push(scene.clock.now())
    }
    await scene.until(async () => (await scene.due()).length === 0)
    t.same(daemon.results, Array(5).fill('RAR undeliverable'))
    const pauses = tried.slice(1).map((at, i) => Math.floor((at - tried[i]!) / 1000))
    // A second each is for others that might have a connection.
    t.same(pauses, [3, 11, 61, 301])

    daemon.reach = 'near'
    await scene.recharge()
    daemon.reauthorisation.begin(member)
    await scene.until(() => daemon.sent.length === 1)
    daemon.answer(answered(2002))
    await scene.until(async () => (await scene.due()).length === 0)
    t.equal(daemon.results.at(-1), 'RAR 2002', 'the next credit tries again')
  },
)

t.test('silence is final, and a request of the session is as good as an answer', async t => {
  for (const [reports, result] of [
    [false, 'timeout'],
    [true, 'ccr'],
  ] as const) {
    const scene = await aScene(t)
    const session = await told(t, scene)
    const daemon = scene.daemon()
    await scene.recharge()
    daemon.reauthorisation.begin(member)
    await scene.until(() => daemon.sent.length === 1)
    if (reports) await session.charge('U', 1, [asks(100_000n, 1_000n)])
    daemon.answer({ kind: 'timeout' })
    await scene.until(async () => (await scene.due()).length === 0)
    t.same(daemon.results, [`RAR ${result}`])
    t.equal((await scene.accounts.show('a'))?.openSessions, 1, 'the session stays')
  }
})

t.test('5002 releases the session; other refusals do not', async t => {
  for (const code of [5002, 5005, 9001]) {
    const scene = await aScene(t)
    const session = await told(t, scene)
    const daemon = scene.daemon('near', answered(code))
    await scene.recharge()
    daemon.reauthorisation.begin(member)
    await scene.until(async () => (await scene.due()).length === 0)
    t.same(scene.released, code === 5002 ? [session.id] : [])
  }
})

t.test('an account that a daemon has in hand is left alone as long as it lives, and taken up when it dies', async t => {
  const scene = await aScene(t)
  await told(t, scene)
  const [first, second] = [scene.daemon(), scene.daemon()]
  await scene.recharge()
  first.reauthorisation.begin(member)
  await scene.until(() => first.sent.length === 1)
  for (let seconds = 0; seconds < 30; seconds++) {
    scene.clock.advance(1000)
    await scene.settle()
    t.equal(await second.reauthorisation.due(member), 'done')
  }
  await scene.settle()
  t.same(second.sent, [], 'for 30 s')
  first.answer(answered(2002))
  await scene.until(async () => (await scene.due()).length === 0)

  await scene.recharge()
  t.equal(await scene.needs.take(member, scene.clock.now() + 10_000.25), 'taken', 'and dies')
  t.equal(await second.reauthorisation.due(member), 'done')
  await scene.settle()
  t.same(second.sent, [])
  scene.clock.advance(10_001)
  await second.reauthorisation.due(member)
  await scene.until(() => second.sent.length === 1)
  second.answer(answered(2002))
})

t.test('an attempt of a daemon that died with it is made again after its time', async t => {
  const scene = await aScene(t)
  const session = await told(t, scene)
  const daemon = scene.daemon('near', answered(2002))
  const begun = { session: { id: session.id, account: 'a' }, command: 'RAR', token: 'dead/1', atOnce: false } as const
  t.same(await scene.needs.claim(begun), { status: 'claimed' })
  const before = scene.clock.now()
  await scene.recharge()
  daemon.reauthorisation.begin(member)
  await scene.until(() => daemon.sent.length === 1)
  t.ok(scene.clock.now() - before >= 40_000)
  t.equal(await scene.needs.note(begun, '2001'), undefined, 'what it says later counts no more')
})

t.test('who has the connection of the session asks; else who has any; else nobody', async t => {
  const table: readonly [reaches: readonly Reach[], asks: number | undefined][] = [
    [['near', 'near', 'near'], 0],
    [['far', 'near', 'far'], 1],
    [['none', 'far', 'near'], 2],
    [['far', 'none', 'none'], 0],
    [['none', 'far', 'none'], 1],
    [['none', 'none', 'none'], undefined],
  ]
  for (const [reaches, expected] of table) {
    const scene = await aScene(t)
    await told(t, scene)
    const daemons = reaches.map(reach => scene.daemon(reach, answered(2002)))
    await scene.recharge()
    daemons[0]!.reauthorisation.begin(member)
    await scene.until(() => daemons.some(({ results }) => results.length > 0))
    await scene.settle()
    t.same(
      daemons.map(({ sent }) => sent.length),
      reaches.map((_, i) => Number(i === expected)),
      reaches.join(),
    )
    if (expected !== undefined) await scene.until(async () => (await scene.due()).length === 0)
    for (const { reauthorisation } of daemons) await reauthorisation.stop()
  }
})

t.test(
  'asked again too soon from a daemon without a connection: the one that has it asks when the time has come',
  async t => {
    const scene = await aScene(t)
    const session = await told(t, scene)
    const [away, near] = [scene.daemon('none', answered(2002)), scene.daemon('near', answered(2002))]
    await scene.recharge(1_000n)
    away.reauthorisation.begin(member)
    await scene.until(async () => (await scene.due()).length === 0)
    t.equal(near.sent.length, 1)
    await session.charge('U', 1, [asks(100_000n, 5_000n)])
    await scene.recharge(1_000n)
    away.reauthorisation.begin(member)
    await scene.until(async () => (await scene.due()).length === 0)
    t.equal(near.sent.length, 2)
    t.same(away.results, [], 'the gateway was not out of reach')
  },
)

t.test('what other daemons say may be anything', async t => {
  const scene = await aScene(t)
  const hears: Hear[] = []
  const sent: unknown[] = []
  const reauthorisation = new Reauthorisation({
    needs: scene.needs,
    nodes: { listen: hear => hears.push(hear), tell: () => Promise.resolve(true) },
    gateways: {
      reach: () => 'near',
      send: command => {
        sent.push(command)
        return Promise.resolve(answered(2001))
      },
    },
    release: () => Promise.resolve(),
    ...{ id: 'x', clock: scene.clock, log: silent, metrics: { asked: () => undefined } },
  })
  const command = { command: 'CCR', sessionId: 's', originHost: 'h', originRealm: 'r', via: '' }
  const messages = [
    ...[undefined, null, 1, 'ask', [], {}, { id: 1 }, { kind: 'ask', id: 'i' }, { kind: 'later', id: 'i' }],
    { kind: 'ask', id: 'i', account: 'a', command },
    { kind: 'ask', id: 'i', account: 'a', command: { ...command, command: 'RAR', via: 7 } },
    { kind: 'ask', id: 'i', account: 'a', command: { ...command, command: 'RAR' }, atOnce: true },
    ...[
      { kind: 'outcome', id: 'i' },
      { kind: 'begun', id: 'i' },
      { kind: 'busy', id: 'i', until: 'soon' },
    ],
  ]
  for (const message of messages) for (const hear of hears) hear(message, 'y')
  await scene.settle()
  t.same(sent, [], 'not even for a session that nobody knows')
  await reauthorisation.stop()
})

t.test('a suspended account: every session, whatever its lines; as the configuration says', async t => {
  for (const [onSuspend, word, command] of [
    ['reauthorise', 'reauth-all', 'RAR'],
    ['abort', 'abort', 'ASR'],
    ['wait', undefined, undefined],
  ] as const) {
    const scene = await aScene(t)
    const due: string[] = []
    const accounts = new RedisAccounts(
      ...([scene.store, partitions, { ...chargingConfig, onSuspend }, scene.clock, 5000] as const),
      each => due.push(each),
    )
    const session = await Session.open(t, scene, { account: 'a', money: 10_000_000n, credit: 0n })
    await session.charge('I', 0, [asks(100_000n)])
    await accounts.setStatus('a', 'suspended', 'test')
    t.same(due, word === undefined ? [] : [`${word} a`], onSuspend)
    t.same(
      (await scene.due()).map(([each]) => each),
      due,
    )
    const daemon = scene.daemon('near', answered(2001))
    for (const each of due) daemon.reauthorisation.begin(each)
    await scene.until(async () => (await scene.due()).length === 0)
    t.same(
      daemon.sent.map(each => [each.command, each.selector]),
      command === undefined ? [] : [[command, undefined]],
    )
    await accounts.setStatus('a', 'active', 'test')
    t.equal(due.at(-1), 'reauth a', 'who comes back may go on')
  }
})

t.test('the sweeper finds what nobody works at, and what it cannot do now stays', async t => {
  const scene = await aScene(t)
  await told(t, scene)
  await scene.recharge()
  const daemon = scene.daemon('near', answered(2002))
  const sweeper = (ask?: (member: string) => Promise<'done' | 'stuck'>): Expiry =>
    new Expiry({
      due: new DueLists(scene.store, systemClock),
      ...{ partitions, leases: allPartitions, identities: scene.identities, keepSilentMs: 1000 },
      ...{ clock: scene.clock, log: silent, offset: () => scene.clock.now() - Date.now() },
      ...(ask && { ask }),
      metrics: {
        ...{ released: () => t.fail('released'), silent: () => t.fail('silent'), defect: () => t.fail('defect') },
        ...{ bucketExpired: () => t.fail('bucket'), skew: () => t.fail('skew') },
      },
    })
  await sweeper().round()
  await sweeper(() => Promise.resolve('stuck')).round()
  t.equal((await scene.due()).length, 1)
  await sweeper(each => daemon.reauthorisation.due(each)).round()
  await scene.until(async () => (await scene.due()).length === 0)
  t.equal(daemon.sent.length, 1)
})

t.test('all accounts with sessions, spread out in time', async t => {
  const scene = await aScene(t)
  const { redis } = scene.store
  for (let i = 0; i < 20; i++) {
    const session = await Session.open(t, scene, { account: `s${i}`, money: 1_000_000n, credit: 0n })
    await session.charge('I', 0, [asks(100_000n)])
    await session.another().charge('I', 0, [asks(100_000n)])
  }
  const now = scene.clock.now()
  t.equal(await scene.needs.askAll('reauth-all', now, 10), 20, 'each account once')
  const times: number[] = []
  for (let p = 0; p < partitions; p++) {
    const flat = await redis.zrange(dueKey(p), '0', '-1', 'WITHSCORES')
    flat.forEach((each, i) => each.startsWith('reauth-all ') && times.push(Number(flat[i + 1]) - now))
  }
  t.same(
    times.sort((a, b) => a - b),
    Array.from({ length: 20 }, (_, i) => 10 * i),
  )
})

t.test('one session by command: at once, known or not, open or ended', async t => {
  const scene = await aScene(t)
  const session = await told(t, scene)
  const daemon = scene.daemon()
  const ask = (id: string) => daemon.reauthorisation.ask(id, 'RAR', 5_000)
  t.same(await ask('nobody'), { status: 'unknown' })
  const first = ask(session.id)
  await scene.until(() => daemon.sent.length === 1)
  t.same(daemon.sent[0]!.selector, undefined, 'all of it')
  daemon.answer(answered(2002))
  t.same(await first, { status: 'asked', result: '2002' })
  const again = ask(session.id)
  await scene.until(() => daemon.sent.length === 2)
  scene.clock.advance(5_000)
  t.same(await again, { status: 'asked', result: 'sent' }, 'it has not answered yet')
  daemon.answer(answered(2002))
  await session.charge('T', 1, [])
  t.same(await ask(session.id), { status: 'unknown' }, 'who does not know whose it was')
  await scene.store.redis.set(sessionIndexKey(session.id), 'a 1')
  t.same(await ask(session.id), { status: 'ended' })
  t.match(await scene.store.redis.hget(sessionKey(partitionOf('a', partitions), session.id), 'reauth'), /^RAR /)
})

t.test('a daemon that stops begins nothing more', async t => {
  const scene = await aScene(t)
  await told(t, scene)
  const daemon = scene.daemon('near', answered(2002))
  await scene.recharge()
  await daemon.reauthorisation.stop()
  t.equal(await daemon.reauthorisation.due(member), 'stuck')
  t.same(daemon.sent, [])
  t.equal((await scene.due()).length, 1, 'it stands there for others')
})
