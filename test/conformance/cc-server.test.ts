/** CC-078 and CC-130 to 137: what ocsd asks of a gateway, over real sockets. */
import type { Test } from 'tap'
import type { GatewayConnection, Reaction } from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { until } from '../support/ocsd-process.js'
import { linesOf, MiB, type Talk } from '../support/scenario.js'
import { row, second, startOcs, type Ocs, type OcsParts } from './harness.js'
import { checkRecorded } from './recorder.js'

const RAR = 258
const ASR = 274
const EXHAUSTED = 3
const ask = { ratingGroup: 10, requested: {} }
const agreed: Reaction = { resultCode: 2002 }

interface Asked {
  readonly requests: Message[]
  readonly over: GatewayConnection[]
  react: (request: Message) => Reaction | Promise<Reaction>
}

interface Stage {
  readonly ocs: Ocs
  readonly talk: Talk
  readonly asked: Asked
}

/** A gateway that is told what to answer, and its session of account A. */
async function stage(t: Test, account: OcsParts['account'], parts: OcsParts = {}): Promise<Stage> {
  const ocs = await startOcs(t, { ...parts, ...(account && { account }) })
  const asked: Asked = { requests: [], over: [], react: () => agreed }
  const gateway = await ocs.gateway(t, {
    onRequest: (request, connection) => {
      asked.requests.push(request)
      asked.over.push(connection)
      return asked.react(request)
    },
  })
  return { ocs, asked, talk: ocs.talk(gateway) }
}

/** A session that is redirected: it has told that its final units are used. */
async function redirected(t: Test, parts: OcsParts = {}): Promise<Stage> {
  const found = await stage(t, { offer: 'redirect', money: '0.05' }, parts)
  await found.talk.initial([ask])
  await found.talk.update(1, [{ ratingGroup: 10, used: [{ octets: 5n * MiB, reason: EXHAUSTED }] }])
  return found
}

const came = (asked: Asked, count = 1): Promise<void> =>
  until(`${count} requests have come`, () => asked.requests.length >= count)

row('CC-078', 'a recharge of a restricted session is followed by a RAR at once', async t => {
  const { ocs, talk, asked } = await redirected(t)
  await ocs.a.recharge('5.00')
  await came(asked)
  t.equal(asked.requests[0]!.header.commandCode, RAR)
  t.equal(linesOf(await talk.update(2, [ask]))[0]!.octets, 10n * MiB, 'F03')
})

row('CC-130', 'RAR: application 4, AUTHORIZE_ONLY, Destination-Host of the client', async t => {
  const { ocs, talk, asked } = await redirected(t)
  await ocs.a.recharge('1.00')
  await came(asked)
  const [request] = asked.requests
  t.equal(request!.header.applicationId, 4)
  t.same(
    request!.list.map(({ name, value }) => [name, value]),
    [
      ['Session-Id', talk.id],
      ['Origin-Host', 'ocs1.charging.example.net'],
      ['Origin-Realm', 'charging.example.net'],
      ['Destination-Realm', 'example.net'],
      ['Destination-Host', 'pgw1.example.net'],
      ['Auth-Application-Id', 4],
      ['Re-Auth-Request-Type', 0],
      ['Rating-Group', 10],
    ],
    'as C12',
  )
})

row(
  'CC-131',
  'a selector narrows it to a group, a service or a pool; without one it is for the whole session',
  async t => {
    const scopes: readonly (readonly [string, readonly object[], string[]])[] = [
      ['standard', [{ ratingGroup: 10 }, { ratingGroup: 30 }], ['Rating-Group']],
      ['services', [{ ratingGroup: 10, serviceIdentifiers: [1] }], ['Service-Identifier']],
      ['pool', [{ ratingGroup: 10 }, { ratingGroup: 20 }], ['G-S-U-Pool-Identifier']],
      ['standard', [{ ratingGroup: 10 }, { ratingGroup: 20 }], []],
    ]
    for (const [offer, lines, selectors] of scopes) {
      const { ocs, talk, asked } = await stage(t, { offer, money: '0.05' })
      t.equal((await talk.initial(lines.map(line => ({ ...line, requested: {} })))).resultCode, 2001)
      await ocs.a.recharge('5.00')
      await came(asked)
      const [request] = asked.requests
      const known = ['Rating-Group', 'Service-Identifier', 'G-S-U-Pool-Identifier']
      t.same(
        known.filter(name => request!.value(name) !== undefined),
        selectors,
        selectors[0] ?? 'the whole session',
      )
    }
  },
)

row('CC-132', 'RAA 2002 and 2001 leave the session; 5002 closes it and releases what it held', async t => {
  for (const resultCode of [2002, 2001]) {
    const { ocs, talk, asked } = await redirected(t)
    asked.react = () => ({ resultCode })
    await ocs.a.recharge('1.00')
    await came(asked)
    t.equal(linesOf(await talk.update(2, [ask]))[0]!.octets, 10n * MiB, String(resultCode))
  }
  const { ocs, talk, asked } = await stage(t, { offer: 'redirect', money: '0.05' })
  asked.react = () => ({ resultCode: 5002 })
  await talk.initial([ask])
  await ocs.a.recharge('1.00')
  await until('it is closed', async () => (await ocs.a.openSessions()) === 0)
  await ocs.a.is(t, { bal: '1.05', res: '0.00' }, 'released')
  t.equal((await talk.update(1, [ask])).resultCode, 5002)
})

row('CC-133', 'a CCR-U that crosses the RAR is the reaction: one grant, one debit', async t => {
  const { ocs, talk, asked } = await redirected(t)
  let crossing: Promise<Message> | undefined
  asked.react = () => {
    crossing = talk.update(2, [ask])
    return { resultCode: 2001 }
  }
  await ocs.a.recharge('1.00')
  await came(asked)
  await until('it was sent', () => crossing !== undefined)
  t.equal(linesOf(await crossing!)[0]!.octets, 10n * MiB)
  await ocs.a.is(t, { bal: '1.00', res: '0.10' }, 'one grant')
})

row('CC-134', 'no RAA for 10 s: sent again over another way with T, at most twice; the session stays', async t => {
  const ocs = await startOcs(t, { account: { offer: 'redirect', money: '0.05' } })
  const requests: Message[] = []
  const silent = { onRequest: (request: Message): Reaction => (requests.push(request), 'silence') }
  const gateway = await ocs.gateway(t, silent)
  for (const originHost of ['dra1.example.net', 'dra2.example.net']) await ocs.gateway(t, { originHost, ...silent })
  const talk = ocs.talk(gateway)
  await talk.initial([ask])
  await ocs.a.recharge('1.00')
  await until('the first has come', () => requests.length === 1)
  for (const count of [2, 3]) {
    ocs.clock.skip(10 * second)
    await until(`${count} have come`, () => requests.length === count)
  }
  const [first, ...again] = requests
  t.notOk(first!.header.flags & 0x10, 'the first without T')
  for (const request of again) {
    t.ok(request.header.flags & 0x10, 'T')
    t.equal(request.header.endToEnd, first!.header.endToEnd, 'the same End-to-End id')
  }
  t.equal(await ocs.a.openSessions(), 1, 'never lost because of it')
})

row('CC-135', 'ASR asks to end; ASA, then CCR-T; ASA 5002 releases', async t => {
  const charging = { onSuspend: 'abort' as const }
  const { ocs, talk, asked } = await stage(t, {}, { charging })
  await talk.initial([ask])
  await ocs.a.setStatus('suspended')
  await came(asked)
  const [request] = asked.requests
  t.equal(request!.header.commandCode, ASR)
  t.same(
    request!.list.map(({ name }) => name),
    ['Session-Id', 'Origin-Host', 'Origin-Realm', 'Destination-Realm', 'Destination-Host', 'Auth-Application-Id'],
    'as C14',
  )
  const end = await talk.terminate(1, [{ ratingGroup: 10, used: [{ octets: 1n * MiB }] }])
  t.equal(end.resultCode, 2001)
  await ocs.a.is(t, { bal: '9.99', res: '0.00' }, 'charged and released')

  const { ocs: other, talk: unknown, asked: asks } = await stage(t, {}, { charging })
  asks.react = () => ({ resultCode: 5002 })
  await unknown.initial([ask])
  await other.a.setStatus('suspended')
  await until('it is released', async () => (await other.a.openSessions()) === 0)
  await other.a.is(t, { bal: '10.00', res: '0.00' }, 'C15')
})

row('CC-136', '100 recharges in a moment are 2 RARs at most', async t => {
  const { ocs, talk, asked } = await redirected(t)
  await Promise.all(Array.from({ length: 100 }, () => ocs.a.recharge('0.01')))
  await came(asked)
  t.equal(linesOf(await talk.update(2, [ask]))[0]!.octets, 10n * MiB)
  ocs.clock.skip(5 * second)
  t.ok(asked.requests.length <= 2, String(asked.requests.length))
  await ocs.a.is(t, { bal: '1.00', res: '0.10' }, 'all of them are there')
})

row('CC-137', 'a client behind an agent is asked over the agent, by its own name', async t => {
  const ocs = await startOcs(t, { account: { offer: 'redirect', money: '0.05' } })
  const requests: Message[] = []
  const relay = await ocs.gateway(t, {
    originHost: 'dra1.example.net',
    onRequest: request => {
      requests.push(request)
      return agreed
    },
  })
  const behind = await ocs.gateway(t, { originHost: 'pgw7.example.net', daemons: [] })
  const talk = ocs.talk(behind).over(relay.connections[0]!)
  t.equal((await talk.initial([ask])).resultCode, 2001)
  await ocs.a.recharge('1.00')
  await until('it has come', () => requests.length === 1)
  t.equal(requests[0]!.text('Destination-Host'), 'pgw7.example.net')
})

checkRecorded()
