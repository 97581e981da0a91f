/**
 * The balance engine as the semantics say it, on bigint and plain objects, with no Redis and no packed state: the oracle of
 * test/balance/model.test.ts. Section numbers are those of the semantics. It keeps every answer and every number, derives what is held
 * from the open grants, and searches what is affordable instead of computing it: slow, and easy to check against the text.
 *
 * Not decided here: quota sizes that adapt (a size is fixed), and whole-volume tiers whose counter others hold units on. There a price may
 * fall and rise with the use of others, so that only promises can be checked: the hold covers, and funds are never exceeded.
 */
import { exactLimit, lineLimit, type UnitType } from '../../src/units.js'
import {
  bends,
  ceilDiv,
  largest,
  largestOfAll,
  max,
  min,
  move,
  type ModelRate,
  type ModelRun,
  type Move,
} from './model-price.js'

export interface ModelProgram {
  readonly id: string
  readonly kind: 'pay' | 'free' | 'deny' | 'unrated'
  readonly unit: UnitType
  /** Seconds. */
  readonly validity: number
  readonly quota: { readonly size: bigint; readonly min: bigint; readonly max: bigint }
  /** Buckets that pay before the rate, and after it. */
  readonly before: readonly ModelDraw[]
  readonly rate: ModelRate | undefined
  readonly after: readonly ModelDraw[]
  /** Money buckets that pay the rate before `main`. */
  readonly money: readonly string[]
  readonly counters: readonly ModelCounter[]
  readonly code: number
}

/** Each started `each` units of the service take `takes` of the bucket. */
export interface ModelDraw {
  readonly name: string
  readonly each: bigint
  readonly takes: bigint
}

export interface ModelCounter {
  readonly name: string
  /** Used units; micros charged; billed units of the rate whose tiers stand on it. */
  readonly what: 'used' | 'money' | 'tiers'
  readonly then: 'stop' | 'free' | 'tell'
  readonly per: 'account' | 'subscriber'
  readonly limit: bigint | undefined
  /** Percents of the limit. */
  readonly steps: readonly number[]
}

/** A program, and the one that follows it at a tariff switch. */
export interface ModelTerms {
  readonly program: ModelProgram
  readonly next?: { readonly at: number; readonly program: ModelProgram } | undefined
}

export interface ModelBucket {
  readonly id: string
  readonly name: string
  readonly money: boolean
  readonly priority: number
  readonly paid: boolean
  readonly blocker: boolean
  /** Not usable before; 0: always. */
  readonly from: number
  /** 0: never. */
  ends: number
  /** It ends so long after its first use; 0: it does not depend on that. */
  readonly life: number
  /** Amounts left that are told of. */
  readonly warn: readonly bigint[]
  amount: bigint
  /** It was swept away after its end, also for what was used before that and is reported late. */
  gone: boolean
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
  /** When they ended before the request that is being decided: a life that it begins orders them from the next one on. */
  endsBefore: ReadonlyMap<string, number>
  /** By `name.scope`; scope is a subscriber, or 0. */
  readonly counters: Map<string, { value: bigint; period: number }>
}

/** What is kept of balances and counters: amounts by bucket and by counter, and of `main`. */
interface Holds {
  readonly buckets: ReadonlyMap<string, bigint>
  readonly main: bigint
  readonly counters: ReadonlyMap<string, bigint>
}

interface Grant extends Holds {
  readonly by: number
  readonly units: bigint
  readonly terms: ModelTerms
  readonly sides: readonly Rated[]
  until: number
}

/** Units that a bucket has carried of a line, and what it gave for them. */
interface Drawn {
  readonly n: bigint
  readonly taken: bigint
}

export interface ModelLine {
  grant: Grant | undefined
  /** The highest number that decided about the grant. */
  decidedBy: number
  /** Of the last grant, for late reports. */
  terms: ModelTerms | undefined
  used: bigint
  charged: bigint
  /** What money caps made free of the runs' prices. */
  waived: bigint
  /** In the order of first use; the first one opens the line. */
  readonly runs: (ModelRun & { readonly rate: ModelRate })[]
  /** By bucket. */
  readonly drawn: Map<string, Drawn>
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

export interface ModelUsed {
  readonly unsplit: bigint
  readonly before: bigint
  readonly after: bigint
  readonly indeterminate: bigint
}

export interface ModelPart {
  readonly key: string
  readonly used: ModelUsed
  /** `any`: as much as the quota says. */
  readonly asked: bigint | 'any' | undefined
  readonly threshold: boolean
  readonly now: ModelProgram
  readonly next?: { readonly at: number; readonly program: ModelProgram } | undefined
  /** Before its switch, for seconds on a line without a grant. */
  readonly prev?: { readonly at: number; readonly program: ModelProgram } | undefined
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
  /** Periods in force at `at`. */
  readonly counters: readonly {
    readonly name: string
    readonly start: number
    readonly end: number
    readonly limit: bigint | undefined | 'default'
  }[]
  /** Amounts of `main` that are told of. */
  readonly lowBalance: readonly bigint[]
  readonly lines: readonly ModelPart[]
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
  | {
      readonly line: string
      readonly is: 'granted' | 'free'
      readonly units: bigint
      readonly final: boolean
      readonly switchAt: number | undefined
    }
  | { readonly line: string; readonly is: 'exhausted' | 'unrated' | 'booked' }
  | { readonly line: string; readonly is: 'denied'; readonly code: number }

export type ModelReply = ModelAnswer | string

/** `counter day-roaming.1 80`, `bucket 3-1 1000000`, `money main 1000000` */
export type ModelEvent = string

/** Times in ms, as the configuration has them. */
export interface ModelTimes {
  readonly silence: number
  readonly defaultValidityMs: number
}

/** What one side of a grant would hold, and of how many units. */
interface Fill extends Holds {
  readonly units: bigint
  readonly sides: readonly Rated[]
}

/** Of one side: the units that its rate pays, what they would cost, and what it would take of buckets. */
interface Rated {
  readonly units: bigint
  readonly cost: bigint
  readonly buckets: ReadonlyMap<string, bigint>
}

/** A report's units that go to one program. */
interface Side {
  readonly program: ModelProgram
  readonly units: bigint
  /** They were used before this switch. */
  readonly until?: number
}

/** What a line's decision stands on. */
interface Scope {
  readonly request: ModelRequest
  readonly account: ModelAccount
  /** A side of a tariff switch: usage before it, or a hold for usage after it. What a counter's period begins with ends the one before. */
  readonly before?: number
  readonly after?: number
}

const nothingUsed: ModelUsed = { unsplit: 0n, before: 0n, after: 0n, indeterminate: 0n }
const totalOf = ({ unsplit, before, after, indeterminate }: ModelUsed): bigint =>
  unsplit + before + after + indeterminate

export class Model {
  accounts = new Map<string, ModelAccount>()
  sessions = new Map<string, ModelSession>()
  /** Sessions of which a mark is left: last number and account. */
  marks = new Map<string, { number: number; account: string }>()
  /** Of the last charge. */
  events: ModelEvent[] = []
  private references = new Map<string, { account: string; amount: bigint; reply: string }>()
  /** Counters of a new period that the request began; their old one takes what was used before a switch until the request ends. */
  private restarted = new Map<string, { value: bigint; period: number }>()
  /** Counters that the request moved: where they stood, and what tells of them. */
  private moved = new Map<string, { key: string; from: bigint; to: bigint; limit: bigint; steps: readonly number[] }>()

  constructor(private readonly times: ModelTimes) {}

  /** One CCR. What is answered in words, other than a noted unknown session, changed nothing. */
  charge(request: ModelRequest, keptLonger = false): ModelReply {
    const account = this.accounts.get(request.account)
    const session = this.sessions.get(request.session)
    const saved = { account: account && copyAccount(account), session: session && copySession(session) }
    this.events = []
    this.moved.clear()
    if (account) account.endsBefore = new Map(account.buckets.map(({ id, ends }) => [id, ends]))
    this.restarted.clear()
    const reply = this.decide(request, keptLonger)
    const changesNothing =
      typeof reply === 'string' ? reply !== 'unknown_session' : ['again', 'mismatch', 'old'].includes(reply.how)
    if (changesNothing) {
      if (saved.account) this.accounts.set(request.account, saved.account)
      if (saved.session) this.sessions.set(request.session, saved.session)
      else this.sessions.delete(request.session)
    } else if (account && saved.account) {
      for (const [key, counter] of this.restarted) account.counters.set(key, counter)
      this.events = this.crossed(saved.account, account, request)
    }
    return reply
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
    if (bucket.ends === 0 || bucket.ends > now) return
    bucket.gone = this.heldOf(a, bucket) === 0n
    if (this.freeOf(a, bucket) === 0n) return
    bucket.amount = this.heldOf(a, bucket)
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

  heldMain(account: ModelAccount): bigint {
    return this.grantsOf(account).reduce((sum, grant) => sum + grant.main, 0n)
  }

  heldOf(account: ModelAccount, bucket: ModelBucket): bigint {
    return this.grantsOf(account).reduce((sum, { buckets }) => sum + (buckets.get(bucket.id) ?? 0n), 0n)
  }

  heldOn(account: ModelAccount, counter: string): bigint {
    return this.grantsOf(account).reduce((sum, { counters }) => sum + (counters.get(counter) ?? 0n), 0n)
  }

  private decide(request: ModelRequest, keptLonger: boolean): ModelReply {
    const { type, number, now } = request
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
      if (request.lines.some(({ used }) => totalOf(used) > 0n)) account.entries++
      return 'unknown_session'
    }
    const late = marked || (session !== undefined && !session.open && type !== 'I')
    const barred = account.status !== 'active'
    const wasOpen = session?.open ?? false
    const before = session ? lastNumber(session) : marked ? mark.number : number - 1
    const unchanged = session && copySession(session)
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
    const scope: Scope = { request, account }
    const lines = request.lines.map(part => {
      const line = session.lines.get(part.key) ?? newLine(late && session.lost)
      const { grant } = line
      const used = resumed ? nothingUsed : part.used
      const units = totalOf(used)
      const now: ModelTerms = { program: part.now, next: part.next }
      return {
        ...part,
        line,
        used,
        units,
        terms: now,
        stale: number < line.decidedBy,
        under: (late ? line.terms : grant?.terms) ?? presentTerms(part),
        rest: part.threshold && grant ? max(0n, grant.units - units) : 0n,
        standing: grant,
      }
    })
    for (const { key, line, units, now } of lines) {
      if (line.used + units > lineLimit[now.unit]) return `too_large ${key}`
    }

    // Step 3: every report, before any grant. From here on the lines are the session's, also for what is held.
    this.sessions.set(request.session, session)
    const [chargedBefore, debtBefore] = [session.charged, account.debt]
    for (const part of lines) {
      session.lines.set(part.key, part.line)
      this.report(scope, session, part.line, sidesOf(scope, part.line, part.under, part.used, this))
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
      const { line, standing, terms, rest, asked } = part
      if (part.stale) {
        // It keeps its size, also where funds do not cover it any more.
        if (stays && standing) {
          const hold = this.hold(scope, line, standing.terms, standing.units, standing.by)
          line.grant = { ...hold, units: standing.units }
        }
      } else if (granting && rest > 0n && asked !== undefined && terms.program.kind === 'pay') {
        line.grant = this.hold(scope, line, terms, rest, number)
      }
    }
    const outcomes: ModelOutcome[] = lines.map(part => {
      const { key, line, terms, asked, rest, under, units } = part
      const unrated = units > 0n && under.program.kind === 'unrated'
      const { program } = terms
      if (part.stale) {
        return line.grant
          ? { line: key, is: 'granted', units: line.grant.units, final: false, switchAt: line.grant.terms.next?.at }
          : { line: key, is: unrated ? 'unrated' : 'booked' }
      }
      line.decidedBy = number
      line.grant = undefined
      // Usage that no rule rates is told, also where nothing is asked for.
      if (!granting || asked === undefined) return { line: key, is: unrated ? 'unrated' : 'booked' }
      switch (program.kind) {
        case 'deny':
          return { line: key, is: 'denied', code: program.code }
        case 'unrated':
          return { line: key, is: 'unrated' }
        case 'free': {
          if (program.code !== 0) return { line: key, is: 'denied', code: program.code }
          const most = min(
            asked === 'any' ? program.quota.max : asked,
            program.quota.max,
            lineLimit[program.unit] - line.used,
          )
          if (most > 0n) line.grant = { ...noHold, by: number, units: most, terms, sides: [], until: 0 }
          return { line: key, is: 'free', units: most, final: false, switchAt: terms.next?.at }
        }
        case 'pay': {
          const { quota } = program
          const size = max(quota.min, asked === 'any' ? quota.size : min(asked, quota.size))
          const hold = this.hold(scope, line, terms, rest + size, number)
          const units = hold.units - rest
          if (units <= 0n) {
            line.grant = undefined
            return { line: key, is: 'exhausted' }
          }
          line.grant = { ...hold, units }
          return { line: key, is: 'granted', units, final: false, switchAt: terms.next?.at }
        }
      }
    })
    // Step 6: what is final, with all grants made; and when holds and session end.
    const answered = outcomes.map((outcome, i): ModelOutcome => {
      const { line, stale, rest } = lines[i]!
      const { grant } = line
      if (!grant) return outcome
      line.terms = grant.terms
      grant.until = now + this.times.silence * grant.terms.program.validity * 1000
      if (outcome.is !== 'granted' || grant.terms.program.kind !== 'pay') return outcome
      return { ...outcome, final: this.nothingLeft(scope, line, grant, stale ? 0n : rest) }
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
      lines.every(({ units }) => units === 0n)
    if (nothingToKeep) {
      if (unchanged) this.sessions.set(request.session, unchanged)
      else this.sessions.delete(request.session)
      return reply
    }
    session.answers.set(number, { content: request.content, reply })
    if (type === 'I') session.lost = false
    if (ends) session.open = false
    else if (!late) {
      if (type === 'I') session.validityMs = 0
      for (const { line } of lines) {
        if (line.grant) session.validityMs = Math.max(session.validityMs, line.grant.terms.program.validity * 1000)
      }
      session.open = true
      session.silent = false
      session.lost = false
      session.until = now + this.times.silence * (session.validityMs || this.times.defaultValidityMs)
    }
    return reply
  }

  /** Section 6. The units before a tariff switch come first. */
  private report(whole: Scope, session: ModelSession, line: ModelLine, sides: readonly Side[]): void {
    const { account, request } = whole
    const { grant } = line
    const parts = sides.map(({ program, units, until }) => {
      const scope: Scope = until === undefined ? whole : { ...whole, before: until }
      line.used += units
      // What goes above a limit may cost nothing; it is the end of what is reported.
      let rest = units
      for (const counter of program.counters) {
        if (counter.what !== 'used') continue
        const { value } = this.standing(scope, program, counter)
        const limit = limitOf(counter, request)
        if (counter.then === 'free' && limit !== undefined) rest = min(rest, max(0n, limit - value))
        this.count(scope, program, counter, units)
      }
      return { scope, program, rest: program.kind === 'pay' ? rest : 0n }
    })
    // 1. What the line holds: buckets, then the held money as far as it reaches. It was held for no more than the grant's units.
    if (grant) {
      const held = new Map(grant.buckets)
      let main = grant.main
      let covered = grant.units
      for (const part of parts) {
        const { scope, program } = part
        const drawHeld = (draws: readonly ModelDraw[]): void => {
          for (const { bucket, draw } of inOrder(account, draws)) {
            const left = held.get(bucket.id) ?? 0n
            // Of a bucket that it holds nothing of, the rest of a step that is paid.
            if (left === 0n && !valid(bucket, request.at)) continue
            const { units, amount, drawn } = drawOf(line, bucket, draw, min(part.rest, covered), left)
            if (units === 0n) continue
            part.rest -= units
            covered -= units
            line.drawn.set(bucket.id, drawn)
            bucket.amount -= amount
            held.set(bucket.id, left - amount)
            begin(bucket, request.now)
          }
        }
        drawHeld(program.before)
        if (program.rate) {
          const cash = moneyInOrder(account, program).filter(bucket => held.has(bucket.id))
          const funds = cash.reduce((sum, bucket) => sum + held.get(bucket.id)!, main)
          const units = this.affordable(scope, line, program, min(part.rest, covered), funds)
          part.rest -= units
          covered -= units
          let cost = this.charged(scope, session, line, program, units)
          for (const bucket of cash) {
            const paid = max(0n, min(cost, held.get(bucket.id)!))
            if (paid > 0n) begin(bucket, request.now)
            bucket.amount -= paid
            held.set(bucket.id, held.get(bucket.id)! - paid)
            cost -= paid
          }
          account.money -= cost
          main -= cost
        }
        drawHeld(program.after)
      }
    }
    this.release(account, line, request.now)
    for (const part of parts) {
      const { scope, program } = part
      // 2. Free funds in draw order. Neither limits nor blockers nor validity of the session bound a report.
      const drawFree = (draws: readonly ModelDraw[]): void => {
        for (const { bucket, draw } of inOrder(account, draws)) {
          if (!valid(bucket, request.at)) continue
          const { units, amount, drawn } = drawOf(line, bucket, draw, part.rest, this.freeOf(account, bucket))
          if (units === 0n) continue
          part.rest -= units
          line.drawn.set(bucket.id, drawn)
          bucket.amount -= amount
          begin(bucket, request.now)
        }
      }
      drawFree(program.before)
      const pay = (units: bigint): void => {
        const { cash, total } = this.purse(account, program, request.at, false)
        const cost = this.charged(scope, session, line, program, units)
        account.debt += max(0n, cost - total)
        let rest = min(cost, total)
        for (const { bucket, free } of cash) {
          const paid = max(0n, min(rest, free))
          if (paid === 0n) continue
          bucket.amount -= paid
          begin(bucket, request.now)
          rest -= paid
        }
        account.money -= rest
        part.rest -= units
      }
      if (program.rate && program.after.length > 0) {
        const { total } = this.purse(account, program, request.at, false)
        pay(this.affordable(scope, line, program, part.rest, total))
      }
      drawFree(program.after)
      // 3. What money does not cover is overrun. With no rate, nothing is owed.
      if (program.rate) pay(part.rest)
    }
  }

  /** The most of `units` that a program's rate takes no more than `funds` for, as things stand. */
  private affordable(scope: Scope, line: ModelLine, program: ModelProgram, units: bigint, funds: bigint): bigint {
    const rate = program.rate!
    const { run, opens } = runOf(line, rate)
    const at = this.tiersAt(scope, program)
    return largestOfAll(units, bends(rate, opens, run, units, at), n => {
      return this.waived(scope, program, move(rate, opens, run, n, at).cost) <= funds
    })
  }

  /** Moves the run and the counters of a program's rate by `units`, and says what that costs. */
  private charged(scope: Scope, session: ModelSession, line: ModelLine, program: ModelProgram, units: bigint): bigint {
    if (units === 0n) return 0n
    const rate = program.rate!
    const moved = this.rateMove(scope, line, program, units)!
    const cost = this.waived(scope, program, moved.cost)
    const { n, raw } = moved
    const index = line.runs.findIndex(run => run.rate.id === rate.id)
    line.runs.splice(index < 0 ? line.runs.length : index, 1, { rate, n, raw })
    line.charged += cost
    line.waived += moved.cost - cost
    session.charged += cost
    for (const counter of program.counters) {
      if (counter.what === 'money') this.count(scope, program, counter, cost)
      if (counter.what === 'tiers' && counter.name === rate.counter) this.count(scope, program, counter, moved.billed)
    }
    return cost
  }

  /** The move of a program's rate by `units` as things stand; undefined where nothing is paid by a rate. */
  rateMove(scope: Scope, line: ModelLine, program: ModelProgram, units: bigint): Move | undefined {
    if (program.kind !== 'pay' || !program.rate) return undefined
    const { run, opens } = runOf(line, program.rate)
    return move(program.rate, opens, run, units, this.tiersAt(scope, program))
  }

  rateCost(scope: Scope, line: ModelLine, program: ModelProgram, units: bigint): bigint {
    const moved = this.rateMove(scope, line, program, units)
    return moved ? this.waived(scope, program, moved.cost) : 0n
  }

  /** What is above a money cap costs nothing where the cap says so. */
  private waived(scope: Scope, program: ModelProgram, cost: bigint): bigint {
    return program.counters.reduce((cost, counter) => {
      const limit = limitOf(counter, scope.request)
      if (counter.what !== 'money' || counter.then !== 'free' || limit === undefined) return cost
      return min(cost, max(0n, limit - this.standing(scope, program, counter).value))
    }, cost)
  }

  /**
   * Section 7: holds up to `units`, and says how many in the grant's `units`. Of a pair around a switch, per balance the larger
   * side, for as many units as both afford.
   */
  private hold(scope: Scope, line: ModelLine, terms: ModelTerms, wanted: bigint, by: number): Grant {
    line.grant = undefined
    const most = max(0n, min(wanted, lineLimit[terms.program.unit] - line.used))
    const held = this.fills(scope, line, terms, most)
    // A life does not begin with what is held for usage after a switch.
    for (const [id, amount] of held.sides[0]!.buckets)
      if (amount > 0n)
        begin(
          scope.account.buckets.find(b => b.id === id)!,
          scope.request.now,
        )
    return { ...held, by, terms, until: 0 }
  }

  private fills(scope: Scope, line: ModelLine, { program, next }: ModelTerms, wanted: bigint, held?: Grant): Fill {
    const programs = [
      { program, scope },
      ...(next ? [{ program: next.program, scope: { ...scope, after: next.at } }] : []),
    ]
    let units = wanted
    for (;;) {
      const sides = programs.map((each, i) => this.fill(each.scope, line, each.program, units, held?.sides[i]))
      const least = min(...sides.map(side => side.units))
      if (least === units) {
        const larger = (maps: ReadonlyMap<string, bigint>[]): Map<string, bigint> =>
          new Map(
            [...new Set(maps.flatMap(map => [...map.keys()]))].map(key => [
              key,
              max(...maps.map(m => m.get(key) ?? 0n)),
            ]),
          )
        return {
          units,
          sides: sides.flatMap(side => side.sides),
          buckets: larger(sides.map(({ buckets }) => buckets)),
          main: max(...sides.map(({ main }) => main)),
          counters: larger(sides.map(({ counters }) => counters)),
        }
      }
      units = least
    }
  }

  /** What up to `wanted` units would hold of a program's payers, in their order, until one blocks those behind it. */
  private fill(scope: Scope, line: ModelLine, program: ModelProgram, wanted: bigint, held?: Rated): Fill {
    if (program.kind !== 'pay')
      return { ...noHold, units: wanted, sides: [{ units: 0n, cost: 0n, buckets: new Map() }] }
    const { account, request } = scope
    // What is held for usage after a switch must be valid then.
    const usedAt = scope.after ?? request.at
    let most = wanted
    let payable = wanted
    let [moneyRoom, tiersRoom]: (bigint | undefined)[] = [undefined, undefined]
    for (const counter of program.counters) {
      const limit = limitOf(counter, request)
      const { key, value } = this.standing(scope, program, counter)
      if (limit === undefined || counter.then === 'tell') continue
      const room = max(0n, limit - value - this.heldOn(account, key))
      if (counter.then === 'free') {
        if (counter.what === 'used') payable = min(payable, max(0n, limit - value))
      } else if (counter.what === 'used') most = min(most, room)
      else if (counter.what === 'money') moneyRoom = min(moneyRoom ?? room, room)
      else tiersRoom = min(tiersRoom ?? room, room)
    }
    payable = min(payable, most)

    const buckets = new Map<string, bigint>()
    const counters = new Map<string, bigint>()
    let [rest, main, blocked] = [payable, 0n, false]
    let rated = { units: 0n, cost: 0n }
    const draw = (draws: readonly ModelDraw[]): void => {
      for (const { bucket, draw } of inOrder(account, draws)) {
        // What the line holds of a bucket stays usable for it.
        const own = held?.buckets.get(bucket.id)
        const left = valid(bucket, usedAt) ? this.freeOf(account, bucket) : own
        if (blocked || left === undefined) continue
        const { units, amount } = drawOf(line, bucket, draw, rest, left)
        // Also where the rest of a step that is paid is all it gives.
        if (units > 0n) buckets.set(bucket.id, amount)
        rest -= units
        blocked = bucket.blocker
      }
    }
    draw(program.before)
    const { rate } = program
    if (rate && !blocked) {
      const { run, opens } = runOf(line, rate)
      const at = this.tiersAt(scope, program)
      const others =
        rate.counter === undefined ? 0n : this.heldOn(account, counterKey(program, rate.counter, request.subscriber))
      const { cash, total } = this.purse(account, program, usedAt, true)
      const step = (units: bigint): Move => {
        const moved = move(rate, opens, run, units, at, others)
        return { ...moved, cost: this.waived(scope, program, moved.cost) }
      }
      const dearer = held ? max(0n, step(held.units).cost - held.cost) : 0n
      const count = largestOfAll(rest, bends(rate, opens, run, rest, at), units => {
        const { billed, uncapped, ...moved } = step(units)
        const cost = moved.cost - dearer
        if (cost > total || cost > (moneyRoom ?? cost) || billed > (tiersRoom ?? billed)) return false
        return rate.cap?.then !== 'stop' || uncapped <= rate.cap.amount
      })
      rest -= count
      const { cost, billed } = step(count)
      rated = { units: count, cost }
      let unpaid = max(0n, cost)
      for (const { bucket, free } of cash) {
        const part = max(0n, min(unpaid, free))
        if (part > 0n) buckets.set(bucket.id, part)
        unpaid -= part
      }
      main = unpaid
      for (const counter of program.counters) {
        const { key } = this.standing(scope, program, counter)
        if (counter.what === 'money' && cost > 0n && counter.then === 'stop') counters.set(key, cost)
        if (counter.what === 'tiers' && counter.name === rate.counter && billed > 0n) counters.set(key, billed)
      }
    }
    draw(program.after)
    const units = rest > 0n ? payable - rest : most
    for (const counter of program.counters) {
      if (counter.what === 'used' && units > 0n && counter.then === 'stop')
        counters.set(this.standing(scope, program, counter).key, units)
    }
    return { units, buckets, main, counters, sides: [{ ...rated, buckets }] }
  }

  /**
   * Whether a larger grant would have been the same one, given what is free now. What is held stays enough for what is granted, also
   * where holds that others got since then could make a counter's tiers dearer.
   */
  private nothingLeft(scope: Scope, line: ModelLine, grant: Grant, rest: bigint): boolean {
    const units = rest + grant.units
    const limit = lineLimit[grant.terms.program.unit] - line.used
    // *Ours:* a line that is granted up to its limit (section 1) can get nothing more either.
    if (units >= limit) return true
    line.grant = undefined
    const more = this.fills(scope, line, grant.terms, limit, grant).units > units
    line.grant = grant
    return !more
  }

  /** The grant ends; what it gives back to a bucket that has ended expires at once (section 8). */
  private release(account: ModelAccount, line: ModelLine, now: number): void {
    const { grant } = line
    line.grant = undefined
    for (const [id, amount] of grant?.buckets ?? []) {
      const bucket = account.buckets.find(b => b.id === id)!
      if (amount > 0n && bucket.ends !== 0 && bucket.ends <= now) bucket.amount = this.heldOf(account, bucket)
    }
  }

  /** Debt is repaid from free own money, never from the credit limit. */
  private repay(account: ModelAccount): void {
    const amount = min(account.debt, max(0n, account.money - this.heldMain(account)))
    account.money -= amount
    account.debt -= amount
  }

  /** Free money: of the money buckets that may pay, each its own free part, and `main`, which debt counts against. */
  private purse(
    account: ModelAccount,
    program: ModelProgram,
    at: number,
    granting: boolean,
  ): { cash: { bucket: ModelBucket; free: bigint }[]; total: bigint } {
    const all = moneyInOrder(account, program)
      .filter(bucket => valid(bucket, at))
      .map(bucket => ({ bucket, free: this.freeOf(account, bucket) }))
    const main = account.money + account.creditLimit - this.heldMain(account) - account.debt
    const sum = (list: typeof all): bigint => list.reduce((sum, { free }) => sum + free, 0n)
    const total = max(0n, sum(all) + main)
    const blocker = granting ? all.findIndex(({ bucket }) => bucket.blocker) : -1
    if (blocker < 0) return { cash: all, total }
    const cash = all.slice(0, blocker + 1)
    return { cash, total: min(total, sum(cash)) }
  }

  private freeOf(account: ModelAccount, bucket: ModelBucket): bigint {
    return bucket.amount - this.heldOf(account, bucket)
  }

  /** Where a counter stands in the period of the request: one of an earlier period is at 0, a later one stays (section 4). */
  private standing(
    { account, request, before, after }: Scope,
    program: ModelProgram,
    counter: ModelCounter,
  ): { key: string; value: bigint; period: number } {
    const key = counterKey(program, counter.name, request.subscriber)
    const stored = account.counters.get(key) ?? { value: 0n, period: 0 }
    const found = request.counters.find(({ name }) => name === counter.name)
    if (!found || (before !== undefined && before <= found.start)) return { key, ...stored }
    const start = after !== undefined && found.end <= after ? found.end : found.start
    const latest = this.restarted.get(key) ?? stored
    return latest.period >= start ? { key, ...latest } : { key, value: 0n, period: start }
  }

  /** A counter may be seen to be of an earlier period, and start again, before anything counts in the new one. */
  restart(account: string, key: string, period: number, latest: number): void {
    const { counters } = this.accounts.get(account)!
    if ((counters.get(key)?.period ?? 0) >= latest) return
    if (period === 0) counters.delete(key)
    else counters.set(key, { value: 0n, period })
  }

  private tiersAt(scope: Scope, program: ModelProgram): bigint {
    const counter = program.counters.find(({ what, name }) => what === 'tiers' && name === program.rate?.counter)
    return counter ? this.standing(scope, program, counter).value : 0n
  }

  private count(scope: Scope, program: ModelProgram, counter: ModelCounter, amount: bigint): void {
    if (amount === 0n) return
    const { key, value, period } = this.standing(scope, program, counter)
    const limit = limitOf(counter, scope.request)
    const known = this.moved.get(`${key} ${period}`)
    if (limit !== undefined) {
      const { from } = known ?? { from: value }
      this.moved.set(`${key} ${period}`, { key, from, to: value + amount, limit, steps: counter.steps })
    }
    const stored = scope.account.counters.get(key)
    const counters = period > (stored?.period ?? 0) ? this.restarted : scope.account.counters
    counters.set(key, { value: value + amount, period })
  }

  /** Thresholds that the request crossed: counters upwards, balances downwards. */
  private crossed(before: ModelAccount, after: ModelAccount, request: ModelRequest): ModelEvent[] {
    const events: ModelEvent[] = []
    for (const { key, from, to, limit, steps } of this.moved.values()) {
      for (const step of steps) {
        const line = BigInt(step) * limit
        if (from * 100n < line && line <= to * 100n) events.push(`counter ${key} ${step}`)
      }
    }
    for (const [i, bucket] of after.buckets.entries()) {
      const was = before.buckets[i]!.amount
      for (const level of bucket.warn) {
        if (was > level && level >= bucket.amount) events.push(`bucket ${bucket.id} ${level}`)
      }
    }
    for (const level of request.lowBalance) {
      if (before.money > level && level >= after.money) events.push(`money main ${level}`)
    }
    return events.sort()
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
        return grant
          ? { line: key, is: 'granted', units: grant.units, final: false, switchAt: grant.terms.next?.at }
          : { line: key, is: 'booked' }
      }),
    }
  }
}

/**
 * Which program each part of a report is charged by (section 8): before and after the switch as reported; unsplit seconds laid back from
 * the report; unsplit volume received before the switch is old; what remains goes where the rate takes less for it.
 */
function sidesOf(scope: Scope, line: ModelLine, { program, next }: ModelTerms, used: ModelUsed, model: Model): Side[] {
  if (!next) return [{ program, units: totalOf(used) }]
  const { at } = scope.request
  let { before, after, indeterminate } = used
  if (program.unit === 'seconds') {
    const later = min(used.unsplit, BigInt(Math.max(0, Math.floor((at - next.at) / 1000))))
    after += later
    before += used.unsplit - later
  } else if (at < next.at) before += used.unsplit
  else indeterminate += used.unsplit
  const cost = model.rateCost({ ...scope, before: next.at }, line, program, indeterminate)
  if (model.rateCost(scope, line, next.program, indeterminate) < cost) after += indeterminate
  else before += indeterminate
  return [
    { program, units: before, until: next.at },
    { program: next.program, units: after },
  ]
}

/** Of a line without a grant. */
function presentTerms({ now, prev }: ModelPart): ModelTerms {
  if (!prev) return { program: now }
  return { program: prev.program, next: { at: prev.at, program: now } }
}

const noHold: Holds = { buckets: new Map(), main: 0n, counters: new Map() }

const newLine = (lost: boolean): ModelLine => ({
  grant: undefined,
  decidedBy: -1,
  terms: undefined,
  used: 0n,
  charged: 0n,
  waived: 0n,
  runs: [],
  drawn: new Map(),
  lost,
})

export const lastNumber = (session: ModelSession): number => Math.max(session.marked, ...session.answers.keys())

/** How far the rate's run is, and whether setup and first units are its to bill. */
function runOf(line: ModelLine, rate: ModelRate): { run: ModelRun; opens: boolean } {
  const index = line.runs.findIndex(run => run.rate.id === rate.id)
  if (index < 0) return { run: { n: 0n, raw: 0n }, opens: !line.lost && line.runs.length === 0 }
  return { run: line.runs[index]!, opens: !line.lost && index === 0 }
}

/**
 * Up to `rest` units of a line from a bucket with `left` to give: started steps are taken whole, and for the rest of what was
 * taken nothing more. With too little left it is emptied and pays for what was left.
 */
function drawOf(
  line: ModelLine,
  bucket: ModelBucket,
  { each, takes }: ModelDraw,
  rest: bigint,
  left: bigint,
): { units: bigint; amount: bigint; drawn: Drawn } {
  const { n, taken } = line.drawn.get(bucket.id) ?? { n: 0n, taken: 0n }
  const steps = (units: bigint): bigint => ceilDiv(n + units, each) * takes - taken
  const units = largest(rest, count => steps(count) <= left || (n + count) * takes <= (taken + left) * each)
  const amount = units === 0n ? 0n : min(left, steps(units))
  return { units, amount, drawn: { n: n + units, taken: taken + amount } }
}

const end = ({ ends }: ModelBucket): number => ends || Infinity
const valid = (bucket: ModelBucket, at: number): boolean => !bucket.gone && bucket.from <= at && at < end(bucket)

/** Its life begins with its first use. */
function begin(bucket: ModelBucket, now: number): void {
  if (bucket.life > 0 && bucket.ends === 0) bucket.ends = now + bucket.life
}

/** Draw order (section 5): priority, earliest end with none last, granted before paid, oldest. `buckets` are in order of age. */
const drawOrder = ({ buckets, endsBefore }: ModelAccount): ModelBucket[] => {
  const ends = ({ id, ends }: ModelBucket): number => (endsBefore.get(id) ?? ends) || Infinity
  return [...buckets].sort(
    (a, b) =>
      a.priority - b.priority || (ends(a) === ends(b) ? 0 : ends(a) - ends(b)) || Number(a.paid) - Number(b.paid),
  )
}

const inOrder = (account: ModelAccount, draws: readonly ModelDraw[]): { bucket: ModelBucket; draw: ModelDraw }[] =>
  drawOrder(account).flatMap(bucket => {
    const draw = bucket.money ? undefined : draws.find(({ name }) => name === bucket.name)
    return draw ? [{ bucket, draw }] : []
  })

const moneyInOrder = (account: ModelAccount, program: ModelProgram): ModelBucket[] =>
  drawOrder(account).filter(bucket => bucket.money && program.money.includes(bucket.name))

/** An account may have another limit, or none. */
function limitOf(counter: ModelCounter, request: ModelRequest): bigint | undefined {
  const said = request.counters.find(({ name }) => name === counter.name)
  return said === undefined || said.limit === 'default' ? counter.limit : said.limit
}

const counterKey = (program: ModelProgram, name: string, subscriber: string): string =>
  `${name}.${program.counters.find(counter => counter.name === name)?.per === 'subscriber' ? subscriber : '0'}`

const copyAccount = (account: ModelAccount): ModelAccount => ({
  ...account,
  buckets: account.buckets.map(bucket => ({ ...bucket })),
  counters: new Map(account.counters),
})

const copySession = (session: ModelSession): ModelSession => ({
  ...session,
  answers: new Map(session.answers),
  lines: new Map(
    [...session.lines].map(([key, line]) => [
      key,
      { ...line, grant: line.grant && { ...line.grant }, runs: [...line.runs], drawn: new Map(line.drawn) },
    ]),
  ),
})
