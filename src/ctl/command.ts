/** What the commands of ocsctl that live here are handed by it. */
import type { Command } from 'commander'

export interface Options {
  readonly json?: boolean
  readonly config?: string
}

export interface Ctl {
  /** A command with the options that all have. */
  readonly command: (parent: Command, usage: string, description: string) => Command
  /** One call of the admin API. What is undefined in the body is left out. */
  readonly call: <T>(options: Options, method: string, path: string, body?: object) => Promise<T>
  /** JSON lines of the admin API as they come; aborted, they just end. */
  readonly stream: (options: Options, path: string, body: object, signal: AbortSignal) => AsyncIterable<unknown>
  /** The answer as JSON where that was asked for, else as text. */
  readonly put: (options: Options, answer: object, text: () => string) => void
  /** Who is at it, for log and ledger. */
  readonly actor: string
  /** Exit status 2. */
  readonly usage: (message: string) => Error
}
