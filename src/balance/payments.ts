/**
 * Payments and the settings of automatic recharges, in the partition of their account. Of a payment there is one JSON text that says how
 * far it has come; whoever takes it further says what it has read, and in the same step when to look at it next.
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import { automaticKey, dueKey, partitionOf, paymentIndexKey, paymentKey } from './keys.js'
import type { Store } from './store.js'

/** A payment's state is the caller's: here it is JSON. */
export interface KeptPayment {
  readonly id: string
  readonly account: string
}

/** Remembered as long as recharge references are. */
const keepMs = 400 * 24 * 3_600_000

export class Payments<Payment extends KeptPayment> {
  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    /** Of the due list's partition, business time. */
    private readonly hint: (account: string, at: Millis) => void = () => undefined,
    private readonly patienceMs = 5000,
  ) {}

  /** @throws BalanceUnavailableError */
  async get(account: string, id: string): Promise<Payment | undefined> {
    const key = paymentKey(partitionOf(account, this.partitions), id)
    const text = await this.store.call('payment', this.deadline(), redis => redis.get(key))
    return text === null ? undefined : (JSON.parse(text) as Payment)
  }

  /**
   * Writes how far it has come. Safe to repeat.
   *
   * @param before as `get` gave it; undefined: it is new
   * @param next when to look at it again, business time; undefined: nothing more is to be done
   * @returns false: somebody else took it further meanwhile
   * @throws BalanceUnavailableError
   */
  async put(before: Payment | undefined, after: Payment, next: Millis | undefined): Promise<boolean> {
    const { account, id } = after
    const partition = partitionOf(account, this.partitions)
    const reply = await this.store.call('put-payment', this.deadline(), redis =>
      redis.putPayment(
        paymentKey(partition, id),
        dueKey(partition),
        before ? JSON.stringify(before) : '',
        JSON.stringify(after),
        paymentMember(account, id),
        next === undefined ? '' : String(next),
        String(keepMs),
      ),
    )
    if (reply === 'done' && next !== undefined) this.hint(account, next)
    return reply === 'done'
  }

  /** Notes whose payment this is, before anything of it is known. May be repeated. */
  async note(account: string, id: string): Promise<void> {
    await this.store.call('payment', this.deadline(), redis =>
      redis.set(paymentIndexKey(id), account, 'PX', keepMs, 'NX'),
    )
  }

  async accountOf(id: string): Promise<string | undefined> {
    return (await this.store.call('payment', this.deadline(), redis => redis.get(paymentIndexKey(id)))) ?? undefined
  }

  /** Takes a member out of the due list whose payment is gone. */
  async forget(account: string, id: string): Promise<void> {
    const key = dueKey(partitionOf(account, this.partitions))
    await this.store.call('payment', this.deadline(), redis => redis.zrem(key, paymentMember(account, id)))
  }

  private deadline(): number {
    return this.store.deadlineIn(this.patienceMs)
  }
}

export const paymentMember = (account: string, id: string): string => `payment ${account} ${id}`
export const automaticMember = (account: string): string => `auto ${account}`

/** While one daemon looks at an account. */
export interface AutomaticTurn {
  readonly account: string
  readonly token: string
}

/** Settings and state of an account's automatic recharge: JSON by account, in one hash a partition. */
export class AutomaticRecharges<Settings extends object> {
  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly clock: Clock,
    private readonly hint: (account: string, at: Millis) => void = () => undefined,
    private readonly patienceMs = 5000,
  ) {}

  /** @throws BalanceUnavailableError */
  async get(account: string): Promise<Settings | undefined> {
    const key = automaticKey(partitionOf(account, this.partitions))
    const text = await this.store.call('automatic', this.deadline(), redis => redis.hget(key, account))
    return text === null ? undefined : (JSON.parse(text) as Settings)
  }

  /** Of several accounts of one partition. @throws BalanceUnavailableError */
  async some(partition: number, accounts: readonly string[]): Promise<Map<string, Settings>> {
    const texts = await this.store.call('automatic', this.deadline(), redis =>
      redis.hmget(automaticKey(partition), ...accounts),
    )
    return new Map(
      accounts.flatMap((account, i) => (texts[i] == null ? [] : [[account, JSON.parse(texts[i]) as Settings]])),
    )
  }

  /**
   * Writes them; undefined takes them out. Safe to repeat.
   *
   * @param before as it was read
   * @param next when to look at it, business time; undefined: when its account's money falls
   * @returns false: somebody else changed it meanwhile
   * @throws BalanceUnavailableError
   */
  async put(
    account: string,
    before: Settings | undefined,
    after: Settings | undefined,
    next: Millis | undefined,
  ): Promise<boolean> {
    const partition = partitionOf(account, this.partitions)
    const reply = await this.store.call('put-document', this.deadline(), redis =>
      redis.putDocument(
        automaticKey(partition),
        account,
        before ? JSON.stringify(before) : '',
        after ? JSON.stringify(after) : '',
      ),
    )
    if (reply !== 'done') return false
    if (next !== undefined) await this.look(account, next)
    return true
  }

  /** Puts it into the due list, unless it stands there earlier. */
  async look(account: string, at: Millis): Promise<void> {
    const key = dueKey(partitionOf(account, this.partitions))
    await this.store.call('automatic', this.deadline(), redis => redis.zadd(key, 'LT', at, automaticMember(account)))
    this.hint(account, at)
  }

  /** Takes the account's turn for `forMs`: one daemon at a time. Undefined: it is not due, or another's. */
  async take(account: string, forMs: number): Promise<AutomaticTurn | undefined> {
    const now = this.clock.now()
    const token = String(now + forMs + Math.random())
    const reply = await this.turn(account, 'take', now, token, '')
    return reply === 'taken' ? { account, token } : undefined
  }

  /** Gives the turn back: the next one comes at `next`, or when the account's money falls again. */
  async done({ account, token }: AutomaticTurn, next: Millis | undefined): Promise<void> {
    await this.turn(account, 'put', this.clock.now(), token, next === undefined ? '' : String(next))
    if (next !== undefined) this.hint(account, next)
  }

  private turn(account: string, step: string, now: Millis, token: string, next: string): Promise<string> {
    const key = dueKey(partitionOf(account, this.partitions))
    return this.store.call('due-turn', this.deadline(), redis =>
      redis.dueTurn(key, automaticMember(account), step, String(now), token, next),
    )
  }

  private deadline(): number {
    return this.store.deadlineIn(this.patienceMs)
  }
}
