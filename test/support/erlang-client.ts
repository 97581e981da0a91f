/** Erlang/OTP's diameter application as a Gy client that a test leads: erlang/gy_client.escript, and what it says. */
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Authority } from './certificates.js'
import { until } from './ocsd-process.js'

/** AVPs of a request by name; those that may come several times or not at all are arrays. */
export interface ErlangAvps {
  readonly [name: string]: ErlangValue
}

export type ErlangValue = number | bigint | string | Buffer | ErlangAvps | readonly ErlangValue[]

/** What it got or what happened, as it says it. Arrays as in `ErlangAvps`; octets that are no plain text: `{ hex }`. */
export interface ErlangLine {
  readonly event?: string
  readonly command?: string
  /** What its stack has against the message. */
  readonly errors?: readonly unknown[]
  readonly [avp: string]: unknown
}

export interface ErlangParts {
  readonly port: number
  readonly originHost?: string
  readonly tls?: { readonly serverName: string; readonly authority: Authority }
}

const file = (name: string): string => fileURLToPath(new URL(`./erlang/${name}`, import.meta.url))

export class ErlangClient {
  /** RAR and ASR that came. */
  readonly asked: ErlangLine[] = []
  /** Its exit status. */
  readonly ended: Promise<number | null>
  private readonly lines: ErlangLine[] = []
  private over = false

  private constructor(
    private readonly child: ChildProcess,
    readonly originHost: string,
  ) {
    this.ended = new Promise(resolve => child.once('exit', resolve))
    const reader = createInterface(child.stdout!)
    reader.on('line', text => {
      const line = JSON.parse(text) as ErlangLine
      ;(line.event === 'asked' ? this.asked : this.lines).push(line)
    })
    reader.on('close', () => (this.over = true))
  }

  /** Started; it says `up` first. Ends with `t`. */
  static start(t: Test, escript: string, parts: ErlangParts): ErlangClient {
    const { port, originHost = 'erlang.example.net', tls } = parts
    const issued = tls?.authority.issue(originHost)
    const secure = tls && issued ? [tls.serverName, tls.authority.certificate, issued.certificate, issued.key] : []
    const args = [file('gy_client.escript'), file('gy.dia'), String(port), originHost, ...secure]
    const child = spawn(escript, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin.on('error', () => undefined) // it has ended: told by what it says
    t.teardown(() => child.kill('SIGKILL'))
    return new ErlangClient(child, originHost)
  }

  /** The next of what it says, but for what it was asked. @throws Error when it has ended */
  async next(): Promise<ErlangLine> {
    await until('the Erlang client says something', () => {
      if (this.over && this.lines.length === 0) throw new Error('the Erlang client has ended')
      return this.lines.length > 0
    })
    return this.lines.shift()!
  }

  /** Sends a CCR and gives what it reads in the answer. */
  call(ccr: ErlangAvps): Promise<ErlangLine> {
    return this.tell(`{call, ${term(ccr)}}`)
  }

  /** From now on RAR and ASR are answered with this Result-Code; before it is 2002. */
  react(resultCode: number): void {
    this.child.stdin!.write(`{react, ${resultCode}}.\n`)
  }

  /** `watched`, or `stop`. */
  tell(command: string): Promise<ErlangLine> {
    this.child.stdin!.write(`${command}.\n`)
    return this.next()
  }
}

/** As an Erlang term. */
function term(value: ErlangValue): string {
  if (typeof value === 'number' || typeof value === 'bigint') return String(value)
  if (typeof value === 'string') return `<<${JSON.stringify(value)}>>`
  if (Buffer.isBuffer(value)) return `<<${[...value].join()}>>`
  if (isList(value)) return `[${value.map(term).join()}]`
  return `#{${Object.entries(value)
    .map(([name, each]) => `'${name}' => ${term(each)}`)
    .join()}}`
}

const isList = (value: ErlangAvps | readonly ErlangValue[]): value is readonly ErlangValue[] => Array.isArray(value)

/** Octets as it says them. */
export const octetsOf = (said: unknown): Buffer =>
  typeof said === 'string' ? Buffer.from(said, 'latin1') : Buffer.from((said as { hex: string }).hex, 'hex')
