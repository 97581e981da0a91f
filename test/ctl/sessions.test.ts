/**
 * `ocsctl sessions reauthorise` and `sessions abort`: what is asked of the daemon, what a person reads, and what is refused before
 * anything is asked.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { SessionCommands } from '../../src/admin/session-commands.js'
import { stateText } from '../../src/ctl/sessions.js'
import { startAdmin, token } from '../support/admin.js'

const program = fileURLToPath(new URL('../../src/ocsctl.ts', import.meta.url))

interface Run {
  readonly status: number | null
  readonly output: string
}

function run(url: string, ...args: string[]): Promise<Run> {
  return new Promise(resolve => {
    const env = { PATH: process.env['PATH'], OCS_URL: url, OCS_TOKEN: token, USER: 'eve' }
    const child = spawn(process.execPath, ['--import=tsx', program, ...args], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()))
    child.on('close', status => resolve({ status, output }))
  })
}

t.test('what it asks for, what it says, and what the log gets', async t => {
  const calls: unknown[] = []
  const results = ['2002', '5002', 'timeout', 'ccr', 'undeliverable', '3004', 'sent']
  const sessionCommands: SessionCommands = {
    one: (command, id) => {
      calls.push(['one', command, id])
      return Promise.resolve(id === 'gone' ? { status: 'unknown' } : { status: 'asked', result: results.shift()! })
    },
    account: (command, account) => Promise.resolve(void calls.push(['account', command, account])),
    all: (command, perSecond) => {
      calls.push(['all', command, perSecond])
      return Promise.resolve(450)
    },
    audit: fields => void calls.push(['log', fields]),
  }
  const { url, store } = await startAdmin(t, { sessionCommands })
  await store.accounts.create(
    { id: 'anna', currency: 'EUR', creditLimit: 0n as never, status: 'active' },
    undefined,
    0n as never,
    'admin',
  )
  const actor = 'ocsctl:eve'
  const log = (fields: object): unknown => ['log', { ...fields, actor }]
  const one = (command: string): unknown[] => [log({ command, 'Session-Id': 'gw;1;1' }), ['one', command, 'gw;1;1']]
  const table: readonly [args: string, status: number, output: RegExp, calls: readonly unknown[]][] = [
    ['sessions reauthorise gw;1;1', 0, /^the gateway agrees: 2002\n$/, one('reauthorise')],
    ['sessions abort gw;1;1 --yes', 0, /does not know the session \(5002\): it is released/, one('abort')],
    ['sessions reauthorise gw;1;1', 0, /^the gateway does not answer; the session stays/, one('reauthorise')],
    ['sessions reauthorise gw;1;1', 0, /but the session has reported/, one('reauthorise')],
    ['sessions reauthorise gw;1;1', 0, /^no connection leads to the gateway/, one('reauthorise')],
    ['sessions reauthorise gw;1;1', 0, /^the gateway refuses: 3004; /, one('reauthorise')],
    ['sessions reauthorise gw;1;1', 0, /^the gateway has not answered yet; see ocsctl sessions/, one('reauthorise')],
    [
      'sessions reauthorise gone',
      1,
      /there is no session with this Session-Id/,
      [log({ command: 'reauthorise', 'Session-Id': 'gone' }), ['one', 'reauthorise', 'gone']],
    ],
    // It has no session: nobody is asked.
    [
      'sessions abort --account anna --yes',
      0,
      /^0 sessions are asked/,
      [log({ command: 'abort', account: 'anna', sessions: 0 })],
    ],
    ['sessions reauthorise --account nobody', 1, /there is no account nobody/, []],
    [
      'sessions reauthorise --all --per-second 30',
      0,
      /^the sessions of 450 accounts are asked, which takes 15 s/,
      [['all', 'reauthorise', 30], log({ command: 'reauthorise', accounts: 450, perSecond: 30 })],
    ],
    ['sessions abort gw;1;1', 2, /end session gw;1;1: the subscriber is cut off\. Say --yes to do it/, []],
    ['sessions abort --account anna', 2, /all sessions of account anna.*--yes/, []],
    ['sessions abort --yes', 2, /name one session or --account/, []],
    ['sessions reauthorise', 2, /name one session, --account or --all/, []],
    ['sessions reauthorise gw;1;1 --all', 2, /name one session, --account or --all/, []],
    ['sessions reauthorise --all --per-second 0', 2, /--per-second is a whole number above 0/, []],
    ['sessions reauthorise gw;1;1 --per-second 5', 2, /goes with --all/, []],
    ['sessions --account anna', 0, /^no sessions\n$/, []],
    ['catalog reload', 0, /^loaded: catalog 4b5c\n$/, []],
    [
      'catalog reload --reauthorise',
      0,
      /^loaded: catalog 4b5c\nthe sessions of 450 accounts are asked to report\n$/,
      [
        ['all', 'reauthorise', 100],
        ['log', { command: 'reauthorise', accounts: 450, catalog: '4b5c', actor: 'admin-api' }],
      ],
    ],
  ]
  for (const [args, status, output, expected] of table) {
    calls.length = 0
    const done = await run(url, ...args.split(' '))
    t.equal(done.status, status, args)
    t.match(done.output, output, args)
    t.same(calls, expected, args)
  }
})

t.test('the state of a session in a list', t => {
  const now = Date.UTC(2026, 0, 15, 12)
  const before = (seconds: number): string => new Date(now - seconds * 1000).toISOString()
  const table: readonly [Parameters<typeof stateText>[0], string][] = [
    [{ open: true, asked: null }, 'open'],
    [{ open: false, asked: null }, 'ended'],
    [{ open: true, asked: { command: 'RAR', result: '2001', at: before(3) } }, 'open, reauth 2001 3s ago'],
    [{ open: true, asked: { command: 'RAR', result: 'sent', at: before(-1) } }, 'open, reauth sent 0s ago'],
    [{ open: false, asked: { command: 'ASR', result: '2002', at: before(300) } }, 'ended, abort 2002 5m ago'],
    [{ open: true, asked: { command: 'ASR', result: 'timeout', at: before(10_800) } }, 'open, abort timeout 3h ago'],
  ]
  for (const [session, words] of table) t.equal(stateText(session, now), words)
  t.end()
})
