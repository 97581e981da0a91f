/**
 * Before and after the work of a route: may whoever asks do this, does it need a second person, and its lines in the audit log. The checks
 * are in this order: credentials (401), locked out or too often (429), role (403), ceiling (403), second person (202).
 */
import { randomUUID } from 'node:crypto'
import type { Authentication } from '../access/authentication.js'
import type { ApiKey } from '../access/api-keys.js'
import type { AuditFault, AuditHead, AuditRecord } from '../access/audit-log.js'
import { mayDo, permissionsOf, roles, type Principal } from '../access/roles.js'
import type { Documents } from '../balance/documents.js'
import type { ApprovalConfig } from '../config/config.js'
import { formatMoney, parseMoney, type Micros, type Millis } from '../units.js'
import { Problem } from './problem.js'
import type { Route, RouteAnswer, RouteRequest, RouteServices } from './route.js'

/** What the admin API is handed of src/access; the daemon joins it. */
export interface AccessServices {
  readonly access: {
    /** @throws BalanceUnavailableError */
    authenticate(authorization: string | undefined, address: string): Promise<Authentication>
    /** Takes one request of the principal's; else how many seconds to wait. */
    limit(principal: Principal): number
    /** On the disk when it resolves. @throws Error: then nothing may be done */
    record(record: AuditRecord): Promise<void>
    /** Lines of this daemon's log, oldest first. */
    records(): AsyncIterable<AuditRecord>
    verify(): Promise<{ readonly lines: number; readonly head: AuditHead; readonly fault?: AuditFault }>
    readonly keys: Documents<ApiKey>
    readonly approvals: Documents<Approval>
    readonly policy: ApprovalConfig
    /** How a subscriber's identity is shown. */
    readonly mask: (identity: string) => string
    /** Signs tokens of subscribers, the same at all daemons of the store. @throws BalanceUnavailableError */
    readonly selfCareSecret: () => Promise<string>
    /** Unix ms of the machine: credentials and approvals end by it. */
    readonly now: () => Millis
  }
}

/** A request that waits for a second person. */
export interface Approval {
  readonly id: string
  /** `POST /v1/accounts/:id/adjustments` */
  readonly route: string
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string | undefined>>
  readonly body: unknown
  readonly contentType: string
  readonly principal: Principal
  readonly actor: string
  /** Why it needs a second person. */
  readonly held: string
  readonly at: Millis
  readonly expires: Millis
  /** `approving`: its work has begun; doing it again is safe. */
  readonly state: 'waiting' | 'approving' | 'approved' | 'rejected' | 'failed'
  readonly decidedBy?: string
  readonly decidedAt?: Millis
  readonly reason?: string
  /** Of the work, when it was done. */
  readonly answer?: { readonly status: number; readonly body: unknown }
}

/** @throws Problem forbidden */
export function mustBeAllowed(principal: Principal, route: Route, policy: ApprovalConfig): void {
  if (route.self) {
    if (principal.kind === 'subscriber') return
    throw new Problem(
      'forbidden',
      'this is for the token of a subscriber: POST /v1/accounts/:id/self-care-tokens makes one',
    )
  }
  if (principal.kind === 'subscriber')
    throw new Problem('forbidden', 'a subscriber reads what is his own, GET /v1/self, and nothing else')
  if (mayDo(principal, route.permission)) return
  // Where it takes a second person, whoever writes a catalog may ask for it.
  if (route.guarded === 'publish' && policy.publish && mayDo(principal, 'catalog.write')) return
  const who = roles.filter(role => permissionsOf[role].includes(route.permission))
  throw new Problem(
    'forbidden',
    `${principal.id} (${principal.roles.join(', ') || 'no role'}) may not do this: it takes ${who.join(' or ')}`,
  )
}

/**
 * Ceilings of whoever asks, and what a second person must agree to.
 *
 * @returns why a second person is needed; undefined: nobody is
 * @throws Problem above-ceiling
 */
export async function heldBecause(
  route: Route,
  request: RouteRequest,
  services: RouteServices,
): Promise<string | undefined> {
  const { policy } = services.access
  if (route.guarded === 'publish') return policy.publish ? 'publishing a catalog takes two persons' : undefined
  if (route.guarded !== 'credit') return undefined
  const { ceilings } = request.principal
  if (!ceilings && policy.credit.size === 0) return undefined
  const money = await moneyOfRequest(request, services)
  if (!money) {
    if (ceilings)
      throw new Problem('above-ceiling', `${request.principal.id} may move money up to a ceiling, and nothing else`)
    return undefined
  }
  const { amount, currency } = money
  if (ceilings) {
    const ceiling = parseMoney(ceilings[currency] ?? '0') ?? 0n
    if (amount > ceiling)
      throw new Problem(
        'above-ceiling',
        `${formatMoney(amount)} ${currency} is above the ceiling of ${request.principal.id}, ${formatMoney(ceiling)} ${currency}`,
      )
  }
  const most = policy.credit.get(currency)
  return most !== undefined && amount > most ? `above ${formatMoney(most)} ${currency} it takes two persons` : undefined
}

/** The amount of a body, whatever its sign, and its currency; undefined: it moves units, no money. */
async function moneyOfRequest(
  { params, body }: RouteRequest,
  { accounts }: RouteServices,
): Promise<{ amount: Micros; currency: string } | undefined> {
  const { amount, balance, creditLimit, count = 1, currency, from } = body as MoneyBody
  const sums = [amount, balance, creditLimit].flatMap(each =>
    each === undefined ? [] : [parseMoney(each.replace(/^[+-]/, ''))],
  )
  if (sums.includes(undefined)) return undefined
  const written = (sums as Micros[]).reduce((sum, each) => sum + each, 0n) * BigInt(count)
  const account = params['id'] ?? from
  const known = currency ?? (account === undefined ? undefined : (await accounts.show(account))?.currency)
  return known === undefined ? undefined : { amount: written as Micros, currency: known }
}

/** Members of bodies that say how much: of a recharge, of an account that is made, of each voucher of a batch. */
interface MoneyBody {
  readonly amount?: string
  readonly balance?: string
  readonly creditLimit?: string
  readonly count?: number
  readonly currency?: string
  readonly from?: string
}

/** Puts the request aside until a second person agrees. */
export async function holdForApproval(
  route: Route,
  request: RouteRequest,
  held: string,
  { access }: RouteServices,
): Promise<RouteAnswer> {
  const now = access.now()
  const { params, query, body, contentType, principal, actor } = request
  const approval: Approval = {
    ...{ id: randomUUID(), route: `${route.method} ${route.path}`, params, query, body, contentType },
    ...{ principal, actor, held, at: now, expires: now + access.policy.keepMs, state: 'waiting' },
  }
  await access.approvals.put(approval.id, undefined, approval)
  return {
    status: 202,
    body: { approval: approval.id, held, expires: new Date(approval.expires).toISOString() },
  }
}

/** Requests whose doing is recorded: what changes something, and what hands out whole books or one person's data. */
export const isRecorded = ({ method, permission, readsOnly, signed }: Route): boolean =>
  (method !== 'GET' && !readsOnly && !signed) || permission === 'bulk.read' || permission === 'person.write'

/**
 * Does the work of a route between its two lines of the audit log: what was asked is on the disk before anything is done.
 *
 * @throws Problem not-recorded, and what `work` throws
 */
export async function recorded(
  route: Route,
  request: RouteRequest,
  address: string,
  services: RouteServices,
  work: () => Promise<RouteAnswer>,
): Promise<RouteAnswer> {
  if (!isRecorded(route)) return work()
  const { access } = services
  const id = randomUUID()
  const { principal, actor, params, query, body } = request
  const reason = (body as { reason?: string } | undefined)?.reason ?? query['reason']
  const redacted = (value: unknown): unknown => redact(value, access.mask)
  const record = async (fields: AuditRecord): Promise<void> => {
    try {
      await access.record(fields)
    } catch {
      throw new Problem('not-recorded', 'the audit log cannot be written, so this is not done; is the disk full?')
    }
  }
  const before = await stateOf(request, services)
  await record({
    ...{ event: 'asked', request: id, by: principal.id, actor, roles: principal.roles, address },
    ...{ action: `${route.method} ${route.path}`, params: redacted(params), query: redacted(query) },
    ...{ body: redacted(readable(body)), why: reason, before },
  })
  const done = async (status: number, type?: string, about?: string): Promise<void> => {
    const after = await stateOf(request, services).catch(() => undefined)
    const decided =
      about === undefined ? {} : { by: principal.id, actor, action: `${route.method} ${route.path}`, about }
    await record({ event: 'done', request: id, status, type, after, ...decided })
  }
  let answer: RouteAnswer
  try {
    answer = await work()
  } catch (error) {
    const problem = error instanceof Problem ? error.document() : undefined
    await done(problem?.status ?? 500, problem?.type ?? 'urn:ocsd:problem:internal').catch(() => undefined)
    throw error
  }
  await done(answer.status, undefined, accountOfApproval(answer))
  return answer
}

/** Whose request was decided about, so that what is said of an account tells it, too. */
const accountOfApproval = ({ body }: RouteAnswer): string | undefined =>
  'held' in body && 'params' in body ? (body.params as { readonly id?: string }).id : undefined

/** The account that a request is about, in short: its ledger has the rest under `sequence`. */
async function stateOf({ params }: RouteRequest, { accounts }: RouteServices): Promise<object | undefined> {
  const id = params['id']
  const account = id === undefined ? undefined : await accounts.show(id)
  if (!account) return undefined
  const { status, money, debt, sequence, rev } = account
  return { account: id, status, money: formatMoney(money), debt: formatMoney(debt), sequence, rev }
}

const readable = (body: unknown): unknown =>
  typeof body === 'object' && body !== null && 'pipe' in body ? 'a stream' : body

const secrets = new Set(['code', 'pin', 'secret', 'password', 'token', 'text', 'card'])
const identities = new Set(['msisdn', 'imsi', 'nai', 'value', 'number', 'identity', 'email', 'name', 'subscriber'])
const longest = 256

/** What a log may keep: identities masked, secrets and long texts left out. */
export function redact(value: unknown, mask: (identity: string) => string, name = ''): unknown {
  if (typeof value === 'string') {
    if (secrets.has(name)) return '…'
    if (identities.has(name) && /^\+?\d{6,}$|@/.test(value)) return mask(value)
    return value.length > longest ? `${value.slice(0, 32)}… (${value.length} characters)` : value
  }
  if (Array.isArray(value)) {
    const list = value.slice(0, 100).map(each => redact(each, mask, name))
    return value.length > 100 ? [...list, `… (${value.length} in all)`] : list
  }
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, redact(each, mask, key)]))
}
