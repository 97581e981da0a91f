/**
 * The Credit-Control-Answer: outcomes become Result-Codes here, and nowhere else. RFC 8506 section 3.2, TS 32.299 section 6.4.3.
 */
import { termsOf, type CreditOutcome, type LineOutcome, type ToldMoney } from '../charging/charging.js'
import type { ChargingConfig, PeerProfile } from '../config/config.js'
import type { Answer } from '../diameter/application.js'
import { ResultCode } from '../diameter/errors.js'
import type { Writer } from '../diameter/writer.js'
import type { ReadCcr } from './ccr.js'
import { costTold, writeEvent } from './event-answer.js'
import {
  isGrant,
  writeFinalUnits,
  writeGrant,
  writeKey,
  writeMoney,
  writePool,
  writeReporting,
  writeValidity,
  type LineStyle,
} from './line-answer.js'

const vendor3gpp = 10415

const code = {
  sessionId: 263, resultCode: 268, authApplicationId: 258, ccRequestType: 416, ccRequestNumber: 415, ccSessionFailover: 418,
  creditControlFailureHandling: 427, mscc: 456, grantedServiceUnit: 431, ccTotalOctets: 421, ccTime: 420, ccServiceSpecificUnits: 417,
  errorMessage: 281, failedAvp: 279, costInformation: 423, lowBalanceIndication: 2020, remainingBalance: 2021,
  serviceInformation: 873, psInformation: 874, psFurnishChargingInformation: 865, chargingId: 2, psFreeFormatData: 866,
} as const // prettier-ignore

const zeroCodes = { octets: code.ccTotalOctets, seconds: code.ccTime, events: code.ccServiceSpecificUnits } as const
const requestTypeValues = { initial: 1, update: 2, terminate: 3, event: 4 } as const
const failureHandlingValues = { terminate: 0, continue: 1, 'retry-and-terminate': 2 } as const

export interface CcaContext {
  /** Origin-Host and Origin-Realm, encoded. */
  readonly identity: Buffer
  readonly config: ChargingConfig
  /** ISO 4217, numeric, of the money that is granted; undefined: it has no number. */
  readonly currencyCode: number | undefined
  /** Of the peer that it goes to. */
  readonly profile: Pick<PeerProfile, 'finalUnits' | 'omit'>
}

const styles = new WeakMap<CcaContext['profile'], LineStyle>()

function styleOf(profile: CcaContext['profile']): LineStyle {
  let style = styles.get(profile)
  if (!style) styles.set(profile, (style = { finalUnits: profile.finalUnits, omit: new Set(profile.omit) }))
  return style
}

/** A refusal in words, for Error-Message: what the gateway's engineer should know, and no identity. */
export interface Refusal {
  readonly resultCode: number
  readonly message: string
}

/** Why a whole request is refused; undefined when it is not. Semantics.md section 9. */
export function refusalOf(outcome: CreditOutcome): Refusal | undefined {
  switch (outcome.status) {
    case 'answered':
    case 'event':
      return undefined
    case 'refused':
      return lineRefusal(outcome.lines.find(line => lineRefusal(line) !== undefined)!)
    case 'barred':
      return { resultCode: ResultCode.END_USER_SERVICE_DENIED, message: 'the account is not in service' }
    case 'terminated':
      return { resultCode: ResultCode.USER_UNKNOWN, message: 'the account is terminated' }
    case 'ended':
      return {
        resultCode: ResultCode.UNKNOWN_SESSION_ID,
        message: 'the session has ended; the usage reported is charged, nothing is granted',
      }
    case 'unknown_session':
      return { resultCode: ResultCode.UNKNOWN_SESSION_ID, message: 'no session with this Session-Id' }
    case 'unknown_subscriber':
      return { resultCode: ResultCode.USER_UNKNOWN, message: 'no account has any of the identities in Subscription-Id' }
    case 'no_identity':
      return { resultCode: ResultCode.MISSING_AVP, message: 'an initial request needs a Subscription-Id' }
    case 'unknown_service':
      return { resultCode: ResultCode.RATING_FAILED, message: 'no service of the catalog has this Service-Context-Id' }
    case 'too_many_sessions':
      return { resultCode: ResultCode.RESOURCES_EXCEEDED, message: 'the account has as many sessions as it may have' }
    case 'other_service':
      return { resultCode: ResultCode.INVALID_AVP_VALUE, message: 'the session is of another Service-Context-Id' }
    case 'session_open':
      return { resultCode: ResultCode.UNABLE_TO_COMPLY, message: 'an open session has the Session-Id of this event' }
    case 'not_served':
      return { resultCode: ResultCode.UNABLE_TO_COMPLY, message: 'one-time events are not served by this version' }
    case 'contradicting_identities':
      return { resultCode: ResultCode.CONTRADICTING_AVPS, message: 'the identities belong to different accounts' }
    case 'other_subscriber':
      return { resultCode: ResultCode.INVALID_AVP_VALUE, message: 'the session belongs to another subscriber' }
    case 'too_large':
      return {
        resultCode: ResultCode.INVALID_AVP_VALUE,
        message: `line ${outcome.line} has reported more than one line may carry`,
      }
    case 'reused_number':
      return { resultCode: ResultCode.UNABLE_TO_COMPLY, message: 'this CC-Request-Number had another content before' }
    case 'no_refund':
      return { resultCode: ResultCode.UNABLE_TO_COMPLY, message: `nothing is refunded: ${outcome.why}` }
    case 'busy':
      return {
        resultCode: ResultCode.TOO_BUSY,
        message: 'not answered by the store in time; nothing was newly reserved',
      }
  }
}

function lineRefusal(line: LineOutcome): Refusal | undefined {
  switch (line.is) {
    case 'exhausted':
      return { resultCode: ResultCode.CREDIT_LIMIT_REACHED, message: `line ${line.line}: no funds for one more unit` }
    case 'denied':
      return { resultCode: line.code, message: `line ${line.line}: the offer says so` }
    case 'unrated':
      return {
        resultCode: ResultCode.RATING_FAILED,
        message: `line ${line.line}: no rule of the offer matches, it is not sold in these units, or there is no exchange rate`,
      }
    default:
      return undefined
  }
}

/** The answer to a CCR that was charged, or refused for a reason that is not in its octets. */
export function ccaOf(
  context: CcaContext,
  ccr: ReadCcr,
  outcome: CreditOutcome,
  failedAvp: Buffer | undefined,
): Answer {
  const refusal = refusalOf(outcome) ?? commandLevelRefusal(ccr, outcome)
  const resultCode = refusal?.resultCode ?? ResultCode.SUCCESS
  return {
    resultCode,
    write: writer => {
      writer.text(code.sessionId, ccr.sessionId)
      writer.u32(code.resultCode, resultCode)
      writer.ready(context.identity)
      writer.u32(code.authApplicationId, 4)
      writer.u32(code.ccRequestType, requestTypeValues[ccr.requestType])
      writer.u32(code.ccRequestNumber, ccr.requestNumber)
      if (refusal === undefined) writeBody(writer, context, ccr, outcome)
      else writer.text(code.errorMessage, refusal.message, 0, 0)
      if (failedAvp !== undefined) writer.octets(code.failedAvp, failedAvp)
      for (const proxyInfo of ccr.proxyInfo) writer.ready(proxyInfo)
    },
  }
}

/** Without MSCC there is no other place for the code of the one line. */
function commandLevelRefusal(ccr: ReadCcr, outcome: CreditOutcome): Refusal | undefined {
  const line = ccr.commandLevel && outcome.status === 'answered' ? outcome.lines[0] : undefined
  return line && lineRefusal(line)
}

function writeBody(writer: Writer, context: CcaContext, ccr: ReadCcr, outcome: CreditOutcome): void {
  const { config, currencyCode, profile } = context
  const style = styleOf(profile)
  if (outcome.status === 'event') {
    writeEvent(writer, config, ccr, outcome, currencyCode, style.omit)
    writeMoneyTold(writer, { ...outcome.money, cost: costTold(ccr, outcome) }, currencyCode, style)
  }
  if (outcome.status !== 'answered') return
  if (ccr.requestType === 'initial') {
    writer.u32(code.ccSessionFailover, config.sessionFailover ? 1 : 0)
    writer.u32(
      code.creditControlFailureHandling,
      failureHandlingValues[outcome.failureHandling ?? config.failureHandling],
    )
  }
  if (ccr.commandLevel) {
    // RFC 8506 without MSCC: one line, its units stand beside the command.
    const line = outcome.lines[0]
    if (line !== undefined) writeUnits(writer, line, ccr, currencyCode, style)
    if (line !== undefined) writeTerms(writer, line, style)
  }
  let failure: Refusal | undefined
  for (const line of ccr.commandLevel ? [] : outcome.lines) {
    const refusal = lineRefusal(line)
    failure ??= refusal
    const group = writer.group(code.mscc)
    writeUnits(writer, line, ccr, currencyCode, style)
    writeKey(writer, line.line)
    if ('terms' in line) writePool(writer, line.unit, termsOf(line), style)
    writeTerms(writer, line, style)
    writer.u32(code.resultCode, refusal?.resultCode ?? ResultCode.SUCCESS)
    if (isGrant(line)) writeReporting(writer, line, termsOf(line), style)
    writer.end(group)
  }
  writeMoneyTold(writer, outcome.money, currencyCode, style)
  writeFurnish(writer, ccr, outcome.lines, style)
  if (failure) writer.text(code.errorMessage, failure.message, 0, 0)
}

/** CC-074: a restriction that begins in mid-session is told with a grant of nothing, to be obeyed at once. */
function writeUnits(
  writer: Writer,
  line: LineOutcome,
  { requestType }: ReadCcr,
  currencyCode: number | undefined,
  { omit }: LineStyle,
): void {
  if (isGrant(line))
    writeGrant(writer, omit.has('Tariff-Time-Change') ? { ...line, switchAt: undefined } : line, currencyCode)
  else if (line.is === 'restricted' && requestType === 'update' && line.unit !== 'money') {
    const group = writer.group(code.grantedServiceUnit)
    if (line.unit === 'seconds') writer.u32(zeroCodes.seconds, 0)
    else writer.u64(zeroCodes[line.unit], 0n)
    writer.end(group)
  }
}

/** Until when, and what happens then. */
function writeTerms(writer: Writer, line: LineOutcome, style: LineStyle): void {
  if (!('terms' in line) || line.is === 'exhausted') return
  const terms = termsOf(line)
  writeValidity(writer, line, terms)
  if (line.is === 'restricted' || ('final' in line && line.final)) writeFinalUnits(writer, terms, style)
}

/** Cost-Information, Low-Balance-Indication, Remaining-Balance. */
function writeMoneyTold(
  writer: Writer,
  { cost, balance, low }: ToldMoney,
  currencyCode: number | undefined,
  { omit }: LineStyle,
): void {
  // Currency-Code is required in both.
  if (currencyCode === undefined) return
  if (cost !== undefined && !omit.has('Cost-Information')) {
    const group = writer.group(code.costInformation)
    writeMoney(writer, cost, currencyCode)
    writer.end(group)
  }
  if (balance === undefined) return
  if (!omit.has('Low-Balance-Indication')) writer.i32(code.lowBalanceIndication, low ? 1 : 0, vendor3gpp)
  if (!omit.has('Remaining-Balance')) {
    const group = writer.group(code.remainingBalance, vendor3gpp)
    writeMoney(writer, balance, currencyCode)
    writer.end(group)
  }
}

/** PS-Furnish-Charging-Information for the gateway's records: it needs the 3GPP-Charging-Id of the request. */
function writeFurnish(writer: Writer, ccr: ReadCcr, lines: readonly LineOutcome[], { omit }: LineStyle): void {
  const { chargingId } = ccr.credit.facts
  if (chargingId === undefined || omit.has('PS-Furnish-Charging-Information')) return
  const text = lines.map(line => ('terms' in line ? termsOf(line).furnish : undefined)).find(each => each !== undefined)
  if (text === undefined) return
  const information = writer.group(code.serviceInformation, vendor3gpp)
  const ps = writer.group(code.psInformation, vendor3gpp)
  const group = writer.group(code.psFurnishChargingInformation, vendor3gpp)
  writer.u32(code.chargingId, chargingId, vendor3gpp)
  writer.octets(code.psFreeFormatData, Buffer.from(text), vendor3gpp)
  writer.end(group)
  writer.end(ps)
  writer.end(information)
}
