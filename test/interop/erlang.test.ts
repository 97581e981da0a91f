/**
 * Erlang/OTP's diameter application as a Gy client: another stack, with another decoder and another dictionary, gets its
 * quota, and the subscriber pays for what it used.
 */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { FLAG, readHeader } from '../../src/diameter/header.js'
import { startTestDaemon } from '../support/daemon.js'
import { SkippingClock } from '../support/skipping-clock.js'
import { toolOrNotRun } from '../support/tools.js'
import { listenIn } from '../support/wire.js'

const file = (name: string): string => fileURLToPath(new URL(`../support/erlang/${name}`, import.meta.url))
const subscriber = '491701000001'
/** Longer than Twinit and its jitter. */
const idleMs = 35_000

interface Line {
  readonly event?: string
  readonly [avp: string]: unknown
}

t.test('an Erlang client is granted, charged, watched, and says good-bye', async t => {
  const escript = toolOrNotRun(t, 'escript', 'erlang-base and erlang-diameter')
  if (escript === undefined) return
  const clock = new SkippingClock()
  const daemon = await startTestDaemon(t, { clock })
  const wire = await listenIn(t, daemon.port)
  const opening = await daemon.money(subscriber)

  const args = [file('gy_client.escript'), file('gy.dia'), String(wire.port), subscriber]
  const client = spawn(escript, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => client.kill('SIGKILL'))
  const ended = new Promise<number | null>(resolve => client.once('exit', resolve))
  const lines: Line[] = []
  for await (const text of createInterface(client.stdout)) {
    const line = JSON.parse(text) as Line
    lines.push(line)
    // The daemon has heard nothing for long: it sends a DWR of its own.
    if (line['Result-Code'] === 5030) clock.skip(idleMs)
  }
  if (!t.equal(await ended, 0, 'the client is content')) return

  const [up, initial, first, second, last, unknown, watched, stopped, ...more] = lines
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
    [initial, first, second, last, unknown].map(
      answer => answer && [answer['Result-Code'], answer['CC-Request-Type'], answer['CC-Request-Number']],
    ),
    [
      [2001, 1, 0],
      [2001, 2, 1],
      [2001, 2, 2],
      [2001, 3, 3],
      [5030, 1, 0],
    ],
  )
  t.strictSame(
    initial?.['Multiple-Services-Credit-Control'],
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
  t.strictSame(first?.['Multiple-Services-Credit-Control'], [granted])
  t.strictSame(second?.['Multiple-Services-Credit-Control'], [granted])
  t.strictSame(last?.['Multiple-Services-Credit-Control'], [
    { 'Rating-Group': [10], 'Result-Code': [2001] },
    { 'Rating-Group': [30], 'Result-Code': [2001] },
  ])
  t.ok(Array.isArray(unknown?.['Error-Message']), 'a refusal says why')
  t.match([watched, stopped, more], [{ event: 'watched' }, { event: 'stopped' }, []])

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
