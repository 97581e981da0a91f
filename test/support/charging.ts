/**
 * Charging programs and sessions for tests of the script, without catalog and Diameter.
 */
import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import type { RedisAccounts } from '../../src/balance/accounts.js'
import type { Balance, ChargeAnswer, ChargeLine, ChargeOutcome, ChargeRequest } from '../../src/balance/balance.js'
import { micros, units, type UnitType } from '../../src/units.js'

export interface ProgramParts {
  readonly kind?: 'pay' | 'free' | 'deny' | 'unrated'
  readonly unit?: UnitType
  readonly service?: string
  readonly validity?: number
  readonly buckets?: readonly string[]
  readonly num?: bigint
  readonly den?: bigint
  readonly step?: bigint
  readonly first?: bigint
  readonly code?: number
}

const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b))
const hash = (text: string): string => createHash('sha1').update(text).digest('hex').slice(0, 8)

export function aProgram(parts: ProgramParts = {}): string {
  const {
    kind = 'pay',
    unit = 'octets',
    service = 'data',
    validity = 3600,
    buckets = [],
    num,
    den = 1n,
    step = 1n,
    first = 0n,
    code = 0,
  } = parts
  const tick = gcd(step, first)
  const rate =
    num === undefined
      ? '- 0 1 1 0 1'
      : `${hash(`${num} ${den} ${step} ${first}`)} ${num} ${den} ${step} ${first} ${tick}`
  const rest = `${unit} ${service} test#1 ${validity} ${validity},0,terminate ${buckets.join(',') || '-'} ${rate} ${code}`
  return `${kind} ${hash(kind + rest)} ${rest}`
}

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

  async outcome(
    type: 'I' | 'U' | 'T',
    number: number,
    lines: readonly ChargeLine[],
    changes: Partial<ChargeRequest> = {},
  ): Promise<ChargeOutcome> {
    const now = this.parts.balance.clock.now()
    return this.parts.balance.charge({
      type,
      number,
      content: hash(
        JSON.stringify([
          type,
          lines.map(line => ({ ...line, used: String(line.used), wanted: String(line.wanted), program: '' })),
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
      originHost: 'gw.example',
      lines,
      searchEnded: false,
      ...changes,
    })
  }

  async charge(
    type: 'I' | 'U' | 'T',
    number: number,
    lines: readonly ChargeLine[],
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
