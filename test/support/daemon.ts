/**
 * A whole daemon in this process, for one test: the shipped catalog and demo subscribers, an embedded store in a folder of
 * its own, free loopback ports.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import type { Test } from 'tap'
import type { Clock } from '../../src/clock.js'
import { loadConfig } from '../../src/config/load.js'
import { formatFault } from '../../src/config/yaml.js'
import { startDaemon, type Daemon } from '../../src/daemon.js'
import type { Micros } from '../../src/units.js'
import type { LogLine } from './diameter-server.js'

export interface TestDaemon {
  readonly daemon: Daemon
  /** Of Diameter. */
  readonly port: number
  /** With config/ and data/ in it. */
  readonly folder: string
  readonly log: readonly LogLine[]
  /** Money and what is held of it, of the account of an MSISDN. @throws Error when there is none */
  money(msisdn: string): Promise<{ readonly money: Micros; readonly held: Micros }>
}

export interface TestDaemonParts {
  readonly clock?: Clock
  /** Texts of the shipped ocs.yaml and what stands there instead. */
  readonly change?: Readonly<Record<string, string>>
  /** As `change`, for the shipped catalog. */
  readonly changeCatalog?: Readonly<Record<string, string>>
}

const shipped = fileURLToPath(new URL('../../config/', import.meta.url))

/** Ports of the shipped file that would meet another daemon's; the disk is not what is tested. */
const always: Readonly<Record<string, string>> = {
  '127.0.0.1:3868': '127.0.0.1:0',
  '127.0.0.1:8080': '127.0.0.1:0',
  '127.0.0.1:9464': '127.0.0.1:0',
  'durability: disk': 'durability: memory',
}

/** A copy of config/ with these changes, in a new folder that goes with `t`. @returns the folder, and its ocs.yaml */
export function copyConfig(
  t: Test,
  { change = {}, changeCatalog = {} }: Omit<TestDaemonParts, 'clock'> = {},
): { folder: string; file: string } {
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  cpSync(shipped, join(folder, 'config'), { recursive: true })
  const file = join(folder, 'config', 'ocs.yaml')
  replaceIn(file, { ...always, ...change })
  replaceIn(join(folder, 'config', 'catalog', 'mvno.yaml'), changeCatalog)
  return { folder, file }
}

/** Started, and stopped with `t`. */
export async function startTestDaemon(t: Test, { clock, ...changes }: TestDaemonParts = {}): Promise<TestDaemon> {
  const { folder, file } = copyConfig(t, changes)
  const outcome = loadConfig(file)
  if ('faults' in outcome) throw new Error(outcome.faults.map(formatFault).join('\n'))
  const log: LogLine[] = []
  const logger = pino({ level: 'info' }, { write: line => void log.push(JSON.parse(line) as LogLine) })
  const daemon = await startDaemon({ config: outcome.config, log: logger, ...(clock && { clock }) })
  t.teardown(() => daemon.stop(1000))
  return {
    daemon,
    port: daemon.addresses.diameter[0]!.port,
    folder,
    log,
    money: async msisdn => {
      const found = await daemon.accounts.find({ type: 'msisdn', value: msisdn })
      if (!found) throw new Error(`no account of ${msisdn}`)
      return { money: found.account.money, held: found.account.held }
    },
  }
}

function replaceIn(file: string, changes: Readonly<Record<string, string>>): void {
  let text = readFileSync(file, 'utf8')
  for (const [from, to] of Object.entries(changes)) {
    if (!text.includes(from)) throw new Error(`${file} has no "${from}" to change`)
    text = text.replace(from, to)
  }
  writeFileSync(file, text)
}
