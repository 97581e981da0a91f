/**
 * Reads the daemon's configuration: every key is optional, unknown ones are refused, all faults are told at once.
 * `config/ocs.yaml` explains every key with its default; an empty file gives the same configuration as that one.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { micros, type Micros } from '../units.js'
import type {
  AdminConfig,
  AuditConfig,
  CdrConfig,
  ApprovalConfig,
  ChargingConfig,
  Config,
  DiameterConfig,
  DiameterLimits,
  JournalConfig,
  ListenAddress,
  ListenPoint,
  LogConfig,
  OidcConfig,
  PaymentProviderConfig,
  PaymentsConfig,
  StoreConfig,
  TlsConfig,
  VoucherConfig,
} from './config.js'
import { readNotifications } from './notifications.js'
import { choice, group, or } from './optional.js'
import { loopback, parseAddress, readDomain, readEach, readPeers, readSome } from './peers.js'
import { readProfile, readProfiles } from './profiles.js'
import {
  fault,
  parseYaml,
  readBoolean,
  readChoice,
  readDuration,
  readFields,
  readInteger,
  readList,
  readMoney,
  readParsed,
  readSize,
  readTable,
  readText,
  type Fault,
  type Value,
} from './yaml.js'

export type ConfigOutcome = { readonly config: Config } | { readonly faults: readonly Fault[] }

type Environment = Readonly<Record<string, string | undefined>>

/** What readers need besides the value: where relative paths start, and the variables of `${env:NAME}`. */
interface Surroundings {
  readonly folder: string
  readonly environment: Environment
}

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour
const mebi = 1024 * 1024

const diameterPort = 3868
const diameterTlsPort = 5658

const noMoney: Micros = micros(0n)
const count = { min: 1, max: 1_000_000 }
const upToADay = { min: 1, max: day }
const upToAMonth = { min: second, max: 31 * day }
const octets = { min: 64, max: 2 ** 40 }

/**
 * @param environment where `${env:NAME}` is looked up
 * @returns the whole configuration, or every fault of the file; a file that cannot be read is a fault, too
 */
export function loadConfig(file: string, environment: Environment = process.env): ConfigOutcome {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const message = `the configuration cannot be read: ${(error as Error).message}`
    return { faults: [{ file, line: 1, column: 1, message, hint: 'name another file with --config or OCS_CONFIG' }] }
  }
  return readConfig(file, text, environment)
}

const topKeys = [
  'payments',
  'diameter',
  'store',
  'charging',
  'journal',
  'cdr',
  'audit',
  'notifications',
  'admin',
  'metrics',
  'vouchers',
  'log',
  'catalog',
  'data',
  'clock',
] as const

/** Reads a configuration from its text; relative paths start at the folder of `file`. */
export function readConfig(file: string, text: string, environment: Environment = {}): ConfigOutcome {
  const faults: Fault[] = []
  const root = parseYaml(file, text, faults)
  if (!root) return { faults }
  const around: Surroundings = { folder: dirname(resolve(file)), environment }
  const top = readFields(root, topKeys)
  const data = pathOf(top.data, '../data', around)
  const config: Config = {
    file: resolve(file),
    diameter: readDiameter(top.diameter, around, faults),
    store: readStore(top.store, around),
    charging: readCharging(top.charging),
    journal: readJournal(top.journal, data, around),
    cdr: readCdr(top.cdr, data, around),
    audit: readAudit(top.audit),
    notifications: readNotifications(top.notifications, {
      secret: each => readSecret(each, around),
      text: each => readExpanded(each, around),
    }),
    admin: readAdmin(top.admin, data, around),
    payments: readPayments(top.payments, around),
    metrics: readMetrics(top.metrics),
    vouchers: readVouchers(top.vouchers, data, around),
    log: readLog(top.log),
    catalog: pathOf(top.catalog, 'catalog', around),
    data,
    clock: choice(top.clock, ['system', 'virtual']),
  }
  const sorted = faults.sort((a, b) => a.line - b.line || a.column - b.column)
  return sorted.length > 0 ? { faults: sorted } : { config }
}

const pathOf = (value: Value | undefined, fallback: string, around: Surroundings): string =>
  resolve(around.folder, or(value, readText, fallback))

const integer = (value: Value | undefined, fallback: number, range = count): number =>
  or(value, each => readInteger(each, range), fallback)

const duration = (value: Value | undefined, fallback: number, range: { min: number; max: number }): number =>
  or(value, each => readDuration(each, range), fallback)

const size = (value: Value | undefined, fallback: number, range = octets): number =>
  or(value, each => readSize(each, range), fallback)

const diameterKeys = [
  'identity',
  'realm',
  'listen',
  'tls',
  'dictionaries',
  'profiles',
  'peers',
  'limits',
  'watchdog',
  'reconnect',
  'duplicatePeer',
] as const

function readDiameter(value: Value | undefined, around: Surroundings, faults: Fault[]): DiameterConfig {
  const fields = group(value, diameterKeys)
  const profiles = readProfiles(fields.profiles, faults)
  const tls = fields.tls && readTls(fields.tls, around)
  const identity = or(fields.identity, readDomain, 'ocs.localdomain')
  return {
    identity,
    realm: or(fields.realm, readDomain, 'localdomain'),
    // With TLS there may be no other way in.
    listen: tls && fields.listen && readList(fields.listen).length === 0 ? [] : readPoints(fields.listen, diameterPort),
    tls,
    dictionaries: fields.dictionaries
      ? readEach(fields.dictionaries, readText).map(each => resolve(around.folder, each))
      : [],
    peers: fields.peers
      ? readPeers(fields.peers, profiles, tls !== undefined, identity)
      : [{ ...loopback, profile: readProfile(undefined, profiles) }],
    limits: readLimits(fields.limits),
    watchdogMs: duration(fields.watchdog, 30 * second, { min: 6 * second, max: hour }),
    reconnectMs: duration(fields.reconnect, 30 * second, { min: second, max: hour }),
    duplicatePeer: choice(fields.duplicatePeer, ['reject', 'replace']),
  }
}

function readTls(value: Value, around: Surroundings): TlsConfig {
  const required = ['certificate', 'key', 'authority'] as const
  const fields = readFields(value, ['listen', ...required, 'crl'], required)
  return {
    listen: readPoints(fields.listen, diameterTlsPort),
    certificate: pathOf(fields.certificate, '', around),
    key: pathOf(fields.key, '', around),
    authority: pathOf(fields.authority, '', around),
    crl: fields.crl && pathOf(fields.crl, '', around),
  }
}

const readPoints = (value: Value | undefined, port: number): ListenPoint[] =>
  value ? readSome(value, readPoint, `127.0.0.1:${port}`) : [{ host: '127.0.0.1', port }]

const readPoint = (value: Value): ListenPoint | undefined =>
  readParsed(
    value,
    'an address to listen on',
    text => (text.startsWith('fd:') ? parseDescriptor(text) : parseAddress(text)),
    'write 127.0.0.1:3868 or "[::1]:3868" (port 0 lets the system pick one), or fd:3 for a socket that is handed over',
  )

/** `fd:3`, or `fd:name` as in LISTEN_FDNAMES; 0 to 2 are the process's own. */
function parseDescriptor(text: string): ListenPoint | undefined {
  const [, number, name] = /^fd:(?:(\d{1,6})|([A-Za-z][A-Za-z0-9._-]{0,254}))$/.exec(text) ?? []
  if (name !== undefined) return { fd: name }
  return number !== undefined && Number(number) > 2 ? { fd: Number(number) } : undefined
}

const readAddress = (value: Value): ListenAddress | undefined =>
  readParsed(
    value,
    'an address to listen on',
    parseAddress,
    'write 127.0.0.1:3868 or "[::1]:3868"; port 0 lets the system pick one',
  )

const limitKeys = [
  'message',
  'depth',
  'avps',
  'sessionId',
  'connections',
  'unidentified',
  'unidentifiedPerAddress',
  'cerTimeout',
  'frameTimeout',
  'output',
  'inFlight',
  'inFlightInAll',
  'ratePerSecond',
  'queue',
  'queueAge',
] as const

function readLimits(value: Value | undefined): DiameterLimits {
  const fields = group(value, limitKeys)
  return {
    // Message Length has 24 bits; a CER with a few applications needs some hundred octets.
    messageOctets: size(fields.message, mebi, { min: 4_096, max: 2 ** 24 - 4 }),
    depth: integer(fields.depth, 16, { min: 4, max: 64 }),
    avps: integer(fields.avps, 4_096, { min: 64, max: 1_000_000 }),
    sessionIdOctets: size(fields.sessionId, 512, { min: 64, max: 65_536 }),
    connections: integer(fields.connections, 1_000),
    unidentified: integer(fields.unidentified, 32),
    unidentifiedPerAddress: integer(fields.unidentifiedPerAddress, 4),
    cerTimeoutMs: duration(fields.cerTimeout, 10 * second, upToADay),
    frameTimeoutMs: duration(fields.frameTimeout, 30 * second, upToADay),
    outputOctets: size(fields.output, 4 * mebi),
    inFlight: integer(fields.inFlight, 4_096),
    inFlightInAll: integer(fields.inFlightInAll, 4_096),
    ratePerSecond: integer(fields.ratePerSecond, 0, { min: 0, max: count.max }),
    queue: integer(fields.queue, 32_768),
    queueAgeMs: duration(fields.queueAge, 250, { min: 10, max: 10 * second }),
  }
}

function readStore(value: Value | undefined, around: Surroundings): StoreConfig {
  const fields = group(value, ['kind', 'url', 'sentinel', 'durability', 'partitions'])
  const kind = choice(fields.kind, ['embedded', 'url', 'sentinel'])
  for (const key of ['url', 'sentinel'] as const) {
    const field = fields[key]
    if (field && kind !== key)
      fault(field, `store.${key} has no use with kind ${kind}`, `write \`kind: ${key}\`, or remove it`)
    if (value && !field && kind === key) fault(value, `store lacks \`${key}\``, `add \`${key}:\`, or use another kind`)
  }
  const url = fields.url && readUrl(fields.url, around)
  const sentinel = fields.sentinel && readSentinel(fields.sentinel, around)
  return {
    kind,
    ...(url === undefined ? {} : { url }),
    ...(sentinel === undefined ? {} : { sentinel }),
    durability: choice(fields.durability, ['disk', 'memory']),
    partitions: integer(fields.partitions, 1_024, { min: 1, max: 16_384 }),
  }
}

function readUrl(value: Value, around: Surroundings): string | undefined {
  const written = readText(value)
  if (written === undefined) return undefined
  // A reference may be the password, or the whole address.
  const literal = written.replace(references, '')
  if (/:\/\/[^/@]*:[^@]+@/.test(literal)) {
    return fault(value, 'store.url contains a password', 'write ${env:NAME} or ${file:PATH} in its place')
  }
  // A password may contain any character.
  const url = expand(value, written, around, literal === '' ? same : encodeURIComponent)
  if (url === undefined) return undefined
  const { protocol = '', pathname = '' } = URL.canParse(url) ? new URL(url) : {}
  if (/^rediss?:$/.test(protocol) && /^(\/\d*)?$/.test(pathname)) return url
  return fault(
    value,
    'store.url is no Redis address',
    'write redis://host:6379/0 or rediss://user:${env:NAME}@host:6379',
  )
}

function readSentinel(value: Value, around: Surroundings): StoreConfig['sentinel'] {
  const required = ['name', 'sentinels'] as const
  const fields = readFields(value, [...required, 'password', 'sentinelPassword'], required)
  const password = fields.password && readSecret(fields.password, around)
  const sentinelPassword = fields.sentinelPassword && readSecret(fields.sentinelPassword, around)
  return {
    name: or(fields.name, readText, ''),
    sentinels: fields.sentinels ? readSome(fields.sentinels, readAddress, '10.0.0.1:26379') : [],
    ...(password === undefined ? {} : { password }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
  }
}

/** Secrets do not stand in configuration files, which are copied, printed and kept in version control. */
function readSecret(value: Value, around: Surroundings): string | undefined {
  const written = readText(value)
  if (written === undefined) return undefined
  if (/^\$\{(env|file):[^}]+\}$/.test(written)) return expand(value, written, around, same)
  return fault(value, `${value.path} is written out`, 'write ${env:NAME} or ${file:PATH}')
}

function readExpanded(value: Value, around: Surroundings): string | undefined {
  const written = readText(value)
  return written === undefined ? undefined : expand(value, written, around, same)
}

/** `${env:NAME}` and `${file:PATH}`. */
const references = /\$\{(env|file):([^}]+)\}/g

const same = (secret: string): string => secret

/** Puts what `${env:NAME}` and `${file:PATH}` stand for in their place; the end of line of a file is dropped. */
function expand(
  value: Value,
  text: string,
  around: Surroundings,
  encode: (secret: string) => string,
): string | undefined {
  const missing: string[] = []
  const expanded = text.replace(references, (written, kind: string, name: string) => {
    const secret = kind === 'env' ? around.environment[name] : contentOf(resolve(around.folder, name))
    if (secret !== undefined) return encode(secret)
    if (kind === 'env') fault(value, `the environment has no ${name}`, 'set it for the daemon')
    else fault(value, `the file ${name} cannot be read`, "a relative path starts at the configuration's folder")
    missing.push(written)
    return ''
  })
  return missing.length === 0 ? expanded : undefined
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  } catch {
    return undefined // told by the caller, who knows the place
  }
}

const chargingKeys = [
  'holdBudget',
  'spool',
  'silence',
  'defaultValidity',
  'keepClosed',
  'keepSilent',
  'keepMark',
  'failureHandling',
  'sessionFailover',
  'directDebitingFailureHandling',
  'refundWindow',
  'onSuspend',
] as const

function readCharging(value: Value | undefined): ChargingConfig {
  const fields = group(value, chargingKeys)
  return {
    // Tx of a gateway is 10 s; above that no answer is heard.
    holdBudgetMs: duration(fields.holdBudget, 7 * second, { min: 100, max: minute }),
    spoolOctets: size(fields.spool, 64 * mebi, { min: 4_096, max: 2 ** 40 }),
    silence: integer(fields.silence, 2, { min: 1, max: 100 }),
    defaultValidityMs: duration(fields.defaultValidity, hour, upToAMonth),
    keepClosedMs: duration(fields.keepClosed, 10 * minute, upToAMonth),
    keepSilentMs: duration(fields.keepSilent, day, upToAMonth),
    keepMarkMs: duration(fields.keepMark, day, upToAMonth),
    failureHandling: choice(fields.failureHandling, ['terminate', 'continue', 'retry-and-terminate']),
    sessionFailover: or(fields.sessionFailover, readBoolean, false),
    directDebitingFailureHandling: choice(fields.directDebitingFailureHandling, ['terminate-or-buffer', 'continue']),
    refundWindowMs: duration(fields.refundWindow, 30 * day, { min: hour, max: 366 * day }),
    onSuspend: choice(fields.onSuspend, ['reauthorise', 'abort', 'wait']),
  }
}

function readJournal(value: Value | undefined, data: string, around: Surroundings): JournalConfig {
  const fields = group(value, ['keep', 'directory', 'rotate', 'archive', 'states'])
  return {
    keepMs: duration(fields.keep, 10 * minute, { min: 0, max: 31 * day }),
    directory: pathOf(fields.directory, resolve(data, 'ledger'), around),
    rotateOctets: size(fields.rotate, 64 * mebi, { min: 4_096, max: 2 ** 40 }),
    archive: fields.archive ? readEach(fields.archive, readText).map(each => resolve(around.folder, each)) : [],
    states: pathOf(fields.states, resolve(data, 'states'), around),
  }
}

function readCdr(value: Value | undefined, data: string, around: Surroundings): CdrConfig {
  const fields = group(value, ['formats', 'directory', 'rotate', 'rotateEvery', 'kinds'])
  const formats = ['jsonl', 'csv'] as const
  const kinds = ['charge', 'session', 'money'] as const
  return {
    formats: fields.formats ? [...new Set(readEach(fields.formats, each => readChoice(each, formats)))] : [],
    directory: pathOf(fields.directory, resolve(data, 'cdr'), around),
    rotateOctets: size(fields.rotate, 64 * mebi, { min: 4_096, max: 2 ** 40 }),
    rotateMs: duration(fields.rotateEvery, 15 * minute, { min: second, max: 31 * day }),
    kinds: fields.kinds ? [...new Set(readEach(fields.kinds, each => readChoice(each, kinds)))] : kinds,
  }
}

function readAudit(value: Value | undefined): AuditConfig {
  const { at } = group(value, ['at'])
  const read = (each: Value): number | 'never' | undefined =>
    readParsed(
      each,
      'a time of day',
      text => {
        if (text === 'never') return text
        const [, hours, minutes] = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(text) ?? []
        return hours === undefined ? undefined : Number(hours) * 60 + Number(minutes)
      },
      'write "03:30", or never',
    )
  const minutes = or<number | 'never'>(at, read, 210)
  return { at: minutes === 'never' ? undefined : minutes }
}

const adminKeys = ['listen', 'tokenFile', 'ratePerSecond', 'lockout', 'oidc', 'approval', 'idempotencyKeep'] as const

function readAdmin(value: Value | undefined, data: string, around: Surroundings): AdminConfig {
  const fields = group(value, adminKeys)
  const lockout = group(fields.lockout, ['tries', 'window'])
  return {
    ...or(fields.listen, readAddress, { host: '127.0.0.1', port: 8_080 }),
    tokenFile: pathOf(fields.tokenFile, resolve(data, 'admin.token'), around),
    ratePerSecond: integer(fields.ratePerSecond, 100, { min: 0, max: count.max }),
    lockout: { tries: integer(lockout.tries, 10), windowMs: duration(lockout.window, minute, upToADay) },
    oidc: fields.oidc && readOidc(fields.oidc, around),
    approval: readApproval(fields.approval),
    idempotencyKeepMs: duration(fields.idempotencyKeep, 7 * day, { min: minute, max: 400 * day }),
  }
}

function readOidc(value: Value, around: Surroundings): OidcConfig {
  const required = ['issuer', 'audience', 'jwks'] as const
  const fields = readFields(value, [...required, 'subject', 'rolesClaim', 'roles'], required)
  const written = fields.jwks && readText(fields.jwks)
  const isUrl = written !== undefined && /^https?:/.test(written)
  if (isUrl && !/^https:|^http:\/\/(localhost|127\.|\[::1\])/.test(written))
    fault(fields.jwks!, 'admin.oidc.jwks is not https', 'keys that come over http can be exchanged on the way')
  return {
    issuer: or(fields.issuer, readText, ''),
    audience: or(fields.audience, readText, ''),
    jwks: isUrl ? { url: written } : { file: resolve(around.folder, written ?? '') },
    subjectClaim: or(fields.subject, readText, 'sub'),
    rolesClaim: or(fields.rolesClaim, readText, 'roles'),
    roles: new Map(
      fields.roles ? readTable(fields.roles).map(({ name, value: role }) => [name, or(role, readText, '')]) : [],
    ),
  }
}

function readPayments(value: Value | undefined, around: Surroundings): PaymentsConfig {
  const fields = group(value, ['providers', 'patience'])
  const providers = fields.providers ? readEach(fields.providers, each => readPaymentProvider(each, around)) : []
  providers.forEach(({ name }, i) => {
    if (providers.findIndex(other => other.name === name) < i)
      fault(fields.providers!, `payments.providers has two of the name ${name}`, 'name them differently')
  })
  return { providers, patienceMs: duration(fields.patience, hour, { min: minute, max: 31 * day }) }
}

function readPaymentProvider(value: Value, around: Surroundings): PaymentProviderConfig {
  const common = ['name', 'kind', 'currencies', 'methods'] as const
  const fields = readFields(value, [...common, 'url', 'secret', 'noticeSecret', 'timeout'], ['name'])
  const set = (list: Value | undefined): ReadonlySet<string> | undefined => list && new Set(readEach(list, readText))
  const terms = {
    name: or(fields.name, readText, ''),
    currencies: set(fields.currencies),
    methods: set(fields.methods),
  }
  if (choice(fields.kind, ['http', 'test']) === 'test') return { ...terms, kind: 'test' }
  for (const key of ['url', 'secret', 'noticeSecret'] as const)
    if (!fields[key])
      fault(value, `a provider of kind http lacks \`${key}\``, `add \`${key}:\`, or write \`kind: test\``)
  const url = or(fields.url, readText, '')
  if (fields.url && !/^https:\/\/|^http:\/\/(localhost|127\.|\[::1\])/.test(url))
    fault(fields.url, `${fields.url.path} is not https`, 'orders and their secret would pass in the open')
  return {
    ...{ ...terms, kind: 'http', url },
    secret: (fields.secret && readSecret(fields.secret, around)) ?? '',
    noticeSecret: (fields.noticeSecret && readSecret(fields.noticeSecret, around)) ?? '',
    timeoutMs: duration(fields.timeout, 10 * second, { min: 100, max: minute }),
  }
}

function readApproval(value: Value | undefined): ApprovalConfig {
  const fields = group(value, ['publish', 'credit', 'keep'])
  return {
    publish: or(fields.publish, readBoolean, false),
    credit: new Map(
      fields.credit
        ? readTable(fields.credit).map(({ name, value: most }) => [name, or(most, readMoney, noMoney)])
        : [],
    ),
    keepMs: duration(fields.keep, 7 * day, upToAMonth),
  }
}

function readMetrics(value: Value | undefined): ListenAddress {
  return or(group(value, ['listen']).listen, readAddress, { host: '127.0.0.1', port: 9_464 })
}

function readVouchers(value: Value | undefined, data: string, around: Surroundings): VoucherConfig {
  const fields = group(value, ['keyFile', 'dualControl', 'capacity', 'lockout'])
  const lockout = group(fields.lockout, ['tries', 'outletTries', 'principalTries', 'window', 'lock'])
  return {
    keyFile: pathOf(fields.keyFile, resolve(data, 'voucher.key'), around),
    dualControl: or(fields.dualControl, readBoolean, false),
    capacity: integer(fields.capacity, 10_000_000, { min: 1, max: 1_000_000_000 }),
    lockout: {
      account: integer(lockout.tries, 5),
      outlet: integer(lockout.outletTries, 50),
      principal: integer(lockout.principalTries, 1_000),
      windowMs: duration(lockout.window, 15 * minute, upToADay),
      lockMs: duration(lockout.lock, hour, upToAMonth),
    },
  }
}

function readLog(value: Value | undefined): LogConfig {
  const fields = group(value, ['level', 'identities'])
  return {
    level: choice(fields.level, ['trace', 'debug', 'info', 'warn', 'error', 'silent'], 'info'),
    identities: choice(fields.identities, ['masked', 'plain']),
  }
}
