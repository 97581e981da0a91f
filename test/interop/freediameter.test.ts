/** freeDiameter as a peer: it connects, must accept our CEA, asks with DWR, and says DPR when it stops. */
import { execFileSync, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '../../src/clock.js'
import { DiameterCounters } from '../../src/diameter/metrics.js'
import { DiameterServer } from '../../src/diameter/server.js'
import { pino } from 'pino'
import { aDiameterConfig, aPeer, StubApplication } from '../support/diameter-server.js'
import { findTool, toolOrNotRun } from '../support/tools.js'
import { dictionary } from '../support/vectors.js'

/** The identities of the connection: the only TLS that freeDiameter cannot be talked out of is its own certificate. */
const ocs = 'ocs.localdomain'
const gateway = 'fd.localdomain'
const dw = 2
const dp = 3

t.test('freeDiameter connects, keeps the connection with DWR, and leaves with DPR', async t => {
  const freeDiameterd = toolOrNotRun(t, 'freeDiameterd', 'freediameterd')
  if (freeDiameterd === undefined) return
  const openssl = findTool('openssl')
  if (openssl === undefined) throw new Error('openssl is not installed: install openssl')

  const peers = [aPeer({ name: 'freediameter', identity: gateway, realm: 'localdomain' })]
  const config = aDiameterConfig({ identity: ocs, realm: 'localdomain', peers, watchdogMs: 6_000 })
  const metrics = new DiameterCounters(['freediameter'])
  const server = new DiameterServer({
    ...{ config, dictionary, metrics, clock: systemClock, originStateId: 1 },
    applications: [new StubApplication()],
    log: pino({ level: 'silent' }),
  })
  const { port } = (await server.listen())[0]!
  t.teardown(() => server.close())

  const folder = t.testdir()
  const [key, certificate, conf] = ['fd.key', 'fd.pem', 'fd.conf'].map(name => join(folder, name)) as [
    string,
    string,
    string,
  ]
  execFileSync(
    openssl,
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${gateway}`,
      '-keyout',
      key,
      '-out',
      certificate,
    ],
    { stdio: 'ignore' },
  )
  writeFileSync(
    conf,
    `Identity = "${gateway}";
Realm = "localdomain";
Port = 0;
SecPort = 0;
No_IPv6;
No_SCTP;
ListenOn = "127.0.0.1";
TwTimer = 6;
TcTimer = 5;
TLS_Cred = "${certificate}", "${key}";
TLS_CA = "${certificate}";
ConnectPeer = "${ocs}" { ConnectTo = "127.0.0.1"; Port = ${port}; No_TLS; No_SCTP; Prefer_TCP; TwTimer = 6; };
`,
  )

  const output: string[] = []
  const child = spawn(freeDiameterd, ['-c', conf, '-d'], { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => output.push(text.toString()))
  const traffic = metrics.traffic('freediameter')
  const happens = async (what: string, holds: () => boolean): Promise<void> => {
    const limit = performance.now() + 60_000
    while (!holds()) {
      if (performance.now() > limit || child.exitCode !== null) {
        t.fail(`waited in vain for: ${what}`)
        t.comment(output.join(''))
        return
      }
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    t.pass(what)
  }

  await happens('it connects, and our CEA pleases it', () => /STATE_OPEN/.test(output.join('')))
  t.match(server.peers(), [{ name: 'freediameter', originHost: gateway, state: 'R-Open', applications: [4] }])
  await happens('a DWR is answered, its own or ours', () => traffic.messagesIn[dw]! > 0 && traffic.messagesOut[dw]! > 0)
  t.equal(server.peers()[0]?.watchdog, 'OKAY')
  child.kill('SIGTERM')
  await happens('it says DPR', () => traffic.messagesIn[dp] === 1)
  await happens('its DPR is answered', () => traffic.messagesOut[dp] === 1)
  await happens('and the connection is gone', () => server.counts().all === 0)
  t.equal(metrics.closedByPeer.get('freediameter')?.get('dpr'), 1)
})
