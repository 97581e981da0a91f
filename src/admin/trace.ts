/**
 * Live traces over the admin API: `POST /v1/trace` answers with JSON lines as messages pass, until the trace has ended or the
 * reader goes. A reader who is too slow loses messages, and is told how many.
 */
import type { Identity } from '../balance/types.js'
import type { ShownMessage, TraceOutcome, TraceRequest } from '../trace/service.js'
import type { TracedMessage, TraceReader } from '../trace/tracing.js'
import { BoundedLines } from './bounded-lines.js'
import { Problem } from './problem.js'
import { object, text, type Route, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js'

/** A line of the answer. */
export type TraceLine =
  | {
      readonly kind: 'started'
      readonly id: string
      readonly seconds: number
      readonly count: number
      /** Of one subscriber: whether an account has him; if not, what names him is shown all the same. */
      readonly known?: boolean
    }
  | ({ readonly kind: 'message' } & ShownMessage)
  | { readonly kind: 'lost'; readonly messages: number; readonly why: 'slow reader' | 'too many a second' }
  /** Nothing happened: the connection is alive. */
  | { readonly kind: 'quiet' }
  | { readonly kind: 'ended'; readonly why: string; readonly messages: number; readonly lost: number }

export interface TraceServices {
  readonly startTrace: (request: TraceRequest, reader: TraceReader) => TraceOutcome
  readonly showMessage: (message: TracedMessage) => ShownMessage
}

const traceDefaults = { count: 1000, seconds: 60 } as const
const traceBounds = { count: 100_000, seconds: 3600 } as const
/** What may wait for a slow reader. */
const waitingOctets = 1024 * 1024
/** Below the API's idle time-out. */
const quietMs = 10_000
const sessionsAtMost = 200

const body = object(['reason'], {
  subscriber: text('Whose messages: an MSISDN or IMSI, imsi:…, nai:… or user@realm', { minLength: 3, maxLength: 128 }),
  peer: text('Whose messages: Origin-Host of a peer, or of a gateway behind a relay', { minLength: 1, maxLength: 255 }),
  session: text('Session-Id', { minLength: 1, maxLength: 512 }),
  reason: text('Why, 3 to 200 characters in one line; it is recorded', { pattern: '^[^\\u0000-\\u001f]{3,200}$' }),
  actor: text('Who wants to know; it is recorded', { pattern: '^[\\w.@:-]{1,64}$' }),
  count: { type: 'integer', minimum: 1, maximum: traceBounds.count, default: traceDefaults.count },
  seconds: { type: 'integer', minimum: 1, maximum: traceBounds.seconds, default: traceDefaults.seconds },
})

export const traceRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/trace',
    permission: 'trace',
    summary:
      'Show requests and answers of one subscriber, peer or session as they pass through any daemon on the store. Recorded.',
    body,
    answers: { 200: 'A line of JSON for each message, each loss, and the end' },
    answerType: 'application/x-ndjson',
    problems: ['too-many-traces', 'not-recorded'],
    work: startTrace,
  },
]

interface TraceBody {
  readonly subscriber?: string
  readonly peer?: string
  readonly session?: string
  readonly reason: string
  readonly actor?: string
  readonly count?: number
  readonly seconds?: number
}

async function startTrace({ body, actor }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { subscriber, peer, session, reason, ...rest } = body as TraceBody
  const { count = traceDefaults.count, seconds = traceDefaults.seconds } = rest
  if (subscriber === undefined && peer === undefined && session === undefined)
    throw new Problem('invalid-request', 'name a subscriber, a peer or a session')
  const whom = subscriber === undefined ? undefined : await subscriberOf(subscriber, services)
  const { clock, startTrace, showMessage } = services
  let lost = 0
  const lines = new BoundedLines(waitingOctets, () => {
    clock.clearTimeout(timer)
    if (outcome.status === 'started') outcome.trace.stop('stopped')
  })
  const send = (line: TraceLine): boolean => {
    if (lost > 0 && lines.offer({ kind: 'lost', messages: lost, why: 'slow reader' } satisfies TraceLine)) lost = 0
    return lost === 0 && lines.offer(line)
  }
  const outcome = startTrace(
    {
      ...{ actor, reason, subscriber, peer, session, count, seconds },
      ...(whom ?? { identities: [], sessions: [] }),
    },
    {
      message: message => {
        const taken = send({ kind: 'message', ...showMessage(message) })
        if (!taken) lost++
        return taken
      },
      lost: messages => {
        if (!send({ kind: 'lost', messages, why: 'too many a second' })) lost += messages
      },
      ended: (why, totals) => {
        clock.clearTimeout(timer)
        const end: TraceLine = { kind: 'ended', why, ...totals }
        const missing: TraceLine = { kind: 'lost', messages: lost, why: 'slow reader' }
        lines.finish(...(lost > 0 ? [missing] : []), end)
      },
    },
  )
  if (outcome.status === 'too_many')
    throw new Problem('too-many-traces', 'as many traces run as may; wait until one has ended, or end one')
  if (outcome.status === 'not_recorded')
    throw new Problem('not-recorded', `nothing is traced without a record, and it cannot be written: ${outcome.why}`)
  const quiet = (): void => {
    send({ kind: 'quiet' })
    timer = clock.setTimeout(quiet, quietMs)
  }
  let timer = clock.setTimeout(quiet, quietMs)
  send({ kind: 'started', id: outcome.trace.id, seconds, count, ...(whom && { known: whom.known }) })
  return { status: 200, body: lines }
}

interface Whom {
  readonly known: boolean
  readonly identities: readonly string[]
  readonly sessions: readonly string[]
}

/** The subscriber's other identities and open sessions; what the store does not know, or does not say now, is traced as it is written. */
async function subscriberOf(written: string, { accounts, isUnavailable }: RouteServices): Promise<Whom> {
  const [, prefix, plain = written] = /^(msisdn|imsi|nai):(.+)$/.exec(written) ?? []
  const value = plain.replace(/^\+/, '')
  const digits = /^\d+$/.test(value)
  const types: readonly Identity['type'][] = prefix
    ? [prefix as Identity['type']]
    : digits
      ? ['msisdn', 'imsi']
      : ['nai']
  const unknown = { known: false, identities: [plain], sessions: [] }
  try {
    for (const type of types) {
      const found = await accounts.find({ type, value: type === 'nai' ? plain : value })
      if (!found) continue
      const { account, subscriber } = found
      const sessions = await accounts.sessions({ account: account.id, limit: sessionsAtMost })
      const identities = account.subscribers.find(({ id }) => id === subscriber)?.identities ?? []
      return {
        known: true,
        identities: [plain, ...identities.map(identity => identity.value)],
        sessions: sessions.filter(each => each.open && each.subscriber === subscriber).map(({ id }) => id),
      }
    }
    return unknown
  } catch (error) {
    if (isUnavailable(error)) return unknown
    throw error
  }
}
