/** BASE-070 to 083: whose a request is, what agents add to it, duplicates, state ids. */
import type { RawClient, Received } from '../support/raw-client.js'
import { vector } from '../support/vectors.js'
import { hour, minute, msisdn, ocsHost, row, startOcs, type Ocs } from './harness.js'
import { anAvp, append, avpsOf, ofSession, withHeader, without, withValue } from './octets.js'
import { failedAvps } from './reaction.js'
import { checkRecorded } from './recorder.js'

const code = (answer: Received): unknown => answer.value('Result-Code')

/** Everything of an answer but its Hop-by-Hop identifier. */
const content = ({ octets }: Received): string => withHeader(octets, { hopByHop: 0 }).toString('hex')

/** Leaves as a peer does that may come back. */
async function leave(client: RawClient): Promise<void> {
  await client.ask(vector('B09'))
  client.socket.end()
  await client.closed
}

const openSessions = async ({ a }: Ocs): Promise<number> => a.openSessions()

row('BASE-070', 'our host, no host in our realm, and neither, are ours; another host is 3002', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const noHost = without(vector('C01'), 'Destination-Host')
  const cases: [string, Buffer, number][] = [
    ['our host in our realm', vector('C01'), 2001],
    ['our host in another realm', withValue(vector('C01'), 'Destination-Realm', 'other.example'), 2001],
    ['no host, our realm', noHost, 2001],
    ['another host in our realm', withValue(vector('C01'), 'Destination-Host', 'ocs2.charging.example.net'), 3002],
    // A CCR without Destination-Realm is malformed (CC-001), and yet ours: it is not 3002 or 3003.
    ['neither', without(noHost, 'Destination-Realm'), 5005],
  ]
  for (const [i, [name, octets, expected]] of cases.entries())
    t.equal(code(await client.ask(ofSession(octets, i))), expected, name)
})

row('BASE-071', 'another realm without our host is answered 3003', async t => {
  const client = await (await startOcs(t)).peer(t)
  const realm = (name: string): Buffer =>
    withValue(without(vector('C01'), 'Destination-Host'), 'Destination-Realm', name)
  for (const name of ['other.example', 'example.net', 'x.charging.example.net']) {
    const answer = await client.ask(realm(name))
    t.same([code(answer), answer.header.flags], [3003, 0x60], name)
  }
})

row('BASE-072', 'our host without a realm is answered 5005 in a CCR, 3002 elsewhere', async t => {
  const client = await (await startOcs(t)).peer(t)
  const answer = await client.ask(without(vector('C01'), 'Destination-Realm'))
  t.equal(code(answer), 5005)
  t.same(
    failedAvps(answer).map(avp => avp.code),
    [283],
  )
  // ASR: a command that we send and do not serve.
  const asr = withHeader(without(vector('C14'), 'Destination-Realm'), { hopByHop: 7 })
  t.equal(code(await client.ask(withValue(asr, 'Destination-Host', ocsHost))), 3002)
})

row('BASE-073', 'C24 with our host in Route-Record is answered 3005', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t, vector('B05'))
  for (const host of [ocsHost, 'OCS1.charging.example.NET']) {
    const answer = await client.ask(append(vector('C24'), anAvp('Route-Record', host)))
    t.same([code(answer), answer.header.flags], [3005, 0x60], host)
  }
  await ocs.a.is(t, { res: '0.00' }, 'nothing is held')
})

row('BASE-074', 'C24: both Proxy-Info go back unchanged and in order', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t, vector('B05'))
  const proxies = (octets: Buffer): string[] =>
    avpsOf(octets)
      .filter(avp => avp.code === 284)
      .map(avp => avp.octets.toString('hex'))
  const success = await client.ask(vector('C24'))
  t.equal(code(success), 2001)
  t.equal(proxies(vector('C24')).length, 2)
  t.same(proxies(success.octets), proxies(vector('C24')))
  const refusal = await client.ask(withValue(ofSession(vector('C24'), 2), 'Service-Context-Id', '99999@example.org'))
  t.equal(code(refusal), 5031)
  t.same(proxies(refusal.octets), proxies(vector('C24')), 'also in a refusal')
})

row('BASE-075', 'C24: its answer has no Route-Record', async t => {
  const ocs = await startOcs(t)
  const answer = await (await ocs.peer(t, vector('B05'))).ask(vector('C24'))
  t.equal(code(answer), 2001)
  t.same(answer.values('Route-Record'), [])
})

row('BASE-076', 'C03 twice, the second over another connection: one debit, one answer', async t => {
  const ocs = await startOcs(t)
  const direct = await ocs.peer(t)
  await direct.ask(vector('C01'))
  const first = await direct.ask(vector('C03'))
  t.equal(code(first), 2001)
  const charged = { bal: '9.90', res: '0.20' } // 10 MiB used; 10 MiB and 5 MB held
  await ocs.a.is(t, charged, 'after the first')
  const relay = await ocs.peer(t, vector('B05'))
  const again = await relay.ask(withHeader(vector('C03'), { hopByHop: 77 }))
  t.equal(content(again), content(first))
  await ocs.a.is(t, charged, 'after the second')
})

row('BASE-077', 'C08, with the T bit, before C03: one debit', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  const [early, late] = [await client.ask(vector('C08')), await client.ask(vector('C03'))]
  t.same([code(early), code(late)], [2001, 2001])
  t.equal(content(late), content(early))
  await ocs.a.is(t, { bal: '9.90', res: '0.20' }, 'as of one')
})

row('BASE-078', 'C08 alone is processed as new', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  await client.ask(vector('C01'))
  t.equal(code(await client.ask(vector('C08'))), 2001)
  await ocs.a.is(t, { bal: '9.90', res: '0.20' }, 'charged')
  const initial = withHeader(ofSession(vector('C01'), 2), { flags: 0xd0 })
  t.equal(code(await client.ask(initial)), 2001, 'also a CCR-I')
})

row(
  'BASE-079',
  'a repeated request gets its answer after 5 minutes, and is no second debit 20 hours after the end',
  async t => {
    const ocs = await startOcs(t)
    let client = await ocs.peer(t)
    await client.ask(vector('C01'))
    const update = await client.ask(vector('C03'))
    await leave(client)
    await ocs.pass(5 * minute)
    client = await ocs.peer(t)
    t.equal(content(await client.ask(vector('C08'))), content(update), 'the update, after 5 minutes')
    const end = await client.ask(vector('C06'))
    t.equal(code(end), 2001)
    const account = (await ocs.accounts.show(msisdn))!
    await leave(client)
    for (const [passed, name] of [
      [5 * minute, 'after 5 minutes'],
      [20 * hour, 'after 20 hours'],
    ] as const) {
      await ocs.pass(passed)
      client = await ocs.peer(t)
      const again = await client.ask(withHeader(vector('C06'), { flags: 0xd0 }))
      if (passed < hour) t.equal(content(again), content(end), `the end, ${name}`)
      await client.ask(withHeader(vector('C03'), { flags: 0xd0 }))
      const { money, held } = (await ocs.accounts.show(msisdn))!
      t.same([money, held], [account.money, account.held], `nothing is charged ${name}`)
      await leave(client)
    }
  },
)

row('BASE-080', 'Origin-State-Id is the same after a restart, and larger when the store was lost', async t => {
  const ocs = await startOcs(t)
  const idOf = async (): Promise<number> => {
    const client = await ocs.open(t)
    const id = (await client.ask(vector('B01'))).value('Origin-State-Id') as number
    t.equal((await client.ask(vector('B07'))).value('Origin-State-Id'), id, 'a DWA says the same')
    return id
  }
  const first = await idOf()
  t.ok(first > 0)
  ocs.clock.skip(minute)
  await ocs.restart()
  t.equal(await idOf(), first)
  ocs.clock.skip(minute)
  await ocs.restart({ lost: true })
  t.ok((await idOf()) > first)
})

/** B01 with another Origin-State-Id, or none. */
const cer = (id: number | undefined): Buffer =>
  id === undefined ? without(vector('B01'), 'Origin-State-Id') : withValue(vector('B01'), 'Origin-State-Id', id)

row(
  'BASE-081',
  'a gateway that comes back with a larger Origin-State-Id has lost its sessions: they are released',
  async t => {
    const ocs = await startOcs(t)
    const client = await ocs.peer(t, cer(100))
    await client.ask(vector('C01'))
    await client.ask(vector('C03'))
    await ocs.a.is(t, { bal: '9.90', res: '0.20' }, 'open')
    await leave(client)
    const again = await ocs.peer(t, cer(101))
    while ((await openSessions(ocs)) > 0) await again.nothingElse()
    await ocs.a.is(t, { bal: '9.90', res: '0.00' }, 'what was reported stays charged')
  },
)

row('BASE-082', 'with the same Origin-State-Id, with 0 or without, sessions stay', async t => {
  for (const ids of [
    [100, 100],
    [100, 99],
    [100, 0],
    [0, 101],
    [undefined, undefined],
    [100, undefined],
  ] as const) {
    const ocs = await startOcs(t)
    const client = await ocs.peer(t, cer(ids[0]))
    await client.ask(vector('C01'))
    await leave(client)
    const again = await ocs.peer(t, cer(ids[1]))
    // A release would have come by the time that a request of another session is served.
    await again.ask(ofSession(vector('C01'), 2))
    await again.ask(ofSession(vector('C01'), 3))
    t.equal(await openSessions(ocs), 3, `${String(ids[0])}, then ${String(ids[1])}`)
    t.equal(code(await again.ask(vector('C03'))), 2001, 'and goes on')
  }
})

row('BASE-083', 'Session-Ids that differ in case only are two; one may have 512 octets, and no more', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const session = (id: string, n: number): Buffer =>
    withHeader(withValue(vector('C01'), 'Session-Id', id), { hopByHop: n, endToEnd: n })
  const ids = ['pgw1.example.net;1;a', 'pgw1.example.net;1;A', `pgw1.example.net;${'1'.repeat(495)}`]
  for (const [i, id] of ids.entries()) {
    const answer = await client.ask(session(id, i + 1))
    t.same([code(answer), answer.value('Session-Id')], [2001, id])
  }
  t.equal(await openSessions(ocs), ids.length)
  t.equal(code(await client.ask(session(`${ids[2]!}1`, 9))), 5004, '513 octets')
})

checkRecorded()
