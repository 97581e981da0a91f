#!/usr/bin/env node
/**
 * The operator's command line: speaks to the admin API of a running daemon and to nothing else.
 * Exit status: 0 ok, 1 refused, 2 usage, 3 the daemon cannot be reached.
 */
import { randomUUID } from 'node:crypto'
import { createReadStream, existsSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { Readable } from 'node:stream'
import { Command, CommanderError, Option } from 'commander'
import type { ImportReport } from './admin/import.js'
import type { ProblemDocument } from './admin/problem.js'
import type { AuditView, CatalogView, ReloadOutcome, StatusView } from './admin/services.js'
import type { AccountView, BucketView, CounterView, OptInView, OverrideView, SessionView } from './admin/views.js'
import type { Config } from './config/config.js'
import { loadConfig } from './config/load.js'
import { formatFault } from './config/yaml.js'
import { addPersonCommands } from './ctl/person.js'
import { addPaymentCommands } from './ctl/payments.js'
import { addAccessCommands } from './ctl/access.js'
import { addCareCommands } from './ctl/care.js'
import { addBulkCommands } from './ctl/bulk.js'
import { addCatalogCommands } from './ctl/catalog.js'
import { addClockCommands } from './ctl/clock.js'
import { addCompletionCommand } from './ctl/completion.js'
import type { CallOptions, Ctl, Options } from './ctl/command.js'
import { addPeerCommands } from './ctl/peers.js'
import { addLifeCommands, lifePairs } from './ctl/life.js'
import { addGatewayCommands } from './ctl/gateway.js'
import { addNotificationCommands } from './ctl/notifications.js'
import { addRateCommands } from './ctl/rate.js'
import { addReportCommands } from './ctl/report.js'
import { addRechargeCommands } from './ctl/recharge.js'
import { addSessionCommands, stateText } from './ctl/sessions.js'
import { pairs, table } from './ctl/text.js'
import { addSubscriberCommands } from './ctl/subscribers.js'
import { addSubscriptionCommands } from './ctl/subscriptions.js'
import { addJobCommands } from './ctl/jobs.js'
import { addTraceCommand } from './ctl/trace.js'
import { addVoucherCommands } from './ctl/voucher.js'
import { formatAmount, unitTypes, type UnitType } from './units.js'

/** The daemon said no: exit status 1. */
class Refused extends Error {
  constructor(readonly document: Partial<ProblemDocument>) {
    super(document.detail ?? document.title ?? 'refused')
  }
}

/** It was taken, and waits for a second person: exit status 0, and nothing more is done by the command. */
class Held extends Error {
  constructor(readonly answer: { readonly approval: string; readonly held: string; readonly expires: string }) {
    super(
      `not done yet: ${answer.held}. Somebody else runs: ocsctl approvals approve ${answer.approval} (until ${answer.expires})`,
    )
  }
}

/** Exit status 3. */
class Unreachable extends Error {}

/** What was asked makes no sense: exit status 2. */
class Usage extends Error {}

const defaultConfig = 'config/ocs.yaml'

async function main(): Promise<number> {
  const program = build()
  try {
    await program.parseAsync()
    return process.exitCode === undefined ? 0 : Number(process.exitCode)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    const wantsJson = process.argv.includes('--json')
    if (error instanceof Refused) {
      if (wantsJson) print(error.document)
      complain(error.message)
      const { faults, warnings } = error.document
      for (const fault of Array.isArray(faults) ? faults : []) complain(String(fault))
      for (const warning of Array.isArray(warnings) ? warnings : []) complain(`warning: ${String(warning)}`)
      return 1
    }
    if (error instanceof Held) {
      if (wantsJson) print(error.answer)
      else complain(error.message)
      return 0
    }
    if (error instanceof Unreachable || error instanceof Usage) {
      complain(error.message)
      return error instanceof Usage ? 2 : 3
    }
    throw error
  }
}

function build(): Command {
  const program = new Command('ocsctl')
    .description('Operates a running ocsd over its admin API.')
    .enablePositionalOptions() // so that `sessions abort --account` is an option of abort
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .addHelpText(
      'after',
      `
Where it goes: OCS_URL and OCS_TOKEN, or the daemon of --config, OCS_CONFIG or ${defaultConfig}.
Exit status: 0 ok, 1 refused, 2 usage, 3 the daemon cannot be reached.`,
    )
  const command = (parent: Command, usage: string, description: string): Command =>
    parent
      .command(usage)
      .description(description)
      .option('--json', 'print the answer as JSON')
      .addOption(new Option('--config <file>', 'configuration of the daemon').env('OCS_CONFIG'))
      .exitOverride()

  const usage = (message: string): Error => new Usage(message)
  const ctl: Ctl = { command, keyed, final, confirm, call, stream, download, put, actor, usage }

  const show = command(
    program,
    'show [number]',
    'All that a care call needs, on one screen: of an MSISDN, imsi:…, nai:… or account.',
  )
  command(show, 'account <id>', 'Show an account with its subscribers and buckets.').action(showAccount)
  command(show, 'subscriber <identity>', 'Show the account of a subscriber: an MSISDN, imsi:… or nai:….').action(
    showSubscriber,
  )

  addCareCommands(program, show, ctl)

  const create = program.command('create').description('Create an account.').exitOverride()
  command(create, 'account <id>', 'Create an account, and a subscriber when an identity is given.')
    .option('--currency <code>', 'the catalog’s, or one that it has exchange rates for; the catalog’s when absent')
    .option('--balance <amount>', 'opening balance like 5.00')
    .option('--credit-limit <amount>', 'how far below zero its money may go')
    .option('--msisdn <digits>', 'identity of the subscriber')
    .option('--imsi <digits>', 'identity of the subscriber')
    .option('--nai <name>', 'identity of the subscriber')
    .option('--offer <name...>', 'offers bought for it')
    .option('--attribute <key=value...>', 'attributes of a new account')
    .action(createAccount)

  addRechargeCommands(program, ctl)
  command(program, 'set <account> <key=value...>', 'Set attributes; key= takes one away.')
    .option('--subscriber <number>', 'of a subscriber, not of the account')
    .action(setAttributes)
  const override = program
    .command('override')
    .description('What one account has differently from the catalog.')
    .exitOverride()
  command(override, 'add <account> <kind> <target> <value>', 'Another price, rate, grant, life or limit, for a reason.')
    .requiredOption('--reason <text>', 'why, for the ledger')
    .option('--from <time>', 'like 2026-12-24 or 2026-12-24T18:00; at once when absent')
    .option('--until <time>', 'for good when absent')
    .option('--subscriber <number>', 'a limit of one subscriber')
    .addHelpText(
      'after',
      `
Kinds:  price <rate> 0.008        limit <counter> 5GB, 20.00 or none
        rate <rate> <other rate>  grant <bucket> 10GB      life <bucket> 60d or never`,
    )
    .action(addOverride)
  command(override, 'list <account>', 'List the overrides of an account.').action(listOverrides)
  command(override, 'remove <account> <id>', 'Take an override away.')
    .requiredOption('--reason <text>', 'why, for the ledger')
    .action(removeOverride)
  command(
    program,
    'opt-in <account> [counter]',
    'Let usage go on beyond the limit of a counter; without one, list them.',
  )
    .option('--subscriber <number>', 'which, when the counter is of subscribers and there are several')
    .option('--until <time>', 'like 2026-12-24 or 2026-12-24T18:00; for good when absent')
    .option('--off', 'no longer')
    .option('--reason <text>', 'why, for the ledger')
    .action(optIn)
  for (const [name, status, description] of [
    ['suspend', 'suspended', 'Bar an account: its sessions get 4010.'],
    ['resume', 'active', 'Put an account into service again.'],
  ] as const) {
    command(program, `${name} <account>`, description).action((id: string, options: Options) =>
      setStatus(id, status, options),
    )
  }
  const sessions = command(program, 'sessions', 'List sessions.')
    .option('--account <id>', 'of one account, ended ones that are still kept included')
    .option('--limit <count>', 'at most so many, up to 1000', '100')
    .action(listSessions)
  command(program, 'release <session-id>', 'End a session from our side.').action(release)
  command(
    program,
    'import <file>',
    'Import subscribers from CSV or JSON lines; - reads standard input. Safe to run again.',
  )
    .addOption(new Option('--format <name>', 'format; told by the file’s name when absent').choices(['csv', 'jsonl']))
    .option('--all-or-nothing', 'one bad row, and none is applied')
    .option('--from-line <number>', 'go on with this line; the rows before it were applied')
    .action(importFile)
  const catalog = program.command('catalog').description('The catalog.').exitOverride()
  command(catalog, 'show', 'Version and offers of the catalog in use.').action(showCatalog)
  command(catalog, 'reload', 'Read the catalog again; a bad one is refused.')
    .option(
      '--reauthorise',
      'ask the gateways of all sessions to report, spread out in time, when it is another catalog',
    )
    .action(reloadCatalog)
  addCatalogCommands(catalog, ctl)
  addRateCommands(program, ctl)
  addReportCommands(program, ctl)
  addPeerCommands(program, ctl)
  addTraceCommand(program, ctl)
  addVoucherCommands(program, ctl)
  addGatewayCommands(program, ctl)
  addSessionCommands(sessions, ctl)
  addBulkCommands(program, ctl)
  addSubscriberCommands(program, ctl, accountText)
  addClockCommands(program, ctl)
  addLifeCommands(program, ctl)
  addNotificationCommands(program, ctl)
  addAccessCommands(program, ctl)
  addPaymentCommands(program, ctl)
  addPersonCommands(program, ctl)
  addSubscriptionCommands(program, ctl, accountText)
  addJobCommands(program, ctl)
  command(program, 'audit', 'Prove every balance from the ledger.')
    .option('--full', 'read all of it, not only what is new since the last audit that found nothing wrong')
    .action(audit)
  command(program, 'status', 'What the daemon is and whether it serves.').action(showStatus)
  addCompletionCommand(program)
  return program
}

async function showAccount(id: string, options: Options): Promise<void> {
  const account = await call<AccountView>(options, 'GET', `/v1/accounts/${encodeURIComponent(id)}`)
  put(options, account, () => accountText(account))
}

async function showSubscriber(identity: string, options: Options): Promise<void> {
  const match = /^(msisdn|imsi|nai):(.*)$/.exec(identity)
  const [type, value] = match ? [match[1]!, match[2]!] : [identity.includes('@') ? 'nai' : 'msisdn', identity]
  const path = `/v1/subscribers/${type}/${encodeURIComponent(value)}`
  const found = await call<{ subscriber: string; account: AccountView }>(options, 'GET', path)
  put(options, found, () => accountText(found.account))
}

interface CreateOptions extends Options {
  readonly currency?: string
  readonly balance?: string
  readonly creditLimit?: string
  readonly msisdn?: string
  readonly imsi?: string
  readonly nai?: string
  readonly offer?: readonly string[]
  readonly attribute?: readonly string[]
}

async function createAccount(id: string, options: CreateOptions): Promise<void> {
  const { balance, creditLimit, msisdn, imsi, nai, offer } = options
  const identified = msisdn ?? imsi ?? nai
  if (offer && identified === undefined) throw new Usage('--offer needs a subscriber: give --msisdn, --imsi or --nai')
  const currency = options.currency ?? (await call<CatalogView>(options, 'GET', '/v1/catalog')).currency
  const subscriber = identified === undefined ? undefined : { msisdn, imsi, nai, offers: offer }
  const account = await call<AccountView>(options, 'POST', '/v1/accounts', {
    id,
    currency,
    balance,
    creditLimit,
    subscriber,
    attributes: options.attribute && attributesOf(options.attribute),
  })
  put(options, account, () => accountText(account))
}

/** `segment=vip` sets one, `segment=` takes it away. */
function attributesOf(words: readonly string[]): Record<string, string | null> {
  return Object.fromEntries(
    words.map(word => {
      const equals = word.indexOf('=')
      if (equals < 1) throw new Usage(`${word} is not key=value`)
      const value = word.slice(equals + 1)
      return [word.slice(0, equals), value === '' ? null : value]
    }),
  )
}

/** Who did it, for the ledger. */
const actor = `ocsctl:${process.env['USER'] ?? ''}`.replaceAll(/[^\w.@:-]/g, '_').replace(/:$/, '')

const pathOf = (account: string, ...more: readonly string[]): string =>
  ['/v1/accounts', ...[account, ...more].map(encodeURIComponent)].join('/')

async function setAttributes(
  account: string,
  words: readonly string[],
  options: Options & { readonly subscriber?: string },
): Promise<void> {
  const { subscriber } = options
  const path = subscriber === undefined ? pathOf(account) : pathOf(account, 'subscribers', subscriber)
  const view = await call<AccountView>(options, 'PATCH', path, { attributes: attributesOf(words), actor })
  put(options, view, () => accountText(view))
}

interface OverrideOptions extends Options {
  readonly reason: string
  readonly from?: string
  readonly until?: string
  readonly subscriber?: string
}

async function addOverride(
  account: string,
  kind: string,
  target: string,
  value: string,
  options: OverrideOptions,
): Promise<void> {
  const { reason, from, until, subscriber } = options
  const body = { kind, target, value, reason, from, until, subscriber, actor }
  const added = await call<OverrideView>(options, 'POST', pathOf(account, 'overrides'), body)
  put(options, added, () => overridesText([added]))
}

async function listOverrides(account: string, options: Options): Promise<void> {
  const answer = await call<{ overrides: OverrideView[] }>(options, 'GET', pathOf(account, 'overrides'))
  put(options, answer, () => (answer.overrides.length === 0 ? 'no overrides' : overridesText(answer.overrides)))
}

async function removeOverride(account: string, id: string, options: OverrideOptions): Promise<void> {
  const query = new URLSearchParams({ reason: options.reason, actor })
  const answer = await call<object>(options, 'DELETE', `${pathOf(account, 'overrides', id)}?${query.toString()}`)
  put(options, answer, () => `override ${id} is removed`)
}

interface OptInOptions extends Options {
  readonly subscriber?: string
  readonly until?: string
  readonly off?: boolean
  readonly reason?: string
}

async function optIn(account: string, counter: string | undefined, options: OptInOptions): Promise<void> {
  const { subscriber, until, off = false, reason } = options
  const path = pathOf(account, 'opt-ins')
  const body = counter === undefined ? undefined : { counter, subscriber, until, on: !off, reason, actor }
  const answer = await call<{ optIns: OptInView[] }>(options, body ? 'POST' : 'GET', path, body)
  put(options, answer, () => (answer.optIns.length === 0 ? 'no opt-ins' : optInsText(answer.optIns)))
}

async function setStatus(id: string, status: string, options: Options): Promise<void> {
  const account = await call<AccountView>(options, 'PATCH', `/v1/accounts/${encodeURIComponent(id)}`, { status })
  put(options, account, () => {
    const { life } = account
    const why = status === 'active' && life && account.status !== 'active'
    return `account ${id} is ${account.status}${why ? `, by its life cycle ${life.rule ?? ''}: see ocsctl valid-until` : ''}`
  })
}

async function listSessions(options: Options & { readonly account?: string; readonly limit: string }): Promise<void> {
  const query = new URLSearchParams({
    limit: options.limit,
    ...(options.account !== undefined && { account: options.account }),
  })
  const answer = await call<{ sessions: SessionView[] }>(options, 'GET', `/v1/sessions?${query.toString()}`)
  put(options, answer, () =>
    answer.sessions.length === 0
      ? 'no sessions'
      : table(
          ['session', 'account', 'state', 'opened', 'number', 'used', 'granted', 'held', 'charged'],
          answer.sessions.map(session => [
            session.id,
            session.account,
            stateText(session, Date.now()),
            session.opened,
            String(session.lastNumber),
            session.lines.map(({ line, used }) => `${line}: ${used}`).join(' '),
            session.lines.map(({ line, granted }) => `${line}: ${granted}`).join(' '),
            session.lines.map(({ line, heldMoney }) => `${line}: ${heldMoney}`).join(' '),
            session.charged,
          ]),
        ),
  )
}

async function release(sessionId: string, options: Options): Promise<void> {
  const answer = await call<object>(options, 'POST', '/v1/sessions/release', { sessionId })
  put(options, answer, () => 'released')
}

interface ImportOptions extends Options {
  readonly format?: 'csv' | 'jsonl'
  readonly allOrNothing?: boolean
  readonly fromLine?: string
}

async function importFile(file: string, options: ImportOptions): Promise<void> {
  if (file !== '-' && !existsSync(file)) throw new Usage(`there is no file ${file}`)
  const jsonLines =
    options.format === undefined ? /^\.(jsonl|ndjson|json)$/i.test(extname(file)) : options.format === 'jsonl'
  const stream = file === '-' ? process.stdin : createReadStream(file)
  const { allOrNothing, fromLine } = options
  const query = new URLSearchParams({
    ...(allOrNothing && { allOrNothing: 'true' }),
    ...(fromLine !== undefined && { fromLine }),
  })
  const report = await call<ImportReport>(options, 'POST', `/v1/import?${query.toString()}`, Readable.toWeb(stream), {
    type: jsonLines ? 'application/x-ndjson' : 'text/csv',
  })
  put(options, report, () => {
    const lines = report.errors.map(({ line, reason }) => `line ${line}: ${reason}`)
    if (report.stopped) lines.push(`stopped at line ${report.stopped.line}: ${report.stopped.reason}`)
    const { rows, created, existing, refused, applied } = report
    if (!applied) lines.push('nothing was applied: put these rows right and import the file again')
    else if (report.stopped) lines.push(`go on with --from-line ${report.stopped.line}`)
    return [...lines, `${rows} rows: ${created} created, ${existing} there already, ${refused} refused`].join('\n')
  })
  if (report.refused > 0 || report.stopped) process.exitCode = 1
}

async function showCatalog(options: Options): Promise<void> {
  const catalog = await call<CatalogView>(options, 'GET', '/v1/catalog')
  put(options, catalog, () =>
    [
      `catalog ${catalog.version}, prices in ${catalog.currency}` +
        (catalog.tax
          ? `, tax ${catalog.tax.prices}${catalog.tax.rate === undefined ? '' : ` (${catalog.tax.rate})`}`
          : '') +
        (catalog.exchanged.length === 0 ? '' : `, by exchange rate in ${catalog.exchanged.join(', ')}`),
      table(
        ['offer', 'rank', 'buckets'],
        catalog.offers.map(({ name, rank, buckets }) => [name, String(rank), buckets.join(' ')]),
      ),
    ].join('\n'),
  )
}

type Reloaded = Exclude<ReloadOutcome, { status: 'refused' }>

async function reloadCatalog(options: Options & { readonly reauthorise?: boolean }): Promise<void> {
  const path = `/v1/catalog/reload${options.reauthorise ? '?reauthorise=true' : ''}`
  const outcome = await call<Reloaded & { readonly reauthorised?: number }>(options, 'POST', path)
  const { reauthorised } = outcome
  put(options, outcome, () =>
    [
      ...warningsOf(outcome),
      `${outcome.status}: catalog ${outcome.version}`,
      ...(reauthorised === undefined ? [] : [`the sessions of ${reauthorised} accounts are asked to report`]),
    ].join('\n'),
  )
}

const warningsOf = ({ warnings }: Reloaded): string[] => warnings.map(warning => `warning: ${warning}`)

async function audit(options: Options & { readonly full?: boolean }): Promise<void> {
  const view = await call<AuditView>(options, 'POST', `/v1/audit${options.full ? '?full=true' : ''}`)
  const { accounts, entries, since, violations } = view
  put(options, view, () => {
    const verdict =
      violations.length === 0 ? 'every balance is what its entries say' : `${violations.length} violations`
    const read = since === undefined ? `${entries} entries` : `${entries} entries since the audit of ${since}`
    return [...violations, `${accounts} accounts, ${read}: ${verdict}`].join('\n')
  })
  if (violations.length > 0) process.exitCode = 1
}

async function showStatus(options: Options): Promise<void> {
  type Status = Omit<StatusView, 'started'> & { readonly started: string }
  const status = await call<Status>(options, 'GET', '/v1/status')
  put(options, status, () =>
    pairs({
      ocsd: status.version,
      started: status.started,
      ready: status.ready ? 'yes' : status.reasons.map(({ name, reason }) => `no, ${name}: ${reason}`).join('; '),
      identity: `${status.identity}, realm ${status.realm}`,
      diameter: status.diameter.join(', '),
      store: `${status.store}, durability ${status.durability}`,
      catalog: status.catalog,
      spool: spoolText(status.spool),
    }),
  )
}

function spoolText({ entries, oldestSeconds, trouble }: StatusView['spool']): string {
  const waiting = entries === 0 ? 'empty' : `${entries} reports wait for the store, the oldest for ${oldestSeconds} s`
  return trouble === undefined ? waiting : `${waiting}; ${trouble}`
}

function accountText(account: AccountView): string {
  const { currency } = account
  const parts = [
    pairs({
      account: account.id,
      status: account.status,
      ...(account.life && lifePairs(account.life)),
      money: `${account.money} ${currency}`,
      held: account.held,
      free: account.free,
      'credit limit': account.creditLimit,
      debt: account.debt,
      attributes: attributesText(account.attributes),
      'open sessions': String(account.openSessions),
      offers: account.subscriptions
        .map(({ offer, subscriber }) => (subscriber === '0' ? offer : `${offer} (${subscriber})`))
        .join(', '),
    }),
  ]
  if (account.subscribers.length > 0) {
    parts.push(
      table(
        ['subscriber', 'identities', 'attributes'],
        account.subscribers.map(({ id, identities, attributes, blocked }) => [
          id,
          identities.map(({ type, value }) => `${type} ${value}`).join(', '),
          [...(blocked ? ['blocked'] : []), attributesText(attributes)].join(' ').trim(),
        ]),
      ),
    )
  }
  if (account.buckets.length > 0) {
    parts.push(
      table(
        ['bucket', 'left', 'held', 'from', 'until', 'priority', 'offer', ''],
        account.buckets.map(bucket => [
          bucket.name,
          amountText(bucket.unit, bucket.amount, currency),
          amountText(bucket.unit, bucket.held, currency),
          bucket.from ?? '',
          endText(bucket),
          String(bucket.priority),
          bucket.origin,
          flagsText(bucket, currency),
        ]),
      ),
    )
  }
  if (account.counters.length > 0) parts.push(countersText(account.counters, currency))
  if (account.overrides.length > 0) parts.push(overridesText(account.overrides))
  if (account.optIns.length > 0) parts.push(optInsText(account.optIns))
  return parts.join('\n\n')
}

const attributesText = (attributes: Readonly<Record<string, string>>): string =>
  Object.entries(attributes)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ')

/** `5 GB`, `90 s`, `2.50 EUR`; a number alone when nobody knows what it counts. */
function amountText(unit: string | null, amount: number | string, currency: string): string {
  if (unit === 'money') return `${amount} ${currency}`
  const known = unit === 'units' || (unitTypes as readonly (string | null)[]).includes(unit)
  return known ? formatAmount(unit as UnitType | 'units', BigInt(amount)) : String(amount)
}

const spanText = (seconds: number): string => formatAmount('seconds', BigInt(Math.floor(seconds)))

function endText({ until, lifeSeconds }: BucketView): string {
  if (until !== null) return until
  return lifeSeconds === null ? 'no end' : `${spanText(lifeSeconds)} from first use`
}

function flagsText({ paid, blocker, warn, rollover, unit }: BucketView, currency: string): string {
  const amount = (value: number | string): string => amountText(unit, value, currency)
  return [
    ...(paid ? ['paid'] : []),
    ...(blocker ? ['blocker'] : []),
    ...(warn.length > 0 ? [`warns at ${warn.map(amount).join(', ')}`] : []),
    ...(rollover
      ? [`rolls over ${amount(rollover.min)} to ${amount(rollover.max)} for ${spanText(rollover.lifeSeconds)}`]
      : []),
  ].join('; ')
}

const countersText = (counters: readonly CounterView[], currency: string): string =>
  table(
    ['counter', 'subscriber', 'value', 'held', 'limit', 'since'],
    counters.map(({ name, subscriber, unit, value, held, limit, since }) => [
      name,
      scopeText(subscriber),
      amountText(unit, value, currency),
      amountText(unit, held, currency),
      limit === null ? 'none' : amountText(unit, limit, currency),
      since,
    ]),
  )

const scopeText = (subscriber: string): string => (subscriber === '0' ? 'all' : subscriber)

const overridesText = (overrides: readonly OverrideView[]): string =>
  table(
    ['override', 'kind', 'of', 'value', 'subscriber', 'from', 'until', 'in force', 'reason', 'by'],
    overrides.map(each => [
      each.id,
      each.kind,
      each.target,
      each.value,
      scopeText(each.subscriber ?? '0'),
      each.from ?? 'at once',
      each.until ?? 'no end',
      each.inForce ? 'yes' : 'no',
      each.reason,
      each.actor,
    ]),
  )

const optInsText = (optIns: readonly OptInView[]): string =>
  table(
    ['beyond the limit of', 'subscriber', 'until', 'in force'],
    optIns.map(({ counter, subscriber, until, inForce }) => [
      counter,
      scopeText(subscriber),
      until ?? 'no end',
      inForce ? 'yes' : 'no',
    ]),
  )

/** One call of the API. What is undefined in the body is left out. */
async function call<T>(
  options: Options,
  method: string,
  path: string,
  body?: object,
  { type = 'application/json', headers = {} }: CallOptions = {},
): Promise<T> {
  const { url, token } = target(options)
  let response: Response
  let text: string
  try {
    response = await fetch(new URL(path, url), {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body && { 'content-type': type }),
        ...(method === 'POST' && { 'idempotency-key': options.key ?? randomUUID() }),
        ...headers,
      },
      ...(body && { body: body instanceof ReadableStream ? body : JSON.stringify(body), duplex: 'half' }),
    })
    text = await response.text()
  } catch (error) {
    throw unreachable(url, error)
  }
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch {
    throw new Unreachable(`what answers at ${url} is no ocsd`)
  }
  if (!response.ok) throw new Refused(answer as Partial<ProblemDocument>)
  if (response.status === 202 && isHeld(answer)) throw new Held(answer)
  return answer as T
}

const isHeld = (answer: unknown): answer is Held['answer'] =>
  typeof answer === 'object' && answer !== null && 'approval' in answer && 'held' in answer

const keyed = (of: Command): Command =>
  of.option('--key <text>', 'Idempotency-Key: the same command with the same key is done once; a new one when absent')

const final = (of: Command): Command => of.option('--yes', 'do it without asking')

async function confirm({ yes }: Options, question: string): Promise<void> {
  if (yes) return
  if (!process.stdin.isTTY) throw new Usage(`${question} Say --yes to do it`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(`${question} [y/N] `)
  terminal.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new Refused({ detail: 'nothing was done' })
}

async function* download(options: Options, path: string, body?: object): AsyncGenerator<string> {
  const { url, token } = target(options)
  try {
    const response = await fetch(new URL(path, url), {
      method: body ? 'POST' : 'GET',
      headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    })
    if (!response.ok) throw new Refused((await response.json()) as Partial<ProblemDocument>)
    yield* response.body!.pipeThrough(new TextDecoderStream())
  } catch (error) {
    if (error instanceof Refused) throw error
    throw unreachable(url, error)
  }
}

function unreachable(url: string, error: unknown): Unreachable {
  const cause = (error as Error).cause
  const why = cause instanceof Error ? cause.message : (error as Error).message
  return new Unreachable(`ocsd does not answer at ${url}: ${why || 'no connection'}. Is it running? (make run)`)
}

/** JSON lines of an answer as they come. */
async function* stream(options: Options, path: string, body: object, signal: AbortSignal): AsyncGenerator {
  const { url, token } = target(options)
  let rest = ''
  try {
    const response = await fetch(new URL(path, url), {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal,
    })
    if (!response.ok) throw new Refused((await response.json()) as Partial<ProblemDocument>)
    for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split('\n')
      rest = lines.pop()!
      for (const line of lines) yield JSON.parse(line)
    }
  } catch (error) {
    if (signal.aborted) return
    if (error instanceof Refused || error instanceof SyntaxError) throw error
    throw unreachable(url, error)
  }
}

function target(options: Options): { url: string; token: string } {
  const { OCS_URL: url, OCS_TOKEN: token } = process.env
  if (url !== undefined && !URL.canParse(url)) throw new Usage(`OCS_URL is not a URL: ${url}`)
  if (url !== undefined && token !== undefined) return { url, token }
  const file = options.config ?? defaultConfig
  const outcome = loadConfig(file)
  if ('faults' in outcome) {
    throw new Usage(
      [`set OCS_URL and OCS_TOKEN, or name the daemon's configuration:`, ...outcome.faults.map(formatFault)].join('\n'),
    )
  }
  return { url: url ?? urlOf(outcome.config), token: token ?? tokenOf(outcome.config) }
}

/** A daemon that was given port 0 notes the one it got. */
function urlOf({ admin, data }: Config): string {
  const host = ['0.0.0.0', '::'].includes(admin.host) ? '127.0.0.1' : admin.host
  const port = admin.port === 0 ? notedPort(join(data, 'ports.json')) : admin.port
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function notedPort(file: string): number {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { readonly admin: number }).admin
  } catch {
    throw new Unreachable(`ocsd is not running: there is no ${file} with the port that it got`)
  }
}

function tokenOf({ admin }: Config): string {
  try {
    return readFileSync(admin.tokenFile, 'utf8').trim()
  } catch (error) {
    const why =
      (error as NodeJS.ErrnoException).code === 'ENOENT'
        ? 'the daemon makes it at its first start'
        : (error as Error).message
    throw new Unreachable(`no admin token in ${admin.tokenFile}: ${why}`)
  }
}

function put(options: Options, answer: object, text: () => string): void {
  if (options.json) print(answer)
  else process.stdout.write(`${text()}\n`)
}

const print = (answer: object): void => void process.stdout.write(`${JSON.stringify(answer)}\n`)

const complain = (message: string): void => void process.stderr.write(`ocsctl: ${message}\n`)

process.exitCode = await main()
