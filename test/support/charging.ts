/**
 * Charging programs and sessions for tests of the script, without catalog and Diameter.
 */
import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import type { RedisAccounts } from '../../src/balance/accounts.js'
import type {
  Balance,
  ChargeAnswer,
  ChargeLine,
  ChargeOutcome,
  ChargeRequest,
  TimedProgram,
  UsedUnits,
} from '../../src/balance/balance.js'
import { lineLimit, micros, units, type UnitType } from '../../src/units.js'

/** A tier of `aProgram`: rounding units a tick, up to `upTo` billed units (absent: no end). */
export interface ProgramTier {
  readonly upTo?: bigint
  readonly num: bigint
  readonly den?: bigint
}

/** A counter that the line moves; limit and steps as in src/rating/program.ts. */
export interface ProgramCounter {
  readonly name: string
  readonly what: 'used' | 'money' | 'tiers'
  readonly then?: 'stop' | 'free' | 'tell'
  readonly per?: 'account' | 'subscriber'
  readonly limit?: bigint
  readonly steps?: readonly number[]
}

/** A bucket that pays unit by unit, or one of which each started `each` units take `takes`. */
export type ProgramBucket = string | { readonly name: string; readonly each: bigint; readonly takes: bigint }

/** Without `num` and `tiers` there is no rate; `num`/`den` are one tier without end. */
export interface ProgramParts {
  readonly kind?: 'pay' | 'free' | 'deny' | 'unrated'
  readonly unit?: UnitType
  readonly service?: string
  readonly rule?: string
  readonly validity?: number
  /** Percent of the grant. */
  readonly threshold?: number
  readonly finalUnit?: 'terminate' | 'none'
  /** Credit pool of its grants; a unit is worth one of it. */
  readonly pool?: number
  /** By default what is asked for decides. */
  readonly quota?: { readonly size?: bigint; readonly min?: bigint; readonly max?: bigint; readonly target?: number }
  readonly buckets?: readonly ProgramBucket[]
  readonly afterRate?: readonly ProgramBucket[]
  /** Money buckets that pay the rate before `main`. */
  readonly money?: readonly string[]
  readonly num?: bigint
  readonly den?: bigint
  readonly tiers?: readonly ProgramTier[]
  readonly mode?: 'graduated' | 'volume'
  readonly step?: bigint
  readonly first?: bigint
  readonly setup?: bigint
  readonly minimum?: bigint
  readonly cap?: bigint
  readonly capThen?: 'free' | 'stop'
  /** Micros that prices are multiples of. */
  readonly roundUnit?: bigint
  readonly round?: 'up' | 'down' | 'nearest'
  /** Of the tiers: unless `counters` names it, too, it is of the account and has no limit. */
  readonly counter?: string
  readonly counters?: readonly ProgramCounter[]
  readonly code?: number
}

const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b))
const hash = (text: string): string => createHash('sha1').update(text).digest('hex').slice(0, 8)

/** The text of a charging program, src/rating/program.ts. */
export function aProgram(parts: ProgramParts = {}): string {
  const { kind = 'pay', unit = 'octets', service = 'data', rule = 'test#1', validity = 3600, threshold = 0 } = parts
  const { size = lineLimit[unit], min = 1n, max = lineLimit[unit], target = 0 } = parts.quota ?? {}
  const rest = [
    unit,
    service,
    rule,
    validity,
    `${validity},${threshold},${parts.finalUnit ?? 'terminate'}${parts.pool === undefined ? '' : `,pool=${parts.pool}.1.0`}`,
    `${size},${min},${max},${target}`,
    bucketsOf(parts.buckets),
    ...rateOf(parts),
    bucketsOf(parts.afterRate),
    parts.money?.join(',') || '-',
    countersOf(parts),
    parts.code ?? 0,
  ].join(' ')
  return `${kind} ${hash(kind + rest)} ${rest}`
}

function bucketsOf(buckets: readonly ProgramBucket[] = []): string {
  const texts = buckets.map(each => (typeof each === 'string' ? each : `${each.name}~${each.each}~${each.takes}`))
  return texts.join(',') || '-'
}

/** The fields `rate` and `tiers`. */
function rateOf(parts: ProgramParts): [string, string] {
  const { num, den = 1n, step = 1n, first = 0n, setup = 0n, minimum = 0n, cap, capThen = 'free' } = parts
  const { roundUnit = 1n, round = 'up', counter, mode = 'graduated' } = parts
  const tiers = parts.tiers ?? (num === undefined ? [] : [{ num, den }])
  if (tiers.length === 0) return ['-', '-']
  const tick = gcd(step, first)
  let from = 0n
  let base = 0n
  const texts = tiers.map(tier => {
    const { upTo = 0n, num, den = 1n } = tier
    const divisor = gcd(num, den)
    const text = `${from},${upTo},${base},${num / divisor},${den / divisor}`
    if (mode === 'graduated') {
      base += ((((upTo - from) / tick) * num) / den) * roundUnit
      from = upTo
    }
    return text
  })
  const content = [
    first,
    step,
    tick,
    setup,
    minimum,
    cap ?? '-',
    capThen[0],
    roundUnit,
    round[0],
    counter ?? '-',
    mode[0],
  ]
  return [
    `${hash(`${parts.unit ?? 'octets'} ${content.join(',')} ${texts.join(';')}`)},${content.join(',')}`,
    texts.join(';'),
  ]
}

function countersOf({ counter, counters = [] }: ProgramParts): string {
  const named = counter === undefined || counters.some(({ name }) => name === counter)
  const all: readonly ProgramCounter[] = named
    ? counters
    : [{ name: counter, what: 'tiers', then: 'tell' }, ...counters]
  const texts = all.map(({ name, what, then = 'stop', per = 'account', limit, steps = [] }) =>
    [name, what[0], then[0], per[0], limit ?? '-', steps.join('.') || '-'].join(','),
  )
  return texts.join(';') || '-'
}

/** A line of a request as tests write it; charge() makes a ChargeLine of it. */
export interface TestLine {
  readonly key: string
  /** A number is unsplit. */
  readonly used: bigint | Partial<UsedUnits>
  readonly wanted?: bigint | 'any' | undefined
  readonly threshold?: boolean
  readonly program: string
  readonly next?: TimedProgram
  readonly prev?: TimedProgram
  readonly facts?: string
}

export const aLine = ({ key, used, wanted, threshold, program, next, prev, facts }: TestLine): ChargeLine => ({
  key,
  used: {
    unsplit: 0n,
    before: 0n,
    after: 0n,
    indeterminate: 0n,
    ...(typeof used === 'bigint' ? { unsplit: used } : used),
  },
  asked: wanted,
  threshold: threshold ?? false,
  now: program,
  next,
  prev,
  facts: facts ?? '',
})

/** One request of a session with one line, or a recharge, and what must be so afterwards. */
export interface Step {
  readonly number?: number
  readonly used?: bigint
  readonly wanted?: bigint
  readonly program?: string
  readonly end?: boolean
  readonly threshold?: boolean
  readonly recharge?: bigint
  readonly how?: ChargeAnswer['how']
  readonly is?: string
  readonly granted?: bigint
  readonly final?: boolean
  readonly money?: bigint
  readonly held?: bigint
  readonly debt?: bigint
  readonly buckets?: readonly bigint[]
}

let sessions = 0

const text = (used: TestLine['used']): string =>
  typeof used === 'bigint' ? String(used) : Object.entries(used).flat().join()

export class Session {
  readonly id = `gw.example;1;${++sessions}`
  private next = 0

  private constructor(
    private readonly t: Test,
    private readonly parts: { balance: Balance; accounts: RedisAccounts },
    readonly account: string,
  ) {}

  static async open(
    t: Test,
    parts: { balance: Balance; accounts: RedisAccounts },
    setUp: { account: string; money: bigint; credit: bigint; bucket?: bigint },
  ): Promise<Session> {
    const { account, money, credit, bucket } = setUp
    await parts.accounts.create(
      { id: account, currency: 'EUR', creditLimit: micros(credit), status: 'active' },
      {
        identities: [{ type: 'nai', value: `${account}@test` }],
        offers: [
          {
            offer: 'test',
            buckets:
              bucket === undefined
                ? []
                : [
                    {
                      name: 'data',
                      unit: 'octets',
                      amount: units(bucket),
                      priority: 10,
                      until: undefined,
                      origin: 'test',
                    },
                  ],
          },
        ],
      },
      micros(money),
      'admin',
    )
    return new Session(t, parts, account)
  }

  /** Of the same account. */
  another(): Session {
    return new Session(this.t, this.parts, this.account)
  }

  async outcome(
    type: 'I' | 'U' | 'T',
    number: number,
    lines: readonly TestLine[],
    changes: Partial<ChargeRequest> = {},
  ): Promise<ChargeOutcome> {
    const now = this.parts.balance.clock.now()
    return this.parts.balance.charge({
      type,
      number,
      content: hash(
        JSON.stringify([
          type,
          lines.map(({ key, used, wanted, threshold }) => [key, text(used), String(wanted), threshold ?? false]),
        ]),
      ),
      sessionId: this.id,
      account: this.account,
      subscriber: '1',
      rev: '1',
      currency: 'EUR',
      at: now,
      now,
      deadline: Date.now() + 5000,
      deadlineMonotonic: performance.now() + 5000,
      cause: `"kind":"charge","session":${JSON.stringify(this.id)},"number":${number},"type":"${type}"`,
      ...{ originHost: 'gw.example', originRealm: 'example', via: 'gw.example', service: 'data' },
      lines: lines.map(aLine),
      counters: [],
      lowBalance: [],
      searchEnded: false,
      ...changes,
    })
  }

  async charge(
    type: 'I' | 'U' | 'T',
    number: number,
    lines: readonly TestLine[],
    changes: Partial<ChargeRequest> = {},
  ): Promise<ChargeAnswer | string> {
    const outcome = await this.outcome(type, number, lines, changes)
    return outcome.status === 'answered' ? outcome.answer : outcome.status
  }

  /** Plays one step and checks what it says. */
  async play(step: Step): Promise<void> {
    const { t, parts } = this
    if (step.recharge !== undefined) {
      await parts.accounts.recharge({
        account: this.account,
        amount: micros(step.recharge),
        currency: 'EUR',
        channel: 'test',
        reference: `${this.id}-${this.next}`,
        actor: 'test',
      })
    } else {
      const number = step.number ?? this.next
      const type = this.next === 0 ? 'I' : step.end ? 'T' : 'U'
      this.next = Math.max(this.next, number + 1)
      const answer = await this.charge(type, number, [
        {
          key: '10',
          used: step.used ?? 0n,
          wanted: step.wanted,
          threshold: step.threshold ?? false,
          program: step.program!,
        },
      ])
      if (typeof answer === 'string') return void t.fail(`answered, not ${answer}`)
      const line = answer.lines[0]!
      if (step.how !== undefined) t.equal(answer.how, step.how, 'how')
      if (step.is !== undefined) t.equal(line.is, step.is, 'outcome of the line')
      if (step.granted !== undefined) t.equal('units' in line ? line.units : 0n, step.granted, 'granted')
      if (step.final !== undefined) t.equal('final' in line && line.final, step.final, 'final')
    }
    const account = (await parts.accounts.show(this.account))!
    if (step.money !== undefined) t.equal(account.money, step.money, 'money')
    if (step.held !== undefined) t.equal(account.held, step.held, 'held')
    if (step.debt !== undefined) t.equal(account.debt, step.debt, 'debt')
    if (step.buckets !== undefined)
      t.same(
        account.buckets.map(({ amount }) => amount),
        step.buckets,
        'buckets',
      )
  }
}
