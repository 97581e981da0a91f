/** Amounts in the catalog, whose unit another key says: `100kB` of octets, `60s`, `1` event, money '0.01', points. */
import { durationHint, hintForSize, parseDuration, parseSize } from '../config/quantity.js'
import { fault, readMoney, readParsed, type Value } from '../config/yaml.js'
import { formatAmount, lineLimit, type Units } from '../units.js'
import type { BucketUnit } from './catalog.js'

const second = 1_000

interface Notation {
  readonly expected: string
  readonly parse: (text: string) => bigint | undefined
  readonly hint: string | ((text: string) => string)
}

const whole = (what: string): Notation => ({
  expected: `a number of ${what}`,
  parse: text => (/^\d{1,15}$/.test(text) ? BigInt(text) : undefined),
  hint: 'write a whole number without a unit',
})

const notations: Record<Exclude<BucketUnit, 'money'>, Notation> = {
  octets: { expected: 'a size', parse: parseSize, hint: hintForSize },
  seconds: {
    expected: 'a time in whole seconds',
    parse: text => {
      const ms = parseDuration(text)
      return ms === undefined || ms % second !== 0 ? undefined : BigInt(ms / second)
    },
    hint: text => (/^\d+$/.test(text) ? `write ${text}s` : durationHint),
  },
  events: whole('events'),
  units: whole('units'),
}

/**
 * An amount as people write it, at least 1.
 *
 * @param zero 0 is allowed, too
 */
export function readAmount(value: Value, unit: BucketUnit, zero: 'zero' | 'positive' = 'positive'): Units | undefined {
  const notation = unit === 'money' ? undefined : notations[unit]
  const amount = notation ? readParsed(value, notation.expected, notation.parse, notation.hint) : readMoney(value)
  if (amount === undefined) return undefined
  if (amount === 0n && zero === 'positive') {
    const hint = unit === 'money' ? 'write more than 0' : 'write at least 1'
    return fault(value, `${value.path} is 0`, hint)
  }
  if (unit !== 'units' && amount > lineLimit[unit]) {
    const message = `${value.path} is above the ${formatAmount(unit, lineLimit[unit])} that one line may carry`
    return fault(value, message, 'write less')
  }
  return amount as Units
}
