/**
 * Automatic recharges: when an account's money falls to a level, or on a schedule, a payment under the subscriber's mandate is begun. Never
 * two of an account at once: which one is under way is written before it is begun. What is declined is tried again later and later, then
 * not at all until somebody sets it anew; a cap bounds what is taken in a day.
 */
import type { AutomaticRecharges as AutomaticStore } from '../balance/payments.js'
import type { Account, Accounts } from '../balance/types.js'
import type { Clock } from '../clock.js'
import { calendarPeriodAt, instantAfter } from '../rating/calendar.js'
import { micros, type Micros, type Millis } from '../units.js'
import { amountOf, idOf, type Payment, type Payments } from './payments.js'

export const scheduleUnits = ['day', 'week', 'month'] as const
export type ScheduleUnit = (typeof scheduleUnits)[number]

/** What the subscriber agreed to. Amounts are micros, in digits. */
export interface AutomaticTerms {
  /** When `main` is at or below it. */
  readonly below?: string
  /** Each day, week or month, counted from `anchor` (month ends clamp). */
  readonly every?: ScheduleUnit
  /** So much, or what lacks to `fillTo`. */
  readonly amount?: string
  readonly fillTo?: string
  readonly min?: string
  readonly max?: string
  /** Of a business day in all. */
  readonly dayMost: string
  readonly provider?: string
  readonly method?: string
  /** The provider's name for what the subscriber agreed to. */
  readonly mandate: string
}

export interface Automatic extends AutomaticTerms {
  readonly anchor: Millis
  /** Of the schedule: how many times it has come. */
  readonly count: number
  /** Payments that were begun: numbers them. */
  readonly begun: number
  readonly underWay?: { readonly id: string; readonly amount: string }
  /** The business day that `spent` counts in. */
  readonly day: Millis
  readonly spent: string
  /** In a row; from `mostFailures` on nothing is tried any more. */
  readonly failures: number
  readonly lastFailure?: string
  /** Nothing is tried before. */
  readonly notBefore: Millis
  readonly actor: string
}

export interface AutomaticOptions {
  readonly store: AutomaticStore<Automatic>
  readonly accounts: Pick<Accounts, 'show'>
  readonly payments: Pick<Payments, 'begin' | 'get'>
  /** Of the catalog in use. */
  readonly timezone: () => string
  /** Business time. */
  readonly clock: Clock
}

export const automaticChannel = 'automatic'
export const mostFailures = 5

const hour = 3_600_000
/** After each failure in a row. */
const backOffMs = [hour, 6 * hour, 24 * hour, 24 * hour] as const
const turnMs = 60_000
/** Between two looks at a payment that its provider has not decided. */
const lookMs = 30_000
const ended: ReadonlySet<Payment['state']> = new Set(['declined', 'expired', 'returned', 'returning', 'stuck'])

export class AutomaticRecharging {
  constructor(private readonly options: AutomaticOptions) {}

  get(account: string): Promise<Automatic | undefined> {
    return this.options.store.get(account)
  }

  /** Sets what the subscriber agreed to; failures are forgotten, what is under way goes on. */
  async set(account: string, terms: AutomaticTerms, actor: string): Promise<Automatic> {
    const { store, clock } = this.options
    for (;;) {
      const before = await store.get(account)
      const now = clock.now()
      const { begun = 0, underWay, day = 0, spent = '0' } = before ?? {}
      const after: Automatic = {
        ...terms,
        // The schedule goes on where it is the same.
        ...(before && before.every === terms.every
          ? { anchor: before.anchor, count: before.count }
          : { anchor: now, count: 0 }),
        begun,
        ...(underWay && { underWay }),
        ...{ day, spent, failures: 0, notBefore: 0, actor },
      }
      if (await store.put(account, before, after, now)) return after
    }
  }

  /** Nothing is begun any more; a payment that is under way ends by itself. */
  async stop(account: string): Promise<boolean> {
    const { store } = this.options
    for (;;) {
      const before = await store.get(account)
      if (!before) return false
      if (await store.put(account, before, undefined, undefined)) return true
    }
  }

  /** A member `auto <account>` of a due list: begins what is to be begun, and says when to look again. */
  async due(member: string): Promise<'done' | 'stuck'> {
    const { store } = this.options
    const account = member.split(' ')[1]!
    const turn = await store.take(account, turnMs)
    if (turn) await store.done(turn, await this.look(account))
    return 'done'
  }

  /** Money of these accounts of a partition fell: those that have reached their level are looked at. */
  async fell(partition: number, money: ReadonlyMap<string, bigint>): Promise<void> {
    if (money.size === 0) return
    const { store, clock } = this.options
    for (const [account, { below }] of await store.some(partition, [...money.keys()])) {
      if (below !== undefined && money.get(account)! <= BigInt(below)) await store.look(account, clock.now())
    }
  }

  /** One look at an account: when to look again, undefined: when its money falls. */
  private async look(account: string): Promise<Millis | undefined> {
    const { store, clock } = this.options
    for (;;) {
      const before = await store.get(account)
      if (!before) return undefined
      const payment = before.underWay && (await this.goOn(account, before, before.underWay))
      if (payment && payment.state !== 'credited' && !ended.has(payment.state)) return clock.now() + lookMs
      const settled = payment ? this.settled(before, payment) : before
      const [after, next] = await this.decide(account, settled)
      if (after !== before && !(await store.put(account, before, after, undefined))) continue
      if (!after.underWay) return next
    }
  }

  /** What was written as under way is begun, or was: the provider knows it by its id. */
  private async goOn(
    account: string,
    settings: Automatic,
    { id, amount }: NonNullable<Automatic['underWay']>,
  ): Promise<Payment> {
    const known = await this.options.payments.get(account, id)
    if (known && (known.state === 'credited' || ended.has(known.state))) return known
    const { provider, method, mandate, actor } = settings
    const currency = (await this.options.accounts.show(account))?.currency ?? ''
    const outcome = await this.options.payments.begin({
      ...{
        id,
        account,
        amount: micros(BigInt(amount)),
        currency,
        channel: automaticChannel,
        provider,
        method,
        mandate,
        actor,
      },
    })
    if (outcome.status === 'begun') return outcome.payment
    // No provider takes it: as if it had declined.
    return { state: 'declined', why: 'no provider takes this currency and method', amount } as Payment
  }

  private settled(settings: Automatic, payment: Payment): Automatic {
    const rest = without(settings, 'underWay', 'lastFailure')
    if (payment.state === 'credited') return { ...rest, failures: 0, notBefore: 0 }
    const failures = settings.failures + 1
    const wait = backOffMs[Math.min(failures, backOffMs.length) - 1]!
    const spent = String(max(0n, BigInt(settings.spent) - amountOf(payment)))
    return {
      ...rest,
      spent,
      failures,
      lastFailure: payment.why ?? payment.state,
      notBefore: this.options.clock.now() + wait,
    }
  }

  /** What is to be begun now, if anything, and when to look again. */
  private async decide(account: string, settings: Automatic): Promise<[Automatic, Millis | undefined]> {
    const { accounts, clock, timezone } = this.options
    const now = clock.now()
    const { start: day, end: tomorrow } = calendarPeriodAt('day', timezone(), now)
    const { every, anchor, count, failures, notBefore } = settings
    const scheduled = every && instantAfter(every, count + 1, timezone(), anchor)
    if (failures >= mostFailures) return [settings, undefined]
    if (now < notBefore) return [settings, notBefore]
    const found = await accounts.show(account)
    if (!found || found.status === 'terminated') return [settings, undefined]
    const isTime = scheduled !== undefined && now >= scheduled
    const isLow = settings.below !== undefined && found.money - found.debt <= BigInt(settings.below)
    if (!isTime && !isLow) return [settings, scheduled]
    const spent = settings.day === day ? BigInt(settings.spent) : 0n
    const amount = amountFor(settings, found)
    const counted = isTime ? { ...settings, count: count + 1 } : settings
    if (amount <= 0n) return [counted, isTime ? this.after(counted) : scheduled]
    if (spent + amount > BigInt(settings.dayMost)) return [settings, tomorrow]
    const begun = settings.begun + 1
    const underWay = { id: idOf(account, settings.anchor, begun), amount: String(amount) }
    return [{ ...counted, begun, underWay, day, spent: String(spent + amount) }, undefined]
  }

  private after({ every, anchor, count }: Automatic): Millis | undefined {
    return every && instantAfter(every, count + 1, this.options.timezone(), anchor)
  }
}

function amountFor(settings: Automatic, { money, debt }: Account): Micros {
  const wanted = settings.fillTo === undefined ? BigInt(settings.amount ?? '0') : BigInt(settings.fillTo) - money + debt
  if (wanted <= 0n) return micros(0n)
  const most = settings.max === undefined ? wanted : min(wanted, BigInt(settings.max))
  return micros(settings.min === undefined ? most : max(most, BigInt(settings.min)))
}

const without = <Of extends object, Key extends keyof Of>(of: Of, ...keys: readonly Key[]): Omit<Of, Key> =>
  Object.fromEntries(Object.entries(of).filter(([name]) => !keys.includes(name as Key))) as Omit<Of, Key>

const min = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)
