/** CC-070 to 081: final units and graceful termination. */
import type { Test } from 'tap'
import type { UsedUnits } from '../../src/simulator/ccr.js'
import { Avps, type Message } from '../../src/simulator/message.js'
import { linesOf, MiB, type Talk } from '../support/scenario.js'
import { vector } from '../support/vectors.js'
import { row, startOcs, type Ocs } from './harness.js'
import { avpsOf } from './octets.js'
import { checkRecorded } from './recorder.js'

const EXHAUSTED = 3
const ask = { ratingGroup: 10, requested: {} }
const used = (octets: bigint): readonly UsedUnits[] => [{ octets, reason: EXHAUSTED }]

async function started(t: Test, offer: string, money: string, originHost?: string): Promise<{ ocs: Ocs; talk: Talk }> {
  const ocs = await startOcs(t, { account: { offer, money } })
  return { ocs, talk: ocs.talk(await ocs.gateway(t, originHost === undefined ? {} : { originHost })) }
}

const msccOf = (answer: Message): Avps => answer.groups('Multiple-Services-Credit-Control')[0]!

/** Names and values of a group, deep. */
function inWords(avps: Avps | undefined): string | undefined {
  return avps?.list
    .map(({ name, value }) => {
      if (Array.isArray(value)) return `${name}{${inWords(new Avps(value))}}`
      return `${name}=${Buffer.isBuffer(value) ? value.toString('hex') : String(value)}`
    })
    .join(' ')
}

const indication = (answer: Message): string | undefined => inWords(msccOf(answer).group('Final-Unit-Indication'))

row('CC-070', 'the last affordable grant has a Final-Unit-Indication in its MSCC, others have none', async t => {
  const { ocs, talk } = await started(t, 'redirect', '0.12')
  const first = await talk.initial([ask])
  t.equal(indication(first), undefined, 'there is more')
  const last = await talk.update(1, [{ ...ask, used: used(10n * MiB) }])
  t.same(linesOf(last), [{ ratingGroup: 10, code: 2001, octets: 2n * MiB, validity: 900, final: 1 }])
  await ocs.a.is(t, { bal: '0.02', res: '0.02' }, 'all of it')
})

row('CC-071', 'TERMINATE carries nothing else in the group', async t => {
  const { talk } = await started(t, 'standard', '0.03')
  t.equal(indication(await talk.initial([ask])), 'Final-Unit-Action=0')
})

row('CC-072', 'REDIRECT carries Redirect-Server with type and address: URL, SIP URI, IPv4, IPv6', async t => {
  const rows = [
    ['redirect', 2, 'http://topup.example.net/'],
    ['redirect-sip', 3, 'sip:topup@ims.example.net'],
    ['redirect-ipv4', 0, '192.0.2.1'],
    ['redirect-ipv6', 1, '2001:db8::1'],
  ] as const
  for (const [offer, type, address] of rows) {
    const { talk } = await started(t, offer, '0.03')
    const answer = await talk.initial([ask])
    const server = `Redirect-Server{Redirect-Address-Type=${type} Redirect-Server-Address=${address}}`
    t.equal(indication(answer), `Final-Unit-Action=1 ${server}`, offer)
  }
  const reference = avpsOf(vector('C04')).length
  t.ok(reference > 0, 'C04 is of this form')
})

row('CC-073', 'RESTRICT_ACCESS carries filters and their names, or none where the gateway has them', async t => {
  const { talk } = await started(t, 'restrict', '0.03')
  const rule = 'Restriction-Filter-Rule=permit out ip from 198.51.100.0/24 to any'
  t.equal(indication(await talk.initial([ask])), `Final-Unit-Action=2 ${rule} Filter-Id=walled-garden`)
  const { talk: bare } = await started(t, 'restrict-bare', '0.03')
  t.equal(indication(await bare.initial([ask])), 'Final-Unit-Action=2')
})

row('CC-074', 'a grant of nothing with an indication says: at once', async t => {
  const { ocs, talk } = await started(t, 'redirect', '0.20')
  await talk.initial([ask])
  await ocs.talk(talk.gateway).initial([ask]) // the rest of the money
  const answer = await talk.update(1, [{ ...ask, used: used(10n * MiB) }])
  t.equal(msccOf(answer).group('Granted-Service-Unit')!.bigint('CC-Total-Octets'), 0n)
  t.match(indication(answer), 'Final-Unit-Action=1')
})

row(
  'CC-075',
  'CCR-I on an empty account: 4012 with TERMINATE; 2001, indication and Validity-Time with REDIRECT',
  async t => {
    const { talk } = await started(t, 'standard', '0.00')
    t.equal((await talk.initial([ask])).resultCode, 4012)
    for (const offer of ['redirect', 'restrict']) {
      const { ocs, talk: restricted } = await started(t, offer, '0.00')
      const answer = await restricted.initial([ask])
      t.equal(answer.resultCode, 2001, offer)
      t.same(linesOf(answer), [{ ratingGroup: 10, code: 2001, validity: 300, final: offer === 'redirect' ? 1 : 2 }])
      t.equal(msccOf(answer).group('Granted-Service-Unit'), undefined, 'no Granted-Service-Unit')
      await ocs.a.is(t, { bal: '0.00', res: '0.00' }, 'nothing is reserved')
    }
  },
)

row('CC-076', 'final units used up, nothing asked: debited, 2001 with Validity-Time and no grant', async t => {
  const { ocs, talk } = await started(t, 'redirect', '0.05')
  await talk.initial([ask])
  const answer = await talk.update(1, [{ ratingGroup: 10, used: used(5n * MiB) }])
  t.same(linesOf(answer), [{ ratingGroup: 10, code: 2001, validity: 300 }])
  await ocs.a.is(t, { bal: '0.00', res: '0.00' }, 'nothing is reserved')
  t.equal(await ocs.a.openSessions(), 1)
})

row('CC-077', 'asked again when Validity-Time is over: a grant after a recharge, else 4012', async t => {
  for (const recharged of [true, false]) {
    const { ocs, talk } = await started(t, 'redirect', '0.05')
    await talk.initial([ask])
    await talk.update(1, [{ ratingGroup: 10, used: used(5n * MiB) }])
    if (recharged) await ocs.a.recharge('1.00')
    const answer = await talk.update(2, [ask])
    const granted = { ratingGroup: 10, code: 2001, octets: 10n * MiB, validity: 900 }
    t.same(linesOf(answer), [recharged ? granted : { ratingGroup: 10, code: 4012 }], recharged ? 'lifted' : 'refused')
  }
})

row('CC-079', 'QoS-Final-Unit-Indication, without M bit, only to clients whose profile knows RFC 8506', async t => {
  const { talk } = await started(t, 'redirect', '0.05')
  const old = await talk.initial([ask])
  t.equal(msccOf(old).group('QoS-Final-Unit-Indication'), undefined, 'by default the old form only')
  const { talk: modern } = await started(t, 'redirect', '0.05', 'pgw8506.example.net')
  const answer = await modern.initial([ask])
  const [avp] = msccOf(answer).all('QoS-Final-Unit-Indication')
  t.equal(avp!.flags & 0x40, 0, 'no M bit')
  t.equal(
    inWords(msccOf(answer).group('QoS-Final-Unit-Indication')),
    'Final-Unit-Action=1 Redirect-Server-Extension{Redirect-Address-URL=http://topup.example.net/}',
  )
  t.equal(msccOf(answer).group('Final-Unit-Indication'), undefined, 'and not the old one')
})

row('CC-080', 'a profile may ask for both forms, and they say the same', async t => {
  const { talk } = await started(t, 'restrict', '0.05', 'pgwboth.example.net')
  const answer = await talk.initial([ask])
  t.match(indication(answer), 'Final-Unit-Action=2')
  t.equal(inWords(msccOf(answer).group('QoS-Final-Unit-Indication')), 'Final-Unit-Action=2 Filter-Id=walled-garden')
})

row('CC-081', 'an indication inside an MSCC ends that service alone; the session goes on', async t => {
  const { ocs, talk } = await started(t, 'standard', '0.03')
  const first = await talk.initial([ask])
  t.equal(first.group('Final-Unit-Indication'), undefined, 'not at command level')
  const answer = await talk.update(1, [{ ratingGroup: 10, used: used(3n * MiB) }])
  t.same(linesOf(answer), [{ ratingGroup: 10, code: 2001 }])
  await ocs.a.is(t, { bal: '0.00', res: '0.00' }, 'flow F05')
  t.equal(await ocs.a.openSessions(), 1, 'until its CCR-T')
  t.equal((await talk.terminate(2)).resultCode, 2001)
})

checkRecorded()
