/** `ocsctl gateway play`: a simulated gateway that does what a script says, against any charging system. */
import { execFile } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { systemClock } from '../clock.js'
import type { Config } from '../config/config.js'
import { loadConfig } from '../config/load.js'
import { durationHint, parseDuration } from '../config/quantity.js'
import { formatFault } from '../config/yaml.js'
import { currencyCode } from '../currency.js'
import { loadDictionary, type Dictionary } from '../diameter/dictionary.js'
import { MessagePrinter } from '../diameter/print.js'
import type { Address, GatewayTls } from '../simulator/gateway.js'
import { PcapPackets, pcapHeader } from '../simulator/pcap.js'
import {
  play,
  ScriptError,
  UnreachableError,
  type OperatorResult,
  type PlayClock,
  type PlayEvent,
  type PlayResult,
} from '../simulator/play.js'
import { readScript, type Script } from '../simulator/script.js'
import { Trace } from '../simulator/trace.js'
import type { Ctl, Options } from './command.js'

interface PlayCommandOptions extends Options {
  readonly to: readonly string[]
  readonly set: readonly string[]
  readonly tls?: boolean
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly serverName?: string
  readonly insecure?: boolean
  readonly pcap?: string
  readonly patience: number
  readonly operator: boolean
  readonly all?: boolean
  readonly brief?: boolean
}

const defaultConfig = 'config/ocs.yaml'
const diameterPort = 3868
const tlsPort = 5658

export function addGatewayCommands(program: Command, ctl: Ctl): void {
  const { command } = ctl
  const gateway = program.command('gateway').description('A simulated gateway.').exitOverride()
  command(gateway, 'play <script>', 'Play a script against a charging system and show both sides.')
    .option('--to <[name=]host[:port]>', 'the server, or one of several by its name in the script', collect)
    .option('--set <name=value>', 'a variable of the script', collect)
    .option('--tls', 'TLS from the first octet; port 5658 unless another is given')
    .option('--ca <file>', 'PEM: who may have signed the certificate of the server')
    .option('--cert <file>', 'PEM: our certificate')
    .option('--key <file>', 'PEM: its key')
    .option('--server-name <name>', 'name in the certificate of the server; the host when absent')
    .option('--insecure', 'take any certificate of the server')
    .option('--pcap <file>', 'write all messages to a capture file, for Wireshark')
    .addOption(
      new Option('--patience <duration>', 'how long an answer may take').argParser(milliseconds).default(10_000, '10s'),
    )
    .option('--no-operator', 'leave out what an operator does: the server is no ocsd of yours')
    .option('--all', 'show all AVPs, and the headers')
    .option('--brief', 'a line a message')
    .addHelpText(
      'after',
      `
Without --to: the daemon of --config, OCS_CONFIG or ${defaultConfig}. Operator's steps of a script run ocsctl with it.
The capture file has the messages of TLS connections readable, and port ${diameterPort} for the server, whichever it has.
Exit status: 0 all expectations passed, 1 some failed, 2 the script or the usage is wrong, 3 nobody answers.
  ocsctl gateway play config/examples/flows/f01-data-session.yaml
  ocsctl gateway play my-flow.yaml --to ocs.example.net --no-operator --set msisdn=491701234567 --pcap flow.pcap`,
    )
    .action((file: string, given: Partial<PlayCommandOptions>) =>
      playFile(file, { to: [], set: [], patience: 10_000, operator: true, ...given }, ctl),
    )
}

async function playFile(file: string, options: PlayCommandOptions, ctl: Ctl): Promise<void> {
  const { usage } = ctl
  const config = options.to.length === 0 || options.operator ? configOf(options, usage) : undefined
  const dictionary = dictionaryOf(config, usage)
  const script = scriptOf(file, options, dictionary, usage)
  const servers = serversOf(options, config, usage)
  const capture = options.pcap === undefined ? undefined : openCapture(options.pcap, usage)
  const { json = false, all = false, brief = false } = options
  const out = process.stdout
  out.once('error', () => process.exit()) // whoever reads has had enough
  const colours = out.isTTY && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb'
  const trace = new Trace({ dictionary, colours, all, brief, currency: currencyCode })
  const printer = new MessagePrinter(dictionary, currencyCode)
  const say = (lines: readonly string[]): void => void out.write(`${lines.join('\n')}\n`)
  const addresses = [...servers].map(([name, { host, port, tls }]) => `${name} ${host}:${port}${tls ? ' (TLS)' : ''}`)
  if (!json) say(trace.title(script.name === '' ? file : script.name, script.about, addresses.join(', ')))
  try {
    const result = await play({
      ...{ script, dictionary, servers, clock: realClock, patienceMs: options.patience },
      operator: options.operator ? words => runOcsctl(words, options) : undefined,
      onEvent: event => {
        if (event.kind === 'message') capture?.write(event)
        say(json ? [JSON.stringify(jsonOf(event, printer))] : trace.event(event))
      },
    })
    say(json ? [JSON.stringify({ kind: 'end', ...result })] : endOf(result, trace, options))
    if (result.failed > 0) process.exitCode = 1
  } catch (error) {
    if (error instanceof ScriptError)
      throw usage(formatFault({ ...error.place, message: error.message, hint: undefined }))
    if (!(error instanceof UnreachableError)) throw error
    process.stderr.write(`ocsctl: ${error.message}\n`)
    process.exitCode = 3
  } finally {
    capture?.close()
  }
}

const endOf = (result: PlayResult, trace: Trace, { pcap }: PlayCommandOptions): string[] => [
  ...trace.end(result),
  ...(pcap === undefined ? [] : [`capture file: ${pcap}`]),
]

const realClock: PlayClock = {
  ...systemClock,
  pass: ms => new Promise(resolve => setTimeout(resolve, ms)),
}

function jsonOf(event: PlayEvent, printer: MessagePrinter): object {
  if (event.kind !== 'message') return event
  const { at, sent, octets, gateway, connection, session, afterMs, lost, local, remote } = event
  let message: object | undefined
  try {
    message = printer.json(octets)
  } catch {
    // Its octets say it.
  }
  return {
    ...{ kind: 'message', at: new Date(at).toISOString(), direction: sent ? 'sent' : 'received', gateway, connection },
    ...{ session, afterMs, lost, local, remote, message, octets: octets.toString('hex') },
  }
}

// ------------------------------------------------------------------------------------------------- what is given

function configOf({ config, to }: PlayCommandOptions, usage: Ctl['usage']): Config | undefined {
  const file = config ?? defaultConfig
  if (config === undefined && !existsSync(file)) return undefined
  const outcome = loadConfig(file)
  if ('config' in outcome) return outcome.config
  if (to.length > 0) return undefined // only the operator's steps want it, and say what is wrong
  throw usage(['the configuration has faults:', ...outcome.faults.map(formatFault)].join('\n'))
}

function dictionaryOf(config: Config | undefined, usage: Ctl['usage']): Dictionary {
  try {
    return loadDictionary(config?.diameter.dictionaries ?? [])
  } catch (error) {
    throw usage((error as Error).message)
  }
}

function scriptOf(file: string, { set }: PlayCommandOptions, dictionary: Dictionary, usage: Ctl['usage']): Script {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw usage(`${file}: ${(error as Error).message}`)
  }
  const values = Object.fromEntries(
    set.map(word => {
      const equals = word.indexOf('=')
      if (equals < 1) throw usage(`--set ${word} is not name=value`)
      return [word.slice(0, equals), word.slice(equals + 1)]
    }),
  )
  // Other subscribers each time, so that a script may be played again.
  const run = String(Date.now() % 100_000_000).padStart(8, '0')
  const outcome = readScript(file, text, { dictionary, set: values, run })
  if ('script' in outcome) return outcome.script
  throw usage([`the script has ${outcome.faults.length} faults:`, ...outcome.faults.map(formatFault)].join('\n'))
}

function serversOf(
  options: PlayCommandOptions,
  config: Config | undefined,
  usage: Ctl['usage'],
): ReadonlyMap<string, Address> {
  const tls = tlsOf(options, usage)
  if (options.to.length === 0) {
    if (!config) throw usage('name the server with --to HOST:PORT, or its configuration with --config FILE')
    const { listen, tls: secured } = config.diameter
    const points = tls ? (secured?.listen ?? []) : listen
    const at = points.findIndex(each => 'port' in each)
    const point = points[at]
    if (!point || !('port' in point)) {
      throw usage(
        `${config.file} names no address that ${tls ? 'TLS' : 'Diameter without TLS'} listens on: give --to HOST:PORT`,
      )
    }
    const host = point.host === '0.0.0.0' ? '127.0.0.1' : point.host === '::' ? '::1' : point.host
    const port = point.port === 0 ? notedPort(config, tls ? 'diameterTls' : 'diameter', at) : point.port
    if (port === undefined) throw usage('ocsd is not running: it has noted no port in its data folder')
    return new Map([['ocs', { host, port, ...(tls && { tls }) }]])
  }
  const servers = new Map<string, Address>()
  for (const word of options.to) {
    const match = /^(?:([\w-]+)=)?(\[[\da-fA-F:.]+\]|[^:=]+)(?::(\d{1,5}))?$/.exec(word)
    if (!match) throw usage(`--to ${word} is not HOST:PORT or NAME=HOST:PORT`)
    const [, name = servers.size === 0 ? 'ocs' : `ocs${servers.size + 1}`, host, port] = match
    servers.set(name, {
      host: host!.replace(/^\[|\]$/g, ''),
      port: port === undefined ? (tls ? tlsPort : diameterPort) : Number(port),
      ...(tls && { tls }),
    })
  }
  return servers
}

/** A daemon that was given port 0 notes the one it got. */
function notedPort({ data }: Config, ports: 'diameter' | 'diameterTls', at: number): number | undefined {
  try {
    const noted = JSON.parse(readFileSync(join(data, 'ports.json'), 'utf8')) as Partial<
      Record<typeof ports, readonly number[]>
    >
    return noted[ports]?.[at]
  } catch {
    return undefined
  }
}

function tlsOf(options: PlayCommandOptions, usage: Ctl['usage']): GatewayTls | undefined {
  const { tls, ca, cert, key, serverName, insecure } = options
  const given = [ca, cert, key, serverName, insecure].some(each => each !== undefined)
  if (!tls) {
    if (given) throw usage('--ca, --cert, --key, --server-name and --insecure are of --tls: add it')
    return undefined
  }
  if ((cert === undefined) !== (key === undefined)) throw usage('--cert and --key belong together')
  const read = (option: string, file: string): Buffer => {
    try {
      return readFileSync(file)
    } catch (error) {
      throw usage(`--${option} ${file}: ${(error as Error).message}`)
    }
  }
  return {
    ...(ca !== undefined && { ca: read('ca', ca) }),
    ...(cert !== undefined && { cert: read('cert', cert) }),
    ...(key !== undefined && { key: read('key', key) }),
    ...(serverName !== undefined && { serverName }),
    ...(insecure && { insecure }),
  }
}

// ------------------------------------------------------------------------------------------------------ what it does

/** An operator's step is this program again, with its words, for the same daemon. */
function runOcsctl(words: readonly string[], { config }: Options): Promise<OperatorResult> {
  const program = [...process.execArgv, process.argv[1]!, ...words, '--json']
  const arguments_ = config === undefined ? program : [...program, '--config', config]
  return new Promise(resolve => {
    execFile(process.execPath, arguments_, { timeout: 60_000 }, (error, stdout, stderr) => {
      let answer: unknown
      try {
        answer = JSON.parse(stdout)
      } catch {
        // Its text says it.
      }
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 3
      resolve({ status, answer, text: stderr === '' ? stdout : stderr })
    })
  })
}

function openCapture(
  file: string,
  usage: Ctl['usage'],
): { write(event: Extract<PlayEvent, { kind: 'message' }>): void; close(): void } {
  let fd: number
  try {
    fd = openSync(file, 'w')
  } catch (error) {
    throw usage(`--pcap: ${(error as Error).message}`)
  }
  writeSync(fd, pcapHeader())
  const packets = new PcapPackets()
  return {
    write: ({ at, sent, octets, local, remote }) => {
      // Wireshark takes what is on this port for Diameter, without being told.
      const server = { ...remote, port: diameterPort }
      const [from, to] = sent ? [local, server] : [server, local]
      writeSync(fd, packets.packet({ at, from, to, octets }))
    },
    close: () => closeSync(fd),
  }
}

const collect = (word: string, before: readonly string[] = []): readonly string[] => [...before, word]

function milliseconds(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined || ms === 0) throw new InvalidArgumentError(`${text}: ${durationHint}.`)
  return ms
}
