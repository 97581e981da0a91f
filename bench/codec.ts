/**
 * What does it cost to decode and to encode a CCR-U and a CCA-U, and what does node-diameter's codec take for the same?
 *
 *     npx tsx bench/codec.ts          BENCH_SMALL=1: a tiny input, to see that it runs
 *
 * CPU of this process, medians of interleaved rounds. Each codec decodes with its checks: ours all of RFC 6733 section 7.1.5
 * into classes with what charging reads; node-diameter's only that it knows the AVPs, which is why what it does not know
 * is taken out of its messages first. Both encode the same AVPs, which is checked.
 */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { loadDictionary } from '../src/diameter/dictionary.js'
import { readMessage, shape } from '../src/diameter/message.js'
import { decodeTree, encodeAvp, encodeTree, type AvpItem, type AvpTree } from '../src/diameter/tree.js'
import { Writer } from '../src/diameter/writer.js'
import { recordings, vector } from '../test/support/vectors.js'

const small = process.env['BENCH_SMALL'] === '1'
const rounds = small ? 2 : 7
/** CPU that one case takes in one round. */
const roundMs = small ? 2 : 100
const limits = { depth: 16, avps: 4096 }
const dictionary = loadDictionary()

// --- node-diameter: the parts of it that we call

interface NodeDiameter {
  decodeMessage(octets: Buffer): { body: unknown[] }
  encodeMessage(message: unknown): Buffer
}
const require = createRequire(import.meta.url)
const theirs = require('diameter/lib/diameter-codec.js') as NodeDiameter
const theirDictionary = require('diameter/lib/diameter-dictionary.js') as {
  getAvpByCodeAndVendorId(code: number, vendorId: number): { type: string; enums?: { code: number }[] } | undefined
}

/** The message without what node-diameter throws on. */
function withoutUnknown(octets: Buffer): Buffer {
  const known = ({ code, vendorId, value }: AvpTree): boolean => {
    const avp = theirDictionary.getAvpByCodeAndVendorId(code, vendorId)
    if (!avp || avp.type === 'Address') return false
    return !avp.enums || avp.enums.some(each => each.code === value)
  }
  const strip = (avps: readonly AvpTree[]): AvpTree[] =>
    avps.filter(known).map(avp => (Array.isArray(avp.value) ? { ...avp, value: strip(avp.value) } : avp))
  const tree = decodeTree(dictionary, octets)
  return encodeTree(dictionary, { ...tree, avps: strip(tree.avps) })
}

// --- what charging reads of a CCR, and a gateway of a CCA

class Units {
  time: number | undefined = undefined
  total: bigint | undefined = undefined
  input: bigint | undefined = undefined
  output: bigint | undefined = undefined
  specific: bigint | undefined = undefined
  reason: number | undefined = undefined
}
class Mscc {
  ratingGroup: number | undefined = undefined
  serviceIdentifiers: number[] = []
  resultCode: number | undefined = undefined
  granted: Units | undefined = undefined
  requested: Units | undefined = undefined
  used: Units[] = []
  reason: number | undefined = undefined
}
class SubscriptionId {
  type = 0
  data = ''
}
class Ccr {
  sessionId = ''
  originHost = ''
  serviceContextId = ''
  requestType = 0
  requestNumber = 0
  timestamp: number | undefined = undefined
  subscriptions: SubscriptionId[] = []
  services: Mscc[] = []
}
class Cca {
  sessionId = ''
  resultCode = 0
  services: Mscc[] = []
}

const amounts = {
  ...{ time: 'CC-Time', total: 'CC-Total-Octets', input: 'CC-Input-Octets', output: 'CC-Output-Octets' },
  specific: 'CC-Service-Specific-Units',
}
const subscription = { type: 'Subscription-Id-Type', data: 'Subscription-Id-Data' }
const mscc = 'Multiple-Services-Credit-Control'
const ccrShape = shape(dictionary, 'CCR', Ccr, {
  sessionId: 'Session-Id',
  originHost: 'Origin-Host',
  serviceContextId: 'Service-Context-Id',
  requestType: 'CC-Request-Type',
  requestNumber: 'CC-Request-Number',
  timestamp: 'Event-Timestamp',
  subscriptions: ['Subscription-Id', shape(dictionary, 'Subscription-Id', SubscriptionId, subscription)],
  services: [
    mscc,
    shape(dictionary, mscc, Mscc, {
      ratingGroup: 'Rating-Group',
      serviceIdentifiers: 'Service-Identifier',
      requested: ['Requested-Service-Unit', shape(dictionary, 'Requested-Service-Unit', Units, amounts)],
      used: [
        'Used-Service-Unit',
        shape(dictionary, 'Used-Service-Unit', Units, { ...amounts, reason: 'Reporting-Reason' }),
      ],
      reason: 'Reporting-Reason',
    }),
  ],
})
const ccaShape = shape(dictionary, 'CCA', Cca, {
  sessionId: 'Session-Id',
  resultCode: 'Result-Code',
  services: [
    mscc,
    shape(dictionary, mscc, Mscc, {
      ratingGroup: 'Rating-Group',
      resultCode: 'Result-Code',
      granted: ['Granted-Service-Unit', shape(dictionary, 'Granted-Service-Unit', Units, amounts)],
    }),
  ],
})

// --- what is encoded

const session: AvpItem[] = [['Session-Id', 'pgw1.example.net;1768478400;42;gy']]
const origin: AvpItem[] = [
  ['Origin-Host', 'ocs1.charging.example.net'],
  ['Origin-Realm', 'charging.example.net'],
]
const numbers: AvpItem[] = [
  ['CC-Request-Type', 2],
  ['CC-Request-Number', 7],
]
const cca: AvpItem[] = [
  ...session,
  ['Result-Code', 2001],
  ...origin,
  ['Auth-Application-Id', 4],
  ...numbers,
  [
    mscc,
    [
      ['Granted-Service-Unit', [['CC-Time', 3600]]],
      ['Rating-Group', 10],
      ['Validity-Time', 3600],
      ['Result-Code', 2001],
    ],
  ],
]
const ccr: AvpItem[] = [
  ...session,
  ...origin,
  ['Destination-Realm', 'charging.example.net'],
  ['Auth-Application-Id', 4],
  ['Service-Context-Id', '32251@3gpp.org'],
  ...numbers,
  ['Subscription-Id', [['Subscription-Id-Type', 0], ['Subscription-Id-Data', '447700900123']]], // prettier-ignore
  ['Multiple-Services-Indicator', 1],
  [mscc, [['Requested-Service-Unit', []], ['Used-Service-Unit', [['CC-Time', 3600]]], ['Rating-Group', 10]]], // prettier-ignore
]

const readyOrigin = Buffer.concat([
  encodeAvp(dictionary, 'Origin-Host', 'ocs1.charging.example.net'),
  encodeAvp(dictionary, 'Origin-Realm', 'charging.example.net'),
])
const writer = new Writer()

function writeCca(): Buffer {
  writer.message(0x40, 272, 4, 1, 2)
  writer.text(263, 'pgw1.example.net;1768478400;42;gy')
  writer.u32(268, 2001)
  writer.ready(readyOrigin)
  writer.u32(258, 4)
  writer.u32(416, 2)
  writer.u32(415, 7)
  const service = writer.group(456)
  const granted = writer.group(431)
  writer.u32(420, 3600)
  writer.end(granted)
  writer.u32(432, 10)
  writer.u32(448, 3600)
  writer.u32(268, 2001)
  writer.end(service)
  writer.endMessage()
  return writer.take()
}

/** Their names for enumerated values. */
const enumNames: Record<string, string> = {
  'CC-Request-Type 2': 'UPDATE_REQUEST',
  'Subscription-Id-Type 0': 'END_USER_E164',
  'Multiple-Services-Indicator 1': 'MULTIPLE_SERVICES_SUPPORTED',
  'Result-Code 2001': 'DIAMETER_SUCCESS',
}
function theirMessage(request: boolean, items: readonly AvpItem[]): unknown {
  const pair = (item: AvpItem): unknown => {
    const [name, value] = item as readonly [string, number | string | readonly AvpItem[]]
    return [name, typeof value === 'object' ? value.map(pair) : (enumNames[`${name} ${value}`] ?? value)]
  }
  const flags = { request, proxiable: true, error: false, potentiallyRetransmitted: false }
  const header = { version: 1, commandCode: 272, flags, applicationId: 4, hopByHopId: 1, endToEndId: 2 }
  return { header, body: items.map(pair), command: 'Credit-Control' }
}
const theirCcr = theirMessage(true, ccr)
const theirCca = theirMessage(false, cca)
const byName = (command: string, avps: readonly AvpItem[]): Buffer =>
  encodeTree(dictionary, { command, hopByHop: 1, endToEnd: 2, avps })

// --- the cases

const smf = recordings.find(({ name }) => name === 'CCR-U')!.octets
const pgw = vector('C03')
const answer = recordings.find(({ name }) => name === 'CCA-U')!.octets
const [theirSmf, theirPgw, theirAnswer] = [smf, pgw, answer].map(withoutUnknown) as [Buffer, Buffer, Buffer]

const cases: Record<string, { ours: () => unknown; theirs: () => unknown }> = {
  'decode CCR-U of an Open5GS SMF': {
    ours: () => readMessage(ccrShape, smf, limits),
    theirs: () => theirs.decodeMessage(theirSmf),
  },
  'decode CCR-U of a PGW': {
    ours: () => readMessage(ccrShape, pgw, limits),
    theirs: () => theirs.decodeMessage(theirPgw),
  },
  'decode CCA-U': {
    ours: () => readMessage(ccaShape, answer, limits),
    theirs: () => theirs.decodeMessage(theirAnswer),
  },
  'encode CCA-U': { ours: writeCca, theirs: () => theirs.encodeMessage(theirCca) },
  'encode CCA-U by names': { ours: () => byName('CCA', cca), theirs: () => theirs.encodeMessage(theirCca) },
  'encode CCR-U by names': { ours: () => byName('CCR', ccr), theirs: () => theirs.encodeMessage(theirCcr) },
}

assert.deepEqual(writeCca(), byName('CCA', cca))
assert.deepEqual(content(theirs.encodeMessage(theirCca)), content(byName('CCA', cca)))
assert.deepEqual(content(theirs.encodeMessage(theirCcr)), content(byName('CCR', ccr)))
const { input, output } = readMessage(ccrShape, smf, limits).services[0]!.used[0]!
assert.equal(input! + output!, 1_000_000n)

/** Names and values; node-diameter sets other flags. */
function content(octets: Buffer): unknown {
  const strip = ({ name, value }: AvpTree): unknown => [name, Array.isArray(value) ? value.map(strip) : value]
  return decodeTree(dictionary, octets).avps.map(strip)
}

/** CPU of one call in microseconds, over about `roundMs`. */
function cost(work: () => unknown): number {
  let calls = 0
  const from = process.cpuUsage()
  let used = 0
  for (let batch = 1; used < roundMs * 1000; batch = Math.min(batch * 2, 4096)) {
    for (let i = 0; i < batch; i++) work()
    calls += batch
    const { user, system } = process.cpuUsage(from)
    used = user + system
  }
  return used / calls
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!

const costs = Object.entries(cases).map(([name, each]) => ({
  name,
  each,
  ours: [] as number[],
  theirs: [] as number[],
}))
for (let round = -1; round < rounds; round++) {
  for (const { each, ours, theirs } of costs) {
    const [our, their] = [cost(each.ours), cost(each.theirs)]
    if (round < 0) continue // warms up
    ours.push(our)
    theirs.push(their)
  }
}
const rows = costs.map(({ name, ours, theirs }) => ({
  case: name,
  ocsd: Number(median(ours).toFixed(2)),
  'node-diameter': Number(median(theirs).toFixed(1)),
}))
const about = { bench: 'codec', unit: 'µs of CPU per message', node: process.version, rounds, small }
console.log(JSON.stringify({ ...about, rows }))
console.log(`${'µs of CPU per message'.padEnd(34)}${'ocsd'.padStart(8)}${'node-diameter'.padStart(16)}`)
for (const row of rows) {
  console.log(`${row.case.padEnd(34)}${row.ocsd.toFixed(2).padStart(8)}${row['node-diameter'].toFixed(1).padStart(16)}`)
}
