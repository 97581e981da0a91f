/** BASE-120 to 124: TLS. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import type { Test } from 'tap'
import type { TlsConfig } from '../../src/config/config.js'
import { RawClient, type Received } from '../support/raw-client.js'
import { findTool } from '../support/tools.js'
import { vector } from '../support/vectors.js'
import { msisdn, ocsHost, row, startOcs, type Ocs } from './harness.js'
import { checkRecorded } from './recorder.js'

const code = (answer: Received): unknown => answer.value('Result-Code')

interface Credentials {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

interface Authority {
  readonly config: TlsConfig
  /** Of a client with this name, signed by the authority; `stranger`: by another one. */
  client(name: string, stranger?: boolean): Credentials
}

/** An authority, a second one that nobody trusts, and what the first signed for ocsd; files that go with `t`. */
function anAuthority(t: Test, openssl: string): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = (name: string): string => join(folder, name)
  const make = (...args: string[]): void => void execFileSync(openssl, args, { cwd: folder, stdio: 'pipe' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  for (const ca of ['ca', 'other'])
    make('req', '-x509', ...newKey, '-keyout', `${ca}.key`, '-out', `${ca}.pem`, '-subj', `/CN=${ca}`, '-days', '30')
  const sign = (name: string, ca: string): void => {
    writeFileSync(file('names'), `subjectAltName=DNS:${name}\n`)
    make('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', '/CN=node')
    const signer = ['-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial']
    make('x509', '-req', '-in', `${name}.csr`, ...signer, '-extfile', 'names', '-out', `${name}.pem`, '-days', '30')
  }
  sign(ocsHost, 'ca')
  const text = (name: string): string => readFileSync(file(name), 'utf8')
  return {
    config: {
      listen: [{ host: '127.0.0.1', port: 0 }],
      certificate: file(`${ocsHost}.pem`),
      key: file(`${ocsHost}.key`),
      authority: file('ca.pem'),
      crl: undefined,
    },
    client: (name, stranger = false) => {
      sign(name, stranger ? 'other' : 'ca')
      return { cert: text(`${name}.pem`), key: text(`${name}.key`), ca: text('ca.pem') }
    },
  }
}

interface Secure {
  readonly ocs: Ocs
  readonly authority: Authority
  readonly port: number
}

/** An ocsd that listens with TLS and without. */
async function secure(t: Test): Promise<Secure> {
  const openssl = findTool('openssl')
  if (openssl === undefined) throw new Error('openssl makes the certificates of this row: install it')
  const authority = anAuthority(t, openssl)
  const ocs = await startOcs(t, { diameter: { tls: authority.config } })
  return { ocs, authority, port: ocs.daemon.addresses.diameterTls[0]!.port }
}

/** Shakes hands, and says how that went. With TLS 1.3 a server refuses a certificate when the client takes itself as done. */
function handshake(t: Test, port: number, options: ConnectionOptions): Promise<TLSSocket | string> {
  return new Promise(resolve => {
    const socket = connectTls({ host: '127.0.0.1', port, servername: ocsHost, ...options })
    t.teardown(() => socket.destroy())
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.once('close', () => resolve('closed'))
    socket.once('secureConnect', () => resolve(socket))
  })
}

/** Whether it is served: shakes hands, sends B01, and gives the CEA, or how the connection ended. */
async function greeted(t: Test, port: number, options: ConnectionOptions): Promise<Received | string> {
  const socket = await handshake(t, port, options)
  if (typeof socket === 'string') return socket
  const client = RawClient.over(t, socket)
  client.send(vector('B01'))
  return client.nextOrEnd()
}

row('BASE-120', 'plain TCP and TLS from the first octet serve B01 and C01, each on its port', async t => {
  const { ocs, authority, port } = await secure(t)
  const plain = await ocs.open(t)
  t.equal(code(await plain.ask(vector('B01'))), 2001, 'plain')
  t.equal(code(await plain.ask(vector('C01'))), 2001)
  await plain.ask(vector('B09'))
  plain.socket.end()
  await plain.closed

  const socket = await handshake(t, port, authority.client('pgw1.example.net'))
  if (typeof socket === 'string') {
    t.fail(`no TLS: ${socket}`)
    return
  }
  const client = RawClient.over(t, socket)
  t.equal(code(await client.ask(vector('B01'))), 2001, 'TLS')
  t.equal(code(await client.ask(vector('C03'))), 2001, 'goes on with the session')
  t.equal((await ocs.accounts.show(msisdn))?.money, 9_900_000n)

  const wrong = await RawClient.open(t, { port })
  wrong.send(vector('B01'))
  t.type(await wrong.nextOrEnd(), 'string', 'octets that are no TLS get no Diameter on the port of TLS')
})

row('BASE-121', 'a client without certificate, or with that of a stranger, is not served', async t => {
  const { authority, port } = await secure(t)
  const good = authority.client('pgw1.example.net')
  t.type(await greeted(t, port, { ca: good.ca }), 'string', 'none')
  const stranger = authority.client('dra1.example.net', true)
  t.type(await greeted(t, port, stranger), 'string', 'of another authority')
  const cea = await greeted(t, port, good)
  t.equal(typeof cea === 'string' ? cea : code(cea), 2001, 'signed by the authority')
})

row('BASE-122', 'nothing below TLS 1.2 is spoken', async t => {
  const { authority, port } = await secure(t)
  const good = authority.client('pgw1.example.net')
  // What this client no longer takes for secure, it offers only when asked to.
  const old = { ...good, ciphers: 'DEFAULT@SECLEVEL=0' }
  for (const version of ['TLSv1', 'TLSv1.1'] as const)
    t.match(
      await greeted(t, port, { ...old, minVersion: version, maxVersion: version }),
      /ALERT_PROTOCOL_VERSION/,
      version,
    )
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const socket = await handshake(t, port, { ...good, minVersion: version, maxVersion: version })
    t.equal(typeof socket === 'string' ? socket : socket.getProtocol(), version)
  }
})

row('BASE-123', 'a certificate of another name than the Origin-Host gets 3010 and the end', async t => {
  const { authority, port } = await secure(t)
  for (const name of ['pgw2.example.net', 'example.net']) {
    const socket = await handshake(t, port, authority.client(name))
    if (typeof socket === 'string') {
      t.fail(`no TLS: ${socket}`)
      return
    }
    const client = RawClient.over(t, socket)
    const cea = await client.ask(vector('B01'))
    t.same([code(cea), cea.header.flags], [3010, 0x20], name)
    await client.closed
  }
})

row('BASE-124', 'a CEA says nothing of Inband-Security-Id 1, even to who asks for it beside 0', async t => {
  const ocs = await startOcs(t)
  const cea = await (await ocs.open(t)).ask(vector('B01'))
  t.equal(code(cea), 2001)
  t.notOk(cea.values('Inband-Security-Id').includes(1))
  const refusal = await (await ocs.open(t)).ask(vector('B12'))
  t.notOk(refusal.values('Inband-Security-Id').includes(1))
})

checkRecorded()
