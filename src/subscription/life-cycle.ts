/**
 * The life cycle of accounts (design: accounts): which one an account has by the catalog in force, and its steps as jobs of the due
 * lists. What a step does is decided by lua/life.lua.
 */
import type { Lives } from '../balance/life.js'
import type { LifeRules } from '../balance/accounts.js'
import type { Account, Accounts, NewAccount } from '../balance/types.js'
import type { Clock } from '../clock.js'
import type { Catalog } from '../rating/catalog.js'
import { lifeAtBirth, lifeTermsOf, type LifeSubject, type LifeTerms } from '../rating/life-terms.js'
import type { Micros, Millis } from '../units.js'

/** What is counted; telemetry implements it. */
export interface LifeMetrics {
  /** An account came to a status by its life cycle or by hand. */
  became(status: string): void
}

export type ChangeOutcome =
  | { readonly status: 'done' | 'no_account' | 'over' }
  /** The catalog has no life cycle for this account. */
  | { readonly status: 'no_life' }
  /** It cannot be terminated: sessions hold something, or it owes something. */
  | { readonly status: 'held' | 'debt' }
  /** Our clock and the store's differ. */
  | { readonly status: 'skew' }

export class LifeCycles implements LifeRules {
  constructor(
    private readonly parts: {
      readonly lives: Lives
      readonly accounts: () => Pick<Accounts, 'show'>
      readonly catalog: () => Catalog
      /** Business time. */
      readonly clock: Clock
      readonly metrics: LifeMetrics
    },
  ) {}

  atBirth(account: NewAccount, offers: readonly string[], opening: Micros): string | undefined {
    const { catalog, clock } = this.parts
    const { attributes = {}, currency, status } = account
    return lifeAtBirth(catalog(), { attributes, offers, currency }, { opening, status, now: Math.round(clock.now()) })
  }

  async beforeRecharge(account: string): Promise<void> {
    if (this.parts.catalog().lifeCycles.length === 0) return
    const found = await this.find(account)
    if (found?.terms && !sameTerms(found.account, found.terms)) await this.adopt(account, found.terms)
  }

  /** The job of `life <account>` and `life <account> used`: one step; the next one stands in the list with its own time. */
  async job(_partition: number, member: string): Promise<'done' | 'stuck'> {
    const [, id, used] = member.split(' ') as [string, string, string | undefined]
    const found = await this.find(id)
    const step = used === 'used' ? ('used' as const) : ('due' as const)
    const outcome = await this.parts.lives.step({ account: id, step, terms: found?.terms, actor: 'life', member })
    if (outcome.status === 'done') this.parts.metrics.became(outcome.is)
    if (outcome.status === 'recycle' && found) return this.recycle(found.account, found.terms, member)
    return outcome.status === 'skew' ? 'stuck' : 'done'
  }

  /** Sets by hand when validity ends; undefined: never. */
  async setEnd(id: string, end: Millis | undefined, actor: string, reason: string): Promise<ChangeOutcome> {
    const found = await this.find(id)
    if (!found) return { status: 'no_account' }
    if (!found.terms && !found.account.life) return { status: 'no_life' }
    if (found.terms && !found.account.life) await this.adopt(id, found.terms)
    return this.changed(
      await this.parts.lives.step({
        ...{ account: id, step: 'until', terms: found.terms, value: String(end ?? 0), actor, reason },
      }),
    )
  }

  /** @param forfeit whether its money and buckets expire; undefined: as its life cycle says, without one they stay */
  async terminate(id: string, forfeit: boolean | undefined, actor: string, reason: string): Promise<ChangeOutcome> {
    const found = await this.find(id)
    if (!found) return { status: 'no_account' }
    const expires = forfeit ?? found.terms?.terms.includes('forfeit=1') === true
    return this.changed(
      await this.parts.lives.step({
        ...{ account: id, step: 'terminate', terms: found.terms, value: expires ? 'forfeit' : 'keep', actor, reason },
      }),
    )
  }

  /** First the index, so that nobody is led to an account that no longer knows them; then the account. Each may be repeated. */
  private async recycle(account: Account, terms: LifeTerms | undefined, member: string): Promise<'done' | 'stuck'> {
    const { lives, metrics } = this.parts
    for (const { identities } of account.subscribers)
      for (const identity of identities) await lives.unclaim(identity, account.id)
    const outcome = await lives.step({ account: account.id, step: 'recycled', terms, actor: 'life', member })
    if (outcome.status === 'done') metrics.became(outcome.is)
    return outcome.status === 'skew' ? 'stuck' : 'done'
  }

  private async adopt(account: string, terms: LifeTerms): Promise<void> {
    await this.parts.lives.step({ account, step: 'adopt', terms, actor: 'life' })
  }

  private changed(outcome: Awaited<ReturnType<Lives['step']>>): ChangeOutcome {
    switch (outcome.status) {
      case 'done':
        this.parts.metrics.became(outcome.is)
        return { status: 'done' }
      case 'no_account':
      case 'over':
      case 'held':
      case 'debt':
      case 'skew':
        return { status: outcome.status }
      case 'gone':
        return { status: 'no_life' }
      default:
        return { status: 'done' }
    }
  }

  private async find(
    id: string,
  ): Promise<{ readonly account: Account; readonly terms: LifeTerms | undefined } | undefined> {
    const { accounts, catalog, clock } = this.parts
    const account = await accounts().show(id)
    return account && { account, terms: lifeTermsOf(catalog(), subjectOf(account), Math.round(clock.now())) }
  }
}

const subjectOf = ({ extras, subscriptions, currency }: Account): LifeSubject => ({
  attributes: extras.attributes,
  offers: subscriptions.map(({ offer }) => offer),
  currency,
})

const sameTerms = ({ life }: Account, { rule, terms }: LifeTerms): boolean =>
  life?.rule === rule && life.terms === terms
