/**
 * What a charging data record says, and how entries of the journal become records (scope B16): one for each line of usage that was
 * reported, for the end of a session, and for each movement of money or units against an account outside.
 *
 * Columns have the names of TS 32.298 (record fields), TS 32.299 (AVPs) and TS 32.296 (account) where those have one. *Ours:* amounts
 * are whole micros, so that sums are exact, and a record is a flat row, so that CSV and JSON lines say the same.
 */
import type { PlacedEntry } from './consumer.js'

export const recordKinds = ['charge', 'session', 'money'] as const
/** `charge`: usage, and what it cost. `session`: ends of sessions. `money`: everything else that moved a balance. */
export type RecordKind = (typeof recordKinds)[number]

/** In the order of the CSV's columns. */
export const columns = [
  /** `<partition>:<journal id>:<n>/<of>`: unique, and the same however often it is written. */
  'recordId',
  /** charge, event, refund, session-close, or the kind of the ledger entry: recharge, transfer, fee of a subscribe, … */
  'recordType',
  /** Identity of the daemon that wrote it. TS 32.298 nodeID. */
  'nodeId',
  /** ISO 8601, UTC. TS 32.299 Event-Timestamp. */
  'eventTimestamp',
  'accountId',
  /** Number of the subscriber in the account, or what stands for it; never an identity. TS 32.298 subscriptionID. */
  'subscriptionId',
  /** Of the account's ledger entry. TS 32.298 recordSequenceNumber. */
  'recordSequenceNumber',
  'sessionId',
  'ccRequestType',
  'ccRequestNumber',
  'originHost',
  /** Name of the service in the catalog. */
  'service',
  'ratingGroup',
  /** Several are joined by a space. */
  'serviceIdentifier',
  'chargingId',
  /** octets, seconds, events, money; of a movement of units, the bucket's unit. */
  'unit',
  /** Used, or moved into the account (out of it: below zero). TS 32.299 Used-Service-Unit. */
  'usedUnits',
  /** Micros: what was charged; of a movement, what came into the account (went out of it: below zero). */
  'amount',
  'currencyCode',
  /** Micros of `amount` that became debt. */
  'overrun',
  /** Of usage: who paid, `main=3000 3-1=250000`. Of a movement: the balances, `main=5000000 debt=2000`. */
  'paidBy',
  /** Of a movement: the account outside, `source:app`, `fee`, `expiry`. */
  'counterAccount',
  /** Offer and number of the rule. */
  'tariffRule',
  'rateId',
  'catalogVersion',
  'resultCode',
  /** TS 32.298 causeForRecClosing. */
  'causeForRecClosing',
  'channel',
  'reference',
  'method',
  'outlet',
  'operator',
  'offer',
  'subscription',
  'counterparty',
  'reason',
] as const
export type Column = (typeof columns)[number]
export type CdrRecord = Readonly<Partial<Record<Column, string | number>>>

/** Of an entry, what records are made from. */
interface Entry {
  readonly account: string
  readonly seq: number
  readonly at: number
  readonly kind?: string
  readonly posts: readonly (readonly [string, string, number, number?, number?])[]
  readonly lines?: readonly Line[]
  readonly [member: string]: unknown
}

interface Line {
  readonly line: string
  readonly rule?: string
  readonly rate?: string
  readonly used?: number
  readonly unit?: string
  readonly cost?: number
  readonly paid?: string
  readonly is?: string
  readonly unpaid?: number
  readonly unrated?: number
  readonly refunded?: number
}

export interface RecordOptions {
  readonly nodeId: string
  readonly kinds: ReadonlySet<RecordKind>
}

/** Whose record it is, for readers who must not learn the number: one place, so that what stands for it can change. */
export const servedParty = (account: string, subscriber: string): string => `${account}/${subscriber}`

/** The records of an entry; none when nothing was used or moved, or the entry is not ours. */
export function recordsOf({ partition, id, text }: PlacedEntry, { nodeId, kinds }: RecordOptions): CdrRecord[] {
  const entry = JSON.parse(text) as Partial<Entry>
  if (typeof entry.account !== 'string' || !Array.isArray(entry.posts)) return []
  const made = entry as Entry
  const records = [
    ...(kinds.has('charge') ? usageRecords(made) : []),
    ...(kinds.has('money') ? movementRecords(made) : []),
    ...(kinds.has('session') ? closeRecords(made) : []),
  ]
  if (records.length === 0) return []
  const head = headOf(made, nodeId)
  return records.map((record, i) => ({ recordId: `${partition}:${id}:${i + 1}/${records.length}`, ...head, ...record }))
}

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' || typeof value === 'number' ? String(value) : undefined

/** Where a member is text, or a number. */
function given(entry: Entry, names: Readonly<Partial<Record<Column, string>>>): CdrRecord {
  const found: Partial<Record<Column, string>> = {}
  for (const [column, member] of Object.entries(names)) {
    const value = textOf(entry[member])
    if (value !== undefined) found[column as Column] = value
  }
  return found
}

function headOf(entry: Entry, nodeId: string): CdrRecord {
  const { account, at, seq } = entry
  const subscriber = textOf(entry['subscriber'])
  return {
    nodeId,
    eventTimestamp: new Date(at).toISOString(),
    accountId: account,
    ...(subscriber !== undefined && subscriber !== '0' && { subscriptionId: servedParty(account, subscriber) }),
    recordSequenceNumber: seq,
    ...given(entry, {
      sessionId: 'session',
      ccRequestType: 'type',
      ccRequestNumber: 'number',
      originHost: 'host',
      service: 'service',
      chargingId: 'chargingId',
      catalogVersion: 'catalog',
      resultCode: 'outcome',
    }),
  }
}

function usageRecords(entry: Entry): CdrRecord[] {
  const currency = currencyOf(entry)
  return (entry.lines ?? []).flatMap(line => {
    const used = line.used ?? line.unrated ?? (line.refunded === undefined ? 0 : -line.refunded)
    if (used === 0) return []
    const [ratingGroup, identifiers] = line.line.split('/')
    const debt = payersOf(line).find(([payer]) => payer === 'debt')?.[1]
    const paid = payersOf(line).map(([payer, amount]) => `${payer}=${amount}`)
    return [
      {
        recordType: entry.kind === 'refund' ? 'refund' : entry['type'] === 'event' ? 'event' : 'charge',
        ...(ratingGroup !== '-' && { ratingGroup: ratingGroup! }),
        ...(identifiers !== undefined && { serviceIdentifier: identifiers.replaceAll(',', ' ') }),
        ...(line.unit !== undefined && { unit: line.unit }),
        usedUnits: used,
        ...(line.cost !== undefined && {
          amount: line.cost,
          ...(currency !== undefined && { currencyCode: currency }),
        }),
        ...(debt !== undefined && { overrun: debt }),
        ...(paid.length > 0 && { paidBy: paid.join(' ') }),
        ...(line.rule !== undefined && { tariffRule: line.rule }),
        ...(line.rate !== undefined && line.rate !== '-' && { rateId: line.rate }),
        resultCode: line.unrated === undefined ? (line.unpaid ? 'unpaid' : 'charged') : 'unrated',
      },
    ]
  })
}

/** Balances that paid for a line and how much of each; what a rate asked is not a balance. */
function payersOf({ paid = '' }: Line): [payer: string, amount: string][] {
  if (paid === '' || !paid.includes(':')) return []
  return paid
    .split(',')
    .map(item => item.split(':'))
    .filter(([payer]) => payer !== 'rate' && payer !== 'free')
    .map(([payer, , amount]) => [payer!, amount!])
}

const isCurrency = (unit: string): boolean => /^[A-Z]{3}$/.test(unit)
const currencyOf = ({ posts }: Entry): string | undefined => posts.find(([, unit]) => isCurrency(unit))?.[1]

/** One for each account outside that is none of usage. */
function movementRecords(entry: Entry): CdrRecord[] {
  return entry.posts.flatMap(([name, unit, amount], i) => {
    if (entry.posts[i]!.length > 3 || name.startsWith('usage:')) return []
    const money = isCurrency(unit)
    const balances = entry.posts.filter(post => post.length > 3 && post[1] === unit)
    return [
      {
        recordType: entry.kind === 'charge' || entry.kind === undefined ? name.replace(/:.*$/, '') : entry.kind,
        unit: money ? 'money' : unit,
        ...(money ? { amount: -amount, currencyCode: unit } : { usedUnits: -amount }),
        counterAccount: name,
        paidBy: balances.map(([balance, , moved]) => `${balance.replace('bucket:', '')}=${moved}`).join(' '),
        ...given(entry, {
          channel: 'channel',
          reference: 'reference',
          method: 'method',
          outlet: 'outlet',
          operator: 'operator',
          offer: 'offer',
          subscription: 'subscription',
          counterparty: 'with',
          reason: 'reason',
        }),
      },
    ]
  })
}

/** By the entry's type or outcome: TS 32.298 causeForRecClosing. */
function closeRecords(entry: Entry): CdrRecord[] {
  const cause = closingCause(entry)
  return cause === undefined ? [] : [{ recordType: 'session-close', causeForRecClosing: cause }]
}

function closingCause({ kind, ...entry }: Entry): string | undefined {
  if (kind === 'expire') {
    if (entry['outcome'] === 'silent') return 'abnormalRelease'
    return entry['outcome'] === 'ended' ? 'managementIntervention' : undefined
  }
  if (kind !== 'charge') return undefined
  if (entry['type'] === 'T' || entry['type'] === 'terminate') return 'normalRelease'
  const barred = entry['outcome'] === 'barred' || entry['outcome'] === 'terminated'
  return barred && (entry['type'] === 'U' || entry['type'] === 'update') ? 'managementIntervention' : undefined
}
