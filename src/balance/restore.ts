/**
 * Puts accounts into an empty store again, as `ocsd --rebuild` has them from the ledger: their lines, and whatever else the store keeps of
 * them: identities, what is due when, how many of each offer there are, and which references were used.
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import {
  accountKey,
  censusKey,
  dueKey,
  identityKey,
  journalKey,
  onceKey,
  partitionOf,
  referenceKey,
  voucherLastKey,
} from './keys.js'
import { inPipeline, pieces } from './pipeline.js'
import type { Store } from './store.js'
import type { IdentityType } from './types.js'

export interface RestoredAccount {
  readonly account: string
  readonly lines: Readonly<Record<string, string>>
  /** Its last entry says that something was held: an entry is to say that it is no more. */
  readonly held: boolean
  /** Number of its last ledger entry, that one included. */
  readonly sequence: number
}

/** A reference that must not be used again. */
export type UsedReference =
  | {
      readonly kind: 'recharge'
      readonly account: string
      readonly at: Millis
      readonly channel: string
      readonly reference: string
      readonly amount: bigint
      readonly currency: string
      /** `<money> <debt> <seq>` after it. */
      readonly answer: string
    }
  | {
      readonly kind: 'subscribe'
      readonly account: string
      readonly at: Millis
      readonly reference: string
      /** `<offer> <subscriber> <subscription>` */
      readonly answer: string
    }

const referenceKeepMs = 400 * 24 * 3_600_000
const commandsOfOnePipeline = 500

export class Restore {
  /** Of vouchers, the highest that was seen. */
  private lastBatch = 0

  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly clock: Clock,
    private readonly patienceMs = 30_000,
  ) {}

  /** No account and no ledger entry stands in it. @throws BalanceUnavailableError */
  async isEmpty(): Promise<boolean> {
    let cursor = '0'
    do {
      const [next, keys] = await this.store.call('scan', this.deadline(), redis =>
        redis.scan(cursor, 'MATCH', 'ocs:{*', 'COUNT', 1000),
      )
      if (keys.some(key => /^ocs:\{\d+\}:(account:|session:|journal$)/.test(key))) return false
      cursor = next
    } while (cursor !== '0')
    return true
  }

  /** @throws BalanceUnavailableError, with some of them written */
  async accounts(accounts: readonly RestoredAccount[]): Promise<void> {
    const now = this.clock.now()
    for (const some of pieces(accounts, 100)) {
      await this.store.call('restore', this.deadline(), redis =>
        inPipeline(redis, pipeline => {
          for (const { account, lines, held, sequence } of some) {
            const partition = partitionOf(account, this.partitions)
            if (held)
              pipeline.xadd(
                journalKey(partition),
                '*',
                'e',
                `{"account":"${account}","seq":${sequence},"at":${now},"kind":"rebuild","posts":[],"lines":[],"held":0}`,
              )
            pipeline.hset(accountKey(partition, account), lines)
            for (const [at, member] of dueOf(account, lines, now)) pipeline.zadd(dueKey(partition), at, member)
            for (const field of censusOf(lines)) pipeline.hincrby(censusKey(partition), field, 1)
            for (const { type, value, number } of identitiesOf(lines)) {
              const { key, field } = identityKey({ type, value })
              pipeline.hset(key, field, `${account} ${number}`)
            }
          }
        }),
      )
    }
  }

  /** @throws BalanceUnavailableError */
  async references(references: readonly UsedReference[]): Promise<void> {
    // Batches of vouchers go on counting behind those that the ledger names: `voucher 3-17` is one recharge for ever.
    const batches = references.map(each =>
      each.kind === 'recharge' && each.channel === 'voucher' ? Number(/^(\d+)-/.exec(each.reference)?.[1] ?? 0) : 0,
    )
    this.lastBatch = Math.max(this.lastBatch, ...batches)
    if (this.lastBatch > 0) {
      const last = String(this.lastBatch)
      await this.store.call('restore', this.deadline(), redis => redis.set(voucherLastKey, last))
    }
    const now = this.clock.now()
    for (const some of pieces(references, commandsOfOnePipeline)) {
      await this.store.call('restore', this.deadline(), redis =>
        inPipeline(redis, pipeline => {
          for (const each of some) {
            const keep = each.at + referenceKeepMs - now
            if (keep <= 0) continue
            const partition = partitionOf(each.account, this.partitions)
            if (each.kind === 'recharge') {
              const { account, amount, currency, channel, reference } = each
              pipeline.set(referenceKey(channel, reference), `${account} ${amount} ${currency} settled`, 'PX', keep)
              const answer = `${each.answer} ${each.at} - 0 -`
              pipeline.set(onceKey(partition, `recharge:${channel}:${reference}`), answer, 'PX', keep)
            } else {
              pipeline.set(onceKey(partition, `subscribe:${each.account}:${each.reference}`), each.answer, 'PX', keep)
            }
          }
        }),
      )
    }
  }

  private deadline(): number {
    return this.store.deadlineIn(this.patienceMs)
  }
}

/** When the account must be looked at. Jobs read its lines and decide themselves whether it is time: these are asked at once. */
function dueOf(account: string, lines: Readonly<Record<string, string>>, now: Millis): [Millis, string][] {
  const due: [Millis, string][] = []
  for (const [field, line] of Object.entries(lines)) {
    const [, kind, id] = /^(bucket|subscription):(.*)$/.exec(field) ?? []
    if (kind === 'bucket') {
      const ends = Number(/ until (\d+)/.exec(line)?.[1] ?? 0)
      if (ends > 0) due.push([ends, `bucket ${account} ${id!}`])
      if (ends > 0 && line.includes(' remind=')) due.push([now, `remind ${account} bucket:${id!}`])
    }
    if (kind === 'subscription') {
      due.push([now, `renew ${account} ${id!}`])
      due.push([now, `remind ${account} subscription:${id!}`])
    }
  }
  if (lines['life'] !== undefined) due.push([now, `life ${account}`])
  return due
}

const words = (text: string | undefined): string[][] =>
  text === undefined || text === '' ? [] : text.split(';').map(part => part.split(' '))

function censusOf(lines: Readonly<Record<string, string>>): string[] {
  const offers = words(lines['subscriptions']).map(([, offer]) => `offer:${offer!}`)
  const buckets = Object.entries(lines).filter(([field]) => field.startsWith('bucket:'))
  return [...offers, ...buckets.map(([, line]) => `bucket:${line.slice(0, line.indexOf(' '))}`)]
}

function identitiesOf(
  lines: Readonly<Record<string, string>>,
): { type: IdentityType; value: string; number: string }[] {
  return words(lines['subscribers']).flatMap(([number, ...rest]) =>
    rest.flatMap(word => {
      const [, type, value] = /^(msisdn|imsi|nai):(.*)$/.exec(word) ?? []
      return type === undefined ? [] : [{ type: type as IdentityType, value: value!, number: number! }]
    }),
  )
}
