/** BASE-066, 103, 110 to 118: the watchdog, and what becomes of our requests when a connection fails. */
import type { Test } from 'tap'
import { loadConfig } from '../../src/config/load.js'
import { drawTw } from '../../src/diameter/watchdog.js'
import { FLAG } from '../../src/diameter/header.js'
import { encodeTree } from '../../src/diameter/tree.js'
import { aCer, aDwr, answerTo, type RawClient, type Received } from '../support/raw-client.js'
import { processFolder, writeConfig } from '../support/ocsd-process.js'
import { dictionary, vector } from '../support/vectors.js'
import { Attentive, minute, row, second, startOcs, turns, type Ocs } from './harness.js'
import { avpsOf, ofSession } from './octets.js'
import { checkRecorded } from './recorder.js'

const code = (answer: Received): unknown => answer.value('Result-Code')
const isRequest = ({ header }: Received): boolean => (header.flags & FLAG.REQUEST) !== 0
const isRar = (message: Received): boolean => message.header.commandCode === 258 && isRequest(message)

/** The session of C01. */
const sessionId = 'pgw1.example.net;1768478400;42;gy'

const asked = (ocs: Ocs): Promise<string> => ocs.ask('reauthorise', { sessionId })

/** Asks for a RAR that nobody can carry, and sees it counted as such so often in all. The operator may have heard so by then. */
async function cannotBeAsked(t: Test, ocs: Ocs, times: number): Promise<void> {
  t.match(await ocs.settle(asked(ocs)), /^(undeliverable|sent)$/)
  let counted = 0
  for (let look = 0; look < 200 && counted < times; look++) {
    ocs.clock.skip(100)
    counted = await ocs.metric('ocs_session_commands_total', 'command="RAR",result="undeliverable"')
  }
  t.equal(counted, times, 'there is nobody to carry it')
}

/** An RAA with any Result-Code. */
const raa = (rar: Received, resultCode: number): Buffer =>
  encodeTree(dictionary, {
    command: 'RAA',
    flags: FLAG.PROXIABLE,
    applicationId: 4,
    hopByHop: rar.header.hopByHop,
    endToEnd: rar.header.endToEnd,
    avps: [
      ['Session-Id', sessionId],
      ['Result-Code', resultCode],
      ['Origin-Host', 'pgw1.example.net'],
      ['Origin-Realm', 'example.net'],
    ],
  })

row('BASE-014', 'an RAA that comes twice is one, and the second is not answered', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  const result = asked(ocs)
  const answer = answerTo(await client.next())
  client.send(answer, answer)
  t.equal(await result, '2001')
  t.ok(await client.nothingElse())
  t.equal(await ocs.metric('ocs_session_commands_total', 'command="RAR",result="2001"'), 1)
})

row('BASE-066', 'an RAA with 9001 is a permanent failure, and no more', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  const result = asked(ocs)
  client.send(raa(await client.next(), 9001))
  t.equal(await result, '9001', 'that is what came of it')
  t.equal(code(await client.ask(vector('C03'))), 2001, 'the session goes on')
  t.ok(await client.nothingElse(), 'and it is not asked again')
})

row('BASE-103', 'no RAR goes to a peer that is neither the client nor a relay', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  await client.ask(vector('B09'))
  client.socket.end()
  await client.closed
  const other = await ocs.peer(t, aCer({ originHost: 'pgw2.example.net' }))
  await cannotBeAsked(t, ocs, 1)
  t.equal(code(await other.ask(aDwr(9, 'pgw2.example.net'))), 2001)
  t.equal(other.unread, 0, 'it was not asked')
})

row('BASE-103', 'a peer that has Sy alone in common with anybody gets no connection, and so no RAR', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  await client.ask(vector('B09'))
  client.socket.end()
  await client.closed
  const sy = await ocs.open(t)
  t.equal(code(await sy.ask(aCer({ more: [['Auth-Application-Id', 16_777_302]] }))), 5010)
  await sy.closed
  await cannotBeAsked(t, ocs, 1)
  t.equal(sy.unread, 0)
})

row(
  'BASE-110',
  'a thousand Tw lie within two seconds of Twinit and differ, and Twinit is never below six seconds',
  t => {
    for (const [twinit, least, most] of [
      [30 * second, 28 * second, 32 * second],
      [1 * second, 4 * second, 8 * second],
    ] as const) {
      const draws = Array.from({ length: 1_000 }, () => drawTw(twinit, Math.random))
      t.ok(
        draws.every(tw => tw >= least && tw <= most),
        `${twinit}`,
      )
      t.ok(new Set(draws).size > 900)
      t.ok(Math.min(...draws) < least + second && Math.max(...draws) > most - second, 'on either side')
    }
    const folder = processFolder(t)
    writeConfig(folder, { diameter: { listen: ['127.0.0.1:0'], watchdog: '5s' } })
    const outcome = loadConfig(folder.file)
    t.ok('faults' in outcome && /watchdog/.test(JSON.stringify(outcome.faults)), 'five seconds are refused')
  },
)

row('BASE-110', 'an idle peer is probed after 28 to 32 seconds, not always the same', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const waited: number[] = []
  for (let probe = 0; probe < 10; probe++) {
    const tw = await ocs.waitUntil('a DWR comes', () => client.unread > 0)
    const dwr = await client.next()
    t.equal(dwr.header.commandCode, 280)
    client.answer(dwr)
    await turns()
    waited.push(Math.round(tw / 100))
    t.ok(tw > 27 * second && tw < 33 * second, `${probe}: within a second of 28 to 32`)
  }
  t.ok(new Set(waited).size > 1)
})

row(
  'BASE-111',
  'with traffic each second no DWR comes in five minutes; without, one, and no other while it is pending',
  async t => {
    const ocs = await startOcs(t)
    const client = await ocs.peer(t)
    for (let s = 0; s < 300; s++) {
      ocs.clock.skip(second)
      const answer = await client.ask(s % 2 === 0 ? aDwr(s) : ofSession(vector('C01'), s))
      if (isRequest(answer)) t.fail(`a DWR after ${s} s`)
    }
    t.ok(await client.nothingElse())
    ocs.clock.skip(33 * second)
    t.equal((await client.next()).header.commandCode, 280)
    ocs.clock.skip(20 * second)
    await turns()
    t.equal(client.unread, 0)
  },
)

/** With account A's session open over pgw1, and a relay that would do as well; a watchdog of six seconds. */
async function withRelay(t: Test): Promise<{
  ocs: Ocs
  direct: RawClient
  relay: Attentive
}> {
  const ocs = await startOcs(t, { diameter: { watchdogMs: 6 * second } })
  const direct = await ocs.peer(t)
  await direct.ask(vector('C01'))
  return { ocs, direct, relay: new Attentive(await ocs.peer(t, vector('B05'))) }
}

row(
  'BASE-112',
  'a peer that answers nothing loses the RAR that it has to another, with the T bit, within two Tw',
  async t => {
    const { ocs, direct, relay } = await withRelay(t)
    await ocs.waitUntil('pgw1 is probed', () => direct.unread > 0)
    await direct.next()
    const result = asked(ocs)
    const first = await direct.next()
    t.ok(isRar(first))
    const passed = await ocs.waitUntil('the relay has it', () => relay.messages.some(isRar))
    t.ok(passed < 9 * second, 'before Tw is over once more, and before it would be sent again for its age')
    const again = relay.messages.find(isRar)!
    t.equal(again.header.flags & FLAG.RETRANSMITTED, FLAG.RETRANSMITTED)
    t.equal(again.header.endToEnd, first.header.endToEnd)
    relay.client.send(raa(again, 2002))
    await result // of which an operator hears only within five seconds
    let answered = 0
    for (let look = 0; look < 100 && answered === 0; look++)
      answered = await ocs.metric('ocs_session_commands_total', 'command="RAR",result="2002"')
    t.equal(answered, 1, 'and its answer counts')
  },
)

row('BASE-113', 'a peer that answers nothing is gone within three Tw, after one DWR', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  ocs.clock.skip(83.9 * second)
  await turns()
  t.equal(client.socket.destroyed, false, 'three times 28 seconds are not over')
  ocs.clock.skip(12.2 * second)
  await client.closed
  t.equal((await client.next()).header.commandCode, 280)
  t.equal(client.unread, 0, 'one DWR')
})

/** Comes back after the watchdog ended its connection. */
async function comesBack(t: Test, ocs: Ocs): Promise<RawClient> {
  const lost = await ocs.peer(t)
  await lost.ask(vector('C01'))
  ocs.clock.skip(97 * second)
  await lost.closed
  return ocs.peer(t)
}

row('BASE-114', 'after a failure three DWAs come before the first RAR; a first connection is used at once', async t => {
  const fresh = await startOcs(t)
  const first = await fresh.peer(t)
  await first.ask(vector('C01'))
  const atOnce = asked(fresh)
  const rar = await first.next()
  t.ok(isRar(rar))
  first.answer(rar)
  t.equal(await atOnce, '2001')

  const ocs = await startOcs(t)
  const client = await comesBack(t, ocs)
  for (let probe = 1; probe <= 3; probe++) {
    const dwr = await client.next()
    t.equal(dwr.header.commandCode, 280, `probe ${probe}`)
    await cannotBeAsked(t, ocs, probe)
    t.equal(client.unread, 0, 'no RAR yet')
    client.answer(dwr)
  }
  t.ok(await client.nothingElse(), 'three are enough')
  const result = asked(ocs)
  const then = await client.next()
  t.ok(isRar(then))
  client.answer(then)
  t.equal(await result, '2001')
})

row('BASE-115', 'a CCR on a connection that is still being probed is answered', async t => {
  const ocs = await startOcs(t)
  const client = await comesBack(t, ocs)
  t.equal((await client.next()).header.commandCode, 280)
  const answer = await client.ask(vector('C03'))
  t.same([answer.header.commandCode, code(answer)], [272, 2001])
})

row('BASE-116', 'B07 is answered like B08, behind 500 CCRs before the last of them', async t => {
  const ocs = await startOcs(t, { account: { money: '1000.00' } })
  const client = await ocs.peer(t)
  const count = 500
  client.send(...Array.from({ length: count }, (_, i) => ofSession(vector('C01'), i)), vector('B07'))
  const answers = await client.take(count + 1)
  const at = answers.findIndex(({ header }) => header.commandCode === 280)
  t.ok(at >= 0 && at < count, `the ${at}th of ${count + 1}`)
  const dwa = answers[at]!
  const named = (octets: Buffer): number[] => avpsOf(octets).map(avp => avp.code)
  t.same(named(dwa.octets), named(vector('B08')))
  t.same(dwa.octets.subarray(4, 20), vector('B08').subarray(4, 20), 'its header')
  t.equal(code(dwa), 2001)
})

row('BASE-117', 'a RAR whose peer dies goes elsewhere: T bit, the same End-to-End, another Hop-by-Hop', async t => {
  const { ocs, direct, relay } = await withRelay(t)
  const result = asked(ocs)
  const first = await direct.next()
  t.equal(first.header.flags, FLAG.REQUEST | FLAG.PROXIABLE)
  direct.socket.resetAndDestroy()
  await ocs.waitUntil('the relay has it', () => relay.messages.some(isRar))
  const again = relay.messages.find(isRar)!
  t.equal(again.header.flags, FLAG.REQUEST | FLAG.PROXIABLE | FLAG.RETRANSMITTED)
  t.equal(again.header.endToEnd, first.header.endToEnd)
  t.same(again.octets.subarray(20), first.octets.subarray(20), 'the same AVPs')
  relay.client.send(raa(again, 2001))
  t.equal(await result, '2001')
  const base = relay.messages.filter(message => isRequest(message) && !isRar(message))
  t.same(base, [], 'no CER, DWR or DPR of the dead connection')
})

row('BASE-118', 'a RAR whose only peer is dead is reported as undeliverable, and the session stays', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  const result = asked(ocs)
  t.ok(isRar(await client.next()))
  client.socket.resetAndDestroy()
  t.equal(await result, 'undeliverable')
  t.equal(await ocs.a.openSessions(), 1)
  ocs.clock.skip(minute)
})

checkRecorded()
