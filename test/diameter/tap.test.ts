/** Messages that are written together are heard one by one, each whole. */
import t from 'tap'
import { tapWritten, type TapDirection, type TappedConnection } from '../../src/diameter/tap.js'
import { vector } from '../support/vectors.js'

t.test('what leaves as one write is heard message by message', t => {
  const messages = ['C01', 'C05', 'C12'].map(vector)
  const heard: [TapDirection, Buffer][] = []
  const connection: TappedConnection = {
    peer: undefined,
    remote: { address: '192.0.2.1', port: 40_000 },
    local: { address: '192.0.2.2', port: 3868 },
  }
  tapWritten(
    { listening: true, message: (direction, _, octets) => heard.push([direction, Buffer.from(octets)]) },
    connection,
    Buffer.concat(messages),
  )
  t.same(
    heard,
    messages.map(octets => ['out', octets]),
  )
  t.end()
})
