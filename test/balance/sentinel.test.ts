/**
 * A Store that asks Sentinels for its master: charging goes on over a failover. Replication is asynchronous, so the last
 * charges that the old master acknowledged may be lost with it; what the new master has, it has once and whole.
 */
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { RedisAccounts } from '../../src/balance/accounts.js'
import { Balance, type ChargeAnswer } from '../../src/balance/balance.js'
import { journalKey, partitionOf } from '../../src/balance/keys.js'
import { BalanceUnavailableError, Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import type { StoreConfig } from '../../src/config/config.js'
import { aProgram, Session } from '../support/charging.js'
import { client, startWatched } from '../support/sentinel.js'
import { chargingConfig, noMetrics, partitions } from '../support/store.js'
import { until } from '../support/ocsd-process.js'

const opening = 100_000_000n
const used = 100n // octets of a request, a micro each
const program = aProgram({ num: 1n })
const budgetMs = chargingConfig.holdBudgetMs
/** The longest pause before a retry: a call gives up this long before its deadline, at most. */
const lastPauseMs = 400
/** Charges of each session before the master dies, and after the failover. */
const enough = 30

const watched = await startWatched(t)

function aStore(t: Test, config: StoreConfig): Store {
  const store = new Store({
    config,
    address: {},
    log: pino({ level: 'silent' }),
    metrics: noMetrics,
    clock: systemClock,
  })
  t.teardown(() => store.close())
  return store
}

/** The requests of one session, one after the other, each repeated until it is answered. */
class Stream {
  /** First answers by number: how, and what the session had paid. */
  readonly answers = new Map<number, ChargeAnswer>()
  /** Calls that ended without an answer: how long before their deadline, ms. */
  readonly gaveUp: number[] = []
  private stopping = false

  constructor(readonly session: Session) {}

  send(number: number): Promise<ChargeAnswer | string> {
    const lines = [{ key: '10', used: number === 0 ? 0n : used, wanted: undefined, threshold: false, program }]
    const [deadline, deadlineMonotonic] = [Date.now() + budgetMs - 250, performance.now() + budgetMs]
    return this.session.charge(number === 0 ? 'I' : 'U', number, lines, { deadline, deadlineMonotonic })
  }

  async run(): Promise<void> {
    for (let number = 0; !this.stopping;) {
      const deadline = performance.now() + budgetMs
      try {
        const answer = await this.send(number)
        if (typeof answer === 'string') throw new Error(`request ${number} was answered ${answer}`)
        this.answers.set(number++, answer)
      } catch (error) {
        if (!(error instanceof BalanceUnavailableError)) throw error
        this.gaveUp.push(deadline - performance.now())
      }
    }
  }

  stop(): void {
    this.stopping = true
  }
}

t.test('charging goes on over a failover, and the new master has every charge once', async t => {
  const store = aStore(t, watched.config)
  await store.open(5000)
  const balance = new Balance(store, partitions, chargingConfig, systemClock)
  const accounts = new RedisAccounts(store, partitions, chargingConfig, systemClock)
  const streams: Stream[] = []
  for (let i = 0; i < 4; i++) {
    const money = i === 0 ? opening : 0n // the account is created once
    streams.push(new Stream(await Session.open(t, { balance, accounts }, { account: 'alice', money, credit: 0n })))
  }
  t.match(await streams[0]!.send(0), { how: 'new', outcome: 'ok' }, 'a charge works')
  const running = Promise.all(streams.map(stream => stream.run()))
  const all = (count: number) => (): boolean => streams.every(({ answers }) => answers.size >= count)

  await Promise.race([running, until('charges are under way', all(enough))])
  t.equal(await store.redis.wait(1, 1000), 1, 'the replica has the sessions')
  await watched.master.kill('SIGKILL')
  const acknowledged = new Map(streams.map(stream => [stream, new Set(stream.answers.keys())]))
  const most = Math.max(...streams.map(({ answers }) => answers.size))
  await Promise.race([running, until('charges are answered again', all(most + enough))])
  streams.forEach(stream => stream.stop())
  await running

  t.equal(store.redis.stream.remotePort, watched.replicaPort, 'answered by what was the replica')
  t.same(
    streams.flatMap(({ gaveUp }) => gaveUp).filter(left => left > lastPauseMs),
    [],
    'no call ended before its deadline',
  )

  const survivor = client(t, watched.replicaPort)
  const partition = partitionOf('alice', partitions)
  /** Reads the journal, and checks that the account is the sum of it. */
  const charges = async (): Promise<string[]> => {
    const stream = await survivor.xrange(journalKey(partition), '-', '+')
    const entries = stream.map(([, [, text]]) => JSON.parse(text!) as Entry)
    t.same(
      entries.map(({ seq }) => seq),
      entries.map((_, i) => i + 1),
      'sequence numbers have no gap',
    )
    const made = entries
      .filter(({ kind }) => kind === 'charge')
      .map(({ session, number }) => `${String(session)} ${String(number)}`)
    t.equal(new Set(made).size, made.length, 'no request is in the journal twice')
    const paying = made.filter(request => !request.endsWith(' 0')).length
    t.match(
      await accounts.show('alice'),
      { money: opening - used * BigInt(paying), debt: 0n },
      'money is what was opened with, less the charges',
    )
    return made
  }
  const made = new Set(await charges())
  const nameOf = ({ session }: Stream, number: number): string => `${session.id} ${number}`
  const lost = streams
    .flatMap(stream => [...stream.answers.keys()].map(number => ({ stream, number })))
    .filter(({ stream, number }) => !made.has(nameOf(stream, number)))
  t.ok(
    lost.every(({ stream, number }) => acknowledged.get(stream)!.has(number)),
    'what is lost, the old master had acknowledged',
  )
  t.comment(`${made.size} charges on the new master, ${lost.length} lost with the old one`)

  const wrong: string[] = []
  for (const stream of streams) {
    for (const [number, first] of stream.answers) {
      const answer = await stream.send(number)
      const how = typeof answer === 'string' ? answer : answer.how
      const fits = made.has(nameOf(stream, number))
        ? how === 'old' || (how === 'again' && (answer as ChargeAnswer).charged === first.charged)
        : how === 'new' || how === 'reordered'
      if (!fits) wrong.push(`${nameOf(stream, number)}: ${how}`)
    }
    t.match(await stream.send(Math.max(...stream.answers.keys())), { how: 'again' }, 'the last one is still known')
  }
  t.same(wrong, [], 'a repeat gets its first answer, or that it was answered; what was lost is applied')
  t.equal((await charges()).length, made.size + lost.length, 'a repeat applies what was lost, and nothing else')
})

t.test('a Sentinel that is frozen is passed over', async t => {
  const [frozen] = watched.sentinels
  frozen!.kill('SIGSTOP')
  t.teardown(() => frozen!.kill('SIGCONT'))
  const store = aStore(t, watched.config)
  await store.open(5000)
  t.equal(await store.call('ping', store.deadlineIn(1000), redis => redis.ping()), 'PONG')
})

interface Entry {
  readonly seq: number
  readonly kind: string
  readonly session?: string
  readonly number?: number
}
