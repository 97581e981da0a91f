/**
 * What a real Open5GS SMF sent, byte for byte, against the shipped configuration: each recording gets what that client needs in
 * its answers, and its usage is booked once. The SMF reads no code but 2001 as success, wants Session-Id first, drops answers with
 * an unknown mandatory AVP, and names no Rating-Group.
 */
import t, { type Test } from 'tap'
import { readHeader } from '../../src/diameter/header.js'
import { GatewayConnection } from '../../src/simulator/gateway.js'
import { Message } from '../../src/simulator/message.js'
import { linesOf, startScenario, type Scenario, type Subject } from '../support/scenario.js'
import { dictionary, recordings } from '../support/vectors.js'

interface Recording {
  readonly name: string
  /** Octets that each request reports. */
  readonly reported: readonly bigint[]
  /** EUR after each request; 5.00 before. */
  readonly balances: readonly string[]
  readonly held: readonly string[]
}

const stories: readonly Recording[] = [
  {
    name: 'basic',
    reported: [0n, 1_000_000n, 1_000_000n, 6912n],
    balances: ['5.00', '4.99', '4.98', '4.979'],
    held: ['0.01', '0.01', '0.01', '0.00'],
  },
  { name: 'dual_stack', reported: [0n, 6912n], balances: ['5.00', '4.999'], held: ['0.01', '0.00'] },
  { name: 'minimal_ue', reported: [0n, 0n], balances: ['5.00', '5.00'], held: ['0.01', '0.00'] },
]

/** The requests of a recording, in order. */
function requestsOf(name: string, kind: string): Message[] {
  return recordings
    .filter(each => each.scenario === name && each.name.startsWith(kind))
    .map(({ octets }) => new Message(dictionary, octets))
}

async function connect(t: Test, scenario: Scenario, name: string): Promise<GatewayConnection> {
  const gateway = await scenario.gateway(t, { originHost: 'unused.localdomain', daemons: [] })
  const connection = await GatewayConnection.openWithoutCer(gateway, scenario.daemon.addresses.diameter[0]!)
  t.teardown(() => connection.abort())
  const [cer] = requestsOf(name, 'CER')
  const cea = await connection.ask(cer!.octets)
  t.equal(cea.resultCode, 2001, 'CEA')
  const complete = ['Result-Code', 'Origin-Host', 'Origin-Realm', 'Host-IP-Address', 'Vendor-Id', 'Product-Name']
  for (const avp of complete) t.equal(cea.all(avp).length >= 1, true, `CEA has ${avp}`)
  t.equal(cea.number('Auth-Application-Id'), 4)
  t.equal(cea.text('Origin-Realm'), cer!.text('Origin-Realm'), "the SMF's own realm, or it finds no route")
  t.same(cea.groups('Vendor-Specific-Application-Id'), [], 'Gx and S6b are not taken')
  return connection
}

/** The IMSI that the recording names first, and its MSISDN if there is one. */
async function subjectOf(t: Test, scenario: Scenario, name: string): Promise<Subject> {
  const [initial] = requestsOf(name, 'CCR-I')
  const [imsi] = initial!.groups('Subscription-Id')
  t.equal(imsi!.number('Subscription-Id-Type'), 1)
  return scenario.subject(t, {
    money: '5.00',
    identities: [{ type: 'imsi', value: imsi!.text('Subscription-Id-Data')! }],
  })
}

/** The ten things of this client that concern a CCA. */
function suits(t: Test, request: Message, answer: Message): void {
  t.equal(answer.resultCode, 2001)
  t.equal(answer.list[0]?.name, 'Session-Id')
  t.equal(answer.text('Session-Id'), request.text('Session-Id'))
  t.equal(answer.header.hopByHop, request.header.hopByHop)
  t.equal(answer.number('Auth-Application-Id'), 4)
  t.equal(answer.number('CC-Request-Type'), request.number('CC-Request-Type'))
  t.equal(answer.number('CC-Request-Number'), request.number('CC-Request-Number'))
  t.equal(answer.text('Origin-Realm'), request.text('Destination-Realm'))
  const host = request.text('Destination-Host')
  if (host !== undefined) t.equal(answer.text('Origin-Host'), host, 'who answers is whom it asks')
  const mandatory = (avps: Message['list']): string[] =>
    avps.flatMap(({ name, flags, value }) => [
      ...(flags & 0x40 ? [name] : []),
      ...(Array.isArray(value) ? mandatory(value) : []),
    ])
  t.same(
    mandatory(answer.list).filter(avp => !knownToTheSmf.has(avp)),
    [],
    'no mandatory AVP that it does not know',
  )
}

const knownToTheSmf: ReadonlySet<string> = new Set([
  ...['Session-Id', 'Result-Code', 'Origin-Host', 'Origin-Realm', 'Auth-Application-Id', 'CC-Request-Type'],
  ...[
    'CC-Request-Number',
    'CC-Session-Failover',
    'Credit-Control-Failure-Handling',
    'Validity-Time',
    'CC-Total-Octets',
  ],
  ...['Multiple-Services-Credit-Control', 'Granted-Service-Unit', 'Final-Unit-Indication', 'Final-Unit-Action'],
  ...['Volume-Quota-Threshold', 'Rating-Group', 'Service-Identifier'],
])

for (const { name, reported, balances, held } of stories) {
  t.test(`${name}: each request gets its quota, and is booked once`, async t => {
    const scenario = await startScenario(t, 'shipped')
    const subject = await subjectOf(t, scenario, name)
    const connection = await connect(t, scenario, name)
    const requests = requestsOf(name, 'CCR')
    t.same(requests.map(usage), reported, 'what the recording reports')
    for (const copy of ['first', 'again']) {
      for (const [i, request] of requests.entries()) {
        const answer = await connection.ask(request.octets)
        suits(t, request, answer)
        const [line, ...more] = linesOf(answer)
        t.same(more, [], 'one MSCC at most')
        if (request.number('CC-Request-Type') !== 3) {
          t.match(line, { code: 2001, octets: 1_000_000n, validity: 3600 }, 'octets inside an MSCC')
          t.equal(line?.ratingGroup, undefined, 'which names no Rating-Group')
        }
        if (copy === 'first') await subject.is(t, { bal: balances[i]!, res: held[i]! }, `after request ${i}`)
      }
      await subject.is(t, { bal: balances.at(-1)!, res: '0.00', debt: '0.00' }, `${copy}: all booked, once`)
    }
    t.equal(await subject.openSessions(), 0)
    scenario.checkAnswers(t)
    const [dpr] = requestsOf(name, 'DPR')
    t.equal((await connection.ask(dpr!.octets)).resultCode, 2001, 'DPA')
  })
}

t.test('overlap_upd: the second CCR-U leaves before the first is answered', async t => {
  const scenario = await startScenario(t, 'shipped')
  const subject = await subjectOf(t, scenario, 'overlap_upd')
  const connection = await connect(t, scenario, 'overlap_upd')
  const [initial] = requestsOf('overlap_upd', 'CCR-I')
  const updates = requestsOf('overlap_upd', 'CCR-U')
  const [last] = requestsOf('overlap_upd', 'CCR-T')
  suits(t, initial!, await connection.ask(initial!.octets))
  t.equal(updates.length, 2)
  const total = [...updates, last!].reduce((sum, request) => sum + usage(request), 0n)
  // Both in one segment, then every copy of both.
  const answers = updates.map(request => connection.exchange(request.octets))
  for (const [i, octets] of (await Promise.all(answers)).entries()) {
    t.equal(readHeader(octets).hopByHop, updates[i]!.header.hopByHop)
    suits(t, updates[i]!, new Message(dictionary, octets))
  }
  for (const request of updates) suits(t, request, await connection.ask(request.octets))
  suits(t, last!, await connection.ask(last!.octets))
  const steps = (total + 99_999n) / 100_000n
  const cents = 5_000_000n - steps * 1000n
  await subject.is(
    t,
    {
      bal: `4.${String(cents)
        .slice(1)
        .replace(/0{1,4}$/, '')}`,
      res: '0.00',
    },
    `${total} octets`,
  )
})

t.test('a refusal comes at command level in CCA-I, so that the SMF expects no session', async t => {
  const scenario = await startScenario(t, 'shipped')
  const poor = requestsOf('dual_stack', 'CCR-I')[0]!
  const connection = await connect(t, scenario, 'dual_stack')
  const unknown = Buffer.from(poor.octets)
  const imsi = poor.groups('Subscription-Id').map(each => each.text('Subscription-Id-Data')!)
  for (const identity of imsi) unknown.write('9'.repeat(identity.length), unknown.indexOf(identity), 'latin1')
  const answer = await connection.ask(unknown)
  t.equal(answer.resultCode, 5030)
  t.same(linesOf(answer), [])
})

/** Input and output together: the SMF sends no total. */
function usage(request: Message): bigint {
  return request
    .groups('Multiple-Services-Credit-Control')
    .flatMap(mscc => mscc.groups('Used-Service-Unit'))
    .reduce((sum, used) => sum + (used.bigint('CC-Input-Octets') ?? 0n) + (used.bigint('CC-Output-Octets') ?? 0n), 0n)
}
