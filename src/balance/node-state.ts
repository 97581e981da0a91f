/**
 * What belongs to all daemons on one store.
 */
import { randomBytes } from 'node:crypto'
import { claimKey, originStatesKey, storeKey } from './keys.js'
import type { Millis } from '../units.js'
import type { Store } from './store.js'

const claimKeepMs = 48 * 3_600_000

/**
 * Origin-State-Id (RFC 6733 section 8.16): the time when the store was first used. It grows only when sessions were lost,
 * which here is when the store is a new one.
 *
 * @param deadline monotonic ms
 */
export function originStateId(store: Store, now: Millis, deadline: number): Promise<number> {
  return store.call('origin-state', deadline, async redis => {
    await redis.hsetnx(storeKey, 'originStateId', Math.floor(now / 1000))
    return Number(await redis.hget(storeKey, 'originStateId'))
  })
}

/** Does something once in the life of a store, also when it was interrupted the first time; it must be safe to repeat. */
export async function onceForStore(
  store: Store,
  name: string,
  deadline: number,
  work: () => Promise<void>,
): Promise<void> {
  const field = `once:${name}`
  if ((await store.call('hget', deadline, redis => redis.hget(storeKey, field))) !== null) return
  await work()
  await store.call('hset', deadline, redis => redis.hset(storeKey, field, Date.now()))
}

/** True for the one of all daemons that is first to claim the name; it may ask again. Forgotten after two days. @param deadline monotonic ms */
export function firstToClaim(store: Store, name: string, daemon: string, deadline: number): Promise<boolean> {
  return store.call('claim', deadline, async redis => {
    await redis.set(claimKey(name), daemon, 'PX', claimKeepMs, 'NX')
    return (await redis.get(claimKey(name))) === daemon
  })
}

/** A secret that all daemons of a store share, 256 bit of chance, made when it is first asked for. @throws BalanceUnavailableError */
export function secretOfStore(store: Store, name: string, patienceMs = 5000): Promise<string> {
  return store.call('secret', store.deadlineIn(patienceMs), async redis => {
    await redis.hsetnx(storeKey, name, randomBytes(32).toString('base64url'))
    return (await redis.hget(storeKey, name))!
  })
}

/** The last Origin-State-Id of each gateway, shared by all daemons. */
export class OriginStates {
  constructor(
    private readonly store: Store,
    private readonly patienceMs = 5000,
  ) {}

  /** Notes the id; true for the one caller who is first to say that it has grown. */
  async grew(originHost: string, originStateId: number): Promise<boolean> {
    const host = originHost.toLowerCase()
    return this.store.call('origin-states', this.store.deadlineIn(this.patienceMs), async redis => {
      const before = await redis.zscore(originStatesKey, host)
      const changed = await redis.zadd(originStatesKey, 'GT', 'CH', originStateId, host)
      return before !== null && changed === 1
    })
  }
}
