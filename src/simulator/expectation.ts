/** Whether what came is what a script expects, each point a verdict that says both. */
import type { Dictionary } from '../diameter/dictionary.js'
import { ResultCode } from '../diameter/errors.js'
import { FLAG, HEADER_OCTETS } from '../diameter/header.js'
import { formatAmount, type UnitType } from '../units.js'
import { follow, isValue, valueText } from './avp-path.js'
import { Avps, type Message } from './message.js'
import { finalUnitOf, grantedOf, thresholdOf } from './quota.js'
import type { Expected, ExpectedAvp, ExpectedService, Place } from './script.js'

export interface Verdict {
  readonly ok: boolean
  /** What is expected. */
  readonly text: string
  /** What is there instead. */
  readonly found?: string
}

const SUCCESS = 2001
const units: readonly UnitType[] = ['octets', 'seconds', 'events', 'money']

const codeNames: ReadonlyMap<number, string> = new Map(
  Object.entries(ResultCode).map(([name, code]) => [code, name] as const),
)

/** `4012 CREDIT_LIMIT_REACHED` */
export const codeText = (code: number): string => (code === 0 ? 'none' : `${code} ${codeNames.get(code) ?? ''}`.trim())

/**
 * An answer; without a code that is expected it must be 2001.
 *
 * @param before the answer that the request had when it was first sent
 */
export function checkAnswer(dictionary: Dictionary, expect: Expected, answer: Message, before?: Message): Verdict[] {
  const verdicts: Verdict[] = []
  const { resultCode } = answer
  if (expect.code !== undefined || !expect.any) {
    const wanted = expect.code ?? SUCCESS
    const why = answer.text('Error-Message')
    const found = `${codeText(resultCode)}${why === undefined ? '' : ` (${why})`}`
    verdicts.push({ ok: resultCode === wanted, text: `Result-Code ${codeText(wanted)}`, found })
  }
  if (expect.errorBit !== undefined) {
    const set = (answer.header.flags & FLAG.ERROR) !== 0
    verdicts.push({
      ok: set === expect.errorBit,
      text: `the E bit is ${expect.errorBit ? 'set' : 'clear'}`,
      found: set ? 'it is set' : 'it is clear',
    })
  }
  if (expect.same) verdicts.push(checkSame(answer, before))
  if (expect.services !== undefined) verdicts.push(...checkServices(dictionary, expect.services, answer))
  verdicts.push(...expect.avps.map(each => checkAvp(dictionary, each, answer, '')))
  return verdicts
}

/** All but the Hop-by-Hop Identifier, which belongs to the connection. */
function checkSame(answer: Message, before: Message | undefined): Verdict {
  const text = 'the answer is the first one again'
  if (!before) return { ok: false, text, found: 'there was no first answer' }
  const ok =
    answer.header.endToEnd === before.header.endToEnd &&
    answer.octets.subarray(HEADER_OCTETS).equals(before.octets.subarray(HEADER_OCTETS))
  return { ok, text, found: `another one, ${codeText(answer.resultCode)}` }
}

function checkServices(dictionary: Dictionary, expected: Expected['services'], answer: Message): Verdict[] {
  const answered = answer.groups('Multiple-Services-Credit-Control')
  if (expected === 'none' || expected === undefined) {
    const granting = answered.filter(each => each.group('Granted-Service-Unit')).length
    return [{ ok: granting === 0, text: 'nothing is granted', found: `${granting} services are granted` }]
  }
  return expected.flatMap(service => {
    const found = answered.find(mscc => isNamed(mscc, service))
    const name = nameOf(service)
    if (!found) return [{ ok: false, text: `${name} is answered`, found: 'it is not' }]
    return checkService(dictionary, service, found, name)
  })
}

function isNamed(mscc: Avps, { group, service }: ExpectedService): boolean {
  if (group !== undefined && mscc.number('Rating-Group') !== group) return false
  const identifiers = mscc.all('Service-Identifier').map(({ value }) => value)
  return (
    service === undefined || (service.length === identifiers.length && service.every(id => identifiers.includes(id)))
  )
}

const nameOf = ({ group, service }: ExpectedService): string =>
  [
    ...(group === undefined ? [] : [`rating group ${group}`]),
    ...(service === undefined ? [] : [`service ${service.join('+')}`]),
  ].join(', ') || 'the service'

function checkService(dictionary: Dictionary, expected: ExpectedService, mscc: Avps, name: string): Verdict[] {
  const verdicts: Verdict[] = []
  const add = (ok: boolean, text: string, found: string): void =>
    void verdicts.push({ ok, text: `${name}: ${text}`, found })
  if (expected.code !== undefined) {
    const code = mscc.number('Result-Code') ?? SUCCESS
    add(code === expected.code, `Result-Code ${codeText(expected.code)}`, codeText(code))
  }
  const { granted, validity, threshold, final, redirect } = expected
  if (granted !== undefined) {
    const found = grantText(mscc)
    if (granted === 'none') add(found === undefined, 'nothing granted', `${found ?? ''} granted`)
    else if (granted === 'some') add(found !== undefined, 'something granted', 'nothing granted')
    else {
      const amount = grantedOf(mscc, granted.unit)
      const text = `${formatAmount(granted.unit, granted.amount)} granted`
      add(amount === granted.amount, text, `${found ?? 'nothing'} granted`)
    }
  }
  if (validity !== undefined) {
    const seconds = mscc.number('Validity-Time')
    const ok = validity === 'some' ? seconds !== undefined : seconds === validity
    add(
      ok,
      validity === 'some' ? 'a Validity-Time' : `Validity-Time ${validity} s`,
      seconds === undefined ? 'none' : `${seconds} s`,
    )
  }
  if (threshold !== undefined) {
    const found = units.map(unit => thresholdOf(mscc, unit)).find(each => each !== undefined)
    add(found === threshold, `threshold ${threshold}`, String(found ?? 'none'))
  }
  if (final !== undefined) {
    const found = finalUnitOf(mscc)?.action ?? 'none'
    add(
      found === final,
      final === 'none' ? 'no final units' : `final units, ${final}`,
      found === 'none' ? 'none' : found,
    )
  }
  if (redirect !== undefined) {
    const found = finalUnitOf(mscc)?.to
    add(found === redirect, `redirected to ${redirect}`, found ?? 'nowhere')
  }
  verdicts.push(...expected.avps.map(each => checkAvp(dictionary, each, mscc, `${name}: `)))
  return verdicts
}

function grantText(mscc: Avps): string | undefined {
  if (!mscc.group('Granted-Service-Unit')) return undefined
  for (const unit of units) {
    const amount = grantedOf(mscc, unit)
    if (amount !== undefined) return formatAmount(unit, amount)
  }
  return '0'
}

function checkAvp(dictionary: Dictionary, expected: ExpectedAvp, message: Avps, prefix: string): Verdict {
  const found = follow(dictionary, message.list, expected.path)
  const shown = found.length === 0 ? 'it is absent' : found.map(valueText).join(', ')
  const { value, text } = expected
  if (value === 'absent') return { ok: found.length === 0, text: `${prefix}${text} is absent`, found: shown }
  if (value === 'present') return { ok: found.length > 0, text: `${prefix}${text} is present`, found: shown }
  const ok = found.some(avp => isValue(dictionary, avp, value))
  return { ok, text: `${prefix}${text} ${/^[<>!]/.test(value) ? '' : '= '}${value}`, found: shown }
}

/** Values in an operator's answer: `money`, `buckets/0/amount`. */
export function checkFields(fields: Expected['fields'], answer: unknown): (Verdict & { readonly place: Place })[] {
  return fields.map(([path, value, place]) => {
    let found = answer
    for (const step of path.split('/')) {
      found = typeof found === 'object' && found !== null ? (found as Record<string, unknown>)[step] : undefined
    }
    const text = fieldText(found)
    return { place, ok: text === value, text: `${path} = ${value}`, found: text }
  })
}

function fieldText(value: unknown): string {
  if (typeof value === 'string') return value
  return value === undefined || value === null ? 'absent' : JSON.stringify(value)
}
