/**
 * Random histories of several accounts and sessions, against the real scripts and against the model of test/support/model.ts.
 * After every command the reply, the balances, the holds, the session lines and the ledger must be what the model says,
 * and the invariants of the semantics (section 11) must hold.
 *
 * HISTORIES: how many (300). SEED: of the random numbers; printed.
 */
import fc from 'fast-check'
import t from 'tap'
import { RedisAccounts } from '../../src/balance/accounts.js'
import type { ChargeOutcome, ChargeRequest } from '../../src/balance/balance.js'
import { accountKey, dueKey, hash32, journalKey, partitionOf, sessionKey } from '../../src/balance/keys.js'
import { StoreDefectError } from '../../src/balance/store.js'
import { systemClock, type Clock } from '../../src/clock.js'
import { compileRate } from '../../src/rating/price.js'
import { micros, units, type UnitType } from '../../src/units.js'
import { costOf, lastNumber, Model, type ModelProgram, type ModelRate, type ModelRequest } from '../support/model.js'
import { chargingConfig, partitions, startStore } from '../support/store.js'

const histories = Number(process.env['HISTORIES'] ?? 300)
// Under CI the same histories each time, so that a red run is about the change; everywhere else new ones.
const seed = Number(process.env['SEED'] ?? (process.env['CI'] ? 20_261_122 : Date.now() % 2 ** 31))

// What may be charged by.

const rates = new Map<string, ModelRate>()

function rate(unit: UnitType, amount: bigint, per: bigint, step: bigint, first = 0n): ModelRate & { text: string } {
  const compiled = compileRate({
    name: 'r',
    unit,
    amount: micros(amount),
    per: units(per),
    step: units(step),
    first: units(first),
  })
  if (!('rate' in compiled)) throw new Error(compiled.problem)
  const { id, num, den, tick } = compiled.rate
  const made = { id, amount, per, step, first, text: `${id} ${num} ${den} ${step} ${first} ${tick}` }
  rates.set(id, made)
  return made
}

interface Program extends ModelProgram {
  readonly text: string
}

const kinds = { pay: 0, free: 0, deny: 4010, unrated: 0 }

function program(
  unit: UnitType,
  parts: {
    kind?: keyof typeof kinds
    buckets?: string[]
    rate?: ModelRate & { text: string }
    validity?: number
    code?: number
  },
): Program {
  const { kind = 'pay', buckets = [], rate, validity = 600, code = kinds[kind] } = parts
  const rest = `${unit} service rule#1 ${validity} ${validity},0,terminate ${buckets.join(',') || '-'} ${rate?.text ?? '- 0 1 1 0 1'} ${code}`
  const id = hash32(kind + rest).toString(36)
  return { kind, id, unit, validity, buckets, rate, code, text: `${kind} ${id} ${rest}` }
}

const payg = rate('octets', 10_000n, 1_000_000n, 100_000n)
const dear = rate('octets', 20_000n, 1_000_000n, 100_000n)
const odd = rate('octets', 7n, 300n, 10n, 25n)
const fine = rate('octets', 9_990_000n, 2n ** 40n, 2n ** 20n)
const huge = rate('octets', 90n, 1n, 1n)
const voice = rate('seconds', 60_000n, 60n, 1n, 30n)
const started = rate('seconds', 100_000n, 60n, 60n)
const thirds = rate('seconds', 1n, 3n, 2n, 7n)
const sms = rate('events', 50_000n, 1n, 1n)

const octetPrograms = [
  program('octets', { rate: payg }),
  program('octets', { rate: payg, buckets: ['data'] }),
  program('octets', { rate: payg, buckets: ['data', 'extra'], validity: 3600 }),
  program('octets', { rate: dear, buckets: ['data'], validity: 60 }),
  program('octets', { rate: odd }),
  program('octets', { rate: fine }),
  program('octets', { rate: huge }),
  program('octets', { buckets: ['extra', 'data'] }),
  program('octets', { kind: 'free' }),
  program('octets', { kind: 'free', code: 4011 }),
  program('octets', { kind: 'deny' }),
  program('octets', { kind: 'deny', code: 5003 }),
  program('octets', { kind: 'unrated' }),
]
const secondPrograms = [
  program('seconds', { rate: voice, buckets: ['minutes'] }),
  program('seconds', { rate: started, validity: 60 }),
  program('seconds', { rate: thirds }),
  program('seconds', { kind: 'free' }),
]
const lineKinds: { key: string; programs: Program[] }[] = [
  { key: '10', programs: octetPrograms },
  { key: '20', programs: octetPrograms },
  { key: '10/1,2', programs: secondPrograms },
  { key: '-', programs: [program('events', { rate: sms }), program('events', { rate: sms, validity: 60 })] },
]

// What may happen.

const often = <T>(value: T, weight: number): { arbitrary: fc.Arbitrary<T>; weight: number } => ({
  arbitrary: fc.constant(value),
  weight,
})
const amount = fc.oneof(
  often(0n, 2),
  { arbitrary: fc.bigInt(1n, 70n), weight: 3 },
  { arbitrary: fc.bigInt(1n, 400_000n), weight: 4 },
  { arbitrary: fc.bigInt(1n, 20_000_000n), weight: 2 },
  {
    arbitrary: fc.constantFrom(
      100_000n,
      1_000_000n,
      99_999_999n,
      999_999_999n,
      10n ** 14n - 1n,
      10n ** 14n,
      5n * 10n ** 13n,
    ),
    weight: 1,
  },
)
const line = fc.record({
  kind: fc.oneof(often(0, 5), often(1, 3), often(2, 2), often(3, 1)),
  program: fc.oneof(often(0, 4), { arbitrary: fc.nat(20), weight: 5 }),
  used: amount,
  wanted: fc.option(amount, { freq: 5, nil: undefined }),
  threshold: fc.oneof(often(false, 5), often(true, 1)),
})
const charge = fc.record({
  do: fc.constant('charge' as const),
  session: fc.nat(5),
  type: fc.oneof(often('next' as const, 14), often('T' as const, 2), often('I' as const, 1)),
  number: fc.oneof(
    often('next' as const, 12),
    often('repeat' as const, 3),
    often('other content' as const, 1),
    often('gap' as const, 1),
    often('fill' as const, 2),
  ),
  back: fc.nat(7),
  lines: fc.uniqueArray(line, { selector: ({ kind }) => kind, maxLength: 4 }),
  past: fc.oneof(often(false, 14), often(true, 1)),
  moved: fc.oneof(often(false, 40), often(true, 1)),
  otherSubscriber: fc.oneof(often(false, 40), often(true, 1)),
  atOffset: fc.oneof(often(0, 4), { arbitrary: fc.integer({ min: -290_000, max: 290_000 }), weight: 1 }),
})
const command = fc.oneof(
  { arbitrary: charge, weight: 24 },
  {
    arbitrary: fc.record({
      do: fc.constant('recharge' as const),
      account: fc.nat(2),
      amount: fc.constantFrom(1n, 3000n, 50_000n, 1_000_000n, 2n ** 52n),
      reference: fc.nat(8),
    }),
    weight: 3,
  },
  {
    arbitrary: fc.record({
      do: fc.constant('status' as const),
      account: fc.nat(2),
      status: fc.constantFrom('suspended' as const, 'active' as const, 'active' as const, 'active' as const),
    }),
    weight: 1,
  },
  {
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(1, 1000, 61_000, 121_000, 700_000, 1_300_000, 3_700_000, 7_300_000),
    }),
    weight: 4,
  },
  {
    arbitrary: fc.record({ do: fc.constant('sweep' as const), skewed: fc.oneof(often(false, 8), often(true, 1)) }),
    weight: 4,
  },
  { arbitrary: fc.record({ do: fc.constant('expire' as const), session: fc.nat(5) }), weight: 1 },
  { arbitrary: fc.record({ do: fc.constant('release' as const), session: fc.nat(5) }), weight: 1 },
  { arbitrary: fc.record({ do: fc.constant('forget' as const), session: fc.nat(5) }), weight: 2 },
)
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never
const account = fc.record({
  money: fc.constantFrom(0n, 3500n, 20_000n, 300_000n, 5_000_000n, 2n ** 52n - 10n ** 9n),
  credit: fc.oneof(often(0n, 3), often(50_000n, 1), often(1_000_000n, 1)),
  buckets: fc.array(
    fc.record({
      name: fc.constantFrom('data', 'data', 'extra', 'minutes'),
      amount: fc.constantFrom(1n, 300_000n, 5_000_000n, 45n, 10n ** 14n),
      priority: fc.integer({ min: 1, max: 3 }),
      endsIn: fc.constantFrom(0, 0, 60_000, 1_900_000, 5_000_000),
    }),
    { maxLength: 4 },
  ),
})
const history = fc.tuple(
  fc.tuple(account, account, account),
  fc.array(command, { minLength: 1, maxLength: 80, size: 'max' }),
)

// The real thing.

const { balance, store } = await startStore(t)
const start = Date.UTC(2026, 0, 15, 12)
const longest = 20 * 3_600_000 // marks are looked for 24 hours back

interface Sent {
  readonly request: ModelRequest
  readonly kinds: readonly number[]
}

/** One history: the world, its model, and what was sent. */
class World {
  now = start
  readonly model = new Model({ silence: chargingConfig.silence, defaultValidityMs: chargingConfig.defaultValidityMs })
  private readonly clock: Clock = { ...systemClock, now: () => this.now }
  readonly accounts = new RedisAccounts(store, partitions, chargingConfig, this.clock)
  private readonly sent = new Map<string, Map<number, Sent>>()
  /** Ledger: the last entry read of each journal, and what it says of each balance. */
  private readonly lastEntry = new Map<string, string>()
  private readonly ledger = new Map<string, bigint>()
  private readonly usedInLedger = new Map<string, bigint>()

  constructor(private readonly ids: readonly string[]) {}

  static async make(
    set: readonly {
      money: bigint
      credit: bigint
      buckets: readonly { name: string; amount: bigint; priority: number; endsIn: number }[]
    }[],
  ): Promise<World> {
    await store.redis.flushall()
    const world = new World(set.map((_, i) => `account-${i}`))
    for (const [i, { money, credit, buckets }] of set.entries()) {
      const id = `account-${i}`
      const made = buckets.map((bucket, b) => ({
        ...bucket,
        id: `1-${b + 1}`,
        ends: bucket.endsIn && start + bucket.endsIn,
      }))
      world.model.accounts.set(id, {
        id,
        status: 'active',
        creditLimit: credit,
        money,
        debt: 0n,
        entries: 1,
        buckets: made.map(b => ({ ...b })),
      })
      const unit = (name: string): UnitType => (name === 'minutes' ? 'seconds' : 'octets')
      await world.accounts.create(
        { id, currency: 'EUR', creditLimit: micros(credit), status: 'active' },
        {
          identities: [{ type: 'nai', value: `${id}@test` }],
          offers: [
            {
              offer: 'test',
              buckets: made.map(b => ({
                name: b.name,
                unit: unit(b.name),
                amount: units(b.amount),
                priority: b.priority,
                until: b.ends || undefined,
                origin: 'test',
              })),
            },
          ],
        },
        micros(money),
        'admin',
      )
    }
    return world
  }

  async play(command: Command): Promise<void> {
    const { model } = this
    switch (command.do) {
      case 'charge':
        return this.charge(command)
      case 'recharge': {
        const id = this.ids[command.account]!
        const outcome = await this.accounts.recharge({
          account: id,
          amount: micros(command.amount),
          currency: 'EUR',
          channel: 'test',
          reference: String(command.reference),
          actor: 'test',
        })
        const said =
          'money' in outcome ? `${outcome.status} ${outcome.money} ${outcome.debt} ${outcome.sequence}` : outcome.status
        same('recharge', said, model.recharge(id, command.amount, String(command.reference)))
        return
      }
      case 'status': {
        const id = this.ids[command.account]!
        await this.accounts.setStatus(id, command.status, 'test')
        model.setStatus(id, command.status)
        return
      }
      case 'pass':
        if (this.now + command.ms < start + longest) this.now += command.ms
        return
      case 'sweep':
        return this.sweep(command.skewed)
      case 'expire':
        return this.expire(sessionName(command.session), this.accountOf(command.session))
      case 'release': {
        const id = sessionName(command.session)
        if (!model.sessions.get(id)?.open) return
        same('release', await this.accounts.release(id, 'test'), 'released')
        same('release', model.expire(id, this.now, true), 'silent')
        return
      }
      case 'forget': {
        const id = sessionName(command.session)
        const session = model.sessions.get(id)
        if (!session || session.open || session.silent) return
        await store.redis.del(sessionKey(partitionOf(session.account, partitions), id))
        model.forget(id)
        return
      }
    }
  }

  /** The accounts that a command can change. */
  touchedBy(command: Command): readonly string[] {
    if ('session' in command) return [this.accountOf(command.session)]
    if ('account' in command) return [this.ids[command.account]!]
    return command.do === 'pass' ? [] : this.ids
  }

  private async charge(command: Extract<Command, { do: 'charge' }>): Promise<void> {
    const { model } = this
    const id = sessionName(command.session)
    const session = model.sessions.get(id)
    const sent = this.sent.get(id) ?? new Map<number, Sent>()
    this.sent.set(id, sent)
    const last = session ? lastNumber(session) : (model.marks.get(id)?.number ?? -1)
    const unanswered = Array.from({ length: last + 1 }, (_, n) => n).filter(
      n => n > (session?.marked ?? -1) && !session?.answers.has(n),
    )
    let number = last + 1
    if (command.number === 'gap') number += 1 + (command.back % 3)
    if (command.number === 'fill' && unanswered.length > 0) number = unanswered[command.back % unanswered.length]!
    const old =
      command.number === 'repeat' || command.number === 'other content'
        ? sent.get(last - (command.back % (last + 1)))
        : undefined
    let lines = old
      ? old.request.lines.map((line, i) => ({
          ...line,
          program: pick(lineKinds[old.kinds[i]!]!.programs, command.past ? command.back : 0, line.program),
        }))
      : command.lines.map(({ kind, program, ...rest }) => ({
          key: lineKinds[kind]!.key,
          ...rest,
          program: pick(lineKinds[kind]!.programs, program),
        }))
    if (command.number === 'other content') lines = lines.map(line => ({ ...line, used: line.used + 1n }))
    const type = old ? old.request.type : command.type !== 'next' ? command.type : session ? 'U' : 'I'
    const subscriber = old ? old.request.subscriber : command.otherSubscriber ? '2' : '1'
    const request: ModelRequest = {
      type,
      number: old ? old.request.number : number,
      content: hash32(
        JSON.stringify([
          type,
          subscriber,
          lines.map(({ key, used, wanted, threshold }) => [key, String(used), String(wanted), threshold]),
        ]),
      ).toString(36),
      session: id,
      account: this.accountOf(command.session),
      subscriber,
      at: this.now + command.atOffset,
      now: this.now,
      past: command.past,
      moved: command.moved,
      lines,
    }
    if (!old) sent.set(number, { request, kinds: command.lines.map(({ kind }) => kind) })
    let reply = await this.send(request, false)
    if (reply === 'unknown_session') reply = await this.send(request, true)
    const kept = typeof reply !== 'string' && reply.how !== 'old'
    same('reply', reply, model.charge(request, kept))
  }

  private async send(request: ModelRequest, searchEnded: boolean): Promise<string | { how: string; lines: unknown }> {
    const { past, moved, session: sessionId, ...rest } = request
    const full: ChargeRequest = {
      ...rest,
      sessionId,
      rev: moved ? '0' : '1',
      currency: 'EUR',
      deadline: Date.now() + (past ? -1000 : 60_000),
      deadlineMonotonic: performance.now() + 10_000,
      cause: `"kind":"charge","session":"${sessionId}","number":${request.number}`,
      originHost: 'gw.example',
      searchEnded,
      lines: request.lines.map(line => ({ ...line, program: (line.program as Program).text })),
    }
    let outcome: ChargeOutcome
    try {
      outcome = await balance.charge(full)
    } catch (error) {
      if (error instanceof StoreDefectError && error.message.startsWith('charge: defect')) return 'defect'
      throw error
    }
    if (outcome.status === 'too_large') return `too_large ${outcome.line}`
    if (outcome.status !== 'answered') return outcome.status
    return {
      ...outcome.answer,
      lines: outcome.answer.lines.map(line =>
        Object.fromEntries(Object.entries(line).filter(([name]) => name !== 'terms')),
      ),
    }
  }

  /** Everything that `due` says is due, as the sweeper does it. */
  private async sweep(skewed: boolean): Promise<void> {
    for (const id of this.ids) {
      const partition = partitionOf(id, partitions)
      for (const member of await store.redis.zrangebyscore(dueKey(partition), '-inf', this.now)) {
        const [kind, owner, name] = member.split(' ')
        if (owner !== id) continue
        if (kind === 'session') await this.expire(name!, id, skewed)
        else await this.expireBucket(id, name!, skewed)
      }
    }
  }

  private async expire(session: string, account: string, skewed = false): Promise<void> {
    const p = partitionOf(account, partitions)
    const offset = this.now - Date.now() + (skewed ? 40_000 : 0)
    const reply = await store.redis.expireSession(
      accountKey(p, account),
      sessionKey(p, session),
      dueKey(p),
      journalKey(p),
      String(this.now),
      String(Math.round(offset)),
      account,
      session,
      '86400000',
      '',
      'sweeper',
    )
    if (skewed) {
      same('expire', reply, 'skew')
      return
    }
    const said = this.model.expire(session, this.now)
    // It may ring for a hold that was renewed: nothing happens then.
    const allowed: string[] = said === 'early' ? ['early', 'released'] : said === 'ended' ? ['closed'] : [said]
    if (!allowed.includes(reply)) throw new Error(`expire says ${reply}, not ${said}`)
  }

  private async expireBucket(account: string, bucket: string, skewed: boolean): Promise<void> {
    const p = partitionOf(account, partitions)
    const offset = this.now - Date.now() + (skewed ? -40_000 : 0)
    const reply = await store.redis.expireBucket(
      accountKey(p, account),
      dueKey(p),
      journalKey(p),
      String(this.now),
      String(Math.round(offset)),
      account,
      bucket,
      `bucket ${account} ${bucket}`,
    )
    if (skewed) {
      same('expire', reply, 'skew')
      return
    }
    same('expire', reply, 'expired')
    this.model.expireBucket(account, bucket, this.now)
  }

  /** Compares all that is in Redis about the accounts with the model, and checks the invariants. */
  async check(ids: readonly string[] = this.ids): Promise<void> {
    for (const id of ids) {
      const p = partitionOf(id, partitions)
      const mine = [0, 1, 2, 3, 4, 5].map(sessionName).filter((_, i) => this.accountOf(i) === id)
      const pipeline = store.redis.pipeline()
      pipeline.hgetall(accountKey(p, id))
      pipeline.zrange(dueKey(p), '0', '-1', 'WITHSCORES')
      pipeline.xrange(journalKey(p), this.lastEntry.get(id) ?? '-', '+')
      for (const session of mine) pipeline.hgetall(sessionKey(p, session))
      const [account, due, journal, ...sessions] = (await pipeline.exec())!.map(([error, value]) => {
        if (error) throw error
        return value
      }) as [Record<string, string>, string[], [string, string[]][], ...Record<string, string>[]]
      const { seq } = this.checkAccount(id, account)
      for (const [i, session] of mine.entries()) this.checkSession(session, sessions[i]!, due)
      this.checkLedger(id, journal, account, seq)
    }
  }

  private checkAccount(id: string, fields: Record<string, string>): { seq: string } {
    const model = this.model.accounts.get(id)!
    const [status, ...rest] = fields['funds']!.split(' ')
    const { money, held, credit, debt, seq } = pairs(rest) as Record<
      'money' | 'held' | 'credit' | 'debt' | 'seq',
      string
    >
    const heldMoney = this.model.heldMoney(model)
    same(
      `${id} funds`,
      { status, money, held, credit, debt, seq },
      {
        status: model.status,
        money: `${model.money}`,
        held: `${heldMoney}`,
        credit: `${model.creditLimit}`,
        debt: `${model.debt}`,
        seq: `${model.entries}`,
      },
    )
    // I2 and I5, on what Redis says.
    if (BigInt(held) < 0n || BigInt(held) > BigInt(money) + BigInt(credit))
      throw new Error(`I2: held ${held} of ${money} and credit ${credit}`)
    if (BigInt(money) < -BigInt(credit)) throw new Error(`I2: money ${money} below the limit ${credit}`)
    for (const bucket of model.buckets) {
      const said = pairs(fields[`bucket:${bucket.id}`]!.split(' ').slice(2)) as Record<'left' | 'held', string>
      same(
        `${id} bucket ${bucket.id}`,
        { left: said.left, held: said.held },
        { left: `${bucket.amount}`, held: `${this.model.heldUnits(model, bucket)}` },
      )
      if (BigInt(said.held) > BigInt(said.left)) throw new Error('I2: more units held than there are')
    }
    return { seq }
  }

  private checkSession(id: string, fields: Record<string, string>, due: readonly string[]): void {
    const model = this.model.sessions.get(id)
    const member = due.findIndex((word, i) => i % 2 === 0 && word.startsWith('session ') && word.endsWith(` ${id}`))
    if (!model) {
      same(`${id} is not there`, [fields['state'], member], [undefined, -1])
      return
    }
    const [status, , , ...rest] = fields['state']!.split(' ')
    const { number, charged } = pairs(rest)
    same(
      `${id} state`,
      { open: status === 'open', number, charged },
      { open: model.open, number: `${lastNumber(model)}`, charged: `${model.charged}` },
    )
    if (!model.open && member >= 0) throw new Error(`${id} has ended and is in due`)
    if (model.open && !(member >= 0 && Number(due[member + 1]) <= this.model.due(id)))
      throw new Error(`${id} is due at ${due[member + 1]}, not by ${this.model.due(id)}`)
    for (const [key, line] of model.lines) {
      const said = pairs(fields[`line:${key}`]!.split(' '))
      const { grant } = line
      const runs = flat(said['runs']!).filter(([name]) => name !== 'lost')
      same(
        `${id} line ${key}`,
        {
          granted: said['granted'],
          until: grant ? said['until'] : '',
          by: grant ? said['by'] : '',
          used: said['used'],
          charged: said['charged'],
          money: said['money'],
          holds: flat(said['holds']!),
          runs,
        },
        {
          granted: `${grant?.units ?? 0n}`,
          until: grant ? `${grant.until}` : '',
          by: grant ? `${grant.by}` : '',
          used: `${line.used}`,
          charged: `${line.charged}`,
          money: `${grant?.heldMoney ?? 0n}`,
          holds: grant?.heldUnits.map(hold => [hold.bucket, `${hold.units}`]) ?? [],
          runs: line.runs.map(run => [run.rate.id, `${run.n}`]),
        },
      )
      // I3: whatever the split, the line was charged F of its runs.
      const price = runs.reduce(
        (sum, [name, n], i) => sum + costOf(rates.get(name)!, BigInt(n), i === 0 && !line.lost),
        0n,
      )
      if (BigInt(said['charged']!) !== price)
        throw new Error(`I3: ${id} ${key} was charged ${said['charged']}, its runs cost ${price}`)
    }
  }

  /** I1: postings sum to zero per unit, each balance goes on from where it was, no number is missing. I4: no usage twice. */
  private checkLedger(
    id: string,
    journal: readonly [string, string[]][],
    account: Record<string, string>,
    seq: string,
  ): void {
    const known = this.lastEntry.get(id)
    for (const [entryId, [, text]] of journal) {
      if (entryId === known) continue
      this.lastEntry.set(id, entryId)
      const entry = JSON.parse(text!) as {
        account: string
        seq: number
        held: number
        posts: (string | number)[][]
        session?: string
        lines: { line: string; used?: number; unrated?: number }[]
      }
      if (entry.account !== id) continue
      const before = this.ledger.get(`${id} seq`) ?? 0n
      same('I1: number of the entry', BigInt(entry.seq), before + 1n)
      this.ledger.set(`${id} seq`, before + 1n)
      const sums = new Map<string, bigint>()
      for (const [name, unit, ...amounts] of entry.posts) {
        const [amount, from, to] = amounts.map(n => BigInt(n))
        sums.set(String(unit), (sums.get(String(unit)) ?? 0n) + amount!)
        if (from === undefined) continue
        same(`I1: ${name} before`, from, this.ledger.get(`${id} ${name}`) ?? 0n)
        same(`I1: ${name} after`, to, from + amount!)
        this.ledger.set(`${id} ${name}`, to!)
      }
      for (const [unit, sum] of sums) same(`I1: postings in ${unit}`, sum, 0n)
      for (const { line, used = 0 } of entry.lines) {
        const name = `${String(entry.session)} ${line}`
        this.usedInLedger.set(name, (this.usedInLedger.get(name) ?? 0n) + BigInt(used))
      }
    }
    same('I1: last entry', `${this.ledger.get(`${id} seq`) ?? 0n}`, seq)
    const { money, debt } = pairs(account['funds']!.split(' ').slice(1)) as Record<'money' | 'debt', string>
    same('I1: main', this.ledger.get(`${id} main`) ?? 0n, BigInt(money))
    same('I1: debt', -(this.ledger.get(`${id} debt`) ?? 0n), BigInt(debt))
    for (const bucket of this.model.accounts.get(id)!.buckets) {
      same('I1: bucket', this.ledger.get(`${id} bucket:${bucket.id}`), bucket.amount)
    }
  }

  private accountOf(session: number): string {
    return this.ids[session % this.ids.length]!
  }
}

const sessionName = (index: number): string => `gw.example;1;${index}`
const pick = (programs: readonly Program[], index: number, otherwise?: ModelProgram): Program =>
  index === 0 && otherwise ? (otherwise as Program) : programs[index % programs.length]!
const flat = (text: string): [string, string][] =>
  text === '-' ? [] : text.split(',').map(pair => pair.split('=') as [string, string])

/** `money 5 held 3` → { money: '5', held: '3' } */
function pairs(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(words.flatMap((word, i) => (i % 2 === 0 ? [[word, words[i + 1]!]] : [])))
}

function same(what: string, found: unknown, wanted: unknown): void {
  const [a, b] = [found, wanted].map(value =>
    JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v)),
  )
  if (a !== b) throw new Error(`${what}:\n  found  ${a}\n  wanted ${b}`)
}

t.test(`scripts and model agree (HISTORIES=${histories} SEED=${seed})`, { timeout: 600_000 }, async t => {
  let commands = 0
  await fc.assert(
    fc.asyncProperty(history, async ([set, list]) => {
      const world = await World.make(set)
      await world.check()
      for (const command of list) {
        await world.play(command)
        await world.check(world.touchedBy(command))
        commands++
      }
      await world.check()
    }),
    { numRuns: histories, seed },
  )
  t.comment(`${commands} commands`)
  t.ok(commands > histories, 'they were played')
})
