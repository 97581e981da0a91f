#!/usr/bin/env node
/**
 * `make demo`: a simulated gateway plays two prepaid sessions against the running daemon and tells what is said, and what
 * it does to the subscribers' accounts. May be run again and again: it starts from whatever the accounts have.
 * Exit status: 0 told to its end, 1 the daemon or its accounts are not as the story needs them, 2 usage, 3 no daemon.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs, stripVTControlCharacters } from 'node:util'
import type { Config } from '../config/config.js'
import { loadConfig } from '../config/load.js'
import { formatFault } from '../config/yaml.js'
import { loadDictionary } from '../diameter/dictionary.js'
import { formatMoney, micros, type Micros } from '../units.js'
import { AdminClient, AdminRefusal, type AccountShown } from './admin-client.js'
import { ConnectionLostError, Gateway, NoAnswerError, type Address } from './gateway.js'
import { GatewaySession, type Exchange, type SessionOptions } from './session.js'
import { amountName, answerInWords, requestInWords, type Saying } from './words.js'

const usage = `usage: demo [--config FILE]

  --config FILE   the running daemon's configuration (default: the file named by OCS_CONFIG, else config/ocs.yaml)`

const bundleSubscriber = '491701000004'
const poorSubscriber = '491701000007'
const MB = 1_000_000n
/** What the second story needs at its start, and brings in by its recharge: it ends as it began. */
const poorStart = micros(50_000)
const rechargeAmount = micros(250_000)
/** Above this the subscriber would be busy for long until the money runs out. */
const tooRich = micros(5_000_000)
const retryMs = 1000
/** Of many like exchanges in a row so many are told in full. */
const toldInFull = 4

/** Something is not as the story needs it; the message says what to do. */
class CannotTell extends Error {
  constructor(
    readonly exitCode: 1 | 2 | 3,
    message: string,
  ) {
    super(message)
  }
}

interface Place {
  readonly diameter: Address
  readonly admin: Address
  readonly realm: string
  readonly token: string
  readonly dictionaries: readonly string[]
}

async function main(): Promise<number> {
  try {
    const place = findDaemon()
    const admin = new AdminClient(`http://${hostPort(place.admin)}`, place.token)
    await tell(place, admin)
    return 0
  } catch (error) {
    const trouble = troubleOf(error)
    if (!trouble) throw error
    print('')
    print(`${red('demo:')} ${trouble.message}`)
    return trouble.exitCode
  }
}

function troubleOf(error: unknown): CannotTell | undefined {
  if (error instanceof CannotTell) return error
  if (error instanceof AdminRefusal) {
    if (error.status === 0) return notRunning(error.message)
    if (error.status === 401) {
      return new CannotTell(
        1,
        'the admin API refuses the token of admin.tokenFile: is this the configuration that the daemon runs with?',
      )
    }
    return new CannotTell(1, `the admin API refuses: ${error.message}`)
  }
  if (error instanceof ConnectionLostError || error instanceof NoAnswerError) {
    return new CannotTell(
      3,
      `ocsd was lost in the middle of the story (${error.message}). Start it again with \`make run\`, then run the demo again.`,
    )
  }
  return undefined
}

const notRunning = (why: string): CannotTell =>
  new CannotTell(
    3,
    `ocsd is not running (${why}). Start it with \`make run\` in another terminal, then run \`make demo\` again.`,
  )

// ------------------------------------------------------------------------------------------------------- where it is

function findDaemon(): Place {
  const config = readConfiguration()
  const ports = readPorts(config)
  const listen = config.diameter.listen.find(point => 'port' in point)
  const diameterPort = ports?.diameter[0] ?? listen?.port ?? 3868
  const adminPort = ports?.admin ?? config.admin.port
  if (diameterPort === 0 || adminPort === 0 || !existsSync(config.admin.tokenFile))
    throw notRunning('it has left no trace in its data folder')
  let token: string
  try {
    token = readFileSync(config.admin.tokenFile, 'utf8').trim()
  } catch {
    throw new CannotTell(1, `${config.admin.tokenFile} cannot be read: run the demo as the user that runs ocsd`)
  }
  return {
    diameter: { host: reachable(listen?.host ?? '127.0.0.1'), port: diameterPort },
    admin: { host: reachable(config.admin.host), port: adminPort },
    realm: config.diameter.realm,
    token,
    dictionaries: config.diameter.dictionaries,
  }
}

function readConfiguration(): Config {
  let file: string | undefined
  try {
    const { values } = parseArgs({ options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' } } })
    if (values.help) {
      print(usage)
      process.exit(0)
    }
    file = values.config
  } catch (error) {
    throw new CannotTell(2, `${messageOf(error)}\n${usage}`)
  }
  const outcome = loadConfig(resolve(file ?? process.env['OCS_CONFIG'] ?? 'config/ocs.yaml'))
  if ('faults' in outcome) throw new CannotTell(2, outcome.faults.map(formatFault).join('\n'))
  return outcome.config
}

/** Where the configuration says port 0, the running daemon has written which it got. */
function readPorts(config: Config): { diameter: number[]; admin: number } | undefined {
  try {
    return JSON.parse(readFileSync(join(config.data, 'ports.json'), 'utf8')) as { diameter: number[]; admin: number }
  } catch {
    return undefined
  }
}

/** Who listens on all addresses is reached on the loopback. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}

const hostPort = ({ host, port }: Address): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

// --------------------------------------------------------------------------------------------------------- the story

async function tell(place: Place, admin: AdminClient): Promise<void> {
  await prepare(admin, bundleSubscriber, 'bundle-5gb', '15.00')
  await prepare(admin, poorSubscriber, 'payg', formatMoney(poorStart))

  print('')
  print(bold('A gateway, two prepaid subscribers, and ocsd between them'))
  explain(
    'The gateway carries mobile data. Before it lets any of it pass it asks ocsd, in Diameter messages: CCR is its ' +
      'question (I: initial, U: update, T: terminate), CCA the answer. Rating groups are kinds of traffic. What a grant ' +
      'would cost is held on the account, so that no other session can spend it; what was used is then taken.',
  )
  const gateway = new Gateway({
    dictionary: loadDictionary(place.dictionaries),
    originHost: `demo-gateway.${place.realm}`,
    originRealm: place.realm,
    destinationRealm: place.realm,
  })
  print('')
  say('gateway', { text: `Hello, I am ${gateway.originHost}.`, note: 'CER' })
  const connection = await gateway.connect(place.diameter).catch((error: unknown) => {
    const why = messageOf(error)
    if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED')
      throw notRunning(`nothing answers at ${hostPort(place.diameter)}`)
    throw new CannotTell(
      1,
      `${why}. Does \`diameter.peers\` in the configuration let ${gateway.originHost} in from this machine?`,
    )
  })
  say('ocsd', { text: `Welcome, I am ${connection.cea?.text('Origin-Host') ?? 'ocsd'}.`, note: 'CEA 2001 success' })

  await tellOfBundle(gateway, admin)
  await tellOfMoney(gateway, admin)

  print('')
  say('gateway', { text: 'Good-bye.', note: 'DPR' })
  await gateway.disconnect()
  say('ocsd', { text: 'Good-bye.', note: 'DPA 2001 success' })
  print('')
  print(bold('Look for yourself'))
  print(`  node dist/ocsctl.js show subscriber ${poorSubscriber}    the account`)
  print('  node dist/ocsctl.js audit                          proves every balance from the ledger')
  print('  make demo                                          once more, from where the accounts stand now')
  print('')
}

/** An account must be there, and free of what an interrupted run left behind. */
async function prepare(admin: AdminClient, msisdn: string, offer: string, balance: string): Promise<void> {
  const found = await admin.find(msisdn)
  if (!found) {
    try {
      await admin.create(msisdn, { msisdn, offers: [offer] }, balance)
    } catch (error) {
      if (!(error instanceof AdminRefusal) || error.status === 0) throw error
      throw new CannotTell(
        1,
        `the demo needs subscriber ${msisdn} on offer ${offer} of the shipped catalog, and it cannot be created: ${error.message}`,
      )
    }
    return
  }
  if (found.status !== 'active') {
    throw new CannotTell(1, `account ${found.id} is ${found.status}; the story needs it active`)
  }
  for (const session of await admin.sessions(found.id)) {
    if (session.open && session.originHost.startsWith('demo-gateway.')) await admin.release(session.id)
  }
}

async function tellOfBundle(gateway: Gateway, admin: AdminClient): Promise<void> {
  chapter(1, `Subscriber ${bundleSubscriber} has bought a bundle`)
  const watch = new Watch(admin, bundleSubscriber)
  await watch.show()
  explain('The bundle pays for rating group 10 first, rating group 30 is free of charge, rating group 40 is denied.')
  const session = watch.session(gateway)
  if (!(await session.open([10, 30, 40]))) throw stopped(session)
  await pause()
  traffic('25 MB arrive in rating group 10, and 3 MB in rating group 30.')
  await session.use(10, 25n * MB)
  await session.use(30, 3n * MB)
  await session.end()
  await watch.bill(session)
}

async function tellOfMoney(gateway: Gateway, admin: AdminClient): Promise<void> {
  chapter(2, `Subscriber ${poorSubscriber} pays by the megabyte, and has little money`)
  const watch = new Watch(admin, poorSubscriber)
  const account = await watch.show()
  const free = account.money - account.held - account.debt
  if (free > tooRich) {
    throw new CannotTell(
      1,
      `${formatMoney(free)} ${account.currency} do not run out within a demo; it can be told while ${poorSubscriber} has at most ${formatMoney(tooRich)}`,
    )
  }
  if (free < poorStart) {
    const missing = formatMoney(micros(poorStart - free))
    explain(
      `This story begins with ${formatMoney(poorStart)} ${account.currency}. An earlier one left less, so ${missing} are recharged.`,
    )
    await admin.recharge(account.id, missing, account.currency, reference())
    await watch.changed()
  }

  const session = watch.session(gateway)
  if (!(await session.open([10]))) throw stopped(session)
  await pause()
  traffic('Data arrives, as much as is let through.')
  let asking: Promise<void>
  let passed = 0n
  do {
    // More than any account that may tell this story can pay for.
    passed += await session.use(10, 1_000_000n * MB)
    watch.tellRest()
    if (session.state !== 'open') throw stopped(session)
    traffic(
      `${amountName(passed, 'octets')} have passed. The gateway stops the traffic, and asks by itself now and then:`,
    )
    asking = session.keepAsking(10, retryMs)
    // What was held for the rest of an earlier grant may have come back: then there is a little more.
    await Promise.race([watch.refused, asking])
  } while (session.lineOf(10).state !== 'blocked')
  await pause()
  print('')
  say('operator', {
    text: `Recharges ${formatMoney(rechargeAmount)} ${account.currency}.`,
    note: `POST /v1/accounts/${account.id}/recharges`,
  })
  await admin.recharge(account.id, formatMoney(rechargeAmount), account.currency, reference())
  await watch.changed()
  await asking
  watch.tellRest()
  if (session.lineOf(10).state === 'blocked') throw stopped(session)

  await pause()
  traffic('20 MB more arrive, then the subscriber goes to sleep.')
  await session.use(10, 20n * MB)
  watch.tellRest()
  await session.end()
  await watch.bill(session)
}

/** One account during its story: what is said about it, and what it has. */
class Watch {
  /** Settles when ocsd has refused for the first time. */
  readonly refused: Promise<void>
  private sayRefused: () => void = () => undefined
  private before: AccountShown | undefined
  private readonly started: { entries: number; paid: Micros; buckets: bigint } = {
    entries: 0,
    paid: micros(0),
    buckets: 0n,
  }
  private untold = 0
  private likewise = 0

  constructor(
    private readonly admin: AdminClient,
    private readonly msisdn: string,
  ) {
    this.refused = new Promise(resolve => (this.sayRefused = resolve))
  }

  session(gateway: Gateway): GatewaySession {
    const options: SessionOptions = {
      gateway,
      serviceContextId: '32251@3gpp.org',
      unit: 'octets',
      subscriptionIds: [['e164', this.msisdn]],
      onExchange: exchange => this.tell(exchange),
    }
    return new GatewaySession(options)
  }

  async show(): Promise<AccountShown> {
    const account = await this.account()
    this.before = account
    this.started.entries = account.sequence
    this.started.buckets = unitsOf(account)
    say('account', { text: accountInWords(account), note: '' })
    return account
  }

  /** What changed of the account since it was last told. */
  async changed(): Promise<void> {
    const account = await this.account()
    say('account', { text: accountInWords(account, this.before), note: '' })
    this.before = account
  }

  /** Tells of one exchange, or only counts it when it is one of many alike. */
  private async tell({ request, answer }: Exchange): Promise<void> {
    const refused = answer
      .groups('Multiple-Services-Credit-Control')
      .some(each => (each.number('Result-Code') ?? 2001) !== 2001)
    const plain =
      request.type === 'update' &&
      !refused &&
      !answer.groups('Multiple-Services-Credit-Control').some(each => each.group('Final-Unit-Indication'))
    this.likewise = plain ? this.likewise + 1 : 0
    if (this.likewise > toldInFull) {
      this.untold++
      return
    }
    this.tellRest()
    print('')
    for (const saying of requestInWords(request, 'octets')) say('gateway', saying)
    for (const saying of answerInWords(answer, 'octets')) say('ocsd', saying)
    await this.changed()
    if (refused && request.type === 'update') this.sayRefused()
    await pause()
  }

  /** The exchanges that were only counted. */
  tellRest(): void {
    if (this.untold > 0) {
      print('')
      print(dim(`           (${this.untold} more of the same)`))
    }
    this.untold = 0
  }

  /** What the session came to. */
  async bill(session: GatewaySession): Promise<void> {
    const account = await this.account()
    const charged = (await this.admin.sessions(account.id)).find(({ id }) => id === session.id)?.charged ?? micros(0)
    const taken = this.started.buckets - unitsOf(account)
    print('')
    say('bill', {
      text: session.lines
        .filter(({ total }) => total > 0n)
        .map(({ ratingGroup, total }) => `rating group ${ratingGroup ?? '-'}: ${amountName(total, 'octets')}`)
        .join(', '),
      note: '',
    })
    say('bill', {
      text: `${taken > 0n ? `${amountName(taken, 'octets')} from the bundle, ` : ''}${formatMoney(charged)} ${account.currency} in money; ${account.sequence - this.started.entries} entries in the ledger`,
      note: '',
    })
  }

  private async account(): Promise<AccountShown> {
    const account = await this.admin.find(this.msisdn)
    if (!account) throw new CannotTell(1, `subscriber ${this.msisdn} has vanished`)
    return account
  }
}

const unitsOf = ({ buckets }: AccountShown): bigint => buckets.reduce((sum, { amount }) => sum + amount, 0n)

const stopped = ({ id, lines }: GatewaySession): CannotTell =>
  new CannotTell(
    1,
    `ocsd does not serve session ${id} as this story needs it (${lines.map(({ ratingGroup, resultCode }) => `rating group ${ratingGroup ?? '-'}: ${resultCode}`).join(', ')}): is the catalog the shipped one?`,
  )

let references = 0
const reference = (): string => `demo-${Date.now()}-${++references}`

function accountInWords(account: AccountShown, before?: AccountShown): string {
  const { currency } = account
  const money = step(before?.money, account.money, formatMoney)
  const parts = [`${money} ${currency}`]
  if (account.held > 0n || (before?.held ?? 0n) > 0n)
    parts.push(`held ${step(before?.held, account.held, formatMoney)}`)
  if (account.debt > 0n || (before?.debt ?? 0n) > 0n)
    parts.push(`debt ${step(before?.debt, account.debt, formatMoney)}`)
  for (const bucket of account.buckets) {
    const old = before?.buckets.find(({ name }) => name === bucket.name)
    const inMb = (amount: bigint): string => amountName(amount, 'octets').replace(' MB', '')
    const held = bucket.held > 0n || (old?.held ?? 0n) > 0n ? `, held ${step(old?.held, bucket.held, inMb)}` : ''
    parts.push(`bundle ${bucket.name} ${step(old?.amount, bucket.amount, inMb)} MB${held}`)
  }
  return parts.join(' · ')
}

/** `5.00`, or `5.00 → 4.90` when it changed. */
function step(before: bigint | undefined, now: bigint, format: (amount: bigint) => string): string {
  return before === undefined || before === now ? format(now) : `${format(before)} → ${bold(format(now))}`
}

// ------------------------------------------------------------------------------------------------------------ the page

const colours = process.stdout.isTTY && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb'
const paint =
  (on: number, off: number) =>
  (text: string): string =>
    colours ? `\u001b[${on}m${text}\u001b[${off}m` : text
const bold = paint(1, 22)
const dim = paint(2, 22)
const red = paint(31, 39)
const green = paint(32, 39)
const yellow = paint(33, 39)
const magenta = paint(35, 39)
const cyan = paint(36, 39)

type Speaker = 'gateway' | 'ocsd' | 'account' | 'operator' | 'bill'

const speakers: Readonly<Record<Speaker, (text: string) => string>> = {
  gateway: cyan,
  ocsd: green,
  account: dim,
  operator: magenta,
  bill: bold,
}

const indent = 11
const unbreakable = '\u00a0'
const width = Math.max(60, Math.min(100, process.stdout.columns || 100))

function say(speaker: Speaker, { text, note, tone }: Saying): void {
  const colour = tone === 'bad' ? red : tone === 'warn' ? yellow : speakers[speaker]
  const whole = note.replaceAll(' ', unbreakable)
  const lines = wrapped(whole === '' ? text : `${text}  ${dim(`[${whole}]`)}`, width - indent)
  lines.forEach((line, i) => print(`  ${i === 0 ? colour(speaker.padEnd(indent - 2)) : ' '.repeat(indent - 2)}${line}`))
}

function chapter(number: number, title: string): void {
  print('')
  print(bold(`${number}  ${title}`))
}

const explain = (text: string): void => wrapped(text, width - 3).forEach(line => print(`   ${dim(line)}`))

function traffic(text: string): void {
  print('')
  print(`  ${text}`)
}

/** Words into lines; colours take no room. A note that does not fit stands in a line of its own. */
function wrapped(text: string, most: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/ (?! )/)) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line !== '' && stripVTControlCharacters(longer).length > most) {
      lines.push(line.trimEnd())
      line = word.trimStart()
    } else {
      line = longer
    }
  }
  return [...lines, line]
}

function print(line: string): void {
  process.stdout.write(`${line.replaceAll(unbreakable, ' ')}\n`)
}

/** People read more slowly than we speak; scripts do not. */
function pause(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, process.stdout.isTTY ? 500 : 0))
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

process.stdout.on('error', () => process.exit(0)) // whoever reads has had enough
process.exitCode = await main()
