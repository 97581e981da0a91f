/**
 * What a script's play looks like to people: each message with its direction and what it is, then one aligned line an AVP;
 * what the script does in between; and each expectation, with what came instead where it fails.
 */
import { FLAG } from '../diameter/header.js'
import { MessagePrinter, printable } from '../diameter/print.js'
import type { Dictionary } from '../diameter/dictionary.js'
import type { AvpTree, MessageTree } from '../diameter/tree.js'
import type { Millis } from '../units.js'
import { codeText } from './expectation.js'
import type { PlayEvent, PlayResult } from './play.js'

export interface TraceOptions {
  readonly dictionary: Dictionary
  /** Colours and the bold face. */
  readonly colours: boolean
  /** All AVPs, with those that are the same in every message, and the header. */
  readonly all: boolean
  /** No AVPs: a line a message. */
  readonly brief: boolean
  readonly currency?: (code: number) => string | undefined
}

/** Said in the heading, or the same in every message of a play. */
const usual: ReadonlySet<string> = new Set([
  ...['Session-Id', 'Origin-Host', 'Origin-Realm', 'Destination-Realm', 'Auth-Application-Id'],
  ...['CC-Request-Type', 'CC-Request-Number', 'Result-Code', 'Event-Timestamp'],
])
/** In these they are what it is about. */
const capabilitiesExchange = 257
const requestLetters: Readonly<Record<number, string>> = { 1: 'I', 2: 'U', 3: 'T', 4: 'E' }
const timeColumns = 9
const whoColumns = 20
const whatColumns = 12

export class Trace {
  private readonly printer: MessagePrinter
  private begun: Millis | undefined

  constructor(private readonly options: TraceOptions) {
    this.printer = new MessagePrinter(options.dictionary, options.currency)
  }

  /** What is known of the play before it begins. */
  title(name: string, about: string, servers: string): string[] {
    const lines = [this.bold(name)]
    if (about !== '') lines.push(...about.trimEnd().split('\n'))
    return [...lines, this.dim(servers)]
  }

  event(event: PlayEvent): string[] {
    switch (event.kind) {
      case 'message':
        return this.message(event)
      case 'step':
        return ['', `${' '.repeat(timeColumns)}${this.magenta(`* ${printable(event.text)}`)}`]
      case 'check': {
        const { ok, text, found } = event.verdict
        const margin = ' '.repeat(timeColumns)
        if (ok) return [`${margin}${this.green('✓')} ${printable(text)}`]
        const { file, line, column } = event.place
        const instead = found === undefined ? '' : `, but ${printable(found)}`
        return [`${margin}${this.red(`✗ ${printable(text)}${instead}`)}  ${this.dim(`${file}:${line}:${column}`)}`]
      }
    }
  }

  end({ passed, failed, messages, leftOut }: PlayResult): string[] {
    const counts = `${passed} expectations passed, ${failed} failed; ${messages} messages`
    const rest = leftOut === 0 ? '' : `; ${leftOut} operator's steps left out`
    return ['', failed === 0 ? this.green(`passed: ${counts}${rest}`) : this.red(`failed: ${counts}${rest}`)]
  }

  private message(event: Extract<PlayEvent, { kind: 'message' }>): string[] {
    const { at, sent, octets, gateway, connection, session, afterMs, lost } = event
    this.begun ??= at
    let tree: MessageTree | undefined
    try {
      tree = this.printer.tree(octets)
    } catch {
      // Shown as octets.
    }
    const who = `${gateway} ${sent ? '──▶' : '◀──'} ${connection}`
    const what = tree ? whatOf(tree) : 'no AVPs'
    const notes = [
      ...(session === undefined ? [] : [session]),
      ...(tree ? noteOf(tree) : []),
      ...(afterMs === undefined ? [] : [`${afterMs.toFixed(1)} ms`]),
      ...(lost ? ['lost: the gateway does not see it'] : []),
    ]
    const colour = sent ? this.cyan : this.green
    const said = notes.join('  ')
    const first = `${who.padEnd(whoColumns)}  ${said === '' ? what : what.padEnd(whatColumns)}`
    const time = ((at - this.begun) / 1000).toFixed(3).padStart(timeColumns - 2)
    const heading = `${time}  ${colour(first)}${said === '' ? '' : `  ${this.dim(said)}`}`
    return ['', heading, ...this.content(tree, octets)]
  }

  private content(tree: MessageTree | undefined, octets: Buffer): string[] {
    const { brief, all } = this.options
    const margin = ' '.repeat(timeColumns)
    if (!tree) return [`${margin}  ${octets.toString('hex')}`]
    if (brief) return []
    const hidden = (avp: AvpTree): boolean =>
      usual.has(avp.name) && (tree.header.commandCode !== capabilitiesExchange || avp.name === 'Result-Code')
    const avps = all ? tree.avps : tree.avps.filter(avp => !hidden(avp))
    const lines = [...(all ? [this.printer.summary(tree)] : []), ...this.printer.lines(avps, 1)]
    return lines.map(line => `${margin}${line}`)
  }

  private readonly paint =
    (on: number, off: number) =>
    (text: string): string =>
      this.options.colours && text !== '' ? `\u001b[${on}m${text}\u001b[${off}m` : text
  private readonly bold = this.paint(1, 22)
  private readonly dim = this.paint(2, 22)
  private readonly red = this.paint(31, 39)
  private readonly green = this.paint(32, 39)
  private readonly magenta = this.paint(35, 39)
  private readonly cyan = this.paint(36, 39)
}

const numberOf = (avps: readonly AvpTree[], name: string): number | undefined => {
  const value = avps.find(avp => avp.name === name)?.value
  return typeof value === 'number' ? value : undefined
}

/** `CCR-I 0`, `CCA-U 3  2001 SUCCESS`, `RAR`. */
function whatOf({ header, avps }: MessageTree): string {
  const request = (header.flags & FLAG.REQUEST) !== 0
  const name = names[header.commandCode]
  const command = name === undefined ? `command ${header.commandCode}` : `${name}${request ? 'R' : 'A'}`
  const type = requestLetters[numberOf(avps, 'CC-Request-Type') ?? -1]
  const number = numberOf(avps, 'CC-Request-Number')
  const what = [`${command}${type === undefined ? '' : `-${type}`}`, ...(number === undefined ? [] : [String(number)])]
  return what.join(' ')
}

const names: Readonly<Record<number, string>> = {
  ...{ 257: 'CE', 258: 'RA', 272: 'CC', 274: 'AS', 280: 'DW', 282: 'DP', 275: 'ST' },
}

function noteOf({ header, avps }: MessageTree): string[] {
  const code = numberOf(avps, 'Result-Code')
  const flags = [...(header.flags & FLAG.RETRANSMITTED ? ['T'] : []), ...(header.flags & FLAG.ERROR ? ['E'] : [])]
  return [
    ...(code === undefined ? [] : [codeText(code)]),
    ...(flags.length === 0 ? [] : [`flag ${flags.join(' and ')}`]),
  ]
}
