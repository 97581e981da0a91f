/**
 * Recharges by the rules of the catalog: which channels, how much, and the bonus that comes on top. The store has the last word on what an
 * account's history decides, and on what was done before.
 */
import type { CreditOutcome, Credits, RechargeRequest, RechargeTerms, ReferenceState } from '../balance/credits.js'
import type { Account, Accounts } from '../balance/types.js'
import type { Clock } from '../clock.js'
import type { Catalog } from '../rating/catalog.js'
import { rechargeTerms } from './rules.js'

export type RechargeInput = Omit<RechargeRequest, 'terms'>

/** `why`: a sentence for whoever asked. */
export type RechargeOutcome = CreditOutcome

export interface RechargeOptions {
  readonly accounts: Pick<Accounts, 'show'>
  readonly credits: Credits
  /** In use now. */
  readonly catalog: () => Catalog
  /** Business time. */
  readonly clock: Clock
}

export class Recharges {
  constructor(private readonly options: RechargeOptions) {}

  /** Money in, once for each (channel, reference). @throws BalanceUnavailableError; then it may be repeated */
  async recharge(input: RechargeInput): Promise<RechargeOutcome> {
    const { accounts, credits } = this.options
    const { terms, why } = this.termsFor(input, await accounts.show(input.account))
    const outcome = await credits.recharge({ ...input, terms })
    return outcome.status === 'refused' ? { ...outcome, why } : outcome
  }

  /** Why a recharge would be refused by what is known without trying, and what the store would be told. */
  judge(input: Pick<RechargeInput, 'channel' | 'amount' | 'currency'>, account: Account): string | undefined {
    const { terms, why } = this.termsFor(input, account)
    return terms.refused === undefined ? undefined : why
  }

  /** What became of a (channel, reference). */
  find(channel: string, reference: string): Promise<ReferenceState> {
    return this.options.credits.find(channel, reference)
  }

  private termsFor(
    { channel, amount, currency }: Pick<RechargeInput, 'channel' | 'amount' | 'currency'>,
    account: Account | undefined,
  ): { terms: RechargeTerms; why: string } {
    const attributes = account?.extras.attributes ?? {}
    const facts = { channel, amount, currency, attributes, at: this.options.clock.now() }
    return rechargeTerms(this.options.catalog(), facts)
  }
}
