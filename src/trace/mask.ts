/**
 * What a trace shows of people: of the subscriber who is traced all but the numbers of others, of everybody else nothing. Values
 * are made unreadable in place, so that a message stays as long as it was and every decoder still reads it.
 */
import type { AvpDefinition, Dictionary } from '../diameter/dictionary.js'
import { HEADER_OCTETS } from '../diameter/header.js'

/** Texts and octets that say nothing of a person. All others do, or may: also those that no dictionary has. */
const impersonal: ReadonlySet<string> = new Set([
  // RFC 6733, RFC 8506
  ...['Session-Id', 'Error-Message', 'Product-Name', 'Host-IP-Address', 'Class', 'Proxy-State', 'Service-Context-Id'],
  ...['Cost-Unit', 'Redirect-Server-Address', 'Redirect-Address-IPAddress', 'Redirect-Address-URL', 'Filter-Id'],
  ...['Redirect-Address-SIP-URI', 'Called-Station-Id', 'Service-Selection', 'CC-Correlation-Id'],
  // TS 32.299, TS 29.061: the network's nodes, the access point, the bearer
  ...['3GPP-Charging-Characteristics', '3GPP-GGSN-MCC-MNC', '3GPP-IMSI-MCC-MNC', '3GPP-MS-TimeZone', '3GPP-NSAPI'],
  ...['3GPP-RAT-Type', '3GPP-SGSN-MCC-MNC', '3GPP-Selection-Mode', '3GPP-Session-Stop-Indicator', '3GPP-PDP-Type'],
  ...['3GPP-GPRS-Negotiated-QoS-Profile', '3GPP-SGSN-Address', '3GPP-GGSN-Address', '3GPP-CG-Address'],
  ...['3GPP-SGSN-Ipv6-Address', '3GPP-GGSN-Ipv6-Address', '3GPP-CG-Ipv6-Address', '3GPP-Negotiated-DSCP'],
  ...['SGSN-Address', 'GGSN-Address', 'SGW-Address', 'CG-Address', 'SMSC-Address', 'MSC-Address', 'MSC-Number'],
  ...['Charging-Rule-Base-Name', 'Base-Time-Interval', 'IMS-Charging-Identifier', 'Inter-Operator-Identifier'],
  ...['Originating-IOI', 'Terminating-IOI', 'SIP-Method', 'Message-ID', 'Applic-ID', 'Refund-Reference'],
])

/** Of others, in a message of the subscriber who is traced: who was called, who called, who gets a message. */
const others: ReadonlySet<string> = new Set([
  ...['Calling-Party-Address', 'Called-Party-Address', 'Called-Asserted-Identity', 'Requested-Party-Address'],
  ...['Associated-Party-Address', 'Alternate-Charged-Party-Address', 'Application-Provided-Called-Party-Address'],
  ...['Address-Data', 'From-Address', 'Called-Identity', 'Participants-Involved', 'LCS-Client-Dialed-By-MS'],
  ...['LCS-Client-External-ID', 'LCS-Name-String', 'LCS-Requestor-ID-String', 'Target-App-Layer-User-Id'],
  ...['Originator-SCCP-Address', 'Recipient-SCCP-Address', 'Calling-Station-Id', 'SM-User-Data-Header'],
])

/** Sorts of values that can tell who somebody is. */
const telling: ReadonlySet<AvpDefinition['type']> = new Set(['UTF8String', 'OctetString', 'Address', 'DiameterURI'])

/** Shorter values are not looked for elsewhere: they would be found by chance. */
const searchedOctets = 6
/** How a masked text ends as it was: the log does the same. */
const shownOctets = 2
/** Groups deeper than this are hidden whole: no trace shows them, and nesting costs no stack. */
const deepest = 32
/** Octets of a message times values to look for in it: some milliseconds. No gateway's message comes near. */
const mostSearching = 2 ** 20

/**
 * A copy of a message without what its reader must not see.
 *
 * @param shown identities of the subscriber whose message it is, at least six characters each; undefined: nobody's are shown
 */
export function masked(dictionary: Dictionary, octets: Buffer, shown: readonly string[] | undefined): Buffer {
  const copy = Buffer.from(octets)
  const hidden = new Set<string>()
  hide(copy, HEADER_OCTETS, copy.length, deepest, isPersonal)
  if (hidden.size * copy.length > mostSearching) {
    // Too many to look for: all that may repeat one goes.
    hide(copy, HEADER_OCTETS, copy.length, deepest, avp => avp === undefined || telling.has(avp.type))
    return copy
  }
  // A Session-Id, or a text of ours, may repeat what was hidden.
  for (const value of hidden) {
    if (shown?.some(identity => identity.includes(value))) continue
    for (let at = copy.indexOf(value, HEADER_OCTETS, 'latin1'); at >= 0; at = copy.indexOf(value, at + 1, 'latin1'))
      blot(copy, at, at + value.length)
  }
  return copy

  function hide(into: Buffer, from: number, end: number, depth: number, hides: typeof isPersonal): void {
    for (let at = from; at + 8 <= end;) {
      const flags = into[at + 4]!
      const length = into.readUIntBE(at + 5, 3)
      const dataAt = at + (flags & 0x80 ? 12 : 8)
      // What does not add up cannot be told apart any further.
      if (dataAt - at > length || at + length > end) {
        blot(into, at, end)
        return
      }
      const avp = dictionary.find(flags & 0x80 ? into.readUInt32BE(at + 8) : 0, into.readUInt32BE(at))
      const dataEnd = at + length
      if (avp?.type === 'Grouped') {
        if (depth === 0) blot(into, dataAt, dataEnd)
        else hide(into, dataAt, dataEnd, depth - 1, hides)
      } else if (hides(avp, into, dataAt, dataEnd)) {
        for (const part of partsOf(into.toString('latin1', dataAt, dataEnd))) hidden.add(part)
        blot(into, dataAt, dataEnd, avp?.type === 'Address' ? 2 : 0)
      }
      at += (length + 3) & ~3
    }
  }

  function isPersonal(avp: AvpDefinition | undefined, into: Buffer, from: number, to: number): boolean {
    if (avp === undefined) return shown === undefined
    if (!telling.has(avp.type)) return false
    if (shown === undefined) return !impersonal.has(avp.name)
    if (!others.has(avp.name)) return false
    const value = into.toString('latin1', from, to)
    return !shown.some(identity => value.includes(identity))
  }
}

/** What to look for elsewhere, of a text: the value, and the numbers in it, as `tel:+491709999999` is called 491709999999 elsewhere. */
const partsOf = (value: string): string[] =>
  /^[ -~]+$/.test(value) ? [value, ...(value.match(/\d{6,}/g) ?? [])].filter(part => part.length >= searchedOctets) : []

/** Text becomes asterisks and ends as it was, anything else zeros. */
function blot(octets: Buffer, from: number, to: number, keep = 0): void {
  const data = octets.subarray(from, to)
  const text = data.length > 0 && data.every(octet => octet >= 0x20 && octet < 0x7f)
  if (text) octets.fill('*', from, Math.max(from, to - shownOctets))
  else octets.fill(0, from + keep, to)
}
