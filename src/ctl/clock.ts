/** `ocsctl clock`: business time, and putting it forward on a test system. */
import type { Command } from 'commander'
import type { Ctl, Options } from './command.js'

interface MoveOptions extends Options {
  readonly wait?: string
}

interface Answer {
  readonly kind: 'system' | 'virtual'
  readonly now: string
  readonly aheadSeconds: number
  readonly due?: number
}

export function addClockCommands(program: Command, { command, call, put, actor, usage }: Ctl): void {
  const clock = command(program, 'clock', 'Show business time.')
  clock.enablePositionalOptions()
  clock.action(async (options: Options) => {
    const answer = await call<Answer>(options, 'GET', '/v1/clock')
    put(options, answer, () => textOf(answer))
  })
  const move = async (options: MoveOptions, where: object): Promise<void> => {
    const waitSeconds = options.wait === undefined ? undefined : Number(options.wait)
    if (waitSeconds !== undefined && !(Number.isInteger(waitSeconds) && waitSeconds >= 0 && waitSeconds <= 600))
      throw usage('--wait is a number of seconds from 0 to 600')
    const answer = await call<Answer>(options, 'POST', '/v1/clock', { ...where, waitSeconds, actor })
    put(options, answer, () => textOf(answer))
  }
  const wait = ['--wait <seconds>', 'how long to wait until all that came due is done; 30 when absent'] as const
  command(clock, 'advance <duration>', 'Put it forward by so much, like 12h or 31d, on a system with clock: virtual.')
    .option(...wait)
    .action((advance: string, options: MoveOptions) => move(options, { advance }))
  command(clock, 'to <time>', 'Put it forward to a time like 2026-12-24T18:00.')
    .option(...wait)
    .action((to: string, options: MoveOptions) => move(options, { to }))
}

function textOf({ kind, now, aheadSeconds, due }: Answer): string {
  const where = kind === 'system' ? 'the machine’s clock' : `virtual, ${inDays(aheadSeconds)} ahead`
  const left = due === undefined || due === 0 ? '' : `\n${due} things that came due are not done yet`
  return `${now} (${where})${left}`
}

const inDays = (seconds: number): string =>
  seconds < 86_400 ? `${seconds} s` : `${(seconds / 86_400).toFixed(1).replace(/\.0$/, '')} days`
