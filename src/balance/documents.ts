/**
 * Small JSON documents that all daemons share, by id in one hash: API keys, requests that wait for a second person. Whoever changes one
 * says what it has read; lua/put-document.lua refuses when somebody was faster.
 */
import type { Store } from './store.js'

/** A document and the text it was read from, which a change of it must name. */
export interface Read<Document> {
  readonly document: Document
  readonly text: string
}

export class Documents<Document extends object> {
  constructor(
    private readonly store: Store,
    /** Of the hash. */
    private readonly key: string,
    private readonly patienceMs = 5000,
  ) {}

  /** @throws BalanceUnavailableError */
  async get(id: string): Promise<Read<Document> | undefined> {
    const text = await this.store.call('document', this.store.deadlineIn(this.patienceMs), redis =>
      redis.hget(this.key, id),
    )
    return text === null ? undefined : { document: JSON.parse(text) as Document, text }
  }

  /** All of them: there are few. @throws BalanceUnavailableError */
  async all(): Promise<Map<string, Read<Document>>> {
    const hash = await this.store.call('document', this.store.deadlineIn(this.patienceMs), redis =>
      redis.hgetall(this.key),
    )
    return new Map(Object.entries(hash).map(([id, text]) => [id, { document: JSON.parse(text) as Document, text }]))
  }

  /**
   * Writes one; undefined takes it out. Safe to repeat.
   *
   * @param before what was read of it; undefined: there is none yet
   * @returns false: somebody else changed it meanwhile
   * @throws BalanceUnavailableError
   */
  async put(id: string, before: Read<Document> | undefined, next: Document | undefined): Promise<boolean> {
    const text = next === undefined ? '' : JSON.stringify(next)
    const reply = await this.store.call('document', this.store.deadlineIn(this.patienceMs), redis =>
      redis.putDocument(this.key, id, before?.text ?? '', text),
    )
    return reply === 'done'
  }
}
