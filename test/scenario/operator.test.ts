/** What a gateway's engineer sees of peers and messages: ocsctl peers and ocsctl trace against daemons that serve. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { pcapHeader } from '../../src/simulator/pcap.js'
import { ocsctl, type Run } from '../support/ocsctl.js'
import { aCer, RawClient } from '../support/raw-client.js'
import { startScenario, Talk } from '../support/scenario.js'

interface Line {
  readonly kind: string
  readonly direction?: string
  readonly peer?: string
  readonly daemon?: string
  readonly octets?: string
  readonly text?: readonly string[]
  readonly message?: { readonly command: string }
}

const scenario = await startScenario(t)
const tokenOf = (number: number): string => join(scenario.redis.folder, `daemon-${number}`, 'admin.token')
const linesOf = ({ stdout }: Run): Line[] =>
  stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Line)

t.test('a trace at one daemon shows what passes at another, of one subscriber, and is recorded', async t => {
  const other = await scenario.another()
  const gateway = await scenario.gateway(t)
  const anna = await scenario.subject(t)
  const ben = await scenario.subject(t)
  const capture = join(scenario.redis.folder, 'anna.pcap')
  const until = { done: false }
  const tracing = ocsctl(
    ...[other, tokenOf(2), 'trace', '--subscriber', anna.account, '--reason', 'ticket 4711'] as const,
    ...['--count', '8', '--for', '60s', '--json', '--pcap', capture],
  ).finally(() => (until.done = true)) // prettier-ignore
  // The other daemon hears of the trace in its own time: sessions begin and end until enough was seen.
  while (!until.done) {
    const [his, hers] = [new Talk(gateway, [ben.id]), new Talk(gateway, [anna.id])]
    for (const talk of [his, hers]) {
      await talk.initial([{ ratingGroup: 10, requested: {} }])
      // Named nowhere but in the first request of the session.
      await talk.ask({ ...talk.input('terminate', 1, []), subscriptionIds: [] })
    }
  }
  const run = await tracing
  t.equal(run.status, 0, run.stderr)
  const lines = linesOf(run)
  const messages = lines.filter(({ kind }) => kind === 'message')
  t.match(lines[0], { kind: 'started', known: true, count: 8 })
  t.match(lines.at(-1), { kind: 'ended', why: 'count', messages: 8, lost: 0 })
  t.equal(messages.length, 8)
  const text = messages.flatMap(({ text = [] }) => text).join('\n')
  t.ok(text.includes(anna.account), 'she is named')
  t.notOk(text.includes(ben.account), 'he is not')
  const commands = messages.map(({ direction, message }) => `${direction} ${message?.command}`)
  t.same([...new Set(commands)].sort(), ['in CCR', 'out CCA'])
  t.match(text, /CCR TERMINATION_REQUEST 1/, 'a request that does not name her')
  t.equal(new Set(messages.map(({ daemon }) => daemon)).size, 1)
  t.not(messages[0]?.daemon, readFileSync(join(scenario.redis.folder, 'daemon-2', 'daemon.id'), 'utf8').trim())

  const file = join(scenario.redis.folder, 'daemon-2', 'trace-audit.jsonl')
  const records = readFileSync(file, 'utf8').trim().split('\n').map(line => JSON.parse(line) as object) // prettier-ignore
  t.match(records, [
    { event: 'started', actor: 'ocsctl:ines', reason: 'ticket 4711', subscribers: [/^p-/, /^p-/], count: 8 },
    { event: 'ended', why: 'count', messages: 8, lost: 0 },
  ])
  t.equal(statSync(file).mode & 0o777, 0o600)

  const packets = readFileSync(capture)
  t.same(packets.subarray(0, 24), pcapHeader())
  for (const { octets } of messages) t.ok(packets.includes(Buffer.from(octets!, 'base64')), 'it is in the capture file')
})

t.test('a trace of a peer names nobody, and shows its capabilities and watchdog, too', async t => {
  const anna = await scenario.subject(t)
  const tracing = ocsctl(
    ...([scenario.daemon, tokenOf(1), 'trace', '--peer', 'PGW7.example.net', '--reason', 'interop'] as const),
    ...['--count', '8', '--for', '60s'],
  )
  const until = { done: false }
  void tracing.finally(() => (until.done = true))
  while (!until.done) {
    const gateway = await scenario.gateway(t, { originHost: 'pgw7.example.net' })
    const talk = new Talk(gateway, [anna.id])
    await talk.initial([{ ratingGroup: 10, requested: {} }])
    await talk.terminate(1)
    await gateway.disconnect()
  }
  const { status, stdout, stderr } = await tracing
  t.equal(status, 0, stderr)
  for (const command of [
    'CER',
    'CEA 2001 SUCCESS',
    'CCR INITIAL_REQUEST 0',
    'CCA 2001 SUCCESS INITIAL_REQUEST 0',
    'DPR',
  ])
    t.ok(stdout.includes(`\n${command} `), command)
  t.match(stdout, /Subscription-Id-Data +\*{10}\d\d\n/)
  t.notOk(stdout.includes(anna.account))
  t.match(
    stdout,
    /20\d\d-\d\d-\d\d \S+Z {2}127\.0\.0\.1:\d+ -> ocs1\.charging\.example\.net \(127\.0\.0\.1:\d+\)\nCER /,
  )
  t.match(stderr, /tracing for 60 s, 8 messages at most.*\nas many as were asked for: 8 messages shown, 0 lost\n/)
})

t.test('a trace wants to know whom, why, and how long', async t => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['--reason', 'why not'], /name --subscriber, --peer or --session/],
    [['--peer', 'pgw1'], /--reason/],
    [['--peer', 'pgw1', '--reason', 'x y', '--for', 'long'], /long: write a duration like 30s/],
    [['--peer', 'pgw1', '--reason', 'x y', '--count', '0'], /0 is no number of messages/],
    [['--peer', 'pgw1', '--reason', 'x y', '--pcap', tokenOf(1)], /is there already/],
  ]
  for (const [args, message] of cases) {
    const { status, stderr } = await ocsctl(scenario.daemon, tokenOf(1), 'trace', ...args)
    t.equal(status, 2, args.join(' '))
    t.match(stderr, message)
  }
  const { status, stderr } = await ocsctl(scenario.daemon, tokenOf(1), 'trace', '--peer', 'pgw1', '--reason', 'x')
  t.equal(status, 1, 'the daemon refuses')
  t.match(stderr, /reason.*3 to 200 characters/)
})

t.test('peers are shown with what they did, what went wrong, and why others are not there', async t => {
  const gateway = await scenario.gateway(t, { originHost: 'pgw8.example.net', originStateId: 77 })
  const anna = await scenario.subject(t)
  const talk = new Talk(gateway, [anna.id])
  await talk.initial([{ ratingGroup: 10, requested: {} }])
  await talk.terminate(1)
  await new Talk(gateway, [['e164', '440000000000']]).initial([{ ratingGroup: 10, requested: {} }])
  const stranger = await RawClient.open(t, { port: scenario.daemon.addresses.diameter[0]!.port })
  await stranger.ask(aCer({ originHost: 'smf.elsewhere.example', originRealm: 'elsewhere.example' }))

  const ask = (...args: string[]): Promise<Run> => ocsctl(scenario.daemon, tokenOf(1), 'peers', ...args)
  const { peers } = JSON.parse((await ask('--json')).stdout) as { peers: { originHost: string }[] }
  t.match(
    peers.find(({ originHost }) => originHost === 'pgw8.example.net'),
    {
      ...{ name: 'pgw', connected: true, state: 'R-Open', watchdog: 'OKAY', transport: 'tcp', direction: 'accepted' },
      ...{ address: '127.0.0.1', applications: [4], originStateId: 77, inFlight: 0 },
      counts: { connections: 1, requestsIn: 3, answersOut: { '2xxx': 2, '5xxx': 1 } },
      lastError: { direction: 'out', resultCode: 5030 },
    },
  )
  const list = await ask()
  t.equal(list.status, 0)
  t.match(list.stdout, /pgw +pgw8\.example\.net +R-Open .* 3 +2\/0\/0\/1 .* 77 +20\S+Z we answered 5030\n/)
  t.match(list.stdout, /smf\.elsewhere\.example +127\.0\.0\.1 +20\S+Z +3010 +\S.+\n/)
  t.match((await ask('show', 'PGW8.example.net')).stdout, /asked us +3, answered 2 x 2xxx, 1 x 5xxx\n/)

  const unsure = await ask('close', 'pgw8.example.net')
  t.equal(unsure.status, 2)
  t.match(unsure.stderr, /is connected since .* Say --yes to do it/)
  t.equal(gateway.connections.length, 1, 'nothing was done')
  const [connection] = gateway.connections
  const closed = await ask('close', 'pgw8.example.net', '--yes')
  t.equal(closed.status, 0, closed.stderr)
  await connection!.closed
  t.match((await ask('show', 'pgw8.example.net')).stdout, /state +not connected\n[^]*last end +20\S+Z: /)
  const again = await ask('close', 'pgw8.example.net', '--yes')
  t.equal(again.status, 1)
  t.match(again.stderr, /pgw8\.example\.net has no connection to this daemon/)
  t.equal((await ask('call', 'pgw8.example.net')).status, 1, 'no row says where to call it')
})
