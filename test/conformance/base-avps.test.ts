/** BASE-020 to 040: AVPs, their types, and what is unknown. */
import type { Test } from 'tap'
import { decodeTree, encodeTree } from '../../src/diameter/tree.js'
import { parseDiameterUri } from '../../src/diameter/uri.js'
import type { RawClient } from '../support/raw-client.js'
import { dictionary, malformedVectors, validVectors, vector } from '../support/vectors.js'
import { ocsHost, row, startOcs } from './harness.js'
import { anAvp, append, avpsOf, ofSession, rawAvps, withoutMandatory, withValue } from './octets.js'
import { compare, failedAvps, isAnsweredAsSaid } from './reaction.js'
import { checkRecorded } from './recorder.js'

const peer = async (t: Test): Promise<RawClient> => (await startOcs(t)).peer(t)

row('BASE-020', 'every valid vector is read and written octet by octet, padding included', async t => {
  for (const { id, octets, avps } of validVectors) {
    t.same(
      avpsOf(octets).map(({ code, vendorId }) => [code, vendorId]),
      avps.map(avp => [avp.code, avp.vendor_id]),
      id,
    )
    t.ok(encodeTree(dictionary, decodeTree(dictionary, octets)).equals(octets), id)
  }
  const client = await peer(t)
  for (const [i, id] of ['C01', 'C24', 'C17'].entries()) {
    const answer = await client.ask(ofSession(vector(id), i))
    t.equal(answer.value('Result-Code'), 2001, `${id} is served`)
  }
})

row('BASE-021', 'M32: padding that is not zero does no harm', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M32')
})

row('BASE-022', 'M31: reserved bits of an AVP are ignored', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M31')
})

row('BASE-023', 'M33: an AVP of vendor 0 is the IETF one', async t => {
  const answer = await isAnsweredAsSaid(t, await peer(t), 'M33')
  t.equal(answer.value('CC-Request-Number'), 0)
})

row('BASE-024', 'M07: an AVP that runs past the message is answered 5014', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M07')
})

row('BASE-025', 'M08, M09: an AVP shorter than its header is answered 5014', async t => {
  const client = await peer(t)
  await isAnsweredAsSaid(t, client, 'M08')
  await isAnsweredAsSaid(t, client, 'M09')
})

row('BASE-026', 'M10, M11, M35: four and eight octets are four and eight octets, else 5014', async t => {
  const client = await peer(t)
  for (const id of ['M10', 'M11', 'M35']) await isAnsweredAsSaid(t, client, id)
})

row('BASE-027', 'M12: four octets too many are answered 5014, with a partial header padded in Failed-AVP', async t => {
  const answer = await isAnsweredAsSaid(t, await peer(t), 'M12')
  const [failed] = rawAvps(answer.octets.subarray(20)).filter(({ code }) => code === 279)
  t.equal(failed!.data.length, 8, 'the size of a header')
  t.same(failed!.data.subarray(0, 4), vector('M12').subarray(-4), 'what was there')
  t.ok(
    failed!.data.subarray(4).every(octet => octet === 0),
    'and zeros',
  )
})

row('BASE-028', 'M24: an AVP that runs past its group is answered 5014', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M24')
})

row('BASE-029', 'M36: 200 unknown groups in each other are ignored; M37: 60 known ones are answered', async t => {
  const client = await peer(t)
  await isAnsweredAsSaid(t, client, 'M36')
  const answer = await client.ask(vector('M37'))
  t.ok([2001, 5004, 5012, 5014].includes(answer.value('Result-Code') as number), 'M37')
  t.ok(await client.nothingElse(), 'and the connection lives')
})

row('BASE-029', '5,000 AVPs in one message are refused, and the connection lives', async t => {
  const client = await peer(t)
  const many = Array.from({ length: 5_000 }, () => anAvp('65001:0', Buffer.alloc(0), 0))
  const code = (await client.ask(append(vector('C01'), ...many))).value('Result-Code') as number
  t.ok(code >= 5000 && code < 6000, `${code}`)
  t.equal((await client.ask(vector('C01'))).value('Result-Code'), 2001)
})

row('BASE-030', 'M39: an IPv4 address of five octets is answered 5004 or 5014', async t => {
  const ocs = await startOcs(t)
  const client = await ocs.open(t)
  compare(
    t,
    await client.ask(vector('M39')),
    malformedVectors.find(({ id }) => id === 'M39')!,
  )
  await client.closed
})

row('BASE-030', 'IPv6 has sixteen octets; an address of another family than IP is no reason to fall', async t => {
  const ocs = await startOcs(t)
  const addresses: [string, string, readonly number[]][] = [
    ['IPv6', '000220010db8000000000000000000000001', [2001]],
    ['IPv6 of four octets', '0002c0000201', [5004, 5014]],
    ['no family', '00', [5004, 5014]],
    ['E.164', `0008${Buffer.from('447700900123').toString('hex')}`, [2001, 5004]],
  ]
  for (const [name, hex, codes] of addresses) {
    const client = await ocs.open(t)
    const cer = withValue(vector('B01'), 'Host-IP-Address', Buffer.from(hex, 'hex'))
    const code = (await client.ask(cer)).value('Result-Code') as number
    t.ok(codes.includes(code), `${name}: ${code}`)
    client.socket.destroy()
    await client.closed
  }
  t.equal((await (await ocs.open(t)).ask(vector('B05'))).value('Result-Code'), 2001, 'it lives')
})

row('BASE-031', 'a Time is of the era until 2036, and of the next one below 0x80000000', async t => {
  const times: [number, string][] = [
    [0xed135540, '2026-01-15T12:00:00.000Z'],
    [0x00000000, '2036-02-07T06:28:16.000Z'],
    [0x80000000, '1968-01-20T03:14:08.000Z'],
    [0xffffffff, '2036-02-07T06:28:15.000Z'],
  ]
  const client = await peer(t)
  for (const [i, [ntp, iso]] of times.entries()) {
    const data = Buffer.alloc(4)
    data.writeUInt32BE(ntp)
    const ccr = ofSession(withValue(vector('C01'), 'Event-Timestamp', data), i)
    const { value } = decodeTree(dictionary, ccr).avps.find(({ name }) => name === 'Event-Timestamp')!
    t.equal(new Date(Number(value) * 1000).toISOString(), iso)
    t.equal((await client.ask(ccr)).value('Result-Code'), 2001, `${iso} is taken`)
  }
})

row('BASE-032', 'M30: text that is no UTF-8 is answered 5004', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M30')
})

row('BASE-033', 'Destination-Host in capitals is this host; so is the Destination-Realm this realm', async t => {
  const client = await peer(t)
  const host = withValue(vector('C01'), 'Destination-Host', 'OCS1.Charging.example.NET')
  t.equal((await client.ask(host)).value('Result-Code'), 2001)
  const realm = withValue(host, 'Destination-Realm', 'CHARGING.Example.Net')
  t.equal((await client.ask(ofSession(realm, 2))).value('Result-Code'), 2001)
  const beginsAlike = withValue(vector('C01'), 'Destination-Host', `${ocsHost}.com`)
  t.equal((await client.ask(ofSession(beginsAlike, 3))).value('Result-Code'), 3002, 'and only this one')
})

row(
  'BASE-034',
  'aaa is port 3868, aaas is 5658, and tcp where nothing is said; what is no DiameterURI is 5004',
  async t => {
    const uris: [string, object | undefined][] = [
      ['aaa://host.example.com', { secure: false, host: 'host.example.com', port: 3868, transport: 'tcp' }],
      ['aaas://host.example.com', { secure: true, port: 5658, transport: 'tcp' }],
      ['aaa://host.example.com:6666;transport=sctp', { port: 6666, transport: 'sctp' }],
      ['aaa://host.example.com;protocol=diameter', { port: 3868, protocol: 'diameter' }],
      ['aaas://host.example.com:1;transport=tcp;protocol=diameter', { secure: true, port: 1 }],
      ['http://host.example.com', undefined],
    ]
    const client = await peer(t)
    for (const [uri, expected] of uris) {
      const parsed = parseDiameterUri(uri)
      if (expected) t.match(parsed, expected, uri)
      else t.equal(parsed, undefined, uri)
      const dwr = append(vector('B07'), anAvp('Redirect-Host', Buffer.from(uri)))
      t.equal((await client.ask(dwr)).value('Result-Code'), expected ? 2001 : 5004, `${uri} in a request`)
    }
  },
)

row('BASE-035', 'M14: an unknown AVP without M bit is ignored', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M14')
})

row('BASE-036', 'M13, M15: an unknown AVP with M bit is answered 5001, with a copy of it', async t => {
  const client = await peer(t)
  for (const id of ['M13', 'M15']) {
    const answer = await isAnsweredAsSaid(t, client, id)
    const [copy] = failedAvps(answer)
    t.ok(
      avpsOf(vector(id)).some(({ octets }) => octets.equals(copy!.octets)),
      `${id}: as it came`,
    )
  }
})

row('BASE-037', 'M26: an unknown group without M bit is ignored, whatever is in it', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M26')
})

row('BASE-038', 'M25: an unknown AVP with M bit in a known group is answered 5001', async t => {
  await isAnsweredAsSaid(t, await peer(t), 'M25')
})

row('BASE-039', 'C01 is served with the M bit cleared on 3GPP-RAT-Type, and on every AVP of 3GPP', async t => {
  const client = await peer(t)
  const ratType = withoutMandatory(vector('C01'), ({ code, vendorId }) => vendorId === 10415 && code === 21)
  t.notOk(ratType.equals(vector('C01')))
  t.equal((await client.ask(ratType)).value('Result-Code'), 2001)
  const all = withoutMandatory(ofSession(vector('C01'), 2), ({ vendorId }) => vendorId === 10415)
  t.equal((await client.ask(all)).value('Result-Code'), 2001)
})

row('BASE-040', 'M41: Session-Id is taken wherever it stands', async t => {
  const answer = await isAnsweredAsSaid(t, await peer(t), 'M41')
  t.equal(avpsOf(answer.octets)[0]!.code, 263, 'and goes back first')
})

checkRecorded()
