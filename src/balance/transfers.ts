/**
 * Transfers between accounts as the store has them: what left the sender and what became of it. recharge/transfers.ts takes them from step
 * to step; each may be repeated.
 */
import type { Clock } from '../clock.js'
import type { Micros, Millis } from '../units.js'
import { referenceKeepMs } from './credits.js'
import { accountKey, dueKey, journalKey, partitionOf, transferKey } from './keys.js'
import type { Store } from './store.js'

export interface Transfer {
  readonly id: string
  /** `sent`: it left the sender, and the receiver has it not yet as far as one knows. */
  readonly state: 'sent' | 'done' | 'returned'
  readonly from: string
  readonly to: string
  readonly amount: Micros
  readonly fee: Micros
  readonly currency: string
  readonly at: Millis
  /** Of the sender's entry. */
  readonly sequence: number
  readonly reason: string | undefined
  readonly actor: string
  readonly ended: Millis | undefined
  /** Why it came back. */
  readonly why: string | undefined
}

export interface SendRequest extends Pick<Transfer, 'id' | 'from' | 'to' | 'amount' | 'fee' | 'currency' | 'actor'> {
  readonly reason: string | undefined
  /** When a sweeper is to look after it, from now, ms. */
  readonly lookMs: number
  readonly day: Millis
  readonly mostCount: number | undefined
  readonly mostSum: Micros | undefined
  readonly lowBalance: readonly Micros[]
}

export type SendOutcome =
  /** `known`: it was sent before. `taken`: the id stands for another one. */
  | { readonly status: 'sent' | 'known' | 'taken' | 'no_account' }
  | { readonly status: 'out_of_service'; readonly is: string }
  | { readonly status: 'currency_differs'; readonly currency: string }
  | { readonly status: 'insufficient'; readonly free: Micros }
  | { readonly status: 'limit_count'; readonly most: number }
  | { readonly status: 'limit_sum'; readonly most: Micros; readonly today: Micros }

/** A note as it is kept with the transfer. */
interface Note {
  readonly from: string
  readonly reason?: string
  readonly actor: string
}

export class TransferStore {
  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly clock: Clock,
    private readonly patienceMs = 5000,
    /** As of `Credits`. */
    private readonly asked: (member: string) => void = () => undefined,
  ) {}

  /** A transfer's id says where it is: `<partition>-<name>`. */
  idFor(from: string, name: string): string {
    return `${partitionOf(from, this.partitions)}-${name}`
  }

  /** The sender's part. @throws BalanceUnavailableError; then it may be repeated */
  async send(request: SendRequest): Promise<SendOutcome> {
    const { id, from, to, amount, fee, currency, actor, reason, lookMs, day, mostCount, mostSum, lowBalance } = request
    const partition = partitionOf(from, this.partitions)
    const now = this.clock.now()
    const cause = { kind: 'transfer', transfer: id, direction: 'out', with: to, reason, actor }
    const note = { from, reason, actor }
    const reply = await this.call('send-transfer', redis =>
      redis.sendTransfer(
        accountKey(partition, from),
        transferKey(partition, id),
        journalKey(partition),
        dueKey(partition),
        ...[from, id, to, String(amount), String(fee), currency, String(now), String(now + lookMs)],
        JSON.stringify(cause).slice(1, -1),
        JSON.stringify(note),
        `${day} ${mostCount ?? 0} ${mostSum ?? 0}`,
        lowBalance.length === 0 ? '-' : lowBalance.join('.'),
      ),
    )
    const [status, first = '0', second = '0'] = reply.split(' ')
    switch (status) {
      case 'out_of_service':
        return { status, is: first }
      case 'currency_differs':
        return { status, currency: first }
      case 'insufficient':
        return { status, free: BigInt(first) as Micros }
      case 'limit_count':
        return { status, most: Number(first) }
      case 'limit_sum':
        return { status, most: BigInt(first) as Micros, today: BigInt(second) as Micros }
      default:
        return { status: status as 'sent' | 'known' | 'taken' | 'no_account' }
    }
  }

  /** The last step: `done` with the receiver's entry, or `returned` with why. */
  async end(
    { id, from, to, reason, actor }: Pick<Transfer, 'id' | 'from' | 'to' | 'reason' | 'actor'>,
    outcome: 'done' | 'returned',
    why: string,
  ): Promise<'done' | 'returned' | 'ended' | 'gone' | 'too_large'> {
    const partition = partitionOf(from, this.partitions)
    const cause = { kind: 'transfer', transfer: id, direction: 'in', with: to, returned: why, reason, actor }
    const reply = await this.call('end-transfer', redis =>
      redis.endTransfer(
        accountKey(partition, from),
        transferKey(partition, id),
        journalKey(partition),
        dueKey(partition),
        ...[from, id, outcome, why, String(this.clock.now()), String(referenceKeepMs)],
        JSON.stringify(cause).slice(1, -1),
      ),
    )
    if (reply.endsWith(' due')) this.asked(`reauth ${from}`)
    return reply.split(' ', 1)[0] as 'done' | 'returned' | 'ended' | 'gone' | 'too_large'
  }

  /** Undefined: there is none, or it is long ago. */
  async find(id: string): Promise<Transfer | undefined> {
    const partition = Number(/^(\d{1,6})-[0-9a-z]+$/.exec(id)?.[1] ?? this.partitions)
    if (partition >= this.partitions) return undefined
    const all = await this.call('transfer', redis => redis.hgetall(transferKey(partition, id)))
    return all['state'] === undefined ? undefined : readTransfer(id, all['state'], all['note']!, all['end'])
  }

  private call<T>(name: string, send: (redis: Store['redis']) => Promise<T>): Promise<T> {
    return this.store.call(name, this.store.deadlineIn(this.patienceMs), send)
  }
}

/** Fields of the hash, lua/send-transfer.lua. */
function readTransfer(id: string, line: string, noteText: string, end: string | undefined): Transfer {
  const [state, to, amount, fee, currency, at, sequence] = line.split(' ') as [Transfer['state'], ...string[]]
  const note = JSON.parse(noteText) as Note
  const [ended, why] = end?.split(' ') ?? []
  return {
    ...{ id, state, from: note.from, to: to!, currency: currency!, at: Number(at), sequence: Number(sequence) },
    amount: BigInt(amount!) as Micros,
    fee: BigInt(fee!) as Micros,
    ...{ reason: note.reason, actor: note.actor },
    ended: ended === undefined ? undefined : Number(ended),
    why: state === 'returned' ? why : undefined,
  }
}
