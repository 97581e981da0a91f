/** CC-020 to 031: request numbers, retransmission, failover, and what clients hear while we cannot serve. */
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { loadConfig } from '../../src/config/load.js'
import { ccrAvps, type CcrInput, type ServiceInput } from '../../src/simulator/ccr.js'
import type { Message } from '../../src/simulator/message.js'
import { aCer, type Received } from '../support/raw-client.js'
import { linesOf, MiB, Talk } from '../support/scenario.js'
import { vector } from '../support/vectors.js'
import { msisdn, row, second, startOcs, turns, type Ocs } from './harness.js'
import { ofSession, withHeader, withValue } from './octets.js'
import { checkRecorded } from './recorder.js'

const code = (answer: Received): unknown => answer.value('Result-Code')

/** Everything of an answer but its identifiers. */
const body = ({ octets }: Received | Message): string => octets.subarray(20).toString('hex')

const ask = (ratingGroup = 10): ServiceInput => ({ ratingGroup, requested: {} })
const usedAndAsk = (mib: bigint): ServiceInput => ({
  ratingGroup: 10,
  requested: {},
  used: [{ octets: mib * MiB, reason: 3 }],
})

/** C01 and what follows, as one of another host than pgw1. */
const fromHost = (octets: Buffer, host: string): Buffer => withValue(octets, 'Origin-Host', host)

async function opened(t: Test, ocs: Ocs, originHost = 'pgw1.example.net'): Promise<Talk> {
  const talk = ocs.talk(await ocs.gateway(t, { originHost }))
  t.equal((await talk.initial([ask()])).resultCode, 2001)
  return talk
}

row('CC-020', 'C03 again with another End-to-End identifier and the T bit: the stored answer, one debit', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  const first = await client.ask(vector('C03'))
  const again = await client.ask(withHeader(vector('C03'), { flags: 0xd0, endToEnd: 77, hopByHop: 77 }))
  t.equal(code(first), 2001)
  t.equal(body(again), body(first))
  t.equal(again.header.endToEnd, 77, 'to the copy')
  await ocs.a.is(t, { bal: '9.90', res: '0.20' }, 'debited once')
  t.equal(await ocs.metric('ocs_duplicates_total'), 1)
})

row('CC-021', 'number 5 after number 0 is processed', async t => {
  const ocs = await startOcs(t)
  const talk = await opened(t, ocs)
  t.match(linesOf(await talk.update(5, [usedAndAsk(4n)])), [{ ratingGroup: 10, code: 2001, octets: 10n * MiB }])
  await ocs.a.is(t, { bal: '9.96', res: '0.10' }, 'debited')
})

row(
  'CC-022',
  'number 3, then number 2: both are debited, the second gets the present grant, and one grant is held',
  async t => {
    const ocs = await startOcs(t)
    const talk = await opened(t, ocs)
    const third = await talk.update(3, [usedAndAsk(4n)])
    t.equal(third.resultCode, 2001)
    const second = await talk.update(2, [usedAndAsk(3n)])
    t.equal(second.resultCode, 2001)
    t.equal(linesOf(second)[0]?.octets, linesOf(third)[0]?.octets, 'what is granted now')
    await ocs.a.is(t, { bal: '9.93', res: '0.10' }, '7 MiB debited, 10 MiB held')
  },
)

row('CC-023', 'number 1 with other usage: the first answer, no debit, and it is counted and said', async t => {
  const ocs = await startOcs(t)
  const talk = await opened(t, ocs)
  const first = await talk.update(1, [usedAndAsk(4n)])
  const other = await talk.update(1, [usedAndAsk(5n)])
  t.equal(body(other), body(first))
  await ocs.a.is(t, { bal: '9.96', res: '0.10' }, 'as of the first')
  t.equal(await ocs.metric('ocs_duplicate_mismatch_total'), 1)
})

row('CC-023', 'to a strict peer the same is 5012, and no debit', async t => {
  const ocs = await startOcs(t)
  const talk = await opened(t, ocs, 'strict1.example.net')
  const first = await talk.update(1, [usedAndAsk(4n)])
  t.equal((await talk.update(1, [usedAndAsk(5n)])).resultCode, 5012)
  await ocs.a.is(t, { bal: '9.96', res: '0.10' }, 'as of the first')
  t.equal(body(await talk.update(1, [usedAndAsk(4n)])), body(first), 'the same again is answered')
})

row('CC-024', 'C01 twice opens one session and holds once', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const first = await client.ask(vector('C01'))
  const again = await client.ask(withHeader(vector('C01'), { flags: 0xd0, hopByHop: 77, endToEnd: 77 }))
  t.equal(code(first), 2001)
  t.equal(body(again), body(first))
  t.equal((await ocs.a.sessions()).length, 1)
  await ocs.a.is(t, { bal: '10.00', res: '0.20' }, 'held once')
})

row('CC-025', 'two copies at the same instant, over two connections: two equal answers, one debit', async t => {
  const ocs = await startOcs(t)
  const direct = await ocs.peer(t)
  const relay = await ocs.peer(t, vector('B05'))
  await direct.ask(vector('C01'))
  direct.send(vector('C03'))
  relay.send(vector('C08'))
  const answers = [await direct.next(), await relay.next()]
  t.same(answers.map(code), [2001, 2001])
  t.equal(body(answers[1]!), body(answers[0]!))
  const { money, held } = (await ocs.accounts.show(msisdn))!
  t.same([money, held], [9_900_000n, 200_000n])
  // And within one segment.
  direct.send(Buffer.concat([ofSession(vector('C01'), 2), withHeader(ofSession(vector('C01'), 2), { hopByHop: 5 })]))
  const both = await direct.take(2)
  t.equal(body(both[1]!), body(both[0]!))
  t.equal((await ocs.a.sessions()).length, 2)
})

row('CC-026', 'a copy with the T bit to another node gets the answer that the first node gave', async t => {
  const ocs = await startOcs(t)
  const second = await ocs.another({ identity: 'ocs2.charging.example.net' })
  const gateway = await ocs.gateway(t, { daemons: [ocs.daemon, second] })
  const talk = ocs.talk(gateway)
  await talk.initial([ask()])
  const avps = ccrAvps(gateway, talk.input('update', 1, [usedAndAsk(10n)]))
  const endToEnd = gateway.nextEndToEnd()
  const first = await talk.askAvps(avps, { endToEnd })
  const again = await talk.over(gateway.connections[1]!).askAvps(avps, { endToEnd, retransmitted: true })
  t.equal(first.resultCode, 2001)
  t.equal(again.text('Origin-Host'), 'ocs2.charging.example.net')
  const rest = ({ list }: Message): unknown[] => list.filter(({ name }) => name !== 'Origin-Host')
  t.same(rest(again), rest(first))
  await ocs.a.is(t, { bal: '9.90', res: '0.10' }, 'debited once')
})

row('CC-027', 'a CCA-I says whether a session may move to another server', async t => {
  for (const [sessionFailover, value] of [
    [true, 1],
    [false, 0],
  ] as const) {
    const ocs = await startOcs(t, { charging: { sessionFailover } })
    const answer = await (await ocs.peer(t)).ask(vector('C01'))
    t.same(answer.values('CC-Session-Failover'), [value])
  }
})

row('CC-028', 'a CCA-I says what to do when no server answers, as configured', async t => {
  for (const [failureHandling, value] of [
    ['terminate', 0],
    ['continue', 1],
    ['retry-and-terminate', 2],
  ] as const) {
    const ocs = await startOcs(t, { charging: { failureHandling } })
    const answer = await (await ocs.peer(t)).ask(vector('C01'))
    t.same(answer.values('Credit-Control-Failure-Handling'), [value], failureHandling)
  }
  // The service of the vectors' SMS says it for itself, whatever the daemon's is.
  const ocs = await startOcs(t, { account: { offer: 'gpp-messages' }, charging: { failureHandling: 'continue' } })
  const talk = ocs.talk(await ocs.gateway(t), { serviceContextId: '32274@3gpp.org' })
  const answer = await talk.initial([{ serviceIdentifiers: [1], requested: {} }])
  t.equal(answer.number('Credit-Control-Failure-Handling'), 2, 'per service')
})

/** The store stands still until the end of the test, or until `thaw`. */
function freeze(t: Test, { redis }: Ocs): { thaw: () => void } {
  const thaw = (): void => void redis.process.kill('SIGCONT')
  redis.process.kill('SIGSTOP')
  t.teardown(thaw)
  return { thaw }
}

/** Puts the clock forward until the usage is booked: by the spool, or when the store gets to it. */
async function untilBooked(ocs: Ocs): Promise<void> {
  for (let s = 0; (await ocs.accounts.show(msisdn))!.money === 10_000_000n; s++) {
    if (s > 120) throw new Error('the usage is not booked')
    ocs.clock.skip(second)
    await turns()
  }
}

row(
  'CC-029',
  'while the store stands still a request is answered when the hold budget is over, which is below Tx',
  async t => {
    const ocs = await startOcs(t, { charging: { holdBudgetMs: second } })
    const talk = ocs.talk(await ocs.gateway(t))
    const { thaw } = freeze(t, ocs)
    const outcome: { answer?: Message } = {}
    void talk.initial([ask()]).then(answer => (outcome.answer = answer))
    const passed = await ocs.waitUntil('it is answered', () => outcome.answer !== undefined)
    t.equal(outcome.answer!.resultCode, 3004)
    t.ok(passed > 0.5 * second && passed < 2 * second, 'after about that second')
    thaw()
    const outOfTheBox = loadConfig(fileURLToPath(new URL('../../config/ocs.yaml', import.meta.url)))
    t.ok('config' in outOfTheBox && outOfTheBox.config.charging.holdBudgetMs < 10 * second, 'Tx is ten seconds')
  },
)

row(
  'CC-029',
  'a request that outlasts the hold budget is not processed blindly: nothing is opened or held',
  async t => {
    const ocs = await startOcs(t, { charging: { holdBudgetMs: second } })
    const talk = ocs.talk(await ocs.gateway(t))
    const { thaw } = freeze(t, ocs)
    t.equal((await talk.initial([ask()])).resultCode, 3004)
    thaw()
    await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'when the store gets to it')
    t.equal(await ocs.a.openSessions(), 0)
  },
)

row('CC-030', 'what is shed unread is answered 3004, and changes nothing', async t => {
  const probe = await startOcs(t)
  const peers = probe.config.diameter.peers.map(peer => ({ ...peer, limits: { ...peer.limits, ratePerSecond: 1 } }))
  const ocs = await startOcs(t, { diameter: { peers } })
  const client = await ocs.peer(t)
  const count = 20
  client.send(...Array.from({ length: count }, (_, i) => ofSession(vector('C01'), i)))
  await ocs.waitUntil('all are answered', () => client.unread === count)
  const answers = await client.take(count)
  const served = answers.filter(answer => code(answer) === 2001).length
  const shed = answers.filter(answer => code(answer) === 3004)
  t.ok(served > 0 && shed.length > 0, `${served} served, ${shed.length} shed`)
  t.equal(served + shed.length, count)
  t.ok(shed.every(({ header }) => (header.flags & 0x20) !== 0))
  t.equal(await ocs.a.openSessions(), served)
  t.equal((await ocs.accounts.show(msisdn))!.held, BigInt(served) * 200_000n, 'held for those that were served')
})

row('CC-030', 'what was read and answered 3004, and comes again, is debited once in all', async t => {
  const ocs = await startOcs(t, { charging: { holdBudgetMs: second } })
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  const { thaw } = freeze(t, ocs)
  const busy = await client.ask(vector('C03'))
  t.same([code(busy), busy.header.flags], [3004, 0x60])
  thaw()
  for (const copy of ['again', 'and again']) {
    const answer = await client.ask(vector('C08'))
    t.equal(code(answer), 2001, copy)
    await ocs.a.is(t, { bal: '9.90', res: '0.20' }, copy)
  }
})

row(
  'CC-031',
  'used units of a CCR-U and a CCR-T that the store did not take in time are booked afterwards, once',
  async t => {
    for (const type of ['update', 'terminate'] as const) {
      const ocs = await startOcs(t, { charging: { holdBudgetMs: second } })
      const talk = await opened(t, ocs)
      const { thaw } = freeze(t, ocs)
      const input: CcrInput = talk.input(type, 1, [usedAndAsk(10n)])
      t.equal((await talk.ask(input)).resultCode, 3004, type)
      thaw()
      await untilBooked(ocs)
      await ocs.a.is(t, { bal: '9.90' }, 'without a repeat')
      await talk.ask(input)
      await ocs.a.is(t, { bal: '9.90' }, 'and with one')
    }
  },
)

row('CC-031', 'a CCR-I meets 3004 and leaves nothing', async t => {
  const ocs = await startOcs(t, { charging: { holdBudgetMs: second } })
  const client = await ocs.peer(t)
  const { thaw } = freeze(t, ocs)
  t.equal(code(await client.ask(vector('C01'))), 3004)
  thaw()
  t.equal(code(await client.ask(ofSession(vector('C01'), 2))), 2001)
  t.equal((await ocs.a.sessions()).length, 1)
})

row(
  'CC-031',
  'a peer with `onOutage: silent` gets no answer to a CCR-U; a CCR-T has nothing to wait for and is answered; both are booked',
  async t => {
    const host = 'silent1.example.net'
    for (const id of ['C03', 'C06']) {
      const ocs = await startOcs(t, { charging: { holdBudgetMs: second } })
      const client = await ocs.peer(t, aCer({ originHost: host }))
      t.equal(code(await client.ask(fromHost(vector('C01'), host))), 2001)
      const { thaw } = freeze(t, ocs)
      client.send(fromHost(vector(id), host))
      for (let kept = 0; kept === 0;) kept = await ocs.metric('ocs_spool_entries')
      thaw()
      await untilBooked(ocs)
      // An Open5GS SMF never ends the subscriber's session when its CCR-T stays unanswered, whatever the answer says.
      if (id === 'C06') t.equal(code(await client.next()), 3004, 'C06: answered')
      t.equal(client.unread, 0, `${id}: nothing else`)
    }
  },
)

checkRecorded()
