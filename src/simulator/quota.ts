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

/** What shall happen when the units of the grant are used, RFC 8506 section 8.34. */
export interface FinalUnit {
  readonly action: 'terminate' | 'redirect' | 'restrict'
  /** Where to, of `redirect`. */
  readonly to: string | undefined
  /** What is still let through, of `restrict`: rules, and names of rules that the gateway has. */
  readonly filters: readonly string[]
}

const finalActions: Readonly<Record<number, FinalUnit['action']>> = { 0: 'terminate', 1: 'redirect', 2: 'restrict' }

/** @param avps those of a Multiple-Services-Credit-Control, or of the whole answer */
export function finalUnitOf(avps: Avps): FinalUnit | undefined {
  const indication = avps.group('Final-Unit-Indication') ?? avps.group('QoS-Final-Unit-Indication')
  const action = finalActions[indication?.number('Final-Unit-Action') ?? -1]
  if (!indication || !action) return undefined
  const server = indication.group('Redirect-Server-Extension')
  const octets = server?.value('Redirect-Address-IPAddress')
  const to =
    indication.group('Redirect-Server')?.text('Redirect-Server-Address') ??
    server?.text('Redirect-Address-URL') ??
    server?.text('Redirect-Address-SIP-URI') ??
    (typeof octets === 'string' ? octets : undefined)
  const filters = [...indication.all('Restriction-Filter-Rule'), ...indication.all('Filter-Id')].flatMap(({ value }) =>
    typeof value === 'string' ? [value] : [],
  )
  return { action, to, filters }
}

/** A grant's place in a credit pool, RFC 8506 section 8.30. */
export interface PoolPart {
  readonly id: number
  /** Pool units that one unit of the service is worth, in billionths. */
  readonly multiplier: bigint
}

const multiplierScale = 9

export function poolOf(mscc: Avps): PoolPart | undefined {
  const reference = mscc.group('G-S-U-Pool-Reference')
  const id = reference?.number('G-S-U-Pool-Identifier')
  const value = reference?.group('Unit-Value')
  const digits = value?.bigint('Value-Digits')
  if (id === undefined || digits === undefined) return undefined
  const shift = (value?.number('Exponent') ?? 0) + multiplierScale
  return { id, multiplier: shift >= 0 ? digits * 10n ** BigInt(shift) : digits / 10n ** BigInt(-shift) }
}

/** What the gateway shall report a change of: undefined when the answer does not say, which leaves it as it was. */
export function triggersOf(mscc: Avps): ReadonlySet<number> | undefined {
  const trigger = mscc.value('Trigger')
  if (trigger === undefined) return undefined
  return new Set(
    mscc
      .group('Trigger')
      ?.all('Trigger-Type')
      .map(({ value }) => value as number),
  )
}

/** How time is counted, TS 32.299 sections 6.5.4 and 6.5.7. */
export type TimeMechanism =
  | { readonly kind: 'continuous' }
  /** Counting stops after so long without traffic; that time is counted, too. */
  | { readonly kind: 'idle'; readonly seconds: number }
  /** Whole intervals: those with traffic, and for `ctp` the one without that ends them. */
  | { readonly kind: 'dtp' | 'ctp'; readonly seconds: number }

/** Time-Quota-Mechanism, which counts more than Quota-Consumption-Time; undefined when the answer has neither. */
export function timeMechanismOf(mscc: Avps): TimeMechanism | undefined {
  const mechanism = mscc.group('Time-Quota-Mechanism')
  const interval = mechanism?.number('Base-Time-Interval')
  if (mechanism && interval !== undefined && interval > 0) {
    return { kind: mechanism.number('Time-Quota-Type') === 1 ? 'ctp' : 'dtp', seconds: interval }
  }
  const idle = mscc.number('Quota-Consumption-Time')
  if (idle === undefined) return undefined
  return idle > 0 ? { kind: 'idle', seconds: idle } : { kind: 'continuous' }
}
