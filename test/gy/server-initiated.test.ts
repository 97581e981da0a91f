/**
 * RAR and ASR octet by octet, and over which connections they may go.
 */
import t from 'tap'
import type { GatewayCommand, Selector } from '../../src/charging/reauthorisation.js'
import type { Destination, OutgoingRequest } from '../../src/diameter/dispatch.js'
import { decodeTree } from '../../src/diameter/tree.js'
import { Writer } from '../../src/diameter/writer.js'
import { DiameterGateways, writeCommand } from '../../src/gy/server-initiated.js'
import { dictionary, validVectors } from '../support/vectors.js'

const own = { identity: 'ocs1.charging.example.net', realm: 'charging.example.net' }
const command = (changes: Partial<GatewayCommand> = {}): GatewayCommand => ({
  command: 'RAR',
  sessionId: 'pgw1.example.net;1768478400;42;gy',
  originHost: 'pgw1.example.net',
  originRealm: 'example.net',
  via: '',
  ...changes,
})

/** With the header of a message of the reference. */
function octetsOf(of: GatewayCommand, flags: number, code: number, hopByHop: number, endToEnd: number): Buffer {
  const writer = new Writer()
  writer.message(flags, code, 4, hopByHop, endToEnd)
  writeCommand(writer, of, own)
  writer.endMessage()
  return writer.take()
}

t.test('the octets are those of the reference', t => {
  const table = [
    ['C12', command({ selector: { ratingGroup: 10 } })],
    ['C14', command({ command: 'ASR' })],
  ] as const
  for (const [id, of] of table) {
    const vector = validVectors.find(each => each.id === id)!
    const { command_code: code, hop_by_hop: hop, end_to_end: end } = vector.header
    t.equal(octetsOf(of, 0xc0, code, hop, end).toString('hex'), vector.octets.toString('hex'), vector.title)
  }
  t.end()
})

t.test('3GPP-047: at most one AVP narrows a RAR; an ASR is for the session', t => {
  const selectors: readonly [Selector | undefined, string | undefined][] = [
    [undefined, undefined],
    [{ ratingGroup: 4_294_967_295 }, 'Rating-Group=4294967295'],
    [{ serviceIdentifier: 7 }, 'Service-Identifier=7'],
    [{ pool: 1 }, 'G-S-U-Pool-Identifier=1'],
  ]
  const narrowing = (of: GatewayCommand): string[] =>
    decodeTree(dictionary, octetsOf(of, 0xc0, of.command === 'RAR' ? 258 : 274, 1, 1))
      .avps.filter(({ name }) => /Rating-Group|Service-Identifier|Pool|Sub-Session/.test(name))
      .map(({ name, value }) => `${name}=${Number(value)}`)
  for (const [selector, expected] of selectors) {
    t.same(narrowing(command({ selector })), expected === undefined ? [] : [expected])
    t.same(narrowing(command({ command: 'ASR', selector })), [])
  }
  t.end()
})

t.test(
  'a request goes to its gateway by way of the peer that the session came over, and waits three times 10 s',
  async t => {
    const sent: OutgoingRequest[] = []
    const looked: Destination[] = []
    const gateways = new DiameterGateways(
      {
        reach: destination => {
          looked.push(destination)
          return 'far'
        },
        request: request => {
          sent.push(request)
          return Promise.resolve({ kind: 'undeliverable' })
        },
      },
      own,
    )
    t.equal(gateways.reach(command({ via: 'dra.example.net' })), 'far')
    t.same(looked, [{ destinationHost: 'pgw1.example.net', via: 'dra.example.net', applicationId: 4 }])
    t.same(await gateways.send(command({ command: 'ASR', via: '' })), { kind: 'undeliverable' })
    t.match(sent[0], {
      ...{ destinationHost: 'pgw1.example.net', commandCode: 274, applicationId: 4, timeoutMs: 30_000 },
      resend: { afterMs: 10_000, times: 2 },
    })
    t.equal(sent[0]!.via, undefined)
  },
)
