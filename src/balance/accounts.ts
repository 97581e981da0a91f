/**
 * Accounts and their money for people and programs: create, show, recharge, sessions. Indexes are claimed first, then the
 * account's own script runs; both may be repeated, so a crash in between is mended by doing it again.
 */
import type { Clock } from '../clock.js'
import type { ChargingConfig } from '../config/config.js'
import type { Micros, Millis, Units } from '../units.js'
import { readProfile } from './balance.js'
import { Credits, referenceKeepMs, type CreditOutcome, type RechargeRequest } from './credits.js'
import { noExtras, overlapping, optInsOf, writeExtras, writeOptIns } from './extras.js'
import {
  accountKey,
  censusKey,
  dueKey,
  identityKey,
  journalKey,
  onceKey,
  partitionOf,
  sessionIndexKey,
  sessionKey,
} from './keys.js'
import { readLife } from './life.js'
import { inPipeline, pieces } from './pipeline.js'
import type { Store } from './store.js'
import { offerArguments, readSubscriptionState } from './subscriptions.js'
import type {
  Account,
  Accounts,
  AccountStatus,
  Asked,
  Bucket,
  BucketTerms,
  BucketUnit,
  Census,
  CommandName,
  CounterValue,
  CreateOutcome,
  Extras,
  ExtrasOutcome,
  Identity,
  IdentityType,
  NewAccount,
  NewBucket,
  NewSubscriber,
  Override,
  Precondition,
  Session,
  SessionLine,
  SubscribeOutcome,
} from './types.js'

const partitionsOfOnePipeline = 128
/** They are part of the profile that each daemon keeps in memory. */
export const mostOverrides = 50
/** Of the account, and of each subscriber. */
export const mostAttributes = 50
/** How often a change of extras is made anew because the profile moved meanwhile. */
const mostMoves = 20
/** As lua/due-turn.lua says. */
const askedOnSuspend = { reauthorise: 'reauth-all', abort: 'abort', wait: '' } as const

/** The life cycle of accounts, where the catalog has one. */
export interface LifeRules {
  /** What a new account's life begins with, as lua/include/life.lua writes it; undefined: nothing but a status. */
  atBirth(account: NewAccount, offers: readonly string[], opening: Micros): string | undefined
  /** Sees to it that the account keeps the terms in force, which decide what the recharge does. */
  beforeRecharge(account: string): Promise<void>
}

export class RedisAccounts implements Accounts {
  private readonly credits: Credits

  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly config: ChargingConfig,
    private readonly clock: Clock,
    /** How long one call may wait for the store, ms. */
    private readonly patienceMs = 5000,
    /** Told of what a script left in the due list for open sessions, like `reauth alice`: it is due at once. */
    private readonly asked: (member: string) => void = () => undefined,
    private readonly life?: LifeRules,
  ) {
    this.credits = new Credits(
      store,
      partitions,
      clock,
      patienceMs,
      asked,
      account => life?.beforeRecharge(account) ?? Promise.resolve(),
    )
  }

  async create(
    account: NewAccount,
    subscriber: NewSubscriber | undefined,
    opening: Micros,
    source: 'import' | 'admin',
  ): Promise<CreateOutcome> {
    const deadline = this.deadline()
    const partition = partitionOf(account.id, this.partitions)
    const identities = subscriber?.identities ?? []
    const number = await this.claim(identities, account.id, deadline)
    if (typeof number === 'object') return number
    const reference = source === 'import' ? `import:${account.id}` : `create:${account.id}`
    const args = [
      accountKey(partition, account.id),
      dueKey(partition),
      journalKey(partition),
      censusKey(partition),
      account.id,
      this.life?.atBirth(account, subscriber?.offers.map(({ offer }) => offer) ?? [], opening) ??
        account.status ??
        'active',
      account.currency,
      String(account.creditLimit),
      String(opening),
      String(this.clock.now()),
      `source:${source}`,
      `"kind":"create","reference":${JSON.stringify(reference)}`,
      identities.map(({ type, value }) => `${type}:${value}`).join(' '),
      writeExtras({ ...noExtras, attributes: account.attributes ?? {} }),
      String(subscriber?.offers.length ?? 0),
      ...(subscriber?.offers ?? []).flatMap(({ offer, buckets, ...opening }) =>
        offerArguments(offer, buckets, opening),
      ),
    ]
    const reply = (await this.store.call('create', deadline, redis => redis.create(...args))).split(' ')
    if (reply[0] === 'currency_differs') {
      await this.unclaim(identities, account.id, deadline)
      return { status: 'currency_differs', currency: reply[1]! }
    }
    if (identities.length > 0 && reply[1] !== number) await this.settle(identities, account.id, reply[1]!, deadline)
    return { status: reply[0] as 'created' | 'exists' }
  }

  async show(id: string): Promise<Account | undefined> {
    const partition = partitionOf(id, this.partitions)
    const all = await this.store.call('account', this.deadline(), redis => redis.hgetall(accountKey(partition, id)))
    return all['funds'] === undefined ? undefined : readAccount(id, partition, all)
  }

  async find(identity: Identity): Promise<{ account: Account; subscriber: string } | undefined> {
    const { key, field } = identityKey(identity)
    const value = await this.store.call('index', this.deadline(), redis => redis.hget(key, field))
    if (value === null) return undefined
    const account = await this.show(value.slice(0, value.indexOf(' ')))
    const name = `${identity.type}:${identity.value}`
    const subscriber = account?.subscribers.find(s => s.identities.some(i => `${i.type}:${i.value}` === name))
    return account && subscriber ? { account, subscriber: subscriber.id } : undefined
  }

  async setStatus(id: string, status: AccountStatus, actor: string): Promise<boolean> {
    const partition = partitionOf(id, this.partitions)
    const cause = `"kind":"status","actor":${JSON.stringify(actor)}`
    const ask = status === 'active' ? 'reauth' : askedOnSuspend[this.config.onSuspend]
    const reply = await this.store.call('account-status', this.deadline(), redis =>
      redis.accountStatus(
        accountKey(partition, id),
        journalKey(partition),
        dueKey(partition),
        id,
        status,
        String(this.clock.now()),
        cause,
        ask,
      ),
    )
    if (reply.endsWith(' due')) this.asked(`${ask} ${id}`)
    return reply !== 'no_account'
  }

  recharge(request: RechargeRequest): Promise<CreditOutcome> {
    return this.credits.recharge(request)
  }

  async subscribe(request: Parameters<Accounts['subscribe']>[0]): Promise<SubscribeOutcome> {
    const { account, subscriber, offer, buckets, rev, reference, actor } = request
    const partition = partitionOf(account, this.partitions)
    const cause = { kind: 'subscribe', reference, actor }
    const reply = await this.store.call('buy-offer', this.deadline(), redis =>
      redis.buyOffer(
        accountKey(partition, account),
        dueKey(partition),
        journalKey(partition),
        censusKey(partition),
        onceKey(partition, `subscribe:${account}:${reference}`),
        account,
        String(this.clock.now()),
        membersOf(cause),
        subscriber,
        rev,
        String(referenceKeepMs),
        String(request.fee ?? 0),
        ...offerArguments(offer, buckets, request.opening),
      ),
    )
    const [status, boughtOffer, boughtFor, subscription, due] = reply.split(' ')
    if (due === 'due') this.asked(`reauth ${account}`)
    switch (status) {
      case 'subscribed':
      case 'repeated':
        return boughtOffer === offer && boughtFor === subscriber
          ? { status, subscription: subscription! }
          : { status: 'reference_taken', offer: boughtOffer!, subscriber: boughtFor! }
      case 'terminated':
        return { status: 'account_terminated' }
      case 'insufficient':
        return { status, needs: BigInt(boughtOffer!) as Micros, free: BigInt(boughtFor!) as Micros }
      default:
        return { status: status as 'no_account' | 'no_subscriber' | 'moved' }
    }
  }

  async setAttributes(request: Parameters<Accounts['setAttributes']>[0]): Promise<ExtrasOutcome> {
    const { account, subscriber, changes, actor, precondition } = request
    return this.changeExtras(account, precondition, ({ extras, subscribers }) => {
      if (subscriber !== undefined && !subscribers.some(({ id }) => id === subscriber))
        return { status: 'no_subscriber' }
      const now = subscriber === undefined ? extras.attributes : (extras.subscribers[subscriber] ?? {})
      const different = Object.entries(changes).filter(([name, value]) => (now[name] ?? null) !== value)
      if (different.length === 0) return { status: 'unchanged' }
      const next = withChanges(now, different)
      if (Object.keys(next).length > mostAttributes) return { status: 'too_many', most: mostAttributes }
      return {
        extras:
          subscriber === undefined
            ? { ...extras, attributes: next }
            : { ...extras, subscribers: { ...extras.subscribers, [subscriber]: next } },
        cause: {
          kind: 'attributes',
          subscriber,
          before: Object.fromEntries(different.map(([name]) => [name, now[name] ?? null])),
          after: Object.fromEntries(different),
          actor,
        },
      }
    })
  }

  async addOverride(account: string, override: Override, precondition?: Precondition): Promise<ExtrasOutcome> {
    return this.changeExtras(account, precondition, ({ extras, subscribers }) => {
      const { overrides } = extras
      const { subscriber, reason, actor } = override
      if (overrides.some(({ id }) => id === override.id)) return { status: 'unchanged' }
      if (subscriber !== undefined && !subscribers.some(({ id }) => id === subscriber))
        return { status: 'no_subscriber' }
      const other = overrides.find(each => overlapping(each, override))
      if (other) return { status: 'overlaps', override: other }
      if (overrides.length >= mostOverrides) return { status: 'too_many', most: mostOverrides }
      const kind = override.kind === 'limit' ? 'limit' : 'override'
      return {
        extras: { ...extras, overrides: [...overrides, override] },
        cause: { kind, before: null, after: override, reason, actor },
      }
    })
  }

  async removeOverride(request: Parameters<Accounts['removeOverride']>[0]): Promise<ExtrasOutcome> {
    const { account, id, reason, actor, precondition } = request
    return this.changeExtras(account, precondition, ({ extras }) => {
      const override = extras.overrides.find(each => each.id === id)
      if (!override) return { status: 'no_override' }
      const kind = override.kind === 'limit' ? 'limit' : 'override'
      return {
        extras: { ...extras, overrides: extras.overrides.filter(each => each !== override) },
        cause: { kind, before: override, after: null, reason, actor },
      }
    })
  }

  async optIn(request: Parameters<Accounts['optIn']>[0]): Promise<ExtrasOutcome> {
    const { account, subscriber, counter, on, until = Infinity, reason, actor, precondition } = request
    return this.changeExtras(account, precondition, ({ extras, subscribers }) => {
      if (subscriber !== '0' && !subscribers.some(({ id }) => id === subscriber)) return { status: 'no_subscriber' }
      const scopes = optInsOf(extras.optIns[counter])
      const before = scopes.get(subscriber)
      if (before === (on ? until : undefined)) return { status: 'unchanged' }
      if (on) scopes.set(subscriber, until)
      else scopes.delete(subscriber)
      const others = Object.fromEntries(Object.entries(extras.optIns).filter(([name]) => name !== counter))
      const said = (is: boolean, end: Millis | undefined): object => ({
        optedIn: is,
        ...(end !== undefined && end !== Infinity && { until: end }),
      })
      return {
        extras: { ...extras, optIns: scopes.size > 0 ? { ...others, [counter]: writeOptIns(scopes) } : others },
        cause: {
          kind: 'opt-in',
          counter,
          subscriber,
          before: said(before !== undefined, before),
          after: said(on, on ? until : undefined),
          reason,
          actor,
        },
      }
    })
  }

  async census(): Promise<Census> {
    const offers = new Map<string, number>()
    const buckets = new Map<string, number>()
    const all = Array.from({ length: this.partitions }, (_, partition) => partition)
    for (const some of pieces(all, partitionsOfOnePipeline)) {
      const hashes = (await this.store.call('census', this.deadline(), redis =>
        inPipeline(redis, pipeline => some.forEach(partition => pipeline.hgetall(censusKey(partition)))),
      )) as Record<string, string>[]
      for (const [field, text] of hashes.flatMap(hash => Object.entries(hash))) {
        const colon = field.indexOf(':')
        const of = field.slice(0, colon) === 'offer' ? offers : buckets
        const name = field.slice(colon + 1)
        if (text !== '0') of.set(name, (of.get(name) ?? 0) + Number(text))
      }
    }
    return { offers, buckets }
  }

  async sessions(filter: { account?: string; limit: number }): Promise<readonly Session[]> {
    const deadline = this.deadline()
    const keys: string[] = []
    if (filter.account === undefined) {
      for (let partition = 0; partition < this.partitions && keys.length < filter.limit; partition += 64) {
        const replies = await this.store.call('due', deadline, redis => {
          const pipeline = redis.pipeline()
          for (let p = partition; p < Math.min(partition + 64, this.partitions); p++)
            pipeline.zrange(dueKey(p), '0', String(filter.limit))
          return pipeline.exec()
        })
        for (const [i, [error, members]] of (replies ?? []).entries()) {
          if (error) throw error
          for (const member of members as string[]) {
            const id = sessionOfDue(member)
            if (id !== undefined) keys.push(sessionKey(partition + i, id))
          }
        }
      }
    } else {
      const pattern = sessionKey(partitionOf(filter.account, this.partitions), '*').replaceAll(/[[\]?]/g, '\\$&')
      let cursor = '0'
      do {
        const [next, found] = await this.store.call('scan', deadline, redis =>
          redis.scan(cursor, 'MATCH', pattern, 'COUNT', 1000),
        )
        keys.push(...found)
        cursor = next
      } while (cursor !== '0')
    }
    const sessions: Session[] = []
    for (const key of keys) {
      if (sessions.length >= filter.limit) break
      const all = await this.store.call('session', deadline, redis => redis.hgetall(key))
      const session = readSession(key.slice(key.indexOf(':session:') + ':session:'.length), all)
      if (session && (filter.account === undefined || session.account === filter.account)) sessions.push(session)
    }
    return sessions
  }

  async release(sessionId: string, actor: string): Promise<'released' | 'unknown' | 'ended'> {
    const deadline = this.deadline()
    const owner = await this.store.call('session-index', deadline, redis => redis.get(sessionIndexKey(sessionId)))
    const account = owner === null ? await this.accountOfSession(sessionId) : owner.slice(0, owner.indexOf(' '))
    if (account === undefined) return 'unknown'
    const partition = partitionOf(account, this.partitions)
    const reply = await this.store.call('expire', deadline, redis =>
      redis.expireSession(
        accountKey(partition, account),
        sessionKey(partition, sessionId),
        dueKey(partition),
        journalKey(partition),
        String(this.clock.now()),
        '0',
        account,
        sessionId,
        String(this.config.keepSilentMs),
        'force',
        actor,
      ),
    )
    if (reply === 'gone') return 'unknown'
    if (reply === 'closed') return 'ended'
    if (reply !== 'ended') throw new Error(`release: ${reply}`)
    return 'released'
  }

  /** Reads, changes and writes the extras; again when the profile moved meanwhile. What was lost on the way is found done. */
  private async changeExtras(
    id: string,
    precondition: Precondition | undefined,
    change: (account: Account) => { extras: Extras; cause: object } | ExtrasOutcome,
  ): Promise<ExtrasOutcome> {
    const partition = partitionOf(id, this.partitions)
    for (let moves = 0; moves < mostMoves; moves++) {
      const account = await this.show(id)
      if (!account) return { status: 'no_account' }
      if (moves === 0 && precondition?.(account) === false) return { status: 'stale' }
      const next = change(account)
      if ('status' in next) {
        const done = moves > 0 && (next.status === 'unchanged' || next.status === 'no_override')
        return done ? { status: 'changed' } : next
      }
      if (precondition?.(account) === false) return { status: 'stale' }
      const reply = await this.store.call('account-extras', this.deadline(), redis =>
        redis.accountExtras(
          accountKey(partition, id),
          journalKey(partition),
          dueKey(partition),
          id,
          account.rev,
          writeExtras(next.extras),
          String(this.clock.now()),
          membersOf(next.cause),
        ),
      )
      if (reply.endsWith(' due')) this.asked(`reauth ${id}`)
      if (reply !== 'moved') return { status: reply === 'no_account' ? 'no_account' : 'changed' }
    }
    throw new Error(`the profile of account ${id} changed ${mostMoves} times in a row`)
  }

  /** For sessions that keep no index entry: their account is in the list of what is due. */
  private async accountOfSession(sessionId: string): Promise<string | undefined> {
    const sessions = await this.sessions({ limit: 1_000_000 })
    return sessions.find(({ id }) => id === sessionId)?.account
  }

  /**
   * Claims every identity for the account, or none of them. Gives the subscriber's number when an identity knew it, else `0`.
   */
  private async claim(
    identities: readonly Identity[],
    account: string,
    deadline: number,
  ): Promise<string | CreateOutcome> {
    let number = '0'
    const mine: Identity[] = []
    for (const identity of identities) {
      const { key, field } = identityKey(identity)
      const owner = await this.store.call('claim', deadline, async redis => {
        const fresh = await redis.hsetnx(key, field, `${account} 0`)
        return fresh === 1 ? undefined : redis.hget(key, field)
      })
      if (owner == null) {
        mine.push(identity)
        continue
      }
      const space = owner.indexOf(' ')
      if (owner.slice(0, space) !== account) {
        await this.unclaim(mine, account, deadline)
        return { status: 'identity_taken', identity, account: owner.slice(0, space) }
      }
      if (owner.slice(space + 1) !== '0') number = owner.slice(space + 1)
    }
    if (number !== '0' && mine.length > 0) {
      // The subscriber is there with other identities: adding one would change what exists.
      await this.unclaim(mine, account, deadline)
      return { status: 'exists' }
    }
    return number
  }

  private async unclaim(identities: readonly Identity[], account: string, deadline: number): Promise<void> {
    for (const identity of identities) {
      const { key, field } = identityKey(identity)
      await this.store.call('claim', deadline, async redis => {
        if ((await redis.hget(key, field)) === `${account} 0`) await redis.hdel(key, field)
      })
    }
  }

  private async settle(
    identities: readonly Identity[],
    account: string,
    number: string,
    deadline: number,
  ): Promise<void> {
    for (const identity of identities) {
      const { key, field } = identityKey(identity)
      await this.store.call('claim', deadline, redis => redis.hset(key, field, `${account} ${number}`))
    }
  }

  private deadline(): number {
    return this.store.deadlineIn(this.patienceMs)
  }
}

/** How many buckets, and each of them as lua/include/granting.lua reads it. */
export function bucketArguments(buckets: readonly NewBucket[]): string[] {
  return [
    String(buckets.length),
    ...buckets.flatMap(bucket => {
      const { name, unit, amount, until, priority } = bucket
      return [name, unit, String(amount), String(until ?? 0), String(priority), bucketWords(bucket)]
    }),
  ]
}

/** What stands behind ` with` in a bucket's line, lua/include/account-lines.lua. */
export function bucketWords({ paid, blocker, from, life, remind, warn, rollover }: BucketTerms): string {
  const words: string[] = []
  if (paid) words.push('paid')
  if (blocker) words.push('blocker')
  if (from !== undefined) words.push(`from=${from}`)
  if (life !== undefined) words.push(`life=${life}`)
  if (remind && remind.length > 0) words.push(`remind=${remind.join('.')}`)
  if (warn && warn.length > 0) words.push(`warn=${warn.join('.')}`)
  if (rollover) words.push(`roll=${rollover.min},${rollover.max},${rollover.lifeMs},${rollover.priority}`)
  return words.join(' ')
}

/** JSON members without their braces, for a ledger entry. */
const membersOf = (cause: object): string => JSON.stringify(cause).slice(1, -1)

function withChanges(
  now: Readonly<Record<string, string>>,
  changes: readonly (readonly [string, string | null])[],
): Record<string, string> {
  const next = new Map(Object.entries(now))
  for (const [name, value] of changes) {
    if (value === null) next.delete(name)
    else next.set(name, value)
  }
  return Object.fromEntries(next)
}

/** Members of `due`: `session <account> <session id>`, `bucket <account> <bucket>`. */
export function sessionOfDue(member: string): string | undefined {
  if (!member.startsWith('session ')) return undefined
  return member.slice(member.indexOf(' ', 'session '.length) + 1)
}

/** An account's hash; undefined fields are a defect. */
export function readAccount(id: string, partition: number, all: Record<string, string>): Account {
  const [, status, money, held, credit, debt, open, sequence, rev] =
    /^(\w+) money (-?\d+) held (\d+) credit (\d+) debt (\d+) open (\d+) seq (\d+) rev (\d+)$/.exec(all['funds']!)!
  const profile = readProfile(
    all['currency'] ?? '',
    rev!,
    all['subscriptions'] ?? '',
    all['subscribers'] ?? '',
    all['extras'] ?? '',
  )
  const order = (all['order'] ?? '').split(' ').filter(word => word !== '')
  return {
    id,
    partition,
    status: status as AccountStatus,
    currency: profile.currency,
    money: BigInt(money!) as Micros,
    held: BigInt(held!) as Micros,
    creditLimit: BigInt(credit!) as Micros,
    debt: BigInt(debt!) as Micros,
    sequence: Number(sequence),
    subscribers: [...profile.subscribers].map(([number, identities]) => ({
      id: number,
      identities: identities.map(readIdentity),
    })),
    subscriptions: profile.subscriptions.map(subscription => {
      const line = all[`subscription:${subscription.id}`]
      return line === undefined ? subscription : { ...subscription, state: readSubscriptionState(line), line }
    }),
    buckets: order.map(word => readBucket(word.slice(0, word.indexOf(':')), all)),
    counters: Object.entries(all)
      .filter(([field]) => field.startsWith('counter:'))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([field, text]) => readCounter(field.slice('counter:'.length), text)),
    extras: profile.extras,
    life: readLife(all['life']),
    openSessions: Number(open),
    rev: rev!,
  }
}

function readIdentity(text: string): Identity {
  const colon = text.indexOf(':')
  return { type: text.slice(0, colon) as IdentityType, value: text.slice(colon + 1) }
}

function readBucket(id: string, all: Record<string, string>): Bucket {
  const [, name, unit, left, held, until, priority, origin, subscription, granted, initial, catalog, words] =
    /^(\S+) (\w+) left (\d+) held (\d+) until (\d+) priority (\d+) origin (\S+)(?: sub (\d+) at (\d+) first (\d+) catalog (\S+))?(?: with (.*))?$/.exec(
      all[`bucket:${id}`]!,
    )!
  return {
    id,
    name: name!,
    unit: unit as BucketUnit,
    amount: BigInt(left!) as Units,
    held: BigInt(held!) as Units,
    until: until === '0' ? undefined : Number(until),
    priority: Number(priority),
    origin: origin!,
    ...readTerms(words ?? ''),
    ...(initial !== undefined && {
      subscription,
      granted: Number(granted),
      initial: BigInt(initial) as Units,
      catalog,
    }),
  }
}

function readTerms(text: string): Omit<BucketTerms, 'priority' | 'origin'> & Pick<Bucket, 'initial'> {
  const words = new Map(
    text.split(' ').map(word => {
      const [name, value] = word.split('=')
      return [name!, value ?? '']
    }),
  )
  const [from, life, remind, warn, roll, initial] = ['from', 'life', 'remind', 'warn', 'roll', 'of'].map(name =>
    words.get(name),
  )
  const [min, max, lifeMs, priority] = roll?.split(',') ?? []
  const units = (digits: string): Units => BigInt(digits) as Units
  return {
    ...(words.has('paid') && { paid: true }),
    ...(words.has('blocker') && { blocker: true }),
    ...(from !== undefined && { from: Number(from) }),
    ...(life !== undefined && { life: Number(life) }),
    ...(remind !== undefined && { remind: remind.split('.').map(Number) }),
    ...(warn !== undefined && { warn: warn.split('.').map(units) }),
    ...(roll !== undefined && {
      rollover: { min: units(min!), max: units(max!), lifeMs: Number(lifeMs), priority: Number(priority) },
    }),
    ...(initial !== undefined && { initial: units(initial) }),
  }
}

function readCounter(field: string, text: string): CounterValue {
  const [, value, held, period] = /^value (-?\d+) held (\d+) period (\d+)$/.exec(text)!
  const dot = field.lastIndexOf('.')
  return {
    name: field.slice(0, dot),
    scope: field.slice(dot + 1),
    value: BigInt(value!),
    held: BigInt(held!),
    period: Number(period),
  }
}

/** A session's hash; undefined when it is gone. */
export function readSession(id: string, all: Record<string, string>): Session | undefined {
  const state =
    /^(\w+) (\S+) (\S+) until (\d+) armed (\d+) silence (\d+) number (\d+) gaps (\S+) charged (-?\d+)$/.exec(
      all['state'] ?? '',
    )
  if (!state) return undefined
  const [opened = '0', originHost = '', originRealm = '', via = ''] = (all['opened'] ?? '').split(' ')
  const [, status, account, subscriber, until, , , number, , charged] = state
  return {
    id,
    account: account!,
    subscriber: subscriber!,
    open: status === 'open',
    originHost,
    originRealm,
    via,
    opened: Number(opened),
    until: Number(until),
    lastNumber: Number(number),
    charged: BigInt(charged!) as Micros,
    asked: readAsked(all['reauth'] ?? ''),
    lines: Object.entries(all)
      .filter(([field]) => field.startsWith('line:'))
      .map(([field, text]) => readLine(field.slice('line:'.length), text)),
  }
}

/** Field `reauth` of a session, lua/ask-session.lua. */
function readAsked(text: string): Asked | undefined {
  const [command, result, at, number] = text.split(' ')
  if (number === undefined) return undefined
  return { command: command as CommandName, result: result!, at: Number(at), number: Number(number) }
}

function readLine(line: string, text: string): SessionLine {
  const [, by, granted, until, used, charged, money, holds, cash, caps] =
    /^by (-?\d+) granted (\d+) until (\d+) program \S+ used (\d+) charged (-?\d+) money (\d+) holds (\S+) cash (\S+) caps (\S+) runs /.exec(
      text,
    )!
  const has = granted !== '0'
  const tail = / with (.*)$/.exec(text)?.[1]?.split(' ')
  const pool = tail?.find(word => word.startsWith('pool='))?.slice('pool='.length)
  return {
    line,
    grantedBy: has ? Number(by) : undefined,
    granted: BigInt(granted!) as Units,
    heldMoney: BigInt(money!) as Micros,
    heldUnits: [...readPairs(holds!), ...readPairs(cash!)].map(([bucket, units]) => ({
      bucket,
      units: units as Units,
    })),
    heldCounts: readPairs(caps!).map(([counter, amount]) => ({ counter, amount })),
    holdUntil: has ? Number(until) : undefined,
    charged: BigInt(charged!) as Micros,
    used: BigInt(used!) as Units,
    told: tail?.includes('told') === true,
    pool: pool === undefined ? undefined : Number(pool),
  }
}

/** `3-1=5000,7-2=300`; `-` for none. */
const readPairs = (text: string): [string, bigint][] =>
  text === '-'
    ? []
    : text.split(',').map(pair => {
        const equals = pair.indexOf('=')
        return [pair.slice(0, equals), BigInt(pair.slice(equals + 1))]
      })
