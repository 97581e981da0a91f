import t from 'tap'
import { systemClock, VirtualClock } from '../src/clock.js'

t.test('a virtual clock runs timers in the order of their times, those set on the way too', t => {
  const clock = new VirtualClock(1000)
  const ran: string[] = []
  const note = (what: string) => () => {
    ran.push(`${what}@${clock.monotonic()}`)
  }
  clock.setTimeout(note('late'), 30)
  clock.setTimeout(() => {
    note('early')()
    clock.setTimeout(note('nested'), 5)
  }, 10)
  clock.setTimeout(note('same time, set later'), 30)
  const cancelled = clock.setTimeout(note('cancelled'), 20)
  clock.clearTimeout(cancelled)
  clock.advance(29)
  t.same(ran, ['early@10', 'nested@15'])
  t.equal(clock.waiting, 2)
  clock.advance(1)
  t.same(ran.slice(2), ['late@30', 'same time, set later@30'])
  t.equal(clock.now(), 1030)
  t.end()
})

t.test('a step of the wall clock does not touch durations', t => {
  const clock = new VirtualClock(0)
  let ran = false
  clock.setTimeout(() => (ran = true), 10)
  clock.step(3_600_000)
  t.equal(ran, false)
  t.equal(clock.monotonic(), 0)
  t.equal(clock.now(), 3_600_000)
  t.end()
})

t.test('a timer of the system clock runs, and not after it was cleared', async t => {
  const ran: string[] = []
  await new Promise<void>(resolve => {
    const cleared = systemClock.setTimeout(() => ran.push('cleared'), 0)
    systemClock.clearTimeout(cleared)
    systemClock.setTimeout(() => {
      ran.push('kept')
      resolve()
    }, 1)
  })
  t.same(ran, ['kept'])
  t.ok(systemClock.monotonic() > 0)
  t.ok(systemClock.now() > Date.UTC(2020, 0))
})
