/** Which messages a trace wants. */
import t from 'tap'
import type { TappedConnection } from '../../src/diameter/tap.js'
import { encodeTree, type AvpItem } from '../../src/diameter/tree.js'
import { standardProfile } from '../../src/config/profiles.js'
import { Filter, namesOf } from '../../src/trace/filter.js'
import { dictionary } from '../support/vectors.js'

let ports = 40_000

const connectionOf = (originHost: string | undefined, relay = false): TappedConnection => ({
  peer:
    originHost === undefined
      ? undefined
      : {
          ...{ name: 'row', originHost, originRealm: 'example.net', address: '192.0.2.1', relay },
          ...{
            profile: standardProfile,
            limits: { connections: undefined, inFlight: undefined, ratePerSecond: undefined },
          },
        },
  remote: { address: '192.0.2.1', port: ++ports },
  local: { address: '192.0.2.100', port: 3868 },
})

interface Parts {
  readonly session?: string
  readonly originHost?: string
  readonly msisdn?: string
  readonly extension?: string
  readonly hopByHop?: number
}

function aMessage(command: string, { session, originHost, msisdn, extension, hopByHop = 1 }: Parts): Buffer {
  const avps: AvpItem[] = []
  if (session !== undefined) avps.push(['Session-Id', session])
  if (originHost !== undefined) avps.push(['Origin-Host', originHost])
  if (msisdn !== undefined) {
    avps.push(['Subscription-Id', [['Subscription-Id-Type', 0], ['Subscription-Id-Data', msisdn]]]) // prettier-ignore
  }
  if (extension !== undefined) avps.push(['Subscription-Id-Extension', [['Subscription-Id-SIP-URI', extension]]])
  return encodeTree(dictionary, { command, hopByHop, endToEnd: 1, avps })
}

t.test('identities that are written in different ways have a name in common', t => {
  for (const written of [
    '491701000001',
    '+491701000001',
    'tel:+491701000001',
    'tel:+491701000001;phone-context=example',
    'sip:+491701000001@ims.example;user=phone',
    'SIP:491701000001@IMS.example',
  ])
    t.ok(namesOf(written).includes('491701000001'), written)
  t.ok(namesOf('sip:anna@ims.example').includes('anna@ims.example'))
  t.notOk(namesOf('sip:anna@ims.example').includes('anna'), 'a user alone is nobody')
  t.end()
})

t.test('a subscriber is followed from the request that names him', t => {
  const filter = new Filter({ subscriber: ['491701000001'] }, ['old;1'])
  const pgw = connectionOf('pgw1.example.net')
  const steps: readonly [string, 'in' | 'out', string, Parts, boolean][] = [
    ['another subscriber', 'in', 'CCR', { session: 'a', msisdn: '491701000002', hopByHop: 1 }, false],
    ['and the answer to him', 'out', 'CCA', { session: 'a', hopByHop: 1 }, false],
    ['his first request', 'in', 'CCR', { session: 'b', msisdn: '+491701000001', hopByHop: 2 }, true],
    ['its answer, by Hop-by-Hop', 'out', 'CCA', { hopByHop: 2 }, true],
    ['the same identifier again: another answer', 'out', 'CCA', { hopByHop: 2 }, false],
    ['a request of his session that names nobody', 'in', 'CCR', { session: 'b', hopByHop: 3 }, true],
    ['a request of his session that names another', 'in', 'CCR', { session: 'b', msisdn: '491701000002' }, false],
    ['what we ask of his session', 'out', 'RAR', { session: 'b', hopByHop: 9 }, true],
    ['and its answer', 'in', 'RAA', { hopByHop: 9 }, true],
    ['a session that was open before', 'in', 'CCR', { session: 'old;1', hopByHop: 4 }, true],
    [
      'by the newer group, as a SIP URI',
      'in',
      'CCR',
      { session: 'c', extension: 'sip:+491701000001@ims.example' },
      true,
    ],
    ['a watchdog', 'in', 'DWR', { originHost: 'pgw1.example.net' }, false],
  ]
  for (const [name, direction, command, parts, wanted] of steps)
    t.equal(filter.match(direction, pgw, aMessage(command, parts)) !== undefined, wanted, name)
  t.equal(filter.knows('c'), true)
  t.end()
})

t.test('a peer is who is connected, or who is behind a relay', t => {
  const filter = new Filter({ peer: 'PGW1.example.net' }, [])
  const own = connectionOf('pgw1.example.net')
  const relay = connectionOf('dra1.example.net', true)
  const unknown = connectionOf(undefined)
  const steps: readonly [string, 'in' | 'out', TappedConnection, Buffer, boolean][] = [
    ['its CER, before it is known', 'in', unknown, aMessage('CER', { originHost: 'pgw1.example.net' }), true],
    ['the CEA to it', 'out', unknown, aMessage('CEA', { originHost: 'ocs' }), true],
    ['its watchdog', 'in', own, aMessage('DWR', { originHost: 'pgw1.example.net', hopByHop: 5 }), true],
    ['through a relay', 'in', relay, aMessage('CCR', { originHost: 'pgw1.example.net', hopByHop: 6 }), true],
    ['the answer through the relay', 'out', relay, aMessage('CCA', { hopByHop: 6 }), true],
    [
      'another one behind that relay',
      'in',
      relay,
      aMessage('CCR', { originHost: 'pgw2.example.net', hopByHop: 7 }),
      false,
    ],
    ['the answer to that one', 'out', relay, aMessage('CCA', { hopByHop: 7 }), false],
  ]
  for (const [name, direction, connection, octets, wanted] of steps) {
    const match = filter.match(direction, connection, octets)
    t.equal(match !== undefined, wanted, name)
    t.equal(match?.shown, undefined, 'nobody is named')
  }
  t.end()
})

t.test('what is wanted must all hold', t => {
  const filter = new Filter({ subscriber: ['491701000001'], peer: 'pgw1.example.net', session: 's1' }, [])
  const pgw1 = connectionOf('pgw1.example.net')
  const his = { session: 's1', msisdn: '491701000001' }
  t.ok(filter.match('in', pgw1, aMessage('CCR', his)))
  t.notOk(filter.match('in', connectionOf('pgw2.example.net'), aMessage('CCR', his)), 'another peer')
  t.notOk(filter.match('in', pgw1, aMessage('CCR', { ...his, session: 's2' })), 'another session')
  t.notOk(filter.match('in', pgw1, aMessage('CCR', { ...his, msisdn: '491701000002' })), 'another subscriber')
  t.end()
})

t.test('a session shows whose it is, and nobody else', t => {
  const filter = new Filter({ session: 's1' }, [])
  const match = filter.match('in', connectionOf('pgw1'), aMessage('CCR', { session: 's1', msisdn: '+491701000001' }))
  t.same(match?.shown, ['+491701000001', '491701000001'])
  t.end()
})

t.test('sessions and open requests are remembered up to a limit', t => {
  const filter = new Filter({ subscriber: ['491701000001'] }, [])
  const pgw = connectionOf('pgw1.example.net')
  for (let i = 0; i < 5000; i++) {
    filter.match('in', pgw, aMessage('CCR', { session: `s${i}`, msisdn: '491701000001', hopByHop: i }))
  }
  t.equal(filter.knows('s4999'), true)
  t.equal(filter.knows('s0'), false, 'the oldest session is forgotten')
  t.notOk(filter.match('out', pgw, aMessage('CCA', { hopByHop: 0 })), 'and the oldest request')
  t.ok(filter.match('out', pgw, aMessage('CCA', { hopByHop: 4999 })))
  t.end()
})
