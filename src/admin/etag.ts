/**
 * ETag and If-Match (RFC 9110 sections 8.8.3 and 13.1.1) where two people may edit the same thing: who changes it says which state was
 * read, and is refused when it is another one meanwhile. Without If-Match a change is applied to what is there.
 */
import { createHash } from 'node:crypto'
import { Problem } from './problem.js'
import type { Account, Precondition } from '../balance/types.js'
import type { RouteRequest, Schema } from './route.js'

export const ifMatchSchema: Schema = {
  type: 'string',
  description: 'ETag of what was read: the change is refused (412) when it has another one now. Absent: any',
}

/** Members of an answer's `headers`. @param state whatever changes when the thing does */
export const etagOf = (state: string): { readonly etag: string } => ({ etag: `"${shortened(state)}"` })

/**
 * Refuses a change of what was read in another state.
 *
 * @param state as `etagOf` is given it, now
 * @throws Problem stale
 */
export function checkIfMatch({ headers }: Pick<RouteRequest, 'headers'>, state: string): void {
  if (matches(headers, state)) return
  throw stale(headers['if-match']!)
}

/** Whether If-Match, if there is one, names this state. */
export function matches(headers: RouteRequest['headers'], state: string): boolean {
  const wanted = headers['if-match']
  if (wanted === undefined || wanted.trim() === '*') return true
  const { etag } = etagOf(state)
  // Weak ones never match (section 13.1.1), and all of ours are strong.
  return wanted.split(',').some(each => each.trim() === etag)
}

export const stale = (ifMatch: string): Problem =>
  new Problem(
    'stale',
    `it was changed since it was read as ${ifMatch.slice(0, 80)}: read it again, and send the change with the ETag that comes then`,
  )

/** 96 bits. */
const shortened = (state: string): string => createHash('sha256').update(state).digest('base64url').slice(0, 16)

/**
 * What of an account people edit: its profile and its status. Money and buckets are not in it, as charges move them all the time.
 * *Ours:* a strong ETag of RFC 9110 would change with every octet of the answer.
 */
export const stateOfAccount = ({ id, rev, status }: Pick<Account, 'id' | 'rev' | 'status'>): string =>
  `account ${id} ${rev} ${status}`

/** @param version of the catalog in use */
export const stateOfCatalog = (version: string): string => `catalog ${version}`

/** For the change of an account; undefined: no If-Match. */
export const preconditionOf = ({ headers }: Pick<RouteRequest, 'headers'>): Precondition | undefined =>
  headers['if-match'] === undefined ? undefined : account => matches(headers, stateOfAccount(account))
