/**
 * Proves every balance: reads the ledger's files and what is only in the streams yet, and follows each account from the oldest
 * entry at hand to its balances in the store; semantics.md section 11, I1 and I2. Charges may go on meanwhile: an account
 * that moves is compared at the entry that its balances were read at.
 *
 * With a state file it goes on where the last one that found nothing wrong ended, so that a night reads a day and not a year; what somebody
 * changed in the files before that, only a full one finds. While something is wrong the state stays as it was, and each audit says it again.
 *
 * Memory: a few numbers an account, and entries that came before an earlier one of their account.
 */
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { isAfter, streamStart, type Journal } from '../balance/journal.js'
import { partitionOf } from '../balance/keys.js'
import type { Snapshot } from '../balance/snapshot.js'
import type { Account, Session } from '../balance/types.js'
import type { Millis } from '../units.js'
import { readState, writeState, type AccountReached, type FilePlace } from './audit-state.js'
import { listFiles, readLines } from './files.js'
import { References } from './references.js'

export interface AuditProblem {
  readonly account: string
  readonly what: string
  /** File and line, stream and id, or the store. */
  readonly where: string
}

export interface AuditResult {
  readonly ok: boolean
  readonly accounts: number
  /** Different entries that were read; of them from files, and from streams only. */
  readonly entries: number
  readonly fromFiles: number
  readonly fromStream: number
  /** Entries that came again, the same: harmless, another daemon wrote them too. */
  readonly duplicates: number
  /** Accounts without any entry at hand: their balances are not proven. */
  readonly unproven: number
  /** When the audit ended that this one went on from; undefined: it read everything. */
  readonly since: Millis | undefined
  /** The first hundred of `problemCount`. */
  readonly problems: readonly AuditProblem[]
  readonly problemCount: number
}

export interface AuditOptions {
  /** Of all daemons on this store: what one of them wrote is missing without its folder. */
  readonly directories: readonly string[]
  readonly journal: Journal
  readonly snapshot: Snapshot
  /** Where an audit without problems leaves how far it came; absent: it reads everything and leaves nothing. */
  readonly state?: string | undefined
  /** Read everything all the same. */
  readonly full?: boolean | undefined
  /** Of the state, ms. */
  readonly now?: Millis | undefined
}

/** A line of a file, or an entry of a stream with its place. */
interface Entry {
  readonly partition: number
  readonly id: string
  readonly account: string
  readonly seq: number
  readonly posts: readonly (readonly [string, string, number, number?, number?])[]
  readonly held?: number
}

/** An account as far as its entries were followed. */
interface Chain {
  readonly partition: number
  /** Number of the first entry followed, of the last, and the last's stream id. */
  from: number
  seq: number
  id: string
  /** Amount after the last posting by balance: main, debt (below zero), bucket:<id>. Absent: none posted yet. */
  balances: Map<string, number>
  held: number | undefined
  /** Later entries that came before one that is missing. */
  parked: Map<number, { entry: Entry; where: string }> | undefined
  /** Compare when this entry is reached. */
  awaited: Account | undefined
  met: boolean
}

const problemsShown = 100
const parkedOfOneAccount = 1000
const parkedInAll = 200_000
const rounds = 5

/**
 * Reads everything and compares.
 *
 * @throws BalanceUnavailableError when the store does not answer; the system's error when a file cannot be read
 */
export async function audit(options: AuditOptions): Promise<AuditResult> {
  return new Audit(options).run()
}

class Audit {
  private readonly chains = new Map<string, Chain>()
  private readonly references = new References()
  private readonly files: LedgerFolders
  /** Last id of each partition that was read from a file or a stream. */
  private reached: string[]
  private since: Millis | undefined
  private readonly problems: AuditProblem[] = []
  private problemCount = 0
  private fromFiles = 0
  private fromStream = 0
  private duplicates = 0
  private accounts = 0
  private unproven = 0
  private parked = 0
  private readonly waiting = new Set<string>()

  constructor(private readonly options: AuditOptions) {
    this.files = new LedgerFolders(options.directories)
    this.reached = Array.from({ length: options.journal.partitions }, () => streamStart)
  }

  async run(): Promise<AuditResult> {
    await this.resume()
    await this.readFiles()
    await this.readStreams()
    const holds = await this.readHolds()
    const suspects = await this.compareAll(holds)
    // What moved meanwhile: read on, and look again.
    for (let round = 0; round < rounds && (this.waiting.size > 0 || this.parked > 0); round++) {
      await this.readFiles()
      await this.readStreams()
    }
    if (this.parked > 0) await this.readStreams([...this.gaps()].map(({ partition }) => partition)) // from their beginning
    this.closeGaps()
    for (const id of suspects) await this.compareMoment(id)
    for (const id of this.waiting) this.notReached(id, this.chains.get(id)!)
    await this.findMissing()
    await this.save()
    return {
      since: this.since,
      ok: this.problemCount === 0,
      accounts: this.accounts,
      entries: this.fromFiles + this.fromStream,
      fromFiles: this.fromFiles,
      fromStream: this.fromStream,
      duplicates: this.duplicates,
      unproven: this.unproven,
      problems: this.problems,
      problemCount: this.problemCount,
    }
  }

  private async resume(): Promise<void> {
    const { state: path, full = false, journal } = this.options
    if (path === undefined || full) return
    const found = await readState(path, journal.partitions, reached =>
      this.chains.set(reached.account, chainOf(reached)),
    )
    if (!found) {
      this.chains.clear()
      return
    }
    this.since = found.at
    this.reached = [...found.reached]
    for (const [file, place] of found.files) {
      const size = await stat(file).then(
        ({ size }) => size,
        () => undefined, // moved away since: it was proven
      )
      if (size === undefined) continue
      if (size < place.offset) this.report('-', `it is shorter than when it was last audited: ${size} octets`, file)
      this.files.begin(file, place)
    }
  }

  private async save(): Promise<void> {
    const { state: path, now = Date.now() } = this.options
    if (path === undefined || this.problemCount > 0) return
    const reached = (function* (chains): Generator<AccountReached> {
      for (const [account, { partition, from, seq, id, held, balances }] of chains)
        yield { account, partition, from, seq, id, held, balances }
    })(this.chains)
    await writeState(path, { at: now, reached: this.reached, files: this.files.reached }, reached)
  }

  private async readFiles(): Promise<void> {
    for await (const { lines, file, number } of this.files.read()) {
      lines.forEach((line, i) => {
        const entry = parse(line)
        if (!entry) {
          this.report('-', 'this line is no ledger entry', `${file}:${number + i}`)
          return
        }
        if (isAfter(entry.id, this.reached[entry.partition] ?? entry.id)) this.reached[entry.partition] = entry.id
        this.fromFiles += this.follow(entry, () => `${file}:${number + i}`)
        this.checkReference(entry, () => `${file}:${number + i}`)
      })
    }
  }

  /** What is after the files, or all of these partitions. */
  private async readStreams(fromBegin?: readonly number[]): Promise<void> {
    const { journal } = this.options
    const positions = new Map<number, string>(
      fromBegin ? fromBegin.map(partition => [partition, streamStart]) : this.reached.entries(),
    )
    while (positions.size > 0) {
      const list = [...positions]
      positions.clear()
      for await (const slices of journal.read(list)) {
        for (const { partition, entries, more } of slices) {
          for (const { id, text } of entries) {
            const where = (): string => `stream of partition ${partition}, ${id}`
            const entry = parse(`{"partition":${partition},"id":"${id}",${text.slice(1)}`)
            if (entry) {
              this.fromStream += this.follow(entry, where)
              this.checkReference(entry, where)
            } else this.report('-', 'this is no ledger entry', where())
          }
          const last = entries.at(-1)!.id
          if (isAfter(last, this.reached[partition]!)) this.reached[partition] = last
          if (more) positions.set(partition, last)
        }
      }
    }
  }

  private checkReference(entry: Entry, where: () => string): void {
    const what = this.references.check(entry)
    if (what !== undefined) this.report(entry.account, what, where())
  }

  /** Follows an account by one entry, or keeps it until those before it come. Gives 1 for an entry that is new. */
  private follow(entry: Entry, where: () => string): 0 | 1 {
    let chain = this.chains.get(entry.account)
    if (!chain) {
      chain = {
        partition: entry.partition,
        from: entry.seq,
        seq: entry.seq - 1,
        id: streamStart,
        balances: new Map(),
        held: undefined,
        parked: undefined,
        awaited: undefined,
        met: false,
      }
      this.chains.set(entry.account, chain)
      const right = partitionOf(entry.account, this.options.journal.partitions)
      if (entry.partition !== right) {
        this.report(entry.account, `an entry stands in partition ${entry.partition}, not ${right}`, where())
      }
    }
    if (entry.seq <= chain.seq) {
      if (isAfter(entry.id, chain.id)) {
        this.report(entry.account, `entry ${entry.seq} comes again with another content`, where())
        return 1
      }
      this.duplicates++
      return 0
    }
    if (entry.seq > chain.seq + 1) return this.park(chain, entry, where())
    this.advance(chain, entry, where)
    this.unpark(chain)
    return 1
  }

  private park(chain: Chain, entry: Entry, where: string): 0 | 1 {
    chain.parked ??= new Map()
    if (chain.parked.has(entry.seq)) {
      this.duplicates++
      return 0
    }
    chain.parked.set(entry.seq, { entry, where })
    this.parked++
    if (chain.parked.size > parkedOfOneAccount || this.parked > parkedInAll) this.closeGap(chain)
    return 1
  }

  private unpark(chain: Chain): void {
    for (let next; chain.parked && (next = chain.parked.get(chain.seq + 1));) {
      chain.parked.delete(next.entry.seq)
      this.parked--
      const { where } = next
      this.advance(chain, next.entry, () => where)
    }
    if (chain.parked?.size === 0) chain.parked = undefined
  }

  /** The entries before the first that is parked are missing: say so, and go on behind them. */
  private closeGap(chain: Chain): void {
    const [first] = [...chain.parked!.values()].sort((a, b) => a.entry.seq - b.entry.seq)
    const { entry, where } = first!
    const missing =
      entry.seq === chain.seq + 2
        ? `entry ${chain.seq + 1} is missing`
        : `entries ${chain.seq + 1} to ${entry.seq - 1} are missing`
    this.report(entry.account, missing, where)
    chain.from = entry.seq
    chain.seq = entry.seq - 1
    chain.balances.clear()
    chain.held = undefined
    if (chain.awaited && chain.awaited.sequence <= chain.seq) {
      // It was to be compared inside the gap; the gap is said.
      chain.awaited = undefined
      this.waiting.delete(entry.account)
    }
    this.unpark(chain)
  }

  private closeGaps(): void {
    for (const chain of this.gaps()) while (chain.parked) this.closeGap(chain)
  }

  private gaps(): Chain[] {
    return [...this.chains.values()].filter(({ parked }) => parked)
  }

  private advance(chain: Chain, entry: Entry, where: () => string): void {
    const sums = new Map<string, number[]>()
    for (const [name, unit, amount, before, after] of entry.posts) {
      const amounts = sums.get(unit)
      if (amounts) amounts.push(amount)
      else sums.set(unit, [amount])
      if (before === undefined || after === undefined) continue
      if (before + amount !== after) {
        this.report(entry.account, `entry ${entry.seq}: ${name} ${before} ${signed(amount)} is not ${after}`, where())
      }
      const known = chain.balances.get(name) ?? (chain.from === 1 ? 0 : before)
      if (known !== before) {
        const what = `entry ${entry.seq}: ${name} was ${known} after the entries before it, not ${before}`
        this.report(entry.account, what, where())
      }
      chain.balances.set(name, after)
    }
    for (const [unit, amounts] of sums) {
      const sum = sumOf(amounts)
      if (sum !== 0n) this.report(entry.account, `entry ${entry.seq}: its ${unit} sum to ${sum}, not to 0`, where())
    }
    chain.seq = entry.seq
    if (isAfter(entry.id, chain.id)) chain.id = entry.id
    if (entry.held !== undefined) chain.held = entry.held
    if (chain.awaited?.sequence === chain.seq) {
      const account = chain.awaited
      chain.awaited = undefined
      this.waiting.delete(entry.account)
      this.compare(chain, account)
    }
  }

  /** What open sessions hold, by account: read while they move, so a difference is only a suspicion. */
  private async readHolds(): Promise<Map<string, Holds>> {
    const holds = new Map<string, Holds>()
    for await (const sessions of this.options.snapshot.openSessions()) {
      for (const session of sessions) {
        const known = holds.get(session.account)
        if (known) addHolds(known, session)
        else holds.set(session.account, addHolds(noHolds(), session))
      }
    }
    return holds
  }

  /** Compares every account with its entries, or notes at which entry to; gives those that hold something else than their sessions. */
  private async compareAll(holds: ReadonlyMap<string, Holds>): Promise<Set<string>> {
    const suspects = new Set<string>()
    const unproven = new Set<string>()
    for await (const accounts of this.options.snapshot.accounts()) {
      for (const { id, account } of accounts) {
        const chain = this.chains.get(id)
        if (!account) {
          this.accounts++
          if (chain) chain.met = true
          this.report(id, 'its data in the store cannot be read', 'store')
          continue
        }
        if (holdsDiffer(account, holds.get(id))) suspects.add(id)
        if (!chain) {
          unproven.add(id)
          continue
        }
        if (chain.met) continue
        chain.met = true
        this.accounts++
        this.compareWhenReached(chain, account)
      }
    }
    // An account whose first entry came after the streams were read gets its chain in a later round.
    for (const id of unproven) if (!this.chains.has(id)) suspects.add(id)
    return suspects
  }

  private compareWhenReached(chain: Chain, account: Account): void {
    if (account.sequence === chain.seq) this.compare(chain, account)
    else if (account.sequence > chain.seq) {
      chain.awaited = account
      this.waiting.add(account.id)
    } else {
      const what = `the ledger goes on to entry ${chain.seq}, the store knows ${account.sequence}: it has lost some`
      this.report(account.id, what, 'store')
    }
  }

  private compare(chain: Chain, account: Account): void {
    const of = (name: string): number | undefined => chain.balances.get(name) ?? (chain.from === 1 ? 0 : undefined)
    const check = (name: string, ledger: number | undefined, store: bigint): void => {
      if (ledger === undefined || BigInt(ledger) === store) return
      this.report(account.id, `${name} is ${store} after entry ${chain.seq}, its entries give ${ledger}`, 'store')
    }
    check('main', of('main'), account.money)
    check('debt', of('debt'), 0n - account.debt)
    check('held', chain.held, account.held)
    const buckets = new Set<string>()
    for (const bucket of account.buckets) {
      buckets.add(`bucket:${bucket.id}`)
      check(`bucket:${bucket.id}`, of(`bucket:${bucket.id}`), bucket.amount)
    }
    for (const [name, amount] of chain.balances) {
      if (name.startsWith('bucket:') && amount !== 0 && !buckets.has(name)) check(name, amount, 0n)
    }
  }

  /** One account that held something else than its sessions when they were read one after the other: now at one moment. */
  private async compareMoment(id: string): Promise<void> {
    const moment = await this.options.snapshot.moment(id)
    if (!moment?.account) return
    const { account, sessions } = moment
    const holds = noHolds()
    for (const session of sessions) addHolds(holds, session)
    const differs = holdsDiffer(account, holds)
    if (differs) this.report(id, differs, 'store')
    const chain = this.chains.get(id)
    if (!chain) {
      this.accounts++
      this.unproven++
    }
  }

  private notReached(id: string, chain: Chain): void {
    const what = `the store is at entry ${chain.awaited!.sequence}, the ledger ends at ${chain.seq}: the rest is missing`
    this.report(id, what, 'files and streams')
  }

  /** Accounts with entries that the scan did not meet: new ones, or gone from the store. */
  private async findMissing(): Promise<void> {
    for (const [id, chain] of this.chains) {
      if (chain.met) continue
      this.accounts++
      const moment = await this.options.snapshot.moment(id)
      if (moment?.account) continue // made while we read
      this.report(id, `it has entries up to ${chain.seq}, but is not in the store`, 'store')
    }
  }

  private report(account: string, what: string, where: string): void {
    this.problemCount++
    if (this.problems.length < problemsShown) this.problems.push({ account, what, where })
  }
}

const chainOf = ({ partition, from, seq, id, held, balances }: AccountReached): Chain => ({
  ...{ partition, from, seq, id, held, balances: new Map(balances) },
  ...{ parked: undefined, awaited: undefined, met: false },
})

/** Of all open sessions of an account. */
interface Holds {
  sessions: number
  money: bigint
  /** By bucket, micros of money buckets; by counter and scope. */
  units: Map<string, bigint> | undefined
  counts: Map<string, bigint> | undefined
}

const noHolds = (): Holds => ({ sessions: 0, money: 0n, units: undefined, counts: undefined })

function addHolds(holds: Holds, session: Session): Holds {
  holds.sessions++
  for (const line of session.lines) {
    holds.money += line.heldMoney
    for (const { bucket, units } of line.heldUnits) {
      holds.units ??= new Map()
      holds.units.set(bucket, (holds.units.get(bucket) ?? 0n) + units)
    }
    for (const { counter, amount } of line.heldCounts) {
      holds.counts ??= new Map()
      holds.counts.set(counter, (holds.counts.get(counter) ?? 0n) + amount)
    }
  }
  return holds
}

/** In words, or undefined when they agree (I2). */
function holdsDiffer(account: Account, holds: Holds | undefined): string | undefined {
  const { sessions, money, units: ofBuckets, counts: ofCounters } = holds ?? noHolds()
  if (account.openSessions !== sessions) return `it counts ${account.openSessions} open sessions, there are ${sessions}`
  if (account.held !== money) return `held is ${account.held}, its open sessions hold ${money}`
  const units = new Map(ofBuckets)
  for (const bucket of account.buckets) {
    const sum = units.get(bucket.id) ?? 0n
    units.delete(bucket.id)
    if (bucket.held !== sum) return `bucket ${bucket.id} has ${bucket.held} held, its open sessions hold ${sum}`
    if (bucket.held > bucket.amount) return `bucket ${bucket.id} has ${bucket.held} held of ${bucket.amount}`
  }
  for (const [bucket, sum] of units) return `open sessions hold ${sum} of bucket ${bucket}, which it does not have`
  const counts = new Map(ofCounters)
  for (const { name, scope, held } of account.counters) {
    const sum = counts.get(`${name}.${scope}`) ?? 0n
    counts.delete(`${name}.${scope}`)
    if (held !== sum) return `counter ${name}.${scope} has ${held} held, its open sessions hold ${sum}`
  }
  for (const [counter, sum] of counts) return `open sessions hold ${sum} on counter ${counter}, which it does not have`
  return undefined
}

/** All files of the folders, oldest lines first; reads on where it stopped when asked again. */
class LedgerFolders {
  private readonly places = new Map<string, { offset: number; line: number }>()

  constructor(private readonly directories: readonly string[]) {}

  /** How much of each file was read. */
  get reached(): ReadonlyMap<string, FilePlace> {
    return this.places
  }

  /** Read on here. */
  begin(file: string, { offset, line }: FilePlace): void {
    this.places.set(file, { offset, line })
  }

  /** Some hundred lines at a time, of the folder whose next lines are the oldest. */
  async *read(): AsyncGenerator<{ lines: readonly string[]; file: string; number: number }> {
    const sources = this.directories.map(directory => this.readFolder(directory))
    const heads = await Promise.all(sources.map(async source => ({ source, next: await source.next() })))
    for (;;) {
      const live = heads.filter(({ next }) => !next.done)
      if (live.length === 0) return
      const [oldest] =
        live.length === 1
          ? live
          : live.sort((a, b) => (isAfter(idOf(a.next.value!.lines), idOf(b.next.value!.lines)) ? 1 : -1))
      yield oldest!.next.value!
      oldest!.next = await oldest!.source.next()
    }
  }

  private async *readFolder(
    directory: string,
  ): AsyncGenerator<{ lines: readonly string[]; file: string; number: number }, undefined> {
    for (const path of await listFiles(directory)) {
      const place = this.places.get(path) ?? { offset: 0, line: 1 }
      this.places.set(path, place)
      try {
        for await (const { lines, end } of readLines(path, place.offset)) {
          const number = place.line
          place.offset = end
          place.line += lines.length
          yield { lines, file: basename(path), number }
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error // removed since it was listed
      }
    }
    return undefined
  }
}

const idOf = (lines: readonly string[]): string => /"id":"(\d+-\d+)"/.exec(lines[0] ?? '')?.[1] ?? streamStart

function parse(line: string): Entry | undefined {
  try {
    const entry = JSON.parse(line) as Partial<Entry>
    const whole =
      typeof entry.partition === 'number' &&
      typeof entry.id === 'string' &&
      typeof entry.account === 'string' &&
      Number.isSafeInteger(entry.seq) &&
      Array.isArray(entry.posts)
    return whole ? (entry as Entry) : undefined
  } catch {
    return undefined
  }
}

/** Exact also where the sum of doubles would not be. */
function sumOf(amounts: readonly number[]): bigint {
  let sum = 0
  for (const amount of amounts) {
    sum += amount
    if (!Number.isSafeInteger(sum)) return amounts.reduce((all, one) => all + BigInt(one), 0n)
  }
  return BigInt(sum)
}

const signed = (amount: number): string => (amount < 0 ? String(amount) : `+${amount}`)
