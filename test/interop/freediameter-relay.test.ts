/**
 * freeDiameter as a relay between gateways and two daemons on one store, over TCP to one and over TLS to the other: sessions,
 * repeats over the second way, RAR to one of several gateways behind it, its watchdog, and a relay that goes away.
 */
import t from 'tap'
import { FLAG, readHeader } from '../../src/diameter/header.js'
import type { Gateway, Reaction } from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { aPeer } from '../support/diameter-server.js'
import { Authority } from '../support/certificates.js'
import { Relay, relayToolsOrNotRun } from '../support/freediameter.js'
import { until } from '../support/ocsd-process.js'
import { received } from '../support/raw-client.js'
import { linesOf, MiB, startScenario, Talk, type Subject } from '../support/scenario.js'
import { listenIn } from '../support/wire.js'

const ocs = 'ocs1.charging.example.net'
const realm = 'example.net'
const [CCR, RAR, DWR] = [272, 258, 280]
const ask = { requested: {} }
const exhausted = (mib: bigint): object => ({ used: [{ octets: mib * MiB, reason: 3 }] })

t.test('gateways behind freeDiameter', async t => {
  const tools = relayToolsOrNotRun(t)
  const authority = Authority.make(t)
  if (!tools || !authority) return
  const { certificate, key } = authority.issue(ocs)
  const tls = { certificate, key, authority: authority.certificate, crl: undefined }
  const scenario = await startScenario(t, 'flows', config => ({
    diameter: {
      ...config.diameter,
      tls: { ...tls, listen: [{ host: '127.0.0.1', port: 0 }] },
      peers: [
        aPeer({ name: 'tcp-relay', identity: 'dra1.example.net', relay: true, transport: 'tcp' }),
        aPeer({ name: 'tls-relay', identity: 'dra2.example.net', relay: true, transport: 'tls' }),
      ],
    },
  }))
  const second = await scenario.another()
  const wire = await listenIn(t, scenario.daemon.addresses.diameter[0]!.port)
  const [one, two] = await Promise.all([
    Relay.start(t, tools, {
      ...{ identity: 'dra1.example.net', realm, authority },
      server: { identity: ocs, port: wire.port, tls: false },
    }),
    Relay.start(t, tools, {
      ...{ identity: 'dra2.example.net', realm, authority },
      server: { identity: ocs, port: second.addresses.diameterTls[0]!.port, tls: true },
    }),
  ])
  const asked = new Map<string, Message[]>()
  /** With a connection to each of the relays. */
  const behind = async (originHost: string): Promise<Gateway> => {
    const requests: Message[] = []
    asked.set(originHost, requests)
    const onRequest = (request: Message): Reaction => {
      // The relay tries the realm when the host is gone: a client hands nothing on.
      if (request.text('Destination-Host') !== originHost) return { resultCode: 3002 }
      requests.push(request)
      return { resultCode: 2002 }
    }
    const gateway = await scenario.gateway(t, { originHost, daemons: [], onRequest })
    for (const relay of [one, two]) await gateway.connect(relay.address)
    return gateway
  }
  const pgw1 = await behind('pgw1.example.net')
  const pgw2 = await behind('pgw2.example.net')
  const over = (talk: Talk, relay: Relay): Talk =>
    talk.over(talk.gateway.connections.find(({ remote }) => remote.port === relay.address.port)!)
  /** Requests that came to the first daemon. */
  const arrived = (command: number, sessionId?: string) =>
    wire.messages
      .filter(({ from, octets }) => from === 'client' && isRequest(octets, command))
      .map(({ octets }) => received(octets))
      .filter(request => sessionId === undefined || request.value('Session-Id') === sessionId)

  await t.test('a session over TCP: Route-Record is added, Proxy-Info comes back', async t => {
    const subject = await scenario.subject(t)
    const talk = over(new Talk(pgw1, [subject.id]), one)
    const states = ['one', 'two'].map(state => Buffer.from(state))
    const more = states.map(
      state =>
        [
          'Proxy-Info',
          [
            ['Proxy-Host', 'proxy.example.net'],
            ['Proxy-State', state],
          ],
        ] as const,
    )
    const first = await talk.initial([{ ratingGroup: 10, ...ask }], { more })
    t.same(linesOf(first), [{ ratingGroup: 10, code: 2001, octets: 10n * MiB, validity: 3600 }])
    t.same(
      first.groups('Proxy-Info').map(each => [each.text('Proxy-Host'), each.all('Proxy-State')[0]?.value]),
      states.map(state => ['proxy.example.net', state]),
      'in their order',
    )
    const [request] = arrived(CCR, talk.id)
    t.same(request!.values('Route-Record'), ['pgw1.example.net'], 'where the relay got it')
    t.equal(request!.value('Origin-Host'), 'pgw1.example.net')
    t.not(request!.header.hopByHop, first.header.hopByHop, 'another Hop-by-Hop Identifier on each hop')
    t.equal(request!.header.endToEnd, first.header.endToEnd, 'and the same End-to-End Identifier')

    await talk.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
    await subject.is(t, { bal: '9.90', res: '0.10' }, 'its balance')
    t.match(await subject.sessions(), [{ id: talk.id, originHost: 'pgw1.example.net' }])
    t.equal((await talk.terminate(2, [{ ratingGroup: 10, used: [{ octets: MiB }] }])).resultCode, 2001)
    await subject.is(t, { bal: '9.89', res: '0.00' }, 'its balance')
  })

  await t.test('sessions of several Origin-Hosts over each of the relays', async t => {
    const talks: [Talk, Subject][] = []
    for (const gateway of [pgw1, pgw2]) {
      for (const relay of [one, two]) {
        const subject = await scenario.subject(t)
        talks.push([over(new Talk(gateway, [subject.id]), relay), subject])
      }
    }
    const all = (step: (talk: Talk) => Promise<Message>): Promise<number[]> =>
      Promise.all(talks.map(async ([talk]) => (await step(talk)).resultCode))
    const good = talks.map(() => 2001)
    t.same(await all(talk => talk.initial([{ ratingGroup: 10, ...ask }])), good)
    t.same(await all(talk => talk.update(1, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])), good)
    t.same(await all(talk => talk.terminate(2, [{ ratingGroup: 10, used: [{ octets: 3n * MiB }] }])), good)
    for (const [, subject] of talks) await subject.is(t, { bal: '9.87', res: '0.00' }, 'each has paid its own')
    // One connection a relay, whoever is behind it.
    t.same([...new Set(wire.messages.map(({ connection }) => connection))], [0])
  })

  await t.test('a request comes again over the second way, T bit set, and is charged once', async t => {
    const subject = await scenario.subject(t)
    const talk = new Talk(pgw1, [subject.id])
    await over(talk, one).initial([{ ratingGroup: 10, ...ask }])
    const repeats = async (number: number, ways: readonly [Relay, boolean][]): Promise<void> => {
      const endToEnd = pgw1.nextEndToEnd()
      const answers: string[] = []
      for (const [relay, retransmitted] of ways) {
        const input = talk.input('update', number, [{ ratingGroup: 10, ...ask, ...exhausted(10n) }])
        const connection = pgw1.connections.find(({ remote }) => remote.port === relay.address.port)!
        const hopByHop = connection.nextHopByHop()
        const answer = await connection.ask(pgw1.encode(input, { hopByHop, endToEnd, retransmitted }))
        answers.push(bodyOf(answer))
      }
      t.equal(answers[1], answers[0], 'the same answer')
    }
    await repeats(1, [[one, false], [two, true]]) // prettier-ignore
    await subject.is(t, { bal: '9.90', res: '0.10' }, 'charged once')
    await repeats(2, [[two, true], [one, false]]) // prettier-ignore
    await subject.is(t, { bal: '9.80', res: '0.10' }, 'also when the copy is there first')
    const flags = arrived(CCR, talk.id).map(({ header }) => header.flags & FLAG.RETRANSMITTED)
    t.same(flags, [0, 0, 0], 'the relay sets no T bit of its own')
    await talk.terminate(3)
  })

  await t.test('RAR reaches the gateway that has the session, and no other behind the relay', async t => {
    for (const [gateway, other, relay] of [
      [pgw2, pgw1, one],
      [pgw1, pgw2, two],
    ] as const) {
      const [requests, none] = [asked.get(gateway.originHost)!, asked.get(other.originHost)!]
      const before = [requests.length, none.length]
      const subject = await scenario.subject(t, { money: '0.05' })
      const talk = over(new Talk(gateway, [subject.id]), relay)
      t.equal(linesOf(await talk.initial([{ ratingGroup: 10, ...ask }]))[0]?.octets, 5n * MiB)
      await subject.recharge('1.00')
      await until('the gateway has answered', async () => (await subject.sessions())[0]?.asked?.result === '2002')
      t.same([requests.length - before[0]!, none.length - before[1]!], [1, 0])
      const request = requests.at(-1)!
      t.equal(request.header.commandCode, RAR)
      t.equal(request.text('Session-Id'), talk.id)
      t.equal(request.text('Destination-Host'), gateway.originHost)
      t.same(
        request.all('Route-Record').map(({ value }) => value),
        [ocs],
        'it went the way of the relay',
      )
      await talk.terminate(1)
      await subject.is(t, { bal: '1.05', res: '0.00' }, 'its balance')
    }
  })

  await t.test('a gateway that the relay has lost: 3002, and the session stays', async t => {
    const gone = await behind('pgw3.example.net')
    const subject = await scenario.subject(t, { money: '0.05' })
    const talk = over(new Talk(gone, [subject.id]), one)
    await talk.initial([{ ratingGroup: 10, ...ask }])
    await gone.disconnect()
    await subject.recharge('1.00')
    await until('the relay has answered', async () => /^3/.test((await subject.sessions())[0]?.asked?.result ?? ''))
    t.match(await subject.sessions(), [{ asked: { command: 'RAR', result: '3002' } }])
    t.equal(await subject.openSessions(), 1)
  })

  await t.test('the relay watches its connection, and keeps it', async t => {
    const answered = (): boolean =>
      wire.messages.some(({ from, octets }) => from === 'server' && isAnswer(octets, DWR)) && arrived(DWR).length > 0
    await until('a DWR of the relay is answered', answered)
    t.same([...new Set(wire.messages.map(({ connection }) => connection))], [0], 'it is still the first connection')
  })

  await t.test('a relay goes, and the other is the way: for requests of both sides', async t => {
    const subject = await scenario.subject(t, { money: '0.05' })
    const talk = over(new Talk(pgw1, [subject.id]), one)
    t.equal(linesOf(await talk.initial([{ ratingGroup: 10, ...ask }]))[0]?.octets, 5n * MiB)
    await one.stop()
    t.ok(arrived(282).length > 0, 'it says DPR')
    await subject.recharge('1.00')
    await until('the gateway has answered', async () => (await subject.sessions())[0]?.asked?.result === '2002')
    const request = asked.get('pgw1.example.net')!.at(-1)!
    t.equal(request.text('Session-Id'), talk.id)
    const next = await over(talk, two).update(1, [{ ratingGroup: 10, ...ask, ...exhausted(5n) }])
    t.equal(linesOf(next)[0]?.octets, 10n * MiB)
    await talk.terminate(2)
    await subject.is(t, { bal: '1.00', res: '0.00' }, 'its balance')
  })
})

const isRequest = (octets: Buffer, command: number): boolean => {
  const { commandCode, flags } = readHeader(octets)
  return commandCode === command && (flags & FLAG.REQUEST) !== 0
}

const isAnswer = (octets: Buffer, command: number): boolean =>
  readHeader(octets).commandCode === command && !isRequest(octets, command)

/** All AVPs of an answer but what the relay adds on the way back. */
const bodyOf = (answer: Message): string =>
  answer.list
    .filter(({ name }) => name !== 'Route-Record')
    .map(avp => JSON.stringify(avp, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)))
    .join()
