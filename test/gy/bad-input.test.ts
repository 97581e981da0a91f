/**
 * Every malformed or contradictory CCR, over real sockets: what was wrong, the Result-Code of the command or of its MSCCs, what
 * Failed-AVP points at, and that Error-Message says why. None of them changes a balance, a hold, a counter, a session or the
 * ledger, but where semantics.md section 9 has used units debited all the same: then exactly those.
 *
 * What each row spoils is right, which the first test shows: had it not been refused, it would have changed something.
 */
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { accountKey, partitionOf } from '../../src/balance/keys.js'
import type { Account } from '../../src/balance/types.js'
import { readReference, writeReference, type DebitReference } from '../../src/charging/refund-information.js'
import { standardProfile } from '../../src/config/profiles.js'
import type { AvpItem } from '../../src/diameter/tree.js'
import { ccrAvps, type CcrInput } from '../../src/simulator/ccr.js'
import type { Gateway } from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { failedAvps, linesOf, MiB, startScenario, Talk, type Subject } from '../support/scenario.js'

const scenario = await startScenario(t, 'flows', ({ charging, diameter }) => ({
  // Nobody is asked anything: what a row finds is what it left.
  charging: { ...charging, onSuspend: 'wait' },
  catalog: fileURLToPath(new URL('bad-input.catalog.yaml', import.meta.url)),
  diameter: {
    ...diameter,
    peers: [
      {
        ...diameter.peers[0]!,
        name: 'strict',
        identity: 'strict.example.net',
        profile: { ...standardProfile, reusedNumber: 'refuse' },
      },
      ...diameter.peers,
    ],
  },
}))
const { partitions } = scenario.config.store
const redis = new Redis(scenario.redis.socket)
t.teardown(() => redis.disconnect())
const gateways = {
  standard: await scenario.gateway(t),
  strict: await scenario.gateway(t, { originHost: 'strict.example.net' }),
}

/** What a row begins with: 10.00 EUR and 30 MiB; a session with a grant of each, its next number 1; five SMS that were paid. */
interface World {
  readonly gateway: Gateway
  readonly alice: Subject
  readonly session: Talk
  readonly refund: Buffer
  /** Of somebody else. */
  readonly bob: Subject
  readonly bobsRefund: Buffer
}

const kinds = ['initial', 'update', 'terminate', 'debit', 'refund', 'check', 'price'] as const
type Kind = (typeof kinds)[number]
/** From the right request to the wrong one. */
type Change = (input: CcrInput, world: World) => readonly AvpItem[] | Promise<readonly AvpItem[]>
/** Of alice, where it is not `10.00` money, `0.10` held, no debt and no entry. */
interface Moves {
  readonly bal?: string
  readonly res?: string
  readonly debt?: string
  /** What her counter of data rises by. */
  readonly data?: bigint
  /** Ledger entries. */
  readonly entries: number
}
interface More {
  readonly moves?: Moves
  /** What happened before. */
  readonly before?: (world: World) => Promise<unknown>
  readonly over?: keyof typeof gateways
  /** A number or other content of the request that is spoilt. */
  readonly base?: Partial<CcrInput> | ((world: World) => Partial<CcrInput>)
}
/** Code: of the command, and of MSCCs `<rating group or service>:<code>`. */
type Row = readonly [
  wrong: string,
  change: Change,
  code: number | string,
  failed: readonly string[] | ((world: World) => readonly string[]),
  says: RegExp,
  more?: More,
]

const sms = '32274@3gpp.org'
const oneSms = { serviceIdentifiers: [1], requested: { events: 1n } }
const twoMiB = [{ octets: 2n * MiB }]

function rightInput(kind: Kind, { gateway, alice, session, refund }: World): CcrInput {
  const one = new Talk(gateway, [alice.id], { serviceContextId: sms })
  switch (kind) {
    case 'initial':
      return new Talk(gateway, [alice.id]).input('initial', 0, [{ ratingGroup: 10, requested: {} }])
    case 'update':
      return session.input('update', 1, [{ ratingGroup: 10, requested: {}, used: twoMiB }])
    case 'terminate':
      return session.input('terminate', 1, [{ ratingGroup: 10, used: twoMiB }])
    case 'debit':
      return one.input('event', 0, [oneSms], { action: 'debit' })
    case 'refund':
      return one.input('event', 0, [{ ...oneSms, refund }], { action: 'refund' })
    case 'check':
      return one.input('event', 0, [], { action: 'check-balance', units: oneSms })
    case 'price':
      return one.input('event', 0, [], { action: 'price', units: oneSms })
  }
}

const refundOf = (answer: Message): Buffer =>
  answer.groups('Multiple-Services-Credit-Control')[0]!.value('Refund-Information') as Buffer

async function debited(t: Test, gateway: Gateway): Promise<{ subject: Subject; refund: Buffer }> {
  const subject = await scenario.subject(t, { money: '10.45', offer: 'all' })
  const talk = new Talk(gateway, [subject.id], { serviceContextId: sms, action: 'debit' })
  const five = [{ serviceIdentifiers: [1], requested: { events: 5n } }]
  return { subject, refund: refundOf(await talk.ask(talk.input('event', 0, five))) }
}

let bobs: Awaited<ReturnType<typeof debited>> | undefined

async function newWorld(t: Test, gateway: Gateway): Promise<World> {
  bobs ??= await debited(t, gateways.standard)
  const { subject: alice, refund } = await debited(t, gateway)
  const session = new Talk(gateway, [alice.id])
  await session.initial([10, 20].map(ratingGroup => ({ ratingGroup, requested: {} })))
  return { gateway, alice, session, refund, bob: bobs.subject, bobsRefund: bobs.refund }
}

/** All that the store has of alice, her sessions and her refunds (and others of her partition), and of bob. */
async function stored({ alice, bob }: World): Promise<Record<string, string>> {
  const partition = partitionOf(alice.account, partitions)
  const kept = ['account', 'session', 'refunded', 'once', 'ended', 'census'].map(kind => `ocs:{${partition}}:${kind}`)
  const names = (await redis.keys(`ocs:{${partition}}:*`)).filter(name => kept.some(each => name.startsWith(each)))
  names.push(accountKey(partitionOf(bob.account, partitions), bob.account))
  const found: Record<string, string> = {}
  for (const name of names.sort()) {
    const type = await redis.type(name)
    const value =
      type === 'hash'
        ? Object.entries(await redis.hgetall(name)).sort()
        : type === 'string'
          ? await redis.get(name)
          : await redis.dumpBuffer(name)
    found[name] = JSON.stringify(value)
  }
  return found
}

/** Command and MSCCs. */
function codesOf(answer: Message): string {
  const lines = linesOf(answer).map(
    ({ ratingGroup, serviceIdentifiers, code }) => `${ratingGroup ?? serviceIdentifiers?.join() ?? '-'}:${code ?? ''}`,
  )
  return [answer.resultCode, ...lines].join(' ')
}

t.test('what the rows spoil is right', async t => {
  for (const kind of kinds) {
    const world = await newWorld(t, gateways.standard)
    const input = rightInput(kind, world)
    const before = await stored(world)
    const answer = await world.session.askAvps(ccrAvps(world.gateway, input))
    t.equal(answer.resultCode, 2001, kind)
    t.same(failedAvps(answer), [])
    const asks = kind === 'check' || kind === 'price'
    const after = await stored(world)
    if (asks) t.strictSame(after, before, `${kind} only asks`)
    else t.notSame(after, before, `${kind} changes something`)
  }
})

const dataOf = (counters: Account['counters']): bigint =>
  counters.find(({ name }) => name.startsWith('month-data'))?.value ?? 0n

let rows = 0
function table(kind: Kind, list: readonly Row[]): void {
  for (const [wrong, change, code, failed, says, more = {}] of list) {
    rows++
    t.test(`${kind}: ${wrong}`, async t => {
      const world = await newWorld(t, gateways[more.over ?? 'standard'])
      const { alice } = world
      await more.before?.(world)
      const right = rightInput(kind, world)
      const input = { ...right, ...(typeof more.base === 'function' ? more.base(world) : more.base) }
      const avps = await change(input, world)
      const was = (await scenario.accounts.show(alice.account))!
      const before = await stored(world)
      const answer = await world.session.askAvps(avps)
      t.equal(codesOf(answer), String(code), 'code')
      t.same(failedAvps(answer), typeof failed === 'function' ? failed(world) : failed, 'Failed-AVP')
      t.match(answer.text('Error-Message') ?? '', says, 'Error-Message')
      const { moves } = more
      const after = await stored(world)
      if (moves === undefined) {
        t.strictSame(after, before, 'nothing is changed')
        return
      }
      const { bal = '10.00', res = '0.10', debt = '0.00', data = 0n, entries } = moves
      await alice.is(t, { bal, res, debt }, 'exactly what was used')
      const is = (await scenario.accounts.show(alice.account))!
      t.equal(is.sequence - was.sequence, entries, 'ledger entries')
      t.equal(dataOf(is.counters) - dataOf(was.counters), data, 'its counter')
      const bob = accountKey(partitionOf(world.bob.account, partitions), world.bob.account)
      t.equal(after[bob], before[bob], 'bob has what he had')
    })
  }
}

// How a request is spoilt.

const parts =
  (changes: Partial<CcrInput> | ((world: World) => Partial<CcrInput>)): Change =>
  (input, world) =>
    ccrAvps(world.gateway, { ...input, ...(typeof changes === 'function' ? changes(world) : changes) })
const plus =
  (...items: AvpItem[]): Change =>
  (input, { gateway }) => [...ccrAvps(gateway, input), ...items]
type NamedItem = readonly [name: string, ...unknown[]]
const nameOf = (item: AvpItem): string => (item as unknown as NamedItem)[0]
const withoutUnits = (input: CcrInput): CcrInput => ({ ...input, services: [], units: {} })
const without =
  (name: string): Change =>
  (input, { gateway }) =>
    ccrAvps(gateway, input).filter(item => nameOf(item) !== name)
const put =
  (name: string, value: number | bigint | string | Buffer): Change =>
  (input, { gateway }) =>
    ccrAvps(gateway, input).map((item): AvpItem => (nameOf(item) === name ? [name, value] : item))
/** In the place of its MSCCs, or of its units at command level. */
const msccs =
  (...groups: readonly (readonly AvpItem[])[]): Change =>
  (input, { gateway }) => {
    return [
      ...ccrAvps(gateway, withoutUnits(input)),
      ...groups.map((items): AvpItem => ['Multiple-Services-Credit-Control', [...items]]),
    ]
  }
const mscc = (...items: readonly AvpItem[]): Change => msccs(items)
/** Beside rating group 10, its request and its 2 MiB. */
const beside = (...items: readonly AvpItem[]): Change => msccs([rg(10), rsu(), used(octets(2n * MiB)), ...items])
const level =
  (...items: readonly AvpItem[]): Change =>
  (input, { gateway }) => {
    return [...ccrAvps(gateway, withoutUnits(input)), ...items]
  }

const rg = (value: number | Buffer): AvpItem => ['Rating-Group', value]
const sid = (value: number | Buffer): AvpItem => ['Service-Identifier', value]
const rsu = (...items: readonly AvpItem[]): AvpItem => ['Requested-Service-Unit', [...items]]
const used = (...items: readonly AvpItem[]): AvpItem => ['Used-Service-Unit', [...items]]
const octets = (value: bigint | Buffer): AvpItem => ['CC-Total-Octets', value]
const unitValue = (digits: bigint, exponent?: number): AvpItem => [
  'Unit-Value',
  [['Value-Digits', digits], ...(exponent === undefined ? [] : [['Exponent', exponent] as const])],
]
const money = (digits: bigint, exponent?: number, currency?: number): AvpItem => [
  'CC-Money',
  [unitValue(digits, exponent), ...(currency === undefined ? [] : [['Currency-Code', currency] as const])],
]
const action = (kind: number): AvpItem => ['Requested-Action', kind]
const id = (type: number, data: string | Buffer): AvpItem => [
  'Subscription-Id',
  [
    ['Subscription-Id-Type', type],
    ['Subscription-Id-Data', data],
  ],
]
const refundable = (refund: (world: World) => Buffer, events?: bigint): Change =>
  parts(world => ({
    services: [
      { serviceIdentifiers: [1], ...(events !== undefined && { requested: { events } }), refund: refund(world) },
    ],
  }))

/** Zeros as a time, RFC 6733 section 4.3.1: as everything below 1968 they are of the next era. */
const zeroTime = 'Event-Timestamp=2085978496'

const largest64 = 2n ** 64n - 1n
const M = 'Multiple-Services-Credit-Control/'
const U = `${M}Used-Service-Unit/`
const R = `${M}Requested-Service-Unit/`

// The session's identity, kind and number.

table('initial', [
  ['no CC-Request-Type', without('CC-Request-Type'), 5005, ['CC-Request-Type=0'], /^CC-Request-Type is missing/],
  ['CC-Request-Type 0', put('CC-Request-Type', 0), 5004, ['CC-Request-Type=0'], /^CC-Request-Type has no legal value/],
  ['CC-Request-Type 5', put('CC-Request-Type', 5), 5004, ['CC-Request-Type=5'], /^CC-Request-Type has no legal value/],
  ['CC-Request-Type of 8 octets', put('CC-Request-Type', Buffer.alloc(8)), 5014, ['CC-Request-Type=0'], /has 8 octets/],
  ['no CC-Request-Number', without('CC-Request-Number'), 5005, ['CC-Request-Number=0'], /is missing/],
  [
    'CC-Request-Number of 3 octets',
    put('CC-Request-Number', Buffer.alloc(3)),
    5014,
    ['CC-Request-Number=0'],
    /3 octets/,
  ],
  ['two CC-Request-Numbers', plus(['CC-Request-Number', 1]), 5009, ['CC-Request-Number=1'], /occurs too many times/],
  ['no Service-Context-Id', without('Service-Context-Id'), 5005, ['Service-Context-Id='], /is missing/],
  [
    'an empty Service-Context-Id',
    put('Service-Context-Id', ''),
    5031,
    ['Service-Context-Id='],
    /no service of the catalog/,
  ],
  [
    'a Service-Context-Id that is no UTF-8',
    put('Service-Context-Id', Buffer.of(0xc3, 0x28)),
    5004,
    ['Service-Context-Id=c328'],
    /no legal value/,
  ],
  [
    'a service that nobody sells',
    put('Service-Context-Id', '32299@3gpp.org'),
    5031,
    ['Service-Context-Id=32299@3gpp.org'],
    /no service of the catalog/,
  ],
  [
    'a service of another organisation',
    put('Service-Context-Id', '32251@3gpp.example'),
    5031,
    ['Service-Context-Id=32251@3gpp.example'],
    /no service of the catalog/,
  ],
  [
    'Auth-Application-Id 5',
    put('Auth-Application-Id', 5),
    5004,
    ['Auth-Application-Id=5'],
    /is not 4, the application of the header/,
  ],
  [
    'a Session-Id of 513 octets',
    put('Session-Id', 's'.repeat(513)),
    5004,
    [`Session-Id=${'s'.repeat(512)}`],
    /has 513 octets; the limit is 512/,
  ],
  ['CC-Sub-Session-Id', plus(['CC-Sub-Session-Id', 1n]), 5004, ['CC-Sub-Session-Id=1'], /send no CC-Sub-Session-Id/],
  [
    'CC-Sub-Session-Id of 4 octets',
    plus(['CC-Sub-Session-Id', Buffer.alloc(4)]),
    5014,
    ['CC-Sub-Session-Id=0'],
    /has 4 octets/,
  ],
  ['an Event-Timestamp of 3 octets', plus(['Event-Timestamp', Buffer.alloc(3)]), 5014, [zeroTime], /has 3 octets/],
  [
    'Multiple-Services-Indicator 2',
    put('Multiple-Services-Indicator', 2),
    5004,
    ['Multiple-Services-Indicator=2'],
    /no legal value/,
  ],
  ['AoC-Request-Type 4', plus(['AoC-Request-Type', 4]), 5004, ['AoC-Request-Type=4'], /no legal value/],
])

table('update', [
  ['CC-Request-Type 9', put('CC-Request-Type', 9), 5004, ['CC-Request-Type=9'], /no legal value/],
  ['no Session-Id', without('Session-Id'), 5005, ['Session-Id='], /Session-Id is missing/],
  [
    'an Origin-Realm with blanks',
    put('Origin-Realm', 'example.net dra1.example.net'),
    5004,
    ['Origin-Realm=6578616d706c652e6e657420647261312e6578616d706c652e6e6574'],
    /no legal value for DiameterIdentity/,
  ],
  ['an Origin-Realm with a NUL', put('Origin-Realm', 'a\u0000b'), 5004, ['Origin-Realm=610062'], /no legal value/],
  ['an empty Origin-Realm', put('Origin-Realm', ''), 5004, ['Origin-Realm='], /^Origin-Realm is empty/],
  [
    'CC-Sub-Session-Id',
    plus(['CC-Sub-Session-Id', largest64]),
    5004,
    [`CC-Sub-Session-Id=${largest64}`],
    /send no CC-Sub-Session-Id/,
  ],
  [
    'another service than the session has',
    put('Service-Context-Id', '32260@3gpp.org'),
    5004,
    ['Service-Context-Id=32260@3gpp.org'],
    /of another Service-Context-Id/,
  ],
  [
    'a service that nobody sells',
    put('Service-Context-Id', '99999@example.org'),
    5031,
    ['Service-Context-Id=99999@example.org'],
    /no service of the catalog/,
  ],
  [
    'another service than the session had, which has ended',
    put('Service-Context-Id', '32260@3gpp.org'),
    5004,
    ['Service-Context-Id=32260@3gpp.org'],
    /of another Service-Context-Id/,
    { base: { number: 2 }, before: ({ session }) => session.terminate(1) },
  ],
  [
    'a session never seen, with usage',
    parts({ sessionId: 'pgw1.example.net;1;never' }),
    5002,
    [],
    /no session with this Session-Id/,
    { moves: { entries: 1 }, base: { sessionId: 'pgw1.example.net;1;never' } },
  ],
  [
    'a session never seen, without usage',
    parts({ sessionId: 'pgw1.example.net;1;none', services: [] }),
    5002,
    [],
    /no session with this Session-Id/,
    { base: { sessionId: 'pgw1.example.net;1;none' } },
  ],
  [
    'the Session-Id of an event',
    parts({}),
    5002,
    [],
    /no session|has ended/,
    {
      base: { sessionId: 'pgw1.example.net;1;event', services: [] },
      before: ({ session, gateway }) =>
        session.askAvps(
          ccrAvps(gateway, {
            ...session.input('event', 0, [oneSms], { action: 'check-balance' }),
            sessionId: 'pgw1.example.net;1;event',
            serviceContextId: sms,
          }),
        ),
    },
  ],
  [
    'a session that has ended, with usage',
    parts({}),
    5002,
    [],
    /the session has ended; the usage reported is charged/,
    {
      base: { number: 2 },
      before: ({ session }) => session.terminate(1, [{ ratingGroup: 10, used: twoMiB }]),
      moves: { bal: '9.96', res: '0.00', data: 2n * MiB, entries: 1 },
    },
  ],
  [
    'an account that was suspended',
    parts({}),
    4010,
    [],
    /not in service/,
    {
      before: ({ alice }) => alice.setStatus('suspended'),
      moves: { bal: '9.98', res: '0.00', data: 2n * MiB, entries: 1 },
    },
  ],
  [
    'a number of other content, to a strict peer',
    parts({ services: [{ ratingGroup: 10, used: [{ octets: 9n * MiB }] }] }),
    5012,
    [],
    /had another content before/,
    {
      over: 'strict',
      before: ({ session }) => session.update(1, [{ ratingGroup: 10, requested: {}, used: twoMiB }]),
    },
  ],
  [
    'a number of other content',
    parts({ services: [{ ratingGroup: 10, used: [{ octets: 9n * MiB }] }] }),
    '2001 10:2001',
    [],
    /^$/,
    {
      before: ({ session }) => session.update(1, [{ ratingGroup: 10, requested: {}, used: twoMiB }]),
    },
  ],
  [
    'a number of another rating group, to a strict peer',
    parts({ services: [{ ratingGroup: 20, used: twoMiB }] }),
    5012,
    [],
    /had another content before/,
    {
      over: 'strict',
      before: ({ session }) => session.update(1, [{ ratingGroup: 10, requested: {}, used: twoMiB }]),
    },
  ],
  [
    'the number of the CCR-I',
    parts({}),
    5012,
    [],
    /had another content before/,
    { over: 'strict', base: { number: 0 } },
  ],

  // Identities.
  [
    'somebody else',
    parts(({ bob }) => ({ subscriptionIds: [bob.id] })),
    5004,
    ({ bob }) => ['Subscription-Id/Subscription-Id-Type=0', `Subscription-Id/Subscription-Id-Data=${bob.account}`],
    /belongs to another subscriber/,
  ],
  [
    'somebody else, too',
    parts(({ alice, bob }) => ({ subscriptionIds: [alice.id, bob.id] })),
    5007,
    ({ alice, bob }) =>
      [alice, bob].flatMap(({ account }) => [
        'Subscription-Id/Subscription-Id-Type=0',
        `Subscription-Id/Subscription-Id-Data=${account}`,
      ]),
    /belong to different accounts/,
  ],
  ['a Subscription-Id-Type 5', plus(id(5, '1')), 5004, ['Subscription-Id/Subscription-Id-Type=5'], /no legal value/],

  // Units.
  [
    'Requested-Service-Unit beside the MSCC',
    plus(rsu()),
    5007,
    ['Requested-Service-Unit=', 'Multiple-Services-Credit-Control='],
    /at command level beside/,
  ],
  [
    'Used-Service-Unit beside the MSCC',
    plus(used(octets(1n))),
    5007,
    ['Used-Service-Unit=', 'Multiple-Services-Credit-Control='],
    /at command level beside/,
  ],
  ['two Requested-Service-Units', beside(rsu(octets(1n))), 5009, [`${R}CC-Total-Octets=1`], /occurs too many times/],
  [
    'CC-Total-Octets of 4 octets',
    beside(used(octets(Buffer.alloc(4)))),
    5014,
    [`${U}CC-Total-Octets=0`],
    /has 4 octets, Unsigned64 needs 8/,
  ],
  [
    'CC-Total-Octets of 12 octets',
    beside(used(octets(Buffer.alloc(12)))),
    5014,
    [`${U}CC-Total-Octets=0`],
    /has 12 octets/,
  ],
  [
    'two CC-Total-Octets',
    beside(used(octets(1n), octets(2n))),
    5009,
    [`${U}CC-Total-Octets=2`],
    /occurs too many times/,
  ],
  [
    'CC-Time of 8 octets',
    beside(used(['CC-Time', Buffer.alloc(8)])),
    5014,
    [`${U}CC-Time=0`],
    /has 8 octets, Unsigned32 needs 4/,
  ],
  [
    'CC-Service-Specific-Units of 4 octets',
    beside(used(['CC-Service-Specific-Units', Buffer.alloc(4)])),
    5014,
    [`${U}CC-Service-Specific-Units=0`],
    /has 4 octets/,
  ],
  [
    'more octets than a line may carry',
    beside(used(octets(10n ** 14n))),
    5004,
    ['Used-Service-Unit/CC-Total-Octets=100000002097152'],
    /are more than one line may carry/,
  ],
  [
    'all of 64 bits',
    mscc(rg(10), rsu(), used(octets(largest64))),
    5004,
    [`Used-Service-Unit/CC-Total-Octets=${largest64}`],
    /are more than one line may carry/,
  ],
  [
    '64 bits each way',
    mscc(rg(10), used(['CC-Input-Octets', largest64], ['CC-Output-Octets', largest64])),
    5004,
    [`Used-Service-Unit/CC-Total-Octets=${largest64}`],
    /36893488147419103230 octets of usage/,
  ],
  [
    'too much in several',
    mscc(rg(10), ...Array.from({ length: 3 }, () => used(octets(4n * 10n ** 13n)))),
    5004,
    ['Used-Service-Unit/CC-Total-Octets=120000000000000'],
    /are more than one line may carry/,
  ],
  [
    'too much in two MSCCs of one line',
    msccs([rg(10), used(octets(6n * 10n ** 13n))], [rg(10), used(octets(6n * 10n ** 13n))]),
    5004,
    ['Used-Service-Unit/CC-Total-Octets=120000000000000'],
    /are more than one line may carry/,
  ],
  [
    'too much on both sides of a tariff change',
    mscc(rg(10), ...[0, 1].map(side => used(['Tariff-Change-Usage', side], octets(6n * 10n ** 13n)))),
    5004,
    ['Used-Service-Unit/CC-Total-Octets=120000000000000'],
    /are more than one line may carry/,
  ],
  [
    'too much in all reports together',
    mscc(rg(30), rsu(), used(octets(6n * 10n ** 13n))),
    5004,
    ['Used-Service-Unit/CC-Total-Octets=60000000000000'],
    /line 30 has reported more than one line may carry/,
    {
      base: { number: 2 },
      before: ({ session }) =>
        session.update(1, [{ ratingGroup: 30, requested: {}, used: [{ octets: 6n * 10n ** 13n }] }]),
    },
  ],
  [
    'more seconds than a line may carry',
    beside(used(['CC-Time', 1_000_000_001])),
    5004,
    ['Used-Service-Unit/CC-Time=1000000001'],
    /seconds of usage are more/,
  ],
  [
    'more events than a line may carry',
    beside(used(['CC-Service-Specific-Units', 100_000_001n])),
    5004,
    ['Used-Service-Unit/CC-Service-Specific-Units=100000001'],
    /events of usage are more/,
  ],
  [
    'more than a line may carry, at command level',
    level(rsu(), used(octets(10n ** 14n + 1n))),
    5004,
    ['Used-Service-Unit/CC-Total-Octets=100000000000001'],
    /are more than one line may carry/,
  ],
  [
    'Tariff-Change-Usage 3',
    beside(used(['Tariff-Change-Usage', 3], octets(1n))),
    5004,
    [`${U}Tariff-Change-Usage=3`],
    /no legal value/,
  ],
  [
    'Tariff-Change-Usage of one octet',
    beside(used(['Tariff-Change-Usage', Buffer.of(0)], octets(1n))),
    5014,
    [`${U}Tariff-Change-Usage=0`],
    /has 1 octets/,
  ],
  [
    'two Tariff-Change-Usages',
    beside(used(['Tariff-Change-Usage', 0], ['Tariff-Change-Usage', 1], octets(1n))),
    5009,
    [`${U}Tariff-Change-Usage=1`],
    /occurs too many times/,
  ],
  [
    'Tariff-Change-Usage 7 of an MSCC',
    beside(['Tariff-Change-Usage', 7]),
    5004,
    [`${M}Tariff-Change-Usage=7`],
    /no legal value/,
  ],
  [
    'seconds for what is sold by volume, with usage without a grant',
    mscc(rg(10), rsu(['CC-Time', 60]), used(octets(2n * MiB))),
    '2001 10:5031',
    [`${M}Rating-Group=10`],
    /not sold in these units/,
    {
      base: { number: 2 },
      before: ({ session }) => session.update(1, [{ ratingGroup: 10, reason: 2 }]),
      moves: { bal: '9.98', res: '0.00', data: 2n * MiB, entries: 1 },
    },
  ],
  [
    'seconds for what is sold by volume',
    mscc(rg(10), rsu(['CC-Time', 60])),
    '2001 10:5031',
    [`${M}Rating-Group=10`],
    /not sold in these units/,
    {
      moves: { res: '0.00', entries: 1 },
    },
  ],

  // Money.
  [
    'an exponent of 19',
    beside(used(money(1n, 19))),
    5004,
    ['Used-Service-Unit/CC-Money/Unit-Value/Value-Digits=1', 'Used-Service-Unit/CC-Money/Unit-Value/Exponent=19'],
    /1 x 10\^19 is not an amount/,
  ],
  [
    'an exponent of -19',
    beside(used(money(0n, -19))),
    5004,
    ['Used-Service-Unit/CC-Money/Unit-Value/Value-Digits=0', 'Used-Service-Unit/CC-Money/Unit-Value/Exponent=-19'],
    /is not an amount/,
  ],
  [
    'the largest exponent',
    beside(used(money(1n, 2_147_483_647))),
    5004,
    [
      'Used-Service-Unit/CC-Money/Unit-Value/Value-Digits=1',
      'Used-Service-Unit/CC-Money/Unit-Value/Exponent=2147483647',
    ],
    /is not an amount/,
  ],
  [
    'the smallest exponent',
    mscc(rg(10), rsu(money(1n, -2_147_483_648))),
    5004,
    [
      'Requested-Service-Unit/CC-Money/Unit-Value/Value-Digits=1',
      'Requested-Service-Unit/CC-Money/Unit-Value/Exponent=-2147483648',
    ],
    /is not an amount/,
  ],
  [
    'an exponent of 8 octets',
    beside(
      used([
        'CC-Money',
        [
          [
            'Unit-Value',
            [
              ['Value-Digits', 1n],
              ['Exponent', Buffer.alloc(8)],
            ],
          ],
        ],
      ]),
    ),
    5014,
    [`${U}CC-Money/Unit-Value/Exponent=0`],
    /has 8 octets/,
  ],
  [
    'a part of a micro',
    beside(used(money(15n, -7, 978))),
    5004,
    [
      'Used-Service-Unit/CC-Money/Unit-Value/Value-Digits=15',
      'Used-Service-Unit/CC-Money/Unit-Value/Exponent=-7',
      'Used-Service-Unit/CC-Money/Currency-Code=978',
    ],
    /in whole millionths/,
  ],
  [
    'money below zero',
    beside(used(money(-1n, -2))),
    5004,
    ['Used-Service-Unit/CC-Money/Unit-Value/Value-Digits=-1', 'Used-Service-Unit/CC-Money/Unit-Value/Exponent=-2'],
    /is not an amount of 0 to/,
  ],
  [
    'money of all 64 bits below zero',
    beside(used(money(-(2n ** 63n)))),
    5004,
    [
      `Used-Service-Unit/CC-Money/Unit-Value/Value-Digits=${-(2n ** 63n)}`,
      'Used-Service-Unit/CC-Money/Unit-Value/Exponent=0',
    ],
    /is not an amount of 0 to/,
  ],
  [
    'more money than a line may carry',
    mscc(rg(10), rsu(money(10n ** 9n))),
    5004,
    [
      'Requested-Service-Unit/CC-Money/Unit-Value/Value-Digits=1000000000',
      'Requested-Service-Unit/CC-Money/Unit-Value/Exponent=0',
    ],
    /is not an amount of 0 to/,
  ],
  [
    'money without Unit-Value',
    beside(used(['CC-Money', [['Currency-Code', 978]]])),
    5005,
    [`${U}CC-Money/Unit-Value=`],
    /Unit-Value is missing/,
  ],
  [
    'money without Value-Digits',
    beside(used(['CC-Money', [['Unit-Value', [['Exponent', 0]]]]])),
    5005,
    [`${U}CC-Money/Unit-Value/Value-Digits=0`],
    /Value-Digits is missing/,
  ],
  [
    'money of two currencies',
    mscc(rg(10), rsu(money(1n, 0, 978)), used(money(1n, 0, 840))),
    5007,
    ['Currency-Code=978', 'Currency-Code=840'],
    /money of two currencies, 978 and 840/,
  ],
  [
    'money of two currencies in two MSCCs of one line',
    msccs([rg(10), used(money(1n, 0, 978))], [rg(10), used(money(1n, 0, 840))]),
    5007,
    ['Currency-Code=978', 'Currency-Code=840'],
    /money of two currencies/,
  ],
  [
    'money for what is sold by volume',
    mscc(rg(10), used(octets(2n * MiB)), rsu(money(1n, 0, 978))),
    '2001 10:5031',
    [`${M}Rating-Group=10`],
    /line 10: no rule of the offer matches/,
    {
      moves: { bal: '9.98', res: '0.00', data: 2n * MiB, entries: 1 },
    },
  ],

  // Lines.
  ['two Rating-Groups', beside(rg(20)), 5009, [`${M}Rating-Group=20`], /occurs too many times/],
  ['a Rating-Group of 2 octets', mscc(rg(Buffer.alloc(2)), rsu()), 5014, [`${M}Rating-Group=0`], /has 2 octets/],
  [
    'a Service-Identifier of 8 octets',
    beside(sid(Buffer.alloc(8))),
    5014,
    [`${M}Service-Identifier=0`],
    /has 8 octets/,
  ],
  [
    'an unknown Rating-Group',
    msccs([rg(10), rsu(), used(octets(2n * MiB))], [rg(999), rsu()]),
    '2001 10:2001 999:5031',
    [`${M}Rating-Group=999`],
    /line 999: no rule of the offer matches/,
    {
      moves: { bal: '9.98', data: 2n * MiB, entries: 1 },
    },
  ],
  [
    'usage of an unknown Rating-Group',
    mscc(rg(999), used(octets(5n * MiB)), rsu()),
    '2001 999:5031',
    [`${M}Rating-Group=999`],
    /line 999: no rule of the offer matches/,
    { moves: { entries: 1 } },
  ],
  [
    'an MSCC without Rating-Group, which the offer does not sell',
    mscc(rsu()),
    '2001 -:5031',
    ['Service-Context-Id=32251@3gpp.org'],
    /line -: no rule of the offer matches/,
    { moves: { entries: 1 } },
  ],
  [
    'a denied Rating-Group',
    msccs([rg(10), rsu(), used(octets(2n * MiB))], [rg(40), rsu()], [rg(41), rsu()]),
    '2001 10:2001 40:4010 41:5003',
    [],
    /line 40: the offer says so/,
    {
      moves: { bal: '9.98', data: 2n * MiB, entries: 1 },
    },
  ],
  [
    'more than there is',
    mscc(rg(10), rsu(), used(octets(1001n * MiB))),
    '2001 10:4012',
    [],
    /line 10: no funds for one more unit/,
    {
      moves: { bal: '0.00', res: '0.00', debt: '0.01', data: 1001n * MiB, entries: 1 },
    },
  ],

  // Reasons and triggers.
  ['Reporting-Reason 10', beside(['Reporting-Reason', 10]), 5004, [`${M}Reporting-Reason=10`], /no legal value/],
  [
    'Reporting-Reason 99 of used units',
    beside(used(octets(1n), ['Reporting-Reason', 99])),
    5004,
    [`${U}Reporting-Reason=99`],
    /no legal value/,
  ],
  [
    'two Reporting-Reasons of used units',
    beside(used(['Reporting-Reason', 0], ['Reporting-Reason', 3])),
    5009,
    [`${U}Reporting-Reason=3`],
    /occurs too many times/,
  ],
  [
    'Reporting-Reason 99 at command level',
    plus(['Reporting-Reason', 99]),
    5004,
    ['Reporting-Reason=99'],
    /no legal value/,
  ],
  [
    'a Reporting-Reason of one octet',
    beside(['Reporting-Reason', Buffer.of(3)]),
    5014,
    [`${M}Reporting-Reason=0`],
    /has 1 octets/,
  ],
  [
    'Trigger-Type 0',
    beside(['Trigger', [['Trigger-Type', 0]]]),
    5004,
    [`${M}Trigger/Trigger-Type=0`],
    /no legal value/,
  ],
  [
    'two Triggers',
    beside(['Trigger', []], ['Trigger', [['Trigger-Type', 4]]]),
    5009,
    [`${M}Trigger/Trigger-Type=4`],
    /occurs too many times/,
  ],

  // Groups, and what nobody knows.
  [
    'an unknown AVP with M bit',
    plus(['65001:0', Buffer.of(1, 2), 0x40]),
    5001,
    ['65001:0=0102'],
    /is not known here and has the M bit/,
  ],
  [
    'a known code of an unknown vendor',
    plus(['416:99999', Buffer.alloc(4), 0xc0]),
    5001,
    ['416:99999=00000000'],
    /of vendor 99999 is not known/,
  ],
  [
    'an unknown AVP with M bit in the MSCC',
    beside(['65001:0', Buffer.of(1, 2), 0x40]),
    5001,
    [`${M}65001:0=0102`],
    /is not known here/,
  ],
  [
    'an unknown AVP with M bit in used units',
    beside(used(['65001:0', Buffer.of(1, 2), 0x40])),
    5001,
    [`${U}65001:0=0102`],
    /is not known here/,
  ],
  [
    'an unknown AVP with M bit in PS-Information',
    plus(['Service-Information', [['PS-Information', [['65001:0', Buffer.of(1, 2), 0x40]]]]]),
    5001,
    ['Service-Information/PS-Information/65001:0=0102'],
    /is not known here/,
  ],
  [
    'a group that is cut short',
    plus(['Service-Information', Buffer.of(0, 0, 3)]),
    5014,
    ['Service-Information=0000030000000000'],
    /octets are left over|no AVP header/,
  ],
  [
    'AVPs without end',
    plus(...Array.from({ length: 5000 }, (): AvpItem => ['65001:0', Buffer.alloc(0), 0])),
    5012,
    [],
    /too many AVPs/,
  ],
  [
    'a Service-Parameter-Type that no service knows',
    plus([
      'Service-Parameter-Info',
      [
        ['Service-Parameter-Type', 77],
        ['Service-Parameter-Value', Buffer.of(1)],
      ],
    ]),
    5031,
    ['Service-Parameter-Info/Service-Parameter-Type=77', 'Service-Parameter-Info/Service-Parameter-Value=01'],
    /no Service-Parameter-Type is known/,
  ],
  [
    'an empty Service-Parameter-Info',
    plus(['Service-Parameter-Info', []]),
    5005,
    ['Service-Parameter-Info/Service-Parameter-Type=0'],
    /is missing/,
  ],
])

const stranger = ['e164', '999990000000001'] as const
const otherTwo = ({ alice, bob }: World): string[] =>
  [alice, bob].flatMap(({ account }) => [
    'Subscription-Id/Subscription-Id-Type=0',
    `Subscription-Id/Subscription-Id-Data=${account}`,
  ])

/** RFC 8506 section 10.1: what a CCR must not have. */
const forbidden: readonly (readonly [item: AvpItem, ...failed: string[]])[] = [
  [['Result-Code', 2001], 'Result-Code=2001'],
  [['Granted-Service-Unit', [octets(1n)]], 'Granted-Service-Unit/CC-Total-Octets=1'],
  [['Final-Unit-Indication', [['Final-Unit-Action', 0]]], 'Final-Unit-Indication/Final-Unit-Action=0'],
  [['QoS-Final-Unit-Indication', [['Final-Unit-Action', 0]]], 'QoS-Final-Unit-Indication/Final-Unit-Action=0'],
  [['Check-Balance-Result', 0], 'Check-Balance-Result=0'],
  [['Cost-Information', [['Currency-Code', 978]]], 'Cost-Information/Currency-Code=978'],
  [['CC-Session-Failover', 1], 'CC-Session-Failover=1'],
  [['Credit-Control-Failure-Handling', 0], 'Credit-Control-Failure-Handling=0'],
  [['Direct-Debiting-Failure-Handling', 0], 'Direct-Debiting-Failure-Handling=0'],
  [['Validity-Time', 1], 'Validity-Time=1'],
  [['Redirect-Host', 'aaa://ocs9.example.net'], 'Redirect-Host=aaa://ocs9.example.net'],
  [['Redirect-Host-Usage', 0], 'Redirect-Host-Usage=0'],
  [['Redirect-Max-Cache-Time', 1], 'Redirect-Max-Cache-Time=1'],
]

table('initial', [
  [
    'nobody is named',
    parts({ subscriptionIds: [] }),
    5005,
    ['Subscription-Id='],
    /an initial request needs a Subscription-Id/,
  ],
  ['somebody unknown', parts({ subscriptionIds: [stranger] }), 5030, [], /no account has any of the identities/],
  [
    'her number as an IMSI',
    parts(({ alice }) => ({ subscriptionIds: [['imsi', alice.account]] })),
    5030,
    [],
    /no account has any/,
  ],
  ['an empty identity', parts({ subscriptionIds: [['e164', '']] }), 5030, [], /no account has any/],
  [
    'an identity of 4,000 digits',
    parts({ subscriptionIds: [['imsi', '7'.repeat(4000)]] }),
    5030,
    [],
    /no account has any/,
  ],
  [
    'two accounts',
    parts(({ alice, bob }) => ({ subscriptionIds: [alice.id, bob.id] })),
    5007,
    otherTwo,
    /belong to different accounts/,
  ],
  [
    'another account in Subscription-Id-Extension',
    (input, world) => plus(['Subscription-Id-Extension', [['Subscription-Id-E164', world.bob.account]]])(input, world),
    5007,
    otherTwo,
    /belong to different accounts/,
  ],
  [
    'a Subscription-Id without data',
    plus(['Subscription-Id', [['Subscription-Id-Type', 0]]]),
    5005,
    ['Subscription-Id/Subscription-Id-Data='],
    /is missing/,
  ],
  [
    'a Subscription-Id without type',
    plus(['Subscription-Id', [['Subscription-Id-Data', '1']]]),
    5005,
    ['Subscription-Id/Subscription-Id-Type=0'],
    /is missing/,
  ],
  [
    'a Subscription-Id with two numbers',
    plus([
      'Subscription-Id',
      [
        ['Subscription-Id-Type', 0],
        ['Subscription-Id-Data', '1'],
        ['Subscription-Id-Data', '2'],
      ],
    ]),
    5009,
    ['Subscription-Id/Subscription-Id-Data=2'],
    /occurs too many times/,
  ],
  ['a Subscription-Id-Type 5', plus(id(5, '1')), 5004, ['Subscription-Id/Subscription-Id-Type=5'], /no legal value/],
  [
    'a Subscription-Id-Data that is no UTF-8',
    plus(id(0, Buffer.of(0x34, 0xc3, 0x28))),
    5004,
    ['Subscription-Id/Subscription-Id-Data=34c328'],
    /no legal value/,
  ],
  [
    'an empty Subscription-Id-Extension',
    plus(['Subscription-Id-Extension', []]),
    5005,
    ['Subscription-Id-Extension/Subscription-Id-E164='],
    /Subscription-Id-Extension is empty/,
  ],
  [
    'a Subscription-Id-Extension of two',
    plus([
      'Subscription-Id-Extension',
      [
        ['Subscription-Id-E164', '1'],
        ['Subscription-Id-IMSI', '2'],
      ],
    ]),
    5009,
    ['Subscription-Id-Extension='],
    /holds more than one member/,
  ],
  [
    'an empty User-Equipment-Info-Extension',
    plus(['User-Equipment-Info-Extension', []]),
    5005,
    ['User-Equipment-Info-Extension/User-Equipment-Info-IMEISV='],
    /is empty/,
  ],
  [
    'a User-Equipment-Info-Type 9',
    plus([
      'User-Equipment-Info',
      [
        ['User-Equipment-Info-Type', 9],
        ['User-Equipment-Info-Value', Buffer.of(1)],
      ],
    ]),
    5004,
    ['User-Equipment-Info/User-Equipment-Info-Type=9'],
    /no legal value/,
  ],
  [
    'an account that is suspended',
    parts({}),
    4010,
    [],
    /not in service/,
    { before: ({ alice }) => alice.setStatus('suspended'), moves: { entries: 1 } },
  ],
  [
    'an account that is terminated',
    parts({}),
    5030,
    [],
    /the account is terminated/,
    { before: ({ alice }) => alice.setStatus('terminated'), moves: { entries: 1 } },
  ],
  [
    'a session more than there may be',
    parts({}),
    5006,
    [],
    /as many sessions as it may have/,
    {
      before: async ({ gateway, alice }) => {
        for (let i = 0; i < 2; i++) await new Talk(gateway, [alice.id]).initial([])
      },
    },
  ],
  [
    'only an unknown Rating-Group',
    mscc(rg(999), rsu()),
    5031,
    [`${M}Rating-Group=999`],
    /line 999: no rule of the offer matches/,
    { moves: { entries: 1 } },
  ],
  [
    'an unknown service of an unknown Rating-Group',
    mscc(rg(999), sid(7), rsu()),
    5031,
    [`${M}Service-Identifier=7`, `${M}Rating-Group=999`],
    /line 999\/7: no rule/,
    { moves: { entries: 1 } },
  ],
  [
    'an unknown Rating-Group first, then a denied one',
    msccs([rg(999), rsu()], [rg(40), rsu()]),
    5031,
    [`${M}Rating-Group=999`],
    /line 999/,
    { moves: { entries: 1 } },
  ],
  [
    'a denied Rating-Group first, then an unknown one',
    msccs([rg(40), rsu()], [rg(999), rsu()]),
    4010,
    [],
    /line 40: the offer says so/,
    { moves: { entries: 1 } },
  ],
  [
    'a Rating-Group that is denied with 5003',
    mscc(rg(41), rsu()),
    5003,
    [],
    /line 41: the offer says so/,
    { moves: { entries: 1 } },
  ],
  [
    'a Rating-Group that needs no credit control',
    mscc(rg(31), rsu()),
    4011,
    [],
    /line 31: the offer says so/,
    { moves: { entries: 1 } },
  ],
  [
    'money for what is sold by volume',
    mscc(rg(10), rsu(money(1n, 0, 978))),
    5031,
    [`${M}Rating-Group=10`],
    /line 10: no rule/,
    { moves: { entries: 1 } },
  ],
  [
    'money of another currency',
    mscc(rsu(money(1n, 0, 840))),
    5031,
    ['Service-Context-Id=value@example.net'],
    /no exchange rate/,
    { base: { serviceContextId: 'value@example.net' }, moves: { entries: 1 } },
  ],
  [
    'at command level: money for what is sold by volume',
    level(rsu(money(1n, 0, 978))),
    5031,
    ['Service-Context-Id=32251@3gpp.org'],
    /line -: no rule/,
    { moves: { entries: 1 } },
  ],
  [
    'at command level: units beside the MSCC',
    plus(rsu()),
    5007,
    ['Requested-Service-Unit=', 'Multiple-Services-Credit-Control='],
    /at command level beside/,
  ],
  ...forbidden.map(([item, ...failed]): Row => [
    `${nameOf(item)}, which only answers have`,
    plus(item),
    5008,
    failed,
    new RegExp(`^${nameOf(item)} is not allowed here`),
  ]),
])

table('terminate', [
  ['an unknown AVP with M bit', plus(['65001:0', Buffer.of(1, 2), 0x40]), 5001, ['65001:0=0102'], /is not known here/],
  [
    'more than a line may carry',
    mscc(rg(10), used(octets(largest64))),
    5004,
    [`Used-Service-Unit/CC-Total-Octets=${largest64}`],
    /are more than one line may carry/,
  ],
  [
    'units at command level, too',
    plus(used(octets(1n))),
    5007,
    ['Used-Service-Unit=', 'Multiple-Services-Credit-Control='],
    /at command level beside/,
  ],
  [
    'somebody else',
    parts(({ bob }) => ({ subscriptionIds: [bob.id] })),
    5004,
    ({ bob }) => ['Subscription-Id/Subscription-Id-Type=0', `Subscription-Id/Subscription-Id-Data=${bob.account}`],
    /belongs to another subscriber/,
  ],
  [
    'another service',
    put('Service-Context-Id', '32260@3gpp.org'),
    5004,
    ['Service-Context-Id=32260@3gpp.org'],
    /of another Service-Context-Id/,
  ],
  ['a Termination-Cause 99', put('Termination-Cause', 99), 5004, ['Termination-Cause=99'], /no legal value/],
  ['two Termination-Causes', plus(['Termination-Cause', 4]), 5009, ['Termination-Cause=4'], /occurs too many times/],
  [
    'a session never seen, with usage',
    parts({}),
    5002,
    [],
    /no session with this Session-Id/,
    { base: { sessionId: 'pgw1.example.net;2;never' }, moves: { entries: 1 } },
  ],
  [
    'a session never seen, without usage',
    parts({}),
    5002,
    [],
    /no session with this Session-Id/,
    { base: { sessionId: 'pgw1.example.net;2;none', services: [] } },
  ],
  [
    'a session that has ended',
    parts({}),
    5002,
    [],
    /the session has ended/,
    {
      base: { number: 2 },
      before: ({ session }) => session.terminate(1),
      moves: { bal: '9.98', res: '0.00', data: 2n * MiB, entries: 1 },
    },
  ],
  [
    'the number of the CCR-I, to a strict peer',
    parts({}),
    5012,
    [],
    /had another content before/,
    { over: 'strict', base: { number: 0 } },
  ],
])

// Events: all four actions.

for (const kind of ['debit', 'refund', 'check', 'price'] as const) {
  table(kind, [
    ['no Requested-Action', without('Requested-Action'), 5005, ['Requested-Action=0'], /Requested-Action is missing/],
    ['Requested-Action 4', put('Requested-Action', 4), 5004, ['Requested-Action=4'], /no legal value/],
    ['two Requested-Actions', plus(action(0)), 5009, ['Requested-Action=0'], /occurs too many times/],
    ['nobody is named', parts({ subscriptionIds: [] }), 5005, ['Subscription-Id='], /needs a Subscription-Id/],
    ['somebody unknown', parts({ subscriptionIds: [stranger] }), 5030, [], /no account has any/],
    [
      'two accounts',
      parts(({ alice, bob }) => ({ subscriptionIds: [alice.id, bob.id] })),
      5007,
      otherTwo,
      /belong to different accounts/,
    ],
    [
      'a service that nobody sells',
      put('Service-Context-Id', '32299@3gpp.org'),
      5031,
      ['Service-Context-Id=32299@3gpp.org'],
      /no service of the catalog/,
    ],
    [
      'no units',
      mscc(sid(1), rsu(['CC-Service-Specific-Units', 0n])),
      5004,
      ['Requested-Service-Unit/CC-Service-Specific-Units=0'],
      /an event has 1 to 100000000 events, not 0/,
    ],
    [
      'more units than a line may carry',
      mscc(sid(1), rsu(['CC-Service-Specific-Units', 100_000_001n])),
      5004,
      ['Requested-Service-Unit/CC-Service-Specific-Units=100000001'],
      /not 100000001/,
    ],
    [
      'all of 64 bits',
      level(sid(1), rsu(['CC-Service-Specific-Units', largest64])),
      5004,
      [`Requested-Service-Unit/CC-Service-Specific-Units=${largest64}`],
      /an event has 1 to/,
    ],
    [
      'too much in two MSCCs of one service',
      msccs(...[1, 2].map(() => [sid(1), rsu(['CC-Service-Specific-Units', 60_000_000n])])),
      5004,
      ['Requested-Service-Unit/CC-Service-Specific-Units=120000000'],
      /not 120000000/,
    ],
    [
      'units at command level beside the MSCC',
      (input, { gateway }) => [
        ...ccrAvps(gateway, input),
        ['Multiple-Services-Credit-Control', [sid(1), rsu()]],
        rsu(),
      ],
      5007,
      ['Requested-Service-Unit=', 'Multiple-Services-Credit-Control='],
      /at command level beside/,
      { base: { units: {} } },
    ],
    [
      'a part of a micro',
      mscc(sid(1), rsu(money(1n, -7))),
      5004,
      [
        'Requested-Service-Unit/CC-Money/Unit-Value/Value-Digits=1',
        'Requested-Service-Unit/CC-Money/Unit-Value/Exponent=-7',
      ],
      /in whole millionths/,
    ],
    [
      'an exponent of 19',
      mscc(sid(1), rsu(money(1n, 19))),
      5004,
      [
        'Requested-Service-Unit/CC-Money/Unit-Value/Value-Digits=1',
        'Requested-Service-Unit/CC-Money/Unit-Value/Exponent=19',
      ],
      /is not an amount/,
    ],
    [
      'no money',
      mscc(sid(1), rsu(money(0n))),
      5004,
      [
        'Requested-Service-Unit/CC-Money/Unit-Value/Value-Digits=0',
        'Requested-Service-Unit/CC-Money/Unit-Value/Exponent=-6',
      ],
      /an event has 1 to 1000000000000 money, not 0/,
    ],
    ['CC-Sub-Session-Id', plus(['CC-Sub-Session-Id', 1n]), 5004, ['CC-Sub-Session-Id=1'], /send no CC-Sub-Session-Id/],
    [
      'an unknown AVP with M bit',
      plus(['65001:0', Buffer.of(1, 2), 0x40]),
      5001,
      ['65001:0=0102'],
      /is not known here/,
    ],
    ['Granted-Service-Unit', plus(['Granted-Service-Unit', []]), 5008, ['Granted-Service-Unit='], /not allowed here/],
  ])
}

table('debit', [
  [
    'the Session-Id of an open session',
    parts({}),
    5012,
    [],
    /an open session has the Session-Id of this event/,
    { base: ({ session }) => ({ sessionId: session.id, number: 1 }) },
  ],
  [
    'a number of other content, to a strict peer',
    parts({ services: [{ serviceIdentifiers: [1], requested: { events: 2n } }] }),
    5012,
    [],
    /had another content before/,
    {
      over: 'strict',
      base: { sessionId: 'strict;event' },
      before: ({ session }) => debit(session, 'strict;event'),
    },
  ],
  [
    'an account that is suspended',
    parts({}),
    4010,
    [],
    /not in service/,
    { before: ({ alice }) => alice.setStatus('suspended'), moves: { entries: 1 } },
  ],
  [
    'an account that is terminated',
    parts({}),
    5030,
    [],
    /terminated/,
    { before: ({ alice }) => alice.setStatus('terminated'), moves: { entries: 1 } },
  ],
  ['a denied service', mscc(sid(3)), 4010, [], /line -\/3: the offer says so/, { moves: { entries: 1 } }],
  [
    'an unknown service',
    mscc(sid(99)),
    5031,
    [`${M}Service-Identifier=99`],
    /line -\/99: no rule/,
    { moves: { entries: 1 } },
  ],
  [
    'an unknown service at command level',
    level(sid(99)),
    5031,
    ['Service-Identifier=99'],
    /line -\/99: no rule/,
    { moves: { entries: 1 } },
  ],
  [
    'octets of what is sold by the event',
    mscc(sid(1), rsu(octets(1n))),
    5031,
    [`${M}Service-Identifier=1`],
    /not sold in these units/,
    { moves: { entries: 1 } },
  ],
  [
    'money of another currency',
    mscc(sid(1), rsu(money(1n, 0, 840))),
    5031,
    [`${M}Service-Identifier=1`],
    /line -\/1: no rule/,
    { moves: { entries: 1 } },
  ],
  [
    'more than there is',
    mscc(sid(1), rsu(['CC-Service-Specific-Units', 112n])),
    4012,
    [],
    /no funds for one more unit/,
    { moves: { entries: 1 } },
  ],
  [
    'one service that is affordable beside one that is not',
    msccs([sid(1), rsu(['CC-Service-Specific-Units', 1n])], [sid(2), rsu(['CC-Service-Specific-Units', 111n])]),
    4012,
    [],
    /no funds/,
    { moves: { entries: 1 } },
  ],
  [
    'one service that is known beside one that is not',
    msccs([sid(1), rsu(['CC-Service-Specific-Units', 1n])], [sid(99), rsu(['CC-Service-Specific-Units', 1n])]),
    5031,
    [`${M}Service-Identifier=99`],
    /line -\/99/,
    { moves: { entries: 1 } },
  ],
  [
    'more than there is, in money',
    mscc(sid(1), rsu(money(10n, 0, 978))),
    4012,
    [],
    /no funds/,
    { moves: { entries: 1 } },
  ],
])

for (const kind of ['check', 'price'] as const) {
  table(kind, [
    ['a denied service', level(sid(3)), 4010, [], /the offer says so/],
    ['an unknown service', level(sid(99)), 5031, ['Service-Identifier=99'], /no rule of the offer matches/],
    ['octets of what is sold by the event', level(sid(1), rsu(octets(1n))), 5031, ['Service-Identifier=1'], /no rule/],
    [
      'money of another currency',
      level(sid(1), rsu(money(1n, 0, 840))),
      5031,
      ['Service-Identifier=1'],
      /no exchange rate/,
    ],
    [
      'an account that is suspended',
      parts({}),
      4010,
      [],
      /not in service/,
      { before: ({ alice }) => alice.setStatus('suspended') },
    ],
  ])
}

/** The reference of alice's debit, made otherwise, with the right signature or with that of another operator. */
const remade =
  (change: (reference: DebitReference) => DebitReference, key?: Buffer): Change =>
  async (input, world) => {
    const ours = Buffer.from((await redis.hget('ocs:store', 'refund-key'))!, 'hex')
    const reference = change(readReference(ours, world.refund)!)
    return refundable(() => writeReference(key ?? ours, reference), 1n)(input, world)
  }
const same = (reference: DebitReference): DebitReference => reference
const debit = (session: Talk, sessionId: string): Promise<Message> =>
  session.ask(session.input('event', 0, [oneSms], { action: 'debit', sessionId, serviceContextId: sms }))
const notOurs = /its Refund-Information is not one of ours/

table('refund', [
  ['no Refund-Information', parts({ services: [oneSms] }), 5012, [], /no Refund-Information names a debit of ours/],
  ['empty', refundable(() => Buffer.alloc(0)), 5012, [], notOurs],
  ['noise', refundable(() => randomBytes(200)), 5012, [], notOurs],
  ['20,000 octets', refundable(({ refund }) => Buffer.concat([refund, Buffer.alloc(20_000)])), 5012, [], notOurs],
  ['truncated', refundable(({ refund }) => refund.subarray(0, -1)), 5012, [], notOurs],
  ['one octet more', refundable(({ refund }) => Buffer.concat([refund, Buffer.of(0x41)])), 5012, [], notOurs],
  ['without signature', refundable(({ refund }) => refund.subarray(0, refund.lastIndexOf(0x20))), 5012, [], notOurs],
  [
    'of more units than were paid',
    refundable(({ refund }) => Buffer.from(refund.toString().replace(' events 5 ', ' events 9 ')), 9n),
    5012,
    [],
    notOurs,
  ],
  ['of another operator', remade(same, randomBytes(32)), 5012, [], notOurs],
  ['of another account', refundable(({ bobsRefund }) => bobsRefund, 1n), 5012, [], /is of another account/],
  [
    'of another currency',
    remade(reference => ({ ...reference, currency: 'USD' })),
    5012,
    [],
    /its debit was in another currency/,
  ],
  [
    'of 31 days ago',
    remade(reference => ({ ...reference, at: reference.at - 31 * 86_400_000 })),
    5012,
    [],
    /the debit of line -\/1 is too long ago/,
  ],
  ['more units than were paid', refundable(({ refund }) => refund, 6n), 5012, [], /not as many units are left/],
  [
    'units of another kind',
    (input, world) => mscc(sid(1), rsu(octets(1n)), ['Refund-Information', world.refund])(input, world),
    5012,
    [],
    /its debit was of events/,
  ],
  [
    'what was given back already',
    refundable(({ refund }) => refund),
    5012,
    [],
    /not as many units are left/,
    {
      before: ({ session, refund }) =>
        session.ask(
          session.input('event', 0, [{ serviceIdentifiers: [1], refund }], {
            action: 'refund',
            sessionId: 'given;back',
            serviceContextId: sms,
          }),
        ),
    },
  ],
  [
    'one debit twice, together more than it was',
    (input, world) =>
      msccs(
        ...[1, 2].map(service => [
          sid(service),
          rsu(['CC-Service-Specific-Units', 3n]),
          ['Refund-Information', world.refund] as AvpItem,
        ]),
      )(input, world),
    5012,
    [],
    /not as many units are left/,
  ],
  [
    'one that is ours beside one that is not',
    (input, world) =>
      msccs(
        ...[world.refund, world.bobsRefund].map((refund, i) => [
          sid(i + 1),
          rsu(['CC-Service-Specific-Units', 1n]),
          ['Refund-Information', refund] as AvpItem,
        ]),
      )(input, world),
    5012,
    [],
    /is of another account/,
  ],
  [
    'two MSCCs of one service, one of them with Refund-Information',
    (input, world) =>
      msccs([sid(1), ['Refund-Information', world.refund]], [sid(1), rsu(['CC-Service-Specific-Units', 1n])])(
        input,
        world,
      ),
    5007,
    ({ refund }) => [`Refund-Information=${refund.toString('hex')}`],
    /two Multiple-Services-Credit-Control of one service/,
  ],
  [
    'two Refund-Informations',
    (input, world) =>
      mscc(sid(1), ['Refund-Information', world.refund], ['Refund-Information', world.refund])(input, world),
    5009,
    ({ refund }) => [`${M}Refund-Information=${refund.toString('hex')}`],
    /occurs too many times/,
  ],
  [
    'Refund-Information at command level beside an MSCC',
    (input, world) => [
      ...(parts({ services: [oneSms] })(input, world) as AvpItem[]),
      ['Refund-Information', world.refund],
    ],
    5007,
    ['Refund-Information=', 'Multiple-Services-Credit-Control='],
    /at command level beside/,
  ],
  [
    'the Session-Id of an open session',
    parts({}),
    5012,
    [],
    /an open session has the Session-Id/,
    { base: ({ session }) => ({ sessionId: session.id, number: 1 }) },
  ],
  [
    'an account that is terminated',
    parts({}),
    5030,
    [],
    /terminated/,
    { before: ({ alice }) => alice.setStatus('terminated') },
  ],
])

t.test('all answers', t => {
  t.ok(rows >= 80, `${rows} rows`)
  scenario.checkAnswers(t)
  t.end()
})
