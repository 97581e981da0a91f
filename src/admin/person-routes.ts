/**
 * One person's data: all of it for him to read, and its erasure. Identities go from the store; what his account paid and used stays in
 * the ledger, which has never known who he is.
 */
import type { Account, Identity, IdentityType } from '../balance/types.js'
import type { Pseudonym } from '../privacy/pseudonyms.js'
import { readIdentity, ruleOf } from './import.js'
import { Problem } from './problem.js'
import { object, ok, text, type Route, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js'
import { viewOfAccount, viewOfSession } from './views.js'
import { identityParams as params, reason } from './fields.js'

export interface PersonServices {
  readonly pseudonym: Pseudonym
  /** Asks the store to write its files anew, so that what was erased is in none of them; may take a while. */
  readonly forgetOld: () => Promise<void>
}

const actor = text('Who asked for it, for the audit log', { pattern: '^[\\w.@:-]{1,64}$' })
const pageOfRows = 1000

export const personRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/subscribers/:type/:value/person',
    permission: 'person.write',
    summary: 'All that is known of one person, for him to read. Recorded in the audit log.',
    params,
    answers: { 200: 'Identities, account, open sessions, every row of the ledger at hand, pseudonyms' },
    problems: ['not-found'],
    work: exportPerson,
  },
  {
    method: 'POST',
    path: '/v1/subscribers/:type/:value/erase',
    permission: 'person.write',
    summary: 'Erase one person: his identities go, and what is his alone ends; the account and its money records stay.',
    params,
    body: object(['reason'], { reason, actor }),
    answers: { 200: 'What was erased' },
    problems: ['not-found'],
    work: erasePerson,
  },
  {
    method: 'GET',
    path: '/v1/subscribers/:type/:value/pseudonym',
    permission: 'person.write',
    summary: 'What stands for an identity in logs and audit records, known or not. Recorded in the audit log.',
    params,
    answers: { 200: 'The pseudonym' },
    problems: [],
    work: showPseudonym,
  },
]

function identityOf({ type, value }: RouteRequest['params']): Identity {
  const identity = readIdentity(type as IdentityType, value!)
  if (!identity) throw new Problem('invalid-request', `${type!} is not ${ruleOf(type as IdentityType)}`)
  return identity
}

function showPseudonym({ params: of }: RouteRequest, { pseudonym }: RouteServices): RouteAnswer {
  return ok({ pseudonym: pseudonym(identityOf(of).value) })
}

async function found(
  request: RouteRequest,
  { accounts }: RouteServices,
): Promise<{ account: Account; subscriber: string }> {
  const person = await accounts.find(identityOf(request.params))
  if (!person) throw new Problem('not-found', 'no subscriber has this identity')
  return person
}

async function exportPerson(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { account, subscriber } = await found(request, services)
  const { history, accounts, clock, pseudonym, automaticRecharges } = services
  const rows: unknown[] = []
  const missing: object[] = []
  let after: Parameters<typeof history.ledger>[1]['after']
  do {
    const page = await history.ledger(account.id, { limit: pageOfRows, order: 'oldest', after })
    rows.push(...(page?.items ?? []))
    missing.push(...(page?.missing ?? []))
    after = page?.next
  } while (after !== undefined)
  const own = account.subscribers.find(({ id }) => id === subscriber)!
  const sessions = await accounts.sessions({ account: account.id, limit: 1000 })
  return ok({
    subscriber,
    identities: own.identities,
    pseudonyms: own.identities.map(({ value }) => pseudonym(value)),
    account: viewOfAccount(account, services, clock.now()),
    sessions: sessions.filter(each => each.subscriber === subscriber).map(viewOfSession),
    automaticRecharge: (await automaticRecharges.get(account.id)) ?? null,
    ledger: rows,
    /** Entries that are not at hand here. */
    missing,
  })
}

async function erasePerson(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { account, subscriber } = await found(request, services)
  const { subscribers, automaticRecharges, forgetOld } = services
  const { reason: why } = request.body as { reason: string }
  const own = account.subscribers.find(({ id }) => id === subscriber)!
  const last = account.subscribers.length === 1
  // The mandate is the person's; with nobody left there is none.
  if (last) await automaticRecharges.stop(account.id)
  const outcome = await subscribers.remove({
    account: account.id,
    number: subscriber,
    reason: why,
    actor: request.actor,
  })
  if (outcome.status !== 'changed' && outcome.status !== 'unchanged')
    throw new Problem('not-found', `subscriber ${subscriber} of account ${account.id} is gone already`)
  await forgetOld()
  return ok({
    account: account.id,
    subscriber,
    erased: own.identities.map(({ type }) => type),
    /** Nobody is left in it; its money stays until the account is terminated. */
    lastOfAccount: last,
  })
}
