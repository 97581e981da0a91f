/** What a route of the admin API is, and what several of them need. */
import type { Permission, Principal } from '../access/roles.js'
import type { Account, Accounts } from '../balance/types.js'
import type { Clock } from '../clock.js'
import { parseMoney, type Micros } from '../units.js'
import { accountPattern } from './import.js'
import { Problem, type ProblemName } from './problem.js'
import type { AdminServices } from './services.js'

/** JSON Schema, as far as we use it. */
export type Schema = Readonly<Record<string, unknown>>

export interface Route {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** With `:name` for parameters. */
  readonly path: string
  readonly summary: string
  /** What whoever asks must be allowed. */
  readonly permission: Permission
  /** `credit`: its body has an amount, which ceilings bound and above which it takes two persons. `publish`: so may a catalog. */
  readonly guarded?: 'credit' | 'publish'
  /** No principal: its body is signed, which its work checks. */
  readonly signed?: true
  /** For a subscriber's own token, and for nobody else. */
  readonly self?: true
  /** A POST that changes nothing: it leaves no line in the audit log. */
  readonly readsOnly?: true
  /** Money moves: the header Idempotency-Key is required, and the same request again gets the first answer. */
  readonly idempotent?: true
  /** Two people may edit what it changes: the header If-Match may name the ETag that was read. */
  readonly ifMatch?: true
  readonly params?: Schema
  readonly query?: Schema
  readonly body?: Schema
  /** Octets of the body, where more may come than the API allows in general. */
  readonly bodyOctets?: number
  /** The body is read as a stream, of these types. */
  readonly stream?: readonly string[]
  /** By status; the body of each is described in words. */
  readonly answers: Readonly<Record<number, string>>
  /** What the answer's body is: JSON lines or CSV as they come, instead of one JSON. Then `work` gives a stream. */
  readonly answerType?: 'application/x-ndjson' | 'text/csv'
  /** By status; a JSON object of any form where absent. */
  readonly schemas?: Readonly<Record<number, Schema>>
  readonly problems: readonly ProblemName[]
  readonly work: (request: RouteRequest, services: RouteServices) => Promise<RouteAnswer> | RouteAnswer
}

/** Checked against the route's schemas already. */
export interface RouteRequest {
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string | undefined>>
  readonly body: unknown
  readonly contentType: string
  /** The JSON as it came, for signatures. */
  readonly rawBody?: string | undefined
  /** Of the request, names in small letters. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly principal: Principal
  /** Who does it, for ledger and log: the principal, or whom the holder of the data folder's token names. */
  readonly actor: string
}

export interface RouteServices extends AdminServices {
  readonly clock: Clock
  readonly isUnavailable: (error: unknown) => boolean
}

export interface RouteAnswer {
  readonly status: number
  readonly body: object
  readonly headers?: Readonly<Record<string, string>>
  /** Holds what may stay nowhere, codes of vouchers for example: a repeat under its Idempotency-Key does the work again. */
  readonly unkept?: true
}

export const text = (description: string, more: Schema = {}): Schema => ({ type: 'string', description, ...more })
export const object = (required: readonly string[], properties: Readonly<Record<string, Schema>>): Schema => ({
  type: 'object',
  required,
  properties,
  additionalProperties: false,
})

export const accountId = text('1 to 64 characters of A-Z a-z 0-9 . _ -', { pattern: accountPattern.source })

export const ok = (body: object): RouteAnswer => ({ status: 200, body })

export async function existing(accounts: Accounts, id: string): Promise<Account> {
  const account = await accounts.show(id)
  if (!account) throw noAccount(id)
  return account
}

export const noAccount = (id: string): Problem => new Problem('not-found', `there is no account ${id}`)

/** The schema has checked the form. */
export function moneyOf(written: string): Micros {
  const amount = parseMoney(written)
  if (amount === undefined)
    throw new Problem('invalid-request', `${JSON.stringify(written)} is not an amount like 5.00`)
  return amount
}
