/**
 * What an account is besides its amounts, kept beside the ledger so that `ocsd --rebuild` can make it again: a consumer of the journal
 * that, for entries which may have changed more than amounts, reads the account's lines as they are then and appends them to
 * `states-<start>-<n>.jsonl`: `{"partition":5,"id":"…","account":"alice","seq":17,"lines":{"funds":"…","bucket:3-1":"…"}}`.
 *
 * *Ours:* the alternative was to have every script write its changed lines into its entry. That would make each entry and each script
 * longer, for ever, and a line forgotten in one of them would be lost silently; here whatever stands in an account is kept, also
 * fields that are invented later, at one read of an account for each change or end of a session, in the background. What it costs: an account
 * whose last change was not written when the store was lost comes back without it, and is named.
 *
 * Identities do not stand in the ledger, nor here: of a subscriber only its number is kept.
 */
import { JournalConsumer, tailOctets, type ConsumerOptions, type PlacedEntry, type Sink } from './consumer.js'
import { lastIdsOf, prepareFolder, type LedgerFiles } from './files.js'
import { RowFiles } from './row-files.js'

/** The lines of these accounts, in their order; undefined for one that is not there. */
export type ReadLines = (
  accounts: readonly string[],
) => Promise<readonly (Readonly<Record<string, string>> | undefined)[]>

export interface StateWriterOptions extends Omit<ConsumerOptions, 'name' | 'what' | 'sink'> {
  readonly rotateOctets: number
  readonly accountLines: ReadLines
  readonly files?: LedgerFiles
}

/** One line of a states file. */
export interface AccountState {
  readonly partition: number
  /** Of the entry that it was read for. */
  readonly id: string
  readonly account: string
  /** Last entry that is in it. */
  readonly seq: number
  readonly lines: Readonly<Record<string, string>>
}

export const statesConsumer = 'states'
export const statesPrefix = 'states'

export class StateWriter extends JournalConsumer {
  constructor(options: StateWriterOptions) {
    super({ ...options, name: statesConsumer, what: 'the file of account states', sink: new StateSink(options) })
  }
}

class StateSink implements Sink {
  private readonly files: RowFiles

  constructor(private readonly options: Omit<StateWriterOptions, 'journal' | 'leases' | 'log' | 'metrics'>) {
    this.files = new RowFiles({ ...options, prefix: statesPrefix })
  }

  async open(): Promise<ReadonlyMap<number, string>> {
    const { directory } = this.options
    await prepareFolder(directory, statesPrefix)
    return lastIdsOf(directory, tailOctets, statesPrefix)
  }

  async write(entries: readonly PlacedEntry[]): Promise<number> {
    const { accountLines } = this.options
    const changed = new Map<string, PlacedEntry>()
    for (const entry of entries) {
      const account = changedAccount(entry.text)
      if (account !== undefined) changed.set(account, entry)
    }
    if (changed.size === 0) return 0
    const names = [...changed.keys()]
    const read = await accountLines(names)
    const text = names.flatMap((name, i) => stateText(name, changed.get(name)!, read[i])).join('')
    if (text === '') return 0
    const octets = Buffer.from(text)
    await this.files.append(octets)
    return octets.length
  }

  close(): Promise<void> {
    return this.files.close()
  }
}

/**
 * The account of an entry that may have changed more than amounts. Of charges these are the last of a session, and events: what a first
 * use begins (the life of a bucket, a status, a period of a counter) is kept then.
 */
function changedAccount(text: string): string | undefined {
  const [, account] = /^\{"account":"([^"]+)"/.exec(text) ?? []
  if (account === undefined) return undefined
  if (!text.includes('"kind":"charge"')) return account
  return /"type":"(?:T|E|terminate|event)"/.test(text) ? account : undefined
}

function stateText(
  account: string,
  { partition, id }: PlacedEntry,
  lines: Readonly<Record<string, string>> | undefined,
): string[] {
  const seq = / seq (\d+) /.exec(lines?.['funds'] ?? '')?.[1]
  if (!lines || seq === undefined) return []
  const { subscribers, ...others } = lines
  const kept = subscribers === undefined ? others : { ...others, subscribers: numbersOnly(subscribers) }
  return [
    `{"partition":${partition},"id":"${id}",${JSON.stringify({ account, seq: Number(seq), lines: kept }).slice(1)}\n`,
  ]
}

/** `1 msisdn:… imsi:…;2 removed` → `1;2 removed`: what is no identity stays. */
export const numbersOnly = (subscribers: string): string =>
  subscribers
    .split(';')
    .map(each =>
      each
        .split(' ')
        .filter(word => !/^(?:was:)?(?:msisdn|imsi|nai):/.test(word))
        .join(' '),
    )
    .join(';')
