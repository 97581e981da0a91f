/**
 * What an answer says of one line: its units, until when, what happens at the last of them, when to report. RFC 8506 sections
 * 8.16 to 8.39 and 8.64 to 8.68, TS 32.299 section 7.2. AVPs that a client may not know are never sent to it with the M bit
 * where the profile of its peer leaves them out.
 */
import type { GrantTerms, LineOutcome } from '../charging/charging.js'
import { addressOctets } from '../diameter/data-formats.js'
import type { Writer } from '../diameter/writer.js'
import type { UnitType } from '../units.js'

const vendor3gpp = 10415

const code = {
  grantedServiceUnit: 431, ratingGroup: 432, serviceIdentifier: 439, validityTime: 448, finalUnitIndication: 430, finalUnitAction: 449,
  restrictionFilterRule: 438, filterId: 11, redirectServer: 434, redirectAddressType: 433, redirectServerAddress: 435,
  qosFinalUnitIndication: 669, redirectServerExtension: 665, redirectAddressIp: 666, redirectAddressUrl: 667, redirectAddressSip: 668,
  tariffTimeChange: 451, ccMoney: 413, unitValue: 445, valueDigits: 447, exponent: 429, currencyCode: 425, poolReference: 457,
  poolIdentifier: 453, ccUnitType: 454, timeQuotaThreshold: 868, volumeQuotaThreshold: 869, unitQuotaThreshold: 1226,
  quotaHoldingTime: 871, trigger: 1264, triggerType: 870, quotaConsumptionTime: 881, timeQuotaMechanism: 1270, timeQuotaType: 1271,
  baseTimeInterval: 1265, envelopeReporting: 1268, announcementInformation: 3904, announcementIdentifier: 3905, quotaIndicator: 3912,
} as const // prettier-ignore

const unitCodes = { octets: 421, seconds: 420, events: 417 } as const
/** CC-Unit-Type. */
const unitTypeValues = { seconds: 0, money: 1, octets: 2, events: 5 } as const
/** TS 32.299 has no threshold for money. */
const thresholds: Partial<Record<UnitType, { readonly name: string; readonly code: number }>> = {
  octets: { name: 'Volume-Quota-Threshold', code: code.volumeQuotaThreshold },
  seconds: { name: 'Time-Quota-Threshold', code: code.timeQuotaThreshold },
  events: { name: 'Unit-Quota-Threshold', code: code.unitQuotaThreshold },
}
const redirectTypes = { ipv4: 0, ipv6: 1, url: 2, sip: 3 } as const
const actions = { terminate: 0, redirect: 1, restrict: 2 } as const

export type Grant = Extract<LineOutcome, { units: unknown }>
export const isGrant = (line: LineOutcome): line is Grant => line.is === 'granted' || line.is === 'free'

/** What of a peer's profile changes how lines look. */
export interface LineStyle {
  readonly finalUnits: 'rfc4006' | 'rfc8506' | 'both'
  /** Names of AVPs that are not sent. */
  readonly omit: ReadonlySet<string>
}

/** Granted-Service-Unit. @param currencyCode ISO 4217, numeric, of money; undefined: it has no number */
export function writeGrant(
  writer: Writer,
  {
    units,
    unit,
    switchAt,
  }: { readonly units: bigint; readonly unit: UnitType; readonly switchAt?: number | undefined },
  currencyCode: number | undefined,
): void {
  const group = writer.group(code.grantedServiceUnit)
  if (switchAt !== undefined) writer.time(code.tariffTimeChange, Math.floor(switchAt / 1000))
  if (unit === 'money') {
    const money = writer.group(code.ccMoney)
    writeMoney(writer, units, currencyCode)
    writer.end(money)
  } else if (unit === 'seconds') writer.u32(unitCodes.seconds, Number(units))
  else writer.u64(unitCodes[unit], units)
  writer.end(group)
}

/** Unit-Value and Currency-Code of so many micros, in hundredths, or finer where that says something: 90 x 10^-2, 85 x 10^-3. */
export function writeMoney(writer: Writer, micros: bigint, currencyCode: number | undefined): void {
  let [digits, exponent] = [micros, -6]
  while (exponent < -2 && digits % 10n === 0n) {
    digits /= 10n
    exponent++
  }
  writeUnitValue(writer, digits, exponent)
  if (currencyCode !== undefined) writer.u32(code.currencyCode, currencyCode)
}

function writeUnitValue(writer: Writer, digits: bigint, exponent: number): void {
  const value = writer.group(code.unitValue)
  writer.i64(code.valueDigits, digits)
  writer.i32(code.exponent, exponent)
  writer.end(value)
}

/** Service-Identifiers and Rating-Group of a line, as they came. */
export function writeKey(writer: Writer, key: string): void {
  const slash = key.indexOf('/')
  const group = slash < 0 ? key : key.slice(0, slash)
  if (slash >= 0) for (const id of key.slice(slash + 1).split(',')) writer.u32(code.serviceIdentifier, Number(id))
  if (group !== '-') writer.u32(code.ratingGroup, Number(group))
}

/** G-S-U-Pool-Reference: what one unit of the grant is worth in the pool. */
export function writePool(writer: Writer, unit: UnitType, { pool }: GrantTerms, { omit }: LineStyle): void {
  if (!pool || omit.has('G-S-U-Pool-Reference')) return
  const group = writer.group(code.poolReference)
  writer.u32(code.poolIdentifier, pool.id)
  writer.i32(code.ccUnitType, unitTypeValues[unit])
  writeUnitValue(writer, pool.digits, pool.exponent)
  writer.end(group)
}

/** Validity-Time is always sent with units; what is restricted is asked about again sooner. */
export function writeValidity(writer: Writer, line: LineOutcome, { validity, finalUnit }: GrantTerms): void {
  const restricted = (line.is === 'restricted' || line.is === 'waiting') && 'validity' in finalUnit
  writer.u32(code.validityTime, restricted ? finalUnit.validity : validity)
}

/** Final-Unit-Indication, or its RFC 8506 form, or both. TERMINATE carries nothing else (CC-071). */
export function writeFinalUnits(writer: Writer, { finalUnit }: GrantTerms, { finalUnits, omit }: LineStyle): void {
  if (finalUnit.action === 'none') return
  if (finalUnits !== 'rfc8506' || finalUnit.action === 'terminate') {
    const group = writer.group(code.finalUnitIndication)
    writer.i32(code.finalUnitAction, actions[finalUnit.action])
    if (finalUnit.action === 'restrict') {
      for (const filter of finalUnit.filters) writer.text(code.restrictionFilterRule, filter)
      for (const id of finalUnit.filterIds) writer.text(code.filterId, id)
    }
    if (finalUnit.action === 'redirect') {
      const server = writer.group(code.redirectServer)
      writer.i32(code.redirectAddressType, redirectTypes[finalUnit.to.type])
      writer.text(code.redirectServerAddress, finalUnit.to.address)
      writer.end(server)
    }
    writer.end(group)
  }
  if (
    finalUnits !== 'rfc4006' &&
    (finalUnit.action === 'redirect' || finalUnit.action === 'restrict') &&
    !omit.has('QoS-Final-Unit-Indication')
  ) {
    // RFC 8506 section 8.68: without the M bit, as are its own members.
    const group = writer.group(code.qosFinalUnitIndication, 0, 0)
    writer.i32(code.finalUnitAction, actions[finalUnit.action])
    if (finalUnit.action === 'restrict') for (const id of finalUnit.filterIds) writer.text(code.filterId, id)
    else {
      const { type, address } = finalUnit.to
      const server = writer.group(code.redirectServerExtension, 0, 0)
      if (type === 'url') writer.text(code.redirectAddressUrl, address, 0, 0)
      else if (type === 'sip') writer.text(code.redirectAddressSip, address, 0, 0)
      else writer.octets(code.redirectAddressIp, addressOctets(address)!, 0, 0)
      writer.end(server)
    }
    writer.end(group)
  }
  if (finalUnit.announcement !== undefined && !omit.has('Announcement-Information')) {
    const group = writer.group(code.announcementInformation, vendor3gpp)
    writer.u32(code.announcementIdentifier, finalUnit.announcement, vendor3gpp)
    writer.i32(code.quotaIndicator, 0, vendor3gpp)
    writer.end(group)
  }
}

/** What TS 32.299 adds to a grant: when to report, what to report, how time counts. */
export function writeReporting(
  writer: Writer,
  { units, unit, is, final }: Grant,
  terms: GrantTerms,
  style: LineStyle,
): void {
  const { omit } = style
  const { holding, triggers, consumption, timeMechanism, envelope } = terms
  if (is === 'granted' && !final) writeThreshold(writer, units, unit, terms.threshold, omit)
  if (holding !== undefined && !omit.has('Quota-Holding-Time')) writer.u32(code.quotaHoldingTime, holding, vendor3gpp)
  // The mechanism takes precedence, and not both are sent (TS 32.299 section 6.5.7).
  if (timeMechanism && !omit.has('Time-Quota-Mechanism')) {
    const group = writer.group(code.timeQuotaMechanism, vendor3gpp)
    writer.i32(code.timeQuotaType, timeMechanism.type, vendor3gpp)
    writer.u32(code.baseTimeInterval, timeMechanism.interval, vendor3gpp)
    writer.end(group)
  } else if (consumption !== undefined && unit === 'seconds' && !omit.has('Quota-Consumption-Time'))
    writer.u32(code.quotaConsumptionTime, consumption, vendor3gpp)
  if (envelope !== undefined && !omit.has('Envelope-Reporting'))
    writer.i32(code.envelopeReporting, envelope, vendor3gpp)
  if (triggers && !omit.has('Trigger')) {
    const group = writer.group(code.trigger, vendor3gpp)
    for (const type of triggers) writer.i32(code.triggerType, type, vendor3gpp)
    writer.end(group)
  }
}

/** TS 32.299 section 6.5.2: units left of the grant at which the gateway should report; only below the grant, never with final units. */
function writeThreshold(
  writer: Writer,
  units: bigint,
  unit: UnitType,
  percent: number,
  omit: ReadonlySet<string>,
): void {
  const threshold = thresholds[unit]
  const left = (units * BigInt(percent)) / 100n
  if (!threshold || omit.has(threshold.name) || left === 0n || left >= units || left > 0xffffffffn) return
  writer.u32(threshold.code, Number(left), vendor3gpp)
}
