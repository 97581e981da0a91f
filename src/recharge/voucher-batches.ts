/**
 * Batches of vouchers: made, printed once, activated by somebody else, blocked (semantics.md section 10).
 *
 * A batch is made as a secret seed and nothing else. Its codes come to be while they are exported: each is derived from the seed, takes its
 * place among all codes, and is printed. An export that breaks off, by whose fault ever, leaves the seed: the next one finds the places
 * taken by its own vouchers and prints the same codes again, so none is lost and none is there twice. At the end of a whole one the seed
 * is erased, and with it the last that could tell the codes. Before it is activated none of them is worth anything.
 */
import { randomBytes } from 'node:crypto'
import type { StoredBatch, VoucherNumber, VoucherState, VoucherStore } from '../balance/vouchers.js'
import { writeNumber } from '../balance/vouchers.js'
import type { Clock } from '../clock.js'
import { formatMoney, type Micros, type Millis } from '../units.js'
import { readRanges, sizeOf, withoutRange, withRange, writeRanges, type SerialRange } from './serial-ranges.js'
import { codeOf, placeOf } from './voucher-codes.js'
import type { VoucherKey } from './voucher-key.js'

/** What a voucher is worth, and how it looks. */
export interface BatchTerms {
  readonly name: string
  readonly count: number
  readonly amount: Micros | undefined
  /** Of the amount. */
  readonly currency: string | undefined
  readonly offer: string | undefined
  /** Expired from then on; undefined: never. */
  readonly ends: Millis | undefined
  /** Of a code, without the check digit. */
  readonly digits: number
}

/** Who did what to a batch. */
export interface BatchAct {
  readonly at: Millis
  readonly by: string
  readonly act: 'create' | 'export' | 'exported' | 'activate' | 'block' | 'unblock'
  /** Serials; absent: the whole batch. */
  readonly from?: number | undefined
  readonly to?: number | undefined
  readonly reason?: string | undefined
}

export interface Batch extends BatchTerms {
  readonly id: string
  readonly state: 'created' | 'active' | 'blocked' | 'expired'
  readonly exported: boolean
  /** Id of the key that its codes are kept by. */
  readonly key: string
  readonly blocked: readonly SerialRange[]
  readonly claimed: number
  readonly used: number
  readonly acts: readonly BatchAct[]
}

/** Vouchers of a batch by state; each is in one. `redeeming`: claimed, its money is on the way. */
export type VoucherCounts = Readonly<
  Record<'created' | 'active' | 'redeeming' | 'used' | 'blocked' | 'expired', number>
>

export interface BatchReport {
  readonly batch: Batch
  readonly counts: VoucherCounts
  /** Days as the catalog's time zone has them. */
  readonly redeemed: readonly { readonly day: string; readonly outlet: string | undefined; readonly count: number }[]
}

export type BatchRefusal =
  | 'no_batch'
  /** `other_key`: this daemon has not the key that it was made with. */
  | 'other_key'
  | 'already_exported'
  | 'export_running'
  | 'not_exported'
  | 'blocked'
  | 'same_person'
  | 'no_such_serials'
  | 'too_many_ranges'

export type BatchOutcome =
  | { readonly status: 'done' | 'unchanged'; readonly batch: Batch }
  | { readonly status: BatchRefusal; readonly batch?: Batch | undefined }

export type ExportOutcome =
  { readonly status: 'started'; readonly lines: AsyncGenerator<string> } | { readonly status: BatchRefusal }

export interface BatchesOptions {
  readonly store: VoucherStore
  readonly keys: readonly VoucherKey[]
  /** Who made a batch, or printed it, may not activate it. */
  readonly dualControl: boolean
  /** How many vouchers the store is to hold: their hashes are made for it. */
  readonly capacity: number
  readonly clock: Clock
}

/** What is kept of a batch beside what lua/voucher-claim.lua reads. */
interface BatchRecord {
  readonly name: string
  readonly count: number
  readonly amount?: string | undefined
  readonly currency?: string | undefined
  readonly offer?: string | undefined
  readonly digits: number
  readonly key: string
  /** Sealed; absent once it was exported. */
  readonly seed?: string | undefined
  /** An export that is under way. */
  readonly exporting?: { readonly token: string; readonly seen: Millis } | undefined
  readonly activated?: true | undefined
  readonly acts: readonly BatchAct[]
}

/** What a change makes of a batch. */
interface Change {
  readonly state?: StoredBatch['state']
  readonly blocked?: string
  readonly record: BatchRecord
}

export const mostVouchers = 1_000_000
/** Of one batch; each redemption looks through them. */
const mostRanges = 500
const mostActs = 200
/** Codes between two breaths of the event loop, some 3 ms. */
const codesOfOneSlice = 250
const codesOfOneHash = 100
/** An export that was not heard of for so long has died, ms. */
const exportLostMs = 60_000
const exportSeenMs = 10_000
/** How often a change is made anew because the batch changed meanwhile. */
const mostTries = 20
const csvHead = 'voucher,code,amount,currency,offer,expires\n'

export class VoucherBatches {
  private buckets: number | undefined

  constructor(private readonly options: BatchesOptions) {}

  /**
   * A new batch, or the one that this request made before.
   *
   * @returns other_key: this store's vouchers are kept by keys that this daemon has not got
   */
  async create(
    terms: BatchTerms,
    by: string,
    request: string,
  ): Promise<
    | { readonly status: 'created' | 'exists'; readonly batch: Batch }
    | { readonly status: 'other_key'; ids: readonly string[] }
  > {
    const { store, keys, clock } = this.options
    const missing = this.missing(await store.keyIds())
    if (missing.length > 0) return { status: 'other_key', ids: missing }
    const [key] = keys as [VoucherKey]
    const others = this.missing(await store.keyIds(key.id))
    if (others.length > 0) return { status: 'other_key', ids: others } // another daemon was faster with another key
    const id = await store.batchNumber(request)
    const { ends, amount, ...rest } = terms
    const record: BatchRecord = {
      ...rest,
      amount: amount === undefined ? undefined : String(amount),
      key: key.id,
      seed: key.seal(randomBytes(32)),
      acts: [{ at: clock.now(), by, act: 'create' }],
    }
    const made = await store.putBatch({
      id,
      rev: 0,
      state: 'created',
      ends,
      blocked: '',
      record: JSON.stringify(record),
    })
    return { status: made ? 'created' : 'exists', batch: (await this.show(id))! }
  }

  /** Ids of keys that this daemon has not got. */
  missing(ids: readonly string[]): readonly string[] {
    return ids.filter(id => !this.options.keys.some(key => key.id === id))
  }

  async show(id: string): Promise<Batch | undefined> {
    const stored = await this.options.store.batch(id)
    return stored && this.batchOf(stored)
  }

  /** The newest first, those with smaller numbers than `before`. */
  async list(before: number, most: number): Promise<readonly Batch[]> {
    return (await this.options.store.batches(before, most)).map(stored => this.batchOf(stored))
  }

  async report(id: string): Promise<BatchReport | undefined> {
    const { store } = this.options
    const batch = await this.show(id)
    if (!batch) return undefined
    const redeemed = Object.entries(await store.report(id)).map(([place, count]) => {
      const [day, outlet] = place.split(' ') as [string, string]
      return { day, outlet: outlet === '-' ? undefined : outlet, count: Number(count) }
    })
    redeemed.sort((a, b) => (a.day + (a.outlet ?? '') < b.day + (b.outlet ?? '') ? -1 : 1))
    const { count, claimed: redeeming, used, state } = batch
    const left = count - used - redeeming
    let blocked = state === 'blocked' ? left : 0
    if (state === 'active' || state === 'created') {
      for (const { from, to } of batch.blocked) blocked += to - from + 1 - (await store.takenIn(id, from, to))
    }
    const counts = { created: 0, active: 0, redeeming, used, blocked, expired: 0 }
    if (state !== 'blocked') counts[state] = Math.max(0, left - blocked)
    return { batch, counts, redeemed }
  }

  /** A voucher's state; undefined: the batch has none with this serial. */
  async voucher(voucher: VoucherNumber): Promise<{ readonly batch: Batch; readonly state: VoucherState } | undefined> {
    const batch = await this.show(voucher.batch)
    if (!batch || voucher.serial < 1 || voucher.serial > batch.count) return undefined
    return { batch, state: await this.options.store.look(voucher) }
  }

  /** Makes the vouchers of a batch worth what they say. */
  activate(id: string, by: string): Promise<BatchOutcome> {
    return this.change(id, by, (batch, record) => {
      if (batch.state === 'active') return 'unchanged'
      if (batch.state === 'blocked') return 'blocked'
      if (!batch.exported) return 'not_exported'
      const prepared = record.acts.filter(({ act }) => act === 'create' || act === 'exported').map(act => act.by)
      if (this.options.dualControl && prepared.includes(by)) return 'same_person'
      return { state: 'active', record: { ...record, activated: true, ...this.acts(record, { by, act: 'activate' }) } }
    })
  }

  /** Blocks serials, or the whole batch. What is being redeemed this moment is redeemed. */
  block(id: string, range: SerialRange | undefined, by: string, reason: string): Promise<BatchOutcome> {
    return this.change(id, by, (batch, record) => {
      const acts = this.acts(record, { by, act: 'block', ...range, reason })
      if (!range) return batch.state === 'blocked' ? 'unchanged' : { state: 'blocked', record: { ...record, ...acts } }
      if (range.from < 1 || range.from > range.to || range.to > batch.count) return 'no_such_serials'
      const blocked = withRange(batch.blocked, range)
      if (sizeOf(blocked) === sizeOf(batch.blocked)) return 'unchanged'
      if (blocked.length > mostRanges) return 'too_many_ranges'
      return { blocked: writeRanges(blocked), record: { ...record, ...acts } }
    })
  }

  /** Takes a block away; that of the batch leaves single serials blocked. */
  unblock(id: string, range: SerialRange | undefined, by: string, reason: string): Promise<BatchOutcome> {
    return this.change(id, by, (batch, record) => {
      const acts = this.acts(record, { by, act: 'unblock', ...range, reason })
      if (!range) {
        if (batch.state !== 'blocked') return 'unchanged'
        return { state: record.activated ? 'active' : 'created', record: { ...record, ...acts } }
      }
      if (range.from < 1 || range.from > range.to || range.to > batch.count) return 'no_such_serials'
      const blocked = withoutRange(batch.blocked, range)
      if (sizeOf(blocked) === sizeOf(batch.blocked)) return 'unchanged'
      if (blocked.length > mostRanges) return 'too_many_ranges'
      return { blocked: writeRanges(blocked), record: { ...record, ...acts } }
    })
  }

  /** Prints the codes, as lines of CSV. One whole export is all there is. */
  async export(id: string, by: string): Promise<ExportOutcome> {
    const { clock, keys } = this.options
    const token = randomBytes(8).toString('hex')
    const begun = await this.change(id, by, (batch, record) => {
      if (record.seed === undefined) return 'already_exported'
      if (record.exporting?.token === token) return 'unchanged' // the answer was lost on the way
      if (!keys.some(key => key.id === record.key)) return 'other_key'
      if (batch.state === 'blocked') return 'blocked'
      if (record.exporting && clock.now() < record.exporting.seen + exportLostMs) return 'export_running'
      const exporting = { token, seen: clock.now() }
      return { record: { ...record, exporting, ...this.acts(record, { by, act: 'export' }) } }
    })
    if (begun.status !== 'done' && begun.status !== 'unchanged') return { status: begun.status }
    return { status: 'started', lines: this.print(begun.batch, token, by) }
  }

  private async *print(batch: Batch, token: string, by: string): AsyncGenerator<string> {
    const { store, keys, clock } = this.options
    const { id, count, digits } = batch
    const key = keys.find(each => each.id === batch.key)!
    const { seed: sealed } = JSON.parse((await store.batch(id))!.record) as BatchRecord
    const seed = key.open(sealed!)
    let whole = false
    try {
      const end = rowEnd(batch)
      let seenAt = clock.monotonic()
      yield csvHead
      for (let first = 1; first <= count; first += codesOfOneSlice) {
        const serials = Array.from({ length: Math.min(codesOfOneSlice, count - first + 1) }, (_, i) => first + i)
        const codes = await this.placed(id, serials, seed, digits, key)
        if (clock.monotonic() > seenAt + exportSeenMs) {
          seenAt = clock.monotonic()
          await this.exporting(id, by, token, record => ({ ...record, exporting: { token, seen: clock.now() } }))
        } else {
          await this.mustBe(id, token)
        }
        yield codes.map((code, i) => `${id}-${first + i},${code}${end}`).join('')
      }
      // Whoever reads has taken the last line: now nothing may tell the codes any more.
      await this.exporting(id, by, token, record => ({
        ...record,
        ...{ seed: undefined, exporting: undefined },
        ...this.acts(record, { by, act: 'exported' }),
      }))
      whole = true
    } finally {
      seed.fill(0)
      // Broken off: another may begin at once.
      if (!whole)
        await this.exporting(id, by, token, record => ({ ...record, exporting: undefined })).catch(() => undefined)
    }
  }

  /** Codes whose places are these vouchers' now, or have been since an export that broke off. */
  private async placed(
    batch: string,
    serials: readonly number[],
    seed: Buffer,
    digits: number,
    key: VoucherKey,
  ): Promise<readonly string[]> {
    const buckets = (this.buckets ??= await this.options.store.codeBuckets(bucketsFor(this.options.capacity)))
    const codes = new Map<number, string>()
    let open = serials
    for (let attempt = 0; open.length > 0; attempt++) {
      const tried = open.map(serial => ({ serial, code: codeOf(seed, serial, attempt, digits) }))
      const slots = tried.map(({ serial, code }) => ({
        ...placeOf(code, key.pepper, buckets),
        voucher: { batch, serial },
      }))
      const owners = await this.options.store.takeCodes(slots)
      tried.forEach(({ serial, code }, i) => {
        if (writeNumber(owners[i]!) === `${batch}-${serial}`) codes.set(serial, code)
      })
      open = open.filter(serial => !codes.has(serial))
    }
    return serials.map(serial => codes.get(serial)!)
  }

  /** @throws Error when the export is no longer this one's */
  private async exporting(
    id: string,
    by: string,
    token: string,
    next: (record: BatchRecord) => BatchRecord,
  ): Promise<void> {
    const { status } = await this.change(id, by, (_, record) =>
      record.exporting?.token === token ? { record: next(record) } : 'export_running',
    )
    if (status !== 'done') throw exportLost(id)
  }

  /** Nothing is handed out by an export that was given up for dead. */
  private async mustBe(id: string, token: string): Promise<void> {
    const { record } = (await this.options.store.batch(id))!
    if ((JSON.parse(record) as BatchRecord).exporting?.token !== token) throw exportLost(id)
  }

  private async change(
    id: string,
    by: string,
    next: (batch: Batch, record: BatchRecord) => Change | 'unchanged' | BatchRefusal,
  ): Promise<BatchOutcome> {
    for (let tries = 0; tries < mostTries; tries++) {
      const stored = await this.options.store.batch(id)
      if (!stored) return { status: 'no_batch' }
      const batch = this.batchOf(stored)
      const change = next(batch, JSON.parse(stored.record) as BatchRecord)
      if (typeof change === 'string') return { status: change, batch }
      const { state = stored.state, blocked = stored.blocked, record } = change
      const put = { ...stored, state, blocked, record: JSON.stringify(record) }
      if (await this.options.store.putBatch(put))
        return { status: 'done', batch: this.batchOf({ ...put, rev: stored.rev + 1 }) }
    }
    throw new Error(`batch ${id} changed ${mostTries} times while ${by} was changing it`)
  }

  private acts({ acts }: BatchRecord, act: Omit<BatchAct, 'at'>): Pick<BatchRecord, 'acts'> {
    const all = [...acts, { at: this.options.clock.now(), ...act }]
    // Who made and printed it decides who may activate it.
    const first = all.length - mostActs
    return { acts: all.filter((each, i) => i >= first || each.act === 'create' || each.act === 'exported') }
  }

  private batchOf(stored: StoredBatch): Batch {
    const { name, count, amount, currency, offer, digits, key, seed, acts } = JSON.parse(stored.record) as BatchRecord
    const { id, ends, claimed, used } = stored
    const expired = ends !== undefined && ends <= this.options.clock.now() && stored.state !== 'blocked'
    return {
      ...{ id, name, count, currency, offer, digits, ends, key, claimed, used, acts },
      amount: amount === undefined ? undefined : (BigInt(amount) as Micros),
      state: expired ? 'expired' : stored.state,
      exported: seed === undefined,
      blocked: readRanges(stored.blocked),
    }
  }
}

/** So many hashes that each holds about 100 codes when `capacity` vouchers are kept. */
export const bucketsFor = (capacity: number): number =>
  2 ** Math.ceil(Math.log2(Math.max(1, capacity / codesOfOneHash)))

const exportLost = (id: string): Error => new Error(`another export of batch ${id} has begun meanwhile`)

const rowEnd = ({ amount, currency, offer, ends }: Batch): string =>
  `,${[
    amount === undefined ? '' : formatMoney(amount),
    currency ?? '',
    offer ?? '',
    ends === undefined ? '' : new Date(ends).toISOString(),
  ].join(',')}\n`
