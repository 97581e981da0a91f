/**
 * TLS on a port of its own: who is let in, what is spoken, and files that change under way. BASE-120 to BASE-124.
 */
import { copyFileSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { VirtualClock } from '../../src/clock.js'
import type { PeerConfig, TlsConfig } from '../../src/config/config.js'
import { DiameterCounters } from '../../src/diameter/metrics.js'
import { readTlsFiles, TlsFault, TlsFiles } from '../../src/diameter/tls.js'
import { Authority, shown, tlsClient, tlsSocket, type Certificate } from '../support/certificates.js'
import { aPeer, identity, startServer, until, type LogLine, type TestServer } from '../support/diameter-server.js'
import { aCcr, aCer, checkEverythingReceived, RawClient } from '../support/raw-client.js'

const dayMs = 86_400_000

interface TlsServer extends TestServer {
  readonly tlsPort: number
  readonly files: TlsFiles
  readonly authority: Authority
  readonly config: TestServer['config'] & { readonly tls: TlsConfig }
  /** What a client of this certificate connects with. */
  readonly as: (certificate: Certificate, more?: ConnectionOptions) => ConnectionOptions
  readonly pgw: Certificate
}

/** A server on both ports; its clock begins now, for certificates do. */
async function startTlsServer(
  t: Test,
  parts: { readonly peers?: readonly PeerConfig[]; readonly limits?: object; readonly crl?: boolean } = {},
): Promise<TlsServer | undefined> {
  const authority = Authority.make(t)
  if (!authority) return undefined
  const ours = authority.issue(identity)
  const config: TlsConfig = {
    listen: [{ host: '127.0.0.1', port: 0 }],
    certificate: join(authority.folder, 'ocs.pem'),
    key: join(authority.folder, 'ocs.key'),
    authority: authority.certificate,
    crl: parts.crl ? authority.revoke([]) : undefined,
  }
  install(ours, config)
  const clock = new VirtualClock(Date.now())
  const started = await startServer(t, {
    clock,
    tls: config,
    ...(parts.peers && { peers: parts.peers }),
    ...(parts.limits && { limits: parts.limits }),
  })
  const files = started.tls!
  const as = (certificate: Certificate, more: ConnectionOptions = {}): ConnectionOptions => ({
    ca: readFileSync(authority.certificate),
    servername: identity,
    ...shown(certificate),
    ...more,
  })
  const pgw = authority.issue('pgw1.example.net')
  return {
    ...started,
    config: { ...started.config, tls: config },
    files,
    authority,
    as,
    pgw,
    tlsPort: started.tlsPort!,
  }
}

function install(certificate: Certificate, to: TlsConfig): void {
  copyFileSync(certificate.certificate, to.certificate)
  copyFileSync(certificate.key, to.key)
}

const noInbandSecurity = (cea: { values(name: string): unknown[] }): boolean =>
  cea.values('Inband-Security-Id').every(id => id === 0)

void t.test('both ports are served side by side; there is no TLS inside a connection', async t => {
  const server = await startTlsServer(t)
  if (!server) return
  const { tlsPort, port, as, pgw } = server
  const secure = await tlsClient(t, tlsPort, as(pgw))
  const cea = await secure.ask(aCer())
  t.equal(cea.value('Result-Code'), 2001)
  t.ok(noInbandSecurity(cea), 'the CEA offers no TLS to come')
  t.equal((await secure.ask(aCcr())).value('Result-Code'), 2001)
  const plain = await RawClient.peer(t, { port }, aCer({ originHost: 'dra1.example.net' }))
  t.equal((await plain.ask(aCcr({ originHost: 'dra1.example.net' }))).value('Result-Code'), 2001)
  const inband = await RawClient.open(t, { port })
  const offered = await inband.ask(aCer({ originHost: 'o.example.net', more: [['Inband-Security-Id', 1], ['Auth-Application-Id', 4]] })) // prettier-ignore
  t.equal(offered.value('Result-Code'), 5017)
  t.match(
    server.server.peers().map(({ originHost, transport }) => [originHost, transport]),
    [
      ['pgw1.example.net', 'tls'],
      ['dra1.example.net', 'tcp'],
    ],
  )
  server.server.connectionOf('pgw1.example.net')!.disconnect('watchdog')
  t.equal(await secure.closed, 'reset', 'and can be ended at once')
})

void t.test('who does not prove to be known to an authority of ours is not heard', async t => {
  const server = await startTlsServer(t)
  const strangers = Authority.make(t, 'strangers')
  if (!server || !strangers) return
  const { tlsPort, as, authority, pgw, metrics, log } = server
  const weak = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  const cases: { what: string; options: ConnectionOptions; reason: RegExp }[] = [
    {
      what: 'no certificate',
      options: { ca: readFileSync(authority.certificate) },
      reason: /did not return a certificate/,
    },
    {
      what: 'a certificate of another authority',
      options: as(strangers.issue('pgw1.example.net')),
      reason: /unable to verify|certificate verify failed|self.signed|UNABLE/i,
    },
    {
      what: 'an expired certificate',
      options: as(authority.issue('pgw1.example.net', { days: -1 })),
      reason: /expired/,
    },
    { what: 'TLS 1.1', options: as(pgw, weak), reason: /unsupported protocol/ },
  ]
  for (const [i, { what, options, reason }] of cases.entries()) {
    server.clock.advance(60_000) // each is a line in the log
    // With TLS 1.3 a client hears of its refusal after its own part of the handshake.
    const heard = await tlsClient(t, tlsPort, { ...options, servername: identity }).then(
      async client => {
        client.send(aCer())
        return client.nextOrEnd()
      },
      () => 'refused' as const,
    )
    t.match(heard, /^(refused|end|reset)$/, what)
    await until(() => metrics.closedByPeer.get('unknown')!.get('tls_handshake') === i + 1)
    t.match(log.findLast(({ event }) => event === 'tls-handshake')?.['reason'], reason, `${what}: the log says why`)
  }
  const noise = connect(tlsPort, '127.0.0.1')
  noise.on('error', () => undefined).end(aCer())
  await new Promise(resolve => noise.resume().once('close', resolve))
  await until(() => metrics.closedByPeer.get('unknown')!.get('tls_handshake') === cases.length + 1)
  t.equal(server.server.counts().all, 0, 'nothing of them stays')
  t.equal((await (await tlsClient(t, tlsPort, as(pgw))).ask(aCer())).value('Result-Code'), 2001, 'others get in')
  const old = await tlsSocket(t, tlsPort, as(server.authority.issue('x.example.net'), { maxVersion: 'TLSv1.2' }))
  t.equal(old.getProtocol(), 'TLSv1.2', 'TLS 1.2 is spoken')
})

void t.test('a connection that is reset in its handshake is forgotten at once, and mistaken for no other', async t => {
  const server = await startTlsServer(t)
  const strangers = Authority.make(t, 'strangers')
  if (!server || !strangers) return
  const { tlsPort, as, metrics, log } = server
  const closed = (reason: 'peer_closed' | 'tls_handshake'): number => metrics.closedByPeer.get('unknown')!.get(reason)!
  for (const how of ['resetAndDestroy', 'destroy', 'resetAndDestroy'] as const) {
    const before = closed('peer_closed')
    const socket = connect(tlsPort, '127.0.0.1').on('error', () => undefined)
    await until(() => server.server.counts().all === 1)
    socket[how]()
    await until(() => closed('peer_closed') === before + 1)
    t.equal(server.server.counts().all, 0, how)
  }
  await t.rejects(tlsSocket(t, tlsPort, as(strangers.issue('pgw1.example.net'), { maxVersion: 'TLSv1.2' })))
  await until(() => closed('tls_handshake') === 1)
  t.match(log.findLast(({ event }) => event === 'tls-handshake')?.['reason'], /unable to verify|self.signed/)
})

void t.test('a certificate is that of its peer, by a DNS name in subjectAltName', async t => {
  const peers = [
    aPeer({ name: 'by-host', identity: 'pgw1.example.net' }),
    aPeer({ name: 'by-name', identity: 'pgw2.example.net', certificate: 'fleet.example.net' }),
    aPeer({ name: 'by-authority', identity: 'pgw3.example.net', certificate: 'any' }),
    aPeer({ name: 'others', identity: '*', certificate: 'any' }),
  ]
  const server = await startTlsServer(t, { peers })
  if (!server) return
  const { authority, tlsPort, as, metrics } = server
  const cases: [what: string, originHost: string, names: string, resultCode: number][] = [
    ['its Origin-Host', 'pgw1.example.net', 'DNS:pgw1.example.net', 2001],
    [
      'its Origin-Host among others, in other letters',
      'PGW1.example.net',
      'DNS:a.example.net,DNS:pgw1.EXAMPLE.net',
      2001,
    ],
    ['another host', 'pgw1.example.net', 'DNS:pgw9.example.net', 3010],
    ['its Origin-Host only as CN', 'pgw1.example.net', '', 3010],
    ['a name for many', 'pgw1.example.net', 'DNS:*.example.net', 3010],
    ['its name as a URI', 'pgw1.example.net', 'URI:aaa://pgw1.example.net', 3010],
    ['the name of its row', 'pgw2.example.net', 'DNS:fleet.example.net', 2001],
    ['its Origin-Host, where the row has another name', 'pgw2.example.net', 'DNS:pgw2.example.net', 3010],
    ['anything, where the row does not look', 'pgw3.example.net', 'DNS:else.example.org', 2001],
  ]
  let refused = 0
  for (const [what, originHost, names, resultCode] of cases) {
    const client = await tlsClient(t, tlsPort, as(authority.issue(originHost.toLowerCase(), { names })))
    const cea = await client.ask(aCer({ originHost }))
    t.equal(cea.value('Result-Code'), resultCode, what)
    if (resultCode === 3010) {
      t.equal(await client.closed, 'end', `${what}: and is closed`)
      t.equal(metrics.cerRejectedByReason.get('wrong_certificate'), ++refused)
    } else {
      client.socket.destroy()
      await until(() => server.server.peers().length === 0)
    }
  }
})

void t.test('a row may want TLS, or none', async t => {
  const peers = [
    aPeer({ name: 'secured', identity: 'pgw1.example.net', transport: 'tls' }),
    aPeer({ name: 'plain', identity: 'pgw2.example.net', transport: 'tcp' }),
    aPeer({ name: 'others', identity: '*', certificate: 'any' }),
  ]
  const server = await startTlsServer(t, { peers })
  if (!server) return
  const { authority, tlsPort, port, as, metrics } = server
  for (const [originHost, tls, resultCode] of [
    ['pgw1.example.net', true, 2001],
    ['pgw1.example.net', false, 3010],
    ['pgw2.example.net', true, 3010],
    ['pgw2.example.net', false, 2001],
    ['pgw3.example.net', true, 2001],
    ['pgw4.example.net', false, 2001],
  ] as const) {
    const client = tls
      ? await tlsClient(t, tlsPort, as(authority.issue(originHost)))
      : await RawClient.open(t, { port })
    const cea = await client.ask(aCer({ originHost }))
    t.equal(cea.value('Result-Code'), resultCode, `${originHost} ${tls ? 'over TLS' : 'without'}`)
    client.socket.destroy()
    await until(() => server.server.peers().length === 0)
  }
  t.equal(metrics.cerRejectedByReason.get('wrong_transport'), 2)
})

void t.test('a row has no more connections than its limit', async t => {
  const limits = { connections: 2, inFlight: undefined, ratePerSecond: undefined }
  const { port, metrics } = await startServer(t, { peers: [aPeer({ identity: '*', limits })] })
  const cer = (i: number): Buffer => aCer({ originHost: `pgw${i}.example.net` })
  const first = await RawClient.peer(t, { port }, cer(1))
  await RawClient.peer(t, { port }, cer(2))
  const third = await RawClient.open(t, { port })
  const cea = await third.ask(cer(3))
  t.equal(cea.value('Result-Code'), 3010)
  t.match(cea.value('Error-Message'), /row pgw of the peer table has all the connections/)
  t.equal(await third.closed, 'end')
  t.equal(metrics.cerRejectedByReason.get('row_limit'), 1)
  first.socket.destroy()
  await until(() => metrics.closedByPeer.get('pgw')!.get('peer_closed') === 1)
  t.ok(await RawClient.peer(t, { port }, cer(3)), 'a place that is free is given away')
})

void t.test('a handshake that does not end is ended, and counts as one who has not said who it is', async t => {
  const server = await startTlsServer(t, { limits: { unidentifiedPerAddress: 2 } })
  if (!server) return
  const { tlsPort, as, pgw, clock, metrics } = server
  const closed = (reason: 'cer_timeout' | 'unidentified_limit' | 'drain'): number =>
    metrics.closedByPeer.get('unknown')!.get(reason)!
  const silent = [connect(tlsPort, '127.0.0.1'), connect(tlsPort, '127.0.0.1')]
  for (const socket of silent) socket.on('error', () => undefined)
  await until(() => server.server.counts().unidentified === 2)
  await t.rejects(tlsClient(t, tlsPort, as(pgw)), 'the third of an address is turned away')
  t.equal(closed('unidentified_limit'), 1)
  clock.advance(10_000)
  await until(() => server.server.counts().all === 0)
  t.equal(closed('cer_timeout'), 2)
  // Done with TLS and silent: the same time again, for its CER.
  const mute = await tlsClient(t, tlsPort, as(pgw))
  await until(() => server.server.counts().unidentified === 1)
  clock.advance(10_000)
  await mute.closed
  t.equal(closed('cer_timeout'), 3)
  const late = connect(tlsPort, '127.0.0.1').on('error', () => undefined)
  await until(() => server.server.counts().all === 1)
  await server.server.drain(1000)
  t.equal(closed('drain'), 1, 'a drain does not wait for it')
  late.destroy()
})

void t.test('files that change are taken up, connections stay, and what is bad is left alone', async t => {
  const server = await startTlsServer(t, { crl: true })
  if (!server) return
  const { authority, tlsPort, as, pgw, clock, metrics, log, config } = server
  const { tls } = config
  server.files.watch(identity)
  t.teardown(() => server.files.stop())
  const serialShown = async (): Promise<string> => {
    const socket = await tlsSocket(t, tlsPort, as(pgw))
    const { serialNumber } = socket.getPeerX509Certificate()!
    socket.destroy()
    await until(() => server.server.counts().unidentified === 0)
    return serialNumber
  }
  const look = (): void => clock.advance(5_000)
  const reloads = (): number[] => ['ok', 'refused'].map(result => metrics.tlsReloads.get(result as 'ok')!)
  const first = await serialShown()
  const peer = await tlsClient(t, tlsPort, as(pgw))
  t.equal((await peer.ask(aCer())).value('Result-Code'), 2001)

  const next = authority.issue(identity)
  copyFileSync(next.certificate, tls.certificate)
  touch(tls.certificate, 1)
  look()
  t.same(reloads(), [0, 0], 'half of a change is not judged at once')
  copyFileSync(next.key, tls.key)
  touch(tls.key, 1)
  look()
  look()
  t.same(reloads(), [1, 0])
  const second = await serialShown()
  t.not(second, first, 'who connects now sees the new certificate')
  t.equal((await peer.ask(aCcr())).value('Result-Code'), 2001, 'who was connected still is')

  writeFileSync(tls.key, 'not a key')
  touch(tls.key, 2)
  look()
  look()
  t.same(reloads(), [1, 1])
  const complaint = log.findLast(({ event }) => event === 'tls_refused')
  t.match(complaint, { level: 50, faults: [/diameter\.tls\.key: .*ocs\.key: it holds no private key in PEM form/] })
  look()
  look()
  t.same(reloads(), [1, 1], 'and is told once')
  t.equal(await serialShown(), second, 'the old one is shown')
  rmSync(tls.key)
  t.equal(server.files.reload(), 'refused', 'a file that is gone is bad, too')
  install(next, tls)
  t.equal(server.files.reload(), 'unchanged')

  authority.revoke([pgw])
  t.equal(server.files.reload(), 'ok')
  t.equal((await peer.ask(aCcr({ hopByHop: 2 }))).value('Result-Code'), 2001, 'revocation does not end what is open')
  const handshakes = metrics.closedByPeer.get('unknown')!.get('tls_handshake')!
  const again = await tlsClient(t, tlsPort, as(pgw)).catch(() => undefined)
  if (again) t.match(await again.closed, /end|reset/)
  await until(() => metrics.closedByPeer.get('unknown')!.get('tls_handshake') === handshakes + 1)
  t.pass('but the next handshake fails')
})

void t.test('the end of a certificate is told in good time, each day', t => {
  const authority = Authority.make(t)
  if (!authority) return t.end()
  const { certificate, key } = authority.issue(identity, { days: 40 })
  const config: TlsConfig = { listen: [], certificate, key, authority: authority.certificate, crl: undefined }
  const issued = Date.now()
  const cases: [daysLater: number, thenDays: number, daysLeft: number, warnings: RegExp[]][] = [
    [9, 0, 31, []],
    [10.5, 0, 29.5, [/^a certificate expires in 29 days$/]],
    [10.5, 1, 28.5, [/expires in 29 days/, /expires in 28 days/]],
    [39.5, 1, -0.5, [/expires in 0 days/, /^a certificate has expired$/]],
  ]
  for (const [daysLater, thenDays, daysLeft, warnings] of cases) {
    const metrics = new DiameterCounters([])
    const clock = new VirtualClock(issued + daysLater * dayMs)
    const log: LogLine[] = []
    const logger = pino({}, { write: line => void log.push(JSON.parse(line) as LogLine) })
    const files = new TlsFiles({ config, clock, metrics, log: logger })
    files.watch('another.example.net')
    clock.advance(thenDays * dayMs)
    files.stop()
    const what = `after ${daysLater} and ${thenDays} days`
    t.equal(Math.round((metrics.certificatesLeft.get('own')!() / dayMs) * 10) / 10, daysLeft, what)
    t.ok(metrics.certificatesLeft.get('authority')!() > 300 * dayMs)
    const [identityLine, ...expiry] = log
    t.match(identityLine, { event: 'tls_identity', msg: /does not name another\.example\.net/ })
    t.match(
      expiry.map(({ msg }) => msg),
      warnings,
      what,
    )
    t.equal(expiry.length, warnings.length, what)
    t.ok(expiry.every(({ event, level, file }) => event === 'tls_expiry' && level === 40 && file === certificate))
  }
  t.end()
})

void t.test('files that cannot be used are refused in words', t => {
  const authority = Authority.make(t)
  if (!authority) return t.end()
  const ours = authority.issue(identity, { days: 3 })
  const other = authority.issue(identity)
  const write = (name: string, content: string): string => {
    const file = join(authority.folder, name)
    writeFileSync(file, content)
    return file
  }
  const good: TlsConfig = { listen: [], ...ours, authority: authority.certificate, crl: undefined }
  const now = Date.now()
  t.ok(readTlsFiles(good, now))
  const gone = join(authority.folder, 'gone.pem')
  const cases: [what: string, config: Partial<TlsConfig>, at: number, lines: RegExp[]][] = [
    ['no file', { certificate: gone }, now, [/^diameter\.tls\.certificate: cannot be read: ENOENT.*gone\.pem/]],
    [
      'no files',
      { certificate: gone, key: gone, crl: gone },
      now,
      [/certificate: cannot/, /key: cannot/, /crl: cannot/],
    ],
    [
      "another's key",
      { key: other.key },
      now,
      [/^diameter\.tls\.key: .* does not fit the certificate .*; use its own key/],
    ],
    ['no certificate in it', { certificate: ours.key }, now, [/certificate: .*: it holds no certificate in PEM form/]],
    ['no key in it', { key: ours.certificate }, now, [/key: .*: it holds no private key in PEM form/]],
    [
      'a key with a passphrase',
      {
        key: write('locked.key', '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n'),
      },
      now,
      [/key: .*: it is encrypted; write it without a passphrase/],
    ],
    ['expired', {}, now + 4 * dayMs, [/certificate: .*: the certificate of CN=ocs1.* expired on .*; renew it/]],
    [
      'not valid yet',
      {},
      now - dayMs,
      [/certificate of CN=ocs1.* is not valid before .*; look at the clock/, /authority/],
    ],
    ['an authority that is none', { authority: ours.key }, now, [/authority: .*: it holds no certificate in PEM form/]],
    ['a list that is none', { crl: ours.certificate }, now, [/^diameter\.tls\.crl: cannot be used: /]],
  ]
  for (const [what, parts, at, lines] of cases) {
    try {
      readTlsFiles({ ...good, ...parts }, at)
      t.fail(`${what} was accepted`)
    } catch (error) {
      t.ok(error instanceof TlsFault)
      const told = (error as TlsFault).lines
      t.match(told, lines, what)
      t.equal(told.length, lines.length, `${what}: nothing else is told`)
    }
  }
  t.end()
})

void t.test('what clients received was right in all ways', t => {
  checkEverythingReceived(t)
  t.end()
})

/** A file's time moves, as it does between two changes by hand. */
function touch(file: string, seconds: number): void {
  const time = Date.now() / 1000 + seconds
  utimesSync(file, time, time)
}
