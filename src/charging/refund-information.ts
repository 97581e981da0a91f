/**
 * Refund-Information (TS 32.299 section 7.2.171): what an event's answer says of its debit, so that a later REFUND_ACCOUNT can name it.
 * It tells all that giving the debit back needs, and is signed with a key that only the daemons of one store know: debits cost no
 * memory, and nobody can ask back what was never paid.
 *
 *     1 <account> <time> <currency> <id> <unit> <units> <service> <rate> <tiers> <counters> <paid> <mac>
 *
 * Words are those of Debit (src/balance/events.ts); time: ms of the debit; id: names session, request and line; mac: 128 bits of
 * HMAC-SHA-256 over all before it.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { Debit } from '../balance/events.js'
import type { Millis, UnitType } from '../units.js'

/** A debit, whose it was and when. */
export interface DebitReference {
  readonly account: string
  readonly at: Millis
  readonly currency: string
  readonly debit: Debit & { readonly id: string }
}

/** More octets than any of ours has: what is longer is not looked at. */
const mostOctets = 16_384
const macOctets = 16

/** Names one line of one event. */
export const debitId = (sessionId: string, number: number, line: string): string =>
  createHash('sha256').update(`${sessionId}\n${number}\n${line}`).digest().subarray(0, 16).toString('base64url')

export function writeReference(key: Buffer, { account, at, currency, debit }: DebitReference): Buffer {
  const { id, unit, units, service, rate, tiers, counters, paid } = debit
  const moved = counters.map(({ name, what, period }) => `${name},${what},${period}`).join(';') || '-'
  const words = [1, account, at, currency, id, unit, units, service, rate, tiers, moved, paid || '-']
  const text = words.join(' ')
  return Buffer.from(`${text} ${macOf(key, text)}`, 'utf8')
}

/** Undefined: it is not one of ours. */
export function readReference(key: Buffer, octets: Buffer): DebitReference | undefined {
  if (octets.length > mostOctets) return undefined
  const text = octets.toString('utf8')
  const end = text.lastIndexOf(' ')
  const mac = Buffer.from(text.slice(end + 1), 'utf8')
  const right = Buffer.from(macOf(key, text.slice(0, Math.max(0, end))), 'utf8')
  if (mac.length !== right.length || !timingSafeEqual(mac, right)) return undefined
  const [version, account, at, currency, id, unit, units, service, rate, tiers, moved, paid] = text.split(' ')
  if (version !== '1' || paid === undefined) return undefined
  return {
    account: account!,
    at: Number(at),
    currency: currency!,
    debit: {
      id: id!,
      unit: unit as UnitType,
      units: BigInt(units!),
      service: service!,
      rate: rate!,
      tiers: tiers!,
      counters:
        moved === '-'
          ? []
          : moved!.split(';').map(each => {
              const [name, what, period] = each.split(',')
              return { name: name!, what: what!, period: Number(period) }
            }),
      paid: paid === '-' ? '' : paid,
    },
  }
}

const macOf = (key: Buffer, text: string): string =>
  createHmac('sha256', key).update(text, 'utf8').digest().subarray(0, macOctets).toString('base64url')
