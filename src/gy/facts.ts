/**
 * What a CCR says of where, how and whom, for rating: Service-Information of TS 32.299 section 7.2.192, with location and
 * access as TS 29.061 section 16.4.7 encodes them. A value that says nothing is absent here; it refuses no request.
 */
import type { RequestFacts } from '../charging/charging.js'
import type { Dictionary } from '../diameter/dictionary.js'
import { shape, type Shape } from '../diameter/message.js'

class PsInformation {
  calledStationId: string | undefined = undefined
  sgsnMccMnc: string | undefined = undefined
  userLocationInfo: Buffer | undefined = undefined
  ratType: Buffer | undefined = undefined
  chargingId: number | undefined = undefined
}

class ImsInformation {
  roleOfNode: number | undefined = undefined
  calledPartyAddress: string | undefined = undefined
}

class Address {
  type: number | undefined = undefined
  data: string | undefined = undefined
}

class RecipientInfo {
  addresses: Address[] = []
}

class SmsInformation {
  messageType: number | undefined = undefined
  recipients: RecipientInfo[] = []
}

class MmsInformation {
  messageType: number | undefined = undefined
  recipients: Address[] = []
}

export class ServiceInformation {
  ps: PsInformation | undefined = undefined
  ims: ImsInformation | undefined = undefined
  sms: SmsInformation | undefined = undefined
  mms: MmsInformation | undefined = undefined
}

/** Only what `factsOf` wants of the 600 AVPs that may stand there. */
export function serviceInformationShape(dictionary: Dictionary): Shape<ServiceInformation> {
  const address = shape(dictionary, 'Recipient-Address', Address, { type: 'Address-Type', data: 'Address-Data' })
  const ps = shape(dictionary, 'PS-Information', PsInformation, {
    calledStationId: 'Called-Station-Id',
    sgsnMccMnc: '3GPP-SGSN-MCC-MNC',
    userLocationInfo: '3GPP-User-Location-Info',
    ratType: '3GPP-RAT-Type',
    chargingId: '3GPP-Charging-Id',
  })
  const ims = shape(dictionary, 'IMS-Information', ImsInformation, {
    roleOfNode: 'Role-Of-Node',
    calledPartyAddress: 'Called-Party-Address',
  })
  const recipientInfo = shape(dictionary, 'Recipient-Info', RecipientInfo, {
    addresses: ['Recipient-Address', address],
  })
  const sms = shape(dictionary, 'SMS-Information', SmsInformation, {
    messageType: 'SM-Message-Type',
    recipients: ['Recipient-Info', recipientInfo],
  })
  const mms = shape(dictionary, 'MMS-Information', MmsInformation, {
    messageType: 'Message-Type',
    recipients: ['Recipient-Address', address],
  })
  return shape(dictionary, 'Service-Information', ServiceInformation, {
    ps: ['PS-Information', ps],
    ims: ['IMS-Information', ims],
    sms: ['SMS-Information', sms],
    mms: ['MMS-Information', mms],
  })
}

const noFacts: RequestFacts = {
  plmn: undefined,
  called: undefined,
  apn: undefined,
  rat: undefined,
  direction: undefined,
}

const Role = { ORIGINATING: 0, TERMINATING: 1 } as const

/** @param ratType 3GPP-RAT-Type from outside PS-Information, where some gateways have it: that inside wins */
export function factsOf(information: ServiceInformation | undefined, ratType: Buffer | undefined): RequestFacts {
  if (information === undefined) return ratType === undefined ? noFacts : { ...noFacts, rat: ratOf(ratType) }
  const { ps, ims, sms, mms } = information
  const role = ims?.roleOfNode
  const terminating = role === Role.TERMINATING
  return {
    plmn: ps && (plmnText(ps.sgsnMccMnc) ?? plmnOf(ps.userLocationInfo)),
    // Ours: the called party of a terminating call is the subscriber, who must not pay for calling that number.
    called: terminating ? undefined : (numberOf(ims?.calledPartyAddress) ?? recipientOf(sms, mms)),
    apn: apnOf(ps?.calledStationId),
    rat: ratOf(ps?.ratType) ?? ratOf(ratType),
    direction: terminating ? 'terminating' : role === Role.ORIGINATING ? 'originating' : undefined,
    message: messageOf(sms, mms),
    recipients: recipientsOf(sms, mms),
    chargingId: ps?.chargingId,
  }
}

const plmnText = (text: string | undefined): string | undefined =>
  text !== undefined && /^\d{5,6}$/.test(text) ? text : undefined

/** Location types of 3GPP-User-Location-Info that begin with a PLMN: CGI, SAI, RAI; from 128, all of EPS and 5GS. */
const beginsWithPlmn = (type: number): boolean => type <= 2 || (type >= 128 && type <= 139)

/**
 * MCC and MNC of 3GPP-User-Location-Info: behind the location type three octets of digits, the low half first; the MNC's
 * third digit is beside the MCC's, and F when there is none (TS 29.274 section 8.21).
 */
export function plmnOf(location: Buffer | undefined): string | undefined {
  if (location === undefined || location.length < 4 || !beginsWithPlmn(location[0]!)) return undefined
  const [, a, b, c] = location as unknown as readonly [number, number, number, number]
  const [mcc1, mcc2, mcc3, mnc1, mnc2, mnc3] = [a & 15, a >>> 4, b & 15, c & 15, c >>> 4, b >>> 4]
  if (mcc1 > 9 || mcc2 > 9 || mcc3 > 9 || mnc1 > 9 || mnc2 > 9 || (mnc3 > 9 && mnc3 !== 15)) return undefined
  return `${mcc1}${mcc2}${mcc3}${mnc1}${mnc2}${mnc3 === 15 ? '' : mnc3}`
}

const ratOf = (octets: Buffer | undefined): string | undefined =>
  octets?.length === 1 ? String(octets[0]!) : undefined

/** An APN is a domain name of at most 100 octets; over WLAN it may be a BSSID with its name. */
const apnOf = (text: string | undefined): string | undefined =>
  text !== undefined && /^[\w.:-]{1,100}$/.test(text) ? text : undefined

const sipNumber = /^sips?:(?:\+|%2b)?([\d.()-]+)(?:[;:][^@]*)?@/i
const telNumber = /^tel:\+?([\d.()-]+)(?:;|$)/i
const bareNumber = /^\+?(\d+)$/
/** More digits than any numbering plan has. */
const mostDigits = 32

/**
 * The digits of `tel:+49-30-1234;npdi`, `sip:+49301234@ims.example;user=phone` or `+49301234`. A name, an emergency URN or a
 * service code is no number.
 */
export function numberOf(address: string | undefined): string | undefined {
  if (address === undefined) return undefined
  const found = bareNumber.exec(address) ?? telNumber.exec(address) ?? sipNumber.exec(address)
  const digits = found?.[1]!.replace(/[^\d]/g, '')
  return digits !== undefined && digits !== '' && digits.length <= mostDigits ? digits : undefined
}

/** Of a SIP or tel URI with a global number, its digits. A local number says nothing without its country. */
export const globalNumberOf = (uri: string): string | undefined =>
  /^(?:sips?|tel):(?:\+|%2b)/i.test(uri) ? numberOf(uri) : undefined

const messageOf = (sms: SmsInformation | undefined, mms: MmsInformation | undefined): string | undefined =>
  sms?.messageType !== undefined
    ? `sms.${sms.messageType}`
    : mms?.messageType !== undefined
      ? `mms.${mms.messageType}`
      : undefined

/** To how many a message goes: one Recipient-Info of an SMS has all addresses of one recipient. Undefined: nobody is named. */
function recipientsOf(sms: SmsInformation | undefined, mms: MmsInformation | undefined): number | undefined {
  const recipients = (sms?.recipients.length ?? 0) + (mms?.recipients.length ?? 0)
  return recipients === 0 ? undefined : recipients
}

/** Address-Types that are no number to call: mail, IPv4, IPv6, alphanumeric short code, IMSI. */
const noNumbers: ReadonlySet<number> = new Set([0, 2, 3, 5, 7])

/** The first recipient with a number. */
function recipientOf(sms: SmsInformation | undefined, mms: MmsInformation | undefined): string | undefined {
  for (const { addresses } of sms?.recipients ?? []) {
    const number = firstNumber(addresses)
    if (number !== undefined) return number
  }
  return mms && firstNumber(mms.recipients)
}

function firstNumber(addresses: readonly Address[]): string | undefined {
  for (const { type, data } of addresses) {
    const number = type !== undefined && noNumbers.has(type) ? undefined : numberOf(data)
    if (number !== undefined) return number
  }
  return undefined
}
