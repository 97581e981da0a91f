/** Business time over the admin API: what it is, and, where the clock is a virtual one, putting it forward. */
import { parseDuration, durationHint } from '../config/quantity.js'
import type { Millis } from '../units.js'
import { Problem } from './problem.js'
import { object, ok, text, type Route, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js'
import { iso } from './views.js'

export type ClockMove =
  | { readonly status: 'moved'; readonly from: Millis; readonly to: Millis }
  | { readonly status: 'backwards'; readonly now: Millis }

/** The daemon joins it with balance/virtual-time.ts. */
export interface ClockServices {
  readonly businessClock: {
    /** How far it is ahead of real time, ms; undefined: it is the machine's. */
    ahead(): number | undefined
    /** Of a virtual clock. */
    move(target: (now: Millis) => Millis): Promise<ClockMove>
    /** Waits until all that came due is done, `patienceMs` at most. Gives how much is still due. */
    settle(patienceMs: number): Promise<number>
  }
}

/** Nobody tests longer lives, and dates keep four digits. */
const mostAdvanceMs = 100 * 366 * 24 * 3_600_000
const defaultWaitSeconds = 30

export const clockRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/clock',
    permission: 'status.read',
    summary: 'Business time: `now`, whether it is the machine’s (`system`) or `virtual`, and how far that is ahead.',
    answers: { 200: 'kind, now, aheadSeconds' },
    problems: [],
    work: (_, services) => ok(viewOf(services)),
  },
  {
    method: 'POST',
    path: '/v1/clock',
    permission: 'clock.write',
    summary:
      'Put business time forward, by `advance` or to `to`, for all daemons of the store. It never goes back. What came due is worked off, which the answer waits for.',
    body: object([], {
      advance: text('A duration like 90s, 12h, 31d', { pattern: '^\\d{1,9}(ms|s|m|h|d|w)$' }),
      to: text('2026-12-24, 2026-12-24T18:00 in the time zone of the catalog, or with a zone like Z', {
        maxLength: 40,
      }),
      waitSeconds: {
        type: 'integer',
        description: 'How long the answer waits at most for what came due; 0: not at all',
        minimum: 0,
        maximum: 600,
        default: defaultWaitSeconds,
      },
      actor: text('Who does it, for the log', { pattern: '^[\\w.@:-]{1,64}$' }),
    }),
    answers: { 200: 'The clock; `due`: how much that came due was not done yet' },
    problems: ['clock-is-real', 'clock-backwards'],
    work: move,
  },
]

interface Body {
  readonly advance?: string
  readonly to?: string
  readonly waitSeconds?: number
}

async function move({ body }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { businessClock, localTime } = services
  const { advance, to, waitSeconds = defaultWaitSeconds } = (body ?? {}) as Body
  if ((advance === undefined) === (to === undefined))
    throw new Problem('invalid-request', 'body: give one of advance and to')
  if (businessClock.ahead() === undefined)
    throw new Problem(
      'clock-is-real',
      'this daemon goes by the machine’s clock; key clock: virtual in the configuration of a test system changes that',
    )
  const by = advance === undefined ? undefined : parseDuration(advance)
  const at = to === undefined ? undefined : localTime(to)
  if (advance !== undefined && by === undefined) throw new Problem('invalid-request', `advance: ${durationHint}`)
  if (to !== undefined && at === undefined)
    throw new Problem('invalid-request', `to: \`${to}\` is not a time; write 2026-12-24 or 2026-12-24T18:00`)
  if ((by ?? at! - services.clock.now()) > mostAdvanceMs)
    throw new Problem('invalid-request', 'the clock goes forward by 100 years at most')
  const outcome = await businessClock.move(now => (by === undefined ? at! : now + by))
  if (outcome.status === 'backwards')
    throw new Problem('clock-backwards', `it is ${iso(outcome.now)} already: business time never goes back`)
  const due = waitSeconds > 0 ? await businessClock.settle(waitSeconds * 1000) : undefined
  return ok({ ...viewOf(services), from: iso(outcome.from), ...(due !== undefined && { due }) })
}

function viewOf({ businessClock, clock }: RouteServices): object {
  const ahead = businessClock.ahead()
  return {
    kind: ahead === undefined ? 'system' : 'virtual',
    now: iso(clock.now()),
    aheadSeconds: Math.round((ahead ?? 0) / 1000),
  }
}
