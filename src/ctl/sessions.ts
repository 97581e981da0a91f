/** `ocsctl sessions reauthorise` and `sessions abort`: what gateways are asked for open sessions. */
import type { Command } from 'commander'
import type { SessionView } from '../admin/views.js'
import type { Ctl, Options } from './command.js'

interface AskOptions extends Options {
  readonly account?: string
  readonly all?: boolean
  readonly perSecond?: string
  readonly yes?: boolean
}

type Answer =
  | { readonly sessionId: string; readonly result: string }
  | { readonly account: string; readonly sessions: number }
  | { readonly accounts: number; readonly seconds: number }

/** @param sessions the command `sessions`, with options of its own */
export function addSessionCommands(sessions: Command, ctl: Ctl): void {
  const { command, usage } = ctl
  sessions.enablePositionalOptions()
  command(sessions, 'reauthorise [session-id]', 'Ask gateways to report at once (RAR).')
    .option('--account <id>', 'all sessions of an account')
    .option('--all', 'all sessions, spread out in time')
    .option('--per-second <accounts>', 'how fast, with --all; 100 when absent')
    .action(async (id: string | undefined, options: AskOptions) => {
      const perSecond = options.perSecond === undefined ? undefined : Number(options.perSecond)
      if (perSecond !== undefined && (!options.all || !Number.isInteger(perSecond) || perSecond < 1))
        throw usage('--per-second is a whole number above 0 and goes with --all')
      await ask(ctl, 'reauthorise', id, options, perSecond)
    })
  command(sessions, 'abort [session-id]', 'Ask gateways to end sessions (ASR). They report once more.')
    .option('--account <id>', 'all sessions of an account')
    .option('--yes', 'do it')
    .action(async (id: string | undefined, options: AskOptions) => {
      if (!options.yes && (id !== undefined || options.account !== undefined)) {
        const whose = id === undefined ? `all sessions of account ${options.account}` : `session ${id}`
        throw usage(`the gateway will be asked to end ${whose}: the subscriber is cut off. Say --yes to do it`)
      }
      await ask(ctl, 'abort', id, options, undefined)
    })
}

async function ask(
  { call, put, usage, actor }: Ctl,
  command: string,
  sessionId: string | undefined,
  options: AskOptions,
  perSecond: number | undefined,
): Promise<void> {
  const { account, all } = options
  if ([sessionId, account, all].filter(each => each !== undefined).length !== 1)
    throw usage(`name one session${command === 'abort' ? ' or --account' : ', --account or --all'}`)
  const body = { sessionId, account, all, perSecond, actor }
  const answer = await call<Answer>(options, 'POST', `/v1/sessions/${command}`, body)
  put(options, answer, () => textOf(answer))
}

function textOf(answer: Answer): string {
  if ('sessionId' in answer) return wordsOf(answer.result)
  const look = 'what comes of it: ocsctl sessions'
  if ('account' in answer) return `${answer.sessions} sessions are asked; ${look} --account ${answer.account}`
  return `the sessions of ${answer.accounts} accounts are asked, which takes ${answer.seconds} s; ${look}`
}

function wordsOf(result: string): string {
  switch (result) {
    case '2001':
    case '2002':
      return `the gateway agrees: ${result}`
    case '5002':
      return 'the gateway does not know the session (5002): it is released'
    case 'sent':
      return 'the gateway has not answered yet; see ocsctl sessions'
    case 'timeout':
      return 'the gateway does not answer; the session stays as it is'
    case 'ccr':
      return 'the gateway does not answer, but the session has reported'
    case 'undeliverable':
      return 'no connection leads to the gateway; the session stays as it is'
    default:
      return `the gateway refuses: ${result}; the session stays as it is`
  }
}

/** `open`, `ended`; and what its gateway was asked last: `open, reauth 2001 3s ago`. */
export function stateText({ open, asked }: Pick<SessionView, 'open' | 'asked'>, now: number): string {
  const state = open ? 'open' : 'ended'
  if (asked === null) return state
  const seconds = Math.max(0, Math.round((now - Date.parse(asked.at)) / 1000))
  const ago =
    seconds < 120 ? `${seconds}s` : seconds < 7200 ? `${Math.round(seconds / 60)}m` : `${Math.round(seconds / 3600)}h`
  return `${state}, ${asked.command === 'RAR' ? 'reauth' : 'abort'} ${asked.result} ${ago} ago`
}
