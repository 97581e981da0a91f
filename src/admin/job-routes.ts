/** What is due over the admin API: what comes next, what is late, what is stuck; and one thing done by hand. */
import type { Due } from '../balance/due.js'
import type { StuckJob } from '../charging/expiry.js'
import type { Millis } from '../units.js'
import { pageAnswer, pagingQuery, readPaging } from './paging.js'
import { Problem } from './problem.js'
import { object, ok, text, type Route, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js'
import { iso } from './views.js'

type Job = Due & { readonly partition: number }

/** The daemon joins it with balance/due.ts and charging/expiry.ts. */
export interface JobServices {
  readonly jobs: {
    page(
      after: Job | undefined,
      limit: number,
      wanted: (member: string) => boolean,
    ): Promise<{ readonly items: readonly Job[]; readonly next: Job | undefined }>
    /** Of this daemon. */
    stuck(): readonly StuckJob[]
    /** When it is due; undefined: there is no such thing. */
    due(member: string): Promise<Millis | undefined>
    run(member: string): Promise<'done' | 'stuck' | 'skew'>
  }
}

export interface JobView {
  readonly member: string
  /** First word of the member: renew, remind, bucket, session, life … */
  readonly kind: string
  readonly account: string
  readonly due: string
  /** Its time was more than a minute ago. */
  readonly late: boolean
  /** What this daemon met when it tried; null: nothing. */
  readonly stuck: { readonly since: string; readonly tries: number; readonly why: string } | null
}

const lateMs = 60_000
const kindPattern = '^[a-z-]{1,32}(,[a-z-]{1,32}){0,9}$'

export const jobRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/jobs',
    permission: 'job.read',
    summary:
      'What is due of all accounts, the earliest first: renewals, reminders, ends of buckets; open sessions when asked for.',
    query: object([], {
      ...pagingQuery,
      kind: text('Of these kinds only: renew,remind,bucket,session,life …; all but session when absent', {
        pattern: kindPattern,
      }),
      state: { type: 'string', enum: ['all', 'late', 'stuck'], default: 'all' },
    }),
    answers: {
      200: 'items: jobs; next. Stuck ones are those of the daemon that answers, at most 1000 and on one page',
    },
    problems: [],
    work: listJobs,
  },
  {
    method: 'POST',
    path: '/v1/jobs/run',
    permission: 'job.write',
    summary:
      'Do one thing that is due now. Safe to repeat: what is done already, or whose time has not come, is left alone.',
    body: object(['member'], { member: text('As the list shows it', { minLength: 3, maxLength: 700 }) }),
    answers: { 200: 'result: done, stuck (why: see the list) or skew (clocks differ)' },
    problems: ['not-found', 'not-due'],
    work: runJob,
  },
]

async function listJobs({ query }: RouteRequest, { jobs, clock }: RouteServices): Promise<RouteAnswer> {
  const { limit, after } = readPaging(query, 3)
  const kinds = query['kind']?.split(',')
  const state = query['state'] ?? 'all'
  const now = clock.now()
  const stuck = new Map(jobs.stuck().map(job => [job.member, job]))
  const wanted = (member: string): boolean => {
    const kind = kindOf(member)
    return kinds ? kinds.includes(kind) : kind !== 'session'
  }
  if (state === 'stuck') {
    const items = [...stuck.values()].filter(({ member }) => wanted(member))
    const views = items.map(job => viewOf({ ...job, at: job.since }, job, now))
    return pageAnswer({ items: views, next: undefined })
  }
  const from = after && { at: Number(after[0]), partition: Number(after[1]), member: after[2]! }
  const { items, next } = await jobs.page(from, limit, wanted)
  const late = state === 'late' ? items.filter(({ at }) => at < now - lateMs) : items
  const more = late.length < items.length ? undefined : next
  return pageAnswer({
    items: late.map(job => viewOf(job, stuck.get(job.member), now)),
    next: more && [String(more.at), String(more.partition), more.member],
  })
}

async function runJob({ body }: RouteRequest, { jobs, clock }: RouteServices): Promise<RouteAnswer> {
  const { member } = body as { readonly member: string }
  const due = await jobs.due(member)
  if (due === undefined) throw new Problem('not-found', 'nothing of this name is due: it may be done')
  if (due > clock.now()) throw new Problem('not-due', `it is due at ${iso(due)}`, { due: iso(due) })
  return ok({ member, result: await jobs.run(member) })
}

const kindOf = (member: string): string => member.split(' ', 1)[0]!

const viewOf = ({ member, at }: Due, stuck: StuckJob | undefined, now: Millis): JobView => ({
  ...{ member, kind: kindOf(member), account: member.split(' ')[1] ?? '', due: iso(at), late: at < now - lateMs },
  stuck: stuck ? { since: iso(stuck.since), tries: stuck.tries, why: stuck.why } : null,
})
