/**
 * Erlang/OTP's diameter application as a Gy client once more: one-time events, what ocsd asks of it (RAR, ASR), and TLS with a
 * certificate on each side. Its decoder reads every message by a dictionary of its own; what it has against one is in `errors`.
 */
import t, { type Test } from 'tap'
import { Authority } from '../support/certificates.js'
import { aPeer } from '../support/diameter-server.js'
import { ErlangClient, octetsOf, type ErlangAvps, type ErlangLine } from '../support/erlang-client.js'
import { until } from '../support/ocsd-process.js'
import { MiB, startScenario, type Scenario, type Subject } from '../support/scenario.js'
import { toolOrNotRun } from '../support/tools.js'

const ocs = 'ocs1.charging.example.net'
const mib = Number(MiB)
const [INITIAL, UPDATE, TERMINATION, EVENT] = [1, 2, 3, 4] as const
const action = { debit: 0, refund: 1, checkBalance: 2, price: 3 } as const
const [data, sms] = ['32251@3gpp.org', '32274@3gpp.org']

const ask: ErlangAvps = { 'Rating-Group': [10], 'Requested-Service-Unit': [{}] }
const used = (octets: number): ErlangAvps => ({
  'Rating-Group': [10],
  'Used-Service-Unit': [{ 'CC-Total-Octets': [octets] }],
})
const oneSms: ErlangAvps = {
  'Service-Identifier': [1],
  'Requested-Service-Unit': [{ 'CC-Service-Specific-Units': [1] }],
}

/** The client, and sessions of its own making. */
class Client {
  private sessions = 0

  private constructor(
    private readonly t: Test,
    readonly erlang: ErlangClient,
  ) {}

  static async connected(t: Test, escript: string, parts: Parameters<typeof ErlangClient.start>[2]): Promise<Client> {
    const erlang = ErlangClient.start(t, escript, parts)
    t.match(await erlang.next(), { event: 'up', peer: ocs }, 'the CEA is accepted')
    return new Client(t, erlang)
  }

  nextSessionId(): string {
    return `${this.erlang.originHost};2;${++this.sessions}`
  }

  async call(sessionId: string, service: string, type: number, number: number, more: ErlangAvps): Promise<ErlangLine> {
    const answer = await this.erlang.call({
      ...{ 'Session-Id': sessionId, 'Auth-Application-Id': 4, 'Service-Context-Id': service },
      ...{ 'CC-Request-Type': type, 'CC-Request-Number': number },
      ...more,
    })
    this.t.match(answer, { command: 'CCA', 'Session-Id': sessionId, errors: [] }, 'its decoder has nothing against it')
    return answer
  }

  event(subject: Subject, requested: number, more: ErlangAvps): Promise<ErlangLine> {
    const session = this.nextSessionId()
    return this.call(session, sms, EVENT, 0, { ...of(subject), 'Requested-Action': [requested], ...more })
  }

  /** A session of rating group 10. */
  open(subject: Subject, sessionId: string): Promise<ErlangLine> {
    return this.call(sessionId, data, INITIAL, 0, {
      ...{ ...of(subject), 'Multiple-Services-Indicator': [1] },
      ...services(ask),
    })
  }

  async stop(): Promise<void> {
    this.t.match(await this.erlang.tell('stop'), { event: 'stopped' })
    this.t.equal(await this.erlang.ended, 0, 'it is content')
  }
}

const of = ({ account }: Subject): ErlangAvps => ({
  'Subscription-Id': [{ 'Subscription-Id-Type': 0, 'Subscription-Id-Data': account }],
})
const services = (...each: ErlangAvps[]): ErlangAvps => ({ 'Multiple-Services-Credit-Control': each })
const money = (digits: number): ErlangAvps => ({
  'CC-Money': [{ 'Unit-Value': { 'Value-Digits': digits, Exponent: [-2] }, 'Currency-Code': [978] }],
})
const octets = (count: number): object => ({ 'Granted-Service-Unit': [{ 'CC-Total-Octets': [count] }] })

t.test('one-time events', async t => {
  const escript = toolOrNotRun(t, 'escript', 'erlang-base and erlang-diameter')
  if (escript === undefined) return
  const scenario = await startScenario(t)
  const client = await Client.connected(t, escript, { port: portOf(scenario) })
  const subject = await scenario.subject(t, { money: '1.00' })

  const debit = await client.event(subject, action.debit, services(oneSms))
  t.match(debit, {
    'Result-Code': 2001,
    'CC-Request-Type': EVENT,
    'Direct-Debiting-Failure-Handling': [Number],
    'Multiple-Services-Credit-Control': [
      { 'Service-Identifier': [1], 'Granted-Service-Unit': [{ 'CC-Service-Specific-Units': [1] }] },
    ],
  })
  await subject.is(t, { bal: '0.91', res: '0.00' }, 'debited')
  const [line] = debit['Multiple-Services-Credit-Control'] as Record<string, unknown[]>[]
  const reference = octetsOf(line!['Refund-Information']![0])

  const refund = (): Promise<ErlangLine> =>
    client.event(subject, action.refund, services({ ...oneSms, 'Refund-Information': [reference] }))
  t.match(await refund(), { 'Result-Code': 2001 })
  await subject.is(t, { bal: '1.00', res: '0.00' }, 'given back, for the reference that it got')
  t.match(await refund(), { 'Result-Code': 5012 })
  await subject.is(t, { bal: '1.00', res: '0.00' }, 'and not twice')

  const check = (digits: number): Promise<ErlangLine> =>
    client.event(subject, action.checkBalance, { 'Service-Identifier': [1], 'Requested-Service-Unit': [money(digits)] })
  t.match(await check(100), { 'Result-Code': 2001, 'Check-Balance-Result': [0] }, 'ENOUGH_CREDIT')
  t.match(await check(101), { 'Result-Code': 2001, 'Check-Balance-Result': [1] }, 'NO_CREDIT')

  const enquiry = await client.event(subject, action.price, {
    'Service-Identifier': [1],
    'Requested-Service-Unit': [{ 'CC-Service-Specific-Units': [10] }],
  })
  t.match(enquiry, {
    'Result-Code': 2001,
    'Cost-Information': [{ 'Unit-Value': { 'Value-Digits': 90, Exponent: [-2] }, 'Currency-Code': 978 }],
  })
  await subject.is(t, { bal: '1.00', res: '0.00' }, 'to ask costs nothing')
  t.match(
    (await client.event(subject, action.price, { 'Service-Identifier': [99], 'Requested-Service-Unit': [{}] }))[
      'Result-Code'
    ],
    5031,
  )
  await client.stop()
})

t.test('it is asked to report after a recharge, and to end a session of a suspended account', async t => {
  const escript = toolOrNotRun(t, 'escript', 'erlang-base and erlang-diameter')
  if (escript === undefined) return
  const scenario = await startScenario(t, 'flows', ({ charging }) => ({
    charging: { ...charging, onSuspend: 'abort' },
  }))
  const client = await Client.connected(t, escript, { port: portOf(scenario) })
  const { erlang } = client
  const toIt = {
    ...{ errors: [], 'Origin-Host': ocs, 'Origin-Realm': 'charging.example.net', 'Auth-Application-Id': 4 },
    ...{ 'Destination-Host': erlang.originHost, 'Destination-Realm': 'example.net' },
  }
  const result = (subject: Subject, wanted: string): Promise<void> =>
    until(`${wanted} stands in the session`, async () => (await subject.sessions())[0]?.asked?.result === wanted)

  const subject = await scenario.subject(t, { money: '0.05', offer: 'flows-redirect' })
  const session = client.nextSessionId()
  const opened = await client.open(subject, session)
  const redirect = {
    'Final-Unit-Action': 1,
    'Redirect-Server': [{ 'Redirect-Address-Type': 2, 'Redirect-Server-Address': 'http://topup.example/' }],
  }
  t.match(opened, {
    'Multiple-Services-Credit-Control': [{ ...octets(5 * mib), 'Final-Unit-Indication': [redirect] }],
  })
  await client.call(session, data, UPDATE, 1, services(used(5 * mib)))
  await subject.recharge('5.00')
  await result(subject, '2002')
  t.match(erlang.asked, [
    { ...toIt, command: 'RAR', 'Session-Id': session, 'Re-Auth-Request-Type': 0, 'Rating-Group': [10] },
  ])
  const lifted = await client.call(session, data, UPDATE, 2, services(ask))
  t.match(lifted, { 'Multiple-Services-Credit-Control': [octets(10 * mib)] })
  await subject.is(t, { bal: '5.00', res: '0.10' }, 'its balance')

  erlang.react(2001)
  await subject.setStatus('suspended')
  await result(subject, '2001')
  t.equal(erlang.asked.length, 2)
  t.match(erlang.asked[1], { ...toIt, command: 'ASR', 'Session-Id': session })
  const end = { ...services(used(2 * mib)), 'Termination-Cause': [1] }
  t.match(await client.call(session, data, TERMINATION, 3, end), { 'Result-Code': 2001 })
  await subject.is(t, { bal: '4.98', res: '0.00' }, 'its balance')

  // A session that it has lost.
  erlang.react(5002)
  const poor = await scenario.subject(t, { money: '0.05' })
  await client.open(poor, client.nextSessionId())
  await poor.recharge('1.00')
  await until('the session is closed', async () => (await poor.openSessions()) === 0)
  await poor.is(t, { bal: '1.05', res: '0.00' }, 'what it held is free')
  await client.stop()
})

t.test('it speaks TLS, and each side proves who it is', async t => {
  const escript = toolOrNotRun(t, 'escript', 'erlang-base and erlang-diameter')
  const authority = Authority.make(t)
  const strangers = Authority.make(t, 'strangers')
  if (escript === undefined || !authority || !strangers) return
  const { certificate, key } = authority.issue(ocs)
  const tls = { certificate, key, authority: authority.certificate, crl: undefined }
  const scenario = await startScenario(t, 'flows', ({ diameter }) => ({
    diameter: {
      ...diameter,
      tls: { ...tls, listen: [{ host: '127.0.0.1', port: 0 }] },
      peers: [aPeer({ identity: 'erlang.example.net', transport: 'tls' })],
    },
  }))
  const port = scenario.daemon.addresses.diameterTls[0]!.port
  const client = await Client.connected(t, escript, { port, tls: { serverName: ocs, authority } })
  const subject = await scenario.subject(t, { money: '0.05' })
  const session = client.nextSessionId()
  t.match(await client.open(subject, session), { 'Multiple-Services-Credit-Control': [octets(5 * mib)] })
  await subject.recharge('1.00')
  await until('it is asked', () => client.erlang.asked.length > 0)
  t.match(client.erlang.asked, [{ command: 'RAR', 'Session-Id': session, errors: [] }])
  const next = await client.call(session, data, UPDATE, 1, services({ ...ask, ...used(5 * mib) }))
  t.match(next, { 'Multiple-Services-Credit-Control': [octets(10 * mib)] })
  await client.call(session, data, TERMINATION, 2, { ...services(used(mib)), 'Termination-Cause': [1] })
  await subject.is(t, { bal: '0.99', res: '0.00' }, 'its balance')
  await client.stop()

  for (const [what, parts] of [
    ['a server of another name', { port, tls: { serverName: 'other.example.net', authority } }],
    ['a server of another authority', { port, tls: { serverName: ocs, authority: strangers } }],
    ['a peer of another name', { port, originHost: 'pgw9.example.net', tls: { serverName: ocs, authority } }],
    ['no TLS where it is wanted', { port: portOf(scenario) }],
  ] as const) {
    t.match(await ErlangClient.start(t, escript, parts).next(), { event: 'not_up' }, what)
  }
})

const portOf = ({ daemon }: Scenario): number => daemon.addresses.diameter[0]!.port
