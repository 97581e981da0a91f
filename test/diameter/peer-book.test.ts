/** What is remembered of peers: counts by class, the last error, who was refused; all of it bounded. */
import t from 'tap'
import { VirtualClock } from '../../src/clock.js'
import { PeerBook, Tally } from '../../src/diameter/peer-book.js'

const clock = new VirtualClock()
const refusal = (originHost: string | undefined): Parameters<PeerBook['refused']>[0] => ({
  ...{ at: clock.now(), rejection: 'unknown_peer', resultCode: 3010, message: 'who is it', originHost, address: '::1' },
})

t.test('answers are counted by class; only 3xxx and 5xxx are errors; the base protocol is not counted', t => {
  const tally = new Tally()
  for (const code of [2001, 2001, 4012, 5030, 3004, 0, 9999]) tally.answerOut(272, code, clock)
  tally.answerIn(258, 2002, clock)
  for (const command of [257, 280, 282]) tally.requestIn(command)
  tally.requestIn(272)
  tally.answerOut(280, 2001, clock)
  t.same(tally.answersOut, [2, 0, 2, 1, 1, 1])
  t.same(tally.answersIn, [0, 0, 1, 0, 0, 0])
  t.equal(tally.requestsIn, 1)
  t.match(tally.lastError, { direction: 'out', resultCode: 3004 })
  tally.answerOut(272, 4010, clock)
  t.match(tally.lastError, { resultCode: 3004 }, 'what is 4xxx is every day’s business')
  t.end()
})

t.test('counts go on over connections, whatever case the name is written in', t => {
  const book = new PeerBook(['*'])
  const first = book.opened({ name: 'row', originHost: 'PGW1.example.net' }, () => false)
  first.requestIn(272)
  const second = book.opened({ name: 'other', originHost: 'pgw1.example.net' }, () => false)
  t.equal(second, first)
  t.match(book.tallyOf('Pgw1.Example.net'), { row: 'other', connections: 2, requestsIn: 1 })
  t.end()
})

t.test('a flood of names is not remembered, and those that are connected are never forgotten', t => {
  const book = new PeerBook(['named.example.net'])
  book.opened({ name: 'row', originHost: 'connected.example.net' }, () => true)
  for (let i = 0; i < 5_000; i++) {
    book.opened({ name: 'row', originHost: `pgw${i}.example.net` }, host => host === 'connected.example.net')
    book.refused(refusal(`stranger${i}.example.net`))
  }
  t.ok(book.known().length <= 2_001, `${book.known().length} are known`)
  t.ok(book.tallyOf('connected.example.net'))
  t.equal(book.unknown().length, 20)
  t.equal(book.unknown().at(-1)?.originHost, 'stranger4999.example.net')
  book.refused(refusal('NAMED.example.net'))
  t.match(book.refusalOf('named.example.net'), { resultCode: 3010 }, 'one that a row names has its own')
  book.refused(refusal('x'.repeat(5_000)))
  t.equal(book.unknown().at(-1)?.originHost?.length, 255)
  book.refused(refusal(undefined))
  t.equal(book.unknown().at(-1)?.originHost, undefined)
  t.end()
})
