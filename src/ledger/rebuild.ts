/**
 * Makes the accounts of a lost store again (scope N7): their last states beside the ledger, and from there on what the ledger's entries say
 * of amounts and counters. states.ts says why this way.
 *
 * What comes back: money, debt, credit limit, buckets with their terms, counters, subscriptions, dates, numbers of subscribers, used references of
 * recharges and purchases. What does not: open sessions (what they held is free again, and an entry `rebuild` says so), identities (from a file
 * of the operator's, see `Identities`), and what was never in the ledger.
 *
 * Order between files does not matter: of each amount the entry with the highest number counts. Memory: accounts are made in passes of so
 * many partitions that the states of one pass fit.
 */
import { stat } from 'node:fs/promises'
import type { RestoredAccount, UsedReference } from '../balance/restore.js'
import type { Millis } from '../units.js'
import { listFiles, placeOf, readLines } from './files.js'
import { statesPrefix, type AccountState } from './states.js'

export interface RebuildOptions {
  readonly ledgers: readonly string[]
  readonly states: readonly string[]
  /** By account and number of the subscriber (or `row n` of the account): words like `msisdn:491701000001`. */
  readonly identities: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>
  readonly accounts: (accounts: readonly RestoredAccount[]) => Promise<void>
  readonly references: (references: readonly UsedReference[]) => Promise<void>
  /** Octets of states that one pass may keep, default 256 MiB. */
  readonly passOctets?: number
}

export interface RebuildResult {
  readonly accounts: number
  readonly entries: number
  readonly references: number
  /** Accounts whose sessions were open and held something. */
  readonly released: number
  readonly subscribersWithoutIdentity: number
  /** The first hundred of `problemCount`: what could not be made again. */
  readonly problems: readonly string[]
  readonly problemCount: number
}

interface Entry {
  readonly account: string
  readonly seq: number
  readonly at: Millis
  readonly kind?: string
  readonly type?: string
  readonly posts: readonly (readonly [string, string, number, number?, number?])[]
  readonly held?: number
  readonly counters?: Readonly<Record<string, number>>
  /** By field of the account: when the counter's period began; until when a bucket is good since its first use. */
  readonly began?: Readonly<Record<string, number>>
  readonly [member: string]: unknown
}

/** An account as far as it was read. */
interface Found {
  state: AccountState | undefined
  /** Last entry, whether it held something, and the last that may have changed more than amounts. */
  seq: number
  held: boolean
  changed: { readonly seq: number; readonly kind: string }
  currency: string
  /** Amount after the posting with the highest number. */
  readonly balances: Map<string, { readonly seq: number; readonly after: number; readonly unit: string }>
  readonly counters: Map<string, { readonly seq: number; readonly value: number }>
  readonly began: Map<string, { readonly seq: number; readonly at: Millis }>
}

const problemsShown = 100
const accountsOfOneWrite = 500

/** @throws the system's error when a file cannot be read; BalanceUnavailableError */
export async function rebuild(options: RebuildOptions): Promise<RebuildResult> {
  const build = new Rebuild(options)
  const passes = await passesFor(options)
  for (let pass = 0; pass < passes; pass++) await build.pass(partition => partition % passes === pass)
  return build.result()
}

async function passesFor({ states, passOctets = 256 << 20 }: RebuildOptions): Promise<number> {
  let octets = 0
  for (const folder of states)
    for (const path of await listFiles(folder, statesPrefix)) octets += (await stat(path)).size
  return Math.max(1, Math.ceil(octets / passOctets))
}

class Rebuild {
  private made = 0
  private entries = 0
  private used = 0
  private released = 0
  private nameless = 0
  private problemCount = 0
  private readonly problems: string[] = []

  constructor(private readonly options: RebuildOptions) {}

  result(): RebuildResult {
    return {
      ...{ accounts: this.made, entries: this.entries, references: this.used, released: this.released },
      ...{ subscribersWithoutIdentity: this.nameless, problems: this.problems, problemCount: this.problemCount },
    }
  }

  async pass(mine: (partition: number) => boolean): Promise<void> {
    const found = new Map<string, Found>()
    const { states, ledgers, accounts } = this.options
    for await (const line of linesOf(states, statesPrefix, mine)) {
      const state = parse(line) as unknown as AccountState | undefined
      if (!state) continue
      const of = foundOf(found, state.account)
      if (of.state === undefined || state.seq >= of.state.seq) of.state = state
    }
    let references: UsedReference[] = []
    for await (const line of linesOf(ledgers, undefined, mine)) {
      const entry = parse(line)
      if (!entry) {
        this.tell(`a line of the ledger is no entry: ${line.slice(0, 60)}`)
        continue
      }
      note(foundOf(found, entry.account), entry)
      this.entries++
      const reference = referenceOf(entry)
      if (reference) references.push(reference)
      if (references.length >= accountsOfOneWrite) await this.putReferences(references.splice(0))
    }
    await this.putReferences(references)
    references = []
    let batch: RestoredAccount[] = []
    for (const [account, of] of found) {
      batch.push(this.make(account, of))
      if (batch.length >= accountsOfOneWrite) await accounts(batch.splice(0))
    }
    await accounts(batch)
    batch = []
  }

  private async putReferences(references: readonly UsedReference[]): Promise<void> {
    this.used += references.length
    await this.options.references(references)
  }

  private make(account: string, found: Found): RestoredAccount {
    const { state } = found
    if (!state) this.tell(`account ${account}: no state of it is at hand; its money is there, it is suspended`)
    else if (found.changed.seq > state.seq)
      this.tell(
        `account ${account}: entry ${found.changed.seq} (${found.changed.kind}) is newer than its last state: amounts are right, what else it changed is not there`,
      )
    const since = state?.seq ?? 0
    const lines: Record<string, string> = {
      ...(state?.lines ?? {
        funds: 'suspended money 0 held 0 credit 0 debt 0 open 0 seq 0 rev 1',
        currency: found.currency,
      }),
    }
    for (const [field, line] of Object.entries(lines)) {
      if (field.startsWith('bucket:') || field.startsWith('counter:'))
        lines[field] = line.replace(/ held \d+/, ' held 0')
    }
    const last = Math.max(found.seq, since)
    const funds: Record<string, number> = { seq: last, held: 0, open: 0 }
    for (const [name, { seq, after, unit }] of found.balances) {
      if (seq <= since) continue
      if (name === 'main') funds['money'] = after
      else if (name === 'debt') funds['debt'] = -after
      else if (lines[name] !== undefined) lines[name] = lines[name].replace(/ left \d+/, ` left ${after}`)
      else if (after !== 0) this.tell(`account ${account}: ${name} had ${after} ${unit} left, its terms are not known`)
    }
    for (const [name, { seq, value }] of found.counters) {
      const field = `counter:${name}`
      if (seq <= since) continue
      const period = found.began.get(field)
      if (period && (period.seq > since || lines[field] === undefined))
        lines[field] = `value ${value} held 0 period ${period.at}`
      else if (lines[field] === undefined)
        this.tell(`account ${account}: counter ${name} stood at ${value}, its period is not known`)
      else lines[field] = lines[field].replace(/^value -?\d+/, `value ${value}`)
    }
    let begun = false
    for (const [field, { seq, at }] of found.began) {
      if (seq <= since || !field.startsWith('bucket:') || lines[field] === undefined) continue
      lines[field] = lines[field].replace(/ until \d+/, ` until ${at}`)
      begun = true
    }
    if (begun) lines['order'] = drawOrder(lines)
    // What the state held is held no more, also when no entry came after it.
    const held = found.seq > since ? found.held : / held [1-9]/.test(state?.lines['funds'] ?? '') || found.held
    if (held) {
      funds['seq'] = last + 1
      this.released++
    }
    for (const [word, value] of Object.entries(funds))
      lines['funds'] = lines['funds']!.replace(new RegExp(` ${word} -?\\d+`), ` ${word} ${value}`)
    if (lines['subscribers'] !== undefined && lines['subscribers'] !== '')
      lines['subscribers'] = this.named(account, lines['subscribers'])
    this.made++
    return { account, lines, held, sequence: funds['seq']! }
  }

  /** Puts identities where only numbers were kept. A number without any is one that has left. */
  private named(account: string, subscribers: string): string {
    const known = this.options.identities.get(account)
    const all = subscribers.split(';')
    const living = all.filter(each => !each.includes(' '))
    const rows = [...(known ?? [])].filter(([number]) => number.startsWith('row ')).map(([, words]) => words)
    const inOrder = (number: string): readonly string[] =>
      rows.length === living.length ? (rows[living.indexOf(number)] ?? []) : []
    return all
      .map(each => {
        const [number, ...rest] = each.split(' ')
        const identities = known?.get(number!) ?? inOrder(each)
        if (identities.length === 0 && rest.length === 0) {
          this.nameless++
          rest.push('removed')
        }
        return [number, ...identities, ...rest].join(' ')
      })
      .join(';')
  }

  private tell(problem: string): void {
    this.problemCount++
    if (this.problems.length < problemsShown) this.problems.push(problem)
  }
}

/** As lua/include/draw-order.lua: priority, earliest end, granted before paid, oldest, id. */
function drawOrder(lines: Readonly<Record<string, string>>): string {
  const buckets = Object.entries(lines).flatMap(([field, line]) => {
    const [, name, until, priority, rest] = /^(\S+) .* until (\d+) priority (\d+)(.*)$/.exec(line) ?? []
    if (!field.startsWith('bucket:') || name === undefined) return []
    const id = field.slice('bucket:'.length)
    const end = until === '0' ? Infinity : Number(until)
    return [
      {
        word: `${id}:${name}`,
        by: [Number(priority), end, / with paid/.test(rest!) ? 1 : 0, ...id.split('-').map(Number)],
      },
    ]
  })
  buckets.sort((a, b) => {
    const at = a.by.findIndex((value, i) => value !== b.by[i])
    return at < 0 ? 0 : a.by[at]! < b.by[at]! ? -1 : 1
  })
  return buckets.map(({ word }) => word).join(' ')
}

async function* linesOf(
  folders: readonly string[],
  prefix: string | undefined,
  mine: (partition: number) => boolean,
): AsyncGenerator<string> {
  for (const folder of folders) {
    for (const path of await listFiles(folder, prefix)) {
      for await (const { lines } of readLines(path, 0))
        for (const line of lines) {
          const place = placeOf(line)
          if (!place || mine(place.partition)) yield line
        }
    }
  }
}

function parse(line: string): Entry | undefined {
  try {
    const entry = JSON.parse(line) as Partial<Entry>
    return typeof entry.account === 'string' && Number.isSafeInteger(entry.seq) ? (entry as Entry) : undefined
  } catch {
    return undefined
  }
}

function foundOf(found: Map<string, Found>, account: string): Found {
  let of = found.get(account)
  if (!of) {
    of = {
      ...{ state: undefined, seq: 0, held: false, currency: '', changed: { seq: 0, kind: '' } },
      ...{ balances: new Map(), counters: new Map(), began: new Map() },
    }
    found.set(account, of)
  }
  return of
}

const isCurrency = (unit: string): boolean => /^[A-Z]{3}$/.test(unit)

function note(found: Found, { seq, kind = '', posts, held, counters = {}, began = {} }: Entry): void {
  if (seq > found.seq) {
    found.seq = seq
    if (held !== undefined) found.held = held !== 0
  }
  // Holds of a session that ends change nothing that is kept; nor do charges, but for what begins with them.
  if (kind !== 'charge' && kind !== 'refund' && kind !== 'expire' && kind !== 'rebuild' && seq > found.changed.seq)
    found.changed = { seq, kind }
  for (const [name, unit, , , after] of posts) {
    if (after === undefined) continue
    if (found.currency === '' && isCurrency(unit)) found.currency = unit
    const known = found.balances.get(name)
    if (!known || seq >= known.seq) found.balances.set(name, { seq, after, unit })
  }
  for (const [name, value] of Object.entries(counters)) {
    const known = found.counters.get(name)
    if (!known || seq >= known.seq) found.counters.set(name, { seq, value })
  }
  for (const [field, at] of Object.entries(began)) {
    const known = found.began.get(field)
    if (!known || seq >= known.seq) found.began.set(field, { seq, at })
  }
}

function referenceOf(entry: Entry): UsedReference | undefined {
  const { account, at, seq, kind, posts } = entry
  const [channel, reference, offer, subscriber, subscription] = (
    ['channel', 'reference', 'offer', 'subscriber', 'subscription'] as const
  ).map(name => (typeof entry[name] === 'string' ? entry[name] : undefined))
  if (reference === undefined) return undefined
  if (kind === 'recharge' && channel !== undefined) {
    const into = posts.filter(([name]) => name.startsWith('source:'))
    if (into.length === 0) return undefined
    const after = (name: string): number => [...posts].reverse().find(([of]) => of === name)?.[4] ?? 0
    return {
      ...{ kind, account, at, channel, reference, currency: into[0]![1] },
      amount: into.reduce((sum, [, , amount]) => sum - BigInt(amount), 0n),
      answer: `${after('main')} ${-after('debt')} ${seq}`,
    }
  }
  if (kind === 'subscribe' && offer !== undefined && subscription !== undefined)
    return { kind, account, at, reference, answer: `${offer} ${subscriber ?? '0'} ${subscription}` }
  return undefined
}

/**
 * Identities from JSON lines, as `GET /v1/export?format=jsonl` gives them: an account, and msisdn, imsi or nai. Rows without the number of the
 * subscriber are those of its subscribers in the order of their numbers, if there are as many.
 *
 * @throws Error that says which line is wrong
 */
export async function readIdentities(path: string): Promise<Map<string, Map<string, string[]>>> {
  const found = new Map<string, Map<string, string[]>>()
  let number = 0
  for await (const { lines } of readLines(path, 0)) {
    for (const line of lines) {
      number++
      if (line.trim() === '') continue
      const row = parseRow(line)
      const account = row?.['account']
      if (!row || typeof account !== 'string')
        throw new Error(`${path}:${number}: this is no JSON object with an account; use the JSON lines of the export`)
      const of = found.get(account) ?? new Map<string, string[]>()
      found.set(account, of)
      // Without a number: `row 1`, `row 2`, in their order.
      const given = row['subscriber'] as string | number | undefined
      const subscriber = given === undefined ? `row ${of.size + 1}` : String(given)
      const words = (['msisdn', 'imsi', 'nai'] as const).flatMap(type =>
        typeof row[type] === 'string' && row[type] !== '' ? [`${type}:${row[type]}`] : [],
      )
      of.set(subscriber, [...(of.get(subscriber) ?? []), ...words])
    }
  }
  return found
}

function parseRow(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const row: unknown = JSON.parse(line)
    return typeof row === 'object' && row !== null && !Array.isArray(row) ? (row as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
