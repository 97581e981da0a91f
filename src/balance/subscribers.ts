/**
 * Who belongs to an account: subscribers are added, get other identities (SIM swap, number change), leave, and move to another account.
 * The index of identities is claimed first, then the account's own script runs, then the index becomes what the account says; what is
 * under way stands in the due list before its first step, so that the sweeper ends it when we do not. Sessions that are open stay with the
 * account that they were opened on (semantics.md section 10).
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import { readAccount, sessionOfDue } from './accounts.js'
import { readSubscribers, writeSubscribers, type Departure } from './balance.js'
import { writeExtras } from './extras.js'
import {
  accountKey,
  censusKey,
  dueKey,
  identityKey,
  journalKey,
  partitionOf,
  sessionIndexKey,
  sessionKey,
} from './keys.js'
import { inPipeline, pieces } from './pipeline.js'
import type { Store } from './store.js'
import type { Account, Extras, Identity, IdentityType, Precondition, Subscription } from './types.js'

/** Null takes the identity of this type away; what is absent stays. */
export type IdentityChanges = Readonly<Partial<Record<IdentityType, Identity | null>>>

/** Who does it and why, for the ledger. */
export interface Request {
  readonly account: string
  readonly reason: string
  readonly actor: string
  readonly precondition?: Precondition | undefined
}

export type SubscriberOutcome =
  /** `unchanged`: it was so already. `number`: of the subscriber in its account. */
  | { readonly status: 'changed' | 'unchanged'; readonly account: string; readonly number: string }
  | { readonly status: 'no_account' | 'no_subscriber' | 'account_terminated' | 'stale' }
  | { readonly status: 'identity_taken'; readonly identity: Identity; readonly account: string }
  /** A subscriber without identities could never be charged. */
  | { readonly status: 'no_identity' }
  /** To an account that is not there, with another currency, or the same. */
  | { readonly status: 'no_target' | 'same_account' }
  | { readonly status: 'currency_differs'; readonly currency: string }

/** What is asked of the gateways of open sessions when a subscriber is blocked or leaves. */
export type AskWord = '' | 'reauth' | 'reauth-all'

/** Every call may be repeated. Throws BalanceUnavailableError when the store is not reachable. */
export interface Subscribers {
  add(request: Request & { readonly identities: readonly Identity[] }): Promise<SubscriberOutcome>
  change(request: Request & { readonly number: string; readonly changes: IdentityChanges }): Promise<SubscriberOutcome>
  /** Its own subscriptions end; money and buckets are the account's and stay. */
  remove(request: Request & { readonly number: string }): Promise<SubscriberOutcome>
  /**
   * To another account of the same currency, with its attributes, its block, and those of its own subscriptions that have no recurring
   * fee. The others end; money, buckets, counters, limits and opt-ins stay with the account that had them.
   */
  move(request: Request & { readonly number: string; readonly to: string }): Promise<SubscriberOutcome>
  setBlocked(request: Request & { readonly number: string; readonly blocked: boolean }): Promise<SubscriberOutcome>
}

/** What is done of one account in one script. */
interface NextProfile {
  readonly subscribers: ReadonlyMap<string, readonly string[]>
  readonly former?: ReadonlyMap<string, readonly string[]>
  readonly departed?: ReadonlyMap<string, Departure>
  readonly subscriptions?: readonly Subscription[]
  readonly extras?: Extras
  readonly ask?: AskWord
  readonly cause: object
}

interface Known {
  readonly account: Account
  readonly subscribers: ReadonlyMap<string, readonly string[]>
  readonly former: ReadonlyMap<string, readonly string[]>
  readonly departed: ReadonlyMap<string, Departure>
  /** The field as it stands: what else it says of a subscription stays. */
  readonly subscriptionTexts: ReadonlyMap<string, string>
  /** Of subscriptions with a recurring fee. */
  readonly recurring: ReadonlySet<string>
  /** Highest number that a subscription ever had. */
  readonly lastSubscription: number
}

const mostMoves = 20
/** After so long nobody works on it any more; a request is given up sooner. */
const abandonedMs = 30_000
/** For gateways that always name the subscriber, whose sessions are in no index else; longer than sessions last. */
const sessionIndexMs = 30 * 24 * 3_600_000
const sessionsOfOneScan = 1000

export class RedisSubscribers implements Subscribers {
  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly clock: Clock,
    private readonly options: {
      /** What gateways are asked when a subscriber is blocked. */
      readonly onBlock: AskWord
      /** Told of what a script left in the due list for open sessions, like `reauth alice`: it is due at once. */
      readonly asked?: (member: string) => void
      readonly patienceMs?: number
    },
  ) {}

  async add(request: Request & { readonly identities: readonly Identity[] }): Promise<SubscriberOutcome> {
    const { identities } = request
    if (identities.length === 0) return { status: 'no_identity' }
    const known = await this.read(request.account)
    if (!known) return { status: 'no_account' }
    const wanted = identities.map(nameOf)
    return this.claimed(request.account, identities, '0', [], async () =>
      this.changeProfile(request, now => {
        const same = [...now.subscribers].find(([, names]) => wanted.every(name => names.includes(name)))
        if (same) return { status: 'unchanged', account: request.account, number: same[0] }
        const taken = identities.find(identity => numberOf(now, nameOf(identity)) !== undefined)
        if (taken) return { status: 'identity_taken', identity: taken, account: request.account }
        const number = nextNumber(now)
        return {
          number,
          subscribers: new Map([...now.subscribers, [number, wanted]]),
          cause: causeOf(request, number, 'added', wanted),
        }
      }),
    )
  }

  async change(
    request: Request & { readonly number: string; readonly changes: IdentityChanges },
  ): Promise<SubscriberOutcome> {
    const { account, number, changes } = request
    const known = await this.read(account)
    if (!known) return { status: 'no_account' }
    const before = known.subscribers.get(number)
    if (!before) return { status: 'no_subscriber' }
    const claims = Object.values(changes).filter(each => each !== null)
    const leaving = before.filter(name => changes[typeOf(name)] !== undefined).map(identityOfName)
    return this.claimed(account, claims, number, leaving, async () =>
      this.changeProfile(request, now => {
        const names = now.subscribers.get(number)
        if (!names) return { status: 'no_subscriber' }
        const next = [...names.filter(name => changes[typeOf(name)] === undefined), ...claims.map(nameOf)].sort(inOrder)
        if (next.length === 0) return { status: 'no_identity' }
        const taken = claims.find(identity => (numberOf(now, nameOf(identity)) ?? number) !== number)
        if (taken) return { status: 'identity_taken', identity: taken, account }
        const gone = names.filter(name => !next.includes(name))
        if (gone.length === 0 && next.length === names.length) return { status: 'unchanged', account, number }
        const open = now.account.openSessions > 0
        const was = open
          ? [...new Set([...(now.former.get(number) ?? []), ...gone])].filter(n => !next.includes(n))
          : []
        const types = [...next.filter(name => !names.includes(name)), ...gone]
        return {
          number,
          subscribers: new Map([...now.subscribers, [number, next]]),
          former: new Map([...now.former, [number, was]]),
          cause: causeOf(request, number, 'changed', types),
        }
      }),
    )
  }

  async remove(request: Request & { readonly number: string }): Promise<SubscriberOutcome> {
    const { account, number } = request
    const known = await this.read(account)
    if (!known) return { status: 'no_account' }
    if (known.departed.get(number)?.how === 'removed') return { status: 'unchanged', account, number }
    const names = known.subscribers.get(number)
    if (!names) return { status: 'no_subscriber' }
    return this.claimed(account, [], number, names.map(identityOfName), () =>
      this.leave(request, names, { how: 'removed' }, 'removed'),
    )
  }

  async move(request: Request & { readonly number: string; readonly to: string }): Promise<SubscriberOutcome> {
    const { account, number, to, reason, actor } = request
    if (account === to) return { status: 'same_account' }
    const [from, there] = [await this.read(account), await this.read(to)]
    if (!from) return { status: 'no_account' }
    const departure = from.departed.get(number)
    if (departure?.how === 'moved' && departure.account === to)
      return { status: 'unchanged', account: to, number: departure.number }
    if (!from.subscribers.has(number)) return { status: 'no_subscriber' }
    if (!there) return { status: 'no_target' }
    if (there.account.currency !== from.account.currency)
      return { status: 'currency_differs', currency: there.account.currency }
    if (isOver(there.account)) return { status: 'account_terminated' }
    if (request.precondition?.(from.account) === false) return { status: 'stale' }
    const member = ['move', account, number, to, actor, encodeURIComponent(reason)].join(' ')
    await this.intend(account, member)
    const outcome = await this.moveOn(request)
    await this.intended(account, member)
    return outcome
  }

  async setBlocked(
    request: Request & { readonly number: string; readonly blocked: boolean },
  ): Promise<SubscriberOutcome> {
    const { account, number, blocked, reason, actor } = request
    return this.changeProfile(request, now => {
      if (!now.subscribers.has(number)) return { status: 'no_subscriber' }
      const { extras } = now.account
      if (extras.blocked.includes(number) === blocked) return { status: 'unchanged', account, number }
      const others = extras.blocked.filter(each => each !== number)
      return {
        number,
        subscribers: now.subscribers,
        extras: { ...extras, blocked: blocked ? [...others, number] : others },
        ask: blocked ? this.options.onBlock : 'reauth',
        cause: { kind: 'block', subscriber: number, blocked, reason, actor },
      }
    })
  }

  /** Ends what was begun and given up: for the due list's words `identity` and `move`. Once for all daemons. */
  async resume(member: string): Promise<'done' | 'stuck'> {
    const [word, account, ...words] = member.split(' ')
    if (word === 'move') {
      const [number, to, actor, reason] = words
      await this.moveOn({
        account: account!,
        number: number!,
        to: to!,
        actor: actor!,
        reason: decodeURIComponent(reason!),
      })
    } else {
      await this.settle(account!, words.map(identityOfName))
    }
    await this.intended(account!, member)
    return 'done'
  }

  /** Makes entries of the index what the account says; an entry that is another's stays. */
  async settle(account: string, identities: readonly Identity[], before = ''): Promise<void> {
    if (identities.length === 0) return
    const known = await this.read(account)
    for (const identity of identities) {
      const { key, field } = identityKey(identity)
      const number = (known && numberOf(known, nameOf(identity))) ?? ''
      await this.store.call('settle-identity', this.deadline(), redis =>
        redis.settleIdentity(key, field, account, number, before),
      )
    }
  }

  /** Steps of a move from wherever it stands: there first, then the index, then here. */
  private async moveOn(
    request: Request & { readonly number: string; readonly to: string },
  ): Promise<SubscriberOutcome> {
    const { account, number, to } = request
    for (let moves = 0; moves < mostMoves; moves++) {
      const from = await this.read(account)
      const names = from?.subscribers.get(number)
      if (!from || !names) {
        const departure = from?.departed.get(number)
        return departure?.how === 'moved'
          ? { status: 'changed', account: departure.account, number: departure.number }
          : { status: 'no_subscriber' }
      }
      const free = from.account.subscriptions.filter(each => each.subscriber === number && !from.recurring.has(each.id))
      const { extras } = from.account
      const arrived = await this.changeProfile({ ...request, account: to, precondition: undefined }, there => {
        const here = names.map(name => numberOf(there, name)).find(each => each !== undefined)
        const same = here !== undefined && there.subscribers.get(here)?.join(' ') === names.join(' ')
        if (same) return { status: 'unchanged', account: to, number: here }
        const next = here ?? nextNumber(there)
        const last = there.lastSubscription
        const since = this.clock.now()
        const coming = here === undefined ? free : []
        const own = extras.subscribers[number]
        return {
          number: next,
          subscribers: new Map([...there.subscribers, [next, names]]),
          subscriptions: [
            ...there.account.subscriptions,
            ...coming.map(({ offer }, i) => ({ id: String(last + i + 1), offer, since, subscriber: next })),
          ],
          extras: {
            ...there.account.extras,
            subscribers: { ...there.account.extras.subscribers, ...(own && { [next]: own }) },
            blocked: extras.blocked.includes(number)
              ? [...new Set([...there.account.extras.blocked, next])]
              : there.account.extras.blocked,
          },
          cause: { ...causeOf(request, next, 'moved-in', names), with: account },
        }
      })
      if (arrived.status !== 'changed' && arrived.status !== 'unchanged') return arrived
      await this.keepSessions(from, number)
      await this.settle(to, names.map(identityOfName), account)
      const left = await this.leave(
        { ...request, precondition: undefined },
        names,
        { how: 'moved', account: to, number: arrived.number },
        'moved-out',
      )
      if (left.status === 'stale') continue // its identities changed meanwhile: they go along
      await this.keepSessions(from, number)
      return left.status === 'changed' ? { ...arrived, status: 'changed' } : left
    }
    throw new Error(`subscriber ${number} of account ${account} changed ${mostMoves} times in a row`)
  }

  /** It leaves, if it still has these identities; else `stale`. */
  private async leave(
    request: Request & { readonly number: string },
    names: readonly string[],
    departure: Departure,
    change: string,
  ): Promise<SubscriberOutcome> {
    const { number } = request
    return this.changeProfile(request, now => {
      const has = now.subscribers.get(number)
      if (!has) return { status: 'no_subscriber' }
      if (has.join(' ') !== names.join(' ')) return { status: 'stale' }
      const { extras, subscriptions } = now.account
      const without = <V>(of: Readonly<Record<string, V>>): Record<string, V> =>
        Object.fromEntries(Object.entries(of).filter(([key]) => key !== number))
      return {
        number,
        subscribers: new Map([...now.subscribers].filter(([id]) => id !== number)),
        former: new Map([...now.former].filter(([id]) => id !== number)),
        departed: new Map([...now.departed, [number, departure]]),
        subscriptions: subscriptions.filter(({ subscriber }) => subscriber !== number),
        extras: {
          ...extras,
          subscribers: without(extras.subscribers),
          overrides: extras.overrides.filter(({ subscriber }) => subscriber !== number),
          blocked: extras.blocked.filter(each => each !== number),
          optIns: Object.fromEntries(
            Object.entries(extras.optIns).flatMap(([counter, words]) => {
              const left = words.split(' ').filter(word => word.split('=', 1)[0] !== number)
              return left.length > 0 ? [[counter, left.join(' ')]] : []
            }),
          ),
        },
        ask: 'reauth-all',
        cause: {
          ...causeOf(request, number, change, names),
          ...(departure.how === 'moved' && { with: departure.account }),
        },
      }
    })
  }

  /**
   * Claims these identities for the account, does the work, and makes the index what came of it.
   *
   * @param leaving identities that may be free afterwards
   */
  private async claimed(
    account: string,
    identities: readonly Identity[],
    number: string,
    leaving: readonly Identity[],
    work: () => Promise<SubscriberOutcome>,
  ): Promise<SubscriberOutcome> {
    const all = [...identities, ...leaving]
    const member = ['identity', account, ...new Set(all.map(nameOf))].join(' ')
    await this.intend(account, member)
    let outcome: SubscriberOutcome | undefined
    for (const identity of identities) {
      const owner = await this.claim(identity, account, number)
      if (owner !== account) outcome ??= { status: 'identity_taken', identity, account: owner }
    }
    if (!outcome) {
      const known = leaving.length > 0 ? await this.read(account) : undefined
      if (known) await this.keepSessions(known, number)
      outcome = await work()
      if (known) await this.keepSessions(known, number)
    }
    await this.settle(account, all)
    await this.intended(account, member)
    return outcome
  }

  /** @returns whose it is now */
  private async claim(identity: Identity, account: string, number: string): Promise<string> {
    const { key, field } = identityKey(identity)
    const owner = await this.store.call('claim', this.deadline(), async redis => {
      await redis.hsetnx(key, field, `${account} ${number}`)
      return redis.hget(key, field)
    })
    return owner === null ? account : owner.slice(0, owner.indexOf(' '))
  }

  /** Its open sessions are found by their names from now on, whoever has the identities that their gateways name. */
  private async keepSessions({ account }: Known, number: string): Promise<void> {
    if (account.openSessions === 0) return
    const { id, partition } = account
    const sessions = new Set<string>()
    let cursor = '0'
    do {
      const [next, found] = await this.store.call('scan', this.deadline(), redis =>
        redis.zscan(dueKey(partition), cursor, 'MATCH', `session ${id} *`, 'COUNT', sessionsOfOneScan),
      )
      for (let i = 0; i < found.length; i += 2) sessions.add(sessionOfDue(found[i]!) ?? '')
      cursor = next
    } while (cursor !== '0')
    for (const some of pieces([...sessions], sessionsOfOneScan)) {
      const states = (await this.store.call('sessions', this.deadline(), redis =>
        inPipeline(redis, pipeline => some.forEach(each => pipeline.hget(sessionKey(partition, each), 'state'))),
      )) as (string | null)[]
      const own = some.filter((_, i) => states[i]?.split(' ')[2] === number)
      await this.store.call('session-index', this.deadline(), redis =>
        inPipeline(redis, pipeline =>
          own.forEach(each => pipeline.set(sessionIndexKey(each), `${id} ${number}`, 'PX', sessionIndexMs, 'NX')),
        ),
      )
    }
  }

  /** Reads, changes and writes the profile; again when it moved meanwhile. What was lost on the way is found done. */
  private async changeProfile(
    request: Request,
    change: (now: Known) => (NextProfile & { readonly number: string }) | SubscriberOutcome,
  ): Promise<SubscriberOutcome> {
    const { account: id, precondition } = request
    const partition = partitionOf(id, this.partitions)
    for (let moves = 0; moves < mostMoves; moves++) {
      const now = await this.read(id)
      if (!now) return { status: 'no_account' }
      if (moves === 0 && precondition?.(now.account) === false) return { status: 'stale' }
      const next = change(now)
      if ('status' in next) return moves > 0 && next.status === 'unchanged' ? { ...next, status: 'changed' } : next
      if (precondition?.(now.account) === false) return { status: 'stale' }
      const { subscriptions = now.account.subscriptions, extras = now.account.extras, ask = '' } = next
      const ids = new Set(subscriptions.map(each => each.id))
      const before = new Set(now.account.subscriptions.map(each => each.id))
      const reply = await this.store.call('account-profile', this.deadline(), redis =>
        redis.accountProfile(
          ...[accountKey(partition, id), journalKey(partition), dueKey(partition), censusKey(partition)],
          ...[id, now.account.rev, String(this.clock.now()), JSON.stringify(next.cause).slice(1, -1)],
          writeSubscribers({ former: now.former, departed: now.departed, ...next }),
          subscriptions.map(each => now.subscriptionTexts.get(each.id) ?? subscriptionText(each)).join(';'),
          writeExtras(extras),
          [...before].filter(each => !ids.has(each)).join(' '),
          subscriptions.flatMap(each => (before.has(each.id) ? [] : [each.offer])).join(' '),
          ask,
        ),
      )
      if (reply.endsWith(' due')) this.options.asked?.(`${ask} ${id}`)
      if (reply === 'no_account') return { status: reply }
      if (reply === 'terminated') return { status: 'account_terminated' }
      if (reply !== 'moved') return { status: 'changed', account: id, number: next.number }
    }
    throw new Error(`the profile of account ${id} changed ${mostMoves} times in a row`)
  }

  private async read(id: string): Promise<Known | undefined> {
    const partition = partitionOf(id, this.partitions)
    const all = await this.store.call('account', this.deadline(), redis => redis.hgetall(accountKey(partition, id)))
    if (all['funds'] === undefined) return undefined
    const texts = (all['subscriptions'] ?? '').split(';').filter(text => text !== '')
    const account = readAccount(id, partition, all)
    return {
      account,
      lastSubscription: Math.max(Number(all['subscribed'] ?? 0), ...account.subscriptions.map(each => Number(each.id))),
      ...readSubscribers(all['subscribers'] ?? ''),
      subscriptionTexts: new Map(texts.map(text => [text.slice(0, text.indexOf(' ')), text])),
      recurring: new Set(
        Object.keys(all).flatMap(field => (field.startsWith(recurring) ? [field.slice(recurring.length)] : [])),
      ),
    }
  }

  private intend(account: string, member: string): Promise<unknown> {
    const at: Millis = this.clock.now() + abandonedMs
    const key = dueKey(partitionOf(account, this.partitions))
    return this.store.call('due', this.deadline(), redis => redis.zadd(key, at, member))
  }

  private intended(account: string, member: string): Promise<unknown> {
    const key = dueKey(partitionOf(account, this.partitions))
    return this.store.call('due', this.deadline(), redis => redis.zrem(key, member))
  }

  private deadline(): number {
    return this.store.deadlineIn(this.options.patienceMs ?? 5000)
  }
}

const recurring = 'subscription:'

const isOver = ({ status }: Account): boolean => ['terminated', 'recycled'].includes(status)

/** As it stands in `subscribers`: `msisdn:491701000001`. */
const nameOf = ({ type, value }: Identity): string => `${type}:${value}`

function identityOfName(name: string): Identity {
  const colon = name.indexOf(':')
  return { type: name.slice(0, colon) as IdentityType, value: name.slice(colon + 1) }
}

const typeOf = (name: string): IdentityType => name.slice(0, name.indexOf(':')) as IdentityType

const order: readonly IdentityType[] = ['msisdn', 'imsi', 'nai']
const inOrder = (a: string, b: string): number => order.indexOf(typeOf(a)) - order.indexOf(typeOf(b))

const numberOf = ({ subscribers }: Pick<Known, 'subscribers'>, name: string): string | undefined =>
  [...subscribers].find(([, names]) => names.includes(name))?.[0]

/** Numbers of those who have left are not given again: sessions, counters and ledger entries name them. */
const nextNumber = ({ subscribers, departed }: Known): string =>
  String(Math.max(0, ...[...subscribers.keys(), ...departed.keys()].map(Number)) + 1)

const subscriptionText = ({ id, offer, since, subscriber }: Subscription): string =>
  `${id} ${offer} ${since} ${subscriber}`

/** Of a ledger entry: which kinds of identities, never which. */
const causeOf = ({ reason, actor }: Request, subscriber: string, change: string, names: readonly string[]): object => ({
  kind: 'identities',
  subscriber,
  change,
  types: [...new Set(names.map(typeOf))],
  reason,
  actor,
})
