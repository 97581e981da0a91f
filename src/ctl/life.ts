/** `ocsctl life` and `ocsctl terminate`: the life cycle of an account. */
import type { Command } from 'commander'
import type { LifeView } from '../admin/life-view.js'
import type { Ctl, Options } from './command.js'
import { pairs } from './text.js'

interface Answer {
  readonly account: string
  readonly status: string
  readonly life: LifeView | null
}

interface SetOptions extends Options {
  readonly reason: string
}

interface TerminateOptions extends Options {
  readonly reason: string
  readonly forfeit?: boolean
  readonly keep?: boolean
}

export function addLifeCommands(
  program: Command,
  { command, keyed, final, confirm, call, put, actor, usage }: Ctl,
): void {
  const life = command(program, 'life <account>', 'Where an account is in its life cycle.')
  life.enablePositionalOptions()
  life.action(async (account: string, options: Options) => {
    show(options, await call<Answer>(options, 'GET', lifePath(account)))
  })
  command(program, 'valid-until <account> <time>', 'Set when validity ends: 2026-12-24, 2026-12-24T18:00 or never.')
    .requiredOption('--reason <text>', 'why, for the ledger')
    .action(async (account: string, time: string, options: SetOptions) => {
      const body = { until: time === 'never' ? null : time, reason: options.reason, actor }
      show(options, await call<Answer>(options, 'PATCH', lifePath(account), body))
    })
  final(keyed(command(program, 'terminate <account>', 'Terminate an account for good.')))
    .requiredOption('--reason <text>', 'why, for the ledger')
    .option('--forfeit', 'its money and buckets expire; as its life cycle says when absent')
    .option('--keep', 'its money and buckets stay')
    .action(async (account: string, options: TerminateOptions) => {
      if (options.forfeit && options.keep) throw usage('say --forfeit or --keep')
      const forfeit = options.forfeit ? true : options.keep ? false : undefined
      const money = forfeit === true ? ', and its money and buckets expire' : ''
      await confirm(options, `account ${account} will be terminated for good${money}`)
      const path = `/v1/accounts/${encodeURIComponent(account)}/terminate`
      show(options, await call<Answer>(options, 'POST', path, { forfeit, reason: options.reason, actor }))
    })

  function show(options: Options, answer: Answer): void {
    put(options, answer, () =>
      pairs({ account: answer.account, status: answer.status, ...(answer.life && lifePairs(answer.life)) }),
    )
  }
}

const lifePath = (account: string): string => `/v1/accounts/${encodeURIComponent(account)}/life`

/** Lines for whoever looks at an account. */
export const lifePairs = ({ rule, phase, since, until, suspendedByHand }: LifeView): Record<string, string> => ({
  'life cycle': rule ?? 'none',
  [phase === 'active' ? 'valid' : phase]: `since ${since}${until === null ? '' : `, until ${until}`}`,
  ...(suspendedByHand && { suspended: 'by hand' }),
})
