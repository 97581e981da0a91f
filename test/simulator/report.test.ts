/** What the simulated gateway reports: around a tariff switch, after a change, by value; against a server that does as it is told. */
import t, { type Test } from 'tap'
import { VirtualClock } from '../../src/clock.js'
import type { IncomingRequest } from '../../src/diameter/application.js'
import type { Answer } from '../../src/diameter/server.js'
import type { Writer } from '../../src/diameter/writer.js'
import { Gateway } from '../../src/simulator/gateway.js'
import { Message, type Avps } from '../../src/simulator/message.js'
import { moneyOf } from '../../src/simulator/quota.js'
import { GatewaySession, type SessionOptions } from '../../src/simulator/session.js'
import { cca, realm, startServer, StubApplication } from '../support/diameter-server.js'
import { dictionary } from '../support/vectors.js'

const evening = Date.UTC(2026, 0, 15, 23, 50)
const midnight = Date.UTC(2026, 0, 16)

/** Writes Granted-Service-Unit's content, or nothing for a line that gets none. */
type Grants = (writer: Writer, request: Message, mscc: Avps) => void

interface Told {
  readonly session: GatewaySession
  readonly clock: VirtualClock
  /** What the server got. */
  readonly requests: readonly Message[]
}

/** A session with a server that grants so. */
async function told(t: Test, grants: Grants, options: Partial<SessionOptions> = {}): Promise<Told> {
  const requests: Message[] = []
  const answer = (request: IncomingRequest): Promise<Answer> => {
    const message = new Message(dictionary, request.octets)
    requests.push(message)
    const plain = cca(request)
    return Promise.resolve({
      resultCode: 2001,
      write: writer => {
        plain.write(writer)
        for (const mscc of message.groups('Multiple-Services-Credit-Control')) {
          const group = writer.group(456)
          if (mscc.group('Requested-Service-Unit')) {
            const granted = writer.group(431)
            grants(writer, message, mscc)
            writer.end(granted)
          }
          for (const { value } of mscc.all('Service-Identifier')) writer.u32(439, value as number)
          const ratingGroup = mscc.number('Rating-Group')
          if (ratingGroup !== undefined) writer.u32(432, ratingGroup)
          writer.u32(268, 2001)
          writer.end(group)
        }
      },
    })
  }
  const clock = new VirtualClock(evening)
  const { port } = await startServer(t, { application: new StubApplication(answer) })
  const gateway = new Gateway({
    ...{ dictionary, clock, originHost: 'pgw1.example.net', originRealm: 'example.net', destinationRealm: realm },
  })
  const connection = await gateway.connect({ host: '127.0.0.1', port })
  t.teardown(() => connection.abort())
  const session = new GatewaySession({
    ...{ gateway, serviceContextId: '32251@3gpp.org', unit: 'octets', subscriptionIds: [['e164', '491701']] },
    ...options,
  })
  return { session, clock, requests }
}

/** `10: 12 before, 8 after`: what a request reports. */
function reported(request: Message): string {
  const sides = ['before', 'after', 'indeterminate']
  return request
    .groups('Multiple-Services-Credit-Control')
    .map(mscc => {
      const used = mscc.groups('Used-Service-Unit').map(usu => {
        const side = usu.number('Tariff-Change-Usage')
        const amount = usu.bigint('CC-Total-Octets') ?? usu.bigint('CC-Time') ?? moneyOf(usu.group('CC-Money'))
        return `${amount ?? '-'}${side === undefined ? '' : ` ${sides[side]}`}`
      })
      const services = mscc.all('Service-Identifier').map(({ value }) => `/${value as number}`)
      return `${mscc.number('Rating-Group') ?? '-'}${services.join('')}: ${used.join(', ')}`
    })
    .join('; ')
}

/** 20 octets over midnight, as long as that is to come. */
const untilMidnight =
  (clock: () => VirtualClock): Grants =>
  writer => {
    if (clock().now() < midnight) writer.time(451, midnight / 1000)
    writer.u64(421, 20)
  }

t.test('what was used before and after a tariff switch is reported apart', async t => {
  const each = await told(
    t,
    untilMidnight(() => each.clock),
  )
  const { session, clock, requests } = each
  await session.open([10])
  t.equal(session.lineOf(10).switchAt, midnight, 'the gateway knows when')
  await session.use(10, 12n)
  clock.advance(20 * 60_000)
  await session.use(10, 8n)
  t.equal(reported(requests[1]!), '10: 12 before, 8 after')
  t.equal(session.lineOf(10).switchAt, undefined, 'the next grant has none')
  await session.use(10, 1n)
  await session.end()
  t.strictSame(requests.slice(2).map(reported), ['10: 1'])
})

t.test('a report before the switch says no side, one of nothing before it only the other', async t => {
  const each = await told(
    t,
    untilMidnight(() => each.clock),
  )
  const { session, clock, requests } = each
  await session.open([10])
  await session.use(10, 2n)
  await session.report(session.lineOf(10), 4)
  t.equal(reported(requests[1]!), '10: 2')
  t.equal(session.lineOf(10).switchAt, midnight, 'the new grant has it again')
  clock.advance(20 * 60_000)
  await session.use(10, 3n)
  await session.end()
  t.equal(reported(requests[2]!), '10: 3 after')
})

t.test('a session that idled over the switch reports no usage after it', async t => {
  const each = await told(
    t,
    untilMidnight(() => each.clock),
  )
  const { session, clock, requests } = each
  await session.open([10])
  await session.use(10, 5n)
  clock.advance(20 * 60_000)
  await session.end()
  t.equal(reported(requests[1]!), '10: 5 before')
})

t.test('where the subscriber is goes into each request, and a change is reported at once', async t => {
  const { session, requests } = await told(t, writer => writer.u64(421, 10), {
    information: { plmn: '26201', apn: 'internet', rat: 6 },
  })
  await session.open([10, { ratingGroup: 10, serviceIdentifiers: [7] }])
  await session.use({ ratingGroup: 10, serviceIdentifiers: [7] }, 4n)
  await session.changeTo({ plmn: '20801', apn: 'internet', rat: 1 })
  await session.end()
  const places = requests.map(request => {
    const ps = request.group('Service-Information')!.group('PS-Information')!
    return `${ps.text('3GPP-SGSN-MCC-MNC')!} ${(ps.value('3GPP-RAT-Type') as Buffer).toString('hex')}`
  })
  t.strictSame(places, ['26201 06', '20801 01', '20801 01'])
  t.equal(reported(requests[1]!), '10: 0; 10/7: 4', 'all lines, each by its name')
  const [, mscc] = requests[1]!.groups('Multiple-Services-Credit-Control')
  t.equal(mscc!.number('Reporting-Reason'), 6)
})

t.test('a service sold by value asks, is granted and reports in money', async t => {
  const { session, requests } = await told(
    t,
    writer => {
      const money = writer.group(413)
      const value = writer.group(445)
      writer.i64(447, 250n)
      writer.i32(429, -2)
      writer.end(value)
      writer.end(money)
    },
    { serviceContextId: 'value@example', unit: 'money', currency: 978 },
  )
  await session.open([undefined])
  t.equal(session.lineOf(undefined).granted, 2_500_000n)
  t.equal(await session.use(undefined, 3_000_000n), 3_000_000n)
  await session.end()
  t.strictSame(requests.slice(1).map(reported), ['-: 2500000', '-: 500000'])
  const [mscc] = requests[1]!.groups('Multiple-Services-Credit-Control')
  t.equal(mscc!.group('Used-Service-Unit')!.group('CC-Money')!.number('Currency-Code'), 978)
})
