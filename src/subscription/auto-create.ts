/**
 * Accounts that come to be at their first use: an unknown subscriber whose number stands in a range of the catalog's `autoCreate` gets
 * one. The index decides who makes it, so that any number of first requests at once make one account.
 */
import { randomBytes } from 'node:crypto'
import type { Accounts, Identity, NewBucket } from '../balance/types.js'
import type { Clock } from '../clock.js'
import type { AutoCreate, Catalog, NumberRange } from '../rating/catalog.js'
import { micros, type Millis } from '../units.js'

export interface AutoCreationParts {
  readonly accounts: Pick<Accounts, 'create' | 'show'>
  readonly catalog: () => Catalog
  /** What buying the offer brings now. */
  readonly bucketsOf: (
    offer: string,
    now: Millis,
    currency: string,
  ) => readonly NewBucket[] | { readonly refused: string } | undefined
  /** Business time, and real time for patience. */
  readonly clock: Clock
  /** An account was made. */
  readonly created: (rule: string) => void
}

const order = ['msisdn', 'imsi', 'nai'] as const
/** For another one that makes the same account: longer than it takes, shorter than a gateway waits. */
const patienceMs = 2000
const lookEveryMs = 20

export class AutoCreation {
  constructor(private readonly parts: AutoCreationParts) {}

  /**
   * Makes an account for whoever these identities are. May be repeated, and meet others who do the same.
   *
   * @returns whether there is one now
   * @throws BalanceUnavailableError
   */
  async create(identities: readonly Identity[]): Promise<boolean> {
    const rule = this.parts.catalog().autoCreate.find(each => identities.some(identity => holds(each, identity)))
    if (!rule) return false
    // In one order, so that of two who claim several identities one gets all of them.
    const sorted = [...identities].sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type))
    const { clock, accounts } = this.parts
    const patience = clock.monotonic() + patienceMs
    // Nothing of a number may be read from the id: it stands in the ledger.
    let id = `auto-${randomBytes(8).toString('hex')}`
    for (;;) {
      const outcome = await accounts.create(
        { id, currency: rule.currency, creditLimit: micros(0), attributes: rule.attributes },
        { identities: sorted, offers: this.offersOf(rule) },
        micros(0),
        'admin',
      )
      if (outcome.status === 'created') this.parts.created(rule.name)
      if (outcome.status !== 'identity_taken') return outcome.status !== 'currency_differs'
      if (await accounts.show(outcome.account)) return true
      // Somebody is at it. Who dies over it leaves a claim that leads nowhere: then what it began is finished.
      if (clock.monotonic() >= patience) {
        if (id === outcome.account) return false
        id = outcome.account
      }
      await new Promise<void>(resolve => clock.setTimeout(resolve, lookEveryMs))
    }
  }

  private offersOf({ offers, currency }: AutoCreate): { offer: string; buckets: readonly NewBucket[] }[] {
    return offers.flatMap(offer => {
      const buckets = this.parts.bucketsOf(offer, this.parts.clock.now(), currency)
      return buckets === undefined || 'refused' in buckets ? [] : [{ offer, buckets }]
    })
  }
}

const holds = (rule: AutoCreate, { type, value }: Identity): boolean =>
  type !== 'nai' && rule[type].some(range => inRange(range, value))

const inRange = ({ from, to, prefix }: NumberRange, value: string): boolean =>
  prefix ? value.startsWith(from) : value.length === from.length && from <= value && value <= to
