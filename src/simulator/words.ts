/**
 * Messages of a session in words, for people who have never seen one: what the gateway asks, what the server answers.
 */
import { Reason, type CcrInput, type ServiceInput } from './ccr.js'
import { formatMoney, type UnitType } from '../units.js'
import type { Avps, Message } from './message.js'
import { grantedOf, thresholdOf } from './quota.js'

/** One line of a dialogue, and the protocol's own words for it. */
export interface Saying {
  readonly text: string
  readonly note: string
  /** A refusal, or the end of something. */
  readonly tone?: 'bad' | 'warn'
}

const codeNames: Readonly<Record<number, string>> = {
  2001: 'success',
  3002: 'unable to deliver',
  3003: 'realm not served',
  3004: 'too busy',
  3010: 'unknown peer',
  4010: 'end-user service denied',
  4011: 'credit control not applicable',
  4012: 'credit limit reached',
  5001: 'AVP unsupported',
  5002: 'unknown session',
  5003: 'authorization rejected',
  5004: 'invalid AVP value',
  5005: 'missing AVP',
  5007: 'contradicting AVPs',
  5012: 'unable to comply',
  5030: 'user unknown',
  5031: 'rating failed',
}

/** `4012 credit limit reached` */
export const nameOfCode = (code: number): string => `${code} ${codeNames[code] ?? 'see RFC 6733 and RFC 8506'}`

const typeLetters = { initial: 'I', update: 'U', terminate: 'T', event: 'E' } as const
const reasons: Readonly<Record<number, string>> = {
  [Reason.THRESHOLD]: 'little is left',
  [Reason.FINAL]: 'that was the last',
  [Reason.QUOTA_EXHAUSTED]: 'all of it is used',
  [Reason.VALIDITY_TIME]: 'its time is over',
}

/** What the gateway says in a CCR. */
export function requestInWords(request: CcrInput, unit: UnitType): Saying[] {
  const note = `CCR-${typeLetters[request.type]} ${request.number}`
  if (request.type === 'initial') {
    return [{ text: `A session starts. May I let traffic pass for ${groupsName(request.services ?? [])}?`, note }]
  }
  const services = request.services ?? []
  const sayings = services.map((service, i) => ({ text: serviceInWords(service, unit), note: i === 0 ? note : '' }))
  if (request.type !== 'terminate') return sayings
  const reports = services.map(({ ratingGroup, used }) =>
    serviceInWords({ ...(ratingGroup !== undefined && { ratingGroup }), ...(used && { used }) }, unit),
  )
  return [{ text: ['The session ends.', ...reports].join(' '), note }]
}

function serviceInWords({ ratingGroup, requested, used, reason }: ServiceInput, unit: UnitType): string {
  const why = reasons[reason ?? used?.find(each => each.reason !== undefined)?.reason ?? -1]
  const amount = used?.reduce(
    (sum, each) => sum + (each.octets ?? each.events ?? each.money ?? BigInt(each.seconds ?? 0)),
    0n,
  )
  const group = capital(groupName(ratingGroup))
  if (amount === undefined) return `${group}: may I have some now?`
  const report = `${group}: ${amountName(amount, unit)} used`
  if (requested) return `${report}${why === undefined ? '' : `, ${why}`}; may I have more?`
  return `${report}${why === undefined ? '' : `, ${why}`}.`
}

/** What the server says in a CCA. */
export function answerInWords(answer: Message, unit: UnitType): Saying[] {
  const { resultCode } = answer
  const note = `CCA ${nameOfCode(resultCode)}`
  const why = answer.text('Error-Message')
  if (resultCode !== 2001) {
    return [{ text: `No${why === undefined ? '' : `: ${why}`}.`, note, tone: 'bad' }]
  }
  const lines = answer.groups('Multiple-Services-Credit-Control')
  const plain = lines.every(
    line => (line.number('Result-Code') ?? 2001) === 2001 && line.group('Granted-Service-Unit') === undefined,
  )
  if (plain) return [{ text: 'Noted.', note }]
  return lines.map((line, i) => lineInWords(line, unit, lines.length > 1 || i > 0, i === 0 ? note : undefined))
}

function lineInWords(line: Avps, unit: UnitType, named: boolean, note: string | undefined): Saying {
  const code = line.number('Result-Code') ?? 2001
  const group = named ? `${capital(groupName(line.number('Rating-Group')))}: ` : ''
  if (code !== 2001) {
    const text = `${group}${named ? 'no' : 'No'}, ${refusals[code] ?? 'this is refused'}.`
    return { text, note: `${note === undefined ? '' : 'CCA 2001, for this line '}${nameOfCode(code)}`, tone: 'bad' }
  }
  const granted = grantedOf(line, unit)
  if (granted === undefined) return { text: `${group}noted.`, note: note ?? '' }
  const threshold = thresholdOf(line, unit)
  const validity = line.number('Validity-Time')
  const final = line.group('Final-Unit-Indication') !== undefined
  const parts = [`${group}${named ? 'you' : 'You'} may pass ${amountName(granted, unit)}`]
  if (validity !== undefined) parts.push(` within ${durationName(validity)}`)
  if (threshold !== undefined) parts.push(`, ask again when ${amountName(threshold, unit)} are left`)
  if (final) parts.push('. These are the last, stop then')
  return { text: `${parts.join('')}.`, note: note ?? '', ...(final && { tone: 'warn' as const }) }
}

const refusals: Readonly<Record<number, string>> = {
  4010: 'the offer denies this',
  4012: 'there is no money for it',
  5003: 'the offer denies this, do not ask again',
  5031: 'no rule of the offer says what this costs',
}
const groupName = (ratingGroup: number | undefined): string =>
  ratingGroup === undefined ? 'all services' : `rating group ${ratingGroup}`

/** `4,975 MB`, `60 s`, `3`, `0.50` */
export function amountName(amount: bigint, unit: UnitType): string {
  if (unit === 'seconds') return `${amount} s`
  if (unit === 'events') return amount.toString()
  if (unit === 'money') return formatMoney(amount)
  const kilo = (amount + (amount < 0n ? -500n : 500n)) / 1000n
  const number = new Intl.NumberFormat('en-US', { maximumFractionDigits: 3 }).format(Number(kilo) / 1000)
  return `${number} MB`
}

function durationName(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** `rating groups 10, 30 and 40` */
function groupsName(services: readonly ServiceInput[]): string {
  const numbers = services.flatMap(({ ratingGroup }) => (ratingGroup === undefined ? [] : [ratingGroup]))
  if (numbers.length !== services.length || numbers.length < 2) {
    return services.map(({ ratingGroup }) => groupName(ratingGroup)).join(' and ')
  }
  return `rating groups ${numbers.slice(0, -1).join(', ')} and ${numbers.at(-1) ?? ''}`
}
