import t from 'tap'
import { loadDictionary } from '../../src/diameter/dictionary.js'
import { readTree, encodeTree } from '../../src/diameter/tree.js'
import { parseDiameterUri } from '../../src/diameter/uri.js'

void t.test('a DiameterURI has its defaults, and nothing else is one', t => {
  const plain = { secure: false, port: 3868, transport: 'tcp', protocol: 'diameter' }
  const table: [text: string, expected: object | undefined][] = [
    ['aaa://host.example.com', { ...plain, host: 'host.example.com' }],
    ['aaas://host.example.com', { ...plain, secure: true, port: 5658, host: 'host.example.com' }],
    ['aaa://host.example.com:6666', { ...plain, host: 'host.example.com', port: 6666 }],
    ['aaa://host.example.com;transport=sctp', { ...plain, host: 'host.example.com', transport: 'sctp' }],
    [
      'aaa://host.example.com:1813;transport=udp;protocol=radius',
      { ...plain, host: 'host.example.com', port: 1813, transport: 'udp', protocol: 'radius' },
    ],
    ['aaa://host.example.com;protocol=diameter', { ...plain, host: 'host.example.com' }],
    ['http://host.example.com', undefined],
    ['aaa://', undefined],
    ['aaa://host.example.com:0', undefined],
    ['aaa://host.example.com:65536', undefined],
    ['aaa://host.example.com;transport=http', undefined],
    ['aaa://host example.com', undefined],
  ]
  for (const [text, expected] of table) t.strictSame(parseDiameterUri(text), expected, text)
  t.end()
})

void t.test('a Redirect-Host that is no DiameterURI is an invalid value', t => {
  const dictionary = loadDictionary()
  const answer = (uri: string): Buffer =>
    encodeTree(dictionary, {
      command: 'CCA',
      hopByHop: 1,
      endToEnd: 1,
      avps: [
        ['Session-Id', 'a;1;1'],
        ['Result-Code', 2001],
        ['Origin-Host', 'a'],
        ['Origin-Realm', 'b'],
        ['Auth-Application-Id', 4],
        ['CC-Request-Type', 1],
        ['CC-Request-Number', 0],
        ['Redirect-Host', uri],
      ],
    })
  t.ok(readTree(dictionary, answer('aaa://ocs2.example.net'), { depth: 16, avps: 100 }))
  t.throws(() => readTree(dictionary, answer('http://x'), { depth: 16, avps: 100 }), {
    message: 'Redirect-Host has no legal value for DiameterURI',
  })
  t.end()
})
