/**
 * Overload as gateways see it (flow F17; reliability: one peer floods, the event loop stands still, memory runs out): 3004
 * with the E bit, nothing reserved, the next node takes the request; others are served, and watchdogs are answered.
 */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Gateway, type GatewayConnection } from '../../src/simulator/gateway.js'
import { encodeAvp } from '../../src/diameter/tree.js'
import type { CcrInput } from '../../src/simulator/ccr.js'
import { Message } from '../../src/simulator/message.js'
import {
  aSeed,
  bookDifferences,
  ccrOf,
  importSubscribers,
  Load,
  PatientGateway,
  seeded,
  showAccounts,
  wholeLedger,
  type Told,
} from '../support/load.js'
import { OcsdProcess, processFolder, startTcpRedis, until, type ConfigParts } from '../support/ocsd-process.js'
import { dictionary } from '../support/vectors.js'

const opening = 1_000_000_000n

const told = (type: Told['type'], number = 0, octets = 0n): Told => ({ type, number, octets, result: undefined })

const row = (name: string, limits: object = {}, more: object = {}) => ({
  name,
  identity: `${name}.localdomain`,
  from: ['127.0.0.0/8'],
  limits,
  ...more,
})

/** A gateway whose messages are seen as octets. */
async function connect(t: Test, originHost: string, ocsd: OcsdProcess, received: Buffer[] = []) {
  const gateway = new Gateway({
    dictionary,
    originHost,
    originRealm: 'localdomain',
    destinationRealm: 'localdomain',
    patienceMs: 30_000,
    trace: (direction, octets) => {
      if (direction === 'received') received.push(octets)
    },
  })
  const connection = await gateway.connect(ocsd.address)
  t.teardown(() => connection.abort())
  return { gateway, connection }
}

interface Side {
  readonly gateway: Gateway
  readonly connection: GatewayConnection
}

/** As an agent hands it on. */
function withProxyInfo(request: Buffer): Buffer {
  const whole = Buffer.concat([request, proxyInfo])
  whole.writeUIntBE(whole.length, 1, 3)
  return whole
}
const proxyInfo = encodeAvp(dictionary, 'Proxy-Info', [
  ['Proxy-Host', 'dra.example.net'],
  ['Proxy-State', Buffer.from('state')],
])

const watchdog = ({ connection }: Side): Promise<Message> => connection.ask(connection.own('DWR', []))

const ask = ({ gateway, connection }: Side, ccr: CcrInput, endToEnd = gateway.nextEndToEnd()): Promise<Message> =>
  connection.ask(gateway.encode(ccr, { hopByHop: connection.nextHopByHop(), endToEnd, retransmitted: false }))

t.test('F17: 3004 with the E bit reserves nothing, another node takes the request, DWR is answered', async t => {
  const { url } = await startTcpRedis(t)
  const parts = (limits: object): ConfigParts => ({
    diameter: { peers: [row('pgw-1', limits)] },
    store: { kind: 'url', url, durability: 'memory' },
  })
  const busy = await OcsdProcess.start(t, processFolder(t, parts({ ratePerSecond: 1 })))
  const free = await OcsdProcess.start(t, processFolder(t, parts({})))
  const [subscriber] = await importSubscribers(busy, 1)
  const received: Buffer[] = []
  const one = await connect(t, 'pgw-1.localdomain', busy, received)
  const two = await connect(t, 'pgw-1.localdomain', free)
  const account = subscriber!.msisdn
  const sessions = Array.from({ length: 5 }, () => ({ id: one.gateway.nextSessionId(), account }))
  const identifiers = sessions.map(() => one.gateway.nextEndToEnd())
  received.length = 0
  const asks = sessions.map((session, i) => {
    const options = { hopByHop: one.connection.nextHopByHop(), endToEnd: identifiers[i]!, retransmitted: false }
    return one.connection.ask(withProxyInfo(one.gateway.encode(ccrOf(session, told('initial')), options)))
  })
  const answers = await Promise.all(asks)
  const codes = answers.map(({ resultCode }) => resultCode)
  t.equal(codes[0], 2001, 'the first of a second')
  const shed = codes.flatMap((code, i) => (code === 3004 ? [i] : []))
  t.ok(shed.length >= 3, codes.join(' '))
  for (const octets of received.filter(octets => octets.readUIntBE(5, 3) === 272)) {
    const answer = new Message(dictionary, octets)
    if (answer.resultCode !== 3004) continue
    t.equal(octets[4]! & 0xe0, 0x60, 'answer, P as it was, E')
    t.ok(sessions.some(({ id }) => id === answer.text('Session-Id')))
    t.equal(answer.text('Origin-Host'), 'ocs.localdomain')
    t.equal(answer.text('Origin-Realm'), 'localdomain')
    t.match(answer.text('Error-Message'), /not read/)
    t.ok(octets.includes(proxyInfo), 'Proxy-Info goes back as it came')
  }
  const held = async (): Promise<bigint> => (await showAccounts(busy, [subscriber!]))[0]!.held
  const before = await held()
  const { body } = await busy.api('GET', `/v1/sessions?account=${account}`)
  t.equal(
    (body['sessions'] as unknown[]).length,
    codes.filter(code => code === 2001).length,
    'no session is open of those',
  )
  const first = shed[0]!
  const elsewhere = await ask(two, ccrOf(sessions[first]!, told('initial')), identifiers[first])
  t.equal(elsewhere.resultCode, 2001, 'the other node takes it, same End-to-End identifier')
  t.ok((await held()) > before)
  t.ok((await busy.metric('ocs_shed_total', 'peer="pgw-1",reason="rate",type="initial"')) === shed.length)
  t.equal(await busy.metric('ocs_ccr_total', 'result="3004",outcome="shed"'), shed.length, 'they count as shed')
  t.equal((await watchdog(one)).resultCode, 2001, 'DWR in overload')
})

t.test(
  'row 13: a peer that floods is shed alone; TERMINATE of its sessions is served, and the books agree',
  async t => {
    const random = seeded(aSeed(t))
    const folder = processFolder(t, {
      diameter: { peers: [row('flood', { inFlight: 8 }), row('pgw-1'), row('pgw-2')], limits: { queueAge: '50ms' } },
    })
    const ocsd = await OcsdProcess.start(t, folder)
    const subscribers = await importSubscribers(ocsd, 8)
    const gateways = ['pgw-1', 'pgw-2'].map(name => new PatientGateway(`${name}.localdomain`, [ocsd.address], random))
    const load = new Load(gateways, subscribers, random)
    t.teardown(() => gateways.forEach(gateway => gateway.close()))
    await load.progress(50)

    const victims = await importSubscribers(ocsd, 20, { first: 491_770_000_000 })
    const flood = await connect(t, 'flood.localdomain', ocsd)
    const sessions = victims.map(({ msisdn }) => ({ id: flood.gateway.nextSessionId(), account: msisdn }))
    for (const session of sessions) t.equal((await ask(flood, ccrOf(session, told('initial')))).resultCode, 2001)
    const codes: (number | undefined)[] = []
    let dwas = 0
    const probes: Promise<unknown>[] = []
    const watch = setInterval(() => probes.push(watchdog(flood).then(() => dwas++)), 100)
    t.teardown(() => clearInterval(watch))
    const asks: Promise<unknown>[] = []
    const storm = 6_000
    for (let i = 0; i < storm; i++) {
      const session = { id: flood.gateway.nextSessionId(), account: victims[i % victims.length]!.msisdn }
      asks.push(ask(flood, ccrOf(session, told('initial'))).then(({ resultCode }) => codes.push(resultCode)))
    }
    const ends = sessions.map(session => ask(flood, ccrOf(session, told('terminate', 1, 1_000n))))
    await Promise.all(asks)
    for (const end of await Promise.all(ends)) t.equal(end.resultCode, 2001, 'TERMINATE is served')
    clearInterval(watch)
    const shed = codes.filter(code => code === 3004).length
    const granted = codes.filter(code => code === 2001).length
    const denied = codes.filter(code => code === 4012).length
    t.ok(shed > 0, `${shed} of ${storm} were shed`)
    t.equal(granted + shed + denied, storm, `the others were answered: ${granted} granted, ${denied} without funds`)
    await Promise.all(probes)
    t.ok(dwas > 0, `${dwas} watchdogs were answered meanwhile`)
    await load.progress(50)
    await load.finish()
    t.same(load.errors, [], 'no other peer noticed')
    t.equal(load.repeats, 0)
    t.equal(await ocsd.metric('ocs_shed_total', 'peer="pgw-1"'), 0)
    t.equal(await ocsd.metric('ocs_shed_total', 'peer="flood"'), shed)
    t.equal(await ocsd.metric('ocs_shed_total', 'type="terminate"'), 0)
    t.equal(await ocsd.metric('ocs_queue_requests'), 0)
    t.same((await ocsd.audit()).violations, [], 'the audit finds nothing')
    const accounts = await showAccounts(ocsd, subscribers)
    const ledger = await wholeLedger(accounts, join(folder.data, 'ledger'))
    t.same(bookDifferences(load.sessions, ledger, accounts, opening), [], 'three books agree')
  },
)

t.test(
  'row 29: what waited longer than the hold budget for an event loop that stood still is shed, not charged',
  async t => {
    const folder = processFolder(t, { charging: { holdBudget: '2s' } })
    const ocsd = await OcsdProcess.start(t, folder)
    const [subscriber] = await importSubscribers(ocsd, 1)
    const side = await connect(t, 'pgw-1.localdomain', ocsd)
    const session = { id: side.gateway.nextSessionId(), account: subscriber!.msisdn }
    t.equal((await ask(side, ccrOf(session, told('initial')))).resultCode, 2001)
    const before = await showAccounts(ocsd, [subscriber!])
    ocsd.signal('SIGSTOP')
    const update = ccrOf(session, told('update', 1, 250_000n))
    const endToEnd = side.gateway.nextEndToEnd()
    const asks = [ask(side, update, endToEnd), ask(side, ccrOf(session, told('terminate', 2, 10n)))]
    const dwr = watchdog(side)
    await new Promise(resolve => setTimeout(resolve, 4_000))
    ocsd.signal('SIGCONT')
    for (const answer of await Promise.all(asks)) {
      t.equal(answer.resultCode, 3004)
      t.match(answer.text('Error-Message'), /waited too long/)
    }
    t.equal((await dwr).resultCode, 2001, 'the watchdog survives')
    t.same(await showAccounts(ocsd, [subscriber!]), before, 'no balance changes')
    t.equal(await ocsd.metric('ocs_shed_total', 'reason="stale"'), 2)
    t.equal(await ocsd.metric('ocs_spool_entries'), 0, 'it was not read, so nothing is kept')
    await until('the next is served', async () => {
      const answer = await ask(side, update, endToEnd)
      return answer.resultCode === 2001
    })
    t.equal((await showAccounts(ocsd, [subscriber!]))[0]!.money, opening - 3_000n, 'the repeat is charged, once')
  },
)

t.test(
  'row 30: with a small heap and a store that stands still, the shipped limits shed first requests, and the process lives',
  async t => {
    const folder = processFolder(t, { charging: { holdBudget: '10s' } })
    const environment = { NODE_OPTIONS: '--max-old-space-size=192' }
    const ocsd = OcsdProcess.spawn(t, ['--config', folder.file], folder.data, environment)
    await ocsd.ready()
    const subscribers = await importSubscribers(ocsd, 10)
    const side = await connect(t, 'pgw-1.localdomain', ocsd)
    const opened = { id: side.gateway.nextSessionId(), account: subscribers[0]!.msisdn }
    t.equal((await ask(side, ccrOf(opened, told('initial')))).resultCode, 2001)
    process.kill(ocsd.redisPid(), 'SIGSTOP')
    const codes = new Map<number, number>()
    let sent = 0
    const answers: Promise<unknown>[] = []
    // What memory itself sheds is in admission.test.ts: with these limits it does not come to that.
    for (; sent < 20_000; sent++) {
      const session = { id: side.gateway.nextSessionId(), account: subscribers[sent % 10]!.msisdn }
      const note = ({ resultCode }: Message): unknown => codes.set(resultCode, (codes.get(resultCode) ?? 0) + 1)
      answers.push(ask(side, ccrOf(session, told('initial'))).then(note))
      if (sent % 200 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    await until('requests are shed', async () => (await ocsd.metric('ocs_shed_total', 'type="initial"')) > 0)
    const terminate = ask(side, ccrOf(opened, told('terminate', 1, 1_000n)))
    process.kill(ocsd.redisPid(), 'SIGCONT')
    await Promise.all(answers)
    await terminate
    t.equal(await ocsd.metric('ocs_shed_total', 'type="terminate"'), 0, 'TERMINATE is worked on')
    await until('its usage is booked, if need be from the spool', async () => {
      const [account] = await showAccounts(ocsd, subscribers)
      return account!.money === opening - 1_000n
    })
    const [granted = 0, refused = 0] = [codes.get(2001), codes.get(3004)]
    t.equal(granted + refused, sent, 'each is answered')
    const shed = await ocsd.metric('ocs_shed_total', 'type="initial"')
    t.ok(refused >= shed && sent - shed > 1_000, `of ${sent} requests ${sent - shed} were held, ${shed} shed`)
    t.ok(ocsd.running)
    t.same((await ocsd.audit()).violations, [])
  },
)
