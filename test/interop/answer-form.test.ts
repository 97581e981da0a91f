/**
 * Whatever valid CCR comes, its answer has the form that every client relies on. Many sessions of the demo subscribers at
 * once, over one connection; fast-check prints seed and counterexample, SEED sets the seed.
 */
import fc from 'fast-check'
import t from 'tap'
import { FLAG } from '../../src/diameter/header.js'
import { decodeTree, encodeTree, readTree, type AvpInput, type AvpItem, type AvpTree } from '../../src/diameter/tree.js'
import { AVP_FLAG } from '../../src/diameter/writer.js'
import { startTestDaemon } from '../support/daemon.js'
import { RawClient, type Received } from '../support/raw-client.js'
import { dictionary } from '../support/vectors.js'
import { seed } from '../support/seed.js'

interface Ccr {
  readonly flags: number
  readonly type: number
  readonly number: number
  /** Of the batch. */
  readonly session: number
  /** What may stand anywhere after Session-Id, the above too. */
  readonly avps: AvpItem[]
}

const limits = { depth: 16, avps: 4096 }
const batches = 150

const wide = fc.oneof(
  { weight: 200, arbitrary: fc.bigInt(0n, 200_000n) },
  { weight: 1, arbitrary: fc.bigInt(0n, 2n ** 64n - 1n) },
)
const narrow = fc.oneof({ weight: 200, arbitrary: fc.nat(10) }, { weight: 1, arbitrary: fc.nat(2 ** 32 - 1) })
const item = (name: string, value: fc.Arbitrary<AvpInput>): fc.Arbitrary<AvpItem> =>
  value.map((each): AvpItem => [name, each])
const perhaps = (...avps: fc.Arbitrary<AvpItem>[]): fc.Arbitrary<AvpItem[]> =>
  fc.tuple(...avps.map(avp => fc.option(avp))).map(each => each.filter(avp => avp !== null))

const units = perhaps(
  item('CC-Time', narrow),
  item('CC-Total-Octets', wide),
  item('CC-Input-Octets', wide),
  item('CC-Output-Octets', wide),
  item('CC-Service-Specific-Units', wide),
)
const requested = item('Requested-Service-Unit', units)
const used = fc.array(item('Used-Service-Unit', units), { maxLength: 3 })
const ratingGroup = fc.constantFrom(10, 10, 10, 30, 30, 40, 99)

const mscc = fc
  .tuple(
    perhaps(item('Rating-Group', ratingGroup), requested, item('Reporting-Reason', fc.nat(7))),
    used,
    fc.array(item('Service-Identifier', fc.nat(3)), { maxLength: 2 }),
  )
  .chain(([one, several, identifiers]) => shuffled([...one, ...several, ...identifiers]))
const services = fc.oneof(
  { weight: 4, arbitrary: fc.array(item('Multiple-Services-Credit-Control', mscc), { maxLength: 4 }) },
  { weight: 1, arbitrary: fc.tuple(perhaps(requested), used).map(avps => avps.flat()) },
)

/** Demo subscribers 1 to 9, and one that nobody has. */
const subscriber = fc.nat(9).map(n => `4917010000${String(n).padStart(2, '0')}`)
const identity = fc.oneof(
  { weight: 12, arbitrary: subscriber.map(msisdn => [0, msisdn] as const) },
  { weight: 6, arbitrary: subscriber.map(msisdn => [1, `262011${msisdn.slice(3)}`] as const) },
  { weight: 1, arbitrary: subscriber.map(msisdn => [3, `${msisdn}@example.net`] as const) },
)
const subscriptionId = item(
  'Subscription-Id',
  identity.map(([type, data]): AvpItem[] => [
    ['Subscription-Id-Type', type],
    ['Subscription-Id-Data', data],
  ]),
)
const identities = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(subscriptionId) },
  { weight: 1, arbitrary: fc.array(subscriptionId, { maxLength: 2 }) },
)
const context = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('32251@3gpp.org', '12.32251@3gpp.org') },
  { weight: 1, arbitrary: fc.constantFrom('32260@3gpp.org', '32274@3gpp.org', 'x@y') },
)
const proxyInfo = item(
  'Proxy-Info',
  fc.uint8Array({ maxLength: 9 }).map((state): AvpItem[] => [
    ['Proxy-Host', 'dra.example.net'],
    ['Proxy-State', Buffer.from(state)],
  ]),
)
const others = perhaps(
  item('Destination-Host', fc.constant('OCS.localdomain')),
  item(
    'Event-Timestamp',
    fc.nat(10).map(ago => new Date(Date.now() - 60_000 * ago)),
  ),
  item('Multiple-Services-Indicator', fc.nat(1)),
  item('Origin-State-Id', narrow),
  item('Termination-Cause', fc.constantFrom(1, 4)),
  item('Requested-Action', fc.nat(3)),
  item('User-Name', fc.string({ unit: 'binary', maxLength: 20 })),
  item(
    '9999:4711',
    fc.uint8Array({ maxLength: 9 }).map(octets => Buffer.from(octets)),
  ),
)

const ccr: fc.Arbitrary<Ccr> = fc
  .record({
    flags: fc.constantFrom(0, FLAG.PROXIABLE, FLAG.PROXIABLE, FLAG.PROXIABLE | FLAG.RETRANSMITTED),
    type: fc.constantFrom(1, 1, 1, 1, 2, 2, 2, 3, 4),
    number: fc.nat(5),
    session: fc.nat(5),
    context,
    identities,
    proxyInfo: fc.array(proxyInfo, { maxLength: 2 }),
    services,
    others,
  })
  .chain(({ context: service, identities: subscribers, others: rest, services: asked, proxyInfo: agents, ...one }) =>
    fc.record({
      ...{ flags: fc.constant(one.flags), type: fc.constant(one.type), number: fc.constant(one.number) },
      ...{ session: fc.constant(one.session) },
      avps: shuffled([
        ['Origin-Host', 'pgw1.example.net'],
        ['Origin-Realm', 'example.net'],
        ['Destination-Realm', 'localdomain'],
        ['Auth-Application-Id', 4],
        ['Service-Context-Id', service],
        ['CC-Request-Type', one.type],
        ['CC-Request-Number', one.number],
        ...[...subscribers, ...agents, ...asked, ...rest],
      ]),
    }),
  )

function shuffled(avps: AvpItem[]): fc.Arbitrary<AvpItem[]> {
  return fc.shuffledSubarray(avps, { minLength: avps.length, maxLength: avps.length })
}

t.test('every answer to a valid CCR has the form that clients rely on', async t => {
  const { port, log } = await startTestDaemon(t)
  const client = await RawClient.peer(t, { port })
  const codes = new Map<unknown, number>()
  let [hopByHop, batch] = [1000, 0]
  await fc.assert(
    fc.asyncProperty(fc.array(ccr, { minLength: 1, maxLength: 20 }), async requests => {
      const [first, prefix] = [hopByHop, `pgw1.example.net;${++batch};`]
      for (const { flags, session, avps } of requests) {
        const [endToEnd, all] = [~hopByHop >>> 0, [['Session-Id', prefix + String(session)] as const, ...avps]]
        const message = { command: 'CCR', flags: FLAG.REQUEST | flags, hopByHop, endToEnd, avps: all }
        client.send(encodeTree(dictionary, message))
        hopByHop++
      }
      const answers: Received[] = []
      while (answers.length < requests.length) answers.push(await client.next())
      const answered = new Set<number>()
      for (const answer of answers) {
        const request = requests[answer.header.hopByHop - first]
        const faults = request ? faultsOf(prefix, requests, request, answer) : ['nobody asked']
        if (answered.has(answer.header.hopByHop)) faults.push('it is the second answer')
        answered.add(answer.header.hopByHop)
        if (faults.length > 0) throw new Error(`${faults.join('; ')}: ${answer.octets.toString('hex')}`)
        const resultCode = answer.value('Result-Code')
        codes.set(resultCode, (codes.get(resultCode) ?? 0) + 1)
      }
    }),
    { numRuns: batches, seed },
  )
  t.equal(client.unread, 0, 'no answer is left over')
  t.strictSame(
    log.filter(line => line.level >= 50).map(line => line.msg),
    [],
    'the log has no error',
  )
  t.comment([...codes].map(([resultCode, count]) => `${String(resultCode)} ${count} times`).join(', '))
  // What decides nothing finds nothing: grants and several kinds of refusals must have come.
  for (const resultCode of [2001, 4010, 5002, 5004, 5005, 5007, 5030, 5031])
    t.ok(codes.has(resultCode), `${resultCode} came`)
})

/** What is wrong with an answer. */
function faultsOf(prefix: string, batch: readonly Ccr[], request: Ccr, answer: Received): string[] {
  const { header, octets, avps } = answer
  const resultCode = answer.value('Result-Code') as number
  // A number that comes twice is answered as it was the first time, whatever it then says.
  const same = batch.filter(each => each.session === request.session && each.number === request.number)
  const repeated = same.length > 1
  const protocolError = resultCode >= 3000 && resultCode < 4000
  const services = avps
    .filter(avp => avp.name === 'Multiple-Services-Credit-Control')
    .map(avp => avp.value as AvpTree[])
  const message = answer.value('Error-Message')
  const { command } = decodeTree(dictionary, octets)
  const faults = {
    'the length is not that of the octets': header.length !== octets.length || octets.length % 4 !== 0,
    'flags are not those of an answer':
      header.flags !== ((request.flags & FLAG.PROXIABLE) | (protocolError ? FLAG.ERROR : 0)),
    'another command or application': header.commandCode !== 272 || header.applicationId !== 4,
    'another End-to-End identifier': header.endToEnd !== ~header.hopByHop >>> 0,
    'Session-Id is not first': avps[0]?.name !== 'Session-Id' || avps[0].value !== prefix + String(request.session),
    'our own decoder refuses it': refusedByDecoder(octets),
    'an AVP that the dictionary lacks': all(avps).some(avp => avp.name.includes(':')),
    'flags that are not the dictionary’s': all(avps.filter(avp => avp.name !== 'Proxy-Info')).some(
      ({ vendorId, code, flags }) => flags !== flagsOf(vendorId, code),
    ),
    'padding, or another order of bits':
      command === undefined || !encodeTree(dictionary, { ...decodeTree(dictionary, octets) }).equals(octets),
    'an AVP twice': ['Session-Id', 'Result-Code', 'Origin-Host', 'Failed-AVP', 'Error-Message'].some(
      name => answer.values(name).length > 1,
    ),
    'not from us': answer.value('Origin-Host') !== 'ocs.localdomain' || answer.value('Origin-Realm') !== 'localdomain',
    'a defect of ours': resultCode === 5012 && request.type !== 4,
    'another type or number':
      !protocolError &&
      (answer.value('CC-Request-Type') !== request.type ||
        answer.value('CC-Request-Number') !== request.number ||
        answer.value('Auth-Application-Id') !== 4),
    'other Proxy-Info':
      octetsOf(avps.filter(avp => avp.name === 'Proxy-Info')) !==
      octetsOf(request.avps.filter(avp => Array.isArray(avp) && avp[0] === 'Proxy-Info')),
    'a refusal does not say why': resultCode >= 3000 && typeof message !== 'string',
    'its reason names a subscriber': typeof message === 'string' && /4917010000|2620117010/.test(message),
    'Failed-AVP is missing': [5004, 5005, 5007, 5031].includes(resultCode) && answer.value('Failed-AVP') === undefined,
    'a refusal grants': resultCode !== 2001 && services.length > 0,
    'a service without Result-Code': services.some(avps => value(avps, 'Result-Code') === undefined),
    'a grant beside a refusal': services.some(
      avps => value(avps, 'Granted-Service-Unit') !== undefined && value(avps, 'Result-Code') !== 2001,
    ),
    // Of an event nothing is granted that could end.
    'a grant without Validity-Time':
      same.every(({ type }) => type !== 4) &&
      services.some(
        avps => value(avps, 'Granted-Service-Unit') !== undefined && value(avps, 'Validity-Time') === undefined,
      ),
    'a grant at the end':
      request.type === 3 && !repeated && services.some(avps => value(avps, 'Granted-Service-Unit') !== undefined),
    'a service that was not asked for':
      !repeated && !linesOf(services).every(line => linesOf(asked(request)).includes(line)),
    'a service twice': new Set(linesOf(services)).size !== services.length,
  }
  return Object.entries(faults).flatMap(([fault, holds]) => (holds ? [fault] : []))
}

function refusedByDecoder(octets: Buffer): boolean {
  try {
    readTree(dictionary, octets, limits)
    return false
  } catch {
    return true
  }
}

/** All AVPs, those of groups too; but what is in Failed-AVP came from the client. */
const all = (avps: readonly AvpTree[]): AvpTree[] =>
  avps.flatMap(avp => [avp, ...(Array.isArray(avp.value) && avp.name !== 'Failed-AVP' ? all(avp.value) : [])])

function flagsOf(vendorId: number, code: number): number {
  const mandatory = dictionary.find(vendorId, code)?.mandatory === true
  return (mandatory ? AVP_FLAG.MANDATORY : 0) | (vendorId === 0 ? 0 : AVP_FLAG.VENDOR)
}

const octetsOf = (avps: readonly AvpItem[]): string =>
  encodeTree(dictionary, { command: 'CCA', hopByHop: 0, endToEnd: 0, avps }).toString('hex', 20)

const value = (avps: readonly AvpTree[], name: string): AvpTree['value'] | undefined =>
  avps.find(avp => avp.name === name)?.value

/** The MSCCs of a request, as they are decoded. */
function asked({ avps }: Ccr): AvpTree[][] {
  const octets = encodeTree(dictionary, { command: 'CCR', hopByHop: 0, endToEnd: 0, avps })
  return decodeTree(dictionary, octets)
    .avps.filter(avp => avp.name === 'Multiple-Services-Credit-Control')
    .map(avp => avp.value as AvpTree[])
}

/** Rating-Group and Service-Identifiers of each. */
const linesOf = (services: readonly AvpTree[][]): string[] =>
  services.map(avps => {
    const identifiers = avps.filter(avp => avp.name === 'Service-Identifier').map(avp => avp.value as number)
    return `${value(avps, 'Rating-Group') as number}/${identifiers.join(',')}`
  })
