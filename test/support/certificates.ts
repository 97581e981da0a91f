/**
 * Authorities and the certificates that they sign, made with openssl in a folder that goes with its test.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import type { Test } from 'tap'
import { RawClient } from './raw-client.js'
import { toolOrNotRun } from './tools.js'

export interface Certificate {
  /** Files, PEM. */
  readonly certificate: string
  readonly key: string
}

export interface CertificateParts {
  /** Content of subjectAltName; by default the DNS name that it is made for. */
  readonly names?: string
  readonly days?: number
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

export class Authority {
  /** Its own certificate, PEM. */
  readonly certificate: string
  private made = 0

  private constructor(
    private readonly openssl: string,
    readonly folder: string,
    private readonly name: string,
  ) {
    this.certificate = join(folder, `${name}.pem`)
    this.run(
      'req',
      '-x509',
      ...newKey,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
      '-subj',
      `/CN=${name}`,
      '-days',
      '400',
    )
  }

  /** Undefined where openssl is missing. */
  static make(t: Test, name = 'authority'): Authority | undefined {
    const openssl = toolOrNotRun(t, 'openssl', 'openssl')
    if (openssl === undefined) return undefined
    const folder = mkdtempSync(join(tmpdir(), 'ocsd-test-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    return new Authority(openssl, folder, name)
  }

  /** A certificate for a host, with a key of its own. */
  issue(host: string, { names = `DNS:${host}`, days = 90 }: CertificateParts = {}): Certificate {
    const file = `issued-${++this.made}`
    this.run('req', ...newKey, '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', `/CN=${host}`)
    writeFileSync(join(this.folder, `${file}.ext`), names === '' ? '' : `subjectAltName=${names}\n`)
    const signer = ['-CA', `${this.name}.pem`, '-CAkey', `${this.name}.key`, '-set_serial', String(1000 + this.made)]
    const extensions = ['-extfile', `${file}.ext`]
    this.run(
      'x509',
      '-req',
      '-in',
      `${file}.csr`,
      ...signer,
      ...extensions,
      '-out',
      `${file}.pem`,
      '-days',
      String(days),
    )
    return { certificate: join(this.folder, `${file}.pem`), key: join(this.folder, `${file}.key`) }
  }

  /** A list of certificates that are no good any more. @returns its file */
  revoke(certificates: readonly Certificate[], file = 'crl.pem'): string {
    const at = (name: string): string => join(this.folder, name)
    writeFileSync(at('index.txt'), '')
    const settings = `[ca]\ndefault_ca=it\n[it]\ndatabase=${at('index.txt')}\ndefault_md=sha256\ndefault_crl_days=30\n`
    writeFileSync(at('ca.cnf'), settings)
    const ca = ['ca', '-config', 'ca.cnf', '-cert', `${this.name}.pem`, '-keyfile', `${this.name}.key`]
    for (const { certificate } of certificates) this.run(...ca, '-revoke', certificate)
    this.run(...ca, '-gencrl', '-out', file)
    return at(file)
  }

  private run(...args: string[]): void {
    execFileSync(this.openssl, args, { cwd: this.folder, stdio: 'pipe' })
  }
}

/** What `tls.connect` takes of it. */
export const shown = ({ certificate, key }: Certificate): { cert: Buffer; key: Buffer } => ({
  cert: readFileSync(certificate),
  key: readFileSync(key),
})

/** Speaks TLS with a port of this machine, and is closed with `t`. @throws Error when the handshake fails */
export function tlsSocket(t: Test, port: number, options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ...options })
    t.teardown(() => socket.destroy())
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })
}

/** A peer that sends what a test says, over TLS. */
export const tlsClient = async (t: Test, port: number, options: ConnectionOptions): Promise<RawClient> =>
  RawClient.over(t, await tlsSocket(t, port, options))
