/** Both sides call at once: RFC 6733 sections 5.6 and 5.6.4, as a table and over sockets. */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { VirtualClock } from '../../src/clock.js'
import type { PeerConfig } from '../../src/config/config.js'
import { plainTcp } from '../../src/diameter/carriage.js'
import type { Call, CalledRow, Dial, Transported } from '../../src/diameter/dialler.js'
import type { DialEvent, DialState } from '../../src/diameter/peer.js'
import { dialStep, dialTransitions } from '../../src/diameter/peer.js'
import type { DiameterServer } from '../../src/diameter/server.js'
import type { TestServer } from '../support/diameter-server.js'
import { aPeer, startServer, until } from '../support/diameter-server.js'
import { aCcr, aCea, aCer, checkEverythingReceived, RawClient, RawListener } from '../support/raw-client.js'

/** Our Origin-Host is ocs1.charging.example.net: it loses against the one, and wins against the other. */
const greater = 'pgw1.example.net'
const smaller = 'DRA1.example.net'

t.test('the rows of RFC 6733 section 5.6 that look at both connections', t => {
  const cases: [DialState, DialEvent, string][] = [
    ['Closed', 'Start', 'Wait-Conn-Ack I-Snd-Conn-Req'],
    ['Wait-Conn-Ack', 'I-Rcv-Conn-Ack', 'Wait-I-CEA I-Snd-CER'],
    ['Wait-Conn-Ack', 'I-Rcv-Conn-Nack', 'Closed set-Tc'],
    ['Wait-Conn-Ack', 'R-Conn-CER', 'Wait-Conn-Ack/Elect none'],
    ['Wait-I-CEA', 'I-Rcv-CEA', 'I-Open none'],
    ['Wait-I-CEA', 'R-Conn-CER', 'Wait-Returns elect'],
    ['Wait-I-CEA', 'I-Peer-Disc', 'Closed set-Tc'],
    ['Wait-Conn-Ack/Elect', 'I-Rcv-Conn-Ack', 'Wait-Returns I-Snd-CER-and-elect'],
    ['Wait-Conn-Ack/Elect', 'I-Rcv-Conn-Nack', 'R-Open R-Snd-CEA'],
    ['Wait-Conn-Ack/Elect', 'R-Peer-Disc', 'Wait-Conn-Ack none'],
    ['Wait-Conn-Ack/Elect', 'R-Conn-CER', 'Wait-Conn-Ack/Elect R-Reject'],
    ['Wait-Returns', 'Win-Election', 'R-Open I-Disc-and-R-Snd-CEA'],
    ['Wait-Returns', 'I-Peer-Disc', 'R-Open R-Snd-CEA'],
    ['Wait-Returns', 'I-Rcv-CEA', 'I-Open R-Disc'],
    ['Wait-Returns', 'R-Peer-Disc', 'Wait-I-CEA none'],
    ['Wait-Returns', 'R-Conn-CER', 'Wait-Returns R-Reject'],
    ['I-Open', 'I-Peer-Disc', 'Closed set-Tc'],
    ['R-Open', 'R-Peer-Disc', 'Closed set-Tc'],
  ]
  for (const [state, event, expected] of cases)
    t.equal(dialStep(state, event)?.join(' '), expected, `${state} ${event}`)
  const rows = Object.values(dialTransitions).flatMap(row => Object.keys(row))
  t.equal(rows.length, cases.length + 1, 'and a CER while nothing is on')
  t.equal(dialStep('R-Open', 'I-Peer-Disc'), undefined, 'what we ended ourselves is no news')
  t.end()
})

/** Calls that a test lets through, or not. */
class Gate {
  private readonly waiting: { row: CalledRow; done: (outcome: Transported | Error) => void }[] = []
  readonly dial: Dial = (row, done): Call => {
    const call = { row, done }
    this.waiting.push(call)
    return { cancel: () => this.waiting.splice(this.waiting.indexOf(call), 1) }
  }

  /** Every call that waits gets its transport; `portOf` says where, by Origin-Host. */
  async open(portOf: (row: CalledRow) => number): Promise<void> {
    const calls = this.waiting.splice(0)
    const sockets = await Promise.all(calls.map(({ row }) => connected(portOf(row))))
    for (const [i, { done }] of calls.entries()) done({ socket: sockets[i]!, carriage: plainTcp })
  }

  fail(): void {
    for (const { done } of this.waiting.splice(0)) done(new Error('connect ECONNREFUSED'))
  }
}

const connected = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => resolve(socket))
    socket.once('error', reject)
  })

const called = (identity: string): PeerConfig =>
  aPeer({ identity, connect: { host: '127.0.0.1', port: 1, tls: false } })

interface Meeting extends TestServer {
  readonly gate: Gate
  readonly far: RawListener
  /** Lets our call through. @returns the far end of it */
  readonly letThrough: () => Promise<RawClient>
  /** The peer's own call. */
  readonly callOf: (originHost: string) => Promise<RawClient>
  /** Of the peer that we call. */
  readonly state: () => DialState
}

async function meeting(t: Test, identity: string): Promise<Meeting> {
  const [gate, far] = [new Gate(), await RawListener.open(t)]
  const started = await startServer(t, { peers: [called(identity)], dial: gate.dial })
  return {
    ...{ ...started, gate, far },
    letThrough: async () => {
      const [client] = await Promise.all([far.next(), gate.open(() => far.port)])
      return client
    },
    callOf: async originHost => {
      const client = await RawClient.open(t, started)
      client.send(aCer({ originHost }))
      await until(() => started.metrics.traffic('unknown').messagesIn[1]! > 0)
      return client
    },
    state: () => started.server.dialled()[0]!.state,
  }
}

t.test('its CER comes while we wait for its CEA', async t => {
  await t.test('BASE-101: we are the greater: ours is closed, theirs is answered', async t => {
    const { letThrough, callOf, state, server, metrics } = await meeting(t, smaller)
    const ours = await letThrough()
    await ours.next()
    const theirs = await callOf(smaller)
    t.equal((await theirs.next()).value('Result-Code'), 2001)
    t.equal(await ours.closed, 'reset')
    t.equal(ours.unread, 0)
    t.equal(state(), 'R-Open')
    t.match(server.peers(), [{ direction: 'accepted', state: 'R-Open', watchdog: 'OKAY' }])
    t.equal(metrics.closedByPeer.get('unknown')?.get('election'), 1)
    t.equal((await theirs.ask(aCcr({ originHost: smaller }))).value('Result-Code'), 2001)
  })
  await t.test('BASE-101: we are the smaller: theirs waits, and is closed when the CEA to ours comes', async t => {
    const { letThrough, callOf, state, server } = await meeting(t, greater)
    const ours = await letThrough()
    const cer = await ours.next()
    const theirs = await callOf(greater)
    t.equal(state(), 'Wait-Returns')
    ours.send(aCea(cer))
    t.type(await theirs.nextOrEnd(), 'string', 'no CEA')
    await until(() => state() === 'I-Open')
    t.match(server.peers(), [{ direction: 'initiated', state: 'I-Open', watchdog: 'OKAY' }])
    t.equal((await ours.ask(aCcr())).value('Result-Code'), 2001)
  })
  await t.test('the smaller: ours ends, and theirs is answered', async t => {
    for (const how of ['closed', 'refused', 'silent'] as const) {
      await t.test(how, async t => {
        const { letThrough, callOf, state, server, clock } = await meeting(t, greater)
        const ours = await letThrough()
        const cer = await ours.next()
        clock.advance(1)
        const theirs = await callOf(greater)
        if (how === 'closed') ours.socket.destroy()
        else if (how === 'refused') ours.send(aCea(cer, { resultCode: 3010 }))
        else clock.advance(9_999)
        t.equal((await theirs.next()).value('Result-Code'), 2001)
        t.equal(state(), 'R-Open')
        t.match(server.peers(), [{ direction: 'accepted' }])
      })
    }
  })
  await t.test('the smaller: theirs ends, and ours goes on', async t => {
    const { letThrough, callOf, state } = await meeting(t, greater)
    const ours = await letThrough()
    const cer = await ours.next()
    const theirs = await callOf(greater)
    theirs.socket.destroy()
    await until(() => state() === 'Wait-I-CEA')
    ours.send(aCea(cer))
    await until(() => state() === 'I-Open')
  })
  await t.test('a third connection is refused', async t => {
    const { letThrough, callOf, state, metrics } = await meeting(t, greater)
    const ours = await letThrough()
    const cer = await ours.next()
    const theirs = await callOf(greater)
    const third = await callOf(greater)
    t.equal((await third.next()).value('Result-Code'), 3010)
    await third.closed
    t.equal(metrics.cerRejectedByReason.get('duplicate'), 1)
    t.equal(state(), 'Wait-Returns')
    ours.send(aCea(cer))
    await theirs.closed
    await until(() => state() === 'I-Open')
  })
})

t.test('its CER comes while our transport is on its way', async t => {
  await t.test('it cannot be reached: theirs is answered', async t => {
    const { gate, callOf, state } = await meeting(t, greater)
    const theirs = await callOf(greater)
    t.equal(state(), 'Wait-Conn-Ack/Elect')
    gate.fail()
    t.equal((await theirs.next()).value('Result-Code'), 2001)
    t.equal(state(), 'R-Open')
  })
  await t.test('we are the greater: ours is closed without a word', async t => {
    const { letThrough, callOf, state } = await meeting(t, smaller)
    const theirs = await callOf(smaller)
    const ours = await letThrough()
    t.type(await ours.nextOrEnd(), 'string')
    t.equal((await theirs.next()).value('Result-Code'), 2001)
    t.equal(state(), 'R-Open')
  })
  await t.test('we are the smaller: the CER goes out, and its CEA closes theirs', async t => {
    const { letThrough, callOf, state } = await meeting(t, greater)
    const theirs = await callOf(greater)
    const ours = await letThrough()
    ours.send(aCea(await ours.next()))
    t.type(await theirs.nextOrEnd(), 'string')
    await until(() => state() === 'I-Open')
  })
  await t.test('theirs ends: ours goes on', async t => {
    const { letThrough, callOf, state } = await meeting(t, greater)
    const theirs = await callOf(greater)
    theirs.socket.destroy()
    await until(() => state() === 'Wait-Conn-Ack')
    const ours = await letThrough()
    ours.send(aCea(await ours.next()))
    await until(() => state() === 'I-Open')
  })
})

t.test('BASE-101: two nodes that call each other keep the connection of the smaller one, on both sides', async t => {
  const pairs: [string, string][] = [
    ['a.example', 'b.example'],
    ['A.example', 'b.example'],
    ['a.example', 'B.example'],
    ['ocs.example', 'ocs-2.example'],
  ]
  for (const [one, two] of pairs) {
    await t.test(`${one} and ${two}`, async t => {
      const [gate, clock] = [new Gate(), new VirtualClock()]
      const node = (identity: string, peer: string): Promise<TestServer> =>
        startServer(t, {
          identity,
          clock,
          dial: gate.dial,
          watchdogMs: 100_000,
          peers: [{ ...called(peer), realm: '*' }],
        })
      const [first, second] = [await node(one, two), await node(two, one)]
      await gate.open(row => (row.identity === two ? second.port : first.port))
      const isOpen = ({ server }: TestServer): boolean => server.peers().length === 1 && server.counts().all === 1
      await until(() => isOpen(first) && isOpen(second))
      const directionOf = (server: DiameterServer): string | undefined => server.peers()[0]?.direction
      const [smallerNode, greaterNode] = one.toLowerCase() < two.toLowerCase() ? [first, second] : [second, first]
      t.equal(directionOf(smallerNode.server), 'initiated')
      t.equal(directionOf(greaterNode.server), 'accepted')
      clock.advance(60_000)
      t.same([first.server.peers().length, second.server.peers().length], [1, 1])
    })
  }
})

t.test('everything that was sent is as it must be', t => {
  checkEverythingReceived(t)
  t.end()
})
