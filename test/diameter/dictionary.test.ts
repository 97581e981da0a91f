/** The shipped tables against the reference tables, an operator's own tables, and the faults that they can have. */
import { join } from 'node:path'
import t from 'tap'
import { loadDictionary, type Grammar, type Member } from '../../src/diameter/dictionary.js'
import { ResultCode } from '../../src/diameter/errors.js'
import { decodeTree, encodeTree } from '../../src/diameter/tree.js'
import { dictionary, referenceTable } from '../support/vectors.js'

const rulesOf = (grammar: Grammar): string[] => [
  ...grammar.members.filter(({ max }) => max > 0).map(printed),
  ...(grammar.open ? ['AVP'] : []),
]
const printed = ({ avp, min, max }: Member): string => `${avp.name}:${min}..${max === Infinity ? '*' : max}`

/** A reference rule list. An unknown upper bound is no bound; of `AVP` only that it is there counts. */
const rulesIn = (text: string): string[] =>
  text
    .split(';')
    .filter(rule => rule !== '')
    .map(rule =>
      rule
        .replace(':later', '')
        .replace('..?', '..*')
        .replace(/^AVP:.*/, 'AVP'),
    )

t.test('every AVP is in the reference table, and the other way round, with all it says', t => {
  const shipped = dictionary.avps.map(({ name, code, vendorId, type, mandatory, enums, grammar }) => ({
    name,
    code: String(code),
    vendor: String(vendorId),
    type,
    flags: (mandatory ? 'M' : '') + (vendorId === 0 ? '' : 'V'),
    enums: [...(enums ?? [])].map(([value, label]) => `${value}=${label}`).join(';'),
    members: grammar ? rulesOf(grammar) : [],
  }))
  const reference = referenceTable('avps').map(row => ({
    name: row['name']!,
    code: row['code']!,
    vendor: row['vendor_id']!,
    type: row['type']!,
    flags: row['must_flags']!,
    enums: row['enum_values']!,
    // A group whose members no source lists takes any.
    members: row['type'] === 'Grouped' && !row['member_rules'] ? ['AVP'] : rulesIn(row['member_rules']!),
  }))
  t.equal(reference.length, 775)
  const sorted = <Row extends { name: string }>(rows: Row[]): Row[] => rows.sort((a, b) => (a.name < b.name ? -1 : 1))
  t.same(sorted(shipped), sorted(reference))
  t.end()
})

t.test('every command is in the reference table, and the other way round', t => {
  const shipped = [...dictionary.commands, dictionary.answerMessage].map(command => ({
    abbreviation: command.abbreviation,
    code: command === dictionary.answerMessage ? 'same as request' : String(command.code),
    request: command.request,
    proxiable: command === dictionary.answerMessage ? 'copy of request' : String(Number(command.proxiable)),
    application: command === dictionary.answerMessage ? 'same as request' : String(command.applicationId),
    fixed: command.grammar.members.filter(({ fixed }) => fixed).map(({ avp }) => avp.name),
    rules: rulesOf(command.grammar),
  }))
  const reference = referenceTable('commands').map(row => ({
    abbreviation: row['abbrev']!,
    code: row['code']!,
    request: row['r_flag'] === '1',
    proxiable: row['p_flag']!,
    application: row['application_id']!,
    fixed: row['fixed_first']!.split(';').filter(name => name !== ''),
    rules: rulesIn(row['ordered_rules']!),
  }))
  t.same(new Set(shipped.map(each => each.abbreviation)), new Set(reference.map(each => each.abbreviation)))
  for (const row of reference)
    t.same(
      shipped.find(each => each.abbreviation === row.abbreviation),
      row,
      row.abbreviation,
    )
  t.same(
    referenceTable('commands')
      .slice(0, -1)
      .map(row => dictionary.commandByName(row['name']!).abbreviation),
    referenceTable('commands')
      .slice(0, -1)
      .map(row => row['abbrev']),
  )
  t.end()
})

t.test('what RFC 8506 section 10.1 forbids in a CCR is forbidden, and nothing else anywhere', t => {
  const forbidden = dictionary.commands.flatMap(({ abbreviation, grammar }) =>
    grammar.members.filter(({ max }) => max === 0).map(({ avp }) => `${abbreviation} ${avp.name}`),
  )
  t.same(forbidden.sort(), [
    'CCR CC-Session-Failover',
    'CCR Check-Balance-Result',
    'CCR Cost-Information',
    'CCR Credit-Control-Failure-Handling',
    'CCR Direct-Debiting-Failure-Handling',
    'CCR Final-Unit-Indication',
    'CCR Granted-Service-Unit',
    'CCR QoS-Final-Unit-Indication',
    'CCR Redirect-Host',
    'CCR Redirect-Host-Usage',
    'CCR Redirect-Max-Cache-Time',
    'CCR Result-Code',
    'CCR Validity-Time',
  ])
  t.end()
})

t.test('Result-Codes have the names and numbers of the reference table', t => {
  const reference = referenceTable('result-codes')
    .filter(row => row['carried_in'] === 'Result-Code')
    .map(row => [row['name']!.replace('DIAMETER_', ''), Number(row['code'])])
  t.same(ResultCode, Object.fromEntries(reference))
  t.end()
})

t.test('an operator adds a vendor by dropping a file into a folder', t => {
  const folder = t.testdir({
    'README.txt': 'not a table',
    'acme.yaml': `
# Acme's gateway
vendor: 4242
avps:
  Acme-Plan: { code: 1, type: UTF8String, flags: MV }
  Acme-Trace: { code: 2, type: Grouped }
  Acme-Colour: { code: 3, type: Enumerated, enum: { 1: RED, 2: 'TRUE' } }
  Acme-Legacy: { code: 40001, type: Unsigned32, vendor: 0 }
enums:
  RAT-Type: { 1099: ACME_RADIO }
groups:
  Acme-Trace: |
    { Acme-Plan }
    2*3[ Acme-Colour ]  ; between two and three
    *{ Class }
    *[ AVP ]
commands:
  AQR: |
    <Acme-Query-Request> ::= < Diameter Header: 7000001, REQ, PXY, 16770000 >
      < Session-Id >
      [ Acme-Trace ]
`,
  })
  const extended = loadDictionary([folder])
  t.equal(extended.avps.length, dictionary.avps.length + 4)
  t.match(extended.avp('Acme-Plan'), { code: 1, vendorId: 4242, type: 'UTF8String', mandatory: true })
  t.equal(extended.find(4242, 3), extended.avp('Acme-Colour'))
  t.match(extended.avp('Acme-Legacy'), { vendorId: 0, mandatory: false })
  t.same(rulesOf(extended.avp('Acme-Trace').grammar!), ['Acme-Plan:1..1', 'Acme-Colour:2..3', 'Class:1..*', 'AVP'])
  t.equal(extended.avp('RAT-Type').enums?.get(1099), 'ACME_RADIO')
  t.equal(dictionary.avp('RAT-Type').enums?.get(1099), undefined)
  t.match(extended.command(7000001, true), { name: 'Acme-Query-Request', abbreviation: 'AQR', applicationId: 16770000 })
  const octets = encodeTree(extended, {
    command: 'AQR',
    hopByHop: 1,
    endToEnd: 2,
    avps: [
      ['Session-Id', 's'],
      [
        'Acme-Trace',
        [
          ['Acme-Plan', 'gold'],
          ['Acme-Colour', 'RED'],
        ],
      ],
    ],
  })
  t.match(decodeTree(extended, octets).avps[1], {
    name: 'Acme-Trace',
    value: [
      { name: 'Acme-Plan', flags: 0xc0, value: 'gold' },
      { name: 'Acme-Colour', flags: 0x80, value: 1 },
    ],
  })
  t.end()
})

t.test('all faults of all files are reported at once, each with its place and what to do', t => {
  const folder = t.testdir({
    'a.yaml': `vendor: 4242
avps:
  Acme-A: { code: 1, type: Unsigned33, flags: M }
  Acme-B: { code: 1, type: Unsigned32, flags: X }
  Acme-C: { type: UTF8String, color: red }
  Acme-D: { code: 4, type: UTF8String }
  Acme-D: { code: 5, type: UTF8String }
`,
    'b.yaml': `avps:
  Session-Id: { code: 40002, type: UTF8String }
  My-Rating-Group: { code: 432, type: Unsigned32 }
  My-Flag: { code: 40003, type: Unsigned32, flags: V }
  My-Group: { code: 40004, type: Grouped }
  My-Other: { code: 40005, type: Grouped }
  My-Number: { code: -1, type: Unsigned32 }
  My-Choice: { code: 40006, type: Enumerated, enum: { one: 1, 2: TRUE } }
  My-Row: 12
aps: {}
enums:
  RAT-Typo: { 1: X }
  CC-Request-Type: { 1: FIRST_REQUEST }
groups:
  My-Group: '{ Session-Idd } [ Rating-Group } '
  My-Other: |
    [ My-Other ]
    [ Rating-Grup ]
    [ Rating-Group ] *[ Rating-Group ]
  Rating-Group: '[ Session-Id ]'
  No-Such-Group-Anywhere: '*[ AVP ]'
  My-Flag: 3
commands:
  XXR: '<X> ::= < 1, REQ >'
  ABC: '<Another-CCR> ::= < Diameter Header: 272, REQ > *[ AVP ]'
`,
    'c.yaml': `avps:
  Acme-C: { code: 1, type: UTF8String, flags: M
  Acme-E: { code: 2 }
`,
    'd.yaml': `- 1
`,
    'e.yaml': `avps:
  Ring-One: { code: 40010, type: Grouped }
  Ring-Two: { code: 40011, type: Grouped }
groups:
  Ring-One: '[ Ring-Two ]'
  Ring-Two: '2*1[ Session-Id ]'
`,
    'f.yaml': `avps:
  Knot-One: { code: 40012, type: Grouped }
  Knot-Two: { code: 40013, type: Grouped }
groups:
  Knot-One: '[ Knot-Two ]'
  Knot-Two: '*[ Knot-One ]'
`,
  })
  const faults = faultsOf([folder, join(folder, 'nothing-here')])
  const expected: [string, RegExp][] = [
    ['a.yaml:7:3', /not valid YAML: Map keys must be unique/],
    ['b.yaml:2:3', /AVP Session-Id is defined in dictionaries\/base.yaml:\d+:3 already; remove one/],
    [
      'b.yaml:3:28',
      /code 432 of vendor 0 is Rating-Group already \(dictionaries\/credit-control.yaml:\d+:3\); use that name/,
    ],
    ['b.yaml:4:52', /My-Flag has flag V and no vendor; add vendor/],
    ['b.yaml:7:22', /code must be a whole number from 0 to 4294967295/],
    ['b.yaml:8:55', /a value of My-Choice must be a whole number/],
    ['b.yaml:8:63', /My-Choice 2 needs a text as its name; put it in quotes/],
    ['b.yaml:9:11', /My-Row must be a table of names/],
    ['b.yaml:9:3', /My-Row has no code; add code: NUMBER/],
    ['b.yaml:9:3', /My-Row has no type; add type: one of OctetString/],
    ['b.yaml:10:1', /unknown key aps; did you mean avps\?/],
    ['b.yaml:12:3', /no dictionary has an AVP RAT-Typo; did you mean RAT-Type\?/],
    ['b.yaml:13:3', /CC-Request-Type 1 is INITIAL_REQUEST already; leave it out/],
    ['b.yaml:15:30', /expected < AVP >, \{ AVP \} or \[ AVP \]/],
    ['b.yaml:18:7', /no dictionary has an AVP Rating-Grup; did you mean Rating-Group\?/],
    ['b.yaml:19:25', /Rating-Group is named twice/],
    ['b.yaml:20:17', /Rating-Group is Unsigned32 and has no members; make its type Grouped/],
    ['b.yaml:21:27', /no dictionary has an AVP No-Such-Group-Anywhere; add a row for it/],
    ['b.yaml:22:3', /My-Flag needs a grammar; write it as a text/],
    ['b.yaml:24:9', /expected <Name> ::= < Diameter Header/],
    ['b.yaml:25:8', /Another-CCR has the code of Credit-Control-Request; give it a code of its own/],
    ['b.yaml:6:3', /My-Other > My-Other: a group contains itself; let \*\[ AVP \] stand for it/],
    ['c.yaml:3:3', /not valid YAML: /],
    ['d.yaml:1:1', /the file must be a table of names/],
    ['e.yaml:6:14', /Session-Id must occur at least 2 times and at most 1/],
    ['f.yaml:2:3', /Knot-One > Knot-Two > Knot-One: a group contains itself/],
    ['nothing-here', /cannot be read .*; name an existing folder/],
  ]
  for (const [place, wanted] of expected) {
    t.ok(
      faults.find(fault => fault.startsWith(`${place}: `) && wanted.test(fault)),
      `${place}: ${wanted.source}`,
    )
  }
  t.equal(faults.length, expected.length, faults.join('\n'))
  t.end()
})

t.test('a row says its type, flags and keys, or what is wrong with them', t => {
  const folder = t.testdir({
    'a.yaml': `vendor: none
avps:
  Acme-A: { code: 1, type: Unsigned33, flags: M, vendor: 7 }
  Acme-B: { code: 1, type: Unsigned32, flags: X, vendor: 7 }
  Acme-C: { type: UTF8String, color: red, vendor: 7 }
`,
  })
  t.match(faultsOf([folder]), [
    /^a.yaml:1:9: vendor must be a whole number/,
    /^a.yaml:3:28: unknown type Unsigned33; did you mean Unsigned32\?$/,
    /^a.yaml:4:47: flags must be M, V, MV, or left out$/,
    /^a.yaml:4:19: code 1 of vendor 7 is Acme-A already .*; use that name$/,
    /^a.yaml:5:31: unknown key color; known are code, type, flags, vendor, enum$/,
    /^a.yaml:5:3: Acme-C has no code; add code: NUMBER$/,
  ])
  t.end()
})

/** The lines of the one error, with the names of files alone. */
function faultsOf(folders: readonly string[]): string[] {
  try {
    loadDictionary(folders)
    return []
  } catch (error) {
    return (error as Error).message.split('\n').map(line => line.replace(/^\S*\/(?=[^/:]*:)/, ''))
  }
}

t.test('asking for a name that no dictionary has is a fault of the program', t => {
  t.throws(() => dictionary.avp('Rating-Grup'), /no dictionary has an AVP Rating-Grup/)
  t.throws(() => dictionary.commandByName('XYR'), /no dictionary has a command XYR/)
  t.throws(() => dictionary.grammar('Session-Id'), /no dictionary has a command or a group Session-Id/)
  t.equal(dictionary.find(10415, 999_999), undefined)
  t.equal(dictionary.command(9999, true), undefined)
  t.end()
})
