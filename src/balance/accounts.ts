/**
 * Accounts and their money for people and programs: create, show, recharge, sessions. Indexes are claimed first, then the
 * account's own script runs; both may be repeated, so a crash in between is mended by doing it again.
 */
import type { Clock } from '../clock.js'
import type { ChargingConfig } from '../config/config.js'
import type { Micros, Units, UnitType } from '../units.js'
import { readProfile } from './balance.js'
import {
  accountKey,
  dueKey,
  identityKey,
  journalKey,
  onceKey,
  partitionOf,
  referenceKey,
  sessionIndexKey,
  sessionKey,
} from './keys.js'
import type { Store } from './store.js'
import type {
  Account,
  Accounts,
  AccountStatus,
  Bucket,
  CreateOutcome,
  CreditOutcome,
  Identity,
  IdentityType,
  NewAccount,
  NewSubscriber,
  Session,
  SessionLine,
} from './types.js'

const referenceKeepMs = 400 * 24 * 3_600_000

export class RedisAccounts implements Accounts {
  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly config: ChargingConfig,
    private readonly clock: Clock,
    /** How long one call may wait for the store, ms. */
    private readonly patienceMs = 5000,
  ) {}

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
      account.id,
      account.status,
      account.currency,
      String(account.creditLimit),
      String(opening),
      String(this.clock.now()),
      `source:${source}`,
      `"kind":"create","reference":${JSON.stringify(reference)}`,
      identities.map(({ type, value }) => `${type}:${value}`).join(' '),
      String(subscriber?.offers.length ?? 0),
    ]
    for (const { offer, buckets } of subscriber?.offers ?? []) {
      args.push(offer, String(buckets.length))
      for (const { name, unit, amount, until, priority } of buckets) {
        args.push(name, unit, String(amount), String(until ?? 0), String(priority))
      }
    }
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
    const reply = await this.store.call('account-status', this.deadline(), redis =>
      redis.accountStatus(
        accountKey(partition, id),
        journalKey(partition),
        id,
        status,
        String(this.clock.now()),
        cause,
      ),
    )
    return reply !== 'no_account'
  }

  async recharge(request: {
    account: string
    amount: Micros
    currency: string
    channel: string
    reference: string
    actor: string
  }): Promise<CreditOutcome> {
    const { account, amount, currency, channel, reference, actor } = request
    const deadline = this.deadline()
    const partition = partitionOf(account, this.partitions)
    // Claimed first, over all accounts: the same reference with another account or amount never credits anything.
    const claim = `${account} ${amount} ${currency}`
    const claimed = await this.store.call('claim', deadline, async redis => {
      const key = referenceKey(channel, reference)
      await redis.set(key, claim, 'PX', referenceKeepMs, 'NX')
      return redis.get(key)
    })
    if (claimed !== null && claimed !== claim) {
      const [owner, paid] = claimed.split(' ')
      return { status: 'reference_taken', account: owner!, amount: BigInt(paid!) as Micros }
    }
    const cause = `"kind":"recharge","channel":${JSON.stringify(channel)},"reference":${JSON.stringify(reference)},"actor":${JSON.stringify(actor)}`
    const reply = (
      await this.store.call('credit', deadline, redis =>
        redis.credit(
          accountKey(partition, account),
          onceKey(partition, `recharge:${channel}:${reference}`),
          journalKey(partition),
          account,
          String(amount),
          currency,
          String(this.clock.now()),
          `source:${channel}`,
          cause,
          String(referenceKeepMs),
        ),
      )
    ).split(' ')
    if (reply[0] === 'credited' || reply[0] === 'repeated') {
      return {
        status: reply[0],
        money: BigInt(reply[1]!) as Micros,
        debt: BigInt(reply[2]!) as Micros,
        sequence: Number(reply[3]),
      }
    }
    // Refused, so nothing was credited under this reference: it is free again.
    await this.store.call('claim', deadline, redis => redis.del(referenceKey(channel, reference)))
    if (reply[0] === 'terminated') return { status: 'account_terminated' }
    return { status: reply[0] as 'no_account' | 'currency_differs' | 'too_large' }
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

/** Members of `due`: `session <account> <session id>`, `bucket <account> <bucket>`. */
export function sessionOfDue(member: string): string | undefined {
  if (!member.startsWith('session ')) return undefined
  return member.slice(member.indexOf(' ', 'session '.length) + 1)
}

/** An account's hash; undefined fields are a defect. */
export function readAccount(id: string, partition: number, all: Record<string, string>): Account {
  const [, status, money, held, credit, debt, sequence, rev] =
    /^(\w+) money (-?\d+) held (\d+) credit (\d+) debt (\d+) seq (\d+) rev (\d+)$/.exec(all['funds']!)!
  const profile = readProfile(all['currency'] ?? '', rev!, all['subscriptions'] ?? '', all['subscribers'] ?? '')
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
    subscriptions: profile.subscriptions.map(({ id: subscription, offer, since }) => ({
      id: subscription,
      offer,
      since,
    })),
    buckets: order.map(word => readBucket(word.slice(0, word.indexOf(':')), all)),
  }
}

function readIdentity(text: string): Identity {
  const colon = text.indexOf(':')
  return { type: text.slice(0, colon) as IdentityType, value: text.slice(colon + 1) }
}

function readBucket(id: string, all: Record<string, string>): Bucket {
  const [, name, unit, left, held, until, priority, origin] =
    /^(\S+) (\w+) left (\d+) held (\d+) until (\d+) priority (\d+) origin (\S+)$/.exec(all[`bucket:${id}`]!)!
  return {
    id,
    name: name!,
    unit: unit as UnitType,
    amount: BigInt(left!) as Units,
    held: BigInt(held!) as Units,
    until: until === '0' ? undefined : Number(until),
    priority: Number(priority),
    origin: origin!,
  }
}

/** A session's hash; undefined when it is gone. */
export function readSession(id: string, all: Record<string, string>): Session | undefined {
  const state = /^(\w+) (\S+) (\S+) until (\d+) armed (\d+) silence (\d+) number (\d+) gaps (\S+) charged (\d+)$/.exec(
    all['state'] ?? '',
  )
  if (!state) return undefined
  const [opened = '0', originHost = ''] = (all['opened'] ?? '').split(' ')
  const [, status, account, subscriber, until, , , number, , charged] = state
  return {
    id,
    account: account!,
    subscriber: subscriber!,
    open: status === 'open',
    originHost,
    opened: Number(opened),
    until: Number(until),
    lastNumber: Number(number),
    charged: BigInt(charged!) as Micros,
    lines: Object.entries(all)
      .filter(([field]) => field.startsWith('line:'))
      .map(([field, text]) => readLine(field.slice('line:'.length), text)),
  }
}

function readLine(line: string, text: string): SessionLine {
  const [, by, granted, until, , used, charged, money, holds] =
    /^by (-?\d+) granted (\d+) until (\d+) program (\S+) used (\d+) charged (\d+) money (\d+) holds (\S+) runs (\S+)$/.exec(
      text,
    )!
  const has = granted !== '0'
  return {
    line,
    grantedBy: has ? Number(by) : undefined,
    granted: BigInt(granted!) as Units,
    heldMoney: BigInt(money!) as Micros,
    heldUnits:
      holds === '-'
        ? []
        : holds!.split(',').map(pair => {
            const [bucket, units] = pair.split('=')
            return { bucket: bucket!, units: BigInt(units!) as Units }
          }),
    holdUntil: has ? Number(until) : undefined,
    charged: BigInt(charged!) as Micros,
    used: BigInt(used!) as Units,
  }
}
