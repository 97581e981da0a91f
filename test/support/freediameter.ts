/**
 * freeDiameter as a relay agent (RFC 6733 section 2.8.1) for a test: it lets in the gateways of its realm, calls one charging
 * system over TCP or TLS, and hands on what each side asks of the other.
 */
import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Address } from '../../src/simulator/gateway.js'
import type { Authority } from './certificates.js'
import { freePort, until } from './ocsd-process.js'
import { findTool, notRun, toolOrNotRun } from './tools.js'

export interface RelayParts {
  /** Its Origin-Host, and the realm of it and of its gateways. */
  readonly identity: string
  readonly realm: string
  /** What it calls. */
  readonly server: { readonly identity: string; readonly port: number; readonly tls: boolean }
  /** Who signed its certificate; it does not start without one, nor call a server of another authority. */
  readonly authority: Authority
}

/** Twinit, s: the least that RFC 3539 allows. */
const watchdogSeconds = 6

export interface RelayTools {
  readonly program: string
  /** Its extension that lets in peers by name. */
  readonly whitelist: string
}

/** What it takes, where it is installed. */
export function relayTools(): Partial<RelayTools> {
  const program = findTool('freeDiameterd')
  if (program === undefined) return {}
  const folders = [join(program, '../../lib'), '/usr/lib', '/usr/local/lib']
  const whitelist = folders.map(folder => join(folder, 'freeDiameter/acl_wl.fdx')).find(file => existsSync(file))
  return { program, ...(whitelist !== undefined && { whitelist }) }
}

/** The same, whole; or undefined and a line `not run: …`. */
export function relayToolsOrNotRun(t: Test): RelayTools | undefined {
  if (toolOrNotRun(t, 'freeDiameterd', 'freediameterd') === undefined) return undefined
  const { program, whitelist } = relayTools()
  if (program !== undefined && whitelist !== undefined) return { program, whitelist }
  notRun(t, 'install freediameter-extensions')
  return undefined
}

export class Relay {
  /** All that it said. */
  output = ''

  private constructor(
    /** Where gateways connect, without TLS. */
    readonly address: Address,
    readonly identity: string,
    /** Sends it a SIGTERM: it says good-bye to its peers. Settles when it has ended. */
    readonly stop: () => Promise<void>,
  ) {}

  /** Started, connected to its server, and ended with `t`. */
  static async start(t: Test, { program, whitelist }: RelayTools, parts: RelayParts): Promise<Relay> {
    const { identity, realm, server, authority } = parts
    const port = await freePort()
    const { certificate, key } = authority.issue(identity)
    const [conf, allowed] = [`${identity}.conf`, `${identity}.allowed`].map(name => join(authority.folder, name)) as [
      string,
      string,
    ]
    writeFileSync(allowed, `ALLOW_IPSEC *.${realm}\n`)
    writeFileSync(
      conf,
      `Identity = "${identity}";
Realm = "${realm}";
Port = ${port};
SecPort = 0;
No_IPv6;
No_SCTP;
ListenOn = "127.0.0.1";
TwTimer = ${watchdogSeconds};
TcTimer = 5;
TLS_Cred = "${certificate}", "${key}";
TLS_CA = "${authority.certificate}";
LoadExtension = "${whitelist}" : "${allowed}";
ConnectPeer = "${server.identity}" { ConnectTo = "127.0.0.1"; Port = ${server.port}; No_SCTP; ${server.tls ? '' : 'No_TLS; '}};
`,
    )
    const child = spawn(program, ['-c', conf, '-d'], { stdio: ['ignore', 'pipe', 'pipe'] })
    let over = false
    const exited = new Promise<void>(resolve =>
      child.once('exit', () => {
        over = true
        resolve()
      }),
    )
    t.teardown(async () => {
      child.kill('SIGKILL')
      await exited
    })
    const relay = new Relay({ host: '127.0.0.1', port }, identity, async () => {
      child.kill('SIGTERM')
      await exited
    })
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text: Buffer) => (relay.output += text.toString()))
    await until('the relay has its connection', () => {
      if (over) throw new Error(`freeDiameterd has ended:\n${relay.output}`)
      return relay.output.includes(`'STATE_OPEN'`)
    })
    return relay
  }
}
