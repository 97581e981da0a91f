/**
 * Builds every part of the daemon from a Config and joins them. What it serves it serves from the moment `startDaemon`
 * resolves; what it cannot serve it refuses with a StartRefusal that says why and what to do.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import type { Logger } from 'pino'
import { currencyProblem } from './admin/account-terms.js'
import { startAdminApi } from './admin/api.js'
import { startHealth, type HttpService } from './admin/http.js'
import { openAccess } from './admin/open-access.js'
import { importRows } from './admin/import.js'
import { Readiness } from './admin/readiness.js'
import { readCsv } from './admin/rows.js'
import type {
  AuditView,
  BucketsOf,
  CatalogTexts,
  CatalogView,
  DiffOutcome,
  RatedSubject,
  RateOutcome,
  ReloadOutcome,
  StatusView,
} from './admin/services.js'
import { readOrMakeToken } from './admin/token.js'
import { RedisAccountList } from './balance/account-list.js'
import { RedisAccounts } from './balance/accounts.js'
import { Balance } from './balance/balance.js'
import { EventStore } from './balance/events.js'
import { DueLists } from './balance/due.js'
import { RedisFsck } from './balance/fsck.js'
import { Identities } from './balance/identities.js'
import { RedisKeptAnswers } from './balance/idempotency.js'
import { Journal } from './balance/journal.js'
import { partitionOf } from './balance/keys.js'
import { Leases } from './balance/leases.js'
import { Lives } from './balance/life.js'
import { Nodes } from './balance/nodes.js'
import { Programs } from './balance/programs.js'
import { Publications } from './balance/publications.js'
import { Needs } from './balance/reauth.js'
import { Restore } from './balance/restore.js'
import { Snapshot } from './balance/snapshot.js'
import { firstToClaim, onceForStore, originStateId, OriginStates } from './balance/node-state.js'
import { RedisSubscribers } from './balance/subscribers.js'
import { BalanceUnavailableError, Store, type StoreMetrics } from './balance/store.js'
import { SubscriptionStore } from './balance/subscriptions.js'
import { storedAhead, VirtualTime } from './balance/virtual-time.js'
import type { Accounts } from './balance/types.js'
import { ChargingFunction, type ChargingHints } from './charging/charging.js'
import { EventCharging } from './charging/events.js'
import { Expiry } from './charging/expiry.js'
import { GatewayRestarts } from './charging/gateway-restart.js'
import { OutageCharging } from './charging/outage.js'
import { QuoteError, Quotes } from './charging/quote.js'
import { Spool } from './charging/spool.js'
import { Reauthorisation } from './charging/reauthorisation.js'
import { ForwardClock, systemClock, type Clock } from './clock.js'
import type { Config, ListenAddress } from './config/config.js'
import { formatFault } from './config/yaml.js'
import { memoryInUse } from './diameter/admission.js'
import { currencyCode } from './currency.js'
import { loadDictionary } from './diameter/dictionary.js'
import { DiameterCounters } from './diameter/metrics.js'
import { MessagePrinter } from './diameter/print.js'
import { unknownOmitted } from './diameter/peer-table.js'
import { DiameterServer } from './diameter/server.js'
import { readTlsFiles, TlsFault, TlsFiles } from './diameter/tls.js'
import { audit } from './ledger/audit.js'
import { AccountEntries } from './ledger/account-entries.js'
import { LedgerIndex } from './ledger/account-index.js'
import { Consumers } from './ledger/consumers.js'
import { Nightly } from './ledger/nightly.js'
import { readIdentities, rebuild, type RebuildResult } from './ledger/rebuild.js'
import { eventSchema, eventTypeNames, rowOf } from './notification/event-types.js'
import { Notifications } from './notification/notifications.js'
import { CreditControl } from './gy/credit-control.js'
import { DiameterGateways } from './gy/server-initiated.js'
import { AccountHistory, timelineKinds } from './inquiry/account-history.js'
import { entryKinds, moves } from './inquiry/entry-words.js'
import { Explainer } from './inquiry/explain.js'
import { defaultJump, judgeCatalog, type Judgement } from './inquiry/judge.js'
import { rate } from './inquiry/rate.js'
import { readAccount, readTime, readUse, RequestProblem, type UseWords } from './inquiry/rate-request.js'
import type { Catalog } from './rating/catalog.js'
import { missingHeld } from './rating/held.js'
import { diffCatalogs, diffText } from './rating/diff.js'
import { CatalogFiles } from './publishing/catalog-files.js'
import { CatalogPublishing, readTexts } from './publishing/catalog-publishing.js'
import { loadCatalog, type CatalogOutcome } from './rating/load.js'
import { exchangeAt, exchangedRate, limitIn } from './rating/exchange.js'
import { moneyLevels } from './rating/thresholds.js'
import { newBuckets } from './rating/match.js'
import { compileRate } from './rating/price.js'
import { whyNotSold } from './rating/sale.js'
import { AutoCreation } from './subscription/auto-create.js'
import { pseudonymsOf } from './privacy/pseudonyms.js'
import { openPayments } from './recharge/open-payments.js'
import { joinMoney } from './recharge/money.js'
import { joinVouchers } from './recharge/vouchers.js'
import { LifeCycles } from './subscription/life-cycle.js'
import { Subscriptions } from './subscription/subscriptions.js'
import { startEmbeddedStore, type EmbeddedStore } from './store/embedded.js'
import { lockFolder } from './store/folder-lock.js'
import { mask, maskOf } from './telemetry/log.js'
import { Metrics } from './telemetry/metrics.js'
import { LedgerReports, localDay } from './report/daily.js'
import { TraceService } from './trace/service.js'
import { Tracing } from './trace/tracing.js'
import type { Micros, Millis } from './units.js'

export const version = '0.1.0'

/** Why the daemon does not start, a line each, in words for its operator. */
export class StartRefusal extends Error {
  constructor(readonly lines: readonly string[]) {
    super(lines.join('\n'))
  }
}

export interface Daemon {
  /** Where it listens, with the ports that the system picked for 0. */
  readonly addresses: {
    readonly diameter: readonly ListenAddress[]
    readonly diameterTls: readonly ListenAddress[]
    readonly admin: ListenAddress
    readonly metrics: ListenAddress
  }
  readonly accounts: Accounts
  /** Demo subscribers that this start put into a new embedded store. */
  readonly seeded: number
  /** Reads the catalog again, and the TLS files. */
  reload(): Promise<ReloadOutcome>
  /**
   * Serves what is in work and says good-bye to the peers, then ends everything. The data stays.
   *
   * @param deadlineMs how long requests in work may take
   */
  stop(deadlineMs?: number): Promise<void>
}

const storePatienceMs = 30_000
/** For the store's first sign of life; whoever supervises us starts us again. */
const firstAnswerMs = 10_000
const checkIntervalMs = 15_000
/** An attempt at a gateway lasts half a minute at most; what is older is of a daemon that died. */
const askedLostMs = 40_000
/** Between two of a session: what comes meanwhile is one more, not many. The second: its gateway has not reacted yet. */
const askedApartMs = [1_000, 5_000] as const
/** An operator waits so long for a gateway's answer. */
const askedPatienceMs = 5_000
const askedCommands = { reauthorise: ['RAR', 'reauth-all'], abort: ['ASR', 'abort'] } as const
/** For the work in the background after a drain, so that the whole stays near 10 s. */
const backgroundEndMs = 2_000
/** The import has no column for it. */
const suspendedDemoSubscriber = '491701000009'

export async function startDaemon(options: {
  readonly config: Config
  readonly log: Logger
  readonly clock?: Clock
  readonly logDropped?: () => number
}): Promise<Daemon> {
  const { config, log, clock: machine = systemClock } = options
  // Business time, which a test system may put forward; what belongs to the machine and its neighbours goes by `machine`.
  const forward = config.clock === 'virtual' ? new ForwardClock(machine) : undefined
  const clock: Clock = forward ?? machine
  const started = machine.now()
  const catalogFiles = new CatalogFiles(config.catalog, join(config.data, 'catalog'))
  refusing('catalog', () => catalogFiles.finish())
  let catalog = firstCatalog(config, log)
  let emptied = false
  makeDataFolder(config)
  const token = refusing('admin.tokenFile', () => readOrMakeToken(config.admin.tokenFile))
  const dictionary = refusing('diameter.dictionaries', () => loadDictionary(config.diameter.dictionaries))
  const unknownTypes = Notifications.faults(config.notifications)
  if (unknownTypes.length > 0) throw new StartRefusal(unknownTypes)
  const omitted = unknownOmitted(config.diameter.peers, dictionary)
  if (omitted.length > 0) throw new StartRefusal(omitted)

  const counters = new DiameterCounters(config.diameter.peers.map(({ name }) => name))
  const server: { current: DiameterServer | undefined } = { current: undefined }
  const metrics = new Metrics({
    version,
    diameter: counters,
    peers: () =>
      config.diameter.peers.map(({ name }) => ({
        name,
        connections: server.current?.connectionsOf(name) ?? 0,
      })),
  })
  metrics.operation.catalog = catalog.version
  metrics.charging.sold(catalog.services.keys())
  metrics.operation.logDropped = options.logDropped
  const tls = startTls(config, log, machine, counters)
  const readiness = new Readiness()
  readiness.set('starting', 'the daemon is starting')

  const endings: (() => Promise<void> | void)[] = []
  const end = async (): Promise<void> => {
    for (const ending of endings.splice(0).reverse()) await ending()
  }
  try {
    // Two daemons in one folder would share an identity, and so their leases and their ledger's files.
    const lock = refusing('data', () => lockFolder(config.data))
    endings.push(() => lock.release())
    const embedded = config.store.kind === 'embedded' ? await startEmbedded(config, log, machine) : undefined
    if (embedded) endings.push(() => embedded.stop())
    const store = await openStore(config, embedded, metrics.store, log, machine, endings)
    // Bulk reads have a connection of their own, so that no charge waits behind one.
    const background = await openStore(config, embedded, metrics.store.connection(), log, machine, endings)
    metrics.store.restarts = () => embedded?.restarts() ?? 0
    metrics.store.clockSkew = () => (store.offset === undefined ? undefined : store.offset / 1000)
    const { partitions } = config.store
    const balance = new Balance(store, partitions, config.charging, clock)
    const identities = new Identities(store, balance)
    const programs = new Programs(background, clock)
    endings.push(() => programs.close())
    const asking: { current: Reauthorisation | undefined } = { current: undefined }
    const asked = (member: string): void => asking.current?.begin(member)
    const lifeCycles: LifeCycles = new LifeCycles({
      lives: new Lives(store, partitions, clock, () => clock.now() - Date.now(), asked),
      accounts: () => accounts,
      ...{ catalog: () => catalog, clock, metrics: metrics.life },
    })
    const accounts = new RedisAccounts(store, partitions, config.charging, clock, undefined, asked, lifeCycles)
    const subscribers = new RedisSubscribers(store, partitions, clock, {
      ...{ onBlock: config.charging.onSuspend === 'wait' ? '' : 'reauth-all', asked },
    })
    const money = joinMoney({
      ...{ store, partitions, clock, accounts, asked, catalog: () => catalog },
      beforeRecharge: account => lifeCycles.beforeRecharge(account),
    })
    const vouchers = refusing('vouchers.keyFile', () =>
      joinVouchers({
        ...{ config: config.vouchers, store, partitions, accounts, clock, log, metrics: metrics.vouchers },
        ...{ credits: money.credits, catalog: () => catalog },
        notSold: (offer, account) => whyNotSold(catalog, offer, account.extras.attributes, clock.now()),
      }),
    )
    const journal = new Journal(background, partitions, machine)
    const id = daemonId(config)
    const leases = new Leases({ store: background, partitions, id, clock: machine, log })
    const paying = openPayments({
      ...{ config: config.payments, store, partitions, accounts, money, timezone: () => catalog.timezone },
      ...{ clock, now: () => machine.now(), metrics: metrics.operation },
      hint: (account, at) => expiry.hint(partitionOf(account, partitions), at),
    })
    const consumers = new Consumers({
      falling: config.payments.providers.length > 0 ? paying.falling : undefined,
      ...{ config, nodeId: config.diameter.identity, journal, leases, clock: machine, log },
      accountLines: ids => snapshot.accountLines(ids),
      ...{ metrics: metrics.ledger, cdrMetrics: metrics.cdr },
    })
    const notifications = new Notifications({
      ...{ config: config.notifications, store: background, journal, leases, id, clock: machine, log },
      ...{ levels: currency => moneyLevels(catalog, currency, clock.now()), metrics: metrics.notifications },
    })
    const appended = (partition: number): void => {
      consumers.hint(partition)
      notifications.hint(partition)
    }
    const offset = (): number => clock.now() - Date.now() // a business clock that is not the machine's
    const subscriptions = new Subscriptions({
      ...{ store: new SubscriptionStore(store, partitions, undefined, asked), accounts, catalog: () => catalog },
      ...{ clock, offset, metrics: metrics.subscriptions },
      stuck: (member, why) => log.error({ event: 'renewal_stuck', job: member.split(' ', 1)[0] }, why),
    })
    const dueLists = new DueLists(background, clock)
    const expiry: Expiry = new Expiry({
      due: dueLists,
      partitions,
      leases,
      identities,
      ask: async member => (await asking.current?.due(member)) ?? 'stuck',
      jobs: new Map([
        ...subscriptions.jobs(),
        ['life', (partition, member) => lifeCycles.job(partition, member)],
        ['transfer', (_, member) => money.transfers.job(member)],
        ...paying.jobs,
        ['voucher', (_, member) => vouchers.redemption.finishDue(member)],
        ['identity', (_, member) => subscribers.resume(member)],
        ['move', (_, member) => subscribers.resume(member)],
      ]),
      keepSilentMs: config.charging.keepSilentMs,
      clock,
      log,
      metrics: metrics.expiry,
      offset,
      appended,
    })
    metrics.ledger.backlog = () => consumers.ledger.backlog.entries
    metrics.cdr.backlog = () => consumers.cdrBacklog
    metrics.charging.sessionsOpen = () => expiry.sessionsOpen
    await consumers.open().catch((error: unknown) => {
      throw new StartRefusal([messageOf(error)])
    })
    // A failover is a pause that requests outlast: it counts when it has lasted longer than they wait.
    readiness.watch('store', () => {
      if (store.downMs > config.charging.holdBudgetMs) return 'the store is not connected'
      return store.downMs === 0 ? embedded?.trouble() : undefined
    })

    const hints: ChargingHints = {
      entry: account => appended(partitionOf(account, partitions)),
      due: (account, at) => expiry.hint(partitionOf(account, partitions), at),
    }
    const autoCreation = new AutoCreation({
      accounts,
      catalog: () => catalog,
      bucketsOf: (offer, now, currency) => newBuckets(catalog, offer, now, currency),
      clock,
      created: rule => metrics.life.created(rule),
    })
    const charging = new ChargingFunction({
      balance,
      identities,
      config: config.charging,
      clock,
      metrics: metrics.charging,
      hints,
      descriptions: programs,
      events: new EventCharging({
        balance,
        store: new EventStore(store, partitions, config.charging, member => asking.current?.begin(member)),
        identities,
        config: config.charging,
        clock,
        metrics: metrics.charging,
        hints,
        texts: programs,
      }),
      catalog: () => catalog,
      trusted: () => !emptied,
      autoCreate: identities => autoCreation.create(identities),
    })
    const spool = new Spool({
      directory: join(config.data, 'spool'),
      mostOctets: config.charging.spoolOctets,
      clock,
      log,
      metrics: metrics.spool,
    })
    refusing('data', () => spool.load())
    const outage = new OutageCharging({
      charging,
      spool,
      ready: () => store.ready && !emptied,
      clock,
      log,
      metrics: metrics.spool,
    })
    outage.start()
    endings.push(() => outage.stop())
    metrics.spool.entries = () => spool.entries
    const spoolAgeMs = (): number => (spool.oldestAt === undefined ? 0 : Math.max(0, clock.now() - spool.oldestAt))
    metrics.spool.oldestMs = spoolAgeMs
    readiness.watch('spool', () => spool.trouble)
    const snapshot = new Snapshot(background, partitions, clock)
    const restarts = new GatewayRestarts({
      states: new OriginStates(background),
      openSessions: () => snapshot.openSessions(),
      release: (sessionId, actor) => accounts.release(sessionId, actor),
      clock,
      log,
    })
    const nodes = new Nodes({
      ...{ config: config.store, address: embedded ? { socket: embedded.socket } : {} },
      ...{ store: background, id, clock, log },
    })
    const tracing = new Tracing({ daemon: id, host: config.diameter.identity, dictionary, bus: nodes, clock: machine })
    const pseudonym = refusing('data', () => pseudonymsOf(join(config.data, 'pseudonym.key')))
    const traces = new TraceService({
      pseudonym,
      ...{ tracing, log, clock: machine, mask: maskOf(config.log) },
      file: join(config.data, 'trace-audit.jsonl'),
      printer: new MessagePrinter(dictionary, currencyCode),
    })
    const diameter = new DiameterServer({
      tap: tracing,
      onPeer: (peer, originStateId) => {
        // A relay's id says nothing about the gateways behind it.
        if (peer.relay) return
        restarts.connected(peer.originHost, originStateId).catch((error: unknown) => {
          log.error(
            { event: 'gateway_restart_failed', err: error },
            'sessions of a restarted gateway end by silence only',
          )
        })
      },
      config: config.diameter,
      tls,
      dictionary,
      applications: [
        new CreditControl({
          dictionary,
          diameter: config.diameter,
          config: config.charging,
          charging: outage,
          metrics: metrics.ccr,
          clock,
          // Gateways date their requests by real time.
          believesTimestamps: forward === undefined,
        }),
      ],
      log,
      metrics: counters,
      clock: machine,
      holdBudgetMs: config.charging.holdBudgetMs,
      memory: memoryInUse,
      originStateId: await originStateId(store, machine.now(), machine.monotonic() + storePatienceMs),
    })
    server.current = diameter
    counters.load = () => diameter.load
    const needs = new Needs({ store: background, partitions, clock, lostMs: askedLostMs, apartMs: askedApartMs })
    const reauthorisation = new Reauthorisation({
      ...{ needs, nodes, id, clock, log },
      gateways: new DiameterGateways(diameter, config.diameter),
      release: (sessionId, actor) => accounts.release(sessionId, actor),
      metrics: metrics.asked,
    })
    asking.current = reauthorisation
    const virtual =
      forward && new VirtualTime({ store: background, nodes, clock: forward, log, jumped: () => void expiry.round() })
    endings.push(() => virtual?.stop())
    await virtual?.start()
    if (!virtual && (await storedAhead(background)) > 0)
      throw new StartRefusal([
        "clock: this store's business time was put forward: start with clock: virtual, or with a new store",
      ])
    const bucketsOf: BucketsOf = (offer, now, currency) => newBuckets(catalog, offer, now, currency)

    const quotes = new Quotes(balance, config.charging, clock)
    /** All that speaks against a catalog that was read: its own faults, its tests, what accounts hold that it lacks. */
    const judge = async (outcome: CatalogOutcome, jump = defaultJump): Promise<Judgement> => {
      try {
        const running = { catalog, jump }
        return await judgeCatalog(outcome, { quotes, census: await accounts.census(), running })
      } catch (error) {
        if (!(error instanceof BalanceUnavailableError)) throw error
        const fault = 'the store does not say which offers and buckets accounts hold: try again when it answers'
        return { faults: [fault], warnings: [] }
      }
    }
    const readGiven = (given: CatalogTexts | undefined): CatalogOutcome =>
      given ? readTexts(given) : loadCatalog(config.catalog)
    const check = async (given?: CatalogTexts, jump?: number): Promise<ReloadOutcome> => {
      const next = await judge(readGiven(given), jump)
      if ('faults' in next) return { status: 'refused', version: catalog.version, ...next }
      const { version } = next.catalog
      return { status: version === catalog.version ? 'unchanged' : 'loaded', version, warnings: next.warnings }
    }
    const diff = async (given?: CatalogTexts): Promise<DiffOutcome> => {
      const outcome = readGiven(given)
      if ('faults' in outcome)
        return { status: 'refused', version: catalog.version, faults: outcome.faults.map(formatFault) }
      const found = diffCatalogs(catalog, outcome.catalog, (await accounts.census()).offers)
      return { status: 'compared', diff: found, text: diffText(found) }
    }
    const rateUse = async (whose: RatedSubject, words: UseWords): Promise<RateOutcome> => {
      try {
        const use = readUse(catalog, words, clock.now())
        if ('described' in whose) {
          const subject = { kind: 'described' as const, account: readAccount(catalog, whose.described) }
          return { status: 'rated', rated: await rate(catalog, quotes, subject, use) }
        }
        const state = await balance.stateOf(whose.account, clock.monotonic() + storePatienceMs)
        if (!state) return { status: 'no_account' }
        return { status: 'rated', rated: await rate(catalog, quotes, { kind: 'account', ...whose, state }, use) }
      } catch (error) {
        if (!(error instanceof RequestProblem || error instanceof QuoteError)) throw error
        return { status: 'impossible', why: error.message }
      }
    }
    const explainer = new Explainer({
      ...{ journal, programs, identities, accounts, clock },
      directory: config.journal.directory,
    })
    const { directory } = config.journal
    const ledgerIndex = new LedgerIndex({ directory, clock, log })
    const entries = new AccountEntries({ journal, index: ledgerIndex, directory })
    const history = new AccountHistory({
      ...{ entries, programs, accounts, clock },
      inForce: at => publishing.inForce(at),
    })
    const publishing = new CatalogPublishing({
      publications: new Publications(background),
      ...{ files: catalogFiles, path: config.catalog, nodes, clock, log },
      inUse: () => catalog,
      use: next => {
        catalog = next
        metrics.operation.catalog = next.version
        metrics.charging.sold(next.services.keys())
      },
      judge: outcome => judge(outcome),
      lacking: async next => missingHeld(next, await accounts.census()),
      reloaded: result => metrics.operation.catalogReload(result),
      published: version => notifications.catalogPublished(version),
    })
    const reload = (): Promise<ReloadOutcome> => publishing.reload()

    const atStart = await judgeCatalog({ catalog, warnings: [] }, { quotes })
    if ('faults' in atStart) throw new StartRefusal(atStart.faults)
    endings.push(() => publishing.stop())
    await publishing.start()

    const seeded = await seed(config, accounts, bucketsOf, subscriptions, catalog, clock, store, log)

    // A reload would be refused; a start goes on, as what they lack is skipped and nobody is served worse than by no daemon.
    for (const missing of missingHeld(catalog, await accounts.census()))
      log.warn({ event: 'catalog_lacks_held' }, missing)

    await leases.start()
    endings.push(() => leases.stop())
    consumers.start()
    endings.push(() => consumers.stop())
    await notifications.start()
    endings.push(() => notifications.stop())
    notifications.catalogPublished(catalog.version)
    ledgerIndex.start()
    endings.push(() => ledgerIndex.stop())
    nodes.start()
    endings.push(() => nodes.stop())
    endings.push(() => reauthorisation.stop())
    expiry.start()
    endings.push(() => expiry.stop())

    const proveBalances = async (full = false): Promise<AuditView> => {
      const directories = [config.journal.directory, ...config.journal.archive]
      const [began, state] = [machine.monotonic(), join(config.data, 'audit', 'state.jsonl')]
      const result = await audit({ directories, journal, snapshot, state, full, now: machine.now() })
      metrics.ledger.audited(result.problemCount, machine.now(), machine.monotonic() - began)
      if (!result.ok)
        log.error(
          { event: 'audit_failed', problems: result.problemCount, first: result.problems[0] },
          'the ledger and the balances differ',
        )
      return {
        accounts: result.accounts,
        entries: result.entries,
        ...(result.since !== undefined && { since: new Date(result.since).toISOString() }),
        violations: result.problems.map(({ account, what, where }) => `account ${account}: ${what} (${where})`),
      }
    }

    const nightly = new Nightly({
      ...{ at: config.audit.at, timezone: () => catalog.timezone, clock, log, work: () => proveBalances() },
      claim: day => firstToClaim(background, `audit:${day}`, id, machine.monotonic() + storePatienceMs),
    })
    nightly.start()
    endings.push(() => nightly.stop())

    const reports = new LedgerReports({
      directories: [config.journal.directory, ...config.journal.archive],
      timezone: () => catalog.timezone,
    })

    const status = (): StatusView => ({
      version,
      started,
      identity: config.diameter.identity,
      realm: config.diameter.realm,
      diameter: [
        ...addresses.diameter.map(({ host, port }) => `${host}:${port}`),
        ...addresses.diameterTls.map(({ host, port }) => `${host}:${port} (TLS)`),
      ],
      store: config.store.kind,
      durability: config.store.durability,
      catalog: catalog.version,
      ready: readiness.reasons().length === 0,
      reasons: readiness.reasons(),
      spool: {
        entries: spool.entries,
        oldestSeconds: Math.round(spoolAgeMs() / 1000),
        trouble: spool.trouble,
      },
    })
    const health = await listening(startHealth({ listen: config.metrics, readiness, metrics }), endings)
    const access = await openAccess({
      ...{ token: token.token, config: config.admin, store: background, daemon: id, clock: machine, mask },
      ...{ folder: join(config.data, 'auditlog'), metrics: metrics.operation },
    }).catch((error: unknown) => {
      throw new StartRefusal([`auditlog, or admin.oidc: ${messageOf(error)}`])
    })
    endings.push(() => access.close())
    const api = await listening(
      startAdminApi({
        listen: config.admin,
        version,
        log,
        clock,
        services: {
          ...access.services,
          pseudonym,
          forgetOld: () => background.rewriteFile(),
          payments: paying.payments,
          automaticRecharges: paying.automatic,
          accounts,
          newBuckets: bucketsOf,
          catalog: () => catalogView(catalog),
          tariff: () => catalog,
          priceProblem: (rate, price, currency) => priceProblem(catalog, rate, price, currency, clock.now()),
          limitIn: (counter, currency) => limitIn(catalog, counter, currency, clock.now()),
          localTime: text => readTime(text, catalog.timezone),
          reload,
          check,
          diff,
          rate: rateUse,
          explain: query => explainer.explain(query),
          notifications,
          eventTypes: () => ({
            types: eventTypeNames.map(type => ({ type, ...rowOf(type) })),
            schema: eventSchema(),
          }),
          history,
          publishing,
          historyKinds: { ledger: [...entryKinds, ...moves], timeline: timelineKinds },
          audit: proveBalances,
          reports,
          localDay: daysAgo => localDay(catalog.timezone, clock.now(), daysAgo),
          peers: () => ({
            rows: config.diameter.peers,
            connected: diameter.peers(),
            absent: diameter.absent(),
            strangers: diameter.strangers(),
            dialled: diameter.dialled(),
          }),
          callPeer: (originHost, actor) => {
            log.info({ event: 'peer_called', 'Origin-Host': originHost, actor }, 'a peer is called by command')
            return diameter.call(originHost)
          },
          startTrace: (request, reader) => traces.start(request, reader),
          showMessage: message => traces.show(message),
          closePeer: (originHost, actor) => {
            log.warn({ event: 'peer_closed', 'Origin-Host': originHost, actor }, 'a peer is told good-bye by command')
            return diameter.disconnect(originHost)
          },
          status,
          lifeCycles,
          businessClock: {
            ahead: () => forward?.offset,
            move: target => virtual!.move(target),
            settle: patienceMs => expiry.settle(patienceMs),
          },
          sessionCommands: {
            one: (command, sessionId) => reauthorisation.ask(sessionId, askedCommands[command][0], askedPatienceMs),
            account: async (command, account) => {
              const word = askedCommands[command][1]
              await needs.askAccount(word, account, clock.now())
              reauthorisation.begin(`${word} ${account}`)
            },
            all: async (command, perSecond) => {
              const asked = await needs.askAll(askedCommands[command][1], clock.now(), 1000 / perSecond)
              void expiry.round()
              return asked
            },
            audit: fields => log.info({ event: 'session_command', ...fields }, 'gateways are asked by command'),
          },
          subscriptions,
          jobs: {
            page: (after, limit, wanted) => dueLists.page(partitions, after, limit, wanted),
            stuck: () => expiry.stuck,
            due: member => dueLists.at(partitionOf(member.split(' ')[1] ?? '', partitions), member),
            run: member => expiry.run(partitionOf(member.split(' ')[1] ?? '', partitions), member),
          },
          voucherBatches: vouchers.batches,
          voucherRedemption: vouchers.redemption,
          recharges: money.recharges,
          adjustments: money.adjustments,
          transfers: money.transfers,
          recharged: (channel, result) => metrics.operation.recharge(channel, result),
          subscribers,
          accountList: new RedisAccountList(background, partitions, accounts),
          fsck: new RedisFsck(background, partitions, subscribers),
          keptAnswers: new RedisKeptAnswers(store, config.admin.idempotencyKeepMs),
        },
      }),
      endings,
    )
    endings.push(() => tracing.close())
    // Last of all: who reaches the Diameter port is served.
    const listeners = await diameter.listen().catch((error: unknown) => {
      throw new StartRefusal([messageOf(error)])
    })
    endings.push(() => diameter.close())
    tls?.watch(config.diameter.identity)
    endings.push(() => tls?.stop())
    const addresses = {
      diameter: listeners.filter(each => !each.tls).map(({ host, port }) => ({ host, port })),
      diameterTls: listeners.filter(each => each.tls).map(({ host, port }) => ({ host, port })),
      admin: { host: config.admin.host, port: api.port },
      metrics: { host: config.metrics.host, port: health.port },
    }
    writePorts(config, addresses)
    endings.push(() => rmSync(portsFile(config), { force: true }))
    watchStore(store, readiness, metrics, log, clock, endings, gone => (emptied = gone))
    readiness.set('starting', undefined)

    let stopping: Promise<void> | undefined
    const stop = async (deadlineMs: number): Promise<void> => {
      readiness.set('draining', 'the daemon is shutting down')
      metrics.operation.draining = true
      await diameter.drain(deadlineMs)
      // A store that does not answer holds up nobody: what is not written yet stays in it, and leases run out.
      const timer = clock.setTimeout(() => void background.close(), backgroundEndMs)
      await end()
      clock.clearTimeout(timer)
    }
    return {
      addresses,
      accounts,
      seeded,
      reload: () => {
        tls?.reload()
        return reload()
      },
      stop: (deadlineMs = config.charging.holdBudgetMs) => (stopping ??= stop(deadlineMs)),
    }
  } catch (error) {
    await end()
    throw error
  }
}

/**
 * Fills the store of the configuration, which must be empty, from the ledger and the states beside it. No daemon may run on it.
 *
 * @param identitiesFile JSON lines of the export, when subscribers are to be found again
 * @throws StartRefusal when it cannot, or must not, be done
 */
export async function rebuildStore(
  config: Config,
  identitiesFile: string | undefined,
  log: Logger,
): Promise<RebuildResult> {
  makeDataFolder(config)
  const endings: (() => Promise<void> | void)[] = []
  try {
    const lock = refusing('data', () => lockFolder(config.data))
    endings.push(() => lock.release())
    const embedded = config.store.kind === 'embedded' ? await startEmbedded(config, log, systemClock) : undefined
    if (embedded) endings.push(() => embedded.stop())
    const store = await openStore(
      config,
      embedded,
      new Metrics({ version, diameter: new DiameterCounters([]), peers: () => [], runtime: false }).store,
      log,
      systemClock,
      endings,
    )
    const { partitions } = config.store
    const restore = new Restore(store, partitions, systemClock)
    if (!(await restore.isEmpty()))
      throw new StartRefusal([
        `${storeName(config)} has accounts or ledger entries already: only an empty one is filled`,
      ])
    const archive = config.journal.archive
    return await rebuild({
      ledgers: [config.journal.directory, ...archive],
      states: [config.journal.states, ...archive],
      identities: identitiesFile === undefined ? new Map() : await readIdentities(identitiesFile),
      accounts: accounts => restore.accounts(accounts),
      references: references => restore.references(references),
    })
  } catch (error) {
    throw error instanceof StartRefusal ? error : new StartRefusal([messageOf(error)])
  } finally {
    for (const ending of endings.reverse()) await ending()
  }
}

function startTls({ diameter }: Config, log: Logger, clock: Clock, metrics: DiameterCounters): TlsFiles | undefined {
  if (!diameter.tls) return undefined
  try {
    return new TlsFiles({ config: diameter.tls, clock, log, metrics })
  } catch (error) {
    if (error instanceof TlsFault) throw new StartRefusal(error.lines)
    throw error
  }
}

/** What a start would refuse of Diameter, besides what stands in the configuration: dictionaries, profiles, TLS files. */
export function diameterFaults({ diameter }: Config, now: Millis): readonly string[] {
  try {
    const dictionary = refusing('diameter.dictionaries', () => loadDictionary(diameter.dictionaries))
    if (diameter.tls) readTlsFiles(diameter.tls, now)
    return unknownOmitted(diameter.peers, dictionary)
  } catch (error) {
    if (error instanceof StartRefusal || error instanceof TlsFault) return error.lines
    throw error
  }
}

function firstCatalog(config: Config, log: Logger): Catalog {
  const outcome = loadCatalog(config.catalog)
  if ('faults' in outcome) throw new StartRefusal(outcome.faults.map(formatFault))
  for (const warning of outcome.warnings) log.warn({ event: 'catalog_warning' }, formatFault(warning))
  return outcome.catalog
}

function makeDataFolder({ data }: Config): void {
  try {
    mkdirSync(data, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new StartRefusal([`data: the folder ${data} cannot be made: ${messageOf(error)}; name another one`])
  }
}

async function startEmbedded(config: Config, log: Logger, clock: Clock): Promise<EmbeddedStore> {
  try {
    return await startEmbeddedStore({ dataDir: config.data, durability: config.store.durability, log, clock })
  } catch (error) {
    throw new StartRefusal([messageOf(error)])
  }
}

/** One connection to the store, checked: what it is set to must be what the configuration promises. */
async function openStore(
  config: Config,
  embedded: EmbeddedStore | undefined,
  metrics: StoreMetrics,
  log: Logger,
  clock: Clock,
  endings: (() => Promise<void> | void)[],
): Promise<Store> {
  const store = new Store({
    config: config.store,
    address: embedded ? { socket: embedded.socket } : {},
    log,
    metrics,
    clock,
  })
  endings.push(() => store.close())
  try {
    await store.open(firstAnswerMs)
  } catch (error) {
    if (!(error instanceof BalanceUnavailableError)) throw error
    throw new StartRefusal([
      `no store: nothing answers at ${storeName(config)} within ${firstAnswerMs / 1000} s; is Redis running there?`,
    ])
  }
  const { refusals, warnings } = await store.check(clock.monotonic() + storePatienceMs)
  if (refusals.length > 0) throw new StartRefusal(refusals)
  for (const warning of warnings) log.warn({ event: 'store_warning' }, warning)
  return store
}

function storeName({ store }: Config): string {
  if (store.kind === 'embedded') return 'the embedded store'
  if (store.kind === 'sentinel') return `the Sentinels of ${store.sentinel!.name}`
  const url = new URL(store.url!)
  return `${url.protocol}//${url.host}`
}

/** Looks now and then whether the store still is what it was at the start: settings, and that nobody emptied it. */
function watchStore(
  store: Store,
  readiness: Readiness,
  metrics: Metrics,
  log: Logger,
  clock: Clock,
  endings: (() => void)[],
  tellEmptied: (emptied: boolean) => void,
): void {
  let ended = false
  let timer = clock.setTimeout(look, checkIntervalMs)
  function look(): void {
    store
      .state(clock.monotonic() + 2000)
      .then(({ emptied, refusals }) => {
        tellEmptied(emptied)
        metrics.store.durabilityOk = refusals.length === 0
        readiness.set(
          'store-data',
          emptied ? 'the store was emptied: its data must be restored, and the daemon restarted' : undefined,
        )
        if (emptied)
          log.error(
            { event: 'store_emptied' },
            'the store lost what was in it; nothing is charged until it is restored',
          )
        if (refusals.length > 0)
          log.error({ event: 'store_weaker', refusals }, 'the store no longer keeps what the configuration promises')
      })
      .catch(() => undefined)
      .finally(() => {
        if (!ended) timer = clock.setTimeout(look, checkIntervalMs)
      })
  }
  endings.push(() => {
    ended = true
    clock.clearTimeout(timer)
  })
}

/** The demo subscribers of the configuration's folder go into a new embedded store, once. */
async function seed(
  config: Config,
  accounts: Accounts,
  bucketsOf: BucketsOf,
  subscriptions: Subscriptions,
  catalog: Catalog,
  clock: Clock,
  store: Store,
  log: Logger,
): Promise<number> {
  const file = join(dirname(config.file), 'demo.csv')
  if (config.store.kind !== 'embedded' || !existsSync(file)) return 0
  let created = 0
  await onceForStore(store, 'demo', clock.monotonic() + storePatienceMs, async () => {
    const report = await importRows(readCsv(Readable.from([readFileSync(file)])), {
      accounts,
      newBuckets: bucketsOf,
      openingOf: (offer, currency, now) => subscriptions.opening(offer, { currency, extras: { overrides: [] } }, now),
      offers: [...catalog.offers.keys()],
      currencyProblem: currency => currencyProblem(currency, catalogView(catalog)),
      now: () => clock.now(),
      isUnavailable: error => error instanceof BalanceUnavailableError,
    })
    for (const { line, reason } of report.errors) log.warn({ event: 'demo_row', line }, `${file}:${line}: ${reason}`)
    const suspended = await accounts.find({ type: 'msisdn', value: suspendedDemoSubscriber })
    if (suspended) await accounts.setStatus(suspended.account.id, 'suspended', 'demo')
    created = report.created
  })
  return created
}

async function listening(service: Promise<HttpService>, endings: (() => Promise<void> | void)[]): Promise<HttpService> {
  try {
    const up = await service
    endings.push(() => up.close())
    return up
  } catch (error) {
    throw new StartRefusal([messageOf(error)])
  }
}

/** Tells this daemon from others on the same store, over its restarts. */
function daemonId(config: Config): string {
  const file = join(config.data, 'daemon.id')
  try {
    writeFileSync(file, `${randomUUID()}\n`, { flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readFileSync(file, 'utf8').trim()
}

const portsFile = (config: Config): string => join(config.data, 'ports.json')

/** Where a configuration says port 0, others find the port here. */
function writePorts(config: Config, addresses: Daemon['addresses']): void {
  const ports = {
    diameter: addresses.diameter.map(({ port }) => port),
    ...(addresses.diameterTls.length > 0 && { diameterTls: addresses.diameterTls.map(({ port }) => port) }),
    admin: addresses.admin.port,
    metrics: addresses.metrics.port,
    pid: process.pid,
  }
  writeFileSync(portsFile(config), `${JSON.stringify(ports)}\n`)
}

/** A price of one account must be as exact as those of the catalog. */
function priceProblem(
  catalog: Catalog,
  rate: string,
  amount: Micros,
  currency: string,
  now: Millis,
): string | undefined {
  const { exchange } = exchangeAt(catalog, currency, now)
  const written = catalog.rates.get(rate)!
  const converted = exchange ? exchangedRate(written, exchange) : { rate: written }
  const { terms } = 'rate' in converted ? converted.rate : written
  const outcome = compileRate({ ...terms, tiers: terms.tiers.map(tier => ({ ...tier, amount })) })
  return 'rate' in outcome ? undefined : `${outcome.problem}; ${outcome.hint}`
}

function catalogView(catalog: Catalog): CatalogView {
  return {
    version: catalog.version,
    currency: catalog.currency,
    tax: catalog.tax ?? null,
    exchanged: [...catalog.exchange.keys()],
    offers: [...catalog.offers.values()].map(({ name, rank, grants }) => ({
      name,
      rank,
      buckets: grants.map(({ bucket }) => bucket),
    })),
  }
}

/** What goes wrong while a part is built from the configuration is told to the operator, not thrown at him. */
function refusing<T>(key: string, build: () => T): T {
  try {
    return build()
  } catch (error) {
    throw new StartRefusal(
      messageOf(error)
        .split('\n')
        .map(line => `${key}: ${line}`),
    )
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
