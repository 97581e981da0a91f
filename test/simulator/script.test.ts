/** Scripts of the simulated gateway: what is wrong in one is told with its place, and what it says is understood. */
import t from 'tap'
import { formatFault } from '../../src/config/yaml.js'
import { parsePath } from '../../src/simulator/avp-path.js'
import { parseAmount, readScript, type Script, type StepAction } from '../../src/simulator/script.js'
import { dictionary } from '../support/vectors.js'

const read = (text: string, set?: Record<string, string>): ReturnType<typeof readScript> =>
  readScript('flow.yaml', text, { dictionary, run: '12345678', ...(set && { set }) })

function scriptOf(text: string, set?: Record<string, string>): Script {
  const outcome = read(text, set)
  if ('faults' in outcome) throw new Error(outcome.faults.map(formatFault).join('\n'))
  return outcome.script
}

const head = "vars: { msisdn: '44${run}' }\nsessions: { s1: { subscriber: '${msisdn}' } }\nsteps:\n"

t.test('every mistake is told with its place, and what to write', t => {
  const table: readonly (readonly [step: string, fault: string | RegExp])[] = [
    ['- upate: {}', '4:5: unknown key `upate` in steps[0]; did you mean `update`?'],
    ['- expect: any', /4:5: a step without a verb; add one of connect/],
    ['- { initial: {}, update: {} }', '4:5: a step with initial and update; make each a step of its own'],
    ['- wait: soon', /4:11: steps\[0\]\.wait: `soon` is not a duration; write a duration like 30s/],
    ["- until: '24:00'", /4:12: .*is not a time of day; write it like "23:50" \(UTC\)/],
    ['- initial: { session: s2 }', '4:25: steps[0].initial.session: `s2` is not a session of this script; known: s1'],
    ['- initial: { over: c9 }', /4:22: .*`c9` is not a connection that was made above; name a connection/],
    ['- initial: { services: [{ ask: 10 MiB }] }', /4:34: .*`10 MiB` is not an amount; write octets like 10MiB/],
    ['- update: { services: [{ reason: exhausted }] }', /4:36: .*did you mean `pool-exhausted`\?/],
    ['- update: { services: [{ reason: threshold }] }', /4:36: this reason stands in Used-Service-Unit/],
    [
      '- update: { avps: { Orign-Host: x } }',
      /4:23: no dictionary has an AVP `Orign-Host`; did you mean `Origin-Host`\?/,
    ],
    ['- update: { avps: { CC-Request-Type: X } }', /4:40: .*no value of this AVP; write one of 1 INITIAL_REQUEST, 2/],
    ['- update: { without: [CC-Time, X] }', /4:34: no dictionary has an AVP `X`/],
    ["- initial: {}\n    expect: { avps: { 'A//B': 1 } }", /5:23: `A\/\/B` is no path of AVPs; write it like Multiple/],
    ['- initial: {}\n    expect: { code: SUCESS }', /5:21: .*did you mean `SUCCESS`\?/],
    ['- initial: {}\n    expect: { fields: { money: 1 } }', /5:23: `fields` are of an operator’s command/],
    ['- raw: 0100000', /4:10: .*is not hexadecimal digits/],
    ['- send: { command: CCX }', /4:22: .*is not a command; write one of .*CCR/],
    ['- await: STR', /4:12: .*is not one of RAR, ASR/],
    ['- operator: show ${account}', /4:15: there is no variable `account`/],
    ['- operator:\n', /4:14: steps\[0\]\.operator has no value/],
  ]
  for (const [step, fault] of table) {
    const outcome = read(`${head}  ${step}\n`)
    const [first = '', ...more] = 'faults' in outcome ? outcome.faults.map(formatFault) : []
    if (typeof fault === 'string') t.equal(first, `flow.yaml:${fault}`)
    else t.match(first, fault, step)
    t.ok(more.length <= 1, `${step}: ${more.join('\n')}`)
  }
  t.match(read('name: nothing').valueOf(), { faults: [{ message: 'the file lacks `steps`' }] })
  t.match(read(head, { msidn: '1' }), { faults: [{ message: 'the script has no variable `msidn`' }] })
  t.end()
})

t.test('variables are the run’s, the script’s, or the caller’s', t => {
  t.same(scriptOf(head).sessions.get('s1')?.subscribers, [['e164', '4412345678']])
  t.same(scriptOf(head, { msisdn: '4917' }).sessions.get('s1')?.subscribers, [['e164', '4917']])
  t.end()
})

t.test('a CCR says its services, its reasons in their places, and AVPs by their names', t => {
  const script = scriptOf(`${head}
  - update:
      number: 7
      rat: utran
      subscriber: { imsi: '234150999999999', e164: ['1', '2'] }
      services:
        - { group: 10, service: [1, 2], ask: any, used: 10MiB, reason: quota-exhausted }
        - { group: 20, used: [{ total: 5, side: before }, { input: 1kB, output: 2kB, side: after }], reason: final }
        - { ask: 0.50 EUR, triggers: [rat, 5], reason: condition-change, used: 60s }
      avps:
        - { Origin-State-Id: 5, Proxy-Info: { Proxy-Host: dra.example.net, Proxy-State: '0x00ff' } }
        - { '999:10415': '0x01' }
      without: Event-Timestamp
  - operator: recharge "a b" 5.00 --reference 'x y'
  - raw: 01 00 00 14
`)
  const [update, operator, raw] = script.steps.map(({ action }) => action) as [StepAction, StepAction, StepAction]
  t.match(update, {
    ...{ kind: 'ccr', type: 'update', number: 7, information: { rat: 1 }, without: ['Event-Timestamp'] },
    subscribers: [
      ['imsi', '234150999999999'],
      ['e164', '1'],
      ['e164', '2'],
    ],
  })
  t.same(update.kind === 'ccr' && update.services, [
    { ratingGroup: 10, serviceIdentifiers: [1, 2], requested: {}, used: [{ octets: 10_485_760n, reason: 3 }] },
    {
      ratingGroup: 20,
      used: [
        { events: 5n, side: 'before' },
        { inputOctets: 1000n, outputOctets: 2000n, side: 'after' },
      ],
      reason: 2,
    },
    { requested: { money: 500_000n, currency: 978 }, used: [{ seconds: 60 }], reason: 6, triggers: [4, 5] },
  ])
  t.same(update.kind === 'ccr' && update.avps, [
    ['Origin-State-Id', 5],
    [
      'Proxy-Info',
      [
        ['Proxy-Host', 'dra.example.net'],
        ['Proxy-State', Buffer.of(0, 255)],
      ],
    ],
    ['999:10415', Buffer.of(1)],
  ])
  t.same(operator, { kind: 'operator', words: ['recharge', 'a b', '5.00', '--reference', 'x y'] })
  t.match(raw, { kind: 'raw', octets: Buffer.of(1, 0, 0, 20) })
  t.end()
})

t.test('amounts say their unit', t => {
  for (const [text, expected] of [
    ['10MiB', { unit: 'octets', amount: 10_485_760n }],
    ['2m', { unit: 'seconds', amount: 120n }],
    ['3', { unit: 'events', amount: 3n }],
    ['1 event', { unit: 'events', amount: 1n }],
    ['0.50 EUR', { unit: 'money', amount: 500_000n, currency: 978 }],
    ['1.5s', undefined],
    ['0.50 XXX', undefined],
    ['', undefined],
  ] as const) {
    t.same(parseAmount(text), expected, text)
  }
  t.end()
})

t.test('paths name AVPs, the n-th of them, or the group that has a value', t => {
  t.same(parsePath('A/B[2]/C[Rating-Group=10]'), [
    { name: 'A', index: undefined, where: undefined },
    { name: 'B', index: 2, where: undefined },
    { name: 'C', index: undefined, where: { name: 'Rating-Group', value: '10' } },
  ])
  for (const bad of ['', 'A/', 'A[', 'A B', 'A[x]']) t.equal(parsePath(bad), undefined, bad)
  t.end()
})
