/**
 * Transfers between accounts: the sender's money leaves with what is to become of it written down, the receiver is credited once, and the
 * transfer ends; or it is refused there, and the sender has it back (semantics.md section 10). Whoever dies on the way leaves a member of
 * `due` behind by which a sweeper goes on from where the store says that it stands.
 */
import type { CreditOutcome, Credits } from '../balance/credits.js'
import type { SendOutcome, Transfer, TransferStore } from '../balance/transfers.js'
import type { Account, Accounts } from '../balance/types.js'
import type { Clock } from '../clock.js'
import type { Catalog } from '../rating/catalog.js'
import type { Micros } from '../units.js'
import { transferTerms } from './rules.js'

export interface TransferInput {
  /** The same name again is the same transfer: letters and digits. */
  readonly name: string
  readonly from: string
  readonly to: string
  readonly amount: Micros
  readonly reason: string | undefined
  readonly actor: string
}

export type TransferOutcome =
  /** `returned` tells why the receiver could not have it. `sent`: it is not finished yet, and will be. */
  | { readonly status: 'transferred'; readonly transfer: Transfer; readonly repeated: boolean }
  | { readonly status: 'no_sender' | 'no_receiver' | 'receiver_out_of_service' | 'same_account' | 'taken' }
  | { readonly status: 'currencies_differ'; readonly from: string; readonly to: string }
  | { readonly status: 'not_allowed'; readonly why: string }
  | Exclude<SendOutcome, { readonly status: 'sent' | 'known' | 'taken' | 'no_account' | 'currency_differs' }>

export interface TransferOptions {
  readonly accounts: Pick<Accounts, 'show'>
  readonly store: TransferStore
  readonly credits: Credits
  readonly catalog: () => Catalog
  readonly clock: Clock
}

/** Whoever sends it finishes it long before. */
const lookMs = 30_000

export class Transfers {
  constructor(private readonly options: TransferOptions) {}

  /** From account to account, once for its name. @throws BalanceUnavailableError; then it may be repeated, or is finished by a sweeper */
  async transfer(input: TransferInput): Promise<TransferOutcome> {
    const { accounts, store, catalog, clock } = this.options
    const { from, to, amount, reason, actor } = input
    const id = store.idFor(from, input.name)
    // What was sent is finished, whatever the rules say by now.
    const known = await store.find(id)
    if (known) return this.known(input, known)
    if (from === to) return { status: 'same_account' }
    const [sender, receiver] = await Promise.all([accounts.show(from), accounts.show(to)])
    const unfit = unfitness(sender, receiver)
    if (unfit) return unfit
    const { currency, extras } = sender!
    const facts = { amount, currency, from: extras.attributes, to: receiver!.extras.attributes, at: clock.now() }
    const terms = transferTerms(catalog(), facts)
    if ('refused' in terms) return { status: 'not_allowed', why: terms.refused }
    const { lowBalance } = catalog()
    const sent = await store.send({ ...terms, id, from, to, amount, currency, reason, actor, lookMs, lowBalance })
    switch (sent.status) {
      case 'sent':
        return { status: 'transferred', transfer: await this.finish((await store.find(id))!), repeated: false }
      case 'known':
        return { status: 'transferred', transfer: await this.finish((await store.find(id))!), repeated: true }
      case 'no_account':
        return { status: 'no_sender' }
      case 'currency_differs':
        return { status: 'currencies_differ', from: sent.currency, to: receiver!.currency }
      case 'taken':
        return { status: 'taken' }
      default:
        return sent
    }
  }

  /** Undefined: there is none, or it is long ago. */
  find(id: string): Promise<Transfer | undefined> {
    return this.options.store.find(id)
  }

  /** A member `transfer <account> <id>` of `due`: goes on with a transfer that nobody finished. */
  async job(member: string): Promise<'done' | 'stuck'> {
    const [, from, id] = member.split(' ') as [string, string, string]
    const transfer = await this.options.store.find(id)
    if (transfer?.state === 'sent') return (await this.finish(transfer)).state === 'sent' ? 'stuck' : 'done'
    // Nothing to be done: it takes the member away.
    await this.options.store.end({ id, from, to: '', reason: undefined, actor: 'sweeper' }, 'done', '0')
    return 'done'
  }

  private async known({ to, amount }: TransferInput, known: Transfer): Promise<TransferOutcome> {
    if (known.to !== to || known.amount !== amount) return { status: 'taken' }
    return { status: 'transferred', transfer: await this.finish(known), repeated: true }
  }

  /** Each step may be repeated: the receiver's script remembers what it answered, a refusal too. */
  private async finish(transfer: Transfer): Promise<Transfer> {
    const { store, credits } = this.options
    if (transfer.state !== 'sent') return transfer
    const { id, from, to, amount, currency, reason, actor } = transfer
    const outcome = await credits.plain({
      ...{ account: to, amount, currency, source: 'transfer', once: `transfer:${from}:${id}` },
      cause: { kind: 'transfer', transfer: id, direction: 'in', with: from, reason, actor },
    })
    if (outcome.status === 'credited' || outcome.status === 'repeated')
      await store.end(transfer, 'done', String(outcome.sequence))
    else await store.end(transfer, 'returned', wordOf(outcome))
    return (await store.find(id)) ?? transfer
  }
}

function unfitness(sender: Account | undefined, receiver: Account | undefined): TransferOutcome | undefined {
  if (!sender) return { status: 'no_sender' }
  if (!receiver) return { status: 'no_receiver' }
  if (receiver.status === 'terminated') return { status: 'receiver_out_of_service' }
  if (sender.currency === receiver.currency) return undefined
  return { status: 'currencies_differ', from: sender.currency, to: receiver.currency }
}

/** For ledger and whoever looks: `account-terminated`. */
const wordOf = ({ status }: CreditOutcome): string => status.replaceAll('_', '-')
