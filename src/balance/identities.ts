/**
 * Which account and subscriber an identity belongs to, and what rating must know of them: bounded caches in front of the
 * index in Redis. A cache may be old at any time; charge.lua compares the profile's rev and says `moved`.
 */
import { identityKey, sessionIndexKey } from './keys.js'
import type { Balance, Profile } from './balance.js'
import type { Timer } from '../clock.js'
import type { Store } from './store.js'
import type { Identity } from './types.js'

/** `number` is the subscriber's in its account. */
export interface Subscriber {
  readonly account: string
  readonly number: string
  readonly profile: Profile
}

export interface Owner {
  readonly account: string
  readonly number: string
}

const mostClosings = 64
const closingMs = 100

/** A Map that forgets what was not asked for longest. */
class Recent<V> {
  private readonly map = new Map<string, V>()

  constructor(private readonly most: number) {}

  get(key: string): V | undefined {
    return this.map.get(key)
  }

  set(key: string, value: V): void {
    if (this.map.size >= this.most && !this.map.has(key)) {
      const [oldest] = this.map.keys()
      if (oldest !== undefined) this.map.delete(oldest)
    }
    this.map.set(key, value)
  }

  delete(key: string): void {
    this.map.delete(key)
  }
}

export class Identities {
  private readonly owners: Recent<Owner>
  private readonly profiles: Recent<Profile>
  private readonly sessions: Recent<Owner>
  /** Index keys of sessions that ended. */
  private readonly closing: string[] = []
  private closingTimer: Timer | undefined

  constructor(
    private readonly store: Store,
    private readonly balance: Balance,
    most = 200_000,
  ) {
    this.owners = new Recent(most)
    this.profiles = new Recent(most)
    this.sessions = new Recent(most)
  }

  /**
   * The subscriber of an identity, from the caches when they know. Undefined: nobody has it.
   *
   * @param deadline monotonic ms
   */
  async find(identity: Identity, deadline: number): Promise<Subscriber | undefined> {
    const name = `${identity.type}:${identity.value}`
    const known = this.owners.get(name)
    const remembered = known && (await this.of(known, deadline))
    if (remembered && hasIdentity(remembered, name)) return remembered
    const { key, field } = identityKey(identity)
    const value = await this.store.call('index', deadline, redis => redis.hget(key, field))
    if (value === null) {
      this.owners.delete(name)
      return undefined
    }
    const owner = readOwner(value)
    this.owners.set(name, owner)
    const found = await this.of(owner, deadline)
    if (found && hasIdentity(found, name)) return found
    // The index is newer than the profile at hand, or it is claimed and the account does not have it yet.
    this.profiles.delete(owner.account)
    const again = await this.of(owner, deadline)
    return again && hasIdentity(again, name) ? again : undefined
  }

  /** What is cached about an identity; no I/O: the hot path asks here first. */
  cached(identity: Identity): Subscriber | undefined {
    const name = `${identity.type}:${identity.value}`
    const owner = this.owners.get(name)
    const profile = owner && this.profiles.get(owner.account)
    return profile?.subscribers.get(owner!.number)?.includes(name) === true ? { ...owner!, profile } : undefined
  }

  /** A subscriber with the account's profile. Undefined: no such account, or the subscriber has left it. */
  async of(owner: Owner, deadline: number): Promise<Subscriber | undefined> {
    let profile = this.profiles.get(owner.account)
    if (!profile) {
      profile = await this.balance.profile(owner.account, deadline)
      if (!profile) return undefined
      this.profiles.set(owner.account, profile)
    }
    return profile.subscribers.has(owner.number) ? { ...owner, profile } : undefined
  }

  /** The script knew better. */
  moved(account: string, profile: Profile): void {
    this.profiles.set(account, profile)
  }

  forget(identity: Identity): void {
    this.owners.delete(`${identity.type}:${identity.value}`)
  }

  forgetAccount(account: string): void {
    this.profiles.delete(account)
  }

  /** Whose session this is: for CCRs without Subscription-Id. */
  async ownerOfSession(sessionId: string, deadline: number): Promise<Owner | undefined> {
    const known = this.sessions.get(sessionId)
    if (known) return known
    const value = await this.store.call('session-index', deadline, redis => redis.get(sessionIndexKey(sessionId)))
    return value === null ? undefined : readOwner(value)
  }

  /** Written beside the charging call of CCR-I, and awaited before its answer. */
  async openSession(sessionId: string, owner: Owner, deadline: number): Promise<void> {
    this.sessions.set(sessionId, owner)
    // Opened again right after its end: its entry must not go with those that ended.
    const ending = this.closing.indexOf(sessionIndexKey(sessionId))
    if (ending >= 0) this.closing.splice(ending, 1)
    await this.store.call('session-index', deadline, redis =>
      redis.set(sessionIndexKey(sessionId), `${owner.account} ${owner.number}`),
    )
  }

  /**
   * The session has ended. Its entry goes soon, many at a time; here it is remembered for a while, so that a late report without
   * Subscription-Id mostly finds its account still.
   */
  closeSession(sessionId: string): void {
    this.closing.push(sessionIndexKey(sessionId))
    if (this.closing.length >= mostClosings) this.unlinkClosed()
    else this.closingTimer ??= this.store.later(() => this.unlinkClosed(), closingMs)
  }

  /** The session ended by silence: its client may still come back and report, so the entry stays as long as the session's state. */
  keepSilentSession(sessionId: string, keepMs: number): void {
    this.store.redis.pexpire(sessionIndexKey(sessionId), keepMs).catch(() => undefined) // lost, an entry stays that nobody reads
  }

  private unlinkClosed(): void {
    this.closingTimer?.cancel()
    this.closingTimer = undefined
    const keys = this.closing.splice(0)
    // Ours: one command over many slots, good on one Redis or Sentinel; Redis Cluster wants one a slot.
    if (keys.length > 0) this.store.redis.unlink(...keys).catch(() => undefined) // lost, they stay and nobody reads them
  }
}

/** The account says so, too: an entry of the index may be old, or only claimed. */
export const hasIdentity = ({ number, profile }: Subscriber, name: string): boolean =>
  profile.subscribers.get(number)?.includes(name) === true

function readOwner(value: string): Owner {
  const space = value.indexOf(' ')
  return { account: value.slice(0, space), number: value.slice(space + 1) }
}
