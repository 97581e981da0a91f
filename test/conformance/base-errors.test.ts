/** BASE-050 to 067: what is wrong with a request, and what its answer says of it. */
import type { Test } from 'tap'
import type { AvpTree } from '../../src/diameter/tree.js'
import { FLAG } from '../../src/diameter/header.js'
import type { RawClient, Received } from '../support/raw-client.js'
import { malformedVectors, vector } from '../support/vectors.js'
import { imsi, msisdn, ocsHost, ocsRealm, row, startOcs } from './harness.js'
import { anAvp, append, avpsOf, rawAvps, withHeader, without } from './octets.js'
import { compare, failedAvps, isAnsweredAsSaid } from './reaction.js'
import { checkRecorded } from './recorder.js'

const peer = async (t: Test): Promise<RawClient> => (await startOcs(t)).peer(t)

const values = (answer: Received, name: string): AvpTree['value'][] => answer.values(name)

const aSubscriptionId = (type: number, data: string): Buffer =>
  anAvp('Subscription-Id', [
    ['Subscription-Id-Type', type],
    ['Subscription-Id-Data', data],
  ])

row('BASE-050', 'M16, M18: a missing AVP is answered 5005, with an empty one of its size in Failed-AVP', async t => {
  const client = await peer(t)
  await isAnsweredAsSaid(t, client, 'M16')
  await isAnsweredAsSaid(t, client, 'M18')
})

row('BASE-051', 'M19: an AVP too many is answered 5009, with the first too many in Failed-AVP', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M19')
})

row('BASE-052', 'M20, M22: a value that no enumeration has is answered 5004', async t => {
  const client = await peer(t)
  await isAnsweredAsSaid(t, client, 'M20')
  await isAnsweredAsSaid(t, client, 'M22')
})

row('BASE-053', 'M22: Failed-AVP leads down to the fault: 279{456{446{872}}}', async t => {
  const answer = await isAnsweredAsSaid(t, await peer(t), 'M22')
  const path: number[] = []
  for (let body = answer.octets.subarray(20), wanted = 279; ;) {
    const avps = rawAvps(body)
    const avp = path.length === 0 ? avps.find(({ code }) => code === wanted) : avps[0]
    path.push(avp!.code)
    t.ok(path.length === 1 || avps.length === 1, 'nothing beside it')
    if (avp!.code === 872) {
      t.equal(avp!.data.readUInt32BE(0), 99)
      break
    }
    body = avp!.data
    wanted = 0
  }
  t.same(path, [279, 456, 446, 872])
})

row(
  'BASE-054',
  'the number of account A with the IMSI of account B is answered 5007, with both in Failed-AVP',
  async t => {
    const ocs = await startOcs(t)
    const b = '234150999999998'
    await ocs.account(t, 'B', { identities: [{ type: 'imsi', value: b }] })
    const client = await ocs.peer(t)
    const [a, other] = [aSubscriptionId(0, msisdn), aSubscriptionId(1, b)]
    const answer = await client.ask(append(without(vector('C01'), 'Subscription-Id'), a, other))
    t.equal(answer.value('Result-Code'), 5007)
    t.same(
      failedAvps(answer)
        .filter(({ code }) => code === 443)
        .map(({ octets }) => octets),
      [a, other],
    )
    await ocs.a.is(t, { bal: '10.00', res: '0.00' }, 'nothing is held')
    t.equal((await client.ask(vector('C01'))).value('Result-Code'), 2001, 'with its own IMSI it is served')
  },
)

row('BASE-055', 'an AVP that RFC 8506 forbids in a CCR is answered 5008, with a copy', async t => {
  const client = await peer(t)
  const forbidden = anAvp('Check-Balance-Result', 0)
  const answer = await client.ask(append(vector('C01'), forbidden))
  t.equal(answer.value('Result-Code'), 5008)
  t.ok(failedAvps(answer)[0]!.octets.equals(forbidden))
})

row('BASE-056', 'M34: of many faults the first is told', async t => {
  const answer = await isAnsweredAsSaid(t, await peer(t), 'M34')
  t.same(values(answer, 'Result-Code'), [5005])
  t.same(
    failedAvps(answer).map(({ code }) => code),
    [263],
  )
})

row(
  'BASE-057',
  'M42, M43: a CER has one Failed-AVP in its answer, with both ids where section 6.11 is about both',
  async t => {
    const ocs = await startOcs(t)
    for (const id of ['M42', 'M43']) {
      const client = await ocs.open(t)
      const cea = await client.ask(vector(id))
      compare(
        t,
        cea,
        malformedVectors.find(each => each.id === id)!,
      )
      t.equal(values(cea, 'Failed-AVP').length, 1, `${id}: one`)
      await client.closed
    }
  },
)

row('BASE-058', 'M16: Session-Id comes back; M17: none is invented', async t => {
  const client = await peer(t)
  const answer = await isAnsweredAsSaid(t, client, 'M16')
  t.ok(avpsOf(answer.octets)[0]!.octets.equals(avpsOf(vector('M16'))[0]!.octets), 'as it was')
  const without = await isAnsweredAsSaid(t, client, 'M17')
  t.same(values(without, 'Session-Id'), [])
})

row('BASE-059', 'M29: another Auth-Application-Id than the header has is answered 5004', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M29')
})

row('BASE-060', 'M27: an unknown command is answered 3001', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M27')
})

row('BASE-061', 'M28: an unknown application is answered 3007', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M28')
})

row('BASE-062', '3xxx has the E bit, 4xxx and 5xxx do not', async t => {
  const ocs = await startOcs(t, { account: { money: '0.00' } })
  const client = await ocs.peer(t)
  for (const [octets, code, isError] of [
    [vector('M27'), 3001, true],
    [vector('C01'), 4012, false],
    [vector('M20'), 5004, false],
  ] as const) {
    const answer = await client.ask(octets)
    t.equal(answer.value('Result-Code'), code)
    t.equal((answer.header.flags & FLAG.ERROR) !== 0, isError, `${code}`)
  }
})

row('BASE-063', 'a protocol error has the shape of B11, Proxy-Info included', async t => {
  const client = await peer(t)
  const b11 = avpsOf(vector('B11'))
  const proxyInfo = b11.find(({ code }) => code === 284)!
  const request = append(withHeader(vector('C01'), { applicationId: 99 }), proxyInfo.octets)
  const answer = await client.ask(request)
  const { header } = answer
  t.same([header.commandCode, header.applicationId, header.flags], [272, 99, FLAG.PROXIABLE | FLAG.ERROR])
  const shape = avpsOf(answer.octets).filter(({ code }) => code !== 281)
  t.same(
    shape.map(({ octets }) => octets.toString('hex')),
    b11.map(({ octets }) => octets.toString('hex')),
    'but for Error-Message, octet by octet',
  )
  const withoutP = await client.ask(withHeader(request, { flags: FLAG.REQUEST, hopByHop: 9 }))
  t.equal(withoutP.header.flags, FLAG.ERROR, 'P is that of the request')
})

row('BASE-063', 'a permanent failure of a CCR has identity, code, Failed-AVP and Proxy-Info', async t => {
  const client = await peer(t)
  const [proxyInfo] = avpsOf(vector('B11')).filter(({ code }) => code === 284)
  const answer = await client.ask(append(vector('M20'), proxyInfo!.octets))
  t.equal(answer.header.flags, FLAG.PROXIABLE)
  t.match(Object.fromEntries(answer.avps.map(({ name, value }) => [name, value])), {
    'Origin-Host': ocsHost,
    'Origin-Realm': ocsRealm,
    'Result-Code': 5004,
    'Session-Id': /^pgw1/,
  })
  t.ok(avpsOf(answer.octets).some(({ octets }) => octets.equals(proxyInfo!.octets)))
  t.equal(failedAvps(answer)[0]!.code, 416)
})

row('BASE-064', 'one node that answers for itself names no other as the one that reports', async t => {
  const client = await peer(t)
  for (const id of ['M20', 'M27', 'M16']) {
    const answer = await client.ask(vector(id))
    t.equal(answer.value('Origin-Host'), ocsHost)
    t.same(values(answer, 'Error-Reporting-Host'), [], id)
  }
})

row('BASE-065', 'Error-Message has no flags, and one that comes with a request is ignored', async t => {
  const client = await peer(t)
  const answer = await client.ask(vector('M20'))
  t.equal(avpsOf(answer.octets).find(({ code }) => code === 281)!.flags, 0)
  const told = append(vector('B07'), anAvp('Error-Message', '5012 go away'))
  t.equal((await client.ask(told)).value('Result-Code'), 2001, 'text is not parsed')
})

row('BASE-067', 'each class of refusal says why in words, and no fault in an identity is quoted', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.peer(t)
  const base = without(vector('C01'), 'Subscription-Id')
  const refusals: [string, Buffer, number][] = [
    ['protocol error', vector('M28'), 3007],
    ['unknown subscriber', append(base, aSubscriptionId(0, '447700900199')), 5030],
    ['a number with a letter in it', append(base, aSubscriptionId(0, `${msisdn}x`)), 0],
    ['an IMSI with a plus', append(base, aSubscriptionId(1, `+${imsi}`)), 0],
    ['nobody', base, 5005],
    ['malformed', vector('M22'), 5004],
  ]
  for (const [name, octets, code] of refusals) {
    const answer = await client.ask(octets)
    if (code !== 0) t.equal(answer.value('Result-Code'), code, name)
    t.ok((answer.value('Result-Code') as number) >= 3000, name)
    const message = answer.value('Error-Message') as string
    t.ok(message.length > 8, `${name}: ${message}`)
    t.notMatch(message, /447700900|23415099/)
  }
})

checkRecorded()
