/**
 * Plays the cases that stand beside a tariff as a gateway would: over a real connection, with the usage cut into reports at
 * random places, at the times of the case. What is observed afterwards has the words of the case's `expect`.
 */
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { DueLists } from '../../src/balance/due.js'
import { accountKey, dueKey, journalKey, partitionOf } from '../../src/balance/keys.js'
import { eventsOf, type TariffTestResult } from '../../src/charging/tariff-tests.js'
import { currencyNumber } from '../../src/currency.js'
import { periodOf } from '../../src/rating/calendar.js'
import type { Catalog, TariffTest, TariffUse } from '../../src/rating/catalog.js'
import { newBuckets, type GrantedBucket } from '../../src/rating/match.js'
import type { CcrInput, UnitAmounts, UsedUnits } from '../../src/simulator/ccr.js'
import type { Gateway } from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { grantedOf, switchOf } from '../../src/simulator/quota.js'
import { units, type Millis, type UnitType } from '../../src/units.js'
import type { Scenario } from './scenario.js'

export interface Observed extends TariffTestResult {
  /** Something was granted and used, and then refused before all of it was. */
  readonly cut: boolean
}

/** How a gateway cuts its usage into reports. */
export type Manner =
  /** One report at the end, and where Validity-Time asks for one. */
  | 'whole'
  /** When the grant is used up, never more than it; a refusal ends the session. */
  | 'by grants'
  /** Anywhere, more than was granted, too, and whatever is answered. */
  | 'anywhere'

const success = 2001
const defaultValidity = 3_600
const second = 1_000

/** The differences between what a case expects and what came out, in words; empty: it holds. */
export function differences({ expect }: TariffTest, found: Observed): string[] {
  const pairs: (readonly [what: string, expected: bigint | undefined, found: bigint | undefined])[] = [
    ['cost', expect.cost, found.cost],
    ['balance', expect.balance, found.balance],
    ['debt', expect.debt, found.debt],
    ...[...expect.left].map(([name, left]) => [`left of ${name}`, left, found.left.get(name)] as const),
    ...[...expect.counters].map(([name, value]) => [name, value, found.counters.get(name) ?? 0n] as const),
  ]
  const wrong = pairs
    .filter(([, expected, is]) => expected !== undefined && expected !== is)
    .map(([what, expected, is]) => `${what} is ${is ?? 'unknown'}, not ${expected}`)
  if (expect.result !== undefined && expect.result !== found.result)
    wrong.push(`the last use is answered ${found.result}, not ${expect.result}`)
  for (const event of expect.events) {
    const times = found.events.filter(each => each === event).length
    if (times !== 1) wrong.push(`the event ${event} is left ${times} times: ${found.events.join(', ') || 'none'}`)
  }
  return wrong
}

/** Gateways and accounts of one tariff's daemon. */
export class TariffPlay {
  private accounts = 0
  private readonly redis: Redis

  constructor(
    t: Test,
    private readonly scenario: Scenario,
    private readonly gateway: Gateway,
    private readonly catalog: Catalog,
    private readonly due: DueLists,
  ) {
    this.redis = new Redis({ path: scenario.redis.socket })
    t.teardown(() => this.redis.disconnect())
  }

  /**
   * Plays a case with an account of its own.
   *
   * @throws Error when an answer, or what the account holds afterwards, is none that a gateway may meet
   */
  async play(test: TariffTest, manner: Manner, random: () => number): Promise<Observed> {
    const { accounts } = this.scenario.daemon
    const account = String(4_915_000_000_000 + ++this.accounts)
    // Nobody uses anything before being there.
    this.set(test.at - second)
    await this.open(account, test)
    const entries = new Map<number, Entry>()
    let result = 'granted'
    let cut = false
    for (const use of test.uses) {
      this.set(use.at)
      await this.sweep(account)
      const session = new Session(this, this.gateway, this.catalog, account, test.currency, use, manner, random)
      result = await session.run()
      cut ||= session.cut
      for (const entry of await this.entries(account)) entries.set(entry.seq, entry)
    }
    const shown = (await accounts.show(account))!
    const held = [shown.held, ...shown.buckets.map(each => each.held), ...shown.counters.map(each => each.held)]
    if (held.some(amount => amount !== 0n)) throw new Error(`something is held after the last session: ${held.join()}`)
    if (shown.openSessions !== 0) throw new Error(`${shown.openSessions} sessions are open after the last one`)
    const left = new Map<string, bigint>()
    for (const { name, amount } of shown.buckets) left.set(name, (left.get(name) ?? 0n) + amount)
    const all = [...entries.values()]
    const names = new Map(shown.buckets.map(({ id, name }) => [id, name]))
    return {
      cost: all.reduce((sum, { lines }) => sum + lines.reduce((part, { cost = 0 }) => part + BigInt(cost), 0n), 0n),
      balance: shown.money,
      debt: shown.debt,
      left,
      counters: new Map(shown.counters.map(({ name, value }) => [name, value])),
      result,
      events: all.flatMap(({ text }) => eventsOf(this.catalog, text, names)),
      cut,
    }
  }

  /** Puts business time to this instant; it goes on from there. */
  set(at: Millis): void {
    this.scenario.clock.offsetMs = at - Date.now()
  }

  private async open(account: string, test: TariffTest): Promise<void> {
    const { accounts } = this.scenario.daemon
    const { currency, creditLimit, attributes, subscriberAttributes, balance, buckets, counters, at } = test
    const created = await accounts.create(
      {
        id: account,
        currency,
        creditLimit,
        status: 'active',
        attributes: Object.fromEntries(attributes),
      },
      {
        identities: [{ type: 'msisdn', value: account }],
        offers: test.offers.map(offer => ({
          offer,
          buckets: this.bucketsOf(offer, at, currency).map(bucket => ({
            ...bucket,
            amount: units(buckets.get(bucket.name) ?? bucket.amount),
          })),
        })),
      },
      balance,
      'admin',
    )
    if (created.status !== 'created') throw new Error(`account ${account}: ${created.status}`)
    if (subscriberAttributes.size > 0) {
      const changes = Object.fromEntries(subscriberAttributes)
      await accounts.setAttributes({ account, subscriber: '1', changes, actor: 'test' })
    }
    if (counters.size === 0) return
    const { since } = (await accounts.show(account))!.subscriptions[0]!
    const fields: Record<string, string> = {}
    for (const [name, value] of counters) {
      const { per, reset, timezone } = this.catalog.counters.get(name)!
      const { start } = periodOf(reset, timezone, since, at)
      fields[`counter:${name}.${per === 'account' ? '0' : '1'}`] = `value ${value} held 0 period ${start}`
    }
    await this.redis.hset(accountKey(this.partitionOf(account), account), fields)
  }

  private bucketsOf(offer: string, at: Millis, currency: string): GrantedBucket[] {
    const buckets = newBuckets(this.catalog, offer, at, currency)!
    if ('refused' in buckets) throw new Error(buckets.refused)
    return buckets
  }

  /** Time has jumped: what the daemon's sweeper would have done on the way, it does now. */
  private async sweep(account: string): Promise<void> {
    const partition = this.partitionOf(account)
    const now = this.scenario.clock.now()
    for (const member of await this.redis.zrangebyscore(dueKey(partition), '-inf', now)) {
      if (member.startsWith(`bucket ${account} `))
        await this.due.expire(partition, member, now, this.scenario.clock.offsetMs, 0)
    }
  }

  private async entries(account: string): Promise<Entry[]> {
    const stream = await this.redis.xrange(journalKey(this.partitionOf(account)), '-', '+')
    return stream
      .map(([, fields]) => ({ ...(JSON.parse(fields[1]!) as Omit<Entry, 'text'>), text: fields[1]! }))
      .filter(entry => entry.account === account && entry.lines.length > 0)
  }

  private partitionOf(account: string): number {
    return partitionOf(account, this.scenario.config.store.partitions)
  }
}

/** Of the ledger, as far as it matters here. */
interface Entry {
  readonly account: string
  readonly seq: number
  readonly lines: readonly { readonly cost?: number }[]
  readonly text: string
}

/** One session of a case. */
class Session {
  cut = false
  private readonly unit: UnitType
  private readonly context: string
  private readonly id: string
  private number = 0
  /** Units that are reported, and when that was. */
  private reported = 0n
  private last: Millis
  /** Of the present grant. */
  private granted = 0n
  private validity = defaultValidity
  private switch: Millis | undefined

  constructor(
    private readonly play: TariffPlay,
    private readonly gateway: Gateway,
    catalog: Catalog,
    private readonly account: string,
    private readonly currency: string,
    private readonly use: TariffUse,
    private readonly manner: Manner,
    private readonly random: () => number,
  ) {
    const { unit, contexts } = catalog.services.get(use.service)!
    this.unit = unit
    this.context = contexts[0]!
    this.id = gateway.nextSessionId()
    this.last = use.at
  }

  /** @returns `granted`, or the Result-Code with which it was refused, or cut */
  async run(): Promise<string> {
    const refusal = await this.ask('initial')
    if (refusal !== undefined) return refusal
    const { amount } = this.use
    while (this.reported < amount) {
      const [n, at] = this.next()
      if (n >= amount && this.random() < 0.5) break
      // A gateway that has reported all it will use may still ask for more, and not use it.
      const refused = await this.ask('update', n, at, n < amount || this.random() < 0.5)
      if (refused !== undefined && this.manner === 'by grants' && n < amount) {
        this.cut = true
        await this.ask('terminate', n, at, false)
        return refused
      }
    }
    await this.ask('terminate', amount, this.timeOf(amount), false)
    return 'granted'
  }

  /** How much is used by the next report, and when that is. */
  private next(): [used: bigint, at: Millis] {
    const { amount } = this.use
    const rest = amount - this.reported
    let n = amount
    if (this.manner === 'by grants') n = this.reported + (this.granted < rest ? this.granted : rest)
    else if (this.manner === 'anywhere') n = this.reported + 1n + BigInt(Math.floor(this.random() * Number(rest)))
    const expiry = this.last + this.validity * second
    let at = this.timeOf(n)
    if (this.lasts > 0 && at > expiry) at = expiry
    // Reports are dated in whole seconds: what is used by then, which is some of it at least.
    if (this.lasts > 0 && this.usedBy(at) <= this.reported) at += second
    return this.lasts > 0 ? [this.usedBy(at), at] : [n, at]
  }

  /** How long the use takes, ms; 0: all of it happens at once. */
  private get lasts(): number {
    return this.unit === 'seconds' ? Number(this.use.amount) * second : this.use.over
  }

  private usedBy(at: Millis): bigint {
    const { amount, at: begun } = this.use
    if (at >= begun + this.lasts) return amount
    return (amount * BigInt(at - begun)) / BigInt(this.lasts)
  }

  /** The second in which so much has been used. */
  private timeOf(n: bigint): Millis {
    const { amount, at: begun } = this.use
    const exact = (n * BigInt(this.lasts)) / amount
    return begun + (n >= amount ? Math.ceil(this.lasts / second) : Math.floor(Number(exact) / second)) * second
  }

  /** Sends a request that reports what was used up to `n`. @returns the Result-Code of a refusal */
  private async ask(
    type: 'initial' | 'update' | 'terminate',
    n = 0n,
    at = this.use.at,
    request = true,
  ): Promise<string | undefined> {
    this.play.set(at)
    const { ratingGroup, serviceIdentifiers, plmn, called, apn, rat } = this.use
    const used = n > this.reported || this.random() < 0.1 ? this.used(n, at) : []
    const input: CcrInput = {
      type,
      number: this.number++,
      sessionId: this.id,
      serviceContextId: this.context,
      subscriptionIds: [['e164', this.account]],
      eventTimestamp: at / second,
      ...(type === 'initial' && { multipleServicesIndicator: 1 }),
      ...(type === 'terminate' && { terminationCause: 1 }),
      services: [
        {
          ...(ratingGroup !== undefined && { ratingGroup }),
          serviceIdentifiers,
          ...(request && { requested: {} }),
          ...(type !== 'initial' && { used }),
        },
      ],
      information: {
        ...(plmn !== undefined && { plmn }),
        ...(called !== undefined && { called }),
        ...(apn !== undefined && { apn }),
        ...(rat !== undefined && { rat: Number(rat) }),
      },
    }
    const answer = await this.gateway.ask(input)
    this.reported = n
    this.last = at
    if (answer.resultCode !== success) return this.refused(type, answer.resultCode, answer)
    const [mscc] = answer.groups('Multiple-Services-Credit-Control')
    const code = mscc?.number('Result-Code') ?? success
    this.granted = (mscc && grantedOf(mscc, this.unit)) ?? 0n
    this.validity = mscc?.number('Validity-Time') ?? defaultValidity
    this.switch = mscc && switchOf(mscc)
    if (code !== success) return this.refused(type, code, answer)
    if (request && this.granted === 0n) throw new Error(`${type} is answered 2001, and nothing is granted`)
    return undefined
  }

  /** A refusal is the end of what was not begun; what was used is taken all the same. */
  private refused(type: string, code: number, answer: Message): string {
    if (type === 'terminate' || answer.text('Error-Message') === undefined)
      throw new Error(`${type} is answered ${code} ${answer.text('Error-Message') ?? 'without Error-Message'}`)
    return String(code)
  }

  /** On both sides of the tariff switch, where the grant named one. Seconds can do without: the server lays them back. */
  private used(n: bigint, at: Millis): UsedUnits[] {
    const change = this.switch
    const all = this.amounts(n - this.reported)
    if (change === undefined || change > at || this.lasts === 0) return [all]
    if (this.unit === 'seconds' && this.random() < 0.5) return [all]
    const before = this.usedBy(change) - this.reported
    const sides: UsedUnits[] = [
      { side: 'before', ...this.amounts(before) },
      { side: 'after', ...this.amounts(n - this.reported - before) },
    ]
    return this.random() < 0.5 ? sides : sides.reverse()
  }

  private amounts(n: bigint): UnitAmounts {
    switch (this.unit) {
      case 'octets':
        return { octets: n }
      case 'seconds':
        return { seconds: Number(n) }
      case 'events':
        return { events: n }
      case 'money':
        return { money: n, currency: currencyNumber(this.currency)! }
    }
  }
}
