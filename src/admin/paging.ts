/**
 * Lists in pages: `limit` and `after` in the query, `{ items, next }` in the answer. A cursor is opaque to clients: it carries where the
 * next page begins, so a list may change between pages and whatever stays in it is shown once.
 */
import { Problem } from './problem.js'
import { object, text, type RouteAnswer, type Schema } from './route.js'

export interface Page<Item> {
  readonly items: readonly Item[]
  /** Words of the next page's cursor; undefined: this was the last. */
  readonly next: readonly string[] | undefined
}

export interface Paging {
  /** 1 to 1000. */
  readonly limit: number
  /** Words of the cursor as `pageAnswer` was given them; undefined: from the beginning. */
  readonly after: readonly string[] | undefined
}

const most = 1000
const usual = 100

/** Members of a query. */
export const pagingQuery: Readonly<Record<string, Schema>> = {
  limit: text(`Items of a page, 1 to ${most}, default ${usual}`, { pattern: '^\\d{1,4}$' }),
  after: text('Cursor: `next` of the page before', { minLength: 1, maxLength: 2000 }),
}

/** The schema of a page, for `answers` of a list. */
export const pageSchema = (item: Schema): Schema =>
  object(['items', 'next'], {
    items: { type: 'array', items: item },
    next: { type: ['string', 'null'], description: 'Give it as `after` for the next page; null: this is the last' },
  })

/**
 * @param words how many words a cursor of this list has
 * @throws Problem
 */
export function readPaging(query: Readonly<Record<string, string | undefined>>, words: number): Paging {
  const limit = Number(query['limit'] ?? usual)
  if (limit < 1 || limit > most) throw new Problem('invalid-request', `limit must be from 1 to ${most}`)
  const { after } = query
  return { limit, after: after === undefined ? undefined : readCursor(after, words) }
}

export const pageAnswer = <Item>({ items, next }: Page<Item>): RouteAnswer => ({
  status: 200,
  body: { items, next: next === undefined ? null : writeCursor(next) },
})

const writeCursor = (words: readonly string[]): string => Buffer.from(JSON.stringify(words)).toString('base64url')

function readCursor(text: string, count: number): readonly string[] {
  try {
    const words: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    if (Array.isArray(words) && words.length === count && words.every(word => typeof word === 'string')) return words
  } catch {
    // Refused below.
  }
  throw new Problem(
    'invalid-request',
    'after: this is no cursor of this list; give `next` of the page before, as it was',
  )
}
