/** Damaged requests over a real socket: each is answered once, as every answer must look, and the connection lives. */
import t from 'tap'
import { startServer } from '../support/diameter-server.js'
import { damaged, randomOf } from '../support/damage.js'
import { seed } from '../support/seed.js'
import { aCcr, checkEverythingReceived, RawClient } from '../support/raw-client.js'
import { vector } from '../support/vectors.js'

/** Session-Id, those of routing, and some that a CCR has in groups. */
const codes = [258, 263, 264, 268, 279, 282, 283, 284, 293, 296, 415, 416, 437, 443, 446, 456]

t.test(`3,000 damaged CCRs get 3,000 answers (SEED=${seed})`, async t => {
  const { port, server, metrics } = await startServer(t)
  const random = randomOf(seed)
  const relay = await RawClient.peer(t, { port }, vector('B05'))
  const originals = ['C01', 'C08', 'C24', 'X0'].map(vector)
  const results = new Map<unknown, number>()
  for (let batch = 0; batch < 30; batch++) {
    const requests = Array.from({ length: 100 }, (_, i) => {
      const request = damaged(originals[random(originals.length)]!, random, codes)
      request.writeUInt32BE(i, 12) // Hop-by-Hop: answers may come in any order
      return request
    })
    relay.send(...requests)
    const answers = await relay.take(100)
    t.same(new Set(answers.map(answer => answer.header.hopByHop)).size, 100)
    for (const answer of answers) {
      const resultCode = answer.value('Result-Code')
      results.set(resultCode, (results.get(resultCode) ?? 0) + 1)
    }
  }
  t.comment(Object.fromEntries(results))
  for (const code of [2001, 5001, 5004, 5005, 5009, 5014]) t.ok(results.get(code), `${code} was among them`)
  t.equal(metrics.internalErrors, 0, 'and no fault of ours')
  t.equal((await relay.ask(aCcr())).value('Result-Code'), 2001)
  t.equal(server.peers().length, 1)
  checkEverythingReceived(t)
})
