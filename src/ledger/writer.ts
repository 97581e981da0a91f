/**
 * The ledger's first consumer: writes every journal entry to the ledger's files (design: ledger), one line each, as the script
 * wrote it behind its place in the journal.
 */
import { JournalConsumer, tailOctets, type ConsumerOptions, type PlacedEntry, type Sink } from './consumer.js'
import { lastIdsOf, ledgerPrefix, prepareFolder, type LedgerFiles } from './files.js'
import { RowFiles } from './row-files.js'

export interface LedgerWriterOptions extends Omit<ConsumerOptions, 'name' | 'what' | 'sink'> {
  readonly rotateOctets: number
  readonly files?: LedgerFiles
}

/** Name of this consumer in the store. */
export const ledgerConsumer = 'ledger'

export class LedgerWriter extends JournalConsumer {
  constructor(options: LedgerWriterOptions) {
    super({ ...options, name: ledgerConsumer, what: 'the ledger', sink: new LedgerSink(options) })
  }
}

class LedgerSink implements Sink {
  private readonly files: RowFiles

  constructor(private readonly options: LedgerWriterOptions) {
    this.files = new RowFiles({ ...options, prefix: ledgerPrefix })
  }

  async open(): Promise<ReadonlyMap<number, string>> {
    const { directory } = this.options
    await prepareFolder(directory)
    return lastIdsOf(directory, tailOctets)
  }

  async write(entries: readonly PlacedEntry[]): Promise<number> {
    let text = ''
    for (const { partition, id, text: entry } of entries)
      text += `{"partition":${partition},"id":"${id}",${entry.slice(1)}\n`
    const octets = Buffer.from(text)
    await this.files.append(octets)
    return octets.length
  }

  close(): Promise<void> {
    return this.files.close()
  }
}
