/**
 * Recharge meets session: gateways are asked to report (RAR) or to end (ASR), over real sockets, through whichever daemon reaches
 * them. Reference flow F03 from its step 5 on; CC-078, CC-130 to CC-137.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Config } from '../../src/config/config.js'
import { loadConfig } from '../../src/config/load.js'
import type { Daemon } from '../../src/daemon.js'
import { decodeTree } from '../../src/diameter/tree.js'
import type { Gateway, GatewayConnection, Reaction } from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { until } from '../support/ocsd-process.js'
import { linesOf, MiB, startScenario, Talk, type NewSubject, type Scenario, type Subject } from '../support/scenario.js'
import { toolOrNotRun } from '../support/tools.js'
import { comparable, flat, judged } from '../support/tshark.js'
import { dictionary } from '../support/vectors.js'

const RAR = 258
const ASR = 274
const REDIRECTED = 3
const ask = { requested: {} }
const agreed: Reaction = { resultCode: 2002 }

/** What a daemon asked of a gateway. */
class Asked {
  readonly requests: Message[] = []
  readonly over: GatewayConnection[] = []
  react: (request: Message) => Reaction | Promise<Reaction> = () => agreed

  readonly onRequest = (request: Message, connection: GatewayConnection): Reaction | Promise<Reaction> => {
    this.requests.push(request)
    this.over.push(connection)
    everything.push(request)
    return this.react(request)
  }

  /** So many requests have come. */
  async some(count: number): Promise<readonly Message[]> {
    await until(`${count} requests have come`, () => this.requests.length >= count)
    return this.requests
  }
}

/** For the judge. */
const everything: Message[] = []
const configOf = (): Config => {
  const outcome = loadConfig(fileURLToPath(new URL('../flows/ocs.yaml', import.meta.url)))
  if (!('config' in outcome)) throw new Error('the configuration of the flows has faults')
  return outcome.config
}

/** AVPs of a request as text, but for the Session-Id. */
const told = (request: Message): string[] =>
  request.list.slice(1).map(({ name, value }) => `${name}=${String(value as string | number)}`)
const toPgw = [
  'Origin-Host=ocs1.charging.example.net',
  'Origin-Realm=charging.example.net',
  'Destination-Realm=example.net',
  'Destination-Host=pgw1.example.net',
  'Auth-Application-Id=4',
]
const rar = [...toPgw, 'Re-Auth-Request-Type=0']

/** A session whose funds are used up: it was told of the final units, and reported them. */
async function usedUp(scenario: Scenario, t: Test, gateway: Gateway, parts: NewSubject = {}): Promise<[Subject, Talk]> {
  const subject = await scenario.subject(t, { money: '0.05', offer: 'flows-redirect', ...parts })
  const talk = new Talk(gateway, [subject.id])
  const opened = await talk.initial([{ ratingGroup: 10, ...ask }])
  t.equal(linesOf(opened)[0]?.octets, 5n * MiB)
  const redirected = await talk.update(1, [{ ratingGroup: 10, used: [{ octets: 5n * MiB, reason: REDIRECTED }] }])
  t.same(linesOf(redirected)[0]?.octets, undefined, 'nothing is left')
  return [subject, talk]
}

/** Waits for what came of the session's last request of ours. */
async function resultOf(subject: Subject, result: string): Promise<void> {
  await until(`${result} stands in the session`, async () => {
    const sessions = await subject.sessions()
    return sessions.some(({ asked }) => asked?.result === result)
  })
}

const scenario = await startScenario(t)
const second = await scenario.another()

t.test('F03: a recharge asks the gateway for the rating group that has run out, and it goes on', async t => {
  const asked = new Asked()
  const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
  const [subject, talk] = await usedUp(scenario, t, gateway)
  await subject.recharge('5.00')
  const [request] = await asked.some(1)
  t.equal(request!.header.commandCode, RAR)
  t.equal(request!.text('Session-Id'), talk.id)
  t.equal(request!.list[0]?.name, 'Session-Id')
  t.same(told(request!), [...rar, 'Rating-Group=10'])
  await resultOf(subject, '2002')
  const lifted = await talk.update(2, [{ ratingGroup: 10, ...ask }])
  t.same(linesOf(lifted), [{ ratingGroup: 10, code: 2001, octets: 10n * MiB, validity: 900 }], 'no final units')
  await subject.is(t, { bal: '5.00', res: '0.10' }, 'its balance')

  await subject.recharge('5.00')
  await talk.terminate(3)
  await subject.is(t, { bal: '10.00', res: '0.00' }, 'its balance')
  t.equal(asked.requests.length, 1, 'a session that has all it wants is not asked')
})

t.test('final units that are not used yet are asked for as well', async t => {
  const asked = new Asked()
  const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
  const subject = await scenario.subject(t, { money: '0.05' })
  const talk = new Talk(gateway, [subject.id])
  t.same(linesOf(await talk.initial([{ ratingGroup: 10, ...ask }]))[0]?.octets, 5n * MiB)
  await subject.recharge('1.00')
  await asked.some(1)
  await resultOf(subject, '2002')
  const on = await talk.update(1, [{ ratingGroup: 10, used: [{ octets: MiB }], ...ask }])
  t.equal(linesOf(on)[0]?.octets, 10n * MiB)
  await subject.is(t, { bal: '1.04', res: '0.10' }, 'charged once')
  await talk.terminate(2)
})

t.test('a refund asks as a recharge does', async t => {
  const asked = new Asked()
  const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
  const subject = await scenario.subject(t, { money: '0.14' })
  const sms = { serviceContextId: '32274@3gpp.org' }
  const event = (action: 'debit' | 'refund', refund?: Buffer): Promise<Message> => {
    const talk = new Talk(gateway, [subject.id], { ...sms, action })
    return talk.ask(talk.input('event', 0, [{ serviceIdentifiers: [1], ...(refund && { refund }) }]))
  }
  const [paid] = (await event('debit')).groups('Multiple-Services-Credit-Control')
  const talk = new Talk(gateway, [subject.id])
  t.equal(linesOf(await talk.initial([{ ratingGroup: 10, ...ask }]))[0]?.octets, 5n * MiB, 'its last money')
  t.equal((await event('refund', paid!.value('Refund-Information') as Buffer)).resultCode, 2001)
  const [request] = await asked.some(1)
  t.same(told(request!), [...rar, 'Rating-Group=10'])
  await talk.terminate(1)
})

t.test('CC-131: what has run out decides what is asked for', async t => {
  const scopes: readonly [name: string, offer: string, lines: readonly object[], selector: string[]][] = [
    ['one of two rating groups', 'flows', [{ ratingGroup: 10 }, { ratingGroup: 30 }], ['Rating-Group=10']],
    ['a service', 'flows', [{ ratingGroup: 10, serviceIdentifiers: [7] }], ['Service-Identifier=7']],
    [
      'two services of a rating group',
      'flows',
      [10, 10].map((ratingGroup, i) => ({ ratingGroup, serviceIdentifiers: [i + 1] })),
      ['Rating-Group=10'],
    ],
    ['two rating groups', 'flows', [{ ratingGroup: 10 }, { ratingGroup: 20 }], []],
    ['a pool', 'flows-pool', [{ ratingGroup: 10 }, { ratingGroup: 20 }], ['G-S-U-Pool-Identifier=1']],
  ]
  for (const [name, offer, lines, selector] of scopes) {
    const asked = new Asked()
    const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
    const subject = await scenario.subject(t, { money: '0.05', offer })
    const talk = new Talk(gateway, [subject.id])
    const opened = await talk.initial(lines.map(line => ({ ...line, ...ask })))
    t.equal(opened.resultCode, 2001, name)
    await subject.recharge('5.00')
    const [request] = await asked.some(1)
    t.same(told(request!), [...rar, ...selector], name)
    await talk.terminate(1)
    gateway.connections.forEach(connection => connection.abort())
  }
})

t.test('CC-136: a hundred recharges in a moment are two requests at most', async t => {
  const asked = new Asked()
  const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
  const [subject, talk] = await usedUp(scenario, t, gateway)
  for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 10 }, () => subject.recharge('0.01')))
  await resultOf(subject, '2002')
  t.ok(asked.requests.length <= 2, `${asked.requests.length} requests`)
  const on = await talk.update(2, [{ ratingGroup: 10, ...ask }])
  t.equal(linesOf(on)[0]?.octets, 10n * MiB)
  await subject.is(t, { bal: '1.00', res: '0.10' }, 'its balance')
  await talk.terminate(3)
})

t.test('CC-134: a gateway that never answers loses nothing', async t => {
  const asked = new Asked()
  asked.react = () => 'silence'
  const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
  const [subject, talk] = await usedUp(scenario, t, gateway)
  await subject.recharge('1.00')
  await asked.some(1)
  await resultOf(subject, 'sent')
  await subject.recharge('1.00')
  const on = await talk.update(2, [{ ratingGroup: 10, ...ask }])
  t.equal(linesOf(on)[0]?.octets, 10n * MiB, 'its next request is the reaction')
  t.equal(asked.requests.length, 1, 'one request at a time')
  await talk.terminate(3, [{ ratingGroup: 10, used: [{ octets: MiB }] }])
  await subject.is(t, { bal: '1.99', res: '0.00' }, 'its balance')
})

t.test('CC-132: a session that its gateway does not know is closed, and what it held is free', async t => {
  const asked = new Asked()
  asked.react = () => ({ resultCode: 5002 })
  const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
  const subject = await scenario.subject(t, { money: '0.05' })
  const talk = new Talk(gateway, [subject.id])
  await talk.initial([{ ratingGroup: 10, ...ask }])
  await subject.is(t, { bal: '0.05', res: '0.05' }, 'its balance')
  await subject.recharge('1.00')
  await until('the session is closed', async () => (await subject.openSessions()) === 0)
  await subject.is(t, { bal: '1.05', res: '0.00' }, 'its balance')
  t.equal((await talk.update(1, [{ ratingGroup: 10, ...ask }])).resultCode, 5002)
})

t.test('BASE-066: any other answer counts as failed, and the session goes on', async t => {
  for (const resultCode of [5012, 9001]) {
    const asked = new Asked()
    asked.react = () => ({ resultCode })
    const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
    const [subject, talk] = await usedUp(scenario, t, gateway)
    await subject.recharge('1.00')
    await resultOf(subject, String(resultCode))
    t.equal(linesOf(await talk.update(2, [{ ratingGroup: 10, ...ask }]))[0]?.octets, 10n * MiB)
    t.equal(asked.requests.length, 1)
    await talk.terminate(3)
    gateway.connections.forEach(connection => connection.abort())
  }
})

t.test('CC-133: a request that crosses ours is the reaction, granted once', async t => {
  const asked = new Asked()
  const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
  const [subject, talk] = await usedUp(scenario, t, gateway)
  // The gateway had sent its request when ours came, and says that it is under way.
  let crossing: Promise<Message> | undefined
  asked.react = () => {
    crossing = talk.update(2, [{ ratingGroup: 10, ...ask }])
    return { resultCode: 2001 }
  }
  await subject.recharge('1.00')
  await resultOf(subject, '2001')
  t.equal(linesOf(await crossing!)[0]?.octets, 10n * MiB)
  await subject.is(t, { bal: '1.00', res: '0.10' }, 'its balance')

  // And when it is there before ours: nobody is asked, or once more.
  const [other, itsTalk] = await usedUp(scenario, t, gateway)
  asked.react = () => agreed
  const [, answer] = await Promise.all([other.recharge('1.00'), itsTalk.update(2, [{ ratingGroup: 10, ...ask }])])
  const on = linesOf(answer)[0]?.octets === undefined ? await itsTalk.update(3, [{ ratingGroup: 10, ...ask }]) : answer
  t.equal(linesOf(on)[0]?.octets, 10n * MiB)
  await other.is(t, { bal: '1.00', res: '0.10' }, 'one grant')
  t.ok(asked.requests.length <= 2, `${asked.requests.length} requests for two sessions`)
  await talk.terminate(4)
  await itsTalk.terminate(4)
})

t.test('S20: recharged at one daemon, asked by the other that has the connection', async t => {
  const asked = new Asked()
  const gateway = await scenario.gateway(t, { daemons: [second], onRequest: asked.onRequest })
  const [subject, talk] = await usedUp(scenario, t, gateway)
  const before = performance.now()
  await subject.recharge('5.00')
  await asked.some(1)
  t.comment(`${(performance.now() - before).toFixed(0)} ms from the recharge to the request`)
  await resultOf(subject, '2002')
  t.equal(asked.requests.length, 1, 'one of them asks')
  t.equal(linesOf(await talk.update(2, [{ ratingGroup: 10, ...ask }]))[0]?.octets, 10n * MiB)
  await talk.terminate(3)
})

t.test('a gateway with a connection to each daemon is asked over one', async t => {
  const asked = new Asked()
  const gateway = await scenario.gateway(t, { daemons: [scenario.daemon, second], onRequest: asked.onRequest })
  const [subject, talk] = await usedUp(scenario, t, gateway)
  await subject.recharge('5.00')
  await resultOf(subject, '2002')
  t.equal(asked.requests.length, 1)
  await talk.terminate(2)
})

t.test('a gateway that is away is asked when it is back', async t => {
  const asked = new Asked()
  const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
  const [subject, talk] = await usedUp(scenario, t, gateway)
  gateway.connections.forEach(connection => connection.abort())
  await until('its connection is gone', async () => (await peersOf(scenario.daemon)) === 0)
  await subject.recharge('5.00')
  await resultOf(subject, 'undeliverable')
  t.equal(await subject.openSessions(), 1, 'the session stays')
  const back = await scenario.gateway(t, { onRequest: asked.onRequest })
  await asked.some(1)
  await resultOf(subject, '2002')
  talk.over(back.connections[0]!)
  t.equal(linesOf(await talk.update(2, [{ ratingGroup: 10, ...ask }]))[0]?.octets, 10n * MiB)
  await talk.terminate(3)
})

/** Connections of peers, as the admin API tells. */
async function peersOf(daemon: Daemon): Promise<number> {
  const { peers } = (await api(daemon, 'GET', '/v1/peers')) as { peers: readonly { connected: boolean }[] }
  return peers.filter(({ connected }) => connected).length
}

async function api(daemon: Daemon, method: string, path: string, body?: object): Promise<object> {
  const { host, port } = daemon.addresses.admin
  const folder = daemon === scenario.daemon ? 'daemon-1' : 'daemon-2'
  const token = readFileSync(join(scenario.redis.folder, folder, 'admin.token'), 'utf8').trim()
  const response = await fetch(`http://${host}:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: response.status, ...((await response.json()) as object) }
}

t.test('CC-137: a gateway behind a relay is asked over the relay, by its own name', async t => {
  const { diameter } = configOf()
  const [row] = diameter.peers
  const peers = [{ ...row!, name: 'dra', identity: 'dra.example.net', relay: true }, ...diameter.peers]
  const relayed = await startScenario(t, 'flows', { diameter: { ...diameter, peers } })
  const asked = new Asked()
  const relay = await relayed.gateway(t, { originHost: 'dra.example.net', onRequest: asked.onRequest })
  const behind = await relayed.gateway(t, { daemons: [] })
  const subject = await relayed.subject(t, { money: '0.05' })
  const talk = new Talk(behind, [subject.id]).over(relay.connections[0]!)
  t.equal((await talk.initial([{ ratingGroup: 10, ...ask }])).resultCode, 2001)
  const other = await relayed.gateway(t, { originHost: 'pgw2.example.net', onRequest: () => ({ resultCode: 5002 }) })
  await subject.recharge('1.00')
  const [request] = await asked.some(1)
  t.same(told(request!), [...rar, 'Rating-Group=10'])
  await resultOf(subject, '2002')
  t.equal(other.connections.length, 1, 'another peer is not asked')
  await talk.terminate(1)
})

t.test('3GPP-028: a suspended account: all of its sessions are asked to report, and are answered 4010', async t => {
  const asked = new Asked()
  const gateway = await scenario.gateway(t, { onRequest: asked.onRequest })
  const subject = await scenario.subject(t)
  const talks = [new Talk(gateway, [subject.id]), new Talk(gateway, [subject.id])]
  for (const talk of talks) await talk.initial([{ ratingGroup: 10, ...ask }])
  await subject.setStatus('suspended')
  const requests = await asked.some(2)
  for (const request of requests) t.same(told(request), rar, 'the whole session')
  await until('both have answered', async () =>
    (await subject.sessions()).every(session => session.asked?.result === '2002'),
  )
  for (const talk of talks) {
    t.equal((await talk.update(1, [{ ratingGroup: 10, used: [{ octets: MiB }], ...ask }])).resultCode, 4010)
  }
  await subject.is(t, { bal: '9.98', res: '0.00' }, 'its balance')
  t.equal(await subject.openSessions(), 0)
})

t.test('CC-135: where the configuration says so, a suspended account is cut off', async t => {
  const { charging } = configOf()
  const strict = await startScenario(t, 'flows', { charging: { ...charging, onSuspend: 'abort' } })
  const asked = new Asked()
  const gateway = await strict.gateway(t, { onRequest: asked.onRequest })
  const subject = await strict.subject(t)
  const talk = new Talk(gateway, [subject.id])
  await talk.initial([{ ratingGroup: 10, ...ask }])
  asked.react = () => ({ resultCode: 2001 })
  await subject.setStatus('suspended')
  const [request] = await asked.some(1)
  t.equal(request!.header.commandCode, ASR)
  t.same(told(request!), toPgw)
  await resultOf(subject, '2001')
  await talk.terminate(1, [{ ratingGroup: 10, used: [{ octets: MiB }] }])
  await subject.is(t, { bal: '9.99', res: '0.00' }, 'its balance')
  t.equal(await subject.openSessions(), 0)

  await subject.setStatus('active')
  const forgotten = new Talk(gateway, [subject.id])
  await forgotten.initial([{ ratingGroup: 10, ...ask }])
  asked.react = () => ({ resultCode: 5002 })
  await subject.setStatus('suspended')
  await until('it is released', async () => (await subject.openSessions()) === 0)
  await subject.is(t, { bal: '9.99', res: '0.00' }, 'its balance')
})

t.test('by command: one session, an account, all of them', async t => {
  const asked = new Asked()
  const gateway = await scenario.gateway(t, { daemons: [second], onRequest: asked.onRequest })
  const subject = await scenario.subject(t)
  const talk = new Talk(gateway, [subject.id])
  await talk.initial([{ ratingGroup: 10, ...ask }])
  const reauthorise = (body: object): Promise<object> => api(scenario.daemon, 'POST', '/v1/sessions/reauthorise', body)
  const abort = (body: object): Promise<object> => api(scenario.daemon, 'POST', '/v1/sessions/abort', body)

  t.match(await reauthorise({ sessionId: talk.id }), { status: 200, result: '2002' })
  t.same(told(asked.requests[0]!), rar)
  await talk.update(1, [{ ratingGroup: 10, ...ask }])
  asked.react = () => ({ resultCode: 3004 })
  t.match(await abort({ sessionId: talk.id }), { status: 200, result: '3004' })
  t.equal(asked.requests[1]?.header.commandCode, ASR)
  asked.react = () => agreed
  t.match(await abort({ account: subject.account }), { status: 200, sessions: 1 })
  await asked.some(3)
  await resultOf(subject, '2002')
  t.match(await api(scenario.daemon, 'GET', `/v1/sessions?account=${subject.account}`), {
    sessions: [{ id: talk.id, asked: { command: 'ASR', result: '2002' } }],
  })
  const all = (await reauthorise({ all: true, perSecond: 10_000 })) as { accounts: number }
  t.ok(all.accounts >= 1, `${all.accounts} accounts`)
  await until('it is asked', () =>
    asked.requests.some(each => each.header.commandCode === RAR && each !== asked.requests[0]),
  )
  t.match(await abort({ all: true }), { status: 400 })
  t.match(await abort({}), { status: 400 })
  t.match(await reauthorise({ sessionId: 'nobody;1;1' }), { status: 404 })
  await talk.terminate(2)
  const over = (await reauthorise({ sessionId: talk.id })) as { status: number }
  t.ok([404, 409].includes(over.status), 'it has ended, or nobody knows it any more')
})

t.test('what was asked is counted', async t => {
  const { host, port } = scenario.daemon.addresses.metrics
  const text = await (await fetch(`http://${host}:${port}/metrics`)).text()
  for (const [command, result] of [
    ['RAR', '2002'],
    ['RAR', '5002'],
    ['RAR', '5012'],
    ['RAR', 'other'],
    ['RAR', 'undeliverable'],
  ] as const) {
    const line = new RegExp(`^ocs_session_commands_total\\{command="${command}",result="${result}"\\} [1-9]`, 'm')
    t.match(text, line)
  }
})

t.test('the judge likes every one of them', async t => {
  const tshark = toolOrNotRun(t, 'tshark', 'tshark')
  if (tshark === undefined) return
  const frames = await judged(
    t,
    tshark,
    everything.map(({ octets }) => ({ connection: 0, from: 'server' as const, octets })),
  )
  frames.forEach(({ faults, avps }, i) => {
    t.same(faults, [])
    const ours = flat(decodeTree(dictionary, everything[i]!.octets).avps)
    t.same(comparable(avps, ours), ours)
  })
  t.ok(frames.length > 20, `${frames.length} requests`)
})
