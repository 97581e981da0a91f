/** freeDiameter as a peer that we call: it must accept our CER, and each side's DPR must end the connection well. */
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { systemClock } from '../../src/clock.js'
import { DiameterCounters } from '../../src/diameter/metrics.js'
import { DiameterServer } from '../../src/diameter/server.js'
import { Authority } from '../support/certificates.js'
import { aDiameterConfig, aPeer, StubApplication } from '../support/diameter-server.js'
import { toolOrNotRun } from '../support/tools.js'
import { dictionary } from '../support/vectors.js'

const ocs = 'ocs.localdomain'
const gateway = 'fd.localdomain'
const dw = 2

/** A port that nobody had a moment ago. */
const freePort = (): Promise<number> =>
  new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

t.test('freeDiameter is called, keeps the connection with DWR, is called again after its DPR', async t => {
  const freeDiameterd = toolOrNotRun(t, 'freeDiameterd', 'freediameterd')
  const authority = Authority.make(t)
  if (freeDiameterd === undefined || !authority) return
  const { certificate, key } = authority.issue(gateway)
  const [port, nobody] = [await freePort(), await freePort()]
  const conf = join(t.testdir(), 'fd.conf')
  // It lets in only whom it would call itself; where it calls, nobody listens.
  writeFileSync(
    conf,
    `Identity = "${gateway}";
Realm = "localdomain";
Port = ${port};
SecPort = 0;
No_IPv6;
No_SCTP;
ListenOn = "127.0.0.1";
TwTimer = 6;
TLS_Cred = "${certificate}", "${key}";
TLS_CA = "${authority.certificate}";
ConnectPeer = "${ocs}" { ConnectTo = "127.0.0.1"; Port = ${nobody}; No_TLS; No_SCTP; Prefer_TCP; TwTimer = 6; };
`,
  )
  const connect = { host: '127.0.0.1', port, tls: false }
  const peers = [aPeer({ name: 'freediameter', identity: gateway, realm: 'localdomain', connect })]
  const limits = { identity: ocs, realm: 'localdomain', watchdogMs: 6_000, reconnectMs: 1_000 }
  const config = aDiameterConfig({ ...limits, peers })
  const metrics = new DiameterCounters(['freediameter'])
  const server = new DiameterServer({
    ...{ config, dictionary, metrics, clock: systemClock, originStateId: 1 },
    applications: [new StubApplication()],
    log: pino({ level: 'silent' }),
  })
  const output: string[] = []
  const happens = async (what: string, holds: () => boolean): Promise<void> => {
    const limit = performance.now() + 60_000
    while (!holds()) {
      if (performance.now() > limit) {
        t.fail(`waited in vain for: ${what}`)
        t.comment(output.join(''))
        return
      }
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    t.pass(what)
  }
  const start = (): { stop: () => Promise<void> } => {
    const child = spawn(freeDiameterd, ['-c', conf, '-d'], { stdio: ['ignore', 'pipe', 'pipe'] })
    const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => output.push(text.toString()))
    t.teardown(async () => {
      child.kill('SIGKILL')
      await exited
    })
    return {
      stop: async () => {
        child.kill('SIGTERM')
        await exited
      },
    }
  }

  await server.listen()
  t.teardown(() => server.close())
  await happens('before it is there the call fails', () => server.dialled()[0]?.lastFailure !== undefined)
  t.match(server.dialled()[0]?.lastFailure, /ECONNREFUSED/)
  const first = start()
  await happens('it takes our CER', () => server.peers().length === 1)
  t.match(server.peers(), [{ originHost: gateway, state: 'I-Open', direction: 'initiated', applications: [4] }])
  await happens('and says so', () => /STATE_OPEN/.test(output.join('')))
  const { messagesIn, messagesOut } = metrics.traffic('freediameter')
  await happens('a DWR is answered, its own or ours', () => messagesIn[dw]! > 0 && messagesOut[dw]! > 0)
  t.equal(server.peers()[0]?.watchdog, 'OKAY')
  await first.stop()
  await happens('its DPR ends the connection', () => server.counts().all === 0)
  t.equal(metrics.closedByPeer.get('freediameter')?.get('dpr'), 1)
  start()
  await happens('it is called again after REBOOTING', () => server.peers().length === 1)
  await server.drain(1_000)
  t.equal(metrics.closedByPeer.get('freediameter')?.get('drain'), 1, 'and answers our DPR')
})
