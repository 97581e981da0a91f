/**
 * freeDiameter as a peer of the ocsd process: it accepts our CEA, is watched and keeps the connection, and is told good-bye
 * when the process gets SIGTERM. No watchdog can be quicker than 6 s here, by RFC 3539: this is the slowest of these tests.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { FLAG, readHeader } from '../../src/diameter/header.js'
import { copyConfig } from '../support/daemon.js'
import { received } from '../support/raw-client.js'
import { findTool, toolOrNotRun } from '../support/tools.js'
import { listenIn, type WireMessage } from '../support/wire.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

t.test('freeDiameter accepts, watches, and is told good-bye on SIGTERM', async t => {
  const freeDiameterd = toolOrNotRun(t, 'freeDiameterd', 'freediameterd')
  if (freeDiameterd === undefined) return
  const { folder, file } = copyConfig(t, { change: { 'watchdog: 30s': 'watchdog: 6s' } })
  const ocsd = spawn(process.execPath, ['--import=tsx', 'src/ocsd.ts', '--config', file], {
    ...{ cwd: root, stdio: ['ignore', 'ignore', 'pipe'] },
  })
  const ocsdEnded = ended(t, ocsd)
  const ports = join(folder, 'data', 'ports.json')
  for await (const line of createInterface(ocsd.stderr)) {
    t.comment(line)
    if (existsSync(ports)) break
  }
  ocsd.stderr.resume()
  const { diameter } = JSON.parse(readFileSync(ports, 'utf8')) as { diameter: number[] }
  let wake = (): void => undefined
  const wire = await listenIn(t, diameter[0]!, () => wake())

  const conf = configuration(t, wire.port)
  const peer = spawn(freeDiameterd, ['-c', conf, '-d'], { stdio: ['ignore', 'pipe', 'pipe'] })
  const peerEnded = ended(t, peer)
  let output = ''
  const said = (text: string): void => {
    output += text
    wake()
  }
  for (const stream of [peer.stdout, peer.stderr]) stream.on('data', text => said(String(text)))
  void peerEnded.then(() => said('freeDiameterd has ended\n'))
  /** Waits for it; what freeDiameter says tells why it does not come. */
  const happens = async (what: string, holds: () => boolean): Promise<void> => {
    while (!holds()) {
      if (output.includes('has ended')) throw new Error(`waited in vain for "${what}":\n${output}`)
      await new Promise<void>(resolve => (wake = resolve))
    }
    t.pass(what)
  }

  await happens('our CEA is accepted', () => output.includes("'STATE_OPEN'"))
  await happens('a watchdog is answered', () => kinds(wire.messages).some(kind => kind.endsWith('answers 280')))
  t.same([...new Set(wire.messages.map(message => message.connection))], [0], 'it is still the first connection')

  ocsd.kill('SIGTERM')
  t.equal(await ocsdEnded, 0, 'exit status of ocsd')
  t.strictSame(kinds(wire.messages).slice(-2), ['server asks 282', 'client answers 282'], 'DPR and DPA')
  const [dpr, dpa] = wire.messages.slice(-2).map(({ octets }) => received(octets))
  t.equal(dpr!.value('Disconnect-Cause'), 0, 'REBOOTING: it will be back soon')
  t.equal(dpa!.value('Result-Code'), 2001)
  t.equal(existsSync(ports), false, 'nobody is sent to a port that is closed')
})

const kinds = (messages: readonly WireMessage[]): string[] =>
  messages.map(({ from, octets }) => {
    const { flags, commandCode } = readHeader(octets)
    return `${from} ${flags & FLAG.REQUEST ? 'asks' : 'answers'} ${commandCode}`
  })

/** Its exit status. The process ends with `t` at the latest. */
function ended(t: Test, process: ChildProcess): Promise<number | null> {
  const status = new Promise<number | null>(resolve => process.once('exit', resolve))
  t.teardown(async () => {
    process.kill('SIGKILL')
    await status
  })
  return status
}

/** A configuration file of freeDiameter, with the certificate that it will not start without. */
function configuration(t: Test, port: number): string {
  const openssl = findTool('openssl')
  if (openssl === undefined) throw new Error('openssl is not installed: install openssl')
  const folder = t.testdir({})
  const [conf, key, certificate] = [join(folder, 'fd.conf'), join(folder, 'fd.key'), join(folder, 'fd.pem')]
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=fd.localdomain']
  execFileSync(openssl, [...request, '-keyout', key, '-out', certificate], { stdio: 'ignore' })
  writeFileSync(
    conf,
    `Identity = "fd.localdomain";
Realm = "localdomain";
Port = 0;
SecPort = 0;
No_IPv6;
No_SCTP;
ListenOn = "127.0.0.1";
TwTimer = 6;
TLS_Cred = "${certificate}", "${key}";
TLS_CA = "${certificate}";
ConnectPeer = "ocs.localdomain" { ConnectTo = "127.0.0.1"; Port = ${port}; No_TLS; No_SCTP; Prefer_TCP; };
`,
  )
  return conf
}
