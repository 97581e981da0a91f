/**
 * What the answer to a one-time event says: RFC 8506 section 6, TS 32.299 section 6.4.3. Never Validity-Time, thresholds or pools: nothing
 * is granted that could be used later.
 */
import type { EventOutcome } from '../charging/charging.js'
import type { ChargingConfig } from '../config/config.js'
import { ResultCode } from '../diameter/errors.js'
import type { Writer } from '../diameter/writer.js'
import type { ReadCcr } from './ccr.js'
import { writeGrant, writeKey } from './line-answer.js'

const vendor3gpp = 10415

const code = {
  mscc: 456, resultCode: 268, refundInformation: 2022, checkBalanceResult: 422, directDebitingFailureHandling: 428,
} as const // prettier-ignore

const ENOUGH_CREDIT = 0
const NO_CREDIT = 1
const failureHandlingValues = { 'terminate-or-buffer': 0, continue: 1 } as const

/**
 * The units debited or given back, where the request had its own; the result of a balance check, and only of one.
 *
 * @param currencyCode ISO 4217, numeric, of the account
 * @param omit names of AVPs that the peer does not take
 */
export function writeEvent(
  writer: Writer,
  { directDebitingFailureHandling }: Pick<ChargingConfig, 'directDebitingFailureHandling'>,
  { commandLevel }: ReadCcr,
  { action, lines, enough }: EventOutcome,
  currencyCode: number | undefined,
  omit: ReadonlySet<string>,
): void {
  for (const line of lines) {
    const group = commandLevel ? undefined : writer.group(code.mscc)
    writeGrant(writer, line, currencyCode)
    if (group !== undefined) {
      writeKey(writer, line.line)
      writer.u32(code.resultCode, ResultCode.SUCCESS)
    }
    if (line.refund && !omit.has('Refund-Information')) writer.octets(code.refundInformation, line.refund, vendor3gpp)
    if (group !== undefined) writer.end(group)
  }
  if (enough !== undefined) writer.i32(code.checkBalanceResult, enough ? ENOUGH_CREDIT : NO_CREDIT)
  if (action === 'debit' && !omit.has('Direct-Debiting-Failure-Handling'))
    writer.i32(code.directDebitingFailureHandling, failureHandlingValues[directDebitingFailureHandling])
}

/** What the event cost: told to who asks for a price, or for advice of charge, or where the service tells it. */
export const costTold = (
  { costAsked }: ReadCcr,
  { action, cost, money }: EventOutcome,
): EventOutcome['money']['cost'] => (action === 'price' || (action === 'debit' && costAsked) ? cost : money.cost)
