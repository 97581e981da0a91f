/**
 * The life cycle of accounts as the store keeps it: the field `life` of an account and the members `life <account>` and `life <account> used`
 * of the due lists. lua/life.lua decides each step again from what is stored, so each happens once, however late and by however many.
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import { accountKey, censusKey, dueKey, identityKey, journalKey, partitionOf } from './keys.js'
import type { Store } from './store.js'
import type { AccountLife, AccountStatus, Identity } from './types.js'

/** As lua/life.lua says. */
export type LifeStep = 'due' | 'used' | 'adopt' | 'until' | 'terminate' | 'recycled'

export type LifeOutcome =
  | { readonly status: 'done'; readonly is: AccountStatus; readonly end: Millis | undefined }
  | {
      readonly status:
        | 'no_account'
        | 'skew'
        | 'early'
        | 'gone'
        | 'unchanged'
        | 'over'
        | 'held'
        | 'debt'
        | 'recycle'
        | 'later'
        | 'waits'
    }

export interface LifeRequest {
  readonly account: string
  readonly step: LifeStep
  /** Of the catalog in force; undefined: it has none for this account. */
  readonly terms: { readonly rule: string; readonly terms: string } | undefined
  /** Of `until`: ms, 0 never; of `terminate`: keep or forfeit. */
  readonly value?: string | undefined
  readonly actor: string
  readonly reason?: string | undefined
  /** Of `due` and `used`. */
  readonly member?: string | undefined
}

export class Lives {
  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly clock: Clock,
    /** Business time less real time, ms. */
    private readonly offset: () => number,
    /** Told of what a script left in the due list for open sessions: it is due at once. */
    private readonly asked: (member: string) => void = () => undefined,
    private readonly patienceMs = 5000,
  ) {}

  /** One step. May be repeated. @throws BalanceUnavailableError */
  async step({ account, step, terms, value = '', actor, reason, member = '' }: LifeRequest): Promise<LifeOutcome> {
    const partition = partitionOf(account, this.partitions)
    const cause = JSON.stringify({ actor, ...(reason !== undefined && { reason }) }).slice(1, -1)
    const reply = await this.store.call('life', this.deadline(), redis =>
      redis.life(
        ...[accountKey(partition, account), dueKey(partition), journalKey(partition), censusKey(partition)],
        ...[account, step, String(Math.round(this.clock.now())), String(Math.round(this.offset()))],
        ...[terms?.rule ?? '', terms?.terms ?? '', value, cause, member],
      ),
    )
    const [status, is, end, due] = reply.split(' ') as [string, AccountStatus, string, string | undefined]
    if (status !== 'done') return { status } as LifeOutcome
    if (due === 'due') this.asked(`reauth-all ${account}`)
    return { status, is, end: end === '0' ? undefined : Number(end) }
  }

  /** Takes an identity out of the index, unless it is another account's by now. May be repeated. */
  async unclaim(identity: Identity, account: string): Promise<void> {
    const { key, field } = identityKey(identity)
    await this.store.call('settle-identity', this.deadline(), redis =>
      redis.settleIdentity(key, field, account, '', ''),
    )
  }

  private deadline(): number {
    return this.store.deadlineIn(this.patienceMs)
  }
}

/** The field `life`, as lua/include/life.lua writes it. */
export function readLife(line: string | undefined): AccountLife | undefined {
  const [, phase, since, end, told, hand, rule, terms] =
    /^(\w+) since (\d+) end (\d+) told (\d+) hand ([01]) rule (\S+) terms ?(.*)$/.exec(line ?? '') ?? []
  if (phase === undefined) return undefined
  return {
    phase: phase as AccountLife['phase'],
    since: Number(since),
    end: end === '0' ? undefined : Number(end),
    told: Number(told),
    byHand: hand === '1',
    rule: rule!,
    terms: terms!,
  }
}
