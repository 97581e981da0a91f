/** The spool on the disk, and what goes into it and out of it, with a charging function that the test speaks for. */
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import type { CreditOutcome, CreditRequest } from '../../src/charging/charging.js'
import { fromSpool, OutageCharging, toSpool, type BookingResult } from '../../src/charging/outage.js'
import { Spool, type SpoolFile, type SpoolOptions, type SpoolOutcome } from '../../src/charging/spool.js'
import { VirtualClock } from '../../src/clock.js'
import { standardProfile } from '../../src/config/profiles.js'
import { until } from '../support/ocsd-process.js'

interface LogLine {
  readonly event?: string
  readonly level: number
}

function aFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'spool')
}

function aSpool(directory: string, more: Partial<SpoolOptions> = {}) {
  const clock = new VirtualClock()
  const log: LogLine[] = []
  const outcomes: SpoolOutcome[] = []
  const spool = new Spool({
    directory,
    mostOctets: 1_000_000,
    clock,
    log: pino({ level: 'info' }, { write: line => void log.push(JSON.parse(line) as LogLine) }),
    metrics: { spooled: outcome => outcomes.push(outcome) },
    ...more,
  })
  spool.load()
  return { spool, clock, log, outcomes }
}

const entry = (n: number, length = 0) => {
  const key = `session ${n}`
  return { key, at: 1000 + n, text: JSON.stringify({ key, at: 1000 + n, request: 'x'.repeat(length) }) }
}

const keysOf = async (spool: Spool): Promise<string[]> => (await spool.take())?.entries.map(({ key }) => key) ?? []
const segments = (directory: string): string[] => readdirSync(directory).filter(name => /^\d/.test(name))

t.test('what is kept is on the disk, and the next run finds it', async t => {
  const directory = aFolder(t)
  const { spool } = aSpool(directory)
  t.equal(spool.entries, 0)
  t.equal(spool.oldestAt, undefined)
  t.equal(await spool.append(entry(1)), 'kept')
  t.equal(readFileSync(join(directory, '00000001.jsonl'), 'utf8'), `${entry(1).text}\n`, 'before it is said to be')
  t.equal(await spool.append(entry(2)), 'kept')
  t.equal(await spool.append(entry(1)), 'known', 'and once')
  // It is killed here: nothing is closed.
  const { spool: next, log } = aSpool(directory)
  t.equal(next.entries, 2)
  t.equal(next.oldestAt, 1001)
  t.match(log, [{ event: 'spool_found' }])
  t.equal(await next.append(entry(2)), 'known')
  t.equal(await next.append(entry(3)), 'kept')
  t.same(segments(directory), ['00000001.jsonl', '00000002.jsonl'], 'what an earlier run wrote is not appended to')
  const first = (await next.take())!
  t.same(
    first.entries.map(({ key }) => key),
    ['session 1', 'session 2'],
  )
  for (const each of first.entries) next.done(each)
  await next.remove(first.number)
  t.same(await keysOf(next), ['session 3'])
  t.equal(next.oldestAt, 1003)
  await next.close()
})

t.test('a segment that is half booked gives the rest, and is gone when it is booked whole', async t => {
  const directory = aFolder(t)
  const { spool } = aSpool(directory)
  for (const n of [1, 2, 3]) await spool.append(entry(n))
  spool.done((await spool.take())!.entries[0]!)
  const left = (await spool.take())!
  t.same(
    left.entries.map(({ key }) => key),
    ['session 2', 'session 3'],
  )
  t.equal(await spool.append(entry(1)), 'kept', 'what is booked and comes again is kept again')
  left.entries.forEach(each => spool.done(each))
  await spool.remove(left.number)
  t.same(await keysOf(spool), ['session 1'])
  spool.done(entry(1))
  await spool.remove(2)
  t.same(segments(directory), [])
  t.equal(await spool.take(), undefined)
})

t.test('a last line that is torn, and lines that are damaged, are passed over and told', async t => {
  const directory = aFolder(t)
  const { spool } = aSpool(directory)
  for (const n of [1, 2]) await spool.append(entry(n))
  await spool.close()
  const path = join(directory, '00000001.jsonl')
  const [one, two] = readFileSync(path, 'utf8').split('\n')
  writeFileSync(path, `${one}\n{"key":"session 9","at":\n${two}\n${entry(3).text.slice(0, 20)}`)
  const { spool: next, log } = aSpool(directory)
  t.equal(next.entries, 2)
  t.same(await keysOf(next), ['session 1', 'session 2'])
  t.match(
    log.filter(({ event }) => event === 'spool_damaged'),
    [{ lines: 2 }, { lines: 2 }],
  )
})

t.test('lines that are damaged while it runs are not waited for', async t => {
  const directory = aFolder(t)
  const { spool } = aSpool(directory)
  await spool.append(entry(1))
  writeFileSync(join(directory, '00000001.jsonl'), 'gone\n')
  const segment = (await spool.take())!
  t.same(segment.entries, [])
  await spool.remove(segment.number)
  t.equal(spool.entries, 0)
})

t.test('above its size it is full: that is told once a minute, and shown', async t => {
  const directory = aFolder(t)
  const { spool, clock, log, outcomes } = aSpool(directory, { mostOctets: 1_000 })
  t.equal(await spool.append(entry(1, 900)), 'kept')
  t.equal(spool.trouble, undefined)
  for (const n of [2, 3]) t.equal(await spool.append(entry(n, 900)), 'full')
  t.equal(log.filter(({ event }) => event === 'spool_full').length, 1)
  clock.advance(60_000)
  await spool.append(entry(2, 900))
  t.equal(log.filter(({ event }) => event === 'spool_full').length, 2)
  t.same(outcomes, ['kept', 'full', 'full', 'full'])
  t.equal(spool.entries, 1)
  const full = aSpool(directory, { mostOctets: 900 })
  t.match(full.spool.trouble, /full/, 'a start with less room says so')
  spool.done(entry(1))
  await spool.take()
  await spool.remove(1)
  t.equal(await spool.append(entry(2, 900)), 'kept', 'there is room again')
})

t.test('a disk that is full: it is told, nobody waits, and it goes on when there is room', async t => {
  const directory = aFolder(t)
  let full = true
  const openFile = async (path: string): Promise<SpoolFile> => open(full ? '/dev/full' : path, 'a')
  const { spool, log } = aSpool(directory, { openFile })
  t.equal(await spool.append(entry(1)), 'failed')
  t.match(spool.trouble, /cannot be written/)
  t.match(log, [{ event: 'spool_failed', level: 50 }])
  t.equal(spool.entries, 0)
  full = false
  t.equal(await spool.append(entry(1)), 'kept')
  t.equal(spool.trouble, undefined)
  t.same(await keysOf(spool), ['session 1'])
})

t.test('after an fsync that failed the file is cut back and another one is begun', async t => {
  const directory = aFolder(t)
  let failing = false
  const openFile = async (path: string): Promise<SpoolFile> => {
    const file = await open(path, 'ax')
    return {
      appendFile: data => file.appendFile(data),
      datasync: () => (failing ? Promise.reject(new Error('EIO')) : file.datasync()),
      truncate: length => file.truncate(length),
      close: () => file.close(),
    }
  }
  const { spool } = aSpool(directory, { openFile })
  t.equal(await spool.append(entry(1)), 'kept')
  failing = true
  t.equal(await spool.append(entry(2)), 'failed')
  failing = false
  t.equal(await spool.append(entry(3)), 'kept')
  t.same(segments(directory), ['00000001.jsonl', '00000002.jsonl'])
  t.equal(readFileSync(join(directory, '00000001.jsonl'), 'utf8'), `${entry(1).text}\n`)
  t.equal(spool.entries, 2)
})

t.test('what comes together shares an fsync, and nobody waits for a disk that hangs', async t => {
  const directory = aFolder(t)
  let syncs = 0
  const disk: { hangs?: Promise<void> } = {}
  const openFile = async (path: string): Promise<SpoolFile> => {
    const file = await open(path, 'ax')
    return {
      appendFile: data => file.appendFile(data),
      datasync: () => {
        syncs++
        return disk.hangs ?? file.datasync()
      },
      truncate: length => file.truncate(length),
      close: () => file.close(),
    }
  }
  const { spool, clock } = aSpool(directory, { openFile })
  const outcomes = await Promise.all(Array.from({ length: 100 }, (_, n) => spool.append(entry(n))))
  t.ok(outcomes.every(outcome => outcome === 'kept'))
  t.equal(syncs, 1)
  let release = (): void => undefined
  disk.hangs = new Promise(resolve => (release = resolve))
  const slow = spool.append(entry(200))
  await until('it is being written', () => syncs === 2)
  clock.advance(250)
  t.equal(await slow, 'slow')
  release()
  await spool.close()
  t.equal(spool.entries, 101)
})

const split = (unsplit: bigint) => ({ unsplit, before: 0n, after: 0n, indeterminate: 0n })

const aRequest = (parts: Partial<CreditRequest> = {}): CreditRequest => ({
  type: 'update',
  number: 1,
  sessionId: 'gw;1;1',
  originHost: 'gw.example.net',
  serviceContextId: '32251@3gpp.org',
  eventTime: 1_768_470_000_000,
  identities: [{ type: 'msisdn', value: '491701000001' }],
  lines: [
    {
      key: '10',
      ratingGroup: 10,
      serviceIdentifiers: [],
      requested: { octets: undefined, seconds: undefined, events: undefined, money: undefined },
      used: { octets: split(2n ** 52n), seconds: undefined, events: undefined, money: undefined },
      currency: undefined,
      threshold: true,
    },
  ],
  facts: { plmn: '26201', called: undefined, apn: 'internet', rat: undefined, direction: undefined },
  retransmitted: false,
  arrival: 1_768_470_000_123,
  arrivedAt: 17,
  profile: standardProfile,
  ...parts,
})

t.test('a request is the same when it comes out of the spool', t => {
  const request = aRequest()
  const spooled = toSpool(request)
  const read = fromSpool(spooled)!
  t.same(toSpool(read), spooled, 'but for members that are undefined')
  t.equal(read.lines[0]!.used.octets!.unsplit, 2n ** 52n)
  t.notOk(spooled.text.includes('\n'))
  t.equal(fromSpool({ ...spooled, text: '{"request":{"lines":[{"bigint":"x"}]}}' }), undefined)
  t.end()
})

/** Charging that says what the test wants; what is asked of it is noted. */
function anOutage(t: Test, directory: string) {
  const { spool, clock, log } = aSpool(directory)
  const asked: CreditRequest[] = []
  const results: BookingResult[] = []
  const state = { ready: true, say: (): CreditOutcome => ({ status: 'busy', how: 'unknown' }) }
  const outage = new OutageCharging({
    charging: {
      charge: async request => {
        asked.push(request)
        return Promise.resolve(state.say())
      },
    },
    spool,
    ready: () => state.ready,
    clock,
    log: pino({ level: 'info' }, { write: line => void log.push(JSON.parse(line) as LogLine) }),
    metrics: { booked: result => results.push(result) },
  })
  t.teardown(() => outage.stop())
  const tick = async (until_: () => boolean): Promise<void> =>
    until('the spool was looked at', () => {
      clock.advance(250)
      return until_()
    })
  return { outage, spool, clock, log, asked, results, state, tick }
}

const ended: CreditOutcome = { status: 'ended', how: 'new' }

t.test('reports that the store did not take go to the spool, and nothing else does', async t => {
  const { outage, spool, state } = anOutage(t, aFolder(t))
  state.ready = false
  const [line] = aRequest().lines
  const nothing = { octets: undefined, seconds: undefined, events: undefined, money: undefined }
  const cases: [string, CreditRequest, number][] = [
    ['an update with usage', aRequest(), 1],
    ['the same again', aRequest({ retransmitted: true }), 1],
    ['an update without usage', aRequest({ number: 2, lines: [{ ...line!, used: nothing }] }), 1],
    ['a first request', aRequest({ number: 0, type: 'initial', sessionId: 'gw;1;2' }), 1],
    ['an event', aRequest({ number: 0, type: 'event', sessionId: 'gw;1;3' }), 1],
    ['an end without usage, for what the session holds', aRequest({ number: 3, type: 'terminate', lines: [] }), 2],
  ]
  for (const [name, request, entries] of cases) {
    t.same(await outage.charge(request), { status: 'busy', how: 'unknown' }, name)
    t.equal(spool.entries, entries, name)
  }
  for (const how of ['late', 'new', 'again']) {
    state.say = () => ({ status: 'busy', how })
    await outage.charge(aRequest({ number: 9 }))
    t.equal(spool.entries, 2, `not what is booked: ${how}`)
  }
  for (const how of ['untrusted', 'moved']) {
    state.say = () => ({ status: 'busy', how })
    await outage.charge(aRequest({ sessionId: how }))
  }
  t.equal(spool.entries, 4, 'what the store lost, and accounts that change all the time')
})

t.test(
  'when the store is back they are booked in the order of their session, without grant, in their time',
  async t => {
    const directory = aFolder(t)
    const { outage, spool, clock, asked, results, state, tick } = anOutage(t, directory)
    for (const number of [1, 2, 3]) await outage.charge(aRequest({ number }))
    asked.length = 0
    await tick(() => asked.length >= 1)
    t.equal(spool.entries, 3, 'still away: nothing is booked')
    t.equal(results.length, 0)
    state.say = () => ended
    asked.length = 0
    await tick(() => spool.entries === 0)
    t.same(
      asked.map(({ number, booking, arrival }) => [number, booking, arrival]),
      [1, 2, 3].map(number => [number, true, 1_768_470_000_123]),
    )
    t.ok(asked[0]!.arrivedAt > 17 && asked[0]!.arrivedAt <= clock.monotonic(), 'they may wait from now on')
    t.same(results, ['booked', 'booked', 'booked'])
    await until('the segment is gone', () => segments(directory).length === 0)
  },
)

t.test('what an earlier run left is booked by the next', async t => {
  const directory = aFolder(t)
  const first = anOutage(t, directory)
  first.state.ready = false
  await first.outage.charge(aRequest())
  await first.outage.stop()
  const next = anOutage(t, directory)
  next.state.say = () => ended
  next.outage.start()
  await next.tick(() => next.spool.entries === 0)
  t.same(next.results, ['booked'])
})

t.test('what cannot be booked is told and kept aside; an unknown session is counted', async t => {
  const directory = aFolder(t)
  const { outage, spool, log, results, state, tick } = anOutage(t, directory)
  state.ready = false
  const says: (() => CreditOutcome)[] = [
    () => ({ status: 'unknown_session' }),
    () => ({ status: 'too_large', line: '10' }),
    () => {
      throw new Error('a defect')
    },
  ]
  for (const number of [1, 2, 3]) await outage.charge(aRequest({ number }))
  state.say = () => says.shift()!()
  state.ready = true
  await tick(() => spool.entries === 0)
  t.same(results, ['unknown', 'rejected', 'rejected'])
  const aside = readFileSync(join(directory, 'rejected.jsonl'), 'utf8').trimEnd().split('\n')
  t.same(
    aside.map(text => fromSpool({ key: '', at: 0, text })!.number),
    [2, 3],
  )
  t.equal(log.filter(({ event }) => event === 'spool_rejected').length, 2)
})

t.test('a line whose request cannot be read is kept aside, too', async t => {
  const directory = aFolder(t)
  const { outage } = anOutage(t, directory)
  await outage.stop()
  appendFileSync(join(directory, '00000001.jsonl'), '{"key":"a 1","at":5,"request":{"n":{"bigint":"x"}}}\n')
  const next = anOutage(t, directory)
  next.outage.start()
  await next.tick(() => next.spool.entries === 0)
  t.same(next.results, ['rejected'])
  t.ok(existsSync(join(directory, 'rejected.jsonl')))
})
