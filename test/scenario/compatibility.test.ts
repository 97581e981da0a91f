/** The compatibility sheet is up to date, and says what is sent. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { encodeTree } from '../../src/diameter/tree.js'
import { startScenario, Talk } from '../support/scenario.js'
import { refusals, sentAvps } from '../support/sent-avps.js'
import { unlisted } from '../support/sheet.js'
import { dictionary } from '../support/vectors.js'
import { compatibilitySheet, sheetFile } from '../conformance/compatibility.js'

t.test('the committed sheet is what the code says: npm run compatibility', t => {
  t.equal(readFileSync(sheetFile, 'utf8'), compatibilitySheet())
  t.end()
})

t.test('it is read from the code: some of what everybody knows is in it', t => {
  const sent = sentAvps(dictionary)
  const codes = (message: string): number[] => (sent.get(message) ?? []).map(({ code }) => code)
  t.ok(codes('CCA').includes(431), 'Granted-Service-Unit')
  t.ok(codes('CCA').includes(869), 'Volume-Quota-Threshold, by a table of thresholds')
  t.ok(codes('RAR').includes(285), 'Re-Auth-Request-Type')
  t.notOk(codes('ASR').includes(285), 'which an ASR has not')
  t.ok(codes('DPR').includes(273), 'Disconnect-Cause')
  t.notOk(codes('DWR').includes(268), 'no Result-Code in a request')
  t.match(refusals().get('USER_UNKNOWN'), [/no account/])
  t.match(refusals().get('CREDIT_LIMIT_REACHED'), [/line …: no funds/])
  t.end()
})

t.test('an AVP that the sheet does not list is found, however deep', t => {
  const octets = encodeTree(dictionary, {
    ...{ command: 'CCA', hopByHop: 1, endToEnd: 1 },
    avps: [
      ['Session-Id', 's'],
      ['User-Name', 'anna'],
      ['Multiple-Services-Credit-Control', [['Rating-Group', 1], ['Envelope', [['Envelope-Start-Time', 1_768_478_400]]]]], // prettier-ignore
      ['Failed-AVP', [['User-Name', 'what was wrong']]],
    ],
  })
  t.same(unlisted(octets), ['CCA: User-Name', 'CCA: Envelope', 'CCA: Envelope-Start-Time'])
  t.end()
})

t.test('what a traced session is answered is in the sheet', async t => {
  const scenario = await startScenario(t)
  const gateway = await scenario.gateway(t)
  const anna = await scenario.subject(t, { money: '0.20' })
  const talk = new Talk(gateway, [anna.id])
  const answers = [
    await talk.initial([{ ratingGroup: 10, requested: {} }, { ratingGroup: 99, requested: {} }]), // prettier-ignore
    await talk.update(1, [{ ratingGroup: 10, used: [{ octets: 20_971_520n }], requested: {} }]),
    await talk.terminate(2),
    await new Talk(gateway, [['e164', '440000000000']]).initial([{ ratingGroup: 10, requested: {} }]),
  ]
  for (const { octets } of answers) t.same(unlisted(octets), [])
})
