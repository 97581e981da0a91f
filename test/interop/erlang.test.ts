/**
 * Erlang/OTP's diameter application as a Gy client: another stack, with another decoder and another dictionary, gets its
 * quota, and the subscriber pays for what it used.
 */
import t from 'tap'
import { FLAG, readHeader } from '../../src/diameter/header.js'
import { startTestDaemon } from '../support/daemon.js'
import { ErlangClient, type ErlangAvps, type ErlangLine } from '../support/erlang-client.js'
import { SkippingClock } from '../support/skipping-clock.js'
import { toolOrNotRun } from '../support/tools.js'
import { listenIn } from '../support/wire.js'

const subscriber = '491701000001'
const megabyte = 1_000_000
/** Longer than Twinit and its jitter. */
const idleMs = 35_000

const of = (msisdn: string): ErlangAvps => ({
  'Subscription-Id': [{ 'Subscription-Id-Type': 0, 'Subscription-Id-Data': msisdn }],
})
const ask: ErlangAvps = { 'Requested-Service-Unit': [{}] }
const used = (octets: number): ErlangAvps => ({ 'Used-Service-Unit': [{ 'CC-Total-Octets': [octets] }] })
const mscc = (ratingGroup: number, ...parts: ErlangAvps[]): ErlangAvps => ({
  'Rating-Group': [ratingGroup],
  ...(Object.assign({}, ...parts) as ErlangAvps),
})

t.test('an Erlang client is granted, charged, watched, and says good-bye', async t => {
  const escript = toolOrNotRun(t, 'escript', 'erlang-base and erlang-diameter')
  if (escript === undefined) return
  const clock = new SkippingClock()
  const daemon = await startTestDaemon(t, { clock })
  const wire = await listenIn(t, daemon.port)
  const opening = await daemon.money(subscriber)

  const client = ErlangClient.start(t, escript, { port: wire.port })
  const up = await client.next()
  const request = (session: string, type: number, number: number, services: ErlangAvps[], more: ErlangAvps = {}) =>
    client.call({
      ...{ 'Session-Id': `${client.originHost};1;${session}`, 'Auth-Application-Id': 4 },
      ...{ 'Service-Context-Id': '32251@3gpp.org', 'CC-Request-Type': type, 'CC-Request-Number': number },
      'Multiple-Services-Credit-Control': services,
      ...more,
    })
  const both = [mscc(10, ask), mscc(30, ask)]
  const initial = await request('1', 1, 0, both, { ...of(subscriber), 'Multiple-Services-Indicator': [1] })
  const first = await request('1', 2, 1, [mscc(10, ask, used(4 * megabyte))])
  const second = await request('1', 2, 2, [mscc(10, ask, used(10 * megabyte))])
  const end = [mscc(10, used(150_000)), mscc(30, used(7))]
  const last = await request('1', 3, 3, end, { 'Termination-Cause': [1] })
  const unknown = await request('2', 1, 0, [mscc(10, ask)], of('15550000000'))
  // The daemon has heard nothing for long: it sends a DWR of its own.
  clock.skip(idleMs)
  const watched = await client.tell('watched')
  const stopped = await client.tell('stop')
  t.equal(await client.ended, 0, 'the client is content')
  t.match(up, { event: 'up', peer: 'ocs.localdomain' }, 'the CEA is accepted')
  for (const answer of [initial, first, second, last, unknown]) {
    t.match(answer, { command: 'CCA', errors: [], 'Origin-Host': 'ocs.localdomain', 'Origin-Realm': 'localdomain' })
  }
  const granted = {
    'Rating-Group': [10],
    'Result-Code': [2001],
    'Granted-Service-Unit': [{ 'CC-Total-Octets': [10_000_000] }],
    'Volume-Quota-Threshold': [2_000_000],
    'Validity-Time': [3600],
  }
  t.strictSame(
    [initial, first, second, last, unknown].map((answer: ErlangLine) => [
      answer['Result-Code'],
      answer['CC-Request-Type'],
      answer['CC-Request-Number'],
    ]),
    [
      [2001, 1, 0],
      [2001, 2, 1],
      [2001, 2, 2],
      [2001, 3, 3],
      [5030, 1, 0],
    ],
  )
  t.strictSame(
    initial['Multiple-Services-Credit-Control'],
    [
      granted,
      {
        'Rating-Group': [30],
        'Result-Code': [2001],
        'Granted-Service-Unit': [{ 'CC-Total-Octets': [100_000_000] }],
        'Validity-Time': [3600],
      },
    ],
    'paid and free services are granted',
  )
  t.strictSame(first['Multiple-Services-Credit-Control'], [granted])
  t.strictSame(second['Multiple-Services-Credit-Control'], [granted])
  t.strictSame(last['Multiple-Services-Credit-Control'], [
    { 'Rating-Group': [10], 'Result-Code': [2001] },
    { 'Rating-Group': [30], 'Result-Code': [2001] },
  ])
  t.ok(Array.isArray(unknown['Error-Message']), 'a refusal says why')
  t.match([watched, stopped], [{ event: 'watched' }, { event: 'stopped' }])
  t.strictSame(client.asked, [], 'nothing was asked of it')

  const closing = await daemon.money(subscriber)
  // 4 MB + 10 MB + 150 kB are 142 started steps of 100 kB, at 0.001 each.
  t.strictSame([opening.money - closing.money, closing.held], [142_000n, 0n], 'what was used is paid, nothing is held')

  await wire.closed()
  const kinds = wire.messages.map(({ from, octets }) => {
    const { commandCode, flags } = readHeader(octets)
    return `${from} ${flags & FLAG.REQUEST ? 'asks' : 'answers'} ${commandCode}`
  })
  for (const watchdog of ['client asks 280', 'server answers 280', 'server asks 280', 'client answers 280']) {
    t.ok(kinds.includes(watchdog), watchdog)
  }
  t.strictSame(kinds.slice(-2), ['client asks 282', 'server answers 282'], 'DPR is answered with DPA')
})
