/**
 * What events need of the store beside charging: lua/refund.lua, the key that references to debits are signed with, and what is
 * kept of a debit for its repeats (semantics.md section 10).
 */
import { randomBytes } from 'node:crypto'
import type { ChargingConfig } from '../config/config.js'
import type { Millis, UnitType } from '../units.js'
import { readOutcome, type ChargeOutcome, type RequestHead } from './balance.js'
import { accountKey, dueKey, journalKey, partitionOf, refundedKey, sessionKey, storeKey } from './keys.js'
import { StoreDefectError, type Store } from './store.js'

export interface RefundRequest extends RequestHead {
  readonly lines: readonly RefundLine[]
}

export interface RefundLine {
  readonly key: string
  /** Units to give back; `all`: what is left of the debit. */
  readonly asked: bigint | 'all'
  /** For the answer. */
  readonly terms: string
  readonly debit: Debit
  /** Until then it may be refunded; infinity: always. */
  readonly until: Millis
}

/** One line of an event that was debited, as much of it as giving it back needs. */
export interface Debit {
  /** Names it within its account; undefined: no debit is named, and it is given back at the price of `rate`. */
  readonly id: string | undefined
  readonly unit: UnitType
  readonly units: bigint
  /** Name of the service, for the ledger's postings. */
  readonly service: string
  /** The words `rate` and `tiers` of its program, src/rating/program.ts. */
  readonly rate: string
  readonly tiers: string
  readonly counters: readonly DebitCounter[]
  /** What paid it, in the ledger's words. */
  readonly paid: string
}

/** A counter that a debit moved. */
export interface DebitCounter {
  /** With the subscriber's number, or `0`: `month-sms.0`. */
  readonly name: string
  /** `u`sed units, `m`icros, or the `t`iers of the rate. */
  readonly what: string
  /** Start of the period that it was counted in. */
  readonly period: Millis
}

export type RefundOutcome =
  | ChargeOutcome
  | { readonly status: 'terminated' | 'currency_differs' }
  | { readonly status: 'refused'; readonly line: string; readonly why: 'late' | 'spent' }

/** What is kept of an event for its repeats. */
export interface FirstDebit {
  readonly at: Millis
  /** Ids of programs by line. */
  readonly programs: ReadonlyMap<string, string>
}

const never = 9_007_199_254_740_991
/** A reference can be a day older than its use: what was refunded is kept so much longer than the window. */
const keepLongerMs = 2 * 86_400_000
const signingField = 'refund-key'

export class EventStore {
  private signing: Promise<Buffer> | undefined

  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly config: Pick<ChargingConfig, 'keepMarkMs' | 'refundWindowMs'>,
    /** Told of what a refund left in the due list for open sessions, like `reauth alice`: it is due at once. */
    private readonly asked: (member: string) => void = () => undefined,
  ) {}

  /**
   * Gives back what the lines name, all of them or none. Safe to repeat: the same number gets its first answer.
   *
   * @throws BalanceUnavailableError when the store did not answer in time; StoreDefectError when we or its data are wrong
   */
  async refund(request: RefundRequest): Promise<RefundOutcome> {
    const { account, sessionId, lines } = request
    const partition = partitionOf(account, this.partitions)
    const keys = [
      accountKey(partition, account),
      sessionKey(partition, sessionId),
      journalKey(partition),
      dueKey(partition),
      ...lines.map(({ debit }) => refundedKey(partition, debit.id ?? '-')),
    ]
    const args = [
      `${request.number} ${request.content} ${this.store.storeTime(request.deadline)} ${request.at} ${request.now} ` +
        `${account} ${request.subscriber} ${request.currency}`,
      `${this.config.keepMarkMs} ${this.config.refundWindowMs + keepLongerMs}`,
      request.cause,
      `${request.originHost} ${request.originRealm} ${request.via} ${request.service}`,
      ...lines.map(lineText),
    ]
    const reply = await this.store.call('refund', request.deadlineMonotonic, redis =>
      redis.refundLines(keys.length, ...keys, ...args),
    )
    const [word, line = '', why] = reply.split(' ')
    if (word === 'terminated' || word === 'currency_differs') return { status: word }
    if (word === 'due') {
      this.asked(`reauth ${account}`)
      return readOutcome(reply.slice('due '.length))
    }
    if (word === 'refused' && (why === 'late' || why === 'spent')) return { status: 'refused', line, why }
    return readOutcome(reply)
  }

  /** The key for references, the same for all daemons of the store. @throws BalanceUnavailableError */
  async signingKey(deadline: number): Promise<Buffer> {
    this.signing ??= this.readSigningKey(deadline)
    try {
      return await this.signing
    } catch (error) {
      this.signing = undefined
      throw error
    }
  }

  /** When an event was debited, and by which programs; undefined when that is no longer kept. */
  async firstDebit(
    account: string,
    sessionId: string,
    lines: readonly string[],
    deadline: number,
  ): Promise<FirstDebit | undefined> {
    const key = sessionKey(partitionOf(account, this.partitions), sessionId)
    const [opened, ...texts] = await this.store.call('session', deadline, redis =>
      redis.hmget(key, 'opened', ...lines.map(line => `line:${line}`)),
    )
    if (opened == null) return undefined
    const programs = new Map<string, string>()
    for (const [i, line] of lines.entries()) {
      const id = / program (\S+) /.exec(texts[i] ?? '')?.[1]
      if (id !== undefined) programs.set(line, id)
    }
    return { at: Number(opened.split(' ')[0]), programs }
  }

  private async readSigningKey(deadline: number): Promise<Buffer> {
    const text = await this.store.call('refund-key', deadline, async redis => {
      await redis.hsetnx(storeKey, signingField, randomBytes(32).toString('hex'))
      return redis.hget(storeKey, signingField)
    })
    if (text === null) throw new StoreDefectError('the store lost the key of refunds')
    return Buffer.from(text, 'hex')
  }
}

function lineText({ key, asked, terms, debit, until }: RefundLine): string {
  const { id, unit, units, service, rate, tiers, counters, paid } = debit
  const moved = counters.map(({ name, what, period }) => `${name},${what},${period}`).join(';') || '-'
  return (
    `${key} ${asked === 'all' ? '*' : asked} ${unit} ${terms}\n` +
    `of ${units} ${until === Infinity ? never : until} ${service} ${id ?? '-'}\n` +
    `rate ${rate} ${tiers}\ncounters ${moved}\npaid ${id === undefined ? 'now' : paid}`
  )
}
