/**
 * Vouchers as the store has them: batches, where the codes lie, who claimed which serial, who guesses. lua/voucher-*.lua decide; every call
 * may be repeated. Of a code the store never sees more than a piece of its HMAC.
 *
 * Memory: a voucher that nobody has used is one field of a code hash, about 100 to a hash; only those that were claimed have a state.
 */
import type { Clock } from '../clock.js'
import type { Millis } from '../units.js'
import {
  accountKey,
  dueKey,
  journalKey,
  onceKey,
  partitionOf,
  storeKey,
  voucherBarredKey,
  voucherBatchesKey,
  voucherBatchKey,
  voucherCodesKey,
  voucherGuessKey,
  voucherKeysKey,
  voucherLastKey,
  voucherOnceKey,
  voucherReportKey,
  voucherSerialsKey,
} from './keys.js'
import { inPipeline, pieces } from './pipeline.js'
import type { Store } from './store.js'

export interface StoredBatch {
  readonly id: string
  /** Changes with each change of what follows, but for the counts. */
  readonly rev: number
  readonly state: 'created' | 'active' | 'blocked'
  /** Its vouchers are expired from then on; undefined: never. */
  readonly ends: Millis | undefined
  /** Serials, like `1-100,345-345`. */
  readonly blocked: string
  /** What recharge/ keeps of it, JSON. */
  readonly record: string
  readonly claimed: number
  readonly used: number
}

/** Which voucher: `<batch>-<serial>` in words. */
export interface VoucherNumber {
  readonly batch: string
  readonly serial: number
}

/** A code hash and the field in it. */
export interface CodeSlot {
  readonly bucket: number
  readonly field: string
}

/** Who has claimed a voucher, for what is to be done and said later. Words without spaces. */
export interface VoucherClaim {
  readonly account: string
  /** Number of the subscriber that an offer is for; 0: all of the account. */
  readonly subscriber: string
  readonly redemption: string
  readonly at: Millis
  readonly channel: string
  readonly outlet: string | undefined
  readonly actor: string
}

/** `unknown`: there is no such batch. `late`: this redemption was given up meanwhile. */
export type VoucherState =
  | {
      readonly status:
        'free' | 'yours' | 'unknown' | 'created' | 'blocked' | 'expired' | 'late' | 'gone' | 'freed' | 'done'
    }
  | { readonly status: 'claimed' | 'used'; readonly claim: VoucherClaim }

export interface GuessLimits {
  /** Wrong codes in a window, by whom they are counted. */
  readonly account: number
  readonly principal: number
  readonly outlet: number
  readonly windowMs: number
  readonly lockMs: number
}

export interface Guesser {
  readonly account: string
  readonly principal: string
  readonly outlet: string | undefined
}

export type GuessKind = 'account' | 'principal' | 'outlet'

/** `locked`: until then, and by which of them when it was just now. `busy`: as many tries as may be are under way. */
export type GuessOutcome =
  | { readonly status: 'ok' | 'busy' }
  | { readonly status: 'locked'; readonly until: Millis }
  | { readonly status: 'locked_now'; readonly by: readonly GuessKind[] }

/** Longer than any call is on its way, ms: a redemption that was given up cannot claim afterwards. */
const barredKeepMs = 3_600_000
/** A request for a batch is known for so long, ms. */
const requestKeepMs = 400 * 24 * 3_600_000
/** A try whose daemon died no longer counts after so long, ms. */
const lostTryMs = 60_000
/** As keys.ts and lua/voucher-claim.lua have it. */
const serialsOfOneHash = 100
const hashesOfOnePipeline = 200
const guessKinds: readonly GuessKind[] = ['account', 'principal', 'outlet']

export class VoucherStore {
  constructor(
    private readonly store: Store,
    private readonly partitions: number,
    private readonly clock: Clock,
    private readonly patienceMs = 5000,
  ) {}

  /**
   * How many hashes the codes of this store lie in: a power of two, fixed by whoever asks first.
   *
   * @param wanted when nobody asked before
   */
  async codeBuckets(wanted: number): Promise<number> {
    return this.call('voucher-setup', async redis => {
      await redis.hsetnx(storeKey, 'voucherBuckets', wanted)
      return Number(await redis.hget(storeKey, 'voucherBuckets'))
    })
  }

  /** The ids of the keys that batches were made with; `add` is one from now on. */
  async keyIds(add?: string): Promise<readonly string[]> {
    return this.call('voucher-setup', async redis => {
      if (add !== undefined) await redis.sadd(voucherKeysKey, add)
      return redis.smembers(voucherKeysKey)
    })
  }

  /** The number of a new batch, or the one that this request for a batch got before. */
  async batchNumber(request: string): Promise<string> {
    return this.call('voucher-setup', async redis => {
      const key = voucherOnceKey(request)
      const known = await redis.get(key)
      if (known !== null) return known
      // A number that is lost on the way stays unused.
      const next = String(await redis.incr(voucherLastKey))
      await redis.set(key, next, 'PX', requestKeepMs, 'NX')
      return (await redis.get(key)) ?? next
    })
  }

  /** Writes a batch, of `rev` 0 as a new one. False: another came first, read it again. */
  async putBatch(batch: Omit<StoredBatch, 'claimed' | 'used'>): Promise<boolean> {
    const { id, rev, state, ends = 0, blocked, record } = batch
    const reply = await this.call('voucher-batch', redis =>
      redis.voucherBatch(voucherBatchKey(id), String(rev), state, String(ends), blocked, record),
    )
    if (rev === 0) await this.call('voucher-batch', redis => redis.zadd(voucherBatchesKey, Number(id), id))
    return reply !== 'moved'
  }

  async batch(id: string): Promise<StoredBatch | undefined> {
    const [state, blocked, record, counts] = await this.call('voucher-batch', redis =>
      redis.hmget(voucherBatchKey(id), 'state', 'blocked', 'record', 'counts'),
    )
    return state == null ? undefined : readBatch(id, state, blocked ?? '', record ?? '{}', counts ?? null)
  }

  /** The newest first, those before `before`. */
  async batches(before: number, most: number): Promise<readonly StoredBatch[]> {
    const ids = await this.call('voucher-batch', redis =>
      redis.zrange(voucherBatchesKey, `(${before}`, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, most),
    )
    return (await Promise.all(ids.map(id => this.batch(id)))).filter(each => each !== undefined)
  }

  /** Vouchers used, by `<day> <outlet>`. */
  async report(batch: string): Promise<Readonly<Record<string, string>>> {
    return this.call('voucher-report', redis => redis.hgetall(voucherReportKey(batch)))
  }

  /**
   * Takes places for vouchers, in order: each where nobody is yet.
   *
   * @returns for each whose place it is now: its own, or that of another
   */
  async takeCodes(
    codes: readonly (CodeSlot & { readonly voucher: VoucherNumber })[],
  ): Promise<readonly VoucherNumber[]> {
    return this.call('voucher-codes', async redis => {
      const made = await inPipeline(redis, pipeline => {
        for (const { bucket, field, voucher } of codes)
          pipeline.hsetnx(voucherCodesKey(bucket), field, writeNumber(voucher))
      })
      const known = codes.filter((_, i) => made[i] === 0)
      const owners = await inPipeline(redis, pipeline => {
        for (const { bucket, field } of known) pipeline.hget(voucherCodesKey(bucket), field)
      })
      return codes.map((code, i) => (made[i] === 0 ? readNumber(owners[known.indexOf(code)] as string)! : code.voucher))
    })
  }

  /** Whose places these are, and the keys that codes of this store are kept by. */
  async findCodes(
    slots: readonly CodeSlot[],
  ): Promise<{ readonly vouchers: readonly (VoucherNumber | undefined)[]; readonly keys: readonly string[] }> {
    return this.call('voucher-codes', async redis => {
      const [keys, ...found] = await inPipeline(redis, pipeline => {
        pipeline.smembers(voucherKeysKey)
        for (const { bucket, field } of slots) pipeline.hget(voucherCodesKey(bucket), field)
      })
      const vouchers = found.map(value => (value === null ? undefined : readNumber(value as string)))
      return { vouchers, keys: keys as string[] }
    })
  }

  /** The state of a voucher, as a redemption would find it. */
  look(voucher: VoucherNumber): Promise<VoucherState> {
    return this.step('look', voucher, '-')
  }

  claim(voucher: VoucherNumber, claim: VoucherClaim): Promise<VoucherState> {
    return this.step('claim', voucher, claim.redemption, claim)
  }

  /** Where a redemption stands, for who finishes it: `gone` when it has not claimed, and then it never will. */
  settle(voucher: VoucherNumber, redemption: string): Promise<VoucherState> {
    return this.step('settle', voucher, redemption)
  }

  /** @param day like `2026-11-22`, for the report */
  use(voucher: VoucherNumber, { redemption, outlet }: VoucherClaim, day: string): Promise<VoucherState> {
    return this.step('use', voucher, redemption, undefined, `${day} ${outlet ?? '-'}`)
  }

  free(voucher: VoucherNumber, redemption: string): Promise<VoucherState> {
    return this.step('free', voucher, redemption)
  }

  /** Notes a redemption in the due list of its account, for the sweeper at `at` when nobody has finished it by then. */
  async intend(account: string, id: string, at: Millis): Promise<void> {
    const key = dueKey(partitionOf(account, this.partitions))
    await this.call('due', redis => redis.zadd(key, at, voucherMember(account, id)))
  }

  async intended(account: string, id: string): Promise<void> {
    const key = dueKey(partitionOf(account, this.partitions))
    await this.call('due', redis => redis.zrem(key, voucherMember(account, id)))
  }

  /** A purchase under this reference never happens, if it has not. True: it has. */
  async voidPurchase(account: string, reference: string): Promise<boolean> {
    const key = onceKey(partitionOf(account, this.partitions), `subscribe:${account}:${reference}`)
    return this.call('once', async redis => {
      await redis.set(key, voidAnswer, 'PX', requestKeepMs, 'NX')
      return (await redis.get(key)) !== voidAnswer
    })
  }

  /** The subscription that was bought under this reference; undefined: none. */
  async purchaseOf(account: string, reference: string): Promise<string | undefined> {
    const key = onceKey(partitionOf(account, this.partitions), `subscribe:${account}:${reference}`)
    const answer = await this.call('once', redis => redis.get(key))
    return answer === null || answer === voidAnswer ? undefined : answer.split(' ')[2]
  }

  /** How many vouchers of these serials somebody has. */
  async takenIn(batch: string, from: number, to: number): Promise<number> {
    const first = Math.floor(from / serialsOfOneHash)
    const hashes = Array.from({ length: Math.floor(to / serialsOfOneHash) - first + 1 }, (_, i) => first + i)
    let taken = 0
    for (const some of pieces(hashes, hashesOfOnePipeline)) {
      const replies = (await this.call('voucher-report', redis =>
        inPipeline(redis, pipeline =>
          some.forEach(n => pipeline.hkeys(voucherSerialsKey(batch, n * serialsOfOneHash))),
        ),
      )) as string[][]
      replies.forEach((fields, i) => {
        const serials = fields.map(field => some[i]! * serialsOfOneHash + Number(field))
        taken += serials.filter(serial => from <= serial && serial <= to).length
      })
    }
    return taken
  }

  async guess(
    step: 'try' | 'wrong' | 'right' | 'end' | 'clear',
    { account, principal, outlet }: Guesser,
    token: string,
    limits: GuessLimits,
  ): Promise<GuessOutcome> {
    const keys = [`account-${account}`, `principal-${principal}`, `outlet-${outlet ?? '-'}`].map(voucherGuessKey)
    const most =
      step === 'clear' ? '1 0 0' : `${limits.account} ${limits.principal} ${outlet === undefined ? 0 : limits.outlet}`
    const times = [limits.windowMs, limits.lockMs, lostTryMs].map(String)
    const now = String(this.clock.now())
    const reply = await this.call('voucher-guess', redis =>
      redis.voucherGuess(...keys, step, token, now, most, ...times),
    )
    const [status, ...words] = reply.split(' ')
    if (status !== 'locked') return { status: status as 'ok' | 'busy' }
    if (step === 'try') return { status, until: Number(words[0]) }
    return { status: 'locked_now', by: words.map(word => guessKinds[Number(word) - 1]!) }
  }

  /** An entry in the account's ledger that moves nothing, once. */
  async note(account: string, once: string, cause: object): Promise<void> {
    const partition = partitionOf(account, this.partitions)
    const words = [account, String(this.clock.now()), JSON.stringify(cause).slice(1, -1), String(requestKeepMs)]
    await this.call('note', redis =>
      redis.note(accountKey(partition, account), onceKey(partition, once), journalKey(partition), ...words),
    )
  }

  private async step(
    step: string,
    { batch, serial }: VoucherNumber,
    redemption: string,
    claim?: VoucherClaim,
    day = '-',
  ): Promise<VoucherState> {
    const reply = await this.call('voucher-claim', redis =>
      redis.voucherClaim(
        voucherBatchKey(batch),
        voucherSerialsKey(batch, serial),
        voucherBarredKey(batch, redemption),
        voucherReportKey(batch),
        step,
        String(serial),
        redemption,
        String(this.clock.now()),
        claim ? writeClaim(claim) : '-',
        day,
        String(barredKeepMs),
      ),
    )
    const space = reply.indexOf(' ')
    if (space >= 0)
      return { status: reply.slice(0, space) as 'claimed' | 'used', claim: readClaim(reply.slice(space + 1)) }
    if (reply === 'no_batch') return { status: 'unknown' }
    return { status: reply as 'free' }
  }

  private call<T>(name: string, send: (redis: Store['redis']) => Promise<T>): Promise<T> {
    return this.store.call(name, this.store.deadlineIn(this.patienceMs), send)
  }
}

/** What stands under the once-key of a purchase that is not to happen: no offer and no subscriber is called so. */
const voidAnswer = '- - 0'

const voucherMember = (account: string, id: string): string => `voucher ${account} ${id}`

export const writeNumber = ({ batch, serial }: VoucherNumber): string => `${batch}-${serial}`

/** `12-345`; undefined: it is no number of a voucher. */
export function readNumber(text: string): VoucherNumber | undefined {
  const match = /^([1-9]\d{0,8})-([1-9]\d{0,6})$/.exec(text)
  return match ? { batch: match[1]!, serial: Number(match[2]) } : undefined
}

const writeClaim = (claim: VoucherClaim): string => {
  const { account, subscriber, redemption, at, channel, outlet = '-', actor } = claim
  return `${account} ${subscriber} ${redemption} ${at} ${channel} ${outlet} ${actor}`
}

function readClaim(text: string): VoucherClaim {
  const match = /^(\S+) (\S+) (\S+) (\d+) (\S+) (\S+) (\S+)$/.exec(text)
  const [, account, subscriber, redemption, at, channel, outlet, actor] = match!
  return {
    ...{ account: account!, subscriber: subscriber!, redemption: redemption!, at: Number(at), channel: channel! },
    ...{ outlet: outlet === '-' ? undefined : outlet, actor: actor! },
  }
}

function readBatch(id: string, line: string, blocked: string, record: string, counts: string | null): StoredBatch {
  const [, state, ends, rev] = /^(\w+) until (\d+) rev (\d+)$/.exec(line)!
  const [, claimed, used] = /^claimed (\d+) used (\d+)$/.exec(counts ?? 'claimed 0 used 0')!
  return {
    id,
    rev: Number(rev),
    state: state as StoredBatch['state'],
    ends: ends === '0' ? undefined : Number(ends),
    blocked,
    record,
    claimed: Number(claimed),
    used: Number(used),
  }
}
