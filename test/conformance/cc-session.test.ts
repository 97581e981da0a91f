/** CC-001 to 016: the session's state machine. */
import type { Test } from 'tap'
import type { ServiceInput } from '../../src/simulator/ccr.js'
import { aDpr, type Received } from '../support/raw-client.js'
import { failedAvps as failedIn, linesOf, MiB, type Subject, type Talk } from '../support/scenario.js'
import { vector } from '../support/vectors.js'
import { hour, row, second, startOcs, turns, type Ocs } from './harness.js'
import { anAvp, append, avpsOf, ofSession, without, withValue } from './octets.js'
import { failedAvps, isAnsweredAsSaid } from './reaction.js'
import { checkRecorded } from './recorder.js'

const code = (answer: Received): unknown => answer.value('Result-Code')

const ask = (ratingGroup = 10): ServiceInput => ({ ratingGroup, requested: {} })
const used = (mib: bigint, ratingGroup = 10): ServiceInput => ({
  ratingGroup,
  used: [{ octets: mib * MiB, reason: 3 }],
})
const usedAndAsk = (mib: bigint, ratingGroup = 10): ServiceInput => ({ ...used(mib, ratingGroup), requested: {} })

/** An open session of account A: 0.10 held. */
async function opened(t: Test, ocs: Ocs, originHost = 'pgw1.example.net'): Promise<Talk> {
  const talk = ocs.talk(await ocs.gateway(t, { originHost }))
  t.equal((await talk.initial([ask()])).resultCode, 2001)
  return talk
}

/** Puts the clock forward second by second until the sweeper has ended all sessions. */
async function untilSilent(ocs: Ocs, subject: Subject): Promise<void> {
  for (let s = 0; (await subject.openSessions()) > 0; s++) {
    if (s > 120) throw new Error('the session does not end')
    ocs.clock.skip(second)
    await turns()
  }
}

/** AVPs of the message, with those inside MSCCs: a shape to compare. */
const shape = (octets: Buffer): Set<number> =>
  new Set(avpsOf(octets).flatMap(avp => (avp.code === 456 ? [456, ...inside(avp.data)] : [avp.code])))
const inside = (data: Buffer): number[] => avpsOf(Buffer.concat([Buffer.alloc(20), data])).map(avp => avp.code)

row('CC-001', 'C01 without any one of its eight required AVPs is answered 5005, which names it', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  for (const [name, missing] of [
    ['Session-Id', 263],
    ['Origin-Host', 264],
    ['Origin-Realm', 296],
    ['Destination-Realm', 283],
    ['Auth-Application-Id', 258],
    ['Service-Context-Id', 461],
    ['CC-Request-Type', 416],
    ['CC-Request-Number', 415],
  ] as const) {
    const answer = await client.ask(without(vector('C01'), name))
    t.equal(code(answer), 5005, name)
    t.same(
      failedAvps(answer).map(avp => avp.code),
      [missing],
    )
  }
  await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'nothing is held')
})

row('CC-003', 'C01 opens a session: an answer of the shape of C02, and what it grants is held', async t => {
  const ocs = await startOcs(t)
  const answer = await (await ocs.peer(t)).ask(vector('C01'))
  t.equal(code(answer), 2001)
  const has = shape(answer.octets)
  // Thresholds, holding times and triggers are the catalog's.
  const must = [...shape(vector('C02'))].filter(each => ![869, 871, 1264].includes(each))
  t.same(
    must.filter(each => !has.has(each)),
    [],
    'all that C02 has',
  )
  t.equal(answer.values('Multiple-Services-Credit-Control').length, 2)
  t.equal(await ocs.a.openSessions(), 1)
  await ocs.a.is(t, { bal: '10.00', res: '0.20' }, '10 MiB of group 10, 5 MB of group 20')
})

row(
  'CC-004',
  'a CCR-I of a stranger, of an empty account and for what is denied leave no session and no hold',
  async t => {
    const ocs = await startOcs(t)
    const empty = await ocs.account(t, '447700900124', { money: '0.00' })
    const gateway = await ocs.gateway(t)
    const stranger = await ocs.talk(gateway).initial([ask()], { subscriptionIds: [['e164', '447700900199']] })
    t.equal(stranger.resultCode, 5030)
    const poor = await ocs.talk(gateway).initial([ask()], { subscriptionIds: [empty.id] })
    t.equal(poor.resultCode, 4012)
    const denied = ocs.talk(gateway)
    t.equal((await denied.initial([ask(40)])).resultCode, 4010)
    for (const subject of [empty, ocs.a]) {
      t.equal(await subject.openSessions(), 0)
      await subject.is(t, { res: '0.00' }, 'nothing is held')
    }
    t.equal((await denied.update(1, [ask()])).resultCode, 5002, 'there is none to go on with')
  },
)

row('CC-005', 'C03 debits what was used, holds anew and starts Tcc again', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  const expiry = async (): Promise<number> => (await ocs.a.sessions())[0]!.until
  const before = await expiry()
  ocs.clock.skip(20 * second)
  t.equal(code(await client.ask(vector('C03'))), 2001)
  await ocs.a.is(t, { bal: '9.90', res: '0.20' }, '10 MiB of group 10 at 0.01')
  t.ok((await expiry()) >= before + 20 * second, 'Tcc runs from now')
  t.equal(await ocs.a.openSessions(), 1)
})

row(
  'CC-006',
  'a subscriber who is barred in mid-session: what was used is debited, 4010, and the session is gone',
  async t => {
    const ocs = await startOcs(t)
    const talk = await opened(t, ocs)
    await ocs.a.setStatus('suspended')
    const answer = await talk.update(1, [usedAndAsk(3n)])
    t.equal(answer.resultCode, 4010)
    await ocs.a.is(t, { bal: '9.97', res: '0.00' }, '3 MiB, and nothing held')
    t.equal(await ocs.a.openSessions(), 0)
  },
)

row(
  'CC-007',
  'C06 debits what was used, gives back what was held and ends the session, with an answer like C07',
  async t => {
    const ocs = await startOcs(t)
    const client = await ocs.peer(t)
    await client.ask(vector('C01'))
    const answer = await client.ask(vector('C06'))
    t.equal(code(answer), 2001)
    const has = shape(answer.octets)
    t.same(
      [...shape(vector('C07'))].filter(each => !has.has(each)),
      [],
      'all that C07 has',
    )
    await ocs.a.is(t, { bal: '9.99', res: '0.00' }, '123,456 octets are one step')
    t.equal(await ocs.a.openSessions(), 0)
  },
)

row('CC-007', 'a CCR-T that is answered with an error ends the session all the same', async t => {
  const ocs = await startOcs(t)
  const talk = await opened(t, ocs)
  await ocs.a.setStatus('suspended')
  const answer = await talk.terminate(1, [used(2n)])
  t.ok([2001, 4010].includes(answer.resultCode), `${answer.resultCode}`)
  await ocs.a.is(t, { bal: '9.98', res: '0.00' }, 'debited and released')
  t.equal(await ocs.a.openSessions(), 0)
})

row(
  'CC-008',
  'a session that is silent for Tcc is over: its hold goes back, and nothing unreported is debited',
  async t => {
    const ocs = await startOcs(t)
    const talk = await opened(t, ocs)
    await ocs.a.is(t, { res: '0.10' }, 'open')
    ocs.clock.skip(2 * hour + second) // twice the Validity-Time of one hour
    await untilSilent(ocs, ocs.a)
    await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'released')
    const again = ocs.talk(await ocs.gateway(t), { sessionId: talk.id })
    t.equal((await again.update(1, [ask()])).resultCode, 5002, 'a later update finds no session')
  },
)

row('CC-009', 'with a Validity-Time of 600 s a session lives at 1190 s, and is gone at 1210 s', async t => {
  const ocs = await startOcs(t, { account: { offer: 'ten-minutes' } })
  const talk = ocs.talk(await ocs.gateway(t))
  t.match(linesOf(await talk.initial([ask()])), [{ validity: 600 }])
  ocs.clock.skip(1180 * second)
  for (let s = 0; s < 9; s++) {
    ocs.clock.skip(second)
    t.equal(await ocs.a.openSessions(), 1)
  }
  await ocs.a.is(t, { res: '0.10' }, 'at 1190 s')
  ocs.clock.skip(20 * second)
  await untilSilent(ocs, ocs.a)
  await ocs.a.is(t, { res: '0.00' }, 'gone')
})

row('CC-010', 'CCR-U and CCR-T of a Session-Id that nobody knows are answered 5002', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  for (const id of ['C03', 'C06']) {
    const answer = await client.ask(ofSession(vector(id), 7))
    t.equal(code(answer), 5002, id)
    t.equal(answer.value('Session-Id'), 'pgw1.example.net;1768478400;7;gy')
  }
  await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'nothing is charged')
})

row('CC-011', 'a CCR-T after Tcc is answered 5002, and its usage is charged once', async t => {
  const ocs = await startOcs(t)
  const { id } = await opened(t, ocs)
  ocs.clock.skip(2 * hour + second)
  await untilSilent(ocs, ocs.a)
  const talk = ocs.talk(await ocs.gateway(t), { sessionId: id })
  for (const copy of ['first', 'again']) {
    t.equal((await talk.terminate(1, [used(2n)])).resultCode, 5002, copy)
    await ocs.a.is(t, { bal: '9.98', res: '0.00' }, copy)
  }
})

row('CC-011', 'a peer with `lateUsage: record` has the usage in the ledger, and it costs nothing', async t => {
  const ocs = await startOcs(t)
  const { id } = await opened(t, ocs, 'record1.example.net')
  ocs.clock.skip(2 * hour + second)
  await untilSilent(ocs, ocs.a)
  const before = (await ocs.a.entries()).length
  const talk = ocs.talk(await ocs.gateway(t, { originHost: 'record1.example.net' }), { sessionId: id })
  t.equal((await talk.terminate(1, [used(2n)])).resultCode, 5002)
  await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'nothing is charged')
  const entries = (await ocs.a.entries()).slice(before)
  t.equal(entries.length, 1)
  t.match(JSON.stringify(entries), new RegExp(String(2n * MiB)), 'the ledger has what was used')
})

row('CC-011', 'usage of a session that was never seen is noted as unrated, and not charged', async t => {
  const ocs = await startOcs(t)
  const talk = ocs.talk(await ocs.gateway(t))
  t.equal((await talk.terminate(1, [used(2n)])).resultCode, 5002)
  await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'nothing is charged')
  t.match((await ocs.a.entries()).at(-1), { outcome: 'unknown', posts: [], lines: [{ unrated: Number(2n * MiB) }] })
})

row('CC-012', 'a session goes on over another connection, and is the same', async t => {
  const ocs = await startOcs(t)
  const direct = await ocs.peer(t)
  t.equal(code(await direct.ask(vector('C01'))), 2001)
  await direct.ask(aDpr(0))
  direct.socket.end()
  await direct.closed
  const relay = await ocs.peer(t, vector('B05'))
  t.equal(code(await relay.ask(vector('C03'))), 2001)
  await ocs.a.is(t, { bal: '9.90', res: '0.20' }, 'one session: its hold was used')
  t.equal((await ocs.a.sessions()).length, 1)
})

row('CC-013', 'M20, and CC-Request-Type 0 and 5, are answered 5004', async t => {
  const client = await (await startOcs(t)).peer(t)
  await isAnsweredAsSaid(t, client, 'M20')
  for (const type of [0, 5]) {
    const answer = await client.ask(withValue(vector('C01'), 'CC-Request-Type', type))
    t.equal(code(answer), 5004, `${type}`)
    t.equal(failedAvps(answer)[0]?.data.readUInt32BE(0), type)
  }
})

row('CC-014', 'a CCR with CC-Sub-Session-Id is answered 5004, with it in Failed-AVP', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const sub = anAvp('CC-Sub-Session-Id', 5n)
  const answer = await client.ask(append(vector('C01'), sub))
  t.equal(code(answer), 5004)
  t.ok(failedAvps(answer)[0]!.octets.equals(sub))
  t.equal(await ocs.a.openSessions(), 0)
})

row('CC-015', 'a rating group that was granted octets is never granted seconds, whatever is asked', async t => {
  const ocs = await startOcs(t)
  const talk = await opened(t, ocs)
  const seconds = { ratingGroup: 10, used: [{ octets: MiB, reason: 3 }], requested: { seconds: 60 } }
  const answer = await talk.update(1, [seconds])
  const [line] = linesOf(answer)
  t.equal(line?.seconds, undefined)
  t.ok(line?.octets !== undefined || line?.code === 5031, 'octets, or a refusal of the line')
  if (line?.code === 5031) t.ok(failedIn(answer).length > 0)
})

row('CC-016', 'of an account that may have two sessions the third is answered 5006, until one ends', async t => {
  const ocs = await startOcs(t, { account: { offer: 'two-sessions' } })
  const gateway = await ocs.gateway(t)
  const talks = [ocs.talk(gateway), ocs.talk(gateway), ocs.talk(gateway)]
  const codes = []
  for (const talk of talks) codes.push((await talk.initial([ask()])).resultCode)
  t.same(codes, [2001, 2001, 5006])
  await ocs.a.is(t, { res: '0.20' }, 'of two')
  t.equal((await talks[0]!.terminate(1)).resultCode, 2001)
  t.equal((await ocs.talk(gateway).initial([ask()])).resultCode, 2001, 'then there is room')
})

checkRecorded()
