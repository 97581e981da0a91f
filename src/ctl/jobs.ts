/** `ocsctl jobs` and `jobs run`: what is due of all accounts, and one thing of it done by hand. */
import type { Command } from 'commander'
import type { JobView } from '../admin/job-routes.js'
import type { Ctl, Options } from './command.js'
import { table } from './text.js'

interface JobOptions extends Options {
  readonly kind?: string
  readonly late?: boolean
  readonly stuck?: boolean
  readonly limit: string
  readonly after?: string
}

export function addJobCommands(program: Command, { command, call, put, usage }: Ctl): void {
  const jobs = command(program, 'jobs', 'What is due, the earliest first: renewals, reminders, ends of buckets …')
    .option('--kind <names>', 'of these kinds, like renew,remind; all but session when absent')
    .option('--late', 'only what should have been done a minute ago')
    .option('--stuck', 'only what this daemon could not do')
    .option('--limit <count>', 'at most so many, up to 1000', '100')
    .option('--after <cursor>', 'the next page')
    .action(async (options: JobOptions) => {
      if (options.late && options.stuck) throw usage('--late or --stuck, not both')
      const query = new URLSearchParams({ limit: options.limit })
      if (options.kind !== undefined) query.set('kind', options.kind)
      if (options.late) query.set('state', 'late')
      if (options.stuck) query.set('state', 'stuck')
      if (options.after !== undefined) query.set('after', options.after)
      const answer = await call<{ items: JobView[]; next: string | null }>(
        options,
        'GET',
        `/v1/jobs?${query.toString()}`,
      )
      put(options, answer, () => {
        const more = answer.next === null ? '' : `\n\nmore: --after ${answer.next}`
        return (answer.items.length === 0 ? 'nothing is due' : tableOf(answer.items)) + more
      })
    })
  jobs.enablePositionalOptions()
  command(jobs, 'run <member>', 'Do one thing that is due now, named as the list names it.').action(
    async (member: string, options: Options) => {
      const answer = await call<{ result: string }>(options, 'POST', '/v1/jobs/run', { member })
      put(options, answer, () => answer.result)
    },
  )
}

const tableOf = (jobs: readonly JobView[]): string =>
  table(
    ['due', 'job', 'state'],
    jobs.map(({ due, member, late, stuck }) => [
      due,
      member,
      stuck ? `stuck since ${stuck.since}, ${stuck.tries} tries: ${stuck.why}` : late ? 'late' : '',
    ]),
  )
