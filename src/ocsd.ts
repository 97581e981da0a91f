#!/usr/bin/env node
/**
 * The process: arguments, signals, exit status. 0 after a drain, 1 when it cannot start or was made to stop at once, 2 on usage.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Config } from './config/config.js'
import { loadConfig } from './config/load.js'
import { formatFault } from './config/yaml.js'
import { diameterFaults, rebuildStore, startDaemon, StartRefusal, version, type Daemon } from './daemon.js'
import { checkConfiguration } from './inquiry/check.js'
import { createLog } from './telemetry/log.js'

const usage = `ocsd ${version}, an online charging system daemon

usage: ocsd [--config FILE] [--check | --rebuild [--identities FILE]]

  --config FILE   configuration (default: the file named by OCS_CONFIG, else config/ocs.yaml)
  --check         check configuration and catalog, play the tests beside the tariff, tell every fault, and end: 0 when all
                  is well, else 1. What accounts hold of the catalog it cannot know: ask \`ocsctl catalog check\`
  --rebuild       fill a new, empty store from the ledger and the states beside it, and end: 0 when nothing is missing. Before
                  that, no daemon may run on the store
  --identities FILE   for --rebuild: JSON lines of an export, since no identity stands in the ledger
  --version, --help

SIGTERM and SIGINT drain: open requests are answered, peers are told, exit status 0. A second one ends it at once.
SIGHUP reads the catalog again, and the TLS files; a bad one is refused whole and the old one stays.`

async function main(): Promise<void> {
  const options = readArguments()
  const file = resolve(options.config ?? process.env['OCS_CONFIG'] ?? 'config/ocs.yaml')
  if (options.check) {
    const { log } = createLog({ level: 'silent', identities: 'masked' })
    const { ok, lines } = await checkConfiguration(file, { log, further: config => diameterFaults(config, Date.now()) })
    for (const line of lines) console.log(line)
    process.exitCode = ok ? 0 : 1
    return
  }
  const outcome = loadConfig(file)
  if ('faults' in outcome) {
    refuse(outcome.faults.map(formatFault))
    return
  }
  const { config } = outcome
  if (options.rebuild) {
    await rebuildAndTell(config, options.identities)
    return
  }
  const output = createLog(config.log)
  const { log } = output
  const flush = (): void => output.flush()
  let daemon: Daemon
  try {
    daemon = await startDaemon({ config, log, logDropped: () => output.dropped() })
  } catch (error) {
    flush()
    refuse(
      error instanceof StartRefusal
        ? error.lines
        : [`unexpected: ${error instanceof Error ? error.message : String(error)}`],
    )
    if (!(error instanceof StartRefusal)) log.fatal({ err: error }, 'not started')
    flush()
    process.exit(1)
  }
  announce(daemon, file)
  listenToSignals(daemon, message => log.info(message), flush)
}

interface Arguments {
  readonly config?: string | undefined
  readonly check?: boolean | undefined
  readonly rebuild?: boolean | undefined
  readonly identities?: string | undefined
}

async function rebuildAndTell(config: Config, identities: string | undefined): Promise<void> {
  const { log } = createLog({ ...config.log, level: 'silent' })
  try {
    const result = await rebuildStore(config, identities === undefined ? undefined : resolve(identities), log)
    const { accounts, entries, references, released, subscribersWithoutIdentity, problems, problemCount } = result
    for (const problem of problems) console.log(problem)
    console.log(`${accounts} accounts are back, from ${entries} ledger entries; ${references} references stay used`)
    if (released > 0)
      console.log(`${released} accounts had open sessions: those have ended, what they held is free again`)
    if (subscribersWithoutIdentity > 0)
      console.log(`${subscribersWithoutIdentity} subscribers have no identity: give an export with --identities FILE`)
    console.log('vouchers, keys, webhooks and payments under way were not in the ledger and are not there')
    console.log(
      `${problemCount === 0 ? 'nothing is missing' : `${problemCount} problems`}; prove it: start ocsd, then \`ocsctl audit\``,
    )
    process.exitCode = problemCount === 0 && subscribersWithoutIdentity === 0 ? 0 : 1
  } catch (error) {
    if (!(error instanceof StartRefusal)) throw error
    for (const line of error.lines) console.error(`ocsd: ${line}`)
    console.error('ocsd: not rebuilt')
    process.exitCode = 1
  }
}

function readArguments(): Arguments {
  try {
    const { values } = parseArgs({
      options: {
        config: { type: 'string' },
        check: { type: 'boolean' },
        rebuild: { type: 'boolean' },
        identities: { type: 'string' },
        version: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (values.help || values.version) {
      console.log(values.help ? usage : version)
      process.exit(0)
    }
    if (values.identities !== undefined && !values.rebuild) throw new Error('--identities is for --rebuild')
    return values
  } catch (error) {
    console.error(`ocsd: ${(error as Error).message}\n\n${usage}`)
    process.exit(2)
  }
}

function refuse(lines: readonly string[]): void {
  for (const line of lines) console.error(`ocsd: ${line}`)
  console.error('ocsd: not started')
  process.exitCode = 1
}

/** What listens where and what to try next; on stderr, since stdout is the log's. */
function announce({ addresses, seeded }: Daemon, file: string): void {
  const at = ({ host, port }: { host: string; port: number }): string =>
    `${host.includes(':') ? `[${host}]` : host}:${port}`
  console.error(
    [
      '',
      `  ocsd ${version} is ready`,
      '',
      `  Diameter Gy/Ro   ${addresses.diameter.map(at).join(', ')}`,
      ...(addresses.diameterTls.length > 0 ? [`  Diameter on TLS  ${addresses.diameterTls.map(at).join(', ')}`] : []),
      `  admin API        http://${at(addresses.admin)}/v1   (described in /openapi.json)`,
      `  metrics, health  http://${at(addresses.metrics)}/metrics  /healthz  /readyz`,
      `  configuration    ${file}`,
      ...(seeded > 0
        ? [`  demo subscribers 491701000001 to ...09 were created, on the offers payg and bundle-5gb`]
        : []),
      '',
      '  try next, in a second terminal:',
      '    make demo                                     a simulated gateway plays a prepaid session',
      '    node dist/ocsctl.js show subscriber 491701000001',
      `    curl http://${at(addresses.metrics)}/readyz`,
      '  or point a gateway at the Diameter port. Ctrl-C drains and stops.',
      '',
    ].join('\n'),
  )
}

function listenToSignals(daemon: Daemon, say: (message: string) => void, flush: () => void): void {
  let stopping = false
  const stop = (signal: string): void => {
    if (stopping) {
      console.error(`ocsd: ${signal} again: ending at once, with requests in work`)
      flush()
      process.exit(1)
    }
    stopping = true
    say(`${signal}: draining`)
    daemon.stop().then(
      () => {
        flush()
        process.exit(0)
      },
      (error: unknown) => {
        flush()
        console.error(`ocsd: the drain failed: ${error instanceof Error ? error.message : String(error)}`)
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  process.on('SIGHUP', () => {
    daemon.reload().then(
      outcome => {
        if (outcome.status !== 'refused') return
        for (const fault of outcome.faults) console.error(`ocsd: ${fault}`)
        console.error('ocsd: the catalog is refused; the old one stays in force')
      },
      (error: unknown) => console.error(`ocsd: the catalog was not read again: ${String(error)}`),
    )
  })
}

await main()
