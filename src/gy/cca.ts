/**
 * The Credit-Control-Answer: outcomes become Result-Codes here, and nowhere else. RFC 8506 section 3.2, TS 32.299 section 6.4.3.
 */
import type { CreditOutcome, LineOutcome, Terms } from '../charging/charging.js'
import type { ChargingConfig } from '../config/config.js'
import type { Answer } from '../diameter/application.js'
import { ResultCode } from '../diameter/errors.js'
import type { Writer } from '../diameter/writer.js'
import type { UnitType } from '../units.js'
import type { ReadCcr } from './ccr.js'

const vendor3gpp = 10415

const code = {
  sessionId: 263, resultCode: 268, authApplicationId: 258, ccRequestType: 416, ccRequestNumber: 415, ccSessionFailover: 418,
  creditControlFailureHandling: 427, mscc: 456, grantedServiceUnit: 431, ratingGroup: 432, serviceIdentifier: 439, validityTime: 448,
  finalUnitIndication: 430, finalUnitAction: 449, errorMessage: 281, failedAvp: 279, serviceContextId: 461,
  tariffTimeChange: 451, ccMoney: 413, unitValue: 445, valueDigits: 447, exponent: 429, currencyCode: 425,
  timeQuotaThreshold: 868, volumeQuotaThreshold: 869, unitQuotaThreshold: 1226,
} as const // prettier-ignore

const unitCodes = { octets: 421, seconds: 420, events: 417 } as const
/** TS 32.299 has no threshold for money. */
const thresholdCodes: Partial<Record<UnitType, number>> = {
  octets: code.volumeQuotaThreshold,
  seconds: code.timeQuotaThreshold,
  events: code.unitQuotaThreshold,
}
const requestTypeValues = { initial: 1, update: 2, terminate: 3, event: 4 } as const
const failureHandlingValues = { terminate: 0, continue: 1, 'retry-and-terminate': 2 } as const

export interface CcaContext {
  /** Origin-Host and Origin-Realm, encoded. */
  readonly identity: Buffer
  readonly config: ChargingConfig
  /** ISO 4217, numeric, of the money that is granted; undefined: it has no number. */
  readonly currencyCode: number | undefined
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
        message: `line ${line.line}: no rule of the offer matches, or there is no exchange rate for the account`,
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
  const { config, currencyCode } = context
  if (outcome.status !== 'answered') return
  if (ccr.requestType === 'initial') {
    writer.u32(code.ccSessionFailover, config.sessionFailover ? 1 : 0)
    writer.u32(code.creditControlFailureHandling, failureHandlingValues[config.failureHandling])
  }
  if (ccr.commandLevel) {
    // RFC 8506 without MSCC: one line, its units stand beside the command.
    const line = outcome.lines[0]
    if (line !== undefined && isGrant(line)) {
      writeGrant(writer, line, currencyCode)
      writeConditions(writer, line)
    }
    return
  }
  let failure: Refusal | undefined
  for (const line of outcome.lines) {
    const refusal = lineRefusal(line)
    failure ??= refusal
    const group = writer.group(code.mscc)
    if (isGrant(line)) writeGrant(writer, line, currencyCode)
    writeKey(writer, line.line)
    if (isGrant(line)) writeConditions(writer, line)
    writer.u32(code.resultCode, refusal?.resultCode ?? ResultCode.SUCCESS)
    if (line.is === 'granted' && !line.final) writeThreshold(writer, line.units, line.terms)
    writer.end(group)
  }
  if (failure) writer.text(code.errorMessage, failure.message, 0, 0)
}

type Grant = Extract<LineOutcome, { units: unknown }>
const isGrant = (line: LineOutcome): line is Grant => line.is === 'granted' || line.is === 'free'

function writeGrant(writer: Writer, { units, terms, switchAt }: Grant, currencyCode: number | undefined): void {
  const group = writer.group(code.grantedServiceUnit)
  if (switchAt !== undefined) writer.time(code.tariffTimeChange, Math.floor(switchAt / 1000))
  if (terms.unit === 'money') writeMoney(writer, units, currencyCode)
  else if (terms.unit === 'seconds') writer.u32(unitCodes.seconds, Number(units))
  else writer.u64(unitCodes[terms.unit], units)
  writer.end(group)
}

/** CC-Money of so many micros, in hundredths, or finer where that says something: 90 x 10^-2, 85 x 10^-3. */
function writeMoney(writer: Writer, micros: bigint, currencyCode: number | undefined): void {
  let [digits, exponent] = [micros, -6]
  while (exponent < -2 && digits % 10n === 0n) {
    digits /= 10n
    exponent++
  }
  const group = writer.group(code.ccMoney)
  const value = writer.group(code.unitValue)
  writer.i64(code.valueDigits, digits)
  writer.i32(code.exponent, exponent)
  writer.end(value)
  if (currencyCode !== undefined) writer.u32(code.currencyCode, currencyCode)
  writer.end(group)
}

/** Validity-Time is always sent; Final-Unit-Indication when nothing more is affordable and the offer has an action. */
function writeConditions(writer: Writer, { terms, final }: Grant): void {
  writer.u32(code.validityTime, terms.validity)
  if (!final || terms.finalAction !== 'terminate') return
  const indication = writer.group(code.finalUnitIndication)
  writer.u32(code.finalUnitAction, 0)
  writer.end(indication)
}

/** TS 32.299 section 6.5.2: units left of the grant at which the gateway should report; only below the grant, never with final units. */
function writeThreshold(writer: Writer, units: bigint, { unit, threshold }: Terms): void {
  const thresholdCode = thresholdCodes[unit]
  const left = (units * BigInt(threshold)) / 100n
  if (thresholdCode === undefined || left === 0n || left >= units || left > 0xffffffffn) return
  writer.u32(thresholdCode, Number(left), vendor3gpp)
}

function writeKey(writer: Writer, key: string): void {
  const slash = key.indexOf('/')
  const group = slash < 0 ? key : key.slice(0, slash)
  if (slash >= 0) for (const id of key.slice(slash + 1).split(',')) writer.u32(code.serviceIdentifier, Number(id))
  if (group !== '-') writer.u32(code.ratingGroup, Number(group))
}
