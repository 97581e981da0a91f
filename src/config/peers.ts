/**
 * The peer table of the configuration: who may connect, how, and with which profile and limits.
 */
import { isIP } from 'node:net'
import type { ListenAddress, PeerConfig, PeerLimits, PeerTarget } from './config.js'
import { choice, group, or } from './optional.js'
import { readProfile, standardProfile, type Profiles } from './profiles.js'
import { fault, readBoolean, readFields, readInteger, readList, readParsed, readText, type Value } from './yaml.js'

/** The row of a table that nobody wrote: any identity, from this machine only. */
export const loopback: PeerConfig = {
  name: 'loopback',
  identity: '*',
  realm: '*',
  from: ['127.0.0.0/8', '::1/128'],
  transport: 'any',
  certificate: 'origin-host',
  relay: false,
  limits: { connections: undefined, inFlight: undefined, ratePerSecond: undefined },
  profile: standardProfile,
}

/**
 * @param tls whether TLS is configured
 * @param identity our own
 */
export function readPeers(value: Value, profiles: Profiles, tls: boolean, identity: string): PeerConfig[] {
  const peers: PeerConfig[] = []
  for (const item of readList(value)) {
    const fields = readFields(
      item,
      ['name', 'identity', 'realm', 'from', 'connect', 'transport', 'certificate', 'relay', 'limits', 'profile'],
      ['name', 'identity'],
    )
    if (!fields.from && !fields.connect)
      fault(item, `${item.path} lacks \`from\``, 'add `from:`, or `connect:` if it is only called')
    const name = or(fields.name, readText, '')
    if (peers.some(peer => peer.name === name))
      fault(fields.name ?? item, `the peer name \`${name}\` is taken`, 'names are unique')
    const host = or(fields.identity, readDomainOrAny, '*')
    const security = readSecurity(fields, tls)
    const connect =
      fields.connect &&
      fields.identity &&
      readTarget(fields.connect, host, security.transport === 'tls', peers, identity)
    peers.push({
      name,
      identity: host,
      realm: or(fields.realm, readDomainOrAny, '*'),
      from: fields.from ? readSome(fields.from, readBlock, '10.0.0.0/8') : [],
      ...(connect && { connect }),
      ...security,
      relay: or(fields.relay, readBoolean, false),
      limits: readPeerLimits(fields.limits),
      profile: readProfile(fields.profile, profiles),
    })
  }
  return peers
}

/** @param host its identity; @param before the rows above */
function readTarget(
  value: Value,
  host: string,
  tls: boolean,
  before: readonly PeerConfig[],
  identity: string,
): PeerTarget | undefined {
  const same = (other: string): boolean => other.toLowerCase() === host.toLowerCase()
  if (host === '*') fault(value, 'nobody can be called by `*`', 'write the Origin-Host of the peer as its identity')
  else if (same(identity)) fault(value, `\`${host}\` is our own identity`, 'write that of the peer')
  else if (before.some(peer => peer.connect && same(peer.identity)))
    fault(value, `\`${host}\` is called already`, 'a peer has one connection: let one row call it')
  const target = readParsed(
    value,
    'an address to call',
    text => {
      const address = parseAddress(text)
      return address?.port === 0 ? undefined : address
    },
    'write 192.0.2.7:3868, "[2001:db8::7]:3868" or a name with a port',
  )
  return target && { ...target, tls }
}

/** A row that wants a certificate wants TLS, unless it says otherwise. */
function readSecurity(
  { transport, certificate }: { transport?: Value; certificate?: Value },
  tls: boolean,
): Pick<PeerConfig, 'transport' | 'certificate'> {
  const carried = choice(transport, ['any', 'tcp', 'tls'], certificate ? 'tls' : 'any')
  if (certificate && carried === 'tcp')
    fault(certificate, 'there are no certificates on tcp', 'write `transport: tls`, or remove the certificate')
  else if (!tls && carried === 'tls')
    fault((transport ?? certificate)!, 'this peer needs TLS, which is not configured', 'add `tls:` to diameter')
  return { transport: carried, certificate: or(certificate, readCertificateName, 'origin-host') }
}

const readCertificateName = (value: Value): string | undefined =>
  readParsed(
    value,
    'the name in a certificate',
    parseDomain,
    'write origin-host, any, or the DNS name that its subjectAltName has',
  )

function readPeerLimits(value: Value | undefined): PeerLimits {
  const fields = group(value, ['connections', 'inFlight', 'ratePerSecond'])
  const number = (field: Value | undefined): number | undefined =>
    field && readInteger(field, { min: 1, max: 1_000_000 })
  return {
    connections: number(fields.connections),
    inFlight: number(fields.inFlight),
    ratePerSecond: number(fields.ratePerSecond),
  }
}

const readBlock = (value: Value): string | undefined =>
  readParsed(value, 'an address block', parseBlock, 'write 10.0.0.0/8, 192.0.2.7 or "2001:db8::/32"')

/** An address alone is the block of just itself. */
function parseBlock(text: string): string | undefined {
  const [address = '', bits, ...rest] = text.split('/')
  const widest = { 0: undefined, 4: 32, 6: 128 }[isIP(address)]
  if (widest === undefined || rest.length > 0) return undefined
  if (bits === undefined) return `${address}/${widest}`
  return /^\d{1,3}$/.test(bits) && Number(bits) <= widest ? text : undefined
}

/** What can be read of a list. */
export const readEach = <T>(value: Value, read: (value: Value) => T | undefined): T[] =>
  readList(value)
    .map(read)
    .filter(each => each !== undefined)

/** A list without which its owner cannot work. */
export function readSome<T>(value: Value, read: (value: Value) => T | undefined, example: string): T[] {
  if (readList(value).length === 0) fault(value, `${value.path} is empty`, `write at least one, like ${example}`)
  return readEach(value, read)
}

/** Host and port. */
export function parseAddress(text: string): ListenAddress | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^[\]:\s]+)):(\d{1,5})$/.exec(text)
  if (!match || Number(match[3]) > 65_535) return undefined
  const [, bracketed, plain] = match
  if (bracketed !== undefined && isIP(bracketed) !== 6) return undefined
  if (plain !== undefined && isIP(plain) !== 4 && !isHostName(plain)) return undefined
  return { host: (bracketed ?? plain)!, port: Number(match[3]) }
}

const domainPattern = /^(?=.{1,255}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$/

/** A name that is no address. */
const isHostName = (text: string): boolean => domainPattern.test(text) && /[A-Za-z]/.test(text)

const parseDomain = (text: string): string | undefined => (domainPattern.test(text) ? text : undefined)

export const readDomain = (value: Value): string | undefined =>
  readParsed(value, 'a domain name', parseDomain, 'write letters, digits, dashes and dots, like ocs.example.net')

const readDomainOrAny = (value: Value): string | undefined =>
  readParsed(
    value,
    'a domain name or *',
    text => (text === '*' ? text : parseDomain(text)),
    'write ocs.example.net, or "*" for any',
  )
