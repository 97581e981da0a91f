/**
 * What must hold of every message that ocsd sends, whatever a test was about: rules by their row, checked at the end of each
 * file on all that its clients got. A rule about messages that no test of a file provoked says nothing there, and is left out.
 */
import tap from 'tap'
import { FLAG, readHeader, type Header } from '../../src/diameter/header.js'
import { everythingReceived } from '../support/raw-client.js'
import { allAvps, avpsOf, type RawAvp } from './octets.js'

/** A message of ocsd's. */
interface Sent {
  readonly octets: Buffer
  readonly header: Header
  /** Of the top level. */
  readonly avps: readonly RawAvp[]
  readonly isRequest: boolean
  /** Of the command; 0 when there is none. */
  readonly resultCode: number
}

interface Rule {
  readonly id: string
  readonly shows: string
  /** Which messages it is about; default all. */
  readonly about?: (sent: Sent) => boolean
  readonly holds: (sent: Sent) => boolean
}

const code = {
  inbandSecurityId: 299,
  authApplicationId: 258,
  acctApplicationId: 259,
  destinationHost: 293,
  destinationRealm: 283,
  errorMessage: 281,
  errorReportingHost: 294,
  failedAvp: 279,
  grantedServiceUnit: 431,
  mscc: 456,
  originHost: 264,
  originRealm: 296,
  proxyInfo: 284,
  requestNumber: 415,
  requestType: 416,
  resultCode: 268,
  sessionId: 263,
  supportedVendorId: 265,
  vendorSpecificApplicationId: 260,
} as const

const command = { cer: 257, ccr: 272, dwr: 280, dpr: 282 } as const
const baseCommands: readonly number[] = [command.cer, command.dwr, command.dpr]
const vendor3gpp = 10415

/** CC-Time, CC-Money, CC-Total-Octets, CC-Input-Octets, CC-Output-Octets, CC-Service-Specific-Units. */
const unitTypes = [[420], [413], [421, 412, 414], [417]]

/** Who the fixtures' subscribers are: nobody is told in an Error-Message. */
const identities = /447700900\d{3}|23415\d{10}/

const of = (avps: readonly RawAvp[], wanted: number): RawAvp[] =>
  avps.filter(avp => avp.code === wanted && avp.vendorId === 0)
const has = ({ avps }: Sent, wanted: number): boolean => of(avps, wanted).length > 0
const once = ({ avps }: Sent, wanted: number): boolean => of(avps, wanted).length === 1
const numbers = ({ avps }: Sent, wanted: number): number[] => of(avps, wanted).map(avp => avp.data.readUInt32BE(0))
const isAnswer = (sent: Sent): boolean => !sent.isRequest
const isRefusal = (sent: Sent): boolean => isAnswer(sent) && sent.resultCode >= 3000
const isCea = (sent: Sent): boolean => isAnswer(sent) && sent.header.commandCode === command.cer
const isCca = (sent: Sent): boolean => isAnswer(sent) && sent.header.commandCode === command.ccr
const isProtocolError = ({ resultCode }: Sent): boolean => resultCode >= 3000 && resultCode < 4000

const rules: readonly Rule[] = [
  {
    id: 'BASE-003',
    shows: 'the length of every message is that of header and padded AVPs, and a multiple of 4',
    holds: ({ header, octets, avps }) =>
      header.length === octets.length &&
      octets.length % 4 === 0 &&
      octets.length === 20 + avps.reduce((sum, avp) => sum + avp.octets.length, 0),
  },
  {
    id: 'BASE-007',
    shows: 'no message has a reserved header bit',
    holds: ({ header }) => (header.flags & 0x0f) === 0,
  },
  {
    id: 'BASE-009',
    shows: 'no answer has the T bit',
    about: isAnswer,
    holds: ({ header }) => (header.flags & FLAG.RETRANSMITTED) === 0,
  },
  {
    id: 'BASE-020',
    shows: 'every message is AVPs of code, flags, length and data, padded with zeros, down into every group',
    holds: ({ octets }) => allAvps(octets).length > 0,
  },
  {
    id: 'BASE-022',
    shows: 'no AVP that ocsd makes has the P bit or a reserved bit',
    // What came is given back as it came, bits and all.
    about: sent => !has(sent, code.proxyInfo),
    holds: ({ octets }) => allAvps(octets).every(avp => (avp.flags & 0x3f) === 0),
  },
  {
    id: 'BASE-023',
    shows: 'no AVP that ocsd makes has Vendor-Id 0',
    about: sent => !has(sent, code.proxyInfo),
    holds: ({ octets }) => allAvps(octets).every(avp => (avp.flags & 0x80) === 0 || avp.vendorId !== 0),
  },
  {
    id: 'BASE-040',
    shows: 'Session-Id is the first AVP of every message that has one',
    about: sent => has(sent, code.sessionId),
    holds: sent => sent.avps[0]!.code === code.sessionId && once(sent, code.sessionId),
  },
  {
    id: 'BASE-062',
    shows: 'every 3xxx has the E bit and what answer-message must have, and no other answer has the bit',
    about: isAnswer,
    holds: sent =>
      ((sent.header.flags & FLAG.ERROR) !== 0) === isProtocolError(sent) &&
      (!isProtocolError(sent) || [code.originHost, code.originRealm, code.resultCode].every(each => once(sent, each))),
  },
  {
    id: 'BASE-064',
    shows: 'a node that answers for itself sends no Error-Reporting-Host',
    about: isRefusal,
    holds: sent => !has(sent, code.errorReportingHost),
  },
  {
    id: 'BASE-065',
    shows: 'Error-Message is sent without M bit',
    about: sent => has(sent, code.errorMessage),
    holds: ({ avps }) => of(avps, code.errorMessage).every(avp => avp.flags === 0),
  },
  {
    id: 'BASE-067',
    shows: 'every refusal says why, and names no subscriber',
    about: isRefusal,
    holds: sent =>
      once(sent, code.errorMessage) &&
      of(sent.avps, code.errorMessage).every(({ data }) => data.length > 0 && !identities.test(data.toString('utf8'))),
  },
  {
    id: 'BASE-074',
    shows: 'no answer has Destination-Host or Destination-Realm',
    about: isAnswer,
    holds: sent => !has(sent, code.destinationHost) && !has(sent, code.destinationRealm),
  },
  {
    id: 'BASE-097',
    shows: 'every CEA that accepts lists application 4 and no other',
    about: sent => isCea(sent) && sent.resultCode === 2001,
    holds: sent =>
      numbers(sent, code.authApplicationId).join() === '4' &&
      !has(sent, code.acctApplicationId) &&
      !has(sent, code.vendorSpecificApplicationId),
  },
  {
    id: 'BASE-099',
    shows: 'every CEA that accepts lists vendor 10415, and no message lists vendor 0',
    about: sent => (isCea(sent) && sent.resultCode === 2001) || has(sent, code.supportedVendorId),
    holds: sent => {
      const vendors = numbers(sent, code.supportedVendorId)
      return vendors.includes(vendor3gpp) && !vendors.includes(0)
    },
  },
  {
    id: 'BASE-108',
    shows: 'CER, CEA, DWR, DWA, DPR and DPA have application 0, no P bit and no Session-Id',
    about: sent => baseCommands.includes(sent.header.commandCode),
    holds: sent =>
      sent.header.applicationId === 0 &&
      (sent.header.flags & FLAG.PROXIABLE) === 0 &&
      !has(sent, code.sessionId) &&
      !has(sent, 282),
  },
  {
    id: 'BASE-124',
    shows: 'no CEA offers security inside the connection',
    about: isCea,
    holds: sent => numbers(sent, code.inbandSecurityId).every(id => id === 0),
  },
  {
    id: 'CC-002',
    shows: 'every CCA that is no protocol error is complete',
    // A CCR whose type or number could not be read has none to give back.
    about: sent => isCca(sent) && !isProtocolError(sent) && ![5004, 5005, 5009, 5011, 5014].includes(sent.resultCode),
    holds: sent =>
      [code.sessionId, code.resultCode, code.originHost, code.originRealm, code.requestType, code.requestNumber].every(
        each => once(sent, each),
      ) && numbers(sent, code.authApplicationId).join() === '4',
  },
  {
    id: 'CC-015',
    shows: 'every Granted-Service-Unit has units of one type',
    about: ({ octets, header }) =>
      header.commandCode === command.ccr && of(allAvps(octets), code.grantedServiceUnit).length > 0,
    holds: ({ octets }) =>
      of(allAvps(octets), code.grantedServiceUnit).every(({ data }) => {
        const units = allAvps(Buffer.concat([Buffer.alloc(20), data]))
        return unitTypes.filter(type => units.some(avp => type.includes(avp.code))).length <= 1
      }),
  },
  {
    id: 'CC-050',
    shows: 'no refused CCA has a grant or an MSCC',
    about: sent => isCca(sent) && sent.resultCode !== 2001,
    holds: sent => !has(sent, code.mscc) && !has(sent, code.grantedServiceUnit),
  },
]

const recorded: Buffer[] = []

/** For clients that are no RawClient: a message that came from ocsd. */
export function received(octets: Buffer): void {
  recorded.push(Buffer.from(octets))
}

/** The last test of a file. */
export function checkRecorded(): void {
  tap.test('everything that ocsd sent is as it must be', async t => {
    const messages = [...everythingReceived.map(({ octets }) => octets), ...recorded].map(read)
    for (const { id, shows, about = () => true, holds } of rules) {
      const subjects = messages.filter(about)
      if (subjects.length === 0) continue
      await t.test(`${id} ${shows}`, t => {
        const faults = subjects.filter(sent => !kept(holds, sent)).map(({ octets }) => octets.toString('hex'))
        t.same(faults, [], 'in every message')
        t.end()
      })
    }
    t.ok(messages.length > 0)
  })
}

/** A rule that cannot be read is broken. */
function kept(holds: Rule['holds'], sent: Sent): boolean {
  try {
    return holds(sent)
  } catch {
    return false
  }
}

function read(octets: Buffer): Sent {
  const header = readHeader(octets)
  let avps: RawAvp[] = []
  try {
    avps = avpsOf(octets)
  } catch {
    // BASE-020 says so.
  }
  const [resultCode] = of(avps, code.resultCode)
  return {
    octets,
    header,
    avps,
    isRequest: (header.flags & FLAG.REQUEST) !== 0,
    resultCode: resultCode?.data.length === 4 ? resultCode.data.readUInt32BE(0) : 0,
  }
}
