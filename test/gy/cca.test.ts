/** What becomes of outcomes on the wire: a tariff switch, grants of money, thresholds. */
import t from 'tap'
import type { LineOutcome } from '../../src/charging/charging.js'
import { standardProfile } from '../../src/config/profiles.js'
import { currencyNumber } from '../../src/currency.js'
import { Writer } from '../../src/diameter/writer.js'
import { ccaOf, type CcaContext } from '../../src/gy/cca.js'
import { CcrReader } from '../../src/gy/ccr.js'
import { ccrAvps, encodeCcr, type CcrInput } from '../../src/simulator/ccr.js'
import { Message } from '../../src/simulator/message.js'
import { grantedOf, switchOf, thresholdOf } from '../../src/simulator/quota.js'
import { units, type UnitType } from '../../src/units.js'
import { toolOrNotRun } from '../support/tools.js'
import { judged } from '../support/tshark.js'
import { dictionary, vector } from '../support/vectors.js'

const reader = new CcrReader(dictionary, { depth: 16, avps: 4096, sessionIdOctets: 512 })
const node = { originHost: 'pgw1.example.net', originRealm: 'example.net', destinationRealm: 'charging.example.net' }
const nothingTold = { cost: undefined, balance: undefined, low: false }
const base: CcrInput = { type: 'update', number: 1, sessionId: 's;1', serviceContextId: '32251@3gpp.org' }
const terms = '3600,20,terminate'
/** 2026-01-16T00:00Z, as in reference message C09. */
const midnight = Date.UTC(2026, 0, 16)

function identity(): Buffer {
  const writer = new Writer()
  writer.text(264, 'ocs1.charging.example.net')
  writer.text(296, 'charging.example.net')
  return writer.take()
}

const context = (): CcaContext => ({
  identity: identity(),
  config: {
    ...{ holdBudgetMs: 7000, silence: 2, defaultValidityMs: 3_600_000, keepClosedMs: 0, keepSilentMs: 0 },
    ...{ keepMarkMs: 0, sessionFailover: true, failureHandling: 'terminate' as const, onSuspend: 'wait' as const },
    ...{ directDebitingFailureHandling: 'continue' as const, refundWindowMs: 0, spoolOctets: 0 },
  },
  currencyCode: 978,
  profile: standardProfile,
})

/** The answer to a request for one line, as octets. */
function answerTo(line: LineOutcome, parts: Partial<CcrInput>, with_: CcaContext): Buffer {
  const request = encodeCcr(dictionary, ccrAvps(node, { ...base, ...parts }), { hopByHop: 1, endToEnd: 1 })
  const answer = ccaOf(
    with_,
    reader.read(request),
    { status: 'answered', how: 'new', lines: [line], currency: 'EUR', money: nothingTold, failureHandling: undefined },
    undefined,
  )
  const writer = new Writer()
  writer.message(0x40, 272, 4, 1, 1)
  answer.write(writer)
  writer.endMessage()
  return Buffer.from(writer.take())
}

const answered = (line: LineOutcome, parts: Partial<CcrInput> = {}, with_ = context()): Message =>
  new Message(dictionary, answerTo(line, { services: [{ ratingGroup: 10, requested: {} }], ...parts }, with_))

const granted = (amount: bigint, parts: Partial<Extract<LineOutcome, { units: unknown }>> = {}): LineOutcome => ({
  ...{ line: '10', is: 'granted', units: units(amount), final: false, unit: 'octets', terms },
  ...parts,
})

t.test('a grant over a tariff switch tells its moment, first in Granted-Service-Unit', t => {
  const [mscc] = answered(granted(20_971_520n, { switchAt: midnight })).groups('Multiple-Services-Credit-Control')
  t.strictSame(
    mscc!.group('Granted-Service-Unit')!.list.map(({ name, value }) => [name, value]),
    [
      ['Tariff-Time-Change', midnight / 1000],
      ['CC-Total-Octets', 20_971_520n],
    ],
  )
  const [reference] = new Message(dictionary, vector('C09')).groups('Multiple-Services-Credit-Control')
  t.equal(switchOf(mscc!), switchOf(reference!), 'as the reference message')
  const [plain] = answered(granted(1n)).groups('Multiple-Services-Credit-Control')
  t.equal(switchOf(plain!), undefined, 'without one there is none')
  const command = answered(granted(5n, { line: '-', switchAt: midnight }), { services: [], units: { requested: {} } })
  t.strictSame([switchOf(command), grantedOf(command, 'octets')], [midnight, 5n], 'at command level')
  t.end()
})

t.test('money is granted as digits and exponent, in the currency of the catalog', t => {
  const rows: [bigint, bigint, number][] = [
    [5_000_000n, 500n, -2],
    [420_000n, 42n, -2],
    [85_000n, 85n, -3],
    [1n, 1n, -6],
    [1_000_000_000_000n, 100_000_000n, -2],
    [0n, 0n, -2],
  ]
  for (const [micros, digits, exponent] of rows) {
    const [mscc] = answered(granted(micros, { unit: 'money' })).groups('Multiple-Services-Credit-Control')
    const money = mscc!.group('Granted-Service-Unit')!.group('CC-Money')!
    const value = money.group('Unit-Value')!
    t.strictSame([value.bigint('Value-Digits'), value.number('Exponent')], [digits, exponent], `${micros}`)
    t.equal(money.number('Currency-Code'), 978)
    t.equal(grantedOf(mscc!, 'money'), micros, 'and read back')
  }
  const none = { ...context(), currencyCode: undefined }
  const [mscc] = answered(granted(1n, { unit: 'money' }), {}, none).groups('Multiple-Services-Credit-Control')
  t.equal(
    mscc!.group('Granted-Service-Unit')!.group('CC-Money')!.number('Currency-Code'),
    undefined,
    'it has no number',
  )
  t.end()
})

t.test('a threshold is sent for quotas that have one', t => {
  const rows: [UnitType, bigint | undefined][] = [
    ['octets', 200n],
    ['seconds', 200n],
    ['events', 200n],
    ['money', undefined],
  ]
  for (const [unit, threshold] of rows) {
    const line = granted(1000n, { unit })
    const [mscc] = answered(line).groups('Multiple-Services-Credit-Control')
    t.equal(grantedOf(mscc!, unit), 1000n, unit)
    t.equal(thresholdOf(mscc!, unit), threshold, `${unit} threshold`)
    t.equal(mscc!.list.filter(({ name }) => name.endsWith('-Quota-Threshold')).length, threshold === undefined ? 0 : 1)
  }
  t.end()
})

t.test('tshark reads the switch and the money', async t => {
  const tshark = toolOrNotRun(t, 'tshark', 'tshark')
  if (tshark === undefined) return
  const parts: Partial<CcrInput> = { services: [{ ratingGroup: 10, requested: {} }] }
  const answers = [
    answerTo(granted(20n, { switchAt: midnight }), parts, context()),
    answerTo(granted(85_000n, { unit: 'money' }), parts, context()),
  ]
  const frames = await judged(
    t,
    tshark,
    answers.map(octets => ({ connection: 0, from: 'server' as const, octets })),
  )
  const valuesOf = (i: number, ...codes: number[]): string[] =>
    codes.map(code => frames[i]!.avps.find(avp => avp.code === code)?.value ?? '-')
  for (const { faults } of frames) t.strictSame(faults, [])
  t.strictSame(valuesOf(0, 451, 421), ['Jan 16, 2026 00:00:00.000000000 UTC', '20'])
  t.strictSame(valuesOf(1, 447, 429, 425), ['85', '-3', '978'])
})

t.test('currencies have their numbers', t => {
  t.strictSame(['EUR', 'USD', 'JPY', 'ALL', 'EUX', 'toString'].map(currencyNumber), [
    978,
    840,
    392,
    8,
    undefined,
    undefined,
  ])
  t.end()
})
