/** `ocsctl trace`: requests and answers as they pass through any daemon on the store. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { InvalidArgumentError, type Command } from 'commander'
import type { TraceLine } from '../admin/trace.js'
import { durationHint, parseDuration } from '../config/quantity.js'
import { PcapPackets, pcapHeader } from '../simulator/pcap.js'
import type { Ctl, Options } from './command.js'

interface TraceOptions extends Options {
  readonly subscriber?: string
  readonly peer?: string
  readonly session?: string
  readonly reason: string
  readonly count: number
  readonly for: number
  readonly pcap?: string
}

export function addTraceCommand(program: Command, ctl: Ctl): void {
  const { command, usage } = ctl
  command(program, 'trace', 'Show requests and answers of a subscriber, a peer or a session as they pass, anywhere.')
    .option('--subscriber <number>', 'an MSISDN or IMSI, or imsi:…, nai:…')
    .option('--peer <origin-host>', 'a peer, or a gateway behind a relay')
    .option('--session <id>', 'Session-Id')
    .requiredOption('--reason <text>', 'why: it is recorded with your name')
    .option('--count <messages>', 'end after so many', wholeNumber, 1000)
    .option('--for <duration>', 'end after this time, like 60s or 10m', seconds, 60)
    .option('--pcap <file>', 'write them to a capture file as well, for Wireshark')
    .addHelpText(
      'after',
      `
What is given must all hold. Through whichever daemon the messages pass, as long as it is on the same store.
People who are not traced are masked, also in the capture file. Ctrl-C ends the trace.
  ocsctl trace --subscriber 491701000001 --reason "ticket 4711"
  ocsctl trace --peer pgw1.example.net --for 10m --pcap pgw1.pcap --reason "interop with pgw1"`,
    )
    .action(async (options: TraceOptions) => {
      const { subscriber, peer, session } = options
      if (subscriber === undefined && peer === undefined && session === undefined)
        throw usage('name --subscriber, --peer or --session')
      await trace(options, ctl)
    })
}

async function trace(options: TraceOptions, ctl: Ctl): Promise<void> {
  const { subscriber, peer, session, reason, count, for: duration, json } = options
  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt)
  const capture = options.pcap === undefined ? undefined : openCapture(options.pcap, ctl)
  const shown = { messages: 0, lost: 0 }
  let ended: string | undefined
  try {
    const { actor } = ctl
    const body = { subscriber, peer, session, reason, actor, count, seconds: duration }
    for await (const each of ctl.stream(options, '/v1/trace', body, interrupted.signal)) {
      const line = each as TraceLine
      if (line.kind === 'message') {
        shown.messages++
        capture?.write(line)
      }
      if (line.kind === 'lost') shown.lost += line.messages
      if (line.kind === 'ended') ended = endWords[line.why] ?? line.why
      const text = json ? `${JSON.stringify(line)}\n` : textOf(line, options)
      if (text !== '' && line.kind !== 'quiet' && !(await say(text))) return
    }
    ended ??= interrupted.signal.aborted ? 'you ended it' : 'the daemon is gone'
    if (!json) process.stderr.write(`${ended}: ${shown.messages} messages shown, ${shown.lost} lost\n`)
    if (ended === 'the daemon is gone') process.exitCode = 3
  } finally {
    capture?.close()
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
  }
}

const endWords: Readonly<Record<string, string>> = {
  count: 'as many as were asked for',
  time: 'the time is over',
  stopped: 'ended',
  shutdown: 'the daemon is shutting down',
}

function textOf(line: TraceLine, { subscriber, for: duration }: TraceOptions): string {
  switch (line.kind) {
    case 'started': {
      const unknown = line.known === false ? `; no account has ${subscriber}, or the store does not say` : ''
      process.stderr.write(`tracing for ${duration} s, ${line.count} messages at most${unknown}; Ctrl-C ends it\n`)
      return ''
    }
    case 'message':
      return `${line.text.join('\n')}\n\n`
    case 'lost':
      return `--- ${line.messages} messages are missing here: ${line.why}\n\n`
    default:
      return ''
  }
}

/** Waits for the terminal, so that it is the daemon that finds us slow. False: nobody reads any more. */
function say(text: string): Promise<boolean> {
  return new Promise(resolve => {
    const { stdout } = process
    const gone = (): void => resolve(false)
    stdout.once('error', gone)
    const done = (): void => {
      stdout.off('error', gone)
      resolve(true)
    }
    if (stdout.write(text)) done()
    else stdout.once('drain', done)
  })
}

interface Capture {
  write(line: Extract<TraceLine, { kind: 'message' }>): void
  close(): void
}

/** Each message is in the file as soon as it is shown. */
function openCapture(file: string, { usage }: Ctl): Capture {
  let fd: number
  try {
    fd = openSync(file, 'wx', 0o600)
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST'
    throw usage(`--pcap: ${exists ? `${file} is there already: name another file` : (error as Error).message}`)
  }
  writeSync(fd, pcapHeader())
  const packets = new PcapPackets()
  return {
    write: ({ at, direction, remote, local, octets }) => {
      const [from, to] = direction === 'in' ? [remote, local] : [local, remote]
      writeSync(fd, packets.packet({ at: Date.parse(at), from, to, octets: Buffer.from(octets, 'base64') }))
    },
    close: () => closeSync(fd),
  }
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError(`${text} is no number of messages like 100.`)
  return Number(text)
}

function seconds(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined || ms < 1000) throw new InvalidArgumentError(`${text}: ${durationHint}, a second at least.`)
  return Math.floor(ms / 1000)
}
