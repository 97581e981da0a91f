/**
 * The balance engine as the semantics say it, on bigint and plain objects, with no Redis and no packed state: the oracle of
 * test/balance/model.test.ts. Section numbers are those of the semantics. It keeps every answer and every number, derives what is held
 * from the open grants, and searches what is affordable instead of computing it: slow, and easy to check against the text.
 */
import { exactLimit, lineLimit, type UnitType } from '../../src/units.js'

/** Micros for `per` units, in steps of `step`, after `first` units at once. */
export interface ModelRate {
  readonly id: string
  readonly amount: bigint
  readonly per: bigint
  readonly step: bigint
  readonly first: bigint
}

export interface ModelProgram {
  readonly id: string
  readonly kind: 'pay' | 'free' | 'deny' | 'unrated'
  readonly unit: UnitType
  /** Seconds. */
  readonly validity: number
  readonly buckets: readonly string[]
  readonly rate: ModelRate | undefined
  readonly code: number
}

export interface ModelBucket {
  readonly id: string
  readonly name: string
  readonly priority: number
  /** 0: never. */
  readonly ends: number
  amount: bigint
}

export interface ModelAccount {
  readonly id: string
  status: string
  readonly creditLimit: bigint
  money: bigint
  debt: bigint
  /** Entries in the ledger. */
  entries: number
  readonly buckets: ModelBucket[]
}

interface Grant {
  readonly by: number
  readonly units: bigint
  readonly program: ModelProgram
  until: number
  heldMoney: bigint
  /** Units of the grant that the rate pays. */
  rated: bigint
  heldUnits: { readonly bucket: string; readonly units: bigint }[]
}

export interface ModelLine {
  grant: Grant | undefined
  /** The highest number that decided about the grant. */
  decidedBy: number
  /** Of the last grant, for late reports. */
  program: ModelProgram | undefined
  used: bigint
  charged: bigint
  /** In the order of first use; the first one opens the line. */
  readonly runs: { readonly rate: ModelRate; n: bigint }[]
  /** The old runs are forgotten: no run opens the line. */
  readonly lost: boolean
}

interface Stored {
  readonly content: string
  readonly reply: ModelAnswer
}

export interface ModelSession {
  readonly account: string
  readonly subscriber: string
  open: boolean
  /** It ended by silence, or an operator ended it: its state is kept as long as a mark would be. */
  silent: boolean
  /** Every number that was answered. */
  readonly answers: Map<number, Stored>
  /** Numbers up to it were answered before a mark was all that was left. */
  readonly marked: number
  /** Its runs were forgotten: lines that come now do not know whether they were opened. */
  lost: boolean
  charged: bigint
  /** Largest Validity-Time so far, ms; 0 before the first. */
  validityMs: number
  until: number
  readonly lines: Map<string, ModelLine>
}

export interface ModelRequest {
  readonly type: 'I' | 'U' | 'T'
  readonly number: number
  readonly content: string
  readonly session: string
  readonly account: string
  readonly subscriber: string
  readonly at: number
  readonly now: number
  /** The deadline is over. */
  readonly past: boolean
  /** The programs were made for an old profile. */
  readonly moved: boolean
  readonly lines: readonly {
    readonly key: string
    readonly used: bigint
    readonly wanted: bigint | undefined
    readonly threshold: boolean
    readonly program: ModelProgram
  }[]
}

export interface ModelAnswer {
  readonly how: 'new' | 'reordered' | 'again' | 'mismatch' | 'old'
  readonly outcome: 'ok' | 'refused' | 'barred' | 'ended' | 'reported'
  /** What this request cost, and how much of it became debt; 0 for a repeat. */
  readonly cost: bigint
  readonly overrun: bigint
  /** Of the session so far. */
  readonly charged: bigint
  readonly lines: readonly ModelOutcome[]
}

export type ModelOutcome =
  | { readonly line: string; readonly is: 'granted' | 'free'; readonly units: bigint; readonly final: boolean }
  | { readonly line: string; readonly is: 'exhausted' | 'unrated' | 'booked' }
  | { readonly line: string; readonly is: 'denied'; readonly code: number }

export type ModelReply = ModelAnswer | string

/** Times in ms, as the configuration has them. */
export interface ModelTimes {
  readonly silence: number
  readonly defaultValidityMs: number
}

/** What n units of one run cost (section 4): whole steps after the first units, rounded once, up. */
export function costOf(rate: ModelRate, n: bigint, opens: boolean): bigint {
  const first = opens ? rate.first : 0n
  const billable = n === 0n ? 0n : n <= first ? first : first + ceilDiv(n - first, rate.step) * rate.step
  return ceilDiv(billable * rate.amount, rate.per)
}

const ceilDiv = (a: bigint, b: bigint): bigint => (a + b - 1n) / b
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)

/** The most of `wanted` units after n that cost at most `funds`: by search, F never falls. */
function affordable(rate: ModelRate, n: bigint, opens: boolean, funds: bigint, wanted: bigint): bigint {
  if (wanted <= 0n) return 0n
  const paid = costOf(rate, n, opens)
  let low = 0n
  let high = wanted
  while (low < high) {
    const middle = (low + high + 1n) / 2n
    if (costOf(rate, n + middle, opens) - paid <= funds) low = middle
    else high = middle - 1n
  }
  return low
}

export class Model {
  accounts = new Map<string, ModelAccount>()
  sessions = new Map<string, ModelSession>()
  /** Sessions of which a mark is left: last number and account. */
  marks = new Map<string, { number: number; account: string }>()
  private references = new Map<string, { account: string; amount: bigint; reply: string }>()

  constructor(private readonly times: ModelTimes) {}

  /** One CCR. What is thrown away on a refusal that changes nothing is put back by `atomically`. */
  charge(request: ModelRequest, keptLonger = false): ModelReply {
    return this.atomically(() => this.decide(request, keptLonger))
  }

  recharge(account: string, amount: bigint, reference: string): string {
    const known = this.references.get(reference)
    if (known) {
      if (known.account !== account || known.amount !== amount) return 'reference_taken'
      return known.reply.replace('credited', 'repeated')
    }
    const a = this.accounts.get(account)
    if (!a) return 'no_account'
    if (a.status === 'terminated') return 'account_terminated'
    if (a.money + amount + a.creditLimit > exactLimit / 2n) return 'too_large'
    const repaid = min(amount, a.debt)
    a.debt -= repaid
    a.money += amount - repaid
    a.entries++
    const reply = `credited ${a.money} ${a.debt} ${a.entries}`
    this.references.set(reference, { account, amount, reply })
    return reply
  }

  setStatus(account: string, status: string): void {
    const a = this.accounts.get(account)!
    if (a.status === status) return
    a.status = status
    a.entries++
  }

  /** A sweep, or an operator (`force`), looks at a session at `now` (section 8). */
  expire(id: string, now: number, force = false): 'gone' | 'ended' | 'early' | 'released' | 'silent' {
    const session = this.sessions.get(id)
    if (!session) return 'gone'
    if (!session.open) return 'ended'
    const account = this.accounts.get(session.account)!
    const silent = force || session.until <= now
    const due = [...session.lines.values()].filter(line => line.grant && (silent || line.grant.until <= now))
    if (!silent && due.length === 0) return 'early'
    for (const line of due) this.release(account, line, now)
    this.repay(account)
    account.entries++
    if (silent) {
      session.open = false
      session.silent = true
    }
    return silent ? 'silent' : 'released'
  }

  expireBucket(account: string, id: string, now: number): void {
    const a = this.accounts.get(account)!
    const bucket = a.buckets.find(b => b.id === id)!
    if (bucket.ends === 0 || bucket.ends > now || this.freeUnits(a, bucket) === 0n) return
    bucket.amount = this.heldUnits(a, bucket)
    a.entries++
  }

  /** The state of a session that ended is forgotten, and its mark stays. */
  forget(id: string): void {
    const session = this.sessions.get(id)!
    this.marks.set(id, { number: lastNumber(session), account: session.account })
    this.sessions.delete(id)
  }

  /** When the session must be looked at: the first hold to end, or silence. */
  due(id: string): number {
    const session = this.sessions.get(id)!
    return Math.min(session.until, ...[...session.lines.values()].flatMap(({ grant }) => (grant ? [grant.until] : [])))
  }

  heldMoney(account: ModelAccount): bigint {
    return this.grantsOf(account).reduce((sum, grant) => sum + grant.heldMoney, 0n)
  }

  heldUnits(account: ModelAccount, bucket: ModelBucket): bigint {
    return this.grantsOf(account)
      .flatMap(grant => grant.heldUnits)
      .reduce((sum, hold) => (hold.bucket === bucket.id ? sum + hold.units : sum), 0n)
  }

  private decide(request: ModelRequest, keptLonger: boolean): ModelReply {
    const { type, number, now, at } = request
    let session = this.sessions.get(request.session)
    if (session && session.account !== request.account) return 'other_account'

    // Section 2 step 1, section 3: a repeat.
    const stored = session?.answers.get(number)
    let resumed = false
    if (session && (stored || number <= session.marked)) {
      const kept = stored && (number > lastNumber(session) - 5 || keptLonger)
      if (!kept) return this.present(session, request)
      if (stored.content !== request.content) return { ...stored.reply, how: 'mismatch', cost: 0n, overrun: 0n }
      if (stored.reply.outcome !== 'reported') return { ...stored.reply, how: 'again', cost: 0n, overrun: 0n }
      resumed = true
    }
    // Step 2: session, account, identity.
    if (session && session.subscriber !== request.subscriber) return 'other_subscriber'
    const mark = session || type === 'I' ? undefined : this.marks.get(request.session)
    if (mark?.account === request.account && number <= mark.number) {
      return { how: 'old', outcome: type === 'T' ? 'ok' : 'ended', cost: 0n, overrun: 0n, charged: 0n, lines: [] }
    }
    const marked = mark?.account === request.account
    const account = this.accounts.get(request.account)
    if (!account) return 'no_account'
    if (request.moved) return 'moved'
    if (request.past && (type === 'I' || resumed)) return 'expired'
    if (!session && !marked && type !== 'I') {
      if (request.lines.some(line => line.used > 0n)) account.entries++
      return 'unknown_session'
    }
    const late = marked || (session !== undefined && !session.open && type !== 'I')
    const barred = account.status !== 'active'
    const wasOpen = session?.open ?? false
    const before = session ? lastNumber(session) : marked ? mark.number : number - 1
    const unchanged = structuredClone(session)
    session ??= {
      account: request.account,
      subscriber: request.subscriber,
      open: false,
      silent: false,
      answers: new Map(),
      marked: marked ? mark.number : -1,
      lost: marked,
      charged: 0n,
      validityMs: 0,
      until: 0,
      lines: new Map(),
    }
    const lines = request.lines.map(part => {
      const line = session.lines.get(part.key) ?? newLine(late && session.lost)
      const { grant } = line
      const used = resumed ? 0n : part.used
      return {
        ...part,
        line,
        used,
        stale: number < line.decidedBy,
        under: late ? (line.program ?? part.program) : (grant?.program ?? part.program),
        rest: part.threshold && grant ? max(0n, grant.units - used) : 0n,
        standing: grant,
      }
    })
    for (const { key, line, used, program } of lines) {
      if (line.used + used > lineLimit[program.unit]) return `too_large ${key}`
    }

    // Step 3: every report, before any grant. From here on the lines are the session's, also for what is held.
    this.sessions.set(request.session, session)
    const [chargedBefore, debtBefore] = [session.charged, account.debt]
    for (const part of lines) {
      session.lines.set(part.key, part.line)
      this.report(account, session, part.line, part.under, part.used, at, now)
    }
    if (wasOpen && (type !== 'U' || barred)) {
      const named = new Set(lines.map(({ key }) => key))
      for (const [key, line] of session.lines) if (!named.has(key)) this.release(account, line, now)
    }
    const overrun = account.debt - debtBefore
    // Step 4.
    this.repay(account)

    // Step 5: grants, in the order of the message. What stands already is covered before anything new.
    const stays = !late && !barred && type !== 'T'
    const granting = stays && !request.past
    for (const part of lines) {
      const { line, standing, program, rest, wanted } = part
      if (part.stale) {
        // It keeps its size, also where funds do not cover it any more.
        if (stays && standing) {
          const hold = this.hold(account, line, standing.program, standing.units, standing.by, at)
          line.grant = { ...hold, units: standing.units }
        }
      } else if (granting && rest > 0n && wanted !== undefined && program.kind === 'pay') {
        line.grant = this.hold(account, line, program, rest, number, at)
      }
    }
    const outcomes: ModelOutcome[] = lines.map(part => {
      const { key, line, program, wanted, rest } = part
      if (part.stale) {
        return line.grant
          ? { line: key, is: 'granted', units: line.grant.units, final: false }
          : { line: key, is: 'booked' }
      }
      line.decidedBy = number
      line.grant = undefined
      if (!granting || wanted === undefined) return { line: key, is: 'booked' }
      const most = min(wanted, lineLimit[program.unit] - line.used)
      switch (program.kind) {
        case 'deny':
          return { line: key, is: 'denied', code: program.code }
        case 'unrated':
          return { line: key, is: 'unrated' }
        case 'free':
          if (program.code !== 0) return { line: key, is: 'denied', code: program.code }
          if (most > 0n)
            line.grant = { by: number, units: most, program, until: 0, heldMoney: 0n, rated: 0n, heldUnits: [] }
          return { line: key, is: 'free', units: most, final: false }
        case 'pay': {
          const hold = this.hold(account, line, program, rest + wanted, number, at)
          const units = hold.units - rest
          if (units <= 0n) return { line: key, is: 'exhausted' }
          line.grant = { ...hold, units }
          return { line: key, is: 'granted', units, final: false }
        }
      }
    })
    // Step 6: what is final, with all grants made; and when holds and session end.
    const answered = outcomes.map((outcome, i): ModelOutcome => {
      const { line } = lines[i]!
      const { grant } = line
      if (!grant) return outcome
      line.program = grant.program
      grant.until = now + this.times.silence * grant.program.validity * 1000
      if (outcome.is !== 'granted' || grant.program.kind !== 'pay') return outcome
      return { ...outcome, final: this.nothingLeft(account, line, grant, lines[i]!.stale ? 0n : lines[i]!.rest, at) }
    })

    const failed = answered.filter(({ is }) => is === 'denied' || is === 'unrated' || is === 'exhausted').length
    const outcome = late
      ? 'ended'
      : barred && type !== 'T'
        ? 'barred'
        : request.past && type !== 'T'
          ? 'reported'
          : type === 'I' && failed > 0 && failed === lines.length
            ? 'refused'
            : 'ok'
    const ends = outcome === 'barred' || outcome === 'refused' || (type === 'T' && !late)
    if (ends) for (const line of session.lines.values()) this.release(account, line, now)
    const reply: ModelAnswer = {
      how: !resumed && number !== before + 1 ? 'reordered' : 'new',
      outcome,
      cost: session.charged - chargedBefore,
      overrun,
      charged: session.charged,
      lines: answered,
    }
    // Step 7.
    if (account.debt >= exactLimit || session.charged >= exactLimit) return 'defect'
    account.entries++
    const nothingToKeep =
      !wasOpen &&
      (outcome === 'refused' || (outcome === 'barred' && type === 'I')) &&
      lines.every(({ used }) => used === 0n)
    if (nothingToKeep) {
      if (unchanged) this.sessions.set(request.session, unchanged)
      else this.sessions.delete(request.session)
      return reply
    }
    session.answers.set(number, { content: request.content, reply })
    if (ends) session.open = false
    else if (!late) {
      if (type === 'I') session.validityMs = 0
      for (const { line } of lines) {
        if (line.grant) session.validityMs = Math.max(session.validityMs, line.grant.program.validity * 1000)
      }
      session.open = true
      session.silent = false
      session.lost = false
      session.until = now + this.times.silence * (session.validityMs || this.times.defaultValidityMs)
    }
    return reply
  }

  /** Section 6. */
  private report(
    account: ModelAccount,
    session: ModelSession,
    line: ModelLine,
    program: ModelProgram,
    units: bigint,
    at: number,
    now: number,
  ): void {
    const { grant } = line
    line.used += units
    let rest = units
    // 1. What the line holds: buckets, then the held money as far as it reaches.
    for (const hold of grant?.heldUnits ?? []) {
      const count = min(rest, hold.units)
      account.buckets.find(b => b.id === hold.bucket)!.amount -= count
      rest -= count
    }
    const rate = program.kind === 'pay' ? program.rate : undefined
    let fromHold = 0n
    if (grant && grant.heldMoney > 0n && rate) {
      const { n, opens } = runOf(line, rate)
      fromHold = affordable(rate, n, opens, grant.heldMoney, rest)
      this.pay(account, session, line, rate, fromHold, grant.heldMoney)
      rest -= fromHold
    }
    this.release(account, line, now)
    if (program.kind === 'free') return
    // 2. Free funds in draw order.
    for (const bucket of drawOrder(account, program, at)) {
      const count = min(rest, this.freeUnits(account, bucket))
      bucket.amount -= count
      rest -= count
    }
    // 3. What money does not cover is overrun. With no rate, nothing is owed.
    if (rate && rest > 0n) this.pay(account, session, line, rate, rest, this.freeMoney(account))
  }

  private pay(
    account: ModelAccount,
    session: ModelSession,
    line: ModelLine,
    rate: ModelRate,
    units: bigint,
    funds: bigint,
  ): void {
    if (units === 0n) return
    const { n, opens } = runOf(line, rate)
    const cost = costOf(rate, n + units, opens) - costOf(rate, n, opens)
    const run = line.runs.find(r => r.rate.id === rate.id)
    if (run) run.n += units
    else line.runs.push({ rate, n: units })
    line.charged += cost
    session.charged += cost
    const paid = min(cost, funds)
    account.money -= paid
    account.debt += cost - paid
  }

  /** Section 7: holds up to `units`, and says how many in the grant's `units`. */
  private hold(
    account: ModelAccount,
    line: ModelLine,
    program: ModelProgram,
    units: bigint,
    by: number,
    at: number,
  ): Grant {
    line.grant = undefined
    const grant: Grant = { by, units, program, until: 0, heldMoney: 0n, rated: 0n, heldUnits: [] }
    if (program.kind !== 'pay') return grant // free: nothing to hold
    const most = max(0n, min(units, lineLimit[program.unit] - line.used))
    let rest = most
    for (const bucket of drawOrder(account, program, at)) {
      const count = min(rest, this.freeUnits(account, bucket))
      if (count > 0n) grant.heldUnits.push({ bucket: bucket.id, units: count })
      rest -= count
    }
    if (program.rate) {
      const { n, opens } = runOf(line, program.rate)
      const count = affordable(program.rate, n, opens, this.freeMoney(account), rest)
      grant.heldMoney = costOf(program.rate, n + count, opens) - costOf(program.rate, n, opens)
      grant.rated = count
      rest -= count
    }
    return { ...grant, units: most - rest }
  }

  private nothingLeft(account: ModelAccount, line: ModelLine, grant: Grant, rest: bigint, at: number): boolean {
    const { program } = grant
    // *Ours:* a line that is granted up to its limit (section 1) can get nothing more either.
    if (line.used + rest + grant.units >= lineLimit[program.unit]) return true
    if (drawOrder(account, program, at).some(bucket => this.freeUnits(account, bucket) > 0n)) return false
    if (!program.rate) return true
    const { n, opens } = runOf(line, program.rate)
    return affordable(program.rate, n + grant.rated, opens, this.freeMoney(account), 1n) === 0n
  }

  /** The grant ends; what it gives back to a bucket that has ended expires at once (section 8). */
  private release(account: ModelAccount, line: ModelLine, now: number): void {
    const { grant } = line
    line.grant = undefined
    for (const hold of grant?.heldUnits ?? []) {
      const bucket = account.buckets.find(b => b.id === hold.bucket)!
      if (bucket.ends !== 0 && bucket.ends <= now) bucket.amount = this.heldUnits(account, bucket)
    }
  }

  /** Debt is repaid from free own money, never from the credit limit. */
  private repay(account: ModelAccount): void {
    const amount = min(account.debt, max(0n, account.money - this.heldMoney(account)))
    account.money -= amount
    account.debt -= amount
  }

  private freeMoney(account: ModelAccount): bigint {
    return max(0n, account.money + account.creditLimit - this.heldMoney(account) - account.debt)
  }

  private freeUnits(account: ModelAccount, bucket: ModelBucket): bigint {
    return bucket.amount - this.heldUnits(account, bucket)
  }

  private grantsOf(account: ModelAccount): Grant[] {
    return [...this.sessions.values()]
      .filter(session => session.account === account.id)
      .flatMap(session => [...session.lines.values()].flatMap(({ grant }) => grant ?? []))
  }

  /** A repeat whose answer is not kept shows each line's present grant. */
  private present(session: ModelSession, request: ModelRequest): ModelAnswer {
    return {
      how: 'old',
      outcome: 'ok',
      cost: 0n,
      overrun: 0n,
      charged: session.charged,
      lines: request.lines.map(({ key }) => {
        const grant = session.lines.get(key)?.grant
        return grant ? { line: key, is: 'granted', units: grant.units, final: false } : { line: key, is: 'booked' }
      }),
    }
  }

  /** What is answered in words, other than a noted unknown session, changed nothing. */
  private atomically(work: () => ModelReply): ModelReply {
    const { accounts, sessions, marks } = this
    const saved = structuredClone({ accounts, sessions, marks })
    const reply = work()
    const changesNothing =
      typeof reply === 'string' ? reply !== 'unknown_session' : ['again', 'mismatch', 'old'].includes(reply.how)
    if (changesNothing) Object.assign(this, saved)
    return reply
  }
}

const newLine = (lost: boolean): ModelLine => ({
  grant: undefined,
  decidedBy: -1,
  program: undefined,
  used: 0n,
  charged: 0n,
  runs: [],
  lost,
})

export const lastNumber = (session: ModelSession): number => Math.max(session.marked, ...session.answers.keys())

/** How far the rate's run is, and whether the line's first units are its to bill. */
function runOf(line: ModelLine, rate: ModelRate): { n: bigint; opens: boolean } {
  const index = line.runs.findIndex(run => run.rate.id === rate.id)
  if (index < 0) return { n: 0n, opens: !line.lost && line.runs.length === 0 }
  return { n: line.runs[index]!.n, opens: !line.lost && index === 0 }
}

/** Buckets that may pay at a time: priority, earliest end with none last, oldest (section 5). `buckets` are in order of age. */
function drawOrder(account: ModelAccount, program: ModelProgram, at: number): ModelBucket[] {
  const end = (bucket: ModelBucket): number => bucket.ends || Infinity
  return account.buckets
    .filter(bucket => program.buckets.includes(bucket.name) && end(bucket) > at)
    .sort((a, b) => a.priority - b.priority || (end(a) === end(b) ? 0 : end(a) - end(b)))
}
