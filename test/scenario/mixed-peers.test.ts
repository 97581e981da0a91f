/**
 * A relayed, a TLS and a direct client side by side on one daemon: each is known by what the peer table says of it, and charged
 * the same. Relays: many Origin-Hosts on one connection, Proxy-Info comes back, their Origin-State-Id says nothing.
 */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/load.js'
import { diameterFaults, startDaemon, StartRefusal } from '../../src/daemon.js'
import { encodeTree, type AvpItem } from '../../src/diameter/tree.js'
import { checkConfiguration } from '../../src/inquiry/check.js'
import { Authority, shown, tlsClient } from '../support/certificates.js'
import { copyConfig, startTestDaemon } from '../support/daemon.js'
import { aCer, aDpr, RawClient, type Received } from '../support/raw-client.js'
import { dictionary } from '../support/vectors.js'

const peersWith = (rows: string): string => `  peers:\n${rows}`

const rows = `
    - { name: dra, identity: dra1.example.net, from: 127.0.0.1, transport: tcp, relay: true }
    - { name: secured, identity: tls1.example.net, from: 127.0.0.1, certificate: origin-host }
    - { name: direct, identity: pgw1.example.net, from: 127.0.0.1, transport: tcp, profile: open5gs }
`

/** The shipped configuration with these rows and TLS. */
function changes(authority: Authority, certificate = authority.issue('ocs.localdomain')): Record<string, string> {
  const tls = {
    listen: ['127.0.0.1:0'],
    certificate: certificate.certificate,
    key: certificate.key,
    authority: authority.certificate,
  }
  return {
    '  peers:\n': peersWith(rows),
    '  dictionaries: []\n': `  dictionaries: []\n  tls: ${JSON.stringify(tls)}\n`,
  }
}

interface Ccr {
  readonly originHost: string
  readonly msisdn: string
  readonly type?: 1 | 2 | 3
  readonly number?: number
  readonly used?: number
  readonly more?: AvpItem[]
}

/** 1 MB of data is asked for, unless it is the end. */
function ccr({ originHost, msisdn, type = 1, number = 0, used, more = [] }: Ccr): Buffer {
  const units: AvpItem[] = []
  if (type !== 3) units.push(['Requested-Service-Unit', [['CC-Total-Octets', 1_000_000]]])
  if (used !== undefined) units.push(['Used-Service-Unit', [['CC-Total-Octets', used]]])
  return encodeTree(dictionary, {
    command: 'CCR',
    applicationId: 4,
    hopByHop: Number(msisdn.slice(-6)) * 10 + number,
    endToEnd: Number(msisdn.slice(-6)) * 10 + number,
    avps: [
      ['Session-Id', `${originHost};1;${msisdn}`],
      ['Origin-Host', originHost],
      ['Origin-Realm', 'example.net'],
      ['Destination-Realm', 'localdomain'],
      ['Auth-Application-Id', 4],
      ['Service-Context-Id', '32251@3gpp.org'],
      ['CC-Request-Type', type],
      ['CC-Request-Number', number],
      ['Subscription-Id', [['Subscription-Id-Type', 0], ['Subscription-Id-Data', msisdn]]], // prettier-ignore
      ['Multiple-Services-Credit-Control', [...units, ['Rating-Group', 10]]],
      ...more,
    ],
  })
}

/** Sends them in one write, and takes as many answers. */
async function answersOf(client: RawClient, requests: readonly Buffer[]): Promise<Received[]> {
  client.send(...requests)
  return client.take(requests.length)
}

void t.test('a relay, a TLS and a direct client are charged side by side', async t => {
  const authority = Authority.make(t)
  if (!authority) return
  const started = await startTestDaemon(t, { change: changes(authority) })
  const tlsPort = started.daemon.addresses.diameterTls[0]!.port
  const relay = await RawClient.peer(t, started, aCer({ originHost: 'dra1.example.net' }))
  const direct = await RawClient.peer(t, started)
  const secured = await tlsClient(t, tlsPort, {
    ca: readFileSync(authority.certificate),
    servername: 'ocs.localdomain',
    ...shown(authority.issue('tls1.example.net')),
  })
  t.equal((await secured.ask(aCer({ originHost: 'tls1.example.net' }))).value('Result-Code'), 2001)

  const path: AvpItem[] = [
    ['Route-Record', 'behind1.example.net'],
    ['Proxy-Info', [['Proxy-Host', 'dra9.example.net'], ['Proxy-State', Buffer.from('first')]]], // prettier-ignore
    ['Proxy-Info', [['Proxy-Host', 'dra1.example.net'], ['Proxy-State', Buffer.from('second')]]], // prettier-ignore
  ]
  const session = (originHost: string, msisdn: string, more?: AvpItem[]): Buffer[] => [
    ccr({ originHost, msisdn, ...(more && { more }) }),
    ccr({ originHost, msisdn, type: 2, number: 1, used: 1_000_000, ...(more && { more }) }),
    ccr({ originHost, msisdn, type: 3, number: 2, used: 500_000, ...(more && { more }) }),
  ]
  const clients = [
    { client: relay, of: [session('behind1.example.net', '491701000001', path), session('behind2.example.net', '491701000002', path)] }, // prettier-ignore
    { client: direct, of: [session('pgw1.example.net', '491701000003')] },
    { client: secured, of: [session('tls1.example.net', '491701000004')] },
  ]
  for (const number of [0, 1, 2]) {
    const all = await Promise.all(
      clients.map(({ client, of }) => answersOf(client, of.map(each => each[number]!))), // prettier-ignore
    )
    const answers = all.flat()
    t.equal(answers.length, 4)
    t.ok(answers.every(answer => answer.value('Result-Code') === 2001), `number ${number}`) // prettier-ignore
    for (const answer of all[0]!) {
      t.match(
        answer.values('Proxy-Info'),
        [[{ value: 'dra9.example.net' }, { value: Buffer.from('first') }], [{ value: 'dra1.example.net' }, { value: Buffer.from('second') }]], // prettier-ignore
        'Proxy-Info comes back, in its order',
      )
      t.same(answer.values('Route-Record'), [], 'and Route-Record does not')
    }
    for (const each of [all[1]!, all[2]!]) t.ok(each.every(answer => answer.values('Proxy-Info').length === 0))
  }
  // 1.5 MB at 0.01 EUR a MB in steps of 100 kB; the last has 5 GB.
  for (const msisdn of ['491701000001', '491701000002', '491701000003'])
    t.match(await started.money(msisdn), { money: 4_985_000n, held: 0n }, msisdn)
  t.match(await started.money('491701000004'), { held: 0n })

  const stranger = await direct.ask(ccr({ originHost: 'behind1.example.net', msisdn: '491701000005' }))
  t.equal(stranger.value('Result-Code'), 5004, 'who is no relay speaks for nobody else')
  const looped = ccr({ originHost: 'behind1.example.net', msisdn: '491701000005', more: [['Route-Record', 'ocs.localdomain'], ...path] }) // prettier-ignore
  const refused = await relay.ask(looped)
  t.equal(refused.value('Result-Code'), 3005)
  t.equal(refused.values('Proxy-Info').length, 2, 'a refusal finds its way back, too')
})

void t.test("a relay's Origin-State-Id says nothing about the gateways behind it", async t => {
  const started = await startTestDaemon(t, {
    change: { '  peers:\n': peersWith(rows.replace(/.*secured.*\n/, '')) },
  })
  const openSession = async (peer: string, originHost: string, msisdn: string, stateId: number): Promise<RawClient> => {
    const client = await RawClient.peer(t, started, aCer({ originHost: peer, more: [['Origin-State-Id', stateId], ['Auth-Application-Id', 4]] })) // prettier-ignore
    const answer = await client.ask(ccr({ originHost, msisdn }))
    t.equal(answer.value('Result-Code'), 2001)
    return client
  }
  const relay = await openSession('dra1.example.net', 'dra1.example.net', '491701000001', 7)
  const direct = await openSession('pgw1.example.net', 'pgw1.example.net', '491701000002', 7)
  for (const client of [relay, direct]) {
    client.socket.end(aDpr(0))
    await client.closed
  }
  await openSession('dra1.example.net', 'behind2.example.net', '491701000003', 8)
  await openSession('pgw1.example.net', 'pgw1.example.net', '491701000005', 8)
  // What the gateway that restarted had is released; not what came from the relay, in its name: it may hide its gateways so.
  while ((await started.money('491701000002')).held > 0n) await new Promise(resolve => setImmediate(resolve))
  t.ok((await started.money('491701000001')).held > 0n, 'the session behind the relay goes on')
})

void t.test('what TLS cannot be served with is refused at the start, and told by --check', async t => {
  const authority = Authority.make(t)
  if (!authority) return
  const [ours, other] = [authority.issue('ocs.localdomain'), authority.issue('ocs.localdomain')]
  copyFileSync(other.key, ours.key)
  const { file } = copyConfig(t, { change: changes(authority, ours) })
  const outcome = loadConfig(file)
  if (!('config' in outcome)) throw new Error('the configuration itself is good')
  const words = /^diameter\.tls\.key: .* does not fit the certificate .*; use its own key$/
  const log = pino({ level: 'silent' })
  await startDaemon({ config: outcome.config, log }).then(
    () => t.fail('started'),
    (error: unknown) => t.match((error as StartRefusal).lines, [words]),
  )
  const check = (): Promise<{ ok: boolean; lines: readonly string[] }> =>
    checkConfiguration(file, { log, further: config => diameterFaults(config, Date.now()) })
  t.match(await check(), { ok: false, lines: [words, '1 fault: the daemon would not start'] })
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.replace('profile: open5gs', 'profile: { omit: [Low-Balance-Indicator] }').replace(/ {2}tls: .*\n/, '').replace(/.*secured.*\n/, '')) // prettier-ignore
  t.match(await check(), {
    ok: false,
    lines: [/the profile of direct omits Low-Balance-Indicator, which no dictionary has/],
  })
})

void t.test('a reload of the daemon reads the TLS files', async (t: Test) => {
  const authority = Authority.make(t)
  if (!authority) return
  const ours = authority.issue('ocs.localdomain')
  const { daemon, log } = await startTestDaemon(t, { change: changes(authority, ours) })
  writeFileSync(join(authority.folder, 'spare.key'), readFileSync(ours.key))
  writeFileSync(ours.key, '')
  await daemon.reload()
  t.match(
    log.findLast(({ event }) => event === 'tls_refused'),
    { faults: [/it holds no private key/] },
  )
  const next = authority.issue('ocs.localdomain')
  copyFileSync(next.certificate, ours.certificate)
  copyFileSync(next.key, ours.key)
  await daemon.reload()
  t.ok(log.some(({ event }) => event === 'tls_loaded'))
})
