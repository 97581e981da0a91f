/** Rules by the direction of a call, and by what kind of message it is. */
import t from 'tap'
import { readCatalog } from '../../src/rating/load.js'
import { programFor, type LineFacts } from '../../src/rating/match.js'

const text = `
currency: EUR
services:
  voice: { context: 32260@3gpp.org, unit: seconds, quota: { size: 60s, min: 1s, max: 10m, validity: 1h } }
  sms: { context: 32274@3gpp.org, unit: events, quota: { size: 1, min: 1, max: 10, validity: 1h } }
rates:
  voice: { unit: seconds, price: '0.06', per: 60s, step: 1s }
  sms: { unit: events, price: '0.09' }
offers:
  payg:
    rules:
      - { service: voice, direction: terminating, free: true }
      - { service: voice, direction: originating, use: [voice] }
      - { service: sms, message: [delivery-report, m-delivery-ind], free: true }
      - { service: sms, use: [sms] }
`

function load(from: string): Exclude<ReturnType<typeof readCatalog>, { faults: unknown }> {
  const outcome = readCatalog([{ file: 'catalog.yaml', text: from }])
  if ('faults' in outcome) throw new Error(outcome.faults.map(({ message }) => message).join('\n'))
  return outcome
}

t.test('who is called, and what a report is, decide the rule', t => {
  const { catalog } = load(text)
  const subject = {
    subscriptions: [{ id: '1', offer: 'payg', since: 0 }],
    ...{ account: new Map<string, string>(), subscriber: new Map<string, string>(), overrides: [] },
  }
  const rows: [string, Partial<LineFacts>, string][] = [
    ['voice', { direction: 'originating' }, 'payg#2'],
    ['voice', { direction: 'terminating' }, 'payg#1'],
    ['voice', {}, '-'],
    ['sms', { message: 'sms.1' }, 'payg#3'],
    ['sms', { message: 'mms.7' }, 'payg#3'],
    ['sms', { message: 'sms.0' }, 'payg#4'],
    ['sms', {}, 'payg#4'],
  ]
  for (const [service, facts, rule] of rows) {
    const match = programFor(catalog, subject, catalog.services.get(service)!, { serviceIdentifiers: [], ...facts }, 0)
    t.equal(match.program.rule, rule, `${service} ${JSON.stringify(facts)}`)
    const told = match.facts === '' ? {} : (JSON.parse(`{${match.facts}}`) as Record<string, unknown>)
    if (facts.direction !== undefined) t.equal(told['direction'], facts.direction, 'the ledger says it')
  }
  t.end()
})

t.test('a kind of message that does not exist is refused', t => {
  t.throws(() => load(text.replace('m-delivery-ind', 'm-delivery')), /message/)
  t.throws(() => load(text.replace('terminating', 'incoming')), /direction/)
  t.end()
})
