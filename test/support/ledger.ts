/**
 * Ledger writers, the audit and steady load for their tests; a writer also as a process that can be killed.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pino, type Logger } from 'pino'
import t, { type Test } from 'tap'
import { Journal } from '../../src/balance/journal.js'
import { Leases } from '../../src/balance/leases.js'
import { Snapshot } from '../../src/balance/snapshot.js'
import type { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import { audit, type AuditResult } from '../../src/ledger/audit.js'
import { CdrWriter, type CdrFormat, type CdrWriterOptions } from '../../src/ledger/cdr-files.js'
import { LedgerWriter, type LedgerWriterOptions } from '../../src/ledger/writer.js'
import { aProgram, Session } from './charging.js'
import { partitions, type TestStore } from './store.js'

export const silent = pino({ level: 'silent' })

export const allPartitions = {
  owned: new Set(Array.from({ length: partitions }, (_, p) => p)),
  listen: (): void => undefined,
}

export function aFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-ledger-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A writer that is opened and does nothing by itself: tests call `flush`. */
export async function aWriter(
  store: Store,
  directory: string,
  options: Partial<LedgerWriterOptions> = {},
): Promise<LedgerWriter> {
  const writer = new LedgerWriter({
    journal: new Journal(store, partitions, systemClock),
    leases: allPartitions,
    directory,
    rotateOctets: 64 << 20,
    keepMs: 600_000,
    clock: systemClock,
    log: silent,
    metrics: { written: () => undefined, trimmed: () => undefined, writeError: () => undefined },
    ...options,
  })
  await writer.open()
  t.teardown(() => writer.stop(0)) // closes its file
  return writer
}

/** A writer of charging data records, like `aWriter`. */
export async function aCdrWriter(
  store: Store,
  directory: string,
  options: Partial<CdrWriterOptions> = {},
): Promise<CdrWriter> {
  const writer = new CdrWriter({
    journal: new Journal(store, partitions, systemClock),
    leases: allPartitions,
    directory,
    format: 'jsonl',
    nodeId: 'ocs.test',
    kinds: new Set(['charge', 'session', 'money']),
    rotateOctets: 64 << 20,
    rotateMs: 3_600_000,
    keepMs: 600_000,
    clock: systemClock,
    log: silent,
    metrics: { written: () => undefined, trimmed: () => undefined, writeError: () => undefined },
    ...options,
  })
  await writer.open()
  t.teardown(() => writer.stop(0))
  return writer
}

export const anAudit = (store: Store, ...directories: string[]): Promise<AuditResult> =>
  audit({
    directories,
    journal: new Journal(store, partitions, systemClock),
    snapshot: new Snapshot(store, partitions, systemClock),
  })

export interface Line {
  readonly partition: number
  readonly id: string
  readonly account: string
  readonly seq: number
  readonly posts: [string, string, number, number?, number?][]
}

export const linesOf = (folder: string): Line[] =>
  readdirSync(folder)
    .sort()
    .flatMap(name => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1))
    .map(line => JSON.parse(line) as Line)

/** How many lines of a folder are there for the second time. */
export function repeatsIn(folder: string): number {
  const lines = linesOf(folder)
  return lines.length - new Set(lines.map(({ partition, id }) => `${partition} ${id}`)).size
}

const payg = aProgram({ step: 100_000n, num: 1000n })

/** Accounts that report and ask all the time, each with a session, until stopped. */
export class Load {
  private stopped = false
  private constructor(private readonly running: Promise<unknown>) {}

  static async start(t: Test, store: TestStore, accounts: number, prefix = 'load'): Promise<Load> {
    const sessions = await Promise.all(
      Array.from({ length: accounts }, (_, i) =>
        Session.open(t, store, {
          account: `${prefix}-${i}`,
          money: 10n ** 12n,
          credit: 0n,
          ...(i % 2 ? { bucket: 10n ** 9n } : {}),
        }),
      ),
    )
    const load: Load = new Load(
      Promise.all(
        sessions.map(async session => {
          for (let number = 0; number === 0 || !load.stopped; number++) {
            await session.charge(number === 0 ? 'I' : 'U', number, [
              { key: '10', used: number === 0 ? 0n : 250_000n, wanted: 1_000_000n, threshold: false, program: payg },
            ])
            await until(() => true)
          }
        }),
      ),
    )
    return load
  }

  async stop(): Promise<void> {
    this.stopped = true
    await this.running
  }
}

/** Some charges on accounts of their own, one after the other. */
export async function someCharges(t: Test, store: TestStore, prefix: string, accounts = 5, each = 10): Promise<void> {
  for (let i = 0; i < accounts; i++) {
    const session = await Session.open(t, store, {
      account: `${prefix}-${i}`,
      money: 10n ** 9n,
      credit: 0n,
      bucket: 1_000_000n,
    })
    for (let number = 0; number < each; number++) {
      await session.charge(number === 0 ? 'I' : 'U', number, [
        {
          key: '10',
          used: number === 0 ? 0n : 250_000n,
          wanted: 1_000_000n,
          threshold: false,
          program: aProgram({ step: 100_000n, num: 1000n, buckets: ['data'] }),
        },
      ])
    }
  }
}

/** Looks again after each few milliseconds until it is so. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  do await new Promise(resolve => setTimeout(resolve, 3))
  while (!(await condition()))
}

export interface ChildOptions {
  readonly socket: string
  readonly directory: string
  readonly id: string
  readonly rotateOctets: number
  readonly keepMs: number
  readonly leaseMs: number
  /** Write charging data records, too. */
  readonly cdr?: { readonly directory: string; readonly formats: readonly CdrFormat[]; readonly rotateOctets: number }
}

/** A process with leases and a writer. */
export class WriterProcess {
  private constructor(readonly process: ChildProcess) {}

  /** @param fileKiB most size of a file, by the shell's limit: writes beyond fail with EFBIG */
  static async start(t: Test, options: ChildOptions, fileKiB?: number): Promise<WriterProcess> {
    const script = fileURLToPath(new URL('ledger-process.ts', import.meta.url))
    // tap's preload, which comes with NODE_OPTIONS, ends a process on SIGXFSZ; Node ignores it.
    const limit = fileKiB === undefined ? '' : `unset NODE_OPTIONS; ulimit -f ${fileKiB}; `
    const child = spawn(
      'bash',
      ['-c', `${limit}exec "$0" "$@"`, process.execPath, '--import=tsx', script, JSON.stringify(options)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    t.teardown(() => child.kill('SIGKILL'))
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve())
      child.once('exit', () => reject(new Error('the writer did not start')))
    })
    return new WriterProcess(child)
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
    const { process: child } = this
    return new Promise(resolve => {
      child.once('exit', code => resolve(code))
      child.kill(signal)
    })
  }
}

/** What the writer process runs. */
export async function runWriter(store: Store, log: Logger, options: ChildOptions): Promise<() => Promise<void>> {
  const leases = new Leases({
    store,
    partitions,
    id: options.id,
    clock: systemClock,
    log,
    ttlMs: options.leaseMs,
  })
  const writer = await aWriter(store, options.directory, {
    leases,
    log,
    rotateOctets: options.rotateOctets,
    keepMs: options.keepMs,
    gatherMs: 5,
    slowMs: 20,
    acknowledgeMs: 200,
    flushOctets: 64 << 10,
  })
  const { cdr } = options
  const cdrs = await Promise.all(
    (cdr?.formats ?? []).map(format =>
      aCdrWriter(store, cdr!.directory, {
        ...{ leases, log, format, rotateOctets: cdr!.rotateOctets, keepMs: options.keepMs },
        ...{ gatherMs: 5, slowMs: 20, acknowledgeMs: 200, flushOctets: 64 << 10 },
      }),
    ),
  )
  await leases.start()
  writer.start()
  for (const each of cdrs) each.start()
  return async () => {
    for (const each of cdrs) await each.stop()
    await writer.stop()
    await leases.stop()
  }
}
