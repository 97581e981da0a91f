/** Who may do what, over the API itself: API keys, requests that wait for a second person, the audit log. */
import { makeKey, type ApiKey } from '../access/api-keys.js'
import { permissionsOf, roles, type Role } from '../access/roles.js'
import type { Read } from '../balance/documents.js'
import { parseMoney } from '../units.js'
import type { Approval } from './access.js'
import { pageAnswer, pagingQuery, readPaging } from './paging.js'
import { Problem } from './problem.js'
import { object, ok, text, type Route, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js'
import { reason } from './fields.js'

const day = 24 * 3_600_000
const longestKeyDays = 400
const keyParams = object(['key'], { key: text('Id of an API key', { pattern: '^[a-z0-9]{10}$' }) })
const approvalParams = object(['approval'], { approval: text('Id of an approval', { pattern: '^[0-9a-f-]{36}$' }) })
const actor = text('Who asks for it, for the log', { pattern: '^[\\w.@:-]{1,64}$' })

/** Does the work of a held request; routes.ts knows the table that it is in. */
export type Redo = (approval: Approval, services: RouteServices) => Promise<RouteAnswer>

export const accessRoutes = (redo: Redo): readonly Route[] => [
  {
    method: 'GET',
    path: '/v1/whoami',
    permission: 'account.read',
    summary: 'Who asks, with which roles and permissions.',
    answers: { 200: 'The principal' },
    problems: [],
    work: ({ principal }) =>
      ok({ ...principal, permissions: [...new Set(principal.roles.flatMap(role => permissionsOf[role]))].sort() }),
  },
  {
    method: 'GET',
    path: '/v1/roles',
    permission: 'account.read',
    summary: 'The roles, and what each may do.',
    answers: { 200: 'The permissions by role' },
    problems: [],
    work: () => ok({ roles: permissionsOf }),
  },
  {
    method: 'GET',
    path: '/v1/keys',
    permission: 'key.write',
    summary: 'The API keys, without their secrets.',
    answers: { 200: 'The keys' },
    problems: [],
    work: async (_, { access }) => {
      const all = [...(await access.keys.all()).values()].map(({ document }) => viewOfKey(document, access.now()))
      return ok({ keys: all.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1)) })
    },
  },
  {
    method: 'POST',
    path: '/v1/keys',
    permission: 'key.write',
    summary: 'Make an API key. Its secret is in the answer, once; ocsd keeps a hash of it.',
    body: object(['name', 'roles', 'days'], {
      name: text('What it is for, 1 to 64 characters', { pattern: '^[^\\u0000-\\u001f]{1,64}$' }),
      roles: {
        type: 'array',
        minItems: 1,
        maxItems: roles.length,
        uniqueItems: true,
        items: { type: 'string', enum: [...roles] },
      },
      days: { type: 'integer', description: 'It ends after so many days', minimum: 1, maximum: longestKeyDays },
      ceilings: {
        type: 'object',
        description: 'The most that one request of it may credit or debit, by currency; other currencies: nothing',
        maxProperties: 50,
        patternProperties: { '^[A-Z]{3}$': text('Decimal text like 50.00', { pattern: '^\\d{1,9}(\\.\\d{1,6})?$' }) },
        additionalProperties: false,
      },
      actor,
    }),
    answers: { 201: 'The key with its secret' },
    problems: [],
    work: makeOne,
  },
  {
    method: 'DELETE',
    path: '/v1/keys/:key',
    permission: 'key.write',
    summary: 'Revoke an API key: within two seconds it opens nothing any more.',
    params: keyParams,
    answers: { 200: 'The key' },
    problems: ['not-found', 'stale'],
    work: revoke,
  },
  {
    method: 'GET',
    path: '/v1/approvals',
    permission: 'approval.write',
    summary: 'Requests that wait for a second person, and those that were decided, newest first.',
    query: object([], { state: { type: 'string', enum: ['waiting', 'approving', 'approved', 'rejected', 'failed'] } }),
    answers: { 200: 'The approvals' },
    problems: [],
    work: async ({ query }, { access }) => {
      const all = [...(await access.approvals.all()).values()].map(({ document }) => viewOfApproval(document, access))
      const wanted = all.filter(({ state }) => query['state'] === undefined || state === query['state'])
      return ok({ approvals: wanted.sort((a, b) => (a.at < b.at ? 1 : -1)) })
    },
  },
  {
    method: 'POST',
    path: '/v1/approvals/:approval/approve',
    permission: 'approval.write',
    summary: 'Agree to a request of somebody else: it is done now, in the name of whoever asked for it.',
    params: approvalParams,
    body: object([], { reason, actor }),
    answers: { 200: 'The approval with the answer of its work' },
    problems: ['not-found', 'forbidden', 'approval-decided', 'stale'],
    work: (request, services) => approve(request, services, redo),
  },
  {
    method: 'POST',
    path: '/v1/approvals/:approval/reject',
    permission: 'approval.write',
    summary: 'Refuse a request of somebody else, or take back one of your own.',
    params: approvalParams,
    body: object(['reason'], { reason, actor }),
    answers: { 200: 'The approval' },
    problems: ['not-found', 'approval-decided', 'stale'],
    work: reject,
  },
  {
    method: 'GET',
    path: '/v1/auditlog',
    permission: 'auditlog.read',
    summary: 'The audit log of this daemon, oldest first.',
    query: object([], {
      ...pagingQuery,
      by: text('Of one principal or actor', { maxLength: 64 }),
      account: text('About one account', { maxLength: 64 }),
    }),
    answers: { 200: 'A page of lines' },
    problems: [],
    work: listAudit,
  },
  {
    method: 'GET',
    path: '/v1/auditlog/verify',
    permission: 'auditlog.read',
    summary: 'Whether a line of this daemon’s audit log was changed, removed or reordered.',
    answers: { 200: 'How many lines are whole, and the first fault' },
    problems: [],
    work: async (_, { access }) => ok(await access.verify()),
  },
]

interface KeyBody {
  readonly name: string
  readonly roles: readonly Role[]
  readonly days: number
  readonly ceilings?: Readonly<Record<string, string>>
}

async function makeOne(
  { body, actor: createdBy, principal }: RouteRequest,
  { access }: RouteServices,
): Promise<RouteAnswer> {
  const { name, roles: held, days, ceilings } = body as KeyBody
  const more = held.filter(role =>
    permissionsOf[role].some(each => !principal.roles.some(own => permissionsOf[own].includes(each))),
  )
  if (more.length > 0)
    throw new Problem('forbidden', `${principal.id} may not give away more than it has: ${more.join(', ')}`)
  for (const amount of Object.values(ceilings ?? {}))
    if (parseMoney(amount) === undefined)
      throw new Problem('invalid-request', `ceilings: ${amount} is not an amount like 50.00`)
  const createdAt = access.now()
  const terms = {
    name,
    roles: held,
    createdBy,
    createdAt,
    expires: createdAt + days * day,
    ...(ceilings && { ceilings }),
  }
  const { key, secret } = makeKey(terms)
  await access.keys.put(key.id, undefined, key)
  return { status: 201, body: { ...viewOfKey(key, createdAt), secret } }
}

async function revoke({ params, actor: revokedBy }: RouteRequest, { access }: RouteServices): Promise<RouteAnswer> {
  const id = params['key']!
  const read = await access.keys.get(id)
  if (!read) throw new Problem('not-found', `there is no API key ${id}`)
  const revokedAt = access.now()
  const next: ApiKey =
    read.document.revokedAt === undefined ? { ...read.document, revokedAt, revokedBy } : read.document
  if (!(await access.keys.put(id, read, next)))
    throw new Problem('stale', `API key ${id} was changed meanwhile: try again`)
  return ok(viewOfKey(next, revokedAt))
}

function viewOfKey(
  { id, name, roles: held, ceilings, createdBy, createdAt, expires, revokedAt, revokedBy }: ApiKey,
  now: number,
) {
  return {
    ...{ id, name, roles: held, ceilings: ceilings ?? null },
    state: revokedAt !== undefined ? 'revoked' : expires <= now ? 'expired' : 'active',
    ...{ createdBy, createdAt: iso(createdAt), expires: iso(expires) },
    ...{ revokedBy: revokedBy ?? null, revokedAt: revokedAt === undefined ? null : iso(revokedAt) },
  }
}

const iso = (at: number): string => new Date(at).toISOString()

async function waiting({ params }: RouteRequest, { access }: RouteServices): Promise<Read<Approval>> {
  const id = params['approval']!
  const read = await access.approvals.get(id)
  if (!read) throw new Problem('not-found', `there is no approval ${id}`)
  const { state, decidedBy, expires } = read.document
  if (state !== 'waiting' && state !== 'approving')
    throw new Problem('approval-decided', `approval ${id} is ${state} already, by ${decidedBy ?? 'nobody'}`)
  if (expires <= access.now()) throw new Problem('approval-decided', `approval ${id} has expired: ask for it again`)
  return read
}

async function approve(request: RouteRequest, services: RouteServices, redo: Redo): Promise<RouteAnswer> {
  const { access } = services
  const { principal, body } = request
  const read = await waiting(request, services)
  const { document } = read
  if (principal.kind === 'token')
    throw new Problem(
      'forbidden',
      'the token of the data folder is nobody in particular: approve with a key of your own',
    )
  if (principal.id === document.principal.id || principal.id === document.actor)
    throw new Problem('forbidden', 'it takes another person than the one who asked for it')
  const { reason: why } = (body ?? {}) as { reason?: string }
  const taken: Approval = {
    ...document,
    state: 'approving',
    decidedBy: principal.id,
    decidedAt: access.now(),
    ...(why !== undefined && { reason: why }),
  }
  const move = async (before: Approval, next: Approval): Promise<void> => {
    if (!(await access.approvals.put(before.id, { document: before, text: JSON.stringify(before) }, next)))
      throw new Problem('stale', `approval ${before.id} was changed meanwhile: look at it again`)
  }
  await move(document, taken)
  try {
    const { status, body: answer } = await redo(taken, services)
    const done: Approval = { ...taken, state: 'approved', answer: { status, body: answer } }
    await move(taken, done)
    return ok(viewOfApproval(done, access))
  } catch (error) {
    // A defect or an outage leaves it as it is: it can be approved again.
    if (!(error instanceof Problem) || error.document().status >= 500) throw error
    const failed: Approval = {
      ...taken,
      state: 'failed',
      answer: { status: error.document().status, body: error.document() },
    }
    await move(taken, failed)
    return ok(viewOfApproval(failed, access))
  }
}

async function reject(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { access } = services
  const read = await waiting(request, services)
  if (read.document.state === 'approving')
    throw new Problem('approval-decided', 'it is being done: approve it to the end')
  const { reason: why } = request.body as { reason: string }
  const next: Approval = {
    ...read.document,
    state: 'rejected',
    decidedBy: request.principal.id,
    decidedAt: access.now(),
    reason: why,
  }
  if (!(await access.approvals.put(next.id, read, next)))
    throw new Problem('stale', `approval ${next.id} was changed meanwhile: look at it again`)
  return ok(viewOfApproval(next, access))
}

function viewOfApproval(approval: Approval, access: RouteServices['access']) {
  const { id, route, params, body, principal, actor: who, held, at, expires, decidedAt, decidedBy, answer } = approval
  const state = approval.state === 'waiting' && expires <= access.now() ? 'expired' : approval.state
  return {
    ...{ id, state, held, route, params, body, by: principal.id, actor: who, at: iso(at), expires: iso(expires) },
    ...{ decidedBy: decidedBy ?? null, decidedAt: decidedAt === undefined ? null : iso(decidedAt) },
    ...{ reason: approval.reason ?? null, answer: answer ?? null },
  }
}

async function listAudit({ query }: RouteRequest, { access }: RouteServices): Promise<RouteAnswer> {
  const { limit, after } = readPaging(query, 1)
  const from = after ? Number(after[0]) : 0
  const items: object[] = []
  /** Requests that a filter lets through: the line of their end belongs to them. */
  const wanted = new Set<unknown>()
  for await (const record of access.records()) {
    const {
      n,
      by,
      actor: who,
      params,
      request,
      about,
    } = record as {
      n?: number
      by?: string
      actor?: string
      params?: { id?: string }
      about?: string
      request?: string
    }
    const fits =
      (query['by'] === undefined || by === query['by'] || who === query['by']) &&
      (query['account'] === undefined || params?.id === query['account'] || about === query['account'])
    if (fits && by !== undefined) wanted.add(request)
    if ((!fits || by === undefined) && !wanted.delete(request)) continue
    if ((n ?? 0) <= from) continue
    items.push(record)
    if (items.length > limit) break
  }
  const page = items.slice(0, limit)
  const last = page.at(-1) as { n?: number } | undefined
  return pageAnswer({ items: page, next: items.length > limit ? [String(last?.n ?? 0)] : undefined })
}
