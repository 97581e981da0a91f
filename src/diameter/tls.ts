/**
 * TLS from the first octet, RFC 6733 section 13.1: our certificate and the authorities of peers, read from files and read again
 * when they change, and the handshake of a connection that came. Both sides show a certificate, and nothing below TLS 1.2 is
 * spoken: the cipher suites that the RFC names are obsolete. There is no TLS that begins after a CER.
 */
import { constants, createPrivateKey, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { Socket } from 'node:net'
import type { SecureContext, SecureContextOptions, Server, TLSSocket } from 'node:tls'
import { createSecureContext, createServer } from 'node:tls'
import type { Logger } from 'pino'
import type { Clock, Timer } from '../clock.js'
import type { TlsConfig } from '../config/config.js'
import type { Millis } from '../units.js'
import { reset } from './carriage.js'
import type { CloseReason, DiameterMetrics } from './metrics.js'

/** Files that cannot be used, a line each: what is wrong, and what to do. */
export class TlsFault extends Error {
  constructor(readonly lines: readonly string[]) {
    super(lines.join('\n'))
  }
}

/** What stands in the files. */
export interface TlsMaterial {
  readonly cert: string
  readonly key: string
  readonly ca: string
  readonly crl: string | undefined
  /** Our own certificate. */
  readonly own: X509Certificate
  /** When the first of ours and the first of the authorities' certificates ends. */
  readonly ownEnds: Millis
  readonly authorityEnds: Millis
}

export type TlsReload = 'ok' | 'unchanged' | 'refused'

export interface TlsOptions {
  readonly config: TlsConfig
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: DiameterMetrics
}

/** The files are looked at so often; a change counts when it has stood still for one look. */
const lookMs = 5_000
const dayMs = 86_400_000
/** A warning is due this long before a certificate ends, and each day from then on. */
const warnDays = 30

const secureOptions = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION

/**
 * Reads and checks the files.
 *
 * @param now against which certificates have begun and have not ended
 * @throws TlsFault with all that is wrong
 */
export function readTlsFiles(config: TlsConfig, now: Millis): TlsMaterial {
  const faults: string[] = []
  const attempt = <T>(key: keyof TlsConfig, what: string, read: () => T): T | undefined => {
    try {
      return read()
    } catch (error) {
      faults.push(`diameter.tls.${key}: ${what}: ${error instanceof Error ? error.message : String(error)}`)
      return undefined
    }
  }
  const textOf = (key: 'certificate' | 'key' | 'authority' | 'crl'): string | undefined => {
    const file = config[key]
    return file === undefined ? undefined : attempt(key, 'cannot be read', () => readFileSync(file, 'utf8'))
  }
  const [cert, keyText, ca, crl] = [textOf('certificate'), textOf('key'), textOf('authority'), textOf('crl')]
  const chain = cert === undefined ? undefined : attempt('certificate', config.certificate, () => certificatesIn(cert))
  const key = keyText === undefined ? undefined : attempt('key', config.key, () => keyIn(keyText))
  const authorities = ca === undefined ? undefined : attempt('authority', config.authority, () => certificatesIn(ca))
  const [own] = chain ?? []
  if (own && key && !own.checkPrivateKey(key))
    faults.push(`diameter.tls.key: ${config.key} does not fit the certificate ${config.certificate}; use its own key`)
  for (const each of chain ?? []) {
    const problem = validityProblem(each, now)
    if (problem !== undefined) faults.push(`diameter.tls.certificate: ${config.certificate}: ${problem}`)
  }
  if (authorities?.every(each => validityProblem(each, now) !== undefined))
    faults.push(`diameter.tls.authority: ${config.authority}: ${validityProblem(authorities[0]!, now)!}`)
  // What only OpenSSL can tell: a list of revoked certificates that is none, a key too small for today.
  if (faults.length === 0)
    attempt(crl === undefined ? 'certificate' : 'crl', 'cannot be used', () =>
      createSecureContext({ cert, key: keyText, ca, crl }),
    )
  if (faults.length > 0) throw new TlsFault(faults)
  const [ownEnds, authorityEnds] = [firstEnd(chain!), firstEnd(authorities!)]
  return { cert: cert!, key: keyText!, ca: ca!, crl, own: own!, ownEnds, authorityEnds }
}

/** The certificate in force, for as long as a node runs. */
export class TlsFiles {
  private material: TlsMaterial
  /** As the files were when they were last used or refused, and at the last look. */
  private known: string
  private seen: string
  private timer: Timer | undefined
  private warnedAt = -Infinity
  private readonly users: (() => void)[] = []

  /** @throws TlsFault */
  constructor(private readonly options: TlsOptions) {
    const { config, clock, metrics } = options
    this.known = this.seen = stampOf(config)
    this.material = readTlsFiles(config, clock.now())
    metrics.certificateEnds('own', () => this.material.ownEnds - clock.now())
    metrics.certificateEnds('authority', () => this.material.authorityEnds - clock.now())
  }

  /** Looks at the files from time to time, until `stop`. */
  watch(identity: string): void {
    const { log, config } = this.options
    if (this.material.own.checkHost(identity, { subject: 'never' }) === undefined)
      log.warn(
        { event: 'tls_identity', certificate: config.certificate, subjectAltName: this.material.own.subjectAltName },
        `our certificate does not name ${identity}: peers that look will refuse us`,
      )
    this.look()
  }

  stop(): void {
    this.options.clock.clearTimeout(this.timer)
    this.timer = undefined
  }

  /** For `tls.createServer` and `setSecureContext`. */
  serverOptions(): SecureContextOptions {
    const { cert, key, ca, crl } = this.material
    // No tickets: a session that goes on would not be checked against the authorities and the revoked of today.
    return { cert, key, ca, ...(crl !== undefined && { crl }), minVersion: 'TLSv1.2', secureOptions }
  }

  /** For a connection that we initiate: show it to `tls.connect` as `secureContext`. */
  clientContext(): SecureContext {
    return createSecureContext(this.serverOptions())
  }

  /** Called after each change. */
  onChange(user: () => void): void {
    this.users.push(user)
  }

  /** Reads the files now. Connections stay as they are; those that come get what is in force then. */
  reload(): TlsReload {
    const { config, clock, log, metrics } = this.options
    this.known = this.seen = stampOf(config)
    let next: TlsMaterial
    try {
      next = readTlsFiles(config, clock.now())
    } catch (error) {
      if (!(error instanceof TlsFault)) throw error
      metrics.tlsReload('refused')
      log.error({ event: 'tls_refused', faults: error.lines }, 'the TLS files are refused; the old ones stay in force')
      return 'refused'
    }
    metrics.tlsReload('ok')
    const { cert, key, ca, crl } = this.material
    if (next.cert === cert && next.key === key && next.ca === ca && next.crl === crl) return 'unchanged'
    this.material = next
    this.warnedAt = -Infinity
    this.warn()
    for (const user of this.users) user()
    log.info({ event: 'tls_loaded', until: new Date(next.ownEnds).toISOString() }, 'the TLS files were read again')
    return 'ok'
  }

  private look(): void {
    const { clock, config } = this.options
    const now = stampOf(config)
    // A certificate and its key are seldom changed at the same instant: half of a change is not judged.
    if (now !== this.known && now === this.seen) this.reload()
    this.seen = now
    this.warn()
    this.timer = clock.setTimeout(() => this.look(), lookMs)
  }

  private warn(): void {
    const { clock, log, config } = this.options
    const now = clock.now()
    if (now - this.warnedAt < dayMs) return
    for (const [file, ends] of [
      [config.certificate, this.material.ownEnds],
      [config.authority, this.material.authorityEnds],
    ] as const) {
      if (ends - now > warnDays * dayMs) continue
      this.warnedAt = now
      const days = Math.floor((ends - now) / dayMs)
      const message = days < 0 ? 'a certificate has expired' : `a certificate expires in ${days} days`
      log.warn({ event: 'tls_expiry', file, until: new Date(ends).toISOString() }, message)
    }
  }
}

/** How a handshake ends. */
export interface HandshakeEnds {
  /** @param certificate the peer's, signed by an authority of ours */
  secured(socket: TLSSocket, certificate: X509Certificate): void
  failed(reason: CloseReason, message: string | undefined): void
}

/** Speaks TLS with those who connect. It does not listen. */
export class TlsAcceptor {
  private readonly server: Server
  /** By the peer's end of the connection. */
  private readonly handshakes = new Map<string, Handshake>()
  /**
   * Whose connection is closed, and of whom Node has yet to tell why: it does not tell whom it means. Or it has told, and the
   * connection is closed next. Each is told of once, so that one of the two is empty, and nobody waits in the other for long.
   */
  private readonly closed: Handshake[] = []
  private readonly told: ((handshake: Handshake) => void)[] = []

  constructor(files: TlsFiles) {
    this.server = createServer({ ...files.serverOptions(), requestCert: true, rejectUnauthorized: true })
    files.onChange(() => this.server.setSecureContext(files.serverOptions()))
    this.server.on('secureConnection', socket => this.handshakes.get(endOf(socket))?.secured(socket))
    this.server.on('tlsClientError', (error, socket) => {
      const gone = socket.remotePort === undefined
      // The type says Error; it is OpenSSL's name of what is wrong with the peer's certificate.
      const unproven = socket.authorizationError as unknown as string | null
      const tell = (handshake: Handshake): void => {
        if (unproven) handshake.failed('tls_handshake', unproven.toLowerCase().replaceAll('_', ' '))
        else if (gone) handshake.failed('peer_closed', undefined)
        else handshake.failed('tls_handshake', reasonOf(error))
      }
      const handshake = gone ? this.closed.shift() : this.handshakes.get(endOf(socket))
      if (handshake) tell(handshake)
      else if (gone) this.told.push(tell)
    })
  }

  /** @param timeoutMs for the handshake */
  accept(socket: Socket, clock: Clock, timeoutMs: number, ends: HandshakeEnds): Handshake {
    const end = endOf(socket)
    const handshake = new Handshake(socket, clock, timeoutMs, ends)
    this.handshakes.set(end, handshake)
    socket.once('close', () => {
      this.handshakes.delete(end)
      if (handshake.told) return
      const tell = this.told.shift()
      if (tell) tell(handshake)
      else this.closed.push(handshake)
    })
    this.server.emit('connection', socket)
    return handshake
  }
}

/** A connection that speaks TLS and has not proven yet who it is. */
export class Handshake {
  /** Node has said how it ended. */
  told = false
  private over = false
  private readonly timer: Timer

  constructor(
    private readonly raw: Socket,
    private readonly clock: Clock,
    timeoutMs: number,
    private readonly ends: HandshakeEnds,
  ) {
    this.timer = clock.setTimeout(() => this.disconnect('cer_timeout'), timeoutMs)
    raw.on('error', () => raw.destroy())
  }

  /** Ends it at once. */
  disconnect(reason: CloseReason): void {
    this.end(reason, undefined)
    reset(this.raw)
  }

  /** For its TlsAcceptor. */
  secured(socket: TLSSocket): void {
    this.told = true
    const certificate = socket.getPeerX509Certificate()
    if (this.over || !certificate) {
      socket.destroy()
      return
    }
    this.over = true
    this.clock.clearTimeout(this.timer)
    socket.disableRenegotiation()
    // A TLSSocket cannot reset; what it stands on can.
    socket.resetAndDestroy = () => {
      reset(this.raw)
      return socket
    }
    this.ends.secured(socket, certificate)
  }

  /** For its TlsAcceptor. */
  failed(reason: CloseReason, message: string | undefined): void {
    this.told = true
    this.end(reason, message)
  }

  private end(reason: CloseReason, message: string | undefined): void {
    if (this.over) return
    this.over = true
    this.clock.clearTimeout(this.timer)
    this.ends.failed(reason, message)
  }
}

const endOf = ({ remoteAddress, remotePort, localPort }: Socket): string =>
  `${remoteAddress ?? ''} ${remotePort ?? 0} ${localPort ?? 0}`

/** OpenSSL's words without its numbers and file names. */
const reasonOf = ({ message }: Error): string => /SSL routines:\w*:([^:]+):/.exec(message)?.[1] ?? message

function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(
    /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^]*?-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g,
  )
  if (!blocks) throw new Error('it holds no certificate in PEM form')
  return blocks.map(block => new X509Certificate(block))
}

function keyIn(pem: string): KeyObject {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) throw new Error('it holds no private key in PEM form')
  if (pem.includes('ENCRYPTED'))
    throw new Error('it is encrypted; write it without a passphrase, readable by this user only')
  return createPrivateKey(pem)
}

function validityProblem({ validFrom, validTo, subject }: X509Certificate, now: Millis): string | undefined {
  const whose = subject.replace(/\n/g, ', ')
  if (Date.parse(validTo) < now) return `the certificate of ${whose} expired on ${validTo}; renew it`
  if (Date.parse(validFrom) > now)
    return `the certificate of ${whose} is not valid before ${validFrom}; look at the clock`
  return undefined
}

const firstEnd = (certificates: readonly X509Certificate[]): Millis =>
  Math.min(...certificates.map(({ validTo }) => Date.parse(validTo)))

/** Changes when a file does: also one that is replaced by another of the same time and size. */
const stampOf = ({ certificate, key, authority, crl }: TlsConfig): string =>
  [certificate, key, authority, ...(crl === undefined ? [] : [crl])]
    .map(file => {
      try {
        const { mtimeMs, size, ino } = statSync(file)
        return `${mtimeMs} ${size} ${ino}`
      } catch {
        return 'gone'
      }
    })
    .join(', ')
