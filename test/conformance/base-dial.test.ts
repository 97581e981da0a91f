/** BASE-101, 105, 107: peers that ocsd calls. */
import { aCea, aDpr, RawListener, type RawClient } from '../support/raw-client.js'
import { vector } from '../support/vectors.js'
import { hour, minute, row, second, startOcs } from './harness.js'
import { withValue } from './octets.js'
import { checkRecorded } from './recorder.js'

/** Answers the CER of a call. */
async function welcome(client: RawClient, originHost: string): Promise<void> {
  client.send(aCea(await client.next(), { originHost }))
  await client.nothingElse()
}

row(
  'BASE-101',
  'both call at once: whoever is greater closes the call it made, in whatever case it is written',
  async t => {
    const cases: [string, string, 'its call' | 'our call'][] = [
      ['dra1.example.net', 'dra1.example.net', 'its call'], // ocs1 is greater, and keeps what came
      ['pgw1.example.net', 'PGW1.EXAMPLE.NET', 'our call'], // pgw1 is greater; octet by octet, in capitals, it would not be
    ]
    for (const [host, written, survives] of cases) {
      const listener = await RawListener.open(t)
      const ocs = await startOcs(t, { called: { [host]: listener.port } })
      const ours = await listener.next()
      const cer = await ours.next()
      const theirs = await ocs.open(t)
      theirs.send(withValue(vector(host.startsWith('dra') ? 'B05' : 'B01'), 'Origin-Host', written))
      if (survives === 'its call') {
        t.equal((await theirs.next()).value('Result-Code'), 2001, `${host}: its CER is welcome`)
        await ours.closed
        t.ok(await theirs.nothingElse())
      } else {
        ours.send(aCea(cer, { originHost: written }))
        await theirs.closed
        t.notOk(theirs.unread > 0 && (await theirs.next()).value('Result-Code') === 2001, `${host}: its CER is not`)
        t.equal((await ours.ask(vector('C01'))).value('Result-Code'), 2001, 'and our call serves')
      }
    }
  },
)

row(
  'BASE-105',
  'after DPR REBOOTING the peer is called again, after BUSY and DO_NOT_WANT_TO_TALK_TO_YOU it is not',
  async t => {
    for (const cause of [0, 1, 2]) {
      const listener = await RawListener.open(t)
      const ocs = await startOcs(t, { called: { 'pgw1.example.net': listener.port } })
      const client = await listener.next()
      await welcome(client, 'pgw1.example.net')
      t.equal((await client.ask(aDpr(cause))).value('Result-Code'), 2001)
      client.socket.end()
      await client.closed
      if (cause === 0) {
        await ocs.waitUntil('it is called', () => listener.calls === 2)
      } else {
        ocs.clock.skip(hour)
        await ocs.open(t) // time for a call to arrive
      }
      t.equal(listener.calls, cause === 0 ? 2 : 1, `Disconnect-Cause ${cause}`)
    }
  },
)

row('BASE-107', 'a peer that is not there is called every Tc, 30 seconds and a little jitter', async t => {
  const listener = await RawListener.open(t)
  const ocs = await startOcs(t, { called: { 'pgw1.example.net': listener.port } })
  for (let call = 1; call <= 10; call++) {
    const client = await listener.next()
    t.equal(listener.calls, call)
    client.socket.destroy()
    await client.closed
    const passed = await ocs.waitUntil('it is called again', () => listener.calls > call)
    t.ok(passed > 26 * second && passed < 34 * second, `Tc ${call} is 30 s, a tenth more or less`)
  }
})

row('BASE-107', 'a peer whose connection is open is not called', async t => {
  const listener = await RawListener.open(t)
  const ocs = await startOcs(t, { called: { 'pgw1.example.net': listener.port } })
  const client = await listener.next()
  await welcome(client, 'pgw1.example.net')
  for (let i = 0; i < 5; i++) {
    ocs.clock.skip(20 * second)
    await client.nothingElse()
  }
  t.equal(listener.calls, 1)
  ocs.clock.skip(minute)
})

checkRecorded()
