import t from 'tap'
import { VirtualClock } from '../../src/clock.js'
import type { Pending } from '../../src/diameter/own-requests.js'
import { EndToEndIds, PendingRequests } from '../../src/diameter/own-requests.js'

const aRequest = (endToEnd = 7): Pending => ({
  flags: 0x80,
  commandCode: 258,
  applicationId: 4,
  endToEnd,
  body: Buffer.alloc(0),
  destinationHost: 'pgw1.example.net',
  via: undefined,
  failover: true,
  settle: () => undefined,
  timer: undefined,
  carrier: undefined,
  hopByHop: 0,
})

const answerTo = ({ hopByHop, endToEnd, commandCode }: Pending, change = {}) => ({
  ...{ version: 1, length: 20, flags: 0, commandCode, applicationId: 4, hopByHop, endToEnd },
  ...change,
})

t.test('BASE-011: Hop-by-Hop identifiers differ among 10,000 pending requests, across the wrap too', t => {
  const pending = new PendingRequests(() => 1 - 1 / 2 ** 32)
  const ids = Array.from({ length: 10_000 }, () => {
    const request = aRequest()
    pending.add(request)
    return request.hopByHop
  })
  t.equal(new Set(ids).size, 10_000)
  t.equal(Math.max(...ids), 2 ** 32 - 1)
  t.ok(ids.includes(0))
  t.end()
})

t.test('BASE-014: an answer is taken once, and only with all identifiers right', t => {
  const pending = new PendingRequests(() => 0)
  const request = aRequest()
  pending.add(request)
  t.equal(pending.take(answerTo(request, { hopByHop: 99 })), undefined)
  t.equal(pending.take(answerTo(request, { endToEnd: 8 })), undefined)
  t.equal(pending.take(answerTo(request, { commandCode: 274 })), undefined)
  t.equal(pending.take(answerTo(request)), request)
  t.equal(pending.take(answerTo(request)), undefined)
  t.equal(pending.size, 0)
  t.end()
})

t.test('BASE-012: End-to-End identifiers repeat neither within four minutes nor over a restart', t => {
  const clock = new VirtualClock()
  const seen = new Set<number>()
  let ids = new EndToEndIds(clock, () => 0.999_999)
  for (let second = 0; second < 240; second++) {
    if (second % 60 === 30) ids = new EndToEndIds(clock, () => 0.999_999) // a restart that draws the same number
    for (let i = 0; i < 50; i++) seen.add(ids.next())
    clock.advance(1000)
  }
  t.equal(seen.size, 240 * 50)
  t.end()
})

t.test('only what may go elsewhere leaves a suspect connection; all leaves a dead one', t => {
  const pending = new PendingRequests(() => 0)
  const watchdog: Pending = { ...aRequest(), commandCode: 280, failover: false }
  const reAuth = aRequest()
  pending.add(watchdog)
  pending.add(reAuth)
  t.same(pending.drain(false), [reAuth])
  t.same(pending.drain(true), [watchdog])
  t.equal(pending.size, 0)
  t.end()
})
