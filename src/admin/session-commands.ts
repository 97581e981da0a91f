/**
 * What an operator asks of the gateways of open sessions, over the admin API: to report at once (RAR), or to end (ASR). Who asked for
 * it and what came of it is in the log, and in each session.
 */
import { Problem } from './problem.js'
import { accountId, existing, object, ok, type Route, type RouteAnswer } from './route.js'
import type { RouteRequest, RouteServices } from './route.js'
import { actorForLog as actor, sessionId } from './fields.js'

/** What we ask: `RAR`, `ASR`. */
export type CommandWord = 'reauthorise' | 'abort'

/** Sessions in the hands of an operator; the daemon joins it with charging/. */
export interface SessionCommands {
  /**
   * Asks for one session at once.
   *
   * @returns why nothing was asked, or what came of it: a Result-Code, `timeout`, `undeliverable`, `ccr`; `sent`: not known yet
   */
  one(
    command: CommandWord,
    sessionId: string,
  ): Promise<{ readonly status: 'unknown' | 'ended' } | { readonly status: 'asked'; readonly result: string }>
  /** All sessions of an account, at once. */
  account(command: CommandWord, account: string): Promise<void>
  /** All sessions, so many accounts a second. Gives how many accounts. */
  all(command: CommandWord, perSecond: number): Promise<number>
  /** Tells the log who asked for what. */
  audit(fields: Readonly<Record<string, string | number>>): void
}

/** Accounts a second when nobody says: a thousand sessions are asked in ten seconds. */
export const defaultPace = 100

const pace = { type: 'integer', description: 'Accounts a second', minimum: 1, maximum: 10_000, default: defaultPace }

const route = (command: CommandWord, summary: string, all: boolean): Route => ({
  method: 'POST',
  path: `/v1/sessions/${command}`,
  permission: 'session.write',
  summary,
  body: object([], {
    sessionId,
    account: accountId,
    ...(all && { all: { type: 'boolean', const: true }, perSecond: pace }),
    actor,
  }),
  answers: { 200: 'What came of one session, or how many are asked', 202: 'Its gateway has not answered yet' },
  problems: ['not-found', 'session-ended'],
  work: (request, services) => ask(command, request, services),
})

export const sessionCommandRoutes: readonly Route[] = [
  route(
    'reauthorise',
    'Ask gateways to report at once (RAR): of one session, of an account, or of all, spread out in time.',
    true,
  ),
  route('abort', 'Ask gateways to end sessions (ASR): one, or all of an account. They report once more.', false),
]

interface Body {
  readonly sessionId?: string
  readonly account?: string
  readonly all?: true
  readonly perSecond?: number
  readonly actor?: string
}

async function ask(
  command: CommandWord,
  { body, actor: who }: RouteRequest,
  services: RouteServices,
): Promise<RouteAnswer> {
  const { sessionCommands, accounts } = services
  const { sessionId: id, account, all, perSecond = defaultPace } = (body ?? {}) as Body
  if ([id, account, all].filter(each => each !== undefined).length !== 1) {
    throw new Problem('invalid-request', `body: give one of sessionId, account${command === 'abort' ? '' : ' and all'}`)
  }
  if (id !== undefined) {
    sessionCommands.audit({ command, 'Session-Id': id, actor: who })
    const outcome = await sessionCommands.one(command, id)
    if (outcome.status === 'asked')
      return { status: outcome.result === 'sent' ? 202 : 200, body: { sessionId: id, command, result: outcome.result } }
    if (outcome.status === 'unknown') throw new Problem('not-found', 'there is no session with this Session-Id')
    throw new Problem('session-ended', 'the session has ended already')
  }
  if (account !== undefined) {
    const { openSessions } = await existing(accounts, account)
    sessionCommands.audit({ command, account, sessions: openSessions, actor: who })
    if (openSessions > 0) await sessionCommands.account(command, account)
    return ok({ account, command, sessions: openSessions })
  }
  const asked = await sessionCommands.all(command, perSecond)
  sessionCommands.audit({ command, accounts: asked, perSecond, actor: who })
  return ok({ command, accounts: asked, seconds: Math.ceil(asked / perSecond) })
}
