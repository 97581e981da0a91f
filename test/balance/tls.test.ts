/**
 * `rediss://`: the Store speaks TLS with a redis-server, whose certificate must come from a CA it trusts and name the host it
 * was asked for.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { freePort } from '../support/ocsd-process.js'
import { startRedis } from '../support/redis.js'
import type { TlsResult } from '../support/tls-process.js'
import { toolOrNotRun } from '../support/tools.js'

const program = fileURLToPath(new URL('../support/tls-process.ts', import.meta.url))

t.test('a store behind TLS', async t => {
  const openssl = toolOrNotRun(t, 'openssl', 'openssl')
  if (openssl === undefined) return
  const { ca, certificate, key } = makeCertificates(t, openssl)
  const port = await freePort()
  await startRedis(t, {
    'tls-port': String(port),
    bind: '127.0.0.1 127.0.0.2',
    'tls-cert-file': certificate,
    'tls-key-file': key,
    'tls-ca-cert-file': ca,
    'tls-auth-clients': 'no',
  })
  const charged = { outcome: 'new granted', reason: '' }
  const cases: { what: string; url: string; trusts?: string; is: { outcome: string; reason: RegExp | string } }[] = [
    { what: 'a host by its name is charged at', url: `rediss://localhost:${port}`, trusts: ca, is: charged },
    { what: 'a host by its address is charged at', url: `rediss://127.0.0.1:${port}`, trusts: ca, is: charged },
    {
      what: 'a CA that nobody trusts is refused',
      url: `rediss://localhost:${port}`,
      is: { outcome: 'BalanceUnavailableError', reason: /unable to verify|self-signed/ },
    },
    {
      what: 'a host that the certificate does not name is refused',
      url: `rediss://127.0.0.2:${port}`,
      trusts: ca,
      is: { outcome: 'BalanceUnavailableError', reason: /altnames/ },
    },
    {
      what: 'there is no answer without TLS',
      url: `redis://localhost:${port}`,
      trusts: ca,
      is: { outcome: 'BalanceUnavailableError', reason: /./ },
    },
  ]
  const runs = await Promise.all(cases.map(({ url, trusts }) => run(url, trusts)))
  for (const [i, { what, is }] of cases.entries()) {
    t.match(runs[i]!.result, is, what)
    t.equal(runs[i]!.stderr, '', 'and Node warns of nothing')
  }
})

/** A CA, and what it signed for localhost and 127.0.0.1; files that go with `t`. */
function makeCertificates(t: Test, openssl: string): { ca: string; certificate: string; key: string } {
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = (name: string): string => join(folder, name)
  const make = (...args: string[]): void => void execFileSync(openssl, args, { cwd: folder, stdio: 'pipe' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  writeFileSync(file('names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
  make('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Test CA', '-days', '2')
  make('req', ...newKey, '-keyout', 'redis.key', '-out', 'redis.csr', '-subj', '/CN=redis')
  const signer = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial']
  make('x509', '-req', '-in', 'redis.csr', ...signer, '-extfile', 'names', '-out', 'redis.pem', '-days', '2')
  return { ca: file('ca.pem'), certificate: file('redis.pem'), key: file('redis.key') }
}

/** Charges once at this URL, in a process that trusts this CA besides Node's own. */
function run(url: string, ca: string | undefined): Promise<{ result: TlsResult; stderr: string }> {
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(process.execPath, ['--import=tsx', program, url], {
    env: { PATH, HOME, ...(ca !== undefined && { NODE_EXTRA_CA_CERTS: ca }) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return new Promise((resolve, reject) => {
    child.once('close', code => {
      if (code === 0) resolve({ result: JSON.parse(stdout) as TlsResult, stderr })
      else reject(new Error(`the process ended with ${code}: ${stderr}`))
    })
  })
}
