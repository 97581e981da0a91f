/**
 * Published catalogs, shared by all daemons of a store: the newest is the one in use, the others may be gone back to. Whoever
 * publishes says which one was the newest; lua/publish-catalog.lua refuses when somebody was faster.
 */
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { Millis } from '../units.js'
import { publicationsKey } from './keys.js'
import type { Store } from './store.js'

export interface Publication {
  readonly id: string
  /** 1, 2, 3 … */
  readonly number: number
  /** Of the catalog: the same for the same content. */
  readonly version: string
  readonly at: Millis
  readonly actor: string
  readonly reason: string
  /** `before`: what was in use when the first one was published. */
  readonly how: 'before' | 'publish' | 'reload' | 'rollback'
  readonly files: readonly string[]
}

/** What a catalog is written in: names are below its folder. */
export interface PublishedTexts {
  readonly files: readonly { readonly file: string; readonly text: string }[]
  readonly others: readonly { readonly file: string; readonly text: string }[]
}

/** Publications that are kept. */
export const publicationsKept = 50
const patienceMs = 5_000
const [pack, unpack] = [promisify(gzip), promisify(gunzip)]

export class Publications {
  constructor(private readonly store: Store) {}

  /** Id of the newest. @throws BalanceUnavailableError */
  async newestId(): Promise<string | undefined> {
    return (await this.order())[0]
  }

  /** The newest first. @throws BalanceUnavailableError */
  async list(): Promise<readonly Publication[]> {
    const ids = await this.order()
    if (ids.length === 0) return []
    const records = await this.store.call('publications', this.deadline(), redis =>
      redis.hmget(publicationsKey, ...ids.map(id => `record:${id}`)),
    )
    return records.flatMap(record => (record === null ? [] : [JSON.parse(record) as Publication]))
  }

  /** @returns undefined when it is no longer kept. @throws BalanceUnavailableError */
  async texts(id: string): Promise<PublishedTexts | undefined> {
    const packed = await this.store.call('publications', this.deadline(), redis =>
      redis.hget(publicationsKey, `texts:${id}`),
    )
    if (packed === null) return undefined
    return JSON.parse((await unpack(Buffer.from(packed, 'base64'))).toString()) as PublishedTexts
  }

  /**
   * Safe to repeat.
   *
   * @param after id that was read as the newest
   * @returns false: another one is the newest meanwhile
   * @throws BalanceUnavailableError
   */
  async publish(after: string | undefined, publication: Publication, texts: PublishedTexts): Promise<boolean> {
    const packed = (await pack(JSON.stringify(texts))).toString('base64')
    const reply = await this.store.call('publish-catalog', this.deadline(), redis =>
      redis.publishCatalog(
        publicationsKey,
        ...[after ?? '', publication.id, JSON.stringify(publication), packed, String(publicationsKept)],
      ),
    )
    return reply === 'done'
  }

  private async order(): Promise<string[]> {
    const order = await this.store.call('publications', this.deadline(), redis => redis.hget(publicationsKey, 'order'))
    return order === null ? [] : order.split(' ')
  }

  private deadline(): number {
    return this.store.deadlineIn(patienceMs)
  }
}
