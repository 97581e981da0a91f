/**
 * What a server grants, by the unit a service is sold in: Granted-Service-Unit, its threshold (TS 32.299 section 6.5.2), and the
 * moment from which another price may hold.
 */
import type { Millis, UnitType } from '../units.js'
import type { Avps } from './message.js'

const amountAvps = {
  octets: 'CC-Total-Octets',
  seconds: 'CC-Time',
  events: 'CC-Service-Specific-Units',
} as const
const thresholdAvps: Partial<Record<UnitType, string>> = {
  octets: 'Volume-Quota-Threshold',
  seconds: 'Time-Quota-Threshold',
  events: 'Unit-Quota-Threshold',
}

/**
 * Units granted, money in micros.
 *
 * @param avps those of a Multiple-Services-Credit-Control, or of the whole answer
 */
export function grantedOf(avps: Avps, unit: UnitType): bigint | undefined {
  const granted = avps.group('Granted-Service-Unit')
  return unit === 'money' ? moneyOf(granted?.group('CC-Money')) : granted?.bigint(amountAvps[unit])
}

/** Units left of the grant at which the gateway reports. */
export function thresholdOf(avps: Avps, unit: UnitType): bigint | undefined {
  const name = thresholdAvps[unit]
  return name === undefined ? undefined : avps.bigint(name)
}

/** Tariff-Time-Change: what is used from then on is reported apart. */
export function switchOf(avps: Avps): Millis | undefined {
  const seconds = avps.group('Granted-Service-Unit')?.number('Tariff-Time-Change')
  return seconds === undefined ? undefined : seconds * 1000
}

/** Unit-Value of CC-Money or Cost-Information in micros; what is below one is cut. */
export function moneyOf(money: Avps | undefined): bigint | undefined {
  const value = money?.group('Unit-Value')
  const digits = value?.bigint('Value-Digits')
  if (digits === undefined) return undefined
  const shift = (value?.number('Exponent') ?? 0) + 6
  return shift >= 0 ? digits * 10n ** BigInt(shift) : digits / 10n ** BigInt(-shift)
}
