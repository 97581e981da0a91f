/** What the commands of ocsctl that live here are handed by it. */
import type { Command } from 'commander'

export interface Options {
  readonly json?: boolean
  readonly config?: string
  /** Of `keyed` commands. */
  readonly key?: string
  /** Of commands that ask `confirm`. */
  readonly yes?: boolean
}

/** What else a call may say. */
export interface CallOptions {
  /** Content-Type; application/json when absent. */
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface Ctl {
  /** A command with the options that all have. */
  readonly command: (parent: Command, usage: string, description: string) => Command
  /** Gives a command that moves money its option --key: the Idempotency-Key of its one POST. */
  readonly keyed: (command: Command) => Command
  /** Gives a command that cannot be undone its option --yes. */
  readonly final: (command: Command) => Command
  /**
   * Asks on a terminal whether to go on; elsewhere --yes is needed.
   *
   * @throws when it is not to be done: exit status 1, or 2 without a terminal
   */
  readonly confirm: (options: Options, question: string) => Promise<void>
  /** One call of the admin API. What is undefined in the body is left out. A POST has an Idempotency-Key: --key, or a new one. */
  readonly call: <T>(options: Options, method: string, path: string, body?: object, more?: CallOptions) => Promise<T>
  /** The text of an answer as it comes, CSV for example: of a GET, or of a POST when there is a body. */
  readonly download: (options: Options, path: string, body?: object) => AsyncIterable<string>
  /** JSON lines of the admin API as they come; aborted, they just end. */
  readonly stream: (options: Options, path: string, body: object, signal: AbortSignal) => AsyncIterable<unknown>
  /** The answer as JSON where that was asked for, else as text. */
  readonly put: (options: Options, answer: object, text: () => string) => void
  /** Who is at it, for log and ledger. */
  readonly actor: string
  /** Exit status 2. */
  readonly usage: (message: string) => Error
}
