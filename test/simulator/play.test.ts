/** What the player says of a server that does not do as the script expects; and the command line around it. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { systemClock, VirtualClock } from '../../src/clock.js'
import { formatFault } from '../../src/config/yaml.js'
import { stripVTControlCharacters } from 'node:util'
import { play, type PlayEvent, type PlayOptions, type PlayResult } from '../../src/simulator/play.js'
import { readScript } from '../../src/simulator/script.js'
import { Trace } from '../../src/simulator/trace.js'
import { Authority } from '../support/certificates.js'
import { aPeer, startServer, StubApplication, type TestServer } from '../support/diameter-server.js'
import { findTool } from '../support/tools.js'
import { dictionary } from '../support/vectors.js'

const session = 'sessions: { s1: { subscriber: "491701" } }\nsteps:\n'

interface Played extends PlayResult {
  /** `ok …` or `not ok …: found`. */
  readonly checks: string[]
  readonly events: PlayEvent[]
}

async function played(
  t: Test,
  steps: string,
  parts: Partial<PlayOptions> & { server?: TestServer } = {},
): Promise<Played> {
  const { server = await startServer(t), ...more } = parts
  const outcome = readScript('flow.yaml', session + steps, { dictionary, run: '1' })
  if ('faults' in outcome) throw new Error(outcome.faults.map(formatFault).join('\n'))
  const events: PlayEvent[] = []
  const result = await play({
    ...{ script: outcome.script, dictionary, patienceMs: 1000, operator: undefined },
    servers: new Map([['ocs', { host: '127.0.0.1', port: server.port }]]),
    clock: { ...systemClock, pass: () => Promise.resolve() },
    onEvent: event => void events.push(event),
    ...more,
  })
  const checks = events.flatMap(event => {
    if (event.kind !== 'check') return []
    const { ok, text, found } = event.verdict
    return [ok ? `ok ${text}` : `not ok ${text}: ${found ?? ''}`]
  })
  return { ...result, checks, events }
}

t.test('each expectation that does not hold fails, and says what came instead', async t => {
  const { checks, failed } = await played(
    t,
    `
  - initial: { services: [{ group: 10, ask: any }] }
    expect:
      code: 4012
      services: [{ group: 10, granted: 10MiB }]
      errorBit: true
      avps:
        Origin-Host: somebody
        CC-Request-Number: '> 0'
        CC-Request-Type: UPDATE_REQUEST
        Session-Id: absent
        Failed-AVP: present
  - update: {}
    expect: silence
  - repeat: {}
    expect: { same: true, avps: { CC-Request-Number: '1', CC-Request-Type: UPDATE_REQUEST, Session-Id: present } }
  - operator: show account x
`,
  )
  t.match(checks, [
    'ok Result-Code 2001 SUCCESS', // CEA
    'not ok Result-Code 4012 CREDIT_LIMIT_REACHED: 2001 SUCCESS',
    'not ok the E bit is set: it is clear',
    'not ok rating group 10 is answered: it is not',
    'not ok Origin-Host = somebody: ocs1.charging.example.net',
    'not ok CC-Request-Number > 0: 0',
    'not ok CC-Request-Type = UPDATE_REQUEST: 1',
    /^not ok Session-Id is absent: pgw1\.example\.net;\d+;\d+$/,
    'not ok Failed-AVP is present: it is absent',
    'not ok no answer comes: 2001 SUCCESS came',
    'ok Result-Code 2001 SUCCESS',
    'ok the answer is the first one again',
    'ok CC-Request-Number = 1',
    'ok CC-Request-Type = UPDATE_REQUEST',
    'ok Session-Id is present',
  ])
  t.same([checks.length, failed], [15, 9])
})

t.test('a server that says nothing, or ends the connection, is told from one that answers', async t => {
  const server = await startServer(t, { application: new StubApplication(() => Promise.resolve(undefined)) })
  const { checks } = await played(
    t,
    `
  - initial: {}
    expect: silence
  - update: {}
  - raw: 01000004 80000118 00000000 00000002 00000002
    expect: closed
`,
    { server },
  )
  t.same(checks.slice(1), ['ok no answer comes', 'not ok an answer comes: no answer came', 'ok the connection ends'])
})

t.test('a request of the server that no step awaits is a failure', async t => {
  const server = await startServer(t)
  const rar = async (): Promise<void> => {
    await server.until(() => server.application.requests.length > 0)
    void server.server.request({
      ...{ commandCode: 258, applicationId: 4, destinationHost: 'pgw1.example.net' },
      timeoutMs: 5000,
      write: writer => writer.text(263, 'a session'),
    })
  }
  const asked = rar().catch(() => undefined)
  const { checks } = await played(t, '  - initial: {}\n  - wait: 1s\n', { server, clock: {
    ...systemClock,
    pass: () => new Promise(resolve => setTimeout(resolve, 200)),
  } }) // prettier-ignore
  await asked
  t.same(checks.slice(2), ['not ok RAR is awaited by a step: no step awaits it: 5002 is answered'])
})

t.test('a trace is text without colours unless they are wanted', async t => {
  const { events } = await played(
    t,
    '  - initial: { services: [{ group: 10, ask: any }] }\n    expect: { code: 4012 }\n',
  )
  const lines = (colours: boolean): string[] => {
    const trace = new Trace({ dictionary, colours, all: false, brief: false })
    return events.flatMap(event => trace.event(event))
  }
  const plain = lines(false)
  t.same(lines(true).map(stripVTControlCharacters), plain)
  t.notMatch(plain.join('\n'), /\u001b/)
  t.match(plain.join('\n'), /gateway ──▶ ocs {7}CCR-I 0 {7}s1\n {11}Service-Context-Id {22}32251@3gpp\.org\n/)
  t.match(plain.join('\n'), /gateway ◀── ocs {7}CCA-I 0 {7}s1 {2}2001 SUCCESS {2}[\d.]+ ms\n/)
  t.match(plain.join('\n'), /✗ Result-Code 4012 CREDIT_LIMIT_REACHED, but 2001 SUCCESS {2}flow\.yaml:3:5/)
})

const program = fileURLToPath(new URL('../../src/ocsctl.ts', import.meta.url))

/** Runs `ocsctl gateway play`. */
function ocsctl(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise(resolve => {
    const child = spawn(process.execPath, ['--import=tsx', program, 'gateway', 'play', ...args], {
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.on('close', status => resolve({ status, stdout, stderr }))
  })
}

t.test('the exit status says how it went, the capture file what was said', async t => {
  const { port } = await startServer(t)
  const folder = t.testdir({
    'good.yaml': `${session}  - initial: {}\n  - operator: audit\n`,
    'bad.yaml': `${session}  - initial: {}\n    expect: { code: 4012 }\n`,
    'wrong.yaml': `${session}  - initiall: {}\n`,
  })
  const to = ['--to', `127.0.0.1:${port}`, '--no-operator']
  const pcap = join(folder, 'flow.pcap')
  const good = await ocsctl(join(folder, 'good.yaml'), ...to, '--pcap', pcap)
  t.match(good, { status: 0, stderr: '', stdout: /passed: 2 expectations passed, 0 failed; 6 messages; 1 operator's/ })
  const tshark = findTool('tshark')
  if (tshark !== undefined) {
    const { execFileSync } = await import('node:child_process')
    const fields = ['-T', 'fields', '-e', 'diameter.cmd.code', '-Y', 'diameter']
    t.equal(
      execFileSync(tshark, ['-n', '-r', pcap, ...fields], { stdio: 'pipe' }).toString(),
      '257\n257\n272\n272\n282\n282\n',
    )
  }
  t.match(await ocsctl(join(folder, 'bad.yaml'), ...to), {
    status: 1,
    stdout: /failed: 1 expectations passed, 1 failed/,
  })
  t.match(await ocsctl(join(folder, 'wrong.yaml'), ...to), { status: 2, stderr: /wrong\.yaml:3:5: .*`initial`/ })
  t.match(await ocsctl(join(folder, 'good.yaml'), '--to', '127.0.0.1:1', '--no-operator'), {
    status: 3,
    stderr: /127\.0\.0\.1:1 does not take a connection/,
  })
  const json = await ocsctl(join(folder, 'good.yaml'), ...to, '--json')
  const last = json.stdout.trim().split('\n').map(line => JSON.parse(line) as { kind: string }) // prettier-ignore
  t.match(last.at(-1), { kind: 'end', passed: 2, failed: 0 })
  t.match(
    last.find(({ kind }) => kind === 'message'),
    { direction: 'sent', message: { command: 'CER' } },
  )
})

t.test('TLS: the server is checked, and sees who calls', async t => {
  const authority = Authority.make(t)
  const strangers = Authority.make(t, 'strangers')
  if (!authority || !strangers) return
  const ours = authority.issue('ocs1.charging.example.net')
  const { tlsPort } = await startServer(t, {
    clock: new VirtualClock(Date.now()),
    tls: {
      listen: [{ host: '127.0.0.1', port: 0 }],
      ...{ certificate: ours.certificate, key: ours.key, authority: authority.certificate, crl: undefined },
    },
    peers: [aPeer({ transport: 'tls' })],
  })
  const gateway = authority.issue('pgw1.example.net')
  const file = join(t.testdir({}), 'tls.yaml')
  writeFileSync(file, `${session}  - initial: {}\n`)
  const to = [
    file,
    '--to',
    `127.0.0.1:${tlsPort!}`,
    '--no-operator',
    '--tls',
    '--server-name',
    'ocs1.charging.example.net',
  ]
  const mine = ['--cert', gateway.certificate, '--key', gateway.key]
  t.match(await ocsctl(...to, '--ca', authority.certificate, ...mine), { status: 0, stdout: /2 expectations passed/ })
  t.match(await ocsctl(...to, '--ca', strangers.certificate, ...mine), {
    status: 3,
    stderr: /does not take a connection/,
  })
  t.match(await ocsctl(...to, '--ca', authority.certificate), { status: 3, stdout: /the connection ended/ })
  // Without --to it is the daemon of a configuration, which may have been given its port by the system.
  const folder = dirname(file)
  const tls = `{ listen: [fd:3, '127.0.0.1:0'], certificate: a, key: b, authority: c }`
  writeFileSync(join(folder, 'ocs.yaml'), `data: .\ndiameter:\n  tls: ${tls}\n`)
  writeFileSync(join(folder, 'plain.yaml'), 'data: .\n')
  writeFileSync(join(folder, 'wrong.yaml'), 'diameter: { idenity: x }\n')
  writeFileSync(join(folder, 'ports.json'), JSON.stringify({ diameter: [1], diameterTls: [2, tlsPort] }))
  const [, , , ...secured] = to
  const noted = ['--config', join(folder, 'ocs.yaml'), ...secured, '--ca', authority.certificate, ...mine]
  t.match(await ocsctl(file, ...noted), { status: 0, stdout: /2 expectations passed/ })
  t.match(await ocsctl(file, '--config', join(folder, 'plain.yaml'), '--tls'), {
    status: 2,
    stderr: /plain\.yaml names no address that TLS listens on: give --to/,
  })
  t.match(await ocsctl(file, '--config', join(folder, 'wrong.yaml')), {
    status: 2,
    stderr: /wrong\.yaml:1:13: .*idenity/,
  })
})
