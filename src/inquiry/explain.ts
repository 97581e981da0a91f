/** Finds what the ledger says of a request, and tells it in words (scope N1). */
import type { Identities } from '../balance/identities.js'
import type { Journal } from '../balance/journal.js'
import { partitionOf } from '../balance/keys.js'
import type { Programs } from '../balance/programs.js'
import type { Accounts } from '../balance/types.js'
import type { Clock } from '../clock.js'
import { findEntries, type FoundEntries } from '../ledger/find.js'
import type { Millis } from '../units.js'
import { explainEntry, type Explanation, type LedgerEntry } from './explanation.js'

export interface ExplainQuery {
  readonly account?: string | undefined
  readonly session?: string | undefined
  readonly number?: number | undefined
  readonly at?: Millis | undefined
  readonly limit: number
}

export interface Explained {
  /** Oldest first. */
  readonly explanations: readonly Explanation[]
  readonly searched: FoundEntries['searched']
}

const patienceMs = 5_000

export class Explainer {
  constructor(
    private readonly parts: {
      /** On a connection for work in the background. */
      readonly journal: Journal
      readonly programs: Programs
      readonly identities: Identities
      readonly accounts: Accounts
      /** Of this daemon's ledger files. */
      readonly directory: string
      readonly clock: Clock
    },
  ) {}

  /** @throws BalanceUnavailableError */
  async explain(query: ExplainQuery): Promise<Explained> {
    const { journal, directory } = this.parts
    const account = query.account ?? (query.session === undefined ? undefined : await this.accountOf(query.session))
    const partitions =
      account === undefined
        ? Array.from({ length: journal.partitions }, (_, partition) => partition)
        : [partitionOf(account, journal.partitions)]
    const { entries, searched } = await findEntries(journal, directory, { ...query, account, partitions })
    return { explanations: await this.inWords(entries.map(text => JSON.parse(text) as LedgerEntry)), searched }
  }

  /** Whose session it is, while that is known. */
  private async accountOf(session: string): Promise<string | undefined> {
    const { identities, clock } = this.parts
    return (await identities.ownerOfSession(session, clock.monotonic() + patienceMs))?.account
  }

  private async inWords(entries: readonly LedgerEntry[]): Promise<Explanation[]> {
    const { accounts, programs, clock } = this.parts
    programs.flush()
    const ids = entries.flatMap(({ lines }) =>
      lines.flatMap(({ program, next }) => [program, next].flatMap(term => term?.split('.').slice(0, 2) ?? [])),
    )
    const descriptions = await programs.describe(ids, clock.monotonic() + patienceMs)
    const explanations: Explanation[] = []
    for (const entry of entries) {
      const account = await accounts.show(entry.account)
      const buckets = new Map(account?.buckets.map(({ id, name }) => [id, name]))
      explanations.push(explainEntry(entry, { descriptions, buckets, currency: account?.currency ?? '' }))
    }
    return explanations
  }
}
